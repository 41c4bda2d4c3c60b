/* SPDX-License-Identifier: Apache-2.0
 *
 * Links, addresses, routes, neighbours and queues: requests for a batch (rtnl.h), and what the kernel tells of a link. No decisions. */
#pragma once

#include <net/if.h>
#include "network/addr.h"
#include "network/rtnl.h"

#include <linux/if_link.h>

/* TCP packets between the host's stack and containers may be this large (IPv4; the kernel's default is 64 KiB, its limit 512): what a packet costs on its way
 * is paid for less often. Never more than what all devices take on the way out, since the software would cut such packets down to single frames.
 * IPv6 would put a header of its own on them, which containers would see. */
#define CS_LINK_GSO 262144u

/* A veth pair: one end here, the other in the namespace of `peer_ns`, by name. */
void cs_link_add_veth(struct cs_nl *b, const char *name, int peer_ns, const char *peer_name);
/* A bridge without delay, spanning tree or IPv6 address of its own making, with an address that its ports do not change. */
void cs_link_add_bridge(struct cs_nl *b, const char *name, const uint8_t mac[6]);
/* id: VXLAN network identifier; local may have no family. Peers are told (cs_fdb_add); where whose frames come from is learned. */
void cs_link_add_vxlan(struct cs_nl *b, const char *name, uint32_t id, uint16_t port, struct cs_ip local, int parent);
/* A macvlan or ipvlan on `parent`, made in the namespace of `ns` (-1: here). */
void cs_link_add_macvlan(struct cs_nl *b, int parent, int ns, const char *name, const uint8_t mac[6], uint32_t mode);
void cs_link_add_ipvlan(struct cs_nl *b, int parent, int ns, const char *name, uint16_t mode, uint16_t flags);
void cs_link_add_vlan(struct cs_nl *b, int parent, const char *name, uint16_t id);

struct cs_link_change {
	int index;        /* or 0, and the name says which */
	const char *name;
	const char *alias;      /* NULL: as it is; so below */
	const uint8_t *mac;
	uint32_t mtu, master;
	uint32_t gso;           /* largest packet of TCP over IPv4 that the link is given; Linux 6.3, ignored by older ones */
	bool up;
	bool no_ipv6_addr;                    /* no link-local address by itself */
	bool deaf;                            /* no IPv4 comes in: no source that is not behind the link, nothing for one in a frame for many */
	bool no_arp;                          /* nobody is asked or answered by it */
	int route_localnet, arp_notify;       /* +1: on */
};
void cs_link_set(struct cs_nl *b, const struct cs_link_change *c, const char *what);
void cs_link_rename(struct cs_nl *b, int index, const char *to);
/* The largest packet of TCP over IPv4. What one of the ports below the link does not take (EINVAL) is left as it is. */
void cs_link_set_gso(struct cs_nl *b, int index, uint32_t gso);
struct cs_link_port {
	bool isolated;      /* no traffic to other isolated ports */
	bool hairpin;       /* frames may go back to where they came from */
	const uint8_t *mac; /* who is behind it, from the start and for good: frames of others are dropped (Linux 5.17: cs_link_info.locked). NULL: the bridge learns */
	bool in_use;        /* what the bridge may have learned from there is forgotten first */
};
/* Of a bridge's port. */
void cs_link_set_port(struct cs_nl *b, int index, const struct cs_link_port *p);
void cs_link_del(struct cs_nl *b, int index);
void cs_link_del_name(struct cs_nl *b, const char *name);
/* All links of the group at once. */
void cs_link_set_group(struct cs_nl *b, int index, uint32_t group);
void cs_link_del_group(struct cs_nl *b, uint32_t group);

