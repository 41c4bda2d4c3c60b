/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening the data root's storage folders, and what the other files share. A cs_storage is immutable after open but for the
 * serial number of temporary names; any thread. */
#include "storage/internal.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "base/id.h"
#include "base/io.h"
#include "base/path.h"

enum cs_code cs_storage_code(int sys) { return sys == ENOSPC || sys == EDQUOT ? CS_ERR_NO_SPACE : CS_ERR_INTERNAL; }

struct cs_file_key cs_file_key(uint64_t dev, uint64_t ino) { return (struct cs_file_key){.dev = dev, .ino = ino}; }

const struct cs_storage_limits cs_storage_default_limits = {
	.layer_bytes = 256ll << 30, .layer_entries = 10000000, .ratio = 400, .ratio_from = 8ll << 30};

static int open_dir(struct cs_storage *s, const char *path, int *ret, struct cs_err **err)
{
	int r = cs_mkdir_p(s->root_fd, path, 0710);
	if (r < 0 && r != -EEXIST)
		return cs_fail(err, cs_storage_code(-r), -r, "make %s/%s", s->root, path);
	*ret = openat(s->root_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (*ret < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "open %s/%s", s->root, path);
	return 0;
}

bool cs_storage_tmp_is_own(struct cs_storage *s, const char *name) { return strstr(name, s->own) != NULL; }

/* Nobody waits for the deletion; what stays is tried again at the next start. */
static int remove_entry(void *ctx, int dir_fd, const struct dirent *d)
{
	struct cs_storage *s = ctx;

	if (!cs_storage_tmp_is_own(s, d->d_name))
		(void)!cs_storage_discard(s, dir_fd, d->d_name, NULL);
	return 0;
}

int cs_storage_write_layout(struct cs_storage *s, bool layout, bool index)
{
	static const char version[] = "{\"imageLayoutVersion\":\"1.0.0\"}";
	static const char empty[] = "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.index.v1+json\",\"manifests\":[]}";
	int r = layout ? cs_replace_file_at(s->root_fd, "content/oci-layout", version, sizeof(version) - 1, 0644, true) : 0;

	return r == 0 && index ? cs_replace_file_at(s->root_fd, "content/index.json", empty, sizeof(empty) - 1, 0644, true) : r;
}

/* What a container finds above its image's layers and below its own: /.dockerenv, by which programs see where they are. */
static int make_marks(struct cs_storage *s)
{
	if (mkdirat(s->root_fd, "marks", 0755) < 0 && errno != EEXIST)
		return errno == EROFS ? 0 : -errno;
	cs_autofd int dir = openat(s->root_fd, "marks", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	cs_autofd int fd = dir < 0 ? -EBADF : openat(dir, ".dockerenv", O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0755);
	/* whatever the daemon's umask */
	if (fd < 0 || fchmod(fd, 0755) < 0 || fchmod(dir, 0755) < 0)
		return errno == EROFS ? 0 : -errno;
	return 0;
}

int cs_storage_open(const char *data_root, struct cs_storage **ret, struct cs_err **err)
{
	struct cs_storage *s = cs_xcalloc(1, sizeof(*s));
	int r = 0;

	s->root_fd = s->blobs_fd = s->layers_fd = s->snaps_fd = s->spare_fd = s->tmp_fd = s->partial_fd = s->volumes_fd = -EBADF;
	(void)pthread_mutex_init(&s->discard_lock, NULL);
	(void)pthread_mutex_init(&s->quota_lock, NULL);
	(void)pthread_rwlock_init(&s->snap_lock, NULL);
	(void)pthread_cond_init(&s->discard_idle, NULL);
	s->limits = cs_storage_default_limits;
	/* a number besides the pid: in a container every daemon has the same one */
	unsigned nonce = 0;
	(void)!getrandom(&nonce, sizeof(nonce), GRND_NONBLOCK);
	(void)snprintf(s->own, sizeof(s->own), "-%d.%08x-", (int)getpid(), nonce);
	s->root = cs_xstrdup(data_root);
	s->root_fd = open(data_root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->root_fd < 0) {
		cs_fail(err, CS_ERR_INTERNAL, errno, "open data root %s", data_root);
		goto fail;
	}
	if (open_dir(s, "content/blobs/sha256", &s->blobs_fd, err) < 0 || open_dir(s, "layers", &s->layers_fd, err) < 0 ||
	    open_dir(s, "snapshots", &s->snaps_fd, err) < 0 || open_dir(s, "spare", &s->spare_fd, err) < 0 ||
	    open_dir(s, "tmp", &s->tmp_fd, err) < 0 || open_dir(s, "partial", &s->partial_fd, err) < 0 ||
	    cs_volumes_dir_open(s, err) < 0)
		goto fail;
	(void)cs_each_entry(s->tmp_fd, ".", remove_entry, s);
	(void)cs_partials_clean(s, false);
	cs_spare_clear(s);
	cs_spare_spread(s);
	r = cs_storage_write_layout(s, faccessat(s->root_fd, "content/oci-layout", F_OK, 0) < 0, faccessat(s->root_fd, "content/index.json", F_OK, 0) < 0);
	if (r < 0) {
		cs_fail(err, cs_storage_code(-r), -r, "write the image layout in %s/content", data_root);
		goto fail;
	}
	if ((r = make_marks(s)) < 0) {
		cs_fail(err, cs_storage_code(-r), -r, "make %s/marks", data_root);
		goto fail;
	}
	*ret = s;
	return 0;
fail:
	cs_storage_close(s);
	return -1;
}

char *cs_storage_marks(const struct cs_storage *s) { return cs_path_join(s->root, "marks"); }

void cs_storage_set_limits(struct cs_storage *s, const struct cs_storage_limits *l)
{
	s->limits.layer_bytes = l->layer_bytes ? l->layer_bytes : s->limits.layer_bytes;
	s->limits.layer_entries = l->layer_entries ? l->layer_entries : s->limits.layer_entries;
	s->limits.ratio = l->ratio ? l->ratio : s->limits.ratio;
	s->limits.ratio_from = l->ratio_from ? l->ratio_from : s->limits.ratio_from;
}

void cs_storage_close(struct cs_storage *s)
{
	if (!s)
		return;
	cs_storage_discard_done(s);
	(void)pthread_mutex_destroy(&s->discard_lock);
	(void)pthread_mutex_destroy(&s->quota_lock);
	(void)pthread_rwlock_destroy(&s->snap_lock);
	(void)pthread_cond_destroy(&s->discard_idle);
	cs_close(s->root_fd);
	cs_close(s->blobs_fd);
	cs_close(s->layers_fd);
	cs_close(s->snaps_fd);
	cs_close(s->spare_fd);
	cs_close(s->tmp_fd);
	cs_close(s->partial_fd);
	cs_close(s->volumes_fd);
	free(s->root);
	free(s);
}

const char *cs_storage_tmp_name(struct cs_storage *s, const char *kind, char buf[64])
{
	(void)snprintf(buf, 64, "%.10s%s%llu", kind, s->own, atomic_fetch_add(&s->serial, 1ull) + 1);
	return buf;
}

int cs_each_entry(int dir_fd, const char *path, int (*fn)(void *ctx, int dir_fd, const struct dirent *d), void *ctx)
{
	int fd = openat(dir_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	DIR *dir = fdopendir(fd);
	if (!dir) {
		int e = -errno;
		cs_close(fd);
		return e;
	}
	int r = 0;
	const struct dirent *d;
	while (r == 0 && (errno = 0, d = readdir(dir))) {
		if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0)
			r = fn(ctx, dirfd(dir), d);
	}
	if (r == 0 && !d && errno)
		r = -errno;
	(void)closedir(dir);
	return r;
}

/* ---- digests ---- */
bool cs_digest_valid(const char *s)
{
	if (!s || strncmp(s, "sha256:", 7) != 0 || strlen(s) != CS_DIGEST_LEN)
		return false;
	for (const char *p = s + 7; *p; p++) {
		if (!((*p >= '0' && *p <= '9') || (*p >= 'a' && *p <= 'f')))
			return false;
	}
	return true;
}

bool cs_digest_from(const char *s, struct cs_digest *ret)
{
	if (!cs_digest_valid(s))
		return false;
	memcpy(ret->s, s, CS_DIGEST_LEN + 1);
	return true;
}

int cs_digest_expect(const struct cs_digest *is, const struct cs_digest *expected, struct cs_err **err)
{
	if (!expected || strcmp(is->s, expected->s) == 0)
		return 0;
	return cs_fail(err, CS_ERR_INVALID, 0, "digest mismatch: the content is %s where %s was expected", is->s, expected->s);
}

struct cs_hash {
	struct cs_sha256 sha;
};

struct cs_hash *cs_hash_new(void)
{
	struct cs_hash *h = cs_xmalloc(sizeof(*h));
	cs_sha256_init(&h->sha);
	return h;
}

void cs_hash_update(struct cs_hash *h, const void *data, size_t len) { cs_sha256_update(&h->sha, data, len); }

void cs_hash_done(struct cs_hash *h, struct cs_digest *ret)
{
	if (h && ret) {
		memcpy(ret->s, "sha256:", 7);
		cs_sha256_hex(&h->sha, ret->s + 7);
	}
	free(h);
}

void cs_hash_data(const void *data, size_t len, struct cs_digest *ret)
{
	struct cs_hash *h = cs_hash_new();
	cs_hash_update(h, data, len);
	cs_hash_done(h, ret);
}

void cs_chain_id(const struct cs_digest *parent, const struct cs_digest *diff, struct cs_digest *ret)
{
	struct cs_digest out = *diff;
	if (parent && parent->s[0]) {
		char text[2 * CS_DIGEST_LEN + 2];
		int n = snprintf(text, sizeof(text), "%s %s", parent->s, diff->s);
		cs_hash_data(text, (size_t)n, &out);
	}
	*ret = out;
}
