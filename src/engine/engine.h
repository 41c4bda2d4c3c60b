/* SPDX-License-Identifier: Apache-2.0
 *
 * Docker's semantics. The only header of the engine that the API layer needs, together with types.h (the API's structures),
 * image.h and stream.h. Every function may be called from any thread. Ids are full 64-hex ids unless the parameter is called
 * `ref` (full id, unique id prefix, or name). Returned strings and objects belong to the caller unless said otherwise.
 *
 * Locks: engine->maps_lock (short: the container and exec tables) < container->lock (short: its fields) ; container->op_lock is
 * held across kernel work of one container, taken before either. Reads never take op_lock. */
#pragma once

#include "base/error.h"
#include "base/json.h"
#include "engine/stream.h"
#include "engine/types.h"

struct cs_engine;
struct cs_container; /* private to engine/ (container.h) */

/* ---- life of the engine (engine.c) ---- */
struct cs_network_config { /* borrowed; dockerd's keys */
	bool enabled;                /* the host network service is used; false in unit tests */
	const char *bridge;          /* name of the default network's interface; "none": no such network; NULL or "": our own name */
	const char *bip, *bip6, *fixed_cidr, *fixed_cidr_v6, *default_gateway, *default_gateway_v6;
	const char *ip;              /* default address of published ports; NULL: all */
	bool direct_routing, firewall, ipv6, icc, ip_forward, ip_forward_no_drop, ip_masq;
	int64_t mtu;                 /* 0: 1500 */
	char **address_pools;        /* "10.0.0.0/8 24" */
	struct cs_strmap *network_opts; /* "driver=key" -> value */
	char **host_gateway_ips;
};
/* Versions of the API: 1.24 is 124. */
#define CS_API_MIN 124
#define CS_API_MAX 155
#define CS_API_MIN_TEXT "1.24"
#define CS_API_MAX_TEXT "1.55"

struct cs_engine_config { /* borrowed for the engine's life; the live members change under cs_engine_reload */
	const char *data_root, *exec_root, *worker_path, *cgroup_parent, *version, *git_commit, *build_time;
	const char *base_image; /* OCI archive loaded at first start, or NULL */
	const char *pidfile;
	/* daemon.json, see src/daemon/config.h; NULL/0 = default */
	bool debug;
	char **labels;
	char *log_driver;
	struct cs_strmap *log_opts;
	int64_t default_shm_size;    /* bytes, 64 MiB */
	int64_t max_layer_size;      /* bytes unpacked; 0: storage's default */
	char *default_ipc_mode, *default_cgroupns_mode;
	struct cs_ulimit *default_ulimits;
	size_t n_default_ulimits;
	bool init, no_new_privileges, live_restore;
	char *seccomp_profile;       /* path, "builtin" or "unconfined" */
	int64_t default_stop_timeout, shutdown_timeout; /* s; 10, 15 */
	char **dns, **dns_search, **dns_opts;
	char **insecure_registries, **registry_mirrors;
	char **registry_hosts_dirs;  /* <dir>/<host>/{hosts.toml,*.crt,…}; NULL = the registry client's own */
	const char *http_proxy, *https_proxy, *no_proxy; /* NULL: as the environment says */
	int64_t max_concurrent_downloads, max_concurrent_uploads, max_download_attempts; /* 3, 5, 5 */
	char **hosts;                /* what we listen on, for info */
	int min_api;                 /* oldest version that clients may speak, CS_API_MIN to CS_API_MAX */
	bool experimental;           /* told to clients, nothing else */
	const char *api_cors_header; /* Access-Control-Allow-Origin of every answer, or NULL */
	const char *init_path;       /* init of containers that want one; NULL: the worker's own */
	const char *resolv_conf;     /* NULL: /etc/resolv.conf */
	int64_t container_size;      /* bytes, limit of containers that name none; 0: none */
	struct cs_network_config network;
};
CS_MUST_CHECK int cs_engine_config_check(const struct cs_engine_config *cfg, struct cs_err **err); /* what it gives to containers; opens nothing */
CS_MUST_CHECK int cs_engine_open(const struct cs_engine_config *cfg, struct cs_engine **ret, struct cs_err **err); /* includes reconciliation */
/* live_restore: containers run on. Otherwise they are stopped first, within shutdown_timeout. busy: requests are still at work; what they use stays,
 * and the process has to end soon. */
