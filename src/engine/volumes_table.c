/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of volumes: loading, look-up, making, destroying. A volume is made row first, directory second, and destroyed directory first. So a row
 * without a directory was being made or destroyed: at start the row goes, unless a container names it. And a directory without a row comes from
 * elsewhere: it is a volume again, as with dockerd. */
#include "base/json.h"
#include "base/log.h"
#include "base/time.h"
#include "engine/events.h"
#include "engine/image_internal.h"
#include "engine/store.h"
#include "engine/validate.h"
#include "engine/volumes_internal.h"

struct cs_storage *cs_volume_storage(struct cs_engine *e) { return e->images->storage; }

void cs_volume_event(struct cs_engine *e, const char *action, const char *name, struct cs_strmap *attrs)
{
	if (!attrs)
		attrs = cs_strmap_new();
	cs_strmap_set(attrs, "driver", "local");
	cs_event(e, "volume", action, name, attrs);
}

/* ---- objects ---- */

static void volume_free(struct cs_volume *v)
{
	free(v->name);
	free(v->owner);
	cs_strv_free(v->pins);
	cs_strmap_free(v->labels);
	cs_strmap_free(v->options);
	(void)pthread_mutex_destroy(&v->work);
	free(v);
}

static struct cs_volume *table_get(struct cs_volumes *t, const char *name) /* table lock held; adds a reference */
{
	struct cs_volume *v;

	HASH_FIND_STR(t->by_name, name, v);
	if (!v) {
		v = cs_xcalloc(1, sizeof(*v));
		v->name = cs_xstrdup(name);
		(void)pthread_mutex_init(&v->work, NULL);
		HASH_ADD_KEYPTR(hh, t->by_name, v->name, strlen(v->name), v);
	}
	v->refs++;
	return v;
}

static void table_put(struct cs_volumes *t, struct cs_volume *v) /* table lock held */
{
	if (--v->refs > 0 || v->present)
		return;
	if (!v->gone)
		HASH_DEL(t->by_name, v);
	volume_free(v);
}

struct cs_volume *cs_volume_take(struct cs_engine *e, const char *name)
{
	struct cs_volumes *t = e->volumes;

	for (;;) {
		pthread_mutex_lock(&t->lock);
		struct cs_volume *v = table_get(t, name);
		pthread_mutex_unlock(&t->lock);
		pthread_mutex_lock(&v->work);
		if (!v->gone)
			return v;
		cs_volume_put(e, v); /* destroyed while we waited */
	}
}

void cs_volume_put(struct cs_engine *e, struct cs_volume *v)
{
	pthread_mutex_unlock(&v->work);
	pthread_mutex_lock(&e->volumes->lock);
	table_put(e->volumes, v);
	pthread_mutex_unlock(&e->volumes->lock);
}

static int by_name(const void *a, const void *b)
{
	return strcmp((*(struct cs_volume *const *)a)->name, (*(struct cs_volume *const *)b)->name);
}

struct cs_volume **cs_volumes_all(struct cs_engine *e, size_t *n)
{
	struct cs_volumes *t = e->volumes;
	struct cs_volume *v, *next;
	size_t i = 0;

	pthread_mutex_lock(&t->lock);
	struct cs_volume **all = cs_xcalloc(HASH_COUNT(t->by_name) + 1, sizeof(struct cs_volume *));
	HASH_ITER(hh, t->by_name, v, next)
	{
		if (!v->present)
			continue;
		v->refs++;
		all[i++] = v;
	}
	pthread_mutex_unlock(&t->lock);
	qsort(all, i, sizeof(struct cs_volume *), by_name);
	if (n)
		*n = i;
	return all;
}

void cs_volumes_free(struct cs_engine *e, struct cs_volume **all)
{
	pthread_mutex_lock(&e->volumes->lock);
	for (struct cs_volume **p = all; p && *p; p++)
		table_put(e->volumes, *p);
	pthread_mutex_unlock(&e->volumes->lock);
	free(all);
}

