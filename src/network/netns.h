/* SPDX-License-Identifier: Apache-2.0
 *
 * Work inside of network namespaces. The threads of the engine never change their namespace: one thread here does it for all of them
 * (setns, the job, setns back), and those of the warm pool make new ones. Jobs are short: system calls that do not wait. */
#pragma once

#include "base/error.h"
#include "network/rtnl.h"

CS_MUST_CHECK int cs_netns_start(struct cs_err **err); /* remembers the caller's namespace as the host's */
void cs_netns_stop(void);
int cs_netns_host(void); /* descriptor of the host's namespace, borrowed */

/* Runs job(arg) in the namespace and returns what it returns (0, or -1 with *err). */
CS_MUST_CHECK int cs_netns_do(int nsfd, int (*job)(void *arg, struct cs_err **err), void *arg, struct cs_err **err);
CS_MUST_CHECK int cs_netns_rtnl(int nsfd, struct cs_rtnl *ret, struct cs_err **err); /* a netlink socket of the namespace's */
struct cs_sysctl {
	const char *path; /* below /proc/sys/, with slashes */
	const char *value;
	bool optional; /* the kernel may have none of that name */
};
CS_MUST_CHECK int cs_netns_sysctls(int nsfd, const struct cs_sysctl *v, size_t n, struct cs_err **err);
/* The same in the caller's namespace. */
CS_MUST_CHECK int cs_sysctl_write(const struct cs_sysctl *s, struct cs_err **err);
/* disable_ipv6 of an interface; a kernel without IPv6 is success. */
CS_MUST_CHECK int cs_sysctl_ipv6_off(const char *ifname, struct cs_err **err);
/* 0 or -1: first character of the value as a digit, for switches. */
int cs_sysctl_read(const char *path);

/* On a thread of one's own that does nothing else: a new namespace, in which the thread stays until cs_netns_leave. */
CS_MUST_CHECK int cs_netns_enter_new(int *ret_fd, struct cs_err **err);
void cs_netns_leave(void);
