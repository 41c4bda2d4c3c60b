/* SPDX-License-Identifier: Apache-2.0
 *
 * A writable layer becomes a layer of its own: packed once, and on the way compressed into the content store by one thread while another extracts
 * and hashes it. Nothing is shared with the source: a container goes on writing to its files. */
#include <pthread.h>

#include "base/queue.h"
#include "storage/deflate.h"
#include "storage/internal.h"

#define QUEUE (1u << 20)
#define STACK (512u << 10)

struct capture {
	int upper_fd;
	char *const *skip;
	struct cs_queue *queue;
	struct cs_deflate *z;
	struct cs_blob_writer *blob;
	struct cs_err *err; /* the packer's */
	void (*packed)(void *ctx);
	void *packed_ctx;
};

static int to_blob(void *ctx, const void *data, size_t len)
{
	struct capture *c = ctx;
	return cs_blob_write(c->blob, data, len, &c->err) < 0 ? -EIO : 0;
}

static int to_both(void *ctx, const void *data, size_t len)
{
	struct capture *c = ctx;
	int r = cs_queue_write(c->queue, data, len);

	return r < 0 ? r : cs_deflate_write(c->z, data, len);
}

static void *pack_main(void *arg)
{
	struct capture *c = arg;
	int r = cs_tar_diff(c->upper_fd, c->skip, to_both, c, &c->err);

	if (c->packed)
		c->packed(c->packed_ctx);
	cs_queue_end(c->queue, r < 0 ? -EIO : 0);
	if (r == 0 && cs_deflate_end(c->z) < 0)
		cs_fail(&c->err, CS_ERR_INTERNAL, EIO, "compress a layer");
	return NULL;
}

static ssize_t from_queue(void *ctx, void *buf, size_t max) { return cs_queue_read(((struct capture *)ctx)->queue, buf, max); }

static int run(struct cs_storage *s, struct capture *c, struct cs_layer_stage **stage, struct cs_layer_result *res, struct cs_err **err)
{
	struct cs_layer_source src = {.read = from_queue, .ctx = c};
	struct cs_err *late = NULL;
	pthread_attr_t attr;
	pthread_t t;

	if (cs_blob_begin(s, &c->blob, err) < 0 || cs_deflate_new(to_blob, c, &c->z, err) < 0)
		return -1;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK);
	int r = pthread_create(&t, &attr, pack_main, c);
	pthread_attr_destroy(&attr);
	if (r)
		return cs_fail(err, CS_ERR_INTERNAL, r, "start a thread");
	r = cs_layer_stage(s, &src, stage, res, &late);
	cs_queue_close(c->queue);
	(void)pthread_join(t, NULL);
	if (r == 0 && c->err) {
		cs_layer_drop(TAKE_PTR(*stage));
		r = -1;
	}
	/* whoever failed first made the other one fail: the extractor's end is a broken pipe to the packer */
	if (c->err && late && c->err->sys == EPIPE)
		cs_err_free(TAKE_PTR(c->err));
	if (r < 0) {
		struct cs_err *first = c->err ? TAKE_PTR(c->err) : TAKE_PTR(late);
		cs_err_free(late);
		return cs_err_move(err, first);
	}
	if (cs_blob_commit(TAKE_PTR(c->blob), NULL, &res->blob, &res->blob_size, err) < 0) {
		cs_layer_drop(TAKE_PTR(*stage));
		return -1;
	}
	res->compression = CS_LAYER_GZIP;
	return 0;
}

int cs_layer_capture(struct cs_storage *s, const struct cs_layer_capture *in, struct cs_layer_stage **ret, struct cs_layer_result *res, struct cs_err **err)
{
	struct capture c = {.upper_fd = in->upper_fd, .skip = in->skip, .packed = in->packed, .packed_ctx = in->ctx, .queue = cs_queue_new(QUEUE)};
	struct cs_layer_stage *stage = NULL;

	*res = (struct cs_layer_result){0};
	int r = run(s, &c, &stage, res, err);
	cs_deflate_free(c.z);
	cs_blob_abort(c.blob);
	cs_queue_free(c.queue);
	cs_err_free(c.err);
	if (r == 0)
		*ret = stage;
	return r;
}
