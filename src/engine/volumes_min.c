/* SPDX-License-Identifier: Apache-2.0
 *
 * Volumes until the storage work: plain directories <data-root>/volumes/<name>/_data, used by whoever names them. A new, empty volume gets the
 * image's content at its path; that path is the image's and is resolved with descriptors below each layer only (CVE-2022-23648). */
#include "engine/container.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "base/path.h"
#include "base/sys.h"
#include "base/time.h"
#include "engine/events.h"
#include "engine/store.h"

#define DEPTH_MAX 128
#define OPAQUE "trusted.overlay.opaque"

static char *volume_dir(struct cs_engine *e, const char *name) { return cs_xasprintf("%s/volumes/%s", cs_engine_config(e)->data_root, name); }

static void copy_xattrs(int from, int to)
{
	char names[4096], value[4096];
	ssize_t n = flistxattr(from, names, sizeof(names));

	for (ssize_t at = 0; at < n; at += (ssize_t)strlen(names + at) + 1) {
		if (cs_prefix(names + at, "trusted.overlay."))
			continue;
		ssize_t len = fgetxattr(from, names + at, value, sizeof(value));
		if (len >= 0)
			(void)fsetxattr(to, names + at, value, (size_t)len, 0);
	}
}

static int copy_bytes(int from, int to)
{
	char buf[65536];

	for (;;) {
		ssize_t n = copy_file_range(from, NULL, to, NULL, 1 << 30, 0);
		if (n < 0) {
			n = read(from, buf, sizeof(buf));
			if (n > 0 && cs_write_full(to, buf, (size_t)n) < 0)
				return -1;
		}
		if (n <= 0)
			return (int)n;
	}
}

static bool whiteout(const struct stat *st) { return S_ISCHR(st->st_mode) && st->st_rdev == 0; }

static bool opaque(int fd)
{
	char v[2];
	return fgetxattr(fd, OPAQUE, v, sizeof(v)) == 1 && v[0] == 'y';
}

static int copy_tree(int from, int to, int depth);

