/* SPDX-License-Identifier: Apache-2.0
 *
 * A stored plain tar as a gzip blob of its own, for registries. Deterministic: the same tar gives the same digest. The caller's thread does the work. */
#include "base/io.h"
#include "storage/deflate.h"
#include "storage/internal.h"

#define BLOCK (256u << 10)

struct sink {
	struct cs_blob_writer *w;
	struct cs_err *err;
};

static int sink_write(void *ctx, const void *data, size_t len)
{
	struct sink *s = ctx;
	return cs_blob_write(s->w, data, len, &s->err) < 0 ? -EIO : 0;
}

static int copy(int fd, struct cs_deflate *z, bool (*stop)(void *ctx), void *ctx, struct cs_err **err)
{
	cs_autofree char *buf = cs_xmalloc(BLOCK);
	int r = 0;

	for (;;) {
		ssize_t n = read(fd, buf, BLOCK);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return cs_fail(err, CS_ERR_INTERNAL, errno, "read a blob");
		if (stop && stop(ctx))
			return cs_fail(err, CS_ERR_CANCELLED, ECANCELED, "compress a layer");
		r = n ? cs_deflate_write(z, buf, (size_t)n) : cs_deflate_end(z);
		if (r < 0)
			return cs_fail(err, CS_ERR_INTERNAL, -r, "compress a layer");
		if (n == 0)
			return 0;
	}
}

int cs_blob_gzip(struct cs_storage *s, const struct cs_digest *tar, bool (*stop)(void *ctx), void *ctx, struct cs_digest *ret, int64_t *ret_size,
		 struct cs_err **err)
{
	cs_autofd int fd = -EBADF;
	struct sink sink = {0};
	struct cs_deflate *z = NULL;
	struct cs_err *e = NULL;

	if (cs_blob_open(s, tar, &fd, NULL, err) < 0 || cs_blob_begin(s, &sink.w, err) < 0)
		return -1;
	int r = cs_deflate_new(sink_write, &sink, &z, &e);
	if (r == 0)
		r = copy(fd, z, stop, ctx, &e);
	cs_deflate_free(z);
	if (r < 0) {
		cs_blob_abort(sink.w);
		/* a failed write is the real reason */
		if (sink.err) {
			cs_err_free(e);
			e = sink.err;
		}
		return cs_err_move(err, e);
	}
	return cs_blob_commit(sink.w, NULL, ret, ret_size, err);
}
