/* SPDX-License-Identifier: Apache-2.0 */
#include "network/links.h"

#include <linux/if_addr.h>
#include <linux/if_bridge.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/neighbour.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/veth.h>

#ifndef IFLA_GSO_IPV4_MAX_SIZE /* Linux 6.3 */
#define IFLA_GSO_IPV4_MAX_SIZE 63
#endif
#define OPER_UP 6 /* IF_OPER_UP (RFC 2863) of linux/if.h, which net/if.h excludes */
#define NEW (NLM_F_CREATE | NLM_F_EXCL)

static struct nlmsghdr *link_message(struct cs_nl *b, uint16_t type, uint16_t flags, int index, const char *name, const char *what, int tolerate)
{
	struct ifinfomsg ifi = {.ifi_index = index};
	struct nlmsghdr *h = cs_nl_add(b, type, flags, &ifi, sizeof(ifi), what, tolerate);

	if (name)
		mnl_attr_put_strz(h, IFLA_IFNAME, name);
	return h;
}

/* ---- new links ---- */

struct kind {
	struct nlattr *info, *data;
};

static struct kind kind_start(struct nlmsghdr *h, const char *kind)
{
	struct kind k = {.info = mnl_attr_nest_start(h, IFLA_LINKINFO)};

	mnl_attr_put_str(h, IFLA_INFO_KIND, kind);
	k.data = mnl_attr_nest_start(h, IFLA_INFO_DATA);
	return k;
}

static void kind_end(struct nlmsghdr *h, struct kind k)
{
	mnl_attr_nest_end(h, k.data);
	mnl_attr_nest_end(h, k.info);
}

void cs_link_add_veth(struct cs_nl *b, const char *name, int peer_ns, const char *peer_name)
{
	struct nlmsghdr *h = link_message(b, RTM_NEWLINK, NEW, 0, name, "create a veth pair", 0);

	mnl_attr_put_u32(h, IFLA_GSO_IPV4_MAX_SIZE, CS_LINK_GSO);
	struct kind k = kind_start(h, "veth");
	struct nlattr *peer = mnl_attr_nest_start(h, VETH_INFO_PEER);

	(void)mnl_nlmsg_put_extra_header(h, sizeof(struct ifinfomsg));
	mnl_attr_put_strz(h, IFLA_IFNAME, peer_name);
	if (peer_ns >= 0)
		mnl_attr_put_u32(h, IFLA_NET_NS_FD, (uint32_t)peer_ns);
	mnl_attr_nest_end(h, peer);
	kind_end(h, k);
}

void cs_link_add_bridge(struct cs_nl *b, const char *name, const uint8_t mac[6])
{
	struct nlmsghdr *h = link_message(b, RTM_NEWLINK, NEW, 0, name, "create a bridge", 0);

	mnl_attr_put(h, IFLA_ADDRESS, 6, mac);
	struct kind k = kind_start(h, "bridge");
	mnl_attr_put_u32(h, IFLA_BR_FORWARD_DELAY, 0);
	mnl_attr_put_u32(h, IFLA_BR_STP_STATE, 0);
	kind_end(h, k);
}

static void put_ip(struct nlmsghdr *h, uint16_t type, struct cs_ip ip)
{
	uint8_t bytes[16];

	mnl_attr_put(h, type, cs_ip_bytes(ip, bytes), bytes);
}

void cs_link_add_vxlan(struct cs_nl *b, const char *name, uint32_t id, uint16_t port, struct cs_ip local, int parent)
{
	struct nlmsghdr *h = link_message(b, RTM_NEWLINK, NEW, 0, name, "create a VXLAN port", 0);
	struct kind k = kind_start(h, "vxlan");

	mnl_attr_put_u32(h, IFLA_VXLAN_ID, id);
	mnl_attr_put_u16(h, IFLA_VXLAN_PORT, htons(port));
	mnl_attr_put_u8(h, IFLA_VXLAN_LEARNING, 1);
	if (local.family)
		put_ip(h, local.family == AF_INET ? IFLA_VXLAN_LOCAL : IFLA_VXLAN_LOCAL6, local);
	if (parent > 0)
		mnl_attr_put_u32(h, IFLA_VXLAN_LINK, (uint32_t)parent);
	kind_end(h, k);
}

