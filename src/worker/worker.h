/* SPDX-License-Identifier: Apache-2.0
 *
 * The worker's objects. One thread, one loop; everything hangs off `struct cs_worker`.
 *   control.c   connections of engines, requests, events
 *   proc.c      init and execs: start, exit, the end of the system
 *   stdio.c     the processes' pipes and terminals
 *   client.c    attached clients: output queue, input, detach keys
 *   recent.c    the last output, for clients that are on their way
 *   follow.c    clients that follow the log, from the hand-over on
 *   state.c     files in the runtime directory, exit watchers */
#pragma once

#include <sys/types.h>

#include "compute/process/setup.h"
#include "compute/worker_protocol.h"
#include "worker/detach.h"
#include "worker/log.h"
#include "worker/loop.h"
#include "worker/packet.h"

struct cs_worker;
struct cs_proc;

struct cs_client {
	struct cs_source src;
	struct cs_client *next;
	struct cs_proc *proc;
	bool want[3]; /* stdin, stdout, stderr */
	bool framed, is_terminal_input; /* detach keys apply */
	bool in_done;                   /* nothing more comes from the client */
	bool ending;                    /* flush, then close */
	bool gone;                      /* freed after this turn */
	uint64_t token;                 /* not here yet: src.fd is -EBADF */
	const void *owner;              /* of the token */
	struct cs_log_file *pinned;     /* of the token: the log from here on */
	struct cs_detach detach;
	int spill;                 /* what the client has not taken yet, or -EBADF */
	int64_t spill_at, spill_end, punched; /* offsets in the spill file */
	struct cs_timer linger;    /* ending: no progress for too long */
};

struct cs_watch { /* answers a waiting HTTP client if the engine that asked for it is gone */
	struct cs_watch *next;
	const void *owner; /* the connection that registered it; NULL: closed, the answer is ours */
	int fd;
	uint32_t prefix_len, suffix_len;
	char text[];
};

struct cs_stream_out { /* read end of the process' output */
	struct cs_source src;
	struct cs_proc *proc;
	uint8_t type; /* 1 stdout, 2 stderr */
	bool grown;   /* pipe was enlarged */
};

struct cs_proc {
	struct cs_proc *next;
	char id[CS_W_ID_MAX];
	pid_t pid;
	int pidfd;
	bool tty, open_stdin, stdin_once, has_output;
	bool exited;   /* reaped */
	bool reported; /* the exit has been told and the output is closed */
	bool released; /* exec: the engine has forgotten it; it goes when it is reported and its clients have everything */
	int exit_code, signal;
	int64_t started_at, exited_at;
	uint16_t rows, cols;
	struct cs_detach detach_default;
	struct cs_stream_out out[2]; /* with a terminal only out[0]; its source is the master */
	struct cs_source in;         /* write end of stdin; with a terminal a duplicate of the master */
	uint8_t *in_buf;             /* input that the process has not taken yet; clients are paused meanwhile */
	size_t in_at, in_len;
	bool in_close;               /* close stdin when in_buf is drained */
	bool in_closed;
	struct cs_client *clients;
	struct cs_watch *watches;
	struct cs_timer grace; /* exited, but somebody else still holds the output open */
	int64_t last_data, drain_until; /* monotonic; drain_until: init has exited, its output is read no longer than that */
};

enum cs_worker_phase { CS_PHASE_STARTING, CS_PHASE_RUNNING, CS_PHASE_DYING /* init is gone, the rest is killed */, CS_PHASE_DEAD /* EXITED was sent */ };

struct cs_worker {
	enum cs_worker_phase phase;
	char id[CS_W_ID_MAX];
	int dirfd;    /* runtime directory */
	int self_exe; /* for the built-in init */
	struct cs_plan plan; /* of the start; after it only what later calls need */
	struct cs_str plan_buf;
	struct cs_proc *procs; /* init is the first */
	struct cs_log log;
	struct cs_source signals, listener, oom;
	uint64_t oom_kills;
	struct cs_timer oom_timer;
	int oom_looks;
	bool forced, quit;
	bool cgroups_left; /* not removed yet */
	bool rest_killed;  /* dying: the cgroup is empty, or we gave up */
	int kill_tries;
	int own_pidns;
	struct cs_ahead ahead; /* idle: made for the next plan */
	int mounts;   /* the container's mount namespace, or -1 */
	char oom_score[8]; /* what we were started with */
	struct cs_timer kill_timer;
	struct cs_timer settle; /* just started: the rest of the start */
	struct cs_timer trim; /* idle for a while: give buffers back */
};
extern struct cs_worker worker;

/* control.c */
void cs_control_init(int first_fd);
void cs_control_listen(void); /* for engines to come */
void cs_control_take_early(void); /* requests that came before the start */
bool cs_control_has_engine(void);
void cs_control_event(enum cs_w_type type, size_t fixed, const void *body, size_t len); /* to everybody who said HELLO; fixed: of the struct in body */
void cs_control_warn(void *ctx, const char *text);
void cs_control_start_failed(const struct cs_err *err);
void cs_control_trim(void);
void cs_control_close(void); /* flushes what it can without blocking */

