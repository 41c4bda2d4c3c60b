/* SPDX-License-Identifier: Apache-2.0
 *
 * Life of the engine: open (with reconciliation, reconcile.c), close, reload, dump. */
#include "engine/container.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/id.h"
#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "base/path.h"
#include "base/time.h"
#include "engine/events.h"
#include "engine/image.h"
#include "engine/loop.h"
#include "engine/network.h"
#include "engine/progress.h"
#include "engine/reconcile.h"
#include "engine/store.h"
#include "engine/trim.h"
#include "engine/volumes_internal.h"

const struct cs_engine_config *cs_engine_config(struct cs_engine *e) { return atomic_load(&e->cfg); }

static int make_dir(const char *root, const char *name, unsigned mode, struct cs_err **err)
{
	cs_autofree char *path = name ? cs_path_join(root, name) : cs_xstrdup(root);
	int r = cs_mkdir_p(AT_FDCWD, path, mode);
	return r < 0 ? cs_fail(err, CS_ERR_INTERNAL, -r, "create %s", path) : 0;
}

static int make_dirs(const struct cs_engine_config *cfg, struct cs_err **err)
{
	static const char *const below[] = {"containers", "snapshots", NULL};
	cs_autofree char *tmp = cs_path_join(cfg->data_root, "tmp");

	if (make_dir(cfg->data_root, NULL, 0710, err) < 0 || make_dir(cfg->exec_root, NULL, 0711, err) < 0)
		return -1;
	for (const char *const *p = below; *p; p++)
		if (make_dir(cfg->data_root, *p, 0710, err) < 0)
			return -1;
	int r = cs_remove_tree_at(AT_FDCWD, tmp);
	if (r < 0)
		cs_warn("engine", "cannot empty %s: %s", tmp, cs_errno_text(-r));
	return make_dir(cfg->data_root, "tmp", 0700, err);
}

static int open_service(struct cs_engine *e, const struct cs_engine_config *cfg, struct cs_err **err)
{
	cs_autostr struct cs_str doc = CS_STR_INIT(1 << 16);
	char *result = NULL;

	cs_str_putc(&doc, '{');
	cs_json_put_kstr(&doc, "RuntimeDirectory", cfg->exec_root);
	cs_json_put_kstr(&doc, "Worker", cfg->worker_path);
	cs_json_put_kstr(&doc, "CgroupParent", cs_empty(cfg->cgroup_parent) ? "/caisson" : cfg->cgroup_parent);
	cs_str_putc(&doc, '}');
	HRESULT r = HcsInitializeService(doc.buf, &result);
	if (r != HCS_S_OK) {
		cs_autojson json_t *j = result ? cs_json_parse(result, strlen(result), NULL) : NULL;
		const char *msg = json_string_value(json_object_get(j, "ErrorMessage"));
		(void)cs_fail(err, CS_ERR_INTERNAL, 0, "open the host compute service: %s (0x%08x)", msg ? msg : "no details", (unsigned)r);
		HcsFree(result);
		return -1;
	}
	e->hcs_info = cs_xstrdup(result);
	HcsFree(result);
	return 0;
}

