/* SPDX-License-Identifier: Apache-2.0
 *
 * Writes tar archives: ustar headers, pax records where a header's fields do not suffice. The same entries give the same bytes: there are no names of
 * users, no access times, and records are sorted. Failures are sticky: add entries, look at the last result. One thread. */
#pragma once

#include <time.h>

#include "computestorage.h"

#define CS_TAR_BLOCK 512u
#define CS_TAR_PAX_MAX (1u << 20) /* what Go's reader accepts of one entry's records */

enum cs_tar_type {
	CS_TAR_FILE = '0',
	CS_TAR_LINK = '1', /* a hard link */
	CS_TAR_SYMLINK = '2',
	CS_TAR_CHAR = '3',
	CS_TAR_BLOCKDEV = '4',
	CS_TAR_DIR = '5',
	CS_TAR_FIFO = '6',
};
struct cs_tar_xattr {
	const char *name; /* user.x; without '=' */
	const void *value;
	size_t len;
};
struct cs_tar_entry {
	const char *name;              /* of a directory: with the slash at the end */
	const char *link;              /* target of a link */
	enum cs_tar_type type;
	unsigned mode;
	uint32_t uid, gid;
	struct timespec mtime;
	unsigned dev_major, dev_minor;
	int64_t size;                  /* bytes that follow */
	bool sparse;                   /* GNU sparse format 1.0: a map of the data precedes it */
	int64_t real_size;             /* of a sparse file */
	const struct cs_tar_xattr *xattrs; /* sorted by name */
	size_t n_xattrs;
};
struct cs_tar_writer;

struct cs_tar_writer *cs_tar_new(cs_write_fn write, void *ctx);
void cs_tar_free(struct cs_tar_writer *w); /* accepts NULL */
static inline void cs_autotar_done(struct cs_tar_writer **w) { cs_tar_free(*w); }
#define cs_autotar cs_auto(cs_autotar_done)

/* All return 0 or -errno. -E2BIG: the records of an entry are too large, nothing was written and the archive can go on. */
int cs_tar_header(struct cs_tar_writer *w, const struct cs_tar_entry *e);
int cs_tar_data(struct cs_tar_writer *w, const void *data, size_t len);
int cs_tar_zeros(struct cs_tar_writer *w, uint64_t n);
int cs_tar_pad(struct cs_tar_writer *w, uint64_t size); /* after size bytes of data: zeros up to the next block */
int cs_tar_end(struct cs_tar_writer *w);                /* the end marks; everything is out on return */
/* To read into the writer's buffer without a copy: a place for at most *n bytes (never 0), then say how many are there. NULL after a failure. */
char *cs_tar_room(struct cs_tar_writer *w, size_t *n);
void cs_tar_fill(struct cs_tar_writer *w, size_t n);
int cs_tar_error(const struct cs_tar_writer *w); /* the sticky failure */
