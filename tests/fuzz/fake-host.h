/* SPDX-License-Identifier: Apache-2.0
 * Made-up hosts, so that a document compiles to the same plan everywhere. */
#pragma once

#include "compute/document/document.h"

static char *fake_v1_controllers[] = {(char *)"memory", (char *)"cpu", (char *)"pids", (char *)"devices", (char *)"blkio", (char *)"cpuset", NULL};
static char *fake_v2_controllers[] = {(char *)"memory", (char *)"cpu", (char *)"pids", (char *)"devices", (char *)"io", (char *)"freezer", NULL};
static const struct cs_host fake_hosts[2] = {
	{.cgroup_version = 1,
	 .hierarchy = {{(char *)"memory", (char *)"/cg/memory"},
		       {(char *)"cpu,cpuacct", (char *)"/cg/cpu"},
		       {(char *)"pids", (char *)"/cg/pids"},
		       {(char *)"devices", (char *)"/cg/devices"},
		       {(char *)"blkio", (char *)"/cg/blkio"}},
	 .n_hierarchies = 5, .controllers = fake_v1_controllers, .caps = 0x1ffffffffffull, .swap_accounting = true, .cgroupns = true, .seccomp = true},
	{.cgroup_version = 2, .hierarchy = {{(char *)"", (char *)"/cg"}}, .n_hierarchies = 1, .controllers = fake_v2_controllers,
	 .caps = 0x1ffffffffffull & ~(1ull << 24), .rlimit_max = {[7] = 4096}, .swap_accounting = true, .cgroupns = true, .seccomp = true},
};
