/* SPDX-License-Identifier: Apache-2.0
 *
 * Documents and results of host compute storage. */
#include <jansson.h>

#include "base/io.h"
#include "storage/hcs_layer.h"

#define MAX_LAYERS 1000
#define MAX_DOCUMENT (4u << 20)

HRESULT cs_hcs_errno(int sys)
{
	switch (sys) {
	case 0: return HCS_S_OK;
	case ENOENT:
	case ENOTDIR: return HCS_E_PATH_NOT_FOUND;
	case EEXIST:
	case ENOTEMPTY: return HCS_E_ALREADY_EXISTS;
	case ENOSPC:
	case EDQUOT: return HCS_E_DISK_FULL;
	case EACCES:
	case EPERM: return HCS_E_ACCESS_DENIED;
	case EBUSY: return HCS_E_INVALID_STATE;
	case EINVAL: return HCS_E_INVALIDARG;
	case ENOMEM: return HCS_E_OUTOFMEMORY;
	default: return HCS_E_FAIL;
	}
}

HRESULT cs_hcs_result(struct cs_err *e)
{
	enum cs_code code = cs_err_code(e);
	const struct cs_err *inner = e;

	while (inner && inner->cause)
		inner = inner->cause;
	HRESULT r = code == CS_ERR_INVALID ? HCS_E_INVALID_LAYER : code == CS_ERR_NO_SPACE ? HCS_E_DISK_FULL : inner && inner->sys ? cs_hcs_errno(inner->sys) : HCS_E_FAIL;
	cs_err_free(e);
	return r;
}

void cs_hcs_layers_done(struct cs_hcs_layers *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->paths[i]);
	free(l->paths);
	*l = (struct cs_hcs_layers){0};
}

static bool only(const json_t *o, const char *const *names)
{
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)(uintptr_t)o, key, v)
	{
		size_t i = 0;
		while (names[i] && strcmp(names[i], key) != 0)
			i++;
		if (!names[i])
			return false;
	}
	return true;
}

static json_t *parse(const char *text)
{
	size_t len = strnlen(text, MAX_DOCUMENT + 1);

	return len > MAX_DOCUMENT ? NULL : json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
}

static bool version_fits(const json_t *v)
{
	static const char *const names[] = {"Major", "Minor", NULL};
	const json_t *major = json_object_get(v, "Major"), *minor = json_object_get(v, "Minor");

	return json_is_object(v) && only(v, names) && json_is_integer(major) && json_integer_value(major) == 2 && (!minor || json_is_integer(minor));
}

static HRESULT take_layers(const json_t *a, struct cs_hcs_layers *ret)
{
	static const char *const names[] = {"Id", "Path", NULL};
	const json_t *v;
	size_t i;

	if (a && !json_is_array(a))
		return HCS_E_INVALID_JSON;
	if (json_array_size(a) > MAX_LAYERS)
		return HCS_E_INVALID_LAYER;
	ret->paths = cs_xcalloc(json_array_size(a) + 1, sizeof(*ret->paths));
	json_array_foreach(a, i, v)
	{
		const char *path = json_string_value(json_object_get(v, "Path"));
		const json_t *id = json_object_get(v, "Id");
		if (!json_is_object(v) || !only(v, names) || !path || (id && !json_is_string(id)))
			return HCS_E_INVALID_JSON;
		if (*path != '/')
			return HCS_E_INVALID_LAYER;
		ret->paths[ret->n++] = cs_xstrdup(path);
	}
	return HCS_S_OK;
}

HRESULT cs_hcs_layers_parse(const char *data, bool filter, struct cs_hcs_layers *ret)
{
	static const char *const names[] = {"SchemaVersion", "Layers", "FilterType", NULL};
	struct cs_hcs_layers l = {0};
	json_t *j = data ? parse(data) : NULL;
	const json_t *type = json_object_get(j, "FilterType");
	const char *text = json_string_value(type);
	HRESULT r = HCS_S_OK;

	if (!data)
		return HCS_E_INVALIDARG;
	if (!json_is_object(j) || !only(j, names) || !version_fits(json_object_get(j, "SchemaVersion")) ||
	    (type && (!filter || !text || (strcmp(text, "UnionFS") != 0 && strcmp(text, "WCIFS") != 0))))
		r = HCS_E_INVALID_JSON;
	else
		r = take_layers(json_object_get(j, "Layers"), &l);
	l.wcifs = text && strcmp(text, "WCIFS") == 0;
	json_decref(j);
	if (r == HCS_S_OK)
		*ret = l;
	else
		cs_hcs_layers_done(&l);
	return r;
}

HRESULT cs_hcs_export_options(const char *options, bool *ret_writable)
{
	static const char *const names[] = {"IsWritableLayer", NULL};
	json_t *j = cs_empty(options) ? NULL : parse(options);
	const json_t *w = json_object_get(j, "IsWritableLayer");
	HRESULT r = HCS_S_OK;

	*ret_writable = json_is_true(w);
	if (!cs_empty(options) && (!json_is_object(j) || !only(j, names) || (w && !json_is_boolean(w))))
		r = HCS_E_INVALID_JSON;
	json_decref(j);
	return r;
}

HRESULT cs_hcs_write_chain(int dir_fd, const struct cs_hcs_layers *l)
{
	json_t *a = json_array();

	if (l->n == 0) {
		json_decref(a);
		return HCS_S_OK;
	}
	for (size_t i = 0; i < l->n; i++)
		(void)json_array_append_new(a, json_string(l->paths[i]));
	char *text = json_dumps(a, JSON_COMPACT);
	json_decref(a);
	if (!text)
		return HCS_E_INVALID_LAYER; /* a path that is not UTF-8 */
	int r = cs_replace_file_at(dir_fd, "layerchain.json", text, strlen(text), 0644, true);
	free(text);
	return r < 0 ? cs_hcs_errno(-r) : HCS_S_OK;
}
