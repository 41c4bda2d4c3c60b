/* SPDX-License-Identifier: Apache-2.0
 *
 * The Engine API's structures as C, with one table each (base/json.h) that decodes, encodes, copies and frees them. Names are
 * the API's in snake_case. A table encodes as Go does where clients can see it: omitempty, null against []. Objects are plain
 * data without locks; whoever holds the pointer owns it. Free with cs_json_release(&cs_..._type, obj), or the helpers below. */
#pragma once

#include "base/json.h"

/* ---- small parts ---- */
struct cs_ulimit { /* soft/hard -1 = unlimited */
	char *name;
	int64_t hard, soft;
};
struct cs_health_config { /* durations in ns, 0 = inherit */
	char **test;
	int64_t interval, timeout, start_period, start_interval, retries;
};
struct cs_log_config {
	char *type;
	struct cs_strmap *config;
};
struct cs_restart_policy { /* "", "no", "always", "unless-stopped", "on-failure" */
	char *name;
	int64_t maximum_retry_count;
};
struct cs_weight_device {
	char *path;
	int64_t weight;
};
struct cs_throttle_device {
	char *path;
	uint64_t rate;
};
struct cs_device_mapping {
	char *path_on_host, *path_in_container, *cgroup_permissions;
};
struct cs_device_request {
	char *driver;
	int64_t count;
	char **device_ids;
	char *capabilities; /* JSON: [][]string */
	struct cs_strmap *options;
};
struct cs_port_binding {
	char *host_ip, *host_port;
};

/* ---- HostConfig.Mounts ---- */
struct cs_bind_options {
	char *propagation;
	bool non_recursive, create_mountpoint, read_only_non_recursive, read_only_force_recursive;
};
struct cs_volume_driver {
	char *name;
	struct cs_strmap *options;
};
struct cs_volume_options {
	bool no_copy;
	struct cs_strmap *labels;
	char *subpath;
	struct cs_volume_driver *driver_config;
};
struct cs_image_options {
	char *subpath;
};
struct cs_tmpfs_options {
	int64_t size_bytes;
	int64_t mode;  /* permission bits as a decimal number */
	char *options; /* JSON: [][]string */
};
struct cs_mount {
	char *type, *source, *target; /* type: bind, volume, tmpfs, image, npipe, cluster */
	bool read_only;
	char *consistency;
	struct cs_bind_options *bind_options;
	struct cs_volume_options *volume_options;
	struct cs_image_options *image_options;
	struct cs_tmpfs_options *tmpfs_options;
	char *cluster_options; /* JSON, always refused when used */
};

/* ---- Config ---- */
struct cs_config {
	char *hostname, *domainname, *user;
	bool attach_stdin, attach_stdout, attach_stderr;
	char **exposed_ports; /* set of "80/tcp" */
	bool tty, open_stdin, stdin_once;
	char **env, **cmd;
	struct cs_health_config *healthcheck;
	bool args_escaped;
	char *image;
	char **volumes; /* set of container paths */
	char *working_dir;
	char **entrypoint;
	bool network_disabled;
	char *mac_address; /* deprecated as of 1.44 */
	char **on_build;
	struct cs_strmap *labels;
	char *stop_signal;
	int64_t *stop_timeout; /* seconds; NULL = the engine's default */
	char **shell;
};

