/* SPDX-License-Identifier: Apache-2.0
 *
 * Networks on an interface of the host's: Transparent (macvlan) and L2Bridge (ipvlan). Nothing of them is on the host but, where a VLAN
 * is asked for, its sub-interface, and without an interface of the host's one to be on. Kernels that have not these kinds of links are found out when a network is created. */
#include <linux/if_link.h>

#include "base/num.h"
#include "network/edge.h"
#include "network/netns.h"

static bool is_macvlan(const struct HcnNetwork *n) { return n->driver == &cs_driver_transparent; }

struct word {
	const char *name;
	uint32_t value;
};
static const struct word macvlan_modes[] = {{"bridge", MACVLAN_MODE_BRIDGE}, {"private", MACVLAN_MODE_PRIVATE}, {"vepa", MACVLAN_MODE_VEPA},
					    {"passthru", MACVLAN_MODE_PASSTHRU}, {NULL, 0}};
static const struct word ipvlan_modes[] = {{"l2", IPVLAN_MODE_L2}, {"l3", IPVLAN_MODE_L3}, {"l3s", IPVLAN_MODE_L3S}, {NULL, 0}};
static const struct word ipvlan_flags[] = {{"bridge", 0}, {"private", IPVLAN_F_PRIVATE}, {"vepa", IPVLAN_F_VEPA}, {NULL, 0}};

static bool find(const struct word *w, const char *text, uint32_t *ret)
{
	for (; w->name; w++)
		if (cs_empty(text) || strcmp(w->name, text) == 0) { /* the first is the default */
			*ret = w->value;
			return true;
		}
	return false;
}

bool cs_parent_routes(const struct HcnNetwork *n)
{
	return n->driver == &cs_driver_l2bridge && n->pol.ipvlan_mode && strncmp(n->pol.ipvlan_mode, "l3", 2) == 0;
}

static HRESULT check_modes(const struct HcnNetwork *n, struct cs_err **err)
{
	uint32_t v;

	if (!find(macvlan_modes, n->pol.macvlan_mode, &v))
		return cs_hr_fail(err, HCN_E_INVALID_POLICY, 0, "requested macvlan mode '%s' is not valid, 'bridge' mode is the macvlan driver default",
				  n->pol.macvlan_mode);
	if (!find(ipvlan_modes, n->pol.ipvlan_mode, &v))
		return cs_hr_fail(err, HCN_E_INVALID_POLICY, 0, "requested ipvlan mode '%s' is not valid, 'l2' mode is the ipvlan driver default",
				  n->pol.ipvlan_mode);
	if (!find(ipvlan_flags, n->pol.ipvlan_flag, &v))
		return cs_hr_fail(err, HCN_E_INVALID_POLICY, 0, "requested ipvlan flag '%s' is not valid, 'bridge' is the ipvlan driver default",
				  n->pol.ipvlan_flag);
	return HCS_S_OK;
}

/* Whether the kernel can: one is made on the parent and deleted at once, in one request, so that none can stay. */
static HRESULT probe(const struct HcnNetwork *n, struct cs_rtnl *r, struct cs_err **err)
{
	static const uint8_t mac[6] = {0x02, 0x43, 0x73, 0x70, 0x72, 0x62};
	cs_autoerr struct cs_err *e = NULL;
	struct cs_nl b;
	char name[IFNAMSIZ];

	(void)snprintf(name, sizeof(name), "cst%.8s", n->o.text);
	cs_nl_init(&b, r);
	if (is_macvlan(n))
		cs_link_add_macvlan(&b, n->index, -1, name, mac, MACVLAN_MODE_BRIDGE);
	else
		cs_link_add_ipvlan(&b, n->index, -1, name, IPVLAN_MODE_L2, 0);
	cs_link_del_name(&b, name);
	if (cs_nl_run(&b, &e) == 0)
		return HCS_S_OK;
	cs_link_undo(r, name, NULL, e); /* it may be the deletion that failed */
	if (e && e->sys == EBUSY) /* the parent is in use in another mode: the kernel has the kind, and the endpoint will be told */
		return HCS_S_OK;
	bool missing = cs_err_code(e) == CS_ERR_UNSUPPORTED;
	(void)cs_err_move(err, TAKE_PTR(e));
	(void)cs_wrap(err, missing ? "this kernel has no %s links" : "a %s cannot be made on %s", is_macvlan(n) ? "macvlan" : "ipvlan", n->ifname);
	return missing ? HCN_E_REQUEST_UNSUPPORTED : HCS_E_FAIL;
}

