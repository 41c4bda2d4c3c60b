/* SPDX-License-Identifier: Apache-2.0
 *
 * What the process needs around the engine: pidfile, readiness, limits, the dump on SIGUSR1. Main thread only. */
#include <dirent.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/io.h"
#include "base/log.h"
#include "base/num.h"
#include "base/path.h"
#include "base/time.h"
#include "daemon/daemon.h"
#include "engine/engine.h"

#define WANTED_FILES 1048576
#define DUMP_MAX (4u << 20)

/* Locks the file and writes our PID into it. CONFLICT: *ret_holder (caller frees) is what stands there. */
static int take_lock(const char *path, mode_t mode, char **ret_holder, struct cs_err **err)
{
	cs_autostr struct cs_str old = CS_STR_INIT(64);
	cs_autofree char *text = cs_xasprintf("%d", (int)getpid());
	cs_autofd int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, mode);

	if (fd < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "open %s", path);
	/* A lock of this process, not of the open file: a child between clone and execve has our descriptors, and would keep the next daemon out
	 * for a moment after a SIGKILL. Nothing else in the daemon may open this file, closing it would let go of the lock. */
	if (fcntl(fd, F_SETLK, &(struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET}) < 0) {
		(void)cs_read_fd(fd, &old);
		*ret_holder = cs_xstrndup(old.buf ? old.buf : "?", strcspn(old.buf ? old.buf : "?", "\n"));
		return cs_fail(err, CS_ERR_CONFLICT, 0, "%s is locked", path);
	}
	int r = ftruncate(fd, 0) < 0 ? -errno : cs_write_full(fd, text, strlen(text));
	if (r < 0 && r != -ENOSPC) /* the lock counts; on a full disk its file is empty */
		return cs_fail(err, CS_ERR_INTERNAL, -r, "write %s", path);
	(void)TAKE_FD(fd); /* the lock lives as long as we do */
	return 0;
}

int cs_pidfile_take(const char *path, struct cs_err **err)
{
	cs_autofree char *dir = cs_xstrndup(path, strrchr(path, '/') ? (size_t)(strrchr(path, '/') - path) : 0), *holder = NULL;
	cs_autoerr struct cs_err *inner = NULL;
	int r;

	if (*dir && (r = cs_mkdir_p(AT_FDCWD, dir, 0755)) < 0)
		return cs_fail(err, CS_ERR_INTERNAL, -r, "create %s", dir);
	if (take_lock(path, 0644, &holder, &inner) == 0)
		return 0;
	if (holder)
		return cs_fail(err, CS_ERR_CONFLICT, 0, "failed to start daemon, ensure caissond is not running or delete %s: process with PID %s is still running", path, holder);
	(void)cs_wrap(&inner, "pidfile");
	return cs_err_move(err, TAKE_PTR(inner));
}

int cs_root_take(const char *dir, struct cs_err **err)
{
	cs_autofree char *path = cs_xasprintf("%s/lock", dir), *holder = NULL;
	cs_autoerr struct cs_err *inner = NULL;

	if (take_lock(path, 0600, &holder, &inner) == 0)
		return 0;
	if (holder) /* with a pidfile of its own it would start, and take the other's containers and layers for rubbish */
		return cs_fail(err, CS_ERR_CONFLICT, 0, "%s is in use by another caissond (PID %s)", dir, holder);
	return cs_err_move(err, TAKE_PTR(inner));
}

void cs_notify(const char *state)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	const char *path = getenv("NOTIFY_SOCKET");
	size_t n = path ? strlen(path) : 0;
	cs_autofd int fd = -EBADF;

	if (n == 0 || n >= sizeof(sa.sun_path))
		return;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	memcpy(sa.sun_path, path, n);
	if (sa.sun_path[0] == '@')
		sa.sun_path[0] = '\0';
	if (fd < 0 || sendto(fd, state, strlen(state), MSG_NOSIGNAL, (void *)&sa, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n)) < 0)
		cs_debug("daemon", "notify systemd: %s", cs_errno_text(errno));
}

static void raise_files(void)
{
	struct rlimit want = { WANTED_FILES, WANTED_FILES }, have;

	if (getrlimit(RLIMIT_NOFILE, &have) < 0)
		return;
	if (have.rlim_max != RLIM_INFINITY && have.rlim_max < WANTED_FILES && setrlimit(RLIMIT_NOFILE, &want) == 0)
		return;
	have.rlim_cur = have.rlim_max == RLIM_INFINITY ? WANTED_FILES : have.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &have);
}

