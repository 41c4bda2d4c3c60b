/* SPDX-License-Identifier: Apache-2.0
 *
 * Pull, where a name means an index: which of its manifests is taken, indexes within it included, and what the index has to say about that manifest
 * (attestations, as BuildKit writes them: entries of the platform unknown/unknown that name their subject). Docker's engine leaves those out; with
 * them an image keeps its provenance on the way from one registry to the next. */
#include "engine/pull_internal.h"

#include "base/log.h"

#define MAX_NOTES 16
#define MAX_NOTE_BYTES (64 << 20) /* all blobs of one attestation */
#define TICK_MS 100

/* ---- the choice ---- */
/* Moves what the index has to the end of `all`. self: the index; its document is stored. */
static int flatten(struct image *im, struct cs_manifest *index, const struct cs_digest *self, int depth, struct cs_index_walk *w, struct cs_manifest *all,
		   struct cs_err **err)
{
	int seen = cs_index_walk_into(w, self, depth, index->n, err);

	if (seen != 0)
		return seen < 0 ? -1 : 0;
	for (size_t i = 0; i < index->n; i++) {
		struct cs_descriptor *d = &index->v[i];
		cs_automf struct cs_manifest inner = {0};
		cs_autofree char *type = NULL;
		if (!cs_manifest_type_is_index(d->media_type)) {
			all->v = cs_xreallocarray(all->v, all->n + 1, sizeof(*all->v));
			all->v[all->n++] = *d;
			*d = (struct cs_descriptor){0};
			continue;
		}
		{
			cs_autostr struct cs_str text = CS_STR_INIT(CS_MANIFEST_MAX + 1);
			if (pull_document(im, &d->digest, d->size, &text, &type, err) < 0 ||
			    cs_manifest_parse(text.buf ? text.buf : "", text.len, type ? type : d->media_type, &inner, err) < 0)
				return cs_wrap(err, "index %s", d->digest.s);
			if (inner.kind != CS_MANIFEST_INDEX)
				return cs_fail(err, CS_ERR_INVALID, 0, "%s is an image where an index was announced", d->digest.s);
			if (pull_keep(im, &text, err) < 0)
				return -1;
		}
		if (flatten(im, &inner, &d->digest, depth + 1, w, all, err) < 0)
			return -1;
	}
	return 0;
}

static void note_subjects(struct image *im, const struct cs_manifest *all)
{
	im->notes = cs_xcalloc(MAX_NOTES, sizeof(*im->notes));
	for (size_t i = 0; i < all->n && im->n_notes < MAX_NOTES; i++) {
		const struct cs_descriptor *d = &all->v[i];
		if (!d->attestation || strcmp(d->subject.s, im->manifest_digest.s) != 0)
			continue;
		struct note *note = &im->notes[im->n_notes++];
		note->digest = d->digest;
		note->size = d->size;
		cs_str_init(&note->text, CS_MANIFEST_MAX + 1);
	}
}

int pull_pick(struct image *im, struct cs_manifest *index, struct cs_descriptor *ret, struct cs_err **err)
{
	cs_automf struct cs_manifest all = {.kind = CS_MANIFEST_INDEX};
	struct cs_index_walk w = {0};

	if (flatten(im, index, &im->top, 0, &w, &all, err) < 0)
		return -1;
	struct cs_descriptor *pick = cs_manifest_pick(&all, &im->x->want, err);
	if (!pick)
		return -1;
	im->manifest_digest = pick->digest;
	note_subjects(im, &all);
	*ret = *pick;
	*pick = (struct cs_descriptor){0};
	return 0;
}

/* ---- attestations ---- */
static int ask(struct image *im, struct note *note, struct cs_err **err)
{
	cs_automf struct cs_manifest mf = {0};
	cs_autofree char *type = NULL;

	if (pull_document(im, &note->digest, note->size, &note->text, &type, err) < 0 ||
	    cs_manifest_parse(note->text.buf ? note->text.buf : "", note->text.len, type, &mf, err) < 0)
		return -1;
	if (mf.kind != CS_MANIFEST_IMAGE)
		return cs_fail(err, CS_ERR_INVALID, 0, "it is an index");
	int64_t bytes = mf.config.size;
	for (size_t i = 0; i < mf.n && bytes <= MAX_NOTE_BYTES; i++)
		bytes += mf.v[i].size;
	if (bytes > MAX_NOTE_BYTES)
		return cs_fail(err, CS_ERR_INVALID, 0, "it is larger than %d MiB", MAX_NOTE_BYTES >> 20);
	note->t = cs_xcalloc(mf.n + 1, sizeof(struct cs_transfer *));
	for (size_t i = 0; i <= mf.n; i++) {
		struct cs_transfer *t = pull_blob(im, i < mf.n ? &mf.v[i] : &mf.config);
		if (t)
			note->t[note->n++] = t;
	}
	return 0;
}

static int await(struct image *im, struct note *note, struct cs_err **err)
{
	struct cs_transfers *ts = im->x->m->transfers;
	struct cs_transfer_state s;

	for (size_t i = 0; i < note->n; i++) {
		for (unsigned seen = 0;; cs_transfers_wait(ts, &seen, TICK_MS)) {
			cs_transfer_state(ts, note->t[i], &s);
			if (s.phase == CS_TR_FAILED)
				return cs_transfer_error(ts, note->t[i], err);
			if (s.phase == CS_TR_READY)
				break;
			if (pull_cancelled(im->x))
				return cs_fail(err, CS_ERR_CANCELLED, 0, "context canceled");
		}
	}
	return pull_keep(im, &note->text, err);
}

static void note_done(struct image *im, struct note *note)
{
	for (size_t i = 0; i < note->n; i++)
		cs_transfer_put(im->x->m->transfers, note->t[i]);
	free(note->t);
	cs_str_done(&note->text);
	*note = (struct note){0};
}

/* What had come of it belongs to nobody. */
static void leave_out(struct image *im, struct note *note, struct cs_err *e)
{
	cs_autofree char *text = cs_err_text(e);

	cs_logk(CS_LOG_INFO, "image", "manifest", im->manifest_digest.s, "its attestation %s is left out: %s", note->digest.s, text);
	cs_err_free(e);
	note_done(im, note);
	im->stray = true;
}

void pull_notes_begin(struct image *im)
{
	for (size_t i = 0; i < im->n_notes && !pull_cancelled(im->x); i++) {
		struct cs_err *e = NULL;
		if (!im->notes[i].t && im->notes[i].size && ask(im, &im->notes[i], &e) < 0)
			leave_out(im, &im->notes[i], e);
	}
}

void pull_notes_end(struct image *im)
{
	for (size_t i = 0; i < im->n_notes; i++) {
		struct cs_err *e = NULL;
		if (im->notes[i].t && await(im, &im->notes[i], &e) < 0)
			leave_out(im, &im->notes[i], e);
	}
}

void pull_notes_done(struct image *im)
{
	for (size_t i = 0; i < im->n_notes; i++)
		note_done(im, &im->notes[i]);
	free(im->notes);
}
