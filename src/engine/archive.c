/* SPDX-License-Identifier: Apache-2.0
 *
 * Files of containers: what a path is (HEAD), a tar of it (GET), a tar extracted there (PUT). Paths are the container's: absolute or not they count
 * from its root, links lead inside of it, and the kernel alone resolves them (base/path.h, storage). Any thread. */
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/base64.h"
#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "base/num.h"
#include "base/path.h"
#include "base/sys.h"
#include "base/time.h"
#include "engine/events.h"
#include "engine/files.h"
#include "engine/producer.h"

#define QUEUE (2u << 20)
#define PASSWD_MAX (4u << 20)
#define STEP_MS 200
#define STALL_NS (10 * CS_NS_PER_SEC) /* of a client that holds up a start */

/* ---- paths ---- */

/* "a//b/../c/." to "/a/c/.": clean, but what says "the directory itself" at the end stays. Caller frees. */
static char *absolute(const char *path)
{
	cs_autofree char *joined = cs_xasprintf("/%s", path);
	char *clean = cs_path_clean(joined);
	size_t n = strlen(path), end = n;

	while (end > 0 && path[end - 1] == '/')
		end--;
	bool dot = end > 0 && path[end - 1] == '.' && (end == 1 || path[end - 2] == '/'), slash = end < n;
	if (!dot && !(slash && strcmp(clean, "/") != 0))
		return clean;
	char *r = cs_xasprintf("%s%s%s", clean, strcmp(clean, "/") == 0 ? "" : "/", dot ? "." : "");
	free(clean);
	return r;
}

/* As Go's path.Base of such a path. Caller frees. */
static char *base_name(const char *abs)
{
	size_t end = strlen(abs);

	while (end > 1 && abs[end - 1] == '/')
		end--;
	size_t start = end;
	while (start > 0 && abs[start - 1] != '/')
		start--;
	return start == end ? cs_xstrdup("/") : cs_xstrndup(abs + start, end - start);
}

static int no_file(const char *ref, const char *path, struct cs_err **err)
{
	return cs_fail(err, CS_ERR_NOT_FOUND, 0, "Could not find the file %s in container %s", path, ref);
}

static int path_error(int r, const char *ref, const char *path, struct cs_err **err)
{
	if (r == -ENOENT)
		return no_file(ref, path, err);
	if (r == -ENOTDIR || r == -ELOOP)
		return cs_fail(err, CS_ERR_INVALID, 0, "lstat %s: %s", path, r == -ELOOP ? "too many links" : "not a directory");
	return cs_fail(err, r == -ENAMETOOLONG ? CS_ERR_INVALID : CS_ERR_INTERNAL, -r, "lstat %s", path);
}

static bool is_mount_root(int fd)
{
	struct statx st;

	return statx(fd, "", AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &st) == 0 && (st.stx_attributes & STATX_ATTR_MOUNT_ROOT);
}

/* O_PATH, the last component not followed; of a kernel's file system the mount point alone. -errno. */
static int open_path(const struct cs_files *f, const char *abs)
{
	const char *in;
	int root = cs_files_at(f, abs, &in);

	if (root < 0)
		return -ENOENT;
	cs_autofd int fd = cs_open_in_root(root, in, O_PATH | O_NOFOLLOW, 0);
	if (fd >= 0 && f->running && cs_is_kernel_fs(fd) && !is_mount_root(fd))
		return -ENOENT;
	return fd < 0 ? fd : TAKE_FD(fd);
}

/* ---- what a path is ---- */

/* Go's os.FileMode. */
static uint32_t go_mode(mode_t m)
{
	uint32_t r = m & 0777;

	r |= S_ISDIR(m) ? 1u << 31 : S_ISLNK(m) ? 1u << 27 : S_ISFIFO(m) ? 1u << 25 : S_ISSOCK(m) ? 1u << 24 : 0;
	if (S_ISBLK(m) || S_ISCHR(m))
		r |= 1u << 26 | (S_ISCHR(m) ? 1u << 21 : 0);
	return r | (m & S_ISUID ? 1u << 23 : 0) | (m & S_ISGID ? 1u << 22 : 0) | (m & S_ISVTX ? 1u << 20 : 0);
}

