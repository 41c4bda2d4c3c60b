/* SPDX-License-Identifier: Apache-2.0
 *
 * Templates to nodes. The first error is kept and every later token is the end, so all loops finish. */
#include <stdarg.h>
#include <string.h>

#include "cli/template/lex.h"
#include "cli/template/text.h"

struct parser {
	struct tpl *tpl;
	struct tpl_arena *arena;
	struct lexer lex;
	struct token tok[3];
	unsigned peeked;
	unsigned action_line, range_depth, nesting;
	const char **vars;
	size_t n_vars, cap_vars;
	const char *error;
};

/* ---- errors ---- */

static void fail(struct parser *p, const char *fmt, ...) CS_PRINTF(2, 3);
static void fail(struct parser *p, const char *fmt, ...)
{
	struct cs_str s = CS_STR_INIT((size_t)1 << 22);
	va_list ap;

	if (p->error)
		return;
	cs_str_putf(&s, "template: %s:%u: ", p->tpl->name, p->tok[0].line);
	va_start(ap, fmt);
	cs_str_vputf(&s, fmt, ap);
	va_end(ap);
	p->error = tpl_strn(p->arena, s.buf, s.len);
	cs_str_done(&s);
}

/* A token as Go's parser prints it: %.10q… of long ones, <if> of keywords. */
static const char *token_text(struct parser *p, struct token t)
{
	struct cs_str s = CS_STR_INIT((size_t)1 << 20);
	size_t cut = 0, len, runes = 0;

	if (t.kind == T_EOF || t.kind == T_ERROR)
		return tpl_strn(p->arena, t.val, t.len);
	if (t.kind > T_KEYWORD)
		return tpl_printf(p->arena, "<%.*s>", (int)t.len, t.val);
	if (t.len <= 10)
		cut = t.len;
	else
		for (; cut < t.len && runes < 10; cut += len, runes++)
			(void)tpl_rune(t.val + cut, t.len - cut, &len);
	tpl_quote(&s, t.val, cut, '"', false);
	if (t.len > 10)
		cs_str_puts(&s, "...");
	char *text = tpl_strn(p->arena, s.buf ? s.buf : "", s.len);
	cs_str_done(&s);
	return text;
}

static void unexpected(struct parser *p, struct token t, const char *context)
{
	const char *text = token_text(p, t);

	if (t.kind != T_ERROR) {
		fail(p, "unexpected %s in %s", text, context);
	} else if (p->action_line && p->action_line != t.line) {
		size_t n = strlen(text);
		bool action = n >= 7 && strcmp(text + n - 7, " action") == 0;
		fail(p, "%s%s started at %s:%u", text, action ? "" : " in action", p->tpl->name, p->action_line);
	} else {
		fail(p, "%s", text);
	}
}

/* ---- tokens, with three to take back ---- */

static struct token pull(struct parser *p) { return p->error ? (struct token){T_EOF, p->lex.pos, "EOF", 3, p->tok[0].line} : lex_next(&p->lex); }

static struct token next(struct parser *p)
{
	if (p->error)
		return pull(p);
	if (p->peeked)
		p->peeked--;
	else
		p->tok[0] = pull(p);
	return p->tok[p->peeked];
}

static void backup(struct parser *p) { p->peeked++; }
static void backup2(struct parser *p, struct token t1)
{
	p->tok[1] = t1;
	p->peeked = 2;
}
static void backup3(struct parser *p, struct token t2, struct token t1) /* t2 comes first again */
{
	p->tok[1] = t1;
	p->tok[2] = t2;
	p->peeked = 3;
}

static struct token peek(struct parser *p)
{
	if (p->error)
		return pull(p);
	if (p->peeked)
		return p->tok[p->peeked - 1];
	p->peeked = 1;
	p->tok[0] = pull(p);
	return p->tok[0];
}

static struct token next_word(struct parser *p)
{
	struct token t;
	do
		t = next(p);
	while (t.kind == T_SPACE);
	return t;
}

static struct token peek_word(struct parser *p)
{
	struct token t = next_word(p);
	if (!p->error)
		backup(p);
	return t;
}

static struct token expect(struct parser *p, enum token_kind kind, const char *context)
{
	struct token t = next_word(p);
	if (t.kind != kind)
		unexpected(p, t, context);
	return t;
}

/* ---- nodes ---- */

