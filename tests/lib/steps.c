/* SPDX-License-Identifier: Apache-2.0
 *
 * Preloaded into the daemon (steps.py): counts the calls that change something outside of the process, over all its threads, and at the one that was
 * asked for kills the process, or lets the call fail. strace's injection counts by thread, so that the N-th call is another in each run; and it is slow.
 * Built with gcc -shared -fPIC -O1. What the static worker does is not seen. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NAMES 4000
#define NAME_LEN 120
enum { NETLINK = 1, FILES = 2, KERNEL = 4, PORTS = 8, LOCAL = 16, RECEIVE = 32, MESSAGES = 64 };

/* steps.py knows this layout */
struct control {
	_Atomic unsigned armed; /* 0: nothing is counted */
	unsigned kinds, at;     /* which kinds count; the step at which it happens, from 1; 0: count only */
	unsigned error;         /* 0: SIGKILL */
	unsigned sticky;        /* all later steps of these kinds fail, too */
	_Atomic unsigned count;
	char name[NAMES][NAME_LEN];
};
static struct control *c;
static pid_t self;

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("STEPS_CONTROL");
	int fd = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0) : -1;
	void *p = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(*c), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (fd >= 0)
		close(fd);
	unsetenv("STEPS_CONTROL");
	unsetenv("LD_PRELOAD");
	if (p == MAP_FAILED)
		return;
	self = getpid();
	c = p;
}

/* True: the call fails with errno set. */
static int step(unsigned kind, const char *fmt, ...)
{
	va_list ap;

	if (!c || !atomic_load(&c->armed) || !(c->kinds & kind) || getpid() != self)
		return 0;
	int saved = errno;
	unsigned n = atomic_fetch_add(&c->count, 1) + 1;
	if (n <= NAMES) {
		va_start(ap, fmt);
		vsnprintf(c->name[n - 1], NAME_LEN, fmt, ap);
		va_end(ap);
	}
	errno = saved;
	if (!c->at || n < c->at || (n > c->at && !(c->sticky && c->error)))
		return 0;
	if (!c->error) {
		kill(self, SIGKILL);
		for (;;)
			pause();
	}
	errno = (int)c->error;
	return 1;
}

#define NEXT(type, name, ...)                                                                          \
	static type (*next)(__VA_ARGS__);                                                              \
	if (!next)                                                                                     \
		*(void **)&next = dlsym(RTLD_NEXT, name)

static int family(int fd)
{
	int f = 0, saved = errno;
	socklen_t len = sizeof(f);

	if (!c || !atomic_load(&c->armed) || getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &f, &len) < 0)
		f = 0;
	errno = saved;
	return f;
}

static int sent(int fd, const char *call, const void *first, size_t len)
{
	int f = family(fd);

	if (f == AF_NETLINK)
		return step(NETLINK, "%s netlink type %u, %zu bytes", call, len >= 6 && first ? ((const unsigned short *)first)[2] : 0, len);
	return f == AF_UNIX ? step(LOCAL, "%s unix %zu bytes", call, len) : 0;
}

/* One message of a batch is of a type that the kernel does not know: it refuses that one, and goes on with the next. */
static void *spoilt(int fd, const void *buf, size_t len)
{
	int protocol = -1, saved = errno;
	socklen_t n = sizeof(protocol);
	char *copy = NULL;

	if (!c || !atomic_load(&c->armed) || !(c->kinds & MESSAGES) || family(fd) != AF_NETLINK || getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &n) < 0 ||
	    protocol != NETLINK_ROUTE) {
		errno = saved;
		return NULL;
	}
	for (size_t at = 0; at + sizeof(struct nlmsghdr) <= len;) {
		const struct nlmsghdr *h = (const void *)((const char *)buf + at);
		if (h->nlmsg_len < sizeof(*h) || h->nlmsg_len > len - at)
			break;
		if (step(MESSAGES, "message type %u of %zu bytes at %zu", h->nlmsg_type, len, at)) {
			copy = malloc(len);
			memcpy(copy, buf, len);
			((struct nlmsghdr *)(void *)(copy + at))->nlmsg_type = 0x7ff0;
			((struct nlmsghdr *)(void *)(copy + at))->nlmsg_flags &= (unsigned short)~NLM_F_DUMP;
			break;
		}
		at += NLMSG_ALIGN(h->nlmsg_len);
	}
	errno = saved;
	return copy;
}

