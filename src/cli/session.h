/* SPDX-License-Identifier: Apache-2.0
 *
 * A client's hold on a process in the engine: its attached stream, window size and signals, and the code it ends with. */
#pragma once

#include "cli/client.h"

struct session {
	const char *base; /* "/containers/ID" or "/exec/ID": where resize and kill go */
	bool in;          /* stdin is sent */
	bool tty;
	bool proxy; /* signals are passed on (containers only; not from a terminal in raw mode, whose keys the container reads itself) */
};

/* Pumps the hijacked connection until it ends; restores the terminal. 0 or -1. */
int session_pump(const struct session *s, struct reply *stream, struct cs_err **err);
/* Exit status of run and start for an error of start: Docker's sentences decide (126, 127), else 125. */
int session_start_status(const struct cs_err *err);
/* The answer of /wait: the exit code, or -1. */
int session_exit_code(struct reply *wait, struct cs_err **err);
/* "the input device is not a TTY" */
bool session_needs_terminal(bool in, bool tty);
/* --detach-keys, else config.json's detachKeys; NULL: the engine's own. Borrowed. */
const char *session_detach_keys(const char *given);
