/* SPDX-License-Identifier: Apache-2.0
 *
 * From the documents of an archive to images. Docker's manifest.json counts when it is there, else the OCI index. Each image is checked, its layers
 * get their names, and it appears with its tags; the first failure ends it all, what was complete stays. One thread: the session's. */
#include "engine/events.h"
#include "engine/load_internal.h"

#include "base/log.h"

/* One image on its way. */
struct image {
	struct cs_str config, manifest; /* manifest: empty when it must be made */
	struct cs_image_shape doc;
	struct cs_digest id, manifest_digest;
	struct candidate **cands;       /* bottom first, doc.n of them */
	char **names;                   /* full */
	const struct cs_digest *index;  /* that the names mean, of which this is one platform; or NULL */
	struct cs_image_layer *layers;
};

static void image_done(struct image *im)
{
	for (size_t i = 0; im->layers && i < im->doc.n; i++)
		free(im->layers[i].media_type);
	free(im->layers);
	cs_str_done(&im->config);
	cs_str_done(&im->manifest);
	cs_image_shape_done(&im->doc);
	free(im->cands);
	cs_strv_free(im->names);
}
#define IMAGE_INIT {.config = CS_STR_INIT(CS_MAX_IMAGE_JSON), .manifest = CS_STR_INIT(CS_MAX_IMAGE_JSON)}

/* The archive's entry of that path (for *ret_clean; caller frees), or NULL with the reason. */
static struct entry *named(struct cs_load_session *l, const char *path, const char *what, char **ret_clean, struct cs_err **err)
{
	*ret_clean = load_path(path, what, err);
	if (!*ret_clean)
		return NULL;
	struct entry *e = load_entry(l, *ret_clean);
	if (!e)
		(void)cs_fail(err, CS_ERR_INVALID, 0, "open %.200s: no such file or directory", *ret_clean);
	return e;
}

static struct entry *document(struct cs_load_session *l, const char *path, const char *what, struct cs_err **err)
{
	cs_autofree char *clean = NULL;
	struct entry *e = named(l, path, what, &clean, err);

	if (!e || e->kind == ENTRY_DOCUMENT)
		return e;
	(void)cs_fail(err, CS_ERR_INVALID, 0, "%.200s is no JSON document of at most %u bytes", clean, CS_MAX_IMAGE_JSON);
	return NULL;
}

static struct candidate *layer(struct cs_load_session *l, const char *path, const char *what, struct cs_err **err)
{
	cs_autofree char *clean = NULL;
	struct entry *e = named(l, path, what, &clean, err);

	if (e && e->kind != ENTRY_LAYER)
		(void)cs_fail(err, CS_ERR_INVALID, 0, "%.200s is no layer: it is neither a tar nor compressed", clean);
	return e ? e->cand : NULL;
}

/* What stands there may be a link to anything. */
static char *blob_path(const struct cs_digest *d) { return cs_xasprintf("blobs/sha256/%s", cs_digest_hex(d)); }

/* ---- what was named is what came ---- */
static int take_config(struct cs_load_session *l, const struct entry *e, struct image *im, struct cs_err **err)
{
	if (load_text(l, e, &im->config, err) < 0)
		return -1;
	im->id = e->digest;
	if (cs_image_shape_parse(im->config.buf, im->config.len, &im->doc, err) < 0)
		return cs_wrap(err, "configuration %.200s", e->path);
	if (im->doc.platform.os[0] && strcmp(im->doc.platform.os, "linux") != 0)
		return cs_fail(err, CS_ERR_INVALID, 0, "cannot load %.100s image on linux", im->doc.platform.os);
	im->cands = cs_xcalloc(im->doc.n + 1, sizeof(struct candidate *));
	im->layers = cs_xcalloc(im->doc.n + 1, sizeof(*im->layers));
	return 0;
}

