/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/io.h"
#include "base/str.h"
#include "base/sys.h"

ssize_t cs_read_full(int fd, void *buf, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = read(fd, (char *)buf + done, len - done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

int cs_write_full(int fd, const void *buf, size_t len)
{
	while (len) {
		ssize_t n = write(fd, buf, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		buf = (const char *)buf + n;
		len -= (size_t)n;
	}
	return 0;
}

int cs_pwrite_full(int fd, const void *buf, size_t len, int64_t off)
{
	while (len) {
		ssize_t n = pwrite(fd, buf, len, off);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		buf = (const char *)buf + n;
		len -= (size_t)n;
		off += n;
	}
	return 0;
}

int cs_read_fd(int fd, struct cs_str *s)
{
	size_t chunk = 1000; /* most are small: a block of the heap, and the end is found in what is left of it */

	for (;;) {
		size_t room = s->max - s->len, left = s->cap > s->len ? s->cap - s->len - 1 : 0;
		if (room == 0) {
			char extra;
			ssize_t n = cs_read_full(fd, &extra, 1);
			return n == 0 ? 0 : n < 0 ? (int)n : -EFBIG;
		}
		size_t want = CS_MIN(room, left >= 64 ? left : chunk);
		char *p = cs_str_reserve(s, want);
		if (!p)
			return -ENOMEM;
		ssize_t n = read(fd, p, want);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		s->len += (size_t)n;
		s->buf[s->len] = 0;
		if (n == 0)
			return 0;
		if (chunk < (1u << 20) && (size_t)n == want)
			chunk *= 4;
	}
}

int cs_read_file_at(int dirfd, const char *path, struct cs_str *s)
{
	cs_autofd int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	return cs_read_fd(fd, s);
}

int cs_write_file_at(int dirfd, const char *path, const void *data, size_t len)
{
	cs_autofd int fd = openat(dirfd, path, O_WRONLY | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	ssize_t n;
	do
		n = write(fd, data, len);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : (size_t)n == len ? 0 : -EIO;
}

int cs_replace_file_at(int dirfd, const char *path, const void *data, size_t len, unsigned mode, bool sync)
{
	cs_autofree char *tmp = cs_xasprintf("%s.tmp-%d-%llx", path, (int)getpid(), (unsigned long long)(uintptr_t)&data);
	cs_autofd int fd = openat(dirfd, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
	int r;

	if (fd < 0)
		return -errno;
	r = cs_write_full(fd, data, len);
	if (r == 0 && sync && fsync(fd) < 0)
		r = -errno;
	if (r == 0 && renameat(dirfd, tmp, dirfd, path) < 0)
		r = -errno;
	if (r < 0) {
		(void)unlinkat(dirfd, tmp, 0);
		return r;
	}
	if (sync) {
		const char *slash = strrchr(path, '/');
		cs_autofree char *dir = slash ? cs_xstrndup(path, (size_t)(slash - path) + (slash == path)) : cs_xstrdup(".");
		cs_autofd int dfd = openat(dirfd, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (dfd < 0 || fsync(dfd) < 0)
			return -errno;
	}
	return 0;
}

int cs_mkdir_p(int dirfd, const char *path, unsigned mode)
{
	/* mostly only the last part is missing */
	if (mkdirat(dirfd, path, mode) == 0)
		return 0;
	if (errno != ENOENT && errno != EEXIST)
		return -errno;
	cs_autofree char *p = cs_xstrdup(path);

	for (char *s = p + (*p == '/');; s++) {
		if (*s && *s != '/')
			continue;
		char c = *s;
		*s = 0;
		if (*p && mkdirat(dirfd, p, mode) < 0 && errno != EEXIST)
			return -errno;
		*s = c;
		if (!c)
			break;
	}
	struct stat st;
	if (fstatat(dirfd, path, &st, 0) < 0)
		return -errno;
	return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

/* A tree may be deeper than the stack or the table of descriptors: what lies deeper than this moves up to the top, and the top is gone
 * through until nothing comes there any more. */
#define REMOVE_DEPTH 64

struct removal {
	const atomic_bool *stop; /* or NULL */
	int top;
	dev_t dev;
	unsigned moved;
};

static int remove_children(struct removal *x, int fd, int depth);

static int move_up(struct removal *x, int dirfd, const char *name)
{
	char to[32];

	for (;;) {
		(void)snprintf(to, sizeof(to), ".deep-%u", x->moved++);
		/* by number: musl has no renameat2 */
		if (syscall(SYS_renameat2, dirfd, name, x->top, to, 1u /* RENAME_NOREPLACE */) == 0 || errno == ENOENT)
			return 0;
		if (errno != EEXIST)
			return -errno;
	}
}

static int remove_one(struct removal *x, int dirfd, const char *name, int depth)
{
	if (x->stop && atomic_load(x->stop))
		return -ECANCELED;
	if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
		return 0;
	int why = errno;
	if (why != EISDIR && why != EPERM && why != EBUSY)
		return -why;
	/* below the top nothing that is mounted is entered, be it a bind of the same file system */
	cs_autofd int fd = sys_openat2(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK, 0, depth ? RESOLVE_NO_XDEV : 0);
	if (fd == -ENOTDIR || fd == -ELOOP) /* no directory: a file that is mounted on, or immutable */
		return -why;
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	struct stat st;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (depth == 0)
		x->dev = st.st_dev;
	if (st.st_dev != x->dev)
		return -EXDEV;
	if (depth > REMOVE_DEPTH)
		return move_up(x, dirfd, name);
	int r = remove_children(x, TAKE_FD(fd), depth + 1);
	if (r < 0)
		return r;
	return unlinkat(dirfd, name, AT_REMOVEDIR) == 0 || errno == ENOENT ? 0 : -errno;
}

/* Takes fd. */
static int remove_children(struct removal *x, int fd, int depth)
{
	DIR *d = fdopendir(fd);
	struct dirent *e;
	unsigned before;
	int r = 0;

	if (!d) {
		r = -errno;
		cs_close(fd);
		return r;
	}
	if (depth == 1)
		x->top = dirfd(d);
	do {
		before = x->moved;
		while ((errno = 0, e = readdir(d))) {
			if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
				continue;
			int one = remove_one(x, dirfd(d), e->d_name, depth);
			if (one < 0 && r == 0)
				r = one;
			if (one == -ECANCELED)
				break;
		}
		if (!e && errno && r == 0)
			r = -errno;
		rewinddir(d);
	} while (depth == 1 && r == 0 && x->moved != before);
	(void)closedir(d);
	return r;
}

int cs_remove_tree_until(int dirfd, const char *path, const atomic_bool *stop)
{
	struct removal x = {.stop = stop, .top = -EBADF};
	return remove_one(&x, dirfd, path, 0);
}

int cs_remove_tree_at(int dirfd, const char *path) { return cs_remove_tree_until(dirfd, path, NULL); }

ssize_t cs_send_fds(int sock, const void *buf, size_t len, const int *fds, size_t n_fds, int flags)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(CS_MAX_FDS * sizeof(int))];
	} control = {0};
	struct iovec iov = {.iov_base = (void *)(uintptr_t)buf, .iov_len = len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	if (n_fds > CS_MAX_FDS)
		return -EINVAL;
	if (n_fds) {
		msg.msg_control = control.space;
		msg.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(c), fds, n_fds * sizeof(int));
	}
	do
		n = sendmsg(sock, &msg, flags | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

ssize_t cs_recv_fds(int sock, void *buf, size_t len, int *fds, size_t *n_fds, int flags)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(CS_MAX_FDS * sizeof(int))];
	} control;
	struct iovec iov = {.iov_base = buf, .iov_len = len};
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof(control.space)};
	size_t cap = n_fds ? *n_fds : 0, got = 0;
	ssize_t n;

	do
		n = recvmsg(sock, &msg, flags | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n_fds)
		*n_fds = 0;
	if (n < 0)
		return -errno;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (got < cap)
				fds[got++] = fd;
			else
				cs_close(fd);
		}
	}
	if (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
		for (size_t i = 0; i < got; i++)
			cs_close(fds[i]);
		return -EMSGSIZE;
	}
	if (n_fds)
		*n_fds = got;
	return n;
}
