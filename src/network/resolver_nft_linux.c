/* SPDX-License-Identifier: Apache-2.0
 *
 * The table caisson_dns of a container's namespace, made in one netlink transaction:
 *
 *	table ip caisson_dns {
 *		chain to   { type filter hook output priority raw;  ip daddr 127.0.0.11 udp dport 53 udp dport set PORT; (tcp likewise) }
 *		chain from { type filter hook output priority 300;  ip saddr 127.0.0.11 udp sport PORT udp sport set 53; (tcp likewise) }
 *	}
 *
 * Ports are rewritten without NAT, for Docker's way, DNAT, takes an entry of conntrack for each query: ten thousand queries in a second
 * fill a host's table in half a minute. Queries are rewritten before conntrack's hook (-200) and answers behind it, so if the container has
 * a firewall with state of its own, it sees one connection with port PORT, both ways. */
#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "network/resolver_internal.h"

#define TABLE "caisson_dns"
#define BATCH_BYTES 8192
#define REG_KEY NFT_REG_1

struct batch {
	uint8_t *buf;
	size_t len;
	uint32_t seq;
};

static struct nlmsghdr *begin(struct batch *b, uint16_t type, uint16_t flags, uint8_t family, uint16_t res_id)
{
	struct nlmsghdr *h = mnl_nlmsg_put_header(b->buf + b->len);
	struct nfgenmsg *g;

	h->nlmsg_type = type;
	h->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	h->nlmsg_seq = ++b->seq;
	g = mnl_nlmsg_put_extra_header(h, sizeof(*g));
	g->nfgen_family = family;
	g->version = NFNETLINK_V0;
	g->res_id = htons(res_id);
	return h;
}

static struct nlmsghdr *command(struct batch *b, unsigned type, uint16_t flags)
{
	return begin(b, (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type), flags, NFPROTO_IPV4, 0);
}

static void end(struct batch *b, const struct nlmsghdr *h) { b->len += NLMSG_ALIGN(h->nlmsg_len); }

static void mark(struct batch *b, uint16_t type) { end(b, begin(b, type, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES)); }

static void table(struct batch *b, unsigned type, uint16_t flags)
{
	struct nlmsghdr *h = command(b, type, flags);

	mnl_attr_put_strz(h, NFTA_TABLE_NAME, TABLE);
	end(b, h);
}

static void chain(struct batch *b, const char *name, int priority)
{
	struct nlmsghdr *h = command(b, NFT_MSG_NEWCHAIN, NLM_F_CREATE);
	struct nlattr *hook;

	mnl_attr_put_strz(h, NFTA_CHAIN_TABLE, TABLE);
	mnl_attr_put_strz(h, NFTA_CHAIN_NAME, name);
	mnl_attr_put_strz(h, NFTA_CHAIN_TYPE, "filter");
	hook = mnl_attr_nest_start(h, NFTA_CHAIN_HOOK);
	mnl_attr_put_u32(h, NFTA_HOOK_HOOKNUM, htonl(NF_INET_LOCAL_OUT));
	mnl_attr_put_u32(h, NFTA_HOOK_PRIORITY, htonl((uint32_t)priority));
	mnl_attr_nest_end(h, hook);
	end(b, h);
}

static void data(struct nlmsghdr *h, uint16_t attr, const void *value, size_t len)
{
	struct nlattr *nest = mnl_attr_nest_start(h, attr);

	mnl_attr_put(h, NFTA_DATA_VALUE, len, value);
	mnl_attr_nest_end(h, nest);
}

static struct nlattr *expr(struct nlmsghdr *h, const char *name, struct nlattr **elem)
{
	*elem = mnl_attr_nest_start(h, NFTA_LIST_ELEM);
	mnl_attr_put_strz(h, NFTA_EXPR_NAME, name);
	return mnl_attr_nest_start(h, NFTA_EXPR_DATA);
}

static void done(struct nlmsghdr *h, struct nlattr *inner, struct nlattr *elem)
{
	mnl_attr_nest_end(h, inner);
	mnl_attr_nest_end(h, elem);
}

static void equals(struct nlmsghdr *h, const void *value, size_t len)
{
	struct nlattr *elem, *e = expr(h, "cmp", &elem);

	mnl_attr_put_u32(h, NFTA_CMP_SREG, htonl(REG_KEY));
	mnl_attr_put_u32(h, NFTA_CMP_OP, htonl(NFT_CMP_EQ));
	data(h, NFTA_CMP_DATA, value, len);
	done(h, e, elem);
}

static void match_protocol(struct nlmsghdr *h, uint8_t protocol)
{
	struct nlattr *elem, *e = expr(h, "meta", &elem);

	mnl_attr_put_u32(h, NFTA_META_DREG, htonl(REG_KEY));
	mnl_attr_put_u32(h, NFTA_META_KEY, htonl(NFT_META_L4PROTO));
	done(h, e, elem);
	equals(h, &protocol, 1);
}

static void match_payload(struct nlmsghdr *h, uint32_t base, uint32_t offset, const void *value, uint32_t len)
{
	struct nlattr *elem, *e = expr(h, "payload", &elem);

	mnl_attr_put_u32(h, NFTA_PAYLOAD_DREG, htonl(REG_KEY));
	mnl_attr_put_u32(h, NFTA_PAYLOAD_BASE, htonl(base));
	mnl_attr_put_u32(h, NFTA_PAYLOAD_OFFSET, htonl(offset));
	mnl_attr_put_u32(h, NFTA_PAYLOAD_LEN, htonl(len));
	done(h, e, elem);
	equals(h, value, len);
}

