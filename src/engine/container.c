/* SPDX-License-Identifier: Apache-2.0
 *
 * Containers as objects: tables, look-up, creation, renaming, removal, prune. Creation makes directories first and commits with one row;
 * removal marks the row first and deletes it last, so any moment of death leaves something that reconciliation understands. */
#include "engine/container.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>

#include "base/id.h"
#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "base/path.h"
#include "base/time.h"
#include "engine/events.h"
#include "engine/files.h"
#include "engine/filters.h"
#include "engine/image.h"
#include "engine/loop.h"
#include "engine/names.h"
#include "engine/network.h"
#include "engine/prune.h"
#include "engine/spec.h"
#include "engine/store.h"
#include "engine/validate.h"

#define ROOM_NS (5 * CS_NS_PER_SEC) /* for a full disk to have some, after a removal */

const char *cs_status_name(enum cs_status s)
{
	static const char *const names[CS_ST_MAX] = {"created", "running", "paused", "restarting", "removing", "exited", "dead"};
	return names[s];
}

struct cs_container *cs_container_ref(struct cs_container *c)
{
	atomic_fetch_add(&c->refs, 1);
	return c;
}

void cs_container_unref(struct cs_container *c)
{
	if (!c || atomic_fetch_sub(&c->refs, 1) != 1)
		return;
	cs_pending_close(cs_pending_take(c));
	cs_health_free(c->health);
	cs_config_free(c->config);
	cs_host_config_free(c->host);
	cs_mount_points_free(c->mounts, c->n_mounts);
	cs_container_networks_free(c->nets);
	free(c->ports_on[0]);
	free(c->ports_on[1]);
	free(c->image_id);
	free(c->image_ref);
	free(c->os);
	free(c->dir);
	free(c->log_driver);
	free(c->log_path);
	free(c->name);
	free(c->error);
	(void)pthread_mutex_destroy(&c->op_lock);
	(void)pthread_mutex_destroy(&c->lock);
	(void)pthread_mutex_destroy(&c->save_lock);
	(void)pthread_cond_destroy(&c->changed);
	free(c);
}

struct cs_container *cs_container_new(struct cs_engine *e, const char *id)
{
	struct cs_container *c = cs_xcalloc(1, sizeof(*c));

	memcpy(c->id, id, CS_MIN(strlen(id), sizeof(c->id) - 1));
	atomic_init(&c->refs, 1);
	c->e = e;
	(void)pthread_mutex_init(&c->op_lock, NULL);
	(void)pthread_mutex_init(&c->lock, NULL);
	(void)pthread_mutex_init(&c->save_lock, NULL);
	cs_cond_init(&c->changed);
	c->dir = cs_xasprintf("%s/containers/%s", cs_engine_config(e)->data_root, c->id);
	c->started_at = c->finished_at = CS_TIME_ZERO;
	return c;
}

void cs_container_settle(struct cs_container *c, const unsigned *n, int ms)
{
	const struct timespec until = cs_timespec(cs_monotonic_ns() + ms * CS_NS_PER_MS);
	int r = 0;

	CS_GUARD(&c->lock);
	while (*n && r == 0)
		r = pthread_cond_timedwait(&c->changed, &c->lock, &until);
}

bool cs_container_is_alive(const struct cs_container *c) { return c->status == CS_ST_RUNNING || c->status == CS_ST_RESTARTING || c->starting; }

enum cs_status cs_container_status(const struct cs_container *c)
{
	if (c->status == CS_ST_RUNNING)
		return c->paused ? CS_ST_PAUSED : CS_ST_RUNNING;
	if (c->status == CS_ST_RESTARTING)
		return CS_ST_RESTARTING;
	if (c->removing)
		return CS_ST_REMOVING;
	if (c->dead)
		return CS_ST_DEAD;
	return c->started_at == CS_TIME_ZERO ? CS_ST_CREATED : CS_ST_EXITED;
}

/* ---- tables ---- */

static void tables_add(struct cs_engine *e, struct cs_container *c) /* maps_lock held for writing */
{
	HASH_ADD_STR(e->by_id, id, c);
	c->visible = true;
}

void cs_container_insert_row_loaded(struct cs_container *c)
{
	struct cs_engine *e = c->e;

	pthread_rwlock_wrlock(&e->maps_lock);
	HASH_ADD_KEYPTR(hh_name, e->by_name, c->name, strlen(c->name), c);
	tables_add(e, c);
	pthread_rwlock_unlock(&e->maps_lock);
}

