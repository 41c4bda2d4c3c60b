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

/* The payload: the struct, as long as the sender knows it, and the tail behind it. */
struct payload {
	const uint8_t *body, *tail;
	size_t fixed, left;
};

/* What the sender did not know is zero. */
static void take_struct(const struct payload *p, void *ret, size_t size)
{
	memset(ret, 0, size);
	memcpy(ret, p->body, CS_MIN(size, p->fixed));
}

/* Two byte strings after the struct, whose lengths must fill the packet exactly. */
static int take_tail(const struct payload *p, uint32_t a, uint32_t b, const uint8_t **ra, const uint8_t **rb, const char **why)
{
	if (a > p->left || b != p->left - a)
		return bad(why, "lengths do not add up");
	*ra = p->tail;
	*rb = p->tail + a;
	return 0;
}

/* What a client wants; the tail is the detach keys and what it has already sent. */
static int take_streams(const struct payload *p, const struct cs_w_streams *s, uint32_t detach_len, uint32_t input_len, struct cs_w_request *r, const char **why)
{
	r->want_stdin = s->want_stdin;
	r->want_stdout = s->want_stdout;
	r->want_stderr = s->want_stderr;
	r->framed = s->framed;
	r->detach_len = detach_len;
	r->input_len = input_len;
	if (detach_len > MAX_DETACH)
		return bad(why, "detach sequence is too long");
	return take_tail(p, detach_len, input_len, &r->detach, &r->input, why);
}

static int decode_exec(const struct payload *p, size_t n_fds, struct cs_w_request *r, const char **why)
{
	struct cs_w_exec x;

	take_struct(p, &x, sizeof(x));
	if (!r->id[0])
		return bad(why, "an exec needs an id");
	if (x.has_client > 1 || n_fds != 1u + x.has_client)
		return bad(why, "wrong number of descriptors");
	r->has_client = x.has_client;
	return take_streams(p, &x.streams, x.detach_len, x.input_len, r, why);
}

static int decode_attach(const struct payload *p, size_t n_fds, struct cs_w_request *r, const char **why)
{
	struct cs_w_attach x;

	take_struct(p, &x, sizeof(x));
	if (n_fds != 1)
		return bad(why, "wrong number of descriptors");
	r->has_client = true;
	r->since = x.since;
	r->token = CS_W_PROTOCOL >= 2 ? x.token : 0;
	return take_streams(p, &x.streams, x.detach_len, x.input_len, r, why);
}

static int decode_watch(const struct payload *p, size_t n_fds, struct cs_w_request *r, const char **why)
{
	struct cs_w_watch x;

	take_struct(p, &x, sizeof(x));
	if (n_fds != 1)
		return bad(why, "wrong number of descriptors");
	r->has_client = true;
	r->prefix_len = x.prefix_len;
	r->suffix_len = x.suffix_len;
	return take_tail(p, x.prefix_len, x.suffix_len, &r->prefix, &r->suffix, why);
}

static int decode_follow(const struct payload *p, size_t n_fds, struct cs_w_request *r, const char **why)
{
	const uint8_t *rest;

	take_struct(p, &r->follow, sizeof(r->follow));
	if (n_fds != 2)
		return bad(why, "wrong number of descriptors");
	if (r->id[0])
		return bad(why, "only init's output is logged");
	if (r->follow.details_len > CS_PACKET_DETAILS_MAX)
		return bad(why, "details are too long");
	if (r->follow.offset < 0 || r->follow.since < 0 || r->follow.until < 0)
		return bad(why, "negative position or time");
	return take_tail(p, r->follow.details_len, 0, &r->details, &rest, why);
}

