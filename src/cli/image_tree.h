/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>

#include "base/macros.h"

/* Prints the answer to GET /images/json?manifests=1. all: also what has no name. */
void image_tree_print(const json_t *list, bool all);
