/* SPDX-License-Identifier: Apache-2.0
 *
 * The fixed rules. What they must hold (docs/firewall.md says it to users):
 *  1. We accept nothing over a chain of the host's: an accept ends our chain only, our chains come after those of the usual firewalls.
 *  2. Traffic that has nothing to do with our bridges leaves each chain at its first rules. So does nearly all that containers send and get: each look
 *     into a set costs 50 ns and more of a packet whose whole way takes a few thousand (tests/bench/network_bench.py).
 *  3. Which network, endpoint or port something is stands in sets only; no rule names one.
 *  4. With br_netfilter, frames between containers of one bridge pass the inet chains as well, where iif and oif are the bridge, and in
 *     postrouting iif is nothing. */
#include "network/firewall_script.h"

#include <limits.h>
#include <nftables/libnftables.h>
#include <pthread.h>
#include <string.h>

#include "base/late.h"

/* Protocols are numbers: their names come from /etc/protocols, which a minimal system has not. */
#define WITH_PORTS "{ 6, 17, 132 }" /* TCP, UDP, SCTP */
#define PORTS "meta l4proto " WITH_PORTS " "

/* nft 1.0.6 cannot add a rule with one of these maps when it has to learn the map's type from the kernel ("conflicting protocols specified"), so chain and maps
 * are made together or not at all. Under names of their own they stand in while that is done. */
#define BALANCE(chain, aside)                                                                                                                       \
	"chain " chain " {\n" PORTS "dnat ip to ip daddr . meta l4proto . th dport . numgen random mod 420 map @" aside "balance4\n" PORTS            \
	"dnat ip to ip daddr . meta l4proto . th dport . jhash ip saddr mod 420 map @" aside "sticky4\n" PORTS                                         \
	"dnat ip6 to ip6 daddr . meta l4proto . th dport . numgen random mod 420 map @" aside "balance6\n" PORTS                                       \
	"dnat ip6 to ip6 daddr . meta l4proto . th dport . jhash ip6 saddr mod 420 map @" aside "sticky6\n"                                            \
	"}\n"
#define ASIDE "aside_"
#define ASIDE_CHAIN "balance_aside"
static const char balance_chain[] = BALANCE("balance", ""), aside_chain[] = BALANCE(ASIDE_CHAIN, ASIDE);
#define TRANSLATE(balance)                                                                                                                          \
	"chain translate {\n"                                                                                                                         \
	"fib daddr type local jump published\n"                                                                                                       \
	"goto " balance "\n"                                                                                                                          \
	"}\n"
#define BALANCE_RULES 4
static const enum fw_set_id balance_maps[] = {FW_balance4, FW_balance6, FW_sticky4, FW_sticky6};

