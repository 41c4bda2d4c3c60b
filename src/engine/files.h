/* SPDX-License-Identifier: Apache-2.0
 *
 * A container's file system held open for copying: private to the engine. */
#pragma once

#include "computestorage.h"
#include "engine/container.h"

struct cs_files {
	struct cs_container *c; /* reference; NULL: nothing is open */
	struct cs_root *root;   /* does not run */
	int fd;                 /* runs: its root, O_PATH */
	bool running, write, counted;
};
/* Works in each state. write: a start of the container waits until close, so close soon. */
CS_MUST_CHECK int cs_files_open(struct cs_container *c, bool write, struct cs_files *ret, struct cs_err **err);
void cs_files_close(struct cs_files *f); /* accepts what was never opened, if zeroed */
/* The root for `path` (absolute, clean) and the path in it (see cs_root_at). Borrowed; negative: not there. */
int cs_files_at(const struct cs_files *f, const char *path, const char **ret_path);

/* op_lock held: waits until nobody writes. They give up when the container is being removed, or when their client does not get ahead. */
void cs_files_settle(struct cs_container *c);
/* Somebody waits for writers to end; *ret_removal: for good. */
bool cs_files_wanted(struct cs_container *c, bool *ret_removal);
