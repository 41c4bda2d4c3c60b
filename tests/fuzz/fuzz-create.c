/* SPDX-License-Identifier: Apache-2.0
 * Body of POST /containers/create: decode, encode, decode again must agree. */
#include <stdlib.h>

#include "engine/types.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cs_create_request a = {0}, b = {0};
	struct cs_str x = CS_STR_INIT(16 << 20), y = CS_STR_INIT(16 << 20);
	json_t *j = cs_json_parse((const char *)data, size, NULL);

	if (j && cs_json_decode(&cs_create_request_type, j, &a, "", NULL) == 0) {
		cs_json_encode(&cs_create_request_type, &a, 0, &x);
		if (x.failed || cs_json_decode_text(&cs_create_request_type, x.buf, &b, NULL) < 0)
			abort();
		cs_json_encode(&cs_create_request_type, &b, 0, &y);
		if (y.failed || strcmp(x.buf, y.buf) != 0)
			abort();
	}
	json_decref(j);
	cs_json_release(&cs_create_request_type, &a);
	cs_json_release(&cs_create_request_type, &b);
	cs_str_done(&x);
	cs_str_done(&y);
	return 0;
}
