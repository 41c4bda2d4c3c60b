/* SPDX-License-Identifier: Apache-2.0
 *
 * Tokens of a template. The grammar of Go's text/template/parse, its errors included. */
#include "cli/template/lex.h"

#include <string.h>

#include "cli/template/text.h"

#define END_OF_INPUT UINT32_MAX

static bool is_space(uint32_t c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }
static bool at(const struct lexer *l, size_t pos, const char *s) { return pos <= l->len && l->len - pos >= strlen(s) && memcmp(l->in + pos, s, strlen(s)) == 0; }

static uint32_t peek(const struct lexer *l, size_t *width)
{
	if (l->pos >= l->len) {
		*width = 0;
		return END_OF_INPUT;
	}
	return tpl_rune(l->in + l->pos, l->len - l->pos, width);
}

static uint32_t next(struct lexer *l)
{
	size_t w;
	uint32_t r = peek(l, &w);
	l->pos += w;
	if (r == '\n')
		l->line++;
	return r;
}

static void skip_to(struct lexer *l, size_t pos)
{
	for (; l->pos < pos; l->pos++)
		l->line += l->in[l->pos] == '\n';
}

static void ignore(struct lexer *l)
{
	l->start = l->pos;
	l->start_line = l->line;
}

static struct token emit(struct lexer *l, enum token_kind kind)
{
	struct token t = {kind, l->start, l->in + l->start, l->pos - l->start, l->start_line};
	ignore(l);
	return t;
}

static struct token fail(struct lexer *l, const char *msg)
{
	struct token t = {T_ERROR, l->start, msg, strlen(msg), l->start_line};
	l->ended = true;
	return t;
}

static struct token bad_rune(struct lexer *l, const char *what, uint32_t r)
{
	struct cs_str s = CS_STR_INIT(256);
	cs_str_putf(&s, "%s U+%04X", what, r == END_OF_INPUT ? 0xffffffffu : (unsigned)r);
	if (tpl_rune_is_print(r)) {
		cs_str_puts(&s, " '");
		tpl_put_rune(&s, r);
		cs_str_puts(&s, "'");
	}
	struct token t = fail(l, tpl_strn(l->arena, s.buf, s.len));
	cs_str_done(&s);
	return t;
}

/* Is there a "}}" or " -}}" at pos? *trim: the latter. */
static bool right_delim(const struct lexer *l, size_t pos, bool *trim)
{
	*trim = pos < l->len && is_space((unsigned char)l->in[pos]) && at(l, pos + 1, "-}}");
	return *trim || at(l, pos, "}}");
}

static struct token lex_comment(struct lexer *l);

static struct token lex_left(struct lexer *l)
{
	bool trim = at(l, l->pos + 2, "-") && l->pos + 3 < l->len && is_space((unsigned char)l->in[l->pos + 3]);
	size_t after = l->pos + 2 + (trim ? 2 : 0);

	if (at(l, after, "/*")) {
		skip_to(l, after);
		ignore(l);
		return lex_comment(l);
	}
	struct token t = {T_LEFT, l->start, "{{", 2, l->start_line};
	l->inside = true;
	skip_to(l, after);
	ignore(l);
	l->parens = 0;
	return t;
}

static struct token lex_text(struct lexer *l)
{
	const char *p = l->pos < l->len ? memmem(l->in + l->pos, l->len - l->pos, "{{", 2) : NULL;

	if (!p) {
		size_t from = l->pos;
		skip_to(l, l->len);
		if (l->pos > from)
			return emit(l, T_TEXT);
		l->ended = true;
		return (struct token){T_EOF, l->pos, "EOF", 3, l->start_line};
	}
	size_t end = (size_t)(p - l->in);
	if (end > l->pos) {
		size_t keep = end;
		if (at(l, end + 2, "-") && end + 3 < l->len && is_space((unsigned char)l->in[end + 3]))
			while (keep > l->start && is_space((unsigned char)l->in[keep - 1]))
				keep--;
		skip_to(l, keep);
		struct token t = emit(l, T_TEXT);
		skip_to(l, end);
		ignore(l);
		if (t.len)
			return t;
	}
	return lex_left(l);
}

