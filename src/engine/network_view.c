/* SPDX-License-Identifier: Apache-2.0
 *
 * What inspect and list of containers show of networks, in the shapes of each API version. c->lock is held; no other lock is taken. */
#include <string.h>

#include "base/id.h"
#include "base/num.h"
#include "engine/network.h"
#include "engine/validate.h"
#include "engine/view.h"

#define JOINS_MAX 32 /* two that name each other make a circle; neither can start */

/* A run's values end with it: an exit is told before its endpoints are gone. The strings stay s's. */
static struct cs_endpoint_settings as_seen(const struct cs_container *c, const struct cs_endpoint_settings *s)
{
	struct cs_endpoint_settings seen = *s;

	if (c->status != CS_ST_RUNNING) {
		seen.endpoint_id = seen.gateway = seen.ip_address = seen.ipv6_gateway = seen.global_ipv6_address = seen.mac_address = NULL;
		seen.ip_prefix_len = seen.global_ipv6_prefix_len = 0;
	}
	return seen;
}

static void put_endpoint(struct cs_container *c, const struct cs_endpoint_settings *s, int api, bool brief, struct cs_str *out)
{
	struct cs_endpoint_settings shown = as_seen(c, s);
	cs_autostrv char **aliases = NULL;

	/* before the process runs nothing has been given; what is wanted shows in the newer versions' own field */
	if (cs_empty(shown.mac_address))
		shown.mac_address = shown.wanted_mac;
	if (brief) {
		shown.aliases = shown.links = shown.dns_names = NULL;
		shown.driver_opts = NULL;
	} else if (api && api < 145 && !cs_network_predefined(s->key)) {
		cs_autofree char *short_id = cs_xstrndup(c->id, CS_SHORT_ID_LEN);
		aliases = cs_strv_copy(s->aliases);
		if (!cs_strv_has(aliases, short_id))
			cs_strv_push(&aliases, short_id);
		shown.aliases = aliases;
	}
	cs_json_encode(&cs_endpoint_settings_type, &shown, api, out);
}

void cs_view_networks(struct cs_container *c, int api, bool brief, struct cs_str *out)
{
	cs_str_putc(out, '{');
	for (size_t i = 0; c->nets && i < c->nets->n_endpoints; i++) {
		cs_json_put_key(out, c->nets->endpoints[i].key);
		put_endpoint(c, &c->nets->endpoints[i], api, brief, out);
	}
	cs_str_putc(out, '}');
}

bool cs_view_on_network(const struct cs_container *c, const char *name, const char *id)
{
	for (size_t i = 0; c->nets && i < c->nets->n_endpoints; i++)
		if (cs_streq(c->nets->endpoints[i].key, name) || (!cs_empty(id) && cs_streq(c->nets->endpoints[i].network_id, id)))
			return true;
	return false;
}

static bool is_routed(const struct cs_container *c, const struct cs_port_binding *b) { return c->ports_routed[b->host_ip && strchr(b->host_ip, ':')]; }

/* As dockerd shows them: what is routed has no port of the host's, and comes last. */
static void put_ports(struct cs_container *c, struct cs_str *out)
{
	struct cs_port_map m cs_auto(cs_port_map_done) = {0};

	if (!c->ports_routed[0] && !c->ports_routed[1])
		return cs_str_puts(out, c->nets->ports);
	if (cs_port_map_parse(c->nets->ports, "Ports", &m, NULL) < 0)
		return cs_str_puts(out, "{}");
	cs_str_putc(out, '{');
	for (size_t i = 0; i < m.n; i++) {
		cs_json_put_key(out, m.e[i].port);
		if (!m.e[i].n) {
			cs_str_puts(out, "null");
			continue;
		}
		cs_str_putc(out, '[');
		for (int routed = 0; routed < 2; routed++)
			for (size_t k = 0; k < m.e[i].n; k++) {
				const struct cs_port_binding *b = &m.e[i].bindings[k];
				if (is_routed(c, b) != routed)
					continue;
				cs_str_puts(out, out->buf[out->len - 1] == '[' ? "{" : ",{");
				cs_json_put_kstr(out, "HostIp", !routed ? b->host_ip : strchr(b->host_ip, ':') ? "::" : "0.0.0.0");
				cs_json_put_kstr(out, "HostPort", routed ? "" : b->host_port);
				cs_str_putc(out, '}');
			}
		cs_str_putc(out, ']');
	}
	cs_str_putc(out, '}');
}