static struct cs_container *find_name(struct cs_engine *e, const char *name)
{
	struct cs_container *c;
	HASH_FIND(hh_name, e->by_name, name, strlen(name), c);
	return c;
}

static int find_locked(struct cs_engine *e, const char *ref, struct cs_container **ret, struct cs_err **err)
{
	const char *name = ref[0] == '/' ? ref + 1 : ref;
	struct cs_container *c = NULL, *hit = NULL;
	size_t n = strlen(ref);

	HASH_FIND_STR(e->by_id, ref, c);
	if (!c) {
		c = find_name(e, name);
		if (c && !c->visible)
			c = NULL;
	}
	if (c) {
		*ret = cs_container_ref(c);
		return 0;
	}
	for (c = n && n < CS_ID_LEN && cs_is_hex(ref) ? e->by_id : NULL; c; c = c->hh.next)
		if (strncmp(c->id, ref, n) == 0) {
			if (hit)
				return cs_fail(err, CS_ERR_INVALID, 0, "multiple IDs found with provided prefix: %s", ref);
			hit = c;
		}
	if (!hit)
		return cs_fail(err, CS_ERR_NOT_FOUND, 0, "No such container: %s", ref);
	*ret = cs_container_ref(hit);
	return 0;
}

static int find(struct cs_engine *e, const char *ref, struct cs_container **ret, struct cs_err **err)
{
	pthread_rwlock_rdlock(&e->maps_lock);
	int r = find_locked(e, ref, ret, err);
	pthread_rwlock_unlock(&e->maps_lock);
	return r;
}

/* "/parent/alias", a legacy link's name: its parent. NULL: it is none. */
static struct cs_container *link_parent(struct cs_engine *e, const char *ref, const char **alias)
{
	const char *name = ref[0] == '/' ? ref + 1 : ref, *slash = strrchr(name, '/');
	cs_autofree char *parent = slash ? cs_xstrndup(name, (size_t)(slash - name)) : NULL;
	struct cs_container *c = NULL;

	if (cs_empty(parent) || find(e, parent, &c, NULL) < 0)
		return NULL;
	*alias = slash + 1;
	return c;
}

int cs_container_get(struct cs_engine *e, const char *ref, struct cs_container **ret, struct cs_err **err)
{
	const char *alias = NULL;

	if (cs_empty(ref))
		return cs_fail(err, CS_ERR_INVALID, 0, "no container name or ID supplied");
	cs_autocontainer struct cs_container *parent = link_parent(e, ref, &alias);
	cs_autofree char *target = parent ? cs_links_target(parent, alias) : NULL;
	if (target && find(e, target, ret, NULL) == 0)
		return 0;
	return find(e, ref, ret, err);
}

static int newest_first(const void *a, const void *b)
{
	const struct cs_container *x = *(struct cs_container *const *)a, *y = *(struct cs_container *const *)b;
	if (x->created != y->created)
		return x->created < y->created ? 1 : -1;
	return strcmp(x->id, y->id);
}

struct cs_container **cs_containers_all(struct cs_engine *e, size_t *n)
{
	size_t i = 0;

	pthread_rwlock_rdlock(&e->maps_lock);
	struct cs_container **v = cs_xcalloc(HASH_COUNT(e->by_id) + 1, sizeof(struct cs_container *));
	for (struct cs_container *c = e->by_id; c; c = c->hh.next)
		v[i++] = cs_container_ref(c);
	pthread_rwlock_unlock(&e->maps_lock);
	qsort(v, i, sizeof(struct cs_container *), newest_first);
	if (n)
		*n = i;
	return v;
}

void cs_containers_free(struct cs_container **v)
{
	for (struct cs_container **p = v; p && *p; p++)
		cs_container_unref(*p);
	free(v);
}

/* ---- rows ---- */

void cs_containers_json_mounts(const struct cs_mount_point *m, size_t n, bool store, struct cs_str *out)
{
	cs_str_putc(out, '[');
	for (size_t i = 0; i < n; i++) {
		if (i)
			cs_str_putc(out, ',');
		cs_json_encode(store ? &cs_mount_point_store_type : &cs_mount_point_type, &m[i], 0, out);
	}
	cs_str_putc(out, ']');
}

