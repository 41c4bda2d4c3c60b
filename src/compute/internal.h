/* SPDX-License-Identifier: Apache-2.0
 *
 * The inside of the host compute service. Objects are reference-counted; handles (HCS_SYSTEM, HCS_PROCESS) point at them.
 *
 * Locks, in the order in which they may be taken: service.lock (the table of systems) < system.lock (its fields, processes,
 * handles, pending requests) < operation.lock. All are held for moments only: never across a spawn, a wait, a callback or disk
 * work; sending a packet without blocking is allowed. The monitor thread alone receives from workers, completes their requests
 * and delivers events. */
#pragma once

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <uthash.h>

#include "base/error.h"
#include "base/str.h"
#include "compute/document/document.h"
#include "compute/document/fields.h"
#include "compute/document/host.h"
#include "compute/process/plan.h"
#include "compute/worker_protocol.h"
#include "computecore.h"

enum cs_state { CS_STATE_CREATED, CS_STATE_RUNNING, CS_STATE_PAUSED, CS_STATE_STOPPED, CS_STATE_UNKNOWN, CS_STATE_MAX };
enum cs_request_type {
	CS_REQ_START, CS_REQ_SHUTDOWN, CS_REQ_TERMINATE, CS_REQ_PAUSE, CS_REQ_RESUME, CS_REQ_MODIFY, CS_REQ_CREATE_PROCESS, CS_REQ_MAX,
};

struct cs_exit {
	bool valid;
	enum { CS_EXIT_GRACEFUL, CS_EXIT_FORCED, CS_EXIT_UNEXPECTED, CS_EXIT_UNKNOWN } type;
	int code, signal;
	bool oom_killed;
	int64_t started_at, exited_at;
};

/* ---- operations (operation.c) ---- */
struct cs_resource {
	HCS_RESOURCE_TYPE type;
	char *uri;
	int fd;
};
struct HcsOperation {
	uint32_t magic;
	atomic_int refs;
	pthread_mutex_t lock;
	pthread_cond_t done_cond;
	enum { CS_OP_IDLE, CS_OP_PENDING, CS_OP_DONE } state;
	HCS_OPERATION_TYPE type;
	uint64_t id;
	HRESULT result;
	char *document;
	HCS_PROCESS_INFORMATION info;
	HCS_SYSTEM system;
	HCS_PROCESS process;
	void *context;
	HCS_OPERATION_COMPLETION callback;
	void *callback_context;
	bool callback_has_context;
	struct cs_system *context_system; /* of a request that goes on in the background */
	struct cs_resource *resources;
	size_t n_resources;
};
struct HcsOperation *cs_op_ref(struct HcsOperation *op);
void cs_op_unref(struct HcsOperation *op);
/* Claims an idle operation. Everything that can go wrong later is reported by cs_op_complete. */
HRESULT cs_op_begin(struct HcsOperation *op, HCS_OPERATION_TYPE type, HCS_SYSTEM system, HCS_PROCESS process);
/* Completes once; takes document (may be NULL). NULL op is ignored. */
void cs_op_complete(struct HcsOperation *op, HRESULT result, char *document);
/* Completes with a ResultError; frees err. hr 0: chosen from the error's code. */
void cs_op_fail(struct HcsOperation *op, HRESULT hr, struct cs_err *err);
void cs_op_failf(struct HcsOperation *op, HRESULT hr, enum cs_code code, const char *fmt, ...) CS_PRINTF(4, 5);
/* Moves the resources out (caller closes and frees). */
void cs_op_take_resources(struct HcsOperation *op, struct cs_resource **ret, size_t *ret_n);
void cs_resources_free(struct cs_resource *r, size_t n);
HRESULT cs_hresult(enum cs_code code);
char *cs_result_error(HRESULT hr, enum cs_code code, int sys, const char *text);

