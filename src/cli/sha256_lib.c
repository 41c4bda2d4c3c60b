/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/sha256_lib.h"

#include "base/late.h"
#include "base/sha256.h"

#define FUNCTIONS(X) X(nettle_sha256_init) X(nettle_sha256_update) X(nettle_sha256_digest)

static struct table {
	FUNCTIONS(CS_LATE_MEMBER)
} lib;
#define ROW(f) CS_LATE_ROW(struct table, f)
static const struct cs_late_symbol symbols[] = {FUNCTIONS(ROW){NULL, 0}};
static struct cs_late late = {.name = "libnettle.so.8", .symbols = symbols, CS_LATE_INIT};

int sha256_load(struct cs_err **err) { return lib.nettle_sha256_init ? 0 : cs_late_get(&late, &lib, err); }

void cs_sha256_hex_of(const void *data, size_t len, char hex[65])
{
	struct sha256_ctx ctx;
	uint8_t md[CS_SHA256_SIZE];

	hex[0] = 0;
	if (!lib.nettle_sha256_init)
		return;
	lib.nettle_sha256_init(&ctx);
	if (len)
		lib.nettle_sha256_update(&ctx, len, data);
	lib.nettle_sha256_digest(&ctx, sizeof(md), md);
	for (size_t i = 0; i < sizeof(md); i++)
		(void)snprintf(hex + 2 * i, 3, "%02x", md[i]);
}
