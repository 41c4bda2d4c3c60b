/* SPDX-License-Identifier: Apache-2.0
 *
 * Networks, endpoints, links and balancers, and the elements each of them is. A change takes the old elements away and puts the new ones in; what
 * is in both never reaches the kernel. */
#include "network/firewall_internal.h"

#include <string.h>

#include "base/strv.h"

typedef int (*elem_fn)(struct cs_firewall *fw, const struct fw_elem *e, struct cs_err **err);

static int ref(struct cs_firewall *fw, const struct fw_elem *e, struct cs_err **err) { return fw_store_ref(&fw->store, e, err); }
static int unref(struct cs_firewall *fw, const struct fw_elem *e, struct cs_err **err)
{
	(void)fw_store_unref(&fw->store, e);
	return 0;
}

static int one(struct cs_firewall *fw, enum fw_set_id set, const char *ifname, elem_fn fn, struct cs_err **err)
{
	struct fw_elem e = fw_elem(set);

	return fn(fw, fw_put_ifname(&e, ifname), err);
}

static int with_addr(struct cs_firewall *fw, enum fw_set_id set, const char *ifname, const struct cs_fw_addr *a, elem_fn fn, struct cs_err **err)
{
	struct fw_elem e = fw_elem(set);

	return fn(fw, fw_put_addr(fw_put_ifname(&e, ifname), a), err);
}

/* ---- networks ---- */

static void network_free(struct fw_network *n)
{
	if (!n)
		return;
	free(n->bridge);
	cs_strv_free(n->trusted);
	free(n);
}

static int network_elements(struct cs_firewall *fw, const struct fw_network *n, elem_fn fn, struct cs_err **err)
{
	const struct cs_firewall_network *s = &n->spec;
	struct cs_fw_addr snat4 = fw_addr4(s->snat4), snat6 = fw_addr6(&s->snat6);
	const struct {
		enum fw_set_id set;
		bool in;
	} sets[] = {
		{FW_bridges, true},
		{FW_shared, s->shared},
		{FW_internal, s->internal},
		{FW_masquerade4, s->masquerade4 && s->mode4 != CS_FW_ROUTED && !s->internal},
		{FW_masquerade6, s->masquerade6 && s->mode6 != CS_FW_ROUTED && !s->internal},
		{FW_isolated4, s->mode4 == CS_FW_ISOLATED},
		{FW_isolated6, s->mode6 == CS_FW_ISOLATED},
		{FW_confined, s->internal || s->mode4 == CS_FW_ISOLATED || s->mode6 == CS_FW_ISOLATED},
		{FW_routed4, s->mode4 == CS_FW_ROUTED},
		{FW_routed6, s->mode6 == CS_FW_ROUTED},
		{FW_unprotected4, s->mode4 == CS_FW_UNPROTECTED},
		{FW_unprotected6, s->mode6 == CS_FW_UNPROTECTED},
	};

	for (size_t i = 0; i < CS_ARRAY_SIZE(sets); i++) {
		if (sets[i].in && one(fw, sets[i].set, n->bridge, fn, err) < 0)
			return -1;
	}
	struct fw_elem self = fw_elem(s->icc ? FW_within : FW_apart);

	if (fn(fw, fw_put_ifname(fw_put_ifname(&self, n->bridge), n->bridge), err) < 0)
		return -1;
	if (snat4.family && s->masquerade4 && s->mode4 != CS_FW_ROUTED && with_addr(fw, FW_snat4, n->bridge, &snat4, fn, err) < 0)
		return -1;
	return snat6.family && s->masquerade6 && s->mode6 != CS_FW_ROUTED ? with_addr(fw, FW_snat6, n->bridge, &snat6, fn, err) : 0;
}

/* ---- endpoints ---- */

static void endpoint_free(struct fw_endpoint *e)
{
	if (!e)
		return;
	free(e->id);
	free(e->name);
	free(e->ifname);
	free(e->bridge);
	free(e->sandbox);
	free(e->more);
	free(e->rules[0]);
	free(e->rules[1]);
	free(e);
}

