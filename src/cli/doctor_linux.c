/* SPDX-License-Identifier: Apache-2.0
 *
 * What `caisson doctor` looks at on Linux. Everything is asked of the kernel itself (files of proc and sysfs, system calls that fail if they are not
 * there), nothing of distributions' configuration files, which say what was wanted. */
#include <fcntl.h>
#include <grp.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <pwd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/utsname.h>

#include "base/error.h"
#include "base/io.h"
#include "base/num.h"
#include "base/str.h"
#include "base/strv.h"
#include "cli/doctor.h"

static char *read_text(const char *path)
{
	cs_autostr struct cs_str s = CS_STR_INIT(1 << 20);

	if (cs_read_file_at(AT_FDCWD, path, &s) < 0 || !s.buf)
		return NULL;
	while (s.len && s.buf[s.len - 1] == '\n')
		s.buf[--s.len] = 0;
	return cs_str_steal(&s);
}

/* Whether a word stands in a text of words. */
static bool has_word(const char *text, const char *word)
{
	size_t n = strlen(word);

	for (const char *p = text; p && (p = strstr(p, word)); p += n)
		if ((p == text || strchr(" \t\n", p[-1])) && (!p[n] || strchr(" \t\n", p[n])))
			return true;
	return false;
}

static void kernel(struct doctor *d)
{
	struct utsname u;
	unsigned major = 0, minor = 0;

	(void)uname(&u);
	const char *dot = strchr(u.release, '.');
	uint64_t v;
	if (dot && cs_parse_u64n(u.release, (size_t)(dot - u.release), 0, 1000, &v)) {
		major = (unsigned)v;
		if (cs_parse_u64n(dot + 1, strspn(dot + 1, "0123456789"), 0, 1000, &v))
			minor = (unsigned)v;
	}
	bool old = major < 5 || (major == 5 && minor < 10);
	doctor_say(d, old ? HEALTH_BAD : HEALTH_GOOD, "kernel", old ? "use Linux 5.10 or newer" : NULL, "%s on %s", u.release, u.machine);
}

/* A call that must exist fails with anything but ENOSYS for arguments that make no sense. */
static void system_calls(struct doctor *d)
{
	static const struct {
		const char *name, *since;
		long number;
		bool needed;
	} calls[] = {{"clone3", "5.3", SYS_clone3, true}, {"openat2", "5.6", SYS_openat2, true}, {"pidfd_open", "5.3", SYS_pidfd_open, true},
		     {"close_range", "5.9", SYS_close_range, false}, {"mount_setattr", "5.12", SYS_mount_setattr, false}, {"move_mount", "5.2", SYS_move_mount, true}};
	cs_autostr struct cs_str missing = CS_STR_INIT(4096);
	bool bad = false;

	for (size_t i = 0; i < CS_ARRAY_SIZE(calls); i++) {
		errno = 0;
		if (syscall(calls[i].number, -1L, 0L, ~0UL, ~0UL, 0L) < 0 && errno == ENOSYS) {
			cs_str_putf(&missing, "%s%s (Linux %s)", missing.len ? ", " : "", calls[i].name, calls[i].since);
			bad |= calls[i].needed;
		}
	}
	if (missing.len)
		doctor_say(d, bad ? HEALTH_BAD : HEALTH_NOTE, "system calls", bad ? "use a newer kernel, or a seccomp profile for this shell that lets them through" : NULL, "missing: %s",
			   missing.buf);
	else
		doctor_say(d, HEALTH_GOOD, "system calls", NULL, "all that are used are there");
}

static void namespaces(struct doctor *d)
{
	static const char *const names[] = {"mnt", "pid", "net", "ipc", "uts", "cgroup", "user", "time"};
	cs_autostr struct cs_str missing = CS_STR_INIT(4096);
	bool bad = false;

	for (size_t i = 0; i < CS_ARRAY_SIZE(names); i++) {
		cs_autofree char *path = cs_xasprintf("/proc/self/ns/%s", names[i]);
		if (access(path, F_OK) == 0)
			continue;
		cs_str_putf(&missing, "%s%s", missing.len ? ", " : "", names[i]);
		bad |= i < 6;
	}
	if (missing.len)
		doctor_say(d, bad ? HEALTH_BAD : HEALTH_NOTE, "namespaces", bad ? "use a kernel with CONFIG_NAMESPACES and all its parts" : NULL, "missing: %s", missing.buf);
	else
		doctor_say(d, HEALTH_GOOD, "namespaces", NULL, "mnt pid net ipc uts cgroup user time");
}

