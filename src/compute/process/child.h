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
	int ahead[2];     /* IPC and mount namespace in which a part was done before, or -EBADF */
	bool early;       /* plan: of what is done before; the plan itself comes on the socket */
	bool late_groups; /* v1: the worker makes the groups while the child mounts, and says GO on the socket */
	int ns[8], ns_type[8];
	size_t n_ns;
};

struct cs_setup_plan { /* CS_SETUP_PLAN */
	uint32_t type; /* enum cs_setup_msg */
	bool late_groups, unshare_cgroup;
	uint32_t n_ns;
	int ns_type[8];
};

_Noreturn void cs_child_main(const struct cs_child_args *a);
/* New IPC and mount namespaces in which the AHEAD steps have been done. The caller, which is the worker itself, is in its own again. */
CS_MUST_CHECK int cs_child_ahead(const struct cs_plan *steps, int ret[2], struct cs_err **err);
