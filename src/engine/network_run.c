/* SPDX-License-Identifier: Apache-2.0
 *
 * A container's endpoints during its run. What was given (ids, addresses, ports) is in the container's row before its process exists, so that a
 * daemon that finds it running makes the same objects again. op_lock of the container is held throughout; its lock only to change what is read. */
#include <string.h>

#include "base/id.h"
#include "base/log.h"
#include "base/num.h"
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
		if (!(*p)->nets || cs_ports_given((*p)->nets->ports, (*p)->host, true, &has, NULL) < 0)
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

/* Of IPv4 and of IPv6: the endpoint whose network has the way out, and that network. */
struct owners {
	struct cs_endpoint_settings *s[2];
	struct cs_network *n[2];
	const struct cs_endpoint_settings *leaving; /* is about to go; NULL */
};

static void owners_done(struct owners *o)
{
	cs_network_unref(o->n[0]);
	cs_network_unref(o->n[1]);
}
#define cs_autoowners cs_auto(owners_done)

/* Before it is there: as far as the network tells; an endpoint's own sysctls may make it another. */
static bool has_family(const struct cs_container *c, const struct cs_endpoint_settings *s, const struct cs_network *n, bool v6, bool up)
{
	if (up)
		return !cs_empty(v6 ? s->global_ipv6_address : s->ip_address);
	return v6 ? n->doc->enable_ipv6 && !cs_host_without_ipv6(c->host) : n->doc->enable_ipv4;
}

/* The highest priority, then the first by name, as the service elects the default routes. Isolated networks publish nothing. */
static void elect(struct cs_container *c, bool up, const struct cs_endpoint_settings *leaving, struct owners *o)
{
	o->leaving = leaving;
	for (size_t i = 0; i < c->nets->n_endpoints; i++) {
		struct cs_endpoint_settings *s = &c->nets->endpoints[i];
		cs_autonetwork struct cs_network *n = network_of(c, s, NULL);
		if (s == leaving || !n || !n->h || n->doc->internal || !cs_streq(n->doc->driver, "bridge") || (up && cs_empty(s->endpoint_id)))
			continue;
		for (int f = 0; f < 2; f++) {
			if (!has_family(c, s, n, f, up) || (o->s[f] && o->s[f]->gw_priority >= s->gw_priority))
				continue;
			o->s[f] = s;
			cs_network_unref(o->n[f]);
			o->n[f] = cs_network_ref(n);
		}
	}
}

static bool apart(const struct owners *o) { return o->s[0] && o->s[1] && o->s[0] != o->s[1]; }

/* Unless they are apart: the one that has all. NULL: none. */
static struct cs_endpoint_settings *sole(const struct owners *o) { return o->s[0] ? o->s[0] : o->s[1]; }

static struct cs_endpoint_settings *owner_of(const struct owners *o, const struct cs_port *p)
{
	return cs_empty(p->host_ip) ? sole(o) : o->s[strchr(p->host_ip, ':') != NULL];
}

static const char *default_ip(const struct cs_network *n) { return n ? cs_strmap_get(n->doc->options, CS_OPT_HOST_BINDING) : NULL; }

static int wanted_ports(struct cs_container *c, const struct owners *o, struct cs_ports *ret, struct cs_err **err)
{
	struct cs_ports_way w = {{default_ip(o->n[0]), default_ip(o->n[1])}, apart(o)};

	return cs_ports_wanted(c->config, c->host, &w, ret, err);
}

static void remember_owners(struct cs_container *c, const struct owners *o) /* NULL: nothing is published; lock held */
{
	for (int f = 0; f < 2; f++) {
		free(c->ports_on[f]);
		c->ports_on[f] = o && o->s[f] ? cs_xstrdup(o->s[f]->endpoint_id) : NULL;
	}
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
	/* without a network that publishes, exposed ports are nobody's: as dockerd shows it */
	char *json = cs_ports_json(sole(o) ? c->config->exposed_ports : NULL, given, o->s[0], o->s[1]);

	CS_GUARD(&c->lock);
	free(c->nets->ports);
	c->nets->ports = json;
	see_routed(c, o);
	remember_owners(c, given->n ? o : NULL);
}

/* The numbers that were given. */
static int take_numbers(const struct cs_endpoint_settings *s, enum cs_ports_of of, struct cs_ports *ports, struct cs_err **err)
{
	cs_autojson json_t *answer = NULL;
	HCN_ENDPOINT ep = NULL;
	HCN_GUID guid;

	if (!cs_hcn_guid_of(s->endpoint_id, &guid) || HcnOpenEndpoint(&guid, &ep, NULL) != HCS_S_OK)
		return cs_fail(err, CS_ERR_INTERNAL, 0, "no endpoint");
	int r = query(ep, &answer, err);
	(void)HcnCloseEndpoint(ep);
	if (r == 0)
		cs_ports_take(ports, of, answer);
	return r;
}

