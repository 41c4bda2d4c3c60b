/* SPDX-License-Identifier: Apache-2.0
 *
 * See loop.h. */
#include "worker/loop.h"

#include <fcntl.h>

#include "base/time.h"

#define BATCH 32

static int epfd = -EBADF;
static struct cs_timer *timers;
static void *graves[64];
static size_t n_graves;
static void **more_graves; /* rarely needed */
static size_t n_more;

void cs_loop_init(void)
{
	epfd = epoll_create1(EPOLL_CLOEXEC);
	if (epfd < 0)
		abort();
}

void cs_source_watch(struct cs_source *s, uint32_t events)
{
	struct epoll_event e = {.events = events, .data.ptr = s};

	if (s->fd < 0 || (s->added && s->events == events) || (!s->added && !events))
		return;
	if (!events) {
		(void)epoll_ctl(epfd, EPOLL_CTL_DEL, s->fd, NULL);
		s->added = false;
	} else if (epoll_ctl(epfd, s->added ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, s->fd, &e) == 0) {
		s->added = true;
	}
	s->events = events;
}

void cs_source_close(struct cs_source *s)
{
	if (s->fd < 0)
		return;
	/* the descriptor may have duplicates elsewhere, so closing alone would not take it out of the set */
	cs_source_watch(s, 0);
	cs_close(s->fd);
	s->fd = -EBADF;
}

void cs_timer_stop(struct cs_timer *t)
{
	for (struct cs_timer **p = &timers; *p; p = &(*p)->next) {
		if (*p == t) {
			*p = t->next;
			break;
		}
	}
	t->next = NULL;
	t->at = 0;
}

void cs_timer_arm(struct cs_timer *t, int64_t at)
{
	cs_timer_stop(t);
	t->at = at;
	t->next = timers;
	timers = t;
}

void cs_loop_free(void *p)
{
	if (!p)
		return;
	if (n_graves < CS_ARRAY_SIZE(graves)) {
		graves[n_graves++] = p;
		return;
	}
	more_graves = cs_xreallocarray(more_graves, n_more + 1, sizeof(*more_graves));
	more_graves[n_more++] = p;
}

static void bury(void)
{
	while (n_graves)
		free(graves[--n_graves]);
	while (n_more)
		free(more_graves[--n_more]);
	free(more_graves);
	more_graves = NULL;
}

static int timeout_ms(bool may_block)
{
	int64_t first = INT64_MAX;

	if (!may_block)
		return 0;
	for (struct cs_timer *t = timers; t; t = t->next)
		first = CS_MIN(first, t->at);
	if (first == INT64_MAX)
		return -1;
	int64_t left = first - cs_monotonic_ns();
	if (left <= 0)
		return 0;
	return (int)CS_MIN((left + CS_NS_PER_MS - 1) / CS_NS_PER_MS, 3600000);
}

static void run_timers(void)
{
	if (!timers)
		return;
	int64_t now = cs_monotonic_ns();
	for (struct cs_timer *t = timers; t;) {
		if (t->at > now) {
			t = t->next;
			continue;
		}
		cs_timer_stop(t);
		t->fn(t);
		t = timers; /* the callback may have changed the list; a timer re-armed for later is skipped */
	}
}

int cs_loop_turn(bool may_block)
{
	struct epoll_event ev[BATCH];
	int n = epoll_wait(epfd, ev, BATCH, timeout_ms(may_block));

	for (int i = 0; i < n; i++) {
		struct cs_source *s = ev[i].data.ptr;
		/* an earlier callback of this batch may have closed it or lost interest */
		if (s->added && s->fd >= 0)
			s->fn(s, ev[i].events);
	}
	run_timers();
	bury();
	return n < 0 ? 0 : n;
}
