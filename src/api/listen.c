/* SPDX-License-Identifier: Apache-2.0
 *
 * Listening sockets: unix://, tcp://, and those that systemd opened (fd://). A stale socket file is replaced, a living one is not. */
#include <fcntl.h>
#include <grp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "api/http.h"
#include "base/io.h"
#include "base/log.h"
#include "base/num.h"
#include "base/path.h"
#include "base/strv.h"

#define BACKLOG 4096 /* the kernel takes no more than net.core.somaxconn */
#define LISTEN_FDS_START 3

static void push(struct cs_listener **list, size_t *n, int fd, char *path, bool tcp)
{
	*list = cs_xreallocarray(*list, *n + 1, sizeof(**list));
	(*list)[(*n)++] = (struct cs_listener){ .fd = fd, .unlink_path = path, .tcp = tcp };
}

/* ---- unix ---- */

/* Who called listen(2) is gone, and only a child of it that has not come to its execve yet has the socket: nobody will ever accept. */
static bool is_orphaned(int fd)
{
	struct ucred who = {0};
	socklen_t n = sizeof(who);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &n) == 0 && who.pid > 0 && kill(who.pid, 0) < 0 && errno == ESRCH;
}

static int remove_stale(const struct sockaddr_un *sa, struct cs_err **err)
{
	cs_autofd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct stat st;

	if (lstat(sa->sun_path, &st) < 0)
		return 0;
	if (!S_ISSOCK(st.st_mode))
		return cs_fail(err, CS_ERR_CONFLICT, 0, "%s exists and is not a socket", sa->sun_path);
	if (fd >= 0 && connect(fd, (const void *)sa, sizeof(*sa)) == 0 && !is_orphaned(fd))
		return cs_fail(err, CS_ERR_CONFLICT, 0, "can't create unix socket %s: another process listens on it", sa->sun_path);
	if (unlink(sa->sun_path) < 0 && errno != ENOENT)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "remove stale socket %s", sa->sun_path);
	return 0;
}

static int group_id(const char *name, gid_t *ret, struct cs_err **err)
{
	cs_autofree char *buf = cs_xmalloc(16384);
	struct group g, *found = NULL;
	uint64_t n;

	if (cs_empty(name)) /* the default: docker's group if there is one */
		name = "docker";
	else if (cs_parse_u64(name, 0, UINT32_MAX - 1, &n)) {
		*ret = (gid_t)n;
		return 0;
	} else {
		if (getgrnam_r(name, &g, buf, 16384, &found) != 0 || !found)
			return cs_fail(err, CS_ERR_INVALID, 0, "group %s not found", name);
		*ret = g.gr_gid;
		return 0;
	}
	*ret = getgrnam_r(name, &g, buf, 16384, &found) == 0 && found ? g.gr_gid : 0;
	return 0;
}

static int open_unix(const char *path, const char *group, struct cs_listener **list, size_t *n, struct cs_err **err)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	cs_autofd int fd = -EBADF;
	cs_autofree char *parent = NULL;
	gid_t gid = 0;
	int r;

	if (path[0] != '/' || strlen(path) >= sizeof(sa.sun_path))
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid unix socket path %s: it must be absolute and shorter than %zu bytes", path, sizeof(sa.sun_path));
	memcpy(sa.sun_path, path, strlen(path) + 1);
	if (group_id(group, &gid, err) < 0)
		return -1;
	parent = cs_xstrndup(path, (size_t)(strrchr(path, '/') - path));
	if (*parent && (r = cs_mkdir_p(AT_FDCWD, parent, 0755)) < 0)
		return cs_fail(err, CS_ERR_INTERNAL, -r, "create %s", parent);
	if (remove_stale(&sa, err) < 0)
		return -1;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "create socket");
	/* Nobody may connect between bind and chown: the mode is narrowed on the socket before it gets a name. */
	if (fchmod(fd, 0600) < 0 || bind(fd, (const void *)&sa, sizeof(sa)) < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "listen on %s", path);
	if (fchownat(AT_FDCWD, path, 0, gid, AT_SYMLINK_NOFOLLOW) < 0 || fchmodat(AT_FDCWD, path, 0660, 0) < 0 || listen(fd, BACKLOG) < 0) {
		(void)cs_fail(err, CS_ERR_INTERNAL, errno, "set owner and mode of %s", path);
		(void)unlink(path);
		return -1;
	}
	push(list, n, TAKE_FD(fd), cs_xstrdup(path), false);
	return 0;
}

/* ---- tcp ---- */

