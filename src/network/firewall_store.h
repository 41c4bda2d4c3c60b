/* SPDX-License-Identifier: Apache-2.0
 *
 * All elements that shall be in the kernel, counted, and the changes of one transaction. No locks: firewall.c's is held. */
#pragma once

#include "network/firewall_sets.h"

struct fw_item {
	uint32_t hash;
	uint32_t refs;     /* 0: goes when the transaction ends */
	uint32_t touch;    /* 1 + place in the transaction's list, 0: not in it */
	uint8_t set, klen, dlen;
	bool there;        /* firewall_kernel.h */
	uint8_t bytes[];   /* key, then data */
};

struct fw_touched {
	struct fw_item *item;
	uint32_t was;                /* refs before */
	bool changed;                /* data are new ones */
	uint8_t data[FW_DATA_MAX];   /* the old ones */
};

struct fw_store {
	struct fw_item **slots; /* open addressing, a power of two, at most 3/4 full */
	size_t n, cap;
	struct fw_touched *touched;
	size_t n_touched, cap_touched;
};

void fw_store_done(struct fw_store *s);
/* One more reference. CONFLICT when the key is there with other data. The caller aborts the transaction after any failure. */
CS_MUST_CHECK int fw_store_ref(struct fw_store *s, const struct fw_elem *e, struct cs_err **err);
/* One less; an unknown element, or one with other data, is left alone (false). */
bool fw_store_unref(struct fw_store *s, const struct fw_elem *e);
bool fw_store_has(const struct fw_store *s, const struct fw_elem *e); /* its key, with whatever data */
/* What the kernel must be told of a touched item: nothing, delete, add, or both in this order. */
static inline bool fw_touched_deletes(const struct fw_touched *t) { return t->was > 0 && (t->item->refs == 0 || t->changed); }
static inline bool fw_touched_adds(const struct fw_touched *t) { return t->item->refs > 0 && (t->was == 0 || t->changed); }
struct fw_item *fw_store_find(const struct fw_store *s, const struct fw_elem *e); /* by its key; referenced or not */
void fw_store_commit(struct fw_store *s); /* the transaction is done */
void fw_store_abort(struct fw_store *s);  /* everything as before */