/* ---- layers ---- */
/* A layer that some image of ours has, with its row. */
static bool have_layer(struct cs_images *m, const struct cs_digest *chain, struct cs_image_layer *ret)
{
	struct cs_image_rec *r, *next;
	bool found = false;

	if (!cs_layer_exists(m->storage, chain))
		return false;
	pthread_rwlock_rdlock(&m->lock);
	HASH_ITER(hh, m->by_id, r, next)
	{
		for (size_t i = 0; i < r->n_layers && !found; i++) {
			if (strcmp(r->layers[i].chain.s, chain->s) != 0)
				continue;
			*ret = r->layers[i];
			ret->media_type = cs_xstrdup(ret->media_type);
			found = true;
		}
		if (found)
			break;
	}
	pthread_rwlock_unlock(&m->lock);
	return found;
}

/* From here on the client sees how far those layers have come that are new. */
static void show(struct cs_load_session *l, const struct image *im)
{
	struct cs_digest chain = {0}, next;
	size_t have = 0;

	for (; have < im->doc.n; have++) {
		cs_chain_id(have ? &chain : NULL, &im->doc.diff[have], &next);
		if (!cs_layer_exists(l->m->storage, &next))
			break;
		chain = next;
	}
	l->shown = im->cands + have;
	l->shown_diff = im->doc.diff + have;
	l->n_shown = im->doc.n - have;
}

static int check_diffs(struct cs_load_session *l, struct image *im, struct cs_err **err)
{
	struct cs_digest is;

	show(l, im);
	for (size_t i = 0; i < im->doc.n; i++) {
		if (load_diff_id(l, im->cands[i], &is, err) < 0)
			return cs_wrap(err, "layer %zu", i);
		if (strcmp(is.s, im->doc.diff[i].s) != 0)
			return cs_fail(err, CS_ERR_INVALID, 0, "invalid diffID for layer %zu: expected \"%s\", got \"%s\"", i, im->doc.diff[i].s, is.s);
	}
	return 0;
}

static const char *layer_media(enum cs_layer_compression c)
{
	return c == CS_LAYER_GZIP ? "application/vnd.oci.image.layer.v1.tar+gzip" :
	       c == CS_LAYER_ZSTD ? "application/vnd.oci.image.layer.v1.tar+zstd" :
				    "application/vnd.oci.image.layer.v1.tar";
}

/* Stages for the layers from `from` on, one by one as the workers get ready. */
static int take_stages(struct cs_load_session *l, struct image *im, size_t from, struct cs_layer_stage **stages, struct cs_err **err)
{
	for (size_t i = from; i < im->doc.n; i++) /* all of them to the workers, before we wait for the first */
		load_unpack(l, im->cands[i]);
	for (size_t i = from; i < im->doc.n; i++) {
		struct cs_image_layer *y = &im->layers[i];
		struct cs_layer_result res;
		load_progress(l, im->cands[i], &im->doc.diff[i], CS_MIN(im->cands[i]->size, (int64_t)32768));
		if (load_take_stage(l, im->cands[i], &stages[i], &res, err) < 0)
			return cs_wrap(err, "layer %zu", i);
		y->diff = res.diff_id;
		y->blob = res.blob;
		y->blob_size = res.blob_size;
		y->size = res.size;
		y->media_type = cs_xstrdup(layer_media(res.compression));
		load_progress(l, im->cands[i], &im->doc.diff[i], im->cands[i]->size);
	}
	return 0;
}

static int make_layers(struct cs_load_session *l, struct image *im, struct cs_err **err)
{
	struct cs_digest chain = {0}, next;
	size_t n = im->doc.n, have = 0;
	cs_autofree struct cs_layer_stage **stages = cs_xcalloc(n + 1, sizeof(struct cs_layer_stage *));

	for (; have < n; have++) {
		cs_chain_id(have ? &chain : NULL, &im->doc.diff[have], &next);
		if (!have_layer(l->m, &next, &im->layers[have]))
			break;
		chain = next;
	}
	int r = take_stages(l, im, have, stages, err);
	if (r < 0) {
		for (size_t i = have; i < n; i++)
			cs_layer_drop(stages[i]);
		return -1;
	}
	if (have < n) {
		cs_autofree struct cs_digest *chains = cs_xcalloc(n, sizeof(*chains));
		if (cs_layers_publish(stages + have, n - have, have ? &chain : NULL, chains, err) < 0)
			return -1;
		for (size_t i = have; i < n; i++)
			im->layers[i].chain = chains[i - have];
	}
	return 0;
}

