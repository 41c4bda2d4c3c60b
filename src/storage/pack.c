/* SPDX-License-Identifier: Apache-2.0
 *
 * Trees to tar. The tree is foreign and may be live: a container may rename, replace and remove whatever is below while it is read. So nothing is
 * opened by a path of more than one part (but for going back up, see reopen), no link is followed, a file is looked at and then opened through the same
 * descriptor, and what vanished meanwhile is left out. The walk has its stack on the heap; open descriptors are bounded. One thread per walk. */
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <uthash.h>

#include "base/log.h"
#include "base/str.h"
#include "base/sys.h"
#include "storage/internal.h"
#include "storage/pack.h"

#define OPEN_LEVELS 32 /* deepest directories that stay open */
#define MAX_XATTRS 1024
#define XATTR_BUFFER (64u << 10)
#define STATX_WANTED (STATX_BASIC_STATS | STATX_MNT_ID)
#define WH_PREFIX ".wh."
#define MQUEUE_MAGIC_ 0x19800202

struct link { /* a file with several names, and the first of them */
	struct cs_file_key key;
	char *name;
	UT_hash_handle hh;
};
struct level {
	int fd; /* -EBADF: closed for the sake of deeper ones */
	uint64_t dev, ino;
	struct cs_str names; /* of its entries, each with its NUL */
	size_t *order;       /* offsets into names */
	size_t n, next;
	size_t path_len;     /* of its own path, with the slash at the end */
};
struct pack {
	struct cs_tar_writer *w;
	struct cs_err **err;
	int base;           /* directory that the walk began with */
	struct cs_str path; /* of the current entry: as it is named in the archive */
	size_t prefix_len;  /* what comes before the path below base */
	struct level *levels;
	size_t depth, cap;
	struct link *links;
	bool diff, one_fs;
	bool no_made_times; /* of what an extraction may make by itself: directories, whiteouts */
	bool live, of_root, of_kernel; /* of_: what the walk began with */
	char *const *skip;  /* diff: sorted paths to leave out */
	size_t n_skip;
	uint64_t mnt_id, dev;
	char *xlist;
	struct cs_str xvalues;
	struct cs_tar_xattr xattrs[MAX_XATTRS];
};

/* Of the current entry, below what is packed. */
static const char *path_below(const struct pack *p) { return p->path.buf + CS_MIN(p->prefix_len, p->path.len); }

static int packfail(struct pack *p, int r, const char *what)
{
	/* a failed writer says why by itself: disk full, or the reader has gone */
	if (cs_tar_error(p->w))
		return cs_fail(p->err, cs_storage_code(-cs_tar_error(p->w)), -cs_tar_error(p->w), "write the archive");
	return cs_fail(p->err, cs_storage_code(-r), -r, "%s \"%.200s\"", what, path_below(p));
}

static bool gone(int e) { return e == ENOENT || e == ENOTDIR || e == ELOOP || e == ESTALE; }

static uint64_t dev_of(const struct statx *st) { return (uint64_t)makedev(st->stx_dev_major, st->stx_dev_minor); }

static void proc_path(int fd, char buf[40]) { (void)snprintf(buf, 40, "/proc/self/fd/%d", fd); }

/* ---- extended attributes ---- */

static int by_name(const void *a, const void *b) { return strcmp(((const struct cs_tar_xattr *)a)->name, ((const struct cs_tar_xattr *)b)->name); }

struct marks { /* what overlayfs noted on an entry of an upper directory */
	bool opaque, whiteout;
};

static int overlay_mark(struct pack *p, const char *file, const char *name, struct marks *m)
{
	char v = 0;

	if (strcmp(name, "trusted.overlay.redirect") == 0 || strcmp(name, "trusted.overlay.metacopy") == 0)
		return cs_fail(p->err, CS_ERR_INTERNAL, 0, "\"%.200s\" has the attribute %s: a layer cannot be made of a directory that overlayfs wrote with redirect_dir or metacopy",
			       p->path.buf + p->prefix_len, name);
	if (strcmp(name, "trusted.overlay.whiteout") == 0)
		m->whiteout = true;
	if (strcmp(name, "trusted.overlay.opaque") == 0)
		m->opaque = getxattr(file, name, &v, 1) == 1 && v == 'y';
	return 0;
}

