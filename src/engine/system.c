/* SPDX-License-Identifier: Apache-2.0
 *
 * What the engine says about itself and its host: info and version. Reads only; any thread. */
#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/utsname.h>
#include <sys/vfs.h>

#include "base/io.h"
#include "base/log.h"
#include "base/time.h"
#include "engine/events.h"
#include "engine/hostfacts.h"
#include "engine/network.h"
#include "engine/image_internal.h"
#include "registry/registry.h"

/* not in every linux/magic.h */
#define ZFS_MAGIC 0x2fc12fc1u
#define BCACHEFS_MAGIC 0xca451a4eu

/* ---- host ---- */
/* A value of /etc/os-release without its quotes; "" when missing. Caller frees. */
static char *os_release(const char *key)
{
	cs_autostr struct cs_str s = CS_STR_INIT(65536);
	size_t n = strlen(key);

	if (cs_read_file_at(AT_FDCWD, "/etc/os-release", &s) < 0 && cs_read_file_at(AT_FDCWD, "/usr/lib/os-release", &s) < 0)
		return cs_xstrdup("");
	for (char *p = s.buf; p && *p;) {
		size_t len = strcspn(p, "\n");
		if (len > n && strncmp(p, key, n) == 0 && p[n] == '=') {
			char *v = p + n + 1;
			size_t vn = len - n - 1;
			if (vn >= 2 && (*v == '"' || *v == '\'') && v[vn - 1] == *v) {
				v++;
				vn -= 2;
			}
			return cs_xstrndup(v, vn);
		}
		p += len + (p[len] == '\n');
	}
	return cs_xstrdup("");
}

static int64_t count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	int64_t n = 0;

	if (!d)
		return -1;
	while (readdir(d))
		n++;
	(void)closedir(d);
	return n - 3; /* ".", ".." and the directory itself */
}

static int64_t count_threads(void)
{
	cs_autostr struct cs_str s = CS_STR_INIT(65536);
	const char *p = cs_read_file_at(AT_FDCWD, "/proc/self/status", &s) == 0 ? strstr(s.buf, "\nThreads:") : NULL;
	return p ? strtoll(p + 9, NULL, 10) : 0;
}

/* ---- info ---- */
static void put_containers(struct cs_engine *e, struct cs_str *out)
{
	size_t n;
	struct cs_container **v = cs_containers_all(e, &n);
	int64_t running = 0, paused = 0;

	for (size_t i = 0; i < n; i++) {
		pthread_mutex_lock(&v[i]->lock);
		if (v[i]->paused)
			paused++;
		else if (v[i]->status == CS_ST_RUNNING || v[i]->status == CS_ST_RESTARTING)
			running++;
		pthread_mutex_unlock(&v[i]->lock);
	}
	cs_containers_free(v);
	cs_json_put_ki64(out, "Containers", (int64_t)n);
	cs_json_put_ki64(out, "ContainersRunning", running);
	cs_json_put_ki64(out, "ContainersPaused", paused);
	cs_json_put_ki64(out, "ContainersStopped", (int64_t)n - running - paused);
}

/* dockerd's names. */
static const char *backing_fs(const char *path)
{
	static const struct {
		unsigned long magic;
		const char *name;
	} known[] = {{EXT4_SUPER_MAGIC, "extfs"}, {XFS_SUPER_MAGIC, "xfs"},	  {BTRFS_SUPER_MAGIC, "btrfs"}, {TMPFS_MAGIC, "tmpfs"},
		     {ZFS_MAGIC, "zfs"},	  {F2FS_SUPER_MAGIC, "f2fs"},	  {OVERLAYFS_SUPER_MAGIC, "overlayfs"}, {NFS_SUPER_MAGIC, "nfs"},
		     {FUSE_SUPER_MAGIC, "fuse"}, {BCACHEFS_MAGIC, "bcachefs"}};
	struct statfs s;

	for (size_t i = 0; statfs(path, &s) == 0 && i < CS_ARRAY_SIZE(known); i++)
		if (((unsigned long)s.f_type & 0xffffffffu) == known[i].magic)
			return known[i].name;
	return "<unknown>";
}

