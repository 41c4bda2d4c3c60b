/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads manifest.json, with strict checks; writes manifests. Pure. */
#include "engine/image_doc.h"

#include "base/json.h"
#include "engine/image_internal.h"

#define TEXT_MAX 4096u /* names and paths */

static int bad(struct cs_err **err, const char *what) { return cs_fail(err, CS_ERR_INVALID, 0, "%s", what); }

/* A string member as a copy; "" when it is absent or null. */
static int text_member(json_t *j, const char *key, char **ret, struct cs_err **err)
{
	json_t *v = json_object_get(j, key);
	const char *s = json_string_value(v);

	if (v && !s && !json_is_null(v))
		return cs_fail(err, CS_ERR_INVALID, 0, "%s is not a string", key);
	if (json_string_length(v) > TEXT_MAX || (s && strlen(s) != json_string_length(v)))
		return cs_fail(err, CS_ERR_INVALID, 0, "%s is too long or has a zero", key);
	free(*ret);
	*ret = cs_xstrdup(s ? s : "");
	return 0;
}

static int text_list(json_t *list, const char *key, size_t max, char ***ret, struct cs_err **err)
{
	size_t i;
	json_t *v;

	*ret = cs_xcalloc(1, sizeof(char *));
	if (!list || json_is_null(list))
		return 0;
	if (!json_is_array(list) || json_array_size(list) > max)
		return cs_fail(err, CS_ERR_INVALID, 0, "%s is not a list of at most %zu strings", key, max);
	json_array_foreach(list, i, v)
	{
		const char *s = json_string_value(v);
		if (!s || json_string_length(v) > TEXT_MAX || strlen(s) != json_string_length(v))
			return cs_fail(err, CS_ERR_INVALID, 0, "%s[%zu] is no name", key, i);
		cs_strv_push(ret, s);
	}
	return 0;
}

/* ---- manifest.json ---- */
void cs_doc_items_done(struct cs_doc_items *l)
{
	for (size_t i = 0; i < l->n; i++) {
		free(l->v[i].config);
		cs_strv_free(l->v[i].tags);
		cs_strv_free(l->v[i].layers);
	}
	free(l->v);
	*l = (struct cs_doc_items){0};
}

int cs_doc_items(const char *text, size_t len, struct cs_doc_items *ret, struct cs_err **err)
{
	cs_autojson json_t *j = cs_json_parse(text, len, err);
	size_t i;
	json_t *v;

	*ret = (struct cs_doc_items){0};
	if (!j)
		return cs_wrap(err, "manifest.json");
	if (json_is_null(j))
		return 0;
	if (!json_is_array(j) || json_array_size(j) > CS_DOC_MAX_ITEMS)
		return cs_fail(err, CS_ERR_INVALID, 0, "manifest.json is not a list of at most %d images", CS_DOC_MAX_ITEMS);
	ret->v = cs_xcalloc(json_array_size(j) + 1, sizeof(*ret->v));
	json_array_foreach(j, i, v)
	{
		struct cs_doc_item *it = &ret->v[ret->n++];
		int r = json_is_object(v) ? 0 : bad(err, "is not an object");
		if (r == 0)
			r = text_member(v, "Config", &it->config, err);
		if (r == 0)
			r = text_list(json_object_get(v, "RepoTags"), "RepoTags", CS_DOC_MAX_ITEMS, &it->tags, err);
		if (r == 0)
			r = text_list(json_object_get(v, "Layers"), "Layers", CS_MAX_LAYERS, &it->layers, err);
		if (r == 0 && !it->config[0])
			r = bad(err, "names no Config");
		if (r < 0) {
			cs_doc_items_done(ret);
			return cs_wrap(err, "manifest.json: image %zu", i);
		}
	}
	return 0;
}

void cs_doc_put_manifest(struct cs_str *out, const struct cs_digest *config, size_t config_size, const struct cs_doc_layer *layers, size_t n)
{
	cs_str_puts(out, "{\"schemaVersion\":2,\"mediaType\":\"" CS_MEDIA_MANIFEST "\",\"config\":{");
	cs_json_put_kstr(out, "mediaType", CS_MEDIA_CONFIG);
	cs_json_put_kstr(out, "digest", config->s);
	cs_json_put_ki64(out, "size", (int64_t)config_size);
	cs_str_puts(out, "},\"layers\":[");
	for (size_t i = 0; i < n; i++) {
		cs_str_puts(out, i ? ",{" : "{");
		cs_json_put_kstr(out, "mediaType", layers[i].media_type);
		cs_json_put_kstr(out, "digest", layers[i].blob->s);
		cs_json_put_ki64(out, "size", layers[i].size);
		cs_str_puts(out, "}");
	}
	cs_str_puts(out, "]}");
}
