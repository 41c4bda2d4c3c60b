/* SPDX-License-Identifier: Apache-2.0
 *
 * The firewall's life and its transactions. */
#include "network/firewall.h"

#include <string.h>

#include "base/log.h"
#include "network/firewall_internal.h"

static bool good_table(const char *t)
{
	size_t n = strspn(t, "abcdefghijklmnopqrstuvwxyz0123456789-");

	return n > 0 && n < 32 && t[n] == '\0' && t[0] >= 'a';
}

int cs_firewall_open(const struct cs_firewall_config *config, struct cs_firewall **ret, struct cs_err **err)
{
	struct cs_firewall *fw;

	if (cs_empty(config->table) || !good_table(config->table))
		return cs_fail(err, CS_ERR_INVALID, 0, "firewall: table name %s", cs_empty(config->table) ? "is missing" : config->table);
	fw = cs_xcalloc(1, sizeof(*fw));
	fw->enabled = config->enabled;
	fw->restored = config->restored;
	fw->behind = config->behind;
	fw->bridges = config->bridges;
	fw->arg = config->arg;
	fw->balance = FW_BALANCE_UNKNOWN;
	fw_bpf_init(&fw->bpf, config->bpf_dir);
	fw->stop[0] = fw->stop[1] = fw->events = -EBADF;
	memcpy(fw->table, config->table, strlen(config->table));
	pthread_mutex_init(&fw->lock, NULL);
	if (fw->enabled && fw_nl_open(&fw->nl, err) < 0) {
		cs_firewall_close(fw);
		return -1;
	}
	*ret = fw;
	return 0;
}

/* ---- transactions ---- */

static void own_generation(struct cs_firewall *fw, uint32_t before)
{
	uint32_t after;

	/* more than one step: somebody else's came between, and is not taken for ours; then the monitor looks once in vain */
	if (fw_nl_generation(&fw->nl, &after, NULL) == 0 && after == before + 1)
		fw->own[fw->n_own++ % FW_OWN_GENERATIONS] = after;
}

static int run_own(struct cs_firewall *fw, const char *script, struct cs_err **err)
{
	uint32_t before = 0;
	int r;

	(void)fw_nl_generation(&fw->nl, &before, NULL);
	r = fw_script_run(script, err);
	if (r == 0) /* else the next step may be somebody's who took the table away */
		own_generation(fw, before);
	return r;
}

/* The balancers' rules as our last transaction made them, so that they can be left alone when somebody changes something else. */
static uint64_t new_balance(struct cs_firewall *fw)
{
	uint64_t content = fw_kernel_balance(&fw->nl, fw->table);
	uint32_t now = 0;

	/* somebody's transaction since, or together with ours: they may be his */
	if (fw_nl_generation(&fw->nl, &now, NULL) < 0 || fw->n_own == 0 || fw->own[(fw->n_own - 1) % FW_OWN_GENERATIONS] != now)
		return FW_BALANCE_UNKNOWN;
	return content;
}

/* Balancers are to be made anew: connections go another way meanwhile. Without, some may be lost. */
static bool stand_in(struct cs_firewall *fw, const struct fw_kernel *k)
{
	cs_autostr struct cs_str script = CS_STR_INIT(FW_SCRIPT_MAX);

	return fw_script_aside(&script, fw->table, &fw->store, k) && !script.failed && run_own(fw, script.buf, NULL) == 0;
}

static void stand_down(struct cs_firewall *fw)
{
	cs_autostr struct cs_str script = CS_STR_INIT(4096);
	cs_autoerr struct cs_err *why = NULL;

	fw_script_aside_end(&script, fw->table);
	if (run_own(fw, script.buf, &why) < 0) /* the next repair does it */
		cs_debug("network", "firewall: table %s: %s", fw->table, why->msg);
}

