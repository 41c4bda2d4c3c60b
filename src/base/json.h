/* SPDX-License-Identifier: Apache-2.0
 *
 * JSON by table: one table per struct decodes (from a jansson tree), encodes (straight into a buffer), copies and frees it.
 * Go's habits are kept where clients can see them: keys match without case, null against [] against absent, omitempty.
 *
 *   struct point { int64_t x; char *label; };
 *   static const struct cs_jfield point_fields[] = {
 *           JF(struct point, "X", x, 0), JF(struct point, "Label", label, JF_OMIT), JF_END };
 *   const struct cs_jtype point_type = { "Point", sizeof(struct point), point_fields };
 *
 * All members start zeroed; zero is Go's zero value (NULL string = "", NULL vector = null). */
#pragma once

#include <jansson.h>

#include "base/error.h"
#include "base/str.h"
#include "base/strv.h"

enum cs_jkind {
	JK_STR,    /* char *                      string                                                */
	JK_BOOL,   /* bool                                                                              */
	JK_TRI,    /* enum cs_tri                 *bool                                                 */
	JK_I64,    /* int64_t                                                                           */
	JK_U64,    /* uint64_t                                                                          */
	JK_F64,    /* double                                                                            */
	JK_NI64,   /* int64_t *                   *int64: NULL = null                                   */
	JK_STRV,   /* char **                     []string; a lone string is accepted with JF_ONE       */
	JK_STRMAP, /* struct cs_strmap *          map[string]string                                     */
	JK_SET,    /* char **                     map[string]struct{} (ExposedPorts, Volumes), sorted on output */
	JK_OBJ,    /* struct T *                  *T: NULL = null                                       */
	JK_INLINE, /* struct T                    T                                                     */
	JK_LIST,   /* struct T * + size_t count   []T: count 0 and NULL pointer = null                  */
	JK_MAP,    /* struct T * + size_t count   map[string]T; first member of T is `char *key` (not in T's table) */
	JK_RAW,    /* char *                      any JSON value kept as compact text, NULL = null      */
	JK_TIME,   /* int64_t                     RFC 3339 text, CS_TIME_ZERO or 0 = Go's zero time     */
};
enum cs_tri { CS_NULL = 0, CS_FALSE = 1, CS_TRUE = 2 };

#define JF_REQUIRED (1u << 0)  /* decode: must be present */
#define JF_OMIT (1u << 1)      /* encode: leave out when zero/empty (omitempty) */
#define JF_EMPTY (1u << 2)     /* encode: NULL list/map as [] or {} instead of null; NULL object as {} */
#define JF_ONE (1u << 3)       /* JK_STRV: accept "a" for ["a"] (Cmd, Entrypoint) */
#define JF_LAX (1u << 4)       /* JK_I64/JK_U64: accept a number in a string; JK_STR: accept a number */
#define JF_NODECODE (1u << 5)  /* output only */
#define JF_OURS (1u << 6)      /* neither read nor written: copied and freed */

struct cs_jtype;
struct cs_jfield {
	const char *key;
	enum cs_jkind kind;
	unsigned flags;
	size_t off, count_off;
	const struct cs_jtype *type; /* JK_OBJ, JK_INLINE, JK_LIST, JK_MAP */
	int min_api, max_api;        /* 144 = 1.44; 0 = no bound; encode leaves the field out outside [min,max] */
};
struct cs_jtype {
	const char *name;
	size_t size;
	const struct cs_jfield *fields;
};

#define JF_KIND_(T, m)                                                                                                 \
	_Generic(((T *)0)->m, char * : JK_STR, char **: JK_STRV, bool: JK_BOOL, enum cs_tri: JK_TRI, int64_t: JK_I64,   \
		 uint64_t: JK_U64, double: JK_F64, int64_t *: JK_NI64, struct cs_strmap *: JK_STRMAP)
