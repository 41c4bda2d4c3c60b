/* SPDX-License-Identifier: Apache-2.0
 *
 * Networks: the document becomes subnets and links; changes; the way out. */
#include "network/edge.h"

#include "base/id.h"

void cs_network_free(struct HcnNetwork *n)
{
	cs_prefix_release(n);
	for (size_t i = 0; i < n->n_subnets; i++)
		cs_subnet_done(&n->subnets[i]);
	free(n->subnets);
	cs_network_policies_done(&n->pol);
	cs_json_release(&cs_doc_network_type, &n->doc);
	free(n);
}

const struct cs_driver *cs_driver_find(const char *type)
{
	static const struct cs_driver *const all[] = {&cs_driver_nat,	      &cs_driver_internal, &cs_driver_private,
						      &cs_driver_transparent, &cs_driver_l2bridge, &cs_driver_overlay};

	for (size_t i = 0; i < CS_ARRAY_SIZE(all); i++)
		if (cs_empty(type) || strcmp(all[i]->type, type) == 0)
			return all[i];
	return NULL;
}

bool cs_network_internal(const struct HcnNetwork *n) { return !n->driver->outside || (!n->driver->bridge && (n->pol.internal || cs_empty(n->pol.adapter))); }

/* ---- subnets ---- */

static bool is_default(const char *prefix) { return cs_streq(prefix, "0.0.0.0/0") || cs_streq(prefix, "::/0"); }

static HRESULT reserve(struct cs_subnet *s, const char *text, const char *what, struct cs_ip *ret, struct cs_err **err)
{
	cs_autoerr struct cs_err *e = NULL;
	struct cs_ip ip;

	if (!cs_ip_parse(text, &ip))
		return cs_hr_fail(err, HCN_E_INVALID_IP, 0, "%s: %s is no address", what, text ? text : "");
	if (cs_subnet_take(s, ip, &e) < 0) {
		HRESULT hr = cs_err_code(e) == CS_ERR_CONFLICT ? HCN_E_ADDR_INVALID_OR_RESERVED : HCN_E_INVALID_IP;
		(void)cs_err_move(err, TAKE_PTR(e));
		(void)cs_wrap(err, "%s", what);
		return hr;
	}
	if (ret)
		*ret = ip;
	return HCS_S_OK;
}

/* The gateway of the document, or the first free address of the range, which then goes into the document. */
static HRESULT set_gateway(struct HcnNetwork *n, struct cs_subnet *s, struct cs_doc_subnet *doc, struct cs_err **err)
{
	char text[CS_IP_TEXT];

	for (size_t i = 0; i < doc->n_routes; i++)
		if (is_default(doc->routes[i].to))
			return reserve(s, doc->routes[i].next_hop, "gateway", &s->gateway, err);
	if (cs_subnet_take_any(s, &s->gateway, err) < 0)
		return HCN_E_ADDR_INVALID_OR_RESERVED;
	doc->routes = cs_xreallocarray(doc->routes, doc->n_routes + 1, sizeof(*doc->routes));
	doc->routes[doc->n_routes++] = (struct cs_doc_route){.next_hop = cs_xstrdup(cs_ip_text(s->gateway, text)),
							     .to = cs_xstrdup(s->gateway.family == AF_INET ? "0.0.0.0/0" : "::/0")};
	return HCS_S_OK;
}

/* An address for a gateway that nobody asked for: only where one would be used. The LAN's router, if any, is known to the user alone; and a
 * subnet of one or two addresses has none to spare. */
static bool wants_gateway(const struct HcnNetwork *n, const struct cs_subnet *s)
{
	bool four = s->prefix.ip.family == AF_INET;

	if (!n->driver->bridge || (four ? n->pol.gw4 : n->pol.gw6) == CS_GW_ISOLATED || (four && n->pol.inhibit_ipv4 && !n->driver->outside))
		return false;
	return s->prefix.len + 1u < cs_ip_bits(s->prefix.ip.family) || n->driver == &cs_driver_nat;
}

/* A bridge that is there with an address has a subnet already: it is the network's where none is given, with that address as gateway.
 * A part of it that is given is the range for containers (dockerd's fixed-cidr beside bridge). */
