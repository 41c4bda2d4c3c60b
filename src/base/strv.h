/* SPDX-License-Identifier: Apache-2.0
 *
 * NULL-terminated string vectors and ordered string maps. NULL means "not given" (JSON null), which differs from empty. */
#pragma once

#include "base/macros.h"

size_t cs_strv_len(char *const *v); /* NULL -> 0 */
void cs_strv_free(char **v);
static inline void cs_autostrv_done(char ***v) { cs_strv_free(*v); }
#define cs_autostrv cs_auto(cs_autostrv_done) /* char ** */
char **cs_strv_copy(char *const *v);          /* NULL -> NULL */
void cs_strv_push(char ***v, const char *s);  /* copies s */
void cs_strv_take(char ***v, char *s);        /* takes s */
bool cs_strv_has(char *const *v, const char *s);
bool cs_strv_equal(char *const *a, char *const *b); /* the same strings in the same order; NULL is empty */
void cs_strv_sort(char **v);                        /* by their bytes; NULL is empty */
char **cs_strv_split(const char *s, char sep); /* "" -> {""} as Go's strings.Split */
char *cs_strv_join(char *const *v, const char *sep);

struct cs_kv {
	char *key, *val;
};
struct cs_strmap { /* insertion order; keys unique */
	struct cs_kv *kv;
	size_t n;
};
struct cs_strmap *cs_strmap_new(void);
void cs_strmap_free(struct cs_strmap *m);
static inline void cs_autostrmap_done(struct cs_strmap **m) { cs_strmap_free(*m); }
#define cs_autostrmap cs_auto(cs_autostrmap_done) /* struct cs_strmap * */
struct cs_strmap *cs_strmap_copy(const struct cs_strmap *m);
void cs_strmap_set(struct cs_strmap *m, const char *key, const char *val);
const char *cs_strmap_get(const struct cs_strmap *m, const char *key); /* NULL map is empty */
void cs_strmap_del(struct cs_strmap *m, const char *key);
bool cs_strmap_equal(const struct cs_strmap *a, const struct cs_strmap *b); /* in any order; NULL is empty */
