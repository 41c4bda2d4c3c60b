/* SPDX-License-Identifier: Apache-2.0
 *
 * An endpoint and the firewall: what it may send and receive, its published ports, legacy links. What is in force hangs on e->edge. */
#include "base/num.h"
#include "network/edge.h"
#include "network/ports.h"

struct edge {
	struct cs_port_hold **holds;
	size_t n_holds;
	struct cs_firewall_port *ports;
	size_t n_ports;
	struct cs_firewall_link *links;
	size_t n_links;
};

static void note(struct cs_err *err, const struct HcnEndpoint *e)
{
	cs_autofree char *text = cs_err_text(err);

	cs_logk(CS_LOG_WARN, SUBSYS, "endpoint", e->o.text, "%s", text);
}

/* ---- ACLs ---- */

/* Of one policy's JSON; strings are borrowed from the tree. */
static void acl_of(json_t *in, struct cs_firewall_acl *a)
{
	const char *action = json_string_value(json_object_get(in, "Action")), *direction = json_string_value(json_object_get(in, "Direction"));
	json_t *protocols = json_object_get(in, "Protocols");

	if (json_is_integer(protocols)) { /* one alone may be a number */
		cs_autofree char *text = cs_xasprintf("%lld", (long long)json_integer_value(protocols));
		(void)json_object_set_new(in, "Protocols", json_string(text));
	}

	*a = (struct cs_firewall_acl){
		.block = cs_streq(action, "Block"),
		.out = cs_streq(direction, "Out"),
		.priority = (uint16_t)json_integer_value(json_object_get(in, "Priority")),
		.protocols = json_string_value(json_object_get(in, "Protocols")),
		.local_addresses = json_string_value(json_object_get(in, "LocalAddresses")),
		.remote_addresses = json_string_value(json_object_get(in, "RemoteAddresses")),
		.local_ports = json_string_value(json_object_get(in, "LocalPorts")),
		.remote_ports = json_string_value(json_object_get(in, "RemotePorts")),
	};
}

struct acls {
	json_t **trees;
	struct cs_firewall_acl *v;
	size_t n;
};

/* The network's come behind the endpoint's own: of equal priority, the nearer one decides. */
static void acls_read(const struct cs_endpoint_policies *p, const struct HcnNetwork *n, struct acls *ret)
{
	char *const *const lists[] = {p->acls, n->pol.acls};
	size_t max = cs_strv_len(p->acls) + cs_strv_len(n->pol.acls);

	*ret = (struct acls){.trees = cs_xcalloc(max + 1, sizeof(json_t *)), .v = cs_xcalloc(max + 1, sizeof(struct cs_firewall_acl))};
	for (size_t i = 0; i < 2; i++)
		for (char *const *text = lists[i]; text && *text; text++) {
			json_t *in = cs_json_parse(*text, strlen(*text), NULL); /* was read once already */
			if (!in)
				continue;
			ret->trees[ret->n] = in;
			acl_of(in, &ret->v[ret->n++]);
		}
}

static void acls_done(struct acls *a)
{
	for (size_t i = 0; i < a->n; i++)
		json_decref(a->trees[i]);
	free(a->trees);
	free(a->v);
}

/* ---- the endpoint ---- */

bool cs_edge_antispoof(const struct HcnEndpoint *e, const struct cs_endpoint_policies *p)
{
	return p->antispoof != CS_NULL ? p->antispoof == CS_TRUE : e->net->pol.icc == CS_FALSE;
}

static int tell(const struct HcnNamespace *ns, const struct HcnEndpoint *e, const struct cs_endpoint_policies *p, struct cs_err **err)
{
	cs_autofree struct cs_fw_addr *more = cs_xcalloc(cs_strv_len(p->link_local) + 1, sizeof(*more));
	struct acls acls;
	struct cs_firewall_endpoint f = {.id = e->o.text, .name = e->doc.name, .ifname = e->outer_name, .ifindex = e->locked ? (uint32_t)e->outer : 0, .bridge = e->net->ifname, .sandbox = ns->o.text,
					 .antispoof = cs_edge_antispoof(e, p), .more = more};
	struct cs_ip ip;

	memcpy(f.mac, e->mac, sizeof(f.mac));
	if (e->v4.ip.family)
		f.v4 = cs_fw_addr_of(e->v4.ip).v4;
	if (e->v6.ip.family)
		f.v6 = cs_fw_addr_of(e->v6.ip).v6;
	for (char **l = p->link_local; l && *l; l++)
		if (cs_ip_parse(*l, &ip))
			more[f.n_more++] = cs_fw_addr_of(ip);
	acls_read(p, e->net, &acls);
	f.acls = acls.v;
	f.n_acls = acls.n;
	int r = cs_firewall_endpoint_add(cs_edge.firewall, &f, err);
	acls_done(&acls);
	return r;
}

