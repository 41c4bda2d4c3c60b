/* SPDX-License-Identifier: Apache-2.0
 *
 * Walks a parsed template over a value. The first error stops everything: each function looks at `stop` after what may fail. {{break}} and {{continue}} stop, too, up to
 * their range. */
#include <stdarg.h>
#include <string.h>

#include "cli/template/node.h"
#include "cli/template/text.h"
#include "cli/template/value.h"

#define MAX_MEMORY ((size_t)1 << 30)
#define MAX_ARGS 256
#define FEW_ARGS 8
#define MAX_WALKS 5000 /* blocks within blocks of templates that call templates: what the stack has room for */

enum stop { GO_ON, STOP_BREAK, STOP_CONTINUE, STOP_ERROR };

struct variable {
	const char *name;
	struct tpl_value val;
};
struct exec {
	const struct tpl *tpl;
	const struct tpl_options *o;
	struct tpl_arena *a;
	struct cs_str *out;
	struct variable *vars;
	size_t n_vars, cap_vars, first_var; /* a template sees variables from first_var on */
	const struct node *at;
	const char *name; /* of the template that runs */
	const char *error;
	enum stop stop;
	unsigned depth, walks;
	uint64_t steps;
};

/* ---- errors ---- */

static void failf(struct exec *x, const char *fmt, ...) CS_PRINTF(2, 3);
static void failf(struct exec *x, const char *fmt, ...)
{
	struct cs_str s = CS_STR_INIT((size_t)64 << 20);
	va_list ap;

	if (x->stop == STOP_ERROR)
		return;
	x->stop = STOP_ERROR;
	cs_str_puts(&s, "template: ");
	if (x->at) {
		unsigned line = 1;
		size_t col = 0;
		for (size_t i = 0; i < x->at->pos && i < x->tpl->len; i++, col++)
			if (x->tpl->text[i] == '\n') {
				line++;
				col = (size_t)-1;
			}
		cs_str_putf(&s, "%s:%u:%zu: executing ", x->tpl->name, line, col);
		tpl_quote(&s, x->name, strlen(x->name), '"', false);
		cs_str_puts(&s, " at <");
		node_print(&s, x->at);
		cs_str_puts(&s, ">: ");
	} else {
		cs_str_putf(&s, "%s: ", x->tpl->name);
	}
	va_start(ap, fmt);
	cs_str_vputf(&s, fmt, ap);
	va_end(ap);
	x->error = s.failed ? "template: the message is too long" : tpl_strn(x->a, s.buf, s.len);
	cs_str_done(&s);
}

static const char *node_text(struct exec *x, const struct node *n)
{
	struct cs_str s = CS_STR_INIT((size_t)1 << 24);
	node_print(&s, n);
	char *t = tpl_strn(x->a, s.buf ? s.buf : "", s.len);
	cs_str_done(&s);
	return t;
}

static const char *quoted(struct exec *x, const char *s)
{
	struct cs_str q = CS_STR_INIT((size_t)1 << 24);
	tpl_quote(&q, s, strlen(s), '"', false);
	char *t = tpl_strn(x->a, q.buf ? q.buf : "", q.len);
	cs_str_done(&q);
	return t;
}

static const char *value_text(struct exec *x, struct tpl_value v)
{
	struct cs_str s = CS_STR_INIT((size_t)64 << 20);
	tpl_sprint(&s, v);
	char *t = tpl_strn(x->a, s.buf ? s.buf : "", s.len);
	cs_str_done(&s);
	return t;
}

/* The type that Go's reflection sees before it opens an interface. */
static const char *static_type(struct tpl_value v) { return v.boxed ? "interface {}" : tpl_type_name(v); }

static struct tpl_value unbox(struct tpl_value v)
{
	v.boxed = false;
	return v;
}

static bool step(struct exec *x)
{
	if (x->stop)
		return false;
	if (++x->steps > (x->o->max_steps ? x->o->max_steps : (uint64_t)1 << 32))
		failf(x, "exceeded the number of steps");
	else if (tpl_arena_used(x->a) > MAX_MEMORY || x->out->failed)
		failf(x, "exceeded the memory of a template");
	return !x->stop;
}

