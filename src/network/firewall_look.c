/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading from netfilter: chains of others that drop, and UDP flows to forget. */
#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <string.h>

#include "base/log.h"
#include "network/firewall_nl.h"

#define TYPE(subsys, x) (uint16_t)((NFNL_SUBSYS_##subsys << 8) | (x))
#define CHAINS_MAX 256
#define FLOWS_MAX 65536 /* in one go; what is left is forgotten by its timeout */

static struct nlmsghdr *request(void *at, struct fw_nl *nl, uint16_t type, uint16_t flags, uint8_t family)
{
	struct nlmsghdr *h = mnl_nlmsg_put_header(at);
	struct nfgenmsg *g;

	h->nlmsg_type = type;
	h->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	h->nlmsg_seq = ++nl->seq;
	g = mnl_nlmsg_put_extra_header(h, sizeof(*g));
	g->nfgen_family = family;
	g->version = NFNETLINK_V0;
	return h;
}

static const struct nlattr *attr(const struct nlattr *nest, uint16_t type)
{
	const struct nlattr *a;

	mnl_attr_for_each_nested(a, nest) {
		if (mnl_attr_get_type(a) == type)
			return a;
	}
	return NULL;
}

static const struct nlattr *top(const struct nlmsghdr *h, uint16_t type)
{
	const struct nlattr *a;

	mnl_attr_for_each(a, h, sizeof(struct nfgenmsg)) {
		if (mnl_attr_get_type(a) == type)
			return a;
	}
	return NULL;
}

static uint32_t be32(const struct nlattr *a) { return a && mnl_attr_get_payload_len(a) >= 4 ? ntohl(mnl_attr_get_u32(a)) : 0; }

static void copy_name(char *to, size_t room, const struct nlattr *a)
{
	size_t n = a ? strnlen(mnl_attr_get_str(a), mnl_attr_get_payload_len(a)) : 0;

	n = CS_MIN(n, room - 1);
	if (n > 0)
		memcpy(to, mnl_attr_get_str(a), n);
	to[n] = '\0';
}

/* ---- chains ---- */

struct chains {
	const char *own;
	struct fw_chain *v;
	size_t n;
	bool last_drops;
};

static int take_chain(const struct nlmsghdr *h, void *arg)
{
	struct chains *c = arg;
	const struct nfgenmsg *g = mnl_nlmsg_get_payload(h);
	const struct nlattr *hook = top(h, NFTA_CHAIN_HOOK), *type = top(h, NFTA_CHAIN_TYPE), *policy = top(h, NFTA_CHAIN_POLICY);
	struct fw_chain f = {.family = g->nfgen_family};
	char kind[16];

	if (!hook || c->n == CHAINS_MAX)
		return MNL_CB_OK;
	f.hook = be32(attr(hook, NFTA_HOOK_HOOKNUM));
	f.priority = (int32_t)be32(attr(hook, NFTA_HOOK_PRIORITY));
	f.drops_policy = policy && be32(policy) == NF_DROP;
	copy_name(kind, sizeof(kind), type);
	copy_name(f.table, sizeof(f.table), top(h, NFTA_CHAIN_TABLE));
	copy_name(f.name, sizeof(f.name), top(h, NFTA_CHAIN_NAME));
	if ((f.family != NFPROTO_INET && f.family != NFPROTO_IPV4 && f.family != NFPROTO_IPV6) || strcmp(kind, "filter") != 0 || strcmp(f.table, c->own) == 0 ||
	    (f.hook != NF_INET_LOCAL_IN && f.hook != NF_INET_FORWARD))
		return MNL_CB_OK;
	c->v = cs_xreallocarray(c->v, c->n + 1, sizeof(*c->v));
	c->v[c->n++] = f;
	return MNL_CB_OK;
}

