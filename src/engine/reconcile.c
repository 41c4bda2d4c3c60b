/* SPDX-License-Identifier: Apache-2.0
 *
 * What an earlier engine left: rows x compute systems x directories. Every combination that a SIGKILL can leave has a line here. */
#include "engine/reconcile.h"

#include <dirent.h>
#include <fcntl.h>

#include "base/id.h"
#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "base/path.h"
#include "base/time.h"
#include "engine/container.h"
#include "engine/image.h"
#include "engine/loop.h"
#include "engine/network.h"
#include "engine/restart.h"
#include "engine/store.h"

struct loading {
	struct cs_engine *e;
	size_t unreadable; /* nothing is taken for an orphan while there are such rows */
};

/* ---- rows ---- */

static int load_mounts(struct cs_container *c, const char *text, struct cs_err **err)
{
	cs_autojson json_t *a = cs_json_parse(text, strlen(text), err);
	json_t *v;
	size_t i;

	if (!a)
		return -1;
	c->mounts = cs_xcalloc(json_array_size(a) + 1, sizeof(*c->mounts));
	json_array_foreach(a, i, v) {
		if (cs_json_decode(&cs_mount_point_store_type, v, &c->mounts[i], "Mounts", err) < 0)
			return -1;
		c->n_mounts = i + 1;
	}
	return 0;
}

static void load_state(struct cs_container *c, const struct cs_store_state *st)
{
	c->status = CS_ST_EXITED;
	if (cs_streq(st->status, "created"))
		c->status = CS_ST_CREATED;
	else if (cs_streq(st->status, "running") || cs_streq(st->status, "paused"))
		c->status = CS_ST_RUNNING;
	else if (cs_streq(st->status, "restarting"))
		c->status = CS_ST_RESTARTING;
	c->paused = cs_streq(st->status, "paused");
	c->removing = cs_streq(st->status, "removing");
	c->dead = cs_streq(st->status, "dead");
	c->pid = (int)st->pid;
	c->exit_code = (int)st->exit_code;
	c->oom = st->oom;
	c->error = cs_xstrdup(st->error);
	c->started_at = st->started_at;
	c->finished_at = st->finished_at;
	c->restart_count = (int)st->restart_count;
	c->manually_stopped = st->manually_stopped;
	c->ever_started = st->ever_started;
}

/* Endpoints of a run are of use only while it is going on. */
static int load_networks(struct cs_container *c, const char *text, struct cs_err **err)
{
	struct cs_container_networks *n = cs_empty(text) ? NULL : cs_xcalloc(1, sizeof(*n));

	if (n && cs_json_decode_text(&cs_container_networks_type, text, n, err) < 0) {
		cs_container_networks_free(n);
		return -1;
	}
	c->nets = n;
	cs_container_net_defaults(c);
	return 0;
}

static int load_row(const struct cs_store_container *row, void *ctx)
{
	struct loading *l = ctx;
	cs_autoerr struct cs_err *err = NULL;
	struct cs_container *c = cs_container_new(l->e, row->id);

	c->name = cs_xstrdup(row->name);
	c->created = row->created;
	c->image_id = cs_xstrdup(row->image_id);
	c->image_ref = cs_xstrdup(row->image_ref);
	c->os = cs_xstrdup(row->os);
	c->log_driver = cs_xstrdup(row->log_driver);
	c->config = cs_xcalloc(1, sizeof(*c->config));
	c->host = cs_xcalloc(1, sizeof(*c->host));
	if (cs_json_decode_text(&cs_config_type, row->config, c->config, &err) < 0 ||
	    cs_json_decode_text(&cs_host_config_type, row->host, c->host, &err) < 0 || load_mounts(c, row->mounts, &err) < 0 ||
	    load_networks(c, row->networks, &err) < 0) {
		cs_autofree char *text = cs_err_text(err);
		cs_logk(CS_LOG_ERROR, "engine", "container", row->id, "its row cannot be read and is left alone: %s", text);
		cs_container_unref(c);
		l->unreadable++;
		return 0;
	}
	c->tty = c->config->tty;
	if (cs_streq(c->log_driver, "json-file"))
		c->log_path = cs_xasprintf("%s/%s-json.log", c->dir, c->id);
	else if (cs_streq(c->log_driver, "local"))
		c->log_path = cs_xasprintf("%s/local-logs/container.log", c->dir);
	load_state(c, &row->st);
	cs_container_insert_row_loaded(c);
	return 0;
}

/* ---- systems ---- */

