/* SPDX-License-Identifier: Apache-2.0
 *
 * Connections of engines: the inherited one and those accepted on worker.sock. Requests are answered in the order in which they come. A
 * connection that does not take its packets is queued for, up to a limit, and then closed: an engine that hangs must not hang the container. */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/io.h"
#include "base/sys.h"
#include "base/str.h"
#include "base/time.h"
#include "worker/worker.h"

#define MAX_CONNS 64
#define MAX_QUEUE (512u << 10)

struct packet {
	struct packet *next;
	size_t len;
	uint8_t data[];
};
struct conn {
	struct cs_source src;
	struct conn *next;
	bool hello;
	uint32_t protocol; /* of the peer */
	struct packet *first, **last;
	size_t queued;
};

static struct conn *conns;
static uint8_t packet_buf[CS_W_MAX_PACKET] __attribute__((aligned(4096)));

static void on_conn(struct cs_source *s, uint32_t events);

/* Who has not said HELLO yet gets no events, and asks for what is written down when it does. */
bool cs_control_has_engine(void)
{
	const struct conn *c = conns;

	while (c && !c->hello)
		c = c->next;
	return c;
}

static void close_conn(struct conn *c)
{
	if (c->src.fd < 0)
		return;
	for (struct conn **p = &conns; *p; p = &(*p)->next) {
		if (*p == c) {
			*p = c->next;
			break;
		}
	}
	while (c->first) {
		struct packet *k = c->first;
		c->first = k->next;
		free(k);
	}
	cs_source_close(&c->src);
	if (!worker.quit) /* at the end the engine that asked for it has answered */
		cs_watch_owner_gone(c);
	cs_client_owner_gone(c);
	cs_loop_free(c);
}

static struct conn *new_conn(int fd, bool hello, uint32_t protocol)
{
	struct conn *c = cs_xcalloc(1, sizeof(*c));

	c->src.fd = fd;
	c->src.fn = on_conn;
	c->hello = hello;
	c->protocol = protocol;
	c->last = &c->first;
	c->next = conns;
	conns = c;
	cs_source_watch(&c->src, EPOLLIN);
	return c;
}

/* 1 sent, 0 would block, -1 the connection is broken */
static int try_send(struct conn *c, const void *data, size_t len)
{
	ssize_t n = cs_send_fds(c->src.fd, data, len, NULL, 0, MSG_DONTWAIT);
	return n >= 0 ? 1 : n == -EAGAIN ? 0 : -1;
}

#ifdef CS_W_TEST_NEWER
/* A worker of the future, for the tests: every struct is longer than today's. */
static void *lengthen(const void *body, size_t *len, size_t fixed, size_t grown)
{
	size_t n = *len / fixed, more = grown - fixed;
	uint8_t *out = cs_xcalloc(1, *len + n * more + 1);

	for (size_t i = 0; i < n; i++)
		memcpy(out + i * grown, (const uint8_t *)body + i * fixed, fixed);
	memcpy(out + n * grown, (const uint8_t *)body + n * fixed, *len - n * fixed);
	*len += n * more;
	return out;
}
#endif

/* fixed: length of the struct in body (or of one of several), behind which a tail may come. */
static void send_packet(struct conn *c, uint32_t type, uint32_t seq, bool more, size_t fixed, const void *body, size_t len)
{
	struct cs_w_header h = {CS_W_MAGIC, type, seq, more, c->protocol >= 2 && CS_W_PROTOCOL >= 2 ? (uint16_t)fixed : 0};
#ifdef CS_W_TEST_NEWER
	cs_autofree void *longer = NULL;
	if (h.fixed && (type == CS_W_LIST_REPLY || len < 2 * fixed)) {
		h.fixed = (uint16_t)(fixed + 8);
		body = longer = lengthen(body, &len, fixed, fixed + 8);
	}
#endif
	struct packet *k = malloc(sizeof(*k) + sizeof(h) + len);

	if (!k || c->src.fd < 0) {
		free(k);
		return;
	}
	k->next = NULL;
	k->len = sizeof(h) + len;
	memcpy(k->data, &h, sizeof(h));
	if (len)
		memcpy(k->data + sizeof(h), body, len);
	int r = c->first ? 0 : try_send(c, k->data, k->len);
	if (r || c->queued > MAX_QUEUE) {
		free(k);
		if (r <= 0) /* the reader side notices the shutdown; freeing here would pull the list from under an event's loop */
			(void)shutdown(c->src.fd, SHUT_RDWR);
		return;
	}
	*c->last = k;
	c->last = &k->next;
	c->queued += k->len;
	cs_source_watch(&c->src, EPOLLIN | EPOLLOUT);
}

