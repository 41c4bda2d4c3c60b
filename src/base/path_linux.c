/* SPDX-License-Identifier: Apache-2.0 */
#include "base/path.h"

#include "base/sys.h"

int cs_open_in_root(int root_fd, const char *path, int flags, unsigned mode)
{
	return sys_openat2(root_fd, path, (uint64_t)(unsigned)flags, (flags & (O_CREAT | O_TMPFILE)) ? mode : 0, CS_RESOLVE_IN_ROOT);
}

/* Opens the parent of the last component of `path` (creating directories if mode is not 0) and points *name into path. */
static int open_parent(int root_fd, const char *path, unsigned mode, uid_t uid, gid_t gid, const char **name)
{
	const char *end = path + strlen(path);

	while (end > path && end[-1] == '/')
		end--;
	const char *base = end;
	while (base > path && base[-1] != '/')
		base--;
	*name = base;
	cs_autofree char *dir = cs_xstrndup(path, (size_t)(base - path));
	return cs_mkdir_in_root(root_fd, *dir ? dir : "/", mode, uid, gid);
}

int cs_mkdir_in_root(int root_fd, const char *path, unsigned mode, uid_t uid, gid_t gid)
{
	cs_autofree char *clean = cs_path_clean(path);
	/* The walk keeps a descriptor of the deepest directory and re-resolves from the root for each prefix: the kernel,
	 * not we, interprets links. A concurrent swap can only lead to another directory inside the root. */
	int fd = sys_openat2(root_fd, clean, O_PATH | O_DIRECTORY, 0, CS_RESOLVE_IN_ROOT);
	if (fd != -ENOENT)
		return fd;

	const char *p = clean;
	cs_autofd int cur = sys_openat2(root_fd, "/", O_PATH | O_DIRECTORY, 0, CS_RESOLVE_IN_ROOT);
	if (cur < 0)
		return cur;
	while (*p == '/')
		p++;
	while (*p) {
		size_t n = strcspn(p, "/");
		cs_autofree char *prefix = cs_xstrndup(clean, (size_t)(p - clean) + n);
		cs_autofree char *name = cs_xstrndup(p, n);
		int next = sys_openat2(root_fd, prefix, O_PATH | O_DIRECTORY, 0, CS_RESOLVE_IN_ROOT);
		if (next == -ENOENT) {
			if (mkdirat(cur, name, mode & 07777) < 0) {
				if (errno != EEXIST)
					return -errno;
				/* either made by somebody else just now, or a dangling link: the next open tells */
			} else {
				next = sys_openat2(cur, name, O_RDONLY | O_DIRECTORY, 0, CS_RESOLVE_BENEATH_NOLINKS);
				if (next < 0)
					return next;
				if (((uid || gid) && fchown(next, uid, gid) < 0) || fchmod(next, mode & 07777) < 0) {
					int e = -errno;
					cs_close(next);
					return e;
				}
				cs_close(next);
			}
			next = sys_openat2(cur, name, O_PATH | O_DIRECTORY, 0, CS_RESOLVE_BENEATH_NOLINKS);
			if (next == -ELOOP)
				next = -ENOENT; /* dangling link */
		}
		if (next < 0)
			return next;
		cs_close(cur);
		cur = next;
		p += n;
		while (*p == '/')
			p++;
	}
	return TAKE_FD(cur);
}

int cs_mkfile_in_root(int root_fd, const char *path)
{
	const char *name;
	cs_autofree char *clean = cs_path_clean(path);
	int fd = sys_openat2(root_fd, clean, O_PATH, 0, CS_RESOLVE_IN_ROOT);
	if (fd != -ENOENT)
		return fd;
	cs_autofd int dir = open_parent(root_fd, clean, 0755, 0, 0, &name);
	if (dir < 0)
		return dir;
	if (!cs_is_plain_name(name))
		return -EINVAL;
	fd = sys_openat2(dir, name, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW, 0644, CS_RESOLVE_BENEATH_NOLINKS);
	if (fd < 0 && fd != -EEXIST)
		return fd;
	cs_close(fd);
	return sys_openat2(dir, name, O_PATH, 0, CS_RESOLVE_BENEATH_NOLINKS); /* a dangling link: ELOOP */
}

char *cs_follow_in_root(int root_fd, const char *path)
{
	cs_autofree char *rest = cs_xstrdup(path), *done = cs_xstrdup("/");
	int links = 0;

	for (char *p = rest; *p;) {
		size_t n = strcspn(p, "/");
		cs_autofree char *name = cs_xstrndup(p, n);
		p += n + (p[n] == '/');
		if (n == 0)
			continue;
		cs_autofree char *joined = cs_path_join(done, name), *next = cs_path_clean(joined);
		cs_autofd int fd = sys_openat2(root_fd, next, O_PATH | O_NOFOLLOW, 0, CS_RESOLVE_IN_ROOT);
		char content[4096];
		ssize_t len = fd < 0 ? -1 : readlinkat(fd, "", content, sizeof(content) - 1);
		if (len <= 0) {
			free(done);
			done = TAKE_PTR(next);
			continue;
		}
		if (++links > 40)
			return NULL;
		content[len] = 0;
		char *longer = cs_xasprintf("%s/%s", content, p);
		free(rest);
		p = rest = longer;
		if (*content == '/') {
			free(done);
			done = cs_xstrdup("/");
		}
	}
	return TAKE_PTR(done);
}

char *cs_path_clean(const char *path)
{
	bool rooted = *path == '/';
	size_t len = strlen(path);
	char *out = cs_xmalloc(len + 2);
	size_t o = 0, floor = 0;

	if (rooted)
		out[o++] = '/';
	floor = o;
	for (const char *p = path; *p;) {
		size_t n = strcspn(p, "/");
		if (n == 0) {
			p++;
			continue;
		}
		if (n == 1 && p[0] == '.') {
			/* nothing */
		} else if (n == 2 && p[0] == '.' && p[1] == '.') {
			if (o > floor) {
				while (o > floor && out[o - 1] != '/')
					o--;
				if (o > floor)
					o--;
			} else if (!rooted) {
				if (o)
					out[o++] = '/';
				out[o++] = '.';
				out[o++] = '.';
				floor = o;
			}
		} else {
			if (o && out[o - 1] != '/')
				out[o++] = '/';
			memcpy(out + o, p, n);
			o += n;
		}
		p += n;
	}
	if (o == 0)
		out[o++] = '.';
	out[o] = 0;
	return out;
}

char *cs_path_join(const char *a, const char *b)
{
	size_t n = strlen(a);
	while (n > 1 && a[n - 1] == '/')
		n--;
	while (*b == '/')
		b++;
	return cs_xasprintf("%.*s%s%s", (int)n, a, (n == 1 && *a == '/') || !*b ? "" : "/", b);
}

bool cs_path_is_below(const char *path, const char *dir)
{
	const char *rest = cs_prefix(path, dir);
	return rest && (*rest == 0 || *rest == '/');
}

bool cs_is_plain_name(const char *s)
{
	if (cs_empty(s) || strcmp(s, ".") == 0 || strcmp(s, "..") == 0)
		return false;
	return !strchr(s, '/') && strlen(s) <= 255;
}