static int split_host(const char *spec, bool tls, char **host, char **port, struct cs_err **err)
{
	const char *colon = strrchr(spec, ':'), *close_bracket = strrchr(spec, ']');
	size_t hlen;
	uint64_t n;

	if (colon && close_bracket && colon < close_bracket)
		colon = NULL;
	hlen = colon ? (size_t)(colon - spec) : strcspn(spec, "/");
	if (colon && *(colon + 1) && !cs_parse_u64(colon + 1, 0, 65535, &n))
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid bind address (tcp://%s): the port must be a number up to 65535", spec);
	*port = cs_xstrdup(colon && *(colon + 1) ? colon + 1 : tls ? "2376" : "2375");
	if (hlen >= 2 && spec[0] == '[' && spec[hlen - 1] == ']')
		*host = cs_xstrndup(spec + 1, hlen - 2);
	else
		*host = hlen ? cs_xstrndup(spec, hlen) : cs_xstrdup("localhost");
	return 0;
}

static int open_one_address(const struct addrinfo *a)
{
	cs_autofd int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int one = 1;

	if (fd < 0)
		return -errno;
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (a->ai_family == AF_INET6)
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	if (bind(fd, a->ai_addr, a->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0)
		return -errno;
	return TAKE_FD(fd);
}

static int open_tcp(const char *spec, bool tls, struct cs_listener **list, size_t *n, struct cs_err **err)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE }, *found = NULL;
	cs_autofree char *host = NULL, *port = NULL;
	int r, last = -EADDRNOTAVAIL;
	size_t before = *n;

	if (split_host(spec, tls, &host, &port, err) < 0)
		return -1;
	r = getaddrinfo(host, port, &hints, &found);
	if (r)
		return cs_fail(err, CS_ERR_INVALID, 0, "resolve %s: %s", host, gai_strerror(r));
	for (const struct addrinfo *a = found; a; a = a->ai_next) {
		int fd = open_one_address(a);
		if (fd >= 0)
			push(list, n, fd, NULL, true);
		else
			last = fd;
	}
	freeaddrinfo(found);
	if (*n == before)
		return cs_fail(err, CS_ERR_INTERNAL, -last, "listen on tcp://%s", spec);
	if (!tls)
		cs_warn("api", "tcp://%s has no TLS: whoever reaches it is root on this machine", spec);
	return 0;
}

/* ---- systemd ---- */

static bool fd_wanted(const char *spec, size_t i, char *const *names)
{
	uint64_t want;

	if (!*spec || !strcmp(spec, "*"))
		return true;
	if (cs_parse_u64(spec, 0, 1000, &want))
		return want == i + LISTEN_FDS_START;
	return names && i < cs_strv_len(names) && !strcmp(names[i], spec);
}

static int open_systemd(const char *spec, struct cs_listener **list, size_t *n, struct cs_err **err)
{
	const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS"), *names = getenv("LISTEN_FDNAMES");
	cs_autostrv char **name = names ? cs_strv_split(names, ':') : NULL;
	uint64_t p, count;
	size_t before = *n;

	if (!pid || !fds || !cs_parse_u64(pid, 1, INT32_MAX, &p) || (pid_t)p != getpid() || !cs_parse_u64(fds, 1, 100, &count))
		return cs_fail(err, CS_ERR_INVALID, 0, "no sockets found via socket activation: make sure the service was started by systemd");
	for (size_t i = 0; i < count; i++) {
		int fd = LISTEN_FDS_START + (int)i, listening = 0, family = 0;
		socklen_t len = sizeof(listening);
		if (!fd_wanted(spec, i, name))
			continue;
		if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) < 0 || !listening)
			return cs_fail(err, CS_ERR_INVALID, 0, "descriptor %d from systemd is not a listening socket", fd);
		len = sizeof(family);
		(void)getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &len);
		(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
		push(list, n, fd, NULL, family != AF_UNIX);
	}
	if (*n == before)
		return cs_fail(err, CS_ERR_INVALID, 0, "no socket activated by systemd matches fd://%s", spec);
	return 0;
}

/* ---- */

int cs_listen_check(const char *spec, struct cs_err **err)
{
	cs_autofree char *host = NULL, *port = NULL;
	const char *rest;

	if ((rest = cs_prefix(spec, "unix://")))
		return *rest == '/' ? 0 : cs_fail(err, CS_ERR_INVALID, 0, "invalid unix socket path %s", spec);
	if ((rest = cs_prefix(spec, "tcp://")))
		return split_host(rest, false, &host, &port, err);
	if (cs_prefix(spec, "fd://"))
		return 0;
	return cs_fail(err, CS_ERR_INVALID, 0, "invalid bind address format: %s", spec);
}

int cs_listen_open(const char *spec, const char *group, bool tls, struct cs_listener **list, size_t *n, struct cs_err **err)
{
	const char *rest;

	if ((rest = cs_prefix(spec, "unix://")))
		return open_unix(rest, group, list, n, err);
	if ((rest = cs_prefix(spec, "tcp://")))
		return open_tcp(rest, tls, list, n, err);
	if ((rest = cs_prefix(spec, "fd://")))
		return open_systemd(rest, list, n, err);
	return cs_listen_check(spec, err);
}

void cs_listen_cleanup(struct cs_listener *list, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (list[i].unlink_path)
			(void)unlink(list[i].unlink_path);
		free(list[i].unlink_path);
	}
	free(list);
}
