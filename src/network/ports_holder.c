/* SPDX-License-Identifier: Apache-2.0
 *
 * From a port to its holder: sock_diag(7) gives the socket's inode, /proc/<pid>/fd the process. Only for an error's text. */
#include "network/ports_holder.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <string.h>
#include <time.h>

#include "base/io.h"
#include "base/num.h"
#include "base/path.h"
#include "network/firewall_sets.h"

#define BUDGET_NS 1000000000 /* some thousand processes take a tenth of it here, on an emulated machine a hundred do */

struct search {
	const struct cs_fw_addr *addr;
	uint16_t port;
	bool found;
	uint32_t inode;
};

/* Would that socket hinder ours? A socket on :: may have the IPv4 port, too. */
static bool in_the_way(const struct search *s, const struct inet_diag_msg *m)
{
	struct cs_fw_addr a = {.family = m->idiag_family};

	memcpy(a.bytes, m->id.idiag_src, m->idiag_family == AF_INET ? 4 : 16);
	if (a.family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&a.v6)) {
		memmove(a.bytes, a.bytes + 12, 4);
		a.family = AF_INET;
	}
	if (fw_addr_is_any(&a) || fw_addr_is_any(s->addr))
		return true;
	return fw_addr_equal(&a, s->addr);
}

static int take(const struct nlmsghdr *h, void *arg)
{
	struct search *s = arg;
	const struct inet_diag_msg *m = mnl_nlmsg_get_payload(h);

	if (mnl_nlmsg_get_payload_len(h) >= sizeof(*m) && !s->found && ntohs(m->id.idiag_sport) == s->port && m->idiag_inode != 0 && in_the_way(s, m)) {
		s->found = true;
		s->inode = m->idiag_inode;
	}
	return MNL_CB_OK;
}

static void find_inode(struct search *s, uint8_t proto, uint8_t family)
{
	char buf[32768];
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
	struct mnl_socket *sock = mnl_socket_open2(NETLINK_SOCK_DIAG, SOCK_CLOEXEC);
	struct inet_diag_req_v2 *q;
	int more = 1;

	if (!sock)
		return;
	h->nlmsg_type = SOCK_DIAG_BY_FAMILY;
	h->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	h->nlmsg_seq = 1;
	q = mnl_nlmsg_put_extra_header(h, sizeof(*q));
	q->sdiag_family = family;
	q->sdiag_protocol = proto;
	q->idiag_states = UINT32_MAX;
	if (mnl_socket_bind(sock, 0, MNL_SOCKET_AUTOPID) == 0 && mnl_socket_sendto(sock, h, h->nlmsg_len) >= 0) {
		while (more > 0) {
			ssize_t n = mnl_socket_recvfrom(sock, buf, sizeof(buf));

			more = n < 0 ? -1 : mnl_cb_run(buf, (size_t)n, 1, mnl_socket_get_portid(sock), take, s);
		}
	}
	(void)mnl_socket_close(sock);
}

static bool has_socket(int proc, const char *pid, const char *link)
{
	cs_autofree char *path = cs_xasprintf("%s/fd", pid);
	int fd = openat(proc, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	bool found = false;

	if (!d) {
		cs_close(fd);
		return false;
	}
	for (struct dirent *e; !found && (e = readdir(d));) {
		char text[64];
		ssize_t n = readlinkat(dirfd(d), e->d_name, text, sizeof(text) - 1);

		if (n > 0) {
			text[n] = '\0';
			found = strcmp(text, link) == 0;
		}
	}
	(void)closedir(d);
	return found;
}

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static char *describe(int proc, const char *pid)
{
	cs_autofree char *path = cs_xasprintf("%s/comm", pid);
	cs_autostr struct cs_str comm = CS_STR_INIT(64);

	if (cs_read_file_at(proc, path, &comm) < 0 || comm.len == 0)
		return cs_xasprintf("pid %s", pid);
	return cs_xasprintf("%.*s (pid %s)", (int)strcspn(comm.buf, "\n"), comm.buf, pid);
}

char *cs_port_holder(uint8_t proto, const struct cs_fw_addr *addr, uint16_t port)
{
	struct search s = {.addr = addr, .port = port};
	cs_autofree char *link = NULL;
	char *holder = NULL;
	int64_t end = now_ns() + BUDGET_NS;
	DIR *d;

	find_inode(&s, proto, addr->family);
	if (!s.found)
		find_inode(&s, proto, addr->family == AF_INET ? AF_INET6 : AF_INET);
	d = s.found ? opendir("/proc") : NULL;
	if (!d)
		return NULL;
	link = cs_xasprintf("socket:[%u]", s.inode);
	for (struct dirent *e; !holder && (e = readdir(d)) && now_ns() < end;) {
		uint64_t pid;

		if (cs_parse_u64(e->d_name, 1, INT32_MAX, &pid) && has_socket(dirfd(d), e->d_name, link))
			holder = describe(dirfd(d), e->d_name);
	}
	(void)closedir(d);
	return holder ? holder : cs_xstrdup("a process that cannot be seen from here");
}
