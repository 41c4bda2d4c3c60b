/* SPDX-License-Identifier: Apache-2.0
 *
 * Namespaces: from the warm pool, or a living process's. */
#include <fcntl.h>

#include "network/edge.h"
#include "network/netns.h"

void cs_namespace_free(struct HcnNamespace *n)
{
	if (n->warm)
		cs_close(n->warm->ipv6_off);
	free(n->warm);
	cs_rtnl_close(&n->rt);
	cs_close(n->nsfd);
	free(n->key);
	cs_json_release(&cs_doc_namespace_type, &n->doc);
	free(n);
}

static HRESULT open_process(struct HcnNamespace *n, int64_t pid, struct cs_err **err)
{
	cs_autofree char *path = cs_xasprintf("/proc/%lld/ns/net", (long long)pid);

	n->nsfd = open(path, O_RDONLY | O_CLOEXEC);
	if (n->nsfd < 0)
		return cs_hr_fail(err, HCN_E_NAMESPACE_NOT_FOUND, errno, "network namespace of process %lld", (long long)pid);
	return cs_netns_rtnl(n->nsfd, &n->rt, err) < 0 ? HCS_E_FAIL : HCS_S_OK;
}

static HRESULT open_warm(struct HcnNamespace *n, struct cs_err **err)
{
	struct cs_warm *w;

	if (cs_pool_take(&w, err) < 0)
		return cs_hr_of(*err, HCS_E_FAIL);
	n->nsfd = w->nsfd;
	n->rt = w->rt;
	n->warm = w;
	n->key = cs_xstrdup(w->outer_name);
	return HCS_S_OK;
}

static HRESULT create(const HCN_GUID *id, const char *settings, struct HcnNamespace **ret, struct cs_err **err)
{
	struct HcnNamespace *n cs_auto(cs_autons_done) = cs_xcalloc(1, sizeof(*n));

	n->nsfd = -EBADF;
	cs_obj_init(CS_NAMESPACE, &n->o, id);
	if (cs_doc_read(&cs_doc_namespace_type, cs_empty(settings) ? "{}" : settings, &n->doc, err) < 0)
		return HCN_E_INVALID_JSON;
	if (n->doc.linux_.pid < 0 || n->doc.linux_.pid > INT32_MAX)
		return cs_hr_fail(err, HCS_E_INVALIDARG, 0, "Linux.ProcessId: %lld is no process", (long long)n->doc.linux_.pid);
	if (n->doc.n_resources > 0)
		return cs_hr_fail(err, HCN_E_REQUEST_UNSUPPORTED, 0, "Resources: endpoints are added by HcnModifyNamespace");
	if (!cs_empty(n->doc.type) && strcmp(n->doc.type, "Guest") != 0)
		return cs_hr_fail(err, HCN_E_REQUEST_UNSUPPORTED, 0, "Type: %s namespaces are not supported", n->doc.type);
	HRESULT hr = cs_check_same("ID", n->doc.id, &n->o, HCS_E_INVALIDARG, err);
	if (hr == HCS_S_OK)
		hr = cs_check_dns(&n->doc.dns, err);
	if (hr != HCS_S_OK)
		return hr;
	hr = n->doc.linux_.pid ? open_process(n, n->doc.linux_.pid, err) : open_warm(n, err);
	if (hr != HCS_S_OK)
		return hr;
	if (!n->key)
		n->key = cs_xstrdup(n->o.text);
	free(n->doc.id);
	n->doc.id = cs_xstrdup(n->o.text);
	*ret = TAKE_PTR(n);
	return HCS_S_OK;
}

