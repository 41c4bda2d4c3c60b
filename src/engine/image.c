/* SPDX-License-Identifier: Apache-2.0
 *
 * Image records: building, finding, handing out; opening the store. Any thread. */
#include "base/log.h"
#include "base/time.h"
#include "engine/events.h"
#include "engine/image_index.h"
#include "engine/transfer.h"
#include "registry/registry.h"

#define SHORT_ID 12u

/* ---- records ---- */
static void rec_free(struct cs_image_rec *r)
{
	for (size_t i = 0; i < r->n_layers; i++)
		free(r->layers[i].media_type);
	free(r->layers);
	free(r->info.id);
	cs_config_free(r->info.config);
	free(r->info.os);
	free(r->info.architecture);
	free(r->info.variant);
	cs_strv_free(r->info.layer_dirs);
	cs_strv_free(r->info.layer_ids);
	free(r);
}

void cs_image_rec_unref(struct cs_image_rec *r)
{
	if (r && atomic_fetch_sub(&r->refs, 1) == 1)
		rec_free(r);
}

static char *json_text(json_t *j, const char *key)
{
	const char *s = json_string_value(json_object_get(j, key));
	return cs_xstrdup(s ? s : "");
}

static void fill_layers(struct cs_images *m, struct cs_image_rec *r, const struct cs_image_layer *layers, size_t n)
{
	r->layers = cs_xcalloc(n ? n : 1, sizeof(*r->layers));
	r->n_layers = n;
	r->info.layer_dirs = cs_xcalloc(n + 1, sizeof(char *));
	r->info.layer_ids = cs_xcalloc(n + 1, sizeof(char *));
	for (size_t i = 0; i < n; i++) {
		r->layers[i] = layers[i];
		r->layers[i].media_type = cs_xstrdup(layers[i].media_type);
		r->size += layers[i].size;
		r->info.layer_dirs[n - 1 - i] = cs_layer_path(m->storage, &layers[i].chain);
		r->info.layer_ids[n - 1 - i] = cs_xstrdup(layers[i].chain.s);
	}
}

/* Container labels under our own prefix steer the engine; an image may not bring them (CVE-2026-53488). */
static void drop_reserved_labels(struct cs_config *c)
{
	for (size_t i = c->labels ? c->labels->n : 0; i-- > 0;) {
		if (strncmp(c->labels->kv[i].key, "com.caisson.internal.", 21) == 0)
			cs_strmap_del(c->labels, c->labels->kv[i].key);
	}
}

static int fill_config(struct cs_image_rec *r, json_t *j, struct cs_err **err)
{
	json_t *config = json_object_get(j, "config");
	const char *created = json_string_value(json_object_get(j, "created"));
	json_t *diffs = json_object_get(json_object_get(j, "rootfs"), "diff_ids");

	if (!json_is_object(j))
		return cs_fail(err, CS_ERR_INVALID, 0, "image configuration %s is not an object", r->id.s);
	if (json_array_size(diffs) != r->n_layers)
		return cs_fail(err, CS_ERR_INVALID, 0, "image %s lists %zu layers in its configuration and has %zu", r->id.s, json_array_size(diffs), r->n_layers);
	for (size_t i = 0; i < r->n_layers; i++) {
		if (!cs_streq(json_string_value(json_array_get(diffs, i)), r->layers[i].diff.s))
			return cs_fail(err, CS_ERR_INVALID, 0, "image %s: layer %zu is not the one of its configuration", r->id.s, i);
	}
	r->info.id = cs_xstrdup(r->id.s);
	r->info.os = json_text(j, "os");
	r->info.architecture = json_text(j, "architecture");
	r->info.variant = json_text(j, "variant");
	if (!created || !cs_time_parse(created, &r->created))
		r->created = CS_TIME_ZERO;
	r->info.config = cs_xcalloc(1, sizeof(*r->info.config));
	if (json_is_object(config) && cs_json_decode(&cs_config_type, config, r->info.config, "config", err) < 0)
		return cs_wrap(err, "image %s", r->id.s);
	drop_reserved_labels(r->info.config);
	return 0;
}

