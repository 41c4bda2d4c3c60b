/* SPDX-License-Identifier: Apache-2.0
 *
 * Content store: blobs by digest in an OCI image layout. A writer belongs to one thread; the store to all. */
#include <fcntl.h>
#include <sys/stat.h>

#include "base/io.h"
#include "storage/internal.h"

#define FLUSH_STEP (8ll << 20)
#define KEEP_MIN 65536 /* less is fetched again as quickly */

struct cs_blob_writer {
	struct cs_storage *s;
	struct cs_hash *hash;
	struct cs_digest digest; /* once settled */
	bool settled;
	int fd;
	int64_t size, flushed;
	int64_t have; /* what the file holds from the beginning: so many bytes are hashed only */
	char name[64]; /* in tmp/ */
};

int cs_blob_begin(struct cs_storage *s, struct cs_blob_writer **ret, struct cs_err **err)
{
	struct cs_blob_writer *w = cs_xcalloc(1, sizeof(*w));

	w->s = s;
	cs_storage_tmp_name(s, "blob", w->name);
	w->fd = openat(s->tmp_fd, w->name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (w->fd < 0) {
		cs_fail(err, cs_storage_code(errno), errno, "create a blob in %s/tmp", s->root);
		free(w);
		return -1;
	}
	w->hash = cs_hash_new();
	*ret = w;
	return 0;
}

int cs_blob_resume(struct cs_storage *s, const struct cs_digest *d, int64_t max, struct cs_blob_writer **ret, int *ret_fd, int64_t *ret_have)
{
	struct cs_blob_writer *w = cs_xcalloc(1, sizeof(*w));

	w->s = s;
	w->fd = -EBADF;
	cs_storage_tmp_name(s, "blob", w->name);
	cs_autofd int fd = -EBADF;
	int r = cs_partial_take(s, d, max, w->name, &w->fd, &w->have);
	if (r == 0) {
		/* a position of its own for the reader */
		fd = openat(s->tmp_fd, w->name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
		r = fd < 0 ? -errno : 0;
	} else {
		w->name[0] = 0;
	}
	if (r < 0) {
		cs_blob_abort(w);
		return r;
	}
	w->flushed = w->have;
	w->hash = cs_hash_new();
	*ret = w;
	*ret_have = w->have;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

void cs_blob_keep(struct cs_blob_writer *w, const struct cs_digest *d)
{
	if (w && w->name[0] && !w->settled && CS_MAX(w->size, w->have) >= KEEP_MIN && cs_partial_keep(w->s, w->name, d))
		w->name[0] = 0;
	cs_blob_abort(w);
}

int cs_blob_append(struct cs_blob_writer *w, const void *data, size_t len, struct cs_err **err)
{
	size_t here = w->size < w->have ? (size_t)CS_MIN((int64_t)len, w->have - w->size) : 0;

	w->size += (int64_t)here;
	data = (const char *)data + here;
	len -= here;
	if (len == 0)
		return 0;
	int r = cs_write_full(w->fd, data, len);
	if (r < 0)
		return cs_fail(err, cs_storage_code(-r), -r, "write a blob in %s/content", w->s->root);
	w->size += (int64_t)len;
	/* The disk starts now, not at the fsync: only the last piece is left to wait for then. */
	if (w->size - w->flushed >= FLUSH_STEP) {
		(void)sync_file_range(w->fd, w->flushed, w->size - w->flushed, SYNC_FILE_RANGE_WRITE);
		w->flushed = w->size;
	}
	return 0;
}

int cs_blob_write(struct cs_blob_writer *w, const void *data, size_t len, struct cs_err **err)
{
	cs_hash_update(w->hash, data, len);
	return cs_blob_append(w, data, len, err);
}

void cs_blob_hash(struct cs_blob_writer *w, const void *data, size_t len) { cs_hash_update(w->hash, data, len); }

void cs_blob_hashed(struct cs_blob_writer *w, struct cs_digest *ret) { cs_hash_done(TAKE_PTR(w->hash), ret); }

void cs_blob_abort(struct cs_blob_writer *w)
{
	if (!w)
		return;
	cs_hash_done(w->hash, NULL);
	cs_close(w->fd);
	if (w->name[0])
		(void)unlinkat(w->s->tmp_fd, w->name, 0);
	free(w);
}

int cs_blob_settle(struct cs_blob_writer *w, const struct cs_digest *is, const struct cs_digest *expected, struct cs_err **err)
{
	cs_hash_done(TAKE_PTR(w->hash), &w->digest);
	if (is)
		w->digest = *is;
	if (cs_digest_expect(&w->digest, expected, err) < 0)
		return -1;
	if (fsync(w->fd) < 0)
		return cs_fail(err, cs_storage_code(errno), errno, "store blob %s", w->digest.s);
	w->settled = true;
	return 0;
}

int cs_blob_commit(struct cs_blob_writer *w, const struct cs_digest *expected, struct cs_digest *ret, int64_t *ret_size, struct cs_err **err)
{
	struct cs_storage *s = w->s;
	int r = w->settled ? 0 : cs_blob_settle(w, NULL, expected, err);

	if (r == 0 && renameat(s->tmp_fd, w->name, s->blobs_fd, cs_digest_hex(&w->digest)) < 0)
		r = cs_fail(err, cs_storage_code(errno), errno, "store blob %s", w->digest.s);
	if (r == 0) {
		w->name[0] = 0;
		if (fsync(s->blobs_fd) < 0)
			r = cs_fail(err, cs_storage_code(errno), errno, "sync %s/content", s->root);
	}
	if (r == 0) {
		if (ret)
			*ret = w->digest;
		if (ret_size)
			*ret_size = w->size;
	}
	cs_blob_abort(w);
	return r;
}

int cs_blob_put(struct cs_storage *s, const void *data, size_t len, struct cs_digest *ret, struct cs_err **err)
{
	struct cs_blob_writer *w;

	if (cs_blob_begin(s, &w, err) < 0)
		return -1;
	if (cs_blob_write(w, data, len, err) < 0) {
		cs_blob_abort(w);
		return -1;
	}
	return cs_blob_commit(w, NULL, ret, NULL, err);
}

int cs_blob_open(struct cs_storage *s, const struct cs_digest *d, int *ret_fd, int64_t *ret_size, struct cs_err **err)
{
	struct stat st;
	cs_autofd int fd = openat(s->blobs_fd, cs_digest_hex(d), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

	if (fd < 0 && errno == ENOENT)
		return cs_fail(err, CS_ERR_NOT_FOUND, ENOENT, "content %s", d->s);
	if (fd < 0 || fstat(fd, &st) < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "open content %s", d->s);
	if (!S_ISREG(st.st_mode))
		return cs_fail(err, CS_ERR_INTERNAL, 0, "content %s is not a regular file", d->s);
	if (ret_size)
		*ret_size = st.st_size;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int cs_blob_get(struct cs_storage *s, const struct cs_digest *d, size_t max, struct cs_str *out, struct cs_err **err)
{
	cs_autofd int fd = -EBADF;
	struct cs_digest is;

	if (cs_blob_open(s, d, &fd, NULL, err) < 0)
		return -1;
	cs_autostr struct cs_str text = CS_STR_INIT(max);
	int r = cs_read_fd(fd, &text);
	if (r == -EFBIG)
		return cs_fail(err, CS_ERR_INVALID, 0, "content %s is larger than %zu bytes", d->s, max);
	if (r < 0)
		return cs_fail(err, CS_ERR_INTERNAL, -r, "read content %s", d->s);
	cs_hash_data(text.buf, text.len, &is);
	if (strcmp(is.s, d->s) != 0)
		return cs_fail(err, CS_ERR_INTERNAL, 0, "content %s is damaged on disk", d->s);
	cs_str_put(out, text.buf, text.len);
	return out->failed ? cs_fail(err, CS_ERR_INTERNAL, ENOMEM, "read content %s", d->s) : 0;
}

void cs_blob_remove(struct cs_storage *s, const struct cs_digest *d) { (void)unlinkat(s->blobs_fd, cs_digest_hex(d), 0); }

struct each_ctx {
	void (*fn)(void *ctx, const struct cs_digest *d);
	void *ctx;
};

static int each_blob(void *ctx, int dir_fd, const struct dirent *d)
{
	struct each_ctx *e = ctx;
	struct cs_digest dig;
	cs_autofree char *name = cs_xasprintf("sha256:%s", d->d_name);

	if (cs_digest_from(name, &dig))
		e->fn(e->ctx, &dig);
	else
		(void)unlinkat(dir_fd, d->d_name, 0);
	return 0;
}

void cs_blob_each(struct cs_storage *s, void (*fn)(void *ctx, const struct cs_digest *d), void *ctx)
{
	struct each_ctx e = {fn, ctx};
	(void)cs_each_entry(s->blobs_fd, ".", each_blob, &e);
}

int cs_content_set_index(struct cs_storage *s, const char *json, size_t len, struct cs_err **err)
{
	int r = cs_replace_file_at(s->root_fd, "content/index.json", json, len, 0644, true);
	return r < 0 ? cs_fail(err, cs_storage_code(-r), -r, "write %s/content/index.json", s->root) : 0;
}
