/* SPDX-License-Identifier: Apache-2.0
 *
 * Lists of images that are being made: a folder per list in "manifests" beside config.json, a file per image, as docker's client has them. */
#pragma once

#include <jansson.h>

#include "base/error.h"
#include "registry/reference.h"

/* An image of a list as it was put there, NULL in *ret when there is none. Caller owns. */
CS_MUST_CHECK int manifest_store_get(const struct cs_ref *list, const struct cs_ref *image, json_t **ret, struct cs_err **err);
/* All of them, by the names of their files; NULL in *ret when there is no such list. Caller owns. */
CS_MUST_CHECK int manifest_store_list(const struct cs_ref *list, json_t **ret, struct cs_err **err);
CS_MUST_CHECK int manifest_store_put(const struct cs_ref *list, const struct cs_ref *image, const json_t *j, struct cs_err **err);
CS_MUST_CHECK int manifest_store_remove(const struct cs_ref *list, struct cs_err **err);
