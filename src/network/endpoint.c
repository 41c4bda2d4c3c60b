/* SPDX-License-Identifier: Apache-2.0
 *
 * Endpoints: a name, addresses and policies on a network. In the kernel there is something only while a namespace has it (attach.c). */
#include "base/id.h"
#include "network/edge.h"

void cs_endpoint_free(struct HcnEndpoint *e)
{
	cs_obj_unref(CS_NETWORK, e->net);
	cs_endpoint_policies_done(&e->pol);
	cs_strv_free(e->exposed);
	cs_json_release(&cs_doc_endpoint_type, &e->doc);
	free(e);
}

/* ---- addresses ---- */

static HRESULT take_wanted(struct HcnNetwork *n, const struct cs_doc_ip *doc, struct cs_prefix *v4, struct cs_prefix *v6, struct cs_err **err)
{
	cs_autoerr struct cs_err *e = NULL;
	struct cs_ip ip;

	if (!cs_ip_parse(doc->address, &ip))
		return cs_hr_fail(err, HCN_E_INVALID_IP, 0, "IpAddress: %s is no address", doc->address ? doc->address : "");
	struct cs_prefix *to = ip.family == AF_INET ? v4 : v6;
	if (to->ip.family)
		return cs_hr_fail(err, HCN_E_INVALID_IP, 0, "an endpoint has one address of a family");
	for (size_t i = 0; i < n->n_subnets; i++) {
		struct cs_subnet *s = &n->subnets[i];
		if (!cs_prefix_has(s->prefix, ip))
			continue;
		if (doc->len && doc->len != s->prefix.len)
			return cs_hr_fail(err, HCN_E_INVALID_IP_SUBNET, 0, "IpConfigurations.PrefixLength: %lld is not %u, the subnet's of %s", (long long)doc->len,
					  s->prefix.len, doc->address);
		if (cs_subnet_take(s, ip, &e) < 0) {
			(void)cs_err_move(err, TAKE_PTR(e));
			return HCN_E_ADDR_INVALID_OR_RESERVED;
		}
		*to = (struct cs_prefix){ip, s->prefix.len};
		return HCS_S_OK;
	}
	return cs_hr_fail(err, HCN_E_ADDR_INVALID_OR_RESERVED, 0, "no configured subnet contains IP address %s", doc->address);
}

static HRESULT take_any(struct HcnNetwork *n, uint8_t family, struct cs_prefix *ret, struct cs_err **err)
{
	cs_autoerr struct cs_err *e = NULL;

	for (size_t i = 0; i < n->n_subnets; i++) {
		if (n->subnets[i].prefix.ip.family != family)
			continue;
		cs_err_free(TAKE_PTR(e));
		if (cs_subnet_take_any(&n->subnets[i], &ret->ip, &e) == 0) {
			ret->len = n->subnets[i].prefix.len;
			return HCS_S_OK;
		}
	}
	(void)cs_err_move(err, TAKE_PTR(e));
	return HCN_E_ADDR_INVALID_OR_RESERVED;
}

static void give_back(struct HcnNetwork *n, struct cs_prefix *v4, struct cs_prefix *v6)
{
	for (size_t i = 0; i < n->n_subnets; i++) {
		if (v4->ip.family)
			cs_subnet_give(&n->subnets[i], v4->ip);
		if (v6->ip.family)
			cs_subnet_give(&n->subnets[i], v6->ip);
	}
	*v4 = *v6 = (struct cs_prefix){0};
}

/* Its own sysctl says that it has no IPv6: then an address could not be set. */
static bool without_ipv6(const struct cs_endpoint_policies *p)
{
	const char *off = cs_strmap_get(p->sysctls, "net.ipv6.conf.IFNAME.disable_ipv6");

	return !cs_empty(off) && strcmp(off, "0") != 0;
}

/* Under the network's lock. What is given is taken, what is missing of a family that the network has is chosen. All or nothing. */
static HRESULT take_addresses(struct HcnNetwork *n, struct HcnEndpoint *e, struct cs_err **err)
{
	static const uint8_t families[] = {AF_INET, AF_INET6};
	HRESULT hr = HCS_S_OK;

	for (size_t i = 0; i < e->doc.n_ips && hr == HCS_S_OK; i++)
		hr = take_wanted(n, &e->doc.ips[i], &e->v4, &e->v6, err);
	for (size_t i = 0; i < 2 && hr == HCS_S_OK; i++) {
		struct cs_prefix *p = families[i] == AF_INET ? &e->v4 : &e->v6;
		if (families[i] == AF_INET6 && without_ipv6(&e->pol))
			continue;
		if (!p->ip.family && cs_network_has(n, families[i]))
			hr = take_any(n, families[i], p, err);
	}
	if (hr != HCS_S_OK)
		give_back(n, &e->v4, &e->v6);
	return hr;
}

