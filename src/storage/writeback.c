/* SPDX-License-Identifier: Apache-2.0
 *
 * Layers are on disk before they get their names (stage.c), and the kernel by itself begins to write half a minute after the first byte. So
 * the disk is told to begin while a large layer still comes: what the sync at the end waits for then is the last part only. Whole file
 * systems at a time: a layer is tens of thousands of files, most of them smaller than a disk likes. Any thread. */
#include <unistd.h>

#include "storage/internal.h"

static void *flush_main(void *arg)
{
	struct cs_storage *s = arg;

	(void)syncfs(s->tmp_fd); /* a failure is told to every descriptor once: to that of the sync that counts, too */
	pthread_mutex_lock(&s->discard_lock);
	s->flushing = false;
	pthread_cond_broadcast(&s->discard_idle);
	pthread_mutex_unlock(&s->discard_lock);
	return NULL;
}

void cs_storage_writeback(struct cs_storage *s)
{
	pthread_attr_t attr;
	pthread_t t;

	pthread_mutex_lock(&s->discard_lock);
	if (!s->flushing && !atomic_load(&s->closing)) {
		s->flushing = true;
		(void)pthread_attr_init(&attr);
		(void)pthread_attr_setstacksize(&attr, 64 * 1024);
		(void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
		s->flushing = pthread_create(&t, &attr, flush_main, s) == 0;
		(void)pthread_attr_destroy(&attr);
	}
	pthread_mutex_unlock(&s->discard_lock);
}