static const char inet_chains[] =
	/* Published on loopback: for the host itself. Somebody outside may send to 127.0.0.1 with a route of his own making, and the host may have
	 * route_localnet everywhere (kube-proxy sets it), so loopback is never translated for what comes in. And our bridges have it, without which
	 * 127.0.0.1 could not be translated; it would open the host's loopback to them. Endpoints' frames to or from there are dropped where they come in
	 * (bridge prerouting, which looks at them anyway), first packets of connections from other ports of the bridge here, and where such ports are
	 * known to be, all packets in raw. The kernel takes ::1 from nobody (RFC 4291, 2.5.3). */
	"chain prerouting { type nat hook prerouting priority -95; policy accept;\n"
	"ip daddr 127.0.0.0/8 goto loopback\n"
	"ip6 daddr ::1 accept\n"
	"meta l4proto != " WITH_PORTS " accept\n"
	"goto translate\n"
	"}\n"
	"chain loopback {\n"
	"iifname @bridges drop\n"
	"}\n"
	"chain output { type nat hook output priority -95; policy accept;\n"
	"meta l4proto != " WITH_PORTS " accept\n"
	"goto translate\n"
	"}\n"
	TRANSLATE("balance")
	"chain published {\n" PORTS "dnat ip to ip daddr . meta l4proto . th dport map @port4\n"
	"meta nfproto ipv4 " PORTS "dnat ip to meta l4proto . th dport map @any4\n" PORTS
	"dnat ip6 to ip6 daddr . meta l4proto . th dport map @port6\n"
	"meta nfproto ipv6 " PORTS "dnat ip6 to meta l4proto . th dport map @any6\n"
	"}\n"
	"chain postrouting { type nat hook postrouting priority 105; policy accept;\n"
	"oifname @bridges goto inward\n"
	"iifname != @bridges accept\n"
	"meta nfproto ipv4 snat ip to iifname map @snat4\n"
	"meta nfproto ipv4 iifname @masquerade4 masquerade\n"
	"meta nfproto ipv6 snat ip6 to iifname map @snat6\n"
	"meta nfproto ipv6 iifname @masquerade6 masquerade\n"
	"}\n"
	/* Clients outside keep their address. The host itself and containers (hairpin) get the gateway's: a loopback address cannot leave, and the
	 * answer must come back here even where the container has a shorter way to the client. */
	"chain inward {\n"
	"ct status & dnat == 0 accept\n"
	"iif 0 masquerade\n"
	"iifname @bridges masquerade\n"
	"fib saddr type local masquerade\n" /* where the kernel says an iif for what the host sends */
	"}\n"
	"chain forward { type filter hook forward priority 20; policy accept;\n"
	"ct state established,related accept\n"
	"oifname @bridges goto to_us\n"
	"iifname @bridges goto from_us\n"
	"meta nfproto != @closed accept\n"
	"iifgroup " CS_STR(CS_FIREWALL_GROUP) " accept\n" /* another instance's bridges */
	"oifgroup " CS_STR(CS_FIREWALL_GROUP) " accept\n"
	/* a frame within one bridge looks like a packet from it to it, and nft cannot compare the two */
	"meta nfproto @bridged meta iifkind \"bridge\" meta oifkind \"bridge\" accept\n"
	"drop\n"
	"}\n"
	"chain to_us {\n"
	"iifname . oifname @within accept\n"
	"iifname @internal drop\n"
	"oifname @internal drop\n"
	"ct status & dnat == dnat accept\n" PORTS "ip daddr . meta l4proto . th dport @open4 accept\n" PORTS "ip6 daddr . meta l4proto . th dport @open6 accept\n" PORTS
	"iifname . ip daddr . meta l4proto . th dport @trusted4 accept\n" PORTS "iifname . ip6 daddr . meta l4proto . th dport @trusted6 accept\n" PORTS
	"ip saddr . ip daddr . meta l4proto . th dport @linked4 accept\n" PORTS "ip6 saddr . ip6 daddr . meta l4proto . th dport @linked6 accept\n"
	"meta l4proto 1 oifname @routed4 accept\n"
	"meta l4proto 58 oifname @routed6 accept\n"
	"iifname . oifname @apart drop\n"
	"meta nfproto ipv4 oifname @unprotected4 accept\n"
	"meta nfproto ipv6 oifname @unprotected6 accept\n"
	"drop\n"
	"}\n"
	"chain from_us {\n"
	"iifname @internal drop\n"
	"ct state invalid drop\n" /* would go out without translation */
	"}\n";

static const char raw_chain[] =
	"chain raw { type filter hook prerouting priority -305; policy accept;\n"
	"ip daddr 127.0.0.0/8 goto loopback\n"
	"ip saddr 127.0.0.0/8 goto loopback\n"
	"}\n";

static const char input_chain[] =
	"chain input { type filter hook input priority 20; policy accept;\n"
	"iifname != @confined accept\n"
	"meta nfproto ipv4 iifname @isolated4 drop\n"
	"meta nfproto ipv6 iifname @isolated6 drop\n"
	"iifname @internal fib daddr . iif type != { local, broadcast, multicast } drop\n"
	"}\n";

#define ND "nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit"
#define MLD "mld-listener-query, mld-listener-report, mld-listener-done, mld2-listener-report"
#define FLOW(direction, addr, peer, own) direction " . " addr " . meta l4proto . th " peer " . th " own

