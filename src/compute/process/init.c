/* SPDX-License-Identifier: Apache-2.0
 *
 * The built-in init: pid 1 that starts one program, forwards signals to it, reaps everybody and ends with the program's status.
 * It is the worker's own binary, executed again as "caisson-init" PROGRAM ARGV0 ARGV1… One blocking loop, no timers. */
#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "compute/process/setup.h"

static _Noreturn void run(char *program, char **argv, const sigset_t *mask)
{
	/* a process group of its own, in the foreground when there is a terminal: ^C then reaches the program and its children */
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* in a shared pid namespace nobody else would end it with us */
	(void)setpgid(0, 0);
	if (isatty(0)) {
		(void)signal(SIGTTOU, SIG_IGN); /* we are in the background until this call returns */
		(void)tcsetpgrp(0, getpgrp());
		(void)signal(SIGTTOU, SIG_DFL);
	}
	(void)sigprocmask(SIG_SETMASK, mask, NULL);
	(void)execv(program, argv);
	int e = errno;
	(void)dprintf(2, "caisson-init: %s: %s\n", argv[0], (strerror)(e));
	_exit(e == ENOENT ? 127 : 126);
}

/* Reaps all that have died; the main child's status, or -1 while it lives. */
static int reap_all(pid_t child)
{
	int status, code = -1;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		if (pid == child)
			code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	return code;
}

_Noreturn void cs_init_main(char **argv)
{
	sigset_t all, old;
	siginfo_t si;
	int code = -1;

	if (!argv[0] || !argv[1] || !argv[2])
		_exit(125);
	(void)prctl(PR_SET_NAME, "caisson-init");
	(void)sigfillset(&all);
	/* faults of our own must kill, not wait in a mask */
	static const int faults[] = {SIGFPE, SIGILL, SIGSEGV, SIGBUS, SIGABRT, SIGTRAP, SIGSYS};
	for (size_t i = 0; i < CS_ARRAY_SIZE(faults); i++)
		(void)sigdelset(&all, faults[i]);
	(void)sigprocmask(SIG_SETMASK, &all, &old);

	pid_t child = fork();
	if (child < 0)
		_exit(125);
	if (child == 0)
		run(argv[1], argv + 2, &old);
	while (code < 0) {
		if (sigwaitinfo(&all, &si) < 0)
			continue;
		if (si.si_signo == SIGCHLD)
			code = reap_all(child);
		else if (si.si_signo != SIGTTIN && si.si_signo != SIGTTOU && si.si_signo != SIGTSTP)
			(void)kill(child, si.si_signo);
	}
	_exit(code);
}
