/* SPDX-License-Identifier: Apache-2.0
 *
 * An endpoint enters a namespace and leaves it. The order, and why:
 *   1. the interface is made, or taken from the warm pair, and its outer end plugged into the bridge: nothing can be sent yet;
 *   2. the firewall knows it: who may send what holds from the first packet on;
 *   3. sysctls; addresses, hardware address and "up" inside, in one request; the change announces itself (arp_notify) to a bridge that listens already;
 *   4. routes: the default route belongs to the endpoint with the highest priority, so another's coming or going may move it;
 *   5. names.
 * Leaving is the same backwards, but the default route moves first, so that a running container is never without. */
#include "network/edge.h"
#include "network/netns.h"

/* ---- default routes ---- */

static struct cs_ip gateway_of(const struct HcnEndpoint *e, uint8_t family)
{
	struct cs_prefix to;
	struct cs_ip via;

	/* a default route of its own comes first */
	for (size_t i = 0; i < e->doc.n_routes; i++)
		if (cs_prefix_parse(e->doc.routes[i].to, &to) && to.len == 0 && to.ip.family == family && cs_ip_parse(e->doc.routes[i].next_hop, &via))
			return via;
	if (cs_network_internal(e->net) || !(family == AF_INET ? e->v4 : e->v6).ip.family ||
	    (e->net->driver->bridge && (family == AF_INET ? e->net->pol.gw4 : e->net->pol.gw6) == CS_GW_ISOLATED))
		return (struct cs_ip){0};
	return cs_parent_routes(e->net) ? (struct cs_ip){0, family} : cs_network_gateway(e->net, family); /* the host routes: whoever is addressed */
}

/* Docker's order: priority, then the network's name. */
static bool goes_before(const struct HcnEndpoint *a, const struct HcnEndpoint *b)
{
	if (a->pol.gateway_priority != b->pol.gateway_priority)
		return a->pol.gateway_priority > b->pol.gateway_priority;
	int c = strcmp(a->net->doc.name ? a->net->doc.name : "", b->net->doc.name ? b->net->doc.name : "");
	return c ? c < 0 : strcmp(a->o.text, b->o.text) < 0;
}

static struct HcnEndpoint *elect(const struct HcnNamespace *ns, uint8_t family, const struct HcnEndpoint *without)
{
	struct HcnEndpoint *best = NULL;

	for (struct HcnEndpoint *e = ns->endpoints; e; e = e->next)
		if (e != without && gateway_of(e, family).family && (!best || goes_before(e, best)))
			best = e;
	return best;
}

static void default_route(struct cs_nl *b, const struct HcnEndpoint *e, uint8_t family)
{
	struct cs_prefix own = family == AF_INET ? e->v4 : e->v6;
	struct cs_ip via = gateway_of(e, family);
	struct cs_route r = {.to = {{0, family}, 0}, .index = e->inner};

	if (!cs_parent_routes(e->net)) {
		r.via = via;
		r.onlink = !cs_prefix_has(own, via);
	}
	cs_route_set(b, &r);
}

/* What changes when `without` (may be NULL) is no candidate any more. ns->gateway* follow when the batch has run. */
static void move_default(struct cs_nl *b, struct HcnNamespace *ns, const struct HcnEndpoint *without, struct HcnEndpoint *now[2])
{
	static const uint8_t families[] = {AF_INET, AF_INET6};

	for (size_t i = 0; i < 2; i++) {
		struct HcnEndpoint *old = families[i] == AF_INET ? ns->gateway4 : ns->gateway6;
		now[i] = elect(ns, families[i], without);
		if (now[i] && now[i] != old)
			default_route(b, now[i], families[i]);
	}
}

static void moved(struct HcnNamespace *ns, struct HcnEndpoint *const now[2])
{
	ns->gateway4 = now[0];
	ns->gateway6 = now[1];
}

/* Without `e`, which is on its way out: who lives on is never without. */
static void move_away(struct HcnNamespace *ns, const struct HcnEndpoint *e)
{
	struct HcnEndpoint *now[2];
	struct cs_nl b;

	cs_nl_init(&b, &ns->rt);
	move_default(&b, ns, e, now);
	if (cs_nl_run(&b, NULL) < 0) { /* once more, in case; in a namespace that dies there is nothing to move */
		move_default(&b, ns, e, now);
		cs_nl_try(&b);
	}
	moved(ns, now);
}

