/* SPDX-License-Identifier: Apache-2.0
 *
 * A port that is locked for its endpoint (AntiSpoof) and that somebody unlocks is locked again. A filter in the kernel lets through only what tells of a
 * bridge's port that is neither locked nor learns: new ones learn until they are locked, so that lives of containers wake nobody. Who switches both in one
 * request is not noticed. One thread. */
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/if_bridge.h>
#include <poll.h>
#include <stddef.h>
#include <unistd.h>

#include "base/id.h"
#include "network/internal.h"

#define PAUSE_MS 100 /* behind each repair: somebody may do it again and again */

static struct {
	pthread_t thread;
	bool running;
	int stop[2], events;
} pm = {.stop = {-EBADF, -EBADF}, .events = -EBADF};

/* The endpoint's namespace is locked meanwhile: neither its policies nor its interface change. */
static void lock_again(const struct cs_link_info *l, struct HcnEndpoint *e)
{
	cs_autoerr struct cs_err *err = NULL;
	cs_autortnl struct cs_rtnl r = {0};
	struct cs_link_info now;
	struct cs_nl b;
	struct HcnNamespace *ns cs_auto(cs_autons_done) = cs_endpoint_namespace(e);

	if (!ns)
		return;
	CS_LOCK(ns);
	if (e->outer != l->index || !e->locked || cs_host_rtnl(&r, &err) < 0 || cs_link_get(&r, l->index, NULL, &now, NULL) < 0 || now.locked || !now.master)
		return;
	cs_nl_init(&b, &r);
	if (cs_veth_set_port(&b, e, &e->pol, true, &err) < 0)
		cs_warn(SUBSYS, "somebody unlocked %s, the port of endpoint %s, and it stays so: %s", now.name, e->o.text, err->msg);
	else
		cs_warn(SUBSYS, "somebody unlocked %s, the port of endpoint %s: it is locked again", now.name, e->o.text);
}

static bool look(const struct cs_link_info *l, void *unused)
{
	HCN_GUID id;

	(void)unused;
	if (l->locked || !l->master || strcmp(l->kind, "veth") != 0 || !cs_prefix(l->alias, cs_net.mark) || !cs_hcn_guid_parse(l->alias + strlen(cs_net.mark), &id))
		return true;
	struct HcnEndpoint *e cs_auto(cs_autoep_done) = cs_obj_get(CS_ENDPOINT, &id);
	if (e)
		lock_again(l, e);
	return true;
}

/* Those that the notifications told of; or all, if some were lost. */
static void work_off(void)
{
	cs_autortnl struct cs_rtnl r = {0};
	struct cs_link_info l;
	char buf[16384] __attribute__((aligned(8)));
	ssize_t n;

	if (cs_host_rtnl(&r, NULL) < 0)
		return;
	while ((n = recv(pm.events, buf, sizeof(buf), MSG_DONTWAIT)) > 0 || (n < 0 && (errno == EINTR || errno == ENOBUFS))) {
		const struct nlmsghdr *h = (const void *)buf;
		if (n < 0 && errno == ENOBUFS && cs_links_each(&r, look, NULL, NULL) < 0)
			return;
		if (n >= (ssize_t)mnl_nlmsg_size(sizeof(struct ifinfomsg)) &&
		    cs_link_get(&r, ((const struct ifinfomsg *)mnl_nlmsg_get_payload(h))->ifi_index, NULL, &l, NULL) == 0)
			(void)look(&l, NULL);
	}
}

static void *monitor(void *unused)
{
	struct pollfd p[] = {{.fd = pm.stop[0], .events = POLLIN}, {.fd = pm.events, .events = POLLIN}};

	(void)unused;
	for (;;) {
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			return NULL;
		if (p[0].revents)
			return NULL;
		work_off();
		if (poll(p, 1, PAUSE_MS) > 0)
			return NULL;
	}
}

/* A notification is one message: nlmsghdr, ifinfomsg, attributes. What `bridge link` changes is told of as AF_BRIDGE, what `ip link` changes is not. */
static int filter_ports(int fd)
{
#define DROP_UNLESS_FOUND(rest) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, rest, 0)
#define FIND(what, type) BPF_STMT(BPF_LDX | BPF_IMM, type), BPF_STMT(BPF_LD | BPF_B | BPF_ABS, (unsigned)(SKF_AD_OFF + (what)))
#define BYTE BPF_STMT(BPF_MISC | BPF_TAX, 0), BPF_STMT(BPF_LD | BPF_B | BPF_IND, NLA_HDRLEN)
#define ATTRIBUTES BPF_STMT(BPF_LD | BPF_IMM, NLMSG_HDRLEN + sizeof(struct ifinfomsg))
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, offsetof(struct nlmsghdr, nlmsg_type)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htons(RTM_NEWLINK), 0, 26),
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, NLMSG_HDRLEN),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_BRIDGE, 7, 0),
		ATTRIBUTES, FIND(SKF_AD_NLATTR, IFLA_LINKINFO), DROP_UNLESS_FOUND(20),
		FIND(SKF_AD_NLATTR_NEST, IFLA_INFO_SLAVE_DATA), BPF_STMT(BPF_JMP | BPF_JA, 3),
		/* of a bridge: */
		ATTRIBUTES, FIND(SKF_AD_NLATTR, IFLA_PROTINFO),
		/* both: */
		DROP_UNLESS_FOUND(13), BPF_STMT(BPF_ST, 0),
		FIND(SKF_AD_NLATTR_NEST, IFLA_BRPORT_LOCKED), DROP_UNLESS_FOUND(9), /* the kernel has no locks, or it is no port */
		BYTE, BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 6),
		BPF_STMT(BPF_LD | BPF_MEM, 0), FIND(SKF_AD_NLATTR_NEST, IFLA_BRPORT_LEARNING),
		BYTE, BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, 0),
		BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
	};
#undef DROP_UNLESS_FOUND
#undef FIND
#undef BYTE
#undef ATTRIBUTES
	struct sock_fprog prog = {CS_ARRAY_SIZE(code), code};

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog)) < 0 ? -errno : 0;
}

int cs_port_monitor_start(struct cs_err **err)
{
	struct sockaddr_nl addr = {.nl_family = AF_NETLINK, .nl_groups = 1u << (RTNLGRP_LINK - 1)};

	pm.events = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (pm.events < 0 || filter_ports(pm.events) < 0 || bind(pm.events, (struct sockaddr *)&addr, sizeof(addr)) < 0 || pipe2(pm.stop, O_CLOEXEC) < 0)
		return cs_fail(err, CS_ERR_UNAVAILABLE, errno, "watch bridges' ports");
	int r = pthread_create(&pm.thread, NULL, monitor, NULL);
	if (r != 0)
		return cs_fail(err, CS_ERR_UNAVAILABLE, r, "watch bridges' ports: thread");
	pm.running = true;
	return 0;
}

void cs_port_monitor_stop(void)
{
	cs_close(TAKE_FD(pm.stop[1]));
	if (pm.running)
		(void)pthread_join(pm.thread, NULL);
	pm.running = false;
	cs_close(TAKE_FD(pm.stop[0]));
	cs_close(TAKE_FD(pm.events));
}