static struct node *node(struct parser *p, enum node_kind kind, size_t pos)
{
	struct node *n = tpl_alloc(p->arena, sizeof(*n));
	n->kind = kind;
	n->pos = pos;
	return n;
}

static void add(struct node *parent, struct node *kid)
{
	if (parent->last_kid)
		parent->last_kid->next = kid;
	else
		parent->kids = kid;
	parent->last_kid = kid;
}

/* "a.b.c" to names; `skip` leaves a first dot out. */
static void set_idents(struct parser *p, struct node *n, const char *s, size_t len)
{
	size_t count = 1;
	for (size_t i = 0; i < len; i++)
		count += s[i] == '.';
	n->ident = tpl_alloc(p->arena, count * sizeof(char *));
	for (size_t from = 0, i = 0; i <= len; i++)
		if (i == len || s[i] == '.') {
			n->ident[n->n_ident++] = tpl_strn(p->arena, s + from, i - from);
			from = i + 1;
		}
}

static void add_ident(struct parser *p, struct node *n, const char *s, size_t len)
{
	const char **more = tpl_alloc(p->arena, (n->n_ident + 1) * sizeof(char *));
	if (n->n_ident)
		memcpy(more, n->ident, n->n_ident * sizeof(char *));
	more[n->n_ident++] = tpl_strn(p->arena, s, len);
	n->ident = more;
}

static void push_var(struct parser *p, const char *name)
{
	if (p->n_vars == p->cap_vars) {
		p->cap_vars = p->cap_vars ? p->cap_vars * 2 : 8;
		p->vars = cs_xreallocarray(p->vars, p->cap_vars, sizeof(char *));
	}
	p->vars[p->n_vars++] = name;
}

static const char *quoted(struct parser *p, const char *s, size_t n)
{
	struct cs_str out = CS_STR_INIT((size_t)1 << 22);
	tpl_quote(&out, s, n, '"', false);
	const char *text = tpl_strn(p->arena, out.buf ? out.buf : "", out.len);
	cs_str_done(&out);
	return text;
}

static struct node *pipeline(struct parser *p, const char *context, enum token_kind end);

/* Go's number syntax without its sign: digits with a base, underscores only between digits (and after the base). */
static bool parse_uint(const char *s, size_t n, uint64_t *ret)
{
	unsigned base = 10;
	size_t i = 0;
	bool based = false;
	uint64_t v = 0;

	if (n > 1 && s[0] == '0') {
		char c = (char)(s[1] | 0x20);
		base = c == 'x' ? 16 : c == 'o' ? 8 : c == 'b' ? 2 : 8;
		i = c == 'x' || c == 'o' || c == 'b' ? 2 : 1;
		based = true;
	}
	if (i >= n && i != 1)
		return false;
	bool digit = based;
	for (; i < n; i++) {
		if (s[i] == '_') {
			if (!digit || i + 1 == n)
				return false;
			digit = false;
			continue;
		}
		int d = s[i] >= '0' && s[i] <= '9' ? s[i] - '0' : (s[i] | 0x20) >= 'a' && (s[i] | 0x20) <= 'f' ? (s[i] | 0x20) - 'a' + 10 : 99;
		if ((unsigned)d >= base || __builtin_mul_overflow(v, base, &v) || __builtin_add_overflow(v, (uint64_t)d, &v))
			return false;
		digit = true;
	}
	*ret = v;
	return n > 0;
}

static bool parse_float(struct parser *p, const char *s, size_t n, double *ret)
{
	char *end, *copy = tpl_strn(p->arena, s, n);
	bool hex = n > 2 && strpbrk(copy, "xX"), any = false;
	size_t kept = 0;

	for (size_t i = 0; i < n; i++) { /* underscores between digits do not count */
		if (s[i] == '_' && (!i || s[i - 1] < '0' || s[i - 1] > '9' || i + 1 == n || s[i + 1] < '0' || s[i + 1] > '9'))
			return false;
		if (s[i] != '_')
			copy[kept++] = s[i];
	}
	copy[kept] = 0;
	n = kept;
	for (size_t i = 0; i < n; i++) {
		if ((hex && !strpbrk(copy, "pP")) || (!hex && copy[i] && !strchr("0123456789.eE+-", copy[i])))
			return false;
		any |= copy[i] >= '0' && copy[i] <= '9';
	}
	*ret = strtod(copy, &end);
	return any && *end == 0 && *ret - *ret == 0.0; /* infinity is out of range */
}