static HRESULT join(struct HcnNetwork *n, struct HcnEndpoint *e, struct cs_err **err)
{
	CS_LOCK(n);

	if (n->leaving)
		return cs_hr_fail(err, HCN_E_NETWORK_NOT_FOUND, 0, "no such network");
	HRESULT hr = take_addresses(n, e, err);
	if (hr == HCS_S_OK)
		n->endpoints++;
	return hr;
}

/* Addresses of endpoints that were just deleted come back when their links are gone: an exhausted network, or the same address again, waits for
 * those. So does who comes again under the same name: it, or what takes its place, shall have its address if that is still the first free one, since
 * others may have looked it up (proxies that ask once). Nobody else waits. */
static HRESULT join_patiently(struct HcnNetwork *n, struct HcnEndpoint *e, struct cs_err **err)
{
	struct cs_err *first = NULL;

	if (cs_background_returns(n, e->doc.name))
		cs_background_flush();
	HRESULT hr = join(n, e, &first);

	if (hr != HCN_E_ADDR_INVALID_OR_RESERVED) {
		if (hr != HCS_S_OK)
			(void)cs_err_move(err, first);
		return hr;
	}
	cs_err_free(first);
	cs_background_flush();
	return join(n, e, err);
}

static void leave(struct HcnEndpoint *e)
{
	struct HcnNetwork *n = e->net;
	CS_LOCK(n);

	n->endpoints--;
}

/* ---- create ---- */

static void write_addresses(struct HcnEndpoint *e)
{
	const struct cs_prefix *const v[] = {&e->v4, &e->v6};
	char text[CS_IP_TEXT], mac[CS_MAC_TEXT];

	for (size_t i = 0; i < e->doc.n_ips; i++)
		free(e->doc.ips[i].address);
	free(e->doc.ips);
	e->doc.ips = cs_xcalloc(2, sizeof(*e->doc.ips));
	e->doc.n_ips = 0;
	for (size_t i = 0; i < 2; i++)
		if (v[i]->ip.family)
			e->doc.ips[e->doc.n_ips++] = (struct cs_doc_ip){cs_xstrdup(cs_ip_text(v[i]->ip, text)), v[i]->len};
	free(e->doc.mac);
	e->doc.mac = cs_xstrdup(e->net->driver->own_mac ? cs_mac_text(e->mac, mac) : "");
}

/* From the IPv4 address, as Docker did for ten years: neighbours that still know the address know the right hardware address. Without one from a hash
 * (FNV-1a) of the IPv6 address, for the same reason: it is in the kernel's table for half a minute, and the next container has it. */
static void choose_mac(struct HcnEndpoint *e)
{
	uint64_t hash = 14695981039346656037u;
	uint8_t b[16];

	e->chosen_mac = true;
	if (e->v4.ip.family) {
		(void)cs_ip_bytes(e->v4.ip, b);
		e->mac[0] = 0x02;
		e->mac[1] = 0x42;
		memcpy(e->mac + 2, b, 4);
		return;
	}
	cs_random_bytes(e->mac, 6);
	if (e->v6.ip.family) {
		(void)cs_ip_bytes(e->v6.ip, b);
		for (size_t i = 0; i < sizeof(b); i++)
			hash = (hash ^ b[i]) * 1099511628211u;
		for (size_t i = 0; i < 6; i++)
			e->mac[i] = (uint8_t)(hash >> 8 * i);
	}
	e->mac[0] = (uint8_t)((e->mac[0] & 0xfc) | 2);
}

/* IPv6 ends on an interface with less. */
static HRESULT check_mtu(const struct HcnEndpoint *e, const struct cs_endpoint_policies *p, struct cs_err **err)
{
	if (p->mtu && p->mtu < CS_MTU_MIN_V6 && cs_network_has(e->net, AF_INET6) && !without_ipv6(p))
		return cs_hr_fail(err, HCN_E_INVALID_POLICY, 0, "InterfaceParameters.Mtu: %lld: IPv6 needs %d", (long long)p->mtu, CS_MTU_MIN_V6);
	return HCS_S_OK;
}