static void put_place(const struct cs_port *p, const char *endpoint_id, struct cs_str *out)
{
	char id[CS_HCN_GUID_TEXT];
	HCN_GUID guid;

	if (!cs_hcn_guid_of(endpoint_id, &guid))
		guid = (HCN_GUID){0};
	cs_hcn_guid_text(&guid, id);
	cs_str_puts(out, out->buf[out->len - 1] == '[' ? "{" : ",{");
	cs_json_put_kstr(out, "EndpointId", id);
	cs_json_put_key(out, "Policy");
	cs_port_put_policy(p, out);
	cs_str_putc(out, '}');
}

/* What is published is open at the container's own address on each network that is routed, be it the one with the way out or not: nothing of the host's
 * is taken for that. */
static bool opens_too(struct cs_container *c, const struct owners *o, const struct cs_endpoint_settings *s, bool v6)
{
	cs_autonetwork struct cs_network *n = network_of(c, s, NULL);

	return n && n->h && s != o->leaving && s != o->s[v6] && !n->doc->internal && cs_streq(n->doc->driver, "bridge") && routes(n, v6) &&
	       has_family(c, s, n, v6, true);
}

static bool any_opens_too(struct cs_container *c, const struct owners *o)
{
	for (size_t i = 0; i < c->nets->n_endpoints; i++) {
		const struct cs_endpoint_settings *s = &c->nets->endpoints[i];
		if (opens_too(c, o, s, false) || opens_too(c, o, s, true))
			return true;
	}
	return false;
}

static void put_opened(struct cs_container *c, const struct owners *o, struct cs_str *out)
{
	static const struct cs_ports_way everywhere = {{NULL, NULL}, true};
	cs_autoports struct cs_ports all = {0};

	if (!any_opens_too(c, o) || cs_ports_wanted(c->config, c->host, &everywhere, &all, NULL) < 0)
		return;
	for (size_t i = 0; i < c->nets->n_endpoints; i++)
		for (size_t k = 0; k < all.n; k++)
			if (opens_too(c, o, &c->nets->endpoints[i], strchr(all.p[k].host_ip, ':')))
				put_place(&all.p[k], c->nets->endpoints[i].endpoint_id, out);
}

/* In force are these, wherever others were; or an error and what was. */
static int place(struct cs_container *c, const struct owners *o, struct cs_ports *ports, struct cs_err **err)
{
	cs_autostr struct cs_str doc = CS_STR_INIT((size_t)8 << 20);
	struct cs_err *why = NULL;
	char *record = NULL;

	cs_str_puts(&doc, "{\"ResourceType\":\"PortMapping\",\"RequestType\":\"Update\",\"Settings\":{\"Ports\":[");
	for (size_t i = 0; i < ports->n; i++)
		put_place(&ports->p[i], owner_of(o, &ports->p[i])->endpoint_id, &doc);
	put_opened(c, o, &doc);
	cs_str_puts(&doc, "]}}");
	if (doc.failed)
		return cs_fail(err, CS_ERR_INVALID, 0, "too many ports");
	HRESULT hr = HcnModifyNamespace(c->net_ns, doc.buf, &record);
	int r = hr == HCS_S_OK ? 0 : cs_hcn_failed(hr, record, &why);
	for (int f = 0; f < 2 && r == 0 && ports->n && apart(o); f++)
		r = take_numbers(o->s[f], f ? CS_PORTS_V6 : CS_PORTS_V4, ports, &why);
	if (r == 0 && ports->n && !apart(o))
		r = take_numbers(sole(o), CS_PORTS_ALL, ports, &why);
	return r < 0 ? ports_failed(c, sole(o) ? sole(o)->endpoint_id : "", ports, why, err) : 0;
}

/* Of what is wanted, that to which a way leads; unchanged: and for which nothing changes. */
static void keep_led(struct cs_container *c, const struct owners *o, bool unchanged, struct cs_ports *ports)
{
	size_t n = 0;

	for (size_t i = 0; i < ports->n; i++) {
		struct cs_port *p = &ports->p[i];
		const struct cs_endpoint_settings *s = owner_of(o, p);
		if (s && (!unchanged || cs_streq(s->endpoint_id, c->ports_on[strchr(p->host_ip, ':') != NULL]))) {
			ports->p[n++] = *p;
			continue;
		}
		if (!s)
			cs_logk(CS_LOG_INFO, "engine", "container", c->id, "port %u/%s is not published at %s: no network of the container leads there", p->port,
				cs_proto_name(p->proto), cs_empty(p->host_ip) ? "any address" : p->host_ip);
		free(p->host_ip);
	}
	ports->n = n;
}

