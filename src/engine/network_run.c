/* SPDX-License-Identifier: Apache-2.0
 *
 * A container's endpoints during its run. What was given (ids, addresses, ports) is in the container's row before its process exists, so that a
 * daemon that finds it running makes the same objects again. op_lock of the container is held throughout; its lock only to change what is read. */
#include <string.h>

#include "base/id.h"
#include "base/log.h"
#include "engine/network_publish.h"
#include "engine/store.h"
#include "engine/validate.h"

static void autoendpoint_done(struct cs_endpoint_settings **s) { cs_endpoint_settings_free(*s); }

void cs_network_run_done(struct cs_network_run *r)
{
	free(r->path);
	cs_strv_free(r->link_env);
	*r = (struct cs_network_run){0};
}

/* ---- the container's own books ---- */

struct cs_endpoint_settings *cs_container_endpoint(struct cs_container *c, const char *name)
{
	for (size_t i = 0; c->nets && i < c->nets->n_endpoints; i++)
		if (cs_streq(c->nets->endpoints[i].key, name))
			return &c->nets->endpoints[i];
	return NULL;
}

const char *cs_container_main_network(const struct cs_container *c)
{
	const char *mode = c->host->network_mode;

	return cs_empty(mode) || cs_streq(mode, "default") ? "bridge" : mode;
}

void cs_container_net_defaults(struct cs_container *c)
{
	if (c->nets)
		return;
	c->nets = cs_xcalloc(1, sizeof(*c->nets));
	if (cs_mode_container(c->host->network_mode))
		return;
	c->nets->endpoints = cs_xcalloc(1, sizeof(*c->nets->endpoints));
	c->nets->n_endpoints = 1;
	c->nets->endpoints[0].key = cs_xstrdup(cs_container_main_network(c));
}

char *cs_container_net_json(struct cs_container *c)
{
	cs_autostr struct cs_str s = CS_STR_INIT((size_t)8 << 20);

	if (!c->nets)
		return cs_xstrdup("{}");
	cs_json_encode(&cs_container_networks_type, c->nets, 0, &s);
	return cs_str_steal(&s);
}

int cs_container_net_save(struct cs_container *c, struct cs_err **err)
{
	pthread_mutex_lock(&c->lock);
	cs_autofree char *text = cs_container_net_json(c);
	pthread_mutex_unlock(&c->lock);
	if (!text)
		return cs_fail(err, CS_ERR_INVALID, 0, "the network settings are too large");
	return cs_store_container_networks(c->e->store, c->id, text, err);
}

bool cs_container_net_own(const struct cs_container *c)
{
	return !c->config->network_disabled && !cs_streq(c->host->network_mode, "host") && !cs_mode_container(c->host->network_mode);
}

static void clear(struct cs_endpoint_settings *s) /* lock held */
{
	char **texts[] = {&s->endpoint_id, &s->gateway, &s->ip_address, &s->ipv6_gateway, &s->global_ipv6_address, &s->mac_address};

	for (size_t i = 0; i < CS_ARRAY_SIZE(texts); i++)
		free(TAKE_PTR(*texts[i]));
	s->ip_prefix_len = s->global_ipv6_prefix_len = 0;
}

void cs_container_net_forget(struct cs_container *c)
{
	for (size_t i = 0; i < c->nets->n_endpoints; i++)
		clear(&c->nets->endpoints[i]);
	free(TAKE_PTR(c->nets->ports));
}

static void put_back(struct cs_container *c, struct cs_endpoint_settings *s, struct cs_endpoint_settings *with) /* moves the contents of `with` */
{
	CS_GUARD(&c->lock);
	struct cs_endpoint_settings old = *s;
	char *key = old.key;
	*s = *with;
	s->key = key;
	old.key = NULL;
	*with = old;
}

struct cs_network *cs_container_network_of(struct cs_container *c, const struct cs_endpoint_settings *s, struct cs_err **err)
{
	struct cs_network *n = NULL;
	/* the predefined ones by name: their ids are the engine's own affair */
	const char *ref = cs_network_predefined(s->key) || cs_empty(s->network_id) ? s->key : s->network_id;

	return cs_network_get(c->e, ref, &n, err) < 0 ? NULL : n;
}

