/* SPDX-License-Identifier: Apache-2.0
 *
 * Networks that are a bridge on the host: NAT, Internal, Private; and veths as their endpoints. */
#include <stdatomic.h>

#include "base/id.h"
#include "network/edge.h"
#include "network/netns.h"

bool cs_network_has(const struct HcnNetwork *n, uint8_t family)
{
	for (size_t i = 0; i < n->n_subnets; i++)
		if (n->subnets[i].prefix.ip.family == family)
			return true;
	return false;
}

struct cs_ip cs_network_gateway(const struct HcnNetwork *n, uint8_t family)
{
	for (size_t i = 0; i < n->n_subnets; i++)
		if (n->subnets[i].gateway.family == family)
			return n->subnets[i].gateway;
	return (struct cs_ip){0};
}

/* ---- the bridge ---- */

static const struct cs_prefix link_local = {{(cs_u128)0xfe80 << 112, AF_INET6}, 10};

/* An address that the bridge keeps over restarts: from the network's id. 02:42 is what endpoints have. */
static void bridge_mac(const struct HcnNetwork *n, uint8_t mac[6])
{
	memcpy(mac, n->o.id.Data4 + 2, 6);
	mac[0] = (uint8_t)((mac[0] & 0xfc) | 2);
	if (mac[0] == 2 && mac[1] == 0x42)
		mac[1] = 0x43;
}

/* The addresses of the gateways: which one the host has, and with which length. */
static size_t wanted_addresses(const struct HcnNetwork *n, bool host, struct cs_prefix *ret, size_t max)
{
	size_t count = 0;
	bool v6 = false;

	for (size_t i = 0; i < n->n_subnets && host && count < max; i++) {
		const struct cs_subnet *s = &n->subnets[i];
		bool four = s->prefix.ip.family == AF_INET;
		if (!s->gateway.family || (four && n->pol.inhibit_ipv4) || (four ? n->pol.gw4 : n->pol.gw6) == CS_GW_ISOLATED)
			continue;
		ret[count++] = (struct cs_prefix){s->gateway, s->prefix.len};
		v6 |= !four;
	}
	if (v6 && count < max) /* as Docker: what routers are addressed by */
		ret[count++] = (struct cs_prefix){{((cs_u128)0xfe80 << 112) + 1, AF_INET6}, 64};
	return count;
}

struct have {
	int index;
	struct cs_prefix v[32];
	size_t n;
};

static bool collect(int index, struct cs_prefix p, void *ctx)
{
	struct have *h = ctx;

	if (index == h->index && h->n < CS_ARRAY_SIZE(h->v))
		h->v[h->n++] = p;
	return true;
}

static bool listed(const struct cs_prefix *v, size_t n, struct cs_prefix p)
{
	for (size_t i = 0; i < n; i++)
		if (cs_ip_is(v[i].ip, p.ip) && v[i].len == p.len)
			return true;
	return false;
}

/* What is missing is added; on a bridge of our own, what is there besides goes (a network whose settings changed while we were away). */
static int set_addresses(struct HcnNetwork *n, struct cs_rtnl *r, bool host, bool fresh, struct cs_err **err)
{
	struct cs_prefix want[32];
	size_t n_want = wanted_addresses(n, host, want, CS_ARRAY_SIZE(want));
	struct have have = {.index = n->index};
	struct cs_nl b;

	if (!fresh && cs_addrs_each(r, collect, &have, err) < 0)
		return -1;
	cs_nl_init(&b, r);
	for (size_t i = 0; i < have.n && n->made; i++)
		if (!listed(want, n_want, have.v[i]) && !cs_prefix_overlaps(have.v[i], link_local))
			cs_addr_del(&b, n->index, have.v[i]);
	if (n->made)
		cs_link_set_group(&b, n->index, CS_FIREWALL_GROUP);
	for (size_t i = 0; i < n_want; i++)
		if (!listed(have.v, have.n, want[i]))
			cs_addr_add(&b, n->index, want[i], EEXIST);
	cs_link_set(&b, &(struct cs_link_change){.index = n->index, .up = true}, "set the bridge up");
	return cs_nl_run(&b, err);
}

