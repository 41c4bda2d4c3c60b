/* SPDX-License-Identifier: Apache-2.0
 *
 * Load balancers: the document; what it means to packets is the firewall's (edge.c). */
#include "network/edge.h"

void cs_lb_free(struct HcnLoadBalancer *l)
{
	cs_json_release(&cs_doc_lb_type, &l->doc);
	free(l);
}

/* Those there are: each once, on a bridge, and with an address for each of the virtual ones. */
static HRESULT check_endpoints(const struct cs_doc_lb *d, struct cs_err **err)
{
	bool v4 = false, v6 = false;
	struct cs_ip ip;
	HCN_GUID id;

	for (char **e = d->endpoints; e && *e; e++) {
		struct HcnEndpoint *ep cs_auto(cs_autoep_done) = cs_hcn_guid_parse(*e, &id) ? cs_obj_get(CS_ENDPOINT, &id) : NULL;
		if (!ep)
			return cs_hr_fail(err, HCN_E_ENDPOINT_NOT_FOUND, 0, "HostComputeEndpoints: no endpoint %s", *e);
		if (!ep->net->driver->bridge)
			return cs_hr_fail(err, HCN_E_REQUEST_UNSUPPORTED, 0, "HostComputeEndpoints: %s is on a %s network, where the host reaches none", *e, ep->net->driver->type);
		for (char **other = d->endpoints; other < e; other++)
			if (strcasecmp(*other, *e) == 0)
				return cs_hr_fail(err, HCS_E_INVALIDARG, 0, "HostComputeEndpoints: %s is given twice", *e);
		v4 |= ep->v4.ip.family != 0;
		v6 |= ep->v6.ip.family != 0;
	}
	for (char **v = d->endpoints && *d->endpoints ? d->vips : NULL; v && *v; v++)
		if (cs_ip_parse(*v, &ip) && !(ip.family == AF_INET ? v4 : v6))
			return cs_hr_fail(err, HCN_E_INVALID_IP, 0, "FrontendVIPs: %s: none of the endpoints has an address of that family", *v);
	return HCS_S_OK;
}

static bool given_twice(char *const *vips, char *const *at)
{
	struct cs_ip a, b;

	for (; vips < at; vips++)
		if (cs_ip_parse(*vips, &a) && cs_ip_parse(*at, &b) && cs_ip_is(a, b))
			return true;
	return false;
}

static HRESULT check(const struct cs_doc_lb *d, struct cs_err **err)
{
	struct cs_ip ip;

	if (!d->vips || !*d->vips)
		return cs_hr_fail(err, HCS_E_INVALIDARG, 0, "FrontendVIPs: at least one is needed");
	for (char **v = d->vips; *v; v++)
		if (!cs_ip_parse(*v, &ip))
			return cs_hr_fail(err, HCN_E_INVALID_IP, 0, "FrontendVIPs: %s is no address", *v);
		else if (given_twice(d->vips, v))
			return cs_hr_fail(err, HCN_E_INVALID_IP, 0, "FrontendVIPs: %s is given twice", *v);
	if (!cs_empty(d->source_vip))
		return cs_hr_fail(err, HCN_E_REQUEST_UNSUPPORTED, 0, "SourceVIP is not supported: the client's address is kept");
	if (d->flags)
		return cs_hr_fail(err, HCN_E_REQUEST_UNSUPPORTED, 0, "Flags: %lld are not supported", (long long)d->flags);
	if (d->n_ports == 0)
		return cs_hr_fail(err, HCS_E_INVALIDARG, 0, "PortMappings: at least one is needed");
	for (size_t i = 0; i < d->n_ports; i++) {
		const struct cs_doc_port *p = &d->ports[i];
		if (p->protocol != IPPROTO_TCP && p->protocol != IPPROTO_UDP && p->protocol != IPPROTO_SCTP)
			return cs_hr_fail(err, HCS_E_INVALIDARG, 0, "PortMappings[%zu].Protocol: %lld is neither TCP, UDP nor SCTP", i, (long long)p->protocol);
		if (p->internal < 1 || p->internal > 65535 || p->external < 1 || p->external > 65535)
			return cs_hr_fail(err, HCN_E_INVALID_INTERNAL_PORT, 0, "PortMappings[%zu]: a port is not within 1 and 65535", i);
		if (p->distribution < 0 || p->distribution > 2 || p->flags)
			return cs_hr_fail(err, HCN_E_REQUEST_UNSUPPORTED, 0, "PortMappings[%zu]: this distribution or these flags are not supported", i);
		if (p->distribution != d->ports[0].distribution)
			return cs_hr_fail(err, HCN_E_REQUEST_UNSUPPORTED, 0, "PortMappings[%zu]: all have the same DistributionType", i);
		for (size_t k = 0; k < i; k++)
			if (d->ports[k].protocol == p->protocol && d->ports[k].external == p->external)
				return cs_hr_fail(err, HCN_E_PORT_ALREADY_EXISTS, 0, "PortMappings[%zu].ExternalPort: %lld is given twice", i, (long long)p->external);
	}
	return check_endpoints(d, err);
}

