/* SPDX-License-Identifier: Apache-2.0
 *
 * Network mode, ports and endpoints of a create request. Afterwards NetworkingConfig has what the container gets: the endpoints by their networks'
 * names, sorted. Pure but for the look-ups. */
#include <arpa/inet.h>
#include <string.h>

#include "base/num.h"
#include "engine/network.h"
#include "engine/spec-internal.h"

static int invalid(struct cs_err **err, const char *text) { return cs_fail(err, CS_ERR_INVALID, 0, "%s", text); }
static bool given(char *const *v) { return v && *v; }

const char *cs_mode_container(const char *mode) { return mode ? cs_prefix(mode, "container:") : NULL; }

bool cs_network_is_private(const char *mode) { return !cs_streq(mode, "host") && !cs_mode_container(mode); }

/* dockerd quotes the number without its protocol */
static int bad_port(const char *port, struct cs_err **err)
{
	const char *slash = strchr(port, '/');
	cs_autofree char *num = cs_xstrndup(port, slash ? (size_t)(slash - port) : strlen(port));

	return cs_fail(err, CS_ERR_INVALID, 0, "invalid port specification: \"%s\"", num);
}

static bool ip_valid(const char *ip)
{
	unsigned char buf[16];

	return inet_pton(AF_INET, ip, buf) == 1 || inet_pton(AF_INET6, ip, buf) == 1;
}

static int check_bindings(const struct cs_port_map *m, struct cs_err **err)
{
	struct cs_port_range r;

	for (size_t i = 0; i < m->n; i++) {
		if (!cs_parse_ports(m->e[i].port, &r) || r.lo != r.hi)
			return bad_port(m->e[i].port, err);
		for (size_t k = 0; k < m->e[i].n; k++) {
			const struct cs_port_binding *b = &m->e[i].bindings[k];
			if (!cs_empty(b->host_port) && (strchr(b->host_port, '/') || !cs_parse_ports(b->host_port, &r)))
				return cs_fail(err, CS_ERR_INVALID, 0, "invalid port specification: \"%s\"", b->host_port);
			if (!cs_empty(b->host_ip) && !ip_valid(b->host_ip))
				return cs_fail(err, CS_ERR_INVALID, 0, "invalid IP address: %s", b->host_ip);
		}
	}
	return 0;
}

/* An empty list of bindings is a free port of the host's. That was to end with 1.53 and did not: dockerd still fills it, and warns since 1.52 (moby#51727). */
static void fill_bindings(struct cs_port_map *m, int api, char ***warnings)
{
	cs_autostrv char **empty = NULL;

	for (size_t i = 0; i < m->n; i++) {
		struct cs_port_map_entry *e = &m->e[i];
		if (e->n)
			continue;
		cs_strv_take(&empty, cs_xasprintf("%s%s", e->port, strchr(e->port, '/') ? "" : "/tcp"));
		free(e->bindings);
		e->bindings = cs_xcalloc(1, sizeof(*e->bindings));
		e->n = 1;
	}
	if (empty && (!api || api >= 152)) {
		cs_autofree char *list = cs_strv_join(empty, ", ");
		cs_autofree char *text = cs_xasprintf("Following container port(s) have an empty list of port-bindings: %s. Such bindings will be discarded in a future version.", list);
		cs_warn(warnings, text);
	}
}

/* The map in dockerd's shape: sorted, "tcp" by default, HostIp before HostPort. */
static char *canonical_ports(const struct cs_port_map *m)
{
	struct cs_str s = CS_STR_INIT((size_t)4 << 20);

	cs_str_putc(&s, '{');
	for (size_t i = 0; i < m->n; i++) {
		cs_autofree char *port = cs_xasprintf("%s%s", m->e[i].port, strchr(m->e[i].port, '/') ? "" : "/tcp");
		cs_json_put_key(&s, port);
		cs_str_putc(&s, '[');
		for (size_t k = 0; k < m->e[i].n; k++) {
			if (k)
				cs_str_putc(&s, ',');
			cs_json_encode(&cs_port_binding_type, &m->e[i].bindings[k], 0, &s);
		}
		cs_str_putc(&s, ']');
	}
	cs_str_putc(&s, '}');
	return cs_str_steal(&s);
}

