/* SPDX-License-Identifier: Apache-2.0
 *
 * Signals as bytes in a pipe, so that one poll() waits for them and for everything else. */
#pragma once

#include "base/macros.h"

/* From now on every signal that can be passed on goes into the pipe instead of its effect; stays so until the process ends. Left alone: KILL and STOP,
 * faults of our own (SEGV, BUS, FPE, ILL, TRAP, SYS), CHLD, PIPE, URG, and what was ignored when the program began (nohup, background jobs). */
void signals_watch(void);
/* Readable when one waits; -1 before signals_watch(). */
int signals_fd(void);
/* The next that came, or 0. Does not wait. */
int signals_next(void);
/* Ends the process by this signal, as if nobody had watched. */
_Noreturn void signals_die(int sig);
/* "TERM", as the API has it; NULL for one without a name (real time). */
const char *signals_name(int sig);
