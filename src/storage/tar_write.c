/* SPDX-License-Identifier: Apache-2.0
 *
 * ustar and pax, as Go's archive/tar writes them: whoever reads Docker's archives reads ours. A record is written for a name that is not short
 * ASCII, for an owner above 2097151, a size above 8 GiB, a time with a fraction or outside of 1970..2242, and for extended attributes. */
#include "storage/tar_write.h"

#include "base/str.h"

#define BUFFER (256u << 10)
#define ROOM_MIN (16u << 10)

struct header { /* ustar, POSIX.1-1988 */
	char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], chksum[8], type, link[100], magic[6], version[2], uname[32], gname[32], major[8], minor[8],
		prefix[155], pad[12];
};
_Static_assert(sizeof(struct header) == CS_TAR_BLOCK, "a header is one block");

struct cs_tar_writer {
	cs_write_fn write;
	void *ctx;
	int error;
	size_t len;
	struct cs_str pax;
	char buf[BUFFER];
};

struct cs_tar_writer *cs_tar_new(cs_write_fn write, void *ctx)
{
	struct cs_tar_writer *w = cs_xmalloc(sizeof(*w));

	w->write = write;
	w->ctx = ctx;
	w->error = 0;
	w->len = 0;
	cs_str_init(&w->pax, CS_TAR_PAX_MAX);
	return w;
}

void cs_tar_free(struct cs_tar_writer *w)
{
	if (!w)
		return;
	cs_str_done(&w->pax);
	free(w);
}

int cs_tar_error(const struct cs_tar_writer *w) { return w->error; }

static void flush(struct cs_tar_writer *w)
{
	if (w->error == 0 && w->len)
		w->error = w->write(w->ctx, w->buf, w->len);
	w->len = 0;
}

char *cs_tar_room(struct cs_tar_writer *w, size_t *n)
{
	if (BUFFER - w->len < ROOM_MIN)
		flush(w);
	*n = BUFFER - w->len;
	return w->error ? NULL : w->buf + w->len;
}

void cs_tar_fill(struct cs_tar_writer *w, size_t n) { w->len += n; }

int cs_tar_data(struct cs_tar_writer *w, const void *data, size_t len)
{
	while (len && w->error == 0) {
		if (w->len == BUFFER)
			flush(w);
		size_t n = CS_MIN(len, BUFFER - w->len);
		memcpy(w->buf + w->len, data, n);
		w->len += n;
		data = (const char *)data + n;
		len -= n;
	}
	return w->error;
}

int cs_tar_zeros(struct cs_tar_writer *w, uint64_t n)
{
	while (n && w->error == 0) {
		if (w->len == BUFFER)
			flush(w);
		size_t k = (size_t)CS_MIN(n, (uint64_t)(BUFFER - w->len));
		memset(w->buf + w->len, 0, k);
		w->len += k;
		n -= k;
	}
	return w->error;
}

int cs_tar_pad(struct cs_tar_writer *w, uint64_t size) { return cs_tar_zeros(w, (CS_TAR_BLOCK - size % CS_TAR_BLOCK) % CS_TAR_BLOCK); }

int cs_tar_end(struct cs_tar_writer *w)
{
	(void)cs_tar_zeros(w, (uint64_t)2 * CS_TAR_BLOCK);
	flush(w);
	return w->error;
}

/* Octal digits with leading zeros, NUL at the end; false and 0 when they do not suffice. */
static bool octal(char *field, size_t size, uint64_t v)
{
	bool fits = (size - 1) * 3 >= 64 || v >> ((size - 1) * 3) == 0;

	if (!fits)
		v = 0;
	field[size - 1] = 0;
	for (size_t i = size - 1; i-- > 0; v >>= 3)
		field[i] = (char)('0' + (v & 7));
	return fits;
}

static bool utf8(const char *s)
{
	const unsigned char *p = (const unsigned char *)s;

	while (*p) {
		unsigned more = *p < 0x80 ? 0 : *p >= 0xc2 && *p < 0xe0 ? 1 : (*p & 0xf0) == 0xe0 ? 2 : *p >= 0xf0 && *p < 0xf5 ? 3 : 4;
		if (more == 4)
			return false;
		/* overlong forms, surrogates, and above U+10FFFF */
		if ((*p == 0xe0 && p[1] < 0xa0) || (*p == 0xed && p[1] >= 0xa0) || (*p == 0xf0 && p[1] < 0x90) || (*p == 0xf4 && p[1] >= 0x90))
			return false;
		for (p++; more; more--, p++)
			if ((*p & 0xc0) != 0x80)
				return false;
	}
	return true;
}

/* Copies what fits, ASCII only; false when a record must say it all. A short name in no known encoding stays as it is: records are UTF-8. */
static bool text(char *field, size_t size, const char *s)
{
	size_t n = strlen(s);
	bool plain = n <= size;

	if (plain && !utf8(s)) {
		memcpy(field, s, n);
		return true;
	}

	for (size_t i = 0; i < n && i < size; i++) {
		unsigned char c = (unsigned char)s[i];
		if (c >= 0x80)
			plain = false;
		field[i] = c < 0x80 ? s[i] : '_';
	}
	return plain;
}

static size_t digits(size_t v)
{
	size_t n = 1;

	while (v >= 10) {
		v /= 10;
		n++;
	}
	return n;
}

/* "27 path=…\n": the number counts itself. */
static void record(struct cs_str *out, const char *prefix, const char *key, const void *val, size_t len)
{
	size_t body = strlen(prefix) + strlen(key) + len + 3, total = body + digits(body);

	total = body + digits(total);
	cs_str_put_u64(out, total);
	cs_str_putc(out, ' ');
	cs_str_puts(out, prefix);
	cs_str_puts(out, key);
	cs_str_putc(out, '=');
	cs_str_put(out, val, len);
	cs_str_putc(out, '\n');
}

