/* SPDX-License-Identifier: Apache-2.0
 *
 * The interactive end of a hijacked connection: terminal in raw mode, stdin to the engine, frames to stdout and stderr, window size changes, signals. */
#pragma once

#include "cli/client.h"

struct stream_hooks {
	void (*resize)(void *ctx, unsigned rows, unsigned cols);
	void (*on_signal)(void *ctx, int sig); /* NULL: signals do to us what they do to everybody, after the terminal is as it was */
	void *ctx;
};
/* Bytes from stdin that end the pump, and are not sent; n 0: none. A beginning of them is held back until it is clear what it is. */
struct stream_keys {
	const unsigned char *keys;
	size_t n;
	bool *seen; /* set when they came */
};
/* Pumps until the engine closes the connection, in both directions at once: neither waits for the other, whatever is full. raw: no frames (the container
 * has a terminal). `resize` is called with the window's size at the start and whenever it changes (raw only). A reader of our output that went away
 * ends the process by SIGPIPE, as it does any other. On every way out the terminal is as it was. */
int stream_pump(struct reply *r, bool send_stdin, bool raw, const struct stream_keys *keys, const struct stream_hooks *hooks, struct cs_err **err);
/* Size of the terminal that stdout is; false for anything else. */
bool stream_window(unsigned *rows, unsigned *cols);
/* Waits for something to read at r, with the hooks' signals as stream_pump has them. */
void stream_wait(const struct reply *r, const struct stream_hooks *hooks);
/* Copies a framed (or raw) body to stdout/stderr: logs. Ends by SIGPIPE as soon as nobody reads stdout any more, even when there is nothing to write. */
int stream_copy(struct reply *r, bool raw, struct cs_err **err);
