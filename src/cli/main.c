/* SPDX-License-Identifier: Apache-2.0
 *
 * caisson: the client. Reads the program's own flags, finds the command in the tables and runs it. */
#include <fcntl.h>

#include "cli/cli.h"
#include "cli/config.h"
#include "cli/plugin.h"

/* What every engine has that is still in use: dockerd 20.10 speaks 1.41, its predecessors of Docker 18.09 1.39. */
#define OLDEST_API 139

const struct command *const command_tables[] = {group_commands, run_commands, attach_commands, copy_commands, container_commands, stats_commands, image_commands, manifest_commands, manifest_list_commands, transfer_commands, volume_commands,
						network_commands, reachability_commands, ps_commands, inspect_commands, object_commands, plugin_commands, prune_commands, df_commands,
						system_commands, context_commands, login_commands, completion_commands,
						version_commands, info_commands, dial_commands, doctor_commands, compute_commands, describe_commands, refused_commands, NULL};

struct global_opts globals;
const struct flag global_flags[] = {
	FLAG(struct global_opts, config, "config", 0, "Location of client config files (default \"~/.docker\")"),
	FLAG(struct global_opts, context, "context", 'c',
	     "Name of the context to use to connect to the daemon (overrides CAISSON_HOST and DOCKER_HOST env vars and default context set with \"caisson context use\")", .complete = COMP_CONTEXT),
	FLAG(struct global_opts, debug, "debug", 'D', "Enable debug mode"),
	FLAG(struct global_opts, hosts, "host", 'H', "Daemon socket to connect to"),
	FLAG(struct global_opts, log_level, "log-level", 'l', "Set the logging level (\"debug\", \"info\", \"warn\", \"error\", \"fatal\")", .def = "info",
	     .values = "debug|info|warn|error|fatal"),
	FLAG(struct global_opts, tls, "tls", 0, "Use TLS; implied by --tlsverify"),
	FLAG(struct global_opts, tlscacert, "tlscacert", 0, "Trust certs signed only by this CA (default \"~/.docker/ca.pem\")", .complete = COMP_FILES),
	FLAG(struct global_opts, tlscert, "tlscert", 0, "Path to TLS certificate file (default \"~/.docker/cert.pem\")", .complete = COMP_FILES),
	FLAG(struct global_opts, tlskey, "tlskey", 0, "Path to TLS key file (default \"~/.docker/key.pem\")", .complete = COMP_FILES),
	FLAG(struct global_opts, tlsverify, "tlsverify", 0, "Use TLS and verify the remote"),
	FLAG(struct global_opts, version, "version", 'v', "Print version information and quit"),
	FLAG_END,
};
static const struct command program = {.names = "", .help = "", .flags = CMD_STOP, CMD_OPTS(struct global_opts, global_flags)};
static const struct call no_call = {.cmd = &program, .path = ""};
const struct call *current_call = &no_call;

static int print_as(const char *text, int status, bool run)
{
	(void)fflush(stdout);
	fprintf(stderr, "%s%s\n", run ? "caisson: " : "", text);
	if (run)
		fprintf(stderr, "\nRun 'caisson %s --help' for more information\n", current_call->path);
	return status;
}

static int print_error(const char *text, int status) { return print_as(text, status, current_call->cmd->flags & CMD_RUN_ERRORS); }

int cli_plain(int status, const char *text) { return print_as(text, status, false); }

int cli_parse_error(struct cs_err *err)
{
	cs_autofree char *text = cs_err_text(err);

	cs_err_free(err);
	return print_as(text, 125, true);
}

int cli_error(struct cs_err *err, int status)
{
	cs_autofree char *text = cs_err_text(err);

	cs_err_free(err);
	return print_error(text, status);
}

int cli_fail(int status, const char *fmt, ...)
{
	cs_autostr struct cs_str text = CS_STR_INIT(1 << 20);
	va_list ap;

	va_start(ap, fmt);
	cs_str_vputf(&text, fmt, ap);
	va_end(ap);
	return print_error(text.buf ? text.buf : "", status);
}

