/* SPDX-License-Identifier: Apache-2.0
 *
 * The pump: output, from the engine to our descriptors, has a thread of its own, since they are shared with other processes and so cannot be made
 * non-blocking; stdin and signals are the main thread's, which only ever waits in poll(). Each direction goes on when the other one cannot. */
#include "cli/stream.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>

#include "base/io.h"
#include "cli/move.h"
#include "cli/signals.h"

#define OUT_SIZE ((size_t)256 << 10)
#define IN_SIZE ((size_t)256 << 10)
#define MOVE_MIN ((size_t)16 << 10) /* of a frame: less is cheaper to copy than to move */
#define MOVE_MAX ((size_t)1 << 20)

/* ---- frames ---- */

/* Takes the 8-byte stream headers out of a byte stream, across any packet borders. */
struct deframer {
	unsigned char head[8];
	size_t have;
	uint32_t left;
	int fd;
	bool raw;
	bool broken; /* nobody reads what we write */
};

/* Blocks until all of it is written, also where somebody made the descriptor non-blocking. */
static int write_out(struct deframer *d, int fd, const char *p, size_t n, struct cs_err **err)
{
	while (n) {
		ssize_t done = write(fd, p, n);
		if (done >= 0) {
			p += done;
			n -= (size_t)done;
		} else if (errno == EAGAIN) {
			(void)poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, -1);
		} else if (errno != EINTR) {
			d->broken = errno == EPIPE;
			return cs_fail(err, CS_ERR_INTERNAL, errno, "write the output");
		}
	}
	return 0;
}

static int deframe(struct deframer *d, const char *p, size_t n, struct cs_err **err)
{
	if (d->raw)
		return write_out(d, 1, p, n, err);
	while (n) {
		if (d->left == 0) {
			d->head[d->have++] = (unsigned char)*p++;
			n--;
			if (d->have < sizeof(d->head))
				continue;
			d->have = 0;
			if (d->head[0] > 3 || d->head[1] || d->head[2] || d->head[3])
				return cs_fail(err, CS_ERR_INTERNAL, 0, "unrecognised stream header");
			d->fd = d->head[0] >= 2 ? 2 : 1;
			d->left = (uint32_t)d->head[4] << 24 | (uint32_t)d->head[5] << 16 | (uint32_t)d->head[6] << 8 | d->head[7];
			continue;
		}
		size_t part = CS_MIN(n, (size_t)d->left);
		if (write_out(d, d->fd, p, part, err) < 0)
			return -1;
		p += part;
		n -= part;
		d->left -= (uint32_t)part;
	}
	return 0;
}

/* ---- the terminal ---- */

static struct termios saved_tty;
static bool tty_is_raw;

static void tty_restore(void)
{
	if (tty_is_raw)
		(void)tcsetattr(0, TCSANOW, &saved_tty);
	tty_is_raw = false;
}

static void tty_raw(void)
{
	static bool registered;
	struct termios t;

	if (tcgetattr(0, &saved_tty) < 0)
		return;
	t = saved_tty;
	cfmakeraw(&t);
	t.c_cc[VMIN] = 1;
	t.c_cc[VTIME] = 0;
	if (!registered)
		(void)atexit(tty_restore);
	registered = tty_is_raw = true;
	if (tcsetattr(0, TCSANOW, &t) < 0)
		tty_is_raw = false;
}

static _Noreturn void die_of(int sig)
{
	tty_restore();
	(void)fflush(stdout);
	signals_die(sig);
}

bool stream_window(unsigned *rows, unsigned *cols)
{
	struct winsize w;

	if (ioctl(1, TIOCGWINSZ, &w) < 0 || !w.ws_row || !w.ws_col)
		return false;
	*rows = w.ws_row;
	*cols = w.ws_col;
	return true;
}

static void tell_size(const struct stream_hooks *h)
{
	unsigned rows, cols;
	if (h->resize && stream_window(&rows, &cols))
		h->resize(h->ctx, rows, cols);
}

/* ---- signals ---- */

/* A job's stop, with the shell's terminal as the shell knows it. */
static void stop_here(const struct stream_hooks *h)
{
	bool raw = tty_is_raw;

	tty_restore();
	(void)raise(SIGSTOP);
	if (raw) {
		tty_raw();
		tell_size(h);
	}
}

static void take_signals(const struct stream_hooks *h)
{
	static unsigned ends; /* INT and TERM in all: a way out for who cannot end the container */

	for (int sig; (sig = signals_next());) {
		if (sig == SIGWINCH && h->resize) {
			tell_size(h);
		} else if (h->on_signal) {
			if ((sig == SIGINT || sig == SIGTERM) && ++ends == 3) {
				tty_restore();
				fprintf(stderr, "\ngot 3 SIGTERM/SIGINTs, forcefully exiting\n");
				exit(1);
			}
			h->on_signal(h->ctx, sig);
		} else if (sig == SIGTSTP || sig == SIGTTIN || sig == SIGTTOU) {
			stop_here(h);
		} else if (sig != SIGWINCH && sig != SIGCONT) {
			die_of(sig);
		}
	}
}

