/* SPDX-License-Identifier: Apache-2.0
 *
 * The engine's workshop: struct cs_engine and struct cs_container as engine/ files see them (API layer: engine.h only).
 *
 * Locks, outermost first: c->op_lock (kernel work of one container; never taken by reads) < e->maps_lock (tables; short) <
 * c->lock (fields of one container; short) < leaf locks (store, bus, loop). Nobody holds maps_lock or c->lock across kernel or
 * disk work. `config`, `image_*`, `created`, `id`, `dir` and the log fields never change after creation and may be read without a
 * lock as long as one holds a reference; everything else needs c->lock. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <uthash.h>

#include "base/guard.h"
#include "computecore.h"
#include "engine/engine.h"

struct cs_store;
struct cs_bus;
struct cs_loop;
struct cs_system;
struct cs_images;
struct cs_volumes;
struct cs_networks;
struct HcnNamespace;
struct cs_waiter;
struct cs_told;
struct cs_pending;
struct cs_exec;
struct cs_health;

enum cs_status { CS_ST_CREATED, CS_ST_RUNNING, CS_ST_PAUSED, CS_ST_RESTARTING, CS_ST_REMOVING, CS_ST_EXITED, CS_ST_DEAD, CS_ST_MAX };
const char *cs_status_name(enum cs_status s); /* "created" … */

struct cs_container {
	char id[65];
	atomic_int refs;
	struct cs_engine *e;
	UT_hash_handle hh;      /* e->by_id, under maps_lock */
	UT_hash_handle hh_name; /* e->by_name, under maps_lock */
	pthread_mutex_t op_lock, lock;
	pthread_mutex_t save_lock; /* orders writes of the row; taken before lock */
	pthread_cond_t changed; /* with lock: state moved (waited for by stop) */

	/* constant after creation */
	int64_t created;
	char *image_id, *image_ref; /* "sha256:…" and what the user wrote */
	char *os;
	struct cs_config *config;
	char *dir;        /* <data-root>/containers/<id> */
	char *log_driver; /* "json-file", "local", "none" */
	char *log_path;   /* NULL for none */
	bool tty;

	/* under lock; name also under maps_lock (both to change it) */
	char *name; /* no leading slash */
	struct cs_host_config *host;
	struct cs_mount_point *mounts;
	size_t n_mounts;
	struct cs_container_networks *nets; /* changed under op_lock and lock */
	char *ports_on[2]; /* as nets: ids of the endpoints that have the published ports, of IPv4 and of IPv6: mostly one; NULL: none */
	bool ports_routed[2]; /* they are open at the container's own address of that family; the host has none */
	enum cs_status status; /* CREATED RUNNING RESTARTING EXITED only; what people see: cs_container_status() */
	bool paused, dead, removing, starting;
	bool gone;      /* its removal is over: whoever waits for something has waited long enough */
	bool visible; /* under maps_lock: the row is written, lookups may find it */
	int pid, exit_code;
	bool oom;
	char *error;
	int64_t started_at, finished_at; /* CS_TIME_ZERO before */
	int restart_count;
	bool manually_stopped; /* by stop/kill: restart policies leave it alone */
	bool ever_started;
	struct cs_system *system; /* NULL unless running; readers use cs_container_system() */
	atomic_bool save_failed;   /* the last time */
	struct cs_system *unsaved; /* ended, but its exit could not be written: the runtime directory still tells it */
	unsigned run; /* counts starts: late events of an earlier run are dropped */
	struct cs_waiter *waiters;
	/* counts that move with `changed`; see cs_container_settle */
	unsigned answering; /* waiters whose answer is being written, and whom the worker would tell in our place */
	unsigned attaching; /* clients that have, or are about to get, their 101 and are not in `pending` yet */
	unsigned signalling; /* signals on their way whose event has not been sent */
	struct cs_told *told; /* by the compute service, not handled yet, the oldest first */
	bool telling;         /* a job handles them */
	struct cs_pending *pending; /* sockets that came before the start */
	struct cs_exec *execs;
	struct cs_health *health; /* NULL without a check */
	uint64_t restart_timer; /* loop.h; 0 = none */
	int64_t backoff_ns;
	bool stopping;  /* a stop is under way: no restart */
	bool ending;    /* it has exited, which has not been announced yet */
	unsigned restarts; /* by users, between their stop and their start: an exit removes nothing */
	struct {
		unsigned stops, restarts; /* a restart is a stop, too */
		int64_t kill_at;          /* monotonic ns; 0: never */
		uint64_t kill_timer;
	} left; /* stops whose clients are gone: what the exit owes them (stop.c) */
	bool volumes_mounted; /* under op_lock: this run holds them */
	struct HcnNamespace *net_ns; /* under op_lock: this run's, when the host network service made or took it over */
	bool unhealthy_stop; /* killed by us for its health: policies treat it as a failure */
	unsigned holds; /* commits that paused it */
	struct cs_root *files_root; /* files.c: does not run, and is mounted for those who write files */
	unsigned files_writers;     /* who may be writing files, through it or through the running root; moves with `changed` */
	unsigned files_waiting;     /* who waits for them: they give up when their client is slow */
	unsigned exits; /* counts exits that are fully recorded and announced; moves with `changed` */
};

