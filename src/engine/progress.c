/* SPDX-License-Identifier: Apache-2.0
 *
 * Lines of Docker's progress stream. One thread per stream. */
#include "engine/progress.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>

#include "base/json.h"
#include "base/log.h"

#define BAR_WIDTH 50

void cs_progress_init(struct cs_progress *p, struct cs_queue *q)
{
	p->queue = q;
	atomic_init(&p->broken, 0);
	p->first_fd = -EBADF;
	cs_str_init(&p->line, 1u << 20);
}

void cs_progress_done(struct cs_progress *p) { cs_str_done(&p->line); }

const char *cs_human_size(double bytes, char *buf)
{
	static const char *const unit[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"};
	size_t i = 0;

	for (; bytes >= 1000 && i + 1 < CS_ARRAY_SIZE(unit); i++)
		bytes /= 1000;
	(void)snprintf(buf, 32, "%.4g%s", bytes, unit[i]);
	return buf;
}

void cs_progress_bar(struct cs_str *out, int64_t current, int64_t total)
{
	char a[32], b[32];

	if (current <= 0 && total <= 0)
		return;
	if (total <= 0) {
		cs_str_putf(out, "%8s", cs_human_size((double)current, a));
		return;
	}
	int done = (int)((double)current / (double)total * 100) / 2;
	done = CS_MIN(done, BAR_WIDTH);
	cs_str_putc(out, '[');
	for (int i = 0; i < done; i++)
		cs_str_putc(out, '=');
	cs_str_putc(out, '>');
	for (int i = done; i < BAR_WIDTH; i++)
		cs_str_putc(out, ' ');
	cs_str_puts(out, "] ");
	if (current > total)
		cs_str_putf(out, "%8s", cs_human_size((double)current, a));
	else
		cs_str_putf(out, "%8s/%s", cs_human_size((double)current, a), cs_human_size((double)total, b));
}

static void begin(struct cs_progress *p)
{
	cs_str_clear(&p->line);
	cs_str_putc(&p->line, '{');
}

static void first_line(struct cs_progress *p)
{
	if (p->first_fd >= 0)
		(void)eventfd_write(TAKE_FD(p->first_fd), 1);
}

static void put(struct cs_progress *p, const char *text, size_t len)
{
	first_line(p);
	if (!atomic_load(&p->broken))
		atomic_store(&p->broken, cs_queue_write(p->queue, text, len));
}

static void send(struct cs_progress *p)
{
	cs_str_puts(&p->line, "}\r\n");
	if (!p->line.failed)
		put(p, p->line.buf, p->line.len);
}

/* A string as Go's encoder writes it: the three characters that HTML minds, escaped. */
static void put_html(struct cs_str *out, const char *key, const char *text)
{
	cs_autostr struct cs_str plain = CS_STR_INIT(1u << 20);

	cs_json_put_key(out, key);
	cs_json_put_string(&plain, text);
	for (size_t i = 0; i < plain.len; i++) {
		char c = plain.buf[i];
		if (c == '<' || c == '>' || c == '&')
			cs_str_putf(out, "\\u%04x", (unsigned)c);
		else
			cs_str_putc(out, c);
	}
}

static void say(struct cs_progress *p, const char *member, const char *id, const char *fmt, va_list ap)
{
	cs_autostr struct cs_str text = CS_STR_INIT(1u << 16);

	cs_str_vputf(&text, fmt, ap);
	begin(p);
	put_html(&p->line, member, text.buf ? text.buf : "");
	if (!cs_empty(id))
		put_html(&p->line, "id", id);
	send(p);
}

void cs_progress_status(struct cs_progress *p, const char *id, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(p, "status", id, fmt, ap);
	va_end(ap);
}

void cs_progress_stream(struct cs_progress *p, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(p, "stream", NULL, fmt, ap);
	va_end(ap);
}

void cs_progress_step(struct cs_progress *p, const char *id, const char *action, int64_t current, int64_t total)
{
	begin(p);
	put_html(&p->line, "status", action);
	cs_json_put_key(&p->line, "progressDetail");
	cs_str_putc(&p->line, '{');
	if (current > 0)
		cs_json_put_ki64(&p->line, "current", current);
	if (total > 0)
		cs_json_put_ki64(&p->line, "total", total);
	cs_str_putc(&p->line, '}');
	if (current > 0 || total > 0) {
		cs_autostr struct cs_str bar = CS_STR_INIT(256);
		cs_progress_bar(&bar, current, total);
		put_html(&p->line, "progress", bar.buf ? bar.buf : "");
	}
	put_html(&p->line, "id", id);
	send(p);
}

void cs_progress_count(struct cs_progress *p, const char *id, const char *status, int64_t current, int64_t total, const char *units)
{
	begin(p);
	put_html(&p->line, "status", status);
	cs_json_put_key(&p->line, "progressDetail");
	cs_str_putc(&p->line, '{');
	cs_json_put_ki64(&p->line, "current", current);
	cs_json_put_ki64(&p->line, "total", total);
	cs_json_put_kstr(&p->line, "units", units);
	cs_str_putc(&p->line, '}');
	put_html(&p->line, "id", id);
	cs_str_puts(&p->line, "}\r\n");
	first_line(p);
	if (!atomic_load(&p->broken) && !p->line.failed && cs_queue_offer(p->queue, p->line.buf, p->line.len) == -EPIPE)
		atomic_store(&p->broken, -EPIPE);
}

void cs_progress_json(struct cs_progress *p, const char *json, size_t len)
{
	put(p, json, len);
	put(p, "\r\n", 2);
}

void cs_progress_aux(struct cs_progress *p, const char *json)
{
	begin(p);
	cs_str_puts(&p->line, "\"progressDetail\":{},\"aux\":");
	cs_str_puts(&p->line, json);
	send(p);
}

void cs_progress_error(struct cs_progress *p, const char *text)
{
	begin(p);
	cs_str_puts(&p->line, "\"errorDetail\":{");
	put_html(&p->line, "message", text);
	cs_str_putc(&p->line, '}');
	put_html(&p->line, "error", text);
	send(p);
}

/* ---- a stream of its own ---- */
static atomic_uint jobs; /* from their start until their ctx is gone */
static int stop_fd = -EBADF;
static pthread_once_t stop_once = PTHREAD_ONCE_INIT;

static void make_stop(void)
{
	stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (stop_fd < 0)
		abort();
}

unsigned cs_progress_stop(int timeout_ms)
{
	(void)pthread_once(&stop_once, make_stop);
	(void)eventfd_write(stop_fd, 1);
	/* once, at the end of the process: a short nap does */
	for (int ms = 0; atomic_load(&jobs) && ms < timeout_ms; ms += 5)
		(void)poll(NULL, 0, 5);
	return atomic_load(&jobs);
}

struct job {
	cs_progress_work *work;
	void *ctx;
	void (*done)(void *ctx);
	bool over;            /* done was called */
	int first_fd;         /* owned; -1: nobody waits for a first line */
	struct cs_err *early; /* of work that wrote nothing; before first_fd is written to */
};

/* Nothing of the engine is needed any more, though somebody may still read what was written. */
static void job_over(struct job *j)
{
	if (j->over)
		return;
	j->over = true;
	if (j->done)
		j->done(j->ctx);
	atomic_fetch_sub(&jobs, 1);
}

static void job_done(void *ctx)
{
	struct job *j = ctx;

	job_over(j);
	cs_close(j->first_fd);
	cs_err_free(j->early);
	free(j);
}

static int job_main(struct cs_producer *p)
{
	struct job *j = p->ctx;
	struct cs_progress out;
	cs_autoerr struct cs_err *err = NULL;

	cs_progress_init(&out, p->queue);
	out.first_fd = j->first_fd;
	int r = j->work(&out, p, j->ctx, &err);
	if (r < 0 && out.first_fd >= 0) {
		j->early = TAKE_PTR(err);
	} else if (r < 0) {
		cs_autofree char *text = cs_err_text(err);
		cs_debug("engine", "the stream of an answer ends: %s", text);
		cs_progress_error(&out, text);
	}
	job_over(j);
	if (out.first_fd >= 0)
		(void)eventfd_write(out.first_fd, 1);
	cs_progress_done(&out);
	return 0;
}

static int start_job(cs_progress_work *work, void *ctx, void (*done)(void *ctx), int first_fd, struct job **ret_job, struct cs_stream **ret, struct cs_err **err)
{
	struct job *j = cs_xcalloc(1, sizeof(*j));

	*j = (struct job){.work = work, .ctx = ctx, .done = done, .first_fd = first_fd};
	(void)pthread_once(&stop_once, make_stop);
	atomic_fetch_add(&jobs, 1);
	*ret_job = j;
	return cs_producer_start(job_main, j, job_done, 64u << 10, ret, err);
}

int cs_progress_begin(cs_progress_work *work, void *ctx, void (*done)(void *ctx), struct cs_stream **ret, struct cs_err **err)
{
	struct job *j;
	return start_job(work, ctx, done, -EBADF, &j, ret, err);
}

int cs_progress_start(cs_progress_work *work, void *ctx, void (*done)(void *ctx), int client_fd, struct cs_stream **ret, struct cs_err **err)
{
	int first_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct cs_stream *s;
	struct job *j;

	if (first_fd < 0) {
		int e = errno;
		if (done)
			done(ctx);
		return cs_fail(err, CS_ERR_INTERNAL, e, "event descriptor");
	}
	if (start_job(work, ctx, done, first_fd, &j, &s, err) < 0)
		return -1;
	struct pollfd p[3] = {{.fd = first_fd, .events = POLLIN}, {.fd = client_fd, .events = POLLRDHUP}, {.fd = stop_fd, .events = POLLIN}};
	while (p[0].revents == 0 && p[1].revents == 0 && p[2].revents == 0) {
		if (poll(p, 3, -1) < 0 && errno != EINTR)
			break;
	}
	if (p[0].revents == 0) {
		bool stopping = p[2].revents;
		cs_stream_free(s);
		return cs_fail(err, stopping ? CS_ERR_UNAVAILABLE : CS_ERR_CANCELLED, 0, stopping ? "the daemon is shutting down" : "the client has gone");
	}
	if (j->early) {
		(void)cs_err_move(err, TAKE_PTR(j->early));
		cs_stream_free(s);
		return -1;
	}
	*ret = s;
	return 0;
}