static void take_bridges(const struct HcnNetwork *n, uint8_t family, struct cs_doc_subnet *doc)
{
	struct cs_prefix has, wanted = {0};
	char text[CS_PREFIX_TEXT], ip[CS_IP_TEXT];

	if (!cs_empty(doc->range) || doc->n_routes || (doc->prefix && !cs_prefix_parse(doc->prefix, &wanted)))
		return;
	if (!cs_bridge_has(n, doc->prefix ? wanted.ip.family : family, &has))
		return;
	struct cs_prefix subnet = {cs_prefix_base(has), has.len};
	if (doc->prefix && (!cs_prefix_overlaps(subnet, wanted) || wanted.len <= subnet.len || !wanted.ip.n))
		return;
	free(doc->range);
	doc->range = doc->prefix;
	doc->prefix = cs_xstrdup(cs_prefix_text(subnet, text));
	free(doc->routes);
	doc->routes = cs_xcalloc(1, sizeof(*doc->routes));
	doc->n_routes = 1;
	doc->routes[0] = (struct cs_doc_route){.next_hop = cs_xstrdup(cs_ip_text(has.ip, ip)), .to = cs_xstrdup(has.ip.family == AF_INET ? "0.0.0.0/0" : "::/0")};
}

static HRESULT add_subnet(struct HcnNetwork *n, uint8_t family, struct cs_doc_subnet *doc, struct cs_err **err)
{
	struct cs_prefix wanted = {0}, range, given;
	char text[CS_PREFIX_TEXT];

	take_bridges(n, family, doc);
	if (doc->prefix && !cs_prefix_parse(doc->prefix, &wanted))
		return cs_hr_fail(err, HCN_E_INVALID_PREFIX, 0, "IpAddressPrefix: %s is no prefix", doc->prefix);
	if (doc->prefix)
		family = wanted.ip.family;
	HRESULT hr = doc->prefix && (wanted.ip.n || !wanted.len) ? cs_check_subnet(wanted, err) : HCS_S_OK;
	if (hr == HCS_S_OK)
		hr = cs_check_subnet_routes(doc, family, err);
	if (hr != HCS_S_OK)
		return hr;
	if (family == AF_INET ? !cs_net.ipv4 || n->pol.ipv4 == CS_FALSE : !cs_net.ipv6 || n->pol.ipv6 == CS_FALSE)
		return cs_hr_fail(err, HCN_E_INVALID_SUBNET, 0, "IPv%d is switched off", family == AF_INET ? 4 : 6);
	if (!cs_empty(doc->range) && !cs_prefix_parse(doc->range, &range))
		return cs_hr_fail(err, HCN_E_INVALID_PREFIX, 0, "IpRange: %s is no prefix", doc->range);
	hr = cs_prefix_claim(n, family, doc->prefix ? &wanted : NULL, &given, err);
	if (hr != HCS_S_OK)
		return hr;
	free(doc->prefix);
	doc->prefix = cs_xstrdup(cs_prefix_text(given, text));
	n->subnets = cs_xreallocarray(n->subnets, n->n_subnets + 1, sizeof(*n->subnets));
	struct cs_subnet *s = &n->subnets[n->n_subnets];
	if (cs_subnet_init(s, given, cs_empty(doc->range) ? NULL : &range, err) < 0)
		return HCN_E_INVALID_SUBNET;
	n->n_subnets++;
	/* first what is asked for, then what is left: an address of the user's may be the first of the range */
	bool has_gateway = false;
	for (size_t i = 0; i < doc->n_routes; i++)
		has_gateway |= is_default(doc->routes[i].to);
	if (has_gateway)
		hr = set_gateway(n, s, doc, err);
	for (char **aux = doc->aux; aux && *aux && hr == HCS_S_OK; aux++)
		hr = reserve(s, *aux, "AuxAddresses", NULL, err);
	if (hr == HCS_S_OK && !has_gateway && wants_gateway(n, s))
		hr = set_gateway(n, s, doc, err);
	return hr;
}

static bool family_given(const struct cs_doc_network *doc, uint8_t family)
{
	struct cs_prefix p;

	for (size_t i = 0; i < doc->n_ipams; i++)
		for (size_t j = 0; j < doc->ipams[i].n_subnets; j++)
			if (cs_prefix_parse(doc->ipams[i].subnets[j].prefix, &p) && p.ip.family == family)
				return true;
	return false;
}

