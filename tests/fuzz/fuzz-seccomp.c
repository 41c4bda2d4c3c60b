/* SPDX-License-Identifier: Apache-2.0
 * Docker's seccomp profiles to OCI ones; what comes out is JSON. */
#include "base/json.h"
#include "engine/spec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cs_autofree char *s = cs_xstrndup((const char *)data, size);
	cs_autostr struct cs_str out = CS_STR_INIT(4 << 20);

	if (cs_seccomp_put(s, 0xa80425fb, &out, NULL) == 0 && !out.failed) {
		cs_autojson json_t *j = cs_json_parse(out.buf, out.len, NULL);
		if (!j)
			abort();
	}
	return 0;
}
