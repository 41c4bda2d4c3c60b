/* SPDX-License-Identifier: Apache-2.0
 *
 * Query strings: percent-decoding and typed look-up the way Go's net/url and dockerd's httputils do it. Pure functions. */
#pragma once

#include "base/error.h"

struct cs_query_pair {
	char *key, *val;
};
struct cs_query {
	struct cs_query_pair *pair;
	size_t n;
};
#define CS_QUERY_MAX_PAIRS 512

/* "a=b&c" as in application/x-www-form-urlencoded. INVALID for a broken escape, an embedded NUL, ';' as Go, or too many pairs. */
CS_MUST_CHECK int cs_query_parse(const char *text, struct cs_query *ret, struct cs_err **err);
void cs_query_done(struct cs_query *q);
/* Decodes %XX (and '+' if plus) into a new string; NULL for a broken escape or a NUL. */
char *cs_url_decode(const char *s, size_t n, bool plus);

const char *cs_query_get(const struct cs_query *q, const char *key); /* first value or NULL */
const char *cs_query_str(const struct cs_query *q, const char *key); /* as get, but NULL for "" too */
/* All values of a key, or NULL. Caller frees the vector. */
char **cs_query_all(const struct cs_query *q, const char *key);
/* Docker's BoolValue: "", "0", "no", "false", "none" (any case) are false. */
bool cs_query_bool(const struct cs_query *q, const char *key);
bool cs_query_bool_or(const struct cs_query *q, const char *key, bool dflt);
/* dflt when absent or empty; otherwise INVALID with strconv's text. */
CS_MUST_CHECK int cs_query_i64(const struct cs_query *q, const char *key, int64_t dflt, int64_t min, int64_t max, int64_t *ret, struct cs_err **err);
/* The type of JSON lines that an Accept header names ("application/jsonl" or "application/x-ndjson", the first that is there), a static string; NULL when
 * it names none, or is NULL. Wildcards do not count, nor what has q=0. */
const char *cs_accept_lines(const char *accept);
/* since/until: "" is 0. */
CS_MUST_CHECK int cs_query_time(const struct cs_query *q, const char *key, int64_t *ret, struct cs_err **err);
