/* SPDX-License-Identifier: Apache-2.0
 *
 * Go's text/template (as of Go 1.24) with Docker's functions: json split join title lower upper pad truncate. Texts, semantics and messages are
 * Go's, since scripts look for them: "template: :1:2: executing "" at <.Foo>: can't evaluate field Foo in type container.State".
 *
 * Values carry Go types, because templates can tell: a number of a JSON document is a json.Number (a string) in Docker's raw mode, an int64 where
 * the API has one; `{{.State}}` prints {running true …} of a struct, map[Running:true …] of a map. Types of the API come from schema.h.
 *
 * All memory of a template, and of values, belongs to an arena and ends with it. Not thread-safe. No system calls. */
#pragma once

#include "base/macros.h"
#include "base/str.h"

/* ---- memory ---- */

struct tpl_arena;
struct tpl_arena *tpl_arena_new(void);
void tpl_arena_free(struct tpl_arena *a); /* accepts NULL */
static inline void tpl_autoarena_done(struct tpl_arena **a) { tpl_arena_free(*a); }
#define tpl_autoarena cs_auto(tpl_autoarena_done)
void *tpl_alloc(struct tpl_arena *a, size_t n); /* zeroed, aligned for anything */
char *tpl_strn(struct tpl_arena *a, const char *s, size_t n);
char *tpl_printf(struct tpl_arena *a, const char *fmt, ...) CS_PRINTF(2, 3);
size_t tpl_arena_used(const struct tpl_arena *a);

/* ---- values ---- */

enum tpl_kind { TPL_INVALID, TPL_BOOL, TPL_INT, TPL_UINT, TPL_FLOAT, TPL_STRING, TPL_SLICE, TPL_MAP, TPL_STRUCT, TPL_PTR, TPL_IFACE, TPL_OBJECT };
/* What a type's values do beyond their kind. NUMBER: json.Number; DURATION, TIME: print and marshal as Go's; HEADERS: a table's map of titles. */
enum tpl_trait { TPL_PLAIN, TPL_NUMBER, TPL_DURATION, TPL_TIME, TPL_HEADERS, TPL_ULIMIT, TPL_PLATFORM };

struct tpl_type;
struct tpl_method;
struct tpl_field {
	const char *name, *json; /* json "-": not in JSON */
	const struct tpl_type *type;
	bool omit;     /* omitempty */
	bool embedded; /* its fields count as the struct's own */
};
struct tpl_type {
	const char *name; /* as reflect.Type prints it: "map[string]interface {}" */
	enum tpl_kind kind;
	enum tpl_trait trait;
	const struct tpl_type *elem, *key; /* of slices, maps, pointers */
	const struct tpl_field *fields;
	size_t n_fields; /* of structs; of slices that are arrays: their length */
	unsigned bits;       /* of integers; 0 = 64 */
	bool list_or_string; /* slices: JSON may have a lone string (strslice) */
	const struct tpl_method *methods; /* of named types, without arguments; NULL: none */
};

struct tpl_pair;
struct tpl_object;
struct tpl_value {
	const struct tpl_type *type; /* NULL: no value, or the nil of an interface when boxed */
	bool boxed;                  /* came out of an interface {}: errors name that type */
	union {
		bool b;
		int64_t i;
		uint64_t u;
		double f;
		const struct tpl_object *obj;
		struct {
			const char *s; /* TPL_STRING: n bytes */
			size_t n;
		};
		struct {
			const struct tpl_value *v; /* TPL_SLICE: n elements, NULL = nil; TPL_STRUCT: a value for each field; TPL_PTR: one, NULL = nil */
			size_t count;
		};
		struct {
			const struct tpl_pair *p; /* TPL_MAP: sorted by key, NULL = nil */
			size_t pairs;
		};
	};
};
struct tpl_pair {
	struct tpl_value key, val;
};

extern const struct tpl_type tpl_bool, tpl_int, tpl_int64, tpl_uint64, tpl_float64, tpl_string, tpl_number, tpl_any, tpl_strings, tpl_anys, tpl_map_any, tpl_map_string,
	tpl_headers;

struct tpl_value tpl_str_value(struct tpl_arena *a, const char *s); /* copies; NULL = "" */
struct tpl_value tpl_int_value(int64_t i);                           /* an int */
struct tpl_value tpl_i64_value(int64_t i);
struct tpl_value tpl_bool_value(bool b);
/* A map[string]string (or of `type`) of n keys and values; copied and sorted. */
struct tpl_value tpl_map_of(struct tpl_arena *a, const struct tpl_type *type, const char *const *keys, const char *const *values, size_t n);

/* An object with methods: what a list command shows in one row. Methods without arguments make its JSON, sorted by name, as Docker marshals them. */
struct tpl_method {
	const char *name;
	struct tpl_value (*call)(void *self, struct tpl_arena *a, const char *arg);
	bool takes_string; /* `.Label "x"`; not in JSON */
};
struct tpl_class {
	const char *type_name; /* "*formatter.ContainerContext" */
	const struct tpl_method *methods; /* sorted by name, ends with a NULL name */
};
struct tpl_object {
	const struct tpl_class *class;
	void *self;
};
struct tpl_value tpl_object_value(struct tpl_arena *a, const struct tpl_class *class, void *self);

/* JSON text as Go decodes it into an interface{}: maps, slices, strings, booleans, numbers as json.Number. Keys sorted, of equal ones the last.
 * false and a message when it is not JSON (strict, at most 200 levels). Strings without escapes borrow from text. */
CS_MUST_CHECK bool tpl_parse_json(struct tpl_arena *a, const char *text, size_t len, struct tpl_value *ret, const char **message);
/* What tpl_parse_json gave, as a value of a Go type: keys match without case, unknown ones are left out, absent ones are zero, what does not fit is zero. */
struct tpl_value tpl_typed(struct tpl_arena *a, const struct tpl_type *type, struct tpl_value raw);
/* As json.Marshal does, html: with <, > and & escaped. */
void tpl_marshal(struct cs_str *out, struct tpl_value v, bool html, struct tpl_arena *a);
/* json.Indent and json.Compact of text that is JSON: nothing is decoded, numbers and escapes stay. */
void tpl_json_indent(struct cs_str *out, const char *text, size_t len, const char *indent);
void tpl_json_compact(struct cs_str *out, const char *text, size_t len);
/* The value as fmt.Sprint prints it. */
void tpl_sprint(struct cs_str *out, struct tpl_value v);

/* ---- templates ---- */

struct tpl;
/* Parses; borrows name (which messages have; mostly ""), text and the arena for the template's life. NULL and a message ("template: :1: unexpected "}" in operand"),
 * which is the arena's. */
struct tpl *tpl_parse_named(struct tpl_arena *a, const char *name, const char *text, const char **message);
static inline struct tpl *tpl_parse(struct tpl_arena *a, const char *text, const char **message) { return tpl_parse_named(a, "", text, message); }
struct tpl_options {
	bool missing_key_error; /* Option("missingkey=error") */
	bool header;            /* Docker's functions as table headers have them: split, join, truncate, … leave a title alone */
	uint64_t max_steps;     /* nodes to walk, 0 = 1 << 32 */
};
/* Appends to out what the template makes of data. false and a message; what was written until then is in out. Values made on the way are the arena's. */
CS_MUST_CHECK bool tpl_execute(const struct tpl *t, struct tpl_value data, const struct tpl_options *o, struct tpl_arena *a, struct cs_str *out, const char **message);