static int put_stat(const struct cs_files *f, const char *abs, const struct stat *st, const char *ref, char **ret, struct cs_err **err)
{
	cs_autofree char *name = base_name(abs), *target = NULL;
	char mtime[CS_TIME_BUF];

	if (S_ISLNK(st->st_mode)) {
		const char *in;
		int root = cs_files_at(f, abs, &in);
		target = root < 0 ? NULL : cs_follow_in_root(root, in);
		if (!target)
			return path_error(-ELOOP, ref, abs, err);
	}
	(void)cs_time_format((int64_t)st->st_mtim.tv_sec * CS_NS_PER_SEC + st->st_mtim.tv_nsec, mtime);
	cs_autostr struct cs_str json = CS_STR_INIT(65536);
	cs_str_putc(&json, '{');
	cs_json_put_kstr(&json, "name", name);
	cs_json_put_ki64(&json, "size", st->st_size);
	cs_json_put_ki64(&json, "mode", go_mode(st->st_mode));
	cs_json_put_kstr(&json, "mtime", mtime);
	cs_json_put_kstr(&json, "linkTarget", target ? target : "");
	cs_str_putc(&json, '}');
	if (json.failed)
		return path_error(-ENAMETOOLONG, ref, abs, err);
	*ret = cs_base64_encode(json.buf, json.len, false);
	return 0;
}

/* A descriptor of it, O_PATH. */
static int stat_path(const struct cs_files *f, const char *ref, const char *path, const char *abs, struct stat *st, char **ret, struct cs_err **err)
{
	cs_autofd int fd = open_path(f, abs);

	if (fd < 0)
		return path_error(fd, ref, path, err);
	if (fstat(fd, st) < 0)
		return path_error(-errno, ref, path, err);
	return put_stat(f, abs, st, ref, ret, err) < 0 ? -1 : TAKE_FD(fd);
}

/* The mount that holds a resolved path, or NULL. c->lock held. */
static const struct cs_mount_point *mount_of(struct cs_container *c, const char *real)
{
	const struct cs_mount_point *best = NULL;
	size_t best_len = 0;

	for (size_t i = 0; i < c->n_mounts; i++) {
		const char *d = c->mounts[i].destination;
		size_t n = strlen(d);
		if (n > best_len && strncmp(real, d, n) == 0 && (real[n] == 0 || real[n] == '/')) {
			best = &c->mounts[i];
			best_len = n;
		}
	}
	return best;
}

/* /dev/shm is there in a container of dockerd that does not run, empty, in a layer of dockerd's own; what is copied there stays, hidden while
 * it runs. We make it for who asks: few ever do, and each start would pay for it. */
#define SHM "/dev/shm"

static bool in_shm(const char *abs)
{
	const char *rest = cs_prefix(abs, SHM);

	return rest && (*rest == 0 || *rest == '/');
}

