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

static int family_of(const char *ip) { return strchr(ip, ':') ? 1 : 0; }

/* Without an address: all that lead to the container, or what its network says; two networks are asked each for its own family. */
static void add_default(struct cs_ports *v, struct cs_port p, const struct cs_ports_way *w)
{
	if (!w->apart) {
		const char *ip = w->default_ip[0] ? w->default_ip[0] : w->default_ip[1];
		add(v, p, is_any(ip) ? "" : ip);
		return;
	}
	for (int f = 0; f < 2; f++) {
		const char *ip = is_any(w->default_ip[f]) ? (f ? "::" : "0.0.0.0") : w->default_ip[f];
		if (family_of(ip) == f)
			add(v, p, ip);
	}
}

int cs_ports_wanted(const struct cs_config *c, const struct cs_host_config *h, const struct cs_ports_way *w, struct cs_ports *ret, struct cs_err **err)
{
	struct cs_port_map m cs_auto(cs_port_map_done) = {0};
	cs_autoports struct cs_ports v = {0};

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
			if (cs_empty(b->host_ip))
				add_default(&v, p, w);
			else
				add(&v, p, b->host_ip);
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
				add_default(&v, q, w);
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

static bool in_range(const struct cs_port *wanted, const struct cs_port *given)
{
	return wanted->proto == given->proto && wanted->port == given->port && (!wanted->lo || (given->lo >= wanted->lo && given->lo <= wanted->hi));
}

static bool same_host(const struct cs_port *wanted, const struct cs_port *given)
{
	bool all = cs_empty(wanted->host_ip);

	return in_range(wanted, given) && (all ? is_any(given->host_ip) || strcmp(given->host_ip, "::") == 0 : strcmp(wanted->host_ip, given->host_ip) == 0);
}

/* Were both one binding, or two that differ in the address's family alone? */
static bool pair(const struct cs_port *a, const struct cs_port *b)
{
	return a->proto == b->proto && a->port == b->port && a->lo == b->lo && a->hi == b->hi && !cs_empty(a->host_ip) && !cs_empty(b->host_ip) &&
	       family_of(a->host_ip) != family_of(b->host_ip);
}

/* The same order for both: the search begins behind the last one found. */
static void number_same(const struct cs_ports *wanted, const struct cs_ports *g, bool *used, uint16_t *number)
{
	for (size_t i = 0, next = 0; i < wanted->n; i++)
		for (size_t n = 0; n < g->n && !number[i]; n++) {
			const struct cs_port *p = &wanted->p[i];
			size_t k = (next + n) % g->n;
			if (used[k] || !same_host(p, &g->p[k]))
				continue;
			bool both = cs_empty(p->host_ip) && k + 1 < g->n && g->p[k + 1].lo == g->p[k].lo && same_host(p, &g->p[k + 1]);
			used[k] = true;
			number[i] = g->p[k].lo;
			next = k + 1;
			if (both)
				used[next++] = true;
		}
}

/* From the one beside it, which is used once. */
static void number_pairs(const struct cs_ports *wanted, uint16_t *number)
{
	cs_autofree bool *paired = cs_xcalloc(wanted->n + 1, sizeof(bool));

	for (size_t i = 0; i + 1 < wanted->n; i++)
		if (number[i] && number[i] == number[i + 1] && !paired[i] && pair(&wanted->p[i], &wanted->p[i + 1]))
			paired[i] = paired[i + 1] = true;
	for (size_t i = 0; i < wanted->n; i++)
		for (size_t k = i ? i - 1 : 1; k <= i + 1 && k < wanted->n && !number[i]; k += 2)
			if (number[k] && !paired[k] && pair(&wanted->p[i], &wanted->p[k])) {
				number[i] = number[k];
				paired[i] = paired[k] = true;
			}
}

int cs_ports_number(struct cs_ports *wanted, const char *json, const struct cs_host_config *h, struct cs_err **err)
{
	cs_autoports struct cs_ports g = {0};

	if (cs_ports_given(json, h, true, &g, err) < 0)
		return -1;
	cs_autofree bool *used = cs_xcalloc(g.n + 1, sizeof(bool));
	cs_autofree uint16_t *number = cs_xcalloc(wanted->n + 1, sizeof(*number));
	number_same(wanted, &g, used, number);
	number_pairs(wanted, number);
	for (size_t i = 0; i < wanted->n; i++) {
		struct cs_port *p = &wanted->p[i];
		for (size_t k = 0; k < g.n && !number[i]; k++) /* at another address of the host's */
			if (!used[k] && in_range(p, &g.p[k])) {
				number[i] = g.p[k].lo;
				used[k] = true;
			}
		if (number[i])
			p->lo = p->hi = number[i];
	}
	return 0;
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
