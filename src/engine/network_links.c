/* SPDX-License-Identifier: Apache-2.0
 *
 * Legacy links. On the default bridge: lines of /etc/hosts and variables, taken when the container starts. On user-defined networks a link is
 * another name for the other container's endpoint, in the embedded DNS of this container only. */
#include <ctype.h>
#include <netinet/in.h>
#include <string.h>

#include "base/id.h"
#include "base/num.h"
#include "engine/network.h"
#include "engine/spec.h"
#include "engine/store.h"

struct link {
	char *ref, *alias;
};

/* "other", "other:alias", "/other:/this/alias" as inspect shows it */
static struct link parse(const char *text)
{
	const char *colon = strrchr(text, ':');
	struct link l = {.ref = colon ? cs_xstrndup(text, (size_t)(colon - text)) : cs_xstrdup(text)};
	const char *alias = colon ? colon + 1 : text, *slash = strrchr(alias, '/');

	l.alias = cs_xstrdup(slash ? slash + 1 : alias);
	return l;
}

static void link_done(struct link *l)
{
	free(l->ref);
	free(l->alias);
}

/* ---- variables ---- */

static void env_name(const char *alias, struct cs_str *out)
{
	for (; *alias; alias++)
		cs_str_putc(out, *alias == '-' ? '_' : (char)toupper((unsigned char)*alias));
}

/* As Docker 29: TCP first. */
static int by_number(const void *a, const void *b)
{
	const struct cs_port_range *x = a, *y = b;

	if (x->proto != y->proto)
		return x->proto == IPPROTO_TCP ? -1 : y->proto == IPPROTO_TCP ? 1 : strcmp(cs_proto_name(x->proto), cs_proto_name(y->proto));
	return x->lo != y->lo ? (x->lo < y->lo ? -1 : 1) : x->hi - y->hi;
}

/* ALIAS_PORT_80_TCP */
static char *port_name(const char *alias, uint8_t proto, unsigned port)
{
	cs_autofree char *upper = cs_xstrdup(cs_proto_name(proto));

	for (char *p = upper; *p; p++)
		*p = (char)toupper((unsigned char)*p);
	return cs_xasprintf("%s_PORT_%u_%s", alias, port, upper);
}

/* Several in a row, which may be one range of the image's: that has no variables for each. */
static void put_run(const char *alias, const struct cs_port_range *r, const char *ip, char ***env)
{
	cs_autofree char *name = port_name(alias, r->proto, r->lo);
	const char *proto = cs_proto_name(r->proto);

	if (r->lo == r->hi)
		return;
	cs_strv_take(env, cs_xasprintf("%s_START=%s://%s:%u", name, proto, ip, r->lo));
	cs_strv_take(env, cs_xasprintf("%s_PORT_START=%u", name, r->lo));
	cs_strv_take(env, cs_xasprintf("%s_END=%s://%s:%u", name, proto, ip, r->hi));
	cs_strv_take(env, cs_xasprintf("%s_PORT_END=%u", name, r->hi));
}

static void put_port(const char *alias, const struct cs_port_range *r, const char *ip, char ***env)
{
	cs_autofree char *name = port_name(alias, r->proto, r->lo);
	const char *proto = cs_proto_name(r->proto);

	cs_strv_take(env, cs_xasprintf("%s=%s://%s:%u", name, proto, ip, r->lo));
	cs_strv_take(env, cs_xasprintf("%s_ADDR=%s", name, ip));
	cs_strv_take(env, cs_xasprintf("%s_PORT=%u", name, r->lo));
	cs_strv_take(env, cs_xasprintf("%s_PROTO=%s", name, proto));
}

static void put_ports(const char *alias, char *const *exposed, const char *ip, char ***env)
{
	cs_autofree struct cs_port_range *v = cs_xcalloc(cs_strv_len(exposed) + 1, sizeof(*v));
	struct cs_port_range run;
	size_t n = 0;

	for (; exposed && *exposed; exposed++)
		n += cs_parse_ports(*exposed, &v[n]) && v[n].lo > 0;
	if (n == 0)
		return;
	qsort(v, n, sizeof(*v), by_number);
	cs_strv_take(env, cs_xasprintf("%s_PORT=%s://%s:%u", alias, cs_proto_name(v[0].proto), ip, v[0].lo));
	run = v[0];
	for (size_t i = 0; i < n; i++) {
		if (v[i].lo == v[i].hi)
			put_port(alias, &v[i], ip, env);
		if (v[i].proto != run.proto || v[i].lo > run.hi + 1) {
			put_run(alias, &run, ip, env);
			run = v[i];
		}
		run.hi = CS_MAX(run.hi, v[i].hi);
	}
	put_run(alias, &run, ip, env);
}

static void put_env(const char *own, const struct link *l, struct cs_container *other, const char *ip, char ***env)
{
	cs_autostr struct cs_str up = CS_STR_INIT(4096);

	env_name(l->alias, &up);
	if (up.failed || !up.buf)
		return;
	put_ports(up.buf, other->config->exposed_ports, ip, env);
	cs_strv_take(env, cs_xasprintf("%s_NAME=/%s/%s", up.buf, own, l->alias));
	for (char **p = other->config->env; p && *p; p++)
		if (!cs_prefix(*p, "HOME=") && !cs_prefix(*p, "PATH="))
			cs_strv_take(env, cs_xasprintf("%s_ENV_%s", up.buf, *p));
}

