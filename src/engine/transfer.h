/* SPDX-License-Identifier: Apache-2.0
 *
 * Layers on their way from a registry into the store. One table for the whole engine: whoever needs a layer that is already on its way waits for it,
 * so nothing comes twice. A transfer belongs to those who hold it; when the last one leaves, it is cancelled. Up to max-concurrent-downloads
 * run at once, each in a thread of its own that streams: registry -> blob, inflate -> diff id -> untar.
 * Lock: the table's own; leaf but for nothing (held shortly). */
#pragma once

#include "computestorage.h"
#include "registry/registry.h"

struct cs_images;
struct cs_transfers;
struct cs_transfer;

struct cs_transfers *cs_transfers_new(struct cs_images *m);
void cs_transfers_free(struct cs_transfers *ts); /* cancels, waits; accepts NULL */

/* A repository session that several may need after its pull has gone; counted. */
struct cs_session {
	_Atomic int refs;
	struct cs_repo *repo;
	int cancel_fd; /* own duplicate */
	struct cs_transfers *ts;
};
CS_MUST_CHECK int cs_session_open(struct cs_transfers *ts, struct cs_registry *reg, const struct cs_repo_options *o, struct cs_session **ret, struct cs_err **err);
struct cs_session *cs_session_ref(struct cs_session *s);
void cs_session_unref(struct cs_session *s); /* accepts NULL */

struct cs_transfer_want {
	struct cs_digest blob, chain, diff; /* chain "" : only the blob, without extracting it */
	int64_t size;                       /* of the blob */
};
/* Joins one that is under way, or starts one. */
struct cs_transfer *cs_transfer_get(struct cs_transfers *ts, const struct cs_transfer_want *want, struct cs_session *s);
void cs_transfer_put(struct cs_transfers *ts, struct cs_transfer *t);

enum cs_transfer_phase { CS_TR_QUEUED, CS_TR_DOWNLOADING, CS_TR_VERIFYING, CS_TR_DOWNLOADED, CS_TR_EXTRACTING, CS_TR_READY, CS_TR_FAILED };
struct cs_transfer_state {
	enum cs_transfer_phase phase;
	bool waiting;     /* QUEUED, behind others */
	int64_t got;      /* bytes of the blob that have come */
	int64_t size;     /* of the extracted layer, once READY */
	unsigned retries; /* counts pauses */
	unsigned pause_s; /* the last one's length */
};
void cs_transfer_state(struct cs_transfers *ts, struct cs_transfer *t, struct cs_transfer_state *ret);
/* Until something has happened to some transfer since *seen (start with 0), or timeout_ms have passed. */
void cs_transfers_wait(struct cs_transfers *ts, unsigned *seen, int timeout_ms);
/* A copy of a FAILED transfer's error. Returns -1. */
int cs_transfer_error(struct cs_transfers *ts, struct cs_transfer *t, struct cs_err **err);
/* Gives READY layers their names; t[i] NULL: that layer exists. chains: all of the image's, lowest first. */
CS_MUST_CHECK int cs_transfers_publish(struct cs_transfers *ts, struct cs_transfer *const *t, const struct cs_digest *chains, size_t n, struct cs_err **err);
