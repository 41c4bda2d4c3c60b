/* SPDX-License-Identifier: Apache-2.0
 *
 * Connections that leave HTTP. With "Upgrade: tcp" on a plain socket the engine gets a duplicate of the client's socket and the daemon
 * is out of the way. With TLS, with websockets, and for clients that do not ask for an upgrade, the daemon stays in the path: a
 * socket pair stands in for the client, and a thread (or the connection's own) pumps. */
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include "api/call.h"
#include "base/log.h"

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

/* ---- pump: two sockets, both ways, half-close included ---- */

struct flow {
	int from, to;
	size_t start, end;
	bool eof;
	char buf[PUMP_BUF];
};

/* False when the flow is broken. */
static bool flow_step(struct flow *f)
{
	ssize_t n;

	if (f->start < f->end) {
		n = send(f->to, f->buf + f->start, f->end - f->start, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n > 0)
			f->start += (size_t)n;
		return n > 0 || errno == EAGAIN || errno == EINTR;
	}
	n = recv(f->from, f->buf, sizeof(f->buf), MSG_DONTWAIT);
	if (n > 0) {
		f->start = 0;
		f->end = (size_t)n;
	} else if (n == 0) {
		f->eof = true;
		(void)shutdown(f->to, SHUT_WR);
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
	return f->start < f->end ? to->revents & (POLLOUT | POLLHUP | POLLERR) : !f->eof && from->revents & (POLLIN | POLLHUP | POLLERR);
}

/* Ends when the stream's side has ended and all of it has been delivered, or when either breaks. */
static void pump(int client, int stream)
{
	struct flow *in = cs_xcalloc(1, sizeof(*in)), *out = cs_xcalloc(1, sizeof(*out));

	in->from = out->to = client;
	in->to = out->from = stream;
	while (!out->eof) {
		struct pollfd p[2] = { { .fd = client }, { .fd = stream } };
		flow_poll(in, &p[0], &p[1]);
		flow_poll(out, &p[1], &p[0]);
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			break;
		if (flow_ready(out, &p[1], &p[0]) && !flow_step(out))
			break;
		if (flow_ready(in, &p[0], &p[1])) {
			if (!flow_step(in))
				break;
		} else if (p[0].revents & (POLLHUP | POLLERR) && in->eof) {
			break; /* the client is gone for good */
		}
	}
	free(in);
	free(out);
}

/* ---- with an upgrade ---- */

struct detour { /* a client whose bytes the daemon carries */
	struct MHD_UpgradeResponseHandle *urh; /* NULL: fd is ours */
	int client, stream;
	bool websocket, binary;
	char *input;
	size_t input_len;
};

static void *detour_main(void *arg)
{
	struct detour *d = arg;

	if (d->websocket)
		cs_ws_bridge(d->client, d->stream, d->input, d->input_len, d->binary);
	else
		pump(d->client, d->stream);
	cs_close(d->stream);
	(void)shutdown(d->client, SHUT_RDWR);
	if (d->urh)
		(void)MHD_upgrade_action(d->urh, MHD_UPGRADE_ACTION_CLOSE);
	else
		cs_close(d->client);
	free(d->input);
	free(d);
	return NULL;
}

/* True if the detour's thread runs; the engine gets the other end. */
static bool start_detour(struct call *c, struct MHD_UpgradeResponseHandle *urh, int client, const char *extra, size_t n, struct cs_hijack *h)
{
	struct detour *d;
	int sv[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0)
		return false;
	d = cs_xcalloc(1, sizeof(*d));
	*d = (struct detour){ .urh = urh, .client = client, .stream = sv[0], .websocket = c->rs.websocket, .binary = c->rs.ws_binary };
	if (d->websocket && n > 0) {
		d->input = cs_xmalloc(n);
		memcpy(d->input, extra, n);
		d->input_len = n;
		n = 0; /* frames, not for the engine */
	}
	if (http_thread(detour_main, d) < 0) {
		free(d->input);
		free(d);
		cs_close(sv[0]);
		cs_close(sv[1]);
		return false;
	}
	h->run(h->ctx, sv[1], extra, n);
	return true;
}

static void on_upgrade(void *cls, struct MHD_Connection *conn, void *con_cls, const char *extra, size_t n, MHD_socket sock,
		       struct MHD_UpgradeResponseHandle *urh)
{
	struct call *c = cls;
	struct cs_hijack h = c->rs.hijack;
	int fd = -EBADF;

	c->rs.hijack.run = NULL;
	if (c->listener->tls) {
		if (!start_detour(c, urh, sock, extra, n, &h)) {
			h.free(h.ctx);
			(void)MHD_upgrade_action(urh, MHD_UPGRADE_ACTION_CLOSE);
		}
		return; /* the detour closes */
	}
	fd = fcntl(sock, F_DUPFD_CLOEXEC, 3);
	if (fd < 0) {
		h.free(h.ctx);
	} else if (!c->rs.websocket) {
		h.run(h.ctx, fd, extra, n);
	} else if (!start_detour(c, NULL, fd, extra, n, &h)) {
		cs_close(fd);
		h.free(h.ctx);
	}
	(void)MHD_upgrade_action(urh, MHD_UPGRADE_ACTION_CLOSE); /* closes MHD's descriptor, not the connection */
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
