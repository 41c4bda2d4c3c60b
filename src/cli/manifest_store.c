/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/manifest_store.h"

#include <dirent.h>
#include <fcntl.h>

#include "base/io.h"
#include "base/json.h"
#include "base/str.h"
#include "base/strv.h"
#include "cli/cli.h"
#include "cli/config.h"

#define FILE_MAX ((size_t)32 << 20)

/* A full name as docker makes a file name of it: no colons, no slashes. Caller frees. */
static char *file_name(const struct cs_ref *ref)
{
	char *name = cs_ref_full(ref);

	for (char *p = name; *p; p++)
		*p = *p == ':' ? '-' : *p == '/' ? '_' : *p;
	return name;
}

static char *folder_of(const struct cs_ref *list)
{
	cs_autofree char *name = file_name(list);
	return cs_xasprintf("%s/manifests/%s", config_dir(), name);
}

/* *ret NULL: there is no such file */
static int load(const char *path, json_t **ret, struct cs_err **err)
{
	cs_autostr struct cs_str text = CS_STR_INIT(FILE_MAX);
	int e = cs_read_file_at(AT_FDCWD, path, &text);
	json_error_t why;

	*ret = NULL;
	if (e == -ENOENT)
		return 0;
	if (e < 0)
		return cs_fail(err, CS_ERR_INTERNAL, -e, "read %s", path);
	json_t *j = json_loadb(text.buf ? text.buf : "", text.len, 0, &why);
	const json_t *descriptor = json_object_get(j, "Descriptor");
	if (!j || !*jstr(j, "Ref") || !*jstr(descriptor, "digest")) {
		int r = j ? cs_fail(err, CS_ERR_INVALID, 0, "%s is not an image of a manifest list", path) : cs_fail(err, CS_ERR_INVALID, 0, "%s: line %d: %s", path, why.line, why.text);
		json_decref(j);
		return r;
	}
	*ret = j;
	return 0;
}

int manifest_store_get(const struct cs_ref *list, const struct cs_ref *image, json_t **ret, struct cs_err **err)
{
	cs_autofree char *folder = folder_of(list), *name = file_name(image), *path = cs_xasprintf("%s/%s", folder, name);
	return load(path, ret, err);
}

int manifest_store_list(const struct cs_ref *list, json_t **ret, struct cs_err **err)
{
	cs_autofree char *folder = folder_of(list);
	cs_autostrv char **names = NULL;
	DIR *dir = opendir(folder);

	*ret = NULL;
	if (!dir && errno == ENOENT)
		return 0;
	if (!dir)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "open %s", folder);
	for (struct dirent *e; (e = readdir(dir));)
		if (!cs_streq(e->d_name, ".") && !cs_streq(e->d_name, ".."))
			cs_strv_push(&names, e->d_name);
	(void)closedir(dir);
	cs_strv_sort(names);
	cs_autojson json_t *all = json_array();
	for (char **n = names; n && *n; n++) {
		cs_autofree char *path = cs_xasprintf("%s/%s", folder, *n);
		json_t *j;
		if (load(path, &j, err) < 0)
			return -1;
		if (j)
			(void)json_array_append_new(all, j);
	}
	*ret = TAKE_PTR(all);
	return 0;
}

int manifest_store_put(const struct cs_ref *list, const struct cs_ref *image, const json_t *j, struct cs_err **err)
{
	cs_autofree char *folder = folder_of(list), *name = file_name(image), *path = cs_xasprintf("%s/%s", folder, name), *text = json_text(j, 0);
	int e = cs_mkdir_p(AT_FDCWD, folder, 0755);

	if (e == 0)
		e = cs_replace_file_at(AT_FDCWD, path, text, strlen(text), 0644, false);
	return e < 0 ? cs_fail(err, CS_ERR_INTERNAL, -e, "write %s", path) : 0;
}

int manifest_store_remove(const struct cs_ref *list, struct cs_err **err)
{
	cs_autofree char *folder = folder_of(list);
	int e = cs_remove_tree_at(AT_FDCWD, folder);

	return e < 0 ? cs_fail(err, CS_ERR_INTERNAL, -e, "remove %s", folder) : 0;
}