static int copy_entry(int from, int to, const char *name, int depth)
{
	struct stat st;
	char link[4097];

	if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -1;
	if (whiteout(&st)) /* hides what a lower layer has: an empty node marks it until the end */
		return mknodat(to, name, S_IFCHR | 0600, 0) == 0 || errno == EEXIST ? 0 : -1;
	if (S_ISDIR(st.st_mode)) {
		bool made = mkdirat(to, name, 0700) == 0;
		if (!made && errno != EEXIST)
			return -1;
		cs_autofd int a = openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		cs_autofd int b = openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (!made && (b < 0 || opaque(b)))
			return 0; /* an upper layer has something else here, or hides this */
		if (a < 0 || b < 0 || copy_tree(a, b, depth + 1) < 0)
			return -1;
		if (made) {
			copy_xattrs(a, b);
			if (fchown(b, st.st_uid, st.st_gid) < 0 || fchmod(b, st.st_mode & 07777) < 0)
				return -1;
			if (opaque(a)) /* a mark until the end, like the whiteouts */
				(void)fsetxattr(b, OPAQUE, "y", 1, 0);
		}
		return 0;
	}
	if (faccessat(to, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return 0; /* the upper layer's wins */
	if (S_ISLNK(st.st_mode)) {
		ssize_t n = readlinkat(from, name, link, sizeof(link) - 1);
		if (n < 0)
			return -1;
		link[n] = 0;
		if (symlinkat(link, to, name) < 0)
			return -1;
	} else if (S_ISREG(st.st_mode)) {
		cs_autofd int a = openat(from, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
		cs_autofd int b = openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (a < 0 || b < 0 || copy_bytes(a, b) < 0)
			return -1;
		copy_xattrs(a, b);
	} else if (mknodat(to, name, st.st_mode & (S_IFMT | 07777), st.st_rdev) < 0) {
		return -1;
	}
	if (fchownat(to, name, st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW) < 0 ||
	    (!S_ISLNK(st.st_mode) && fchmodat(to, name, st.st_mode & 07777, AT_SYMLINK_NOFOLLOW) < 0)) /* others may have the volume too */
		return -1;
	const struct timespec ts[2] = {st.st_atim, st.st_mtim};
	(void)utimensat(to, name, ts, AT_SYMLINK_NOFOLLOW);
	return 0;
}

static int copy_tree(int from, int to, int depth)
{
	if (depth > DEPTH_MAX) {
		errno = ELOOP;
		return -1;
	}
	int dup = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = dup >= 0 ? fdopendir(dup) : NULL;
	int r = d ? 0 : -1;
	for (struct dirent *de; r == 0 && (de = readdir(d));)
		if (!cs_streq(de->d_name, ".") && !cs_streq(de->d_name, ".."))
			r = copy_entry(from, to, de->d_name, depth);
	if (d)
		(void)closedir(d);
	return r;
}

/* Removes the whiteouts and marks that hid lower layers' entries. */
static void remove_whiteouts(int dir, int depth)
{
	int dup = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = dup >= 0 ? fdopendir(dup) : NULL;
	struct stat st;

	for (struct dirent *de; d && (de = readdir(d));) {
		if (cs_streq(de->d_name, ".") || cs_streq(de->d_name, "..") || fstatat(dir, de->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if (whiteout(&st)) {
			(void)unlinkat(dir, de->d_name, 0);
		} else if (S_ISDIR(st.st_mode) && depth < DEPTH_MAX) {
			cs_autofd int sub = openat(dir, de->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
			if (sub >= 0) {
				(void)fremovexattr(sub, OPAQUE);
				remove_whiteouts(sub, depth + 1);
			}
		}
	}
	if (d)
		(void)closedir(d);
}

/* Whether a directory on the way to `path` in this layer hides the layers below. */
static bool hides_lower(int layer, const char *path)
{
	cs_autofree char *p = cs_xstrdup(path);

	for (char *slash = p + 1;; slash++) {
		slash += strcspn(slash, "/");
		char keep = *slash;
		*slash = 0;
		struct stat st;
		cs_autofd int fd = sys_openat2(layer, p[0] == '/' ? p + 1 : p, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0, CS_RESOLVE_IN_ROOT);
		if (fd >= 0 && fstat(fd, &st) == 0) {
			cs_autofd int dir = S_ISDIR(st.st_mode) ? openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -EBADF;
			if (!S_ISDIR(st.st_mode) || (dir >= 0 && opaque(dir)))
				return true; /* whiteout, file, link or opaque */
		}
		*slash = keep;
		if (!keep)
			return false;
	}
}

static int copy_up(char *const *layers, const char *path, int to, struct cs_err **err)
{
	struct stat st;
	bool first = true;

	for (char *const *l = layers; l && *l; l++) {
		cs_autofd int root = open(*l, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (root < 0)
			return cs_fail(err, CS_ERR_INTERNAL, errno, "open layer %s", *l);
		/* no links at all: a link may lead into another layer, and never should one lead out; such a volume stays empty */
		cs_autofd int from = sys_openat2(root, path[0] == '/' ? path + 1 : path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0, CS_RESOLVE_BENEATH_NOLINKS);
		if (from >= 0 && fstat(from, &st) == 0) {
			if (copy_tree(from, to, 0) < 0)
				return cs_fail(err, errno == ENOSPC ? CS_ERR_NO_SPACE : CS_ERR_INTERNAL, errno, "copy the image's %s into a new volume", path);
			if (first) {
				if (fchown(to, st.st_uid, st.st_gid) < 0 || fchmod(to, st.st_mode & 07777) < 0)
					return cs_fail(err, CS_ERR_INTERNAL, errno, "give the new volume for %s its owner", path);
				copy_xattrs(from, to);
			}
			first = false;
		}
		if (hides_lower(root, path))
			break;
	}
	remove_whiteouts(to, 0);
	return 0;
}

static bool is_empty(int dir)
{
	int dup = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = dup >= 0 ? fdopendir(dup) : NULL;
	bool empty = true;

	for (struct dirent *de; d && empty && (de = readdir(d));)
		empty = cs_streq(de->d_name, ".") || cs_streq(de->d_name, "..");
	if (d)
		(void)closedir(d);
	return empty;
}

static int prepare_one(struct cs_container *c, const struct cs_mount_point *m, char *const *layers, struct cs_err **err)
{
	cs_autofree char *dir = volume_dir(c->e, m->name), *data = cs_path_join(dir, "_data");

	if (!cs_is_plain_name(m->name))
		return cs_fail(err, CS_ERR_INVALID, 0, "\"%s\" is not a valid volume name", m->name);
	bool made = mkdir(dir, 0710) == 0;
	if (!made && errno != EEXIST)
		return cs_fail(err, errno == ENOSPC ? CS_ERR_NO_SPACE : CS_ERR_INTERNAL, errno, "create volume %s", m->name);
	if (mkdir(data, 0755) < 0 && errno != EEXIST)
		return cs_fail(err, errno == ENOSPC ? CS_ERR_NO_SPACE : CS_ERR_INTERNAL, errno, "create volume %s", m->name);
	cs_autostr struct cs_str labels = CS_STR_INIT(1 << 20), opts = CS_STR_INIT(1 << 20);
	if (m->volume_labels)
		cs_json_put_strmap(&labels, m->volume_labels);
	if (m->volume_opts)
		cs_json_put_strmap(&opts, m->volume_opts);
	struct cs_store_volume row = {.name = m->name, .labels = labels.buf, .options = opts.buf, .created = cs_now_ns(), .anonymous = m->anonymous};
	if (made && cs_store_volume_put(c->e->store, &row, err) < 0)
		return -1;
	if (made) {
		struct cs_strmap *attrs = cs_strmap_new();
		cs_strmap_set(attrs, "driver", "local");
		cs_event(c->e, "volume", "create", m->name, attrs);
	}
	if (m->no_copy)
		return 0;
	cs_autofd int to = open(data, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (to < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "open volume %s", m->name);
	return is_empty(to) ? copy_up(layers, m->destination, to, err) : 0;
}

int cs_volumes_prepare(struct cs_container *c, char *const *layer_dirs, struct cs_err **err)
{
	for (size_t i = 0; i < c->n_mounts; i++)
		if (cs_streq(c->mounts[i].type, "volume") && !cs_empty(c->mounts[i].name) && prepare_one(c, &c->mounts[i], layer_dirs, err) < 0)
			return -1;
	return 0;
}

/* Splits a line of mountinfo in place: mount point (unescaped) and optional fields ("shared:1 master:2"). */
static bool mountinfo_fields(char *line, char **point, char **optional)
{
	char *p = line, *o;

	for (int i = 0; i < 6 && p; i++) {
		if (i == 4)
			*point = p;
		p = strchr(p, ' ');
		if (p)
			*p++ = 0;
	}
	o = !p ? NULL : strncmp(p, "- ", 2) == 0 ? p : strstr(p, " - ");
	if (!o)
		return false;
	*optional = p;
	*o = 0;
	char *to = *point;
	for (const char *s = *point; *s;) {
		if (s[0] == '\\' && s[1] && s[2] && s[3]) {
			*to++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
			s += 4;
		} else {
			*to++ = *s++;
		}
	}
	*to = 0;
	return true;
}

/* What is mounted later in the host has to find its way into a shared or slave bind: only from a mount that passes it on. */
static int check_propagation(const struct cs_mount_point *m, struct cs_err **err)
{
	bool shared = cs_streq(m->propagation, "shared") || cs_streq(m->propagation, "rshared");
	bool slave = cs_streq(m->propagation, "slave") || cs_streq(m->propagation, "rslave");
	cs_autofree char *best = NULL, *best_optional = NULL;
	cs_autostr struct cs_str info = CS_STR_INIT((size_t)64 << 20);

	if (!shared && !slave)
		return 0;
	cs_autofree char *real = realpath(m->source, NULL); /* the client's own path on its own host */
	if (!real || cs_read_file_at(AT_FDCWD, "/proc/self/mountinfo", &info) < 0 || !info.buf)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "look up the mount of %s", m->source);
	for (char *line = info.buf, *next; line && *line; line = next) {
		char *point = NULL, *optional = NULL;
		next = strchr(line, '\n');
		if (next)
			*next++ = 0;
		if (!mountinfo_fields(line, &point, &optional))
			continue;
		size_t n = strlen(point);
		bool above = n == 1 || (strncmp(real, point, n) == 0 && (real[n] == '/' || !real[n]));
		if (!above || (best && strlen(best) > n))
			continue; /* the longest, and of equals the last, which lies on top */
		free(best);
		free(best_optional);
		best = cs_xstrdup(point);
		best_optional = cs_xstrdup(optional);
	}
	if (!best || strstr(best_optional, "shared:") || (slave && strstr(best_optional, "master:")))
		return 0;
	return cs_fail(err, CS_ERR_INTERNAL, 0, "path %s is mounted on %s but it is not a shared%s mount", m->source, best, slave ? " or slave" : "");
}

int cs_volumes_check(struct cs_container *c, struct cs_err **err)
{
	struct stat st;

	for (size_t i = 0; i < c->n_mounts; i++) {
		const struct cs_mount_point *m = &c->mounts[i];
		bool volume = cs_streq(m->type, "volume");
		if (!volume && !cs_streq(m->type, "bind"))
			continue;
		if (stat(m->source, &st) < 0) {
			if (!volume && !m->create_source)
				return cs_fail(err, CS_ERR_INVALID, 0, "invalid mount config for type \"bind\": bind source path does not exist: %s",
					       m->source);
			int r = cs_mkdir_p(AT_FDCWD, m->source, 0755);
			if (r < 0)
				return cs_fail(err, CS_ERR_INTERNAL, -r, "error while creating mount source path '%s'", m->source);
		}
		if (!volume && check_propagation(m, err) < 0)
			return -1;
	}
	return 0;
}

static bool in_use(struct cs_engine *e, const char *name, const char *except)
{
	struct cs_container **all = cs_containers_all(e, NULL);
	bool used = false;

	for (struct cs_container **p = all; *p && !used; p++)
		for (size_t i = 0; i < (*p)->n_mounts && !used; i++)
			used = !cs_streq((*p)->id, except) && cs_streq((*p)->mounts[i].name, name);
	cs_containers_free(all);
	return used;
}

void cs_volumes_release(struct cs_engine *e, const struct cs_mount_point *m, size_t n, const char *except)
{
	for (size_t i = 0; i < n; i++) {
		cs_autoerr struct cs_err *err = NULL;
		if (!cs_streq(m[i].type, "volume") || !m[i].anonymous || cs_empty(m[i].name) || !cs_is_plain_name(m[i].name) || in_use(e, m[i].name, except))
			continue;
		cs_autofree char *dir = volume_dir(e, m[i].name);
		int r = cs_remove_tree_at(AT_FDCWD, dir);
		if (r < 0) {
			cs_logk(CS_LOG_WARN, "engine", "volume", m[i].name, "cannot remove: %s", cs_errno_text(-r));
			continue;
		}
		if (cs_store_volume_delete(e->store, m[i].name, &err) < 0)
			cs_logk(CS_LOG_WARN, "engine", "volume", m[i].name, "cannot delete the row");
		struct cs_strmap *attrs = cs_strmap_new();
		cs_strmap_set(attrs, "driver", "local");
		cs_event(e, "volume", "destroy", m[i].name, attrs);
	}
}