/* ---- the image itself ---- */
static bool has_blobs(struct cs_images *m, const struct image *im)
{
	struct cs_manifest node;
	bool all = true;

	if (cs_manifest_parse(im->manifest.buf, im->manifest.len, NULL, &node, NULL) < 0)
		return false;
	for (size_t i = 0; i < node.n && all; i++) {
		int fd;
		all = cs_blob_open(m->storage, &node.v[i].digest, &fd, NULL, NULL) == 0;
		if (all)
			cs_close(fd);
	}
	cs_manifest_done(&node);
	return all;
}

static int store_documents(struct cs_load_session *l, struct image *im, struct cs_err **err)
{
	struct cs_images *m = l->m;

	if (im->manifest.len == 0 || !has_blobs(m, im)) {
		cs_autofree struct cs_doc_layer *v = cs_xcalloc(im->doc.n + 1, sizeof(*v));
		for (size_t i = 0; i < im->doc.n; i++)
			v[i] = (struct cs_doc_layer){im->layers[i].media_type, &im->layers[i].blob, im->layers[i].blob_size};
		cs_str_clear(&im->manifest);
		cs_doc_put_manifest(&im->manifest, &im->id, im->config.len, v, im->doc.n);
	}
	struct cs_digest id;
	if (cs_blob_put(m->storage, im->config.buf, im->config.len, &id, err) < 0)
		return -1;
	return cs_blob_put(m->storage, im->manifest.buf, im->manifest.len, &im->manifest_digest, err);
}

/* Under m->write, where nobody may wait for a client: what to say later of the names that move. */
static void note_renames(struct cs_load_session *l, const struct image *im, char ***says)
{
	for (size_t i = 0; im->names && im->names[i]; i++) {
		struct cs_image_name *n;
		cs_autofree char *was = NULL, *shown = cs_ref_shorten(im->names[i]);
		pthread_rwlock_rdlock(&l->m->lock);
		HASH_FIND_STR(l->m->names, im->names[i], n);
		if (n && strcmp(n->rec->id.s, im->id.s) != 0)
			was = cs_xstrdup(n->rec->id.s);
		pthread_rwlock_unlock(&l->m->lock);
		if (was)
			cs_strv_take(says, cs_xasprintf("The image %s already exists, renaming the old one with ID %s to empty string\n", shown, was));
		cs_strv_take(says, cs_xasprintf("Loaded image: %s\n", shown));
		l->named++;
	}
}

static int tell_added(struct cs_load_session *l, const struct image *im, char *const *says)
{
	for (; says && *says; says++)
		load_say(l, *says);
	if (im->index && !im->names)
		return 0; /* another platform of what was told */
	cs_str_puts(&l->ids, "Loaded image ID: ");
	cs_str_puts(&l->ids, im->id.s);
	cs_str_puts(&l->ids, "\n");
	if (l->out) {
		struct cs_strmap *attrs = cs_strmap_new();
		cs_strmap_set(attrs, "name", im->id.s);
		cs_event(l->m->e, "image", "load", im->id.s, attrs);
	}
	return 0;
}

static int add_image(struct cs_load_session *l, struct image *im, struct cs_err **err)
{
	struct cs_images *m = l->m;
	cs_autostrv char **says = NULL;

	if (make_layers(l, im, err) < 0 || store_documents(l, im, err) < 0)
		return -1;
	{
		struct cs_image_rec *old;
		CS_GUARD(&m->write);
		HASH_FIND_STR(m->by_id, im->id.s, old);
		l->stray = l->stray || (old && strcmp(old->manifest.s, im->manifest_digest.s) != 0);
		note_renames(l, im, &says);
		if (cs_images_add(m, &im->id, old ? &old->manifest : &im->manifest_digest, im->layers, im->doc.n, im->names, im->index, err) < 0)
			return -1;
	}
	return tell_added(l, im, says);
}

