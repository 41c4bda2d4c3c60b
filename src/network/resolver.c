/* SPDX-License-Identifier: Apache-2.0
 *
 * The resolver's thread and its door: namespaces come and go, events are handed to whom they concern. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/resource.h>

#include "base/log.h"
#include "base/time.h"
#include "network/ldns_lib.h"
#include "network/resolver_internal.h"

#define OR(value, otherwise) ((value) ? (value) : (otherwise))

uint64_t cs_resolver_random(struct cs_resolver *r)
{
	if (r->random_left == 0) {
		size_t got = 0;
		while (got < sizeof(r->random)) { /* up to 256 bytes come whole */
			ssize_t n = getrandom((char *)r->random + got, CS_MIN(sizeof(r->random) - got, (size_t)256), 0);
			got += n > 0 ? (size_t)n : 0;
		}
		r->random_left = CS_ARRAY_SIZE(r->random);
	}
	return r->random[--r->random_left];
}

int cs_resolver_watch(struct cs_resolver *r, int fd, uint32_t events, struct cs_source *source)
{
	struct epoll_event e = {.events = events, .data.ptr = source};

	return epoll_ctl(r->epoll, EPOLL_CTL_ADD, fd, &e) < 0 ? -errno : 0;
}

void cs_resolver_unwatch(struct cs_resolver *r, int fd)
{
	if (fd < 0)
		return;
	(void)epoll_ctl(r->epoll, EPOLL_CTL_DEL, fd, NULL); /* closing is not enough where somebody has a duplicate */
	cs_close(fd);
}

/* The thread */

static void free_dead(struct cs_resolver *r)
{
	while (r->dead_clients) {
		struct cs_client *c = r->dead_clients;
		r->dead_clients = c->idle_next;
		cs_str_done(&c->out);
		free(c);
	}
	while (r->dead_tries) {
		struct cs_try *t = r->dead_tries;
		r->dead_tries = t->next;
		free(t->in);
		free(t);
	}
}

static void close_idle(struct cs_resolver *r, int64_t now)
{
	while (r->idle && r->idle->since + r->o.tcp_idle_ms * CS_NS_PER_MS <= now) {
		struct cs_client *c = r->idle;
		if (c->n_pending == 0) {
			cs_client_close(c);
			continue;
		}
		DL_DELETE2(r->idle, c, idle_prev, idle_next);
		c->since = now;
		DL_APPEND2(r->idle, c, idle_prev, idle_next);
	}
}

static int timeout_ms(const struct cs_resolver *r, int64_t now)
{
	int64_t at = INT64_MAX;

	if (r->pending)
		at = r->pending->deadline;
	if (r->retry)
		at = CS_MIN(at, r->retry->next_try);
	if (r->idle)
		at = CS_MIN(at, r->idle->since + r->o.tcp_idle_ms * CS_NS_PER_MS);
	return at == INT64_MAX ? -1 : at <= now ? 0 : (int)((at - now) / CS_NS_PER_MS) + 1;
}

static void dispatch(struct cs_source *s, uint32_t events)
{
	uint64_t n;

	switch (s->kind) {
	case SOURCE_WAKE:
		(void)!read(((struct cs_resolver *)s->owner)->wake, &n, sizeof(n));
		break;
	case SOURCE_UDP:
		cs_serve_udp(s->owner);
		break;
	case SOURCE_LISTEN:
		cs_serve_accept(s->owner);
		break;
	case SOURCE_CLIENT:
		cs_serve_client(s->owner, events);
		break;
	case SOURCE_TRY:
		cs_forward_event(s->owner);
		break;
	case SOURCE_DEAD:
		break;
	}
}

static void *run(void *arg)
{
	struct cs_resolver *r = arg;
	struct epoll_event events[64];

	(void)pthread_setname_np(pthread_self(), "resolver");
	while (!atomic_load(&r->stop)) {
		cs_dns_table_quiesce(&r->table);
		free_dead(r);
		int n = epoll_wait(r->epoll, events, CS_ARRAY_SIZE(events), timeout_ms(r, cs_monotonic_ns()));
		for (int i = 0; i < n; i++)
			dispatch(events[i].data.ptr, events[i].events);
		int64_t now = cs_monotonic_ns();
		cs_forward_timers(r, now);
		close_idle(r, now);
	}
	return NULL;
}

static int start_thread(struct cs_resolver *r)
{
	sigset_t all, old;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int e = pthread_create(&r->thread, NULL, run, r);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return e;
}

static void resolver_free(struct cs_resolver *r)
{
	cs_dns_table_done(&r->table);
	free_dead(r);
	if (r->have_ldns)
		cs_ldns_put();
	cs_close(r->epoll);
	cs_close(r->wake);
	cs_close(r->host_netns);
	cs_close(r->reserve);
	pthread_mutex_destroy(&r->ns_lock);
	free(r->resolv_conf);
	free(r->resolv_uplink);
	free(r);
}

