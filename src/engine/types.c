/* SPDX-License-Identifier: Apache-2.0
 *
 * The tables behind types.h. Order and flags follow what dockerd prints; rows with API bounds appeared or vanished there. */
#include "engine/types.h"

#define TYPE(name) const struct cs_jtype cs_##name##_type = {#name, sizeof(struct cs_##name), name##_fields}

#define T struct cs_ulimit
static const struct cs_jfield ulimit_fields[] = {
	JF(T, "Name", name, 0),
	JF(T, "Hard", hard, 0),
	JF(T, "Soft", soft, 0),
	JF_END,
};
TYPE(ulimit);
#undef T

#define T struct cs_volume_create
static const struct cs_jfield volume_create_fields[] = {
	JF(T, "Name", name, 0),
	JF(T, "Driver", driver, 0),
	JF(T, "DriverOpts", driver_opts, 0),
	JF(T, "Labels", labels, 0),
	JF_AS(T, "ClusterVolumeSpec", cluster_spec, JF_OMIT, JK_RAW),
	JF_END,
};
TYPE(volume_create);
#undef T

#define T struct cs_health_config
static const struct cs_jfield health_config_fields[] = {
	JF(T, "Test", test, JF_OMIT),
	JF(T, "Interval", interval, JF_OMIT),
	JF(T, "Timeout", timeout, JF_OMIT),
	JF(T, "StartPeriod", start_period, JF_OMIT),
	JF_API(T, "StartInterval", start_interval, JF_OMIT, 144, 0),
	JF(T, "Retries", retries, JF_OMIT),
	JF_END,
};
TYPE(health_config);
#undef T

#define T struct cs_log_config
static const struct cs_jfield log_config_fields[] = {
	JF(T, "Type", type, 0),
	JF(T, "Config", config, 0),
	JF_END,
};
TYPE(log_config);
#undef T

#define T struct cs_restart_policy
static const struct cs_jfield restart_policy_fields[] = {
	JF(T, "Name", name, 0),
	JF(T, "MaximumRetryCount", maximum_retry_count, 0),
	JF_END,
};
TYPE(restart_policy);
#undef T

#define T struct cs_weight_device
static const struct cs_jfield weight_device_fields[] = {
	JF(T, "Path", path, 0),
	JF(T, "Weight", weight, 0),
	JF_END,
};
TYPE(weight_device);
#undef T

#define T struct cs_throttle_device
static const struct cs_jfield throttle_device_fields[] = {
	JF(T, "Path", path, 0),
	JF(T, "Rate", rate, 0),
	JF_END,
};
TYPE(throttle_device);
#undef T

#define T struct cs_device_mapping
static const struct cs_jfield device_mapping_fields[] = {
	JF(T, "PathOnHost", path_on_host, 0),
	JF(T, "PathInContainer", path_in_container, 0),
	JF(T, "CgroupPermissions", cgroup_permissions, 0),
	JF_END,
};
TYPE(device_mapping);
#undef T

#define T struct cs_device_request
static const struct cs_jfield device_request_fields[] = {
	JF(T, "Driver", driver, 0),
	JF(T, "Count", count, 0),
	JF(T, "DeviceIDs", device_ids, 0),
	JF_AS(T, "Capabilities", capabilities, 0, JK_RAW),
	JF(T, "Options", options, 0),
	JF_END,
};
TYPE(device_request);
#undef T

#define T struct cs_port_binding
static const struct cs_jfield port_binding_fields[] = {
	JF(T, "HostIp", host_ip, 0),
	JF(T, "HostPort", host_port, 0),
	JF_END,
};
TYPE(port_binding);
#undef T

#define T struct cs_bind_options
static const struct cs_jfield bind_options_fields[] = {
	JF(T, "Propagation", propagation, JF_OMIT),
	JF(T, "NonRecursive", non_recursive, JF_OMIT),
	JF_API(T, "CreateMountpoint", create_mountpoint, JF_OMIT, 142, 0),
	JF_API(T, "ReadOnlyNonRecursive", read_only_non_recursive, JF_OMIT, 144, 0),
	JF_API(T, "ReadOnlyForceRecursive", read_only_force_recursive, JF_OMIT, 144, 0),
	JF_END,
};
TYPE(bind_options);
#undef T

