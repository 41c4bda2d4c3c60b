/* SPDX-License-Identifier: Apache-2.0
 *
 * What registries write into headers, and the little encodings around it. Pure functions over foreign text; everything is bounded. */
#pragma once

#include "base/str.h"

struct cs_rg_challenge { /* of WWW-Authenticate; absent members are NULL */
	char *scheme; /* lower case */
	char *realm, *service, *scope, *error;
};
#define CS_RG_CHALLENGES 8
struct cs_rg_challenges {
	struct cs_rg_challenge c[CS_RG_CHALLENGES];
	size_t n;
};
/* Adds what one header line offers; what makes no sense in it is skipped. */
void cs_rg_challenges_add(struct cs_rg_challenges *c, const char *header);
void cs_rg_challenges_done(struct cs_rg_challenges *c);
const struct cs_rg_challenge *cs_rg_challenge_find(const struct cs_rg_challenges *c, const char *scheme);

/* Link: <target>; rel="next" -> target, or NULL. Caller frees. */
char *cs_rg_link_next(const char *header);

struct cs_rg_range {
	int64_t first, last, total; /* total -1: unknown ("*") */
};
CS_MUST_CHECK bool cs_rg_content_range(const char *header, struct cs_rg_range *ret);
/* Seconds from now (0..INT32_MAX), by number or HTTP date; -1 when it makes no sense. */
int64_t cs_rg_retry_after(const char *header, int64_t now_s);

/* "sha256:" and 64 lower-case hex digits: what may become part of a URL. */
bool cs_rg_digest_valid(const char *s);

/* For a query: letters, digits, -._~ stay. */
void cs_rg_query_escape(struct cs_str *out, const char *s);
/* Printable ASCII without blanks at the ends: fit to be a header's value. */
bool cs_rg_header_value_ok(const char *s);