void cs_view_network_settings(struct cs_container *c, int api, struct cs_str *out)
{
	const struct cs_endpoint_settings *bridge = cs_container_endpoint(c, "bridge");

	cs_json_put_key(out, "Ports");
	if (c->status == CS_ST_RUNNING && c->nets && c->nets->ports)
		put_ports(c, out);
	else
		cs_str_puts(out, "{}");
	if (api && api < 152) { /* those of the default bridge, from before there were networks */
		struct cs_endpoint_settings b = bridge ? as_seen(c, bridge) : (struct cs_endpoint_settings){0};
		cs_str_puts(out, ",\"HairpinMode\":false,\"LinkLocalIPv6Address\":\"\",\"LinkLocalIPv6PrefixLen\":0,\"SecondaryIPAddresses\":null,"
				 "\"SecondaryIPv6Addresses\":null");
		cs_json_put_kstr(out, "EndpointID", b.endpoint_id);
		cs_json_put_kstr(out, "Gateway", b.gateway);
		cs_json_put_kstr(out, "GlobalIPv6Address", b.global_ipv6_address);
		cs_json_put_ki64(out, "GlobalIPv6PrefixLen", b.global_ipv6_prefix_len);
		cs_json_put_kstr(out, "IPAddress", b.ip_address);
		cs_json_put_ki64(out, "IPPrefixLen", b.ip_prefix_len);
		cs_json_put_kstr(out, "IPv6Gateway", b.ipv6_gateway);
		cs_json_put_kstr(out, "MacAddress", b.mac_address);
	}
	cs_json_put_key(out, "Networks");
	cs_view_networks(c, api, false, out);
}

/* ---- the list's ports ---- */

struct row {
	uint64_t private, public;
	const char *ip, *proto;
};

static int by_port(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	if (x->private != y->private)
		return x->private < y->private ? -1 : 1;
	int r = strcmp(x->proto, y->proto);
	if (r == 0)
		r = strcmp(x->ip, y->ip);
	return r ? r : x->public < y->public ? -1 : x->public > y->public;
}

void cs_view_list_ports(struct cs_container *c, struct cs_str *out)
{
	struct cs_port_map m cs_auto(cs_port_map_done) = {0};
	size_t n = 0, rows = 0;

	cs_json_put_key(out, "Ports");
	cs_str_putc(out, '[');
	if (c->status != CS_ST_RUNNING || !c->nets || cs_port_map_parse(c->nets->ports, "Ports", &m, NULL) < 0)
		return cs_str_putc(out, ']');
	for (size_t i = 0; i < m.n; i++)
		rows += m.e[i].n ? m.e[i].n : 1;
	cs_autofree struct row *v = cs_xcalloc(rows + 1, sizeof(*v));
	for (size_t i = 0; i < m.n; i++) {
		const char *slash = strchr(m.e[i].port, '/');
		struct row r = {.ip = "", .proto = slash ? slash + 1 : "tcp"};
		if (!cs_parse_u64n(m.e[i].port, slash ? (size_t)(slash - m.e[i].port) : strlen(m.e[i].port), 0, 65535, &r.private))
			continue;
		size_t before = n;
		for (size_t k = 0; k < m.e[i].n; k++) {
			struct row b = r;
			if (is_routed(c, &m.e[i].bindings[k]))
				continue;
			b.ip = m.e[i].bindings[k].host_ip ? m.e[i].bindings[k].host_ip : "";
			if (!cs_parse_u64(m.e[i].bindings[k].host_port ? m.e[i].bindings[k].host_port : "", 0, 65535, &b.public))
				continue;
			v[n++] = b;
		}
		if (n == before) /* exposed, or open at the container's address only */
			v[n++] = r;
	}
	if (n)
		qsort(v, n, sizeof(*v), by_port);
	for (size_t i = 0; i < n; i++) {
		cs_str_puts(out, i ? ",{" : "{");
		if (*v[i].ip)
			cs_json_put_kstr(out, "IP", v[i].ip);
		cs_json_put_ki64(out, "PrivatePort", (int64_t)v[i].private);
		if (v[i].public)
			cs_json_put_ki64(out, "PublicPort", (int64_t)v[i].public);
		cs_json_put_kstr(out, "Type", v[i].proto);
		cs_str_putc(out, '}');
	}
	cs_str_putc(out, ']');
}

/* ---- joined networks ---- */

struct cs_container *cs_net_owner(struct cs_container *c)
{
	struct cs_container *at = cs_container_ref(c);

	for (int hops = 0; at && hops < JOINS_MAX; hops++) {
		struct cs_container *next = NULL;
		pthread_mutex_lock(&at->lock);
		cs_autofree char *ref = cs_xstrdup(cs_mode_container(at->host->network_mode));
		pthread_mutex_unlock(&at->lock);
		if (!ref && at != c)
			return at;
		if (ref && cs_container_get(at->e, ref, &next, NULL) < 0)
			next = NULL;
		cs_container_unref(at);
		at = next;
	}
	cs_container_unref(at);
	return NULL;
}

struct cs_container *cs_net_names(struct cs_container *c, struct cs_config *copy)
{
	struct cs_container *owner = cs_net_owner(c);

	if (owner) {
		copy->hostname = owner->config->hostname;
		copy->domainname = owner->config->domainname;
	}
	return owner;
}
