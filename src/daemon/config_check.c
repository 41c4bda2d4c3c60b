/* SPDX-License-Identifier: Apache-2.0
 *
 * What the daemon's options mean together: see config_check.h. What daemon.json gives to containers is checked by engine/config_check.c. */
#include "daemon/config_check.h"

#include <arpa/inet.h>
#include <ctype.h>

#include "api/http.h"
#include "base/id.h"
#include "base/log.h"
#include "base/num.h"
#include "registry/registry.h"

static const char *const proxy_keys[] = { "http-proxy", "https-proxy", "no-proxy" };

char *cs_daemon_proxy_flag(const struct cs_daemon_config *c, const char *key)
{
	return !strcmp(key, "http-proxy") ? c->http_proxy : !strcmp(key, "https-proxy") ? c->https_proxy : c->no_proxy;
}

static int check_proxies(const struct cs_daemon_config *c, struct cs_err **err)
{
	for (size_t i = 0; c->proxies && i < c->proxies->n; i++) {
		const char *key = c->proxies->kv[i].key;
		bool known = false;
		for (size_t k = 0; k < CS_ARRAY_SIZE(proxy_keys); k++)
			known = known || !strcmp(key, proxy_keys[k]);
		if (!known)
			return cs_fail(err, CS_ERR_INVALID, 0, "the following directives don't match any configuration option: %s", key);
		if (cs_daemon_proxy_flag(c, key)) /* their values may hold a password */
			return cs_fail(err, CS_ERR_INVALID, 0, "the following directives are specified both as a flag and in the configuration file: %s", key);
	}
	return 0;
}

static int check_registries(struct cs_daemon_config *c, struct cs_err **err)
{
	for (size_t i = 0; i < cs_strv_len(c->registry_mirrors); i++) {
		char *normal = NULL;
		if (cs_registry_check_mirror(c->registry_mirrors[i], &normal, err) < 0)
			return -1;
		free(c->registry_mirrors[i]);
		c->registry_mirrors[i] = normal;
	}
	for (size_t i = 0; i < cs_strv_len(c->insecure_registries); i++)
		if (cs_registry_check_insecure(c->insecure_registries[i], err) < 0)
			return -1;
	for (size_t i = 0; i < cs_strv_len(c->registry_hosts_dirs); i++)
		if (c->registry_hosts_dirs[i][0] != '/')
			return cs_fail(err, CS_ERR_INVALID, 0, "registry-hosts-dir must be an absolute path: %s", c->registry_hosts_dirs[i]);
	if (c->max_concurrent_downloads < 0)
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid max concurrent downloads: %lld", (long long)c->max_concurrent_downloads);
	if (c->max_concurrent_uploads < 0)
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid max concurrent uploads: %lld", (long long)c->max_concurrent_uploads);
	if (c->max_download_attempts <= 0)
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid max download attempts: %lld", (long long)c->max_download_attempts);
	return check_proxies(c, err);
}

static bool is_address(const char *text, int family)
{
	unsigned char b[16];

	return inet_pton(family, text, b) == 1;
}

/* An address with a prefix length; family AF_UNSPEC: either. */
static bool is_prefix(const char *text, int family)
{
	const char *slash = strchr(text, '/');
	cs_autofree char *addr = cs_xstrndup(text, slash ? (size_t)(slash - text) : strlen(text));
	bool v6 = strchr(addr, ':');
	uint64_t bits;

	return slash && (family == AF_UNSPEC || v6 == (family == AF_INET6)) && is_address(addr, v6 ? AF_INET6 : AF_INET) &&
	       cs_parse_u64(slash + 1, 0, v6 ? 128 : 32, &bits);
}

static uint64_t parse_prefix(const char *text, unsigned char addr[16])
{
	const char *slash = strchr(text, '/');
	cs_autofree char *ip = cs_xstrndup(text, (size_t)(slash - text));
	uint64_t bits;

	(void)inet_pton(strchr(ip, ':') ? AF_INET6 : AF_INET, ip, addr);
	return cs_parse_u64(slash + 1, 0, 128, &bits) ? bits : 0;
}