/* Names under which the others of a user-defined network find it; the first one is the PTR record's. */
static void set_dns_names(struct cs_container *c, struct cs_endpoint_settings *s)
{
	cs_autofree char *short_id = cs_xstrndup(c->id, CS_SHORT_ID_LEN);
	char *const fixed[] = {short_id, c->config->hostname};
	char **names = NULL;

	pthread_mutex_lock(&c->lock);
	cs_strv_push(&names, c->name);
	pthread_mutex_unlock(&c->lock);
	for (char **p = s->aliases; p && *p; p++)
		if (!cs_strv_has(names, *p))
			cs_strv_push(&names, *p);
	for (size_t i = 0; i < CS_ARRAY_SIZE(fixed); i++)
		if (!cs_empty(fixed[i]) && !cs_strv_has(names, fixed[i]))
			cs_strv_push(&names, fixed[i]);
	cs_strv_free(s->dns_names);
	s->dns_names = names;
}

/* ---- the namespace ---- */

static int open_namespace(struct cs_container *c, int pid, struct cs_err **err)
{
	cs_autostr struct cs_str doc = CS_STR_INIT(1 << 20);
	char id[CS_HCN_GUID_TEXT], *record = NULL;
	HCN_GUID guid;

	if (!cs_hcn_guid_of(c->id, &guid))
		return cs_fail(err, CS_ERR_INTERNAL, 0, "container %s has a malformed id", c->id);
	cs_hcn_guid_text(&guid, id);
	cs_str_puts(&doc, "{\"SchemaVersion\":{\"Major\":2,\"Minor\":0}");
	cs_json_put_kstr(&doc, "ID", id);
	cs_str_puts(&doc, ",\"Type\":\"Guest\"");
	if (pid > 0)
		cs_str_putf(&doc, ",\"Linux\":{\"ProcessId\":%d}", pid);
	cs_json_put_key(&doc, "Dns");
	cs_container_put_dns(c, &doc);
	cs_str_putc(&doc, '}');
	HRESULT r = HcnCreateNamespace(&guid, doc.buf, &c->net_ns, &record);
	return r == HCS_S_OK ? 0 : cs_hcn_failed(r, record, err);
}

static void close_namespace(struct cs_container *c)
{
	char *record = NULL;
	HCN_GUID guid;

	if (!c->net_ns)
		return;
	HRESULT r = cs_hcn_guid_of(c->id, &guid) ? HcnDeleteNamespace(&guid, &record) : HCS_S_OK;
	if (r != HCS_S_OK && r != HCN_E_NAMESPACE_NOT_FOUND)
		cs_logk(CS_LOG_WARN, "engine", "container", c->id, "its network namespace stays: %s", record ? record : "no details");
	HcnFree(record);
	(void)HcnCloseNamespace(TAKE_PTR(c->net_ns));
}

/* ---- one endpoint ---- */

static int change_policy(HCN_ENDPOINT ep, const char *request, const char *policy, struct cs_err **err)
{
	cs_autofree char *doc = cs_xasprintf("{\"ResourceType\":\"Policy\",\"RequestType\":\"%s\",\"Settings\":%s}", request, policy);
	char *record = NULL;
	HRESULT r = HcnModifyEndpoint(ep, doc, &record);

	return r == HCS_S_OK ? 0 : cs_hcn_failed(r, record, err);
}

int cs_endpoint_query(HCN_ENDPOINT ep, json_t **ret, struct cs_err **err)
{
	char *answer = NULL, *record = NULL;
	HRESULT r = HcnQueryEndpointProperties(ep, NULL, &answer, &record);

	if (r != HCS_S_OK)
		return cs_hcn_failed(r, record, err);
	*ret = answer ? cs_json_parse(answer, strlen(answer), err) : NULL;
	HcnFree(answer);
	return *ret ? 0 : cs_fail(err, CS_ERR_INTERNAL, 0, "host network service: empty answer");
}

static int attach(struct cs_container *c, const char *id, const struct cs_ports *ports, struct cs_err **err)
{
	char doc[256], guid_text[CS_HCN_GUID_TEXT], *record = NULL;
	HCN_GUID guid;

	if (!cs_hcn_guid_of(id, &guid))
		return cs_fail(err, CS_ERR_INTERNAL, 0, "malformed endpoint id %s", id);
	cs_hcn_guid_text(&guid, guid_text);
	(void)snprintf(doc, sizeof(doc), "{\"ResourceType\":\"Endpoint\",\"RequestType\":\"Add\",\"Settings\":{\"EndpointId\":\"%s\"}}", guid_text);
	HRESULT r = HcnModifyNamespace(c->net_ns, doc, &record);
	if (r == HCS_S_OK)
		return 0;
	struct cs_err *why = NULL;
	(void)cs_hcn_failed(r, record, &why);
	return r == HCN_E_PORT_ALREADY_EXISTS ? cs_publish_failed(c, id, ports, why, err) : cs_err_move(err, why);
}

