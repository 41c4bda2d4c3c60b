/* SPDX-License-Identifier: Apache-2.0
 *
 * Writes the entries of a (hostile) tar below one directory. Every path is resolved by the kernel with that directory as its root
 * (base/path.h), the last component is never followed, and what is changed is changed through a descriptor or with AT_SYMLINK_NOFOLLOW.
 * OCI whiteouts become overlayfs' own: ".wh.x" a character device 0/0 named x, ".wh..wh..opq" the opaque mark. One thread per extraction;
 * the tree is private until it is published.
 *
 * A file costs open, write, utimens and close: owner and mode are set only where creation did not set them already. */
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "base/io.h"
#include "base/path.h"
#include "base/sys.h"
#include "storage/extract.h"

#define WH_PREFIX ".wh."
#define WH_META ".wh..wh."
#define WH_OPAQUE ".wh..wh..opq"
#define XATTR_MAX 65536 /* the kernel's limit of a value; a name is at most 255 */
#define FLUSH_STEP (16ll << 20)
#define TIMES_MAX (256u << 20) /* bytes: more than a million directories with usual paths */

static int bad(struct cs_err **err, const char *path, const char *what)
{
	return cs_fail(err, CS_ERR_INVALID, 0, "archive entry \"%.200s\": %s", path, what);
}

static int sysfail(struct cs_err **err, int sys, const char *what, const char *path)
{
	enum cs_code code = cs_storage_code(sys);

	if (sys == ENAMETOOLONG || sys == EINVAL || sys == ENOTDIR || sys == ELOOP || sys == EFBIG || sys == EMLINK)
		code = CS_ERR_INVALID;
	return cs_fail(err, code, sys, "%s \"%.200s\"", what, path);
}

/* Name of an entry as a relative clean path in out; "." is the root. ".." that would leave the root is an attack or a mistake: refused. */
static int entry_path(const char *raw, char out[PATH_MAX], struct cs_err **err)
{
	const char *p = raw;
	size_t o = 0;

	if (!*raw)
		return bad(err, raw, "no name");
	while (*p) {
		size_t n = strcspn(p, "/");
		if (n == 2 && p[0] == '.' && p[1] == '.') {
			if (o == 0)
				return bad(err, raw, "is outside of the root");
			while (o && out[--o] != '/')
				;
		} else if (n && !(n == 1 && p[0] == '.')) {
			if (o)
				out[o++] = '/';
			memcpy(out + o, p, n); /* never longer than raw, which is shorter than PATH_MAX */
			o += n;
		}
		p += n;
		while (*p == '/')
			p++;
	}
	if (o == 0)
		out[o++] = '.';
	out[o] = 0;
	return 0;
}

/* ---- directories ---- */
static void forget_dir(struct cs_extract_dir *d)
{
	cs_close(TAKE_FD(d->fd));
	free(TAKE_PTR(d->path));
}

/* After something that a remembered path may lead through has changed. */
static void forget_dirs(struct extract *x)
{
	for (size_t i = 0; i < CS_ARRAY_SIZE(x->dirs); i++)
		forget_dir(&x->dirs[i]);
	x->parent = NULL;
}

static int open_path(struct extract *x, const char *path, size_t len)
{
	char buf[PATH_MAX];

	memcpy(buf, path, len);
	buf[len] = 0;
	return sys_openat2(x->root_fd, len ? buf : ".", O_PATH | O_DIRECTORY, 0, CS_RESOLVE_IN_ROOT);
}

/* Opens dir and makes what is missing of it. As cs_mkdir_in_root, but a long path costs few walks: with links that lead through links, an
 * archive could make each of them expensive. ends: where each of its n parts ends. */