static HRESULT create(const HCN_GUID *id, const char *settings, struct HcnLoadBalancer **ret, struct cs_err **err)
{
	struct HcnLoadBalancer *l cs_auto(cs_autolb_done) = cs_xcalloc(1, sizeof(*l));

	cs_obj_init(CS_LB, &l->o, id);
	if (cs_doc_read(&cs_doc_lb_type, settings, &l->doc, err) < 0)
		return HCN_E_INVALID_JSON;
	HRESULT hr = cs_check_same("ID", l->doc.id, &l->o, HCS_E_INVALIDARG, err);
	if (hr == HCS_S_OK)
		hr = check(&l->doc, err);
	if (hr != HCS_S_OK)
		return hr;
	free(l->doc.id);
	l->doc.id = cs_xstrdup(l->o.text);
	if (!cs_obj_add(CS_LB, &l->o))
		return cs_hr_fail(err, HCS_E_INVALIDARG, EEXIST, "load balancer %s exists already", l->o.text);
	pthread_mutex_lock(&l->o.lock); /* an endpoint of it that goes now takes itself out behind us */
	hr = cs_edge_lb_set(l, NULL, err);
	pthread_mutex_unlock(&l->o.lock);
	if (hr != HCS_S_OK) {
		cs_obj_remove(CS_LB, &l->o);
		return hr;
	}
	*ret = TAKE_PTR(l);
	return HCS_S_OK;
}

HRESULT HcnCreateLoadBalancer(const HCN_GUID *id, const char *settings, HCN_LOADBALANCER *loadBalancer, char **errorRecord)
{
	struct HcnLoadBalancer *l = NULL;
	struct cs_err *err = NULL;
	HRESULT hr = cs_net_ready(&err);

	if (hr == HCS_S_OK && (!id || !settings))
		hr = cs_hr_fail(&err, HCS_E_INVALIDARG, 0, "a load balancer needs an id and a document");
	if (hr == HCS_S_OK)
		hr = create(id, settings, &l, &err);
	if (hr == HCS_S_OK) {
		if (loadBalancer)
			*loadBalancer = l;
		else
			cs_obj_unref(CS_LB, l);
	}
	return cs_hr_answer(hr, &err, errorRecord);
}

static char *write_document(void *p)
{
	struct HcnLoadBalancer *l = p;
	CS_LOCK(l);

	return cs_doc_write(&cs_doc_lb_type, &l->doc);
}

HRESULT HcnEnumerateLoadBalancers(const char *query, char **loadBalancers, char **errorRecord)
{
	return cs_enumerate(CS_LB, query, NULL, write_document, loadBalancers, errorRecord);
}

HRESULT HcnOpenLoadBalancer(const HCN_GUID *id, HCN_LOADBALANCER *loadBalancer, char **errorRecord)
{
	return cs_obj_open(CS_LB, id, (void **)loadBalancer, errorRecord);
}

HRESULT HcnQueryLoadBalancerProperties(HCN_LOADBALANCER l, const char *query, char **properties, char **errorRecord)
{
	return cs_obj_query(CS_LB, l, query, write_document, properties, errorRecord);
}

/* {"ResourceType": "LoadBalancer", "RequestType": "Update", "Settings": a whole document} */
HRESULT HcnModifyLoadBalancer(HCN_LOADBALANCER l, const char *settings, char **errorRecord)
{
	static const char *const resources[] = {"LoadBalancer", NULL}, *const requests[] = {"Update", NULL};
	struct cs_err *err = NULL;
	struct cs_doc_modify m;
	struct cs_doc_lb doc;

	if (!cs_obj_is(CS_LB, l))
		return cs_hr_answer(cs_not_found(CS_LB, &err), &err, errorRecord);
	HRESULT hr = cs_modify_read(settings, resources, requests, &m, &err);
	if (hr != HCS_S_OK)
		return cs_hr_answer(hr, &err, errorRecord);
	hr = cs_doc_read(&cs_doc_lb_type, m.settings, &doc, &err) < 0 ? HCN_E_INVALID_JSON : cs_check_same("ID", doc.id, &l->o, HCS_E_INVALIDARG, &err);
	if (hr == HCS_S_OK)
		hr = check(&doc, &err);
	if (hr == HCS_S_OK) {
		CS_LOCK(l);
		if (l->o.gone) { /* meanwhile */
			cs_json_release(&cs_doc_lb_type, &doc);
			cs_json_release(&cs_doc_modify_type, &m);
			return cs_hr_answer(cs_not_found(CS_LB, &err), &err, errorRecord);
		}
		struct cs_doc_lb old = l->doc;
		free(doc.id);
		doc.id = cs_xstrdup(l->o.text);
		l->doc = doc;
		hr = cs_edge_lb_set(l, &old, &err);
		if (hr == HCS_S_OK)
			doc = old;
		else
			l->doc = old;
	}
	cs_json_release(&cs_doc_lb_type, &doc);
	cs_json_release(&cs_doc_modify_type, &m);
	return cs_hr_answer(hr, &err, errorRecord);
}

HRESULT HcnDeleteLoadBalancer(const HCN_GUID *id, char **errorRecord)
{
	struct cs_err *err = NULL;
	HRESULT hr = cs_net_ready(&err);
	struct HcnLoadBalancer *l cs_auto(cs_autolb_done) = hr == HCS_S_OK ? cs_obj_get(CS_LB, id) : NULL;

	if (hr == HCS_S_OK && !l)
		hr = cs_not_found(CS_LB, &err);
	if (hr == HCS_S_OK) {
		CS_LOCK(l);
		cs_obj_remove(CS_LB, &l->o);
		cs_edge_lb_remove(l);
	}
	return cs_hr_answer(hr, &err, errorRecord);
}

HRESULT HcnCloseLoadBalancer(HCN_LOADBALANCER l)
{
	cs_obj_unref(CS_LB, l);
	return HCS_S_OK;
}
