/* SPDX-License-Identifier: Apache-2.0
 *
 * Line assembly and batched writing; see log.h. A record is either in the file whole or not at all: after a failed write the file is cut
 * back to what was there before the batch. */
#include "worker/log.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/str.h"
#include "base/time.h"

#define BUF_SIZE (256u << 10)
#define MAX_ATTRS (128u << 10)

int cs_log_open(struct cs_log *l, const struct cs_log_opts *o, struct cs_err **err)
{
	l->driver = o->driver;
	l->fd = l->dirfd = -EBADF;
	l->max_size = o->max_size;
	l->max_file = o->max_file ? o->max_file : 1;
	l->compress = o->compress;
	const char *slash = strrchr(o->path, '/');
	if (slash) { /* also with driver none: spill files of slow clients go there */
		cs_autofree char *dir = cs_xstrndup(o->path, (size_t)(slash - o->path) + (slash == o->path));
		l->dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (l->dirfd < 0 && o->driver != CS_LOG_NONE)
			return cs_fail(err, CS_ERR_INTERNAL, errno, "open log directory %s", dir);
	}
	if (o->driver == CS_LOG_NONE)
		return 0;
	if (!slash || !slash[1])
		return cs_fail(err, CS_ERR_INVALID, 0, "log path %s is not absolute", o->path);
	if (strlen(o->attrs) > MAX_ATTRS)
		return cs_fail(err, CS_ERR_INVALID, 0, "log attributes are longer than %u bytes", MAX_ATTRS);
	l->name = cs_xstrdup(slash + 1);
	int r = cs_log_open_file(l, false);
	if (r < 0)
		return cs_fail(err, r == -ENOSPC || r == -EDQUOT ? CS_ERR_NO_SPACE : CS_ERR_INTERNAL, -r, "open log file %s", o->path);
	for (int i = 0; i < 2 && l->driver == CS_LOG_JSON; i++)
		l->mid[i] = cs_log_json_mid(i, o->attrs, &l->mid_len);
	if (l->compress)
		cs_log_compress_next(l); /* what an earlier worker left */
	return 0;
}

