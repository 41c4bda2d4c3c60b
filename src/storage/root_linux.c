/* SPDX-License-Identifier: Apache-2.0
 *
 * The file system of a container that does not run, put together for whoever copies, exports or commits it: overlay, and its volumes and
 * binds on top. All of it lives in a mount namespace of its own that a short-lived thread makes and in which no process ever runs; two
 * descriptors keep it alive. So nothing of it is seen on the host, nothing can leak, and a crash cleans up. */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mount.h>

#include "base/path.h"
#include "base/sys.h"
#include "storage/internal.h"

#define OVERLAY_DATA_MAX 4095 /* mount(2) takes one page of options */
#define STACK (256u << 10)
#define HARMLESS (MS_NOSUID | MS_NODEV | MS_NOEXEC) /* nothing is ever run from here, no device opened */

struct unplaced {
	char *destination;
	int tree;  /* a detached mount of a directory, or -ENOENT: its source is gone, or is a file */
};
struct cs_root {
	int fd, ns_fd;
	struct unplaced *unplaced;
	size_t n_unplaced;
};

struct job {
	struct cs_storage *s;
	const struct cs_root_spec *spec;
	struct cs_root *root;
	int snap_fd;
	int *layer_fds; /* top first */
	size_t n_layers;
	struct cs_err **err;
	int result;
};

static int open_dir(int at, const char *name) { return sys_openat2(at, name, O_PATH | O_DIRECTORY, 0, CS_RESOLVE_BENEATH_NOLINKS); }

