/* SPDX-License-Identifier: Apache-2.0
 *
 * What is reachable from where, told as JSON. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/netfilter.h>
#include <string.h>

#include "base/io.h"
#include "base/json.h"
#include "network/firewall_internal.h"
#include "network/firewall_legacy.h"

struct row {
	uint8_t proto;
	struct cs_fw_addr host, to;
	uint16_t host_port, to_port;
	bool routed;
};

static uint16_t port_at(const uint8_t *at) { return (uint16_t)(at[0] << 8 | at[1]); }

static struct cs_fw_addr addr_at(const uint8_t *at, bool v4)
{
	struct cs_fw_addr a = {.family = v4 ? AF_INET : AF_INET6};

	memcpy(a.bytes, at, v4 ? 4 : 16);
	return a;
}

/* An element of the published ports' maps as a row; false for other sets. */
static bool row_of(const struct fw_item *it, struct row *r)
{
	bool v4 = it->set == FW_any4 || it->set == FW_port4 || it->set == FW_open4;
	size_t size = v4 ? 4 : 16;
	const uint8_t *key = it->bytes, *data = it->bytes + it->klen;

	*r = (struct row){.host = {.family = v4 ? AF_INET : AF_INET6}};
	switch (it->set) {
	case FW_port4:
	case FW_port6:
		r->host = addr_at(key, v4);
		key += size;
		/* fall through */
	case FW_any4:
	case FW_any6:
		r->proto = key[0];
		r->host_port = port_at(key + 4);
		r->to = addr_at(data, v4);
		r->to_port = port_at(data + size);
		return true;
	case FW_open4:
	case FW_open6:
		r->routed = true;
		r->host = r->to = addr_at(key, v4);
		r->proto = key[size];
		r->host_port = r->to_port = port_at(key + size + 4);
		return true;
	default: return false;
	}
}

static int compare_rows(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	if (x->host_port != y->host_port)
		return x->host_port < y->host_port ? -1 : 1;
	if (x->proto != y->proto)
		return x->proto < y->proto ? -1 : 1;
	if (x->host.family != y->host.family)
		return x->host.family == AF_INET ? -1 : 1;
	return memcmp(x->host.bytes, y->host.bytes, sizeof(x->host.bytes));
}

static bool is_loopback(const struct cs_fw_addr *a)
{
	return a->family == AF_INET ? a->bytes[0] == 127 : IN6_IS_ADDR_LOOPBACK(&a->v6);
}

struct owners { /* endpoints by address */
	struct cs_fw_addr addr;
	const struct fw_endpoint *e;
};

static int compare_owners(const void *a, const void *b)
{
	const struct owners *x = a, *y = b;

	return x->addr.family != y->addr.family ? (x->addr.family < y->addr.family ? -1 : 1) : memcmp(x->addr.bytes, y->addr.bytes, sizeof(x->addr.bytes));
}

static size_t list_owners(struct cs_firewall *fw, struct owners **ret)
{
	struct owners *v = cs_xcalloc((size_t)HASH_COUNT(fw->endpoints) * 2 + 1, sizeof(*v));
	size_t n = 0;

	for (const struct fw_endpoint *e = fw->endpoints; e; e = e->hh.next) {
		if (e->v4.family)
			v[n++] = (struct owners){addr_at(e->v4.bytes, true), e};
		if (e->v6.family)
			v[n++] = (struct owners){addr_at(e->v6.bytes, false), e};
	}
	qsort(v, n, sizeof(*v), compare_owners);
	*ret = v;
	return n;
}

