/* SPDX-License-Identifier: Apache-2.0
 *
 * Typed access to jansson objects with errors that name the member ("OciSpecification.mounts[3].type: expected string, got
 * number"). A value of JSON null counts as absent, as in Go. Pure; any thread. Functions return 0 or -1 like everything else; an
 * absent optional member leaves *ret untouched. */
#pragma once

#include <jansson.h>

#include "base/error.h"

#define CS_F_REQUIRED 1u

CS_MUST_CHECK int cs_field_str(json_t *o, const char *path, const char *key, unsigned flags, const char **ret, struct cs_err **err);
CS_MUST_CHECK int cs_field_bool(json_t *o, const char *path, const char *key, bool *ret, struct cs_err **err);
CS_MUST_CHECK int cs_field_i64(json_t *o, const char *path, const char *key, int64_t min, int64_t max, int64_t *ret, struct cs_err **err);
/* As above, and tells whether the member was there (has may be NULL). */
CS_MUST_CHECK int cs_field_opt_i64(json_t *o, const char *path, const char *key, int64_t min, int64_t max, int64_t *ret, bool *has, struct cs_err **err);
CS_MUST_CHECK int cs_field_obj(json_t *o, const char *path, const char *key, unsigned flags, json_t **ret, struct cs_err **err);
/* An object, or a string that holds the JSON text of one (parsed by whoever needs to look inside). */
CS_MUST_CHECK int cs_field_obj_or_text(json_t *o, const char *path, const char *key, json_t **ret, struct cs_err **err);
CS_MUST_CHECK int cs_field_arr(json_t *o, const char *path, const char *key, unsigned flags, json_t **ret, struct cs_err **err);
/* Vector of strings; borrowed strings, caller frees the vector only. Absent: NULL. */
CS_MUST_CHECK int cs_field_strv(json_t *o, const char *path, const char *key, char ***ret, struct cs_err **err);
/* Refuses members that are not in the NULL-terminated list. */
CS_MUST_CHECK int cs_field_only(json_t *o, const char *path, const char *const *known, struct cs_err **err);
CS_MUST_CHECK int cs_field_is_obj(json_t *o, const char *path, struct cs_err **err);
