/* SPDX-License-Identifier: Apache-2.0
 * Image references: what parses has a full form that parses to the same. */
#include <stdlib.h>

#include "registry/reference.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cs_autofree char *s = cs_xstrndup((const char *)data, size);
	cs_autoref struct cs_ref a = {0}, b = {0};

	(void)cs_ref_is_id(s);
	if (cs_ref_parse(s, &a, NULL) < 0)
		return 0;
	cs_autofree char *full = cs_ref_full(&a), *familiar = cs_ref_familiar(&a);
	if (cs_ref_parse(full, &b, NULL) < 0)
		abort();
	cs_autofree char *again = cs_ref_full(&b);
	if (strcmp(full, again) != 0)
		abort();
	cs_autoref struct cs_ref c = {0};
	if (cs_ref_parse(familiar, &c, NULL) < 0)
		abort();
	cs_autofree char *third = cs_ref_full(&c);
	if (strcmp(full, third) != 0)
		abort();
	return 0;
}
