/* SPDX-License-Identifier: Apache-2.0
 *
 * Garbage collection: layers and blobs that no image, no snapshot and no lease needs. Rows go first, all in one transaction, then the files: a
 * crash leaves files without rows, which the sweep of the next start removes. Under m->write. */
#include "base/log.h"
#include "engine/image_index.h"

struct cs_lease {
	struct cs_digest d;
	unsigned n;
	UT_hash_handle hh;
};

void cs_images_lease(struct cs_images *m, const struct cs_digest *v, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct cs_lease *l;
		HASH_FIND_STR(m->leases, v[i].s, l);
		if (!l) {
			l = cs_xcalloc(1, sizeof(*l));
			l->d = v[i];
			HASH_ADD_STR(m->leases, d.s, l);
		}
		l->n++;
	}
}

void cs_images_unlease(struct cs_images *m, const struct cs_digest *v, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct cs_lease *l;
		HASH_FIND_STR(m->leases, v[i].s, l);
		if (!l || --l->n > 0)
			continue;
		HASH_DEL(m->leases, l);
		free(l);
	}
	if (m->sweep_wanted)
		cs_images_sweep(m);
}

struct mark {
	struct cs_digest d;
	struct cs_digest parent, blob; /* of a layer */
	bool keep;
	UT_hash_handle hh;
};
struct sweep {
	struct cs_images *m;
	struct mark *layers, *blobs;
	bool blind; /* some snapshot does not say what it stands on: no layer may go */
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
	cs_autoerr struct cs_err *e = NULL;
	struct cs_digest top;

	if (cs_snap_parent(s->m->storage, id, &top, &e) == 0) {
		if (top.s[0])
			keep_chain(s, &top);
	} else if (cs_err_code(e) != CS_ERR_NOT_FOUND && e->sys != ENOTDIR && e->sys != ELOOP) { /* gone this moment, or no snapshot; else a damaged one, or no descriptor is left */
		cs_autofree char *text = cs_err_text(e);
		cs_warn("image", "%s", text);
		s->blind = true;
	}
}

static void keep_snapshots(struct sweep *s)
{
	cs_autoerr struct cs_err *e = NULL;

	if (cs_snap_each(s->m->storage, on_snapshot, s, &e) < 0) {
		cs_autofree char *text = cs_err_text(e);
		cs_warn("image", "%s", text);
		s->blind = true;
	}
}

/* Once the lease ends, there may be something to sweep. */
static bool leased(struct sweep *s, const struct cs_digest *d)
{
	struct cs_lease *l;
	HASH_FIND_STR(s->m->leases, d->s, l);
	s->m->sweep_wanted = s->m->sweep_wanted || l;
	return l;
}

static void on_layer_dir(void *ctx, const struct cs_digest *chain)
{
	struct sweep *s = ctx;
	struct mark *k;
	HASH_FIND_STR(s->layers, chain->s, k);
	if ((k && k->keep) || leased(s, chain))
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
	if (!k && !leased(s, d))
		cs_blob_remove(s->m->storage, d);
}

/* Two images may share a layer and yet name different blobs for it (the same tar, compressed differently): the manifests decide. */
static bool keep_manifest(struct sweep *s, const struct cs_digest *manifest)
{
	cs_autostr struct cs_str text = CS_STR_INIT(CS_MAX_IMAGE_JSON);
	size_t i;
	json_t *l;

	if (cs_blob_get(s->m->storage, manifest, CS_MAX_IMAGE_JSON, &text, NULL) < 0)
		return false;
	cs_autojson json_t *j = cs_json_parse(text.buf, text.len, NULL);
	const char *config = json_string_value(json_object_get(json_object_get(j, "config"), "digest"));
	struct cs_digest c;
	if (config && cs_digest_from(config, &c)) /* of an artifact; an image has it as its id */
		mark(&s->blobs, &c);
	json_array_foreach(json_object_get(j, "layers"), i, l)
	{
		const char *digest = json_string_value(json_object_get(l, "digest"));
		struct cs_digest d;
		if (digest && cs_digest_from(digest, &d))
			mark(&s->blobs, &d);
	}
	return j != NULL;
}

/* Indexes that a name means, and what came with them that is no image to us: attestations, and what runs elsewhere only. */
static void keep_indexes(struct sweep *s)
{
	struct cs_image_index *x, *next;

	HASH_ITER(hh, s->m->indexes, x, next)
	{
		mark(&s->blobs, &x->digest);
		for (size_t i = 0; i < x->n_inner; i++)
			mark(&s->blobs, &x->inner[i]);
		for (size_t i = 0; i < x->n; i++) {
			const struct cs_index_entry *e = &x->v[i];
			bool other = e->attestation || (*e->platform.os && strcmp(e->platform.os, "linux") != 0);
			if (other && !cs_image_of_manifest(s->m, &e->digest) && keep_manifest(s, &e->digest))
				mark(&s->blobs, &e->digest);
		}
	}
}

