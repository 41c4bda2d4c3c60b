/* SPDX-License-Identifier: Apache-2.0
 * Dockerfile instructions of import and, later, commit. */
#include "engine/image_internal.h"
#include "engine/types.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cs_autofree char *s = cs_xstrndup((const char *)data, size);
	struct cs_config c = {0};
	int r = 0;

	for (char *line = s; line; ) {
		char *nl = strchr(line, '\n');
		if (nl)
			*nl++ = 0;
		r |= cs_import_change(&c, line, NULL);
		line = nl;
	}
	(void)r;
	cs_json_release(&cs_config_type, &c);
	return 0;
}
