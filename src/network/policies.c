/* SPDX-License-Identifier: Apache-2.0
 *
 * Policies: a table of types, each with the struct that its settings fill. Several of one type are a list where that makes sense, and refused
 * elsewhere. What means something on which type of network: policies_types.c. */
#include "base/json.h"
#include "network/addr.h"
#include "network/documents.h"
#include "network/firewall.h"

/* ---- settings ---- */

#define NP struct cs_network_policies
static const struct cs_jfield adapter_fields[] = {JF(NP, "NetworkAdapterName", adapter, JF_REQUIRED), JF_END};
static const struct cs_jfield vlan_fields[] = {JF(NP, "IsolationId", vlan, JF_REQUIRED), JF_END};
static const struct cs_jfield vsid_fields[] = {JF(NP, "IsolationId", vsid, JF_REQUIRED), JF_END};
static const struct cs_jfield vxlan_port_fields[] = {JF(NP, "Port", vxlan_port, JF_REQUIRED), JF_END};
static const struct cs_jfield provider_fields[] = {JF(NP, "ProviderAddress", provider, JF_REQUIRED), JF_END};
static const struct cs_jfield nothing_fields[] = {JF_END};
static const struct cs_jfield bridge_fields[] = {
	JF(NP, "Name", bridge, 0), JF(NP, "Mtu", mtu, 0), JF(NP, "InterContainer", icc, 0), JF(NP, "Masquerade", masquerade, 0),
	JF(NP, "Masquerade6", masquerade6, 0), JF(NP, "GatewayMode4", gw4_text, 0), JF(NP, "GatewayMode6", gw6_text, 0), JF(NP, "HostIp4", host_ip4, 0),
	JF(NP, "HostIp6", host_ip6, 0), JF(NP, "InhibitIPv4", inhibit_ipv4, 0), JF(NP, "TrustedHostInterfaces", trusted, 0),
	JF(NP, "ContainerPrefix", prefix, 0), JF(NP, "EnableIPv4", ipv4, 0), JF(NP, "EnableIPv6", ipv6, 0), JF_END};
static const struct cs_jfield macvlan_fields[] = {JF(NP, "Mode", macvlan_mode, 0), JF(NP, "Mtu", mtu, 0), JF(NP, "Internal", internal, 0), JF_END};
static const struct cs_jfield ipvlan_fields[] = {JF(NP, "Mode", ipvlan_mode, 0), JF(NP, "Flag", ipvlan_flag, 0), JF(NP, "Mtu", mtu, 0), JF(NP, "Internal", internal, 0),
						 JF_END};

static const struct cs_jfield remote_fields[] = {
	JF(struct cs_remote_subnet, "DestinationPrefix", prefix, JF_REQUIRED), JF(struct cs_remote_subnet, "IsolationId", isolation, 0),
	JF(struct cs_remote_subnet, "ProviderAddress", provider, JF_REQUIRED),
	JF(struct cs_remote_subnet, "DistributedRouterMacAddress", router_mac, 0), JF_END};
static const struct cs_jtype remote_type = {"RemoteSubnetRoute", sizeof(struct cs_remote_subnet), remote_fields};

#define EP struct cs_endpoint_policies
static const struct cs_jfield qos_fields[] = {JF(EP, "MaximumOutgoingBandwidthInBytes", max_outgoing, JF_REQUIRED), JF_END};
static const struct cs_jfield interface_parameters_fields[] = {JF(EP, "Mtu", mtu, JF_REQUIRED), JF_END};
static const struct cs_jfield interface_fields[] = {
	JF(EP, "Name", wanted_name, 0), JF(EP, "LinkLocal", link_local, 0), JF(EP, "Sysctls", sysctls, 0), JF(EP, "GatewayPriority", gateway_priority, 0),
	JF(EP, "ExposedPorts", exposed, 0), JF(EP, "AntiSpoof", antispoof, 0), JF_END};
static const struct cs_jfield names_fields[] = {JF(EP, "Names", names, 0), JF(EP, "Links", links, 0), JF(EP, "LinkNames", link_names, 0), JF_END};

static const struct cs_jfield mapping_fields[] = {
	JF(struct cs_port_mapping, "Protocol", protocol, JF_REQUIRED), JF(struct cs_port_mapping, "InternalPort", internal, 0),
	JF(struct cs_port_mapping, "ExternalPort", external, 0),
	JF(struct cs_port_mapping, "ExternalPortEnd", external_last, JF_OMIT), JF(struct cs_port_mapping, "VIP", vip, 0), JF(struct cs_port_mapping, "Flags", flags, 0), JF_END};
