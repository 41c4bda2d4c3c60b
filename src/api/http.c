/* SPDX-License-Identifier: Apache-2.0
 *
 * The server around libmicrohttpd: collects a request, finds its route, calls the handler, sends what it left in the response.
 * Every connection has a thread; a handler may block. Nothing here is shared but struct cs_http, which is constant but for counters, and the
 * listeners' connections, see connections.c. */
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <malloc.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "api/body.h"
#include "api/call.h"
#include "api/router.h"
#include "base/log.h"
#include "base/time.h"
#include "engine/trim.h"

#define IDLE_TIMEOUT_S 60u         /* a client that sends nothing: slow headers, idle keep-alive */
#define CONNECTION_MEMORY (256u << 10) /* headers must fit into half of it. All of it is touched: the library clears it before the next request of a connection */
#define PULL_BUFFER (2 << 20)       /* of a body on its way to its handler: kernel memory, used only when the handler is slower than the client */
#define TRIM_EVERY 512u             /* connections */
#define STREAMS_NS (2 * CS_NS_PER_SEC) /* for answers to end at shutdown; a client that does not read may hold its own up */
#define DISCARD_MAX (4ull << 30)   /* of a body that nobody wants, before the connection is cut */

/* ---- life of a call ---- */

static void *on_uri(void *cls, const char *uri, struct MHD_Connection *conn)
{
	struct http_listener *l = cls;
	struct call *c = cs_xcalloc(1, sizeof(*c));
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(conn, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	c->magic = CALL_MAGIC;
	c->listener = l;
	c->http = l->http;
	c->conn = conn;
	c->place = info->socket_context; /* from on_connection */
	http_conn_heard(&l->conns, c->place);
	c->uri = cs_xstrdup(uri);
	c->pull_fd = c->rq.body_fd = -EBADF;
	cs_str_init(&c->rq.body, CS_BODY_MAX);
	cs_str_init(&c->rs.body, CS_RESPONSE_MAX);
	return c;
}

static void end_pull(struct call *c)
{
	if (!c->pulling)
		return;
	if (c->rq.blocks)
		cs_body_end(c->rq.blocks, c->dispatched ? 0 : -ECONNRESET);
	cs_close(TAKE_FD(c->pull_fd)); /* end of file for the handler */
	pthread_join(c->pull_thread, NULL);
	cs_close(TAKE_FD(c->rq.body_fd));
	cs_body_free(TAKE_PTR(c->rq.blocks));
	c->pulling = false;
}

static void call_free(struct call *c)
{
	end_pull(c);
	cs_stream_free(c->rs.stream);
	if (c->rs.hijack.run)
		c->rs.hijack.free(c->rs.hijack.ctx);
	cs_query_done(&c->rq.query);
	for (size_t i = 0; i < CS_ROUTE_PARAMS; i++)
		free(c->rq.param[i]);
	cs_str_done(&c->rq.body);
	cs_str_done(&c->rs.body);
	free(c->rs.own_header);
	cs_err_free(c->err);
	free(c->rq.path);
	free(c->rq.method);
	free(c->uri);
	c->magic = 0;
	free(c);
}

static void on_completed(void *cls, struct MHD_Connection *conn, void **con_cls, enum MHD_RequestTerminationCode why)
{
	struct http_listener *l = cls;
	struct call *c = *con_cls;

	if (why == MHD_REQUEST_TERMINATED_COMPLETED_OK) { /* the next request of this connection may be awaited for so long again */
		(void)MHD_set_connection_option(conn, MHD_CONNECTION_OPTION_TIMEOUT, IDLE_TIMEOUT_S);
		if (c && c->magic == CALL_MAGIC)
			http_conn_wait(&l->conns, c->place);
	}
	if (c && c->magic == CALL_MAGIC)
		call_free(c);
	*con_cls = NULL;
}

/* ---- before the body ---- */

static bool header_has(struct MHD_Connection *conn, const char *name, const char *token)
{
	const char *v = MHD_lookup_connection_value(conn, MHD_HEADER_KIND, name);

	return v && strcasestr(v, token);
}

static int check_peer(struct call *c, struct cs_err **err)
{
	const union MHD_ConnectionInfo *info;
	unsigned status = 0;

	if (!c->listener->verify)
		return 0;
	info = MHD_get_connection_info(c->conn, MHD_CONNECTION_INFO_GNUTLS_SESSION);
	if (!info || gnutls_certificate_verify_peers2(info->tls_session, &status) != 0 || status != 0)
		return cs_fail(err, CS_ERR_UNAUTHORIZED, 0, "client certificate is missing or not signed by the configured authority");
	return 0;
}

static int redirect(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	rs->status = MHD_HTTP_MOVED_PERMANENTLY;
	rs->own_header = cs_xstrdup(rq->path);
	rs->extra[0] = MHD_HTTP_HEADER_LOCATION;
	rs->extra[1] = rs->own_header;
	return 0;
}

/* What a browser asks before it calls from elsewhere: 200 to everybody, as dockerd; whether it may is in the headers, which are those of every answer. */
static int preflight(struct cs_request *rq, struct cs_response *rs, struct cs_err **err) { return 0; }

/* Answers that do not depend on what is asked for: /a//b is sent to /a/b, as dockerd does, and OPTIONS is answered. */
static bool find_general(struct call *c, size_t len)
{
	static const struct cs_route moved = {.fn = redirect, .flags = CS_ROUTE_DISCARD}, options = {.fn = preflight, .flags = CS_ROUTE_DISCARD};
	cs_autofree char *clean = c->uri[0] == '/' ? cs_route_clean(c->uri, len) : NULL;

	if (clean) {
		c->rq.path = cs_xasprintf("%s%.*s", clean, (int)strcspn(c->uri + len, "#"), c->uri + len);
		c->rq.route = &moved;
	} else if (!strcmp(c->rq.method, MHD_HTTP_METHOD_OPTIONS)) {
		c->rq.route = &options;
	}
	return c->rq.route;
}

/* docker-compose 1.x takes the newest version that an engine offers for its own, and breaks on what newer ones left out: an image's ContainerConfig (1.45), when
 * it makes a container anew, and an event's id (1.52). It is answered in the version that it was written for, as COMPOSE_API_VERSION=1.41 asks for. */
static int spoken(const struct call *c)
{
	const char *agent = MHD_lookup_connection_value(c->conn, MHD_HEADER_KIND, MHD_HTTP_HEADER_USER_AGENT);

	return agent && cs_prefix(agent, "docker-compose/1.") ? CS_MIN(c->rq.api, 141) : c->rq.api;
}

static int find_route(struct call *c, struct cs_err **err)
{
	size_t len = strcspn(c->uri, "?#");
	cs_autofree char *path = cs_url_decode(c->uri, len, false);
	const char *rest;

	if (!path)
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid URL escape in path");
	if (find_general(c, len))
		return 0;
	if (cs_route_version(path, cs_engine_config(c->http->engine)->min_api, &c->rq.api, &rest, err) < 0)
		return -1;
	c->rq.api = spoken(c);
	c->rq.path = cs_xstrdup(rest);
	c->rq.route = cs_route_find(cs_routes, c->rq.method, rest, c->rq.api, c->rq.param);
	if (!c->rq.route)
		return cs_fail(err, CS_ERR_NOT_FOUND, 0, "page not found");
	return cs_query_parse(c->uri[len] == '?' ? c->uri + len + 1 : "", &c->rq.query, err);
}

static void *pull_main(void *arg)
{
	struct call *c = arg;

	c->pull_result = c->rq.route->fn(&c->rq, &c->rs, &c->err);
	if (c->rq.blocks && !c->rq.keeps_body)
		cs_body_close(c->rq.blocks);
	else if (!c->rq.blocks)
		shutdown(c->rq.body_fd, SHUT_RDWR); /* whoever still sends gets EPIPE */
	__atomic_sub_fetch(&c->http->busy, 1, __ATOMIC_RELEASE);
	return NULL;
}

static int take_place(struct call *c, struct cs_err **err)
{
	if (!http_conn_work(&c->listener->conns, c->place))
		return cs_fail(err, CS_ERR_UNAVAILABLE, 0, "too many requests at once: try again later");
	return 0;
}

static int start_pull(struct call *c, struct cs_err **err)
{
	int sv[2], r, room = PULL_BUFFER;

	if (take_place(c, err) < 0)
		return -1;
	if (c->rq.route->flags & CS_ROUTE_BLOCKS) {
		c->rq.blocks = cs_body_new();
	} else {
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0)
			return cs_fail(err, CS_ERR_INTERNAL, errno, "socket pair for the body");
		c->rq.body_fd = sv[0];
		c->pull_fd = sv[1];
		(void)setsockopt(c->pull_fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room)); /* as root: beyond wmem_max */
	}
	__atomic_add_fetch(&c->http->busy, 1, __ATOMIC_ACQUIRE);
	r = pthread_create(&c->pull_thread, NULL, pull_main, c);
	if (r) {
		__atomic_sub_fetch(&c->http->busy, 1, __ATOMIC_RELEASE);
		cs_close(TAKE_FD(c->pull_fd));
		cs_close(TAKE_FD(c->rq.body_fd));
		cs_body_free(TAKE_PTR(c->rq.blocks));
		return cs_fail(err, CS_ERR_INTERNAL, r, "thread for the body");
	}
	c->pulling = true;
	return 0;
}

