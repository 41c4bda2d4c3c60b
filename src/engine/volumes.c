/* SPDX-License-Identifier: Apache-2.0
 *
 * /volumes: the local driver's volumes without options, as rows of the store and directories <data-root>/volumes/<name>/_data. Any thread;
 * making and removing one are serialised here, users are found in the containers' tables. */
#include "engine/container.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/id.h"
#include "base/io.h"
#include "base/json.h"
#include "base/path.h"
#include "base/time.h"
#include "engine/events.h"
#include "engine/filters.h"
#include "engine/store.h"
#include "engine/validate.h"
#include "computestorage.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

struct volume {
	char *name, *dir, *labels_json, *options_json;
	struct cs_strmap *labels;
	int64_t created;
	bool anonymous;
};
struct volumes {
	struct cs_engine *e;
	struct volume *v;
	size_t n;
};

static void volumes_done(struct volumes *l)
{
	for (size_t i = 0; i < l->n; i++) {
		free(l->v[i].name);
		free(l->v[i].dir);
		free(l->v[i].labels_json);
		free(l->v[i].options_json);
		cs_strmap_free(l->v[i].labels);
	}
	free(l->v);
}
#define cs_autovolumes cs_auto(volumes_done)

static int add(const struct cs_store_volume *row, void *ctx)
{
	struct volumes *l = ctx;
	cs_autojson json_t *labels = row->labels && *row->labels ? cs_json_parse(row->labels, strlen(row->labels), NULL) : NULL;
	const char *k;
	json_t *v;

	l->v = cs_xreallocarray(l->v, l->n + 1, sizeof(*l->v));
	struct volume *x = &l->v[l->n++];
	*x = (struct volume){.name = cs_xstrdup(row->name), .created = row->created, .anonymous = row->anonymous};
	x->dir = cs_xasprintf("%s/volumes/%s", cs_engine_config(l->e)->data_root, row->name);
	x->labels_json = cs_xstrdup(cs_empty(row->labels) ? "null" : row->labels);
	x->options_json = cs_xstrdup(cs_empty(row->options) ? "null" : row->options);
	x->labels = cs_strmap_new();
	json_object_foreach(labels, k, v)
		cs_strmap_set(x->labels, k, json_string_value(v) ? json_string_value(v) : "");
	return 0;
}

static int load(struct cs_engine *e, struct volumes *l, struct cs_err **err)
{
	l->e = e;
	return cs_store_volumes(e->store, add, l, err);
}

static const struct volume *find(const struct volumes *l, const char *name)
{
	for (size_t i = 0; i < l->n; i++)
		if (strcmp(l->v[i].name, name) == 0)
			return &l->v[i];
	return NULL;
}

/* Ids of the containers that have it, running or not. */
static char **users(struct cs_engine *e, const char *name)
{
	struct cs_container **all = cs_containers_all(e, NULL);
	char **ids = NULL;

	for (struct cs_container **p = all; *p; p++) {
		CS_GUARD(&(*p)->lock);
		for (size_t i = 0; i < (*p)->n_mounts; i++)
			if (cs_streq((*p)->mounts[i].type, "volume") && cs_streq((*p)->mounts[i].name, name)) {
				cs_strv_push(&ids, (*p)->id);
				break;
			}
	}
	cs_containers_free(all);
	return ids;
}

static void put(const struct volume *v, struct cs_str *out)
{
	cs_autofree char *data = cs_path_join(v->dir, "_data");

	cs_str_putc(out, '{');
	cs_json_put_ktime(out, "CreatedAt", v->created / CS_NS_PER_SEC * CS_NS_PER_SEC);
	cs_json_put_kstr(out, "Driver", "local");
	cs_json_put_key(out, "Labels");
	cs_str_puts(out, v->labels_json);
	cs_json_put_kstr(out, "Mountpoint", data);
	cs_json_put_kstr(out, "Name", v->name);
	cs_json_put_key(out, "Options");
	cs_str_puts(out, v->options_json);
	cs_json_put_kstr(out, "Scope", "local");
	cs_str_putc(out, '}');
}

static void event(struct cs_engine *e, const char *action, const char *name)
{
	struct cs_strmap *attrs = cs_strmap_new();

	cs_strmap_set(attrs, "driver", "local");
	cs_event(e, "volume", action, name, attrs);
}

