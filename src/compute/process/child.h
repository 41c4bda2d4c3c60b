/* SPDX-License-Identifier: Apache-2.0
 *
 * What the worker hands to the child it has cloned. All descriptors are borrowed from the worker's table (the child has a copy). */
#pragma once

#include <sys/types.h>

#include "compute/process/internal.h"
#include "compute/process/setup.h"

struct cs_child_args {
	const struct cs_plan *plan;  /* to apply */
	const struct cs_plan *start; /* exec: the container's own plan, for its cgroups */
	int sock;
	int stdio[3];
	int self_exe;
	int init_pidfd; /* exec: whose namespaces to join */
	int mntns;      /* another container's mount namespace, to bind from, or -EBADF */
	bool unshare_cgroup;
	bool late_groups; /* v1: the worker makes the groups while the child mounts, and says GO on the socket */
	int ns[8], ns_type[8];
	size_t n_ns;
};

_Noreturn void cs_child_main(const struct cs_child_args *a);