#define T struct cs_volume_driver
static const struct cs_jfield volume_driver_fields[] = {
	JF(T, "Name", name, JF_OMIT),
	JF(T, "Options", options, JF_OMIT),
	JF_END,
};
TYPE(volume_driver);
#undef T

#define T struct cs_volume_options
static const struct cs_jfield volume_options_fields[] = {
	JF(T, "NoCopy", no_copy, JF_OMIT),
	JF(T, "Labels", labels, JF_OMIT),
	JF_API(T, "Subpath", subpath, JF_OMIT, 145, 0),
	JF_OBJ(T, "DriverConfig", driver_config, JF_OMIT, &cs_volume_driver_type),
	JF_END,
};
TYPE(volume_options);
#undef T

#define T struct cs_image_options
static const struct cs_jfield image_options_fields[] = {
	JF(T, "Subpath", subpath, JF_OMIT),
	JF_END,
};
TYPE(image_options);
#undef T

#define T struct cs_tmpfs_options
static const struct cs_jfield tmpfs_options_fields[] = {
	JF(T, "SizeBytes", size_bytes, JF_OMIT),
	JF(T, "Mode", mode, JF_OMIT),
	{.key = "Options", .kind = JK_RAW, .flags = JF_OMIT, .off = offsetof(T, options), .min_api = 146},
	JF_END,
};
TYPE(tmpfs_options);
#undef T

#define T struct cs_mount
static const struct cs_jfield mount_fields[] = {
	JF(T, "Type", type, JF_OMIT),
	JF(T, "Source", source, JF_OMIT),
	JF(T, "Target", target, JF_OMIT),
	JF(T, "ReadOnly", read_only, JF_OMIT),
	JF(T, "Consistency", consistency, JF_OMIT),
	JF_OBJ(T, "BindOptions", bind_options, JF_OMIT, &cs_bind_options_type),
	JF_OBJ(T, "VolumeOptions", volume_options, JF_OMIT, &cs_volume_options_type),
	JF_OBJ(T, "ImageOptions", image_options, JF_OMIT, &cs_image_options_type),
	JF_OBJ(T, "TmpfsOptions", tmpfs_options, JF_OMIT, &cs_tmpfs_options_type),
	JF_AS(T, "ClusterOptions", cluster_options, JF_OMIT, JK_RAW),
	JF_END,
};
TYPE(mount);
#undef T

/* Used twice: by itself, and at the top level of a create request, where the struct is the first member. */
#define T struct cs_config
#define CONFIG_ROWS                                                                                                    \
	JF(T, "Hostname", C hostname, 0), JF(T, "Domainname", C domainname, 0), JF(T, "User", C user, 0),              \
		JF(T, "AttachStdin", C attach_stdin, 0), JF(T, "AttachStdout", C attach_stdout, 0),                    \
		JF(T, "AttachStderr", C attach_stderr, 0), JF_AS(T, "ExposedPorts", C exposed_ports, JF_OMIT, JK_SET), \
		JF(T, "Tty", C tty, 0), JF(T, "OpenStdin", C open_stdin, 0), JF(T, "StdinOnce", C stdin_once, 0),      \
		JF(T, "Env", C env, 0), JF(T, "Cmd", C cmd, JF_ONE),                                                   \
		JF_OBJ(T, "Healthcheck", C healthcheck, JF_OMIT, &cs_health_config_type),                              \
		JF(T, "ArgsEscaped", C args_escaped, JF_OMIT), JF(T, "Image", C image, 0),                             \
		JF_AS(T, "Volumes", C volumes, 0, JK_SET), JF(T, "WorkingDir", C working_dir, 0),                      \
		JF(T, "Entrypoint", C entrypoint, JF_ONE), JF(T, "NetworkDisabled", C network_disabled, JF_OMIT),      \
		JF_API(T, "MacAddress", C mac_address, JF_OMIT, 0, 151), JF(T, "OnBuild", C on_build, 0),              \
		JF(T, "Labels", C labels, 0), JF(T, "StopSignal", C stop_signal, JF_OMIT),                             \
		JF(T, "StopTimeout", C stop_timeout, JF_OMIT), JF(T, "Shell", C shell, JF_OMIT | JF_ONE)