/* A family that is wanted and has no subnet in the document gets one from the default pools. */
static HRESULT add_default(struct HcnNetwork *n, uint8_t family, struct cs_err **err)
{
	if (n->doc.n_ipams == 0) {
		n->doc.ipams = cs_xcalloc(1, sizeof(*n->doc.ipams));
		n->doc.n_ipams = 1;
	}
	struct cs_doc_ipam *ipam = &n->doc.ipams[0];
	ipam->subnets = cs_xreallocarray(ipam->subnets, ipam->n_subnets + 1, sizeof(*ipam->subnets));
	ipam->subnets[ipam->n_subnets] = (struct cs_doc_subnet){0};
	return add_subnet(n, family, &ipam->subnets[ipam->n_subnets++], err);
}

static HRESULT add_subnets(struct HcnNetwork *n, struct cs_err **err)
{
	for (size_t i = 0; i < n->doc.n_ipams; i++) {
		const char *type = n->doc.ipams[i].type;
		if (!cs_empty(type) && strcmp(type, "Static") != 0)
			return cs_hr_fail(err, HCN_E_INVALID_NETWORK, 0, "Ipams[%zu].Type: %s is not supported", i, type);
		for (size_t j = 0; j < n->doc.ipams[i].n_subnets; j++) {
			HRESULT hr = add_subnet(n, 0, &n->doc.ipams[i].subnets[j], err);
			if (hr != HCS_S_OK)
				return hr;
		}
	}
	HRESULT hr = HCS_S_OK;
	if (n->pol.ipv4 != CS_FALSE && cs_net.ipv4 && !family_given(&n->doc, AF_INET) && (n->pol.ipv4 == CS_TRUE || n->n_subnets == 0))
		hr = add_default(n, AF_INET, err);
	if (hr == HCS_S_OK && n->pol.ipv6 == CS_TRUE && !cs_network_has(n, AF_INET6))
		hr = add_default(n, AF_INET6, err);
	if (hr == HCS_S_OK && n->n_subnets == 0)
		return cs_hr_fail(err, HCN_E_INVALID_NETWORK, 0, "neither IPv4 nor IPv6 is enabled");
	return hr;
}

/* ---- create ---- */

static HRESULT check_names(const struct HcnNetwork *n, struct cs_err **err)
{
	if (!cs_empty(n->pol.bridge) && !cs_link_name_valid(n->pol.bridge))
		return cs_hr_fail(err, HCN_E_INVALID_NETWORK, 0, "LinuxBridge.Name: %s is no name of an interface", n->pol.bridge);
	if (!cs_empty(n->pol.prefix) && (!cs_link_name_valid(n->pol.prefix) || strlen(n->pol.prefix) > IFNAMSIZ - 5))
		return cs_hr_fail(err, HCN_E_INVALID_NETWORK, 0, "LinuxBridge.ContainerPrefix: %s is no beginning of an interface's name", n->pol.prefix);
	cs_autostrv char **trusted = cs_empty(n->pol.trusted) ? NULL : cs_strv_split(n->pol.trusted, ':');
	if (cs_strv_len(trusted) > 64) /* the firewall has an element for each of a port */
		return cs_hr_fail(err, HCN_E_INVALID_POLICY, 0, "LinuxBridge.TrustedHostInterfaces: more than 64");
	for (char **t = trusted; t && *t; t++)
		if (!cs_link_name_valid(*t))
			return cs_hr_fail(err, HCN_E_INVALID_POLICY, 0, "LinuxBridge.TrustedHostInterfaces: \"%s\" is no name of an interface", *t);
	return HCS_S_OK;
}

/* Two networks with one bridge would be one network. */
static HRESULT check_bridge(const struct HcnNetwork *mine, struct cs_err **err)
{
	HRESULT hr = HCS_S_OK;
	size_t n;

	if (cs_empty(mine->pol.bridge))
		return HCS_S_OK;
	void **v = cs_obj_all(CS_NETWORK, &n);
	for (size_t i = 0; i < n && hr == HCS_S_OK; i++) {
		const struct HcnNetwork *o = v[i];
		if (o != mine && o->driver->bridge && strcmp(o->ifname, mine->pol.bridge) == 0)
			hr = cs_hr_fail(err, HCN_E_NETWORK_ALREADY_EXISTS, 0, "conflicts with network %s (%s): networks have same bridge name",
					cs_empty(o->doc.name) ? o->o.text : o->doc.name, o->ifname);
	}
	cs_obj_put_all(CS_NETWORK, v, n);
	return hr;
}