static HRESULT check(struct HcnEndpoint *e, struct cs_err **err)
{
	static const uint8_t none[6];
	const struct cs_doc_endpoint *d = &e->doc;

	if (d->flags & ~(int64_t)(e->net->driver->bridge ? 2 : 0))
		return cs_hr_fail(err, HCN_E_INVALID_ENDPOINT, 0, "Flags: %lld are not supported by %s networks", (long long)d->flags, e->net->driver->type);
	if (!cs_empty(d->nspace))
		return cs_hr_fail(err, HCN_E_REQUEST_UNSUPPORTED, 0, "HostComputeNamespace: endpoints are added by HcnModifyNamespace");
	if (!cs_empty(d->mac) && (!cs_mac_parse(d->mac, e->mac) || memcmp(e->mac, none, 6) == 0))
		return cs_hr_fail(err, HCN_E_INVALID_ENDPOINT, 0, "MacAddress: %s is no address of one interface", d->mac);
	if (!cs_empty(d->mac) && !e->net->driver->own_mac)
		return cs_hr_fail(err, HCN_E_REQUEST_UNSUPPORTED, 0, "MacAddress: endpoints of a %s network have that of the parent interface", e->net->driver->type);
	if (cs_policies_suit(d->policies, d->n_policies, e->net->driver->type, err) < 0)
		return HCN_E_REQUEST_UNSUPPORTED;
	HRESULT hr = cs_check_same("ID", d->id, &e->o, HCN_E_INVALID_ENDPOINT, err);
	if (hr == HCS_S_OK)
		hr = cs_check_same("HostComputeNetwork", d->network, &e->net->o, HCN_E_INVALID_ENDPOINT, err);
	if (hr == HCS_S_OK)
		hr = cs_check_dns_served(&d->dns, err);
	if (hr == HCS_S_OK)
		hr = cs_check_endpoint_routes(d, e->net, err);
	if (hr == HCS_S_OK)
		hr = cs_check_endpoint_families(&e->pol, e->net, err);
	return hr == HCS_S_OK ? check_mtu(e, &e->pol, err) : hr;
}

static HRESULT create(struct HcnNetwork *n, const HCN_GUID *id, const char *settings, struct HcnEndpoint **ret, struct cs_err **err)
{
	struct HcnEndpoint *e cs_auto(cs_autoep_done) = cs_xcalloc(1, sizeof(*e));

	cs_obj_init(CS_ENDPOINT, &e->o, id);
	e->net = cs_obj_ref(n);
	if (cs_doc_read(&cs_doc_endpoint_type, settings, &e->doc, err) < 0)
		return HCN_E_INVALID_JSON;
	if (cs_endpoint_policies_read(e->doc.policies, e->doc.n_policies, &e->pol, err) < 0)
		return cs_err_code(*err) == CS_ERR_UNSUPPORTED ? HCN_E_INVALID_POLICY_TYPE : HCN_E_INVALID_POLICY;
	e->exposed = cs_strv_copy(e->pol.exposed);
	cs_port_mappings_write(e->doc.policies, e->doc.n_policies, &e->pol);
	HRESULT hr = check(e, err);
	if (hr == HCS_S_OK)
		hr = join_patiently(n, e, err);
	if (hr != HCS_S_OK)
		return hr;
	if (cs_empty(e->doc.mac))
		choose_mac(e);
	free(e->doc.id);
	free(e->doc.network);
	free(e->doc.nspace);
	e->doc.id = cs_xstrdup(e->o.text);
	e->doc.network = cs_xstrdup(n->o.text);
	e->doc.nspace = NULL;
	write_addresses(e);
	*ret = TAKE_PTR(e);
	return HCS_S_OK;
}

HRESULT HcnCreateEndpoint(HCN_NETWORK network, const HCN_GUID *id, const char *settings, HCN_ENDPOINT *endpoint, char **errorRecord)
{
	struct HcnEndpoint *e = NULL;
	struct cs_err *err = NULL;
	HRESULT hr = cs_net_ready(&err);

	if (hr == HCS_S_OK && !cs_obj_is(CS_NETWORK, network))
		hr = cs_hr_fail(&err, HCN_E_NETWORK_NOT_FOUND, 0, "no such network");
	else if (hr == HCS_S_OK && (!id || !settings))
		hr = cs_hr_fail(&err, HCS_E_INVALIDARG, 0, "an endpoint needs an id and a document");
	if (hr == HCS_S_OK)
		hr = create(network, id, settings, &e, &err);
	if (e && !cs_obj_add(CS_ENDPOINT, &e->o)) {
		hr = cs_hr_fail(&err, HCN_E_INVALID_ENDPOINT, 0, "endpoint %s exists already", e->o.text);
		leave(e);
		cs_background_release(TAKE_PTR(e));
	}
	if (hr == HCS_S_OK) {
		if (endpoint)
			*endpoint = e;
		else
			cs_obj_unref(CS_ENDPOINT, e);
	}
	return cs_hr_answer(hr, &err, errorRecord);
}