static int check_ports(struct cs_create_request *req, int api, char ***warnings, struct cs_err **err)
{
	struct cs_host_config *h = req->host_config;
	struct cs_port_map m cs_auto(cs_port_map_done) = {0};
	struct cs_port_range r;

	for (size_t i = 0; req->config.exposed_ports && req->config.exposed_ports[i]; i++)
		if (!cs_parse_ports(req->config.exposed_ports[i], &r))
			return bad_port(req->config.exposed_ports[i], err);
	if (cs_port_map_parse(h->port_bindings, "HostConfig.PortBindings", &m, err) < 0 || check_bindings(&m, err) < 0)
		return -1;
	fill_bindings(&m, api, warnings);
	char *canonical = canonical_ports(&m);
	if (!canonical)
		return invalid(err, "HostConfig.PortBindings: too many ports");
	free(h->port_bindings);
	h->port_bindings = canonical;
	bool publishes = m.n || h->publish_all_ports;
	if (cs_mode_container(h->network_mode) && publishes) /* before those that are exposed: a client that publishes exposes, too */
		return invalid(err, "conflicting options: port publishing and the container type network mode");
	if (cs_mode_container(h->network_mode) && given(req->config.exposed_ports))
		return invalid(err, "conflicting options: port exposing and the container type network mode");
	if (!publishes)
		return 0;
	if (cs_streq(h->network_mode, "host"))
		cs_warn(warnings, "Published ports are discarded when using host network mode");
	else if (cs_streq(h->network_mode, "none") || req->config.network_disabled)
		cs_warn(warnings, "Published ports are discarded when using none network mode");
	return 0;
}

static int check_joined(const struct cs_create_request *req, struct cs_err **err)
{
	const struct cs_host_config *h = req->host_config;
	const char *ref = cs_mode_container(h->network_mode);

	if (cs_streq(h->uts_mode, "host") && !cs_empty(req->config.hostname))
		return invalid(err, "conflicting options: hostname and the UTS mode");
	if (cs_streq(h->network_mode, "container") || (ref && !*ref))
		return invalid(err, "invalid network mode: invalid container format container:<name|id>");
	if (cs_streq(h->network_mode, "host") && given(h->links))
		return invalid(err, "conflicting options: host type networking can't be used with links. This would result in undefined behavior");
	if (!ref)
		return 0;
	if (!cs_empty(req->config.hostname))
		return invalid(err, "conflicting options: hostname and the network mode");
	if (given(h->links))
		return invalid(err, "conflicting options: container type network can't be used with links. This would result in undefined behavior");
	if (given(h->dns))
		return invalid(err, "conflicting options: dns and the network mode");
	if (given(h->extra_hosts))
		return invalid(err, "conflicting options: custom host-to-IP mapping and the network mode");
	if (!cs_empty(req->config.mac_address))
		return invalid(err, "conflicting options: mac-address and the network mode");
	return 0;
}

static int check_hosts_and_dns(const struct cs_host_config *h, struct cs_err **err)
{
	for (size_t i = 0; h->extra_hosts && h->extra_hosts[i]; i++) {
		const char *e = h->extra_hosts[i], *sep = strpbrk(e, ":=");
		if (!sep || sep == e || !sep[1] || strpbrk(e, " \t\r\n"))
			return cs_fail(err, CS_ERR_INVALID, 0, "bad format for add-host: \"%s\"", e);
		cs_autofree char *ip = cs_xstrdup(sep[1] == '[' ? sep + 2 : sep + 1);
		size_t n = strlen(ip);
		if (sep[1] == '[' && n && ip[n - 1] == ']')
			ip[n - 1] = 0;
		if (strcmp(ip, "host-gateway") == 0)
			continue;
		if (!ip_valid(ip))
			return cs_fail(err, CS_ERR_INVALID, 0, "invalid IP address in add-host: \"%s\"", ip);
	}
	for (size_t i = 0; h->dns && h->dns[i]; i++)
		if (!ip_valid(h->dns[i]))
			return cs_fail(err, CS_ERR_INVALID, 0, "bad nameserver address: %s is not an IP address", h->dns[i]);
	char *const *lists[] = {h->dns_search, h->dns_options};
	for (size_t k = 0; k < CS_ARRAY_SIZE(lists); k++)
		for (size_t i = 0; lists[k] && lists[k][i]; i++)
			if (strpbrk(lists[k][i], " \t\r\n") || !*lists[k][i])
				return cs_fail(err, CS_ERR_INVALID, 0, "invalid DNS %s: \"%s\"", k ? "option" : "search domain", lists[k][i]);
	return 0;
}

static bool user_defined(const char *mode) { return !cs_mode_container(mode) && !cs_empty(mode) && !cs_network_predefined(mode); }

/* ---- endpoints ---- */

/* *ret NULL: there is none of that name (yet). As with dockerd, that is told at the start: docker run takes a 404 of the creation for a missing image. */
static int find_network(const struct cs_container_lookup *lookup, const char *ref, struct cs_network_doc **ret, struct cs_err **err)
{
	struct cs_err *inner = NULL;

	*ret = NULL;
	if (!lookup || !lookup->network || cs_network_predefined(ref) || lookup->network(lookup->ctx, ref, ret, &inner) == 0)
		return 0;
	if (cs_err_code(inner) != CS_ERR_NOT_FOUND)
		return cs_err_move(err, inner);
	cs_err_free(inner);
	return 0;
}