char **cs_volume_users(struct cs_engine *e, const struct cs_volume *v, const char *except)
{
	struct cs_container **all;
	char **ids = NULL;

	/* pins first: a container is pinned until the table has it, so it cannot slip through between the two */
	pthread_mutex_lock(&e->volumes->lock);
	for (size_t i = 0; v->pins && v->pins[i]; i++)
		if (!cs_streq(v->pins[i], except))
			cs_strv_push(&ids, v->pins[i]);
	pthread_mutex_unlock(&e->volumes->lock);
	all = cs_containers_all(e, NULL);
	for (struct cs_container **p = all; *p; p++) {
		if (cs_streq((*p)->id, except) || cs_strv_has(ids, (*p)->id))
			continue;
		CS_GUARD(&(*p)->lock);
		for (size_t i = 0; i < (*p)->n_mounts; i++)
			if (cs_streq((*p)->mounts[i].type, "volume") && cs_streq((*p)->mounts[i].name, v->name)) {
				cs_strv_push(&ids, (*p)->id);
				break;
			}
	}
	cs_containers_free(all);
	return ids;
}

/* ---- making and destroying ---- */

static int put_row(struct cs_engine *e, const struct cs_volume *v, struct cs_err **err)
{
	cs_autostr struct cs_str labels = CS_STR_INIT(8 << 20), options = CS_STR_INIT(8 << 20);

	if (v->labels)
		cs_json_put_strmap(&labels, v->labels);
	if (v->options)
		cs_json_put_strmap(&options, v->options);
	if (labels.failed || options.failed)
		return cs_fail(err, CS_ERR_INVALID, 0, "create %s: labels or options are too large", v->name);
	struct cs_store_volume row = {.name = v->name, .labels = labels.buf, .options = options.buf, .created = v->created, .anonymous = v->anonymous,
				      .owner = v->owner};
	return cs_store_volume_put(e->store, &row, err);
}

static struct cs_strmap *labels_of(const struct cs_volume_make *m)
{
	struct cs_strmap *l = cs_strmap_copy(m->labels);

	if (m->anonymous) { /* how newer clients tell them apart */
		l = l ? l : cs_strmap_new();
		cs_strmap_set(l, CS_VOLUME_ANONYMOUS, "");
	}
	return l;
}

/* The row first: a directory without one would be anybody's volume after a crash (see adopt), a row without a directory is forgotten. */
int cs_volume_make(struct cs_engine *e, struct cs_volume *v, const struct cs_volume_make *m, struct cs_err **err)
{
	cs_autofree char *file = cs_volume_options_file(m->options);

	pthread_mutex_lock(&e->volumes->lock);
	v->labels = labels_of(m);
	v->options = cs_strmap_copy(m->options);
	v->created = cs_now_ns();
	v->anonymous = m->anonymous;
	v->owner = cs_xstrdup(m->owner);
	pthread_mutex_unlock(&e->volumes->lock);
	int r = put_row(e, v, err);
	if (r == 0 && cs_vol_create(cs_volume_storage(e), v->name, file, NULL, err) < 0) {
		r = cs_wrap(err, "create %s", v->name);
		if (cs_store_volume_delete(e->store, v->name, NULL) < 0)
			cs_logk(CS_LOG_WARN, "engine", "volume", v->name, "cannot remove the row of a failed creation; the next start does");
	}
	pthread_mutex_lock(&e->volumes->lock);
	v->present = r == 0;
	if (r < 0) {
		cs_strmap_free(TAKE_PTR(v->labels));
		cs_strmap_free(TAKE_PTR(v->options));
		free(TAKE_PTR(v->owner));
	}
	pthread_mutex_unlock(&e->volumes->lock);
	if (r == 0)
		cs_volume_event(e, "create", v->name, NULL);
	return r;
}

static void forget(struct cs_engine *e, struct cs_volume *v)
{
	pthread_mutex_lock(&e->volumes->lock);
	HASH_DEL(e->volumes->by_name, v);
	v->present = false;
	v->gone = true;
	pthread_mutex_unlock(&e->volumes->lock);
}