static void flush(struct conn *c)
{
	while (c->first) {
		struct packet *k = c->first;
		int r = try_send(c, k->data, k->len);
		if (r == 0)
			return;
		c->first = k->next;
		if (!c->first)
			c->last = &c->first;
		c->queued -= k->len;
		free(k);
		if (r < 0) {
			close_conn(c);
			return;
		}
	}
	cs_source_watch(&c->src, EPOLLIN);
}

void cs_control_event(enum cs_w_type type, size_t fixed, const void *body, size_t len)
{
	for (struct conn *c = conns; c; c = c->next)
		if (c->hello)
			send_packet(c, type, 0, false, fixed, body, len);
}

void cs_control_warn(void *ctx, const char *text)
{
	(void)ctx;
	cs_control_event(CS_W_WARNING, 0, text, strnlen(text, 4096));
}

/* ---- answers ---- */

static void answer_ok(struct conn *c, uint32_t seq) { send_packet(c, CS_W_OK, seq, false, 0, NULL, 0); }

static size_t error_body(const struct cs_err *err, char *buf, size_t max)
{
	cs_autofree char *text = cs_err_text(err);
	struct cs_w_error e = {.code = (uint32_t)cs_err_code(err)};
	size_t n = strnlen(text, max - sizeof(e));

	for (const struct cs_err *i = err; i; i = i->cause)
		e.sys = i->sys;
	memcpy(buf, &e, sizeof(e));
	memcpy(buf + sizeof(e), text, n);
	return sizeof(e) + n;
}

static void answer_err(struct conn *c, uint32_t seq, const struct cs_err *err)
{
	char buf[4096];

	send_packet(c, CS_W_ERROR, seq, false, sizeof(struct cs_w_error), buf, error_body(err, buf, sizeof(buf)));
}

void cs_control_start_failed(const struct cs_err *err)
{
	char buf[4096];

	cs_control_event(CS_W_START_FAILED, sizeof(struct cs_w_error), buf, error_body(err, buf, sizeof(buf)));
}

static void fill_started(const struct cs_proc *p, struct cs_w_started *s)
{
	memcpy(s->id, p->id, sizeof(s->id));
	s->pid = p->pid;
	s->started_at = p->started_at;
}

static void answer_hello(struct conn *c, const struct cs_w_request *r)
{
	struct cs_w_hello h = {.protocol = CS_W_PROTOCOL, .worker_pid = getpid(), .protocol_min = CS_W_PROTOCOL_MIN};
	struct cs_proc *init = cs_proc_init();

	c->hello = true;
	c->protocol = r->protocol;
	if (init && init->pid)
		fill_started(init, &h.started);
	if (init && worker.phase == CS_PHASE_DEAD)
		cs_proc_fill_exited(init, &h.exited);
	send_packet(c, CS_W_HELLO_REPLY, r->h.seq, false, sizeof(h), &h, CS_W_PROTOCOL >= 2 ? sizeof(h) : CS_W_HELLO_V1);
}

static void answer_list(struct conn *c, uint32_t seq)
{
	enum { PER_PACKET = 256 };
	cs_autofree struct cs_w_proc *v = cs_xcalloc(PER_PACKET, sizeof(*v));
	size_t n = 0;

	for (struct cs_proc *p = worker.procs; p; p = p->next) {
		if (!p->pid || p->released)
			continue;
		if (n == PER_PACKET) {
			send_packet(c, CS_W_LIST_REPLY, seq, true, sizeof(*v), v, n * sizeof(*v));
			n = 0;
		}
		v[n] = (struct cs_w_proc){.tty = p->tty, .exited = p->exited, .pid = p->pid, .exit_code = p->exit_code,
					  .started_at = p->started_at, .exited_at = p->exited_at};
		memcpy(v[n++].id, p->id, sizeof(p->id));
	}
	send_packet(c, CS_W_LIST_REPLY, seq, false, sizeof(*v), v, n * sizeof(*v));
}

/* ---- requests ---- */

static int check_socket(int fd, struct cs_err **err)
{
	int type = 0;
	socklen_t len = sizeof(type);

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0 || type != SOCK_STREAM)
		return cs_fail(err, CS_ERR_INVALID, 0, "the descriptor is not a stream socket");
	return 0;
}

static int do_attach(struct cs_proc *p, const struct cs_w_request *r, int *fd, struct cs_err **err)
{
	if (check_socket(*fd, err) < 0)
		return -1;
	if (r->token) /* what was kept for it is its own, also after the exit */
		return cs_client_redeem(p, TAKE_FD(*fd), r, err);
	if (p->exited)
		return cs_fail(err, CS_ERR_CONFLICT, ESRCH, "the process has exited");
	if (!p->has_output)
		return cs_fail(err, CS_ERR_CONFLICT, 0, "the process runs detached, its output is not kept");
	cs_client_new(p, TAKE_FD(*fd), r);
	return 0;
}

