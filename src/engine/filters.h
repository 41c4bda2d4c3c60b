/* SPDX-License-Identifier: Apache-2.0
 *
 * The `filters` parameter: {"key":["value"]} or the older {"key":{"value":true}}. */
#pragma once

#include "base/error.h"
#include "base/strv.h"

struct cs_filters {
	struct cs_filter {
		char *key;
		char **values; /* never NULL */
	} *f;
	size_t n;
};
/* json NULL or "" = none. With allowed (NULL-terminated) an unknown key is INVALID "invalid filter 'x'". */
CS_MUST_CHECK int cs_filters_parse(const char *json, const char *const *allowed, struct cs_filters *ret, struct cs_err **err);
void cs_filters_done(struct cs_filters *f);
#define cs_autofilters cs_auto(cs_filters_done) /* struct cs_filters x = {0} */
char **cs_filter_values(const struct cs_filters *f, const char *key); /* borrowed; NULL when not given */
bool cs_filter_exact(const struct cs_filters *f, const char *key, const char *v);  /* also true when not given */
bool cs_filter_prefix(const struct cs_filters *f, const char *key, const char *v); /* some value is a prefix of v */
/* All of "k" or "k=v" hold in the map. */
bool cs_filter_labels(const struct cs_filters *f, const char *key, const struct cs_strmap *labels);
/* One of true/false; INVALID "invalid filter 'dangling=x'" otherwise. *ret keeps its value when not given. */
CS_MUST_CHECK int cs_filter_bool(const struct cs_filters *f, const char *key, bool *ret, struct cs_err **err);
/* The one value of "until", a time or how long ago, in ns since 1970; *ret stays when it is not given. */
CS_MUST_CHECK int cs_filter_until(const struct cs_filters *f, int64_t *ret, struct cs_err **err);
/* Go's regexp approximated by POSIX extended, or substring: what `name` and `id` filters mean. */
bool cs_filter_match(const struct cs_filters *f, const char *key, const char *v);
