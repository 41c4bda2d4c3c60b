/* SPDX-License-Identifier: Apache-2.0
 *
 * Names that mean an index: reading the document, which of its platforms are here, choosing among them. The rules stand in the header. */
#include "engine/image_index.h"
#include "engine/manifest.h"

#include "base/json.h"

#define MAX_DESCRIPTOR (64u << 10) /* as text */

/* ---- the document ---- */
struct cs_image_index *cs_image_index_ref(struct cs_image_index *x)
{
	atomic_fetch_add(&x->refs, 1);
	return x;
}

void cs_image_index_unref(struct cs_image_index *x)
{
	if (!x || atomic_fetch_sub(&x->refs, 1) > 1)
		return;
	for (size_t i = 0; i < x->n; i++) {
		free(x->v[i].media_type);
		cs_platform_done(&x->v[i].platform);
		free(x->v[i].json);
	}
	free(x->v);
	free(x->inner);
	free(x);
}

static int add_entry(struct cs_image_index *x, const struct cs_descriptor *d, json_t *j, struct cs_err **err)
{
	cs_autofree char *text = json_dumps(j, JSON_COMPACT);

	if (!text || strlen(text) > MAX_DESCRIPTOR)
		return cs_fail(err, CS_ERR_INVALID, 0, "index %s: the entry for %s is larger than %u KiB", x->digest.s, d->digest.s, MAX_DESCRIPTOR >> 10);
	x->v = cs_xreallocarray(x->v, x->n + 1, sizeof(*x->v));
	struct cs_index_entry *e = &x->v[x->n++];
	*e = (struct cs_index_entry){
		.digest = d->digest, .size = d->size, .media_type = cs_xstrdup(d->media_type), .attestation = d->attestation, .subject = d->subject};
	cs_platform_set(&e->platform, d->platform.os, d->platform.arch, d->platform.variant);
	e->json = TAKE_PTR(text);
	return 0;
}

/* Entries of the index `d`; 1: it is none. */
static int add_entries(struct cs_images *m, struct cs_image_index *x, const struct cs_digest *d, int depth, struct cs_index_walk *w, struct cs_err **err)
{
	cs_autostr struct cs_str text = CS_STR_INIT(CS_MANIFEST_MAX + 1);
	cs_automf struct cs_manifest mf = {0};

	if (cs_blob_get(m->storage, d, CS_MANIFEST_MAX, &text, err) < 0 || cs_manifest_parse(text.buf ? text.buf : "", text.len, NULL, &mf, err) < 0)
		return -1;
	if (mf.kind != CS_MANIFEST_INDEX)
		return 1;
	int seen = cs_index_walk_into(w, d, depth, mf.n, err);
	if (seen != 0)
		return seen < 0 ? -1 : 0;
	if (depth == 0) {
		x->size = (int64_t)text.len;
		x->media_type = strcmp(mf.media_type, CS_MT_DOCKER_LIST) == 0 ? CS_MT_DOCKER_LIST : CS_MT_OCI_INDEX;
	} else {
		x->inner = cs_xreallocarray(x->inner, x->n_inner + 1, sizeof(*x->inner));
		x->inner[x->n_inner++] = *d;
	}
	cs_autojson json_t *j = cs_json_parse(text.buf, text.len, err);
	for (size_t i = 0; j && i < mf.n; i++) {
		int r = 1;
		if (cs_manifest_type_is_index(mf.v[i].media_type))
			r = add_entries(m, x, &mf.v[i].digest, depth + 1, w, NULL) < 0 ? 1 : 0; /* one that is not here has nothing that is */
		if (r == 1 && add_entry(x, &mf.v[i], json_array_get(json_object_get(j, "manifests"), i), err) < 0)
			return -1;
	}
	return j ? 0 : -1;
}

int cs_image_index_read(struct cs_images *m, const struct cs_digest *d, struct cs_image_index **ret, struct cs_err **err)
{
	cs_autoindex x = cs_xcalloc(1, sizeof(*x));
	struct cs_index_walk w = {0};

	atomic_init(&x->refs, 1);
	x->digest = *d;
	int r = add_entries(m, x, d, 0, &w, err);
	if (r != 0)
		return r < 0 ? -1 : cs_fail(err, CS_ERR_INVALID, 0, "%s is no index", d->s);
	*ret = TAKE_PTR(x);
	return 0;
}

