/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of networks: opening, look-up, adding, dropping. A network is made in the kernel first and its row is written second; it goes in the same
 * order. What a crash leaves in the kernel without a row the service cleans when the start says that all is settled; a row that it leaves makes the
 * network again. */
#include <string.h>

#include "base/id.h"
#include "base/log.h"
#include "base/sha256.h"
#include "base/time.h"
#include "engine/events.h"
#include "engine/hostfacts.h"
#include "engine/network.h"
#include "engine/spec.h"
#include "engine/store.h"

bool cs_network_predefined(const char *name)
{
	return cs_streq(name, "bridge") || cs_streq(name, "host") || cs_streq(name, "none") || cs_streq(name, "default");
}

void cs_network_event(struct cs_engine *e, const struct cs_network *n, const char *action, const char *container)
{
	struct cs_strmap *m = cs_strmap_new();

	cs_strmap_set(m, "name", n->doc->name);
	cs_strmap_set(m, "type", n->doc->driver);
	if (container)
		cs_strmap_set(m, "container", container);
	cs_event(e, "network", action, n->doc->id, m);
}

/* ---- objects ---- */

struct cs_network *cs_network_ref(struct cs_network *n)
{
	atomic_fetch_add(&n->refs, 1);
	return n;
}

void cs_network_unref(struct cs_network *n)
{
	if (!n || atomic_fetch_sub(&n->refs, 1) != 1)
		return;
	if (n->h)
		(void)HcnCloseNetwork(n->h);
	cs_network_doc_free(n->doc);
	free(n->why);
	free(n);
}

static struct cs_network *network_new(struct cs_network_doc *doc)
{
	struct cs_network *n = cs_xcalloc(1, sizeof(*n));

	n->doc = doc;
	atomic_init(&n->refs, 1);
	if (!cs_hcn_guid_of(doc->id, &n->guid))
		n->guid = (HCN_GUID){0};
	return n;
}

static int find(struct cs_networks *t, const char *ref, struct cs_network **ret, struct cs_err **err) /* lock held */
{
	struct cs_network *n = NULL, *named = NULL, *prefix = NULL;
	size_t prefixes = 0, len = strlen(ref);

	HASH_FIND_STR(t->by_id, ref, n);
	for (struct cs_network *x = n ? NULL : t->by_id; x; x = x->hh.next) {
		if (cs_streq(x->doc->name, ref))
			named = x;
		if (len && strncmp(x->doc->id, ref, len) == 0) {
			prefix = x;
			prefixes++;
		}
	}
	if (!n && !named && prefixes > 1)
		return cs_fail(err, CS_ERR_INVALID, 0, "network %s is ambiguous (%zu matches found based on ID prefix)", ref, prefixes);
	n = n ? n : named ? named : prefix;
	if (!n)
		return cs_fail(err, CS_ERR_NOT_FOUND, 0, "network %s not found", ref);
	*ret = cs_network_ref(n);
	return 0;
}

int cs_network_get(struct cs_engine *e, const char *ref, struct cs_network **ret, struct cs_err **err)
{
	struct cs_networks *t = e->networks;

	pthread_rwlock_rdlock(&t->lock);
	int r = find(t, cs_streq(ref, "default") ? "bridge" : ref, ret, err);
	pthread_rwlock_unlock(&t->lock);
	return r;
}

static int by_name(const void *a, const void *b)
{
	return strcmp((*(struct cs_network *const *)a)->doc->name, (*(struct cs_network *const *)b)->doc->name);
}

struct cs_network **cs_networks_all(struct cs_engine *e, size_t *ret_n)
{
	struct cs_networks *t = e->networks;
	size_t i = 0;

	pthread_rwlock_rdlock(&t->lock);
	struct cs_network **v = cs_xcalloc(HASH_COUNT(t->by_id) + 1, sizeof(struct cs_network *));
	for (struct cs_network *n = t->by_id; n; n = n->hh.next)
		v[i++] = cs_network_ref(n);
	pthread_rwlock_unlock(&t->lock);
	qsort(v, i, sizeof(struct cs_network *), by_name);
	if (ret_n)
		*ret_n = i;
	return v;
}

void cs_networks_free(struct cs_network **v)
{
	for (struct cs_network **p = v; p && *p; p++)
		cs_network_unref(*p);
	free(v);
}

/* ---- the kernel's side ---- */

static bool in_kernel(const struct cs_network_doc *d) { return !d->config_only && !cs_streq(d->driver, "host") && !cs_streq(d->driver, "null"); }