/* CAP_NET_ADMIN: it may give itself addresses, so some are not ours to know. */
static bool may_configure(const struct cs_container *c)
{
	uint64_t caps = 0;

	return cs_caps_effective(c->host->cap_add, c->host->cap_drop, c->host->privileged, &caps, NULL) < 0 || caps & (uint64_t)1 << CS_CAP_NET_ADMIN;
}

static int make_endpoint(struct cs_container *c, struct cs_network *n, const struct cs_endpoint_settings *s, const struct cs_ports *ports, bool given,
			 HCN_ENDPOINT *ret, struct cs_err **err)
{
	const struct cs_network_config *cfg = &cs_engine_config(c->e)->network;
	cs_autostr struct cs_str doc = CS_STR_INIT((size_t)8 << 20);
	cs_autostrv char **aliases = NULL, **endpoints = NULL, **names = NULL;
	bool bridge = cs_streq(n->doc->name, "bridge");
	char *record = NULL;
	HCN_GUID guid;

	cs_links_endpoints(c, s, &aliases, &endpoints, &names); /* on the default bridge they open ports when containers may not talk to each other */
	struct cs_endpoint_doc d = {.antispoof = !may_configure(c), .exposed = c->config->exposed_ports, .s = s, .n = n, .container_name = c->name, .ports = ports, .link_aliases = aliases, .link_endpoints = endpoints, .link_names = names, .given = given, .without_ipv6 = cs_host_without_ipv6(c->host)};
	if (bridge) {
		d.gateway4 = cfg->default_gateway;
		d.gateway6 = n->doc->enable_ipv6 ? cfg->default_gateway_v6 : NULL;
	}
	cs_endpoint_put_hcn(&d, &doc);
	if (doc.failed || !cs_hcn_guid_of(s->endpoint_id, &guid))
		return cs_fail(err, CS_ERR_INVALID, 0, "the endpoint's settings are too large");
	HRESULT r = HcnCreateEndpoint(n->h, &guid, doc.buf, ret, &record);
	return r == HCS_S_OK ? 0 : cs_hcn_failed(r, record, err);
}

static void delete_endpoint(struct cs_container *c, const char *id)
{
	char *record = NULL;
	HCN_GUID guid;

	if (cs_empty(id) || !cs_hcn_guid_of(id, &guid))
		return;
	HRESULT r = HcnDeleteEndpoint(&guid, &record);
	if (r != HCS_S_OK && r != HCN_E_ENDPOINT_NOT_FOUND)
		cs_logk(CS_LOG_WARN, "engine", "container", c->id, "endpoint %.12s stays: %s", id, record ? record : "no details");
	HcnFree(record);
}

static bool in_kernel(const struct cs_network *n) { return !cs_streq(n->doc->driver, "host") && !cs_streq(n->doc->driver, "null"); }

int cs_endpoint_up(struct cs_container *c, struct cs_network *n, struct cs_endpoint_settings *s, struct cs_ports *ports, bool given, struct cs_err **err)
{
	cs_auto(autoendpoint_done) struct cs_endpoint_settings *got = cs_endpoint_settings_copy(s);
	cs_autojson json_t *answer = NULL;
	HCN_ENDPOINT ep = NULL;
	char id[CS_ID_LEN + 1];

	if (n->doc->config_only)
		return cs_fail(err, CS_ERR_DENIED, 0, "cannot create endpoint on configuration-only network");
	if (!given) {
		cs_id_new(id);
		clear(got);
		got->endpoint_id = cs_xstrdup(id);
	}
	if (!cs_network_predefined(n->doc->name)) /* given ones, too: the engine may have ended between a new name's row and the endpoints' */
		set_dns_names(c, got);
	free(got->network_id);
	got->network_id = cs_xstrdup(n->doc->id);
	if (!in_kernel(n)) {
		put_back(c, s, got);
		return 0;
	}
	if (!n->h)
		return cs_fail(err, CS_ERR_UNAVAILABLE, 0, "network %s cannot be used: %s", n->doc->name, n->why ? n->why : "it is not there");
	if (!given && !cs_empty(s->wanted_mac) && (cs_streq(n->doc->driver, "ipvlan") || cs_streq(n->doc->driver, "l2bridge")))
		return cs_fail(err, CS_ERR_INTERNAL, 0, "ipvlan interfaces do not support custom mac address assignment"); /* dockerd's words, and its 500 */
	if (make_endpoint(c, n, got, ports, given, &ep, err) < 0)
		return -1;
	int r = attach(c, got->endpoint_id, ports, err);
	if (r == 0)
		r = cs_endpoint_query(ep, &answer, err);
	if (r == 0)
		cs_endpoint_take(got, n, ports, answer);
	else
		delete_endpoint(c, got->endpoint_id);
	(void)HcnCloseEndpoint(ep);
	if (r == 0)
		put_back(c, s, got);
	return r;
}

