/* SPDX-License-Identifier: Apache-2.0
 *
 * Values to JSON as encoding/json does, and re-indenting of JSON text. */
#include <math.h>
#include <string.h>

#include "cli/template/text.h"
#include "cli/template/value.h"

static void put_string(struct cs_str *out, const char *s, size_t n, bool html)
{
	size_t len;

	cs_str_putc(out, '"');
	for (size_t i = 0; i < n; i += len) {
		uint32_t r = tpl_rune(s + i, n - i, &len);
		if (r == '"' || r == '\\')
			cs_str_put(out, (char[]){'\\', (char)r}, 2);
		else if (r == '\n' || r == '\r' || r == '\t' || r == '\b' || r == '\f')
			cs_str_put(out, (char[]){'\\', r == '\n' ? 'n' : r == '\r' ? 'r' : r == '\t' ? 't' : r == '\b' ? 'b' : 'f'}, 2);
		else if (r < 0x20 || r == 0x2028 || r == 0x2029 || (html && (r == '<' || r == '>' || r == '&')))
			cs_str_putf(out, "\\u%04x", (unsigned)r);
		else if (r == RUNE_BAD && len == 1)
			cs_str_puts(out, "\\ufffd");
		else
			cs_str_put(out, s + i, len);
	}
	cs_str_putc(out, '"');
}

static void put_float(struct cs_str *out, double f)
{
	char buf[400];
	double abs = fabs(f);

	for (int digits = 1; digits <= 17; digits++) {
		(void)snprintf(buf, sizeof(buf), "%.*e", digits - 1, f);
		if (strtod(buf, NULL) == f)
			break;
	}
	char *e = strchr(buf, 'e');
	if (!e) /* not finite: nobody can send one in JSON */
		cs_str_puts(out, "null");
	else if (abs != 0 && (abs < 1e-6 || abs >= 1e21))
		cs_str_putf(out, "%.*s%c%s%s", (int)(e - buf), buf, 'e', e[1] == '-' ? "-" : "+", e + (e[2] == '0' ? 3 : 2));
	else {
		int exp = (int)strtol(e + 1, NULL, 10), digits = (int)(e - buf) - (buf[0] == '-') - 1;
		cs_str_putf(out, "%.*f", CS_MAX(0, (digits > 0 ? digits - 1 : 0) - exp), f);
	}
}

static bool is_empty(struct tpl_value v)
{
	switch (tpl_kind_of(v)) {
	case TPL_INVALID:
		return true;
	case TPL_BOOL:
		return !v.b;
	case TPL_INT:
	case TPL_UINT:
		return v.u == 0;
	case TPL_FLOAT:
		return v.f == 0;
	case TPL_STRING:
		return v.n == 0;
	case TPL_SLICE:
		return v.count == 0;
	case TPL_MAP:
		return v.pairs == 0;
	case TPL_PTR:
		return !v.v;
	default:
		return false;
	}
}

static void put_key(struct cs_str *out, const char *key, size_t n, bool html, bool *first)
{
	if (!*first)
		cs_str_putc(out, ',');
	*first = false;
	put_string(out, key, n, html);
	cs_str_putc(out, ':');
}

/* Go's rule for embedded structs: a field nearer to the outside hides one of its name further in. */
static bool hidden(const struct tpl_type *outer, const struct tpl_type *inner, const char *json)
{
	for (size_t i = 0; outer != inner && i < outer->n_fields; i++)
		if (!outer->fields[i].embedded && strcmp(outer->fields[i].json, json) == 0)
			return true;
	return false;
}

static void put_fields(struct cs_str *out, struct tpl_value v, const struct tpl_type *outer, bool html, struct tpl_arena *a, bool *first)
{
	for (size_t i = 0; i < v.type->n_fields; i++) {
		const struct tpl_field *f = &v.type->fields[i];
		struct tpl_value x = v.v[i];
		if (f->embedded) {
			if (tpl_kind_of(x) == TPL_PTR)
				x = x.v ? *x.v : tpl_nothing;
			if (x.type)
				put_fields(out, x, outer, html, a, first);
			continue;
		}
		if (strcmp(f->json, "-") == 0 || (f->omit && is_empty(x) && f->type->trait != TPL_TIME) || hidden(outer, v.type, f->json))
			continue;
		put_key(out, f->json, strlen(f->json), html, first);
		tpl_marshal(out, x, html, a);
	}
}

