/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading tar: blocks, headers and data. Extended headers (pax, GNU long names) and sparse maps are in tar_pax.c and tar_sparse.c. */
#include "storage/tar_read_internal.h"

static int truncated(struct cs_err **err) { return cs_fail(err, CS_ERR_INVALID, 0, "bad tar archive: unexpected end"); }

int cs_untar_bad(struct cs_err **err, const char *what) { return cs_fail(err, CS_ERR_INVALID, 0, "bad tar archive: %s", what); }

/* ---- bytes ---- */
/* Makes sure that something is there. 1, 0 at the end, -1. */
static int more(struct cs_untar *t, struct cs_err **err)
{
	if (t->len)
		return 1;
	if (t->end)
		return 0;
	const void *p = NULL;
	ssize_t n = t->next(t->ctx, &p);
	if (n < 0)
		return cs_fail(err, CS_ERR_INTERNAL, (int)-n, "read the archive");
	t->p = p;
	t->len = (size_t)n;
	t->end = n == 0;
	return n > 0;
}

int cs_untar_read(struct cs_untar *t, void *buf, size_t n, struct cs_err **err)
{
	for (size_t done = 0; done < n;) {
		int r = more(t, err);
		if (r <= 0)
			return r < 0 ? -1 : truncated(err);
		size_t take = CS_MIN(t->len, n - done);
		memcpy((char *)buf + done, t->p, take);
		t->p += take;
		t->len -= take;
		done += take;
	}
	return 0;
}

static int skip(struct cs_untar *t, int64_t n, struct cs_err **err)
{
	while (n > 0) {
		int r = more(t, err);
		if (r <= 0)
			return r < 0 ? -1 : truncated(err);
		size_t take = (int64_t)t->len < n ? t->len : (size_t)n;
		t->p += take;
		t->len -= take;
		n -= (int64_t)take;
	}
	return 0;
}

int cs_untar_read_data(struct cs_untar *t, void *buf, size_t n, struct cs_err **err)
{
	if ((int64_t)n > t->left)
		return truncated(err);
	if (cs_untar_read(t, buf, n, err) < 0)
		return -1;
	t->left -= (int64_t)n;
	return 0;
}

static int64_t padding(int64_t size) { return -size & (CS_UNTAR_BLOCK - 1); }

/* ---- numbers ---- */
static bool parse_base256(const unsigned char *f, size_t n, int64_t *ret)
{
	bool negative = f[0] & 0x40;
	uint64_t v = 0;

	for (size_t i = 0; i < n; i++) {
		unsigned char c = negative ? (unsigned char)~f[i] : f[i];
		if (i == 0)
			c &= 0x7f; /* the mark */
		if (v >> 55)
			return false;
		v = v << 8 | c;
	}
	*ret = negative ? -(int64_t)v - 1 : (int64_t)v;
	return true;
}

/* Octal between blanks and NULs; nothing is 0. */
bool cs_untar_number(const char *field, size_t n, int64_t *ret)
{
	const unsigned char *f = (const unsigned char *)field;
	uint64_t v = 0;

	if (f[0] & 0x80)
		return parse_base256(f, n, ret);
	while (n && (*f == ' ' || *f == 0))
		f++, n--;
	while (n && (f[n - 1] == ' ' || f[n - 1] == 0))
		n--;
	for (size_t i = 0; i < n && f[i]; i++) {
		if (f[i] < '0' || f[i] > '7' || v >> 60)
			return false;
		v = v << 3 | (unsigned)(f[i] - '0');
	}
	*ret = (int64_t)v;
	return true;
}

static bool all_zero(const char *b)
{
	for (size_t i = 0; i < CS_UNTAR_BLOCK; i++) {
		if (b[i])
			return false;
	}
	return true;
}

static bool checksum_fits(const struct cs_untar_header *h)
{
	const unsigned char *b = (const unsigned char *)h;
	int64_t want, is = 0, is_signed = 0; /* some old programs summed up signed characters */

	for (size_t i = 0; i < CS_UNTAR_BLOCK; i++) {
		unsigned char c = i >= offsetof(struct cs_untar_header, sum) && i < offsetof(struct cs_untar_header, type) ? ' ' : b[i];
		is += c;
		is_signed += (signed char)c;
	}
	return cs_untar_number(h->sum, sizeof(h->sum), &want) && (want == is || want == is_signed);
}