/* ---- processes (process.c) ---- */
struct cs_system;
struct cs_process {
	atomic_int refs;
	struct cs_system *system; /* owned reference, except for init's (the system owns that one) */
	bool is_init;
	char id[CS_W_ID_MAX];     /* "" = init */
	bool tty, exited, failed;
	bool noted; /* its exit is in a file, too: exec-<id> */
	bool released; /* nobody will ask for it: it is forgotten at its end */
	int32_t pid, exit_code;
	int64_t started_at, exited_at;
	struct HcsProcess *handles;
	struct cs_process *prev, *next; /* in system->processes */
};
struct HcsProcess {
	uint32_t magic;
	atomic_int refs;
	struct cs_process *process;
	HCS_EVENT_CALLBACK callback;
	void *context;
	bool exit_delivered, closed, holds_system;
	int in_callback;
	struct HcsProcess *prev, *next;
};
struct cs_process *cs_process_new(struct cs_system *s, const char *id);
struct cs_process *cs_process_ref(struct cs_process *p);
void cs_process_unref(struct cs_process *p);
struct cs_process *cs_process_find(struct cs_system *s, const char *id); /* under system.lock; borrowed */
void cs_process_exited(struct cs_system *s, const struct cs_w_exited *e); /* monitor thread, no locks held */
void cs_process_status(const struct cs_process *p, const struct cs_exit *init_exit, struct cs_str *out);
char *cs_process_status_text(struct cs_process *p); /* takes system.lock; caller frees */
void cs_process_deliver_exits(struct cs_process *p); /* monitor thread, no locks held */

/* ---- workers' connections (link.c) ---- */
enum cs_reply_kind { CS_REPLY_PLAIN = 0x40, CS_REPLY_EXEC, CS_REPLY_KILL, CS_REPLY_HELLO, CS_REPLY_LIST, CS_REPLY_RELEASE, CS_REPLY_STATUS, CS_REPLY_RESERVED };
struct cs_request {
	struct cs_request *next;
	uint32_t seq;
	enum cs_reply_kind kind;
	int64_t deadline; /* monotonic ns, 0 = none */
	struct HcsOperation *op;
	struct cs_process *process;
};
struct cs_link {
	int fd;
	struct cs_system *system; /* owned reference */
	uint32_t seq;
	uint32_t protocol; /* what the worker speaks; 1 until it has told; under system.lock */
	struct cs_request *pending; /* under system.lock */
	bool dead;
	struct cs_link *prev, *next; /* monitor's list */
};
/* Connects the system to fd (taken) and starts watching it. Call without locks. */
void cs_link_attach(struct cs_system *s, int fd);
/* Sends a request: the struct a, and the tail b. When it returns 0, the reply completes op (reference taken by the call) on the monitor thread. Under system.lock. */
CS_MUST_CHECK int cs_link_request(struct cs_system *s, uint32_t type, const void *a, size_t a_len, const void *b, size_t b_len, const int *fds,
				  size_t n_fds, enum cs_reply_kind kind, struct HcsOperation *op, struct cs_process *p, int64_t timeout_ms,
				  struct cs_err **err);
void cs_link_readable(struct cs_link *l);          /* monitor */
int64_t cs_link_expire(int64_t now);               /* monitor: times requests out; next deadline or 0 */
void cs_link_abandon(struct cs_link *l);            /* after the monitor has ended */

/* ---- the monitor (monitor.c) ---- */
CS_MUST_CHECK int cs_monitor_start(struct cs_err **err);
void cs_monitor_stop(void);
bool cs_monitor_is_self(void);
void cs_monitor_watch(struct cs_link *l);
void cs_monitor_forget(struct cs_link *l);         /* monitor thread */
void cs_monitor_kick(void);                        /* deadlines changed */
void cs_monitor_post(void (*fn)(void *), void *arg); /* runs fn on the monitor thread, in order */
void cs_monitor_post_at(int64_t when, void (*fn)(void *), void *arg);
/* A detached thread for rare, slow kernel work. */
void cs_background(void (*fn)(void *), void *arg);
void cs_background_wait(void); /* until all of them have ended */

