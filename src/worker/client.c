/* SPDX-License-Identifier: Apache-2.0
 *
 * Attached clients. A client that does not read gets its output queued in an unlinked file of its own, so it costs neither memory nor
 * the container's time; a client whose input the process does not take is simply not read. Sockets are shared with the engine, which may
 * hold a duplicate: we never change their file status flags, and end a session by shutdown. */
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "base/time.h"
#include "worker/frame.h"
#include "worker/worker.h"

#define SPILL_MAX (1ll << 30)
#define PUNCH_STEP (8 << 20)
#define RESERVED_NS (10 * CS_NS_PER_SEC)
#define IN_CHUNK 16384

/* Edge-triggered and only hang-ups: sees the peer's close without spinning on its half-close. */
#define ONLY_HANGUP (EPOLLRDHUP | EPOLLET)

static void on_client(struct cs_source *s, uint32_t events);

static bool has_backlog(const struct cs_client *c) { return c->spill_at < c->spill_end; }

static bool is_paused(const struct cs_client *c) { return c->want[0] && cs_stdio_input_full(c->proc); }

static void watch(struct cs_client *c)
{
	uint32_t e = c->in_done || is_paused(c) ? ONLY_HANGUP : EPOLLIN;

	if (has_backlog(c)) /* not edge-triggered then; a hang-up ends the backlog anyway */
		e = EPOLLOUT | (e & EPOLLIN);
	cs_source_watch(&c->src, e);
}

static void input_end(struct cs_client *c, bool detached);

static void drop(struct cs_client *c)
{
	if (c->gone)
		return;
	if (!c->in_done)
		input_end(c, false);
	if (c->gone)
		return;
	c->gone = true;
	for (struct cs_client **p = &c->proc->clients; *p; p = &(*p)->next) {
		if (*p == c) {
			*p = c->next;
			break;
		}
	}
	cs_timer_stop(&c->linger);
	if (c->src.fd >= 0) {
		(void)shutdown(c->src.fd, SHUT_RDWR);
		/* unread input would turn the peer's end of file into a connection reset */
		uint8_t junk[4096];
		for (int i = 0; i < 64 && recv(c->src.fd, junk, sizeof(junk), MSG_DONTWAIT) > 0; i++)
			;
	}
	cs_source_close(&c->src);
	cs_close(c->spill);
	c->spill = -EBADF;
	cs_log_file_put(TAKE_PTR(c->pinned));
	cs_log_unfollowed(&worker.log);
	cs_loop_free(c);
}

static void end(struct cs_client *c)
{
	if (c->ending)
		return;
	c->ending = true;
	if (!has_backlog(c) && !c->token) {
		drop(c);
		return;
	}
	/* one that only wants the log has no claim: the engine can read it, too */
	cs_timer_arm(&c->linger, cs_monotonic_ns() + (c->pinned ? CS_NS_PER_SEC : c->token ? RESERVED_NS : CS_LINGER_NS));
	watch(c);
}

static void on_linger(struct cs_timer *t) { drop(cs_container_of(t, struct cs_client, linger)); }

void cs_client_end_all(struct cs_proc *p)
{
	for (struct cs_client *c = p->clients, *next; c; c = next) {
		next = c->next;
		end(c);
	}
}

/* ---- output ---- */

