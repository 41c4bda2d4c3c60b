/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads log files in big blocks, in order, across rotation. Files are opened before anything is read: what is open cannot be rotated
 * away. While following, the end of a file that has been renamed leads to its successor, found by inode. */
#include "engine/log_files.h"

#include <fcntl.h>
#include <libgen.h>
#include <sys/stat.h>
#include <zlib.h>

#define BLOCK (256u << 10)
#define MAX_RECORD (8u << 20)
#define MAX_FILES 1000

struct source {
	int fd;
	gzFile gz; /* owns a duplicate of fd */
	struct stat st;
};
struct cs_log_files {
	int dirfd;
	char *name;
	bool json, follow;
	struct source *src; /* oldest first */
	size_t n, at;
	char *buf;
	size_t cap, pos, len;
	bool eof; /* of the current source, for now */
	char *owned; /* of the last record */
	int64_t skip; /* records still to drop (tail inside a compressed file) */
	/* position by time, for when the file being followed has vanished (compressed, or dropped) */
	char last_time[40];
	size_t last_len, last_count;
	int64_t last_ts;
	bool resync;
	size_t resync_seen;
	struct cs_log_pos mark; /* the end of the newest file when it was opened */
	struct cs_log_pos end;  /* cs_log_files_limit */
	int64_t end_at;
	bool limited, hold;
};

static void source_done(struct source *s)
{
	if (s->gz)
		(void)gzclose_r(s->gz);
	cs_close(s->fd);
	*s = (struct source){.fd = -EBADF};
}

static int open_one(struct cs_log_files *f, const char *name, bool gz, struct source *s)
{
	*s = (struct source){.fd = openat(f->dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY)};
	if (s->fd < 0)
		return -errno;
	if (fstat(s->fd, &s->st) < 0 || !S_ISREG(s->st.st_mode)) {
		source_done(s);
		return -EINVAL;
	}
	if (gz) {
		int dup = fcntl(s->fd, F_DUPFD_CLOEXEC, 3);
		s->gz = dup < 0 ? NULL : gzdopen(dup, "rb");
		if (!s->gz) {
			cs_close(dup);
			source_done(s);
			return -ENOMEM;
		}
		(void)gzbuffer(s->gz, 128 << 10);
	}
	return 0;
}

static int open_index(struct cs_log_files *f, unsigned i, struct source *s)
{
	if (i == 0)
		return open_one(f, f->name, false, s);
	cs_autofree char *plain = cs_xasprintf("%s.%u", f->name, i), *gz = cs_xasprintf("%s.%u.gz", f->name, i);
	int r = open_one(f, plain, false, s);
	return r == -ENOENT ? open_one(f, gz, true, s) : r;
}

static void drop_sources(struct cs_log_files *f)
{
	for (size_t i = 0; i < f->n; i++)
		source_done(&f->src[i]);
	free(f->src);
	f->src = NULL;
	f->n = f->at = 0;
}

/* All files, newest found first and then put in order. A rotation between two opens shows as a changed current file: start again. */
static int open_all(struct cs_log_files *f)
{
	for (int attempt = 0; attempt < 20; attempt++) {
		struct source s;
		struct stat st;
		drop_sources(f);
		for (unsigned i = 0; i < MAX_FILES; i++) {
			int r = open_index(f, i, &s);
			if (r == -ENOENT && i == 0)
				continue;
			if (r == -ENOENT)
				break;
			if (r < 0)
				return r;
			f->src = cs_xreallocarray(f->src, f->n + 1, sizeof(*f->src));
			memmove(f->src + 1, f->src, f->n * sizeof(*f->src));
			f->src[0] = s;
			f->n++;
		}
		if (f->n == 0)
			return 0;
		const struct source *last = &f->src[f->n - 1];
		if (fstatat(f->dirfd, f->name, &st, AT_SYMLINK_NOFOLLOW) < 0 || (st.st_ino == last->st.st_ino && st.st_dev == last->st.st_dev))
			return 0;
	}
	return 0; /* rotating faster than we can open: what is open is a valid, if not the newest, view */
}

static ssize_t source_read(struct source *s, char *buf, size_t n)
{
	ssize_t r;

	if (s->gz) {
		r = gzread(s->gz, buf, (unsigned)n);
		return r < 0 ? 0 : r; /* a damaged archive ends here */
	}
	do
		r = read(s->fd, buf, n);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : r;
}

