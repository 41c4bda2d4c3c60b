/* SPDX-License-Identifier: Apache-2.0
 *
 * What the embedded DNS knows: networks, their endpoints by name and by address, and the settings of namespaces.
 *
 * Many writers, one reader. Writers take the table's lock; the reader (the resolver's thread) takes none: what it follows are pointers to
 * objects that are never changed after they were published, and that are freed by the reader itself, between two queries
 * (cs_dns_table_quiesce). So a query waits for nobody, and sees what was changed before it was read. */
#pragma once

#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <uthash.h>

#include "network/dns_name.h"
#include "network/resolver.h"

/* First member of everything that the reader may hold. */
struct cs_dns_retire {
	struct cs_dns_retire *next;
	void (*free)(struct cs_dns_retire *r);
};

struct cs_dns_port {
	struct cs_dns_name prefix; /* _http._tcp */
	uint16_t port;
};

struct cs_dns_endpoint {
	struct cs_dns_retire retire;
	struct cs_dns_packed *name; /* NULL: none */
	size_t n_addr, n_port;
	struct cs_resolver_addr *addr;
	struct cs_dns_port *port;
};

/* All endpoints of one name, or of one address. */
struct cs_dns_node {
	struct cs_dns_retire retire;
	_Atomic(struct cs_dns_node *) next;
	uint64_t hash;
	size_t n;
	uint8_t key_len;
	const uint8_t *key; /* behind the endpoints */
	const struct cs_dns_endpoint *endpoint[];
};

struct cs_dns_buckets;
struct cs_dns_map {
	_Atomic(struct cs_dns_buckets *) buckets;
	size_t n; /* the writers' */
};

struct cs_dns_suffix {
	struct cs_dns_retire retire;
	struct cs_dns_name name;
};

struct cs_dns_owned; /* an endpoint and its keys: the writers' */
struct cs_dns_network {
	struct cs_dns_retire retire;
	struct cs_dns_map names, addrs;
	_Atomic(struct cs_dns_suffix *) suffix; /* its name; NULL: not there, or a name that DNS cannot carry */
	/* the writers' */
	char *id;
	bool there;  /* set, and not removed */
	size_t refs; /* of settings */
	struct cs_dns_owned *owned;
	UT_hash_handle hh;
};

struct cs_dns_link {
	struct cs_dns_network *network;
	struct cs_dns_name alias, target;
};

#define CS_DNS_SERVERS_MAX 8
union cs_dns_sockaddr {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

/* A namespace's settings; never changed. */
struct cs_dns_settings {
	struct cs_dns_retire retire;
	size_t n_network, n_link, n_server;
	struct cs_dns_network **network;
	struct cs_dns_link *link;
	union cs_dns_sockaddr server[CS_DNS_SERVERS_MAX]; /* without port */
	bool own_servers;                                 /* --dns was given */
	bool internal, ndots_set;
};

struct cs_dns_table {
	pthread_mutex_t lock;
	struct cs_dns_network *networks; /* by id; those that are there, and those that settings speak of */
	uint64_t seed;
	_Atomic(struct cs_dns_retire *) retired;
	int wake; /* an eventfd that wakes the reader when there is something to free, or -EBADF; borrowed */
};

void cs_dns_table_init(struct cs_dns_table *t, int wake);
/* No reader may be left. */
void cs_dns_table_done(struct cs_dns_table *t);

/* Writers: any thread. The contracts are those of resolver.h. */
void cs_dns_network_set(struct cs_dns_table *t, const char *id, const char *name);
void cs_dns_network_remove(struct cs_dns_table *t, const char *id);
CS_MUST_CHECK int cs_dns_endpoint_set(struct cs_dns_table *t, const char *network_id, const struct cs_resolver_endpoint *e, struct cs_err **err);
void cs_dns_endpoint_remove(struct cs_dns_table *t, const char *network_id, const char *endpoint_id);
CS_MUST_CHECK int cs_dns_settings_new(struct cs_dns_table *t, const struct cs_resolver_settings *s, struct cs_dns_settings **ret, struct cs_err **err);
/* After the last place where a reader could find it has forgotten it. Accepts NULL. */
void cs_dns_settings_retire(struct cs_dns_table *t, struct cs_dns_settings *s);
/* Hands an object to the reader, who calls its free between two queries. With or without the lock. */
void cs_dns_retire(struct cs_dns_table *t, struct cs_dns_retire *r);

/* The reader: what any of these returns is good until the next cs_dns_table_quiesce. */
void cs_dns_table_quiesce(struct cs_dns_table *t);
/* The endpoints of a name, as somebody with these settings sees them; NULL: unknown. */
const struct cs_dns_node *cs_dns_lookup(const struct cs_dns_table *t, const struct cs_dns_settings *s, const struct cs_dns_name *name);
/* The name of an address (4 or 16 bytes): NAME.NETWORK, or NAME alone where DNS cannot carry the network's. False: unknown. */
CS_MUST_CHECK bool cs_dns_reverse(const struct cs_dns_table *t, const struct cs_dns_settings *s, const uint8_t *addr, size_t len, struct cs_dns_name *ret);

/* "ADDRESS" or "ADDRESS%zone" to a socket address without port; 0 or -1. */
CS_MUST_CHECK int cs_dns_server_parse(const char *text, union cs_dns_sockaddr *ret);