/* Changes what is wrong in tables that are there and of this version. False: they are not, or it cannot be done. */
static bool repair(struct cs_firewall *fw, bool thorough, const struct fw_acl_text *acls)
{
	cs_autostr struct cs_str script = CS_STR_INIT(FW_SCRIPT_MAX);
	cs_autoerr struct cs_err *why = NULL;
	struct fw_kernel k = {0};
	bool same = false;
	int r = fw_kernel_read(&fw->nl, fw->table, fw_script_version(), &fw->store, &same, &k, &why);

	if (r == 0 && same) {
		uint64_t left = fw_script_repair(&script, fw->table, &fw->store, &k, thorough ? fw->balance : FW_BALANCE_ANY, acls);
		bool aside = left == FW_BALANCE_UNKNOWN && stand_in(fw, &k);
		r = script.failed ? -1 : run_own(fw, script.buf, &why);
		if (r == 0 && aside)
			stand_down(fw);
		if (r == 0)
			fw->balance = left == FW_BALANCE_UNKNOWN ? new_balance(fw) : left;
	}
	fw_kernel_done(&k);
	if (r < 0 && why) {
		cs_autofree char *text = cs_err_text(why);

		cs_debug("network", "firewall: table %s cannot be repaired: %s", fw->table, text);
	}
	return r == 0 && same;
}

static int rebuild(struct cs_firewall *fw, bool thorough, struct cs_err **err)
{
	cs_autostr struct cs_str script = CS_STR_INIT(FW_SCRIPT_MAX), chains = CS_STR_INIT(FW_SCRIPT_MAX);
	cs_autostr struct cs_str verdict_in = CS_STR_INIT(FW_SCRIPT_MAX), verdict_out = CS_STR_INIT(FW_SCRIPT_MAX);
	struct cs_str *verdicts[2] = {&verdict_in, &verdict_out};

	for (struct fw_endpoint *e = fw->endpoints; e; e = e->hh.next) {
		for (int way = 0; fw_acl_has(e) && way < 2; way++) {
			fw_acl_put_chain(&chains, e, way);
			cs_str_puts(verdicts[way], verdicts[way]->len ? ", " : "");
			fw_acl_put_verdict(verdicts[way], e, way);
		}
	}
	const struct fw_acl_text acls = {chains.len ? chains.buf : "", verdicts[0]->len ? verdicts[0]->buf : "", verdicts[1]->len ? verdicts[1]->buf : ""};
	if (chains.failed || verdicts[0]->failed || verdicts[1]->failed)
		return cs_fail(err, CS_ERR_INTERNAL, ENOMEM, "firewall: the rules are too large");
	if (repair(fw, thorough, &acls))
		return 0;
	fw_script_rebuild(&script, fw->table, &fw->store, &acls);
	if (script.failed)
		return cs_fail(err, CS_ERR_INTERNAL, ENOMEM, "firewall: the rules are too large");
	if (run_own(fw, script.buf, err) < 0)
		return -1;
	fw->balance = new_balance(fw);
	return 0;
}

int fw_rebuild(struct cs_firewall *fw, bool thorough, struct cs_err **err)
{
	if (rebuild(fw, thorough, err) < 0)
		return -1;
	fw->chains = fw_script_chains(&fw->store);
	return 0;
}

/* Does the transaction fill a set whose chain is not in the tables yet? */
static bool wants_chain(const struct cs_firewall *fw)
{
	for (size_t i = 0; i < fw->store.n_touched; i++) {
		if (fw_touched_adds(&fw->store.touched[i]) && fw_script_chain_of(fw->store.touched[i].item->set) & ~fw->chains)
			return true;
	}
	return false;
}

static int bring(struct cs_firewall *fw, const char *script, struct cs_err **err)
{
	cs_autostr struct cs_str all = CS_STR_INIT(FW_SCRIPT_MAX);

	if (!script)
		return fw_nl_apply(&fw->nl, fw->table, fw->store.touched, fw->store.n_touched, err);
	fw_script_changes(&all, fw->table, fw->store.touched, fw->store.n_touched);
	cs_str_puts(&all, script);
	return run_own(fw, all.buf, err);
}

