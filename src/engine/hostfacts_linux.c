/* SPDX-License-Identifier: Apache-2.0
 *
 * Host facts from /proc and /sys, probed once (pthread_once), then constant. */
#include "engine/hostfacts.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#include "base/io.h"
#include "base/num.h"
#include "base/oom.h"
#include "base/str.h"
#include "base/strv.h"

static struct cs_host_facts facts;
static const struct cs_host_facts *_Atomic override;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static bool exists(const char *path) { return access(path, F_OK) == 0; }

/* First line of a small kernel file, NULL if unreadable. Caller frees. */
static char *first_line(const char *path)
{
	struct cs_str s cs_autostr = CS_STR_INIT(65536);
	cs_autofd int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || cs_read_fd(fd, &s) < 0 || !s.buf)
		return NULL;
	char *nl = strchr(s.buf, '\n');
	return nl ? cs_xstrndup(s.buf, (size_t)(nl - s.buf)) : cs_xstrdup(s.buf);
}

static char *all_of(const char *path)
{
	struct cs_str s cs_autostr = CS_STR_INIT(1 << 20);
	cs_autofd int fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd >= 0 && cs_read_fd(fd, &s) == 0 ? cs_str_steal(&s) : NULL;
}

/* Where a v1 controller is mounted: /sys/fs/cgroup/<name>, also when it is joined with others. */
static bool v1_has(const char *controller, const char *file)
{
	cs_autofree char *p = cs_xasprintf("/sys/fs/cgroup/%s/%s", controller, file);

	return exists(p);
}

static void probe_v1(struct cs_host_facts *f)
{
	f->cgroup_version = 1;
	f->memory_limit = v1_has("memory", "memory.limit_in_bytes");
	f->swap_limit = v1_has("memory", "memory.memsw.limit_in_bytes");
	f->memory_reservation = v1_has("memory", "memory.soft_limit_in_bytes");
	f->oom_kill_disable = v1_has("memory", "memory.oom_control");
	f->memory_swappiness = v1_has("memory", "memory.swappiness");
	f->cpu_shares = v1_has("cpu", "cpu.shares");
	f->cpu_cfs = v1_has("cpu", "cpu.cfs_quota_us");
	f->cpu_realtime = v1_has("cpu", "cpu.rt_runtime_us");
	f->cpuset = v1_has("cpuset", "cpuset.cpus");
	f->pids = v1_has("pids", "cgroup.procs");
	/* the root group has no weights, only what shows that BFQ is there; blkio.weight went with CFQ in Linux 5.0 */
	f->blkio_weight = f->blkio_weight_device = v1_has("blkio", "blkio.bfq.weight") || v1_has("blkio", "blkio.bfq.io_service_bytes");
	f->blkio_throttle = v1_has("blkio", "blkio.throttle.read_bps_device");
}

static void probe_v2(struct cs_host_facts *f)
{
	/* an engine in a container of its own: see probe_v2 of the compute service */
	cs_autofree char *inside = exists("/sys/fs/cgroup/cgroup.type") ? first_line("/sys/fs/cgroup/cgroup.procs") : NULL;
	cs_autofree char *list = first_line(inside && *inside ? "/sys/fs/cgroup/cgroup.subtree_control" : "/sys/fs/cgroup/cgroup.controllers");
	cs_autostrv char **v = cs_strv_split(list ? list : "", ' ');

	f->cgroup_version = 2;
	f->memory_limit = f->memory_reservation = cs_strv_has(v, "memory");
	f->swap_limit = f->memory_limit && exists("/proc/swaps");
	f->oom_kill_disable = f->memory_swappiness = false; /* not in v2 */
	f->cpu_shares = f->cpu_cfs = cs_strv_has(v, "cpu");
	f->cpuset = cs_strv_has(v, "cpuset");
	f->pids = cs_strv_has(v, "pids");
	f->blkio_weight = f->blkio_weight_device = f->blkio_throttle = cs_strv_has(v, "io");
}

static void probe_memory(struct cs_host_facts *f)
{
	cs_autofree char *text = first_line("/proc/meminfo");
	const char *p = text ? cs_prefix(text, "MemTotal:") : NULL;
	uint64_t kb = 0;

	while (p && *p == ' ')
		p++;
	if (p && cs_parse_u64n(p, strcspn(p, " "), 0, UINT64_MAX >> 11, &kb))
		f->mem_total = (int64_t)(kb * 1024);
}