void cs_engine_close(struct cs_engine *e, bool busy);
void cs_engine_reload(struct cs_engine *e, const struct cs_engine_config *cfg); /* SIGHUP; emits daemon/reload event */
const struct cs_engine_config *cs_engine_config(struct cs_engine *e);
void cs_engine_dump(struct cs_engine *e, struct cs_str *out); /* SIGUSR1: containers, workers, execs, subscribers */

/* ---- containers (container.c, start.c, exit.c, wait.c ...) ---- */
CS_MUST_CHECK int cs_container_create(struct cs_engine *e, const char *name, const char *platform, const struct cs_create_request *req, int api,
				      char **ret_id, char ***ret_warnings, struct cs_err **err);
CS_MUST_CHECK int cs_container_start(struct cs_engine *e, const char *ref, const char *detach_keys, struct cs_err **err);
/* timeout_s: -1 wait for ever, CS_STOP_DEFAULT = the container's own; signal NULL = the container's own. NOT_MODIFIED when not running.
 * client_fd: its socket, borrowed, or -1: without it nobody waits, but what was asked for is done. */
#define CS_STOP_DEFAULT INT64_MIN
CS_MUST_CHECK int cs_container_stop(struct cs_engine *e, const char *ref, const char *signal, int64_t timeout_s, int client_fd, struct cs_err **err);
CS_MUST_CHECK int cs_container_restart(struct cs_engine *e, const char *ref, const char *signal, int64_t timeout_s, int client_fd, struct cs_err **err);
CS_MUST_CHECK int cs_container_kill(struct cs_engine *e, const char *ref, const char *signal, struct cs_err **err); /* NULL = SIGKILL */
CS_MUST_CHECK int cs_container_pause(struct cs_engine *e, const char *ref, struct cs_err **err);
CS_MUST_CHECK int cs_container_unpause(struct cs_engine *e, const char *ref, struct cs_err **err);
CS_MUST_CHECK int cs_container_rename(struct cs_engine *e, const char *ref, const char *name, struct cs_err **err);
CS_MUST_CHECK int cs_container_remove(struct cs_engine *e, const char *ref, bool force, bool volumes, bool link, struct cs_err **err);
CS_MUST_CHECK int cs_container_update(struct cs_engine *e, const char *ref, const struct cs_update_request *req, char ***ret_warnings, struct cs_err **err);
CS_MUST_CHECK int cs_container_resize(struct cs_engine *e, const char *ref, uint16_t rows, uint16_t cols, struct cs_err **err);

struct cs_list_opts {
	bool all, size;
	int64_t limit;        /* <= 0: no limit; n: the last n created, running or not */
	const char *filters;  /* the API's JSON text, or NULL */
};
/* Appends the JSON array of ContainerSummary. */
CS_MUST_CHECK int cs_container_list(struct cs_engine *e, const struct cs_list_opts *o, int api, struct cs_str *out, struct cs_err **err);
/* Appends the ContainerInspectResponse object. */
CS_MUST_CHECK int cs_container_inspect(struct cs_engine *e, const char *ref, bool size, int api, struct cs_str *out, struct cs_err **err);
/* {"Titles":[…],"Processes":[[…]]}; ps_args as for ps(1), default "-ef". */
CS_MUST_CHECK int cs_container_top(struct cs_engine *e, const char *ref, const char *ps_args, struct cs_str *out, struct cs_err **err);
/* [{"Path","Kind"}] or null */
CS_MUST_CHECK int cs_container_changes(struct cs_engine *e, const char *ref, struct cs_str *out, struct cs_err **err);
/* A tar of the container's own file system. */
CS_MUST_CHECK int cs_container_export(struct cs_engine *e, const char *ref, struct cs_stream **ret, struct cs_err **err);
struct cs_commit {
	const char *container, *repo, *tag, *comment, *author;
	bool pause;
	char *const *changes;           /* Dockerfile instructions, or NULL */
	const struct cs_config *config; /* instead of the container's, or NULL */
};
CS_MUST_CHECK int cs_container_commit(struct cs_engine *e, const struct cs_commit *in, char **ret_id, struct cs_err **err);

/* A stream that yields {"StatusCode":n} (and "Error") once. condition: "not-running" (also "" and NULL), "next-exit", "removed". */
CS_MUST_CHECK int cs_container_wait(struct cs_engine *e, const char *ref, const char *condition, struct cs_stream **ret, struct cs_err **err);
/* Gives the worker a duplicate of the waiting client's connection, so that the answer arrives even if the engine dies
 * meanwhile. prefix/suffix surround the decimal code on the wire (rest of the chunked HTTP body). Takes fd. Also works for a container that
 * starts later. Best effort. */
