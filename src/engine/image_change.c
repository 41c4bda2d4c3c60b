/* SPDX-License-Identifier: Apache-2.0
 *
 * Changes of the set of images: rows first, then the tables in memory, then index.json, and files that nobody needs last; so a crash at any
 * line leaves at most rubbish, which the next start sweeps. All under m->write. */
#include <fcntl.h>

#include "base/io.h"
#include "base/log.h"
#include "base/time.h"
#include "engine/image_index.h"

/* ---- index.json ---- */
static void put_manifest(struct cs_str *out, const struct cs_image_rec *r, const struct cs_image_index *index, const char *name)
{
	cs_str_puts(out, out->buf[out->len - 1] == '[' ? "{" : ",{");
	cs_json_put_kstr(out, "mediaType", index ? index->media_type : r->manifest_type);
	cs_json_put_kstr(out, "digest", index ? index->digest.s : r->manifest.s);
	cs_json_put_ki64(out, "size", index ? index->size : r->manifest_size);
	if (!index) {
		cs_json_put_key(out, "platform");
		cs_str_puts(out, "{");
		cs_json_put_kstr(out, "architecture", r->info.architecture);
		cs_json_put_kstr(out, "os", r->info.os);
		if (!cs_empty(r->info.variant))
			cs_json_put_kstr(out, "variant", r->info.variant);
		cs_str_puts(out, "}");
	}
	if (name) {
		cs_json_put_key(out, "annotations");
		cs_str_puts(out, "{");
		cs_json_put_kstr(out, "io.containerd.image.name", name);
		/* not the tag alone, as in an archive: half of all images are "latest", and who reads a layout takes the first */
		cs_json_put_kstr(out, "org.opencontainers.image.ref.name", name);
		cs_str_puts(out, "}");
	}
	cs_str_puts(out, "}");
}

/* An index stands there when it has more to say than the one manifest of it that is here: readers of layouts want what they are led to. */
static const struct cs_image_index *shown_index(struct cs_images *m, const struct cs_image_name *n)
{
	return n->index && cs_image_index_counts(m, n->index) ? n->index : NULL;
}

/* sorted by name, so that index.json and every list have one order */
static int by_name(struct cs_image_name *a, struct cs_image_name *b) { return strcmp(a->full, b->full); }

static int build_index(struct cs_images *m, struct cs_str *out, struct cs_err **err)
{
	struct cs_image_rec *r, *rn;
	struct cs_image_name *n, *nn;

	cs_str_puts(out, "{\"schemaVersion\":2,\"mediaType\":\"" CS_MEDIA_INDEX "\",\"manifests\":[");
	HASH_ITER(hh, m->by_id, r, rn)
	{
		r->indexed = false;
	}
	HASH_ITER(hh, m->names, n, nn)
	{
		if (cs_image_is_digest_ref(n->full))
			continue;
		put_manifest(out, n->rec, shown_index(m, n), n->full);
		n->rec->indexed = true;
	}
	HASH_ITER(hh, m->by_id, r, rn)
	{
		if (!r->indexed && !cs_image_is_hidden(m, r))
			put_manifest(out, r, NULL, NULL);
	}
	cs_str_puts(out, "]}");
	return out->failed ? cs_fail(err, CS_ERR_INTERNAL, ENOMEM, "build index.json") : 0;
}

static int write_index(struct cs_images *m, struct cs_err **err)
{
	cs_autostr struct cs_str out = CS_STR_INIT(256u << 20);
	return build_index(m, &out, err) < 0 ? -1 : cs_content_set_index(m->storage, out.buf, out.len, err);
}

int cs_images_check_index(struct cs_images *m, struct cs_err **err)
{
	cs_autostr struct cs_str out = CS_STR_INIT(256u << 20);
	cs_autofree char *path = cs_xasprintf("%s/content/index.json", cs_engine_config(m->e)->data_root);
	cs_autostr struct cs_str is = CS_STR_INIT(256u << 20);

	if (build_index(m, &out, err) < 0)
		return -1;
	if (cs_read_file_at(AT_FDCWD, path, &is) == 0 && is.len == out.len && memcmp(is.buf, out.buf, out.len) == 0)
		return 0;
	return cs_content_set_index(m->storage, out.buf, out.len, err);
}

