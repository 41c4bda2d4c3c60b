/* SPDX-License-Identifier: Apache-2.0
 *
 * A container's endpoints during its run. What was given (ids, addresses, ports) is in the container's row before its process exists, so that a
 * daemon that finds it running makes the same objects again. op_lock of the container is held throughout; its lock only to change what is read. */
#include <string.h>

#include "base/id.h"
#include "base/log.h"
#include "engine/network.h"
#include "engine/spec.h"
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

static struct cs_network *network_of(struct cs_container *c, const struct cs_endpoint_settings *s, struct cs_err **err)
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

/* All in one request: each change of ports opens the endpoint's others anew. */
static int add_ports(HCN_ENDPOINT ep, const struct cs_ports *p, struct cs_err **err)
{
	cs_autostr struct cs_str list = CS_STR_INIT((size_t)8 << 20);

	cs_str_puts(&list, "{\"Policies\":[");
	for (size_t i = 0; i < p->n; i++) {
		cs_str_puts(&list, i ? "," : "");
		cs_port_put_policy(&p->p[i], &list);
	}
	cs_str_puts(&list, "]}");
	return list.failed ? cs_fail(err, CS_ERR_INVALID, 0, "too many ports") : change_policy(ep, "Add", list.buf, err);
}

static int query(HCN_ENDPOINT ep, json_t **ret, struct cs_err **err)
{
	char *answer = NULL, *record = NULL;
	HRESULT r = HcnQueryEndpointProperties(ep, NULL, &answer, &record);

	if (r != HCS_S_OK)
		return cs_hcn_failed(r, record, err);
	*ret = answer ? cs_json_parse(answer, strlen(answer), err) : NULL;
	HcnFree(answer);
	return *ret ? 0 : cs_fail(err, CS_ERR_INTERNAL, 0, "host network service: empty answer");
}

/* As the service has them now. */
static void remove_ports(struct cs_container *c, HCN_ENDPOINT ep)
{
	cs_autojson json_t *answer = NULL, *list = json_array(), *doc = NULL;
	cs_autoerr struct cs_err *err = NULL;
	json_t *p;
	size_t i;

	if (query(ep, &answer, NULL) < 0)
		return;
	json_array_foreach(json_object_get(answer, "Policies"), i, p)
		if (cs_streq(json_string_value(json_object_get(p, "Type")), "PortMapping"))
			(void)json_array_append(list, p);
	if (!json_array_size(list))
		return;
	doc = json_pack("{sO}", "Policies", list);
	cs_autofree char *text = json_dumps(doc, JSON_COMPACT);
	if (change_policy(ep, "Remove", text, &err) < 0)
		cs_logk(CS_LOG_WARN, "engine", "container", c->id, "published ports cannot be moved: %s", err->msg);
}

/* Which container has this port. Caller frees; NULL: none of ours. */
static char *holder(struct cs_container *c, const struct cs_port *wanted)
{
	struct cs_container **all = cs_containers_all(c->e, NULL);
	char *ret = NULL;

	for (struct cs_container **p = all; *p && !ret; p++) {
		cs_autoports struct cs_ports has = {0};
		if (*p == c)
			continue;
		CS_GUARD(&(*p)->lock);
		if (!(*p)->nets || cs_ports_given((*p)->nets->ports, (*p)->host, false, &has, NULL) < 0)
			continue;
		for (size_t i = 0; i < has.n && !ret; i++)
			if (cs_port_meets(wanted, &has.p[i]))
				ret = cs_xstrdup((*p)->name);
	}
	cs_containers_free(all);
	return ret;
}

