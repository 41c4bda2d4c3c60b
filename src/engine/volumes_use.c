/* SPDX-License-Identifier: Apache-2.0
 *
 * Containers and their volumes: made and filled at creation, mounted while one runs, let go at removal. A volume with options is mounted once,
 * on its own directory, when the first user starts, and unmounted after the last one; a new engine finds the mounts and counts again. */
#include <fcntl.h>

#include "base/io.h"
#include "base/log.h"
#include "base/path.h"
#include "engine/image.h"
#include "engine/image_internal.h"
#include "engine/mounts_host.h"
#include "engine/volumes_internal.h"

static bool is_volume(const struct cs_mount_point *m) { return cs_streq(m->type, "volume") && !cs_empty(m->name); }

/* The first mount point of a volume stands for all of them. */
static bool first_of(const struct cs_mount_point *m, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (is_volume(&m[k]) && cs_streq(m[k].name, m[i].name))
			return false;
	return true;
}

/* ---- mounted or not ---- */

int cs_volume_activate(struct cs_engine *e, struct cs_volume *v, struct cs_err **err)
{
	struct cs_storage *s = cs_volume_storage(e);
	struct cs_vol_mount m;

	cs_volume_repair(e, v, true);
	if (cs_volume_options_mount(v->options, &m) && !cs_vol_is_mounted(s, v->name) && cs_vol_mount(s, v->name, &m, err) < 0) {
		cs_autofree char *path = cs_vol_path(s, v->name);
		return cs_wrap(err, "error while mounting volume '%s'", path);
	}
	v->active++;
	return 0;
}

void cs_volume_deactivate(struct cs_engine *e, struct cs_volume *v)
{
	cs_autoerr struct cs_err *err = NULL;
	struct cs_vol_mount m;

	if (v->active > 0)
		v->active--;
	if (v->active || !cs_volume_options_mount(v->options, &m) || cs_vol_unmount(cs_volume_storage(e), v->name, &err) == 0)
		return;
	cs_autofree char *why = cs_err_text(err);
	cs_logk(CS_LOG_WARN, "engine", "volume", v->name, "%s", why);
}

/* ---- creation ---- */

static int source_is_no_directory(const struct cs_mount_point *m, struct cs_err **err)
{
	/* dockerd: the first for a volume of the image's or of -v /path, the second for one that was named */
	if (m->anonymous && cs_empty(m->mode))
		return cs_fail(err, CS_ERR_INTERNAL, 0, "cannot mount volume over existing file, file exists %s", m->destination);
	return cs_fail(err, CS_ERR_INTERNAL, 0, "source %s is not directory", m->destination);
}

/* The container's own files, put together when the first empty volume asks for them. */
struct source {
	struct cs_container *c;
	char *const *layer_ids;
	struct cs_root *root;
};

static int open_source(struct source *src, const struct cs_mount_point *m, int *ret, struct cs_err **err)
{
	struct cs_root_spec spec = {.id = src->c->id, .layers = src->layer_ids, .read_only = true};

	if (!src->root && cs_root_attach(cs_volume_storage(src->c->e), &spec, &src->root, err) < 0)
		return -1;
	int fd = cs_open_in_root(cs_root_fd(src->root), m->destination, O_RDONLY | O_DIRECTORY, 0);
	if (fd == -ENOTDIR) { /* either it is none, or something on the way is none */
		cs_autofd int file = cs_open_in_root(cs_root_fd(src->root), m->destination, O_PATH, 0);
		if (file >= 0)
			return source_is_no_directory(m, err);
	}
	if (fd < 0 && fd != -ENOENT && fd != -ENOTDIR && fd != -ELOOP)
		return cs_fail(err, CS_ERR_INTERNAL, -fd, "open the image's %s", m->destination);
	*ret = fd < 0 ? -EBADF : fd;
	return 0;
}

/* work held */
static int fill(struct source *src, struct cs_volume *v, const struct cs_mount_point *m, struct cs_err **err)
{
	struct cs_engine *e = src->c->e;
	struct cs_storage *s = cs_volume_storage(e);
	cs_autofd int from = -EBADF;
	struct cs_vol_mount mount;

	bool mounts = cs_volume_options_mount(v->options, &mount);
	if (mounts && cs_streq(mount.type, "tmpfs") && !v->active)
		return 0; /* it would be gone again before anybody saw it */
	if (!mounts && !cs_vol_is_empty(s, v->name, m->subpath))
		return 0;
	if (open_source(src, m, &from, err) < 0)
		return -1;
	if (from < 0)
		return 0;
	struct cs_vol_fill f = {.source_fd = from, .what = m->destination, .subpath = m->subpath, .in_use = v->active > 0};
	if (cs_volume_activate(e, v, err) < 0)
		return -1;
	int r = cs_vol_fill(s, v->name, &f, err);
	cs_volume_deactivate(e, v);
	return r;
}

