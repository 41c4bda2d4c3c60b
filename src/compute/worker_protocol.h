/* SPDX-License-Identifier: Apache-2.0
 *
 * Engine <-> worker, over a SOCK_SEQPACKET unix socket; one packet is one message: this header and a payload, descriptors by
 * SCM_RIGHTS.
 *
 * Versions. Engine and worker may come from different builds: a container outlives many daemons. HELLO tells the engine's version, HELLO_REPLY
 * the worker's; each is the newest that it speaks, and both then use the lower one. What the promise rests on:
 *   - types are only ever appended; a receiver answers an unknown request with CS_W_ERROR (ENOSYS) and ignores an unknown event;
 *   - a payload is a struct, whose length as the sender knows it stands in the header (`fixed`), and perhaps a tail. Fields are only ever
 *     appended to structs. A receiver takes what it knows, reads a missing field as zero, and finds the tail behind `fixed`;
 *   - a request that needs a newer worker is refused by the engine itself, with a sentence that says so; nothing else changes.
 * Version 1 had no `fixed` (it is zero) and neither FOLLOW nor RESERVE nor cs_w_attach.token. CS_W_PROTOCOL is overridden only to build
 * workers "of another version" for tests/fault/test_worker_versions.py.
 *
 * Requests that wait on descriptor 3 when the worker starts (ATTACH, WATCH_EXIT of clients that came before the start) are taken
 * before init is let go, so that such a client misses nothing; they are answered as always.
 *
 * The worker starts with descriptors 0,1,2 = /dev/null, 3 = its first control connection, 4 = plan memfd, 5 = its runtime
 * directory, and perhaps 6, to be kept open; argv = {"caisson-worker", id}. It applies the plan at once and reports STARTED or START_FAILED on 3 with seq 0. It
 * also listens on "worker.sock" in its runtime directory (0600); a later engine connects there and sends HELLO. Any number of
 * connections may be open; events go to all that said HELLO (connection 3 counts as having said it).
 *
 * An idle worker, started ahead of need, has argv = {"caisson-worker", CS_W_WAIT_ID_ROOM blanks, CS_W_WAIT_FLAG}, a SOCK_SEQPACKET socket as
 * descriptor 4, and as 5 a plan of what it is to do ahead (process/ahead.h) or nothing of use. It waits for one packet on 4, the system's id, with two descriptors: plan and runtime directory; then
 * it is a worker as above. A byte CS_W_WAIT_BEGIN before that tells that a start has begun whose plan is being made. It ends when either connection is closed before that.
 *
 * Files in the runtime directory, written by rename so that a reader never sees half of one:
 *   started      pid=<host pid>\nstarted_at=<ns>\nworker=<pid>\nahead=0 (all was done by then), 1, 2 (a part before, by the first process, too)\n  after a successful start
 *   status       exit_code= signal= oom= exited_at= started_at= forced=    key=value lines, when init has exited
 *   worker       a symbolic link whose target is the worker's pid; made by the engine
 *   reserve      room for `status`, renamed to it at the exit: a full file system must not lose the exit
 *   exec-<id>    pid= exit_code= exited_at=                                when an exec has exited and no engine has said HELLO; the next one reads it
 *                                                                          after HELLO and deletes it when it releases the process
 * After init's exit the worker kills what is left in the cgroup, writes `status`, sends EXITED, and departs when it got QUIT, or at once when no
 * engine is connected: it removes its cgroups and worker.sock and closes its connections and the runtime directory. It stays as a mere process
 * while clients have not read everything. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define CS_W_MAGIC 0x43570001u
#ifndef CS_W_PROTOCOL
#define CS_W_PROTOCOL 2
#endif
#define CS_W_PROTOCOL_MIN 1 /* the oldest peer that this build can serve */
#define CS_W_WAIT_FLAG "--wait"
#define CS_W_WAIT_ID_ROOM 128
#define CS_W_WAIT_BEGIN '\1' /* in no id */
#define CS_W_MAX_PACKET 65536 /* header and payload */