/* Fills p->xattrs. file: /proc/self/fd/N of a descriptor that holds the object, so nothing foreign is resolved. */
static int read_xattrs(struct pack *p, const char *file, struct cs_tar_entry *e, struct marks *m)
{
	ssize_t len = listxattr(file, p->xlist, XATTR_BUFFER);
	size_t n = 0;

	e->xattrs = p->xattrs;
	e->n_xattrs = 0;
	if (len < 0)
		return errno == EOPNOTSUPP || gone(errno) || errno == EACCES ? 0 : packfail(p, -errno, "list attributes of");
	cs_str_clear(&p->xvalues);
	for (const char *name = p->xlist; name < p->xlist + len; name += strlen(name) + 1) {
		if (p->diff && strncmp(name, "trusted.overlay.", 16) == 0 && overlay_mark(p, file, name, m) < 0)
			return -1;
		if (!cs_xattr_travels(name))
			continue;
		if (strchr(name, '=')) { /* pax has no way to say it */
			cs_warn("storage", "attribute %.100s of \"%.200s\" is not packed: its name has a \"=\"", name, path_below(p));
			continue;
		}
		if (n == MAX_XATTRS)
			return packfail(p, -E2BIG, "too many attributes on");
		char *v = cs_str_reserve(&p->xvalues, XATTR_BUFFER);
		ssize_t k = v ? getxattr(file, name, v, XATTR_BUFFER) : -1;
		if (!v)
			return packfail(p, -E2BIG, "too many attributes on");
		if (k < 0 && (errno == ENODATA || errno == EOPNOTSUPP))
			continue;
		if (k < 0)
			return packfail(p, -errno, "read attributes of");
		p->xattrs[n++] = (struct cs_tar_xattr){.name = name, .value = (void *)(uintptr_t)p->xvalues.len, .len = (size_t)k};
		p->xvalues.len += (size_t)k;
	}
	for (size_t i = 0; i < n; i++) /* the buffer may have moved meanwhile */
		p->xattrs[i].value = p->xvalues.buf + (uintptr_t)p->xattrs[i].value;
	qsort(p->xattrs, n, sizeof(*p->xattrs), by_name);
	e->n_xattrs = n;
	return 0;
}

/* ---- entries ---- */

static void describe(struct pack *p, const struct statx *st, struct cs_tar_entry *e)
{
	*e = (struct cs_tar_entry){
		.name = p->path.buf,
		.mode = st->stx_mode & 07777,
		.uid = st->stx_uid,
		.gid = st->stx_gid,
		.mtime = {.tv_sec = (time_t)st->stx_mtime.tv_sec, .tv_nsec = (long)st->stx_mtime.tv_nsec},
	};
	bool whiteout = S_ISCHR(st->stx_mode) && st->stx_rdev_major == 0 && st->stx_rdev_minor == 0;
	if (p->no_made_times && (S_ISDIR(st->stx_mode) || whiteout))
		e->mtime = (struct timespec){0};
}

static int too_long(struct pack *p)
{
	return cs_fail(p->err, CS_ERR_INVALID, ENAMETOOLONG, "\"%.200s…\": paths of more than %d bytes do not fit into an archive", p->path.buf, PATH_MAX - 1);
}

static int put_header(struct pack *p, const struct cs_tar_entry *e)
{
	int r = cs_tar_header(p->w, e);
	return r < 0 ? packfail(p, r, r == -E2BIG ? "attributes do not fit into an archive:" : "pack") : 0;
}

