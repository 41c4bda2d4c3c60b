/* SPDX-License-Identifier: Apache-2.0
 *
 * Writes the entries of a (hostile) tar into a directory of a foreign tree that may be live: the processes of a container can rename and replace
 * everything under us. So each path is resolved by the kernel with the tree's root as root, the last component is never followed, and what was
 * made is changed only through its descriptor. Unlike a layer (extract.c) the tree has links that must work, existing files that are replaced, and
 * no whiteouts. Decompression happens in here: no program is run, nothing of the tree is loaded. One thread per extraction. */
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "base/io.h"
#include "base/path.h"
#include "base/sys.h"
#include "storage/inflate.h"
#include "storage/internal.h"

#define BUFFER (256u << 10)
#define TRIES 8 /* against somebody who makes again what we have just removed */

struct dirtime { /* times of directories are set last: each new child would change them */
	char *path;
	struct timespec times[2];
};
struct into {
	const struct cs_tar_into *t;
	int root_fd, dest_fd;
	char *dest;         /* "" for the root */
	struct cs_untar *tar;
	struct cs_inflate *inflate;
	struct cs_err **err; /* of whoever reads the stream below tar */
	int read_errno;
	const char *head;   /* what was read to see how the stream is packed */
	size_t n_head;
	char *small;        /* holds it when it came in crumbs */
	char *parent;       /* path of parent_fd inside dest, or NULL */
	int parent_fd;
	struct dirtime *dirs;
	size_t n_dirs;
	char *unpacked;     /* BUFFER bytes */
	/* the current entry */
	const struct cs_untar_entry *e;
	char *path;         /* clean, inside dest */
	const char *name;   /* its last part */
};

/* ---- the stream ---- */

static ssize_t raw_piece(void *ctx, const void **ret)
{
	struct into *x = ctx;
	ssize_t n = (ssize_t)x->n_head;

	if (n) { /* what open_stream looked at */
		*ret = x->head;
		x->n_head = 0;
		return n;
	}
	n = x->t->next(x->t->ctx, ret);
	if (n < 0)
		x->read_errno = (int)-n;
	return n;
}

static ssize_t unpacked_piece(void *ctx, const void **ret)
{
	struct into *x = ctx;
	ssize_t n = cs_inflate_read(x->inflate, x->unpacked, BUFFER, x->err);

	*ret = x->unpacked;
	return n < 0 ? -EBADMSG : n;
}

static int open_stream(struct into *x, struct cs_err **err)
{
	const void *piece;
	ssize_t n;

	/* mostly one piece is more than enough; it is kept where it lies */
	while (x->n_head < CS_PACKED_MAGIC) {
		n = x->t->next(x->t->ctx, &piece);
		if (n < 0)
			x->read_errno = (int)-n;
		if (n <= 0)
			break;
		if (x->n_head == 0 && n >= CS_PACKED_MAGIC) {
			x->head = piece;
			x->n_head = (size_t)n;
			break;
		}
		x->small = cs_xrealloc(x->small, x->n_head + (size_t)n);
		memcpy(x->small + x->n_head, piece, (size_t)n);
		x->head = x->small;
		x->n_head += (size_t)n;
	}
	if (x->read_errno)
		return -1;
	enum cs_packed kind = cs_packed_kind(x->head, x->n_head);
	if (kind == CS_PACKED_NONE) {
		x->tar = cs_untar_open(raw_piece, x);
		return 0;
	}
	if (cs_inflate_new(kind, raw_piece, x, &x->inflate, err) < 0)
		return -1;
	x->unpacked = cs_xmalloc(BUFFER);
	x->tar = cs_untar_open(unpacked_piece, x);
	return 0;
}

static int bad(struct into *x, const char *what, struct cs_err **err) { return cs_fail(err, CS_ERR_INVALID, 0, "archive entry \"%.200s\": %s", x->path, what); }

