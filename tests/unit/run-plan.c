/* SPDX-License-Identifier: Apache-2.0
 *
 * Starts a container from a plan made by hand, without engine, compute library or worker. Needs root. Not a test by itself:
 *   run-plan [options] BASE -- PROGRAM ARG...
 * BASE holds a root file system in `lower`; upper, work and merged are made beside it. Exit status as `run` gives it. */
#include <getopt.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "base/io.h"
#include "base/path.h"
#include "base/strv.h"
#include "base/sys.h"
#include "base/time.h"
#include "compute/process/setup.h"

#define DEFAULT_CAPS 0xa80425fbull

static struct {
	bool tty, init, nnp, seccomp, bpf, dump, readonly, keep_upper, cgroup_mount, all_caps;
	const char *user, *cwd, *cgroups, *netns, *pidns, *prop;
	char **exec_args, **masks, **env, **sysctls, **layers, **volumes;
	int count, delay; /* seconds between start and exec */
	uint64_t clone;
} opt = {.user = "", .cwd = "/", .count = 1, .clone = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | 0x02000000};

static void warn(void *ctx, const char *text) { (void)fprintf(stderr, "warning: %s\n", text); }

static _Noreturn void die(struct cs_err *err)
{
	cs_autofree char *text = cs_err_text(err);
	(void)fprintf(stderr, "%s: %s\n", cs_code_name(cs_err_code(err)), text);
	exit(cs_code_exit(cs_err_code(err)));
}

