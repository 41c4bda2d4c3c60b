/* SPDX-License-Identifier: Apache-2.0
 *
 * Upstream servers. They are asked in their order: the next one when one has failed (at once), or has been silent for try_ms (then both are
 * listened to, and silent ones are asked again when all have been); the first answer counts. SERVFAIL and REFUSED count as failure, as in
 * Docker; NXDOMAIN is an answer. Over TCP when the client uses TCP, which it does after a TC.
 *
 * Against forged answers (RFC 5452): a new socket, hence a port of the kernel's choice, and a random id for each question that leaves; the
 * socket is connected, so the kernel compares addresses; id, name, type and class must be those of the question. */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/log.h"
#include "base/time.h"
#include "network/ldns_lib.h"
#include "network/resolver_internal.h"

#define TRIES_MAX (2 * CS_DNS_SERVERS_MAX) /* of one query, whatever the times are set to */

static void try_free(struct cs_try *t)
{
	struct cs_resolver *r = t->p->ns->r;

	DL_DELETE(t->p->tries, t);
	r->n_tries--;
	cs_resolver_unwatch(r, TAKE_FD(t->fd));
	t->source.kind = SOURCE_DEAD;
	t->next = r->dead_tries;
	r->dead_tries = t;
}

void cs_pending_free(struct cs_pending *p)
{
	struct cs_ns *ns = p->ns;

	while (p->tries)
		try_free(p->tries);
	DL_DELETE(ns->r->pending, p);
	DL_DELETE2(ns->r->retry, p, retry_prev, retry_next);
	DL_DELETE2(ns->pending, p, ns_prev, ns_next);
	ns->n_pending--;
	if (p->client)
		p->client->n_pending--;
	CS_COUNT(ns, pending, -1);
	free(p);
}

/* The end of a query: `msg` goes to the client. */
static void finish(struct cs_pending *p, const uint8_t *msg, size_t len)
{
	struct cs_ns *ns = p->ns;
	struct cs_client *client = p->client;
	struct sockaddr_in peer = p->peer;

	cs_pending_free(p);
	if (client)
		cs_client_send(client, msg, len);
	else if (sendto(ns->udp, msg, len, MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&peer, sizeof(peer)) < 0)
		CS_COUNT(ns, unsent, 1);
}

static void give_up(struct cs_pending *p)
{
	uint8_t *out = p->ns->r->scratch;

	cs_debug("network", "resolver: namespace %s: none of %zu upstream servers has an answer", p->ns->key, p->n_server);
	CS_COUNT(p->ns, timeouts, 1);
	finish(p, out, cs_dns_failure(&p->q, p->msg, LDNS_RCODE_SERVFAIL, out));
}

/* One question to one server */

