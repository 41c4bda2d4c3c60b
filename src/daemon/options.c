/* SPDX-License-Identifier: Apache-2.0
 *
 * The options of caissond. --help, the flags, daemon.json and the reload come from here. */
#include "daemon/options.h"

#define C(m) offsetof(struct cs_daemon_config, m)
#define IGNORED "Accepted for dockerd's sake; has no meaning in this build"
#define REFUSED "Not available in this build"
#define IGN(name) { name, 0, NULL, OPT_IGNORE, 0, 0, NULL, IGNORED }
#define IGNB(name) { name, 0, NULL, OPT_IGNORE_BOOL, 0, 0, NULL, IGNORED }
#define IGNF(name) { name, 0, NULL, OPT_IGNORE, OPT_FILE_ONLY, 0, NULL, IGNORED }
#define IGNL(name, key) { name, 0, key, OPT_IGNORE, 0, 0, NULL, IGNORED }

/* clang-format off */
const struct opt cs_daemon_options[] = {
	{ "allow-direct-routing",   0, NULL,                  OPT_BOOL, 0, C(direct_routing), NULL, "Ports of containers may be reached by the containers' own addresses from outside" },
	{ "base-image",            0,   NULL,                  OPT_STR,    0,             C(base_image), NULL, "OCI archive that is loaded at the first start (default: caisson-base.tar beside caissond, then ../share/caisson)" },
	{ "bip",                    0, NULL,                  OPT_STR, 0, C(bip), NULL, "Address of the default bridge on the host, with its prefix length" },
	{ "bip6",                   0, NULL,                  OPT_STR, 0, C(bip6), NULL, "IPv6 address of the default bridge on the host, with its prefix length" },
	{ "bridge",                 'b', NULL,                  OPT_STR, 0, C(bridge), NULL, "Interface of the default network; \"none\": no such network (default caisson0)" },
	{ "cgroup-parent",         0,   NULL,                  OPT_STR,    0,             C(cgroup_parent), "/caisson", "Parent cgroup of all containers" },
	{ "config-file",           0,   NULL,                  OPT_STR,    OPT_FLAG_ONLY, C(config_file), "/etc/caisson/daemon.json", "Daemon configuration file" },
	{ "data-root",             0,   NULL,                  OPT_STR,    0,             C(data_root), "/var/lib/caisson", "Directory of the persistent state" },
	{ "debug",                 'D', NULL,                  OPT_BOOL,   OPT_LIVE,      C(debug), NULL, "Enable debug mode" },
	{ "default-address-pool",   0, "default-address-pools",  OPT_POOL, 0, C(address_pools), NULL, "Pool for networks without a subnet (base=prefix,size=bits)" },
	{ "default-cgroupns-mode", 0,   NULL,                  OPT_STR,    0,             C(default_cgroupns_mode), NULL, "Default cgroup namespace of containers: host or private" },
	{ "default-gateway",        0, NULL,                  OPT_STR, 0, C(default_gateway), NULL, "Default gateway of containers on the default bridge" },
	{ "default-gateway-v6",     0, NULL,                  OPT_STR, 0, C(default_gateway_v6), NULL, "IPv6 default gateway of containers on the default bridge" },
	{ "default-ipc-mode",      0,   NULL,                  OPT_STR,    0,             C(default_ipc_mode), "private", "Default IPC namespace of containers: shareable or private" },
	{ "default-network-opt",    0, "default-network-opts",  OPT_NETOPT, 0, C(network_opts), NULL, "Default option of new networks (driver=key=value)" },
	{ "default-runtime",       0,   NULL,                  OPT_STR,    0,             C(default_runtime), NULL, "caisson, or runc, which means the same here" },
	{ "default-shm-size",      0,   NULL,                  OPT_BYTES,  0,             C(default_shm_size), "64m", "Default size of /dev/shm" },
	{ "default-stop-timeout",  0,   NULL,                  OPT_INT,    OPT_FILE_ONLY, C(default_stop_timeout), "10", "Default seconds between the stop signal and SIGKILL" },
	{ "default-ulimit",        0,   "default-ulimits",     OPT_ULIMIT, 0,             C(default_ulimits), NULL, "Default ulimits of containers (name=soft[:hard])" },
	{ "dns",                   0,   NULL,                  OPT_LIST,   0,             C(dns), NULL, "DNS server of containers" },
	{ "dns-opt",               0,   "dns-opts",            OPT_LIST,   0,             C(dns_opts), NULL, "DNS option of containers" },
	{ "dns-search",            0,   NULL,                  OPT_LIST,   0,             C(dns_search), NULL, "DNS search domain of containers" },
	{ "exec-root",             0,   NULL,                  OPT_STR,    0,             C(exec_root), "/run/caisson", "Directory of the run-time state" },
	{ "firewall",               0, NULL,                  OPT_BOOL, 0, C(firewall), "true", "Make firewall rules in a table of our own (without them: no published ports, no masquerading, no isolation)" },
	{ "firewall-backend",       0, NULL,                  OPT_STR, 0, C(firewall_backend), NULL, "nftables is the only one" },
	{ "fixed-cidr",             0, NULL,                  OPT_STR, 0, C(fixed_cidr), NULL, "Range of the default bridge that containers get their addresses from" },
	{ "fixed-cidr-v6",          0, NULL,                  OPT_STR, 0, C(fixed_cidr_v6), NULL, "IPv6 subnet of the default bridge" },
	{ "group",                 'G', NULL,                  OPT_STR,    0,             C(group), "", "Group of the unix socket (default: docker, if there is one)" },
	{ "help",                  'h', NULL,                  OPT_BOOL,   OPT_FLAG_ONLY, C(show_help), NULL, "Print usage" },
	{ "host",                  'H', "hosts",               OPT_LIST,   0,             C(hosts), NULL, "Socket to listen on: unix://, tcp://, fd:// (default unix:///run/caisson.sock)" },
	{ "host-gateway-ip",        0, "host-gateway-ips",    OPT_LIST, 0, C(host_gateway_ips), NULL, "Address that host-gateway stands for in --add-host (default: that of the default bridge)" },
	{ "http-proxy",            0,   NULL,                  OPT_STR,    OPT_FLAG_ONLY | OPT_LIVE, C(http_proxy), NULL, "Proxy for registries over http (default: the environment's HTTP_PROXY)" },
	{ "https-proxy",           0,   NULL,                  OPT_STR,    OPT_FLAG_ONLY | OPT_LIVE, C(https_proxy), NULL, "Proxy for registries over https (default: the environment's HTTPS_PROXY)" },
	{ "icc",                    0, NULL,                  OPT_BOOL, 0, C(icc), "true", "Containers on the default bridge may talk to each other" },
	{ "init",                  0,   NULL,                  OPT_BOOL,   0,             C(init), NULL, "Run an init in every container" },
	{ "insecure-registry",     0,   "insecure-registries", OPT_LIST,   OPT_LIVE,      C(insecure_registries), NULL, "Registry without a valid certificate" },
	{ "ip",                     0, NULL,                  OPT_STR, 0, C(publish_ip), "0.0.0.0", "Host address of ports that are published without one" },
	{ "ip-forward",             0, NULL,                  OPT_BOOL, 0, C(ip_forward), "true", "Switch on IP forwarding when a network needs it" },
	{ "ip-forward-no-drop",     0, NULL,                  OPT_BOOL, 0, C(ip_forward_no_drop), NULL, "Do not drop what the host forwards between networks that are not containers', where the engine has switched forwarding on" },
	{ "ip-masq",                0, NULL,                  OPT_BOOL, 0, C(ip_masq), "true", "Masquerade what leaves the default bridge" },
	{ "ip6tables",              0, NULL,                  OPT_BOOL, 0, C(ip6tables), "true", "As iptables" },
	{ "iptables",               0, NULL,                  OPT_BOOL, 0, C(iptables), "true", "dockerd's name of --firewall: false switches it off" },
	{ "ipv6",                   0, NULL,                  OPT_BOOL, 0, C(ipv6), NULL, "The default bridge has IPv6, too" },
	{ "label",                 0,   "labels",              OPT_LIST,   OPT_LIVE,      C(labels), NULL, "Label of the daemon (key=value)" },
	{ "live-restore",          0,   NULL,                  OPT_BOOL,   OPT_LIVE,      C(live_restore), "true", "Containers run on while the daemon is down" },
	{ "log-driver",            0,   NULL,                  OPT_STR,    0,             C(log_driver), "json-file", "Default log driver: json-file, local or none" },
	{ "log-format",            0,   NULL,                  OPT_STR,    0,             C(log_format), "text", "Format of the daemon's log: text or json" },
	{ "log-level",             'l', NULL,                  OPT_STR,    0,             C(log_level), "info", "Level of the daemon's log: debug, info, warn, error, fatal" },
	{ "log-opt",               0,   "log-opts",            OPT_MAP,    0,             C(log_opts), NULL, "Default options of the log driver (key=value)" },
	{ "max-concurrent-downloads", 0, NULL,                 OPT_INT,    OPT_LIVE,      C(max_concurrent_downloads), "3", "Layers that are downloaded at once" },
	{ "max-layer-size",        0,   NULL,                  OPT_BYTES,  0,             C(max_layer_size), "256g", "Largest layer of an image, unpacked; a larger one is refused" },
	{ "max-concurrent-uploads", 0,  NULL,                  OPT_INT,    OPT_LIVE,      C(max_concurrent_uploads), "5", "Layers that are uploaded at once" },
	{ "max-download-attempts", 0,   NULL,                  OPT_INT,    OPT_LIVE,      C(max_download_attempts), "5", "Attempts at each transfer from a registry" },
	{ "mtu",                    0, NULL,                  OPT_INT, 0, C(mtu), NULL, "MTU of the default bridge (default 1500)" },
	{ "no-new-privileges",     0,   NULL,                  OPT_BOOL,   0,             C(no_new_privileges), NULL, "Set no-new-privileges for new containers" },
	{ "no-proxy",              0,   NULL,                  OPT_STR,    OPT_FLAG_ONLY | OPT_LIVE, C(no_proxy), NULL, "Hosts that are reached without a proxy, by commas (default: the environment's NO_PROXY)" },
	{ "pidfile",               'p', NULL,                  OPT_STR,    0,             C(pidfile), "/run/caisson.pid", "Path of the PID file" },
	{ "proxies",               0,   NULL,                  OPT_MAP,    OPT_FILE_ONLY | OPT_LIVE, C(proxies), NULL, "http-proxy, https-proxy and no-proxy" },
	{ "registry-hosts-dir",    0,   "registry-hosts-dirs", OPT_LIST,   OPT_LIVE,      C(registry_hosts_dirs), NULL, "Directory with <host>/hosts.toml and certificates (default: /etc/caisson/certs.d, /etc/docker/certs.d)" },
	{ "registry-mirror",       0,   "registry-mirrors",    OPT_LIST,   OPT_LIVE,      C(registry_mirrors), NULL, "Preferred registry mirror" },
	{ "seccomp-profile",       0,   NULL,                  OPT_STR,    0,             C(seccomp_profile), "builtin", "Seccomp profile: builtin, unconfined or a path" },
	{ "shutdown-timeout",      0,   NULL,                  OPT_INT,    OPT_LIVE,      C(shutdown_timeout), "15", "Seconds that a shutdown may take" },
	{ "storage-driver",        's', NULL,                  OPT_STR,    0,             C(storage_driver), NULL, "overlay2 is the only one" },
	{ "tls",                   0,   NULL,                  OPT_BOOL,   0,             C(tls), NULL, "Use TLS for tcp:// (implied by --tlsverify)" },
	{ "tlscacert",             0,   NULL,                  OPT_STR,    0,             C(tlscacert), "/etc/caisson/ca.pem", "Trust clients with certificates signed by this CA" },
	{ "tlscert",               0,   NULL,                  OPT_STR,    0,             C(tlscert), "/etc/caisson/cert.pem", "TLS certificate" },
	{ "tlskey",                0,   NULL,                  OPT_STR,    0,             C(tlskey), "/etc/caisson/key.pem", "TLS key" },
	{ "tlsverify",             0,   NULL,                  OPT_BOOL,   0,             C(tlsverify), NULL, "Use TLS and verify the client" },
	{ "validate",              0,   NULL,                  OPT_BOOL,   OPT_FLAG_ONLY, C(validate), NULL, "Validate the configuration and exit" },
	{ "version",               'v', NULL,                  OPT_BOOL,   OPT_FLAG_ONLY, C(show_version), NULL, "Print version and quit" },
	{ "worker",                0,   NULL,                  OPT_STR,    0,             C(worker), NULL, "Path of caisson-worker (default: beside caissond, then libexec)" },

	{ "host-gateway", 0, "host-gateway-ip", OPT_STR, OPT_FILE_ONLY, C(host_gateway_ip), NULL, "The older form of host-gateway-ips" },
	{ "bridge-accept-fwmark", 0, NULL, OPT_REFUSE, 0, 0, NULL, REFUSED },
	{ "authorization-plugin", 0, "authorization-plugins", OPT_REFUSE, 0, 0, NULL, REFUSED },
	{ "userns-remap", 0, NULL, OPT_REFUSE, 0, 0, NULL, REFUSED },
	{ "selinux-enabled", 0, NULL, OPT_REFUSE_BOOL, 0, 0, NULL, REFUSED },
	{ "metrics-addr", 0, NULL, OPT_REFUSE, 0, 0, NULL, REFUSED },

	IGNL("add-runtime", "runtimes"),
	IGNF("builder"), IGNL("cdi-spec-dir", "cdi-spec-dirs"), IGN("containerd"), IGN("containerd-namespace"), IGN("containerd-plugins-namespace"),
	IGN("cpu-rt-period"), IGN("cpu-rt-runtime"),
	IGNL("exec-opt", "exec-opts"), IGNB("experimental"),
	IGNL("feature", "features"), IGN("init-path"), IGN("min-api-version"),
	IGN("network-control-plane-mtu"), IGNL("node-generic-resource", "node-generic-resources"), IGNB("raw-logs"), IGN("resolv-conf"), IGNL("storage-opt", "storage-opts"),
	IGN("swarm-default-advertise-addr"), IGNB("userland-proxy"), IGN("userland-proxy-path"), IGNF("default-init"), IGNF("graph"), IGNF("cluster-store"),
};
/* clang-format on */
const size_t cs_daemon_n_options = CS_ARRAY_SIZE(cs_daemon_options);