static struct nlmsghdr *on_parent(struct cs_nl *b, int parent, int ns, const char *name, const char *what)
{
	struct nlmsghdr *h = link_message(b, RTM_NEWLINK, NEW, 0, name, what, 0);

	mnl_attr_put_u32(h, IFLA_LINK, (uint32_t)parent);
	if (ns >= 0)
		mnl_attr_put_u32(h, IFLA_NET_NS_FD, (uint32_t)ns);
	return h;
}

void cs_link_add_macvlan(struct cs_nl *b, int parent, int ns, const char *name, const uint8_t mac[6], uint32_t mode)
{
	struct nlmsghdr *h = on_parent(b, parent, ns, name, "create a macvlan");

	mnl_attr_put(h, IFLA_ADDRESS, 6, mac);
	struct kind k = kind_start(h, "macvlan");
	mnl_attr_put_u32(h, IFLA_MACVLAN_MODE, mode);
	kind_end(h, k);
}

void cs_link_add_ipvlan(struct cs_nl *b, int parent, int ns, const char *name, uint16_t mode, uint16_t flags)
{
	struct nlmsghdr *h = on_parent(b, parent, ns, name, "create an ipvlan");
	struct kind k = kind_start(h, "ipvlan");

	mnl_attr_put_u16(h, IFLA_IPVLAN_MODE, mode);
	mnl_attr_put_u16(h, IFLA_IPVLAN_FLAGS, flags);
	kind_end(h, k);
}

void cs_link_add_vlan(struct cs_nl *b, int parent, const char *name, uint16_t id)
{
	struct nlmsghdr *h = on_parent(b, parent, -1, name, "create a VLAN");
	struct kind k = kind_start(h, "vlan");

	mnl_attr_put_u16(h, IFLA_VLAN_ID, id);
	kind_end(h, k);
}

/* ---- changes ---- */

/* The kernel's numbers of net.ipv4.conf.* (linux/ip.h), which netlink takes as attributes. */
static void put_ipv4_conf(struct nlmsghdr *h, const struct cs_link_change *c)
{
	struct nlattr *inet = mnl_attr_nest_start(h, AF_INET);
	struct nlattr *conf = mnl_attr_nest_start(h, IFLA_INET_CONF);

	if (c->route_localnet)
		mnl_attr_put_u32(h, IPV4_DEVCONF_ROUTE_LOCALNET, 1);
	if (c->arp_notify)
		mnl_attr_put_u32(h, IPV4_DEVCONF_ARP_NOTIFY, 1);
	if (c->deaf) { /* the first is loose where the host's is, for all links */
		mnl_attr_put_u32(h, IPV4_DEVCONF_RP_FILTER, 1);
		mnl_attr_put_u32(h, IPV4_DEVCONF_DROP_UNICAST_IN_L2_MULTICAST, 1);
	}
	mnl_attr_nest_end(h, conf);
	mnl_attr_nest_end(h, inet);
}

