/* SPDX-License-Identifier: Apache-2.0
 *
 * Deletion behind the caller's back: a tree is renamed into tmp/, which is where it ends to exist for everybody, and one thread
 * deletes it from there. The same thread makes spare snapshots (spare.c), once there is nothing left to delete. On a disk with discards or a busy journal the deletion takes tens of milliseconds that no client should wait for.
 * What a crash, or an end of the daemon that does not wait for it, leaves in tmp/ goes at the next open. The thread exists only while there is work. */
#include <sys/resource.h>
#include <unistd.h>

#include "base/io.h"
#include "base/log.h"
#include "storage/internal.h"

struct cs_discarded {
	struct cs_discarded *next;
	int dir_fd; /* the storage's */
	char name[64];
};

static void *discard_main(void *arg)
{
	struct cs_storage *s = arg;

	(void)setpriority(PRIO_PROCESS, (id_t)gettid(), 10); /* of this thread alone: whoever is waited for goes first */
	pthread_mutex_lock(&s->discard_lock);
	while (!atomic_load(&s->closing)) {
		struct cs_discarded *d = s->discarded;
		if (!d) {
			if (cs_spare_make(s))
				continue;
			break;
		}
		s->discarded = d->next;
		pthread_mutex_unlock(&s->discard_lock);
		int r = cs_remove_tree_until(d->dir_fd, d->name, &s->closing);
		if (r < 0 && r != -ECANCELED)
			cs_warn("storage", "delete %s: %s; tried again at the next start", d->name, cs_errno_text(-r));
		free(d);
		pthread_mutex_lock(&s->discard_lock);
	}
	s->discarding = false;
	pthread_cond_broadcast(&s->discard_idle);
	pthread_mutex_unlock(&s->discard_lock);
	return NULL;
}

void cs_storage_housekeeping(struct cs_storage *s)
{
	pthread_attr_t attr;
	pthread_t t;

	if (s->discarding || atomic_load(&s->closing))
		return;
	s->discarding = true;
	(void)pthread_attr_init(&attr);
	(void)pthread_attr_setstacksize(&attr, 256 * 1024);
	(void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	if (pthread_create(&t, &attr, discard_main, s) != 0)
		s->discarding = false; /* the next removal or the next start tries again */
	(void)pthread_attr_destroy(&attr);
}

static int discard(struct cs_storage *s, int dirfd, const char *name, int trash_fd, const char *kind, struct cs_err **err)
{
	struct cs_discarded *d = cs_xcalloc(1, sizeof(*d));

	cs_storage_tmp_name(s, kind, d->name);
	d->dir_fd = trash_fd;
	if (renameat(dirfd, name, trash_fd, d->name) < 0) {
		int e = errno;
		free(d);
		return e == ENOENT ? 0 : cs_fail(err, cs_storage_code(e), e, "remove %s", name);
	}
	pthread_mutex_lock(&s->discard_lock);
	d->next = s->discarded;
	s->discarded = d;
	cs_storage_housekeeping(s);
	pthread_mutex_unlock(&s->discard_lock);
	return 0;
}

int cs_storage_discard(struct cs_storage *s, int dirfd, const char *name, struct cs_err **err)
{
	return discard(s, dirfd, name, s->tmp_fd, "gone", err);
}

int cs_storage_discard_within(struct cs_storage *s, int dirfd, const char *name, struct cs_err **err)
{
	return discard(s, dirfd, name, dirfd, ".gone", err);
}

void cs_storage_discard_wait(struct cs_storage *s)
{
	pthread_mutex_lock(&s->discard_lock);
	while (s->discarding)
		pthread_cond_wait(&s->discard_idle, &s->discard_lock);
	pthread_mutex_unlock(&s->discard_lock);
}

void cs_storage_discard_done(struct cs_storage *s)
{
	pthread_mutex_lock(&s->discard_lock);
	atomic_store(&s->closing, true);
	while (s->discarding || s->flushing)
		pthread_cond_wait(&s->discard_idle, &s->discard_lock);
	for (struct cs_discarded *d = s->discarded, *next; d; d = next) {
		next = d->next;
		free(d);
	}
	s->discarded = NULL;
	pthread_mutex_unlock(&s->discard_lock);
}