/* ---- the pump ---- */

struct out {
	struct deframer d;
	struct reply *r;
	int end; /* written to at the end */
	int result;
	struct cs_err *err;
	bool moves[3]; /* the descriptor is a pipe: large frames need not come through our memory */
};

static bool is_kind(int fd, mode_t kind)
{
	struct stat st;

	return fstat(fd, &st) == 0 && (st.st_mode & S_IFMT) == kind;
}

/* The rest of the frame that d is in, from socket to pipe. False when there is nothing of that kind to do, or no more of it: the rest is read then. */
static bool move_frame(struct out *o)
{
	struct deframer *d = &o->d;
	bool moved = false;

	while (d->left && o->moves[d->fd] && (moved || d->left >= MOVE_MIN)) {
		ssize_t n = move_to_pipe(o->r->fd, d->fd, d->left);
		if (n > 0) {
			d->left -= (uint32_t)n;
			moved = true;
		} else if (n == -EAGAIN) { /* of the two, who is not ready is not known */
			(void)poll(&(struct pollfd){.fd = o->r->fd, .events = POLLIN}, 1, -1);
			(void)poll(&(struct pollfd){.fd = d->fd, .events = POLLOUT}, 1, -1);
		} else if (n == 0) {
			break;
		} else if (n != -EINTR) {
			o->moves[d->fd] = false;
		}
	}
	return moved && !d->left;
}

static void *out_main(void *arg)
{
	struct out *o = arg;
	cs_autofree char *buf = cs_xmalloc(OUT_SIZE);
	size_t want = OUT_SIZE;

	for (int fd = 1; fd < 3; fd++)
		o->moves[fd] = !o->d.raw && is_kind(fd, S_IFIFO);
	if (o->r->buf.len)
		o->result = deframe(&o->d, o->r->buf.buf, o->r->buf.len, &o->err);
	while (o->result == 0) {
		if (move_frame(o)) /* another one follows, probably: just its header */
			want = sizeof(o->d.head);
		ssize_t n = read(o->r->fd, buf, want);
		if (n < 0 && errno == EAGAIN)
			(void)poll(&(struct pollfd){.fd = o->r->fd, .events = POLLIN}, 1, -1);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n <= 0)
			break;
		want = OUT_SIZE;
		o->result = deframe(&o->d, buf, (size_t)n, &o->err);
	}
	(void)cs_write_full(o->end, "", 1);
	return NULL;
}

/* What was read from stdin and is not sent yet. */
struct in {
	char *buf;
	size_t have, sent;
	bool open;  /* stdin may have more */
	bool alive; /* the engine takes it */
	bool moves; /* a file or a pipe: bytes need not come through buf */
	bool full;  /* the engine did not take what was to be moved */
	const struct stream_keys *keys;
	size_t matched; /* of them, held back */
};

/* Copies what was read to buf: the keys' bytes that turned out to be none come before. True when all keys were typed; what was before them is kept. */
static bool take_keys(struct in *in, const char *p, size_t n)
{
	const unsigned char *k = in->keys->keys;

	for (size_t i = 0; i < n; i++) {
		/* the longest beginning of the keys that ends here */
		while (in->matched && k[in->matched] != (unsigned char)p[i]) {
			size_t shorter = in->matched - 1;
			while (shorter && memcmp(k, k + in->matched - shorter, shorter) != 0)
				shorter--;
			memcpy(in->buf + in->have, k, in->matched - shorter);
			in->have += in->matched - shorter;
			in->matched = shorter;
		}
		if (k[in->matched] == (unsigned char)p[i])
			in->matched++;
		else
			in->buf[in->have++] = p[i];
		if (in->matched == in->keys->n)
			return true;
	}
	return false;
}

/* Stdin ended. */
static void close_in(struct in *in, int sock)
{
	in->open = false;
	(void)shutdown(sock, SHUT_WR);
}

/* Some of stdin to the engine without a copy. False when that is not possible here. */
static bool move_in(struct in *in, int sock)
{
	ssize_t n = move_to_socket(0, sock, MOVE_MAX);

	in->full = n == -EAGAIN;
	if (n == 0)
		close_in(in, sock);
	else if (n == -EPIPE || n == -ECONNRESET)
		in->alive = false;
	return n >= 0 || !in->alive || n == -EAGAIN || n == -EINTR;
}

