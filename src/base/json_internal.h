/* SPDX-License-Identifier: Apache-2.0
 *
 * Between the two halves of the JSON tables. */
#pragma once

#include "base/json.h"

/* The member of type T at a field's offset. */
#define AT(T, obj, off) ((T *)(void *)((char *)(obj) + (off)))
#define CAT(T, obj, off) ((T const *)(const void *)((const char *)(obj) + (off)))

/* An array of n structs: members, keys (map) and the array itself. */
void cs_json_release_items(const struct cs_jtype *t, bool map, void *items, size_t n);