static int make(struct cs_engine *e, struct cs_network *n, struct cs_err **err)
{
	cs_autostr struct cs_str doc = CS_STR_INIT(1 << 20);
	char *record = NULL, *answer = NULL;

	if (!in_kernel(n->doc))
		return 0;
	if (e->networks->service_error)
		return cs_fail(err, CS_ERR_UNAVAILABLE, 0, "there is no network service: %s", e->networks->service_error);
	cs_network_put_hcn(n->doc, &doc);
	if (doc.failed)
		return cs_fail(err, CS_ERR_INVALID, 0, "the network's configuration is too large");
	HRESULT r = HcnCreateNetwork(&n->guid, doc.buf, &n->h, &record);
	if (r != HCS_S_OK) {
		struct cs_err *inner = NULL;
		(void)cs_hcn_failed(r, record, &inner);
		if (r == HCN_E_ADDR_INVALID_OR_RESERVED) /* libnetwork: exhausted pools are a bad request */
			inner->code = CS_ERR_INVALID;
		(void)cs_err_move(err, inner);
		return r == HCN_E_INVALID_SUBNET ? cs_wrap(err, "invalid pool request: Pool overlaps with other one on this address space") : -1;
	}
	r = HcnQueryNetworkProperties(n->h, NULL, &answer, &record);
	cs_autojson json_t *j = r == HCS_S_OK && answer ? cs_json_parse(answer, strlen(answer), NULL) : NULL;
	HcnFree(answer);
	if (!j) {
		(void)HcnDeleteNetwork(&n->guid, NULL);
		return r == HCS_S_OK ? cs_fail(err, CS_ERR_INTERNAL, 0, "host network service: malformed answer") : cs_hcn_failed(r, record, err);
	}
	cs_network_take_ipams(n->doc, j);
	return 0;
}

int cs_network_revive(struct cs_engine *e, struct cs_network **n, struct cs_err **err)
{
	cs_autonetwork struct cs_network *now = NULL;
	struct cs_err *why = NULL;

	if (!in_kernel((*n)->doc) || (*n)->h)
		return 0;
	CS_GUARD(&e->networks->change);
	if (cs_network_get(e, (*n)->doc->id, &now, err) < 0) /* somebody else may have been faster */
		return -1;
	if (!now->h) {
		struct cs_network_doc *doc = cs_xcalloc(1, sizeof(*doc));
		cs_json_copy(&cs_network_doc_type, doc, now->doc);
		cs_autonetwork struct cs_network *fresh = network_new(doc);
		if (make(e, fresh, &why) < 0) {
			cs_autofree char *text = cs_err_text(why);
			cs_err_free(why);
			return cs_fail(err, CS_ERR_UNAVAILABLE, 0, "network %s cannot be used: %s", now->doc->name, text);
		}
		pthread_rwlock_wrlock(&e->networks->lock);
		HASH_DEL(e->networks->by_id, now);
		HASH_ADD_KEYPTR(hh, e->networks->by_id, fresh->doc->id, strlen(fresh->doc->id), fresh);
		pthread_rwlock_unlock(&e->networks->lock);
		cs_network_unref(now); /* the table's */
		cs_network_unref(now);
		now = cs_network_ref(fresh);
		(void)cs_network_ref(fresh); /* the table's */
		cs_logk(CS_LOG_INFO, "engine", "network", doc->name, "it could be made now");
	}
	struct cs_network *old = *n;
	*n = TAKE_PTR(now);
	cs_network_unref(old);
	return 0;
}

static int save(struct cs_engine *e, const struct cs_network_doc *d, struct cs_err **err)
{
	cs_autostr struct cs_str s = CS_STR_INIT(8 << 20);

	cs_json_encode(&cs_network_doc_type, d, 0, &s);
	return s.failed ? cs_fail(err, CS_ERR_INVALID, 0, "the network's configuration is too large") : cs_store_network_put(e->store, d->id, s.buf, err);
}

static void table_add(struct cs_networks *t, struct cs_network *n)
{
	pthread_rwlock_wrlock(&t->lock);
	HASH_ADD_KEYPTR(hh, t->by_id, n->doc->id, strlen(n->doc->id), n);
	pthread_rwlock_unlock(&t->lock);
}

int cs_network_add(struct cs_engine *e, struct cs_network_doc *doc, struct cs_network **ret, struct cs_err **err)
{
	cs_autonetwork struct cs_network *n = network_new(doc);

	if (make(e, n, err) < 0)
		return -1;
	if (save(e, n->doc, err) < 0) {
		if (n->h)
			(void)HcnDeleteNetwork(&n->guid, NULL);
		return -1;
	}
	table_add(e->networks, cs_network_ref(n));
	if (ret)
		*ret = TAKE_PTR(n);
	return 0;
}