/* Everything in the runtime directory is ours, also what died before it had a readable document, and so has no owner. */
static json_t *enumerate(struct cs_err **err)
{
	HCS_OPERATION op = HcsCreateOperation(NULL, NULL);
	char *doc = NULL;

	if (cs_hcs_finish(op, op ? HcsEnumerateComputeSystems(NULL, op) : HCS_E_OUTOFMEMORY, CS_HCS_TIMEOUT_MS, &doc, err) < 0)
		return NULL;
	json_t *j = doc ? cs_json_parse(doc, strlen(doc), err) : json_array();
	HcsFree(doc);
	return j;
}

static json_t *system_of(json_t *systems, const char *id)
{
	json_t *v;
	size_t i;

	json_array_foreach(systems, i, v)
		if (cs_streq(json_string_value(json_object_get(v, "Id")), id))
			return v;
	return NULL;
}

static void kill_system(const char *id, const char *why)
{
	HCS_SYSTEM h = NULL;

	if (HcsOpenComputeSystem(id, 0, &h) != HCS_S_OK)
		return;
	cs_logk(CS_LOG_WARN, "engine", "container", id, "compute system terminated: %s", why);
	if (cs_hcs_terminate(h, NULL) < 0)
		cs_logk(CS_LOG_DEBUG, "engine", "container", id, "nothing to terminate: it has ended");
	(void)HcsWaitForComputeSystemExit(h, 10000, NULL);
	HcsCloseComputeSystem(h); /* removes its directory */
}

static void adopt_running(struct cs_container *c, json_t *sys, HCS_SYSTEM h)
{
	struct cs_system *s = cs_system_adopt(c, h);
	int64_t at = json_integer_value(json_object_get(sys, "StartedAt"));
	bool known = !cs_streq(json_string_value(json_object_get(sys, "State")), "Unknown");

	pthread_mutex_lock(&c->lock);
	c->system = s;
	c->status = CS_ST_RUNNING;
	if (known)
		c->paused = cs_streq(json_string_value(json_object_get(sys, "State")), "Paused");
	c->pid = (int)json_integer_value(json_object_get(sys, "ProcessId"));
	if (at > 0)
		c->started_at = at;
	c->ever_started = true;
	pthread_mutex_unlock(&c->lock);
	cs_volumes_adopt(c);
	cs_container_net_adopt(c);
	cs_container_save(c);
	if (known)
		cs_execs_adopt(c, h);
	cs_health_start(c, true);
	cs_logk(known ? CS_LOG_INFO : CS_LOG_WARN, "engine", "container", c->id, known ? "found running, pid %d" : "found with a worker that does not answer, pid %d", c->pid);
}

static void exited_while_away(struct cs_container *c, json_t *sys, HCS_SYSTEM h)
{
	struct cs_exit x;
	cs_autofree char *doc = sys ? json_dumps(json_object_get(sys, "Exit"), JSON_COMPACT) : NULL;

	cs_exit_parse(doc, &x);
	x.while_away = true;
	if (!sys) {
		x.error = "the container's worker was gone when the engine started: the exit status is unknown";
		x.exited_at = cs_now_ns();
	}
	pthread_mutex_lock(&c->lock);
	c->status = CS_ST_RUNNING;
	if (x.started_at > 0)
		c->started_at = x.started_at;
	c->ever_started = true;
	c->system = h ? cs_system_adopt(c, h) : NULL;
	c->run++; /* the adopted handle's own report of the exit is not needed */
	pthread_mutex_unlock(&c->lock);
	cs_logk(CS_LOG_INFO, "engine", "container", c->id, "exited with %d while the engine was away", x.code);
	cs_container_exited(c, &x);
}

/* ---- policies at the start of the engine ---- */

static void apply_policy(struct cs_container *c)
{
	pthread_mutex_lock(&c->lock);
	struct cs_restart_in in = {.policy = c->host->restart_policy.name, .max_retries = c->host->restart_policy.maximum_retry_count,
				   .count = c->restart_count, .exit_code = c->exit_code, .manually_stopped = c->manually_stopped, .daemon_start = true};
	bool idle = c->status == CS_ST_EXITED && c->ever_started && !c->dead && !c->removing;
	bool due = c->status == CS_ST_RESTARTING && !c->restart_timer;
	bool remove = idle && c->host->auto_remove;
	bool restart = due || (idle && !remove && cs_restart_decide(&in).restart);
	if (restart)
		c->status = CS_ST_RESTARTING;
	pthread_mutex_unlock(&c->lock);
	if (remove)
		cs_container_autoremove(c, NULL);
	else if (restart)
		cs_restart_schedule(c, 0);
}

static void finish_removal(struct cs_container *c, bool has_system)
{
	cs_autoerr struct cs_err *err = NULL;

	if (has_system)
		kill_system(c->id, "its container was being removed");
	cs_logk(CS_LOG_INFO, "engine", "container", c->id, "finishing its interrupted removal");
	cs_volumes_release(c->e, c->mounts, c->n_mounts, c->id, true); /* a removal that leaves them has said so in their rows before */
	if (cs_container_destroy(c, c->host->auto_remove, &err) < 0) {
		cs_autofree char *text = cs_err_text(err);
		cs_logk(CS_LOG_ERROR, "engine", "container", c->id, "removal: %s", text);
		c->removing = false;
		c->dead = true;
		cs_container_save(c);
	}
}

