/* SPDX-License-Identifier: Apache-2.0
 *
 * Rotation: <name>.1 is the newest old file, <name>.<max_file - 1> the oldest. With compression a child turns <name>.<i> into
 * <name>.<i>.gz, one at a time; a reader must expect either. The child writes <name>.gz.tmp, the worker renames it when it is whole, so a
 * killed worker leaves at most an uncompressed file, which the next one compresses. */
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/io.h"
#include "base/sys.h"
#include "worker/log.h"

static char *old_name(const struct cs_log *l, unsigned i, bool gz) { return cs_xasprintf("%s.%u%s", l->name, i, gz ? ".gz" : ""); }

/* ---- who follows ---- */

void cs_log_file_put(struct cs_log_file *f)
{
	while (f && --f->refs == 0) {
		struct cs_log_file *next = f->next;
		cs_close(f->fd);
		free(f);
		f = next;
	}
}

struct cs_log_file *cs_log_file_next(struct cs_log_file *f)
{
	struct cs_log_file *next = f->next;

	if (next)
		next->refs++;
	cs_log_file_put(f);
	return next;
}

static struct cs_log_file *file_new(int fd, uint64_t before)
{
	struct cs_log_file *f = cs_xcalloc(1, sizeof(*f));

	f->refs = 1;
	f->before = before;
	f->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	return f;
}

struct cs_log_file *cs_log_file_get(struct cs_log *l)
{
	if (l->driver == CS_LOG_NONE || l->fd < 0)
		return NULL;
	if (!l->current)
		l->current = file_new(l->fd, 0);
	if (l->current->fd < 0) {
		cs_log_file_put(TAKE_PTR(l->current));
		return NULL;
	}
	l->current->refs++;
	return l->current;
}

void cs_log_unfollowed(struct cs_log *l)
{
	if (l->current && l->current->refs == 1)
		cs_log_file_put(TAKE_PTR(l->current));
}

/* l->fd has been opened: another file, mostly. */
static void file_changed(struct cs_log *l)
{
	struct cs_log_file *old = l->current;
	struct stat was, is;

	if (!old)
		return;
	bool known = old->fd >= 0 && fstat(old->fd, &was) == 0;
	if (known && fstat(l->fd, &is) == 0 && was.st_dev == is.st_dev && was.st_ino == is.st_ino) /* the same, opened again */
		return;
	l->current = NULL;
	old->full = true;
	if (old->refs > 1) {
		old->next = file_new(l->fd, old->before + (known ? (uint64_t)was.st_size : 0));
		old->next->refs++;
		l->current = old->next;
	}
	cs_log_file_put(old);
}

int cs_log_open_file(struct cs_log *l, bool truncate)
{
	struct stat st;
	cs_autofd int fd =
		openat(l->dirfd, l->name, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | (truncate ? O_TRUNC : 0), 0640);

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	int64_t good = l->driver == CS_LOG_JSON ? cs_log_json_good_end(fd, st.st_size) : cs_log_local_good_end(fd, st.st_size);
	if (good >= 0 && good < st.st_size && ftruncate(fd, good) == 0)
		st.st_size = good;
	cs_close(l->fd);
	l->fd = TAKE_FD(fd);
	l->size = (uint64_t)st.st_size;
	file_changed(l);
	return 0;
}

static void shift(struct cs_log *l, unsigned i, bool gz)
{
	cs_autofree char *from = old_name(l, i, gz), *to = old_name(l, i + 1, gz);
	cs_autofree char *other = old_name(l, i + 1, !gz);

	/* the target's other form must go, or an index would have two files */
	if (renameat(l->dirfd, from, l->dirfd, to) == 0)
		(void)unlinkat(l->dirfd, other, 0);
}

static void drop(struct cs_log *l, unsigned i)
{
	cs_autofree char *plain = old_name(l, i, false), *gz = old_name(l, i, true);

	(void)unlinkat(l->dirfd, plain, 0);
	(void)unlinkat(l->dirfd, gz, 0);
}