int cs_network_drop(struct cs_engine *e, struct cs_network *n, struct cs_err **err)
{
	char *record = NULL;

	/* First, since it can be undone: without its row the next start removes what is in the kernel, without its bridge the network is of no use. */
	if (cs_store_network_delete(e->store, n->doc->id, err) < 0)
		return -1;
	if (n->h) {
		HRESULT r = HcnDeleteNetwork(&n->guid, &record);
		if (r != HCS_S_OK && r != HCN_E_NETWORK_NOT_FOUND) { /* somebody has just come onto it */
			cs_autoerr struct cs_err *why = NULL;
			if (save(e, n->doc, &why) < 0)
				cs_error("engine", "network %s is there, and will not be after a restart: %s", n->doc->name, why->msg);
			return cs_hcn_failed(r, record, err);
		}
		HcnFree(record);
	}
	pthread_rwlock_wrlock(&e->networks->lock);
	HASH_DEL(e->networks->by_id, n);
	pthread_rwlock_unlock(&e->networks->lock);
	cs_network_unref(n); /* the table's */
	return 0;
}

/* ---- opening ---- */

static void put_list(struct cs_str *out, const char *key, char *const *list)
{
	if (!list || !*list)
		return;
	cs_json_put_key(out, key);
	cs_json_put_strv(out, list);
}

static void put_pools(struct cs_str *out, char *const *pools)
{
	if (!pools || !*pools)
		return;
	cs_str_puts(out, ",\"DefaultAddressPools\":[");
	for (char *const *p = pools; *p; p++) {
		const char *space = strrchr(*p, ' ');
		cs_autofree char *base = cs_xstrndup(*p, (size_t)(space - *p));
		cs_str_puts(out, p == pools ? "{" : ",{");
		cs_json_put_kstr(out, "Base", base);
		cs_str_putf(out, ",\"Size\":%s}", space + 1);
	}
	cs_str_putc(out, ']');
}

/* Two daemons on one host must not meet: everything but the default bears eight digits of its exec root's hash. */
static void names(const struct cs_engine_config *cfg, char instance[32], char bridge[16])
{
	char hex[65];

	cs_sha256_hex_of(cfg->exec_root, strlen(cfg->exec_root), hex);
	bool usual = cs_streq(cfg->exec_root, "/run/caisson") || cs_streq(cfg->exec_root, "/var/run/caisson");
	(void)snprintf(instance, 32, usual ? "caisson" : "caisson-%.8s", hex);
	(void)snprintf(bridge, 16, usual ? "caisson0" : "csb-%.8s", hex);
	if (!cs_empty(cfg->network.bridge) && !cs_streq(cfg->network.bridge, "none"))
		(void)snprintf(bridge, 16, "%s", cfg->network.bridge);
}

static void open_service(struct cs_engine *e, const struct cs_engine_config *cfg)
{
	cs_autostr struct cs_str doc = CS_STR_INIT(1 << 16);
	cs_autoerr struct cs_err *err = NULL;
	char instance[32], *record = NULL;

	names(cfg, instance, e->networks->bridge_name);
	if (!(cs_host_facts()->capabilities & ((uint64_t)1 << CS_CAP_NET_ADMIN))) {
		e->networks->service_error = cs_xstrdup("the engine lacks CAP_NET_ADMIN");
		cs_warn("engine", "no networks but none and host: %s", e->networks->service_error);
		return;
	}
	cs_str_putc(&doc, '{');
	cs_json_put_kstr(&doc, "Instance", instance);
	cs_json_put_kbool(&doc, "Firewall", cfg->network.firewall);
	cs_autofree char *bpf = cs_xasprintf("%s/bpf", cfg->exec_root);
	cs_json_put_kstr(&doc, "BpfDirectory", bpf);
	cs_json_put_kbool(&doc, "IpForward", cfg->network.ip_forward);
	cs_json_put_kbool(&doc, "IpForwardDrop", !cfg->network.ip_forward_no_drop);
	cs_networks_put_forwarded(e, &doc);
	cs_json_put_kbool(&doc, "AllowDirectRouting", cfg->network.direct_routing);
	if (cs_streq(cfg->network.bridge, "none")) /* containers without a network of their user's have none: nothing is kept ready on the host */
		cs_json_put_ki64(&doc, "WarmNamespaces", 0);
	put_pools(&doc, cfg->network.address_pools);
	put_list(&doc, "DnsServers", cfg->dns);
	if (!cs_empty(cfg->resolv_conf))
		cs_json_put_kstr(&doc, "ResolvConf", cfg->resolv_conf);
	cs_str_putc(&doc, '}');
	HRESULT r = HcnInitializeService(doc.buf, &record);
	if (r == HCS_S_OK)
		return;
	(void)cs_hcn_failed(r, record, &err);
	e->networks->service_error = cs_err_text(err);
	cs_warn("engine", "no networks but none and host: %s", e->networks->service_error);
}

