/* SPDX-License-Identifier: Apache-2.0
 *
 * What a container publishes, and by which of its endpoints: those with its ways out, one for each family, as long as they are. */
#include "engine/network_publish.h"

#include <string.h>

#include "base/log.h"
#include "base/num.h"

void cs_port_owners_done(struct cs_port_owners *o)
{
	cs_network_unref(o->n[0]);
	cs_network_unref(o->n[1]);
}

/* Before it is there: as far as the network tells; an endpoint's own sysctls may make it another. */
static bool has_family(const struct cs_container *c, const struct cs_endpoint_settings *s, const struct cs_network *n, bool v6, bool up)
{
	if (up)
		return !cs_empty(v6 ? s->global_ipv6_address : s->ip_address);
	return v6 ? n->doc->enable_ipv6 && !cs_host_without_ipv6(c->host) : n->doc->enable_ipv4;
}

/* The highest priority, then the first by name, as the service elects the default routes. Isolated networks publish nothing. */
void cs_port_owners_elect(struct cs_container *c, bool up, const struct cs_endpoint_settings *leaving, struct cs_port_owners *o)
{
	o->leaving = leaving;
	for (size_t i = 0; i < c->nets->n_endpoints; i++) {
		struct cs_endpoint_settings *s = &c->nets->endpoints[i];
		cs_autonetwork struct cs_network *n = cs_container_network_of(c, s, NULL);
		if (s == leaving || !n || !n->h || n->doc->internal || !cs_streq(n->doc->driver, "bridge") || (up && cs_empty(s->endpoint_id)))
			continue;
		for (int f = 0; f < 2; f++) {
			if (!has_family(c, s, n, f, up) || (o->s[f] && o->s[f]->gw_priority >= s->gw_priority))
				continue;
			o->s[f] = s;
			cs_network_unref(o->n[f]);
			o->n[f] = cs_network_ref(n);
		}
	}
}

bool cs_port_owners_apart(const struct cs_port_owners *o) { return o->s[0] && o->s[1] && o->s[0] != o->s[1]; }

struct cs_endpoint_settings *cs_port_owners_sole(const struct cs_port_owners *o) { return o->s[0] ? o->s[0] : o->s[1]; }

static struct cs_endpoint_settings *owner_of(const struct cs_port_owners *o, const struct cs_port *p)
{
	return cs_empty(p->host_ip) ? cs_port_owners_sole(o) : o->s[strchr(p->host_ip, ':') != NULL];
}

static const char *default_ip(const struct cs_network *n) { return n ? cs_strmap_get(n->doc->options, CS_OPT_HOST_BINDING) : NULL; }

int cs_publish_wanted(struct cs_container *c, const struct cs_port_owners *o, struct cs_ports *ret, struct cs_err **err)
{
	struct cs_ports_way w = {{default_ip(o->n[0]), default_ip(o->n[1])}, cs_port_owners_apart(o)};

	return cs_ports_wanted(c->config, c->host, &w, ret, err);
}

static void remember_owners(struct cs_container *c, const struct cs_port_owners *o) /* NULL: nothing is published; lock held */
{
	for (int f = 0; f < 2; f++) {
		free(c->ports_on[f]);
		c->ports_on[f] = o && o->s[f] ? cs_xstrdup(o->s[f]->endpoint_id) : NULL;
	}
}

static bool routes(const struct cs_network *n, bool v6) { return cs_streq(cs_strmap_get(n->doc->options, v6 ? CS_OPT_GATEWAY6 : CS_OPT_GATEWAY4), "routed"); }

/* lock held */
static void see_routed(struct cs_container *c, const struct cs_port_owners *o)
{
	for (int v6 = 0; v6 < 2; v6++)
		c->ports_routed[v6] = o->n[v6] && routes(o->n[v6], v6);
}

void cs_publish_show(struct cs_container *c, const struct cs_ports *given, const struct cs_port_owners *o)
{
	/* without a network that publishes, exposed ports are nobody's: as dockerd shows it */
	char *json = cs_ports_json(cs_port_owners_sole(o) ? c->config->exposed_ports : NULL, given, o->s[0], o->s[1]);

	CS_GUARD(&c->lock);
	free(c->nets->ports);
	c->nets->ports = json;
	see_routed(c, o);
	remember_owners(c, given->n ? o : NULL);
}