static const char bridge_chains[] =
	"set flows4 { type ifname . ipv4_addr . inet_proto . inet_service . inet_service; size 65536; flags dynamic,timeout; timeout 3m; }\n"
	"set flows6 { type ifname . ipv6_addr . inet_proto . inet_service . inet_service; size 65536; flags dynamic,timeout; timeout 3m; }\n"
	"chain prerouting { type filter hook prerouting priority -300; policy accept;\n"
	"meta priority ca15:1 accept\n" /* CS_FIREWALL_PASSED */
	"ip daddr != 127.0.0.0/8 iif . ip saddr @passing4 accept\n"
	"meta l4proto != 58 iif . ip6 saddr @passing6 accept\n"
	"ip daddr 127.0.0.0/8 goto loopback\n"
	"ip saddr 127.0.0.0/8 goto loopback\n"
	"iifname @guarded jump guard\n"
	"iifname @filtered goto leaving\n"
	"}\n"
	"chain loopback {\n"
	"iifname \"" CS_FIREWALL_PORT "*\" drop\n"
	"}\n"
	"chain guard {\n"
	"iifname . ether saddr != @macs drop\n"
	"ether type arp goto guard_arp\n"
	"ether type ip goto guard4\n"
	"ether type ip6 goto guard6\n"
	"drop\n"
	"}\n"
	"chain guard_arp {\n"
	"iifname . arp saddr ether != @macs drop\n"
	"arp saddr ip 0.0.0.0 return\n" /* is the address free? (RFC 5227) */
	"iifname . arp saddr ip @sources4 return\n"
	"drop\n"
	"}\n"
	"chain guard4 {\n"
	"iifname . ip saddr @sources4 return\n"
	"ip saddr 0.0.0.0 udp sport 68 udp dport 67 return\n"
	"drop\n"
	"}\n"
	"chain guard6 {\n"
	"icmpv6 type { nd-router-advert, nd-redirect } drop\n" /* CVE-2020-13401 */
	"icmpv6 type nd-neighbor-advert iifname . @th,64,128 != @targets6 drop\n"
	"iifname . ip6 saddr @sources6 return\n"
	"ip6 saddr :: icmpv6 type { nd-neighbor-solicit, nd-router-solicit, mld-listener-report, mld2-listener-report } return\n"
	"drop\n"
	"}\n"
	"chain separate {\n"
	"ether type arp accept\n"
	"icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept\n" PORTS "ip saddr . ip daddr . meta l4proto . th dport @links4 accept\n" PORTS
	"ip daddr . ip saddr . meta l4proto . th sport @links4 accept\n" PORTS "ip6 saddr . ip6 daddr . meta l4proto . th dport @links6 accept\n" PORTS
	"ip6 daddr . ip6 saddr . meta l4proto . th sport @links6 accept\n"
	"drop\n"
	"}\n"
	"chain exempt {\n"
	"ether type arp accept\n"
	"icmpv6 type { " ND ", " MLD ", destination-unreachable, packet-too-big, time-exceeded, parameter-problem, echo-reply } accept\n"
	"icmp type { destination-unreachable, time-exceeded, parameter-problem, echo-reply } accept\n"
	"ip frag-off & 0x1fff != 0 accept\n" /* nothing without its first fragment */
	"}\n"
	"chain leaving {\n"
	"jump exempt\n" PORTS FLOW("iifname", "ip daddr", "dport", "sport") " @flows4 goto leaving_known\n" PORTS FLOW("iifname", "ip6 daddr", "dport", "sport") " @flows6 goto leaving_known\n"
	"iifname vmap @acl_out\n"
	"drop\n" /* its chain may be so new that this packet, which began before it, sees no rules there */
	"}\n"
	"chain leaving_known {\n"
	"meta l4proto 6 update @flows4 { " FLOW("iifname", "ip daddr", "dport", "sport") " timeout 2h }\n"
	"meta l4proto 6 update @flows6 { " FLOW("iifname", "ip6 daddr", "dport", "sport") " timeout 2h }\n"
	"meta l4proto { 17, 132 } update @flows4 { " FLOW("iifname", "ip daddr", "dport", "sport") " timeout 3m }\n"
	"meta l4proto { 17, 132 } update @flows6 { " FLOW("iifname", "ip6 daddr", "dport", "sport") " timeout 3m }\n"
	"accept\n"
	"}\n"
	"chain entering {\n"
	"jump exempt\n" PORTS FLOW("oifname", "ip saddr", "sport", "dport") " @flows4 goto entering_known\n" PORTS FLOW("oifname", "ip6 saddr", "sport", "dport") " @flows6 goto entering_known\n"
	"oifname vmap @acl_in\n"
	"drop\n"
	"}\n"
	"chain entering_known {\n"
	"meta l4proto 6 update @flows4 { " FLOW("oifname", "ip saddr", "sport", "dport") " timeout 2h }\n"
	"meta l4proto 6 update @flows6 { " FLOW("oifname", "ip6 saddr", "sport", "dport") " timeout 2h }\n"
	"meta l4proto { 17, 132 } update @flows4 { " FLOW("oifname", "ip saddr", "sport", "dport") " timeout 3m }\n"
	"meta l4proto { 17, 132 } update @flows6 { " FLOW("oifname", "ip6 saddr", "sport", "dport") " timeout 3m }\n"
	"accept\n"
	"}\n";

