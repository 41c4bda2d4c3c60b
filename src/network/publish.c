/* SPDX-License-Identifier: Apache-2.0
 *
 * The published ports of all endpoints of a namespace, given at once: a container with its ways out on two networks has those of IPv4 on one and those
 * of IPv6 on the other, with the same numbers, and they move from one to another without being closed. */
#include "network/edge.h"

struct place {
	char *endpoint;
	struct cs_doc_policy policy;
};
struct places {
	struct place *v;
	size_t n;
};
static const struct cs_jfield place_fields[] = {
	JF(struct place, "EndpointId", endpoint, JF_REQUIRED), JF_INLINE(struct place, "Policy", policy, 0, &cs_doc_policy_type), JF_END};
static const struct cs_jtype place_type = {"PortMapping", sizeof(struct place), place_fields};
static const struct cs_jfield places_fields[] = {JF_LIST(struct places, "Ports", v, n, JF_REQUIRED, &place_type), JF_END};
static const struct cs_jtype places_type = {"Settings", sizeof(struct places), places_fields};

static void places_done(struct places *p) { cs_json_release(&places_type, p); }

/* An endpoint and what it will be. */
struct future {
	struct HcnEndpoint *e;
	struct cs_doc_endpoint doc;
	struct cs_endpoint_policies now;
	bool port_set; /* its port of the bridge is as `now` has it */
};
struct futures {
	struct future *v;
	size_t n;
};

static void futures_done(struct futures *f)
{
	for (size_t i = 0; i < f->n; i++) {
		cs_json_release(&cs_doc_endpoint_type, &f->v[i].doc);
		cs_endpoint_policies_done(&f->v[i].now);
	}
	free(f->v);
}

static size_t others_first(struct cs_doc_policy *v, size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++)
		if (strcmp(v[i].type, "PortMapping") == 0)
			cs_json_release(&cs_doc_policy_type, &v[i]);
		else
			v[kept++] = v[i];
	return kept;
}

/* The endpoints on bridges, without ports. */
static void look_ahead(struct HcnNamespace *ns, size_t most, struct futures *f)
{
	for (struct HcnEndpoint *e = ns->endpoints; e; e = e->next) {
		if (!e->net->driver->bridge || !cs_edge_ports_of(e))
			continue;
		f->v = cs_xreallocarray(f->v, f->n + 1, sizeof(*f->v));
		struct future *x = &f->v[f->n++];
		*x = (struct future){.e = e};
		cs_json_copy(&cs_doc_endpoint_type, &x->doc, &e->doc);
		x->doc.n_policies = others_first(x->doc.policies, x->doc.n_policies);
		x->doc.policies = cs_xreallocarray(x->doc.policies, x->doc.n_policies + most + 1, sizeof(*x->doc.policies));
	}
}

/* Each mapping goes to its endpoint; where[i] is which. */
static HRESULT distribute(struct places *p, struct futures *f, size_t *where, struct cs_err **err)
{
	for (size_t i = 0; i < p->n; i++) {
		struct place *x = &p->v[i];
		HCN_GUID id;
		size_t k = 0;
		if (!cs_streq(x->policy.type, "PortMapping"))
			return cs_hr_fail(err, HCN_E_INVALID_POLICY_TYPE, 0, "Ports[%zu].Policy: %s is no PortMapping", i, x->policy.type ? x->policy.type : "");
		bool ok = cs_hcn_guid_parse(x->endpoint, &id);
		while (ok && k < f->n && memcmp(&f->v[k].e->o.id, &id, sizeof(id)) != 0)
			k++;
		if (!ok || k == f->n)
			return cs_hr_fail(err, HCN_E_ENDPOINT_NOT_ATTACHED, 0, "Ports[%zu].EndpointId: %s is no endpoint of this namespace that can have published ports", i,
					  x->endpoint);
		struct cs_doc_endpoint *doc = &f->v[k].doc;
		doc->policies[doc->n_policies++] = x->policy;
		x->policy = (struct cs_doc_policy){0};
		where[i] = k;
	}
	return HCS_S_OK;
}

