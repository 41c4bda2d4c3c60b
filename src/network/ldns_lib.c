/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of functions of ldns_lib.h. */
#include "network/ldns_lib.h"

#include "base/late.h"

struct cs_ldns cs_ldns;

#define ROW(f) CS_LATE_ROW(struct cs_ldns, f)
static const struct cs_late_symbol symbols[] = {CS_LDNS_FUNCTIONS(ROW){0}};
static struct cs_late late = {.name = "libldns.so.3", .symbols = symbols, CS_LATE_INIT};

int cs_ldns_get(struct cs_err **err) { return cs_late_get(&late, &cs_ldns, err); }
void cs_ldns_put(void) { cs_late_put(&late); }
