/* SPDX-License-Identifier: Apache-2.0
 *
 * Command-line flags by table, with Docker's grammar: -it combined, -eA=B, --flag=value, --flag value, --bool=false, "--". */
#pragma once

#include "base/strv.h"

enum opt_kind { OPT_BOOL, OPT_STR, OPT_LIST, OPT_I64, OPT_BYTES };
struct opt {
	const char *name; /* long name without dashes */
	char letter;      /* 0 = none */
	enum opt_kind kind;
	void *value; /* bool *, const char **, char ***, int64_t * */
	const char *help;
};
#define OPT_END {.name = NULL}

/* Parses argv[1..]; flags stop at the first operand if `stop_at_operand` (run, create, exec). Operands are returned as a borrowed,
 * NULL-terminated part of argv (argv is reordered). NULL after printing an error to stderr: the caller exits 125. "--help" prints
 * `usage` and the flags and exits 0. */
char **opt_parse(char **argv, const struct opt *opts, bool stop_at_operand, const char *usage);
