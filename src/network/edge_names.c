/* SPDX-License-Identifier: Apache-2.0
 *
 * Endpoints and namespaces, as the embedded resolver sees them. */
#include "base/num.h"
#include "network/edge.h"

static size_t addresses(const struct HcnEndpoint *e, struct cs_resolver_addr ret[2])
{
	const struct cs_prefix *const v[] = {&e->v4, &e->v6};
	size_t n = 0;

	for (size_t i = 0; i < 2; i++)
		if (v[i]->ip.family) {
			struct cs_fw_addr a = cs_fw_addr_of(v[i]->ip);
			ret[n] = (struct cs_resolver_addr){.family = a.family, .v6 = a.v6};
			if (a.family == AF_INET)
				ret[n].v4 = a.v4;
			n++;
		}
	return n;
}

HRESULT cs_edge_names_add(struct HcnEndpoint *e, const struct cs_endpoint_policies *pol, struct cs_err **err)
{
	struct cs_resolver_addr addr[2];

	if (!pol->names || !pol->names[0]) {
		cs_edge_names_remove(e);
		return HCS_S_OK;
	}
	const struct cs_resolver_endpoint r = {.id = e->o.text, .name = pol->names[0], .aliases = (const char *const *)pol->names + 1, .addr = addr,
					       .n_addr = addresses(e, addr)};
	return cs_resolver_endpoint_set(cs_edge.resolver, e->net->o.text, &r, err) < 0 ? HCN_E_INVALID_POLICY : HCS_S_OK;
}

void cs_edge_names_remove(struct HcnEndpoint *e) { cs_resolver_endpoint_remove(cs_edge.resolver, e->net->o.text, e->o.text); }

/* "ndots:2": the user has set it to more than 0. The last one counts, as in resolv.conf. */
static bool ndots_set(char *const *options)
{
	uint64_t v = 0;

	for (; options && *options; options++) {
		const char *n = cs_prefix(*options, "ndots:");
		if (n && !cs_parse_u64(n, 0, INT32_MAX, &v))
			v = 0;
	}
	return v > 0;
}

struct view {
	char **servers, **options; /* copies */
	const char **networks;
	struct cs_resolver_link *links;
	size_t n_networks, n_links;
	char **targets; /* owned names of link targets */
	bool outside;
};

static void add_link(struct view *v, const char *network, const char *alias, const char *target)
{
	cs_strv_push(&v->targets, target);
	v->links = cs_xreallocarray(v->links, v->n_links + 1, sizeof(*v->links));
	v->links[v->n_links] = (struct cs_resolver_link){network, alias, v->targets[v->n_links]};
	v->n_links++;
}

static void add_links(struct view *v, const struct HcnEndpoint *e)
{
	const struct cs_strmap *m = e->pol.links, *names = e->pol.link_names;

	for (size_t i = 0; names && i < names->n; i++)
		add_link(v, e->net->o.text, names->kv[i].key, names->kv[i].val);
	for (size_t i = 0; m && i < m->n; i++) {
		HCN_GUID id;
		struct HcnEndpoint *to cs_auto(cs_autoep_done) = cs_hcn_guid_parse(m->kv[i].val, &id) ? cs_obj_get(CS_ENDPOINT, &id) : NULL;
		if (!to)
			continue;
		CS_GUARD(to != e ? &to->o.lock : NULL);
		if (!to->pol.names || !to->pol.names[0])
			continue;
		if (!cs_strmap_get(names, m->kv[i].key))
			add_link(v, to->net->o.text, m->kv[i].key, to->pol.names[0]);
	}
}

static void take_lists(struct view *v, const struct cs_doc_dns *dns)
{
	if (!v->servers && dns->servers && *dns->servers)
		v->servers = cs_strv_copy(dns->servers);
	if (!v->options && dns->options && *dns->options)
		v->options = cs_strv_copy(dns->options);
}

static bool has_gateway(const struct HcnNamespace *ns, const struct HcnEndpoint *e) { return e == ns->gateway4 || e == ns->gateway6; }

/* Each list from the first that has one: the namespace, its endpoints (those with the way out before the others), their networks, the service. */
static void find_lists(const struct HcnNamespace *ns, struct view *v)
{
	take_lists(v, &ns->doc.dns);
	for (int network = 0; network < 2; network++)
		for (int out = 1; out >= 0; out--)
			for (struct HcnEndpoint *e = ns->endpoints; e; e = e->next) {
				if (has_gateway(ns, e) != out)
					continue;
				if (!network) {
					take_lists(v, &e->doc.dns);
					continue;
				}
				CS_LOCK(e->net);
				take_lists(v, &e->net->doc.dns);
			}
	if (!v->servers)
		v->servers = cs_strv_copy(cs_net.settings.dns_servers);
}

static void look(const struct HcnNamespace *ns, struct view *v)
{
	size_t n = 0;

	for (const struct HcnEndpoint *e = ns->endpoints; e; e = e->next)
		n++;
	*v = (struct view){.networks = cs_xcalloc(n + 1, sizeof(char *))};
	for (const struct HcnEndpoint *e = ns->endpoints; e; e = e->next) {
		v->networks[v->n_networks++] = e->net->o.text;
		v->outside |= !cs_network_internal(e->net);
		add_links(v, e);
	}
	find_lists(ns, v);
}

static void view_done(struct view *v)
{
	free(v->networks);
	free(v->links);
	cs_strv_free(v->servers);
	cs_strv_free(v->options);
	cs_strv_free(v->targets);
}

HRESULT cs_edge_names(struct HcnNamespace *ns, struct cs_err **err)
{
	struct view v;

	if (!ns->doc.dns.resolver || ns->nsfd < 0)
		return HCS_S_OK;
	look(ns, &v);
	const struct cs_resolver_settings s = {.networks = v.networks, .link = v.links, .n_link = v.n_links, .servers = (const char *const *)v.servers,
					       .internal = v.n_networks > 0 && !v.outside, .ndots_set = ndots_set(v.options)};
	int r = ns->served ? cs_resolver_namespace_update(cs_edge.resolver, ns->key, &s, err)
			   : cs_resolver_namespace_add(cs_edge.resolver, ns->key, ns->nsfd, &s, err);
	ns->served = ns->served || r == 0;
	view_done(&v);
	return r < 0 ? HCS_E_FAIL : HCS_S_OK;
}

void cs_edge_forget(struct HcnNamespace *ns)
{
	if (ns->served)
		cs_resolver_namespace_remove(cs_edge.resolver, ns->key);
	ns->served = false;
}
