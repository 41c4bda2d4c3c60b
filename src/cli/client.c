/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/client.h"

#include <ctype.h>
#include <sys/socket.h>

#include "base/io.h"
#include "base/num.h"
#include "base/strv.h"
#include "cli/cmd.h"
#include "cli/config.h"
#include "cli/endpoint.h"

const char *client_registry_auth, *client_accept;

static int api_version; /* 141 for 1.41; 0: nobody asked yet */
static bool api_pinned; /* by DOCKER_API_VERSION */

/* Everything, or -errno. SIGPIPE would end us without a word where the engine's answer says more. */
static int write_all(int fd, const char *p, size_t len)
{
	while (len) {
		ssize_t n = send(fd, p, len, MSG_NOSIGNAL);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			p += n;
			len -= (size_t)n;
		}
	}
	return 0;
}

static int fill(struct reply *r, struct cs_err **err)
{
	char *p = cs_str_reserve(&r->buf, 65536);
	if (!p)
		return cs_fail(err, CS_ERR_INTERNAL, 0, "answer is too large");
	ssize_t n;
	do
		n = read(r->fd, p, 65536);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno == ECONNRESET) /* the other end is gone */
		n = 0;
	if (n < 0)
		return cs_fail(err, CS_ERR_UNAVAILABLE, errno, "connection to the engine was lost");
	r->buf.len += (size_t)n;
	r->buf.buf[r->buf.len] = 0;
	return n > 0;
}

/* A line up to CRLF out of the buffer (caller frees), NULL on error or end. */
static char *header_line(struct reply *r, struct cs_err **err)
{
	for (;;) {
		char *nl = r->buf.len ? memchr(r->buf.buf, '\n', r->buf.len) : NULL;
		if (nl) {
			size_t n = (size_t)(nl - r->buf.buf);
			char *line = cs_xstrndup(r->buf.buf, n && nl[-1] == '\r' ? n - 1 : n);
			cs_str_consume(&r->buf, n + 1);
			return line;
		}
		int more = fill(r, err);
		if (more <= 0) {
			if (more == 0 && !endpoint_why_ended(err))
				cs_fail(err, CS_ERR_UNAVAILABLE, 0, "%s", r->status ? "the connection to the engine was lost" : "error during connect: the engine closed the connection");
			return NULL;
		}
	}
}

/* "1.41" -> 141; 0 for anything else. */
static int parse_api(const char *s)
{
	uint64_t minor;
	return cs_prefix(s, "1.") && cs_parse_u64(s + 2, 0, 99, &minor) ? 100 + (int)minor : 0;
}

static int read_headers(struct reply *r, struct cs_err **err)
{
	uint64_t v;
	cs_autofree char *status = header_line(r, err);

	if (!status)
		return -1;
	if (!cs_prefix(status, "HTTP/1.") || strlen(status) < 12 || !cs_parse_u64n(status + 9, 3, 100, 999, &v))
		return cs_fail(err, CS_ERR_INTERNAL, 0, "not an HTTP answer: %.64s", status);
	r->status = (int)v;
	free(r->reason);
	r->reason = cs_xstrdup(status[12] ? status + 13 : "");
	r->left = -1;
	for (;;) {
		cs_autofree char *line = header_line(r, err);
		if (!line)
			return -1;
		if (!*line)
			break;
		char *val = strchr(line, ':');
		if (!val)
			continue;
		*val++ = 0;
		val += strspn(val, " ");
		if (strcasecmp(line, "content-length") == 0 && cs_parse_u64(val, 0, INT64_MAX, &v))
			r->left = (int64_t)v;
		else if (strcasecmp(line, "transfer-encoding") == 0)
			r->chunked = strcasecmp(val, "chunked") == 0;
		else if (strcasecmp(line, "api-version") == 0)
			r->api = parse_api(val);
		else if (strcasecmp(line, "content-type") == 0)
			(void)snprintf(r->content_type, sizeof(r->content_type), "%s", val);
		else if (strcasecmp(line, "x-docker-container-path-stat") == 0) {
			free(r->path_stat);
			r->path_stat = cs_xstrdup(val);
		}
	}
	if (r->chunked)
		r->left = 0;
	if (r->status == 204 || r->status == 304 || r->no_body)
		r->eof = true;
	return 0;
}

