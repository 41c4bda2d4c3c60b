/* SPDX-License-Identifier: Apache-2.0
 *
 * Mounts inside the container's root, by descriptors only: a detached mount is made, given its attributes, and moved onto a target that
 * was resolved inside the root. No path of the image is ever resolved by a system call that could leave it. Runs in the child. */
#include <sched.h>
#include <sys/mount.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>

#include "base/path.h"
#include "base/sys.h"
#include "compute/process/internal.h"

#define PROC_SUPER_MAGIC_ 0x9fa0
#define PROC_ROOT_INO_ 1
#define RESOLVE_NOLINKS_IN_ROOT (RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS)

/* The kernel's own trees: an image that makes one of them a link tries to redirect what we mount or write there (CVE-2019-18837,
 * CVE-2023-27561, CVE-2023-28642, CVE-2026-41579). `path` is cleaned. */
static bool guarded(const char *path) { return cs_path_is_below(path, "/proc") || cs_path_is_below(path, "/sys") || cs_path_is_below(path, "/dev"); }

int cs_child_target(struct cs_child *c, const char *path, enum cs_target kind)
{
	cs_autofree char *abs = cs_path_join("/", path);
	cs_autofree char *clean = cs_path_clean(abs);

	if (c->root < 0)
		return -ENOTCONN;
	if (guarded(clean)) {
		int fd = sys_openat2(c->root, clean, O_PATH, 0, RESOLVE_NOLINKS_IN_ROOT);
		if (fd != -ENOENT)
			return fd;
	}
	int at = cs_open_in_root(c->root, clean, O_PATH, 0);
	if (at != -ENOENT || kind == CS_TARGET_EXISTING)
		return at;
	/* links that dangle are common: /etc/resolv.conf -> ../run/x */
	cs_autofree char *real = cs_follow_in_root(c->root, clean);
	if (!real)
		return -ELOOP;
	return kind == CS_TARGET_DIR ? cs_mkdir_in_root(c->root, real, 0755, 0, 0) : cs_mkfile_in_root(c->root, real);
}

int cs_child_parent(struct cs_child *c, const char *path, char **ret_name)
{
	cs_autofree char *abs = cs_path_join("/", path);
	cs_autofree char *clean = cs_path_clean(abs);
	char *slash = strrchr(clean, '/');

	if (!cs_is_plain_name(slash + 1))
		return -EINVAL;
	cs_autofree char *name = cs_xstrdup(slash + 1);
	slash[slash == clean] = 0;
	int fd = cs_child_target(c, clean, CS_TARGET_DIR);
	if (fd >= 0)
		*ret_name = TAKE_PTR(name);
	return fd;
}

/* The container's /dev/null may be anything; only the host's, checked, covers a file (CVE-2025-31133). */
int cs_child_null_tree(struct cs_child *c, struct cs_err **err)
{
	struct stat st;

	if (c->null_tree >= 0)
		return 0;
	cs_autofd int null = open("/dev/null", O_PATH | O_CLOEXEC | O_NOFOLLOW);
	if (null < 0 || fstat(null, &st) < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "open the host's null device");
	if (!S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3))
		return cs_fail(err, CS_ERR_INTERNAL, 0, "the host's /dev/null is not the null device");
	c->null_tree = sys_open_tree(null, "", OPEN_TREE_CLONE | AT_EMPTY_PATH);
	return c->null_tree < 0 ? cs_fail(err, CS_ERR_INTERNAL, -c->null_tree, "mount the host's null device") : 0;
}

