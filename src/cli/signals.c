/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/signals.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

static int ends[2] = {-1, -1};

/* Async-signal-safe. A full pipe loses the signal: 64 KiB of them wait already. */
static void note(int sig)
{
	int keep = errno;
	unsigned char c = (unsigned char)sig;
	ssize_t n = write(ends[1], &c, 1);

	(void)n;
	errno = keep;
}

/* Who touches the terminal from the background is stopped, and does it again when he is in the foreground: a handler that only takes a note would be called
 * without end. What somebody sent is a signal like any other. */
static void note_or_stop(int sig, siginfo_t *info, void *context)
{
	if (info->si_code == SI_USER || info->si_code == SI_QUEUE)
		note(sig);
	else
		(void)kill(getpid(), SIGSTOP);
}

static bool is_ours(int sig)
{
	static const int not_ours[] = {SIGKILL, SIGSTOP, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGCHLD, SIGPIPE, SIGURG};

	for (size_t i = 0; i < CS_ARRAY_SIZE(not_ours); i++)
		if (not_ours[i] == sig)
			return false;
	return true;
}

void signals_watch(void)
{
	/* whoever blocks in another thread goes on; whoever polls is told by the pipe */
	struct sigaction act = {.sa_handler = note, .sa_flags = SA_RESTART}, tty = {.sa_sigaction = note_or_stop, .sa_flags = SA_RESTART | SA_SIGINFO}, was;

	if (ends[0] >= 0 || pipe(ends) < 0)
		return;
	for (size_t i = 0; i < 2; i++) {
		(void)fcntl(ends[i], F_SETFD, FD_CLOEXEC);
		(void)fcntl(ends[i], F_SETFL, O_NONBLOCK);
	}
	sigemptyset(&act.sa_mask);
	sigemptyset(&tty.sa_mask);
	for (int sig = 1; sig < NSIG; sig++)
		if (is_ours(sig) && sigaction(sig, NULL, &was) == 0 && was.sa_handler != SIG_IGN)
			(void)sigaction(sig, sig == SIGTTIN || sig == SIGTTOU ? &tty : &act, NULL);
}

int signals_fd(void) { return ends[0]; }

int signals_next(void)
{
	unsigned char c;

	return ends[0] >= 0 && read(ends[0], &c, 1) == 1 ? c : 0;
}

void signals_die(int sig)
{
	struct sigaction act = {.sa_handler = SIG_DFL};
	sigset_t set;

	sigemptyset(&act.sa_mask);
	(void)sigaction(sig, &act, NULL);
	sigemptyset(&set);
	sigaddset(&set, sig);
	(void)sigprocmask(SIG_UNBLOCK, &set, NULL);
	(void)raise(sig);
	_exit(128 + sig); /* its default is to do nothing */
}

const char *signals_name(int sig)
{
	static const struct {
		int sig;
		const char *name;
	} names[] = {{SIGHUP, "HUP"}, {SIGINT, "INT"}, {SIGQUIT, "QUIT"}, {SIGABRT, "ABRT"}, {SIGUSR1, "USR1"}, {SIGUSR2, "USR2"}, {SIGALRM, "ALRM"}, {SIGTERM, "TERM"},
		     {SIGCONT, "CONT"}, {SIGTSTP, "TSTP"}, {SIGTTIN, "TTIN"}, {SIGTTOU, "TTOU"}, {SIGXCPU, "XCPU"}, {SIGXFSZ, "XFSZ"}, {SIGVTALRM, "VTALRM"},
		     {SIGPROF, "PROF"}, {SIGWINCH, "WINCH"},
#ifdef SIGIO
		     {SIGIO, "IO"},
#endif
#ifdef SIGPWR
		     {SIGPWR, "PWR"},
#endif
#ifdef SIGSTKFLT
		     {SIGSTKFLT, "STKFLT"},
#endif
	};

	for (size_t i = 0; i < CS_ARRAY_SIZE(names); i++)
		if (names[i].sig == sig)
			return names[i].name;
	return NULL;
}