/* Everything that a number can be. The rules of ideal constants: 1.0 is an int as well, 1e3 too. */
static struct node *number(struct parser *p, struct token t)
{
	struct node *n = node(p, N_NUMBER, t.pos);
	const char *s = t.val;
	size_t len = t.len;

	n->src = t.val;
	n->src_n = t.len;
	if (t.kind == T_CHAR_CONSTANT) {
		uint32_t r = 0;
		bool byte;
		size_t used = tpl_unquote_char(s + 1, len - 1, '\'', &r, &byte);
		if (!used)
			fail(p, "invalid syntax");
		else if (used + 2 != len || s[1 + used] != '\'')
			fail(p, "malformed character constant: %.*s", (int)len, s);
		n->i = r;
		n->u = r;
		n->f = r;
		n->is_int = n->is_uint = n->is_float = true;
		return n;
	}
	if (s[len - 1] == 'i') { /* nobody computes with imaginary numbers here: that there are some is known, no more */
		double f;
		n->is_complex = t.kind == T_COMPLEX || parse_float(p, s, len - 1, &f);
		if (!n->is_complex)
			fail(p, "illegal number syntax: %s", quoted(p, s, len));
		return n;
	}
	bool neg = s[0] == '-', sign = neg || s[0] == '+';
	uint64_t u = 0;
	if (parse_uint(s + sign, len - sign, &u)) {
		if (!sign) {
			n->is_uint = true;
			n->u = u;
		}
		if (u <= (uint64_t)INT64_MAX + neg) {
			n->is_int = true;
			n->i = neg ? (int64_t)(0 - u) : (int64_t)u;
			n->is_uint |= u == 0;
		}
	}
	if (n->is_int || n->is_uint) {
		n->is_float = true;
		n->f = n->is_int ? (double)n->i : (double)n->u;
		return n;
	}
	double f;
	if (parse_float(p, s, len, &f)) {
		if (!memchr(s, '.', len) && !strpbrk(tpl_strn(p->arena, s, len), "eEpP")) {
			fail(p, "integer overflow: %s", quoted(p, s, len));
			return n;
		}
		n->is_float = true;
		n->f = f;
		if (f >= -9223372036854775808.0 && f < 9223372036854775808.0 && (double)(int64_t)f == f) {
			n->is_int = true;
			n->i = (int64_t)f;
		}
		if (f >= 0 && f < 18446744073709551616.0 && (double)(uint64_t)f == f) {
			n->is_uint = true;
			n->u = (uint64_t)f;
		}
	}
	if (!n->is_int && !n->is_uint && !n->is_float)
		fail(p, "illegal number syntax: %s", quoted(p, s, len));
	return n;
}

static struct node *use_var(struct parser *p, struct token t)
{
	struct node *n = node(p, N_VARIABLE, t.pos);

	set_idents(p, n, t.val, t.len);
	for (size_t i = 0; i < p->n_vars; i++)
		if (strcmp(p->vars[i], n->ident[0]) == 0)
			return n;
	fail(p, "undefined variable %s", quoted(p, n->ident[0], strlen(n->ident[0])));
	return n;
}

static struct node *term(struct parser *p)
{
	struct token t = next_word(p);
	struct node *n;

	switch (t.kind) {
	case T_IDENT:
		n = node(p, N_IDENT, t.pos);
		n->s = tpl_strn(p->arena, t.val, t.len);
		if (!tpl_is_function(n->s))
			fail(p, "function %s not defined", quoted(p, t.val, t.len));
		return n;
	case T_DOT:
		return node(p, N_DOT, t.pos);
	case T_NIL:
		return node(p, N_NIL, t.pos);
	case T_VARIABLE:
		return use_var(p, t);
	case T_FIELD:
		n = node(p, N_FIELD, t.pos);
		set_idents(p, n, t.val + 1, t.len - 1);
		return n;
	case T_BOOL:
		n = node(p, N_BOOL, t.pos);
		n->is_true = t.len == 4;
		return n;
	case T_CHAR_CONSTANT:
	case T_COMPLEX:
	case T_NUMBER:
		return number(p, t);
	case T_LPAREN:
		if (p->nesting >= TPL_MAX_NESTING) {
			fail(p, "max expression depth exceeded");
			return NULL;
		}
		p->nesting++;
		n = pipeline(p, "parenthesized pipeline", T_RPAREN);
		p->nesting--;
		return n;
	case T_STRING:
	case T_RAW:
		n = node(p, N_STRING, t.pos);
		n->src = t.val;
		n->src_n = t.len;
		if (!tpl_unquote(p->arena, t.val, t.len, &n->s, &n->n))
			fail(p, "invalid syntax");
		return n;
	default:
		if (!p->error)
			backup(p);
		return NULL;
	}
}