static void skip_spaces(struct lexer *l)
{
	while (l->pos < l->len && is_space((unsigned char)l->in[l->pos]))
		(void)next(l);
	ignore(l);
}

static struct token lex_comment(struct lexer *l)
{
	size_t from = l->pos + 2;
	const char *p = from <= l->len ? memmem(l->in + from, l->len - from, "*/", 2) : NULL;
	bool trim;

	if (!p)
		return fail(l, "unclosed comment");
	skip_to(l, (size_t)(p - l->in) + 2);
	if (!right_delim(l, l->pos, &trim))
		return fail(l, "comment ends before closing delimiter");
	skip_to(l, l->pos + (trim ? 4 : 2));
	if (trim)
		skip_spaces(l);
	ignore(l);
	return lex_text(l);
}

static struct token lex_right(struct lexer *l, bool trim)
{
	if (trim) {
		skip_to(l, l->pos + 2);
		ignore(l);
	}
	skip_to(l, l->pos + 2);
	struct token t = emit(l, T_RIGHT);
	if (trim)
		skip_spaces(l);
	l->inside = false;
	return t;
}

static bool at_terminator(const struct lexer *l)
{
	size_t w;
	uint32_t r = peek(l, &w);
	return r == END_OF_INPUT || is_space(r) || (r < 0x80 && r && strchr(".,|:)(", (int)r)) || at(l, l->pos, "}}");
}

/* The rest of a word. Returns false with the bad character when something else follows directly. */
static bool word(struct lexer *l, uint32_t *bad)
{
	size_t w;
	uint32_t r = peek(l, &w);

	while (r != END_OF_INPUT && tpl_rune_is_word(r)) {
		(void)next(l);
		r = peek(l, &w);
	}
	*bad = r;
	return at_terminator(l);
}

static struct token lex_field_or_variable(struct lexer *l, enum token_kind kind)
{
	uint32_t bad;

	if (at_terminator(l))
		return emit(l, kind == T_VARIABLE ? T_VARIABLE : T_DOT);
	return word(l, &bad) ? emit(l, kind) : bad_rune(l, "bad character", bad);
}

static struct token lex_identifier(struct lexer *l)
{
	static const struct {
		const char *name;
		enum token_kind kind;
	} keys[] = {{"block", T_BLOCK}, {"break", T_BREAK}, {"continue", T_CONTINUE}, {"define", T_DEFINE}, {"else", T_ELSE}, {"end", T_END}, {"if", T_IF},
		    {"nil", T_NIL}, {"range", T_RANGE}, {"template", T_TEMPLATE}, {"with", T_WITH}, {"true", T_BOOL}, {"false", T_BOOL}};
	uint32_t bad;

	if (!word(l, &bad))
		return bad_rune(l, "bad character", bad);
	for (size_t i = 0; i < CS_ARRAY_SIZE(keys); i++)
		if (strlen(keys[i].name) == l->pos - l->start && memcmp(keys[i].name, l->in + l->start, l->pos - l->start) == 0)
			return emit(l, keys[i].kind);
	return emit(l, T_IDENT);
}

static bool accept(struct lexer *l, const char *set)
{
	if (l->pos < l->len && l->in[l->pos] && strchr(set, l->in[l->pos])) {
		(void)next(l);
		return true;
	}
	return false;
}

static bool scan_number(struct lexer *l)
{
	const char *digits = "0123456789_";
	size_t w;

	(void)accept(l, "+-");
	if (accept(l, "0"))
		digits = accept(l, "xX") ? "0123456789abcdefABCDEF_" : accept(l, "oO") ? "01234567_" : accept(l, "bB") ? "01_" : digits;
	while (accept(l, digits))
		;
	if (accept(l, "."))
		while (accept(l, digits))
			;
	if ((strlen(digits) == 11 && accept(l, "eE")) || (strlen(digits) == 23 && accept(l, "pP"))) {
		(void)accept(l, "+-");
		while (accept(l, "0123456789_"))
			;
	}
	(void)accept(l, "i");
	uint32_t r = peek(l, &w);
	if (r != END_OF_INPUT && tpl_rune_is_word(r)) {
		(void)next(l);
		return false;
	}
	return true;
}