struct cs_engine {
	const struct cs_engine_config *_Atomic cfg;
	pthread_rwlock_t maps_lock;
	struct cs_container *by_id, *by_name;
	size_t unreadable; /* rows that could not be read at start, constant: what nobody seems to use may be their containers' */
	struct cs_exec *execs; /* uthash by id, under maps_lock */
	struct cs_store *store;
	struct cs_bus *bus;
	struct cs_loop *loop;
	struct cs_images *images; /* image.c's own */
	struct cs_volumes *volumes; /* volumes_table.c's own */
	struct cs_networks *networks; /* network.h */
	char *hcs_info;           /* result of HcsInitializeService (JSON), constant */
	char *id;                 /* daemon id (UUID), constant */
	int64_t started_at;
	atomic_bool closing;
};

/* Finds by full id, then exact name (leading slash allowed), then unique id prefix. Adds a reference.
 * NOT_FOUND "No such container: x"; INVALID for an ambiguous prefix, as dockerd says it. */
CS_MUST_CHECK int cs_container_get(struct cs_engine *e, const char *ref, struct cs_container **ret, struct cs_err **err);
struct cs_container *cs_container_ref(struct cs_container *c);
void cs_container_unref(struct cs_container *c); /* accepts NULL */
static inline void cs_autocontainer_done(struct cs_container **c) { cs_container_unref(*c); }
#define cs_autocontainer cs_auto(cs_autocontainer_done)
/* All containers, each with a reference, newest first; NULL-terminated; free with cs_containers_free. */
struct cs_container **cs_containers_all(struct cs_engine *e, size_t *n);
void cs_containers_free(struct cs_container **v);

/* c->lock is held by the caller. */
/* Runs, or is about to: running, paused, restarting, being started. */
bool cs_container_is_alive(const struct cs_container *c);
enum cs_status cs_container_status(const struct cs_container *c); /* what people see */

/* The compute system's handle, counted, so that nobody closes it under a reader. */
struct cs_system {
	HCS_SYSTEM h;
	atomic_int refs;
	struct cs_container *c; /* reference, for the callback */
	unsigned run;
};
struct cs_system *cs_container_system(struct cs_container *c); /* takes c->lock; NULL when not running */
void cs_system_put(struct cs_system *s);                       /* accepts NULL */
static inline void cs_autosystem_done(struct cs_system **s) { cs_system_put(*s); }
#define cs_autosystem cs_auto(cs_autosystem_done)

/* Synchronous requests at the compute service (hcs.c): a ResultError document becomes *err. Results: HcsFree. */
CS_MUST_CHECK int cs_hcs_properties(HCS_SYSTEM s, const char *query, char **ret, struct cs_err **err); /* query: property query or NULL */
#define CS_HCS_TIMEOUT_MS 60000u
/* Waits for the accepted operation and closes it. ret may be NULL. */
/* A failed launch, or exec, is about a user or group that the image does not know: NOT_FOUND there, INTERNAL from then on, as in dockerd (a 404 would be the container's). */
bool cs_hcs_unknown_user(struct cs_err *launch);
CS_MUST_CHECK int cs_hcs_finish(HCS_OPERATION op, HRESULT accepted, uint32_t timeout_ms, char **ret, struct cs_err **err);
CS_MUST_CHECK int cs_hcs_signal(HCS_SYSTEM s, int sig, struct cs_err **err);    /* init */
CS_MUST_CHECK int cs_hcs_terminate(HCS_SYSTEM s, struct cs_err **err);          /* SIGKILL to all */
CS_MUST_CHECK int cs_hcs_pause(HCS_SYSTEM s, bool pause, struct cs_err **err);
CS_MUST_CHECK int cs_hcs_modify(HCS_SYSTEM s, const char *doc, struct cs_err **err);
/* HcsModifyProcess of init; fd (taken, -1 = none) goes along under uri. */
CS_MUST_CHECK int cs_hcs_modify_init(HCS_SYSTEM s, const char *doc, const char *uri, int fd, struct cs_err **err);
/* The same with n of them, and the result (HcsFree; may be NULL). */
CS_MUST_CHECK int cs_hcs_modify_init_fds(HCS_SYSTEM s, const char *doc, const char *const *uris, const int *fds, size_t n, char **ret, struct cs_err **err);
CS_MUST_CHECK int cs_hcs_process_properties(HCS_PROCESS p, char **ret, struct cs_err **err); /* asks the worker; HcsFree */
/* attach.c: ReserveStdio with these settings (members of a JSON object), and its end. */
struct cs_log_pos;
CS_MUST_CHECK int cs_stdio_reserve(struct cs_system *s, const char *members, int64_t *token, struct cs_log_pos *logged, int64_t *at, struct cs_err **err);
void cs_stdio_cancel(struct cs_system *s, int64_t token);
CS_MUST_CHECK int cs_hcs_modify_process(HCS_PROCESS p, const char *doc, const char *uri, int fd, struct cs_err **err);