static void put_row(struct cs_str *out, const struct row *r, const struct owners *owners, size_t n_owners)
{
	struct owners key = {.addr = r->to};
	const struct owners *o = bsearch(&key, owners, n_owners, sizeof(*owners), compare_owners);
	char text[FW_ADDR_TEXT];

	cs_str_puts(out, out->buf[out->len - 1] == '[' ? "{" : ",{");
	cs_json_put_kstr(out, "Protocol", fw_proto_text(r->proto));
	cs_json_put_kstr(out, "HostAddress", r->routed ? "" : fw_addr_text(&r->host, text));
	cs_json_put_ki64(out, "HostPort", r->routed ? 0 : r->host_port);
	cs_json_put_kstr(out, "Address", fw_addr_text(&r->to, text));
	cs_json_put_ki64(out, "Port", r->to_port);
	cs_json_put_kstr(out, "Endpoint", o ? o->e->id : "");
	cs_json_put_kstr(out, "Name", o && o->e->name ? o->e->name : "");
	cs_json_put_kstr(out, "Bridge", o ? o->e->bridge : "");
	cs_json_put_key(out, "ReachableFrom");
	cs_str_puts(out, !r->routed && is_loopback(&r->host) ? "[\"host\"]}" : "[\"host\",\"containers\",\"outside\"]}");
}

static void put_ports(struct cs_firewall *fw, struct cs_str *out)
{
	cs_autofree struct owners *owners = NULL;
	cs_autofree struct row *rows = cs_xcalloc(fw->store.n + 1, sizeof(*rows));
	size_t n = 0, n_owners = list_owners(fw, &owners);

	for (size_t i = 0; i < fw->store.cap; i++) {
		if (fw->store.slots[i] && row_of(fw->store.slots[i], &rows[n]))
			n++;
	}
	qsort(rows, n, sizeof(*rows), compare_rows);
	cs_json_put_key(out, "Ports");
	cs_str_putc(out, '[');
	for (size_t i = 0; i < n; i++)
		put_row(out, &rows[i], owners, n_owners);
	cs_str_putc(out, ']');
}

static void put_chain(struct cs_str *out, const struct fw_chain *c)
{
	cs_str_puts(out, out->buf[out->len - 1] == '[' ? "{" : ",{");
	cs_json_put_kstr(out, "Family", c->family == NFPROTO_INET ? "inet" : c->family == NFPROTO_IPV4 ? "ip" : "ip6");
	cs_json_put_kstr(out, "Table", c->table);
	cs_json_put_kstr(out, "Chain", c->name);
	cs_json_put_kstr(out, "Hook", c->hook == NF_INET_FORWARD ? "forward" : "input");
	cs_json_put_ki64(out, "Priority", c->priority);
	cs_json_put_kstr(out, "Drops", c->drops_policy ? "policy" : "last rule");
	cs_str_putc(out, '}');
}

static void warn(struct cs_str *out, const char *fmt, ...) CS_PRINTF(2, 3);
static void warn(struct cs_str *out, const char *fmt, ...)
{
	cs_autostr struct cs_str text = CS_STR_INIT(4096);
	va_list ap;

	va_start(ap, fmt);
	cs_str_vputf(&text, fmt, ap);
	va_end(ap);
	cs_str_puts(out, out->buf[out->len - 1] == '[' ? "" : ",");
	cs_json_put_string(out, text.buf);
}

static bool setting_is(const char *path, const char *value)
{
	cs_autostr struct cs_str s = CS_STR_INIT(64);

	return cs_read_file_at(AT_FDCWD, path, &s) == 0 && s.len > 0 && s.buf[0] == value[0];
}

/* Of the host's chains only those in forward concern published ports: traffic to containers never passes input. */
static void warn_chain(struct cs_str *out, const struct fw_chain *c)
{
	const char *family = c->family == NFPROTO_INET ? "inet" : c->family == NFPROTO_IPV4 ? "ip" : "ip6";
	cs_autofree char *where = cs_xasprintf("%s %s %s", family, c->table, c->name);

	if (c->hook != NF_INET_FORWARD)
		return;
	if (strcmp(c->table, "firewalld") == 0)
		warn(out,
		     "the host's firewall (firewalld, chain %s) drops forwarded traffic that no zone allows: put the bridges into a zone that does, and published ports into a "
		     "policy to it: firewall-cmd --permanent --zone=trusted --add-interface=<bridge>",
		     where);
	else if (strcmp(c->table, "filter") == 0 && c->family != NFPROTO_INET)
		warn(out,
		     "the host's firewall (iptables or ufw, chain %s) drops forwarded traffic that it does not allow: allow it with 'ufw route allow in on <bridge>' and, for each "
		     "published port, 'ufw route allow proto <protocol> to <container address> port <container port>', or the like in chain FORWARD",
		     where);
	else
		warn(out, "the host's firewall (chain %s) drops forwarded traffic that it does not allow: allow it there, with 'iifname <bridge> accept' and, for published ports, 'ct status dnat accept'",
		     where);
}