/* e may send as a. */
static int source(struct cs_firewall *fw, const struct fw_endpoint *e, const struct cs_fw_addr *a, elem_fn fn, struct cs_err **err)
{
	bool v4 = a->family == AF_INET;

	if (!v4 && a->family != AF_INET6)
		return 0;
	if (e->ifindex && !fw_acl_has(e)) {
		struct fw_elem own = fw_elem(v4 ? FW_passing4 : FW_passing6);

		if (fn(fw, fw_put_addr(fw_put_ifindex(&own, e->ifindex), a), err) < 0)
			return -1;
	}
	if (with_addr(fw, v4 ? FW_sources4 : FW_sources6, e->ifname, a, fn, err) < 0)
		return -1;
	return v4 ? 0 : with_addr(fw, FW_targets6, e->ifname, a, fn, err);
}

/* The link-local address that the kernel makes of a MAC (RFC 4291, appendix A). */
static struct cs_fw_addr link_local(const uint8_t mac[6])
{
	struct cs_fw_addr a = {.family = AF_INET6};
	const uint8_t bytes[16] = {0xfe, 0x80, 0, 0, 0, 0, 0, 0, mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]};

	memcpy(a.bytes, bytes, sizeof(bytes));
	return a;
}

/* e may send with the addresses of o (itself, or another endpoint of its sandbox). */
static int sources_of(struct cs_firewall *fw, const struct fw_endpoint *e, const struct fw_endpoint *o, elem_fn fn, struct cs_err **err)
{
	if (source(fw, e, &o->v4, fn, err) < 0 || source(fw, e, &o->v6, fn, err) < 0)
		return -1;
	for (size_t i = 0; i < o->n_more; i++) {
		if (source(fw, e, &o->more[i], fn, err) < 0)
			return -1;
	}
	return 0;
}

static struct fw_sandbox *find_sandbox(struct cs_firewall *fw, const char *id)
{
	struct fw_sandbox *s = NULL;

	if (!cs_empty(id))
		HASH_FIND_STR(fw->sandboxes, id, s);
	return s;
}

static int endpoint_elements(struct cs_firewall *fw, const struct fw_endpoint *e, elem_fn fn, struct cs_err **err)
{
	struct fw_network *n = NULL;
	struct fw_sandbox *s = find_sandbox(fw, e->sandbox);

	HASH_FIND_STR(fw->networks, e->bridge, n);
	if (n && !n->spec.icc && one(fw, FW_separated, e->ifname, fn, err) < 0)
		return -1;
	if (fw_acl_has(e) && one(fw, FW_filtered, e->ifname, fn, err) < 0)
		return -1;
	if (!e->antispoof)
		return 0;
	struct fw_elem mac = fw_elem(FW_macs);
	struct cs_fw_addr ll = link_local(e->mac);
	if (one(fw, FW_guarded, e->ifname, fn, err) < 0 || fn(fw, fw_put_mac(fw_put_ifname(&mac, e->ifname), e->mac), err) < 0 || sources_of(fw, e, e, fn, err) < 0)
		return -1;
	if (e->v6.family && source(fw, e, &ll, fn, err) < 0)
		return -1;
	for (const struct fw_endpoint *o = s ? s->first : NULL; o; o = o->next_in_sandbox) {
		if (o != e && sources_of(fw, e, o, fn, err) < 0)
			return -1;
	}
	return 0;
}

static int siblings(struct cs_firewall *fw, const char *sandbox, elem_fn fn, struct cs_err **err)
{
	struct fw_sandbox *s = find_sandbox(fw, sandbox);

	for (const struct fw_endpoint *o = s ? s->first : NULL; o; o = o->next_in_sandbox) {
		if (endpoint_elements(fw, o, fn, err) < 0)
			return -1;
	}
	return 0;
}

static void insert(struct cs_firewall *fw, struct fw_endpoint *e)
{
	struct fw_sandbox *s = find_sandbox(fw, e->sandbox);

	HASH_ADD_KEYPTR(hh, fw->endpoints, e->id, strlen(e->id), e);
	if (cs_empty(e->sandbox))
		return;
	if (!s) {
		s = cs_xcalloc(1, sizeof(*s));
		s->id = cs_xstrdup(e->sandbox);
		HASH_ADD_KEYPTR(hh, fw->sandboxes, s->id, strlen(s->id), s);
	}
	e->next_in_sandbox = s->first;
	s->first = e;
}

static void take_out(struct cs_firewall *fw, struct fw_endpoint *e)
{
	struct fw_sandbox *s = find_sandbox(fw, e->sandbox);

	HASH_DEL(fw->endpoints, e);
	if (!s)
		return;
	for (struct fw_endpoint **at = &s->first; *at; at = &(*at)->next_in_sandbox) {
		if (*at == e) {
			*at = e->next_in_sandbox;
			break;
		}
	}
	if (!s->first) {
		HASH_DEL(fw->sandboxes, s);
		free(s->id);
		free(s);
	}
}