void cs_container_wait_handover(struct cs_stream *wait, int fd, const char *prefix, const char *suffix);

struct cs_attach_opts {
	bool logs, stream, want_stdin, want_stdout, want_stderr;
	const char *detach_keys; /* Docker's text ("ctrl-p,ctrl-q"), NULL = default */
	bool raw;                /* never framed, even without a terminal (websocket clients) */
};
/* In two steps, because errors must be answered before the connection is upgraded. */
struct cs_attach;
CS_MUST_CHECK int cs_container_attach(struct cs_engine *e, const char *ref, const struct cs_attach_opts *o, struct cs_attach **ret, struct cs_err **err);
bool cs_attach_tty(const struct cs_attach *a);
/* Takes fd (a stream socket) and frees `a`. Bytes that the client had already sent come in input. Returns once the worker has the socket, or at once
 * when the container is not started yet (the engine then holds it until the start). */
void cs_attach_run(struct cs_attach *a, int fd, const void *input, size_t input_len);
void cs_attach_free(struct cs_attach *a); /* instead of run */

struct cs_log_pos;
struct cs_logs_opts {
	bool follow, want_stdout, want_stderr, timestamps, details;
	bool plain; /* the client's socket can be given away */
	int64_t since, until; /* ns, 0 = none */
	int64_t tail;         /* -1 = all */
	const struct cs_log_pos *end; /* log_files.h: only what was logged before this, */
	int64_t end_at;               /* which was then; NULL: all */
};
/* Framed multiplexed stream unless *ret_tty. */
CS_MUST_CHECK int cs_container_logs(struct cs_engine *e, const char *ref, const struct cs_logs_opts *o, bool *ret_tty, struct cs_stream **ret, struct cs_err **err);
void cs_container_logs_go_on(struct cs_stream *s); /* at the end that `end` has set: on to that of the log */
/* JSON objects, one per second (stream) or one (stream=false; one_shot: without waiting for a first sample). */
CS_MUST_CHECK int cs_container_stats(struct cs_engine *e, const char *ref, bool stream, bool one_shot, int api, struct cs_stream **ret, struct cs_err **err);

/* ---- files in containers (archive.c) ---- */
/* {"name","size","mode","mtime","linkTarget"} in base64; caller frees. A path that is not there: NOT_FOUND "Could not find the file x in container y". */
CS_MUST_CHECK int cs_container_stat_path(struct cs_engine *e, const char *ref, const char *path, char **ret, struct cs_err **err);
/* The same, and a stream with a tar of it. */
CS_MUST_CHECK int cs_container_archive_path(struct cs_engine *e, const char *ref, const char *path, char **ret_stat, struct cs_stream **ret, struct cs_err **err);
struct cs_extract {
	const char *path; /* a directory */
	bool no_overwrite_dir_nondir;
	bool copy_uid_gid; /* everything belongs to the container's user */
	/* a tar, plain or compressed: the next piece, borrowed until the next call; > 0 bytes, 0 end, -EAGAIN nothing in time, other -errno */
	ssize_t (*next)(void *ctx, const void **ret, int timeout_ms);
	void *ctx;
};
CS_MUST_CHECK int cs_container_extract(struct cs_engine *e, const char *ref, const struct cs_extract *x, struct cs_err **err);

/* ---- exec (exec.c) ---- */
CS_MUST_CHECK int cs_exec_create(struct cs_engine *e, const char *ref, const struct cs_exec_config *cfg, char **ret_id, struct cs_err **err);
CS_MUST_CHECK int cs_exec_inspect(struct cs_engine *e, const char *id, int api, struct cs_str *out, struct cs_err **err);
CS_MUST_CHECK int cs_exec_resize(struct cs_engine *e, const char *id, uint16_t rows, uint16_t cols, struct cs_err **err);
/* Checks that the exec can be started, and marks it as starting. tty as requested by the start call. */
struct cs_exec_start;
CS_MUST_CHECK int cs_exec_start_prepare(struct cs_engine *e, const char *id, const struct cs_exec_start_request *req, struct cs_exec_start **ret, struct cs_err **err);
bool cs_exec_start_raw(const struct cs_exec_start *s); /* not framed: as the starter has it, whatever the exec was made with */
/* Starts it; fd is the client's socket or -1 when detached (taken). Blocks until the process runs or failed; frees s. On failure with a client the text is
 * also written to the client as dockerd does (stderr frame / raw), since the connection has been upgraded already. */
