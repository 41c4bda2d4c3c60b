/* SPDX-License-Identifier: Apache-2.0
 *
 * A recursive descent over the text. Strict: a second definition of a key or table is an error, as TOML wants it. */
#include "registry/toml.h"

#include "base/num.h"
#include "base/str.h"

#define TEXT_MAX (1u << 20)
#define DEPTH_MAX 16

struct toml {
	const char *p, *end;
	unsigned line, depth;
	struct cs_err **err;
};

static json_t *parse_value(struct toml *t);

static int bad(struct toml *t, const char *what) { return cs_fail(t->err, CS_ERR_INVALID, 0, "line %u: %s", t->line, what); }
static int peek(const struct toml *t) { return t->p < t->end ? (unsigned char)*t->p : -1; }

static void blanks(struct toml *t)
{
	while (peek(t) == ' ' || peek(t) == '\t')
		t->p++;
}

static void comment(struct toml *t)
{
	if (peek(t) == '#')
		while (t->p < t->end && *t->p != '\n')
			t->p++;
}

/* The rest of the line must be empty. */
static int end_of_line(struct toml *t)
{
	blanks(t);
	comment(t);
	if (peek(t) == '\r')
		t->p++;
	if (peek(t) == -1)
		return 0;
	if (peek(t) != '\n')
		return bad(t, "expected the end of the line");
	t->p++;
	t->line++;
	return 0;
}

/* Blanks, comments and line ends, inside arrays and between expressions. */
static void space(struct toml *t)
{
	for (;;) {
		blanks(t);
		comment(t);
		if (peek(t) == '\n')
			t->line++;
		else if (peek(t) != '\r')
			return;
		t->p++;
	}
}

