/* SPDX-License-Identifier: Apache-2.0
 *
 * The last output of init, for clients whose attach was granted a moment before their socket arrived here: what came in between is theirs.
 * Bounded in size and age; given back when idle. */
#include <sys/mman.h>

#include "base/time.h"
#include "worker/worker.h"

#define SIZE (16u << 10)
#define AGE_NS CS_NS_PER_SEC

/* followed by len bytes, padded to the alignment of a record */
struct record {
	int64_t at; /* monotonic */
	uint32_t len;
	uint8_t type;
};

static _Alignas(4096) uint8_t buf[SIZE];
static size_t used;

static size_t size_of(size_t len) { return (sizeof(struct record) + len + _Alignof(struct record) - 1) & ~(_Alignof(struct record) - 1); }

static struct record *record_at(size_t pos) { return (struct record *)(void *)(buf + pos); }

/* Also halves a full buffer, so that a stream of short lines does not move all of it each time. */
static void make_room(size_t need, int64_t now)
{
	size_t pos = 0;
	bool full = used + need > SIZE;

	while (pos < used) {
		const struct record *r = record_at(pos);
		if (now - r->at <= AGE_NS && (!full || (pos >= SIZE / 2 && used - pos + need <= SIZE)))
			break;
		pos += size_of(r->len);
	}
	memmove(buf, buf + pos, used - pos);
	used -= pos;
}

void cs_recent_put(uint8_t type, const uint8_t *data, size_t len, int64_t now)
{
	size_t skip = len > SIZE - sizeof(struct record) ? len - (SIZE - sizeof(struct record)) : 0;
	size_t need = size_of(len - skip);

	make_room(need, now);
	*record_at(used) = (struct record){.at = now, .len = (uint32_t)(len - skip), .type = type};
	memcpy(buf + used + sizeof(struct record), data + skip, len - skip);
	used += need;
}

void cs_recent_replay(int64_t since, void (*fn)(void *ctx, uint8_t type, const uint8_t *data, size_t len), void *ctx)
{
	for (size_t pos = 0; pos < used; pos += size_of(record_at(pos)->len)) {
		const struct record *r = record_at(pos);
		if (r->at >= since)
			fn(ctx, r->type, buf + pos + sizeof(*r), r->len);
	}
}

void cs_recent_trim(void)
{
	used = 0;
	(void)madvise(buf, SIZE, MADV_DONTNEED);
}
