/* SPDX-License-Identifier: Apache-2.0
 *
 * Network mode, ports and endpoints of a create request. Until the network service is there: none, host, container: and a private
 * loopback-only namespace (default, bridge); what needs more is refused. Pure. */
#include <arpa/inet.h>
#include <string.h>

#include "base/num.h"
#include "engine/spec-internal.h"

static int invalid(struct cs_err **err, const char *text) { return cs_fail(err, CS_ERR_INVALID, 0, "%s", text); }
static bool given(char *const *v) { return v && *v; }

const char *cs_mode_container(const char *mode) { return mode ? cs_prefix(mode, "container:") : NULL; }

bool cs_network_is_private(const char *mode) { return !cs_streq(mode, "host") && !cs_mode_container(mode); }

static bool is_builtin(const char *name)
{
	return cs_empty(name) || strcmp(name, "default") == 0 || strcmp(name, "bridge") == 0 || strcmp(name, "none") == 0 ||
	       strcmp(name, "host") == 0;
}

/* "80", "80/tcp", "8000-8010/udp" */
static bool port_valid(const char *text)
{
	const char *slash = strchr(text, '/');
	cs_autofree char *nums = slash ? cs_xstrndup(text, (size_t)(slash - text)) : cs_xstrdup(text);
	char *dash = strchr(nums, '-');
	uint64_t a, b = 0;

	if (slash && strcasecmp(slash + 1, "tcp") != 0 && strcasecmp(slash + 1, "udp") != 0 && strcasecmp(slash + 1, "sctp") != 0)
		return false;
	if (dash)
		*dash = 0;
	if (!cs_parse_u64(nums, 0, 65535, &a) || (dash && !cs_parse_u64(dash + 1, 0, 65535, &b)))
		return false;
	return !dash || a <= b;
}

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
	for (size_t i = 0; i < m->n; i++) {
		if (!port_valid(m->e[i].port))
			return bad_port(m->e[i].port, err);
		for (size_t k = 0; k < m->e[i].n; k++) {
			const struct cs_port_binding *b = &m->e[i].bindings[k];
			if (!cs_empty(b->host_port) && (strchr(b->host_port, '/') || !port_valid(b->host_port)))
				return cs_fail(err, CS_ERR_INVALID, 0, "invalid port specification: \"%s\"", b->host_port);
			if (!cs_empty(b->host_ip) && !ip_valid(b->host_ip))
				return cs_fail(err, CS_ERR_INVALID, 0, "invalid IP address: %s", b->host_ip);
		}
	}
	return 0;
}