static void pin(struct cs_volume *v, struct cs_container *c)
{
	struct cs_volumes *t = c->e->volumes;

	pthread_mutex_lock(&t->lock);
	cs_strv_push(&v->pins, c->id);
	v->refs++;
	pthread_mutex_unlock(&t->lock);
}

static int prepare_one(struct source *src, const struct cs_mount_point *m, bool first, struct cs_err **err)
{
	struct cs_container *c = src->c;
	struct cs_volume *v = cs_volume_take(c->e, m->name);
	/* what another container of volumes-from made for itself is not ours to own, even if it was removed just now */
	struct cs_volume_make make = {.labels = m->volume_labels, .options = m->volume_opts, .anonymous = m->anonymous, .owner = m->anonymous ? c->id : NULL};
	int r = 0;

	if (!v->present && (r = cs_volume_options_check(m->name, m->volume_opts, err)) == 0)
		r = cs_volume_make(c->e, v, &make, err);
	if (r == 0 && first)
		pin(v, c);
	if (r == 0 && !m->no_copy)
		r = fill(src, v, m, err);
	cs_volume_put(c->e, v);
	return r;
}

int cs_volumes_prepare(struct cs_container *c, char *const *layer_ids, struct cs_err **err)
{
	struct source src = {.c = c, .layer_ids = layer_ids};
	int r = 0;

	for (size_t i = 0; i < c->n_mounts && r == 0; i++)
		if (is_volume(&c->mounts[i]))
			r = prepare_one(&src, &c->mounts[i], first_of(c->mounts, i), err);
	cs_root_release(src.root);
	return r;
}

void cs_volumes_unpin(struct cs_container *c)
{
	for (size_t i = 0; i < c->n_mounts; i++) {
		if (!is_volume(&c->mounts[i]))
			continue;
		struct cs_volume *v = cs_volume_take(c->e, c->mounts[i].name);
		struct cs_volumes *t = c->e->volumes;
		pthread_mutex_lock(&t->lock);
		for (size_t k = 0; v->pins && v->pins[k]; k++) {
			if (strcmp(v->pins[k], c->id) != 0)
				continue;
			free(v->pins[k]);
			for (; (v->pins[k] = v->pins[k + 1]); k++)
				;
			v->refs--; /* not the last: take has one */
			break;
		}
		pthread_mutex_unlock(&t->lock);
		cs_volume_put(c->e, v);
	}
}

/* ---- a run, or a copy ---- */

static void mount_event(struct cs_container *c, const struct cs_mount_point *m, bool mount)
{
	struct cs_strmap *attrs = cs_strmap_new();

	cs_strmap_set(attrs, "container", c->id);
	if (mount) {
		cs_strmap_set(attrs, "destination", m->destination);
		cs_strmap_set(attrs, "propagation", m->propagation ? m->propagation : "");
		cs_strmap_set(attrs, "read/write", m->rw ? "true" : "false");
	}
	cs_volume_event(c->e, mount ? "mount" : "unmount", m->name, attrs);
}

static void unmount_up_to(struct cs_container *c, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (!is_volume(&c->mounts[i]))
			continue;
		if (first_of(c->mounts, i)) {
			struct cs_volume *v = cs_volume_take(c->e, c->mounts[i].name);
			cs_volume_deactivate(c->e, v);
			cs_volume_put(c->e, v);
		}
		mount_event(c, &c->mounts[i], false);
	}
}

static int mount_one(struct cs_container *c, const struct cs_mount_point *m, struct cs_err **err)
{
	struct cs_volume *v = cs_volume_take(c->e, m->name);
	struct cs_volume_make make = {.anonymous = m->anonymous};
	int r = 0;

	if (!v->present) { /* removed behind our back: rather an empty one than a container that never starts again */
		cs_logk(CS_LOG_WARN, "engine", "volume", m->name, "container %s uses it and it was gone: made again, empty", c->id);
		r = cs_volume_make(c->e, v, &make, err);
	}
	if (r == 0)
		r = cs_volume_activate(c->e, v, err);
	cs_volume_put(c->e, v);
	return r;
}

