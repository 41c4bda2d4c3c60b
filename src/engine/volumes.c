/* SPDX-License-Identifier: Apache-2.0
 *
 * /volumes and the volumes of /system/df. Any thread; readers see the table as it is, changes take the volume's own lock. */
#include <fcntl.h>

#include "base/id.h"
#include "base/json.h"
#include "base/time.h"
#include "engine/events.h"
#include "engine/filters.h"
#include "engine/prune.h"
#include "engine/validate.h"
#include "engine/volumes_internal.h"

static void put(struct cs_engine *e, const struct cs_volume *v, const char *usage, struct cs_str *out)
{
	cs_autofree char *data = cs_vol_path(cs_volume_storage(e), v->name);

	cs_str_putc(out, '{');
	cs_json_put_ktime(out, "CreatedAt", v->created / CS_NS_PER_SEC * CS_NS_PER_SEC);
	cs_json_put_kstr(out, "Driver", "local");
	cs_json_put_key(out, "Labels");
	cs_json_put_strmap(out, v->labels);
	cs_json_put_kstr(out, "Mountpoint", data);
	cs_json_put_kstr(out, "Name", v->name);
	cs_json_put_key(out, "Options");
	cs_json_put_strmap(out, v->options);
	cs_json_put_kstr(out, "Scope", "local");
	if (usage) {
		cs_json_put_key(out, "UsageData");
		cs_str_puts(out, usage);
	}
	cs_str_putc(out, '}');
}

/* ---- list, inspect ---- */

static bool in_use(struct cs_engine *e, const struct cs_volume *v)
{
	cs_autostrv char **ids = cs_volume_users(e, v, NULL);
	return ids != NULL;
}

static int wanted(struct cs_engine *e, const struct cs_volume *v, const struct cs_filters *f, bool *ret, struct cs_err **err)
{
	bool dangling = false;

	if (cs_filter_bool(f, "dangling", &dangling, err) < 0)
		return -1;
	*ret = cs_filter_exact(f, "driver", "local") && cs_filter_match(f, "name", v->name) && cs_filter_labels(f, "label", v->labels) &&
	       (!cs_filter_values(f, "dangling") || dangling != in_use(e, v));
	return 0;
}

static int list(struct cs_engine *e, struct cs_volume *const *all, const struct cs_filters *f, struct cs_str *out, struct cs_err **err)
{
	cs_str_puts(out, "{\"Volumes\":[");
	for (; *all; all++) {
		bool want;
		if (wanted(e, *all, f, &want, err) < 0)
			return -1;
		if (!want)
			continue;
		if (out->buf[out->len - 1] == '}')
			cs_str_putc(out, ',');
		put(e, *all, NULL, out);
	}
	cs_str_puts(out, "],\"Warnings\":null}\n");
	return out->failed ? cs_fail(err, CS_ERR_INTERNAL, 0, "the answer is too large") : 0;
}

int cs_volume_list(struct cs_engine *e, const char *filters, struct cs_str *out, struct cs_err **err)
{
	static const char *const allowed[] = {"dangling", "driver", "label", "name", NULL};
	cs_autofilters struct cs_filters f = {0};
	bool dangling;

	if (cs_filters_parse(filters, allowed, &f, err) < 0 || cs_filter_bool(&f, "dangling", &dangling, err) < 0)
		return -1;
	struct cs_volume **all = cs_volumes_all(e, NULL);
	int r = list(e, all, &f, out, err);
	cs_volumes_free(e, all);
	return r;
}

static int no_such(const char *name, struct cs_err **err) { return cs_fail(err, CS_ERR_NOT_FOUND, 0, "get %s: no such volume", name); }

int cs_volume_inspect(struct cs_engine *e, const char *name, struct cs_str *out, struct cs_err **err)
{
	struct cs_volume **all = cs_volumes_all(e, NULL), **p = all;

	while (*p && strcmp((*p)->name, name) != 0)
		p++;
	int r = *p ? 0 : no_such(name, err);
	if (*p) {
		put(e, *p, NULL, out);
		cs_str_putc(out, '\n');
	}
	cs_volumes_free(e, all);
	return r;
}

/* ---- create ---- */

int cs_volume_create(struct cs_engine *e, const struct cs_volume_create *req, int api, struct cs_str *out, struct cs_err **err)
{
	struct cs_volume_make make = {.labels = req->labels, .options = req->driver_opts, .anonymous = cs_empty(req->name)};
	char id[CS_ID_LEN + 1] = "";
	int r = 0;

	if (req->cluster_spec && (!api || api >= 142))
		return cs_fail(err, CS_ERR_UNAVAILABLE, 0,
			       "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.");
	if (make.anonymous)
		cs_id_new(id);
	const char *name = make.anonymous ? id : req->name;
	if (cs_volume_driver_check(req->driver, name, err) < 0 || (!make.anonymous && cs_volume_name_check(name, err) < 0))
		return -1;
	struct cs_volume *v = cs_volume_take(e, name);
	if (!v->present && (r = cs_volume_options_check(name, req->driver_opts, err)) == 0) /* an existing one stays as it is, as with dockerd */
		r = cs_volume_make(e, v, &make, err);
	if (r == 0) {
		put(e, v, NULL, out);
		cs_str_putc(out, '\n');
	}
	cs_volume_put(e, v);
	return r;
}

/* ---- remove ---- */

