/* SPDX-License-Identifier: Apache-2.0
 *
 * Running SHA-256. libnettle's, which the HTTP server brings along anyway: libcrypto would cost a megabyte of every idle engine. */
#pragma once

#include <nettle/sha2.h>
#include <stddef.h>

#define CS_SHA256_SIZE 32

struct cs_sha256 {
	struct sha256_ctx ctx;
};

void cs_sha256_init(struct cs_sha256 *h);
void cs_sha256_update(struct cs_sha256 *h, const void *data, size_t len);
/* 64 lower-case digits and a zero; h is ready for the next message afterwards. */
void cs_sha256_hex(struct cs_sha256 *h, char hex[65]);
void cs_sha256_hex_of(const void *data, size_t len, char hex[65]);