static struct node *operand(struct parser *p)
{
	struct node *n = term(p);
	struct token t;

	if (!n || peek(p).kind != T_FIELD)
		return n;
	struct node *chain = node(p, N_CHAIN, peek(p).pos);
	chain->pipe = n;
	while (peek(p).kind == T_FIELD) {
		t = next(p);
		add_ident(p, chain, t.val + 1, t.len - 1);
	}
	switch (n->kind) {
	case N_FIELD:
	case N_VARIABLE: /* .A.B is one field node, at the place of its last part */
		n->pos = chain->pos;
		for (size_t i = 0; i < chain->n_ident; i++)
			add_ident(p, n, chain->ident[i], strlen(chain->ident[i]));
		return n;
	case N_BOOL:
	case N_STRING:
	case N_NUMBER:
	case N_NIL:
	case N_DOT: {
		struct cs_str s = CS_STR_INIT((size_t)1 << 20);
		node_print(&s, n);
		fail(p, "unexpected . after term %s", quoted(p, s.buf ? s.buf : "", s.len));
		cs_str_done(&s);
		return n;
	}
	default:
		return chain;
	}
}

static struct node *command(struct parser *p)
{
	struct node *cmd = node(p, N_COMMAND, peek_word(p).pos);

	while (!p->error) {
		(void)peek_word(p); /* over blanks */
		struct node *op = operand(p);
		if (op)
			add(cmd, op);
		struct token t = next(p);
		if (t.kind == T_SPACE)
			continue;
		if (t.kind == T_RIGHT || t.kind == T_RPAREN)
			backup(p);
		else if (t.kind != T_PIPE)
			unexpected(p, t, "operand");
		break;
	}
	if (!cmd->kids)
		fail(p, "empty command");
	return cmd;
}

/* $x :=, $x =, $i, $e := at the start of a pipeline. */
static void declarations(struct parser *p, struct node *pipe, const char *context)
{
	while (!p->error && peek_word(p).kind == T_VARIABLE) {
		struct token v = next(p), after = peek(p), t = peek_word(p);
		bool comma = t.kind == T_CHAR && t.len == 1 && *t.val == ',';
		if (t.kind != T_ASSIGN && t.kind != T_DECLARE && !comma) {
			if (after.kind == T_SPACE)
				backup3(p, v, after);
			else
				backup2(p, v);
			return;
		}
		(void)next_word(p);
		struct node *var = node(p, N_VARIABLE, v.pos), **tail = &pipe->decl;
		set_idents(p, var, v.val, v.len);
		while (*tail)
			tail = &(*tail)->next;
		*tail = var;
		pipe->n_decl++;
		push_var(p, tpl_strn(p->arena, v.val, v.len));
		if (!comma) {
			pipe->assign = t.kind == T_ASSIGN;
			return;
		}
		if (strcmp(context, "range") != 0 || pipe->n_decl >= 2) {
			fail(p, "too many declarations in %s", context);
			return;
		}
		enum token_kind k = peek_word(p).kind;
		if (k != T_VARIABLE && k != T_RIGHT && k != T_RPAREN)
			fail(p, "range can only initialize variables");
	}
}

static void check_pipeline(struct parser *p, const struct node *pipe, const char *context)
{
	unsigned stage = 1;

	if (!pipe->kids) {
		fail(p, "missing value for %s", context);
		return;
	}
	for (const struct node *c = pipe->kids->next; c; c = c->next) {
		stage++;
		enum node_kind k = c->kids ? c->kids->kind : N_LIST;
		if (k == N_BOOL || k == N_DOT || k == N_NIL || k == N_NUMBER || k == N_STRING)
			fail(p, "non executable command in pipeline stage %u", stage);
	}
}

static struct node *pipeline(struct parser *p, const char *context, enum token_kind end)
{
	struct node *pipe = node(p, N_PIPE, peek_word(p).pos);

