/* SPDX-License-Identifier: Apache-2.0
 *
 * Tagging, untagging, deleting and pruning images, with dockerd's rules on what must be forced. Any thread. */
#include "engine/events.h"
#include "engine/filters.h"
#include "engine/image_index.h"
#include "engine/prune.h"
#include "registry/reference.h"

static void event(struct cs_images *m, const struct cs_image_rec *r, const char *action, const char *name)
{
	struct cs_strmap *attrs = r->info.config->labels ? cs_strmap_copy(r->info.config->labels) : cs_strmap_new();

	cs_strmap_set(attrs, "name", name ? name : r->id.s);
	cs_event(m->e, "image", action, r->id.s, attrs);
}

/* As its own, or mounted in it. */
static bool uses_image(const struct cs_container *c, const char *id)
{
	bool uses = cs_streq(c->image_id, id);

	for (size_t i = 0; i < c->n_mounts && !uses; i++)
		uses = cs_streq(c->mounts[i].type, "image") && cs_streq(c->mounts[i].source, id);
	return uses;
}

static struct cs_container *user_of_any(struct cs_images *m, struct cs_image_rec *const *recs, size_t n_recs, bool running)
{
	size_t n;
	struct cs_container **v = cs_containers_all(m->e, &n), *found = NULL;

	for (size_t i = 0; i < n && !found; i++) {
		bool uses = false;
		for (size_t k = 0; k < n_recs && !uses; k++)
			uses = uses_image(v[i], recs[k]->id.s);
		if (!uses)
			continue;
		pthread_mutex_lock(&v[i]->lock);
		bool is = cs_container_is_alive(v[i]);
		pthread_mutex_unlock(&v[i]->lock);
		if (is == running)
			found = cs_container_ref(v[i]);
	}
	cs_containers_free(v);
	return found;
}

/* A container of the image, or of a platform that goes with it (with a reference), a running one or one that does not run; NULL for none. */
static struct cs_container *user_of(struct cs_images *m, struct cs_image_rec *r, bool running)
{
	size_t n;
	struct cs_image_rec **family = cs_image_family(m, r, &n);
	struct cs_container *c = user_of_any(m, family, n, running);

	cs_image_recs_free(family, n);
	return c;
}

struct family {
	struct cs_image_rec **v;
	size_t n;
};
static void family_done(struct family *f)
{
	if (f->v)
		cs_image_recs_free(f->v, f->n);
}

struct removal {
	struct cs_images *m;
	struct cs_image_rec *r;
	struct family family; /* that goes with it, itself included: as of the time when it had its names; borrowed. Empty: not asked yet */
	struct cs_str *out; /* records, comma separated */
	bool force, noprune;
	unsigned depth;     /* of parents */
};

static struct cs_container *used_by(const struct removal *x, bool running)
{
	return x->family.v ? user_of_any(x->m, x->family.v, x->family.n, running) : user_of(x->m, x->r, running);
}

static void record(struct removal *x, const char *what, const char *value)
{
	cs_str_puts(x->out, x->out->len && x->out->buf[x->out->len - 1] == '}' ? ",{" : "{");
	cs_json_put_kstr(x->out, what, value);
	cs_str_puts(x->out, "}");
}

static int untag(struct removal *x, const char *full, bool tell, struct cs_err **err)
{
	cs_autofree char *familiar = cs_ref_shorten(full);

	if (cs_images_del_name(x->m, full, err) < 0)
		return -1;
	record(x, "Untagged", familiar);
	if (tell)
		event(x->m, x->r, "untag", x->r->id.s);
	return 0;
}

/* The repository of a full name, without tag or digest; caller frees. */
static char *repo_of(const char *full)
{
	const char *slash = strrchr(full, '/'), *end = strchr(full, '@');

	if (!end)
		end = strrchr(slash ? slash : full, ':');
	return end ? cs_xstrndup(full, (size_t)(end - full)) : cs_xstrdup(full);
}

