/* SPDX-License-Identifier: Apache-2.0
 *
 * /networks but for connect and disconnect. Lists and inspect read constant documents and containers' own fields: they wait for no kernel work. */
#include <string.h>

#include "base/id.h"
#include "base/log.h"
#include "base/num.h"
#include "engine/events.h"
#include "engine/filters.h"
#include "engine/network.h"
#include "engine/prune.h"
#include "engine/view.h"

/* ---- who is on it ---- */

struct member {
	char id[CS_ID_LEN + 1];
	char *name, *endpoint, *mac, *ip, *ip6;
};

static void members_free(struct member *m, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(m[i].name);
		free(m[i].endpoint);
		free(m[i].mac);
		free(m[i].ip);
		free(m[i].ip6);
	}
	free(m);
}

static char *with_bits(const char *ip, int64_t bits) { return cs_empty(ip) ? cs_xstrdup("") : cs_xasprintf("%s/%lld", ip, (long long)bits); }

static int by_id(const void *a, const void *b) { return strcmp(((const struct member *)a)->id, ((const struct member *)b)->id); }

/* Containers with an endpoint in the network now, by id. */
static struct member *members(struct cs_container *const *all, const struct cs_network *net, size_t *ret_n)
{
	struct member *m = NULL;
	size_t n = 0;

	for (; *all; all++) {
		CS_GUARD(&(*all)->lock);
		bool runs = (*all)->status == CS_ST_RUNNING || (*all)->starting;
		for (size_t i = 0; runs && (*all)->nets && i < (*all)->nets->n_endpoints; i++) {
			const struct cs_endpoint_settings *s = &(*all)->nets->endpoints[i];
			if (cs_empty(s->endpoint_id) || !cs_streq(s->network_id, net->doc->id))
				continue;
			m = cs_xreallocarray(m, n + 1, sizeof(*m));
			m[n] = (struct member){.name = cs_xstrdup((*all)->name), .endpoint = cs_xstrdup(s->endpoint_id), .mac = cs_xstrdup(s->mac_address),
					       .ip = with_bits(s->ip_address, s->ip_prefix_len),
					       .ip6 = with_bits(s->global_ipv6_address, s->global_ipv6_prefix_len)};
			memcpy(m[n++].id, (*all)->id, sizeof((*all)->id));
		}
	}
	if (n)
		qsort(m, n, sizeof(*m), by_id);
	*ret_n = n;
	return m;
}

/* ---- the resource ---- */

static void put_members(const struct member *m, size_t n, struct cs_str *out)
{
	cs_json_put_key(out, "Containers");
	cs_str_putc(out, '{');
	for (size_t i = 0; i < n; i++) {
		cs_json_put_key(out, m[i].id);
		cs_str_putc(out, '{');
		cs_json_put_kstr(out, "Name", m[i].name);
		cs_json_put_kstr(out, "EndpointID", m[i].endpoint);
		cs_json_put_kstr(out, "MacAddress", m[i].mac);
		cs_json_put_kstr(out, "IPv4Address", m[i].ip);
		cs_json_put_kstr(out, "IPv6Address", m[i].ip6);
		cs_str_putc(out, '}');
	}
	cs_str_putc(out, '}');
}

/* Addresses of a prefix without so many; more than 2^64 - 1 are told as that. */
static uint64_t prefix_left(const char *prefix, uint64_t without)
{
	uint8_t b[16];
	unsigned bits = 0;
	bool v6 = false;

	if (!cs_addr_prefix_parse(prefix, b, &bits, &v6))
		return 0;
	unsigned host = (v6 ? 128 : 32) - bits;
	if (host > 64 || (host == 64 && without == 0))
		return UINT64_MAX;
	uint64_t size = host == 64 ? 0 : (uint64_t)1 << host;
	return host == 64 || size > without ? size - without : 0;
}

static bool counts(const char *range, const char *ip) { return !cs_empty(ip) && cs_addr_in(range, ip); }

