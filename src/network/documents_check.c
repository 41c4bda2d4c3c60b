/* SPDX-License-Identifier: Apache-2.0
 *
 * What a table of documents.c cannot say of a document: refused when it is given, not when it is used, with a text that names the member. */
#include "base/id.h"
#include "base/num.h"
#include "network/internal.h"

#define SERVERS_MAX 8 /* of the resolver's (CS_DNS_SERVERS_MAX) */

/* Of resolv.conf(5), as glibc or musl know it. */
static bool is_option(const char *text)
{
	static const char *const words[] = {"debug", "rotate", "no-aaaa", "no-check-names", "inet6", "ip6-bytestring", "ip6-dotint", "no-ip6-dotint", "edns0",
					    "single-request", "single-request-reopen", "no-tld-query", "use-vc", "no-reload", "trust-ad", "strict-error"};
	static const char *const numbers[] = {"ndots:", "timeout:", "attempts:"};
	uint64_t v;

	for (size_t i = 0; i < CS_ARRAY_SIZE(words); i++)
		if (strcmp(text, words[i]) == 0)
			return true;
	for (size_t i = 0; i < CS_ARRAY_SIZE(numbers); i++)
		if (cs_prefix(text, numbers[i]))
			return cs_parse_u64(text + strlen(numbers[i]), 0, INT32_MAX, &v);
	return false;
}

HRESULT cs_check_dns(const struct cs_doc_dns *d, struct cs_err **err)
{
	struct cs_ip ip;
	size_t n = 0;

	for (; d->servers && d->servers[n]; n++)
		if (!cs_ip_parse(d->servers[n], &ip)) /* nor with a zone: whose namespace would its name be of? */
			return cs_hr_fail(err, HCN_E_INVALID_IP, 0, "Dns.ServerList[%zu]: %s is no address of a name server", n, d->servers[n]);
	for (n = 0; d->options && d->options[n]; n++)
		if (!is_option(d->options[n]))
			return cs_hr_fail(err, HCN_E_INVALID_JSON, 0, "Dns.Options[%zu]: \"%s\" is no option of resolv.conf", n, d->options[n]);
	return HCS_S_OK;
}

HRESULT cs_check_dns_served(const struct cs_doc_dns *d, struct cs_err **err)
{
	if (cs_strv_len(d->servers) > SERVERS_MAX)
		return cs_hr_fail(err, HCN_E_INVALID_IP, 0, "Dns.ServerList: more than %d name servers", SERVERS_MAX);
	return cs_check_dns(d, err);
}

HRESULT cs_check_same(const char *member, const char *given, const struct cs_obj *o, HRESULT otherwise, struct cs_err **err)
{
	HCN_GUID id;

	if (cs_empty(given))
		return HCS_S_OK;
	if (!cs_hcn_guid_parse(given, &id))
		return cs_hr_fail(err, otherwise, 0, "%s: %s is no GUID", member, given);
	if (memcmp(&id, &o->id, sizeof(id)) != 0)
		return cs_hr_fail(err, otherwise, 0, "%s: %s is not %s, for which this document is", member, given, o->text);
	return HCS_S_OK;
}

/* Loopback, multicast and reserved addresses are no interface's of a network; what has fe80::/64 in it would have every interface's link. */
HRESULT cs_check_subnet(struct cs_prefix p, struct cs_err **err)
{
	static const char *const never[] = {"127.0.0.0/8", "224.0.0.0/3", "::1/128", "ff00::/8", "::ffff:0:0/96", NULL};
	char text[CS_PREFIX_TEXT];
	struct cs_prefix x;
	bool bad = p.len < 4;

	for (const char *const *v = never; *v; v++)
		bad = bad || (cs_prefix_parse(*v, &x) && cs_prefix_overlaps(x, p));
	if (!bad && p.len != 64 && cs_prefix_parse("fe80::/64", &x) && cs_prefix_overlaps(x, p))
		return cs_hr_fail(err, HCN_E_INVALID_PREFIX, 0, "IpAddressPrefix: %s overlaps fe80::/64, which every interface has with that length", cs_prefix_text(p, text));
	return bad ? cs_hr_fail(err, HCN_E_INVALID_PREFIX, 0, "IpAddressPrefix: %s: no interface of a network can have such addresses", cs_prefix_text(p, text))
		   : HCS_S_OK;
}

