/* SPDX-License-Identifier: Apache-2.0
 *
 * Can the data root's file system hold what containers write? Asked once, at the start: a daemon that finds out with its first container, or by files
 * that come back after their deletion, is worse than none. Any thread. */
#include <dirent.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/io.h"
#include "base/sys.h"
#include "storage/internal.h"

#define PROBE "probe"
#define XATTR "trusted.caisson.probe"

/* overlayfs(5) finds whiteouts by the types in directories; without them deleted files of an image show up again. */
static int find_type(void *ctx, int dir_fd, const struct dirent *d)
{
	(void)dir_fd;
	if (!strcmp(d->d_name, "upper"))
		*(bool *)ctx = d->d_type == DT_DIR;
	return 0;
}

static int set_dir(int fs, const char *key, int dir)
{
	char path[32];

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", dir); /* no name of the user's, with its colons and commas, in the options */
	return sys_fsconfig(fs, FSCONFIG_SET_STRING, key, path, 0);
}

/* 0, or what the kernel says to an overlay whose upper is there. Nothing is attached anywhere. */
static int try_overlay(int dir)
{
	static const char *const names[] = {"lower", "upper", "work"}, *const keys[] = {"lowerdir", "upperdir", "workdir"};
	cs_autofd int fs = sys_fsopen("overlay");
	int sub[CS_ARRAY_SIZE(names)] = {-EBADF, -EBADF, -EBADF}; /* open until all is done: before Linux 6.5 the names are looked up then */
	int r = fs < 0 ? fs : 0;

	for (size_t i = 0; i < CS_ARRAY_SIZE(names) && r >= 0; i++) {
		sub[i] = openat(dir, names[i], O_PATH | O_DIRECTORY | O_CLOEXEC);
		r = sub[i] < 0 ? -errno : set_dir(fs, keys[i], sub[i]);
	}
	if (r >= 0)
		(void)sys_fsconfig(fs, FSCONFIG_SET_FLAG, "volatile", NULL, 0); /* Linux 5.10; else its end writes out the whole file system below */
	if (r >= 0)
		r = sys_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0);
	for (size_t i = 0; i < CS_ARRAY_SIZE(sub); i++)
		cs_close(sub[i]);
	return r;
}

static int probe(struct cs_storage *s, int dir, struct cs_err **err)
{
	bool typed = false;

	if (cs_each_entry(dir, ".", find_type, &typed) < 0 || !typed)
		return cs_fail(err, CS_ERR_UNSUPPORTED, 0, "storage driver overlay2 is not supported on the file system of %s: it is formatted without d_type support", s->root);
	if (fsetxattr(dir, XATTR, "y", 1, 0) < 0 && errno == EOPNOTSUPP)
		return cs_fail(err, CS_ERR_UNSUPPORTED, 0, "storage driver overlay2 is not supported on the file system of %s: it has no extended attributes", s->root);
	int r = try_overlay(dir);
	if (r == -ENODEV)
		return cs_fail(err, CS_ERR_UNSUPPORTED, 0, "this kernel has no overlay file system (CONFIG_OVERLAY_FS, or the module overlay)");
	if (r == -EPERM || r == -EACCES || r == -ENOSYS) /* not allowed to ask; containers will tell */
		return 0;
	return r < 0 ? cs_fail(err, CS_ERR_UNSUPPORTED, -r, "storage driver overlay2 is not supported on the file system of %s: it cannot be the upper of an overlay", s->root) : 0;
}

int cs_storage_check_host(struct cs_storage *s, struct cs_err **err)
{
	static const char *const dirs[] = {PROBE, PROBE "/lower", PROBE "/upper", PROBE "/work"};
	int r = 0;

	for (size_t i = 0; i < CS_ARRAY_SIZE(dirs) && r == 0; i++)
		r = mkdirat(s->tmp_fd, dirs[i], 0700) < 0 && errno != EEXIST ? -errno : 0;
	cs_autofd int dir = r == 0 ? openat(s->tmp_fd, PROBE, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -EBADF;
	if (cs_storage_code(-r) == CS_ERR_NO_SPACE) /* who starts the daemon on a full disk wants to remove something */
		r = 0;
	else
		r = dir < 0 ? cs_fail(err, CS_ERR_INTERNAL, r < 0 ? -r : errno, "make directories in %s/tmp", s->root) : probe(s, dir, err);
	(void)cs_remove_tree_at(s->tmp_fd, PROBE);
	return r;
}
