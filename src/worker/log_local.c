/* SPDX-License-Identifier: Apache-2.0
 *
 * Records of the `local` driver (docs/log-formats.md): length in front and behind, so that a reader walks both ways. */
#include <endian.h>

#include "worker/log.h"

#define OVERHEAD 20 /* both lengths, flags, time */

uint8_t *cs_log_local_record(uint8_t *d, const uint8_t *text, size_t n, int stream, bool more, int64_t ts)
{
	uint32_t len = htole32((uint32_t)(n + OVERHEAD));
	uint32_t flags = htole32((stream ? 2u : 1u) | (more ? 0x100u : 0));
	uint64_t t = htole64((uint64_t)ts);

	memcpy(d, &len, 4);
	memcpy(d + 4, &flags, 4);
	memcpy(d + 8, &t, 8);
	memcpy(d + 16, text, n);
	memcpy(d + 16 + n, &len, 4);
	return d + n + OVERHEAD;
}

static bool record_at(int fd, int64_t off, int64_t size, uint32_t *len)
{
	uint32_t a, b;

	if (size - off < OVERHEAD || pread(fd, &a, 4, off) != 4)
		return false;
	*len = le32toh(a);
	if (*len < OVERHEAD || *len > CS_LOG_PIECE + OVERHEAD || *len > size - off)
		return false;
	return pread(fd, &b, 4, off + *len - 4) == 4 && a == b;
}

int64_t cs_log_local_good_end(int fd, int64_t size)
{
	uint32_t tail, len;

	/* the usual case: the last record is whole */
	if (size >= OVERHEAD && pread(fd, &tail, 4, size - 4) == 4) {
		tail = le32toh(tail);
		if (tail >= OVERHEAD && tail <= size && record_at(fd, size - tail, size, &len) && len == tail)
			return size;
	}
	int64_t off = 0;
	while (record_at(fd, off, size, &len))
		off += len;
	return off;
}
