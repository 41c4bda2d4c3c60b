/* SPDX-License-Identifier: Apache-2.0
 *
 * Volumes inside the engine. Truth: rows of the store and directories below <data root>/volumes (computestorage.h); in memory one object per
 * volume. Locks: v->work (one change at a time of one volume: making, mounting, filling, removing; held across kernel and disk work; inside
 * c->op_lock, outside all others) > table lock (short). */
#pragma once

#include "computestorage.h"
#include "engine/container.h"

#define CS_VOLUME_ANONYMOUS "com.docker.volume.anonymous"

struct cs_volume {
	char *name;
	pthread_mutex_t work;
	UT_hash_handle hh; /* under the table lock, as refs */
	unsigned refs;
	char **pins; /* under the table lock: ids of containers that are being created with it */

	/* under work, and under the table lock to change them: */
	bool present; /* has row and directory; from then on what follows is constant but for owner */
	bool gone;    /* no longer in the table: look it up again */
	struct cs_strmap *labels, *options; /* NULL: not given */
	int64_t created;
	bool anonymous;
	char *owner; /* id of the container it was made for and goes with; NULL when it has a life of its own */

	unsigned active; /* under work: runs (and copies) of containers that have it */
};
struct cs_volumes {
	pthread_mutex_t lock;
	struct cs_volume *by_name;
	atomic_bool pruning;
};

/* volumes_table.c */
CS_MUST_CHECK int cs_volumes_open(struct cs_engine *e, struct cs_err **err); /* reads rows and directories */
/* The volume of that name, its `work` held, whether or not it is present. Give it back with cs_volume_put. */
struct cs_volume *cs_volume_take(struct cs_engine *e, const char *name);
void cs_volume_put(struct cs_engine *e, struct cs_volume *v); /* releases work */
/* Those that are present, sorted by name, without their locks; each counts as a reference until freed. */
struct cs_volume **cs_volumes_all(struct cs_engine *e, size_t *n);
void cs_volumes_free(struct cs_engine *e, struct cs_volume **v);
struct cs_storage *cs_volume_storage(struct cs_engine *e);
/* work held. Ids of the containers that have it, running or not, or are being created with it; without `except`. NULL when none. */
char **cs_volume_users(struct cs_engine *e, const struct cs_volume *v, const char *except);

struct cs_volume_make { /* borrowed */
	const struct cs_strmap *labels, *options;
	bool anonymous;
	const char *owner;
};
/* work held, not present: directory, row, event. Options must have been checked. */
CS_MUST_CHECK int cs_volume_make(struct cs_engine *e, struct cs_volume *v, const struct cs_volume_make *m, struct cs_err **err);
/* work held, present, no users: row, directory, event; out of the table. */
CS_MUST_CHECK int cs_volume_destroy(struct cs_engine *e, struct cs_volume *v, struct cs_err **err);
/* work held, present: a row whose directory is gone. With users it comes back, empty, for they must go on working; else the row goes. */
void cs_volume_repair(struct cs_engine *e, struct cs_volume *v, bool used);
/* work held. It stays when its container goes. */
void cs_volume_disown(struct cs_engine *e, struct cs_volume *v);
void cs_volume_event(struct cs_engine *e, const char *action, const char *name, struct cs_strmap *attrs); /* takes attrs; adds the driver */

/* volumes_opts.c: pure */
/* NOT_FOUND "create x: error looking up volume plugin …" for every driver but ours. */
CS_MUST_CHECK int cs_volume_driver_check(const char *driver, const char *name, struct cs_err **err);
CS_MUST_CHECK int cs_volume_options_check(const char *name, const struct cs_strmap *options, struct cs_err **err);
/* opts.json as dockerd writes it; *ret NULL when there is nothing to say. Caller frees. */
char *cs_volume_options_file(const struct cs_strmap *options);
/* Back; *ret NULL when the text says nothing. INVALID when it is malformed. */
CS_MUST_CHECK int cs_volume_options_parse(const char *text, size_t len, struct cs_strmap **ret, struct cs_err **err);
/* Whether there is something to mount. */
bool cs_volume_options_mount(const struct cs_strmap *options, struct cs_vol_mount *ret);

/* volumes.c: the Volumes member of /system/df */
struct cs_volumes_usage {
	int64_t active, total, reclaimable, size;
};
void cs_volumes_df(struct cs_engine *e, struct cs_volumes_usage *u, struct cs_str *items);

/* volumes_use.c */
CS_MUST_CHECK int cs_volume_activate(struct cs_engine *e, struct cs_volume *v, struct cs_err **err); /* work held: mounts, counts */
void cs_volume_deactivate(struct cs_engine *e, struct cs_volume *v);                                  /* work held */