/* On where it is needed; off on bridges of our own only: one of the user's may have addresses of its own. */
static int ipv6_switch(const struct HcnNetwork *n, struct cs_err **err)
{
	cs_autofree char *path = cs_xasprintf("net/ipv6/conf/%s/disable_ipv6", n->ifname);
	bool v6 = cs_network_has(n, AF_INET6);

	return v6 || n->made ? cs_sysctl_write(&(struct cs_sysctl){path, v6 ? "0" : "1", !v6}, err) : 0;
}

/* The bridge that is there, if any: ours, a user's, or somebody else's, which is refused. */
static HRESULT look(struct HcnNetwork *n, struct cs_rtnl *r, bool *found, struct cs_err **err)
{
	cs_autoerr struct cs_err *e = NULL;
	cs_autofree char *mark = cs_mark_of(&n->o);
	struct cs_link_info l, old;

	*found = false;
	if (cs_leftover_of(&n->o, &old) && strcmp(old.name, n->ifname) != 0 && strcmp(old.kind, "bridge") == 0)
		cs_links_delete(&old.index, 1); /* the network has another name for its bridge now */
	if (cs_link_get(r, 0, n->ifname, &l, &e) < 0)
		return cs_err_code(e) == CS_ERR_NOT_FOUND ? HCS_S_OK : (cs_err_move(err, TAKE_PTR(e)), HCS_E_FAIL);
	if (strcmp(l.kind, "bridge") != 0)
		return cs_hr_fail(err, HCN_E_INVALID_NETWORK, 0, "interface %s is not a bridge", n->ifname);
	if (cs_prefix(l.alias, "caisson:") && strcmp(l.alias, mark) != 0)
		return cs_hr_fail(err, HCN_E_NETWORK_ALREADY_EXISTS, 0, "bridge %s belongs to another network (%s)", n->ifname, l.alias);
	n->index = l.index;
	n->made = strcmp(l.alias, mark) == 0;
	*found = true;
	return HCS_S_OK;
}

/* What containers send may leave by this link. Not by a bridge's ports, where the bridge itself has the smallest of theirs; ours has not yet, perhaps. */
static bool narrower(const struct cs_link_info *l, void *ctx)
{
	uint32_t *gso = ctx;
	bool way_out = l->flags & IFF_UP || !*l->kind; /* a device without a kind is a real one, and will be up some day */

	if (way_out && !(l->flags & IFF_LOOPBACK) && !(l->master && *l->kind) && !cs_prefix(l->alias, "caisson:"))
		*gso = CS_MIN(*gso, l->gso);
	return true;
}

/* A network without a way out is free to take the most. Others take what every device of the host's takes: what is larger would be cut into single
 * frames before it leaves, where otherwise the device does that. */
static int packet_size(struct HcnNetwork *n, struct cs_rtnl *r, struct cs_err **err)
{
	uint32_t gso = n->driver == &cs_driver_overlay ? 0 : CS_LINK_GSO;

	if ((n->driver->outside || !n->made) && cs_links_each(r, narrower, &gso, err) < 0)
		return -1;
	n->gso = gso > 65536 ? gso : 0;
	return 0;
}

struct first {
	int index;
	uint8_t family;
	struct cs_prefix found;
};

static bool first_of(int index, struct cs_prefix p, void *ctx)
{
	struct first *f = ctx;

	if (index == f->index && p.ip.family == f->family && !f->found.ip.family && !cs_prefix_overlaps(p, link_local))
		f->found = p;
	return true;
}

bool cs_bridge_has(const struct HcnNetwork *n, uint8_t family, struct cs_prefix *ret)
{
	cs_autofree char *mark = cs_mark_of(&n->o);
	cs_autortnl struct cs_rtnl r = {0};
	struct first f = {.family = family};
	struct cs_link_info l;

	if (!n->driver->bridge || !n->driver->outside || cs_empty(n->pol.bridge) || cs_host_rtnl(&r, NULL) < 0 || cs_link_get(&r, 0, n->pol.bridge, &l, NULL) < 0)
		return false;
	if (strcmp(l.kind, "bridge") != 0 || (cs_prefix(l.alias, "caisson:") && strcmp(l.alias, mark) != 0))
		return false; /* the creation will say so */
	f.index = l.index;
	if (cs_addrs_each(&r, first_of, &f, NULL) < 0 || !f.found.ip.family)
		return false;
	*ret = f.found;
	return true;
}

struct clash {
	const struct HcnNetwork *n;
	int index[16];
	struct cs_prefix prefix[16];
	size_t count;
};

