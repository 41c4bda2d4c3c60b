/* SPDX-License-Identifier: Apache-2.0
 *
 * The resolver's insides. All of it belongs to the resolver's thread, but for what says otherwise. Objects that an event of the same
 * batch may still speak of are not freed before the next one (bury). */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <utlist.h>

#include "base/str.h"
#include "network/dns_answer.h"

#define CS_RESOLVER_BATCH 16
#define CS_RESOLVER_TRIES 3 /* sockets of one query that are open at once */

struct cs_source { /* what an event of epoll speaks of */
	enum { SOURCE_WAKE, SOURCE_UDP, SOURCE_LISTEN, SOURCE_CLIENT, SOURCE_TRY, SOURCE_DEAD } kind;
	void *owner;
};

#define CS_RESOLVER_COUNTERS(X) X(queries) X(local) X(forwarded) X(answered) X(timeouts) X(refused) X(malformed) X(strays) X(unsent) X(tcp) X(pending)
struct cs_counters { /* one thread writes, all read */
#define CS_COUNTER_(name) _Atomic(uint64_t)(name);
	CS_RESOLVER_COUNTERS(CS_COUNTER_)
};
static inline void cs_counter_add(_Atomic(uint64_t) *c, uint64_t n)
{
	atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + n, memory_order_relaxed);
}
#define CS_COUNT(ns, name, n)                                                                                                                        \
	do {                                                                                                                                         \
		cs_counter_add(&(ns)->counters.name, (uint64_t)(n));                                                                                 \
		cs_counter_add(&(ns)->r->counters.name, (uint64_t)(n));                                                                              \
	} while (0)

struct cs_ns {
	struct cs_dns_retire retire; /* ended and freed by the thread */
	struct cs_resolver *r;
	struct cs_source udp_source, listen_source;
	char *key;
	int netns, udp, listen;
	atomic_bool gone; /* removed: what its sockets hold belongs to whoever may adopt them */
	_Atomic(struct cs_dns_settings *) settings; /* NULL: none (yet); writers hold ns_lock */
	struct cs_counters counters;
	struct cs_pending *pending; /* linked by ns_prev, ns_next */
	struct cs_client *clients;  /* the one that was longest silent first */
	size_t n_pending, n_clients;
	UT_hash_handle hh; /* writers, under ns_lock */
};

/* A TCP connection of a client. */
struct cs_client {
	struct cs_source source;
	struct cs_ns *ns;
	int fd;
	int64_t since; /* of its last whole query or answer */
	size_t have, n_pending;
	bool ended; /* it sends no more */
	uint32_t events;
	struct cs_str out;
	struct cs_client *prev, *next;           /* of the namespace */
	struct cs_client *idle_prev, *idle_next; /* of all, by since; next also in the graveyard */
	uint8_t in[2 + CS_DNS_QUERY_MAX];
};

/* A query that upstream servers were asked. */
struct cs_pending {
	struct cs_ns *ns;
	struct cs_client *client; /* NULL: UDP */
	struct sockaddr_in peer;
	struct cs_dns_query q;
	int64_t deadline, next_try;
	const union cs_dns_sockaddr *server;
	size_t n_server, at, n_try;
	unsigned failed; /* a bit for each server that said so */
	bool from_host;
	struct cs_try *tries; /* oldest first */
	struct cs_pending *prev, *next;             /* of all, by deadline */
	struct cs_pending *retry_prev, *retry_next; /* of all, by next_try */
	struct cs_pending *ns_prev, *ns_next;
	size_t len;
	uint8_t msg[]; /* the query, then the servers */
};

/* One question to one server: a socket of its own, for a port that nobody can guess. */
struct cs_try {
	struct cs_source source;
	struct cs_pending *p;
	int fd;
	uint16_t id;
	size_t server, sent, have;
	uint8_t *in; /* TCP: two bytes of length, then the answer */
	size_t in_size;
	struct cs_try *prev, *next; /* next also in the graveyard */
};

struct cs_host_servers {
	union cs_dns_sockaddr server[CS_DNS_SERVERS_MAX];
	size_t n;
	int64_t looked; /* monotonic; 0: never */
	struct stamp {
		int64_t sec, nsec, size;
		uint64_t ino;
	} conf, uplink;
};

struct cs_resolver {
	struct cs_resolver_options o;
	char *resolv_conf, *resolv_uplink;
	struct cs_dns_table table;
	pthread_mutex_t ns_lock;
	struct cs_ns *namespaces; /* by key; ns_lock */
	struct cs_counters counters;
	pthread_t thread;
	atomic_bool stop;
	int epoll, wake;
	/* the thread's */
	struct cs_source wake_source;
	int host_netns, reserve;
	size_t max_sockets, n_tries, n_clients; /* the first bounds each of the others */
	bool have_ldns;
	struct cs_pending *pending, *retry;
	struct cs_client *idle, *dead_clients;
	struct cs_try *dead_tries;
	struct cs_host_servers host;
	size_t random_left;
	uint64_t random[64];
	uint8_t rx[CS_RESOLVER_BATCH][CS_DNS_QUERY_MAX], tx[CS_RESOLVER_BATCH][CS_DNS_UDP_MAX];
	uint8_t scratch[CS_DNS_MESSAGE_MAX + 1]; /* one answer */
};

/* resolver.c */
uint64_t cs_resolver_random(struct cs_resolver *r);
int cs_resolver_watch(struct cs_resolver *r, int fd, uint32_t events, struct cs_source *source); /* 0 or -errno */
void cs_resolver_unwatch(struct cs_resolver *r, int fd);                                        /* and closes it */

/* resolver_serve.c: clients */
void cs_serve_udp(struct cs_ns *ns);
void cs_serve_accept(struct cs_ns *ns);
void cs_serve_client(struct cs_client *c, uint32_t events);
/* An answer for a client over TCP, which may close it. */
void cs_client_send(struct cs_client *c, const uint8_t *msg, size_t len);
void cs_client_close(struct cs_client *c);
/* The answer to one message into out (CS_DNS_MESSAGE_MAX bytes): its length, 0 for none (dropped, or handed to cs_forward). */
size_t cs_serve_message(struct cs_ns *ns, struct cs_client *client, const struct sockaddr_in *peer, const uint8_t *msg, size_t len, uint8_t *out);

/* resolver_forward.c: upstream servers */
/* Takes the query over. 0, or the rcode with which to refuse it. */
unsigned cs_forward(struct cs_ns *ns, struct cs_client *client, const struct sockaddr_in *peer, const struct cs_dns_settings *s,
	const struct cs_dns_query *q, const uint8_t *msg, size_t len);
void cs_forward_event(struct cs_try *t);
void cs_forward_timers(struct cs_resolver *r, int64_t now);
void cs_pending_free(struct cs_pending *p);

/* resolver_host.c: the host's name servers, as its resolv.conf has them now */
const struct cs_host_servers *cs_host_servers(struct cs_resolver *r, int64_t now);

/* resolver_sockets_linux.c */
/* Makes the pair of sockets (UDP, listening TCP) in the namespace, and what belongs to them. Any thread. */
CS_MUST_CHECK int cs_resolver_sockets(int netns, int fd[2], struct cs_err **err);
/* A socket in another namespace, for the resolver's thread only, which is back in its own afterwards. -errno */
int cs_resolver_socket_in(struct cs_resolver *r, int netns, int family, int type);
/* nftables in the calling thread's namespace: port 53 of 127.0.0.11 to these and back. 0 or -errno. (resolver_nft_linux.c) */
int cs_resolver_map_ports(uint16_t udp, uint16_t tcp);
