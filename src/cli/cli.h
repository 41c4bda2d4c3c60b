/* SPDX-License-Identifier: Apache-2.0
 *
 * Commands return the process' exit status. They print errors themselves (cli_error). */
#pragma once

#include "cli/client.h"
#include "cli/opt.h"

struct command {
	const char *name; /* "ps", "system df" */
	int (*run)(char **argv);
	const char *help;
};
extern const struct command container_commands[], run_commands[], image_commands[], transfer_commands[], volume_commands[], system_commands[];

/* Prints "Error response from daemon: ..." or "caisson: ..." and returns `status`. Takes err. */
int cli_error(struct cs_err *err, int status);
/* "WARNING! This will remove …": asks; true for yes. */
bool cli_confirm(const char *what);
/* Usage error: message, 125. */
int cli_usage(const char *cmd, const char *text);

const char *jstr(const json_t *j, const char *key); /* "" when absent */
int64_t jint(const json_t *j, const char *key);

/* Columns padded to the widest cell with three blanks between, as docker prints. */
struct table {
	char **cells;
	size_t columns;
};
void table_cell(struct table *t, const char *text);
void table_print(struct table *t); /* and frees */
char *human_size(int64_t bytes);     /* "1.5MB", decimal units as docker's */
char *human_ago(int64_t seconds);    /* "5 minutes" */
const char *short_id(const char *id); /* 12 digits without "sha256:"; static buffer */
