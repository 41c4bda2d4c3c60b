/* SPDX-License-Identifier: Apache-2.0
 *
 * The only way in which a program with threads starts another one. */
#pragma once

#include <sys/types.h>

#include "base/error.h"

struct cs_spawn {
	int exe_fd; /* program to run (fexecve), e.g. a sealed memfd */
	char *const *argv;
	char *const *envp;
	const int *fds;   /* descriptors that become 0, 1, 2, 3 ... in the child (at most 15); everything else is closed, */
	size_t n_fds;     /* and was never open in it: nothing of ours lives on in a child for a moment */
	bool new_session; /* setsid */
};
/* Signals are unblocked and at their defaults in the child. The parent never waits: the process must have set SIGCHLD so
 * that children are reaped (SA_NOCLDWAIT), so that the pid may be another's by the time that it is known: whoever uses it must have something
 * else that says the child lives. An error has exec's errno. The child's parent is the process, not a thread: PR_SET_PDEATHSIG
 * would follow a thread that lives as long as the process. */
CS_MUST_CHECK int cs_spawn(const struct cs_spawn *s, pid_t *ret, struct cs_err **err);