void cs_link_set(struct cs_nl *b, const struct cs_link_change *c, const char *what)
{
	unsigned flags = (c->up ? IFF_UP : 0) | (c->no_arp ? IFF_NOARP : 0);
	struct ifinfomsg ifi = {.ifi_index = c->index, .ifi_flags = flags, .ifi_change = flags};
	struct nlmsghdr *h = cs_nl_add(b, RTM_SETLINK, 0, &ifi, sizeof(ifi), what, 0);

	if (c->index == 0)
		mnl_attr_put_strz(h, IFLA_IFNAME, c->name);
	if (c->mac)
		mnl_attr_put(h, IFLA_ADDRESS, 6, c->mac);
	if (c->mtu)
		mnl_attr_put_u32(h, IFLA_MTU, c->mtu);
	if (c->gso)
		mnl_attr_put_u32(h, IFLA_GSO_IPV4_MAX_SIZE, c->gso);
	if (c->alias)
		mnl_attr_put_str(h, IFLA_IFALIAS, c->alias);
	if (c->master)
		mnl_attr_put_u32(h, IFLA_MASTER, c->master);
	if (c->no_ipv6_addr || c->route_localnet || c->arp_notify || c->deaf) {
		struct nlattr *spec = mnl_attr_nest_start(h, IFLA_AF_SPEC);
		if (c->no_ipv6_addr) {
			struct nlattr *inet6 = mnl_attr_nest_start(h, AF_INET6);
			mnl_attr_put_u8(h, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
			mnl_attr_nest_end(h, inet6);
		}
		if (c->route_localnet || c->arp_notify || c->deaf)
			put_ipv4_conf(h, c);
		mnl_attr_nest_end(h, spec);
	}
}

void cs_link_rename(struct cs_nl *b, int index, const char *to)
{
	struct ifinfomsg ifi = {.ifi_index = index};
	struct nlmsghdr *h = cs_nl_add(b, RTM_SETLINK, 0, &ifi, sizeof(ifi), "name the interface", 0);

	mnl_attr_put_strz(h, IFLA_IFNAME, to);
}

void cs_link_set_gso(struct cs_nl *b, int index, uint32_t gso)
{
	mnl_attr_put_u32(link_message(b, RTM_SETLINK, 0, index, NULL, "set the size of packets", EINVAL), IFLA_GSO_IPV4_MAX_SIZE, gso);
}

void cs_link_set_port(struct cs_nl *b, int index, const struct cs_link_port *p)
{
	struct nlmsghdr *h = link_message(b, RTM_NEWLINK, 0, index, NULL, "set up a bridge's port", 0);
	struct nlattr *info = mnl_attr_nest_start(h, IFLA_LINKINFO);

	mnl_attr_put_str(h, IFLA_INFO_SLAVE_KIND, "bridge");
	struct nlattr *data = mnl_attr_nest_start(h, IFLA_INFO_SLAVE_DATA);
	mnl_attr_put_u8(h, IFLA_BRPORT_ISOLATED, p->isolated);
	mnl_attr_put_u8(h, IFLA_BRPORT_MODE, p->hairpin);
	mnl_attr_put_u8(h, IFLA_BRPORT_LEARNING, !p->mac);
	mnl_attr_put_u8(h, IFLA_BRPORT_LOCKED, p->mac != NULL);
	if (p->mac && p->in_use) /* of a locked port the bridge takes whom it has seen there before */
		mnl_attr_put(h, IFLA_BRPORT_FLUSH, 0, NULL);
	mnl_attr_nest_end(h, data);
	mnl_attr_nest_end(h, info);
	if (p->mac)
		cs_bridge_fdb_add(b, index, p->mac);
}

void cs_link_del(struct cs_nl *b, int index) { (void)link_message(b, RTM_DELLINK, 0, index, NULL, "delete a link", ENODEV); }
void cs_link_del_name(struct cs_nl *b, const char *name) { (void)link_message(b, RTM_DELLINK, 0, 0, name, "delete a link", ENODEV); }

void cs_link_set_group(struct cs_nl *b, int index, uint32_t group)
{
	struct nlmsghdr *h = link_message(b, RTM_SETLINK, 0, index, NULL, "group links", ENODEV);

	mnl_attr_put_u32(h, IFLA_GROUP, group);
}

void cs_link_del_group(struct cs_nl *b, uint32_t group)
{
	struct nlmsghdr *h = link_message(b, RTM_DELLINK, 0, 0, NULL, "delete links", ENODEV);

	mnl_attr_put_u32(h, IFLA_GROUP, group);
}

/* ---- addresses, routes, neighbours ---- */

static void address(struct cs_nl *b, uint16_t type, uint16_t flags, int index, struct cs_prefix a, const char *what, int tolerate)
{
	struct ifaddrmsg ifa = {.ifa_family = a.ip.family, .ifa_prefixlen = a.len, .ifa_index = (unsigned)index,
				.ifa_flags = a.ip.family == AF_INET6 ? IFA_F_NODAD : 0};
	struct nlmsghdr *h = cs_nl_add(b, type, flags, &ifa, sizeof(ifa), what, tolerate);

	if (a.ip.family == AF_INET && cs_prefix_has((struct cs_prefix){{0xA9FE0000, AF_INET}, 16}, a.ip))
		((struct ifaddrmsg *)mnl_nlmsg_get_payload(h))->ifa_scope = RT_SCOPE_LINK;
	put_ip(h, IFA_LOCAL, a.ip);
	put_ip(h, IFA_ADDRESS, a.ip);
	if (a.ip.family == AF_INET && a.len < 31)
		put_ip(h, IFA_BROADCAST, (struct cs_ip){cs_prefix_last(a), AF_INET});
}

void cs_addr_add(struct cs_nl *b, int index, struct cs_prefix a, int tolerate)
{
	address(b, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, index, a, "add an address", tolerate);
}

void cs_addr_del(struct cs_nl *b, int index, struct cs_prefix a) { address(b, RTM_DELADDR, 0, index, a, "remove an address", EADDRNOTAVAIL); }

static void route(struct cs_nl *b, uint16_t type, uint16_t flags, const struct cs_route *r, const char *what, int tolerate)
{
	struct rtmsg rtm = {.rtm_family = r->to.ip.family, .rtm_dst_len = r->to.len, .rtm_table = RT_TABLE_MAIN, .rtm_protocol = RTPROT_STATIC,
			    .rtm_scope = r->via.family || r->to.ip.family == AF_INET6 ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK, .rtm_type = RTN_UNICAST,
			    .rtm_flags = r->onlink ? RTNH_F_ONLINK : 0};
	if (type == RTM_DELROUTE)
		rtm.rtm_scope = RT_SCOPE_NOWHERE;
	struct nlmsghdr *h = cs_nl_add(b, type, flags, &rtm, sizeof(rtm), what, tolerate);

	if (r->to.len)
		put_ip(h, RTA_DST, cs_prefix_base(r->to));
	if (r->via.family)
		put_ip(h, RTA_GATEWAY, r->via);
	mnl_attr_put_u32(h, RTA_OIF, (uint32_t)r->index);
	if (r->metric)
		mnl_attr_put_u32(h, RTA_PRIORITY, r->metric);
}

void cs_route_set(struct cs_nl *b, const struct cs_route *r) { route(b, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, r, "set a route", 0); }
void cs_route_del(struct cs_nl *b, const struct cs_route *r) { route(b, RTM_DELROUTE, 0, r, "remove a route", ESRCH); }

static void fdb(struct cs_nl *b, uint16_t type, uint16_t flags, int index, const uint8_t *mac, struct cs_ip at, uint32_t vni, const char *what)
{
	static const uint8_t all[6];
	struct ndmsg nd = {.ndm_family = AF_BRIDGE, .ndm_ifindex = index, .ndm_state = NUD_NOARP | NUD_PERMANENT, .ndm_flags = NTF_SELF};
	struct nlmsghdr *h = cs_nl_add(b, type, flags, &nd, sizeof(nd), what, type == RTM_DELNEIGH ? ENOENT : EEXIST);

	mnl_attr_put(h, NDA_LLADDR, 6, mac ? mac : all);
	put_ip(h, NDA_DST, at);
	if (vni)
		mnl_attr_put_u32(h, NDA_VNI, vni);
}

void cs_fdb_add(struct cs_nl *b, int index, const uint8_t *mac, struct cs_ip at, uint32_t vni)
{
	/* everything unknown goes to all peers: append; a known address has one place: replace */
	fdb(b, RTM_NEWNEIGH, NLM_F_CREATE | (mac ? NLM_F_REPLACE : NLM_F_APPEND), index, mac, at, vni, "tell a peer");
}

void cs_fdb_del(struct cs_nl *b, int index, const uint8_t *mac, struct cs_ip at, uint32_t vni)
{
	fdb(b, RTM_DELNEIGH, 0, index, mac, at, vni, "remove a peer");
}

static void bridge_fdb(struct cs_nl *b, uint16_t type, uint16_t flags, int port, const uint8_t mac[6], int tolerate)
{
	struct ndmsg nd = {.ndm_family = AF_BRIDGE, .ndm_ifindex = port, .ndm_state = NUD_NOARP, .ndm_flags = NTF_MASTER};
	struct nlmsghdr *h = cs_nl_add(b, type, flags, &nd, sizeof(nd), "tell the bridge an address", tolerate);

	mnl_attr_put(h, NDA_LLADDR, 6, mac);
}

void cs_bridge_fdb_add(struct cs_nl *b, int port, const uint8_t mac[6]) { bridge_fdb(b, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, port, mac, 0); }
void cs_bridge_fdb_del(struct cs_nl *b, int port, const uint8_t mac[6]) { bridge_fdb(b, RTM_DELNEIGH, 0, port, mac, ENOENT); }

void cs_link_suppress_neigh(struct cs_nl *b, int port)
{
	struct nlmsghdr *h = link_message(b, RTM_NEWLINK, 0, port, NULL, "set up the VXLAN port", 0);
	struct nlattr *info = mnl_attr_nest_start(h, IFLA_LINKINFO);

	mnl_attr_put_str(h, IFLA_INFO_SLAVE_KIND, "bridge");
	struct nlattr *data = mnl_attr_nest_start(h, IFLA_INFO_SLAVE_DATA);
	mnl_attr_put_u8(h, IFLA_BRPORT_NEIGH_SUPPRESS, 1);
	mnl_attr_nest_end(h, data);
	mnl_attr_nest_end(h, info);
}

void cs_neigh_add(struct cs_nl *b, int index, struct cs_ip ip, const uint8_t mac[6])
{
	struct ndmsg nd = {.ndm_family = ip.family, .ndm_ifindex = index, .ndm_state = NUD_PERMANENT};
	struct nlmsghdr *h = cs_nl_add(b, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, &nd, sizeof(nd), "tell a neighbour", 0);

	put_ip(h, NDA_DST, ip);
	mnl_attr_put(h, NDA_LLADDR, 6, mac);
}

void cs_neigh_del(struct cs_nl *b, int index, struct cs_ip ip)
{
	struct ndmsg nd = {.ndm_family = ip.family, .ndm_ifindex = index};

	put_ip(cs_nl_add(b, RTM_DELNEIGH, 0, &nd, sizeof(nd), "forget a neighbour", ENOENT), NDA_DST, ip);
}

/* A token bucket (tc-tbf(8)). The bucket holds 10 ms, at least one full-size GSO packet, so that those travel whole; the queue 50 ms. */
void cs_rate_set(struct cs_nl *b, int index, uint64_t rate)
{
	struct tcmsg tc = {.tcm_family = AF_UNSPEC, .tcm_ifindex = index, .tcm_handle = 0x10000, .tcm_parent = TC_H_ROOT};

	if (!rate) {
		tc.tcm_handle = 0;
		(void)cs_nl_add(b, RTM_DELQDISC, 0, &tc, sizeof(tc), "lift the bandwidth limit", ENOENT);
		return;
	}
	struct nlmsghdr *h = cs_nl_add(b, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, &tc, sizeof(tc), "limit the bandwidth", 0);
	uint64_t burst = CS_MAX(rate / 100, 66000u), limit = rate / 20 + burst;
	/* the kernel's ticks of 64 ns (NET_SCHED: PSCHED_SHIFT 6); TCA_TBF_BURST below is what counts, this is for those who read it */
	uint64_t ticks = burst * 1000000000ull / rate >> 6;
	struct tc_tbf_qopt q = {.rate = {.rate = rate > UINT32_MAX ? UINT32_MAX : (uint32_t)rate, .linklayer = TC_LINKLAYER_ETHERNET},
				.limit = limit > INT32_MAX ? INT32_MAX : (uint32_t)limit, .buffer = ticks > UINT32_MAX ? UINT32_MAX : (uint32_t)ticks};

	mnl_attr_put_strz(h, TCA_KIND, "tbf");
	struct nlattr *options = mnl_attr_nest_start(h, TCA_OPTIONS);
	mnl_attr_put(h, TCA_TBF_PARMS, sizeof(q), &q);
	mnl_attr_put_u32(h, TCA_TBF_BURST, burst > UINT32_MAX ? UINT32_MAX : (uint32_t)burst);
	if (rate > UINT32_MAX)
		mnl_attr_put_u64(h, TCA_TBF_RATE64, rate);
	mnl_attr_nest_end(h, options);
}

void cs_ingress_add(struct cs_nl *b, int index)
{
	struct tcmsg tc = {.tcm_family = AF_UNSPEC, .tcm_ifindex = index, .tcm_handle = TC_H_MAKE(TC_H_CLSACT, 0), .tcm_parent = TC_H_CLSACT};

	mnl_attr_put_strz(cs_nl_add(b, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, &tc, sizeof(tc), "classify what comes in", CS_NL_ANY), TCA_KIND, "clsact");
}

static struct nlmsghdr *filter(struct cs_nl *b, uint16_t type, uint16_t flags, int index, uint16_t priority, uint32_t handle, const char *what)
{
	struct tcmsg tc = {.tcm_family = AF_UNSPEC, .tcm_ifindex = index, .tcm_handle = handle, .tcm_parent = TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS),
			   .tcm_info = TC_H_MAKE((uint32_t)priority << 16, htons(ETH_P_ALL))};
	struct nlmsghdr *h = cs_nl_add(b, type, flags, &tc, sizeof(tc), what, 0);

	mnl_attr_put_strz(h, TCA_KIND, "bpf");
	return h;
}

