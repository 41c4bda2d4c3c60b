/* SPDX-License-Identifier: Apache-2.0
 *
 * How much a directory holds. The tree may be a running container's: it changes meanwhile and may be of any depth, so neither the stack nor
 * the table of descriptors grows with it. Any thread, however small its stack. */
#include <fcntl.h>
#include <sys/stat.h>
#include <uthash.h>

#include "base/sys.h"
#include "storage/internal.h"

#define OPEN_LEVELS 32u

struct inode {
	struct cs_file_key key;
	UT_hash_handle hh;
};
struct level {
	int fd; /* O_PATH, or -EBADF: to be opened again from below */
	ino_t ino;
	char **dirs; /* names of the directories in it */
	size_t n, cap, at;
};
struct usage {
	int64_t bytes;
	dev_t dev;
	struct inode *seen; /* only files with several links */
	struct level *levels;
	size_t depth, cap;
};

static bool seen_before(struct usage *u, const struct stat *st)
{
	const struct cs_file_key key = cs_file_key(st->st_dev, st->st_ino);
	struct inode *i;

	HASH_FIND(hh, u->seen, &key, sizeof(key), i);
	if (i)
		return true;
	i = cs_xcalloc(1, sizeof(*i));
	i->key = key;
	HASH_ADD(hh, u->seen, key, sizeof(i->key), i);
	return false;
}

static int usage_entry(void *ctx, int dir_fd, const struct dirent *d)
{
	struct usage *u = ctx;
	struct level *l = &u->levels[u->depth - 1];
	struct stat st;

	/* what vanished does not count */
	if (fstatat(dir_fd, d->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (S_ISDIR(st.st_mode)) {
		if (l->n == l->cap) {
			l->cap = l->cap ? l->cap * 2 : 8;
			l->dirs = cs_xreallocarray(l->dirs, l->cap, sizeof(*l->dirs));
		}
		l->dirs[l->n++] = cs_xstrdup(d->d_name);
	} else if ((S_ISREG(st.st_mode) || S_ISLNK(st.st_mode)) && (st.st_nlink < 2 || !seen_before(u, &st)))
		u->bytes += st.st_size;
	return 0;
}

/* Takes fd. Counts what is in it, and remembers the directories for later. */
static int enter(struct usage *u, int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0 || st.st_dev != u->dev) {
		cs_close(fd);
		return 0;
	}
	if (u->depth == u->cap) {
		u->cap = u->cap ? u->cap * 2 : 16;
		u->levels = cs_xreallocarray(u->levels, u->cap, sizeof(*u->levels));
	}
	u->levels[u->depth++] = (struct level){.fd = fd, .ino = st.st_ino};
	if (u->depth > OPEN_LEVELS)
		cs_close(TAKE_FD(u->levels[u->depth - 1 - OPEN_LEVELS].fd));
	int r = cs_each_entry(fd, ".", usage_entry, u);
	return r == -ENOENT || r == -ENOTDIR || r == -ELOOP ? 0 : r;
}

/* false: the directory above is not what it was, and there is no way back. */
static bool leave(struct usage *u)
{
	struct level *l = &u->levels[--u->depth];
	struct stat st;
	bool found = true;

	if (u->depth && l[-1].fd < 0) {
		struct level *up = l - 1;
		up->fd = openat(l->fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
		found = up->fd >= 0 && fstat(up->fd, &st) == 0 && st.st_dev == u->dev && st.st_ino == up->ino;
	}
	cs_close(l->fd);
	for (size_t i = 0; i < l->n; i++)
		free(l->dirs[i]);
	free(l->dirs);
	return found;
}

static int walk(struct usage *u)
{
	while (u->depth) {
		struct level *l = &u->levels[u->depth - 1];
		if (l->at == l->n) {
			if (!leave(u))
				return 0;
			continue;
		}
		int fd = sys_openat2(l->fd, l->dirs[l->at++], O_PATH | O_DIRECTORY | O_NOFOLLOW, 0, CS_RESOLVE_BENEATH_NOLINKS | RESOLVE_NO_XDEV);
		int r = fd < 0 ? 0 : enter(u, fd);
		if (r < 0)
			return r;
	}
	return 0;
}

int cs_tree_usage(int dir_fd, int64_t *ret, struct cs_err **err)
{
	struct usage u = {0};
	struct stat st;
	struct inode *i, *next;
	int fd = openat(dir_fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st) < 0) {
		int e = errno;
		cs_close(fd);
		return cs_fail(err, CS_ERR_INTERNAL, e, "stat a directory");
	}
	u.dev = st.st_dev;
	int r = enter(&u, fd);
	if (r == 0)
		r = walk(&u);
	while (u.depth)
		(void)leave(&u);
	free(u.levels);
	HASH_ITER(hh, u.seen, i, next)
	{
		HASH_DEL(u.seen, i);
		free(i);
	}
	if (r < 0)
		return cs_fail(err, CS_ERR_INTERNAL, -r, "measure a directory");
	*ret = u.bytes;
	return 0;
}
