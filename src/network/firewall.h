/* SPDX-License-Identifier: Apache-2.0
 *
 * The firewall of one instance: NAT of published ports, isolation of networks, masquerading, anti-spoofing, policies and load balancers, in two
 * nftables tables of our own (families inet and bridge, same name). Rules are fixed; networks, endpoints, ports and balancers are elements of
 * sets and maps. Nobody else's table is changed, or read for more than cs_firewall_bridges_ours and the
 * report say, and what the host's own chains drop stays dropped.
 *
 * The model behind these functions is in memory only. Between cs_firewall_open and cs_firewall_settle calls change the model alone, and the
 * tables of a previous life stay in force; settle makes the tables what the model is in one transaction. Afterwards each call is one transaction: when it
 * fails, neither model nor kernel have changed; but what is removed is gone from the model in any case, and from the kernel with the next endpoint. The tables stay after cs_firewall_close, and work without us.
 *
 * Any thread; strings and arrays given are copied or not kept. Everything acts in the network namespace of the calling thread, which must be
 * that of cs_firewall_open. Errors carry the kernel's text. With `enabled` false the model works and nothing is ever touched. */
#pragma once

#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "base/error.h"
#include "base/str.h"

struct cs_firewall;

struct cs_fw_addr {
	sa_family_t family; /* AF_INET, AF_INET6; 0: none */
	union {
		struct in_addr v4;
		struct in6_addr v6;
		uint8_t bytes[16];
	};
};

#define CS_FIREWALL_TABLE "caisson" /* and the beginning of the names of all instances' tables */
struct cs_firewall_config {
	const char *table; /* this, or "caisson-<8 hex>" for an instance that is not the default; [a-z0-9-], at most 31 bytes */
	bool enabled;
	const char *bpf_dir; /* where BPF programs outlive us (firewall_bpf.h); its parent is there. NULL: they do not */
	/* Somebody deleted or changed our tables, and they are whole again (or not: err, borrowed). On the monitor's thread; may be NULL. */
	void (*restored)(void *arg, const struct cs_err *err);
	/* The kernel has something that the model has not, or not yet what it has: cs_firewall_mend is to be called some time. Under a lock; may be NULL. */
	void (*behind)(void *arg);
	/* What cs_firewall_bridges_ours says has changed since settle. On the monitor's thread; may be NULL. */
	void (*bridges)(void *arg);
	void *arg;
};

/* Starts the monitor's thread at settle, not before. Errors: INVALID (table), UNAVAILABLE (no netlink). */
CS_MUST_CHECK int cs_firewall_open(const struct cs_firewall_config *config, struct cs_firewall **ret, struct cs_err **err);
void cs_firewall_close(struct cs_firewall *fw); /* accepts NULL; leaves the tables, and BPF programs with published ports */
/* Makes the kernel equal to the model in one transaction: what is right already is not touched. Tables of another version are replaced. Also for "put everything right now".
 * When it fails, endpoint_add tries it again first, and fails with it: nobody is let onto a bridge without rules. */
CS_MUST_CHECK int cs_firewall_settle(struct cs_firewall *fw, struct cs_err **err);
/* Once more what the kernel refused when something was taken away, or what it had no memory for. Nothing: success. */
CS_MUST_CHECK int cs_firewall_mend(struct cs_firewall *fw, struct cs_err **err);
/* Our rules are in force, and no other table has base chains for bridges, nor has ebtables (the old one). Until settle: false. */
bool cs_firewall_bridges_ours(struct cs_firewall *fw);
/* Deletes both tables (uninstall, tests); no tables is success. The model is unsettled afterwards. */
CS_MUST_CHECK int cs_firewall_delete_tables(struct cs_firewall *fw, struct cs_err **err);

/* The family's forwarding is on for our networks' sake only: what neither comes from one of them nor goes to one is dropped at forward (as dockerd's
 * policy DROP there, which is left away with ip-forward-no-drop). Spared: bridges of other instances, by the group of their interface, and, while
 * br_netfilter sends bridged frames this way (looked at here, at settle and for each network), traffic between two bridges. Again: success. */
#define CS_FIREWALL_GROUP 51733
CS_MUST_CHECK int cs_firewall_close_host(struct cs_firewall *fw, sa_family_t family, struct cs_err **err);

/* How addresses of a network are seen from outside, per family (com.docker.network.bridge.gateway_mode_ipv4/6). */
enum cs_firewall_mode {
	CS_FW_NAT,         /* published ports by NAT only; container addresses cannot be reached from outside */
	CS_FW_UNPROTECTED, /* nat-unprotected: as NAT, but whoever routes to a container's address reaches all its ports, other networks too */
	CS_FW_ROUTED,      /* no NAT, no masquerading: published ports at the container's own address, and ping */
	CS_FW_ISOLATED,    /* no traffic between the network and the host either */
	CS_FW_MODE_MAX
};