static void put_driver(struct cs_engine *e, struct cs_str *out)
{
	cs_json_put_kstr(out, "Driver", "overlay2");
	cs_json_put_key(out, "DriverStatus");
	cs_str_puts(out, "[[\"Backing Filesystem\",");
	cs_json_put_string(out, backing_fs(cs_engine_config(e)->data_root));
	cs_str_puts(out, "],[\"Supports d_type\",\"true\"],[\"Image layout\",\"OCI\"]]");
	cs_json_put_kstr(out, "DockerRootDir", cs_engine_config(e)->data_root);
	cs_json_put_key(out, "Plugins");
	cs_str_puts(out, "{\"Volume\":[\"local\"],\"Network\":[\"bridge\",\"host\",\"ipvlan\",\"l2bridge\",\"macvlan\",\"null\",\"overlay\"],\"Authorization\":null,\"Log\":[\"json-file\",\"local\",\"none\"]}");
}

static void put_limits(const struct cs_host_facts *h, struct cs_str *out, int api)
{
	cs_json_put_kbool(out, "MemoryLimit", h->memory_limit);
	cs_json_put_kbool(out, "SwapLimit", h->swap_limit);
	if (api && api < 142) {
		cs_json_put_kbool(out, "KernelMemory", false);
		cs_json_put_kbool(out, "KernelMemoryTCP", false);
	}
	cs_json_put_kbool(out, "CpuCfsPeriod", h->cpu_cfs);
	cs_json_put_kbool(out, "CpuCfsQuota", h->cpu_cfs);
	cs_json_put_kbool(out, "CPUShares", h->cpu_shares);
	cs_json_put_kbool(out, "CPUSet", h->cpuset);
	cs_json_put_kbool(out, "PidsLimit", h->pids);
	cs_json_put_kbool(out, "IPv4Forwarding", h->ipv4_forwarding);
	if (!api || api < 150) {
		cs_json_put_kbool(out, "BridgeNfIptables", false);
		cs_json_put_kbool(out, "BridgeNfIp6tables", false);
	}
	cs_json_put_kbool(out, "OomKillDisable", h->oom_kill_disable);
}

static void put_security(struct cs_engine *e, const struct cs_host_facts *h, struct cs_str *out)
{
	const struct cs_engine_config *cfg = cs_engine_config(e);
	const char *profile = cs_empty(cfg->seccomp_profile) ? "builtin" : cfg->seccomp_profile;

	cs_json_put_key(out, "SecurityOptions");
	cs_str_puts(out, "[");
	if (h->seccomp) {
		cs_autofree char *opt = cs_xasprintf("name=seccomp,profile=%s", profile);
		cs_json_put_string(out, opt);
	}
	if (h->cgroupns && h->cgroup_version == 2)
		cs_str_puts(out, out->buf[out->len - 1] == '[' ? "\"name=cgroupns\"" : ",\"name=cgroupns\"");
	if (cfg->no_new_privileges)
		cs_str_puts(out, out->buf[out->len - 1] == '[' ? "\"name=no-new-privileges\"" : ",\"name=no-new-privileges\"");
	cs_str_puts(out, "]");
}

static void put_network_warnings(struct cs_engine *e, char ***v)
{
	if (e->networks->service_error)
		cs_strv_take(v, cs_xasprintf("WARNING: No networks but none and host: %s", e->networks->service_error));
	if (!cs_engine_config(e)->network.firewall)
		cs_strv_push(v, "WARNING: The engine runs without its firewall tables (firewall or iptables: false): ports cannot be published, and networks are not isolated");
	int missing = cs_hcn_loopback6_missing();
	if (missing)
		cs_strv_take(v, cs_xasprintf("WARNING: No BPF programs at a cgroup2 (%s): ::1 of the host does not reach published ports of containers without an IPv6 address", cs_errno_text(missing)));
	struct cs_network **all = cs_networks_all(e, NULL);
	for (struct cs_network **p = all; *p; p++)
		if ((*p)->why && !e->networks->service_error)
			cs_strv_take(v, cs_xasprintf("WARNING: Network %s cannot be used: %s", (*p)->doc->name, (*p)->why));
	cs_networks_free(all);
}

