/* SPDX-License-Identifier: Apache-2.0
 *
 * HNS ACL policies as rules of a chain: each ACL is one rule per pair of local and remote prefix, which returns (allow) or drops (block). */
#include <arpa/inet.h>
#include <string.h>

#include "base/num.h"
#include "base/strv.h"
#include "network/firewall_internal.h"

#define PREFIXES_MAX 256 /* in one list, and of pairs in one ACL */

struct prefix {
	struct cs_fw_addr addr;
	unsigned len;
};

static int bad(struct cs_err **err, const char *member, const char *value)
{
	return cs_fail(err, CS_ERR_INVALID, 0, "%s: \"%s\" is not valid", member, value);
}

static char *trimmed(char *s)
{
	size_t n;

	s += strspn(s, " \t");
	n = strlen(s);
	while (n > 0 && (s[n - 1] == ' ' || s[n - 1] == '\t'))
		s[--n] = '\0';
	return s;
}

static bool parse_prefix(char *text, struct prefix *p)
{
	char *slash = strchr(text, '/');
	bool good = true;
	uint64_t len;

	if (slash)
		*slash = '\0';
	if (inet_pton(AF_INET, text, &p->addr.v4) == 1)
		p->addr.family = AF_INET;
	else if (inet_pton(AF_INET6, text, &p->addr.v6) == 1)
		p->addr.family = AF_INET6;
	else
		good = false;
	if (slash)
		*slash = '/';
	if (!good)
		return false;
	p->len = p->addr.family == AF_INET ? 32 : 128;
	if (slash && !cs_parse_u64(slash + 1, 0, p->len, &len))
		return false;
	p->len = slash ? (unsigned)len : p->len;
	return true;
}

/* *n 0 with an empty list: all. */
static int parse_prefixes(const char *list, const char *member, struct prefix *out, size_t *n, struct cs_err **err)
{
	cs_autostrv char **parts = cs_empty(list) ? NULL : cs_strv_split(list, ',');

	*n = 0;
	for (size_t i = 0; parts && parts[i]; i++) {
		if (*n == PREFIXES_MAX)
			return cs_fail(err, CS_ERR_INVALID, 0, "%s: more than %d", member, PREFIXES_MAX);
		if (!parse_prefix(trimmed(parts[i]), &out[(*n)++]))
			return bad(err, member, parts[i]);
	}
	return 0;
}

/* "80, 8000-8100" as "{ 80, 8000-8100 }" with what overlaps merged, since nft refuses that. */
static int put_ports(struct cs_str *out, const char *what, const char *list, const char *member, struct cs_err **err)
{
	cs_autostrv char **parts = cs_empty(list) ? NULL : cs_strv_split(list, ',');
	cs_autofree uint8_t *bits = NULL;
	const char *sep = "";

	if (!parts)
		return 0;
	bits = cs_xcalloc(1, 65536 / 8 + 1);
	for (size_t i = 0; parts[i]; i++) {
		char *text = trimmed(parts[i]), *dash = strchr(text, '-');
		uint64_t a, b;

		if (!cs_parse_u64n(text, dash ? (size_t)(dash - text) : strlen(text), 1, 65535, &a))
			return bad(err, member, text);
		b = a;
		if (dash && !cs_parse_u64(dash + 1, a, 65535, &b))
			return bad(err, member, text);
		for (; a <= b; a++)
			bits[a / 8] |= (uint8_t)(1u << a % 8);
	}
	cs_str_putf(out, "%s { ", what);
	for (unsigned a = 1; a < 65536; a++) {
		unsigned b = a;

		if (!(bits[a / 8] & 1u << a % 8))
			continue;
		while (b < 65535 && bits[(b + 1) / 8] & 1u << (b + 1) % 8)
			b++;
		cs_str_putf(out, b > a ? "%s%u-%u" : "%s%u", sep, a, b);
		sep = ", ";
		a = b;
	}
	cs_str_puts(out, " } ");
	return 0;
}

static bool protocol_number(const char *text, uint64_t *ret)
{
	static const struct {
		const char *name;
		uint8_t number;
	} names[] = {{"tcp", IPPROTO_TCP}, {"udp", IPPROTO_UDP}, {"sctp", IPPROTO_SCTP}, {"icmp", IPPROTO_ICMP}, {"icmpv6", IPPROTO_ICMPV6}};

	for (size_t i = 0; i < CS_ARRAY_SIZE(names); i++) {
		if (strcasecmp(text, names[i].name) == 0) {
			*ret = names[i].number;
			return true;
		}
	}
	return cs_parse_u64(text, 0, 255, ret);
}

static int put_protocols(struct cs_str *out, const struct cs_firewall_acl *a, struct cs_err **err)
{
	cs_autostrv char **parts = cs_empty(a->protocols) ? NULL : cs_strv_split(a->protocols, ',');
	bool ports = !cs_empty(a->local_ports) || !cs_empty(a->remote_ports), seen[256] = {false};
	const char *sep = "";

	if (!parts) {
		if (ports)
			cs_str_puts(out, "meta l4proto { 6, 17, 132 } ");
		return 0;
	}
	for (size_t i = 0; parts[i]; i++) {
		uint64_t number;

		if (!protocol_number(trimmed(parts[i]), &number))
			return bad(err, "Protocols", parts[i]);
		if (ports && number != IPPROTO_TCP && number != IPPROTO_UDP && number != IPPROTO_SCTP)
			return cs_fail(err, CS_ERR_INVALID, 0, "protocol %s has no ports", parts[i]);
		seen[number] = true;
	}
	cs_str_puts(out, "meta l4proto { ");
	for (unsigned i = 0; i < 256; i++) {
		if (!seen[i])
			continue;
		cs_str_putf(out, "%s%u", sep, i);
		sep = ", ";
	}
	cs_str_puts(out, " } ");
	return 0;
}

