/* SPDX-License-Identifier: Apache-2.0
 *
 * Overlay: a bridge with a VXLAN port. Who is where is told by RemoteSubnetRoute policies; what is unknown is flooded
 * to those peers and to nobody else (RFC 7348, unicast mode), and answers are learned from. A policy for a whole subnet names a host to which unknown addresses of it are sent; one for a single
 * address (/32, /128) with the hardware address puts an entry of its own into the forwarding tables, and the bridge answers questions for it. */
#include "network/edge.h"
#include "network/netns.h"

#define PORT 4789    /* RFC 7348 */
#define OVERHEAD 50u /* of the outer Ethernet, IPv4, UDP and VXLAN headers; 20 more with IPv6 outside */

struct remote {
	struct cs_prefix to;
	struct cs_ip at;
	uint8_t mac[6];
	bool has_mac;
};

static HRESULT parse_remote(const struct cs_remote_subnet *p, struct remote *ret, struct cs_err **err)
{
	*ret = (struct remote){.has_mac = !cs_empty(p->router_mac)};
	if (!cs_prefix_parse(p->prefix, &ret->to))
		return cs_hr_fail(err, HCN_E_INVALID_POLICY, 0, "RemoteSubnetRoute.DestinationPrefix: %s is no prefix", p->prefix);
	if (!cs_ip_parse(p->provider, &ret->at) || !ret->at.n)
		return cs_hr_fail(err, HCN_E_INVALID_POLICY, 0, "RemoteSubnetRoute.ProviderAddress: %s is no address", p->provider);
	if (ret->has_mac && !cs_mac_parse(p->router_mac, ret->mac))
		return cs_hr_fail(err, HCN_E_INVALID_POLICY, 0, "RemoteSubnetRoute.DistributedRouterMacAddress: %s is no hardware address", p->router_mac);
	if (p->isolation < 0 || p->isolation > 0xFFFFFF)
		return cs_hr_fail(err, HCN_E_INVALID_POLICY, 0, "RemoteSubnetRoute.IsolationId: %lld is no VXLAN network identifier", (long long)p->isolation);
	return HCS_S_OK;
}

static bool is_host(struct cs_prefix p) { return p.len == cs_ip_bits(p.ip.family); }

static HRESULT peers(struct HcnNetwork *n, struct cs_nl *b, const struct cs_network_policies *pol, bool add, struct cs_err **err)
{
	for (size_t i = 0; i < pol->n_remotes; i++) {
		struct remote p;
		HRESULT hr = parse_remote(&pol->remotes[i], &p, err);
		if (hr != HCS_S_OK)
			return hr;
		uint32_t vni = pol->remotes[i].isolation == pol->vsid ? 0 : (uint32_t)pol->remotes[i].isolation;
		(add ? cs_fdb_add : cs_fdb_del)(b, n->port_index, p.has_mac ? p.mac : NULL, p.at, vni);
		if (!p.has_mac)
			continue;
		(add ? cs_bridge_fdb_add : cs_bridge_fdb_del)(b, n->port_index, p.mac);
		if (add && is_host(p.to))
			cs_neigh_add(b, n->index, p.to.ip, p.mac);
		else if (is_host(p.to))
			cs_neigh_del(b, n->index, p.to.ip);
	}
	return HCS_S_OK;
}

static int make_port(struct HcnNetwork *n, struct cs_rtnl *r, struct cs_err **err)
{
	cs_autofree char *mark = cs_mark_of(&n->o);
	cs_autoerr struct cs_err *why = NULL;
	struct cs_ip local = {0};
	struct cs_link_info l;
	int parent = 0;
	struct cs_nl b;

	if (!cs_empty(n->pol.provider) && !cs_ip_parse(n->pol.provider, &local))
		return cs_fail(err, CS_ERR_INVALID, 0, "ProviderAddress: %s is no address", n->pol.provider);
	if (!cs_empty(n->pol.adapter)) {
		if (cs_link_get(r, 0, n->pol.adapter, &l, err) < 0)
			return -1;
		parent = l.index;
	}
	cs_nl_init(&b, r);
	cs_link_add_vxlan(&b, n->port, (uint32_t)n->pol.vsid, (uint16_t)(n->pol.vxlan_port ? n->pol.vxlan_port : PORT), local, parent);
	cs_link_set(&b, &(struct cs_link_change){.name = n->port, .alias = mark, .mtu = n->mtu, .no_ipv6_addr = true, .deaf = true}, "prepare the VXLAN port");
	if (cs_nl_run(&b, &why) < 0 || cs_sysctl_ipv6_off(n->port, &why) < 0 || cs_link_get(r, 0, n->port, &l, &why) < 0) {
		cs_link_undo(r, n->port, mark, why);
		return cs_err_move(err, TAKE_PTR(why));
	}
	n->port_index = l.index;
	return 0;
}

