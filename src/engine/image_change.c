/* SPDX-License-Identifier: Apache-2.0
 *
 * Changes of the set of images: rows first, then the tables in memory, then index.json, and files that nobody needs last; so a crash at any
 * line leaves at most rubbish, which the next start sweeps. All under m->write. */
#include "base/log.h"
#include "base/time.h"
#include "engine/image_internal.h"

/* ---- index.json ---- */
static void put_manifest(struct cs_str *out, const struct cs_image_rec *r, const char *name)
{
	cs_str_puts(out, out->buf[out->len - 1] == '[' ? "{" : ",{");
	cs_json_put_kstr(out, "mediaType", CS_MEDIA_MANIFEST);
	cs_json_put_kstr(out, "digest", r->manifest.s);
	cs_json_put_ki64(out, "size", r->manifest_size);
	cs_json_put_key(out, "platform");
	cs_str_puts(out, "{");
	cs_json_put_kstr(out, "architecture", r->info.architecture);
	cs_json_put_kstr(out, "os", r->info.os);
	if (!cs_empty(r->info.variant))
		cs_json_put_kstr(out, "variant", r->info.variant);
	cs_str_puts(out, "}");
	if (name) {
		const char *slash = strrchr(name, '/'), *colon = strchr(slash ? slash : name, ':');
		cs_json_put_key(out, "annotations");
		cs_str_puts(out, "{");
		cs_json_put_kstr(out, "io.containerd.image.name", name);
		cs_json_put_kstr(out, "org.opencontainers.image.ref.name", colon ? colon + 1 : name);
		cs_str_puts(out, "}");
	}
	cs_str_puts(out, "}");
}

static int by_name(struct cs_image_name *a, struct cs_image_name *b) { return strcmp(a->full, b->full); }

static int write_index(struct cs_images *m, struct cs_err **err)
{
	cs_autostr struct cs_str out = CS_STR_INIT(256u << 20);
	struct cs_image_rec *r, *rn;
	struct cs_image_name *n, *nn;

	cs_str_puts(&out, "{\"schemaVersion\":2,\"mediaType\":\"" CS_MEDIA_INDEX "\",\"manifests\":[");
	HASH_ITER(hh, m->names, n, nn)
	{
		put_manifest(&out, n->rec, n->full);
	}
	HASH_ITER(hh, m->by_id, r, rn)
	{
		bool named = false;
		for (n = m->names; n && !named; n = n->hh.next)
			named = n->rec == r;
		if (!named)
			put_manifest(&out, r, NULL);
	}
	cs_str_puts(&out, "]}");
	if (out.failed)
		return cs_fail(err, CS_ERR_INTERNAL, ENOMEM, "build index.json");
	return cs_content_set_index(m->storage, out.buf, out.len, err);
}

/* ---- tables in memory; m->lock is taken here ---- */
static void table_name(struct cs_images *m, const char *full, struct cs_image_rec *r)
{
	struct cs_image_name *n;

	pthread_rwlock_wrlock(&m->lock);
	HASH_FIND_STR(m->names, full, n);
	if (!n) {
		n = cs_xcalloc(1, sizeof(*n));
		n->full = cs_xstrdup(full);
		HASH_ADD_KEYPTR_INORDER(hh, m->names, n->full, strlen(n->full), n, by_name);
	}
	n->rec = r;
	pthread_rwlock_unlock(&m->lock);
}

int cs_images_add(struct cs_images *m, const struct cs_digest *id, const struct cs_digest *manifest, const struct cs_image_layer *layers, size_t n,
		  char *const *names, struct cs_err **err)
{
	struct cs_image_rec *r, *old;
	int64_t now = cs_now_ns();

	for (size_t i = 0; i < n; i++) {
		if (!cs_layer_exists(m->storage, &layers[i].chain))
			return cs_fail(err, CS_ERR_INTERNAL, 0, "layer %s vanished", layers[i].chain.s);
	}
	if (cs_image_rec_new(m, id, manifest, layers, n, &r, err) < 0)
		return -1;
	if (cs_image_db_add(m, id, manifest, layers, n, names, now, err) < 0) {
		cs_image_rec_unref(r);
		return -1;
	}
	HASH_FIND_STR(m->by_id, id->s, old);
	if (old) {
		/* the same configuration again: only names are new */
		cs_image_rec_unref(r);
		r = old;
	} else {
		pthread_rwlock_wrlock(&m->lock);
		HASH_ADD_STR(m->by_id, id.s, r);
		pthread_rwlock_unlock(&m->lock);
	}
	if (names && *names)
		atomic_store(&r->last_tagged, now);
	for (; names && *names; names++)
		table_name(m, *names, r);
	return write_index(m, err);
}

int cs_images_set_name(struct cs_images *m, const char *full, struct cs_image_rec *r, struct cs_err **err)
{
	int64_t now = cs_now_ns();

	if (atomic_load(&r->gone))
		return cs_fail(err, CS_ERR_NOT_FOUND, 0, "No such image: %s", r->id.s);
	if (cs_image_db_name(m, full, r->id.s, now, err) < 0)
		return -1;
	atomic_store(&r->last_tagged, now);
	table_name(m, full, r);
	return write_index(m, err);
}

int cs_images_del_name(struct cs_images *m, const char *full, struct cs_err **err)
{
	struct cs_image_name *n;

	if (cs_image_db_name(m, full, NULL, 0, err) < 0)
		return -1;
	pthread_rwlock_wrlock(&m->lock);
	HASH_FIND_STR(m->names, full, n);
	if (n)
		HASH_DEL(m->names, n);
	pthread_rwlock_unlock(&m->lock);
	if (n) {
		free(n->full);
		free(n);
	}
	return write_index(m, err);
}