static int attach(int tree, int target)
{
	return sys_move_mount(tree, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
}

static int fail_old_kernel(int r, const char *what, struct cs_err **err)
{
	if (r == -ENOSYS)
		return cs_fail(err, CS_ERR_UNSUPPORTED, ENOSYS, "%s: Linux 5.12 or newer is needed", what);
	return 0;
}

/* What the file system itself says about a refused option ("tmpfs: Unknown parameter 'x'"). */
static int fail_fs(int fsfd, int r, const char *fstype, const char *opt, struct cs_err **err)
{
	char msg[256];
	ssize_t n = read(fsfd, msg, sizeof(msg) - 1);

	msg[n > 0 ? n : 0] = 0;
	msg[strcspn(msg, "\n")] = 0;
	return cs_fail(err, r == -EINVAL ? CS_ERR_INVALID : CS_ERR_INTERNAL, -r, "mount %s%s%s%s%s", fstype, *opt ? " with option " : "", opt,
		       n > 2 ? ": " : "", n > 2 ? msg + 2 : "");
}

int cs_fs_options(int fsfd, const char *fstype, const char *opts, struct cs_err **err)
{
	cs_autofree char *copy = cs_xstrdup(opts);

	for (char *p = copy; *p;) {
		char *next = p + strcspn(p, ",");
		if (*next)
			*next++ = 0;
		char *eq = strchr(p, '=');
		if (eq)
			*eq = 0;
		int r = *p ? sys_fsconfig(fsfd, eq ? CS_FSCONFIG_SET_STRING : CS_FSCONFIG_SET_FLAG, p, eq ? eq + 1 : NULL, 0) : 0;
		if (r < 0)
			return fail_fs(fsfd, r, fstype, p, err);
		p = next;
	}
	return 0;
}

int cs_new_mount(const char *fstype, const char *source, const char *opts, unsigned attr, int *ret, struct cs_err **err)
{
	cs_autofd int fsfd = sys_fsopen(fstype);

	if (fail_old_kernel(fsfd, "fsopen", err) < 0)
		return -1;
	if (fsfd < 0)
		return cs_fail(err, fsfd == -ENODEV ? CS_ERR_INVALID : CS_ERR_INTERNAL, -fsfd, "file system type %s", fstype);
	if (*source) {
		int r = sys_fsconfig(fsfd, CS_FSCONFIG_SET_STRING, "source", source, 0);
		if (r < 0)
			return fail_fs(fsfd, r, fstype, "source", err);
	}
	if (cs_fs_options(fsfd, fstype, opts, err) < 0)
		return -1;
	int r = sys_fsconfig(fsfd, CS_FSCONFIG_CMD_CREATE, NULL, NULL, 0);
	if (r < 0)
		return fail_fs(fsfd, r, fstype, "", err);
	int mnt = sys_fsmount(fsfd, attr);
	if (mnt < 0)
		return cs_fail(err, CS_ERR_INTERNAL, -mnt, "mount %s", fstype);
	*ret = mnt;
	return 0;
}

static int set_propagation(int tree, uint64_t propagation)
{
	if (!propagation)
		return 0;
	return sys_mount_setattr(tree, "", AT_EMPTY_PATH | (propagation & MS_REC ? AT_RECURSIVE : 0), 0, 0, propagation & ~(uint64_t)MS_REC);
}

/* Only a real procfs may stand at /proc, and only a few files may be covered below it: what we and the container's tools
 * write to /proc must arrive in the kernel (CVE-2019-16884, CVE-2025-52881). */
static bool may_cover(const char *clean)
{
	static const char *const allowed[] = {"/proc/cpuinfo",	"/proc/diskstats", "/proc/meminfo", "/proc/stat",
					      "/proc/swaps",	"/proc/uptime",	   "/proc/loadavg", "/proc/slabinfo",
					      "/proc/sys/kernel/ns_last_pid", "/proc/sys/crypto/fips_enabled"};

	for (size_t i = 0; i < CS_ARRAY_SIZE(allowed); i++)
		if (strcmp(clean, allowed[i]) == 0)
			return true;
	return false;
}

static int check_proc_target(const char *target, int tree, struct cs_err **err)
{
	cs_autofree char *abs = cs_path_join("/", target);
	cs_autofree char *clean = cs_path_clean(abs);
	struct statfs fs;
	struct stat st;

	if (!cs_path_is_below(clean, "/proc") || may_cover(clean))
		return 0;
	if (strcmp(clean, "/proc") != 0)
		return cs_fail(err, CS_ERR_INVALID, 0, "\"%s\" cannot be mounted because it is inside /proc", clean);
	if (fstatfs(tree, &fs) < 0 || fstat(tree, &st) < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "look at the mount for /proc");
	if ((unsigned long)fs.f_type != PROC_SUPER_MAGIC_ || st.st_ino != PROC_ROOT_INO_)
		return cs_fail(err, CS_ERR_INVALID, 0, "\"%s\" cannot be mounted because it is not of type proc", clean);
	return 0;
}

/* The same for where the target really is: a link of the image leads into /proc under another name. */
static int check_landing(const char *target, int at, struct cs_err **err)
{
	cs_autofree char *abs = cs_path_join("/", target);
	cs_autofree char *clean = cs_path_clean(abs);
	struct statfs fs;

	if (strcmp(clean, "/proc") == 0 || may_cover(clean))
		return 0;
	if (fstatfs(at, &fs) < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "look at mount target %s", target);
	if ((unsigned long)fs.f_type == PROC_SUPER_MAGIC_)
		return cs_fail(err, CS_ERR_INVALID, 0, "\"%s\" cannot be mounted because it leads into /proc", clean);
	return 0;
}

static int fail_target(int r, const char *target, struct cs_err **err)
{
	if (r == -ELOOP)
		return cs_fail(err, CS_ERR_INVALID, 0, "mount target %s of the image is a symbolic link (or a loop of them)", target);
	return cs_fail(err, r == -ENOTDIR || r == -EISDIR ? CS_ERR_INVALID : CS_ERR_INTERNAL, -r, "mount target %s", target);
}

/* Puts a mount where the step wants it. `tree` is borrowed. */
static int place_mount(struct cs_child *c, int tree, const struct cs_step *s, struct cs_err **err)
{
	const char *fstype = s->arg[0].s, *target = s->arg[2].s;

	if (check_proc_target(target, tree, err) < 0)
		return -1;
	cs_autofd int at = cs_child_target(c, target, CS_TARGET_DIR);
	if (at < 0)
		return fail_target(at, target, err);
	if (check_landing(target, at, err) < 0)
		return -1;
	int r = attach(tree, at);
	if (r >= 0)
		r = set_propagation(tree, s->arg[5].u);
	if (r < 0)
		return cs_fail(err, CS_ERR_INTERNAL, -r, "mount %s on %s", fstype, target);
	return 0;
}

int cs_step_mount(struct cs_child *c, const struct cs_step *s, struct cs_err **err)
{
	const char *fstype = s->arg[0].s, *target = s->arg[2].s;
	cs_autofd int tree = -EBADF;

	if (cs_new_mount(fstype, s->arg[1].s, s->arg[4].s, (unsigned)s->arg[3].u, &tree, err) < 0)
		return cs_wrap(err, "mount %s on %s", s->arg[1].s, target);
	return place_mount(c, tree, s, err);
}

int cs_step_ready(struct cs_child *c, const struct cs_step *s, struct cs_err **err)
{
	/* a copy: mounts are listed in the order in which they were made, and the root should stand first */
	cs_autofd int tree = sys_open_tree(c->empty, s->arg[2].s + 1, OPEN_TREE_CLONE | AT_RECURSIVE);

	if (tree < 0)
		return cs_fail(err, CS_ERR_INTERNAL, -tree, "find the %s that was made before", s->arg[2].s);
	return place_mount(c, tree, s, err);
}

static int bind_tree(struct cs_child *c, const struct cs_step *s)
{
	for (size_t i = 0; i < c->n_early; i++)
		if (c->early[i].source == s->arg[0].s)
			return TAKE_FD(c->early[i].fd);
	return sys_open_tree(AT_FDCWD, s->arg[0].s, OPEN_TREE_CLONE | (s->arg[2].u ? AT_RECURSIVE : 0));
}

struct bind {
	const char *source, *target;
	uint64_t set, set_recursive, propagation;
};

/* Puts a detached tree where it belongs. `tree` is borrowed. */
static int place_bind(struct cs_child *c, int tree, const struct bind *b, struct cs_err **err)
{
	struct stat st, to;

	if (fstat(tree, &st) < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "bind source %s", b->source);
	if (check_proc_target(b->target, tree, err) < 0)
		return -1;
	cs_autofd int at = cs_child_target(c, b->target, S_ISDIR(st.st_mode) ? CS_TARGET_DIR : CS_TARGET_FILE);
	int r = at;
	if (r >= 0 && fstat(at, &to) == 0 && S_ISDIR(to.st_mode) != S_ISDIR(st.st_mode))
		r = -ENOTDIR;
	if (r == -ENOTDIR) /* docker's client turns the words "not a directory" into 127 */
		return cs_fail(err, CS_ERR_EXEC_NOT_FOUND, 0,
			       "error mounting \"%s\" to rootfs at \"%s\": not a directory: Are you trying to mount a directory onto a file (or "
			       "vice-versa)? Check if the specified host path exists and is the expected type",
			       b->source, b->target);
	if (r < 0)
		return fail_target(r, b->target, err);
	if (check_landing(b->target, at, err) < 0)
		return -1;
	if (b->set) {
		r = sys_mount_setattr(tree, "", AT_EMPTY_PATH | (b->set_recursive ? AT_RECURSIVE : 0), b->set,
				      b->set & CS_MOUNT_ATTR__ATIME ? CS_MOUNT_ATTR__ATIME : 0, 0);
		if (fail_old_kernel(r, "mount_setattr", err) < 0)
			return -1;
	}
	if (r >= 0)
		r = set_propagation(tree, b->propagation);
	if (r >= 0)
		r = attach(tree, at);
	if (r < 0)
		return cs_fail(err, CS_ERR_INTERNAL, -r, "bind %s on %s", b->source, b->target);
	return 0;
}

int cs_step_bind(struct cs_child *c, const struct cs_step *s, struct cs_err **err)
{
	const struct bind b = {s->arg[0].s, s->arg[1].s, s->arg[3].u, s->arg[4].u, s->arg[5].u};
	cs_autofd int tree = bind_tree(c, s);

	if (fail_old_kernel(tree, "open_tree", err) < 0)
		return -1;
	if (tree < 0)
		return cs_fail(err, CS_ERR_INVALID, -tree, "bind source %s", b.source);
	return place_bind(c, tree, &b, err);
}

/* A copy of the mounts at base/sub; nothing on the way to `sub` may lead out of base, which is somebody's volume. */
static int tree_beneath(const char *base, const char *sub, bool recursive)
{
	cs_autofd int dir = open(base, O_PATH | O_DIRECTORY | O_CLOEXEC);
	cs_autofd int fd = dir < 0 ? -errno : sys_openat2(dir, sub, O_PATH, 0, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS);

	return fd < 0 ? fd : sys_open_tree(fd, "", OPEN_TREE_CLONE | AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0));
}