ssize_t sendto(int fd, const void *buf, size_t len, int flags, const struct sockaddr *to, socklen_t to_len)
{
	NEXT(ssize_t, "sendto", int, const void *, size_t, int, const struct sockaddr *, socklen_t);
	void *other = spoilt(fd, buf, len);
	if (other) {
		ssize_t n = next(fd, other, len, flags, to, to_len);
		free(other);
		return n;
	}
	return sent(fd, "sendto", buf, len) ? -1 : next(fd, buf, len, flags, to, to_len);
}

ssize_t sendmsg(int fd, const struct msghdr *m, int flags)
{
	NEXT(ssize_t, "sendmsg", int, const struct msghdr *, int);
	size_t len = 0;
	for (size_t i = 0; i < m->msg_iovlen; i++)
		len += m->msg_iov[i].iov_len;
	return sent(fd, "sendmsg", m->msg_iovlen ? m->msg_iov[0].iov_base : NULL, len) ? -1 : next(fd, m, flags);
}

ssize_t send(int fd, const void *buf, size_t len, int flags)
{
	NEXT(ssize_t, "send", int, const void *, size_t, int);
	return sent(fd, "send", buf, len) ? -1 : next(fd, buf, len, flags);
}

/* The answer is lost: what was asked for has happened. */
ssize_t recvmsg(int fd, struct msghdr *m, int flags)
{
	NEXT(ssize_t, "recvmsg", int, struct msghdr *, int);
	if (c && (c->kinds & RECEIVE) && family(fd) == AF_NETLINK) {
		ssize_t n = next(fd, m, flags);
		return n > 0 && step(RECEIVE, "recvmsg netlink") ? -1 : n;
	}
	return next(fd, m, flags);
}

ssize_t recv(int fd, void *buf, size_t len, int flags)
{
	NEXT(ssize_t, "recv", int, void *, size_t, int);
	ssize_t n = next(fd, buf, len, flags);
	return n > 0 && c && (c->kinds & RECEIVE) && family(fd) == AF_NETLINK && step(RECEIVE, "recv netlink") ? -1 : n;
}

int bind(int fd, const struct sockaddr *a, socklen_t len)
{
	NEXT(int, "bind", int, const struct sockaddr *, socklen_t);
	int f = a->sa_family;
	return (f == AF_INET || f == AF_INET6) && step(PORTS, "bind family %d", f) ? -1 : next(fd, a, len);
}

int socket(int domain, int type, int protocol)
{
	NEXT(int, "socket", int, int, int);
	return domain == AF_NETLINK && c && c->error && step(KERNEL, "socket netlink %d", protocol) ? -1 : next(domain, type, protocol);
}

int setns(int fd, int type)
{
	NEXT(int, "setns", int, int);
	return step(KERNEL, "setns") ? -1 : next(fd, type);
}

int unshare(int flags)
{
	NEXT(int, "unshare", int);
	return step(KERNEL, "unshare %x", flags) ? -1 : next(flags);
}

int mount(const char *what, const char *where, const char *type, unsigned long flags, const void *data)
{
	NEXT(int, "mount", const char *, const char *, const char *, unsigned long, const void *);
	return step(KERNEL, "mount %s", where) ? -1 : next(what, where, type, flags, data);
}