int cs_volume_remove(struct cs_engine *e, const char *name, bool force, struct cs_err **err)
{
	struct cs_volume *v = cs_volume_take(e, name);
	cs_autostrv char **ids = v->present ? cs_volume_users(e, v, NULL) : NULL;
	int r;

	if (!v->present) {
		r = force ? 0 : no_such(name, err);
	} else if (ids) {
		cs_autofree char *text = cs_strv_join(ids, ", ");
		r = cs_fail(err, CS_ERR_CONFLICT, 0, "remove %s: volume is in use - [%s]", name, text);
	} else if (v->active) { /* a copy of it is under way, for a container that is gone by now */
		r = cs_fail(err, CS_ERR_CONFLICT, 0, "remove %s: volume is in use", name);
	} else {
		r = cs_volume_destroy(e, v, err);
	}
	cs_volume_put(e, v);
	return r;
}

static int64_t size_of(struct cs_engine *e, const char *name)
{
	cs_autofd int fd = -EBADF;
	int64_t bytes = 0;

	return cs_vol_open(cs_volume_storage(e), name, &fd, NULL) == 0 && cs_tree_usage(fd, &bytes, NULL) == 0 ? bytes : -1;
}

static bool has_options(const struct cs_volume *v) { return v->options && v->options->n; }

/* dockerd leaves those with options alone: what they hold may belong to others, on another machine. */
static bool prunable(const struct cs_volume *v, const struct cs_filters *f, bool all)
{
	bool anonymous = v->anonymous || cs_strmap_get(v->labels, CS_VOLUME_ANONYMOUS); /* who sets the label asks for it */

	return v->present && !has_options(v) && (all || anonymous) && cs_filter_labels(f, "label", v->labels) &&
	       (!cs_filter_values(f, "label!") || !cs_filter_labels(f, "label!", v->labels));
}

static bool prune_one(struct cs_engine *e, struct cs_volume *v, int64_t *freed)
{
	if (v->active || e->unreadable || in_use(e, v))
		return false;
	int64_t bytes = size_of(e, v->name);
	if (cs_volume_destroy(e, v, NULL) < 0)
		return false;
	*freed += CS_MAX(bytes, (int64_t)0);
	return true;
}

static int prune(struct cs_engine *e, const struct cs_filters *f, bool every, struct cs_prune_watch *watch, struct cs_str *out)
{
	struct cs_volume **all = cs_volumes_all(e, NULL);
	int64_t freed = 0;

	cs_str_puts(out, "{\"VolumesDeleted\":[");
	for (struct cs_volume **p = all; watch && *p; p++)
		watch->total += prunable(*p, f, every) && !in_use(e, *p);
	for (struct cs_volume **p = all; *p; p++) {
		if (!prunable(*p, f, every) || in_use(e, *p))
			continue;
		if (!cs_prune_begin(watch, (*p)->name))
			break;
		struct cs_volume *v = cs_volume_take(e, (*p)->name); /* perhaps another one of that name by now */
		bool gone = prunable(v, f, every) && prune_one(e, v, &freed);
		if (gone) {
			if (out->buf[out->len - 1] == '"')
				cs_str_putc(out, ',');
			cs_json_put_string(out, v->name);
		}
		cs_volume_put(e, v);
		cs_prune_end(watch, (*p)->name, gone);
	}
	cs_volumes_free(e, all);
	cs_str_puts(out, "],\"SpaceReclaimed\":");
	cs_str_put_i64(out, freed);
	cs_str_puts(out, "}\n");
	cs_prune_event(e, "volume", freed);
	return 0;
}

int cs_volume_prune(struct cs_engine *e, const char *filters, int api, struct cs_prune_watch *watch, struct cs_str *out, struct cs_err **err)
{
	static const char *const old_keys[] = {"label", "label!", NULL}, *const keys[] = {"label", "label!", "all", NULL};
	bool only_anonymous = !api || api >= 142, all = false;
	cs_autofilters struct cs_filters f = {0};

	if (cs_filters_parse(filters, only_anonymous ? keys : old_keys, &f, err) < 0 || cs_filter_bool(&f, "all", &all, err) < 0)
		return -1;
	if (atomic_exchange(&e->volumes->pruning, true))
		return cs_fail(err, CS_ERR_CONFLICT, 0, "a prune operation is already running");
	int r = prune(e, &f, all || !only_anonymous, watch, out);
	atomic_store(&e->volumes->pruning, false);
	return r;
}

/* ---- df ---- */

void cs_volumes_df(struct cs_engine *e, struct cs_volumes_usage *u, struct cs_str *items)
{
	struct cs_volume **all = cs_volumes_all(e, NULL);

	cs_str_putc(items, '[');
	for (struct cs_volume **p = all; *p; p++) {
		if (has_options(*p)) /* as dockerd: what is mounted takes no space here */
			continue;
		cs_autostrv char **users = cs_volume_users(e, *p, NULL);
		int64_t bytes = size_of(e, (*p)->name);
		cs_autofree char *usage = cs_xasprintf("{\"RefCount\":%zu,\"Size\":%lld}", cs_strv_len(users), (long long)bytes);
		if (u->total++)
			cs_str_putc(items, ',');
		put(e, *p, usage, items);
		u->active += users != NULL;
		u->size += CS_MAX(bytes, (int64_t)0);
		u->reclaimable += users ? 0 : CS_MAX(bytes, (int64_t)0);
	}
	cs_volumes_free(e, all);
	cs_str_putc(items, ']');
}