/* ACLs. What they let pass is remembered with its peer, whichever side began, and the peer's packets pass without asking again. */
static const char entering_chain[] =
	"chain postrouting { type filter hook postrouting priority 300; policy accept;\n"
	"oifname @filtered goto entering\n"
	"}\n";

/* icc off; there may be no conntrack for bridges, so a link is a pair of stateless rules */
static const char bridge_forward_chain[] =
	"chain forward { type filter hook forward priority 0; policy accept;\n"
	"iifname @separated goto separate\n"
	"}\n";

/* Base chains that are there only while a set has elements: each costs a packet 50 ns and more, the one at input every packet that comes to the host. */
static const struct optional {
	enum fw_set_id set;
	const char *name, *text;
} optional[] = {{FW_shared, "raw", raw_chain}, {FW_confined, "input", input_chain}, {FW_separated, "forward", bridge_forward_chain}, {FW_filtered, "postrouting", entering_chain}};

unsigned fw_script_chain_of(unsigned set)
{
	for (unsigned i = 0; i < CS_ARRAY_SIZE(optional); i++) {
		if (optional[i].set == set)
			return 1u << i;
	}
	return 0;
}

unsigned fw_script_chains(const struct fw_store *s)
{
	unsigned found = 0;

	for (size_t i = 0; i < s->cap; i++) {
		if (s->slots[i] && s->slots[i]->refs > 0)
			found |= fw_script_chain_of(s->slots[i]->set);
	}
	return found;
}

enum wanted { ALL, MISSING };

static bool is_balance_map(unsigned set)
{
	for (size_t i = 0; i < CS_ARRAY_SIZE(balance_maps); i++) {
		if (set == balance_maps[i])
			return true;
	}
	return false;
}

static void put_set(struct cs_str *out, const struct fw_store *s, unsigned set, const char *prefix, bool all)
{
	const char *sep = "elements = { ";

	fw_format_set(out, set, prefix);
	for (size_t i = 0; s && i < s->cap; i++) {
		const struct fw_item *it = s->slots[i];

		if (!it || it->set != set || it->refs == 0 || (!all && it->there))
			continue;
		cs_str_puts(out, sep);
		fw_format_elem(out, set, it->bytes, it->bytes + it->klen);
		sep = ", ";
	}
	cs_str_puts(out, *sep == ',' ? " } }\n" : "}\n");
}

/* All sets of a table, with all elements, or those that are not there yet. */
static void put_sets(struct cs_str *out, const struct fw_store *s, bool bridge, enum wanted what, bool balance)
{
	for (unsigned set = 0; set < FW_SET_MAX; set++) {
		if (fw_set_is_in(set, bridge))
			put_set(out, s, set, "", what == ALL || (balance && is_balance_map(set)));
	}
}

void fw_script_delete(struct cs_str *out, const char *table)
{
	/* add first: deleting what is not there would be an error */
	cs_str_putf(out, "add table inet %s\ndelete table inet %s\nadd table bridge %s\ndelete table bridge %s\n", table, table, table, table);
}

static void put_verdicts(struct cs_str *out, const char *name, const char *elements)
{
	cs_str_putf(out, "map %s { type ifname : verdict; ", name);
	if (*elements)
		cs_str_putf(out, "elements = { %s } ", elements);
	cs_str_puts(out, "}\n");
}

static void put_optional(struct cs_str *out, bool bridge, unsigned chains)
{
	for (unsigned i = 0; i < CS_ARRAY_SIZE(optional); i++) {
		if (fw_sets[optional[i].set].bridge == bridge && chains & 1u << i)
			cs_str_puts(out, optional[i].text);
	}
}