void cs_ingress_filter_set(struct cs_nl *b, int index, uint16_t priority, int program, const char *name)
{
	struct nlmsghdr *h = filter(b, RTM_NEWTFILTER, NLM_F_CREATE, index, priority, 1, "add a filter");
	struct nlattr *options = mnl_attr_nest_start(h, TCA_OPTIONS);

	mnl_attr_put_u32(h, TCA_BPF_FD, (uint32_t)program);
	mnl_attr_put_strz(h, TCA_BPF_NAME, name);
	mnl_attr_put_u32(h, TCA_BPF_FLAGS, TCA_BPF_FLAG_ACT_DIRECT);
	mnl_attr_nest_end(h, options);
}

void cs_ingress_filter_del(struct cs_nl *b, int index, uint16_t priority) { (void)filter(b, RTM_DELTFILTER, 0, index, priority, 0, "delete a filter"); }

/* ---- what there is ---- */

static void copy_text(char *to, size_t size, const struct nlattr *a)
{
	size_t n = CS_MIN((size_t)mnl_attr_get_payload_len(a), size - 1);

	memcpy(to, mnl_attr_get_payload(a), n);
	to[n] = 0;
}

static bool is_locked(const struct nlattr *port)
{
	const struct nlattr *a;

	mnl_attr_for_each_nested (a, port)
		if (mnl_attr_get_type(a) == IFLA_BRPORT_LOCKED)
			return mnl_attr_get_payload_len(a) && mnl_attr_get_u8(a);
	return false;
}

