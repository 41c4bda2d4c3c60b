/* SPDX-License-Identifier: Apache-2.0
 *
 * Detach keys in a stream of bytes, across packet borders. Pure. */
#pragma once

#include "base/macros.h"

#define CS_DETACH_MAX 64
struct cs_detach {
	uint8_t key[CS_DETACH_MAX];
	uint8_t len;  /* 0: nothing detaches */
	uint8_t held; /* how many bytes of the sequence have been swallowed so far */
};

/* Copies what is to be delivered to out (room for n + d->held bytes). Returns true when the sequence completed: *out_len bytes came before it,
 * and what follows it in `in` is dropped. */
bool cs_detach_feed(struct cs_detach *d, const uint8_t *in, size_t n, uint8_t *out, size_t *out_len);
/* The input ended: delivers the swallowed part. Returns its length. */
size_t cs_detach_flush(struct cs_detach *d, uint8_t *out);
