/* SPDX-License-Identifier: Apache-2.0
 *
 * One HTTP exchange, driven by the thread that wants it: the body is pulled, never pushed. Every wait ends on the session's cancel descriptor
 * and when nothing moves for too long. Redirects are followed here and not by the library, because credentials and a host's own headers must
 * stay behind. A connection belongs to one exchange at a time; the session keeps idle ones. */
#include "registry/internal.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include "base/num.h"
#include "base/time.h"

#define BIG_BUFFER (256L << 10)
#define SPILL_STOP (256u << 10) /* of body bytes that came while the caller's buffer was full: then the transfer pauses */
#define SPILL_MAX (512u << 10)
#define REDIRECTS_MAX 10
#define DRAIN_MAX (64u << 10)
#define SLOWEST 4096      /* bytes of a body within the stall limit, of the time that is spent waiting: less is a stall, too */
#define ANSWER_PATIENCE 10 /* times the stall limit, from the end of an upload to the answer: the registry may be hashing */

struct cs_rg_xfer {
	struct cs_rg_client *client;
	struct cs_rg_conn *conn;
	struct cs_rg_request q;
	struct cs_rg_response resp;
	struct curl_slist *slist;
	char *url, *proxy /* host:port, or NULL */, ca_path[40], error[CURL_ERROR_SIZE];
	size_t header_bytes, data_sent;
	char *dst; /* where the caller wants the body now */
	size_t dst_left, dst_got;
	struct cs_str spill; /* from spill_at on */
	size_t spill_at;
	int64_t last_ns, sent; /* monotonic time of the last byte of a body in or out; bytes of the body sent */
	int64_t waited_ns;     /* for waited_bytes of the body: the window in which SLOWEST must come */
	size_t waited_bytes;
	bool added, paused, headers_done, done, huge_headers, source_failed, got_body;
	int source_error;
	CURLcode result;
};

/* ---- cancellation ---- */

bool cs_rg_cancelled(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	return fd >= 0 && poll(&p, 1, 0) > 0;
}

bool cs_rg_sleep(int cancel_fd, int64_t ms)
{
	int64_t end = cs_monotonic_ns() + ms * CS_NS_PER_MS;

	for (;;) {
		int64_t left = (end - cs_monotonic_ns() + CS_NS_PER_MS - 1) / CS_NS_PER_MS;
		struct pollfd p = {.fd = cancel_fd, .events = POLLIN};
		if (left <= 0)
			return !cs_rg_cancelled(cancel_fd);
		if (poll(&p, 1, (int)CS_MIN(left, (int64_t)INT32_MAX)) > 0)
			return false;
	}
}

/* ---- connections ---- */

int cs_rg_client_init(struct cs_rg_client *c, struct cs_registry *reg, int cancel_fd, struct cs_err **err)
{
	if (cs_curl_get(err) < 0)
		return -1;
	*c = (struct cs_rg_client){.reg = cs_registry_ref(reg), .cancel_fd = cancel_fd};
	(void)pthread_mutex_init(&c->lock, NULL);
	return 0;
}

static void conn_free(struct cs_rg_conn *k)
{
	if (k->easy)
		cs_cu(easy_cleanup)(k->easy);
	if (k->multi)
		(void)cs_cu(multi_cleanup)(k->multi);
	free(k);
}

void cs_rg_client_done(struct cs_rg_client *c)
{
	if (!c->reg)
		return;
	while (c->idle) {
		struct cs_rg_conn *k = c->idle;
		c->idle = k->next;
		conn_free(k);
	}
	(void)pthread_mutex_destroy(&c->lock);
	cs_registry_unref(TAKE_PTR(c->reg));
	cs_curl_put();
}

static struct cs_rg_conn *conn_take(struct cs_rg_client *c)
{
	struct cs_rg_conn *k;