static void put_subnet_status(const struct cs_ipam_config *c, const struct member *m, size_t n, struct cs_str *out)
{
	const char *range = cs_empty(c->ip_range) ? c->subnet : c->ip_range;
	bool v6 = strchr(c->subnet, ':');
	uint64_t used = 0, in_range = 0;
	cs_autostrv char **ips = NULL;

	cs_strv_take(&ips, cs_xstrndup(c->subnet, strcspn(c->subnet, "/"))); /* the network's own */
	if (!cs_empty(c->gateway))
		cs_strv_push(&ips, c->gateway);
	for (size_t i = 0; c->aux_addresses && i < c->aux_addresses->n; i++)
		cs_strv_push(&ips, c->aux_addresses->kv[i].val);
	for (size_t i = 0; i < n; i++) {
		const char *ip = v6 ? m[i].ip6 : m[i].ip;
		cs_strv_take(&ips, cs_xstrndup(ip, strcspn(ip, "/")));
	}
	for (char **p = ips; *p; p++) {
		used += counts(c->subnet, *p);
		in_range += counts(range, *p);
	}
	if (!v6 && prefix_left(c->subnet, 2) > 0) { /* and broadcast */
		used++;
		in_range += cs_streq(range, c->subnet);
	}
	cs_json_put_key(out, c->subnet);
	cs_str_puts(out, "{\"IPsInUse\":");
	cs_str_put_u64(out, used);
	cs_str_puts(out, ",\"DynamicIPsAvailable\":");
	cs_str_put_u64(out, prefix_left(range, in_range));
	cs_str_putc(out, '}');
}

static void put(const struct cs_network *net, const struct member *m, size_t n, bool detail, int api, struct cs_str *out)
{
	const struct cs_network_doc *d = net->doc;

	cs_str_putc(out, '{');
	cs_json_put_kstr(out, "Name", d->name);
	cs_json_put_kstr(out, "Id", d->id);
	cs_json_put_ktime(out, "Created", d->created);
	cs_json_put_kstr(out, "Scope", d->scope);
	cs_json_put_kstr(out, "Driver", d->driver);
	if (!api || api >= 147)
		cs_json_put_kbool(out, "EnableIPv4", d->enable_ipv4);
	cs_json_put_kbool(out, "EnableIPv6", d->enable_ipv6);
	cs_json_put_key(out, "IPAM");
	cs_json_encode(&cs_ipam_type, &d->ipam, api, out);
	cs_json_put_kbool(out, "Internal", d->internal);
	cs_json_put_kbool(out, "Attachable", d->attachable);
	cs_json_put_kbool(out, "Ingress", d->ingress);
	cs_json_put_key(out, "ConfigFrom");
	cs_str_putc(out, '{');
	cs_json_put_kstr(out, "Network", d->config_from);
	cs_str_putc(out, '}');
	cs_json_put_kbool(out, "ConfigOnly", d->config_only);
	if (detail || (api && api < 152))
		put_members(m, detail ? n : 0, out);
	cs_json_put_key(out, "Options");
	cs_json_put_strmap(out, d->options);
	cs_json_put_key(out, "Labels");
	cs_json_put_strmap(out, d->labels);
	if (detail && (!api || api >= 152)) {
		cs_str_puts(out, ",\"Status\":{\"IPAM\":{\"Subnets\":{");
		for (size_t i = 0; i < d->ipam.n_config; i++)
			put_subnet_status(&d->ipam.config[i], m, n, out);
		cs_str_puts(out, "}}}");
	}
	cs_str_putc(out, '}');
}

/* ---- list, inspect ---- */

struct query {
	struct cs_filters f;
	bool dangling, dangling_given;
};

static void query_done(struct query *q) { cs_filters_done(&q->f); }

static int query_init(const char *filters, struct query *q, struct cs_err **err)
{
	static const char *const allowed[] = {"dangling", "driver", "id", "label", "name", "scope", "type", NULL};

	if (cs_filters_parse(filters, allowed, &q->f, err) < 0)
		return -1;
	char **d = cs_filter_values(&q->f, "dangling");
	q->dangling_given = d != NULL;
	if (d && d[1])
		return cs_fail(err, CS_ERR_INVALID, 0, "got more than one value for filter key \"dangling\"");
	if (d && strcmp(*d, "1") != 0 && strcmp(*d, "true") != 0 && strcmp(*d, "0") != 0 && strcmp(*d, "false") != 0)
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid value for filter 'dangling', must be \"true\" (or \"1\"), or \"false\" (or \"0\")");
	q->dangling = d && (strcmp(*d, "1") == 0 || strcmp(*d, "true") == 0);
	for (char **t = cs_filter_values(&q->f, "type"); t && *t; t++)
		if (strcmp(*t, "builtin") != 0 && strcmp(*t, "custom") != 0)
			return cs_fail(err, CS_ERR_INVALID, 0, "invalid filter: 'type'='%s'", *t);
	return 0;
}