/* Writes a hard link when the file was there under another name: 1, else 0 and it is remembered. */
static int known_link(struct pack *p, const struct statx *st)
{
	const struct cs_file_key key = cs_file_key(dev_of(st), st->stx_ino);
	struct cs_tar_entry e;
	struct link *l;

	if (st->stx_nlink < 2 || S_ISDIR(st->stx_mode))
		return 0;
	HASH_FIND(hh, p->links, &key, sizeof(key), l);
	if (l) {
		describe(p, st, &e);
		e.type = CS_TAR_LINK;
		e.link = l->name;
		return put_header(p, &e) < 0 ? -1 : 1;
	}
	l = cs_xcalloc(1, sizeof(*l));
	l->key = key;
	l->name = cs_xstrdup(p->path.buf);
	HASH_ADD(hh, p->links, key, sizeof(l->key), l);
	return 0;
}

/* Replaces the last part of the path by ".wh." + itself. */
static int put_whiteout(struct pack *p, const struct statx *st)
{
	struct cs_tar_entry e;
	const char *slash = strrchr(p->path.buf, '/'), *last = slash ? slash + 1 : p->path.buf;
	cs_autofree char *name = cs_xasprintf("%.*s" WH_PREFIX "%s", (int)(last - p->path.buf), p->path.buf, last);

	describe(p, st, &e);
	e.name = name;
	e.type = CS_TAR_FILE;
	e.mode = 0600;
	return put_header(p, &e);
}

/* A mount point while only one file system is wanted: what lies below the mount cannot be seen from here. */
static int put_mount_point(struct pack *p, const struct statx *st)
{
	struct cs_tar_entry e;

	describe(p, st, &e);
	e.type = CS_TAR_FILE;
	return put_header(p, &e);
}

