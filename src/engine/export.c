/* SPDX-License-Identifier: Apache-2.0
 *
 * GET /containers/x/export: the container's own file system as a tar, without what is mounted in it. A thread of the response packs; the
 * container goes on meanwhile. */
#include <fcntl.h>

#include "base/io.h"
#include "base/log.h"
#include "computestorage.h"
#include "engine/events.h"
#include "engine/image_internal.h"
#include "engine/producer.h"

#define QUEUE (2u << 20)

struct export {
	struct cs_container *c;
	int fd;               /* the root, or what root lends */
	struct cs_root *root; /* of a stopped one */
};

static void export_free(void *ctx)
{
	struct export *x = ctx;

	if (x->root)
		cs_root_release(x->root);
	else
		cs_close(x->fd);
	cs_container_unref(x->c);
	free(x);
}

static int put(void *ctx, const void *data, size_t len) { return cs_queue_write(((struct cs_producer *)ctx)->queue, data, len); }

static int export_main(struct cs_producer *p)
{
	struct export *x = p->ctx;
	struct cs_tar_tree t = {.path = "/", .as = "", .one_file_system = true};
	cs_autoerr struct cs_err *err = NULL;

	/* what a removal takes away under the walk looks like files that went: it must not look like an archive that is complete */
	if (cs_tar_tree(x->fd, &t, put, p, &err) == 0 && cs_container_may_read(x->c, "export", &err) == 0)
		return 0;
	if (!atomic_load(&p->cancelled)) {
		cs_autofree char *text = cs_err_text(err);
		cs_logk(CS_LOG_ERROR, "engine", "container", x->c->id, "export: %s", text);
	}
	return -EIO;
}

/* The mount namespace of a container's process, or -errno. The number may be somebody else's by now: only a process in the container's own cgroup
 * is the container's, and the directory in /proc stays that of one process. */
static int open_mount_ns(const char *id, int pid)
{
	cs_autofree char *path = cs_xasprintf("/proc/%d", pid);
	cs_autostr struct cs_str cgroup = CS_STR_INIT(64u << 10);
	cs_autofd int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir < 0)
		return -errno;
	cs_autofd int ns = openat(dir, "ns/mnt", O_RDONLY | O_CLOEXEC);
	if (ns < 0)
		return -errno;
	int r = cs_read_file_at(dir, "cgroup", &cgroup);
	if (r < 0)
		return r;
	return cgroup.buf && strstr(cgroup.buf, id) ? TAKE_FD(ns) : -ESRCH;
}

int cs_container_open_root(struct cs_container *c, int *ret_fd, struct cs_root **ret_root, struct cs_err **err)
{
	cs_autostrv char **layers = NULL;

	*ret_root = NULL;
	pthread_mutex_lock(&c->lock);
	int pid = c->status == CS_ST_RUNNING ? c->pid : 0;
	pthread_mutex_unlock(&c->lock);
	if (pid > 0) {
		cs_autofd int ns = open_mount_ns(c->id, pid);
		if (ns >= 0)
			return cs_root_running(ns, ret_fd, err);
		if (ns != -ENOENT && ns != -ESRCH)
			return cs_fail(err, CS_ERR_INTERNAL, -ns, "look into container %s", c->id);
		/* it has just ended */
	}
	if (cs_snapshot_layers(c->e, c->id, NULL, &layers, err) < 0)
		return -1;
	struct cs_root_spec spec = {.id = c->id, .layers = layers, .read_only = true};
	if (cs_root_attach(c->e->images->storage, &spec, ret_root, err) < 0)
		return -1;
	*ret_fd = cs_root_fd(*ret_root);
	return 0;
}

int cs_container_may_read(struct cs_container *c, const char *verb, struct cs_err **err)
{
	CS_GUARD(&c->lock);
	if (c->dead)
		return cs_fail(err, CS_ERR_CONFLICT, 0, "You cannot %s container %s which is Dead", verb, c->id);
	if (c->removing)
		return cs_fail(err, CS_ERR_CONFLICT, 0, "You cannot %s container %s which is being removed", verb, c->id);
	return 0;
}

int cs_container_export(struct cs_engine *e, const char *ref, struct cs_stream **ret, struct cs_err **err)
{
	cs_autocontainer struct cs_container *c = NULL;

	if (cs_container_get(e, ref, &c, err) < 0 || cs_container_may_read(c, "export", err) < 0)
		return -1;
	struct export *x = cs_xcalloc(1, sizeof(*x));
	x->fd = -EBADF;
	x->c = cs_container_ref(c);
	if (cs_container_open_root(c, &x->fd, &x->root, err) < 0) {
		export_free(x);
		return cs_wrap(err, "Error exporting container %s", ref);
	}
	if (cs_producer_start(export_main, x, export_free, QUEUE, ret, err) < 0)
		return -1;
	cs_container_event(c, "export", NULL);
	return 0;
}
