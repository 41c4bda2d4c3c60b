/* SPDX-License-Identifier: Apache-2.0
 *
 * Domain names as they are on the wire (RFC 1035 3.1), in lower case: the form in which they are stored and compared. No dot, no escape,
 * whatever bytes a label has. */
#pragma once

#include "base/macros.h"

#define CS_DNS_NAME_MAX 255
#define CS_DNS_LABEL_MAX 63

struct cs_dns_name {
	uint8_t len; /* with the root's zero byte; 0: no name */
	uint8_t wire[CS_DNS_NAME_MAX];
};

/* The same in as few bytes as it takes: what is kept by the thousand. */
struct cs_dns_packed {
	uint8_t len, wire[];
};
struct cs_dns_packed *cs_dns_name_pack(const struct cs_dns_name *n); /* caller frees */
void cs_dns_name_unpack(const struct cs_dns_packed *p, struct cs_dns_name *ret);

/* "web.example" or "web.example."; 0, or -1: empty, an empty label, one over 63 bytes, too long. */
CS_MUST_CHECK int cs_dns_name_parse(const char *text, struct cs_dns_name *ret);
/* A name in wire form, of which the caller knows that it is whole, in lower case (RFC 4343: ASCII letters only). */
void cs_dns_name_lower(const uint8_t *wire, size_t len, struct cs_dns_name *ret);
/* prefix without its root byte, then suffix. False: too long. */
CS_MUST_CHECK bool cs_dns_name_join(const struct cs_dns_name *prefix, const struct cs_dns_name *suffix, struct cs_dns_name *ret);
/* When name ends with suffix, at a label's border and with something before it: that, with a root byte. */
CS_MUST_CHECK bool cs_dns_name_cut(const struct cs_dns_name *name, const struct cs_dns_name *suffix, struct cs_dns_name *ret);
/* What 1.2.0.192.in-addr.arpa or the thirty-two nibbles of ip6.arpa stand for: 4 or 16 bytes into ret, their number as result. 0: nothing of that kind. */
size_t cs_dns_name_reverse(const struct cs_dns_name *name, uint8_t ret[16]);
size_t cs_dns_name_labels(const struct cs_dns_name *name);
