/* SPDX-License-Identifier: Apache-2.0
 *
 * Loading by dlopen, counted. */
#include "base/late.h"

#include <dlfcn.h>
#include <string.h>

static bool resolve(struct cs_late *l, void *table)
{
	for (const struct cs_late_symbol *s = l->symbols; s->name; s++) {
		void *f = dlsym(l->handle, s->name);
		if (!f)
			return false;
		memcpy((char *)table + s->offset, &f, sizeof(f));
	}
	return true;
}

int cs_late_get(struct cs_late *l, void *table, struct cs_err **err)
{
	int r = 0;

	pthread_mutex_lock(&l->lock);
	if (l->users == 0) {
		l->handle = dlopen(l->name, RTLD_NOW | RTLD_LOCAL);
		if (!l->handle || !resolve(l, table)) {
			const char *why = dlerror();
			r = cs_fail(err, CS_ERR_INTERNAL, 0, "load %s: %s", l->name, why ? why : "not found");
			if (l->handle)
				(void)dlclose(TAKE_PTR(l->handle));
		}
	}
	if (r == 0)
		l->users++;
	pthread_mutex_unlock(&l->lock);
	return r;
}

void cs_late_put(struct cs_late *l)
{
	pthread_mutex_lock(&l->lock);
	if (--l->users == 0)
		(void)dlclose(TAKE_PTR(l->handle));
	pthread_mutex_unlock(&l->lock);
}