/* ---- tables in memory; m->lock is taken here ---- */
/* index: used by the caller already, taken; or NULL. */
static void table_name(struct cs_images *m, const char *full, struct cs_image_rec *r, struct cs_image_index *index)
{
	struct cs_image_index *was = NULL;
	struct cs_image_name *n;

	pthread_rwlock_wrlock(&m->lock);
	HASH_FIND_STR(m->names, full, n);
	if (!n) {
		n = cs_xcalloc(1, sizeof(*n));
		n->full = cs_xstrdup(full);
		HASH_ADD_KEYPTR_INORDER(hh, m->names, n->full, strlen(n->full), n, by_name);
	}
	was = n->index;
	n->rec = r;
	n->index = index;
	pthread_rwlock_unlock(&m->lock);
	cs_image_index_unuse(m, was);
}

static void name_free(struct cs_images *m, struct cs_image_name *n)
{
	cs_image_index_unuse(m, n->index);
	free(n->full);
	free(n);
}

/* The names given, and all others that mean the index already. */
static char **names_of_index(struct cs_images *m, char *const *names, const struct cs_image_index *x)
{
	char **v = names ? cs_strv_copy(names) : NULL;

	for (struct cs_image_name *n = m->names; n && x; n = n->hh.next) {
		if (n->index == x && !cs_strv_has(v, n->full))
			cs_strv_push(&v, n->full);
	}
	return v;
}

/* r: the record of id, not in the tables yet, or the one that was there. */
static int add_with_index(struct cs_images *m, struct cs_image_rec *r, const struct cs_image_layer *layers, size_t n, char *const *names,
			  struct cs_image_index *x, struct cs_image_rec **ret_named, struct cs_err **err)
{
	struct cs_image_rec *named = x ? cs_image_index_pick(m, x, NULL, r, NULL) : r;

	named = named ? named : r;
	*ret_named = named;
	return cs_image_db_add(m, r, layers, n, names, named->id.s, x ? x->digest.s : NULL, cs_now_ns(), err);
}

static int add(struct cs_images *m, const struct cs_digest *id, const struct cs_digest *manifest, const struct cs_image_layer *layers, size_t n,
	       char *const *given, const struct cs_digest *index, const struct cs_digest *parent, struct cs_err **err)
{
	struct cs_image_rec *r, *old, *named = NULL;
	struct cs_image_index *x = NULL;

	for (size_t i = 0; i < n; i++) {
		if (!cs_layer_exists(m->storage, &layers[i].chain))
			return cs_fail(err, CS_ERR_INTERNAL, 0, "layer %s vanished", layers[i].chain.s);
	}
	HASH_FIND_STR(m->by_id, id->s, old);
	/* the same configuration again: only names are new, and the manifest stays what it was */
	if (cs_image_rec_new(m, id, old ? &old->manifest : manifest, layers, n, &r, err) < 0)
		return -1;
	if (parent)
		r->parent = *parent;
	if (index && cs_image_index_use(m, index, &x, err) < 0) {
		cs_image_rec_unref(r);
		return -1;
	}
	if (x && !cs_image_index_has(x, &r->manifest)) { /* it came with other blobs before: the names mean that image alone */
		cs_image_index_unuse(m, x);
		x = NULL;
	}
	cs_autostrv char **names = names_of_index(m, given, x);
	int w = add_with_index(m, old ? old : r, layers, n, names, x, &named, err);
	if (w < 0 || old)
		cs_image_rec_unref(r);
	if (w == 0 && !old) {
		pthread_rwlock_wrlock(&m->lock);
		cs_image_table_add(m, r);
		pthread_rwlock_unlock(&m->lock);
	}
	for (char **name = w == 0 ? names : NULL; name && *name; name++) {
		atomic_store(&named->last_tagged, cs_now_ns());
		if (x)
			x->names++;
		table_name(m, *name, named, x);
	}
	cs_image_index_unuse(m, x);
	return w < 0 ? -1 : write_index(m, err);
}

int cs_images_add(struct cs_images *m, const struct cs_digest *id, const struct cs_digest *manifest, const struct cs_image_layer *layers, size_t n,
		  char *const *names, const struct cs_digest *index, struct cs_err **err)
{
	return add(m, id, manifest, layers, n, names, index, NULL, err);
}

int cs_images_add_child(struct cs_images *m, const struct cs_digest *parent, const struct cs_digest *id, const struct cs_digest *manifest,
			const struct cs_image_layer *layers, size_t n, char *const *names, struct cs_err **err)
{
	struct cs_image_rec *there;

	HASH_FIND_STR(m->by_id, parent->s, there);
	return add(m, id, manifest, layers, n, names, NULL, there ? parent : NULL, err);
}

