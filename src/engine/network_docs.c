/* SPDX-License-Identifier: Apache-2.0
 *
 * Networks and endpoints as documents of the host network service (docs/network-documents.md), and its answers. Pure. */
#include <string.h>

#include "base/id.h"
#include "base/num.h"
#include "engine/network.h"

int cs_hcn_failed(HRESULT r, char *record, struct cs_err **err)
{
	cs_autojson json_t *j = record ? cs_json_parse(record, strlen(record), NULL) : NULL;
	const char *text = json_string_value(json_object_get(j, "Error"));
	enum cs_code code = CS_ERR_INTERNAL;

	switch ((uint32_t)r) {
	case (uint32_t)HCN_E_NETWORK_NOT_FOUND:
	case (uint32_t)HCN_E_ENDPOINT_NOT_FOUND:
	case (uint32_t)HCN_E_NAMESPACE_NOT_FOUND:
	case (uint32_t)HCN_E_ADAPTER_NOT_FOUND:
		code = CS_ERR_NOT_FOUND;
		break;
	case (uint32_t)HCN_E_INVALID_SUBNET: /* as libnetwork's: forbidden */
	case (uint32_t)HCN_E_NETWORK_ALREADY_EXISTS: /* one bridge for two */
	case (uint32_t)HCN_E_ADDR_INVALID_OR_RESERVED:
	case (uint32_t)HCN_E_ENTITY_HAS_REFERENCES:
		code = CS_ERR_DENIED;
		break;
	case (uint32_t)HCN_E_INVALID_NETWORK:
	case (uint32_t)HCN_E_INVALID_NETWORK_TYPE:
	case (uint32_t)HCN_E_INVALID_ENDPOINT:
	case (uint32_t)HCN_E_INVALID_POLICY:
	case (uint32_t)HCN_E_INVALID_POLICY_TYPE:
	case (uint32_t)HCN_E_INVALID_IP:
	case (uint32_t)HCN_E_INVALID_PREFIX:
	case (uint32_t)HCN_E_INVALID_IP_SUBNET:
	case (uint32_t)HCN_E_INVALID_INTERNAL_PORT:
		code = CS_ERR_INVALID;
		break;
	case (uint32_t)HCN_E_REQUEST_UNSUPPORTED:
		code = CS_ERR_UNSUPPORTED;
		break;
	default:
		break;
	}
	if (text)
		(void)cs_fail(err, code, 0, "%s", text);
	else
		(void)cs_fail(err, code, 0, "host network service: 0x%08x", (unsigned)r);
	HcnFree(record);
	return -1;
}

/* ---- networks ---- */

static const char *type_of(const struct cs_network_doc *d)
{
	if (cs_streq(d->driver, "macvlan"))
		return "Transparent";
	if (cs_streq(d->driver, "ipvlan") || cs_streq(d->driver, "l2bridge"))
		return "L2Bridge";
	if (cs_streq(d->driver, "overlay"))
		return "Overlay";
	return d->internal ? "Internal" : "NAT";
}

static bool is_ipvlan(const struct cs_network_doc *d) { return cs_streq(type_of(d), "L2Bridge"); }

bool cs_network_on_parent(const struct cs_network_doc *d) { return is_ipvlan(d) || cs_streq(type_of(d), "Transparent"); }

static void begin_policy(struct cs_str *out, const char *type)
{
	cs_str_puts(out, out->buf[out->len - 1] == '[' ? "{" : ",{");
	cs_json_put_kstr(out, "Type", type);
	cs_str_puts(out, ",\"Settings\":{");
}

static void put_opt_str(struct cs_str *out, const struct cs_strmap *o, const char *option, const char *key)
{
	const char *v = cs_strmap_get(o, option);
	if (!cs_empty(v))
		cs_json_put_kstr(out, key, v);
}

static void put_mtu(struct cs_str *out, const struct cs_strmap *o)
{
	int64_t mtu;
	if (cs_parse_i64(cs_strmap_get(o, CS_OPT_MTU) ? cs_strmap_get(o, CS_OPT_MTU) : "", 1, 65535, &mtu))
		cs_json_put_ki64(out, "Mtu", mtu);
}

