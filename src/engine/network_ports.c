/* SPDX-License-Identifier: Apache-2.0
 *
 * Published ports: from HostConfig to the service's policies, and back to what inspect shows. Pure. */
#include <netinet/in.h>
#include <string.h>

#include "base/num.h"
#include "engine/network.h"

void cs_ports_done(struct cs_ports *p)
{
	for (size_t i = 0; i < p->n; i++)
		free(p->p[i].host_ip);
	free(p->p);
	*p = (struct cs_ports){0};
}

static void add(struct cs_ports *v, struct cs_port p, const char *ip)
{
	v->p = cs_xreallocarray(v->p, v->n + 1, sizeof(*v->p));
	p.host_ip = cs_xstrdup(ip ? ip : "");
	v->p[v->n++] = p;
}

/* Docker since 28: who may have any port of several comes behind those who need a certain one. */
static void fixed_first(struct cs_ports *v)
{
	struct cs_port *p = cs_xcalloc(v->n + 1, sizeof(*p));
	size_t n = 0;

	for (int picked = 0; picked < 2; picked++)
		for (size_t i = 0; i < v->n; i++)
			if ((!v->p[i].lo || v->p[i].hi > v->p[i].lo) == picked)
				p[n++] = v->p[i];
	free(v->p);
	v->p = p;
}

static bool is_any(const char *ip) { return cs_empty(ip) || strcmp(ip, "0.0.0.0") == 0; }

int cs_ports_wanted(const struct cs_config *c, const struct cs_host_config *h, const char *default_ip, struct cs_ports *ret, struct cs_err **err)
{
	struct cs_port_map m cs_auto(cs_port_map_done) = {0};
	cs_autoports struct cs_ports v = {0};
	const char *dflt = is_any(default_ip) ? "" : default_ip;

	if (cs_port_map_parse(h->port_bindings, "HostConfig.PortBindings", &m, err) < 0)
		return -1;
	for (size_t i = 0; i < m.n; i++) {
		struct cs_port_range port;
		if (!cs_parse_ports(m.e[i].port, &port))
			return cs_fail(err, CS_ERR_INVALID, 0, "invalid port specification: \"%s\"", m.e[i].port);
		for (size_t k = 0; k < m.e[i].n; k++) {
			const struct cs_port_binding *b = &m.e[i].bindings[k];
			struct cs_port_range host = {0};
			if (!cs_empty(b->host_port) && !cs_parse_ports(b->host_port, &host))
				return cs_fail(err, CS_ERR_INVALID, 0, "invalid port specification: \"%s\"", b->host_port);
			struct cs_port p = {.proto = port.proto, .port = port.lo, .lo = host.lo, .hi = host.hi};
			add(&v, p, cs_empty(b->host_ip) ? dflt : b->host_ip);
		}
	}
	for (char **x = h->publish_all_ports ? c->exposed_ports : NULL; x && *x; x++) {
		struct cs_port_range r;
		if (!cs_parse_ports(*x, &r))
			continue;
		for (unsigned port = r.lo; port <= r.hi; port++) {
			bool bound = false;
			for (size_t i = 0; i < v.n; i++)
				bound = bound || (v.p[i].proto == r.proto && v.p[i].port == port);
			struct cs_port q = {.proto = r.proto, .port = (uint16_t)port};
			if (!bound)
				add(&v, q, dflt);
		}
	}
	fixed_first(&v);
	*ret = v;
	v = (struct cs_ports){0};
	return 0;
}

/* Is this address written in the bindings of this port, or is it what "all addresses" came to? The search begins at `from`, since both maps have one order. */
static bool asked_for(const struct cs_port_map *m, size_t from, const char *port, const char *ip)
{
	for (size_t n = 0; n < m->n; n++) {
		size_t i = (from + n) % m->n;
		if (strcmp(m->e[i].port, port) != 0)
			continue;
		for (size_t k = 0; k < m->e[i].n; k++)
			if (cs_streq(m->e[i].bindings[k].host_ip, ip))
				return true;
		return false;
	}
	return false;
}

int cs_ports_given(const char *json, const struct cs_host_config *h, bool apart, struct cs_ports *ret, struct cs_err **err)
{
	struct cs_port_map m cs_auto(cs_port_map_done) = {0}, asked cs_auto(cs_port_map_done) = {0};
	cs_autoports struct cs_ports v = {0};

	if (cs_port_map_parse(json, "Ports", &m, err) < 0 || cs_port_map_parse(h->port_bindings, "HostConfig.PortBindings", &asked, err) < 0)
		return -1;
	for (size_t i = 0; i < m.n; i++)
		for (size_t k = 0; k < m.e[i].n; k++) {
			const struct cs_port_binding *b = &m.e[i].bindings[k], *next = k + 1 < m.e[i].n ? b + 1 : NULL;
			struct cs_port_range port, host;
			if (!cs_parse_ports(m.e[i].port, &port) || !cs_parse_ports(b->host_port ? b->host_port : "", &host))
				return cs_fail(err, CS_ERR_INVALID, 0, "Ports: malformed");
			struct cs_port p = {.proto = port.proto, .port = port.lo, .lo = host.lo, .hi = host.hi};
			/* all addresses are one mapping, and an entry for each family that the container has */
			bool both = !apart && is_any(b->host_ip) && next && cs_streq(next->host_ip, "::") && cs_streq(next->host_port, b->host_port) &&
				    !(asked_for(&asked, i, m.e[i].port, "0.0.0.0") && asked_for(&asked, i, m.e[i].port, "::"));
			bool any = !apart && (is_any(b->host_ip) || strcmp(b->host_ip, "::") == 0);
			add(&v, p, both || (any && !asked_for(&asked, i, m.e[i].port, b->host_ip)) ? "" : b->host_ip);
			k += both;
		}
	*ret = v;
	v = (struct cs_ports){0};
	return 0;
}

