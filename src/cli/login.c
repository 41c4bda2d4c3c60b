/* SPDX-License-Identifier: Apache-2.0
 *
 * caisson login, logout. The engine tries the credentials; config.json or a helper program keeps them. */
#include <signal.h>
#include <sys/stat.h>
#include <termios.h>

#include "base/io.h"
#include "cli/auth.h"
#include "cli/cli.h"
#include "cli/config.h"
#include "cli/signals.h"

#define SECRET_MAX ((size_t)1 << 20)

struct login_opts {
	bool password_stdin;
	const char *password, *username;
};
static const struct flag login_flags[] = {
	FLAG(struct login_opts, password, "password", 'p', "Password or Personal Access Token (PAT)"),
	FLAG(struct login_opts, password_stdin, "password-stdin", 0, "Take the Password or Personal Access Token (PAT) from stdin"),
	FLAG(struct login_opts, username, "username", 'u', "Username"),
	FLAG_END,
};

static struct termios saved; /* while the terminal does not echo */

/* Whatever ends us meanwhile leaves the terminal as it was. All of it is async-signal-safe. */
static void leave(int sig)
{
	(void)tcsetattr(0, TCSANOW, &saved);
	signals_die(sig);
}

static void on_end(void (*handler)(int))
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
	struct sigaction was, act = {.sa_handler = handler};

	sigemptyset(&act.sa_mask);
	for (size_t i = 0; i < CS_ARRAY_SIZE(signals); i++)
		if (sigaction(signals[i], NULL, &was) == 0 && was.sa_handler != SIG_IGN)
			(void)sigaction(signals[i], &act, NULL);
}

/* A line from standard input, with echo off for secrets. NULL at its end. */
static char *ask(const char *question, bool secret)
{
	struct termios quiet;
	char *line = NULL;
	size_t cap = 0;

	bool off = secret && tcgetattr(0, &saved) == 0;
	if (off) { /* before it asks: who answers at once would be seen */
		quiet = saved;
		quiet.c_lflag &= ~(tcflag_t)ECHO;
		on_end(leave);
		off = tcsetattr(0, TCSAFLUSH, &quiet) == 0;
	}
	fprintf(stderr, "%s", question);
	ssize_t n = getline(&line, &cap, stdin);
	if (off) {
		(void)tcsetattr(0, TCSAFLUSH, &saved);
		on_end(SIG_DFL);
		fprintf(stderr, "\n");
	}
	if (n < 0) {
		free(line);
		return NULL;
	}
	while (n && (line[n - 1] == '\n' || line[n - 1] == '\r'))
		line[--n] = 0;
	return line;
}

static int password_from_stdin(struct auth *a)
{
	struct cs_str text = CS_STR_INIT(SECRET_MAX);

	int e = cs_read_fd(0, &text);
	if (e < 0) {
		cs_str_done(&text);
		return cli_fail(1, "read the password from standard input: %s", cs_errno_text(-e));
	}
	while (text.len && (text.buf[text.len - 1] == '\n' || text.buf[text.len - 1] == '\r'))
		text.buf[--text.len] = 0;
	a->password = text.len ? cs_str_steal(&text) : NULL; /* an empty one is none: it is asked for */
	if (!a->password)
		cs_str_done(&text);
	return 0;
}

/* POST /auth. An identity token takes the password's place. -1 with an error. */
static int try_out(const char *server, struct auth *a, char **said, struct cs_err **err)
{
	json_t *body = json_pack("{s:s*,s:s*,s:s*,s:s}", "username", a->user, "password", a->password, "identitytoken", a->identity_token, "serveraddress", server), *j = NULL;
	int r = client_json("POST", "/auth", body, &j, err);

	json_decref(body);
	if (r < 0)
		return -1;
	*said = cs_xstrdup(*jstr(j, "Status") ? jstr(j, "Status") : "Login Succeeded");
	if (*jstr(j, "IdentityToken")) {
		if (a->password)
			explicit_bzero(a->password, strlen(a->password));
		free(a->password);
		free(a->identity_token);
		a->password = NULL;
		a->identity_token = cs_xstrdup(jstr(j, "IdentityToken"));
	}
	json_decref(j);
	return 0;
}