static void parse_link(const struct nlmsghdr *h, struct cs_link_info *l)
{
	const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(h);
	const struct nlattr *a, *in;

	*l = (struct cs_link_info){.index = ifi->ifi_index, .flags = ifi->ifi_flags};
	mnl_attr_for_each (a, h, sizeof(*ifi)) {
		size_t n = mnl_attr_get_payload_len(a);
		switch (mnl_attr_get_type(a)) {
		case IFLA_IFNAME:
			copy_text(l->name, sizeof(l->name), a);
			break;
		case IFLA_IFALIAS:
			copy_text(l->alias, sizeof(l->alias), a);
			break;
		case IFLA_ADDRESS:
			memcpy(l->mac, mnl_attr_get_payload(a), CS_MIN(n, sizeof(l->mac)));
			break;
		case IFLA_MASTER:
			l->master = n >= 4 ? (int)mnl_attr_get_u32(a) : 0;
			break;
		case IFLA_LINK:
			l->peer = n >= 4 ? (int)mnl_attr_get_u32(a) : 0;
			break;
		case IFLA_MTU:
			l->mtu = n >= 4 ? mnl_attr_get_u32(a) : 0;
			break;
		case IFLA_GSO_IPV4_MAX_SIZE:
			l->gso = n >= 4 ? mnl_attr_get_u32(a) : 0;
			break;
		case IFLA_OPERSTATE:
			l->state = mnl_attr_get_u8(a);
			break;
		case IFLA_STATS64:
			memcpy(&l->stats, mnl_attr_get_payload(a), CS_MIN(n, sizeof(l->stats)));
			break;
		case IFLA_LINKINFO:
			mnl_attr_for_each_nested (in, a) {
				if (mnl_attr_get_type(in) == IFLA_INFO_KIND)
					copy_text(l->kind, sizeof(l->kind), in);
				else if (mnl_attr_get_type(in) == IFLA_INFO_SLAVE_DATA)
					l->locked = is_locked(in);
			}
			break;
		default:
			break;
		}
	}
}

