/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/context.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/io.h"
#include "base/sha256.h"
#include "base/str.h"
#include "base/strv.h"
#include "cli/cli.h"
#include "cli/config.h"
#include "cli/endpoint.h"
#include "cli/sha256_lib.h"

#define META_MAX ((size_t)1 << 20)

char *context_dir(const char *name, bool tls, struct cs_err **err)
{
	char id[65];

	if (sha256_load(err) < 0) {
		(void)cs_wrap(err, "contexts need libnettle");
		return NULL;
	}
	cs_sha256_hex_of(name, strlen(name), id);
	return cs_xasprintf("%s/contexts/%s/%s", config_dir(), tls ? "tls" : "meta", id);
}

int context_check_name(const char *name, struct cs_err **err)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.+-";

	if (!*name)
		return cs_fail(err, CS_ERR_INVALID, 0, "context name cannot be empty");
	if (cs_streq(name, "default"))
		return cs_fail(err, CS_ERR_INVALID, 0, "\"default\" is a reserved context name");
	if (!name[1] || name[strspn(name, letters)] || strchr("_.+-", *name))
		return cs_fail(err, CS_ERR_INVALID, 0, "context name \"%s\" is invalid, names are validated against regexp \"^[a-zA-Z0-9][a-zA-Z0-9_.+-]+$\"", name);
	return 0;
}

static char *if_there(const char *dir, const char *file)
{
	char *path = cs_xasprintf("%s/docker/%s", dir, file);
	if (access(path, F_OK) == 0)
		return path;
	free(path);
	return NULL;
}

int context_load(const char *name, struct context *ret, struct cs_err **err)
{
	cs_autofree char *dir = context_dir(name, false, err), *tls = dir ? context_dir(name, true, err) : NULL;
	cs_autostr struct cs_str text = CS_STR_INIT(META_MAX);

	if (!tls)
		return -1;
	cs_autofree char *path = cs_xasprintf("%s/meta.json", dir);
	int e = cs_read_file_at(AT_FDCWD, path, &text);
	if (e == -ENOENT || e == -ENOTDIR)
		return cs_fail(err, CS_ERR_NOT_FOUND, 0, "context \"%s\": context not found: open %s: no such file or directory", name, path);
	json_t *meta = e == 0 ? json_loadb(text.buf ? text.buf : "", text.len, 0, NULL) : NULL;
	json_t *docker = json_object_get(json_object_get(meta, "Endpoints"), "docker");
	if (!json_is_object(docker)) {
		json_decref(meta);
		return cs_fail(err, CS_ERR_INVALID, e < 0 ? -e : 0, "context \"%s\": %s has no docker endpoint", name, path);
	}
	*ret = (struct context){.name = cs_xstrdup(name), .host = cs_xstrdup(jstr(docker, "Host")), .meta = meta,
				.skip_verify = json_is_true(json_object_get(docker, "SkipTLSVerify"))};
	ret->ca = if_there(tls, "ca.pem");
	ret->cert = if_there(tls, "cert.pem");
	ret->key = if_there(tls, "key.pem");
	return 0;
}

/* The document of the context that is made of the environment. */
static json_t *default_document(struct cs_err **err)
{
	const struct endpoint *e;
	struct global_opts saved = globals;

	globals.context = "default"; /* whatever is the current one */
	e = globals.hosts || endpoint_host_variable() ? NULL : endpoint_get(err);
	globals = saved;
	if (!e)
		e = endpoint_get(err);
	if (!e)
		return NULL;
	return json_pack("{s:s,s:{},s:{s:{s:s,s:b}}}", "Name", "default", "Metadata", "Endpoints", "docker", "Host", e->host, "SkipTLSVerify", e->tls && !e->verify);
}

int context_get(const char *name, struct context *c, struct cs_err **err)
{
	if (!cs_streq(name, "default"))
		return context_load(name, c, err);
	*c = (struct context){.name = cs_xstrdup(name), .meta = default_document(err)};
	if (!c->meta)
		return -1;
	c->host = cs_xstrdup(jstr(json_object_get(json_object_get(c->meta, "Endpoints"), "docker"), "Host"));
	return 0;
}

const char *const context_pem_files[3] = {"ca.pem", "cert.pem", "key.pem"};

json_t *context_files(const struct context *c)
{
	const char *const paths[] = {c->ca, c->cert, c->key};
	json_t *all, *list;

	if (!cs_streq(c->name, "default"))
		return context_tls_files(c->name);
	all = json_object();
	list = json_array();
	for (size_t i = 0; i < 3; i++)
		if (paths[i])
			(void)json_array_append_new(list, json_string(context_pem_files[i]));
	if (json_array_size(list))
		(void)json_object_set(all, "docker", list);
	json_decref(list);
	return all;
}

int context_read_tls(const struct context *c, const char *endpoint, const char *file, struct cs_str *text, struct cs_err **err)
{
	const char *const paths[] = {c->ca, c->cert, c->key};
	cs_autofree char *dir = cs_streq(c->name, "default") ? NULL : context_dir(c->name, true, err);
	cs_autofree char *path = dir ? cs_xasprintf("%s/%s/%s", dir, endpoint, file) : NULL;

	for (size_t i = 0; !dir && i < 3; i++)
		if (paths[i] && cs_streq(file, context_pem_files[i]))
			path = cs_xstrdup(paths[i]);
	int e = path ? cs_read_file_at(AT_FDCWD, path, text) : -ENOENT;
	return e < 0 ? cs_fail(err, CS_ERR_INTERNAL, -e, "read %s", path ? path : file) : 0;
}