static bool need_buf(struct cs_log *l)
{
	if (!l->buf) {
		void *p = mmap(NULL, BUF_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (p == MAP_FAILED)
			return false;
		l->buf = p;
		l->cap = BUF_SIZE;
	}
	return true;
}

uint8_t *cs_log_borrow(struct cs_log *l, size_t *cap)
{
	if (l->len || !need_buf(l))
		return NULL;
	*cap = l->cap;
	return l->buf;
}

void cs_log_trim(struct cs_log *l)
{
	cs_log_flush(l);
	if (l->buf)
		(void)munmap(l->buf, l->cap);
	l->buf = NULL;
	l->cap = 0;
}

static void warnf(struct cs_log *l, const char *fmt, ...) CS_PRINTF(2, 3);
static void warnf(struct cs_log *l, const char *fmt, ...)
{
	struct cs_str s = CS_STR_INIT(4096);
	va_list ap;

	va_start(ap, fmt);
	cs_str_vputf(&s, fmt, ap);
	va_end(ap);
	if (l->warn && s.buf)
		l->warn(l->ctx, s.buf);
	cs_str_done(&s);
}

static void write_failed(struct cs_log *l, size_t written, int error)
{
	struct stat st;

	/* O_APPEND: what we wrote of this batch is the end of the file, wherever somebody else has moved that */
	if (written && (fstat(l->fd, &st) < 0 || st.st_size < (off_t)written || ftruncate(l->fd, st.st_size - (off_t)written) < 0))
		l->size += written; /* a torn record stays; readers skip it */
	l->lost += l->len;
	int64_t now = cs_monotonic_ns();
	/* on a disk that is nearly full small batches still fit: say it once a minute, not at each change */
	if (!l->failing && (!l->warned_at || now - l->warned_at > 60 * CS_NS_PER_SEC)) {
		l->warned_at = now;
		l->told = true;
		warnf(l, "writing to the log failed, output is not logged until it works again: %s", cs_errno_text(error));
	}
	l->failing = true;
}

void cs_log_flush(struct cs_log *l)
{
	size_t done = 0;

	if (!l->len)
		return;
	while (done < l->len) {
		ssize_t n = l->fd < 0 ? -1 : write(l->fd, l->buf + done, l->len - done);
		if (n < 0 && l->fd >= 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			write_failed(l, done, l->fd < 0 ? EBADF : n < 0 ? errno : ENOSPC);
			l->len = 0;
			return;
		}
		done += (size_t)n;
	}
	l->size += l->len;
	l->len = 0;
	if (l->failing) {
		l->failing = false;
		if (l->told) {
			warnf(l, "writing to the log works again, %llu bytes of records were lost", (unsigned long long)l->lost);
			l->told = false;
			l->lost = 0;
		}
	}
}

static void rotate(struct cs_log *l)
{
	struct stat st;

	cs_log_flush(l);
	/* somebody may have truncated the file behind our back */
	if (l->fd >= 0 && fstat(l->fd, &st) == 0 && (uint64_t)st.st_size < l->max_size) {
		l->size = (uint64_t)st.st_size;
		return;
	}
	int r = cs_log_rotate(l);
	if (r < 0 && !l->rotate_failed)
		warnf(l, "rotating the log failed: %s", cs_errno_text(-r));
	l->rotate_failed = r < 0;
	if (r < 0)
		l->size = 0; /* try again after another max_size, not at each record */
}

static void record(struct cs_log *l, int stream, const uint8_t *text, size_t n, bool more, int64_t ts)
{
	size_t room = CS_LOG_ROOM(n) + l->mid_len;

	if (!need_buf(l)) {
		l->lost += n;
		return;
	}
	if (l->max_size && l->size + l->len >= l->max_size)
		rotate(l);
	if (l->cap - l->len < room)
		cs_log_flush(l);
	uint8_t *d = l->buf + l->len;
	if (l->driver == CS_LOG_JSON)
		d = cs_log_json_record(d, text, n, !more, l->mid[stream], l->mid_len, ts);
	else
		d = cs_log_local_record(d, text, n, stream, more, ts);
	l->len = (size_t)(d - l->buf);
}

/* One piece of a line; `more`: the line goes on. The first piece's time is kept for all pieces. */
static void piece(struct cs_log *l, int stream, const uint8_t *text, size_t n, bool more, int64_t now)
{
	struct cs_log_line *b = &l->line[stream];

	if (!b->partial)
		b->first_ts = now;
	record(l, stream, text, n, more, b->first_ts);
	b->partial = more;
}

static void pend(struct cs_log_line *b, const uint8_t *data, size_t n)
{
	if (b->len + n > b->cap) {
		size_t cap = b->len + n <= 512 ? 512 : CS_LOG_PIECE;
		b->pend = cs_xrealloc(b->pend, cap);
		b->cap = cap;
	}
	memcpy(b->pend + b->len, data, n);
	b->len += n;
}

static void unpend(struct cs_log_line *b)
{
	free(b->pend);
	b->pend = NULL;
	b->len = b->cap = 0;
}

/* Part of a line up to, but not with, its newline (has_end) or up to the end of what was read. */
static void segment(struct cs_log *l, int stream, const uint8_t *data, size_t n, bool has_end, int64_t now)
{
	struct cs_log_line *b = &l->line[stream];

	while (b->len + n >= CS_LOG_PIECE) {
		size_t take = CS_LOG_PIECE - b->len;
		if (b->len) {
			pend(b, data, take);
			piece(l, stream, b->pend, b->len, true, now);
			b->len = 0;
		} else {
			piece(l, stream, data, take, true, now);
		}
		data += take;
		n -= take;
	}
	if (!has_end) {
		if (n)
			pend(b, data, n);
		return;
	}
	if (b->len) {
		pend(b, data, n);
		piece(l, stream, b->pend, b->len, false, now);
	} else {
		piece(l, stream, data, n, false, now);
	}
	if (b->pend)
		unpend(b);
}

void cs_log_feed(struct cs_log *l, int stream, const uint8_t *data, size_t len, int64_t now)
{
	if (l->driver == CS_LOG_NONE)
		return;
	while (len) {
		const uint8_t *nl = memchr(data, '\n', len);
		size_t n = nl ? (size_t)(nl - data) : len;
		segment(l, stream, data, n, nl, now);
		data += n + (nl != NULL);
		len -= n + (nl != NULL);
	}
}

void cs_log_eof(struct cs_log *l, int stream, int64_t now)
{
	struct cs_log_line *b = &l->line[stream];

	if (l->driver == CS_LOG_NONE)
		return;
	if (b->len)
		piece(l, stream, b->pend, b->len, true, now);
	b->partial = false;
	unpend(b);
}

int cs_log_reopen(struct cs_log *l, struct cs_err **err)
{
	if (l->driver == CS_LOG_NONE)
		return 0;
	cs_log_flush(l);
	int r = cs_log_open_file(l, false);
	return r < 0 ? cs_fail(err, CS_ERR_INTERNAL, -r, "reopen log file %s", l->name) : 0;
}
