/* SPDX-License-Identifier: Apache-2.0
 *
 * The clients' side: UDP in batches, TCP as RFC 7766 wants it (several queries on a connection, answered in any order), both bounded. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/log.h"
#include "base/time.h"
#include "network/ldns_lib.h"
#include "network/resolver_internal.h"

#define ROUNDS 8         /* batches of one namespace before others have their turn */
#define OUT_MAX (4u * (CS_DNS_MESSAGE_MAX + 2u))
#define PIPELINE 64      /* queries of one connection that wait for upstream servers; it is not read meanwhile */

static bool need_ldns(struct cs_resolver *r)
{
	struct cs_err *err cs_autoerr = NULL;

	if (r->have_ldns)
		return true;
	if (cs_ldns_get(&err) == 0)
		return r->have_ldns = true;
	cs_autofree char *why = cs_err_text(err);
	cs_error("network", "resolver: %s", why);
	return false;
}

size_t cs_serve_message(struct cs_ns *ns, struct cs_client *client, const struct sockaddr_in *peer, const uint8_t *msg, size_t len, uint8_t *out)
{
	const struct cs_dns_settings *s = atomic_load(&ns->settings);
	struct cs_dns_query q = {0};
	size_t n = 0;
	unsigned rcode;

	CS_COUNT(ns, queries, 1);
	if (!need_ldns(ns->r)) {
		CS_COUNT(ns, refused, 1);
		return len >= CS_DNS_HEADER && !(msg[2] & 0x80) ? cs_dns_failure(&q, msg, LDNS_RCODE_SERVFAIL, out) : 0;
	}
	switch (cs_dns_answer(&ns->r->table, s, msg, len, client, cs_resolver_random(ns->r), &q, out, &n)) {
	case CS_DNS_DROP:
		CS_COUNT(ns, malformed, 1);
		return 0;
	case CS_DNS_REPLY:
		CS_COUNT(ns, malformed, q.malformed);
		CS_COUNT(ns, refused, q.refused);
		CS_COUNT(ns, local, !q.malformed && !q.refused);
		return n;
	case CS_DNS_FORWARD:
		break;
	}
	rcode = cs_forward(ns, client, peer, s, &q, msg, len);
	return rcode ? cs_dns_failure(&q, msg, rcode, out) : 0;
}

/* UDP */