/* dockerd's sentences for what the host lacks, then what the compute service found. */
static void put_warnings(struct cs_engine *e, const struct cs_host_facts *h, struct cs_str *out)
{
	const struct {
		bool ok;
		const char *text;
	} known[] = {{h->memory_limit, "WARNING: No memory limit support"},
		     {h->swap_limit, "WARNING: No swap limit support"},
		     {h->oom_kill_disable || h->cgroup_version == 2, "WARNING: No oom kill disable support"},
		     {h->cpu_cfs, "WARNING: No cpu cfs quota support"},
		     {h->cpu_cfs, "WARNING: No cpu cfs period support"},
		     {h->cpu_shares, "WARNING: No cpu shares support"},
		     {h->cpuset, "WARNING: No cpuset support"},
		     {h->pids, "WARNING: No pids limit support"},
		     {h->blkio_throttle, "WARNING: No blkio throttle support"},
		     {h->seccomp, "WARNING: No seccomp support: containers run unconfined"}};
	cs_autostrv char **v = NULL;
	cs_autojson json_t *j = e->hcs_info ? cs_json_parse(e->hcs_info, strlen(e->hcs_info), NULL) : NULL;
	size_t i;
	json_t *w;

	for (i = 0; i < CS_ARRAY_SIZE(known); i++) {
		if (!known[i].ok)
			cs_strv_push(&v, known[i].text);
	}
	json_array_foreach(json_object_get(j, "Warnings"), i, w)
	{
		if (!json_is_string(w))
			continue;
		cs_autofree char *text = cs_xasprintf("%s%s", cs_prefix(json_string_value(w), "WARNING: ") ? "" : "WARNING: ", json_string_value(w));
		cs_strv_push(&v, text);
	}
	put_network_warnings(e, &v);
	cs_json_put_key(out, "Warnings");
	cs_json_put_strv(out, v);
}

/* FirewallBackend and DefaultAddressPools */
static void put_network(struct cs_engine *e, int api, struct cs_str *out)
{
	const struct cs_network_config *n = &cs_engine_config(e)->network;

	for (char **p = n->address_pools; p && *p; p++) {
		const char *space = strrchr(*p, ' ');
		cs_autofree char *base = cs_xstrndup(*p, (size_t)(space - *p));
		if (p == n->address_pools) {
			cs_json_put_key(out, "DefaultAddressPools");
			cs_str_putc(out, '[');
		}
		cs_str_puts(out, p == n->address_pools ? "{" : ",{");
		cs_json_put_kstr(out, "Base", base);
		cs_str_putf(out, ",\"Size\":%s}%s", space + 1, p[1] ? "" : "]");
	}
	if (n->firewall && (!api || api >= 149)) {
		cs_json_put_key(out, "FirewallBackend");
		cs_str_puts(out, "{\"Driver\":\"nftables\"}");
	}
}

static const char *without_scheme(const char *s)
{
	const char *sep = strstr(s, "://");
	return sep ? sep + 3 : s;
}

static void put_registry(const struct cs_engine_config *cfg, int api, struct cs_str *out)
{
	char *none[] = {NULL};

	cs_json_put_kstr(out, "IndexServerAddress", "https://index.docker.io/v1/");
	cs_json_put_key(out, "RegistryConfig");
	cs_str_putc(out, '{');
	if (api && api < 148) /* gone since then */
		cs_str_puts(out, "\"AllowNondistributableArtifactsCIDRs\":null,\"AllowNondistributableArtifactsHostnames\":null,");
	cs_str_puts(out, "\"InsecureRegistryCIDRs\":[");
	for (char **r = cfg->insecure_registries; r && *r; r++) {
		if (!cs_registry_insecure_is_cidr(without_scheme(*r)))
			continue;
		cs_json_put_string(out, without_scheme(*r));
		cs_str_puts(out, ",");
	}
	cs_str_puts(out, "\"::1/128\",\"127.0.0.0/8\"],\"IndexConfigs\":{\"docker.io\":{\"Mirrors\":");
	cs_json_put_strv(out, cfg->registry_mirrors ? cfg->registry_mirrors : none);
	cs_str_puts(out, ",\"Name\":\"docker.io\",\"Official\":true,\"Secure\":true}");
	for (char **r = cfg->insecure_registries; r && *r; r++) {
		if (cs_registry_insecure_is_cidr(without_scheme(*r)))
			continue;
		cs_json_put_key(out, without_scheme(*r));
		cs_str_puts(out, "{\"Mirrors\":[],\"Official\":false,\"Secure\":false");
		cs_json_put_kstr(out, "Name", without_scheme(*r));
		cs_str_puts(out, "}");
	}
	cs_str_puts(out, "},\"Mirrors\":");
	cs_json_put_strv(out, cfg->registry_mirrors ? cfg->registry_mirrors : none);
	cs_str_puts(out, "}");
}

