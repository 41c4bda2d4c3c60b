/* SPDX-License-Identifier: Apache-2.0
 *
 * Kernel knobs of the child: loopback, sysctl, limits, OOM score. */
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "base/io.h"
#include "base/sys.h"
#include "compute/process/internal.h"

int cs_step_loopback(struct cs_child *c, struct cs_err **err)
{
	cs_autofd int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq ifr = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};

	if (s >= 0 && ioctl(s, SIOCSIFFLAGS, &ifr) < 0 && errno == EPERM) { /* an engine without CAP_NET_ADMIN can still run what needs no network */
		cs_child_warn(c, "the loopback interface stays down: the engine lacks CAP_NET_ADMIN");
		return 0;
	}
	if (s < 0 || (ioctl(s, SIOCSIFFLAGS, &ifr) < 0))
		return cs_fail(err, CS_ERR_INTERNAL, errno, "bring up the loopback interface");
	return 0;
}

/* Written through the host's procfs, which the image cannot have covered; the kernel picks the values of the caller's own
 * namespaces. Which keys are namespaced has been checked when the plan was made. */
int cs_step_sysctl(struct cs_child *c, const struct cs_step *s, struct cs_err **err)
{
	cs_autofree char *path = cs_xasprintf("sys/%s", s->arg[0].s);
	bool slashes = strchr(s->arg[0].s, '/') != NULL;

	for (char *p = path + 4; *p && !slashes; p++)
		if (*p == '.')
			*p = '/';
	cs_autofd int fd = sys_openat2(c->host_proc, path, O_WRONLY | O_NOCTTY, 0, CS_RESOLVE_BENEATH_NOLINKS | RESOLVE_NO_XDEV);
	int r = fd < 0 ? fd : cs_write_full(fd, s->arg[1].s, strlen(s->arg[1].s));
	return r < 0 ? cs_fail(err, CS_ERR_INVALID, -r, "set sysctl %s to %s", s->arg[0].s, s->arg[1].s) : 0;
}

int cs_step_rlimit(struct cs_child *c, const struct cs_step *s, struct cs_err **err)
{
	struct rlimit now, want = {.rlim_cur = s->arg[1].u, .rlim_max = s->arg[2].u};
	int resource = (int)s->arg[0].u;

	if (setrlimit(resource, &want) == 0)
		return 0;
	if (errno != EPERM || getrlimit(resource, &now) < 0)
		return cs_fail(err, CS_ERR_INVALID, errno, "set resource limit %d", resource);
	/* an engine that itself lacks CAP_SYS_RESOURCE gives what it has */
	want.rlim_max = CS_MIN(want.rlim_max, now.rlim_max);
	want.rlim_cur = CS_MIN(want.rlim_cur, want.rlim_max);
	if (setrlimit(resource, &want) < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "set resource limit %d", resource);
	cs_child_warn(c, "resource limit %d is kept at the engine's own hard limit of %llu", resource, (unsigned long long)now.rlim_max);
	return 0;
}

int cs_step_oom_score(struct cs_child *c, int proc, const char *value, struct cs_err **err)
{
	cs_autofd int fd = openat(proc, "self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	int r = fd < 0 ? -errno : cs_write_full(fd, value, strlen(value));

	if (r == -EACCES || r == -EPERM) {
		cs_child_warn(c, "the engine may not lower the OOM score to %s", value);
		return 0;
	}
	return r < 0 ? cs_fail(err, CS_ERR_INVALID, -r, "set OOM score %s", value) : 0;
}
