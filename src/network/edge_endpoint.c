/* SPDX-License-Identifier: Apache-2.0
 *
 * An endpoint and the firewall: what it may send and receive, legacy links; with edge_ports.c its published ports. What is in force hangs on e->edge. */
#include "base/num.h"
#include "network/edge.h"

struct edge {
	struct cs_edge_ports ports;
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

void cs_edge_retell(const struct HcnNamespace *ns, const struct HcnEndpoint *e)
{
	cs_autoerr struct cs_err *err = NULL;

	if (e->net->driver->bridge && tell(ns, e, &e->pol, &err) < 0)
		note(err, e);
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
	cs_edge_ports_drop(&g->ports);
	free(g->links);
	free(g);
}

void cs_edge_drop(struct HcnEndpoint *e) { free_edge(TAKE_PTR(e->edge)); }

static void close_edge(const struct HcnEndpoint *e, struct edge *g)
{
	cs_autoerr struct cs_err *ports = NULL, *links = NULL;

	if (g && cs_edge_ports_close(&g->ports, &ports) < 0)
		note(ports, e);
	if (g && g->n_links > 0 && cs_firewall_links_remove(cs_edge.firewall, g->links, g->n_links, &links) < 0)
		note(links, e);
	free_edge(g);
}

/* The endpoint's ports alone become those of `now`; or an error and nothing has changed. */
static HRESULT publish(struct HcnEndpoint *e, struct cs_edge_ports *in_force, struct cs_endpoint_policies *now, struct cs_err **err)
{
	cs_autofree struct cs_edge_place *v = cs_xcalloc(now->n_ports + 1, sizeof(*v));
	struct cs_edge_change c = {.e = e, .in_force = in_force};

	for (size_t i = 0; i < now->n_ports; i++)
		v[i].m = &now->ports[i];
	return cs_edge_publish(&c, 1, v, now->n_ports, err);
}

struct cs_edge_ports *cs_edge_ports_of(struct HcnEndpoint *e) { return e->edge ? &e->edge->ports : NULL; }

/* Ports and links of these policies, in force; or an error and nothing. */
static HRESULT open_edge(struct HcnEndpoint *e, struct cs_endpoint_policies *p, struct edge **ret, struct cs_err **err)
{
	struct edge *g = cs_xcalloc(1, sizeof(*g));
	HRESULT hr = HCS_S_OK;

	if (p->n_ports > 0)
		hr = publish(e, &g->ports, p, err);
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

HRESULT cs_edge_replug(struct HcnNamespace *ns, struct HcnEndpoint *e, struct cs_endpoint_policies *now, struct cs_err **err)
{
	cs_autoerr struct cs_err *ignored = NULL;
	bool ports = !cs_edge_same_ports(&e->pol, now), links = !cs_strmap_equal(e->pol.links, now->links) || !cs_strmap_equal(e->pol.link_names, now->link_names);

	HRESULT hr = cs_edge_names_add(e, now, err);
	if (hr != HCS_S_OK || !e->net->driver->bridge)
		return hr;
	if (tell(ns, e, now, err) < 0)
		hr = cs_edge_hr(*err);
	if (hr == HCS_S_OK && ports)
		hr = publish(e, &e->edge->ports, now, err);
	if (hr == HCS_S_OK && links) {
		hr = swap_links(e, now, err);
		if (hr != HCS_S_OK && ports && publish(e, &e->edge->ports, &e->pol, &ignored) != HCS_S_OK)
			note(ignored, e);
	}
	if (hr != HCS_S_OK && (tell(ns, e, &e->pol, &ignored) < 0 || cs_edge_names_add(e, &e->pol, &ignored) != HCS_S_OK))
		note(ignored, e);
	return hr;
}
