/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/archive_lib.h"

#include <dlfcn.h>

#define LIBRARY "libarchive.so.13"

struct archive_lib archive_lib;

int archive_lib_load(struct cs_err **err)
{
	static void *handle;

	if (handle)
		return 0;
	handle = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
	if (!handle)
		return cs_fail(err, CS_ERR_UNSUPPORTED, 0, "archives need libarchive: %s", dlerror());
#define RESOLVE(name)                                                                                                                               \
	A(name) = (__typeof__(A(name)))dlsym(handle, "archive_" #name);                                                                             \
	if (!A(name))                                                                                                                               \
		return cs_fail(err, CS_ERR_UNSUPPORTED, 0, "%s has no archive_" #name, LIBRARY);
	ARCHIVE_FUNCTIONS(RESOLVE)
#undef RESOLVE
	return 0;
}