HRESULT cs_check_subnet_routes(const struct cs_doc_subnet *s, uint8_t family, struct cs_err **err)
{
	const char *all = family == AF_INET ? "0.0.0.0/0" : "::/0";
	struct cs_ip via;

	for (size_t i = 0; i < s->n_routes; i++) {
		const struct cs_doc_route *r = &s->routes[i];
		if (!cs_streq(r->to, all))
			return cs_hr_fail(err, HCN_E_INVALID_NETWORK, 0, "Routes[%zu].DestinationPrefix: %s is not %s: a subnet has its default route alone", i,
					  r->to ? r->to : "", all);
		if (i > 0)
			return cs_hr_fail(err, HCN_E_INVALID_NETWORK, 0, "Routes[%zu]: a second default route of one subnet", i);
		if (!cs_ip_parse(r->next_hop, &via) || via.family != family)
			return cs_hr_fail(err, HCN_E_INVALID_IP, 0, "Routes[%zu].NextHop: %s is no address of that family", i, r->next_hop ? r->next_hop : "");
		if (r->metric)
			return cs_hr_fail(err, HCN_E_INVALID_NETWORK, 0, "Routes[%zu].Metric: only routes of endpoints have one", i);
	}
	return HCS_S_OK;
}

HRESULT cs_check_endpoint_families(const struct cs_endpoint_policies *p, const struct HcnNetwork *n, struct cs_err **err)
{
	struct cs_ip ip;

	for (char **l = p->link_local; l && *l; l++)
		if (cs_ip_parse(*l, &ip) && !cs_network_has(n, ip.family))
			return cs_hr_fail(err, HCN_E_INVALID_POLICY, 0, "LinuxInterface.LinkLocal: %s: the network has no addresses of that family", *l);
	for (size_t i = 0; i < p->n_ports; i++)
		if (cs_ip_parse(p->ports[i].vip, &ip) && !cs_network_has(n, ip.family)) /* in the words of an endpoint without, which the engine passes on */
			return cs_hr_fail(err, HCN_E_REQUEST_UNSUPPORTED, 0, "port %lld cannot be published at %s: the container has no address of that family",
					  (long long)p->ports[i].internal, p->ports[i].vip);
	return HCS_S_OK;
}

HRESULT cs_check_endpoint_routes(const struct cs_doc_endpoint *d, const struct HcnNetwork *n, struct cs_err **err)
{
	bool seen[2] = {false, false};
	struct cs_prefix to;
	struct cs_ip via;

	for (size_t i = 0; i < d->n_routes; i++) {
		const struct cs_doc_route *r = &d->routes[i];
		if (!cs_prefix_parse(r->to, &to))
			return cs_hr_fail(err, HCN_E_INVALID_PREFIX, 0, "Routes[%zu].DestinationPrefix: %s is no prefix", i, r->to ? r->to : "");
		if (!cs_network_has(n, to.ip.family))
			return cs_hr_fail(err, HCN_E_INVALID_PREFIX, 0, "Routes[%zu].DestinationPrefix: %s: the network has no addresses of that family", i, r->to);
		if ((to.len == 0 || !cs_empty(r->next_hop)) && (!cs_ip_parse(r->next_hop, &via) || via.family != to.ip.family))
			return cs_hr_fail(err, HCN_E_INVALID_IP, 0, "Routes[%zu].NextHop: %s is no address of that family", i, r->next_hop ? r->next_hop : "");
		if (r->metric < 0 || r->metric > UINT32_MAX)
			return cs_hr_fail(err, HCN_E_INVALID_ENDPOINT, 0, "Routes[%zu].Metric: %lld is out of range", i, (long long)r->metric);
		if (to.len > 0)
			continue;
		if (seen[to.ip.family == AF_INET6])
			return cs_hr_fail(err, HCN_E_INVALID_ENDPOINT, 0, "Routes[%zu]: a second default route of one family", i);
		if (r->metric) /* the namespace has one, of the endpoint with the highest priority */
			return cs_hr_fail(err, HCN_E_INVALID_ENDPOINT, 0, "Routes[%zu].Metric: a default route has none", i);
		seen[to.ip.family == AF_INET6] = true;
	}
	return HCS_S_OK;
}