/* One step for whatever poll() found ready. */
static void feed(struct in *in, int sock, bool readable, bool writable)
{
	if (in->moves && (readable || in->full)) {
		in->moves = move_in(in, sock);
		if (in->moves)
			return;
	}
	if (in->have == 0 && readable) {
		bool keys = in->keys->n;
		char typed[4096];
		ssize_t n = keys ? read(0, typed, sizeof(typed)) : read(0, in->buf, IN_SIZE);
		if (n > 0 && keys)
			*in->keys->seen = take_keys(in, typed, (size_t)n);
		else if (n > 0)
			in->have = (size_t)n;
		if (n > 0)
			writable = true;
		else if (n == 0 || (errno != EINTR && errno != EAGAIN))
			close_in(in, sock);
	}
	if (in->have && writable) {
		ssize_t n = send(sock, in->buf + in->sent, in->have - in->sent, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n > 0)
			in->sent += (size_t)n;
		else if (n < 0 && errno != EAGAIN && errno != EINTR)
			in->alive = false;
		if (in->sent == in->have)
			in->sent = in->have = 0;
	}
}

static void main_loop(struct reply *r, int end, bool send_stdin, const struct stream_keys *keys, const struct stream_hooks *h)
{
	cs_autofree char *buf = cs_xmalloc(IN_SIZE);
	struct in in = {.buf = buf, .open = send_stdin, .alive = send_stdin, .keys = keys};

	in.moves = send_stdin && !keys->n && (is_kind(0, S_IFREG) || is_kind(0, S_IFIFO)) && fcntl(r->fd, F_SETFL, O_NONBLOCK) == 0;
	for (;;) {
		bool full = in.alive && (in.have || in.full), want = in.alive && in.open && !full;
		struct pollfd p[4] = {{.fd = end, .events = POLLIN}, {.fd = signals_fd(), .events = POLLIN}, {.fd = want ? 0 : -1, .events = POLLIN}, {.fd = full ? r->fd : -1, .events = POLLOUT}};
		if (poll(p, 4, -1) < 0)
			continue;
		if (p[1].revents)
			take_signals(h);
		if (p[0].revents)
			return;
		if (p[2].revents || p[3].revents)
			feed(&in, r->fd, p[2].revents, p[3].revents);
		if (*keys->seen) {
			(void)shutdown(r->fd, SHUT_RDWR); /* ends the output's thread */
			return;
		}
	}
}

int stream_pump(struct reply *r, bool send_stdin, bool raw, const struct stream_keys *keys, const struct stream_hooks *h, struct cs_err **err)
{
	struct out out = {.d = {.raw = raw}, .r = r};
	const struct stream_hooks hooks = {raw ? h->resize : NULL, h->on_signal, h->ctx};
	struct sigaction ignore = {.sa_handler = SIG_IGN};
	pthread_t thread;
	int ends[2];

	if (pipe(ends) < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "pipe");
	cs_autofd int mine = ends[0], theirs = ends[1];
	out.end = theirs;
	(void)sigaction(SIGPIPE, &ignore, NULL); /* the terminal comes first */
	signals_watch();
	if (raw && send_stdin && isatty(0))
		tty_raw();
	tell_size(&hooks);
	int e = pthread_create(&thread, NULL, out_main, &out);
	if (e) {
		tty_restore();
		return cs_fail(err, CS_ERR_INTERNAL, e, "start a thread");
	}
	main_loop(r, mine, send_stdin, keys, &hooks);
	(void)pthread_join(thread, NULL);
	if (out.d.broken)
		die_of(SIGPIPE);
	tty_restore();
	return out.result < 0 ? cs_err_move(err, out.err) : 0;
}

void stream_wait(const struct reply *r, const struct stream_hooks *h)
{
	const struct stream_hooks hooks = {NULL, h->on_signal, h->ctx};

	while (signals_fd() >= 0 && r->buf.len == 0) {
		struct pollfd p[2] = {{.fd = r->fd, .events = POLLIN}, {.fd = signals_fd(), .events = POLLIN}};
		if (poll(p, 2, -1) < 0)
			continue;
		if (p[1].revents)
			take_signals(&hooks);
		if (p[0].revents)
			return;
	}
}

int stream_copy(struct reply *r, bool raw, struct cs_err **err)
{
	struct deframer d = {.raw = raw};
	cs_autofree char *buf = cs_xmalloc(OUT_SIZE);
	ssize_t n;

	for (;;) {
		struct pollfd p[2] = {{.fd = r->fd, .events = POLLIN}, {.fd = 1, .events = 0}};
		if (!reply_buffered(r) && (r->chunked || r->left != 0) && poll(p, 2, -1) > 0 && p[0].revents == 0 && p[1].revents & POLLERR)
			signals_die(SIGPIPE);
		n = reply_read(r, buf, OUT_SIZE, err);
		if (n <= 0)
			return (int)n;
		if (deframe(&d, buf, (size_t)n, err) < 0)
			return -1;
	}
}