int cs_exec_start_run(struct cs_exec_start *s, int fd, const void *input, size_t input_len, struct cs_err **err);
void cs_exec_start_free(struct cs_exec_start *s); /* instead of run */

/* ---- events (events.c) ---- */
/* Stream of JSON objects, each followed by a newline. filters: the API's JSON or NULL; since/until ns, 0 = none. */
CS_MUST_CHECK int cs_events_stream(struct cs_engine *e, int64_t since, int64_t until, const char *filters, int api, struct cs_stream **ret, struct cs_err **err);

/* ---- volumes (volumes.c): the local driver without options ---- */
CS_MUST_CHECK int cs_volume_list(struct cs_engine *e, const char *filters, struct cs_str *out, struct cs_err **err);
CS_MUST_CHECK int cs_volume_inspect(struct cs_engine *e, const char *name, struct cs_str *out, struct cs_err **err);
CS_MUST_CHECK int cs_volume_create(struct cs_engine *e, const struct cs_volume_create *req, int api, struct cs_str *out, struct cs_err **err);
CS_MUST_CHECK int cs_volume_remove(struct cs_engine *e, const char *name, bool force, struct cs_err **err);

/* ---- networks (networks.c, network_connect.c) ---- */
CS_MUST_CHECK int cs_network_list(struct cs_engine *e, const char *filters, int api, struct cs_str *out, struct cs_err **err);
CS_MUST_CHECK int cs_network_inspect(struct cs_engine *e, const char *ref, const char *scope, bool verbose, int api, struct cs_str *out, struct cs_err **err);
CS_MUST_CHECK int cs_network_create(struct cs_engine *e, const struct cs_network_create *req, int api, char **ret_id, struct cs_err **err);
CS_MUST_CHECK int cs_network_remove(struct cs_engine *e, const char *ref, struct cs_err **err);
CS_MUST_CHECK int cs_network_prune(struct cs_engine *e, const char *filters, struct cs_str *out, struct cs_err **err);
CS_MUST_CHECK int cs_network_connect(struct cs_engine *e, const char *ref, const struct cs_network_connect *req, struct cs_err **err);
CS_MUST_CHECK int cs_network_disconnect(struct cs_engine *e, const char *ref, const struct cs_network_disconnect *req, struct cs_err **err);
/* What can be reached from where: docs/firewall.md. */
CS_MUST_CHECK int cs_network_reachability(struct cs_engine *e, struct cs_str *out, struct cs_err **err);

/* ---- system (system.c) ---- */
CS_MUST_CHECK int cs_system_info(struct cs_engine *e, int api, struct cs_str *out, struct cs_err **err);
CS_MUST_CHECK int cs_system_version(struct cs_engine *e, int api, struct cs_str *out, struct cs_err **err);
/* types: NULL = all, else of container, image, volume, build-cache. As of 1.52 there are totals, with the items in them or not; who does not say which
 * gets the lists of before beside them. */
enum cs_df { CS_DF_LEGACY, CS_DF_TOTALS, CS_DF_ITEMS };
CS_MUST_CHECK int cs_system_df(struct cs_engine *e, char *const *types, enum cs_df form, int api, struct cs_str *out, struct cs_err **err);
/* The compute systems as the host compute service enumerates them: [{"Id","Owner","State",…}]. */
CS_MUST_CHECK int cs_compute_list(struct cs_engine *e, struct cs_str *out, struct cs_err **err);
/* Properties of one, by its id or its container's name or id. types: of Statistics, ProcessList, Processes (NULL = none). */
CS_MUST_CHECK int cs_compute_properties(struct cs_engine *e, const char *ref, char *const *types, struct cs_str *out, struct cs_err **err);
/* {"Problems":[{"Kind","Name","Text","Repaired"}],"Found":n,"Repaired":n}: what the data root holds against what the tables say. deep reads and
 * hashes all content. Everything goes on meanwhile; what is being pulled or created counts as needed. */
CS_MUST_CHECK int cs_system_check(struct cs_engine *e, bool repair, bool deep, struct cs_str *out, struct cs_err **err);