/* The store's transaction and the script, in the kernel. */
static int carry_out(struct cs_firewall *fw, const char *script, struct cs_err **err)
{
	cs_autoerr struct cs_err *why = NULL;
	int r = 0;

	if (fw->enabled && fw->settled && (fw->store.n_touched > 0 || script)) {
		bool more = wants_chain(fw);

		r = more ? fw_rebuild(fw, false, err) : bring(fw, script, &why);
		/* The kernel does not have what we left there. For scripts libnftables hides the errno; trying the whole costs nothing but time. */
		if (r < 0 && !more && (script || why->sys == ENOENT || why->sys == EEXIST || why->sys == EBUSY)) {
			cs_autofree char *text = cs_err_text(why);

			cs_debug("network", "firewall: %s: building table %s anew", text, fw->table);
			r = fw_rebuild(fw, true, err);
		} else if (r < 0 && !more) {
			(void)cs_err_move(err, TAKE_PTR(why));
		}
	}
	return r;
}

static void tell(struct cs_firewall *fw)
{
	if ((fw->failed || fw_bpf_behind(&fw->bpf)) && fw->behind)
		fw->behind(fw->arg);
}

static void keep(struct cs_firewall *fw)
{
	if (fw->enabled && fw->settled)
		fw_bpf_follow(&fw->bpf, &fw->store);
	fw_store_commit(&fw->store);
	tell(fw);
}

int fw_commit(struct cs_firewall *fw, const char *script, struct cs_err **err)
{
	if (carry_out(fw, script, err) < 0) {
		fw_store_abort(&fw->store);
		fw->failed = true; /* it may have been the answer that was lost */
		tell(fw);
		return -1;
	}
	keep(fw);
	return 0;
}

int fw_withdraw(struct cs_firewall *fw, const char *script, struct cs_err **err)
{
	int r = carry_out(fw, script, err);

	fw->failed |= r < 0;
	keep(fw);
	return r;
}

static int settle(struct cs_firewall *fw, struct cs_err **err)
{
	if (!fw->enabled) {
		fw->settled = true;
		return 0;
	}
	fw->failed = fw_note_bridged(fw, err) < 0 || fw_commit(fw, NULL, err) < 0 || fw_rebuild(fw, false, err) < 0;
	if (fw->failed)
		return -1;
	fw->settled = true;
	for (struct fw_network *n = fw->networks; n; n = n->hh.next)
		fw_open_loopback(n);
	fw_bpf_start(&fw->bpf, &fw->store);
	return fw->monitored ? 0 : fw_monitor_start(fw, err);
}

int cs_firewall_settle(struct cs_firewall *fw, struct cs_err **err)
{
	FW_LOCKED(fw);

	return settle(fw, err);
}

bool cs_firewall_bridges_ours(struct cs_firewall *fw)
{
	FW_LOCKED(fw);

	return fw->enabled && fw->settled && !fw->failed && fw->monitored && !fw->foreign_bridges;
}

int fw_mend(struct cs_firewall *fw, struct cs_err **err) { return fw->failed ? settle(fw, err) : 0; }

int cs_firewall_mend(struct cs_firewall *fw, struct cs_err **err)
{
	FW_LOCKED(fw);

	if (!fw->settled || !fw->enabled)
		return 0;
	if (fw_mend(fw, err) < 0)
		return -1;
	return fw_bpf_mend(&fw->bpf, &fw->store, err);
}

int cs_firewall_delete_tables(struct cs_firewall *fw, struct cs_err **err)
{
	cs_autostr struct cs_str script = CS_STR_INIT(1024);
	FW_LOCKED(fw);

	fw->settled = false;
	fw_bpf_stop(&fw->bpf);
	if (!fw->enabled)
		return 0;
	fw_script_delete(&script, fw->table);
	return run_own(fw, script.buf, err);
}

/* ---- published ports ---- */

#define PORT_ELEMENTS_MAX 80 /* trusted interfaces of a network, and four more */