int cs_images_del(struct cs_images *m, struct cs_image_rec *r, struct cs_err **err)
{
	struct cs_image_name *n, *next;

	if (cs_image_db_del(m, r->id.s, err) < 0)
		return -1;
	pthread_rwlock_wrlock(&m->lock);
	HASH_ITER(hh, m->names, n, next)
	{
		if (n->rec != r)
			continue;
		HASH_DEL(m->names, n);
		free(n->full);
		free(n);
	}
	HASH_DEL(m->by_id, r);
	atomic_store(&r->gone, true);
	pthread_rwlock_unlock(&m->lock);
	cs_image_rec_unref(r); /* the table's */
	int w = write_index(m, err);
	cs_images_sweep(m);
	return w;
}

/* ---- sweeping ---- */
struct mark {
	struct cs_digest d;
	struct cs_digest parent, blob; /* of a layer */
	bool keep;
	UT_hash_handle hh;
};
struct sweep {
	struct cs_images *m;
	struct mark *layers, *blobs;
	bool changed;
};

static struct mark *mark(struct mark **set, const struct cs_digest *d)
{
	struct mark *k;
	HASH_FIND_STR(*set, d->s, k);
	if (!k) {
		k = cs_xcalloc(1, sizeof(*k));
		k->d = *d;
		HASH_ADD_STR(*set, d.s, k);
	}
	return k;
}

static void marks_free(struct mark **set)
{
	struct mark *k, *next;
	HASH_ITER(hh, *set, k, next)
	{
		HASH_DEL(*set, k);
		free(k);
	}
}

static void on_row(void *ctx, const struct cs_image_layer *l, const struct cs_digest *parent)
{
	struct mark *k = mark(&((struct sweep *)ctx)->layers, &l->chain);
	k->parent = *parent;
	k->blob = l->blob;
}

static void keep_chain(struct sweep *s, const struct cs_digest *top)
{
	struct mark *k;
	struct cs_digest at = *top;

	for (;;) {
		HASH_FIND_STR(s->layers, at.s, k);
		if (!k || k->keep)
			return;
		k->keep = true;
		mark(&s->blobs, &k->blob);
		if (!k->parent.s[0])
			return;
		at = k->parent;
	}
}

/* A container may outlive its image (rmi -f): its layers stay as long as its snapshot. */
static void on_snapshot(void *ctx, const char *id)
{
	struct sweep *s = ctx;
	struct cs_digest top;
	if (cs_snap_parent(s->m->storage, id, &top, NULL) == 0 && top.s[0])
		keep_chain(s, &top);
}

static void on_layer_dir(void *ctx, const struct cs_digest *chain)
{
	struct sweep *s = ctx;
	struct mark *k;
	HASH_FIND_STR(s->layers, chain->s, k);
	if (k && k->keep)
		return;
	cs_autoerr struct cs_err *e = NULL;
	if (cs_layer_remove(s->m->storage, chain, &e) < 0) {
		cs_autofree char *text = cs_err_text(e);
		cs_warn("image", "%s", text);
	}
}

static void on_blob(void *ctx, const struct cs_digest *d)
{
	struct sweep *s = ctx;
	struct mark *k;
	HASH_FIND_STR(s->blobs, d->s, k);
	if (!k)
		cs_blob_remove(s->m->storage, d);
}

/* Two images may share a layer and yet name different blobs for it (the same tar, compressed differently): the manifests decide. */
static bool keep_manifest(struct sweep *s, const struct cs_image_rec *r)
{
	cs_autostr struct cs_str text = CS_STR_INIT(CS_MAX_IMAGE_JSON);
	size_t i;
	json_t *l;

	if (cs_blob_get(s->m->storage, &r->manifest, CS_MAX_IMAGE_JSON, &text, NULL) < 0)
		return false;
	cs_autojson json_t *j = cs_json_parse(text.buf, text.len, NULL);
	json_array_foreach(json_object_get(j, "layers"), i, l)
	{
		const char *digest = json_string_value(json_object_get(l, "digest"));
		struct cs_digest d;
		if (digest && cs_digest_from(digest, &d))
			mark(&s->blobs, &d);
	}
	return j != NULL;
}

void cs_images_sweep(struct cs_images *m)
{
	bool sure = true;
	struct sweep s = {.m = m};
	struct cs_image_rec *r, *rn;
	struct mark *k, *kn;
	cs_autoerr struct cs_err *e = NULL;

	m->sweep_wanted = m->unpacking > 0;
	if (m->sweep_wanted)
		return;
	if (cs_image_db_layers(m, on_row, &s, &e) < 0) {
		cs_autofree char *text = cs_err_text(e);
		cs_warn("image", "nothing swept: %s", text);
		marks_free(&s.layers);
		return;
	}
	HASH_ITER(hh, m->by_id, r, rn)
	{
		mark(&s.blobs, &r->id);
		mark(&s.blobs, &r->manifest);
		sure = keep_manifest(&s, r) && sure;
		if (r->n_layers)
			keep_chain(&s, &r->layers[r->n_layers - 1].chain);
	}
	cs_snap_each(m->storage, on_snapshot, &s);
	HASH_ITER(hh, s.layers, k, kn)
	{
		if (!k->keep && cs_image_db_layer_del(m, &k->d, NULL) < 0)
			k->keep = true; /* the row stays, so must the files */
	}
	cs_layer_each(m->storage, on_layer_dir, &s);
	if (sure)
		cs_blob_each(m->storage, on_blob, &s);
	marks_free(&s.layers);
	marks_free(&s.blobs);
}

void cs_images_unpack_begin(struct cs_images *m) { m->unpacking++; }

void cs_images_unpack_end(struct cs_images *m)
{
	if (--m->unpacking == 0 && m->sweep_wanted)
		cs_images_sweep(m);
}
