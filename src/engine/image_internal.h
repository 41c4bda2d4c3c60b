/* SPDX-License-Identifier: Apache-2.0
 *
 * Images inside the engine. Truth: SQLite tables (image_db.c) + the content store. In memory: one immutable, counted record per
 * image, found by id and by name.
 * Locks: m->write (one change at a time; held across SQLite and file work) < m->lock (tables; short). Readers take m->lock
 * only, long enough to take a reference. */
#pragma once

#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <uthash.h>

#include "engine/container.h"
#include "engine/image.h"
#include "registry/reference.h"
#include "computestorage.h"

#define CS_MEDIA_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define CS_MEDIA_CONFIG "application/vnd.oci.image.config.v1+json"
#define CS_MEDIA_INDEX "application/vnd.oci.image.index.v1+json"
#define CS_MAX_IMAGE_JSON (8u << 20) /* config or manifest */
#define CS_MAX_LAYERS 500

struct cs_image_layer {
	struct cs_digest chain, diff, blob;
	int64_t size, blob_size;
	char *media_type;
};
struct cs_image_rec { /* immutable but for refs, last_tagged, gone, and parent (under m->lock) */
	atomic_int refs;
	atomic_llong last_tagged; /* ns, 0 = never */
	atomic_bool gone;         /* no longer in the tables */
	bool indexed;             /* under m->write: for index.json */
	int64_t content;          /* of an artifact: bytes of its blobs */
	const char *manifest_type; /* static */
	struct cs_digest id, manifest;
	struct cs_digest parent; /* the image that it was committed or built from; "" for none */
	int64_t created, size, config_size, manifest_size;
	struct cs_image_layer *layers; /* bottom first */
	size_t n_layers;
	struct cs_image_info info; /* canonical is NULL here */
	UT_hash_handle hh, hm; /* by id, by manifest */
};
struct cs_image_index;  /* image_index.h */
struct cs_image_member;
struct cs_image_name {
	char *full; /* docker.io/library/busybox:latest, or docker.io/library/busybox@sha256:… */
	struct cs_image_rec *rec; /* borrowed: as long as the name is in the table, the record is */
	struct cs_image_index *index; /* that the name means, with rec as the best of it; or NULL */
	UT_hash_handle hh;
};
struct cs_images {
	struct cs_engine *e;
	struct cs_storage *storage;
	sqlite3 *db;           /* under write */
	pthread_mutex_t write;
	pthread_rwlock_t lock;
	struct cs_image_rec *by_id, *by_manifest;
	struct cs_image_name *names; /* sorted by name */
	struct cs_image_index *indexes;  /* that a name means */
	struct cs_image_member *members; /* manifests of them */
	unsigned held;         /* under write: layers without a row may exist, so nothing is swept */
	bool sweep_wanted;     /* under write: something was spared that may be nobody's later */
	unsigned unreadable;   /* rows that could not be read at start: blobs are not swept then */
	struct cs_lease *leases; /* under write: digests that somebody needs although no image has them (yet) */
	struct cs_transfers *transfers; /* transfer.c */
	pthread_mutex_t publish; /* held while stages become layers; taken before write */
	pthread_mutex_t registry_lock;
	struct cs_registry *registry; /* under registry_lock, of registry_cfg */
	const struct cs_engine_config *registry_cfg;
};

/* A reference, as the API's callers write it, to a record with a reference of its own. ret_name (may be NULL): the full name by which it was found,
 * or NULL when found by id; caller frees. */
CS_MUST_CHECK int cs_image_find(struct cs_images *m, const char *ref, struct cs_image_rec **ret, char **ret_name, struct cs_err **err);
void cs_image_rec_unref(struct cs_image_rec *r); /* accepts NULL */
static inline void cs_autorec_done(struct cs_image_rec **r) { cs_image_rec_unref(*r); }
#define cs_autorec cs_auto(cs_autorec_done)
/* All records, newest first, each with a reference; free with cs_image_recs_free. */
struct cs_image_rec **cs_image_recs(struct cs_images *m, size_t *n);
void cs_image_recs_free(struct cs_image_rec **v, size_t n);
/* Full names of an image with a tag, or those with a digest, too; sorted; caller frees. */
char **cs_image_names(struct cs_images *m, const struct cs_image_rec *r);
char **cs_image_refs(struct cs_images *m, const struct cs_image_rec *r);
static inline bool cs_image_is_digest_ref(const char *full) { return strchr(full, '@') != NULL; }
/* Tells that something was done by a reference, with the image's labels. name: what people call it. */
void cs_image_event(struct cs_images *m, const char *action, const char *ref, const char *name);
/* Has another image this one as its parent? */
bool cs_image_has_children(struct cs_images *m, const struct cs_image_rec *r);