static enum cs_code code_of(int status)
{
	static const enum cs_code codes[] = {CS_ERR_INVALID, CS_ERR_UNAUTHORIZED, CS_ERR_NOT_FOUND, CS_ERR_CONFLICT, CS_ERR_DENIED, CS_ERR_UNSUPPORTED, CS_ERR_UNAVAILABLE};
	for (size_t i = 0; i < CS_ARRAY_SIZE(codes); i++)
		if (cs_code_http(codes[i]) == status)
			return codes[i];
	return CS_ERR_INTERNAL;
}

static int api_error(struct reply *r, struct cs_err **err)
{
	cs_autostr struct cs_str body = CS_STR_INIT(1 << 20);
	char tmp[4096];
	ssize_t n;

	while ((n = reply_read(r, tmp, sizeof(tmp), NULL)) > 0)
		cs_str_put(&body, tmp, (size_t)n);
	json_t *j = body.len ? json_loadb(body.buf, body.len, 0, NULL) : NULL;
	const char *msg = json_string_value(json_object_get(j, "message"));
	while (body.len && isspace((unsigned char)body.buf[body.len - 1]))
		body.buf[--body.len] = 0;
	if (!msg && body.len && cs_prefix(r->content_type, "text/")) /* a proxy, or TLS where none is spoken */
		msg = body.buf;
	if (msg && *msg)
		cs_fail(err, code_of(r->status), 0, "Error response from daemon: %s", msg);
	else if (j)
		cs_fail(err, code_of(r->status), 0, "Error response from daemon: API returned a %d (%s) but provided no error-message", r->status, r->reason ? r->reason : "");
	else
		cs_fail(err, code_of(r->status), 0, "request returned %d %s and no message, check if the server supports the requested API version", r->status, r->reason ? r->reason : "");
	json_decref(j);
	return -1;
}

static int finish_open(struct reply *r, struct cs_err **err)
{
	if (read_headers(r, err) < 0)
		return -1;
	/* nobody is sent elsewhere: an answer that would do so has done nothing of what was asked */
	return r->status >= 400 || (r->status >= 300 && r->status != 304) ? api_error(r, err) : 0;
}

/* ---- versions ---- */

/* What DOCKER_API_VERSION says, or the newest we know. */
static int wanted_api(void)
{
	const char *env = getenv("DOCKER_API_VERSION");

	if (api_version == 0) {
		const char *p = cs_empty(env) ? NULL : cs_prefix(env, "v");
		api_version = cs_empty(env) ? 0 : parse_api(p ? p : env);
		api_pinned = api_version != 0;
	}
	return api_version ? api_version : parse_api(CLIENT_API);
}

/* What the environment says of requests must make sense before there is one. */
static int check_environment(struct cs_err **err)
{
	cs_autostrv char **custom = NULL;
	const char *api = getenv("DOCKER_API_VERSION"), *headers = getenv("DOCKER_CUSTOM_HEADERS");

	(void)wanted_api();
	if (!cs_empty(api) && !api_pinned)
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid API version %s (DOCKER_API_VERSION)", api);
	const char *key;
	json_t *val;
	json_object_foreach(json_object_get(config_root(), "HttpHeaders"), key, val)
	{
		bool is_name = *key && !key[strspn(key, "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")]; /* RFC 9110, token */
		if (!is_name || strpbrk(json_is_string(val) ? json_string_value(val) : "", "\r\n"))
			return cs_fail(err, CS_ERR_INVALID, 0, "error during connect: HttpHeaders of config.json: invalid header field %s \"%s\"", is_name ? "value for" : "name", key);
	}
	if (cs_empty(headers))
		return 0;
	if (!csv_split(headers, &custom))
		return cs_fail(err, CS_ERR_INVALID, 0, "Failed to initialize: failed to parse custom headers from DOCKER_CUSTOM_HEADERS environment variable: value must be formatted as comma-separated key=value pairs");
	for (char **c = custom; c && *c; c++) {
		const char *eq = strchr(*c, '=');
		const char *why = !eq ? "missing \"=\" in key=value pair" : eq == *c ? "value contains a key=value pair with an empty key" : strpbrk(*c, "\r\n:") ? "invalid name or value" : NULL;
		if (why)
			return cs_fail(err, CS_ERR_INVALID, 0, "Failed to initialize: failed to set custom headers from DOCKER_CUSTOM_HEADERS environment variable: %s: '%s'", why, *c);
	}
	return 0;
}