static int make_dirs(struct extract *x, const char *dir, const uint16_t *ends, size_t n)
{
	cs_autofd int cur = open_path(x, dir, ends[n - 1]);
	size_t there = 0, missing = n; /* prefixes of so many parts: one exists, the other does not */

	if (cur != -ENOENT)
		return TAKE_FD(cur);
	while (missing - there > 1) {
		size_t half = (there + missing) / 2;
		int fd = open_path(x, dir, ends[half - 1]);
		if (fd < 0 && fd != -ENOENT)
			return fd;
		cs_close(fd);
		*(fd < 0 ? &missing : &there) = half;
	}
	cur = open_path(x, dir, there ? ends[there - 1] : 0);
	for (; cur >= 0 && there < n; there++) {
		size_t at = there ? ends[there - 1] + 1u : 0;
		char name[NAME_MAX + 1];
		if (ends[there] - at > NAME_MAX)
			return -ENAMETOOLONG;
		memcpy(name, dir + at, ends[there] - at);
		name[ends[there] - at] = 0;
		/* EEXIST: a link to nothing, which the openat2 refuses */
		if (mkdirat(cur, name, 0755) < 0 ? errno != EEXIST : (x->umask & 0755 || x->acl) && fchmodat(cur, name, 0755, 0) < 0)
			return -errno;
		int next = sys_openat2(cur, name, O_PATH | O_DIRECTORY, 0, CS_RESOLVE_BENEATH_NOLINKS);
		cs_close(cur);
		cur = next;
	}
	return TAKE_FD(cur);
}

static int open_dir(struct extract *x, const char *dir, struct cs_extract_dir *d, struct cs_err **err)
{
	uint16_t ends[CS_EXTRACT_DEPTH];
	struct stat st;
	size_t n = 0;

	for (const char *p = dir; *p; p += *p == '/') {
		p += strcspn(p, "/");
		/* no path of a real tree is so deep */
		if (n == CS_EXTRACT_DEPTH)
			return bad(err, dir, "too many directories in each other");
		ends[n++] = (uint16_t)(p - dir);
	}
	int fd = make_dirs(x, dir, ends, n);
	if (fd < 0)
		return fd == -EPERM || fd == -EACCES || fd == -ENOSPC || fd == -EDQUOT || fd == -EIO || fd == -EMFILE || fd == -ENFILE ?
			       sysfail(err, -fd, "make directory", dir) :
			       cs_fail(err, CS_ERR_INVALID, -fd, "archive entry below \"%.200s\"", dir);
	if (fstat(fd, &st) < 0) {
		cs_close(fd);
		return sysfail(err, errno, "stat", dir);
	}
	forget_dir(d);
	d->fd = fd;
	d->path = cs_xstrdup(dir);
	/* what is made in it belongs to 0:0 without being told */
	d->plain_owner = x->is_root && st.st_gid == 0 && !(st.st_mode & S_ISGID);
	return 0;
}

/* Makes x->parent the directory that holds `path`; *name points into path. */
static int open_parent(struct extract *x, char *path, const char **name, struct cs_err **err)
{
	char *slash = strrchr(path, '/');
	const char *dir = ".";
	struct cs_extract_dir *oldest = &x->dirs[0];
	int r = 0;

	*name = path;
	if (slash) {
		*slash = 0;
		dir = path;
		*name = slash + 1;
	}
	if (!x->parent || strcmp(x->parent->path, dir) != 0) {
		x->parent = NULL;
		for (size_t i = 0; i < CS_ARRAY_SIZE(x->dirs) && !x->parent; i++) {
			if (x->dirs[i].path && strcmp(x->dirs[i].path, dir) == 0)
				x->parent = &x->dirs[i];
			else if (x->dirs[i].used < oldest->used)
				oldest = &x->dirs[i];
		}
		if (!x->parent) {
			r = open_dir(x, dir, oldest, err);
			x->parent = r == 0 ? oldest : NULL;
		}
	}
	if (slash)
		*slash = '/';
	if (r == 0)
		x->parent->used = ++x->clock;
	return r == 0 && !cs_is_plain_name(*name) ? bad(err, path, "bad name") : r;
}

static bool is_whiteout(const struct stat *st) { return S_ISCHR(st->st_mode) && st->st_rdev == 0; }

/* proc: a path of the directory through our own descriptors. */
static int mark_opaque(const char *proc, const char *path, struct cs_err **err)
{
	return setxattr(proc, "trusted.overlay.opaque", "y", 1, 0) < 0 ? sysfail(err, errno, "mark as opaque", path) : 0;
}

enum there { NOTHING, WHITEOUT, KEPT };

