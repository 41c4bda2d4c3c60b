/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "cli/template/node.h"

enum token_kind {
	T_ERROR, T_BOOL, T_CHAR, T_CHAR_CONSTANT, T_COMPLEX, T_ASSIGN, T_DECLARE, T_EOF, T_FIELD, T_IDENT, T_LEFT, T_LPAREN, T_NUMBER, T_PIPE, T_RAW, T_RIGHT, T_RPAREN,
	T_SPACE, T_STRING, T_TEXT, T_VARIABLE,
	T_KEYWORD, /* those after it are keywords */
	T_BLOCK, T_BREAK, T_CONTINUE, T_DOT, T_DEFINE, T_ELSE, T_END, T_IF, T_NIL, T_RANGE, T_TEMPLATE, T_WITH,
};
struct token {
	enum token_kind kind;
	size_t pos;
	const char *val;
	size_t len;
	unsigned line;
};
struct lexer {
	struct tpl_arena *arena;
	const char *in;
	size_t len, pos, start;
	unsigned line, start_line;
	unsigned parens;
	bool inside, ended;
};
/* The next token; after an error or the end, T_EOF for ever. */
struct token lex_next(struct lexer *l);