	declarations(p, pipe, context);
	while (!p->error) {
		struct token t = next_word(p);
		if (t.kind == end) {
			check_pipeline(p, pipe, context);
			break;
		}
		switch (t.kind) {
		case T_BOOL: case T_CHAR_CONSTANT: case T_COMPLEX: case T_DOT: case T_FIELD: case T_IDENT: case T_NUMBER: case T_NIL: case T_RAW: case T_STRING:
		case T_VARIABLE: case T_LPAREN:
			backup(p);
			add(pipe, command(p));
			break;
		default:
			unexpected(p, t, context);
		}
	}
	return pipe;
}

/* ---- blocks ---- */

static struct node *text_or_action(struct parser *p);

/* Nodes up to {{end}} or {{else}}, which is returned in *end. */
static struct node *item_list(struct parser *p, struct node **end)
{
	struct node *list = node(p, N_LIST, peek_word(p).pos);

	*end = NULL;
	while (!p->error && peek_word(p).kind != T_EOF) {
		struct node *n = text_or_action(p);
		if (p->error)
			return list;
		if (n->kind == N_END || n->kind == N_ELSE) {
			*end = n;
			return list;
		}
		add(list, n);
	}
	fail(p, "unexpected EOF");
	return list;
}

static struct node *control(struct parser *p, enum node_kind kind, size_t pos)
{
	static const char *const names[] = {[N_IF] = "if", [N_WITH] = "with", [N_RANGE] = "range"};
	const char *context = names[kind];
	struct node *n = node(p, kind, pos), *end;
	size_t vars = p->n_vars;

	if (p->nesting >= TPL_MAX_NESTING) {
		fail(p, "max nesting depth exceeded");
		return n;
	}
	p->nesting++;
	n->pipe = pipeline(p, context, T_RIGHT);
	n->pos = n->pipe->pos;
	p->range_depth += kind == N_RANGE;
	n->list = item_list(p, &end);
	p->range_depth -= kind == N_RANGE;
	if (end && end->kind == N_ELSE) {
		enum token_kind follow = peek(p).kind;
		if ((kind == N_IF && follow == T_IF) || (kind == N_WITH && follow == T_WITH)) {
			/* {{else if x}} is {{else}}{{if x}}, and one {{end}} ends both */
			(void)next(p);
			n->else_list = node(p, N_LIST, end->pos);
			add(n->else_list, control(p, kind, end->pos));
		} else {
			n->else_list = item_list(p, &end);
			if (end && end->kind != N_END)
				fail(p, "expected end; found {{else}}");
		}
	}
	p->nesting--;
	p->n_vars = CS_MIN(vars, p->n_vars);
	return n;
}

static bool only_blanks(const struct node *list)
{
	for (const struct node *n = list->kids; n; n = n->next) {
		if (n->kind != N_TEXT)
			return false;
		for (size_t i = 0; i < n->n; i++)
			if (!strchr(" \t\n\v\f\r", n->s[i]) || !n->s[i])
				return false;
	}
	return true;
}

static void define(struct parser *p, const char *name, struct node *root)
{
	struct definition *d;

	for (d = p->tpl->defs; d && strcmp(d->name, name) != 0; d = d->next)
		;
	if (d && d->root && !only_blanks(d->root)) {
		if (!only_blanks(root))
			fail(p, "template: multiple definition of template %s", quoted(p, name, strlen(name)));
		return;
	}
	if (!d) {
		d = tpl_alloc(p->arena, sizeof(*d));
		d->name = name;
		d->next = p->tpl->defs;
		p->tpl->defs = d;
	}
	d->root = root;
}

/* The body of a {{define}} or {{block}}: sees no variables but $. */
static void body(struct parser *p, const char *name, const char *context)
{
	const char **vars = p->vars;
	size_t n_vars = p->n_vars, cap = p->cap_vars;
	unsigned range_depth = p->range_depth;
	struct node *end;

	if (p->nesting >= TPL_MAX_NESTING) {
		fail(p, "max nesting depth exceeded");
		return;
	}
	p->nesting++;
	p->vars = NULL;
	p->n_vars = p->cap_vars = p->range_depth = 0;
	push_var(p, "$");
	struct node *root = item_list(p, &end);
	if (end && end->kind != N_END)
		fail(p, "unexpected {{else}} in %s", context);
	define(p, name, root);
	free(p->vars);
	p->vars = vars;
	p->n_vars = n_vars;
	p->cap_vars = cap;
	p->range_depth = range_depth;
	p->nesting--;
}