struct walk {
	bool (*link)(const struct cs_link_info *, void *);
	bool (*prefix)(int, struct cs_prefix, void *);
	void *ctx;
	bool found;
};

static int on_link(const struct nlmsghdr *h, void *ctx)
{
	struct walk *w = ctx;
	struct cs_link_info l;

	if (h->nlmsg_type != RTM_NEWLINK || mnl_nlmsg_get_payload_len(h) < sizeof(struct ifinfomsg))
		return MNL_CB_OK;
	parse_link(h, &l);
	w->found = true;
	return w->link(&l, w->ctx) ? MNL_CB_OK : MNL_CB_STOP;
}

static bool keep_link(const struct cs_link_info *l, void *ctx)
{
	*(struct cs_link_info *)ctx = *l;
	return true;
}

int cs_link_get(struct cs_rtnl *r, int index, const char *name, struct cs_link_info *ret, struct cs_err **err)
{
	struct walk w = {.link = keep_link, .ctx = ret};
	struct cs_nl b;

	cs_nl_init(&b, r);
	(void)link_message(&b, RTM_GETLINK, 0, index, name, "look at a link", 0);
	if (cs_nl_ask(&b, on_link, &w, err) < 0)
		return name ? cs_wrap(err, "%s", name) : -1;
	return w.found ? 0 : cs_fail(err, CS_ERR_NOT_FOUND, ENODEV, "look at a link");
}