static int open_spill(void)
{
	static const char name[] = ".caisson-spill.tmp";
	int dirs[] = {worker.log.dirfd, open("/var/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC), worker.dirfd};
	int fd = -EBADF;

	for (size_t i = 0; i < CS_ARRAY_SIZE(dirs) && fd < 0; i++) {
		if (dirs[i] < 0)
			continue;
		fd = openat(dirs[i], ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
		if (fd < 0 && dirs[i] != dirs[1]) { /* not every file system has O_TMPFILE; never by name in a world-writable place */
			fd = openat(dirs[i], name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
			if (fd >= 0)
				(void)unlinkat(dirs[i], name, 0);
		}
	}
	cs_close(dirs[1]);
	return fd;
}

static bool spill_iov(struct cs_client *c, const struct iovec *iov, int n)
{
	for (int i = 0; i < n; i++) {
		const uint8_t *p = iov[i].iov_base;
		size_t left = iov[i].iov_len;
		while (left) {
			ssize_t w = pwrite(c->spill, p, left, c->spill_end);
			if (w < 0 && errno == EINTR)
				continue;
			if (w <= 0)
				return false;
			c->spill_end += w;
			p += w;
			left -= (size_t)w;
		}
	}
	return true;
}

/* The client is hopelessly behind, or there is no room for its queue: it gets what it has queued and a last word. */
static void cut(struct cs_client *c, int64_t whole_end)
{
	static const char text[] = "caisson: this client reads too slowly, the rest of the output is not sent\r\n";
	uint8_t h[CS_FRAME_HEADER];

	c->spill_end = whole_end;
	cs_frame_header(h, 2, sizeof(text) - 1);
	struct iovec iov[2] = {{h, c->framed ? CS_FRAME_HEADER : 0}, {(void *)(uintptr_t)text, sizeof(text) - 1}};
	if (c->spill >= 0 && !spill_iov(c, iov, 2))
		c->spill_end = whole_end;
	end(c);
}

/* torn: the beginning of the frame has been sent, so that nothing else can come next. */
static void queue(struct cs_client *c, const struct iovec *iov, int n, bool torn)
{
	int64_t whole_end = c->spill_end;
	bool fresh = c->spill < 0;

	if (fresh)
		c->spill = open_spill();
	if (c->spill >= 0 && c->spill_end - c->spill_at <= SPILL_MAX && spill_iov(c, iov, n))
		watch(c);
	else if (torn)
		drop(c);
	else
		cut(c, whole_end);
}

static void send_chunk(struct cs_client *c, uint8_t type, const uint8_t *data, size_t len)
{
	uint8_t h[CS_FRAME_HEADER];
	struct iovec iov[2] = {{h, c->framed ? CS_FRAME_HEADER : 0}, {(void *)(uintptr_t)data, len}};
	struct msghdr m = {.msg_iov = iov, .msg_iovlen = 2};

	bool torn = false;

	cs_frame_header(h, type, len);
	if (!has_backlog(c) && !c->token) {
		ssize_t n = sendmsg(c->src.fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN && errno != EINTR) {
			drop(c);
			return;
		}
		size_t sent = n < 0 ? 0 : (size_t)n;
		torn = sent && c->framed;
		for (int i = 0; i < 2; i++) {
			size_t k = CS_MIN(sent, iov[i].iov_len);
			iov[i].iov_base = (uint8_t *)iov[i].iov_base + k;
			iov[i].iov_len -= k;
			sent -= k;
		}
		if (!iov[0].iov_len && !iov[1].iov_len)
			return;
	}
	queue(c, iov, 2, torn);
}

void cs_client_output(struct cs_proc *p, uint8_t type, const uint8_t *data, size_t len)
{
	for (struct cs_client *c = p->clients, *next; c; c = next) {
		next = c->next;
		if (c->want[type] && !c->ending)
			send_chunk(c, type, data, len);
	}
}

/* Sends from the queue; false if the client is gone. */
static bool flush_backlog(struct cs_client *c)
{
	for (int turn = 0; turn < 4 && has_backlog(c); turn++) {
		size_t want = (size_t)CS_MIN(c->spill_end - c->spill_at, CS_IO_BUF_SIZE);
		ssize_t n = pread(c->spill, cs_io_buf, want, c->spill_at);
		if (n <= 0) {
			drop(c); /* the queue is lost; a gap would be worse than an end */
			return false;
		}
		ssize_t sent = send(c->src.fd, cs_io_buf, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (sent < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		if (sent < 0) {
			drop(c);
			return false;
		}
		c->spill_at += sent;
		if (c->ending)
			cs_timer_arm(&c->linger, cs_monotonic_ns() + CS_LINGER_NS);
		if (c->spill_at - c->punched >= PUNCH_STEP) {
			(void)fallocate(c->spill, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, c->punched, c->spill_at - c->punched);
			c->punched = c->spill_at;
		}
	}
	if (!worker.trim.at)
		cs_timer_arm(&worker.trim, cs_monotonic_ns() + CS_NS_PER_SEC);
	if (has_backlog(c))
		return true;
	cs_close(c->spill);
	c->spill = -EBADF;
	c->spill_at = c->spill_end = c->punched = 0;
	if (c->ending) {
		drop(c);
		return false;
	}
	return true;
}

/* ---- input ---- */

static void input_end(struct cs_client *c, bool detached)
{
	struct cs_proc *p = c->proc;
	uint8_t held[CS_DETACH_MAX];

	c->in_done = true;
	if (!c->want[0] || !p->open_stdin)
		return;
	size_t n = detached ? 0 : cs_detach_flush(&c->detach, held);
	cs_stdio_input(p, held, n);
	if (p->tty)
		return; /* a half-close does not hang a terminal up */
	if (p->stdin_once)
		cs_stdio_close_input(p);
	else if (!c->gone)
		end(c); /* as dockerd: the session ends with its input, the process' stdin stays open */
}

static void input(struct cs_client *c, const uint8_t *data, size_t len)
{
	uint8_t out[4096 + CS_DETACH_MAX];

	if (!c->want[0])
		return;
	if (!c->is_terminal_input) {
		cs_stdio_input(c->proc, data, len);
		return;
	}
	while (len) {
		size_t n = CS_MIN(len, 4096), out_len;
		bool detached = cs_detach_feed(&c->detach, data, n, out, &out_len);
		cs_stdio_input(c->proc, out, out_len);
		if (detached) {
			struct cs_w_id id = {0};
			memcpy(id.id, c->proc->id, sizeof(id.id));
			input_end(c, true);
			cs_control_event(CS_W_DETACHED, sizeof(id), &id, sizeof(id));
			end(c);
			return;
		}
		data += n;
		len -= n;
	}
}

static void read_input(struct cs_client *c)
{
	ssize_t n = recv(c->src.fd, cs_io_buf, IN_CHUNK, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0)
		drop(c);
	else if (n == 0)
		input_end(c, false);
	else
		input(c, cs_io_buf, (size_t)n);
}

static void on_client(struct cs_source *s, uint32_t events)
{
	struct cs_client *c = cs_container_of(s, struct cs_client, src);

	/* another client may have filled the process' input a moment ago */
	if (events & EPOLLIN && !c->in_done && !is_paused(c) && s->events & EPOLLIN) {
		read_input(c);
	} else if (events & EPOLLERR || (events & EPOLLHUP && (c->in_done || has_backlog(c)))) {
		drop(c);
	}
	if (s->fd >= 0 && events & EPOLLOUT && !flush_backlog(c))
		return;
	if (s->fd >= 0)
		watch(c);
}

void cs_client_resume_input(struct cs_proc *p)
{
	for (struct cs_client *c = p->clients; c; c = c->next)
		watch(c);
}

static void missed(void *ctx, uint8_t type, const uint8_t *data, size_t len)
{
	struct cs_client *c = ctx;

	if (!c->gone && c->want[type] && !c->ending)
		send_chunk(c, type, data, len);
}

static struct cs_client *add(struct cs_proc *p, int fd, const struct cs_w_request *r)
{
	struct cs_client *c = cs_xcalloc(1, sizeof(*c));

	c->src.fd = fd;
	c->src.fn = on_client;
	c->linger.fn = on_linger;
	c->proc = p;
	c->spill = -EBADF;
	c->want[1] = r->want_stdout;
	c->want[2] = r->want_stderr;
	c->framed = r->framed;
	c->is_terminal_input = p->tty;
	c->next = p->clients;
	p->clients = c;
	return c;
}

static void set_input(struct cs_client *c, const struct cs_w_request *r)
{
	c->want[0] = r->want_stdin;
	if (r->detach_len) {
		c->detach.len = (uint8_t)CS_MIN(r->detach_len, CS_DETACH_MAX);
		memcpy(c->detach.key, r->detach, c->detach.len);
	} else {
		c->detach = c->proc->detach_default;
	}
}

struct cs_client *cs_client_new(struct cs_proc *p, int fd, const struct cs_w_request *r)
{
	struct cs_client *c = add(p, fd, r);

	set_input(c, r);
	input(c, r->input, r->input_len); /* first: it counts even if the client has gone */
	if (r->since > 0 && !p->id[0])
		cs_recent_replay(r->since, missed, c);
	if (!c->gone)
		watch(c);
	return c;
}

/* ---- clients to come ---- */

#define MAX_RESERVED 256

static struct cs_client *find_reserved(struct cs_proc *p, uint64_t token)
{
	struct cs_client *c = p->clients;

	while (c && (c->token != token || !token))
		c = c->next;
	return c;
}

int cs_client_reserve(struct cs_proc *p, const void *owner, const struct cs_w_request *r, struct cs_w_reserved *ret, struct cs_err **err)
{
	static uint64_t last;
	struct stat st;
	size_t n = 0;

	for (struct cs_client *c = p->clients; c; c = c->next)
		n += c->token != 0;
	if (n >= MAX_RESERVED)
		return cs_fail(err, CS_ERR_UNAVAILABLE, 0, "more than %d clients are about to attach", MAX_RESERVED);
	struct cs_client *c = add(p, -EBADF, r);
	c->token = ++last;
	c->owner = owner;
	c->in_done = true; /* until it is here */
	*ret = (struct cs_w_reserved){.token = c->token, .at = cs_now_ns()};
	cs_log_flush(&worker.log);
	if (worker.log.fd >= 0 && fstat(worker.log.fd, &st) == 0) {
		ret->dev = st.st_dev;
		ret->ino = st.st_ino;
		ret->offset = st.st_size;
	}
	if (r->log_only) {
		c->want[1] = c->want[2] = false;
		c->pinned = cs_log_file_get(&worker.log);
	}
	for (uint8_t i = 0; i < 2 && r->after_log; i++)
		if (worker.log.line[i].len)
			missed(c, i + 1, worker.log.line[i].pend, worker.log.line[i].len);
	return 0;
}

int cs_client_redeem(struct cs_proc *p, int fd, const struct cs_w_request *r, struct cs_err **err)
{
	struct cs_client *c = find_reserved(p, r->token);

	if (!c) {
		cs_close(fd);
		return cs_fail(err, CS_ERR_NOT_FOUND, ESTALE, "what was kept for this client is gone");
	}
	c->token = 0;
	if (c->ending)
		cs_timer_arm(&c->linger, cs_monotonic_ns() + CS_LINGER_NS);
	c->owner = NULL;
	c->src.fd = fd;
	set_input(c, r);
	c->in_done = c->ending;
	input(c, r->input, r->input_len);
	if (c->ending && !has_backlog(c))
		drop(c);
	if (!c->gone)
		watch(c);
	return 0;
}

struct cs_log_file *cs_client_pinned(struct cs_proc *p, uint64_t token)
{
	struct cs_client *c = find_reserved(p, token);

	return c ? c->pinned : NULL;
}

void cs_client_cancel(struct cs_proc *p, uint64_t token)
{
	struct cs_client *c = find_reserved(p, token);

	if (c)
		drop(c);
}

bool cs_client_any_reserved(const struct cs_proc *p)
{
	for (const struct cs_client *c = p->clients; c; c = c->next)
		if (c->token)
			return true;
	return false;
}

void cs_client_owner_gone(const void *owner)
{
	for (struct cs_proc *p = worker.procs; p; p = p->next) {
		for (struct cs_client *c = p->clients, *next; c; c = next) {
			next = c->next;
			if (c->token && c->owner == owner)
				drop(c);
		}
	}
}
