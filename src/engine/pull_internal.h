/* SPDX-License-Identifier: Apache-2.0
 *
 * One pull, private to image_pull.c (the reference, its layers, the rows) and image_pull_index.c (what an index offers, and what is told about an image
 * in it). All of it belongs to the request's producer thread; transfers have their own locks. */
#pragma once

#include "engine/image_internal.h"
#include "engine/manifest.h"
#include "engine/progress.h"
#include "engine/transfer.h"

struct pull { /* one request */
	struct cs_images *m;
	struct cs_ref ref; /* without tag and digest: all tags */
	char *familiar;    /* name alone */
	bool any_platform; /* the request names none */
	struct cs_platform want;
	struct cs_registry_auth auth;
	struct cs_registry *registry;
	struct cs_session *session;
	struct cs_producer *p;
	struct cs_progress *out;
	bool downloaded;
	char *warning;
};

struct layer { /* of the image that is pulled */
	struct cs_transfer *t; /* NULL: there already */
	char id[13];
	enum cs_transfer_phase told;
	bool told_waiting;
	int64_t told_got, told_at;
	unsigned told_retries;
	bool whole; /* extracted, not only its blob */
};

struct note { /* an attestation of the image (provenance, a bill of materials) on its way */
	struct cs_digest digest;
	int64_t size;
	struct cs_str text;     /* its manifest; stored when its blobs are here */
	struct cs_transfer **t; /* of its blobs */
	size_t n;
};

struct image { /* what is pulled for one tag or digest */
	struct pull *x;
	char *tag;             /* or digest */
	struct cs_digest top;  /* what the reference resolved to: an index or a manifest */
	struct cs_digest manifest_digest;
	struct cs_manifest manifest;
	struct cs_image_shape shape;
	struct cs_digest *chains;
	struct cs_digest *leased;
	size_t n_leased;
	struct layer *layers;
	struct cs_image_layer *rows;
	struct note *notes;
	size_t n_notes;
	bool known_platform; /* shape.platform is filled */
	bool artifact;
	bool added;          /* what was fetched belongs to an image */
	bool stray;          /* but for something that does not */
};

/* image_pull.c */
bool pull_cancelled(const struct pull *x);
/* Keeps d from being swept until the pull ends. */
void pull_lease(struct image *im, const struct cs_digest *d);
/* A document by digest, leased: ours, or the registry's, which is not stored yet. size: -1 = unknown. media_type: what the registry said, else untouched. */
CS_MUST_CHECK int pull_document(struct image *im, const struct cs_digest *d, int64_t size, struct cs_str *text, char **media_type, struct cs_err **err);
CS_MUST_CHECK int pull_keep(struct image *im, const struct cs_str *text, struct cs_err **err);
/* A blob that stays as it is: NULL when it is here. Leased. */
struct cs_transfer *pull_blob(struct image *im, const struct cs_descriptor *d);

/* image_pull_index.c */
/* The manifest of the index im->top that does best for the pull's platform: im->manifest_digest, and its descriptor, which is the caller's then. Those of
 * indexes within it count like its own; their documents are stored. Notes the attestations that are about it. */
CS_MUST_CHECK int pull_pick(struct image *im, struct cs_manifest *index, struct cs_descriptor *ret, struct cs_err **err);
/* Asks for the attestations, behind the layers. They are no part of the image: what cannot be had is left out, with a line in the log. */
void pull_notes_begin(struct image *im);
void pull_notes_end(struct image *im); /* waits, and stores their manifests */
void pull_notes_done(struct image *im);