/* ---- which are in use ---- */
static void count_members(struct cs_images *m, const struct cs_image_index *x, bool more)
{
	for (size_t i = 0; i < x->n; i++) {
		struct cs_image_member *k;
		HASH_FIND_STR(m->members, x->v[i].digest.s, k);
		if (!k) {
			k = cs_xcalloc(1, sizeof(*k));
			k->manifest = x->v[i].digest;
			HASH_ADD_STR(m->members, manifest.s, k);
		}
		k->n += more ? 1u : -1u;
		if (k->n == 0) {
			HASH_DEL(m->members, k);
			free(k);
		}
	}
}

int cs_image_index_use(struct cs_images *m, const struct cs_digest *d, struct cs_image_index **ret, struct cs_err **err)
{
	struct cs_image_index *x;

	HASH_FIND_STR(m->indexes, d->s, x);
	if (!x) {
		if (cs_image_index_read(m, d, &x, err) < 0)
			return -1;
		pthread_rwlock_wrlock(&m->lock);
		HASH_ADD_STR(m->indexes, digest.s, x);
		count_members(m, x, true);
		pthread_rwlock_unlock(&m->lock);
	}
	x->names++;
	*ret = x;
	return 0;
}

void cs_image_index_unuse(struct cs_images *m, struct cs_image_index *x)
{
	if (!x || --x->names > 0)
		return;
	pthread_rwlock_wrlock(&m->lock);
	HASH_DEL(m->indexes, x);
	count_members(m, x, false);
	pthread_rwlock_unlock(&m->lock);
	cs_image_index_unref(x);
	m->sweep_wanted = true; /* its document, and what only it needed */
}

bool cs_image_index_has(const struct cs_image_index *x, const struct cs_digest *manifest)
{
	for (size_t i = 0; i < x->n; i++) {
		if (strcmp(x->v[i].digest.s, manifest->s) == 0)
			return true;
	}
	return false;
}

void cs_image_table_add(struct cs_images *m, struct cs_image_rec *r)
{
	HASH_ADD_STR(m->by_id, id.s, r);
	HASH_ADD(hm, m->by_manifest, manifest.s, strlen(r->manifest.s), r);
}

void cs_image_table_del(struct cs_images *m, struct cs_image_rec *r)
{
	HASH_DEL(m->by_id, r);
	HASH_DELETE(hm, m->by_manifest, r);
}

/* ---- what is here ---- */
struct cs_image_rec *cs_image_of_manifest(struct cs_images *m, const struct cs_digest *manifest)
{
	struct cs_image_rec *r;

	HASH_FIND(hm, m->by_manifest, manifest->s, strlen(manifest->s), r);
	return r;
}

static int score(const struct cs_index_entry *e, const struct cs_image_rec *r, const struct cs_platform *want)
{
	cs_autoplatform struct cs_platform own = {0};

	if (e->attestation || r->info.artifact)
		return 0;
	if (*e->platform.os)
		return cs_platform_score(want, &e->platform);
	cs_platform_set(&own, r->info.os, r->info.architecture, r->info.variant);
	return cs_platform_score(want, &own);
}

struct cs_image_rec *cs_image_index_pick(struct cs_images *m, const struct cs_image_index *x, const struct cs_platform *want, struct cs_image_rec *extra,
					 const struct cs_image_rec *but)
{
	cs_autoplatform struct cs_platform host = {0};
	struct cs_image_rec *best = NULL, *any = NULL;
	int most = 0;

	if (!want && cs_platform_parse(NULL, &host, NULL) < 0)
		return NULL;
	for (size_t i = 0; i < x->n; i++) {
		struct cs_image_rec *r = cs_image_of_manifest(m, &x->v[i].digest);
		if (!r && extra && strcmp(extra->manifest.s, x->v[i].digest.s) == 0)
			r = extra;
		if (!r || r == but)
			continue;
		int points = score(&x->v[i], r, want ? want : &host);
		any = any ? any : r;
		if (points > most) {
			most = points;
			best = r;
		}
	}
	return best || want ? best : any;
}

static bool has_name(struct cs_images *m, const struct cs_image_rec *r)
{
	for (struct cs_image_name *n = m->names; n; n = n->hh.next) {
		if (n->rec == r)
			return true;
	}
	return false;
}

bool cs_image_is_hidden(struct cs_images *m, const struct cs_image_rec *r)
{
	struct cs_image_member *k;

	pthread_rwlock_rdlock(&m->lock);
	HASH_FIND_STR(m->members, r->manifest.s, k);
	bool hidden = k && !has_name(m, r);
	pthread_rwlock_unlock(&m->lock);
	return hidden;
}

