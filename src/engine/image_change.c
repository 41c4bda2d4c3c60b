/* SPDX-License-Identifier: Apache-2.0
 *
 * Changes of the set of images: rows first, then the tables in memory, then index.json, and files that nobody needs last; so a crash at any
 * line leaves at most rubbish, which the next start sweeps. All under m->write. */
#include <fcntl.h>

#include "base/io.h"
#include "base/log.h"
#include "base/time.h"
#include "engine/image_internal.h"

/* ---- index.json ---- */
static void put_manifest(struct cs_str *out, const struct cs_image_rec *r, const char *name)
{
	cs_str_puts(out, out->buf[out->len - 1] == '[' ? "{" : ",{");
	cs_json_put_kstr(out, "mediaType", r->manifest_type);
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
		cs_json_put_key(out, "annotations");
		cs_str_puts(out, "{");
		cs_json_put_kstr(out, "io.containerd.image.name", name);
		/* not the tag alone, as in an archive: half of all images are "latest", and who reads a layout takes the first */
		cs_json_put_kstr(out, "org.opencontainers.image.ref.name", name);
		cs_str_puts(out, "}");
	}
	cs_str_puts(out, "}");
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
		put_manifest(out, n->rec, n->full);
		n->rec->indexed = true;
	}
	HASH_ITER(hh, m->by_id, r, rn)
	{
		if (!r->indexed)
			put_manifest(out, r, NULL);
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
	HASH_FIND_STR(m->by_id, id->s, old);
	/* the same configuration again: only names are new, and the manifest stays what it was */
	if (cs_image_rec_new(m, id, old ? &old->manifest : manifest, layers, n, &r, err) < 0)
		return -1;
	if (cs_image_db_add(m, id, old ? &old->manifest : manifest, layers, n, names, now, err) < 0) {
		cs_image_rec_unref(r);
		return -1;
	}
	if (old) {
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

int cs_images_set_parent(struct cs_images *m, struct cs_image_rec *r, const struct cs_digest *parent, struct cs_err **err)
{
	if (cs_image_db_parent(m, r->id.s, parent->s, err) < 0)
		return -1;
	pthread_rwlock_wrlock(&m->lock);
	r->parent = *parent;
	pthread_rwlock_unlock(&m->lock);
	return 0;
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
	HASH_DEL(m->by_id, r);
	atomic_store(&r->gone, true);
	HASH_ADD_STR(m->by_id, id.s, now);
	pthread_rwlock_unlock(&m->lock);
	cs_image_rec_unref(r);
	return write_index(m, err);
}