enum cs_w_type {
	CS_W_NONE = 0x40,
	/* requests; each is answered by OK, ERROR or its own reply with the same seq */
	CS_W_HELLO,       /* -> HELLO_REPLY */
	CS_W_EXEC,        /* struct cs_w_exec; fds: plan memfd[, client socket] -> EXEC_STARTED or ERROR */
	CS_W_ATTACH,      /* struct cs_w_attach + initial input bytes; fd: client socket */
	CS_W_RESIZE,      /* struct cs_w_resize */
	CS_W_CLOSE_STDIN, /* struct cs_w_id */
	CS_W_WATCH_EXIT,  /* struct cs_w_watch + prefix + suffix; fd: socket. The code is written as "%3d": three characters, so that the
	                     prefix can announce an HTTP chunk of known size. The watch belongs to the connection that registered it: as
	                     long as that is open, its engine answers; once it is closed the worker does, at the exit or at once if
	                     the process has exited already, also when other engines are connected. QUIT and RELEASE drop it */
	CS_W_SIGNAL,      /* struct cs_w_signal */
	CS_W_LIST,        /* -> LIST_REPLY */
	CS_W_RELEASE,     /* struct cs_w_id: forget an exited exec */
	CS_W_REOPEN_LOG,
	CS_W_QUIT, /* the engine has recorded the exit and answered who waited: end as soon as clients are flushed. Before init's exit: ERROR EBUSY */
	CS_W_KILL, /* SIGKILL to every process of the system (cgroup.kill or pid namespace's init, until empty); marks the exit as forced */
	/* since version 2 */
	CS_W_FOLLOW,  /* struct cs_w_follow + details; fds: client socket, one end of a stream socket pair: see worker/follow.c */
	CS_W_RESERVE, /* struct cs_w_reserve -> RESERVED: from now on init's output is kept for a client whose ATTACH will name the token. It is
	                 dropped by CANCEL, or with the connection */
	CS_W_CANCEL,  /* struct cs_w_token */
	/* replies */
	CS_W_OK = 0x80,
	CS_W_ERROR,        /* struct cs_w_error + message */
	CS_W_HELLO_REPLY,  /* struct cs_w_hello */
	CS_W_EXEC_STARTED, /* struct cs_w_started (id of the exec) */
	CS_W_LIST_REPLY,   /* n * struct cs_w_proc (each `fixed` long); header.more = 1 when another LIST_REPLY follows */
	CS_W_RESERVED,     /* struct cs_w_reserved */
	/* events, seq 0 */
	CS_W_STARTED = 0xc0, /* struct cs_w_started; then, since version 2, the worker's version as a uint32_t */
	CS_W_START_FAILED,   /* struct cs_w_error + message; the worker cleans up and ends by itself */
	CS_W_EXITED,         /* struct cs_w_exited */
	CS_W_EXEC_EXITED,    /* struct cs_w_exited with the exec's id */
	CS_W_OOM,            /* a process of the system was killed for memory */
	CS_W_DETACHED,       /* struct cs_w_id: a client left by the detach keys */
	CS_W_WARNING,        /* text: a step that was not required failed */
};

#define CS_W_ID_MAX 65 /* NUL-terminated; "" is the init process */

