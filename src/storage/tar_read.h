/* SPDX-License-Identifier: Apache-2.0
 *
 * A strict reader of tar: v7, ustar, pax, GNU (long names, base-256 numbers) and the four ways to store a sparse file. It understands an
 * archive as Go's archive/tar does, which is what other engines unpack layers with: a reader that saw other names or sizes in the same bytes would
 * make another layer of them. Everything in the archive is hostile; memory is bounded. One thread. */
#pragma once

#include <limits.h>
#include <time.h>

#include "base/error.h"

/* The next piece of a stream, borrowed until the next call: > 0 bytes, 0 end, -errno. */
typedef ssize_t (*cs_piece_fn)(void *ctx, const void **ret);

enum cs_untar_type {
	CS_UNTAR_FILE = '0',
	CS_UNTAR_LINK = '1',
	CS_UNTAR_SYMLINK = '2',
	CS_UNTAR_CHAR = '3',
	CS_UNTAR_BLOCK = '4',
	CS_UNTAR_DIR = '5',
	CS_UNTAR_FIFO = '6',
};
struct cs_untar_xattr {
	const char *name, *value; /* value is not terminated */
	size_t len;
};
struct cs_untar_entry {
	enum cs_untar_type type; /* or a type that is none of these */
	const char *path, *link; /* as written, shorter than PATH_MAX */
	unsigned mode;         /* 07777 */
	uint32_t uid, gid, major, minor;
	int64_t size; /* with its holes */
	struct timespec mtime, atime;
	bool has_atime;
	const struct cs_untar_xattr *xattrs;
	size_t n_xattrs;
};

struct cs_untar;
struct cs_untar *cs_untar_open(cs_piece_fn next, void *ctx);
void cs_untar_free(struct cs_untar *t); /* accepts NULL */
/* 1: an entry, borrowed until the next call; 0: the end of the archive; -1. What was not read of the last entry is skipped. */
CS_MUST_CHECK int cs_untar_next(struct cs_untar *t, const struct cs_untar_entry **ret, struct cs_err **err);
/* 1: data that belongs at *off, borrowed until the next call; 0: the end of the entry; -1. Offsets only grow; what lies between is a hole. */
CS_MUST_CHECK int cs_untar_data(struct cs_untar *t, const void **data, size_t *len, int64_t *off, struct cs_err **err);