/* Something of this name was there. Takes it away, unless both are directories: then it is kept. */
static int replace(struct extract *x, const char *name, bool may_keep, enum there *was, const char *path, struct cs_err **err)
{
	struct stat st;

	*was = NOTHING;
	if (fstatat(x->parent->fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : sysfail(err, errno, "stat", path);
	if (S_ISDIR(st.st_mode) && may_keep) {
		*was = KEPT;
		return 0;
	}
	if (is_whiteout(&st))
		*was = WHITEOUT;
	int r = cs_remove_tree_at(x->parent->fd, name);
	if (r < 0)
		return sysfail(err, -r, "replace", path);
	if (S_ISDIR(st.st_mode) || S_ISLNK(st.st_mode)) {
		cs_autofree char *dir = cs_xstrdup(x->parent->path);
		forget_dirs(x);
		if (open_dir(x, dir, &x->dirs[0], err) < 0)
			return -1;
		x->parent = &x->dirs[0];
	}
	return 0;
}

/* ---- kinds of entries: each makes its object. 0, 1 when something of that name is there, -1 ---- */
static int made(int r, const char *what, const char *path, struct cs_err **err)
{
	return r >= 0 ? 0 : errno == EEXIST ? 1 : sysfail(err, errno, what, path);
}

static int make_file(struct extract *x, const struct cs_untar_entry *e, const char *name, const char *path, struct cs_err **err)
{
	x->file_fd = openat(x->parent->fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, e->mode & 0777);
	return made(x->file_fd, "create", path, err);
}

static int make_dir(struct extract *x, const struct cs_untar_entry *e, const char *name, const char *path, struct cs_err **err)
{
	return made(mkdirat(x->parent->fd, name, e->mode & 0777), "make directory", path, err);
}

static int make_symlink(struct extract *x, const struct cs_untar_entry *e, const char *name, const char *path, struct cs_err **err)
{
	if (!*e->link)
		return bad(err, path, "bad symbolic link");
	int r = made(symlinkat(e->link, x->parent->fd, name), "make link", path, err);
	if (r == 0) /* as du, and dockerd's sizes */
		x->size += (int64_t)CS_MIN(strlen(e->link), (size_t)PATH_MAX);
	return r;
}

static int make_link(struct extract *x, const struct cs_untar_entry *e, const char *name, const char *path, struct cs_err **err)
{
	char target[PATH_MAX];

	if (entry_path(e->link, target, err) < 0)
		return -1;
	char *slash = strrchr(target, '/');
	const char *tname = slash ? slash + 1 : target;
	if (slash)
		*slash = 0;
	cs_autofd int fd = sys_openat2(x->root_fd, slash ? target : ".", O_PATH | O_DIRECTORY, 0, CS_RESOLVE_IN_ROOT);
	if (fd < 0 || !cs_is_plain_name(tname))
		return bad(err, path, "hard link to something that is not in the archive");
	int r = linkat(fd, tname, x->parent->fd, name, 0);
	if (r < 0 && (errno == ENOENT || errno == EPERM || errno == EXDEV))
		return bad(err, path, "hard link to something that is not a file of the archive");
	return made(r, "link", path, err);
}

static int make_node(struct extract *x, const struct cs_untar_entry *e, const char *name, const char *path, struct cs_err **err)
{
	mode_t type = e->type == CS_UNTAR_CHAR ? S_IFCHR : e->type == CS_UNTAR_BLOCK ? S_IFBLK : S_IFIFO;
	dev_t dev = type == S_IFIFO ? 0 : makedev(e->major, e->minor);

	if (type == S_IFCHR && dev == 0)
		return bad(err, path, "character device 0/0 is reserved for whiteouts");
	return made(mknodat(x->parent->fd, name, type | (e->mode & 0777), dev), "make device", path, err);
}

static int make_whiteout(struct extract *x, const struct cs_untar_entry *e, const char *name, const char *path, struct cs_err **err)
{
	(void)e;
	return made(mknodat(x->parent->fd, name, S_IFCHR | 0600, makedev(0, 0)), "whiteout", path, err);
}

typedef int (*make_fn)(struct extract *x, const struct cs_untar_entry *e, const char *name, const char *path, struct cs_err **err);

/* Most names are new: the kernel is asked what was there only when something was. */
static int make(struct extract *x, make_fn fn, const struct cs_untar_entry *e, const char *name, const char *path, struct cs_err **err)
{
	enum there was;
	int r = fn(x, e, name, path, err);

	if (r != 1)
		return r;
	if (replace(x, name, fn == make_dir, &was, path, err) < 0)
		return -1;
	x->made = was != KEPT;
	if (was == KEPT)
		return 0;
	r = fn(x, e, name, path, err);
	if (r == 1)
		return bad(err, path, "comes and goes"); /* nobody else is here */
	if (r == 0 && was == WHITEOUT && fn == make_dir) { /* what was deleted below must not come to light in the new directory */
		cs_autofree char *proc = cs_xasprintf("/proc/self/fd/%d/%s", x->parent->fd, name);
		r = mark_opaque(proc, path, err);
	}
	return r;
}

/* ---- content and properties ---- */
static int write_file(struct extract *x, const struct cs_untar_entry *e, int fd, const char *path, struct cs_err **err)
{
	const void *data;
	size_t len;
	int64_t off, end = 0, flushed = 0;
	int r;

	while ((r = cs_untar_data(x->tar, &data, &len, &off, err)) > 0) {
		int w = cs_pwrite_full(fd, data, len, off);
		if (w < 0)
			return sysfail(err, -w, "write", path);
		end = off + (int64_t)len;
		if (end - flushed >= FLUSH_STEP) { /* the disk starts now: at the end there is less to wait for */
			(void)sync_file_range(fd, flushed, end - flushed, SYNC_FILE_RANGE_WRITE);
			flushed = end;
		}
	}
	if (r < 0)
		return -1;
	if (e->size > end && ftruncate(fd, e->size) < 0) /* a sparse file may end in a hole */
		return sysfail(err, errno, "write", path);
	/* holes cost nothing, and some file systems take a single file of 8 EiB */
	return __builtin_add_overflow(x->size, e->size, &x->size) ? bad(err, path, "too large together with the others") : 0;
}

static int set_xattrs(struct extract *x, const struct cs_untar_entry *e, const char *name, const char *path, struct cs_err **err)
{
	/* There is no *at form before Linux 6.13; through our own descriptor nothing foreign is resolved, and the name is not followed. */
	cs_autofree char *proc = x->file_fd < 0 && e->n_xattrs ? cs_xasprintf("/proc/self/fd/%d/%s", x->parent->fd, name) : NULL;

	for (size_t i = 0; i < e->n_xattrs; i++) {
		const struct cs_untar_xattr *a = &e->xattrs[i];
		if (!cs_xattr_travels(a->name))
			continue;
		if (a->len > XATTR_MAX)
			return bad(err, path, "an extended attribute is too long");
		if (strcmp(a->name, "system.posix_acl_default") == 0)
			x->acl = true;
		int r = proc ? lsetxattr(proc, a->name, a->value, a->len, 0) : fsetxattr(x->file_fd, a->name, a->value, a->len, 0);
		if (r < 0 && !(errno == EOPNOTSUPP || (errno == EPERM && strncmp(a->name, "user.", 5) == 0)))
			return cs_fail(err, cs_storage_code(errno), errno, "set attribute %.100s of \"%.200s\"", a->name, path);
	}
	return 0;
}

static void entry_times(const struct cs_untar_entry *e, struct timespec ts[2])
{
	ts[1] = e->mtime;
	ts[0] = e->has_atime && e->atime.tv_sec > e->mtime.tv_sec ? e->atime : e->mtime;
}

static int remember_dir(struct extract *x, const char *path, const struct timespec ts[2], struct cs_err **err)
{
	struct dirtime *d;

	HASH_FIND_STR(x->times, path, d);
	if (!d) {
		x->times_len += sizeof(*d) + strlen(path) + 1;
		if (x->times_len > TIMES_MAX)
			return bad(err, path, "too many directories with too long paths");
		d = cs_xcalloc(1, sizeof(*d));
		d->path = cs_xstrdup(path);
		HASH_ADD_KEYPTR(hh, x->times, d->path, strlen(d->path), d);
	}
	d->times[0] = ts[0];
	d->times[1] = ts[1];
	return 0;
}

/* Owner, mode (after the owner: chown clears set-id bits), attributes, times. Through the descriptor of a file, else by name: what is there was
 * made by us a moment ago in a private tree. */
static int set_meta(struct extract *x, const struct cs_untar_entry *e, const char *name, const char *path, struct cs_err **err)
{
	int fd = x->file_fd, at = x->parent->fd;
	struct timespec ts[2];

	if (!(x->made && x->parent->plain_owner && e->uid == 0 && e->gid == 0) &&
	    (fd >= 0 ? fchown(fd, e->uid, e->gid) : fchownat(at, name, e->uid, e->gid, AT_SYMLINK_NOFOLLOW)) < 0)
		return sysfail(err, errno, "chown", path);
	/* fchmodat follows links, so never for one */
	bool mode_is_set = x->made && !x->acl && !(e->mode & (07000 | x->umask));
	if (e->type != CS_UNTAR_SYMLINK && !mode_is_set && (fd >= 0 ? fchmod(fd, e->mode) : fchmodat(at, name, e->mode, 0)) < 0)
		return sysfail(err, errno, "chmod", path);
	if (set_xattrs(x, e, name, path, err) < 0)
		return -1;
	entry_times(e, ts);
	if (e->type == CS_UNTAR_DIR) {
		if (remember_dir(x, path, ts, err) < 0)
			return -1;
	} else if ((fd >= 0 ? futimens(fd, ts) : utimensat(at, name, ts, AT_SYMLINK_NOFOLLOW)) < 0 && errno != EINVAL) {
		return sysfail(err, errno, "set times of", path);
	}
	/* a directory that is remembered as a parent has changed its owner */
	if (e->type == CS_UNTAR_DIR && !x->made)
		forget_dirs(x);
	return 0;
}

/* A second name for a file: what its header says of owner, mode and times counts for the file, as in Docker. What is right already is left alone: chown
 * takes away set-id bits and capabilities. */
static int set_link_meta(struct extract *x, const struct cs_untar_entry *e, const char *name, const char *path, struct cs_err **err)
{
	int at = x->parent->fd;
	struct timespec ts[2];
	struct stat st;

	if (fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return sysfail(err, errno, "stat", path);
	if (is_whiteout(&st)) /* of a file that this layer deletes */
		return bad(err, path, "hard link to something that is not a file of the archive");
	bool chown = st.st_uid != e->uid || st.st_gid != e->gid;
	if (chown && fchownat(at, name, e->uid, e->gid, AT_SYMLINK_NOFOLLOW) < 0)
		return sysfail(err, errno, "chown", path);
	/* fchmodat follows links, so never for one */
	if (!S_ISLNK(st.st_mode) && (chown || (st.st_mode & 07777) != e->mode) && fchmodat(at, name, e->mode, 0) < 0)
		return sysfail(err, errno, "chmod", path);
	if (set_xattrs(x, e, name, path, err) < 0)
		return -1;
	entry_times(e, ts);
	return utimensat(at, name, ts, AT_SYMLINK_NOFOLLOW) < 0 && errno != EINVAL ? sysfail(err, errno, "set times of", path) : 0;
}

/* ---- entries ---- */
static int whiteout(struct extract *x, const char *name, const char *path, struct cs_err **err)
{
	if (strcmp(name, WH_OPAQUE) == 0) {
		cs_autofree char *proc = cs_xasprintf("/proc/self/fd/%d", x->parent->fd);
		return mark_opaque(proc, path, err);
	}
	if (strncmp(name, WH_META, strlen(WH_META)) == 0)
		return 0; /* AUFS' own bookkeeping */
	const char *target = name + strlen(WH_PREFIX);
	if (!cs_is_plain_name(target))
		return bad(err, path, "bad whiteout");
	return make(x, make_whiteout, NULL, target, path, err);
}

static int extract_root(struct extract *x, const struct cs_untar_entry *e, struct cs_err **err)
{
	struct timespec ts[2];

	if (e->type != CS_UNTAR_DIR)
		return bad(err, "/", "the root must be a directory");
	if (fchown(x->root_fd, e->uid, e->gid) < 0 || fchmod(x->root_fd, e->mode) < 0)
		return sysfail(err, errno, "set owner and mode of", "/");
	forget_dirs(x); /* their owner decides about children's */
	entry_times(e, ts);
	return remember_dir(x, ".", ts, err);
}

static int extract_entry(struct extract *x, const struct cs_untar_entry *e, struct cs_err **err)
{
	static const struct {
		enum cs_untar_type type;
		make_fn fn;
	} kinds[] = {{CS_UNTAR_FILE, make_file},  {CS_UNTAR_LINK, make_link},  {CS_UNTAR_SYMLINK, make_symlink}, {CS_UNTAR_CHAR, make_node},
		     {CS_UNTAR_BLOCK, make_node}, {CS_UNTAR_DIR, make_dir},    {CS_UNTAR_FIFO, make_node}};
	char path[PATH_MAX];
	const char *name;
	make_fn fn = NULL;

	if (entry_path(e->path, path, err) < 0)
		return -1;
	if (strcmp(path, ".") == 0)
		return extract_root(x, e, err);
	for (size_t i = 0; i < CS_ARRAY_SIZE(kinds) && !fn; i++)
		fn = kinds[i].type == e->type ? kinds[i].fn : NULL;
	if (!fn)
		return bad(err, path, "unknown kind of file");
	if (open_parent(x, path, &name, err) < 0)
		return -1;
	if (strncmp(name, WH_PREFIX, strlen(WH_PREFIX)) == 0)
		return whiteout(x, name, path, err);
	x->made = true;
	int r = make(x, fn, e, name, path, err);
	if (r == 0 && e->type == CS_UNTAR_FILE)
		r = write_file(x, e, x->file_fd, path, err);
	if (r == 0)
		r = e->type == CS_UNTAR_LINK ? set_link_meta(x, e, name, path, err) : set_meta(x, e, name, path, err);
	cs_close(TAKE_FD(x->file_fd));
	return r;
}

/* Children do not matter to each other here: a parent's time is not changed by setting its child's. */
static int set_dir_times(struct extract *x, int result, struct cs_err **err)
{
	struct dirtime *d, *next;
	int r = 0;

	HASH_ITER(hh, x->times, d, next)
	{
		/* The directory may have been replaced since; by a link at worst, which is not followed. */
		int fd = result < 0 || r < 0 ? -1 : sys_openat2(x->root_fd, d->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, CS_RESOLVE_IN_ROOT);
		if (fd >= 0 && futimens(fd, d->times) < 0 && errno != EINVAL)
			r = sysfail(err, errno, "set times of", d->path);
		cs_close(fd);
		HASH_DEL(x->times, d);
		free(d->path);
		free(d);
	}
	return r;
}

/* The bits that creation leaves out. There is no way to ask but to set it, which all threads would see. */
static unsigned current_umask(void)
{
	cs_autostr struct cs_str s = CS_STR_INIT(64 << 10);
	unsigned mask = 0;

	if (cs_read_file_at(AT_FDCWD, "/proc/thread-self/status", &s) < 0)
		return 0777; /* then every mode is set */
	const char *p = strstr(s.buf, "\nUmask:");
	if (!p)
		return 0777;
	for (p += strlen("\nUmask:"); *p == ' ' || *p == '\t'; p++)
		;
	for (; *p >= '0' && *p <= '7'; p++)
		mask = mask << 3 | (unsigned)(*p - '0');
	return mask;
}

static int extract_all(struct extract *x, struct cs_err **err)
{
	const struct cs_untar_entry *e;
	int r;

	for (int64_t n = 0; (r = cs_untar_next(x->tar, &e, err)) > 0; n++) {
		if (n >= x->limits->layer_entries)
			return cs_fail(err, CS_ERR_INVALID, 0, "the archive has more than %lld entries", (long long)x->limits->layer_entries);
		if (extract_entry(x, e, err) < 0)
			return -1;
	}
	return r;
}

int cs_extract_tar(cs_piece_fn next, void *ctx, int root_fd, const struct cs_storage_limits *limits, int64_t *ret_size, struct cs_err **err)
{
	struct extract *x = cs_xcalloc(1, sizeof(*x));

	x->root_fd = root_fd;
	x->limits = limits;
	x->file_fd = -EBADF;
	for (size_t i = 0; i < CS_ARRAY_SIZE(x->dirs); i++)
		x->dirs[i].fd = -EBADF;
	x->is_root = geteuid() == 0 && getegid() == 0;
	x->umask = current_umask();
	x->acl = fgetxattr(root_fd, "system.posix_acl_default", NULL, 0) > 0; /* the data root's would be inherited */
	x->tar = cs_untar_open(next, ctx);
	int r = extract_all(x, err);
	cs_untar_free(x->tar);
	forget_dirs(x);
	if (set_dir_times(x, r, err) < 0)
		r = -1;
	if (r == 0)
		*ret_size = x->size;
	free(x);
	return r;
}