/* Only counters before a drop or reject: nothing passes this rule. Notes what the last rule is. */
static int take_rule(const struct nlmsghdr *h, void *arg)
{
	struct chains *c = arg;
	const struct nlattr *list = top(h, NFTA_RULE_EXPRESSIONS), *e;
	bool drops = false, matches = false;

	if (!list)
		return MNL_CB_OK;
	mnl_attr_for_each_nested(e, list) {
		const struct nlattr *data = attr(e, NFTA_EXPR_DATA), *value, *code;
		char name[32];

		copy_name(name, sizeof(name), attr(e, NFTA_EXPR_NAME));
		if (strcmp(name, "counter") == 0 || strcmp(name, "log") == 0 || strcmp(name, "limit") == 0)
			continue;
		if (strcmp(name, "reject") == 0) {
			drops = true;
		} else if (strcmp(name, "immediate") == 0 && data && (value = attr(data, NFTA_IMMEDIATE_DATA)) && (code = attr(value, NFTA_DATA_VERDICT)) &&
		           (int32_t)be32(attr(code, NFTA_VERDICT_CODE)) == NF_DROP) {
			drops = true;
		} else {
			matches = true;
		}
	}
	c->last_drops = drops && !matches;
	return MNL_CB_OK;
}

static int look_at_rules(struct fw_nl *nl, struct chains *c, struct fw_chain *of)
{
	int r = -EINTR;

	for (int i = 0; i < FW_NL_TRIES && r == -EINTR; i++) {
		char buf[512];
		struct nlmsghdr *h = request(buf, nl, TYPE(NFTABLES, NFT_MSG_GETRULE), NLM_F_DUMP, of->family);

		mnl_attr_put_strz(h, NFTA_RULE_TABLE, of->table);
		mnl_attr_put_strz(h, NFTA_RULE_CHAIN, of->name);
		c->last_drops = false;
		r = fw_nl_ask(nl, h, take_rule, c);
	}
	of->drops_last = r == 0 && c->last_drops;
	return r == -ENOENT ? 0 : r; /* gone meanwhile */
}

int fw_nl_dropping_chains(struct fw_nl *nl, const char *own, struct fw_chain **ret, size_t *n, struct cs_err **err)
{
	struct chains c = {.own = own};
	size_t kept = 0;
	int r = -EINTR;

	for (int i = 0; i < FW_NL_TRIES && r == -EINTR; i++) {
		char buf[512];

		c.n = 0;
		r = fw_nl_ask(nl, request(buf, nl, TYPE(NFTABLES, NFT_MSG_GETCHAIN), NLM_F_DUMP, AF_UNSPEC), take_chain, &c);
	}
	for (size_t i = 0; r >= 0 && i < c.n; i++) {
		if (!c.v[i].drops_policy) /* else its rules do not matter */
			r = look_at_rules(nl, &c, &c.v[i]);
	}
	if (r < 0) {
		free(c.v);
		return cs_fail(err, CS_ERR_INTERNAL, -r, "read the host's chains");
	}
	for (size_t i = 0; i < c.n; i++) {
		if (c.v[i].drops_policy || c.v[i].drops_last)
			c.v[kept++] = c.v[i];
	}
	*ret = c.v;
	*n = kept;
	return 0;
}

struct others {
	const char *ours;
	bool found;
};

static int take_other(const struct nlmsghdr *h, void *arg)
{
	struct others *o = arg;
	char table[64];

	copy_name(table, sizeof(table), top(h, NFTA_CHAIN_TABLE));
	o->found |= top(h, NFTA_CHAIN_HOOK) && !cs_prefix(table, o->ours);
	return MNL_CB_OK;
}

int fw_nl_bridge_chains(struct fw_nl *nl, const char *ours, bool *ret, struct cs_err **err)
{
	struct others o = {.ours = ours};
	int r = -EINTR;

	for (int i = 0; i < FW_NL_TRIES && r == -EINTR; i++) {
		char buf[512];

		r = fw_nl_ask(nl, request(buf, nl, TYPE(NFTABLES, NFT_MSG_GETCHAIN), NLM_F_DUMP, NFPROTO_BRIDGE), take_other, &o);
	}
	if (r < 0)
		return cs_fail(err, CS_ERR_INTERNAL, -r, "read the host's chains for bridges");
	*ret = o.found;
	return 0;
}

/* ---- UDP flows ---- */