static bool match(const struct query *q, const struct cs_network *n, size_t used)
{
	const struct cs_network_doc *d = n->doc;
	bool builtin = cs_network_predefined(d->name);

	if (q->dangling_given && q->dangling != (!builtin && !used))
		return false;
	return cs_filter_exact(&q->f, "driver", d->driver) && cs_filter_match(&q->f, "name", d->name) && cs_filter_match(&q->f, "id", d->id) &&
	       cs_filter_labels(&q->f, "label", d->labels) && cs_filter_exact(&q->f, "scope", d->scope) &&
	       cs_filter_exact(&q->f, "type", builtin ? "builtin" : "custom");
}

int cs_network_list(struct cs_engine *e, const char *filters, int api, struct cs_str *out, struct cs_err **err)
{
	cs_auto(query_done) struct query q = {0};
	bool detail = api && api < 128; /* the older list tells what inspect tells */

	if (query_init(filters, &q, err) < 0)
		return -1;
	struct cs_container **all = cs_containers_all(e, NULL);
	struct cs_network **v = cs_networks_all(e, NULL);
	cs_str_putc(out, '[');
	for (struct cs_network **p = v; *p; p++) {
		size_t n = 0;
		struct member *m = detail || q.dangling_given ? members(all, *p, &n) : NULL;
		if (match(&q, *p, n)) {
			if (out->buf[out->len - 1] != '[')
				cs_str_putc(out, ',');
			put(*p, m, n, detail, api, out);
		}
		members_free(m, n);
	}
	cs_str_puts(out, "]\n");
	cs_networks_free(v);
	cs_containers_free(all);
	return out->failed ? cs_fail(err, CS_ERR_INTERNAL, 0, "the answer is too large") : 0;
}

int cs_network_inspect(struct cs_engine *e, const char *ref, const char *scope, bool verbose, int api, struct cs_str *out, struct cs_err **err)
{
	cs_autonetwork struct cs_network *n = NULL;
	size_t count = 0;

	(void)verbose; /* adds swarm services, and there are none */
	if (cs_network_get(e, ref, &n, err) < 0)
		return -1;
	if (!cs_empty(scope) && !cs_streq(scope, n->doc->scope))
		return cs_fail(err, CS_ERR_NOT_FOUND, 0, "network %s not found", ref);
	struct cs_container **all = cs_containers_all(e, NULL);
	struct member *m = members(all, n, &count);
	cs_containers_free(all);
	put(n, m, count, true, api, out);
	cs_str_putc(out, '\n');
	members_free(m, count);
	return out->failed ? cs_fail(err, CS_ERR_INTERNAL, 0, "the answer is too large") : 0;
}

/* ---- create ---- */

static bool name_taken(struct cs_engine *e, const char *name)
{
	struct cs_network **v = cs_networks_all(e, NULL);
	bool hit = false;

	for (struct cs_network **p = v; *p && !hit; p++)
		hit = cs_streq((*p)->doc->name, name);
	cs_networks_free(v);
	return hit;
}

