/* SPDX-License-Identifier: Apache-2.0
 *
 * The tables of the documents. Policies: policies.c. */
#include "network/documents.h"

static const struct cs_jfield version_fields[] = {JF(struct cs_doc_version, "Major", major, 0), JF(struct cs_doc_version, "Minor", minor, 0), JF_END};
static const struct cs_jtype version_type = {"Version", sizeof(struct cs_doc_version), version_fields};

static const struct cs_jfield route_fields[] = {
	JF(struct cs_doc_route, "NextHop", next_hop, JF_OMIT), JF(struct cs_doc_route, "DestinationPrefix", to, 0),
	JF(struct cs_doc_route, "Metric", metric, JF_OMIT), JF_END};
static const struct cs_jtype route_type = {"Route", sizeof(struct cs_doc_route), route_fields};

static const struct cs_jfield subnet_fields[] = {
	JF(struct cs_doc_subnet, "IpAddressPrefix", prefix, JF_REQUIRED), JF(struct cs_doc_subnet, "IpRange", range, JF_OMIT),
	JF_LIST(struct cs_doc_subnet, "Routes", routes, n_routes, JF_OMIT, &route_type), JF(struct cs_doc_subnet, "AuxAddresses", aux, JF_OMIT), JF_END};
const struct cs_jtype cs_doc_subnet_type = {"Subnet", sizeof(struct cs_doc_subnet), subnet_fields};

static const struct cs_jfield ipam_fields[] = {
	JF(struct cs_doc_ipam, "Type", type, JF_OMIT),
	JF_LIST(struct cs_doc_ipam, "Subnets", subnets, n_subnets, JF_EMPTY, &cs_doc_subnet_type), JF_END};
static const struct cs_jtype ipam_type = {"Ipam", sizeof(struct cs_doc_ipam), ipam_fields};

static const struct cs_jfield dns_fields[] = {
	JF(struct cs_doc_dns, "Domain", domain, JF_OMIT), JF(struct cs_doc_dns, "Search", search, JF_OMIT), JF(struct cs_doc_dns, "ServerList", servers, JF_OMIT),
	JF(struct cs_doc_dns, "Options", options, JF_OMIT), JF_END};
const struct cs_jtype cs_doc_dns_type = {"Dns", sizeof(struct cs_doc_dns), dns_fields};

static const struct cs_jfield namespace_dns_fields[] = {
	JF(struct cs_doc_dns, "Domain", domain, JF_OMIT), JF(struct cs_doc_dns, "Search", search, JF_OMIT), JF(struct cs_doc_dns, "ServerList", servers, JF_OMIT),
	JF(struct cs_doc_dns, "Options", options, JF_OMIT), JF(struct cs_doc_dns, "Resolver", resolver, JF_OMIT), JF_END};
const struct cs_jtype cs_doc_namespace_dns_type = {"Dns", sizeof(struct cs_doc_dns), namespace_dns_fields};

static const struct cs_jfield policy_fields[] = {
	JF(struct cs_doc_policy, "Type", type, JF_REQUIRED), JF_AS(struct cs_doc_policy, "Settings", settings, 0, JK_RAW), JF_END};
const struct cs_jtype cs_doc_policy_type = {"Policy", sizeof(struct cs_doc_policy), policy_fields};

#define HEAD(T) JF_INLINE(T, "SchemaVersion", version, 0, &version_type), JF(T, "Owner", owner, JF_OMIT), JF(T, "ID", id, 0)

static const struct cs_jfield network_fields[] = {
	HEAD(struct cs_doc_network), JF(struct cs_doc_network, "Name", name, 0), JF(struct cs_doc_network, "Type", type, 0),
	JF(struct cs_doc_network, "Flags", flags, 0), JF_LIST(struct cs_doc_network, "Ipams", ipams, n_ipams, JF_EMPTY, &ipam_type),
	JF_INLINE(struct cs_doc_network, "Dns", dns, 0, &cs_doc_dns_type),
	JF_LIST(struct cs_doc_network, "Policies", policies, n_policies, JF_EMPTY, &cs_doc_policy_type), JF_END};
const struct cs_jtype cs_doc_network_type = {"HostComputeNetwork", sizeof(struct cs_doc_network), network_fields};

static const struct cs_jfield ip_fields[] = {
	JF(struct cs_doc_ip, "IpAddress", address, 0), JF(struct cs_doc_ip, "PrefixLength", len, 0), JF_END};
static const struct cs_jtype ip_type = {"IpConfiguration", sizeof(struct cs_doc_ip), ip_fields};