static void learn_api(int servers)
{
	if (!api_pinned && servers >= 124)
		api_version = CS_MIN(servers, parse_api(CLIENT_API));
}

int client_api(struct cs_err **err)
{
	auto_reply struct reply r = REPLY_INIT;

	(void)wanted_api();
	if (api_version)
		return api_version;
	if (client_open("HEAD", "/_ping", NULL, 0, false, &r, err) < 0)
		return -1;
	learn_api(r.api ? r.api : 124);
	return api_version;
}

/* ---- requests ---- */

/* name=value of DOCKER_CUSTOM_HEADERS (commas between, quotes as in CSV) win over HttpHeaders of config.json. */
static void put_own_headers(struct cs_str *req)
{
	cs_autostrv char **custom = NULL;
	const char *env = getenv("DOCKER_CUSTOM_HEADERS"), *key;
	json_t *val;

	if (!cs_empty(env))
		(void)csv_split(env, &custom);
	for (char **c = custom; c && *c; c++) {
		char *eq = strchr(*c, '=');
		if (eq) /* they are good: check_environment */
			cs_str_putf(req, "%.*s: %s\r\n", (int)(eq - *c), *c, eq + 1);
	}
	if (custom)
		return;
	json_object_foreach(json_object_get(config_root(), "HttpHeaders"), key, val)
	{
		if (json_is_string(val)) /* they are good: check_environment */
			cs_str_putf(req, "%s: %s\r\n", key, json_string_value(val));
	}
}

/* A name may be typed with slashes around it ("/web"): one slash where there are several, as docker sends it; what follows '?' is left alone. */
static void put_path(struct cs_str *req, const char *path)
{
	for (const char *end = path + strcspn(path, "?"); path < end; path++)
		if (*path != '/' || path[1] != '/')
			cs_str_putc(req, *path);
	cs_str_puts(req, path);
}

/* Request line and headers without the empty line that ends them. */
static void put_head(struct cs_str *req, const char *method, const char *path, bool upgrade)
{
	int api = wanted_api();
	bool ping = strcmp(path, "/_ping") == 0;

	cs_str_putf(req, "%s ", method);
	if (!ping)
		cs_str_putf(req, "/v%d.%d", api / 100, api % 100);
	put_path(req, path);
	cs_str_puts(req, " HTTP/1.1\r\n");
	cs_str_putf(req, "Host: %s\r\nUser-Agent: Caisson-Client/" CAISSON_VERSION "\r\n", endpoint_authority());
	put_own_headers(req);
	cs_str_puts(req, upgrade ? "Connection: Upgrade\r\nUpgrade: tcp\r\n" : "Connection: close\r\n");
	if (client_accept)
		cs_str_putf(req, "Accept: %s\r\n", client_accept);
	if (client_registry_auth)
		cs_str_putf(req, "X-Registry-Auth: %s\r\n", client_registry_auth);
}

static int send_request(const char *method, const char *path, const char *body, size_t body_len, bool upgrade, struct reply *r, struct cs_err **err)
{
	cs_autostr struct cs_str req = CS_STR_INIT((size_t)32 << 20);

	r->fd = check_environment(err) < 0 ? -1 : endpoint_dial(err);
	if (r->fd < 0)
		return -1;
	put_head(&req, method, path, upgrade);
	if (body)
		cs_str_puts(&req, "Content-Type: application/json\r\n");
	if (body || strcmp(method, "POST") == 0)
		cs_str_putf(&req, "Content-Length: %zu\r\n", body_len);
	cs_str_puts(&req, "\r\n");
	if (body)
		cs_str_put(&req, body, body_len);
	int e = req.failed ? -EMSGSIZE : write_all(r->fd, req.buf, req.len);
	/* a server that closed early may have said why */
	if (e < 0 && e != -EPIPE && e != -ECONNRESET)
		return cs_fail(err, CS_ERR_UNAVAILABLE, -e, "error during connect: send the request");
	r->no_body = strcmp(method, "HEAD") == 0;
	return 0;
}

static int try_open(const char *method, const char *path, const char *body, size_t body_len, bool upgrade, struct reply *r, struct cs_err **err)
{
	if (send_request(method, path, body, body_len, upgrade, r, err) < 0 || finish_open(r, err) < 0)
		return -1;
	if (upgrade && r->status != 101)
		return cs_fail(err, CS_ERR_INTERNAL, 0, "unable to upgrade to tcp, received %d", r->status);
	return 0;
}

