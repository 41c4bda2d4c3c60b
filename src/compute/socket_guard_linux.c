/* SPDX-License-Identifier: Apache-2.0
 *
 * See socket_guard.h. bpf(2), seccomp(2); struct seccomp_filter is kernel/seccomp.c's. The BPF program below is offered under GPL-2.0 as well. */
#include "compute/socket_guard.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "base/bpf.h"
#include "base/io.h"
#include "base/str.h"
#include "base/sys.h"
#include "compute/btf.h"
#include "compute/seccomp_shrink.h"

#define NAME "caisson_socket1" /* another program is another number */
#define MAGIC 0x43534631u
#define MAGIC_CODE (BPF_ALU | BPF_AND | BPF_K)
#define LIST 4      /* instructions: magic, families 0-31, families 32-63, and an end, as each filter needs one */
#define DEPTH 64    /* filters of a process; the verifier walks them all, 0.1 ms each */
#define I386_SOCKET 359
#define I386_SOCKETCALL 102
#define SYS_SOCKET_ 1 /* linux/net.h */

#ifndef AF_ALG
#define AF_ALG 38
#endif
#ifndef AF_VSOCK
#define AF_VSOCK 40
#endif

/* ---- the list ---- */

static bool refused(uint32_t answer)
{
	switch (answer & SECCOMP_RET_ACTION_FULL) {
	case SECCOMP_RET_KILL_PROCESS:
	case SECCOMP_RET_KILL_THREAD:
	case SECCOMP_RET_TRAP:
	case SECCOMP_RET_ERRNO: return true;
	default: return false;
	}
}

/* By its family alone: whatever the type. */
static bool refuses_family(const struct sock_filter *f, size_t n, unsigned family)
{
	bool bad = false, all = true;

	for (unsigned type = SOCK_STREAM; type <= SOCK_SEQPACKET; type++) {
		struct seccomp_data d = {.nr = I386_SOCKET, .arch = AUDIT_ARCH_I386, .args = {family, type}};
		all = all && refused(cs_seccomp_emulate(f, n, &d, &bad)) && !bad;
	}
	return all;
}

bool cs_guard_mark(struct sock_filter **f, size_t *n)
{
	struct seccomp_data d = {.nr = I386_SOCKETCALL, .arch = AUDIT_ARCH_I386, .args = {SYS_SOCKET_}};
	uint64_t families = 0;
	bool bad;

	if (refused(cs_seccomp_emulate(*f, *n, &d, &bad)) || bad || *n + LIST > BPF_MAXINSNS)
		return false;
	for (unsigned i = 0; i < 64; i++)
		families |= (uint64_t)refuses_family(*f, *n, i) << i;
	if (!families)
		return false;
	*f = cs_xreallocarray(*f, *n + LIST, sizeof(**f));
	(*f)[(*n)++] = (struct sock_filter){.code = MAGIC_CODE, .k = MAGIC};
	(*f)[(*n)++] = (struct sock_filter){.code = MAGIC_CODE, .k = (uint32_t)families};
	(*f)[(*n)++] = (struct sock_filter){.code = MAGIC_CODE, .k = (uint32_t)(families >> 32)};
	(*f)[(*n)++] = (struct sock_filter){.code = BPF_RET | BPF_K, .k = SECCOMP_RET_KILL_PROCESS};
	return true;
}

/* ---- the program ---- */

enum { OUT, LOOP, NEXT, REFUSE };
enum { W_HOOK, W_SECCOMP, W_FILTER, W_PREV, W_PROG, W_ORIG, W_LEN, W_CODE, W_MAX };

/* dst = size bytes at src + off, by way of the stack's first 8; 0 where there is nothing */
#define READ(size, bytes, dst, src, off)                                                                                                      \
	BI_MOV(BPF_REG_3, src), BI_ADD_K(BPF_REG_3, off), BI_MOV(BPF_REG_1, BPF_REG_10), BI_ADD_K(BPF_REG_1, -8), BI_MOV_K(BPF_REG_2, bytes),   \
		BI_CALL(BPF_FUNC_probe_read_kernel), BI_LOAD(size, dst, BPF_REG_10, -8)