static int fill_manifest(struct cs_images *m, struct cs_image_rec *r, struct cs_err **err)
{
	cs_autostr struct cs_str text = CS_STR_INIT(CS_MAX_IMAGE_JSON);

	if (cs_blob_get(m->storage, &r->manifest, CS_MAX_IMAGE_JSON, &text, err) < 0)
		return cs_wrap(err, "manifest of image %s", r->id.s);
	cs_autojson json_t *j = cs_json_parse(text.buf ? text.buf : "", text.len, NULL);
	bool docker = cs_streq(json_string_value(json_object_get(j, "mediaType")), CS_MT_DOCKER_MANIFEST);
	r->manifest_size = (int64_t)text.len;
	if (r->info.artifact) {
		size_t i;
		json_t *l;
		r->content = json_integer_value(json_object_get(json_object_get(j, "config"), "size"));
		json_array_foreach(json_object_get(j, "layers"), i, l)
		{
			r->content += json_integer_value(json_object_get(l, "size"));
		}
		r->size = r->content;
	}
	r->manifest_type = docker ? CS_MT_DOCKER_MANIFEST : CS_MT_OCI_MANIFEST;
	return 0;
}

int cs_image_rec_new(struct cs_images *m, const struct cs_digest *id, const struct cs_digest *manifest, const struct cs_image_layer *layers, size_t n,
		     struct cs_image_rec **ret, struct cs_err **err)
{
	cs_autostr struct cs_str text = CS_STR_INIT(CS_MAX_IMAGE_JSON);
	cs_autojson json_t *j = NULL;

	bool artifact = strcmp(id->s, manifest->s) == 0; /* what an artifact calls its configuration is nobody's business, often empty and shared */
	if (cs_blob_get(m->storage, id, CS_MAX_IMAGE_JSON, &text, err) < 0)
		return -1;
	j = cs_json_parse(text.buf, text.len, err);
	if (!j)
		return cs_wrap(err, "configuration of image %s", id->s);
	if (artifact) {
		json_decref(j);
		j = json_object();
	}
	struct cs_image_rec *r = cs_xcalloc(1, sizeof(*r));
	atomic_init(&r->refs, 1);
	r->id = *id;
	r->manifest = *manifest;
	r->info.artifact = artifact;
	r->config_size = artifact ? 0 : (int64_t)text.len;
	fill_layers(m, r, layers, n);
	if (fill_config(r, j, err) < 0 || fill_manifest(m, r, err) < 0) {
		rec_free(r);
		return -1;
	}
	*ret = r;
	return 0;
}

int cs_image_config_json(struct cs_images *m, const struct cs_image_rec *r, json_t **ret, struct cs_err **err)
{
	cs_autostr struct cs_str text = CS_STR_INIT(CS_MAX_IMAGE_JSON);

	if (r->info.artifact) {
		*ret = json_object();
		return 0;
	}
	if (cs_blob_get(m->storage, &r->id, CS_MAX_IMAGE_JSON, &text, err) < 0)
		return -1;
	*ret = cs_json_parse(text.buf, text.len, err);
	return *ret ? 0 : -1;
}

/* ---- finding ---- */
static struct cs_image_rec *by_name(struct cs_images *m, const char *full, char **ret_name)
{
	struct cs_image_name *n;

	HASH_FIND_STR(m->names, full, n);
	if (!n)
		return NULL;
	*ret_name = cs_xstrdup(full);
	return n->rec;
}

/* The only image whose manifest's digest, or that of the index that a name of it means, starts so: what lists of manifests show. */
static struct cs_image_rec *by_manifest(struct cs_images *m, const char *hex, size_t n)
{
	struct cs_image_rec *r, *next, *found = NULL;

	HASH_ITER(hh, m->by_id, r, next)
	{
		if (strncmp(cs_digest_hex(&r->manifest), hex, n) != 0)
			continue;
		if (found)
			return NULL;
		found = r;
	}
	for (struct cs_image_name *x = m->names; x; x = x->hh.next) {
		if (!x->index || x->rec == found || strncmp(cs_digest_hex(&x->index->digest), hex, n) != 0)
			continue;
		if (found)
			return NULL;
		found = x->rec;
	}
	return found;
}

/* The only image whose id starts so; NULL for none or several. */
static struct cs_image_rec *by_prefix(struct cs_images *m, const char *text)
{
	const char *hex = cs_prefix(text, "sha256:");
	struct cs_image_rec *r, *next, *found = NULL;

	if (!hex)
		hex = text;
	size_t n = strlen(hex);
	if (n == 0 || n > 64)
		return NULL;
	HASH_ITER(hh, m->by_id, r, next)
	{
		if (strncmp(cs_digest_hex(&r->id), hex, n) != 0)
			continue;
		if (found)
			return NULL;
		found = r;
	}
	return found || n < SHORT_ID ? found : by_manifest(m, hex, n);
}

