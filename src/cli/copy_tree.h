/* SPDX-License-Identifier: Apache-2.0
 *
 * Trees of the local file system as tar streams, for cp. */
#pragma once

#include "base/error.h"

/* Renames of a copy: entries that begin with the name `from` begin with `to` instead (docker's RebaseArchiveEntries). NULL: none. */
struct rebase {
	const char *from, *to;
};
/* The entry's new name, or NULL when it keeps its own; caller frees. */
char *rebase_name(const struct rebase *r, const char *name);

/* Sends the entry `base` of the directory `dir`, with everything below it if it is a directory; "." sends the directory's content as "./…".
 * sink: 0 to go on, 1 to stop quietly, -1 with an error. *bytes: content that was sent. */
CS_MUST_CHECK int tree_send(const char *dir, const char *base, const struct rebase *names, int (*sink)(void *ctx, const void *data, size_t len, struct cs_err **err),
			    void *ctx, int64_t *bytes, struct cs_err **err);
/* Extracts a tar stream into the directory `dir`. No entry and no link leads out of it, whatever the archive says; a directory does not
 * become a file, nor the other way round. source: bytes read, 0 at the end, -1 with an error. */
CS_MUST_CHECK int tree_receive(const char *dir, const struct rebase *names, ssize_t (*source)(void *ctx, void *buf, size_t max, struct cs_err **err), void *ctx,
			       int64_t *bytes, struct cs_err **err);
