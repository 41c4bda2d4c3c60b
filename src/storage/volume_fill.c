/* SPDX-License-Identifier: Apache-2.0
 *
 * The first user of an empty volume finds in it what the image has at that place: the copy, by descriptors only. The source is hostile (an
 * image), and so may be the target: a container that has the volume already may move and swap what we make while we make it. Therefore every
 * object is made exclusively, and changed only through the descriptor of what we made. Any thread; the caller serialises work on one volume. */
#include <fcntl.h>
#include <sys/xattr.h>
#include <uthash.h>

#include "base/io.h"
#include "base/path.h"
#include "base/sys.h"
#include "storage/internal.h"

#define DEPTH_MAX 160 /* the stack of a request is small */
#define XATTR_MAX 65536

struct linked { /* a file of the source with several names, and where its copy is */
	struct cs_file_key key, made;
	char *path; /* below the target's top */
	UT_hash_handle hh;
};
struct copy {
	int top; /* target */
	struct linked *links;
	char *names, *value; /* scratch for attributes, XATTR_MAX each */
	unsigned depth;
	bool too_deep;
	char failed[256]; /* name of the entry that failed */
};
struct level {
	struct copy *c;
	int to;
	const char *path; /* of this directory below the top, "" for the top */
};

static bool is_empty(int dir)
{
	cs_autofd int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	bool empty = d != NULL;

	if (d)
		(void)TAKE_FD(fd);
	for (struct dirent *de; d && empty && (de = readdir(d));)
		empty = strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0;
	if (d)
		(void)closedir(d);
	return empty;
}

/* ---- one object's properties ---- */

static int copy_xattrs(struct copy *c, int from, int to)
{
	ssize_t n = flistxattr(from, c->names, XATTR_MAX);

	if (n < 0)
		return errno == ENOTSUP ? 0 : -errno;
	for (ssize_t at = 0; at < n; at += (ssize_t)strlen(c->names + at) + 1) {
		if (cs_prefix(c->names + at, "trusted.overlay."))
			continue;
		ssize_t len = fgetxattr(from, c->names + at, c->value, XATTR_MAX);
		if (len < 0 && errno == ENODATA)
			continue;
		if (len < 0 || (fsetxattr(to, c->names + at, c->value, (size_t)len, 0) < 0 && errno != ENOTSUP))
			return -errno; /* a file system that has no attributes gets none, as with dockerd */
	}
	return 0;
}

/* Owner first: changing it takes away set-id bits and capabilities. */
static int copy_meta(struct copy *c, int from, int to, const struct stat *st)
{
	const struct timespec ts[2] = {st->st_atim, st->st_mtim};

	if (fchown(to, st->st_uid, st->st_gid) < 0 || fchmod(to, st->st_mode & 07777) < 0)
		return -errno;
	int r = copy_xattrs(c, from, to);
	if (r < 0)
		return r;
	return futimens(to, ts) < 0 ? -errno : 0;
}

/* ---- files ---- */

static int copy_range(int from, int to, off_t at, off_t end)
{
	char buf[16384];
	off_t in = at, out = at;

	while (in < end) {
		ssize_t n = copy_file_range(from, &in, to, &out, (size_t)CS_MIN(end - in, (off_t)1 << 30), 0);
		if (n > 0)
			continue;
		if (n < 0 && errno != EXDEV && errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP && errno != EBADF)
			return -errno;
		n = pread(from, buf, (size_t)CS_MIN(end - in, (off_t)sizeof(buf)), in);
		if (n <= 0)
			return n < 0 ? -errno : 0;
		for (ssize_t done = 0; done < n;) {
			ssize_t w = pwrite(to, buf + done, (size_t)(n - done), out + done);
			if (w < 0 && errno != EINTR)
				return -errno;
			done += CS_MAX(w, (ssize_t)0);
		}
		in += n;
		out += n;
	}
	return 0;
}

static int copy_data(int from, int to, off_t size)
{
	if (ftruncate(to, size) < 0)
		return -errno;
	for (off_t at = 0; at < size;) {
		off_t data = lseek(from, at, SEEK_DATA);
		if (data < 0)
			return errno == ENXIO ? 0 : -errno; /* only a hole is left */
		off_t hole = lseek(from, data, SEEK_HOLE);
		if (hole < 0)
			return -errno;
		int r = copy_range(from, to, data, hole);
		if (r < 0)
			return r;
		at = hole;
	}
	return 0;
}

static struct linked *find_link(struct copy *c, const struct stat *st)
{
	const struct cs_file_key key = cs_file_key(st->st_dev, st->st_ino);
	struct linked *l;

	HASH_FIND(hh, c->links, &key, sizeof(key), l);
	return l;
}

static void remember_link(const struct level *v, const char *name, const struct stat *st, int fd)
{
	struct linked *l;
	struct stat made;

	if (find_link(v->c, st) || fstat(fd, &made) < 0)
		return;
	l = cs_xcalloc(1, sizeof(*l));
	l->key = cs_file_key(st->st_dev, st->st_ino);
	l->made = cs_file_key(made.st_dev, made.st_ino);
	l->path = *v->path ? cs_path_join(v->path, name) : cs_xstrdup(name);
	HASH_ADD(hh, v->c->links, key, sizeof(l->key), l);
}

