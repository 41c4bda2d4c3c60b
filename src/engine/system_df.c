/* SPDX-License-Identifier: Apache-2.0
 *
 * GET /system/df: what takes up disk. Walks the snapshots and volumes, so it may take a while; holds no lock meanwhile. */
#include "engine/image_internal.h"
#include "engine/volumes_internal.h"

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

static void df_volumes(struct cs_engine *e, struct part *p)
{
	struct cs_volumes_usage u = {0};

	cs_volumes_df(e, &u, &p->items);
	p->active = u.active;
	p->total = u.total;
	p->reclaimable = u.reclaimable;
	p->size = u.size;
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

int cs_system_df(struct cs_engine *e, char *const *types, enum cs_df form, int api, struct cs_str *out, struct cs_err **err)
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
		df_volumes(e, &p[2]);
	cs_str_puts(&p[3].items, "[]"); /* no builder yet: nothing is cached */
	cs_str_puts(out, "{");
	bool totals = !api || api >= 152;
	if (r == 0 && form == CS_DF_LEGACY) {
		if (wanted(types, "image"))
			cs_json_put_ki64(out, "LayersSize", p[1].size);
		for (size_t i = 0; i < 4; i++) {
			if (totals && !wanted(types, names[i]))
				continue;
			cs_json_put_key(out, old_keys[i]);
			cs_str_puts(out, p[i].items.len ? p[i].items.buf : "null");
		}
	}
	for (size_t i = 0; i < 4 && r == 0 && totals; i++)
		if (wanted(types, names[i]))
			put_usage(out, new_keys[i], &p[i], form == CS_DF_ITEMS);
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