static int add_tag(struct image *im, const char *tag, struct cs_err **err)
{
	cs_autoref struct cs_ref ref = {0};

	if (cs_ref_parse(tag, &ref, err) < 0)
		return -1;
	if (!ref.tag || ref.digest)
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid tag \"%.300s\"", tag);
	cs_strv_take(&im->names, cs_ref_full(&ref));
	return 0;
}

/* ---- platforms ---- */
static bool wanted(struct cs_load_session *l, const struct cs_platform *have)
{
	for (size_t i = 0; i < l->n_platforms; i++) {
		if (cs_platform_same(&l->platforms[i], have))
			return true;
	}
	return false;
}

static int no_platform(struct cs_load_session *l, const char *where, struct cs_err **err)
{
	struct cs_platform host = {0};

	if (cs_platform_parse(NULL, &host, err) < 0)
		return -1;
	cs_autofree char *text = cs_platform_text(l->n_platforms ? &l->platforms[0] : &host);
	cs_platform_done(&host);
	return cs_fail(err, CS_ERR_NOT_FOUND, 0, "requested platform (%s) not found in %s", text, where);
}

/* ---- docker save ---- */
/* The archive's own manifest of this configuration, if its index has one: the image keeps its digest. Best effort. */
static void find_manifest(struct cs_load_session *l, struct image *im)
{
	struct entry *index = load_entry(l, "index.json");
	cs_autostr struct cs_str text = CS_STR_INIT(CS_MAX_IMAGE_JSON);
	struct cs_manifest top, node;

	if (!index || index->kind != ENTRY_DOCUMENT || load_text(l, index, &text, NULL) < 0 || cs_manifest_parse(text.buf, text.len, NULL, &top, NULL) < 0)
		return;
	for (size_t i = 0; top.kind == CS_MANIFEST_INDEX && i < top.n && im->manifest.len == 0; i++) {
		cs_autofree char *path = blob_path(&top.v[i].digest);
		struct entry *e = load_entry(l, path);
		cs_str_clear(&text);
		if (!e || e->kind != ENTRY_DOCUMENT || load_text(l, e, &text, NULL) < 0 || cs_manifest_parse(text.buf, text.len, NULL, &node, NULL) < 0)
			continue;
		bool same = node.kind == CS_MANIFEST_IMAGE && strcmp(node.config.digest.s, im->id.s) == 0 && node.n == im->doc.n;
		for (size_t k = 0; same && k < node.n; k++)
			same = strcmp(node.v[k].digest.s, im->cands[k]->blob.s) == 0 && node.v[k].size == im->cands[k]->size;
		if (same)
			cs_str_put(&im->manifest, text.buf, text.len);
		cs_manifest_done(&node);
	}
	cs_manifest_done(&top);
}

/* Returns how many names are left. */
static size_t take_away(struct image *im, char *const *names)
{
	char **left = NULL;

	for (char **n = im->names; n && *n; n++) {
		if (!names || !cs_strv_has(names, *n))
			cs_strv_push(&left, *n);
	}
	cs_strv_free(im->names);
	im->names = left;
	return cs_strv_len(left);
}

/* indexes: names that index.json gives to an index, which brings this image along. */
static int docker_item(struct cs_load_session *l, const struct cs_doc_item *it, struct image *im, char *const *indexes, struct cs_err **err)
{
	for (size_t i = 0; it->tags[i]; i++) {
		if (add_tag(im, it->tags[i], err) < 0)
			return -1;
	}
	if (it->tags[0] && take_away(im, indexes) == 0)
		return 0;
	struct entry *e = document(l, it->config, "manifest.json", err);

	if (!e || take_config(l, e, im, err) < 0)
		return -1;
	if (cs_strv_len(it->layers) != im->doc.n)
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid manifest, layers length mismatch: expected %zu, got %zu", cs_strv_len(it->layers), im->doc.n);
	if (l->n_platforms && !wanted(l, &im->doc.platform))
		return no_platform(l, it->config, err);
	for (size_t i = 0; i < im->doc.n; i++) {
		im->cands[i] = layer(l, it->layers[i], "manifest.json", err);
		if (!im->cands[i])
			return -1;
	}
	if (check_diffs(l, im, err) < 0)
		return -1;
	find_manifest(l, im);
	return add_image(l, im, err);
}