static struct fw_endpoint *endpoint_new(struct cs_firewall *fw, const struct cs_firewall_endpoint *spec, struct cs_err **err)
{
	struct fw_endpoint *e = cs_xcalloc(1, sizeof(*e));

	if (fw_acl_rules(spec->acls, spec->n_acls, &e->rules[0], &e->rules[1], err) < 0) {
		endpoint_free(e);
		return NULL;
	}
	e->id = cs_xstrdup(spec->id);
	e->name = cs_xstrdup(spec->name);
	e->ifname = cs_xstrdup(spec->ifname);
	e->bridge = cs_xstrdup(spec->bridge);
	e->sandbox = cs_xstrdup(spec->sandbox);
	e->ifindex = spec->ifindex;
	e->antispoof = spec->antispoof;
	memcpy(e->mac, spec->mac, sizeof(e->mac));
	e->v4 = fw_addr4(spec->v4);
	e->v6 = fw_addr6(&spec->v6);
	if (spec->n_more) {
		e->more = cs_xcalloc(spec->n_more, sizeof(*e->more));
		memcpy(e->more, spec->more, spec->n_more * sizeof(*e->more));
		e->n_more = spec->n_more;
	}
	e->serial = ++fw->serial;
	return e;
}

/* The chains of an endpoint's ACLs come (before the verdict that jumps there) and go (after it). */
static void acl_script(struct cs_str *out, const char *table, const struct fw_endpoint *e, bool add)
{
	for (int way = 0; e && fw_acl_has(e) && way < 2; way++) {
		if (add && e->rules[way]) {
			cs_str_putf(out, "table bridge %s {\n", table);
			fw_acl_put_chain(out, e, way);
			cs_str_puts(out, "}\n");
		}
		cs_str_putf(out, "%s element bridge %s acl_%s { ", add ? "add" : "delete", table, fw_acl_ways[way]);
		fw_acl_put_verdict(out, e, way);
		cs_str_puts(out, " }\n");
		if (!add && e->rules[way])
			cs_str_putf(out, "delete chain bridge %s acl%llu_%s\n", table, (unsigned long long)e->serial, fw_acl_ways[way]);
	}
}

/* From `old` to `e`, either of which may be NULL. On failure everything is as before, and e still the caller's; but what only goes is gone. */
static int change_endpoint(struct cs_firewall *fw, struct fw_endpoint *old, struct fw_endpoint *e, struct cs_err **err)
{
	cs_autostr struct cs_str script = CS_STR_INIT(FW_SCRIPT_MAX);
	const char *left = old ? old->sandbox : NULL, *joined = e ? e->sandbox : NULL;
	int r = 0;

	/* all of both sandboxes go and come back; what did not change cancels out */
	if (old) {
		(void)siblings(fw, left, unref, NULL);
		if (cs_empty(left))
			(void)endpoint_elements(fw, old, unref, NULL);
	}
	if (joined && !cs_streq(joined, left))
		(void)siblings(fw, joined, unref, NULL);
	if (old)
		take_out(fw, old);
	if (e)
		insert(fw, e);
	if (!cs_empty(left))
		r = siblings(fw, left, ref, err);
	if (r == 0 && !cs_empty(joined) && !cs_streq(joined, left))
		r = siblings(fw, joined, ref, err);
	if (r == 0 && e && cs_empty(joined))
		r = endpoint_elements(fw, e, ref, err);
	acl_script(&script, fw->table, old, false);
	acl_script(&script, fw->table, e, true);
	if (r < 0)
		fw_store_abort(&fw->store);
	else
		r = (e ? fw_commit : fw_withdraw)(fw, script.len ? script.buf : NULL, err);
	if (r < 0 && e) {
		take_out(fw, e);
		if (old)
			insert(fw, old);
	}
	return r;
}