/* One name as far as people are concerned: at most one tag, and all digests in its repository. */
static bool is_single(char *const *refs)
{
	cs_autofree char *repo = NULL;
	size_t tags = 0, n = cs_strv_len(refs);

	if (n <= 1)
		return true;
	for (char *const *r = refs; *r; r++) {
		cs_autofree char *own = repo_of(*r);
		if (repo && strcmp(repo, own) != 0)
			return false;
		tags += !cs_image_is_digest_ref(*r);
		if (!repo)
			repo = TAKE_PTR(own);
	}
	return tags <= 1;
}

#define HARD_RUNNING (1u << 0)
#define SOFT_STOPPED (1u << 1)
#define SOFT_NAMES (1u << 2)
#define HARD_CHILDREN (1u << 3)
#define HARD (HARD_RUNNING | HARD_CHILDREN)

static int conflict(struct removal *x, unsigned mask, bool *ret_used, struct cs_err **err)
{
	const char *shrt = cs_digest_hex(&x->r->id);
	cs_autocontainer struct cs_container *running = mask & HARD_RUNNING ? used_by(x, true) : NULL;

	*ret_used = false;
	if (mask & HARD_CHILDREN && cs_image_has_children(x->m, x->r))
		return cs_fail(err, CS_ERR_CONFLICT, 0, "conflict: unable to delete %.12s (cannot be forced) - image has dependent child images", shrt);
	*ret_used = true;
	if (running)
		return cs_fail(err, CS_ERR_CONFLICT, 0, "conflict: unable to delete %.12s (cannot be forced) - image is being used by running container %.12s", shrt,
			       running->id);
	*ret_used = false;
	if (mask & SOFT_NAMES) {
		cs_autostrv char **names = cs_image_refs(x->m, x->r);
		if (names[0])
			return cs_fail(err, CS_ERR_CONFLICT, 0, "conflict: unable to delete %.12s (must be forced) - image is referenced in multiple repositories",
				       shrt);
	}
	*ret_used = true;
	cs_autocontainer struct cs_container *stopped = mask & SOFT_STOPPED ? used_by(x, false) : NULL;
	if (stopped)
		return cs_fail(err, CS_ERR_CONFLICT, 0, "conflict: unable to delete %.12s (must be forced) - image is being used by stopped container %.12s", shrt,
			       stopped->id);
	*ret_used = false;
	return 0;
}

static int delete_parent(struct removal *x, const struct cs_digest *parent, struct cs_err **err);
static int delete_image(struct removal *x, bool quiet, struct cs_err **err);

static int delete_record(struct removal *x, struct cs_err **err)
{
	if (cs_images_del(x->m, x->r, err) < 0)
		return -1;
	record(x, "Deleted", x->r->id.s);
	event(x->m, x->r, "delete", x->r->id.s);
	for (size_t i = x->r->n_layers; i-- > 0;) {
		if (!cs_layer_exists(x->m->storage, &x->r->layers[i].chain))
			record(x, "Deleted", x->r->layers[i].chain.s);
	}
	return 0;
}

/* The other platforms of an index whose last name went. One that is used all the same becomes an image without a name. */
static int delete_others(struct removal *x, const struct family *f, struct cs_err **err)
{
	for (size_t i = 0; i < f->n; i++) {
		struct removal other = {.m = x->m, .r = f->v[i], .out = x->out, .force = x->force, .noprune = x->noprune, .depth = x->depth};
		cs_autostrv char **names = f->v[i] == x->r ? NULL : cs_image_refs(x->m, f->v[i]);
		if (f->v[i] == x->r || names[0] || atomic_load(&f->v[i]->gone) || cs_image_is_hidden(x->m, f->v[i]))
			continue;
		if (delete_image(&other, true, err) < 0)
			return -1;
	}
	return 0;
}

