/* SPDX-License-Identifier: Apache-2.0
 *
 * Images as the Engine API sees them. Storage is src/storage (content store and layers). */
#pragma once

#include "base/error.h"
#include "engine/engine.h"

/* What a container needs of its image. Free with cs_image_info_free. */
struct cs_image_info {
	char *id;              /* "sha256:…" (digest of the config) */
	char *canonical;       /* what the user's reference resolved to: "caisson/base:latest" or the id */
	struct cs_config *config; /* image's default Config (types.h) */
	char *os, *architecture, *variant;
	char **layer_dirs;     /* extracted layers, top-most first: absolute paths, for HCS Layers[].Path */
	char **layer_ids;      /* chain ids, same order */
	bool artifact;         /* no container image: a manifest with blobs that is stored, listed and passed on; id is the manifest's digest */
};
/* ref: name[:tag], name@digest, id or unique id prefix. NOT_FOUND: "No such image: x:latest". */
/* platform: which of those that the name stands for, or NULL: what does best here. NOT_FOUND when it is for another one. */
CS_MUST_CHECK int cs_image_get(struct cs_engine *e, const char *ref, const char *platform, struct cs_image_info **ret, struct cs_err **err);
/* Ids of all images that a reference means, several when it is an index; NULL: none. Caller frees. */
char **cs_image_ids(struct cs_engine *e, const char *ref);
void cs_image_info_free(struct cs_image_info *i);
/* Can a container be made of it? INVALID for an artifact. */
CS_MUST_CHECK int cs_image_check_runs(const struct cs_image_info *i, const char *ref, struct cs_err **err);
/* Does the image run on the platform ("linux/arm64" or a JSON object; none: it does)? NOT_FOUND with Docker's words when not. */
CS_MUST_CHECK int cs_image_check_platform(const struct cs_image_info *i, const char *ref, const char *platform, struct cs_err **err);

CS_MUST_CHECK int cs_images_open(struct cs_engine *e, struct cs_err **err); /* at start: reads the store, loads the base image once */
void cs_images_close(struct cs_engine *e);

struct cs_image_list_opts {
	bool all;            /* also images without a name that others were committed from */
	bool shared_size, manifests;
	const char *filters; /* the API's JSON text, or NULL */
};
CS_MUST_CHECK int cs_image_list(struct cs_engine *e, const struct cs_image_list_opts *o, int api, struct cs_str *out, struct cs_err **err);
CS_MUST_CHECK int cs_image_inspect(struct cs_engine *e, const char *ref, const char *platform, bool manifests, int api, struct cs_str *out, struct cs_err **err);
CS_MUST_CHECK int cs_image_history(struct cs_engine *e, const char *ref, const char *platform, struct cs_str *out, struct cs_err **err);
/* ImageManifestDescriptor of a container whose image this is: its manifest, as the index has it that it came from, if any. Nothing when the image is gone. */
void cs_image_put_descriptor(struct cs_str *out, struct cs_engine *e, const char *image_id);
/* [{"Untagged":…},{"Deleted":…}] */
CS_MUST_CHECK int cs_image_remove(struct cs_engine *e, const char *ref, char *const *platforms, bool force, bool noprune, struct cs_str *out, struct cs_err **err);
CS_MUST_CHECK int cs_image_tag(struct cs_engine *e, const char *ref, const char *repo, const char *tag, struct cs_err **err);

/* POST /images/create?fromSrc=-: a root file system tar (any compression libarchive knows) pulled from `read` (> 0 bytes, 0 end, -errno).
 * changes: Dockerfile instructions (CMD ENTRYPOINT ENV EXPOSE HEALTHCHECK LABEL ONBUILD STOPSIGNAL USER VOLUME WORKDIR). */
struct cs_import {
	const char *repo, *tag, *message, *platform;
	char *const *changes;
	ssize_t (*read)(void *ctx, void *buf, size_t max);
	void *ctx;
};
/* fromSrc=URL: downloads (in->read is not used) and answers with progress. */
CS_MUST_CHECK int cs_image_import_url(struct cs_engine *e, const struct cs_import *in, const char *url, int client_fd, struct cs_stream **ret, struct cs_err **err);
CS_MUST_CHECK int cs_image_import(struct cs_engine *e, const struct cs_import *in, char **ret_id, struct cs_err **err);
/* ---- registries. auth: the X-Registry-Auth header, or NULL. client_fd: the client's socket, borrowed, or -1 ---- */
struct cs_pull {
	const char *image, *tag; /* fromImage, and tag or digest; neither names one: all tags */
	const char *platform, *auth;
	int client_fd;
};
/* A stream of Docker's progress. What fails before its first line is the function's error. */
CS_MUST_CHECK int cs_image_pull(struct cs_engine *e, const struct cs_pull *rq, struct cs_stream **ret, struct cs_err **err);
struct cs_push {
	const char *image, *tag; /* without tag: all of the repository */
	const char *platform, *auth;
	const char *body;        /* without a header: an AuthConfig, as old clients send it */
	size_t body_len;
	int client_fd;
};
CS_MUST_CHECK int cs_image_push(struct cs_engine *e, const struct cs_push *rq, struct cs_stream **ret, struct cs_err **err);
/* {"Descriptor":…,"Platforms":[…]} */
CS_MUST_CHECK int cs_image_distribution(struct cs_engine *e, const char *ref, const char *auth, int client_fd, struct cs_str *out, struct cs_err **err);
CS_MUST_CHECK int cs_image_search(struct cs_engine *e, const char *term, int64_t limit, const char *filters, const char *auth, int client_fd, struct cs_str *out,
				  struct cs_err **err);
