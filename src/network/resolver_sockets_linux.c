/* SPDX-License-Identifier: Apache-2.0
 *
 * Sockets in other network namespaces. A thread enters a namespace, makes a socket, which belongs there from then on, and leaves. */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/log.h"
#include "base/sys.h"
#include "network/resolver_internal.h"

#define BACKLOG 128
#define RECEIVE_BYTES (4 << 20) /* some five thousand short queries that come at once; taken only while they wait */

struct job {
	int netns;
	int *fd;
	int error; /* errno */
	const char *what;
};

static int bind_one(int fd, uint16_t port, uint16_t *ret)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = inet_addr(CS_RESOLVER_ADDRESS)};
	socklen_t n = sizeof(a);

	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || getsockname(fd, (struct sockaddr *)&a, &n) < 0)
		return -errno;
	*ret = ntohs(a.sin_port);
	return 0;
}

static int make(int fd[2], uint16_t port, uint16_t ret[2])
{
	int one = 1, bytes = RECEIVE_BYTES, e;
	cs_autofd int udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	cs_autofd int tcp = udp < 0 ? -EBADF : socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (udp < 0 || tcp < 0)
		return -errno;
	if (setsockopt(udp, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) < 0)
		(void)setsockopt(udp, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes)); /* as much as the host allows */
	(void)setsockopt(tcp, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	e = bind_one(udp, port, &ret[0]);
	if (e == 0)
		e = bind_one(tcp, port, &ret[1]);
	if (e == 0 && listen(tcp, BACKLOG) < 0)
		e = -errno;
	if (e < 0)
		return e;
	fd[0] = TAKE_FD(udp);
	fd[1] = TAKE_FD(tcp);
	return 0;
}

/* 127.0.0.11 is an address of the loopback device once that is up. Binding it before (IP_FREEBIND) does work, but in a namespace without any
 * address the kernel takes it for a broadcast address, and answers would leave from 127.0.0.1. */
static int loopback_up(void)
{
	struct ifreq ifr = {.ifr_name = "lo"};
	cs_autofd int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &ifr) < 0)
		return -errno;
	if (ifr.ifr_flags & IFF_UP)
		return 0;
	ifr.ifr_flags |= IFF_UP;
	return ioctl(fd, SIOCSIFFLAGS, &ifr) < 0 ? -errno : 0;
}

static void *enter(void *arg)
{
	struct job *j = arg;
	uint16_t port[2] = {0};
	int e = sys_setns(j->netns, CLONE_NEWNET);

	j->what = "enter it";
	if (e == 0) {
		j->what = "put the loopback device up";
		e = loopback_up();
	}
	if (e == 0) {
		j->what = "bind " CS_RESOLVER_ADDRESS;
		e = make(j->fd, 0, port);
	}
	if (e == 0) {
		j->what = "map port 53";
		e = cs_resolver_map_ports(port[0], port[1]);
		if (e < 0) { /* no nftables: then the port itself, and nobody else in there can have it */
			cs_warn("network", "resolver: no nftables in a container's namespace (%s); port 53 is bound", cs_errno_text(-e));
			cs_close(TAKE_FD(j->fd[0]));
			cs_close(TAKE_FD(j->fd[1]));
			j->what = "bind " CS_RESOLVER_ADDRESS ":53";
			e = make(j->fd, 53, port);
		}
	}
	j->error = -e;
	return NULL;
}

int cs_resolver_sockets(int netns, int fd[2], struct cs_err **err)
{
	struct job j = {.netns = netns, .fd = fd};
	sigset_t all, old;
	pthread_t thread;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int e = pthread_create(&thread, NULL, enter, &j);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (e)
		return cs_fail(err, CS_ERR_INTERNAL, e, "start a thread");
	(void)pthread_join(thread, NULL);
	return j.error ? cs_fail(err, CS_ERR_INTERNAL, j.error, "%s", j.what) : 0;
}

int cs_resolver_socket_in(struct cs_resolver *r, int netns, int family, int type)
{
	int e = sys_setns(netns, CLONE_NEWNET);

	if (e < 0)
		return e;
	int fd = socket(family, type, 0);
	if (fd < 0)
		fd = -errno;
	if (sys_setns(r->host_netns, CLONE_NEWNET) < 0)
		abort(); /* a resolver that stays in a container would ask its servers for everybody */
	return fd;
}