#define C
static const struct cs_jfield config_fields[] = {CONFIG_ROWS, JF_END};
TYPE(config);
#undef C
#undef T

/* Resources: inline in HostConfig and in the update request. */
#define LIST_ROW(k, m, t) JF_LIST(T, k, C m, C n_##m, 0, &cs_##t##_type)
#define RESOURCE_ROWS                                                                                                  \
	JF(T, "CpuShares", C cpu_shares, 0), JF(T, "Memory", C memory, 0), JF(T, "NanoCpus", C nano_cpus, 0),          \
		JF(T, "CgroupParent", C cgroup_parent, 0), JF(T, "BlkioWeight", C blkio_weight, 0),                    \
		LIST_ROW("BlkioWeightDevice", blkio_weight_device, weight_device),                                     \
		LIST_ROW("BlkioDeviceReadBps", blkio_device_read_bps, throttle_device),                                \
		LIST_ROW("BlkioDeviceWriteBps", blkio_device_write_bps, throttle_device),                              \
		LIST_ROW("BlkioDeviceReadIOps", blkio_device_read_iops, throttle_device),                              \
		LIST_ROW("BlkioDeviceWriteIOps", blkio_device_write_iops, throttle_device),                            \
		JF(T, "CpuPeriod", C cpu_period, 0), JF(T, "CpuQuota", C cpu_quota, 0),                                \
		JF(T, "CpuRealtimePeriod", C cpu_realtime_period, 0),                                                  \
		JF(T, "CpuRealtimeRuntime", C cpu_realtime_runtime, 0), JF(T, "CpusetCpus", C cpuset_cpus, 0),         \
		JF(T, "CpusetMems", C cpuset_mems, 0), LIST_ROW("Devices", devices, device_mapping),                   \
		JF(T, "DeviceCgroupRules", C device_cgroup_rules, 0),                                                  \
		LIST_ROW("DeviceRequests", device_requests, device_request),                                           \
		JF(T, "KernelMemory", C kernel_memory, JF_OMIT), JF(T, "KernelMemoryTCP", C kernel_memory_tcp, JF_OMIT), \
		JF(T, "MemoryReservation", C memory_reservation, 0), JF(T, "MemorySwap", C memory_swap, 0),            \
		JF(T, "MemorySwappiness", C memory_swappiness, 0), JF(T, "OomKillDisable", C oom_kill_disable, 0),     \
		JF(T, "PidsLimit", C pids_limit, 0), LIST_ROW("Ulimits", ulimits, ulimit),                             \
		JF(T, "CpuCount", C cpu_count, 0), JF(T, "CpuPercent", C cpu_percent, 0),                              \
		JF(T, "IOMaximumIOps", C io_maximum_iops, 0), JF(T, "IOMaximumBandwidth", C io_maximum_bandwidth, 0)

#define T struct cs_resources
#define C
static const struct cs_jfield resources_fields[] = {RESOURCE_ROWS, JF_END};
TYPE(resources);
#undef C
#undef T