/* ---- the rest of its life ---- */

static const char *name_of(const void *e) { return ((const struct HcnEndpoint *)e)->doc.name; }

static char *write_document(void *p)
{
	struct HcnEndpoint *e = p;
	CS_LOCK(e);

	return cs_doc_write(&cs_doc_endpoint_type, &e->doc);
}

HRESULT HcnEnumerateEndpoints(const char *query, char **endpoints, char **errorRecord)
{
	return cs_enumerate(CS_ENDPOINT, query, name_of, write_document, endpoints, errorRecord);
}

HRESULT HcnOpenEndpoint(const HCN_GUID *id, HCN_ENDPOINT *endpoint, char **errorRecord)
{
	return cs_obj_open(CS_ENDPOINT, id, (void **)endpoint, errorRecord);
}

HRESULT HcnQueryEndpointProperties(HCN_ENDPOINT endpoint, const char *query, char **properties, char **errorRecord)
{
	return cs_obj_query(CS_ENDPOINT, endpoint, query, write_document, properties, errorRecord);
}

HRESULT HcnCloseEndpoint(HCN_ENDPOINT endpoint)
{
	cs_obj_unref(CS_ENDPOINT, endpoint);
	return HCS_S_OK;
}

struct HcnNamespace *cs_endpoint_namespace(struct HcnEndpoint *e)
{
	CS_LOCK(e);

	return e->ns ? cs_obj_ref(e->ns) : NULL;
}

HRESULT HcnQueryEndpointStats(HCN_ENDPOINT e, const char *query, char **statistics, char **errorRecord)
{
	struct cs_err *err = NULL;
	struct cs_link_info l;

	if (!cs_obj_is(CS_ENDPOINT, e))
		return cs_hr_answer(cs_not_found(CS_ENDPOINT, &err), &err, errorRecord);
	HRESULT hr = cs_query_check(query, &err);
	if (hr != HCS_S_OK)
		return cs_hr_answer(hr, &err, errorRecord);
	struct HcnNamespace *ns cs_auto(cs_autons_done) = cs_endpoint_namespace(e);
	if (!ns)
		return cs_hr_answer(cs_hr_fail(&err, HCN_E_ENDPOINT_NOT_ATTACHED, 0, "endpoint %s is not attached", e->o.text), &err, errorRecord);
	CS_LOCK(ns);
	if (!e->inner || cs_link_get(&ns->rt, e->inner, NULL, &l, &err) < 0)
		return cs_hr_answer(HCN_E_ADAPTER_NOT_FOUND, &err, errorRecord);
	struct cs_str out = CS_STR_INIT(4096);
	cs_str_putc(&out, '{');
	cs_json_put_ki64(&out, "BytesReceived", (int64_t)l.stats.rx_bytes);
	cs_json_put_ki64(&out, "BytesSent", (int64_t)l.stats.tx_bytes);
	cs_json_put_ki64(&out, "PacketsReceived", (int64_t)l.stats.rx_packets);
	cs_json_put_ki64(&out, "PacketsSent", (int64_t)l.stats.tx_packets);
	cs_json_put_ki64(&out, "DroppedPacketsIncoming", (int64_t)l.stats.rx_dropped);
	cs_json_put_ki64(&out, "DroppedPacketsOutgoing", (int64_t)l.stats.tx_dropped);
	cs_json_put_ki64(&out, "ErrorsIncoming", (int64_t)l.stats.rx_errors);
	cs_json_put_ki64(&out, "ErrorsOutgoing", (int64_t)l.stats.tx_errors);
	cs_json_put_kstr(&out, "EndpointId", e->o.text);
	cs_json_put_kstr(&out, "InterfaceName", e->inner_name);
	cs_str_putc(&out, '}');
	*statistics = cs_str_steal(&out);
	return cs_hr_answer(HCS_S_OK, NULL, errorRecord);
}

HRESULT HcnDeleteEndpoint(const HCN_GUID *id, char **errorRecord)
{
	struct cs_err *err = NULL;
	HRESULT hr = cs_net_ready(&err);
	struct HcnEndpoint *e cs_auto(cs_autoep_done) = hr == HCS_S_OK ? cs_obj_get(CS_ENDPOINT, id) : NULL;

	if (hr == HCS_S_OK && (!e || atomic_exchange(&e->leaving, true)))
		hr = cs_not_found(CS_ENDPOINT, &err);
	else if (hr == HCS_S_OK) {
		struct HcnNamespace *ns cs_auto(cs_autons_done) = cs_endpoint_namespace(e);
		if (ns) {
			CS_LOCK(ns);
			(void)cs_detach(ns, e, NULL);
		}
		cs_obj_remove(CS_ENDPOINT, &e->o);
		leave(e);
		cs_edge_lbs_without(e);
		cs_background_release(cs_obj_ref(e));
	}
	return cs_hr_answer(hr, &err, errorRecord);
}