/* clang-format off */
#define JF(T, k, m, f)                 {.key = (k), .kind = JF_KIND_(T, m), .flags = (f), .off = offsetof(T, m)}
#define JF_API(T, k, m, f, lo, hi)     {.key = (k), .kind = JF_KIND_(T, m), .flags = (f), .off = offsetof(T, m), .min_api = (lo), .max_api = (hi)}
#define JF_AS(T, k, m, f, knd)         {.key = (k), .kind = (knd), .flags = (f), .off = offsetof(T, m)}   /* JK_SET, JK_RAW, JK_TIME */
#define JF_OBJ(T, k, m, f, t)          {.key = (k), .kind = JK_OBJ, .flags = (f), .off = offsetof(T, m), .type = (t)}
#define JF_INLINE(T, k, m, f, t)       {.key = (k), .kind = JK_INLINE, .flags = (f), .off = offsetof(T, m), .type = (t)}
#define JF_LIST(T, k, m, n, f, t)      {.key = (k), .kind = JK_LIST, .flags = (f), .off = offsetof(T, m), .count_off = offsetof(T, n), .type = (t)}
#define JF_MAP(T, k, m, n, f, t)       {.key = (k), .kind = JK_MAP, .flags = (f), .off = offsetof(T, m), .count_off = offsetof(T, n), .type = (t)}
#define JF_END                         {.key = NULL}
/* clang-format on */

/* Parses text (strict JSON, duplicate keys: the last wins as in Go; depth and size bounded by jansson). Error names line and column.
 * An integer that int64_t does not hold is a real: it hurts only who reads it. */
json_t *cs_json_parse(const char *text, size_t len, struct cs_err **err);
/* The same, but that a key which stands twice in an object is an error. */
json_t *cs_json_parse_unique(const char *text, size_t len, struct cs_err **err);
/* The same for texts with masks of 64 bits: what uint64_t holds is exact, and read by cs_json_u64. */
json_t *cs_json_parse_u64(const char *text, size_t len, struct cs_err **err);
CS_MUST_CHECK bool cs_json_u64(const json_t *v, uint64_t *ret); /* false: no integer, or a negative one */
static inline void cs_autojson_done(json_t **j) { json_decref(*j); }
#define cs_autojson cs_auto(cs_autojson_done)

/* Fills *obj (zeroed or previously decoded: fields present in `in` replace). Unknown keys are ignored. On error *obj may be
 * partly filled and must still be released. Errors: CS_ERR_INVALID "HostConfig.Mounts[3].Type: expected string, got number". */
CS_MUST_CHECK int cs_json_decode(const struct cs_jtype *t, json_t *in, void *obj, const char *path, struct cs_err **err);
CS_MUST_CHECK int cs_json_decode_text(const struct cs_jtype *t, const char *text, void *obj, struct cs_err **err);
/* Appends the object as compact JSON. api: 144 for 1.44, 0 for all fields. */
void cs_json_encode(const struct cs_jtype *t, const void *obj, int api, struct cs_str *out);
/* Only the members, without braces, for splicing into a bigger object; returns whether anything was written. */
bool cs_json_encode_members(const struct cs_jtype *t, const void *obj, int api, struct cs_str *out);
void cs_json_release(const struct cs_jtype *t, void *obj); /* frees members, zeroes; obj itself stays */
void cs_json_copy(const struct cs_jtype *t, void *dst, const void *src); /* deep; dst is overwritten, not released */

/* Pieces for hand-made answers. */
void cs_json_put_string(struct cs_str *out, const char *s); /* quoted and escaped; NULL -> "" ; invalid UTF-8 -> U+FFFD */
void cs_json_put_stringn(struct cs_str *out, const char *s, size_t n);
/* "key": preceded by a comma unless the buffer ends in { or [ */
void cs_json_put_key(struct cs_str *out, const char *key);
void cs_json_put_kstr(struct cs_str *out, const char *key, const char *val);
void cs_json_put_ki64(struct cs_str *out, const char *key, int64_t val);
void cs_json_put_kbool(struct cs_str *out, const char *key, bool val);
void cs_json_put_ktime(struct cs_str *out, const char *key, int64_t ns);
void cs_json_put_strv(struct cs_str *out, char *const *v);               /* NULL -> null */
void cs_json_put_strmap(struct cs_str *out, const struct cs_strmap *m); /* NULL -> null; keys sorted as Go does */