/* ---- list, inspect ---- */

static int wanted(struct cs_engine *e, const struct volume *v, const struct cs_filters *f, bool *ret, struct cs_err **err)
{
	bool dangling = false;

	*ret = cs_filter_exact(f, "driver", "local") && cs_filter_match(f, "name", v->name) && cs_filter_labels(f, "label", v->labels);
	if (!cs_filter_values(f, "dangling"))
		return 0;
	if (cs_filter_bool(f, "dangling", &dangling, err) < 0)
		return -1;
	cs_autostrv char **ids = users(e, v->name);
	*ret = *ret && dangling == (ids == NULL);
	return 0;
}

int cs_volume_list(struct cs_engine *e, const char *filters, struct cs_str *out, struct cs_err **err)
{
	static const char *const allowed[] = {"dangling", "driver", "label", "name", NULL};
	cs_autofilters struct cs_filters f = {0};
	cs_autovolumes struct volumes l = {0};

	if (cs_filters_parse(filters, allowed, &f, err) < 0 || load(e, &l, err) < 0)
		return -1;
	cs_str_puts(out, "{\"Volumes\":[");
	for (size_t i = 0; i < l.n; i++) {
		bool want;
		if (wanted(e, &l.v[i], &f, &want, err) < 0)
			return -1;
		if (!want)
			continue;
		if (out->buf[out->len - 1] == '}')
			cs_str_putc(out, ',');
		put(&l.v[i], out);
	}
	cs_str_puts(out, "],\"Warnings\":null}\n");
	return out->failed ? cs_fail(err, CS_ERR_INTERNAL, 0, "the answer is too large") : 0;
}

int cs_volume_inspect(struct cs_engine *e, const char *name, struct cs_str *out, struct cs_err **err)
{
	cs_autovolumes struct volumes l = {0};

	if (load(e, &l, err) < 0)
		return -1;
	const struct volume *v = find(&l, name);
	if (!v)
		return cs_fail(err, CS_ERR_NOT_FOUND, 0, "get %s: no such volume", name);
	put(v, out);
	cs_str_putc(out, '\n');
	return 0;
}

/* ---- create ---- */

static int make(struct cs_engine *e, const struct cs_store_volume *row, struct cs_err **err)
{
	cs_autofree char *dir = cs_xasprintf("%s/volumes/%s", cs_engine_config(e)->data_root, row->name), *data = cs_path_join(dir, "_data");

	if (mkdir(dir, 0710) < 0 && errno != EEXIST)
		return cs_fail(err, errno == ENOSPC ? CS_ERR_NO_SPACE : CS_ERR_INTERNAL, errno, "create volume %s", row->name);
	if (mkdir(data, 0755) < 0 && errno != EEXIST)
		return cs_fail(err, errno == ENOSPC ? CS_ERR_NO_SPACE : CS_ERR_INTERNAL, errno, "create volume %s", row->name);
	if (cs_store_volume_put(e->store, row, err) < 0)
		return -1;
	event(e, "create", row->name);
	return 0;
}

int cs_volume_create(struct cs_engine *e, const struct cs_volume_create *req, struct cs_str *out, struct cs_err **err)
{
	cs_autovolumes struct volumes l = {0};
	cs_autostr struct cs_str labels = CS_STR_INIT(1 << 20);
	bool anonymous = cs_empty(req->name);
	char id[CS_ID_LEN + 1] = "";

	if (!cs_empty(req->driver) && strcmp(req->driver, "local") != 0)
		return cs_fail(err, CS_ERR_NOT_FOUND, 0, "create %s: error looking up volume plugin %s: plugin \"%s\" not found",
			       req->name ? req->name : "", req->driver, req->driver);
	if (req->driver_opts && req->driver_opts->n)
		return cs_fail(err, CS_ERR_UNSUPPORTED, 0, "options of volume driver local are not available in this build");
	if (req->cluster_spec)
		return cs_fail(err, CS_ERR_UNSUPPORTED, 0, "cluster volumes need a swarm, which is not available in this build");
	if (!anonymous && cs_volume_name_check(req->name, err) < 0)
		return -1;
	if (anonymous)
		cs_id_new(id);
	const char *name = anonymous ? id : req->name;
	if (req->labels || anonymous) {
		struct cs_strmap *m = req->labels ? cs_strmap_copy(req->labels) : cs_strmap_new();
		if (anonymous)
			cs_strmap_set(m, "com.docker.volume.anonymous", "");
		cs_json_put_strmap(&labels, m);
		cs_strmap_free(m);
	}
	CS_GUARD(&lock);
	if (load(e, &l, err) < 0)
		return -1;
	if (!find(&l, name)) {
		struct cs_store_volume row = {.name = name, .labels = labels.buf, .options = req->driver_opts ? "{}" : NULL, .created = cs_now_ns(),
					      .anonymous = anonymous};
		if (make(e, &row, err) < 0)
			return -1;
	}
	return cs_volume_inspect(e, name, out, err);
}

