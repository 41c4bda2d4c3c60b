/* SPDX-License-Identifier: Apache-2.0
 *
 * From a stream to a layer's tree in one pass, without a temporary copy:
 *
 *   caller:   source -> sha256 of what came -> blob file -> | blocks |
 *   inflater:                                  | blocks | -> decompress -> sha256 (diff id) -> | blocks |
 *   writer:                                                                                    | blocks | -> files
 *
 * A plain tar needs no inflater, and its digest is its diff id: it is hashed once. Each stage records its own failure only; a stage whose
 * neighbour has failed just ends. Memory is two short queues of blocks per layer, whatever the archive says. */
#include <pthread.h>

#include "storage/blocks.h"
#include "storage/deflate.h"
#include "storage/inflate.h"
#include "storage/internal.h"

#define RAW_BLOCK (128u << 10)
#define TAR_BLOCK (256u << 10)
#define N_BLOCKS 4
#define STACK (512u << 10)
#define FLUSH_STEP (48ll << 20) /* of a layer's content, before the disk is told to begin */

struct unpack {
	struct cs_storage *s; /* or NULL */
	const struct cs_storage_limits *limits;
	const struct cs_layer_source *src;
	enum cs_packed packed;
	struct cs_blob_writer *blob; /* or NULL; of the caller's thread, of the inflater's when the stream is recompressed */
	struct cs_hash *diff;
	struct cs_blocks *raw, *tar;
	bool eof, broken; /* the source's end, or its failure */
	int64_t flushed;
	int64_t in_bytes, out_bytes; /* of the inflater; of the caller for a plain tar */
	struct cs_deflate *packer;   /* of what was bzip2, xz, … */
	int diff_fd;
	int64_t size;
	struct cs_err *read_err, *inflate_err, *write_err;
};

/* Both kinds of bomb: more than a layer may have, and much from nearly nothing. */
static int count_output(struct unpack *u, size_t n, struct cs_err **err)
{
	const struct cs_storage_limits *l = u->limits;

	u->out_bytes += (int64_t)n;
	if (u->s && u->out_bytes - u->flushed >= FLUSH_STEP) {
		u->flushed = u->out_bytes;
		cs_storage_writeback(u->s);
	}
	if (u->out_bytes > l->layer_bytes)
		return cs_fail(err, CS_ERR_INVALID, 0, "the archive is larger than %lld bytes unpacked", (long long)l->layer_bytes);
	if (u->packed != CS_PACKED_NONE && u->out_bytes > l->ratio_from && u->out_bytes / l->ratio > u->in_bytes)
		return cs_fail(err, CS_ERR_INVALID, 0, "the archive unpacks to more than %lld times its size: a decompression bomb", (long long)l->ratio);
	return 0;
}

/* ---- the caller's thread ---- */
static ssize_t fill(struct unpack *u, char *buf, size_t max)
{
	size_t n = 0;

	while (n < max && !u->eof) {
		ssize_t r = u->src->read(u->src->ctx, buf + n, max - n);
		if (r < 0) {
			u->broken = true;
			return cs_fail(&u->read_err, CS_ERR_INTERNAL, (int)-r, "read the archive");
		}
		u->eof = r == 0;
		n += (size_t)r;
	}
	return (ssize_t)n;
}

/* What no layer may be compressed with is kept as gzip, unless somebody knows these bytes by their digest. */
static bool repacks(const struct unpack *u) { return u->packed == CS_PACKED_OTHER && !u->src->blob; }

static bool believed(const struct unpack *u) { return u->src->verified && u->src->diff_id && u->packed == CS_PACKED_NONE; }

static int keep(struct unpack *u, const char *p, size_t n)
{
	if (u->packed == CS_PACKED_NONE) {
		if (!believed(u))
			cs_hash_update(u->diff, p, n);
		if (count_output(u, n, &u->read_err) < 0)
			return -1;
		return u->blob ? cs_blob_append(u->blob, p, n, &u->read_err) : 0;
	}
	return u->blob && !repacks(u) ? cs_blob_write(u->blob, p, n, &u->read_err) : 0;
}

static bool is_bad_content(const struct cs_err *e) { return e && cs_err_code(e) == CS_ERR_INVALID; }

/* The other threads want no more before the end of the source. When that is because of what came, and it is not even what was asked for, then this is what is
 * wrong with it: the digest of the whole tells. Nothing of the rest is stored. */
static void read_to_end(struct unpack *u)
{
	struct cs_digest is;
	bool plain = u->packed == CS_PACKED_NONE;
	ssize_t n;

	if (!u->src->blob || !u->blob || believed(u) || !(is_bad_content(u->inflate_err) || is_bad_content(u->write_err)))
		return;
	cs_autofree char *buf = cs_xmalloc(RAW_BLOCK);
	while (!u->eof && (n = u->src->read(u->src->ctx, buf, RAW_BLOCK)) != 0) {
		if (n < 0)
			return;
		if (plain)
			cs_hash_update(u->diff, buf, (size_t)n);
		else
			cs_blob_hash(u->blob, buf, (size_t)n);
	}
	if (plain)
		cs_hash_done(TAKE_PTR(u->diff), &is);
	else
		cs_blob_hashed(u->blob, &is);
	(void)!cs_digest_expect(&is, u->src->blob, &u->read_err);
}