/* In dockerd's words, and, if it is a port that was taken, who has the one that they name. */
static int ports_failed(struct cs_container *c, const char *id, const struct cs_ports *wanted, struct cs_err *why, struct cs_err **err)
{
	cs_autofree char *text = cs_err_text(why), *who = NULL;
	for (size_t i = 0; wanted && i < wanted->n && !who; i++) {
		cs_autofree char *number = cs_xasprintf(":%u failed: port is already allocated", wanted->p[i].lo);
		if (strstr(text, number))
			who = holder(c, &wanted->p[i]);
	}
	enum cs_code code = cs_err_code(why);

	cs_err_free(why);
	return cs_fail(err, code, 0, "driver failed programming external connectivity on endpoint %s (%s): %s%s%s%s", c->name, id, text, who ? " (container " : "",
		       who ? who : "", who ? " has it)" : "");
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
	return r == HCN_E_PORT_ALREADY_EXISTS ? ports_failed(c, id, ports, why, err) : cs_err_move(err, why);
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
		r = query(ep, &answer, err);
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
	cs_autonetwork struct cs_network *n = network_of(c, s, NULL);

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

/* ---- published ports ---- */

/* Who has the published ports, of IPv4 and of IPv6: mostly one endpoint. */
struct owners {
	struct cs_endpoint_settings *s[2];
	struct cs_network *n[2];
	bool apart;
};

static void owners_done(struct owners *o)
{
	cs_network_unref(o->n[0]);
	cs_network_unref(o->n[1]);
}

static bool has_family(const struct cs_container *c, const struct cs_endpoint_settings *s, const struct cs_network_doc *n, bool v6, bool up)
{
	if (up)
		return !cs_empty(v6 ? s->global_ipv6_address : s->ip_address);
	return v6 ? n->enable_ipv6 && !cs_host_without_ipv6(c->host) : n->enable_ipv4;
}

/* The endpoints whose networks have the way out, for each family: the highest priority, then the first by name. Isolated networks publish nothing. What a
 * container has no address for is the other family's owner's to say. up: of those that are there; else all are about to be. */
static struct owners find_owners(struct cs_container *c, bool up)
{
	struct owners o = {0};

	for (size_t i = 0; i < c->nets->n_endpoints; i++) {
		struct cs_endpoint_settings *s = &c->nets->endpoints[i];
		cs_autonetwork struct cs_network *n = network_of(c, s, NULL);
		if (!n || !n->h || n->doc->internal || !cs_streq(n->doc->driver, "bridge") || (up && cs_empty(s->endpoint_id)))
			continue;
		for (int v6 = 0; v6 < 2; v6++) {
			if (!has_family(c, s, n->doc, v6, up) || (o.s[v6] && o.s[v6]->gw_priority >= s->gw_priority))
				continue;
			o.s[v6] = s;
			cs_network_unref(o.n[v6]);
			o.n[v6] = cs_network_ref(n);
		}
	}
	for (int v6 = 0; v6 < 2; v6++)
		if (!o.s[v6] && o.s[!v6]) {
			o.s[v6] = o.s[!v6];
			o.n[v6] = cs_network_ref(o.n[!v6]);
		}
	o.apart = o.s[0] != o.s[1];
	return o;
}

struct two_ports {
	struct cs_ports of[2]; /* IPv4's or all, IPv6's */
};

static void two_ports_done(struct two_ports *p)
{
	cs_ports_done(&p->of[0]);
	cs_ports_done(&p->of[1]);
}

/* What each owner has, or the first of them if it is the only one. */
static void share_out(struct cs_ports *all, bool apart, struct cs_ports ret[2])
{
	if (!apart) {
		ret[0] = *all;
		*all = (struct cs_ports){0};
		return;
	}
	cs_ports_of_family(all, false, &ret[0]);
	cs_ports_of_family(all, true, &ret[1]);
}

static const char *default_ip(const struct cs_network *n) { return n ? cs_strmap_get(n->doc->options, CS_OPT_HOST_BINDING) : NULL; }

static int wanted_ports(struct cs_container *c, const struct owners *o, struct cs_ports ret[2], struct cs_err **err)
{
	for (int v6 = 0; v6 <= o->apart; v6++) {
		cs_autoports struct cs_ports all = {0};
		if (cs_ports_wanted(c->config, c->host, default_ip(o->n[v6]), &all, err) < 0)
			return -1;
		if (!o->apart)
			share_out(&all, false, ret);
		else
			cs_ports_of_family(&all, v6, &ret[v6]);
	}
	return 0;
}

static int given_ports(struct cs_container *c, bool apart, struct cs_ports ret[2], struct cs_err **err)
{
	bool were = !cs_streq(c->ports_on[0], c->ports_on[1]);
	cs_autoports struct cs_ports all = {0};

	if (cs_ports_given(c->nets->ports, c->host, apart && were, &all, err) < 0)
		return -1;
	share_out(&all, apart, ret);
	return 0;
}

static bool routes(const struct cs_network *n, bool v6) { return cs_streq(cs_strmap_get(n->doc->options, v6 ? CS_OPT_GATEWAY6 : CS_OPT_GATEWAY4), "routed"); }

/* lock held */
static void see_routed(struct cs_container *c, const struct owners *o)
{
	for (int v6 = 0; v6 < 2; v6++)
		c->ports_routed[v6] = o->n[v6] && routes(o->n[v6], v6);
}

static void set_ports(struct cs_container *c, const struct cs_ports *given, const struct owners *o)
{
	struct cs_ports all = {0};
	const struct cs_endpoint_settings *one = o->apart ? NULL : o->s[0];

	if (given) {
		all.p = cs_xcalloc(given[0].n + given[1].n + 1, sizeof(*all.p));
		for (int v6 = 0; v6 < 2; v6++)
			for (size_t i = 0; i < given[v6].n; i++)
				all.p[all.n++] = given[v6].p[i]; /* their addresses are borrowed */
	}
	/* without a network that publishes, exposed ports are nobody's: as dockerd shows it */
	char *json = cs_ports_json(o->s[0] ? c->config->exposed_ports : NULL, &all, one && !cs_empty(one->ip_address), one && !cs_empty(one->global_ipv6_address));

	CS_GUARD(&c->lock);
	free(c->nets->ports);
	c->nets->ports = json;
	see_routed(c, o);
	for (int v6 = 0; v6 < 2; v6++) {
		free(c->ports_on[v6]);
		c->ports_on[v6] = all.n && o->s[v6] ? cs_xstrdup(o->s[v6]->endpoint_id) : NULL;
	}
	free(all.p);
}

static HCN_ENDPOINT open_endpoint(const char *id)
{
	HCN_ENDPOINT ep = NULL;
	HCN_GUID guid;

	return id && cs_hcn_guid_of(id, &guid) && HcnOpenEndpoint(&guid, &ep, NULL) == HCS_S_OK ? ep : NULL;
}

static void take_ports_from(struct cs_container *c, const char *id)
{
	HCN_ENDPOINT ep = open_endpoint(id);

	if (!ep)
		return;
	remove_ports(c, ep);
	(void)HcnCloseEndpoint(ep);
}

/* Others did not get them: with the same numbers they go to those that had them. */
static bool ports_back(struct cs_container *c)
{
	bool apart = !cs_streq(c->ports_on[0], c->ports_on[1]), back = true;
	cs_auto(two_ports_done) struct two_ports ports = {0};

	if ((!c->ports_on[0] && !c->ports_on[1]) || given_ports(c, apart, ports.of, NULL) < 0)
		return false;
	for (int v6 = 0; v6 <= apart && back; v6++) {
		HCN_ENDPOINT ep = open_endpoint(c->ports_on[v6]);
		back = ep && (!ports.of[v6].n || add_ports(ep, &ports.of[v6], NULL) == 0);
		if (ep)
			(void)HcnCloseEndpoint(ep);
	}
	return back;
}

/* What is published is open at the container's own address on each network that is routed, be it the one with the way out or not: nothing of the host's
 * is taken for that. */
static void open_routed(struct cs_container *c, const struct owners *o)
{
	cs_autoports struct cs_ports all = {0};

	if (cs_ports_wanted(c->config, c->host, NULL, &all, NULL) < 0 || !all.n)
		return;
	for (size_t i = 0; i < c->nets->n_endpoints; i++) {
		const struct cs_endpoint_settings *s = &c->nets->endpoints[i];
		cs_autonetwork struct cs_network *n = network_of(c, s, NULL);
		cs_autoerr struct cs_err *err = NULL;
		if (s == o->s[0] || s == o->s[1] || !n || n->doc->internal || !cs_streq(n->doc->driver, "bridge") || (!routes(n, false) && !routes(n, true)))
			continue;
		HCN_ENDPOINT ep = open_endpoint(s->endpoint_id);
		if (!ep)
			continue;
		remove_ports(c, ep);
		for (int v6 = 0; v6 < 2; v6++) {
			cs_autoports struct cs_ports part = {0};
			if (!routes(n, v6) || !has_family(c, s, n->doc, v6, true))
				continue;
			cs_ports_of_family(&all, v6, &part);
			if (part.n && add_ports(ep, &part, &err) < 0)
				cs_logk(CS_LOG_WARN, "engine", "container", c->id, "published ports are not open on network %s: %s", s->key, err->msg);
		}
		(void)HcnCloseEndpoint(ep);
	}
}

static int give_ports(struct cs_container *c, const struct owners *o, int v6, struct cs_ports *ports, struct cs_err **err)
{
	cs_auto(autoendpoint_done) struct cs_endpoint_settings *got = cs_endpoint_settings_copy(o->s[v6]);
	cs_autojson json_t *answer = NULL;
	HCN_ENDPOINT ep = open_endpoint(o->s[v6]->endpoint_id);

	if (!ep)
		return 0;
	remove_ports(c, ep); /* that were open there already, if it is routed */
	int r = !ports->n ? 0 : add_ports(ep, ports, err) < 0 || query(ep, &answer, err) < 0 ? -1 : 0;
	if (answer && r == 0) {
		cs_endpoint_take(got, o->n[v6], ports, answer);
		put_back(c, o->s[v6], got);
	} else if (r < 0) {
		remove_ports(c, ep); /* all or none */
	}
	(void)HcnCloseEndpoint(ep);
	return r;
}

int cs_container_ports_settle(struct cs_container *c, struct cs_err **err)
{
	cs_auto(owners_done) struct owners o = find_owners(c, true);
	cs_auto(two_ports_done) struct two_ports ports = {0};
	bool had = c->ports_on[0] || c->ports_on[1];
	struct cs_err *why = NULL;
	int r = 0, failed = 0;

	if (cs_streq(o.s[0] ? o.s[0]->endpoint_id : NULL, c->ports_on[0]) && cs_streq(o.s[1] ? o.s[1]->endpoint_id : NULL, c->ports_on[1])) {
		open_routed(c, &o);
		return 0;
	}
	if ((had ? given_ports(c, o.apart, ports.of, err) : wanted_ports(c, &o, ports.of, err)) < 0)
		return -1;
	if (!ports.of[0].n && !ports.of[1].n)
		return 0;
	take_ports_from(c, c->ports_on[0]);
	if (!cs_streq(c->ports_on[0], c->ports_on[1]))
		take_ports_from(c, c->ports_on[1]);
	for (int v6 = 0; v6 <= o.apart && o.s[0] && r == 0; v6++) {
		r = give_ports(c, &o, v6, &ports.of[v6], &why);
		failed = v6;
	}
	if (r < 0 && failed)
		take_ports_from(c, o.s[0]->endpoint_id);
	if (r == 0 || !ports_back(c))
		set_ports(c, o.s[0] && r == 0 ? ports.of : NULL, &o);
	if (r == 0)
		open_routed(c, &o);
	return r < 0 ? ports_failed(c, o.s[failed]->endpoint_id, &ports.of[failed], why, err) : 0;
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
		cs_autonetwork struct cs_network *n = network_of(c, s, err);
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
	cs_auto(two_ports_done) struct two_ports ports = {0};

	for (size_t i = 0; i < c->nets->n_endpoints; i++) { /* before ports are given to one of them */
		cs_autonetwork struct cs_network *n = network_of(c, &c->nets->endpoints[i], NULL);
		if (n && !c->e->networks->service_error && cs_network_revive(c->e, &n, err) < 0)
			return -1;
	}
	cs_auto(owners_done) struct owners o = find_owners(c, false);

	if (o.s[0] && wanted_ports(c, &o, ports.of, err) < 0)
		return -1;
	for (size_t i = 0; i < c->nets->n_endpoints; i++) {
		struct cs_endpoint_settings *s = &c->nets->endpoints[i];
		if (c->e->networks->no_bridge && cs_streq(s->key, "bridge"))
			continue;
		cs_autonetwork struct cs_network *n = network_of(c, s, err);
		if (!n || cs_endpoint_up(c, n, s, s == o.s[0] ? &ports.of[0] : s == o.s[1] ? &ports.of[1] : NULL, false, err) < 0)
			return -1;
		cs_network_event(c->e, n, "connect", c->id);
	}
	set_ports(c, ports.of, &o);
	open_routed(c, &o);
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
	free(TAKE_PTR(c->ports_on[0]));
	free(TAKE_PTR(c->ports_on[1]));
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
	cs_auto(two_ports_done) struct two_ports ports = {0};
	cs_autoports struct cs_ports all = {0};
	bool failed = false;

	if (!cs_container_net_own(c) || !needs_namespace(c) || c->e->networks->service_error)
		return;
	cs_auto(owners_done) struct owners o = find_owners(c, true);
	if (open_namespace(c, c->pid, &err) < 0 || cs_ports_given(c->nets->ports, c->host, o.apart, &all, &err) < 0) {
		cs_autofree char *text = cs_err_text(err);
		cs_logk(CS_LOG_ERROR, "engine", "container", c->id, "its network cannot be taken over: %s", text);
		return;
	}
	share_out(&all, o.apart, ports.of);
	pthread_mutex_lock(&c->lock);
	see_routed(c, &o);
	pthread_mutex_unlock(&c->lock);
	for (size_t i = 0; i < c->nets->n_endpoints; i++) {
		struct cs_endpoint_settings *s = &c->nets->endpoints[i];
		cs_autoerr struct cs_err *why = NULL;
		if (cs_empty(s->endpoint_id))
			continue;
		cs_autonetwork struct cs_network *n = network_of(c, s, &why);
		if (n && cs_endpoint_up(c, n, s, s == o.s[0] ? &ports.of[0] : s == o.s[1] ? &ports.of[1] : NULL, true, &why) == 0)
			continue;
		cs_autofree char *text = cs_err_text(why);
		cs_logk(CS_LOG_ERROR, "engine", "container", c->id, "its endpoint on network %s cannot be taken over: %s", s->key, text);
		failed = true;
	}
	for (int v6 = 0; v6 < 2 && !failed && (ports.of[0].n || ports.of[1].n); v6++)
		c->ports_on[v6] = cs_xstrdup(o.s[v6] ? o.s[v6]->endpoint_id : NULL);
	open_routed(c, &o);
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
