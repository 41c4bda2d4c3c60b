/* SPDX-License-Identifier: Apache-2.0
 *
 * Start and end of firewall and resolver; networks and load balancers. Endpoints: edge_endpoint.c, names: edge_names.c. */
#include "network/edge.h"

struct cs_edge cs_edge;

struct cs_fw_addr cs_fw_addr_of(struct cs_ip ip)
{
	struct cs_fw_addr a = {.family = ip.family};

	if (ip.family)
		(void)cs_ip_bytes(ip, a.bytes);
	return a;
}

HRESULT cs_edge_hr(const struct cs_err *err)
{
	switch (cs_err_code(err)) {
	case CS_ERR_CONFLICT:
		return HCN_E_PORT_ALREADY_EXISTS;
	case CS_ERR_INVALID:
		return HCN_E_INVALID_POLICY;
	case CS_ERR_UNSUPPORTED:
		return HCN_E_REQUEST_UNSUPPORTED;
	default:
		return HCS_E_FAIL;
	}
}

static void complain(struct cs_err *err, const char *what, const char *id)
{
	cs_autofree char *text = cs_err_text(err);

	cs_warn(SUBSYS, "%s %s: %s", what, id, text);
}

static void on_restored(void *unused, const struct cs_err *err)
{
	cs_autofree char *text = err ? cs_err_text(err) : NULL;

	if (err)
		cs_error(SUBSYS, "our firewall rules were removed and cannot be put back: %s", text);
	else
		cs_warn(SUBSYS, "our firewall rules were removed by somebody, and are back");
}

static void on_behind(void *unused) { cs_background_again(); }
static void on_bridges(void *unused) { cs_background_review_all(); }

HRESULT cs_edge_start(struct cs_err **err)
{
	const struct cs_firewall_config firewall = {.table = cs_net.instance, .enabled = cs_net.firewall, .bpf_dir = cs_net.settings.bpf_dir, .restored = on_restored,
						   .behind = on_behind, .bridges = on_bridges};
	const struct cs_resolver_options resolver = {.resolv_conf = cs_empty(cs_net.settings.resolv_conf) ? NULL : cs_net.settings.resolv_conf};

	if (cs_firewall_open(&firewall, &cs_edge.firewall, err) < 0 || cs_resolver_open(&resolver, &cs_edge.resolver, err) < 0)
		return HCS_E_FAIL;
	return HCS_S_OK;
}

void cs_edge_stop(void)
{
	cs_resolver_close(TAKE_PTR(cs_edge.resolver));
	cs_firewall_close(TAKE_PTR(cs_edge.firewall));
}

HRESULT cs_edge_settle(struct cs_err **err)
{
	if (cs_firewall_settle(cs_edge.firewall, err) < 0)
		return HCS_E_FAIL;
	cs_background_review_all();
	return HCS_S_OK;
}

bool cs_edge_bridges_ours(void) { return cs_firewall_bridges_ours(cs_edge.firewall); }

bool cs_edge_mend(void)
{
	cs_autoerr struct cs_err *err = NULL;

	if (cs_firewall_mend(cs_edge.firewall, &err) == 0)
		return true;
	complain(err, "firewall of instance", cs_net.instance);
	return false;
}

int cs_edge_close_host(uint8_t family, struct cs_err **err) { return cs_firewall_close_host(cs_edge.firewall, family, err); }

HRESULT cs_edge_reachability(char **report, struct cs_err **err)
{
	struct cs_str json = CS_STR_INIT(64 << 20);

	if (cs_firewall_reachability(cs_edge.firewall, &json, err) < 0) {
		cs_str_done(&json);
		return HCS_E_FAIL;
	}
	*report = cs_str_steal(&json);
	return HCS_S_OK;
}

/* ---- networks ---- */

static enum cs_firewall_mode mode_of(enum cs_gateway_mode m)
{
	switch (m) {
	case CS_GW_NAT:
		return CS_FW_NAT;
	case CS_GW_NAT_UNPROTECTED:
		return CS_FW_UNPROTECTED;
	case CS_GW_ROUTED:
		return CS_FW_ROUTED;
	case CS_GW_ISOLATED:
		return CS_FW_ISOLATED;
	}
	return CS_FW_NAT;
}

