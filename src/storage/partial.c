/* SPDX-License-Identifier: Apache-2.0
 *
 * What has come of a blob whose download failed: partial/<digest>, the first bytes of it, for the next pull to go on with. Nobody believes
 * them: they go through the same hashes as bytes from the network, and a blob that turns out wrong takes them away. Not synced: after a power cut
 * they may be anything. Any thread. */
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#include "storage/internal.h"

#define KEEP_S (7 * 24 * 3600) /* nobody has come for it */

bool cs_partial_keep(struct cs_storage *s, const char *tmp, const struct cs_digest *d)
{
	return renameat(s->tmp_fd, tmp, s->partial_fd, cs_digest_hex(d)) == 0;
}

int cs_partial_take(struct cs_storage *s, const struct cs_digest *d, int64_t max, const char *tmp, int *ret_fd, int64_t *ret_size)
{
	struct stat st = {0};

	/* taken away first: whatever happens, nobody else has the file then */
	if (renameat(s->partial_fd, cs_digest_hex(d), s->tmp_fd, tmp) < 0)
		return -errno;
	cs_autofd int fd = openat(s->tmp_fd, tmp, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	int r = fd < 0 || fstat(fd, &st) < 0 ? -errno : !S_ISREG(st.st_mode) || st.st_size == 0 || st.st_size > max ? -EINVAL : 0;
	if (r == 0 && lseek(fd, 0, SEEK_END) < 0)
		r = -errno;
	if (r < 0) {
		(void)unlinkat(s->tmp_fd, tmp, 0);
		return r;
	}
	*ret_size = st.st_size;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

void cs_partial_drop(struct cs_storage *s, const struct cs_digest *d) { (void)unlinkat(s->partial_fd, cs_digest_hex(d), 0); }

struct clean {
	int64_t before, bytes;
};

static int clean_one(void *ctx, int dir_fd, const struct dirent *d)
{
	struct clean *c = ctx;
	struct stat st;

	if (fstatat(dir_fd, d->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	if (st.st_mtim.tv_sec <= c->before && unlinkat(dir_fd, d->d_name, 0) == 0)
		c->bytes += st.st_size;
	return 0;
}

int64_t cs_partials_clean(struct cs_storage *s, bool all)
{
	struct clean c = {.before = all ? INT64_MAX : (int64_t)time(NULL) - KEEP_S};

	(void)cs_each_entry(s->partial_fd, ".", clean_one, &c);
	return c.bytes;
}
