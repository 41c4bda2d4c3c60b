/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads manifests, indexes and the part of configurations that says which layers there are. Everything is foreign. Pure functions. */
#include "engine/manifest.h"

#include "base/json.h"

#define MT_SCHEMA1 "application/vnd.docker.distribution.manifest.v1+json"
#define MT_SCHEMA1_SIGNED "application/vnd.docker.distribution.manifest.v1+prettyjws"
#define MAX_URLS 16
#define MAX_TEXT 255

void cs_descriptor_done(struct cs_descriptor *d)
{
	free(d->media_type);
	cs_platform_done(&d->platform);
	cs_strv_free(d->urls);
	free(d->name);
}

void cs_manifest_done(struct cs_manifest *m)
{
	free(m->media_type);
	free(m->artifact_type);
	cs_descriptor_done(&m->config);
	for (size_t i = 0; i < m->n; i++)
		cs_descriptor_done(&m->v[i]);
	free(m->v);
	*m = (struct cs_manifest){0};
}

static const char *text(json_t *j, const char *key)
{
	const char *s = json_string_value(json_object_get(j, key));
	return s && strlen(s) <= MAX_TEXT ? s : "";
}

static void read_urls(json_t *list, struct cs_descriptor *d)
{
	size_t i;
	json_t *u;

	json_array_foreach(list, i, u)
	{
		if (i < MAX_URLS && json_is_string(u) && json_string_length(u) < 2048)
			cs_strv_push(&d->urls, json_string_value(u));
	}
}

static int read_descriptor(json_t *j, const char *what, struct cs_descriptor *d, struct cs_err **err)
{
	const char *digest = text(j, "digest");
	json_t *size = json_object_get(j, "size"), *p = json_object_get(j, "platform"), *notes = json_object_get(j, "annotations");

	if (!json_is_object(j))
		return cs_fail(err, CS_ERR_INVALID, 0, "manifest: %s is not a descriptor", what);
	if (!cs_digest_from(digest, &d->digest))
		return cs_fail(err, CS_ERR_INVALID, 0, "manifest: %s has the unsupported digest \"%.100s\"", what, digest);
	if (!json_is_integer(size) || json_integer_value(size) < 0 || json_integer_value(size) > CS_BLOB_MAX)
		return cs_fail(err, CS_ERR_INVALID, 0, "manifest: %s %s has an impossible size", what, d->digest.s);
	d->size = json_integer_value(size);
	d->media_type = cs_xstrdup(text(j, "mediaType"));
	cs_platform_set(&d->platform, text(p, "os"), text(p, "architecture"), text(p, "variant"));
	free(d->platform.os_version);
	d->platform.os_version = cs_xstrdup(text(p, "os.version"));
	d->attestation = *text(notes, "vnd.docker.reference.type") != 0;
	if (!d->attestation || !cs_digest_from(text(notes, "vnd.docker.reference.digest"), &d->subject))
		d->subject.s[0] = 0;
	const char *name = text(notes, "io.containerd.image.name");
	if (!*name)
		name = text(notes, "org.opencontainers.image.ref.name");
	d->name = *name ? cs_xstrdup(name) : NULL;
	read_urls(json_object_get(j, "urls"), d);
	return 0;
}

static int read_list(json_t *list, const char *what, size_t max, struct cs_manifest *m, struct cs_err **err)
{
	size_t n = json_array_size(list);

	if (!json_is_array(list) || n > max)
		return cs_fail(err, CS_ERR_INVALID, 0, "manifest: %zu entries where up to %zu are allowed", n, max);
	m->v = cs_xcalloc(n ? n : 1, sizeof(*m->v));
	for (; m->n < n; m->n++) {
		if (read_descriptor(json_array_get(list, m->n), what, &m->v[m->n], err) < 0) {
			m->n++; /* to be released */
			return -1;
		}
	}
	return 0;
}

static bool is_image_type(const char *t) { return strcmp(t, CS_MT_OCI_MANIFEST) == 0 || strcmp(t, CS_MT_DOCKER_MANIFEST) == 0; }
bool cs_manifest_type_is_index(const char *t) { return strcmp(t, CS_MT_OCI_INDEX) == 0 || strcmp(t, CS_MT_DOCKER_LIST) == 0; }

