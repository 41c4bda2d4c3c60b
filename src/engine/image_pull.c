/* SPDX-License-Identifier: Apache-2.0
 *
 * Pull: which image a reference means (index, platform), which of its layers are missing, the transfers, the rows. The request's producer thread does
 * all of it but the transfers themselves. Digests of documents are verified as they come; blobs and layers are leased, so that no prune takes
 * them before their image exists. */
#include "base/log.h"
#include "base/time.h"
#include "engine/image_index.h"
#include "engine/pull_internal.h"

#define TICK_MS 100
#define MT_PLUGIN "application/vnd.docker.plugin.v1+json"

bool pull_cancelled(const struct pull *x) { return atomic_load(&x->p->cancelled) || atomic_load(&x->out->broken); }

/* An artifact has no configuration of its own: its manifest is what it is. */
static const struct cs_digest *id_of(const struct image *im) { return im->artifact ? &im->manifest_digest : &im->manifest.config.digest; }

/* ---- leases ---- */
void pull_lease(struct image *im, const struct cs_digest *d)
{
	im->leased = cs_xreallocarray(im->leased, im->n_leased + 1, sizeof(*im->leased));
	im->leased[im->n_leased++] = *d;
	pthread_mutex_lock(&im->x->m->write);
	cs_images_lease(im->x->m, d, 1);
	pthread_mutex_unlock(&im->x->m->write);
}

static void image_done(struct image *im)
{
	struct cs_images *m = im->x->m;

	for (size_t i = 0; im->layers && i < im->manifest.n; i++)
		cs_transfer_put(m->transfers, im->layers[i].t);
	pull_notes_done(im);
	if (im->rows)
		cs_image_layers_free(im->rows, im->manifest.n);
	pthread_mutex_lock(&m->write);
	m->sweep_wanted = m->sweep_wanted || !im->added || im->stray;
	cs_images_unlease(m, im->leased, im->n_leased);
	pthread_mutex_unlock(&m->write);
	free(im->leased);
	free(im->layers);
	free(im->chains);
	free(im->tag);
	cs_manifest_done(&im->manifest);
	cs_image_shape_done(&im->shape);
}

/* ---- documents ---- */
int pull_document(struct image *im, const struct cs_digest *d, int64_t size, struct cs_str *text, char **media_type, struct cs_err **err)
{
	struct cs_images *m = im->x->m;
	cs_automanifest struct cs_remote_manifest rm = {0};

	pull_lease(im, d);
	if (cs_blob_get(m->storage, d, CS_MANIFEST_MAX, text, NULL) == 0)
		return 0;
	cs_str_clear(text);
	if (cs_repo_manifest_get(im->x->session->repo, d->s, &rm, err) < 0)
		return -1;
	if (size >= 0 && (int64_t)rm.len != size)
		return cs_fail(err, CS_ERR_INVALID, 0, "manifest %s has %zu bytes where its index says %lld", d->s, rm.len, (long long)size);
	struct cs_digest is;
	cs_hash_data(rm.data, rm.len, &is);
	if (strcmp(is.s, d->s) != 0)
		return cs_fail(err, CS_ERR_INVALID, 0, "manifest verification failed for digest %s", d->s);
	cs_str_put(text, rm.data, rm.len);
	*media_type = TAKE_PTR(rm.media_type);
	return 0;
}

int pull_keep(struct image *im, const struct cs_str *text, struct cs_err **err)
{
	struct cs_digest d;
	return cs_blob_put(im->x->m->storage, text->buf, text->len, &d, err);
}

