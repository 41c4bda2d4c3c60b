/* SPDX-License-Identifier: Apache-2.0
 *
 * Snapshots: a container's writable layer. The caller serialises work on one snapshot; any thread. */
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "base/io.h"
#include "base/path.h"
#include "base/sys.h"
#include "storage/internal.h"

#define PARENT_XATTR "trusted.caisson.parent"

static int snap_create(struct cs_storage *s, const char *id, const struct cs_digest *parent, struct cs_err **err)
{
	size_t len = parent && parent->s[0] ? CS_DIGEST_LEN : 0;
	int r = 0;

	/* Never onto another: its directory is not empty, so that the rename fails. Nor for any other reason: then we make one, or say why not. */
	if (cs_spare_take(s, id, PARENT_XATTR, len ? parent->s : NULL, len) == 0)
		return 0;
	r = cs_snap_make_dirs(s->snaps_fd, id);
	if (r < 0)
		return cs_fail(err, cs_storage_code(-r), -r, "create snapshot %s", id);
	/* an attribute lives in the directory's inode; a link of this length would take a block */
	cs_autofd int fd = len ? openat(s->snaps_fd, id, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW) : -EBADF;
	if (len && (fd < 0 || fsetxattr(fd, PARENT_XATTR, parent->s, len, 0) < 0)) {
		r = -errno;
		(void)cs_remove_tree_at(s->snaps_fd, id);
		return cs_fail(err, cs_storage_code(-r), -r, "create snapshot %s", id);
	}
	return 0;
}

/* A row of the engine's makes a snapshot count; one that a crash left half made has none, and goes at the next start. */
int cs_snap_create(struct cs_storage *s, const char *id, const struct cs_digest *parent, struct cs_err **err)
{
	if (!cs_is_plain_name(id))
		return cs_fail(err, CS_ERR_INVALID, 0, "bad snapshot name %s", id);
	pthread_rwlock_rdlock(&s->snap_lock);
	int r = snap_create(s, id, parent, err);
	pthread_rwlock_unlock(&s->snap_lock);
	return r;
}

char *cs_snap_path(struct cs_storage *s, const char *id) { return cs_xasprintf("%s/snapshots/%s", s->root, id); }

static int open_snap(struct cs_storage *s, const char *id, const char *sub, int *ret, struct cs_err **err)
{
	if (!cs_is_plain_name(id))
		return cs_fail(err, CS_ERR_INVALID, 0, "bad snapshot name %s", id);
	cs_autofree char *path = cs_path_join(id, sub);
	int fd = sys_openat2(s->snaps_fd, path, O_RDONLY | O_DIRECTORY, 0, CS_RESOLVE_BENEATH_NOLINKS);
	if (fd < 0)
		return cs_fail(err, fd == -ENOENT ? CS_ERR_NOT_FOUND : CS_ERR_INTERNAL, -fd, "open snapshot %s", id);
	*ret = fd;
	return 0;
}

int cs_snap_open_upper(struct cs_storage *s, const char *id, int *ret_fd, struct cs_err **err) { return open_snap(s, id, "upper", ret_fd, err); }

int cs_snap_parent(struct cs_storage *s, const char *id, struct cs_digest *ret, struct cs_err **err)
{
	char buf[CS_DIGEST_LEN + 2];
	cs_autofd int fd = -EBADF;

	if (open_snap(s, id, "", &fd, err) < 0)
		return -1;
	ssize_t n = fgetxattr(fd, PARENT_XATTR, buf, sizeof(buf) - 1);
	if (n < 0 && errno == ENODATA) /* made by a version that kept it in a link */
		n = readlinkat(fd, "parent", buf, sizeof(buf) - 1);
	if (n < 0 && errno == ENOENT) {
		ret->s[0] = 0;
		return 0;
	}
	if (n < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "read parent of snapshot %s", id);
	buf[n] = 0;
	return cs_digest_from(buf, ret) ? 0 : cs_fail(err, CS_ERR_INTERNAL, 0, "snapshot %s has a malformed parent", id);
}

int cs_snap_remove(struct cs_storage *s, const char *id, struct cs_err **err)
{
	if (!cs_is_plain_name(id))
		return cs_fail(err, CS_ERR_INVALID, 0, "bad snapshot name %s", id);
	pthread_rwlock_rdlock(&s->snap_lock);
	int r = cs_storage_discard(s, s->snaps_fd, id, err);
	pthread_rwlock_unlock(&s->snap_lock);
	return r;
}

int cs_snap_usage(struct cs_storage *s, const char *id, int64_t *ret_bytes, struct cs_err **err)
{
	cs_autofd int fd = -EBADF;

	if (open_snap(s, id, "upper", &fd, err) < 0)
		return -1;
	return cs_tree_usage(fd, ret_bytes, err);
}

struct snap_each {
	void (*fn)(void *ctx, const char *id);
	void *ctx;
};

static int each_snap(void *ctx, int dir_fd, const struct dirent *d)
{
	struct snap_each *e = ctx;
	(void)dir_fd;
	e->fn(e->ctx, d->d_name);
	return 0;
}

int cs_snap_each(struct cs_storage *s, void (*fn)(void *ctx, const char *id), void *ctx, struct cs_err **err)
{
	struct snap_each e = {fn, ctx};
	int r = cs_each_entry(s->snaps_fd, ".", each_snap, &e);

	return r < 0 ? cs_fail(err, CS_ERR_INTERNAL, -r, "read %s/snapshots", s->root) : 0;
}