HRESULT HcnCreateNamespace(const HCN_GUID *id, const char *settings, HCN_NAMESPACE *nspace, char **errorRecord)
{
	struct HcnNamespace *n = NULL;
	struct cs_err *err = NULL;
	HRESULT hr = cs_net_ready(&err);

	if (hr == HCS_S_OK && !id)
		hr = cs_hr_fail(&err, HCS_E_INVALIDARG, 0, "a namespace needs an id");
	if (hr == HCS_S_OK)
		hr = create(id, settings, &n, &err);
	if (hr == HCS_S_OK && !cs_obj_add(CS_NAMESPACE, &n->o)) {
		hr = cs_hr_fail(&err, HCS_E_INVALIDARG, EEXIST, "namespace %s exists already", n->o.text);
		cs_obj_unref(CS_NAMESPACE, TAKE_PTR(n));
	}
	if (hr == HCS_S_OK) {
		CS_LOCK(n);
		hr = cs_edge_names(n, &err); /* served from the beginning: the first query of the first process is answered */
	}
	if (hr == HCS_S_OK) {
		cs_net_notify(HcnNotificationNamespaceCreate, &n->o, NULL);
		if (nspace)
			*nspace = n;
		else
			cs_obj_unref(CS_NAMESPACE, n);
	} else if (n) {
		cs_obj_remove(CS_NAMESPACE, &n->o);
		cs_obj_unref(CS_NAMESPACE, n);
	}
	return cs_hr_answer(hr, &err, errorRecord);
}

HRESULT HcnOpenNamespace(const HCN_GUID *id, HCN_NAMESPACE *nspace, char **errorRecord)
{
	return cs_obj_open(CS_NAMESPACE, id, (void **)nspace, errorRecord);
}

HRESULT HcnCloseNamespace(HCN_NAMESPACE nspace)
{
	cs_obj_unref(CS_NAMESPACE, nspace);
	return HCS_S_OK;
}

static char *write_document(void *p)
{
	struct HcnNamespace *n = p;
	CS_LOCK(n);
	struct cs_doc_namespace doc = n->doc;
	size_t count = 0;

	for (struct HcnEndpoint *e = n->endpoints; e; e = e->next)
		count++;
	cs_autofree struct cs_doc_resource *v = cs_xcalloc(count + 1, sizeof(*v));
	doc.resources = v;
	doc.n_resources = 0;
	for (struct HcnEndpoint *e = n->endpoints; e; e = e->next)
		v[doc.n_resources++] = (struct cs_doc_resource){(char *)(uintptr_t)"Endpoint", {e->o.text}};
	return cs_doc_write(&cs_doc_namespace_type, &doc);
}

HRESULT HcnEnumerateNamespaces(const char *query, char **namespaces, char **errorRecord)
{
	return cs_enumerate(CS_NAMESPACE, query, NULL, write_document, namespaces, errorRecord);
}

HRESULT HcnQueryNamespaceProperties(HCN_NAMESPACE nspace, const char *query, char **properties, char **errorRecord)
{
	return cs_obj_query(CS_NAMESPACE, nspace, query, write_document, properties, errorRecord);
}

static HRESULT change(struct HcnNamespace *n, const struct cs_doc_modify *m, struct cs_err **err)
{
	static const struct cs_jfield fields[] = {JF(struct cs_doc_resource_data, "EndpointId", id, JF_REQUIRED), JF_END};
	static const struct cs_jtype type = {"Settings", sizeof(struct cs_doc_resource_data), fields};
	struct cs_doc_resource_data d;
	HCN_GUID id;

	if (cs_doc_read(&type, m->settings, &d, err) < 0)
		return HCN_E_INVALID_JSON;
	bool ok = cs_hcn_guid_parse(d.id, &id);
	struct HcnEndpoint *e cs_auto(cs_autoep_done) = ok ? cs_obj_get(CS_ENDPOINT, &id) : NULL;
	cs_json_release(&type, &d);
	if (!e)
		return cs_hr_fail(err, HCN_E_ENDPOINT_NOT_FOUND, 0, "no such endpoint");
	CS_LOCK(n);
	if (n->leaving)
		return cs_not_found(CS_NAMESPACE, err);
	return strcmp(m->request, "Add") == 0 ? cs_attach(n, e, err) : cs_detach(n, e, err);
}

/* A container that gets its first network with names while it runs needs the resolver then. */
static HRESULT change_dns(struct HcnNamespace *n, const struct cs_doc_modify *m, struct cs_err **err)
{
	struct cs_doc_dns dns;

	if (cs_doc_read(&cs_doc_namespace_dns_type, m->settings, &dns, err) < 0)
		return HCN_E_INVALID_JSON;
	HRESULT hr = cs_check_dns(&dns, err);
	CS_LOCK(n);
	if (hr == HCS_S_OK && n->leaving)
		hr = cs_not_found(CS_NAMESPACE, err);
	if (hr != HCS_S_OK) {
		cs_json_release(&cs_doc_namespace_dns_type, &dns);
		return hr;
	}
	cs_json_release(&cs_doc_namespace_dns_type, &n->doc.dns);
	n->doc.dns = dns;
	if (!dns.resolver)
		cs_edge_forget(n);
	return cs_edge_names(n, err);
}