static bool same_subnet(int index, struct cs_prefix p, void *ctx)
{
	struct clash *c = ctx;

	for (size_t i = 0; i < c->n->n_subnets && c->count < CS_ARRAY_SIZE(c->index); i++) {
		struct cs_prefix s = c->n->subnets[i].prefix;
		if (s.ip.family == p.ip.family && s.len == p.len && cs_prefix_first(s) == cs_prefix_first(p)) {
			c->index[c->count] = index;
			c->prefix[c->count++] = s;
		}
	}
	return true;
}

/* A subnet may lie in what the host has routes for, but two bridges with the same one would take each other's answers. */
static HRESULT check_clash(const struct HcnNetwork *n, struct cs_rtnl *r, struct cs_err **err)
{
	struct clash c = {.n = n};
	char text[CS_PREFIX_TEXT];
	struct cs_link_info l;

	if (cs_addrs_each(r, same_subnet, &c, err) < 0)
		return HCS_E_FAIL;
	for (size_t i = 0; i < c.count; i++)
		if (cs_link_get(r, c.index[i], NULL, &l, NULL) == 0 && strcmp(l.kind, "bridge") == 0)
			return cs_hr_fail(err, HCN_E_INVALID_SUBNET, 0, "subnet %s is that of bridge %s", cs_prefix_text(c.prefix[i], text), l.name);
	return HCS_S_OK;
}

static int make(struct HcnNetwork *n, struct cs_rtnl *r, struct cs_err **err)
{
	cs_autofree char *mark = cs_mark_of(&n->o);
	cs_autoerr struct cs_err *why = NULL;
	struct cs_link_info l;
	uint8_t mac[6];
	struct cs_nl b;

	bridge_mac(n, mac);
	cs_nl_init(&b, r);
	cs_link_add_bridge(&b, n->ifname, mac);
	cs_link_set(&b, &(struct cs_link_change){.name = n->ifname, .alias = mark, .mtu = n->mtu}, "set up the bridge");
	if (cs_nl_run(&b, &why) < 0 || cs_link_get(r, 0, n->ifname, &l, &why) < 0) {
		cs_link_undo(r, n->ifname, mark, why);
		return cs_err_move(err, TAKE_PTR(why));
	}
	n->index = l.index;
	n->made = true;
	n->wide = false;
	return 0;
}

/* n->ifname is there afterwards, with its addresses. */
static HRESULT bring_up(struct HcnNetwork *n, struct cs_rtnl *r, bool host, struct cs_err **err)
{
	bool found = false;
	HRESULT hr = look(n, r, &found, err);

	if (hr == HCS_S_OK && !found && host)
		hr = check_clash(n, r, err);
	if (hr != HCS_S_OK)
		return hr;
	if (!found && make(n, r, err) < 0)
		return HCS_E_FAIL;
	if (ipv6_switch(n, err) < 0 || set_addresses(n, r, host, !found, err) < 0 || packet_size(n, r, err) < 0) {
		if (!found)
			cs_bridge_remove(n);
		return HCS_E_FAIL;
	}
	if (host && cs_network_has(n, AF_INET))
		cs_host_forward(AF_INET);
	if (host && cs_network_has(n, AF_INET6))
		cs_host_forward(AF_INET6);
	return HCS_S_OK;
}

HRESULT cs_bridge_create(struct HcnNetwork *n, bool host, struct cs_err **err)
{
	cs_autortnl struct cs_rtnl r = {0};

	if (!cs_empty(n->pol.bridge))
		(void)snprintf(n->ifname, sizeof(n->ifname), "%s", n->pol.bridge);
	else
		(void)snprintf(n->ifname, sizeof(n->ifname), "br-%.8s%.4s", n->o.text, n->o.text + 9);
	return cs_host_rtnl(&r, err) < 0 ? HCS_E_FAIL : bring_up(n, &r, host, err);
}

void cs_bridge_remove(struct HcnNetwork *n)
{
	int index = n->index;

	if (n->made && index > 0)
		cs_links_delete(&index, 1);
	n->index = 0;
}

static HRESULT create_host(struct HcnNetwork *n, struct cs_err **err) { return cs_bridge_create(n, !(n->doc.flags & 1024), err); }
static HRESULT create_private(struct HcnNetwork *n, struct cs_err **err) { return cs_bridge_create(n, false, err); }

