/* SPDX-License-Identifier: Apache-2.0
 *
 * Reservations of host ports. The kernel is the truth for strangers; a list of our own tells which conflicts are among ourselves, and stands in
 * where the kernel has no SCTP. */
#include "network/ports.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <pthread.h>
#include <string.h>

#include "base/io.h"
#include "base/num.h"
#include "network/firewall_sets.h"
#include "network/ports_holder.h"

#ifndef IPPROTO_SCTP
#define IPPROTO_SCTP 132
#endif
#define PICKS 64 /* tries, when the kernel picks for the first address a port that the others do not have free */

struct cs_port_hold {
	uint8_t proto;
	bool apart;
	uint16_t port;
	size_t n_addrs;
	struct cs_fw_addr *addrs;
	int *fds;       /* of each address; -EBADF: another's socket has it, or none can */
	const void *by; /* its sockets are closed, and only this one's requests may have the port; NULL: they are open */
	struct cs_port_hold *next; /* of the same port number */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct cs_port_hold *held[1024]; /* by port number */

static bool overlaps(const struct cs_fw_addr *a, const struct cs_fw_addr *b)
{
	return a->family == b->family && (fw_addr_is_any(a) || fw_addr_is_any(b) || fw_addr_equal(a, b));
}

/* One of ours that is in the way of a request; the lock is held. */
static bool ours(const struct cs_port_request *r, const struct cs_fw_addr *a, uint16_t port)
{
	for (const struct cs_port_hold *h = held[port % CS_ARRAY_SIZE(held)]; h; h = h->next) {
		if (h->port != port || h->proto != r->proto || (h->by && h->by == r->by))
			continue;
		for (size_t i = 0; i < h->n_addrs; i++) {
			if (overlaps(&h->addrs[i], a))
				return true;
		}
	}
	return false;
}

static socklen_t sockaddr_of(const struct cs_fw_addr *a, uint16_t port, struct sockaddr_storage *ss)
{
	*ss = (struct sockaddr_storage){.ss_family = a->family};
	if (a->family == AF_INET) {
		struct sockaddr_in *sin = (void *)ss;

		sin->sin_port = htons(port);
		sin->sin_addr = a->v4;
		return sizeof(*sin);
	}
	struct sockaddr_in6 *sin6 = (void *)ss;
	sin6->sin6_port = htons(port);
	sin6->sin6_addr = a->v6;
	return sizeof(*sin6);
}

/* What comes past the firewall's translation (rules away, or not yet there) never fills this socket. */
static void deafen(int fd)
{
	struct sock_filter code[] = {BPF_STMT(BPF_RET | BPF_K, 0)};
	struct sock_fprog prog = {CS_ARRAY_SIZE(code), code};

	(void)setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog));
}

static int open_socket(uint8_t proto, const struct cs_fw_addr *a, bool both)
{
	int fd = socket(a->family, (proto == IPPROTO_UDP ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, proto), off = !both;

	if (fd < 0)
		return -errno;
	if (a->family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) < 0) {
		int r = -errno;

		cs_close(fd);
		return r;
	}
	if (proto == IPPROTO_UDP)
		deafen(fd);
	return fd;
}

/* A descriptor, or -errno. A bound TCP socket that does not listen refuses connections by itself, which is right where nothing is translated. But
 * connections in TIME_WAIT of a server that ended a minute ago block such a bind, though nobody has the port: then, and only then, a socket with
 * SO_REUSEADDR that listens (a listener of somebody else's still refuses it) and drops all it gets. */
