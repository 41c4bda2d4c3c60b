/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/stream.h"

#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <termios.h>

#include "base/io.h"

/* Takes the 8-byte stream headers out of a byte stream, across any packet borders. */
struct deframer {
	unsigned char head[8];
	size_t have;
	uint32_t left;
	int fd;
};

static int write_out(int fd, const char *p, size_t n, struct cs_err **err)
{
	int e = cs_write_full(fd, p, n);
	return e < 0 ? cs_fail(err, CS_ERR_INTERNAL, -e, "write the output") : 0;
}

static int deframe(struct deframer *d, bool raw, const char *p, size_t n, struct cs_err **err)
{
	if (raw)
		return write_out(1, p, n, err);
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
		if (write_out(d->fd, p, part, err) < 0)
			return -1;
		p += part;
		n -= part;
		d->left -= (uint32_t)part;
	}
	return 0;
}

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
	struct termios t;

	if (tcgetattr(0, &saved_tty) < 0)
		return;
	t = saved_tty;
	cfmakeraw(&t);
	t.c_cc[VMIN] = 1;
	t.c_cc[VTIME] = 0;
	if (tcsetattr(0, TCSANOW, &t) < 0)
		return;
	tty_is_raw = true;
	(void)atexit(tty_restore);
}

static void tell_size(const struct stream_hooks *h)
{
	struct winsize w;
	if (h->resize && ioctl(1, TIOCGWINSZ, &w) == 0 && w.ws_row && w.ws_col)
		h->resize(h->ctx, w.ws_row, w.ws_col);
}

static void take_signals(int sfd, const struct stream_hooks *h)
{
	struct signalfd_siginfo si;
	while (read(sfd, &si, sizeof(si)) == (ssize_t)sizeof(si)) {
		if (si.ssi_signo == SIGWINCH)
			tell_size(h);
		else if (h->on_signal)
			h->on_signal(h->ctx, (int)si.ssi_signo);
	}
}

int stream_pump(struct reply *r, bool send_stdin, bool raw, const struct stream_hooks *h, struct cs_err **err)
{
	struct deframer d = {0};
	bool terminal = raw && send_stdin && isatty(0);
	char buf[32768];
	sigset_t set;
	int result = 0;

	sigemptyset(&set);
	sigaddset(&set, SIGWINCH);
	if (!terminal && h->on_signal)
		for (size_t i = 0; i < 4; i++)
			sigaddset(&set, (int[]){SIGINT, SIGTERM, SIGHUP, SIGQUIT}[i]);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	cs_autofd int sfd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (terminal)
		tty_raw();
	if (raw)
		tell_size(h);
	if (r->buf.len && deframe(&d, raw, r->buf.buf, r->buf.len, err) < 0)
		result = -1;
	while (result == 0) {
		struct pollfd p[3] = {{.fd = r->fd, .events = POLLIN}, {.fd = sfd, .events = POLLIN}, {.fd = send_stdin ? 0 : -1, .events = POLLIN}};
		if (poll(p, 3, -1) < 0 && errno != EINTR) {
			result = cs_fail(err, CS_ERR_INTERNAL, errno, "poll");
			break;
		}
		if (p[1].revents)
			take_signals(sfd, h);
		if (p[0].revents) {
			ssize_t n = read(r->fd, buf, sizeof(buf));
			if (n == 0 || (n < 0 && errno == ECONNRESET))
				break;
			if (n > 0)
				result = deframe(&d, raw, buf, (size_t)n, err);
		}
		if (p[2].revents) {
			ssize_t n = read(0, buf, sizeof(buf));
			if (n <= 0) {
				send_stdin = false;
				(void)shutdown(r->fd, SHUT_WR);
			} else if (cs_write_full(r->fd, buf, (size_t)n) < 0) {
				send_stdin = false;
			}
		}
	}
	tty_restore();
	(void)sigprocmask(SIG_UNBLOCK, &set, NULL);
	return result;
}

int stream_copy(struct reply *r, bool raw, struct cs_err **err)
{
	struct deframer d = {0};
	char buf[65536];
	ssize_t n;

	while ((n = reply_read(r, buf, sizeof(buf), err)) > 0)
		if (deframe(&d, raw, buf, (size_t)n, err) < 0)
			return -1;
	return (int)n;
}