static const struct cs_jtype mapping_type = {"PortMapping", sizeof(struct cs_port_mapping), mapping_fields};

/* members of ACL and NetworkACL; their meaning is the firewall's */
struct acl {
	char *protocols, *action, *direction, *local, *remote, *local_ports, *remote_ports;
	int64_t priority;
};
static const struct cs_jfield acl_fields[] = {
	JF_AS(struct acl, "Protocols", protocols, JF_LAX, JK_STR), JF(struct acl, "Action", action, JF_REQUIRED), JF(struct acl, "Direction", direction, JF_REQUIRED),
	JF(struct acl, "LocalAddresses", local, 0), JF(struct acl, "RemoteAddresses", remote, 0), JF(struct acl, "LocalPorts", local_ports, 0),
	JF(struct acl, "RemotePorts", remote_ports, 0), JF(struct acl, "Priority", priority, 0), JF_END};
static const struct cs_jtype acl_type = {"ACL", sizeof(struct acl), acl_fields};

/* ---- types ---- */

enum how { INTO, REMOTE, MAPPING, ACL };
struct policy {
	const char *type;
	struct cs_jtype settings; /* INTO: of the struct of all policies */
	enum how how;
};
#define INTO_N(name, fields) {(name), {(name), sizeof(NP), (fields)}, INTO}
#define INTO_E(name, fields) {(name), {(name), sizeof(EP), (fields)}, INTO}
static const struct policy network_policies[] = {
	INTO_N("NetAdapterName", adapter_fields), INTO_N("VLAN", vlan_fields), INTO_N("VSID", vsid_fields), INTO_N("VxlanPort", vxlan_port_fields),
	INTO_N("ProviderAddress", provider_fields), INTO_N("OutBoundNAT", nothing_fields), INTO_N("LinuxBridge", bridge_fields),
	INTO_N("LinuxMacvlan", macvlan_fields), INTO_N("LinuxIpvlan", ipvlan_fields), {"RemoteSubnetRoute", {NULL}, REMOTE}, {"NetworkACL", {NULL}, ACL}, {NULL}};
static const struct policy endpoint_policies[] = {
	INTO_E("QOS", qos_fields), INTO_E("InterfaceParameters", interface_parameters_fields), INTO_E("LinuxInterface", interface_fields),
	INTO_E("DnsNames", names_fields), {"PortMapping", {NULL}, MAPPING}, {"ACL", {NULL}, ACL}, {NULL}};

static const struct policy *find(const struct policy *table, const char *type)
{
	for (; table->type; table++)
		if (cs_streq(table->type, type))
			return table;
	return NULL;
}

static int decode(const struct cs_jtype *t, json_t *in, const char *path, void *ret, struct cs_err **err)
{
	if (cs_doc_only_known(t, in, path, err) < 0)
		return -1;
	return cs_json_decode(t, in, ret, path, err);
}

static int append(const struct cs_jtype *t, json_t *in, const char *path, void *list, size_t *n, struct cs_err **err)
{
	char **v = list;
	char *grown = cs_xreallocarray(*v, *n + 1, t->size);

	*v = grown;
	memset(grown + *n * t->size, 0, t->size);
	(*n)++; /* also of a half-read one: the list frees it */
	return decode(t, in, path, grown + (*n - 1) * t->size, err);
}

static int read_acl(json_t *in, const char *path, const char *text, char ***acls, struct cs_err **err)
{
	struct acl a = {0};
	int r = decode(&acl_type, in, path, &a, err);

	if (r == 0 && !cs_streq(a.action, "Allow") && !cs_streq(a.action, "Block"))
		r = cs_fail(err, CS_ERR_INVALID, 0, "%s.Action: neither Allow nor Block", path);
	if (r == 0 && !cs_streq(a.direction, "In") && !cs_streq(a.direction, "Out"))
		r = cs_fail(err, CS_ERR_INVALID, 0, "%s.Direction: neither In nor Out", path);
	if (r == 0 && (a.priority < 0 || a.priority > UINT16_MAX))
		r = cs_fail(err, CS_ERR_INVALID, 0, "%s.Priority: %lld is not within 0 and %d", path, (long long)a.priority, UINT16_MAX);
	const struct cs_firewall_acl f = {.protocols = a.protocols, .local_addresses = a.local, .remote_addresses = a.remote, .local_ports = a.local_ports,
					  .remote_ports = a.remote_ports};
	if (r == 0 && cs_firewall_acl_check(&f, err) < 0)
		r = cs_wrap(err, "%s", path);
	cs_json_release(&acl_type, &a);
	if (r == 0)
		cs_strv_push(acls, text);
	return r;
}