/* quiet: a name was removed already, so that being unable to delete the rest is no failure, unless the image would dangle for nothing. */
static int delete_image(struct removal *x, bool quiet, struct cs_err **err)
{
	cs_autoerr struct cs_err *why = NULL;
	struct cs_digest parent = x->r->parent;
	cs_auto(family_done) struct family f = {0};
	bool used;

	if (conflict(x, x->force ? HARD : HARD | SOFT_STOPPED | SOFT_NAMES, &used, &why) < 0) {
		cs_autostrv char **left = cs_image_refs(x->m, x->r);
		bool dangling = !left[0] && !cs_image_has_children(x->m, x->r);
		return quiet && (!dangling || used) ? 0 : cs_err_move(err, TAKE_PTR(why));
	}
	cs_autostrv char **names = cs_image_refs(x->m, x->r);
	if (!x->family.v)
		f.v = cs_image_family(x->m, x->r, &f.n);
	for (char **n = names; *n; n++) {
		if (untag(x, *n, true, err) < 0)
			return -1;
	}
	if (delete_record(x, err) < 0 || delete_others(x, f.v ? &f : &x->family, err) < 0)
		return -1;
	return parent.s[0] && !x->noprune ? delete_parent(x, &parent, err) : 0;
}

/* What only existed for the image that has gone. */
static int delete_parent(struct removal *x, const struct cs_digest *parent, struct cs_err **err)
{
	cs_autorec struct cs_image_rec *r = NULL;

	if (x->depth > CS_MAX_LAYERS || cs_image_find(x->m, parent->s, &r, NULL, NULL) < 0)
		return 0;
	struct removal up = {.m = x->m, .r = r, .out = x->out, .depth = x->depth + 1};
	cs_autostrv char **names = cs_image_refs(x->m, r);
	if (names[0])
		return 0;
	return delete_image(&up, true, err);
}

static int remove_name(struct removal *x, const char *ref, const char *name, struct cs_err **err)
{
	cs_autostrv char **before = cs_image_refs(x->m, x->r);
	cs_autofree char *repo = repo_of(name);

	if (!x->force && is_single(before)) {
		cs_autocontainer struct cs_container *c = used_by(x, true);
		if (!c)
			c = used_by(x, false);
		if (c)
			return cs_fail(err, CS_ERR_CONFLICT, 0,
				       "conflict: unable to remove repository reference \"%s\" (must force) - container %.12s is using its referenced image %.12s", ref,
				       c->id, cs_digest_hex(&x->r->id));
	}
	if (untag(x, name, true, err) < 0)
		return -1;
	/* digests alone do not keep a repository's name alive once its last tag went */
	cs_autostrv char **left = cs_image_refs(x->m, x->r);
	bool tagged = false;
	size_t others = 0;
	for (char **l = left; *l; l++) {
		cs_autofree char *own = repo_of(*l);
		tagged = tagged || (!cs_image_is_digest_ref(*l) && strcmp(own, repo) == 0);
	}
	for (char **l = left; *l; l++) {
		cs_autofree char *own = repo_of(*l);
		bool goes = !tagged && !cs_image_is_digest_ref(name) && cs_image_is_digest_ref(*l) && strcmp(own, repo) == 0;
		if (goes && untag(x, *l, false, err) < 0)
			return -1;
		others += !goes;
	}
	return others ? 0 : delete_image(x, true, err);
}

static int remove_locked(struct removal *x, const char *ref, const char *name, struct cs_err **err)
{
	cs_autostrv char **names = cs_image_refs(x->m, x->r);
	bool used;

	if (name)
		return remove_name(x, ref, name, err);
	if (is_single(names)) {
		/* by id: a single name goes with it */
		if (conflict(x, x->force ? HARD : HARD | SOFT_STOPPED, &used, err) < 0)
			return -1;
		for (char **n = names; *n; n++) {
			if (untag(x, *n, true, err) < 0)
				return -1;
		}
	}
	return delete_image(x, false, err);
}

/* One platform of an index of which more are here. */
static int remove_platform(struct removal *x, struct cs_err **err)
{
	bool used;

	if (conflict(x, x->force ? HARD : HARD | SOFT_STOPPED, &used, err) < 0 || cs_images_let_go(x->m, x->r, err) < 0)
		return -1;
	cs_autostrv char **names = cs_image_refs(x->m, x->r);
	if (names[0] && !x->force)
		return cs_fail(err, CS_ERR_CONFLICT, 0, "conflict: unable to delete %.12s (must be forced) - image is referenced in multiple repositories",
			       cs_digest_hex(&x->r->id));
	for (char **n = names; *n; n++) {
		if (untag(x, *n, true, err) < 0)
			return -1;
	}
	return delete_record(x, err);
}