static void set_options(struct cs_resolver *r, const struct cs_resolver_options *o)
{
	if (o)
		r->o = *o;
	r->resolv_conf = cs_xstrdup(OR(r->o.resolv_conf, "/etc/resolv.conf"));
	r->resolv_uplink = cs_xstrdup(OR(r->o.resolv_uplink, "/run/systemd/resolve/resolv.conf"));
	r->o.upstream_port = (uint16_t)OR(r->o.upstream_port, 53);
	r->o.try_ms = OR(r->o.try_ms, 1500);
	r->o.total_ms = OR(r->o.total_ms, 4500);
	r->o.tcp_idle_ms = OR(r->o.tcp_idle_ms, 10000);
	r->o.max_pending = OR(r->o.max_pending, 4096);
	r->o.max_pending_each = OR(r->o.max_pending_each, 1024);
	r->o.max_connections_each = OR(r->o.max_connections_each, 64);
	/* containers must not be able to take all descriptors of the engine by asking */
	struct rlimit files = {.rlim_cur = 1024};
	(void)getrlimit(RLIMIT_NOFILE, &files);
	r->max_sockets = CS_MAX(files.rlim_cur / 8, 16u);
}

int cs_resolver_open(const struct cs_resolver_options *options, struct cs_resolver **ret, struct cs_err **err)
{
	struct cs_resolver *r = cs_xcalloc(1, sizeof(*r));
	int e;

	set_options(r, options);
	pthread_mutex_init(&r->ns_lock, NULL);
	r->epoll = epoll_create1(EPOLL_CLOEXEC);
	r->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r->host_netns = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	r->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
	r->wake_source = (struct cs_source){SOURCE_WAKE, r};
	cs_dns_table_init(&r->table, r->wake);
	e = r->epoll < 0 || r->wake < 0 || r->host_netns < 0 || r->reserve < 0 ? errno : -cs_resolver_watch(r, r->wake, EPOLLIN, &r->wake_source);
	if (e == 0)
		e = start_thread(r);
	if (e) {
		resolver_free(r);
		return cs_fail(err, CS_ERR_INTERNAL, e, "start the resolver");
	}
	*ret = r;
	return 0;
}

static void wake(struct cs_resolver *r) { (void)!write(r->wake, &(uint64_t){1}, sizeof(uint64_t)); }

/* Namespaces */

static void ns_free(struct cs_dns_retire *retire) /* the thread, between two batches */
{
	struct cs_ns *ns = cs_container_of(retire, struct cs_ns, retire);

	while (ns->pending)
		cs_pending_free(ns->pending);
	while (ns->clients)
		cs_client_close(ns->clients);
	cs_resolver_unwatch(ns->r, ns->udp);
	cs_resolver_unwatch(ns->r, ns->listen);
	cs_close(ns->netns);
	free(ns->key);
	free(ns);
}

static struct cs_ns *ns_find(struct cs_resolver *r, const char *key)
{
	struct cs_ns *ns = NULL;

	HASH_FIND_STR(r->namespaces, key, ns);
	return ns;
}

/* Out of sight for writers, without settings for the reader, then away. ns_lock is held. */
static void ns_remove(struct cs_resolver *r, struct cs_ns *ns)
{
	HASH_DEL(r->namespaces, ns);
	atomic_store(&ns->gone, true);
	cs_dns_settings_retire(&r->table, atomic_exchange(&ns->settings, NULL));
	cs_dns_retire(&r->table, &ns->retire);
}

/* Takes the sockets. From the first watch on, queries are answered. */
static int ns_start(struct cs_resolver *r, const char *key, int netns, int fd[2], struct cs_dns_settings *settings, struct cs_err **err)
{
	struct cs_ns *ns = cs_xcalloc(1, sizeof(*ns));
	int e = 0;

	ns->retire.free = ns_free;
	ns->r = r;
	ns->key = cs_xstrdup(key);
	ns->netns = fcntl(netns, F_DUPFD_CLOEXEC, 3);
	ns->udp = TAKE_FD(fd[0]);
	ns->listen = TAKE_FD(fd[1]);
	ns->udp_source = (struct cs_source){SOURCE_UDP, ns};
	ns->listen_source = (struct cs_source){SOURCE_LISTEN, ns};
	atomic_store(&ns->settings, settings);

	pthread_mutex_lock(&r->ns_lock);
	bool there = ns_find(r, key) != NULL;
	if (!there) {
		HASH_ADD_KEYPTR(hh, r->namespaces, ns->key, strlen(ns->key), ns);
		e = ns->netns < 0 ? -errno : cs_resolver_watch(r, ns->udp, EPOLLIN, &ns->udp_source);
		if (e == 0)
			e = cs_resolver_watch(r, ns->listen, EPOLLIN, &ns->listen_source);
		if (e < 0)
			ns_remove(r, ns);
	}
	pthread_mutex_unlock(&r->ns_lock);
	if (there) {
		cs_dns_settings_retire(&r->table, settings);
		ns_free(&ns->retire); /* no event was ever asked for */
		return cs_fail(err, CS_ERR_CONFLICT, 0, "namespace %s has a resolver already", key);
	}
	return e < 0 ? cs_fail(err, CS_ERR_INTERNAL, -e, "watch the sockets of namespace %s", key) : 0;
}