	pthread_mutex_lock(&c->lock);
	k = c->idle;
	if (k)
		c->idle = k->next;
	pthread_mutex_unlock(&c->lock);
	if (k)
		return k;
	k = cs_xcalloc(1, sizeof(*k));
	k->easy = cs_cu(easy_init)();
	k->multi = cs_cu(multi_init)();
	if (k->easy && k->multi)
		return k;
	conn_free(k);
	return NULL;
}

static void conn_give(struct cs_rg_client *c, struct cs_rg_conn *k)
{
	cs_cu(easy_reset)(k->easy);
	pthread_mutex_lock(&c->lock);
	k->next = c->idle;
	c->idle = k;
	pthread_mutex_unlock(&c->lock);
}

/* The library itself forgets close-on-exec. */
static curl_socket_t open_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *a)
{
	(void)ctx;
	(void)purpose;
	return socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

/* ---- answers ---- */

void cs_rg_response_done(struct cs_rg_response *r)
{
	free(r->status_text);
	free(r->url);
	free(r->content_type);
	free(r->content_range);
	free(r->location);
	free(r->digest);
	free(r->link);
	free(r->retry_after);
	cs_rg_challenges_done(&r->challenges);
	*r = (struct cs_rg_response){0};
}

static void start_answer(struct cs_rg_xfer *x, const char *line)
{
	const char *p = strchr(line, ' ');
	uint64_t status;

	bool moved = x->resp.moved;
	cs_rg_response_done(&x->resp);
	x->resp.moved = moved;
	x->resp.content_length = -1;
	if (!p || !cs_parse_u64n(p + 1, strspn(p + 1, "0123456789"), 100, 999, &status))
		return;
	x->resp.status = (int)status;
	x->resp.status_text = cs_xstrndup(p + 1, 100);
}

static void keep(char **to, const char *value)
{
	free(*to);
	*to = cs_xstrdup(value);
}

static void take_header(struct cs_rg_xfer *x, const char *name, const char *value)
{
	struct cs_rg_response *r = &x->resp;
	const struct {
		const char *name;
		char **to;
	} text[] = {
		{"content-type", &r->content_type}, {"content-range", &r->content_range}, {"location", &r->location},
		{"docker-content-digest", &r->digest}, {"link", &r->link}, {"retry-after", &r->retry_after},
	};
	uint64_t n;

	for (size_t i = 0; i < CS_ARRAY_SIZE(text); i++)
		if (strcasecmp(name, text[i].name) == 0)
			keep(text[i].to, value);
	if (strcasecmp(name, "www-authenticate") == 0)
		cs_rg_challenges_add(&r->challenges, value);
	else if (strcasecmp(name, "content-length") == 0 && cs_parse_u64(value, 0, INT64_MAX, &n))
		r->content_length = (int64_t)n;
}

static size_t on_header(char *data, size_t size, size_t n, void *ctx)
{
	struct cs_rg_xfer *x = ctx;
	size_t len = size * n;

	x->header_bytes += len;
	if (x->header_bytes > CS_RG_HEADERS_MAX) {
		x->huge_headers = true;
		return 0;
	}
	cs_autofree char *line = cs_xstrndup(data, len);
	size_t end = strlen(line);
	while (end > 0 && strchr("\r\n \t", line[end - 1]))
		line[--end] = 0;
	if (strncmp(line, "HTTP/", 5) == 0) {
		start_answer(x, line);
	} else if (!*line) {
		x->headers_done = x->resp.status >= 200;
	} else if (!x->headers_done) { /* what follows a chunked body is not for us */
		char *colon = strchr(line, ':');
		if (colon) {
			*colon = 0;
			take_header(x, line, colon + 1 + strspn(colon + 1, " \t"));
		}
	}
	return len;
}

static size_t on_body(char *data, size_t size, size_t n, void *ctx)
{
	struct cs_rg_xfer *x = ctx;
	size_t len = size * n, direct = CS_MIN(len, x->dst_left);

	if (direct < len && x->spill.len >= SPILL_STOP) {
		x->paused = true;
		return CURL_WRITEFUNC_PAUSE;
	}
	x->last_ns = cs_monotonic_ns();
	x->waited_bytes += len;
	x->got_body = true;
	if (direct > 0) {
		memcpy(x->dst, data, direct);
		x->dst += direct;
		x->dst_left -= direct;
		x->dst_got += direct;
	}
	cs_str_put(&x->spill, data + direct, len - direct);
	return x->spill.failed ? 0 : len;
}

static size_t on_upload(char *buf, size_t size, size_t n, void *ctx)
{
	struct cs_rg_xfer *x = ctx;
	size_t want = size * n;
	ssize_t got;

	if (cs_rg_cancelled(x->q.cancel_fd))
		return CURL_READFUNC_ABORT;
	if (x->q.source) {
		want = (size_t)CS_MIN((int64_t)want, x->q.size - x->sent);
		got = want > 0 ? x->q.source->read(x->q.source->ctx, buf, want) : 0;
	} else {
		got = (ssize_t)CS_MIN(want, (size_t)x->q.size - x->data_sent);
		memcpy(buf, x->q.data + x->data_sent, (size_t)got);
		x->data_sent += (size_t)got;
	}
	if (got < 0 || (got == 0 && x->sent < x->q.size)) {
		x->source_failed = true;
		x->source_error = got < 0 ? (int)-got : ENODATA;
		return CURL_READFUNC_ABORT;
	}
	x->sent += got;
	x->last_ns = cs_monotonic_ns();
	if (x->q.source && x->q.source->progress)
		x->q.source->progress(x->q.source->ctx, x->sent);
	return (size_t)got;
}

/* ---- setting up ---- */

#define SET(x, option, value) (void)cs_cu(easy_setopt)((x)->conn->easy, (option), (value))

static void set_tls(struct cs_rg_xfer *x, const struct cs_rg_tls *tls)
{
	SET(x, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	SET(x, CURLOPT_SSL_VERIFYPEER, tls && tls->skip_verify ? 0L : 1L);
	SET(x, CURLOPT_SSL_VERIFYHOST, tls && tls->skip_verify ? 0L : 2L);
	if (!tls)
		return;
	if (tls->ca_fd >= 0)
		(void)snprintf(x->ca_path, sizeof(x->ca_path), "/proc/self/fd/%d", tls->ca_fd);
	if (tls->skip_verify) { /* else all of the system's authorities are read for nothing: 8 MB and 40 ms for each connection */
		SET(x, CURLOPT_CAINFO, NULL);
		SET(x, CURLOPT_CAPATH, NULL);
	} else if (cs_rg_looks_up()) {
		SET(x, CURLOPT_CAINFO, tls->ca_fd >= 0 ? x->ca_path : NULL);
		SET(x, CURLOPT_CAPATH, CS_RG_CERT_DIR);
	} else if (tls->ca_fd >= 0) {
		SET(x, CURLOPT_CAINFO, x->ca_path);
	} else if (cs_rg_system_bundle()) {
		SET(x, CURLOPT_CAINFO, cs_rg_system_bundle());
	}
	if (tls->client_cert) {
		SET(x, CURLOPT_SSLCERT, tls->client_cert);
		SET(x, CURLOPT_SSLKEY, tls->client_key);
	}
}

static void add_headers(struct cs_rg_xfer *x, bool own)
{
	for (char *const *h = x->q.headers; h && *h; h++)
		x->slist = cs_cu(slist_append)(x->slist, *h);
	for (char *const *h = own ? x->q.own_headers : NULL; h && *h; h++)
		x->slist = cs_cu(slist_append)(x->slist, *h);
	if (own && x->q.authorization) {
		cs_autofree char *line = cs_xasprintf("Authorization: %s", x->q.authorization);
		x->slist = cs_cu(slist_append)(x->slist, line);
		explicit_bzero(line, strlen(line));
	}
	x->slist = cs_cu(slist_append)(x->slist, "Expect:"); /* no pause before an upload */
	SET(x, CURLOPT_HTTPHEADER, x->slist);
}

static void set_method(struct cs_rg_xfer *x)
{
	const char *m = x->q.method;

	if (strcmp(m, "HEAD") == 0) {
		SET(x, CURLOPT_NOBODY, 1L);
	} else if (x->q.size >= 0 && strcmp(m, "POST") == 0) {
		SET(x, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)x->q.size);
		SET(x, CURLOPT_POSTFIELDS, x->q.data ? x->q.data : "");
		SET(x, CURLOPT_POST, 1L);
	} else if (x->q.size >= 0) {
		SET(x, CURLOPT_UPLOAD, 1L);
		SET(x, CURLOPT_INFILESIZE_LARGE, (curl_off_t)x->q.size);
		SET(x, CURLOPT_READFUNCTION, on_upload);
		SET(x, CURLOPT_READDATA, x);
		SET(x, CURLOPT_CUSTOMREQUEST, m);
		if (x->q.source)
			SET(x, CURLOPT_UPLOAD_BUFFERSIZE, BIG_BUFFER);
	} else if (strcmp(m, "GET") != 0) {
		SET(x, CURLOPT_CUSTOMREQUEST, m);
	}
}

/* Of a proxy's URL, without name and password. */
static char *proxy_address(const char *proxy)
{
	const char *sep = strstr(proxy, "://"), *host = sep ? sep + 3 : proxy, *at = memrchr(host, '@', strcspn(host, "/"));

	if (at)
		host = at + 1;
	return cs_xstrndup(host, strcspn(host, "/"));
}

static int set_up(struct cs_rg_xfer *x, bool own, struct cs_err **err)
{
	const struct cs_registry *reg = x->client->reg;
	struct cs_rg_url u = {0};

	if (!cs_rg_url_parse(x->url, &u))
		return cs_fail(err, CS_ERR_INTERNAL, 0, "malformed URL");
	const char *proxy = cs_rg_proxy_for(reg, u.scheme, u.host, u.port);
	SET(x, CURLOPT_PROXY, proxy ? proxy : ""); /* "": not the environment's */
	SET(x, CURLOPT_NOPROXY, "");
	free(x->proxy);
	x->proxy = proxy ? proxy_address(proxy) : NULL;
	cs_rg_url_done(&u);
	SET(x, CURLOPT_URL, x->url);
	SET(x, CURLOPT_PATH_AS_IS, 1L);
	SET(x, CURLOPT_PROTOCOLS_STR, "http,https");
	SET(x, CURLOPT_NOSIGNAL, 1L);
	SET(x, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	SET(x, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
	SET(x, CURLOPT_USERAGENT, reg->user_agent);
	SET(x, CURLOPT_ERRORBUFFER, x->error);
	SET(x, CURLOPT_CONNECTTIMEOUT_MS, (long)CS_MIN(reg->stall_ms, (int64_t)INT32_MAX));
	SET(x, CURLOPT_OPENSOCKETFUNCTION, open_socket);
	SET(x, CURLOPT_TCP_KEEPALIVE, 1L);
	SET(x, CURLOPT_HEADERFUNCTION, on_header);
	SET(x, CURLOPT_HEADERDATA, x);
	SET(x, CURLOPT_WRITEFUNCTION, on_body);
	SET(x, CURLOPT_WRITEDATA, x);
	if (x->q.big)
		SET(x, CURLOPT_BUFFERSIZE, BIG_BUFFER);
	set_tls(x, x->q.tls);
	set_method(x);
	add_headers(x, own);
	return 0;
}

/* ---- the loop ---- */

static void look_for_end(struct cs_rg_xfer *x)
{
	int left;
	CURLMsg *m;

	while ((m = cs_cu(multi_info_read)(x->conn->multi, &left))) {
		if (m->msg == CURLMSG_DONE) {
			x->done = true;
			x->result = m->data.result;
		}
	}
}

static int64_t patience_ns(const struct cs_rg_xfer *x)
{
	int64_t stall = x->client->reg->stall_ms * CS_NS_PER_MS;
	return x->q.source && x->sent >= x->q.size ? stall * ANSWER_PATIENCE : stall;
}

/* Nothing for too long (a header must come as a whole), or a body that comes in drops. */
static bool is_stalled(struct cs_rg_xfer *x, int64_t now)
{
	if (now - x->last_ns >= patience_ns(x))
		return true;
	if (x->waited_ns < patience_ns(x))
		return false;
	bool slow = x->waited_bytes < SLOWEST;
	x->waited_ns = 0;
	x->waited_bytes = 0;
	return slow;
}

static int stop(struct cs_rg_xfer *x, enum cs_rg_fault what, enum cs_rg_fault *fault, struct cs_err **err)
{
	*fault = what;
	if (what == CS_RG_CANCELLED)
		return cs_fail(err, CS_ERR_CANCELLED, 0, "context canceled");
	if (what == CS_RG_STALLED)
		return cs_fail(err, CS_ERR_TIMEOUT, 0, "%s", x->headers_done ? "no data within the time limit" : "net/http: timeout awaiting response headers");
	return -1;
}

/* Runs until the headers (want_headers), a byte of the body, or the end is there. */
static int pump(struct cs_rg_xfer *x, bool want_headers, enum cs_rg_fault *fault, struct cs_err **err)
{
	for (;;) {
		int running, ready;
		if (x->paused && !want_headers) {
			x->paused = false;
			(void)cs_cu(easy_pause)(x->conn->easy, CURLPAUSE_CONT);
		}
		CURLMcode mc = cs_cu(multi_perform)(x->conn->multi, &running);
		look_for_end(x);
		if (cs_rg_cancelled(x->q.cancel_fd))
			return stop(x, CS_RG_CANCELLED, fault, err);
		if (x->done || (want_headers ? x->headers_done : x->dst_got > 0 || x->spill.len > 0))
			return 0;
		if (mc != CURLM_OK) {
			*fault = CS_RG_BROKEN;
			return cs_fail(err, CS_ERR_INTERNAL, 0, "%s", cs_cu(multi_strerror)(mc));
		}
		int64_t now = cs_monotonic_ns(), left = x->last_ns + patience_ns(x) - now;
		if (is_stalled(x, now))
			return stop(x, CS_RG_STALLED, fault, err);
		struct curl_waitfd extra = {.fd = x->q.cancel_fd, .events = CURL_WAIT_POLLIN};
		mc = cs_cu(multi_poll)(x->conn->multi, &extra, x->q.cancel_fd >= 0 ? 1 : 0, (int)CS_MIN(left / CS_NS_PER_MS + 1, (int64_t)60000), &ready);
		if (mc != CURLM_OK) {
			*fault = CS_RG_BROKEN;
			return cs_fail(err, CS_ERR_INTERNAL, 0, "%s", cs_cu(multi_strerror)(mc));
		}
		if (!want_headers)
			x->waited_ns += cs_monotonic_ns() - now;
	}
}

/* ---- what went wrong, in Go's words ---- */

static int fail_connect(struct cs_rg_xfer *x, const struct cs_rg_url *u, struct cs_err **err)
{
	char *ip = NULL;
	long sys = 0;

	(void)cs_cu(easy_getinfo)(x->conn->easy, CURLINFO_PRIMARY_IP, &ip);
	(void)cs_cu(easy_getinfo)(x->conn->easy, CURLINFO_OS_ERRNO, &sys);
	const char *where = cs_empty(ip) ? u->host : ip;
	bool v6 = strchr(where, ':') != NULL;
	if (sys == 0 && strstr(x->error, "refused"))
		sys = ECONNREFUSED;
	if (x->proxy)
		return cs_fail(err, CS_ERR_INTERNAL, 0, "proxyconnect tcp: dial tcp %s: connect: %s", x->proxy, sys == ECONNREFUSED ? "connection refused" : "no connection");
	if (x->result == CURLE_OPERATION_TIMEDOUT || sys == ETIMEDOUT)
		return cs_fail(err, CS_ERR_INTERNAL, 0, "dial tcp %s%s%s:%s: i/o timeout", v6 ? "[" : "", where, v6 ? "]" : "", u->port);
	/* Go's errno texts begin with a small letter */
	cs_autofree char *text = cs_xstrdup(sys > 0 ? cs_errno_text((int)sys) : "no connection");
	if (*text >= 'A' && *text <= 'Z')
		*text = (char)(*text - 'A' + 'a');
	return cs_fail(err, CS_ERR_INTERNAL, 0, "dial tcp %s%s%s:%s: connect: %s", v6 ? "[" : "", where, v6 ? "]" : "", u->port, text);
}

static int fail_verify(struct cs_rg_xfer *x, const struct cs_rg_url *u, struct cs_err **err)
{
	const char *e = x->error;

	if (strcasestr(e, "does not match") || strcasestr(e, "subject name"))
		return cs_fail(err, CS_ERR_INTERNAL, 0, "tls: failed to verify certificate: x509: certificate is not valid for %s", u->host);
	if (strcasestr(e, "expired"))
		return cs_fail(err, CS_ERR_INTERNAL, 0, "tls: failed to verify certificate: x509: certificate has expired or is not yet valid");
	return cs_fail(err, CS_ERR_INTERNAL, 0, "tls: failed to verify certificate: x509: certificate signed by unknown authority");
}

static int fail_tls(struct cs_rg_xfer *x, enum cs_rg_fault *fault, struct cs_err **err)
{
	const char *e = x->error;

	if (strcasestr(e, "unexpected TLS packet") || strcasestr(e, "wrong version number") || strcasestr(e, "packet length")) {
		*fault = CS_RG_NOT_TLS;
		return cs_fail(err, CS_ERR_INTERNAL, 0, "http: server gave HTTP response to HTTPS client");
	}
	*fault = CS_RG_UNTRUSTED;
	return cs_fail(err, CS_ERR_INTERNAL, 0, "tls: %s", *e ? e : cs_cu(easy_strerror)(x->result));
}

static int fail_result(struct cs_rg_xfer *x, const struct cs_rg_url *u, enum cs_rg_fault *fault, struct cs_err **err)
{
	*fault = CS_RG_BROKEN;
	switch (x->result) {
	case CURLE_COULDNT_RESOLVE_HOST:
		*fault = CS_RG_UNREACHABLE;
		return cs_fail(err, CS_ERR_INTERNAL, 0, "dial tcp: lookup %s: no such host", u->host);
	case CURLE_COULDNT_RESOLVE_PROXY:
		*fault = CS_RG_UNREACHABLE;
		return cs_fail(err, CS_ERR_INTERNAL, 0, "proxyconnect tcp: dial tcp: lookup %s: no such host", x->proxy ? x->proxy : "");
	case CURLE_COULDNT_CONNECT:
	case CURLE_OPERATION_TIMEDOUT:
		*fault = CS_RG_UNREACHABLE;
		return fail_connect(x, u, err);
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_ISSUER_ERROR:
		*fault = CS_RG_UNTRUSTED;
		return fail_verify(x, u, err);
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CACERT_BADFILE:
		return fail_tls(x, fault, err);
	case CURLE_GOT_NOTHING:
		return cs_fail(err, CS_ERR_INTERNAL, 0, "EOF");
	case CURLE_PARTIAL_FILE:
		return cs_fail(err, CS_ERR_INTERNAL, 0, "unexpected EOF");
	case CURLE_UNSUPPORTED_PROTOCOL:
	case CURLE_WEIRD_SERVER_REPLY:
		*fault = CS_RG_NONSENSE;
		return cs_fail(err, CS_ERR_INTERNAL, 0, "net/http: HTTP/1.x transport connection broken: malformed HTTP response");
	default:
		return cs_fail(err, CS_ERR_INTERNAL, 0, "%s", *x->error ? x->error : cs_cu(easy_strerror)(x->result));
	}
}

/* The exchange is over (done); 0 when it ended well. */
static int judge(struct cs_rg_xfer *x, enum cs_rg_fault *fault, struct cs_err **err)
{
	struct cs_rg_url u = {0};
	int r;

	if (x->result == CURLE_OK)
		return 0;
	if (cs_rg_cancelled(x->q.cancel_fd))
		return stop(x, CS_RG_CANCELLED, fault, err);
	if (x->huge_headers) {
		*fault = CS_RG_NONSENSE;
		return cs_fail(err, CS_ERR_INTERNAL, 0, "the registry's headers are larger than %u bytes", CS_RG_HEADERS_MAX);
	}
	if (x->source_failed) {
		*fault = CS_RG_SOURCE;
		return cs_fail(err, CS_ERR_INTERNAL, x->source_error, "read what is to be uploaded");
	}
	if (!cs_rg_url_parse(x->url, &u))
		return cs_fail(err, CS_ERR_INTERNAL, 0, "malformed URL");
	r = fail_result(x, &u, fault, err);
	cs_rg_url_done(&u);
	return r;
}

/* ---- from outside ---- */

static void detach(struct cs_rg_xfer *x)
{
	double looked_up = 0;

	if (!x->conn)
		return;
	if (x->added) {
		(void)cs_cu(easy_getinfo)(x->conn->easy, CURLINFO_NAMELOOKUP_TIME, &looked_up);
		if (!x->done && looked_up == 0) { /* its resolver may be at work: do not wait for that thread, and keep its code mapped */
			SET(x, CURLOPT_QUICK_EXIT, 1L);
			cs_curl_pin();
		}
		(void)cs_cu(multi_remove_handle)(x->conn->multi, x->conn->easy);
		x->added = false;
	}
	conn_give(x->client, TAKE_PTR(x->conn));
	cs_cu(slist_free_all)(x->slist);
	x->slist = NULL;
}

void cs_rg_xfer_close(struct cs_rg_xfer *x)
{
	if (!x)
		return;
	detach(x);
	cs_rg_response_done(&x->resp);
	cs_str_done(&x->spill);
	free(x->proxy);
	free(x->url);
	free(x);
}

/* One request to x->url, until its final header. */
static int exchange(struct cs_rg_xfer *x, bool own, enum cs_rg_fault *fault, struct cs_err **err)
{
	*fault = CS_RG_BROKEN;
	x->conn = conn_take(x->client);
	if (!x->conn)
		return cs_fail(err, CS_ERR_INTERNAL, ENOMEM, "start a transfer");
	x->header_bytes = x->data_sent = 0;
	x->sent = 0;
	x->done = x->headers_done = x->paused = x->got_body = false;
	x->result = CURLE_OK;
	x->last_ns = cs_monotonic_ns();
	x->waited_ns = 0;
	x->waited_bytes = 0;
	*x->error = 0;
	cs_str_clear(&x->spill);
	x->spill_at = 0;
	if (set_up(x, own, err) < 0)
		return -1;
	if (cs_cu(multi_add_handle)(x->conn->multi, x->conn->easy) != CURLM_OK)
		return cs_fail(err, CS_ERR_INTERNAL, ENOMEM, "start a transfer");
	x->added = true;
	if (pump(x, true, fault, err) < 0)
		return -1;
	/* A failure after the header is for whoever reads the body. */
	if (x->done && !x->headers_done)
		return x->result == CURLE_OK ? cs_fail(err, CS_ERR_INTERNAL, 0, "malformed HTTP response") : judge(x, fault, err);
	return 0;
}

static bool redirects(const struct cs_rg_xfer *x)
{
	int s = x->resp.status;

	return !x->q.stay && x->resp.location && x->q.size < 0 && (s == 301 || s == 302 || s == 303 || s == 307 || s == 308);
}

/* What little body a redirect has is read, so that its connection can be used again. */
static void drain(struct cs_rg_xfer *x)
{
	cs_autostr struct cs_str rest = CS_STR_INIT(DRAIN_MAX);
	enum cs_rg_fault fault;

	if (x->resp.content_length <= (int64_t)DRAIN_MAX)
		(void)!cs_rg_xfer_slurp(x, &rest, &fault, NULL);
}

static int next_hop(struct cs_rg_xfer *x, bool *own, enum cs_rg_fault *fault, struct cs_err **err)
{
	cs_autofree char *next = cs_rg_url_join(x->url, x->resp.location);

	if (!next) {
		*fault = CS_RG_NONSENSE;
		return cs_fail(err, CS_ERR_INTERNAL, 0, "the registry redirects to what is no http or https URL");
	}
	drain(x);
	detach(x);
	*own = *own && cs_rg_same_origin(next, x->q.url); /* once away, never again */
	x->resp.moved = x->resp.moved || !*own;
	free(x->url);
	x->url = TAKE_PTR(next);
	return 0;
}

int cs_rg_xfer_open(struct cs_rg_client *c, const struct cs_rg_request *q, struct cs_rg_xfer **ret, enum cs_rg_fault *fault, struct cs_err **err)
{
	struct cs_rg_xfer *x = cs_xcalloc(1, sizeof(*x));
	bool own = true;
	int r;

	x->client = c;
	x->q = *q;
	if (x->q.cancel_fd == CS_RG_SESSION_FD)
		x->q.cancel_fd = c->cancel_fd;
	x->url = cs_xstrdup(q->url);
	cs_str_init(&x->spill, SPILL_MAX);
	for (unsigned hops = 0;; hops++) {
		r = exchange(x, own, fault, err);
		if (r < 0 || !redirects(x))
			break;
		if (hops >= REDIRECTS_MAX) {
			*fault = CS_RG_NONSENSE;
			r = cs_fail(err, CS_ERR_INTERNAL, 0, "stopped after %d redirects", REDIRECTS_MAX);
			break;
		}
		r = next_hop(x, &own, fault, err);
		if (r < 0)
			break;
	}
	if (r < 0) {
		cs_rg_xfer_close(x);
		return -1;
	}
	x->resp.url = cs_xstrdup(x->url);
	*fault = CS_RG_FINE;
	*ret = x;
	return 0;
}

const struct cs_rg_response *cs_rg_xfer_response(const struct cs_rg_xfer *x) { return &x->resp; }

ssize_t cs_rg_xfer_read(struct cs_rg_xfer *x, void *buf, size_t max, enum cs_rg_fault *fault, struct cs_err **err)
{
	size_t have = CS_MIN(max, x->spill.len - x->spill_at);

	*fault = CS_RG_FINE;
	if (have > 0) {
		memcpy(buf, x->spill.buf + x->spill_at, have);
		x->spill_at += have;
		if (x->spill_at == x->spill.len) {
			cs_str_clear(&x->spill);
			x->spill_at = 0;
		}
		return (ssize_t)have;
	}
	if (!x->done) {
		x->dst = buf;
		x->dst_left = max;
		x->dst_got = 0;
		x->last_ns = cs_monotonic_ns(); /* the time that the caller took for himself is no stall */
		struct cs_err *e = NULL;
		int r = pump(x, false, fault, &e);
		have = x->dst_got;
		x->dst = NULL;
		x->dst_left = x->dst_got = 0;
		if (r < 0 && (have == 0 || *fault == CS_RG_CANCELLED))
			return cs_err_move(err, e);
		cs_err_free(e); /* what came counts; the next call fails again */
		if (have > 0)
			return (ssize_t)have;
	}
	if (x->spill.len > 0)
		return cs_rg_xfer_read(x, buf, max, fault, err);
	return judge(x, fault, err);
}

int cs_rg_xfer_slurp(struct cs_rg_xfer *x, struct cs_str *out, enum cs_rg_fault *fault, struct cs_err **err)
{
	char buf[16384];

	for (;;) {
		ssize_t n = cs_rg_xfer_read(x, buf, sizeof(buf), fault, err);
		if (n <= 0)
			return (int)n;
		cs_str_put(out, buf, (size_t)n);
		if (out->failed) {
			*fault = CS_RG_NONSENSE;
			return cs_fail(err, CS_ERR_INTERNAL, 0, "the registry's answer is larger than %zu bytes", out->max);
		}
	}
}