void cs_endpoint_down(struct cs_container *c, struct cs_endpoint_settings *s)
{
	cs_autonetwork struct cs_network *n = cs_container_network_of(c, s, NULL);

	if (cs_empty(s->endpoint_id))
		return;
	if (!n || in_kernel(n))
		delete_endpoint(c, s->endpoint_id);
	pthread_mutex_lock(&c->lock);
	clear(s);
	pthread_mutex_unlock(&c->lock);
	if (n)
		cs_network_event(c->e, n, "disconnect", c->id);
}

/* ---- start and stop ---- */

static int by_key(const void *a, const void *b)
{
	return strcmp(((const struct cs_endpoint_settings *)a)->key, ((const struct cs_endpoint_settings *)b)->key);
}

/* Endpoints whose network was not there yet when they were asked for stand under what the user wrote; now they get its name. */
static int settle_keys(struct cs_container *c, struct cs_err **err)
{
	for (size_t i = 0; i < c->nets->n_endpoints; i++) {
		struct cs_endpoint_settings *s = &c->nets->endpoints[i];
		if (cs_network_predefined(s->key) || !cs_empty(s->network_id))
			continue;
		cs_autonetwork struct cs_network *n = cs_container_network_of(c, s, err);
		if (!n)
			return -1;
		CS_GUARD(&c->lock); /* the check writes addresses as they are usually written */
		if (cs_endpoint_check(s, n->doc->name, n->doc, err) < 0)
			return -1;
		if (cs_streq(s->key, n->doc->name))
			continue;
		if (cs_container_endpoint(c, n->doc->name))
			return cs_fail(err, CS_ERR_INVALID, 0, "network %s is given twice", n->doc->name);
		free(s->key);
		s->key = cs_xstrdup(n->doc->name);
	}
	CS_GUARD(&c->lock);
	if (c->nets->n_endpoints)
		qsort(c->nets->endpoints, c->nets->n_endpoints, sizeof(*c->nets->endpoints), by_key);
	return 0;
}

static int up_all(struct cs_container *c, struct cs_err **err)
{
	cs_autoowners struct cs_port_owners o = {0}, got = {0};
	cs_autoports struct cs_ports ports = {0};

	for (size_t i = 0; i < c->nets->n_endpoints; i++) { /* before ports are given to one of them */
		cs_autonetwork struct cs_network *n = cs_container_network_of(c, &c->nets->endpoints[i], NULL);
		if (n && !c->e->networks->service_error && cs_network_revive(c->e, &n, err) < 0)
			return -1;
	}
	cs_port_owners_elect(c, false, NULL, &o);
	const struct cs_endpoint_settings *owner = cs_port_owners_apart(&o) ? NULL : cs_port_owners_sole(&o);

	if (cs_port_owners_sole(&o) && cs_publish_wanted(c, &o, &ports, err) < 0)
		return -1;
	for (size_t i = 0; i < c->nets->n_endpoints; i++) {
		struct cs_endpoint_settings *s = &c->nets->endpoints[i];
		if (c->e->networks->no_bridge && cs_streq(s->key, "bridge"))
			continue;
		cs_autonetwork struct cs_network *n = cs_container_network_of(c, s, err);
		if (!n || cs_endpoint_up(c, n, s, s == owner ? &ports : NULL, false, err) < 0)
			return -1;
		cs_network_event(c->e, n, "connect", c->id);
	}
	cs_port_owners_elect(c, true, NULL, &got); /* now it is known */
	if (!cs_port_owners_apart(&o))
		cs_publish_show(c, &ports, &got);
	if (ports.n && (cs_port_owners_apart(&o) || got.s[0] != o.s[0] || got.s[1] != o.s[1] || cs_publish_opens(c, &got)) && cs_publish_all(c, &got, err) < 0)
		return -1;
	return cs_container_net_save(c, err);
}

