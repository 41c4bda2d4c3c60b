/* SPDX-License-Identifier: Apache-2.0
 *
 * Import of a root file system tar as an image of one layer. The stream is read once: its bytes become the layer's blob while its entries
 * are extracted. The caller's thread does the work; others are not held up. */
#include "base/time.h"
#include "engine/events.h"
#include "engine/image_internal.h"
#include "engine/platform.h"

int cs_image_target_name(const char *repo, const char *tag, char **ret, struct cs_err **err)
{
	cs_autoref struct cs_ref ref = {0};

	*ret = NULL;
	if (cs_empty(repo))
		return 0;
	if (cs_ref_parse(repo, &ref, err) < 0)
		return -1;
	if (ref.digest)
		return cs_fail(err, CS_ERR_INVALID, 0, "cannot import digest reference");
	if (!cs_empty(tag)) {
		if (!cs_ref_tag_valid(tag))
			return cs_fail(err, CS_ERR_INVALID, 0, "invalid tag format");
		free(ref.tag);
		ref.tag = cs_xstrdup(tag);
	}
	cs_ref_default_tag(&ref);
	*ret = cs_ref_full(&ref);
	return 0;
}

static void put_config(struct cs_str *out, const struct cs_config *c, const struct cs_platform *p, const struct cs_layer_result *layer, const char *message)
{
	char now[CS_TIME_BUF];

	cs_time_format(cs_now_ns(), now);
	cs_str_puts(out, "{");
	cs_json_put_kstr(out, "architecture", p->arch);
	if (*p->variant)
		cs_json_put_kstr(out, "variant", p->variant);
	cs_json_put_kstr(out, "comment", message);
	cs_json_put_key(out, "config");
	cs_json_encode(&cs_config_type, c, 0, out);
	cs_json_put_kstr(out, "created", now);
	cs_json_put_key(out, "history");
	cs_str_puts(out, "[{");
	cs_json_put_kstr(out, "created", now);
	cs_json_put_kstr(out, "comment", message);
	cs_str_puts(out, "}]");
	cs_json_put_kstr(out, "os", p->os);
	cs_json_put_key(out, "rootfs");
	cs_str_puts(out, "{\"type\":\"layers\",\"diff_ids\":[");
	cs_json_put_string(out, layer->diff_id.s);
	cs_str_puts(out, "]}}");
}

const char *cs_image_layer_type(enum cs_layer_compression c)
{
	return c == CS_LAYER_GZIP ? "application/vnd.oci.image.layer.v1.tar+gzip" :
	       c == CS_LAYER_ZSTD ? "application/vnd.oci.image.layer.v1.tar+zstd" :
				    "application/vnd.oci.image.layer.v1.tar";
}

/* Docker's names for the same formats; an OCI manifest uses OCI's. */
static const char *oci_type(const char *media)
{
	return strstr(media, "gzip") ? cs_image_layer_type(CS_LAYER_GZIP) : strstr(media, "zstd") ? cs_image_layer_type(CS_LAYER_ZSTD) : cs_image_layer_type(CS_LAYER_TAR);
}

int cs_image_put_manifest(struct cs_images *m, const struct cs_digest *config, size_t config_size, const struct cs_image_layer *layers, size_t n,
			  struct cs_digest *ret, struct cs_err **err)
{
	cs_autostr struct cs_str s = CS_STR_INIT(CS_MAX_IMAGE_JSON);

	cs_str_puts(&s, "{\"schemaVersion\":2,\"mediaType\":\"" CS_MEDIA_MANIFEST "\",\"config\":{");
	cs_json_put_kstr(&s, "mediaType", CS_MEDIA_CONFIG);
	cs_json_put_kstr(&s, "digest", config->s);
	cs_json_put_ki64(&s, "size", (int64_t)config_size);
	cs_str_puts(&s, "},\"layers\":[");
	for (size_t i = 0; i < n; i++) {
		cs_str_puts(&s, i ? ",{" : "{");
		cs_json_put_kstr(&s, "mediaType", oci_type(layers[i].media_type));
		cs_json_put_kstr(&s, "digest", layers[i].blob.s);
		cs_json_put_ki64(&s, "size", layers[i].blob_size);
		cs_str_puts(&s, "}");
	}
	cs_str_puts(&s, "]}");
	return cs_blob_put(m->storage, s.buf, s.len, ret, err);
}

char *cs_image_tag_event(struct cs_images *m, const char *id, const char *full)
{
	cs_autoref struct cs_ref ref = {0};

	if (cs_ref_parse(full, &ref, NULL) < 0)
		return NULL;
	char *familiar = cs_ref_familiar(&ref);
	cs_image_event(m, "tag", id, familiar);
	return familiar;
}

static int import_unpacked(struct cs_images *m, const struct cs_import *in, const struct cs_config *c, const struct cs_platform *p, const char *name, char **ret_id,
			   struct cs_err **err)
{
	struct cs_layer_source src = {.read = in->read, .ctx = in->ctx, .store_blob = true};
	struct cs_layer_result layer;
	struct cs_digest id, manifest;
	cs_autostr struct cs_str text = CS_STR_INIT(CS_MAX_IMAGE_JSON);
	char *names[] = {(char *)(uintptr_t)name, NULL};

	if (cs_layer_unpack(m->storage, &src, &layer, err) < 0)
		return -1;
	put_config(&text, c, p, &layer, cs_empty(in->message) ? "Imported from -" : in->message);
	if (text.failed)
		return cs_fail(err, CS_ERR_INVALID, 0, "image configuration is too large");
	struct cs_image_layer row = {.chain = layer.chain_id, .diff = layer.diff_id, .blob = layer.blob, .size = layer.size, .blob_size = layer.blob_size,
				     .media_type = (char *)(uintptr_t)cs_image_layer_type(layer.compression)};
	if (cs_blob_put(m->storage, text.buf, text.len, &id, err) < 0 || cs_image_put_manifest(m, &id, text.len, &row, 1, &manifest, err) < 0)
		return -1;
	CS_GUARD(&m->write);
	if (cs_images_add(m, &id, &manifest, &row, 1, name ? names : NULL, NULL, err) < 0)
		return -1;
	*ret_id = cs_xstrdup(id.s);
	return 0;
}

int cs_image_import(struct cs_engine *e, const struct cs_import *in, char **ret_id, struct cs_err **err)
{
	struct cs_images *m = e->images;
	cs_autofree char *name = NULL;
	cs_autoplatform struct cs_platform p = {0};
	struct cs_config *c = cs_xcalloc(1, sizeof(*c));
	char *id = NULL;
	int r = cs_image_target_name(in->repo, in->tag, &name, err);

	if (r == 0)
		r = cs_platform_parse(in->platform, &p, err);
	if (r == 0 && strcmp(p.os, "linux") != 0)
		r = cs_fail(err, CS_ERR_INVALID, 0, "operating system is not supported: %.100s", p.os);
	if (r == 0)
		r = cs_import_changes(c, in->changes, err);
	if (r == 0) {
		cs_images_hold(m);
		r = import_unpacked(m, in, c, &p, name, &id, err);
		cs_images_let(m, r < 0); /* a layer or blob that belongs to nobody */
	}
	if (r < 0) {
		cs_config_free(c);
		return -1;
	}
	if (name)
		free(cs_image_tag_event(m, id, name));
	struct cs_strmap *attrs = c->labels ? cs_strmap_copy(c->labels) : cs_strmap_new();
	cs_strmap_set(attrs, "name", id);
	cs_event(e, "image", "import", id, attrs);
	cs_config_free(c);
	*ret_id = id;
	return 0;
}
