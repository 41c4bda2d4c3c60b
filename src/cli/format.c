/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/list.h"
#include "cli/template/text.h"

void table_cell(struct table *t, const char *text) { cs_strv_push(&t->cells, text); }

void table_print(struct table *t)
{
	struct cs_str in = CS_STR_INIT((size_t)64 << 20), out = CS_STR_INIT((size_t)64 << 20);

	for (size_t i = 0; t->cells && t->cells[i]; i++)
		cs_str_putf(&in, "%s%c", t->cells[i], (i + 1) % t->columns ? '\t' : '\n');
	tab_write(&out, in.buf ? in.buf : "", in.len, 10, 3);
	(void)fwrite(out.buf ? out.buf : "", 1, out.len, stdout);
	cs_str_done(&in);
	cs_str_done(&out);
	cs_strv_free(t->cells);
	t->cells = NULL;
}

char *human_size(int64_t bytes)
{
	tpl_autoarena struct tpl_arena *a = tpl_arena_new();
	return cs_xstrdup(size_text(a, (double)bytes, 3));
}

char *human_ago(int64_t s)
{
	tpl_autoarena struct tpl_arena *a = tpl_arena_new();
	return cs_xstrdup(duration_text(a, s));
}

const char *short_id(const char *id)
{
	static char buf[13];
	const char *p = cs_prefix(id, "sha256:");
	(void)snprintf(buf, sizeof(buf), "%.12s", p ? p : id);
	return buf;
}

const char *jstr(const json_t *j, const char *key)
{
	const char *s = json_string_value(json_object_get(j, key));
	return s ? s : "";
}

static char *as_utf8(const char *s)
{
	struct cs_str out = CS_STR_INIT((size_t)64 << 20);
	size_t len;

	for (size_t n = strlen(s); n; s += len, n -= len)
		tpl_put_rune(&out, tpl_rune(s, n, &len));
	char *text = cs_str_steal(&out);
	return text ? text : cs_xstrdup("");
}

json_t *jtext(const char *s)
{
	json_t *j = json_string(s);

	if (j)
		return j;
	cs_autofree char *text = as_utf8(s);
	return json_string(text);
}

void jset(json_t *o, const char *key, const char *text)
{
	if (json_object_set_new(o, key, jtext(text)) == 0)
		return;
	cs_autofree char *name = as_utf8(key);
	(void)json_object_set_new(o, name, jtext(text));
}

int64_t jint(const json_t *j, const char *key)
{
	const json_t *v = json_object_get(j, key);
	return json_is_integer(v) ? json_integer_value(v) : (int64_t)json_number_value(v); /* nanoseconds since 1970 have more digits than a double */
}

char *json_text(const json_t *j, size_t indent)
{
	cs_autofree char *text = json_dumps(j, JSON_ENCODE_ANY | (indent ? JSON_INDENT(indent) : JSON_COMPACT));
	struct cs_str out = CS_STR_INIT((size_t)256 << 20);

	for (const char *p = text; p && *p; p++) {
		if (*p == '<' || *p == '>' || *p == '&')
			cs_str_putf(&out, "\\u%04x", (unsigned)*p);
		else
			cs_str_putc(&out, *p);
	}
	return cs_str_steal(&out);
}