/* Each platform's image; those that are here besides them decide whether the name stays. */
static int remove_platforms(struct removal *x, const char *ref, const char *name, char *const *platforms, struct cs_err **err)
{
	cs_auto(family_done) struct family f = {.v = cs_xcalloc(cs_strv_len(platforms) + 1, sizeof(struct cs_image_rec *))}, all = {0};
	cs_autoindex index = NULL;

	for (; *platforms; platforms++) {
		struct cs_image_rec *r;
		cs_autoindex own = NULL;
		if (cs_image_find_platform(x->m, ref, *platforms, &r, NULL, &own, err) < 0)
			return -1;
		bool again = false;
		for (size_t i = 0; i < f.n; i++)
			again = again || f.v[i] == r;
		if (again)
			cs_image_rec_unref(r);
		else
			f.v[f.n++] = r;
		if (!index)
			index = TAKE_PTR(own);
	}
	if (index)
		all.v = cs_image_index_recs(x->m, index, &all.n);
	if (all.n <= f.n)
		return remove_locked(x, ref, name, err);
	for (size_t i = 0; i < f.n; i++) {
		struct removal one = *x;
		one.r = f.v[i];
		one.family = (struct family){&f.v[i], 1};
		if (remove_platform(&one, err) < 0)
			return -1;
	}
	return 0;
}

int cs_image_remove(struct cs_engine *e, const char *ref, char *const *platforms, bool force, bool noprune, struct cs_str *out, struct cs_err **err)
{
	struct cs_images *m = e->images;
	cs_autorec struct cs_image_rec *r = NULL;
	cs_autofree char *name = NULL;
	cs_autostr struct cs_str records = CS_STR_INIT(16u << 20);

	CS_GUARD(&m->write);
	if (cs_image_find(m, ref, &r, &name, err) < 0)
		return -1;
	cs_auto(family_done) struct family f = {0};
	f.v = cs_image_family(m, r, &f.n);
	struct removal x = {.m = m, .r = r, .family = f, .out = &records, .force = force, .noprune = noprune};
	if ((platforms && *platforms ? remove_platforms(&x, ref, name, platforms, err) : remove_locked(&x, ref, name, err)) < 0)
		return -1;
	cs_str_puts(out, "[");
	cs_str_put(out, records.buf ? records.buf : "", records.len);
	cs_str_puts(out, "]");
	if (m->sweep_wanted)
		cs_images_sweep(m);
	return out->failed || records.failed ? cs_fail(err, CS_ERR_INTERNAL, ENOMEM, "remove image") : 0;
}

int cs_image_tag(struct cs_engine *e, const char *ref, const char *repo, const char *tag, struct cs_err **err)
{
	struct cs_images *m = e->images;
	cs_autorec struct cs_image_rec *r = NULL;
	cs_autoref struct cs_ref to = {0};

	if (cs_ref_parse(repo ? repo : "", &to, err) < 0)
		return -1;
	if (to.digest)
		return cs_fail(err, CS_ERR_INVALID, 0, "refusing to create a tag with a digest reference");
	if (!cs_empty(tag)) {
		if (!cs_ref_tag_valid(tag))
			return cs_fail(err, CS_ERR_INVALID, 0, "invalid tag format");
		free(to.tag);
		to.tag = cs_xstrdup(tag);
	}
	cs_autofree char *short_name = cs_ref_familiar_name(&to);
	if (strcmp(short_name, "sha256") == 0)
		return cs_fail(err, CS_ERR_INVALID, 0, "refusing to create an ambiguous tag using digest algorithm as name");
	cs_ref_default_tag(&to);
	cs_autofree char *full = cs_ref_full(&to), *familiar = cs_ref_familiar(&to);
	cs_autoindex index = NULL;
	CS_GUARD(&m->write);
	if (cs_image_find_index(m, ref, &r, NULL, &index, err) < 0 || cs_images_set_name(m, full, r, index ? &index->digest : NULL, err) < 0)
		return -1;
	event(m, r, "tag", familiar);
	return 0;
}

