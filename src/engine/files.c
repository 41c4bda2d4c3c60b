/* SPDX-License-Identifier: Apache-2.0
 *
 * The file system of a container for those who copy in and out of it. While it runs, its root is that of its init, taken by descriptor: the
 * container's own mounts are there, nothing of it is entered or run. Otherwise storage mounts it where nobody sees it. Any thread.
 *
 * A snapshot must not be mounted for writing twice. Under c->lock: files_root is the one mount for writing (shared by all who need it),
 * files_writers counts who may still write, and a start waits for them; a removal makes them give up. Readers of a container that does not
 * run have a mount of their own which changes nothing, and nobody waits for them. */
#include "engine/files.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>

#include "base/io.h"
#include "base/path.h"
#include "base/sys.h"
#include "base/time.h"
#include "engine/image_internal.h"

#define EXIT_MS 10000 /* for an exit that the worker has seen to be recorded */

/* ---- running ---- */

/* A number that init has given back may mean anybody, and an exit is told late. So the process behind the descriptor has to be in the
 * container's cgroup, where nobody of the host's is, and to be alive after all the rest was seen. */
static bool is_ours(struct cs_container *c, int pid, int pidfd)
{
	cs_autostr struct cs_str text = CS_STR_INIT(65536);
	struct pollfd ended = {.fd = pidfd, .events = POLLIN};
	char path[32];

	(void)snprintf(path, sizeof(path), "/proc/%d/cgroup", pid);
	if (cs_read_file_at(AT_FDCWD, path, &text) < 0 || !text.buf || poll(&ended, 1, 0) != 0)
		return false;
	const char *at = strstr(text.buf, c->id);
	return at && at > text.buf && at[-1] == '/';
}

/* -ESRCH: it has ended. */
static int running_root(struct cs_container *c, int pid)
{
	char path[32];
	cs_autofd int pidfd = sys_pidfd_open(pid, 0);

	if (pidfd < 0)
		return -ESRCH;
	(void)snprintf(path, sizeof(path), "/proc/%d/root", pid);
	cs_autofd int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT || errno == ESRCH ? -ESRCH : -errno;
	return is_ours(c, pid, pidfd) ? TAKE_FD(fd) : -ESRCH;
}

/* ---- not running ---- */

static int by_depth(const void *a, const void *b)
{
	const struct cs_root_bind *x = a, *y = b;
	int d = 0;

	for (const char *p = x->destination; *p; p++)
		d += *p == '/';
	for (const char *p = y->destination; *p; p++)
		d -= *p == '/';
	return d ? d : strcmp(x->destination, y->destination);
}

/* Before the first start they are empty, and the image's are meant. */
static bool own_file(struct cs_container *c, const char *name)
{
	pthread_mutex_lock(&c->lock);
	bool written = c->ever_started;
	pthread_mutex_unlock(&c->lock);
	if (!written)
		return false;
	cs_autofree char *path = cs_path_join(c->dir, name);
	struct stat st;

	return fstatat(AT_FDCWD, path, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode);
}

static int attach(struct cs_container *c, bool write, struct cs_root **ret, struct cs_err **err)
{
	static const char *const files[][2] = {{"hostname", "/etc/hostname"}, {"hosts", "/etc/hosts"}, {"resolv.conf", "/etc/resolv.conf"}};
	cs_autofree struct cs_root_bind *binds = cs_xcalloc(c->n_mounts + CS_ARRAY_SIZE(files), sizeof(*binds));
	char *own[CS_ARRAY_SIZE(files)] = {NULL};
	struct cs_root_spec spec = {.id = c->id, .read_only = !write, .binds = binds};
	cs_autostrv char **layers = NULL;

	if (cs_snapshot_layers(c->e, c->id, NULL, &layers, err) < 0)
		return -1;
	for (size_t i = 0; i < c->n_mounts; i++) {
		const struct cs_mount_point *m = &c->mounts[i];
		if (cs_streq(m->type, "tmpfs") || cs_streq(m->type, "image"))
			continue;
		binds[spec.n_binds++] = (struct cs_root_bind){
			.source = m->source, .subpath = m->subpath, .destination = m->destination, .recursive = !m->non_recursive, .read_only = !m->rw,
			.recursive_ro = cs_streq(m->type, "bind") && !m->ro_non_recursive,
		};
	}
	for (size_t i = 0; i < CS_ARRAY_SIZE(files); i++) {
		bool users = false;
		for (size_t k = 0; k < c->n_mounts; k++)
			users = users || cs_streq(c->mounts[k].destination, files[i][1]);
		if (users || !own_file(c, files[i][0]))
			continue;
		own[i] = cs_path_join(c->dir, files[i][0]);
		binds[spec.n_binds++] = (struct cs_root_bind){.source = own[i], .destination = files[i][1]};
	}
	if (spec.n_binds)
		qsort(binds, spec.n_binds, sizeof(*binds), by_depth);
	spec.layers = layers;
	int r = cs_volumes_mount(c, err);
	if (r == 0 && (r = cs_root_attach(c->e->images->storage, &spec, ret, err)) < 0)
		cs_volumes_unmount(c);
	for (size_t i = 0; i < CS_ARRAY_SIZE(files); i++)
		free(own[i]);
	return r;
}

