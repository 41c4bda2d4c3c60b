/* SPDX-License-Identifier: Apache-2.0
 *
 * Device nodes, links in /dev and the terminal. Runs in the child, in or before its root, always by descriptors. */
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>

#include "base/path.h"
#include "base/sys.h"
#include "compute/process/internal.h"

#define DEVPTS_MAGIC_ 0x1cd1
#ifndef TIOCGPTPEER
#define TIOCGPTPEER _IO('T', 0x41)
#endif

/* Without the right to make nodes, the host's own node is bound; its numbers are compared, its name is not believed. */
static int bind_host_device(int dir, const char *name, const char *path, mode_t type, dev_t dev, struct cs_err **err)
{
	cs_autofree char *by_number =
		cs_xasprintf("/dev/%s/%u:%u", S_ISBLK(type) ? "block" : "char", (unsigned)major(dev), (unsigned)minor(dev));
	const char *const candidates[] = {path, by_number};
	struct stat st;

	for (size_t i = 0; i < CS_ARRAY_SIZE(candidates); i++) {
		cs_autofd int host = open(candidates[i], O_PATH | O_CLOEXEC);
		if (host < 0 || fstat(host, &st) < 0 || (st.st_mode & S_IFMT) != type || st.st_rdev != dev)
			continue;
		cs_close(sys_openat2(dir, name, O_CREAT | O_EXCL | O_WRONLY, 0644, CS_RESOLVE_BENEATH_NOLINKS));
		cs_autofd int at = sys_openat2(dir, name, O_PATH | O_NOFOLLOW, 0, CS_RESOLVE_BENEATH_NOLINKS);
		cs_autofd int tree = sys_open_tree(host, "", OPEN_TREE_CLONE | AT_EMPTY_PATH);
		int r = at < 0 ? at : tree < 0 ? tree : sys_move_mount(tree, "", at, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
		return r < 0 ? cs_fail(err, CS_ERR_INTERNAL, -r, "bind device %s", path) : 0;
	}
	return cs_fail(err, CS_ERR_INTERNAL, EPERM, "make device %s", path);
}

int cs_step_device(struct cs_child *c, const struct cs_step *s, struct cs_err **err)
{
	const char *path = s->arg[0].s;
	mode_t type = (mode_t)s->arg[1].u & S_IFMT, mode = (mode_t)s->arg[4].u & 07777;
	dev_t dev = S_ISFIFO(type) ? 0 : makedev((unsigned)s->arg[2].u, (unsigned)s->arg[3].u);
	uid_t uid = (uid_t)s->arg[5].u;
	gid_t gid = (gid_t)s->arg[6].u;
	cs_autofree char *name = NULL;
	cs_autofd int dir = cs_child_parent(c, path, &name);
	struct stat st;

	if (dir < 0)
		return cs_fail(err, CS_ERR_INVALID, -dir, "directory of device %s", path);
	if (!S_ISCHR(type) && !S_ISBLK(type) && !S_ISFIFO(type))
		return cs_fail(err, CS_ERR_INVALID, 0, "device %s is neither a device nor a fifo", path);
	int r = sys_mknodat(dir, name, type | mode, dev);
	if (r == -EPERM && !S_ISFIFO(type))
		return bind_host_device(dir, name, path, type, dev, err);
	if (r == -EEXIST) {
		/* the same device twice, or a /dev of the host: fine, as long as it is this device */
		if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && (st.st_mode & S_IFMT) == type && (S_ISFIFO(type) || st.st_rdev == dev))
			return 0;
		return cs_fail(err, CS_ERR_INVALID, EEXIST, "make device %s", path);
	}
	if (r < 0)
		return cs_fail(err, CS_ERR_INTERNAL, -r, "make device %s", path);
	if ((uid || gid) && fchownat(dir, name, uid, gid, AT_SYMLINK_NOFOLLOW) < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "give device %s its owner", path);
	return 0;
}

int cs_step_symlink(struct cs_child *c, const struct cs_step *s, struct cs_err **err)
{
	cs_autofree char *name = NULL;
	cs_autofd int dir = cs_child_parent(c, s->arg[1].s, &name);

	if (dir < 0)
		return cs_fail(err, CS_ERR_INVALID, -dir, "directory of link %s", s->arg[1].s);
	if (symlinkat(s->arg[0].s, dir, name) < 0 && errno != EEXIST)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "make link %s", s->arg[1].s);
	return 0;
}

/* Opens a terminal in the container's own devpts. The other side comes from the master by ioctl: no name in /dev/pts is
 * resolved, so none can be swapped (CVE-2025-52565). */
int cs_child_open_pty(struct cs_child *c, struct cs_err **err)
{
	struct winsize ws = {.ws_row = c->rows, .ws_col = c->cols};
	struct statfs fs;
	struct stat st;
	int unlock = 0;

	if (c->pty_slave >= 0)
		return 0;
	cs_autofd int master = sys_openat2(c->root, "/dev/pts/ptmx", O_RDWR | O_NOCTTY, 0,
					   RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
	if (master < 0)
		return cs_fail(err, CS_ERR_INTERNAL, -master, "open a terminal in the container");
	if (fstatfs(master, &fs) < 0 || (unsigned long)fs.f_type != DEVPTS_MAGIC_ || fstat(master, &st) < 0 || !S_ISCHR(st.st_mode) ||
	    st.st_rdev != makedev(5, 2))
		return cs_fail(err, CS_ERR_INTERNAL, 0, "the container's /dev/pts/ptmx is not a terminal multiplexer");
	if (ioctl(master, TIOCSPTLCK, &unlock) < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "unlock the terminal");
	cs_autofd int slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "open the terminal's other side");
	if ((ws.ws_row || ws.ws_col) && ioctl(master, TIOCSWINSZ, &ws) < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "set the terminal's size");
	if (cs_child_send_pty(c, master, err) < 0)
		return -1;
	c->pty_slave = TAKE_FD(slave);
	return 0;
}

int cs_step_console(struct cs_child *c, struct cs_err **err)
{
	if (!c->tty)
		return 0;
	if (cs_child_open_pty(c, err) < 0)
		return -1;
	cs_autofd int at = cs_child_target(c, "/dev/console", CS_TARGET_FILE);
	cs_autofd int tree = at < 0 ? at : sys_open_tree(c->pty_slave, "", OPEN_TREE_CLONE | AT_EMPTY_PATH);
	int r = tree < 0 ? tree : sys_move_mount(tree, "", at, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
	return r < 0 ? cs_fail(err, CS_ERR_INTERNAL, -r, "put the terminal on /dev/console") : 0;
}
