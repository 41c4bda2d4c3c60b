/* SPDX-License-Identifier: Apache-2.0
 *
 * Refusals of socket families that hold for i386's socketcall(2), too (CVE-2026-31431).
 *
 * A seccomp filter sees the registers of a call. The family of socket(2) is one; that of socketcall(SYS_SOCKET, pointer) lies in memory. Refusing
 * the call breaks 32-bit programs: i386 glibc of Debian and Go make all their sockets by it, and do not try socket(2) when it fails. So
 *   - a filter that refuses families carries their list, behind its last instruction, where no run comes: cs_guard_mark;
 *   - a BPF program at security_socket_create(), through which all ways of making a socket lead (io_uring as well), walks the filters of
 *     the process that asks and refuses what one of them lists. A filter is inherited and never taken off, so this covers what execs
 *     and forks make, in any namespaces and cgroups, and nothing else: a process without such a filter is not concerned.
 * There is one such program on a host, the same for all engines. It needs no state, so it costs a start nothing; and it lives as long as a
 * descriptor of its link does: our engine has one and so has each worker, for containers outlive the engine. */
#pragma once

#include <linux/filter.h>

#include "base/error.h"

/* Appends to a filter (caller frees *f, reallocated) which families it refuses to i386's socket(2), if it allows socketcall(SYS_SOCKET). Families from 64 on are
 * not. Any filter is right; one that cannot be understood gets no list. True: a list was appended. */
bool cs_guard_mark(struct sock_filter **f, size_t *n);

/* Finds the host's program or attaches it, and tries it. Needs CAP_BPF, CAP_PERFMON, Linux 5.11 with BTF and CONFIG_CHECKPOINT_RESTORE; not on kernels without 32-bit
 * programs. *ret: descriptor of the link, or -EBADF where there is nothing to do. Any thread. */
CS_MUST_CHECK int cs_guard_open(int *ret, struct cs_err **err);
/* Without it: the families that a 32-bit program can use nevertheless ("AF_ALG, AF_VSOCK"), caller frees; NULL when the kernel has none of them. */
char *cs_guard_open_families(void);
/* For tests: the program as type RAW_TRACEPOINT, to be run (BPF_PROG_TEST_RUN) with the arguments of security_socket_create() as context. Descriptor or -errno. */
int cs_guard_load_for_test(void);
