/* SPDX-License-Identifier: Apache-2.0
 *
 * IP addresses and prefixes as numbers, MAC addresses as bytes, and their texts. Pure; any thread. */
#pragma once

#include <netinet/in.h>

#include "base/macros.h"

typedef unsigned __int128 cs_u128;

struct cs_ip {
	cs_u128 n;      /* host order; IPv4 in the low 32 bits */
	uint8_t family; /* AF_INET, AF_INET6; 0: no address */
};
struct cs_prefix {
	struct cs_ip ip; /* as given: host bits may be set */
	uint8_t len;
};

static inline unsigned cs_ip_bits(uint8_t family) { return family == AF_INET ? 32 : 128; }
CS_MUST_CHECK bool cs_ip_parse(const char *text, struct cs_ip *ret);
/* "a/len"; the length is required. */
CS_MUST_CHECK bool cs_prefix_parse(const char *text, struct cs_prefix *ret);
#define CS_IP_TEXT 46
#define CS_PREFIX_TEXT 50
char *cs_ip_text(struct cs_ip ip, char buf[CS_IP_TEXT]); /* "" for no address; returns buf */
char *cs_prefix_text(struct cs_prefix p, char buf[CS_PREFIX_TEXT]);
size_t cs_ip_bytes(struct cs_ip ip, uint8_t ret[16]); /* network order; 4 or 16 */
struct cs_ip cs_ip_of(uint8_t family, const void *bytes);

static inline bool cs_ip_is(struct cs_ip a, struct cs_ip b) { return a.family == b.family && a.n == b.n; }
cs_u128 cs_prefix_first(struct cs_prefix p);
cs_u128 cs_prefix_last(struct cs_prefix p);
static inline struct cs_ip cs_prefix_base(struct cs_prefix p) { return (struct cs_ip){cs_prefix_first(p), p.ip.family}; }
bool cs_prefix_has(struct cs_prefix p, struct cs_ip ip);
bool cs_prefix_overlaps(struct cs_prefix a, struct cs_prefix b);

/* "02-42-ac-12-00-02", ':' is understood as well; a group address is none. */
CS_MUST_CHECK bool cs_mac_parse(const char *text, uint8_t ret[6]);
#define CS_MAC_TEXT 18
char *cs_mac_text(const uint8_t mac[6], char buf[CS_MAC_TEXT]);
