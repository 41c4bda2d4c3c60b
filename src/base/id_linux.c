/* SPDX-License-Identifier: Apache-2.0 */
#include "base/id.h"

#include <net/if.h>
#include <string.h>
#include <sys/random.h>

void cs_random_bytes(void *buf, size_t n)
{
	while (n) {
		ssize_t r = getrandom(buf, n, 0);
		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			abort();
		buf = (char *)buf + r;
		n -= (size_t)r;
	}
}

void cs_id_new(char *buf)
{
	static const char hex[] = "0123456789abcdef";
	unsigned char raw[CS_ID_LEN / 2];

	do {
		cs_random_bytes(raw, sizeof(raw));
		for (size_t i = 0; i < sizeof(raw); i++) {
			buf[2 * i] = hex[raw[i] >> 4];
			buf[2 * i + 1] = hex[raw[i] & 15];
		}
		buf[CS_ID_LEN] = 0;
	} while (strspn(buf, "0123456789") >= CS_SHORT_ID_LEN);
}

bool cs_is_hex(const char *s) { return !cs_empty(s) && strspn(s, "0123456789abcdef") == strlen(s); }

bool cs_link_name_valid(const char *name)
{
	static const char *const taken[] = {".", "..", "all", "default"};
	size_t n = strlen(name);

	for (size_t i = 0; i < CS_ARRAY_SIZE(taken); i++)
		if (strcmp(name, taken[i]) == 0)
			return false;
	for (const char *p = name; *p; p++)
		if (*p == '/' || *p == ':' || *p == '%' || (unsigned char)*p <= ' ' || (unsigned char)*p >= 127)
			return false;
	return n > 0 && n < IFNAMSIZ;
}