static int call_start(struct call *c, const char *method, struct cs_err **err)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(c->conn, MHD_CONNECTION_INFO_CONNECTION_FD);
	const char *te = MHD_lookup_connection_value(c->conn, MHD_HEADER_KIND, MHD_HTTP_HEADER_TRANSFER_ENCODING);

	c->started = true;
	c->client_fd = info ? info->connect_fd : -EBADF;
	c->rq.engine = c->http->engine;
	c->rq.method = cs_xstrdup(method);
	c->rq.content_type = MHD_lookup_connection_value(c->conn, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_TYPE);
	c->rq.accept = MHD_lookup_connection_value(c->conn, MHD_HEADER_KIND, MHD_HTTP_HEADER_ACCEPT);
	c->rq.registry_auth = MHD_lookup_connection_value(c->conn, MHD_HEADER_KIND, "X-Registry-Auth");
	c->rq.client_fd = c->client_fd;
	c->rq.chunked_body = te != NULL;
	c->rq.tls = c->listener->tls;
	c->upgrade = header_has(c->conn, MHD_HTTP_HEADER_CONNECTION, "upgrade") &&
		     MHD_lookup_connection_value(c->conn, MHD_HEADER_KIND, MHD_HTTP_HEADER_UPGRADE);
	c->rq.upgrade = c->upgrade;
	c->rq.ws_handshake = c->upgrade && header_has(c->conn, MHD_HTTP_HEADER_UPGRADE, "websocket") &&
			     header_has(c->conn, "Sec-WebSocket-Version", "13") &&
			     MHD_lookup_connection_value(c->conn, MHD_HEADER_KIND, "Sec-WebSocket-Key");
	if (check_peer(c, err) < 0 || find_route(c, err) < 0)
		return -1;
	if (c->rq.route->flags & CS_ROUTE_PULL)
		return start_pull(c, err);
	return 0;
}

