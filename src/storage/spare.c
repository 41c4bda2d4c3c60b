/* SPDX-License-Identifier: Apache-2.0
 *
 * Snapshots, and directories with some empty files, made ahead: a new inode is the dearest thing of a creation (0.1 ms each on an ext4 that passes over inodes it has
 * just freed), and nobody needs to wait for it. They lie in spare/, belong to no container, and are only good for the process that made them: the
 * next one begins with none. Guarded by discard_lock; made by the thread of discard.c. */
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "base/io.h"
#include "base/sys.h"
#include "storage/internal.h"

int cs_snap_make_dirs(int dir_fd, const char *name)
{
	static const struct {
		const char *name;
		mode_t mode;
	} dirs[] = {{"upper", 0755}, {"work", 0700}};
	int r = 0;

	if (mkdirat(dir_fd, name, 0710) < 0)
		return -errno;
	cs_autofd int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		r = -errno;
	for (size_t i = 0; r == 0 && i < CS_ARRAY_SIZE(dirs); i++) {
		/* fchmodat: the mode of upper is the mode of the container's "/", whatever the daemon's umask */
		if (mkdirat(fd, dirs[i].name, dirs[i].mode) < 0 || fchmodat(fd, dirs[i].name, dirs[i].mode, 0) < 0)
			r = -errno;
	}
	if (r < 0)
		(void)cs_remove_tree_at(dir_fd, name);
	return r;
}

static int remove_entry(void *ctx, int dir_fd, const struct dirent *d)
{
	(void)ctx;
	(void)cs_remove_tree_at(dir_fd, d->d_name);
	return 0;
}

/* ext4 puts what is in a directory near to it, and without a journal passes over each inode there that was freed in the last minutes: on a machine that
 * deletes much (compilers' files in the same part of the disk, our own containers) a new file took 0.1 ms and more of this, seven for each container.
 * With this flag each directory made in spare/ begins in another part. Other file systems know no such flag, and need none. */
void cs_spare_spread(const struct cs_storage *s)
{
	int flags = 0;

	if (ioctl(s->spare_fd, FS_IOC_GETFLAGS, &flags) == 0 && !(flags & FS_TOPDIR_FL)) {
		flags |= FS_TOPDIR_FL;
		(void)ioctl(s->spare_fd, FS_IOC_SETFLAGS, &flags);
	}
}

void cs_spare_clear(struct cs_storage *s) { (void)cs_each_entry(s->spare_fd, ".", remove_entry, s); }

static int make_dir(int dir_fd, const char *name, const char *const *files)
{
	int r = mkdirat(dir_fd, name, 0710) < 0 ? -errno : 0;
	cs_autofd int fd = r < 0 ? r : openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	if (r == 0 && fd < 0)
		r = -errno;
	for (; r == 0 && *files; files++) {
		cs_autofd int f = openat(fd, *files, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
		if (f < 0)
			r = -errno;
	}
	if (r < 0 && r != -EEXIST)
		(void)cs_remove_tree_at(dir_fd, name);
	return r;
}

bool cs_spare_make(struct cs_storage *s)
{
	bool snap = s->n_spare < CS_SPARE_SNAPS;
	const char *const *files = s->dir_files;
	char name[sizeof(s->spare[0])];

	if (!snap && (!files || s->n_spare_dirs == CS_SPARE_SNAPS))
		return false;
	(void)snprintf(name, sizeof(name), "%llu", atomic_fetch_add(&s->serial, 1ull) + 1);
	pthread_mutex_unlock(&s->discard_lock);
	int r = snap ? cs_snap_make_dirs(s->spare_fd, name) : make_dir(s->spare_fd, name, files);
	pthread_mutex_lock(&s->discard_lock);
	if (r < 0) /* disk full, read-only: who needs one gets the error */
		return false;
	memcpy(snap ? s->spare[s->n_spare++] : s->spare_dirs[s->n_spare_dirs++], name, sizeof(name));
	return true;
}

int cs_dir_create(struct cs_storage *s, const char *path, const char *const *files, struct cs_err **err)
{
	char name[sizeof(s->spare_dirs[0])] = "";
	struct stat st;

	pthread_mutex_lock(&s->discard_lock);
	if (s->n_spare_dirs && s->dir_files == files)
		memcpy(name, s->spare_dirs[--s->n_spare_dirs], sizeof(name));
	s->dir_files = files;
	if (s->n_spare_dirs < CS_SPARE_SNAPS / 4)
		cs_storage_housekeeping(s);
	pthread_mutex_unlock(&s->discard_lock);
	/* a rename would replace an empty directory */
	if (*name && fstatat(AT_FDCWD, path, &st, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT && renameat(s->spare_fd, name, AT_FDCWD, path) == 0)
		return 0;
	if (*name)
		(void)cs_remove_tree_at(s->spare_fd, name);
	int r = make_dir(AT_FDCWD, path, files);
	return r < 0 ? cs_fail(err, cs_storage_code(-r), -r, "create %s", path) : 0;
}

int cs_spare_take(struct cs_storage *s, const char *id, const char *xattr, const void *value, size_t len)
{
	char name[sizeof(s->spare[0])] = "";

	pthread_mutex_lock(&s->discard_lock);
	if (s->n_spare)
		memcpy(name, s->spare[--s->n_spare], sizeof(name));
	if (s->n_spare < CS_SPARE_SNAPS / 4 || s->n_spare_dirs < CS_SPARE_SNAPS / 4) /* removals make more, too: a thread for each creation would cost what it saves */
		cs_storage_housekeeping(s);
	pthread_mutex_unlock(&s->discard_lock);
	if (!*name)
		return -ENOENT;
	cs_autofd int fd = openat(s->spare_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	if ((len && fsetxattr(fd, xattr, value, len, 0) < 0) || renameat(s->spare_fd, name, s->snaps_fd, id) < 0) {
		int r = -errno;
		(void)cs_remove_tree_at(s->spare_fd, name);
		return r;
	}
	return 0;
}
