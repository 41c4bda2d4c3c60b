/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads an OCI archive (a tar of an image layout) into the store. Nothing in it is trusted: blobs are stored under the digest that they have,
 * layers must hash to the diff ids of the configuration. Called under m->write. */

#include "engine/image_internal.h"

#include "base/log.h"
#include "storage/archive_lib.h"

static void archive_done(struct archive **a) { (void)cs_ar(read_free)(*a); }

static int copy_blob(struct cs_images *m, struct archive *a, const struct cs_digest *want, struct cs_err **err)
{
	struct cs_blob_writer *w;
	const void *data;
	size_t len;
	int64_t off;
	int r;

	if (cs_blob_begin(m->storage, &w, err) < 0)
		return -1;
	while ((r = cs_ar(read_data_block)(a, &data, &len, &off)) == ARCHIVE_OK) {
		if (cs_blob_write(w, data, len, err) < 0) {
			cs_blob_abort(w);
			return -1;
		}
	}
	if (r != ARCHIVE_EOF) {
		cs_blob_abort(w);
		return cs_fail(err, CS_ERR_INVALID, 0, "read the archive: %s", cs_ar(error_string)(a));
	}
	return cs_blob_commit(w, want, NULL, NULL, err);
}

static int read_text(struct archive *a, struct cs_str *out, struct cs_err **err)
{
	const void *data;
	size_t len;
	int64_t off;
	int r;

	while ((r = cs_ar(read_data_block)(a, &data, &len, &off)) == ARCHIVE_OK)
		cs_str_put(out, data, len);
	if (r != ARCHIVE_EOF || out->failed)
		return cs_fail(err, CS_ERR_INVALID, 0, "index.json of the archive cannot be read");
	return 0;
}

static int read_archive(struct cs_images *m, const char *path, struct cs_str *index, struct cs_err **err)
{
	cs_auto(archive_done) struct archive *a = cs_ar(read_new)();
	struct archive_entry *e;
	int r;

	if (!a)
		abort();
	cs_ar(read_support_format_tar)(a);
	if (cs_ar(read_open_filename)(a, path, 128 << 10) != ARCHIVE_OK)
		return cs_fail(err, cs_ar(errno)(a) == ENOENT ? CS_ERR_NOT_FOUND : CS_ERR_INVALID, 0, "open %s: %s", path, cs_ar(error_string)(a));
	while ((r = cs_ar(read_next_header)(a, &e)) == ARCHIVE_OK) {
		const char *name = cs_ar(entry_pathname)(e);
		const char *hex = name ? cs_prefix(name, "blobs/sha256/") : NULL;
		struct cs_digest d;
		cs_autofree char *text = cs_xasprintf("sha256:%s", hex ? hex : "");
		if (hex && cs_digest_from(text, &d)) {
			if (copy_blob(m, a, &d, err) < 0)
				return -1;
		} else if (cs_streq(name, "index.json")) {
			cs_str_clear(index);
			if (read_text(a, index, err) < 0)
				return -1;
		}
	}
	return r == ARCHIVE_EOF ? 0 : cs_fail(err, CS_ERR_INVALID, 0, "read %s: %s", path, cs_ar(error_string)(a));
}

static int blob_json(struct cs_images *m, const char *digest, json_t **ret, struct cs_digest *d, struct cs_err **err)
{
	cs_autostr struct cs_str text = CS_STR_INIT(CS_MAX_IMAGE_JSON);

	if (!cs_digest_from(digest ? digest : "", d))
		return cs_fail(err, CS_ERR_INVALID, 0, "malformed descriptor");
	if (cs_blob_get(m->storage, d, CS_MAX_IMAGE_JSON, &text, err) < 0)
		return -1;
	*ret = cs_json_parse(text.buf, text.len, err);
	return *ret ? 0 : cs_wrap(err, "content %s", d->s);
}