/* ---- variables ---- */

static void push(struct exec *x, const char *name, struct tpl_value v)
{
	if (x->n_vars == x->cap_vars) {
		x->cap_vars = x->cap_vars ? x->cap_vars * 2 : 16;
		x->vars = cs_xreallocarray(x->vars, x->cap_vars, sizeof(*x->vars));
	}
	x->vars[x->n_vars++] = (struct variable){name, v};
}

static struct variable *find_var(struct exec *x, const char *name)
{
	for (size_t i = x->n_vars; i > x->first_var; i--)
		if (strcmp(x->vars[i - 1].name, name) == 0)
			return &x->vars[i - 1];
	failf(x, "undefined variable: %s", name);
	return NULL;
}

static void set_var(struct exec *x, const char *name, struct tpl_value v)
{
	struct variable *var = find_var(x, name);
	if (var)
		var->val = v;
}

/* ---- evaluation ---- */

static struct tpl_value eval_pipe(struct exec *x, struct tpl_value dot, const struct node *pipe);
static struct tpl_value eval_arg(struct exec *x, struct tpl_value dot, enum tpl_param type, const struct node *n);
static struct tpl_value eval_chain(struct exec *x, struct tpl_value dot, const struct node *n, const struct node *args, const struct tpl_value *final);
static struct tpl_value eval_function(struct exec *x, struct tpl_value dot, const struct node *n, const struct node *cmd, const struct node *args,
				      const struct tpl_value *final);

static const char *const param_names[] = {[PARAM_VALUE] = "reflect.Value", [PARAM_ANY] = "interface {}", [PARAM_STRING] = "string", [PARAM_INT] = "int",
					  [PARAM_STRINGS] = "[]string"};

/* Is the value one that the parameter takes? Else one dereference is tried, as Go does. */
static struct tpl_value validate(struct exec *x, struct tpl_value v, enum tpl_param type)
{
	const char *want = param_names[type];

	if (x->stop)
		return tpl_nothing;
	if (type == PARAM_VALUE) /* a reflect.Value: len sees an interface there, and that it is nil */
		return v;
	if (type == PARAM_ANY)
		return unbox(v);
	if (type == PARAM_STRINGS && tpl_kind_of(v) == TPL_SLICE && v.type->elem == &tpl_string) /* named types of []string are assignable to it */
		return unbox(v);
	if (!v.type && !v.boxed) {
		if (type != PARAM_STRINGS)
			failf(x, "invalid value; expected %s", want);
		return (struct tpl_value){.type = &tpl_strings};
	}
	if (v.type && strcmp(tpl_type_name(v), want) == 0)
		return unbox(v);
	if (!v.boxed && v.type && v.type->kind == TPL_PTR && strcmp(v.type->elem->name, want) == 0) {
		if (v.v)
			return unbox(*v.v);
		failf(x, "dereference of nil pointer of type %s", want);
		return tpl_nothing;
	}
	failf(x, "wrong type for value; expected %s; got %s", want, v.boxed && !v.type ? "interface {}" : tpl_type_name(v));
	return tpl_nothing;
}

/* A number where nothing says which type it has. */
static struct tpl_value constant(struct exec *x, const struct node *n)
{
	const char *src = tpl_strn(x->a, n->src, n->src_n);
	bool hex = n->src_n > 2 && src[0] == '0' && (src[1] | 0x20) == 'x' && !strpbrk(src, "pP");

	x->at = n;
	if (n->is_complex) {
		failf(x, "complex numbers are not supported: %s", src);
		return tpl_nothing;
	}
	if (n->is_float && !hex && src[0] != '\'' && strpbrk(src, ".eEpP"))
		return (struct tpl_value){.type = &tpl_float64, .f = n->f};
	if (n->is_int)
		return tpl_int_value(n->i);
	failf(x, "%s overflows int", src);
	return tpl_nothing;
}

