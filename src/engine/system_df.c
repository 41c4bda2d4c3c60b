/* SPDX-License-Identifier: Apache-2.0
 *
 * GET /system/df: what takes up disk. Walks the snapshots and volumes, so it may take a while; holds no lock meanwhile. */
#include <fcntl.h>

#include "base/sys.h"
#include "engine/image_internal.h"
#include "engine/store.h"

struct part { /* of the answer */
	int64_t active, total, reclaimable, size;
	struct cs_str items; /* JSON array */
};

static bool wanted(char *const *types, const char *t) { return !types || !*types || cs_strv_has(types, t); }

static int df_containers(struct cs_engine *e, int api, struct part *p, struct cs_err **err)
{
	struct cs_list_opts o = {.all = true, .size = true};
	size_t n;

	if (cs_container_list(e, &o, api, &p->items, err) < 0)
		return -1;
	struct cs_container **v = cs_containers_all(e, &n);
	for (size_t i = 0; i < n; i++) {
		int64_t rw = 0;
		pthread_mutex_lock(&v[i]->lock);
		bool active = v[i]->status == CS_ST_RUNNING || v[i]->status == CS_ST_PAUSED || v[i]->status == CS_ST_RESTARTING;
		pthread_mutex_unlock(&v[i]->lock);
		/* one that is being removed right now counts nothing */
		if (cs_snapshot_usage(e, v[i]->id, &rw, NULL, NULL) < 0)
			rw = 0;
		p->size += rw;
		p->active += active;
		p->reclaimable += active ? 0 : rw;
	}
	p->total = (int64_t)n;
	cs_containers_free(v);
	return 0;
}

struct volumes {
	struct cs_engine *e;
	struct part *p;
	struct cs_container **c;
	size_t n;
};

static int64_t volume_users(const struct volumes *x, const char *name)
{
	int64_t users = 0;

	for (size_t i = 0; i < x->n; i++) {
		pthread_mutex_lock(&x->c[i]->lock);
		for (size_t k = 0; k < x->c[i]->n_mounts; k++) {
			if (cs_streq(x->c[i]->mounts[k].type, "volume") && cs_streq(x->c[i]->mounts[k].name, name)) {
				users++;
				break;
			}
		}
		pthread_mutex_unlock(&x->c[i]->lock);
	}
	return users;
}

static int on_volume(const struct cs_store_volume *v, void *ctx)
{
	struct volumes *x = ctx;
	cs_autofree char *dir = cs_xasprintf("%s/volumes/%s/_data", cs_engine_config(x->e)->data_root, v->name);
	cs_autofd int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	int64_t bytes = 0, users = volume_users(x, v->name);
	struct cs_str *out = &x->p->items;

	if (fd >= 0 && cs_tree_usage(fd, &bytes, NULL) < 0)
		bytes = -1;
	cs_str_puts(out, x->p->total++ ? ",{" : "{");
	cs_json_put_ktime(out, "CreatedAt", v->created);
	cs_json_put_kstr(out, "Driver", "local");
	cs_json_put_key(out, "Labels");
	cs_str_puts(out, v->labels ? v->labels : "null");
	cs_json_put_kstr(out, "Mountpoint", dir);
	cs_json_put_kstr(out, "Name", v->name);
	cs_json_put_key(out, "Options");
	cs_str_puts(out, v->options ? v->options : "null");
	cs_json_put_kstr(out, "Scope", "local");
	cs_json_put_key(out, "UsageData");
	cs_str_puts(out, "{");
	cs_json_put_ki64(out, "RefCount", users);
	cs_json_put_ki64(out, "Size", bytes);
	cs_str_puts(out, "}}");
	x->p->active += users > 0;
	x->p->size += CS_MAX(bytes, 0);
	x->p->reclaimable += users ? 0 : CS_MAX(bytes, 0);
	return 0;
}

static int df_volumes(struct cs_engine *e, struct part *p, struct cs_err **err)
{
	struct volumes x = {.e = e, .p = p};

	x.c = cs_containers_all(e, &x.n);
	cs_str_puts(&p->items, "[");
	int r = cs_store_volumes(e->store, on_volume, &x, err);
	cs_str_puts(&p->items, "]");
	cs_containers_free(x.c);
	return r;
}

static void put_usage(struct cs_str *out, const char *key, const struct part *p, bool verbose)
{
	cs_json_put_key(out, key);
	cs_str_puts(out, "{");
	/* zeros are left out, as the API's types say omitempty */
	if (p->active)
		cs_json_put_ki64(out, "ActiveCount", p->active);
	if (p->total)
		cs_json_put_ki64(out, "TotalCount", p->total);
	if (p->reclaimable)
		cs_json_put_ki64(out, "Reclaimable", p->reclaimable);
	if (p->size)
		cs_json_put_ki64(out, "TotalSize", p->size);
	if (verbose && p->total) {
		cs_json_put_key(out, "Items");
		cs_str_puts(out, p->items.buf);
	}
	cs_str_puts(out, "}");
}

int cs_system_df(struct cs_engine *e, char *const *types, bool verbose, int api, struct cs_str *out, struct cs_err **err)
{
	static const char *const names[] = {"container", "image", "volume", "build-cache"};
	static const char *const old_keys[] = {"Containers", "Images", "Volumes", "BuildCache"};
	static const char *const new_keys[] = {"ContainerUsage", "ImageUsage", "VolumeUsage", "BuildCacheUsage"};
	struct part p[4] = {0};
	int r = 0;

	for (size_t i = 0; i < 4; i++)
		cs_str_init(&p[i].items, 256u << 20);
	for (char *const *t = types; t && *t; t++) {
		if (strcmp(*t, "container") != 0 && strcmp(*t, "image") != 0 && strcmp(*t, "volume") != 0 && strcmp(*t, "build-cache") != 0)
			return cs_fail(err, CS_ERR_INVALID, 0, "unknown object type: %.100s", *t);
	}
	if (wanted(types, "container"))
		r = df_containers(e, api, &p[0], err);
	if (r == 0 && wanted(types, "image")) {
		cs_image_df(e->images, api, &p[1].items, &p[1].total, &p[1].active, &p[1].reclaimable);
		cs_image_count(e, NULL, &p[1].size);
	}
	if (r == 0 && wanted(types, "volume"))
		r = df_volumes(e, &p[2], err);
	cs_str_puts(&p[3].items, "[]"); /* no builder yet: nothing is cached */
	cs_str_puts(out, "{");
	if (r == 0 && api && api < 152) {
		if (wanted(types, "image"))
			cs_json_put_ki64(out, "LayersSize", p[1].size);
		for (size_t i = 0; i < 4; i++) {
			cs_json_put_key(out, old_keys[i]);
			cs_str_puts(out, p[i].items.len ? p[i].items.buf : "null");
		}
	} else if (r == 0) {
		for (size_t i = 0; i < 4; i++) {
			if (wanted(types, names[i]))
				put_usage(out, new_keys[i], &p[i], verbose);
		}
	}
	cs_str_puts(out, "}");
	bool failed = out->failed;
	for (size_t i = 0; i < 4; i++) {
		failed = failed || p[i].items.failed;
		cs_str_done(&p[i].items);
	}
	if (r == 0 && failed)
		r = cs_fail(err, CS_ERR_INTERNAL, ENOMEM, "disk usage");
	return r;
}
