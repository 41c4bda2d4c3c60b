/* SPDX-License-Identifier: Apache-2.0
 *
 * A container's start: its document, its system, and what is kept of a start that failed. op_lock serialises a container's kernel work. */
#include "engine/container.h"

#include "base/json.h"
#include "base/log.h"
#include "base/time.h"
#include "engine/events.h"
#include "engine/files.h"
#include "engine/image.h"
#include "engine/joins.h"
#include "engine/network.h"
#include "engine/restart.h"
#include "engine/spec.h"
#include "engine/validate.h"

#define START_TIMEOUT_MS 120000u
#define ATTACH_MS 500

void cs_container_await_start(struct cs_container *c)
{
	while (c->starting)
		(void)pthread_cond_wait(&c->changed, &c->lock);
}

static int may_start(struct cs_container *c, struct cs_err **err)
{
	CS_GUARD(&c->lock);
	if (c->removing || c->dead)
		return cs_fail(err, CS_ERR_CONFLICT, 0, "container is marked for removal and cannot be started");
	if (c->paused)
		return cs_fail(err, CS_ERR_CONFLICT, 0, "cannot start a paused container, try unpause instead");
	if (c->status == CS_ST_RUNNING)
		return cs_fail(err, CS_ERR_NOT_MODIFIED, 0, "container is already running");
	c->starting = true;
	return 0;
}

/* Images that are mounted, for as long as the document needs their paths. */
struct image_mounts {
	struct cs_image_info **v;
	char *const **layers;
	size_t n;
};

static void image_mounts_done(struct image_mounts *x)
{
	for (size_t i = 0; i < x->n; i++)
		cs_image_info_free(x->v[i]);
	free(x->v);
	free(x->layers);
}

static int image_mounts_get(struct cs_container *c, struct image_mounts *x, struct cs_err **err)
{
	for (size_t i = 0; i < c->n_mounts; i++) {
		if (!cs_streq(c->mounts[i].type, "image"))
			continue;
		if (!x->v) {
			x->n = c->n_mounts;
			x->v = cs_xcalloc(x->n, sizeof(*x->v));
			x->layers = cs_xcalloc(x->n, sizeof(*x->layers));
		}
		if (cs_image_get(c->e, c->mounts[i].source, NULL, &x->v[i], err) < 0) /* removed by force */
			return cs_wrap(err, "mount image %s at %s", c->mounts[i].name, c->mounts[i].destination);
		x->layers[i] = x->v[i]->layer_dirs;
	}
	return 0;
}

static int build_document(struct cs_container *c, const struct cs_joins *joins, struct cs_network_run *net, struct cs_profile_entry **use,
			  struct cs_str *doc, struct cs_err **err)
{
	const struct cs_engine_config *cfg = cs_engine_config(c->e);
	cs_autostrv char **dirs = NULL, **ids = NULL;
	cs_autofree char *snap = NULL, *marks = NULL;
	struct cs_config config = *c->config; /* borrowed */
	cs_autocontainer struct cs_container *owner = cs_net_names(c, &config);
	struct cs_spec_input in = {.cfg = cfg, .id = c->id, .name = c->name, .image_id = c->image_id, .image_name = c->config->image,
				   .created = c->created, .config = &config, .host = c->host, .mounts = c->mounts, .n_mounts = c->n_mounts,
				   .container_dir = c->dir, .log_path = c->log_path, .use = use};

	/* the snapshot's own layers: the image may have been removed by force, its containers live on */
	if (cs_snapshot_layers(c->e, c->id, &dirs, &ids, err) < 0 || cs_volumes_start(c, err) < 0)
		return -1;
	cs_auto(image_mounts_done) struct image_mounts images = {0};
	if (image_mounts_get(c, &images, err) < 0)
		return -1;
	in.mount_layers = images.layers;
	cs_snapshot_dir(c->e, c->id, &snap);
	in.marks_dir = marks = cs_snapshot_marks(c->e, cs_strv_len(dirs));
	if (!joins->ns[CS_JOIN_NET].path && cs_container_net_start(c, net, err) < 0)
		return -1;
	in.net_ns = *net->ns ? net->ns : NULL;
	in.net_path = joins->ns[CS_JOIN_NET].path ? joins->ns[CS_JOIN_NET].path : net->path;
	in.pid_path = joins->ns[CS_JOIN_PID].path;
	in.ipc_path = joins->ns[CS_JOIN_IPC].path;
	in.ipc_mounts = joins->ns[CS_JOIN_MNT].path;
	in.link_env = net->link_env;
	in.layer_ids = ids;
	in.layer_dirs = dirs;
	in.snapshot_dir = snap;
	in.network_dir = owner ? owner->dir : NULL;
	return cs_spec_build(&in, doc, err);
}