static void set_port(struct nlmsghdr *h, uint32_t offset, uint16_t port, uint32_t checksum)
{
	uint16_t value = htons(port);
	struct nlattr *elem, *e = expr(h, "immediate", &elem);

	mnl_attr_put_u32(h, NFTA_IMMEDIATE_DREG, htonl(REG_KEY));
	data(h, NFTA_IMMEDIATE_DATA, &value, sizeof(value));
	done(h, e, elem);

	e = expr(h, "payload", &elem);
	mnl_attr_put_u32(h, NFTA_PAYLOAD_SREG, htonl(REG_KEY));
	mnl_attr_put_u32(h, NFTA_PAYLOAD_BASE, htonl(NFT_PAYLOAD_TRANSPORT_HEADER));
	mnl_attr_put_u32(h, NFTA_PAYLOAD_OFFSET, htonl(offset));
	mnl_attr_put_u32(h, NFTA_PAYLOAD_LEN, htonl(sizeof(value)));
	mnl_attr_put_u32(h, NFTA_PAYLOAD_CSUM_TYPE, htonl(NFT_PAYLOAD_CSUM_INET));
	mnl_attr_put_u32(h, NFTA_PAYLOAD_CSUM_OFFSET, htonl(checksum));
	done(h, e, elem);
}

/* In the chain: protocol, 127.0.0.11 in the address at `ip_offset`, port `is` at `port_offset` becomes `set`. */
static void rule(struct batch *b, const char *in, uint8_t protocol, uint32_t ip_offset, uint32_t port_offset, uint16_t is, uint16_t set, uint16_t flags)
{
	struct nlmsghdr *h = command(b, NFT_MSG_NEWRULE, (uint16_t)(NLM_F_CREATE | NLM_F_APPEND | flags));
	struct in_addr address = {inet_addr(CS_RESOLVER_ADDRESS)};
	uint16_t port = htons(is);
	struct nlattr *list;

	mnl_attr_put_strz(h, NFTA_RULE_TABLE, TABLE);
	mnl_attr_put_strz(h, NFTA_RULE_CHAIN, in);
	list = mnl_attr_nest_start(h, NFTA_RULE_EXPRESSIONS);
	match_protocol(h, protocol);
	match_payload(h, NFT_PAYLOAD_NETWORK_HEADER, ip_offset, &address, sizeof(address));
	match_payload(h, NFT_PAYLOAD_TRANSPORT_HEADER, port_offset, &port, sizeof(port));
	set_port(h, port_offset, set, protocol == IPPROTO_UDP ? 6 : 16);
	mnl_attr_nest_end(h, list);
	end(b, h);
}

static void fill(struct batch *b, uint16_t udp, uint16_t tcp, bool replace)
{
	mark(b, NFNL_MSG_BATCH_BEGIN);
	if (replace)
		table(b, NFT_MSG_DELTABLE, 0);
	table(b, NFT_MSG_NEWTABLE, NLM_F_CREATE | NLM_F_EXCL);
	chain(b, "to", -300);
	chain(b, "from", 300);
	rule(b, "to", IPPROTO_UDP, 16, 2, 53, udp, 0);
	rule(b, "to", IPPROTO_TCP, 16, 2, 53, tcp, 0);
	rule(b, "from", IPPROTO_UDP, 12, 0, udp, 53, 0);
	rule(b, "from", IPPROTO_TCP, 12, 0, tcp, 53, NLM_F_ACK);
	mark(b, NFNL_MSG_BATCH_END);
}

/* Until the last rule is confirmed, or something has failed. 0 or -errno. */
static int confirm(struct mnl_socket *nl, uint32_t last)
{
	uint8_t buf[8192];

	for (;;) {
		ssize_t n = mnl_socket_recvfrom(nl, buf, sizeof(buf));
		if (n < 0)
			return -errno;
		int left = (int)n;
		for (const struct nlmsghdr *h = (const void *)buf; mnl_nlmsg_ok(h, left); h = mnl_nlmsg_next(h, &left)) {
			const struct nlmsgerr *e = mnl_nlmsg_get_payload(h);
			if (h->nlmsg_type != NLMSG_ERROR)
				continue;
			if (e->error || h->nlmsg_seq == last)
				return e->error;
		}
	}
}

static int commit(uint16_t udp, uint16_t tcp, bool replace)
{
	cs_autofree uint8_t *buf = cs_xcalloc(1, BATCH_BYTES);
	struct batch b = {.buf = buf};
	struct timeval patience = {.tv_sec = 5};
	struct mnl_socket *nl = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
	int e = 0;

	if (!nl)
		return -errno;
	fill(&b, udp, tcp, replace);
	(void)setsockopt(mnl_socket_get_fd(nl), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) < 0 || mnl_socket_sendto(nl, b.buf, b.len) < 0)
		e = -errno;
	if (e == 0)
		e = confirm(nl, b.seq - 1);
	(void)mnl_socket_close(nl);
	return e;
}

int cs_resolver_map_ports(uint16_t udp, uint16_t tcp)
{
	int e = commit(udp, tcp, false);

	if (e == -ENOMEM || e == -ENOBUFS || e == -EAGAIN) /* will pass, and perhaps only the answer was lost: then port 53 is mapped */
		e = commit(udp, tcp, false);
	/* A dead daemon's. Not deleted on suspicion: the socket's close waits for the end of what was deleted, 15 ms for the kernel's grace periods. */
	return e == -EEXIST ? commit(udp, tcp, true) : e;
}
