/* SPDX-License-Identifier: Apache-2.0
 *
 * Connections that leave HTTP. With "Upgrade: tcp" on a plain socket the engine gets a duplicate of the client's socket and the daemon
 * is out of the way. With TLS, with websockets, and for clients that do not ask for an upgrade, the daemon stays in the path: a
 * socket pair stands in for the client, and a thread (or the connection's own) pumps. With TLS that is the connection's thread inside the
 * upgrade callback, on the session itself: libmicrohttpd's own forwarder loses the client's half-close and spins after it. */
#include <fcntl.h>
#include <gnutls/gnutls.h>
#include <linux/sockios.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "api/call.h"
#include "base/log.h"
#include "base/time.h"

#define PUMP_BUF 16384

int http_thread(void *(*fn)(void *), void *arg)
{
	pthread_attr_t attr;
	pthread_t t;
	int r;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, HTTP_STACK);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	r = pthread_create(&t, &attr, fn, arg);
	pthread_attr_destroy(&attr);
	return -r;
}

/* ---- pump: a TLS client and a socket, both ways, half-close included ---- */

struct flow {
	gnutls_session_t from_tls, to_tls; /* one of them, instead of the descriptor */
	int from, to;
	size_t start, end;
	bool eof;
	char buf[PUMP_BUF];
};

/* As recv: bytes, 0 at the end, or -1 with errno. */
static ssize_t flow_recv(struct flow *f)
{
	ssize_t n;

	if (!f->from_tls)
		return recv(f->from, f->buf, sizeof(f->buf), MSG_DONTWAIT);
	n = gnutls_record_recv(f->from_tls, f->buf, sizeof(f->buf));
	if (n < 0) {
		errno = gnutls_error_is_fatal((int)n) ? EIO : EAGAIN;
		return -1;
	}
	return n;
}

static ssize_t flow_send(struct flow *f)
{
	ssize_t n;

	if (!f->to_tls)
		return send(f->to, f->buf + f->start, f->end - f->start, MSG_NOSIGNAL | MSG_DONTWAIT);
	n = gnutls_record_send(f->to_tls, f->buf + f->start, f->end - f->start);
	if (n < 0) {
		errno = gnutls_error_is_fatal((int)n) ? EIO : EAGAIN;
		return -1;
	}
	return n;
}

static void flow_end(struct flow *f)
{
	f->eof = true;
	if (f->to_tls)
		(void)gnutls_bye(f->to_tls, GNUTLS_SHUT_WR);
	else
		(void)shutdown(f->to, SHUT_WR);
}

/* False when the flow is broken. */
static bool flow_step(struct flow *f)
{
	ssize_t n;

	if (f->start < f->end) {
		n = flow_send(f);
		if (n > 0)
			f->start += (size_t)n;
		return n > 0 || errno == EAGAIN || errno == EINTR;
	}
	n = flow_recv(f);
	if (n > 0) {
		f->start = 0;
		f->end = (size_t)n;
	} else if (n == 0) {
		flow_end(f);
	}
	return n >= 0 || errno == EAGAIN || errno == EINTR;
}

static void flow_poll(const struct flow *f, struct pollfd *from, struct pollfd *to)
{
	if (f->start < f->end)
		to->events |= POLLOUT;
	else if (!f->eof)
		from->events |= POLLIN;
}

static bool flow_ready(const struct flow *f, const struct pollfd *from, const struct pollfd *to)
{
	if (f->start < f->end)
		return to->revents & (POLLOUT | POLLHUP | POLLERR);
	return !f->eof && (from->revents & (POLLIN | POLLHUP | POLLERR) || (f->from_tls && gnutls_record_check_pending(f->from_tls) > 0));
}