static void put_prefix(struct cs_str *out, const char *side, const struct prefix *p)
{
	char text[FW_ADDR_TEXT];

	if (p->len > 0)
		cs_str_putf(out, "%s %s %s/%u ", p->addr.family == AF_INET ? "ip" : "ip6", side, fw_addr_text(&p->addr, text), p->len);
	else
		cs_str_putf(out, "ether type %s ", p->addr.family == AF_INET ? "ip" : "ip6");
}

/* How a chain says yes: by in and out. What comes back from it has met no verdict, and is dropped. */
const char *const fw_acl_ways[2] = {"in", "out"};
static const char *const pass[2] = {"goto entering_known", "goto leaving_known"};

static int put_rule(struct cs_str *out, const struct cs_firewall_acl *a, struct cs_err **err)
{
	cs_autofree struct prefix *local = cs_xcalloc(PREFIXES_MAX, sizeof(*local)), *remote = cs_xcalloc(PREFIXES_MAX, sizeof(*remote));
	cs_autostr struct cs_str rest = CS_STR_INIT(1 << 20);
	const char *near = a->out ? "saddr" : "daddr", *far = a->out ? "daddr" : "saddr";
	size_t n_local, n_remote;

	if (parse_prefixes(a->local_addresses, "LocalAddresses", local, &n_local, err) < 0 ||
	    parse_prefixes(a->remote_addresses, "RemoteAddresses", remote, &n_remote, err) < 0 || put_protocols(&rest, a, err) < 0 ||
	    put_ports(&rest, a->out ? "th sport" : "th dport", a->local_ports, "LocalPorts", err) < 0 ||
	    put_ports(&rest, a->out ? "th dport" : "th sport", a->remote_ports, "RemotePorts", err) < 0)
		return -1;
	if (n_local * n_remote > PREFIXES_MAX)
		return cs_fail(err, CS_ERR_INVALID, 0, "more than %d pairs of addresses", PREFIXES_MAX);
	for (size_t i = 0; i < CS_MAX(n_local, (size_t)1); i++) {
		for (size_t j = 0; j < CS_MAX(n_remote, (size_t)1); j++) {
			if (n_local && n_remote && local[i].addr.family != remote[j].addr.family)
				continue;
			if (n_local)
				put_prefix(out, near, &local[i]);
			if (n_remote)
				put_prefix(out, far, &remote[j]);
			cs_str_putf(out, "%s%s\n", rest.len ? rest.buf : "", a->block ? "drop" : pass[a->out]);
		}
	}
	return 0;
}

int cs_firewall_acl_check(const struct cs_firewall_acl *a, struct cs_err **err)
{
	cs_autostr struct cs_str out = CS_STR_INIT(1 << 20);

	if (put_rule(&out, a, err) < 0)
		return -1;
	if (out.failed)
		return cs_fail(err, CS_ERR_INVALID, 0, "too many ports and addresses");
	return out.len ? 0 : cs_fail(err, CS_ERR_INVALID, 0, "LocalAddresses and RemoteAddresses: none of both are of one family");
}

int fw_acl_rules(const struct cs_firewall_acl *acls, size_t n, char **in, char **out, struct cs_err **err)
{
	cs_autofree size_t *order = cs_xcalloc(n + 1, sizeof(*order));
	cs_autostr struct cs_str in_rules = CS_STR_INIT(16 << 20), out_rules = CS_STR_INIT(16 << 20);
	struct cs_str *text[2] = {&in_rules, &out_rules};
	bool used[2] = {false, false};

	for (size_t i = 0; i < n; i++) { /* by priority; insertion keeps the order of equals */
		size_t at = i;

		for (; at > 0 && acls[order[at - 1]].priority > acls[i].priority; at--)
			order[at] = order[at - 1];
		order[at] = i;
	}
	for (size_t i = 0; i < n; i++) {
		const struct cs_firewall_acl *a = &acls[order[i]];

		used[a->out] = true;
		if (put_rule(text[a->out], a, err) < 0)
			return cs_wrap(err, "ACL policy %zu", order[i] + 1);
	}
	for (int i = 0; i < 2; i++)
		cs_str_putf(text[i], "%s\n", pass[i]);
	if (text[0]->failed || text[1]->failed)
		return cs_fail(err, CS_ERR_INVALID, 0, "ACL policies: too many");
	*in = used[0] ? cs_str_steal(text[0]) : NULL;
	*out = used[1] ? cs_str_steal(text[1]) : NULL;
	return 0;
}

void fw_acl_put_chain(struct cs_str *out, const struct fw_endpoint *e, int way)
{
	if (e->rules[way])
		cs_str_putf(out, "chain acl%llu_%s {\n%s}\n", (unsigned long long)e->serial, fw_acl_ways[way], e->rules[way]);
}

void fw_acl_put_verdict(struct cs_str *out, const struct fw_endpoint *e, int way)
{
	if (e->rules[way])
		cs_str_putf(out, "\"%s\" : jump acl%llu_%s", e->ifname, (unsigned long long)e->serial, fw_acl_ways[way]);
	else
		cs_str_putf(out, "\"%s\" : %s", e->ifname, pass[way]);
}