static int docker_images(struct cs_load_session *l, const struct entry *e, char *const *indexes, struct cs_err **err)
{
	cs_autostr struct cs_str text = CS_STR_INIT(CS_MAX_IMAGE_JSON);
	struct cs_doc_items items;
	int r = 0;

	if (load_text(l, e, &text, err) < 0 || cs_doc_items(text.buf, text.len, &items, err) < 0)
		return -1;
	for (size_t i = 0; r == 0 && i < items.n; i++) {
		struct image im = IMAGE_INIT;
		r = docker_item(l, &items.v[i], &im, indexes, err);
		l->n_shown = 0;
		image_done(&im);
	}
	cs_doc_items_done(&items);
	return r;
}

/* ---- OCI layouts ---- */
static int read_node(struct cs_load_session *l, const struct cs_descriptor *d, struct cs_str *text, struct cs_manifest *node, struct cs_err **err)
{
	cs_autofree char *path = blob_path(&d->digest);
	struct entry *e = document(l, path, "index.json", err);

	if (!e || cs_digest_expect(&e->digest, &d->digest, err) < 0 || load_text(l, e, text, err) < 0)
		return -1;
	if (d->size != (int64_t)text->len)
		return cs_fail(err, CS_ERR_INVALID, 0, "%s has %zu bytes where its descriptor says %lld", d->digest.s, text->len, (long long)d->size);
	if (cs_manifest_parse(text->buf, text->len, d->media_type, node, err) < 0)
		return cs_wrap(err, "%s", d->digest.s);
	return 0;
}

/* A blob of an artifact: in memory when it is a document, else in the store already. */
static int artifact_blob(struct cs_load_session *l, const struct cs_descriptor *d, struct cs_err **err)
{
	cs_autofree char *path = blob_path(&d->digest);
	cs_autostr struct cs_str text = CS_STR_INIT(CS_MAX_IMAGE_JSON);
	cs_autofd int fd = -EBADF;
	struct entry *e = load_entry(l, path);
	struct cs_digest is;
	int64_t size;

	if (e && e->kind == ENTRY_DOCUMENT) {
		if (cs_digest_expect(&e->digest, &d->digest, err) < 0 || load_text(l, e, &text, err) < 0 ||
		    cs_blob_put(l->m->storage, text.buf ? text.buf : "", text.len, &is, err) < 0)
			return -1;
	}
	if (!e || cs_blob_open(l->m->storage, &d->digest, &fd, &size, NULL) < 0)
		return cs_fail(err, CS_ERR_INVALID, 0, "open %s: no such file or directory", path);
	return size == d->size ? 0 : cs_fail(err, CS_ERR_INVALID, 0, "%s has %lld bytes where its descriptor says %lld", d->digest.s, (long long)size, (long long)d->size);
}

/* Its manifest is its id; the blobs may be anything. */
static int add_artifact(struct cs_load_session *l, const struct cs_descriptor *self, const struct cs_manifest *node, struct image *im, struct cs_err **err)
{
	struct cs_images *m = l->m;
	cs_autostrv char **says = NULL;

	if (artifact_blob(l, &node->config, err) < 0)
		return -1;
	for (size_t i = 0; i < node->n; i++)
		if (artifact_blob(l, &node->v[i], err) < 0)
			return -1;
	im->id = self->digest;
	if (cs_blob_put(m->storage, im->manifest.buf, im->manifest.len, &im->manifest_digest, err) < 0)
		return -1;
	{
		CS_GUARD(&m->write);
		note_renames(l, im, &says);
		if (cs_images_add(m, &im->id, &im->manifest_digest, NULL, 0, im->names, im->index, err) < 0)
			return -1;
	}
	return tell_added(l, im, says);
}