static int sysfail(struct into *x, int sys, const char *what, struct cs_err **err)
{
	return cs_fail(err, cs_storage_code(sys), sys, "%s %s/%.200s", what, x->dest, x->path);
}

/* ---- where an entry goes ---- */

/* As a relative clean path; "." is the destination itself. Caller frees; NULL is an error. */
static char *inside(struct into *x, const char *raw, struct cs_err **err)
{
	const char *rel = raw;

	if (!*raw) {
		(void)cs_fail(err, CS_ERR_INVALID, 0, "archive entry without a name");
		return NULL;
	}
	while (*rel == '/')
		rel++;
	char *clean = cs_path_clean(rel);
	if (strcmp(clean, "..") == 0 || strncmp(clean, "../", 3) == 0) {
		(void)cs_fail(err, CS_ERR_INVALID, 0, "\"%.200s\" is outside of \"%s\"", raw, *x->dest ? x->dest : "/");
		free(TAKE_PTR(clean));
	}
	return clean;
}

/* A directory below the destination; missing ones are made. Links on the way lead where they lead inside the root. */
static int open_below(struct into *x, const char *dir, bool make)
{
	if (strcmp(dir, ".") == 0)
		return fcntl(x->dest_fd, F_DUPFD_CLOEXEC, 3);
	cs_autofree char *path = cs_xasprintf("%s/%s", x->dest, dir);
	int fd = cs_open_in_root(x->root_fd, path, O_PATH | O_DIRECTORY, 0);
	return fd == -ENOENT && make ? cs_mkdir_in_root(x->root_fd, path, 0755, 0, 0) : fd;
}

static int open_parent(struct into *x, struct cs_err **err)
{
	char *slash = strrchr(x->path, '/');
	cs_autofree char *dir = slash ? cs_xstrndup(x->path, (size_t)(slash - x->path)) : cs_xstrdup(".");

	x->name = slash ? slash + 1 : x->path;
	if (!cs_is_plain_name(x->name))
		return bad(x, "bad name", err);
	if (cs_streq(x->parent, dir))
		return 0;
	int fd = open_below(x, dir, true);
	if (fd < 0)
		return fd == -ENOTDIR || fd == -ELOOP || fd == -EEXIST || fd == -ENOENT ?
			       cs_fail(err, CS_ERR_INVALID, -fd, "archive entry below %s/%.200s", x->dest, dir) :
			       sysfail(x, -fd, "make the directory of", err);
	cs_close(x->parent_fd);
	free(x->parent);
	x->parent_fd = fd;
	x->parent = TAKE_PTR(dir);
	return 0;
}

enum existing { NOTHING, DIRECTORY, BUSY }; /* BUSY: a file that something is mounted on */

/* Asked before something is unlinked: what is a mount point in another namespace only does not count as busy, the mount just goes. */
static bool mounted_on(int parent, const char *name)
{
	struct statx a, b;

	return statx(parent, "", AT_EMPTY_PATH, STATX_MNT_ID, &a) == 0 && statx(parent, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_MNT_ID, &b) == 0 &&
	       a.stx_mnt_id != b.stx_mnt_id;
}

