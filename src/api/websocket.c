/* SPDX-License-Identifier: Apache-2.0
 *
 * Websocket clients of attach: frames on one side, a plain stream on the other. A thread per client; it owns everything here. */
#include "api/websocket.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <poll.h>
#include <sys/socket.h>

#include "api/call.h"

#define WS_BUF 16384
#define CLOSE_TIMEOUT_MS 5000 /* for the client to take our close frame */

int cs_ws_parse(const uint8_t *p, size_t n, struct cs_ws_frame *ret)
{
	size_t hl = 6; /* two bytes and the mask */
	uint64_t len;

	if (n < 2)
		return 0;
	len = p[1] & 0x7f;
	if (p[0] & 0x70 || !(p[1] & 0x80)) /* extensions were not agreed; clients must mask */
		return -1002;
	uint8_t op = p[0] & 0x0f;
	if (op > WS_PONG || (op > WS_BINARY && op < WS_CLOSE))
		return -1002;
	if (op >= WS_CLOSE && (!(p[0] & 0x80) || len > WS_CONTROL_MAX))
		return -1002;
	hl += len == 126 ? 2 : len == 127 ? 8 : 0;
	if (n < hl)
		return 0;
	if (len >= 126) {
		size_t bytes = len == 126 ? 2 : 8;
		uint64_t min = len == 126 ? 126 : 65536;
		len = 0;
		for (size_t i = 0; i < bytes; i++)
			len = len << 8 | p[2 + i];
		if (len < min || len >> 63)
			return -1002;
	}
	if (len > WS_PAYLOAD_MAX)
		return -1009;
	*ret = (struct cs_ws_frame){ .fin = p[0] & 0x80, .opcode = op, .len = len, .header_len = hl };
	memcpy(ret->mask, p + hl - 4, 4);
	return 1;
}

size_t cs_ws_format(uint8_t *p, uint8_t opcode, uint64_t len)
{
	size_t bytes = len < 126 ? 0 : len < 65536 ? 2 : 8;

	p[0] = 0x80 | opcode;
	p[1] = bytes == 0 ? (uint8_t)len : bytes == 2 ? 126 : 127;
	for (size_t i = 0; i < bytes; i++)
		p[2 + i] = (uint8_t)(len >> (8 * (bytes - 1 - i)));
	return 2 + bytes;
}

void cs_ws_unmask(uint8_t *buf, size_t n, const uint8_t mask[4], uint64_t at)
{
	for (size_t i = 0; i < n; i++)
		buf[i] ^= mask[(at + i) & 3];
}