int cs_volume_destroy(struct cs_engine *e, struct cs_volume *v, struct cs_err **err)
{
	if (cs_vol_remove(cs_volume_storage(e), v->name, err) < 0 || cs_store_volume_delete(e->store, v->name, err) < 0)
		return cs_wrap(err, "remove %s", v->name);
	forget(e, v);
	cs_volume_event(e, "destroy", v->name, NULL);
	return 0;
}

void cs_volume_disown(struct cs_engine *e, struct cs_volume *v)
{
	if (!v->owner)
		return;
	if (cs_store_volume_disown(e->store, v->name, NULL) < 0)
		cs_logk(CS_LOG_WARN, "engine", "volume", v->name, "cannot record that it outlives its container");
	pthread_mutex_lock(&e->volumes->lock);
	free(TAKE_PTR(v->owner));
	pthread_mutex_unlock(&e->volumes->lock);
}

/* ---- loading ---- */

static struct cs_strmap *map_of(const char *text)
{
	cs_autojson json_t *j = cs_empty(text) ? NULL : cs_json_parse(text, strlen(text), NULL);
	struct cs_strmap *m = json_is_object(j) ? cs_strmap_new() : NULL;
	const char *k;
	json_t *v;

	json_object_foreach(j, k, v)
		cs_strmap_set(m, k, json_string_value(v) ? json_string_value(v) : "");
	return m;
}

static int load_row(const struct cs_store_volume *row, void *ctx)
{
	struct cs_engine *e = ctx;
	struct cs_volume *v = table_get(e->volumes, row->name);

	v->labels = map_of(row->labels);
	v->options = map_of(row->options);
	v->created = row->created;
	v->anonymous = row->anonymous;
	v->owner = cs_xstrdup(row->owner);
	v->present = true;
	v->refs--;
	return 0;
}

/* A directory without a row: somebody put it here (from dockerd's data root), or the row was lost. */
static void adopt(void *ctx, const char *name, int64_t made_ns)
{
	cs_autostr struct cs_str text = CS_STR_INIT(1 << 20);
	cs_autoerr struct cs_err *err = NULL;
	struct cs_engine *e = ctx;
	struct cs_volume *v;

	HASH_FIND_STR(e->volumes->by_name, name, v);
	if (v || cs_volume_name_check(name, NULL) < 0)
		return;
	v = table_get(e->volumes, name);
	v->created = made_ns;
	if (cs_vol_create(cs_volume_storage(e), name, NULL, NULL, &err) == 0 && cs_vol_options(cs_volume_storage(e), name, &text, &err) == 0 &&
	    (text.len == 0 || cs_volume_options_parse(text.buf, text.len, &v->options, &err) == 0) && put_row(e, v, &err) == 0) {
		v->present = true;
		cs_logk(CS_LOG_WARN, "engine", "volume", name, "found a directory without a row: it is a volume again");
	} else {
		cs_autofree char *why = cs_err_text(err);
		cs_logk(CS_LOG_ERROR, "engine", "volume", name, "a directory without a row, left alone: %s", why);
	}
	table_put(e->volumes, v);
}

void cs_volume_repair(struct cs_engine *e, struct cs_volume *v, bool used)
{
	cs_autofree char *file = cs_volume_options_file(v->options), *why = NULL;
	cs_autoerr struct cs_err *err = NULL;
	int r;

	if (cs_vol_exists(cs_volume_storage(e), v->name))
		return;
	if (used) {
		r = cs_vol_create(cs_volume_storage(e), v->name, file, NULL, &err);
	} else {
		r = cs_store_volume_delete(e->store, v->name, &err);
		forget(e, v);
	}
	why = r < 0 ? cs_err_text(err) : cs_xstrdup(used ? "made again, empty" : "forgotten");
	cs_logk(r < 0 ? CS_LOG_ERROR : CS_LOG_WARN, "engine", "volume", v->name, "its directory is gone: %s", why);
}

int cs_volumes_open(struct cs_engine *e, struct cs_err **err)
{
	e->volumes = cs_xcalloc(1, sizeof(*e->volumes));
	(void)pthread_mutex_init(&e->volumes->lock, NULL);
	if (cs_store_volumes(e->store, load_row, e, err) < 0)
		return -1;
	cs_vol_each(cs_volume_storage(e), adopt, e);
	return 0;
}
