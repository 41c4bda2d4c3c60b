/* SPDX-License-Identifier: Apache-2.0
 *
 * Create-time checks and defaults. Order in dockerd, which clients can observe: (1) cs_validate_create without the image,
 * (2) the image is looked up, (3) cs_config_merge_image, (4) cs_mounts_resolve. All pure except for reading host facts and
 * stat(2) of bind sources; any thread. docs/api-fields.md lists what happens to every field. */
#pragma once

#include "base/error.h"
#include "engine/engine.h"
#include "engine/types.h"

/* How to find other containers. Members may be NULL in tests: references then stay as written. */
struct cs_container_lookup {
	void *ctx;
	/* Full id of name, id or prefix; NOT_FOUND otherwise. */
	int (*resolve)(void *ctx, const char *ref, char **ret_id, struct cs_err **err);
	/* Copies of the mount points of a container (for VolumesFrom). */
	int (*mounts)(void *ctx, const char *ref, struct cs_mount_point **ret, size_t *n, struct cs_err **err);
	/* A copy of a network; NOT_FOUND otherwise. */
	int (*network)(void *ctx, const char *ref, struct cs_network_doc **ret, struct cs_err **err);
};

/* Checks Config and HostConfig of *req (HostConfig is made if missing) and fills defaults in: network mode, ipc and cgroupns mode,
 * shm size, log driver and options, swap, masked paths, restart policy, runtime, hostname (from id) …; "container:name" becomes
 * "container:<id>". What the host cannot do is removed with a warning, as dockerd does. Nothing but memory is touched. */
CS_MUST_CHECK int cs_validate_create(const struct cs_engine_config *cfg, const struct cs_container_lookup *lookup, const char *id,
				     struct cs_create_request *req, int api, char ***warnings, struct cs_err **err);

/* Merges the image's Config into the container's as dockerd does, then checks what depends on both (a command must be there,
 * healthcheck, working directory, stop signal). image may be NULL. */
void cs_config_merge(struct cs_config *config, const struct cs_config *below); /* the merging alone */
CS_MUST_CHECK int cs_config_merge_image(struct cs_config *config, const struct cs_config *image, struct cs_err **err);

/* The container's mounts: VolumesFrom, then Binds, then Mounts, then Config.Volumes (anonymous), then Tmpfs is left to the document.
 * Sources are absolute host paths; volumes live in <data-root>/volumes/<name>/_data. Nothing is created: the caller makes the directories of
 * volumes (type "volume") and missing bind sources with create_source. host->binds is normalised. Sorted by destination. */
CS_MUST_CHECK int cs_mounts_resolve(const struct cs_engine_config *cfg, const struct cs_container_lookup *lookup, const struct cs_config *config,
				    struct cs_host_config *host, int api, struct cs_mount_point **ret, size_t *n, struct cs_err **err);

/* Checks an update request and merges it into host (replaced only on success). running: some changes need a stopped container. auto_remove and
 * restart policy conflicts are checked as well. */
CS_MUST_CHECK int cs_validate_update(const struct cs_update_request *req, struct cs_host_config *host, bool running, char ***warnings,
				     struct cs_err **err);

/* What a running container's cgroup has to be told when its resources change: the new ones, and first that devices for block I/O without a limit in
 * them have none any more (rate or weight 0). Caller frees. */
struct cs_resources *cs_resources_change(const struct cs_resources *from, const struct cs_resources *to);

CS_MUST_CHECK int cs_volume_name_check(const char *name, struct cs_err **err);
/* Fields of an exec: a command, working directory, env, detach keys are checked. */
CS_MUST_CHECK int cs_validate_exec(const struct cs_exec_config *exec, struct cs_err **err);

/* "container:<ref>" -> ref, else NULL. Borrowed. */
const char *cs_mode_container(const char *mode);
/* Neither the host's network nor another container's. */
bool cs_network_is_private(const char *mode);
/* SIGTERM, TERM, 15, RTMIN+1 -> number; 0 when unknown. */
int cs_signal_parse(const char *text);
/* Docker's detach keys ("ctrl-p,ctrl-q", "a,ctrl-@") -> bytes; at most 32. INVALID otherwise. Empty text gives none. */
CS_MUST_CHECK int cs_detach_keys_parse(const char *text, uint8_t *keys, size_t *n, struct cs_err **err);
#define CS_DETACH_KEYS_MAX 32
