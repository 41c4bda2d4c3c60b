/* SPDX-License-Identifier: Apache-2.0
 *
 * The part of TOML that configuration of registries uses, as a JSON tree: tables (also inline, dotted and quoted keys), strings on one line,
 * integers, booleans, arrays. What else TOML has (dates, floats, arrays of tables, strings over several lines) is an error, not a guess. */
#pragma once

#include <jansson.h>

#include "base/error.h"

/* An object, keys in the order of the file; NULL with INVALID "line 3: …". */
json_t *cs_rg_toml_parse(const char *text, size_t len, struct cs_err **err);