static int load_row(const char *id, const char *text, void *ctx)
{
	struct cs_engine *e = ctx;
	cs_autoerr struct cs_err *err = NULL;
	struct cs_network_doc *d = cs_xcalloc(1, sizeof(*d));

	if (cs_json_decode_text(&cs_network_doc_type, text, d, &err) < 0 || cs_empty(d->id) || cs_empty(d->name)) {
		cs_autofree char *why = err ? cs_err_text(err) : cs_xstrdup("it has no id");
		cs_logk(CS_LOG_ERROR, "engine", "network", id, "its row cannot be read and is left alone: %s", why);
		cs_network_doc_free(d);
		return 0;
	}
	table_add(e->networks, network_new(d));
	return 0;
}

/* The same on every start, so that clients may remember it. */
static void predefined_id(const char *name, char id[65])
{
	cs_autofree char *text = cs_xasprintf("caisson network %s", name);

	cs_sha256_hex_of(text, strlen(text), id);
}

static struct cs_network_doc *predefined(const char *name, const char *driver)
{
	struct cs_network_doc *d = cs_xcalloc(1, sizeof(*d));
	char id[65];

	predefined_id(name, id);
	d->id = cs_xstrdup(id);
	d->name = cs_xstrdup(name);
	d->driver = cs_xstrdup(driver);
	d->scope = cs_xstrdup("local");
	d->ipam.driver = cs_xstrdup("default");
	d->created = cs_now_ns();
	d->options = cs_strmap_new();
	d->labels = cs_strmap_new();
	return d;
}

static struct cs_ipam_config *add_subnet(struct cs_network_doc *d, char *subnet)
{
	d->ipam.config = cs_xreallocarray(d->ipam.config, d->ipam.n_config + 1, sizeof(*d->ipam.config));
	struct cs_ipam_config *c = &d->ipam.config[d->ipam.n_config++];
	*c = (struct cs_ipam_config){.subnet = subnet};
	return c;
}

/* bip or fixed-cidr, else what an earlier start chose, else nothing: the bridge that is there has to give it, or a pool. */
static void bridge_subnet(struct cs_network_doc *d, const char *bip, const char *fixed, const char *gateway, const struct cs_network_doc *old, bool v6)
{
	struct cs_ipam_config *c = NULL;

	if (!cs_empty(bip)) {
		c = add_subnet(d, cs_addr_masked(bip));
		c->gateway = cs_xstrndup(bip, strcspn(bip, "/"));
		if (!cs_empty(fixed))
			c->ip_range = cs_addr_masked(fixed);
	} else if (!cs_empty(fixed)) {
		c = add_subnet(d, cs_addr_masked(fixed));
	}
	for (size_t i = 0; !c && old && i < old->ipam.n_config; i++)
		if ((strchr(old->ipam.config[i].subnet, ':') != NULL) == v6 && (v6 ? old->chosen_v6 : old->chosen_v4)) {
			c = add_subnet(d, cs_xstrdup(old->ipam.config[i].subnet));
			c->gateway = cs_xstrdup(old->ipam.config[i].gateway);
			*(v6 ? &d->chosen_v6 : &d->chosen_v4) = true;
		}
	if (c && !cs_empty(gateway) && cs_addr_in(c->subnet, gateway)) { /* nobody else may get it */
		c->aux_addresses = cs_strmap_new();
		cs_strmap_set(c->aux_addresses, v6 ? "DefaultGatewayIPv6" : "DefaultGatewayIPv4", gateway);
	}
}

static struct cs_network_doc *default_bridge(struct cs_engine *e, const struct cs_engine_config *cfg, const struct cs_network_doc *old)
{
	const struct cs_network_config *c = &cfg->network;
	struct cs_network_doc *d = predefined("bridge", "bridge");
	cs_autofree char *mtu = cs_xasprintf("%lld", (long long)(c->mtu ? c->mtu : 1500));