/* ---- prune ---- */
static bool matches(struct cs_images *m, struct cs_image_rec *r, const struct cs_filters *f, bool dangling_only, int64_t until)
{
	cs_autostrv char **names = cs_image_names(m, r), **refs = cs_image_refs(m, r);
	char **not_labels = cs_filter_values(f, "label!");

	if (atomic_load(&r->gone) || cs_image_is_hidden(m, r) || (dangling_only && names[0]) || (!refs[0] && cs_image_has_children(m, r)))
		return false;
	if (until != INT64_MIN && r->created > until)
		return false;
	if (!cs_filter_labels(f, "label", r->info.config->labels))
		return false;
	return !(not_labels && *not_labels && cs_filter_labels(f, "label!", r->info.config->labels));
}

static bool in_use(struct cs_images *m, struct cs_image_rec *r)
{
	cs_autocontainer struct cs_container *c = user_of(m, r, true);
	if (!c)
		c = user_of(m, r, false);
	return c != NULL;
}

/* Does a reference as a user wrote it mean this full name? name:tag@digest means two. */
static bool means(const char *wrote, const char *full)
{
	cs_autoref struct cs_ref ref = {0};

	if (cs_empty(wrote) || cs_ref_parse(wrote, &ref, NULL) < 0)
		return false;
	cs_ref_default_tag(&ref);
	cs_autofree char *repo = cs_xasprintf("%s/%s", ref.domain, ref.path);
	cs_autofree char *tagged = ref.tag ? cs_xasprintf("%s:%s", repo, ref.tag) : NULL;
	cs_autofree char *pinned = ref.digest ? cs_xasprintf("%s@%s", repo, ref.digest) : NULL;
	return cs_streq(tagged, full) || cs_streq(pinned, full);
}

/* Is there a container whose image, or the image that it mounts, was given by this name? */
static bool is_named(struct cs_images *m, const char *full)
{
	size_t n;
	struct cs_container **v = cs_containers_all(m->e, &n);
	bool named = false;

	for (size_t i = 0; i < n && !named; i++) {
		pthread_mutex_lock(&v[i]->lock);
		named = means(v[i]->image_ref, full);
		for (size_t k = 0; k < v[i]->host->n_mounts && !named; k++)
			named = cs_streq(v[i]->host->mounts[k].type, "image") && means(v[i]->host->mounts[k].source, full);
		pthread_mutex_unlock(&v[i]->lock);
	}
	cs_containers_free(v);
	return named;
}

/* Of an image in use those names stay that containers were made with; where there is none (by id, or the name went on), the last. A digest
 * stays with a tag of its repository. */
static int untag_surplus(struct removal *x, struct cs_err **err)
{
	cs_autostrv char **refs = cs_image_refs(x->m, x->r), **kept = NULL;
	const char *last = NULL;

	for (char **n = refs; *n; n++) {
		if (is_named(x->m, *n))
			cs_strv_push(&kept, *n);
		if (!last || !cs_image_is_digest_ref(*n) || cs_image_is_digest_ref(last))
			last = *n;
	}
	if (!kept && last)
		cs_strv_push(&kept, last);
	for (char **n = refs; *n; n++) {
		bool stays = false;
		for (char **k = kept; *k && !stays; k++) {
			cs_autofree char *own = repo_of(*n), *repo = repo_of(*k);
			stays = strcmp(*k, *n) == 0 || (cs_image_is_digest_ref(*n) && strcmp(own, repo) == 0);
		}
		if (!stays && untag(x, *n, true, err) < 0)
			return -1;
	}
	return 0;
}

/* An image that others were made from and that stay loses its names, as in Docker: it goes with the last of them. Whatever else stands in the way
 * of one image is no reason to keep the others. */
