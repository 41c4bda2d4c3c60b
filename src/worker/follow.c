/* SPDX-License-Identifier: Apache-2.0
 *
 * Clients of `logs -f`. The engine has sent what was in the files and hands over the client's socket with a position in the current file;
 * from there on records are read back from the file, formatted and sent here, so that neither the engine's end nor a client that does
 * not read matters: a slow client costs one batch of memory and, when the log is rotated under it, the open old files.
 *
 * The peer is a stream socket whose other end is the engine's. At the end of the log it gets HCS_FOLLOW_END (or _UNTIL), then the engine ends
 * the body, so that the connection can serve another request, and says HCS_FOLLOW_DONE. If it is gone, we write the last chunk. */
#include <endian.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/time.h"
#include "computecore.h"
#include "worker/frame.h"
#include "worker/worker.h"

#define MAX_FOLLOWERS 256
#define BEHIND_MAX (1ull << 30)
#define BATCH (32u << 10)
#define CHUNK_HEAD 16 /* room for the size of a chunk */
#define STAMP 31      /* with its blank */
#define ONLY_HANGUP (EPOLLRDHUP | EPOLLET)

struct follower {
	struct cs_source client, peer;
	struct follower *next;
	struct cs_log_file *file;
	int64_t off;
	struct cs_w_follow o;
	char since[CS_TIME_BUF], until[CS_TIME_BUF];
	uint8_t *rest; /* of a batch that the client has not taken */
	size_t rest_at, rest_len;
	bool ending;  /* nothing more will come behind what is logged */
	bool sent_all, closing, gone;
	uint8_t why;
	struct cs_timer until_timer, linger;
	char details[];
};

static struct follower *followers;
static int64_t log_end = -1; /* in the last file, once nothing more is logged: a worker of the next run writes on behind it */

bool cs_follow_any(void) { return followers; }

/* Closes our descriptors. `ours`: the connection ends with us, else the engine goes on with it. */
static void drop(struct follower *f, bool ours)
{
	if (f->gone)
		return;
	f->gone = true;
	for (struct follower **p = &followers; *p; p = &(*p)->next) {
		if (*p == f) {
			*p = f->next;
			break;
		}
	}
	cs_timer_stop(&f->until_timer);
	cs_timer_stop(&f->linger);
	if (ours)
		(void)shutdown(f->client.fd, SHUT_RDWR);
	cs_source_close(&f->client);
	cs_source_close(&f->peer);
	cs_log_file_put(TAKE_PTR(f->file));
	free(TAKE_PTR(f->rest));
	cs_log_unfollowed(&worker.log);
	cs_loop_free(f);
}

static void on_linger(struct cs_timer *t) { drop(cs_container_of(t, struct follower, linger), true); }

static void patience(struct follower *f)
{
	if (f->ending)
		cs_timer_arm(&f->linger, cs_monotonic_ns() + CS_LINGER_NS);
}

static void keep(struct follower *f, const uint8_t *data, size_t n)
{
	f->rest = cs_xrealloc(f->rest, f->rest_len + n);
	memcpy(f->rest + f->rest_len, data, n);
	f->rest_len += n;
	cs_source_watch(&f->client, EPOLLOUT | EPOLLRDHUP);
}

/* The end of the body is ours to write; the client may be slow to take even that. */
static void last_chunk(struct follower *f)
{
	static const char text[] = "0\r\n\r\n";

	f->closing = true;
	if (f->o.chunked)
		keep(f, (const uint8_t *)text, sizeof(text) - 1);
	else
		drop(f, true);
}

/* The client has everything. */
static void finish(struct follower *f)
{
	if (f->sent_all)
		return;
	f->sent_all = true;
	if (f->peer.fd < 0 || send(f->peer.fd, &f->why, 1, MSG_DONTWAIT | MSG_NOSIGNAL) != 1)
		last_chunk(f);
	else
		cs_timer_arm(&f->linger, cs_monotonic_ns() + CS_LINGER_NS);
}

