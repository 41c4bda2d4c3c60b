/* SPDX-License-Identifier: Apache-2.0
 * Requests to a worker. */
#include <stdlib.h>

#include "worker/packet.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cs_w_request r;
	const char *why = NULL;

	for (size_t fds = 0; fds < 3; fds++) {
		if (cs_packet_decode(data, size, fds, &r, &why) != 0)
			continue;
		/* borrowed pieces lie inside the packet */
		if ((r.detach_len && (r.detach < data || r.detach + r.detach_len > data + size)) ||
		    (r.input_len && (r.input < data || r.input + r.input_len > data + size)) ||
		    (r.prefix_len && (r.prefix < data || r.prefix + r.prefix_len > data + size)) ||
		    (r.suffix_len && (r.suffix < data || r.suffix + r.suffix_len > data + size)))
			abort();
		if (!cs_packet_id_ok(r.id))
			abort();
	}
	return 0;
}
