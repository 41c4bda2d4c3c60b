/* SPDX-License-Identifier: Apache-2.0
 *
 * The container's root: propagation, overlay, pivot_root. Runs in the child, in its own mount namespace. */
#include <linux/futex.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/mount.h>
#include <sys/syscall.h>

#include "base/path.h"
#include "base/sys.h"
#include "compute/process/internal.h"

#define OVERLAY_DATA_MAX 4095 /* mount(2) takes one page of options */
#define FSCONFIG_VALUE_MAX 255 /* fsconfig(2) as much for each */

/* Binds that share mounts with the host have to be cloned while the host's tree is still shared with ours: afterwards they would
 * be slaves. Everything else then happens in a tree from which nothing travels back. */
static int open_binds(struct cs_child *c, bool all, struct cs_err **err)
{
	struct cs_plan_cursor cur = {.plan = c->plan};
	struct cs_step s;

	while (cs_plan_next(&cur, &s) == 1) {
		if (s.op != CS_PLAN_BIND || (!all && !(s.arg[5].u & MS_SHARED)))
			continue;
		int fd = sys_open_tree(AT_FDCWD, s.arg[0].s, OPEN_TREE_CLONE | (s.arg[2].u ? AT_RECURSIVE : 0));
		if (fd < 0)
			return cs_fail(err, CS_ERR_INVALID, -fd, "bind source %s", s.arg[0].s);
		c->early = cs_xreallocarray(c->early, c->n_early + 1, sizeof(*c->early));
		c->early[c->n_early++] = (struct cs_early_bind){.source = s.arg[0].s, .fd = fd};
	}
	return 0;
}

int cs_step_propagation(struct cs_child *c, uint64_t flags, struct cs_err **err)
{
	unsigned long host = flags & MS_PRIVATE ? MS_PRIVATE : MS_SLAVE;

	if (c->is_exec || c->root_propagation)
		return cs_fail(err, CS_ERR_INTERNAL, 0, "propagation is set twice");
	c->root_propagation = flags ? flags : MS_SLAVE;
	if (c->ahead) /* nothing of the host's is in this namespace */
		return 0;
	if (open_binds(c, false, err) < 0)
		return -1;
	if (mount(NULL, "/", NULL, MS_REC | host, NULL) < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "detach the mount namespace from the host's");
	return 0;
}

static bool plain_layer(const char *s) { return !strpbrk(s, ":,\\"); }

/* Short form of a path in overlay's options. `fds`: by number below /proc/self/fd, for paths that are too many or need escaping. */
static int put_layer(struct cs_str *o, int base, const char *path, bool fds, struct cs_err **err)
{
	if (!fds) {
		cs_str_puts(o, path);
		return 0;
	}
	int fd = openat(base, path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "open layer %s", path);
	cs_str_putf(o, "%d", fd);
	return 0;
}

static int overlay_options(struct cs_str *o, int base, const struct cs_step *s, bool fds, struct cs_err **err)
{
	const char *p = s->arg[1].v.first;

	cs_str_puts(o, "lowerdir=");
	for (uint32_t i = 0; i < s->arg[1].v.n; i++, p += strlen(p) + 1) {
		if (i)
			cs_str_putc(o, ':');
		if (put_layer(o, base, p, fds, err) < 0)
			return -1;
	}
	if (*s->arg[2].s) {
		cs_str_puts(o, ",upperdir=");
		if (put_layer(o, base, s->arg[2].s, fds, err) < 0)
			return -1;
		cs_str_puts(o, ",workdir=");
		if (put_layer(o, base, s->arg[3].s, fds, err) < 0)
			return -1;
	}
	if (*s->arg[5].s)
		cs_str_putf(o, ",%s", s->arg[5].s);
	return 0;
}

static bool needs_fds(const struct cs_step *s)
{
	const char *p = s->arg[1].v.first;
	bool plain = plain_layer(s->arg[2].s) && plain_layer(s->arg[3].s);

	for (uint32_t i = 0; i < s->arg[1].v.n; i++, p += strlen(p) + 1)
		plain = plain && plain_layer(p);
	return !plain;
}

static int mount_overlay(int base, int target, const struct cs_step *s, struct cs_err **err)
{
	struct cs_str o = CS_STR_INIT(1u << 20);
	bool fds = needs_fds(s);
	char path[32];

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", target);
	if (overlay_options(&o, base, s, fds, err) < 0)
		return -1;
	if (!fds && (o.failed || o.len > OVERLAY_DATA_MAX)) {
		cs_str_clear(&o);
		fds = true;
		if (overlay_options(&o, base, s, true, err) < 0)
			return -1;
	}
	if (o.failed || o.len > OVERLAY_DATA_MAX)
		return cs_fail(err, CS_ERR_INVALID, 0, "the image has too many layers (%u)", s->arg[1].v.n);
	if ((fds ? chdir("/proc/self/fd") : fchdir(base)) < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "enter the layers' directory");
	if (mount("overlay", path, "overlay", 0, o.buf) < 0)
		return cs_fail(err, errno == ENOSPC ? CS_ERR_NO_SPACE : CS_ERR_INTERNAL, errno, "mount overlay (%s)", o.buf);
	cs_str_done(&o);
	return 0;
}