static HRESULT snat(const char *text, uint8_t family, const char *what, struct cs_ip *ret, struct cs_err **err)
{
	*ret = (struct cs_ip){0};
	if (cs_empty(text))
		return HCS_S_OK;
	if (!cs_ip_parse(text, ret) || ret->family != family)
		return cs_hr_fail(err, HCN_E_INVALID_IP, 0, "%s: %s is no IPv%d address", what, text, family == AF_INET ? 4 : 6);
	return HCS_S_OK;
}

HRESULT cs_edge_network_add(struct HcnNetwork *n, struct cs_err **err)
{
	const struct cs_network_policies *p = &n->pol;
	struct cs_ip host4, host6;

	cs_resolver_network_set(cs_edge.resolver, n->o.text, n->doc.name ? n->doc.name : "");
	if (!n->driver->bridge)
		return HCS_S_OK;
	cs_autostrv char **trusted = cs_empty(p->trusted) ? NULL : cs_strv_split(p->trusted, ':');
	struct cs_firewall_network f = {.bridge = n->ifname,
					.internal = cs_network_internal(n),
					.icc = p->icc != CS_FALSE,
					.masquerade4 = p->masquerade != CS_FALSE,
					.masquerade6 = p->masquerade6 != CS_FALSE,
					.mode4 = mode_of(p->gw4),
					.mode6 = mode_of(p->gw6),
					.shared = !n->made || n->driver == &cs_driver_overlay,
					.direct = cs_net.settings.direct_routing,
					.trusted = trusted};
	HRESULT hr = snat(p->host_ip4, AF_INET, "LinuxBridge.HostIp4", &host4, err);
	if (hr == HCS_S_OK)
		hr = snat(p->host_ip6, AF_INET6, "LinuxBridge.HostIp6", &host6, err);
	if (hr != HCS_S_OK)
		return hr;
	if (host4.family)
		f.snat4 = cs_fw_addr_of(host4).v4;
	if (host6.family)
		f.snat6 = cs_fw_addr_of(host6).v6;
	return cs_firewall_network_add(cs_edge.firewall, &f, err) < 0 ? cs_edge_hr(*err) : HCS_S_OK;
}

void cs_edge_network_remove(struct HcnNetwork *n)
{
	cs_autoerr struct cs_err *err = NULL;

	cs_resolver_network_remove(cs_edge.resolver, n->o.text);
	if (n->driver->bridge && cs_firewall_network_remove(cs_edge.firewall, n->ifname, &err) < 0)
		complain(err, "firewall of network", n->o.text);
}

/* ---- load balancers: one of the firewall's for each virtual address, named after it ---- */

static char *lb_id(const struct HcnLoadBalancer *l, const char *vip, struct cs_ip *ip)
{
	char text[CS_IP_TEXT];

	return cs_ip_parse(vip, ip) ? cs_xasprintf("%s/%s", l->o.text, cs_ip_text(*ip, text)) : NULL;
}

static HRESULT set_vip(const struct HcnLoadBalancer *l, const struct cs_doc_lb *doc, const char *vip, const struct cs_fw_addr *to, size_t n_to, struct cs_err **err)
{
	struct cs_ip ip;
	cs_autofree char *id = lb_id(l, vip, &ip);
	cs_autofree struct cs_firewall_lb_port *ports = cs_xcalloc(doc->n_ports + 1, sizeof(*ports));
	cs_autofree struct cs_fw_addr *mine = cs_xcalloc(n_to + 1, sizeof(*mine));

	if (!id)
		return cs_hr_fail(err, HCN_E_INVALID_IP, 0, "FrontendVIPs: %s is no address", vip);
	struct cs_firewall_lb f = {.id = id, .vip = cs_fw_addr_of(ip), .ports = ports, .to = mine, .sticky = doc->ports[0].distribution != 0};
	for (size_t j = 0; j < doc->n_ports; j++)
		ports[f.n_ports++] = (struct cs_firewall_lb_port){(uint8_t)doc->ports[j].protocol, (uint16_t)doc->ports[j].external, (uint16_t)doc->ports[j].internal};
	for (size_t j = 0; j < n_to; j++)
		if (to[j].family == ip.family)
			mine[f.n_to++] = to[j];
	int r = f.n_to > 0 ? cs_firewall_lb_add(cs_edge.firewall, &f, err) : cs_firewall_lb_remove(cs_edge.firewall, id, err);
	return r < 0 ? cs_edge_hr(*err) : HCS_S_OK;
}