/* Docker's list may have empty places, and rows of older versions names that no interface can have. */
static void put_trusted(struct cs_str *out, const char *list)
{
	cs_autostrv char **names = cs_empty(list) ? NULL : cs_strv_split(list, ':'), **good = NULL;

	for (char **n = names; n && *n; n++)
		if (cs_link_name_valid(*n))
			cs_strv_push(&good, *n);
	cs_autofree char *text = good ? cs_strv_join(good, ":") : NULL;
	if (text)
		cs_json_put_kstr(out, "TrustedHostInterfaces", text);
}

/* What the options say of one family, as far as something comes of it: dockerd takes all of them on all bridges, the service does not.
 * Returns whether it is masqueraded. */
static bool put_family(const struct cs_network_doc *d, bool v6, struct cs_str *out)
{
	const char *mode = cs_strmap_get(d->options, v6 ? CS_OPT_GATEWAY6 : CS_OPT_GATEWAY4);
	bool nat = cs_streq(type_of(d), "NAT"), masquerade = cs_option_true(d->options, CS_OPT_MASQ, true);

	if (!(v6 ? d->enable_ipv6 : d->enable_ipv4))
		return false;
	if (!cs_empty(mode) && (nat || cs_streq(mode, "isolated")))
		cs_json_put_kstr(out, v6 ? "GatewayMode6" : "GatewayMode4", mode);
	if (nat && !masquerade)
		cs_json_put_kbool(out, v6 ? "Masquerade6" : "Masquerade", false);
	bool translated = nat && masquerade && !cs_streq(mode, "routed");
	if (translated)
		put_opt_str(out, d->options, v6 ? CS_OPT_HOST6 : CS_OPT_HOST4, v6 ? "HostIp6" : "HostIp4");
	return translated;
}

static void put_enabled(const struct cs_network_doc *d, struct cs_str *out)
{
	cs_json_put_kbool(out, "EnableIPv4", d->enable_ipv4);
	cs_json_put_kbool(out, "EnableIPv6", d->enable_ipv6);
}

static void put_bridge(const struct cs_network_doc *d, struct cs_str *out)
{
	const struct cs_strmap *o = d->options;
	const char *name = cs_strmap_get(o, CS_OPT_BRIDGE_NAME);
	cs_autofree char *made = cs_xasprintf("br-%.12s", d->id);

	begin_policy(out, "LinuxBridge");
	cs_json_put_kstr(out, "Name", cs_empty(name) ? made : name);
	put_mtu(out, o);
	put_enabled(d, out);
	cs_json_put_kbool(out, "InterContainer", cs_option_true(o, CS_OPT_ICC, true));
	if (d->enable_ipv4 && cs_option_true(o, CS_OPT_INHIBIT, false))
		cs_json_put_kbool(out, "InhibitIPv4", true);
	bool v4 = put_family(d, false, out), v6 = put_family(d, true, out);
	if (cs_streq(type_of(d), "NAT"))
		put_trusted(out, cs_strmap_get(o, CS_OPT_TRUSTED));
	put_opt_str(out, o, CS_OPT_PREFIX, "ContainerPrefix");
	cs_str_puts(out, "}}");
	if (v4 || v6) {
		begin_policy(out, "OutBoundNAT");
		cs_str_puts(out, "}}");
	}
}

/* "eth0.50": VLAN 50 of eth0 */
static void put_parent(const struct cs_network_doc *d, struct cs_str *out)
{
	const char *parent = cs_strmap_get(d->options, "parent"), *dot = parent ? strrchr(parent, '.') : NULL;
	uint64_t vlan = 0;

	if (cs_empty(parent))
		return;
	bool tagged = dot && cs_parse_u64(dot + 1, 1, 4094, &vlan);
	cs_autofree char *name = cs_xstrndup(parent, tagged ? (size_t)(dot - parent) : strlen(parent));
	begin_policy(out, "NetAdapterName");
	cs_json_put_kstr(out, "NetworkAdapterName", name);
	cs_str_puts(out, "}}");
	if (tagged) {
		begin_policy(out, "VLAN");
		cs_json_put_ki64(out, "IsolationId", (int64_t)vlan);
		cs_str_puts(out, "}}");
	}
}

