/* SPDX-License-Identifier: Apache-2.0
 *
 * The documents of docs/network-documents.md as structs: one table each decodes, encodes, copies and frees. Pure; any thread.
 * Decoding is strict: unknown members and policy types are refused, names are case-sensitive. */
#pragma once

#include "base/json.h"
#include "computenetwork.h"

struct cs_doc_version {
	int64_t major, minor;
};
struct cs_doc_route {
	char *next_hop, *to;
	int64_t metric;
};
struct cs_doc_subnet {
	char *prefix, *range, **aux;
	struct cs_doc_route *routes;
	size_t n_routes;
};
struct cs_doc_ipam {
	char *type;
	struct cs_doc_subnet *subnets;
	size_t n_subnets;
};
struct cs_doc_dns {
	char *domain, **search, **servers, **options;
	bool resolver; /* namespaces */
};
struct cs_doc_policy {
	char *type, *settings; /* compact JSON */
};
struct cs_doc_network {
	struct cs_doc_version version;
	char *owner, *id, *name, *type;
	int64_t flags;
	struct cs_doc_ipam *ipams;
	size_t n_ipams;
	struct cs_doc_dns dns;
	struct cs_doc_policy *policies;
	size_t n_policies;
};
struct cs_doc_ip {
	char *address;
	int64_t len;
};
struct cs_doc_endpoint {
	struct cs_doc_version version;
	char *owner, *id, *name, *network, *nspace, *mac, *ifname, *host_ifname;
	int64_t flags;
	struct cs_doc_ip *ips;
	size_t n_ips;
	struct cs_doc_route *routes;
	size_t n_routes;
	struct cs_doc_dns dns;
	struct cs_doc_policy *policies;
	size_t n_policies;
};
struct cs_doc_resource_data {
	char *id;
};
struct cs_doc_resource {
	char *type;
	struct cs_doc_resource_data data;
};
struct cs_doc_namespace_linux {
	int64_t pid;
};
struct cs_doc_namespace {
	struct cs_doc_version version;
	char *owner, *id, *type;
	struct cs_doc_resource *resources;
	size_t n_resources;
	struct cs_doc_namespace_linux linux_;
	struct cs_doc_dns dns;
};
struct cs_doc_port {
	int64_t protocol, internal, external, distribution, flags;
};
struct cs_doc_lb {
	struct cs_doc_version version;
	char *owner, *id, *source_vip, **endpoints, **vips;
	struct cs_doc_port *ports;
	size_t n_ports;
	int64_t flags;
};
struct cs_doc_modify {
	char *resource, *request, *settings;
};
struct cs_doc_query {
	struct cs_doc_version version;
	int64_t flags;
	char *filter;
};
struct cs_doc_pool {
	char *base;
	int64_t size;
};
struct cs_doc_service {
	char *instance, *resolv_conf, *bpf_dir, **dns_servers, **forwarded;
	enum cs_tri firewall, ipv4, ipv6, ip_forward, ip_forward_drop;
	bool direct_routing;
	int64_t *warm;
	struct cs_doc_pool *pools;
	size_t n_pools;
};
extern const struct cs_jtype cs_doc_network_type, cs_doc_endpoint_type, cs_doc_namespace_type, cs_doc_lb_type, cs_doc_modify_type, cs_doc_query_type,
	cs_doc_service_type, cs_doc_subnet_type, cs_doc_policy_type, cs_doc_dns_type,
	cs_doc_namespace_dns_type;

/* Decodes text into *ret (zeroed by this); on error *ret is released. Error: INVALID. */
CS_MUST_CHECK int cs_doc_read(const struct cs_jtype *t, const char *text, void *ret, struct cs_err **err);
/* Refuses members that the table does not know, at any depth. */
CS_MUST_CHECK int cs_doc_only_known(const struct cs_jtype *t, const json_t *in, const char *path, struct cs_err **err);
char *cs_doc_write(const struct cs_jtype *t, const void *doc);

/* ---- policies ---- */

enum cs_gateway_mode { CS_GW_NAT, CS_GW_NAT_UNPROTECTED, CS_GW_ROUTED, CS_GW_ISOLATED };
struct cs_remote_subnet {
	char *prefix, *provider, *router_mac;
	int64_t isolation;
};
struct cs_network_policies {
	char *adapter, *provider;
	int64_t vlan, vsid, vxlan_port; /* 0: none */
	bool has_vsid, outbound_nat;
	struct cs_remote_subnet *remotes;
	size_t n_remotes;
	char *bridge, *host_ip4, *host_ip6, *trusted, *prefix;
	int64_t mtu;
	enum cs_tri icc, masquerade, masquerade6, ipv4, ipv6;
	bool inhibit_ipv4, internal; /* internal: of macvlan and ipvlan; bridges have a type for it */
	char *gw4_text, *gw6_text;
	enum cs_gateway_mode gw4, gw6;
	char *macvlan_mode, *ipvlan_mode, *ipvlan_flag;
	char **acls; /* settings, compact JSON */
};
CS_MUST_CHECK int cs_network_policies_read(const struct cs_doc_policy *v, size_t n, struct cs_network_policies *ret, struct cs_err **err);
void cs_network_policies_done(struct cs_network_policies *p);

struct cs_port_mapping {
	int64_t protocol, internal, external, external_last, flags;
	char *vip;
};
struct cs_endpoint_policies {
	struct cs_port_mapping *ports; /* in the order of the policies */
	size_t n_ports;
	char **acls;
	int64_t max_outgoing; /* bytes per second; 0: no limit */
	int64_t mtu;
	char *wanted_name, **link_local, **exposed;
	enum cs_tri antispoof;
	struct cs_strmap *sysctls;
	int64_t gateway_priority;
	char **names;
	struct cs_strmap *links;      /* alias -> endpoint id */
	struct cs_strmap *link_names; /* alias -> name on this endpoint's network, known or not yet */
};
CS_MUST_CHECK int cs_endpoint_policies_read(const struct cs_doc_policy *v, size_t n, struct cs_endpoint_policies *ret, struct cs_err **err);
void cs_endpoint_policies_done(struct cs_endpoint_policies *p);
/* policies_types.c: refuses policies of a network, or of an endpoint on one, of which nothing would come on a network of this type. */
CS_MUST_CHECK int cs_policies_suit(const struct cs_doc_policy *v, size_t n, const char *network_type, struct cs_err **err);
/* documents_check.c */
#define CS_MTU_MIN 68      /* ETH_MIN_MTU */
#define CS_MTU_MIN_V6 1280 /* RFC 8200 5 */
CS_MUST_CHECK int cs_check_mtu(int64_t mtu, const char *member, struct cs_err **err); /* 0: as it comes */
CS_MUST_CHECK int cs_check_interface(const struct cs_endpoint_policies *p, struct cs_err **err);

/* As cs_port_mappings_write has it, so that the same mapping is the same text. What is none is left alone. */
void cs_port_mapping_respell(struct cs_doc_policy *p);
/* Puts the external ports of `p` back into the texts of the PortMapping policies of a document. */
void cs_port_mappings_write(struct cs_doc_policy *v, size_t n, const struct cs_endpoint_policies *p);
