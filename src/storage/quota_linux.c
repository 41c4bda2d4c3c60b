/* SPDX-License-Identifier: Apache-2.0
 *
 * How much a container's writable layer may hold: project quotas of xfs and ext4. Every snapshot with a limit is a project of its own; what is
 * made in its directories inherits the number. Any thread. */
#include <fcntl.h>
#include <linux/dqblk_xfs.h>
#include <linux/fs.h>
#include <linux/quota.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "storage/internal.h"

#define FIRST_PROJECT 1000000u /* below are the administrator's */

#ifndef SYS_quotactl_fd
#define SYS_quotactl_fd 443
#endif

/* As quotactl(2), by a descriptor instead of the block device: there is none to be found from inside of a container. */
static int quota(int fd, unsigned cmd, unsigned id, void *arg)
{
	return syscall(SYS_quotactl_fd, fd, QCMD(cmd, PRJQUOTA), id, arg) < 0 ? -errno : 0;
}

bool cs_storage_has_quota(struct cs_storage *s)
{
	struct fs_quota_stat st = {0};

	/* accounting alone would take limits and not enforce them */
	return quota(s->snaps_fd, Q_XGETQSTAT, 0, &st) == 0 && (st.qs_flags & FS_QUOTA_PDQ_ENFD);
}

static uint32_t project_of(int dir_fd, const char *path)
{
	struct fsxattr x = {0};
	cs_autofd int fd = openat(dir_fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd >= 0 && ioctl(fd, FS_IOC_FSGETXATTR, &x) == 0 ? x.fsx_projid : 0;
}

static int see_project(void *ctx, int dir_fd, const struct dirent *d)
{
	uint32_t *max = ctx;
	cs_autofree char *upper = cs_xasprintf("%s/upper", d->d_name);

	*max = CS_MAX(*max, project_of(dir_fd, upper));
	return 0;
}

/* Never one that a snapshot has, nor one that is being deleted: its files count until they are gone. */
static uint32_t new_project(struct cs_storage *s)
{
	pthread_mutex_lock(&s->quota_lock);
	if (!s->last_project) {
		s->last_project = FIRST_PROJECT;
		(void)cs_each_entry(s->snaps_fd, ".", see_project, &s->last_project);
		(void)cs_each_entry(s->tmp_fd, ".", see_project, &s->last_project);
	}
	uint32_t id = ++s->last_project;
	pthread_mutex_unlock(&s->quota_lock);
	return id;
}

static int set_project(struct cs_storage *s, const char *id, const char *dir, uint32_t project)
{
	struct fsxattr x;
	cs_autofree char *path = cs_xasprintf("%s/%s", id, dir);
	cs_autofd int fd = openat(s->snaps_fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0 || ioctl(fd, FS_IOC_FSGETXATTR, &x) < 0)
		return -errno;
	x.fsx_projid = project;
	x.fsx_xflags |= FS_XFLAG_PROJINHERIT;
	return ioctl(fd, FS_IOC_FSSETXATTR, &x) < 0 ? -errno : 0;
}

int cs_snap_limit(struct cs_storage *s, const char *id, int64_t bytes, struct cs_err **err)
{
	if (!cs_storage_has_quota(s))
		return cs_fail(err, CS_ERR_INTERNAL, 0, "--storage-opt is supported only for overlay over xfs with 'pquota' mount option");
	uint32_t project = new_project(s);
	struct if_dqblk limit = {.dqb_bhardlimit = (uint64_t)(bytes + QIF_DQBLKSIZE - 1) / QIF_DQBLKSIZE, .dqb_valid = QIF_BLIMITS};
	int r = quota(s->snaps_fd, Q_SETQUOTA, project, &limit);
	/* both: overlayfs moves files from work to upper, which it may only inside of one project */
	if (r == 0)
		r = set_project(s, id, "work", project);
	if (r == 0)
		r = set_project(s, id, "upper", project);
	return r < 0 ? cs_fail(err, CS_ERR_INTERNAL, -r, "limit the size of snapshot %s", id) : 0;
}