#define T struct cs_host_config
#define C res.
#undef LIST_ROW
#define LIST_ROW(k, m, t) JF_LIST(T, k, res.m, res.n_##m, 0, &cs_##t##_type)
static const struct cs_jfield host_config_fields[] = {
	JF(T, "Binds", binds, 0),
	JF(T, "ContainerIDFile", container_id_file, 0),
	JF_INLINE(T, "LogConfig", log_config, 0, &cs_log_config_type),
	JF(T, "NetworkMode", network_mode, 0),
	JF_AS(T, "PortBindings", port_bindings, 0, JK_RAW),
	JF_INLINE(T, "RestartPolicy", restart_policy, 0, &cs_restart_policy_type),
	JF(T, "AutoRemove", auto_remove, 0),
	JF(T, "VolumeDriver", volume_driver, 0),
	JF(T, "VolumesFrom", volumes_from, 0),
	JF_AS(T, "ConsoleSize", console_size, 0, JK_RAW),
	JF_API(T, "Annotations", annotations, JF_OMIT, 143, 0),
	JF(T, "CapAdd", cap_add, JF_ONE),
	JF(T, "CapDrop", cap_drop, JF_ONE),
	JF_API(T, "CgroupnsMode", cgroupns_mode, 0, 141, 0),
	JF(T, "Dns", dns, 0),
	JF(T, "DnsOptions", dns_options, 0),
	JF(T, "DnsSearch", dns_search, 0),
	JF(T, "ExtraHosts", extra_hosts, 0),
	JF(T, "GroupAdd", group_add, 0),
	JF(T, "IpcMode", ipc_mode, 0),
	JF(T, "Cgroup", cgroup, 0),
	JF(T, "Links", links, 0),
	JF(T, "OomScoreAdj", oom_score_adj, 0),
	JF(T, "PidMode", pid_mode, 0),
	JF(T, "Privileged", privileged, 0),
	JF(T, "PublishAllPorts", publish_all_ports, 0),
	JF(T, "ReadonlyRootfs", readonly_rootfs, 0),
	JF(T, "SecurityOpt", security_opt, 0),
	JF(T, "StorageOpt", storage_opt, JF_OMIT),
	JF(T, "Tmpfs", tmpfs, JF_OMIT),
	JF(T, "UTSMode", uts_mode, 0),
	JF(T, "UsernsMode", userns_mode, 0),
	JF(T, "ShmSize", shm_size, 0),
	JF(T, "Sysctls", sysctls, JF_OMIT),
	JF(T, "Runtime", runtime, JF_OMIT),
	JF(T, "Isolation", isolation, 0),
	RESOURCE_ROWS,
	JF_LIST(T, "Mounts", mounts, n_mounts, JF_OMIT, &cs_mount_type),
	JF(T, "MaskedPaths", masked_paths, 0),
	JF(T, "ReadonlyPaths", readonly_paths, 0),
	JF(T, "Init", init, JF_OMIT),
	JF_END,
};
TYPE(host_config);
#undef T

#define T struct cs_update_request
static const struct cs_jfield update_request_fields[] = {
	RESOURCE_ROWS,
	JF_INLINE(T, "RestartPolicy", restart_policy, 0, &cs_restart_policy_type),
	JF_END,
};
TYPE(update_request);
#undef C
#undef T

#define T struct cs_endpoint_ipam
static const struct cs_jfield endpoint_ipam_fields[] = {
	JF(T, "IPv4Address", ipv4_address, JF_OMIT),
	JF(T, "IPv6Address", ipv6_address, JF_OMIT),
	JF(T, "LinkLocalIPs", link_local_ips, JF_OMIT),
	JF_END,
};
TYPE(endpoint_ipam);
#undef T

#define T struct cs_endpoint_settings
#define ENDPOINT_ROWS                                                                                                  \
	JF_OBJ(T, "IPAMConfig", ipam_config, 0, &cs_endpoint_ipam_type), JF(T, "Links", links, 0),                     \
		JF(T, "Aliases", aliases, 0), JF(T, "MacAddress", mac_address, 0), JF(T, "DriverOpts", driver_opts, 0), \
		JF_API(T, "GwPriority", gw_priority, 0, 148, 0), JF(T, "NetworkID", network_id, 0),                    \
		JF(T, "EndpointID", endpoint_id, 0), JF(T, "Gateway", gateway, 0), JF(T, "IPAddress", ip_address, 0),  \
		JF(T, "IPPrefixLen", ip_prefix_len, 0), JF(T, "IPv6Gateway", ipv6_gateway, 0),                         \
		JF(T, "GlobalIPv6Address", global_ipv6_address, 0),                                                    \
		JF(T, "GlobalIPv6PrefixLen", global_ipv6_prefix_len, 0), JF_API(T, "DNSNames", dns_names, 0, 144, 0)
