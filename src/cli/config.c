/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/config.h"

#include <ctype.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

#include "base/io.h"
#include "base/str.h"
#include "base/strv.h"
#include "cli/cli.h"

#define CONFIG_MAX ((size_t)8 << 20)

static json_t *root;
static bool unread; /* there is something that we could not read */

const char *config_dir(void)
{
	static char *dir;
	const char *env = getenv("DOCKER_CONFIG"), *home = getenv("HOME");

	if (!dir) {
		if (!cs_empty(globals.config))
			dir = cs_xstrdup(globals.config);
		else if (!cs_empty(env))
			dir = cs_xstrdup(env);
		else
			dir = cs_xasprintf("%s/.docker", home ? home : "");
	}
	return dir;
}

json_t *config_parse(const char *text, size_t len, const char **why)
{
	static json_error_t e;
	json_t *j = json_loadb(text, len, 0, &e);

	if (json_is_object(j))
		return j;
	*why = j ? "not a JSON object" : e.text;
	json_decref(j);
	return NULL;
}

/* shape: s is a string, [ a list and { an object of what follows. null is nothing, as for Go. */
static bool has_shape(json_t *j, const char *shape)
{
	const char *key;
	json_t *v;
	size_t i;

	if (json_is_null(j))
		return true;
	if (*shape == 's')
		return json_is_string(j);
	if (*shape == '[' ? !json_is_array(j) : !json_is_object(j))
		return false;
	json_array_foreach(j, i, v) if (!has_shape(v, shape + 1)) return false;
	json_object_foreach(j, key, v) if (shape[1] && !has_shape(v, shape + 1)) return false;
	return true;
}

/* What we read and cannot use is said, as docker says it: it would seem to be ignored otherwise. */
static void check_types(const char *path)
{
	static const struct {
		const char *key, *shape, *words;
	} known[] = {{"auths", "{{", "an object of objects"}, {"HttpHeaders", "{s", "an object of strings"}, {"credHelpers", "{s", "an object of strings"}, {"aliases", "{s", "an object of strings"},
		     {"proxies", "{{s", "an object of objects of strings"}, {"plugins", "{{s", "an object of objects of strings"}, {"cliPluginsExtraDirs", "[s", "a list of strings"},
		     {"pruneFilters", "[s", "a list of strings"}, {"credsStore", "s", "a string"}, {"currentContext", "s", "a string"}, {"detachKeys", "s", "a string"}};
	const char *key;
	json_t *v;

	json_object_foreach(root, key, v)
	{
		size_t i = 0, n = strlen(key);
		while (i < CS_ARRAY_SIZE(known) && strcmp(known[i].key, key) != 0)
			i++;
		bool is_format = n > 6 && strcmp(key + n - 6, "Format") == 0;
		if (i < CS_ARRAY_SIZE(known) ? !has_shape(v, known[i].shape) : is_format && !has_shape(v, "s"))
			fprintf(stderr, "WARNING: Error parsing config file (%s): %s is not %s\n", path, key, is_format ? "a string" : known[i].words);
	}
}

json_t *config_root(void)
{
	if (root)
		return root;
	cs_autofree char *path = cs_xasprintf("%s/config.json", config_dir());
	cs_autostr struct cs_str text = CS_STR_INIT(CONFIG_MAX);
	const char *why = NULL;
	int e = cs_read_file_at(AT_FDCWD, path, &text);
	if (e == 0 && text.len)
		root = config_parse(text.buf, text.len, &why);
	else if (e < 0 && e != -ENOENT) {
		cs_autofree char *said = cs_xstrdup(cs_errno_text(-e));
		*said = (char)tolower((unsigned char)*said);
		fprintf(stderr, "WARNING: Error loading config file: open %s: %s\n", path, said);
	}
	if (why)
		fprintf(stderr, "WARNING: Error parsing config file (%s): %s\n", path, why);
	unread = why || (e < 0 && e != -ENOENT);
	if (!root)
		root = json_object();
	check_types(path);
	return root;
}

const char *config_str(const char *key)
{
	const char *s = json_string_value(json_object_get(config_root(), key));
	return cs_empty(s) ? NULL : s;
}

const char *config_str2(const char *section, const char *key)
{
	const char *s = json_string_value(json_object_get(json_object_get(config_root(), section), key));
	return cs_empty(s) ? NULL : s;
}

/* jansson indents with blanks, one per level here; docker with tabs. */
static void indent_with_tabs(char *text)
{
	for (char *p = text; *p; p += strcspn(p, "\n"), p += *p == '\n')
		for (char *q = p; *q == ' '; q++)
			*q = '\t';
}

int config_save(struct cs_err **err)
{
	cs_autofree char *path = cs_xasprintf("%s/config.json", config_dir());
	char real[PATH_MAX];
	struct stat st;

	(void)config_root();
	if (unread)
		return cs_fail(err, CS_ERR_CONFLICT, 0, "write %s: what is in it cannot be read, and would be lost; put it right, or move it away", path);
	if (!json_object_get(root, "auths"))
		(void)json_object_set_new(root, "auths", json_object()); /* docker always has it */
	cs_autofree char *text = json_dumps(root, JSON_INDENT(1));
	if (!text)
		return cs_fail(err, CS_ERR_INTERNAL, 0, "write %s: text that is not UTF-8", path);
	indent_with_tabs(text);
	int e = cs_mkdir_p(AT_FDCWD, config_dir(), 0700);
	if (e < 0)
		return cs_fail(err, CS_ERR_INTERNAL, -e, "make %s", config_dir());
	bool is_there = stat(path, &st) == 0;
	const char *target = realpath(path, real) ? real : path;
	e = cs_replace_file_at(AT_FDCWD, target, text, strlen(text), 0600, true);
	if (e == 0 && is_there && ((st.st_mode & 07777) != 0600 && chmod(target, st.st_mode & 07777) < 0))
		e = -errno;
	if (e == 0 && is_there && st.st_uid != geteuid() && chown(target, st.st_uid, st.st_gid) < 0)
		e = -errno;
	return e < 0 ? cs_fail(err, CS_ERR_INTERNAL, -e, "write %s", target) : 0;
}

static bool has_variable(char *const *env, const char *name)
{
	size_t n = strlen(name);

	for (; env && *env; env++)
		if (strncmp(*env, name, n) == 0 && ((*env)[n] == '=' || !(*env)[n]))
			return true;
	return false;
}

void config_proxy_env(const char *engine_host, char ***env)
{
	static const char *const names[][2] = {{"httpProxy", "HTTP_PROXY"}, {"httpsProxy", "HTTPS_PROXY"}, {"ftpProxy", "FTP_PROXY"},
					       {"noProxy", "NO_PROXY"}, {"allProxy", "ALL_PROXY"}};
	json_t *all = json_object_get(config_root(), "proxies");
	json_t *mine = json_object_get(all, engine_host);

	if (!mine)
		mine = json_object_get(all, "default");
	for (size_t i = 0; i < CS_ARRAY_SIZE(names); i++) {
		const char *value = jstr(mine, names[i][0]);
		char lower[16];
		size_t n = 0;
		if (!*value)
			continue;
		for (; names[i][1][n]; n++)
			lower[n] = (char)tolower((unsigned char)names[i][1][n]);
		lower[n] = 0;
		if (!has_variable(*env, names[i][1]))
			cs_strv_take(env, cs_xasprintf("%s=%s", names[i][1], value));
		if (!has_variable(*env, lower))
			cs_strv_take(env, cs_xasprintf("%s=%s", lower, value));
	}
}