/* By tag: the registry says which digest that is. When the name is known here, asking for the digest alone may spare the rest. */
static int by_tag(struct image *im, struct cs_str *text, char **media_type, struct cs_err **err)
{
	struct pull *x = im->x;
	cs_automanifest struct cs_remote_manifest head = {0};
	cs_automanifest struct cs_remote_manifest rm = {0};
	cs_autofree char *full = cs_xasprintf("%s/%s:%s", x->ref.domain, x->ref.path, im->tag);
	struct cs_image_name *known;

	pthread_rwlock_rdlock(&x->m->lock);
	HASH_FIND_STR(x->m->names, full, known);
	pthread_rwlock_unlock(&x->m->lock);
	if (known) {
		if (cs_repo_manifest_head(x->session->repo, im->tag, &head, err) < 0)
			return -1;
		if (cs_digest_from(head.digest, &im->top) && cs_blob_get(x->m->storage, &im->top, CS_MANIFEST_MAX, text, NULL) == 0) {
			pull_lease(im, &im->top);
			return 0;
		}
		cs_str_clear(text);
	}
	if (cs_repo_manifest_get(x->session->repo, im->tag, &rm, err) < 0)
		return -1;
	if (!cs_digest_from(rm.digest, &im->top))
		return cs_fail(err, CS_ERR_INVALID, 0, "manifest for %s has an unsupported digest", im->tag);
	cs_hash_data(rm.data, rm.len, &im->top);
	pull_lease(im, &im->top);
	cs_str_put(text, rm.data, rm.len);
	*media_type = TAKE_PTR(rm.media_type);
	return 0;
}

static int resolve(struct image *im, struct cs_str *text, char **media_type, struct cs_err **err)
{
	if (!im->x->ref.digest)
		return by_tag(im, text, media_type, err);
	if (!cs_digest_from(im->x->ref.digest, &im->top))
		return cs_fail(err, CS_ERR_INVALID, 0, "unsupported digest algorithm: %.100s", im->x->ref.digest);
	if (pull_document(im, &im->top, -1, text, media_type, err) < 0)
		return -1;
	/* content that is ours already says nothing about this repository, and what the user may have of it */
	cs_automanifest struct cs_remote_manifest head = {0};
	return *media_type ? 0 : cs_repo_manifest_head(im->x->session->repo, im->top.s, &head, err);
}

/* What the reference leads to. A plugin is no image, although its parts look like one's: dockerd's words. */
static int read_top(struct image *im, const struct cs_str *text, const char *media_type, struct cs_manifest *ret, struct cs_err **err)
{
	if (cs_manifest_parse(text->buf ? text->buf : "", text->len, media_type, ret, err) < 0)
		return cs_wrap(err, "%s", im->top.s);
	if (ret->kind == CS_MANIFEST_IMAGE && strcmp(ret->config.media_type, MT_PLUGIN) == 0)
		return cs_fail(err, CS_ERR_INVALID, 0, "Encountered remote \"%s\"(plugin) when fetching", MT_PLUGIN);
	return 0;
}

/* top: what text says; it may be taken from. */
static int read_manifest(struct image *im, struct cs_str *text, struct cs_manifest *top, struct cs_err **err)
{
	cs_autodesc struct cs_descriptor chosen = {0};
	cs_autofree char *type = NULL;

	im->manifest_digest = im->top;
	if (pull_keep(im, text, err) < 0)
		return -1;
	if (top->kind == CS_MANIFEST_IMAGE) {
		im->manifest = *top;
		*top = (struct cs_manifest){0};
		return 0;
	}
	if (pull_pick(im, top, &chosen, err) < 0)
		return -1;
	cs_str_clear(text);
	if (pull_document(im, &im->manifest_digest, chosen.size, text, &type, err) < 0 ||
	    cs_manifest_parse(text->buf, text->len, type ? type : chosen.media_type, &im->manifest, err) < 0)
		return cs_wrap(err, "%s", im->manifest_digest.s);
	if (im->manifest.kind != CS_MANIFEST_IMAGE)
		return cs_fail(err, CS_ERR_INVALID, 0, "%s is an index where an image was announced", im->manifest_digest.s);
	return pull_keep(im, text, err);
}

static int check_manifest(const struct cs_manifest *mf, struct cs_err **err)
{
	for (size_t i = 0; i < mf->n && !mf->artifact_type; i++) {
		if (!cs_layer_type_known(mf->v[i].media_type))
			return cs_fail(err, CS_ERR_INVALID, 0, "layer %s has the unsupported media type %s", mf->v[i].digest.s, mf->v[i].media_type);
	}
	return 0;
}