static HRESULT create(const HCN_GUID *id, const char *settings, struct HcnNetwork **ret, struct cs_err **err)
{
	struct HcnNetwork *n cs_auto(cs_autonet_done) = cs_xcalloc(1, sizeof(*n));

	cs_obj_init(CS_NETWORK, &n->o, id);
	if (cs_doc_read(&cs_doc_network_type, settings, &n->doc, err) < 0)
		return HCN_E_INVALID_JSON;
	n->driver = cs_driver_find(n->doc.type);
	if (!n->driver)
		return cs_hr_fail(err, HCN_E_INVALID_NETWORK_TYPE, 0, "unknown network type %s", n->doc.type);
	if (n->doc.flags & ~(int64_t)(n->driver->bridge ? 1024 : 0))
		return cs_hr_fail(err, HCN_E_INVALID_NETWORK, 0, "Flags: %lld are not supported by %s networks", (long long)n->doc.flags, n->driver->type);
	if (cs_policies_suit(n->doc.policies, n->doc.n_policies, n->driver->type, err) < 0)
		return HCN_E_REQUEST_UNSUPPORTED;
	if (cs_network_policies_read(n->doc.policies, n->doc.n_policies, &n->pol, err) < 0)
		return cs_err_code(*err) == CS_ERR_UNSUPPORTED ? HCN_E_INVALID_POLICY_TYPE : HCN_E_INVALID_POLICY;
	HRESULT hr = cs_check_same("ID", n->doc.id, &n->o, HCN_E_INVALID_NETWORK, err);
	free(n->doc.id);
	n->doc.id = cs_xstrdup(n->o.text);
	n->mtu = (uint32_t)n->pol.mtu;
	if (hr == HCS_S_OK)
		hr = cs_check_dns_served(&n->doc.dns, err);
	if (hr == HCS_S_OK)
		hr = check_names(n, err);
	if (hr == HCS_S_OK)
		hr = check_bridge(n, err);
	if (hr == HCS_S_OK)
		hr = add_subnets(n, err);
	if (hr == HCS_S_OK && n->mtu && n->mtu < CS_MTU_MIN_V6 && cs_network_has(n, AF_INET6))
		hr = cs_hr_fail(err, HCN_E_INVALID_POLICY, 0, "Mtu: %u: IPv6 needs %d", n->mtu, CS_MTU_MIN_V6);
	if (hr == HCS_S_OK)
		hr = cs_check_translation(&n->pol, cs_network_has(n, AF_INET), cs_network_has(n, AF_INET6), err);
	if (hr == HCS_S_OK) {
		(void)cs_links_delete_rest(); /* what is there then is told */
		hr = n->driver->create(n, err);
	}
	if (hr != HCS_S_OK)
		return hr;
	hr = cs_edge_network_add(n, err);
	if (hr != HCS_S_OK) {
		cs_edge_network_remove(n);
		n->driver->remove(n);
		return hr;
	}
	*ret = TAKE_PTR(n);
	return HCS_S_OK;
}

HRESULT HcnCreateNetwork(const HCN_GUID *id, const char *settings, HCN_NETWORK *network, char **errorRecord)
{
	struct HcnNetwork *n = NULL;
	struct cs_err *err = NULL;
	HRESULT hr = cs_net_ready(&err);

	if (hr == HCS_S_OK && (!id || !settings))
		hr = cs_hr_fail(&err, HCS_E_INVALIDARG, 0, "a network needs an id and a document");
	if (hr == HCS_S_OK) {
		struct HcnNetwork *old cs_auto(cs_autonet_done) = cs_obj_get(CS_NETWORK, id);
		hr = old ? cs_hr_fail(&err, HCN_E_NETWORK_ALREADY_EXISTS, 0, "network %s exists already", old->o.text) : create(id, settings, &n, &err);
	}
	if (hr == HCS_S_OK && !cs_obj_add(CS_NETWORK, &n->o)) { /* two at once with one id: the other one has the same links */
		hr = cs_hr_fail(&err, HCN_E_NETWORK_ALREADY_EXISTS, 0, "network %s exists already", n->o.text);
		cs_obj_unref(CS_NETWORK, TAKE_PTR(n));
	}
	if (hr == HCS_S_OK) {
		cs_net_notify(HcnNotificationNetworkCreate, &n->o, NULL);
		if (network)
			*network = n;
		else
			cs_obj_unref(CS_NETWORK, n);
	}
	return cs_hr_answer(hr, &err, errorRecord);
}