static HRESULT add_port(struct HcnNetwork *n, struct cs_err **err)
{
	cs_autortnl struct cs_rtnl r = {0};
	cs_autofree char *mark = cs_mark_of(&n->o);
	struct cs_link_info l;
	struct cs_nl b;

	(void)snprintf(n->port, sizeof(n->port), "csv%.8s", n->o.text);
	if (cs_host_rtnl(&r, err) < 0)
		return HCS_E_FAIL;
	bool there = cs_link_get(&r, 0, n->port, &l, NULL) == 0 && strcmp(l.alias, mark) == 0 && strcmp(l.kind, "vxlan") == 0;
	n->port_index = there ? l.index : 0;
	if (!there && make_port(n, &r, err) < 0)
		return HCS_E_FAIL;
	cs_nl_init(&b, &r);
	cs_link_set(&b, &(struct cs_link_change){.index = n->port_index, .master = (uint32_t)n->index, .up = true}, "plug in the VXLAN port");
	cs_link_suppress_neigh(&b, n->port_index);
	HRESULT hr = peers(n, &b, &n->pol, true, err);
	return cs_nl_run(&b, err) < 0 && hr == HCS_S_OK ? HCS_E_FAIL : hr;
}

static void remove_all(struct HcnNetwork *n)
{
	if (n->port_index > 0)
		cs_links_delete(&n->port_index, 1);
	n->port_index = 0;
	cs_bridge_remove(n);
}

static HRESULT create(struct HcnNetwork *n, struct cs_err **err)
{
	struct cs_ip at = {0};

	if (!n->pol.has_vsid)
		return cs_hr_fail(err, HCN_E_INVALID_NETWORK, 0, "an Overlay network needs a VXLAN network identifier (policy VSID)");
	if (n->pol.n_remotes > 0)
		at.family = cs_ip_parse(n->pol.remotes[0].provider, &at) ? at.family : 0;
	if (!n->mtu)
		n->mtu = 1500 - OVERHEAD - (at.family == AF_INET6 ? 20 : 0);
	HRESULT hr = cs_bridge_create(n, !(n->doc.flags & 1024), err);
	if (hr != HCS_S_OK)
		return hr;
	hr = add_port(n, err);
	if (hr != HCS_S_OK)
		remove_all(n);
	return hr;
}

static HRESULT update(struct HcnNetwork *n, const struct cs_network_policies *now, struct cs_err **err)
{
	cs_autortnl struct cs_rtnl r = {0};
	struct cs_nl b;

	if (cs_host_rtnl(&r, err) < 0)
		return HCS_E_FAIL;
	for (size_t i = 0; i < now->n_remotes; i++) { /* before the old ones go */
		struct remote p;
		HRESULT hr = parse_remote(&now->remotes[i], &p, err);
		if (hr != HCS_S_OK)
			return hr;
	}
	cs_nl_init(&b, &r);
	HRESULT hr = peers(n, &b, &n->pol, false, err);
	if (hr == HCS_S_OK)
		hr = peers(n, &b, now, true, err);
	return cs_nl_run(&b, err) < 0 && hr == HCS_S_OK ? HCS_E_FAIL : hr;
}

const struct cs_driver cs_driver_overlay = {
	.type = "Overlay", .bridge = true, .own_mac = true, .create = create, .remove = remove_all, .plug = cs_veth_plug, .update = update};
