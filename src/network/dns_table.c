/* SPDX-License-Identifier: Apache-2.0
 *
 * Networks, endpoints and settings: the writers' side, and how names are looked up. */
#include "network/dns_table.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <string.h>
#include <sys/random.h>

#include "base/log.h"
#include "network/dns_map.h"

struct key {
	bool is_name;
	struct cs_dns_packed *bytes; /* a name, or an address */
};

struct cs_dns_owned {
	char *id;
	struct cs_dns_endpoint *endpoint;
	struct key *key;
	size_t n_key;
	UT_hash_handle hh;
};

void cs_dns_table_init(struct cs_dns_table *t, int wake)
{
	*t = (struct cs_dns_table){.lock = PTHREAD_MUTEX_INITIALIZER, .seed = 0xcbf29ce484222325, .wake = wake};
	(void)!getrandom(&t->seed, sizeof(t->seed), GRND_NONBLOCK);
}

void cs_dns_retire(struct cs_dns_table *t, struct cs_dns_retire *r)
{
	struct cs_dns_retire *top = atomic_load(&t->retired);

	do
		r->next = top;
	while (!atomic_compare_exchange_weak(&t->retired, &top, r));
	if (!top && t->wake >= 0) /* else it is awake, or soon will be */
		(void)!write(t->wake, &(uint64_t){1}, sizeof(uint64_t));
}

void cs_dns_table_quiesce(struct cs_dns_table *t)
{
	if (!atomic_load_explicit(&t->retired, memory_order_relaxed))
		return;
	for (struct cs_dns_retire *r = atomic_exchange(&t->retired, NULL), *next; r; r = next) {
		next = r->next;
		r->free(r);
	}
}

static void free_plain(struct cs_dns_retire *r) { free(r); }

static void free_endpoint(struct cs_dns_retire *r)
{
	struct cs_dns_endpoint *e = cs_container_of(r, struct cs_dns_endpoint, retire);

	free(e->name);
	free(e->addr);
	free(e->port);
	free(e);
}

static void free_network(struct cs_dns_retire *r)
{
	struct cs_dns_network *n = cs_container_of(r, struct cs_dns_network, retire);

	cs_dns_map_free(&n->names);
	cs_dns_map_free(&n->addrs);
	free(n->id);
	free(n);
}

static void free_settings(struct cs_dns_retire *r)
{
	struct cs_dns_settings *s = cs_container_of(r, struct cs_dns_settings, retire);

	free(s->network);
	free(s->link);
	free(s);
}

/* Networks */

static struct cs_dns_network *network_find(struct cs_dns_table *t, const char *id)
{
	struct cs_dns_network *n = NULL;

	HASH_FIND_STR(t->networks, id, n);
	return n;
}

static struct cs_dns_network *network_need(struct cs_dns_table *t, const char *id)
{
	struct cs_dns_network *n = network_find(t, id);

	if (!n) {
		n = cs_xcalloc(1, sizeof(*n));
		n->retire.free = free_network;
		n->id = cs_xstrdup(id);
		HASH_ADD_KEYPTR(hh, t->networks, n->id, strlen(n->id), n);
	}
	return n;
}

static void network_drop(struct cs_dns_table *t, struct cs_dns_network *n)
{
	if (n->there || n->refs)
		return;
	HASH_DEL(t->networks, n);
	cs_dns_retire(t, &n->retire);
}

static void suffix_set(struct cs_dns_table *t, struct cs_dns_network *n, struct cs_dns_suffix *suffix)
{
	struct cs_dns_suffix *old = atomic_exchange(&n->suffix, suffix);

	if (old)
		cs_dns_retire(t, &old->retire);
}

void cs_dns_network_set(struct cs_dns_table *t, const char *id, const char *name)
{
	struct cs_dns_suffix *suffix = cs_xcalloc(1, sizeof(*suffix));

	suffix->retire.free = free_plain;
	if (cs_dns_name_parse(name, &suffix->name) < 0) {
		free(suffix);
		suffix = NULL;
	}
	pthread_mutex_lock(&t->lock);
	struct cs_dns_network *n = network_need(t, id);
	n->there = true;
	suffix_set(t, n, suffix);
	pthread_mutex_unlock(&t->lock);
}

/* Endpoints */