static struct cs_image_rec *lookup(struct cs_images *m, const char *text, bool ref, const char *full, char **ret_name)
{
	struct cs_image_rec *r = ref ? by_name(m, full, ret_name) : NULL;
	return r ? r : by_prefix(m, text);
}

/* With a digest, a tag beside it is ignored, as Docker does. */
static char *table_name(const struct cs_ref *r)
{
	return r->digest ? cs_xasprintf("%s/%s@%s", r->domain, r->path, r->digest) : cs_ref_full(r);
}

int cs_image_find(struct cs_images *m, const char *text, struct cs_image_rec **ret, char **ret_name, struct cs_err **err)
{
	cs_autoref struct cs_ref ref = {0};
	cs_autofree char *full = NULL, *name = NULL;
	bool is_id = cs_ref_is_id(text) || cs_digest_valid(text);

	if (!is_id) {
		cs_autoerr struct cs_err *e = NULL;
		if (cs_ref_parse(text, &ref, &e) < 0) {
			/* "sha256:abc" is a prefix of an id to Docker's users, and no reference */
			if (!cs_prefix(text, "sha256:"))
				return cs_err_move(err, TAKE_PTR(e));
			is_id = true;
		} else {
			cs_ref_default_tag(&ref);
			full = table_name(&ref);
		}
	}
	pthread_rwlock_rdlock(&m->lock);
	struct cs_image_rec *r = lookup(m, text, !is_id, full, &name);
	if (r)
		atomic_fetch_add(&r->refs, 1);
	pthread_rwlock_unlock(&m->lock);
	if (!r) {
		cs_autofree char *shown = is_id ? cs_xasprintf("%s%s", cs_ref_is_id(text) ? "sha256:" : "", text) : cs_ref_familiar(&ref);
		return cs_fail(err, CS_ERR_NOT_FOUND, 0, "No such image: %s", shown);
	}
	*ret = r;
	if (ret_name)
		*ret_name = TAKE_PTR(name);
	return 0;
}

static int newest_first(const void *a, const void *b)
{
	const struct cs_image_rec *x = *(struct cs_image_rec *const *)a, *y = *(struct cs_image_rec *const *)b;
	if (x->created != y->created)
		return x->created < y->created ? 1 : -1;
	return strcmp(x->id.s, y->id.s);
}

struct cs_image_rec **cs_image_recs(struct cs_images *m, size_t *n)
{
	struct cs_image_rec *r, *next;
	size_t i = 0;

	pthread_rwlock_rdlock(&m->lock);
	struct cs_image_rec **v = cs_xcalloc(HASH_COUNT(m->by_id) + 1u, sizeof(struct cs_image_rec *));
	HASH_ITER(hh, m->by_id, r, next)
	{
		atomic_fetch_add(&r->refs, 1);
		v[i++] = r;
	}
	pthread_rwlock_unlock(&m->lock);
	qsort(v, i, sizeof(*v), newest_first);
	*n = i;
	return v;
}

void cs_image_recs_free(struct cs_image_rec **v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		cs_image_rec_unref(v[i]);
	free(v);
}

static char **refs_of(struct cs_images *m, const struct cs_image_rec *r, bool digests)
{
	struct cs_image_name *n, *next;
	char **v = cs_xcalloc(1, sizeof(char *));

	pthread_rwlock_rdlock(&m->lock);
	HASH_ITER(hh, m->names, n, next)
	{
		if (n->rec == r && (digests || !cs_image_is_digest_ref(n->full)))
			cs_strv_push(&v, n->full);
	}
	pthread_rwlock_unlock(&m->lock);
	cs_strv_sort(v);
	return v;
}

char **cs_image_names(struct cs_images *m, const struct cs_image_rec *r) { return refs_of(m, r, false); }
char **cs_image_refs(struct cs_images *m, const struct cs_image_rec *r) { return refs_of(m, r, true); }

bool cs_image_has_children(struct cs_images *m, const struct cs_image_rec *r)
{
	struct cs_image_rec *x, *next;
	bool found = false;

	pthread_rwlock_rdlock(&m->lock);
	HASH_ITER(hh, m->by_id, x, next)
	{
		found = found || strcmp(x->parent.s, r->id.s) == 0;
	}
	pthread_rwlock_unlock(&m->lock);
	return found;
}

/* ---- for containers ---- */
struct handle { /* what cs_image_get hands out: the record's own members and a name of its own */
	struct cs_image_info info;
	struct cs_image_rec *rec;
};