void tpl_marshal(struct cs_str *out, struct tpl_value v, bool html, struct tpl_arena *a)
{
	bool first = true;

	switch (tpl_kind_of(v)) {
	case TPL_INVALID:
	case TPL_IFACE:
		cs_str_puts(out, "null");
		break;
	case TPL_BOOL:
		cs_str_puts(out, v.b ? "true" : "false");
		break;
	case TPL_INT:
		cs_str_put_i64(out, v.i);
		break;
	case TPL_UINT:
		cs_str_put_u64(out, v.u);
		break;
	case TPL_FLOAT:
		put_float(out, v.f);
		break;
	case TPL_STRING:
		if (v.type->trait == TPL_NUMBER)
			cs_str_puts(out, v.n ? v.s : "0");
		else
			put_string(out, v.s, v.n, html);
		break;
	case TPL_SLICE:
		if (!v.v) {
			cs_str_puts(out, "null");
			break;
		}
		cs_str_putc(out, '[');
		for (size_t i = 0; i < v.count; i++) {
			if (i)
				cs_str_putc(out, ',');
			tpl_marshal(out, v.v[i], html, a);
		}
		cs_str_putc(out, ']');
		break;
	case TPL_MAP:
		if (!v.p) {
			cs_str_puts(out, "null");
			break;
		}
		cs_str_putc(out, '{');
		for (size_t i = 0; i < v.pairs; i++) {
			put_key(out, v.p[i].key.s, v.p[i].key.n, html, &first);
			tpl_marshal(out, v.p[i].val, html, a);
		}
		cs_str_putc(out, '}');
		break;
	case TPL_PTR:
		tpl_marshal(out, v.v ? *v.v : tpl_nothing, html, a);
		break;
	case TPL_STRUCT:
		cs_str_putc(out, '{');
		put_fields(out, v, v.type, html, a, &first);
		cs_str_putc(out, '}');
		break;
	case TPL_OBJECT: /* Docker marshals these itself, with HTML escaped whatever the encoder says */
		cs_str_putc(out, '{');
		for (const struct tpl_method *m = v.obj->class->methods; m->name; m++) {
			if (m->takes_string)
				continue;
			put_key(out, m->name, strlen(m->name), true, &first);
			tpl_marshal(out, m->call(v.obj->self, a, NULL), true, a);
		}
		cs_str_putc(out, '}');
		break;
	}
}

static void new_line(struct cs_str *out, const char *indent, unsigned depth)
{
	cs_str_putc(out, '\n');
	while (depth--)
		cs_str_puts(out, indent);
}

static void reindent(struct cs_str *out, const char *text, size_t len, const char *indent)
{
	unsigned depth = 0;
	bool opened = false; /* an empty {} or [] stays on one line */

	for (const char *p = text, *end = text + len; p < end; p++) {
		if (strchr(" \t\r\n", *p) && *p)
			continue;
		if (opened && *p != '}' && *p != ']') {
			depth++;
			if (indent)
				new_line(out, indent, depth);
		}
		if (*p == '"') {
			const char *from = p++;
			while (p < end && *p != '"')
				p += *p == '\\' && p + 1 < end ? 2 : 1;
			cs_str_put(out, from, (size_t)(CS_MIN(p, end - 1) - from) + 1);
			opened = false;
			continue;
		}
		if ((*p == '}' || *p == ']') && !opened && depth) {
			depth--;
			if (indent)
				new_line(out, indent, depth);
		}
		cs_str_putc(out, *p);
		opened = *p == '{' || *p == '[';
		if (*p == ',' && indent)
			new_line(out, indent, depth);
		if (*p == ':' && indent)
			cs_str_putc(out, ' ');
	}
}

void tpl_json_indent(struct cs_str *out, const char *text, size_t len, const char *indent) { reindent(out, text, len, indent); }
void tpl_json_compact(struct cs_str *out, const char *text, size_t len) { reindent(out, text, len, NULL); }