int cs_log_rotate(struct cs_log *l)
{
	if (l->max_file < 2) {
		bool followed = l->current && l->current->refs > 1; /* who is behind reads on in the old file */
		if (followed)
			(void)unlinkat(l->dirfd, l->name, 0);
		return cs_log_open_file(l, !followed);
	}
	drop(l, l->max_file - 1);
	for (unsigned i = l->max_file - 2; i >= 1; i--) {
		shift(l, i, true);
		shift(l, i, false);
	}
	if (l->gz_pid)
		l->gz_index++;
	cs_autofree char *first = old_name(l, 1, false);
	if (renameat(l->dirfd, l->name, l->dirfd, first) < 0 && errno != ENOENT)
		return -errno; /* the old file goes on growing; better than losing output */
	int r = cs_log_open_file(l, false);
	if (r < 0) /* we go on writing to the old file: it has its name again, and is neither compressed nor deleted meanwhile */
		(void)renameat(l->dirfd, first, l->dirfd, l->name);
	else if (l->compress)
		cs_log_compress_next(l);
	return r;
}

static _Noreturn void compressor(int in, int out, pid_t parent)
{
	/* ends with the worker; and must not hold open the worker's sockets, pipes and terminals */
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	(void)prctl(PR_SET_NAME, "caisson-log");
	(void)cs_write_file_at(AT_FDCWD, "/proc/self/oom_score_adj", "0", 1); /* the worker's is not for what can be done again */
	if (dup2(in, 0) < 0 || dup2(out, 1) < 0)
		_exit(1);
	(void)sys_close_range(3, ~0u, 0);
	(void)setpriority(PRIO_PROCESS, 0, 10);
	_exit(cs_log_gzip(0, 1) == 0 ? 0 : 1);
}

void cs_log_compress_next(struct cs_log *l)
{
	cs_autofd int in = -EBADF;
	unsigned i;

	if (l->gz_pid)
		return;
	/* oldest first: it was rotated first */
	for (i = l->max_file - 1; i >= 1 && in < 0; i--) {
		cs_autofree char *name = old_name(l, i, false);
		in = openat(l->dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	}
	if (in < 0)
		return;
	cs_autofree char *tmp = cs_xasprintf("%s.gz.tmp", l->name);
	cs_autofd int out = openat(l->dirfd, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0640);
	if (out < 0)
		return;
	pid_t self = getpid(), pid = fork();
	if (pid == 0)
		compressor(in, out, self);
	if (pid > 0) {
		l->gz_pid = pid;
		l->gz_index = i + 1;
	}
}

bool cs_log_reaped(struct cs_log *l, pid_t pid, int status)
{
	if (!l->gz_pid || pid != l->gz_pid)
		return false;
	cs_autofree char *tmp = cs_xasprintf("%s.gz.tmp", l->name);
	bool ok = WIFEXITED(status) && WEXITSTATUS(status) == 0;

	l->gz_pid = 0;
	if (ok && l->gz_index < l->max_file) {
		cs_autofree char *plain = old_name(l, l->gz_index, false), *gz = old_name(l, l->gz_index, true);
		if (renameat(l->dirfd, tmp, l->dirfd, gz) == 0)
			(void)unlinkat(l->dirfd, plain, 0);
	} else {
		(void)unlinkat(l->dirfd, tmp, 0);
	}
	if (ok) /* after a failure (disk full) the next rotation tries again */
		cs_log_compress_next(l);
	return true;
}

void cs_log_retire(struct cs_log *l)
{
	cs_log_trim(l);
	if (l->gz_pid) {
		cs_autofree char *tmp = cs_xasprintf("%s.gz.tmp", l->name);
		(void)kill(l->gz_pid, SIGKILL);
		(void)waitpid(l->gz_pid, NULL, 0);
		(void)unlinkat(l->dirfd, tmp, 0);
		l->gz_pid = 0;
	}
	cs_close(l->fd);
	cs_close(l->dirfd);
	l->fd = l->dirfd = -EBADF;
}

void cs_log_close(struct cs_log *l)
{
	cs_log_retire(l);
	for (int i = 0; i < 2; i++) {
		free(l->mid[i]);
		free(l->line[i].pend);
		l->mid[i] = NULL;
		l->line[i] = (struct cs_log_line){0};
	}
	cs_log_file_put(TAKE_PTR(l->current));
	free(l->name);
	l->name = NULL;
	l->driver = CS_LOG_NONE;
}