static void put_lan(const struct cs_network_doc *d, bool mac, struct cs_str *out)
{
	put_parent(d, out);
	begin_policy(out, mac ? "LinuxMacvlan" : "LinuxIpvlan");
	if (!mac && cs_streq(d->driver, "l2bridge"))
		cs_json_put_kstr(out, "Mode", "l2");
	else
		put_opt_str(out, d->options, mac ? "macvlan_mode" : "ipvlan_mode", "Mode");
	if (!mac)
		put_opt_str(out, d->options, "ipvlan_flag", "Flag");
	put_mtu(out, d->options);
	if (d->internal)
		cs_json_put_kbool(out, "Internal", true);
	cs_str_puts(out, "}}");
	begin_policy(out, "LinuxBridge"); /* for its families: there is no bridge */
	put_enabled(d, out);
	cs_str_puts(out, "}}");
}

static void put_overlay(const struct cs_network_doc *d, struct cs_str *out)
{
	const char *vni = cs_strmap_get(d->options, CS_OPT_VXLAN_ID), *port = cs_strmap_get(d->options, CS_OPT_OVERLAY_PORT);
	const char *own = cs_strmap_get(d->options, CS_OPT_OVERLAY_ADDRESS), *peers = cs_strmap_get(d->options, CS_OPT_OVERLAY_PEERS);
	cs_autostrv char **list = cs_empty(peers) ? NULL : cs_strv_split(peers, ',');

	put_bridge(d, out);
	begin_policy(out, "VSID");
	cs_str_putf(out, "\"IsolationId\":%s}}", cs_empty(vni) ? "4096" : vni);
	if (!cs_empty(port)) {
		begin_policy(out, "VxlanPort");
		cs_str_putf(out, "\"Port\":%s}}", port);
	}
	if (!cs_empty(own)) {
		begin_policy(out, "ProviderAddress");
		cs_json_put_kstr(out, "ProviderAddress", own);
		cs_str_puts(out, "}}");
	}
	for (char **p = list; p && *p; p++) {
		char *at = strchr(*p, '@'); /* checked at creation */
		*at = 0;
		begin_policy(out, "RemoteSubnetRoute");
		cs_json_put_kstr(out, "DestinationPrefix", *p);
		cs_json_put_kstr(out, "ProviderAddress", at + 1);
		cs_str_putf(out, ",\"IsolationId\":%s}}", cs_empty(vni) ? "4096" : vni);
	}
}

static void put_subnet(const struct cs_ipam_config *c, struct cs_str *out)
{
	bool v6 = strchr(c->subnet, ':');

	cs_str_puts(out, out->buf[out->len - 1] == '[' ? "{" : ",{");
	cs_json_put_kstr(out, "IpAddressPrefix", c->subnet);
	if (!cs_empty(c->ip_range))
		cs_json_put_kstr(out, "IpRange", c->ip_range);
	if (!cs_empty(c->gateway)) {
		cs_str_puts(out, ",\"Routes\":[{");
		cs_json_put_kstr(out, "NextHop", c->gateway);
		cs_json_put_kstr(out, "DestinationPrefix", v6 ? "::/0" : "0.0.0.0/0");
		cs_str_puts(out, "}]");
	}
	if (c->aux_addresses && c->aux_addresses->n) {
		cs_str_puts(out, ",\"AuxAddresses\":[");
		for (size_t i = 0; i < c->aux_addresses->n; i++) {
			cs_str_puts(out, i ? "," : "");
			cs_json_put_string(out, c->aux_addresses->kv[i].val);
		}
		cs_str_putc(out, ']');
	}
	cs_str_putc(out, '}');
}

