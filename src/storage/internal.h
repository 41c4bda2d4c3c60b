/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside of the storage library. */
#pragma once

#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/sha256.h"
#include "computestorage.h"
#include "storage/tar_read.h"

#define CS_SPARE_SNAPS 8

struct cs_storage {
	char *root;                              /* absolute */
	int root_fd, blobs_fd, layers_fd, snaps_fd, spare_fd, tmp_fd, partial_fd, volumes_fd; /* directories */
	atomic_ullong serial;                    /* for names in tmp/ */
	char own[32];                            /* part of our names in tmp/ */
	struct cs_storage_limits limits;
	pthread_rwlock_t snap_lock; /* read: a snapshot is being made or taken away; write: it is looked at as a whole (check.c) */
	/* quota_linux.c */
	pthread_mutex_t quota_lock;
	uint32_t last_project; /* 0: not looked yet */
	/* discard.c */
	pthread_mutex_t discard_lock;
	pthread_cond_t discard_idle;
	struct cs_discarded *discarded;
	bool discarding;
	/* writeback.c; under discard_lock */
	bool flushing;
	atomic_bool closing; /* deletions end where they are */
	/* spare.c; under discard_lock */
	unsigned n_spare;
	char spare[CS_SPARE_SNAPS][24];
	unsigned n_spare_dirs;
	char spare_dirs[CS_SPARE_SNAPS][24];
	const char *const *dir_files; /* what cs_dir_create was asked for last */
};

/* A name below tmp/ that nobody else uses. buf needs 64 bytes. */
const char *cs_storage_tmp_name(struct cs_storage *s, const char *kind, char buf[64]);

bool cs_storage_tmp_is_own(struct cs_storage *s, const char *name);
int cs_storage_write_layout(struct cs_storage *s, bool layout, bool index); /* oci-layout; an empty index.json. 0 or -errno */

/* Stops deleting; what is left goes at the next open. */
void cs_storage_discard_done(struct cs_storage *s);

/* Starts the thread that deletes and makes spares, unless it runs. discard_lock held. */
void cs_storage_housekeeping(struct cs_storage *s);

/* ---- spare.c: snapshot directories made ahead ---- */
/* upper/ and work/ in a new directory `name` of dir_fd. 0 or -errno; what it made is gone after an error. */
CS_MUST_CHECK int cs_snap_make_dirs(int dir_fd, const char *name);
/* Empties spare/: what an earlier process has left. */
void cs_spare_spread(const struct cs_storage *s);
void cs_spare_clear(struct cs_storage *s);
/* One for which there is room is made; false: there are enough, or it failed. Only the housekeeping thread; discard_lock held, let go meanwhile. */
bool cs_spare_make(struct cs_storage *s);
/* Moves a spare to snapshots/<id>. The attribute is set before (len 0: none). 0, or -errno: make one. */
CS_MUST_CHECK int cs_spare_take(struct cs_storage *s, const char *id, const char *xattr, const void *value, size_t len);

/* As cs_storage_discard, for what may lie on another file system than tmp/: the name becomes .gone-N in dirfd, which stays open. */
CS_MUST_CHECK int cs_storage_discard_within(struct cs_storage *s, int dirfd, const char *name, struct cs_err **err);

/* pack.c: what a layer's directory holds, as a number: names, kinds, owners, modes, attributes, content, times of files. */
CS_MUST_CHECK int cs_tree_digest(int layer_fd, struct cs_digest *ret, struct cs_err **err);

/* writeback.c: the disk begins with what is dirty now, behind the caller. */
void cs_storage_writeback(struct cs_storage *s);

/* ---- partial.c ---- */
/* The file tmp/<tmp> becomes what is kept of a blob; false: it is still in tmp/. */
bool cs_partial_keep(struct cs_storage *s, const char *tmp, const struct cs_digest *d);
/* The other way: opened for reading and writing, at its end; between 1 and max bytes. -ENOENT: nothing is kept. */
CS_MUST_CHECK int cs_partial_take(struct cs_storage *s, const struct cs_digest *d, int64_t max, const char *tmp, int *ret_fd, int64_t *ret_size);

/* volume_linux.c */
CS_MUST_CHECK int cs_volumes_dir_open(struct cs_storage *s, struct cs_err **err);
CS_MUST_CHECK int cs_vol_open_dir(struct cs_storage *s, const char *name, int *ret_fd, struct cs_err **err);

/* Writes the entries of a tar into the directory root_fd. Nothing is ever written outside; next delivers the uncompressed tar. */
CS_MUST_CHECK int cs_extract_tar(cs_piece_fn next, void *ctx, int root_fd, const struct cs_storage_limits *limits, int64_t *ret_size,
				 struct cs_err **err);

/* unpack.c: a layer's archive, compressed or not, into an empty directory that nobody else uses. */
CS_MUST_CHECK int cs_unpack_into(int dir_fd, cs_read_fn read, void *ctx, const struct cs_storage_limits *limits, struct cs_err **err);
extern const struct cs_storage_limits cs_storage_default_limits;

/* ---- stage.c ---- */
struct cs_layer_stage {
	struct cs_storage *s;
	struct cs_digest diff_id;
	int diff_fd;
	char tmp[64]; /* name in tmp/ */
};
CS_MUST_CHECK int cs_stage_new(struct cs_storage *s, struct cs_layer_stage **ret, struct cs_err **err);

/* ---- content.c: for a writer that hashes by itself ---- */
CS_MUST_CHECK int cs_blob_append(struct cs_blob_writer *w, const void *data, size_t len, struct cs_err **err);
/* Of a blob that will not be kept: the digest of what was written and of what follows. After the second call there is abort only. */
void cs_blob_hash(struct cs_blob_writer *w, const void *data, size_t len);
void cs_blob_hashed(struct cs_blob_writer *w, struct cs_digest *ret);
/* Everything is written: makes it durable ahead of commit. is: its digest, NULL when it was hashed here; expected: NULL or what it must be. */
CS_MUST_CHECK int cs_blob_settle(struct cs_blob_writer *w, const struct cs_digest *is, const struct cs_digest *expected, struct cs_err **err);

/* Attributes that come and go in archives: what the kernel checks for programs (file capabilities), what users set, ACLs; a container's own root could
 * set them as well. Never trusted.*: overlayfs would take trusted.overlay.redirect from an image as its own. */
static inline bool cs_xattr_travels(const char *name)
{
	return strcmp(name, "security.capability") == 0 || strncmp(name, "user.", 5) == 0 || strcmp(name, "system.posix_acl_access") == 0 ||
	       strcmp(name, "system.posix_acl_default") == 0;
}

/* Which file a directory's entry stands for: a key of hash tables, without holes between its bytes. */
struct cs_file_key {
	uint64_t dev, ino;
};
struct cs_file_key cs_file_key(uint64_t dev, uint64_t ino);

/* Calls fn for each entry of a directory but "." and ".."; stops when it returns non-zero. 0, fn's value, or -errno. */
int cs_each_entry(int dir_fd, const char *path, int (*fn)(void *ctx, int dir_fd, const struct dirent *d), void *ctx);