static bool needs_namespace(struct cs_container *c)
{
	bool none = c->e->networks->no_bridge;
	size_t n = 0;

	for (size_t i = 0; i < c->nets->n_endpoints; i++)
		n += !cs_streq(c->nets->endpoints[i].key, "none") && !(none && cs_streq(c->nets->endpoints[i].key, "bridge"));
	return cs_container_net_own(c) && n > 0;
}

int cs_container_net_start(struct cs_container *c, struct cs_network_run *ret, struct cs_err **err)
{
	cs_autostrv char **hosts = NULL;
	struct cs_err *inner = NULL;
	HCN_GUID guid;

	if (cs_mode_container(c->host->network_mode))
		return 0;
	if (c->config->network_disabled)
		return cs_container_files_write(c, NULL, err);
	if (settle_keys(c, &inner) == 0 && needs_namespace(c)) {
		if (c->e->networks->service_error)
			(void)cs_fail(&inner, CS_ERR_UNAVAILABLE, 0, "there is no network service: %s", c->e->networks->service_error);
		else if (open_namespace(c, 0, &inner) == 0 && cs_hcn_guid_of(c->id, &guid))
			cs_hcn_guid_text(&guid, ret->ns);
	}
	if (inner || up_all(c, &inner) < 0 || cs_links_resolve(c, &hosts, &ret->link_env, &inner) < 0 || cs_container_files_write(c, hosts, &inner) < 0) {
		cs_container_net_stop(c);
		cs_network_run_done(ret);
		(void)cs_err_move(err, inner);
		return cs_wrap(err, "failed to set up container networking");
	}
	if (c->net_ns)
		ret->path = cs_xasprintf("/proc/%d/fd/%d", (int)getpid(), cs_hcn_namespace_fd(c->net_ns));
	return 0;
}

void cs_container_net_stop(struct cs_container *c)
{
	close_namespace(c); /* first: with it go the interfaces, all at once */
	for (size_t i = 0; c->nets && i < c->nets->n_endpoints; i++)
		cs_endpoint_down(c, &c->nets->endpoints[i]);
	CS_GUARD(&c->lock);
	if (c->nets)
		free(TAKE_PTR(c->nets->ports));
	cs_publish_forget(c);
}

void cs_container_net_flush(struct cs_container *c)
{
	if (!cs_container_net_own(c) || c->e->networks->service_error)
		return;
	pthread_mutex_lock(&c->op_lock); /* an exit shows before they are deleted */
	pthread_mutex_unlock(&c->op_lock);
	cs_hcn_flush();
}

/* ---- a container that ran on without us ---- */

void cs_container_net_adopt(struct cs_container *c)
{
	cs_autoerr struct cs_err *err = NULL;
	cs_autoowners struct cs_port_owners o = {0};
	cs_autoports struct cs_ports ports = {0};
	bool failed = false;

	if (!cs_container_net_own(c) || !needs_namespace(c) || c->e->networks->service_error)
		return;
	cs_port_owners_elect(c, true, NULL, &o);
	if (open_namespace(c, c->pid, &err) < 0 || cs_ports_given(c->nets->ports, c->host, cs_port_owners_apart(&o), &ports, &err) < 0) {
		cs_autofree char *text = cs_err_text(err);
		cs_logk(CS_LOG_ERROR, "engine", "container", c->id, "its network cannot be taken over: %s", text);
		return;
	}
	cs_publish_led(c, &o, false, &ports);
	const struct cs_endpoint_settings *owner = cs_port_owners_apart(&o) ? NULL : cs_port_owners_sole(&o);
	for (size_t i = 0; i < c->nets->n_endpoints; i++) {
		struct cs_endpoint_settings *s = &c->nets->endpoints[i];
		cs_autoerr struct cs_err *why = NULL;
		if (cs_empty(s->endpoint_id))
			continue;
		cs_autonetwork struct cs_network *n = cs_container_network_of(c, s, &why);
		if (n && cs_endpoint_up(c, n, s, s == owner ? &ports : NULL, true, &why) == 0)
			continue;
		cs_autofree char *text = cs_err_text(why);
		cs_logk(CS_LOG_ERROR, "engine", "container", c->id, "its endpoint on network %s cannot be taken over: %s", s->key, text);
		failed = true;
	}
	if (failed || !ports.n)
		return;
	if ((!owner || cs_publish_opens(c, &o)) && cs_publish_at(c, &o, &ports, &err) < 0) {
		cs_autofree char *text = cs_err_text(err);
		cs_logk(CS_LOG_ERROR, "engine", "container", c->id, "its published ports cannot be taken over: %s", text);
		return;
	}
	cs_publish_keep(c, &o);
}