#define READ64(dst, src, off) READ(BPF_DW, 8, dst, src, off)

static int load(const struct cs_btf_wish *w, union bpf_attr *a)
{
	struct bpf_insn code[] = {
		/* the context: family, type, protocol, kern. Sockets of the kernel's own are not ours to judge */
		BI_LOAD(BPF_DW, BPF_REG_9, BPF_REG_1, 0), BI_MOV32(BPF_REG_9, BPF_REG_9),
		BI_LOAD(BPF_DW, BPF_REG_2, BPF_REG_1, 24), BI_MOV32(BPF_REG_2, BPF_REG_2), BI_JUMP_K(BPF_JNE, BPF_REG_2, 0, OUT),
		BI_JUMP_K(BPF_JGT, BPF_REG_9, 63, OUT),
		BI_CALL(BPF_FUNC_get_current_task), BI_MOV(BPF_REG_6, BPF_REG_0),
		READ64(BPF_REG_7, BPF_REG_6, w[W_SECCOMP].value + w[W_FILTER].value), /* task->seccomp.filter */
		BI_MOV_K(BPF_REG_8, DEPTH),
		BI_LABEL(LOOP), BI_JUMP_K(BPF_JEQ, BPF_REG_7, 0, OUT),
		READ64(BPF_REG_6, BPF_REG_7, w[W_PROG].value),
		READ64(BPF_REG_6, BPF_REG_6, w[W_ORIG].value), BI_JUMP_K(BPF_JEQ, BPF_REG_6, 0, NEXT), /* as it was given to seccomp(2) */
		/* its last four instructions, to -48 */
		READ(BPF_H, 2, BPF_REG_1, BPF_REG_6, w[W_LEN].value), BI_JUMP_K(BPF_JLT, BPF_REG_1, LIST + 1, NEXT),
		BI_ADD_K(BPF_REG_1, -LIST), BI_ALU_K(BPF_LSH, BPF_REG_1, 3), BI_STORE(BPF_DW, BPF_REG_10, -16, BPF_REG_1),
		READ64(BPF_REG_3, BPF_REG_6, w[W_CODE].value), BI_LOAD(BPF_DW, BPF_REG_1, BPF_REG_10, -16), BI_ALU(BPF_ADD, BPF_REG_3, BPF_REG_1),
		BI_MOV(BPF_REG_1, BPF_REG_10), BI_ADD_K(BPF_REG_1, -48), BI_MOV_K(BPF_REG_2, LIST * 8), BI_CALL(BPF_FUNC_probe_read_kernel),
		BI_JUMP_K(BPF_JNE, BPF_REG_0, 0, NEXT),
		BI_LOAD(BPF_H, BPF_REG_1, BPF_REG_10, -48), BI_JUMP_K(BPF_JNE, BPF_REG_1, MAGIC_CODE, NEXT),
		BI_LOAD(BPF_W, BPF_REG_1, BPF_REG_10, -44), BI_JUMP_K(BPF_JNE, BPF_REG_1, MAGIC, NEXT),
		BI_LOAD(BPF_W, BPF_REG_1, BPF_REG_10, -36), BI_LOAD(BPF_W, BPF_REG_2, BPF_REG_10, -28),
		BI_ALU_K(BPF_LSH, BPF_REG_2, 32), BI_ALU(BPF_OR, BPF_REG_1, BPF_REG_2), BI_ALU(BPF_RSH, BPF_REG_1, BPF_REG_9),
		BI_JUMP_K(BPF_JSET, BPF_REG_1, 1, REFUSE),
		BI_LABEL(NEXT), READ64(BPF_REG_7, BPF_REG_7, w[W_PREV].value),
		BI_ADD_K(BPF_REG_8, -1), BI_JUMP_K(BPF_JNE, BPF_REG_8, 0, LOOP),
		/* somebody hides ours below dozens of his own */
		BI_JUMP_K(BPF_JEQ, BPF_REG_9, AF_ALG, REFUSE), BI_JUMP_K(BPF_JNE, BPF_REG_9, AF_VSOCK, OUT),
		BI_LABEL(REFUSE), BI_MOV_K(BPF_REG_0, -EPERM), BI_EXIT,
		BI_LABEL(OUT), BI_MOV_K(BPF_REG_0, 0), BI_EXIT,
	};

	return cs_bpf_load(NAME, "GPL", code, CS_ARRAY_SIZE(code), a);
}

