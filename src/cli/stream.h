/* SPDX-License-Identifier: Apache-2.0
 *
 * The interactive end of a hijacked connection: terminal in raw mode, stdin to the engine, frames to stdout and stderr, window
 * size changes, signals. */
#pragma once

#include "cli/client.h"

/* Pumps until the engine closes the connection. raw: no frames (the container has a terminal). `resize` is called with the window's size
 * at the start and whenever it changes (raw terminals only); `on_signal` for INT, TERM, HUP, QUIT when stdin is not a raw terminal. */
struct stream_hooks {
	void (*resize)(void *ctx, unsigned rows, unsigned cols);
	void (*on_signal)(void *ctx, int sig);
	void *ctx;
};
int stream_pump(struct reply *r, bool send_stdin, bool raw, const struct stream_hooks *hooks, struct cs_err **err);
/* Copies a framed (or raw) body to stdout/stderr: logs. */
int stream_copy(struct reply *r, bool raw, struct cs_err **err);