static int prune_one(struct removal *x, bool *ret_deleted, struct cs_err **err)
{
	cs_autoerr struct cs_err *why = NULL;

	*ret_deleted = false;
	if (cs_image_has_children(x->m, x->r)) {
		cs_autostrv char **names = cs_image_refs(x->m, x->r);
		for (char **n = names; *n; n++)
			if (untag(x, *n, true, err) < 0)
				return -1;
		return 0;
	}
	if (delete_image(x, false, &why) < 0)
		return cs_err_code(why) == CS_ERR_CONFLICT ? 0 : cs_err_move(err, TAKE_PTR(why));
	*ret_deleted = true;
	return 0;
}

/* Layers of the family that are no more, each once. */
static int64_t bytes_gone(struct cs_images *m, const struct family *f)
{
	int64_t sum = 0;

	for (size_t i = 0; i < f->n; i++) {
		for (size_t k = 0; k < f->v[i]->n_layers; k++) {
			const struct cs_image_layer *l = &f->v[i]->layers[k];
			bool seen = cs_layer_exists(m->storage, &l->chain);
			for (size_t b = 0; b < i && !seen; b++) /* platforms rarely share a layer, but then from below */
				seen = k < f->v[b]->n_layers && strcmp(f->v[b]->layers[k].chain.s, l->chain.s) == 0;
			sum += seen ? 0 : l->size;
		}
	}
	return sum;
}

int cs_image_prune(struct cs_engine *e, const char *filters, int api, struct cs_prune_watch *watch, struct cs_str *out, struct cs_err **err)
{
	static const char *const allowed[] = {"dangling", "label", "label!", "until", NULL};
	struct cs_images *m = e->images;
	cs_autofilters struct cs_filters f = {0};
	cs_autostr struct cs_str records = CS_STR_INIT(64u << 20);
	bool dangling_only = true;
	int64_t until = INT64_MIN, reclaimed = 0;
	size_t n;

	if (cs_filters_parse(filters, allowed, &f, err) < 0 || cs_filter_bool(&f, "dangling", &dangling_only, err) < 0 ||
	    cs_filter_until(&f, &until, err) < 0)
		return -1;
	CS_GUARD(&m->write);
	struct cs_image_rec **all = cs_image_recs(m, &n);
	int r = 0;
	for (size_t i = 0; watch && i < n; i++)
		watch->total += matches(m, all[i], &f, dangling_only, until) && !in_use(m, all[i]);
	for (size_t i = 0; r == 0 && i < n; i++) {
		cs_auto(family_done) struct family family = {0};
		if (!matches(m, all[i], &f, dangling_only, until))
			continue;
		if (in_use(m, all[i])) {
			struct removal names = {.m = m, .r = all[i], .out = &records};
			r = dangling_only ? 0 : untag_surplus(&names, err);
			continue;
		}
		if (!cs_prune_begin(watch, all[i]->id.s))
			break;
		bool deleted;
		family.v = cs_image_family(m, all[i], &family.n);
		struct removal x = {.m = m, .r = all[i], .family = family, .out = &records, .force = true};
		r = prune_one(&x, &deleted, err);
		if (r == 0 && deleted)
			reclaimed += bytes_gone(m, &family);
		if (r == 0)
			cs_prune_end(watch, all[i]->id.s, deleted);
	}
	cs_image_recs_free(all, n);
	if (r < 0)
		return -1;
	reclaimed += cs_partials_clean(m->storage, true);
	cs_str_puts(out, "{\"ImagesDeleted\":");
	cs_str_puts(out, records.len ? "[" : "null");
	if (records.len) {
		cs_str_put(out, records.buf, records.len);
		cs_str_puts(out, "]");
	}
	cs_str_puts(out, ",\"SpaceReclaimed\":");
	cs_str_put_i64(out, reclaimed);
	cs_str_puts(out, "}");
	cs_prune_event(e, "image", reclaimed);
	return out->failed || records.failed ? cs_fail(err, CS_ERR_INTERNAL, ENOMEM, "prune images") : 0;
}
