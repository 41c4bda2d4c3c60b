/* SPDX-License-Identifier: Apache-2.0
 *
 * The flags of `run` and `create`: nearly the same. */
#pragma once

#include "cli/cmd.h"

struct run_opts {
	bool detach, disable_content_trust, init, interactive, no_healthcheck, oom_kill_disable, privileged, publish_all, quiet, read_only, rm;
	bool sig_proxy, tty, use_api_socket;
	const char *cgroup_parent, *cgroupns, *cidfile, *cpuset_cpus, *cpuset_mems, *detach_keys, *domainname, *entrypoint, *health_cmd, *hostname;
	const char *ip, *ip6, *ipc, *isolation, *log_driver, *mac_address, *name, *pid, *platform, *pull, *restart, *runtime, *stop_signal, *user;
	const char *userns, *uts, *volume_driver, *workdir;
	char **add_host, **annotation, **attach, **blkio_weight_device, **cap_add, **cap_drop, **device, **device_cgroup_rule, **device_read_bps;
	char **device_read_iops, **device_write_bps, **device_write_iops, **dns, **dns_option, **dns_search, **env, **env_file, **expose, **gpus;
	char **group_add, **label, **label_file, **link, **link_local_ip, **log_opt, **mount, **network, **network_alias, **publish, **security_opt;
	char **storage_opt, **sysctl, **tmpfs, **ulimit, **volume, **volumes_from;
	int64_t blkio_weight, cpu_count, cpu_percent, cpu_period, cpu_quota, cpu_rt_period, cpu_rt_runtime, cpu_shares, cpus, health_interval;
	int64_t health_retries, health_start_interval, health_start_period, health_timeout, io_maxbandwidth, io_maxiops, kernel_memory, memory;
	int64_t memory_reservation, memory_swap, memory_swappiness, oom_score_adj, pids_limit, shm_size, stop_timeout;
};

extern const struct flag run_flags[], create_flags[];