/* Copies of mounts can be made only from inside their namespace. Going there resets root and working directory, coming back sets
 * them to the root of ours, which has to be where we have been. */
static int tree_of_other(struct cs_child *c, const char *base, const char *sub, bool recursive, struct cs_err **err)
{
	cs_autofd int home = openat(c->host_proc, "self/ns/mnt", O_RDONLY | O_CLOEXEC);
	struct stat before, after;

	if (home < 0 || stat("/", &before) < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "open the own mount namespace");
	int r = sys_setns(c->mntns, CLONE_NEWNS);
	if (r < 0)
		return cs_fail(err, CS_ERR_INTERNAL, -r, "visit the other container's mounts");
	cs_autofd int tree = tree_beneath(base, sub, recursive);
	r = sys_setns(home, CLONE_NEWNS);
	if (r < 0 || stat("/", &after) < 0)
		return cs_fail(err, CS_ERR_INTERNAL, r < 0 ? -r : errno, "return to the own mount namespace");
	if (before.st_dev != after.st_dev || before.st_ino != after.st_ino)
		return cs_fail(err, CS_ERR_UNSUPPORTED, 0, "mounts of another container cannot be shared by an engine in a chroot");
	if (tree < 0)
		return cs_fail(err, CS_ERR_INVALID, -tree, "bind source %s%s of the other container", base, sub);
	return TAKE_FD(tree);
}

