/* SPDX-License-Identifier: Apache-2.0
 *
 * See detach.h. */
#include "worker/detach.h"

/* The longest proper tail of key[0..held) + c that is again a beginning of the sequence. */
static uint8_t fall_back(const struct cs_detach *d, uint8_t c)
{
	for (uint8_t keep = d->held; keep > 0; keep--) {
		if (d->key[keep - 1] == c && memcmp(d->key + d->held - (keep - 1), d->key, keep - 1u) == 0)
			return keep;
	}
	return 0;
}

bool cs_detach_feed(struct cs_detach *d, const uint8_t *in, size_t n, uint8_t *out, size_t *out_len)
{
	size_t o = 0;

	for (size_t i = 0; i < n; i++) {
		uint8_t c = in[i];
		if (d->len && c == d->key[d->held]) {
			if (++d->held < d->len)
				continue;
			d->held = 0;
			*out_len = o;
			return true;
		}
		uint8_t keep = d->len ? fall_back(d, c) : 0;
		size_t release = d->held + 1u - keep; /* of the swallowed bytes and c, the first ones are plain input */
		for (size_t k = 0; k < release; k++)
			out[o++] = k < d->held ? d->key[k] : c;
		d->held = keep;
	}
	*out_len = o;
	return false;
}

size_t cs_detach_flush(struct cs_detach *d, uint8_t *out)
{
	size_t n = d->held;

	memcpy(out, d->key, n);
	d->held = 0;
	return n;
}