int client_send(const char *method, const char *path, struct reply *r, struct cs_err **err)
{
	return client_api(err) < 0 ? -1 : send_request(method, path, NULL, 0, false, r, err);
}

int client_answer(struct reply *r, struct cs_err **err) { return finish_open(r, err); }

int client_open(const char *method, const char *path, const char *body, size_t body_len, bool upgrade, struct reply *r, struct cs_err **err)
{
	struct cs_err *mine = NULL;
	int asked = wanted_api();

	if (try_open(method, path, body, body_len, upgrade, r, &mine) == 0) {
		if (!api_version)
			learn_api(r->api ? r->api : asked);
		return 0;
	}
	/* An older engine refuses our version with 400 and names its own: once more with that. It has done nothing yet. */
	bool too_new = r->status == 400 && r->api >= 124 && r->api < asked && !api_pinned && !api_version;
	if (!too_new)
		return cs_err_move(err, mine);
	cs_err_free(mine);
	learn_api(r->api);
	reply_done(r);
	*r = (struct reply)REPLY_INIT;
	return try_open(method, path, body, body_len, upgrade, r, err);
}

int client_stream_begin(const char *method, const char *path, struct reply *r, struct cs_err **err)
{
	cs_autostr struct cs_str head = CS_STR_INIT(1 << 20);

	if (check_environment(err) < 0 || client_api(err) < 0) /* a stream cannot be sent twice */
		return -1;
	r->fd = endpoint_dial(err);
	if (r->fd < 0)
		return -1;
	put_head(&head, method, path, false);
	cs_str_puts(&head, "Content-Type: application/x-tar\r\nTransfer-Encoding: chunked\r\n\r\n");
	int e = head.failed ? -EMSGSIZE : write_all(r->fd, head.buf, head.len);
	return e < 0 ? cs_fail(err, CS_ERR_UNAVAILABLE, -e, "send the archive") : 0;
}

int client_stream_put(struct reply *r, const void *data, size_t len, struct cs_err **err)
{
	char size[24];
	int n = snprintf(size, sizeof(size), "%zx\r\n", len), e = len ? write_all(r->fd, size, (size_t)n) : 0;

	if (e == 0 && len)
		e = write_all(r->fd, data, len);
	if (e == 0 && len)
		e = write_all(r->fd, "\r\n", 2);
	/* the engine may have answered early with an error and closed: its answer says more than EPIPE */
	if (e == -EPIPE || e == -ECONNRESET)
		return 1;
	return e < 0 ? cs_fail(err, CS_ERR_UNAVAILABLE, -e, "send the archive") : 0;
}

int client_stream_end(struct reply *r, struct cs_err **err)
{
	(void)write_all(r->fd, "0\r\n\r\n", 5); /* a failure shows in the answer */
	return finish_open(r, err);
}

int client_upload(const char *method, const char *path, int fd, struct reply *r, struct cs_err **err)
{
	cs_autofree char *buf = cs_xmalloc(256 * 1024);
	ssize_t n;
	int put = 0;

	if (client_stream_begin(method, path, r, err) < 0)
		return -1;
	while (put == 0 && (n = cs_read_full(fd, buf, 256 * 1024)) != 0) {
		if (n < 0)
			return cs_fail(err, CS_ERR_INTERNAL, (int)-n, "read the archive");
		put = client_stream_put(r, buf, (size_t)n, err);
	}
	return put < 0 ? -1 : client_stream_end(r, err);
}

/* Reads the size line of the next chunk. */
static int next_chunk(struct reply *r, struct cs_err **err)
{
	cs_autofree char *line = header_line(r, err);
	if (!line)
		return -1;
	if (!*line) { /* the line end after the previous chunk */
		free(line);
		line = header_line(r, err);
		if (!line)
			return -1;
	}
	char *end;
	errno = 0;
	unsigned long long n = strtoull(line, &end, 16);
	if (errno || end == line || n > INT64_MAX)
		return cs_fail(err, CS_ERR_INTERNAL, 0, "bad chunk size: %.32s", line);
	r->left = (int64_t)n;
	r->eof = n == 0;
	return 0;
}

