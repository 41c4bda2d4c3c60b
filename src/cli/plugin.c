/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/plugin.h"

#include <dirent.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/io.h"
#include "cli/cli.h"
#include "cli/config.h"
#include "cli/endpoint.h"

#define METADATA_MAX ((size_t)1 << 20)

extern char **environ;

/* Where plugins are, the first wins. Caller frees. */
static char **folders(void)
{
	static const char *const system[] = {"/usr/local/lib", "/usr/local/libexec", "/usr/lib", "/usr/libexec"};
	json_t *v;
	char **dirs = NULL;
	size_t i;

	json_array_foreach(json_object_get(config_root(), "cliPluginsExtraDirs"), i, v) if (json_is_string(v)) cs_strv_push(&dirs, json_string_value(v));
	cs_strv_take(&dirs, cs_xasprintf("%s/cli-plugins", config_dir()));
	for (i = 0; i < CS_ARRAY_SIZE(system); i++)
		cs_strv_take(&dirs, cs_xasprintf("%s/docker/cli-plugins", system[i]));
	return dirs;
}

/* Where `name` is: the first that can be run, else the first at all; NULL for none. Caller frees. */
static char *find(const char *name)
{
	cs_autostrv char **dirs = folders();
	cs_autofree char *first = NULL;
	struct stat st;

	for (char **d = dirs; *d; d++) {
		cs_autofree char *path = cs_xasprintf("%s/docker-%s", *d, name);
		if (lstat(path, &st) < 0 || !(S_ISREG(st.st_mode) || S_ISLNK(st.st_mode)))
			continue;
		if (stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0)
			return TAKE_PTR(path);
		if (!first)
			first = TAKE_PTR(path);
	}
	return TAKE_PTR(first);
}

/* What `path docker-cli-plugin-metadata` prints. 0, or -1 with *why (caller frees) in docker's words. */
static int ask(const char *path, struct cs_str *text, char **why)
{
	char *const argv[] = {(char *)(uintptr_t)path, (char[]){"docker-cli-plugin-metadata"}, NULL};
	posix_spawn_file_actions_t act;
	int pipes[2], status = -1;
	pid_t pid;

	if (pipe(pipes) < 0) {
		*why = cs_xasprintf("failed to fetch metadata: pipe: %s", cs_errno_text(errno));
		return -1;
	}
	cs_autofd int ours = pipes[0];
	(void)posix_spawn_file_actions_init(&act);
	(void)posix_spawn_file_actions_addopen(&act, 0, "/dev/null", 0, 0);
	(void)posix_spawn_file_actions_adddup2(&act, pipes[1], 1);
	(void)posix_spawn_file_actions_addclose(&act, pipes[0]);
	(void)posix_spawn_file_actions_addclose(&act, pipes[1]);
	(void)posix_spawn_file_actions_addopen(&act, 2, "/dev/null", 1, 0);
	int e = posix_spawn(&pid, path, &act, NULL, argv, environ);
	(void)posix_spawn_file_actions_destroy(&act);
	cs_close(pipes[1]);
	if (e) {
		cs_autofree char *said = cs_xstrdup(cs_errno_text(e));
		*said = (char)(*said | 0x20);
		*why = cs_xasprintf("failed to fetch metadata: fork/exec %s: %s", path, said);
		return -1;
	}
	int r = cs_read_fd(ours, text);
	cs_close(TAKE_FD(ours)); /* who has more to say than we take must not wait for us */
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
	}
	if (r == 0 && status == 0)
		return 0;
	*why = r < 0 ? cs_xasprintf("failed to fetch metadata: %s", cs_errno_text(-r)) :
	       WIFEXITED(status) ? cs_xasprintf("failed to fetch metadata: exit status %d", WEXITSTATUS(status)) : cs_xasprintf("failed to fetch metadata: signal: %d", WTERMSIG(status));
	return -1;
}

/* What a plugin tells of itself, as far as it does; *why (caller frees): what makes it none, or NULL. */
static json_t *metadata(const char *name, const char *path, char **why)
{
	cs_autostr struct cs_str text = CS_STR_INIT(METADATA_MAX);
	json_error_t e;

	*why = NULL;
	if (*name < 'a' || *name > 'z' || name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789")])
		*why = cs_xasprintf("plugin candidate \"%s\" did not match \"^[a-z][a-z0-9]*$\"", name);
	else if (cmd_find(name, NULL))
		*why = cs_xasprintf("plugin \"%s\" duplicates builtin command", name);
	if (*why || ask(path, &text, why) < 0)
		return NULL;
	json_t *j = json_loadb(text.buf ? text.buf : "", text.len, 0, &e);
	if (!json_is_object(j))
		*why = cs_xasprintf("invalid metadata: %s", j ? "not an object" : e.text);
	else if (!cs_prefix(jstr(j, "SchemaVersion"), "0."))
		*why = cs_xasprintf("plugin SchemaVersion \"%s\" is not valid, must be 0.1.0", jstr(j, "SchemaVersion"));
	else if (!*jstr(j, "Vendor"))
		*why = cs_xstrdup("plugin metadata does not define a vendor");
	return j;
}

bool plugin_exec(const char *name, char *const *args)
{
	cs_autofree char *path = find(name), *why = NULL;
	cs_autostrv char **argv = NULL;

	json_t *about = path ? metadata(name, path, &why) : NULL;
	json_decref(about);
	if (!path || why)
		return false;
	cs_strv_push(&argv, path);
	for (; *args; args++)
		cs_strv_push(&argv, *args);
	(void)setenv("DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND", "caisson", 1);
	/* Plugins know $DOCKER_HOST and docker's contexts, neither $CAISSON_HOST nor our socket. */
	const char *variable = endpoint_host_variable();
	if (!globals.hosts && cs_streq(endpoint_context(), "default") && !cs_streq(variable, "DOCKER_HOST")) {
		const struct endpoint *e = endpoint_get(NULL);
		if (e)
			(void)setenv("DOCKER_HOST", e->host, 1);
	}
	(void)execv(path, argv);
	fprintf(stderr, "caisson: run %s: %s\n", path, cs_errno_text(errno));
	return true;
}

void plugin_each(void (*fn)(void *ctx, const struct plugin *p), void *ctx)
{
	cs_autostrv char **dirs = folders(), **seen = NULL;

	for (char **d = dirs; *d; d++) {
		DIR *dir = opendir(*d);
		struct dirent *e;
		while (dir && (e = readdir(dir))) {
			const char *name = cs_prefix(e->d_name, "docker-");
			if (name && !cs_strv_has(seen, name))
				cs_strv_push(&seen, name);
		}
		if (dir)
			(void)closedir(dir);
	}
	cs_strv_sort(seen);
	for (char **name = seen; name && *name; name++) {
		cs_autofree char *path = find(*name), *why = NULL;
		if (!path)
			continue;
		json_t *j = metadata(*name, path, &why);
		fn(ctx, &(struct plugin){*name, path, why, j});
		json_decref(j);
	}
}