static int read_config(struct image *im, struct cs_err **err)
{
	struct cs_images *m = im->x->m;
	const struct cs_descriptor *c = &im->manifest.config;
	cs_autostr struct cs_str text = CS_STR_INIT(CS_CONFIG_MAX);
	struct cs_digest is;

	pull_lease(im, &c->digest);
	if (cs_blob_get(m->storage, &c->digest, CS_CONFIG_MAX, &text, NULL) < 0) {
		cs_str_clear(&text);
		if (cs_repo_blob_get(im->x->session->repo, c->digest.s, c->size, CS_CONFIG_MAX, &text, err) < 0)
			return -1;
		cs_hash_data(text.buf, text.len, &is);
		if (strcmp(is.s, c->digest.s) != 0)
			return cs_fail(err, CS_ERR_INVALID, 0, "image config verification failed for digest %s", c->digest.s);
		if (pull_keep(im, &text, err) < 0)
			return -1;
	}
	im->artifact = im->manifest.artifact_type;
	if (im->artifact)
		return 0;
	if (cs_image_shape_parse(text.buf ? text.buf : "", text.len, &im->shape, err) < 0)
		return cs_wrap(err, "%s", c->digest.s);
	im->known_platform = true;
	if (im->shape.n != im->manifest.n)
		return cs_fail(err, CS_ERR_INVALID, 0, "manifest %s has %zu layers and its configuration names %zu", im->manifest_digest.s, im->manifest.n,
			       im->shape.n);
	if (*im->shape.platform.os && strcmp(im->shape.platform.os, "linux") != 0)
		return cs_fail(err, CS_ERR_INVALID, 0, "image operating system \"%s\" cannot be used on this platform: operating system is not supported",
			       im->shape.platform.os);
	return 0;
}

/* ---- which layers are missing ---- */
static void short_id(const struct cs_digest *d, char id[13])
{
	memcpy(id, cs_digest_hex(d), 12);
	id[12] = 0;
}

struct cs_transfer *pull_blob(struct image *im, const struct cs_descriptor *d)
{
	struct cs_transfer_want want = {.blob = d->digest, .size = d->size};
	cs_autofd int fd = -EBADF;

	pull_lease(im, &want.blob);
	if (cs_blob_open(im->x->m->storage, &want.blob, &fd, NULL, NULL) == 0)
		return NULL;
	return cs_transfer_get(im->x->m->transfers, &want, im->x->session);
}

/* All of its blobs as they are. */
static void plan_artifact(struct image *im)
{
	const struct cs_manifest *mf = &im->manifest;

	im->layers = cs_xcalloc(mf->n + 1, sizeof(*im->layers));
	for (size_t i = 0; i < mf->n; i++) {
		short_id(&mf->v[i].digest, im->layers[i].id);
		im->layers[i].t = pull_blob(im, &mf->v[i]);
	}
}

static void plan(struct image *im)
{
	if (im->artifact) {
		plan_artifact(im);
		return;
	}
	struct cs_images *m = im->x->m;
	const struct cs_manifest *mf = &im->manifest;
	size_t have = 0, n_known = 0;
	struct cs_image_layer *known = NULL;

	im->chains = cs_xcalloc(mf->n + 1, sizeof(*im->chains));
	im->layers = cs_xcalloc(mf->n + 1, sizeof(*im->layers));
	im->rows = cs_xcalloc(mf->n + 1, sizeof(*im->rows));
	for (size_t i = 0; i < mf->n; i++) {
		cs_chain_id(i ? &im->chains[i - 1] : NULL, &im->shape.diff[i], &im->chains[i]);
		pull_lease(im, &mf->v[i].digest);
		pull_lease(im, &im->chains[i]);
	}
	pthread_mutex_lock(&m->write);
	/* the longest part from below that has rows and files */
	for (have = mf->n; have > 0; have--) {
		if (cs_layer_exists(m->storage, &im->chains[have - 1]) && cs_image_db_chain(m, im->chains[have - 1].s, &known, &n_known, NULL) == 0)
			break;
	}
	pthread_mutex_unlock(&m->write);
	for (size_t i = 0; i < mf->n; i++) {
		const struct cs_descriptor *d = &mf->v[i];
		struct cs_transfer_want want = {.blob = d->digest, .diff = im->shape.diff[i], .size = d->size};
		cs_autofd int fd = -EBADF;
		short_id(&d->digest, im->layers[i].id);
		im->layers[i].whole = i >= have;
		im->rows[i] = (struct cs_image_layer){.chain = im->chains[i], .diff = im->shape.diff[i], .blob = d->digest, .blob_size = d->size,
						      .media_type = cs_xstrdup(*d->media_type ? d->media_type : CS_MT_OCI_LAYER "+gzip")};
		if (i < have)
			im->rows[i].size = known[i].size;
		/* A layer that came by another compression: the manifest wants its own blob, or it could not be pushed again. */
		if (i < have && (strcmp(known[i].blob.s, d->digest.s) == 0 || cs_blob_open(m->storage, &d->digest, &fd, NULL, NULL) == 0))
			continue;
		if (i >= have)
			want.chain = im->chains[i];
		im->layers[i].t = cs_transfer_get(m->transfers, &want, im->x->session);
	}
	cs_image_layers_free(known, n_known);
}

