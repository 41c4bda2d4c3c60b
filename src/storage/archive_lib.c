/* SPDX-License-Identifier: Apache-2.0
 *
 * Loads libarchive for the first user and lets it go after the last. */
#include "storage/archive_lib.h"

#include <dlfcn.h>
#include <pthread.h>

#define LIBRARY "libarchive.so.13"

struct cs_archive_lib cs_archive;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of the two below */
static void *handle;
static unsigned users;

static bool resolve(void)
{
#define CS_ARCHIVE_RESOLVE(name)                                                                                                                    \
	cs_archive.f_##name = (__typeof__(cs_archive.f_##name))dlsym(handle, "archive_" #name);                                                     \
	if (!cs_archive.f_##name)                                                                                                                    \
		return false;
	CS_ARCHIVE_FUNCTIONS(CS_ARCHIVE_RESOLVE)
#undef CS_ARCHIVE_RESOLVE
	return true;
}

int cs_archive_get(struct cs_err **err)
{
	int r = 0;

	pthread_mutex_lock(&lock);
	if (users == 0) {
		handle = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
		if (!handle || !resolve()) {
			const char *why = dlerror();
			r = cs_fail(err, CS_ERR_INTERNAL, 0, "load the archive library: %s", why ? why : LIBRARY);
			if (handle)
				(void)dlclose(TAKE_PTR(handle));
		}
	}
	if (r == 0)
		users++;
	pthread_mutex_unlock(&lock);
	return r;
}

void cs_archive_put(void)
{
	pthread_mutex_lock(&lock);
	if (--users == 0)
		(void)dlclose(TAKE_PTR(handle));
	pthread_mutex_unlock(&lock);
}