int cs_image_get(struct cs_engine *e, const char *ref, const char *platform, struct cs_image_info **ret, struct cs_err **err)
{
	struct cs_image_rec *rec = NULL;
	cs_autofree char *full = NULL;

	if ((cs_empty(platform) ? cs_image_find(e->images, ref, &rec, &full, err) : cs_image_find_platform(e->images, ref, platform, &rec, &full, NULL, err)) < 0)
		return -1;
	struct handle *h = cs_xcalloc(1, sizeof(*h));
	h->info = rec->info;
	h->rec = rec;
	h->info.canonical = full ? cs_ref_shorten(full) : cs_xstrdup(rec->id.s);
	*ret = &h->info;
	return 0;
}

void cs_image_info_free(struct cs_image_info *i)
{
	if (!i)
		return;
	struct handle *h = cs_container_of(i, struct handle, info);
	free(h->info.canonical);
	cs_image_rec_unref(h->rec);
	free(h);
}

char **cs_image_ids(struct cs_engine *e, const char *ref)
{
	cs_autorec struct cs_image_rec *rec = NULL;
	cs_autoindex x = NULL;
	char **ids = NULL;
	size_t n = 0;

	if (cs_image_find_index(e->images, ref, &rec, NULL, &x, NULL) < 0)
		return NULL;
	cs_strv_push(&ids, rec->id.s);
	struct cs_image_rec **v = x ? cs_image_index_recs(e->images, x, &n) : NULL;
	for (size_t i = 0; i < n; i++) {
		if (v[i] != rec)
			cs_strv_push(&ids, v[i]->id.s);
	}
	if (v)
		cs_image_recs_free(v, n);
	return ids;
}

int cs_image_check_runs(const struct cs_image_info *i, const char *ref, struct cs_err **err)
{
	return i->artifact ? cs_fail(err, CS_ERR_INVALID, 0, "%s is an artifact, not a container image: it cannot be run", ref) : 0;
}

int cs_image_check_platform(const struct cs_image_info *i, const char *ref, const char *platform, struct cs_err **err)
{
	cs_autoplatform struct cs_platform want = {0}, have = {0};

	if (cs_empty(platform))
		return 0;
	if (cs_platform_parse(platform, &want, err) < 0)
		return -1;
	cs_platform_set(&have, i->os, i->architecture, i->variant);
	/* old images of ARM do not say their variant */
	if (cs_platform_score(&want, &have) > 0 || (cs_empty(i->variant) && cs_streq(want.os, have.os) && cs_streq(want.arch, have.arch)))
		return 0;
	cs_autofree char *is = cs_platform_text(&have), *text = cs_platform_text(&want);
	return cs_fail(err, CS_ERR_NOT_FOUND, 0, "image with reference %s was found but its platform (%s) does not match the specified platform (%s)", ref, is, text);
}

void cs_image_count(struct cs_engine *e, size_t *images, int64_t *layer_bytes)
{
	size_t n, shown = 0;
	int64_t bytes = 0;
	struct cs_image_rec **v = cs_image_recs(e->images, &n);
	struct seen {
		struct cs_digest chain;
		UT_hash_handle hh;
	} *seen = NULL, *s, *next;

	for (size_t i = 0; i < n; i++) {
		shown += !cs_image_is_hidden(e->images, v[i]);
		for (size_t k = 0; k < v[i]->n_layers; k++) {
			HASH_FIND_STR(seen, v[i]->layers[k].chain.s, s);
			if (s)
				continue;
			s = cs_xcalloc(1, sizeof(*s));
			s->chain = v[i]->layers[k].chain;
			HASH_ADD_STR(seen, chain.s, s);
			bytes += v[i]->layers[k].size;
		}
	}
	HASH_ITER(hh, seen, s, next)
	{
		HASH_DEL(seen, s);
		free(s);
	}
	if (images)
		*images = shown;
	if (layer_bytes)
		*layer_bytes = bytes;
	cs_image_recs_free(v, n);
}

