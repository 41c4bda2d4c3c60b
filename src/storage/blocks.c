/* SPDX-License-Identifier: Apache-2.0
 *
 * A ring of blocks under one mutex. The block in the consumer's hands counts as used, so nobody writes to it. */
#include "storage/blocks.h"

#include <pthread.h>

#include "base/macros.h"

#define MAX_BLOCKS 8u

struct cs_blocks {
	pthread_mutex_t lock;
	pthread_cond_t can_put, can_take;
	size_t size;
	unsigned n, head, used; /* head: oldest used block */
	bool taken;             /* head is in the consumer's hands */
	bool ended, closed;
	int error;
	struct {
		char *p;
		size_t len;
	} block[MAX_BLOCKS];
};

struct cs_blocks *cs_blocks_new(unsigned n, size_t size)
{
	struct cs_blocks *b = cs_xcalloc(1, sizeof(*b));

	pthread_mutex_init(&b->lock, NULL);
	pthread_cond_init(&b->can_put, NULL);
	pthread_cond_init(&b->can_take, NULL);
	b->n = CS_MIN(n, MAX_BLOCKS);
	b->size = size;
	return b; /* blocks are allocated at their first use: a small layer needs one */
}

void cs_blocks_free(struct cs_blocks *b)
{
	if (!b)
		return;
	for (unsigned i = 0; i < b->n; i++)
		free(b->block[i].p);
	pthread_mutex_destroy(&b->lock);
	pthread_cond_destroy(&b->can_put);
	pthread_cond_destroy(&b->can_take);
	free(b);
}

void *cs_blocks_space(struct cs_blocks *b, size_t *size)
{
	pthread_mutex_lock(&b->lock);
	while (b->used == b->n && !b->closed)
		pthread_cond_wait(&b->can_put, &b->lock);
	bool closed = b->closed;
	unsigned i = (b->head + b->used) % b->n; /* stays the same until put: only the producer adds */
	pthread_mutex_unlock(&b->lock);
	if (closed)
		return NULL;
	if (!b->block[i].p)
		b->block[i].p = cs_xmalloc(b->size);
	*size = b->size;
	return b->block[i].p;
}

void cs_blocks_put(struct cs_blocks *b, size_t len)
{
	pthread_mutex_lock(&b->lock);
	b->block[(b->head + b->used) % b->n].len = len;
	b->used++;
	pthread_cond_signal(&b->can_take);
	pthread_mutex_unlock(&b->lock);
}

void cs_blocks_end(struct cs_blocks *b, int error)
{
	pthread_mutex_lock(&b->lock);
	b->ended = true;
	b->error = error;
	pthread_cond_signal(&b->can_take);
	pthread_mutex_unlock(&b->lock);
}

ssize_t cs_blocks_next(struct cs_blocks *b, const void **ret)
{
	ssize_t r;

	pthread_mutex_lock(&b->lock);
	if (b->taken) {
		b->taken = false;
		b->head = (b->head + 1) % b->n;
		b->used--;
		pthread_cond_signal(&b->can_put);
	}
	while (b->used == 0 && !b->ended)
		pthread_cond_wait(&b->can_take, &b->lock);
	if (b->used) {
		b->taken = true;
		*ret = b->block[b->head].p;
		r = (ssize_t)b->block[b->head].len;
	} else
		r = b->error;
	pthread_mutex_unlock(&b->lock);
	return r;
}

void cs_blocks_close(struct cs_blocks *b)
{
	pthread_mutex_lock(&b->lock);
	b->closed = true;
	pthread_cond_signal(&b->can_put);
	pthread_mutex_unlock(&b->lock);
}