/* "eth0.5", or the VLAN policy: the sub-interface is made, and bears the network's mark, if it is not there. */
static HRESULT make_vlan(struct HcnNetwork *n, struct cs_rtnl *r, const char *parent, uint16_t id, struct cs_err **err)
{
	cs_autofree char *mark = cs_mark_of(&n->o);
	cs_autoerr struct cs_err *why = NULL;
	struct cs_link_info l;
	struct cs_nl b;

	if (cs_link_get(r, 0, parent, &l, err) < 0)
		return HCN_E_ADAPTER_NOT_FOUND;
	cs_nl_init(&b, r);
	cs_link_add_vlan(&b, l.index, n->ifname, id);
	cs_link_set(&b, &(struct cs_link_change){.name = n->ifname, .alias = mark, .up = true}, "set the VLAN up");
	if (cs_nl_run(&b, &why) < 0 || cs_link_get(r, 0, n->ifname, &l, &why) < 0) {
		bool missing = cs_err_code(why) == CS_ERR_UNSUPPORTED;
		cs_link_undo(r, n->ifname, mark, why);
		(void)cs_err_move(err, TAKE_PTR(why));
		(void)cs_wrap(err, missing ? "this kernel has no VLAN links" : "create VLAN %u on %s", id, parent);
		return missing ? HCN_E_REQUEST_UNSUPPORTED : HCS_E_FAIL;
	}
	n->index = l.index;
	n->made = true;
	return HCS_S_OK;
}

static HRESULT find_parent(struct HcnNetwork *n, struct cs_rtnl *r, struct cs_err **err)
{
	cs_autoerr struct cs_err *e = NULL;
	cs_autofree char *mark = cs_mark_of(&n->o);
	const char *dot = strrchr(n->pol.adapter, '.');
	struct cs_link_info l;
	uint64_t vlan = (uint64_t)n->pol.vlan;

	if (n->pol.vlan > 0)
		(void)snprintf(n->ifname, sizeof(n->ifname), "%.10s.%u", n->pol.adapter, (unsigned)vlan);
	else
		(void)snprintf(n->ifname, sizeof(n->ifname), "%s", n->pol.adapter);
	if (cs_link_get(r, 0, n->ifname, &l, &e) == 0) {
		n->index = l.index;
		n->made = strcmp(l.alias, mark) == 0;
		return HCS_S_OK;
	}
	if (cs_err_code(e) != CS_ERR_NOT_FOUND)
		return (void)cs_err_move(err, TAKE_PTR(e)), HCS_E_FAIL;
	if (n->pol.vlan > 0)
		return make_vlan(n, r, n->pol.adapter, (uint16_t)vlan, err);
	if (!dot || !cs_parse_u64(dot + 1, 1, 4094, &vlan))
		return cs_hr_fail(err, HCN_E_ADAPTER_NOT_FOUND, ENODEV, "parent interface %s does not exist", n->pol.adapter);
	cs_autofree char *parent = cs_xstrndup(n->pol.adapter, (size_t)(dot - n->pol.adapter));
	return make_vlan(n, r, parent, (uint16_t)vlan, err);
}

/* Without a parent: a veth pair of the network's own, both ends here. What is on it reaches itself and nothing else; a bridge, or half a pair, would have
 * no carrier, and a dummy is a kind of link that not all kernels have. The end without macvlans takes nothing, or the host would have it. */
static HRESULT make_stub(struct HcnNetwork *n, struct cs_rtnl *r, struct cs_err **err)
{
	cs_autofree char *mark = cs_mark_of(&n->o);
	cs_autoerr struct cs_err *why = NULL;
	struct cs_link_info l;
	char peer[IFNAMSIZ];
	struct cs_nl b;

	(void)snprintf(n->ifname, sizeof(n->ifname), "dm-%.8s%.4s", n->o.text, n->o.text + 9);
	(void)snprintf(peer, sizeof(peer), "dn%s", n->ifname + 2);
	if (cs_link_get(r, 0, n->ifname, &l, NULL) < 0) {
		cs_nl_init(&b, r);
		cs_link_add_veth(&b, n->ifname, -1, peer);
		cs_link_set(&b, &(struct cs_link_change){.name = peer, .alias = mark, .no_ipv6_addr = true, .up = true}, "prepare a network without a parent");
		cs_link_set(&b, &(struct cs_link_change){.name = n->ifname, .alias = mark, .no_ipv6_addr = true, .up = true}, "prepare a network without a parent");
		if (cs_nl_run(&b, &why) < 0 || cs_link_get(r, 0, n->ifname, &l, &why) < 0) {
			cs_link_undo(r, n->ifname, mark, why);
			(void)cs_err_move(err, TAKE_PTR(why));
			return HCS_E_FAIL;
		}
	} else if (strcmp(l.alias, mark) != 0) {
		return cs_hr_fail(err, HCN_E_NETWORK_ALREADY_EXISTS, 0, "interface %s is somebody else's", n->ifname);
	}
	n->index = l.index;
	n->port_index = l.peer;
	n->made = true;
	cs_nl_init(&b, r);
	cs_link_set(&b, &(struct cs_link_change){.name = peer, .deaf = true, .no_arp = true}, "prepare a network without a parent");
	return cs_nl_run(&b, err) < 0 || cs_sysctl_ipv6_off(peer, err) < 0 ? HCS_E_FAIL : HCS_S_OK;
}

