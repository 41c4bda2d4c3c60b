/* SPDX-License-Identifier: Apache-2.0
 *
 * Bodies that come over time. The callback runs in the connection's own thread and blocks in poll(2) on the stream, on the client
 * (who may leave) and on the server's end. The headers have been sent before the first call: clients wait for them. */
#include <poll.h>
#include <sys/socket.h>

#include "api/call.h"
#include "api/waiter.h"
#include "base/time.h"
#include "engine/engine.h"

#define BLOCK (32u << 10)
#define BIG_BLOCK (256u << 10)

struct body {
	struct cs_stream *stream;
	struct cs_http *http;
	int client_fd;
	bool is_wait, plain, chunked, handed_over;
	bool counted; /* in http->streams: not once the worker has the client */
};

static void uncount(struct body *b)
{
	if (b->counted)
		__atomic_sub_fetch(&b->http->streams, 1, __ATOMIC_RELEASE);
	b->counted = false;
}

/* Blocks until the stream may have something. False when the client or the server is gone. */
static bool body_wait(struct body *b)
{
	struct pollfd p[3] = {
		{ .fd = b->stream->ops->poll_fd(b->stream), .events = POLLIN },
		{ .fd = b->client_fd, .events = POLLRDHUP },
		/* Ending the response would shut the socket down for the worker too: the process's end does not. */
		{ .fd = b->handed_over ? -1 : b->http->stop_fd, .events = POLLIN },
	};
	int64_t deadline = b->stream->ops->deadline ? b->stream->ops->deadline(b->stream) : -1;
	struct timespec ts, *tp = NULL;

	if (b->handed_over)
		uncount(b);
	if (deadline >= 0) {
		int64_t left = deadline - cs_monotonic_ns();
		if (left < 0)
			left = 0;
		ts = (struct timespec){ left / CS_NS_PER_SEC, left % CS_NS_PER_SEC };
		tp = &ts;
	}
	if (ppoll(p, 3, tp, NULL) < 0)
		return errno == EINTR;
	return !(p[1].revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL)) && p[2].revents == 0;
}

/* True when this call has given the stream away. */
static bool hand_over(struct body *b)
{
	if (!b->plain || b->handed_over || !b->stream->ops->handover)
		return false;
	b->handed_over = b->stream->ops->handover(b->stream, b->client_fd, b->chunked);
	return b->handed_over;
}

/* The answer of a `wait` that the worker finishes when we die, and the body's end, in one piece: killed between the two, we would have the worker
 * say it a second time in the same body. True when the client has it. */
static bool answer_whole(struct body *b, const char *text, size_t n)
{
	char whole[128];
	int len = snprintf(whole, sizeof(whole), "%zx\r\n%.*s\r\n0\r\n\r\n", n, (int)n, text);

	return len > 0 && (size_t)len < sizeof(whole) && send(b->client_fd, whole, (size_t)len, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

static ssize_t body_read(void *cls, uint64_t pos, char *buf, size_t max)
{
	struct body *b = cls;

	(void)hand_over(b); /* the kernel has the chunk before */
	for (;;) {
		/* one that always has more would not notice */
		if (!b->handed_over && __atomic_load_n(&b->http->stopping, __ATOMIC_ACQUIRE))
			return MHD_CONTENT_READER_END_WITH_ERROR;
		ssize_t n = b->stream->ops->read(b->stream, buf, max);
		if (n > 0 && b->is_wait && b->handed_over && answer_whole(b, buf, (size_t)n))
			return MHD_CONTENT_READER_END_WITH_ERROR; /* nothing more from the library: it closes the connection, as the header has said */
		if (n > 0)
			return n;
		if (n == 0)
			return MHD_CONTENT_READER_END_OF_STREAM;
		if (n != -EAGAIN)
			return MHD_CONTENT_READER_END_WITH_ERROR;
		if (b->is_wait && !b->handed_over) {
			/* The headers are on the wire now: from here on the worker can finish the body without us. */
			b->handed_over = true;
			cs_wait_handover(b->stream, b->client_fd);
			continue;
		}
		if (!hand_over(b) && !body_wait(b))
			return MHD_CONTENT_READER_END_WITH_ERROR;
	}
}

static void body_free(void *cls)
{
	struct body *b = cls;

	cs_stream_free(b->stream);
	uncount(b);
	free(b);
}

struct MHD_Response *http_stream_response(struct call *c)
{
	struct body *b = cs_xcalloc(1, sizeof(*b));
	struct MHD_Response *r;

	b->stream = TAKE_PTR(c->rs.stream);
	b->http = c->http;
	b->counted = true;
	__atomic_add_fetch(&b->http->streams, 1, __ATOMIC_ACQUIRE);
	b->client_fd = c->client_fd;
	b->plain = !c->listener->tls && c->rs.stream_size <= 0; /* with TLS the keys are ours, so we stay in the path */
	b->chunked = c->chunked;
	b->is_wait = c->rs.is_wait && b->plain && b->chunked;
	/* with a length, the library sends from the block itself: larger ones pay */
	r = c->rs.stream_size > 0 ? MHD_create_response_from_callback((uint64_t)c->rs.stream_size, BIG_BLOCK, body_read, b, body_free) :
				    MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, b->stream->bulk ? BIG_BLOCK : BLOCK, body_read, b, body_free);
	if (!r) {
		body_free(b);
		return NULL;
	}
	if (b->is_wait)
		(void)MHD_add_response_header(r, MHD_HTTP_HEADER_CONNECTION, "close");
	return r;
}