/* What is still missing, from the terminal. 0, or the exit status after a message. */
static int complete(struct auth *a, const char *known_user)
{
	if (!isatty(0))
		return cli_fail(1, "Error: Cannot perform an interactive login from a non TTY device");
	if (!a->user) {
		cs_autofree char *question = known_user ? cs_xasprintf("Username (%s): ", known_user) : cs_xstrdup("Username: ");
		a->user = ask(question, false);
		if (a->user && !*a->user && known_user) {
			free(a->user);
			a->user = cs_xstrdup(known_user);
		}
	}
	if (cs_empty(a->user))
		return cli_fail(1, "Error: Non-null Username Required");
	if (!a->password)
		a->password = ask("Password: ", true);
	return cs_empty(a->password) ? cli_fail(1, "Error: Password Required") : 0;
}

static int keep(const char *server, const struct auth *a, const char *said)
{
	struct cs_err *err = NULL;
	bool plain;

	if (auth_store(server, a, &plain, &err) < 0) {
		cs_wrap(&err, "Error saving credentials");
		return cli_error(err, 1);
	}
	if (plain)
		fprintf(stderr, "\nWARNING! Your credentials are stored unencrypted in '%s/config.json'.\nConfigure a credential helper to remove this warning. See\n"
				"https://docs.docker.com/go/credential-store/\n\n", config_dir());
	printf("%s\n", said);
	return 0;
}

static int cmd_login(struct call *c)
{
	const struct login_opts *o = c->opts;
	cs_autofree char *server = auth_server(c->args[0]), *said = NULL;
	auto_auth struct auth a = {0}, stored = {0};
	struct cs_err *err = NULL;
	int status = 0;

	if (o->password && o->password_stdin)
		return cli_fail(1, "conflicting options: cannot specify both --password and --password-stdin");
	if (o->password)
		fprintf(stderr, "WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n");
	if (flag_given(c, &o->username) && cs_empty(o->username))
		return cli_fail(1, "username is empty");
	if (o->password_stdin && !o->username)
		return cli_fail(1, "the --password-stdin option requires --username to be set");
	if (o->password_stdin && (status = password_from_stdin(&a)))
		return status;
	a.user = cs_xstrdup(o->username);
	if (o->password)
		a.password = cs_xstrdup(o->password);
	if (auth_get(server, &stored, &err) < 0) {
		cs_err_free(err);
		err = NULL;
	}
	if (!o->username && !a.password && ((stored.user && stored.password) || stored.identity_token)) {
		fprintf(stderr, "Authenticating with existing credentials...%s%s%s\n\n Info -> To login with a different account, run 'caisson logout' followed by 'caisson login'\n\n\n",
			stored.user ? " [Username: " : "", stored.user ? stored.user : "", stored.user ? "]" : "");
		if (try_out(server, &stored, &said, &err) == 0)
			return keep(server, &stored, said);
		cs_autofree char *why = cs_err_text(err);
		bool refused = err->code == CS_ERR_UNAUTHORIZED;
		if (!refused)
			return cli_error(err, 1);
		cs_err_free(err);
		err = NULL;
		fprintf(stderr, "Login did not succeed, error: %s\n", why);
	}
	if ((!a.user || !a.password) && (status = complete(&a, stored.user)))
		return status;
	if (try_out(server, &a, &said, &err) < 0)
		return cli_error(err, 1);
	return keep(server, &a, said);
}

static int cmd_logout(struct call *c)
{
	cs_autofree char *server = auth_server(c->args[0]);
	struct cs_err *err = NULL;

	printf("Removing login credentials for %s\n", server);
	if (auth_erase(server, &err) < 0) { /* no failure, as for docker */
		cs_autofree char *why = cs_err_text(err);
		cs_err_free(err);
		fprintf(stderr, "WARNING: could not erase credentials:\n%s: error erasing credentials - %s\n", server, why);
	}
	return 0;
}

const struct command login_commands[] = {
	{.names = "login", .usage = "[OPTIONS] [SERVER]", .help = "Authenticate to a registry", .about = "Authenticate to a registry.\nDefaults to Docker Hub if no server is specified.",
	 .min = 0, .max = 1, CMD_OPTS(struct login_opts, login_flags), .run = cmd_login},
	{.names = "logout", .usage = "[SERVER]", .help = "Log out from a registry", .about = "Log out from a registry.\nIf no server is specified, the default is defined by the daemon.",
	 .min = 0, .max = 1, .run = cmd_logout},
	CMD_END,
};