int cs_step_bind_beneath(struct cs_child *c, const struct cs_step *s, struct cs_err **err)
{
	const char *base = s->arg[1].s, *sub = s->arg[2].s;
	cs_autofree char *source = cs_path_join(base, sub);
	const struct bind b = {source, s->arg[3].s, s->arg[5].u, s->arg[6].u, s->arg[7].u};

	if (c->root < 0 || (*s->arg[0].s && (c->mntns < 0 || c->host_proc < 0)))
		return cs_fail(err, CS_ERR_INTERNAL, 0, "misplaced BIND_BENEATH step");
	cs_autofd int tree = *s->arg[0].s ? tree_of_other(c, base, sub, s->arg[4].u, err) : tree_beneath(base, sub, s->arg[4].u);
	if (*s->arg[0].s && tree < 0)
		return -1;
	if (tree == -EXDEV || tree == -ELOOP)
		return cs_fail(err, CS_ERR_INVALID, 0, "cannot access path %s: it leads out of the volume", source);
	if (tree < 0)
		return cs_fail(err, CS_ERR_INVALID, 0, "cannot access path %s: %s", source, cs_go_errno(-tree));
	return place_bind(c, tree, &b, err);
}

int cs_step_layers(struct cs_child *c, const struct cs_step *s, struct cs_err **err)
{
	const struct bind b = {"image", s->arg[7].s, CS_MOUNT_ATTR_RDONLY, false, MS_PRIVATE};

	if (c->root < 0 || s->arg[1].v.n == 0)
		return cs_fail(err, CS_ERR_INTERNAL, 0, "misplaced LAYERS step");
	cs_autofd int tree = cs_layers_tree(s, err);
	return tree < 0 ? -1 : place_bind(c, tree, &b, err);
}

