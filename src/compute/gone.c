/* SPDX-License-Identifier: Apache-2.0
 *
 * Runtime directories that nobody needs any more: renamed by whoever ends a system, deleted here, one after another in a thread that
 * lives as long as there are some. Whoever waits for the system does not wait for the disk; what a crash leaves goes at the next start. */
#include <fcntl.h>

#include "base/io.h"
#include "base/log.h"
#include "base/strv.h"
#include "compute/internal.h"

static struct {
	pthread_mutex_t lock;
	char **names;
	bool running;
} gone = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void delete_all(void *arg)
{
	(void)arg;
	pthread_mutex_lock(&gone.lock);
	while (gone.names) {
		cs_autostrv char **names = TAKE_PTR(gone.names);
		pthread_mutex_unlock(&gone.lock);
		for (char **n = names; *n; n++) {
			int r = cs_remove_tree_at(cs_service.systems_fd, *n);
			if (r < 0)
				cs_debug("compute", "remove the runtime directory %s: %s", *n, cs_errno_text(-r));
		}
		pthread_mutex_lock(&gone.lock);
	}
	gone.running = false;
	pthread_mutex_unlock(&gone.lock);
}

void cs_gone_delete(const char *name)
{
	pthread_mutex_lock(&gone.lock);
	cs_strv_push(&gone.names, name);
	bool start = !gone.running;
	gone.running = true;
	pthread_mutex_unlock(&gone.lock);
	if (start)
		cs_background(delete_all, NULL);
}