struct target {
	const struct policy *table;
	void *into;
	char ***acls;
	void *list; /* of REMOTE or MAPPING */
	size_t *n_list;
	const struct cs_jtype *list_type;
};

static bool has(const struct cs_doc_policy *v, size_t n, const char *type)
{
	for (size_t i = 0; i < n; i++)
		if (cs_streq(v[i].type, type))
			return true;
	return false;
}

static int read_policies(const struct cs_doc_policy *v, size_t n, const struct target *t, struct cs_err **err)
{
	for (size_t i = 0; i < n; i++) {
		const struct policy *p = find(t->table, v[i].type);
		cs_autofree char *path = cs_xasprintf("Policies[%zu].Settings", i);
		if (!p)
			return cs_fail(err, CS_ERR_UNSUPPORTED, 0, "Policies[%zu]: unknown type %s", i, v[i].type ? v[i].type : "");
		if (p->how == INTO && has(v, i, p->type)) /* one of the two would be forgotten */
			return cs_fail(err, CS_ERR_INVALID, 0, "Policies[%zu].Type: a second %s", i, p->type);
		const char *text = v[i].settings ? v[i].settings : "{}";
		cs_autojson json_t *in = cs_json_parse(text, strlen(text), err);
		if (!in)
			return cs_wrap(err, "%s", path);
		if (!json_is_object(in))
			return cs_fail(err, CS_ERR_INVALID, 0, "%s: expected an object", path);
		int r = p->how == ACL	 ? read_acl(in, path, text, t->acls, err)
			: p->how == INTO ? decode(&p->settings, in, path, t->into, err)
					 : append(t->list_type, in, path, t->list, t->n_list, err);
		if (r < 0)
			return -1;
	}
	return 0;
}

static int range(int64_t v, int64_t min, int64_t max, const char *what, struct cs_err **err)
{
	if (v < min || v > max)
		return cs_fail(err, CS_ERR_INVALID, 0, "%s: %lld is not within %lld and %lld", what, (long long)v, (long long)min, (long long)max);
	return 0;
}

static int gateway_mode(const char *text, const char *what, enum cs_gateway_mode *ret, struct cs_err **err)
{
	static const char *const names[] = {"nat", "nat-unprotected", "routed", "isolated"};

	for (size_t i = 0; i < CS_ARRAY_SIZE(names) && !cs_empty(text); i++)
		if (strcmp(text, names[i]) == 0) {
			*ret = (enum cs_gateway_mode)i;
			return 0;
		}
	return cs_empty(text) ? 0 : cs_fail(err, CS_ERR_INVALID, 0, "%s: unknown gateway mode %s", what, text);
}

/* ---- networks ---- */

static int check_way_out(const struct cs_doc_policy *v, size_t n, const struct cs_network_policies *p, struct cs_err **err)
{
	struct cs_ip ip;

	if (has(v, n, "NetAdapterName") && cs_empty(p->adapter))
		return cs_fail(err, CS_ERR_INVALID, 0, "NetAdapterName.NetworkAdapterName: it is empty");
	if (p->vlan && cs_empty(p->adapter))
		return cs_fail(err, CS_ERR_INVALID, 0, "VLAN.IsolationId: there is no NetAdapterName, whose VLAN it would be");
	if (has(v, n, "ProviderAddress") && (!cs_ip_parse(p->provider, &ip) || !ip.n))
		return cs_fail(err, CS_ERR_INVALID, 0, "ProviderAddress.ProviderAddress: %s is no address", p->provider ? p->provider : "");
	return 0;
}

int cs_network_policies_read(const struct cs_doc_policy *v, size_t n, struct cs_network_policies *ret, struct cs_err **err)
{
	struct cs_network_policies p = {0};
	struct target t = {network_policies, &p, &p.acls, &p.remotes, &p.n_remotes, &remote_type};

	int r = read_policies(v, n, &t, err);
	p.has_vsid = has(v, n, "VSID");
	p.outbound_nat = has(v, n, "OutBoundNAT");
	if (r == 0 && (range(p.vlan, 0, 4094, "VLAN.IsolationId", err) < 0 || range(p.vsid, 0, 0xFFFFFF, "VSID.IsolationId", err) < 0 ||
		       range(p.vxlan_port, 0, 65535, "VxlanPort.Port", err) < 0 || cs_check_mtu(p.mtu, "Mtu", err) < 0 ||
		       gateway_mode(p.gw4_text, "LinuxBridge.GatewayMode4", &p.gw4, err) < 0 ||
		       gateway_mode(p.gw6_text, "LinuxBridge.GatewayMode6", &p.gw6, err) < 0 || check_way_out(v, n, &p, err) < 0))
		r = -1;
	if (r < 0) {
		cs_network_policies_done(&p);
		return -1;
	}
	*ret = p;
	return 0;
}