static ssize_t send_udp(struct cs_try *t)
{
	uint8_t id[2] = {(uint8_t)(t->id >> 8), (uint8_t)t->id};
	struct iovec part[2] = {{id, 2}, {t->p->msg + 2, t->p->len - 2}};
	struct msghdr m = {.msg_iov = part, .msg_iovlen = 2};

	return sendmsg(t->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* The rest of length, id and question. -1: failed; 0: not all of it yet; 1: gone. */
static int send_tcp(struct cs_try *t)
{
	size_t len = t->p->len;
	uint8_t head[4] = {(uint8_t)(len >> 8), (uint8_t)len, (uint8_t)(t->id >> 8), (uint8_t)t->id};

	while (t->sent < len + 2) {
		bool first = t->sent < sizeof(head);
		const uint8_t *from = first ? head + t->sent : t->p->msg + t->sent - 2;
		size_t n = first ? sizeof(head) - t->sent : len + 2 - t->sent;
		ssize_t k = send(t->fd, from, n, MSG_DONTWAIT | MSG_NOSIGNAL | (first ? MSG_MORE : 0));
		if (k < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -1;
		t->sent += (size_t)k;
	}
	return 1;
}

static int try_socket(struct cs_pending *p, const union cs_dns_sockaddr *server)
{
	struct cs_resolver *r = p->ns->r;
	int type = (p->client ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC | SOCK_NONBLOCK;
	socklen_t size = server->any.sa_family == AF_INET ? sizeof(server->v4) : sizeof(server->v6);
	cs_autofd int fd = -EBADF;

	if (p->from_host) {
		fd = socket(server->any.sa_family, type, 0);
		if (fd < 0)
			return -errno;
	} else {
		fd = cs_resolver_socket_in(r, p->ns->netns, server->any.sa_family, type);
		if (fd < 0)
			return fd;
	}
	if (connect(fd, &server->any, size) < 0 && errno != EINPROGRESS)
		return -errno;
	return TAKE_FD(fd);
}

static int try_start(struct cs_pending *p, size_t at)
{
	struct cs_resolver *r = p->ns->r;
	union cs_dns_sockaddr server = p->server[at];
	cs_autofd int fd = -EBADF;

	if (server.any.sa_family == AF_INET)
		server.v4.sin_port = htons(r->o.upstream_port);
	else
		server.v6.sin6_port = htons(r->o.upstream_port);
	fd = r->n_tries < r->max_sockets ? try_socket(p, &server) : -EMFILE;
	if (fd < 0)
		return fd;
	struct cs_try *t = cs_xcalloc(1, sizeof(*t));
	t->source = (struct cs_source){SOURCE_TRY, t};
	t->p = p;
	t->server = at;
	t->id = (uint16_t)cs_resolver_random(r);
	t->fd = TAKE_FD(fd);
	DL_APPEND(p->tries, t);
	r->n_tries++;
	int e = cs_resolver_watch(r, t->fd, p->client ? EPOLLOUT : EPOLLIN, &t->source);
	if (e == 0 && !p->client && send_udp(t) < 0)
		e = -errno;
	if (e < 0)
		try_free(t);
	return e;
}

/* Asks the next server that has not failed. False: there is none, nor one that might still answer. */
static bool ask_next(struct cs_pending *p)
{
	size_t live = 0;
	struct cs_try *t;

	DL_FOREACH (p->tries, t)
		live++;
	for (size_t i = 0; i < p->n_server && p->n_try < TRIES_MAX; i++) {
		size_t at = p->at++ % p->n_server;
		if (p->failed & 1u << at)
			continue;
		if (live == CS_RESOLVER_TRIES) {
			try_free(p->tries);
			live--;
		}
		p->n_try++;
		if (try_start(p, at) == 0)
			return true;
		p->failed |= 1u << at;
	}
	return live > 0;
}

static void try_failed(struct cs_try *t)
{
	struct cs_pending *p = t->p;

	p->failed |= 1u << t->server;
	try_free(t);
	if (!ask_next(p))
		give_up(p);
}

/* False: it was an answer, or a failure, and t is gone. True: neither. */
static bool take(struct cs_try *t, uint8_t *msg, size_t len)
{
	struct cs_pending *p = t->p;
	bool bare = cs_dns_is_bare_failure(t->id, msg, len);

	if (!bare && !cs_dns_is_answer(&p->q, p->msg, t->id, msg, len)) {
		CS_COUNT(p->ns, strays, 1);
		return true;
	}
	unsigned rcode = LDNS_RCODE_WIRE(msg);
	if (rcode == LDNS_RCODE_SERVFAIL || rcode == LDNS_RCODE_REFUSED) {
		try_failed(t);
		return false;
	}
	CS_COUNT(p->ns, answered, 1);
	if (bare) { /* without OPT: whoever sent one tries it without (RFC 6891 7) */
		uint8_t *out = p->ns->r->scratch;
		p->q.edns = false;
		finish(p, out, cs_dns_failure(&p->q, p->msg, rcode, out));
		return false;
	}
	len = cs_dns_pass_on(&p->q, p->msg, msg, len);
	finish(p, msg, len); /* over TCP, msg is t's, which is buried with p but not freed before the batch's end */
	return false;
}

static void event_udp(struct cs_try *t)
{
	uint8_t *buf = t->p->ns->r->scratch;

	for (int i = 0; i < 16; i++) { /* whoever floods this socket has its turn again, after others */
		ssize_t n = recv(t->fd, buf, CS_DNS_MESSAGE_MAX, MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n < 0) { /* ECONNREFUSED: nobody listens there */
			try_failed(t);
			return;
		}
		if (!take(t, buf, (size_t)n))
			return;
	}
}

static void event_tcp(struct cs_try *t)
{
	if (t->sent < t->p->len + 2) {
		int gone = send_tcp(t);
		if (gone < 0) {
			try_failed(t);
		} else if (gone) {
			struct epoll_event e = {.events = EPOLLIN, .data.ptr = &t->source};
			(void)epoll_ctl(t->p->ns->r->epoll, EPOLL_CTL_MOD, t->fd, &e);
		}
		return;
	}
	if (!t->in) {
		t->in_size = 2;
		t->in = cs_xmalloc(2 + CS_DNS_HEADER);
	}
	ssize_t n = recv(t->fd, t->in + t->have, t->in_size - t->have, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		try_failed(t);
		return;
	}
	t->have += (size_t)n;
	if (t->have == 2) {
		t->in_size = 2 + ((size_t)t->in[0] << 8 | t->in[1]);
		t->in = cs_xrealloc(t->in, t->in_size);
	}
	if (t->have < t->in_size)
		return;
	if (t->in_size == 2 || take(t, t->in + 2, t->in_size - 2))
		try_failed(t); /* a stream that carries something else carries nothing */
}

void cs_forward_event(struct cs_try *t)
{
	if (t->p->client)
		event_tcp(t);
	else
		event_udp(t);
}

/* Queries */

unsigned cs_forward(struct cs_ns *ns, struct cs_client *client, const struct sockaddr_in *peer, const struct cs_dns_settings *s,
	const struct cs_dns_query *q, const uint8_t *msg, size_t len)
{
	struct cs_resolver *r = ns->r;
	int64_t now = cs_monotonic_ns();
	const union cs_dns_sockaddr *server = s->server;
	size_t n_server = s->n_server;
	bool from_host = !s->own_servers;

	if (from_host && !s->internal) {
		const struct cs_host_servers *h = cs_host_servers(r, now);
		server = h->server;
		n_server = h->n;
	}
	bool full = ns->n_pending >= r->o.max_pending_each || atomic_load_explicit(&r->counters.pending, memory_order_relaxed) >= r->o.max_pending;
	if (n_server == 0 || full) {
		CS_COUNT(ns, refused, 1);
		/* On internal networks there is no other name, and that is the answer: of SERVFAIL musl thinks that it may yet be another, and waits 5 s. */
		return full ? LDNS_RCODE_REFUSED : from_host && s->internal ? LDNS_RCODE_NXDOMAIN : LDNS_RCODE_SERVFAIL;
	}

	size_t room = (len + 15) / 16 * 16; /* the servers stand behind the message, aligned */
	struct cs_pending *p = cs_xcalloc(1, sizeof(*p) + 16 + room + n_server * sizeof(*server));
	p->ns = ns;
	p->client = client;
	if (peer)
		p->peer = *peer;
	p->q = *q;
	p->from_host = from_host;
	p->deadline = now + r->o.total_ms * CS_NS_PER_MS;
	p->next_try = now + r->o.try_ms * CS_NS_PER_MS;
	p->len = len;
	memcpy(p->msg, msg, len);
	union cs_dns_sockaddr *copy = (void *)(((uintptr_t)p->msg + len + 15) / 16 * 16);
	memcpy(copy, server, n_server * sizeof(*server));
	p->server = copy;
	p->n_server = n_server;
	DL_APPEND(r->pending, p);
	DL_APPEND2(r->retry, p, retry_prev, retry_next);
	DL_APPEND2(ns->pending, p, ns_prev, ns_next);
	ns->n_pending++;
	if (client)
		client->n_pending++;
	CS_COUNT(ns, pending, 1);
	CS_COUNT(ns, forwarded, 1);
	if (ask_next(p))
		return 0;
	CS_COUNT(ns, timeouts, 1);
	cs_pending_free(p);
	return LDNS_RCODE_SERVFAIL;
}

void cs_forward_timers(struct cs_resolver *r, int64_t now)
{
	while (r->pending && r->pending->deadline <= now)
		give_up(r->pending);
	while (r->retry && r->retry->next_try <= now) {
		struct cs_pending *p = r->retry;
		if (!ask_next(p)) {
			give_up(p);
			continue;
		}
		DL_DELETE2(r->retry, p, retry_prev, retry_next);
		p->next_try = now + r->o.try_ms * CS_NS_PER_MS;
		DL_APPEND2(r->retry, p, retry_prev, retry_next);
	}
}