HRESULT cs_check_translation(const struct cs_network_policies *p, bool v4, bool v6, struct cs_err **err)
{
	const struct {
		const char *mode_member, *masquerade_member, *ip_member, *mode, *ip;
		enum cs_gateway_mode gw;
		enum cs_tri masquerade;
		bool there;
		int family;
	} f[] = {{"GatewayMode4", "Masquerade", "HostIp4", p->gw4_text, p->host_ip4, p->gw4, p->masquerade, v4, 4},
		 {"GatewayMode6", "Masquerade6", "HostIp6", p->gw6_text, p->host_ip6, p->gw6, p->masquerade6, v6, 6}};
	bool any = false;

	if (p->inhibit_ipv4 && !v4)
		return cs_hr_fail(err, HCN_E_INVALID_POLICY, 0, "LinuxBridge.InhibitIPv4: the network has no IPv4");
	for (size_t i = 0; i < CS_ARRAY_SIZE(f); i++) {
		const char *member = !cs_empty(f[i].mode) ? f[i].mode_member : f[i].masquerade != CS_NULL ? f[i].masquerade_member : !cs_empty(f[i].ip) ? f[i].ip_member : NULL;
		bool translated = f[i].there && f[i].gw != CS_GW_ROUTED && f[i].masquerade != CS_FALSE;
		any |= translated;
		if (member && !f[i].there)
			return cs_hr_fail(err, HCN_E_INVALID_POLICY, 0, "LinuxBridge.%s: the network has no IPv%d", member, f[i].family);
		if (f[i].gw == CS_GW_ROUTED && f[i].masquerade == CS_TRUE)
			return cs_hr_fail(err, HCN_E_INVALID_POLICY, 0, "LinuxBridge.%s: %s says that it is routed", f[i].masquerade_member, f[i].mode_member);
		if (!cs_empty(f[i].ip) && !translated)
			return cs_hr_fail(err, HCN_E_INVALID_POLICY, 0, "LinuxBridge.%s: the network does not masquerade IPv%d", f[i].ip_member, f[i].family);
	}
	return p->outbound_nat && !any ? cs_hr_fail(err, HCN_E_INVALID_POLICY, 0, "OutBoundNAT: LinuxBridge says that the network does not masquerade") : HCS_S_OK;
}

int cs_check_mtu(int64_t mtu, const char *member, struct cs_err **err)
{
	if (mtu && (mtu < CS_MTU_MIN || mtu > 65535))
		return cs_fail(err, CS_ERR_INVALID, 0, "%s: %lld is not within %d and 65535", member, (long long)mtu, CS_MTU_MIN);
	return 0;
}

/* The paths are made of what the user wrote: only the trees of interfaces are open. */
static bool is_sysctl(const char *key)
{
	cs_autostrv char **part = cs_strv_split(key, '.');

	return cs_strv_len(part) == 5 && strcmp(part[0], "net") == 0 && strcmp(part[3], "IFNAME") == 0 && !strchr(key, '/') && !cs_empty(part[2]) &&
	       !cs_empty(part[4]) && (strcmp(part[1], "ipv4") == 0 || strcmp(part[1], "ipv6") == 0 || strcmp(part[1], "mpls") == 0);
}

int cs_check_interface(const struct cs_endpoint_policies *p, struct cs_err **err)
{
	struct cs_ip ip;
	struct cs_port_range r;
	HCN_GUID id;

	if (!cs_empty(p->wanted_name) && (!cs_link_name_valid(p->wanted_name) || strcmp(p->wanted_name, "lo") == 0))
		return cs_fail(err, CS_ERR_INVALID, 0, "LinuxInterface.Name: interface name %s is not possible", p->wanted_name);
	for (char **l = p->link_local; l && *l; l++)
		if (!cs_ip_parse(*l, &ip))
			return cs_fail(err, CS_ERR_INVALID, 0, "LinuxInterface.LinkLocal: %s is no address", *l);
	for (size_t i = 0; p->sysctls && i < p->sysctls->n; i++)
		if (!is_sysctl(p->sysctls->kv[i].key))
			return cs_fail(err, CS_ERR_INVALID, 0, "LinuxInterface.Sysctls: sysctl %s is not of the form net.X.Y.IFNAME.Z", p->sysctls->kv[i].key);
	for (char **x = p->exposed; x && *x; x++)
		if (!cs_parse_ports(*x, &r) || r.lo == 0)
			return cs_fail(err, CS_ERR_INVALID, 0, "LinuxInterface.ExposedPorts: %s is not of the form 80/tcp or 80-90/tcp", *x);
	for (size_t i = 0; p->links && i < p->links->n; i++)
		if (!cs_hcn_guid_parse(p->links->kv[i].val, &id))
			return cs_fail(err, CS_ERR_INVALID, 0, "DnsNames.Links: %s of %s is no GUID", p->links->kv[i].val, p->links->kv[i].key);
	return cs_check_mtu(p->mtu, "InterfaceParameters.Mtu", err);
}