static int oci_config(struct cs_load_session *l, const struct cs_manifest *node, struct image *im, struct cs_err **err)
{
	cs_autofree char *path = blob_path(&node->config.digest);
	struct entry *e;

	e = document(l, path, "manifest", err);
	if (!e || cs_digest_expect(&e->digest, &node->config.digest, err) < 0 || take_config(l, e, im, err) < 0)
		return -1;
	if (node->config.size != (int64_t)im->config.len)
		return cs_fail(err, CS_ERR_INVALID, 0, "%s has %zu bytes where its descriptor says %lld", im->id.s, im->config.len, (long long)node->config.size);
	if (node->n != im->doc.n)
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid manifest, layers length mismatch: expected %zu, got %zu", node->n, im->doc.n);
	return l->n_platforms && !wanted(l, &im->doc.platform) ? no_platform(l, im->id.s, err) : 0;
}

static int oci_manifest(struct cs_load_session *l, const struct cs_manifest *node, struct image *im, struct cs_err **err)
{
	if (oci_config(l, node, im, err) < 0)
		return -1;
	for (size_t i = 0; i < im->doc.n; i++) {
		const struct cs_descriptor *d = &node->v[i];
		cs_autofree char *path = blob_path(&d->digest);
		im->cands[i] = layer(l, path, "manifest", err);
		if (!im->cands[i] || cs_digest_expect(&im->cands[i]->blob, &d->digest, err) < 0)
			return -1;
		if (im->cands[i]->size != d->size)
			return cs_fail(err, CS_ERR_INVALID, 0, "%s has %lld bytes where its descriptor says %lld", d->digest.s, (long long)im->cands[i]->size,
				       (long long)d->size);
	}
	return check_diffs(l, im, err) < 0 ? -1 : add_image(l, im, err);
}

/* Where a manifest stands: names are for the first image that comes of it; index: what they mean, or NULL when they mean the image. */
struct place {
	char *const *names;
	const struct cs_digest *index;
	int depth;
	struct cs_index_walk *walk;
	size_t images; /* that came of it */
};

static int oci_node(struct cs_load_session *l, const struct cs_descriptor *d, struct place *at, struct cs_err **err);

static bool is_foreign(const struct cs_descriptor *d)
{
	return d->attestation || (*d->platform.os && strcmp(d->platform.os, "linux") != 0);
}

/* How well an entry does: an entry without a platform (an index in an index) may have anything. */
static int score(struct cs_load_session *l, const struct cs_platform *host, const struct cs_descriptor *d)
{
	if (is_foreign(d))
		return -1;
	if (!d->platform.os[0])
		return 1;
	return l->n_platforms ? wanted(l, &d->platform) : cs_platform_score(host, &d->platform);
}

/* Has the archive all of it? An index that was saved with some of its platforms names the others, too. */
static bool is_there(struct cs_load_session *l, const struct cs_descriptor *d)
{
	cs_autostr struct cs_str text = CS_STR_INIT(CS_MAX_IMAGE_JSON);
	struct cs_manifest node = {0};
	bool there = read_node(l, d, &text, &node, NULL) == 0;

	for (size_t i = 0; there && node.kind == CS_MANIFEST_IMAGE && i <= node.n; i++) {
		cs_autofree char *path = blob_path(i < node.n ? &node.v[i].digest : &node.config.digest);
		there = load_entry(l, path) != NULL;
	}
	cs_manifest_done(&node);
	return there;
}

/* What is no image to us (an attestation, a platform of another system) stays with its index as it is, if it came. */
static void keep_foreign(struct cs_load_session *l, const struct cs_descriptor *d)
{
	cs_autostr struct cs_str text = CS_STR_INIT(CS_MAX_IMAGE_JSON);
	struct cs_manifest node = {0};
	struct cs_digest is;

	bool all = read_node(l, d, &text, &node, NULL) == 0 && node.kind == CS_MANIFEST_IMAGE && artifact_blob(l, &node.config, NULL) == 0;
	for (size_t i = 0; all && i < node.n; i++)
		all = artifact_blob(l, &node.v[i], NULL) == 0;
	if (all)
		(void)!cs_blob_put(l->m->storage, text.buf, text.len, &is, NULL);
	l->stray = true;
	cs_manifest_done(&node);
}