/* proc.c */
struct cs_proc *cs_proc_init(void);
struct cs_proc *cs_proc_find(const char *id);
CS_MUST_CHECK int cs_proc_start_init(int plan_fd, struct cs_err **err);
CS_MUST_CHECK int cs_proc_prepare_init(struct cs_err **err); /* pipes, before early clients are taken */
CS_MUST_CHECK int cs_proc_exec(const struct cs_w_request *r, int plan_fd, int client_fd, struct cs_proc **ret, struct cs_err **err);
void cs_proc_sweep(void); /* between turns of the loop: execs of which nothing is left */
void cs_proc_reap(void); /* collect all dead children */
void cs_proc_kill_system(void);
void cs_proc_fill_exited(const struct cs_proc *p, struct cs_w_exited *x);
void cs_proc_output_done(struct cs_proc *p); /* both outputs are at their end */
bool cs_worker_may_depart(void); /* only clients that have not read everything keep it: the id is free for a new run */
bool cs_worker_may_end(void);

/* stdio.c */
struct cs_stdio { /* the child's ends */
	int fd[3];
};
CS_MUST_CHECK int cs_stdio_prepare(struct cs_proc *p, bool output, struct cs_stdio *ret, struct cs_err **err);
void cs_stdio_done(struct cs_stdio *s);
void cs_stdio_set_pty(struct cs_proc *p, int master); /* takes it */
void cs_stdio_run(struct cs_proc *p);                 /* start reading */
bool cs_stdio_is_open(const struct cs_proc *p);       /* some output has not ended */
void cs_stdio_drain_and_close(struct cs_proc *p);     /* read what is there, then end */
void cs_stdio_input(struct cs_proc *p, const uint8_t *data, size_t len);
bool cs_stdio_input_full(const struct cs_proc *p);
void cs_stdio_close_input(struct cs_proc *p); /* after what is buffered */
void cs_stdio_resize(struct cs_proc *p, uint16_t rows, uint16_t cols);
void cs_stdio_trim(void);
extern uint8_t cs_io_buf[];
#define CS_IO_BUF_SIZE (128u << 10)

/* recent.c */
void cs_recent_put(uint8_t type, const uint8_t *data, size_t len, int64_t now);
void cs_recent_replay(int64_t since, void (*fn)(void *ctx, uint8_t type, const uint8_t *data, size_t len), void *ctx);
void cs_recent_trim(void);

/* client.c */
/* Takes fd. */
struct cs_client *cs_client_new(struct cs_proc *p, int fd, const struct cs_w_request *r);
void cs_client_output(struct cs_proc *p, uint8_t type, const uint8_t *data, size_t len);
void cs_client_end_all(struct cs_proc *p);
void cs_client_resume_input(struct cs_proc *p); /* the process takes input again */
/* A client to come: its output is kept until it is redeemed, cancelled, or its owner (a connection) has gone. */
CS_MUST_CHECK int cs_client_reserve(struct cs_proc *p, const void *owner, const struct cs_w_request *r, struct cs_w_reserved *ret, struct cs_err **err);
CS_MUST_CHECK int cs_client_redeem(struct cs_proc *p, int fd, const struct cs_w_request *r, struct cs_err **err); /* takes fd */
void cs_client_cancel(struct cs_proc *p, uint64_t token);
struct cs_log_file *cs_client_pinned(struct cs_proc *p, uint64_t token); /* borrowed; or NULL */
void cs_client_owner_gone(const void *owner);
bool cs_client_any_reserved(const struct cs_proc *p);
/* After the end, how long a client may take nothing of what is left for it. Nobody else waits: see cs_worker_may_depart. */
#define CS_LINGER_NS (3600 * CS_NS_PER_SEC)

/* follow.c */
/* Takes both descriptors when it succeeds. */
CS_MUST_CHECK int cs_follow_new(struct cs_proc *p, int *client, int *peer, const struct cs_w_request *r, struct cs_err **err);
bool cs_follow_pump(void);    /* after the log has been flushed; true: there is more to send at once */
void cs_follow_end_all(void); /* nothing more will be logged */
bool cs_follow_any(void);

/* state.c */
void cs_state_started(const struct cs_proc *p, int ahead);
void cs_state_status(const struct cs_w_exited *x);
void cs_state_exec(const struct cs_proc *p);
/* Takes fd. */
CS_MUST_CHECK int cs_watch_add(struct cs_proc *p, int fd, const void *owner, const struct cs_w_request *r, struct cs_err **err);
void cs_watch_fire(struct cs_proc *p);              /* it has exited: answers those without an owner */
void cs_watch_owner_gone(const void *owner);        /* what it had registered is ours, and due if the process has exited */
void cs_watch_drop(struct cs_proc *p);              /* silently */
