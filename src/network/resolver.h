/* SPDX-License-Identifier: Apache-2.0
 *
 * The embedded DNS: 127.0.0.11:53, UDP and TCP, in each network namespace that it is given. One thread serves all of them.
 *
 * Who holds what. A resolver has networks (id and name), networks have endpoints (id, names, addresses), and namespaces are attached
 * to networks: a query that arrives in a namespace sees the endpoints of the networks which that namespace is attached to, and nothing
 * else. Networks and namespaces are independent of each other and may be added in any order; a namespace may name a network that is
 * not there (yet), whose names then are not there either.
 *
 * Threads. Every function may be called from every thread at any time. What a call has changed is seen by every query that is read after
 * its return; queries never wait for changes (the tables are read without a lock). Strings and arrays are copied, nothing is kept.
 *
 * Nothing is on disk: after a restart the service adds networks, endpoints and namespaces again (namespaces by /proc/<pid>/ns/net).
 *
 * The messages are parsed and built by libldns, which is loaded (with libcrypto) at the first query, not before. */
#pragma once

#include <netinet/in.h>

#include "base/error.h"

struct cs_resolver;

#define CS_RESOLVER_ADDRESS "127.0.0.11"

/* An address of either family. */
struct cs_resolver_addr {
	sa_family_t family; /* AF_INET, AF_INET6 */
	union {
		struct in_addr v4;
		struct in6_addr v6;
	};
};
/* "10.1.2.3", "fd00::1"; 0, or -1 when it is neither. */
CS_MUST_CHECK int cs_resolver_addr_parse(const char *text, struct cs_resolver_addr *ret);

/* All of it may be zero. */
struct cs_resolver_options {
	const char *resolv_conf;     /* of the host; NULL: /etc/resolv.conf */
	const char *resolv_uplink;   /* what lies behind systemd-resolved's stub; NULL: /run/systemd/resolve/resolv.conf */
	uint16_t upstream_port;      /* 0: 53; tests have no right to 53 */
	unsigned try_ms;             /* how long one upstream server is waited for before the next is asked as well; 0: 1500 */
	unsigned total_ms;           /* after it the client gets SERVFAIL; 0: 4500, since libcs give up after 5 s */
	unsigned tcp_idle_ms;        /* a client's connection without a whole query; 0: 10 s */
	unsigned max_pending;        /* queries that wait for upstream servers: of all; 0: 4096. Their sockets, and as many of TCP clients, take
				      * at most a quarter of RLIMIT_NOFILE, whatever this says */
	unsigned max_pending_each;   /* of one namespace; 0: 1024 (Docker's number); beyond it: REFUSED */
	unsigned max_connections_each; /* TCP clients of one namespace, the oldest is closed for a new one; 0: 64 */
};

/* Starts the thread. `options` may be NULL. */
CS_MUST_CHECK int cs_resolver_open(const struct cs_resolver_options *options, struct cs_resolver **ret, struct cs_err **err);
/* Ends the thread, closes all sockets, forgets everything. Accepts NULL. No other call may be under way. */
void cs_resolver_close(struct cs_resolver *r);

/* Networks ---------------------------------------------------------------------------------------------------------------------- */

/* Adds the network, or renames it: `name` answers NAME.NETWORK, and stands behind the names of PTR answers. */
void cs_resolver_network_set(struct cs_resolver *r, const char *network_id, const char *name);
/* With all endpoints in it. An unknown id is nothing to do. */
void cs_resolver_network_remove(struct cs_resolver *r, const char *network_id);

/* A port that SRV answers tell: _NAME._PROTOCOL.SERVICE gives PORT and the endpoint's name. Docker has them for swarm's services only. */
struct cs_resolver_port {
	const char *name;     /* "http" */
	const char *protocol; /* "tcp", "udp" */
	uint16_t port;
};

/* What has names on a network: a container's endpoint, or a load balancer's virtual address. */
struct cs_resolver_endpoint {
	const char *id;                     /* unique within the network; the key of replace and remove */
	const char *name;                   /* the container's: it stands in PTR answers. NULL: no PTR */
	const char *const *aliases;         /* short id, network aliases, service names; NULL-terminated, or NULL */
	const struct cs_resolver_addr *addr; /* at least one. The same name on several endpoints is answered with all of their addresses, */
	size_t n_addr;                      /* in changing order */
	const struct cs_resolver_port *port; /* usually none */
	size_t n_port;
};
/* Adds, or replaces the one of the same id. INVALID: no address, or a port's name that DNS cannot carry; NOT_FOUND: no such network. Names are
 * compared without case; a name with dots is one name. Names that DNS cannot carry (a label over 63 bytes, over 253 in all, empty labels), which
 * containers may have, are left out, with a warning in the log. */
