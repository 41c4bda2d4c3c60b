/* SPDX-License-Identifier: Apache-2.0
 *
 * A client's hold on a process in the engine: its attached stream, window size and signals, and the code it ends with. */
#pragma once

#include "cli/client.h"

struct session {
	const char *base; /* "/containers/ID" or "/exec/ID": where resize and kill go */
	bool in;          /* stdin is sent */
	bool tty;
	bool proxy; /* signals are passed on (containers only) until the process ends; otherwise they end us */
	const char *keys; /* detach sequence as --detach-keys has it; NULL: ctrl-p,ctrl-q. Looked for on terminals only. */
	bool detached;    /* out: it was typed */
};

/* "/containers/NAME" of an operand, which may begin with a slash; NULL with an error for an empty one. Caller frees. */
char *container_path(const char *operand, struct cs_err **err);

/* Pumps the hijacked connection until it ends; restores the terminal. 0 or -1. */
int session_pump(struct session *s, struct reply *stream, struct cs_err **err);
/* Tells the process' terminal its size. */
void session_resize(const struct session *s, unsigned rows, unsigned cols);
/* Exit status of run and start for an error of start: Docker's sentences decide (126, 127), else 125. */
int session_start_status(const struct cs_err *err);
/* The answer of /wait, when it comes: the exit code, or -1. */
int session_exit_code(const struct session *s, struct reply *wait, struct cs_err **err);
/* "the input device is not a TTY" */
bool session_needs_terminal(bool in, bool tty);
/* --detach-keys, else config.json's detachKeys; NULL: the engine's own. Borrowed. */
const char *session_detach_keys(const char *given);
/* "ctrl-p,x" as bytes; their number, 0 for what makes no sense. */
#define DETACH_KEYS_MAX 64
size_t detach_keys_parse(const char *text, unsigned char keys[DETACH_KEYS_MAX]);
