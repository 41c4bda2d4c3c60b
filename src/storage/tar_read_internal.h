/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside of the tar reader: the formats. */
#pragma once

#include <string.h>
#include <sys/types.h>

#include "storage/tar_read.h"

#define CS_UNTAR_BLOCK 512
#define CS_UNTAR_META_MAX (1 << 20) /* of an extended header or a sparse map, as in Go */
#define STAR_PREFIX 131

struct cs_untar_sparse_field {
	char off[12], len[12];
};
struct cs_untar_header {
	char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], sum[8], type, link[100], magic[8], uname[32], gname[32], major[8], minor[8];
	union {
		char prefix[155]; /* ustar */
		struct {          /* star: a shorter prefix, two times, and its mark */
			char rest[163], mark[4];
		} trailer;
		struct {
			char atime[12], ctime[12], offset[12], longnames[4], unused;
			struct cs_untar_sparse_field map[4];
			char extended, real_size[12];
		} gnu;
	} u;
};
_Static_assert(sizeof(struct cs_untar_header) == CS_UNTAR_BLOCK, "a tar header is one block");

struct cs_untar_piece {
	int64_t off, len;
};
struct cs_untar {
	cs_piece_fn next;
	void *ctx;
	const char *p; /* rest of the current piece */
	size_t len;
	bool end;
	int64_t left, pad; /* of the entry's stored data */
	struct cs_untar_entry e;
	const struct cs_untar_header *header; /* while an entry's header is read */
	bool old_file;
	int64_t uid, gid;
	char path[PATH_MAX], link[PATH_MAX], long_name[PATH_MAX], long_link[PATH_MAX];
	char *pax; /* records of the extended header; the xattrs point into it */
	size_t pax_len;
	struct cs_untar_xattr *xattrs;
	size_t n_xattrs, cap_xattrs;
	/* sparse */
	bool is_sparse;
	struct cs_untar_piece *map;
	size_t n_map, cap_map, map_at;
	int64_t map_done; /* of the current piece */
	struct {
		int64_t size, major, minor;
		const char *name, *text; /* into pax */
		size_t text_len;
		bool have_size, have_version;
	} gnu;
};

int cs_untar_bad(struct cs_err **err, const char *what);
bool cs_untar_number(const char *field, size_t n, int64_t *ret);
CS_MUST_CHECK int cs_untar_read(struct cs_untar *t, void *buf, size_t n, struct cs_err **err);      /* a block between entries */
CS_MUST_CHECK int cs_untar_read_data(struct cs_untar *t, void *buf, size_t n, struct cs_err **err); /* of the entry's data */
/* tar_pax.c */
CS_MUST_CHECK int cs_untar_read_pax(struct cs_untar *t, struct cs_err **err);
CS_MUST_CHECK int cs_untar_read_long(struct cs_untar *t, char out[PATH_MAX], struct cs_err **err);
CS_MUST_CHECK int cs_untar_apply_pax(struct cs_untar *t, struct cs_err **err);
/* tar_sparse.c */
CS_MUST_CHECK int cs_untar_sparse(struct cs_untar *t, struct cs_err **err);
bool cs_untar_map_add(struct cs_untar *t, int64_t off, int64_t len);
bool cs_untar_decimal(const char *s, size_t n, int64_t *ret);
