/* SPDX-License-Identifier: Apache-2.0
 *
 * What the commands share. Commands return the process' exit status. They print errors themselves (cli_error, cli_fail). */
#pragma once

#include "base/strv.h"
#include "cli/client.h"
#include "cli/cmd.h"

/* a table per file, in alphabetical order */
extern const struct command attach_commands[], copy_commands[];
extern const struct command completion_commands[];
extern const struct command compute_commands[];
extern const struct command container_commands[];
extern const struct command context_commands[];
extern const struct command describe_commands[];
extern const struct command df_commands[];
extern const struct command dial_commands[];
extern const struct command doctor_commands[];
extern const struct command group_commands[];
extern const struct command image_commands[];
extern const struct command info_commands[];
extern const struct command inspect_commands[];
extern const struct command login_commands[];
extern const struct command manifest_commands[];
extern const struct command manifest_list_commands[];
extern const struct command network_commands[];
extern const struct command object_commands[];
extern const struct command plugin_commands[];
extern const struct command prune_commands[];
extern const struct command ps_commands[];
extern const struct command reachability_commands[];
extern const struct command refused_commands[];
extern const struct command run_commands[];
extern const struct command stats_commands[];
extern const struct command system_commands[];
extern const struct command transfer_commands[];
extern const struct command version_commands[];
extern const struct command volume_commands[];

/* Flags of the program itself, before the command. */
struct global_opts {
	const char *config, *context, *log_level, *tlscacert, *tlscert, *tlskey;
	char **hosts;
	bool debug, tls, tlsverify, version;
	bool tlsverify_given;
};
extern struct global_opts globals;
extern const struct call *current_call; /* the command that runs, for messages; never NULL after main's start */

/* The whole program; argv as main gets it. Returns the exit status. */
int cli_main(char **argv);
/* Prints an error as docker does and returns `status`. Takes err. What the engine answered begins with "Error response from daemon: "
 * (client.c puts it there). Commands with CMD_RUN_ERRORS print "caisson: …" and a hint at --help. */
int cli_error(struct cs_err *err, int status);
/* The same for a text of our own. */
int cli_fail(int status, const char *fmt, ...) CS_PRINTF(2, 3);
/* As cli_fail for a command line that makes no sense: "caisson: …" and the hint at --help, whatever the command; 125. Takes err. */
int cli_parse_error(struct cs_err *err);
/* The bare sentence, whatever the command. */
int cli_plain(int status, const char *text);

const char *jstr(const json_t *j, const char *key); /* "" when absent */
int64_t jint(const json_t *j, const char *key);
/* What the user typed as JSON, and as a member: bytes that are no UTF-8 become U+FFFD, as in Go. jansson would refuse the whole of it. */
json_t *jtext(const char *s);
void jset(json_t *o, const char *key, const char *text);
/* As Go prints it: <, > and & escaped; indent 0 is compact. Caller frees. */
char *json_text(const json_t *j, size_t indent);

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

#define HELP_FORMAT                                                                                                                                          \
	"Format output using a custom template:\n'json':             Print in JSON format\n'TEMPLATE':         Print output using the given Go template.\n" \
	"Refer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates"
#define HELP_FORMAT_TABLE                                                                                                                                \
	"Format output using a custom template:\n'table':            Print output in table format with column headers (default)\n"                       \
	"'table TEMPLATE':   Print output in table format using the given Go template\n'json':             Print in JSON format\n"                       \
	"'TEMPLATE':         Print output using the given Go template.\n"                                                                                 \
	"Refer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates"