static struct cs_dns_map *map_of(struct cs_dns_network *n, const struct key *k) { return k->is_name ? &n->names : &n->addrs; }

static void owned_free(struct cs_dns_owned *o)
{
	for (size_t i = 0; i < o->n_key; i++)
		free(o->key[i].bytes);
	free(o->id);
	free(o->key);
	free(o);
}

/* What is out of n->owned already. */
static void owned_end(struct cs_dns_table *t, struct cs_dns_network *n, struct cs_dns_owned *o)
{
	for (size_t i = 0; i < o->n_key; i++)
		cs_dns_map_remove(t, map_of(n, &o->key[i]), o->key[i].bytes->wire, o->key[i].bytes->len, o->endpoint);
	cs_dns_retire(t, &o->endpoint->retire);
	owned_free(o);
}

static void owned_remove(struct cs_dns_table *t, struct cs_dns_network *n, struct cs_dns_owned *o)
{
	HASH_DEL(n->owned, o);
	owned_end(t, n, o);
}

static void owned_add(struct cs_dns_table *t, struct cs_dns_network *n, struct cs_dns_owned *o)
{
	for (size_t i = 0; i < o->n_key; i++)
		cs_dns_map_add(t, map_of(n, &o->key[i]), o->key[i].bytes->wire, o->key[i].bytes->len, o->endpoint);
	HASH_ADD_KEYPTR(hh, n->owned, o->id, strlen(o->id), o);
}

void cs_dns_network_remove(struct cs_dns_table *t, const char *id)
{
	pthread_mutex_lock(&t->lock);
	struct cs_dns_network *n = network_find(t, id);
	if (n) {
		struct cs_dns_owned *o, *next;
		HASH_ITER (hh, n->owned, o, next)
			owned_remove(t, n, o);
		suffix_set(t, n, NULL);
		n->there = false;
		network_drop(t, n);
	}
	pthread_mutex_unlock(&t->lock);
}

static bool parse(const char *name, struct cs_dns_name *ret)
{
	if (cs_dns_name_parse(name, ret) == 0)
		return true;
	cs_warn("network", "resolver: \"%s\" is no name that DNS can carry, and will not be found", name);
	return false;
}

static struct cs_dns_packed *add_name(struct cs_dns_owned *o, const char *name)
{
	struct cs_dns_name parsed;

	if (!parse(name, &parsed))
		return NULL;
	o->key[o->n_key++] = (struct key){true, cs_dns_name_pack(&parsed)};
	return cs_dns_name_pack(&parsed);
}

static int add_port(struct cs_dns_endpoint *e, const struct cs_resolver_port *p, struct cs_err **err)
{
	cs_autofree char *prefix = cs_xasprintf("_%s._%s", p->name, p->protocol);

	if (cs_dns_name_parse(prefix, &e->port[e->n_port].prefix) < 0 || cs_dns_name_labels(&e->port[e->n_port].prefix) != 2)
		return cs_fail(err, CS_ERR_INVALID, 0, "\"%s\" is no name of a port that DNS can carry", prefix);
	e->port[e->n_port++].port = p->port;
	return 0;
}

static int owned_fill(struct cs_dns_owned *o, const struct cs_resolver_endpoint *from, struct cs_err **err)
{
	struct cs_dns_endpoint *e = o->endpoint;

	if (from->n_addr == 0)
		return cs_fail(err, CS_ERR_INVALID, 0, "endpoint %s has no address", from->id);
	e->addr = cs_xcalloc(from->n_addr, sizeof(*e->addr));
	memcpy(e->addr, from->addr, from->n_addr * sizeof(*e->addr));
	e->n_addr = from->n_addr;
	if (from->name)
		e->name = add_name(o, from->name);
	for (size_t i = 0; from->aliases && from->aliases[i]; i++)
		free(add_name(o, from->aliases[i]));
	for (size_t i = 0; e->name && i < from->n_addr; i++) {
		struct cs_dns_name bytes = {.len = from->addr[i].family == AF_INET ? 4 : 16};
		memcpy(bytes.wire, &from->addr[i].v6, bytes.len);
		o->key[o->n_key++].bytes = cs_dns_name_pack(&bytes);
	}
	e->port = cs_xcalloc(from->n_port, sizeof(*e->port));
	for (size_t i = 0; i < from->n_port; i++)
		if (add_port(e, &from->port[i], err) < 0)
			return -1;
	return 0;
}