/* s: NULL gives everything but elements. */
static void put_tables(struct cs_str *out, const char *table, const struct fw_store *s, enum wanted what, bool balance, const struct fw_acl_text *acls, const char *version)
{
	unsigned chains = s ? fw_script_chains(s) : UINT_MAX;

	cs_str_putf(out, "table inet %s {\ncomment \"%s\"\n", table, version);
	put_sets(out, s, false, what, balance);
	if (balance)
		cs_str_puts(out, balance_chain);
	cs_str_puts(out, inet_chains);
	put_optional(out, false, chains);
	cs_str_putf(out, "}\ntable bridge %s {\ncomment \"%s\"\n", table, version);
	put_sets(out, s, true, what, false);
	put_verdicts(out, "acl_in", acls->in);
	put_verdicts(out, "acl_out", acls->out);
	cs_str_puts(out, acls->chains);
	cs_str_puts(out, bridge_chains);
	put_optional(out, true, chains);
	cs_str_puts(out, "}\n");
}

static char version_text[17];

static void make_version(void)
{
	static const struct fw_acl_text none = {"", "", ""};
	cs_autostr struct cs_str s = CS_STR_INIT(FW_SCRIPT_MAX);
	uint64_t h = 14695981039346656037u; /* FNV-1a */

	put_tables(&s, "", NULL, ALL, true, &none, "");
	for (size_t i = 0; i < s.len; i++)
		h = (h ^ (uint8_t)s.buf[i]) * 1099511628211u;
	(void)snprintf(version_text, sizeof(version_text), "%016llx", (unsigned long long)h);
}

const char *fw_script_version(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	(void)pthread_once(&once, make_version);
	return version_text;
}

void fw_script_rebuild(struct cs_str *out, const char *table, const struct fw_store *s, const struct fw_acl_text *acls)
{
	fw_script_delete(out, table);
	put_tables(out, table, s, ALL, true, acls, fw_script_version());
}

static bool is_balance(const struct fw_kernel_chain *c) { return !c->bridge && strcmp(c->name, "balance") == 0; }

/* Is it one of the fixed chains that shall be there? */
static bool is_fixed(const struct fw_kernel_chain *c, unsigned chains)
{
	for (unsigned i = 0; i < CS_ARRAY_SIZE(optional); i++) {
		if (fw_sets[optional[i].set].bridge == c->bridge && strcmp(optional[i].name, c->name) == 0)
			return chains & 1u << i;
	}
	cs_autofree char *line = cs_xasprintf("chain %s {", c->name);

	return is_balance(c) || strstr(c->bridge ? bridge_chains : inet_chains, line);
}

static bool is_aside(const struct fw_kernel_chain *c) { return !c->bridge && strcmp(c->name, ASIDE_CHAIN) == 0; }

static void delete_aside_maps(struct cs_str *out, const char *table)
{
	for (size_t i = 0; i < CS_ARRAY_SIZE(balance_maps); i++)
		cs_str_putf(out, "delete map inet %s " ASIDE "%s\n", table, fw_sets[balance_maps[i]].name);
}

bool fw_script_aside(struct cs_str *out, const char *table, const struct fw_store *s, const struct fw_kernel *k)
{
	bool any = false;

	for (size_t i = 0; i < s->cap; i++)
		any = any || (s->slots[i] && s->slots[i]->refs > 0 && is_balance_map(s->slots[i]->set));
	for (size_t i = 0; i < k->n_chains; i++) /* left by somebody who was killed: the repair takes it away */
		any = any && !is_aside(&k->chains[i]);
	if (!any)
		return false;
	cs_str_putf(out, "flush chain inet %s translate\ntable inet %s {\n", table, table);
	for (size_t i = 0; i < CS_ARRAY_SIZE(balance_maps); i++)
		put_set(out, s, balance_maps[i], ASIDE, true);
	cs_str_puts(out, aside_chain);
	cs_str_puts(out, TRANSLATE(ASIDE_CHAIN) "}\n");
	return true;
}

void fw_script_aside_end(struct cs_str *out, const char *table)
{
	cs_str_putf(out, "delete chain inet %s " ASIDE_CHAIN "\n", table);
	delete_aside_maps(out, table);
}

/* Rules are replaced in all chains at once, by the number of the generation that a packet reads when it enters a base chain, and the sets are the same for
 * old and new rules. A base chain that is deleted and added again has no rules before, or after, for a packet that is just on its way through the two. */