static const struct tpl_method *method_of(const struct tpl_method *m, const char *name)
{
	for (; m && m->name; m++)
		if (strcmp(m->name, name) == 0)
			return m;
	return NULL;
}

static struct tpl_value call_method(struct exec *x, const char *type, const char *name, const struct tpl_method *m, struct tpl_value receiver, struct tpl_value dot,
				    const struct node *args, const struct tpl_value *final)
{
	unsigned n = final != NULL, want = m ? m->takes_string : 1;
	struct tpl_value arg = tpl_nothing;

	(void)type;
	for (const struct node *k = args ? args->next : NULL; k; k = k->next)
		n++;
	if (n != want) {
		failf(x, "wrong number of args for %s: want %u got %u", name, want, n);
		return tpl_nothing;
	}
	if (want) {
		arg = args && args->next ? eval_arg(x, dot, PARAM_STRING, args->next) : validate(x, *final, PARAM_STRING);
		if (x->stop)
			return tpl_nothing;
	}
	if (m)
		return m->call(tpl_kind_of(receiver) == TPL_OBJECT ? receiver.obj->self : &receiver, x->a, want ? arg.s : NULL);
	/* Label of a table's headers: the last part of the label's name, in words */
	const char *label = arg.s ? arg.s : "", *dotted = strrchr(label, '.'), *last = dotted ? dotted + 1 : label;
	char *text = tpl_strn(x->a, last, strlen(last));
	for (char *p = text; *p; p++)
		*p = *p == '-' || *p == '_' ? ' ' : *p;
	return tpl_stringn(text, strlen(text));
}

/* Looks a field up, through embedded structs breadth first as Go does. NULL: there is none. *nil: it would be behind a nil pointer. */
static const struct tpl_value *find_field(struct tpl_value v, const char *name, bool *nil)
{
	for (size_t i = 0; i < v.type->n_fields; i++)
		if (strcmp(v.type->fields[i].name, name) == 0)
			return &v.v[i];
	for (size_t i = 0; i < v.type->n_fields; i++) {
		if (!v.type->fields[i].embedded)
			continue;
		struct tpl_value in = v.v[i];
		if (tpl_kind_of(in) == TPL_PTR) {
			if (!in.v) {
				*nil = true;
				continue;
			}
			in = *in.v;
		}
		const struct tpl_value *got = tpl_kind_of(in) == TPL_STRUCT ? find_field(in, name, nil) : NULL;
		if (got)
			return got;
	}
	return NULL;
}

static bool type_has_field(const struct tpl_type *t, const char *name)
{
	for (size_t i = 0; i < t->n_fields; i++)
		if (strcmp(t->fields[i].name, name) == 0)
			return true;
	return false;
}

static struct tpl_value eval_field(struct exec *x, struct tpl_value dot, const char *name, const struct node *args, const struct tpl_value *final,
				   struct tpl_value receiver)
{
	const char *type = static_type(receiver);
	bool nil, has_args = (args && args->next) || final;