static const struct cs_jfield endpoint_settings_fields[] = {ENDPOINT_ROWS, JF(T, "WantedMac", wanted_mac, JF_OURS), JF_END};
static const struct cs_jfield endpoint_settings_store_fields[] = {ENDPOINT_ROWS, JF(T, "WantedMac", wanted_mac, JF_OMIT), JF_END};
TYPE(endpoint_settings);
const struct cs_jtype cs_endpoint_settings_store_type = {"endpoint_settings", sizeof(T), endpoint_settings_store_fields};
#undef T

#define T struct cs_container_networks
static const struct cs_jfield container_networks_fields[] = {
	JF_MAP(T, "Endpoints", endpoints, n_endpoints, 0, &cs_endpoint_settings_store_type),
	JF_AS(T, "Ports", ports, JF_OMIT, JK_RAW),
	JF_END,
};
TYPE(container_networks);
#undef T

#define T struct cs_ipam_config
static const struct cs_jfield ipam_config_fields[] = {
	JF(T, "Subnet", subnet, JF_OMIT),
	JF(T, "IPRange", ip_range, JF_OMIT),
	JF(T, "Gateway", gateway, JF_OMIT),
	JF(T, "AuxiliaryAddresses", aux_addresses, JF_OMIT),
	JF_END,
};
TYPE(ipam_config);
#undef T

#define T struct cs_ipam
static const struct cs_jfield ipam_fields[] = {
	JF(T, "Driver", driver, 0),
	JF(T, "Options", options, 0),
	JF_LIST(T, "Config", config, n_config, JF_EMPTY, &cs_ipam_config_type),
	JF_END,
};
TYPE(ipam);
#undef T

#define T struct cs_config_reference
static const struct cs_jfield config_reference_fields[] = {JF(T, "Network", network, 0), JF_END};
TYPE(config_reference);
#undef T

#define T struct cs_network_create
static const struct cs_jfield network_create_fields[] = {
	JF(T, "Name", name, 0),
	JF(T, "CheckDuplicate", check_duplicate, 0),
	JF(T, "Driver", driver, 0),
	JF(T, "Scope", scope, 0),
	JF(T, "EnableIPv4", enable_ipv4, 0),
	JF(T, "EnableIPv6", enable_ipv6, 0),
	JF_OBJ(T, "IPAM", ipam, 0, &cs_ipam_type),
	JF(T, "Internal", internal, 0),
	JF(T, "Attachable", attachable, 0),
	JF(T, "Ingress", ingress, 0),
	JF(T, "ConfigOnly", config_only, 0),
	JF_OBJ(T, "ConfigFrom", config_from, 0, &cs_config_reference_type),
	JF(T, "Options", options, 0),
	JF(T, "Labels", labels, 0),
	JF_END,
};
TYPE(network_create);
#undef T

#define T struct cs_network_connect
static const struct cs_jfield network_connect_fields[] = {
	JF(T, "Container", container, 0),
	JF_OBJ(T, "EndpointConfig", endpoint_config, 0, &cs_endpoint_settings_type),
	JF_END,
};
TYPE(network_connect);
#undef T

#define T struct cs_network_disconnect
static const struct cs_jfield network_disconnect_fields[] = {JF(T, "Container", container, 0), JF(T, "Force", force, 0), JF_END};
TYPE(network_disconnect);
#undef T

