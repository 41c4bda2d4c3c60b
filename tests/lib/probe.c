/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Static program for inside containers: one verb per thing that busybox cannot observe. Prints one word or line per finding.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static int show(const char *what, long r)
{
	printf("%s %s\n", what, r < 0 ? strerrorname_np(errno) : "ok");
	return r < 0;
}

/* Every open descriptor, without opening one for the search. */
static int verb_fds(void)
{
	for (int fd = 0; fd < 1024; fd++) {
		if (fcntl(fd, F_GETFD) >= 0)
			printf("%d\n", fd);
	}
	return 0;
}

static int verb_ptrace(const char *pid)
{
	return show("ptrace", ptrace(PTRACE_SEIZE, (pid_t)strtol(pid, NULL, 10), NULL, NULL));
}

/* System calls that no container has a use for: each with arguments that fail harmlessly if it is let through. */
static int verb_blocked(void)
{
	static const struct {
		const char *name;
		long nr;
		long arg[4];
	} calls[] = {
		{"mount", SYS_mount, {(long)"none", (long)"/tmp", (long)"tmpfs", 0}},
		{"umount2", SYS_umount2, {(long)"/proc", 0}},
		{"pivot_root", SYS_pivot_root, {(long)"/", (long)"/"}},
		{"unshare-user", SYS_unshare, {0x10000000}},
		{"unshare-mnt", SYS_unshare, {0x00020000}},
		{"setns", SYS_setns, {0, 0}},
		{"bpf", SYS_bpf, {0, 0, 0}},
		{"perf_event_open", SYS_perf_event_open, {0, 0, -1, -1}},
		{"init_module", SYS_init_module, {0, 0, 0}},
		{"finit_module", SYS_finit_module, {-1, 0, 0}},
		{"delete_module", SYS_delete_module, {(long)"x", 0}},
		{"kexec_load", SYS_kexec_load, {0, 0, 0, 0}},
		{"reboot", SYS_reboot, {0, 0, 0, 0}},
		{"swapon", SYS_swapon, {(long)"/x", 0}},
		{"settimeofday", SYS_settimeofday, {0, 0}},
		{"acct", SYS_acct, {0}},
		{"iopl", SYS_iopl, {0}},
		{"userfaultfd", SYS_userfaultfd, {0}},
		{"add_key", SYS_add_key, {(long)"user", (long)"x", (long)"y", 1}},
		{"request_key", SYS_request_key, {(long)"user", (long)"x", 0, 0}},
		{"keyctl", SYS_keyctl, {0, -3, 0, 0}},
		{"open_by_handle_at", SYS_open_by_handle_at, {-1, 0, 0}},
		{"fsopen", SYS_fsopen, {(long)"tmpfs", 0}},
		{"open_tree", SYS_open_tree, {-100, (long)"/", 1}},
		{"move_mount", SYS_move_mount, {-1, (long)"", -1, (long)""}},
		{"mount_setattr", SYS_mount_setattr, {-1, (long)"", 0, 0}},
		{"syslog", SYS_syslog, {2, 0, 0}},
		{"lookup_dcookie", SYS_lookup_dcookie, {0, 0, 0}},
		{"quotactl", SYS_quotactl, {0, 0, 0, 0}},
	};

	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++) {
		long r = syscall(calls[i].nr, calls[i].arg[0], calls[i].arg[1], calls[i].arg[2], calls[i].arg[3]);
		if (r >= 0 || (errno != EPERM && errno != ENOSYS))
			(void)show(calls[i].name, r);
	}
	return 0;
}

/* Writes to a file that is being executed. */
static int verb_write(const char *path)
{
	int fd = open(path, O_WRONLY | O_TRUNC);

	return show("write", fd < 0 ? fd : write(fd, "x", 1));
}

#ifdef __x86_64__
/* A call from the i386 table, as 32-bit programs make it. What its arguments point to lies below 4 GiB. */
static void call32(const char *what, unsigned nr, unsigned a, unsigned b, unsigned c)
{
	long r;

	__asm__ volatile("int $0x80" : "=a"(r) : "a"(nr), "b"(a), "c"(b), "d"(c) : "memory", "r8", "r9", "r10", "r11");
	if ((int)r < 0)
		errno = -(int)r;
	(void)show(what, (int)r < 0 ? -1 : (int)r);
}

static int verb_sockets32(void)
{
	unsigned *args = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	const unsigned at = (unsigned)(unsigned long)args, sv = at + 64;

	if (args == MAP_FAILED)
		return 1;
	call32("socket-alg", 359, AF_ALG, SOCK_SEQPACKET, 0);
	call32("socket-vsock", 359, 40, SOCK_STREAM, 0);
	call32("socket-inet", 359, AF_INET, SOCK_STREAM, 0);
	memcpy(args, (unsigned[]){AF_ALG, SOCK_SEQPACKET, 0}, 12);
	call32("socketcall-socket-alg", 102, 1, at, 0);
	memcpy(args, (unsigned[]){40, SOCK_STREAM, 0}, 12);
	call32("socketcall-socket-vsock", 102, 1, at, 0);
	memcpy(args, (unsigned[]){AF_INET, SOCK_STREAM, 0}, 12);
	call32("socketcall-socket-inet", 102, 1, at, 0);
	memcpy(args, (unsigned[]){AF_UNIX, SOCK_STREAM, 0, sv}, 16);
	call32("socketcall-socketpair", 102, 8, at, 0);
	memcpy(args, (unsigned[]){*(unsigned *)((char *)args + 64), at + 128, 0, 0}, 16);
	call32("socketcall-send", 102, 9, at, 0);
	return 0;
}
#endif

int main(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "";

	if (!strcmp(verb, "fds"))
		return verb_fds();
	if (!strcmp(verb, "afalg"))
		return show("afalg", socket(AF_ALG, SOCK_SEQPACKET, 0));
#ifdef __x86_64__
	if (!strcmp(verb, "sockets32"))
		return verb_sockets32();
	if (!strcmp(verb, "newest32")) {
		call32("500", 500, 0, 0, 0);
		call32("bpf", 357, 0, 0, 0);
		return 0;
	}
#endif
	if (!strcmp(verb, "newest")) {
		(void)show("500", syscall(500, -1, 0, 0, 0, 0, 0));
		(void)show("60000", syscall(60000, -1, 0, 0, 0, 0, 0));
		(void)show("bpf", syscall(SYS_bpf, 0, 0, 0));
		return show("mount", syscall(SYS_mount, 0, 0, 0, 0, 0));
	}
	if (!strcmp(verb, "vsock"))
		return show("vsock", socket(40, SOCK_STREAM, 0));
	if (!strcmp(verb, "keyctl"))
		return show("keyctl", syscall(SYS_keyctl, 0, -3, 0, 0, 0));
	if (!strcmp(verb, "handle"))
		return show("handle", syscall(SYS_open_by_handle_at, -1, NULL, 0));
	if (!strcmp(verb, "blocked"))
		return verb_blocked();
	if (!strcmp(verb, "write") && argc > 2)
		return verb_write(argv[2]);
	if (!strcmp(verb, "ptrace") && argc > 2)
		return verb_ptrace(argv[2]);
	fprintf(stderr, "probe: no such verb\n");
	return 2;
}