char *cs_ws_accept(const char *key)
{
	cs_autofree char *text = cs_xasprintf("%s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
	uint8_t hash[20];
	gnutls_datum_t in = { hash, sizeof(hash) }, out = { NULL, 0 };
	char *r;

	if (gnutls_hash_fast(GNUTLS_DIG_SHA1, text, strlen(text), hash) < 0 || gnutls_base64_encode2(&in, &out) < 0)
		abort(); /* SHA-1 of a short text */
	r = cs_xstrndup((char *)out.data, out.size);
	gnutls_free(out.data);
	return r;
}

/* ---- bridge ---- */

struct queue {
	uint8_t buf[WS_BUF + 256];
	size_t start, end;
};
struct bridge {
	int client, stream;
	bool binary, in_message, stdin_gone, closing;
	struct queue in;        /* raw from the client */
	struct queue to_client, to_stream;
	struct cs_ws_frame frame; /* current */
	uint64_t at;            /* payload bytes of it consumed */
	bool have_frame;
	const char *input; /* what had come with the handshake, before the socket */
	size_t input_len;
};

static size_t queued(const struct queue *q)
{
	return q->end - q->start;
}
static size_t room(const struct queue *q)
{
	return sizeof(q->buf) - q->end;
}
static void compact(struct queue *q)
{
	memmove(q->buf, q->buf + q->start, queued(q));
	q->end -= q->start;
	q->start = 0;
}
static void put_frame(struct bridge *b, uint8_t op, const void *data, size_t n)
{
	struct queue *q = &b->to_client;

	compact(q);
	if (room(q) < n + 4) /* a client that pings without reading: its pongs are not owed for ever */
		return;
	q->end += cs_ws_format(q->buf + q->end, op, n);
	memcpy(q->buf + q->end, data, n);
	q->end += n;
}

static void put_close(struct bridge *b, int code)
{
	uint8_t c[2] = { (uint8_t)(code >> 8), (uint8_t)code };

	put_frame(b, WS_CLOSE, c, 2);
	b->closing = true;
}

static void control(struct bridge *b, const uint8_t *data, size_t n)
{
	if (b->frame.opcode == WS_PING)
		put_frame(b, WS_PONG, data, n);
	if (b->frame.opcode == WS_CLOSE) {
		put_frame(b, WS_CLOSE, data, n >= 2 ? 2 : 0);
		b->closing = true;
	}
}

static bool begin_frame(struct bridge *b)
{
	struct cs_ws_frame *f = &b->frame;
	int r = cs_ws_parse(b->in.buf + b->in.start, queued(&b->in), f);

	if (r < 0)
		put_close(b, -r);
	if (r <= 0)
		return false;
	if (f->opcode < WS_CLOSE) {
		if ((f->opcode == WS_CONT) != b->in_message) { /* a continuation of nothing, or a message within a message */
			put_close(b, 1002);
			return false;
		}
		b->in_message = !f->fin;
	}
	b->in.start += f->header_len;
	b->at = 0;
	b->have_frame = true;
	return true;
}

/* Takes what it can from b->in; stops when the stream's queue is full. */
static void decode(struct bridge *b)
{
	while (!b->closing) {
		if (!b->have_frame && !begin_frame(b))
			break;
		uint8_t *p = b->in.buf + b->in.start;
		size_t n = (size_t)CS_MIN((uint64_t)queued(&b->in), b->frame.len - b->at);
		if (b->frame.opcode >= WS_CLOSE) {
			if (n < b->frame.len)
				break; /* controls are short: wait for the whole */
			cs_ws_unmask(p, n, b->frame.mask, 0);
			control(b, p, n);
		} else {
			compact(&b->to_stream);
			n = CS_MIN(n, room(&b->to_stream));
			cs_ws_unmask(p, n, b->frame.mask, b->at);
			if (!b->stdin_gone) {
				memcpy(b->to_stream.buf + b->to_stream.end, p, n);
				b->to_stream.end += n;
			}
		}
		b->in.start += n;
		b->at += n;
		if (b->at == b->frame.len)
			b->have_frame = false;
		else
			break;
	}
	compact(&b->in);
}

static bool again(void)
{
	return errno == EAGAIN || errno == EINTR;
}

static bool flush(int fd, struct queue *q)
{
	while (queued(q) > 0) {
		ssize_t n = send(fd, q->buf + q->start, queued(q), MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0)
			return again();
		q->start += (size_t)n;
	}
	return true;
}

static bool read_client(struct bridge *b)
{
	size_t early = CS_MIN(b->input_len, room(&b->in));
	ssize_t n;

	if (early > 0) {
		memcpy(b->in.buf + b->in.end, b->input, early);
		b->in.end += early;
		b->input += early;
		b->input_len -= early;
		return true;
	}
	n = recv(b->client, b->in.buf + b->in.end, room(&b->in), MSG_DONTWAIT);
	if (n > 0)
		b->in.end += (size_t)n;
	return n > 0 || (n < 0 && again());
}

static bool read_stream(struct bridge *b)
{
	uint8_t buf[WS_BUF];
	ssize_t n = recv(b->stream, buf, sizeof(buf), MSG_DONTWAIT);

	if (n > 0)
		put_frame(b, b->binary ? WS_BINARY : WS_TEXT, buf, (size_t)n);
	else if (n == 0)
		put_close(b, 1000);
	return n >= 0 || again();
}

static bool bridge_step(struct bridge *b)
{
	struct pollfd p[2] = { { .fd = b->client }, { .fd = b->stream } };

	if (queued(&b->to_client))
		p[0].events |= POLLOUT;
	if (!b->closing && room(&b->in) > 0 && !queued(&b->to_stream))
		p[0].events |= POLLIN;
	if (queued(&b->to_stream))
		p[1].events |= POLLOUT;
	if (!b->closing && !queued(&b->to_client))
		p[1].events |= POLLIN;
	bool early = b->input_len > 0 && p[0].events & POLLIN;
	int r = poll(p, 2, early ? 0 : b->closing ? CLOSE_TIMEOUT_MS : -1);
	if (r < 0 || (r == 0 && !early))
		return r < 0 && errno == EINTR;
	if (p[0].revents & (POLLERR | POLLHUP) && !(p[0].revents & POLLIN))
		return false;
	if ((early || p[0].revents & POLLIN) && p[0].events & POLLIN && !read_client(b))
		return false;
	decode(b);
	if (p[1].events & POLLIN && p[1].revents & (POLLIN | POLLHUP | POLLERR) && !read_stream(b))
		return false;
	if (!flush(b->stream, &b->to_stream)) { /* stdin was closed: the output goes on */
		b->stdin_gone = true;
		b->to_stream.start = b->to_stream.end = 0;
	}
	return flush(b->client, &b->to_client) && !(b->closing && !queued(&b->to_client));
}

void cs_ws_bridge(int client, int stream, const void *input, size_t len, bool binary)
{
	struct bridge *b = cs_xcalloc(1, sizeof(*b));

	b->client = client;
	b->stream = stream;
	b->binary = binary;
	b->input = input;
	b->input_len = len;
	while (bridge_step(b))
		;
	free(b);
}