/* The registry client of the present configuration, with a reference. */
CS_MUST_CHECK int cs_images_registry(struct cs_images *m, struct cs_registry **ret, struct cs_err **err);

/* What an image is made of, from its configuration in the content store: a JSON tree, caller decrefs. */
CS_MUST_CHECK int cs_image_config_json(struct cs_images *m, const struct cs_image_rec *r, json_t **ret, struct cs_err **err);

/* image_change.c: m->write is held by the caller. names: full names, with a tag or (what was pulled or pushed) a digest. index: what the names mean when
 * the image is one of its platforms, or NULL; then they, and all names of that index, lead to the platform of it that does best here. */
CS_MUST_CHECK int cs_images_add(struct cs_images *m, const struct cs_digest *id, const struct cs_digest *manifest, const struct cs_image_layer *layers, size_t n,
				char *const *names, const struct cs_digest *index, struct cs_err **err);
/* One that was committed on top of another, which is its parent if it is still there. */
CS_MUST_CHECK int cs_images_add_child(struct cs_images *m, const struct cs_digest *parent, const struct cs_digest *id, const struct cs_digest *manifest,
				      const struct cs_image_layer *layers, size_t n, char *const *names, struct cs_err **err);
CS_MUST_CHECK int cs_images_set_name(struct cs_images *m, const char *full, struct cs_image_rec *r, const struct cs_digest *index, struct cs_err **err);
/* Names of an index that lead to r lead to the next best of it, if there is one. */
CS_MUST_CHECK int cs_images_let_go(struct cs_images *m, const struct cs_image_rec *r, struct cs_err **err);
CS_MUST_CHECK int cs_images_del_name(struct cs_images *m, const char *full, struct cs_err **err);
CS_MUST_CHECK int cs_images_del(struct cs_images *m, struct cs_image_rec *r, struct cs_err **err); /* with its names; sweeps */
/* Writes index.json anew if it is not what the tables say: after a crash between the two. */
CS_MUST_CHECK int cs_images_check_index(struct cs_images *m, struct cs_err **err);
/* The same image with another manifest and other blobs for its layers (compressed for a push). */
CS_MUST_CHECK int cs_images_set_manifest(struct cs_images *m, struct cs_image_rec *r, const struct cs_digest *manifest, const struct cs_image_layer *layers, size_t n,
					 struct cs_err **err);

/* image_sweep.c: m->write is held by the caller. */
/* Removes layers and blobs that no image, no snapshot and no lease needs. */
void cs_images_sweep(struct cs_images *m);
/* A lease keeps a blob or a layer (by chain id) from being swept; counted. unlease sweeps what was spared for it. */
void cs_images_lease(struct cs_images *m, const struct cs_digest *v, size_t n);
void cs_images_unlease(struct cs_images *m, const struct cs_digest *v, size_t n);
/* Who needs what right now; whatever is on its way counts as needed. NULL when the tables cannot be read. */
struct cs_needed;
struct cs_needed *cs_images_needed(struct cs_images *m, struct cs_err **err);
bool cs_needed_layer(struct cs_needed *n, const struct cs_digest *d);
bool cs_needed_blob(struct cs_needed *n, const struct cs_digest *d);
void cs_needed_free(struct cs_needed *n); /* accepts NULL */
/* Brackets around work that makes layers or blobs before their image is added, or that reads those of an image that somebody may remove meanwhile: nothing is
 * swept in between. Both take m->write. sweep: something may have become nobody's. */
void cs_images_hold(struct cs_images *m);
void cs_images_let(struct cs_images *m, bool sweep);
/* Makes a record from the content store; layers are copied. */
CS_MUST_CHECK int cs_image_rec_new(struct cs_images *m, const struct cs_digest *id, const struct cs_digest *manifest, const struct cs_image_layer *layers, size_t n,
				   struct cs_image_rec **ret, struct cs_err **err);