/* Not by base/io.h: five megabytes from the heap would change how libc deals with later ones. */
static int find_types(struct cs_btf_wish *w)
{
	const struct cs_btf_wish wishes[W_MAX] = {
		[W_HOOK] = {.name = "security_socket_create"},
		[W_SECCOMP] = {.name = "task_struct", .member = "seccomp"},
		[W_FILTER] = {.name = "seccomp", .member = "filter"},
		[W_PREV] = {.name = "seccomp_filter", .member = "prev"},
		[W_PROG] = {.name = "seccomp_filter", .member = "prog"},
		[W_ORIG] = {.name = "bpf_prog", .member = "orig_prog"},
		[W_LEN] = {.name = "sock_fprog_kern", .member = "len"},
		[W_CODE] = {.name = "sock_fprog_kern", .member = "filter"},
	};
	cs_autofd int fd = open("/sys/kernel/btf/vmlinux", O_RDONLY | O_CLOEXEC);
	struct stat st;

	memcpy(w, wishes, sizeof(wishes));
	if (fd < 0 || fstat(fd, &st) < 0 || st.st_size <= 0)
		return fd < 0 ? -errno : -ENODATA;
	size_t len = (size_t)st.st_size;
	void *p = mmap(NULL, len, PROT_READ, MAP_PRIVATE, fd, 0); /* since 6.16; else it comes by the page */
	bool mapped = p != MAP_FAILED;
	if (!mapped)
		p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return -errno;
	bool found = (mapped || cs_read_full(fd, p, len) == (ssize_t)len) && cs_btf_find(p, len, w, W_MAX);
	(void)munmap(p, len);
	return found ? 0 : -ENODATA;
}

int cs_guard_load_for_test(void)
{
	union bpf_attr a = {.prog_type = BPF_PROG_TYPE_RAW_TRACEPOINT};
	struct cs_btf_wish w[W_MAX];
	int r = find_types(w);

	return r < 0 ? r : load(w, &a);
}

/* ---- the link ---- */

static bool is_ours(int link)
{
	struct bpf_link_info l = {0};
	struct bpf_prog_info p = {0};
	union bpf_attr a = {.info = {.bpf_fd = (uint32_t)link, .info_len = sizeof(l), .info = (uintptr_t)&l}};

	if (sys_bpf(BPF_OBJ_GET_INFO_BY_FD, &a) < 0 || l.type != BPF_LINK_TYPE_TRACING)
		return false;
	a = (union bpf_attr){.prog_id = l.prog_id};
	cs_autofd int prog = sys_bpf(BPF_PROG_GET_FD_BY_ID, &a);
	a = (union bpf_attr){.info = {.bpf_fd = (uint32_t)prog, .info_len = sizeof(p), .info = (uintptr_t)&p}};
	return prog >= 0 && sys_bpf(BPF_OBJ_GET_INFO_BY_FD, &a) == 0 && strncmp(p.name, NAME, sizeof(p.name)) == 0;
}

/* Of an engine or a worker on this host. -ENOENT: of nobody. */
static int find_link(void)
{
	for (union bpf_attr a = {0}; sys_bpf(BPF_LINK_GET_NEXT_ID, &a) == 0; a.start_id = a.next_id) {
		union bpf_attr id = {.link_id = a.next_id};
		cs_autofd int link = sys_bpf(BPF_LINK_GET_FD_BY_ID, &id);
		if (link >= 0 && is_ours(link))
			return TAKE_FD(link);
	}
	return -ENOENT;
}

