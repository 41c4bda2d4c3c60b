/* SPDX-License-Identifier: Apache-2.0
 *
 * The counted elements. A compact table of its own, as ten thousand published ports are twenty thousand elements. */
#include "network/firewall_store.h"

#include <string.h>

static uint32_t hash_key(enum fw_set_id set, const uint8_t *key, size_t len)
{
	uint32_t h = 2166136261u ^ (uint32_t)set; /* FNV-1a, then mixed: the table uses the low bits */

	for (size_t i = 0; i < len; i++)
		h = (h ^ key[i]) * 16777619u;
	h ^= h >> 15;
	h *= 0x85ebca6bu;
	return h ^ h >> 13;
}

static size_t home(const struct fw_store *s, uint32_t hash) { return hash & (s->cap - 1); }

static struct fw_item **find(const struct fw_store *s, enum fw_set_id set, uint32_t hash, const uint8_t *key)
{
	if (s->cap == 0)
		return NULL;
	for (size_t i = home(s, hash); s->slots[i]; i = (i + 1) & (s->cap - 1)) {
		struct fw_item *it = s->slots[i];

		if (it->hash == hash && it->set == set && memcmp(it->bytes, key, it->klen) == 0)
			return &s->slots[i];
	}
	return NULL;
}

static void place(struct fw_store *s, struct fw_item *it)
{
	size_t i = home(s, it->hash);

	while (s->slots[i])
		i = (i + 1) & (s->cap - 1);
	s->slots[i] = it;
}

static void grow(struct fw_store *s)
{
	struct fw_item **old = s->slots;
	size_t n = s->cap;

	s->cap = n ? n * 2 : 64;
	s->slots = cs_xcalloc(s->cap, sizeof(*s->slots));
	for (size_t i = 0; i < n; i++) {
		if (old[i])
			place(s, old[i]);
	}
	free(old);
}

static void drop(struct fw_store *s, struct fw_item *it)
{
	size_t hole = (size_t)(find(s, it->set, it->hash, it->bytes) - s->slots);

	free(it);
	s->n--;
	/* those behind the hole that would not be found past it any more move up (Knuth 6.4 R) */
	for (size_t i = (hole + 1) & (s->cap - 1); s->slots[i]; i = (i + 1) & (s->cap - 1)) {
		size_t want = home(s, s->slots[i]->hash);

		if (((i - want) & (s->cap - 1)) >= ((i - hole) & (s->cap - 1))) {
			s->slots[hole] = s->slots[i];
			hole = i;
		}
	}
	s->slots[hole] = NULL;
}

static struct fw_touched *touch(struct fw_store *s, struct fw_item *it, uint32_t was)
{
	if (it->touch)
		return &s->touched[it->touch - 1];
	if (s->n_touched == s->cap_touched) {
		s->cap_touched = CS_MAX(16, s->cap_touched * 2);
		s->touched = cs_xreallocarray(s->touched, s->cap_touched, sizeof(*s->touched));
	}
	s->touched[s->n_touched] = (struct fw_touched){.item = it, .was = was};
	it->touch = (uint32_t)++s->n_touched;
	return &s->touched[s->n_touched - 1];
}

int fw_store_ref(struct fw_store *s, const struct fw_elem *e, struct cs_err **err)
{
	uint32_t hash = hash_key(e->set, e->bytes, e->klen);
	struct fw_item **at = find(s, e->set, hash, e->bytes), *it;
	const uint8_t *data = e->bytes + e->klen;

	if (!at) {
		if (s->n >= s->cap / 4 * 3)
			grow(s);
		it = cs_xcalloc(1, sizeof(*it) + e->klen + e->dlen);
		*it = (struct fw_item){.hash = hash, .set = (uint8_t)e->set, .klen = e->klen, .dlen = e->dlen, .refs = 1};
		memcpy(it->bytes, e->bytes, (size_t)e->klen + e->dlen);
		place(s, it);
		s->n++;
		(void)touch(s, it, 0);
		return 0;
	}
	it = *at;
	if (memcmp(it->bytes + it->klen, data, it->dlen) != 0) {
		if (it->refs > 0) {
			cs_autostr struct cs_str text = CS_STR_INIT(512);

			fw_format_elem(&text, e->set, it->bytes, it->bytes + it->klen);
			return cs_fail(err, CS_ERR_CONFLICT, EEXIST, "firewall: %s has %s already", fw_sets[e->set].name, text.buf);
		}
		struct fw_touched *t = touch(s, it, 0); /* dead, so touched already */
		if (!t->changed)
			memcpy(t->data, it->bytes + it->klen, it->dlen);
		t->changed = true;
		memcpy(it->bytes + it->klen, data, it->dlen);
	}
	if (it->refs == UINT32_MAX)
		return cs_fail(err, CS_ERR_INTERNAL, EOVERFLOW, "firewall: too many users of one element");
	(void)touch(s, it, it->refs);
	it->refs++;
	return 0;
}

bool fw_store_unref(struct fw_store *s, const struct fw_elem *e)
{
	struct fw_item **at = find(s, e->set, hash_key(e->set, e->bytes, e->klen), e->bytes);

	if (!at || (*at)->refs == 0 || memcmp((*at)->bytes + (*at)->klen, e->bytes + e->klen, e->dlen) != 0)
		return false;
	(void)touch(s, *at, (*at)->refs);
	(*at)->refs--;
	return true;
}

struct fw_item *fw_store_find(const struct fw_store *s, const struct fw_elem *e)
{
	struct fw_item **at = find(s, e->set, hash_key(e->set, e->bytes, e->klen), e->bytes);

	return at ? *at : NULL;
}

bool fw_store_has(const struct fw_store *s, const struct fw_elem *e)
{
	const struct fw_item *it = fw_store_find(s, e);

	return it && it->refs > 0;
}

static void finish(struct fw_store *s)
{
	for (size_t i = 0; i < s->n_touched; i++)
		s->touched[i].item->touch = 0;
	for (size_t i = 0; i < s->n_touched; i++) {
		if (s->touched[i].item->refs == 0)
			drop(s, s->touched[i].item);
	}
	s->n_touched = 0;
	if (s->cap_touched > 1024) { /* a big batch's list does not stay */
		free(s->touched);
		s->touched = NULL;
		s->cap_touched = 0;
	}
}

void fw_store_commit(struct fw_store *s) { finish(s); }

void fw_store_abort(struct fw_store *s)
{
	for (size_t i = 0; i < s->n_touched; i++) {
		struct fw_touched *t = &s->touched[i];

		t->item->refs = t->was;
		if (t->changed)
			memcpy(t->item->bytes + t->item->klen, t->data, t->item->dlen);
	}
	finish(s);
}

void fw_store_done(struct fw_store *s)
{
	for (size_t i = 0; i < s->cap; i++)
		free(s->slots[i]);
	free(s->slots);
	free(s->touched);
	*s = (struct fw_store){0};
}