/* ---- telling how it goes ---- */
static void tell_first(struct image *im)
{
	for (size_t i = 0; i < im->manifest.n; i++)
		cs_progress_step(im->x->out, im->layers[i].id, im->layers[i].t ? "Pulling fs layer" : "Already exists", 0, 0);
}

static void tell(struct image *im, size_t i, const struct cs_transfer_state *s)
{
	struct layer *l = &im->layers[i];
	struct cs_progress *out = im->x->out;
	int64_t total = im->manifest.v[i].size, now = cs_monotonic_ns();

	if (s->phase == CS_TR_QUEUED && s->waiting && !l->told_waiting) {
		l->told_waiting = true;
		cs_progress_step(out, l->id, "Waiting", 0, 0);
	}
	if (s->retries != l->told_retries) {
		l->told_retries = s->retries;
		cs_autofree char *text = cs_xasprintf("Retrying in %u second%s", s->pause_s, s->pause_s == 1 ? "" : "s");
		cs_progress_step(out, l->id, text, 0, 0);
	}
	if (s->phase >= CS_TR_DOWNLOADING && s->phase < CS_TR_EXTRACTING && s->got != l->told_got && now - l->told_at >= TICK_MS * 9 / 10 * CS_NS_PER_MS) {
		l->told_got = s->got;
		l->told_at = now;
		cs_progress_step(out, l->id, "Downloading", s->got, total);
	}
	if (s->phase >= CS_TR_EXTRACTING && s->phase <= CS_TR_READY && l->told < CS_TR_EXTRACTING) {
		l->told = CS_TR_EXTRACTING;
		if (s->got > 0 || l->told_got > 0)
			cs_progress_step(out, l->id, "Verifying Checksum", 0, 0);
		cs_progress_step(out, l->id, "Download complete", 0, 0);
	}
	if (s->phase == CS_TR_READY && l->told < CS_TR_READY) {
		l->told = CS_TR_READY;
		if (l->whole)
			cs_progress_step(out, l->id, "Extracting", total, total);
	}
}

static int wait_layers(struct image *im, struct cs_err **err)
{
	struct cs_transfers *ts = im->x->m->transfers;

	for (unsigned seen = 0;; cs_transfers_wait(ts, &seen, TICK_MS)) {
		size_t left = 0;
		for (size_t i = 0; i < im->manifest.n; i++) {
			struct cs_transfer_state s;
			if (!im->layers[i].t)
				continue;
			cs_transfer_state(ts, im->layers[i].t, &s);
			if (s.phase == CS_TR_FAILED)
				return cs_transfer_error(ts, im->layers[i].t, err);
			tell(im, i, &s);
			left += s.phase != CS_TR_READY;
			if (im->layers[i].whole)
				im->rows[i].size = s.size;
		}
		if (pull_cancelled(im->x))
			return cs_fail(err, CS_ERR_CANCELLED, 0, "context canceled");
		if (left == 0)
			return 0;
	}
}