/* ---- endpoints ---- */

/* Frames to the bridge's own group of addresses (IEEE 802.1D, 8.6.3) are no bridge's to forward: the kernel hands them to the port itself, past the rules
 * for what comes into a bridge, or into the host from it. So the port takes no packets, neither IPv4 (deaf) nor IPv6. */

/* A pair of its own, with the inner end where it belongs from the beginning. */
static int new_pair(struct HcnNamespace *ns, struct HcnEndpoint *e, const char *ifname, struct cs_rtnl *host, struct cs_err **err)
{
	const struct cs_sysctl inside[] = {{NULL, "1", true}, {NULL, "0", true}, {NULL, "1", true}};
	cs_autofree char *off = cs_xasprintf("net/ipv6/conf/%s/disable_ipv6", ifname), *dad = cs_xasprintf("net/ipv6/conf/%s/accept_dad", ifname),
			 *notify = cs_xasprintf("net/ipv6/conf/%s/ndisc_notify", ifname);
	cs_autofree char *mark = cs_mark_of(&e->o);
	cs_autoerr struct cs_err *why = NULL;
	struct cs_sysctl s[3];
	struct cs_link_info l;
	struct cs_nl b;
	uint8_t r[4];

	memcpy(s, inside, sizeof(s));
	s[0].path = off;
	s[1].path = dad;
	s[2].path = notify;
	if (e->v6.ip.family)
		s[0].value = "0";
	cs_random_bytes(r, sizeof(r));
	(void)snprintf(e->outer_name, sizeof(e->outer_name), CS_FIREWALL_PORT "%02x%02x%02x%02x", r[0], r[1], r[2], r[3]);
	cs_nl_init(&b, host);
	cs_link_add_veth(&b, e->outer_name, ns->nsfd, ifname);
	cs_link_set(&b, &(struct cs_link_change){.name = e->outer_name, .alias = mark, .no_ipv6_addr = true, .deaf = true}, "prepare a veth");
	if (cs_nl_run(&b, &why) < 0 || cs_sysctl_ipv6_off(e->outer_name, &why) < 0 || cs_link_get(host, 0, e->outer_name, &l, &why) < 0) {
		cs_link_undo(host, e->outer_name, mark, why);
		return cs_err_move(err, TAKE_PTR(why));
	}
	e->outer = l.index;
	e->inner = l.peer;
	e->net->plugged++;
	cs_nl_init(&b, &ns->rt);
	cs_link_set(&b, &(struct cs_link_change){.index = e->inner, .arp_notify = 1}, "prepare the interface");
	if (cs_nl_run(&b, err) < 0)
		return -1;
	return cs_netns_sysctls(ns->nsfd, s, CS_ARRAY_SIZE(s), err);
}

/* The pair that an earlier service made for this endpoint, if its other end is in this namespace. */
static bool adopt(struct HcnNamespace *ns, struct HcnEndpoint *e)
{
	cs_autoerr struct cs_err *err = NULL, *stays = NULL;
	struct cs_link_info out, in;

	if (!cs_leftover_of(&e->o, &out) || strcmp(out.kind, "veth") != 0)
		return false;
	if (cs_link_get(&ns->rt, out.peer, NULL, &in, &err) < 0 || in.peer != out.index || strcmp(in.kind, "veth") != 0) {
		cs_links_delete(&out.index, 1);
		return false;
	}
	if (cs_sysctl_ipv6_off(out.name, &err) < 0)
		cs_warn(SUBSYS, "endpoint %s: %s", e->o.text, err->msg);
	e->outer = out.index;
	e->inner = in.index;
	if (cs_shortcut_drop(e, &stays) < 0) /* it comes again when all is known that speaks against it */
		cs_warn(SUBSYS, "endpoint %s: %s", e->o.text, stays->msg);
	e->locked = out.locked;
	e->net->plugged++;
	(void)snprintf(e->outer_name, sizeof(e->outer_name), "%s", out.name);
	(void)snprintf(e->inner_name, sizeof(e->inner_name), "%s", in.name);
	return true;
}