/* ---- the default bridge ---- */

/* Behind the address in the hosts file. `name`: the other one's. Caller frees. */
static char *host_names(const struct link *l, const struct cs_container *other, const char *name)
{
	const char *host = other->config->hostname ? other->config->hostname : "";

	return cs_xasprintf("%s %s%s%s", l->alias, host, cs_streq(name, l->alias) ? "" : " ", cs_streq(name, l->alias) ? "" : name);
}

static int resolve(struct cs_container *c, const char *own, const char *text, char ***hosts, char ***env, struct cs_err **err)
{
	cs_auto(link_done) struct link l = parse(text);
	cs_autocontainer struct cs_container *other = NULL;
	cs_autofree char *name = NULL, *ip = NULL, *ip6 = NULL;

	if (cs_container_get(c->e, l.ref, &other, err) < 0)
		return cs_wrap(err, "could not get container for %s", l.ref);
	pthread_mutex_lock(&other->lock);
	const struct cs_endpoint_settings *s = cs_container_endpoint(other, "bridge");
	bool runs = other->status == CS_ST_RUNNING;
	name = cs_xstrdup(other->name);
	ip = cs_xstrdup(s ? s->ip_address : NULL);
	ip6 = cs_xstrdup(s ? s->global_ipv6_address : NULL);
	pthread_mutex_unlock(&other->lock);
	if (!runs)
		return cs_fail(err, CS_ERR_CONFLICT, 0, "Cannot link to a non running container: /%s AS /%s/%s", name, own, l.alias);
	if (cs_empty(ip) && cs_empty(ip6))
		return cs_fail(err, CS_ERR_INVALID, 0, "Cannot link to /%s, as it does not belong to the default network", name);
	cs_autofree char *names = host_names(&l, other, name);
	const char *const ips[] = {ip, ip6};
	for (size_t i = 0; i < CS_ARRAY_SIZE(ips); i++)
		if (!cs_empty(ips[i]))
			cs_strv_take(hosts, cs_xasprintf("%s\t%s", ips[i], names));
	put_env(own, &l, other, cs_empty(ip) ? ip6 : ip, env);
	return 0;
}

int cs_links_resolve(struct cs_container *c, char ***hosts, char ***env, struct cs_err **err)
{
	if (!cs_container_endpoint(c, "bridge"))
		return 0;
	for (char **p = c->host->links; p && *p; p++)
		if (resolve(c, c->name, *p, hosts, env, err) < 0)
			return -1;
	return 0;
}

char **cs_links_env(struct cs_container *c)
{
	cs_autostrv char **hosts = NULL, **links = NULL;
	char **env = NULL;

	pthread_mutex_lock(&c->lock);
	if (cs_container_endpoint(c, "bridge"))
		links = cs_strv_copy(c->host->links);
	cs_autofree char *own = cs_xstrdup(c->name);
	pthread_mutex_unlock(&c->lock);
	for (char **p = links; p && *p; p++)
		(void)resolve(c, own, *p, &hosts, &env, NULL);
	for (char **p = env ? c->config->env : NULL; p && *p; p++)
		cs_strv_push(&env, *p);
	return env;
}

/* "/other:/this/alias". As in dockerd those of a user-defined network stand at the endpoint only, here and among the names. */
char **cs_links_view(const struct cs_container *c)
{
	char **ret = NULL;

	if (!cs_network_predefined(c->host->network_mode))
		return NULL;
	for (char **p = c->host->links; p && *p; p++) {
		cs_auto(link_done) struct link l = parse(*p);
		cs_strv_take(&ret, cs_xasprintf("/%s:/%s/%s", l.ref[0] == '/' ? l.ref + 1 : l.ref, c->name, l.alias));
	}
	return ret;
}

char **cs_links_names(struct cs_container *const *all)
{
	char **ret = NULL;

	for (; *all; all++) {
		struct cs_container *c = *all;
		pthread_mutex_lock(&c->lock);
		bool legacy = c->host->links && c->host->links[0] && cs_network_predefined(c->host->network_mode);
		cs_autostrv char **links = legacy ? cs_strv_copy(c->host->links) : NULL;
		cs_autofree char *own = links ? cs_xstrdup(c->name) : NULL;
		pthread_mutex_unlock(&c->lock);
		for (char **p = links; p && *p; p++) {
			cs_auto(link_done) struct link l = parse(*p);
			cs_autocontainer struct cs_container *other = NULL;
			if (cs_container_get(c->e, l.ref, &other, NULL) < 0)
				continue;
			cs_strv_push(&ret, other->id);
			cs_strv_take(&ret, cs_xasprintf("/%s/%s", own, l.alias));
		}
	}
	return ret;
}

/* ---- other networks ---- */

