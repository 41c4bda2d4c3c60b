/* SPDX-License-Identifier: Apache-2.0
 *
 * Sets and maps of the firewall's tables, and their elements as the kernel wants them: every field of a key or of data begins at a multiple of
 * four bytes. One table describes all; elements go to the kernel as bytes, or into a script for libnftables as text. */
#pragma once

#include "network/firewall.h"

enum fw_field { FW_END, FW_IFNAME, FW_IP4, FW_IP6, FW_PROTO, FW_PORT, FW_MAC, FW_SLOT, FW_IFINDEX };

/* name, bridge family, key, data (nothing: a set), how the script declares it where the fields' names are not enough */
#define FW_F(...) {__VA_ARGS__}
#define FW_LB(daddr) "typeof " daddr " . meta l4proto . th dport . numgen random mod 420 : " daddr " . th dport"
#define FW_SETS(X)                                                                                                                                  \
	X(bridges, false, FW_F(FW_IFNAME), FW_F(0), NULL)                                                                                           \
	X(internal, false, FW_F(FW_IFNAME), FW_F(0), NULL)                                                                                          \
	X(closed, false, FW_F(FW_PROTO), FW_F(0), "typeof meta nfproto")  /* families whose forwarding is on for containers only */                       \
	X(bridged, false, FW_F(FW_PROTO), FW_F(0), "typeof meta nfproto") /* families in which br_netfilter sends frames through forward */                 \
	X(isolated4, false, FW_F(FW_IFNAME), FW_F(0), NULL)                                                                                         \
	X(isolated6, false, FW_F(FW_IFNAME), FW_F(0), NULL)                                                                                         \
	X(confined, false, FW_F(FW_IFNAME), FW_F(0), NULL) /* bridges whose containers may not do everything to the host: those of the three above */         \
	X(shared, false, FW_F(FW_IFNAME), FW_F(0), NULL) /* bridges with ports that are not ours */                                                \
	X(within, false, FW_F(FW_IFNAME, FW_IFNAME), FW_F(0), NULL) /* bridge to itself: where icc is on */                                         \
	X(apart, false, FW_F(FW_IFNAME, FW_IFNAME), FW_F(0), NULL) /* bridge to itself: where it is off */                                           \
	X(masquerade4, false, FW_F(FW_IFNAME), FW_F(0), NULL)                                                                                       \
	X(masquerade6, false, FW_F(FW_IFNAME), FW_F(0), NULL)                                                                                       \
	X(snat4, false, FW_F(FW_IFNAME), FW_F(FW_IP4), NULL)                                                                                        \
	X(snat6, false, FW_F(FW_IFNAME), FW_F(FW_IP6), NULL)                                                                                        \
	X(open4, false, FW_F(FW_IP4, FW_PROTO, FW_PORT), FW_F(0), NULL) /* container ports without NAT */                                           \
	X(open6, false, FW_F(FW_IP6, FW_PROTO, FW_PORT), FW_F(0), NULL)                                                                             \
	X(linked4, false, FW_F(FW_IP4, FW_IP4, FW_PROTO, FW_PORT), FW_F(0), NULL) /* links4 and 6 again: with br_netfilter frames come by here, too */     \
	X(linked6, false, FW_F(FW_IP6, FW_IP6, FW_PROTO, FW_PORT), FW_F(0), NULL)                                                                   \
	X(trusted4, false, FW_F(FW_IFNAME, FW_IP4, FW_PROTO, FW_PORT), FW_F(0), NULL) /* those, from one interface */                               \
	X(trusted6, false, FW_F(FW_IFNAME, FW_IP6, FW_PROTO, FW_PORT), FW_F(0), NULL)                                                               \
	X(routed4, false, FW_F(FW_IFNAME), FW_F(0), NULL) /* bridges that answer pings from outside */                                              \
	X(routed6, false, FW_F(FW_IFNAME), FW_F(0), NULL)                                                                                           \
	X(unprotected4, false, FW_F(FW_IFNAME), FW_F(0), NULL)                                                                                      \
	X(unprotected6, false, FW_F(FW_IFNAME), FW_F(0), NULL)                                                                                      \
	X(port4, false, FW_F(FW_IP4, FW_PROTO, FW_PORT), FW_F(FW_IP4, FW_PORT), NULL) /* published on one address */                                \
	X(port6, false, FW_F(FW_IP6, FW_PROTO, FW_PORT), FW_F(FW_IP6, FW_PORT), NULL)                                                               \
	X(any4, false, FW_F(FW_PROTO, FW_PORT), FW_F(FW_IP4, FW_PORT), NULL) /* published on all */                                                 \
	X(lo46, false, FW_F(FW_PROTO, FW_PORT), FW_F(FW_IP4, FW_PORT), NULL) /* published on all, by ::1 too without an IPv6 address: firewall_bpf.c's only */  \
	X(any6, false, FW_F(FW_PROTO, FW_PORT), FW_F(FW_IP6, FW_PORT), NULL)                                                                        \
	X(balance4, false, FW_F(FW_IP4, FW_PROTO, FW_PORT, FW_SLOT), FW_F(FW_IP4, FW_PORT), FW_LB("ip daddr"))                                      \
	X(balance6, false, FW_F(FW_IP6, FW_PROTO, FW_PORT, FW_SLOT), FW_F(FW_IP6, FW_PORT), FW_LB("ip6 daddr"))                                     \
	X(sticky4, false, FW_F(FW_IP4, FW_PROTO, FW_PORT, FW_SLOT), FW_F(FW_IP4, FW_PORT), FW_LB("ip daddr"))                                       \
	X(sticky6, false, FW_F(FW_IP6, FW_PROTO, FW_PORT, FW_SLOT), FW_F(FW_IP6, FW_PORT), FW_LB("ip6 daddr"))                                      \
	X(guarded, true, FW_F(FW_IFNAME), FW_F(0), NULL) /* veths with anti-spoofing */                                                             \
	X(macs, true, FW_F(FW_IFNAME, FW_MAC), FW_F(0), NULL)                                                                                       \
	X(sources4, true, FW_F(FW_IFNAME, FW_IP4), FW_F(0), NULL)                                                                                   \
	X(sources6, true, FW_F(FW_IFNAME, FW_IP6), FW_F(0), NULL)                                                                                   \
	X(targets6, true, FW_F(FW_IFNAME, FW_IP6), FW_F(0), "typeof iifname . @th,64,128") /* nft 1.0.6 has no name for an advertisement's target */ \
	X(passing4, true, FW_F(FW_IFINDEX, FW_IP4), FW_F(0), NULL) /* as sources4, where the MAC needs no look and no ACL wants one: short */              \
	X(passing6, true, FW_F(FW_IFINDEX, FW_IP6), FW_F(0), NULL)                                                                                   \
	X(separated, true, FW_F(FW_IFNAME), FW_F(0), NULL) /* veths of networks without icc */                                                      \
	X(links4, true, FW_F(FW_IP4, FW_IP4, FW_PROTO, FW_PORT), FW_F(0), NULL)                                                                     \
	X(links6, true, FW_F(FW_IP6, FW_IP6, FW_PROTO, FW_PORT), FW_F(0), NULL)                                                                     \
	X(filtered, true, FW_F(FW_IFNAME), FW_F(0), NULL) /* veths with ACLs */