static void on_peer(struct cs_source *s, uint32_t events)
{
	struct follower *f = cs_container_of(s, struct follower, peer);
	uint8_t word = 0;
	ssize_t n = recv(s->fd, &word, 1, MSG_DONTWAIT);

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n == 1 && word == HCS_FOLLOW_DONE) {
		drop(f, false);
		return;
	}
	cs_source_close(s); /* the engine has gone */
	if (f->sent_all)
		last_chunk(f);
}

/* ---- sending ---- */

static void send_rest(struct follower *f)
{
	ssize_t n = send(f->client.fd, f->rest + f->rest_at, f->rest_len - f->rest_at, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		drop(f, true);
		return;
	}
	f->rest_at += (size_t)n;
	patience(f);
	if (f->rest_at < f->rest_len)
		return;
	free(TAKE_PTR(f->rest));
	f->rest_at = f->rest_len = 0;
	cs_source_watch(&f->client, ONLY_HANGUP);
	if (f->closing)
		drop(f, true);
}

static void on_client(struct cs_source *s, uint32_t events)
{
	struct follower *f = cs_container_of(s, struct follower, client);

	if (events & (EPOLLERR | EPOLLHUP | EPOLLRDHUP))
		drop(f, true);
	else if (events & EPOLLOUT && f->rest)
		send_rest(f);
}