/* The numbers that were given. */
static int take_numbers(const struct cs_endpoint_settings *s, enum cs_ports_of of, struct cs_ports *ports, struct cs_err **err)
{
	cs_autojson json_t *answer = NULL;
	HCN_ENDPOINT ep = NULL;
	HCN_GUID guid;

	if (!cs_hcn_guid_of(s->endpoint_id, &guid) || HcnOpenEndpoint(&guid, &ep, NULL) != HCS_S_OK)
		return cs_fail(err, CS_ERR_INTERNAL, 0, "no endpoint");
	int r = cs_endpoint_query(ep, &answer, err);
	(void)HcnCloseEndpoint(ep);
	if (r == 0)
		cs_ports_take(ports, of, answer);
	return r;
}

static void put_place(const struct cs_port *p, const char *endpoint_id, struct cs_str *out)
{
	char id[CS_HCN_GUID_TEXT];
	HCN_GUID guid;

	if (!cs_hcn_guid_of(endpoint_id, &guid))
		guid = (HCN_GUID){0};
	cs_hcn_guid_text(&guid, id);
	cs_str_puts(out, out->buf[out->len - 1] == '[' ? "{" : ",{");
	cs_json_put_kstr(out, "EndpointId", id);
	cs_json_put_key(out, "Policy");
	cs_port_put_policy(p, out);
	cs_str_putc(out, '}');
}

/* What is published is open at the container's own address on each network that is routed, be it the one with the way out or not: nothing of the host's
 * is taken for that. */
static bool opens_too(struct cs_container *c, const struct cs_port_owners *o, const struct cs_endpoint_settings *s, bool v6)
{
	cs_autonetwork struct cs_network *n = cs_container_network_of(c, s, NULL);

	return n && n->h && s != o->leaving && s != o->s[v6] && !n->doc->internal && cs_streq(n->doc->driver, "bridge") && routes(n, v6) &&
	       has_family(c, s, n, v6, true);
}

bool cs_publish_opens(struct cs_container *c, const struct cs_port_owners *o)
{
	for (size_t i = 0; i < c->nets->n_endpoints; i++) {
		const struct cs_endpoint_settings *s = &c->nets->endpoints[i];
		if (opens_too(c, o, s, false) || opens_too(c, o, s, true))
			return true;
	}
	return false;
}

static void put_opened(struct cs_container *c, const struct cs_port_owners *o, struct cs_str *out)
{
	static const struct cs_ports_way everywhere = {{NULL, NULL}, true};
	cs_autoports struct cs_ports all = {0};

	if (!cs_publish_opens(c, o) || cs_ports_wanted(c->config, c->host, &everywhere, &all, NULL) < 0)
		return;
	for (size_t i = 0; i < c->nets->n_endpoints; i++)
		for (size_t k = 0; k < all.n; k++)
			if (opens_too(c, o, &c->nets->endpoints[i], strchr(all.p[k].host_ip, ':')))
				put_place(&all.p[k], c->nets->endpoints[i].endpoint_id, out);
}

int cs_publish_at(struct cs_container *c, const struct cs_port_owners *o, struct cs_ports *ports, struct cs_err **err)
{
	cs_autostr struct cs_str doc = CS_STR_INIT((size_t)8 << 20);
	struct cs_err *why = NULL;
	char *record = NULL;

	cs_str_puts(&doc, "{\"ResourceType\":\"PortMapping\",\"RequestType\":\"Update\",\"Settings\":{\"Ports\":[");
	for (size_t i = 0; i < ports->n; i++)
		put_place(&ports->p[i], owner_of(o, &ports->p[i])->endpoint_id, &doc);
	put_opened(c, o, &doc);
	cs_str_puts(&doc, "]}}");
	if (doc.failed)
		return cs_fail(err, CS_ERR_INVALID, 0, "too many ports");
	HRESULT hr = HcnModifyNamespace(c->net_ns, doc.buf, &record);
	int r = hr == HCS_S_OK ? 0 : cs_hcn_failed(hr, record, &why);
	for (int f = 0; f < 2 && r == 0 && ports->n && cs_port_owners_apart(o); f++)
		r = take_numbers(o->s[f], f ? CS_PORTS_V6 : CS_PORTS_V4, ports, &why);
	if (r == 0 && ports->n && !cs_port_owners_apart(o))
		r = take_numbers(cs_port_owners_sole(o), CS_PORTS_ALL, ports, &why);
	return r < 0 ? cs_publish_failed(c, cs_port_owners_sole(o) ? cs_port_owners_sole(o)->endpoint_id : "", ports, why, err) : 0;
}