/* ---- headers ---- */
static int put_name(char *out, const char *a, size_t na, const char *b, size_t nb, struct cs_err **err)
{
	size_t la = strnlen(a, na), lb = b ? strnlen(b, nb) : 0;

	if (la + lb + 2 > PATH_MAX) /* cannot be: the fields are short */
		return cs_untar_bad(err, "name too long");
	memcpy(out, a, la);
	if (b) {
		out[la++] = '/';
		memcpy(out + la, b, lb);
	}
	out[la + lb] = 0;
	return 0;
}

static int basic_names(struct cs_untar *t, const struct cs_untar_header *h, struct cs_err **err)
{
	bool ustar = memcmp(h->magic, "ustar\0", 6) == 0, star = ustar && memcmp(h->u.trailer.mark, "tar\0", 4) == 0;

	if (put_name(t->link, h->link, sizeof(h->link), NULL, 0, err) < 0)
		return -1;
	if (ustar && h->u.prefix[0])
		return put_name(t->path, h->u.prefix, star ? STAR_PREFIX : sizeof(h->u.prefix), h->name, sizeof(h->name), err);
	return put_name(t->path, h->name, sizeof(h->name), NULL, 0, err);
}

static int owner(int64_t v, uint32_t *ret, struct cs_err **err)
{
	if (v < 0 || v >= UINT32_MAX)
		return cs_untar_bad(err, "owner out of range");
	*ret = (uint32_t)v;
	return 0;
}

/* What the header itself says; extended headers change it later. */
static int basic_header(struct cs_untar *t, const struct cs_untar_header *h, struct cs_err **err)
{
	struct cs_untar_entry *e = &t->e;
	int64_t mode, mtime, major = 0, minor = 0;

	*e = (struct cs_untar_entry){.type = h->type ? (enum cs_untar_type)h->type : CS_UNTAR_FILE, .path = t->path, .link = t->link};
	t->old_file = !h->type;
	if (basic_names(t, h, err) < 0)
		return -1;
	if (!cs_untar_number(h->mode, sizeof(h->mode), &mode) || !cs_untar_number(h->uid, sizeof(h->uid), &t->uid) ||
	    !cs_untar_number(h->gid, sizeof(h->gid), &t->gid) || !cs_untar_number(h->size, sizeof(h->size), &t->left) ||
	    !cs_untar_number(h->mtime, sizeof(h->mtime), &mtime))
		return cs_untar_bad(err, "malformed number in a header");
	if (memcmp(h->magic, "ustar", 5) == 0 && (!cs_untar_number(h->major, sizeof(h->major), &major) || !cs_untar_number(h->minor, sizeof(h->minor), &minor)))
		return cs_untar_bad(err, "malformed device number");
	if (major < 0 || major > UINT32_MAX || minor < 0 || minor > UINT32_MAX)
		return cs_untar_bad(err, "device number out of range");
	e->mode = (unsigned)mode & 07777;
	e->mtime.tv_sec = mtime;
	e->major = (uint32_t)major;
	e->minor = (uint32_t)minor;
	return t->left < 0 ? cs_untar_bad(err, "negative size") : 0;
}

static bool has_data(enum cs_untar_type type) { return type < CS_UNTAR_LINK || type > CS_UNTAR_FIFO; }

static int finish_header(struct cs_untar *t, struct cs_err **err)
{
	struct cs_untar_entry *e = &t->e;

	if (cs_untar_apply_pax(t, err) < 0)
		return -1;
	if (t->long_name[0])
		memcpy(t->path, t->long_name, sizeof(t->path));
	if (t->long_link[0])
		memcpy(t->link, t->long_link, sizeof(t->link));
	if (owner(t->uid, &e->uid, err) < 0 || owner(t->gid, &e->gid, err) < 0)
		return -1;
	size_t n = strlen(t->path);
	if (t->old_file && n && t->path[n - 1] == '/')
		e->type = CS_UNTAR_DIR; /* before ustar there was no other way to say it */
	if (e->type == (enum cs_untar_type)'7')
		e->type = CS_UNTAR_FILE; /* "contiguous" */
	if (!has_data(e->type))
		t->left = 0; /* whatever the header says: nobody writes data for those, and Go reads none */
	t->pad = padding(t->left);
	e->size = t->left;
	return cs_untar_sparse(t, err);
}