	if (old)
		d->created = old->created;
	d->enable_ipv4 = true;
	d->enable_ipv6 = c->ipv6;
	cs_strmap_set(d->options, CS_OPT_DEFAULT_BRIDGE, "true");
	cs_strmap_set(d->options, CS_OPT_ICC, c->icc ? "true" : "false");
	cs_strmap_set(d->options, CS_OPT_MASQ, c->ip_masq ? "true" : "false");
	cs_strmap_set(d->options, CS_OPT_HOST_BINDING, cs_empty(c->ip) ? "0.0.0.0" : c->ip);
	cs_strmap_set(d->options, CS_OPT_BRIDGE_NAME, e->networks->bridge_name);
	cs_strmap_set(d->options, CS_OPT_MTU, mtu);
	bridge_subnet(d, c->bip, c->fixed_cidr, c->default_gateway, old, false);
	if (c->ipv6)
		bridge_subnet(d, c->bip6, c->fixed_cidr_v6, c->default_gateway_v6, old, true);
	return d;
}

static bool runs_there(struct cs_engine *e, const char *name) /* by the rows: it is before the reconciliation */
{
	struct cs_container **all = cs_containers_all(e, NULL);
	bool hit = false;

	for (struct cs_container **p = all; *p && !hit; p++)
		hit = (*p)->status == CS_ST_RUNNING && cs_container_endpoint(*p, name);
	cs_containers_free(all);
	return hit;
}

static struct cs_network *take(struct cs_networks *t, const char *name)
{
	struct cs_network *n = NULL;
	char id[65];

	predefined_id(name, id);
	HASH_FIND_STR(t->by_id, id, n);
	if (n)
		HASH_DEL(t->by_id, n);
	return n;
}

static void refused(struct cs_network *n, struct cs_err *err)
{
	n->why = cs_err_text(err);
	cs_logk(CS_LOG_ERROR, "engine", "network", n->doc->name, "it cannot be made: %s", n->why);
}

static int open_bridge(struct cs_engine *e, const struct cs_engine_config *cfg, struct cs_err **err)
{
	cs_autonetwork struct cs_network *old = take(e->networks, "bridge");
	cs_autoerr struct cs_err *why = NULL;

	if (cs_streq(cfg->network.bridge, "none")) {
		e->networks->no_bridge = true;
		return old ? cs_store_network_delete(e->store, old->doc->id, err) : 0;
	}
	/* one that the user names may be the user's own, with addresses that change: they are looked at anew each time */
	struct cs_network *n = network_new(default_bridge(e, cfg, old && cs_empty(cfg->network.bridge) ? old->doc : NULL));
	if (make(e, n, &why) < 0 && n->doc->chosen_v4 && !runs_there(e, "bridge")) {
		/* what an earlier start chose belongs to somebody else by now */
		cs_autofree char *text = cs_err_text(why);
		cs_warn("engine", "the default bridge gets another subnet: %s", text);
		cs_err_free(why);
		why = NULL;
		cs_network_unref(n);
		n = network_new(default_bridge(e, cfg, NULL));
		if (make(e, n, &why) < 0)
			refused(n, why);
	} else if (why) {
		refused(n, why);
	}
	table_add(e->networks, n);
	return n->why ? 0 : save(e, n->doc, err);
}

int cs_networks_open(struct cs_engine *e, struct cs_err **err)
{
	const struct cs_engine_config *cfg = cs_engine_config(e);
	struct cs_network *n, *next;

	if (cs_store_networks(e->store, load_row, e, err) < 0)
		return -1;
	open_service(e, cfg);
	table_add(e->networks, network_new(predefined("host", "host")));
	table_add(e->networks, network_new(predefined("none", "null")));
	HASH_ITER(hh, e->networks->by_id, n, next)
	{
		cs_autoerr struct cs_err *why = NULL;
		size_t had = n->doc->ipam.n_config;
		if (cs_network_predefined(n->doc->name))
			continue;
		if (make(e, n, &why) < 0)
			refused(n, why);
		else if (n->doc->ipam.n_config != had && save(e, n->doc, &why) < 0) /* a family that an older version did not give it */
			cs_logk(CS_LOG_WARN, "engine", "network", n->doc->name, "its row cannot be written: %s", why->msg);
	}
	return open_bridge(e, cfg, err); /* last: it makes way for the others when it can */
}

void cs_networks_settled(struct cs_engine *e)
{
	char *cleaned = NULL;

	if (e->networks->service_error)
		return;
	HRESULT r = cs_hcn_settle(&cleaned);
	if (r != HCS_S_OK)
		cs_warn("engine", "cleaning up after an earlier run: host network service: 0x%08x", (unsigned)r);
	cs_autojson json_t *j = cleaned ? cs_json_parse(cleaned, strlen(cleaned), NULL) : NULL;
	if (json_array_size(json_object_get(j, "Links")))
		cs_info("engine", "removed what an earlier run left of networks: %s", cleaned);
	HcnFree(cleaned);
}
