/* SPDX-License-Identifier: Apache-2.0
 *
 * Loading an archive: one session, private to image_load.c (entries), load_layers.c (layer candidates and the threads that unpack them) and
 * load_images.c (what the documents say). The session belongs to one thread; candidates are shared with the workers under l->lock. */
#pragma once

#include "engine/image_doc.h"
#include "engine/image_internal.h"
#include "engine/manifest.h"
#include "engine/progress.h"

#define LOAD_MAX_ENTRIES 20000u
#define LOAD_MAX_NAMES (4u << 20)     /* bytes of all names together */
#define LOAD_MAX_DOCUMENTS (12u << 20) /* bytes of JSON kept in memory; what is beyond waits in the content store */
#define LOAD_WORKERS 2
#define LOAD_MAX_LINKS 32
#define LOAD_TICK_MS 100

enum cand_state { CAND_IDLE, CAND_QUEUED, CAND_RUNNING, CAND_DONE, CAND_FAILED };

/* An entry that may be a layer. Its blob is in the content store; a worker makes the stage from it. */
struct candidate {
	struct cs_digest blob;
	int64_t size;             /* of the blob, and of the entry */
	enum cs_content_kind kind;
	bool known;               /* same points to a layer of an image that is here */
	struct cs_image_layer same; /* media_type owned */
	/* under lock */
	enum cand_state state;
	struct cs_layer_stage *stage;
	struct cs_layer_result result;
	struct cs_err *err;
	struct candidate *next, *next_job;
	atomic_llong got; /* bytes of the blob that have been unpacked */
	int64_t told;     /* the session's: what the client knows of that */
};

enum entry_kind { ENTRY_OTHER, ENTRY_DOCUMENT, ENTRY_LAYER, ENTRY_LINK };
struct entry {
	char *path; /* clean and relative */
	enum entry_kind kind;
	char *target;            /* ENTRY_LINK: clean and relative to the archive, or NULL when it leads out of it */
	char *text;              /* ENTRY_DOCUMENT, or NULL: in the content store under digest */
	size_t len;
	struct cs_digest digest; /* of a document */
	struct candidate *cand;
	UT_hash_handle hh;
};

struct cs_load_session {
	struct cs_images *m;
	const struct cs_load *in;
	struct cs_progress *out; /* or NULL */
	struct cs_producer *p;   /* likewise: says when nobody wants it any more */
	struct cs_archive_in *archive;
	struct entry *entries;
	size_t n_entries, names_len, documents_len;
	struct cs_platform *platforms; /* wanted */
	size_t n_platforms;
	bool stray;              /* something may be in the store that nobody will need */
	size_t named;            /* "Loaded image: …" that were told */
	struct cs_str ids;       /* "Loaded image ID: …\n" of all images */
	/* the layers of the image that is made now, for the progress of those that are unpacked */
	struct candidate *const *shown;
	const struct cs_digest *shown_diff;
	size_t n_shown;
	int64_t ticked;          /* monotonic ns */
	/* workers */
	pthread_mutex_t lock;
	pthread_cond_t work, done;
	struct candidate *candidates, *jobs, **last_job;
	pthread_t threads[LOAD_WORKERS];
	unsigned n_threads;
	bool stop;
};

/* image_load.c. Follows links inside of the archive. NULL: no such entry. */
struct entry *load_entry(struct cs_load_session *l, const char *path);
/* A path of a document, clean and relative; NULL with an error when it leads out of the archive. Caller frees. */
char *load_path(const char *path, const char *what, struct cs_err **err);
/* The text of a document; owned by the caller. */
CS_MUST_CHECK int load_text(struct cs_load_session *l, const struct entry *e, struct cs_str *out, struct cs_err **err);
void load_say(struct cs_load_session *l, const char *text); /* {"stream":text} */
/* "Loading layer", up to current bytes, unless the client wants none or knows of more. */
void load_progress(struct cs_load_session *l, struct candidate *c, const struct cs_digest *diff, int64_t current);
/* Tells how far the layers that are shown have come, ten times a second at most. Not under the lock. CANCELLED when the client has gone. */
CS_MUST_CHECK int load_tick(struct cs_load_session *l, struct cs_err **err);
bool load_cancelled(const struct cs_load_session *l);

/* load_layers.c */
void load_workers_init(struct cs_load_session *l);
void load_workers_done(struct cs_load_session *l); /* stops them; drops every stage that nobody took */
/* Of neither kind, named by its digest: into the content store, where it is swept when nothing needs it. */
CS_MUST_CHECK int load_blob(struct cs_load_session *l, const void *head, size_t head_len, const struct cs_digest *want, struct cs_err **err);
/* Reads the entry's data (its first bytes are in head already) into the store. name_digest: what it must be, or NULL. */
CS_MUST_CHECK int load_candidate(struct cs_load_session *l, const void *head, size_t head_len, enum cs_content_kind kind, const struct cs_digest *name_digest,
				 struct candidate **ret, struct cs_err **err);
/* Lets a worker unpack it, unless it did. */
void load_unpack(struct cs_load_session *l, struct candidate *c);
/* Waits for its stage and takes it; a second call unpacks again. res is filled. */
CS_MUST_CHECK int load_take_stage(struct cs_load_session *l, struct candidate *c, struct cs_layer_stage **ret, struct cs_layer_result *res, struct cs_err **err);
/* The diff id, which for a plain tar is known from the start. Waits for a worker otherwise. */
CS_MUST_CHECK int load_diff_id(struct cs_load_session *l, struct candidate *c, struct cs_digest *ret, struct cs_err **err);

/* load_images.c */
CS_MUST_CHECK int load_images(struct cs_load_session *l, struct cs_err **err);