/* What was asked for must be in the engine's API. Only who uses something that is newer than the oldest version needs to know that: no question otherwise. */
static int check_api(const struct call *c)
{
	struct cs_err *err = NULL;
	int needed = c->cmd->api, api;
	size_t i = 0;
	bool bad = false;

	for (const struct flag *f = c->cmd->options; f && f->name; f++, i++)
		if (c->given[i])
			needed = CS_MAX(needed, f->api);
	if (needed <= OLDEST_API)
		return 0;
	api = client_api(&err);
	if (api < 0)
		return cli_error(err, c->cmd->flags & CMD_RUN_ERRORS ? 125 : 1);
	if (c->cmd->api > api) {
		fprintf(stderr, "caisson %s requires API version 1.%d, but the Caisson daemon API version is 1.%d\n", c->path, c->cmd->api % 100, api % 100);
		return 1;
	}
	i = 0;
	for (const struct flag *f = c->cmd->options; f && f->name; f++, i++)
		if (c->given[i] && f->api > api) {
			fprintf(stderr, "\"--%s\" requires API version 1.%d, but the Caisson daemon API version is 1.%d\n", f->name, f->api % 100, api % 100);
			bad = true;
		}
	return bad;
}

/* $DOCKER_CONTENT_TRUST asks for what --disable-content-trust=false asks for: to go on without would be to do what was not meant. 0, or the exit status. */
static int check_trust(const struct call *c)
{
	const char *env = getenv("DOCKER_CONTENT_TRUST");
	size_t i = 0;

	if (cs_empty(env) || go_false(env))
		return 0;
	for (const struct flag *f = c->cmd->options; f && f->name; f++, i++)
		if (cs_streq(f->name, "disable-content-trust") && !c->given[i])
			return cli_fail(c->cmd->flags & CMD_RUN_ERRORS ? 125 : 1, "DOCKER_CONTENT_TRUST is set: content trust (Notary v1) is not supported; unset it, or give --disable-content-trust");
	return 0;
}

/* Says what is wrong with the number of operands: 0 if nothing. */
static int check_operands(const struct call *c)
{
	const struct command *d = c->cmd;
	long n = (long)c->n_args;

	if (n >= d->min && (d->max == ANY || n <= d->max))
		return 0;
	if (d->max == 0)
		fprintf(stderr, "caisson: 'caisson %s' accepts no arguments\n", c->path);
	else if (d->max == ANY)
		fprintf(stderr, "caisson: 'caisson %s' requires at least %d argument%s\n", c->path, d->min, d->min == 1 ? "" : "s");
	else if (d->min == d->max)
		fprintf(stderr, "caisson: 'caisson %s' requires %d argument%s\n", c->path, d->min, d->min == 1 ? "" : "s");
	else if (d->min == 0)
		fprintf(stderr, "caisson: 'caisson %s' requires at most %d argument%s\n", c->path, d->max, d->max == 1 ? "" : "s");
	else
		fprintf(stderr, "caisson: 'caisson %s' requires at least %d and at most %d arguments\n", c->path, d->min, d->max);
	help_usage(d, c->path, d->max == ANY ? "See" : "Run");
	return 1;
}

static int unknown_command(const char *group, const char *typed)
{
	cs_autofree char *near = cmd_suggest(group, typed), *name = cs_xasprintf("%s%s%s", group, *group ? " " : "", typed);

	fprintf(stderr, "caisson: unknown command: caisson %s\n", name);
	if (near)
		fprintf(stderr, "\nDid you mean 'caisson %s'?\n", near);
	if (*group)
		fprintf(stderr, "\nUsage:  caisson %s\n", group);
	fprintf(stderr, "\nRun 'caisson%s%s --help' for more information\n", *group ? " " : "", group);
	return 1;
}

/* Help that nobody asked for is no output: docker has it on stderr, too. */
static void help_to_stderr(void) { (void)dup2(2, 1); }