void cs_network_put_hcn(const struct cs_network_doc *d, struct cs_str *out)
{
	char id[CS_HCN_GUID_TEXT];
	HCN_GUID guid;

	if (!cs_hcn_guid_of(d->id, &guid))
		guid = (HCN_GUID){0};
	cs_hcn_guid_text(&guid, id);
	cs_str_puts(out, "{\"SchemaVersion\":{\"Major\":2,\"Minor\":0},\"Owner\":\"caisson\"");
	cs_json_put_kstr(out, "ID", id);
	cs_json_put_kstr(out, "Name", d->name);
	cs_json_put_kstr(out, "Type", type_of(d));
	if (d->ipam.n_config) {
		cs_str_puts(out, ",\"Ipams\":[{\"Type\":\"Static\",\"Subnets\":[");
		for (size_t i = 0; i < d->ipam.n_config; i++)
			put_subnet(&d->ipam.config[i], out);
		cs_str_puts(out, "]}]");
	}
	cs_str_puts(out, ",\"Policies\":[");
	const char *type = type_of(d);
	if (cs_streq(type, "Transparent"))
		put_lan(d, true, out);
	else if (cs_streq(type, "L2Bridge"))
		put_lan(d, false, out);
	else if (cs_streq(type, "Overlay"))
		put_overlay(d, out);
	else
		put_bridge(d, out);
	cs_str_puts(out, "]}");
}

static const char *default_hop(json_t *subnet)
{
	json_t *r;
	size_t i;

	json_array_foreach(json_object_get(subnet, "Routes"), i, r) {
		const char *dst = json_string_value(json_object_get(r, "DestinationPrefix"));
		if (cs_streq(dst, "0.0.0.0/0") || cs_streq(dst, "::/0"))
			return json_string_value(json_object_get(r, "NextHop"));
	}
	return NULL;
}

/* "0.0.0.0/24", "::/64": any subnet of that size. What was chosen takes its place, or it would be asked for again with the next daemon.
 * Likewise a part of the subnet that a bridge of the user's has: it has become the range. */
static struct cs_ipam_config *asked_otherwise(struct cs_network_doc *d, const char *prefix, const char *range)
{
	const char *bits = strchr(prefix, '/');
	cs_autofree char *any = cs_xasprintf("%s%s", strchr(prefix, ':') ? "::" : "0.0.0.0", bits ? bits : "");

	for (size_t i = 0; i < d->ipam.n_config; i++) {
		struct cs_ipam_config *c = &d->ipam.config[i];
		bool part = !cs_empty(range) && cs_streq(c->subnet, range);
		if (!part && !cs_streq(c->subnet, any))
			continue;
		free(c->subnet);
		c->subnet = cs_xstrdup(prefix);
		if (part) {
			free(c->ip_range);
			c->ip_range = cs_xstrdup(range);
		}
		return c;
	}
	return NULL;
}

/* As dockerd shows them: clients look at the first one. */
static void four_first(struct cs_ipam *ipam)
{
	cs_autofree struct cs_ipam_config *was = cs_xcalloc(ipam->n_config + 1, sizeof(*was));
	size_t n = 0;

	for (size_t i = 0; i < ipam->n_config; i++)
		was[i] = ipam->config[i];
	for (int v6 = 0; v6 < 2; v6++)
		for (size_t i = 0; i < ipam->n_config; i++)
			if ((strchr(was[i].subnet, ':') != NULL) == v6)
				ipam->config[n++] = was[i];
}

