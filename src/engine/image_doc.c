/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads foreign documents about images, with strict checks. Pure. */
#include "engine/image_doc.h"

#include "base/json.h"
#include "engine/image_internal.h"

#define MT_OCI "application/vnd.oci.image."
#define MT_DOCKER "application/vnd.docker."
#define TEXT_MAX 4096u /* names, paths, media types */

#if defined(__x86_64__)
#define HOST_ARCH "amd64"
#define HOST_VARIANT ""
#elif defined(__aarch64__)
#define HOST_ARCH "arm64"
#define HOST_VARIANT "v8"
#else
#error "name this architecture as Go does"
#endif

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

/* ---- platforms ---- */
void cs_doc_platform_done(struct cs_doc_platform *p)
{
	free(p->os);
	free(p->arch);
	free(p->variant);
	*p = (struct cs_doc_platform){0};
}

static int read_platform(json_t *j, struct cs_doc_platform *p, struct cs_err **err)
{
	if (text_member(j, "os", &p->os, err) < 0 || text_member(j, "architecture", &p->arch, err) < 0)
		return -1;
	return text_member(j, "variant", &p->variant, err);
}

int cs_doc_platform_param(const char *text, struct cs_doc_platform *ret, struct cs_err **err)
{
	cs_autojson json_t *j = cs_json_parse(text, strlen(text), err);

	*ret = (struct cs_doc_platform){0};
	if (!j)
		return cs_wrap(err, "failed to parse platform");
	if (!json_is_object(j))
		return bad(err, "failed to parse platform: it is not an object");
	int r = read_platform(j, ret, err);
	if (r == 0 && (!ret->os[0] || !ret->arch[0])) {
		bool optional = ret->variant[0] || json_object_get(j, "os.version") || json_object_get(j, "os.features");
		r = bad(err, optional && !ret->os[0] && !ret->arch[0] ? "optional platform components provided, but OS and Architecture are empty" :
									"both OS and Architecture must be provided");
	}
	if (r < 0)
		cs_doc_platform_done(ret);
	return r;
}

void cs_doc_platform_host(struct cs_doc_platform *p)
{
	*p = (struct cs_doc_platform){.os = cs_xstrdup("linux"), .arch = cs_xstrdup(HOST_ARCH), .variant = cs_xstrdup(HOST_VARIANT)};
}

bool cs_doc_platform_match(const struct cs_doc_platform *want, const struct cs_doc_platform *have)
{
	/* arm64 has one variant that anybody uses, and most do not write it */
	bool any = !want->variant[0] || !have->variant[0];
	return strcmp(want->os, have->os) == 0 && strcmp(want->arch, have->arch) == 0 && (any || strcmp(want->variant, have->variant) == 0);
}

char *cs_doc_platform_text(const struct cs_doc_platform *p)
{
	return cs_xasprintf("%s/%s%s%s", p->os, p->arch, p->variant[0] ? "/" : "", p->variant);
}

/* ---- descriptors, indexes, manifests ---- */
static void desc_done(struct cs_doc_desc *d)
{
	free(d->media_type);
	free(d->name);
	cs_doc_platform_done(&d->platform);
	*d = (struct cs_doc_desc){0};
}

void cs_doc_descs_done(struct cs_doc_descs *l)
{
	for (size_t i = 0; i < l->n; i++)
		desc_done(&l->v[i]);
	free(l->v);
	*l = (struct cs_doc_descs){0};
}

static int read_desc(json_t *j, struct cs_doc_desc *d, struct cs_err **err)
{
	json_t *notes = json_object_get(j, "annotations"), *size = json_object_get(j, "size"), *platform = json_object_get(j, "platform");
	const char *digest = json_string_value(json_object_get(j, "digest"));

	if (!json_is_object(j))
		return bad(err, "a descriptor is not an object");
	if (text_member(j, "mediaType", &d->media_type, err) < 0)
		return -1;
	if (!digest || !cs_digest_from(digest, &d->digest))
		return cs_fail(err, CS_ERR_INVALID, 0, "\"%.100s\" is no sha256 digest", digest ? digest : "");
	d->size = json_integer_value(size);
	if (!json_is_integer(size) || d->size < 0)
		return cs_fail(err, CS_ERR_INVALID, 0, "descriptor of %s has no valid size", d->digest.s);
	const char *name = json_string_value(json_object_get(notes, "io.containerd.image.name"));
	if (cs_empty(name))
		name = json_string_value(json_object_get(notes, "org.opencontainers.image.ref.name"));
	if (name && strlen(name) <= TEXT_MAX && *name)
		d->name = cs_xstrdup(name);
	if (json_is_object(platform)) {
		d->has_platform = true;
		if (read_platform(platform, &d->platform, err) < 0)
			return -1;
	}
	d->attestation = cs_streq(json_string_value(json_object_get(notes, "vnd.docker.reference.type")), "attestation-manifest") ||
			 (d->has_platform && strcmp(d->platform.os, "unknown") == 0);
	return 0;
}