static int put_utf8(struct toml *t, struct cs_str *out, unsigned digits)
{
	uint32_t c = 0;

	for (unsigned i = 0; i < digits; i++, t->p++) {
		int d = peek(t);
		int v = d >= '0' && d <= '9' ? d - '0' : d >= 'a' && d <= 'f' ? d - 'a' + 10 : d >= 'A' && d <= 'F' ? d - 'A' + 10 : -1;
		if (v < 0)
			return bad(t, "malformed \\u escape");
		c = c << 4 | (uint32_t)v;
	}
	if (c == 0 || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return bad(t, "\\u escape is no character");
	if (c < 0x80) {
		cs_str_putc(out, (char)c);
	} else if (c < 0x800) {
		cs_str_putf(out, "%c%c", (int)(0xc0 | c >> 6), (int)(0x80 | (c & 0x3f)));
	} else if (c < 0x10000) {
		cs_str_putf(out, "%c%c%c", (int)(0xe0 | c >> 12), (int)(0x80 | (c >> 6 & 0x3f)), (int)(0x80 | (c & 0x3f)));
	} else {
		cs_str_putf(out, "%c%c%c%c", (int)(0xf0 | c >> 18), (int)(0x80 | (c >> 12 & 0x3f)), (int)(0x80 | (c >> 6 & 0x3f)), (int)(0x80 | (c & 0x3f)));
	}
	return 0;
}

static int escape(struct toml *t, struct cs_str *out)
{
	static const char from[] = "btnfr\"\\", to[] = "\b\t\n\f\r\"\\";
	int c = peek(t);
	const char *at = c > 0 ? strchr(from, c) : NULL;

	if (c == 'u' || c == 'U') {
		t->p++;
		return put_utf8(t, out, c == 'u' ? 4 : 8);
	}
	if (!at)
		return bad(t, "unknown escape");
	t->p++;
	cs_str_putc(out, to[at - from]);
	return 0;
}

static int parse_string(struct toml *t, struct cs_str *out)
{
	char quote = *t->p++;

	if (t->end - t->p >= 2 && t->p[0] == quote && t->p[1] == quote)
		return bad(t, "strings over several lines are not supported");
	for (;;) {
		int c = peek(t);
		if (c == -1 || c == '\n' || c == '\r')
			return bad(t, "string does not end");
		if ((c < 0x20 && c != '\t') || c == 0x7f)
			return bad(t, "control character in a string");
		t->p++;
		if (c == quote)
			return out->failed ? bad(t, "string is too long") : 0;
		if (c != '\\' || quote == '\'')
			cs_str_putc(out, (char)c);
		else if (escape(t, out) < 0)
			return -1;
	}
}

static bool is_bare(int c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '-'; }

static int parse_key(struct toml *t, struct cs_str *out)
{
	cs_str_clear(out);
	if (peek(t) == '"' || peek(t) == '\'')
		return parse_string(t, out);
	if (!is_bare(peek(t)))
		return bad(t, "expected a key");
	while (is_bare(peek(t)))
		cs_str_putc(out, *t->p++);
	return 0;
}

static const char *text_of(const struct cs_str *s) { return s->buf ? s->buf : ""; }

/* a.b."c" from `in`: leaves the last part in key and the table that holds it in *ret. Missing tables are made. */
static int walk_key(struct toml *t, json_t *in, struct cs_str *key, json_t **ret)
{
	for (unsigned depth = 0;; depth++) {
		if (parse_key(t, key) < 0)
			return -1;
		blanks(t);
		if (peek(t) != '.') {
			*ret = in;
			return 0;
		}
		t->p++;
		blanks(t);
		json_t *next = json_object_get(in, text_of(key));
		if (!next) {
			next = json_object();
			if (json_object_set_new(in, text_of(key), next) < 0)
				return bad(t, "key is not UTF-8");
		}
		if (!json_is_object(next) || depth > DEPTH_MAX)
			return bad(t, "key is not a table");
		in = next;
	}
}

static int assignment(struct toml *t, json_t *in)
{
	cs_autostr struct cs_str key = CS_STR_INIT(4096);
	json_t *table, *value;

	if (walk_key(t, in, &key, &table) < 0)
		return -1;
	if (peek(t) != '=')
		return bad(t, "expected '='");
	t->p++;
	blanks(t);
	if (json_object_get(table, text_of(&key)))
		return bad(t, "key is defined twice");
	value = parse_value(t);
	if (!value)
		return -1;
	return json_object_set_new(table, text_of(&key), value) < 0 ? bad(t, "key is not UTF-8") : 0;
}

static json_t *parse_array(struct toml *t)
{
	json_t *a = json_array();

	t->p++;
	for (;;) {
		space(t);
		if (peek(t) == ']')
			break;
		json_t *v = parse_value(t);
		if (!v || json_array_append_new(a, v) < 0)
			goto fail;
		space(t);
		if (peek(t) == ',') {
			t->p++;
		} else if (peek(t) != ']') {
			(void)bad(t, "expected ',' or ']'");
			goto fail;
		}
	}
	t->p++;
	return a;
fail:
	json_decref(a);
	return NULL;
}

static json_t *parse_inline_table(struct toml *t)
{
	json_t *o = json_object();

	t->p++;
	blanks(t);
	for (bool more = peek(t) != '}'; more;) {
		if (assignment(t, o) < 0)
			goto fail;
		blanks(t);
		more = peek(t) == ',';
		if (more) {
			t->p++;
			blanks(t);
		} else if (peek(t) != '}') {
			(void)bad(t, "expected ',' or '}'");
			goto fail;
		}
	}
	t->p++;
	return o;
fail:
	json_decref(o);
	return NULL;
}

static json_t *parse_word(struct toml *t)
{
	cs_autostr struct cs_str word = CS_STR_INIT(64), digits = CS_STR_INIT(64);
	int64_t n;

	while (is_bare(peek(t)) || peek(t) == '.' || peek(t) == ':' || peek(t) == '+')
		cs_str_putc(&word, *t->p++);
	if (strcmp(text_of(&word), "true") == 0)
		return json_true();
	if (strcmp(text_of(&word), "false") == 0)
		return json_false();
	for (const char *p = text_of(&word) + (*text_of(&word) == '+'); *p; p++)
		if (*p != '_')
			cs_str_putc(&digits, *p);
	if (!word.failed && digits.len > 0 && cs_parse_i64(digits.buf, INT64_MIN, INT64_MAX, &n))
		return json_integer(n);
	(void)bad(t, "expected a string, a number, true, false, an array or a table");
	return NULL;
}

static json_t *parse_text_value(struct toml *t)
{
	cs_autostr struct cs_str s = CS_STR_INIT(64 << 10);

	if (parse_string(t, &s) < 0)
		return NULL;
	json_t *j = json_stringn(text_of(&s), s.len);
	if (!j)
		(void)bad(t, "string is not UTF-8");
	return j;
}

static json_t *parse_value(struct toml *t)
{
	json_t *v;

	if (t->depth >= DEPTH_MAX) {
		(void)bad(t, "nested too deep");
		return NULL;
	}
	t->depth++;
	switch (peek(t)) {
	case '"':
	case '\'':
		v = parse_text_value(t);
		break;
	case '[':
		v = parse_array(t);
		break;
	case '{':
		v = parse_inline_table(t);
		break;
	default:
		v = parse_word(t);
	}
	t->depth--;
	return v;
}

/* [a.b."c"]: the table, made when missing. Its text is remembered, since a table has one header only. */
static json_t *parse_header(struct toml *t, json_t *root, json_t *seen)
{
	cs_autostr struct cs_str key = CS_STR_INIT(4096);
	json_t *parent, *table;
	char id[32];

	t->p++;
	if (peek(t) == '[') {
		(void)bad(t, "arrays of tables are not supported");
		return NULL;
	}
	blanks(t);
	if (walk_key(t, root, &key, &parent) < 0)
		return NULL;
	if (peek(t) != ']') {
		(void)bad(t, "expected ']'");
		return NULL;
	}
	t->p++;
	table = json_object_get(parent, text_of(&key));
	if (!table) {
		table = json_object();
		if (json_object_set_new(parent, text_of(&key), table) < 0) {
			(void)bad(t, "key is not UTF-8");
			return NULL;
		}
	}
	(void)snprintf(id, sizeof(id), "%p", (void *)table);
	if (!json_is_object(table) || json_object_get(seen, id)) {
		(void)bad(t, "table is defined twice");
		return NULL;
	}
	(void)json_object_set_new(seen, id, json_true());
	return table;
}

static int parse_all(struct toml *t, json_t *root, json_t *seen)
{
	json_t *table = root;

	for (;;) {
		space(t);
		if (peek(t) == -1)
			return 0;
		if (peek(t) == '[') {
			table = parse_header(t, root, seen);
			if (!table)
				return -1;
		} else if (assignment(t, table) < 0) {
			return -1;
		}
		if (end_of_line(t) < 0)
			return -1;
	}
}

json_t *cs_rg_toml_parse(const char *text, size_t len, struct cs_err **err)
{
	struct toml t = {.p = text, .end = text + len, .line = 1, .err = err};
	json_t *root, *seen;
	int r;

	if (len > TEXT_MAX) {
		(void)cs_fail(err, CS_ERR_INVALID, 0, "file is too long");
		return NULL;
	}
	root = json_object();
	seen = json_object();
	r = parse_all(&t, root, seen);
	json_decref(seen);
	if (r == 0)
		return root;
	json_decref(root);
	return NULL;
}
