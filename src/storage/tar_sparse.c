/* SPDX-License-Identifier: Apache-2.0
 *
 * Sparse files in tar: GNU's old headers, and its pax forms 0.0 (a record per number), 0.1 (one record) and 1.0 (in front of the data). */
#include "storage/tar_read_internal.h"

#define MAX_PIECES (CS_UNTAR_META_MAX / 16)

/* len -1: told by the next record. */
bool cs_untar_map_add(struct cs_untar *t, int64_t off, int64_t len)
{
	if (t->n_map >= MAX_PIECES || (t->n_map && t->map[t->n_map - 1].len == -1))
		return false;
	if (t->n_map == t->cap_map) {
		t->cap_map = t->cap_map ? t->cap_map * 2 : 16;
		t->map = cs_xreallocarray(t->map, t->cap_map, sizeof(*t->map));
	}
	t->map[t->n_map++] = (struct cs_untar_piece){.off = off, .len = len};
	return true;
}

/* Ascending, without overlap, inside of the file. */
static bool map_is_sane(const struct cs_untar *t)
{
	int64_t end = 0, next;

	for (size_t i = 0; i < t->n_map; i++) {
		const struct cs_untar_piece *p = &t->map[i];
		if (p->off < end || p->len < 0 || __builtin_add_overflow(p->off, p->len, &next) || next > t->e.size)
			return false;
		end = next;
	}
	return true;
}

static bool old_fields(struct cs_untar *t, const struct cs_untar_sparse_field *f, size_t n)
{
	int64_t off, len;

	for (size_t i = 0; i < n && f[i].off[0]; i++) {
		if (!cs_untar_number(f[i].off, sizeof(f[i].off), &off) || !cs_untar_number(f[i].len, sizeof(f[i].len), &len) || off < 0 || len < 0 ||
		    !cs_untar_map_add(t, off, len))
			return false;
	}
	return true;
}

static int old_map(struct cs_untar *t, struct cs_err **err)
{
	const struct cs_untar_header *h = t->header;
	char more = h->u.gnu.extended;
	struct {
		struct cs_untar_sparse_field map[21];
		char extended, pad[7];
	} next;

	if (!cs_untar_number(h->u.gnu.real_size, sizeof(h->u.gnu.real_size), &t->e.size) || t->e.size < 0 ||
	    !old_fields(t, h->u.gnu.map, CS_ARRAY_SIZE(h->u.gnu.map)))
		return cs_untar_bad(err, "malformed sparse map");
	for (unsigned n = 0; more; more = next.extended, n++) {
		if (n > CS_UNTAR_META_MAX / CS_UNTAR_BLOCK)
			return cs_untar_bad(err, "a sparse map is too long");
		if (cs_untar_read(t, &next, sizeof(next), err) < 0)
			return -1;
		if (!old_fields(t, next.map, CS_ARRAY_SIZE(next.map)))
			return cs_untar_bad(err, "malformed sparse map");
	}
	return 0;
}

/* "offset,length,offset,length" */
static bool text_map(struct cs_untar *t)
{
	const char *p = t->gnu.text, *end = p + t->gnu.text_len;
	int64_t v[2];

	while (p < end) {
		for (int i = 0; i < 2; i++) {
			const char *comma = memchr(p, ',', (size_t)(end - p));
			size_t n = (size_t)((comma ? comma : end) - p);
			if (!cs_untar_decimal(p, n, &v[i]) || v[i] < 0)
				return false;
			p += n;
			if (p < end)
				p++;
		}
		if (!cs_untar_map_add(t, v[0], v[1]))
			return false;
	}
	return true;
}

/* A number with a newline, from blocks in front of the data. */
static int data_number(struct cs_untar *t, char block[CS_UNTAR_BLOCK], size_t *at, size_t *blocks, int64_t *ret, struct cs_err **err)
{
	char digits[20];
	size_t n = 0;

	for (;;) {
		if (*at == CS_UNTAR_BLOCK) {
			if (++*blocks > CS_UNTAR_META_MAX / CS_UNTAR_BLOCK)
				return cs_untar_bad(err, "a sparse map is too long");
			if (cs_untar_read_data(t, block, CS_UNTAR_BLOCK, err) < 0)
				return -1;
			*at = 0;
		}
		char c = block[(*at)++];
		if (c == '\n')
			break;
		if (n == sizeof(digits))
			return cs_untar_bad(err, "malformed sparse map");
		digits[n++] = c;
	}
	return cs_untar_decimal(digits, n, ret) && *ret >= 0 ? 0 : cs_untar_bad(err, "malformed sparse map");
}

static int data_map(struct cs_untar *t, struct cs_err **err)
{
	char block[CS_UNTAR_BLOCK];
	size_t at = CS_UNTAR_BLOCK, blocks = 0;
	int64_t n, off, len;

	if (data_number(t, block, &at, &blocks, &n, err) < 0)
		return -1;
	for (; n > 0; n--) {
		if (data_number(t, block, &at, &blocks, &off, err) < 0 || data_number(t, block, &at, &blocks, &len, err) < 0)
			return -1;
		if (!cs_untar_map_add(t, off, len))
			return cs_untar_bad(err, "a sparse map is too long");
	}
	return 0;
}

int cs_untar_sparse(struct cs_untar *t, struct cs_err **err)
{
	int r = 0;

	t->map_at = 0;
	t->map_done = 0;
	if (t->e.type == (enum cs_untar_type)'S') {
		t->e.type = CS_UNTAR_FILE;
		t->is_sparse = true;
		r = old_map(t, err);
	} else if (t->e.type == CS_UNTAR_FILE && (t->gnu.have_version || t->gnu.text || t->is_sparse)) {
		if (!t->gnu.have_size)
			return cs_untar_bad(err, "a sparse file without a size");
		t->e.size = t->gnu.size;
		if (t->gnu.have_version && t->gnu.major == 1 && t->gnu.minor == 0)
			r = data_map(t, err);
		else if (t->gnu.have_version && t->gnu.major != 0)
			return cs_untar_bad(err, "unknown kind of sparse file");
		else if (t->gnu.text && !text_map(t))
			return cs_untar_bad(err, "malformed sparse map");
		t->is_sparse = true;
	}
	if (r == 0 && t->is_sparse && !map_is_sane(t))
		return cs_untar_bad(err, "malformed sparse map");
	return r;
}