/* ---- names ---- */
/* Has a name this image already, as one platform of the index? */
static bool leads_to(struct cs_images *m, const struct cs_image_name *n, const struct cs_digest *index, const struct cs_digest *id)
{
	struct cs_image_rec *r;

	HASH_FIND_STR(m->by_id, id->s, r);
	return index && n->index && r && strcmp(n->index->digest.s, index->s) == 0 && cs_image_index_has(n->index, &r->manifest);
}

/* ret_new: whether the reference points somewhere else than before. */
static int add(struct image *im, const struct cs_image_layer *rows, size_t n, bool *ret_new, struct cs_err **err)
{
	struct pull *x = im->x;
	struct cs_images *m = x->m;
	cs_autofree char *repo = cs_xasprintf("%s/%s", x->ref.domain, x->ref.path);
	cs_autofree char *by_digest = cs_xasprintf("%s@%s", repo, im->top.s);
	cs_autofree char *tag = x->ref.digest ? NULL : cs_xasprintf("%s:%s", repo, im->tag);
	char *names[] = {by_digest, tag, NULL};
	struct cs_image_name *was;
	CS_GUARD(&m->write);

	const struct cs_digest *index = strcmp(im->top.s, im->manifest_digest.s) != 0 ? &im->top : NULL;

	HASH_FIND_STR(m->names, tag ? tag : by_digest, was);
	*ret_new = !was || (strcmp(was->rec->id.s, id_of(im)->s) != 0 && !leads_to(m, was, index, id_of(im)));
	struct cs_image_name *dig;
	HASH_FIND_STR(m->names, by_digest, dig);
	if (!*ret_new && dig && dig->rec == was->rec && dig->index == was->index)
		return 0;
	if (cs_images_add(m, id_of(im), &im->manifest_digest, rows, n, names, index, err) < 0)
		return -1;
	/* of the manifest, which is what the repository has */
	return im->rows && n ? cs_image_db_sources_add(m, im->rows, im->manifest.n, repo, err) : 0;
}

/* ---- one reference ---- */
/* Under the lock: the image that a pull would take of the index, if it is here. */
static struct cs_image_rec *picked(struct pull *x, const struct cs_image_index *index)
{
	const struct cs_index_entry *best = NULL;
	int most = 0;

	for (size_t i = 0; i < index->n; i++) {
		int points = index->v[i].attestation ? 0 : cs_platform_score(&x->want, &index->v[i].platform);
		if (points > most) {
			most = points;
			best = &index->v[i];
		}
	}
	return best ? cs_image_of_manifest(x->m, &best->digest) : NULL;
}

/* Nothing to do at all: the registry's digest is ours, and so is the image that it means for this platform. */
static bool up_to_date(struct image *im)
{
	struct pull *x = im->x;
	cs_autofree char *repo = cs_xasprintf("%s/%s", x->ref.domain, x->ref.path);
	cs_autofree char *by_digest = cs_xasprintf("%s@%s", repo, im->top.s);
	cs_autofree char *tag = x->ref.digest ? NULL : cs_xasprintf("%s:%s", repo, im->tag);
	struct cs_image_name *d, *t = NULL;
	cs_autoplatform struct cs_platform is = {0};

	pthread_rwlock_rdlock(&x->m->lock);
	HASH_FIND_STR(x->m->names, by_digest, d);
	if (tag)
		HASH_FIND_STR(x->m->names, tag, t);
	bool same = d && (!tag || (t && t->rec == d->rec && t->index == d->index));
	/* a manifest means one image; an index one for each platform */
	bool single = same && strcmp(d->rec->manifest.s, im->top.s) == 0;
	struct cs_image_rec *r = !same ? NULL : d->index ? picked(x, d->index) : d->rec;
	im->artifact = r && r->info.artifact;
	if (r)
		cs_platform_set(&is, r->info.os, r->info.architecture, r->info.variant);
	pthread_rwlock_unlock(&x->m->lock);
	if (!r || (!single && !d->index && !cs_platform_same(&is, &x->want)))
		return false;
	im->shape.platform = is;
	im->known_platform = !im->artifact;
	is = (struct cs_platform){0};
	return true;
}