bool cs_image_is_part(struct cs_images *m, const struct cs_image_rec *r)
{
	struct cs_image_member *k;

	pthread_rwlock_rdlock(&m->lock);
	HASH_FIND_STR(m->members, r->manifest.s, k);
	pthread_rwlock_unlock(&m->lock);
	return k != NULL;
}

struct cs_image_rec **cs_image_index_recs(struct cs_images *m, const struct cs_image_index *x, size_t *n)
{
	struct cs_image_rec **v = cs_xcalloc(x->n + 1, sizeof(struct cs_image_rec *));

	*n = 0;
	pthread_rwlock_rdlock(&m->lock);
	for (size_t i = 0; i < x->n; i++) {
		struct cs_image_rec *r = cs_image_of_manifest(m, &x->v[i].digest);
		for (size_t k = 0; r && k < *n; k++)
			r = v[k] == r ? NULL : r;
		if (!r)
			continue;
		atomic_fetch_add(&r->refs, 1);
		v[(*n)++] = r;
	}
	pthread_rwlock_unlock(&m->lock);
	return v;
}

struct cs_image_rec **cs_image_family(struct cs_images *m, struct cs_image_rec *r, size_t *n)
{
	struct cs_image_rec **v = cs_xcalloc(2, sizeof(struct cs_image_rec *));

	*n = 0;
	v[(*n)++] = r;
	pthread_rwlock_rdlock(&m->lock);
	for (struct cs_image_name *x = m->names; x; x = x->hh.next) {
		for (size_t i = 0; x->rec == r && x->index && i < x->index->n; i++) {
			struct cs_image_rec *other = cs_image_of_manifest(m, &x->index->v[i].digest);
			for (size_t k = 0; other && k < *n; k++)
				other = v[k] == other ? NULL : other;
			if (!other || has_name(m, other))
				continue;
			v = cs_xreallocarray(v, *n + 2, sizeof(*v));
			v[(*n)++] = other;
		}
	}
	for (size_t i = 0; i < *n; i++)
		atomic_fetch_add(&v[i]->refs, 1);
	pthread_rwlock_unlock(&m->lock);
	return v;
}

static bool blob_here(struct cs_images *m, const struct cs_digest *d, int64_t *bytes)
{
	cs_autofd int fd = -EBADF;
	int64_t size = 0;

	if (cs_blob_open(m->storage, d, &fd, &size, NULL) < 0)
		return false;
	*bytes += size;
	return true;
}

bool cs_image_content(struct cs_images *m, const struct cs_digest *manifest, int64_t *ret_bytes)
{
	cs_autostr struct cs_str text = CS_STR_INIT(CS_MANIFEST_MAX + 1);
	cs_automf struct cs_manifest mf = {0};
	int64_t bytes = 0;

	bool all = cs_blob_get(m->storage, manifest, CS_MANIFEST_MAX, &text, NULL) == 0 &&
		   cs_manifest_parse(text.buf ? text.buf : "", text.len, NULL, &mf, NULL) == 0 && mf.kind == CS_MANIFEST_IMAGE;
	bytes += (int64_t)text.len;
	if (all) {
		all = blob_here(m, &mf.config.digest, &bytes);
		for (size_t i = 0; i < mf.n; i++)
			all = blob_here(m, &mf.v[i].digest, &bytes) && all;
	}
	if (ret_bytes)
		*ret_bytes = bytes;
	return all;
}

static bool is_foreign(const struct cs_index_entry *e) { return e->attestation || (*e->platform.os && strcmp(e->platform.os, "linux") != 0); }

/* Takes m->lock. */
static bool is_image_here(struct cs_images *m, const struct cs_digest *manifest)
{
	pthread_rwlock_rdlock(&m->lock);
	bool here = cs_image_of_manifest(m, manifest);
	pthread_rwlock_unlock(&m->lock);
	return here;
}

bool cs_image_index_complete(struct cs_images *m, const struct cs_image_index *x)
{
	bool all = true;

	/* index.json asks at each change: most indexes lack a platform, and that is known without the disk */
	pthread_rwlock_rdlock(&m->lock);
	for (size_t i = 0; i < x->n && all; i++)
		all = is_foreign(&x->v[i]) || cs_image_of_manifest(m, &x->v[i].digest);
	pthread_rwlock_unlock(&m->lock);
	for (size_t i = 0; i < x->n && all; i++)
		all = !is_foreign(&x->v[i]) || cs_image_content(m, &x->v[i].digest, NULL);
	return all;
}