static struct cs_store_state state_of(struct cs_container *c) /* lock held; error borrowed */
{
	return (struct cs_store_state){
		.status = cs_status_name(c->removing ? CS_ST_REMOVING : c->dead ? CS_ST_DEAD : c->status == CS_ST_RUNNING && c->paused ? CS_ST_PAUSED : c->status),
		.pid = c->pid, .exit_code = c->exit_code, .started_at = c->started_at, .finished_at = c->finished_at,
		.restart_count = c->restart_count, .oom = c->oom, .manually_stopped = c->manually_stopped, .ever_started = c->ever_started,
		.error = c->error};
}

void cs_container_save(struct cs_container *c)
{
	cs_autoerr struct cs_err *err = NULL;

	CS_GUARD(&c->save_lock);
	pthread_mutex_lock(&c->lock);
	struct cs_store_state st = state_of(c);
	cs_autofree char *error = cs_xstrdup(c->error);
	pthread_mutex_unlock(&c->lock);
	st.error = error;
	if (cs_store_container_state(c->e->store, c->id, &st, &err) < 0) {
		cs_autofree char *text = cs_err_text(err);
		cs_logk(CS_LOG_ERROR, "engine", "container", c->id, "cannot record the state: %s", text);
	}
	atomic_store(&c->save_failed, err != NULL);
}

static int insert_row(struct cs_container *c, struct cs_err **err)
{
	cs_autostr struct cs_str config = CS_STR_INIT(8 << 20), host = CS_STR_INIT(8 << 20), mounts = CS_STR_INIT(8 << 20);

	cs_json_encode(&cs_config_type, c->config, 0, &config);
	cs_json_encode(&cs_host_config_type, c->host, 0, &host);
	cs_containers_json_mounts(c->mounts, c->n_mounts, true, &mounts);
	if (config.failed || host.failed || mounts.failed)
		return cs_fail(err, CS_ERR_INVALID, 0, "the configuration is too large");
	cs_autofree char *networks = cs_container_net_json(c);
	if (!networks)
		return cs_fail(err, CS_ERR_INVALID, 0, "the network settings are too large");
	struct cs_store_container row = {.id = c->id, .name = c->name, .networks = networks, .config = config.buf, .host = host.buf, .mounts = mounts.buf,
					 .image_id = c->image_id, .image_ref = c->image_ref, .os = c->os, .log_driver = c->log_driver,
					 .created = c->created, .st = state_of(c)};
	return cs_store_container_insert(c->e->store, &row, err);
}

/* ---- creation ---- */

static int name_taken(const char *name, const char *id, struct cs_err **err)
{
	return cs_fail(err, CS_ERR_CONFLICT, 0,
		       "Conflict. The container name \"/%s\" is already in use by container \"%s\". You have to remove (or rename) that "
		       "container to be able to reuse that name.",
		       name, id);
}

/* Puts c into by_name; the name belongs to it from here, though nobody finds it before the row is written. */
static int reserve_name(struct cs_container *c, const char *name, struct cs_err **err)
{
	struct cs_engine *e = c->e;
	int r = 0;

	pthread_rwlock_wrlock(&e->maps_lock);
	if (!cs_empty(name)) {
		struct cs_container *other = find_name(e, name);
		if (other)
			r = name_taken(name, other->id, err);
		else
			c->name = cs_xstrdup(name);
	} else {
		for (unsigned i = 0; !c->name; i++) {
			char *n = cs_name_random(i);
			if (find_name(e, n))
				free(n);
			else
				c->name = n;
		}
	}
	if (r == 0)
		HASH_ADD_KEYPTR(hh_name, e->by_name, c->name, strlen(c->name), c);
	pthread_rwlock_unlock(&e->maps_lock);
	return r;
}

static void release_name(struct cs_container *c)
{
	pthread_rwlock_wrlock(&c->e->maps_lock);
	HASH_DELETE(hh_name, c->e->by_name, c);
	pthread_rwlock_unlock(&c->e->maps_lock);
}

static int lookup_resolve(void *ctx, const char *ref, char **ret_id, struct cs_err **err)
{
	cs_autocontainer struct cs_container *c = NULL;
	if (cs_container_get(ctx, ref, &c, err) < 0)
		return -1;
	*ret_id = cs_xstrdup(c->id);
	return 0;
}