static void settle(struct cs_container *c, json_t *systems)
{
	json_t *sys = system_of(systems, c->id);
	const char *state = json_string_value(json_object_get(sys, "State"));
	HCS_SYSTEM h = NULL;

	CS_GUARD(&c->op_lock);
	cs_health_load(c);
	if (c->removing)
		return finish_removal(c, sys != NULL);
	if (sys && HcsOpenComputeSystem(c->id, 0, &h) != HCS_S_OK)
		h = NULL, sys = NULL;
	/* a worker that is slow to answer, or stopped, is no reason to end its container */
	bool slow = cs_streq(state, "Unknown") && c->status == CS_ST_RUNNING && json_integer_value(json_object_get(sys, "ProcessId")) > 0;
	if (sys && (slow || cs_streq(state, "Running") || cs_streq(state, "Paused")))
		return adopt_running(c, sys, h);
	bool ended = sys && cs_streq(state, "Stopped") && json_is_object(json_object_get(sys, "Exit"));
	int64_t at = ended ? json_integer_value(json_object_get(json_object_get(sys, "Exit"), "ExitedAt")) : 0;
	/* its directory was made, or its worker born, but it was not started when the engine died */
	bool never = ended && c->status != CS_ST_RUNNING && json_integer_value(json_object_get(sys, "ProcessId")) <= 0 &&
		     cs_streq(json_string_value(json_object_get(json_object_get(sys, "Exit"), "ExitType")), "Unknown");
	if (ended && !never && (c->status == CS_ST_RUNNING || at > c->finished_at))
		return exited_while_away(c, sys, h);
	if (sys && !ended) {
		HcsCloseComputeSystem(h);
		kill_system(c->id, "it never started");
		h = NULL;
	}
	if (h)
		HcsCloseComputeSystem(h);
	if (c->status == CS_ST_RUNNING)
		exited_while_away(c, NULL, NULL);
	else /* not before: the engine may have died when the container ran, and its row did not say so yet */
		cs_container_net_forget(c);
}

static void clean_directories(struct cs_engine *e, const char *sub)
{
	cs_autofree char *path = cs_path_join(cs_engine_config(e)->data_root, sub);
	DIR *d = opendir(path);
	struct cs_container *c;

	for (struct dirent *de; d && (de = readdir(d));) {
		if (de->d_name[0] == '.' || strlen(de->d_name) != CS_ID_LEN || !cs_is_hex(de->d_name))
			continue;
		pthread_rwlock_rdlock(&e->maps_lock); /* automatic removals have begun */
		HASH_FIND_STR(e->by_id, de->d_name, c);
		pthread_rwlock_unlock(&e->maps_lock);
		if (c)
			continue;
		cs_autoerr struct cs_err *err = NULL;
		int r = cs_streq(sub, "snapshots") ? cs_snapshot_remove(e, de->d_name, &err) : cs_remove_tree_at(dirfd(d), de->d_name);
		cs_logk(CS_LOG_WARN, "engine", "container", de->d_name, r < 0 ? "cannot remove the orphan directory in %s" : "removed the orphan directory in %s", sub);
	}
	if (d)
		(void)closedir(d);
}

int cs_reconcile(struct cs_engine *e, struct cs_err **err)
{
	struct loading l = {.e = e};
	json_t *v;
	size_t i;

	if (cs_store_containers(e->store, load_row, &l, err) < 0)
		return -1;
	e->unreadable = l.unreadable;
	if (cs_networks_open(e, err) < 0)
		return -1;
	cs_autojson json_t *systems = enumerate(err);
	if (!systems || cs_execs_load(e, err) < 0)
		return -1;
	json_array_foreach(systems, i, v) {
		const char *id = json_string_value(json_object_get(v, "Id"));
		struct cs_container *c = NULL;
		if (id)
			HASH_FIND_STR(e->by_id, id, c);
		if (id && !c && !l.unreadable)
			kill_system(id, "no container belongs to it");
	}
	struct cs_container **all = cs_containers_all(e, NULL);
	for (struct cs_container **p = all; *p; p++) {
		settle(*p, systems);
		cs_container_release_held(*p);
	}
	cs_networks_settled(e);
	if (!l.unreadable) {
		clean_directories(e, "containers");
		clean_directories(e, "snapshots");
		cs_volumes_settle(e); /* else an unreadable container may use any of them */
	}
	for (struct cs_container **p = all; *p; p++)
		apply_policy(*p);
	cs_containers_free(all);
	return 0;
}