static void add_mounts(struct cs_str *p)
{
	const uint64_t nsn = CS_MOUNT_ATTR_NOSUID | CS_MOUNT_ATTR_NODEV | CS_MOUNT_ATTR_NOEXEC;
	static const struct {
		const char *name;
		unsigned maj, min;
	} dev[] = {{"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"tty", 5, 0}, {"random", 1, 8}, {"urandom", 1, 9}};
	static const char *const links[][2] = {{"/proc/self/fd", "/dev/fd"},	      {"/proc/self/fd/0", "/dev/stdin"}, {"/proc/self/fd/1", "/dev/stdout"},
					       {"/proc/self/fd/2", "/dev/stderr"}, {"pts/ptmx", "/dev/ptmx"}};
	static const char *const masks[] = {"/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware", "/proc/scsi"};
	static const char *const ro[] = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"};

	cs_plan_add(p, CS_PLAN_MOUNT, "proc", "proc", "/proc", nsn, "", (uint64_t)0);
	cs_plan_add(p, CS_PLAN_MOUNT, "tmpfs", "tmpfs", "/dev", (uint64_t)(CS_MOUNT_ATTR_NOSUID | CS_MOUNT_ATTR_STRICTATIME), "mode=755,size=65536k",
		    (uint64_t)0);
	cs_plan_add(p, CS_PLAN_MOUNT, "devpts", "devpts", "/dev/pts", (uint64_t)(CS_MOUNT_ATTR_NOSUID | CS_MOUNT_ATTR_NOEXEC),
		    "newinstance,ptmxmode=0666,mode=0620,gid=5", (uint64_t)0);
	cs_plan_add(p, CS_PLAN_MOUNT, "sysfs", "sysfs", "/sys", nsn | CS_MOUNT_ATTR_RDONLY, "", (uint64_t)0);
	cs_plan_add(p, CS_PLAN_MOUNT, "mqueue", "mqueue", "/dev/mqueue", nsn, "", (uint64_t)0);
	cs_plan_add(p, CS_PLAN_MOUNT, "tmpfs", "shm", "/dev/shm", nsn, "mode=1777,size=65536k", (uint64_t)0);
	if (opt.cgroup_mount)
		cs_plan_add(p, CS_PLAN_CGROUP_MOUNT, "/sys/fs/cgroup", (uint64_t)1);
	for (char **o = opt.volumes; o && *o; o++) {
		char **v = cs_strv_split(*o, ':');
		bool readonly = v[2] && strstr(v[2], "ro"), shared = v[2] && strstr(v[2], "shared");
		cs_plan_add(p, CS_PLAN_BIND, v[0], v[1], (uint64_t)1, (uint64_t)(readonly ? CS_MOUNT_ATTR_RDONLY : 0), (uint64_t)0,
			    (uint64_t)((shared ? MS_SHARED : MS_PRIVATE) | MS_REC));
		cs_strv_free(v);
	}
	for (size_t i = 0; i < CS_ARRAY_SIZE(dev); i++) {
		cs_autofree char *path = cs_xasprintf("/dev/%s", dev[i].name);
		cs_plan_add(p, CS_PLAN_DEVICE, path, (uint64_t)S_IFCHR, (uint64_t)dev[i].maj, (uint64_t)dev[i].min, (uint64_t)0666, (uint64_t)0,
			    (uint64_t)0);
	}
	for (size_t i = 0; i < CS_ARRAY_SIZE(links); i++)
		cs_plan_add(p, CS_PLAN_SYMLINK, links[i][0], links[i][1]);
	cs_plan_add(p, CS_PLAN_CONSOLE);
	for (size_t i = 0; i < CS_ARRAY_SIZE(masks); i++)
		cs_plan_add(p, CS_PLAN_MASK, masks[i]);
	for (char **m = opt.masks; m && *m; m++)
		cs_plan_add(p, CS_PLAN_MASK, *m);
	for (size_t i = 0; i < CS_ARRAY_SIZE(ro); i++)
		cs_plan_add(p, CS_PLAN_READONLY, ro[i]);
}

static void add_process(struct cs_str *p, char *const *args)
{
	/* allow all, but mkdir of this architecture answers EPERM: shows that a filter is there */
	struct sock_filter f[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mkdirat, 1, 0),
#ifdef SYS_mkdir
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mkdir, 0, 1),
#else
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
#endif
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	char *env[] = {(char *)(uintptr_t) "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", NULL};
	uint64_t caps = opt.all_caps ? ~0ull : DEFAULT_CAPS;

	cs_plan_add(p, CS_PLAN_RLIMIT, (uint64_t)7, (uint64_t)1024, (uint64_t)1048576);
	cs_plan_add(p, CS_PLAN_OOM_SCORE, "100");
	cs_plan_add(p, CS_PLAN_USER, opt.user, (uint64_t)0, (uint64_t)0, NULL, NULL);
	cs_plan_add(p, CS_PLAN_CAPS, caps, caps, caps, (uint64_t)0, (uint64_t)0);
	if (opt.nnp)
		cs_plan_add(p, CS_PLAN_NO_NEW_PRIVS);
	if (opt.seccomp)
		cs_plan_add(p, CS_PLAN_SECCOMP, f, sizeof(f), (uint64_t)0);
	cs_plan_add(p, CS_PLAN_UMASK, (uint64_t)022);
	cs_plan_add(p, CS_PLAN_CWD, opt.cwd, (uint64_t)1);
	cs_plan_add(p, CS_PLAN_ENV, opt.env ? opt.env : env);
	cs_plan_add(p, CS_PLAN_ARGS, args);
}

static void build(struct cs_str *p, const char *base, char *const *args)
{
	char *lowers[] = {(char *)(uintptr_t) "lower", NULL};
	char **layers = opt.layers ? opt.layers : lowers; /* -l: top first */

	cs_plan_add(p, CS_PLAN_ID, "run-plan");
	cs_plan_add(p, CS_PLAN_STDIO, (uint64_t)opt.tty, (uint64_t)1, (uint64_t)0, (uint64_t)24, (uint64_t)80);
	for (const char *s = opt.cgroups ? opt.cgroups : ""; *s;) {
		size_t n = strcspn(s, "+");
		cs_autofree char *ctl = cs_xstrndup(s, n);
		bool v2 = strcmp(ctl, "unified") == 0, pure = strcmp(ctl, "v2") == 0;
		cs_autofree char *dir = cs_xasprintf("/sys/fs/cgroup%s%s/caisson-rp/%d", pure ? "" : "/", pure ? "" : ctl, (int)getpid());
		cs_plan_add(p, CS_PLAN_CGROUP, v2 || pure ? "" : ctl, dir, (uint64_t)(v2 || pure ? 2 : 1));
		if (opt.bpf && (v2 || pure)) {
			/* all devices but those with minor 5 (zero) */
			struct bpf_insn insn[] = {
				{.code = BPF_LDX | BPF_W | BPF_MEM, .dst_reg = 2, .src_reg = 1, .off = offsetof(struct bpf_cgroup_dev_ctx, minor)},
				{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = 1},
				{.code = BPF_JMP | BPF_JNE | BPF_K, .dst_reg = 2, .off = 1, .imm = 5},
				{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = 0},
				{.code = BPF_JMP | BPF_EXIT},
			};
			cs_plan_add(p, CS_PLAN_CGROUP_DEVICE_BPF, dir, insn, sizeof(insn));
		}
		if (strcmp(ctl, "memory") == 0) {
			cs_autofree char *file = cs_xasprintf("%s/memory.limit_in_bytes", dir);
			cs_plan_add(p, CS_PLAN_CGROUP_SET, file, "33554432", (uint64_t)1);
		}
		s += n + (s[n] == '+');
	}
	cs_plan_add(p, CS_PLAN_CLONE, opt.clone);
	if (opt.netns)
		cs_plan_add(p, CS_PLAN_SETNS, (uint64_t)CLONE_NEWNET, opt.netns);
	if (opt.pidns)
		cs_plan_add(p, CS_PLAN_SETNS, (uint64_t)CLONE_NEWPID, opt.pidns);
	if (opt.init)
		cs_plan_add(p, CS_PLAN_INIT);
	cs_plan_add(p, CS_PLAN_ROOT_PROPAGATION, (uint64_t)((opt.prop && strcmp(opt.prop, "shared") == 0 ? MS_SHARED : MS_SLAVE) | MS_REC));
	cs_plan_add(p, CS_PLAN_OVERLAY, base, layers, "upper", "work", "merged", "volatile");
	add_mounts(p);
	cs_plan_add(p, CS_PLAN_PIVOT);
	if (opt.readonly)
		cs_plan_add(p, CS_PLAN_ROOT_READONLY);
	if (opt.clone & CLONE_NEWUTS)
		cs_plan_add(p, CS_PLAN_HOSTNAME, "box");
	if (opt.clone & CLONE_NEWNET) {
		cs_plan_add(p, CS_PLAN_LOOPBACK);
		cs_plan_add(p, CS_PLAN_SYSCTL, "net.ipv4.ip_unprivileged_port_start", "0");
	}
	for (char **s = opt.sysctls; s && *s; s++) {
		char **kv = cs_strv_split(*s, '=');
		cs_plan_add(p, CS_PLAN_SYSCTL, kv[0], kv[1]);
		cs_strv_free(kv);
	}
	add_process(p, args);
}

/* Copies the terminal's output until the other side has gone. */
static void drain(int pty)
{
	char buf[4096];

	for (;;) {
		ssize_t n = read(pty, buf, sizeof(buf));
		if (n <= 0)
			return;
		(void)cs_write_full(1, buf, (size_t)n);
	}
}

static int wait_code(pid_t pid)
{
	int st = 0;

	while (waitpid(pid, &st, 0) < 0 && errno == EINTR)
		;
	return WIFSIGNALED(st) ? 128 + WTERMSIG(st) : WEXITSTATUS(st);
}

static void prepare(const char *base)
{
	int fd = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		exit(2);
	if (!opt.keep_upper) {
		(void)cs_remove_tree_at(fd, "upper");
		(void)cs_remove_tree_at(fd, "work");
	}
	(void)cs_mkdir_p(fd, "upper", 0755);
	(void)cs_mkdir_p(fd, "work", 0700);
	(void)cs_mkdir_p(fd, "merged", 0755);
	cs_close(fd);
}

static int run_exec(const struct cs_plan *start, const struct cs_setup_child *ch, const int stdio[3])
{
	struct cs_str p = CS_STR_INIT(CS_PLAN_MAX_SIZE);
	struct cs_setup_child ex;
	struct cs_err *err = NULL;

	cs_plan_add(&p, CS_PLAN_ID, "exec");
	cs_plan_add(&p, CS_PLAN_STDIO, (uint64_t)opt.tty, (uint64_t)0, (uint64_t)0, (uint64_t)10, (uint64_t)20);
	add_process(&p, opt.exec_args);
	struct cs_plan plan = {.data = p.buf, .len = p.len};
	int64_t t0 = cs_monotonic_ns();
	if (cs_setup_exec(start, &plan, ch->pidfd, ch->pid, stdio, &ex, &err) < 0) {
		cs_autofree char *text = cs_err_text(err);
		(void)fprintf(stderr, "exec: %s: %s\n", cs_code_name(cs_err_code(err)), text);
		cs_str_done(&p);
		return cs_code_exit(cs_err_code(err));
	}
	int64_t t1 = cs_monotonic_ns();
	drain(ex.pty);
	int code = wait_code(ex.pid);
	(void)fprintf(stderr, "exec: set-up %lld us, exit %d\n", (long long)(t1 - t0) / 1000, code);
	cs_str_done(&p);
	return code;
}

static int run_once(const struct cs_plan *plan, const char *base, int self, bool timing)
{
	const int stdio[3] = {0, 1, 2};
	struct cs_setup_child ch;
	struct cs_err *err = NULL;
	int code;

	prepare(base);
	int64_t t0 = cs_monotonic_ns();
	if (cs_cgroup_create(plan, warn, NULL, &err) < 0) /* again by cs_setup_start, which finds them made: the OOM descriptor is wanted first */
		die(err);
	uint32_t events = 0;
	struct pollfd oom = {.fd = cs_cgroup_oom_fd(plan, &events), .events = POLLIN};
	int64_t t1 = cs_monotonic_ns();
	if (cs_setup_start(plan, stdio, self, &(struct cs_setup_caller){.warn = warn}, &ch, &err) < 0) {
		(void)cs_cgroup_kill_all(plan);
		(void)cs_cgroup_remove(plan);
		die(err);
	}
	int64_t t2 = cs_monotonic_ns();
	if (opt.exec_args) {
		(void)sleep((unsigned)opt.delay);
		code = run_exec(plan, &ch, stdio);
		if (code == 0)
			code = run_exec(plan, &ch, stdio);
		(void)sys_pidfd_send_signal(ch.pidfd, SIGKILL);
		(void)wait_code(ch.pid);
	} else {
		drain(ch.pty);
		code = wait_code(ch.pid);
	}
	int64_t t3 = cs_monotonic_ns();
	uint64_t kills = 0;
	int r = cs_cgroup_oom_kills(plan, &kills);
	if (poll(&oom, 1, 0) == 1 && timing)
		(void)fprintf(stderr, "oom descriptor is ready\n");
	cs_close(oom.fd);
	int left = cs_cgroup_kill_all(plan), rm = cs_cgroup_remove(plan);
	int64_t t4 = cs_monotonic_ns();
	if (timing)
		(void)fprintf(stderr, "cgroup %lld us, set-up %lld us, run %lld us, clean-up %lld us, left %d, rm %d, oom %d %llu, exit %d\n",
			      (long long)(t1 - t0) / 1000, (long long)(t2 - t1) / 1000, (long long)(t3 - t2) / 1000, (long long)(t4 - t3) / 1000, left, rm, r,
			      (unsigned long long)kills, code);
	cs_close(ch.pidfd);
	cs_close(ch.pty);
	return code;
}

int main(int argc, char **argv)
{
	struct cs_str p = CS_STR_INIT(CS_PLAN_MAX_SIZE);
	int c, code = 0;

	if (argc > 2 && strcmp(argv[0], "caisson-init") == 0)
		cs_init_main(argv);
	while ((c = getopt(argc, argv, "+tiNsdrkCpAbu:w:g:v:n:P:e:m:E:S:c:o:Hl:D")) != -1) {
		switch (c) {
		case 't': opt.tty = true; break;
		case 'i': opt.init = true; break;
		case 'N': opt.nnp = true; break;
		case 'b': opt.bpf = true; break;
		case 's': opt.seccomp = true; break;
		case 'd': opt.dump = true; break;
		case 'r': opt.readonly = true; break;
		case 'k': opt.keep_upper = true; break;
		case 'C': opt.cgroup_mount = true; break;
		case 'p': opt.clone &= ~(uint64_t)CLONE_NEWPID; break;
		case 'H': opt.clone &= ~(uint64_t)CLONE_NEWNET; break;
		case 'A': opt.all_caps = true; break;
		case 'u': opt.user = optarg; break;
		case 'w': opt.cwd = optarg; break;
		case 'g': opt.cgroups = optarg; break;
		case 'v': cs_strv_push(&opt.volumes, optarg); break;
		case 'n': opt.netns = optarg; opt.clone &= ~(uint64_t)CLONE_NEWNET; break;
		case 'P': opt.pidns = optarg; opt.clone &= ~(uint64_t)CLONE_NEWPID; break;
		case 'e': cs_strv_push(&opt.exec_args, optarg); break;
		case 'm': cs_strv_push(&opt.masks, optarg); break;
		case 'E': cs_strv_push(&opt.env, optarg); break;
		case 'S': cs_strv_push(&opt.sysctls, optarg); break;
		case 'D': opt.delay = 1; break;
		case 'l': cs_strv_push(&opt.layers, optarg); break;
		case 'o': opt.prop = optarg; break;
		case 'c': {
			uint64_t n = 1;
			for (n = 0; *optarg >= '0' && *optarg <= '9'; optarg++)
				n = n * 10 + (uint64_t)(*optarg - '0');
			opt.count = (int)n;
			break;
		}
		default: return 2;
		}
	}
	if (argc - optind < 2)
		return 2;
	const char *base = argv[optind++];
	if (strcmp(argv[optind], "--") == 0)
		optind++;
	build(&p, base, argv + optind);
	if (p.failed)
		return 2;
	struct cs_plan plan = {.data = p.buf, .len = p.len};
	if (opt.dump) {
		struct cs_str out = CS_STR_INIT(1u << 20);
		cs_plan_dump(&plan, &out);
		(void)cs_write_full(1, out.buf, out.len);
		cs_str_done(&out);
		return 0;
	}
	int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	for (int i = 0; i < opt.count; i++)
		code = run_once(&plan, base, self, opt.count > 1 || opt.cgroups);
	cs_str_done(&p);
	return code;
}