/* ---- the body ---- */

static enum MHD_Result take_body(struct call *c, const char *data, size_t *len)
{
	size_t done = 0;

	if (!c->pulling)
		http_conn_heard(&c->listener->conns, c->place);
	if (c->rq.blocks && !c->discarded) {
		done = cs_body_put(c->rq.blocks, data, *len) == 0 ? *len : 0; /* else the handler has seen enough */
	} else if (c->pulling && !c->discarded) { /* c->err is its thread's for now; when that has failed, nobody reads any more */
		while (done < *len) {
			ssize_t n = send(c->pull_fd, data + done, *len - done, MSG_NOSIGNAL);
			if (n < 0 && errno == EINTR)
				continue;
			if (n < 0)
				break; /* the handler has seen enough */
			done += (size_t)n;
		}
	} else if (!c->pulling && !c->err && !(c->rq.route->flags & CS_ROUTE_DISCARD)) {
		cs_str_put(&c->rq.body, data, *len);
		if (!c->rq.body.failed)
			done = *len;
		else
			c->too_large = true;
	}
	c->discarded += *len - done;
	*len = 0;
	return c->discarded > DISCARD_MAX ? MHD_NO : MHD_YES;
}

/* ---- the answer ---- */

static void header(struct MHD_Response *r, const char *name, const char *value)
{
	(void)MHD_add_response_header(r, name, value);
}

static struct MHD_Response *body_response(struct call *c)
{
	struct cs_str *b = &c->rs.body;
	size_t len = b->len;
	char *text = cs_str_steal(b);

	if (!text) {
		static char sorry[] = "{\"message\":\"the answer is too large\"}\n";
		c->rs.status = 500;
		return MHD_create_response_from_buffer(sizeof(sorry) - 1, sorry, MHD_RESPMEM_PERSISTENT);
	}
	return MHD_create_response_from_buffer(len, text, MHD_RESPMEM_MUST_FREE);
}

static enum MHD_Result answer(struct call *c)
{
	const char *type = c->rs.content_type ? c->rs.content_type : "application/json";
	const struct cs_engine_config *cfg = cs_engine_config(c->http->engine);
	struct MHD_Response *r;
	unsigned status;
	bool empty = false;

