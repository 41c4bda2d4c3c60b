/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/archive_lib.h"

#include "base/late.h"

struct archive_lib archive_lib;

#define ROW(name) {"archive_" #name, offsetof(struct archive_lib, f_##name)},
static const struct cs_late_symbol symbols[] = {ARCHIVE_FUNCTIONS(ROW){0}};
static struct cs_late late = {.name = "libarchive.so.13", .symbols = symbols, CS_LATE_INIT};

int archive_lib_load(struct cs_err **err) { return cs_late_get(&late, &archive_lib, err) < 0 ? cs_wrap(err, "archives need libarchive") : 0; }