static HRESULT change_ports(struct HcnNamespace *n, const struct cs_doc_modify *m, struct cs_err **err)
{
	CS_LOCK(n);

	return n->leaving ? cs_not_found(CS_NAMESPACE, err) : cs_publish(n, m->settings, err);
}

static HRESULT dispatch(struct HcnNamespace *n, const struct cs_doc_modify *m, struct cs_err **err)
{
	static const struct {
		const char *resource;
		bool whole; /* Update, else Add and Remove */
		HRESULT (*change)(struct HcnNamespace *n, const struct cs_doc_modify *m, struct cs_err **err);
	} all[] = {{"Endpoint", false, change}, {"Dns", true, change_dns}, {"PortMapping", true, change_ports}};
	size_t i = 0;

	while (strcmp(m->resource, all[i].resource) != 0) /* it is one of them */
		i++;
	if (all[i].whole != (strcmp(m->request, "Update") == 0))
		return cs_hr_fail(err, HCN_E_REQUEST_UNSUPPORTED, 0, "ModifyRequest.RequestType: %s is not possible for %s", m->request, m->resource);
	return all[i].change(n, m, err);
}

HRESULT HcnModifyNamespace(HCN_NAMESPACE n, const char *settings, char **errorRecord)
{
	static const char *const resources[] = {"Endpoint", "Dns", "PortMapping", NULL}, *const requests[] = {"Add", "Remove", "Update", NULL};
	struct cs_doc_modify m;
	struct cs_err *err = NULL;

	if (!cs_obj_is(CS_NAMESPACE, n))
		return cs_hr_answer(cs_not_found(CS_NAMESPACE, &err), &err, errorRecord);
	HRESULT hr = cs_modify_read(settings, resources, requests, &m, &err);
	if (hr == HCS_S_OK) {
		hr = dispatch(n, &m, &err);
		cs_json_release(&cs_doc_modify_type, &m);
	}
	return cs_hr_answer(hr, &err, errorRecord);
}

/* A pair that no endpoint took is not left for the container to find. */
void cs_namespace_drop_warm(struct HcnNamespace *n)
{
	if (!n->warm)
		return;
	cs_links_delete(&n->warm->outer, 1);
	cs_close(n->warm->ipv6_off);
	free(TAKE_PTR(n->warm));
}

HRESULT HcnDeleteNamespace(const HCN_GUID *id, char **errorRecord)
{
	struct cs_err *err = NULL;
	HRESULT hr = cs_net_ready(&err);
	struct HcnNamespace *n cs_auto(cs_autons_done) = hr == HCS_S_OK ? cs_obj_get(CS_NAMESPACE, id) : NULL;

	if (hr == HCS_S_OK && !n)
		hr = cs_not_found(CS_NAMESPACE, &err);
	else if (hr == HCS_S_OK) {
		CS_LOCK(n);
		if (n->leaving) {
			hr = cs_not_found(CS_NAMESPACE, &err);
		} else {
			n->leaving = true;
			cs_edge_forget(n);
			cs_detach_all(n);
			cs_rtnl_close(&n->rt);
			cs_close(TAKE_FD(n->nsfd)); /* the kernel takes an unused pair along */
		}
	}
	if (hr == HCS_S_OK) {
		cs_obj_remove(CS_NAMESPACE, &n->o);
		cs_net_notify(HcnNotificationNamespaceDelete, &n->o, NULL);
	}
	return cs_hr_answer(hr, &err, errorRecord);
}

int cs_hcn_namespace_fd(HCN_NAMESPACE n)
{
	if (!cs_obj_is(CS_NAMESPACE, n))
		return -1;
	CS_LOCK(n);
	cs_namespace_drop_warm(n);
	return n->nsfd >= 0 ? n->nsfd : -1;
}