void cs_network_take_ipams(struct cs_network_doc *d, json_t *answer)
{
	json_t *ipam, *subnet;
	size_t i, k;

	json_array_foreach(json_object_get(answer, "Ipams"), i, ipam) json_array_foreach(json_object_get(ipam, "Subnets"), k, subnet)
	{
		const char *prefix = json_string_value(json_object_get(subnet, "IpAddressPrefix")), *hop = default_hop(subnet);
		struct cs_ipam_config *c = NULL;
		for (size_t x = 0; prefix && x < d->ipam.n_config; x++)
			if (cs_streq(d->ipam.config[x].subnet, prefix))
				c = &d->ipam.config[x];
		if (!prefix)
			continue;
		if (!c) {
			c = asked_otherwise(d, prefix, json_string_value(json_object_get(subnet, "IpRange")));
			*(strchr(prefix, ':') ? &d->chosen_v6 : &d->chosen_v4) = true;
		}
		if (!c) {
			d->ipam.config = cs_xreallocarray(d->ipam.config, d->ipam.n_config + 1, sizeof(*c));
			c = &d->ipam.config[d->ipam.n_config++];
			*c = (struct cs_ipam_config){.subnet = cs_xstrdup(prefix)};
		}
		if (cs_empty(c->gateway) && !cs_empty(hop)) {
			free(c->gateway);
			c->gateway = cs_xstrdup(hop);
		}
	}
	four_first(&d->ipam);
}

/* ---- endpoints ---- */

static void put_address(struct cs_str *out, const char *ip, const struct cs_network *n)
{
	unsigned bits = strchr(ip, ':') ? 128 : 32;
	uint8_t b[16];
	bool v6;

	for (size_t i = 0; i < n->doc->ipam.n_config; i++)
		if (cs_addr_in(n->doc->ipam.config[i].subnet, ip) && cs_addr_prefix_parse(n->doc->ipam.config[i].subnet, b, &bits, &v6))
			break;
	cs_str_puts(out, out->buf[out->len - 1] == '[' ? "{" : ",{");
	cs_json_put_kstr(out, "IpAddress", ip);
	cs_str_putf(out, ",\"PrefixLength\":%u}", bits);
}

static void put_sysctls(struct cs_str *out, const char *text, bool without_ipv6)
{
	cs_autostrmap struct cs_strmap *last = cs_strmap_new(); /* of two with one name */
	cs_autostrv char **list = NULL;

	if (!cs_empty(text))
		list = cs_strv_split(text, ',');
	if (without_ipv6 && !(text && strcasestr(text, ".ifname.disable_ipv6="))) /* what is said of this endpoint counts more */
		cs_strv_push(&list, "net.ipv6.conf.IFNAME.disable_ipv6=1");

	for (char **p = list; p && *p; p++) {
		char *eq = strchr(*p, '=');
		cs_autofree char *name = cs_xstrndup(*p, eq ? (size_t)(eq - *p) : strlen(*p));
		char *if_ = strstr(name, ".ifname."); /* the CLI makes it lower case */
		if (if_)
			memcpy(if_, ".IFNAME.", 8);
		cs_strmap_set(last, name, eq ? eq + 1 : "");
	}
	cs_json_put_key(out, "Sysctls");
	cs_json_put_strmap(out, last);
}

/* An image may say anything here; what is no port is nothing that a link could open. */
static void put_exposed(char *const *exposed, struct cs_str *out)
{
	cs_autostrv char **ports = NULL;
	struct cs_port_range r;

	for (char *const *p = exposed; p && *p; p++)
		if (cs_parse_ports(*p, &r) && r.lo > 0)
			cs_strv_push(&ports, *p);
	if (!ports)
		return;
	cs_json_put_key(out, "ExposedPorts");
	cs_json_put_strv(out, ports);
}