static int lookup_mounts(void *ctx, const char *ref, struct cs_mount_point **ret, size_t *n, struct cs_err **err)
{
	cs_autocontainer struct cs_container *c = NULL;
	if (cs_container_get(ctx, ref, &c, err) < 0)
		return -1;
	CS_GUARD(&c->lock);
	struct cs_mount_point *v = cs_xcalloc(c->n_mounts + 1, sizeof(*v));
	for (size_t i = 0; i < c->n_mounts; i++)
		cs_json_copy(&cs_mount_point_store_type, &v[i], &c->mounts[i]);
	*n = c->n_mounts;
	*ret = v;
	return 0;
}

static int lookup_network(void *ctx, const char *ref, struct cs_network_doc **ret, struct cs_err **err)
{
	cs_autonetwork struct cs_network *n = NULL;

	if (cs_network_get(ctx, ref, &n, err) < 0)
		return -1;
	*ret = cs_network_doc_copy(n->doc);
	return 0;
}

/* The endpoints of a request, sorted; validation has named and completed them. */
static struct cs_container_networks *take_endpoints(struct cs_create_request *req)
{
	struct cs_networking_config *n = req->networking_config;
	struct cs_container_networks *r = n ? cs_xcalloc(1, sizeof(*r)) : NULL;

	if (!n)
		return NULL;
	r->endpoints = TAKE_PTR(n->endpoints);
	r->n_endpoints = n->n_endpoints;
	n->n_endpoints = 0;
	return r;
}

static void set_log_path(struct cs_container *c)
{
	const char *driver = c->host->log_config.type;

	c->log_driver = cs_xstrdup(cs_empty(driver) ? "json-file" : driver);
	if (cs_streq(c->log_driver, "json-file"))
		c->log_path = cs_xasprintf("%s/%s-json.log", c->dir, c->id);
	else if (cs_streq(c->log_driver, "local"))
		c->log_path = cs_xasprintf("%s/local-logs/container.log", c->dir);
}

static void undo_create(struct cs_container *c)
{
	if (cs_snapshot_remove(c->e, c->id, NULL) < 0)
		cs_logk(CS_LOG_WARN, "engine", "container", c->id, "cannot remove the snapshot of a failed creation");
	(void)cs_remove_tree_at(AT_FDCWD, c->dir);
	cs_volumes_unpin(c); /* before the release: the pins are in the objects that it takes away */
	cs_volumes_release(c->e, c->mounts, c->n_mounts, c->id, false);
}

static int make_parts(struct cs_container *c, const struct cs_image_info *img, struct cs_err **err)
{
	cs_autofree char *snap = NULL;

	if (cs_container_dir_create(c->e, c->dir, err) < 0)
		return -1;
	if (cs_streq(c->log_driver, "local")) {
		cs_autofree char *d = cs_path_join(c->dir, "local-logs");
		(void)mkdir(d, 0700);
	}
	if (cs_snapshot_create(c->e, c->id, img, &snap, err) < 0 || cs_snapshot_options(c->e, c->id, c->host->storage_opt, err) < 0)
		return -1;
	if (cs_volumes_prepare(c, img->layer_ids, err) < 0)
		return -1;
	return insert_row(c, err);
}

static void cs_autoimg_done(struct cs_image_info **i) { cs_image_info_free(*i); }
static void cs_autoreq_done(struct cs_create_request **r) { cs_create_request_free(*r); }

/* The image that a mount names now is what the container has for good. */
static int pin_image_mounts(struct cs_container *c, struct cs_err **err)
{
	for (size_t i = 0; i < c->n_mounts; i++) {
		struct cs_mount_point *m = &c->mounts[i];
		cs_auto(cs_autoimg_done) struct cs_image_info *img = NULL;
		if (!cs_streq(m->type, "image") || !cs_empty(m->source)) /* that of another container is pinned there */
			continue;
		if (cs_image_get(c->e, m->name, NULL, &img, err) < 0)
			return -1;
		if (img->artifact || !img->layer_ids[0])
			return cs_fail(err, CS_ERR_INVALID, 0, "image %s has no files that could be mounted", m->name);
		m->source = cs_xstrdup(img->id);
	}
	return 0;
}

