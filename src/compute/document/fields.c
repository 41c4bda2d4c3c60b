/* SPDX-License-Identifier: Apache-2.0
 *
 * See fields.h. */
#include "compute/document/fields.h"

static const char *kind(const json_t *v)
{
	switch (json_typeof(v)) {
	case JSON_OBJECT: return "object";
	case JSON_ARRAY: return "array";
	case JSON_STRING: return "string";
	case JSON_INTEGER:
	case JSON_REAL: return "number";
	case JSON_TRUE:
	case JSON_FALSE: return "boolean";
	case JSON_NULL: return "null";
	}
	return "unknown";
}

static const char *dot(const char *path) { return *path ? "." : ""; }

static int wrong(const char *path, const char *key, const char *want, const json_t *v, struct cs_err **err)
{
	return cs_fail(err, CS_ERR_INVALID, 0, "%s%s%s: expected %s, got %s", path, dot(path), key, want, kind(v));
}

/* 1: *ret is there; 0: absent; -1: missing although required. */
static int lookup(json_t *o, const char *path, const char *key, unsigned flags, json_t **ret, struct cs_err **err)
{
	json_t *v = json_object_get(o, key);

	if (!v || json_is_null(v)) {
		if (flags & CS_F_REQUIRED)
			return cs_fail(err, CS_ERR_INVALID, 0, "%s%s%s: is required", path, dot(path), key);
		return 0;
	}
	*ret = v;
	return 1;
}

int cs_field_str(json_t *o, const char *path, const char *key, unsigned flags, const char **ret, struct cs_err **err)
{
	json_t *v = NULL;
	int r = lookup(o, path, key, flags, &v, err);

	if (r <= 0)
		return r;
	if (!json_is_string(v))
		return wrong(path, key, "string", v, err);
	if (strlen(json_string_value(v)) != json_string_length(v))
		return cs_fail(err, CS_ERR_INVALID, 0, "%s%s%s: contains a NUL character", path, dot(path), key);
	*ret = json_string_value(v);
	return 0;
}

int cs_field_bool(json_t *o, const char *path, const char *key, bool *ret, struct cs_err **err)
{
	json_t *v = NULL;
	int r = lookup(o, path, key, 0, &v, err);

	if (r <= 0)
		return r;
	if (!json_is_boolean(v))
		return wrong(path, key, "boolean", v, err);
	*ret = json_is_true(v);
	return 0;
}

int cs_field_opt_i64(json_t *o, const char *path, const char *key, int64_t min, int64_t max, int64_t *ret, bool *has, struct cs_err **err)
{
	json_t *v = NULL;
	int r = lookup(o, path, key, 0, &v, err);

	if (has)
		*has = false;
	if (r <= 0)
		return r;
	if (!json_is_integer(v))
		return wrong(path, key, "integer", v, err);
	int64_t n = json_integer_value(v);
	if (n < min || n > max)
		return cs_fail(err, CS_ERR_INVALID, 0, "%s%s%s: %lld is out of range", path, dot(path), key, (long long)n);
	*ret = n;
	if (has)
		*has = true;
	return 0;
}

int cs_field_i64(json_t *o, const char *path, const char *key, int64_t min, int64_t max, int64_t *ret, struct cs_err **err)
{
	return cs_field_opt_i64(o, path, key, min, max, ret, NULL, err);
}

int cs_field_obj(json_t *o, const char *path, const char *key, unsigned flags, json_t **ret, struct cs_err **err)
{
	json_t *v = NULL;
	int r = lookup(o, path, key, flags, &v, err);

	if (r <= 0)
		return r;
	if (!json_is_object(v))
		return wrong(path, key, "object", v, err);
	*ret = v;
	return 0;
}

int cs_field_obj_or_text(json_t *o, const char *path, const char *key, json_t **ret, struct cs_err **err)
{
	json_t *v = NULL;
	int r = lookup(o, path, key, 0, &v, err);

	if (r <= 0)
		return r;
	if (!json_is_object(v) && !json_is_string(v))
		return wrong(path, key, "object", v, err);
	*ret = v;
	return 0;
}

int cs_field_arr(json_t *o, const char *path, const char *key, unsigned flags, json_t **ret, struct cs_err **err)
{
	json_t *v = NULL;
	int r = lookup(o, path, key, flags, &v, err);

	if (r <= 0)
		return r;
	if (!json_is_array(v))
		return wrong(path, key, "array", v, err);
	*ret = v;
	return 0;
}

int cs_field_strv(json_t *o, const char *path, const char *key, char ***ret, struct cs_err **err)
{
	json_t *arr = NULL, *v = NULL;
	size_t i;

	if (cs_field_arr(o, path, key, 0, &arr, err) < 0)
		return -1;
	if (!arr) {
		*ret = NULL;
		return 0;
	}
	cs_autofree char **list = cs_xcalloc(json_array_size(arr) + 1, sizeof(*list));
	json_array_foreach(arr, i, v)
	{
		if (!json_is_string(v))
			return cs_fail(err, CS_ERR_INVALID, 0, "%s%s%s[%zu]: expected string, got %s", path, dot(path), key, i, kind(v));
		if (strlen(json_string_value(v)) != json_string_length(v))
			return cs_fail(err, CS_ERR_INVALID, 0, "%s%s%s[%zu]: contains a NUL character", path, dot(path), key, i);
		list[i] = (char *)(uintptr_t)json_string_value(v);
	}
	*ret = TAKE_PTR(list);
	return 0;
}

int cs_field_is_obj(json_t *o, const char *path, struct cs_err **err)
{
	if (json_is_object(o))
		return 0;
	return cs_fail(err, CS_ERR_INVALID, 0, "%s: expected object, got %s", path, o ? kind(o) : "nothing");
}

int cs_field_only(json_t *o, const char *path, const char *const *known, struct cs_err **err)
{
	const char *key;
	json_t *v = NULL;

	json_object_foreach(o, key, v)
	{
		bool found = false;
		for (const char *const *k = known; *k && !found; k++)
			found = strcmp(*k, key) == 0;
		if (!found)
			return cs_fail(err, CS_ERR_INVALID, 0, "%s%s%s: unknown member", path, dot(path), key);
	}
	return 0;
}