	if (c->rs.hijack.run) {
		http_conn_give(&c->listener->conns, c->place);
		status = 200;
		r = http_hijack_response(c, &status);
	} else if (c->rs.stream) {
		r = http_stream_response(c);
		status = c->rs.status ? (unsigned)c->rs.status : 200;
	} else {
		empty = c->rs.body.len == 0;
		r = body_response(c);
		(void)MHD_set_connection_option(c->conn, MHD_CONNECTION_OPTION_TIMEOUT, IDLE_TIMEOUT_S); /* who takes nothing of it for so long loses it */
		status = c->rs.status ? (unsigned)c->rs.status : 200;
	}
	if (!r)
		return MHD_NO;
	header(r, "Api-Version", CS_API_MAX_TEXT);
	header(r, "Docker-Experimental", cfg->experimental ? "true" : "false");
	header(r, "Ostype", "linux");
	header(r, "Server", c->http->server_header);
	if (!cs_empty(cfg->api_cors_header)) {
		header(r, "Access-Control-Allow-Origin", cfg->api_cors_header);
		header(r, "Access-Control-Allow-Headers", "Origin, X-Requested-With, Content-Type, Accept, X-Registry-Auth");
		header(r, "Access-Control-Allow-Methods", "HEAD, GET, POST, DELETE, PUT, OPTIONS");
	}
	if (!c->rs.websocket && (!empty || c->rs.content_type))
		header(r, "Content-Type", type);
	for (size_t i = 0; i + 1 < CS_ARRAY_SIZE(c->rs.extra) && c->rs.extra[i]; i += 2)
		header(r, c->rs.extra[i], c->rs.extra[i + 1]);
	enum MHD_Result ok = MHD_queue_response(c->conn, status, r);
	MHD_destroy_response(r);
	return ok;
}

static void log_failure(struct call *c, const struct cs_err *e, int status)
{
	cs_autofree char *text = cs_err_text(e);

	cs_logk(status >= 500 && status != 501 && status != 503 ? CS_LOG_ERROR : CS_LOG_DEBUG, "api", "request", c->uri, "%s: %s", c->rq.method, text);
}

static enum MHD_Result dispatch(struct call *c)
{
	int ret = -1;

	c->dispatched = true;
	/* The idle timeout must not strike while the handler works or a stream is silent. */
	(void)MHD_set_connection_option(c->conn, MHD_CONNECTION_OPTION_TIMEOUT, 0u);
	cs_debug("api", "%s %s", c->rq.method, c->uri);
	if (c->pulling) {
		end_pull(c);
		ret = c->pull_result;
	} else if (!c->err) {
		if (take_place(c, &c->err) < 0) {
			ret = -1;
		} else if (c->too_large) {
			ret = cs_fail(&c->err, CS_ERR_INVALID, 0, "request body is larger than %u MiB", CS_BODY_MAX >> 20);
		} else {
			__atomic_add_fetch(&c->http->busy, 1, __ATOMIC_RELAXED);
			ret = c->rq.route->fn(&c->rq, &c->rs, &c->err);
			__atomic_sub_fetch(&c->http->busy, 1, __ATOMIC_RELAXED);
		}
	}
	if (ret < 0) {
		int status;
		if (!c->err)
			(void)cs_fail(&c->err, CS_ERR_INTERNAL, 0, "the handler failed without an error");
		status = cs_error_response(c->err, &c->rs);
		if (c->too_large)
			c->rs.status = status = 413;
		log_failure(c, c->err, status);
	}
	return answer(c);
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *conn, const char *url, const char *method, const char *version, const char *data,
				  size_t *len, void **con_cls)
{
	struct call *c = *con_cls;

	if (!c || c->magic != CALL_MAGIC || c->dispatched)
		return MHD_NO;
	if (!c->started) {
		c->chunked = strcmp(version, MHD_HTTP_VERSION_1_1) == 0;
		(void)call_start(c, method, &c->err);
		return MHD_YES;
	}
	if (*len > 0)
		return take_body(c, data, len);
	return dispatch(c);
}

/* ---- connections ---- */

static void on_connection(void *cls, struct MHD_Connection *conn, void **socket_ctx, enum MHD_ConnectionNotificationCode code)
{
	const union MHD_ConnectionInfo *info;
	struct http_listener *l = cls;
	int one = 1;

	if (code != MHD_CONNECTION_NOTIFY_STARTED) {
		http_conn_close(&l->conns, *socket_ctx);
		cs_trim_touch();
		/* A burst leaves holes in the heap that free alone does not give back. */
		if (__atomic_add_fetch(&l->http->closed, 1, __ATOMIC_RELAXED) % TRIM_EVERY == 0)
			(void)malloc_trim(0);
		return;
	}
	info = MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CONNECTION_FD);
	(void)setsockopt(info->connect_fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* fails on a unix socket, which has no such delay */
	*socket_ctx = http_conn_open(&l->conns, info->connect_fd);
}

