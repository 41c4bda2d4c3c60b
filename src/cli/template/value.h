/* SPDX-License-Identifier: Apache-2.0
 *
 * Between the files of the template engine. */
#pragma once

#include "cli/template.h"

extern const struct tpl_value tpl_nothing;
extern const struct tpl_pair tpl_no_pair;

struct tpl_value tpl_stringn(const char *s, size_t n); /* borrows */
struct tpl_value tpl_byte_value(unsigned char c);
struct tpl_value tpl_zero(struct tpl_arena *a, const struct tpl_type *type);
const struct tpl_value *tpl_map_get(struct tpl_value map, const char *key, size_t n); /* NULL when absent */

static inline enum tpl_kind tpl_kind_of(struct tpl_value v) { return v.type ? v.type->kind : TPL_INVALID; }
const char *tpl_type_name(struct tpl_value v); /* the dynamic type's; "<nil>" without one */

/* fmt.Sprintf, Sprint, Sprintln. */
void tpl_sprintf(struct cs_str *out, struct tpl_value format, const struct tpl_value *args, size_t n);
void tpl_sprint_args(struct cs_str *out, const struct tpl_value *args, size_t n, bool line);
/* What a pointer leads to, through all of them; *nil: it ended at a nil. */
struct tpl_value tpl_indirect(struct tpl_value v, bool *nil);
/* What a template prints of it (printableValue): what a pointer leads to, unless the pointer has words of its own. No type: there is no value. */
struct tpl_value tpl_printable(struct tpl_value v);
bool tpl_truth(struct tpl_value v);

/* ---- functions ---- */

enum tpl_param { PARAM_VALUE, PARAM_ANY, PARAM_STRING, PARAM_INT, PARAM_STRINGS }; /* reflect.Value, interface{}, string, int, []string */
struct tpl_function {
	const char *name;
	/* The result; false with *why set ends the template with "error calling NAME: why". */
	bool (*call)(struct tpl_arena *a, const struct tpl_value *args, size_t n, struct tpl_value *ret, const char **why);
	enum tpl_param params[3];
	unsigned n_params; /* the last one repeats when variadic */
	bool variadic;
};
/* header: as in the titles of tables. NULL when there is none of that name. */
const struct tpl_function *tpl_function_find(const char *name, bool header);