/* IPv6 is usable at once (no duplicate address detection: we know who has what). */
void cs_addr_add(struct cs_nl *b, int index, struct cs_prefix address, int tolerate);
void cs_addr_del(struct cs_nl *b, int index, struct cs_prefix address);
struct cs_route {
	struct cs_prefix to; /* len 0: default */
	struct cs_ip via;    /* no family: on the link */
	int index;
	uint32_t metric;
	bool onlink; /* via is reached though no prefix of the link's has it */
};
void cs_route_set(struct cs_nl *b, const struct cs_route *r); /* replaces the same destination's */
void cs_route_del(struct cs_nl *b, const struct cs_route *r);
/* Where a VXLAN finds a MAC address (NULL: everything unknown), and who has an address. */
void cs_fdb_add(struct cs_nl *b, int index, const uint8_t *mac, struct cs_ip at, uint32_t vni);
void cs_fdb_del(struct cs_nl *b, int index, const uint8_t *mac, struct cs_ip at, uint32_t vni);
/* In the forwarding table of the bridge whose port the link is. */
void cs_bridge_fdb_add(struct cs_nl *b, int port, const uint8_t mac[6]);
void cs_bridge_fdb_del(struct cs_nl *b, int port, const uint8_t mac[6]);
/* The bridge answers for neighbours that it knows instead of flooding their port with questions. */
void cs_link_suppress_neigh(struct cs_nl *b, int port);
void cs_neigh_add(struct cs_nl *b, int index, struct cs_ip ip, const uint8_t mac[6]);
void cs_neigh_del(struct cs_nl *b, int index, struct cs_ip ip);
/* Bytes per second that leave by the link; 0 takes the limit away. */
void cs_rate_set(struct cs_nl *b, int index, uint64_t bytes_per_second);

/* Room for filters (clsact, tc(8)) of what comes in, on a link that is down: of one that is up the kernel stops the queues for this, and what is sent to it
 * meanwhile is lost. Kernels that have no such filters do without. */
void cs_ingress_add(struct cs_nl *b, int index);
/* The BPF classifier (bpf(2)) of that priority, in place of the one there is: its result says what happens to a packet. Deleting: ENOENT, EINVAL or
 * EOPNOTSUPP where there was none. */
void cs_ingress_filter_set(struct cs_nl *b, int index, uint16_t priority, int program, const char *name);
void cs_ingress_filter_del(struct cs_nl *b, int index, uint16_t priority);

struct cs_link_info {
	int index, master, peer; /* peer: index of what it is linked to, in another namespace if so */
	unsigned flags, mtu;
	uint32_t gso;            /* 0: the kernel does not say */
	uint8_t state; /* IF_OPER_* */
	bool locked;   /* a bridge's port, which takes only frames of those that the bridge knows to be behind it */
	char name[IFNAMSIZ], kind[16], alias[96];
	uint8_t mac[6];
	struct rtnl_link_stats64 stats;
};
/* By index, or by name when that is not NULL. Error: NOT_FOUND. */
CS_MUST_CHECK int cs_link_get(struct cs_rtnl *r, int index, const char *name, struct cs_link_info *ret, struct cs_err **err);
/* Until the link can carry frames: a new carrier takes effect when the kernel's link watch has run, and before that a bridge drops what comes
 * from the port, for example somebody's first ARP request, which is repeated after a second only. Asking makes it run (Linux 6.8), else it is waited
 * for, 100 ms at most. */
void cs_link_wait_up(struct cs_rtnl *r, int index);
/* Until an IPv6 address of the link's can be found by its neighbours: the kernel joins the group they ask (RFC 4291, solicited-node) some moments
 * after the address is there, and who asks before asks again a second later. 20 ms at most. */
void cs_link_wait_found(struct cs_rtnl *r, int index, struct cs_ip address);
/* Stops when each returns false. */
CS_MUST_CHECK int cs_links_each(struct cs_rtnl *r, bool (*each)(const struct cs_link_info *, void *), void *ctx, struct cs_err **err);
/* Addresses of all links, and destinations of the main table's routes (default routes are none). */
CS_MUST_CHECK int cs_addrs_each(struct cs_rtnl *r, bool (*each)(int index, struct cs_prefix, void *), void *ctx, struct cs_err **err);
CS_MUST_CHECK int cs_routes_each(struct cs_rtnl *r, bool (*each)(int index, struct cs_prefix, void *), void *ctx, struct cs_err **err);