/* ---- the interface ---- */

static bool name_taken(const struct HcnNamespace *ns, const char *name)
{
	for (const struct HcnEndpoint *e = ns->endpoints; e; e = e->next)
		if (strcmp(e->inner_name, name) == 0)
			return true;
	return false;
}

/* The wanted name, or the network's prefix (eth) with the first number that is free. */
static HRESULT choose_name(const struct HcnNamespace *ns, const struct HcnEndpoint *e, char ret[IFNAMSIZ], struct cs_err **err)
{
	const char *wanted = e->pol.wanted_name, *prefix = cs_empty(e->net->pol.prefix) ? "eth" : e->net->pol.prefix;

	if (!cs_empty(wanted)) {
		if (name_taken(ns, wanted))
			return cs_hr_fail(err, HCN_E_NAMESPACE_ATTACH_FAILED, EEXIST, "interface name %s is taken", wanted);
		(void)snprintf(ret, IFNAMSIZ, "%s", wanted);
		return HCS_S_OK;
	}
	for (unsigned i = 0; i < 1000; i++) {
		(void)snprintf(ret, IFNAMSIZ, "%.11s%u", prefix, i);
		if (!name_taken(ns, ret))
			return HCS_S_OK;
	}
	return cs_hr_fail(err, HCN_E_NAMESPACE_ATTACH_FAILED, ENOSPC, "the namespace has a thousand interfaces");
}

/* net.ipv4.conf.IFNAME.log_martians=1 and the like; their form was checked when they were given. */
static HRESULT set_sysctls(struct HcnNamespace *ns, const struct HcnEndpoint *e, struct cs_err **err)
{
	const struct cs_strmap *m = e->pol.sysctls;
	size_t n = m ? m->n : 0;
	struct cs_sysctl *v = n ? cs_xcalloc(n, sizeof(*v)) : NULL;
	HRESULT hr = HCS_S_OK;
	cs_autostrv char **paths = NULL;

	for (size_t i = 0; i < n; i++) {
		cs_autostrv char **part = cs_strv_split(m->kv[i].key, '.');
		cs_strv_take(&paths, cs_xasprintf("%s/%s/%s/%s/%s", part[0], part[1], part[2], e->inner_name, part[4]));
		v[i] = (struct cs_sysctl){paths[i], m->kv[i].val, false};
	}
	if (n > 0 && cs_netns_sysctls(ns->nsfd, v, n, err) < 0)
		hr = HCN_E_NAMESPACE_ATTACH_FAILED;
	free(v);
	return hr;
}

static void add_addresses(struct cs_nl *b, const struct HcnEndpoint *e, int tolerate)
{
	struct cs_ip ip;

	if (e->v4.ip.family)
		cs_addr_add(b, e->inner, e->v4, tolerate);
	if (e->v6.ip.family)
		cs_addr_add(b, e->inner, e->v6, tolerate);
	for (char **l = e->pol.link_local; l && *l; l++)
		if (cs_ip_parse(*l, &ip))
			cs_addr_add(b, e->inner, (struct cs_prefix){ip, ip.family == AF_INET ? 16 : 64}, tolerate);
}

static void add_routes(struct cs_nl *b, const struct HcnEndpoint *e)
{
	for (size_t i = 0; i < e->doc.n_routes; i++) {
		const struct cs_doc_route *d = &e->doc.routes[i];
		struct cs_route r = {.index = e->inner, .metric = (uint32_t)d->metric};
		if (!cs_prefix_parse(d->to, &r.to) || r.to.len == 0)
			continue;
		if (cs_ip_parse(d->next_hop, &r.via))
			r.onlink = !cs_prefix_has(r.via.family == AF_INET ? e->v4 : e->v6, r.via);
		cs_route_set(b, &r);
	}
}

static bool is_first(const struct HcnEndpoint *e) { return e->net->driver->bridge && e->net->plugged == 1; }

/* Do port and bridge carry frames already? The pool's pairs do, and a bridge with other ports does. */
static bool carries(const struct HcnEndpoint *e) { return !e->outer || (e->warm && !is_first(e)); }