/* Ends when the stream's side has ended and all of it has been delivered, or when either breaks. */
static void pump(gnutls_session_t tls, int client, int stream)
{
	struct flow *in = cs_xcalloc(1, sizeof(*in)), *out = cs_xcalloc(1, sizeof(*out));

	in->from_tls = out->to_tls = tls;
	in->from = out->to = client;
	in->to = out->from = stream;
	while (!out->eof) {
		struct pollfd p[2] = { { .fd = client }, { .fd = stream } };
		flow_poll(in, &p[0], &p[1]);
		flow_poll(out, &p[1], &p[0]);
		bool buffered = in->start == in->end && !in->eof && gnutls_record_check_pending(tls) > 0;
		if (poll(p, 2, buffered ? 0 : -1) < 0 && errno != EINTR)
			break;
		if (flow_ready(out, &p[1], &p[0]) && !flow_step(out))
			break;
		if (flow_ready(in, &p[0], &p[1])) {
			if (!flow_step(in))
				break;
		} else if (p[0].revents & (POLLHUP | POLLERR)) {
			break; /* the client is gone for good */
		}
	}
	free(in);
	free(out);
}

/* ---- with an upgrade ---- */

struct detour { /* a websocket client: a thread of its own translates */
	int client, stream;
	bool binary;
	char *input;
	size_t input_len;
};

static void *detour_main(void *arg)
{
	struct detour *d = arg;

	cs_ws_bridge(d->client, d->stream, d->input, d->input_len, d->binary);
	cs_close(d->stream);
	(void)shutdown(d->client, SHUT_RDWR);
	cs_close(d->client);
	free(d->input);
	free(d);
	return NULL;
}

/* The engine gets a plain stream, whose other end a thread bridges to the client. Takes fd in any case. */
static void run_websocket(struct call *c, int fd, const char *extra, size_t n, struct cs_hijack *h)
{
	struct detour *d;
	int sv[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0) {
		cs_close(fd);
		h->free(h->ctx);
		return;
	}
	d = cs_xcalloc(1, sizeof(*d));
	*d = (struct detour){ .client = fd, .stream = sv[0], .binary = c->rs.ws_binary, .input = cs_xmalloc(n + 1), .input_len = n };
	memcpy(d->input, extra ? extra : "", n);
	if (http_thread(detour_main, d) < 0) {
		free(d->input);
		free(d);
		cs_close(fd);
		cs_close(sv[0]);
		cs_close(sv[1]);
		h->free(h->ctx);
		return;
	}
	h->run(h->ctx, sv[1], NULL, 0);
}

static void run_hijack(struct call *c, int fd, const char *extra, size_t n, struct cs_hijack *h)
{
	if (fd < 0)
		h->free(h->ctx);
	else if (c->rs.websocket)
		run_websocket(c, fd, extra, n, h);
	else
		h->run(h->ctx, fd, extra, n);
}

/* Stays until the session has ended: the thread is the connection's own. */
static void run_tls(struct call *c, const char *extra, size_t n, struct cs_hijack *h)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(c->conn, MHD_CONNECTION_INFO_GNUTLS_SESSION);
	int sv[2] = { -EBADF, -EBADF };

	if (!info || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0) {
		h->free(h->ctx);
		return;
	}
	gnutls_session_t session = info->tls_session;
	run_hijack(c, sv[1], extra, n, h);
	pump(session, c->client_fd, sv[0]);
	cs_close(sv[0]);
}

#define HEADERS_READ_MS 50

/* Clients with a buffered reader for the headers and the bare socket for the stream (docker-py) lose what comes in one read with the
 * headers. So the stream begins when they have been taken; for a client that waits for them that is at once. */
static void wait_headers_read(int sock)
{
	int64_t until = cs_monotonic_ns() + HEADERS_READ_MS * CS_NS_PER_MS;
	int domain = 0, queued = 0;
	socklen_t len = sizeof(domain);

	if (getsockopt(sock, SOL_SOCKET, SO_DOMAIN, &domain, &len) < 0 || domain != AF_UNIX)
		return; /* only there the kernel tells what the other side has read */
	while (ioctl(sock, SIOCOUTQ, &queued) == 0 && queued > 0 && cs_monotonic_ns() < until)
		(void)nanosleep(&(struct timespec){0, 50000}, NULL);
}

static void on_upgrade(void *cls, struct MHD_Connection *conn, void *con_cls, const char *extra, size_t n, MHD_socket sock,
		       struct MHD_UpgradeResponseHandle *urh)
{
	struct call *c = cls;
	struct cs_hijack h = c->rs.hijack;