/* An index with a name: all of its platforms that the archive has, or those that were asked for, the best one for this host first. Without a name:
 * those that were asked for, else the best, else the only one. */
static int oci_index(struct cs_load_session *l, const struct cs_manifest *node, const struct cs_descriptor *self, const struct cs_str *text, struct place *at,
		     struct cs_err **err)
{
	cs_autoplatform struct cs_platform host = {0};
	const struct cs_descriptor *best = NULL, *only = NULL, *lost = NULL;
	bool all = at->index || (at->names && *at->names);
	struct place below = {.names = at->names, .index = !all || at->index ? at->index : &self->digest, .depth = at->depth + 1, .walk = at->walk};
	size_t images = 0;
	struct cs_digest is;
	int r = 0, most = 0;

	int seen = cs_index_walk_into(at->walk, &self->digest, at->depth, node->n, err);
	if (seen != 0)
		return seen < 0 ? -1 : 0;
	if (cs_platform_parse(NULL, &host, err) < 0 || (all && cs_blob_put(l->m->storage, text->buf, text->len, &is, err) < 0))
		return -1;
	for (size_t i = 0; i < node->n; i++) {
		const struct cs_descriptor *d = &node->v[i];
		int points = score(l, &host, d);
		if (points < 0 && all)
			keep_foreign(l, d);
		images += points >= 0;
		only = points >= 0 ? d : only;
		if (points > 0 && !is_there(l, d)) {
			lost = lost ? lost : d;
		} else if (points > most) {
			most = points;
			best = d;
		}
	}
	if (!best && images == 1 && !l->n_platforms)
		best = only; /* for another machine, but there is no doubt which one is meant */
	if (best)
		r = oci_node(l, best, &below, err);
	for (size_t i = 0; r == 0 && i < node->n; i++) {
		const struct cs_descriptor *d = &node->v[i];
		int points = score(l, &host, d);
		if (d == best || points < 0 || (l->n_platforms && points == 0) || (!all && !l->n_platforms) || !is_there(l, d))
			continue;
		r = oci_node(l, d, &below, err);
	}
	if (r == 0 && below.images == 0 && lost)
		r = oci_node(l, lost, &below, err); /* says what is missing */
	at->names = below.names;
	at->images += below.images;
	/* an index in an index may well have nothing for us */
	return r == 0 && at->depth == 0 && at->images == 0 ? no_platform(l, self->digest.s, err) : r;
}

static int oci_node(struct cs_load_session *l, const struct cs_descriptor *d, struct place *at, struct cs_err **err)
{
	struct image im = IMAGE_INIT;
	struct cs_manifest node;
	int r;

	if (read_node(l, d, &im.manifest, &node, err) < 0) {
		image_done(&im);
		return -1;
	}
	if (node.kind == CS_MANIFEST_INDEX) {
		r = oci_index(l, &node, d, &im.manifest, at, err);
	} else {
		for (char *const *names = at->names; names && *names; names++)
			cs_strv_push(&im.names, *names);
		im.index = at->index;
		at->names = NULL;
		at->images++;
		r = node.artifact_type ? add_artifact(l, d, &node, &im, err) : oci_manifest(l, &node, &im, err);
		if (r < 0)
			(void)cs_wrap(err, "manifest %s", d->digest.s);
	}
	cs_manifest_done(&node);
	l->n_shown = 0;
	image_done(&im);
	return r;
}

/* All names that index.json gives to one digest. A name that no reference can have (umoci allows more) is none. */
static char **oci_names(const struct cs_manifest *list, const struct cs_digest *d)
{
	char **names = cs_xcalloc(1, sizeof(char *));

	for (size_t i = 0; i < list->n; i++) {
		cs_autoref struct cs_ref ref = {0};
		if (strcmp(list->v[i].digest.s, d->s) != 0 || !list->v[i].name || cs_ref_parse(list->v[i].name, &ref, NULL) < 0 || ref.digest)
			continue;
		cs_ref_default_tag(&ref);
		cs_strv_take(&names, cs_ref_full(&ref));
	}
	return names;
}