static void send_batch(struct cs_ns *ns, struct mmsghdr *m, unsigned n)
{
	for (unsigned at = 0; at < n;) {
		int sent = sendmmsg(ns->udp, m + at, n - at, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (sent <= 0) { /* the first of them did not go */
			if (sent < 0 && errno == EINTR)
				continue;
			CS_COUNT(ns, unsent, 1);
			sent = 1;
		}
		at += (unsigned)sent;
	}
}

static int udp_batch(struct cs_ns *ns)
{
	struct cs_resolver *r = ns->r;
	struct sockaddr_in peer[CS_RESOLVER_BATCH];
	struct iovec in[CS_RESOLVER_BATCH], out[CS_RESOLVER_BATCH];
	struct mmsghdr rx[CS_RESOLVER_BATCH], tx[CS_RESOLVER_BATCH];
	unsigned n_out = 0;

	for (int i = 0; i < CS_RESOLVER_BATCH; i++) {
		in[i] = (struct iovec){r->rx[i], sizeof(r->rx[i])};
		rx[i] = (struct mmsghdr){.msg_hdr = {.msg_name = &peer[i], .msg_namelen = sizeof(peer[i]), .msg_iov = &in[i], .msg_iovlen = 1}};
	}
	int n = recvmmsg(ns->udp, rx, CS_RESOLVER_BATCH, MSG_DONTWAIT, NULL);
	for (int i = 0; i < n; i++) {
		if (rx[i].msg_hdr.msg_flags & MSG_TRUNC) {
			CS_COUNT(ns, queries, 1);
			CS_COUNT(ns, malformed, 1);
			continue;
		}
		size_t len = cs_serve_message(ns, NULL, &peer[i], r->rx[i], rx[i].msg_len, r->scratch);
		if (len == 0)
			continue;
		memcpy(r->tx[n_out], r->scratch, CS_MIN(len, sizeof(r->tx[0])));
		out[n_out] = (struct iovec){r->tx[n_out], CS_MIN(len, sizeof(r->tx[0]))};
		tx[n_out] = (struct mmsghdr){.msg_hdr = {.msg_name = &peer[i], .msg_namelen = sizeof(peer[i]), .msg_iov = &out[n_out], .msg_iovlen = 1}};
		n_out++;
	}
	if (n_out)
		send_batch(ns, tx, n_out);
	return n;
}

void cs_serve_udp(struct cs_ns *ns)
{
	for (int i = 0; i < ROUNDS && !atomic_load(&ns->gone) && udp_batch(ns) == CS_RESOLVER_BATCH; i++)
		;
}

/* TCP */

static void want(struct cs_client *c)
{
	uint32_t events = c->out.len ? EPOLLOUT : c->ended || c->n_pending >= PIPELINE ? 0 : EPOLLIN;
	struct epoll_event e = {.events = events, .data.ptr = &c->source};

	if (events == c->events)
		return;
	(void)epoll_ctl(c->ns->r->epoll, EPOLL_CTL_MOD, c->fd, &e);
	c->events = events;
}

static void is_alive(struct cs_client *c)
{
	struct cs_ns *ns = c->ns;

	c->since = cs_monotonic_ns();
	if (c->next) { /* not the last already */
		DL_DELETE(ns->clients, c);
		DL_APPEND(ns->clients, c);
	}
	if (c->idle_next) {
		DL_DELETE2(ns->r->idle, c, idle_prev, idle_next);
		DL_APPEND2(ns->r->idle, c, idle_prev, idle_next);
	}
}

void cs_client_close(struct cs_client *c)
{
	struct cs_ns *ns = c->ns;

	for (struct cs_pending *p = ns->pending, *next; p; p = next) {
		next = p->ns_next;
		if (p->client == c)
			cs_pending_free(p);
	}
	DL_DELETE(ns->clients, c);
	ns->n_clients--;
	ns->r->n_clients--;
	DL_DELETE2(ns->r->idle, c, idle_prev, idle_next);
	cs_resolver_unwatch(ns->r, TAKE_FD(c->fd));
	c->source.kind = SOURCE_DEAD;
	c->idle_next = ns->r->dead_clients;
	ns->r->dead_clients = c;
}

/* False: it is closed. */
static bool flush(struct cs_client *c)
{
	while (c->out.len) {
		ssize_t n = send(c->fd, c->out.buf, c->out.len, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n <= 0) {
			cs_client_close(c);
			return false;
		}
		cs_str_consume(&c->out, (size_t)n);
		if (c->out.len == 0) {
			cs_str_done(&c->out);
			cs_str_init(&c->out, OUT_MAX);
			is_alive(c);
		}
	}
	if (c->ended && !c->out.len && !c->n_pending) {
		cs_client_close(c);
		return false;
	}
	want(c);
	return true;
}

static void put(struct cs_client *c, const uint8_t *msg, size_t len)
{
	cs_str_put(&c->out, (uint8_t[2]){(uint8_t)(len >> 8), (uint8_t)len}, 2);
	cs_str_put(&c->out, msg, len);
}

/* The whole queries in the buffer. False: it is closed. */
static bool client_queries(struct cs_client *c)
{
	struct cs_ns *ns = c->ns;
	size_t at = 0;

	while (c->have - at >= 2 && c->n_pending < PIPELINE && c->out.len < OUT_MAX / 2) {
		size_t len = (size_t)c->in[at] << 8 | c->in[at + 1];
		if (len > CS_DNS_QUERY_MAX || len < CS_DNS_HEADER) {
			CS_COUNT(ns, malformed, 1);
			cs_client_close(c);
			return false;
		}
		if (c->have - at - 2 < len)
			break;
		size_t n = cs_serve_message(ns, c, NULL, c->in + at + 2, len, ns->r->scratch);
		at += 2 + len;
		is_alive(c);
		if (n)
			put(c, ns->r->scratch, n);
	}
	if (c->out.failed) {
		cs_client_close(c);
		return false;
	}
	c->have -= at;
	memmove(c->in, c->in + at, c->have);
	return true;
}

static bool has_query(const struct cs_client *c)
{
	return c->have >= 2 && c->have - 2 >= ((size_t)c->in[0] << 8 | c->in[1]) && c->n_pending < PIPELINE;
}

/* What is in the buffer, as long as answers leave: nothing will come that could wake us for it. */
static void go_on(struct cs_client *c)
{
	do
		if (!client_queries(c) || !flush(c))
			return;
	while (has_query(c) && c->out.len == 0);
}

void cs_client_send(struct cs_client *c, const uint8_t *msg, size_t len)
{
	put(c, msg, len);
	if (c->out.failed) { /* asks much and reads nothing */
		CS_COUNT(c->ns, unsent, 1);
		cs_client_close(c);
	} else if (flush(c)) {
		go_on(c);
	}
}

void cs_serve_client(struct cs_client *c, uint32_t events)
{
	if (events & (EPOLLERR | EPOLLHUP)) { /* both directions: nobody waits any more */
		cs_client_close(c);
		return;
	}
	if (events & EPOLLIN && !c->ended) {
		ssize_t n = c->have < sizeof(c->in) ? recv(c->fd, c->in + c->have, sizeof(c->in) - c->have, MSG_DONTWAIT) : -1;
		if (n == 0)
			c->ended = true;
		else if (n > 0)
			c->have += (size_t)n;
		else if (c->have < sizeof(c->in) && errno != EAGAIN && errno != EINTR) {
			cs_client_close(c);
			return;
		}
	}
	go_on(c);
}

static void client_new(struct cs_ns *ns, int fd)
{
	struct cs_client *c = cs_xcalloc(1, sizeof(*c));

	c->source = (struct cs_source){SOURCE_CLIENT, c};
	c->ns = ns;
	c->fd = fd;
	c->since = cs_monotonic_ns();
	c->events = EPOLLIN;
	cs_str_init(&c->out, OUT_MAX);
	if (cs_resolver_watch(ns->r, fd, EPOLLIN, &c->source) < 0) {
		cs_close(fd);
		free(c);
		return;
	}
	CS_COUNT(ns, tcp, 1);
	if (ns->n_clients == ns->r->o.max_connections_each)
		cs_client_close(ns->clients);
	else if (ns->r->n_clients == ns->r->max_sockets)
		cs_client_close(ns->r->idle);
	DL_APPEND(ns->clients, c);
	ns->n_clients++;
	ns->r->n_clients++;
	DL_APPEND2(ns->r->idle, c, idle_prev, idle_next);
}

void cs_serve_accept(struct cs_ns *ns)
{
	for (int i = 0; i < ROUNDS && !atomic_load(&ns->gone); i++) {
		int fd = accept4(ns->listen, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd >= 0) {
			client_new(ns, fd);
			continue;
		}
		if (errno != EMFILE && errno != ENFILE)
			return;
		/* a connection that stays in the queue would wake us for ever */
		cs_close(TAKE_FD(ns->r->reserve));
		cs_close(accept4(ns->listen, NULL, NULL, SOCK_CLOEXEC));
		ns->r->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
	}
}