/* The old interface's tables, which no netlink tells of: a policy that drops counts as a chain, of rules only that there are some. */
static void put_legacy(struct cs_str *out, struct cs_str *warnings)
{
	for (int v6 = 0; v6 < 2; v6++) {
		const char *program = v6 ? "ip6tables-legacy" : "iptables-legacy";
		struct fw_legacy l;

		fw_legacy_look(v6, &l);
		if (l.forward_drops) {
			struct fw_chain c = {.family = v6 ? NFPROTO_IPV6 : NFPROTO_IPV4, .table = "filter", .name = "FORWARD", .hook = NF_INET_FORWARD, .drops_policy = true};
			put_chain(out, &c);
			warn_chain(warnings, &c);
		}
		if (l.rules.len)
			warn(warnings, "the host has rules of %s in %s, which are not looked into here: what they drop does not reach containers (%s-save shows them)", program,
			     l.rules.buf, program);
		fw_legacy_done(&l);
	}
}

int cs_firewall_reachability(struct cs_firewall *fw, struct cs_str *out, struct cs_err **err)
{
	cs_autostr struct cs_str warnings = CS_STR_INIT(1 << 20);
	struct fw_chain *found = NULL;
	cs_autofree struct fw_chain *chains = NULL;
	size_t n = 0;
	bool intact = false;
	FW_LOCKED(fw);

	if (fw->enabled && (fw_nl_dropping_chains(&fw->nl, fw->table, &found, &n, err) < 0 || fw_nl_has_tables(&fw->nl, fw->table, &intact, err) < 0)) {
		free(found);
		return -1;
	}
	chains = found;
	cs_str_putc(out, '{');
	cs_json_put_kbool(out, "Enabled", fw->enabled);
	cs_json_put_kstr(out, "Table", fw->table);
	cs_json_put_kbool(out, "Intact", intact);
	put_ports(fw, out);
	cs_json_put_key(out, "HostChains");
	cs_str_putc(out, '[');
	for (size_t i = 0; i < n; i++)
		put_chain(out, &chains[i]);
	cs_str_putc(&warnings, '[');
	if (!fw->enabled)
		warn(&warnings, "the firewall is switched off: no port is published by it, and networks are not isolated");
	if (!setting_is("/proc/sys/net/ipv4/ip_forward", "1"))
		warn(&warnings, "net.ipv4.ip_forward is 0: IPv4 traffic is not forwarded to containers");
	if (fw->enabled && fw_bpf_missing(&fw->bpf))
		warn(&warnings, "published ports of containers without an IPv6 address cannot be reached through ::1, which needs BPF programs at a cgroup2: %s", cs_errno_text(fw_bpf_missing(&fw->bpf)));
	if (fw->enabled && !fw->bpf.six && setting_is("/proc/sys/net/bridge/bridge-nf-call-ip6tables", "1"))
		warn(&warnings, "net.bridge.bridge-nf-call-ip6tables is 1: ports published on IPv6 cannot be reached through ::1");
	for (size_t i = 0; i < n; i++)
		warn_chain(&warnings, &chains[i]);
	put_legacy(out, &warnings);
	cs_str_putc(out, ']');
	cs_json_put_key(out, "Warnings");
	cs_str_puts(out, warnings.buf);
	cs_str_puts(out, "]}");
	return out->failed || warnings.failed ? cs_fail(err, CS_ERR_INTERNAL, ENOMEM, "reachability: the answer is too long") : 0;
}

int cs_firewall_loopback6_missing(struct cs_firewall *fw)
{
	FW_LOCKED(fw);

	return fw->enabled ? fw_bpf_missing(&fw->bpf) : 0;
}