static bool take_warm(struct HcnNamespace *ns, struct HcnEndpoint *e, const char *ifname, struct cs_err **err)
{
	struct cs_warm *w = ns->warm;

	if (!w || strcmp(ifname, CS_WARM_IFNAME) != 0)
		return false;
	if (e->v6.ip.family) { /* which makes a link-local address from the hardware address */
		struct cs_nl b;
		cs_nl_init(&b, &ns->rt);
		cs_link_set(&b, &(struct cs_link_change){.index = w->inner, .mac = e->mac}, "set the hardware address");
		if (cs_nl_run(&b, err) < 0)
			return false;
		if (w->ipv6_off < 0 || write(w->ipv6_off, "0", 1) != 1) {
			(void)cs_fail(err, CS_ERR_INTERNAL, w->ipv6_off < 0 ? EAFNOSUPPORT : errno, "switch IPv6 on");
			return false;
		}
	}
	e->warm = true;
	e->outer = w->outer;
	e->inner = w->inner;
	e->net->plugged++;
	(void)snprintf(e->outer_name, sizeof(e->outer_name), "%s", w->outer_name);
	ns->warm = NULL;
	cs_close(w->ipv6_off);
	free(w); /* its namespace and socket are the namespace's already */
	return true;
}

/* With br_netfilter on, the address of a published port is translated while the frame still is in the bridge, which then sends it back to the port it
 * came from when a container speaks to itself by the host's address. */
static bool bridge_filtered(void)
{
	return cs_sysctl_read("net/bridge/bridge-nf-call-iptables") == 1 || cs_sysctl_read("net/bridge/bridge-nf-call-ip6tables") == 1;
}

static void set_port(struct cs_nl *b, int index, const struct HcnEndpoint *e, bool published, bool guarded, bool in_use)
{
	struct cs_link_port p = {.isolated = e->doc.flags & 2, .hairpin = published && bridge_filtered(), .mac = guarded ? e->mac : NULL, .in_use = in_use};

	cs_link_set_port(b, index, &p);
}

int cs_veth_set_port(struct cs_nl *b, struct HcnEndpoint *e, const struct cs_endpoint_policies *p, bool in_use, struct cs_err **err)
{
	static atomic_int kernel_locks; /* 0: not known yet */
	bool guarded = cs_edge_antispoof(e, p);
	struct cs_link_info l;

	set_port(b, e->outer, e, p->n_ports > 0, guarded, in_use);
	if (e->locked && !guarded) /* who was there for good is not any more */
		cs_bridge_fdb_del(b, e->outer, e->mac);
	if (cs_nl_run(b, err) < 0)
		return -1;
	if (guarded && !kernel_locks && cs_link_get(b->sock, e->outer, NULL, &l, NULL) == 0)
		kernel_locks = l.locked ? 1 : -1;
	e->locked = guarded && kernel_locks > 0;
	return 0;
}

static int plug_in(struct HcnEndpoint *e, struct cs_rtnl *r, const char *mark, bool adopted, struct cs_err **err)
{
	struct cs_nl b;

	cs_nl_init(&b, r);
	if (!e->warm && !adopted)
		cs_ingress_add(&b, e->outer);
	cs_link_set(&b, &(struct cs_link_change){.index = e->outer, .alias = mark, .master = (uint32_t)e->net->index, .mtu = e->net->mtu, .up = true, .deaf = adopted},
		    "plug into the bridge");
	if (e->net->made && !e->net->wide) /* a bridge takes no more than its ports do, and without one the least */
		cs_link_set_gso(&b, e->net->index, CS_LINK_GSO);
	if (cs_veth_set_port(&b, e, &e->pol, adopted, err) < 0)
		return -1;
	e->net->wide = true;
	return 0;
}

struct members {
	const struct HcnNetwork *n;
	struct cs_nl b;
};

static bool plug_member(const struct cs_link_info *l, void *ctx)
{
	struct members *m = ctx;
	HCN_GUID id;

	if (strcmp(l->kind, "veth") != 0 || !cs_prefix(l->alias, cs_net.mark) || !cs_hcn_guid_parse(l->alias + strlen(cs_net.mark), &id))
		return true;
	struct HcnEndpoint *e cs_auto(cs_autoep_done) = cs_obj_get(CS_ENDPOINT, &id);
	if (e && e->net == m->n) {
		cs_link_set(&m->b, &(struct cs_link_change){.index = l->index, .master = (uint32_t)m->n->index}, "plug into the bridge again");
		set_port(&m->b, l->index, e, true, e->locked, true);
		cs_background_review(e, false); /* its shortcut led to the old one */
	}
	return true;
}