static void probe_capabilities(struct cs_host_facts *f)
{
	cs_autofree char *text = all_of("/proc/self/status");
	const char *p = text ? strstr(text, "\nCapBnd:") : NULL;

	f->capabilities = p ? strtoull(p + 8, NULL, 16) : 0;
}

static void probe_limits(struct cs_host_facts *f)
{
	struct rlimit rl;

	for (size_t i = 0; i < CS_ARRAY_SIZE(f->rlimit_max); i++)
		f->rlimit_max[i] = getrlimit((__rlimit_resource_t)i, &rl) == 0 ? rl.rlim_max : UINT64_MAX;
	f->oom_score_least = cs_oom_score_least();
}

static void probe(void)
{
	struct cs_host_facts *f = &facts;
	struct utsname u;
	uint64_t n;

	if (exists("/sys/fs/cgroup/cgroup.controllers"))
		probe_v2(f);
	else
		probe_v1(f);
	f->cgroupns = exists("/proc/self/ns/cgroup");
	f->userns = exists("/proc/self/ns/user");
	f->seccomp = exists("/proc/sys/kernel/seccomp/actions_avail");
	f->selinux = exists("/sys/fs/selinux/enforce");
	cs_autofree char *aa = first_line("/sys/module/apparmor/parameters/enabled");
	f->apparmor = aa && *aa == 'Y';
	cs_autofree char *fwd = first_line("/proc/sys/net/ipv4/ip_forward");
	f->ipv4_forwarding = fwd && *fwd == '1';
	f->ncpu = sysconf(_SC_NPROCESSORS_ONLN);
	f->cpus = first_line("/sys/devices/system/cpu/online");
	f->mems = first_line("/sys/devices/system/node/online");
	if (!f->cpus)
		f->cpus = cs_xasprintf("0-%lld", (long long)f->ncpu - 1);
	if (!f->mems)
		f->mems = cs_xstrdup("0");
	probe_memory(f);
	probe_capabilities(f);
	probe_limits(f);
	if (uname(&u) == 0) {
		const char *dot = strchr(u.release, '.');
		if (dot && cs_parse_u64n(u.release, (size_t)(dot - u.release), 0, 1000, &n))
			f->kernel_major = (int)n;
		if (dot && cs_parse_u64n(dot + 1, strspn(dot + 1, "0123456789"), 0, 100000, &n))
			f->kernel_minor = (int)n;
	}
#if defined(__x86_64__)
	f->arch = "amd64";
#elif defined(__aarch64__)
	f->arch = "arm64";
#else
	f->arch = "unknown";
#endif
}

char *cs_host_network_life(void)
{
	cs_autofree char *boot = first_line("/proc/sys/kernel/random/boot_id");
	cs_autofd int fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	struct stat st = {0};

	if (fd < 0 || fstat(fd, &st) < 0)
		st.st_ino = 0;
	return cs_xasprintf("%s/%llu", boot ? boot : "", (unsigned long long)st.st_ino);
}

const struct cs_host_facts *cs_host_facts(void)
{
	const struct cs_host_facts *o = atomic_load(&override);

	if (o)
		return o;
	(void)pthread_once(&once, probe);
	return &facts;
}

uint64_t cs_host_ulimit_max(const char *name)
{
	static const struct {
		const char *name;
		unsigned number;
	} limits[] = {{"core", RLIMIT_CORE},     {"cpu", RLIMIT_CPU},       {"data", RLIMIT_DATA},	    {"fsize", RLIMIT_FSIZE},
		      {"locks", RLIMIT_LOCKS},	 {"memlock", RLIMIT_MEMLOCK}, {"msgqueue", RLIMIT_MSGQUEUE}, {"nice", RLIMIT_NICE},
		      {"nofile", RLIMIT_NOFILE}, {"nproc", RLIMIT_NPROC},   {"rss", RLIMIT_RSS},	    {"rtprio", RLIMIT_RTPRIO},
		      {"rttime", RLIMIT_RTTIME}, {"sigpending", RLIMIT_SIGPENDING}, {"stack", RLIMIT_STACK}};
	const struct cs_host_facts *f = cs_host_facts();

	for (size_t i = 0; !(f->capabilities & (1ull << CAP_SYS_RESOURCE)) && i < CS_ARRAY_SIZE(limits); i++)
		if (strcmp(limits[i].name, name) == 0)
			return f->rlimit_max[limits[i].number];
	return UINT64_MAX;
}

int cs_host_oom_score_min(void) { return cs_host_facts()->oom_score_least; }

void cs_host_facts_override(const struct cs_host_facts *f) { atomic_store(&override, f); }
