/* SPDX-License-Identifier: Apache-2.0
 *
 * Profiles that were handed to the service once and are named by their digest in documents: a start then neither carries nor parses four
 * hundred names. Each lies in <runtime>/seccomp/<hex>, so that a document still means something to the next service. Any thread. */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/io.h"
#include "base/json.h"
#include "base/path.h"
#include "base/sha256.h"
#include "compute/internal.h"
#include "compute/seccomp_cache.h"

#define NAMED 16

static struct {
	pthread_mutex_t lock;
	struct {
		char name[CS_SECCOMP_NAME];
		struct cs_filter *filter;
	} e[NAMED];
	unsigned next;
} named = {.lock = PTHREAD_MUTEX_INITIALIZER};

static int open_folder(bool make, struct cs_err **err)
{
	cs_autofree char *dir = cs_xasprintf("%s/seccomp", cs_service.runtime);
	int r = make ? cs_mkdir_p(AT_FDCWD, dir, 0700) : 0;
	int fd = r < 0 ? r : open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	return fd < 0 ? cs_fail(err, CS_ERR_INTERNAL, r < 0 ? -r : errno, "open %s", dir) : fd;
}

static void name_of(const char *text, size_t len, char name[CS_SECCOMP_NAME])
{
	memcpy(name, CS_SECCOMP_PREFIX, sizeof(CS_SECCOMP_PREFIX) - 1);
	cs_sha256_hex_of(text, len, name + sizeof(CS_SECCOMP_PREFIX) - 1);
}

static void remember(const char *name, struct cs_filter *f)
{
	pthread_mutex_lock(&named.lock);
	unsigned i = named.next++ % NAMED;
	cs_filter_unref(named.e[i].filter);
	(void)snprintf(named.e[i].name, CS_SECCOMP_NAME, "%s", name);
	named.e[i].filter = cs_filter_ref(f);
	pthread_mutex_unlock(&named.lock);
}

int cs_seccomp_register(const char *text, size_t len, char name[CS_SECCOMP_NAME], struct cs_err **err)
{
	cs_autojson json_t *profile = json_stringn(text, len);
	struct cs_filter *f = NULL;

	if (!profile || cs_seccomp_get(profile, "Profile", &f, err) < 0)
		return -1;
	name_of(text, len, name);
	cs_autofd int dir = open_folder(true, err);
	int r = dir < 0 ? -1 : cs_replace_file_at(dir, name + 7, text, len, 0600, false);
	if (dir >= 0 && r < 0)
		cs_fail(err, CS_ERR_INTERNAL, -r, "keep a seccomp profile");
	if (r == 0)
		remember(name, f);
	cs_filter_unref(f);
	return r < 0 ? -1 : 0;
}

void cs_seccomp_sweep(bool (*used)(const char *name))
{
	cs_autofd int fd = open_folder(false, NULL);
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;

	if (!d)
		return;
	(void)TAKE_FD(fd);
	for (struct dirent *e; (e = readdir(d));) {
		cs_autofree char *name = cs_xasprintf(CS_SECCOMP_PREFIX "%s", e->d_name);
		if (e->d_name[0] != '.' && !used(name))
			(void)unlinkat(dirfd(d), e->d_name, 0);
	}
	(void)closedir(d);
}

static int load(const char *name, const char *path, struct cs_filter **ret, struct cs_err **err)
{
	cs_autostr struct cs_str text = CS_STR_INIT(4 << 20);
	char is[CS_SECCOMP_NAME];

	if (strlen(name) != CS_SECCOMP_NAME - 1 || !cs_is_plain_name(name + 7))
		return cs_fail(err, CS_ERR_INVALID, 0, "%s: malformed name of a profile", path);
	cs_autofd int dir = open_folder(false, err);
	int r = dir < 0 ? -1 : cs_read_file_at(dir, name + 7, &text);
	if (r < 0)
		return cs_fail(err, CS_ERR_INVALID, dir < 0 ? 0 : -r, "%s: there is no profile %s", path, name);
	name_of(text.buf ? text.buf : "", text.len, is);
	if (strcmp(is, name) != 0)
		return cs_fail(err, CS_ERR_INVALID, 0, "%s: the profile %s is damaged", path, name);
	cs_autojson json_t *profile = json_stringn(text.buf, text.len);
	if (!profile || cs_seccomp_get(profile, path, ret, err) < 0)
		return -1;
	remember(name, *ret);
	return 0;
}

int cs_seccomp_by_name(const char *name, const char *path, struct cs_filter **ret, struct cs_err **err)
{
	struct cs_filter *f = NULL;

	pthread_mutex_lock(&named.lock);
	for (size_t i = 0; i < NAMED && !f; i++)
		if (named.e[i].filter && strcmp(named.e[i].name, name) == 0)
			f = cs_filter_ref(named.e[i].filter);
	pthread_mutex_unlock(&named.lock);
	if (!f)
		return load(name, path, ret, err);
	*ret = f;
	return 0;
}
