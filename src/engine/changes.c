/* SPDX-License-Identifier: Apache-2.0
 *
 * GET /containers/x/changes: the writable layer against the image's layers, by descriptors, of a running or stopped container. Kind 0
 * modified, 1 added, 2 deleted. Any thread. */
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "base/sys.h"
#include "engine/image_internal.h"

#define MAX_DEPTH 512

struct change {
	char *path;
	int kind;
};
struct diff {
	int *lowers; /* O_PATH-like directories, top first */
	size_t n_lowers;
	struct change *v;
	size_t n;
	char **own;    /* mount points of our own, met so far */
	size_t hidden; /* and how many of them */
};

static void add(struct diff *d, const char *path, int kind)
{
	d->v = cs_xreallocarray(d->v, d->n + 1, sizeof(*d->v));
	d->v[d->n++] = (struct change){cs_xstrdup(path), kind};
}

static bool opaque_dir(int fd)
{
	char v;
	return fgetxattr(fd, "trusted.overlay.opaque", &v, 1) == 1 && v == 'y';
}

static bool is_whiteout(const struct stat *st) { return S_ISCHR(st->st_mode) && st->st_rdev == 0; }

/* What the image shows at a path: 1 and *ret, or 0. A layer's whiteout, opaque directory, or a non-directory above it hides what is below. */
static int lower_stat(struct diff *d, const char *path, struct stat *ret)
{
	for (size_t i = 0; i < d->n_lowers; i++) {
		int at = d->lowers[i];
		cs_autofree char *work = cs_xstrdup(path + 1);
		bool hidden = false;
		/* each parent in this layer: it may be gone or opaque there */
		for (char *slash = strchr(work, '/'); slash; slash = strchr(slash + 1, '/')) {
			struct stat st;
			*slash = 0;
			cs_autofd int fd = sys_openat2(at, work, O_PATH | O_NOFOLLOW, 0, CS_RESOLVE_BENEATH_NOLINKS);
			if (fd >= 0 && fstat(fd, &st) == 0) {
				if (!S_ISDIR(st.st_mode))
					hidden = true;
				else {
					cs_autofd int dir = sys_openat2(at, work, O_RDONLY | O_DIRECTORY, 0, CS_RESOLVE_BENEATH_NOLINKS);
					if (dir >= 0 && opaque_dir(dir))
						hidden = true;
				}
			}
			*slash = '/';
		}
		cs_autofd int fd = sys_openat2(at, work, O_PATH | O_NOFOLLOW, 0, CS_RESOLVE_BENEATH_NOLINKS);
		if (fd >= 0 && fstat(fd, ret) == 0)
			return is_whiteout(ret) ? 0 : 1;
		if (hidden)
			return 0;
	}
	return 0;
}

/* Places that only exist because the engine mounts something there are no changes of the container's. */
static bool own_mount_point(const char *path, const struct stat *st)
{
	static const char *const files[] = {"/etc/hostname", "/etc/hosts", "/etc/resolv.conf", NULL}, *const dirs[] = {"/dev", "/dev/shm", "/proc", "/sys", NULL};
	const char *const *list = S_ISREG(st->st_mode) && st->st_size == 0 ? files : S_ISDIR(st->st_mode) ? dirs : NULL;

	for (; list && *list; list++)
		if (strcmp(path, *list) == 0)
			return true;
	return false;
}

