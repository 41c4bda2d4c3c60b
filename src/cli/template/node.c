/* SPDX-License-Identifier: Apache-2.0
 *
 * Nodes as Go's String() has them, for messages. */
#include <string.h>

#include "cli/template/node.h"
#include "cli/template/text.h"

void node_print(struct cs_str *out, const struct node *n)
{
	switch (n->kind) {
	case N_IDENT:
		cs_str_puts(out, n->s);
		break;
	case N_DOT:
		cs_str_puts(out, ".");
		break;
	case N_NIL:
		cs_str_puts(out, "nil");
		break;
	case N_BOOL:
		cs_str_puts(out, n->is_true ? "true" : "false");
		break;
	case N_NUMBER:
	case N_STRING:
		cs_str_put(out, n->src, n->src_n);
		break;
	case N_VARIABLE:
	case N_FIELD:
	case N_CHAIN:
		if (n->kind == N_CHAIN) {
			bool parens = n->pipe->kind == N_PIPE;
			cs_str_puts(out, parens ? "(" : "");
			node_print(out, n->pipe);
			cs_str_puts(out, parens ? ")" : "");
		}
		for (size_t i = 0; i < n->n_ident; i++) {
			if (i || n->kind != N_VARIABLE)
				cs_str_putc(out, '.');
			cs_str_puts(out, n->ident[i]);
		}
		break;
	case N_PIPE:
		for (const struct node *v = n->decl; v; v = v->next) {
			node_print(out, v);
			cs_str_puts(out, v->next ? ", " : n->assign ? " = " : " := ");
		}
		for (const struct node *c = n->kids; c; c = c->next) {
			node_print(out, c);
			if (c->next)
				cs_str_puts(out, " | ");
		}
		break;
	case N_COMMAND:
		for (const struct node *c = n->kids; c; c = c->next) {
			bool parens = c->kind == N_PIPE;
			cs_str_puts(out, parens ? "(" : "");
			node_print(out, c);
			cs_str_puts(out, parens ? ")" : "");
			if (c->next)
				cs_str_putc(out, ' ');
		}
		break;
	case N_ACTION:
		cs_str_puts(out, "{{");
		node_print(out, n->pipe);
		cs_str_puts(out, "}}");
		break;
	case N_TEMPLATE:
		cs_str_puts(out, "{{template ");
		tpl_quote(out, n->s, strlen(n->s), '"', false);
		if (n->pipe) {
			cs_str_putc(out, ' ');
			node_print(out, n->pipe);
		}
		cs_str_puts(out, "}}");
		break;
	case N_RANGE: /* as context of an error: "range can't iterate over" names the pipe by itself */
	case N_IF:
	case N_WITH:
		cs_str_puts(out, n->kind == N_IF ? "{{if " : n->kind == N_WITH ? "{{with " : "{{range ");
		node_print(out, n->pipe);
		cs_str_puts(out, "}}");
		node_print(out, n->list);
		if (n->else_list) {
			cs_str_puts(out, "{{else}}");
			node_print(out, n->else_list);
		}
		cs_str_puts(out, "{{end}}");
		break;
	case N_LIST:
		for (const struct node *c = n->kids; c; c = c->next)
			node_print(out, c);
		break;
	case N_TEXT:
		cs_str_put(out, n->s, n->n);
		break;
	case N_BREAK:
		cs_str_puts(out, "{{break}}");
		break;
	case N_CONTINUE:
		cs_str_puts(out, "{{continue}}");
		break;
	case N_END:
	case N_ELSE:
		break;
	}
}