static void on_top(void *ctx, const struct cs_digest *top) { keep_chain(ctx, top); }

/* What images need. Returns false when that cannot be told of every image: then no blob may go. */
static bool keep_images(struct sweep *s)
{
	struct cs_images *m = s->m;
	struct cs_image_rec *r, *rn;
	struct cs_image_name *n;
	struct cs_digest d;
	bool sure = m->unreadable == 0;

	HASH_ITER(hh, m->by_id, r, rn)
	{
		mark(&s->blobs, &r->id);
		mark(&s->blobs, &r->manifest);
		sure = keep_manifest(s, &r->manifest) && sure;
		if (r->n_layers)
			keep_chain(s, &r->layers[r->n_layers - 1].chain);
	}
	keep_indexes(s);
	/* the documents that digest references name: manifests, indexes */
	for (n = m->names; n; n = n->hh.next) {
		const char *at = strchr(n->full, '@');
		if (at && cs_digest_from(at + 1, &d))
			mark(&s->blobs, &d);
	}
	if (m->unreadable && cs_image_db_tops(m, on_top, s, NULL) < 0)
		return false;
	return sure;
}

/* Rows of layers that nobody needs. On failure they stay, and so must their files. */
static void drop_rows(struct sweep *s)
{
	const struct cs_digest **gone = cs_xcalloc(HASH_COUNT(s->layers) + 1u, sizeof(*gone));
	struct mark *k, *kn;
	cs_autoerr struct cs_err *e = NULL;
	size_t n = 0;

	HASH_ITER(hh, s->layers, k, kn)
	{
		if (!k->keep && leased(s, &k->d))
			keep_chain(s, &k->d);
	}
	HASH_ITER(hh, s->layers, k, kn)
	{
		if (!k->keep)
			gone[n++] = &k->d;
	}
	if (cs_image_db_layers_del(s->m, gone, n, &e) < 0) {
		cs_autofree char *text = cs_err_text(e);
		cs_warn("image", "rows of %zu layers stay: %s", n, text);
		HASH_ITER(hh, s->layers, k, kn)
		{
			if (!k->keep)
				keep_chain(s, &k->d);
		}
	}
	free(gone);
}

void cs_images_sweep(struct cs_images *m)
{
	struct sweep s = {.m = m};
	cs_autoerr struct cs_err *e = NULL;

	m->sweep_wanted = m->held > 0;
	if (m->sweep_wanted)
		return;
	if (cs_image_db_layers(m, on_row, &s, &e) < 0) {
		cs_autofree char *text = cs_err_text(e);
		cs_warn("image", "nothing swept: %s", text);
		marks_free(&s.layers);
		return;
	}
	bool sure = keep_images(&s);
	keep_snapshots(&s);
	if (!s.blind) {
		drop_rows(&s);
		cs_layer_each(m->storage, on_layer_dir, &s);
		if (sure)
			cs_blob_each(m->storage, on_blob, &s);
	} else {
		cs_warn("image", "nothing swept: it is not known which layers the containers need");
		m->sweep_wanted = true;
	}
	marks_free(&s.layers);
	marks_free(&s.blobs);
}

/* ---- the same knowledge for `system check` ---- */
struct cs_needed {
	struct sweep s;
	bool sure, held;
};

struct cs_needed *cs_images_needed(struct cs_images *m, struct cs_err **err)
{
	struct cs_needed *n = cs_xcalloc(1, sizeof(*n));

	n->s.m = m;
	n->held = m->held > 0;
	if (cs_image_db_layers(m, on_row, &n->s, err) < 0) {
		cs_needed_free(n);
		return NULL;
	}
	n->sure = keep_images(&n->s);
	keep_snapshots(&n->s);
	return n;
}

bool cs_needed_layer(struct cs_needed *n, const struct cs_digest *d)
{
	struct mark *k;
	HASH_FIND_STR(n->s.layers, d->s, k);
	return (k && k->keep) || n->held || n->s.blind || leased(&n->s, d);
}

bool cs_needed_blob(struct cs_needed *n, const struct cs_digest *d)
{
	struct mark *k;
	HASH_FIND_STR(n->s.blobs, d->s, k);
	return k || n->held || !n->sure || n->s.blind || leased(&n->s, d);
}

void cs_needed_free(struct cs_needed *n)
{
	if (!n)
		return;
	marks_free(&n->s.layers);
	marks_free(&n->s.blobs);
	free(n);
}

void cs_images_hold(struct cs_images *m)
{
	CS_GUARD(&m->write);
	m->held++;
}

void cs_images_let(struct cs_images *m, bool sweep)
{
	CS_GUARD(&m->write);
	m->sweep_wanted = m->sweep_wanted || sweep;
	if (--m->held == 0 && m->sweep_wanted)
		cs_images_sweep(m);
}