void cs_link_wait_up(struct cs_rtnl *r, int index)
{
	struct cs_link_info l;

	for (int i = 0; i < 100 && cs_link_get(r, index, NULL, &l, NULL) == 0 && l.state != OPER_UP; i++)
		(void)usleep(1000);
}

/* A dump that others' changes have disturbed is made again: what is collected must bear being told twice. */
static int dump(struct cs_nl *b, struct cs_rtnl *r, uint16_t type, const void *fixed, size_t len, const char *what, mnl_cb_t each, struct walk *w,
		struct cs_err **err)
{
	for (int i = 0;; i++) {
		cs_autoerr struct cs_err *e = NULL;
		cs_nl_init(b, r);
		(void)cs_nl_add(b, type, NLM_F_DUMP, fixed, len, what, 0);
		if (cs_nl_ask(b, each, w, &e) == 0)
			return 0;
		if (i == 5 || cs_err_code(e) != CS_ERR_CONFLICT)
			return cs_err_move(err, TAKE_PTR(e));
	}
}

int cs_links_each(struct cs_rtnl *r, bool (*each)(const struct cs_link_info *, void *), void *ctx, struct cs_err **err)
{
	struct walk w = {.link = each, .ctx = ctx};
	struct ifinfomsg ifi = {0};
	struct cs_nl b;

	return dump(&b, r, RTM_GETLINK, &ifi, sizeof(ifi), "list the links", on_link, &w, err);
}

struct group {
	int index;
	uint8_t address[16];
	bool joined;
};

static int on_group(const struct nlmsghdr *h, void *ctx)
{
	const struct ifaddrmsg *ifa = mnl_nlmsg_get_payload(h);
	struct group *g = ctx;
	const struct nlattr *a;

	if (mnl_nlmsg_get_payload_len(h) < sizeof(*ifa) || (int)ifa->ifa_index != g->index)
		return MNL_CB_OK;
	mnl_attr_for_each (a, h, sizeof(*ifa))
		if (mnl_attr_get_type(a) == IFA_MULTICAST && mnl_attr_get_payload_len(a) == 16 && memcmp(mnl_attr_get_payload(a), g->address, 16) == 0)
			g->joined = true;
	return MNL_CB_OK;
}

