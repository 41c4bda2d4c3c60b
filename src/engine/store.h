/* SPDX-License-Identifier: Apache-2.0
 *
 * The engine's truth on disk: <data-root>/caisson.db, SQLite in WAL mode. Writes go through one connection under one mutex
 * (each is a transaction of its own); reads happen at start-up only, the tables live in memory. */
#pragma once

#include "base/error.h"

struct cs_store;
CS_MUST_CHECK int cs_store_open(const char *path, struct cs_store **ret, struct cs_err **err);
void cs_store_close(struct cs_store *s);

struct cs_store_state { /* what moves during a container's life */
	const char *status; /* cs_status_name; "removing" makes the next start finish the removal */
	int64_t pid, exit_code, started_at, finished_at, restart_count;
	bool oom, manually_stopped, ever_started;
	const char *error;
};
struct cs_store_container { /* borrowed strings; config, host and mounts are JSON */
	const char *id, *name, *config, *host, *mounts, *image_id, *image_ref, *os, *log_driver;
	const char *networks; /* JSON; NULL in rows from before there were networks */
	int64_t created;
	struct cs_store_state st;
};
/* CONFLICT when id or name exists. */
CS_MUST_CHECK int cs_store_container_insert(struct cs_store *s, const struct cs_store_container *c, struct cs_err **err);
CS_MUST_CHECK int cs_store_container_state(struct cs_store *s, const char *id, const struct cs_store_state *st, struct cs_err **err);
CS_MUST_CHECK int cs_store_container_rename(struct cs_store *s, const char *id, const char *name, struct cs_err **err);
CS_MUST_CHECK int cs_store_container_host(struct cs_store *s, const char *id, const char *host, struct cs_err **err);
CS_MUST_CHECK int cs_store_container_networks(struct cs_store *s, const char *id, const char *networks, struct cs_err **err);
CS_MUST_CHECK int cs_store_container_delete(struct cs_store *s, const char *id, struct cs_err **err); /* with its execs */
CS_MUST_CHECK int cs_store_containers(struct cs_store *s, int (*fn)(const struct cs_store_container *c, void *ctx), void *ctx, struct cs_err **err);

struct cs_store_exec {
	const char *id, *container, *config; /* JSON of the exec's config */
	bool started, exited;
	int64_t pid, exit_code, created, exited_at;
};
CS_MUST_CHECK int cs_store_exec_put(struct cs_store *s, const struct cs_store_exec *x, struct cs_err **err);
CS_MUST_CHECK int cs_store_exec_delete(struct cs_store *s, const char *id, struct cs_err **err);
CS_MUST_CHECK int cs_store_execs(struct cs_store *s, int (*fn)(const struct cs_store_exec *x, void *ctx), void *ctx, struct cs_err **err);

struct cs_store_volume {
	const char *name, *labels, *options; /* JSON or NULL */
	const char *owner;                   /* id of the container with which it goes, or NULL */
	int64_t created;
	bool anonymous;
};
CS_MUST_CHECK int cs_store_volume_put(struct cs_store *s, const struct cs_store_volume *v, struct cs_err **err); /* keeps an existing row */
CS_MUST_CHECK int cs_store_volume_disown(struct cs_store *s, const char *name, struct cs_err **err);
CS_MUST_CHECK int cs_store_volume_delete(struct cs_store *s, const char *name, struct cs_err **err);
CS_MUST_CHECK int cs_store_volumes(struct cs_store *s, int (*fn)(const struct cs_store_volume *v, void *ctx), void *ctx, struct cs_err **err);

/* doc: JSON */
CS_MUST_CHECK int cs_store_network_put(struct cs_store *s, const char *id, const char *doc, struct cs_err **err);
CS_MUST_CHECK int cs_store_network_delete(struct cs_store *s, const char *id, struct cs_err **err);
CS_MUST_CHECK int cs_store_networks(struct cs_store *s, int (*fn)(const char *id, const char *doc, void *ctx), void *ctx, struct cs_err **err);

/* *ret NULL when missing; caller frees. */
CS_MUST_CHECK int cs_store_get(struct cs_store *s, const char *key, char **ret, struct cs_err **err);
CS_MUST_CHECK int cs_store_set(struct cs_store *s, const char *key, const char *val, struct cs_err **err);
