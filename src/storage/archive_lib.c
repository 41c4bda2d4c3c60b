/* SPDX-License-Identifier: Apache-2.0
 *
 * Loads libarchive for the first user and lets it go after the last. */
#include "storage/archive_lib.h"

#include "base/late.h"

struct cs_archive_lib cs_archive;

#define ROW(name) {"archive_" #name, offsetof(struct cs_archive_lib, f_##name)},
static const struct cs_late_symbol symbols[] = {CS_ARCHIVE_FUNCTIONS(ROW){0}};
static struct cs_late late = {.name = "libarchive.so.13", .symbols = symbols, CS_LATE_INIT};

int cs_archive_get(struct cs_err **err) { return cs_late_get(&late, &cs_archive, err); }
void cs_archive_put(void) { cs_late_put(&late); }
