/* SPDX-License-Identifier: Apache-2.0
 *
 * What the parser makes and the executor walks. All of it is the arena's. */
#pragma once

#include "cli/template.h"

enum node_kind {
	N_TEXT, N_ACTION, N_IF, N_WITH, N_RANGE, N_TEMPLATE, N_BREAK, N_CONTINUE, N_LIST, /* walked */
	N_END, N_ELSE,                                                                    /* the parser's own */
	N_PIPE, N_COMMAND,
	N_IDENT, N_DOT, N_NIL, N_FIELD, N_VARIABLE, N_CHAIN, N_BOOL, N_NUMBER, N_STRING, /* operands */
};

struct node {
	enum node_kind kind;
	size_t pos; /* byte in the template's text */
	struct node *next; /* sibling in a list, command in a pipe, argument in a command, variable of a declaration */
	struct node *kids, *last_kid;
	struct node *pipe, *list, *else_list; /* action, if, with, range, template; pipe of a chain's operand */
	struct node *decl;                    /* variables of a pipe */
	unsigned n_decl;
	bool assign;     /* pipe: = instead of := */
	const char *s;   /* text, identifier, string's value, template's name */
	size_t n;
	const char *src; /* as written: strings with quotes, numbers */
	size_t src_n;
	const char **ident; /* field, variable, chain: names; a variable's first has its dollar */
	size_t n_ident;
	bool is_true;
	/* numbers: every type that can hold it */
	bool is_int, is_uint, is_float, is_complex;
	int64_t i;
	uint64_t u;
	double f;
};

struct definition {
	struct definition *next;
	const char *name;
	struct node *root;
};
struct tpl {
	const char *text;
	size_t len;
	const char *name;
	struct definition *defs; /* the template itself is one of that name */
};

#define TPL_MAX_NESTING 1000u /* blocks and parentheses; templates calling templates */

/* Appends the node as Go prints it in messages. */
void node_print(struct cs_str *out, const struct node *n);
bool tpl_is_function(const char *name);