/* ---- changes ---- */

/* The namespace that has it and the endpoint, or the endpoint alone, which then gets into none: an attach reads policies under the namespace's lock only. */
static struct HcnNamespace *lock_both(struct HcnEndpoint *e)
{
	for (;;) {
		struct HcnNamespace *ns = cs_endpoint_namespace(e);
		if (ns)
			pthread_mutex_lock(&ns->o.lock);
		pthread_mutex_lock(&e->o.lock);
		if (e->ns == ns)
			return ns;
		pthread_mutex_unlock(&e->o.lock);
		if (ns)
			pthread_mutex_unlock(&ns->o.lock);
		cs_obj_unref(CS_NAMESPACE, ns);
	}
}

/* Under the locks of the namespace (if any) and then the endpoint. */
static HRESULT apply(struct HcnNamespace *ns, struct HcnEndpoint *e, const struct cs_doc_modify *m, struct cs_err **err)
{
	struct cs_endpoint_policies now;
	struct cs_doc_endpoint doc;

	cs_json_copy(&cs_doc_endpoint_type, &doc, &e->doc);
	HRESULT hr = cs_policies_change(&doc.policies, &doc.n_policies, m, err);
	if (hr == HCS_S_OK && cs_endpoint_policies_read(doc.policies, doc.n_policies, &now, err) < 0)
		hr = cs_err_code(*err) == CS_ERR_UNSUPPORTED ? HCN_E_INVALID_POLICY_TYPE : HCN_E_INVALID_POLICY;
	if (hr != HCS_S_OK) {
		cs_json_release(&cs_doc_endpoint_type, &doc);
		return hr;
	}
	hr = cs_policies_suit(doc.policies, doc.n_policies, e->net->driver->type, err) < 0 ? HCN_E_REQUEST_UNSUPPORTED : check_mtu(e, &now, err);
	if (hr == HCS_S_OK)
		hr = cs_check_endpoint_families(&now, e->net, err);
	if (hr == HCS_S_OK && !cs_strv_equal(now.exposed, e->exposed))
		hr = cs_hr_fail(err, HCN_E_REQUEST_UNSUPPORTED, 0, "LinuxInterface.ExposedPorts: they are told when the endpoint is made");
	if (hr == HCS_S_OK && ns)
		hr = cs_reattach(ns, e, &now, err);
	if (hr != HCS_S_OK) {
		cs_endpoint_policies_done(&now);
		cs_json_release(&cs_doc_endpoint_type, &doc);
		return hr;
	}
	cs_port_mappings_write(doc.policies, doc.n_policies, &now);
	cs_endpoint_policies_done(&e->pol);
	e->pol = now;
	CS_SWAP(e->doc.policies, doc.policies); /* the rest stays where it is: some of it is read without a lock */
	CS_SWAP(e->doc.n_policies, doc.n_policies);
	cs_json_release(&cs_doc_endpoint_type, &doc);
	return HCS_S_OK;
}

HRESULT HcnModifyEndpoint(HCN_ENDPOINT e, const char *settings, char **errorRecord)
{
	static const char *const resources[] = {"Policy", NULL}, *const requests[] = {"Add", "Remove", "Update", NULL};
	struct cs_doc_modify m;
	struct cs_err *err = NULL;

	if (!cs_obj_is(CS_ENDPOINT, e))
		return cs_hr_answer(cs_not_found(CS_ENDPOINT, &err), &err, errorRecord);
	HRESULT hr = cs_modify_read(settings, resources, requests, &m, &err);
	if (hr != HCS_S_OK)
		return cs_hr_answer(hr, &err, errorRecord);
	struct HcnNamespace *ns cs_auto(cs_autons_done) = lock_both(e);
	hr = apply(ns, e, &m, &err);
	pthread_mutex_unlock(&e->o.lock);
	if (hr == HCS_S_OK && ns)
		hr = cs_reelect(ns, &err);
	if (hr == HCS_S_OK && ns)
		hr = cs_edge_names(ns, &err);
	if (ns)
		pthread_mutex_unlock(&ns->o.lock);
	cs_json_release(&cs_doc_modify_type, &m);
	return cs_hr_answer(hr, &err, errorRecord);
}