/* ---- HostConfig ---- */
struct cs_resources { /* inline in HostConfig and in the update request */
	int64_t cpu_shares, memory, nano_cpus;
	char *cgroup_parent;
	int64_t blkio_weight;
	struct cs_weight_device *blkio_weight_device;
	size_t n_blkio_weight_device;
	struct cs_throttle_device *blkio_device_read_bps, *blkio_device_write_bps, *blkio_device_read_iops, *blkio_device_write_iops;
	size_t n_blkio_device_read_bps, n_blkio_device_write_bps, n_blkio_device_read_iops, n_blkio_device_write_iops;
	int64_t cpu_period, cpu_quota, cpu_realtime_period, cpu_realtime_runtime;
	char *cpuset_cpus, *cpuset_mems;
	struct cs_device_mapping *devices;
	size_t n_devices;
	char **device_cgroup_rules;
	struct cs_device_request *device_requests;
	size_t n_device_requests;
	int64_t kernel_memory, kernel_memory_tcp; /* clients before 1.42 */
	int64_t memory_reservation, memory_swap;  /* memory_swap: total; -1 unlimited */
	int64_t *memory_swappiness;
	enum cs_tri oom_kill_disable;
	int64_t *pids_limit; /* NULL = unchanged/none; 0, -1 = unlimited */
	struct cs_ulimit *ulimits;
	size_t n_ulimits;
	int64_t cpu_count, cpu_percent; /* Windows only */
	uint64_t io_maximum_iops, io_maximum_bandwidth;
};
struct cs_host_config {
	char **binds;
	char *container_id_file;
	struct cs_log_config log_config;
	char *network_mode;
	char *port_bindings; /* JSON: map[port][]PortBinding, canonical after validation; see cs_port_map_parse */
	struct cs_restart_policy restart_policy;
	bool auto_remove;
	char *volume_driver;
	char **volumes_from;
	char *console_size; /* JSON: [height,width]; see cs_console_size_parse */
	struct cs_strmap *annotations;
	char **cap_add, **cap_drop;
	char *cgroupns_mode;
	char **dns, **dns_options, **dns_search, **extra_hosts, **group_add;
	char *ipc_mode, *cgroup;
	char **links;
	int64_t oom_score_adj;
	char *pid_mode;
	bool privileged, publish_all_ports, readonly_rootfs;
	char **security_opt;
	struct cs_strmap *storage_opt, *tmpfs;
	char *uts_mode, *userns_mode;
	int64_t shm_size;
	struct cs_strmap *sysctls;
	char *runtime, *isolation;
	struct cs_resources res;
	struct cs_mount *mounts;
	size_t n_mounts;
	char **masked_paths, **readonly_paths; /* NULL = not given; empty = none */
	enum cs_tri init;
};

/* ---- networks ---- */
struct cs_endpoint_ipam {
	char *ipv4_address, *ipv6_address;
	char **link_local_ips;
};
struct cs_endpoint_settings { /* key: network name */
	char *key;
	struct cs_endpoint_ipam *ipam_config;
	char **links;
	char *mac_address;
	char **aliases;
	struct cs_strmap *driver_opts;
	int64_t gw_priority;
	char *network_id, *endpoint_id, *gateway, *ip_address;
	int64_t ip_prefix_len;
	char *ipv6_gateway, *global_ipv6_address;
	int64_t global_ipv6_prefix_len;
	char **dns_names;
	char *wanted_mac; /* ours, not shown: mac_address is what was given */
};
struct cs_networking_config {
	struct cs_endpoint_settings *endpoints;
	size_t n_endpoints;
};
struct cs_container_networks { /* what a container's row keeps */
	struct cs_endpoint_settings *endpoints; /* sorted by key */
	size_t n_endpoints;
	char *ports; /* JSON: the bindings of this run, as NetworkSettings.Ports shows them */
};
struct cs_ipam_config {
	char *subnet, *ip_range, *gateway;
	struct cs_strmap *aux_addresses;
};
struct cs_ipam {
	char *driver;
	struct cs_strmap *options;
	struct cs_ipam_config *config;
	size_t n_config;
};
struct cs_config_reference {
	char *network;
};
struct cs_network_create {
	char *name, *driver, *scope;
	bool check_duplicate, internal, attachable, ingress, config_only;
	struct cs_config_reference *config_from;
	struct cs_ipam *ipam;
	enum cs_tri enable_ipv4, enable_ipv6;
	struct cs_strmap *options, *labels;
};
struct cs_network_connect {
	char *container;
	struct cs_endpoint_settings *endpoint_config;
};
struct cs_network_disconnect {
	char *container;
	bool force;
};
struct cs_network_doc { /* a network as its row keeps it */
	char *name, *id, *scope, *driver;
	int64_t created;
	bool enable_ipv4, enable_ipv6, internal, attachable, ingress, config_only;
	char *config_from;
	struct cs_ipam ipam;
	struct cs_strmap *options, *labels;
	bool chosen_v4, chosen_v6; /* the subnets were taken from the pools */
};