static int put_regular(struct pack *p, int fd, const struct statx *st)
{
	struct cs_tar_entry e;
	struct marks m = {0};
	char proc[40];

	/* Through the descriptor: what is opened is the very file that was looked at, and never a device that took its place. */
	proc_path(fd, proc);
	cs_autofd int file = open(proc, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | O_NOATIME);
	if (file < 0 && errno == EPERM) /* not everywhere are we the owner of all files */
		file = open(proc, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (file < 0)
		return gone(errno) ? 0 : packfail(p, -errno, "open");
	describe(p, st, &e);
	e.type = CS_TAR_FILE;
	proc_path(file, proc);
	if (read_xattrs(p, proc, &e, &m) < 0)
		return -1;
	if (m.whiteout && st->stx_size == 0)
		return put_whiteout(p, st);
	int r = known_link(p, st);
	if (r)
		return r < 0 ? -1 : 0;
	r = cs_pack_file(p->w, &e, file, st);
	return r < 0 ? packfail(p, r, r == -E2BIG ? "attributes do not fit into an archive:" : "read") : 0;
}

static int put_symlink(struct pack *p, int fd, const struct statx *st)
{
	struct cs_tar_entry e;
	char to[PATH_MAX];
	ssize_t n = readlinkat(fd, "", to, sizeof(to));

	if (n < 0)
		return gone(errno) ? 0 : packfail(p, -errno, "read link");
	if ((size_t)n == sizeof(to))
		return packfail(p, -ENAMETOOLONG, "read link");
	to[n] = 0;
	int r = known_link(p, st);
	if (r)
		return r < 0 ? -1 : 0;
	describe(p, st, &e);
	e.type = CS_TAR_SYMLINK;
	e.link = to;
	return put_header(p, &e);
}

static int put_special(struct pack *p, int fd, const struct statx *st)
{
	struct cs_tar_entry e;
	struct marks m = {0};
	char proc[40];

	if (p->diff && S_ISCHR(st->stx_mode) && st->stx_rdev_major == 0 && st->stx_rdev_minor == 0)
		return put_whiteout(p, st);
	int r = known_link(p, st);
	if (r)
		return r < 0 ? -1 : 0;
	describe(p, st, &e);
	e.type = S_ISCHR(st->stx_mode) ? CS_TAR_CHAR : S_ISBLK(st->stx_mode) ? CS_TAR_BLOCKDEV : CS_TAR_FIFO;
	if (e.type != CS_TAR_FIFO) {
		e.dev_major = st->stx_rdev_major;
		e.dev_minor = st->stx_rdev_minor;
	}
	proc_path(fd, proc);
	return read_xattrs(p, proc, &e, &m) < 0 ? -1 : put_header(p, &e);
}

/* ---- the walk ---- */

static int collect(void *ctx, int dir_fd, const struct dirent *d)
{
	struct level *l = ctx;

	(void)dir_fd;
	cs_str_put(&l->names, d->d_name, strlen(d->d_name) + 1);
	l->n++;
	return l->names.failed ? -ENOMEM : 0;
}

static int by_text(const void *a, const void *b, void *names) { return strcmp((const char *)names + *(const size_t *)a, (const char *)names + *(const size_t *)b); }

static void level_done(struct level *l)
{
	cs_close(l->fd);
	cs_str_done(&l->names);
	free(l->order);
}

/* Begins with the entries of a directory, whose path ends in a slash (or is the archive's root). Takes dir. */
static int push(struct pack *p, int dir, const struct statx *st)
{
	if (p->depth == p->cap) {
		p->cap = p->cap ? p->cap * 2 : 16;
		p->levels = cs_xreallocarray(p->levels, p->cap, sizeof(*p->levels));
	}
	struct level *l = &p->levels[p->depth];
	*l = (struct level){.fd = dir, .dev = dev_of(st), .ino = st->stx_ino, .path_len = p->path.len};
	cs_str_init(&l->names, (size_t)1 << 30);
	int r = cs_each_entry(dir, ".", collect, l);
	if (r < 0) {
		level_done(l);
		return gone(-r) ? 0 : packfail(p, r, "read directory");
	}
	l->order = cs_xreallocarray(NULL, l->n + 1, sizeof(*l->order));
	for (size_t i = 0, off = 0; i < l->n; i++, off += strlen(l->names.buf + off) + 1)
		l->order[i] = off;
	if (l->n)
		qsort_r(l->order, l->n, sizeof(*l->order), by_text, l->names.buf);
	p->depth++;
	if (p->depth > OPEN_LEVELS)
		cs_close(TAKE_FD(p->levels[p->depth - 1 - OPEN_LEVELS].fd));
	return 0;
}

/* A directory that was closed on the way down. When something else has its path now, it has been moved away: the rest of it is left out. */
static bool reopen(struct pack *p, struct level *l)
{
	struct statx st;
	const char *below = l->path_len > p->prefix_len ? p->path.buf + p->prefix_len : ".";

	if (l->fd >= 0)
		return true;
	p->path.buf[p->path.len = l->path_len] = 0;
	cs_autofd int fd = sys_openat2(p->base, below, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, CS_RESOLVE_BENEATH_NOLINKS);
	if (fd < 0 || statx(fd, "", AT_EMPTY_PATH, STATX_WANTED, &st) < 0 || st.stx_ino != l->ino || dev_of(&st) != l->dev)
		return false;
	l->fd = TAKE_FD(fd);
	return true;
}

static int put_opaque(struct pack *p, const struct statx *st)
{
	struct cs_tar_entry e;
	cs_autofree char *name = cs_xasprintf("%s" WH_PREFIX WH_PREFIX ".opq", p->path.buf);

	describe(p, st, &e);
	e.name = name;
	e.type = CS_TAR_FILE;
	e.mode &= 0777;
	e.mtime = (struct timespec){0};
	return put_header(p, &e);
}

/* fd: O_PATH. silent: only what is in it. */
static int enter(struct pack *p, int fd, const struct statx *st, bool silent, bool mount_point)
{
	struct cs_tar_entry e;
	struct marks m = {0};
	char proc[40];
	cs_autofd int dir = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	if (dir < 0)
		return gone(errno) ? 0 : packfail(p, -errno, "open directory");
	if (!silent) {
		cs_str_putc(&p->path, '/');
		if (p->path.failed)
			return too_long(p);
		describe(p, st, &e);
		e.type = CS_TAR_DIR;
		proc_path(dir, proc);
		if (read_xattrs(p, proc, &e, &m) < 0 || put_header(p, &e) < 0 || (m.opaque && put_opaque(p, st) < 0))
			return -1;
	}
	return mount_point ? 0 : push(p, TAKE_FD(dir), st);
}

static bool other_mount(const struct pack *p, const struct statx *st)
{
	if (st->stx_mask & STATX_MNT_ID)
		return st->stx_mnt_id != p->mnt_id;
	return S_ISDIR(st->stx_mode) && dev_of(st) != p->dev; /* before Linux 5.8; a file of overlayfs may have a device of its own */
}

bool cs_is_kernel_fs(int fd)
{
	static const unsigned long magics[] = {PROC_SUPER_MAGIC, SYSFS_MAGIC, CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, DEVPTS_SUPER_MAGIC, MQUEUE_MAGIC_,
					       DEBUGFS_MAGIC, TRACEFS_MAGIC, SECURITYFS_MAGIC, BPF_FS_MAGIC, BINFMTFS_MAGIC, PSTOREFS_MAGIC, NSFS_MAGIC};
	struct statfs fs;

	if (fstatfs(fd, &fs) < 0)
		return false;
	for (size_t i = 0; i < CS_ARRAY_SIZE(magics); i++)
		if ((unsigned long)fs.f_type == magics[i])
			return true;
	return false;
}

static bool kernels_mount(const struct pack *p, int fd, const struct statx *st)
{
	if (!S_ISDIR(st->stx_mode) || !(p->of_kernel || other_mount(p, st)))
		return false;
	return (p->of_root && strcmp(path_below(p), "dev") == 0) || cs_is_kernel_fs(fd);
}

static int put_object(struct pack *p, int fd, const struct statx *st)
{
	bool mount_point = (p->one_fs && other_mount(p, st)) || (p->live && kernels_mount(p, fd, st));

	if (S_ISDIR(st->stx_mode))
		return enter(p, fd, st, false, mount_point);
	if (mount_point)
		return put_mount_point(p, st);
	switch (st->stx_mode & S_IFMT) {
	case S_IFREG:
		return put_regular(p, fd, st);
	case S_IFLNK:
		return put_symlink(p, fd, st);
	case S_IFCHR:
	case S_IFBLK:
	case S_IFIFO:
		return put_special(p, fd, st);
	default: /* a socket means nothing without its owner */
		return 0;
	}
}

static int by_skip(const void *key, const void *elem) { return strcmp(key, *(char *const *)elem); }

/* The path is that of the directory; name is one of its entries. */
static int visit(struct pack *p, const struct level *l, const char *name)
{
	struct statx st;

	p->path.buf[p->path.len = l->path_len] = 0;
	cs_str_puts(&p->path, name);
	if (p->path.failed)
		return too_long(p);
	if (p->n_skip && bsearch(p->path.buf, p->skip, p->n_skip, sizeof(*p->skip), by_skip))
		return 0;
	cs_autofd int fd = openat(l->fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return gone(errno) ? 0 : packfail(p, -errno, "open");
	if (statx(fd, "", AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW, STATX_WANTED, &st) < 0)
		return gone(errno) ? 0 : packfail(p, -errno, "look at");
	if (p->diff && strncmp(name, WH_PREFIX, strlen(WH_PREFIX)) == 0)
		return cs_fail(p->err, CS_ERR_INVALID, 0, "\"%.200s\": names that begin with \"" WH_PREFIX "\" are deletions in a layer: rename or remove it", p->path.buf);
	return put_object(p, fd, &st);
}

static int walk(struct pack *p)
{
	while (p->depth) {
		struct level *l = &p->levels[p->depth - 1];
		if (l->next == l->n || !reopen(p, l)) {
			level_done(l);
			p->depth--;
			continue;
		}
		if (visit(p, l, l->names.buf + l->order[l->next++]) < 0)
			return -1;
	}
	return 0;
}

static struct pack *pack_new(cs_write_fn write, void *ctx, struct cs_err **err)
{
	struct pack *p = cs_xcalloc(1, sizeof(*p));

	p->w = cs_tar_new(write, ctx);
	p->err = err;
	p->base = -EBADF;
	p->xlist = cs_xmalloc(XATTR_BUFFER);
	cs_str_init(&p->path, PATH_MAX);
	(void)cs_str_reserve(&p->path, PATH_MAX - 1);
	cs_str_init(&p->xvalues, 4u << 20);
	return p;
}

static void pack_free(struct pack *p)
{
	struct link *l, *next;

	while (p->depth)
		level_done(&p->levels[--p->depth]);
	HASH_ITER(hh, p->links, l, next)
	{
		HASH_DEL(p->links, l);
		free(l->name);
		free(l);
	}
	cs_close(p->base);
	cs_tar_free(p->w);
	cs_str_done(&p->path);
	cs_str_done(&p->xvalues);
	free(p->levels);
	free(p->xlist);
	free(p);
}

/* fd: O_PATH of what is packed; as: its name, "" for a directory whose content is the archive. */
static int pack_base(struct pack *p, int fd, const char *as, struct cs_err **err)
{
	struct statx st;

	if (statx(fd, "", AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW, STATX_WANTED, &st) < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "look at the tree to pack");
	p->mnt_id = st.stx_mnt_id;
	p->dev = dev_of(&st);
	bool of_root = strcmp(as, "/") == 0; /* "/", "/etc/", and not "//" */
	cs_str_puts(&p->path, of_root ? "" : as);
	if (p->path.failed)
		return cs_fail(err, CS_ERR_INVALID, ENAMETOOLONG, "name in the archive: \"%.100s…\"", as);
	if (!*as && !S_ISDIR(st.stx_mode))
		return cs_fail(err, CS_ERR_INVALID, ENOTDIR, "only a directory can be packed without a name");
	p->prefix_len = *as && S_ISDIR(st.stx_mode) ? p->path.len + 1 : 0;
	if (S_ISDIR(st.stx_mode)) {
		p->base = fcntl(fd, F_DUPFD_CLOEXEC, 3);
		if (p->base < 0)
			return cs_fail(err, CS_ERR_INTERNAL, errno, "duplicate a descriptor");
	}
	if ((*as ? put_object(p, fd, &st) : enter(p, fd, &st, true, false)) < 0 || walk(p) < 0)
		return -1;
	return cs_tar_end(p->w) < 0 ? packfail(p, 0, "pack") : 0;
}

int cs_tar_tree(int root_fd, const struct cs_tar_tree *t, cs_write_fn write, void *ctx, struct cs_err **err)
{
	cs_autofd int fd = !t->path ? fcntl(root_fd, F_DUPFD_CLOEXEC, 3) :
				       sys_openat2(root_fd, *t->path ? t->path : ".", O_PATH | O_NOFOLLOW, 0, CS_RESOLVE_IN_ROOT);

	if (fd < 0 && !t->path)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "duplicate a descriptor");
	if (fd < 0)
		return cs_fail(err, gone(-fd) ? CS_ERR_NOT_FOUND : CS_ERR_INTERNAL, -fd, "open \"%.200s\"", t->path);
	struct pack *p = pack_new(write, ctx, err);
	p->one_fs = t->one_file_system;
	p->live = t->live;
	p->of_root = cs_streq(t->as, "/");
	p->of_kernel = t->live && cs_is_kernel_fs(fd);
	int r = pack_base(p, fd, t->as ? t->as : "", err);
	pack_free(p);
	return r;
}

int cs_tar_diff(int upper_fd, char *const *skip, cs_write_fn write, void *ctx, struct cs_err **err)
{
	struct pack *p = pack_new(write, ctx, err);

	p->diff = true;
	p->skip = skip;
	p->n_skip = cs_strv_len(skip);
	int r = pack_base(p, upper_fd, "", err);
	pack_free(p);
	return r;
}

static int into_hash(void *ctx, const void *data, size_t len)
{
	cs_hash_update(ctx, data, len);
	return 0;
}

int cs_tree_digest(int layer_fd, struct cs_digest *ret, struct cs_err **err)
{
	struct cs_hash *h = cs_hash_new();
	struct pack *p = pack_new(into_hash, h, err);

	p->diff = p->no_made_times = true;
	int r = pack_base(p, layer_fd, "", err);
	pack_free(p);
	cs_hash_done(h, r < 0 ? NULL : ret);
	return r;
}