/* Priority (skb->priority) of frames whose sender has been looked at where they came in: the rules for senders do not ask again. */
#define CS_FIREWALL_PASSED 0xca150001u
struct cs_firewall_network {
	const char *bridge;  /* interface name; the network's identity here */
	bool internal;       /* no traffic to or from outside and other networks; of the host only the bridge's own address can be reached */
	bool icc;            /* its containers may talk to each other (com.docker.network.bridge.enable_icc) */
	bool masquerade4, masquerade6; /* ignored in mode ROUTED */
	enum cs_firewall_mode mode4, mode6;
	struct in_addr snat4;  /* source address of outgoing connections in place of masquerading (host_ipv4); zero: none */
	struct in6_addr snat6; /* likewise (host_ipv6) */
	bool direct;           /* published ports can be reached at the container's address too (allow-direct-routing) */
	bool shared;           /* the bridge has ports that are no endpoint's: it is the user's, or reaches over the wire */
	char *const *trusted;  /* interfaces from which they can (trusted_host_interfaces), NULL-terminated; NULL: none */
};

/* Add of a bridge that is there already replaces it. Also writes route_localnet of the bridge's interface and adds a local route for ::1 there
 * (127.0.0.1 and ::1 reach published ports), after the rules which keep containers from the host's loopback are in force; so the interface should exist
 * and be up, and if that comes later call add again (settle does it for all). With br_netfilter (bridge-nf-call-iptables 1) a container reaches itself
 * by a published port only if its port of the bridge has hairpin mode (IFLA_BRPORT_MODE), which is harmless otherwise: set it always.
 * Remove: unknown is success. Endpoints and ports should be gone by then; what they still have stays without effect. */
CS_MUST_CHECK int cs_firewall_network_add(struct cs_firewall *fw, const struct cs_firewall_network *n, struct cs_err **err);
CS_MUST_CHECK int cs_firewall_network_remove(struct cs_firewall *fw, const char *bridge, struct cs_err **err);

/* One HNS ACL policy. Lists are comma-separated as in the HCN schema; NULL or "": all. */
struct cs_firewall_acl {
	bool block;               /* Action: Block, else Allow */
	bool out;                 /* Direction: Out (the container sends), else In */
	uint16_t priority;        /* lower is tried first; equal: in the order given */
	const char *protocols;    /* numbers as in /etc/protocols or tcp, udp, sctp, icmp, icmpv6 */
	const char *local_addresses, *remote_addresses; /* addresses or prefixes, either family */
	const char *local_ports, *remote_ports;         /* ports or ranges a-b; tcp, udp and sctp only */
};

/* Whether rules can be made of it. Error: INVALID, which names the member. */
CS_MUST_CHECK int cs_firewall_acl_check(const struct cs_firewall_acl *a, struct cs_err **err);

#define CS_FIREWALL_PORT "csp"
struct cs_firewall_endpoint {
	const char *id;      /* the endpoint's identity here, shown in reachability */
	const char *name;    /* for reachability only; may be NULL */
	const char *ifname;  /* the host's end of the veth: CS_FIREWALL_PORT and more, or it might send to the host's loopback */
	uint32_t ifindex;    /* its number, if the bridge takes no frames from there but those of `mac` (IFLA_BRPORT_LOCKED). 0: all is looked up here, which takes longer */
	const char *bridge;  /* that of its network, which should have been added */
	const char *sandbox; /* the namespace's id: endpoints of one sandbox may send with each other's addresses (several networks); may be NULL */
	uint8_t mac[6];
	struct in_addr v4;   /* zero: none */
	struct in6_addr v6;
	bool antispoof;      /* frames with another MAC, source address, ARP or ND sender than these are dropped, and router advertisements */
	const struct cs_fw_addr *more; /* further addresses it may use as source (--link-local-ip, keepalived) */
	size_t n_more;
	/* Checked on each connection's first packet, both ways, also between containers of one bridge. Nothing matches: allowed, so a list of what is
	 * allowed ends with a block of everything. Answers to what was allowed pass. ARP, ND and ICMP errors are not subject to it. */
	const struct cs_firewall_acl *acls;
	size_t n_acls;
};

/* Add of an id that is there already replaces it (new ACLs, another sandbox), in one transaction. Errors: INVALID names the ACL's member.
 * Remove: unknown is success. */
CS_MUST_CHECK int cs_firewall_endpoint_add(struct cs_firewall *fw, const struct cs_firewall_endpoint *e, struct cs_err **err);
CS_MUST_CHECK int cs_firewall_endpoint_remove(struct cs_firewall *fw, const char *id, struct cs_err **err);