bool cs_process_setup(int64_t oom_score)
{
	struct sigaction ignore = { .sa_handler = SIG_IGN }, reap = { .sa_handler = SIG_DFL, .sa_flags = SA_NOCLDWAIT };

	(void)umask(022);
	sigaction(SIGPIPE, &ignore, NULL);
	sigaction(SIGCHLD, &reap, NULL); /* children are watched by pidfd; nobody waits for them */
	/* Many short-lived threads: two arenas, and freed memory goes back at once. */
	(void)mallopt(M_ARENA_MAX, 2);
	(void)mallopt(M_TRIM_THRESHOLD, 128 * 1024);
	(void)mallopt(M_MMAP_THRESHOLD, 128 * 1024);
	raise_files();
	cs_autofree char *score = cs_xasprintf("%lld", (long long)oom_score);
	return cs_write_file_at(AT_FDCWD, "/proc/self/oom_score_adj", score, strlen(score)) >= 0; /* a lower one needs CAP_SYS_RESOURCE */
}

static void dump_file(int task, const char *tid, const char *name, struct cs_str *out)
{
	cs_autofree char *path = cs_xasprintf("%s/%s", tid, name);
	cs_autostr struct cs_str text = CS_STR_INIT(16384);

	if (cs_read_file_at(task, path, &text) < 0 || text.len == 0)
		return;
	while (text.len > 0 && text.buf[text.len - 1] == '\n')
		text.buf[--text.len] = '\0';
	cs_str_putf(out, "  %s: %s%s\n", name, strchr(text.buf, '\n') ? "\n" : "", text.buf);
}

static void dump_threads(struct cs_str *out)
{
	int task = open("/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = task >= 0 ? fdopendir(task) : NULL;
	struct dirent *e;

	if (!d) {
		cs_close(task);
		return;
	}
	while ((e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		cs_str_putf(out, "thread %s\n", e->d_name);
		dump_file(task, e->d_name, "comm", out);
		dump_file(task, e->d_name, "wchan", out);
		dump_file(task, e->d_name, "syscall", out);
		dump_file(task, e->d_name, "stack", out);
	}
	closedir(d);
}

void cs_dump(struct cs_engine *e, const char *exec_root)
{
	cs_autostr struct cs_str out = CS_STR_INIT(DUMP_MAX);
	cs_autofree char *path = NULL;
	char now[CS_TIME_BUF];
	int r;

	cs_time_format(cs_now_ns(), now);
	path = cs_xasprintf("%s/dump-%s.txt", exec_root, now);
	cs_str_putf(&out, "caissond %d at %s\n\n== threads ==\n", (int)getpid(), now);
	dump_threads(&out);
	cs_str_puts(&out, "\n== engine ==\n");
	cs_engine_dump(e, &out);
	r = cs_replace_file_at(AT_FDCWD, path, out.buf, out.len, 0600, false);
	if (r < 0)
		cs_warn("daemon", "write %s: %s", path, cs_errno_text(-r));
	else
		cs_info("daemon", "dump written to %s", path);
	for (char *p = out.buf, *nl; (nl = strchr(p, '\n')); p = nl + 1)
		cs_info("dump", "%.*s", (int)(nl - p), p);
}

/* First of the places relative to this program that can be accessed as `mode` says, or NULL. */
static char *find_beside(const char *const *places, size_t n, int mode)
{
	char exe[4096];
	ssize_t len = readlink("/proc/self/exe", exe, sizeof(exe) - 1);

	if (len < 0)
		return NULL;
	exe[len] = '\0';
	*strrchr(exe, '/') = '\0';
	for (size_t i = 0; i < n; i++) {
		cs_autofree char *path = cs_xasprintf("%s/%s", exe, places[i]);
		if (access(path, mode) == 0)
			return TAKE_PTR(path);
	}
	return NULL;
}

int cs_find_worker(const char *configured, char **ret, struct cs_err **err)
{
	static const char *const places[] = { "caisson-worker", "../lib/caisson/caisson-worker", "../libexec/caisson/caisson-worker" };
	char *found;

	if (!cs_empty(configured)) {
		if (access(configured, X_OK) < 0)
			return cs_fail(err, CS_ERR_INVALID, errno, "worker %s", configured);
		*ret = cs_xstrdup(configured);
		return 0;
	}
	found = find_beside(places, CS_ARRAY_SIZE(places), X_OK);
	if (!found)
		return cs_fail(err, CS_ERR_NOT_FOUND, 0, "caisson-worker is neither beside caissond nor in ../lib/caisson; name it with --worker");
	*ret = found;
	return 0;
}

char *cs_find_base_image(void)
{
	static const char *const places[] = { "caisson-base.tar", "../share/caisson/caisson-base.tar", "../lib/caisson/caisson-base.tar" };

	return find_beside(places, CS_ARRAY_SIZE(places), R_OK);
}
