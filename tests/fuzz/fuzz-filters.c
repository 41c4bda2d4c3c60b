/* SPDX-License-Identifier: Apache-2.0
 * The filters parameter. */
#include "engine/filters.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cs_autofree char *s = cs_xstrndup((const char *)data, size);
	cs_autofilters struct cs_filters f = {0};

	if (cs_filters_parse(s, NULL, &f, NULL) == 0)
		for (size_t i = 0; i < f.n; i++) {
			(void)cs_filter_match(&f, f.f[i].key, "some-name");
			(void)cs_filter_exact(&f, f.f[i].key, "exited");
			(void)cs_filter_prefix(&f, f.f[i].key, "abcdef");
		}
	return 0;
}
