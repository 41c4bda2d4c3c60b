/* SPDX-License-Identifier: Apache-2.0
 *
 * Client sockets on their way to a worker: JSON settings to packets, also for clients that came before the start. Any thread. */
#include <nettle/base64.h>
#include <sys/socket.h>

#include "base/io.h"
#include "base/json.h"
#include "compute/internal.h"

int cs_base64_put(const char *text, const char *path, struct cs_str *out, struct cs_err **err)
{
	struct base64_decode_ctx c;
	size_t n = strlen(text), got = 0;

	if (n == 0)
		return 0;
	uint8_t *p = (uint8_t *)cs_str_reserve(out, BASE64_DECODE_LENGTH(n));
	if (out->failed)
		return cs_fail(err, CS_ERR_INVALID, EMSGSIZE, "%s.InitialInput: is too long", path);
	base64_decode_init(&c);
	if (n % 4 != 0 || !base64_decode_update(&c, &got, p, n, text) || !base64_decode_final(&c))
		return cs_fail(err, CS_ERR_INVALID, 0, "%s.InitialInput: is not base64", path);
	out->len += got;
	out->buf[out->len] = 0;
	return 0;
}

int cs_attach_pack(json_t *o, const char *path, const char *id, struct cs_w_attach *ret, struct cs_str *tail, struct cs_err **err)
{
	static const char *const known[] = {"StdIn", "StdOut", "StdErr", "Framed", "DetachKeys", "InitialInput", "Since", "Token", NULL};
	bool in = false, out = false, error = false, framed = false;
	const char *input = "";
	unsigned char keys[16];
	size_t n_keys = 0;
	int64_t since = 0, token = 0;

	if (cs_field_is_obj(o, path, err) < 0 || cs_field_only(o, path, known, err) < 0 || cs_field_bool(o, path, "StdIn", &in, err) < 0 ||
	    cs_field_bool(o, path, "StdOut", &out, err) < 0 || cs_field_bool(o, path, "StdErr", &error, err) < 0 ||
	    cs_field_bool(o, path, "Framed", &framed, err) < 0 || cs_field_str(o, path, "InitialInput", 0, &input, err) < 0 ||
	    cs_field_i64(o, path, "Since", 0, INT64_MAX, &since, err) < 0 || cs_field_i64(o, path, "Token", 0, INT64_MAX, &token, err) < 0 ||
	    cs_detach_keys(json_object_get(o, "DetachKeys"), path, keys, &n_keys, err) < 0)
		return -1;
	*ret = (struct cs_w_attach){.streams = {in, out, error, framed}, .detach_len = (uint32_t)n_keys, .since = since, .token = (uint64_t)token};
	(void)snprintf(ret->id, sizeof(ret->id), "%s", id);
	cs_str_put(tail, keys, n_keys);
	size_t before = tail->len;
	if (cs_base64_put(input, path, tail, err) < 0)
		return -1;
	ret->input_len = (uint32_t)(tail->len - before);
	if (tail->len + sizeof(*ret) + sizeof(struct cs_w_header) > CS_W_MAX_PACKET)
		return cs_fail(err, CS_ERR_INVALID, EMSGSIZE, "%s.InitialInput: is too long", path);
	return 0;
}

int cs_watch_pack(json_t *o, const char *path, const char *id, struct cs_w_watch *ret, struct cs_str *tail, struct cs_err **err)
{
	static const char *const known[] = {"Prefix", "Suffix", NULL};
	const char *prefix = "", *suffix = "";

	if (cs_field_is_obj(o, path, err) < 0 || cs_field_only(o, path, known, err) < 0 ||
	    cs_field_str(o, path, "Prefix", 0, &prefix, err) < 0 || cs_field_str(o, path, "Suffix", 0, &suffix, err) < 0)
		return -1;
	*ret = (struct cs_w_watch){.prefix_len = (uint32_t)strlen(prefix), .suffix_len = (uint32_t)strlen(suffix)};
	(void)snprintf(ret->id, sizeof(ret->id), "%s", id);
	cs_str_puts(tail, prefix);
	cs_str_puts(tail, suffix);
	if (tail->failed || tail->len > 4096)
		return cs_fail(err, CS_ERR_INVALID, EMSGSIZE, "%s: Prefix and Suffix are too long", path);
	return 0;
}