static HRESULT set_vips(const struct HcnLoadBalancer *l, const struct cs_doc_lb *doc, struct cs_err **err)
{
	size_t n = cs_strv_len(doc->endpoints), count = 0;
	cs_autofree struct cs_fw_addr *to = cs_xcalloc(2 * n + 1, sizeof(*to));
	HRESULT hr = HCS_S_OK;

	for (size_t i = 0; i < n; i++) {
		HCN_GUID id;
		struct HcnEndpoint *e cs_auto(cs_autoep_done) = cs_hcn_guid_parse(doc->endpoints[i], &id) ? cs_obj_get(CS_ENDPOINT, &id) : NULL;
		if (e && e->v4.ip.family)
			to[count++] = cs_fw_addr_of(e->v4.ip);
		if (e && e->v6.ip.family)
			to[count++] = cs_fw_addr_of(e->v6.ip);
	}
	for (size_t i = 0; doc->vips[i] && hr == HCS_S_OK; i++)
		hr = set_vip(l, doc, doc->vips[i], to, count, err);
	return hr;
}

static bool has_vip(const struct HcnLoadBalancer *l, const struct cs_doc_lb *doc, const char *id)
{
	struct cs_ip ip;

	for (size_t i = 0; doc && doc->vips && doc->vips[i]; i++) {
		cs_autofree char *its = lb_id(l, doc->vips[i], &ip);
		if (cs_streq(its, id))
			return true;
	}
	return false;
}

/* Those of `doc` that `but` (may be NULL) has not. */
static void drop_vips(const struct HcnLoadBalancer *l, const struct cs_doc_lb *doc, const struct cs_doc_lb *but)
{
	struct cs_ip ip;

	for (size_t i = 0; doc->vips && doc->vips[i]; i++) {
		cs_autoerr struct cs_err *err = NULL;
		cs_autofree char *id = lb_id(l, doc->vips[i], &ip);
		if (id && !has_vip(l, but, id) && cs_firewall_lb_remove(cs_edge.firewall, id, &err) < 0)
			complain(err, "load balancer", id);
	}
}

HRESULT cs_edge_lb_set(struct HcnLoadBalancer *l, const struct cs_doc_lb *old, struct cs_err **err)
{
	cs_autoerr struct cs_err *ignored = NULL;
	HRESULT hr = set_vips(l, &l->doc, err);

	if (hr == HCS_S_OK && old)
		drop_vips(l, old, &l->doc);
	if (hr == HCS_S_OK)
		return hr;
	drop_vips(l, &l->doc, old);
	if (old && set_vips(l, old, &ignored) != HCS_S_OK)
		complain(ignored, "load balancer", l->o.text);
	return hr;
}

void cs_edge_lb_remove(struct HcnLoadBalancer *l) { drop_vips(l, &l->doc, NULL); }

void cs_edge_lbs_without(const struct HcnEndpoint *e)
{
	size_t n;
	void **v = cs_obj_all(CS_LB, &n);

	for (size_t i = 0; i < n; i++) {
		struct HcnLoadBalancer *l = v[i];
		cs_autoerr struct cs_err *err = NULL;
		CS_LOCK(l);
		if (!l->o.gone && cs_strv_has(l->doc.endpoints, e->o.text) && set_vips(l, &l->doc, &err) != HCS_S_OK)
			complain(err, "load balancer", l->o.text);
	}
	cs_obj_put_all(CS_LB, v, n);
}