static void put_interface(const struct cs_endpoint_doc *d, struct cs_str *out)
{
	const struct cs_endpoint_settings *s = d->s;
	const char *name = cs_strmap_get(s->driver_opts, CS_OPT_EP_IFNAME), *sysctls = cs_strmap_get(s->driver_opts, CS_OPT_EP_SYSCTLS);

	begin_policy(out, "LinuxInterface");
	cs_json_put_kstr(out, "Name", name);
	cs_json_put_ki64(out, "GatewayPriority", s->gw_priority);
	if (s->ipam_config && s->ipam_config->link_local_ips) {
		cs_json_put_key(out, "LinkLocal");
		cs_json_put_strv(out, s->ipam_config->link_local_ips);
	}
	/* nor has one that lived before its network had IPv6: it would be given an address, and lose its interface for want of it */
	bool without_ipv6 = d->without_ipv6 || (d->given && cs_empty(s->global_ipv6_address) && d->n->doc->enable_ipv6);
	if (!cs_empty(sysctls) || without_ipv6)
		put_sysctls(out, sysctls, without_ipv6);
	bool guarded = !cs_network_on_parent(d->n->doc), antispoof = cs_option_true(s->driver_opts, CS_OPT_EP_ANTISPOOF, guarded && d->antispoof);
	if (antispoof || cs_strmap_get(s->driver_opts, CS_OPT_EP_ANTISPOOF)) /* nothing said: the network decides */
		cs_json_put_kbool(out, "AntiSpoof", antispoof);
	if (guarded)
		put_exposed(d->exposed, out);
	cs_str_puts(out, "}}");
}

static void put_names(const struct cs_endpoint_doc *d, struct cs_str *out)
{
	static char *const none[] = {NULL};

	begin_policy(out, "DnsNames");
	cs_json_put_key(out, "Names");
	cs_json_put_strv(out, d->s->dns_names ? d->s->dns_names : none);
	cs_links_put(d->link_aliases, d->link_endpoints, d->link_names, out);
	cs_str_puts(out, "}}");
}

/* "02:42:ac:11:00:02" <-> "02-42-ac-11-00-02" */
static char *mac_with(const char *mac, char sep)
{
	char *m = cs_xstrdup(mac ? mac : "");

	for (char *p = m; *p; p++)
		if (*p == ':' || *p == '-')
			*p = sep;
		else if (*p >= 'A' && *p <= 'F')
			*p = (char)(*p + ('a' - 'A'));
	return m;
}

void cs_endpoint_put_hcn(const struct cs_endpoint_doc *d, struct cs_str *out)
{
	const struct cs_endpoint_settings *s = d->s;
	const struct cs_endpoint_ipam *ip = s->ipam_config;
	const char *v4 = d->given ? s->ip_address : ip ? ip->ipv4_address : NULL, *v6 = d->given ? s->global_ipv6_address : ip ? ip->ipv6_address : NULL;
	/* on ipvlan rows of older versions have one that nobody has seen */
	cs_autofree char *mac = mac_with(!d->given ? s->wanted_mac : is_ipvlan(d->n->doc) ? "" : s->mac_address, '-');
	char id[CS_HCN_GUID_TEXT], net[CS_HCN_GUID_TEXT];
	HCN_GUID guid;

	if (!cs_hcn_guid_of(s->endpoint_id, &guid))
		guid = (HCN_GUID){0};
	cs_hcn_guid_text(&guid, id);
	cs_hcn_guid_text(&d->n->guid, net);
	cs_str_puts(out, "{\"SchemaVersion\":{\"Major\":2,\"Minor\":0}");
	cs_json_put_kstr(out, "ID", id);
	cs_json_put_kstr(out, "Name", d->container_name);
	cs_json_put_kstr(out, "HostComputeNetwork", net);
	if (!cs_empty(v4) || !cs_empty(v6)) {
		cs_str_puts(out, ",\"IpConfigurations\":[");
		if (!cs_empty(v4))
			put_address(out, v4, d->n);
		if (!cs_empty(v6))
			put_address(out, v6, d->n);
		cs_str_putc(out, ']');
	}
	cs_json_put_kstr(out, "MacAddress", mac);
	if (!cs_empty(d->gateway4) || !cs_empty(d->gateway6)) {
		cs_str_puts(out, ",\"Routes\":[");
		const char *gw[] = {d->gateway4, d->gateway6};
		for (size_t i = 0; i < 2; i++) {
			if (cs_empty(gw[i]))
				continue;
			cs_str_puts(out, out->buf[out->len - 1] == '[' ? "{" : ",{");
			cs_json_put_kstr(out, "NextHop", gw[i]);
			cs_json_put_kstr(out, "DestinationPrefix", i ? "::/0" : "0.0.0.0/0");
			cs_str_putc(out, '}');
		}
		cs_str_putc(out, ']');
	}
	cs_str_puts(out, ",\"Policies\":[");
	put_interface(d, out);
	if (s->dns_names || d->link_aliases)
		put_names(d, out);
	for (size_t i = 0; d->ports && i < d->ports->n; i++) {
		cs_str_putc(out, ',');
		cs_port_put_policy(&d->ports->p[i], out);
	}
	cs_str_puts(out, "]}");
}

