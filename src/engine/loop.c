/* SPDX-License-Identifier: Apache-2.0
 *
 * Timers and background jobs; see loop.h. Owner: the engine. lock guards everything in the struct;
 * callbacks run without it. */
#include "engine/loop.h"

#include <pthread.h>
#include <poll.h>
#include <sys/eventfd.h>

#include "base/guard.h"
#include "base/log.h"
#include "base/time.h"
#include "engine/trim.h"

#define MAX_THREADS 96
#define IDLE_SECONDS 3
#define STACK_SIZE ((size_t)256 * 1024)

struct timer {
	int64_t at;
	uint64_t id;
	cs_loop_fn fn;
	void *ctx;
};
struct job {
	cs_loop_fn fn;
	void *ctx;
	struct job *next;
};
struct cs_loop {
	pthread_mutex_t lock;
	pthread_cond_t work, idle;
	pthread_t thread;
	int wake; /* the thread, for a timer that is due before those it knows of, and for the end */
	bool stop;
	struct timer *heap;
	size_t n, cap;
	uint64_t next_id;
	struct job *head, **tail;
	size_t queued, threads, waiting;
};

static void wake(struct cs_loop *l)
{
	uint64_t one = 1;
	(void)!write(l->wake, &one, sizeof(one));
}

static void sift_up(struct cs_loop *l, size_t i)
{
	while (i && l->heap[i].at < l->heap[(i - 1) / 2].at) {
		CS_SWAP(l->heap[i], l->heap[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
}

static void sift_down(struct cs_loop *l, size_t i)
{
	for (;;) {
		size_t small = i, left = 2 * i + 1;
		if (left < l->n && l->heap[left].at < l->heap[small].at)
			small = left;
		if (left + 1 < l->n && l->heap[left + 1].at < l->heap[small].at)
			small = left + 1;
		if (small == i)
			return;
		CS_SWAP(l->heap[i], l->heap[small]);
		i = small;
	}
}

static struct timer heap_remove(struct cs_loop *l, size_t i)
{
	struct timer t = l->heap[i];
	l->heap[i] = l->heap[--l->n];
	if (i < l->n) {
		sift_down(l, i);
		sift_up(l, i);
	}
	return t;
}

uint64_t cs_timer_set(struct cs_loop *l, int64_t at, cs_loop_fn fn, void *ctx)
{
	pthread_mutex_lock(&l->lock);
	if (l->n == l->cap) {
		l->cap = l->cap ? 2 * l->cap : 16;
		l->heap = cs_xreallocarray(l->heap, l->cap, sizeof(*l->heap));
	}
	uint64_t id = ++l->next_id;
	l->heap[l->n] = (struct timer){at, id, fn, ctx};
	sift_up(l, l->n++);
	bool first = l->heap[0].id == id;
	pthread_mutex_unlock(&l->lock);
	if (first)
		wake(l);
	return id;
}

bool cs_timer_cancel(struct cs_loop *l, uint64_t id)
{
	bool found = false;

	if (!id)
		return false;
	pthread_mutex_lock(&l->lock);
	for (size_t i = 0; i < l->n && !found; i++)
		if (l->heap[i].id == id) {
			(void)heap_remove(l, i);
			found = true;
		}
	pthread_mutex_unlock(&l->lock);
	return found;
}

/* Runs what is due; returns the time until the next timer in ms, -1 for none. */
static int run_timers(struct cs_loop *l)
{
	pthread_mutex_lock(&l->lock);
	while (l->n && !l->stop) {
		int64_t left = l->heap[0].at - cs_monotonic_ns();
		if (left > 0) {
			pthread_mutex_unlock(&l->lock);
			int64_t ms = (left + CS_NS_PER_MS - 1) / CS_NS_PER_MS;
			return (int)CS_MIN(ms, 3600 * 1000);
		}
		struct timer t = heap_remove(l, 0);
		pthread_mutex_unlock(&l->lock);
		t.fn(t.ctx);
		pthread_mutex_lock(&l->lock);
	}
	pthread_mutex_unlock(&l->lock);
	return -1;
}

static void *loop_main(void *arg)
{
	struct cs_loop *l = arg;
	struct pollfd p = {.fd = l->wake, .events = POLLIN};
	uint64_t v;

	(void)pthread_setname_np(pthread_self(), "timers");
	for (;;) {
		int timeout = run_timers(l);
		if (poll(&p, 1, timeout) > 0)
			(void)!read(l->wake, &v, sizeof(v));
		pthread_mutex_lock(&l->lock);
		bool stop = l->stop;
		pthread_mutex_unlock(&l->lock);
		if (stop)
			return NULL;
	}
}

static void *worker_main(void *arg)
{
	struct cs_loop *l = arg;

	(void)pthread_setname_np(pthread_self(), "job");
	pthread_mutex_lock(&l->lock);
	for (;;) {
		if (!l->head) {
			struct timespec until;
			int r = 0;
			if (l->stop)
				break;
			(void)clock_gettime(CLOCK_MONOTONIC, &until);
			until.tv_sec += IDLE_SECONDS;
			l->waiting++;
			while (!l->head && !l->stop && r == 0)
				r = pthread_cond_timedwait(&l->work, &l->lock, &until);
			l->waiting--;
			if (!l->head)
				break;
		}
		struct job *j = l->head;
		l->head = j->next;
		if (!l->head)
			l->tail = &l->head;
		l->queued--;
		pthread_mutex_unlock(&l->lock);
		j->fn(j->ctx);
		free(j);
		cs_trim_touch();
		pthread_mutex_lock(&l->lock);
	}
	l->threads--;
	pthread_cond_broadcast(&l->idle);
	pthread_mutex_unlock(&l->lock);
	return NULL;
}

static int spawn_thread(pthread_t *t, void *(*fn)(void *), void *arg, bool detached)
{
	pthread_attr_t a;

	(void)pthread_attr_init(&a);
	(void)pthread_attr_setstacksize(&a, STACK_SIZE);
	if (detached)
		(void)pthread_attr_setdetachstate(&a, PTHREAD_CREATE_DETACHED);
	int r = pthread_create(t, &a, fn, arg);
	(void)pthread_attr_destroy(&a);
	return -r;
}

void cs_job(struct cs_loop *l, cs_loop_fn fn, void *ctx)
{
	struct job *j = cs_xcalloc(1, sizeof(*j));
	pthread_t t;

	j->fn = fn;
	j->ctx = ctx;
	pthread_mutex_lock(&l->lock);
	*l->tail = j;
	l->tail = &j->next;
	l->queued++;
	if (l->waiting < l->queued && l->threads < MAX_THREADS) {
		l->threads++;
		int r = spawn_thread(&t, worker_main, l, true);
		if (r < 0) {
			l->threads--;
			cs_error("engine", "job thread: %s", cs_errno_text(-r));
		}
	}
	pthread_cond_signal(&l->work);
	pthread_mutex_unlock(&l->lock);
}

int cs_loop_new(struct cs_loop **ret, struct cs_err **err)
{
	struct cs_loop *l = cs_xcalloc(1, sizeof(*l));

	(void)pthread_mutex_init(&l->lock, NULL);
	cs_cond_init(&l->work);
	cs_cond_init(&l->idle);
	l->tail = &l->head;
	l->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int r = l->wake < 0 ? -errno : 0;
	if (r == 0)
		r = spawn_thread(&l->thread, loop_main, l, false);
	if (r < 0) {
		cs_close(l->wake);
		free(l);
		return cs_fail(err, CS_ERR_INTERNAL, -r, "start the timer thread");
	}
	*ret = l;
	return 0;
}

void cs_loop_free(struct cs_loop *l, int drain_ms)
{
	struct timespec until;
	int r = 0;

	if (!l)
		return;
	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += drain_ms / 1000 + 1;
	pthread_mutex_lock(&l->lock);
	l->stop = true;
	pthread_cond_broadcast(&l->work);
	while (l->threads && r == 0)
		r = pthread_cond_timedwait(&l->idle, &l->lock, &until);
	bool drained = l->threads == 0;
	pthread_mutex_unlock(&l->lock);
	wake(l);
	(void)pthread_join(l->thread, NULL);
	if (!drained)
		return; /* a stuck job still uses it: leaked on purpose, the process is about to end */
	cs_close(l->wake);
	free(l->heap);
	(void)pthread_cond_destroy(&l->work);
	(void)pthread_cond_destroy(&l->idle);
	(void)pthread_mutex_destroy(&l->lock);
	free(l);
}

void cs_loop_counts(struct cs_loop *l, size_t *timers, size_t *threads, size_t *queued)
{
	pthread_mutex_lock(&l->lock);
	*timers = l->n;
	*threads = l->threads;
	*queued = l->queued;
	pthread_mutex_unlock(&l->lock);
}
