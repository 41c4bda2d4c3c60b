/* SPDX-License-Identifier: Apache-2.0
 *
 * The processes' side of stdio: pipes or a terminal master. Output is read in bounded portions, at most one per source and turn
 * of the loop, and given to the log and to the clients; neither can stop the container. */
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <termios.h>

#include "base/time.h"
#include "worker/worker.h"

#define PIPE_GROWN (512 << 10)
#define IN_BUF_MAX (1u << 20) /* early input of several clients; running clients are paused long before */
#define DRAIN_MAX (64u << 20) /* what may be read after the exit from a pipe that a stranger keeps filling */

/* Shared by all reads; page-aligned so that its memory can be given back when idle. */
uint8_t cs_io_buf[CS_IO_BUF_SIZE] __attribute__((aligned(4096)));

static void on_output(struct cs_source *s, uint32_t events);
static void on_input(struct cs_source *s, uint32_t events);

static int set_nonblock(int fd)
{
	int fl = fcntl(fd, F_GETFL);
	return fl < 0 || fcntl(fd, F_SETFL, fl | O_NONBLOCK) < 0 ? -errno : 0;
}

/* Our end must not block; the child's end must, since it is an open file description of its own with a pipe. */
static int make_pipe(int *ours, int *theirs, bool we_read)
{
	int p[2];

	if (pipe2(p, O_CLOEXEC) < 0)
		return -errno;
	*ours = p[we_read ? 0 : 1];
	*theirs = p[we_read ? 1 : 0];
	return set_nonblock(*ours);
}

void cs_stdio_done(struct cs_stdio *s)
{
	for (int i = 0; i < 3; i++) {
		cs_close(s->fd[i]);
		s->fd[i] = -EBADF;
	}
}

int cs_stdio_prepare(struct cs_proc *p, bool output, struct cs_stdio *ret, struct cs_err **err)
{
	int r = 0;

	*ret = (struct cs_stdio){{-EBADF, -EBADF, -EBADF}};
	p->in.fd = p->out[0].src.fd = p->out[1].src.fd = -EBADF;
	p->in.fn = on_input;
	for (int i = 0; i < 2; i++) {
		p->out[i].src.fn = on_output;
		p->out[i].proc = p;
		p->out[i].type = (uint8_t)(i + 1);
	}
	p->has_output = output || p->tty;
	if (p->tty)
		return 0; /* the set-up brings the master */
	if (p->open_stdin)
		r = make_pipe(&p->in.fd, &ret->fd[0], false);
	else if ((ret->fd[0] = open("/dev/null", O_RDONLY | O_CLOEXEC)) < 0)
		r = -errno;
	for (int i = 0; r == 0 && i < 2; i++) {
		if (output)
			r = make_pipe(&p->out[i].src.fd, &ret->fd[i + 1], true);
		else if ((ret->fd[i + 1] = open("/dev/null", O_WRONLY | O_CLOEXEC)) < 0)
			r = -errno;
	}
	return r < 0 ? cs_fail(err, CS_ERR_INTERNAL, -r, "create stdio") : 0;
}

void cs_stdio_set_pty(struct cs_proc *p, int master)
{
	(void)set_nonblock(master);
	p->out[0].src.fd = master;
	/* a descriptor of its own, so that input and output are two sources of the loop */
	p->in.fd = fcntl(master, F_DUPFD_CLOEXEC, 3);
	if (p->rows || p->cols)
		cs_stdio_resize(p, p->rows, p->cols);
}

void cs_stdio_resize(struct cs_proc *p, uint16_t rows, uint16_t cols)
{
	struct winsize ws = {.ws_row = rows, .ws_col = cols};

	p->rows = rows;
	p->cols = cols;
	if (p->tty && p->out[0].src.fd >= 0)
		(void)ioctl(p->out[0].src.fd, TIOCSWINSZ, &ws);
}

static void write_input(struct cs_proc *p)
{
	while (p->in_len && p->in.fd >= 0) {
		ssize_t n = write(p->in.fd, p->in_buf + p->in_at, p->in_len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			cs_source_watch(&p->in, EPOLLOUT);
			return;
		}
		if (n < 0) { /* the process closed its stdin */
			p->in_len = 0;
			p->in_close = true;
			break;
		}
		p->in_at += (size_t)n;
		p->in_len -= (size_t)n;
	}
	if (p->in_len)
		return; /* no descriptor yet */
	free(p->in_buf);
	p->in_buf = NULL;
	p->in_at = 0;
	if (p->in_close) {
		cs_source_close(&p->in);
		p->in_closed = true;
		return;
	}
	cs_source_watch(&p->in, 0);
}

