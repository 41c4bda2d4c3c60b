/* SPDX-License-Identifier: Apache-2.0
 * Frame headers of a websocket client. */
#include <stdlib.h>

#include "api/websocket.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cs_ws_frame f;

	if (cs_ws_parse(data, size, &f) == 1) {
		if (f.header_len > size || f.header_len < 2)
			abort();
		cs_autofree uint8_t *copy = cs_xmalloc(size);
		memcpy(copy, data, size);
		cs_ws_unmask(copy + f.header_len, size - f.header_len, f.mask, size);
	}
	return 0;
}