int cs_container_create(struct cs_engine *e, const char *name, const char *platform, const struct cs_create_request *request, int api,
			char **ret_id, char ***ret_warnings, struct cs_err **err)
{
	const struct cs_engine_config *cfg = cs_engine_config(e);
	struct cs_container_lookup lookup = {e, lookup_resolve, lookup_mounts, lookup_network};
	cs_auto(cs_autoimg_done) struct cs_image_info *img = NULL;
	cs_auto(cs_autoreq_done) struct cs_create_request *req = cs_create_request_copy(request);
	cs_autostrv char **warnings = NULL;
	char id[CS_ID_LEN + 1];

	if (name && name[0] == '/')
		name++;
	if (!cs_empty(name) && !cs_name_valid(name))
		return cs_fail(err, CS_ERR_INVALID, 0, "Invalid container name (%s), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed", name);
	cs_id_new(id);
	if (cs_validate_create(cfg, &lookup, id, req, api, &warnings, err) < 0)
		return -1;
	if (cs_empty(req->config.image))
		return cs_fail(err, CS_ERR_INVALID, 0, "no image specified");
	if (cs_image_get(e, req->config.image, platform, &img, err) < 0 || cs_image_check_runs(img, req->config.image, err) < 0 ||
	    cs_config_merge_image(&req->config, img->config, err) < 0)
		return -1;

	cs_autocontainer struct cs_container *c = cs_container_new(e, id);
	c->created = cs_now_ns();
	if (cs_mounts_resolve(cfg, &lookup, &req->config, req->host_config, api, &c->mounts, &c->n_mounts, err) < 0)
		return -1;
	if (pin_image_mounts(c, err) < 0)
		return -1;
	c->config = cs_xcalloc(1, sizeof(*c->config));
	*c->config = req->config; /* moved */
	req->config = (struct cs_config){0};
	c->host = TAKE_PTR(req->host_config);
	c->image_id = cs_xstrdup(img->id);
	c->image_ref = cs_xstrdup(c->config->image);
	c->os = cs_xstrdup(cs_empty(img->os) ? "linux" : img->os);
	c->tty = c->config->tty;
	c->nets = take_endpoints(req);
	cs_container_net_defaults(c);
	set_log_path(c);
	if (reserve_name(c, name, err) < 0)
		return -1;
	if (make_parts(c, img, err) < 0) {
		release_name(c);
		undo_create(c);
		return -1;
	}
	pthread_mutex_lock(&c->op_lock); /* who finds it may start or remove it: "create" comes first */
	pthread_rwlock_wrlock(&e->maps_lock);
	tables_add(e, cs_container_ref(c));
	pthread_rwlock_unlock(&e->maps_lock);
	cs_volumes_unpin(c);
	cs_container_event(c, "create", NULL);
	pthread_mutex_unlock(&c->op_lock);
	*ret_id = cs_xstrdup(id);
	if (ret_warnings)
		*ret_warnings = TAKE_PTR(warnings);
	return 0;
}

/* ---- rename ---- */

int cs_container_rename(struct cs_engine *e, const char *ref, const char *name, struct cs_err **err)
{
	cs_autocontainer struct cs_container *c = NULL;
	cs_autofree char *old = NULL;

	if (cs_container_get(e, ref, &c, err) < 0)
		return -1;
	if (name && name[0] == '/')
		name++;
	if (cs_empty(name))
		return cs_fail(err, CS_ERR_INVALID, 0, "Neither old nor new names may be empty");
	if (!cs_name_valid(name))
		return cs_fail(err, CS_ERR_INVALID, 0, "Error when allocating new name: Invalid container name (%s), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed",
			       name);
	CS_GUARD(&c->op_lock);
	pthread_rwlock_wrlock(&e->maps_lock);
	struct cs_container *other = find_name(e, name);
	int r = 0;
	if (other == c)
		r = cs_fail(err, CS_ERR_INVALID, 0, "Renaming a container with the same name as its current name");
	else if (other) {
		(void)name_taken(name, other->id, err);
		r = cs_wrap(err, "Error when allocating new name");
	} else if (c->removing)
		r = cs_fail(err, CS_ERR_CONFLICT, 0, "container %s is being removed", c->id);
	else {
		HASH_DELETE(hh_name, e->by_name, c);
		pthread_mutex_lock(&c->lock);
		old = c->name;
		c->name = cs_xstrdup(name);
		pthread_mutex_unlock(&c->lock);
		HASH_ADD_KEYPTR(hh_name, e->by_name, c->name, strlen(c->name), c);
	}
	pthread_rwlock_unlock(&e->maps_lock);
	if (r < 0)
		return r;
	if (cs_store_container_rename(e->store, c->id, name, err) < 0) {
		pthread_rwlock_wrlock(&e->maps_lock);
		HASH_DELETE(hh_name, e->by_name, c);
		pthread_mutex_lock(&c->lock);
		free(c->name);
		c->name = TAKE_PTR(old);
		pthread_mutex_unlock(&c->lock);
		HASH_ADD_KEYPTR(hh_name, e->by_name, c->name, strlen(c->name), c);
		pthread_rwlock_unlock(&e->maps_lock);
		return -1;
	}
	cs_container_net_renamed(c);
	cs_autofree char *slashed = cs_xasprintf("/%s", old);
	cs_container_event(c, "rename", "oldName", slashed, NULL);
	return 0;
}

