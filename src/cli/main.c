/* SPDX-License-Identifier: Apache-2.0
 *
 * caisson: the client. Finds the command in the tables of the command groups and runs it. */
#include "cli/cli.h"

static const struct command *const groups[] = {run_commands, container_commands, image_commands, transfer_commands, volume_commands, system_commands};
static const char *const group_titles[] = {"Running containers", "Managing containers", "Images", "Moving images", "Volumes", "System"};

int cli_error(struct cs_err *err, int status)
{
	cs_autofree char *text = cs_err_text(err);
	(void)fflush(stdout);
	bool from_engine = err && err->code != CS_ERR_UNAVAILABLE && !err->sys && !err->cause;
	fprintf(stderr, "%s%s\n", from_engine ? "Error response from daemon: " : "caisson: ", text);
	cs_err_free(err);
	return status;
}

bool cli_confirm(const char *what)
{
	printf("WARNING! This will remove %s.\nAre you sure you want to continue? [y/N] ", what);
	(void)fflush(stdout);
	int c = getchar();
	return c == 'y' || c == 'Y';
}

int cli_usage(const char *cmd, const char *text)
{
	fprintf(stderr, "caisson %s: %s\nSee 'caisson %s --help'.\n", cmd, text, cmd);
	return 125;
}

static int help(FILE *out)
{
	fprintf(out, "Usage:  caisson [-H HOST] COMMAND [ARG...]\n\nA client for the Caisson container engine; also speaks to any engine with Docker's API.\n");
	for (size_t g = 0; g < CS_ARRAY_SIZE(groups); g++) {
		fprintf(out, "\n%s:\n", group_titles[g]);
		for (const struct command *c = groups[g]; c->name; c++)
			fprintf(out, "  %-12s %s\n", c->name, c->help);
	}
	fprintf(out, "\nGlobal options:\n  -H, --host   engine to talk to: unix:///path or tcp://host:port\n"
		     "               (default $CAISSON_HOST, $DOCKER_HOST, unix:///run/caisson.sock)\n"
		     "\nRun 'caisson COMMAND --help' for a command's options.\n");
	return out == stderr ? 125 : 0;
}

/* The table entry for argv[0], or for argv[0] argv[1] of a management command ("container ls", "system df"). */
static const struct command *find(char ***argv)
{
	static const char *const management[] = {"container", "image", "system", "volume"};
	static const char *const aliases[][2] = {{"container ls", "ps"}, {"container list", "ps"}, {"image ls", "images"}, {"image rm", "rmi"},
						 {"image list", "images"}, {"system info", "info"}, {"system events", "events"},
						 {"volume list", "volume ls"}, {"volume remove", "volume rm"}};
	char **v = *argv;
	cs_autofree char *two = v[1] ? cs_xasprintf("%s %s", v[0], v[1]) : NULL;
	const char *name = v[0];
	bool pair = false;

	for (size_t i = 0; two && i < CS_ARRAY_SIZE(aliases); i++)
		if (cs_streq(two, aliases[i][0])) {
			name = aliases[i][1];
			pair = true;
		}
	for (size_t i = 0; !pair && v[1] && i < CS_ARRAY_SIZE(management); i++)
		if (cs_streq(v[0], management[i])) {
			name = i >= 2 ? two : v[1];
			pair = true;
		}
	for (size_t g = 0; g < CS_ARRAY_SIZE(groups); g++)
		for (const struct command *c = groups[g]; c->name; c++)
			if (cs_streq(c->name, name)) {
				*argv = v + pair;
				return c;
			}
	return NULL;
}

int main(int argc, char **argv)
{
	const char *env = getenv("CAISSON_HOST");

	if (cs_empty(env))
		env = getenv("DOCKER_HOST");
	if (!cs_empty(env))
		client_host = env;
	for (argv++; *argv && **argv == '-'; argv++) {
		const char *val;
		if (cs_streq(*argv, "-H") || cs_streq(*argv, "--host")) {
			if (!*++argv)
				return cli_usage("", "flag needs an argument: --host");
			client_host = *argv;
		} else if ((val = cs_prefix(*argv, "--host=")) || (val = cs_prefix(*argv, "-H"))) {
			client_host = val;
		} else if (cs_streq(*argv, "--help") || cs_streq(*argv, "-h")) {
			return help(stdout);
		} else if (cs_streq(*argv, "--version") || cs_streq(*argv, "-v")) {
			printf("Caisson version " CAISSON_VERSION "\n");
			return 0;
		} else {
			fprintf(stderr, "caisson: unknown flag: %s\n", *argv);
			return help(stderr);
		}
	}
	if (!*argv)
		return help(stderr);
	if (cs_streq(*argv, "help"))
		return help(stdout);
	const struct command *c = find(&argv);
	if (!c) {
		fprintf(stderr, "caisson: '%s' is not a caisson command.\nSee 'caisson --help'.\n", *argv);
		return 1;
	}
	int status = c->run(argv);
	if (fflush(stdout) || ferror(stdout)) {
		fprintf(stderr, "caisson: write to standard output: %s\n", cs_errno_text(errno));
		return status ? status : 1;
	}
	return status;
}
