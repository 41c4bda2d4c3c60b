/* SPDX-License-Identifier: Apache-2.0
 *
 * 127.0.0.1 and ::1 of the host reach published ports. The translated connection leaves by the bridge, and its answers come in there with a loopback
 * address as destination again:
 *  - IPv4 refuses both unless the bridge has route_localnet. Chain raw keeps containers from using that.
 *  - IPv6 wants a loopback destination to be a local address of the interface it came by (rt6_need_strict): a local route for ::1 on the bridge
 *    says so. Its metric keeps it behind lo's for everybody else, and what arrives for ::1 from the wire is dropped before routing as ever. */
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <string.h>

#include "base/io.h"
#include "base/log.h"
#include "network/firewall_internal.h"

#define METRIC 4096

static int add_route(unsigned ifindex)
{
	char buf[16384];
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
	struct mnl_socket *s = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	struct rtmsg *rt;
	ssize_t n;
	int r;

	if (!s)
		return -errno;
	h->nlmsg_type = RTM_NEWROUTE;
	h->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
	h->nlmsg_seq = 1;
	rt = mnl_nlmsg_put_extra_header(h, sizeof(*rt));
	rt->rtm_family = AF_INET6;
	rt->rtm_dst_len = 128;
	rt->rtm_table = RT_TABLE_LOCAL;
	rt->rtm_protocol = RTPROT_STATIC;
	rt->rtm_type = RTN_LOCAL;
	rt->rtm_scope = RT_SCOPE_HOST;
	mnl_attr_put(h, RTA_DST, 16, &in6addr_loopback);
	mnl_attr_put_u32(h, RTA_OIF, ifindex);
	mnl_attr_put_u32(h, RTA_PRIORITY, METRIC + ifindex); /* each bridge's own: replace must not take another's */
	if (mnl_socket_bind(s, 0, MNL_SOCKET_AUTOPID) < 0 || mnl_socket_sendto(s, h, h->nlmsg_len) < 0)
		r = -errno;
	else if ((n = mnl_socket_recvfrom(s, buf, sizeof(buf))) < 0)
		r = -errno;
	else
		r = mnl_cb_run(buf, (size_t)n, 1, mnl_socket_get_portid(s), NULL, NULL) < 0 ? -errno : 0;
	(void)mnl_socket_close(s);
	return r;
}

static bool translates(enum cs_firewall_mode m) { return m == CS_FW_NAT || m == CS_FW_UNPROTECTED; }

void fw_open_loopback(const struct fw_network *n)
{
	unsigned ifindex = if_nametoindex(n->bridge);
	int r;

	if (n->spec.internal || ifindex == 0 || strchr(n->bridge, '/'))
		return;
	if (translates(n->spec.mode4)) {
		cs_autofree char *path = cs_xasprintf("/proc/sys/net/ipv4/conf/%s/route_localnet", n->bridge);

		r = cs_write_file_at(AT_FDCWD, path, "1", 1);
		if (r < 0)
			cs_debug("network", "%s: %s; 127.0.0.1 will not reach its published ports", path, cs_errno_text(-r));
	}
	if (translates(n->spec.mode6)) {
		r = add_route(ifindex);
		if (r < 0) /* no IPv6 on that bridge, or the interface is down */
			cs_debug("network", "%s: no local route for ::1: %s", n->bridge, cs_errno_text(-r));
	}
}