/* By the id its ports are opened; by the name it is found, also when it starts later, or anew. */
void cs_links_put(char *const *aliases, char *const *endpoints, char *const *names, struct cs_str *out)
{
	if (!aliases)
		return;
	cs_autostrmap struct cs_strmap *ids = cs_strmap_new(), *others = cs_strmap_new(); /* the last of two with one alias */
	for (size_t i = 0; aliases[i]; i++) {
		char id[CS_HCN_GUID_TEXT];
		HCN_GUID guid;
		if (!cs_hcn_guid_of(endpoints[i], &guid))
			continue;
		cs_hcn_guid_text(&guid, id);
		cs_strmap_set(ids, aliases[i], id);
	}
	for (size_t i = 0; aliases[i]; i++)
		cs_strmap_set(others, aliases[i], names[i]);
	cs_json_put_key(out, "Links");
	cs_json_put_strmap(out, ids);
	cs_json_put_key(out, "LinkNames");
	cs_json_put_strmap(out, others);
}

static void add(struct cs_container *c, const char *text, const char *network, char ***aliases, char ***endpoints, char ***names)
{
	cs_auto(link_done) struct link l = parse(text);
	cs_autocontainer struct cs_container *other = NULL;
	const struct cs_endpoint_settings *s = NULL;

	if (cs_container_get(c->e, l.ref, &other, NULL) < 0)
		other = NULL;
	cs_strv_push(aliases, l.alias);
	if (other) {
		pthread_mutex_lock(&other->lock);
		s = cs_container_endpoint(other, network);
	}
	cs_strv_push(endpoints, s && s->endpoint_id ? s->endpoint_id : "");
	cs_strv_push(names, other ? other->name : l.ref[0] == '/' ? l.ref + 1 : l.ref);
	if (other)
		pthread_mutex_unlock(&other->lock);
}

void cs_links_endpoints(struct cs_container *c, const struct cs_endpoint_settings *s, char ***aliases, char ***endpoints, char ***names)
{
	const char *mode = cs_container_main_network(c);

	for (char **p = s->links; p && *p; p++)
		add(c, *p, s->key, aliases, endpoints, names);
	/* docker run --link with --network: HostConfig's links belong to the network of the mode */
	for (char **p = c->host->links; p && *p && (cs_streq(mode, s->key) || cs_streq(mode, s->network_id)); p++)
		add(c, *p, s->key, aliases, endpoints, names);
}

/* ---- one link by its name, /parent/alias ---- */

char *cs_links_target(struct cs_container *c, const char *alias)
{
	CS_GUARD(&c->lock);
	for (char **p = c->host->links; p && *p; p++) {
		cs_auto(link_done) struct link l = parse(*p);
		if (cs_streq(l.alias, alias))
			return TAKE_PTR(l.ref);
	}
	return NULL;
}

static bool drop(char **links, const char *alias)
{
	size_t n = 0;
	bool any = false;

	for (size_t i = 0; links && links[i]; i++) {
		cs_auto(link_done) struct link l = parse(links[i]);
		if (cs_streq(l.alias, alias)) {
			free(links[i]);
			any = true;
		} else {
			links[n++] = links[i];
		}
	}
	if (any)
		links[n] = NULL;
	return any;
}

/* The lines of the hosts file that the link put there. */
static void drop_lines(struct cs_container *c, const struct link *l)
{
	cs_autocontainer struct cs_container *other = NULL;

	if (cs_container_get(c->e, l->ref, &other, NULL) < 0)
		return;
	pthread_mutex_lock(&other->lock);
	cs_autofree char *names = host_names(l, other, other->name);
	pthread_mutex_unlock(&other->lock);
	cs_container_files_unlinked(c, names);
}

static void autohost_done(struct cs_host_config **h) { cs_host_config_free(*h); }

int cs_links_remove(struct cs_container *c, const char *alias, struct cs_err **err)
{
	cs_auto(autohost_done) struct cs_host_config *host = NULL;
	cs_autostr struct cs_str json = CS_STR_INIT(8 << 20);
	CS_GUARD(&c->op_lock);
	cs_auto(link_done) struct link l = {cs_links_target(c, alias), cs_xstrdup(alias)};

	if (!l.ref)
		return cs_fail(err, CS_ERR_NOT_FOUND, 0, "No such container: /%s/%s", c->name, alias);
	host = cs_host_config_copy(c->host);
	(void)drop(host->links, alias);
	cs_json_encode(&cs_host_config_type, host, 0, &json);
	if (cs_store_container_host(c->e->store, c->id, json.buf, err) < 0)
		return -1;
	pthread_mutex_lock(&c->lock);
	CS_SWAP(c->host, host);
	for (size_t i = 0; c->nets && i < c->nets->n_endpoints; i++) /* clients put the links of a user-defined network there, too */
		(void)drop(c->nets->endpoints[i].links, alias);
	bool runs = c->status == CS_ST_RUNNING;
	pthread_mutex_unlock(&c->lock);
	if (runs && cs_container_endpoint(c, "bridge"))
		drop_lines(c, &l);
	if (runs)
		cs_container_net_unlinked(c);
	return cs_container_net_save(c, err);
}