/* As dockerd: the daemon's own or the environment's, without name and password. */
static void put_proxy(struct cs_str *out, const char *key, const char *own, const char *upper, const char *lower)
{
	const char *v = !cs_empty(own) ? own : !cs_empty(getenv(upper)) ? getenv(upper) : getenv(lower), *host, *at;

	if (!v)
		v = "";
	host = without_scheme(v);
	at = memrchr(host, '@', strcspn(host, "/?#"));
	cs_autofree char *shown = at ? cs_xasprintf("%.*sxxxxx:xxxxx%s", (int)(host - v), v, at) : cs_xstrdup(v);
	cs_json_put_kstr(out, key, shown);
}

static void put_proxies(const struct cs_engine_config *cfg, struct cs_str *out)
{
	put_proxy(out, "HttpProxy", cfg->http_proxy, "HTTP_PROXY", "http_proxy");
	put_proxy(out, "HttpsProxy", cfg->https_proxy, "HTTPS_PROXY", "https_proxy");
	put_proxy(out, "NoProxy", cfg->no_proxy, "NO_PROXY", "no_proxy");
}

static void put_host(const struct cs_host_facts *h, struct cs_str *out)
{
	struct utsname u = {0};
	cs_autofree char *pretty = os_release("PRETTY_NAME"), *version = os_release("VERSION_ID");

	(void)uname(&u);
	cs_json_put_kstr(out, "KernelVersion", u.release);
	cs_json_put_kstr(out, "OperatingSystem", *pretty ? pretty : "Linux");
	cs_json_put_kstr(out, "OSVersion", version);
	cs_json_put_kstr(out, "OSType", "linux");
	cs_json_put_kstr(out, "Architecture", u.machine);
	cs_json_put_ki64(out, "NCPU", h->ncpu);
	cs_json_put_ki64(out, "MemTotal", h->mem_total);
}

static void put_runtime(struct cs_engine *e, struct cs_str *out, int api)
{
	const struct cs_engine_config *cfg = cs_engine_config(e);
	const char *worker = cfg->worker_path ? cfg->worker_path : "caisson-worker";

	cs_json_put_kbool(out, "ExperimentalBuild", cfg->experimental);
	cs_json_put_kstr(out, "ServerVersion", cfg->version);
	cs_json_put_key(out, "Runtimes");
	/* the names that create accepts; all mean the same */
	static const char *const runtimes[] = {"caisson", "io.containerd.runc.v2", "runc"};
	cs_str_putc(out, '{');
	for (size_t i = 0; i < CS_ARRAY_SIZE(runtimes); i++) {
		cs_json_put_key(out, runtimes[i]);
		cs_str_putc(out, '{');
		cs_json_put_kstr(out, "path", worker);
		cs_str_putc(out, '}');
	}
	cs_str_putc(out, '}');
	cs_json_put_kstr(out, "DefaultRuntime", "caisson");
	cs_json_put_key(out, "Swarm");
	cs_str_puts(out, "{\"NodeID\":\"\",\"NodeAddr\":\"\",\"LocalNodeState\":\"inactive\",\"ControlAvailable\":false,\"Error\":\"\",\"RemoteManagers\":null}");
	cs_json_put_kbool(out, "LiveRestoreEnabled", cfg->live_restore);
	cs_json_put_kstr(out, "Isolation", "");
	cs_json_put_kstr(out, "InitBinary", cs_empty(cfg->init_path) ? "caisson-init" : cfg->init_path);
	static const char *const commits[] = {"ContainerdCommit", "RuncCommit", "InitCommit"};
	for (size_t i = 0; i < CS_ARRAY_SIZE(commits); i++) {
		cs_json_put_key(out, commits[i]);
		cs_str_puts(out, "{\"ID\":\"\"");
		if (api && api < 149)
			cs_str_puts(out, ",\"Expected\":\"\"");
		cs_str_puts(out, "}");
	}
}

