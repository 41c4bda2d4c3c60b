/* SPDX-License-Identifier: Apache-2.0
 * A stream in front of a layer: decompressed and read as a tar, without writing anything. What is read must not depend on where the pieces end. */
#include "storage/inflate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define OUTPUT_MAX (8u << 20)

struct input {
	const uint8_t *p;
	size_t left, piece;
	struct cs_inflate *z;
	size_t out;
	char buf[5000];
};

static ssize_t on_piece(void *ctx, const void **ret)
{
	struct input *in = ctx;
	size_t n = CS_MIN(in->piece, in->left);

	*ret = in->p;
	in->p += n;
	in->left -= n;
	return (ssize_t)n;
}

static ssize_t on_tar(void *ctx, const void **ret)
{
	struct input *in = ctx;
	ssize_t n = cs_inflate_read(in->z, in->buf, sizeof(in->buf), NULL);

	if (n < 0 || (in->out += (size_t)n) > OUTPUT_MAX)
		return -EIO;
	*ret = in->buf;
	return n;
}

/* Up to the end of the tar: true, and what was in it as a number. */
static bool run(const uint8_t *data, size_t size, size_t piece, unsigned *ret)
{
	struct input in = {.p = data, .left = size, .piece = piece};
	const struct cs_untar_entry *e;
	const void *p;
	size_t len, n = 0;
	int64_t off, last;
	unsigned h = 0;
	int r = 1;

	if (cs_inflate_new(cs_packed_kind(data, size), on_piece, &in, &in.z, NULL) < 0)
		abort();
	struct cs_untar *t = cs_untar_open(on_tar, &in);
	while (r == 1 && n++ < 10000 && (r = cs_untar_next(t, &e, NULL)) == 1) {
		if (strlen(e->path) >= PATH_MAX || strlen(e->link) >= PATH_MAX || e->size < 0 || e->mode > 07777)
			abort();
		for (const char *c = e->path; *c; c++)
			h = h * 31 + (unsigned char)*c;
		for (size_t i = 0; i < e->n_xattrs; i++)
			h = h * 31 + (unsigned)(strlen(e->xattrs[i].name) + (e->xattrs[i].len ? (unsigned char)e->xattrs[i].value[e->xattrs[i].len - 1] : 0u));
		last = 0;
		while ((r = cs_untar_data(t, &p, &len, &off, NULL)) == 1) {
			if (len == 0 || off < last || off + (int64_t)len > e->size)
				abort();
			last = off + (int64_t)len;
			for (size_t i = 0; i < len; i++)
				h = h * 31 + ((const unsigned char *)p)[i];
		}
		r = r == 0 ? 1 : -1;
	}
	cs_untar_free(t);
	cs_inflate_free(in.z);
	*ret = h;
	return r == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum cs_packed kind = cs_packed_kind(data, size);
	unsigned a, b;

	if (kind != CS_PACKED_GZIP && kind != CS_PACKED_ZSTD)
		return 0;
	bool whole = run(data, size, 1 << 20, &a);
	if (run(data, size, 3, &b) != whole || (whole && a != b))
		abort();
	return 0;
}