static int ns_add(struct cs_resolver *r, const char *key, int netns, int fd[2], const struct cs_resolver_settings *settings, struct cs_err **err)
{
	struct cs_dns_settings *s = NULL;

	pthread_mutex_lock(&r->ns_lock);
	bool there = ns_find(r, key) != NULL; /* before the sockets: their rules would push those of the other away */
	pthread_mutex_unlock(&r->ns_lock);
	if (there)
		return cs_fail(err, CS_ERR_CONFLICT, 0, "namespace %s has a resolver already", key);
	if (settings && cs_dns_settings_new(&r->table, settings, &s, err) < 0)
		return -1;
	if (cs_resolver_sockets(netns, fd, err) < 0) {
		cs_dns_settings_retire(&r->table, s);
		return cs_wrap(err, "resolver of namespace %s", key);
	}
	return ns_start(r, key, netns, fd, s, err);
}

int cs_resolver_namespace_add(struct cs_resolver *r, const char *key, int netns, const struct cs_resolver_settings *settings, struct cs_err **err)
{
	int fd[2] = {-EBADF, -EBADF};
	int ret = ns_add(r, key, netns, fd, settings, err);

	cs_close(fd[0]);
	cs_close(fd[1]);
	return ret;
}

int cs_resolver_namespace_update(struct cs_resolver *r, const char *key, const struct cs_resolver_settings *settings, struct cs_err **err)
{
	struct cs_dns_settings *s = NULL;

	if (settings && cs_dns_settings_new(&r->table, settings, &s, err) < 0)
		return -1;
	pthread_mutex_lock(&r->ns_lock);
	struct cs_ns *ns = ns_find(r, key);
	if (ns)
		s = atomic_exchange(&ns->settings, s);
	pthread_mutex_unlock(&r->ns_lock);
	cs_dns_settings_retire(&r->table, s); /* the old ones, or what nobody wants */
	return ns ? 0 : cs_fail(err, CS_ERR_NOT_FOUND, 0, "namespace %s has no resolver", key);
}

void cs_resolver_namespace_remove(struct cs_resolver *r, const char *key)
{
	pthread_mutex_lock(&r->ns_lock);
	struct cs_ns *ns = ns_find(r, key);
	if (ns)
		ns_remove(r, ns);
	pthread_mutex_unlock(&r->ns_lock);
}

void cs_resolver_close(struct cs_resolver *r)
{
	struct cs_ns *ns, *next;

	if (!r)
		return;
	atomic_store(&r->stop, true);
	wake(r);
	(void)pthread_join(r->thread, NULL);
	pthread_mutex_lock(&r->ns_lock);
	HASH_ITER (hh, r->namespaces, ns, next)
		ns_remove(r, ns);
	pthread_mutex_unlock(&r->ns_lock);
	cs_dns_table_quiesce(&r->table); /* we are the reader now */
	resolver_free(r);
}

/* The table's part of the door */

void cs_resolver_network_set(struct cs_resolver *r, const char *network_id, const char *name) { cs_dns_network_set(&r->table, network_id, name); }
void cs_resolver_network_remove(struct cs_resolver *r, const char *network_id) { cs_dns_network_remove(&r->table, network_id); }

int cs_resolver_endpoint_set(struct cs_resolver *r, const char *network_id, const struct cs_resolver_endpoint *e, struct cs_err **err)
{
	return cs_dns_endpoint_set(&r->table, network_id, e, err);
}

void cs_resolver_endpoint_remove(struct cs_resolver *r, const char *network_id, const char *endpoint_id)
{
	cs_dns_endpoint_remove(&r->table, network_id, endpoint_id);
}

int cs_resolver_stats(struct cs_resolver *r, const char *key, struct cs_resolver_stats *ret)
{
	pthread_mutex_lock(&r->ns_lock);
	struct cs_ns *ns = key ? ns_find(r, key) : NULL;
	const struct cs_counters *c = ns ? &ns->counters : key ? NULL : &r->counters;
	if (c) {
#define READ(name) ret->name = atomic_load_explicit(&c->name, memory_order_relaxed);
		CS_RESOLVER_COUNTERS(READ)
#undef READ
	}
	pthread_mutex_unlock(&r->ns_lock);
	return c ? 0 : -1;
}