/* What the image has in a directory that the container has replaced: gone, where the container has nothing of that name. Once for each layer. */
static void add_hidden(struct diff *d, int dir_fd, const char *path)
{
	for (size_t i = 0; i < d->n_lowers; i++) {
		int fd = sys_openat2(d->lowers[i], path + 1, O_RDONLY | O_DIRECTORY, 0, CS_RESOLVE_BENEATH_NOLINKS);
		DIR *dir = fd < 0 ? NULL : fdopendir(fd);
		struct stat st;
		if (!dir)
			cs_close(fd);
		for (const struct dirent *e; dir && (e = readdir(dir));) {
			if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 || fstatat(dir_fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
				continue;
			cs_autofree char *sub = cs_xasprintf("%s/%s", path, e->d_name);
			if (lower_stat(d, sub, &st) == 1)
				add(d, sub, 2);
		}
		if (dir)
			(void)closedir(dir);
	}
}

static void hide(struct diff *d, const char *path)
{
	d->hidden++;
	cs_strv_push(&d->own, path + 1);
}

static bool is_empty(int dir_fd)
{
	int dup = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = dup < 0 ? NULL : fdopendir(dup);
	const struct dirent *e = NULL;

	if (!dir)
		cs_close(dup);
	while (dir && (e = readdir(dir)) && (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0))
		;
	if (dir)
		(void)closedir(dir);
	return !e;
}

static bool same_owner(const struct stat *a, const struct stat *b) { return a->st_mode == b->st_mode && a->st_uid == b->st_uid && a->st_gid == b->st_gid; }

/* A directory is copied up whole when something in it changes: that alone is no change of its own, but dockerd lists the parents of changes
 * as modified, too. fresh: the image has no such directory. opaque: it has, but nothing in there is from it. */
static int walk(struct diff *d, int dir_fd, const char *path, bool fresh, bool opaque, unsigned depth)
{
	int dup = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = dup < 0 ? NULL : fdopendir(dup);
	const struct dirent *e;

	if (!dir) {
		cs_close(dup);
		return 0; /* removed meanwhile by the running container */
	}
	while ((e = readdir(dir))) {
		struct stat st, low;
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 || fstatat(dir_fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		cs_autofree char *sub = cs_xasprintf("%s/%s", path, e->d_name);
		bool below = !fresh && lower_stat(d, sub, &low) == 1;
		if (is_whiteout(&st)) {
			if (below)
				add(d, sub, 2);
			continue;
		}
		bool own = !below && own_mount_point(sub, &st);
		cs_autofd int fd = S_ISDIR(st.st_mode) ? openat(dir_fd, e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW) : -EBADF;
		if (own && (fd < 0 || is_empty(fd))) {
			hide(d, sub);
			continue;
		}
		bool hides = fd >= 0 && (opaque || opaque_dir(fd)), dirs = below && S_ISDIR(low.st_mode);
		add(d, sub, below || own ? 0 : 1); /* what was copied into a mount point; in dockerd its own layer has those */
		size_t seen = d->n, hidden = d->hidden;
		if (fd >= 0 && depth < MAX_DEPTH)
			(void)walk(d, fd, sub, fresh || !dirs, hides, depth + 1);
		if (hides && dirs)
			add_hidden(d, fd, sub);
		if ((own || (below && !hides && same_owner(&st, &low))) && d->n == seen && d->hidden > hidden) {
			free(d->v[--d->n].path); /* it was touched only for a mount point */
			hide(d, sub);
		}
	}
	(void)closedir(dir);
	return 0;
}

static int by_path(const void *a, const void *b) { return strcmp(((const struct change *)a)->path, ((const struct change *)b)->path); }

static int open_lowers(struct cs_engine *e, const char *id, struct diff *d, struct cs_err **err)
{
	cs_autostrv char **ids = NULL;
	struct cs_digest chain;

	if (cs_snapshot_layers(e, id, NULL, &ids, err) < 0)
		return -1;
	d->lowers = cs_xcalloc(cs_strv_len(ids) + 1, sizeof(int));
	for (char **i = ids; *i; i++) {
		if (!cs_digest_from(*i, &chain) || cs_layer_open(e->images->storage, &chain, &d->lowers[d->n_lowers], err) < 0)
			return cs_fail(err, CS_ERR_INTERNAL, 0, "layer %s", *i);
		d->n_lowers++;
	}
	return 0;
}

static void diff_done(struct diff *d)
{
	for (size_t i = 0; i < d->n; i++)
		free(d->v[i].path);
	free(d->v);
	for (size_t i = 0; i < d->n_lowers; i++)
		cs_close(d->lowers[i]);
	free(d->lowers);
	cs_strv_free(d->own);
}

struct walk_job {
	struct diff *d;
	int upper, result;
};

static void *walk_main(void *arg)
{
	struct walk_job *j = arg;

	j->result = walk(j->d, j->upper, "", false, false, 0);
	return NULL;
}

/* A container makes its directories as deep as it likes, and a request's thread has little stack: the walk gets one that MAX_DEPTH fits into. */
static int walk_apart(struct diff *d, int upper, struct cs_err **err)
{
	struct walk_job j = {.d = d, .upper = upper};
	pthread_attr_t attr;
	pthread_t t;

	(void)pthread_attr_init(&attr);
	(void)pthread_attr_setstacksize(&attr, MAX_DEPTH * 4096);
	int r = pthread_create(&t, &attr, walk_main, &j);
	(void)pthread_attr_destroy(&attr);
	if (r)
		return cs_fail(err, CS_ERR_INTERNAL, r, "start a thread");
	(void)pthread_join(t, NULL);
	return j.result;
}

static int find_changes(struct cs_engine *e, const char *id, struct diff *d, struct cs_err **err)
{
	cs_autofd int upper = -EBADF;

	if (cs_snap_open_upper(e->images->storage, id, &upper, err) < 0 || open_lowers(e, id, d, err) < 0)
		return -1;
	return walk_apart(d, upper, err);
}

int cs_container_changes(struct cs_engine *e, const char *ref, struct cs_str *out, struct cs_err **err)
{
	cs_autocontainer struct cs_container *c = NULL;
	cs_auto(diff_done) struct diff d = {0};

	if (cs_container_get(e, ref, &c, err) < 0 || find_changes(e, c->id, &d, err) < 0)
		return -1;
	if (d.n)
		qsort(d.v, d.n, sizeof(*d.v), by_path);
	cs_str_puts(out, d.n ? "[" : "null");
	for (size_t i = 0; i < d.n; i++) {
		if (i && strcmp(d.v[i].path, d.v[i - 1].path) == 0)
			continue;
		cs_str_puts(out, i ? ",{" : "{");
		cs_json_put_kstr(out, "Path", d.v[i].path);
		cs_json_put_ki64(out, "Kind", d.v[i].kind);
		cs_str_puts(out, "}");
	}
	if (d.n)
		cs_str_puts(out, "]");
	return out->failed ? cs_fail(err, CS_ERR_INTERNAL, ENOMEM, "changes of container %s", c->id) : 0;
}

int cs_changes_own(struct cs_container *c, char ***ret, struct cs_err **err)
{
	cs_auto(diff_done) struct diff d = {0};

	if (find_changes(c->e, c->id, &d, err) < 0)
		return -1;
	cs_strv_sort(d.own);
	*ret = TAKE_PTR(d.own);
	return 0;
}