/* Whether programs of this type are taken at all, before we go through all types: type 1 is no function, says who would take one. */
static int may_attach(void)
{
	struct bpf_insn code[] = {BI_MOV_K(BPF_REG_0, 0), BI_EXIT};
	union bpf_attr a = {.prog_type = BPF_PROG_TYPE_TRACING, .expected_attach_type = BPF_MODIFY_RETURN, .attach_btf_id = 1};
	int r = cs_bpf_load(NAME, "GPL", code, CS_ARRAY_SIZE(code), &a);

	return r == -EPERM || r == -ENOSYS ? r : 0;
}

static int make_link(void)
{
	struct cs_btf_wish w[W_MAX];
	int r = may_attach();

	if (r == 0)
		r = find_types(w);
	if (r < 0)
		return r;
	union bpf_attr a = {.prog_type = BPF_PROG_TYPE_TRACING, .expected_attach_type = BPF_MODIFY_RETURN, .attach_btf_id = w[W_HOOK].value};
	cs_autofd int prog = load(w, &a);
	if (prog < 0)
		return prog;
	a = (union bpf_attr){.raw_tracepoint = {.prog_fd = (uint32_t)prog}}; /* BPF_LINK_CREATE does this type since 5.17 only */
	return sys_bpf(BPF_RAW_TRACEPOINT_OPEN, &a);
}

/* A thread of its own: nothing takes a filter off again. *arg: the errno of a socket that the list refuses. */
static void *try_it(void *arg)
{
	struct sock_filter f[] = {
		{.code = BPF_RET | BPF_K, .k = SECCOMP_RET_ALLOW},
		{.code = MAGIC_CODE, .k = MAGIC}, {.code = MAGIC_CODE}, {.code = MAGIC_CODE, .k = 1u << (AF_ALG - 32)}, {.code = BPF_RET | BPF_K},
	};
	struct sock_fprog p = {.len = CS_ARRAY_SIZE(f), .filter = f};
	int *e = arg;

	(void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); /* this thread's */
	*e = -sys_seccomp(SECCOMP_SET_MODE_FILTER, 0, &p);
	if (*e)
		return NULL;
	cs_autofd int fd = socket(AF_ALG, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	*e = fd < 0 ? errno : 0;
	return NULL;
}

static bool works(void)
{
	pthread_t thread;
	int e = 0;

	return pthread_create(&thread, NULL, try_it, &e) == 0 && pthread_join(thread, NULL) == 0 && e == EPERM;
}

/* Does this kernel run programs of i386? The file is of its part for them. */
static bool runs_i386(void) { return access("/proc/sys/abi/vsyscall32", F_OK) == 0; }

int cs_guard_open(int *ret, struct cs_err **err)
{
	*ret = -EBADF;
	if (!runs_i386())
		return 0;
	cs_autofd int link = find_link();
	if (link < 0)
		link = make_link();
	if (link < 0)
		return cs_fail(err, CS_ERR_UNSUPPORTED, -link, "attach a BPF program to security_socket_create");
	if (!works())
		return cs_fail(err, CS_ERR_UNSUPPORTED, 0, "the BPF program at security_socket_create has no effect");
	*ret = TAKE_FD(link);
	return 0;
}

char *cs_guard_open_families(void)
{
	static const struct {
		int family, type;
		const char *name;
	} v[] = {{AF_ALG, SOCK_SEQPACKET, "AF_ALG"}, {AF_VSOCK, SOCK_STREAM, "AF_VSOCK"}};
	cs_autostr struct cs_str s = CS_STR_INIT(64);

	for (size_t i = 0; i < CS_ARRAY_SIZE(v); i++) {
		cs_autofd int fd = socket(v[i].family, v[i].type | SOCK_CLOEXEC, 0);
		if (fd < 0)
			continue;
		cs_str_puts(&s, s.len ? ", " : "");
		cs_str_puts(&s, v[i].name);
	}
	return s.len ? cs_str_steal(&s) : NULL;
}