static void missing_controllers(const char *have, char *buf, size_t size)
{
	static const char *const wanted[] = {"cpu", "cpuset", "memory", "pids", "io", "blkio"};
	bool v2 = has_word(have, "io");
	size_t n = 0;

	*buf = 0;
	for (size_t i = 0; i < CS_ARRAY_SIZE(wanted); i++) {
		bool io = cs_streq(wanted[i], "io"), blkio = cs_streq(wanted[i], "blkio");
		if ((io && !v2) || (blkio && v2) || has_word(have, wanted[i]))
			continue;
		n += (size_t)snprintf(buf + n, size - n, "%s%s", n ? " " : "", wanted[i]);
	}
}

static void cgroups(struct doctor *d)
{
	cs_autofree char *v2 = read_text("/sys/fs/cgroup/cgroup.controllers"), *mounts = read_text("/proc/self/mountinfo");
	char missing[128];

	if (v2) {
		missing_controllers(v2, missing, sizeof(missing));
		if (*missing)
			doctor_say(d, HEALTH_NOTE, "cgroups", "enable them: kernel parameter cgroup_enable=…, or Delegate=yes of the unit", "v2, without the controllers %s: their limits do not work", missing);
		else
			doctor_say(d, HEALTH_GOOD, "cgroups", NULL, "v2: %s", v2);
		return;
	}
	/* v1: each hierarchy's super options name its controllers */
	cs_autostr struct cs_str have = CS_STR_INIT(65536);
	for (const char *p = mounts; p && *p; p += strcspn(p, "\n"), p += *p == '\n') {
		cs_autofree char *line = cs_xstrndup(p, strcspn(p, "\n"));
		const char *sep = strstr(line, " - cgroup "), *opts = sep ? strrchr(line, ' ') : NULL;
		for (char *o = opts ? (char *)(uintptr_t)opts : NULL; o && *o; o++)
			if (*o == ',')
				*o = ' ';
		if (opts)
			cs_str_puts(&have, opts);
	}
	missing_controllers(have.buf, missing, sizeof(missing));
	if (!have.len)
		doctor_say(d, HEALTH_BAD, "cgroups", "mount them: mount -t cgroup2 none /sys/fs/cgroup", "no hierarchy is mounted");
	else
		doctor_say(d, HEALTH_NOTE, "cgroups", "boot with systemd.unified_cgroup_hierarchy=1 for v2", "v1%s%s: works, but distributions are giving it up", *missing ? ", without " : "", missing);
}

static void storage(struct doctor *d)
{
	cs_autofree char *fs = read_text("/proc/filesystems");

	if (has_word(fs, "overlay"))
		doctor_say(d, HEALTH_GOOD, "overlayfs", NULL, "available");
	else
		doctor_say(d, HEALTH_BAD, "overlayfs", "modprobe overlay; or a kernel with CONFIG_OVERLAY_FS", "the kernel does not offer it: images cannot be mounted");
}

static void confinement(struct doctor *d)
{
	cs_autofree char *actions = read_text("/proc/sys/kernel/seccomp/actions_avail"), *lsm = read_text("/sys/kernel/security/lsm");

	if (!actions)
		doctor_say(d, HEALTH_BAD, "seccomp", "use a kernel with CONFIG_SECCOMP_FILTER", "the kernel has no filters: containers would not be confined");
	else
		doctor_say(d, HEALTH_GOOD, "seccomp", NULL, "filters work");
	doctor_say(d, HEALTH_GOOD, "security modules", NULL, "%s", lsm ? lsm : "none that say so");
}

/* Asks nf_tables for its generation, which every user may. */
static bool nftables(void)
{
	cs_autofd int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
	struct {
		struct nlmsghdr h;
		struct nfgenmsg g;
	} ask = {.h = {.nlmsg_len = sizeof(ask), .nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN, .nlmsg_flags = NLM_F_REQUEST}, .g = {.version = NFNETLINK_V0}};
	struct timeval wait = {.tv_sec = 1};
	union {
		struct nlmsghdr h;
		char bytes[4096];
	} answer;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) < 0 || send(fd, &ask, sizeof(ask), 0) < 0)
		return false;
	ssize_t n = recv(fd, &answer, sizeof(answer), 0);
	if (n < (ssize_t)sizeof(struct nlmsghdr))
		return false;
	if (answer.h.nlmsg_type != NLMSG_ERROR)
		return true;
	const struct nlmsgerr *e = (const struct nlmsgerr *)(const void *)(answer.bytes + NLMSG_HDRLEN);
	return e->error == 0 || e->error == -EPERM; /* it is there, and not for us */
}