static ssize_t read_fd(void *ctx, void *buf, size_t max)
{
	ssize_t n;
	do
		n = read(*(int *)ctx, buf, max);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static int unpack_layer(struct cs_images *m, json_t *desc, const char *diff, const struct cs_digest *parent, struct cs_image_layer *l, struct cs_err **err)
{
	cs_autofd int fd = -EBADF;
	struct cs_digest diff_id;
	struct cs_layer_result res;
	const char *media = json_string_value(json_object_get(desc, "mediaType"));

	if (!cs_digest_from(json_string_value(json_object_get(desc, "digest")) ?: "", &l->blob) || !cs_digest_from(diff ? diff : "", &diff_id))
		return cs_fail(err, CS_ERR_INVALID, 0, "malformed layer descriptor");
	if (cs_blob_open(m->storage, &l->blob, &fd, &l->blob_size, err) < 0)
		return -1;
	struct cs_layer_source src = {.read = read_fd, .ctx = &fd, .parent = parent, .diff_id = &diff_id};
	if (cs_layer_unpack(m->storage, &src, &res, err) < 0)
		return cs_wrap(err, "layer %s", l->blob.s);
	l->diff = res.diff_id;
	l->chain = res.chain_id;
	l->size = res.size;
	l->media_type = cs_xstrdup(media ? media : "application/vnd.oci.image.layer.v1.tar");
	return 0;
}

static int load_manifest(struct cs_images *m, json_t *entry, char *const *names, struct cs_err **err)
{
	cs_autojson json_t *manifest = NULL, *config = NULL;
	struct cs_digest md, cd;

	if (blob_json(m, json_string_value(json_object_get(entry, "digest")), &manifest, &md, err) < 0)
		return -1;
	/* A document that is both a manifest and an index means different things to different readers (CVE-2021-41190). */
	if (json_object_get(manifest, "manifests"))
		return cs_fail(err, CS_ERR_INVALID, 0, "manifest %s: nested or ambiguous index", md.s);
	if (blob_json(m, json_string_value(json_object_get(json_object_get(manifest, "config"), "digest")), &config, &cd, err) < 0)
		return -1;
	json_t *layers = json_object_get(manifest, "layers"), *diffs = json_object_get(json_object_get(config, "rootfs"), "diff_ids");
	size_t n = json_array_size(layers);
	if (n == 0 || n > CS_MAX_LAYERS || n != json_array_size(diffs))
		return cs_fail(err, CS_ERR_INVALID, 0, "manifest %s: %zu layers and %zu diff ids", md.s, n, json_array_size(diffs));
	struct cs_image_layer *l = cs_xcalloc(n, sizeof(*l));
	int r = 0;
	for (size_t i = 0; r == 0 && i < n; i++)
		r = unpack_layer(m, json_array_get(layers, i), json_string_value(json_array_get(diffs, i)), i ? &l[i - 1].chain : NULL, &l[i], err);
	if (r == 0)
		r = cs_images_add(m, &cd, &md, l, n, names, err);
	for (size_t i = 0; i < n; i++)
		free(l[i].media_type);
	free(l);
	return r;
}

/* All names of one manifest in one go. */
static void collect_names(json_t *list, size_t from, char ***names)
{
	const char *digest = json_string_value(json_object_get(json_array_get(list, from), "digest"));

	for (size_t i = from; i < json_array_size(list); i++) {
		json_t *e = json_array_get(list, i);
		const char *name = json_string_value(json_object_get(json_object_get(e, "annotations"), "io.containerd.image.name"));
		cs_autoref struct cs_ref ref = {0};
		if (!cs_streq(json_string_value(json_object_get(e, "digest")), digest) || !name || cs_ref_parse(name, &ref, NULL) < 0 || ref.digest)
			continue;
		cs_ref_default_tag(&ref);
		cs_strv_take(names, cs_ref_full(&ref));
	}
}

static int load_index(struct cs_images *m, const struct cs_str *text, struct cs_err **err)
{
	cs_autojson json_t *index = cs_json_parse(text->buf ? text->buf : "", text->len, err);
	json_t *list = json_object_get(index, "manifests");

	if (!index)
		return cs_wrap(err, "index.json");
	if (json_array_size(list) == 0 || json_array_size(list) > 1000)
		return cs_fail(err, CS_ERR_INVALID, 0, "index.json lists no image");
	for (size_t i = 0; i < json_array_size(list); i++) {
		bool before = false;
		const char *digest = json_string_value(json_object_get(json_array_get(list, i), "digest"));
		for (size_t k = 0; k < i && !before; k++)
			before = cs_streq(digest, json_string_value(json_object_get(json_array_get(list, k), "digest")));
		if (before)
			continue;
		cs_autostrv char **names = NULL;
		collect_names(list, i, &names);
		if (load_manifest(m, json_array_get(list, i), names, err) < 0)
			return -1;
	}
	return 0;
}

int cs_image_load_archive(struct cs_images *m, const char *path, struct cs_err **err)
{
	cs_autostr struct cs_str index = CS_STR_INIT(CS_MAX_IMAGE_JSON);

	if (cs_archive_get(err) < 0)
		return -1;
	cs_images_unpack_begin(m);
	int r = read_archive(m, path, &index, err);
	if (r == 0)
		r = load_index(m, &index, err);
	if (r < 0)
		m->sweep_wanted = true; /* what was unpacked belongs to nobody */
	cs_images_unpack_end(m);
	cs_archive_put();
	return r;
}
