/* SPDX-License-Identifier: Apache-2.0
 *
 * See packet.h. Runs in the worker's only thread; owns nothing. */
#include "worker/packet.h"

#define MAX_DETACH 64

bool cs_packet_id_ok(const char *id)
{
	if (*id == '.')
		return false;
	for (; *id; id++) {
		char c = *id;
		if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '.' || c == '-'))
			return false;
	}
	return true;
}

static int bad(const char **why, const char *text)
{
	*why = text;
	return -EINVAL;
}

/* Every request with a payload begins with the id, whatever else its struct holds. */
static int take_id(const char *body, struct cs_w_request *r, const char **why)
{
	if (!memchr(body, 0, CS_W_ID_MAX))
		return bad(why, "id is not terminated");
	memcpy(r->id, body, strnlen(body, CS_W_ID_MAX - 1));
	return cs_packet_id_ok(r->id) ? 0 : bad(why, "id has a forbidden character");
}

/* Two byte strings after the struct, whose lengths must fill the packet exactly. */
static int take_tail(const uint8_t *tail, size_t left, uint32_t a, uint32_t b, const uint8_t **ra, const uint8_t **rb, const char **why)
{
	if (a > left || b != left - a)
		return bad(why, "lengths do not add up");
	*ra = tail;
	*rb = tail + a;
	return 0;
}

static int decode_exec(const uint8_t *body, size_t len, size_t n_fds, struct cs_w_request *r, const char **why)
{
	struct cs_w_exec x;

	memcpy(&x, body, sizeof(x));
	if (!r->id[0])
		return bad(why, "an exec needs an id");
	if (x.has_client > 1 || n_fds != 1u + x.has_client)
		return bad(why, "wrong number of descriptors");
	r->has_client = x.has_client;
	r->want_stdin = x.want_stdin;
	r->want_stdout = x.want_stdout;
	r->want_stderr = x.want_stderr;
	r->framed = x.framed;
	r->detach_len = x.detach_len;
	r->input_len = x.input_len;
	if (x.detach_len > MAX_DETACH)
		return bad(why, "detach sequence is too long");
	return take_tail(body + sizeof(x), len - sizeof(x), x.detach_len, x.input_len, &r->detach, &r->input, why);
}

static int decode_attach(const uint8_t *body, size_t len, size_t n_fds, struct cs_w_request *r, const char **why)
{
	struct cs_w_attach x;

	memcpy(&x, body, sizeof(x));
	if (n_fds != 1)
		return bad(why, "wrong number of descriptors");
	r->has_client = true;
	r->want_stdin = x.want_stdin;
	r->want_stdout = x.want_stdout;
	r->want_stderr = x.want_stderr;
	r->framed = x.framed;
	r->detach_len = x.detach_len;
	r->input_len = x.input_len;
	r->since = x.since;
	if (x.detach_len > MAX_DETACH)
		return bad(why, "detach sequence is too long");
	return take_tail(body + sizeof(x), len - sizeof(x), x.detach_len, x.input_len, &r->detach, &r->input, why);
}

static int decode_watch(const uint8_t *body, size_t len, size_t n_fds, struct cs_w_request *r, const char **why)
{
	struct cs_w_watch x;

	memcpy(&x, body, sizeof(x));
	if (n_fds != 1)
		return bad(why, "wrong number of descriptors");
	r->has_client = true;
	r->prefix_len = x.prefix_len;
	r->suffix_len = x.suffix_len;
	return take_tail(body + sizeof(x), len - sizeof(x), x.prefix_len, x.suffix_len, &r->prefix, &r->suffix, why);
}

static int decode_small(const uint8_t *body, size_t n_fds, struct cs_w_request *r, const char **why)
{
	if (n_fds)
		return bad(why, "unexpected descriptor");
	if (r->h.type == CS_W_RESIZE) {
		struct cs_w_resize x;
		memcpy(&x, body, sizeof(x));
		r->rows = x.rows;
		r->cols = x.cols;
	} else if (r->h.type == CS_W_SIGNAL) {
		struct cs_w_signal x;
		memcpy(&x, body, sizeof(x));
		if (x.sig < 0 || x.sig > 64)
			return bad(why, "no such signal");
		r->sig = x.sig;
	}
	return 0;
}

int cs_packet_decode(const void *data, size_t len, size_t n_fds, struct cs_w_request *r, const char **why)
{
	/* payload: struct size; 0 = no payload */
	static const uint16_t size[] = {
		[CS_W_HELLO - CS_W_NONE] = 0,
		[CS_W_EXEC - CS_W_NONE] = sizeof(struct cs_w_exec),
		[CS_W_ATTACH - CS_W_NONE] = sizeof(struct cs_w_attach),
		[CS_W_RESIZE - CS_W_NONE] = sizeof(struct cs_w_resize),
		[CS_W_CLOSE_STDIN - CS_W_NONE] = sizeof(struct cs_w_id),
		[CS_W_WATCH_EXIT - CS_W_NONE] = sizeof(struct cs_w_watch),
		[CS_W_SIGNAL - CS_W_NONE] = sizeof(struct cs_w_signal),
		[CS_W_LIST - CS_W_NONE] = 0,
		[CS_W_RELEASE - CS_W_NONE] = sizeof(struct cs_w_id),
		[CS_W_REOPEN_LOG - CS_W_NONE] = 0,
		[CS_W_QUIT - CS_W_NONE] = 0,
		[CS_W_KILL - CS_W_NONE] = 0,
	};
	const uint8_t *body = (const uint8_t *)data + sizeof(r->h);

	*r = (struct cs_w_request){0};
	*why = "not a packet of this protocol";
	if (len < sizeof(r->h) || len > CS_W_MAX_PACKET)
		return -EBADMSG;
	memcpy(&r->h, data, sizeof(r->h));
	if (r->h.magic != CS_W_MAGIC)
		return -EBADMSG;
	if (r->h.type <= CS_W_NONE || r->h.type - CS_W_NONE >= CS_ARRAY_SIZE(size)) {
		*why = "unknown request";
		return -ENOSYS;
	}
	len -= sizeof(r->h);
	size_t need = size[r->h.type - CS_W_NONE];
	if (len < need)
		return bad(why, "packet is too short");
	if (need && take_id((const char *)body, r, why) < 0)
		return -EINVAL;
	switch (r->h.type) {
	case CS_W_EXEC:
		return decode_exec(body, len, n_fds, r, why);
	case CS_W_ATTACH:
		return decode_attach(body, len, n_fds, r, why);
	case CS_W_WATCH_EXIT:
		return decode_watch(body, len, n_fds, r, why);
	default: /* longer than we know: a newer engine's appended fields */
		return decode_small(body, n_fds, r, why);
	}
}
