/* SPDX-License-Identifier: Apache-2.0
 *
 * Published ports: reserved on the host (ports.h), then translated (firewall.h). Several endpoints of a namespace may share a number, each for the host's
 * addresses of the families that lead to it, and change at once: the firewall's part of that is one transaction. */
#include "network/edge.h"
#include "network/ports.h"

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

/* The host's addresses of one mapping that are to be reserved, behind those that are there. */
static HRESULT add_addrs(const struct HcnEndpoint *e, const struct cs_port_mapping *m, struct cs_fw_addr *addrs, size_t *n, struct cs_err **err)
{
	size_t n_hosts, before = *n;
	struct cs_ip hosts[2];
	HRESULT hr = hosts_of(e, m, hosts, &n_hosts, err);

	if (hr != HCS_S_OK)
		return hr;
	for (size_t k = 0; k < n_hosts; k++)
		if (!routed(e, hosts[k].family))
			addrs[(*n)++] = cs_fw_addr_of(hosts[k]);
	if (*n > before && by_loopback6(e, m)) /* who had the port of ::1 would not be reached any more */
		addrs[(*n)++] = (struct cs_fw_addr){.family = AF_INET6};
	return HCS_S_OK;
}

static void keep(struct cs_edge_ports *p, struct cs_port_hold *h)
{
	p->holds = cs_xreallocarray(p->holds, p->n_holds + 1, sizeof(struct cs_port_hold *));
	p->holds[p->n_holds++] = h;
}