static int read_image(json_t *j, struct cs_manifest *m, struct cs_err **err)
{
	m->kind = CS_MANIFEST_IMAGE;
	if (read_descriptor(json_object_get(j, "config"), "config", &m->config, err) < 0 ||
	    read_list(json_object_get(j, "layers"), "layer", CS_MANIFEST_MAX_LAYERS, m, err) < 0)
		return -1;
	const char *type = text(j, "artifactType"), *config = m->config.media_type;
	/* old registries and tools leave the configuration's type generic */
	if (strcmp(config, CS_MT_OCI_CONFIG) != 0 && strcmp(config, CS_MT_DOCKER_CONFIG) != 0 && strcmp(config, "application/octet-stream") != 0 && *config)
		m->artifact_type = cs_xstrdup(*type ? type : config);
	if (!m->artifact_type && m->config.size > (int64_t)CS_CONFIG_MAX)
		return cs_fail(err, CS_ERR_INVALID, 0, "manifest: configuration %s is larger than %u MiB", m->config.digest.s, CS_CONFIG_MAX >> 20);
	return 0;
}

static int read_index(json_t *j, struct cs_manifest *m, struct cs_err **err)
{
	m->kind = CS_MANIFEST_INDEX;
	return read_list(json_object_get(j, "manifests"), "manifest", CS_MANIFEST_MAX_ENTRIES, m, err);
}

static int parse(json_t *j, const char *media_type, struct cs_manifest *m, struct cs_err **err)
{
	json_t *version = json_object_get(j, "schemaVersion");
	const char *own = text(j, "mediaType");
	bool has_layers = json_object_get(j, "layers") || json_object_get(j, "config"), has_entries = json_object_get(j, "manifests") != NULL;

	if (!json_is_object(j))
		return cs_fail(err, CS_ERR_INVALID, 0, "manifest: not an object");
	if (json_integer_value(version) == 1 || (media_type && (strcmp(media_type, MT_SCHEMA1) == 0 || strcmp(media_type, MT_SCHEMA1_SIGNED) == 0)))
		return cs_fail(err, CS_ERR_INVALID, 0,
			       "Docker Image Format v1 and Docker Image manifest version 2, schema 1 support has been removed. Suggest the author of the image to upgrade the "
			       "image to the OCI Format or Docker Image manifest v2, schema 2. More information at https://docs.docker.com/go/deprecated-image-specs/");
	if (!json_is_integer(version) || json_integer_value(version) != 2)
		return cs_fail(err, CS_ERR_INVALID, 0, "manifest: unsupported schema version");
	/* A document that is both means different things to different readers (CVE-2021-41190). */
	if ((has_layers || json_object_get(j, "fsLayers")) && has_entries)
		return cs_fail(err, CS_ERR_INVALID, 0, "manifest: ambiguous document: it has both layers and manifests");
	if (cs_empty(media_type) || (!is_image_type(media_type) && !cs_manifest_type_is_index(media_type) && strcmp(media_type, "application/json") == 0) ||
	    (media_type && strcmp(media_type, "text/plain") == 0))
		media_type = *own ? own : has_entries ? CS_MT_OCI_INDEX : CS_MT_OCI_MANIFEST;
	if (*own && strcmp(own, media_type) != 0)
		return cs_fail(err, CS_ERR_INVALID, 0, "manifest: it says it is %s, the registry says %s", own, media_type);
	m->media_type = cs_xstrdup(media_type);
	if (is_image_type(media_type))
		return has_entries ? cs_fail(err, CS_ERR_INVALID, 0, "manifest: an index where an image was announced") : read_image(j, m, err);
	if (cs_manifest_type_is_index(media_type))
		return has_layers ? cs_fail(err, CS_ERR_INVALID, 0, "manifest: an image where an index was announced") : read_index(j, m, err);
	return cs_fail(err, CS_ERR_INVALID, 0, "unsupported manifest media type and no default available: %.200s", media_type);
}

int cs_manifest_parse(const char *data, size_t len, const char *media_type, struct cs_manifest *ret, struct cs_err **err)
{
	struct cs_manifest m = {0};
	cs_autojson json_t *j = NULL;

	if (len > CS_MANIFEST_MAX)
		return cs_fail(err, CS_ERR_INVALID, 0, "manifest: larger than %u MiB", CS_MANIFEST_MAX >> 20);
	j = cs_json_parse(data, len, err);
	if (!j)
		return cs_wrap(err, "manifest");
	if (parse(j, media_type, &m, err) < 0) {
		cs_manifest_done(&m);
		return -1;
	}
	*ret = m;
	return 0;
}