/* Up to the end of the source, or until the other threads want no more. */
static int feed(struct unpack *u, struct cs_blocks *q, const char *head, size_t n_head)
{
	size_t max;
	char *p;

	while ((p = cs_blocks_space(q, &max))) {
		memcpy(p, head, n_head);
		ssize_t n = fill(u, p + n_head, max - n_head);
		if (n < 0)
			return -1;
		n += (ssize_t)n_head;
		n_head = 0;
		if (n == 0)
			break;
		if (keep(u, p, (size_t)n) < 0)
			return -1;
		cs_blocks_put(q, (size_t)n);
	}
	return 0;
}

/* ---- the inflater ---- */
static int put_blob(void *ctx, const void *data, size_t len)
{
	struct unpack *u = ctx;
	return cs_blob_write(u->blob, data, len, &u->inflate_err) < 0 ? -EIO : 0;
}

/* p NULL: the end. */
static int pack_again(struct unpack *u, const void *p, size_t n, struct cs_err **err)
{
	if (!u->packer && cs_deflate_new(put_blob, u, &u->packer, err) < 0)
		return -1;
	int r = p ? cs_deflate_write(u->packer, p, n) : cs_deflate_end(u->packer);
	return r < 0 ? cs_fail(err, CS_ERR_INTERNAL, -r, "compress a layer") : 0;
}

static ssize_t next_raw(void *ctx, const void **ret)
{
	struct unpack *u = ctx;
	ssize_t n = cs_blocks_next(u->raw, ret);

	if (n > 0)
		u->in_bytes += n;
	return n;
}

static int inflate_all(struct unpack *u, struct cs_inflate *z, struct cs_err **err)
{
	bool again = u->blob && repacks(u);
	size_t max;
	void *p;

	while ((p = cs_blocks_space(u->tar, &max))) {
		ssize_t n = cs_inflate_read(z, p, max, err);
		if (n < 0)
			return -1;
		if (n == 0)
			return again ? pack_again(u, NULL, 0, err) : 0;
		cs_hash_update(u->diff, p, (size_t)n);
		if (count_output(u, (size_t)n, err) < 0 || (again && pack_again(u, p, (size_t)n, err) < 0))
			return -1;
		cs_blocks_put(u->tar, (size_t)n);
	}
	return 0;
}

static void *inflate_main(void *arg)
{
	struct unpack *u = arg;
	struct cs_inflate *z = NULL;
	int r = cs_inflate_new(u->packed, next_raw, u, &z, &u->inflate_err);

	if (r == 0)
		r = inflate_all(u, z, &u->inflate_err);
	cs_inflate_free(z);
	cs_blocks_close(u->raw);
	cs_blocks_end(u->tar, r < 0 ? -EIO : 0);
	return NULL;
}

/* ---- the writer ---- */
static ssize_t next_tar(void *ctx, const void **ret) { return cs_blocks_next(((struct unpack *)ctx)->tar, ret); }

static void *write_main(void *arg)
{
	struct unpack *u = arg;
	const void *p;
	ssize_t n;

	/* The diff id covers what follows the end-of-archive marks, too: it has to come through. */
	if (cs_extract_tar(next_tar, u, u->diff_fd, u->limits, &u->size, &u->write_err) == 0) {
		while ((n = next_tar(u, &p)) > 0)
			;
		if (n < 0)
			cs_fail(&u->write_err, CS_ERR_INTERNAL, (int)-n, "read the archive");
	}
	cs_blocks_close(u->tar);
	return NULL;
}

/* ---- together ---- */
static int start(pthread_t *t, void *(*fn)(void *), struct unpack *u, struct cs_err **err)
{
	pthread_attr_t attr;

	(void)pthread_attr_init(&attr);
	(void)pthread_attr_setstacksize(&attr, STACK);
	int r = pthread_create(t, &attr, fn, u);
	(void)pthread_attr_destroy(&attr);
	return r == 0 ? 0 : cs_fail(err, CS_ERR_INTERNAL, r, "start a thread");
}

/* Digest, size and durability of the blob, while the other threads still work. */
static int settle(struct unpack *u, struct cs_digest *diff_id)
{
	bool plain = u->packed == CS_PACKED_NONE;

	if (believed(u))
		*diff_id = *u->src->diff_id;
	else if (plain)
		cs_hash_done(TAKE_PTR(u->diff), diff_id);
	return u->blob && !repacks(u) ? cs_blob_settle(u->blob, plain ? diff_id : NULL, u->src->blob, &u->read_err) : 0;
}