	c->rs.hijack.run = NULL;
	wait_headers_read(sock);
	if (c->listener->tls)
		run_tls(c, extra, n, &h);
	else
		run_hijack(c, fcntl(sock, F_DUPFD_CLOEXEC, 3), extra, n, &h);
	(void)MHD_upgrade_action(urh, MHD_UPGRADE_ACTION_CLOSE); /* closes MHD's descriptor, not a plain connection */
}

/* ---- without an upgrade: 200, and the connection's own thread carries both ways ---- */

struct direct {
	int stream, client, stop;
	bool client_eof, tls;
};

static bool direct_input(struct direct *d)
{
	char buf[4096];
	ssize_t n = recv(d->client, buf, sizeof(buf), MSG_DONTWAIT);

	if (n == 0) {
		d->client_eof = true;
		(void)shutdown(d->stream, SHUT_WR);
	}
	for (ssize_t done = 0; done < n;) {
		ssize_t w = send(d->stream, buf + done, (size_t)(n - done), MSG_NOSIGNAL);
		if (w < 0 && errno != EINTR)
			return true; /* nobody reads stdin any more */
		if (w > 0)
			done += w;
	}
	return n >= 0 || errno == EAGAIN || errno == EINTR;
}

static ssize_t direct_read(void *cls, uint64_t pos, char *buf, size_t max)
{
	struct direct *d = cls;

	for (;;) {
		struct pollfd p[3] = {
			{ .fd = d->stream, .events = POLLIN },
			{ .fd = d->client, .events = d->tls || d->client_eof ? 0 : POLLIN },
			{ .fd = d->stop, .events = POLLIN },
		};
		if (poll(p, 3, -1) < 0 && errno != EINTR)
			return MHD_CONTENT_READER_END_WITH_ERROR;
		if (p[0].revents) {
			ssize_t n = recv(d->stream, buf, max, 0);
			return n > 0 ? n : n == 0 ? MHD_CONTENT_READER_END_OF_STREAM : MHD_CONTENT_READER_END_WITH_ERROR;
		}
		if (p[2].revents || p[1].revents & (POLLHUP | POLLERR))
			return MHD_CONTENT_READER_END_WITH_ERROR;
		if (p[1].revents & POLLIN && !direct_input(d))
			return MHD_CONTENT_READER_END_WITH_ERROR;
	}
}

static void direct_free(void *cls)
{
	struct direct *d = cls;

	cs_close(d->stream);
	free(d);
}

static struct MHD_Response *direct_response(struct call *c)
{
	struct cs_hijack h = c->rs.hijack;
	struct MHD_Response *r;
	struct direct *d;
	int sv[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0)
		return NULL;
	d = cs_xcalloc(1, sizeof(*d));
	*d = (struct direct){ .stream = sv[0], .client = c->client_fd, .stop = c->http->stop_fd, .tls = c->listener->tls };
	r = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, PUMP_BUF, direct_read, d, direct_free);
	if (!r) {
		direct_free(d);
		cs_close(sv[1]);
		return NULL;
	}
	/* Raw bytes until the end of the connection, as dockerd sends them: no chunks. */
	(void)MHD_set_response_options(r, MHD_RF_HTTP_1_0_COMPATIBLE_STRICT, MHD_RO_END);
	c->rs.hijack.run = NULL;
	h.run(h.ctx, sv[1], NULL, 0);
	return r;
}

struct MHD_Response *http_hijack_response(struct call *c, unsigned *ret_status)
{
	struct MHD_Response *r;

	if (!c->upgrade && !c->rs.websocket)
		return direct_response(c);
	r = MHD_create_response_for_upgrade(on_upgrade, c);
	if (!r)
		return NULL;
	*ret_status = MHD_HTTP_SWITCHING_PROTOCOLS;
	(void)MHD_add_response_header(r, MHD_HTTP_HEADER_UPGRADE, c->rs.websocket ? "websocket" : "tcp");
	if (c->rs.websocket) {
		const char *key = MHD_lookup_connection_value(c->conn, MHD_HEADER_KIND, "Sec-WebSocket-Key");
		cs_autofree char *accept = cs_ws_accept(key ? key : "");
		(void)MHD_add_response_header(r, "Sec-WebSocket-Accept", accept);
	}
	return r;
}