struct cs_descriptor *cs_manifest_pick(const struct cs_manifest *index, const struct cs_platform *want, struct cs_err **err)
{
	struct cs_descriptor *ret = NULL;
	int best = 0;

	for (size_t i = 0; i < index->n; i++) {
		struct cs_descriptor *d = &index->v[i];
		if (d->attestation || (*d->media_type && !is_image_type(d->media_type)))
			continue;
		int score = cs_platform_score(want, &d->platform);
		if (score > best) {
			best = score;
			ret = d;
		}
	}
	if (!ret) {
		cs_autofree char *name = cs_platform_text(want);
		(void)cs_fail(err, CS_ERR_NOT_FOUND, 0, "no matching manifest for %s in the manifest list entries", name);
	}
	return ret;
}

int cs_index_walk_into(struct cs_index_walk *w, const struct cs_digest *index, int depth, size_t entries, struct cs_err **err)
{
	for (size_t i = 0; i < w->n_seen; i++) {
		if (strcmp(w->seen[i].s, index->s) == 0)
			return 1;
	}
	if (depth > CS_INDEX_MAX_DEPTH)
		return cs_fail(err, CS_ERR_INVALID, 0, "index %s is nested more than %d deep", index->s, CS_INDEX_MAX_DEPTH);
	if (w->n_seen == CS_INDEX_MAX_INNER)
		return cs_fail(err, CS_ERR_INVALID, 0, "index %s is one of more than %d in one index", index->s, CS_INDEX_MAX_INNER);
	w->seen[w->n_seen++] = *index;
	w->entries += entries;
	if (w->entries > CS_MANIFEST_MAX_ENTRIES)
		return cs_fail(err, CS_ERR_INVALID, 0, "index %s: with it there are more than %d entries in one index", index->s, CS_MANIFEST_MAX_ENTRIES);
	return 0;
}

static bool strip(const char *t, const char *prefix, const char *const *suffixes)
{
	const char *rest = cs_prefix(t, prefix);

	for (; rest && *suffixes; suffixes++) {
		if (strcmp(rest, *suffixes) == 0)
			return true;
	}
	return false;
}

bool cs_layer_type_known(const char *t)
{
	static const char *const oci[] = {"", "+gzip", "+zstd", NULL}, *const docker[] = {"", ".gzip", ".zstd", NULL};

	return !*t || strip(t, CS_MT_OCI_LAYER, oci) || strip(t, "application/vnd.oci.image.layer.nondistributable.v1.tar", oci) ||
	       strip(t, CS_MT_DOCKER_LAYER, docker) || strip(t, "application/vnd.docker.image.rootfs.foreign.diff.tar", docker);
}

bool cs_layer_type_is_tar(const char *t)
{
	size_t n = strlen(t);
	return n > 4 && strcmp(t + n - 4, ".tar") == 0;
}

void cs_image_shape_done(struct cs_image_shape *s)
{
	free(s->diff);
	cs_platform_done(&s->platform);
	*s = (struct cs_image_shape){0};
}

int cs_image_shape_parse(const char *data, size_t len, struct cs_image_shape *ret, struct cs_err **err)
{
	cs_autojson json_t *j = cs_json_parse(data, len, err);
	json_t *fs = json_object_get(j, "rootfs"), *diffs = json_object_get(fs, "diff_ids");
	cs_autoshape struct cs_image_shape s = {0};

	if (!j)
		return cs_wrap(err, "image configuration");
	if (!json_is_object(j) || !json_is_object(fs) || (diffs && !json_is_null(diffs) && !json_is_array(diffs)))
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid image JSON, no RootFS key");
	size_t n = json_array_size(diffs);
	if (n > CS_MANIFEST_MAX_LAYERS)
		return cs_fail(err, CS_ERR_INVALID, 0, "image configuration names %zu layers; up to %d are allowed", n, CS_MANIFEST_MAX_LAYERS);
	s.diff = cs_xcalloc(n ? n : 1, sizeof(*s.diff));
	for (; s.n < n; s.n++) {
		const char *d = json_string_value(json_array_get(diffs, s.n));
		if (!d || !cs_digest_from(d, &s.diff[s.n]))
			return cs_fail(err, CS_ERR_INVALID, 0, "image configuration: diff id %zu is malformed", s.n);
	}
	cs_platform_set(&s.platform, text(j, "os"), text(j, "architecture"), text(j, "variant"));
	*ret = s;
	s = (struct cs_image_shape){0};
	return 0;
}