/* Does manifest.json say nothing of what this is, an artifact, or one of its images only, an index? What is wrong with it does not matter here. */
static bool is_more(struct cs_load_session *l, const struct cs_descriptor *d, bool *ret_index)
{
	cs_autostr struct cs_str text = CS_STR_INIT(CS_MAX_IMAGE_JSON);
	struct cs_manifest node = {0};
	bool read = read_node(l, d, &text, &node, NULL) == 0;
	bool artifact = read && node.artifact_type;

	*ret_index = read && node.kind == CS_MANIFEST_INDEX;
	cs_manifest_done(&node);
	return artifact || *ret_index;
}

static int read_top(struct cs_load_session *l, const struct entry *e, struct cs_manifest *top, struct cs_err **err)
{
	cs_autostr struct cs_str text = CS_STR_INIT(CS_MAX_IMAGE_JSON);

	if (load_text(l, e, &text, err) < 0)
		return -1;
	if (cs_manifest_parse(text.buf, text.len, NULL, top, err) < 0)
		return cs_wrap(err, "index.json");
	return top->kind == CS_MANIFEST_INDEX ? 0 : cs_fail(err, CS_ERR_INVALID, 0, "index.json is no index");
}

/* more_only: what manifest.json does not say. */
static int oci_images(struct cs_load_session *l, const struct entry *e, bool more_only, struct cs_err **err)
{
	cs_automf struct cs_manifest top = {0};
	bool index;
	int r = read_top(l, e, &top, err);

	for (size_t i = 0; r == 0 && i < top.n; i++) {
		const struct cs_descriptor *d = &top.v[i];
		bool before = d->attestation || (more_only && !is_more(l, d, &index));
		for (size_t k = 0; k < i && !before; k++)
			before = strcmp(top.v[k].digest.s, d->digest.s) == 0;
		if (before)
			continue;
		cs_autostrv char **names = oci_names(&top, &d->digest);
		struct cs_index_walk walk = {0};
		struct place at = {.names = names, .walk = &walk};
		r = oci_node(l, d, &at, err);
	}
	return r;
}

/* Names that mean an index, in an archive that is also Docker's: its manifest.json has one of the platforms under them. */
static char **index_names(struct cs_load_session *l, const struct entry *e)
{
	cs_automf struct cs_manifest top = {0};
	char **v = NULL;
	bool index;

	if (!e || e->kind != ENTRY_DOCUMENT || read_top(l, e, &top, NULL) < 0)
		return NULL;
	for (size_t i = 0; i < top.n; i++) {
		cs_autostrv char **names = is_more(l, &top.v[i], &index) && index ? oci_names(&top, &top.v[i].digest) : NULL;
		for (char **n = names; n && *n; n++)
			cs_strv_push(&v, *n);
	}
	return v;
}

int load_images(struct cs_load_session *l, struct cs_err **err)
{
	struct entry *docker = load_entry(l, "manifest.json"), *oci = load_entry(l, "index.json");
	int r;

	if (docker && docker->kind == ENTRY_DOCUMENT) {
		cs_autostrv char **indexes = index_names(l, oci);
		r = docker_images(l, docker, indexes, err);
		if (r == 0 && oci && oci->kind == ENTRY_DOCUMENT)
			r = oci_images(l, oci, true, err); /* of which manifest.json says nothing */
	}
	else if (docker)
		r = cs_fail(err, CS_ERR_INVALID, 0, "invalid archive: manifest.json is no JSON document");
	else if (oci && oci->kind == ENTRY_DOCUMENT)
		r = oci_images(l, oci, false, err);
	else /* also for what docker save made before 1.10: Docker does not read that any more, either */
		r = cs_fail(err, CS_ERR_INVALID, 0, "invalid archive: does not contain a manifest.json");
	if (r == 0 && l->named == 0 && l->ids.len)
		load_say(l, l->ids.buf);
	else if (r == 0 && l->named == 0 && l->out)
		cs_progress_json(l->out, "{}", 2); /* Docker's empty text */
	return r;
}