void cs_publish_led(struct cs_container *c, const struct cs_port_owners *o, bool unchanged, struct cs_ports *ports)
{
	size_t n = 0;

	for (size_t i = 0; i < ports->n; i++) {
		struct cs_port *p = &ports->p[i];
		const struct cs_endpoint_settings *s = owner_of(o, p);
		if (s && (!unchanged || cs_streq(s->endpoint_id, c->ports_on[strchr(p->host_ip, ':') != NULL]))) {
			ports->p[n++] = *p;
			continue;
		}
		if (!s)
			cs_logk(CS_LOG_INFO, "engine", "container", c->id, "port %u/%s is not published at %s: no network of the container leads there", p->port,
				cs_proto_name(p->proto), cs_empty(p->host_ip) ? "any address" : p->host_ip);
		free(p->host_ip);
	}
	ports->n = n;
}

int cs_publish_all(struct cs_container *c, const struct cs_port_owners *o, struct cs_err **err)
{
	cs_autoports struct cs_ports ports = {0};

	if (cs_publish_wanted(c, o, &ports, err) < 0 || ((c->ports_on[0] || c->ports_on[1]) && cs_ports_number(&ports, c->nets->ports, c->host, err) < 0))
		return -1;
	if (!ports.n)
		return 0;
	cs_publish_led(c, o, false, &ports);
	int r = cs_publish_at(c, o, &ports, err);
	if (r < 0 && o->leaving) {
		cs_publish_led(c, o, true, &ports);
		if (cs_publish_at(c, o, &ports, NULL) < 0)
			cs_logk(CS_LOG_WARN, "engine", "container", c->id, "what is shown of its published ports is not so");
	}
	if (r == 0 || o->leaving)
		cs_publish_show(c, &ports, o);
	return r;
}

static bool same_owners(const struct cs_container *c, const struct cs_port_owners *o)
{
	for (int f = 0; f < 2; f++)
		if (!cs_streq(o->s[f] ? o->s[f]->endpoint_id : NULL, c->ports_on[f]))
			return false;
	return true;
}

void cs_publish_keep(struct cs_container *c, const struct cs_port_owners *o)
{
	CS_GUARD(&c->lock);

	see_routed(c, o);
	remember_owners(c, o);
}

void cs_publish_forget(struct cs_container *c) { remember_owners(c, NULL); }

int cs_container_ports_settle(struct cs_container *c, const struct cs_endpoint_settings *leaving, struct cs_err **err)
{
	cs_autoowners struct cs_port_owners o = {0};

	cs_port_owners_elect(c, true, leaving, &o);
	return same_owners(c, &o) && !cs_publish_opens(c, &o) ? 0 : cs_publish_all(c, &o, err);
}

/* ---- what failed ---- */

/* Which container has this port. Caller frees; NULL: none of ours. */
static char *holder(struct cs_container *c, const struct cs_port *wanted)
{
	struct cs_container **all = cs_containers_all(c->e, NULL);
	char *ret = NULL;

	for (struct cs_container **p = all; *p && !ret; p++) {
		cs_autoports struct cs_ports has = {0};
		if (*p == c)
			continue;
		CS_GUARD(&(*p)->lock);
		if (!(*p)->nets || cs_ports_given((*p)->nets->ports, (*p)->host, true, &has, NULL) < 0)
			continue;
		for (size_t i = 0; i < has.n && !ret; i++)
			if (cs_port_meets(wanted, &has.p[i]))
				ret = cs_xstrdup((*p)->name);
	}
	cs_containers_free(all);
	return ret;
}

int cs_publish_failed(struct cs_container *c, const char *id, const struct cs_ports *wanted, struct cs_err *why, struct cs_err **err)
{
	cs_autofree char *text = cs_err_text(why), *who = NULL;
	for (size_t i = 0; wanted && i < wanted->n && !who; i++) {
		cs_autofree char *number = cs_xasprintf(":%u failed: port is already allocated", wanted->p[i].lo);
		if (strstr(text, number))
			who = holder(c, &wanted->p[i]);
	}
	enum cs_code code = cs_err_code(why);

	cs_err_free(why);
	return cs_fail(err, code, 0, "driver failed programming external connectivity on endpoint %s (%s): %s%s%s%s", c->name, id, text, who ? " (container " : "",
		       who ? who : "", who ? " has it)" : "");
}