int cs_firewall_endpoint_add(struct cs_firewall *fw, const struct cs_firewall_endpoint *spec, struct cs_err **err)
{
	struct fw_endpoint *old = NULL, *e;

	if (cs_empty(spec->id) || cs_empty(spec->ifname) || strlen(spec->ifname) >= IFNAMSIZ || strpbrk(spec->ifname, "\"\\\n") || cs_empty(spec->bridge))
		return cs_fail(err, CS_ERR_INVALID, 0, "firewall: endpoint without id, interface or bridge");
	FW_LOCKED(fw);
	if (fw_mend(fw, err) < 0)
		return cs_wrap(err, "the firewall is not there");
	HASH_FIND_STR(fw->endpoints, spec->id, old);
	e = endpoint_new(fw, spec, err);
	if (!e)
		return -1;
	if (change_endpoint(fw, old, e, err) < 0) {
		endpoint_free(e);
		return cs_wrap(err, "firewall: endpoint %s", spec->id);
	}
	endpoint_free(old);
	return 0;
}

int cs_firewall_endpoint_remove(struct cs_firewall *fw, const char *id, struct cs_err **err)
{
	struct fw_endpoint *old = NULL;
	FW_LOCKED(fw);

	HASH_FIND_STR(fw->endpoints, id, old);
	if (!old)
		return 0;
	int r = change_endpoint(fw, old, NULL, err);
	endpoint_free(old);
	return r < 0 ? cs_wrap(err, "firewall: endpoint %s", id) : 0;
}

/* ---- networks: with their endpoints, some of whose elements follow from the network ---- */

static int network_endpoints(struct cs_firewall *fw, const char *bridge, elem_fn fn, struct cs_err **err)
{
	for (struct fw_endpoint *e = fw->endpoints; e; e = e->hh.next) {
		if (strcmp(e->bridge, bridge) == 0 && endpoint_elements(fw, e, fn, err) < 0)
			return -1;
	}
	return 0;
}

static int change_network(struct cs_firewall *fw, struct fw_network *old, struct fw_network *n, struct cs_err **err)
{
	const char *bridge = n ? n->bridge : old->bridge;
	int r = 0;

	(void)network_endpoints(fw, bridge, unref, NULL);
	if (old) {
		(void)network_elements(fw, old, unref, NULL);
		HASH_DEL(fw->networks, old);
	}
	if (n) {
		HASH_ADD_KEYPTR(hh, fw->networks, n->bridge, strlen(n->bridge), n);
		r = fw_note_bridged(fw, err) < 0 ? -1 : network_elements(fw, n, ref, err);
	}
	if (r == 0)
		r = network_endpoints(fw, bridge, ref, err);
	if (r < 0)
		fw_store_abort(&fw->store);
	else
		r = (n ? fw_commit : fw_withdraw)(fw, NULL, err);
	if (r < 0 && n) {
		HASH_DEL(fw->networks, n);
		if (old)
			HASH_ADD_KEYPTR(hh, fw->networks, old->bridge, strlen(old->bridge), old);
	}
	return r;
}

int cs_firewall_network_add(struct cs_firewall *fw, const struct cs_firewall_network *spec, struct cs_err **err)
{
	struct fw_network *old = NULL, *n;

	if (cs_empty(spec->bridge) || strlen(spec->bridge) >= IFNAMSIZ || strpbrk(spec->bridge, "\"\\\n"))
		return cs_fail(err, CS_ERR_INVALID, 0, "firewall: network without a bridge");
	if (cs_strv_len(spec->trusted) > 64)
		return cs_fail(err, CS_ERR_INVALID, 0, "firewall: network %s: more than 64 trusted host interfaces", spec->bridge);
	if (spec->mode4 >= CS_FW_MODE_MAX || spec->mode6 >= CS_FW_MODE_MAX)
		return cs_fail(err, CS_ERR_INVALID, 0, "firewall: network %s: gateway mode", spec->bridge);
	FW_LOCKED(fw);
	HASH_FIND_STR(fw->networks, spec->bridge, old);
	n = cs_xcalloc(1, sizeof(*n));
	n->spec = *spec;
	n->spec.bridge = n->bridge = cs_xstrdup(spec->bridge);
	n->spec.trusted = n->trusted = cs_strv_copy(spec->trusted);
	if (change_network(fw, old, n, err) < 0) {
		network_free(n);
		return cs_wrap(err, "firewall: network %s", spec->bridge);
	}
	network_free(old);
	if (fw->enabled && fw->settled) {
		fw_open_loopback(n);
		fw_bpf_start(&fw->bpf, &fw->store);
	}
	return 0;
}

int cs_firewall_network_remove(struct cs_firewall *fw, const char *bridge, struct cs_err **err)
{
	struct fw_network *old = NULL;
	FW_LOCKED(fw);

	HASH_FIND_STR(fw->networks, bridge, old);
	if (!old)
		return 0;
	int r = change_network(fw, old, NULL, err);
	network_free(old);
	return r < 0 ? cs_wrap(err, "firewall: network %s", bridge) : 0;
}

