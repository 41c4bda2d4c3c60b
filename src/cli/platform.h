/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/error.h"

/* os[/arch[/variant]] as the API's JSON behind `prefix` ("?platform="), percent-encoded; "" for none. Caller frees; NULL with an error. */
char *platform_query(const char *platform, const char *prefix, struct cs_err **err);
/* The same as "os/arch[/variant]", with the names that engines know; "" for none. Caller frees; NULL with an error. */
char *platform_text(const char *platform, struct cs_err **err);
/* What pull, import, run and create are for: --platform, else $DOCKER_DEFAULT_PLATFORM. May be NULL; borrowed. */
const char *platform_given(const char *flag);