/* ---- tail ---- */
static int64_t count_gz(struct cs_log_files *f, struct source *s)
{
	char *buf = cs_xmalloc(BLOCK);
	size_t have = 0;
	int64_t count = 0;
	ssize_t n;

	while ((n = source_read(s, buf + have, BLOCK - have)) > 0) {
		size_t len = have + (size_t)n, pos = 0;
		struct cs_log_rec r;
		if (f->json) {
			for (const char *p = buf, *q; (q = memchr(p, '\n', len - (size_t)(p - buf))); p = q + 1)
				count++;
			have = 0;
			continue;
		}
		ssize_t step;
		while ((step = cs_log_parse_local(buf + pos, len - pos, &r)) > 0) {
			count++;
			pos += (size_t)step;
		}
		if (step < 0 || (pos == 0 && len == BLOCK))
			break;
		memmove(buf, buf + pos, len - pos);
		have = len - pos;
	}
	free(buf);
	(void)gzrewind(s->gz);
	return count;
}

/* Offset of the record that is the `want`th from the end; *want is lowered by the records that are behind it. */
static off_t seek_json(struct source *s, int64_t *want)
{
	char *buf = cs_xmalloc(BLOCK);
	off_t end = s->st.st_size, at = 0;
	bool first = true;

	while (end > 0) {
		off_t from = end > (off_t)BLOCK ? end - (off_t)BLOCK : 0;
		ssize_t n = pread(s->fd, buf, (size_t)(end - from), from);
		if (n <= 0)
			break;
		const char *p = buf + n, *q;
		if (first && p[-1] == '\n')
			p--; /* the newline that ends the last record */
		first = false;
		while (p > buf && (q = memrchr(buf, '\n', (size_t)(p - buf)))) {
			if (--*want == 0) {
				at = from + (q - buf) + 1;
				free(buf);
				return at;
			}
			p = q;
		}
		end = from;
	}
	free(buf);
	if (s->st.st_size > 0)
		--*want;
	return 0;
}

static off_t seek_local(struct source *s, int64_t *want)
{
	off_t end = s->st.st_size;
	uint32_t n, head;

	while (end >= 20 && *want > 0) {
		if (pread(s->fd, &n, 4, end - 4) != 4 || n < 20 || n > end || pread(s->fd, &head, 4, end - n) != 4 || head != n) {
			/* torn end: count from the front instead of guessing */
			return 0;
		}
		end -= n;
		--*want;
	}
	return *want == 0 ? end : 0;
}

static void seek_tail(struct cs_log_files *f, int64_t want)
{
	if (want <= 0) {
		f->at = f->n ? f->n - 1 : 0;
		if (f->n)
			(void)lseek(f->src[f->at].fd, 0, SEEK_END);
		return;
	}
	for (size_t i = f->n; i-- > 0;) {
		struct source *s = &f->src[i];
		f->at = i;
		if (s->gz) {
			int64_t have = count_gz(f, s);
			if (have >= want) {
				f->skip = have - want;
				return;
			}
			want -= have;
			continue;
		}
		off_t at = f->json ? seek_json(s, &want) : seek_local(s, &want);
		if (want <= 0) {
			(void)lseek(s->fd, at, SEEK_SET);
			return;
		}
	}
}