/* ---- removal ---- */

/* After the files. On a full disk their room has to be there first: it is once they are deleted and the container's mounts have ended, which nobody announces. */
static int delete_row(struct cs_container *c, struct cs_err **err)
{
	int64_t deadline = cs_monotonic_ns() + ROOM_NS;

	for (;;) {
		struct cs_err *inner = NULL;
		if (cs_store_container_delete(c->e->store, c->id, &inner) == 0)
			return 0;
		if (cs_err_code(inner) != CS_ERR_NO_SPACE || cs_monotonic_ns() > deadline)
			return cs_err_move(err, inner);
		cs_err_free(inner);
		cs_discard_wait(c->e);
		(void)poll(NULL, 0, 20);
	}
}

int cs_container_destroy(struct cs_container *c, bool volumes, struct cs_err **err)
{
	struct cs_engine *e = c->e;

	cs_execs_container_stopped(c);
	cs_health_stop(c);
	cs_files_settle(c);
	/* Without volumes only directories follow, and the next start sweeps those that have no row; with volumes the row stays to the end. */
	bool row_first = c->n_mounts == 0;
	if (row_first) {
		struct cs_err *inner = NULL;
		if (cs_store_container_delete(e->store, c->id, &inner) < 0 && cs_err_code(inner) != CS_ERR_NO_SPACE)
			return cs_err_move(err, inner);
		row_first = !inner; /* a full disk has no room for that, either: the files make some */
		cs_err_free(inner);
	}
	if (cs_snapshot_remove(e, c->id, err) < 0)
		return cs_wrap(err, "remove the file system of container %s", c->id);
	if (cs_discard_dir(e, c->dir, err) < 0)
		return -1;
	if (volumes)
		cs_volumes_release(e, c->mounts, c->n_mounts, c->id, false);
	if (!row_first && delete_row(c, err) < 0)
		return -1;
	pthread_rwlock_wrlock(&e->maps_lock);
	HASH_DEL(e->by_id, c);
	HASH_DELETE(hh_name, e->by_name, c);
	c->visible = false;
	pthread_rwlock_unlock(&e->maps_lock);
	cs_seccomp_forget(c->host->security_opt);
	cs_container_event(c, "destroy", NULL);
	pthread_mutex_lock(&c->lock);
	c->gone = true;
	cs_waiters_removed(c);
	struct cs_pending *left = cs_pending_take(c);
	pthread_cond_broadcast(&c->changed);
	pthread_mutex_unlock(&c->lock);
	cs_pending_close(left);
	cs_container_unref(c); /* the table's */
	return 0;
}

/* Sets c->removing; the row says so before anything is deleted. */
static int begin_removal(struct cs_container *c, bool force, struct cs_err **err)
{
	CS_GUARD(&c->lock);
	if (!force) /* what comes of it decides */
		cs_container_await_start(c);
	if (c->removing)
		return cs_fail(err, CS_ERR_CONFLICT, 0, "removal of container %s is already in progress", c->id);
	if (!force && (c->status == CS_ST_RUNNING || c->status == CS_ST_RESTARTING)) {
		if (c->paused)
			return cs_fail(err, CS_ERR_CONFLICT, 0, "cannot remove container \"/%s\": container is paused and must be unpaused first", c->name);
		return cs_fail(err, CS_ERR_CONFLICT, 0,
			       "cannot remove container \"/%s\": container is %s: stop the container before removing or force remove", c->name,
			       cs_status_name(cs_container_status(c)));
	}
	c->removing = true;
	return 0;
}