enum fw_set_id {
#define X(name, ...) FW_##name,
	FW_SETS(X)
#undef X
	FW_SET_MAX
};

struct fw_set {
	const char *name;
	bool bridge;
	uint8_t key[5], data[3]; /* enum fw_field, ended by FW_END */
	const char *declared;
};
extern const struct fw_set fw_sets[FW_SET_MAX];
/* Is it in a table of the kernel's, and in which? */
static inline bool fw_set_is_in(unsigned set, bool bridge) { return set != FW_lo46 && fw_sets[set].bridge == bridge; }

#define FW_KEY_MAX 44
#define FW_DATA_MAX 20

/* An element on its way: made by fw_elem and the puts, in the order of the set's fields (asserted). */
struct fw_elem {
	enum fw_set_id set;
	uint8_t klen, dlen, fields;
	uint8_t bytes[FW_KEY_MAX + FW_DATA_MAX]; /* key, then data */
};
static inline struct fw_elem fw_elem(enum fw_set_id set) { return (struct fw_elem){.set = set}; }
struct fw_elem *fw_put_ifname(struct fw_elem *e, const char *name); /* all puts return e */
struct fw_elem *fw_put_addr(struct fw_elem *e, const struct cs_fw_addr *a);
struct fw_elem *fw_put_proto(struct fw_elem *e, uint8_t proto);
struct fw_elem *fw_put_port(struct fw_elem *e, uint16_t port);
struct fw_elem *fw_put_mac(struct fw_elem *e, const uint8_t mac[6]);
struct fw_elem *fw_put_slot(struct fw_elem *e, uint32_t slot);
struct fw_elem *fw_put_ifindex(struct fw_elem *e, uint32_t index);
void fw_set_lengths(enum fw_set_id set, uint8_t *key, uint8_t *data); /* in bytes */
bool fw_elem_whole(const struct fw_elem *e); /* all fields are there */

/* "key" or "key : data" in nft's language. with_data matters for maps only. */
void fw_format_elem(struct cs_str *out, enum fw_set_id set, const uint8_t *key, const uint8_t *data);
/* "set name { type …; }" or "map …"; the name behind a prefix */
void fw_format_set(struct cs_str *out, enum fw_set_id set, const char *prefix);

bool fw_addr_is_any(const struct cs_fw_addr *a);
bool fw_addr_equal(const struct cs_fw_addr *a, const struct cs_fw_addr *b);
struct cs_fw_addr fw_addr4(struct in_addr a); /* zero gives "none" */
struct cs_fw_addr fw_addr6(const struct in6_addr *a);
#define FW_ADDR_TEXT 48
const char *fw_addr_text(const struct cs_fw_addr *a, char buf[FW_ADDR_TEXT]);
const char *fw_proto_text(uint8_t proto); /* "tcp"; NULL when it is none that can be published */