struct cs_w_header {
	uint32_t magic, type, seq;
	uint16_t more;
	uint16_t fixed; /* length of the struct that follows, as the sender knows it; 0: the sender speaks version 1 */
};
struct cs_w_id {
	char id[CS_W_ID_MAX];
};
struct cs_w_streams {
	uint8_t want_stdin, want_stdout, want_stderr;
	uint8_t framed; /* 8-byte stream headers [type,0,0,0,len32be] */
};
struct cs_w_exec {
	char id[CS_W_ID_MAX];
	uint8_t has_client; /* second descriptor is the client's socket */
	struct cs_w_streams streams;
	uint32_t detach_len; /* bytes after the struct: detach keys, then initial input */
	uint32_t input_len;
};
struct cs_w_attach {
	char id[CS_W_ID_MAX];
	struct cs_w_streams streams;
	uint32_t detach_len; /* bytes after the struct: detach keys, then input_len bytes that the client had already sent */
	uint32_t input_len;
	int64_t since; /* CLOCK_MONOTONIC ns: init's output from then on comes first, as far as it is kept (recent.c); 0: none of it */
	/* since version 2 */
	uint64_t token; /* of a RESERVE, or 0: the output kept for it comes first; its want_* and framed count */
};
#define CS_W_ATTACH_V1 offsetof(struct cs_w_attach, token)
struct cs_w_reserve {
	char id[CS_W_ID_MAX]; /* "" */
	uint8_t want_stdout, want_stderr, framed;
	uint8_t after_log; /* the client gets the log first: what is in no record yet (the begun line) is kept for it, too */
	uint8_t log_only;  /* for a FOLLOW to come: no output, but the log from here on is kept readable, however it is rotated */
};
struct cs_w_token {
	char id[CS_W_ID_MAX];
	uint64_t token;
};
struct cs_w_reserved {
	uint64_t token;
	uint64_t dev, ino; /* the log file at that moment; 0: no log */
	int64_t offset;    /* its records up to here are older than what is kept for the client */
	int64_t at;        /* CLOCK_REALTIME */
};
struct cs_w_follow { /* the words on the socket pair: HCS_FOLLOW_* in computecore.h */
	char id[CS_W_ID_MAX]; /* "" */
	uint8_t want_stdout, want_stderr, framed, timestamps;
	uint8_t chunked;      /* the body is sent in HTTP/1.1 chunks */
	uint32_t details_len; /* bytes after the struct: what comes before each line because of `details` */
	uint64_t token;       /* of a RESERVE with log_only, or 0 */
	uint64_t dev, ino;    /* position: the file (ERROR ESTALE if it is neither current nor kept for the token: read on and try again), */
	int64_t offset;       /* and where in it the first record begins that the client has not got */
	int64_t since, until; /* CLOCK_REALTIME ns, 0: none */
};
struct cs_w_resize {
	char id[CS_W_ID_MAX];
	uint16_t rows, cols;
};
struct cs_w_signal {
	char id[CS_W_ID_MAX];
	int32_t sig;
};
struct cs_w_watch {
	char id[CS_W_ID_MAX];
	uint32_t prefix_len, suffix_len; /* bytes after the struct */
};
struct cs_w_error {
	uint32_t code; /* enum cs_code */
	int32_t sys;   /* errno */
	/* message text follows, not NUL-terminated */
};
struct cs_w_started {
	char id[CS_W_ID_MAX];
	int32_t pid; /* host pid */
	int64_t started_at;
};
struct cs_w_exited {
	char id[CS_W_ID_MAX];
	uint8_t oom_killed, forced;
	int32_t pid;
	int32_t exit_code; /* 0..255, 128+n for signal n */
	int32_t signal;
	int64_t started_at, exited_at; /* CLOCK_REALTIME ns */
};
struct cs_w_hello_request { /* since version 2; version 1 sends nothing that counts */
	char reserved[CS_W_ID_MAX];
	uint32_t protocol, protocol_min;
};
struct cs_w_hello { /* started and exited stay as long as they are: they are inside */
	uint32_t protocol;
	int32_t worker_pid;
	struct cs_w_started started; /* pid 0: still starting */
	struct cs_w_exited exited;   /* pid 0: still running */
	/* since version 2 */
	uint32_t protocol_min; /* the oldest engine that this worker can serve */
};
#define CS_W_HELLO_V1 offsetof(struct cs_w_hello, protocol_min)
struct cs_w_proc {
	char id[CS_W_ID_MAX];
	uint8_t tty, exited;
	int32_t pid, exit_code;
	int64_t started_at, exited_at;
};