static void autodoc_done(struct cs_network_doc **d) { cs_network_doc_free(*d); }

/* The mode by full id or by name, and the name of its network. */
static int resolve_mode(const struct cs_container_lookup *lookup, struct cs_host_config *h, char **ret_name, struct cs_err **err)
{
	cs_auto(autodoc_done) struct cs_network_doc *d = NULL;
	const char *mode = h->network_mode;

	if (!user_defined(mode)) {
		*ret_name = cs_xstrdup(cs_streq(mode, "default") ? "bridge" : mode);
		return 0;
	}
	if (find_network(lookup, mode, &d, err) < 0)
		return -1;
	*ret_name = cs_xstrdup(d ? d->name : mode);
	if (d && d->config_only)
		return cs_fail(err, CS_ERR_DENIED, 0, "cannot create endpoint on configuration-only network");
	if (d && !cs_streq(mode, d->name) && !cs_streq(mode, d->id)) {
		free(h->network_mode);
		h->network_mode = cs_xstrdup(d->id);
	}
	return 0;
}

static int one_endpoint(const struct cs_container_lookup *lookup, struct cs_endpoint_settings *s, struct cs_err **err)
{
	cs_auto(autodoc_done) struct cs_network_doc *d = NULL;

	if (cs_streq(s->key, "default")) {
		free(s->key);
		s->key = cs_xstrdup("bridge");
	}
	if (find_network(lookup, s->key, &d, err) < 0)
		return -1;
	cs_endpoint_wanted(s);
	if (d) {
		free(s->key);
		s->key = cs_xstrdup(d->name);
		s->network_id = cs_xstrdup(d->id);
		if (d->config_only)
			return cs_fail(err, CS_ERR_DENIED, 0, "cannot create endpoint on configuration-only network");
	}
	return cs_endpoint_check(s, s->key, d, err);
}

static int by_key(const void *a, const void *b)
{
	return strcmp(((const struct cs_endpoint_settings *)a)->key, ((const struct cs_endpoint_settings *)b)->key);
}

static struct cs_endpoint_settings *endpoint(struct cs_networking_config *n, const char *name)
{
	for (size_t i = 0; i < n->n_endpoints; i++)
		if (cs_streq(n->endpoints[i].key, name))
			return &n->endpoints[i];
	return NULL;
}

static struct cs_endpoint_settings *add_endpoint(struct cs_networking_config *n, const char *name)
{
	n->endpoints = cs_xreallocarray(n->endpoints, n->n_endpoints + 1, sizeof(*n->endpoints));
	n->endpoints[n->n_endpoints] = (struct cs_endpoint_settings){.key = cs_xstrdup(name)};
	return &n->endpoints[n->n_endpoints++];
}

/* What cannot go together. */
static int check_together(const struct cs_networking_config *n, const char *main_net, struct cs_err **err)
{
	bool host = cs_streq(main_net, "host"), none = cs_streq(main_net, "none");

	for (size_t i = 0; i < n->n_endpoints; i++) {
		const char *key = n->endpoints[i].key;
		if (host != cs_streq(key, "host"))
			return invalid(err, host ? "container sharing network namespace with another container or host cannot be connected to any other network"
						 : "cannot connect container to host network - container must be created in host network mode");
		if (none != cs_streq(key, "none") && (n->n_endpoints > 1 || none))
			return invalid(err, "container cannot be connected to multiple networks with one of the networks in private (none) mode");
		if (i && cs_streq(key, n->endpoints[i - 1].key))
			return cs_fail(err, CS_ERR_INVALID, 0, "network %s is given twice", key);
	}
	return 0;
}

/* The container-wide address is that of the main network's endpoint. */
static int apply_mac(struct cs_create_request *req, struct cs_networking_config *n, const char *main_net, int api, char ***warnings, struct cs_err **err)
{
	const char *mac = req->config.mac_address;

	if (cs_empty(mac))
		return 0;
	if (cs_streq(main_net, "host") || cs_streq(main_net, "none"))
		return invalid(err, "conflicting options: mac-address and the network mode");
	struct cs_endpoint_settings *s = endpoint(n, main_net);
	if (!s)
		s = n->n_endpoints ? &n->endpoints[0] : add_endpoint(n, main_net);
	if (!cs_empty(s->wanted_mac) && strcasecmp(s->wanted_mac, mac) != 0)
		return invalid(err, "the container-wide MAC address must match the endpoint-specific MAC address for the main network, or be left empty");
	free(s->wanted_mac);
	s->wanted_mac = cs_xstrdup(mac);
	if (api >= 144)
		cs_warn(warnings, "The container-wide MacAddress field is now deprecated. It should be specified in EndpointsConfig instead.");
	return 0;
}