/* What the default bridge's address and its range have to do with each other: found here, not by the first container. Both are prefixes of one family. */
static int check_range(const char *bip, const char *fixed, const char *keys[2], struct cs_err **err)
{
	unsigned char a[16] = {0}, f[16] = {0};

	if (cs_empty(bip))
		return 0;
	uint64_t bits = parse_prefix(bip, a), width = strchr(bip, ':') ? 128 : 32, host = bits;
	while (host < width && !(a[host / 8] & (0x80u >> (host % 8))))
		host++;
	if (host == width && bits + 1 < width)
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid %s: %s is the subnet's own address: the bridge needs one of its hosts'", keys[0], bip);
	if (cs_empty(fixed))
		return 0;
	bool inside = parse_prefix(fixed, f) >= bits;
	for (uint64_t i = 0; i < bits && inside; i++)
		inside = !((a[i / 8] ^ f[i / 8]) & (0x80u >> (i % 8)));
	return inside ? 0 : cs_fail(err, CS_ERR_INVALID, 0, "invalid %s: %s is not in the subnet of %s %s", keys[1], fixed, keys[0], bip);
}

static int check_pools(char *const *pools, struct cs_err **err)
{
	for (; pools && *pools; pools++) {
		const char *space = strrchr(*pools, ' '), *slash = strchr(*pools, '/');
		cs_autofree char *base = cs_xstrndup(*pools, (size_t)(space - *pools));
		uint64_t size, bits;
		if (!is_prefix(base, AF_UNSPEC) || !cs_parse_u64(space + 1, 1, strchr(base, ':') ? 128 : 32, &size) ||
		    !cs_parse_u64n(slash + 1, (size_t)(space - slash - 1), 0, 128, &bits) || size < bits)
			return cs_fail(err, CS_ERR_INVALID, 0, "invalid default address pool: base %s, size %s", base, space + 1);
	}
	return 0;
}

static int check_network(struct cs_daemon_config *c, struct cs_err **err)
{
	const struct {
		const char *key, *value;
		int family;
		bool prefix;
	} texts[] = {{"bip", c->bip, AF_INET, true}, {"bip6", c->bip6, AF_INET6, true}, {"fixed-cidr", c->fixed_cidr, AF_INET, true},
		     {"fixed-cidr-v6", c->fixed_cidr_v6, AF_INET6, true}, {"default-gateway", c->default_gateway, AF_INET, false},
		     {"default-gateway-v6", c->default_gateway_v6, AF_INET6, false}};

	for (size_t i = 0; i < CS_ARRAY_SIZE(texts); i++)
		if (!cs_empty(texts[i].value) && !(texts[i].prefix ? is_prefix : is_address)(texts[i].value, texts[i].family))
			return cs_fail(err, CS_ERR_INVALID, 0, "invalid %s: %s", texts[i].key, texts[i].value);
	if (check_range(c->bip, c->fixed_cidr, (const char *[]){"bip", "fixed-cidr"}, err) < 0 ||
	    check_range(c->bip6, c->fixed_cidr_v6, (const char *[]){"bip6", "fixed-cidr-v6"}, err) < 0)
		return -1;
	if (!cs_empty(c->publish_ip) && !is_address(c->publish_ip, AF_INET) && !is_address(c->publish_ip, AF_INET6))
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid ip: %s", c->publish_ip);
	if (!cs_empty(c->host_gateway_ip) && c->host_gateway_ips)
		return cs_fail(err, CS_ERR_INVALID, 0, "both host-gateway-ip and host-gateway-ips are given");
	if (!cs_empty(c->host_gateway_ip))
		cs_strv_push(&c->host_gateway_ips, c->host_gateway_ip);
	for (char **p = c->host_gateway_ips; p && *p; p++)
		if (!is_address(*p, AF_INET) && !is_address(*p, AF_INET6))
			return cs_fail(err, CS_ERR_INVALID, 0, "invalid host-gateway-ips: %s", *p);
	if (!cs_empty(c->bridge) && !cs_link_name_valid(c->bridge))
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid bridge: %s is not a name of an interface", c->bridge);
	if (!cs_empty(c->bridge) && !cs_empty(c->bip) && !strcmp(c->bridge, "none"))
		return cs_fail(err, CS_ERR_INVALID, 0, "bip needs a default bridge, and bridge is none");
	if (c->mtu && (c->mtu < 68 || c->mtu > 65535))
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid mtu: %lld", (long long)c->mtu);
	if (!cs_empty(c->firewall_backend) && strcmp(c->firewall_backend, "nftables"))
		return cs_fail(err, CS_ERR_UNSUPPORTED, 0, "firewall-backend %s is not available in this build of Caisson: it uses nftables", c->firewall_backend);
	if (c->iptables && !c->ip6tables)
		return cs_fail(err, CS_ERR_UNSUPPORTED, 0, "ip6tables=false is available together with iptables=false only: one table serves both");
	return check_pools(c->address_pools, err);
}