static int wait_carrier(struct HcnEndpoint *e, struct cs_err **err)
{
	cs_autortnl struct cs_rtnl r = {0};

	if (cs_host_rtnl(&r, err) < 0)
		return -1;
	if (!e->warm)
		cs_link_wait_up(&r, e->outer);
	if (is_first(e))
		cs_link_wait_up(&r, e->net->index);
	return 0;
}

static int reelect(struct HcnNamespace *ns, struct cs_err **err)
{
	struct HcnEndpoint *now[2];
	struct cs_nl b;

	cs_nl_init(&b, &ns->rt);
	move_default(&b, ns, NULL, now);
	if (cs_nl_run(&b, err) < 0)
		return -1;
	moved(ns, now);
	return 0;
}

/* Whoever had the address before had another hardware address, and neighbours believe in that for half a minute; or one is asking for it in vain just now.
 * An interface that comes up announces itself before its port of the bridge forwards anything: so once more, which is what setting a hardware address
 * does, even the same. */
static int announce(struct HcnNamespace *ns, const struct HcnEndpoint *e, struct cs_err **err)
{
	struct cs_nl b;

	cs_nl_init(&b, &ns->rt);
	cs_link_set(&b, &(struct cs_link_change){.index = e->inner, .mac = e->mac}, "announce the interface");
	return cs_nl_run(&b, err);
}

/* Steps 3 and 4: one request. But who has a way out already keeps it until the new interface carries frames: answers that went there before would be
 * lost, and with them the question for the gateway's hardware address, which is asked again after a second only. */
static int configure(struct HcnNamespace *ns, struct HcnEndpoint *e, bool adopted, struct cs_err **err)
{
	struct HcnEndpoint *now[2];
	bool later = !adopted && (ns->gateway4 || ns->gateway6);
	uint32_t mtu = e->pol.mtu ? (uint32_t)e->pol.mtu : e->net->mtu;
	struct cs_nl b;

	cs_nl_init(&b, &ns->rt);
	add_addresses(&b, e, adopted ? EEXIST : 0);
	if (adopted)
		cs_link_set(&b, &(struct cs_link_change){.index = e->inner, .up = true}, "set the interface up");
	else /* behind the addresses: the change is what arp_notify announces on an interface that is up already */
		cs_link_set(&b, &(struct cs_link_change){.index = e->inner, .mac = e->net->driver->own_mac ? e->mac : NULL, .mtu = mtu,
						   .gso = e->net->gso, .up = true},
			    "set the interface up");
	if (e->pol.max_outgoing || adopted)
		cs_rate_set(&b, e->inner, (uint64_t)e->pol.max_outgoing);
	add_routes(&b, e);
	if (!later) {
		move_default(&b, ns, NULL, now);
		moved(ns, now); /* failed or not: what failed may be another request of the batch */
	}
	if (cs_nl_run(&b, err) < 0)
		return -1;
	if (adopted)
		return 0;
	if (e->v6.ip.family)
		cs_link_wait_found(&ns->rt, e->inner, e->v6.ip);
	if (!carries(e) && (wait_carrier(e, err) < 0 || announce(ns, e, err) < 0))
		return -1;
	return later ? reelect(ns, err) : 0;
}

/* ---- in and out ---- */

static void list_in(struct HcnNamespace *ns, struct HcnEndpoint *e)
{
	struct HcnEndpoint **p = &ns->endpoints;

	while (*p)
		p = &(*p)->next;
	e->next = NULL;
	*p = cs_obj_ref(e);
}

static void list_out(struct HcnNamespace *ns, struct HcnEndpoint *e)
{
	struct HcnEndpoint **p = &ns->endpoints;

	while (*p && *p != e)
		p = &(*p)->next;
	if (*p)
		*p = e->next;
	if (ns->gateway4 == e)
		ns->gateway4 = NULL;
	if (ns->gateway6 == e)
		ns->gateway6 = NULL;
}

