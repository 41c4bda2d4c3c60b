/* SPDX-License-Identifier: Apache-2.0 */
#include "base/base64.h"

char *cs_base64_encode(const void *data, size_t len, bool url)
{
	static const char digits[2][65] = {"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"};
	const char *abc = digits[url];
	const unsigned char *p = data;
	char *out = cs_xmalloc((len + 2) / 3 * 4 + 1), *q = out;

	for (size_t i = 0; i < len; i += 3) {
		size_t left = len - i;
		uint32_t v = (uint32_t)p[i] << 16 | (left > 1 ? (uint32_t)p[i + 1] << 8 : 0) | (left > 2 ? p[i + 2] : 0);
		*q++ = abc[v >> 18];
		*q++ = abc[v >> 12 & 63];
		*q++ = left > 1 ? abc[v >> 6 & 63] : '=';
		*q++ = left > 2 ? abc[v & 63] : '=';
	}
	*q = 0;
	return out;
}

static int digit(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' || c == '-' ? 62 : c == '/' || c == '_' ? 63 : -1;
}

char *cs_base64_decode(const char *text, size_t *ret_len)
{
	size_t n = strlen(text), len = 0;
	uint32_t bits = 0;
	unsigned have = 0;

	for (unsigned pad = 0; pad < 2 && n > 0 && text[n - 1] == '='; pad++)
		n--;
	if (n == 0 || n % 4 == 1)
		return NULL;
	char *out = cs_xmalloc(n / 4 * 3 + 4);
	for (size_t i = 0; i < n; i++) {
		int v = digit(text[i]);
		if (v < 0) {
			free(out);
			return NULL;
		}
		bits = bits << 6 | (uint32_t)v;
		have += 6;
		if (have >= 8) {
			have -= 8;
			out[len++] = (char)(bits >> have & 0xff);
		}
	}
	out[len] = 0;
	*ret_len = len;
	return out;
}