int cs_container_net_join(struct cs_container *c, bool resolver_changes, struct cs_err **err)
{
	cs_autostr struct cs_str doc = CS_STR_INIT(1 << 20);
	char *record = NULL;

	if (!c->net_ns)
		return c->e->networks->service_error ? cs_fail(err, CS_ERR_UNAVAILABLE, 0, "there is no network service: %s", c->e->networks->service_error)
						     : open_namespace(c, c->pid, err);
	if (!resolver_changes)
		return 0;
	cs_str_puts(&doc, "{\"ResourceType\":\"Dns\",\"RequestType\":\"Update\",\"Settings\":");
	cs_container_put_dns(c, &doc);
	cs_str_putc(&doc, '}');
	HRESULT r = HcnModifyNamespace(c->net_ns, doc.buf, &record);
	return r == HCS_S_OK ? 0 : cs_hcn_failed(r, record, err);
}

/* ---- another name, other links ---- */

/* What an endpoint's service knows of names: its own, and those of links. */
static int tell_names(struct cs_container *c, const struct cs_endpoint_settings *s, char *const *dns_names, struct cs_err **err)
{
	static char *const none[] = {NULL};
	cs_autostr struct cs_str doc = CS_STR_INIT(1 << 20);
	cs_autostrv char **aliases = NULL, **endpoints = NULL, **names = NULL;
	HCN_ENDPOINT ep = NULL;
	HCN_GUID guid;

	cs_str_puts(&doc, "{\"Type\":\"DnsNames\",\"Settings\":{");
	cs_json_put_key(&doc, "Names");
	cs_json_put_strv(&doc, dns_names ? dns_names : none);
	cs_links_endpoints(c, s, &aliases, &endpoints, &names);
	cs_links_put(aliases, endpoints, names, &doc);
	cs_str_puts(&doc, "}}");
	if (!cs_hcn_guid_of(s->endpoint_id, &guid) || HcnOpenEndpoint(&guid, &ep, NULL) != HCS_S_OK)
		return cs_fail(err, CS_ERR_INTERNAL, 0, "no endpoint");
	int r = change_policy(ep, "Update", doc.buf, err);
	(void)HcnCloseEndpoint(ep);
	return r;
}

void cs_container_net_renamed(struct cs_container *c)
{
	for (size_t i = 0; c->nets && i < c->nets->n_endpoints; i++) {
		struct cs_endpoint_settings *s = &c->nets->endpoints[i];
		cs_autoerr struct cs_err *err = NULL;

		if (cs_empty(s->endpoint_id) || cs_network_predefined(s->key))
			continue;
		cs_auto(autoendpoint_done) struct cs_endpoint_settings *got = cs_endpoint_settings_copy(s);
		set_dns_names(c, got);
		if (tell_names(c, s, got->dns_names, &err) < 0)
			cs_logk(CS_LOG_WARN, "engine", "container", c->id, "its new name is not known on network %s: %s", s->key, err->msg);
		put_back(c, s, got);
	}
	if (cs_container_net_save(c, NULL) < 0)
		cs_logk(CS_LOG_WARN, "engine", "container", c->id, "its network settings could not be written");
}

void cs_container_net_unlinked(struct cs_container *c)
{
	for (size_t i = 0; c->nets && i < c->nets->n_endpoints; i++) {
		const struct cs_endpoint_settings *s = &c->nets->endpoints[i];
		cs_autoerr struct cs_err *err = NULL;

		if (cs_empty(s->endpoint_id) || cs_streq(s->key, "host") || cs_streq(s->key, "none"))
			continue;
		if (tell_names(c, s, s->dns_names, &err) < 0)
			cs_logk(CS_LOG_WARN, "engine", "container", c->id, "a link that was removed is still known on network %s: %s", s->key, err->msg);
	}
}