/* ---- remove ---- */

/* lock held */
static int destroy(struct cs_engine *e, const struct volume *v, struct cs_err **err)
{
	int r = cs_remove_tree_at(AT_FDCWD, v->dir);

	if (r < 0 && r != -ENOENT)
		return cs_fail(err, CS_ERR_INTERNAL, -r, "remove %s", v->name);
	if (cs_store_volume_delete(e->store, v->name, err) < 0)
		return -1;
	event(e, "destroy", v->name);
	return 0;
}

int cs_volume_remove(struct cs_engine *e, const char *name, bool force, struct cs_err **err)
{
	cs_autovolumes struct volumes l = {0};

	CS_GUARD(&lock);
	if (load(e, &l, err) < 0)
		return -1;
	const struct volume *v = find(&l, name);
	if (!v)
		return force ? 0 : cs_fail(err, CS_ERR_NOT_FOUND, 0, "get %s: no such volume", name);
	cs_autostrv char **ids = users(e, name);
	if (ids) {
		cs_autofree char *list = cs_strv_join(ids, ", ");
		return cs_fail(err, CS_ERR_CONFLICT, 0, "remove %s: volume is in use - [%s]", name, list);
	}
	return destroy(e, v, err);
}

int cs_volume_prune(struct cs_engine *e, const char *filters, int api, struct cs_str *out, struct cs_err **err)
{
	static const char *const old_keys[] = {"label", "label!", NULL}, *const keys[] = {"label", "label!", "all", NULL};
	bool only_anonymous = !api || api >= 142, all = false, first = true;
	cs_autofilters struct cs_filters f = {0};
	cs_autovolumes struct volumes l = {0};
	int64_t freed = 0;

	if (cs_filters_parse(filters, only_anonymous ? keys : old_keys, &f, err) < 0 || cs_filter_bool(&f, "all", &all, err) < 0)
		return -1;
	CS_GUARD(&lock);
	if (load(e, &l, err) < 0)
		return -1;
	cs_str_puts(out, "{\"VolumesDeleted\":");
	for (size_t i = 0; i < l.n; i++) {
		const struct volume *v = &l.v[i];
		cs_autostrv char **ids = users(e, v->name);
		int64_t bytes = 0;
		if (ids || (only_anonymous && !all && !v->anonymous) || !cs_filter_labels(&f, "label", v->labels) ||
		    (cs_filter_values(&f, "label!") && cs_filter_labels(&f, "label!", v->labels)))
			continue;
		cs_autofree char *data = cs_path_join(v->dir, "_data");
		cs_autofd int fd = open(data, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		if (fd >= 0 && cs_tree_usage(fd, &bytes, NULL) < 0)
			bytes = 0;
		if (destroy(e, v, NULL) < 0)
			continue;
		freed += bytes;
		cs_str_putc(out, first ? '[' : ',');
		cs_json_put_string(out, v->name);
		first = false;
	}
	cs_str_puts(out, first ? "null,\"SpaceReclaimed\":" : "],\"SpaceReclaimed\":");
	cs_str_put_i64(out, freed);
	cs_str_puts(out, "}\n");
	cs_autofree char *text = cs_xasprintf("%lld", (long long)freed);
	struct cs_strmap *attrs = cs_strmap_new();
	cs_strmap_set(attrs, "reclaimed", text);
	cs_event(e, "volume", "prune", "", attrs);
	return 0;
}