int cs_volumes_mount(struct cs_container *c, struct cs_err **err)
{
	for (size_t i = 0; i < c->n_mounts; i++) {
		const struct cs_mount_point *m = &c->mounts[i];
		if (!is_volume(m))
			continue;
		if (first_of(c->mounts, i) && mount_one(c, m, err) < 0) {
			unmount_up_to(c, i);
			return -1;
		}
		mount_event(c, m, true);
	}
	return 0;
}

void cs_volumes_unmount(struct cs_container *c) { unmount_up_to(c, c->n_mounts); }

int cs_volumes_start(struct cs_container *c, struct cs_err **err)
{
	for (size_t i = 0; i < c->n_mounts; i++)
		if (cs_streq(c->mounts[i].type, "bind") && cs_bind_source_check(&c->mounts[i], err) < 0)
			return -1;
	if (c->volumes_mounted)
		return 0;
	if (cs_volumes_mount(c, err) < 0)
		return -1;
	c->volumes_mounted = true;
	return 0;
}

void cs_volumes_stop(struct cs_container *c)
{
	if (!c->volumes_mounted)
		return;
	c->volumes_mounted = false;
	cs_volumes_unmount(c);
}

/* ---- removal ---- */

void cs_volumes_disown(struct cs_container *c)
{
	const struct cs_mount_point *m = c->mounts;
	struct cs_engine *e = c->e;

	for (size_t i = 0; i < c->n_mounts; i++) {
		if (!is_volume(&m[i]) || !m[i].anonymous)
			continue;
		struct cs_volume *v = cs_volume_take(e, m[i].name);
		if (cs_streq(v->owner, c->id))
			cs_volume_disown(e, v);
		cs_volume_put(e, v);
	}
}

void cs_volumes_release(struct cs_engine *e, const struct cs_mount_point *m, size_t n, const char *except, bool owned_only)
{
	for (size_t i = 0; i < n; i++) {
		cs_autoerr struct cs_err *err = NULL;
		if (!is_volume(&m[i]) || !m[i].anonymous)
			continue;
		struct cs_volume *v = cs_volume_take(e, m[i].name);
		cs_autostrv char **users = v->present ? cs_volume_users(e, v, except) : NULL;
		if (v->present && users) {
			if (cs_streq(v->owner, except)) /* the last of those who share it by volumes-from takes it along */
				cs_volume_disown(e, v);
		} else if (v->present && (!owned_only || cs_streq(v->owner, except)) && cs_volume_destroy(e, v, &err) < 0) {
			cs_autofree char *why = cs_err_text(err);
			cs_logk(CS_LOG_WARN, "engine", "volume", m[i].name, "%s", why);
		}
		cs_volume_put(e, v);
	}
}

/* ---- the start of the engine ---- */

void cs_volumes_adopt(struct cs_container *c)
{
	for (size_t i = 0; i < c->n_mounts; i++) {
		if (!is_volume(&c->mounts[i]) || !first_of(c->mounts, i))
			continue;
		struct cs_volume *v = cs_volume_take(c->e, c->mounts[i].name);
		v->active++;
		cs_volume_put(c->e, v);
	}
	c->volumes_mounted = true;
}

static void settle_one(struct cs_engine *e, struct cs_volume *v)
{
	cs_autostrv char **users = cs_volume_users(e, v, NULL);
	cs_autocontainer struct cs_container *owner = NULL;
	cs_autoerr struct cs_err *err = NULL;
	struct cs_vol_mount m;
	int r = 0;

	if (v->owner && !users && cs_container_get(e, v->owner, &owner, NULL) < 0) {
		cs_logk(CS_LOG_WARN, "engine", "volume", v->name, "removed: the container for which it was made does not exist");
		r = cs_volume_destroy(e, v, &err);
	} else if (!v->active && cs_volume_options_mount(v->options, &m) && cs_vol_is_mounted(cs_volume_storage(e), v->name)) {
		cs_logk(CS_LOG_INFO, "engine", "volume", v->name, "unmounted: nobody who uses it runs");
		r = cs_vol_unmount(cs_volume_storage(e), v->name, &err);
	}
	if (v->present)
		cs_volume_repair(e, v, users != NULL);
	if (r == 0)
		return;
	cs_autofree char *why = cs_err_text(err);
	cs_logk(CS_LOG_WARN, "engine", "volume", v->name, "%s", why);
}

void cs_volumes_settle(struct cs_engine *e)
{
	struct cs_volume **all = cs_volumes_all(e, NULL);

	for (struct cs_volume **p = all; *p; p++) {
		struct cs_volume *v = cs_volume_take(e, (*p)->name);
		if (v->present)
			settle_one(e, v);
		cs_volume_put(e, v);
	}
	cs_volumes_free(e, all);
}