void cs_link_wait_found(struct cs_rtnl *r, int index, struct cs_ip address)
{
	const struct ifaddrmsg ifa = {.ifa_family = AF_INET6};
	const cs_u128 solicited = ((cs_u128)0xff02 << 112) | ((cs_u128)0x1ff << 24) | (address.n & 0xffffff);
	struct group g = {.index = index};
	struct cs_nl b;

	(void)cs_ip_bytes((struct cs_ip){solicited, AF_INET6}, g.address);
	for (int i = 0; i < 40; i++) {
		cs_nl_init(&b, r);
		(void)cs_nl_add(&b, RTM_GETMULTICAST, NLM_F_DUMP, &ifa, sizeof(ifa), "list the groups", 0);
		if (cs_nl_ask(&b, on_group, &g, NULL) < 0 || g.joined)
			return;
		(void)usleep(500);
	}
}

static int on_addr(const struct nlmsghdr *h, void *ctx)
{
	struct walk *w = ctx;
	const struct ifaddrmsg *ifa = mnl_nlmsg_get_payload(h);
	struct cs_prefix p = {0};
	const struct nlattr *a;

	if (h->nlmsg_type != RTM_NEWADDR || mnl_nlmsg_get_payload_len(h) < sizeof(*ifa) || (ifa->ifa_family != AF_INET && ifa->ifa_family != AF_INET6))
		return MNL_CB_OK;
	mnl_attr_for_each (a, h, sizeof(*ifa))
		if (mnl_attr_get_payload_len(a) >= cs_ip_bits(ifa->ifa_family) / 8 &&
		    (mnl_attr_get_type(a) == IFA_LOCAL || (mnl_attr_get_type(a) == IFA_ADDRESS && !p.ip.family)))
			p = (struct cs_prefix){cs_ip_of(ifa->ifa_family, mnl_attr_get_payload(a)), ifa->ifa_prefixlen};
	return !p.ip.family || w->prefix((int)ifa->ifa_index, p, w->ctx) ? MNL_CB_OK : MNL_CB_STOP;
}

int cs_addrs_each(struct cs_rtnl *r, bool (*each)(int index, struct cs_prefix, void *), void *ctx, struct cs_err **err)
{
	struct walk w = {.prefix = each, .ctx = ctx};
	struct ifaddrmsg ifa = {0};
	struct cs_nl b;

	return dump(&b, r, RTM_GETADDR, &ifa, sizeof(ifa), "list the addresses", on_addr, &w, err);
}

static int on_route(const struct nlmsghdr *h, void *ctx)
{
	struct walk *w = ctx;
	const struct rtmsg *rtm = mnl_nlmsg_get_payload(h);
	struct cs_prefix p = {0};
	const struct nlattr *a;
	int index = 0;

	if (h->nlmsg_type != RTM_NEWROUTE || mnl_nlmsg_get_payload_len(h) < sizeof(*rtm) || rtm->rtm_dst_len == 0 || rtm->rtm_type != RTN_UNICAST ||
	    rtm->rtm_table != RT_TABLE_MAIN || (rtm->rtm_flags & RTM_F_CLONED))
		return MNL_CB_OK;
	mnl_attr_for_each (a, h, sizeof(*rtm)) {
		if (mnl_attr_get_type(a) == RTA_DST && mnl_attr_get_payload_len(a) >= cs_ip_bits(rtm->rtm_family) / 8)
			p = (struct cs_prefix){cs_ip_of(rtm->rtm_family, mnl_attr_get_payload(a)), rtm->rtm_dst_len};
		else if (mnl_attr_get_type(a) == RTA_OIF && mnl_attr_get_payload_len(a) >= 4)
			index = (int)mnl_attr_get_u32(a);
	}
	return !p.ip.family || w->prefix(index, p, w->ctx) ? MNL_CB_OK : MNL_CB_STOP;
}

int cs_routes_each(struct cs_rtnl *r, bool (*each)(int index, struct cs_prefix, void *), void *ctx, struct cs_err **err)
{
	static const uint8_t families[] = {AF_INET, AF_INET6};
	struct walk w = {.prefix = each, .ctx = ctx};
	struct cs_nl b;

	for (size_t i = 0; i < CS_ARRAY_SIZE(families); i++) {
		struct rtmsg rtm = {.rtm_family = families[i]};
		if (dump(&b, r, RTM_GETROUTE, &rtm, sizeof(rtm), "list the routes", on_route, &w, err) < 0)
			return -1;
	}
	return 0;
}