/* One empty tmpfs serves all masked directories. */
static int empty_tree(struct cs_child *c, bool *fresh, struct cs_err **err)
{
	*fresh = c->mask_tree < 0;
	if (!*fresh)
		return sys_open_tree(c->mask_tree, "", OPEN_TREE_CLONE | AT_EMPTY_PATH);
	int tree = -EBADF;
	if (cs_new_mount("tmpfs", "tmpfs", "size=0,mode=0555",
			 CS_MOUNT_ATTR_RDONLY | CS_MOUNT_ATTR_NOSUID | CS_MOUNT_ATTR_NODEV | CS_MOUNT_ATTR_NOEXEC, &tree, err) < 0)
		return -EIO;
	return tree;
}

int cs_step_mask(struct cs_child *c, const char *path, struct cs_err **err)
{
	cs_autofd int at = cs_child_target(c, path, CS_TARGET_EXISTING);
	bool fresh = false, file = false;
	struct stat st;

	if (at == -ENOENT || at == -ENOTDIR)
		return 0;
	if (at < 0 || fstat(at, &st) < 0)
		return fail_target(at < 0 ? at : -errno, path, err);
	cs_autofd int tree = -EBADF;
	if (S_ISDIR(st.st_mode)) {
		tree = empty_tree(c, &fresh, err);
	} else {
		/* the one made from the host's device covers the first file, copies of it the next: after the pivot there is no other source */
		if (cs_child_null_tree(c, err) < 0)
			return -1;
		file = !c->null_attached;
		tree = file ? TAKE_FD(c->null_tree) : sys_open_tree(c->null_tree, "", OPEN_TREE_CLONE | AT_EMPTY_PATH);
	}
	int r = tree < 0 ? tree : attach(tree, at);
	if (r < 0)
		return cs_fail(err, CS_ERR_INTERNAL, -r, "mask %s", path);
	if (fresh)
		c->mask_tree = TAKE_FD(tree);
	if (file) {
		c->null_tree = TAKE_FD(tree);
		c->null_attached = true;
	}
	return 0;
}

int cs_step_readonly(struct cs_child *c, const char *path, struct cs_err **err)
{
	cs_autofd int at = cs_child_target(c, path, CS_TARGET_EXISTING);

	if (at == -ENOENT || at == -ENOTDIR)
		return 0;
	if (at < 0)
		return fail_target(at, path, err);
	cs_autofd int tree = sys_open_tree(at, "", OPEN_TREE_CLONE | AT_EMPTY_PATH | AT_RECURSIVE);
	int r = tree < 0 ? tree : sys_mount_setattr(tree, "", AT_EMPTY_PATH, CS_MOUNT_ATTR_RDONLY, 0, 0);
	if (r >= 0)
		r = attach(tree, at);
	if (r < 0)
		return cs_fail(err, CS_ERR_INTERNAL, -r, "make %s read-only", path);
	return 0;
}

static uint64_t group_attributes(bool readonly)
{
	return CS_MOUNT_ATTR_NOSUID | CS_MOUNT_ATTR_NODEV | CS_MOUNT_ATTR_NOEXEC | (readonly ? CS_MOUNT_ATTR_RDONLY : 0);
}

/* `n`: which of the plan's groups. */
static int group_tree(struct cs_child *c, size_t n, const char *dir)
{
	return c->ahead ? n < c->n_groups ? TAKE_FD(c->groups[n]) : -ENOENT : sys_open_tree(AT_FDCWD, dir, OPEN_TREE_CLONE);
}

/* One hierarchy: the container's own group, bound. Inside a cgroup namespace this looks as if mounted there. */
static int bind_group(struct cs_child *c, const char *dir, int at, bool readonly, struct cs_err **err)
{
	cs_autofd int tree = group_tree(c, 0, dir);
	int r = tree < 0 ? tree : sys_mount_setattr(tree, "", AT_EMPTY_PATH, group_attributes(readonly), 0, MS_PRIVATE);

	if (r >= 0)
		r = attach(tree, at);
	return r < 0 ? cs_fail(err, CS_ERR_INTERNAL, -r, "mount cgroup %s", dir) : 0;
}