uint64_t fw_script_repair(struct cs_str *out, const char *table, const struct fw_store *s, const struct fw_kernel *k, uint64_t known, const struct fw_acl_text *acls)
{
	unsigned chains = fw_script_chains(s);
	uint64_t left = FW_BALANCE_UNKNOWN;

	for (size_t i = 0; i < k->n_chains; i++) {
		if (is_balance(&k->chains[i]) && k->chains[i].rules == BALANCE_RULES && (known == FW_BALANCE_ANY || k->chains[i].content == known))
			left = k->chains[i].content;
	}
	bool balance = left == FW_BALANCE_UNKNOWN;

	for (size_t i = 0; i < k->n_chains; i++) {
		if (balance || !is_balance(&k->chains[i]))
			cs_str_putf(out, "flush chain %s %s %s\n", k->chains[i].bridge ? "bridge" : "inet", table, k->chains[i].name);
	}
	for (size_t i = 0; balance && i < CS_ARRAY_SIZE(balance_maps); i++)
		cs_str_putf(out, "delete map inet %s %s\n", table, fw_sets[balance_maps[i]].name);
	cs_str_putf(out, "flush map bridge %s acl_in\nflush map bridge %s acl_out\n", table, table);
	for (size_t i = 0; i < k->n_chains; i++) {
		if (!is_fixed(&k->chains[i], chains))
			cs_str_putf(out, "delete chain %s %s %s\n", k->chains[i].bridge ? "bridge" : "inet", table, k->chains[i].name);
		if (is_aside(&k->chains[i]))
			delete_aside_maps(out, table);
	}
	for (size_t i = 0; i < k->n_foreign; i++) {
		const struct fw_elem *e = &k->foreign[i];

		if (balance && is_balance_map(e->set))
			continue;
		cs_str_putf(out, "delete element %s %s %s { ", fw_sets[e->set].bridge ? "bridge" : "inet", table, fw_sets[e->set].name);
		fw_format_elem(out, e->set, e->bytes, e->bytes + e->klen);
		cs_str_puts(out, " }\n");
	}
	put_tables(out, table, s, MISSING, balance, acls, fw_script_version());
	return left;
}

void fw_script_changes(struct cs_str *out, const char *table, const struct fw_touched *t, size_t n)
{
	for (int add = 0; add < 2; add++) {
		for (size_t i = 0; i < n; i++) {
			const struct fw_item *it = t[i].item;
			const struct fw_set *set = &fw_sets[it->set];

			if (it->set == FW_lo46 || !(add ? fw_touched_adds(&t[i]) : fw_touched_deletes(&t[i])))
				continue;
			cs_str_putf(out, "%s element %s %s %s { ", add ? "add" : "delete", set->bridge ? "bridge" : "inet", table, set->name);
			fw_format_elem(out, it->set, it->bytes, !add && t[i].changed ? t[i].data : it->bytes + it->klen);
			cs_str_puts(out, " }\n");
		}
	}
}

#define NFT(X) X(nft_ctx_new) X(nft_ctx_free) X(nft_ctx_buffer_error) X(nft_ctx_buffer_output) X(nft_ctx_get_error_buffer) X(nft_run_cmd_from_buffer)
struct nft_lib {
	NFT(CS_LATE_MEMBER)
};
#define ROW(f) CS_LATE_ROW(struct nft_lib, f)
static const struct cs_late_symbol nft_symbols[] = {NFT(ROW){NULL, 0}};
static struct cs_late nft_late = {.name = "libnftables.so.1", .symbols = nft_symbols, CS_LATE_INIT};

int fw_script_run(const char *script, struct cs_err **err)
{
	struct nft_lib nft = {0};
	struct nft_ctx *ctx;
	int r = 0;

	if (cs_late_get(&nft_late, &nft, err) < 0)
		return -1;
	ctx = nft.nft_ctx_new(NFT_CTX_DEFAULT);
	if (!ctx || nft.nft_ctx_buffer_error(ctx) != 0 || nft.nft_ctx_buffer_output(ctx) != 0) {
		r = cs_fail(err, CS_ERR_INTERNAL, 0, "libnftables does not start");
	} else if (nft.nft_run_cmd_from_buffer(ctx, script) != 0) {
		const char *text = nft.nft_ctx_get_error_buffer(ctx);

		r = cs_fail(err, CS_ERR_INTERNAL, 0, "nftables: %.*s", (int)CS_MIN(strcspn(text, "\n"), (size_t)400), text);
	}
	if (ctx)
		nft.nft_ctx_free(ctx);
	cs_late_put(&nft_late);
	return r;
}