/* A volatile overlay refuses its upper a second time, since the first mount was not synced. Whether it may be used again (no power failure since) is
 * the engine's decision, and it has made it by asking. */
static void forgive_volatile(int base, const struct cs_step *s)
{
	if (!*s->arg[3].s || !strstr(s->arg[5].s, "volatile"))
		return;
	cs_autofree char *dir = cs_path_join(s->arg[3].s, "work/incompat/volatile"), *mark = cs_path_join(dir, "dirty");
	(void)unlinkat(base, mark, 0);
	(void)unlinkat(base, dir, AT_REMOVEDIR);
}

/* ---- with what was made ahead ---- */

static int root_is_covered(int root);

static size_t longest_value(const char *options)
{
	size_t longest = 0;

	for (const char *p = options; *p; p += strcspn(p, ",") + (p[strcspn(p, ",")] == ','))
		longest = CS_MAX(longest, strcspn(p, ",") - CS_MIN(strcspn(p, "="), strcspn(p, ",")));
	return longest;
}

/* A detached overlay. */
static int open_overlay(struct cs_child *c, const struct cs_step *s, struct cs_err **err)
{
	struct cs_str o = CS_STR_INIT(1u << 20);
	cs_autofd int base = open(*s->arg[0].s ? s->arg[0].s : "/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	bool fds = needs_fds(s);

	if (base < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "open %s", s->arg[0].s);
	forgive_volatile(base, s);
	if (overlay_options(&o, base, s, fds, err) < 0)
		return -1;
	if (!fds && (o.failed || longest_value(o.buf) > FSCONFIG_VALUE_MAX)) {
		cs_str_clear(&o);
		fds = true;
		if (overlay_options(&o, base, s, true, err) < 0)
			return -1;
	}
	if ((fds ? chdir("/proc/self/fd") : fchdir(base)) < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "enter the layers' directory");
	if (cs_new_mount("overlay", "overlay", o.buf, 0, &c->overlay, err) < 0) {
		if ((*err)->code == CS_ERR_INVALID) /* not the client's doing: the options are ours */
			(*err)->code = CS_ERR_INTERNAL;
		return cs_wrap(err, "mount overlay (%s)", o.buf);
	}
	cs_str_done(&o);
	return chdir("/") < 0 ? cs_fail(err, CS_ERR_INTERNAL, errno, "enter the root") : 0;
}

int cs_child_open_host(struct cs_child *c, struct cs_err **err)
{
	struct cs_step s;

	if (cs_plan_find(c->plan, CS_PLAN_OVERLAY, &s) != 1)
		return cs_fail(err, CS_ERR_INTERNAL, 0, "plan without an OVERLAY step");
	if (open_overlay(c, &s, err) < 0 || open_binds(c, true, err) < 0)
		return -1;
	if (c->groups_pending && cs_child_enter_groups(c, c->plan, err) < 0)
		return -1;
	return cs_plan_find(c->plan, CS_PLAN_CGROUP_MOUNT, &s) == 1 ? cs_cgroup_trees(c->plan, c->groups, &c->n_groups, err) : 0;
}

/* Over the empty root, which stays: whoever unmounts the container's root, or climbs out of it, is in a directory with nothing in it. */
static int cover_root(struct cs_child *c, struct cs_err **err)
{
	int r = c->overlay < 0 ? -ENOENT : sys_move_mount(c->overlay, "", c->empty, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);

	if (r < 0)
		return cs_fail(err, CS_ERR_INTERNAL, -r, "put the overlay in its place");
	c->root = TAKE_FD(c->overlay);
	return 0;
}

static int enter_overlay(struct cs_child *c, struct cs_err **err)
{
	int r = sys_mount_setattr(c->empty, "", AT_EMPTY_PATH, CS_MOUNT_ATTR_RDONLY, 0, 0);

	if (r < 0)
		return cs_fail(err, CS_ERR_INTERNAL, -r, "close the empty root");
	cs_close(TAKE_FD(c->empty));
	if (fchdir(c->root) < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "enter the container's root");
	r = sys_chroot_here();
	return r < 0 ? cs_fail(err, CS_ERR_INTERNAL, -r, "change to the container's root") : 0;
}

/* The root of a namespace in which a part is to be done ahead. There is time: the old root's end is waited for (see below) without a second thread. */
int cs_child_empty_root(struct cs_child *c, struct cs_err **err)
{
	int tree = -EBADF;

	if (cs_step_propagation(c, MS_PRIVATE | MS_REC, err) < 0 ||
	    cs_new_mount("tmpfs", "none", "size=64k,mode=0755", CS_MOUNT_ATTR_NOSUID | CS_MOUNT_ATTR_NOEXEC, &tree, err) < 0)
		return -1;
	c->root = tree;
	int r = sys_move_mount(tree, "", AT_FDCWD, "/proc", MOVE_MOUNT_F_EMPTY_PATH); /* a directory that is there; the host's own is held already */
	if (r >= 0)
		r = fchdir(tree) < 0 ? -errno : sys_pivot_root(".", ".");
	if (r >= 0 && umount2(".", MNT_DETACH) < 0)
		r = -errno;
	if (r < 0)
		return cs_fail(err, CS_ERR_INTERNAL, -r, "enter an empty root");
	if (root_is_covered(tree) == 1 || chdir("/") < 0)
		return cs_fail(err, CS_ERR_INTERNAL, 0, "the old root is still there");
	r = sys_chroot_here(); /* will be needed, and needs a capability */
	return r < 0 ? cs_fail(err, CS_ERR_UNSUPPORTED, -r, "change the root") : 0;
}

/* ---- */

int cs_step_overlay(struct cs_child *c, const struct cs_step *s, struct cs_err **err)
{
	if (c->ahead)
		return cover_root(c, err);
	cs_autofd int base = open(*s->arg[0].s ? s->arg[0].s : "/", O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (base < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "open %s", s->arg[0].s);
	if (!c->root_propagation && cs_step_propagation(c, MS_SLAVE | MS_REC, err) < 0)
		return -1;
	if (c->root >= 0 || s->arg[1].v.n == 0)
		return cs_fail(err, CS_ERR_INTERNAL, 0, "misplaced OVERLAY step");
	cs_autofd int target = openat(base, s->arg[4].s, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (target < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "open mount point %s", s->arg[4].s);
	if (s->arg[1].v.n == 1 && !*s->arg[2].s) {
		/* overlay wants two directories; one read-only layer is a bind */
		cs_autofd int layer = openat(base, s->arg[1].v.first, O_PATH | O_DIRECTORY | O_CLOEXEC);
		cs_autofd int tree = layer < 0 ? -errno : sys_open_tree(layer, "", OPEN_TREE_CLONE | AT_EMPTY_PATH);
		int r = tree < 0 ? tree : sys_mount_setattr(tree, "", AT_EMPTY_PATH, CS_MOUNT_ATTR_RDONLY, 0, MS_PRIVATE);
		if (r >= 0)
			r = sys_move_mount(tree, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
		if (r < 0)
			return cs_fail(err, CS_ERR_INTERNAL, -r, "mount layer %s", s->arg[1].v.first);
	} else {
		forgive_volatile(base, s);
		if (mount_overlay(base, target, s, err) < 0)
			return -1;
	}
	/* by name: the descriptor from before still means the directory underneath. Nobody but root reaches this path. */
	c->root = openat(base, s->arg[4].s, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (c->root < 0 || chdir("/") < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "open the container's root");
	return 0;
}

/* ---- an image's files somewhere below the root ---- */
static int tree_inside(int root, const char *sub, struct cs_err **err)
{
	cs_autofd int fd = *sub ? sys_openat2(root, sub, O_PATH, 0, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS) : -EBADF;

	if (*sub && (fd == -EXDEV || fd == -ELOOP))
		return cs_fail(err, CS_ERR_INVALID, 0, "cannot access path %s: it leads out of the image", sub);
	if (*sub && fd < 0)
		return cs_fail(err, CS_ERR_INVALID, 0, "cannot access path %s: %s", sub, cs_go_errno(-fd));
	int tree = sys_open_tree(*sub ? fd : root, "", OPEN_TREE_CLONE | AT_EMPTY_PATH);
	return tree < 0 ? cs_fail(err, CS_ERR_INTERNAL, -tree, "mount an image") : tree;
}

int cs_layers_tree(const struct cs_step *s, struct cs_err **err)
{
	cs_autofd int base = open(*s->arg[0].s ? s->arg[0].s : "/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	cs_autofd int first = base < 0 ? -1 : openat(base, s->arg[1].v.first, O_PATH | O_DIRECTORY | O_CLOEXEC);
	cs_autofd int at = first < 0 ? -1 : openat(base, s->arg[4].s, O_PATH | O_DIRECTORY | O_CLOEXEC);
	char path[32];

	if (at < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "open layer %s", s->arg[1].v.first);
	if (s->arg[1].v.n == 1) /* overlay wants two directories */
		return tree_inside(first, s->arg[6].s, err);
	if (mount_overlay(base, at, s, err) < 0)
		return -1;
	/* by name, as for the root: it is seen in our mount namespace only, and only until we have a copy */
	cs_autofd int root = openat(base, s->arg[4].s, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int tree = root < 0 ? cs_fail(err, CS_ERR_INTERNAL, errno, "open the image's files") : tree_inside(root, s->arg[6].s, err);
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", root);
	if (tree >= 0 && umount2(path, MNT_DETACH) < 0) {
		int e = errno;
		cs_close(tree);
		return cs_fail(err, CS_ERR_INTERNAL, e, "unmount the image's files from where they were made");
	}
	return tree >= 0 && chdir("/") < 0 ? cs_fail(err, CS_ERR_INTERNAL, errno, "enter the root") : tree;
}

/* ---- letting the old root go ---- */

/* The kernel takes the mounts out of sight at once and then waits for a grace period, 0.2 ms and more, which nothing that we do needs. So a thread
 * waits while we go on. While the old root is in sight a ".." in the image's links could lead onto it: we do not go on before it has vanished. */
static struct {
	_Atomic pid_t tid; /* 0: no thread, or it has ended */
	int error;
	char stack[16384] __attribute__((aligned(64)));
} old_root;

/* Shares our thread-local storage: a single system call and no more. */
static int detach_old_root(void *arg)
{
	(void)arg;
	if (umount2(".", MNT_DETACH) < 0)
		old_root.error = errno;
	return 0;
}

/* Is something mounted on the root itself? That is where ".." leads from there. -errno when this cannot be told. */
static int root_is_covered(int root)
{
	uint64_t own = 0, up = 0;
	int r = sys_mount_id(root, "", &own);

	if (r == 0)
		r = sys_mount_id(root, "..", &up);
	return r < 0 ? r : own != up;
}

static bool start_detaching(int root)
{
	const int flags = CLONE_VM | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID;

#ifdef __SANITIZE_THREAD__
	return false; /* its run time knows no threads but its own */
#endif
	/* no CLONE_FS: "." stays the old root for it */
	return root_is_covered(root) == 1 &&
	       clone(detach_old_root, old_root.stack + sizeof(old_root.stack), flags, NULL, &old_root.tid, NULL, &old_root.tid) >= 0;
}

int cs_pivot_settle(struct cs_err **err)
{
	pid_t tid;

	while ((tid = atomic_load(&old_root.tid)) != 0)
		(void)syscall(SYS_futex, &old_root.tid, FUTEX_WAIT, tid, NULL, NULL, 0);
	return old_root.error ? cs_fail(err, CS_ERR_INTERNAL, old_root.error, "detach the old root") : 0;
}

/* The old root is put on top of the new one and detached: no directory for it is needed in the image. */
int cs_step_pivot(struct cs_child *c, struct cs_err **err)
{
	if (c->root < 0)
		return cs_fail(err, CS_ERR_INTERNAL, 0, "PIVOT without a root");
	if (c->ahead)
		return enter_overlay(c, err);
	if (cs_child_null_tree(c, err) < 0) /* for masks that follow */
		return -1;
	if (fchdir(c->root) < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "enter the container's root");
	int r = sys_pivot_root(".", ".");
	if (r < 0)
		return cs_fail(err, CS_ERR_INTERNAL, -r, "pivot_root");
	if (start_detaching(c->root)) {
		for (int i = 0; i < 1000 && root_is_covered(c->root) != 0; i++)
			(void)sched_yield();
		if (root_is_covered(c->root) != 0 && cs_pivot_settle(err) < 0)
			return -1;
	} else if (umount2(".", MNT_DETACH) < 0) { /* an old kernel, or no process more in the pids group */
		return cs_fail(err, CS_ERR_INTERNAL, errno, "detach the old root");
	}
	if (root_is_covered(c->root) == 1)
		return cs_fail(err, CS_ERR_INTERNAL, 0, "the old root is still there");
	if (chdir("/") < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "enter the new root");
	cs_close(c->root);
	c->root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (c->root < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "open the new root");
	if ((c->root_propagation & MS_SHARED) && mount(NULL, "/", NULL, c->root_propagation & (MS_SHARED | MS_REC), NULL) < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "share the container's root");
	return 0;
}

int cs_step_root_readonly(struct cs_child *c, struct cs_err **err)
{
	struct cs_step s;

	/* the last moment at which a missing working directory can be made */
	if (!c->have_cwd && cs_plan_find(c->plan, CS_PLAN_CWD, &s) == 1) {
		c->cwd = s;
		c->have_cwd = true;
		if (cs_make_cwd(c, err) < 0)
			return -1;
	}
	int r = sys_mount_setattr(c->root, "", AT_EMPTY_PATH, CS_MOUNT_ATTR_RDONLY, 0, 0);
	return r < 0 ? cs_fail(err, CS_ERR_INTERNAL, -r, "make the container's root read-only") : 0;
}
