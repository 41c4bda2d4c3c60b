/* SPDX-License-Identifier: Apache-2.0
 *
 * Writes the entries of a (hostile) tar below one directory. Every path is resolved by the kernel with that directory as its root
 * (base/path.h), the last component is never followed, and what is changed is changed through a descriptor or with AT_SYMLINK_NOFOLLOW.
 * OCI whiteouts become overlayfs' own: ".wh.x" a character device 0/0 named x, ".wh..wh..opq" the opaque mark. One thread per extraction;
 * the tree is private until it is published. */
#include <fcntl.h>
#include <limits.h>
#include <locale.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <uthash.h>

#include "base/io.h"
#include "base/path.h"
#include "base/sys.h"
#include "storage/archive_lib.h"
#include "storage/internal.h"

#define WH_PREFIX ".wh."
#define WH_META ".wh..wh."
#define WH_OPAQUE ".wh..wh..opq"

struct dirtime { /* times of directories are set last: each new child would change them */
	char *path;
	struct timespec times[2];
	UT_hash_handle hh;
};
struct extract {
	cs_read_fn read;
	void *ctx;
	int read_errno;
	int root_fd;
	struct archive *a;
	struct dirtime *dirs;
	char *parent;   /* path of parent_fd, or NULL */
	int parent_fd;
	int64_t size;
	char buf[128 << 10];
};

static ssize_t on_read(struct archive *a, void *ctx, const void **buf)
{
	struct extract *x = ctx;
	ssize_t n = x->read(x->ctx, x->buf, sizeof(x->buf));

	if (n < 0) {
		x->read_errno = (int)-n;
		cs_ar(set_error)(a, (int)-n, "read");
		return ARCHIVE_FATAL;
	}
	*buf = x->buf;
	return n;
}

static int bad(struct cs_err **err, const char *path, const char *what)
{
	return cs_fail(err, CS_ERR_INVALID, 0, "archive entry \"%.200s\": %s", path, what);
}

static int sysfail(struct cs_err **err, int sys, const char *what, const char *path)
{
	return cs_fail(err, cs_storage_code(sys), sys, "%s \"%.200s\"", what, path);
}

/* Name of an entry as a relative clean path; "." is the root. ".." that would leave the root is an attack or a mistake: refused. */
static char *entry_path(const char *raw, struct cs_err **err)
{
	size_t len = raw ? strlen(raw) : 0;

	if (len == 0 || len >= PATH_MAX) {
		bad(err, len ? raw : "", len ? "name too long" : "no name");
		return NULL;
	}
	while (*raw == '/')
		raw++;
	char *clean = cs_path_clean(raw);
	if (strcmp(clean, "..") == 0 || strncmp(clean, "../", 3) == 0) {
		bad(err, raw, "is outside of the root");
		free(clean);
		return NULL;
	}
	return clean;
}

static void forget_parent(struct extract *x)
{
	cs_close(TAKE_FD(x->parent_fd));
	free(TAKE_PTR(x->parent));
}

/* Descriptor (borrowed until the next call) of the directory that holds `path`; *name points into path. */
static int open_parent(struct extract *x, char *path, const char **name, struct cs_err **err)
{
	char *slash = strrchr(path, '/');
	const char *dir = ".";

	*name = path;
	if (slash) {
		*slash = 0;
		dir = path;
		*name = slash + 1;
	}
	int r = 0;
	if (!x->parent || strcmp(x->parent, dir) != 0) {
		forget_parent(x);
		int fd = cs_mkdir_in_root(x->root_fd, dir, 0755, 0, 0);
		if (fd < 0)
			r = fd == -EPERM || fd == -ENOSPC || fd == -EDQUOT || fd == -EIO ?
				    sysfail(err, -fd, "make directory", dir) :
				    cs_fail(err, CS_ERR_INVALID, -fd, "archive entry below \"%.200s\"", dir);
		else {
			x->parent_fd = fd;
			x->parent = cs_xstrdup(dir);
		}
	}
	if (slash)
		*slash = '/';
	if (r == 0 && !cs_is_plain_name(*name))
		return bad(err, path, "bad name");
	return r;
}