int cs_follow_pack(json_t *o, const char *path, struct cs_w_follow *ret, struct cs_str *tail, struct cs_err **err)
{
	static const char *const known[] = {"StdOut", "StdErr", "Framed", "Timestamps", "Chunked", "Details", "Token", "Device", "Inode", "Offset", "Since", "Until", NULL};
	bool out = false, error = false, framed = false, stamps = false, chunked = false;
	int64_t dev = 0, ino = 0, token = 0;
	const char *details = "";

	*ret = (struct cs_w_follow){0};
	if (cs_field_is_obj(o, path, err) < 0 || cs_field_only(o, path, known, err) < 0 || cs_field_bool(o, path, "StdOut", &out, err) < 0 ||
	    cs_field_bool(o, path, "StdErr", &error, err) < 0 || cs_field_bool(o, path, "Framed", &framed, err) < 0 ||
	    cs_field_bool(o, path, "Timestamps", &stamps, err) < 0 || cs_field_bool(o, path, "Chunked", &chunked, err) < 0 ||
	    cs_field_str(o, path, "Details", 0, &details, err) < 0 || cs_field_i64(o, path, "Token", 0, INT64_MAX, &token, err) < 0 || cs_field_i64(o, path, "Device", INT64_MIN, INT64_MAX, &dev, err) < 0 ||
	    cs_field_i64(o, path, "Inode", INT64_MIN, INT64_MAX, &ino, err) < 0 || cs_field_i64(o, path, "Offset", 0, INT64_MAX, &ret->offset, err) < 0 ||
	    cs_field_i64(o, path, "Since", 0, INT64_MAX, &ret->since, err) < 0 || cs_field_i64(o, path, "Until", 0, INT64_MAX, &ret->until, err) < 0)
		return -1;
	ret->want_stdout = out;
	ret->want_stderr = error;
	ret->framed = framed;
	ret->timestamps = stamps;
	ret->chunked = chunked;
	ret->token = (uint64_t)token;
	ret->dev = (uint64_t)dev;
	ret->ino = (uint64_t)ino;
	ret->details_len = (uint32_t)strlen(details);
	cs_str_puts(tail, details);
	return 0;
}

int cs_reserve_pack(json_t *o, const char *path, struct cs_w_reserve *ret, struct cs_err **err)
{
	static const char *const known[] = {"StdOut", "StdErr", "Framed", "AfterLog", "LogOnly", NULL};
	bool out = false, error = false, framed = false, after = false, log_only = false;

	if (cs_field_is_obj(o, path, err) < 0 || cs_field_only(o, path, known, err) < 0 || cs_field_bool(o, path, "StdOut", &out, err) < 0 ||
	    cs_field_bool(o, path, "StdErr", &error, err) < 0 || cs_field_bool(o, path, "Framed", &framed, err) < 0 ||
	    cs_field_bool(o, path, "AfterLog", &after, err) < 0 || cs_field_bool(o, path, "LogOnly", &log_only, err) < 0)
		return -1;
	*ret = (struct cs_w_reserve){.want_stdout = out, .want_stderr = error, .framed = framed, .after_log = after, .log_only = log_only};
	return 0;
}

char *cs_reserved_text(const struct cs_w_reserved *r)
{
	cs_autostr struct cs_str out = CS_STR_INIT(4096);

	cs_str_putc(&out, '{');
	cs_json_put_ki64(&out, "Token", (int64_t)r->token);
	cs_json_put_ki64(&out, "Device", (int64_t)r->dev);
	cs_json_put_ki64(&out, "Inode", (int64_t)r->ino);
	cs_json_put_ki64(&out, "Offset", r->offset);
	cs_json_put_ki64(&out, "At", r->at);
	cs_str_putc(&out, '}');
	return cs_str_steal(&out);
}

static int early(int sock, uint32_t seq, uint32_t type, const void *a, size_t a_len, const struct cs_str *tail, int fd, struct cs_err **err)
{
	cs_autostr struct cs_str packet = CS_STR_INIT(CS_W_MAX_PACKET);
	struct cs_w_header h = {.magic = CS_W_MAGIC, .type = type, .seq = seq, .fixed = (uint16_t)a_len};

	cs_str_put(&packet, &h, sizeof(h));
	cs_str_put(&packet, a, a_len);
	cs_str_put(&packet, tail->buf, tail->len);
	if (packet.failed)
		return cs_fail(err, CS_ERR_INVALID, EMSGSIZE, "the request is too long");
	ssize_t n = cs_send_fds(sock, packet.buf, packet.len, &fd, 1, MSG_DONTWAIT);
	return n < 0 ? cs_fail(err, CS_ERR_INTERNAL, (int)-n, "hand over a client's socket") : 0;
}

static int send_resource(int sock, uint32_t seq, const struct cs_resource *r, struct cs_err **err)
{
	cs_autostr struct cs_str tail = CS_STR_INIT(CS_W_MAX_PACKET);
	const char *stdio = cs_prefix(r->uri, "hcs:/Process/Stdio?"), *watch = cs_prefix(r->uri, "hcs:/Process/ExitWatch?");
	const char *text = stdio ? stdio : watch;
	struct cs_w_attach at;
	struct cs_w_watch wa;

	if (!text)
		return cs_fail(err, CS_ERR_INVALID, 0, "resource %s is not known here", r->uri);
	cs_autojson json_t *o = cs_json_parse(text, strlen(text), err);
	if (!o)
		return -1;
	if (stdio) {
		if (cs_attach_pack(o, "Stdio", "", &at, &tail, err) < 0)
			return -1;
		return early(sock, seq, CS_W_ATTACH, &at, CS_W_ATTACH_V1, &tail, r->fd, err);
	}
	if (cs_watch_pack(o, "ExitWatch", "", &wa, &tail, err) < 0)
		return -1;
	return early(sock, seq, CS_W_WATCH_EXIT, &wa, sizeof(wa), &tail, r->fd, err);
}

void cs_start_send_resource(int sock, uint32_t seq, const struct cs_resource *r, char ***warnings)
{
	cs_autoerr struct cs_err *err = NULL;

	if (send_resource(sock, seq, r, &err) < 0) {
		cs_autofree char *text = cs_err_text(err);
		cs_warnf(warnings, "a client could not be attached: %s", text);
	}
}
