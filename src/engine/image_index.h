/* SPDX-License-Identifier: Apache-2.0
 *
 * Images for several platforms: names that mean an index. Each platform that is here is an image record of its own; which of them the name itself
 * leads to is the one that does best on this host, and `platform` of a request chooses another. An index object never changes and is counted; the
 * document stays in the content store as long as a name means it. Private to the engine's image files. */
#pragma once

#include "engine/image_internal.h"
#include "engine/platform.h"

struct cs_index_entry { /* a manifest; those of indexes within the index stand in their place */
	struct cs_digest digest;
	int64_t size;
	char *media_type;
	struct cs_platform platform; /* os "": the index does not say */
	bool attestation;
	struct cs_digest subject;    /* of an attestation: the manifest that it is about, or "" */
	char *json;                  /* the descriptor as it stands there */
};
struct cs_image_index {
	atomic_int refs;
	unsigned names; /* under m->write */
	struct cs_digest digest;
	int64_t size;
	const char *media_type; /* static */
	struct cs_index_entry *v;
	size_t n;
	struct cs_digest *inner; /* indexes within it */
	size_t n_inner;
	UT_hash_handle hh;
};
struct cs_image_member { /* a manifest that some index in use has */
	struct cs_digest manifest;
	unsigned n;
	UT_hash_handle hh;
};

struct cs_image_index *cs_image_index_ref(struct cs_image_index *x);
void cs_image_index_unref(struct cs_image_index *x); /* accepts NULL */
static inline void cs_autoindex_done(struct cs_image_index **x) { cs_image_index_unref(*x); }
#define cs_autoindex cs_auto(cs_autoindex_done) struct cs_image_index *

/* From the content store; a reference. INVALID when it is none. */
CS_MUST_CHECK int cs_image_index_read(struct cs_images *m, const struct cs_digest *d, struct cs_image_index **ret, struct cs_err **err);
/* Under m->write: the index of a name that is being made; from the content store, unless it is in use already. Balance with unuse. */
CS_MUST_CHECK int cs_image_index_use(struct cs_images *m, const struct cs_digest *d, struct cs_image_index **ret, struct cs_err **err);
void cs_image_index_unuse(struct cs_images *m, struct cs_image_index *x); /* accepts NULL */
bool cs_image_index_has(const struct cs_image_index *x, const struct cs_digest *manifest);

/* The tables of records, under m->write; m->lock is the caller's to take for writing. */
void cs_image_table_add(struct cs_images *m, struct cs_image_rec *r);
void cs_image_table_del(struct cs_images *m, struct cs_image_rec *r);

/* Under m->write or m->lock: borrowed, NULL when that manifest is not here. */
struct cs_image_rec *cs_image_of_manifest(struct cs_images *m, const struct cs_digest *manifest);
/* Likewise: of what is here, what does best for a platform; want NULL: for this host, else anything. extra: one that is not in the tables yet, or
 * NULL; but: one that does not count, or NULL. */
struct cs_image_rec *cs_image_index_pick(struct cs_images *m, const struct cs_image_index *x, const struct cs_platform *want, struct cs_image_rec *extra,
					 const struct cs_image_rec *but);
/* A record without a name that an index in use has: no image of its own to people. Takes m->lock. */
bool cs_image_is_hidden(struct cs_images *m, const struct cs_image_rec *r);
/* Is its manifest one of an index in use, so that it must stay as it is? Takes m->lock. */
bool cs_image_is_part(struct cs_images *m, const struct cs_image_rec *r);
/* Records of the index that are here, in its order, each with a reference; free with cs_image_recs_free. Takes m->lock. */
struct cs_image_rec **cs_image_index_recs(struct cs_images *m, const struct cs_image_index *x, size_t *n);
/* The image, and those that go when its names go: hidden ones of the indexes that its names mean. As above; the image itself comes first. */
struct cs_image_rec **cs_image_family(struct cs_images *m, struct cs_image_rec *r, size_t *n);
/* Is a manifest here with all that it names? bytes (may be NULL): of its blobs that are here, itself included. */
bool cs_image_content(struct cs_images *m, const struct cs_digest *manifest, int64_t *bytes);
/* Can the index be given away as it is: are all of its manifests here? */
bool cs_image_index_complete(struct cs_images *m, const struct cs_image_index *x);
/* An index of what is here of this one: its platforms, and what is no image but about them or for everybody. The document is x's own otherwise, and stored;
 * unless the caller holds the sweeps (cs_images_hold), one may take it. NULL: there are less than two manifests. of: how many x has. */
CS_MUST_CHECK int cs_image_index_reduce(struct cs_images *m, const struct cs_image_index *x, struct cs_image_index **ret, size_t *of, struct cs_err **err);
/* Is it worth showing as an index: complete, or more than one platform of it is here. */
bool cs_image_index_counts(struct cs_images *m, const struct cs_image_index *x);

/* As cs_image_find; ret_index (with a reference, or NULL): what the reference means, be it by name or by the id of an image that has names. */
CS_MUST_CHECK int cs_image_find_index(struct cs_images *m, const char *ref, struct cs_image_rec **ret, char **ret_name, struct cs_image_index **ret_index,
				      struct cs_err **err);
/* The image of a reference for a platform (text or JSON; empty: as cs_image_find_index). NOT_FOUND with Docker's words. */
CS_MUST_CHECK int cs_image_find_platform(struct cs_images *m, const char *ref, const char *platform, struct cs_image_rec **ret, char **ret_name,
					 struct cs_image_index **ret_index, struct cs_err **err);

/* image_manifests.c: the descriptor of what a name means, {"mediaType":…}; index NULL: the image's manifest. */
void cs_image_put_target(struct cs_str *out, const struct cs_image_rec *r, const struct cs_image_index *x);
/* The Manifests member of 1.47 and later: each manifest of the index, here or not; index NULL: the image's own. */
void cs_image_put_manifests(struct cs_str *out, struct cs_images *m, const struct cs_image_rec *r, const struct cs_image_index *x);
