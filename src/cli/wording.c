/* SPDX-License-Identifier: Apache-2.0
 *
 * Columns, sizes, spans of time, names: in docker's words. Pure functions but for the clock and the time zone. */
#include <string.h>
#include <time.h>

#include "base/time.h"
#include "cli/list.h"
#include "cli/template/text.h"
#include "registry/reference.h"

struct tpl_value text_value(const char *s) { return (struct tpl_value){.type = &tpl_string, .s = s ? s : "", .n = s ? strlen(s) : 0}; }

/* ---- tables ---- */

static size_t rune_width(uint32_t r)
{
	static const uint32_t wide[][2] = {{0x1100, 0x115f}, {0x2e80, 0x303e}, {0x3041, 0x33ff}, {0x3400, 0x4dbf}, {0x4e00, 0x9fff}, {0xa000, 0xa4cf}, {0xac00, 0xd7a3},
					   {0xf900, 0xfaff}, {0xfe30, 0xfe6f}, {0xff00, 0xff60}, {0xffe0, 0xffe6}, {0x1f300, 0x1f64f}, {0x1f900, 0x1f9ff}, {0x20000, 0x3fffd}};
	for (size_t i = 0; i < CS_ARRAY_SIZE(wide); i++)
		if (r >= wide[i][0] && r <= wide[i][1])
			return 2;
	return 1;
}

static size_t text_width(const char *s, size_t n)
{
	size_t width = 0, len;
	for (size_t i = 0; i < n; i += len)
		width += rune_width(tpl_rune(s + i, n - i, &len));
	return width;
}

struct cell {
	const char *s;
	size_t n, width;
};
struct line {
	struct cell *cells;
	size_t n;
};
struct tabs {
	struct cs_str *out;
	struct line *lines;
	size_t min_width, padding, widths[64], n_widths;
};

static void put_lines(struct tabs *t, size_t from, size_t to)
{
	for (; from < to; from++) {
		const struct line *l = &t->lines[from];
		for (size_t j = 0; j < l->n; j++) {
			cs_str_put(t->out, l->cells[j].s, l->cells[j].n);
			for (size_t w = l->cells[j].width; j < t->n_widths && w < t->widths[j]; w++)
				cs_str_putc(t->out, ' ');
		}
		cs_str_putc(t->out, '\n');
	}
}

/* A column is a block of adjacent lines with a cell there that a tab ended; blocks nest to the right. */
static void put_block(struct tabs *t, size_t from, size_t to)
{
	size_t column = t->n_widths;

	for (size_t i = from; i < to; i++) {
		if (column + 1 >= t->lines[i].n || column >= CS_ARRAY_SIZE(t->widths))
			continue;
		put_lines(t, from, i);
		from = i;
		size_t width = t->min_width;
		for (; i < to && column + 1 < t->lines[i].n; i++)
			width = CS_MAX(width, t->lines[i].cells[column].width + t->padding);
		t->widths[t->n_widths++] = width;
		put_block(t, from, i);
		t->n_widths--;
		from = i;
	}
	put_lines(t, from, to);
}

void tab_write(struct cs_str *out, const char *text, size_t len, size_t min_width, size_t padding)
{
	size_t n_lines = 0, n_cells = 0;

	for (size_t i = 0; i < len; i++) {
		n_lines += text[i] == '\n';
		n_cells += text[i] == '\n' || text[i] == '\t';
	}
	struct line *lines = cs_xcalloc(n_lines + 2, sizeof(*lines));
	struct cell *cells = cs_xcalloc(n_cells + 2, sizeof(*cells)), *c = cells;
	struct tabs t = {.out = out, .lines = lines, .min_width = min_width, .padding = padding};
	size_t line = 0;
	lines[0].cells = c;
	for (size_t i = 0, start = 0; i < len; i++) {
		if (text[i] != '\n' && text[i] != '\t')
			continue;
		*c++ = (struct cell){text + start, i - start, text_width(text + start, i - start)};
		lines[line].n++;
		start = i + 1;
		if (text[i] == '\n')
			lines[++line].cells = c;
	}
	put_block(&t, 0, line);
	free(cells);
	free(lines);
}

const char *ellipsis(struct tpl_arena *a, const char *s, size_t width)
{
	size_t n = strlen(s), len, used = 0, cut = 0;

	if (text_width(s, n) <= width)
		return s;
	for (; cut < n; cut += len) {
		size_t w = rune_width(tpl_rune(s + cut, n - cut, &len));
		if (used + w > width - 1)
			break;
		used += w;
	}
	return tpl_printf(a, "%.*s\xe2\x80\xa6", (int)cut, s);
}

/* ---- sizes and times ---- */

static const char *scaled(struct tpl_arena *a, double v, double base, const char *const *units, size_t n, int precision)
{
	size_t u = 0;
	for (; v >= base && u + 1 < n; u++)
		v /= base;
	return tpl_printf(a, "%.*g%s", precision, v, units[u]);
}

const char *size_text(struct tpl_arena *a, double bytes, int precision)
{
	static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"};
	return scaled(a, bytes, 1000, units, CS_ARRAY_SIZE(units), precision);
}

const char *binary_size_text(struct tpl_arena *a, double bytes)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"};
	return scaled(a, bytes, 1024, units, CS_ARRAY_SIZE(units), 4);
}

