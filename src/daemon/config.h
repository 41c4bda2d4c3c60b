/* SPDX-License-Identifier: Apache-2.0
 *
 * caissond's configuration: dockerd's flags and daemon.json keys, from one table. */
#pragma once

#include "base/error.h"
#include "base/str.h"
#include "base/strv.h"
#include "engine/engine.h"

struct cs_daemon_config {
	/* the daemon's own */
	char *config_file, *data_root, *exec_root, *pidfile, *group, *log_level, *log_format, *worker, *base_image, *cgroup_parent, *storage_driver, *default_runtime;
	char **hosts;
	bool debug, tls, tlsverify, validate, show_version, show_help;
	char *tlscacert, *tlscert, *tlskey;
	/* handed to the engine */
	char **labels, *log_driver, *default_ipc_mode, *default_cgroupns_mode, *seccomp_profile;
	struct cs_strmap *log_opts, *default_ulimits; /* ulimits: name -> "soft:hard" */
	int64_t max_layer_size;
	int64_t default_shm_size, default_stop_timeout, shutdown_timeout;
	int64_t max_concurrent_downloads, max_concurrent_uploads, max_download_attempts;
	bool init, no_new_privileges, live_restore, experimental;
	char *init_path, *default_init, *resolv_conf, *api_cors_header, *min_api_version;
	char **exec_opts, **storage_opts;
	struct cs_strmap *features;
	int min_api;              /* min_api_version as 124 */
	int64_t oom_score_adjust;
	int64_t container_size;   /* bytes, of storage-opts; 0: no limit */
	char **dns, **dns_search, **dns_opts, **insecure_registries, **registry_mirrors, **registry_hosts_dirs;
	char *http_proxy, *https_proxy, *no_proxy; /* flags */
	struct cs_strmap *proxies;                 /* the same in the file */
	char *bridge, *bip, *bip6, *fixed_cidr, *fixed_cidr_v6, *default_gateway, *default_gateway_v6, *publish_ip, *firewall_backend,
		*host_gateway_ip;
	bool direct_routing, firewall, iptables, ip6tables, ipv6, icc, ip_forward, ip_forward_no_drop, ip_masq;
	int64_t mtu;
	char **address_pools;           /* "base size" */
	struct cs_strmap *network_opts; /* "driver=key" -> value */
	char **host_gateway_ips;
	/* what to tell the log once there is one */
	char **warnings;
};

/* Defaults, then flags, then the file. INVALID with dockerd's texts: unknown flag, unknown key, given in both. */
CS_MUST_CHECK int cs_daemon_config_load(int argc, char *const *argv, struct cs_daemon_config *ret, struct cs_err **err);
void cs_daemon_config_done(struct cs_daemon_config *c);
/* The engine's view; pointers are borrowed from c, but for default_ulimits (free with cs_daemon_config_engine_done). */
void cs_daemon_config_engine(const struct cs_daemon_config *c, struct cs_engine_config *ret);
void cs_daemon_config_engine_done(struct cs_engine_config *e);
/* SIGHUP: moves the members that may change at run time from `from` into `to`. */
void cs_daemon_config_take_live(struct cs_daemon_config *to, struct cs_daemon_config *from);
void cs_daemon_config_help(struct cs_str *out);
