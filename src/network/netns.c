/* SPDX-License-Identifier: Apache-2.0
 *
 * The helper thread takes one job at a time; who asks waits for it. */
#include "network/netns.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>

#include "base/io.h"
#include "base/log.h"
#include "base/time.h"
#include "base/sys.h"

#define SELF "/proc/thread-self/ns/net"

struct job {
	int nsfd;
	int (*run)(void *, struct cs_err **);
	void *arg;
	struct cs_err **err;
	int result;
	bool done;
	struct job *next;
};

static struct {
	pthread_mutex_t lock;
	pthread_cond_t work, done;
	struct job *head, **tail;
	pthread_t thread;
	bool running, stop;
	int host;
} helper = {.lock = PTHREAD_MUTEX_INITIALIZER, .work = PTHREAD_COND_INITIALIZER, .done = PTHREAD_COND_INITIALIZER, .host = -EBADF};

static int run(struct job *j)
{
	int r = sys_setns(j->nsfd, CLONE_NEWNET);

	if (r < 0)
		return cs_fail(j->err, CS_ERR_INTERNAL, -r, "enter the network namespace");
	r = j->run(j->arg, j->err);
	cs_netns_leave();
	return r;
}

static void *work(void *unused)
{
	pthread_mutex_lock(&helper.lock);
	for (;;) {
		struct job *j = helper.head;
		if (!j && helper.stop)
			break;
		if (!j) {
			pthread_cond_wait(&helper.work, &helper.lock);
			continue;
		}
		helper.head = j->next;
		if (!helper.head)
			helper.tail = &helper.head;
		pthread_mutex_unlock(&helper.lock);
		j->result = run(j);
		pthread_mutex_lock(&helper.lock);
		j->done = true;
		pthread_cond_broadcast(&helper.done);
	}
	pthread_mutex_unlock(&helper.lock);
	return NULL;
}

int cs_netns_start(struct cs_err **err)
{
	helper.host = open(SELF, O_RDONLY | O_CLOEXEC);
	if (helper.host < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "open the host's network namespace");
	helper.tail = &helper.head;
	helper.stop = false;
	int r = pthread_create(&helper.thread, NULL, work, NULL);
	if (r != 0) {
		cs_close(TAKE_FD(helper.host));
		return cs_fail(err, CS_ERR_INTERNAL, r, "start a thread");
	}
	helper.running = true;
	return 0;
}

void cs_netns_stop(void)
{
	if (!helper.running)
		return;
	pthread_mutex_lock(&helper.lock);
	helper.stop = true;
	pthread_cond_signal(&helper.work);
	pthread_mutex_unlock(&helper.lock);
	(void)pthread_join(helper.thread, NULL);
	helper.running = false;
	cs_close(TAKE_FD(helper.host));
}

int cs_netns_host(void) { return helper.host; }

int cs_netns_do(int nsfd, int (*fn)(void *, struct cs_err **), void *arg, struct cs_err **err)
{
	struct job j = {.nsfd = nsfd, .run = fn, .arg = arg, .err = err};

	pthread_mutex_lock(&helper.lock);
	if (!helper.running || helper.stop) {
		pthread_mutex_unlock(&helper.lock);
		return cs_fail(err, CS_ERR_UNAVAILABLE, 0, "the network service is not running");
	}
	*helper.tail = &j;
	helper.tail = &j.next;
	pthread_cond_signal(&helper.work);
	while (!j.done)
		pthread_cond_wait(&helper.done, &helper.lock);
	pthread_mutex_unlock(&helper.lock);
	return j.result;
}

static int open_rtnl(void *arg, struct cs_err **err) { return cs_rtnl_open(arg, err); }
int cs_netns_rtnl(int nsfd, struct cs_rtnl *ret, struct cs_err **err) { return cs_netns_do(nsfd, open_rtnl, ret, err); }

int cs_sysctl_write(const struct cs_sysctl *s, struct cs_err **err)
{
	char path[256];

	if ((size_t)snprintf(path, sizeof(path), "/proc/sys/%s", s->path) >= sizeof(path))
		return cs_fail(err, CS_ERR_INVALID, ENAMETOOLONG, "sysctl %s", s->path);
	int r = cs_write_file_at(AT_FDCWD, path, s->value, strlen(s->value));
	if (r < 0 && !(s->optional && r == -ENOENT))
		return cs_fail(err, r == -ENOENT || r == -EINVAL ? CS_ERR_INVALID : CS_ERR_INTERNAL, -r, "set sysctl %s to %s", s->path, s->value);
	return 0;
}

int cs_sysctl_ipv6_off(const char *ifname, struct cs_err **err)
{
	cs_autofree char *path = cs_xasprintf("net/ipv6/conf/%s/disable_ipv6", ifname);

	return cs_sysctl_write(&(struct cs_sysctl){path, "1", true}, err);
}

int cs_sysctl_read(const char *name)
{
	cs_autofree char *path = cs_xasprintf("/proc/sys/%s", name);
	cs_autofd int fd = open(path, O_RDONLY | O_CLOEXEC);
	char c;

	return fd >= 0 && read(fd, &c, 1) == 1 && c >= '0' && c <= '9' ? c - '0' : -1;
}

struct sysctls {
	const struct cs_sysctl *v;
	size_t n;
};

static int write_all(void *arg, struct cs_err **err)
{
	const struct sysctls *s = arg;

	for (size_t i = 0; i < s->n; i++)
		if (cs_sysctl_write(&s->v[i], err) < 0)
			return -1;
	return 0;
}

int cs_netns_sysctls(int nsfd, const struct cs_sysctl *v, size_t n, struct cs_err **err)
{
	return n == 0 ? 0 : cs_netns_do(nsfd, write_all, &(struct sysctls){v, n}, err);
}

int cs_netns_enter_new(int *ret_fd, struct cs_err **err)
{
	if (unshare(CLONE_NEWNET) < 0)
		return cs_fail(err, errno == ENOSPC ? CS_ERR_NO_SPACE : CS_ERR_INTERNAL, errno, "create a network namespace");
	int fd = open(SELF, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		int saved = errno;
		cs_netns_leave();
		return cs_fail(err, CS_ERR_INTERNAL, saved, "open a network namespace");
	}
	*ret_fd = fd;
	return 0;
}

void cs_netns_leave(void)
{
	static const struct timespec pause = {.tv_nsec = 10 * CS_NS_PER_MS};
	int r = sys_setns(helper.host, CLONE_NEWNET);

	for (int i = 0; r == -ENOMEM && i < 100; i++) {
		(void)nanosleep(&pause, NULL);
		r = sys_setns(helper.host, CLONE_NEWNET);
	}
	if (r < 0) { /* cannot be: we hold it. To go on would be to configure a container's network for the host's */
		cs_error("network", "cannot return to the host's network namespace: %s", cs_errno_text(-r));
		abort();
	}
}