/* POST /auth: body is an AuthConfig. */
CS_MUST_CHECK int cs_registry_auth_check(struct cs_engine *e, const char *body, size_t len, int client_fd, struct cs_str *out, struct cs_err **err);

/* Number of images (for info) and bytes of layers (for df). */
void cs_image_count(struct cs_engine *e, size_t *images, int64_t *layer_bytes);

/* Snapshots: a container's own writable layer (upper/ work/ below the returned directory). */
/* Can the data root hold snapshots, and the engine's container_size be kept? UNSUPPORTED, INVALID: no. */
CS_MUST_CHECK int cs_snapshot_check_host(struct cs_engine *e, struct cs_err **err);
/* StorageOpt of a container whose snapshot was just made; without a size, the engine's container_size. */
CS_MUST_CHECK int cs_snapshot_options(struct cs_engine *e, const char *container_id, const struct cs_strmap *options, struct cs_err **err);
CS_MUST_CHECK int cs_snapshot_create(struct cs_engine *e, const char *container_id, const struct cs_image_info *image, char **ret_dir, struct cs_err **err);
void cs_snapshot_dir(struct cs_engine *e, const char *container_id, char **ret_dir);
/* What stands above the image's layers in a container (cs_storage_marks); NULL when overlayfs has no room for it. Caller frees. */
char *cs_snapshot_marks(struct cs_engine *e, size_t n_layers);
/* Takes a directory of the data root (absolute path) away at once, deletes it later. Absent is fine. */
CS_MUST_CHECK int cs_container_dir_create(struct cs_engine *e, const char *path, struct cs_err **err);
CS_MUST_CHECK int cs_discard_dir(struct cs_engine *e, const char *path, struct cs_err **err);
void cs_discard_wait(struct cs_engine *e); /* until what was discarded is deleted */
CS_MUST_CHECK int cs_snapshot_remove(struct cs_engine *e, const char *container_id, struct cs_err **err);
CS_MUST_CHECK int cs_snapshot_usage(struct cs_engine *e, const char *container_id, int64_t *rw_bytes, int64_t *root_bytes, struct cs_err **err);
/* The layers below a snapshot, top-most first, also when the image has been removed by force since: absolute paths and chain ids (either may be
 * NULL); caller frees both with cs_strv_free. */
CS_MUST_CHECK int cs_snapshot_layers(struct cs_engine *e, const char *container_id, char ***ret_dirs, char ***ret_ids, struct cs_err **err);

/* ---- archives ---- */
/* POST /images/load: an archive of images (docker save, OCI layout; perhaps compressed) pulled from `read`, once, by a thread of its own. Images
 * that were loaded before a failure stay. */
struct cs_load {
	bool quiet;             /* no progress of layers */
	char *const *platforms; /* JSON objects: which images of an index; NULL: the host's */
	ssize_t (*read)(void *ctx, void *buf, size_t max); /* > 0 bytes, 0 end, -errno */
	void (*done)(void *ctx); /* or NULL: nothing more will be read; called once, also on failure */
	void *ctx;
};
/* A stream of Docker's progress; a failure of the load is its last line. It may fill before anybody reads it. */
CS_MUST_CHECK int cs_image_load(struct cs_engine *e, const struct cs_load *in, struct cs_stream **ret, struct cs_err **err);
/* GET /images/get: names (each a reference, an id, or a repository with all of its tags) as one archive of *ret_size bytes that every Docker since 1.10
 * and every reader of OCI layouts understands. platforms: JSON objects, what the images must be for; NULL: anything. Whatever is missing is found out
 * before the first byte. */
CS_MUST_CHECK int cs_image_save(struct cs_engine *e, char *const *names, char *const *platforms, struct cs_stream **ret, int64_t *ret_size,
				struct cs_err **err);
