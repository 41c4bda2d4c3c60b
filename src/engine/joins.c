/* SPDX-License-Identifier: Apache-2.0
 *
 * Joining the namespaces of another container. They are opened by the pid that we know, and then its worker is asked whether that process is
 * still there: it has not been reaped, so the number was nobody else's when we used it. */
#include "engine/joins.h"

#include <fcntl.h>

#include "engine/validate.h"

static const char *const files[CS_JOIN_MAX] = {"net", "pid", "ipc", "mnt"};

void cs_joins_done(struct cs_joins *j)
{
	for (size_t i = 0; i < CS_JOIN_MAX; i++) {
		cs_close(j->ns[i].fd);
		free(j->ns[i].path);
	}
}

static const char *mode_of(const struct cs_host_config *h, enum cs_join what)
{
	return what == CS_JOIN_NET ? h->network_mode : what == CS_JOIN_PID ? h->pid_mode : h->ipc_mode;
}

static int not_running(const struct cs_container *other, enum cs_join what, struct cs_err **err)
{
	static const char *const names[CS_JOIN_MAX] = {"network", "PID", "IPC", "IPC"};

	return cs_fail(err, CS_ERR_CONFLICT, 0, "cannot join %s of a non running container: %s", names[what], other->id);
}

/* Its first process, and the system that knows of it. */
static int look_at(struct cs_container *other, enum cs_join what, int *ret_pid, struct cs_system **ret, struct cs_err **err)
{
	CS_GUARD(&other->lock);
	if (other->status == CS_ST_RESTARTING)
		return cs_fail(err, CS_ERR_CONFLICT, 0, "container %s is restarting, wait until the container is running", other->id);
	if (other->status != CS_ST_RUNNING || !other->system || other->pid <= 0)
		return not_running(other, what, err);
	if (what == CS_JOIN_IPC && (cs_streq(other->host->ipc_mode, "private") || cs_streq(other->host->ipc_mode, "none")))
		return cs_fail(err, CS_ERR_CONFLICT, 0,
			       "can't join IPC of container %s: non-shareable IPC (hint: use IpcMode:shareable for the donor container)", other->id);
	*ret_pid = other->pid;
	atomic_fetch_add(&other->system->refs, 1);
	*ret = other->system;
	return 0;
}

static int open_one(struct cs_joins *j, enum cs_join what, int pid, struct cs_err **err)
{
	cs_autofree char *path = cs_xasprintf("/proc/%d/ns/%s", pid, files[what]);

	j->ns[what].fd = open(path, O_RDONLY | O_CLOEXEC);
	if (j->ns[what].fd < 0)
		return cs_fail(err, CS_ERR_CONFLICT, errno, "open namespace %s", path);
	j->ns[what].path = cs_xasprintf("/proc/%d/fd/%d", (int)getpid(), j->ns[what].fd);
	return 0;
}

static int join(struct cs_container *c, struct cs_joins *j, enum cs_join what, struct cs_err **err)
{
	const char *ref = cs_mode_container(mode_of(c->host, what));
	cs_autocontainer struct cs_container *other = NULL;
	cs_autosystem struct cs_system *s = NULL;
	struct cs_err *inner = NULL, *gone = NULL;
	int pid = 0;

	if (!ref)
		return 0;
	if (cs_container_get(c->e, ref, &other, err) < 0)
		return -1;
	if (other == c && what == CS_JOIN_NET)
		return cs_fail(err, CS_ERR_CONFLICT, 0, "cannot join own network");
	if (look_at(other, what, &pid, &s, err) < 0)
		return -1;
	int r = open_one(j, what, pid, &inner);
	if (r == 0 && what == CS_JOIN_IPC)
		r = open_one(j, CS_JOIN_MNT, pid, &inner);
	if (cs_hcs_signal(s->h, 0, &gone) < 0) {
		cs_err_free(inner);
		if (cs_err_code(gone) != CS_ERR_CONFLICT && cs_err_code(gone) != CS_ERR_NOT_FOUND)
			return cs_err_move(err, gone);
		cs_err_free(gone);
		return not_running(other, what, err);
	}
	if (r < 0)
		return cs_err_move(err, inner);
	return 0;
}

int cs_joins_open(struct cs_container *c, struct cs_joins *ret, struct cs_err **err)
{
	return join(c, ret, CS_JOIN_NET, err) < 0 || join(c, ret, CS_JOIN_PID, err) < 0 || join(c, ret, CS_JOIN_IPC, err) < 0 ? -1 : 0;
}