#define T struct cs_network_doc
static const struct cs_jfield network_doc_fields[] = {
	JF(T, "Name", name, 0),
	JF(T, "Id", id, 0),
	JF_AS(T, "Created", created, 0, JK_TIME),
	JF(T, "Scope", scope, 0),
	JF(T, "Driver", driver, 0),
	JF(T, "EnableIPv4", enable_ipv4, 0),
	JF(T, "EnableIPv6", enable_ipv6, 0),
	JF_INLINE(T, "IPAM", ipam, 0, &cs_ipam_type),
	JF(T, "Internal", internal, 0),
	JF(T, "Attachable", attachable, 0),
	JF(T, "Ingress", ingress, 0),
	JF(T, "ConfigFrom", config_from, JF_OMIT),
	JF(T, "ConfigOnly", config_only, 0),
	JF(T, "Options", options, JF_EMPTY),
	JF(T, "Labels", labels, JF_EMPTY),
	JF(T, "ChosenV4", chosen_v4, JF_OMIT),
	JF(T, "ChosenV6", chosen_v6, JF_OMIT),
	JF_END,
};
TYPE(network_doc);
#undef T

#define T struct cs_networking_config
static const struct cs_jfield networking_config_fields[] = {
	JF_MAP(T, "EndpointsConfig", endpoints, n_endpoints, 0, &cs_endpoint_settings_type),
	JF_END,
};
TYPE(networking_config);
#undef T

#define T struct cs_create_request
#define C config.
static const struct cs_jfield create_request_fields[] = {
	CONFIG_ROWS,
	JF_OBJ(T, "HostConfig", host_config, 0, &cs_host_config_type),
	JF_OBJ(T, "NetworkingConfig", networking_config, 0, &cs_networking_config_type),
	JF_END,
};
TYPE(create_request);
#undef C
#undef T

#define T struct cs_exec_config
static const struct cs_jfield exec_config_fields[] = {
	JF(T, "User", user, 0),
	JF(T, "Privileged", privileged, 0),
	JF(T, "Tty", tty, 0),
	JF_AS(T, "ConsoleSize", console_size, JF_OMIT, JK_RAW),
	JF(T, "AttachStdin", attach_stdin, 0),
	JF(T, "AttachStderr", attach_stderr, 0),
	JF(T, "AttachStdout", attach_stdout, 0),
	JF(T, "Detach", detach, 0),
	JF(T, "DetachKeys", detach_keys, 0),
	JF(T, "Env", env, 0),
	JF(T, "WorkingDir", working_dir, 0),
	JF(T, "Cmd", cmd, 0),
	JF_END,
};
TYPE(exec_config);
#undef T

#define T struct cs_exec_start_request
static const struct cs_jfield exec_start_request_fields[] = {
	JF(T, "Detach", detach, 0),
	JF(T, "Tty", tty, 0),
	JF_AS(T, "ConsoleSize", console_size, JF_OMIT, JK_RAW),
	JF_END,
};
TYPE(exec_start_request);
#undef T

#define T struct cs_mount_point
#define MOUNT_POINT_ROWS                                                                                               \
	JF(T, "Type", type, JF_OMIT), JF(T, "Name", name, JF_OMIT), JF(T, "Source", source, 0),                        \
		JF(T, "Destination", destination, 0), JF(T, "Driver", driver, JF_OMIT), JF(T, "Mode", mode, 0),        \
		JF(T, "RW", rw, 0), JF(T, "Propagation", propagation, 0)
static const struct cs_jfield mount_point_fields[] = {MOUNT_POINT_ROWS, JF_END};
static const struct cs_jfield mount_point_store_fields[] = {
	MOUNT_POINT_ROWS,
	JF(T, "Anonymous", anonymous, JF_OMIT),
	JF(T, "NoCopy", no_copy, JF_OMIT),
	JF(T, "CreateSource", create_source, JF_OMIT),
	JF(T, "NonRecursive", non_recursive, JF_OMIT),
	JF(T, "RoNonRecursive", ro_non_recursive, JF_OMIT),
	JF(T, "RoForceRecursive", ro_force_recursive, JF_OMIT),
	JF(T, "Subpath", subpath, JF_OMIT),
	JF(T, "Options", options, JF_OMIT),
	JF(T, "VolumeLabels", volume_labels, JF_OMIT),
	JF(T, "VolumeOpts", volume_opts, JF_OMIT),
	JF_END,
};
TYPE(mount_point);
const struct cs_jtype cs_mount_point_store_type = {"mount_point", sizeof(T), mount_point_store_fields};
#undef T