/* v1: a directory per hierarchy ("cpu,cpuacct") and a link per controller, as distributions lay it out. */
static int mount_v1_group(struct cs_child *c, size_t n, int tmpfs, const struct cs_step *g, struct cs_err **err)
{
	const char *name = g->arg[0].s;

	if (!*name)
		name = "unified";
	else if (cs_prefix(name, "name="))
		name = cs_prefix(name, "name=");
	if (!cs_is_plain_name(name))
		return cs_fail(err, CS_ERR_INTERNAL, 0, "cgroup controllers %s", name);
	if (mkdirat(tmpfs, name, 0755) < 0 && errno != EEXIST)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "make cgroup directory %s", name);
	/* by its name, which is a plain one, in a file system that is not two calls old; attributes come for all at the end */
	cs_autofd int tree = group_tree(c, n, g->arg[1].s);
	int r = tree < 0 ? tree : sys_move_mount(tree, "", tmpfs, name, MOVE_MOUNT_F_EMPTY_PATH);
	if (r < 0)
		return cs_fail(err, CS_ERR_INTERNAL, -r, "mount cgroup %s", g->arg[1].s);
	for (const char *p = strchr(name, ',') ? name : ""; *p;) {
		size_t len = strcspn(p, ",");
		cs_autofree char *link = cs_xstrndup(p, len);
		if (symlinkat(name, tmpfs, link) < 0 && errno != EEXIST)
			return cs_fail(err, CS_ERR_INTERNAL, errno, "link cgroup %s", link);
		p += len + (p[len] == ',');
	}
	return 0;
}

static bool has_cgroupns(const struct cs_plan *plan)
{
	struct cs_plan_cursor cur = {.plan = plan};
	struct cs_step s;

	while (cs_plan_next(&cur, &s) == 1)
		if ((s.op == CS_PLAN_CLONE || s.op == CS_PLAN_SETNS) && (s.arg[0].u & CLONE_NEWCGROUP))
			return true;
	return false;
}

/* Without a namespace /proc/self/cgroup names a path from the hierarchy's root, so on v2 the root is what programs look for. */
static char *hierarchy_of(const char *dir)
{
	char *top = cs_xstrdup(dir), *slash;
	struct stat own, up;

	if (stat(top, &own) < 0) {
		free(top);
		return NULL;
	}
	while ((slash = strrchr(top, '/')) && slash != top) {
		*slash = 0;
		if (stat(top, &up) < 0 || up.st_dev != own.st_dev) {
			*slash = '/';
			break;
		}
	}
	return top;
}

int cs_step_cgroup_mount(struct cs_child *c, const struct cs_step *s, struct cs_err **err)
{
	bool readonly = s->arg[1].u != 0, v1 = false;
	struct cs_plan_cursor cur = {.plan = c->plan};
	struct cs_step g;

	while (cs_plan_next(&cur, &g) == 1)
		v1 = v1 || (g.op == CS_PLAN_CGROUP && g.arg[2].u == 1);
	cs_autofd int at = cs_child_target(c, s->arg[0].s, CS_TARGET_DIR);
	if (at < 0)
		return fail_target(at, s->arg[0].s, err);
	if (!v1) {
		if (cs_plan_find(c->plan, CS_PLAN_CGROUP, &g) != 1)
			return cs_fail(err, CS_ERR_INTERNAL, 0, "CGROUP_MOUNT without a cgroup");
		cs_autofree char *top = has_cgroupns(c->plan) ? NULL : hierarchy_of(g.arg[1].s);
		return bind_group(c, top ? top : g.arg[1].s, at, readonly, err);
	}
	cs_autofd int tmpfs = -EBADF;
	if (cs_new_mount("tmpfs", "cgroup", "mode=755", CS_MOUNT_ATTR_NOSUID | CS_MOUNT_ATTR_NODEV | CS_MOUNT_ATTR_NOEXEC, &tmpfs, err) < 0)
		return -1;
	int r = attach(tmpfs, at);
	if (r < 0)
		return cs_fail(err, CS_ERR_INTERNAL, -r, "mount tmpfs for cgroups");
	cur = (struct cs_plan_cursor){.plan = c->plan};
	for (size_t n = 0; cs_plan_next(&cur, &g) == 1;)
		if (g.op == CS_PLAN_CGROUP && mount_v1_group(c, n++, tmpfs, &g, err) < 0)
			return -1;
	r = sys_mount_setattr(tmpfs, "", AT_EMPTY_PATH | AT_RECURSIVE, group_attributes(readonly), 0, MS_PRIVATE);
	return r < 0 ? cs_fail(err, CS_ERR_INTERNAL, -r, "protect the cgroup tree") : 0;
}