int cs_system_info(struct cs_engine *e, int api, struct cs_str *out, struct cs_err **err)
{
	const struct cs_engine_config *cfg = cs_engine_config(e);
	const struct cs_host_facts *h = cs_host_facts();
	char *none[] = {NULL};
	struct utsname u = {0};
	size_t images;

	(void)uname(&u);
	cs_image_count(e, &images, NULL);
	cs_str_puts(out, "{");
	cs_json_put_kstr(out, "ID", e->id);
	put_containers(e, out);
	cs_json_put_ki64(out, "Images", (int64_t)images);
	put_driver(e, out);
	put_limits(h, out, api);
	cs_json_put_kbool(out, "Debug", cfg->debug);
	cs_json_put_ki64(out, "NFd", count_fds());
	cs_json_put_ki64(out, "NGoroutines", count_threads());
	cs_json_put_ktime(out, "SystemTime", cs_now_ns());
	cs_json_put_kstr(out, "LoggingDriver", cs_empty(cfg->log_driver) ? "json-file" : cfg->log_driver);
	cs_json_put_kstr(out, "CgroupDriver", "cgroupfs");
	if (api && api < 125)
		cs_json_put_kstr(out, "ExecutionDriver", "<not supported>");
	if (!api || api >= 140)
		cs_json_put_kstr(out, "CgroupVersion", h->cgroup_version == 2 ? "2" : "1");
	cs_json_put_ki64(out, "NEventsListener", (int64_t)cs_bus_subscribers(e->bus));
	put_host(h, out);
	put_registry(cfg, api, out);
	cs_str_puts(out, ",\"GenericResources\":null");
	put_proxies(cfg, out);
	cs_json_put_kstr(out, "Name", u.nodename);
	cs_json_put_key(out, "Labels");
	cs_json_put_strv(out, cfg->labels ? cfg->labels : none);
	put_runtime(e, out, api);
	put_security(e, h, out);
	cs_str_puts(out, ",\"ProductLicense\":\"\",\"CDISpecDirs\":[]");
	put_network(e, api, out);
	put_warnings(e, h, out);
	cs_str_puts(out, "}");
	return out->failed ? cs_fail(err, CS_ERR_INTERNAL, ENOMEM, "info") : 0;
}

/* ---- version ---- */
int cs_system_version(struct cs_engine *e, int api, struct cs_str *out, struct cs_err **err)
{
	const struct cs_engine_config *cfg = cs_engine_config(e);
	const char *arch = cs_host_facts()->arch;
	struct utsname u = {0};
	const char *keys[] = {"ApiVersion", "MinAPIVersion", "GitCommit", "GoVersion", "Os", "Arch", "KernelVersion"};
	cs_autofree char *min = cs_xasprintf("%d.%d", cfg->min_api / 100, cfg->min_api % 100);
	const char *vals[] = {CS_API_MAX_TEXT, min, cfg->git_commit ? cfg->git_commit : "", "", "linux", arch, NULL};

	(void)api;
	(void)uname(&u);
	vals[6] = u.release;
	cs_str_puts(out, "{\"Platform\":{\"Name\":\"Caisson\"},\"Components\":[{\"Name\":\"Engine\"");
	cs_json_put_kstr(out, "Version", cfg->version);
	cs_json_put_key(out, "Details");
	cs_str_puts(out, "{");
	for (size_t i = 0; i < CS_ARRAY_SIZE(keys); i++)
		cs_json_put_kstr(out, keys[i], vals[i]);
	cs_json_put_kstr(out, "BuildTime", cfg->build_time ? cfg->build_time : "");
	cs_json_put_kstr(out, "Experimental", cfg->experimental ? "true" : "false");
	cs_str_puts(out, "}},{\"Name\":\"caisson-worker\"");
	cs_json_put_kstr(out, "Version", cfg->version);
	cs_str_puts(out, ",\"Details\":{");
	cs_json_put_kstr(out, "GitCommit", cfg->git_commit ? cfg->git_commit : "");
	cs_str_puts(out, "}}]");
	cs_json_put_kstr(out, "Version", cfg->version);
	for (size_t i = 0; i < CS_ARRAY_SIZE(keys); i++)
		cs_json_put_kstr(out, keys[i], vals[i]);
	cs_json_put_kstr(out, "BuildTime", cfg->build_time ? cfg->build_time : "");
	if (cfg->experimental) /* omitted when false, as dockerd does */
		cs_json_put_kbool(out, "Experimental", true);
	cs_str_puts(out, "}");
	return out->failed ? cs_fail(err, CS_ERR_INTERNAL, ENOMEM, "version") : 0;
}