	if (x->stop)
		return tpl_nothing;
	if (!receiver.type && !receiver.boxed) {
		if (x->o->missing_key_error)
			failf(x, "nil data; no entry for key %s", quoted(x, name));
		return tpl_nothing;
	}
	receiver = tpl_indirect(receiver, &nil);
	enum tpl_kind kind = tpl_kind_of(receiver);
	const struct tpl_method *m = method_of(kind == TPL_OBJECT ? receiver.obj->class->methods : kind == TPL_INVALID ? NULL : receiver.type->methods, name);
	if (m)
		return call_method(x, type, name, m, receiver, dot, args, final);
	switch (kind) {
	case TPL_INVALID:
		failf(x, "nil pointer evaluating %s.%s", type, name);
		return tpl_nothing;
	case TPL_OBJECT:
		break;
	case TPL_STRUCT: {
		bool behind_nil = false;
		const struct tpl_value *f = find_field(receiver, name, &behind_nil);
		if (f && has_args)
			failf(x, "%s has arguments but cannot be invoked as function", name);
		if (f)
			return *f;
		break;
	}
	case TPL_MAP: {
		if (receiver.type->trait == TPL_HEADERS && strcmp(name, "Label") == 0)
			return call_method(x, type, name, NULL, receiver, dot, args, final);
		if (receiver.type->key != &tpl_string)
			break;
		if (has_args) {
			failf(x, "%s is not a method but has arguments", name);
			return tpl_nothing;
		}
		const struct tpl_value *got = tpl_map_get(receiver, name, strlen(name));
		if (got)
			return *got;
		if (x->o->missing_key_error)
			failf(x, "map has no entry for key %s", quoted(x, name));
		return tpl_nothing;
	}
	case TPL_PTR: /* a nil one */
		if (receiver.type->elem->kind == TPL_STRUCT && !type_has_field(receiver.type->elem, name))
			break;
		failf(x, "nil pointer evaluating %s.%s", type, name);
		return tpl_nothing;
	default:
		break;
	}
	failf(x, "can't evaluate field %s in type %s", name, type);
	return tpl_nothing;
}

/* .A.B.C from `receiver`; the last one gets the arguments. */
static struct tpl_value eval_fields(struct exec *x, struct tpl_value dot, struct tpl_value receiver, const char *const *ident, size_t n, const struct node *args,
				    const struct tpl_value *final)
{
	for (size_t i = 0; i + 1 < n; i++)
		receiver = eval_field(x, dot, ident[i], NULL, NULL, receiver);
	return eval_field(x, dot, ident[n - 1], args, final, receiver);
}

static void not_a_function(struct exec *x, const struct node *args, const struct tpl_value *final)
{
	if ((args && args->next) || final)
		failf(x, "can't give argument to non-function %s", node_text(x, args));
}

static struct tpl_value eval_variable(struct exec *x, struct tpl_value dot, const struct node *n, const struct node *args, const struct tpl_value *final)
{
	x->at = n;
	const struct variable *var = find_var(x, n->ident[0]);
	if (!var)
		return tpl_nothing;
	struct tpl_value v = var->val;
	if (n->n_ident > 1)
		return eval_fields(x, dot, v, n->ident + 1, n->n_ident - 1, args, final);
	if (args || final)
		not_a_function(x, args, final);
	return v;
}

static struct tpl_value eval_command(struct exec *x, struct tpl_value dot, const struct node *cmd, const struct tpl_value *final)
{
	const struct node *first = cmd->kids;

	if (!step(x))
		return tpl_nothing;
	switch (first->kind) {
	case N_FIELD:
		x->at = first;
		return eval_fields(x, dot, dot, first->ident, first->n_ident, first, final);
	case N_CHAIN:
		return eval_chain(x, dot, first, first, final);
	case N_IDENT:
		return eval_function(x, dot, first, cmd, first, final);
	case N_PIPE:
		not_a_function(x, first, final);
		return x->stop ? tpl_nothing : eval_pipe(x, dot, first);
	case N_VARIABLE:
		return eval_variable(x, dot, first, first, final);
	default:
		break;
	}
	x->at = first;
	not_a_function(x, first, final);
	if (x->stop)
		return tpl_nothing;
	switch (first->kind) {
	case N_BOOL:
		return tpl_bool_value(first->is_true);
	case N_DOT:
		return dot;
	case N_NUMBER:
		return constant(x, first);
	case N_STRING:
		return tpl_stringn(first->s, first->n);
	case N_NIL:
		failf(x, "nil is not a command");
		return tpl_nothing;
	default:
		failf(x, "can't evaluate command %s", quoted(x, node_text(x, first)));
		return tpl_nothing;
	}
}

static struct tpl_value eval_pipe(struct exec *x, struct tpl_value dot, const struct node *pipe)
{
	struct tpl_value v = tpl_nothing, before;