static void remove_parent(struct HcnNetwork *n)
{
	int index = n->index;

	if (n->made && index > 0)
		cs_links_delete(&index, 1);
	n->index = 0;
}

static HRESULT create(struct HcnNetwork *n, struct cs_err **err)
{
	cs_autortnl struct cs_rtnl r = {0};
	HRESULT hr = check_modes(n, err);

	if (hr != HCS_S_OK)
		return hr;
	if (!cs_empty(n->pol.adapter) && strlen(n->pol.adapter) >= IFNAMSIZ)
		return cs_hr_fail(err, HCN_E_ADAPTER_NOT_FOUND, 0, "%s is no name of an interface", n->pol.adapter);
	if (cs_host_rtnl(&r, err) < 0)
		return HCS_E_FAIL;
	hr = cs_empty(n->pol.adapter) ? make_stub(n, &r, err) : find_parent(n, &r, err);
	if (hr == HCS_S_OK)
		hr = probe(n, &r, err);
	if (hr != HCS_S_OK)
		remove_parent(n);
	return hr;
}

/* The interface that an earlier service made in this namespace bears the endpoint's mark inside. */
static bool adopt(struct HcnNamespace *ns, struct HcnEndpoint *e, const char *ifname, const char *mark)
{
	cs_autoerr struct cs_err *err = NULL;
	struct cs_link_info l;

	if (cs_link_get(&ns->rt, 0, ifname, &l, &err) < 0 || strcmp(l.alias, mark) != 0)
		return false;
	e->inner = l.index;
	return true;
}

static HRESULT plug(struct HcnNamespace *ns, struct HcnEndpoint *e, const char *ifname, bool *adopted, struct cs_err **err)
{
	const struct cs_sysctl v6 = {NULL, e->v6.ip.family ? "0" : "1", true};
	cs_autofree char *mark = cs_mark_of(&e->o), *path = cs_xasprintf("net/ipv6/conf/%s/disable_ipv6", ifname);
	cs_autortnl struct cs_rtnl r = {0};
	cs_autoerr struct cs_err *why = NULL;
	struct cs_sysctl s = v6;
	struct cs_link_info l;
	uint32_t mode = 0, flag = 0;
	struct cs_nl b;

	e->outer = e->inner = 0;
	(void)snprintf(e->inner_name, sizeof(e->inner_name), "%s", ifname);
	*adopted = adopt(ns, e, ifname, mark);
	if (*adopted)
		return HCS_S_OK;
	cs_namespace_drop_warm(ns); /* its name may be wanted */
	if (cs_host_rtnl(&r, err) < 0)
		return HCS_E_FAIL;
	cs_nl_init(&b, &r);
	(void)find(is_macvlan(e->net) ? macvlan_modes : ipvlan_modes, is_macvlan(e->net) ? e->net->pol.macvlan_mode : e->net->pol.ipvlan_mode, &mode);
	(void)find(ipvlan_flags, e->net->pol.ipvlan_flag, &flag);
	if (is_macvlan(e->net))
		cs_link_add_macvlan(&b, e->net->index, ns->nsfd, ifname, e->mac, mode);
	else
		cs_link_add_ipvlan(&b, e->net->index, ns->nsfd, ifname, (uint16_t)mode, (uint16_t)flag);
	if (cs_nl_run(&b, &why) < 0 || cs_link_get(&ns->rt, 0, ifname, &l, &why) < 0) {
		cs_link_undo(&ns->rt, ifname, NULL, why);
		return (void)cs_err_move(err, TAKE_PTR(why)), HCN_E_NAMESPACE_ATTACH_FAILED;
	}
	e->inner = l.index;
	cs_nl_init(&b, &ns->rt);
	cs_link_set(&b, &(struct cs_link_change){.index = e->inner, .alias = mark, .arp_notify = 1}, "prepare the interface");
	s.path = path;
	return cs_nl_run(&b, err) < 0 || cs_netns_sysctls(ns->nsfd, &s, 1, err) < 0 ? HCN_E_NAMESPACE_ATTACH_FAILED : HCS_S_OK;
}

const struct cs_driver cs_driver_transparent = {
	.type = "Transparent", .outside = true, .own_mac = true, .create = create, .remove = remove_parent, .plug = plug};
const struct cs_driver cs_driver_l2bridge = {.type = "L2Bridge", .outside = true, .create = create, .remove = remove_parent, .plug = plug};
