/* SPDX-License-Identifier: Apache-2.0
 *
 * Containers' writable layers on top of images: the engine's side of storage's snapshots. Any thread; the caller serialises work on
 * one container. */
#include <fcntl.h>

#include "base/log.h"
#include "base/num.h"
#include "engine/image_internal.h"

int cs_snapshot_create(struct cs_engine *e, const char *container_id, const struct cs_image_info *image, char **ret_dir, struct cs_err **err)
{
	struct cs_images *m = e->images;
	struct cs_digest top = {{0}};
	struct cs_image_rec *rec = NULL;

	if (image->layer_ids && image->layer_ids[0] && !cs_digest_from(image->layer_ids[0], &top))
		return cs_fail(err, CS_ERR_INTERNAL, 0, "image %s has a malformed layer id", image->id);
	/* Against the removal of the image: it takes the lock for writing before it looks for snapshots. */
	pthread_rwlock_rdlock(&m->lock);
	HASH_FIND_STR(m->by_id, image->id, rec);
	int r = rec ? cs_snap_create(m->storage, container_id, &top, err) : cs_fail(err, CS_ERR_NOT_FOUND, 0, "No such image: %s", image->id);
	pthread_rwlock_unlock(&m->lock);
	if (r == 0 && ret_dir)
		*ret_dir = cs_snap_path(m->storage, container_id);
	return r;
}

int cs_snapshot_check_host(struct cs_engine *e, struct cs_err **err)
{
	if (cs_storage_check_host(e->images->storage, err) < 0)
		return -1;
	if (!cs_engine_config(e)->container_size || cs_storage_has_quota(e->images->storage))
		return 0;
	return cs_fail(err, CS_ERR_INVALID, 0, "Storage Option overlay2.size only supported for backing file systems with project quotas (mounted with 'pquota' or 'prjquota'): %s has none",
		       cs_engine_config(e)->data_root);
}

int cs_snapshot_options(struct cs_engine *e, const char *container_id, const struct cs_strmap *options, struct cs_err **err)
{
	struct cs_storage *s = e->images->storage;
	bool named = false;

	for (size_t i = 0; options && i < options->n; i++) {
		const char *key = options->kv[i].key, *value = options->kv[i].val;
		int64_t bytes = 0;
		if (strcasecmp(key, "size") != 0)
			return cs_fail(err, CS_ERR_INTERNAL, 0, "Unknown option %s", key);
		if (cs_storage_has_quota(s) && !cs_parse_bytes(value ? value : "", &bytes))
			return cs_fail(err, CS_ERR_INTERNAL, 0, "invalid size: '%s'", value);
		if (cs_snap_limit(s, container_id, bytes, err) < 0)
			return -1;
		named = true;
	}
	int64_t usual = cs_engine_config(e)->container_size;
	return named || !usual ? 0 : cs_snap_limit(s, container_id, usual, err);
}

#define LAYERS_MAX 500 /* of overlayfs (OVL_MAX_STACK) */

char *cs_snapshot_marks(struct cs_engine *e, size_t n_layers) { return n_layers < LAYERS_MAX ? cs_storage_marks(e->images->storage) : NULL; }

void cs_snapshot_dir(struct cs_engine *e, const char *container_id, char **ret_dir) { *ret_dir = cs_snap_path(e->images->storage, container_id); }

static bool in_use_by_image(struct cs_images *m, const struct cs_digest *chain)
{
	struct cs_image_rec *r, *next;
	bool used = false;

	pthread_rwlock_rdlock(&m->lock);
	HASH_ITER(hh, m->by_id, r, next)
	{
		for (size_t i = r->n_layers; i-- > 0 && !used;)
			used = strcmp(r->layers[i].chain.s, chain->s) == 0;
		if (used)
			break;
	}
	pthread_rwlock_unlock(&m->lock);
	return used;
}