/* One block that is a header. 1, 0 at the end of the archive, -1. */
static int read_block(struct cs_untar *t, struct cs_untar_header *h, struct cs_err **err)
{
	for (int zeros = 0;; zeros++) {
		int r = more(t, err);
		if (r <= 0)
			return r;
		if (cs_untar_read(t, h, sizeof(*h), err) < 0)
			return -1;
		if (!all_zero((const char *)h)) {
			if (zeros)
				return cs_untar_bad(err, "data after an end mark");
			break;
		}
		if (zeros)
			return 0;
	}
	return checksum_fits(h) ? 1 : cs_untar_bad(err, "wrong checksum of a header");
}

/* Headers that say something of the next one. 1 when it was one. */
static int meta_header(struct cs_untar *t, const struct cs_untar_header *h, struct cs_err **err)
{
	int64_t size;

	if (!h->type || !strchr("xgLK", h->type))
		return 0;
	if (!cs_untar_number(h->size, sizeof(h->size), &size) || size < 0)
		return cs_untar_bad(err, "malformed size of an extended header");
	if (h->type == 'g') /* as Go: other engines do not apply them, so this layer is made without them, too */
		return skip(t, size, err) < 0 || skip(t, padding(size), err) < 0 ? -1 : 1;
	if (size > CS_UNTAR_META_MAX)
		return cs_untar_bad(err, "an extended header is too long");
	t->left = size;
	int r = h->type == 'x' ? cs_untar_read_pax(t, err) : cs_untar_read_long(t, h->type == 'L' ? t->long_name : t->long_link, err);
	return r < 0 || skip(t, padding(size), err) < 0 ? -1 : 1;
}

int cs_untar_next(struct cs_untar *t, const struct cs_untar_entry **ret, struct cs_err **err)
{
	struct cs_untar_header h;
	bool meta = false;
	int r;

	if (skip(t, t->left, err) < 0 || skip(t, t->pad, err) < 0)
		return -1;
	t->left = t->pad = 0;
	t->pax_len = t->n_xattrs = 0;
	t->long_name[0] = t->long_link[0] = 0;
	t->n_map = t->map_at = 0;
	t->is_sparse = false;
	do {
		r = read_block(t, &h, err);
		if (r == 0 && meta)
			return truncated(err);
		if (r <= 0)
			return r;
		r = meta_header(t, &h, err);
		meta = meta || (r == 1 && h.type != 'g');
	} while (r == 1);
	if (r < 0 || basic_header(t, &h, err) < 0)
		return -1;
	t->header = &h;
	r = finish_header(t, err);
	t->header = NULL;
	if (r < 0)
		return cs_wrap(err, "archive entry \"%.200s\"", t->path);
	*ret = &t->e;
	return 1;
}

int cs_untar_data(struct cs_untar *t, const void **data, size_t *len, int64_t *off, struct cs_err **err)
{
	int64_t room = t->left;

	if (t->is_sparse) {
		while (t->map_at < t->n_map && t->map[t->map_at].len == t->map_done) {
			t->map_at++;
			t->map_done = 0;
		}
		if (t->map_at == t->n_map)
			return t->left == 0 ? 0 : cs_untar_bad(err, "a sparse file has more data than its map");
		room = t->map[t->map_at].len - t->map_done;
		if (room > t->left)
			return cs_untar_bad(err, "a sparse file has less data than its map");
		*off = t->map[t->map_at].off + t->map_done;
	} else {
		if (room == 0)
			return 0;
		*off = t->e.size - t->left;
	}
	int r = more(t, err);
	if (r <= 0)
		return r < 0 ? -1 : truncated(err);
	*len = (int64_t)t->len < room ? t->len : (size_t)room;
	*data = t->p;
	t->p += *len;
	t->len -= *len;
	t->left -= (int64_t)*len;
	t->map_done += (int64_t)*len;
	return 1;
}

struct cs_untar *cs_untar_open(cs_piece_fn next, void *ctx)
{
	struct cs_untar *t = cs_xcalloc(1, sizeof(*t));

	t->next = next;
	t->ctx = ctx;
	return t;
}

void cs_untar_free(struct cs_untar *t)
{
	if (!t)
		return;
	free(t->pax);
	free(t->xattrs);
	free(t->map);
	free(t);
}