bool cs_daemon_parse_ulimit(const char *v, int64_t *soft, int64_t *hard)
{
	const char *colon = strchr(v, ':');
	cs_autofree char *first = cs_xstrndup(v, colon ? (size_t)(colon - v) : strlen(v));

	return cs_parse_i64(first, -1, INT64_MAX, soft) && cs_parse_i64(colon ? colon + 1 : first, -1, INT64_MAX, hard);
}

static int check_ulimits(const struct cs_strmap *m, struct cs_err **err)
{
	int64_t soft, hard;

	for (size_t i = 0; m && i < m->n; i++)
		if (!cs_daemon_parse_ulimit(m->kv[i].val, &soft, &hard))
			return cs_fail(err, CS_ERR_INVALID, 0, "invalid default ulimit %s=%s: must be soft[:hard]", m->kv[i].key, m->kv[i].val);
	return 0;
}

/* The last of two labels with one key would count, and nobody can tell which that was meant to be. */
static int check_labels(char *const *labels, struct cs_err **err)
{
	for (size_t i = 0; i < cs_strv_len(labels); i++) {
		const char *eq = strchr(labels[i], '=');
		if (!eq)
			return cs_fail(err, CS_ERR_INVALID, 0, "bad attribute format: %s", labels[i]);
		for (size_t k = 0; k < i; k++)
			if (!strncmp(labels[i], labels[k], (size_t)(eq - labels[i]) + 1) && strcmp(labels[i], labels[k]) != 0)
				return cs_fail(err, CS_ERR_INVALID, 0, "conflict labels for %s and %s", labels[i], labels[k]);
	}
	return 0;
}

/* Other runtimes isolate more than ours, or otherwise: containers that silently get ours instead would be worse than none. */
static int check_parts(const struct cs_daemon_config *c, struct cs_err **err)
{
	static const char *const drivers[] = { "overlay2", "overlayfs" }, *const runtimes[] = { "caisson", "runc", "io.containerd.runc.v2" };
	bool driver = cs_empty(c->storage_driver), runtime = cs_empty(c->default_runtime);

	for (size_t i = 0; i < CS_ARRAY_SIZE(drivers); i++)
		driver = driver || !strcmp(c->storage_driver, drivers[i]);
	for (size_t i = 0; i < CS_ARRAY_SIZE(runtimes); i++)
		runtime = runtime || !strcmp(c->default_runtime, runtimes[i]);
	if (!driver)
		return cs_fail(err, CS_ERR_UNSUPPORTED, 0, "storage driver %s is not available in this build of Caisson: it uses overlay2", c->storage_driver);
	if (!runtime)
		return cs_fail(err, CS_ERR_UNSUPPORTED, 0, "default runtime %s is not available in this build of Caisson: it runs containers itself", c->default_runtime);
	return 0;
}

/* "1.40" -> 140; as dockerd the environment may give it, too. */
static int check_min_api(struct cs_daemon_config *c, struct cs_err **err)
{
	const char *env = getenv("DOCKER_MIN_API_VERSION"), *v = !cs_empty(c->min_api_version) ? c->min_api_version : env;
	const char *what = !cs_empty(c->min_api_version) ? "min-api-version" : "DOCKER_MIN_API_VERSION", *dot = v ? strchr(v, '.') : NULL;
	uint64_t major, minor;

	c->min_api = CS_API_MIN;
	if (cs_empty(v))
		return 0;
	if (!dot || !cs_parse_u64n(v, (size_t)(dot - v), 0, 1000, &major) || !cs_parse_u64(dot + 1, 0, 99, &minor))
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid %s: %s is no version of the API, as 1.40 is", what, v);
	if (major * 100 + minor < CS_API_MIN)
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid %s: minimum supported API version is " CS_API_MIN_TEXT ": %s", what, v);
	if (major * 100 + minor > CS_API_MAX)
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid %s: maximum supported API version is " CS_API_MAX_TEXT ": %s", what, v);
	c->min_api = (int)(major * 100 + minor);
	return 0;
}

static char *trimmed(const char *s, size_t n)
{
	for (; n > 0 && isspace((unsigned char)*s); n--)
		s++;
	while (n > 0 && isspace((unsigned char)s[n - 1]))
		n--;
	return cs_xstrndup(s, n);
}