/* The map in dockerd's shape: sorted, "tcp" by default, HostIp before HostPort. */
static char *canonical_ports(const struct cs_port_map *m)
{
	struct cs_str s = CS_STR_INIT((size_t)4 << 20);

	cs_str_putc(&s, '{');
	for (size_t i = 0; i < m->n; i++) {
		cs_autofree char *port = cs_xasprintf("%s%s", m->e[i].port, strchr(m->e[i].port, '/') ? "" : "/tcp");
		cs_json_put_key(&s, port);
		if (!m->e[i].bindings) {
			cs_str_puts(&s, "null");
			continue;
		}
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

static int check_ports(struct cs_create_request *req, char ***warnings, struct cs_err **err)
{
	struct cs_host_config *h = req->host_config;
	struct cs_port_map m cs_auto(cs_port_map_done) = {0};

	for (size_t i = 0; req->config.exposed_ports && req->config.exposed_ports[i]; i++)
		if (!port_valid(req->config.exposed_ports[i]))
			return bad_port(req->config.exposed_ports[i], err);
	if (cs_port_map_parse(h->port_bindings, "HostConfig.PortBindings", &m, err) < 0 || check_bindings(&m, err) < 0)
		return -1;
	char *canonical = canonical_ports(&m);
	if (!canonical)
		return invalid(err, "HostConfig.PortBindings: too many ports");
	free(h->port_bindings);
	h->port_bindings = canonical;
	if (!m.n && !h->publish_all_ports)
		return 0;
	if (cs_mode_container(h->network_mode))
		return invalid(err, "conflicting options: port publishing and the container type network mode");
	if (cs_streq(h->network_mode, "host"))
		cs_warn(warnings, "Published ports are discarded when using host network mode");
	else if (cs_streq(h->network_mode, "none") || req->config.network_disabled)
		cs_warn(warnings, "Published ports are discarded when using none network mode");
	else
		return cs_fail(err, CS_ERR_UNSUPPORTED, 0,
			       "publishing ports is not available in this build: there are no networks yet; use network mode host");
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
	if (given(req->config.exposed_ports))
		return invalid(err, "conflicting options: port exposing and the container type network mode");
	return 0;
}

static int check_hosts_and_dns(const struct cs_host_config *h, struct cs_err **err)
{
	for (size_t i = 0; h->extra_hosts && h->extra_hosts[i]; i++) {
		const char *e = h->extra_hosts[i], *sep = strpbrk(e, ":=");
		if (!sep || sep == e || !sep[1])
			return cs_fail(err, CS_ERR_INVALID, 0, "bad format for add-host: \"%s\"", e);
		cs_autofree char *ip = cs_xstrdup(sep[1] == '[' ? sep + 2 : sep + 1);
		size_t n = strlen(ip);
		if (sep[1] == '[' && n && ip[n - 1] == ']')
			ip[n - 1] = 0;
		if (strcmp(ip, "host-gateway") == 0)
			return cs_fail(err, CS_ERR_UNSUPPORTED, 0, "unable to derive the IP value for host-gateway: there are no networks yet");
		if (!ip_valid(ip) || strpbrk(e, " \t\r\n"))
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

static int check_endpoint(const struct cs_endpoint_settings *ep, struct cs_err **err)
{
	const struct cs_endpoint_ipam *ip = ep->ipam_config;

	if (!is_builtin(ep->key) && !cs_mode_container(ep->key))
		return cs_fail(err, CS_ERR_NOT_FOUND, 0, "network %s not found", ep->key);
	if (ip && (!cs_empty(ip->ipv4_address) || !cs_empty(ip->ipv6_address) || given(ip->link_local_ips)))
		return invalid(err, "user specified IP address is supported on user defined networks only");
	if (given(ep->aliases))
		return invalid(err, "network-scoped alias is supported only for containers in user defined networks");
	if (given(ep->links))
		return cs_fail(err, CS_ERR_UNSUPPORTED, 0, "links are not available in this build");
	if (!cs_empty(ep->mac_address))
		return cs_fail(err, CS_ERR_UNSUPPORTED, 0, "a MAC address needs a network, which is not available in this build");
	if (ep->driver_opts && ep->driver_opts->n)
		return cs_fail(err, CS_ERR_UNSUPPORTED, 0, "endpoint driver options are not available in this build");
	return 0;
}

int cs_network_check(const struct cs_container_lookup *lookup, struct cs_create_request *req, char ***warnings, struct cs_err **err)
{
	struct cs_host_config *h = req->host_config;
	const struct cs_networking_config *n = req->networking_config;

	if (cs_empty(h->network_mode)) {
		free(h->network_mode);
		h->network_mode = cs_xstrdup("default");
	}
	if (check_joined(req, err) < 0 || check_hosts_and_dns(h, err) < 0 || check_ports(req, warnings, err) < 0)
		return -1;
	if (!is_builtin(h->network_mode) && !cs_mode_container(h->network_mode))
		return cs_fail(err, CS_ERR_NOT_FOUND, 0, "network %s not found", h->network_mode);
	for (size_t i = 0; n && i < n->n_endpoints; i++)
		if (check_endpoint(&n->endpoints[i], err) < 0)
			return -1;
	if (given(h->links))
		return cs_fail(err, CS_ERR_UNSUPPORTED, 0, "links are not available in this build");
	if (!cs_empty(req->config.mac_address))
		return cs_fail(err, CS_ERR_UNSUPPORTED, 0, "a MAC address needs a network, which is not available in this build");
	return 0;
}
