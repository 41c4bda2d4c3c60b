/* SPDX-License-Identifier: Apache-2.0
 *
 * What this host can limit and isolate: probed once from /proc and /sys, constant afterwards, any thread. Validation turns
 * what is missing into warnings; `info` shows the same facts. */
#pragma once

#include "base/macros.h"

struct cs_host_facts {
	int cgroup_version; /* 1 (also hybrid) or 2 */
	bool memory_limit, swap_limit, memory_reservation, oom_kill_disable, memory_swappiness;
	bool cpu_shares, cpu_cfs, cpu_realtime, cpuset, pids;
	bool blkio_weight, blkio_weight_device, blkio_throttle;
	bool cgroupns, apparmor, selinux, seccomp, userns;
	bool ipv4_forwarding;
	int64_t ncpu;
	int64_t mem_total;       /* bytes */
	char *cpus, *mems;       /* online lists as the kernel prints them: "0-1", "0" */
	uint64_t capabilities;   /* bounding set of the engine: what a container can get at most */
	uint64_t rlimit_max[16]; /* hard limits of the engine, by RLIMIT_ number */
	int oom_score_least;     /* what a container can have */
	int kernel_major, kernel_minor;
	const char *arch;        /* Go's name: amd64, arm64 */
};
const struct cs_host_facts *cs_host_facts(void);
/* What a container's limit of that name (as in Docker: "nofile") can be at most, and its OOM score at least. */
uint64_t cs_host_ulimit_max(const char *name);
int cs_host_oom_score_min(void);
/* Names this network namespace and this run of the kernel: what the engine has set in there is gone when it is another. Caller frees. */
char *cs_host_network_life(void);
/* Tests only: replaces the facts until called with NULL. */
void cs_host_facts_override(const struct cs_host_facts *f);