/* All settings live in one struct: one table of all their members frees it. */
static void release(const struct policy *table, void *into)
{
	struct cs_jfield all[40];
	size_t n = 0, size = 0;

	for (; table->type; table++)
		if (table->how == INTO) {
			size = table->settings.size;
			for (const struct cs_jfield *f = table->settings.fields; f->key && n < CS_ARRAY_SIZE(all) - 1; f++)
				all[n++] = *f;
		}
	all[n] = (struct cs_jfield)JF_END;
	cs_json_release(&(struct cs_jtype){"Policies", size, all}, into);
}

static void release_list(const struct cs_jtype *t, void *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		cs_json_release(t, (char *)list + i * t->size);
	free(list);
}

void cs_network_policies_done(struct cs_network_policies *p)
{
	release_list(&remote_type, p->remotes, p->n_remotes);
	cs_strv_free(p->acls);
	release(network_policies, p);
}

/* ---- endpoints ---- */

static int check_mapping(const struct cs_port_mapping *m, struct cs_err **err)
{
	struct cs_ip ip;

	if (m->protocol != IPPROTO_TCP && m->protocol != IPPROTO_UDP && m->protocol != IPPROTO_SCTP)
		return cs_fail(err, CS_ERR_INVALID, 0, "PortMapping.Protocol: %lld is neither TCP, UDP nor SCTP", (long long)m->protocol);
	if (!cs_empty(m->vip) && !cs_ip_parse(m->vip, &ip))
		return cs_fail(err, CS_ERR_INVALID, 0, "PortMapping.VIP: %s is no address", m->vip);
	if (range(m->internal, 1, 65535, "PortMapping.InternalPort", err) < 0)
		return -1;
	if (m->flags)
		return cs_fail(err, CS_ERR_INVALID, 0, "PortMapping.Flags: %lld are not supported", (long long)m->flags);
	if (m->external_last && !m->external)
		return cs_fail(err, CS_ERR_INVALID, 0, "PortMapping.ExternalPortEnd: there is no ExternalPort to begin with");
	if (m->external_last && range(m->external_last, CS_MAX(m->external, 1), 65535, "PortMapping.ExternalPortEnd", err) < 0)
		return -1;
	return range(m->external, 0, 65535, "PortMapping.ExternalPort", err);
}

static int check_endpoint(const struct cs_endpoint_policies *p, struct cs_err **err)
{
	for (size_t i = 0; i < p->n_ports; i++)
		if (check_mapping(&p->ports[i], err) < 0)
			return -1;
	if (range(p->max_outgoing, 0, INT64_MAX, "QOS.MaximumOutgoingBandwidthInBytes", err) < 0)
		return -1;
	return cs_check_interface(p, err);
}

int cs_endpoint_policies_read(const struct cs_doc_policy *v, size_t n, struct cs_endpoint_policies *ret, struct cs_err **err)
{
	struct cs_endpoint_policies p = {0};
	struct target t = {endpoint_policies, &p, &p.acls, &p.ports, &p.n_ports, &mapping_type};

	if (read_policies(v, n, &t, err) < 0 || check_endpoint(&p, err) < 0) {
		cs_endpoint_policies_done(&p);
		return -1;
	}
	*ret = p;
	return 0;
}

void cs_endpoint_policies_done(struct cs_endpoint_policies *p)
{
	release_list(&mapping_type, p->ports, p->n_ports);
	cs_strv_free(p->acls);
	release(endpoint_policies, p);
}

void cs_port_mapping_respell(struct cs_doc_policy *p)
{
	struct cs_port_mapping m = {0};

	if (!cs_streq(p->type, "PortMapping") || !p->settings)
		return;
	cs_autojson json_t *in = cs_json_parse(p->settings, strlen(p->settings), NULL);
	if (json_is_object(in) && decode(&mapping_type, in, "", &m, NULL) == 0) {
		free(p->settings);
		p->settings = cs_doc_write(&mapping_type, &m);
	}
	cs_json_release(&mapping_type, &m);
}

void cs_port_mappings_write(struct cs_doc_policy *v, size_t n, const struct cs_endpoint_policies *p)
{
	size_t next = 0;

	for (size_t i = 0; i < n && next < p->n_ports; i++) {
		if (!cs_streq(v[i].type, "PortMapping"))
			continue;
		free(v[i].settings);
		v[i].settings = cs_doc_write(&mapping_type, &p->ports[next++]);
	}
}