int cs_network_create(struct cs_engine *e, const struct cs_network_create *req, int api, char **ret_id, struct cs_err **err)
{
	cs_autonetwork struct cs_network *from = NULL;
	struct cs_network_doc *d = NULL;
	struct cs_network *n = NULL;
	char id[CS_ID_LEN + 1];

	if (cs_network_predefined(req->name))
		return cs_fail(err, CS_ERR_DENIED, 0, "operation is not permitted on predefined %s network ", req->name);
	CS_GUARD(&e->networks->change);
	if (req->config_from && !cs_empty(req->config_from->network) && cs_network_get(e, req->config_from->network, &from, NULL) < 0)
		from = NULL; /* told by the check */
	if (cs_network_doc_make(req, api, cs_engine_config(e)->network.network_opts, from ? from->doc : NULL, &d, err) < 0)
		return -1;
	if (name_taken(e, d->name)) {
		(void)cs_fail(err, CS_ERR_CONFLICT, 0, "network with name %s already exists", d->name);
		cs_network_doc_free(d);
		return -1;
	}
	cs_id_new(id);
	d->id = cs_xstrdup(id);
	if (cs_network_add(e, d, &n, err) < 0)
		return -1;
	cs_network_event(e, n, "create", NULL);
	*ret_id = cs_xstrdup(id);
	cs_network_unref(n);
	return 0;
}

/* ---- remove, prune ---- */

static bool needed_by_other(struct cs_engine *e, const struct cs_network *n)
{
	struct cs_network **v = n->doc->config_only ? cs_networks_all(e, NULL) : NULL;
	bool hit = false;

	for (struct cs_network **p = v; p && *p && !hit; p++)
		hit = cs_streq((*p)->doc->config_from, n->doc->name);
	cs_networks_free(v);
	return hit;
}

/* A container shows as exited before its endpoints are gone: who removes the network then waits for that. Before `change` is taken. */
static void wait_for_leaving(struct cs_engine *e, const struct cs_network *n)
{
	struct cs_container **all = cs_containers_all(e, NULL);

	for (struct cs_container **p = all; p && *p; p++) {
		struct cs_container *c = *p;
		bool leaving = false;
		pthread_mutex_lock(&c->lock);
		for (size_t i = 0; c->status != CS_ST_RUNNING && c->nets && i < c->nets->n_endpoints; i++)
			leaving |= !cs_empty(c->nets->endpoints[i].endpoint_id) && cs_streq(c->nets->endpoints[i].network_id, n->doc->id);
		pthread_mutex_unlock(&c->lock);
		if (!leaving)
			continue;
		pthread_mutex_lock(&c->op_lock); /* held until they are gone */
		pthread_mutex_unlock(&c->op_lock);
	}
	cs_containers_free(all);
}

static int in_use(struct cs_engine *e, const struct cs_network *n, struct cs_err **err)
{
	cs_autostr struct cs_str text = CS_STR_INIT(1 << 20);
	size_t count = 0;
	struct cs_container **all = cs_containers_all(e, NULL);
	struct member *m = members(all, n, &count);

	cs_containers_free(all);
	for (size_t i = 0; i < count; i++)
		cs_str_putf(&text, "%sname:\"%s\" id:\"%.12s\"", i ? ", " : "", m[i].name, m[i].endpoint);
	members_free(m, count);
	if (!count)
		return 0;
	return cs_fail(err, CS_ERR_DENIED, 0, "error while removing network: network %s has active endpoints (%s)", n->doc->name, text.buf ? text.buf : "");
}

static int remove_one(struct cs_engine *e, struct cs_network *n, struct cs_err **err) /* change held */
{
	if (in_use(e, n, err) < 0)
		return -1;
	if (needed_by_other(e, n))
		return cs_fail(err, CS_ERR_DENIED, 0, "error while removing network: configuration network \"%s\" is in use", n->doc->name);
	if (cs_network_drop(e, n, err) < 0)
		return cs_wrap(err, "error while removing network");
	if (!n->doc->config_only)
		cs_network_event(e, n, "destroy", NULL);
	return 0;
}

int cs_network_remove(struct cs_engine *e, const char *ref, struct cs_err **err)
{
	cs_autonetwork struct cs_network *n = NULL, *seen = NULL;

	if (cs_network_get(e, ref, &seen, err) < 0)
		return -1;
	wait_for_leaving(e, seen);
	CS_GUARD(&e->networks->change);
	if (cs_network_get(e, ref, &n, err) < 0)
		return -1;
	if (cs_network_predefined(n->doc->name))
		return cs_fail(err, CS_ERR_DENIED, 0, "%s is a pre-defined network and cannot be removed", n->doc->name);
	return remove_one(e, n, err);
}