void context_done(struct context *c)
{
	char *const all[] = {c->name, c->host, c->ca, c->cert, c->key};

	for (size_t i = 0; i < CS_ARRAY_SIZE(all); i++)
		free(all[i]);
	json_decref(c->meta);
	*c = (struct context){0};
}

bool context_exists(const char *name)
{
	cs_autofree char *dir = context_dir(name, false, NULL), *path = dir ? cs_xasprintf("%s/meta.json", dir) : NULL;
	return path && access(path, F_OK) == 0;
}

char **context_names(void)
{
	cs_autofree char *path = cs_xasprintf("%s/contexts/meta", config_dir());
	char **names = NULL;
	DIR *d = opendir(path);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		cs_autostr struct cs_str text = CS_STR_INIT(META_MAX);
		cs_autofree char *file = cs_xasprintf("%s/%s/meta.json", path, e->d_name);
		if (e->d_name[0] == '.' || cs_read_file_at(AT_FDCWD, file, &text) < 0)
			continue;
		json_t *j = json_loadb(text.buf ? text.buf : "", text.len, 0, NULL);
		if (*jstr(j, "Name"))
			cs_strv_push(&names, jstr(j, "Name"));
		json_decref(j);
	}
	if (d)
		(void)closedir(d);
	cs_strv_sort(names);
	return names;
}

static int write_file(const char *dir, const char *name, const char *data, size_t len, unsigned mode, unsigned dir_mode, struct cs_err **err)
{
	cs_autofree char *path = cs_xasprintf("%s/%s", dir, name);
	int e = cs_mkdir_p(AT_FDCWD, dir, dir_mode);

	if (e == 0)
		e = cs_replace_file_at(AT_FDCWD, path, data, len, mode, true);
	return e < 0 ? cs_fail(err, CS_ERR_INTERNAL, -e, "write %s", path) : 0;
}

int context_save(const char *name, json_t *meta, struct cs_err **err)
{
	cs_autofree char *dir = context_dir(name, false, err);

	if (!dir)
		return -1;
	(void)json_object_set_new(meta, "Name", json_string(name));
	cs_autofree char *text = json_dumps(meta, JSON_COMPACT);
	if (!text)
		return cs_fail(err, CS_ERR_INVALID, 0, "context \"%s\": text that is not UTF-8", name);
	return write_file(dir, "meta.json", text, strlen(text), 0644, 0755, err);
}

/* The folders, or the other files, in a folder: their names, sorted. */
static char **entries(const char *path, bool folders)
{
	char **names = NULL;
	DIR *d = opendir(path);
	struct dirent *e;
	struct stat st;

	while (d && (e = readdir(d)))
		if (!cs_streq(e->d_name, ".") && !cs_streq(e->d_name, "..") && fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    (bool)S_ISDIR(st.st_mode) == folders)
			cs_strv_push(&names, e->d_name);
	if (d)
		(void)closedir(d);
	cs_strv_sort(names);
	return names;
}

json_t *context_tls_files(const char *name)
{
	cs_autofree char *tls = context_dir(name, true, NULL);
	cs_autostrv char **endpoints = tls ? entries(tls, true) : NULL;
	json_t *all = json_object();

	for (char **e = endpoints; e && *e; e++) {
		cs_autofree char *dir = cs_xasprintf("%s/%s", tls, *e);
		cs_autostrv char **files = entries(dir, false);
		json_t *list = json_array();
		for (char **f = files; f && *f; f++)
			(void)json_array_append_new(list, json_string(*f));
		(void)json_object_set(all, *e, json_array_size(list) ? list : json_null());
		json_decref(list);
	}
	return all;
}

int context_put_tls(const char *name, const char *endpoint, const char *file, const char *data, size_t len, struct cs_err **err)
{
	cs_autofree char *tls = context_dir(name, true, err), *dir = tls ? cs_xasprintf("%s/%s", tls, endpoint) : NULL;

	return dir ? write_file(dir, file, data, len, 0600, 0700, err) : -1;
}

static int remove_tree(const char *path, struct cs_err **err)
{
	int e = cs_remove_tree_at(AT_FDCWD, path);
	return e < 0 ? cs_fail(err, CS_ERR_INTERNAL, -e, "remove %s", path) : 0;
}

int context_remove_tls(const char *name, const char *endpoint, struct cs_err **err)
{
	cs_autofree char *tls = context_dir(name, true, err), *dir = tls ? cs_xasprintf("%s/%s", tls, endpoint) : NULL;

	return dir ? remove_tree(dir, err) : -1;
}

int context_remove(const char *name, struct cs_err **err)
{
	for (int tls = 0; tls < 2; tls++) {
		cs_autofree char *dir = context_dir(name, tls, err);
		if (!dir || remove_tree(dir, err) < 0)
			return -1;
	}
	return 0;
}

int context_said(const char *name, const char *what)
{
	printf("%s\n", name);
	(void)fflush(stdout);
	fprintf(stderr, "Successfully %s context \"%s\"\n", what, name);
	return 0;
}
