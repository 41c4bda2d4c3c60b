/* SPDX-License-Identifier: Apache-2.0
 *
 * How many connections there may be. Those at work (a handler runs, an answer is on its way) and those that wait for their client (idle, half a
 * header, half a body) are counted apart: whoever holds thousands of silent connections must not lock anybody out. When too many wait, the one
 * that has been silent for longest is closed; when too many are at work, the next request is refused. Any thread. */
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <utlist.h>

#include "api/call.h"
#include "base/log.h"

#define WAITING_MAX 512u  /* each may hold a thread and the library's buffer, 256 KiB once it has served a request */
#define WORKING_MAX 3072u
#define ENDING_MAX 512u   /* closed by us, their threads not yet gone */

enum conn_state { CONN_WAITING, CONN_WORKING, CONN_ENDED };
struct http_conn {
	struct http_conn *prev, *next; /* in the listener's list while it waits, the longest silence first */
	int fd;                        /* borrowed: the library closes it after http_conn_close */
	enum conn_state state;
	bool given; /* its socket may be somebody else's by now: never shut down */
};

/* At most this part of the process's descriptors. */
static unsigned limit(unsigned max, unsigned part)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur / part < max)
		max = (unsigned)files.rlim_cur / part;
	return max;
}

unsigned http_conns_init(struct http_conns *c)
{
	(void)pthread_mutex_init(&c->lock, NULL);
	c->waiting_max = limit(WAITING_MAX, 8);
	c->working_max = limit(WORKING_MAX, 4);
	return c->waiting_max + c->working_max + limit(ENDING_MAX, 8);
}

static void tell_once(struct http_conns *c, const char *what, unsigned n)
{
	if (!c->told)
		cs_warn("api", "%s (%u): does a client leave its connections open?", what, n);
	c->told = true;
}

/* What has come and not been read is no silence: its thread has not had its turn yet. Some are looked at, no more. The lock is held. */
static struct http_conn *longest_silence(struct http_conns *c)
{
	for (int i = 0; i < 16 && c->waiting; i++) {
		struct http_conn *first = c->waiting;
		int unread = 0;

		if (ioctl(first->fd, FIONREAD, &unread) < 0 || unread == 0)
			break;
		DL_DELETE(c->waiting, first);
		DL_APPEND(c->waiting, first);
	}
	return c->waiting;
}

/* The lock is held. */
static void wait_last(struct http_conns *c, struct http_conn *conn)
{
	conn->state = CONN_WAITING;
	DL_APPEND(c->waiting, conn);
	c->n_waiting++;
	while (c->n_waiting > c->waiting_max) {
		struct http_conn *oldest = longest_silence(c);
		tell_once(c, "connections without a request are closed, there are too many", c->n_waiting);
		DL_DELETE(c->waiting, oldest);
		c->n_waiting--;
		oldest->state = CONN_ENDED;
		(void)shutdown(oldest->fd, SHUT_RDWR); /* its thread sees the end and closes */
	}
}

/* The lock is held. */
static void leave(struct http_conns *c, struct http_conn *conn)
{
	if (conn->state == CONN_WAITING) {
		DL_DELETE(c->waiting, conn);
		c->n_waiting--;
	} else if (conn->state == CONN_WORKING) {
		c->n_working--;
	}
	conn->state = CONN_ENDED;
}

struct http_conn *http_conn_open(struct http_conns *c, int fd)
{
	struct http_conn *conn = cs_xcalloc(1, sizeof(*conn));

	conn->fd = fd;
	pthread_mutex_lock(&c->lock);
	wait_last(c, conn);
	pthread_mutex_unlock(&c->lock);
	return conn;
}

void http_conn_heard(struct http_conns *c, struct http_conn *conn)
{
	pthread_mutex_lock(&c->lock);
	if (conn->state == CONN_WAITING && conn->next) {
		DL_DELETE(c->waiting, conn);
		DL_APPEND(c->waiting, conn);
	}
	pthread_mutex_unlock(&c->lock);
}

bool http_conn_work(struct http_conns *c, struct http_conn *conn)
{
	bool room;

	pthread_mutex_lock(&c->lock);
	room = conn->state != CONN_WAITING || c->n_working < c->working_max;
	if (!room) {
		tell_once(c, "requests are refused, too many are at work", c->n_working);
	} else if (conn->state == CONN_WAITING) {
		leave(c, conn);
		conn->state = CONN_WORKING;
		c->n_working++;
	}
	pthread_mutex_unlock(&c->lock);
	return room;
}

void http_conn_wait(struct http_conns *c, struct http_conn *conn)
{
	pthread_mutex_lock(&c->lock);
	if (conn->state == CONN_WORKING && !conn->given) {
		leave(c, conn);
		wait_last(c, conn);
	}
	pthread_mutex_unlock(&c->lock);
}

void http_conn_give(struct http_conns *c, struct http_conn *conn)
{
	pthread_mutex_lock(&c->lock);
	conn->given = true;
	pthread_mutex_unlock(&c->lock);
}

void http_conn_close(struct http_conns *c, struct http_conn *conn)
{
	pthread_mutex_lock(&c->lock);
	leave(c, conn);
	pthread_mutex_unlock(&c->lock);
	free(conn);
}