/* The same configuration is here under another name: only names are new, as in dockerd. */
static bool have_image(struct image *im, bool *ret_new, int *ret, struct cs_err **err)
{
	struct cs_images *m = im->x->m;
	cs_autorec struct cs_image_rec *r = NULL;

	if (cs_image_find(m, id_of(im)->s, &r, NULL, NULL) < 0)
		return false;
	pull_notes_begin(im);
	pull_notes_end(im);
	cs_autoerr struct cs_err *e = NULL;
	*ret = add(im, r->layers, r->n_layers, ret_new, &e);
	if (*ret < 0 && atomic_load(&r->gone))
		return false; /* it was removed this very moment */
	if (*ret < 0)
		(void)cs_err_move(err, TAKE_PTR(e));
	return true;
}

static int fetch(struct image *im, struct cs_str *text, struct cs_manifest *top, bool *ret_new, struct cs_err **err)
{
	struct pull *x = im->x;
	int have;

	if (read_manifest(im, text, top, err) < 0 || check_manifest(&im->manifest, err) < 0 || read_config(im, err) < 0)
		return -1;
	if (have_image(im, ret_new, &have, err))
		return have;
	plan(im);
	tell_first(im);
	pull_notes_begin(im);
	if (wait_layers(im, err) < 0)
		return -1;
	pull_notes_end(im);
	struct cs_transfer **t = cs_xcalloc(im->manifest.n + 1, sizeof(struct cs_transfer *));
	for (size_t i = 0; i < im->manifest.n; i++)
		t[i] = im->layers[i].t;
	int r = im->artifact ? 0 : cs_transfers_publish(x->m->transfers, t, im->chains, im->manifest.n, err);
	free(t);
	if (r < 0 || add(im, im->rows, im->artifact ? 0 : im->manifest.n, ret_new, err) < 0)
		return -1;
	for (size_t i = 0; i < im->manifest.n; i++) {
		if (im->layers[i].t)
			cs_progress_step(x->out, im->layers[i].id, "Pull complete", 0, 0);
	}
	return 0;
}

/* An image of one platform alone is taken whatever was asked for, as dockerd does; the user is told at the end. */
static void note_platform(struct image *im, const char *shown)
{
	struct pull *x = im->x;

	if (x->any_platform || !im->known_platform || cs_platform_score(&x->want, &im->shape.platform) > 0)
		return;
	cs_autofree char *want = cs_platform_text(&x->want), *is = cs_platform_text(&im->shape.platform);
	free(x->warning);
	x->warning = cs_xasprintf("image with reference %s was found but does not match the specified platform: wanted %s, actual: %s", shown, want, is);
}

static int pull_one(struct pull *x, const char *tag, bool *ret_new, struct cs_err **err)
{
	cs_auto(image_done) struct image im = {.x = x, .tag = cs_xstrdup(tag)};
	cs_autostr struct cs_str text = CS_STR_INIT(CS_MANIFEST_MAX + 1);
	cs_autofree char *media_type = NULL;
	cs_autofree char *shown = cs_xasprintf("%s%s%s", x->familiar, x->ref.digest ? "@" : ":", tag);
	cs_automf struct cs_manifest top = {0};

	*ret_new = false;
	im.added = true; /* nothing was stored yet */
	if (resolve(&im, &text, &media_type, err) < 0)
		return -1;
	bool known = up_to_date(&im);
	if (!known && read_top(&im, &text, media_type, &top, err) < 0)
		return -1;
	im.added = known;
	cs_autofree char *id = x->ref.digest ? cs_xasprintf("%s/%s@%s", x->ref.domain, x->ref.path, tag) : cs_xstrdup(tag);
	cs_progress_status(x->out, id, "Pulling from %s", x->ref.path);
	if (!known && fetch(&im, &text, &top, ret_new, err) < 0)
		return -1;
	im.added = true;
	cs_progress_status(x->out, NULL, "Digest: %s", im.top.s);
	note_platform(&im, shown);
	return 0;
}