/* ---- ports ---- */

/* The host's addresses of one mapping: as wanted, or of each family that the container has. Routed ones need none. */
static HRESULT hosts_of(const struct HcnEndpoint *e, const struct cs_port_mapping *m, struct cs_ip ret[2], size_t *n, struct cs_err **err)
{
	struct cs_ip vip = {0};

	*n = 0;
	if (!cs_empty(m->vip) && !cs_ip_parse(m->vip, &vip))
		return cs_hr_fail(err, HCN_E_INVALID_POLICY, 0, "PortMapping.VIP: %s is no address", m->vip);
	if (e->v4.ip.family && (!vip.family || vip.family == AF_INET))
		ret[(*n)++] = vip.family ? vip : (struct cs_ip){0, AF_INET};
	if (e->v6.ip.family && (!vip.family || vip.family == AF_INET6))
		ret[(*n)++] = vip.family ? vip : (struct cs_ip){0, AF_INET6};
	if (*n == 0)
		return cs_hr_fail(err, HCN_E_REQUEST_UNSUPPORTED, 0, "port %lld cannot be published at %s: the container has no address of that family",
				  (long long)m->internal, m->vip);
	return HCS_S_OK;
}

static bool routed(const struct HcnEndpoint *e, uint8_t family) { return (family == AF_INET ? e->net->pol.gw4 : e->net->pol.gw6) == CS_GW_ROUTED; }

/* No address was asked for, and the container has none of IPv6: by ::1 it is reached all the same. */
static bool by_loopback6(const struct HcnEndpoint *e, const struct cs_port_mapping *m)
{
	return cs_empty(m->vip) && e->v4.ip.family && !e->v6.ip.family && !routed(e, AF_INET);
}

/* The host's addresses of n mappings, at one number. */
static HRESULT hold(const struct HcnEndpoint *e, struct cs_port_mapping *m, size_t n, struct edge *g, struct cs_err **err)
{
	cs_autofree struct cs_fw_addr *addrs = cs_xcalloc(3 * n, sizeof(*addrs));
	size_t n_addrs = 0, n_hosts;
	struct cs_ip hosts[2];

	for (size_t i = 0; i < n; i++) {
		HRESULT hr = hosts_of(e, &m[i], hosts, &n_hosts, err);
		if (hr != HCS_S_OK)
			return hr;
		size_t before = n_addrs;
		for (size_t k = 0; k < n_hosts; k++)
			if (!routed(e, hosts[k].family))
				addrs[n_addrs++] = cs_fw_addr_of(hosts[k]);
		if (n_addrs > before && by_loopback6(e, &m[i])) /* who had the port of ::1 would not be reached any more */
			addrs[n_addrs++] = (struct cs_fw_addr){.family = AF_INET6};
	}
	if (n_addrs == 0)
		return HCS_S_OK;
	uint16_t last = (uint16_t)(m->external_last ? m->external_last : m->external);
	struct cs_port_request r = {.proto = (uint8_t)m->protocol, .addrs = addrs, .n_addrs = n_addrs, .first = (uint16_t)m->external, .last = last};
	struct cs_port_hold *h;
	if (cs_port_hold(&r, &h, err) < 0)
		return cs_edge_hr(*err);
	g->holds = cs_xreallocarray(g->holds, g->n_holds + 1, sizeof(struct cs_port_hold *));
	g->holds[g->n_holds++] = h;
	for (size_t i = 0; i < n; i++) {
		m[i].external = cs_port_hold_number(h);
		m[i].external_last = 0;
	}
	return HCS_S_OK;
}

static bool picks(const struct cs_port_mapping *m) { return m->external == 0 || m->external_last > m->external; }

/* Two that differ in the host's address alone, and can both have one number. */
static bool go_together(const struct cs_port_mapping *a, const struct cs_port_mapping *b)
{
	struct cs_ip x, y;

	if (a->protocol != b->protocol || a->internal != b->internal || a->external != b->external || a->external_last != b->external_last ||
	    !cs_ip_parse(a->vip, &x) || !cs_ip_parse(b->vip, &y))
		return false;
	return x.family != y.family || (x.n && y.n && x.n != y.n);
}

/* How many mappings from here on get one number: whichever of the addresses a name leads to, it is there (as with Docker since 28). */
static size_t group(const struct cs_port_mapping *m, size_t n)
{
	size_t g = 1;

	for (bool together = picks(m); together && g < n;) {
		for (size_t i = 0; i < g; i++)
			together = together && go_together(&m[i], &m[g]);
		g += together;
	}
	return g;
}

