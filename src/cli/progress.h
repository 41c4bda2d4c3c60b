/* SPDX-License-Identifier: Apache-2.0
 *
 * The engine's stream of progress messages (pull, push, load, import, build): on a terminal a line per layer with a bar that is drawn over, elsewhere a
 * line for each state. The bytes are docker's. */
#pragma once

#include "cli/client.h"

struct progress_hooks {
	void (*aux)(void *ctx, const json_t *aux); /* messages for programs; NULL: ignored */
	void *ctx;
};
/* Reads to the end. out NULL: nothing is shown, errors are still found. 0, or 1 after the message of an error. hooks may be NULL. */
int progress_show(struct reply *r, FILE *out, const struct progress_hooks *hooks);

/* For the unit test: text of one progressDetail at a terminal's width and a time, "" for none. Caller frees. */
char *progress_text(const json_t *detail, unsigned width, int64_t now);