/* ---- systems (system.c, lifecycle.c) ---- */
struct cs_system {
	atomic_int refs;
	UT_hash_handle hh; /* service.systems by id, under service.lock */
	char *id;          /* immutable */
	bool in_table;     /* service.lock */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	enum cs_state state;
	bool starting, terminated, remove_when_stopped, exit_announced, cleaning, has_directory, listed;
	struct cs_document document; /* immutable once loaded */
	int plan_fd;
	char *text;        /* the document, until it is in the runtime directory */
	struct cs_exit exit;
	struct cs_link *link;
	pid_t worker;      /* 0: unknown */
	struct HcsOperation *start_op;
	char **warnings;
	struct cs_process *init;
	struct cs_process *processes; /* execs */
	struct HcsSystem *handles;
	size_t n_handles;
	unsigned retries;  /* reconnecting */
};
struct HcsSystem {
	uint32_t magic;
	atomic_int refs;
	struct cs_system *system;
	HCS_EVENT_CALLBACK callback;
	void *context;
	bool exit_delivered, closed;
	int in_callback;
	struct HcsSystem *prev, *next;
};
struct cs_system *cs_system_new(const char *id);
struct cs_system *cs_system_ref(struct cs_system *s);
CS_MUST_CHECK bool cs_system_insert(struct cs_system *s); /* the table takes the reference; false: the id is taken */
void cs_system_unref(struct cs_system *s);
/* Under system.lock: 0, or fails the operation's error text into err and returns the HRESULT. */
HRESULT cs_system_may(const struct cs_system *s, enum cs_request_type req, struct cs_err **err);
const char *cs_state_name(enum cs_state state);
void cs_system_describe(struct cs_system *s, struct cs_str *out); /* members without braces; under system.lock */
void cs_exit_describe(const struct cs_exit *e, struct cs_str *out);
/* Monitor thread, no locks held. */
void cs_system_started(struct cs_system *s, const struct cs_w_started *st);
void cs_system_start_failed(struct cs_system *s, enum cs_code code, int sys, const char *text);
void cs_system_exited(struct cs_system *s, const struct cs_exit *e);
void cs_system_worker_gone(struct cs_system *s);
void cs_system_event(struct cs_system *s, HCS_EVENT_TYPE type, const char *data);
void cs_system_warn(struct cs_system *s, const char *text);
void cs_system_deliver_exit(struct cs_system *s);
/* Its exit has been collected: the worker may end. Under system.lock. */
void cs_system_quit_worker(struct cs_system *s);
/* Removes an ended system without handles from the table and from the disk. No locks held. */
void cs_system_forget(struct cs_system *s);
CS_MUST_CHECK int cs_system_runtime_open(const char *id, struct cs_err **err); /* directory descriptor or -1 */
/* Kills what is left in the system's cgroups and removes them; slow. */
void cs_system_sweep(struct cs_system *s);
/* The same for a worker that does not answer, and ends the worker if it does not notice within seconds; slow. */
void cs_system_sweep_stuck(struct cs_system *s);
void cs_start_send_resource(int sock, uint32_t seq, const struct cs_resource *r, char ***warnings);
/* Appends decoded base64; the error names path.InitialInput. */
CS_MUST_CHECK int cs_base64_put(const char *text, const char *path, struct cs_str *out, struct cs_err **err);
CS_MUST_CHECK int cs_attach_pack(json_t *settings, const char *path, const char *id, struct cs_w_attach *ret, struct cs_str *tail, struct cs_err **err);
/* The settings of a FollowLog; the tail is its details. */
CS_MUST_CHECK int cs_follow_pack(json_t *settings, const char *path, struct cs_w_follow *ret, struct cs_str *tail, struct cs_err **err);
CS_MUST_CHECK int cs_reserve_pack(json_t *settings, const char *path, struct cs_w_reserve *ret, struct cs_err **err);
char *cs_reserved_text(const struct cs_w_reserved *r); /* caller frees */
CS_MUST_CHECK int cs_watch_pack(json_t *settings, const char *path, const char *id, struct cs_w_watch *ret, struct cs_str *tail, struct cs_err **err);
CS_MUST_CHECK int cs_exit_load(int dirfd, struct cs_exit *ret); /* from `status`; 0 or -errno */