static int bind_socket(uint8_t proto, const struct cs_fw_addr *a, bool both, uint16_t port)
{
	struct sockaddr_storage ss;
	socklen_t len = sockaddr_of(a, port, &ss);
	cs_autofd int fd = open_socket(proto, a, both), again = -EBADF;
	int on = 1, r;

	if (fd < 0)
		return fd;
	if (bind(fd, (struct sockaddr *)&ss, len) == 0)
		return TAKE_FD(fd);
	r = -errno;
	if (r != -EADDRINUSE || proto != IPPROTO_TCP || port == 0)
		return r;
	again = open_socket(proto, a, both);
	if (again < 0)
		return again;
	deafen(again);
	if (setsockopt(again, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 || bind(again, (struct sockaddr *)&ss, len) < 0 || listen(again, 1) < 0)
		return r;
	return TAKE_FD(again);
}

static uint16_t bound_port(int fd)
{
	struct sockaddr_in6 a = {0}; /* of either family: the port stands at the same place */
	socklen_t len = sizeof(a);

	return getsockname(fd, (struct sockaddr *)&a, &len) < 0 ? 0 : ntohs(a.sin6_port);
}

static void put_place(char *out, size_t room, const struct cs_fw_addr *a, uint16_t port)
{
	char text[FW_ADDR_TEXT];

	(void)snprintf(out, room, a->family == AF_INET6 ? "[%s]:%u" : "%s:%u", fw_addr_text(a, text), port);
}

static int refuse(struct cs_err **err, const struct cs_port_request *r, const struct cs_fw_addr *a, uint16_t port, int sys)
{
	char place[FW_ADDR_TEXT + 8], text[FW_ADDR_TEXT];
	const char *proto = fw_proto_text(r->proto);

	put_place(place, sizeof(place), a, port);
	if (sys == ERANGE)
		return r->first ? cs_fail(err, CS_ERR_CONFLICT, 0, "all ports are allocated: no port of %u-%u/%s is free", r->first, r->last, proto)
		                : cs_fail(err, CS_ERR_CONFLICT, 0, "all ports are allocated: no %s port of net.ipv4.ip_local_port_range is free", proto);
	if (sys == EEXIST)
		return cs_fail(err, CS_ERR_CONFLICT, 0, "Bind for %s failed: port is already allocated", place);
	if (sys == EADDRINUSE) {
		cs_autofree char *holder = cs_port_holder(r->proto, a, port);

		if (holder)
			return cs_fail(err, CS_ERR_CONFLICT, 0, "failed to bind host port for %s/%s: address already in use: port %u/%s on %s is held by %s", place, proto, port, proto,
			               fw_addr_text(a, text), holder);
		return cs_fail(err, CS_ERR_CONFLICT, 0, "failed to bind host port for %s/%s: address already in use", place, proto);
	}
	if (sys == EMFILE || sys == ENFILE)
		return cs_fail(err, CS_ERR_UNAVAILABLE, sys, "failed to bind host port for %s/%s: each published port takes a file descriptor", place, proto);
	if (sys == EADDRNOTAVAIL)
		return cs_fail(err, CS_ERR_INVALID, 0, "failed to bind host port for %s/%s: cannot assign requested address: it is none of this host's", place, proto);
	return cs_fail(err, CS_ERR_INTERNAL, sys, "failed to bind host port for %s/%s", place, proto);
}

static bool has_any(const struct cs_port_request *r, sa_family_t family)
{
	for (size_t i = 0; i < r->n_addrs; i++) {
		if (r->addrs[i].family == family && fw_addr_is_any(&r->addrs[i]))
			return true;
	}
	return false;
}

static bool has_ipv6(void)
{
	cs_autofd int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	return fd >= 0;
}

/* Both families have not been had at once: which one is taken? */
static const struct cs_fw_addr *culprit(const struct cs_port_request *r, uint16_t port, const struct cs_fw_addr *v6)
{
	for (size_t i = 0; i < r->n_addrs; i++) {
		const struct cs_fw_addr *a = &r->addrs[i];

		if (a->family != AF_INET || !fw_addr_is_any(a))
			continue;
		cs_autofd int fd = bind_socket(r->proto, a, false, port);
		return fd == -EADDRINUSE ? a : v6;
	}
	return v6;
}

static void close_all(struct cs_port_hold *h)
{
	for (size_t i = 0; i < h->n_addrs; i++) {
		cs_close(h->fds[i]);
		h->fds[i] = -EBADF;
	}
}

/* All addresses at one port (0: whatever the kernel gives the first). 0, or -errno with *which the address that failed. */
static int try_port(struct cs_port_hold *h, const struct cs_port_request *r, uint16_t port, const struct cs_fw_addr **which)
{
	bool both = !r->apart && has_any(r, AF_INET) && has_any(r, AF_INET6) && has_ipv6(), picked = port == 0;

	for (size_t i = 0; port && i < r->n_addrs; i++) {
		*which = &r->addrs[i];
		if (ours(r, *which, port))
			return -EEXIST;
	}
	for (size_t i = 0; i < r->n_addrs; i++) {
		const struct cs_fw_addr *a = &r->addrs[i];
		bool any = fw_addr_is_any(a);
		int fd;

		if (both && any && a->family == AF_INET)
			continue; /* the socket on :: has it */
		*which = a;
		fd = bind_socket(r->proto, a, both && any, port);
		if (fd == -EADDRINUSE && both && any && port)
			*which = culprit(r, port, a);
		if (fd == -EPROTONOSUPPORT && r->proto == IPPROTO_SCTP && port)
			continue; /* the kernel has no SCTP, so nobody else has the port */
		if (fd == -EAFNOSUPPORT && a->family == AF_INET6 && port)
			continue; /* nor IPv6 */
		if (fd < 0) {
			close_all(h);
			return fd;
		}
		h->fds[i] = fd;
		if (port == 0)
			port = bound_port(fd);
	}
	if (both || picked) { /* ours may hold what the socket on :: skipped, or have no socket for a moment */
		for (size_t i = 0; i < r->n_addrs; i++) {
			if (ours(r, &r->addrs[i], port)) {
				*which = &r->addrs[i];
				close_all(h);
				return -EEXIST;
			}
		}
	}
	h->port = port;
	return 0;
}

static void local_range(unsigned *low, unsigned *high)
{
	cs_autostr struct cs_str s = CS_STR_INIT(64);
	uint64_t a, b;
	size_t n, gap;

	*low = 32768;
	*high = 60999;
	if (cs_read_file_at(AT_FDCWD, "/proc/sys/net/ipv4/ip_local_port_range", &s) < 0)
		return;
	n = strcspn(s.buf, "\t ");
	gap = strspn(s.buf + n, "\t ");
	if (cs_parse_u64n(s.buf, n, 1, 65535, &a) && cs_parse_u64n(s.buf + n + gap, strcspn(s.buf + n + gap, "\n"), a, 65535, &b)) {
		*low = (unsigned)a;
		*high = (unsigned)b;
	}
}

/* The following give 0 or -errno, of the address *which and the port *port; -ERANGE: no port of several is free. */
static int hold_fixed(struct cs_port_hold *h, const struct cs_port_request *r, const struct cs_fw_addr **which, unsigned *port)
{
	int sys = 0;

	for (*port = r->first; *port <= r->last; (*port)++) {
		sys = try_port(h, r, (uint16_t)*port, which);
		if (sys != -EADDRINUSE && sys != -EEXIST)
			return sys;
	}
	*port = r->last;
	return r->first != r->last ? -ERANGE : sys;
}

static int hold_picked(struct cs_port_hold *h, const struct cs_port_request *r, const struct cs_fw_addr **which, unsigned *port)
{
	unsigned low, high;
	int sys;

	*port = 0;
	for (int i = 0; i < PICKS; i++) {
		sys = try_port(h, r, 0, which);
		if (sys == -EPROTONOSUPPORT && r->proto == IPPROTO_SCTP)
			break;
		if (sys != -EADDRINUSE && sys != -EEXIST)
			return sys;
	}
	local_range(&low, &high);
	for (unsigned p = low; p <= high; p++) { /* no luck, or no SCTP in the kernel: one after the other */
		sys = try_port(h, r, (uint16_t)p, which);
		if (sys != -EADDRINUSE && sys != -EEXIST)
			return sys;
	}
	return -ERANGE;
}

static struct cs_port_hold *hold_new(uint8_t proto, bool apart, const struct cs_fw_addr *addrs, size_t n)
{
	struct cs_port_hold *h = cs_xcalloc(1, sizeof(*h));

	h->proto = proto;
	h->apart = apart;
	h->n_addrs = n;
	h->addrs = cs_xcalloc(n, sizeof(*h->addrs));
	h->fds = cs_xcalloc(n, sizeof(*h->fds));
	memcpy(h->addrs, addrs, n * sizeof(*h->addrs));
	for (size_t i = 0; i < n; i++)
		h->fds[i] = -EBADF;
	return h;
}

static void hold_free(struct cs_port_hold *h)
{
	free(h->addrs);
	free(h->fds);
	free(h);
}

static void list_in(struct cs_port_hold *h) /* the lock is held */
{
	h->next = held[h->port % CS_ARRAY_SIZE(held)];
	held[h->port % CS_ARRAY_SIZE(held)] = h;
}

int cs_port_hold(const struct cs_port_request *r, struct cs_port_hold **ret, struct cs_err **err)
{
	const struct cs_fw_addr *which = &r->addrs[0];
	struct cs_port_hold *h;
	unsigned port;
	int done;

	if (!fw_proto_text(r->proto) || r->n_addrs == 0)
		return cs_fail(err, CS_ERR_INVALID, 0, "host port: protocol %u is not tcp, udp or sctp", r->proto);
	if (r->first > r->last || (r->first == 0 && r->last != 0))
		return cs_fail(err, CS_ERR_INVALID, 0, "host port: range %u-%u", r->first, r->last);
	for (size_t i = 0; i < r->n_addrs; i++) {
		if (r->addrs[i].family != AF_INET && r->addrs[i].family != AF_INET6)
			return cs_fail(err, CS_ERR_INVALID, 0, "host port: no address");
	}
	h = hold_new(r->proto, r->apart, r->addrs, r->n_addrs);
	pthread_mutex_lock(&lock);
	done = r->first == 0 ? hold_picked(h, r, &which, &port) : hold_fixed(h, r, &which, &port);
	if (done == 0)
		list_in(h);
	pthread_mutex_unlock(&lock);
	if (done < 0) {
		hold_free(h);
		return refuse(err, r, which, (uint16_t)port, -done);
	}
	*ret = h;
	return 0;
}

uint16_t cs_port_hold_number(const struct cs_port_hold *h) { return h->port; }

void cs_port_release(struct cs_port_hold *h)
{
	if (!h)
		return;
	pthread_mutex_lock(&lock);
	for (struct cs_port_hold **at = &held[h->port % CS_ARRAY_SIZE(held)]; *at; at = &(*at)->next) {
		if (*at == h) {
			*at = h->next;
			break;
		}
	}
	close_all(h);
	pthread_mutex_unlock(&lock);
	hold_free(h);
}

struct cs_port_hold *cs_port_split(struct cs_port_hold *h, size_t n)
{
	struct cs_port_hold *rest = hold_new(h->proto, true, h->addrs + n, h->n_addrs - n);

	pthread_mutex_lock(&lock);
	memcpy(rest->fds, h->fds + n, rest->n_addrs * sizeof(*rest->fds));
	h->n_addrs = n;
	rest->port = h->port;
	rest->by = h->by;
	list_in(rest);
	pthread_mutex_unlock(&lock);
	return rest;
}

void cs_port_suspend(struct cs_port_hold *h, const void *by)
{
	pthread_mutex_lock(&lock);
	close_all(h);
	h->by = by;
	pthread_mutex_unlock(&lock);
}

int cs_port_resume(struct cs_port_hold *h, struct cs_err **err)
{
	struct cs_port_request r = {.proto = h->proto, .addrs = h->addrs, .n_addrs = h->n_addrs, .first = h->port, .last = h->port, .apart = h->apart, .by = h->by};
	const struct cs_fw_addr *which = &r.addrs[0];

	pthread_mutex_lock(&lock);
	int done = try_port(h, &r, h->port, &which);
	h->by = NULL;
	pthread_mutex_unlock(&lock);
	return done < 0 ? refuse(err, &r, which, h->port, -done) : 0;
}