/* A command that docker has and this client has not. A flag that docker's has not either is a mistake of its own, there as here: 125. */
static int refuse(const struct command *cmd, const char *path, char *const *argv)
{
	cs_autostrv char **known = cs_strv_split(cmd->refused_flags ? cmd->refused_flags : "", '|');

	for (char *const *a = argv; *a; a++)
		if (cs_streq(*a, "--help")) {
			help_command(cmd, path);
			return 0;
		}
	for (; *argv && !cs_streq(*argv, "--"); argv++) {
		const char *name = cs_prefix(*argv, "--");
		cs_autofree char *bare = name ? cs_xstrndup(name, strcspn(name, "=")) : NULL;
		if (bare && !cs_strv_has(known, bare)) {
			fprintf(stderr, "unknown flag: --%s\n", bare);
			help_usage(cmd, path, "Run");
			return 125;
		}
	}
	fprintf(stderr, "caisson: %s: %s\n", path, cmd->refused);
	return 1;
}

/* Runs one command with what stands behind its name. */
static int run_command(const struct command *cmd, const char *path, char **argv)
{
	struct call c = {.cmd = cmd, .path = path};

	if (cmd->refused && !cmd_is_group(cmd))
		return refuse(cmd, path, argv);
	current_call = &c;
	int status = flags_parse(&c, argv);
	if (status == FLAGS_HELP) {
		help_command(cmd, path);
		status = 0;
	} else if (status == 0 && cmd_is_group(cmd)) {
		if (c.args[0]) {
			status = unknown_command(path, c.args[0]);
		} else {
			if (!cs_streq(path, "completion"))
				help_to_stderr();
			help_command(cmd, path);
		}
	} else if (status == 0) {
		status = check_operands(&c);
		if (status == 0)
			status = check_trust(&c);
		if (status == 0)
			status = check_api(&c);
		if (status == 0)
			status = cmd->run(&c);
	}
	flags_done(&c);
	current_call = &no_call;
	return status;
}

/* Follows the words of argv down the tree; *argv is left behind the command's name. NULL if the first word is unknown. */
static const struct command *find(char ***argv, const char **path)
{
	const struct command *c = cmd_find(**argv, path);
	cs_autofree char *name = c ? cs_xstrdup(*path) : NULL;

	if (!c)
		return NULL;
	(*argv)++;
	while (**argv && ***argv != '-') {
		cs_autofree char *longer = cs_xasprintf("%s %s", name, **argv);
		const struct command *sub = cmd_find(longer, path);
		if (!sub)
			break;
		c = sub;
		free(name);
		name = cs_xstrdup(*path);
		(*argv)++;
	}
	(void)cmd_find(name, path);
	return c;
}

static int help_topic(char **argv, char *const *all)
{
	const char *path;

	if (!*argv) {
		help_program();
		return 0;
	}
	char **words = argv;
	const struct command *c = find(&argv, &path);
	if (!c && plugin_exec(*words, all))
		return 1;
	if (!c && cs_streq(*words, "help")) {
		printf("Usage:  caisson help [command]\n\nHelp about the command\n");
		return 0;
	}
	if (!c || *argv) {
		cs_autofree char *topic = cs_strv_join(c ? argv : words, " ");
		fprintf(stderr, "unknown help topic: %s\n", topic);
		return 1;
	}
	help_command(c, path);
	return 0;
}

/* With {"aliases": {"builder": NAME}} in config.json the plugin NAME does what builds: "build", "image build" and "builder" become "NAME build", "NAME build" and
 * "NAME"; docker knows no other alias. all and argv as below. False when there is no such alias or plugin; does not return otherwise. */
