/* SPDX-License-Identifier: Apache-2.0
 *
 * Profiles that were handed to the service once and are named by their digest in documents: a start then neither carries nor parses four
 * hundred names. Each lies in <runtime>/seccomp/<hex>, so that a document still means something to the next service, as long as somebody holds it:
 * who has registered it, or a document that names it. What a dead service leaves goes with the next one's sweep. Any thread. */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/guard.h"
#include "base/io.h"
#include "base/json.h"
#include "base/path.h"
#include "base/sha256.h"
#include "compute/internal.h"
#include "compute/seccomp_cache.h"

#define PREFIX (sizeof(CS_SECCOMP_PREFIX) - 1)

struct cs_named_profile {
	UT_hash_handle hh;
	char name[CS_SECCOMP_NAME];
	struct cs_filter *filter;
	unsigned registered, documents; /* who holds it; with neither its file goes */
};

/* Leaf lock. It is held across work on the files, so that what is in the table has its file: only a profile's first and last holder cause any. */
static struct {
	pthread_mutex_t lock;
	struct cs_named_profile *table;
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
	memcpy(name, CS_SECCOMP_PREFIX, PREFIX);
	cs_sha256_hex_of(text, len, name + PREFIX);
}

static struct cs_named_profile *find(const char *name) /* lock held, as in all below */
{
	struct cs_named_profile *p;

	HASH_FIND_STR(named.table, name, p);
	return p;
}

static struct cs_named_profile *add(const char *name, struct cs_filter *f) /* takes f */
{
	struct cs_named_profile *p = cs_xcalloc(1, sizeof(*p));

	(void)snprintf(p->name, sizeof(p->name), "%s", name);
	p->filter = f;
	HASH_ADD_STR(named.table, name, p);
	return p;
}

static void settle(struct cs_named_profile *p)
{
	if (p->registered || p->documents)
		return;
	cs_autofd int dir = cs_service.open ? open_folder(false, NULL) : -EBADF; /* of a service that is gone everything stays: the next one sweeps */
	if (dir >= 0)
		(void)unlinkat(dir, p->name + PREFIX, 0);
	HASH_DEL(named.table, p);
	cs_filter_unref(p->filter);
	free(p);
}

int cs_seccomp_register(const char *text, size_t len, char name[CS_SECCOMP_NAME], struct cs_err **err)
{
	cs_autojson json_t *profile = json_stringn(text, len);
	struct cs_filter *f = NULL;

	if (!profile || cs_seccomp_get(profile, "Profile", &f, err) < 0)
		return -1;
	name_of(text, len, name);
	CS_GUARD(&named.lock);
	struct cs_named_profile *p = find(name);
	if (p) {
		cs_filter_unref(f);
		p->registered++;
		return 0;
	}
	cs_autofd int dir = open_folder(true, err);
	int r = dir < 0 ? -1 : cs_replace_file_at(dir, name + PREFIX, text, len, 0600, false);
	if (r < 0) {
		cs_filter_unref(f);
		return dir < 0 ? -1 : cs_fail(err, CS_ERR_INTERNAL, -r, "keep a seccomp profile");
	}
	add(name, f)->registered = 1;
	return 0;
}

int cs_seccomp_unregister(const char *name, struct cs_err **err)
{
	CS_GUARD(&named.lock);
	struct cs_named_profile *p = find(name);

	if (!p || !p->registered)
		return cs_fail(err, CS_ERR_NOT_FOUND, 0, "there is no profile %s", name);
	p->registered--;
	settle(p);
	return 0;
}

void cs_seccomp_release(struct cs_named_profile *p)
{
	if (!p)
		return;
	CS_GUARD(&named.lock);
	p->documents--;
	settle(p);
}

void cs_seccomp_sweep(void)
{
	CS_GUARD(&named.lock);
	cs_autofd int fd = open_folder(false, NULL);
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;

	if (!d)
		return;
	(void)TAKE_FD(fd);
	for (struct dirent *e; (e = readdir(d));) {
		cs_autofree char *name = cs_xasprintf(CS_SECCOMP_PREFIX "%s", e->d_name);
		if (e->d_name[0] != '.' && !find(name))
			(void)unlinkat(dirfd(d), e->d_name, 0);
	}
	(void)closedir(d);
}

void cs_seccomp_close(void)
{
	struct cs_named_profile *p, *tmp;

	CS_GUARD(&named.lock);
	HASH_ITER(hh, named.table, p, tmp)
	{
		p->registered = 0;
		settle(p);
	}
}

static int load(const char *name, const char *path, struct cs_filter **ret, struct cs_err **err)
{
	cs_autostr struct cs_str text = CS_STR_INIT(4 << 20);
	char is[CS_SECCOMP_NAME];

	if (strlen(name) != CS_SECCOMP_NAME - 1 || !cs_is_plain_name(name + PREFIX))
		return cs_fail(err, CS_ERR_INVALID, 0, "%s: malformed name of a profile", path);
	cs_autofd int dir = open_folder(false, err);
	int r = dir < 0 ? -1 : cs_read_file_at(dir, name + PREFIX, &text);
	if (r < 0)
		return cs_fail(err, CS_ERR_INVALID, dir < 0 ? 0 : -r, "%s: there is no profile %s", path, name);
	name_of(text.buf ? text.buf : "", text.len, is);
	if (strcmp(is, name) != 0)
		return cs_fail(err, CS_ERR_INVALID, 0, "%s: the profile %s is damaged", path, name);
	cs_autojson json_t *profile = json_stringn(text.buf, text.len);
	return profile ? cs_seccomp_get(profile, path, ret, err) : -1;
}

int cs_seccomp_by_name(const char *name, const char *path, struct cs_named_profile **ret, struct cs_filter **ret_filter, struct cs_err **err)
{
	struct cs_filter *f = NULL;

	CS_GUARD(&named.lock);
	struct cs_named_profile *p = find(name);
	if (!p && load(name, path, &f, err) < 0) /* of an earlier service's system */
		return -1;
	p = p ? p : add(name, f);
	p->documents++;
	*ret = p;
	*ret_filter = cs_filter_ref(p->filter);
	return 0;
}
