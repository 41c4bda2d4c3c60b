/* SPDX-License-Identifier: Apache-2.0
 *
 * The only way in which a program with threads starts another one. */
#pragma once

#include <sys/types.h>

#include "base/error.h"

struct cs_spawn {
	int exe_fd;              /* program to run (fexecve), e.g. a sealed memfd */
	char *const *argv;
	char *const *envp;
	const int *fds;          /* descriptors that become 0, 1, 2, 3 ... in the child; everything else is closed */
	size_t n_fds;
	bool new_session;        /* setsid */
};
/* Signals are unblocked and at their defaults in the child. The parent never waits: the process must have set SIGCHLD so
 * that children are reaped (SA_NOCLDWAIT). Returns the pid and a pidfd (caller closes) or an error with exec's errno. */
CS_MUST_CHECK int cs_spawn(const struct cs_spawn *s, pid_t *ret_pid, int *ret_pidfd, struct cs_err **err);