#define FREE_MS 5000

/* The id of the run before is free once nobody holds that system any more: a client that was just attached, a query. They are quick. */
static int create_system(struct cs_container *c, const char *doc, HCS_SYSTEM *ret, struct cs_err **err)
{
	int64_t until = cs_monotonic_ns() + FREE_MS * CS_NS_PER_MS;

	for (;;) {
		struct cs_err *inner = NULL;
		HCS_OPERATION op = HcsCreateOperation(NULL, NULL);
		if (cs_hcs_finish(op, op ? HcsCreateComputeSystem(c->id, doc, op, NULL, ret) : HCS_E_OUTOFMEMORY, CS_HCS_TIMEOUT_MS, NULL, &inner) == 0)
			return 0;
		if (*ret)
			HcsCloseComputeSystem(TAKE_PTR(*ret));
		if (cs_err_code(inner) != CS_ERR_CONFLICT || cs_monotonic_ns() > until)
			return cs_err_move(err, inner);
		cs_err_free(inner);
		(void)nanosleep(&(struct timespec){0, 2 * CS_NS_PER_MS}, NULL);
	}
}

static int launch(struct cs_container *c, const char *doc, struct cs_system **ret, int *pid, int64_t *started_at, struct cs_err **err)
{
	HCS_SYSTEM h = NULL;
	char *result = NULL;

	if (create_system(c, doc, &h, err) < 0)
		return -1;
	c->run++;
	struct cs_system *s = cs_system_adopt(c, h);
	HCS_OPERATION op = HcsCreateOperation(NULL, NULL);
	if (op) {
		pthread_mutex_lock(&c->lock);
		struct cs_pending *early = cs_pending_take(c);
		cs_waiters_watch_pending(c, op);
		pthread_mutex_unlock(&c->lock);
		cs_pending_add_to_start(early, c, op);
	}
	if (cs_hcs_finish(op, op ? HcsStartComputeSystem(h, op, NULL) : HCS_E_OUTOFMEMORY, START_TIMEOUT_MS, &result, err) < 0) {
		if (cs_hcs_terminate(h, NULL) < 0)
			cs_logk(CS_LOG_DEBUG, "engine", "container", c->id, "nothing to terminate after a failed start");
		c->run++; /* late events of this attempt mean nothing */
		cs_system_put(s);
		return -1;
	}
	cs_autojson json_t *j = result ? cs_json_parse(result, strlen(result), NULL) : NULL;
	*pid = (int)json_integer_value(json_object_get(j, "ProcessId"));
	*started_at = json_integer_value(json_object_get(j, "StartedAt"));
	if (*started_at <= 0)
		*started_at = cs_now_ns();
	HcsFree(result);
	*ret = s;
	return 0;
}

/* A start that the policy wanted did not come about (disk full, a mount's source gone, …): the cause may pass, so it is as good a failure as any
 * other exit. dockerd gives up here. lock held. */
static struct cs_restart_out decide_again(struct cs_container *c, int exit_code)
{
	struct cs_restart_in in = {.policy = c->host->restart_policy.name, .max_retries = c->host->restart_policy.maximum_retry_count,
				   .count = c->restart_count, .exit_code = exit_code, .manually_stopped = c->manually_stopped || c->stopping,
				   .backoff_ns = c->backoff_ns};
	struct cs_restart_out out = cs_restart_decide(&in);

	if (c->removing || atomic_load(&c->e->closing))
		out.restart = false;
	if (out.restart) {
		c->backoff_ns = out.delay_ns;
		c->restart_count++;
	}
	return out;
}

