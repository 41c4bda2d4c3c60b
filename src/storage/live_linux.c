/* SPDX-License-Identifier: Apache-2.0
 *
 * The root of a running container without what is mounted on it: a copy of its one mount, taken inside of its mount namespace by a short-lived
 * thread and attached nowhere. So the files below mount points are seen, and no path of the container's is ever resolved here. */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>

#include "base/sys.h"
#include "storage/internal.h"

#define STACK (256u << 10)

struct job {
	int ns_fd, result;
	const char *failed;
};

static void *run(void *arg)
{
	struct job *j = arg;

	/* setns needs a thread that shares its root and working directory with nobody */
	j->failed = "leave the daemon's mounts";
	if (unshare(CLONE_FS) < 0) {
		j->result = -errno;
		return NULL;
	}
	j->failed = "enter the container's mounts";
	j->result = sys_setns(j->ns_fd, CLONE_NEWNS);
	if (j->result < 0)
		return NULL;
	j->failed = "copy the root mount";
	j->result = sys_open_tree(AT_FDCWD, "/", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	return NULL;
}

int cs_root_running(int mount_ns_fd, int *ret_fd, struct cs_err **err)
{
	struct job j = {.ns_fd = mount_ns_fd, .result = -EINVAL};
	pthread_attr_t attr;
	pthread_t t;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK);
	int r = pthread_create(&t, &attr, run, &j);
	pthread_attr_destroy(&attr);
	if (r)
		return cs_fail(err, CS_ERR_INTERNAL, r, "start a thread");
	(void)pthread_join(t, NULL);
	if (j.result < 0)
		return cs_fail(err, CS_ERR_INTERNAL, -j.result, "%s", j.failed);
	*ret_fd = j.result;
	return 0;
}