static int load_id(struct cs_engine *e, struct cs_err **err)
{
	uint8_t b[16];

	if (cs_store_get(e->store, "engine.id", &e->id, err) < 0)
		return -1;
	if (e->id)
		return 0;
	cs_random_bytes(b, sizeof(b));
	b[6] = (b[6] & 0x0f) | 0x40; /* a random UUID, as dockerd has */
	b[8] = (b[8] & 0x3f) | 0x80;
	e->id = cs_xasprintf("%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7],
			     b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
	return cs_store_set(e->store, "engine.id", e->id, err);
}

static int open_parts(struct cs_engine *e, const struct cs_engine_config *cfg, struct cs_err **err)
{
	cs_autofree char *db = cs_path_join(cfg->data_root, "caisson.db");

	if (make_dirs(cfg, err) < 0 || cs_store_open(db, &e->store, err) < 0 || load_id(e, err) < 0)
		return -1;
	e->bus = cs_bus_new();
	if (cs_loop_new(&e->loop, err) < 0 || cs_images_open(e, err) < 0 || cs_snapshot_check_host(e, err) < 0 ||
	    cs_volumes_open(e, err) < 0 || open_service(e, cfg, err) < 0)
		return -1;
	return cs_reconcile(e, err);
}

int cs_engine_open(const struct cs_engine_config *cfg, struct cs_engine **ret, struct cs_err **err)
{
	struct cs_engine *e = cs_xcalloc(1, sizeof(*e));

	atomic_store(&e->cfg, cfg);
	(void)pthread_rwlock_init(&e->maps_lock, NULL);
	e->started_at = cs_now_ns();
	e->networks = cs_xcalloc(1, sizeof(*e->networks));
	(void)pthread_rwlock_init(&e->networks->lock, NULL);
	(void)pthread_mutex_init(&e->networks->change, NULL);
	if (open_parts(e, cfg, err) < 0)
		return -1; /* the daemon ends now; nothing half-built is worth taking apart */
	cs_trim_start(e->loop);
	*ret = e;
	return 0;
}

/* ---- close ---- */

struct stopping {
	struct cs_container *c;
	atomic_int *left;
};

static void stop_job(void *ctx)
{
	struct stopping *s = ctx;
	cs_autoerr struct cs_err *err = NULL;

	if (cs_container_stop_obj(s->c, NULL, CS_STOP_DEFAULT, false, &err) < 0 && cs_err_code(err) != CS_ERR_NOT_MODIFIED) {
		cs_autofree char *text = cs_err_text(err);
		cs_logk(CS_LOG_WARN, "engine", "container", s->c->id, "shutdown: %s", text);
	}
	cs_container_unref(s->c);
	atomic_fetch_sub(s->left, 1);
	free(s);
}

static void stop_all(struct cs_engine *e, int64_t seconds)
{
	static atomic_int left; /* outlives a job that is late */
	size_t n = 0;
	struct cs_container **all = cs_containers_all(e, &n);
	int64_t until = cs_monotonic_ns() + seconds * CS_NS_PER_SEC;

	atomic_store(&left, (int)n);
	for (size_t i = 0; i < n; i++) {
		struct stopping *s = cs_xcalloc(1, sizeof(*s));
		s->c = all[i]; /* its reference moves into the job */
		s->left = &left;
		cs_job(e->loop, stop_job, s);
	}
	free(all);
	while (atomic_load(&left) > 0 && (seconds < 0 || cs_monotonic_ns() < until))
		(void)nanosleep(&(struct timespec){0, 5 * CS_NS_PER_MS}, NULL);
	if (atomic_load(&left) > 0)
		cs_warn("engine", "shutdown: %d containers still run; they are found again at the next start", atomic_load(&left));
}

static void forget_probes(struct cs_engine *e)
{
	size_t n = 0;
	struct cs_container **all = cs_containers_all(e, &n);

	for (size_t i = 0; i < n; i++) {
		cs_health_forget(all[i]);
		cs_container_unref(all[i]);
	}
	free(all);
}

void cs_engine_close(struct cs_engine *e, bool busy)
{
	if (!e)
		return;
	const struct cs_engine_config *cfg = cs_engine_config(e);
	if (!cfg->live_restore)
		stop_all(e, cfg->shutdown_timeout ? cfg->shutdown_timeout : 15);
	atomic_store(&e->closing, true);
	cs_bus_close(e->bus); /* the struct stays: execs and containers that end now still tell their events */
	cs_trim_stop();
	forget_probes(e);
	cs_loop_free(e->loop, 3000);
	HcsShutdownService();
	HcnShutdownService();
	unsigned left = cs_progress_stop(5000);
	if (left)
		cs_warn("engine", "shutdown: %u pulls, pushes or imports still run", left);
	if (left || busy)
		return; /* they use what would be taken apart; the process ends */
	cs_images_close(e);
	cs_store_close(e->store);
	/* containers and tables stay: API threads may still hold references while the process ends */
}

static void put_registries(struct cs_strmap *m, const struct cs_engine_config *cfg)
{
	struct {
		const char *key;
		char **list;
	} lists[] = {{"registry-mirrors", cfg->registry_mirrors}, {"insecure-registries", cfg->insecure_registries}};
	struct {
		const char *key;
		int64_t n;
	} numbers[] = {{"max-concurrent-downloads", cfg->max_concurrent_downloads}, {"max-concurrent-uploads", cfg->max_concurrent_uploads},
		       {"max-download-attempts", cfg->max_download_attempts}};

	for (size_t i = 0; i < CS_ARRAY_SIZE(lists); i++) {
		cs_autostr struct cs_str s = CS_STR_INIT(1 << 16);
		char *none[] = {NULL};
		cs_json_put_strv(&s, lists[i].list ? lists[i].list : none);
		cs_strmap_set(m, lists[i].key, s.buf ? s.buf : "[]");
	}
	for (size_t i = 0; i < CS_ARRAY_SIZE(numbers); i++) {
		cs_autofree char *text = cs_xasprintf("%lld", (long long)numbers[i].n);
		cs_strmap_set(m, numbers[i].key, text);
	}
}

void cs_engine_reload(struct cs_engine *e, const struct cs_engine_config *cfg)
{
	struct cs_strmap *m = cs_strmap_new();

	atomic_store(&e->cfg, cfg);
	cs_strmap_set(m, "name", "caisson");
	cs_strmap_set(m, "debug", cfg->debug ? "true" : "false");
	cs_strmap_set(m, "live-restore", cfg->live_restore ? "true" : "false");
	cs_autofree char *labels = cfg->labels ? cs_strv_join(cfg->labels, ",") : NULL;
	cs_strmap_set(m, "labels", labels ? labels : "");
	put_registries(m, cfg);
	cs_event(e, "daemon", "reload", e->id, m);
}

void cs_engine_dump(struct cs_engine *e, struct cs_str *out)
{
	size_t timers = 0, threads = 0, queued = 0, n = 0;
	struct cs_container **all = cs_containers_all(e, &n);

	cs_loop_counts(e->loop, &timers, &threads, &queued);
	cs_str_putf(out, "engine: %zu containers, %zu execs, %zu subscribers, %zu timers, %zu job threads, %zu jobs waiting\n", n, cs_execs_count(e),
		    cs_bus_subscribers(e->bus), timers, threads, queued);
	for (struct cs_container **p = all; *p; p++) {
		struct cs_container *c = *p;
		bool busy = pthread_mutex_trylock(&c->op_lock) != 0;
		if (!busy)
			pthread_mutex_unlock(&c->op_lock);
		CS_GUARD(&c->lock);
		cs_autostrv char **execs = NULL;
		cs_execs_ids(c, &execs);
		cs_str_putf(out, "container %s name=%s status=%s pid=%d exit=%d run=%u refs=%d execs=%zu waiters=%s pending=%s health=%s busy=%s%s%s\n", c->id,
			    c->name, cs_status_name(cs_container_status(c)), c->pid, c->exit_code, c->run, atomic_load(&c->refs), cs_strv_len(execs),
			    c->waiters ? "yes" : "no", c->pending ? "yes" : "no", cs_health_status(c), busy ? "yes" : "no", c->stopping ? " stopping" : "",
			    c->removing ? " removing" : "");
	}
	cs_containers_free(all);
}