static int do_reserve(struct conn *c, struct cs_proc *p, const struct cs_w_request *r, struct cs_err **err)
{
	struct cs_w_reserved x = {0};

	if (p->exited)
		return cs_fail(err, CS_ERR_CONFLICT, ESRCH, "the process has exited");
	if (cs_client_reserve(p, c, r, &x, err) < 0)
		return -1;
	send_packet(c, CS_W_RESERVED, r->h.seq, false, sizeof(x), &x, sizeof(x));
	return 1;
}

static int do_follow(struct cs_proc *p, const struct cs_w_request *r, int *fds, struct cs_err **err)
{
	if (check_socket(fds[0], err) < 0 || check_socket(fds[1], err) < 0)
		return -1;
	return cs_follow_new(p, &fds[0], &fds[1], r, err);
}

static int do_signal(struct cs_proc *p, int sig, struct cs_err **err);

/* Requests that name a process. Takes fds[0] where it needs it. */
static int do_process(struct conn *c, struct cs_proc *p, const struct cs_w_request *r, int *fds, struct cs_err **err)
{
	switch (r->h.type) {
	case CS_W_ATTACH:
		return do_attach(p, r, &fds[0], err);
	case CS_W_WATCH_EXIT:
		if (check_socket(fds[0], err) < 0)
			return -1;
		return cs_watch_add(p, TAKE_FD(fds[0]), c, r, err);
	case CS_W_FOLLOW:
		return do_follow(p, r, fds, err);
	case CS_W_RESERVE:
		return do_reserve(c, p, r, err);
	case CS_W_CANCEL:
		cs_client_cancel(p, r->token);
		return 0;
	case CS_W_RESIZE:
		if (!p->tty)
			return cs_fail(err, CS_ERR_INVALID, 0, "the process has no terminal");
		cs_stdio_resize(p, r->rows, r->cols);
		return 0;
	case CS_W_CLOSE_STDIN:
		if (p->tty)
			return cs_fail(err, CS_ERR_INVALID, 0, "stdin of a process with a terminal cannot be closed");
		cs_stdio_close_input(p);
		return 0;
	case CS_W_SIGNAL:
		return do_signal(p, r->sig, err);
	default: /* RELEASE */
		if (!p->id[0] || !p->exited)
			return cs_fail(err, CS_ERR_CONFLICT, EBUSY, "the process is not an exited exec");
		p->released = true; /* its clients still get output */
		return 0;
	}
}

static int do_request(struct conn *c, const struct cs_w_request *r, int *fds, struct cs_err **err)
{
	struct cs_proc *p;

	switch (r->h.type) {
	case CS_W_EXEC:
		if (r->has_client && check_socket(fds[1], err) < 0)
			return -1;
		if (cs_proc_exec(r, fds[0], r->has_client ? TAKE_FD(fds[1]) : -EBADF, &p, err) < 0)
			return -1;
		struct cs_w_started s = {0};
		fill_started(p, &s);
		send_packet(c, CS_W_EXEC_STARTED, r->h.seq, false, sizeof(s), &s, sizeof(s));
		return 1;
	case CS_W_HELLO:
		answer_hello(c, r);
		return 1;
	case CS_W_LIST:
		answer_list(c, r->h.seq);
		return 1;
	case CS_W_REOPEN_LOG:
		return cs_log_reopen(&worker.log, err);
	case CS_W_QUIT:
		if (worker.phase != CS_PHASE_DEAD)
			return cs_fail(err, CS_ERR_CONFLICT, EBUSY, "the container is running");
		worker.quit = true;
		return 0;
	case CS_W_KILL:
		if (worker.phase == CS_PHASE_STARTING)
			return cs_fail(err, CS_ERR_CONFLICT, EAGAIN, "the container is starting");
		cs_proc_kill_system();
		return 0;
	default:
		p = cs_proc_find(r->id);
		if (!p)
			return cs_fail(err, CS_ERR_NOT_FOUND, ESRCH, "no such process: %s", r->id);
		return do_process(c, p, r, fds, err);
	}
}