static void set(char **to, const char *v)
{
	free(*to);
	*to = cs_xstrdup(v);
}

/* Where the host routes (ipvlan's l3), or no wire leads to it, none is gone by, even if one was given. */
static const char *gateway_of(const struct cs_network *n, const char *ip)
{
	const struct cs_strmap *o = n->doc->options;
	const char *mode = cs_strmap_get(o, "ipvlan_mode");

	if (n->doc->internal || (cs_network_on_parent(n->doc) && (cs_empty(cs_strmap_get(o, "parent")) || (cs_streq(n->doc->driver, "ipvlan") && mode && strncmp(mode, "l3", 2) == 0))))
		return "";
	for (size_t i = 0; i < n->doc->ipam.n_config; i++)
		if (cs_addr_in(n->doc->ipam.config[i].subnet, ip))
			return n->doc->ipam.config[i].gateway ? n->doc->ipam.config[i].gateway : "";
	return "";
}

void cs_ports_take(struct cs_ports *p, enum cs_ports_of of, json_t *answer)
{
	json_t *policies = json_object_get(answer, "Policies");
	cs_autofree bool *used = cs_xcalloc(p->n + 1, sizeof(bool));
	size_t i, next = 0; /* policies come in the order of the ports: the search begins behind the last one found */
	json_t *v;

	json_array_foreach(policies, i, v) {
		json_t *s = json_object_get(v, "Settings");
		if (!cs_streq(json_string_value(json_object_get(v, "Type")), "PortMapping"))
			continue;
		json_int_t external = json_integer_value(json_object_get(s, "ExternalPort")), internal = json_integer_value(json_object_get(s, "InternalPort")),
			   proto = json_integer_value(json_object_get(s, "Protocol"));
		const char *vip = json_string_value(json_object_get(s, "VIP"));
		for (size_t n = 0; n < p->n; n++) {
			size_t k = (next + n) % p->n;
			struct cs_port *q = &p->p[k];
			bool v6 = strchr(q->host_ip, ':');
			if (used[k] || (of != CS_PORTS_ALL && v6 != (of == CS_PORTS_V6)) || q->proto != proto || q->port != internal || !cs_streq(q->host_ip, vip ? vip : "") || (q->lo && (external < q->lo || external > q->hi)))
				continue;
			used[k] = true;
			q->lo = q->hi = (uint16_t)external;
			next = k + 1;
			break;
		}
	}
}

void cs_endpoint_take(struct cs_endpoint_settings *s, const struct cs_network *n, struct cs_ports *p, json_t *answer)
{
	json_t *v;
	size_t i;

	set(&s->network_id, n->doc->id);
	json_array_foreach(json_object_get(answer, "IpConfigurations"), i, v) {
		const char *ip = json_string_value(json_object_get(v, "IpAddress"));
		int64_t bits = json_integer_value(json_object_get(v, "PrefixLength"));
		if (!ip)
			continue;
		if (strchr(ip, ':')) {
			set(&s->global_ipv6_address, ip);
			s->global_ipv6_prefix_len = bits;
			set(&s->ipv6_gateway, gateway_of(n, ip));
		} else {
			set(&s->ip_address, ip);
			s->ip_prefix_len = bits;
			set(&s->gateway, gateway_of(n, ip));
		}
	}
	cs_autofree char *mac = mac_with(json_string_value(json_object_get(answer, "MacAddress")), ':');
	set(&s->mac_address, mac);
	if (p)
		cs_ports_take(p, CS_PORTS_ALL, answer);
}