/* ---- statistics, limits, freezer, cgroup trees ---- */
CS_MUST_CHECK int cs_stats_statistics(struct cs_system *s, struct cs_str *out, struct cs_err **err);
CS_MUST_CHECK int cs_stats_process_list(struct cs_system *s, struct cs_str *out, struct cs_err **err);
CS_MUST_CHECK int cs_resources_update(struct cs_system *s, json_t *settings, struct cs_err **err);
CS_MUST_CHECK int cs_freezer_set(struct cs_system *s, bool frozen, int timeout_ms, struct cs_err **err);
bool cs_freezer_is_frozen(struct cs_system *s);
/* All pids in the group and below it, sorted; caller frees. 0 or -errno. */
CS_MUST_CHECK int cs_cgroup_tree_pids(const char *dir, pid_t **ret, size_t *ret_n);
int cs_cgroup_tree_kill(const char *dir, bool v2); /* one round of SIGKILL; processes seen, or -errno */
int cs_cgroup_tree_remove(const char *dir);
/* Directory of the system's group for the controller (v1) or of its only group (v2); NULL when there is none. Caller frees. */
char *cs_system_cgroup(const struct cs_system *s, const char *controller);

/* ---- starting workers (spawn_worker.c) ---- */
struct cs_new_worker {
	int control;       /* our end of its first control connection */
	pid_t pid;         /* 0: it has not begun */
	int theirs, begin; /* private */
};
/* A connection to a worker to be: requests sent now wait there until it begins. */
CS_MUST_CHECK int cs_worker_prepare(struct cs_new_worker *w, struct cs_err **err);
/* plan and dir stay the caller's. */
CS_MUST_CHECK int cs_worker_begin(struct cs_new_worker *w, char *id, int plan, int dir, struct cs_err **err);
void cs_new_worker_done(struct cs_new_worker *w); /* closes what is left in it */
void cs_spare_open(void);
void cs_spare_refill(void); /* makes another idle worker in the background, if there is none */
/* A plan that is about to be started: the next one is expected to be alike. */
void cs_spare_learn(const struct cs_str *plan);
void cs_spare_expect(void); /* a start has begun */
void cs_spare_close(void);

/* ---- the service (service.c, reconnect.c) ---- */
/* Runtime directories on their way out; no system can have such a name. */
#define CS_GONE_PREFIX ".gone-"
void cs_gone_delete(const char *name); /* gone.c: deletes such a directory in the background */
struct cs_service {
	bool open;
	pthread_mutex_t lock;
	pthread_cond_t departed; /* a worker with QUIT behind it has gone */
	struct cs_system *systems;
	struct { char **ids; size_t n; } departing;
	struct cs_host host;
	char *runtime, *worker, *cgroup_parent;
	int systems_fd, worker_fd;
	int guard_fd; /* socket_guard.h, or -EBADF */
	char **warnings;
};
extern struct cs_service cs_service;
bool cs_service_ready(void);
void cs_reconnect_all(void);
void cs_reconnect(struct cs_system *s);
bool cs_worker_lives(int dir); /* whose runtime directory it is */
void cs_process_load_notes(struct cs_system *s); /* execs that have ended while no engine was there; no locks held */
void cs_departing_add(const char *id); /* under service.lock */
void cs_departing_remove(const char *id);
void cs_departing_wait(const char *id, int timeout_ms);
CS_MUST_CHECK int cs_worker_load(const char *path, int *ret_fd, struct cs_err **err);
/* Parses key=value lines: the number behind "key=". */
bool cs_kv_i64(const char *text, const char *key, int64_t *ret);

/* v1: makes the parent group and gives it CPUs, before any two starts can race for it. */
void cs_cpuset_prepare(const char *parent);

#define CS_DOCUMENT_MAX (8u << 20)
#define CS_MAGIC_OP 0x4f705f31u
#define CS_MAGIC_SYSTEM 0x5379735fu
#define CS_MAGIC_PROCESS 0x50726f63u