/* All elements of one published port. */
static size_t port_elements(const struct fw_network *n, const struct cs_firewall_port *p, struct fw_elem *out)
{
	bool v4 = p->to.family == AF_INET;
	enum cs_firewall_mode mode = !n ? CS_FW_NAT : v4 ? n->spec.mode4 : n->spec.mode6;
	size_t k = 0;

	if (mode != CS_FW_ROUTED) {
		bool any = fw_addr_is_any(&p->host);
		struct fw_elem *e = &out[k++];

		*e = fw_elem(any ? (v4 ? FW_any4 : FW_any6) : (v4 ? FW_port4 : FW_port6));
		if (!any)
			(void)fw_put_addr(e, &p->host);
		(void)fw_put_port(fw_put_addr(fw_put_port(fw_put_proto(e, p->proto), p->host_port), &p->to), p->to_port);
		if (any && v4 && p->by_loopback6) {
			out[k] = fw_elem(FW_lo46);
			(void)fw_put_port(fw_put_addr(fw_put_port(fw_put_proto(&out[k], p->proto), p->host_port), &p->to), p->to_port);
			k++;
		}
	}
	if (mode == CS_FW_ROUTED || (n && n->spec.direct)) {
		out[k] = fw_elem(v4 ? FW_open4 : FW_open6);
		(void)fw_put_port(fw_put_proto(fw_put_addr(&out[k], &p->to), p->proto), p->to_port);
		k++;
	}
	for (size_t i = 0; n && n->trusted && n->trusted[i] && k < PORT_ELEMENTS_MAX; i++, k++) {
		out[k] = fw_elem(v4 ? FW_trusted4 : FW_trusted6);
		(void)fw_put_port(fw_put_proto(fw_put_addr(fw_put_ifname(&out[k], n->trusted[i]), &p->to), p->proto), p->to_port);
	}
	return k;
}

static struct fw_network *find_network(struct cs_firewall *fw, const char *bridge)
{
	struct fw_network *n = NULL;

	if (bridge)
		HASH_FIND_STR(fw->networks, bridge, n);
	return n;
}

static int check_port(const struct fw_network *n, const struct cs_firewall_port *p, struct cs_err **err)
{
	char text[FW_ADDR_TEXT];

	if (!fw_proto_text(p->proto))
		return cs_fail(err, CS_ERR_INVALID, 0, "publish port: protocol %u is not tcp, udp or sctp", p->proto);
	if (!n)
		return cs_fail(err, CS_ERR_NOT_FOUND, 0, "publish port %u/%s: no network %s", p->host_port, fw_proto_text(p->proto), p->bridge ? p->bridge : "");
	if (n->spec.internal)
		return cs_fail(err, CS_ERR_UNSUPPORTED, 0, "publish port %u/%s: network %s is internal", p->host_port, fw_proto_text(p->proto), p->bridge);
	if ((p->to.family != AF_INET && p->to.family != AF_INET6) || p->to_port == 0)
		return cs_fail(err, CS_ERR_INVALID, 0, "publish port: no container address or port");
	if ((p->to.family == AF_INET ? n->spec.mode4 : n->spec.mode6) == CS_FW_ROUTED)
		return 0;
	if (p->host.family != p->to.family || p->host_port == 0)
		return cs_fail(err, CS_ERR_INVALID, 0, "publish port %u/%s on %s: the container's address is of another family, or the port is 0", p->host_port,
		               fw_proto_text(p->proto), fw_addr_text(&p->host, text));
	return 0;
}

static int ref_port(struct cs_firewall *fw, const struct cs_firewall_port *p, struct cs_err **err)
{
	const struct fw_network *n = find_network(fw, p->bridge);
	struct fw_elem elems[PORT_ELEMENTS_MAX];
	size_t k;

	if (check_port(n, p, err) < 0)
		return -1;
	k = port_elements(n, p, elems);
	for (size_t i = 0; i < k; i++) {
		cs_autoerr struct cs_err *why = NULL;
		enum fw_set_id set = elems[i].set;
		bool shared = set == FW_open4 || set == FW_open6 || set == FW_trusted4 || set == FW_trusted6;
		char text[FW_ADDR_TEXT];

		if (!shared && fw_store_has(&fw->store, &elems[i]))
			return cs_fail(err, CS_ERR_CONFLICT, 0, "port %u/%s on %s is published already", p->host_port, fw_proto_text(p->proto), fw_addr_text(&p->host, text));
		if (fw_store_ref(&fw->store, &elems[i], &why) < 0)
			return cs_err_move(err, TAKE_PTR(why));
	}
	return 0;
}