/* ---- requests ---- */
struct cs_create_request { /* the Config's members stand at the top level of the request */
	struct cs_config config;
	struct cs_host_config *host_config;
	struct cs_networking_config *networking_config;
};
struct cs_update_request {
	struct cs_resources res;
	struct cs_restart_policy restart_policy;
	bool io_devices; /* not in the JSON: the lists of devices for block I/O count (API 1.55) */
};
struct cs_exec_config {
	char *user;
	bool privileged, tty;
	char *console_size; /* JSON [height,width] or NULL */
	bool attach_stdin, attach_stderr, attach_stdout, detach;
	char *detach_keys;
	char **env;
	char *working_dir;
	char **cmd;
};
struct cs_exec_start_request {
	bool detach, tty;
	char *console_size;
};

/* ---- what inspect and list show: Mounts ---- */
struct cs_mount_point {
	char *type, *name, *source, *destination, *driver, *mode;
	bool rw;
	char *propagation;
	/* ours, not shown: */
	bool anonymous;                 /* engine-made volume, removed with the container (rm -v, --rm) */
	bool no_copy;                   /* volume: do not fill from the image */
	bool create_source;             /* bind by -v: missing host directory is created at start */
	bool non_recursive;             /* bind instead of rbind */
	bool ro_non_recursive, ro_force_recursive;
	char *subpath;                  /* inside the volume */
	char *options;                  /* tmpfs: mount options, comma separated */
	struct cs_strmap *volume_labels, *volume_opts;
};

struct cs_volume_create {
	char *name, *driver, *cluster_spec; /* cluster_spec: JSON */
	struct cs_strmap *driver_opts, *labels;
};

#define CS_TYPES(X)                                                                                                    \
	X(ulimit) X(health_config) X(log_config) X(restart_policy) X(weight_device) X(throttle_device)                 \
	X(device_mapping) X(device_request) X(port_binding) X(bind_options) X(volume_driver) X(volume_options)         \
	X(image_options) X(tmpfs_options) X(mount) X(config) X(host_config) X(endpoint_ipam) X(endpoint_settings)      \
	X(networking_config) X(ipam_config) X(ipam) X(config_reference) X(network_create) X(network_connect)          \
	X(network_disconnect) X(network_doc) X(container_networks) X(create_request) X(update_request) X(exec_config) X(exec_start_request) X(mount_point)   \
	X(resources) X(volume_create)
/* cs_config_type, cs_host_config_type, … */
#define X(name) extern const struct cs_jtype cs_##name##_type;
CS_TYPES(X)
#undef X
extern const struct cs_jtype cs_mount_point_store_type; /* all members, for our own state */
extern const struct cs_jtype cs_endpoint_settings_store_type;

/* cs_config_free, cs_config_copy, …: heap objects. free and copy accept NULL. */
#define X(name)                                                                                                        \
	static inline void cs_##name##_free(struct cs_##name *o)                                                       \
	{                                                                                                              \
		if (o) {                                                                                               \
			cs_json_release(&cs_##name##_type, o);                                                         \
			free(o);                                                                                       \
		}                                                                                                      \
	}                                                                                                              \
	static inline struct cs_##name *cs_##name##_copy(const struct cs_##name *o)                                    \
	{                                                                                                              \
		if (!o)                                                                                                \
			return NULL;                                                                                   \
		struct cs_##name *c = cs_xcalloc(1, sizeof(*c));                                                       \
		cs_json_copy(&cs_##name##_type, c, o);                                                                 \
		return c;                                                                                              \
	}
#define cs_mount_point_type cs_mount_point_store_type /* free and copy all of it */
#define cs_endpoint_settings_type cs_endpoint_settings_store_type
CS_TYPES(X)
#undef cs_mount_point_type
#undef cs_endpoint_settings_type
#undef X

void cs_mount_points_free(struct cs_mount_point *v, size_t n);

/* ---- members that the tables keep as JSON text ---- */
struct cs_port_map_entry {
	char *port; /* "80/tcp" */
	struct cs_port_binding *bindings;
	size_t n;
};
struct cs_port_map {
	struct cs_port_map_entry *e; /* sorted by port text */
	size_t n;
};
/* NULL and "null" give an empty map. Shape errors are INVALID and name the field; the ports themselves are not checked. */
CS_MUST_CHECK int cs_port_map_parse(const char *json, const char *path, struct cs_port_map *ret, struct cs_err **err);
void cs_port_map_done(struct cs_port_map *m);
/* [height,width]; NULL, "null" and "[0,0]" give zeros. */
CS_MUST_CHECK int cs_console_size_parse(const char *json, const char *path, uint16_t *height, uint16_t *width, struct cs_err **err);
