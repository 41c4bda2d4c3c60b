/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/client.h"

#include <netdb.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/io.h"
#include "base/num.h"

const char *client_host = "unix:///run/caisson.sock";
const char *client_registry_auth;

static int unreachable(struct cs_err **err, int sys)
{
	return cs_fail(err, CS_ERR_UNAVAILABLE, sys, "Cannot connect to the Caisson daemon at %s. Is the caisson daemon running?", client_host);
}

static int connect_unix(const char *path, struct cs_err **err)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};

	if (strlen(path) >= sizeof(a.sun_path))
		return cs_fail(err, CS_ERR_INVALID, 0, "socket path is longer than %zu bytes: %s", sizeof(a.sun_path) - 1, path);
	memcpy(a.sun_path, path, strlen(path) + 1);
	cs_autofd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		return unreachable(err, errno);
	return TAKE_FD(fd);
}

static int connect_tcp(const char *addr, struct cs_err **err)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
	const char *colon = strrchr(addr, ':');
	if (!colon)
		return cs_fail(err, CS_ERR_INVALID, 0, "host needs a port: tcp://%s", addr);
	cs_autofree char *name = cs_xstrndup(addr, (size_t)(colon - addr));
	cs_autofree char *port = cs_xstrndup(colon + 1, strcspn(colon + 1, "/"));
	int r = getaddrinfo(name, port, &hints, &list);
	if (r)
		return cs_fail(err, CS_ERR_UNAVAILABLE, 0, "%s: %s", client_host, gai_strerror(r));
	int fd = -EBADF, e = ECONNREFUSED;
	for (struct addrinfo *a = list; a && fd < 0; a = a->ai_next) {
		fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
		if (fd >= 0 && connect(fd, a->ai_addr, a->ai_addrlen) < 0) {
			e = errno;
			cs_close(fd);
			fd = -EBADF;
		}
	}
	freeaddrinfo(list);
	return fd >= 0 ? fd : unreachable(err, e);
}

static int dial(struct cs_err **err)
{
	const char *p;

	if ((p = cs_prefix(client_host, "unix://")))
		return connect_unix(p, err);
	if ((p = cs_prefix(client_host, "tcp://")) || (p = cs_prefix(client_host, "http://")))
		return connect_tcp(p, err);
	return cs_fail(err, CS_ERR_INVALID, 0, "host must start with unix:// or tcp://: %s", client_host);
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
			if (more == 0)
				cs_fail(err, CS_ERR_UNAVAILABLE, 0, "the engine closed the connection");
			return NULL;
		}
	}
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
		else if (strcasecmp(line, "content-type") == 0)
			(void)snprintf(r->content_type, sizeof(r->content_type), "%s", val);
	}
	if (r->chunked)
		r->left = 0;
	if (r->status == 204 || r->status == 304)
		r->eof = true;
	return 0;
}

static enum cs_code code_of(int status)
{
	static const enum cs_code codes[] = {CS_ERR_INVALID, CS_ERR_NOT_FOUND, CS_ERR_CONFLICT, CS_ERR_DENIED, CS_ERR_UNSUPPORTED, CS_ERR_UNAVAILABLE};
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
	cs_fail(err, code_of(r->status), 0, "Error response from daemon: %s", msg ? msg : "the engine answered with an error and no message");
	json_decref(j);
	return -1;
}

static int finish_open(struct reply *r, struct cs_err **err)
{
	if (read_headers(r, err) < 0)
		return -1;
	return r->status >= 400 ? api_error(r, err) : 0;
}

int client_open(const char *method, const char *path, const char *body, size_t body_len, bool upgrade, struct reply *r, struct cs_err **err)
{
	cs_autostr struct cs_str req = CS_STR_INIT((size_t)32 << 20);

	r->fd = dial(err);
	if (r->fd < 0)
		return -1;
	cs_str_putf(&req, "%s /v" CLIENT_API "%s HTTP/1.1\r\nHost: caisson\r\nUser-Agent: caisson\r\n", method, path);
	cs_str_puts(&req, upgrade ? "Connection: Upgrade\r\nUpgrade: tcp\r\n" : "Connection: close\r\n");
	if (client_registry_auth)
		cs_str_putf(&req, "X-Registry-Auth: %s\r\n", client_registry_auth);
	if (body)
		cs_str_puts(&req, "Content-Type: application/json\r\n");
	if (body || strcmp(method, "POST") == 0)
		cs_str_putf(&req, "Content-Length: %zu\r\n", body_len);
	cs_str_puts(&req, "\r\n");
	if (body)
		cs_str_put(&req, body, body_len);
	int e = req.failed ? -EMSGSIZE : cs_write_full(r->fd, req.buf, req.len);
	if (e < 0)
		return cs_fail(err, CS_ERR_UNAVAILABLE, -e, "send the request");
	return finish_open(r, err);
}

int client_upload(const char *path, int fd, struct reply *r, struct cs_err **err)
{
	cs_autofree char *buf = cs_xmalloc(256 * 1024);
	cs_autofree char *head = cs_xasprintf("POST /v" CLIENT_API "%s HTTP/1.1\r\nHost: caisson\r\nConnection: close\r\n"
					      "Content-Type: application/x-tar\r\nTransfer-Encoding: chunked\r\n\r\n", path);
	r->fd = dial(err);
	if (r->fd < 0)
		return -1;
	int e = cs_write_full(r->fd, head, strlen(head));
	while (e == 0) {
		char size[24];
		ssize_t n = cs_read_full(fd, buf, 256 * 1024);
		if (n < 0)
			return cs_fail(err, CS_ERR_INTERNAL, (int)-n, "read the archive");
		int len = snprintf(size, sizeof(size), "%zx\r\n", (size_t)n);
		e = cs_write_full(r->fd, size, (size_t)len);
		if (e == 0 && n > 0)
			e = cs_write_full(r->fd, buf, (size_t)n);
		if (e == 0)
			e = cs_write_full(r->fd, "\r\n", 2);
		if (n == 0)
			break;
	}
	/* the engine may have answered early with an error and closed: its answer says more than EPIPE */
	if (e < 0 && e != -EPIPE && e != -ECONNRESET)
		return cs_fail(err, CS_ERR_UNAVAILABLE, -e, "send the archive");
	return finish_open(r, err);
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
				return cs_fail(err, CS_ERR_UNAVAILABLE, 0, "the engine closed the connection in the middle of its answer");
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

void reply_done(struct reply *r)
{
	cs_close(r->fd);
	r->fd = -EBADF;
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
			return cs_fail(err, CS_ERR_INTERNAL, 0, "the engine's answer is not JSON: %s", e.text);
	}
	return r.status;
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
