/* SPDX-License-Identifier: Apache-2.0
 *
 * Opened once per process: settings, threads, the stock of netlink sockets, and the end of a restart (settle). */
#include "network/edge.h"
#include "network/netns.h"

#define SOCKETS 8
#define DEFAULT_WARM 4

struct cs_network_service cs_net;

static struct {
	pthread_mutex_t lock;
	struct cs_rtnl v[SOCKETS];
	size_t n;
} stock = {.lock = PTHREAD_MUTEX_INITIALIZER};

HRESULT cs_net_ready(struct cs_err **err)
{
	return cs_net.open ? HCS_S_OK : cs_hr_fail(err, HCN_E_MANAGER_STOPPED, 0, "the network service is not running");
}

int cs_host_rtnl(struct cs_rtnl *ret, struct cs_err **err)
{
	pthread_mutex_lock(&stock.lock);
	if (stock.n > 0) {
		*ret = stock.v[--stock.n];
		pthread_mutex_unlock(&stock.lock);
		return 0;
	}
	pthread_mutex_unlock(&stock.lock);
	return cs_rtnl_open(ret, err);
}

void cs_host_rtnl_put(struct cs_rtnl *r)
{
	if (!r->nl)
		return;
	pthread_mutex_lock(&stock.lock);
	if (stock.n < SOCKETS) {
		stock.v[stock.n++] = *r;
		r->nl = NULL;
	}
	pthread_mutex_unlock(&stock.lock);
	cs_rtnl_close(r);
}

void cs_host_rtnl_drop(void)
{
	while (stock.n > 0)
		cs_rtnl_close(&stock.v[--stock.n]);
}

char *cs_mark_of(const struct cs_obj *o) { return cs_xasprintf("%s%s", cs_net.mark, o->text); }

/* ---- open and close ---- */

static bool is_instance(const char *s)
{
	size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-");

	return n > 0 && n <= 31 && !s[n];
}

static bool on(enum cs_tri t) { return t != CS_FALSE; }

static HRESULT read_settings(const char *text, struct cs_err **err)
{
	struct cs_doc_service *s = &cs_net.settings;
	struct cs_ip ip;

	if (cs_doc_read(&cs_doc_service_type, cs_empty(text) ? "{}" : text, s, err) < 0)
		return HCN_E_INVALID_JSON;
	const char *instance = cs_empty(s->instance) ? CS_FIREWALL_TABLE : s->instance;
	if (!is_instance(instance))
		return cs_hr_fail(err, HCS_E_INVALIDARG, 0, "Instance: %s is no name of lower-case letters, digits and dashes", instance);
	if (s->warm && (*s->warm < 0 || *s->warm > 64))
		return cs_hr_fail(err, HCS_E_INVALIDARG, 0, "WarmNamespaces: %lld is not within 0 and 64", (long long)*s->warm);
	for (char **d = s->dns_servers; d && *d; d++)
		if (!cs_ip_parse(*d, &ip))
			return cs_hr_fail(err, HCS_E_INVALIDARG, 0, "DnsServers: %s is no address of a name server", *d);
	HRESULT hr = cs_pools_read(s, &cs_net.pools, &cs_net.n_pools, err);
	if (hr != HCS_S_OK)
		return hr;
	cs_net.instance = cs_xstrdup(instance);
	cs_net.mark = cs_xasprintf("caisson:%s:", instance);
	cs_net.firewall = on(s->firewall);
	cs_net.ipv4 = on(s->ipv4);
	cs_net.ipv6 = on(s->ipv6);
	cs_net.ip_forward = on(s->ip_forward);
	cs_net.forward_drop = cs_net.firewall && on(s->ip_forward_drop);
	return HCS_S_OK;
}

static void forget(void)
{
	cs_json_release(&cs_doc_service_type, &cs_net.settings);
	free(TAKE_PTR(cs_net.instance));
	free(TAKE_PTR(cs_net.mark));
	free(TAKE_PTR(cs_net.pools));
	cs_net.n_pools = 0;
	cs_leftovers_drop();
	cs_host_rtnl_drop();
}

static void stop_threads(void)
{
	cs_port_monitor_stop();
	cs_background_stop();
	cs_pool_stop();
	cs_edge_stop();
	cs_netns_stop();
}

static HRESULT start(struct cs_err **err)
{
	unsigned warm = cs_net.settings.warm ? (unsigned)*cs_net.settings.warm : DEFAULT_WARM;

	if (cs_netns_start(err) < 0 || cs_leftovers_read(err) < 0)
		return HCS_E_FAIL;
	HRESULT hr = cs_edge_start(err);
	if (hr != HCS_S_OK)
		return hr;
	cs_host_forward_start();
	cs_autoerr struct cs_err *unwatched = NULL;
	if (cs_port_monitor_start(&unwatched) < 0)
		cs_warn(SUBSYS, "ports that somebody unlocks stay so: %s", unwatched->msg);
	return cs_background_start(err) < 0 || cs_pool_start(warm, err) < 0 ? HCS_E_FAIL : HCS_S_OK;
}

HRESULT HcnInitializeService(const char *settings, char **errorRecord)
{
	struct cs_err *err = NULL;

	if (cs_net.open)
		return cs_hr_answer(cs_hr_fail(&err, HCS_E_INVALID_STATE, 0, "the network service is running already"), &err, errorRecord);
	HRESULT hr = read_settings(settings, &err);
	if (hr == HCS_S_OK)
		hr = start(&err);
	if (hr != HCS_S_OK) {
		stop_threads();
		forget();
		return cs_hr_answer(hr, &err, errorRecord);
	}
	cs_net.settled = false;
	cs_net.open = true;
	return cs_hr_answer(HCS_S_OK, NULL, errorRecord);
}