static bool prunable(const struct cs_network *n, const struct cs_filters *f, int64_t until)
{
	const struct cs_network_doc *d = n->doc;

	return !cs_network_predefined(d->name) && !d->config_only && (!until || d->created <= until) && cs_filter_labels(f, "label", d->labels) &&
	       (!cs_filter_values(f, "label!") || !cs_filter_labels(f, "label!", d->labels));
}

int cs_network_prune(struct cs_engine *e, const char *filters, struct cs_str *out, struct cs_err **err)
{
	static const char *const allowed[] = {"label", "label!", "until", NULL};
	cs_autofilters struct cs_filters f = {0};
	int64_t until = 0;
	bool first = true;

	if (cs_filters_parse(filters, allowed, &f, err) < 0 || cs_filter_until(&f, &until, err) < 0)
		return -1;
	if (atomic_exchange(&e->networks->pruning, true))
		return cs_fail(err, CS_ERR_CONFLICT, 0, "a prune operation is already running");
	struct cs_network **v = cs_networks_all(e, NULL);
	cs_str_puts(out, "{\"NetworksDeleted\":");
	for (struct cs_network **p = v; *p; p++) {
		if (!prunable(*p, &f, until))
			continue;
		wait_for_leaving(e, *p);
		CS_GUARD(&e->networks->change);
		cs_autonetwork struct cs_network *n = NULL;
		cs_autoerr struct cs_err *why = NULL;
		if (cs_network_get(e, (*p)->doc->id, &n, NULL) < 0)
			continue;
		if (remove_one(e, n, &why) < 0) {
			if (cs_err_code(why) != CS_ERR_DENIED) /* which is in use */
				cs_warn("engine", "prune: network %s stays: %s", n->doc->name, why->msg);
			continue;
		}
		cs_str_putc(out, first ? '[' : ',');
		cs_json_put_string(out, n->doc->name);
		first = false;
	}
	cs_networks_free(v);
	cs_str_puts(out, first ? "null}\n" : "]}\n");
	atomic_store(&e->networks->pruning, false);
	cs_prune_event(e, "network", 0);
	return 0;
}

/* Endpoint's id in the service: container's name as it is now. */
static json_t *names_of_endpoints(struct cs_engine *e)
{
	struct cs_container **all = cs_containers_all(e, NULL);
	json_t *names = json_object();
	char id[CS_HCN_GUID_TEXT];
	HCN_GUID guid;

	for (struct cs_container **p = all; *p; p++) {
		CS_GUARD(&(*p)->lock);
		for (size_t i = 0; (*p)->nets && i < (*p)->nets->n_endpoints; i++) {
			const char *endpoint = (*p)->nets->endpoints[i].endpoint_id;
			if (cs_empty(endpoint) || !cs_hcn_guid_of(endpoint, &guid))
				continue;
			cs_hcn_guid_text(&guid, id);
			(void)json_object_set_new(names, id, json_string((*p)->name));
		}
	}
	cs_containers_free(all);
	return names;
}

/* The service knows the names that containers had when they started. */
static char *with_names(struct cs_engine *e, const char *report)
{
	cs_autojson json_t *doc = cs_json_parse(report, strlen(report), NULL), *names = names_of_endpoints(e);
	json_t *port;
	size_t i;

	json_array_foreach(json_object_get(doc, "Ports"), i, port) {
		json_t *name = json_object_get(names, json_string_value(json_object_get(port, "Endpoint")));
		if (name)
			(void)json_object_set(port, "Name", name);
	}
	return doc ? json_dumps(doc, JSON_COMPACT) : NULL;
}

int cs_network_reachability(struct cs_engine *e, struct cs_str *out, struct cs_err **err)
{
	char *report = NULL, *record = NULL;

	if (e->networks->service_error)
		return cs_fail(err, CS_ERR_UNAVAILABLE, 0, "there is no network service: %s", e->networks->service_error);
	HRESULT r = cs_hcn_reachability(&report, &record);
	if (r != HCS_S_OK)
		return cs_hcn_failed(r, record, err);
	cs_autofree char *text = report ? with_names(e, report) : NULL;
	cs_str_puts(out, text ? text : "{}");
	cs_str_putc(out, '\n');
	HcnFree(report);
	return 0;
}
