/* SPDX-License-Identifier: Apache-2.0
 *
 * One pass from a compressed stream to a published layer: the bytes as received go to the content store, the uncompressed tar is
 * hashed (diff id) while its entries are written to a private directory. One thread per layer. */
#include <fcntl.h>
#include <sys/stat.h>
#include <zlib.h>

#include "base/io.h"
#include "base/sys.h"
#include "storage/archive_lib.h"
#include "storage/internal.h"

struct pipeline {
	const struct cs_layer_source *src;
	struct cs_storage *s;
	struct archive *raw;          /* decompressor */
	struct cs_hash *diff;
	struct cs_blob_writer *blob;  /* or NULL */
	z_stream *gz;                 /* recompression of bzip2, xz, … */
	bool decided;                 /* compression of the source is known */
	enum cs_layer_compression kind;
	bool foreign;                 /* the source's compression is none that a layer may have */
	struct cs_err *err;           /* first failure of a write inside a callback */
	int read_errno;
	const char *block;            /* rest of a decompressed block */
	size_t block_len;
	char buf[128 << 10], gzbuf[64 << 10];
};

static void decide(struct pipeline *p, const unsigned char *b, size_t n)
{
	static const struct {
		unsigned char magic[6];
		size_t len;
		enum cs_layer_compression kind;
		bool foreign;
	} known[] = {
		{{0x1f, 0x8b}, 2, CS_LAYER_GZIP, false},
		{{0x28, 0xb5, 0x2f, 0xfd}, 4, CS_LAYER_ZSTD, false},
		{{'B', 'Z', 'h'}, 3, CS_LAYER_GZIP, true},
		{{0xfd, '7', 'z', 'X', 'Z', 0}, 6, CS_LAYER_GZIP, true},
		{{0x5d, 0, 0}, 3, CS_LAYER_GZIP, true},          /* lzma */
		{{0x04, 0x22, 0x4d, 0x18}, 4, CS_LAYER_GZIP, true}, /* lz4 */
		{{'L', 'Z', 'I', 'P'}, 4, CS_LAYER_GZIP, true},
		{{0x1f, 0x9d}, 2, CS_LAYER_GZIP, true},          /* compress */
	};
	p->decided = true;
	p->kind = CS_LAYER_TAR;
	for (size_t i = 0; i < CS_ARRAY_SIZE(known); i++) {
		if (n >= known[i].len && memcmp(b, known[i].magic, known[i].len) == 0) {
			p->kind = known[i].kind;
			p->foreign = known[i].foreign;
			return;
		}
	}
}

