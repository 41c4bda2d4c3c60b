/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside of the storage library. */
#pragma once

#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/sha256.h"
#include "computestorage.h"

struct cs_storage {
	char *root;                              /* absolute */
	int root_fd, blobs_fd, layers_fd, snaps_fd, tmp_fd; /* directories */
	atomic_ullong serial;                    /* for names in tmp/ */
	/* discard.c */
	pthread_mutex_t discard_lock;
	pthread_cond_t discard_idle;
	struct cs_discarded *discarded;
	bool discarding, closing;
};

/* A name below tmp/ that nobody else uses. buf needs 64 bytes. */
const char *cs_storage_tmp_name(struct cs_storage *s, const char *kind, char buf[64]);

/* Stops deleting; what is left goes at the next open. */
void cs_storage_discard_done(struct cs_storage *s);

/* Writes the entries of a tar into the directory root_fd. Nothing is ever written outside; read delivers the uncompressed tar. */
CS_MUST_CHECK int cs_extract_tar(cs_read_fn read, void *ctx, int root_fd, int64_t *ret_size, struct cs_err **err);

/* Calls fn for each entry of a directory but "." and ".."; stops when it returns non-zero. 0, fn's value, or -errno. */
int cs_each_entry(int dir_fd, const char *path, int (*fn)(void *ctx, int dir_fd, const struct dirent *d), void *ctx);