/* ---- the rest of its life ---- */

static const char *name_of(const void *n) { return ((const struct HcnNetwork *)n)->doc.name; }

static char *write_document(void *p)
{
	struct HcnNetwork *n = p;
	CS_LOCK(n);

	return cs_doc_write(&cs_doc_network_type, &n->doc);
}

HRESULT HcnEnumerateNetworks(const char *query, char **networks, char **errorRecord)
{
	return cs_enumerate(CS_NETWORK, query, name_of, write_document, networks, errorRecord);
}

HRESULT HcnOpenNetwork(const HCN_GUID *id, HCN_NETWORK *network, char **errorRecord)
{
	return cs_obj_open(CS_NETWORK, id, (void **)network, errorRecord);
}

HRESULT HcnQueryNetworkProperties(HCN_NETWORK network, const char *query, char **properties, char **errorRecord)
{
	return cs_obj_query(CS_NETWORK, network, query, write_document, properties, errorRecord);
}

HRESULT HcnCloseNetwork(HCN_NETWORK network)
{
	cs_obj_unref(CS_NETWORK, network);
	return HCS_S_OK;
}

HRESULT HcnDeleteNetwork(const HCN_GUID *id, char **errorRecord)
{
	struct cs_err *err = NULL;
	HRESULT hr = cs_net_ready(&err);
	struct HcnNetwork *n cs_auto(cs_autonet_done) = hr == HCS_S_OK ? cs_obj_get(CS_NETWORK, id) : NULL;

	if (hr == HCS_S_OK && !n)
		hr = cs_not_found(CS_NETWORK, &err);
	if (hr == HCS_S_OK) {
		CS_LOCK(n);
		if (n->endpoints > 0)
			hr = cs_hr_fail(&err, HCN_E_ENTITY_HAS_REFERENCES, 0, "network %s has active endpoints (%u)", n->doc.name ? n->doc.name : n->o.text,
					n->endpoints);
		else if (n->leaving)
			hr = cs_not_found(CS_NETWORK, &err);
		else
			n->leaving = true;
	}
	if (hr == HCS_S_OK) {
		cs_obj_remove(CS_NETWORK, &n->o);
		cs_edge_network_remove(n);
		n->driver->remove(n);
		cs_prefix_release(n); /* now, though handles may be open */
		cs_net_notify(HcnNotificationNetworkDelete, &n->o, NULL);
	}
	return cs_hr_answer(hr, &err, errorRecord);
}

/* ---- changes ---- */

static const struct cs_doc_policy *next_fixed(const struct cs_doc_policy *v, size_t n, size_t *at)
{
	while (*at < n && cs_streq(v[*at].type, "RemoteSubnetRoute"))
		++*at;
	return *at < n ? &v[(*at)++] : NULL;
}

/* Peers come and go; everything else is fixed when the network is made. */
static bool only_peers(const struct cs_doc_network *a, const struct cs_doc_network *b)
{
	for (size_t i = 0, k = 0;;) {
		const struct cs_doc_policy *x = next_fixed(a->policies, a->n_policies, &i), *y = next_fixed(b->policies, b->n_policies, &k);
		if (!x || !y)
			return !x && !y;
		if (!cs_streq(x->type, y->type) || !cs_streq(x->settings, y->settings))
			return false;
	}
}