/* Our paths are decoded by us, from the raw text. */
static size_t no_unescape(void *cls, struct MHD_Connection *conn, char *s)
{
	return strlen(s);
}

static void mhd_log(void *cls, const char *fmt, va_list ap) CS_PRINTF(2, 0);
static void mhd_log(void *cls, const char *fmt, va_list ap)
{
	cs_autofree char *text = NULL;

	if (cs_log_level() < CS_LOG_DEBUG || vasprintf(&text, fmt, ap) < 0)
		return;
	cs_debug("http", "%.*s", (int)strcspn(text, "\n"), text);
}

struct cs_http *cs_http_new(struct cs_engine *e, const char *version)
{
	struct cs_http *h = cs_xcalloc(1, sizeof(*h));

	h->engine = e;
	h->server_header = cs_xasprintf("Caisson/%s (linux)", version);
	h->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (h->stop_fd < 0)
		abort();
	return h;
}

int cs_http_listen(struct cs_http *h, int fd, const struct cs_http_tls *tls, struct cs_err **err)
{
	struct http_listener *l = cs_xcalloc(1, sizeof(*l));
	unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL | MHD_ALLOW_UPGRADE | MHD_USE_ERROR_LOG |
			 MHD_USE_ITC;
	struct MHD_OptionItem tls_opts[] = {
		{ MHD_OPTION_HTTPS_MEM_KEY, 0, tls ? tls->key : NULL },
		{ MHD_OPTION_HTTPS_MEM_CERT, 0, tls ? tls->cert : NULL },
		{ tls && tls->ca ? MHD_OPTION_HTTPS_MEM_TRUST : MHD_OPTION_END, 0, tls ? tls->ca : NULL },
		{ MHD_OPTION_END, 0, NULL },
	};

	l->http = h;
	l->tls = tls != NULL;
	l->verify = tls && tls->verify;
	if (tls)
		flags |= MHD_USE_TLS;
	l->mhd = MHD_start_daemon(flags, 0, NULL, NULL, on_request, l, MHD_OPTION_EXTERNAL_LOGGER, mhd_log, NULL, MHD_OPTION_LISTEN_SOCKET, fd,
				  MHD_OPTION_URI_LOG_CALLBACK, on_uri, l, MHD_OPTION_UNESCAPE_CALLBACK, no_unescape, NULL, MHD_OPTION_NOTIFY_COMPLETED,
				  on_completed, l, MHD_OPTION_NOTIFY_CONNECTION, on_connection, l, MHD_OPTION_CONNECTION_TIMEOUT, IDLE_TIMEOUT_S,
				  MHD_OPTION_CONNECTION_LIMIT, http_conns_init(&l->conns), MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY,
				  MHD_OPTION_THREAD_STACK_SIZE, (size_t)HTTP_STACK, tls ? MHD_OPTION_ARRAY : MHD_OPTION_END, tls_opts, MHD_OPTION_END);
	if (!l->mhd) {
		cs_close(fd);
		free(l);
		return cs_fail(err, CS_ERR_INTERNAL, 0, tls ? "start the HTTPS server (are certificate and key valid?)" : "start the HTTP server");
	}
	l->next = h->listeners;
	h->listeners = l;
	return 0;
}

unsigned cs_http_drain(struct cs_http *h, int64_t deadline)
{
	int64_t soon = CS_MIN(deadline, cs_monotonic_ns() + STREAMS_NS);
	unsigned left, streams;

	__atomic_store_n(&h->stopping, true, __ATOMIC_RELEASE);
	cs_body_stop_all();
	for (struct http_listener *l = h->listeners; l; l = l->next)
		cs_close(MHD_quiesce_daemon(l->mhd));
	(void)eventfd_write(h->stop_fd, 1);
	/* Requests end by themselves; there is nothing to wait on but their number. Only at shutdown, so a short nap does. */
	for (;;) {
		int64_t now = cs_monotonic_ns();
		left = __atomic_load_n(&h->busy, __ATOMIC_ACQUIRE);
		streams = __atomic_load_n(&h->streams, __ATOMIC_ACQUIRE);
		if ((left == 0 || now >= deadline) && (streams == 0 || now >= soon))
			return left + streams;
		poll(NULL, 0, 10);
	}
}