static const struct cs_jfield endpoint_fields[] = {
	HEAD(struct cs_doc_endpoint), JF(struct cs_doc_endpoint, "Name", name, 0), JF(struct cs_doc_endpoint, "HostComputeNetwork", network, 0),
	JF(struct cs_doc_endpoint, "HostComputeNamespace", nspace, 0),
	JF_LIST(struct cs_doc_endpoint, "IpConfigurations", ips, n_ips, JF_EMPTY, &ip_type), JF(struct cs_doc_endpoint, "MacAddress", mac, 0),
	JF_LIST(struct cs_doc_endpoint, "Routes", routes, n_routes, JF_EMPTY, &route_type),
	JF_INLINE(struct cs_doc_endpoint, "Dns", dns, 0, &cs_doc_dns_type),
	JF_LIST(struct cs_doc_endpoint, "Policies", policies, n_policies, JF_EMPTY, &cs_doc_policy_type), JF(struct cs_doc_endpoint, "Flags", flags, 0),
	JF(struct cs_doc_endpoint, "InterfaceName", ifname, JF_OMIT | JF_NODECODE),
	JF(struct cs_doc_endpoint, "HostInterface", host_ifname, JF_OMIT | JF_NODECODE), JF_END};
const struct cs_jtype cs_doc_endpoint_type = {"HostComputeEndpoint", sizeof(struct cs_doc_endpoint), endpoint_fields};

static const struct cs_jfield data_fields[] = {JF(struct cs_doc_resource_data, "Id", id, 0), JF_END};
static const struct cs_jtype data_type = {"Data", sizeof(struct cs_doc_resource_data), data_fields};
static const struct cs_jfield resource_fields[] = {
	JF(struct cs_doc_resource, "Type", type, 0), JF_INLINE(struct cs_doc_resource, "Data", data, 0, &data_type), JF_END};
static const struct cs_jtype resource_type = {"Resource", sizeof(struct cs_doc_resource), resource_fields};
static const struct cs_jfield linux_fields[] = {JF(struct cs_doc_namespace_linux, "ProcessId", pid, 0), JF_END};
static const struct cs_jtype linux_type = {"Linux", sizeof(struct cs_doc_namespace_linux), linux_fields};

static const struct cs_jfield namespace_fields[] = {
	HEAD(struct cs_doc_namespace), JF(struct cs_doc_namespace, "Type", type, JF_OMIT),
	JF_LIST(struct cs_doc_namespace, "Resources", resources, n_resources, JF_EMPTY, &resource_type),
	JF_INLINE(struct cs_doc_namespace, "Linux", linux_, 0, &linux_type),
	JF_INLINE(struct cs_doc_namespace, "Dns", dns, 0, &cs_doc_namespace_dns_type), JF_END};
const struct cs_jtype cs_doc_namespace_type = {"HostComputeNamespace", sizeof(struct cs_doc_namespace), namespace_fields};

static const struct cs_jfield port_fields[] = {
	JF(struct cs_doc_port, "Protocol", protocol, 0), JF(struct cs_doc_port, "InternalPort", internal, 0), JF(struct cs_doc_port, "ExternalPort", external, 0),
	JF(struct cs_doc_port, "DistributionType", distribution, 0), JF(struct cs_doc_port, "Flags", flags, 0), JF_END};
static const struct cs_jtype port_type = {"PortMapping", sizeof(struct cs_doc_port), port_fields};

static const struct cs_jfield lb_fields[] = {
	HEAD(struct cs_doc_lb), JF(struct cs_doc_lb, "HostComputeEndpoints", endpoints, JF_EMPTY), JF(struct cs_doc_lb, "SourceVIP", source_vip, 0),
	JF(struct cs_doc_lb, "FrontendVIPs", vips, JF_EMPTY), JF_LIST(struct cs_doc_lb, "PortMappings", ports, n_ports, JF_EMPTY, &port_type),
	JF(struct cs_doc_lb, "Flags", flags, 0), JF_END};
const struct cs_jtype cs_doc_lb_type = {"HostComputeLoadBalancer", sizeof(struct cs_doc_lb), lb_fields};

static const struct cs_jfield modify_fields[] = {
	JF(struct cs_doc_modify, "ResourceType", resource, JF_REQUIRED), JF(struct cs_doc_modify, "RequestType", request, JF_REQUIRED),
	JF_AS(struct cs_doc_modify, "Settings", settings, 0, JK_RAW), JF_END};
const struct cs_jtype cs_doc_modify_type = {"ModifyRequest", sizeof(struct cs_doc_modify), modify_fields};

static const struct cs_jfield query_fields[] = {
	JF_INLINE(struct cs_doc_query, "SchemaVersion", version, 0, &version_type), JF(struct cs_doc_query, "Flags", flags, 0),
	JF(struct cs_doc_query, "Filter", filter, 0), JF_END};
const struct cs_jtype cs_doc_query_type = {"HostComputeQuery", sizeof(struct cs_doc_query), query_fields};

