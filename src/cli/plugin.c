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

/* A name that may stand in a plugin's file name: no way out of the folder. */
static bool is_plugin_name(const char *s) { return *s >= 'a' && *s <= 'z' && !s[strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-_")]; }

static char *find(const char *name)
{
	cs_autostrv char **dirs = folders();
	struct stat st;

	if (!is_plugin_name(name))
		return NULL;
	for (char **d = dirs; *d; d++) {
		cs_autofree char *path = cs_xasprintf("%s/docker-%s", *d, name);
		if (stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0)
			return TAKE_PTR(path);
	}
	return NULL;
}

bool plugin_exec(const char *name, char *const *args)
{
	cs_autofree char *path = find(name);
	cs_autostrv char **argv = NULL;

	if (!path)
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

/* What `path docker-cli-plugin-metadata` prints, as JSON; NULL if that is nothing. */
static json_t *metadata(const char *path)
{
	char *const argv[] = {(char *)(uintptr_t)path, (char[]){"docker-cli-plugin-metadata"}, NULL};
	cs_autostr struct cs_str text = CS_STR_INIT(METADATA_MAX);
	posix_spawn_file_actions_t act;
	int pipes[2], status = -1;
	pid_t pid;

	if (pipe(pipes) < 0)
		return NULL;
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
	if (e)
		return NULL;
	int r = cs_read_fd(ours, &text);
	cs_close(TAKE_FD(ours)); /* who has more to say than we take must not wait for us */
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
	}
	json_t *j = r == 0 && status == 0 ? json_loadb(text.buf ? text.buf : "", text.len, 0, NULL) : NULL;
	if (j && !cs_prefix(jstr(j, "SchemaVersion"), "0.")) {
		json_decref(j);
		return NULL;
	}
	return j;
}

static int by_name(const void *a, const void *b)
{
	const char *const *x = a, *const *y = b;
	return strcmp(*x, *y);
}

void plugin_each(void (*fn)(void *ctx, const char *name, const char *path, const json_t *metadata), void *ctx)
{
	cs_autostrv char **dirs = folders(), **seen = NULL;

	for (char **d = dirs; *d; d++) {
		DIR *dir = opendir(*d);
		struct dirent *e;
		while (dir && (e = readdir(dir))) {
			const char *name = cs_prefix(e->d_name, "docker-");
			if (name && is_plugin_name(name) && !cs_strv_has(seen, name))
				cs_strv_push(&seen, name);
		}
		if (dir)
			(void)closedir(dir);
	}
	if (seen)
		qsort(seen, cs_strv_len(seen), sizeof(seen[0]), by_name);
	for (char **name = seen; name && *name; name++) {
		cs_autofree char *path = find(*name);
		json_t *j = path ? metadata(path) : NULL;
		if (j)
			fn(ctx, *name, path, j);
		json_decref(j);
	}
}
