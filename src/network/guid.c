/* SPDX-License-Identifier: Apache-2.0 */
#include "base/macros.h"
#include "computenetwork.h"

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void of_bytes(const uint8_t b[16], HCN_GUID *g)
{
	g->Data1 = (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
	g->Data2 = (uint16_t)(b[4] << 8 | b[5]);
	g->Data3 = (uint16_t)(b[6] << 8 | b[7]);
	memcpy(g->Data4, b + 8, 8);
}

/* 32 hex digits, with a dash in front of those at 8, 12, 16 and 20 if dashed. */
static bool read_digits(const char *text, bool dashed, HCN_GUID *ret)
{
	uint8_t b[16];

	for (size_t i = 0; i < 16; i++) {
		if (dashed && (i == 4 || i == 6 || i == 8 || i == 10) && *text++ != '-')
			return false;
		int hi = hex(text[0]), lo = hi < 0 ? -1 : hex(text[1]);
		if (lo < 0)
			return false;
		b[i] = (uint8_t)(hi << 4 | lo);
		text += 2;
	}
	of_bytes(b, ret);
	return true;
}

bool cs_hcn_guid_of(const char *hex64, HCN_GUID *ret)
{
	size_t n = 0;

	while (hex64 && n < 65 && hex(hex64[n]) >= 0)
		n++;
	return n == 64 && !hex64[n] && read_digits(hex64, false, ret);
}

void cs_hcn_guid_text(const HCN_GUID *g, char ret[CS_HCN_GUID_TEXT])
{
	const uint8_t *d = g->Data4;

	(void)snprintf(ret, CS_HCN_GUID_TEXT, "%08x-%04x-%04x-%02x%02x-%02x%02x%02x%02x%02x%02x", (unsigned)g->Data1, g->Data2, g->Data3, d[0], d[1], d[2],
		       d[3], d[4], d[5], d[6], d[7]);
}

bool cs_hcn_guid_parse(const char *text, HCN_GUID *ret)
{
	HCN_GUID g;

	if (!text || strlen(text) != CS_HCN_GUID_TEXT - 1 || !read_digits(text, true, &g))
		return false;
	*ret = g;
	return true;
}