static const char *template_name(struct parser *p, struct token t, const char *context)
{
	const char *s = "";
	size_t n;

	if (t.kind != T_STRING && t.kind != T_RAW)
		unexpected(p, t, context);
	else if (!tpl_unquote(p->arena, t.val, t.len, &s, &n))
		fail(p, "invalid syntax");
	return s;
}

static struct node *template_or_block(struct parser *p, bool block)
{
	const char *context = block ? "block clause" : "template clause";
	struct token t = next_word(p);
	struct node *n = node(p, N_TEMPLATE, t.pos);

	n->s = template_name(p, t, context);
	if (block) {
		n->pipe = pipeline(p, context, T_RIGHT);
		body(p, n->s, context);
	} else if (next_word(p).kind != T_RIGHT) {
		if (!p->error)
			backup(p);
		n->pipe = pipeline(p, context, T_RIGHT);
	}
	return n;
}

static struct node *jump(struct parser *p, enum node_kind kind, struct token keyword)
{
	const char *name = kind == N_BREAK ? "{{break}}" : "{{continue}}";
	struct token t = next_word(p);

	if (t.kind != T_RIGHT)
		unexpected(p, t, name);
	else if (p->range_depth == 0)
		fail(p, "%s outside {{range}}", name);
	return node(p, kind, keyword.pos);
}

static struct node *action(struct parser *p)
{
	struct token t = next_word(p);
	struct node *n;

	switch (t.kind) {
	case T_BLOCK:
		return template_or_block(p, true);
	case T_TEMPLATE:
		return template_or_block(p, false);
	case T_BREAK:
		return jump(p, N_BREAK, t);
	case T_CONTINUE:
		return jump(p, N_CONTINUE, t);
	case T_ELSE: {
		struct token follow = peek_word(p);
		if (follow.kind != T_IF && follow.kind != T_WITH)
			follow = expect(p, T_RIGHT, "else");
		return node(p, N_ELSE, follow.pos);
	}
	case T_END:
		return node(p, N_END, expect(p, T_RIGHT, "end").pos);
	case T_IF:
		return control(p, N_IF, t.pos);
	case T_WITH:
		return control(p, N_WITH, t.pos);
	case T_RANGE:
		return control(p, N_RANGE, t.pos);
	default:
		if (!p->error)
			backup(p);
		n = node(p, N_ACTION, t.pos);
		n->pipe = pipeline(p, "command", T_RIGHT);
		return n;
	}
}

static struct node *text_or_action(struct parser *p)
{
	struct token t = next_word(p);
	struct node *n;

	switch (t.kind) {
	case T_TEXT:
		n = node(p, N_TEXT, t.pos);
		n->s = t.val;
		n->n = t.len;
		return n;
	case T_LEFT:
		p->action_line = t.line;
		n = action(p);
		p->action_line = 0;
		return n;
	default:
		unexpected(p, t, "input");
		return node(p, N_TEXT, t.pos);
	}
}

struct tpl *tpl_parse_named(struct tpl_arena *a, const char *name, const char *text, const char **message)
{
	struct tpl *t = tpl_alloc(a, sizeof(*t));
	struct parser p = {.tpl = t, .arena = a, .lex = {.arena = a, .in = text, .len = strlen(text), .line = 1, .start_line = 1}};
	struct node *root, *n;

	t->text = text;
	t->name = name;
	t->len = p.lex.len;
	push_var(&p, "$");
	root = node(&p, N_LIST, peek(&p).pos);
	while (!p.error && peek(&p).kind != T_EOF) {
		if (peek(&p).kind == T_LEFT) {
			struct token delim = next(&p);
			if (next_word(&p).kind == T_DEFINE) {
				struct token what = next_word(&p);
				const char *s = template_name(&p, what, "define clause");
				(void)expect(&p, T_RIGHT, "define clause");
				body(&p, s, "define clause");
				continue;
			}
			if (!p.error)
				backup2(&p, delim);
		}
		n = text_or_action(&p);
		if (n->kind == N_END || n->kind == N_ELSE)
			fail(&p, "unexpected {{%s}}", n->kind == N_END ? "end" : "else");
		else
			add(root, n);
	}
	if (!p.error)
		define(&p, name, root);
	free(p.vars);
	*message = p.error;
	return p.error ? NULL : t;
}
