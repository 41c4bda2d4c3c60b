/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "cli/template.h"

/* The Go type of that name ("container.InspectResponse", "*events.Message"), for the life of the program; NULL if there is none. */
const struct tpl_type *schema_type(const char *name);
/* What values of that type can be asked, NULL for nothing; self is the struct tpl_value. For schema.c. */
const struct tpl_method *schema_methods(const char *type);
/* For the test that all of it can be read: how many types there are; the i-th one's name, NULL when its text is wrong. */
size_t schema_count(void);
const char *schema_name(size_t i);