int cs_image_index_reduce(struct cs_images *m, const struct cs_image_index *x, struct cs_image_index **ret, size_t *ret_of, struct cs_err **err)
{
	cs_autostr struct cs_str text = CS_STR_INIT(CS_MANIFEST_MAX + 1);
	cs_autojson json_t *list = json_array();
	struct cs_digest d;

	for (size_t i = 0; i < x->n; i++) {
		const struct cs_index_entry *e = &x->v[i];
		/* what is said about an image goes with it */
		bool here = is_foreign(e) ? cs_image_content(m, &e->digest, NULL) && (!e->subject.s[0] || is_image_here(m, &e->subject)) : is_image_here(m, &e->digest);
		if (here)
			(void)json_array_append_new(list, cs_json_parse(e->json, strlen(e->json), NULL));
	}
	*ret = NULL;
	*ret_of = x->n;
	if (json_array_size(list) < 2)
		return 0;
	if (cs_blob_get(m->storage, &x->digest, CS_MANIFEST_MAX, &text, err) < 0)
		return -1;
	cs_autojson json_t *j = cs_json_parse(text.buf, text.len, err);
	if (!j)
		return -1;
	(void)json_object_set(j, "manifests", list);
	cs_autofree char *reduced = json_dumps(j, JSON_COMPACT);
	if (!reduced)
		return cs_fail(err, CS_ERR_INTERNAL, ENOMEM, "write an index");
	return cs_blob_put(m->storage, reduced, strlen(reduced), &d, err) < 0 ? -1 : cs_image_index_read(m, &d, ret, err);
}

bool cs_image_index_counts(struct cs_images *m, const struct cs_image_index *x)
{
	size_t n;
	struct cs_image_rec **v = cs_image_index_recs(m, x, &n);

	cs_image_recs_free(v, n);
	return n > 1 || (n == 1 && cs_image_index_complete(m, x));
}

/* ---- references ---- */
int cs_image_find_index(struct cs_images *m, const char *ref, struct cs_image_rec **ret, char **ret_name, struct cs_image_index **ret_index,
			struct cs_err **err)
{
	cs_autofree char *name = NULL;
	struct cs_image_index *x = NULL;

	if (cs_image_find(m, ref, ret, &name, err) < 0)
		return -1;
	pthread_rwlock_rdlock(&m->lock);
	for (struct cs_image_name *n = m->names; n && !x; n = n->hh.next) {
		if (n->rec == *ret && n->index && (!name || strcmp(n->full, name) == 0))
			x = cs_image_index_ref(n->index);
	}
	pthread_rwlock_unlock(&m->lock);
	*ret_index = x;
	if (ret_name)
		*ret_name = TAKE_PTR(name);
	return 0;
}

int cs_image_find_platform(struct cs_images *m, const char *ref, const char *platform, struct cs_image_rec **ret, char **ret_name,
			   struct cs_image_index **ret_index, struct cs_err **err)
{
	cs_autoplatform struct cs_platform want = {0};
	cs_autorec struct cs_image_rec *r = NULL;
	cs_autofree char *name = NULL;
	cs_autoindex x = NULL;

	if (!cs_empty(platform) && cs_platform_parse(platform, &want, err) < 0)
		return -1;
	if (cs_image_find_index(m, ref, &r, &name, &x, err) < 0)
		return -1;
	if (x && !cs_empty(platform)) {
		pthread_rwlock_rdlock(&m->lock);
		struct cs_image_rec *other = cs_image_index_pick(m, x, &want, NULL, NULL);
		if (other)
			atomic_fetch_add(&other->refs, 1);
		pthread_rwlock_unlock(&m->lock);
		if (!other) {
			cs_autofree char *text = cs_platform_text(&want);
			return cs_fail(err, CS_ERR_NOT_FOUND, 0, "image with reference %s was found but does not provide the specified platform (%s)", ref, text);
		}
		cs_image_rec_unref(r);
		r = other;
	} else if (cs_image_check_platform(&r->info, ref, platform, err) < 0) {
		return -1;
	}
	*ret = TAKE_PTR(r);
	if (ret_name)
		*ret_name = TAKE_PTR(name);
	if (ret_index)
		*ret_index = TAKE_PTR(x);
	return 0;
}
