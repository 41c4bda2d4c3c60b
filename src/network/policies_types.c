/* SPDX-License-Identifier: Apache-2.0
 *
 * Which policy, and which member of one, means something on which type of network. What is not here means something on all of them. */
#include "network/documents.h"

enum type {
	NAT = 1,
	INTERNAL = 2,
	PRIVATE = 4,
	OVERLAY = 8,
	TRANSPARENT = 16,
	L2BRIDGE = 32,
	PARENTS = TRANSPARENT | L2BRIDGE,
	BRIDGES = NAT | INTERNAL | PRIVATE | OVERLAY,
};
static const struct {
	const char *name;
	enum type type;
} types[] = {{"NAT", NAT}, {"Internal", INTERNAL}, {"Private", PRIVATE}, {"Overlay", OVERLAY}, {"Transparent", TRANSPARENT}, {"L2Bridge", L2BRIDGE}};

struct rule {
	const char *policy, *member; /* member NULL: the policy as a whole */
	int types;
	const char *elsewhere; /* the one value that means something on bridges of another type */
};
/* Of the bridges only those of NAT networks have a way out, and with it translation, ports and who may come from outside. */
static const struct rule rules[] = {
	{"NetAdapterName", NULL, PARENTS | OVERLAY, NULL},
	{"VLAN", NULL, PARENTS, NULL},
	{"LinuxMacvlan", NULL, TRANSPARENT, NULL},
	{"LinuxIpvlan", NULL, L2BRIDGE, NULL},
	{"VSID", NULL, OVERLAY, NULL},
	{"VxlanPort", NULL, OVERLAY, NULL},
	{"ProviderAddress", NULL, OVERLAY, NULL},
	{"RemoteSubnetRoute", NULL, OVERLAY, NULL},
	{"OutBoundNAT", NULL, NAT, NULL},
	{"NetworkACL", NULL, BRIDGES, NULL},
	{"LinuxBridge", "Name", BRIDGES, NULL},
	{"LinuxBridge", "InterContainer", BRIDGES, NULL},
	{"LinuxBridge", "InhibitIPv4", NAT | INTERNAL | OVERLAY, NULL},
	{"LinuxBridge", "GatewayMode4", NAT, "isolated"},
	{"LinuxBridge", "GatewayMode6", NAT, "isolated"},
	{"LinuxBridge", "Masquerade", NAT, NULL},
	{"LinuxBridge", "Masquerade6", NAT, NULL},
	{"LinuxBridge", "HostIp4", NAT, NULL},
	{"LinuxBridge", "HostIp6", NAT, NULL},
	{"LinuxBridge", "TrustedHostInterfaces", NAT, NULL},
	{"PortMapping", NULL, NAT, NULL},
	{"ACL", NULL, BRIDGES, NULL},
	{"LinuxInterface", "AntiSpoof", BRIDGES, NULL},
	{"LinuxInterface", "ExposedPorts", BRIDGES, NULL},
};

static enum type type_of(const char *name)
{
	for (size_t i = 0; i < CS_ARRAY_SIZE(types); i++)
		if (cs_streq(types[i].name, name))
			return types[i].type;
	return 0;
}

/* Not null, nor what stands for nothing. */
static bool said(const json_t *v)
{
	return v && !json_is_null(v) && !(json_is_string(v) && !json_string_length(v)) && !(json_is_array(v) && !json_array_size(v));
}

static bool follows(const struct rule *r, enum type type, const json_t *value)
{
	return !said(value) || (r->types & (int)type) || (r->elsewhere && (type & BRIDGES) && cs_streq(json_string_value(value), r->elsewhere));
}

int cs_policies_suit(const struct cs_doc_policy *v, size_t n, const char *network_type, struct cs_err **err)
{
	enum type type = type_of(network_type);
	const char *mtu = NULL;

	for (size_t i = 0; i < n; i++) {
		bool ours = cs_prefix(v[i].type, "Linux"); /* ten thousand ports need not be read once more */
		cs_autojson json_t *in = ours && v[i].settings ? cs_json_parse(v[i].settings, strlen(v[i].settings), NULL) : NULL;
		for (const struct rule *r = rules; r < rules + CS_ARRAY_SIZE(rules); r++) {
			if (!cs_streq(r->policy, v[i].type) || (r->member ? follows(r, type, json_object_get(in, r->member)) : (r->types & (int)type) != 0))
				continue;
			if (!r->member)
				return cs_fail(err, CS_ERR_INVALID, 0, "Policies[%zu].Type: %s means nothing on a %s network", i, r->policy, network_type);
			return cs_fail(err, CS_ERR_INVALID, 0, "Policies[%zu].Settings: %s.%s means nothing on a %s network%s%s", i, r->policy, r->member, network_type,
				       r->elsewhere ? " unless it is " : "", r->elsewhere ? r->elsewhere : "");
		}
		if (!ours || !said(json_object_get(in, "Mtu")))
			continue;
		if (mtu)
			return cs_fail(err, CS_ERR_INVALID, 0, "Policies[%zu].Settings: %s.Mtu: %s has one already", i, v[i].type, mtu);
		mtu = v[i].type;
	}
	return 0;
}