void cs_stdio_run(struct cs_proc *p)
{
	for (int i = 0; i < 2; i++)
		cs_source_watch(&p->out[i].src, EPOLLIN);
	p->last_data = cs_monotonic_ns();
	write_input(p);
}

static void on_input(struct cs_source *s, uint32_t events)
{
	struct cs_proc *p = cs_container_of(s, struct cs_proc, in);

	(void)events; /* also EPOLLERR: the write finds out */
	write_input(p);
	if (!p->in_len)
		cs_client_resume_input(p);
}

void cs_stdio_input(struct cs_proc *p, const uint8_t *data, size_t len)
{
	if (!len || p->in_closed || p->in_close || !p->open_stdin || p->exited)
		return;
	if (!p->in_len && p->in.fd >= 0) {
		ssize_t n = write(p->in.fd, data, len);
		if (n > 0) {
			data += n;
			len -= (size_t)n;
		} else if (n < 0 && errno != EAGAIN && errno != EINTR) {
			p->in_close = true;
			write_input(p);
			return;
		}
		if (!len)
			return;
	}
	if (p->in_len + len > IN_BUF_MAX)
		return;
	if (p->in_at) {
		memmove(p->in_buf, p->in_buf + p->in_at, p->in_len);
		p->in_at = 0;
	}
	p->in_buf = cs_xrealloc(p->in_buf, p->in_len + len);
	memcpy(p->in_buf + p->in_len, data, len);
	p->in_len += len;
	cs_source_watch(&p->in, EPOLLOUT);
}

bool cs_stdio_input_full(const struct cs_proc *p) { return p->in_len > 0 && !p->in_closed; }

void cs_stdio_close_input(struct cs_proc *p)
{
	if (p->in_closed || p->tty)
		return;
	p->in_close = true;
	if (p->in.fd >= 0)
		write_input(p);
}

bool cs_stdio_is_open(const struct cs_proc *p) { return p->out[0].src.fd >= 0 || p->out[1].src.fd >= 0; }

/* A short pipe makes a fast writer and us take turns; but all pipes of a user share a limit, so only where it pays. */
static void grow(struct cs_stream_out *o)
{
	if (!o->grown && !o->proc->tty)
		(void)fcntl(o->src.fd, F_SETPIPE_SZ, PIPE_GROWN);
	o->grown = true;
}

static void ended(struct cs_stream_out *o)
{
	struct cs_proc *p = o->proc;

	cs_source_close(&o->src);
	if (!p->id[0])
		cs_log_eof(&worker.log, o->type - 1, cs_now_ns());
	if (p->tty) {
		cs_source_close(&p->in);
		p->in_closed = true;
	}
	if (!cs_stdio_is_open(p))
		cs_proc_output_done(p);
}

/* One read. > 0 bytes, 0 nothing there, -1 end. */
static ssize_t take(struct cs_stream_out *o)
{
	struct cs_proc *p = o->proc;
	ssize_t n = read(o->src.fd, cs_io_buf, CS_IO_BUF_SIZE);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0) /* EIO from a terminal: the last slave was closed */
		return -1;
	if (n >= 65536)
		grow(o);
	p->last_data = cs_monotonic_ns();
	if (!p->id[0]) {
		cs_log_feed(&worker.log, o->type - 1, cs_io_buf, (size_t)n, cs_now_ns());
		cs_recent_put(o->type, cs_io_buf, (size_t)n, p->last_data);
	}
	cs_client_output(p, o->type, cs_io_buf, (size_t)n);
	if (!worker.trim.at)
		cs_timer_arm(&worker.trim, p->last_data + CS_NS_PER_SEC);
	return n;
}

static void on_output(struct cs_source *s, uint32_t events)
{
	struct cs_stream_out *o = cs_container_of(s, struct cs_stream_out, src);

	if (take(o) >= 0)
		return;
	/* A terminal says EIO also while nobody has it open although the process lives on (getty does that). The hang-up state
	 * is level-triggered, so we look again a few times per second instead of spinning. */
	if (o->proc->tty && !o->proc->exited) {
		cs_source_watch(s, 0);
		cs_timer_arm(&o->proc->grace, cs_monotonic_ns() + 200 * CS_NS_PER_MS);
		return;
	}
	ended(o);
}

void cs_stdio_drain_and_close(struct cs_proc *p)
{
	for (int i = 0; i < 2; i++) {
		size_t total = 0;
		ssize_t n = 0;
		while (p->out[i].src.fd >= 0 && total < DRAIN_MAX && (n = take(&p->out[i])) > 0)
			total += (size_t)n;
		if (p->out[i].src.fd >= 0)
			ended(&p->out[i]);
	}
}

void cs_stdio_trim(void) { (void)madvise(cs_io_buf, CS_IO_BUF_SIZE, MADV_DONTNEED); }