struct flows {
	const struct cs_firewall_port *p;
	size_t n;
	uint8_t *ports; /* bits of the host ports asked for */
	struct cs_str found; /* one delete request after another, each preceded by nothing: nlmsg_len leads on */
	size_t count;
};

static int take_flow(const struct nlmsghdr *h, void *arg)
{
	struct flows *f = arg;
	const struct nfgenmsg *g = mnl_nlmsg_get_payload(h);
	const struct nlattr *orig = top(h, CTA_TUPLE_ORIG), *zone = top(h, CTA_ZONE), *ip = orig ? attr(orig, CTA_TUPLE_IP) : NULL, *proto = orig ? attr(orig, CTA_TUPLE_PROTO) : NULL;
	const struct nlattr *number = proto ? attr(proto, CTA_PROTO_NUM) : NULL, *port = proto ? attr(proto, CTA_PROTO_DST_PORT) : NULL;
	const struct nlattr *daddr = ip ? attr(ip, g->nfgen_family == AF_INET ? CTA_IP_V4_DST : CTA_IP_V6_DST) : NULL;
	uint16_t dport;
	bool match = false;

	if (!number || mnl_attr_get_u8(number) != IPPROTO_UDP || !port || !daddr || f->count == FLOWS_MAX)
		return MNL_CB_OK;
	dport = ntohs(mnl_attr_get_u16(port));
	if (!(f->ports[dport / 8] & 1u << dport % 8))
		return MNL_CB_OK;
	for (size_t i = 0; i < f->n && !match; i++) {
		const struct cs_firewall_port *p = &f->p[i];

		match = p->proto == IPPROTO_UDP && p->host_port == dport && p->host.family == g->nfgen_family &&
		        (fw_addr_is_any(&p->host) || memcmp(p->host.bytes, mnl_attr_get_payload(daddr), mnl_attr_get_payload_len(daddr)) == 0);
	}
	if (!match)
		return MNL_CB_OK;
	void *at = cs_str_reserve(&f->found, 1024);
	struct fw_nl none = {0};
	struct nlmsghdr *d;
	if (!at)
		return MNL_CB_OK;
	d = request(at, &none, TYPE(CTNETLINK, IPCTNL_MSG_CT_DELETE), NLM_F_ACK, g->nfgen_family);
	mnl_attr_put(d, CTA_TUPLE_ORIG | NLA_F_NESTED, mnl_attr_get_payload_len(orig), mnl_attr_get_payload(orig));
	if (zone)
		mnl_attr_put(d, CTA_ZONE, mnl_attr_get_payload_len(zone), mnl_attr_get_payload(zone));
	f->found.len += d->nlmsg_len;
	f->count++;
	return MNL_CB_OK;
}

void fw_nl_forget_udp(struct fw_nl *nl, const struct cs_firewall_port *p, size_t n)
{
	static const uint8_t families[2] = {AF_INET, AF_INET6};
	struct flows f = {.p = p, .n = n, .found = CS_STR_INIT((size_t)64 << 20)};
	bool wanted[2] = {false, false};

	for (size_t i = 0; i < n; i++) {
		if (p[i].proto != IPPROTO_UDP)
			continue;
		if (!f.ports)
			f.ports = cs_xcalloc(1, 65536 / 8);
		f.ports[p[i].host_port / 8] |= (uint8_t)(1u << p[i].host_port % 8);
		wanted[p[i].host.family == AF_INET6] = true;
	}
	for (int i = 0; f.ports && i < 2; i++) {
		char buf[256];

		if (wanted[i])
			(void)fw_nl_ask(nl, request(buf, nl, TYPE(CTNETLINK, IPCTNL_MSG_CT_GET), NLM_F_DUMP, families[i]), take_flow, &f);
	}
	for (size_t at = 0; at < f.found.len;) {
		struct nlmsghdr *h = (void *)(f.found.buf + at);

		h->nlmsg_seq = ++nl->seq;
		at += h->nlmsg_len;
		(void)fw_nl_ask(nl, h, NULL, NULL); /* gone meanwhile is as good */
	}
	if (f.count > 0)
		cs_debug("network", "firewall: %zu UDP flows to published ports forgotten", f.count);
	cs_str_done(&f.found);
	free(f.ports);
}