static void end_removal(struct cs_container *c, bool dead)
{
	pthread_mutex_lock(&c->lock);
	c->removing = false;
	c->dead = dead;
	pthread_mutex_unlock(&c->lock);
	cs_container_save(c);
}

int cs_container_remove_obj(struct cs_container *c, bool force, bool volumes, struct cs_err **err)
{
	if (begin_removal(c, force, err) < 0)
		return -1;
	pthread_mutex_lock(&c->lock);
	bool alive = cs_container_is_alive(c);
	pthread_mutex_unlock(&c->lock);
	if (force && alive) {
		struct cs_err *inner = NULL;
		if (cs_container_stop_obj(c, "SIGKILL", 0, true, &inner) < 0 && cs_err_code(inner) != CS_ERR_NOT_MODIFIED) {
			end_removal(c, false);
			(void)cs_err_move(err, inner);
			return cs_wrap(err, "cannot remove container \"/%s\": could not kill", c->name);
		}
		cs_err_free(inner);
	}
	CS_GUARD(&c->op_lock);
	cs_restart_cancel(c);
	if (c->n_mounts && !volumes)
		cs_volumes_disown(c);
	if (c->n_mounts)
		cs_container_save(c); /* "removing" */
	cs_container_release_unsaved(c);
	if (cs_container_destroy(c, volumes, err) == 0)
		return 0;
	end_removal(c, true);
	return -1;
}

int cs_container_remove(struct cs_engine *e, const char *ref, bool force, bool volumes, bool link, struct cs_err **err)
{
	cs_autocontainer struct cs_container *c = NULL;

	if (cs_container_get(e, ref, &c, err) < 0)
		return -1;
	if (link) {
		const char *alias = NULL;
		cs_autocontainer struct cs_container *parent = link_parent(e, ref, &alias);
		return parent ? cs_links_remove(parent, alias, err) : cs_fail(err, CS_ERR_CONFLICT, 0, "Conflict, cannot remove the default link name of the container");
	}
	return cs_container_remove_obj(c, force, volumes, err);
}

/* ---- prune ---- */

static bool prunable(struct cs_container *c, const struct cs_filters *f, int64_t until)
{
	CS_GUARD(&c->lock);
	if (cs_container_is_alive(c) || c->removing)
		return false;
	if (until && c->created > until)
		return false;
	if (!cs_filter_labels(f, "label", c->config->labels))
		return false;
	return !cs_filter_values(f, "label!") || !cs_filter_labels(f, "label!", c->config->labels);
}

int cs_container_prune(struct cs_engine *e, const char *filters, int api, struct cs_prune_watch *watch, struct cs_str *out, struct cs_err **err)
{
	static const char *const allowed[] = {"label", "label!", "until", NULL};
	cs_autofilters struct cs_filters f = {0};
	int64_t until = 0, freed = 0;
	bool first = true;

	if (cs_filters_parse(filters, allowed, &f, err) < 0 || cs_filter_until(&f, &until, err) < 0)
		return -1;
	struct cs_container **all = cs_containers_all(e, NULL);
	cs_str_puts(out, "{\"ContainersDeleted\":");
	for (struct cs_container **p = all; watch && *p; p++)
		watch->total += prunable(*p, &f, until);
	for (struct cs_container **p = all; *p; p++) {
		int64_t rw = 0, root = 0;
		if (!prunable(*p, &f, until))
			continue;
		if (!cs_prune_begin(watch, (*p)->id))
			break;
		if (cs_snapshot_usage(e, (*p)->id, &rw, &root, NULL) < 0)
			rw = 0;
		bool gone = cs_container_remove_obj(*p, false, false, NULL) == 0;
		cs_prune_end(watch, (*p)->id, gone);
		if (!gone)
			continue;
		freed += rw;
		cs_str_putc(out, first ? '[' : ',');
		cs_json_put_string(out, (*p)->id);
		first = false;
	}
	cs_containers_free(all);
	cs_str_puts(out, first ? "null,\"SpaceReclaimed\":" : "],\"SpaceReclaimed\":");
	cs_str_put_i64(out, freed);
	cs_str_putc(out, '}');
	cs_prune_event(e, "container", freed);
	return 0;
}