static int remove_existing(struct extract *x, const char *name, bool keep_dir, bool *ret_is_dir, const char *path, struct cs_err **err)
{
	struct stat st;

	*ret_is_dir = false;
	if (fstatat(x->parent_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : sysfail(err, errno, "stat", path);
	if (S_ISDIR(st.st_mode) && keep_dir) {
		*ret_is_dir = true;
		return 0;
	}
	int fd = x->parent_fd;
	int r = cs_remove_tree_at(fd, name);
	if (r < 0)
		return sysfail(err, -r, "replace", path);
	if (S_ISDIR(st.st_mode)) {
		/* the remembered parent may have been below it: resolve again */
		char *dir = TAKE_PTR(x->parent);
		forget_parent(x);
		x->parent_fd = cs_mkdir_in_root(x->root_fd, dir, 0755, 0, 0);
		x->parent = dir;
		if (x->parent_fd < 0)
			return sysfail(err, -x->parent_fd, "reopen", dir);
	}
	return 0;
}


static int write_file(struct extract *x, struct archive_entry *e, int fd, const char *path, struct cs_err **err)
{
	const void *data;
	size_t len;
	int64_t off, end = 0, size = cs_ar(entry_size_is_set)(e) ? cs_ar(entry_size)(e) : 0;

	for (;;) {
		int r = cs_ar(read_data_block)(x->a, &data, &len, &off);
		if (r == ARCHIVE_EOF)
			break;
		if (r != ARCHIVE_OK && r != ARCHIVE_WARN)
			return x->read_errno ? cs_fail(err, CS_ERR_INTERNAL, x->read_errno, "read the archive") :
					       cs_fail(err, CS_ERR_INVALID, 0, "archive entry \"%.200s\": %s", path, cs_ar(error_string)(x->a));
		if (off < end)
			return bad(err, path, "sparse map goes backwards");
		while (len) {
			ssize_t n = pwrite(fd, data, len, off);
			if (n < 0 && errno == EINTR)
				continue;
			if (n < 0)
				return sysfail(err, errno, "write", path);
			data = (const char *)data + n;
			len -= (size_t)n;
			off += n;
		}
		end = off;
	}
	if (size > end && ftruncate(fd, size) < 0) /* a sparse file may end in a hole */
		return sysfail(err, errno, "write", path);
	x->size += CS_MAX(size, end);
	return 0;
}

/* Attributes that an image may bring: what the kernel checks for programs (file capabilities), what users set, ACLs. Never trusted.*: overlayfs
 * would take trusted.overlay.redirect from an image as its own. */
static bool wanted_xattr(const char *name)
{
	return strcmp(name, "security.capability") == 0 || strncmp(name, "user.", 5) == 0 || strcmp(name, "system.posix_acl_access") == 0 ||
	       strcmp(name, "system.posix_acl_default") == 0;
}

static int set_xattrs(struct extract *x, struct archive_entry *e, const char *name, const char *path, struct cs_err **err)
{
	const char *key;
	const void *value;
	size_t len;

	if (cs_ar(entry_xattr_reset)(e) == 0)
		return 0;
	/* There is no *at form before Linux 6.13; through our own descriptor nothing foreign is resolved, and the name is not followed. */
	cs_autofree char *proc = cs_xasprintf("/proc/self/fd/%d/%s", x->parent_fd, name);
	while (cs_ar(entry_xattr_next)(e, &key, &value, &len) == ARCHIVE_OK) {
		if (!key || !wanted_xattr(key))
			continue;
		if (lsetxattr(proc, key, value, len, 0) < 0 && !(errno == EOPNOTSUPP || (errno == EPERM && strncmp(key, "user.", 5) == 0)))
			return cs_fail(err, cs_storage_code(errno), errno, "set attribute %.100s of \"%.200s\"", key, path);
	}
	return 0;
}

static void entry_times(struct archive_entry *e, struct timespec ts[2])
{
	struct timespec m = {.tv_sec = cs_ar(entry_mtime)(e), .tv_nsec = cs_ar(entry_mtime_nsec)(e)};
	struct timespec a = m;

	if (cs_ar(entry_atime_is_set)(e) && cs_ar(entry_atime)(e) > m.tv_sec)
		a = (struct timespec){.tv_sec = cs_ar(entry_atime)(e), .tv_nsec = cs_ar(entry_atime_nsec)(e)};
	ts[0] = a;
	ts[1] = m;
}

static void remember_dir(struct extract *x, const char *path, const struct timespec ts[2])
{
	struct dirtime *d;

	HASH_FIND_STR(x->dirs, path, d);
	if (!d) {
		d = cs_xcalloc(1, sizeof(*d));
		d->path = cs_xstrdup(path);
		HASH_ADD_KEYPTR(hh, x->dirs, d->path, strlen(d->path), d);
	}
	d->times[0] = ts[0];
	d->times[1] = ts[1];
}

/* Owner, mode (after the owner: chown clears set-id bits), attributes, times. */
static int set_meta(struct extract *x, struct archive_entry *e, const char *name, const char *path, struct cs_err **err)
{
	int64_t uid = cs_ar(entry_uid)(e), gid = cs_ar(entry_gid)(e);
	mode_t type = cs_ar(entry_filetype)(e);
	struct timespec ts[2];

	if (uid < 0 || uid >= UINT32_MAX || gid < 0 || gid >= UINT32_MAX)
		return bad(err, path, "owner out of range");
	if (fchownat(x->parent_fd, name, (uid_t)uid, (gid_t)gid, AT_SYMLINK_NOFOLLOW) < 0)
		return sysfail(err, errno, "chown", path);
	/* fchmodat follows links, so never for one; what is there now was made by us a moment ago in a private tree */
	if (type != AE_IFLNK && fchmodat(x->parent_fd, name, cs_ar(entry_perm)(e) & 07777, 0) < 0)
		return sysfail(err, errno, "chmod", path);
	if (set_xattrs(x, e, name, path, err) < 0)
		return -1;
	entry_times(e, ts);
	if (type == AE_IFDIR)
		remember_dir(x, path, ts);
	else if (utimensat(x->parent_fd, name, ts, AT_SYMLINK_NOFOLLOW) < 0 && errno != EINVAL)
		return sysfail(err, errno, "set times of", path);
	return 0;
}

static int hard_link(struct extract *x, const char *name, const char *path, const char *raw, struct cs_err **err)
{
	cs_autofree char *target = entry_path(raw, err);

	if (!target)
		return -1;
	const char *slash = strrchr(target, '/');
	const char *tname = slash ? slash + 1 : target;
	cs_autofree char *dir = slash ? cs_xstrndup(target, (size_t)(slash - target)) : cs_xstrdup(".");
	cs_autofd int fd = sys_openat2(x->root_fd, dir, O_PATH | O_DIRECTORY, 0, CS_RESOLVE_IN_ROOT);
	if (fd < 0 || !cs_is_plain_name(tname))
		return bad(err, path, "hard link to something that is not in the archive");
	if (linkat(fd, tname, x->parent_fd, name, 0) < 0) {
		if (errno == ENOENT || errno == EPERM || errno == EXDEV)
			return bad(err, path, "hard link to something that is not a file of the archive");
		return sysfail(err, errno, "link", path);
	}
	return 0;
}

static int make_node(struct extract *x, struct archive_entry *e, const char *name, const char *path, struct cs_err **err)
{
	mode_t type = cs_ar(entry_filetype)(e);
	dev_t dev = 0;

	if (type == AE_IFSOCK) /* as tar and Docker: a socket in an archive means nothing */
		return 1;
	if (type == AE_IFCHR || type == AE_IFBLK) {
		dev = makedev((unsigned)cs_ar(entry_rdevmajor)(e), (unsigned)cs_ar(entry_rdevminor)(e));
		if (type == AE_IFCHR && dev == 0)
			return bad(err, path, "character device 0/0 is reserved for whiteouts");
	}
	if (mknodat(x->parent_fd, name, type | 0600, dev) < 0)
		return sysfail(err, errno, "make device", path);
	return 0;
}

static int make_file(struct extract *x, struct archive_entry *e, const char *name, const char *path, struct cs_err **err)
{
	cs_autofd int fd = openat(x->parent_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd < 0)
		return sysfail(err, errno, "create", path);
	return write_file(x, e, fd, path, err);
}

static int whiteout(struct extract *x, struct archive_entry *e, const char *name, char *path, struct cs_err **err)
{
	bool is_dir;

	if (strcmp(name, WH_OPAQUE) == 0) {
		cs_autofree char *proc = cs_xasprintf("/proc/self/fd/%d", x->parent_fd);
		if (setxattr(proc, "trusted.overlay.opaque", "y", 1, 0) < 0)
			return sysfail(err, errno, "mark as opaque the directory of", path);
		return 0;
	}
	if (strncmp(name, WH_META, strlen(WH_META)) == 0)
		return 0; /* AUFS' own bookkeeping */
	const char *target = name + strlen(WH_PREFIX);
	if (!cs_is_plain_name(target))
		return bad(err, path, "bad whiteout");
	if (remove_existing(x, target, false, &is_dir, path, err) < 0)
		return -1;
	if (mknodat(x->parent_fd, target, S_IFCHR | 0600, makedev(0, 0)) < 0)
		return sysfail(err, errno, "whiteout", path);
	return 0;
}

static int extract_root(struct extract *x, struct archive_entry *e, struct cs_err **err)
{
	int64_t uid = cs_ar(entry_uid)(e), gid = cs_ar(entry_gid)(e);
	struct timespec ts[2];

	if (cs_ar(entry_filetype)(e) != AE_IFDIR)
		return bad(err, "/", "the root must be a directory");
	if (uid < 0 || uid >= UINT32_MAX || gid < 0 || gid >= UINT32_MAX)
		return bad(err, "/", "owner out of range");
	if (fchown(x->root_fd, (uid_t)uid, (gid_t)gid) < 0 || fchmod(x->root_fd, cs_ar(entry_perm)(e) & 07777) < 0)
		return sysfail(err, errno, "set owner and mode of", "/");
	entry_times(e, ts);
	remember_dir(x, ".", ts);
	return 0;
}

static int extract_entry(struct extract *x, struct archive_entry *e, struct cs_err **err)
{
	const char *raw = cs_ar(entry_pathname)(e), *link = cs_ar(entry_hardlink)(e), *name;
	mode_t type = cs_ar(entry_filetype)(e);
	bool is_dir;
	int r = 0;

	if (!raw)
		raw = cs_ar(entry_pathname_utf8)(e);
	cs_autofree char *path = entry_path(raw, err);
	if (!path)
		return -1;
	if (strcmp(path, ".") == 0)
		return extract_root(x, e, err);
	if (open_parent(x, path, &name, err) < 0)
		return -1;
	if (strncmp(name, WH_PREFIX, strlen(WH_PREFIX)) == 0)
		return whiteout(x, e, name, path, err);
	if (remove_existing(x, name, !link && type == AE_IFDIR, &is_dir, path, err) < 0)
		return -1;
	if (link)
		return hard_link(x, name, path, link, err);
	switch (type) {
	case AE_IFDIR:
		if (!is_dir && mkdirat(x->parent_fd, name, 0700) < 0)
			r = sysfail(err, errno, "make directory", path);
		break;
	case AE_IFREG:
		r = make_file(x, e, name, path, err);
		break;
	case AE_IFLNK: {
		const char *to = cs_ar(entry_symlink)(e);
		if (!to)
			to = cs_ar(entry_symlink_utf8)(e);
		if (cs_empty(to) || strlen(to) >= PATH_MAX)
			r = bad(err, path, "bad symbolic link");
		else if (symlinkat(to, x->parent_fd, name) < 0)
			r = sysfail(err, errno, "make link", path);
		break;
	}
	case AE_IFCHR:
	case AE_IFBLK:
	case AE_IFIFO:
	case AE_IFSOCK:
		r = make_node(x, e, name, path, err);
		break;
	default:
		r = bad(err, path, "unknown kind of file");
	}
	return r == 0 ? set_meta(x, e, name, path, err) : r == 1 ? 0 : -1;
}

/* Children do not matter to each other here: a parent's time is not changed by setting its child's. */
static int set_dir_times(struct extract *x, struct cs_err **err)
{
	struct dirtime *d, *next;
	int r = 0;

	HASH_ITER(hh, x->dirs, d, next)
	{
		/* The directory may have been replaced since; by a link at worst, which is not followed. */
		int fd = r < 0 ? -1 : sys_openat2(x->root_fd, d->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, CS_RESOLVE_IN_ROOT);
		if (fd >= 0 && futimens(fd, d->times) < 0 && errno != EINVAL)
			r = sysfail(err, errno, "set times of", d->path);
		cs_close(fd);
		HASH_DEL(x->dirs, d);
		free(d->path);
		free(d);
	}
	return r;
}

static int extract_all(struct extract *x, struct cs_err **err)
{
	struct archive_entry *e;

	cs_ar(read_support_format_tar)(x->a);
	cs_ar(read_support_format_empty)(x->a);
	if (cs_ar(read_open)(x->a, x, NULL, on_read, NULL) != ARCHIVE_OK)
		return x->read_errno ? cs_fail(err, CS_ERR_INTERNAL, x->read_errno, "read the archive") :
				       cs_fail(err, CS_ERR_INVALID, 0, "not a tar archive: %s", cs_ar(error_string)(x->a));
	for (;;) {
		int r = cs_ar(read_next_header)(x->a, &e);
		if (r == ARCHIVE_EOF)
			return 0;
		if (r != ARCHIVE_OK && r != ARCHIVE_WARN)
			return x->read_errno ? cs_fail(err, CS_ERR_INTERNAL, x->read_errno, "read the archive") :
					       cs_fail(err, CS_ERR_INVALID, 0, "bad tar archive: %s", cs_ar(error_string)(x->a));
		if (extract_entry(x, e, err) < 0)
			return -1;
	}
}

int cs_extract_tar(cs_read_fn read, void *ctx, int root_fd, int64_t *ret_size, struct cs_err **err)
{
	if (cs_archive_get(err) < 0)
		return -1;
	struct extract *x = cs_xcalloc(1, sizeof(*x));
	/* libarchive converts names of pax headers to the thread's character set: with C.UTF-8 every name passes unchanged. */
	locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0), old = (locale_t)0;
	int r;

	if (utf8)
		old = uselocale(utf8);
	x->read = read;
	x->ctx = ctx;
	x->root_fd = root_fd;
	x->parent_fd = -EBADF;
	x->a = cs_ar(read_new)();
	if (!x->a)
		abort();
	r = extract_all(x, err);
	(void)cs_ar(read_free)(x->a);
	forget_parent(x);
	struct cs_err *late = NULL;
	if (set_dir_times(x, &late) < 0)
		r = r < 0 ? (cs_err_free(late), -1) : cs_err_move(err, late);
	if (utf8) {
		(void)uselocale(old);
		freelocale(utf8);
	}
	if (r == 0)
		*ret_size = x->size;
	free(x);
	cs_archive_put();
	return r;
}
