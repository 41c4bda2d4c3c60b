/* SPDX-License-Identifier: Apache-2.0
 *
 * Platforms as images name them: os/architecture/variant, in Go's words. Pure functions. */
#pragma once

#include "base/error.h"

struct cs_platform { /* members are never NULL once parsed */
	char *os, *arch, *variant, *os_version;
};
void cs_platform_done(struct cs_platform *p);
#define cs_autoplatform cs_auto(cs_platform_done) /* struct cs_platform x = {0} */
/* "linux/arm64/v8", "arm64", "linux", or (1.50 and later) {"os":…,"architecture":…,"variant":…}. NULL and "": the host. */
CS_MUST_CHECK int cs_platform_parse(const char *text, struct cs_platform *ret, struct cs_err **err);
void cs_platform_set(struct cs_platform *p, const char *os, const char *arch, const char *variant); /* normalised; NULL is "" */
/* How well an image of `have` does for `want`: 0 not at all, more is better. A host of arm64 runs arm/v7 too, v7 runs v6, and so on. */
int cs_platform_score(const struct cs_platform *want, const struct cs_platform *have);
/* Is it what was asked for (variants that mean the same count as the same)? */
bool cs_platform_same(const struct cs_platform *a, const struct cs_platform *b);
char *cs_platform_text(const struct cs_platform *p); /* "linux/arm/v7"; caller frees */