/* ---- container.c: between the engine's own files ---- */
struct cs_container *cs_container_new(struct cs_engine *e, const char *id);
void cs_container_insert_row_loaded(struct cs_container *c); /* reconcile: into the tables */
void cs_container_save(struct cs_container *c);              /* row's state columns; logs failures */
/* Waits until *n is 0, one of c's counts that move with `changed`, for at most ms. lock not held. */
void cs_container_settle(struct cs_container *c, const unsigned *n, int ms);
void cs_container_release_unsaved(struct cs_container *c);   /* the exit is on disk, or does not matter any more */
/* Final removal: directories, row, tables, waiters, event. op_lock held. Also finishes removals that a crash interrupted. */
CS_MUST_CHECK int cs_container_destroy(struct cs_container *c, bool volumes, struct cs_err **err);
CS_MUST_CHECK int cs_container_remove_obj(struct cs_container *c, bool force, bool volumes, struct cs_err **err);
void cs_containers_json_mounts(const struct cs_mount_point *m, size_t n, bool store, struct cs_str *out);

/* ---- start.c, exit.c ---- */
CS_MUST_CHECK int cs_container_start_obj(struct cs_container *c, bool by_policy, struct cs_err **err); /* takes op_lock */
CS_MUST_CHECK int cs_container_stop_obj(struct cs_container *c, const char *signal, int64_t timeout_s, bool by_user, struct cs_err **err);
void cs_container_finish_left(struct cs_container *c); /* op_lock held: an exit has been announced */
CS_MUST_CHECK int cs_container_kill_obj(struct cs_container *c, int sig, struct cs_err **err);
CS_MUST_CHECK int cs_container_set_paused(struct cs_container *c, bool pause, struct cs_err **err); /* op_lock held */
struct cs_exit {
	int code, signal;
	bool oom;
	int64_t exited_at, started_at;
	const char *error;
	bool while_away; /* found at reconciliation */
};
void cs_container_exited(struct cs_container *c, const struct cs_exit *x); /* op_lock held */
void cs_container_await_exit(struct cs_container *c); /* bounded; nothing, unless the process has ended and the engine has not recorded all of that yet */
void cs_exit_parse(const char *doc, struct cs_exit *ret);
struct cs_system *cs_system_adopt(struct cs_container *c, HCS_SYSTEM h); /* callback and count; for c->system */
/* From callbacks of the compute service: fn runs as a job, after what was told of this container before. Nothing once the engine closes. doc: copied. */
typedef void cs_told_fn(struct cs_container *c, unsigned run, const char *doc);
void cs_container_told(struct cs_container *c, cs_told_fn *fn, unsigned run, const char *doc);
void cs_restart_schedule(struct cs_container *c, int64_t delay_ns);
void cs_restart_cancel(struct cs_container *c); /* if one is due */
/* Its end was all that it was for (--rm): removed by a job. Takes system, which may be NULL. */
void cs_container_autoremove(struct cs_container *c, struct cs_system *system);
/* c->lock held: a start that is under way ends first, which it does in a bounded time. */
void cs_container_await_start(struct cs_container *c);

/* ---- commit.c ---- */
void cs_container_forget_held(struct cs_container *c);  /* it has ended while it was held */
void cs_container_release_held(struct cs_container *c); /* at start: what an earlier engine paused for a commit goes on */

