/* SPDX-License-Identifier: Apache-2.0
 *
 * Extended headers of tar: pax records and GNU's long names. */
#include "storage/tar_read_internal.h"

#define XATTRS_MAX 4096 /* of an entry: no file system takes so many, and they are compared with each other */

/* Not num.h's: a value is not terminated, may be negative and is decimal only. */
bool cs_untar_decimal(const char *s, size_t n, int64_t *ret)
{
	bool negative = n && *s == '-';
	int64_t v = 0;

	if (negative)
		s++, n--;
	if (n == 0)
		return false;
	for (; n; s++, n--) {
		if (*s < '0' || *s > '9' || __builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, *s - '0', &v))
			return false;
	}
	*ret = negative ? -v : v;
	return true;
}

/* Seconds with a fraction of any length; a negative time counts down: -1.5 is half a second before -1. */
static bool pax_time(const char *s, size_t n, struct timespec *ret)
{
	const char *dot = memchr(s, '.', n);
	size_t whole = dot ? (size_t)(dot - s) : n;
	bool negative = n && *s == '-';
	int64_t sec, nsec = 0, unit = 100000000;

	if (!cs_untar_decimal(s, whole, &sec))
		return false;
	for (size_t i = whole + 1; i < n; i++, unit /= 10) {
		if (s[i] < '0' || s[i] > '9')
			return false;
		nsec += (s[i] - '0') * unit;
	}
	if (negative && nsec) {
		sec--;
		nsec = 1000000000 - nsec;
	}
	*ret = (struct timespec){.tv_sec = sec, .tv_nsec = nsec};
	return true;
}

static bool pax_name(char out[PATH_MAX], const char *v, size_t n)
{
	if (n >= PATH_MAX || memchr(v, 0, n))
		return false;
	memcpy(out, v, n);
	out[n] = 0;
	return true;
}

static bool add_xattr(struct cs_untar *t, const char *name, const char *value, size_t len)
{
	if (t->n_xattrs == XATTRS_MAX)
		return false;
	if (t->n_xattrs == t->cap_xattrs) {
		t->cap_xattrs = t->cap_xattrs ? t->cap_xattrs * 2 : 8;
		t->xattrs = cs_xreallocarray(t->xattrs, t->cap_xattrs, sizeof(*t->xattrs));
	}
	t->xattrs[t->n_xattrs++] = (struct cs_untar_xattr){.name = name, .value = value, .len = len};
	return true;
}

static int hex_digit(char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1; }

/* libarchive's form of an attribute: the name %-encoded, the value in base64. Both become shorter: decoded in place. */
static bool libarchive_xattr(struct cs_untar *t, char *name, char *value, size_t len)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char *out = name;
	unsigned acc = 0, bits = 0;
	size_t n = 0;

	for (char *c = name; *c; out++) {
		int hi = c[0] == '%' ? hex_digit(c[1]) : -1, lo = hi >= 0 ? hex_digit(c[2]) : -1;
		*out = lo >= 0 ? (char)(hi << 4 | lo) : *c;
		c += lo >= 0 ? 3 : 1;
	}
	*out = 0;
	while (len && value[len - 1] == '=')
		len--;
	for (size_t i = 0; i < len; i++) {
		const char *d = value[i] ? strchr(digits, value[i]) : NULL;
		if (!d)
			return false;
		acc = acc << 6 | (unsigned)(d - digits);
		bits += 6;
		if (bits >= 8)
			value[n++] = (char)(acc >> (bits -= 8));
	}
	/* both forms of one attribute may be there: the plain one counts */
	for (size_t i = 0; i < t->n_xattrs; i++) {
		if (strcmp(t->xattrs[i].name, name) == 0)
			return true;
	}
	return add_xattr(t, name, value, n);
}

/* GNU.sparse.* */
static bool sparse_key(struct cs_untar *t, const char *key, const char *v, size_t n)
{
	int64_t x = 0;

	if (strcmp(key, "name") == 0) {
		t->gnu.name = v;
		return pax_name(t->path, v, n);
	}
	if (strcmp(key, "map") == 0) {
		t->gnu.text = v;
		t->gnu.text_len = n;
		return true;
	}
	if (strcmp(key, "numblocks") == 0)
		return true; /* counted anew */
	if (!cs_untar_decimal(v, n, &x) || x < 0)
		return false;
	if (strcmp(key, "size") == 0 || strcmp(key, "realsize") == 0) {
		t->gnu.size = x;
		t->gnu.have_size = true;
	} else if (strcmp(key, "major") == 0) {
		t->gnu.major = x;
		t->gnu.have_version = true;
	} else if (strcmp(key, "minor") == 0)
		t->gnu.minor = x;
	else if (strcmp(key, "offset") == 0) { /* version 0.0: pairs, each a record of its own */
		t->is_sparse = true;
		return cs_untar_map_add(t, x, -1);
	} else if (strcmp(key, "numbytes") == 0) {
		if (t->n_map == 0 || t->map[t->n_map - 1].len != -1)
			return false;
		t->map[t->n_map - 1].len = x;
	}
	return true;
}