static int run(struct unpack *u, struct cs_digest *diff_id, struct cs_err **err)
{
	pthread_t inflater, writer;
	bool inflating = false;
	char head[CS_PACKED_MAGIC];
	ssize_t n = fill(u, head, sizeof(head));

	if (n < 0)
		return cs_err_move(err, TAKE_PTR(u->read_err));
	u->packed = cs_packed_kind(head, (size_t)n);
	u->tar = cs_blocks_new(N_BLOCKS, TAR_BLOCK);
	struct cs_blocks *q = u->tar;
	if (u->packed != CS_PACKED_NONE)
		q = u->raw = cs_blocks_new(N_BLOCKS, RAW_BLOCK);
	if (start(&writer, write_main, u, err) < 0)
		return -1;
	int r = 0;
	if (u->raw) {
		r = start(&inflater, inflate_main, u, &u->read_err);
		inflating = r == 0;
	}
	if (r == 0)
		r = feed(u, q, head, (size_t)n);
	cs_blocks_end(q, r < 0 ? -EIO : 0);
	if (u->raw && !inflating)
		cs_blocks_end(u->tar, -EIO);
	if (r == 0 && u->eof)
		(void)settle(u, diff_id);
	else if (r == 0)
		read_to_end(u);
	if (inflating)
		(void)pthread_join(inflater, NULL);
	(void)pthread_join(writer, NULL);
	struct cs_err **e = u->read_err ? &u->read_err : u->inflate_err ? &u->inflate_err : &u->write_err;
	if (*e)
		return cs_err_move(err, TAKE_PTR(*e));
	if (u->packed != CS_PACKED_NONE)
		cs_hash_done(TAKE_PTR(u->diff), diff_id);
	return 0;
}

static int finish(struct unpack *u, struct cs_layer_stage *st, struct cs_layer_result *res, struct cs_err **err)
{
	if (run(u, &res->diff_id, err) < 0)
		return -1;
	if (u->src->diff_id && strcmp(u->src->diff_id->s, res->diff_id.s) != 0)
		return cs_fail(err, CS_ERR_INVALID, 0, "layer's diff id is %s where the configuration says %s", res->diff_id.s, u->src->diff_id->s);
	st->diff_id = res->diff_id;
	res->size = u->size;
	res->compression = u->packed == CS_PACKED_NONE ? CS_LAYER_TAR : u->packed == CS_PACKED_ZSTD ? CS_LAYER_ZSTD : CS_LAYER_GZIP;
	return u->blob ? cs_blob_commit(TAKE_PTR(u->blob), u->src->blob, &res->blob, &res->blob_size, err) : 0;
}

static void done(struct unpack *u)
{
	cs_blocks_free(u->raw);
	cs_blocks_free(u->tar);
	cs_hash_done(u->diff, NULL);
	if (u->broken && u->src->keep_broken && u->src->blob)
		cs_blob_keep(u->blob, u->src->blob);
	else
		cs_blob_abort(u->blob);
	cs_deflate_free(u->packer);
	cs_err_free(u->read_err);
	cs_err_free(u->inflate_err);
	cs_err_free(u->write_err);
}

int cs_layer_stage(struct cs_storage *s, const struct cs_layer_source *src, struct cs_layer_stage **ret, struct cs_layer_result *ret_result,
		   struct cs_err **err)
{
	struct cs_layer_result res = {0};
	struct cs_layer_stage *st = NULL;
	struct unpack u = {.s = s, .limits = &s->limits, .src = src, .diff_fd = -EBADF, .blob = src->resumed};
	struct cs_err *e = NULL;

	u.diff = cs_hash_new();
	int r = cs_stage_new(s, &st, &e);
	if (r == 0) {
		u.diff_fd = st->diff_fd;
		r = src->store_blob && !u.blob ? cs_blob_begin(s, &u.blob, &e) : 0;
	}
	if (r == 0)
		r = finish(&u, st, &res, &e);
	done(&u);
	if (r < 0) {
		cs_layer_drop(st);
		if (src->blob)
			(void)cs_wrap(&e, "layer %s", src->blob->s);
		return cs_err_move(err, e);
	}
	*ret = st;
	*ret_result = res;
	return 0;
}

int cs_unpack_into(int dir_fd, cs_read_fn read, void *ctx, const struct cs_storage_limits *limits, struct cs_err **err)
{
	const struct cs_layer_source src = {.read = read, .ctx = ctx};
	struct unpack u = {.limits = limits, .src = &src, .diff_fd = dir_fd};
	struct cs_digest diff_id;

	u.diff = cs_hash_new();
	int r = run(&u, &diff_id, err);
	done(&u);
	return r;
}

int cs_layer_unpack(struct cs_storage *s, const struct cs_layer_source *src, struct cs_layer_result *ret, struct cs_err **err)
{
	struct cs_layer_result res;
	struct cs_layer_stage *st = NULL;

	if (cs_layer_stage(s, src, &st, &res, err) < 0 || cs_layer_publish(st, src->parent, &res.chain_id, err) < 0)
		return -1;
	*ret = res;
	return 0;
}