/* ---- links ---- */

static struct fw_elem link_element(const struct cs_firewall_link *l, bool bridge)
{
	bool v4 = l->from.family == AF_INET;
	struct fw_elem e = fw_elem(bridge ? (v4 ? FW_links4 : FW_links6) : (v4 ? FW_linked4 : FW_linked6));

	return *fw_put_port(fw_put_proto(fw_put_addr(fw_put_addr(&e, &l->from), &l->to), l->proto), l->port);
}

static bool good_link(const struct cs_firewall_link *l)
{
	return (l->from.family == AF_INET || l->from.family == AF_INET6) && l->from.family == l->to.family && fw_proto_text(l->proto);
}

int cs_firewall_links_add(struct cs_firewall *fw, const struct cs_firewall_link *l, size_t n, struct cs_err **err)
{
	FW_LOCKED(fw);

	for (size_t i = 0; i < n; i++) {
		int r = good_link(&l[i]) ? 0 : cs_fail(err, CS_ERR_INVALID, 0, "firewall: link between families, or its protocol");

		for (int bridge = 0; bridge < 2 && r == 0; bridge++) {
			struct fw_elem e = link_element(&l[i], bridge);

			r = fw_store_ref(&fw->store, &e, err);
		}
		if (r < 0) {
			fw_store_abort(&fw->store);
			return -1;
		}
	}
	return fw_commit(fw, NULL, err);
}

int cs_firewall_links_remove(struct cs_firewall *fw, const struct cs_firewall_link *l, size_t n, struct cs_err **err)
{
	FW_LOCKED(fw);

	for (size_t i = 0; i < n; i++) {
		for (int bridge = 0; bridge < 2 && good_link(&l[i]); bridge++) {
			struct fw_elem e = link_element(&l[i], bridge);

			(void)fw_store_unref(&fw->store, &e);
		}
	}
	return fw_withdraw(fw, NULL, err);
}

/* ---- load balancers ---- */

static void balancer_free(struct fw_balancer *b)
{
	if (!b)
		return;
	free(b->id);
	free((void *)(uintptr_t)b->spec.ports);
	free((void *)(uintptr_t)b->spec.to);
	free(b);
}

static int balancer_elements(struct cs_firewall *fw, const struct fw_balancer *b, elem_fn fn, struct cs_err **err)
{
	const struct cs_firewall_lb *s = &b->spec;
	bool v4 = s->vip.family == AF_INET;

	for (size_t p = 0; p < s->n_ports; p++) {
		for (uint32_t slot = 0; slot < CS_FIREWALL_LB_SLOTS; slot++) {
			struct fw_elem e = fw_elem(s->sticky ? (v4 ? FW_sticky4 : FW_sticky6) : (v4 ? FW_balance4 : FW_balance6));

			(void)fw_put_slot(fw_put_port(fw_put_proto(fw_put_addr(&e, &s->vip), s->ports[p].proto), s->ports[p].port), slot);
			(void)fw_put_port(fw_put_addr(&e, &s->to[slot % s->n_to]), s->ports[p].to_port);
			if (fn(fw, &e, err) < 0)
				return -1;
		}
	}
	return 0;
}

static int check_balancer(const struct cs_firewall_lb *lb, struct cs_err **err)
{
	if (cs_empty(lb->id) || (lb->vip.family != AF_INET && lb->vip.family != AF_INET6) || lb->n_ports == 0)
		return cs_fail(err, CS_ERR_INVALID, 0, "load balancer without id, virtual address or ports");
	if (lb->n_to == 0 || lb->n_to > CS_FIREWALL_LB_SLOTS)
		return cs_fail(err, CS_ERR_INVALID, 0, "load balancer %s: %zu endpoints (1 to %d)", lb->id, lb->n_to, CS_FIREWALL_LB_SLOTS);
	for (size_t i = 0; i < lb->n_to; i++) {
		if (lb->to[i].family != lb->vip.family)
			return cs_fail(err, CS_ERR_INVALID, 0, "load balancer %s: an endpoint's address is not of the virtual address's family", lb->id);
	}
	for (size_t i = 0; i < lb->n_ports; i++) {
		if (!fw_proto_text(lb->ports[i].proto) || lb->ports[i].port == 0 || lb->ports[i].to_port == 0)
			return cs_fail(err, CS_ERR_INVALID, 0, "load balancer %s: port mapping %zu: protocol or port", lb->id, i + 1);
	}
	return 0;
}

