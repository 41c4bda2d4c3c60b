/* SPDX-License-Identifier: Apache-2.0
 *
 * The hash table of dns_map.h: chains of nodes, doubled by copying, since a reader may stand on any node of the old one. */
#include "network/dns_map.h"

#include <string.h>

#define FIRST 16

struct cs_dns_buckets {
	struct cs_dns_retire retire;
	size_t mask;
	_Atomic(struct cs_dns_node *) head[];
};

/* FNV-1a, from a secret start: names of containers are chosen by people who may be somebody's enemy. */
static uint64_t hash_of(const struct cs_dns_table *t, const uint8_t *key, size_t len)
{
	uint64_t h = t->seed;

	for (size_t i = 0; i < len; i++)
		h = (h ^ key[i]) * 0x100000001b3;
	return h ^ h >> 29;
}

static bool is_key(const struct cs_dns_node *n, uint64_t hash, const uint8_t *key, size_t len)
{
	return n->hash == hash && n->key_len == len && memcmp(n->key, key, len) == 0;
}

static void free_plain(struct cs_dns_retire *r) { free(r); }

static struct cs_dns_node *node_alloc(size_t n, uint64_t hash, const uint8_t *key, size_t len)
{
	struct cs_dns_node *node = cs_xcalloc(1, sizeof(*node) + n * sizeof(node->endpoint[0]) + len);
	uint8_t *place = (uint8_t *)(node->endpoint + n);

	memcpy(place, key, len);
	node->retire.free = free_plain;
	node->hash = hash;
	node->key_len = (uint8_t)len;
	node->key = place;
	node->n = n;
	return node;
}

/* With room for n endpoints, of which it has as many as there are. */
static struct cs_dns_node *node_new(const struct cs_dns_node *like, size_t n)
{
	struct cs_dns_node *node = node_alloc(n, like->hash, like->key, like->key_len);

	memcpy(node->endpoint, like->endpoint, CS_MIN(n, like->n) * sizeof(node->endpoint[0]));
	return node;
}

static struct cs_dns_buckets *buckets_new(size_t size)
{
	struct cs_dns_buckets *b = cs_xcalloc(1, sizeof(*b) + size * sizeof(b->head[0]));

	b->retire.free = free_plain;
	b->mask = size - 1;
	return b;
}

/* Copies everything into a table of twice the size. The nodes, too: their links belong to readers of the old one. */
static struct cs_dns_buckets *grow(struct cs_dns_table *t, struct cs_dns_map *m, struct cs_dns_buckets *old)
{
	struct cs_dns_buckets *b = buckets_new((old->mask + 1) * 2);

	for (size_t i = 0; i <= old->mask; i++)
		for (struct cs_dns_node *n = atomic_load(&old->head[i]); n; n = atomic_load(&n->next)) {
			struct cs_dns_node *copy = node_new(n, n->n);
			atomic_store(&copy->next, atomic_load(&b->head[n->hash & b->mask]));
			atomic_store(&b->head[n->hash & b->mask], copy);
		}
	atomic_store(&m->buckets, b);
	for (size_t i = 0; i <= old->mask; i++)
		for (struct cs_dns_node *n = atomic_load(&old->head[i]), *next; n; n = next) {
			next = atomic_load(&n->next);
			cs_dns_retire(t, &n->retire);
		}
	cs_dns_retire(t, &old->retire);
	return b;
}

/* Where the link to the key's node stands, or to the end of its chain. */
static _Atomic(struct cs_dns_node *) *find(struct cs_dns_buckets *b, uint64_t hash, const uint8_t *key, size_t len)
{
	_Atomic(struct cs_dns_node *) *at = &b->head[hash & b->mask];

	for (struct cs_dns_node *n = atomic_load(at); n && !is_key(n, hash, key, len); n = atomic_load(at))
		at = &n->next;
	return at;
}

static void replace(struct cs_dns_table *t, _Atomic(struct cs_dns_node *) *at, struct cs_dns_node *old, struct cs_dns_node *node)
{
	struct cs_dns_node *next = old ? atomic_load(&old->next) : NULL;

	if (node)
		atomic_store(&node->next, next);
	atomic_store(at, node ? node : next);
	if (old)
		cs_dns_retire(t, &old->retire);
}

void cs_dns_map_add(struct cs_dns_table *t, struct cs_dns_map *m, const uint8_t *key, size_t len, const struct cs_dns_endpoint *e)
{
	uint64_t hash = hash_of(t, key, len);
	struct cs_dns_buckets *b = atomic_load(&m->buckets);

	if (!b) {
		b = buckets_new(FIRST);
		atomic_store(&m->buckets, b);
	} else if (m->n > b->mask) {
		b = grow(t, m, b);
	}
	_Atomic(struct cs_dns_node *) *at = find(b, hash, key, len);
	struct cs_dns_node *old = atomic_load(at), *node;
	for (size_t i = 0; old && i < old->n; i++)
		if (old->endpoint[i] == e)
			return;
	if (old) {
		node = node_new(old, old->n + 1);
	} else {
		node = node_alloc(1, hash, key, len);
		m->n++;
	}
	node->endpoint[node->n - 1] = e;
	replace(t, at, old, node);
}

void cs_dns_map_remove(struct cs_dns_table *t, struct cs_dns_map *m, const uint8_t *key, size_t len, const struct cs_dns_endpoint *e)
{
	struct cs_dns_buckets *b = atomic_load(&m->buckets);
	_Atomic(struct cs_dns_node *) *at = b ? find(b, hash_of(t, key, len), key, len) : NULL;
	struct cs_dns_node *old = at ? atomic_load(at) : NULL, *node = NULL;
	size_t i = 0;

	while (old && i < old->n && old->endpoint[i] != e)
		i++;
	if (!old || i == old->n)
		return;
	if (old->n > 1) {
		node = node_new(old, old->n - 1);
		memcpy(node->endpoint + i, old->endpoint + i + 1, (old->n - i - 1) * sizeof(node->endpoint[0]));
	} else {
		m->n--;
	}
	replace(t, at, old, node);
}

void cs_dns_map_free(struct cs_dns_map *m)
{
	struct cs_dns_buckets *b = atomic_exchange(&m->buckets, NULL);

	for (size_t i = 0; b && i <= b->mask; i++)
		for (struct cs_dns_node *n = atomic_load(&b->head[i]), *next; n; n = next) {
			next = atomic_load(&n->next);
			free(n);
		}
	free(b);
}

const struct cs_dns_node *cs_dns_map_get(const struct cs_dns_table *t, const struct cs_dns_map *m, const uint8_t *key, size_t len)
{
	struct cs_dns_buckets *b = atomic_load(&m->buckets);

	return b ? atomic_load(find(b, hash_of(t, key, len), key, len)) : NULL;
}