/* Splits "Key = value", spaces and case of the key apart, as dockerd does. Caller frees both. */
static bool split_opt(const char *text, char **key, char **value)
{
	const char *eq = strchr(text, '=');

	if (!eq)
		return false;
	*key = trimmed(text, (size_t)(eq - text));
	*value = trimmed(eq + 1, strlen(eq + 1));
	for (char *p = *key; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	return **key && **value;
}

static int check_exec_opts(char *const *opts, struct cs_err **err)
{
	for (; opts && *opts; opts++) {
		cs_autofree char *key = NULL, *value = NULL;
		if (!split_opt(*opts, &key, &value))
			return cs_fail(err, CS_ERR_INVALID, 0, "invalid exec-opt (%s): must be formatted 'opt=value'", *opts);
		if (!strcmp(key, "isolation"))
			return cs_fail(err, CS_ERR_INVALID, 0, "invalid exec-opt (%s): option 'isolation' is only supported on windows", *opts);
		if (strcmp(key, "native.cgroupdriver"))
			return cs_fail(err, CS_ERR_INVALID, 0, "invalid exec-opt (%s): unknown option: '%s'", *opts, key);
		if (!strcmp(value, "systemd"))
			return cs_fail(err, CS_ERR_UNSUPPORTED, 0, "exec-opt %s is not available in this build of Caisson: it makes cgroups itself (cgroupfs), below cgroup-parent", *opts);
		if (strcmp(value, "cgroupfs"))
			return cs_fail(err, CS_ERR_INVALID, 0, "invalid exec-opt (%s): native.cgroupdriver must be cgroupfs", *opts);
	}
	return 0;
}

static int check_storage_opts(struct cs_daemon_config *c, struct cs_err **err)
{
	for (char **p = c->storage_opts; p && *p; p++) {
		cs_autofree char *key = NULL, *value = NULL;
		bool valid = split_opt(*p, &key, &value);
		if (!valid)
			return cs_fail(err, CS_ERR_INVALID, 0, "invalid storage-opt: Unable to parse key/value option: %s", *p);
		if (!strcmp(key, "overlay2.override_kernel_check") || !strcmp(key, "overlay.override_kernel_check"))
			cs_strv_take(&c->warnings, cs_xasprintf("storage-opt \"%s\": No effect: the kernel is asked for what it can do", *p));
		else if (strcmp(key, "overlay2.size"))
			return cs_fail(err, CS_ERR_INVALID, 0, "overlay2: Unknown option %s", key);
		else if (!cs_parse_bytes(value, &c->container_size) || c->container_size < 0)
			return cs_fail(err, CS_ERR_INVALID, 0, "invalid storage-opt: invalid size: '%s'", value);
	}
	return 0;
}

/* dockerd ignores what it does not know; a slip of the pen would go unseen. */
static int check_features(struct cs_daemon_config *c, struct cs_err **err)
{
	static const char *const known[][2] = {{"buildkit", "there is no builder"}, {"containerd-snapshotter", "there is one image store, and it keeps what both of dockerd's do"},
					       {"cdi", NULL}};

	for (size_t i = 0; c->features && i < c->features->n; i++) {
		const char *name = c->features->kv[i].key;
		size_t k = 0;
		while (k < CS_ARRAY_SIZE(known) && strcmp(known[k][0], name))
			k++;
		if (k == CS_ARRAY_SIZE(known))
			return cs_fail(err, CS_ERR_INVALID, 0, "unknown feature: %s", name);
		if (known[k][1])
			cs_strv_take(&c->warnings, cs_xasprintf("feature \"%s\": No effect: %s", name, known[k][1]));
		else if (!strcmp(c->features->kv[i].val, "true"))
			return cs_fail(err, CS_ERR_UNSUPPORTED, 0, "feature %s is not available in this build of Caisson", name);
	}
	return 0;
}

static int check_files(const struct cs_daemon_config *c, struct cs_err **err)
{
	const char *init = cs_empty(c->init_path) ? c->default_init : c->init_path, *key = cs_empty(c->init_path) ? "default-init" : "init-path";

	if (!cs_empty(init) && init[0] != '/')
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid %s: must be an absolute path: %s", key, init);
	if (!cs_empty(init) && access(init, X_OK) < 0)
		return cs_fail(err, CS_ERR_INVALID, errno, "invalid %s: %s", key, init);
	if (!cs_empty(c->resolv_conf) && c->resolv_conf[0] != '/')
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid resolv-conf: must be an absolute path: %s", c->resolv_conf);
	if (!cs_empty(c->resolv_conf) && access(c->resolv_conf, R_OK) < 0)
		return cs_fail(err, CS_ERR_INVALID, errno, "invalid resolv-conf: %s", c->resolv_conf);
	return 0;
}

static int check_ranges(const struct cs_daemon_config *c, struct cs_err **err)
{
	if (c->oom_score_adjust < -1000 || c->oom_score_adjust > 1000)
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid oom-score-adjust: %lld is not between -1000 and 1000", (long long)c->oom_score_adjust);
	if (c->default_stop_timeout < -1)
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid default-stop-timeout: %lld", (long long)c->default_stop_timeout);
	if (c->shutdown_timeout < -1)
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid shutdown-timeout: %lld", (long long)c->shutdown_timeout);
	return 0;
}

int cs_daemon_config_check(struct cs_daemon_config *c, struct cs_err **err)
{
	enum cs_log_level level;

	if (!cs_log_parse_level(c->log_level, &level))
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid logging level: %s", c->log_level);
	if (strcmp(c->log_format, "text") && strcmp(c->log_format, "json"))
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid log format: %s", c->log_format);
	if (c->data_root[0] != '/' || c->exec_root[0] != '/')
		return cs_fail(err, CS_ERR_INVALID, 0, "data-root and exec-root must be absolute paths");
	cs_autostrv char **parts = cs_strv_split(c->cgroup_parent, '/');
	if (cs_strv_has(parts, "..") || strpbrk(c->cgroup_parent, " \t\n"))
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid cgroup parent: %s", c->cgroup_parent);
	if (c->cgroup_parent[0] != '/') { /* as dockerd: below the root of each hierarchy */
		char *full = cs_xasprintf("/%s", *c->cgroup_parent ? c->cgroup_parent : "caisson"); /* no name is the usual one, not the root itself */
		free(c->cgroup_parent);
		c->cgroup_parent = full;
	}
	if (c->default_cgroupns_mode && strcmp(c->default_cgroupns_mode, "host") && strcmp(c->default_cgroupns_mode, "private"))
		return cs_fail(err, CS_ERR_INVALID, 0, "default cgroup namespace mode (%s) is invalid, use \"host\" or \"private\"", c->default_cgroupns_mode);
	if (strcmp(c->default_ipc_mode, "private") && strcmp(c->default_ipc_mode, "shareable"))
		return cs_fail(err, CS_ERR_INVALID, 0, "IPC can only be set to \"private\" or \"shareable\": %s", c->default_ipc_mode);
	if (strcmp(c->log_driver, "json-file") && strcmp(c->log_driver, "local") && strcmp(c->log_driver, "none"))
		return cs_fail(err, CS_ERR_INVALID, 0, "log driver %s is not available in this build of Caisson: use json-file, local or none", c->log_driver);
	if (check_labels(c->labels, err) < 0 || check_ulimits(c->default_ulimits, err) < 0 || check_parts(c, err) < 0)
		return -1;
	if (check_registries(c, err) < 0 || check_network(c, err) < 0)
		return -1;
	if (check_min_api(c, err) < 0 || check_exec_opts(c->exec_opts, err) < 0 || check_storage_opts(c, err) < 0 || check_features(c, err) < 0 ||
	    check_files(c, err) < 0 || check_ranges(c, err) < 0)
		return -1;
	if (!c->hosts)
		cs_strv_push(&c->hosts, "unix:///run/caisson.sock");
	for (size_t i = 0; c->hosts[i];) {
		if (!strstr(c->hosts[i], "://")) { /* as dockerd: a bare address is tcp, a bare path unix */
			char *full = cs_xasprintf("%s%s", c->hosts[i][0] == '/' ? "unix://" : "tcp://", c->hosts[i]);
			free(c->hosts[i]);
			c->hosts[i] = full;
		}
		if (cs_listen_check(c->hosts[i], err) < 0)
			return -1;
		size_t first = 0;
		while (strcmp(c->hosts[first], c->hosts[i]) != 0)
			first++;
		if (first == i) {
			i++;
			continue;
		}
		free(c->hosts[i]); /* named twice: once is enough */
		for (size_t k = i; c->hosts[k]; k++)
			c->hosts[k] = c->hosts[k + 1];
	}
	c->tls = c->tls || c->tlsverify;
	return 0;
}