/* What dockerd keeps of a failed start: exit code 126, 127 or 128 and the text. Returns -1. */
static int start_failed(struct cs_container *c, bool by_policy, struct cs_err *why, struct cs_err **err)
{
	enum cs_code code = cs_err_code(why);
	int exit_code = code == CS_ERR_EXEC_NOT_FOUND ? 127 : code == CS_ERR_EXEC_DENIED ? 126 : 128;

	struct cs_restart_out next = {0};
	cs_autofree char *text = cs_err_text(why);
	cs_container_net_stop(c);
	cs_volumes_stop(c);
	pthread_mutex_lock(&c->lock);
	c->starting = false;
	if (exit_code == 128 && c->exit_code) /* as dockerd: what the last run ended with stays, and the error says what came then */
		exit_code = c->exit_code;
	if (by_policy)
		next = decide_again(c, exit_code);
	c->status = next.restart ? CS_ST_RESTARTING : c->started_at == CS_TIME_ZERO ? CS_ST_CREATED : CS_ST_EXITED;
	c->exit_code = exit_code;
	free(c->error);
	c->error = TAKE_PTR(text);
	struct cs_pending *left = cs_pending_take(c);
	bool auto_remove = c->host->auto_remove;
	c->exits++;
	if (by_policy)
		cs_waiters_exit(c, exit_code);
	pthread_cond_broadcast(&c->changed);
	pthread_mutex_unlock(&c->lock);
	cs_pending_close(left);
	cs_container_save(c);
	if (next.restart)
		cs_restart_schedule(c, next.delay_ns);
	else if (auto_remove)
		cs_container_autoremove(c, NULL);
	return cs_err_move(err, why);
}

static void started(struct cs_container *c, struct cs_system *s, int pid, int64_t started_at, bool by_policy)
{
	pthread_mutex_lock(&c->lock);
	c->system = s;
	c->pid = pid;
	c->status = CS_ST_RUNNING;
	c->paused = c->oom = false;
	c->exit_code = 0;
	free(c->error);
	c->error = NULL;
	c->started_at = started_at;
	c->ever_started = true;
	c->starting = c->stopping = c->manually_stopped = c->unhealthy_stop = false;
	if (!by_policy) {
		c->restart_count = 0;
		c->backoff_ns = 0;
	}
	struct cs_pending *late = cs_pending_take(c);
	pthread_cond_broadcast(&c->changed);
	pthread_mutex_unlock(&c->lock);
	cs_pending_deliver(late, c, s);
	cs_waiters_deliver(c, s);
	cs_container_save(c);
	cs_health_start(c, false);
	cs_container_event(c, "start", NULL);
}

int cs_container_start_obj(struct cs_container *c, bool by_policy, struct cs_err **err)
{
	cs_autostr struct cs_str doc = CS_STR_INIT(CS_SPEC_MAX);
	cs_auto(cs_network_run_done) struct cs_network_run net = {0};
	cs_auto(cs_joins_done) struct cs_joins joins = CS_JOINS_NONE; /* open until the worker has them */
	cs_auto(cs_seccomp_unref) struct cs_profile_entry *profile = NULL;
	struct cs_err *inner = NULL;
	struct cs_system *s = NULL;
	int64_t started_at = 0;
	int pid = 0;

	CS_GUARD(&c->op_lock);
	if (by_policy) {
		CS_GUARD(&c->lock);
		c->restart_timer = 0;
		if (c->status != CS_ST_RESTARTING || c->removing || atomic_load(&c->e->closing))
			return 0; /* somebody stopped or removed it meanwhile */
	} else {
		cs_restart_cancel(c);
	}
	if (may_start(c, err) < 0)
		return -1;
	cs_files_settle(c);
	/* what every start needs is begun while we say what this one needs; not more than a hint */
	(void)HcsModifyServiceSettings("{\"PropertyType\":\"StartExpected\"}", NULL);
	if (cs_joins_open(c, &joins, &inner) < 0 || build_document(c, &joins, &net, &profile, &doc, &inner) < 0)
		return start_failed(c, by_policy, inner, err);
	if (doc.failed) {
		(void)cs_fail(&inner, CS_ERR_INTERNAL, 0, "the container's document is too large");
		return start_failed(c, by_policy, inner, err);
	}
	cs_container_release_unsaved(c);
	cs_container_settle(c, &c->attaching, ATTACH_MS); /* a client may start it the moment it sees its 101 */
	if (launch(c, doc.buf, &s, &pid, &started_at, &inner) < 0) {
		if (!cs_hcs_unknown_user(inner)) /* dockerd finds that one out before there is a task */
			(void)cs_wrap(&inner, "failed to create task for container");
		return start_failed(c, by_policy, inner, err);
	}
	started(c, s, pid, started_at, by_policy);
	return 0;
}

int cs_container_start(struct cs_engine *e, const char *ref, const char *detach_keys, struct cs_err **err)
{
	cs_autocontainer struct cs_container *c = NULL;
	uint8_t keys[CS_DETACH_KEYS_MAX];
	size_t n = 0;

	/* detach keys travel with each attach; here they are only checked */
	if (!cs_empty(detach_keys) && cs_detach_keys_parse(detach_keys, keys, &n, err) < 0)
		return -1;
	if (cs_container_get(e, ref, &c, err) < 0)
		return -1;
	return cs_container_start_obj(c, false, err);
}