void cs_mount_points_free(struct cs_mount_point *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		cs_json_release(&cs_mount_point_store_type, &v[i]);
	free(v);
}

/* ---- members kept as JSON text ---- */

void cs_port_map_done(struct cs_port_map *m)
{
	for (size_t i = 0; i < m->n; i++) {
		for (size_t k = 0; k < m->e[i].n; k++)
			cs_json_release(&cs_port_binding_type, &m->e[i].bindings[k]);
		free(m->e[i].bindings);
		free(m->e[i].port);
	}
	free(m->e);
	*m = (struct cs_port_map){0};
}

static int by_port(const void *a, const void *b)
{
	return strcmp(((const struct cs_port_map_entry *)a)->port, ((const struct cs_port_map_entry *)b)->port);
}

static int parse_bindings(json_t *list, const char *path, struct cs_port_map_entry *e, struct cs_err **err)
{
	size_t i;
	json_t *item;

	if (json_is_null(list))
		return 0;
	if (!json_is_array(list))
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid JSON: %s: expected array", path);
	e->bindings = cs_xcalloc(json_array_size(list) + 1, sizeof(*e->bindings));
	json_array_foreach(list, i, item)
	{
		cs_autofree char *p = cs_xasprintf("%s[%zu]", path, i);
		e->n = i + 1;
		if (cs_json_decode(&cs_port_binding_type, item, &e->bindings[i], p, err) < 0)
			return -1;
	}
	return 0;
}

int cs_port_map_parse(const char *json, const char *path, struct cs_port_map *ret, struct cs_err **err)
{
	struct cs_port_map m = {0};
	const char *key;
	json_t *val;

	if (!json) {
		*ret = m;
		return 0;
	}
	cs_autojson json_t *j = cs_json_parse(json, strlen(json), err);
	if (!j)
		return -1;
	if (!json_is_object(j) && !json_is_null(j))
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid JSON: %s: expected object", path);
	m.e = cs_xcalloc(json_object_size(j) + 1, sizeof(*m.e));
	json_object_foreach(j, key, val)
	{
		cs_autofree char *p = cs_xasprintf("%s.%s", path, key);
		struct cs_port_map_entry *e = &m.e[m.n++];
		e->port = cs_xstrdup(key);
		if (parse_bindings(val, p, e, err) < 0) {
			cs_port_map_done(&m);
			return -1;
		}
	}
	if (m.n)
		qsort(m.e, m.n, sizeof(*m.e), by_port);
	*ret = m;
	return 0;
}

int cs_console_size_parse(const char *json, const char *path, uint16_t *height, uint16_t *width, struct cs_err **err)
{
	json_int_t v[2] = {0, 0};

	if (json) {
		cs_autojson json_t *j = cs_json_parse(json, strlen(json), err);
		if (!j)
			return -1;
		if (!json_is_null(j) && !json_is_array(j))
			return cs_fail(err, CS_ERR_INVALID, 0, "invalid JSON: %s: expected array of two integers", path);
		for (size_t i = 0; i < 2 && i < json_array_size(j); i++) { /* Go's [2]uint: missing are 0, surplus is dropped */
			json_t *n = json_array_get(j, i);
			if (!json_is_integer(n) || json_integer_value(n) < 0 || json_integer_value(n) > UINT16_MAX)
				return cs_fail(err, CS_ERR_INVALID, 0, "invalid JSON: %s[%zu]: expected integer from 0 to 65535", path, i);
			v[i] = json_integer_value(n);
		}
	}
	*height = (uint16_t)v[0];
	*width = (uint16_t)v[1];
	return 0;
}