static int read_descs(json_t *list, const char *key, size_t max, struct cs_doc_descs *ret, struct cs_err **err)
{
	size_t i;
	json_t *v;

	if (!json_is_array(list) || json_array_size(list) > max)
		return cs_fail(err, CS_ERR_INVALID, 0, "%s is not a list of at most %zu descriptors", key, max);
	ret->v = cs_xcalloc(json_array_size(list) + 1, sizeof(*ret->v));
	json_array_foreach(list, i, v)
	{
		if (read_desc(v, &ret->v[ret->n++], err) < 0)
			return cs_wrap(err, "%s[%zu]", key, i);
	}
	return 0;
}

static bool is_index_type(const char *t)
{
	return strcmp(t, MT_OCI "index.v1+json") == 0 || strcmp(t, MT_DOCKER "distribution.manifest.list.v2+json") == 0;
}

static bool is_manifest_type(const char *t)
{
	return strcmp(t, MT_OCI "manifest.v1+json") == 0 || strcmp(t, MT_DOCKER "distribution.manifest.v2+json") == 0;
}

bool cs_doc_is_config_type(const char *t)
{
	return strcmp(t, MT_OCI "config.v1+json") == 0 || strcmp(t, MT_DOCKER "container.image.v1+json") == 0;
}

void cs_doc_node_done(struct cs_doc_node *n)
{
	free(n->media_type);
	desc_done(&n->config);
	cs_doc_descs_done(&n->list);
	*n = (struct cs_doc_node){0};
}

static int read_node(json_t *j, struct cs_doc_node *n, struct cs_err **err)
{
	json_t *manifests = json_object_get(j, "manifests"), *layers = json_object_get(j, "layers"), *config = json_object_get(j, "config");
	json_t *version = json_object_get(j, "schemaVersion");

	if (!json_is_object(j))
		return bad(err, "it is not an object");
	if (version && json_integer_value(version) != 2)
		return bad(err, "schemaVersion is not 2");
	if (manifests && (layers || config || json_object_get(j, "fsLayers")))
		return bad(err, "it is a manifest and an index at the same time");
	if (text_member(j, "mediaType", &n->media_type, err) < 0)
		return -1;
	n->index = manifests != NULL;
	if (n->media_type[0] && !(n->index ? is_index_type(n->media_type) : is_manifest_type(n->media_type)))
		return cs_fail(err, CS_ERR_INVALID, 0, "its media type is \"%.100s\", which it is not", n->media_type);
	if (!n->media_type[0]) {
		free(n->media_type);
		n->media_type = cs_xstrdup(n->index ? MT_OCI "index.v1+json" : MT_OCI "manifest.v1+json");
	}
	if (n->index)
		return read_descs(manifests, "manifests", CS_DOC_MAX_ITEMS, &n->list, err);
	if (read_desc(config, &n->config, err) < 0)
		return cs_wrap(err, "config");
	return read_descs(layers, "layers", CS_MAX_LAYERS, &n->list, err);
}

int cs_doc_node(const char *text, size_t len, struct cs_doc_node *ret, struct cs_err **err)
{
	cs_autojson json_t *j = cs_json_parse(text, len, err);

	*ret = (struct cs_doc_node){0};
	if (!j)
		return -1;
	if (read_node(j, ret, err) < 0) {
		cs_doc_node_done(ret);
		return -1;
	}
	return 0;
}

/* ---- configurations ---- */
void cs_doc_config_done(struct cs_doc_config *c)
{
	cs_doc_platform_done(&c->platform);
	free(c->diff_ids);
	*c = (struct cs_doc_config){0};
}

int cs_doc_config(const char *text, size_t len, struct cs_doc_config *ret, struct cs_err **err)
{
	cs_autojson json_t *j = cs_json_parse(text, len, err);
	json_t *rootfs = json_object_get(j, "rootfs"), *diffs = json_object_get(rootfs, "diff_ids"), *v;
	size_t i;

	*ret = (struct cs_doc_config){0};
	if (!j)
		return -1;
	if (!json_is_object(rootfs))
		return bad(err, "invalid image JSON, no RootFS key");
	if (diffs && !json_is_null(diffs) && (!json_is_array(diffs) || json_array_size(diffs) > CS_MAX_LAYERS))
		return cs_fail(err, CS_ERR_INVALID, 0, "rootfs.diff_ids is not a list of at most %d digests", CS_MAX_LAYERS);
	if (read_platform(j, &ret->platform, err) < 0)
		goto fail;
	ret->diff_ids = cs_xcalloc(json_array_size(diffs) + 1, sizeof(*ret->diff_ids));
	json_array_foreach(diffs, i, v)
	{
		const char *s = json_string_value(v);
		if (!s || !cs_digest_from(s, &ret->diff_ids[ret->n++])) {
			cs_fail(err, CS_ERR_INVALID, 0, "invalid diffID for layer %zu: \"%.100s\" is no sha256 digest", i, s ? s : "");
			goto fail;
		}
	}
	return 0;
fail:
	cs_doc_config_done(ret);
	return -1;
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