static int ref_ports(struct cs_firewall *fw, const struct cs_firewall_port *p, size_t n, struct cs_err **err)
{
	for (size_t i = 0; i < n; i++) {
		if (ref_port(fw, &p[i], err) < 0) {
			fw_store_abort(&fw->store);
			return -1;
		}
	}
	return 0;
}

static void unref_ports(struct cs_firewall *fw, const struct cs_firewall_port *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct fw_network *net = find_network(fw, p[i].bridge);
		struct fw_elem elems[PORT_ELEMENTS_MAX];
		size_t k;

		if (p[i].host.family != p[i].to.family && !(net && (p[i].to.family == AF_INET ? net->spec.mode4 : net->spec.mode6) == CS_FW_ROUTED))
			continue;
		k = port_elements(net, &p[i], elems);
		for (size_t j = 0; j < k; j++)
			(void)fw_store_unref(&fw->store, &elems[j]);
	}
}

int cs_firewall_ports_add(struct cs_firewall *fw, const struct cs_firewall_port *p, size_t n, struct cs_err **err)
{
	FW_LOCKED(fw);

	if (ref_ports(fw, p, n, err) < 0 || fw_commit(fw, NULL, err) < 0)
		return -1;
	if (fw->enabled && fw->settled)
		fw_nl_forget_udp(&fw->nl, p, n);
	return 0;
}

int cs_firewall_ports_remove(struct cs_firewall *fw, const struct cs_firewall_port *p, size_t n, struct cs_err **err)
{
	FW_LOCKED(fw);

	unref_ports(fw, p, n);
	if (fw_withdraw(fw, NULL, err) < 0)
		return -1;
	if (fw->enabled && fw->settled)
		fw_nl_forget_udp(&fw->nl, p, n);
	return 0;
}

static int compare_addrs(const struct cs_fw_addr *a, const struct cs_fw_addr *b)
{
	return a->family != b->family ? (a->family < b->family ? -1 : 1) : memcmp(a->bytes, b->bytes, a->family == AF_INET ? 4 : 16);
}

static int compare_ports(const void *x, const void *y)
{
	const struct cs_firewall_port *a = x, *b = y;
	const int32_t numbers[][2] = {{a->proto, b->proto}, {a->host_port, b->host_port}, {a->to_port, b->to_port}};
	int c = 0;

	for (size_t i = 0; i < CS_ARRAY_SIZE(numbers) && c == 0; i++)
		c = numbers[i][0] - numbers[i][1];
	if (c == 0)
		c = compare_addrs(&a->host, &b->host);
	return c ? c : compare_addrs(&a->to, &b->to);
}

static struct cs_firewall_port *sorted_ports(const struct cs_firewall_port *p, size_t n)
{
	struct cs_firewall_port *v = cs_xcalloc(n + 1, sizeof(*v));

	if (n) {
		memcpy(v, p, n * sizeof(*v));
		qsort(v, n, sizeof(*v), compare_ports);
	}
	return v;
}

/* Of those that lead elsewhere from now on, or nowhere; who stays with a container keeps its flows. */
static void forget_moved(struct cs_firewall *fw, const struct cs_firewall_port *p, size_t n, const struct cs_firewall_port *other, size_t n_other)
{
	cs_autofree struct cs_firewall_port *v = sorted_ports(other, n_other), *moved = cs_xcalloc(n + 1, sizeof(*moved));
	size_t k = 0;

	for (size_t i = 0; i < n; i++) {
		if (!bsearch(&p[i], v, n_other, sizeof(*v), compare_ports))
			moved[k++] = p[i];
	}
	fw_nl_forget_udp(&fw->nl, moved, k);
}

int cs_firewall_ports_swap(struct cs_firewall *fw, const struct cs_firewall_port *old, size_t n_old, const struct cs_firewall_port *now, size_t n, struct cs_err **err)
{
	FW_LOCKED(fw);

	unref_ports(fw, old, n_old);
	if (ref_ports(fw, now, n, err) < 0 || fw_commit(fw, NULL, err) < 0)
		return -1;
	if (fw->enabled && fw->settled) {
		forget_moved(fw, old, n_old, now, n);
		forget_moved(fw, now, n, old, n_old);
	}
	return 0;
}