void cs_ports_of_family(const struct cs_ports *all, bool v6, struct cs_ports *ret)
{
	struct cs_ports v = {0};

	for (size_t i = 0; i < all->n; i++)
		if (cs_empty(all->p[i].host_ip))
			add(&v, all->p[i], v6 ? "::" : "0.0.0.0");
		else if ((strchr(all->p[i].host_ip, ':') != NULL) == v6)
			add(&v, all->p[i], all->p[i].host_ip);
	*ret = v;
}

static bool any_of(const char *ip, bool v6) { return cs_empty(ip) || strcmp(ip, v6 ? "::" : "0.0.0.0") == 0; }

bool cs_port_meets(const struct cs_port *wanted, const struct cs_port *given)
{
	const char *a = wanted->host_ip, *b = given->host_ip;
	uint8_t x[16], y[16];
	bool x6 = false, y6 = false;

	if (wanted->proto != given->proto || wanted->lo != given->lo)
		return false;
	bool is_a = !cs_empty(a) && cs_addr_parse(a, x, &x6), is_b = !cs_empty(b) && cs_addr_parse(b, y, &y6);
	if (!is_a || !is_b)
		return true;
	return x6 == y6 && (any_of(a, x6) || any_of(b, y6) || memcmp(x, y, x6 ? 16 : 4) == 0);
}

static void put_binding(struct cs_str *out, const char *ip, uint16_t port)
{
	cs_str_puts(out, out->buf[out->len - 1] == '[' ? "{" : ",{");
	cs_json_put_kstr(out, "HostIp", ip);
	cs_str_putf(out, ",\"HostPort\":\"%u\"}", port);
}

/* The bindings of one port of a container's: numbers from 1. */
struct ends {
	uint32_t first, last;
};

static struct ends *ends_of(struct ends *all, uint8_t proto, uint16_t port) { return &all[(proto == IPPROTO_UDP ? 1 : proto == IPPROTO_SCTP ? 2 : 0) * 65536u + port]; }

char *cs_ports_json(char *const *exposed, const struct cs_ports *given, bool v4, bool v6)
{
	size_t n = given ? given->n : 0;
	/* ten thousand ports must not be compared with each other */
	cs_autofree struct ends *ends = n ? cs_xcalloc((size_t)3 * 65536, sizeof(*ends)) : NULL;
	cs_autofree uint32_t *next = cs_xcalloc(n + 1, sizeof(*next));
	cs_autostr struct cs_str s = CS_STR_INIT((size_t)8 << 20);

	for (uint32_t i = 1; i <= n; i++) {
		const struct cs_port *p = &given->p[i - 1];
		struct ends *e = ends_of(ends, p->proto, p->port);
		*(e->last ? &next[e->last] : &e->first) = i;
		e->last = i;
	}
	cs_str_putc(&s, '{');
	for (uint32_t i = 1; i <= n; i++) {
		const struct cs_port *p = &given->p[i - 1];
		if (ends_of(ends, p->proto, p->port)->first != i)
			continue;
		cs_autofree char *key = cs_xasprintf("%u/%s", p->port, cs_proto_name(p->proto));
		cs_json_put_key(&s, key);
		cs_str_putc(&s, '[');
		for (uint32_t k = i; k; k = next[k]) {
			const struct cs_port *q = &given->p[k - 1];
			if (!cs_empty(q->host_ip) || v4)
				put_binding(&s, cs_empty(q->host_ip) ? "0.0.0.0" : q->host_ip, q->lo);
			if (cs_empty(q->host_ip) && v6)
				put_binding(&s, "::", q->lo);
		}
		cs_str_putc(&s, ']');
	}
	for (char *const *x = exposed; x && *x; x++) {
		cs_autofree char *key = strchr(*x, '/') ? cs_xstrdup(*x) : cs_xasprintf("%s/tcp", *x);
		struct cs_port_range r;
		if (cs_parse_ports(*x, &r) && r.lo == r.hi && ends && ends_of(ends, r.proto, r.lo)->first)
			continue;
		cs_json_put_key(&s, key);
		cs_str_puts(&s, "null");
	}
	cs_str_putc(&s, '}');
	return cs_str_steal(&s);
}

void cs_port_put_policy(const struct cs_port *p, struct cs_str *out)
{
	cs_str_putf(out, "{\"Type\":\"PortMapping\",\"Settings\":{\"Protocol\":%u,\"InternalPort\":%u,\"ExternalPort\":%u", p->proto, p->port, p->lo);
	if (p->hi > p->lo)
		cs_json_put_ki64(out, "ExternalPortEnd", p->hi);
	cs_json_put_kstr(out, "VIP", p->host_ip);
	cs_str_puts(out, "}}");
}
