/* SPDX-License-Identifier: Apache-2.0
 *
 * What a prune tells while it works. */
#include "engine/prune.h"

#include "engine/events.h"

#define ANSWER_MAX (64u << 20)

static void tell(const struct cs_prune_watch *w, const char *id, const char *status)
{
	cs_progress_count(w->out, id, status, w->done, CS_MAX(w->total, w->done), w->units);
}

bool cs_prune_begin(struct cs_prune_watch *w, const char *id)
{
	if (!w)
		return true;
	tell(w, id, "Deleting");
	return !atomic_load(&w->out->broken);
}

void cs_prune_end(struct cs_prune_watch *w, const char *id, bool deleted)
{
	if (!w)
		return;
	w->done++;
	tell(w, id, deleted ? "Deleted" : "Kept");
}

void cs_prune_event(struct cs_engine *e, const char *type, int64_t freed)
{
	struct cs_strmap *attrs = cs_strmap_new();
	cs_autofree char *bytes = cs_xasprintf("%lld", (long long)freed);

	cs_strmap_set(attrs, "reclaimed", bytes);
	cs_event(e, type, "prune", "", attrs);
}

struct watched {
	struct cs_engine *e;
	cs_prune_work *work;
	const char *units;
	char *filters;
	int api;
};

static void watched_free(void *ctx)
{
	struct watched *w = ctx;

	free(w->filters);
	free(w);
}

static int work(struct cs_progress *out, struct cs_producer *p, void *ctx, struct cs_err **err)
{
	struct watched *w = ctx;
	struct cs_prune_watch watch = {.out = out, .units = w->units};
	cs_autostr struct cs_str answer = CS_STR_INIT(ANSWER_MAX);

	if (w->work(w->e, w->filters, w->api, &watch, &answer, err) < 0)
		return -1;
	while (answer.len && answer.buf[answer.len - 1] == '\n')
		answer.len--;
	cs_progress_json(out, answer.buf, answer.len);
	return 0;
}

int cs_prune_stream(struct cs_engine *e, cs_prune_work *fn, const char *units, const char *filters, int api, int client_fd, struct cs_stream **ret,
		    struct cs_err **err)
{
	struct watched *w = cs_xcalloc(1, sizeof(*w));

	*w = (struct watched){.e = e, .work = fn, .units = units, .filters = filters ? cs_xstrdup(filters) : NULL, .api = api};
	return cs_progress_start(work, w, watched_free, client_fd, ret, err);
}
