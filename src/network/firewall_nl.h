/* SPDX-License-Identifier: Apache-2.0
 *
 * nf_tables and conntrack over netlink, as far as libnftables would be too slow or has no word for it: a batch of elements (one transaction,
 * two system calls, whatever the sets hold), the generation, other people's chains, forgetting UDP flows. One user at a time. */
#pragma once

#include "network/firewall_store.h"

struct mnl_socket;
struct nlmsghdr;

struct fw_nl {
	struct mnl_socket *sock;
	uint32_t portid, seq;
	size_t room; /* of the socket's send buffer */
};

CS_MUST_CHECK int fw_nl_open(struct fw_nl *nl, struct cs_err **err);
void fw_nl_close(struct fw_nl *nl); /* zeroed is closed */

/* Deletes, then adds what the touched items say. All or nothing. The error's sys is the kernel's errno: ENOENT when the table is not there. */
CS_MUST_CHECK int fw_nl_apply(struct fw_nl *nl, const char *table, const struct fw_touched *t, size_t n, struct cs_err **err);

/* Sends one request (with its number) and hands the answers to fn, which may be NULL. 0 or -errno; -EINTR: a dump that somebody's transaction has disturbed. */
#define FW_NL_TRIES 5 /* of such a dump */
int fw_nl_ask(struct fw_nl *nl, struct nlmsghdr *h, int (*fn)(const struct nlmsghdr *h, void *arg), void *arg);

/* The number of the ruleset's last transaction. */
int fw_nl_generation(struct fw_nl *nl, uint32_t *ret, struct cs_err **err);
/* Whether both tables are there. */
CS_MUST_CHECK int fw_nl_has_tables(struct fw_nl *nl, const char *table, bool *ret, struct cs_err **err);

struct fw_chain {
	uint8_t family; /* NFPROTO_* */
	char table[64], name[64];
	uint32_t hook; /* NF_INET_* */
	int32_t priority;
	bool drops_policy, drops_last; /* by its policy; by a last rule that drops or rejects everything */
};
/* Base chains of type filter in hooks input and forward of other tables (families ip, ip6, inet), those that drop what they do not accept. Free *ret. */
CS_MUST_CHECK int fw_nl_dropping_chains(struct fw_nl *nl, const char *own, struct fw_chain **ret, size_t *n, struct cs_err **err);

/* Whether others than instances of ours, whose tables' names begin with `ours`, have base chains of the family bridge. */
CS_MUST_CHECK int fw_nl_bridge_chains(struct fw_nl *nl, const char *ours, bool *ret, struct cs_err **err);

/* Forgets UDP flows of the kernel's which go to one of these host addresses and ports. Best effort. */
void fw_nl_forget_udp(struct fw_nl *nl, const struct cs_firewall_port *p, size_t n);