static int change_balancer(struct cs_firewall *fw, struct fw_balancer *old, struct fw_balancer *b, struct cs_err **err)
{
	cs_autoerr struct cs_err *why = NULL;
	int r = 0;

	if (old)
		(void)balancer_elements(fw, old, unref, NULL);
	for (size_t p = 0; b && r == 0 && p < b->spec.n_ports; p++) { /* of two balancers, or twice in this */
		const struct cs_firewall_lb *s = &b->spec;
		bool v4 = s->vip.family == AF_INET;
		const enum fw_set_id sets[2] = {v4 ? FW_balance4 : FW_balance6, v4 ? FW_sticky4 : FW_sticky6};

		for (int i = 0; i < 2 && r == 0; i++) {
			struct fw_elem e = fw_elem(sets[i]);

			(void)fw_put_slot(fw_put_port(fw_put_proto(fw_put_addr(&e, &s->vip), s->ports[p].proto), s->ports[p].port), 0);
			if (fw_store_has(&fw->store, &e))
				r = cs_fail(err, CS_ERR_CONFLICT, 0, "load balancer %s: port %u/%s of its address has another one", b->id, s->ports[p].port, fw_proto_text(s->ports[p].proto));
		}
	}
	if (r == 0 && b && balancer_elements(fw, b, ref, &why) < 0)
		r = cs_err_move(err, TAKE_PTR(why));
	if (r < 0) {
		fw_store_abort(&fw->store);
		return -1;
	}
	return (b ? fw_commit : fw_withdraw)(fw, NULL, err);
}

int cs_firewall_lb_add(struct cs_firewall *fw, const struct cs_firewall_lb *lb, struct cs_err **err)
{
	struct fw_balancer *old = NULL, *b;
	struct cs_firewall_lb_port *ports;
	struct cs_fw_addr *to;

	if (check_balancer(lb, err) < 0)
		return -1;
	FW_LOCKED(fw);
	HASH_FIND_STR(fw->balancers, lb->id, old);
	ports = cs_xcalloc(lb->n_ports, sizeof(*ports));
	to = cs_xcalloc(lb->n_to, sizeof(*to));
	memcpy(ports, lb->ports, lb->n_ports * sizeof(*ports));
	memcpy(to, lb->to, lb->n_to * sizeof(*to));
	b = cs_xcalloc(1, sizeof(*b));
	b->spec = *lb;
	b->spec.id = b->id = cs_xstrdup(lb->id);
	b->spec.ports = ports;
	b->spec.to = to;
	if (change_balancer(fw, old, b, err) < 0) {
		balancer_free(b);
		return -1;
	}
	if (old)
		HASH_DEL(fw->balancers, old);
	HASH_ADD_KEYPTR(hh, fw->balancers, b->id, strlen(b->id), b);
	balancer_free(old);
	return 0;
}

int cs_firewall_lb_remove(struct cs_firewall *fw, const char *id, struct cs_err **err)
{
	struct fw_balancer *old = NULL;
	FW_LOCKED(fw);

	HASH_FIND_STR(fw->balancers, id, old);
	if (!old)
		return 0;
	int r = change_balancer(fw, old, NULL, err);
	HASH_DEL(fw->balancers, old);
	balancer_free(old);
	return r;
}

/* ---- the end ---- */

void cs_firewall_close(struct cs_firewall *fw)
{
	struct fw_network *n, *n2;
	struct fw_endpoint *e, *e2;
	struct fw_balancer *b, *b2;

	if (!fw)
		return;
	fw_monitor_stop(fw);
	HASH_ITER (hh, fw->endpoints, e, e2) {
		take_out(fw, e);
		endpoint_free(e);
	}
	HASH_ITER (hh, fw->networks, n, n2) {
		HASH_DEL(fw->networks, n);
		network_free(n);
	}
	HASH_ITER (hh, fw->balancers, b, b2) {
		HASH_DEL(fw->balancers, b);
		balancer_free(b);
	}
	fw_bpf_done(&fw->bpf, &fw->store);
	fw_store_done(&fw->store);
	fw_nl_close(&fw->nl);
	pthread_mutex_destroy(&fw->lock);
	free(fw);
}
