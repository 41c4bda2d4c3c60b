/* SPDX-License-Identifier: Apache-2.0
 *
 * What the host offers, as plain data: probed once by host_linux.c, read by the document compiler (so that this stays pure and
 * testable without root) and by statistics and resources. Immutable after the probe; any thread. */
#pragma once

#include "base/caps.h"
#include "base/error.h"
#include "base/str.h"

#define CS_HOST_MAX_HIERARCHIES 20
#define CS_HOST_RLIMITS 16

struct cs_hierarchy {
	char *names; /* "memory", "cpu,cpuacct", "name=systemd", "" for v2, "name=unified" for a hybrid host's v2, which has no controllers for us */
	char *mount;
	int version; /* of the cgroup interface */
	bool bare;   /* nothing is limited or counted in it: for containers that may make groups of their own (systemd), and no others */
};
struct cs_host {
	int cgroup_version; /* 1 (also hybrid with controllers on v1), 2, 0 = no cgroups at all */
	bool hybrid;
	struct cs_hierarchy hierarchy[CS_HOST_MAX_HIERARCHIES];
	size_t n_hierarchies;
	char **controllers; /* available: "cpu", "memory", ... */
	char **missing;     /* known to the kernel, but not usable; or unknown */
	char *unified;      /* mount of the v2 hierarchy in hybrid mode, may be NULL */
	uint64_t caps;      /* what a container can be given: permitted and bounding */
	uint64_t rlimit_max[CS_HOST_RLIMITS];
	int oom_score_least; /* what a container can have: above -1000 without CAP_SYS_RESOURCE */
	bool userns, cgroupns, timens, openat2, clone3, pidfd, mount_setattr, memfd_exec, swap_accounting, seccomp, apparmor, selinux;
	char **warnings;
};

/* Host capability bits; numbers are the kernel's. */
#define CS_CAP_SYS_RESOURCE 24
static inline bool cs_host_has_cap(const struct cs_host *h, unsigned cap) { return h->caps >> cap & 1; }
/* Directory below which the controller's groups live (v1: its hierarchy, v2: the one), NULL when the controller is missing. */
const char *cs_host_controller_mount(const struct cs_host *h, const char *controller);
bool cs_host_has_controller(const struct cs_host *h, const char *controller);
void cs_host_done(struct cs_host *h);
CS_MUST_CHECK int cs_host_probe(struct cs_host *ret, struct cs_err **err);
/* {"CgroupVersion":…} of HcsInitializeService. */
void cs_host_describe(const struct cs_host *h, struct cs_str *out);