/* f: to be written, not running. Best effort: whoever looks for it tells that it is missing. */
static void make_shm(const struct cs_files *f)
{
	int root = cs_root_fd(f->root);
	CS_GUARD(&f->c->lock);
	const struct cs_mount_point *m = mount_of(f->c, SHM);

	if (m && !cs_streq(m->type, "tmpfs"))
		return; /* the user's */
	if (mkdirat(root, "dev", 0755) < 0 && errno != EEXIST)
		return;
	cs_autofd int dev = cs_open_in_root(root, "/dev", O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
	if (dev >= 0)
		(void)mkdirat(dev, "shm", 0755);
}

/* abs: what it is opened for. */
static int begin(struct cs_engine *e, const char *ref, const char *abs, bool write, struct cs_files *f, struct cs_err **err)
{
	cs_autocontainer struct cs_container *c = NULL;

	if (cs_container_get(e, ref, &c, err) < 0 || cs_files_open(c, write, f, err) < 0)
		return -1;
	if (f->running || !in_shm(abs))
		return 0;
	if (!write) {
		cs_autofd int there = open_path(f, SHM);
		if (there >= 0)
			return 0;
		cs_files_close(f);
		if (cs_files_open(c, true, f, err) < 0)
			return -1;
	}
	if (!f->running)
		make_shm(f);
	if (write)
		return 0;
	cs_files_close(f);
	return cs_files_open(c, false, f, err);
}

#define autofiles cs_auto(cs_files_close)

int cs_container_stat_path(struct cs_engine *e, const char *ref, const char *path, char **ret, struct cs_err **err)
{
	autofiles struct cs_files f = {.fd = -EBADF};
	cs_autofree char *abs = absolute(path);
	struct stat st = {0};

	if (begin(e, ref, abs, false, &f, err) < 0)
		return -1;
	cs_autofd int fd = stat_path(&f, ref, path, abs, &st, ret, err);
	return fd < 0 ? -1 : 0;
}

/* ---- out ---- */

struct get {
	struct cs_files f;
	int fd; /* of what is packed: what the client was told about */
	char *abs, *as;
};

static int get_write(void *ctx, const void *data, size_t len) { return cs_queue_write(((struct cs_producer *)ctx)->queue, data, len); }

static int get_main(struct cs_producer *p)
{
	struct get *g = p->ctx;
	const struct cs_tar_tree t = {.as = g->as, .live = g->f.running};
	cs_autoerr struct cs_err *err = NULL;

	if (cs_tar_tree(g->fd, &t, get_write, p, &err) == 0)
		return 0;
	if (atomic_load(&p->cancelled))
		return -EPIPE;
	cs_autofree char *text = cs_err_text(err);
	cs_logk(CS_LOG_ERROR, "engine", "container", g->f.c->id, "copy %s out: %s", g->abs, text);
	return -EIO;
}

static void get_done(void *ctx)
{
	struct get *g = ctx;

	cs_close(g->fd); /* before the mounts it is on */
	cs_files_close(&g->f);
	free(g->abs);
	free(g->as);
	free(g);
}

int cs_container_archive_path(struct cs_engine *e, const char *ref, const char *path, char **ret_stat, struct cs_stream **ret, struct cs_err **err)
{
	autofiles struct cs_files f = {.fd = -EBADF};
	cs_autofree char *abs = absolute(path), *stat = NULL;
	struct stat st = {0};

	if (begin(e, ref, abs, false, &f, err) < 0)
		return -1;
	cs_autofd int fd = stat_path(&f, ref, path, abs, &st, &stat, err);
	if (fd < 0)
		return -1;
	if (S_ISSOCK(st.st_mode))
		return cs_fail(err, CS_ERR_INVALID, 0, "%s is a socket, which cannot be copied", path);
	struct get *g = cs_xcalloc(1, sizeof(*g));
	struct cs_container *c = cs_container_ref(f.c);
	g->f = f;
	g->fd = TAKE_FD(fd);
	f = (struct cs_files){.fd = -EBADF};
	g->as = base_name(abs);
	g->abs = TAKE_PTR(abs);
	int r = cs_producer_start(get_main, g, get_done, QUEUE, ret, err);
	if (r == 0) {
		*ret_stat = TAKE_PTR(stat);
		cs_container_event(c, "archive-path", NULL);
	}
	cs_container_unref(c);
	return r;
}

/* ---- in: who may ---- */

static int check_writable(const struct cs_files *f, int dir, const char *real, struct cs_err **err)
{
	struct cs_container *c = f->c;
	struct statvfs fs;
	CS_GUARD(&c->lock);
	const struct cs_mount_point *m = mount_of(c, real);
	bool kernel_ro = f->running && fstatvfs(dir, &fs) == 0 && (fs.f_flag & ST_RDONLY);

	if (m && (!m->rw || kernel_ro))
		return cs_fail(err, CS_ERR_DENIED, 0, "mounted volume is marked read-only");
	/* while it runs the kernel knows it better: a tmpfs of a read-only container can be written */
	if (!m && (f->running ? kernel_ro : c->host->readonly_rootfs))
		return cs_fail(err, CS_ERR_DENIED, 0, "container rootfs is marked read-only");
	return 0;
}

/* ---- in: for whom ---- */

static int read_db(int root, const char *path, struct cs_str *out)
{
	struct stat st;
	char proc[32];
	/* a container may have put anything there: a FIFO must not hold us, and some devices do something because they are opened */
	cs_autofd int there = cs_open_in_root(root, path, O_PATH, 0);

	if (there < 0)
		return there;
	if (fstat(there, &st) < 0 || !S_ISREG(st.st_mode))
		return -EINVAL;
	(void)snprintf(proc, sizeof(proc), "/proc/self/fd/%d", there);
	cs_autofd int fd = open(proc, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : cs_read_fd(fd, out);
}

/* The line of a name or number in passwd or group; its fields in f. */
static bool find_line(char *text, const char *who, char *f[4])
{
	for (char *line = text, *next; line && *line; line = next) {
		next = strchr(line, '\n');
		if (next)
			*next++ = 0;
		char *p = line;
		size_t n = 0;
		while (n < 4 && p) {
			f[n++] = p;
			p = strchr(p, ':');
			if (p)
				*p++ = 0;
		}
		if (n >= 3 && (strcmp(f[0], who) == 0 || strcmp(f[2], who) == 0)) {
			if (n == 3)
				f[3] = f[2];
			return true;
		}
	}
	return false;
}

static bool number(const char *s, uint32_t *ret)
{
	uint64_t v;

	if (!cs_parse_u64(s, 0, UINT32_MAX - 1, &v))
		return false;
	*ret = (uint32_t)v;
	return true;
}

/* Config.User ("name", "1000", "name:group") by the container's own files. */
static int owner(int root, const char *user, struct cs_tar_into *t, struct cs_err **err)
{
	cs_autostr struct cs_str passwd = CS_STR_INIT(PASSWD_MAX), group = CS_STR_INIT(PASSWD_MAX);
	cs_autofree char *name = cs_xstrndup(user, strcspn(user, ":"));
	const char *colon = strchr(user, ':');
	char *f[4];

	if (cs_empty(name)) {
		t->uid = t->gid = 0;
	} else if (read_db(root, "/etc/passwd", &passwd) >= 0 && passwd.buf && find_line(passwd.buf, name, f)) {
		if (!number(f[2], &t->uid) || !number(f[3], &t->gid))
			return cs_fail(err, CS_ERR_INVALID, 0, "user %s has no valid number in the container's passwd file", name);
	} else if (number(name, &t->uid)) {
		t->gid = 0;
	} else {
		return cs_fail(err, CS_ERR_INVALID, 0, "unable to find user %s: no matching entries in passwd file", name);
	}
	if (colon && colon[1]) {
		if (read_db(root, "/etc/group", &group) >= 0 && group.buf && find_line(group.buf, colon + 1, f)) {
			if (!number(f[2], &t->gid))
				return cs_fail(err, CS_ERR_INVALID, 0, "group %s has no valid number in the container's group file", colon + 1);
		} else if (!number(colon + 1, &t->gid)) {
			return cs_fail(err, CS_ERR_INVALID, 0, "unable to find group %s: no matching entries in group file", colon + 1);
		}
	}
	t->chown = true;
	return 0;
}

/* ---- in ---- */

struct body { /* of the request, until somebody wants the container more */
	const struct cs_extract *x;
	struct cs_container *c;
	int64_t last; /* when something came */
};

/* Waits for the client in small steps: a removal ends the copy at once, a start when the client does not get ahead. */
static ssize_t body_next(void *ctx, const void **ret)
{
	struct body *b = ctx;
	bool removal;

	for (;;) {
		ssize_t n = b->x->next(b->x->ctx, ret, STEP_MS);
		bool wanted = cs_files_wanted(b->c, &removal);
		int64_t now = cs_monotonic_ns();
		if (wanted && (removal || (n == -EAGAIN && now - b->last > STALL_NS)))
			return -ECANCELED;
		if (n == -EAGAIN)
			continue;
		b->last = now;
		return n;
	}
}

/* A directory, all links followed: its descriptor and where it is. */
static int open_dir(const struct cs_files *f, const char *ref, const struct cs_extract *x, char **ret_real, int *ret_root, char **ret_in, struct cs_err **err)
{
	cs_autofree char *abs = absolute(x->path);
	const char *in;
	int root = cs_files_at(f, abs, &in);

	if (root < 0)
		return no_file(ref, x->path, err);
	cs_autofd int fd = cs_open_in_root(root, in, O_PATH, 0);
	struct stat st;
	if (fd == -ENOTDIR)
		return cs_fail(err, CS_ERR_INVALID, 0, "extraction point is not a directory");
	if (fd < 0)
		return path_error(fd, ref, x->path, err);
	if (fstat(fd, &st) < 0 || !S_ISDIR(st.st_mode))
		return cs_fail(err, CS_ERR_INVALID, 0, "extraction point is not a directory");
	if (f->running && cs_is_kernel_fs(fd))
		return cs_fail(err, CS_ERR_DENIED, 0, "%s belongs to the kernel: nothing can be copied there", x->path);
	char *real = cs_follow_in_root(root, in);
	if (!real) {
		(void)path_error(-ELOOP, ref, x->path, err);
		return -1;
	}
	/* a volume beside the root: what is above it has no links */
	*ret_in = cs_xstrdup(real);
	if (in != abs)
		real = (free(real), cs_path_clean(abs));
	*ret_real = real;
	*ret_root = root;
	return TAKE_FD(fd);
}

int cs_container_extract(struct cs_engine *e, const char *ref, const struct cs_extract *x, struct cs_err **err)
{
	autofiles struct cs_files f = {.fd = -EBADF};
	cs_autofree char *real = NULL, *in = NULL, *abs = absolute(x->path);
	int root = -EBADF;

	if (begin(e, ref, abs, true, &f, err) < 0)
		return -1;
	cs_autofd int dir = open_dir(&f, ref, x, &real, &root, &in, err);
	if (dir < 0 || !real || check_writable(&f, dir, real, err) < 0)
		return -1;
	struct body b = {.x = x, .c = f.c, .last = cs_monotonic_ns()};
	struct cs_tar_into t = {.path = in, .no_overwrite_dir_nondir = x->no_overwrite_dir_nondir, .next = body_next, .ctx = &b};
	const char *user = f.c->config->user;
	if (x->copy_uid_gid && !cs_empty(user) && owner(f.running ? f.fd : cs_root_fd(f.root), user, &t, err) < 0)
		return -1;
	if (cs_tar_into(root, &t, err) < 0)
		return -1;
	cs_container_event(f.c, "extract-to-dir", NULL);
	return 0;
}