/* n->pol changes in its peers alone, of which nobody reads without the network's lock. */
static HRESULT apply(struct HcnNetwork *n, const struct cs_doc_network *doc, struct cs_err **err)
{
	struct cs_network_policies now;

	if (cs_network_policies_read(doc->policies, doc->n_policies, &now, err) < 0)
		return cs_err_code(*err) == CS_ERR_UNSUPPORTED ? HCN_E_INVALID_POLICY_TYPE : HCN_E_INVALID_POLICY;
	if (!n->driver->update) {
		cs_network_policies_done(&now);
		return cs_hr_fail(err, HCN_E_REQUEST_UNSUPPORTED, 0, "policies of a %s network cannot be changed", n->driver->type);
	}
	HRESULT hr = only_peers(&n->doc, doc) ? n->driver->update(n, &now, err)
					      : cs_hr_fail(err, HCN_E_REQUEST_UNSUPPORTED, 0, "of an %s network's policies only RemoteSubnetRoute can be changed", n->driver->type);
	if (hr == HCS_S_OK) {
		CS_SWAP(n->pol.remotes, now.remotes);
		CS_SWAP(n->pol.n_remotes, now.n_remotes);
	}
	cs_network_policies_done(&now);
	return hr;
}

static HRESULT change_policies(struct HcnNetwork *n, const struct cs_doc_modify *m, struct cs_err **err)
{
	struct cs_doc_network doc;
	CS_LOCK(n);

	cs_json_copy(&cs_doc_network_type, &doc, &n->doc);
	HRESULT hr = cs_policies_change(&doc.policies, &doc.n_policies, m, err);
	if (hr == HCS_S_OK)
		hr = apply(n, &doc, err);
	if (hr == HCS_S_OK) {
		CS_SWAP(n->doc.policies, doc.policies);
		CS_SWAP(n->doc.n_policies, doc.n_policies);
	}
	cs_json_release(&cs_doc_network_type, &doc);
	return hr;
}

/* Namespaces on it ask other servers then. */
static HRESULT change_dns(struct HcnNetwork *n, const struct cs_doc_modify *m, struct cs_err **err)
{
	struct cs_doc_dns dns = {0};
	bool remove = strcmp(m->request, "Remove") == 0;
	size_t count;

	if (remove && !cs_empty(m->settings) && strcmp(m->settings, "null") != 0 && strcmp(m->settings, "{}") != 0)
		return cs_hr_fail(err, HCN_E_REQUEST_UNSUPPORTED, 0, "ModifyRequest.Settings: all of \"Dns\" is removed, or nothing");
	if (!remove && cs_doc_read(&cs_doc_dns_type, m->settings, &dns, err) < 0)
		return HCN_E_INVALID_JSON;
	HRESULT hr = cs_check_dns_served(&dns, err);
	if (hr != HCS_S_OK) {
		cs_json_release(&cs_doc_dns_type, &dns);
		return hr;
	}
	pthread_mutex_lock(&n->o.lock);
	cs_json_release(&cs_doc_dns_type, &n->doc.dns);
	n->doc.dns = dns;
	pthread_mutex_unlock(&n->o.lock);
	void **v = cs_obj_all(CS_NAMESPACE, &count);
	for (size_t i = 0; i < count && hr == HCS_S_OK; i++) {
		struct HcnNamespace *ns = v[i];
		CS_LOCK(ns);
		if (!ns->leaving)
			hr = cs_edge_names(ns, err);
	}
	cs_obj_put_all(CS_NAMESPACE, v, count);
	return hr;
}

HRESULT HcnModifyNetwork(HCN_NETWORK n, const char *settings, char **errorRecord)
{
	static const char *const resources[] = {"Policy", "DNS", NULL}, *const requests[] = {"Add", "Remove", "Update", NULL};
	struct cs_doc_modify m;
	struct cs_err *err = NULL;

	if (!cs_obj_is(CS_NETWORK, n))
		return cs_hr_answer(cs_not_found(CS_NETWORK, &err), &err, errorRecord);
	HRESULT hr = cs_modify_read(settings, resources, requests, &m, &err);
	if (hr != HCS_S_OK)
		return cs_hr_answer(hr, &err, errorRecord);
	hr = strcmp(m.resource, "DNS") == 0 ? change_dns(n, &m, &err) : change_policies(n, &m, &err);
	cs_json_release(&cs_doc_modify_type, &m);
	return cs_hr_answer(hr, &err, errorRecord);
}