static const struct cs_jfield pool_fields[] = {
	JF(struct cs_doc_pool, "Base", base, JF_REQUIRED), JF(struct cs_doc_pool, "Size", size, JF_REQUIRED), JF_END};
static const struct cs_jtype pool_type = {"Pool", sizeof(struct cs_doc_pool), pool_fields};
static const struct cs_jfield service_fields[] = {
	JF(struct cs_doc_service, "Instance", instance, 0), JF(struct cs_doc_service, "Firewall", firewall, 0), JF(struct cs_doc_service, "IPv4", ipv4, 0),
	JF(struct cs_doc_service, "IPv6", ipv6, 0), JF(struct cs_doc_service, "IpForward", ip_forward, 0),
	JF(struct cs_doc_service, "IpForwardDrop", ip_forward_drop, 0), JF(struct cs_doc_service, "Forwarded", forwarded, 0),
	JF(struct cs_doc_service, "AllowDirectRouting", direct_routing, 0),
	JF_AS(struct cs_doc_service, "WarmNamespaces", warm, 0, JK_NI64),
	JF_LIST(struct cs_doc_service, "DefaultAddressPools", pools, n_pools, 0, &pool_type), JF(struct cs_doc_service, "DnsServers", dns_servers, 0),
	JF(struct cs_doc_service, "ResolvConf", resolv_conf, 0), JF(struct cs_doc_service, "BpfDirectory", bpf_dir, 0), JF_END};
const struct cs_jtype cs_doc_service_type = {"Service", sizeof(struct cs_doc_service), service_fields};

static const struct cs_jfield *field_of(const struct cs_jtype *t, const char *key)
{
	for (const struct cs_jfield *f = t->fields; f->key; f++)
		if (strcmp(f->key, key) == 0)
			return f;
	return NULL;
}

int cs_doc_only_known(const struct cs_jtype *t, const json_t *in, const char *path, struct cs_err **err)
{
	const char *key;
	json_t *v;

	json_object_foreach ((json_t *)(uintptr_t)in, key, v) {
		cs_autofree char *here = cs_xasprintf("%s%s%s", path, *path ? "." : "", key);
		const struct cs_jfield *f = field_of(t, key);
		if (!f)
			return cs_fail(err, CS_ERR_INVALID, 0, "%s: unknown member", here);
		if ((f->flags & JF_NODECODE) && !json_is_null(v))
			return cs_fail(err, CS_ERR_INVALID, 0, "%s: this is of answers only", here);
		if ((f->kind == JK_OBJ || f->kind == JK_INLINE) && json_is_object(v) && cs_doc_only_known(f->type, v, here, err) < 0)
			return -1;
		if (f->kind != JK_LIST || !json_is_array(v))
			continue;
		for (size_t i = 0; i < json_array_size(v); i++) {
			cs_autofree char *element = cs_xasprintf("%s[%zu]", here, i);
			if (json_is_object(json_array_get(v, i)) && cs_doc_only_known(f->type, json_array_get(v, i), element, err) < 0)
				return -1;
		}
	}
	return 0;
}

/* What is not said is the version of this page. */
static int check_version(const struct cs_jtype *t, const json_t *in, void *doc, struct cs_err **err)
{
	const struct cs_jfield *f = field_of(t, "SchemaVersion");
	const json_t *major = json_object_get(json_object_get(in, "SchemaVersion"), "Major");

	if (!f)
		return 0;
	struct cs_doc_version *v = (struct cs_doc_version *)(void *)((char *)doc + f->off);
	if (major && v->major != 2)
		return cs_fail(err, CS_ERR_INVALID, 0, "SchemaVersion.Major: %lld is not 2", (long long)v->major);
	v->major = 2;
	return 0;
}

int cs_doc_read(const struct cs_jtype *t, const char *text, void *ret, struct cs_err **err)
{
	memset(ret, 0, t->size);
	cs_autojson json_t *in = cs_json_parse_unique(text ? text : "", text ? strlen(text) : 0, err);
	if (!in)
		return cs_wrap(err, "%s", t->name);
	if (!json_is_object(in))
		return cs_fail(err, CS_ERR_INVALID, 0, "%s: expected an object", t->name);
	if (cs_doc_only_known(t, in, "", err) < 0 || cs_json_decode(t, in, ret, "", err) < 0 || check_version(t, in, ret, err) < 0) {
		cs_json_release(t, ret);
		return cs_wrap(err, "%s", t->name);
	}
	return 0;
}

char *cs_doc_write(const struct cs_jtype *t, const void *doc)
{
	struct cs_str out = CS_STR_INIT(64 << 20);

	cs_json_encode(t, doc, 0, &out);
	char *text = cs_str_steal(&out);
	if (!text)
		abort(); /* 64 MiB of what came in with a hundredth of it */
	return text;
}