/* What the container publishes goes by these endpoints, under the numbers that it has. */
static int publish(struct cs_container *c, const struct owners *o, struct cs_err **err)
{
	cs_autoports struct cs_ports ports = {0};

	if (wanted_ports(c, o, &ports, err) < 0 || ((c->ports_on[0] || c->ports_on[1]) && cs_ports_number(&ports, c->nets->ports, c->host, err) < 0))
		return -1;
	if (!ports.n)
		return 0;
	keep_led(c, o, false, &ports);
	int r = place(c, o, &ports, err);
	if (r < 0 && o->leaving) {
		keep_led(c, o, true, &ports);
		if (place(c, o, &ports, NULL) < 0)
			cs_logk(CS_LOG_WARN, "engine", "container", c->id, "what is shown of its published ports is not so");
	}
	if (r == 0 || o->leaving)
		set_ports(c, &ports, o);
	return r;
}

static bool same_owners(const struct cs_container *c, const struct owners *o)
{
	for (int f = 0; f < 2; f++)
		if (!cs_streq(o->s[f] ? o->s[f]->endpoint_id : NULL, c->ports_on[f]))
			return false;
	return true;
}

int cs_container_ports_settle(struct cs_container *c, const struct cs_endpoint_settings *leaving, struct cs_err **err)
{
	cs_autoowners struct owners o = {0};

	elect(c, true, leaving, &o);
	return same_owners(c, &o) && !any_opens_too(c, &o) ? 0 : publish(c, &o, err);
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
	cs_autoowners struct owners o = {0}, got = {0};
	cs_autoports struct cs_ports ports = {0};

	for (size_t i = 0; i < c->nets->n_endpoints; i++) { /* before ports are given to one of them */
		cs_autonetwork struct cs_network *n = network_of(c, &c->nets->endpoints[i], NULL);
		if (n && !c->e->networks->service_error && cs_network_revive(c->e, &n, err) < 0)
			return -1;
	}
	elect(c, false, NULL, &o);
	const struct cs_endpoint_settings *owner = apart(&o) ? NULL : sole(&o);

	if (sole(&o) && wanted_ports(c, &o, &ports, err) < 0)
		return -1;
	for (size_t i = 0; i < c->nets->n_endpoints; i++) {
		struct cs_endpoint_settings *s = &c->nets->endpoints[i];
		if (c->e->networks->no_bridge && cs_streq(s->key, "bridge"))
			continue;
		cs_autonetwork struct cs_network *n = network_of(c, s, err);
		if (!n || cs_endpoint_up(c, n, s, s == owner ? &ports : NULL, false, err) < 0)
			return -1;
		cs_network_event(c->e, n, "connect", c->id);
	}
	elect(c, true, NULL, &got); /* now it is known */
	if (!apart(&o))
		set_ports(c, &ports, &got);
	if (ports.n && (apart(&o) || got.s[0] != o.s[0] || got.s[1] != o.s[1] || any_opens_too(c, &got)) && publish(c, &got, err) < 0)
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
	remember_owners(c, NULL);
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
	cs_autoowners struct owners o = {0};
	cs_autoports struct cs_ports ports = {0};
	bool failed = false;

	if (!cs_container_net_own(c) || !needs_namespace(c) || c->e->networks->service_error)
		return;
	elect(c, true, NULL, &o);
	if (open_namespace(c, c->pid, &err) < 0 || cs_ports_given(c->nets->ports, c->host, apart(&o), &ports, &err) < 0) {
		cs_autofree char *text = cs_err_text(err);
		cs_logk(CS_LOG_ERROR, "engine", "container", c->id, "its network cannot be taken over: %s", text);
		return;
	}
	keep_led(c, &o, false, &ports);
	const struct cs_endpoint_settings *owner = apart(&o) ? NULL : sole(&o);
	for (size_t i = 0; i < c->nets->n_endpoints; i++) {
		struct cs_endpoint_settings *s = &c->nets->endpoints[i];
		cs_autoerr struct cs_err *why = NULL;
		if (cs_empty(s->endpoint_id))
			continue;
		cs_autonetwork struct cs_network *n = network_of(c, s, &why);
		if (n && cs_endpoint_up(c, n, s, s == owner ? &ports : NULL, true, &why) == 0)
			continue;
		cs_autofree char *text = cs_err_text(why);
		cs_logk(CS_LOG_ERROR, "engine", "container", c->id, "its endpoint on network %s cannot be taken over: %s", s->key, text);
		failed = true;
	}
	if (failed || !ports.n)
		return;
	if ((!owner || any_opens_too(c, &o)) && place(c, &o, &ports, &err) < 0) {
		cs_autofree char *text = cs_err_text(err);
		cs_logk(CS_LOG_ERROR, "engine", "container", c->id, "its published ports cannot be taken over: %s", text);
		return;
	}
	CS_GUARD(&c->lock);
	see_routed(c, &o);
	remember_owners(c, &o);
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