ssize_t reply_read(struct reply *r, void *buf, size_t max, struct cs_err **err)
{
	if (!r->eof && r->chunked && r->left == 0 && next_chunk(r, err) < 0)
		return -1;
	if (r->eof || (!r->chunked && r->left == 0))
		return 0;
	if (r->buf.len == 0) {
		int more = fill(r, err);
		if (more < 0)
			return -1;
		if (more == 0) {
			if (r->left > 0 || r->chunked)
				return cs_fail(err, CS_ERR_UNAVAILABLE, 0, "the connection to the engine was lost in the middle of its answer");
			r->eof = true;
			return 0;
		}
	}
	size_t n = CS_MIN(max, r->buf.len);
	if (r->left >= 0)
		n = CS_MIN(n, (size_t)r->left);
	memcpy(buf, r->buf.buf, n);
	cs_str_consume(&r->buf, n);
	if (r->left > 0)
		r->left -= (int64_t)n;
	return (ssize_t)n;
}

bool reply_buffered(const struct reply *r)
{
	if (r->eof)
		return true;
	if (!r->chunked || r->left > 0)
		return r->buf.len > 0;
	size_t skip = r->buf.len && r->buf.buf[0] == '\r' ? 2 : 0; /* the line end after the previous chunk */
	return r->buf.len > skip && memchr(r->buf.buf + skip, '\n', r->buf.len - skip);
}

char *reply_line(struct reply *r, struct cs_err **err)
{
	struct cs_str line = CS_STR_INIT((size_t)16 << 20);
	char c;
	ssize_t n;

	while ((n = reply_read(r, &c, 1, err)) > 0 && c != '\n')
		cs_str_putc(&line, c);
	if (n <= 0 && line.len == 0) {
		cs_str_done(&line);
		return NULL;
	}
	return cs_str_steal(&line);
}

static int not_json(const char *why, struct cs_err **err) { return cs_fail(err, CS_ERR_INTERNAL, 0, "the engine's answer is not JSON: %s", why); }

json_t *reply_message(struct reply *r, struct cs_err **err)
{
	for (;;) {
		cs_autofree char *line = reply_line(r, err);
		json_error_t why;
		if (!line)
			return NULL;
		if (!line[strspn(line, " \t\r")])
			continue;
		json_t *j = json_loads(line, 0, &why);
		if (!j)
			(void)not_json(why.text, err);
		return j;
	}
}

void reply_done(struct reply *r)
{
	cs_close(r->fd);
	r->fd = -EBADF;
	free(TAKE_PTR(r->path_stat));
	free(TAKE_PTR(r->reason));
	cs_str_done(&r->buf);
}

int client_json(const char *method, const char *path, json_t *body, json_t **ret, struct cs_err **err)
{
	auto_reply struct reply r = REPLY_INIT;
	cs_autostr struct cs_str text = CS_STR_INIT((size_t)256 << 20);
	cs_autofree char *send = body ? json_dumps(body, JSON_COMPACT) : NULL;
	char tmp[16384];
	ssize_t n;

	if (client_open(method, path, send, send ? strlen(send) : 0, false, &r, err) < 0)
		return -1;
	while ((n = reply_read(&r, tmp, sizeof(tmp), err)) > 0)
		cs_str_put(&text, tmp, (size_t)n);
	if (n < 0)
		return -1;
	if (ret) {
		json_error_t e;
		*ret = text.len ? json_loadb(text.buf, text.len, JSON_DECODE_ANY, &e) : NULL;
		if (text.len && !*ret)
			return not_json(e.text, err);
	}
	return r.status;
}

int client_named(const char *kind, const char *name, struct cs_err **err)
{
	return *name ? 0 : cs_fail(err, CS_ERR_INVALID, 0, "invalid %s name or ID: value is empty", kind);
}

char *url_encode(const char *s)
{
	static const char hex[] = "0123456789ABCDEF";
	struct cs_str out = CS_STR_INIT(1 << 20);

	for (; s && *s; s++) {
		unsigned char c = (unsigned char)*s;
		if ((c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || strchr("-_.~/:@", c))
			cs_str_putc(&out, (char)c);
		else
			cs_str_put(&out, (char[]){'%', hex[c >> 4], hex[c & 15]}, 3);
	}
	char *text = cs_str_steal(&out);
	return text ? text : cs_xstrdup("");
}