	if (!pipe || x->stop)
		return tpl_nothing;
	x->at = pipe;
	for (const struct node *c = pipe->kids; c && !x->stop; c = c->next) {
		before = v;
		v = unbox(eval_command(x, dot, c, c == pipe->kids ? NULL : &before));
	}
	for (const struct node *d = pipe->decl; d && !x->stop; d = d->next) {
		if (pipe->assign)
			set_var(x, d->ident[0], v);
		else
			push(x, d->ident[0], v);
	}
	return v;
}

static struct tpl_value eval_chain(struct exec *x, struct tpl_value dot, const struct node *n, const struct node *args, const struct tpl_value *final)
{
	x->at = n;
	if (n->pipe->kind == N_NIL) {
		failf(x, "indirection through explicit nil in %s", node_text(x, n));
		return tpl_nothing;
	}
	struct tpl_value v = eval_arg(x, dot, PARAM_ANY, n->pipe);
	if (n->pipe->kind != N_PIPE && n->pipe->kind != N_IDENT)
		x->at = n;
	return x->stop ? tpl_nothing : eval_fields(x, dot, v, n->ident, n->n_ident, args, final);
}

/* An argument as the parameter's type wants it. */
static struct tpl_value eval_arg(struct exec *x, struct tpl_value dot, enum tpl_param type, const struct node *n)
{
	if (!step(x))
		return tpl_nothing;
	x->at = n;
	switch (n->kind) {
	case N_DOT:
		return validate(x, dot, type);
	case N_NIL:
		if (type == PARAM_STRING || type == PARAM_INT)
			failf(x, "cannot assign nil to %s", param_names[type]);
		return type == PARAM_STRINGS ? (struct tpl_value){.type = &tpl_strings} : tpl_nothing;
	case N_FIELD:
		return validate(x, eval_fields(x, dot, dot, n->ident, n->n_ident, NULL, NULL), type);
	case N_VARIABLE:
		return validate(x, eval_variable(x, dot, n, NULL, NULL), type);
	case N_PIPE:
		return validate(x, eval_pipe(x, dot, n), type);
	case N_IDENT:
		return validate(x, eval_function(x, dot, n, n, NULL, NULL), type);
	case N_CHAIN:
		return validate(x, eval_chain(x, dot, n, NULL, NULL), type);
	default:
		break;
	}
	switch (type) {
	case PARAM_VALUE:
	case PARAM_ANY:
		if (n->kind == N_NUMBER)
			return constant(x, n);
		if (n->kind == N_BOOL)
			return tpl_bool_value(n->is_true);
		return tpl_stringn(n->s, n->n);
	case PARAM_STRING:
		if (n->kind == N_STRING)
			return tpl_stringn(n->s, n->n);
		failf(x, "expected string; found %s", node_text(x, n));
		break;
	case PARAM_INT:
		if (n->kind == N_NUMBER && n->is_int)
			return tpl_int_value(n->i);
		failf(x, "expected integer; found %s", node_text(x, n));
		break;
	case PARAM_STRINGS:
		failf(x, "can't handle %s for arg of type []string", node_text(x, n));
		break;
	}
	return tpl_nothing;
}

/* and, or: the first argument that decides is the result, those after it are not looked at. */
static struct tpl_value and_or(struct exec *x, struct tpl_value dot, bool or, const struct node *args, const struct tpl_value *final)
{
	struct tpl_value v = tpl_nothing;

	for (const struct node *k = args; k; k = k->next) {
		v = eval_arg(x, dot, PARAM_VALUE, k);
		if (x->stop || tpl_truth(v) == or)
			return v;
	}
	return final ? unbox(*final) : v;
}