/* Somebody deleted the bridge under its network. It is made again, and who was on it is plugged in again. `why`: the failure that made us look; kept
 * when the bridge is there, or was not ours. */
static HRESULT make_again(struct HcnNetwork *n, struct cs_rtnl *r, struct cs_err **why)
{
	static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;
	cs_autoerr struct cs_err *err = NULL, *left_out = NULL;
	cs_autortnl struct cs_rtnl second = {0}; /* a batch while the other one dumps */
	struct members m = {.n = n};
	struct cs_link_info l;
	int had = n->index;

	if (!n->made || (n->driver != &cs_driver_nat && n->driver != &cs_driver_internal && n->driver != &cs_driver_private))
		return HCN_E_NAMESPACE_ATTACH_FAILED;
	CS_GUARD(&one);
	if (n->index != had)
		return HCS_S_OK; /* another thread was quicker */
	if (cs_link_get(r, 0, n->ifname, &l, NULL) == 0)
		return HCN_E_NAMESPACE_ATTACH_FAILED;
	cs_warn(SUBSYS, "somebody deleted bridge %s: it is made again", n->ifname);
	HRESULT hr = bring_up(n, r, n->driver != &cs_driver_private && !(n->doc.flags & 1024), &err);
	if (hr == HCS_S_OK)
		hr = cs_edge_network_add(n, &err);
	if (hr == HCS_S_OK && cs_host_rtnl(&second, &err) < 0)
		hr = HCS_E_FAIL;
	if (hr == HCS_S_OK) {
		cs_nl_init(&m.b, &second);
		if (cs_links_each(r, plug_member, &m, &err) < 0)
			hr = HCS_E_FAIL;
		if (cs_nl_run(&m.b, &left_out) < 0) /* one that is just ending, most likely */
			cs_warn(SUBSYS, "not all interfaces are on bridge %s again: %s", n->ifname, left_out->msg);
	}
	if (hr != HCS_S_OK) {
		cs_err_free(TAKE_PTR(*why));
		(void)cs_err_move(why, TAKE_PTR(err));
	}
	return hr;
}

HRESULT cs_veth_plug(struct HcnNamespace *ns, struct HcnEndpoint *e, const char *ifname, bool *adopted, struct cs_err **err)
{
	cs_autoerr struct cs_err *mine = NULL;
	cs_autortnl struct cs_rtnl r = {0};
	cs_autofree char *mark = cs_mark_of(&e->o);

	e->outer = e->inner = 0;
	e->warm = false;
	if (cs_host_rtnl(&r, err) < 0)
		return HCS_E_FAIL;
	*adopted = adopt(ns, e);
	if (!*adopted && !take_warm(ns, e, ifname, &mine) && (mine || new_pair(ns, e, ifname, &r, &mine) < 0)) {
		/* the name may be that of an interface which is on its way out */
		bool again = mine->sys == EEXIST;
		if (again) {
			cs_err_free(TAKE_PTR(mine));
			cs_background_flush();
		}
		if (!again || new_pair(ns, e, ifname, &r, &mine) < 0) {
			(void)cs_err_move(err, TAKE_PTR(mine));
			return HCN_E_NAMESPACE_ATTACH_FAILED;
		}
	}
	if (!*adopted)
		(void)snprintf(e->inner_name, sizeof(e->inner_name), "%s", ifname);
	if (plug_in(e, &r, mark, *adopted, &mine) == 0)
		return HCS_S_OK;
	HRESULT hr = make_again(e->net, &r, &mine);
	if (hr != HCS_S_OK)
		return (void)cs_err_move(err, TAKE_PTR(mine)), hr;
	return plug_in(e, &r, mark, *adopted, err) < 0 ? HCN_E_NAMESPACE_ATTACH_FAILED : HCS_S_OK;
}

const struct cs_driver cs_driver_nat = {.type = "NAT", .outside = true, .bridge = true, .own_mac = true, .create = create_host, .remove = cs_bridge_remove, .plug = cs_veth_plug};
const struct cs_driver cs_driver_internal = {.type = "Internal", .bridge = true, .own_mac = true, .create = create_host, .remove = cs_bridge_remove, .plug = cs_veth_plug};
const struct cs_driver cs_driver_private = {.type = "Private", .bridge = true, .own_mac = true, .create = create_private, .remove = cs_bridge_remove, .plug = cs_veth_plug};