int cs_snapshot_remove(struct cs_engine *e, const char *container_id, struct cs_err **err)
{
	struct cs_images *m = e->images;
	struct cs_digest top = {{0}};
	bool known = cs_snap_parent(m->storage, container_id, &top, NULL) == 0;

	if (cs_snap_remove(m->storage, container_id, err) < 0)
		return -1;
	if (known && top.s[0] && !in_use_by_image(m, &top)) {
		/* the last container of an image that was removed by force */
		pthread_mutex_lock(&m->write);
		cs_images_sweep(m);
		pthread_mutex_unlock(&m->write);
	}
	return 0;
}

int cs_container_dir_create(struct cs_engine *e, const char *path, struct cs_err **err)
{
	static const char *const files[] = {"hostname", "hosts", "resolv.conf", NULL}; /* names_file.c writes into them */

	return cs_dir_create(e->images->storage, path, files, err);
}

int cs_discard_dir(struct cs_engine *e, const char *path, struct cs_err **err)
{
	return cs_storage_discard(e->images->storage, AT_FDCWD, path, err);
}

void cs_discard_wait(struct cs_engine *e) { cs_storage_discard_wait(e->images->storage); }

/* The chain of a snapshot: from memory as long as an image has it, else from the database. Caller frees media types and vector. */
static int chain_of(struct cs_images *m, const char *container_id, struct cs_image_layer **ret, size_t *ret_n, struct cs_err **err)
{
	struct cs_digest top;
	struct cs_image_rec *r, *next;
	struct cs_image_layer *v = NULL;
	size_t n = 0;

	if (cs_snap_parent(m->storage, container_id, &top, err) < 0)
		return -1;
	pthread_rwlock_rdlock(&m->lock);
	HASH_ITER(hh, m->by_id, r, next)
	{
		if (r->n_layers == 0 || strcmp(r->layers[r->n_layers - 1].chain.s, top.s) != 0)
			continue;
		n = r->n_layers;
		v = cs_xcalloc(n, sizeof(*v));
		for (size_t i = 0; i < n; i++) {
			v[i] = r->layers[i];
			v[i].media_type = NULL;
		}
		break;
	}
	pthread_rwlock_unlock(&m->lock);
	if (!v && top.s[0]) {
		pthread_mutex_lock(&m->write);
		int x = cs_image_db_chain(m, top.s, &v, &n, err);
		pthread_mutex_unlock(&m->write);
		if (x < 0)
			return -1;
	}
	*ret = v;
	*ret_n = n;
	return 0;
}

static void chain_free(struct cs_image_layer *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(v[i].media_type);
	free(v);
}

int cs_snapshot_layers(struct cs_engine *e, const char *container_id, char ***ret_dirs, char ***ret_ids, struct cs_err **err)
{
	struct cs_images *m = e->images;
	struct cs_image_layer *v;
	size_t n;

	if (chain_of(m, container_id, &v, &n, err) < 0)
		return -1;
	char **dirs = cs_xcalloc(n + 1, sizeof(char *)), **ids = cs_xcalloc(n + 1, sizeof(char *));
	for (size_t i = 0; i < n; i++) {
		dirs[n - 1 - i] = cs_layer_path(m->storage, &v[i].chain);
		ids[n - 1 - i] = cs_xstrdup(v[i].chain.s);
	}
	chain_free(v, n);
	if (ret_dirs)
		*ret_dirs = TAKE_PTR(dirs);
	if (ret_ids)
		*ret_ids = TAKE_PTR(ids);
	cs_strv_free(dirs);
	cs_strv_free(ids);
	return 0;
}

int cs_snapshot_usage(struct cs_engine *e, const char *container_id, int64_t *rw_bytes, int64_t *root_bytes, struct cs_err **err)
{
	struct cs_images *m = e->images;
	struct cs_image_layer *v;
	size_t n;
	int64_t rw = 0, sum = 0;

	if (cs_snap_usage(m->storage, container_id, &rw, err) < 0 || chain_of(m, container_id, &v, &n, err) < 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		sum += v[i].size;
	chain_free(v, n);
	if (rw_bytes)
		*rw_bytes = rw;
	if (root_bytes)
		*root_bytes = rw + sum;
	return 0;
}
