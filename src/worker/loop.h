/* SPDX-License-Identifier: Apache-2.0
 *
 * The worker's event loop: one epoll, level-triggered, and a short list of timers. A callback may remove any source or timer,
 * its own included; memory that holds a source is given to cs_loop_free(), which frees it after the batch. */
#pragma once

#include <sys/epoll.h>

#include "base/macros.h"

struct cs_source { /* embed; owner: whoever embeds it */
	int fd;
	uint32_t events;
	bool added; /* in the epoll set */
	void (*fn)(struct cs_source *s, uint32_t events);
};
struct cs_timer {
	int64_t at; /* monotonic ns; 0 = not armed */
	struct cs_timer *next;
	void (*fn)(struct cs_timer *t);
};

void cs_loop_init(void); /* aborts without epoll */
/* Starts, changes or (events 0) ends watching. With events 0 not even EPOLLHUP is reported, so a paused source cannot spin. */
void cs_source_watch(struct cs_source *s, uint32_t events);
void cs_source_close(struct cs_source *s); /* stop watching and close the descriptor */
void cs_timer_arm(struct cs_timer *t, int64_t at);
void cs_timer_stop(struct cs_timer *t);
void cs_loop_free(void *p);
/* One wait and one round of callbacks. `may_block` false: only look. Returns the number of ready sources. */
int cs_loop_turn(bool may_block);