static void handle(struct conn *c, size_t len, int *fds, size_t n_fds)
{
	cs_autoerr struct cs_err *err = NULL;
	struct cs_w_request r;
	const char *why;
	int rc = cs_packet_decode(packet_buf, len, n_fds, &r, &why);

	if (rc < 0) {
		cs_fail(&err, rc == -ENOSYS ? CS_ERR_UNSUPPORTED : CS_ERR_INVALID, rc == -ENOSYS ? ENOSYS : 0, "worker protocol: %s", why);
		answer_err(c, r.h.magic == CS_W_MAGIC ? r.h.seq : 0, err);
		return;
	}
	rc = do_request(c, &r, fds, &err);
	if (rc == 0)
		answer_ok(c, r.h.seq);
	else if (rc < 0)
		answer_err(c, r.h.seq, err);
}

/* One packet. 1 handled, 0 nothing there, -1 end. */
static int receive(struct conn *c)
{
	int fds[CS_MAX_FDS];
	size_t n_fds = CS_ARRAY_SIZE(fds);
	ssize_t n = cs_recv_fds(c->src.fd, packet_buf, sizeof(packet_buf), fds, &n_fds, MSG_DONTWAIT);

	if (n == -EAGAIN)
		return 0;
	if (n == -EMSGSIZE) {
		cs_autoerr struct cs_err *err = NULL;
		struct cs_w_header h;
		memcpy(&h, packet_buf, sizeof(h));
		cs_fail(&err, CS_ERR_INVALID, EMSGSIZE, "worker protocol: packet is too long");
		answer_err(c, h.magic == CS_W_MAGIC ? h.seq : 0, err);
		return 1;
	}
	if (n <= 0)
		return -1;
	handle(c, (size_t)n, fds, n_fds);
	for (size_t i = 0; i < n_fds; i++)
		cs_close(fds[i]); /* what was taken is -EBADF */
	return 1;
}

static void on_conn(struct cs_source *s, uint32_t events)
{
	struct conn *c = cs_container_of(s, struct conn, src);

	if (events & EPOLLOUT)
		flush(c);
	if (s->fd >= 0 && events & (EPOLLIN | EPOLLHUP | EPOLLERR) && receive(c) < 0)
		close_conn(c);
}

static int do_signal(struct cs_proc *p, int sig, struct cs_err **err)
{
	if (p->exited || p->pidfd < 0)
		return cs_fail(err, CS_ERR_CONFLICT, ESRCH, "the process has exited");
	int r = sys_pidfd_send_signal(p->pidfd, sig);
	return r < 0 ? cs_fail(err, CS_ERR_INTERNAL, -r, "send signal %d", sig) : 0;
}

/* Out of descriptors a connection stays ready, and asking again at once would ask for ever. */
static void on_listen_again(struct cs_timer *t)
{
	(void)t;
	cs_source_watch(&worker.listener, EPOLLIN);
}
static struct cs_timer listen_again = {.fn = on_listen_again};

static void on_listener(struct cs_source *s, uint32_t events)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);
	size_t n = 0;
	cs_autofd int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC);

	(void)events;
	if (fd < 0 && errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
		cs_source_watch(s, 0);
		cs_timer_arm(&listen_again, cs_monotonic_ns() + 100 * CS_NS_PER_MS);
	}
	for (struct conn *c = conns; c; c = c->next)
		n++;
	if (fd < 0 || n >= MAX_CONNS || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0 || cred.uid != geteuid())
		return;
	new_conn(TAKE_FD(fd), false, 1);
}

void cs_control_listen(void)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	cs_autofd int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	/* by descriptor: a runtime directory may have a longer path than a socket address holds */
	(void)snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/worker.sock", worker.dirfd);
	(void)unlinkat(worker.dirfd, "worker.sock", 0);
	mode_t old = umask(0177);
	bool ok = fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0 && listen(fd, 8) == 0;
	(void)umask(old);
	if (!ok) {
		cs_control_warn(NULL, "the worker cannot listen on its socket: a later engine will not find it");
		return;
	}
	worker.listener.fd = TAKE_FD(fd);
	worker.listener.fn = on_listener;
	cs_source_watch(&worker.listener, EPOLLIN);
}

void cs_control_init(int first_fd)
{
	new_conn(first_fd, true, CS_W_PROTOCOL); /* its engine is of our build */
}

void cs_control_take_early(void)
{
	struct conn *c = conns;

	for (int i = 0; c && i < 1024; i++) {
		int r = receive(c);
		if (r < 0)
			close_conn(c);
		if (r <= 0)
			return;
	}
}

void cs_control_trim(void) { (void)madvise(packet_buf, sizeof(packet_buf), MADV_DONTNEED); }

void cs_control_close(void)
{
	(void)unlinkat(worker.dirfd, "worker.sock", 0);
	cs_timer_stop(&listen_again);
	cs_source_close(&worker.listener);
	while (conns) {
		struct conn *c = conns;
		flush(c);
		close_conn(c);
	}
}