/* The endpoint's own half of the change; the namespace's reference moves with it. */
static HRESULT claim(struct HcnNamespace *ns, struct HcnEndpoint *e, struct cs_err **err)
{
	CS_LOCK(e);

	if (e->leaving)
		return cs_hr_fail(err, HCN_E_ENDPOINT_NOT_FOUND, 0, "no such endpoint");
	if (e->ns)
		return cs_hr_fail(err, HCN_E_ENDPOINT_ALREADY_ATTACHED, 0, "endpoint %s is attached already", e->o.text);
	e->ns = cs_obj_ref(ns);
	return HCS_S_OK;
}

/* What a query shows of it; the endpoint's lock is held. */
static void show(struct HcnEndpoint *e)
{
	struct HcnNamespace *ns = e->ns;

	free(e->doc.nspace);
	e->doc.nspace = ns ? cs_xstrdup(ns->o.text) : NULL;
	free(e->doc.ifname);
	e->doc.ifname = ns ? cs_xstrdup(e->inner_name) : NULL;
	free(e->doc.host_ifname);
	e->doc.host_ifname = ns && e->outer ? cs_xstrdup(e->outer_name) : NULL;
	cs_port_mappings_write(e->doc.policies, e->doc.n_policies, &e->pol);
}

static void unplug(struct HcnNamespace *ns, struct HcnEndpoint *e)
{
	if (e->outer)
		e->net->plugged--;
	if (e->outer && (ns->leaving || !e->inner)) {
		cs_background_delete(e->outer);
	} else if (e->inner) { /* who lives on must not see it any more */
		cs_autoerr struct cs_err *err = NULL;
		struct cs_nl b;
		cs_nl_init(&b, &ns->rt);
		cs_link_del(&b, e->inner);
		if (cs_nl_run(&b, &err) < 0 && e->outer)
			cs_links_delete(&e->outer, 1); /* by its other end, until it is gone */
		else if (err) /* a namespace that is going takes it along */
			cs_warn(SUBSYS, "interface %s of endpoint %s stays: %s", e->inner_name, e->o.text, err->msg);
	}
	e->outer = e->inner = 0;
	e->shortcut = false;
	e->outer_name[0] = e->inner_name[0] = 0;
}

/* Off the list first: from e->ns on it may be another's. */
static void disown(struct HcnNamespace *ns, struct HcnEndpoint *e)
{
	list_out(ns, e);
	pthread_mutex_lock(&e->o.lock);
	e->ns = NULL;
	show(e);
	pthread_mutex_unlock(&e->o.lock);
	cs_obj_unref(CS_ENDPOINT, e);
	cs_obj_unref(CS_NAMESPACE, ns); /* the caller has one */
}

HRESULT cs_attach(struct HcnNamespace *ns, struct HcnEndpoint *e, struct cs_err **err)
{
	char name[IFNAMSIZ];
	bool adopted = false;
	HRESULT hr = choose_name(ns, e, name, err);

	if (hr == HCS_S_OK)
		hr = claim(ns, e, err);
	if (hr != HCS_S_OK)
		return hr;
	list_in(ns, e);
	hr = e->net->driver->plug(ns, e, name, &adopted, err);
	if (hr == HCS_S_OK)
		hr = cs_edge_plug(ns, e, err);
	if (hr == HCS_S_OK) {
		hr = set_sysctls(ns, e, err);
		if (hr == HCS_S_OK && configure(ns, e, adopted, err) < 0)
			hr = HCN_E_NAMESPACE_ATTACH_FAILED;
		if (hr == HCS_S_OK)
			hr = cs_edge_names(ns, err);
		if (hr != HCS_S_OK)
			cs_edge_unplug(ns, e);
	}
	if (hr != HCS_S_OK) {
		move_away(ns, e);
		unplug(ns, e);
		disown(ns, e);
		return hr;
	}
	pthread_mutex_lock(&e->o.lock);
	show(e);
	pthread_mutex_unlock(&e->o.lock);
	if (e->outer)
		cs_background_review(e, true);
	cs_net_notify(HcnNotificationNetworkEndpointAttached, &e->o, &e->net->o);
	return HCS_S_OK;
}

static bool is_in(const struct HcnNamespace *ns, struct HcnEndpoint *e)
{
	CS_LOCK(e);

	return e->ns == ns;
}