/* ---- life ---- */
int cs_log_files_open(const char *path, bool json, int64_t tail, bool follow, struct cs_log_files **ret, struct cs_err **err)
{
	const char *slash = strrchr(path, '/');
	struct cs_log_files *f = cs_xcalloc(1, sizeof(*f));
	cs_autofree char *dir = slash ? cs_xstrndup(path, (size_t)(slash - path)) : cs_xstrdup(".");

	f->json = json;
	f->follow = follow;
	f->name = cs_xstrdup(slash ? slash + 1 : path);
	f->dirfd = open(*dir ? dir : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (f->dirfd < 0) {
		cs_fail(err, CS_ERR_INTERNAL, errno, "open %s", dir);
		cs_log_files_free(f);
		return -1;
	}
	int r = open_all(f);
	if (r < 0) {
		cs_fail(err, CS_ERR_INTERNAL, -r, "open log %s", path);
		cs_log_files_free(f);
		return -1;
	}
	if (f->n) {
		const struct stat *st = &f->src[f->n - 1].st;
		f->mark = (struct cs_log_pos){st->st_dev, st->st_ino, st->st_size};
	}
	if (tail >= 0)
		seek_tail(f, tail);
	*ret = f;
	return 0;
}

static bool is_file(const struct source *s, const struct cs_log_pos *p) { return s->st.st_dev == p->dev && s->st.st_ino == p->ino; }

static int64_t offset(struct cs_log_files *f) { return (int64_t)lseek(f->src[f->at].fd, 0, SEEK_CUR) - (int64_t)(f->len - f->pos); }

bool cs_log_files_position(struct cs_log_files *f, struct cs_log_pos *ret)
{
	if (f->n == 0 || f->at + 1 < f->n || f->src[f->at].gz || f->skip > 0 || f->resync)
		return false;
	const struct source *s = &f->src[f->at];
	*ret = (struct cs_log_pos){s->st.st_dev, s->st.st_ino, offset(f)};
	return !is_file(s, &f->mark) || ret->offset >= f->mark.offset;
}

void cs_log_files_hold(struct cs_log_files *f, bool hold) { f->hold = hold; }

void cs_log_files_limit(struct cs_log_files *f, const struct cs_log_pos *end, int64_t at)
{
	f->limited = end;
	f->end_at = 0;
	if (!end)
		return;
	f->end = *end;
	for (size_t i = 0; i < f->n; i++)
		if (!f->src[i].gz && is_file(&f->src[i], end))
			return;
	f->end_at = at;
}

/* Is the next record behind the limit? */
static bool at_limit(struct cs_log_files *f)
{
	return f->limited && !f->end_at && f->n && !f->src[f->at].gz && is_file(&f->src[f->at], &f->end) && offset(f) >= f->end.offset;
}

void cs_log_files_free(struct cs_log_files *f)
{
	if (!f)
		return;
	drop_sources(f);
	cs_close(f->dirfd);
	free(f->name);
	free(f->buf);
	free(f->owned);
	free(f);
}

/* ---- reading ---- */
/* More bytes behind what is unread; 0 at the end of the source. */
static int fill(struct cs_log_files *f)
{
	if (f->pos) {
		memmove(f->buf, f->buf + f->pos, f->len - f->pos);
		f->len -= f->pos;
		f->pos = 0;
	}
	if (f->cap - f->len < BLOCK / 2) {
		if (f->cap >= MAX_RECORD) {
			f->len = 0; /* no writer makes such a record: drop the rubbish */
		} else {
			f->cap = f->cap ? f->cap * 2 : BLOCK;
			f->buf = cs_xrealloc(f->buf, f->cap);
		}
	}
	ssize_t n = source_read(&f->src[f->at], f->buf + f->len, f->cap - f->len);
	if (n > 0)
		f->len += (size_t)n;
	return (int)CS_MIN(n, 1);
}

/* One record out of the buffer: 1, 0 more bytes needed. `last`: no more will come, an unfinished line may still be whole. */
static int take(struct cs_log_files *f, bool last, struct cs_log_rec *r)
{
	while (f->pos < f->len) {
		const char *p = f->buf + f->pos;
		size_t n = f->len - f->pos;
		if (!f->json) {
			ssize_t step = cs_log_parse_local(p, n, r);
			if (step == 0)
				return 0;
			if (step < 0) {
				f->pos = f->len; /* torn: nothing behind it can be trusted */
				return 0;
			}
			f->pos += (size_t)step;
			return 1;
		}
		const char *nl = memchr(p, '\n', n);
		if (!nl && !last)
			return 0;
		size_t line = nl ? (size_t)(nl - p) : n;
		f->pos += line + (nl != NULL);
		if (cs_log_parse_json(p, line, r)) {
			f->owned = r->owned;
			return 1;
		}
	}
	return 0;
}

static void remember(struct cs_log_files *f, const struct cs_log_rec *r)
{
	if (!f->json) {
		f->last_count = r->ts == f->last_ts ? f->last_count + 1 : 1;
		f->last_ts = r->ts;
		return;
	}
	size_t n = CS_MIN(r->time_len, sizeof(f->last_time));
	if (n == f->last_len && memcmp(f->last_time, r->time, n) == 0) {
		f->last_count++;
		return;
	}
	memcpy(f->last_time, r->time, n);
	f->last_len = n;
	f->last_count = 1;
}

/* After a resync: drops what had been delivered before. */
static bool delivered(struct cs_log_files *f, struct cs_log_rec *r)
{
	struct cs_log_rec last = {.time = f->json ? f->last_time : NULL, .time_len = f->last_len, .ts = f->last_ts};

	if (!cs_log_rec_time(r) || !cs_log_rec_time(&last) || f->last_count == 0 || r->ts > last.ts) {
		f->resync = false;
		return false;
	}
	if (r->ts == last.ts && f->resync_seen++ >= f->last_count) {
		f->resync = false;
		return false;
	}
	return true;
}

/* The current source is at its end. 1: continue with another, 0: nothing for now. */
static int next_source(struct cs_log_files *f)
{
	struct stat st, now;
	struct source s;

	if (f->at + 1 < f->n) {
		f->at++;
		f->pos = f->len = 0;
		return 1;
	}
	if (!f->follow || (f->hold && f->n))
		return 0;
	if (f->n == 0) {
		if (open_index(f, 0, &s) < 0)
			return 0;
		f->src = cs_xcalloc(1, sizeof(*f->src));
		f->src[0] = s;
		f->n = 1;
		return 1;
	}
	struct source *cur = &f->src[f->at];
	if (fstatat(f->dirfd, f->name, &now, AT_SYMLINK_NOFOLLOW) < 0 || fstat(cur->fd, &st) < 0)
		return 0;
	if (now.st_ino == st.st_ino && now.st_dev == st.st_dev) {
		off_t at = lseek(cur->fd, 0, SEEK_CUR);
		if (st.st_size >= at)
			return 0;
		(void)lseek(cur->fd, 0, SEEK_SET); /* rotated in place (max-file 1) */
		f->pos = f->len = 0;
		return 1;
	}
	/* Rotated. The writer was done with our file before it renamed it, but perhaps not when we last read. */
	off_t at = lseek(cur->fd, 0, SEEK_CUR);
	if (!cur->gz && st.st_size > at)
		return 1;
	for (unsigned i = 1; i < MAX_FILES; i++) {
		cs_autofree char *name = cs_xasprintf("%s.%u", f->name, i);
		struct stat old;
		if (fstatat(f->dirfd, name, &old, AT_SYMLINK_NOFOLLOW) < 0 || old.st_ino != st.st_ino)
			continue;
		if (open_index(f, i - 1, &s) < 0)
			break;
		struct stat again;
		/* between the two looks it may have moved on: then the successor is another one */
		if (fstatat(f->dirfd, name, &again, AT_SYMLINK_NOFOLLOW) < 0 || again.st_ino != st.st_ino) {
			source_done(&s);
			break;
		}
		source_done(cur);
		*cur = s;
		f->pos = f->len = 0;
		return 1;
	}
	/* Compressed or dropped meanwhile: all files again, without what was delivered. */
	if (open_all(f) < 0 || f->n == 0)
		return 0;
	f->resync = true;
	f->resync_seen = 0;
	f->pos = f->len = 0;
	return 1;
}

int cs_log_files_next(struct cs_log_files *f, struct cs_log_rec *r)
{
	free(TAKE_PTR(f->owned));
	for (;;) {
		if (at_limit(f))
			return 0;
		if (f->n) {
			bool final = f->at + 1 < f->n || !f->follow;
			if (take(f, f->eof && final, r)) {
				if (f->skip > 0 ? f->skip-- > 0 : f->resync && delivered(f, r)) {
					free(TAKE_PTR(f->owned));
					continue;
				}
				if (f->end_at && cs_log_rec_time(r) && r->ts > f->end_at)
					return 0;
				if (f->follow)
					remember(f, r);
				return 1;
			}
			int n = f->eof && final ? 0 : fill(f);
			if (n < 0)
				return n;
			if (n > 0) {
				f->eof = false;
				continue;
			}
			if (final && !f->eof) {
				f->eof = true;
				continue; /* once more for an unfinished last line */
			}
		}
		if (next_source(f) == 0) {
			f->eof = false;
			return 0;
		}
		f->eof = false;
	}
}