/* Who joins another's network has no endpoints of its own. docker sends one that is named as the mode and holds the --mac-address. */
static int drop_endpoints(const struct cs_networking_config *n, const char *mode, char ***warnings, struct cs_err **err)
{
	for (size_t i = 0; n && i < n->n_endpoints; i++) {
		const struct cs_endpoint_settings *s = &n->endpoints[i];
		if (!cs_empty(s->mac_address))
			return invalid(err, "conflicting options: mac-address and the network mode");
		if (!cs_streq(s->key, mode) || s->ipam_config || given(s->aliases) || given(s->links))
			cs_warn(warnings, "Network endpoints are discarded when using the container type network mode");
	}
	return 0;
}

static int check_endpoints(const struct cs_container_lookup *lookup, struct cs_create_request *req, int api, char ***warnings, struct cs_err **err)
{
	struct cs_host_config *h = req->host_config;
	cs_autofree char *main_net = NULL;

	if (cs_mode_container(h->network_mode)) {
		if (drop_endpoints(req->networking_config, h->network_mode, warnings, err) < 0)
			return -1;
		cs_networking_config_free(TAKE_PTR(req->networking_config));
		return 0;
	}
	if (resolve_mode(lookup, h, &main_net, err) < 0)
		return -1;
	if (!req->networking_config)
		req->networking_config = cs_xcalloc(1, sizeof(*req->networking_config));
	struct cs_networking_config *n = req->networking_config;
	if (api && api < 144 && n->n_endpoints > 1) {
		cs_autostrv char **names = NULL;
		for (size_t i = 0; i < n->n_endpoints; i++)
			cs_strv_push(&names, n->endpoints[i].key);
		cs_autofree char *list = cs_strv_join(names, ", ");
		return cs_fail(err, CS_ERR_INVALID, 0, "Container cannot be connected to network endpoints: %s", list);
	}
	for (size_t i = 0; i < n->n_endpoints; i++)
		if (one_endpoint(lookup, &n->endpoints[i], err) < 0)
			return -1;
	if (!endpoint(n, main_net) && (!n->n_endpoints || user_defined(main_net))) {
		struct cs_endpoint_settings *s = add_endpoint(n, main_net);
		if (one_endpoint(lookup, s, err) < 0)
			return -1;
	}
	if (apply_mac(req, n, main_net, api, warnings, err) < 0)
		return -1;
	qsort(n->endpoints, n->n_endpoints, sizeof(*n->endpoints), by_key);
	for (size_t i = 0; i < n->n_endpoints; i++)
		if (cs_endpoint_check(&n->endpoints[i], n->endpoints[i].key, NULL, err) < 0)
			return -1;
	return check_together(n, main_net, err);
}

/* Legacy links: dockerd looks for the other container when it is created, on the default network only. */
static int check_links(const struct cs_container_lookup *lookup, const struct cs_host_config *h, struct cs_err **err)
{
	for (char **p = h->links; p && *p; p++) {
		const char *colon = strrchr(*p, ':');
		cs_autofree char *ref = colon ? cs_xstrndup(*p, (size_t)(colon - *p)) : cs_xstrdup(*p), *id = NULL;
		if (!*ref || (colon && !colon[1]) || strpbrk(*p, " \t\r\n"))
			return cs_fail(err, CS_ERR_INVALID, 0, "bad format for links: %s", *p);
		struct cs_err *inner = NULL;
		if (user_defined(h->network_mode) || !lookup || !lookup->resolve || lookup->resolve(lookup->ctx, ref, &id, &inner) == 0)
			continue;
		if (cs_err_code(inner) == CS_ERR_NOT_FOUND)
			inner->code = CS_ERR_INVALID; /* as dockerd, for the same reason */
		(void)cs_err_move(err, inner);
		return cs_wrap(err, "could not get container for %s", ref);
	}
	return 0;
}

int cs_network_check(const struct cs_container_lookup *lookup, struct cs_create_request *req, int api, char ***warnings, struct cs_err **err)
{
	struct cs_host_config *h = req->host_config;

	if (cs_empty(h->network_mode)) {
		free(h->network_mode);
		h->network_mode = cs_xstrdup("default");
	}
	if (check_joined(req, err) < 0 || check_hosts_and_dns(h, err) < 0 || check_ports(req, api, warnings, err) < 0 || check_links(lookup, h, err) < 0)
		return -1;
	return check_endpoints(lookup, req, api, warnings, err);
}