static bool builder_alias(char **argv, char *const *all)
{
	bool image = cs_streq(argv[0], "image") && cs_streq(argv[1], "build"), build = image || cs_streq(argv[0], "build");

	if (!build && !cs_streq(argv[0], "builder"))
		return false;
	const char *name = config_str2("aliases", "builder");
	if (!name)
		return false;
	cs_autostrv char **words = NULL;
	size_t before = cs_strv_len((char **)(uintptr_t)all) - cs_strv_len(argv);
	for (size_t i = 0; i < before; i++)
		cs_strv_push(&words, all[i]);
	cs_strv_push(&words, name);
	if (build)
		cs_strv_push(&words, "build");
	for (char **rest = argv + 1 + image; *rest; rest++)
		cs_strv_push(&words, *rest);
	return plugin_exec(name, words);
}

/* docker has no other alias than that, and does nothing while there is one in config.json that it does not know: what it stands for would be a guess. */
static int refuse_aliases(void)
{
	const char *key;
	json_t *v;

	json_object_foreach(json_object_get(config_root(), "aliases"), key, v)
	{
		const char *path;
		if (!cs_streq(key, "builder"))
			return cli_fail(1, "not allowed to alias \"%s\" (allowed: builder)", key);
		if (json_is_string(v) && cmd_find(json_string_value(v), &path))
			return cli_fail(1, "not allowed to alias with builtin \"%s\" as target", json_string_value(v));
	}
	return 0;
}

/* all: everything behind the program's name, argv: from the command on. */
static int dispatch(char **argv, char *const *all)
{
	const char *path;

	if (!*argv) {
		help_to_stderr();
		help_program();
		return 0;
	}
	if (cs_streq(*argv, "help"))
		return help_topic(argv + 1, all);
	int status = refuse_aliases();
	if (status)
		return status;
	if (builder_alias(argv, all))
		return 1;
	const struct command *c = find(&argv, &path);
	if (!c)
		return plugin_exec(*argv, all) ? 1 : unknown_command("", *argv);
	cs_autofree char *own = cs_xstrdup(path);
	return run_command(c, own, argv);
}

/* The program's own flags into `globals`; where the engine is. -1 to go on, else the exit status. */
static int program_flags(char **argv, struct call *c)
{
	int status = flags_parse(c, argv);

	const char *path;
	bool command = c->args && c->args[0] && cmd_find(c->args[0], &path);
	if (status == FLAGS_HELP) { /* "-h ps" is the help of ps */
		const struct command *found = command ? find(&c->args, &path) : NULL;
		if (found)
			help_command(found, path);
		else
			help_program();
		return 0;
	}
	if (status)
		return status;
	globals = *(struct global_opts *)c->opts;
	if (globals.version && !command) {
		printf("Caisson version " CAISSON_VERSION "\n");
		return 0;
	}
	globals.tlsverify_given = flag_given(c, &((struct global_opts *)c->opts)->tlsverify);
	static const char *const levels[] = {"panic", "fatal", "error", "warn", "warning", "info", "debug", "trace"};
	bool known = false;
	for (size_t i = 0; i < CS_ARRAY_SIZE(levels); i++)
		known |= strcasecmp(globals.log_level, levels[i]) == 0;
	if (!known)
		return cli_fail(1, "Unable to parse logging level: %s", globals.log_level);
	if (globals.context && globals.hosts)
		return cli_fail(1, "conflicting options: cannot specify both --host and --context");
	return -1;
}

/* A closed descriptor 0, 1 or 2 would become the first socket, which then gets what is meant for the user. */
static void fill_standard_descriptors(void)
{
	for (int fd = 0; fd < 3; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd) /* the lowest that is free: this one */
			exit(125);
}

int cli_main(char **argv)
{
	struct call c = {.cmd = &program, .path = ""};

	fill_standard_descriptors();
	cs_autostrv char **all = cs_strv_copy(argv + 1); /* the parser reorders argv */
	int status = program_flags(argv + 1, &c);

	if (status < 0)
		status = dispatch(c.args, all);
	if (fflush(stdout) || ferror(stdout)) {
		fprintf(stderr, "caisson: write to standard output: %s\n", cs_errno_text(errno));
		status = status ? status : 1;
	}
	flags_done(&c);
	return status;
}