/* Takes away what has the name, but for a directory that a directory of the archive merges into. */
static int clear_way(struct into *x, bool want_dir, bool want_file, enum existing *ret, struct cs_err **err)
{
	const char *dest = *x->dest ? x->dest : "/";
	struct stat st;

	*ret = NOTHING;
	if (fstatat(x->parent_fd, x->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : sysfail(x, errno, "stat", err);
	bool is_dir = S_ISDIR(st.st_mode);
	if (x->t->no_overwrite_dir_nondir && is_dir != want_dir)
		return cs_fail(err, CS_ERR_INVALID, 0,
			       is_dir ? "cannot overwrite directory \"%s/%s\" with non-directory \"%s\"" : "cannot overwrite non-directory \"%s/%s\" with directory \"%s\"",
			       x->dest, x->path, dest);
	if (is_dir && want_dir) {
		*ret = DIRECTORY;
		return 0;
	}
	int r = mounted_on(x->parent_fd, x->name) ? -EBUSY :
		is_dir				  ? cs_remove_tree_at(x->parent_fd, x->name) :
		unlinkat(x->parent_fd, x->name, 0) < 0 ? -errno : 0;
	if (r == -EBUSY && want_file && S_ISREG(st.st_mode)) {
		*ret = BUSY;
		return 0;
	}
	return r < 0 && r != -ENOENT ? sysfail(x, -r, "replace", err) : 0;
}

/* ---- content ---- */

static int write_content(struct into *x, int fd, struct cs_err **err)
{
	int64_t off, end = 0;
	const void *data;
	size_t len;
	int r;

	while ((r = cs_untar_data(x->tar, &data, &len, &off, err)) > 0) {
		r = cs_pwrite_full(fd, data, len, off);
		if (r < 0)
			return sysfail(x, -r, "write", err);
		end = off + (int64_t)len;
	}
	if (r < 0)
		return -1;
	if (x->e->size > end && ftruncate(fd, x->e->size) < 0) /* a sparse file may end in a hole */
		return sysfail(x, errno, "write", err);
	return 0;
}

/* ---- owner, mode, attributes, times ---- */

static int set_xattrs(struct into *x, const char *proc, struct cs_err **err)
{
	for (size_t i = 0; i < x->e->n_xattrs; i++) {
		const struct cs_untar_xattr *a = &x->e->xattrs[i];
		if (cs_xattr_travels(a->name) && setxattr(proc, a->name, a->value, a->len, 0) < 0 &&
		    !(errno == EOPNOTSUPP || (errno == EPERM && strncmp(a->name, "user.", 5) == 0)))
			return sysfail(x, errno, "set an attribute of", err);
	}
	return 0;
}

/* fd may be one of O_PATH: then only its name in /proc reaches what it stands for, and no link is followed on the way. */
static int set_meta(struct into *x, int fd, struct cs_err **err)
{
	uint32_t uid = x->t->chown ? x->t->uid : x->e->uid, gid = x->t->chown ? x->t->gid : x->e->gid;
	/* as Docker: not read before it was written */
	bool read_later = x->e->has_atime && x->e->atime.tv_sec > x->e->mtime.tv_sec;
	const struct timespec ts[2] = {read_later ? x->e->atime : x->e->mtime, x->e->mtime};
	char proc[32];

	(void)snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	if (uid == UINT32_MAX || gid == UINT32_MAX) /* would mean: leave it */
		return bad(x, "owner out of range", err);
	if (fchownat(fd, "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0)
		return sysfail(x, errno, "chown", err);
	/* after the owner: chown clears set-id bits */
	if (x->e->type != CS_UNTAR_SYMLINK && fchmodat(AT_FDCWD, proc, x->e->mode, 0) < 0)
		return sysfail(x, errno, "chmod", err);
	if (set_xattrs(x, proc, err) < 0)
		return -1;
	if (x->e->type == CS_UNTAR_DIR) {
		x->dirs = cs_xreallocarray(x->dirs, x->n_dirs + 1, sizeof(*x->dirs));
		x->dirs[x->n_dirs++] = (struct dirtime){cs_xstrdup(x->path), {ts[0], ts[1]}};
	} else if (utimensat(fd, "", ts, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0 && errno != EINVAL) {
		return sysfail(x, errno, "set times of", err);
	}
	return 0;
}

/* ---- one entry ---- */

/* Mounted files (/etc/hosts, a bind of one file) cannot be replaced, so they get new content and keep the rest, as with a shell's ">". */
static int overwrite(struct into *x, struct cs_err **err)
{
	struct stat st;
	cs_autofd int fd = sys_openat2(x->parent_fd, x->name, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0, CS_RESOLVE_BENEATH_NOLINKS);

	if (fd < 0 || fstat(fd, &st) < 0)
		return sysfail(x, fd < 0 ? -fd : errno, "open", err);
	if (!S_ISREG(st.st_mode) || ftruncate(fd, 0) < 0)
		return sysfail(x, S_ISREG(st.st_mode) ? errno : EBUSY, "replace", err);
	return write_content(x, fd, err);
}

static mode_t mode_of(enum cs_untar_type t)
{
	switch (t) {
	case CS_UNTAR_DIR:
		return S_IFDIR;
	case CS_UNTAR_SYMLINK:
		return S_IFLNK;
	case CS_UNTAR_CHAR:
		return S_IFCHR;
	case CS_UNTAR_BLOCK:
		return S_IFBLK;
	case CS_UNTAR_FIFO:
		return S_IFIFO;
	case CS_UNTAR_FILE:
	case CS_UNTAR_LINK:
		return S_IFREG;
	}
	return 0;
}

/* A descriptor of what was made, or -errno. */
static int make(struct into *x, bool exists)
{
	mode_t type = mode_of(x->e->type);
	dev_t dev = S_ISCHR(type) || S_ISBLK(type) ? makedev(x->e->major, x->e->minor) : 0;
	int flags = O_PATH | O_NOFOLLOW | O_CLOEXEC, r = 0;
	struct stat st;

	if (S_ISREG(type)) {
		int file = openat(x->parent_fd, x->name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
		return file < 0 ? -errno : file;
	}
	if (S_ISCHR(type) && dev == 0) /* overlayfs' mark of a deletion, also where the file system is none */
		return -EPERM;
	if (S_ISDIR(type)) {
		flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
		r = exists ? 0 : mkdirat(x->parent_fd, x->name, 0700);
	} else if (S_ISLNK(type)) {
		r = symlinkat(x->e->link, x->parent_fd, x->name);
	} else {
		r = mknodat(x->parent_fd, x->name, type | 0600, dev);
	}
	if (r < 0)
		return -errno;
	cs_autofd int fd = openat(x->parent_fd, x->name, flags);
	if (fd < 0)
		return -errno;
	/* somebody may have put something else in its place, whose owner and mode are not ours to change */
	if (fstat(fd, &st) < 0 || (st.st_mode & S_IFMT) != type)
		return -EEXIST;
	return TAKE_FD(fd);
}

static int hard_link(struct into *x, struct cs_err **err)
{
	cs_autofree char *target = inside(x, x->e->link, err);

	if (!target)
		return -1;
	char *slash = strrchr(target, '/');
	const char *name = slash ? slash + 1 : target;
	cs_autofree char *dir = slash ? cs_xstrndup(target, (size_t)(slash - target)) : cs_xstrdup(".");
	if (!cs_is_plain_name(name))
		return bad(x, "bad hard link", err);
	cs_autofd int fd = open_below(x, dir, false);
	int r = fd;
	if (r >= 0 && linkat(fd, name, x->parent_fd, x->name, 0) < 0)
		r = -errno;
	if (r < 0)
		return cs_fail(err, cs_storage_code(-r) == CS_ERR_NO_SPACE ? CS_ERR_NO_SPACE : CS_ERR_INVALID, -r, "link %s/%s %s/%.200s", x->dest, target, x->dest, x->path);
	return 0;
}

static int put(struct into *x, struct cs_err **err)
{
	bool hard = x->e->type == CS_UNTAR_LINK, file = x->e->type == CS_UNTAR_FILE;
	enum existing old;
	int fd;

	if (!mode_of(x->e->type))
		return bad(x, "unknown kind of file", err);
	if (x->e->type == CS_UNTAR_SYMLINK && !*x->e->link)
		return bad(x, "bad symbolic link", err);
	if (open_parent(x, err) < 0)
		return -1;
	for (int i = 0;; i++) {
		if (clear_way(x, x->e->type == CS_UNTAR_DIR, file, &old, err) < 0)
			return -1;
		if (hard)
			return hard_link(x, err);
		if (old == BUSY)
			return overwrite(x, err);
		fd = make(x, old == DIRECTORY);
		if (fd >= 0 || i == TRIES || (fd != -EEXIST && fd != -ENOENT && fd != -ELOOP && fd != -ENOTDIR))
			break;
	}
	if (fd < 0)
		return sysfail(x, -fd, "create", err);
	int r = file ? write_content(x, fd, err) : 0;
	if (r == 0)
		r = set_meta(x, fd, err);
	cs_close(fd);
	return r;
}

static int put_entry(struct into *x, struct cs_err **err)
{
	cs_autofree char *path = inside(x, x->e->path, err);

	if (!path)
		return -1;
	if (strcmp(path, ".") == 0) /* the destination keeps what it is */
		return 0;
	x->path = path;
	int r = put(x, err);
	x->path = NULL;
	return r;
}

/* ---- the archive ---- */

static int set_dir_times(struct into *x, struct cs_err **err)
{
	int r = 0;

	for (size_t i = 0; i < x->n_dirs; i++) {
		cs_autofree char *path = cs_xasprintf("%s/%s", x->dest, x->dirs[i].path);
		int fd = r < 0 ? -1 : sys_openat2(x->root_fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, CS_RESOLVE_IN_ROOT);
		if (fd >= 0 && futimens(fd, x->dirs[i].times) < 0 && errno != EINVAL)
			r = cs_fail(err, cs_storage_code(errno), errno, "set times of %s", path);
		cs_close(fd);
		free(x->dirs[i].path);
	}
	free(x->dirs);
	return r;
}

static int put_all(struct into *x, struct cs_err **err)
{
	int r;

	if (open_stream(x, err) < 0)
		return -1;
	while ((r = cs_untar_next(x->tar, &x->e, err)) > 0)
		if (put_entry(x, err) < 0)
			return -1;
	return r;
}

static int extract(struct into *x, struct cs_err **err)
{
	struct cs_err *e = NULL;

	x->err = &e;
	int r = put_all(x, &e);
	cs_untar_free(x->tar);
	cs_inflate_free(x->inflate);
	if (r < 0 && x->read_errno) { /* what the reader above made of it does not matter */
		cs_err_free(TAKE_PTR(e));
		(void)cs_fail(&e, x->read_errno == ECANCELED ? CS_ERR_CONFLICT : CS_ERR_INTERNAL, x->read_errno, "read the archive");
	}
	if (set_dir_times(x, &e) < 0)
		r = -1;
	x->err = NULL;
	if (r < 0)
		return cs_err_move(err, e);
	cs_err_free(e);
	return 0;
}

int cs_tar_into(int root_fd, const struct cs_tar_into *t, struct cs_err **err)
{
	struct into x = {.t = t, .root_fd = root_fd, .dest_fd = -EBADF, .parent_fd = -EBADF};
	cs_autofree char *abs = cs_path_join("/", t->path), *dest = cs_path_clean(abs);

	x.dest = strcmp(dest, "/") == 0 ? dest + 1 : dest;
	x.dest_fd = cs_open_in_root(root_fd, dest, O_PATH | O_DIRECTORY, 0);
	if (x.dest_fd < 0)
		return cs_fail(err, x.dest_fd == -ENOENT ? CS_ERR_NOT_FOUND : x.dest_fd == -ENOTDIR ? CS_ERR_INVALID : CS_ERR_INTERNAL, -x.dest_fd,
			       "extract to %s", dest);
	int r = extract(&x, err);
	free(x.small);
	free(x.unpacked);
	cs_close(x.parent_fd);
	cs_close(x.dest_fd);
	free(x.parent);
	return r;
}