static struct tpl_value eval_function(struct exec *x, struct tpl_value dot, const struct node *n, const struct node *cmd, const struct node *args,
				      const struct tpl_value *final)
{
	const struct tpl_function *f = tpl_function_find(n->s, x->o->header);
	struct tpl_value few[FEW_ARGS], *argv = few, ret = tpl_nothing; /* calls nest: little of the stack each */
	size_t count = 0, given = final != NULL;
	const char *why = NULL;

	x->at = n;
	if (!f) {
		failf(x, "%s is not a defined function", quoted(x, n->s));
		return ret;
	}
	args = args ? args->next : NULL;
	for (const struct node *k = args; k; k = k->next)
		given++;
	size_t fixed = f->n_params - f->variadic;
	if (f->variadic && given < fixed)
		failf(x, "wrong number of args for %s: want at least %zu got %zu", f->name, fixed, given - (final != NULL));
	else if (!f->variadic && given != fixed)
		failf(x, "wrong number of args for %s: want %zu got %zu", f->name, fixed, given);
	else if (given > MAX_ARGS)
		failf(x, "too many args for %s: %zu", f->name, given);
	if (x->stop)
		return ret;
	if (given > FEW_ARGS)
		argv = tpl_alloc(x->a, given * sizeof(*argv));
	if (strcmp(f->name, "and") == 0 || strcmp(f->name, "or") == 0)
		return and_or(x, dot, f->name[0] == 'o', args, final);
	for (const struct node *k = args; k; k = k->next) {
		argv[count] = eval_arg(x, dot, f->params[CS_MIN(count, f->n_params - 1)], k);
		if (x->stop)
			return ret;
		count++;
	}
	if (final) {
		argv[count] = validate(x, *final, f->params[CS_MIN(count, f->n_params - 1)]);
		if (x->stop)
			return ret;
		count++;
	}
	if (!f->call(x->a, argv, count, &ret, &why)) {
		x->at = cmd;
		if (strcmp(f->name, "call") == 0 && argv[0].type)
			why = tpl_printf(x->a, "non-function %s of type %s", args ? node_text(x, args) : value_text(x, argv[0]), tpl_type_name(argv[0]));
		failf(x, "error calling %s: %s", f->name, why);
		return tpl_nothing;
	}
	return ret;
}

/* ---- walking ---- */

static void walk(struct exec *x, struct tpl_value dot, const struct node *n);

static void walk_if_or_with(struct exec *x, struct tpl_value dot, const struct node *n)
{
	size_t mark = x->n_vars;
	struct tpl_value v = eval_pipe(x, dot, n->pipe);

	if (!x->stop) {
		if (tpl_truth(v))
			walk(x, n->kind == N_WITH ? v : dot, n->list);
		else if (n->else_list)
			walk(x, dot, n->else_list);
	}
	x->n_vars = mark;
}

/* One round of a range. false: no more. */
static bool one_round(struct exec *x, const struct node *n, struct tpl_value index, struct tpl_value elem, size_t mark)
{
	const struct node *pipe = n->pipe, *first = pipe->decl, *second = first ? first->next : NULL;

	if (first && pipe->assign) {
		set_var(x, first->ident[0], second ? index : elem);
		if (second)
			set_var(x, second->ident[0], elem);
	} else if (first) {
		x->vars[mark - 1].val = elem;
		if (second)
			x->vars[mark - 2].val = index;
	}
	walk(x, elem, n->list);
	x->n_vars = mark;
	if (x->stop == STOP_CONTINUE)
		x->stop = GO_ON;
	return !x->stop;
}

static void walk_range(struct exec *x, struct tpl_value dot, const struct node *n)
{
	size_t outer = x->n_vars;
	bool nil, any = false;

	x->at = n;
	struct tpl_value v = tpl_indirect(eval_pipe(x, dot, n->pipe), &nil);
	size_t mark = x->n_vars;
	if (x->stop) {
		x->n_vars = outer;
		return;
	}
	switch (tpl_kind_of(v)) {
	case TPL_INT:
	case TPL_UINT:
		if (n->pipe->n_decl > 1) {
			failf(x, "can't use %s to iterate over more than one variable", value_text(x, v));
			break;
		}
		for (int64_t i = 0; i < v.i; i++) {
			struct tpl_value e = v;
			e.i = i;
			any = true;
			if (!one_round(x, n, tpl_nothing, e, mark))
				break;
		}
		break;
	case TPL_SLICE:
		for (size_t i = 0; i < v.count; i++) {
			any = true;
			if (!one_round(x, n, tpl_int_value((int64_t)i), v.v[i], mark))
				break;
		}
		break;
	case TPL_MAP:
		for (size_t i = 0; i < v.pairs; i++) {
			any = true;
			if (!one_round(x, n, v.p[i].key, v.p[i].val, mark))
				break;
		}
		break;
	case TPL_INVALID:
		break;
	default:
		failf(x, "range can't iterate over %s", value_text(x, v));
	}
	if (x->stop == STOP_BREAK)
		x->stop = GO_ON;
	if (!any && !x->stop && n->else_list)
		walk(x, dot, n->else_list);
	x->n_vars = outer;
}