static int pull_all(struct pull *x, struct cs_err **err)
{
	cs_autostrv char **tags = NULL;
	bool any = false;

	if (cs_repo_tags(x->session->repo, &tags, err) < 0)
		return -1;
	for (char **t = tags; t && *t; t++) {
		bool is_new;
		if (!cs_ref_tag_valid(*t))
			return cs_fail(err, CS_ERR_INVALID, 0, "the registry lists the malformed tag \"%.130s\"", *t);
		if (pull_one(x, *t, &is_new, err) < 0)
			return -1;
		any = any || is_new;
	}
	x->downloaded = any;
	return 0;
}

static int work(struct cs_progress *out, struct cs_producer *p, void *ctx, struct cs_err **err)
{
	struct pull *x = ctx;
	struct cs_repo_options o = {.host = x->ref.domain, .path = x->ref.path, .auth = &x->auth, .cancel_fd = p->cancel_fd};
	int r;

	x->out = out;
	x->p = p;
	if (cs_session_open(x->m->transfers, x->registry, &o, &x->session, err) < 0)
		return -1;
	if (x->ref.digest)
		r = pull_one(x, x->ref.digest, &x->downloaded, err);
	else if (x->ref.tag)
		r = pull_one(x, x->ref.tag, &x->downloaded, err);
	else
		r = pull_all(x, err);
	if (r < 0)
		return -1;
	const char *suffix = x->ref.digest ? x->ref.digest : x->ref.tag;
	cs_autofree char *shown = cs_xasprintf("%s%s%s", x->familiar, x->ref.digest ? "@" : x->ref.tag ? ":" : "", suffix ? suffix : "");
	cs_progress_status(out, NULL, x->downloaded ? "Status: Downloaded newer image for %s" : "Status: Image is up to date for %s", shown);
	if (x->warning)
		cs_progress_status(out, NULL, "WARNING: %s", x->warning);
	cs_image_event(x->m, "pull", shown, x->familiar);
	return 0;
}

static void pull_free(void *ctx)
{
	struct pull *x = ctx;

	cs_session_unref(x->session);
	cs_registry_unref(x->registry);
	cs_registry_auth_done(&x->auth);
	cs_platform_done(&x->want);
	cs_ref_done(&x->ref);
	free(x->familiar);
	free(x->warning);
	free(x);
}

static int parse_ref(const struct cs_pull *rq, struct cs_ref *ref, struct cs_err **err)
{
	cs_autofree char *image = cs_xstrdup(rq->image);
	size_t n = strlen(image);

	/* "pull -a" of old clients sends a trailing colon */
	if (n && image[n - 1] == ':')
		image[n - 1] = 0;
	if (cs_ref_parse(image, ref, err) < 0)
		return -1;
	if (cs_empty(rq->tag))
		return 0;
	free(ref->tag);
	free(ref->digest);
	ref->tag = ref->digest = NULL;
	if (strchr(rq->tag, ':')) {
		cs_autofree char *whole = cs_xasprintf("%s/%s@%s", ref->domain, ref->path, rq->tag);
		cs_ref_done(ref);
		*ref = (struct cs_ref){0};
		return cs_ref_parse(whole, ref, err);
	}
	if (!cs_ref_tag_valid(rq->tag))
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid tag format");
	ref->tag = cs_xstrdup(rq->tag);
	return 0;
}

int cs_image_pull(struct cs_engine *e, const struct cs_pull *rq, struct cs_stream **ret, struct cs_err **err)
{
	struct pull *x = cs_xcalloc(1, sizeof(*x));

	x->m = e->images;
	x->any_platform = cs_empty(rq->platform);
	if (parse_ref(rq, &x->ref, err) < 0 || cs_platform_parse(rq->platform, &x->want, err) < 0 || cs_images_registry(x->m, &x->registry, err) < 0) {
		pull_free(x);
		return -1;
	}
	/* credentials that make no sense are none, as in dockerd */
	if (cs_registry_auth_parse_header(rq->auth, &x->auth, NULL) < 0)
		cs_registry_auth_done(&x->auth);
	x->familiar = cs_ref_familiar_name(&x->ref);
	return cs_progress_start(work, x, pull_free, rq->client_fd, ret, err);
}