/* ---- export.c ---- */
struct cs_root;
/* The container's own files, whether it runs or not, without what is mounted there. *ret_root: release it at the end; NULL: close *ret_fd. */
CS_MUST_CHECK int cs_container_open_root(struct cs_container *c, int *ret_fd, struct cs_root **ret_root, struct cs_err **err);
CS_MUST_CHECK int cs_container_may_read(struct cs_container *c, const char *verb, struct cs_err **err); /* neither dead nor being removed */

/* ---- changes.c ---- */
/* Paths in the writable layer that are there for the engine's own mounts only, sorted, "etc/hosts"; caller frees. */
CS_MUST_CHECK int cs_changes_own(struct cs_container *c, char ***ret, struct cs_err **err);

/* ---- wait.c; lock held ---- */
void cs_waiters_exit(struct cs_container *c, int code);
void cs_waiters_removed(struct cs_container *c);
void cs_waiters_watch_pending(struct cs_container *c, HCS_OPERATION start); /* adds ExitWatch resources */
void cs_waiters_deliver(struct cs_container *c, struct cs_system *s);       /* no lock held */

/* ---- attach.c ---- */
struct cs_pending *cs_pending_take(struct cs_container *c); /* lock held */
void cs_pending_add_to_start(struct cs_pending *list, struct cs_container *c, HCS_OPERATION start); /* frees the list */
void cs_pending_deliver(struct cs_pending *list, struct cs_container *c, struct cs_system *s); /* after the start */
void cs_pending_close(struct cs_pending *list);
char *cs_detach_keys_json(const uint8_t *keys, size_t n);

/* ---- exec.c ---- */
void cs_execs_container_exited(struct cs_container *c);  /* op_lock held, no lock: those that ran have ended with it */
void cs_execs_container_stopped(struct cs_container *c); /* op_lock held, no lock: forgets, closes */
void cs_execs_ids(struct cs_container *c, char ***ret); /* lock held */
CS_MUST_CHECK int cs_execs_load(struct cs_engine *e, struct cs_err **err);
void cs_execs_adopt(struct cs_container *c, HCS_SYSTEM h); /* reconcile: `Processes` property */
size_t cs_execs_count(struct cs_engine *e);

/* ---- health.c ---- */
void cs_health_start(struct cs_container *c, bool adopted); /* op_lock held, no lock */
void cs_health_load(struct cs_container *c);                /* what an earlier engine knew, before cs_health_start */
void cs_health_stop(struct cs_container *c);                /* op_lock held, no lock */
void cs_health_forget(struct cs_container *c);              /* no further probe: the engine closes. No lock */
void cs_health_json(struct cs_container *c, struct cs_str *out); /* lock held: Health object; nothing without a check */
const char *cs_health_status(struct cs_container *c);            /* lock held: "none" "starting" "healthy" "unhealthy" */
int64_t cs_health_streak(struct cs_container *c);                /* lock held */
void cs_health_free(struct cs_health *h);

/* ---- volumes_use.c ---- */
/* At creation: volumes are made, filled from the image's layers (chain ids, top-most first), and pinned: nobody removes them until unpin. */
CS_MUST_CHECK int cs_volumes_prepare(struct cs_container *c, char *const *layer_ids, struct cs_err **err);
void cs_volumes_unpin(struct cs_container *c); /* lookups find the container now, or it failed */
/* op_lock held. Sources of binds exist, volumes are mounted; stop lets go, and does nothing when nothing is held. */
CS_MUST_CHECK int cs_volumes_start(struct cs_container *c, struct cs_err **err);
void cs_volumes_stop(struct cs_container *c);
/* The same for whoever needs the volumes of a container beside its run (a copy): counted. op_lock need not be held. */
CS_MUST_CHECK int cs_volumes_mount(struct cs_container *c, struct cs_err **err);
void cs_volumes_unmount(struct cs_container *c);
/* Removes the anonymous volumes among m that nobody but the container `except` has; owned_only: and that were made for it. */
void cs_volumes_release(struct cs_engine *e, const struct cs_mount_point *m, size_t n, const char *except, bool owned_only);
void cs_volumes_disown(struct cs_container *c);  /* its removal leaves its anonymous volumes */
void cs_volumes_adopt(struct cs_container *c);   /* reconcile: it runs */
void cs_volumes_settle(struct cs_engine *e);     /* reconcile, after that: unmounts, removes and repairs what a crash left */