/* The host's addresses of n mappings, at one number. Each endpoint has the reservation of its own. */
static HRESULT hold(struct cs_edge_change *c, size_t n_c, const struct cs_edge_place *v, size_t n, struct cs_err **err)
{
	cs_autofree struct cs_fw_addr *addrs = cs_xcalloc(3 * n, sizeof(*addrs));
	cs_autofree size_t *share = cs_xcalloc(n_c, sizeof(*share));
	size_t n_addrs = 0, sharing = 0;
	struct cs_port_mapping *first = v[0].m;

	for (size_t k = 0; k < n_c; k++) {
		size_t before = n_addrs;
		for (size_t i = 0; i < n; i++) {
			HRESULT hr = v[i].of == k ? add_addrs(c[k].e, v[i].m, addrs, &n_addrs, err) : HCS_S_OK;
			if (hr != HCS_S_OK)
				return hr;
		}
		share[k] = n_addrs - before;
		sharing += share[k] > 0;
	}
	if (n_addrs == 0)
		return HCS_S_OK;
	struct cs_port_request r = {.proto = (uint8_t)first->protocol, .addrs = addrs, .n_addrs = n_addrs, .first = (uint16_t)first->external,
				    .last = (uint16_t)(first->external_last ? first->external_last : first->external), .apart = sharing > 1, .by = c};
	struct cs_port_hold *h;
	if (cs_port_hold(&r, &h, err) < 0)
		return cs_edge_hr(*err);
	for (size_t i = 0; i < n; i++) {
		v[i].m->external = cs_port_hold_number(h);
		v[i].m->external_last = 0;
	}
	for (size_t k = 0; k < n_c; k++) {
		if (!share[k])
			continue;
		struct cs_port_hold *rest = --sharing ? cs_port_split(h, share[k]) : NULL;
		keep(&c[k].fresh, h);
		h = rest;
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
static size_t group(const struct cs_edge_place *v, size_t n)
{
	size_t g = 1;

	for (bool together = picks(v[0].m); together && g < n;) {
		for (size_t i = 0; i < g; i++)
			together = together && go_together(v[i].m, v[g].m);
		g += together;
	}
	return g;
}

static HRESULT hold_all(struct cs_edge_change *c, size_t n_c, const struct cs_edge_place *v, size_t n, struct cs_err **err)
{
	for (size_t i = 0, together; i < n; i += together) {
		together = group(&v[i], n - i);
		HRESULT hr = hold(c, n_c, &v[i], together, err);
		if (hr != HCS_S_OK)
			return hr;
	}
	return HCS_S_OK;
}

/* Of the mappings with their numbers: what the firewall is to have. */
static HRESULT translate(struct cs_edge_change *c, const struct cs_edge_place *v, size_t n, struct cs_err **err)
{
	for (size_t i = 0; i < n; i++) {
		const struct HcnEndpoint *e = c[v[i].of].e;
		struct cs_edge_ports *p = &c[v[i].of].fresh;
		const struct cs_port_mapping *m = v[i].m;
		struct cs_ip hosts[2];
		size_t n_hosts;
		HRESULT hr = hosts_of(e, m, hosts, &n_hosts, err);
		if (hr != HCS_S_OK)
			return hr;
		if (!p->ports)
			p->ports = cs_xcalloc(2 * n, sizeof(*p->ports));
		for (size_t j = 0; j < n_hosts; j++)
			p->ports[p->n_ports++] = (struct cs_firewall_port){
				.proto = (uint8_t)m->protocol, .host = cs_fw_addr_of(hosts[j]), .host_port = (uint16_t)m->external,
				.to = cs_fw_addr_of(hosts[j].family == AF_INET ? e->v4.ip : e->v6.ip), .to_port = (uint16_t)m->internal, .bridge = e->net->ifname,
				.by_loopback6 = by_loopback6(e, m)};
	}
	return HCS_S_OK;
}

/* The lists of all endpoints in one. */
static struct cs_firewall_port *all_ports(const struct cs_edge_change *c, size_t n_c, bool fresh, size_t *n)
{
	struct cs_firewall_port *v;
	size_t room = 0;

	for (size_t k = 0; k < n_c; k++)
		room += fresh ? c[k].fresh.n_ports : c[k].in_force->n_ports;
	v = cs_xcalloc(room + 1, sizeof(*v));
	*n = 0;
	for (size_t k = 0; k < n_c; k++) {
		const struct cs_edge_ports *p = fresh ? &c[k].fresh : c[k].in_force;
		if (p->n_ports)
			memcpy(v + *n, p->ports, p->n_ports * sizeof(*v));
		*n += p->n_ports;
	}
	return v;
}

static HRESULT swap(const struct cs_edge_change *c, size_t n_c, struct cs_err **err)
{
	size_t n_old, n;
	cs_autofree struct cs_firewall_port *old = all_ports(c, n_c, false, &n_old), *now = all_ports(c, n_c, true, &n);

	if (n_old + n > 0 && cs_firewall_ports_swap(cs_edge.firewall, old, n_old, now, n, err) < 0)
		return cs_edge_hr(*err);
	return HCS_S_OK;
}

void cs_edge_ports_drop(struct cs_edge_ports *p)
{
	for (size_t i = 0; i < p->n_holds; i++)
		cs_port_release(p->holds[i]);
	free(p->holds);
	free(p->ports);
	*p = (struct cs_edge_ports){0};
}

int cs_edge_ports_close(struct cs_edge_ports *p, struct cs_err **err)
{
	int r = p->n_ports > 0 ? cs_firewall_ports_remove(cs_edge.firewall, p->ports, p->n_ports, err) : 0;

	cs_edge_ports_drop(p);
	return r;
}

/* The sockets of what was are back; who took the address of one meanwhile has it, and the container is reached there all the same. */
static void hold_again(const struct cs_edge_change *c)
{
	for (size_t i = 0; i < c->in_force->n_holds; i++) {
		cs_autoerr struct cs_err *err = NULL;
		if (cs_port_resume(c->in_force->holds[i], &err) < 0)
			cs_logk(CS_LOG_WARN, SUBSYS, "endpoint", c->e->o.text, "%s", err->msg);
	}
}

HRESULT cs_edge_publish(struct cs_edge_change *c, size_t n_c, const struct cs_edge_place *v, size_t n, struct cs_err **err)
{
	for (size_t k = 0; k < n_c; k++)
		for (size_t i = 0; i < c[k].in_force->n_holds; i++)
			cs_port_suspend(c[k].in_force->holds[i], c);
	HRESULT hr = hold_all(c, n_c, v, n, err);
	if (hr == HCS_S_OK)
		hr = translate(c, v, n, err);
	if (hr == HCS_S_OK)
		hr = swap(c, n_c, err);
	for (size_t k = 0; k < n_c; k++) {
		cs_edge_ports_drop(hr == HCS_S_OK ? c[k].in_force : &c[k].fresh);
		if (hr == HCS_S_OK)
			*c[k].in_force = c[k].fresh;
		else
			hold_again(&c[k]);
	}
	return hr;
}

bool cs_edge_same_ports(const struct cs_endpoint_policies *a, const struct cs_endpoint_policies *b)
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