static bool apply(struct cs_untar *t, char *key, char *v, size_t n)
{
	struct cs_untar_entry *e = &t->e;
	char *rest;

	if (n == 0 && strncmp(key, "SCHILY.xattr.", 13) != 0)
		return true; /* an empty value takes a record of a global header back: there is none */
	if (strcmp(key, "path") == 0)
		return t->gnu.name ? true : pax_name(t->path, v, n); /* GNU.sparse.name is the real one */
	if (strcmp(key, "linkpath") == 0)
		return pax_name(t->link, v, n);
	if (strcmp(key, "size") == 0)
		return cs_untar_decimal(v, n, &t->left) && t->left >= 0;
	if (strcmp(key, "uid") == 0)
		return cs_untar_decimal(v, n, &t->uid);
	if (strcmp(key, "gid") == 0)
		return cs_untar_decimal(v, n, &t->gid);
	if (strcmp(key, "mtime") == 0)
		return pax_time(v, n, &e->mtime);
	if (strcmp(key, "atime") == 0)
		return e->has_atime = pax_time(v, n, &e->atime);
	if (strncmp(key, "SCHILY.xattr.", 13) == 0)
		return add_xattr(t, key + 13, v, n);
	if (strncmp(key, "LIBARCHIVE.xattr.", 17) == 0)
		return libarchive_xattr(t, key + 17, v, n);
	rest = strncmp(key, "GNU.sparse.", 11) == 0 ? key + 11 : NULL;
	return rest ? sparse_key(t, rest, v, n) : true;
}

/* One record "<length> <key>=<value>\n" at *p. */
static bool next_record(char **p, char *end, char **key, char **v, size_t *n)
{
	char *space = memchr(*p, ' ', CS_MIN((size_t)(end - *p), 20u));
	int64_t len;

	if (!space || !cs_untar_decimal(*p, (size_t)(space - *p), &len) || len < 0 || len > end - *p || *p + len <= space + 1 || (*p)[len - 1] != '\n')
		return false;
	char *stop = *p + len - 1, *eq = memchr(space + 1, '=', (size_t)(stop - space - 1));
	if (!eq || eq == space + 1 || memchr(space + 1, 0, (size_t)(eq - space - 1)))
		return false;
	*eq = 0;
	*stop = 0;
	*key = space + 1;
	*v = eq + 1;
	*n = (size_t)(stop - eq - 1);
	*p = stop + 1;
	return true;
}

int cs_untar_apply_pax(struct cs_untar *t, struct cs_err **err)
{
	char *p = t->pax, *end = t->pax_len ? p + t->pax_len : p, *key, *v;
	size_t n;

	memset(&t->gnu, 0, sizeof(t->gnu));
	while (p < end) {
		if (!next_record(&p, end, &key, &v, &n))
			return cs_untar_bad(err, "malformed pax record");
		if (!apply(t, key, v, n))
			return cs_fail(err, CS_ERR_INVALID, 0, "bad tar archive: malformed pax record %.100s", key);
	}
	t->e.xattrs = t->xattrs;
	t->e.n_xattrs = t->n_xattrs;
	return 0;
}

int cs_untar_read_pax(struct cs_untar *t, struct cs_err **err)
{
	size_t n = (size_t)t->left;

	t->pax = cs_xrealloc(t->pax, n + 1); /* at most CS_UNTAR_META_MAX */
	t->pax_len = 0;
	if (cs_untar_read_data(t, t->pax, n, err) < 0)
		return -1;
	t->pax_len = n;
	return 0;
}

int cs_untar_read_long(struct cs_untar *t, char out[PATH_MAX], struct cs_err **err)
{
	if (t->left >= PATH_MAX)
		return cs_untar_bad(err, "name too long");
	size_t n = (size_t)t->left;
	if (cs_untar_read_data(t, out, n, err) < 0)
		return -1;
	out[n] = 0;
	return 0;
}