static void forget_objects(enum cs_kind kind)
{
	size_t n;
	void **v = cs_obj_all(kind, &n);

	for (size_t i = 0; i < n; i++)
		cs_obj_remove(kind, v[i]);
	cs_obj_put_all(kind, v, n);
}

/* Namespaces and endpoints point at each other; everything in the kernel stays. */
static void untie(void)
{
	size_t n;
	void **v = cs_obj_all(CS_NAMESPACE, &n);

	for (size_t i = 0; i < n; i++) {
		struct HcnNamespace *ns = v[i];
		while (ns->endpoints) {
			struct HcnEndpoint *e = ns->endpoints;
			ns->endpoints = e->next;
			cs_edge_drop(e);
			e->ns = NULL;
			cs_obj_unref(CS_NAMESPACE, ns);
			cs_obj_unref(CS_ENDPOINT, e);
		}
	}
	cs_obj_put_all(CS_NAMESPACE, v, n);
}

void HcnShutdownService(void)
{
	if (!atomic_exchange(&cs_net.open, false))
		return;
	cs_net_notify(HcnNotificationServiceDisconnect, NULL, NULL);
	stop_threads();
	untie();
	forget_objects(CS_LB);
	forget_objects(CS_NAMESPACE);
	forget_objects(CS_ENDPOINT);
	forget_objects(CS_NETWORK);
	forget();
}

/* ---- settle ---- */

struct stray {
	struct cs_link_info *v;
	size_t n;
};

static bool collect(const struct cs_link_info *l, void *ctx)
{
	struct stray *s = ctx;
	const char *id = cs_prefix(l->alias, cs_net.mark);
	HCN_GUID guid;

	if (!id || !cs_hcn_guid_parse(id, &guid))
		return true;
	for (size_t i = 0; i < s->n; i++)
		if (s->v[i].index == l->index)
			return true;
	s->v = cs_xreallocarray(s->v, s->n + 1, sizeof(*s->v));
	s->v[s->n++] = *l;
	return true;
}

/* Whether an object has this link. An endpoint's counts while it is attached by it: one whose container is gone is a leftover. */
static bool belongs(const struct cs_link_info *l)
{
	HCN_GUID guid;

	if (!cs_hcn_guid_parse(l->alias + strlen(cs_net.mark), &guid))
		return true;
	struct HcnNetwork *n = cs_obj_get(CS_NETWORK, &guid);
	struct HcnEndpoint *e = cs_obj_get(CS_ENDPOINT, &guid);
	bool ours = n && (n->index == l->index || n->port_index == l->index);
	if (e) {
		CS_LOCK(e);
		ours = ours || (e->ns && e->outer == l->index);
	}
	cs_obj_unref(CS_NETWORK, n);
	cs_obj_unref(CS_ENDPOINT, e);
	return ours;
}

static HRESULT clean_links(struct cs_str *out, struct cs_err **err)
{
	cs_autortnl struct cs_rtnl r = {0};
	struct stray s = {0};

	if (cs_host_rtnl(&r, err) < 0)
		return HCS_E_FAIL;
	int failed = cs_links_each(&r, collect, &s, err);
	int *gone = cs_xcalloc(s.n + 1, sizeof(*gone));
	size_t n_gone = 0;
	for (size_t i = 0; i < s.n && failed == 0; i++) {
		if (belongs(&s.v[i]))
			continue;
		gone[n_gone++] = s.v[i].index;
		if (out->buf[out->len - 1] != '[')
			cs_str_putc(out, ',');
		cs_json_put_string(out, s.v[i].name);
	}
	cs_links_delete(gone, n_gone);
	free(gone);
	free(s.v);
	return failed ? HCS_E_FAIL : HCS_S_OK;
}

HRESULT cs_hcn_settle(char **cleaned)
{
	cs_autoerr struct cs_err *err = NULL;
	struct cs_str out = CS_STR_INIT(16 << 20);
	HRESULT hr = cs_net_ready(&err);

	cs_str_puts(&out, "{\"Links\":[");
	if (hr == HCS_S_OK)
		hr = clean_links(&out, &err);
	cs_leftovers_drop();
	if (hr == HCS_S_OK)
		hr = cs_edge_settle(&err);
	cs_str_puts(&out, "]}");
	if (hr != HCS_S_OK) {
		cs_autofree char *text = err ? cs_err_text(err) : NULL;
		cs_error(SUBSYS, "settle: %s", text ? text : "failed");
	} else {
		cs_net.settled = true;
		cs_host_forward_settled();
	}
	if (cleaned && hr == HCS_S_OK)
		*cleaned = cs_str_steal(&out);
	cs_str_done(&out);
	return hr;
}

int cs_hcn_loopback6_missing(void)
{
	cs_autoerr struct cs_err *err = NULL;

	return cs_net_ready(&err) == HCS_S_OK ? cs_firewall_loopback6_missing(cs_edge.firewall) : 0;
}

HRESULT cs_hcn_reachability(char **report, char **errorRecord)
{
	struct cs_err *err = NULL;
	HRESULT hr = cs_net_ready(&err);

	if (hr == HCS_S_OK)
		hr = cs_edge_reachability(report, &err);
	return cs_hr_answer(hr, &err, errorRecord);
}