int cs_dns_endpoint_set(struct cs_dns_table *t, const char *network_id, const struct cs_resolver_endpoint *e, struct cs_err **err)
{
	struct cs_dns_owned *o = cs_xcalloc(1, sizeof(*o)), *old = NULL;
	size_t n_alias = 0;

	while (e->aliases && e->aliases[n_alias])
		n_alias++;
	o->id = cs_xstrdup(e->id);
	o->key = cs_xcalloc(1 + n_alias + e->n_addr, sizeof(*o->key));
	o->endpoint = cs_xcalloc(1, sizeof(*o->endpoint));
	o->endpoint->retire.free = free_endpoint;
	if (owned_fill(o, e, err) < 0) {
		free_endpoint(&o->endpoint->retire);
		owned_free(o);
		return -1;
	}
	pthread_mutex_lock(&t->lock);
	struct cs_dns_network *n = network_find(t, network_id);
	bool there = n && n->there;
	if (there) {
		HASH_FIND_STR(n->owned, e->id, old);
		if (old)
			HASH_DEL(n->owned, old);
		owned_add(t, n, o); /* first, so that its names are never without an address */
		if (old)
			owned_end(t, n, old);
	}
	pthread_mutex_unlock(&t->lock);
	if (!there) {
		free_endpoint(&o->endpoint->retire);
		owned_free(o);
		return cs_fail(err, CS_ERR_NOT_FOUND, 0, "network %s is not known to the resolver", network_id);
	}
	return 0;
}

void cs_dns_endpoint_remove(struct cs_dns_table *t, const char *network_id, const char *endpoint_id)
{
	struct cs_dns_owned *o = NULL;

	pthread_mutex_lock(&t->lock);
	struct cs_dns_network *n = network_find(t, network_id);
	if (n)
		HASH_FIND_STR(n->owned, endpoint_id, o);
	if (o)
		owned_remove(t, n, o);
	pthread_mutex_unlock(&t->lock);
}

/* Settings */

int cs_resolver_addr_parse(const char *text, struct cs_resolver_addr *ret)
{
	struct cs_resolver_addr a = {.family = AF_INET};

	if (inet_pton(AF_INET, text, &a.v4) != 1) {
		a.family = AF_INET6;
		if (inet_pton(AF_INET6, text, &a.v6) != 1)
			return -1;
	}
	*ret = a;
	return 0;
}

int cs_dns_server_parse(const char *text, union cs_dns_sockaddr *ret)
{
	const char *zone = strchr(text, '%');
	cs_autofree char *plain = cs_xstrndup(text, zone ? (size_t)(zone - text) : strlen(text));
	struct cs_resolver_addr a;

	if (cs_resolver_addr_parse(plain, &a) < 0 || (zone && a.family != AF_INET6))
		return -1;
	*ret = (union cs_dns_sockaddr){0};
	if (a.family == AF_INET) {
		ret->v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = a.v4};
	} else {
		ret->v6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_addr = a.v6};
		if (zone)
			ret->v6.sin6_scope_id = if_nametoindex(zone + 1);
	}
	return 0;
}

static int fill_servers(struct cs_dns_settings *out, const char *const *servers, struct cs_err **err)
{
	for (size_t i = 0; servers && servers[i]; i++) {
		union cs_dns_sockaddr a;
		if (strchr(servers[i], '%') || cs_dns_server_parse(servers[i], &a) < 0) /* whose namespace would the zone's name be of? */
			return cs_fail(err, CS_ERR_INVALID, 0, "%s is no address of a name server", servers[i]);
		out->own_servers = true;
		/* ourselves: a query would come back to us until the table of those under way is full */
		if (a.any.sa_family == AF_INET && a.v4.sin_addr.s_addr == inet_addr(CS_RESOLVER_ADDRESS))
			continue;
		if (out->n_server == CS_DNS_SERVERS_MAX)
			return cs_fail(err, CS_ERR_INVALID, 0, "more than %d name servers", CS_DNS_SERVERS_MAX);
		out->server[out->n_server++] = a;
	}
	return 0;
}