CS_MUST_CHECK int cs_resolver_endpoint_set(struct cs_resolver *r, const char *network_id, const struct cs_resolver_endpoint *e, struct cs_err **err);
/* Unknown ids are nothing to do. */
void cs_resolver_endpoint_remove(struct cs_resolver *r, const char *network_id, const char *endpoint_id);

/* Namespaces -------------------------------------------------------------------------------------------------------------------- */

/* `--link` and `docker network connect --link TARGET:ALIAS`: a name that only this namespace sees. It follows the target's address. Left out
 * where DNS cannot carry one of the two. */
struct cs_resolver_link {
	const char *network_id; /* where the target is looked up */
	const char *alias;
	const char *target; /* a name on that network */
};

struct cs_resolver_settings {
	const char *const *networks; /* ids, in the order in which they are asked (the first that knows a name answers); NULL-terminated, or NULL */
	const struct cs_resolver_link *link;
	size_t n_link;
	/* --dns: asked from within the namespace, loopback addresses too, as in Docker. NULL or empty: the host's servers, asked from the host, as
	 * Docker does since 26, and read anew when its resolv.conf changes. Plain addresses, at most eight; INVALID otherwise. */
	const char *const *servers;
	/* No network with a way out is attached (all are internal): the host's servers are not asked, names that are not ours get NXDOMAIN
	 * (CVE-2024-29018). `servers` still are: from within the namespace nothing can be reached but what is on its networks. */
	bool internal;
	/* ndots was set by the user to more than 0: A and AAAA of names without a dot that are not ours stay here and get an answer without
	 * records, so that the client goes on with its search list, as Docker does. */
	bool ndots_set;
};

/* Serves a namespace from now on. `key`: any text that is unique among them (the namespace's id); CONFLICT when it is there. `netns` is
 * borrowed for the call: the sockets are made in it by a thread of their own, which also puts the loopback device up if it is not. They keep
 * the namespace alive until cs_resolver_namespace_remove.
 * The sockets have ports that the kernel chose, and a small table of nftables in the namespace (caisson_dns, stateless: it takes no
 * conntrack entries) maps port 53 of 127.0.0.11 to them, so that a container may bind 0.0.0.0:53 itself. Where nftables is not to be had,
 * port 53 is bound. A table left by a dead daemon is replaced.
 * `settings` may be NULL: served, but knows no names and refuses to ask anybody (for a warm pool: add takes a tenth of a
 * millisecond here, update a hundredth). Where a dead daemon's table is replaced, add takes some 15 ms, the kernel's grace period. */
CS_MUST_CHECK int cs_resolver_namespace_add(struct cs_resolver *r, const char *key, int netns, const struct cs_resolver_settings *settings,
	struct cs_err **err);
/* Replaces the settings, at connect and disconnect. NOT_FOUND: no such key. Queries under way end under the old ones. */
CS_MUST_CHECK int cs_resolver_namespace_update(struct cs_resolver *r, const char *key, const struct cs_resolver_settings *settings, struct cs_err **err);
/* The sockets are closed by the resolver's thread, at once but not necessarily before the return. An unknown key is nothing to do. */
void cs_resolver_namespace_remove(struct cs_resolver *r, const char *key);

/* Counters since the start, of one namespace, or of all there are and were (key NULL). -1: no such key. */
struct cs_resolver_stats {
	uint64_t queries;   /* well-formed or not */
	uint64_t local;     /* answered from our names */
	uint64_t forwarded; /* handed to upstream servers */
	uint64_t answered;  /* of these: with an answer of theirs */
	uint64_t timeouts;  /* of these: with SERVFAIL, since nobody answered in time */
	uint64_t refused;   /* over a limit, ANY, internal, another class */
	uint64_t malformed; /* dropped or FORMERR */
	uint64_t strays;    /* from upstream: wrong id, question or form */
	uint64_t unsent;    /* answers that the client's socket did not take */
	uint64_t tcp;       /* connections accepted */
	uint64_t pending;   /* now */
};
CS_MUST_CHECK int cs_resolver_stats(struct cs_resolver *r, const char *key, struct cs_resolver_stats *ret);