static HRESULT hold_ports(const struct HcnEndpoint *e, struct cs_endpoint_policies *p, struct edge *g, struct cs_err **err)
{
	g->ports = cs_xcalloc(2 * p->n_ports + 1, sizeof(*g->ports));
	for (size_t i = 0, n; i < p->n_ports; i += n) {
		n = group(&p->ports[i], p->n_ports - i);
		HRESULT hr = hold(e, &p->ports[i], n, g, err);
		if (hr != HCS_S_OK)
			return hr;
	}
	for (size_t i = 0; i < p->n_ports; i++) {
		const struct cs_port_mapping *m = &p->ports[i];
		struct cs_ip hosts[2];
		size_t n;
		HRESULT hr = hosts_of(e, m, hosts, &n, err);
		if (hr != HCS_S_OK)
			return hr;
		for (size_t j = 0; j < n; j++)
			g->ports[g->n_ports++] = (struct cs_firewall_port){
				.proto = (uint8_t)m->protocol, .host = cs_fw_addr_of(hosts[j]), .host_port = (uint16_t)m->external,
				.to = cs_fw_addr_of(hosts[j].family == AF_INET ? e->v4.ip : e->v6.ip), .to_port = (uint16_t)m->internal, .bridge = e->net->ifname,
				.by_loopback6 = by_loopback6(e, m)};
	}
	if (g->n_ports > 0 && cs_firewall_ports_add(cs_edge.firewall, g->ports, g->n_ports, err) < 0) {
		g->n_ports = 0; /* none of them is in force */
		return cs_edge_hr(*err);
	}
	return HCS_S_OK;
}

/* ---- links: with inter-container communication off, what `--link` opens ---- */

static void link_to(const struct HcnEndpoint *e, const struct HcnEndpoint *to, struct edge *g)
{
	const struct cs_ip from[] = {e->v4.ip, e->v6.ip}, there[] = {to->v4.ip, to->v6.ip};
	struct cs_port_range r;

	for (char **ports = to->exposed; ports && *ports; ports++)
		for (size_t i = 0; i < 2 && cs_parse_ports(*ports, &r); i++) {
			if (!from[i].family || !there[i].family)
				continue;
			g->links = cs_xreallocarray(g->links, g->n_links + r.hi - r.lo + 1u, sizeof(*g->links));
			for (unsigned port = r.lo; port <= r.hi; port++)
				g->links[g->n_links++] = (struct cs_firewall_link){
					.from = cs_fw_addr_of(from[i]), .to = cs_fw_addr_of(there[i]), .proto = r.proto, .port = (uint16_t)port};
		}
}

static int open_links(const struct HcnEndpoint *e, const struct cs_endpoint_policies *p, struct edge *g, struct cs_err **err)
{
	for (size_t i = 0; e->net->pol.icc == CS_FALSE && p->links && i < p->links->n; i++) {
		HCN_GUID id;
		struct HcnEndpoint *to cs_auto(cs_autoep_done) = cs_hcn_guid_parse(p->links->kv[i].val, &id) ? cs_obj_get(CS_ENDPOINT, &id) : NULL;
		if (to && to->net == e->net)
			link_to(e, to, g);
	}
	if (g->n_links > 0 && cs_firewall_links_add(cs_edge.firewall, g->links, g->n_links, err) < 0) {
		g->n_links = 0;
		return -1;
	}
	return 0;
}

/* ---- in and out ---- */

static void free_edge(struct edge *g)
{
	if (!g)
		return;
	for (size_t i = 0; i < g->n_holds; i++)
		cs_port_release(g->holds[i]);
	free(g->holds);
	free(g->ports);
	free(g->links);
	free(g);
}

void cs_edge_drop(struct HcnEndpoint *e) { free_edge(TAKE_PTR(e->edge)); }

static void close_edge(const struct HcnEndpoint *e, struct edge *g)
{
	cs_autoerr struct cs_err *ports = NULL, *links = NULL;

	if (g && g->n_ports > 0 && cs_firewall_ports_remove(cs_edge.firewall, g->ports, g->n_ports, &ports) < 0)
		note(ports, e);
	if (g && g->n_links > 0 && cs_firewall_links_remove(cs_edge.firewall, g->links, g->n_links, &links) < 0)
		note(links, e);
	free_edge(g);
}