/* Legacy links with icc off: `from` may open connections to `to` (both AF_INET or both AF_INET6) at proto/port. Counted; remove undoes one add. */
struct cs_firewall_link {
	struct cs_fw_addr from, to;
	uint8_t proto; /* IPPROTO_TCP, _UDP, _SCTP */
	uint16_t port;
};
CS_MUST_CHECK int cs_firewall_links_add(struct cs_firewall *fw, const struct cs_firewall_link *l, size_t n, struct cs_err **err);
CS_MUST_CHECK int cs_firewall_links_remove(struct cs_firewall *fw, const struct cs_firewall_link *l, size_t n, struct cs_err **err);

struct cs_firewall_port {
	uint8_t proto;          /* IPPROTO_TCP, _UDP, _SCTP */
	struct cs_fw_addr host; /* where the host answers; the any address: on all of the host's addresses of that family, loopback too */
	uint16_t host_port;     /* 1..65535, reserved by ports.h before; ranges are one entry per port */
	struct cs_fw_addr to;   /* the container's address, of the same family */
	uint16_t to_port;
	const char *bridge;     /* that of its network, which must have been added */
	/* On 0.0.0.0: the host's processes reach it by ::1 as well, though `to` is an IPv4 address. While this process lives, by connect(2), and where BPF is
	 * to be had (else the log and reachability say so). Nobody else may have the port of ::1. */
	bool by_loopback6;
};
/* All or nothing. In networks of mode ROUTED (for the address's family) host and host_port are ignored, the port is opened at `to`; only there
 * may several entries be the same. Errors: CONFLICT (host address and port are published already), INVALID (families differ, port 0),
 * NOT_FOUND (bridge), UNSUPPORTED (an internal network). UDP flows that the kernel remembers for such a host port are forgotten, so that a
 * client that never pauses reaches the container. Remove wants the same structures; what is unknown is skipped. */
CS_MUST_CHECK int cs_firewall_ports_add(struct cs_firewall *fw, const struct cs_firewall_port *p, size_t n, struct cs_err **err);
CS_MUST_CHECK int cs_firewall_ports_remove(struct cs_firewall *fw, const struct cs_firewall_port *p, size_t n, struct cs_err **err);
/* Both in one transaction: at no moment is closed what is in both, or leads to another container's address only. When it fails, `old` stay. */
CS_MUST_CHECK int cs_firewall_ports_swap(struct cs_firewall *fw, const struct cs_firewall_port *old, size_t n_old, const struct cs_firewall_port *now, size_t n,
					 struct cs_err **err);

struct cs_firewall_lb_port {
	uint8_t proto;
	uint16_t port, to_port; /* ExternalPort, InternalPort */
};
struct cs_firewall_lb {
	const char *id;
	struct cs_fw_addr vip; /* need not be an address of the host's; packets to it must come here (it is not answered by ARP) */
	const struct cs_firewall_lb_port *ports;
	size_t n_ports;
	const struct cs_fw_addr *to; /* endpoints, of the vip's family; 1..CS_FIREWALL_LB_SLOTS. Shares are equal up to 1/420 */
	size_t n_to;
	bool sticky; /* by the client's address, else at random per connection */
};
#define CS_FIREWALL_LB_SLOTS 420 /* divisible by 1 to 7 */
/* Add of an id that is there replaces it in one transaction: connections keep their endpoint. CONFLICT: another balancer has vip and port. */
CS_MUST_CHECK int cs_firewall_lb_add(struct cs_firewall *fw, const struct cs_firewall_lb *lb, struct cs_err **err);
CS_MUST_CHECK int cs_firewall_lb_remove(struct cs_firewall *fw, const char *id, struct cs_err **err);

/* What is reachable from where, as JSON:
 * {"Enabled":true,"Table":"caisson","Intact":true,
 *  "Ports":[{"Protocol":"tcp","HostAddress":"0.0.0.0","HostPort":8080,"Address":"172.17.0.2","Port":80,"Endpoint":id,"Name":name,"Bridge":"…",
 *            "ReachableFrom":["host","containers","outside"]}],
 *  "HostChains":[{"Family":"ip","Table":"filter","Chain":"FORWARD","Hook":"forward","Priority":0,"Drops":"policy"|"last rule"}],
 *  "Warnings":["…"]}
 * HostChains are those of others which drop or reject what no rule of theirs accepts. "outside" means: as far as we and they let it. */
CS_MUST_CHECK int cs_firewall_reachability(struct cs_firewall *fw, struct cs_str *json, struct cs_err **err);
/* 0, or the errno for which there can be no BPF programs (firewall_bpf.h). */
int cs_firewall_loopback6_missing(struct cs_firewall *fw);
