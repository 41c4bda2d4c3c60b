/* SPDX-License-Identifier: Apache-2.0
 *
 * Image manifests and indexes, OCI and Docker v2.2, as a registry or an archive gives them: strictly checked, every number bounded. Pure. */
#pragma once

#include "computestorage.h"
#include "engine/platform.h"
#include "registry/registry.h"

#define CS_MT_OCI_CONFIG "application/vnd.oci.image.config.v1+json"
#define CS_MT_DOCKER_CONFIG "application/vnd.docker.container.image.v1+json"
#define CS_MT_OCI_LAYER "application/vnd.oci.image.layer.v1.tar"
#define CS_MT_DOCKER_LAYER "application/vnd.docker.image.rootfs.diff.tar"
#define CS_MANIFEST_MAX_LAYERS 500
#define CS_MANIFEST_MAX_ENTRIES 1000
#define CS_INDEX_MAX_DEPTH 4  /* indexes within an index, one in the other */
#define CS_INDEX_MAX_INNER 64 /* and all of them together */
#define CS_BLOB_MAX (1ll << 40)
#define CS_CONFIG_MAX (8u << 20)

struct cs_descriptor {
	struct cs_digest digest;
	int64_t size;
	char *media_type;
	struct cs_platform platform; /* entries of an index; os "" when it names none */
	char **urls;                 /* foreign layers */
	bool attestation;            /* an index entry that is no image (vnd.docker.reference.type) */
	struct cs_digest subject;    /* of an attestation: the manifest that it is about (vnd.docker.reference.digest), or "" */
	char *name;                  /* an index entry's, in a layout: io.containerd.image.name, else org.opencontainers.image.ref.name; or NULL */
};
void cs_descriptor_done(struct cs_descriptor *d);
#define cs_autodesc cs_auto(cs_descriptor_done) /* struct cs_descriptor x = {0} */
enum cs_manifest_kind { CS_MANIFEST_IMAGE, CS_MANIFEST_INDEX };
struct cs_manifest {
	enum cs_manifest_kind kind;
	char *media_type;
	struct cs_descriptor config; /* of an image */
	struct cs_descriptor *v;     /* layers, lowest first, or entries */
	size_t n;
	char *artifact_type;         /* not NULL: this is no container image, and this is what it says it is */
};
/* media_type: what the transport said, or NULL. INVALID names what is wrong; UNSUPPORTED for schema 1. */
CS_MUST_CHECK int cs_manifest_parse(const char *data, size_t len, const char *media_type, struct cs_manifest *ret, struct cs_err **err);
void cs_manifest_done(struct cs_manifest *m);
#define cs_automf cs_auto(cs_manifest_done) /* struct cs_manifest x = {0} */
/* The entry that does best for a platform (borrowed), or NULL: NOT_FOUND "no matching manifest for linux/arm64/v8 in the manifest list entries". */
CS_MUST_CHECK struct cs_descriptor *cs_manifest_pick(const struct cs_manifest *index, const struct cs_platform *want, struct cs_err **err);

bool cs_manifest_type_is_index(const char *media_type);

/* Indexes may stand in indexes, as OCI has it, and what is foreign may do so without end, or name one of them a million times over: a walk enters each once
 * and counts. { 0 } is one that has not begun. */
struct cs_index_walk {
	struct cs_digest seen[CS_INDEX_MAX_INNER];
	size_t n_seen, entries;
};
/* Into an index of `entries` entries, `depth` below the first. 1: the walk was there already, and there is nothing new in it. INVALID names the index. */
CS_MUST_CHECK int cs_index_walk_into(struct cs_index_walk *w, const struct cs_digest *index, int depth, size_t entries, struct cs_err **err);

/* Can these bytes be extracted as a layer? */
bool cs_layer_type_known(const char *media_type);
bool cs_layer_type_is_tar(const char *media_type); /* uncompressed */

/* What matters of an image's configuration. */
struct cs_image_shape {
	struct cs_digest *diff;
	size_t n;
	struct cs_platform platform;
};
CS_MUST_CHECK int cs_image_shape_parse(const char *data, size_t len, struct cs_image_shape *ret, struct cs_err **err);
void cs_image_shape_done(struct cs_image_shape *s);
#define cs_autoshape cs_auto(cs_image_shape_done) /* struct cs_image_shape x = {0} */