/* image_db.c: m->write is held by the caller. */
CS_MUST_CHECK int cs_image_db_open(struct cs_images *m, const char *path, struct cs_err **err);
void cs_image_db_close(struct cs_images *m);
CS_MUST_CHECK int cs_image_db_load(struct cs_images *m, struct cs_err **err); /* fills the tables */
CS_MUST_CHECK int cs_image_db_add(struct cs_images *m, const struct cs_image_rec *r, const struct cs_image_layer *layers, size_t n, char *const *names,
				  const char *names_id, const char *index, int64_t now, struct cs_err **err);
/* id NULL: delete. index: a digest, or NULL. */
CS_MUST_CHECK int cs_image_db_name(struct cs_images *m, const char *full, const char *id, const char *index, int64_t now, struct cs_err **err);
CS_MUST_CHECK int cs_image_db_del(struct cs_images *m, const char *id, struct cs_err **err);
CS_MUST_CHECK int cs_image_db_meta_get(struct cs_images *m, const char *key, char **ret, struct cs_err **err); /* NULL when missing */
CS_MUST_CHECK int cs_image_db_meta_set(struct cs_images *m, const char *key, const char *val, struct cs_err **err);
/* Layer rows; fn may not call back. parent "" for the lowest. */
CS_MUST_CHECK int cs_image_db_layers(struct cs_images *m, void (*fn)(void *ctx, const struct cs_image_layer *l, const struct cs_digest *parent), void *ctx,
				     struct cs_err **err);
/* The layers from the bottom up to `top` ("" = none); caller frees each media_type and the vector. */
CS_MUST_CHECK int cs_image_db_chain(struct cs_images *m, const char *top, struct cs_image_layer **ret, size_t *ret_n, struct cs_err **err);
void cs_image_layers_free(struct cs_image_layer *v, size_t n);
CS_MUST_CHECK int cs_image_db_layers_del(struct cs_images *m, const struct cs_digest *const *chains, size_t n, struct cs_err **err);
CS_MUST_CHECK int cs_image_db_manifest(struct cs_images *m, const char *id, const char *manifest, const struct cs_image_layer *layers, size_t n, struct cs_err **err);
/* repo: "docker.io/library/busybox"; the answer without the host. */
CS_MUST_CHECK int cs_image_db_sources_add(struct cs_images *m, const struct cs_image_layer *layers, size_t n, const char *repo, struct cs_err **err);
CS_MUST_CHECK int cs_image_db_sources(struct cs_images *m, const struct cs_digest *blob, const char *host, char ***ret, struct cs_err **err);
CS_MUST_CHECK int cs_image_db_tops(struct cs_images *m, void (*fn)(void *ctx, const struct cs_digest *top), void *ctx, struct cs_err **err);

/* image_load.c: an archive of images in a file, as cs_image_load; nothing is locked by the caller. */
CS_MUST_CHECK int cs_image_load_archive(struct cs_images *m, const char *path, struct cs_err **err);

/* image_view.c: the Images member of /system/df. */
void cs_image_df(struct cs_images *m, int api, struct cs_str *out, int64_t *ret_total, int64_t *ret_active, int64_t *ret_reclaimable);

/* import_changes.c: applies one Dockerfile instruction ("CMD [\"sh\"]") to a configuration. Pure. */
CS_MUST_CHECK int cs_import_change(struct cs_config *c, const char *line, struct cs_err **err);
/* All of them, each of which may have several lines, as a Dockerfile's. */
CS_MUST_CHECK int cs_import_changes(struct cs_config *c, char *const *changes, struct cs_err **err);

/* import.c: what import and commit share. */
/* repo[:tag] and a tag of its own to a full name; NULL when the image gets none. */
CS_MUST_CHECK int cs_image_target_name(const char *repo, const char *tag, char **ret, struct cs_err **err);
const char *cs_image_layer_type(enum cs_layer_compression c);
CS_MUST_CHECK int cs_image_put_manifest(struct cs_images *m, const struct cs_digest *config, size_t config_size, const struct cs_image_layer *layers, size_t n,
					struct cs_digest *ret, struct cs_err **err);
/* Tells of a new name; returns it as people write it, caller frees. */
char *cs_image_tag_event(struct cs_images *m, const char *id, const char *full);
