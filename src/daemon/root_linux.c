/* SPDX-License-Identifier: Apache-2.0
 *
 * Out of a chroot. pivot_root and setns think of the root of the mount namespace, not of ours: from within a chroot a container could
 * climb out, and an exec would land on the files outside. So the chroot becomes the root of a mount namespace of the daemon's own, in
 * which mounts of the host still arrive. Main thread, before any other. */
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base/io.h"
#include "base/log.h"
#include "base/sys.h"
#include "daemon/daemon.h"

static bool same_root(const struct statx *a, const struct statx *b)
{
	return a->stx_dev_major == b->stx_dev_major && a->stx_dev_minor == b->stx_dev_minor && a->stx_ino == b->stx_ino && a->stx_mnt_id == b->stx_mnt_id;
}

static int look(struct statx *ret) { return statx(AT_FDCWD, "/", AT_NO_AUTOMOUNT, STATX_INO | STATX_MNT_ID, ret); }

/* Joining the own namespace again leads to its true root, so a child tries it. It answers by a pipe: our children reap themselves. */
static bool in_chroot(int own)
{
	struct statx before, after;
	char yes = 0;
	int p[2];

	if (pipe2(p, O_CLOEXEC) < 0)
		return false;
	cs_autofd int answer = p[0];
	pid_t pid = fork();
	if (pid == 0) {
		yes = look(&before) == 0 && sys_setns(own, CLONE_NEWNS) == 0 && look(&after) == 0 && !same_root(&before, &after);
		_exit(write(p[1], &yes, 1) != 1);
	}
	cs_close(p[1]);
	return pid > 0 && read(answer, &yes, 1) == 1 && yes;
}

int cs_leave_chroot(struct cs_err **err)
{
	cs_autofd int before = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
	int r;

	if (before < 0 || !in_chroot(before))
		return 0;
	if (unshare(CLONE_NEWNS) < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "leave the chroot: unshare");
	cs_autofd int own = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
	cs_autofd int here = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (own < 0 || here < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "leave the chroot: open");
	if ((r = sys_setns(own, CLONE_NEWNS)) < 0)
		return cs_fail(err, CS_ERR_INTERNAL, -r, "leave the chroot: setns");
	if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "leave the chroot: detach from the host's mounts");
	/* the chroot need not be a mount point, so it gets a mount of its own */
	cs_autofd int tree = sys_open_tree(here, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE | AT_EMPTY_PATH);
	if ((r = tree) < 0 || (r = sys_move_mount(tree, "", here, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH)) < 0)
		return cs_fail(err, CS_ERR_INTERNAL, -r, "leave the chroot: mount it on itself");
	cs_autofd int old = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (old < 0 || fchdir(tree) < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "leave the chroot: enter it");
	if ((r = sys_pivot_root(".", ".")) < 0)
		return cs_fail(err, CS_ERR_INTERNAL, -r, "leave the chroot: pivot_root");
	if (fchdir(old) < 0 || umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "leave the chroot: drop the host's root");
	cs_info("daemon", "started in a chroot: it is now the root of a mount namespace of our own");
	return 0;
}
