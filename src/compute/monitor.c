/* SPDX-License-Identifier: Apache-2.0
 *
 * The monitor: the service's one thread. It waits for the workers' packets, times requests out, and runs posted tasks (event
 * callbacks among them) in order. Nothing that runs here may wait for a worker or for slow kernel work. */
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <utlist.h>

#include "base/log.h"
#include "base/time.h"
#include "compute/internal.h"

struct task {
	struct task *next;
	int64_t when; /* monotonic ns, 0 = at once */
	void (*fn)(void *);
	void *arg;
};

static struct {
	pthread_mutex_t lock;
	pthread_t thread;
	bool running, stop;
	int epoll_fd, wake_fd;
	struct task *first, **last; /* at once, in order */
	struct task *timed;
} m = {.lock = PTHREAD_MUTEX_INITIALIZER, .epoll_fd = -EBADF, .wake_fd = -EBADF};

bool cs_monitor_is_self(void) { return m.running && pthread_equal(pthread_self(), m.thread); }

void cs_monitor_kick(void)
{
	uint64_t one = 1;
	if (m.wake_fd >= 0)
		(void)!write(m.wake_fd, &one, sizeof(one));
}

void cs_monitor_post_at(int64_t when, void (*fn)(void *), void *arg)
{
	struct task *t = cs_xcalloc(1, sizeof(*t));

	*t = (struct task){.when = when, .fn = fn, .arg = arg};
	pthread_mutex_lock(&m.lock);
	if (when) {
		t->next = m.timed;
		m.timed = t;
	} else {
		if (!m.last)
			m.last = &m.first;
		*m.last = t;
		m.last = &t->next;
	}
	pthread_mutex_unlock(&m.lock);
	cs_monitor_kick();
}

void cs_monitor_post(void (*fn)(void *), void *arg) { cs_monitor_post_at(0, fn, arg); }

/* Moves due timed tasks behind the others; returns the next due time or 0. */
static int64_t move_due(int64_t now)
{
	int64_t next = 0;

	for (struct task **p = &m.timed; *p;) {
		struct task *t = *p;
		if (t->when <= now) {
			*p = t->next;
			t->next = NULL;
			if (!m.last)
				m.last = &m.first;
			*m.last = t;
			m.last = &t->next;
		} else {
			if (!next || t->when < next)
				next = t->when;
			p = &t->next;
		}
	}
	return next;
}

static void run_tasks(void)
{
	pthread_mutex_lock(&m.lock);
	struct task *list = m.first;
	m.first = NULL;
	m.last = &m.first;
	pthread_mutex_unlock(&m.lock);
	while (list) {
		struct task *t = list;
		list = t->next;
		t->fn(t->arg);
		free(t);
	}
}

static int64_t sooner(int64_t a, int64_t b) { return !a ? b : !b ? a : CS_MIN(a, b); }

static int timeout_of(int64_t deadline)
{
	if (!deadline)
		return -1;
	int64_t left = deadline - cs_monotonic_ns();
	return left <= 0 ? 0 : (int)CS_MIN(left / CS_NS_PER_MS + 1, 60000);
}

static void *monitor_main(void *arg)
{
	struct epoll_event ev[64];

	(void)pthread_setname_np(pthread_self(), "hcs-monitor");
	for (;;) {
		int64_t now = cs_monotonic_ns();
		pthread_mutex_lock(&m.lock);
		int64_t next = move_due(now);
		bool stop = m.stop, ready = m.first != NULL;
		pthread_mutex_unlock(&m.lock);
		if (stop)
			break;
		if (ready) {
			run_tasks();
			next = now; /* tasks may have posted */
		}
		next = sooner(next, cs_link_expire(now));
		int n = epoll_wait(m.epoll_fd, ev, CS_ARRAY_SIZE(ev), timeout_of(next));
		for (int i = 0; i < n; i++) {
			uint64_t count;
			if (ev[i].data.ptr)
				cs_link_readable(ev[i].data.ptr);
			else
				(void)!read(m.wake_fd, &count, sizeof(count));
		}
	}
	return NULL;
}

int cs_monitor_start(struct cs_err **err)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = NULL};

	cs_autofd int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	cs_autofd int wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (epoll_fd < 0 || wake_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, wake_fd, &ev) < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "create the monitor's event queue");
	m.epoll_fd = TAKE_FD(epoll_fd);
	m.wake_fd = TAKE_FD(wake_fd);
	m.stop = false;
	/* signals belong to the daemon's own threads */
	sigset_t all, old;
	sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	int e = pthread_create(&m.thread, NULL, monitor_main, NULL);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (e) {
		cs_close(TAKE_FD(m.epoll_fd));
		cs_close(TAKE_FD(m.wake_fd));
		return cs_fail(err, CS_ERR_INTERNAL, e, "start the monitor thread");
	}
	m.running = true;
	return 0;
}

void cs_monitor_stop(void)
{
	if (!m.running)
		return;
	pthread_mutex_lock(&m.lock);
	m.stop = true;
	pthread_mutex_unlock(&m.lock);
	cs_monitor_kick();
	(void)pthread_join(m.thread, NULL);
	m.running = false;
	run_tasks(); /* late completions; nobody else runs now */
	cs_close(TAKE_FD(m.epoll_fd));
	cs_close(TAKE_FD(m.wake_fd));
}

void cs_monitor_watch(struct cs_link *l)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = l};
	if (epoll_ctl(m.epoll_fd, EPOLL_CTL_ADD, l->fd, &ev) < 0)
		cs_debug("compute", "watch a worker: %s", cs_errno_text(errno));
}

void cs_monitor_forget(struct cs_link *l) { (void)epoll_ctl(m.epoll_fd, EPOLL_CTL_DEL, l->fd, NULL); }

/* ---- what is done beside ---- */

struct job {
	void (*fn)(void *);
	void *arg;
};
static struct {
	pthread_mutex_t lock;
	pthread_cond_t none;
	unsigned n;
} jobs = {.lock = PTHREAD_MUTEX_INITIALIZER, .none = PTHREAD_COND_INITIALIZER};

static void run_job(struct job *job)
{
	job->fn(job->arg);
	free(job);
	pthread_mutex_lock(&jobs.lock);
	if (--jobs.n == 0)
		pthread_cond_broadcast(&jobs.none);
	pthread_mutex_unlock(&jobs.lock);
}

static void *job_main(void *job)
{
	(void)pthread_setname_np(pthread_self(), "hcs-cleanup");
	run_job(job);
	return NULL;
}

void cs_background(void (*fn)(void *), void *arg)
{
	struct job *j = cs_xmalloc(sizeof(*j));
	pthread_attr_t attr;
	pthread_t thread;
	sigset_t all, old;

	*j = (struct job){.fn = fn, .arg = arg};
	pthread_mutex_lock(&jobs.lock);
	jobs.n++;
	pthread_mutex_unlock(&jobs.lock);
	(void)pthread_attr_init(&attr);
	(void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	(void)pthread_attr_setstacksize(&attr, 256 * 1024);
	sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	int e = pthread_create(&thread, &attr, job_main, j);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	(void)pthread_attr_destroy(&attr);
	if (e) /* no thread to be had: slow is better than never */
		run_job(j);
}

void cs_background_wait(void)
{
	pthread_mutex_lock(&jobs.lock);
	while (jobs.n)
		pthread_cond_wait(&jobs.none, &jobs.lock);
	pthread_mutex_unlock(&jobs.lock);
}