static void detach(struct cs_container *c, struct cs_root *root)
{
	if (!root)
		return;
	cs_root_release(root);
	cs_volumes_unmount(c);
}

/* op_lock held; the container does not run. */
static int stopped_root(struct cs_container *c, struct cs_files *f, struct cs_err **err)
{
	if (f->write) {
		CS_GUARD(&c->lock);
		/* one that is being taken down, or writers that the container left behind when it ended */
		c->files_waiting++;
		while (!c->files_root && c->files_writers)
			pthread_cond_wait(&c->changed, &c->lock);
		c->files_waiting--;
		f->root = c->files_root;
		f->counted = f->root != NULL;
		c->files_writers += f->counted;
	}
	if (f->root)
		return 0;
	if (attach(c, f->write, &f->root, err) < 0)
		return -1;
	if (f->write) {
		pthread_mutex_lock(&c->lock);
		f->counted = true;
		c->files_root = f->root;
		c->files_writers++;
		pthread_mutex_unlock(&c->lock);
	}
	return 0;
}

/* ---- both ---- */

static void count_down(struct cs_container *c)
{
	pthread_mutex_lock(&c->lock);
	if (c->files_writers == 1 && c->files_root) {
		struct cs_root *mounted = TAKE_PTR(c->files_root);
		pthread_mutex_unlock(&c->lock);
		detach(c, mounted); /* before anybody is told: a start mounts the same */
		pthread_mutex_lock(&c->lock);
	}
	c->files_writers--;
	pthread_cond_broadcast(&c->changed);
	pthread_mutex_unlock(&c->lock);
}

static int pid_of(struct cs_container *c)
{
	CS_GUARD(&c->lock);
	return c->status == CS_ST_RUNNING ? c->pid : 0;
}

/* A started container's init has ended, and the exit is about to be recorded. */
static void await_exit(struct cs_container *c, int pid)
{
	struct timespec until;
	CS_GUARD(&c->lock);

	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += EXIT_MS / 1000;
	while (c->status == CS_ST_RUNNING && c->pid == pid)
		if (pthread_cond_timedwait(&c->changed, &c->lock, &until) == ETIMEDOUT)
			break;
}

static int try_running(struct cs_container *c, int pid, struct cs_files *f, struct cs_err **err)
{
	if (f->write) {
		CS_GUARD(&c->lock);
		c->files_writers++;
		f->counted = true;
	}
	f->fd = running_root(c, pid);
	if (f->fd >= 0) {
		f->running = true;
		return 0;
	}
	int r = f->fd;
	if (f->counted)
		count_down(c);
	f->counted = false;
	if (r != -ESRCH)
		return cs_fail(err, CS_ERR_INTERNAL, -r, "open the root of container %s", c->id);
	await_exit(c, pid);
	return 0;
}

int cs_files_open(struct cs_container *c, bool write, struct cs_files *ret, struct cs_err **err)
{
	struct cs_files f = {.c = c, .write = write, .fd = -EBADF};

	for (int tries = 0; tries < 3; tries++) {
		int pid = pid_of(c);
		if (pid > 0) {
			if (try_running(c, pid, &f, err) < 0)
				return -1;
			if (f.running)
				break;
		}
		CS_GUARD(&c->op_lock);
		if (pid_of(c) > 0)
			continue; /* started meanwhile */
		if (stopped_root(c, &f, err) < 0)
			return -1;
		break;
	}
	if (!f.running && !f.root)
		return cs_fail(err, CS_ERR_CONFLICT, 0, "container %s is being started or stopped: try again", c->id);
	*ret = f;
	(void)cs_container_ref(c);
	return 0;
}

void cs_files_close(struct cs_files *f)
{
	if (!f->c)
		return;
	cs_close(f->fd);
	if (f->counted)
		count_down(f->c);
	else
		detach(f->c, f->root);
	cs_container_unref(f->c);
	*f = (struct cs_files){.fd = -EBADF};
}

int cs_files_at(const struct cs_files *f, const char *path, const char **ret_path)
{
	*ret_path = path;
	return f->running ? f->fd : cs_root_at(f->root, path, ret_path);
}

/* ---- against starts and removals ---- */

void cs_files_settle(struct cs_container *c)
{
	CS_GUARD(&c->lock);
	c->files_waiting++;
	while (c->files_writers)
		pthread_cond_wait(&c->changed, &c->lock);
	c->files_waiting--;
}

bool cs_files_wanted(struct cs_container *c, bool *ret_removal)
{
	CS_GUARD(&c->lock);
	*ret_removal = c->removing;
	return c->removing || c->files_waiting;
}