HRESULT cs_detach(struct HcnNamespace *ns, struct HcnEndpoint *e, struct cs_err **err)
{
	if (!is_in(ns, e))
		return cs_hr_fail(err, HCN_E_ENDPOINT_NOT_ATTACHED, 0, "endpoint %s is not attached to this namespace", e->o.text);
	if (ns->gateway4 == e || ns->gateway6 == e)
		move_away(ns, e);
	cs_edge_unplug(ns, e);
	unplug(ns, e);
	cs_net_notify(HcnNotificationNetworkEndpointDetached, &e->o, &e->net->o);
	disown(ns, e);
	if (!ns->leaving)
		return cs_edge_names(ns, err);
	return HCS_S_OK;
}

void cs_detach_all(struct HcnNamespace *ns)
{
	while (ns->endpoints) {
		cs_autoerr struct cs_err *err = NULL;
		struct HcnEndpoint *e = ns->endpoints;
		ns->gateway4 = ns->gateway6 = NULL; /* no routes are moved about in what ends */
		if (cs_detach(ns, e, &err) != HCS_S_OK)
			break; /* cannot be: it is on the list */
	}
}

HRESULT cs_reelect(struct HcnNamespace *ns, struct cs_err **err) { return reelect(ns, err) < 0 ? HCS_E_FAIL : HCS_S_OK; }

int cs_port_reset(struct HcnEndpoint *e, const struct cs_endpoint_policies *p, struct cs_err **err)
{
	cs_autortnl struct cs_rtnl r = {0};
	struct cs_nl b;

	if (cs_host_rtnl(&r, err) < 0)
		return -1;
	cs_nl_init(&b, &r);
	return cs_veth_set_port(&b, e, p, true, err);
}

static int reset_rate(struct HcnNamespace *ns, const struct HcnEndpoint *e, const struct cs_endpoint_policies *p, struct cs_err **err)
{
	struct cs_nl b;

	cs_nl_init(&b, &ns->rt);
	cs_rate_set(&b, e->inner, (uint64_t)p->max_outgoing);
	return cs_nl_run(&b, err);
}

HRESULT cs_reattach(struct HcnNamespace *ns, struct HcnEndpoint *e, struct cs_endpoint_policies *now, struct cs_err **err)
{
	cs_autoerr struct cs_err *rate_stays = NULL, *port_stays = NULL;
	HRESULT hr = HCS_S_OK;

	if (!cs_streq(now->wanted_name, e->pol.wanted_name) || now->mtu != e->pol.mtu || !cs_strv_equal(now->link_local, e->pol.link_local) ||
	    !cs_strmap_equal(now->sysctls, e->pol.sysctls))
		return cs_hr_fail(err, HCN_E_REQUEST_UNSUPPORTED, 0, "name, MTU, link-local addresses and sysctls of an interface that is in use cannot be changed");
	bool port = e->outer && ((now->n_ports > 0) != (e->pol.n_ports > 0) || cs_edge_antispoof(e, now) != cs_edge_antispoof(e, &e->pol));
	bool rate = now->max_outgoing != e->pol.max_outgoing, acls = e->outer && !now->acls != !e->pol.acls;
	if ((rate && reset_rate(ns, e, now, err) < 0) || (port && cs_port_reset(e, now, err) < 0) || (e->shortcut && now->acls && cs_shortcut_drop(e, err) < 0))
		hr = HCS_E_FAIL;
	if (acls)
		cs_background_review(e, true);
	if (hr == HCS_S_OK)
		hr = cs_edge_replug(ns, e, now, err); /* last: it undoes what it did */
	if (hr == HCS_S_OK)
		return hr;
	/* all of it: of what failed perhaps only the answer was lost */
	if (rate && reset_rate(ns, e, &e->pol, &rate_stays) < 0)
		cs_warn(SUBSYS, "endpoint %s: %s", e->o.text, rate_stays->msg);
	e->locked |= port && cs_edge_antispoof(e, now);
	if (port && cs_port_reset(e, &e->pol, &port_stays) < 0)
		cs_warn(SUBSYS, "endpoint %s: %s", e->o.text, port_stays->msg);
	if (port)
		cs_edge_retell(ns, e); /* whether the port is locked has changed since */
	return hr;
}