static void network(struct doctor *d)
{
	cs_autofree char *forward = read_text("/proc/sys/net/ipv4/ip_forward");

	if (nftables())
		doctor_say(d, HEALTH_GOOD, "firewall", NULL, "nf_tables");
	else
		doctor_say(d, HEALTH_BAD, "firewall", "modprobe nf_tables; or a kernel with CONFIG_NF_TABLES", "the kernel has no nf_tables: ports cannot be published");
	if (cs_streq(forward, "1"))
		doctor_say(d, HEALTH_GOOD, "forwarding", NULL, "IPv4 packets are forwarded");
	else
		doctor_say(d, HEALTH_NOTE, "forwarding", "sysctl net.ipv4.ip_forward=1, if the engine may not do it itself", "net.ipv4.ip_forward is %s", forward ? forward : "unknown");
}

static void machines(struct doctor *d)
{
	cs_autofd int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		doctor_say(d, HEALTH_GOOD, "KVM", NULL, "/dev/kvm can be used");
	else if (errno == ENOENT || errno == ENODEV || errno == ENXIO)
		doctor_say(d, HEALTH_NOTE, "KVM", "turn virtualization on in the firmware (or nested, in a VM), then modprobe kvm_intel or kvm_amd",
			   "not there: --isolation hyperv would have to emulate, slowly");
	else
		doctor_say(d, HEALTH_NOTE, "KVM", "usermod -aG kvm USER; the engine, as root, needs no more", "/dev/kvm: %s", cs_errno_text(errno));
}

static void limits(struct doctor *d)
{
	static const struct {
		const char *path, *name;
		uint64_t least;
	} rows[] = {{"/proc/sys/fs/inotify/max_user_instances", "fs.inotify.max_user_instances", 128},
		    {"/proc/sys/fs/inotify/max_user_watches", "fs.inotify.max_user_watches", 8192},
		    {"/proc/sys/kernel/keys/maxkeys", "kernel.keys.maxkeys", 200},
		    {"/proc/sys/kernel/pid_max", "kernel.pid_max", 32768}};
	size_t low = 0;

	for (size_t i = 0; i < CS_ARRAY_SIZE(rows); i++) {
		cs_autofree char *text = read_text(rows[i].path), *advice = cs_xasprintf("sysctl %s=%llu", rows[i].name, (unsigned long long)rows[i].least * 4);
		uint64_t v;
		if (text && cs_parse_u64(text, 0, UINT64_MAX, &v) && v < rows[i].least) {
			doctor_say(d, HEALTH_NOTE, "limits", advice, "%s is only %llu", rows[i].name, (unsigned long long)v);
			low++;
		}
	}
	if (!low)
		doctor_say(d, HEALTH_GOOD, "limits", NULL, "inotify, keys and process numbers are enough");
}

void doctor_host(struct doctor *d)
{
	kernel(d);
	system_calls(d);
	namespaces(d);
	cgroups(d);
	storage(d);
	confinement(d);
	network(d);
	machines(d);
	limits(d);
}

bool doctor_socket(struct doctor *d, const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0) {
		doctor_say(d, HEALTH_BAD, "engine", errno == ENOENT ? "start it: systemctl start caissond (or name another one with -H or a context)" : NULL, "%s: %s", path,
			   cs_errno_text(errno));
		return false;
	}
	if (access(path, R_OK | W_OK) == 0)
		return true;
	struct group *g = getgrgid(st.st_gid);
	struct passwd *p = getpwuid(getuid());
	cs_autofree char *advice = g && (st.st_mode & 0060) == 0060 ? cs_xasprintf("usermod -aG %s %s, then log in again", g->gr_name, p ? p->pw_name : "USER") : NULL;
	doctor_say(d, HEALTH_BAD, "engine", advice, "%s: %s (it belongs to user %u, group %s)", path, cs_errno_text(EACCES), (unsigned)st.st_uid, g ? g->gr_name : "without a name");
	return false;
}

void doctor_disk(struct doctor *d, const char *path)
{
	struct statvfs v;

	if (statvfs(path, &v) < 0 || !v.f_blocks) /* not for us to look at */
		return;
	double percent = 100.0 * (double)v.f_bavail / (double)v.f_blocks, gb = (double)v.f_bavail * (double)v.f_frsize / 1e9;
	bool low = percent < 5 || gb < 1;
	doctor_say(d, low ? HEALTH_NOTE : HEALTH_GOOD, "space", low ? "caisson system df shows what takes it; caisson system prune gives some back" : NULL, "%.1f GB (%.0f %%) free in %s", gb, percent, path);
}