static struct token lex_number(struct lexer *l)
{
	bool complex = false, good = scan_number(l);

	if (good && l->pos < l->len && (l->in[l->pos] == '+' || l->in[l->pos] == '-')) {
		complex = true;
		good = scan_number(l) && l->in[l->pos - 1] == 'i';
	}
	if (good)
		return emit(l, complex ? T_COMPLEX : T_NUMBER);
	struct cs_str s = CS_STR_INIT((size_t)1 << 20);
	cs_str_puts(&s, "bad number syntax: ");
	tpl_quote(&s, l->in + l->start, l->pos - l->start, '"', false);
	struct token t = fail(l, tpl_strn(l->arena, s.buf, s.len));
	cs_str_done(&s);
	return t;
}

/* Up to the closing quote; what it contains is the parser's business. */
static struct token lex_quoted(struct lexer *l, char quote, enum token_kind kind, const char *unterminated)
{
	for (;;) {
		uint32_t r = next(l);
		if (r == '\\' && quote != '`')
			r = next(l) == '\n' ? '\n' : 'x';
		if (r == END_OF_INPUT || (r == '\n' && quote != '`') || (l->pos >= l->len && r != (unsigned char)quote))
			return fail(l, unterminated);
		if (r == (unsigned char)quote)
			return emit(l, kind);
	}
}

static struct token lex_inside(struct lexer *l)
{
	bool trim;

	if (right_delim(l, l->pos, &trim))
		return l->parens == 0 ? lex_right(l, trim) : fail(l, "unclosed left paren");
	uint32_t r = next(l);
	if (r == END_OF_INPUT)
		return fail(l, "unclosed action");
	if (is_space(r)) {
		size_t w;
		/* a blank before "-}}" belongs to the delimiter */
		while (is_space(peek(l, &w)) && !right_delim(l, l->pos, &trim))
			(void)next(l);
		return emit(l, T_SPACE);
	}
	switch (r) {
	case '=':
		return emit(l, T_ASSIGN);
	case ':':
		return next(l) == '=' ? emit(l, T_DECLARE) : fail(l, "expected :=");
	case '|':
		return emit(l, T_PIPE);
	case '"':
		return lex_quoted(l, '"', T_STRING, "unterminated quoted string");
	case '`':
		return lex_quoted(l, '`', T_RAW, "unterminated raw quoted string");
	case '\'':
		return lex_quoted(l, '\'', T_CHAR_CONSTANT, "unterminated character constant");
	case '$':
		return lex_field_or_variable(l, T_VARIABLE);
	case '(':
		l->parens++;
		return emit(l, T_LPAREN);
	case ')':
		if (l->parens == 0)
			return fail(l, "unexpected right paren");
		l->parens--;
		return emit(l, T_RPAREN);
	case '.':
		if (l->pos < l->len && (l->in[l->pos] < '0' || l->in[l->pos] > '9'))
			return lex_field_or_variable(l, T_FIELD);
		break;
	default:
		break;
	}
	size_t back = l->start;
	if (r == '.' || r == '+' || r == '-' || (r >= '0' && r <= '9')) {
		l->pos = back;
		return lex_number(l);
	}
	if (tpl_rune_is_word(r)) {
		l->pos = back;
		return lex_identifier(l);
	}
	return r < 0x80 && tpl_rune_is_print(r) ? emit(l, T_CHAR) : bad_rune(l, "unrecognized character in action:", r);
}

struct token lex_next(struct lexer *l)
{
	if (l->ended)
		return (struct token){T_EOF, l->pos, "EOF", 3, l->start_line};
	return l->inside ? lex_inside(l) : lex_text(l);
}