/* Ports and links of these policies, in force; or an error and nothing. */
static HRESULT open_edge(const struct HcnEndpoint *e, struct cs_endpoint_policies *p, struct edge **ret, struct cs_err **err)
{
	struct edge *g = cs_xcalloc(1, sizeof(*g));
	HRESULT hr = HCS_S_OK;

	if (p->n_ports > 0)
		hr = hold_ports(e, p, g, err);
	if (hr == HCS_S_OK && open_links(e, p, g, err) < 0)
		hr = cs_edge_hr(*err);
	if (hr != HCS_S_OK) {
		close_edge(e, g);
		return hr;
	}
	*ret = g;
	return HCS_S_OK;
}

HRESULT cs_edge_plug(struct HcnNamespace *ns, struct HcnEndpoint *e, struct cs_err **err)
{
	struct edge *g = NULL;

	if (!e->net->driver->bridge)
		return cs_edge_names_add(e, &e->pol, err);
	if (tell(ns, e, &e->pol, err) < 0)
		return cs_edge_hr(*err);
	HRESULT hr = open_edge(e, &e->pol, &g, err);
	if (hr == HCS_S_OK)
		hr = cs_edge_names_add(e, &e->pol, err);
	e->edge = g;
	if (hr != HCS_S_OK)
		cs_edge_unplug(ns, e);
	return hr;
}

void cs_edge_unplug(struct HcnNamespace *ns, struct HcnEndpoint *e)
{
	cs_autoerr struct cs_err *err = NULL;

	cs_edge_names_remove(e);
	if (!e->net->driver->bridge)
		return;
	close_edge(e, TAKE_PTR(e->edge));
	if (cs_firewall_endpoint_remove(cs_edge.firewall, e->o.text, &err) < 0)
		note(err, e);
}

static bool same_ports(const struct cs_endpoint_policies *a, const struct cs_endpoint_policies *b)
{
	if (a->n_ports != b->n_ports)
		return false;
	for (size_t i = 0; i < a->n_ports; i++) {
		const struct cs_port_mapping *x = &a->ports[i], *y = &b->ports[i];
		if (x->protocol != y->protocol || x->internal != y->internal || x->external != y->external || x->external_last != y->external_last ||
		    !cs_streq(x->vip ? x->vip : "", y->vip ? y->vip : ""))
			return false;
	}
	return true;
}

/* Other links with the same ports, which stay as they are: they do not close for a moment. */
static HRESULT swap_links(struct HcnEndpoint *e, const struct cs_endpoint_policies *now, struct cs_err **err)
{
	cs_autoerr struct cs_err *ignored = NULL;
	struct edge fresh = {0};

	if (open_links(e, now, &fresh, err) < 0) {
		free(fresh.links);
		return cs_edge_hr(*err);
	}
	if (e->edge->n_links > 0 && cs_firewall_links_remove(cs_edge.firewall, e->edge->links, e->edge->n_links, &ignored) < 0)
		note(ignored, e);
	free(e->edge->links);
	e->edge->links = fresh.links;
	e->edge->n_links = fresh.n_links;
	return HCS_S_OK;
}

/* Ports that stay the same would be in their own way: the old ones are closed first, and opened again if the new ones cannot be. */
static HRESULT swap_edge(struct HcnEndpoint *e, struct cs_endpoint_policies *now, struct cs_err **err)
{
	cs_autoerr struct cs_err *ignored = NULL;
	struct edge *g = NULL;

	close_edge(e, TAKE_PTR(e->edge));
	HRESULT hr = open_edge(e, now, &g, err);
	if (hr != HCS_S_OK && open_edge(e, &e->pol, &g, &ignored) != HCS_S_OK)
		note(ignored, e);
	e->edge = g;
	return hr;
}

HRESULT cs_edge_replug(struct HcnNamespace *ns, struct HcnEndpoint *e, struct cs_endpoint_policies *now, struct cs_err **err)
{
	cs_autoerr struct cs_err *ignored = NULL;
	bool ports = !same_ports(&e->pol, now), links = !cs_strmap_equal(e->pol.links, now->links) || !cs_strmap_equal(e->pol.link_names, now->link_names);

	HRESULT hr = cs_edge_names_add(e, now, err);
	if (hr != HCS_S_OK || !e->net->driver->bridge)
		return hr;
	if (tell(ns, e, now, err) < 0)
		hr = cs_edge_hr(*err);
	else if (ports || (links && !e->edge))
		hr = swap_edge(e, now, err);
	else if (links)
		hr = swap_links(e, now, err);
	if (hr != HCS_S_OK && (tell(ns, e, &e->pol, &ignored) < 0 || cs_edge_names_add(e, &e->pol, &ignored) != HCS_S_OK))
		note(ignored, e);
	return hr;
}