/* By their names, from inside the new namespace: the descriptors of a cs_storage mean mounts of the daemon's, which cannot be cloned here. */
static int open_snapshot(struct job *j)
{
	const struct cs_root_spec *spec = j->spec;
	cs_autofd int data = open(j->s->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	size_t n = cs_strv_len(spec->layers);
	struct cs_digest d;

	if (data < 0)
		return cs_fail(j->err, CS_ERR_INTERNAL, errno, "open %s", j->s->root);
	cs_autofree char *snap = cs_xasprintf("snapshots/%s", spec->id);
	j->snap_fd = cs_is_plain_name(spec->id) ? open_dir(data, snap) : -ENOENT;
	if (j->snap_fd < 0)
		return cs_fail(j->err, j->snap_fd == -ENOENT ? CS_ERR_NOT_FOUND : CS_ERR_INTERNAL, -j->snap_fd, "open snapshot %s", spec->id);
	j->layer_fds = cs_xcalloc(n + 1, sizeof(int));
	for (; j->n_layers < n; j->n_layers++) {
		if (!cs_digest_from(spec->layers[j->n_layers], &d))
			return cs_fail(j->err, CS_ERR_INTERNAL, 0, "malformed layer id %s", spec->layers[j->n_layers]);
		cs_autofree char *path = cs_xasprintf("layers/%s/diff", cs_digest_hex(&d));
		int fd = open_dir(data, path);
		if (fd < 0)
			return cs_fail(j->err, fd == -ENOENT ? CS_ERR_NOT_FOUND : CS_ERR_INTERNAL, -fd, "open layer %s", d.s);
		j->layer_fds[j->n_layers] = fd;
	}
	return 0;
}

static int attach(int tree, int target)
{
	return sys_move_mount(tree, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
}

/* Without layers (an image made from nothing) there is nothing to overlay. */
static int bind_upper(struct job *j, int upper, int target)
{
	uint64_t set = CS_MOUNT_ATTR_NOSUID | CS_MOUNT_ATTR_NODEV | CS_MOUNT_ATTR_NOEXEC | (j->spec->read_only ? CS_MOUNT_ATTR_RDONLY : 0);
	cs_autofd int tree = sys_open_tree(upper, "", OPEN_TREE_CLONE | AT_EMPTY_PATH);
	int r = tree < 0 ? tree : sys_mount_setattr(tree, "", AT_EMPTY_PATH, set, 0, MS_PRIVATE);

	if (r >= 0)
		r = attach(tree, target);
	return r < 0 ? cs_fail(j->err, CS_ERR_INTERNAL, -r, "mount the files of %s", j->spec->id) : 0;
}

/* Layers by the numbers of their descriptors, relative to /proc/self/fd: short, so that many fit, and free of characters that mean something.
 * For reading, the container's own layer is just the topmost lower one: nothing on disk changes, not even the work directory. */
static int mount_overlay(struct job *j, int upper, int work, int target)
{
	struct cs_str o cs_autostr = CS_STR_INIT(OVERLAY_DATA_MAX);
	bool ro = j->spec->read_only;
	char path[32];

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", target);
	cs_str_puts(&o, "lowerdir=");
	if (ro)
		cs_str_putf(&o, "%d", upper);
	for (size_t i = 0; i < j->n_layers; i++)
		cs_str_putf(&o, "%s%d", ro || i ? ":" : "", j->layer_fds[i]);
	if (!ro)
		cs_str_putf(&o, ",upperdir=%d,workdir=%d", upper, work);
	if (o.failed || o.len > OVERLAY_DATA_MAX)
		return cs_fail(j->err, CS_ERR_INVALID, 0, "the image has too many layers (%zu)", j->n_layers);
	if (chdir("/proc/self/fd") < 0)
		return cs_fail(j->err, CS_ERR_INTERNAL, errno, "enter the layers' directory");
	if (mount("overlay", path, "overlay", HARMLESS | (ro ? MS_RDONLY : 0), o.buf) < 0)
		return cs_fail(j->err, cs_storage_code(errno), errno, "mount the files of %s", j->spec->id);
	return 0;
}

static int mount_root(struct job *j)
{
	cs_autofd int upper = open_dir(j->snap_fd, "upper"), work = open_dir(j->snap_fd, "work"), target = open_dir(j->snap_fd, ".");
	int bad = CS_MIN(CS_MIN(upper, work), CS_MIN(target, 0));

	if (bad < 0)
		return cs_fail(j->err, CS_ERR_INTERNAL, -bad, "open snapshot %s", j->spec->id);
	if ((j->n_layers ? mount_overlay(j, upper, work, target) : bind_upper(j, upper, target)) < 0)
		return -1;
	/* again, for the descriptor from before still means the directory underneath */
	cs_autofree char *snap = cs_xasprintf("snapshots/%s", j->spec->id);
	cs_autofd int data = open(j->s->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	j->root->fd = data < 0 ? -errno : open_dir(data, snap);
	return j->root->fd < 0 ? cs_fail(j->err, CS_ERR_INTERNAL, -j->root->fd, "open the files of %s", j->spec->id) : 0;
}

/* A detached copy of what lies at the source, or -errno. */
static int bind_tree(const struct cs_root_bind *b)
{
	unsigned flags = OPEN_TREE_CLONE | AT_EMPTY_PATH | (b->recursive ? AT_RECURSIVE : 0);
	cs_autofd int base = open(b->source, O_PATH | O_CLOEXEC);

	if (base < 0)
		return -errno;
	if (cs_empty(b->subpath))
		return sys_open_tree(base, "", flags);
	cs_autofd int sub = sys_openat2(base, b->subpath, O_PATH, 0, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS);
	return sub < 0 ? sub : sys_open_tree(sub, "", flags);
}

static bool is_dir(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISDIR(st.st_mode);
}

/* A mount point that is missing stays missing: making it could be turned against us (CVE-2026-42306), and a copy must not change the
 * container by the way. The tree is kept beside, for cs_root_at. */
static int place(struct job *j, const struct cs_root_bind *b)
{
	cs_autofd int tree = bind_tree(b);
	struct cs_root *root = j->root;
	int r = 0;

	if (tree < 0 && tree != -ENOENT && tree != -ENOTDIR && tree != -ELOOP && tree != -EXDEV)
		return cs_fail(j->err, CS_ERR_INTERNAL, -tree, "mount %s", b->source);
	if (tree >= 0) {
		uint64_t set = CS_MOUNT_ATTR_NOSUID | CS_MOUNT_ATTR_NODEV | CS_MOUNT_ATTR_NOEXEC;
		unsigned rec = b->recursive ? AT_RECURSIVE : 0;
		r = sys_mount_setattr(tree, "", AT_EMPTY_PATH | rec, set, 0, MS_PRIVATE);
		if (r >= 0 && (b->read_only || j->spec->read_only))
			r = sys_mount_setattr(tree, "", AT_EMPTY_PATH | (j->spec->read_only || b->recursive_ro ? rec : 0), CS_MOUNT_ATTR_RDONLY, 0, 0);
		if (r < 0)
			return cs_fail(j->err, CS_ERR_INTERNAL, -r, "mount %s", b->source);
		cs_autofd int at = cs_open_in_root(root->fd, b->destination, O_PATH, 0);
		if (at >= 0 && is_dir(at) == is_dir(tree)) {
			r = attach(tree, at);
			return r < 0 ? cs_fail(j->err, CS_ERR_INTERNAL, -r, "mount %s on %s", b->source, b->destination) : 0;
		}
	}
	if (tree >= 0 && !is_dir(tree))
		tree = (cs_close(tree), -ENOENT);
	root->unplaced = cs_xreallocarray(root->unplaced, root->n_unplaced + 1, sizeof(*root->unplaced));
	root->unplaced[root->n_unplaced++] = (struct unplaced){cs_path_clean(b->destination), tree < 0 ? -ENOENT : TAKE_FD(tree)};
	return 0;
}

/* The host's mounts leave the namespace: a copy that takes its time must not keep a disk of the host busy. */
static int drop_host(struct job *j)
{
	if (fchdir(j->root->fd) < 0)
		return cs_fail(j->err, CS_ERR_INTERNAL, errno, "enter the files of %s", j->spec->id);
	int r = sys_pivot_root(".", ".");
	if (r < 0)
		return cs_fail(j->err, CS_ERR_INTERNAL, -r, "pivot_root");
	if (umount2(".", MNT_DETACH) < 0)
		return cs_fail(j->err, CS_ERR_INTERNAL, errno, "detach the host's mounts");
	return 0;
}

static int build(struct job *j)
{
	if (unshare(CLONE_NEWNS | CLONE_FS) < 0)
		return cs_fail(j->err, CS_ERR_INTERNAL, errno, "make a mount namespace");
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return cs_fail(j->err, CS_ERR_INTERNAL, errno, "detach the mount namespace from the host's");
	j->root->ns_fd = open("/proc/thread-self/ns/mnt", O_RDONLY | O_CLOEXEC);
	if (j->root->ns_fd < 0)
		return cs_fail(j->err, CS_ERR_INTERNAL, errno, "open a mount namespace");
	if (open_snapshot(j) < 0 || mount_root(j) < 0)
		return -1;
	for (size_t i = 0; i < j->spec->n_binds; i++)
		if (place(j, &j->spec->binds[i]) < 0)
			return -1;
	return drop_host(j);
}

static void *run(void *arg)
{
	struct job *j = arg;

	j->result = build(j);
	return NULL;
}

static int run_in_thread(struct job *j)
{
	pthread_attr_t attr;
	pthread_t t;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK);
	int r = pthread_create(&t, &attr, run, j);
	pthread_attr_destroy(&attr);
	if (r)
		return cs_fail(j->err, CS_ERR_INTERNAL, r, "start a thread");
	(void)pthread_join(t, NULL);
	return j->result;
}

int cs_root_attach(struct cs_storage *s, const struct cs_root_spec *spec, struct cs_root **ret, struct cs_err **err)
{
	struct cs_root *root = cs_xcalloc(1, sizeof(*root));
	struct job j = {.s = s, .spec = spec, .root = root, .snap_fd = -EBADF, .err = err};

	root->fd = root->ns_fd = -EBADF;
	int r = run_in_thread(&j);
	for (size_t i = 0; i < j.n_layers; i++)
		cs_close(j.layer_fds[i]);
	free(j.layer_fds);
	cs_close(j.snap_fd);
	if (r < 0)
		cs_root_release(root);
	else
		*ret = root;
	return r;
}

int cs_root_fd(const struct cs_root *r) { return r->fd; }

int cs_root_at(const struct cs_root *r, const char *path, const char **ret_path)
{
	const struct unplaced *best = NULL;
	size_t best_len = 0;

	for (size_t i = 0; i < r->n_unplaced; i++) {
		size_t n = strlen(r->unplaced[i].destination);
		if (n > best_len && strncmp(path, r->unplaced[i].destination, n) == 0 && (path[n] == 0 || path[n] == '/')) {
			best = &r->unplaced[i];
			best_len = n;
		}
	}
	*ret_path = path[best_len] ? path + best_len : "/";
	return best ? best->tree : r->fd;
}

void cs_root_release(struct cs_root *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->n_unplaced; i++) {
		cs_close(r->unplaced[i].tree);
		free(r->unplaced[i].destination);
	}
	free(r->unplaced);
	cs_close(r->fd);
	cs_close(r->ns_fd); /* last: with it the mounts go, and they are gone when we return */
	free(r);
}
