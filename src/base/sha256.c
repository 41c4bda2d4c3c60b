/* SPDX-License-Identifier: Apache-2.0
 *
 * SHA-256 by libnettle, which uses the CPU's instructions where there are some. Any thread, each with its own state. */
#include "base/sha256.h"

void cs_sha256_init(struct cs_sha256 *h) { sha256_init(&h->ctx); }

void cs_sha256_update(struct cs_sha256 *h, const void *data, size_t len)
{
	if (len)
		sha256_update(&h->ctx, len, data);
}

void cs_sha256_hex(struct cs_sha256 *h, char hex[65])
{
	static const char digits[] = "0123456789abcdef";
	unsigned char md[CS_SHA256_SIZE];

	sha256_digest(&h->ctx, sizeof(md), md);
	for (size_t i = 0; i < sizeof(md); i++) {
		hex[2 * i] = digits[md[i] >> 4];
		hex[2 * i + 1] = digits[md[i] & 15];
	}
	hex[64] = 0;
}

void cs_sha256_hex_of(const void *data, size_t len, char hex[65])
{
	struct cs_sha256 h;

	cs_sha256_init(&h);
	cs_sha256_update(&h, data, len);
	cs_sha256_hex(&h, hex);
}
