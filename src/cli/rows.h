/* SPDX-License-Identifier: Apache-2.0
 *
 * The rows that more than one command shows (`system df -v` shows all of them). */
#pragma once

#include "cli/list.h"

extern const struct tpl_class container_class; /* self: struct row */
extern const char *const container_headers[];
char *container_format(const char *source, bool quiet, bool size); /* caller frees */

struct image_row {
	struct row row;
	const char *repo, *tag, *digest;
};
extern const struct tpl_class image_class; /* self: struct image_row */
extern const char *const image_headers[];
const char *image_format(const char *source, bool quiet, bool digest);

extern const struct tpl_class volume_class; /* self: struct row */
extern const char *const volume_headers[];
const char *volume_format(const char *source, bool quiet);

/* One container's figures, for `stats`: what is printed is computed by whoever reads the stream. */
struct stats_entry {
	const char *container, *name, *id; /* name with its slash, as the API has it */
	double cpu_percent, memory, memory_limit, memory_percent, net_rx, net_tx, block_read, block_write;
	uint64_t pids;
	bool invalid, trunc; /* invalid: no figures yet, or none any more */
};
extern const struct tpl_class stats_class; /* self: struct stats_entry */
extern const char *const stats_headers[];
const char *stats_format(const char *source); /* "table" to docker's */