static int decode_small(const struct payload *p, size_t n_fds, struct cs_w_request *r, const char **why)
{
	union {
		struct cs_w_resize resize;
		struct cs_w_signal signal;
		struct cs_w_reserve reserve;
		struct cs_w_token token;
		struct cs_w_hello_request hello;
	} x;

	if (n_fds)
		return bad(why, "unexpected descriptor");
	take_struct(p, &x, sizeof(x));
	switch (r->h.type) {
	case CS_W_HELLO:
		/* version 1 sent bytes that mean nothing */
		r->protocol = r->h.fixed ? x.hello.protocol : 1;
		break;
	case CS_W_RESIZE:
		r->rows = x.resize.rows;
		r->cols = x.resize.cols;
		break;
	case CS_W_SIGNAL:
		if (x.signal.sig < 0 || x.signal.sig > 64)
			return bad(why, "no such signal");
		r->sig = x.signal.sig;
		break;
	case CS_W_RESERVE:
		if (r->id[0])
			return bad(why, "only init's output is kept");
		r->want_stdout = x.reserve.want_stdout;
		r->want_stderr = x.reserve.want_stderr;
		r->framed = x.reserve.framed;
		r->after_log = x.reserve.after_log;
		r->log_only = x.reserve.log_only;
		break;
	case CS_W_CANCEL:
		r->token = x.token.token;
		break;
	default:
		break;
	}
	return 0;
}

int cs_packet_decode(const void *data, size_t len, size_t n_fds, struct cs_w_request *r, const char **why)
{
	/* length of the struct in the oldest version that had it, and which that was; 0 = no payload needed */
	static const struct {
		uint16_t size, version;
	} known[] = {
		[CS_W_HELLO - CS_W_NONE] = {0, 1},
		[CS_W_EXEC - CS_W_NONE] = {sizeof(struct cs_w_exec), 1},
		[CS_W_ATTACH - CS_W_NONE] = {CS_W_ATTACH_V1, 1},
		[CS_W_RESIZE - CS_W_NONE] = {sizeof(struct cs_w_resize), 1},
		[CS_W_CLOSE_STDIN - CS_W_NONE] = {sizeof(struct cs_w_id), 1},
		[CS_W_WATCH_EXIT - CS_W_NONE] = {sizeof(struct cs_w_watch), 1},
		[CS_W_SIGNAL - CS_W_NONE] = {sizeof(struct cs_w_signal), 1},
		[CS_W_LIST - CS_W_NONE] = {0, 1},
		[CS_W_RELEASE - CS_W_NONE] = {sizeof(struct cs_w_id), 1},
		[CS_W_REOPEN_LOG - CS_W_NONE] = {0, 1},
		[CS_W_QUIT - CS_W_NONE] = {0, 1},
		[CS_W_KILL - CS_W_NONE] = {0, 1},
		[CS_W_FOLLOW - CS_W_NONE] = {sizeof(struct cs_w_follow), 2},
		[CS_W_RESERVE - CS_W_NONE] = {sizeof(struct cs_w_reserve), 2},
		[CS_W_CANCEL - CS_W_NONE] = {sizeof(struct cs_w_token), 2},
	};
	struct payload p = {.body = (const uint8_t *)data + sizeof(r->h)};

	*r = (struct cs_w_request){0};
	*why = "not a packet of this protocol";
	if (len < sizeof(r->h) || len > CS_W_MAX_PACKET)
		return -EBADMSG;
	memcpy(&r->h, data, sizeof(r->h));
	if (r->h.magic != CS_W_MAGIC)
		return -EBADMSG;
	if (CS_W_PROTOCOL < 2)
		r->h.fixed = 0;
	size_t i = r->h.type - CS_W_NONE;
	if (r->h.type <= CS_W_NONE || i >= CS_ARRAY_SIZE(known) || known[i].version > CS_W_PROTOCOL) {
		*why = "unknown request";
		return -ENOSYS;
	}
	len -= sizeof(r->h);
	p.fixed = r->h.fixed ? r->h.fixed : known[i].size;
	if (len < p.fixed || p.fixed < known[i].size)
		return bad(why, "packet is too short");
	p.tail = p.body + p.fixed;
	p.left = len - p.fixed;
	if (known[i].size && take_id((const char *)p.body, r, why) < 0)
		return -EINVAL;
	switch (r->h.type) {
	case CS_W_EXEC:
		return decode_exec(&p, n_fds, r, why);
	case CS_W_ATTACH:
		return decode_attach(&p, n_fds, r, why);
	case CS_W_WATCH_EXIT:
		return decode_watch(&p, n_fds, r, why);
	case CS_W_FOLLOW:
		return decode_follow(&p, n_fds, r, why);
	default:
		return decode_small(&p, n_fds, r, why);
	}
}