/* Another name for a copy that exists. It is found again without links and must be what we made, else the data is simply copied once more. */
static bool link_again(const struct level *v, const char *name, const struct linked *l)
{
	cs_autofd int fd = sys_openat2(v->c->top, l->path, O_PATH, 0, CS_RESOLVE_BENEATH_NOLINKS);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || st.st_dev != l->made.dev || st.st_ino != l->made.ino || !S_ISREG(st.st_mode))
		return false;
	return linkat(fd, "", v->to, name, AT_EMPTY_PATH) == 0;
}

static int copy_file(const struct level *v, int dir, const char *name, const struct stat *seen)
{
	struct linked *l = seen->st_nlink > 1 ? find_link(v->c, seen) : NULL;
	struct stat st;

	if (l && link_again(v, name, l))
		return 0;
	cs_autofd int from = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (from < 0 || fstat(from, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	cs_autofd int to = openat(v->to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (to < 0)
		return -errno;
	int r = copy_data(from, to, st.st_size);
	if (r == 0)
		r = copy_meta(v->c, from, to, &st);
	if (r == 0 && st.st_nlink > 1)
		remember_link(v, name, &st, to);
	return r;
}

static int copy_symlink(const struct level *v, int dir, const char *name, const struct stat *st)
{
	const struct timespec ts[2] = {st->st_atim, st->st_mtim};
	char target[4097];
	ssize_t n = readlinkat(dir, name, target, sizeof(target) - 1);

	if (n < 0)
		return -errno;
	target[n] = 0;
	if (symlinkat(target, v->to, name) < 0 || fchownat(v->to, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	(void)utimensat(v->to, name, ts, AT_SYMLINK_NOFOLLOW);
	return 0;
}

/* Devices, pipes, sockets. They can be made by name only; what then gets owner and mode must be of that very kind. */
static int copy_node(const struct level *v, int dir, const char *name, const struct stat *st)
{
	const struct timespec ts[2] = {st->st_atim, st->st_mtim};
	char path[32];
	struct stat made;

	(void)dir;
	int r = sys_mknodat(v->to, name, (st->st_mode & S_IFMT) | 0600, st->st_rdev);
	if (r < 0)
		return r;
	cs_autofd int fd = sys_openat2(v->to, name, O_PATH | O_NOFOLLOW, 0, CS_RESOLVE_BENEATH_NOLINKS);
	if (fd < 0)
		return fd;
	if (fstat(fd, &made) < 0 || (made.st_mode & S_IFMT) != (st->st_mode & S_IFMT) || made.st_rdev != st->st_rdev)
		return -ESTALE;
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (fchownat(fd, "", st->st_uid, st->st_gid, AT_EMPTY_PATH) < 0)
		return -errno;
	if (fchmodat(AT_FDCWD, path, st->st_mode & 07777, 0) < 0)
		return -errno;
	(void)utimensat(v->to, name, ts, AT_SYMLINK_NOFOLLOW);
	return 0;
}

/* ---- trees ---- */

static int copy_entry(void *ctx, int dir, const struct dirent *d);

static int copy_dir(const struct level *v, int dir, const char *name)
{
	cs_autofree char *path = *v->path ? cs_path_join(v->path, name) : cs_xstrdup(name);
	struct stat st;

	if (v->c->depth >= DEPTH_MAX) {
		v->c->too_deep = true;
		return -ELOOP;
	}
	if (mkdirat(v->to, name, 0700) < 0)
		return -errno;
	cs_autofd int from = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (from < 0 || fstat(from, &st) < 0)
		return -errno;
	cs_autofd int to = sys_openat2(v->to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, CS_RESOLVE_BENEATH_NOLINKS | RESOLVE_NO_XDEV);
	if (to < 0)
		return to;
	struct level below = {.c = v->c, .to = to, .path = path};
	v->c->depth++;
	int r = cs_each_entry(from, ".", copy_entry, &below);
	v->c->depth--;
	return r < 0 ? r : copy_meta(v->c, from, to, &st);
}

static int copy_entry(void *ctx, int dir, const struct dirent *d)
{
	const struct level *v = ctx;
	struct stat st;
	int r;

	if (fstatat(dir, d->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		r = copy_dir(v, dir, d->d_name);
	else if (S_ISREG(st.st_mode))
		r = copy_file(v, dir, d->d_name, &st);
	else if (S_ISLNK(st.st_mode))
		r = copy_symlink(v, dir, d->d_name, &st);
	else
		r = copy_node(v, dir, d->d_name, &st);
	if (r < 0 && !v->c->failed[0])
		(void)snprintf(v->c->failed, sizeof(v->c->failed), "%s", d->d_name);
	return r;
}

static int copy_children(struct copy *c, int from, int to)
{
	struct level top = {.c = c, .to = to, .path = ""};

	c->top = to;
	return cs_each_entry(from, ".", copy_entry, &top);
}

static int copy_top_meta(struct copy *c, int from, int to)
{
	struct stat st;

	return fstat(from, &st) < 0 ? -errno : copy_meta(c, from, to, &st);
}

static void copy_done(struct copy *c)
{
	struct linked *l, *next;

	HASH_ITER(hh, c->links, l, next)
	{
		HASH_DEL(c->links, l);
		free(l->path);
		free(l);
	}
	free(c->names);
	free(c->value);
}

/* ---- into a volume ---- */

/* What the source has by name, gone from the target again: it was empty before. */
static int remove_copied(void *ctx, int dir, const struct dirent *d)
{
	(void)dir;
	(void)cs_remove_tree_at(*(int *)ctx, d->d_name);
	return 0;
}

/* Straight into the target: it is another file system, or a directory of a volume that others use. */
static int fill_directly(struct copy *c, int from, int to)
{
	int r = copy_children(c, from, to);

	if (r < 0 && r != -EEXIST)
		(void)cs_each_entry(from, ".", remove_copied, &to);
	return r < 0 ? r : copy_top_meta(c, from, to);
}

static int move_up(void *ctx, int dir, const struct dirent *d)
{
	if (renameat2(dir, d->d_name, *(int *)ctx, d->d_name, RENAME_NOREPLACE) < 0 && errno != EEXIST)
		return -errno;
	return 0; /* what somebody has made meanwhile stays */
}

/* Beside the volume first, then all at once: a crash or a full disk leaves it empty. */
static int fill_staged(struct cs_storage *s, struct copy *c, int from, int dir, int to, bool in_use)
{
	char tmp[64];

	cs_storage_tmp_name(s, ".new", tmp);
	if (mkdirat(s->volumes_fd, tmp, 0700) < 0)
		return -errno;
	cs_autofd int stage = openat(s->volumes_fd, tmp, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int r = stage < 0 ? -errno : copy_children(c, from, stage);
	if (r == 0)
		r = copy_top_meta(c, from, stage);
	/* What is found under the volume's name is whole, also after a power cut: it is never filled again. */
	if (r == 0 && !is_empty(stage) && syncfs(stage) < 0)
		r = -errno;
	/* the kernel replaces an empty directory only */
	if (r == 0 && !in_use && renameat(s->volumes_fd, tmp, dir, "_data") == 0)
		return 0;
	if (r == 0 && (in_use || errno == EBUSY)) { /* those who have it must keep seeing the same directory */
		r = cs_each_entry(stage, ".", move_up, &to);
		if (r == 0)
			r = copy_top_meta(c, from, to);
	} else if (r == 0 && errno != ENOTEMPTY && errno != EEXIST) {
		r = -errno;
	}
	(void)cs_remove_tree_at(s->volumes_fd, tmp);
	return r;
}

static int open_target(struct cs_storage *s, const char *name, const char *subpath, int *ret, struct cs_err **err)
{
	cs_autofd int data = -EBADF;

	if (cs_vol_open(s, name, &data, err) < 0)
		return -1;
	if (cs_empty(subpath)) {
		*ret = TAKE_FD(data);
		return 0;
	}
	int fd = sys_openat2(data, subpath, O_RDONLY | O_DIRECTORY, 0, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV);
	*ret = fd < 0 ? -ENOENT : fd; /* what is not there is the start's business */
	return 0;
}

int cs_vol_fill(struct cs_storage *s, const char *name, const struct cs_vol_fill *f, struct cs_err **err)
{
	cs_autofd int to = -EBADF, dir = -EBADF;
	struct copy c cs_auto(copy_done) = {.names = cs_xmalloc(XATTR_MAX), .value = cs_xmalloc(XATTR_MAX)};

	if (open_target(s, name, f->subpath, &to, err) < 0 || cs_vol_open_dir(s, name, &dir, err) < 0)
		return -1;
	if (to < 0 || !is_empty(to))
		return 0;
	cs_autofd int from = openat(f->source_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = from < 0 ? -errno : 0;
	if (r == 0)
		r = cs_empty(f->subpath) && !cs_vol_is_mounted(s, name) ? fill_staged(s, &c, from, dir, to, f->in_use) : fill_directly(&c, from, to);
	if (r == -EEXIST)
		return 0; /* somebody else filled it while we did: it is not empty any more */
	if (r < 0 && c.too_deep)
		return cs_fail(err, CS_ERR_INTERNAL, 0, "copy the image's %s into volume %s: directories are nested deeper than %d", f->what, name, DEPTH_MAX);
	if (r < 0)
		return cs_fail(err, cs_storage_code(-r), -r, "copy the image's %s into volume %s%s%s", f->what, name, c.failed[0] ? ": " : "", c.failed);
	return 0;
}

bool cs_vol_is_empty(struct cs_storage *s, const char *name, const char *subpath)
{
	cs_autofd int fd = -EBADF;

	return open_target(s, name, subpath, &fd, NULL) == 0 && fd >= 0 && is_empty(fd);
}