/* The table's lock is held. */
static void fill_links(struct cs_dns_table *t, struct cs_dns_settings *out, const struct cs_resolver_settings *s)
{
	out->link = cs_xcalloc(s->n_link, sizeof(*out->link));
	for (size_t i = 0; i < s->n_link; i++) {
		struct cs_dns_link *l = &out->link[out->n_link];
		if (!parse(s->link[i].alias, &l->alias) || !parse(s->link[i].target, &l->target))
			continue;
		l->network = network_need(t, s->link[i].network_id);
		l->network->refs++;
		out->n_link++;
	}
}

int cs_dns_settings_new(struct cs_dns_table *t, const struct cs_resolver_settings *s, struct cs_dns_settings **ret, struct cs_err **err)
{
	struct cs_dns_settings *out = cs_xcalloc(1, sizeof(*out));
	size_t n = 0;

	out->retire.free = free_settings;
	out->internal = s->internal;
	out->ndots_set = s->ndots_set;
	if (fill_servers(out, s->servers, err) < 0) {
		free_settings(&out->retire);
		return -1;
	}
	while (s->networks && s->networks[n])
		n++;
	out->network = cs_xcalloc(n, sizeof(struct cs_dns_network *));
	out->n_network = n;
	pthread_mutex_lock(&t->lock);
	for (size_t i = 0; i < n; i++) {
		out->network[i] = network_need(t, s->networks[i]);
		out->network[i]->refs++;
	}
	fill_links(t, out, s);
	pthread_mutex_unlock(&t->lock);
	*ret = out;
	return 0;
}

static void unref(struct cs_dns_table *t, struct cs_dns_network *n)
{
	n->refs--;
	network_drop(t, n);
}

void cs_dns_settings_retire(struct cs_dns_table *t, struct cs_dns_settings *s)
{
	if (!s)
		return;
	pthread_mutex_lock(&t->lock);
	for (size_t i = 0; i < s->n_network; i++)
		unref(t, s->network[i]);
	for (size_t i = 0; i < s->n_link; i++)
		unref(t, s->link[i].network);
	pthread_mutex_unlock(&t->lock);
	cs_dns_retire(t, &s->retire);
}

void cs_dns_table_done(struct cs_dns_table *t)
{
	struct cs_dns_network *n, *next;

	HASH_ITER (hh, t->networks, n, next) {
		n->refs = 0;
		cs_dns_network_remove(t, n->id);
	}
	t->wake = -EBADF;
	cs_dns_table_quiesce(t);
	pthread_mutex_destroy(&t->lock);
}

/* The reader */

static const struct cs_dns_node *in_network(const struct cs_dns_table *t, const struct cs_dns_network *n, const struct cs_dns_name *name)
{
	return cs_dns_map_get(t, &n->names, name->wire, name->len);
}

static bool equal(const struct cs_dns_name *a, const struct cs_dns_name *b) { return a->len == b->len && memcmp(a->wire, b->wire, a->len) == 0; }

const struct cs_dns_node *cs_dns_lookup(const struct cs_dns_table *t, const struct cs_dns_settings *s, const struct cs_dns_name *name)
{
	const struct cs_dns_node *node;

	for (size_t i = 0; i < s->n_link; i++)
		if (equal(&s->link[i].alias, name) && (node = in_network(t, s->link[i].network, &s->link[i].target)))
			return node;
	for (size_t i = 0; i < s->n_network; i++)
		if ((node = in_network(t, s->network[i], name)))
			return node;
	for (size_t i = 0; i < s->n_network; i++) {
		const struct cs_dns_suffix *suffix = atomic_load(&s->network[i]->suffix);
		struct cs_dns_name front;
		if (suffix && cs_dns_name_cut(name, &suffix->name, &front) && (node = in_network(t, s->network[i], &front)))
			return node;
	}
	return NULL;
}

bool cs_dns_reverse(const struct cs_dns_table *t, const struct cs_dns_settings *s, const uint8_t *addr, size_t len, struct cs_dns_name *ret)
{
	for (size_t i = 0; i < s->n_network; i++) {
		const struct cs_dns_node *node = cs_dns_map_get(t, &s->network[i]->addrs, addr, len);
		const struct cs_dns_suffix *suffix = atomic_load(&s->network[i]->suffix);
		if (!node)
			continue;
		struct cs_dns_name name;
		cs_dns_name_unpack(node->endpoint[0]->name, &name);
		if (!suffix || !cs_dns_name_join(&name, &suffix->name, ret))
			*ret = name;
		return true;
	}
	return false;
}