int cs_images_set_name(struct cs_images *m, const char *full, struct cs_image_rec *r, const struct cs_digest *index, struct cs_err **err)
{
	struct cs_image_index *x = NULL;
	int64_t now = cs_now_ns();

	if (atomic_load(&r->gone))
		return cs_fail(err, CS_ERR_NOT_FOUND, 0, "No such image: %s", r->id.s);
	if (index && cs_image_index_use(m, index, &x, err) < 0)
		return -1;
	if (cs_image_db_name(m, full, r->id.s, index ? index->s : NULL, now, err) < 0) {
		cs_image_index_unuse(m, x);
		return -1;
	}
	atomic_store(&r->last_tagged, now);
	table_name(m, full, r, x);
	return write_index(m, err);
}

int cs_images_let_go(struct cs_images *m, const struct cs_image_rec *r, struct cs_err **err)
{
	struct cs_image_name *n, *next;

	HASH_ITER(hh, m->names, n, next)
	{
		struct cs_image_rec *other = n->rec == r && n->index ? cs_image_index_pick(m, n->index, NULL, NULL, r) : NULL;
		if (!other)
			continue;
		if (cs_image_db_name(m, n->full, other->id.s, n->index->digest.s, cs_now_ns(), err) < 0)
			return -1;
		pthread_rwlock_wrlock(&m->lock);
		n->rec = other;
		pthread_rwlock_unlock(&m->lock);
	}
	return 0;
}

int cs_images_del_name(struct cs_images *m, const char *full, struct cs_err **err)
{
	struct cs_image_name *n;

	if (cs_image_db_name(m, full, NULL, NULL, 0, err) < 0)
		return -1;
	pthread_rwlock_wrlock(&m->lock);
	HASH_FIND_STR(m->names, full, n);
	if (n)
		HASH_DEL(m->names, n);
	pthread_rwlock_unlock(&m->lock);
	if (n)
		name_free(m, n);
	return write_index(m, err);
}

int cs_images_del(struct cs_images *m, struct cs_image_rec *r, struct cs_err **err)
{
	struct cs_image_name *n, *next, *gone = NULL;

	if (cs_image_db_del(m, r->id.s, err) < 0)
		return -1;
	pthread_rwlock_wrlock(&m->lock);
	HASH_ITER(hh, m->names, n, next)
	{
		if (n->rec != r)
			continue;
		HASH_DEL(m->names, n);
		HASH_ADD_KEYPTR(hh, gone, n->full, strlen(n->full), n);
	}
	cs_image_table_del(m, r);
	atomic_store(&r->gone, true);
	pthread_rwlock_unlock(&m->lock);
	HASH_ITER(hh, gone, n, next)
	{
		HASH_DEL(gone, n);
		name_free(m, n);
	}
	cs_image_rec_unref(r); /* the table's */
	int w = write_index(m, err);
	cs_images_sweep(m);
	return w;
}

int cs_images_set_manifest(struct cs_images *m, struct cs_image_rec *r, const struct cs_digest *manifest, const struct cs_image_layer *layers, size_t n,
			   struct cs_err **err)
{
	struct cs_image_name *name, *next;
	struct cs_image_rec *now;

	if (atomic_load(&r->gone))
		return cs_fail(err, CS_ERR_NOT_FOUND, 0, "No such image: %s", r->id.s);
	if (cs_image_rec_new(m, &r->id, manifest, layers, n, &now, err) < 0)
		return -1;
	if (cs_image_db_manifest(m, r->id.s, manifest->s, layers, n, err) < 0) {
		cs_image_rec_unref(now);
		return -1;
	}
	now->parent = r->parent;
	atomic_store(&now->last_tagged, atomic_load(&r->last_tagged));
	/* records are immutable: whoever holds the old one reads on in peace */
	pthread_rwlock_wrlock(&m->lock);
	HASH_ITER(hh, m->names, name, next)
	{
		if (name->rec == r)
			name->rec = now;
	}
	cs_image_table_del(m, r);
	atomic_store(&r->gone, true);
	cs_image_table_add(m, now);
	pthread_rwlock_unlock(&m->lock);
	cs_image_rec_unref(r);
	return write_index(m, err);
}
