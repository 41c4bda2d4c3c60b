/* SPDX-License-Identifier: Apache-2.0
 *
 * Prunes that tell how far they are. The answer is the same for everybody; who watches gets it as the last line of a stream of progress. */
#pragma once

#include "base/error.h"
#include "base/str.h"
#include "engine/progress.h"

struct cs_engine;

/* One who watches a prune, or NULL. Belongs to the thread that prunes. */
struct cs_prune_watch {
	struct cs_progress *out;
	const char *units;         /* "images": what is counted */
	int64_t done, total;       /* objects; total is what was found at the start, of which some may stay */
};
/* Before an object: {"status":"Deleting","progressDetail":{"current","total","units"},"id"}. False when the client has gone: then the prune ends with
 * what it did so far. watch may be NULL. */
bool cs_prune_begin(struct cs_prune_watch *w, const char *id);
/* After it: "Deleted", or "Kept" when something needs it by now. */
void cs_prune_end(struct cs_prune_watch *w, const char *id, bool deleted);
/* The event at its end: type "image" and the like, and the bytes that came free. */
void cs_prune_event(struct cs_engine *e, const char *type, int64_t freed);

/* filters: the API's JSON text or NULL. The answer, one JSON object, is appended to out. */
typedef int cs_prune_work(struct cs_engine *e, const char *filters, int api, struct cs_prune_watch *watch, struct cs_str *out, struct cs_err **err);
CS_MUST_CHECK cs_prune_work cs_container_prune, cs_image_prune, cs_volume_prune;

/* The same as a stream. What fails before the first object is this function's error. client_fd: as for cs_progress_start. units: a constant. */
CS_MUST_CHECK int cs_prune_stream(struct cs_engine *e, cs_prune_work *work, const char *units, const char *filters, int api, int client_fd, struct cs_stream **ret,
				  struct cs_err **err);