/* n bytes of body at data, before which there are CHUNK_HEAD bytes of room and behind which there are two. */
static void emit(struct follower *f, uint8_t *data, size_t n)
{
	if (f->o.chunked) {
		char head[CHUNK_HEAD];
		size_t len = (size_t)snprintf(head, sizeof(head), "%zx\r\n", n);
		memcpy(data + n, "\r\n", 2);
		data -= len;
		memcpy(data, head, len);
		n += len + 2;
	}
	size_t sent = 0;
	if (!f->rest) {
		ssize_t w = send(f->client.fd, data, n, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (w < 0 && errno != EAGAIN && errno != EINTR) {
			drop(f, true);
			return;
		}
		sent = w < 0 ? 0 : (size_t)w;
	}
	if (sent)
		patience(f);
	if (sent < n)
		keep(f, data + sent, n - sent);
}

/* Hopelessly behind. */
static void cut(struct follower *f)
{
	static const char text[] = "caisson: this client reads too slowly, the rest of the log is not sent\r\n";
	uint8_t buf[CHUNK_HEAD + CS_FRAME_HEADER + sizeof(text) + 2], *d = buf + CHUNK_HEAD;

	if (f->o.framed) {
		cs_frame_header(d, 2, sizeof(text) - 1);
		d += CS_FRAME_HEADER;
	}
	memcpy(d, text, sizeof(text) - 1);
	d += sizeof(text) - 1;
	f->ending = true;
	f->why = HCS_FOLLOW_UNTIL;
	cs_log_file_put(TAKE_PTR(f->file));
	emit(f, buf + CHUNK_HEAD, (size_t)(d - buf - CHUNK_HEAD));
}

/* ---- records ---- */

struct record {
	const uint8_t *text;
	size_t len;
	uint8_t stream; /* 1, 2 */
	bool escaped, newline;
	char stamp[CS_TIME_BUF]; /* fixed width: sorts as text */
};

/* "2006-01-02T15:04:05.12Z", as log_json.c writes it, with nine digits. */
static bool widen(const uint8_t *t, size_t n, char *out)
{
	if (n < 20 || n > 30 || t[n - 1] != 'Z')
		return false;
	size_t digits = n > 21 ? n - 21 : 0;
	memcpy(out, t, 19);
	out[19] = '.';
	memcpy(out + 20, t + 20, digits);
	memset(out + 20 + digits, '0', 9 - digits);
	out[29] = 'Z';
	out[30] = 0;
	return true;
}

/* One of our own lines; its length with the newline, or 0 when it is not whole. A stranger's line leaves r->stream 0. */
static size_t parse_json(const uint8_t *p, size_t len, struct record *r)
{
	static const char open[] = "{\"log\":\"";
	const uint8_t *nl = memchr(p, '\n', len);
	const struct cs_log *l = &worker.log;

	r->stream = 0;
	if (!nl)
		return 0;
	size_t n = (size_t)(nl - p);
	const uint8_t *quote = n > 2 ? memrchr(p, '"', n - 2) : NULL; /* before the time */
	if (!quote || n < sizeof(open) - 1 + l->mid_len + 2 || memcmp(p, open, sizeof(open) - 1) != 0 || memcmp(nl - 2, "\"}", 2) != 0 ||
	    !widen(quote + 1, (size_t)(nl - 2 - quote - 1), r->stamp))
		return n + 1;
	const uint8_t *end = quote + 1 - l->mid_len;
	if (end < p + sizeof(open) - 1)
		return n + 1;
	for (uint8_t i = 0; i < 2; i++)
		if (memcmp(end, l->mid[i], l->mid_len) == 0)
			r->stream = i + 1;
	r->text = p + sizeof(open) - 1;
	r->len = (size_t)(end - r->text);
	r->escaped = true;
	r->newline = false;
	return n + 1;
}

static size_t parse_local(const uint8_t *p, size_t len, struct record *r)
{
	uint32_t size, flags;
	int64_t ts;

	if (len < 16)
		return 0;
	memcpy(&size, p, 4);
	memcpy(&flags, p + 4, 4);
	memcpy(&ts, p + 8, 8);
	size = le32toh(size);
	flags = le32toh(flags);
	if (size < 20 || size > CS_LOG_PIECE + 20) { /* not ours: nothing behind it can be found */
		r->stream = 0;
		return len;
	}
	if (size > len)
		return 0;
	(void)cs_time_format_fixed((int64_t)le64toh((uint64_t)ts), r->stamp);
	r->text = p + 16;
	r->len = size - 20;
	r->stream = (flags & 0xff) == 2 ? 2 : 1;
	r->newline = !(flags & 0x100);
	r->escaped = false;
	return size;
}

static unsigned hex(uint8_t c) { return c <= '9' ? (unsigned)c - '0' : ((unsigned)c | 0x20) - 'a' + 10; }

/* What log_json.c escapes; never longer than the source. */
static uint8_t *unescape(uint8_t *d, const uint8_t *p, const uint8_t *end)
{
	while (p < end) {
		const uint8_t *b = memchr(p, '\\', (size_t)(end - p));
		size_t n = (size_t)((b ? b : end) - p);
		memcpy(d, p, n);
		d += n;
		p += n;
		if (!b || end - p < 2)
			break;
		uint8_t c = p[1];
		p += 2;
		if (c != 'u' || end - p < 4) {
			*d++ = c == 'n' ? '\n' : c == 'r' ? '\r' : c;
			continue;
		}
		unsigned v = (hex(p[0]) & 15) << 12 | (hex(p[1]) & 15) << 8 | (hex(p[2]) & 15) << 4 | (hex(p[3]) & 15);
		p += 4;
		if (v < 0x80) {
			*d++ = (uint8_t)v;
		} else {
			*d++ = (uint8_t)(0xe0 | v >> 12);
			*d++ = (uint8_t)(0x80 | (v >> 6 & 63));
			*d++ = (uint8_t)(0x80 | (v & 63));
		}
	}
	return d;
}

static uint8_t *format(const struct follower *f, const struct record *r, uint8_t *out)
{
	uint8_t *d = out + (f->o.framed ? CS_FRAME_HEADER : 0);

	if (f->o.timestamps) {
		memcpy(d, r->stamp, STAMP - 1);
		d[STAMP - 1] = ' ';
		d += STAMP;
	}
	memcpy(d, f->details, f->o.details_len);
	d += f->o.details_len;
	if (r->escaped) {
		d = unescape(d, r->text, r->text + r->len);
	} else {
		memcpy(d, r->text, r->len);
		d += r->len;
	}
	if (r->newline)
		*d++ = '\n';
	if (f->o.framed)
		cs_frame_header(out, r->stream, (size_t)(d - out - CS_FRAME_HEADER));
	return d;
}

static bool selected(const struct follower *f, const struct record *r)
{
	if (f->o.since && strcmp(r->stamp, f->since) < 0)
		return false;
	return r->stream == 1 ? f->o.want_stdout : r->stream == 2 && f->o.want_stderr;
}

/* Records out of raw until a batch is full; moves the position. Returns the length of what stands at CHUNK_HEAD of cs_io_buf, -1 if no record
 * was whole. */
static ssize_t batch(struct follower *f, const uint8_t *raw, size_t len)
{
	const struct cs_log *l = &worker.log;
	uint8_t *out = cs_io_buf + CHUNK_HEAD, *d = out, *max = cs_io_buf + CS_IO_BUF_SIZE - 2;
	size_t pos = 0;

	while (pos < len && d - out < (ssize_t)BATCH) {
		struct record r = {0};
		size_t n = l->driver == CS_LOG_JSON ? parse_json(raw + pos, len - pos, &r) : parse_local(raw + pos, len - pos, &r);
		if (n == 0)
			break;
		if (r.stream && f->o.until && strcmp(r.stamp, f->until) > 0) {
			f->ending = true;
			f->why = HCS_FOLLOW_UNTIL;
			cs_log_file_put(TAKE_PTR(f->file));
			return d - out;
		}
		if (r.stream && selected(f, &r)) {
			if ((size_t)(max - d) < r.len + f->o.details_len + STAMP + CS_FRAME_HEADER + 1)
				break;
			d = format(f, &r, d);
		}
		pos += n;
	}
	f->off += (int64_t)pos;
	return pos ? d - out : -1;
}

/* One step: 1 something was sent or skipped, 0 nothing there, -1 the client is gone or cannot be served. */
static int step(struct follower *f)
{
	size_t cap;
	struct stat st;
	uint8_t *raw = cs_log_borrow(&worker.log, &cap);

	if (!raw || f->file->fd < 0)
		return -1;
	const size_t full_cap = cap;
	if (!f->file->full && log_end >= 0)
		cap = (size_t)CS_MIN((int64_t)cap, CS_MAX(log_end - f->off, 0));
	ssize_t n = pread(f->file->fd, raw, cap, f->off);
	if (n < 0)
		return errno == EINTR ? 1 : -1;
	ssize_t out = n ? batch(f, raw, (size_t)n) : -1;
	if (out > 0)
		emit(f, cs_io_buf + CHUNK_HEAD, (size_t)out);
	if (out >= 0)
		return f->gone ? -1 : 1;
	if (n > 0 && (size_t)n == full_cap) /* no record of ours is so long */
		return -1;
	if (f->file->full) {
		f->file = cs_log_file_next(f->file);
		f->off = 0;
		return f->file ? 1 : -1;
	}
	if (log_end < 0 && fstat(f->file->fd, &st) == 0 && st.st_size < f->off) { /* somebody has truncated it */
		f->off = 0;
		return 1;
	}
	return 0;
}

/* True when it could go on at once. */
static bool pump(struct follower *f)
{
	if (f->sent_all || f->rest)
		return false;
	if (!worker.trim.at)
		cs_timer_arm(&worker.trim, cs_monotonic_ns() + CS_NS_PER_SEC);
	for (int i = 0; i < 4 && f->file && !f->rest; i++) {
		int r = step(f);
		if (r < 0) {
			drop(f, true);
			return false;
		}
		if (r > 0)
			continue;
		if (f->ending)
			finish(f);
		return false;
	}
	if (!f->file && !f->rest)
		finish(f);
	return !f->gone && !f->rest && f->file;
}

static bool too_far_behind(const struct follower *f)
{
	const struct cs_log *l = &worker.log;

	return f->file && l->current && f->file != l->current && l->current->before + l->size - f->file->before - (uint64_t)f->off > BEHIND_MAX;
}

bool cs_follow_pump(void)
{
	bool more = false;

	for (struct follower *f = followers, *next; f; f = next) {
		next = f->next;
		if (too_far_behind(f))
			cut(f);
		if (!f->gone && pump(f))
			more = true;
	}
	return more;
}

void cs_follow_end_all(void)
{
	struct stat st;

	if (log_end < 0 && worker.log.fd >= 0 && fstat(worker.log.fd, &st) == 0)
		log_end = st.st_size;
	for (struct follower *f = followers; f; f = f->next) {
		if (!f->ending) {
			f->ending = true;
			f->why = HCS_FOLLOW_END;
		}
		patience(f);
	}
}

/* ---- beginning ---- */

static void on_until(struct cs_timer *t)
{
	struct follower *f = cs_container_of(t, struct follower, until_timer);

	f->ending = true;
	f->why = HCS_FOLLOW_UNTIL;
	patience(f);
}

static bool is_here(const struct cs_log_file *f, const struct cs_w_follow *o)
{
	struct stat st;

	return fstat(f->fd, &st) == 0 && st.st_dev == o->dev && st.st_ino == o->ino && o->offset <= st.st_size;
}

/* With a reference. */
static struct cs_log_file *position(struct cs_proc *p, const struct cs_w_follow *o, struct cs_err **err)
{
	struct cs_log_file *f = cs_client_pinned(p, o->token);

	for (; f; f = f->next) {
		if (f->fd >= 0 && is_here(f, o)) {
			f->refs++;
			return f;
		}
	}
	f = cs_log_file_get(&worker.log);
	if (!f)
		(void)cs_fail(err, CS_ERR_CONFLICT, 0, "there is no log to follow");
	else if (is_here(f, o))
		return f;
	else
		(void)cs_fail(err, CS_ERR_CONFLICT, ESTALE, "the log has been rotated");
	cs_log_file_put(f);
	cs_log_unfollowed(&worker.log);
	return NULL;
}

int cs_follow_new(struct cs_proc *p, int *client, int *peer, const struct cs_w_request *r, struct cs_err **err)
{
	size_t n = 0;

	for (struct follower *f = followers; f; f = f->next)
		n++;
	bool over = p->reported || worker.phase == CS_PHASE_DEAD;
	if (over && !cs_client_pinned(p, r->follow.token))
		return cs_fail(err, CS_ERR_CONFLICT, ESRCH, "the process has exited");
	if (n >= MAX_FOLLOWERS)
		return cs_fail(err, CS_ERR_UNAVAILABLE, 0, "more than %d clients follow the log", MAX_FOLLOWERS);
	cs_log_flush(&worker.log);
	struct cs_log_file *file = position(p, &r->follow, err);
	if (!file)
		return -1;
	struct follower *f = cs_xcalloc(1, sizeof(*f) + r->follow.details_len);
	f->o = r->follow;
	f->file = file;
	f->off = f->o.offset;
	memcpy(f->details, r->details, f->o.details_len);
	(void)cs_time_format_fixed(f->o.since, f->since);
	(void)cs_time_format_fixed(f->o.until, f->until);
	f->until_timer.fn = on_until;
	f->linger.fn = on_linger;
	f->client.fd = TAKE_FD(*client);
	f->client.fn = on_client;
	f->peer.fd = TAKE_FD(*peer);
	f->peer.fn = on_peer;
	cs_source_watch(&f->client, ONLY_HANGUP);
	cs_source_watch(&f->peer, EPOLLIN);
	if (f->o.until)
		cs_timer_arm(&f->until_timer, cs_monotonic_ns() + CS_MAX(f->o.until - cs_now_ns(), 0) + CS_NS_PER_MS);
	f->next = followers;
	followers = f;
	cs_client_cancel(p, f->o.token);
	if (over)
		cs_follow_end_all();
	return 0;
}
