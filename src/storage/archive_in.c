/* SPDX-License-Identifier: Apache-2.0
 *
 * The archive around images (docker save, oci-archive): a tar, perhaps compressed, that arrives as a stream and is read once, entry by entry. Data
 * is handed out where it lies. Nothing here trusts a number of the archive. One thread. */
#include "storage/inflate.h"
#include "storage/internal.h"
#include "storage/tar_read.h"

#define BLOCK 512u
#define BUFFER (256u << 10)

struct cs_archive_in {
	cs_read_fn read;
	void *ctx;
	struct cs_untar *tar;
	struct cs_inflate *inflate; /* or NULL */
	size_t head_len;            /* of buf: read before we knew what it is */
	struct cs_err *err;         /* first failure below the tar */
	const char *data;           /* rest of a piece of the entry */
	size_t len;
	int64_t at;                 /* in the entry */
	bool in_entry;
	char *plain;                /* BUFFER bytes, when something inflates */
	char buf[BUFFER];
};

/* Pieces of a socket are small; everything after this likes large ones. */
static ssize_t fill(struct cs_archive_in *a)
{
	size_t n = a->head_len;

	a->head_len = 0;
	while (n < BUFFER) {
		ssize_t r = a->read(a->ctx, a->buf + n, BUFFER - n);
		if (r < 0) {
			cs_fail(&a->err, CS_ERR_INTERNAL, (int)-r, "read the archive");
			return r;
		}
		if (r == 0)
			break;
		n += (size_t)r;
	}
	return (ssize_t)n;
}

static ssize_t next_source(void *ctx, const void **ret)
{
	struct cs_archive_in *a = ctx;

	*ret = a->buf;
	return fill(a);
}

static ssize_t next_plain(void *ctx, const void **ret)
{
	struct cs_archive_in *a = ctx;
	ssize_t n = cs_inflate_read(a->inflate, a->plain, BUFFER, &a->err);

	*ret = a->plain;
	return n < 0 ? -EIO : n;
}

int cs_archive_in_open(cs_read_fn read, void *ctx, struct cs_archive_in **ret, struct cs_err **err)
{
	struct cs_archive_in *a = cs_xmalloc(sizeof(*a));

	memset(a, 0, offsetof(struct cs_archive_in, buf));
	a->read = read;
	a->ctx = ctx;
	ssize_t n = fill(a);
	if (n < 0) {
		cs_err_move(err, TAKE_PTR(a->err));
		cs_archive_in_free(a);
		return -1;
	}
	a->head_len = (size_t)n;
	enum cs_packed kind = cs_packed_kind(a->buf, (size_t)n);
	if (kind != CS_PACKED_NONE) {
		if (cs_inflate_new(kind, next_source, a, &a->inflate, err) < 0) {
			cs_archive_in_free(a);
			return -1;
		}
		a->plain = cs_xmalloc(BUFFER);
	}
	a->tar = cs_untar_open(a->inflate ? next_plain : next_source, a);
	*ret = a;
	return 0;
}

void cs_archive_in_free(struct cs_archive_in *a)
{
	if (!a)
		return;
	cs_untar_free(a->tar);
	cs_inflate_free(a->inflate);
	cs_err_free(a->err);
	free(a->plain);
	free(a);
}

/* A failure below the tar is the real one; the reader above only notices it. */
static int failed(struct cs_archive_in *a, struct cs_err *e, struct cs_err **err)
{
	if (a->err) {
		cs_err_free(e);
		e = TAKE_PTR(a->err);
	}
	return cs_err_move(err, e);
}

int cs_archive_in_next(struct cs_archive_in *a, struct cs_archive_entry *ret, struct cs_err **err)
{
	const struct cs_untar_entry *u;
	struct cs_err *e = NULL;

	a->len = 0;
	a->at = 0;
	int r = cs_untar_next(a->tar, &u, &e);
	a->in_entry = r == 1;
	if (r < 0)
		return failed(a, e, err);
	if (r == 1) {
		ret->path = u->path;
		ret->link = u->link;
		ret->size = u->size;
		ret->type = u->type == CS_UNTAR_FILE ? CS_ARCHIVE_FILE :
			    u->type == CS_UNTAR_SYMLINK ? CS_ARCHIVE_SYMLINK :
			    u->type == CS_UNTAR_LINK ? CS_ARCHIVE_HARDLINK :
						       CS_ARCHIVE_OTHER;
	}
	return r;
}

static int more(struct cs_archive_in *a, struct cs_err **err)
{
	struct cs_err *e = NULL;
	const void *p;
	int64_t off;

	if (a->len || !a->in_entry)
		return 0;
	int r = cs_untar_data(a->tar, &p, &a->len, &off, &e);
	if (r < 0) {
		a->len = 0;
		return failed(a, e, err);
	}
	if (r == 0) {
		a->len = 0;
		a->in_entry = false;
		return 0;
	}
	if (off != a->at)
		return cs_fail(err, CS_ERR_INVALID, 0, "sparse files are not supported in an archive of images");
	a->data = p;
	return 0;
}

int cs_archive_in_piece(struct cs_archive_in *a, size_t max, const void **data, size_t *n, struct cs_err **err)
{
	*n = 0;
	if (more(a, err) < 0)
		return -1;
	*data = a->data;
	*n = CS_MIN(a->len, max);
	if (*n)
		a->data += *n; /* at the end there is no block to point into */
	a->len -= *n;
	a->at += (int64_t)*n;
	return 0;
}

/* ---- what is it? ---- */
static bool is_tar_header(const unsigned char *p)
{
	const size_t from = 148, to = 156; /* the checksum's own field counts as blanks */
	uint64_t want = 0, sum = 0;
	size_t i;

	for (i = 0; i < BLOCK; i++)
		sum += i >= from && i < to ? ' ' : p[i];
	for (i = from; i < to && p[i] == ' '; i++)
		;
	for (; i < to && p[i] >= '0' && p[i] <= '7'; i++)
		want = want << 3 | (unsigned)(p[i] - '0');
	return want == sum;
}

enum cs_content_kind cs_content_guess(const void *head, size_t n)
{
	static const char zero[BLOCK];

	switch (cs_packed_kind(head, n)) {
	case CS_PACKED_GZIP:
		return CS_CONTENT_GZIP;
	case CS_PACKED_ZSTD:
		return CS_CONTENT_ZSTD;
	case CS_PACKED_OTHER:
		if (n < BLOCK || !is_tar_header(head))
			return CS_CONTENT_FOREIGN;
		return CS_CONTENT_TAR; /* a tar whose first name begins as a compressed file would */
	case CS_PACKED_NONE:
		break;
	}
	return n >= BLOCK && (is_tar_header(head) || memcmp(head, zero, BLOCK) == 0) ? CS_CONTENT_TAR : CS_CONTENT_OTHER;
}