const char *duration_text(struct tpl_arena *a, int64_t s)
{
	int64_t minutes = s / 60, hours = (s + 1800) / 3600;

	if (s < 1)
		return "Less than a second";
	if (s < 60)
		return s == 1 ? "1 second" : tpl_printf(a, "%lld seconds", (long long)s);
	if (minutes < 60)
		return minutes == 1 ? "About a minute" : tpl_printf(a, "%lld minutes", (long long)minutes);
	if (hours == 1)
		return "About an hour";
	static const struct {
		int64_t below, unit;
		const char *name;
	} steps[] = {{48, 1, "hours"}, {24 * 7 * 2, 24, "days"}, {24 * 30 * 2, 24 * 7, "weeks"}, {24 * 365 * 2, 24 * 30, "months"}};
	for (size_t i = 0; i < CS_ARRAY_SIZE(steps); i++)
		if (hours < steps[i].below)
			return tpl_printf(a, "%lld %s", (long long)(hours / steps[i].unit), steps[i].name);
	return tpl_printf(a, "%lld years", (long long)(s / 3600 / 24 / 365));
}

const char *ago_text(struct tpl_arena *a, int64_t t) { return tpl_printf(a, "%s ago", duration_text(a, cs_now_ns() / CS_NS_PER_SEC - t)); }

const char *local_time_text(struct tpl_arena *a, int64_t t)
{
	time_t tt = (time_t)t;
	struct tm tm;
	char buf[80];

	if (!localtime_r(&tt, &tm) || !strftime(buf, sizeof(buf), "%Y-%m-%d %H:%M:%S %z %Z", &tm))
		return "";
	return tpl_strn(a, buf, strlen(buf));
}

const char *utc_time_text(struct tpl_arena *a, const char *s)
{
	static const struct tpl_type time_type = {.name = "time.Time", .kind = TPL_STRING, .trait = TPL_TIME};
	struct cs_str out = CS_STR_INIT(256);
	struct tpl_value raw = text_value(cs_empty(s) ? "0001-01-01T00:00:00Z" : s);

	tpl_sprint(&out, tpl_typed(a, &time_type, raw));
	const char *text = tpl_strn(a, out.buf ? out.buf : "", out.len);
	cs_str_done(&out);
	return text;
}

static bool digit(char c) { return c >= '0' && c <= '9'; }

/* Runs of digits compare as numbers; of equal ones the one with fewer zeros in front comes first. */
int natural_compare(const char *x, const char *y)
{
	while (*x && *y) {
		if (digit(*x) && digit(*y)) {
			const char *p = x + strspn(x, "0"), *q = y + strspn(y, "0");
			size_t n = strspn(p, "0123456789"), m = strspn(q, "0123456789"), zeros = (size_t)(p - x), others = (size_t)(q - y);
			int c = n != m ? (n < m ? -1 : 1) : memcmp(p, q, n);
			if (c)
				return c;
			if (zeros != others)
				return zeros < others ? -1 : 1;
			x = p + n;
			y = q + m;
		} else if (*x != *y) {
			return (unsigned char)*x < (unsigned char)*y ? -1 : 1;
		} else {
			x++;
			y++;
		}
	}
	return *x ? 1 : *y ? -1 : 0;
}

struct keyed {
	const char *key;
	json_t *v;
};

static int by_key(const void *x, const void *y)
{
	const struct keyed *p = x, *q = y;
	return natural_compare(p->key, q->key);
}

json_t *sorted_by(json_t *list, const char *key)
{
	size_t n = json_array_size(list);
	struct keyed *all = cs_xreallocarray(NULL, n + 1, sizeof(*all));
	json_t *out = json_array();

	for (size_t i = 0; i < n; i++)
		all[i] = (struct keyed){jstr(json_array_get(list, i), key), json_array_get(list, i)};
	qsort(all, n, sizeof(*all), by_key);
	for (size_t i = 0; i < n; i++)
		(void)json_array_append(out, all[i].v);
	free(all);
	return out;
}

const char *truncate_id(struct tpl_arena *a, const char *id)
{
	const char *colon = strchr(id, ':');
	if (colon)
		id = colon + 1;
	return strlen(id) > 12 ? tpl_strn(a, id, 12) : id;
}

const char *labels_text(struct tpl_arena *a, json_t *labels)
{
	struct cs_str s = CS_STR_INIT((size_t)1 << 24);
	char **all = NULL;
	const char *k;
	json_t *v;

	json_object_foreach(labels, k, v) cs_strv_take(&all, cs_xasprintf("%s=%s", k, json_string_value(v) ? json_string_value(v) : ""));
	cs_strv_sort(all);
	for (char **p = all; p && *p; p++) {
		if (p > all)
			cs_str_putc(&s, ',');
		cs_str_puts(&s, *p);
	}
	cs_strv_free(all);
	const char *text = tpl_strn(a, s.buf ? s.buf : "", s.len);
	cs_str_done(&s);
	return text;
}

bool reference_split(struct tpl_arena *a, const char *ref, const char **name, const char **tag, const char **digest)
{
	cs_autoref struct cs_ref r = {0};

	if (!ref || cs_ref_parse(ref, &r, NULL) < 0)
		return false;
	cs_autofree char *familiar = cs_ref_familiar_name(&r);
	*name = tpl_strn(a, familiar, strlen(familiar));
	*tag = r.tag ? tpl_strn(a, r.tag, strlen(r.tag)) : "";
	*digest = r.digest ? tpl_strn(a, r.digest, strlen(r.digest)) : "";
	return true;
}