static HRESULT read_policies(struct futures *f, struct cs_err **err)
{
	for (size_t i = 0; i < f->n; i++)
		if (cs_endpoint_policies_read(f->v[i].doc.policies, f->v[i].doc.n_policies, &f->v[i].now, err) < 0)
			return cs_err_code(*err) == CS_ERR_UNSUPPORTED ? HCN_E_INVALID_POLICY_TYPE : HCN_E_INVALID_POLICY;
	return HCS_S_OK;
}

static bool nothing_new(const struct futures *f)
{
	for (size_t i = 0; i < f->n; i++)
		if (!cs_edge_same_ports(&f->v[i].e->pol, &f->v[i].now))
			return false;
	return true;
}

/* Hairpin, where the endpoint gets its first ports or loses the last. */
static HRESULT set_ports(struct futures *f, struct cs_err **err)
{
	for (size_t i = 0; i < f->n; i++) {
		struct future *x = &f->v[i];
		if (!x->e->outer || (x->now.n_ports > 0) == (x->e->pol.n_ports > 0))
			continue;
		if (cs_port_reset(x->e, &x->now, err) < 0)
			return HCS_E_FAIL;
		x->port_set = true;
	}
	return HCS_S_OK;
}

static void set_back(struct futures *f)
{
	for (size_t i = 0; i < f->n; i++) {
		cs_autoerr struct cs_err *err = NULL;
		if (f->v[i].port_set && cs_port_reset(f->v[i].e, &f->v[i].e->pol, &err) < 0)
			cs_debug(SUBSYS, "endpoint %s: %s", f->v[i].e->o.text, err->msg);
	}
}

static HRESULT in_force(struct futures *f, const size_t *where, size_t n, struct cs_err **err)
{
	cs_autofree struct cs_edge_change *c = cs_xcalloc(f->n + 1, sizeof(*c));
	cs_autofree struct cs_edge_place *v = cs_xcalloc(n + 1, sizeof(*v));
	cs_autofree size_t *next = cs_xcalloc(f->n + 1, sizeof(*next));

	for (size_t i = 0; i < f->n; i++)
		c[i] = (struct cs_edge_change){.e = f->v[i].e, .in_force = cs_edge_ports_of(f->v[i].e)};
	for (size_t i = 0; i < n; i++)
		v[i] = (struct cs_edge_place){where[i], &f->v[where[i]].now.ports[next[where[i]]++]};
	return cs_edge_publish(c, f->n, v, n, err);
}

static void take_over(struct futures *f)
{
	for (size_t i = 0; i < f->n; i++) {
		struct HcnEndpoint *e = f->v[i].e;
		struct cs_doc_endpoint *doc = &f->v[i].doc;
		CS_LOCK(e);

		cs_port_mappings_write(doc->policies, doc->n_policies, &f->v[i].now);
		CS_SWAP(e->pol, f->v[i].now);
		CS_SWAP(e->doc.policies, doc->policies); /* the rest stays where it is: some of it is read without a lock */
		CS_SWAP(e->doc.n_policies, doc->n_policies);
	}
}

HRESULT cs_publish(struct HcnNamespace *ns, const char *settings, struct cs_err **err)
{
	struct places p cs_auto(places_done) = {0};
	struct futures f cs_auto(futures_done) = {0};

	if (cs_doc_read(&places_type, settings, &p, err) < 0)
		return HCN_E_INVALID_JSON;
	cs_autofree size_t *where = cs_xcalloc(p.n + 1, sizeof(*where));
	look_ahead(ns, p.n, &f);
	HRESULT hr = distribute(&p, &f, where, err);
	if (hr == HCS_S_OK)
		hr = read_policies(&f, err);
	if (hr != HCS_S_OK || nothing_new(&f))
		return hr;
	hr = set_ports(&f, err);
	if (hr == HCS_S_OK)
		hr = in_force(&f, where, p.n, err);
	if (hr == HCS_S_OK)
		take_over(&f);
	else
		set_back(&f);
	return hr;
}