static int gz_put(struct pipeline *p, const void *data, size_t len, int flush)
{
	int r;

	if (!p->gz) {
		p->gz = cs_xcalloc(1, sizeof(*p->gz));
		if (deflateInit2(p->gz, 3, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
			return cs_fail(&p->err, CS_ERR_INTERNAL, ENOMEM, "compress a layer");
	}
	p->gz->next_in = (unsigned char *)(uintptr_t)data;
	p->gz->avail_in = (unsigned)len;
	do {
		p->gz->next_out = (unsigned char *)p->gzbuf;
		p->gz->avail_out = sizeof(p->gzbuf);
		r = deflate(p->gz, flush);
		if (r == Z_STREAM_ERROR)
			return cs_fail(&p->err, CS_ERR_INTERNAL, 0, "compress a layer");
		if (cs_blob_write(p->blob, p->gzbuf, sizeof(p->gzbuf) - p->gz->avail_out, &p->err) < 0)
			return -1;
	} while (p->gz->avail_out == 0 || (flush == Z_FINISH && r != Z_STREAM_END));
	return 0;
}

/* What libarchive's filters read: the source, copied into the blob on the way. */
static ssize_t on_source(struct archive *a, void *ctx, const void **buf)
{
	struct pipeline *p = ctx;
	ssize_t n = p->src->read(p->src->ctx, p->buf, sizeof(p->buf));

	if (n < 0) {
		p->read_errno = (int)-n;
		cs_ar(set_error)(a, (int)-n, "read");
		return ARCHIVE_FATAL;
	}
	if (n > 0 && !p->decided) {
		/* the magic must not be split over two short reads */
		while (n < 6) {
			ssize_t m = p->src->read(p->src->ctx, p->buf + n, sizeof(p->buf) - (size_t)n);
			if (m <= 0)
				break;
			n += m;
		}
		decide(p, (const unsigned char *)p->buf, (size_t)n);
	}
	if (n > 0 && p->blob && !p->foreign && cs_blob_write(p->blob, p->buf, (size_t)n, &p->err) < 0) {
		cs_ar(set_error)(a, EIO, "write");
		return ARCHIVE_FATAL;
	}
	*buf = p->buf;
	return n;
}

/* What the tar reader reads: the decompressed stream, hashed on the way. */
static ssize_t on_tar(void *ctx, void *buf, size_t max)
{
	struct pipeline *p = ctx;
	size_t done = 0;

	while (done < max) {
		if (p->block_len == 0) {
			const void *data;
			int64_t off;
			int r = cs_ar(read_data_block)(p->raw, &data, &p->block_len, &off);
			if (r == ARCHIVE_EOF) {
				p->block_len = 0;
				break;
			}
			if (r != ARCHIVE_OK && r != ARCHIVE_WARN) {
				p->block_len = 0;
				if (!p->err && p->read_errno)
					cs_fail(&p->err, CS_ERR_INTERNAL, p->read_errno, "read the archive");
				cs_fail(&p->err, CS_ERR_INVALID, 0, "decompress the archive: %s", cs_ar(error_string)(p->raw));
				return -EIO;
			}
			p->block = data;
			continue;
		}
		size_t n = CS_MIN(p->block_len, max - done);
		memcpy((char *)buf + done, p->block, n);
		p->block += n;
		p->block_len -= n;
		done += n;
	}
	if (done == 0)
		return 0;
	cs_hash_update(p->diff, buf, done);
	if (p->foreign && p->blob && gz_put(p, buf, done, Z_NO_FLUSH) < 0)
		return -EIO;
	return (ssize_t)done;
}

/* Only filters that live in the library: the others would run programs. */
static int open_filters(struct pipeline *p, struct cs_err **err)
{
	struct archive *a = p->raw;
	struct archive_entry *e;

	if (cs_ar(read_support_filter_gzip)(a) != ARCHIVE_OK || cs_ar(read_support_filter_bzip2)(a) != ARCHIVE_OK ||
	    cs_ar(read_support_filter_xz)(a) != ARCHIVE_OK || cs_ar(read_support_filter_zstd)(a) != ARCHIVE_OK ||
	    cs_ar(read_support_filter_lzma)(a) != ARCHIVE_OK || cs_ar(read_support_filter_lzip)(a) != ARCHIVE_OK ||
	    cs_ar(read_support_filter_lz4)(a) != ARCHIVE_OK || cs_ar(read_support_filter_compress)(a) != ARCHIVE_OK)
		return cs_fail(err, CS_ERR_INTERNAL, 0, "libarchive was built without a decompressor that is needed");
	cs_ar(read_support_format_raw)(a);
	cs_ar(read_support_format_empty)(a);
	int r = cs_ar(read_open)(a, p, NULL, on_source, NULL);
	if (r == ARCHIVE_OK)
		r = cs_ar(read_next_header)(a, &e);
	if (r == ARCHIVE_OK || r == ARCHIVE_EOF)
		return 0;
	if (p->err)
		return cs_err_move(err, TAKE_PTR(p->err));
	if (p->read_errno)
		return cs_fail(err, CS_ERR_INTERNAL, p->read_errno, "read the archive");
	return cs_fail(err, CS_ERR_INVALID, 0, "read the archive: %s", cs_ar(error_string)(a));
}

static int extract(struct pipeline *p, int dir_fd, int64_t *size, struct cs_err **err)
{
	struct cs_err *e = NULL;
	char *rest = NULL;
	ssize_t n;
	int r = cs_extract_tar(on_tar, p, dir_fd, size, &e);

	/* The digest covers what follows the end-of-archive marks, too. */
	if (r == 0) {
		rest = cs_xmalloc(64 << 10);
		while ((n = on_tar(p, rest, 64 << 10)) > 0)
			;
		r = n < 0 ? -1 : 0;
		free(rest);
	}
	/* A failure inside a callback is the real one; libarchive only relays it. */
	if (r < 0 && p->err) {
		cs_err_free(e);
		return cs_err_move(err, TAKE_PTR(p->err));
	}
	if (r == 0 && p->foreign && p->blob && gz_put(p, NULL, 0, Z_FINISH) < 0)
		return cs_err_move(err, TAKE_PTR(p->err));
	return r < 0 ? cs_err_move(err, e) : 0;
}

struct cs_layer_stage {
	struct cs_storage *s;
	struct cs_digest diff_id;
	int diff_fd;
	char tmp[64]; /* name in tmp/ */
};

void cs_layer_drop(struct cs_layer_stage *st)
{
	if (!st)
		return;
	cs_close(st->diff_fd);
	(void)cs_remove_tree_at(st->s->tmp_fd, st->tmp); /* gone already when published */
	free(st);
}

static int make_stage(struct cs_storage *s, struct cs_layer_stage **ret, struct cs_err **err)
{
	struct cs_layer_stage *st = cs_xcalloc(1, sizeof(*st));
	cs_autofd int dir = -EBADF;

	st->s = s;
	st->diff_fd = -EBADF;
	cs_storage_tmp_name(s, "layer", st->tmp);
	if (mkdirat(s->tmp_fd, st->tmp, 0710) < 0)
		goto fail;
	dir = openat(s->tmp_fd, st->tmp, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (dir < 0 || mkdirat(dir, "diff", 0755) < 0 || fchmodat(dir, "diff", 0755, 0) < 0)
		goto fail;
	st->diff_fd = openat(dir, "diff", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (st->diff_fd < 0)
		goto fail;
	*ret = st;
	return 0;
fail:
	cs_fail(err, cs_storage_code(errno), errno, "create a layer in %s/tmp", s->root);
	cs_layer_drop(st);
	return -1;
}

/* Gives a synced stage its name. */
static int name_layer(struct cs_layer_stage *st, const struct cs_digest *chain, struct cs_err **err)
{
	struct cs_storage *s = st->s;

	if (renameat2(s->tmp_fd, st->tmp, s->layers_fd, cs_digest_hex(chain), RENAME_NOREPLACE) < 0) {
		if (errno == EEXIST)
			return 0; /* somebody else was faster: same chain id, same content */
		return cs_fail(err, cs_storage_code(errno), errno, "publish layer %s", chain->s);
	}
	return 0;
}

int cs_layers_publish(struct cs_layer_stage **stages, size_t n, const struct cs_digest *parent, struct cs_digest *ret_chains, struct cs_err **err)
{
	struct cs_storage *s = n ? stages[0]->s : NULL;
	struct cs_digest chain = {0};
	int r = 0;

	if (parent)
		chain = *parent;
	/* All of the files must be on disk before a layer has its name: a name is believed after a power cut. They are on one file system. */
	if (n && syncfs(stages[0]->diff_fd) < 0)
		r = cs_fail(err, cs_storage_code(errno), errno, "sync the layers in %s/tmp", s->root);
	for (size_t i = 0; i < n; i++) {
		if (r == 0) {
			cs_chain_id(&chain, &stages[i]->diff_id, &chain);
			r = name_layer(stages[i], &chain, err);
			if (r == 0 && ret_chains)
				ret_chains[i] = chain;
		}
	}
	if (n && r == 0 && fsync(s->layers_fd) < 0)
		r = cs_fail(err, cs_storage_code(errno), errno, "sync %s/layers", s->root);
	for (size_t i = 0; i < n; i++)
		cs_layer_drop(TAKE_PTR(stages[i]));
	return r;
}

int cs_layer_publish(struct cs_layer_stage *stage, const struct cs_digest *parent, struct cs_digest *ret_chain, struct cs_err **err)
{
	return cs_layers_publish(&stage, 1, parent, ret_chain, err);
}

static int run(struct pipeline *p, struct cs_layer_stage *st, struct cs_layer_result *res, struct cs_err **err)
{
	if (p->src->store_blob && cs_blob_begin(p->s, &p->blob, err) < 0)
		return -1;
	if (open_filters(p, err) < 0 || extract(p, st->diff_fd, &res->size, err) < 0)
		return -1;
	cs_hash_done(TAKE_PTR(p->diff), &res->diff_id);
	if (p->src->diff_id && strcmp(p->src->diff_id->s, res->diff_id.s) != 0)
		return cs_fail(err, CS_ERR_INVALID, 0, "layer's diff id is %s where the configuration says %s", res->diff_id.s, p->src->diff_id->s);
	st->diff_id = res->diff_id;
	res->compression = p->kind;
	return p->blob ? cs_blob_commit(TAKE_PTR(p->blob), p->src->blob, &res->blob, &res->blob_size, err) : 0;
}

int cs_layer_stage(struct cs_storage *s, const struct cs_layer_source *src, struct cs_layer_stage **ret, struct cs_layer_result *ret_result,
		   struct cs_err **err)
{
	struct cs_layer_result res = {0};
	struct cs_layer_stage *st = NULL;

	if (cs_archive_get(err) < 0)
		return -1;
	struct pipeline *p = cs_xcalloc(1, sizeof(*p));

	p->src = src;
	p->s = s;
	p->diff = cs_hash_new();
	p->raw = cs_ar(read_new)();
	if (!p->raw)
		abort();
	int r = make_stage(s, &st, err);
	if (r == 0)
		r = run(p, st, &res, err);
	(void)cs_ar(read_free)(p->raw);
	cs_hash_done(p->diff, NULL);
	cs_blob_abort(p->blob);
	if (p->gz) {
		(void)deflateEnd(p->gz);
		free(p->gz);
	}
	cs_err_free(p->err);
	free(p);
	cs_archive_put();
	if (r < 0) {
		cs_layer_drop(st);
		return -1;
	}
	*ret = st;
	*ret_result = res;
	return 0;
}

int cs_layer_unpack(struct cs_storage *s, const struct cs_layer_source *src, struct cs_layer_result *ret, struct cs_err **err)
{
	struct cs_layer_result res;
	struct cs_layer_stage *st;

	if (cs_layer_stage(s, src, &st, &res, err) < 0 || cs_layer_publish(st, src->parent, &res.chain_id, err) < 0)
		return -1;
	*ret = res;
	return 0;
}