#define PATH_CALL(name, args, pass, path)                                                              \
	int name args                                                                                  \
	{                                                                                              \
		static int(*next) args;                                                                \
		if (!next)                                                                             \
			*(void **)&next = dlsym(RTLD_NEXT, #name);                                     \
		return step(FILES, #name " %.80s", path) ? -1 : next pass;                             \
	}
PATH_CALL(mkdir, (const char *path, mode_t mode), (path, mode), path)
PATH_CALL(mkdirat, (int dir, const char *path, mode_t mode), (dir, path, mode), path)
PATH_CALL(rmdir, (const char *path), (path), path)
PATH_CALL(unlink, (const char *path), (path), path)
PATH_CALL(unlinkat, (int dir, const char *path, int flags), (dir, path, flags), path)
PATH_CALL(rename, (const char *from, const char *to), (from, to), to)
PATH_CALL(renameat, (int d1, const char *from, int d2, const char *to), (d1, from, d2, to), to)
PATH_CALL(renameat2, (int d1, const char *from, int d2, const char *to, unsigned flags), (d1, from, d2, to, flags), to)
PATH_CALL(linkat, (int d1, const char *from, int d2, const char *to, int flags), (d1, from, d2, to, flags), to)
PATH_CALL(symlinkat, (const char *to, int dir, const char *path), (to, dir, path), path)

#define FD_CALL(name, args, pass)                                                                      \
	int name args                                                                                  \
	{                                                                                              \
		static int(*next) args;                                                                \
		if (!next)                                                                             \
			*(void **)&next = dlsym(RTLD_NEXT, #name);                                     \
		return step(FILES, #name) ? -1 : next pass;                                            \
	}
FD_CALL(fsync, (int fd), (fd))
FD_CALL(fdatasync, (int fd), (fd))
FD_CALL(syncfs, (int fd), (fd))
FD_CALL(ftruncate64, (int fd, off64_t len), (fd, len))

static int writes(int flags) { return (flags & O_ACCMODE) != O_RDONLY || (flags & O_CREAT); }

int open64(const char *path, int flags, ...)
{
	NEXT(int, "open64", const char *, int, ...);
	va_list ap;
	va_start(ap, flags);
	mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(ap, mode_t) : 0;
	va_end(ap);
	return writes(flags) && step(FILES, "open %.80s", path) ? -1 : next(path, flags, mode);
}

int openat64(int dir, const char *path, int flags, ...)
{
	NEXT(int, "openat64", int, const char *, int, ...);
	va_list ap;
	va_start(ap, flags);
	mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(ap, mode_t) : 0;
	va_end(ap);
	return writes(flags) && step(FILES, "openat %.80s", path) ? -1 : next(dir, path, flags, mode);
}

int __openat64_2(int dir, const char *path, int flags)
{
	NEXT(int, "__openat64_2", int, const char *, int);
	return writes(flags) && step(FILES, "openat %.80s", path) ? -1 : next(dir, path, flags);
}

ssize_t pwrite64(int fd, const void *buf, size_t len, off64_t at)
{
	NEXT(ssize_t, "pwrite64", int, const void *, size_t, off64_t);
	return step(FILES, "pwrite %zu at %lld", len, (long long)at) ? -1 : next(fd, buf, len, at);
}

/* The daemon's log is no step: it is on descriptor 2. */
ssize_t write(int fd, const void *buf, size_t len)
{
	NEXT(ssize_t, "write", int, const void *, size_t);
	struct stat st;
	int saved = errno, is_file = fd > 2 && c && atomic_load(&c->armed) && fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
	errno = saved;
	return is_file && step(FILES, "write %zu: %.*s", len, len < 40 ? (int)len : 40, (const char *)buf) ? -1 : next(fd, buf, len);
}

/* Those without a function of their own. */
long syscall(long nr, ...)
{
	long a[6];
	va_list ap;
	va_start(ap, nr);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	int fail = 0;
	if (c && atomic_load(&c->armed)) {
		if (nr == SYS_bpf)
			fail = step(KERNEL, "bpf %ld", a[0]);
		else if (nr == SYS_openat2 && writes((int)*(unsigned long *)a[2]))
			fail = step(FILES, "openat2 %.80s", (const char *)a[1]);
		else if (nr == SYS_move_mount || nr == SYS_fsmount)
			fail = step(KERNEL, "mount %ld", nr);
		else if (nr == SYS_clone3)
			fail = step(KERNEL, "clone3");
	}
	if (fail)
		return -1;
	register long r10 __asm__("r10") = a[3];
	register long r8 __asm__("r8") = a[4];
	register long r9 __asm__("r9") = a[5];
	long r;
	__asm__ volatile("syscall" : "=a"(r) : "0"(nr), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
	if (r < 0 && r > -4096) {
		errno = (int)-r;
		return -1;
	}
	return r;
}