static void record_text(struct cs_str *out, const char *key, const char *val) { record(out, "", key, val, strlen(val)); }

static void record_i64(struct cs_str *out, const char *key, int64_t v)
{
	char buf[24];

	(void)snprintf(buf, sizeof(buf), "%lld", (long long)v);
	record_text(out, key, buf);
}

static void record_time(struct cs_str *out, const char *key, struct timespec t)
{
	char buf[48];
	const char *sign = "";

	if (t.tv_sec < 0 && t.tv_nsec > 0) { /* -2 s + 0.5 s is -1.5 */
		t.tv_sec++;
		t.tv_nsec = 1000000000L - t.tv_nsec;
		if (t.tv_sec == 0)
			sign = "-";
	}
	int n = snprintf(buf, sizeof(buf), "%s%lld.%09ld", sign, (long long)t.tv_sec, t.tv_nsec);
	while (n > 0 && buf[n - 1] == '0')
		n--;
	if (n > 0 && buf[n - 1] == '.')
		n--;
	record(out, "", key, buf, (size_t)n);
}

static void finish(struct header *h, char type)
{
	const unsigned char *p = (const unsigned char *)h;
	unsigned sum = 0;

	h->type = type;
	memcpy(h->magic, "ustar", 6);
	memcpy(h->version, "00", 2);
	memset(h->chksum, ' ', sizeof(h->chksum));
	for (size_t i = 0; i < sizeof(*h); i++)
		sum += p[i];
	(void)octal(h->chksum, 7, sum);
}

static int put_pax(struct cs_tar_writer *w, const struct cs_tar_entry *e)
{
	struct header h = {0};
	size_t len = strlen(e->name);
	char name[sizeof(h.name) + 1] = "PaxHeaders.0/";

	/* the last part of the name, for those who do not know pax */
	while (len > 1 && e->name[len - 1] == '/')
		len--;
	const char *slash = memrchr(e->name, '/', len), *last = slash ? slash + 1 : e->name;
	size_t n = strlen(name), k = CS_MIN((size_t)(e->name + len - last), sizeof(h.name) - n);
	memcpy(name + n, last, k);
	(void)text(h.name, sizeof(h.name), name);
	(void)octal(h.mode, sizeof(h.mode), 0);
	(void)octal(h.uid, sizeof(h.uid), 0);
	(void)octal(h.gid, sizeof(h.gid), 0);
	(void)octal(h.size, sizeof(h.size), w->pax.len);
	(void)octal(h.mtime, sizeof(h.mtime), 0);
	(void)octal(h.major, sizeof(h.major), 0);
	(void)octal(h.minor, sizeof(h.minor), 0);
	finish(&h, 'x');
	(void)cs_tar_data(w, &h, sizeof(h));
	(void)cs_tar_data(w, w->pax.buf, w->pax.len);
	return cs_tar_pad(w, w->pax.len);
}

int cs_tar_header(struct cs_tar_writer *w, const struct cs_tar_entry *e)
{
	struct header h = {0};
	struct cs_str *pax = &w->pax;
	const char *link = e->link ? e->link : "";

	cs_str_clear(pax);
	if (e->sparse) {
		record_text(pax, "GNU.sparse.major", "1");
		record_text(pax, "GNU.sparse.minor", "0");
		record_text(pax, "GNU.sparse.name", e->name);
		record_i64(pax, "GNU.sparse.realsize", e->real_size);
	}
	for (size_t i = 0; i < e->n_xattrs; i++)
		record(pax, "SCHILY.xattr.", e->xattrs[i].name, e->xattrs[i].value, e->xattrs[i].len);
	if (!octal(h.gid, sizeof(h.gid), e->gid))
		record_i64(pax, "gid", e->gid);
	bool name_fits = text(h.name, sizeof(h.name), e->name), link_fits = text(h.link, sizeof(h.link), link);
	if (e->sparse) { /* for those who do not know the format: not a broken file under the right name */
		const char *slash = strrchr(e->name, '/');
		cs_autofree char *other = cs_xasprintf("GNUSparseFile.0/%s", slash ? slash + 1 : e->name);
		memset(h.name, 0, sizeof(h.name));
		(void)text(h.name, sizeof(h.name), other);
		name_fits = true;
	}
	if ((!name_fits && !utf8(e->name)) || (!link_fits && !utf8(link)))
		record_text(pax, "hdrcharset", "BINARY");
	if (!link_fits)
		record_text(pax, "linkpath", link);
	if (!octal(h.mtime, sizeof(h.mtime), (uint64_t)e->mtime.tv_sec) || e->mtime.tv_nsec)
		record_time(pax, "mtime", e->mtime);
	if (!name_fits)
		record_text(pax, "path", e->name);
	if (!octal(h.size, sizeof(h.size), (uint64_t)e->size))
		record_i64(pax, "size", e->size);
	if (!octal(h.uid, sizeof(h.uid), e->uid))
		record_i64(pax, "uid", e->uid);
	if (pax->failed)
		return -E2BIG;
	(void)octal(h.mode, sizeof(h.mode), e->mode & 07777);
	(void)octal(h.major, sizeof(h.major), e->dev_major);
	(void)octal(h.minor, sizeof(h.minor), e->dev_minor);
	if (pax->len && put_pax(w, e) < 0)
		return w->error;
	finish(&h, (char)e->type);
	return cs_tar_data(w, &h, sizeof(h));
}
