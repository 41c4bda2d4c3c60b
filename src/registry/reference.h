/* SPDX-License-Identifier: Apache-2.0
 *
 * Image references as Docker writes and normalises them: [domain/]path[:tag][@digest]. Pure functions. */
#pragma once

#include "base/error.h"

struct cs_ref { /* normalised: domain and path are never NULL; tag and digest may be */
	char *domain, *path, *tag, *digest;
};
/* "busybox" -> docker.io library/busybox. INVALID with the distribution library's sentences. */
CS_MUST_CHECK int cs_ref_parse(const char *text, struct cs_ref *ret, struct cs_err **err);
void cs_ref_done(struct cs_ref *r);
#define cs_autoref cs_auto(cs_ref_done) /* struct cs_ref x = {0} */
void cs_ref_default_tag(struct cs_ref *r); /* "latest" when there is neither tag nor digest */
char *cs_ref_full(const struct cs_ref *r);          /* docker.io/library/busybox:latest; caller frees, as below */
char *cs_ref_familiar(const struct cs_ref *r);      /* busybox:latest */
char *cs_ref_familiar_name(const struct cs_ref *r); /* busybox */
bool cs_ref_tag_valid(const char *tag);
bool cs_ref_is_id(const char *s); /* 64 lower-case hex digits */
/* A name that cs_ref_full made, in the short form. */
char *cs_ref_shorten(const char *full);