static void walk_template(struct exec *x, struct tpl_value dot, const struct node *n)
{
	const struct definition *d;

	x->at = n;
	for (d = x->tpl->defs; d && strcmp(d->name, n->s) != 0; d = d->next)
		;
	if (!d) {
		failf(x, "template %s not defined", quoted(x, n->s));
		return;
	}
	if (x->depth >= TPL_MAX_NESTING) {
		failf(x, "exceeded maximum template depth (%u)", TPL_MAX_NESTING);
		return;
	}
	dot = eval_pipe(x, dot, n->pipe);
	if (x->stop)
		return;
	/* it sees none of our variables */
	size_t first = x->first_var, mark = x->n_vars;
	const char *name = x->name;
	x->depth++;
	x->first_var = x->n_vars;
	x->name = d->name;
	push(x, "$", dot);
	walk(x, dot, d->root);
	x->n_vars = mark;
	x->first_var = first;
	if (x->stop != STOP_ERROR)
		x->name = name;
	x->depth--;
}

static void print_value(struct exec *x, const struct node *n, struct tpl_value v)
{
	x->at = n;
	v = tpl_printable(v);
	if (!v.type)
		cs_str_puts(x->out, "<no value>");
	else
		tpl_sprint(x->out, v);
}

static void walk(struct exec *x, struct tpl_value dot, const struct node *n)
{
	if (!step(x))
		return;
	x->at = n;
	if (x->walks >= MAX_WALKS) {
		failf(x, "exceeded maximum template depth (%u)", TPL_MAX_NESTING);
		return;
	}
	x->walks++;
	switch (n->kind) {
	case N_ACTION: {
		struct tpl_value v = eval_pipe(x, dot, n->pipe);
		if (!n->pipe->decl && !x->stop)
			print_value(x, n, v);
		break;
	}
	case N_BREAK:
		x->stop = STOP_BREAK;
		break;
	case N_CONTINUE:
		x->stop = STOP_CONTINUE;
		break;
	case N_IF:
	case N_WITH:
		walk_if_or_with(x, dot, n);
		break;
	case N_LIST:
		for (const struct node *k = n->kids; k && !x->stop; k = k->next)
			walk(x, dot, k);
		break;
	case N_RANGE:
		walk_range(x, dot, n);
		break;
	case N_TEMPLATE:
		walk_template(x, dot, n);
		break;
	case N_TEXT:
		cs_str_put(x->out, n->s, n->n);
		break;
	default:
		failf(x, "unknown node: %s", node_text(x, n));
	}
	x->walks--;
}

bool tpl_execute(const struct tpl *t, struct tpl_value data, const struct tpl_options *o, struct tpl_arena *a, struct cs_str *out, const char **message)
{
	static const struct tpl_options plain;
	struct exec x = {.tpl = t, .o = o ? o : &plain, .a = a, .out = out, .name = t->name};
	const struct definition *d;

	for (d = t->defs; d && strcmp(d->name, t->name) != 0; d = d->next)
		;
	push(&x, "$", data);
	if (d)
		walk(&x, data, d->root);
	else
		failf(&x, "%s is an incomplete or empty template", quoted(&x, t->name));
	free(x.vars);
	*message = x.error;
	return x.stop != STOP_ERROR;
}