/* ---- life ---- */
int cs_images_registry(struct cs_images *m, struct cs_registry **ret, struct cs_err **err)
{
	const struct cs_engine_config *cfg = cs_engine_config(m->e);
	CS_GUARD(&m->registry_lock);

	if (!m->registry || m->registry_cfg != cfg) {
		struct cs_registry_config rc = {.mirrors = cfg->registry_mirrors, .insecure = cfg->insecure_registries,
						.certs_dirs = cfg->registry_hosts_dirs, .hosts_dirs = cfg->registry_hosts_dirs, .http_proxy = cfg->http_proxy,
						.https_proxy = cfg->https_proxy, .no_proxy = cfg->no_proxy, .max_attempts = cfg->max_download_attempts};
		cs_autofree char *agent = cs_xasprintf("caisson/%s", cfg->version ? cfg->version : "dev");
		struct cs_registry *r = NULL;
		cs_autoerr struct cs_err *e = NULL;
		rc.user_agent = agent;
		if (cs_registry_new(&rc, &r, &e) < 0) {
			/* checked when the configuration was read; what is in use stays */
			cs_autofree char *text = cs_err_text(e);
			cs_error("image", "registries: %s", text);
		} else {
			cs_registry_unref(m->registry);
			m->registry = r;
		}
		m->registry_cfg = cfg;
	}
	if (!m->registry)
		return cs_fail(err, CS_ERR_INTERNAL, 0, "the registry configuration cannot be used");
	*ret = cs_registry_ref(m->registry);
	return 0;
}

/* Loaded once: a user who removes it does not get it back at the next start, but does with a newer build. */
static void load_base(struct cs_images *m)
{
	const struct cs_engine_config *cfg = atomic_load(&m->e->cfg);
	cs_autoerr struct cs_err *e = NULL;
	cs_autofree char *done = NULL;

	if (cs_empty(cfg->base_image))
		return;
	if (cs_image_db_meta_get(m, "base_image", &done, &e) == 0 && done)
		return;
	if (cs_image_load_archive(m, cfg->base_image, &e) == 0 && cs_image_db_meta_set(m, "base_image", cfg->version ? cfg->version : "", &e) == 0)
		return;
	/* Not fatal: every other image works without it. */
	cs_autofree char *text = cs_err_text(e);
	cs_error("image", "load base image %s: %s", cfg->base_image, text);
}

int cs_images_open(struct cs_engine *e, struct cs_err **err)
{
	const struct cs_engine_config *cfg = atomic_load(&e->cfg);
	struct cs_images *m = cs_xcalloc(1, sizeof(*m));
	cs_autofree char *path = cs_xasprintf("%s/caisson.db", cfg->data_root);

	m->e = e;
	pthread_mutex_init(&m->write, NULL);
	pthread_mutex_init(&m->publish, NULL);
	pthread_mutex_init(&m->registry_lock, NULL);
	m->transfers = cs_transfers_new(m);
	pthread_rwlock_init(&m->lock, NULL);
	e->images = m;
	if (cs_storage_open(cfg->data_root, &m->storage, err) < 0 || cs_image_db_open(m, path, err) < 0 || cs_image_db_load(m, err) < 0 ||
	    cs_images_check_index(m, err) < 0) {
		cs_images_close(e);
		return -1;
	}
	cs_storage_set_limits(m->storage, &(struct cs_storage_limits){.layer_bytes = cfg->max_layer_size});
	pthread_mutex_lock(&m->write);
	cs_images_sweep(m);
	pthread_mutex_unlock(&m->write);
	load_base(m); /* locks what it must; nobody else is there yet */
	return 0;
}

void cs_image_event(struct cs_images *m, const char *action, const char *ref, const char *name)
{
	cs_autorec struct cs_image_rec *r = NULL;
	bool labels = cs_image_find(m, ref, &r, NULL, NULL) == 0 && r->info.config->labels;
	struct cs_strmap *attrs = labels ? cs_strmap_copy(r->info.config->labels) : cs_strmap_new();

	cs_strmap_set(attrs, "name", name);
	cs_event(m->e, "image", action, ref, attrs);
}

void cs_images_close(struct cs_engine *e)
{
	struct cs_images *m = e->images;
	struct cs_image_rec *r, *rn;
	struct cs_image_name *n, *nn;

	if (!m)
		return;
	cs_transfers_free(m->transfers); /* waits for those that run */
	e->images = NULL;
	cs_registry_unref(m->registry);
	HASH_ITER(hh, m->names, n, nn)
	{
		HASH_DEL(m->names, n);
		cs_image_index_unuse(m, n->index);
		free(n->full);
		free(n);
	}
	HASH_ITER(hh, m->by_id, r, rn)
	{
		cs_image_table_del(m, r);
		cs_image_rec_unref(r);
	}
	cs_image_db_close(m);
	cs_storage_close(m->storage);
	pthread_mutex_destroy(&m->write);
	pthread_mutex_destroy(&m->publish);
	pthread_mutex_destroy(&m->registry_lock);
	pthread_rwlock_destroy(&m->lock);
	free(m);
}
