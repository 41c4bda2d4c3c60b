/* SPDX-License-Identifier: Apache-2.0
 *
 * What a burst leaves behind: holes in the heap, and code that runs once in a while (start-up, TLS, importing). Both go back when it has been
 * quiet for a moment. The lock guards the struct; the timer runs on the loop's thread. One per process, as the heap is. */
#include "engine/trim.h"

#include <link.h>
#include <malloc.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/time.h"
#include "registry/registry.h"

#define QUIET (3 * CS_NS_PER_SEC / 2)

static struct {
	pthread_mutex_t lock;
	struct cs_loop *loop; /* NULL: not started, or stopped */
	int64_t last;         /* activity */
	bool armed;
} trim = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Pages of a file that nobody can have written to: they are in the page cache, and come back by a minor fault. Segments with relocations are
 * writable in the program header, also when they are read-only by now. */
static int drop_code(struct dl_phdr_info *info, size_t size, void *data)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

	(void)size;
	(void)data;
	for (size_t i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *p = &info->dlpi_phdr[i];
		if (p->p_type != PT_LOAD || (p->p_flags & PF_W))
			continue;
		uintptr_t start = (info->dlpi_addr + p->p_vaddr) & ~(page - 1);
		uintptr_t end = (info->dlpi_addr + p->p_vaddr + p->p_memsz) & ~(page - 1); /* the last page may be shared with data */
		if (end > start)
			(void)madvise((void *)start, end - start, MADV_DONTNEED);
	}
	return 0;
}

static void on_quiet(void *ctx)
{
	pthread_mutex_lock(&trim.lock);
	int64_t due = trim.last + QUIET;
	trim.armed = trim.loop && cs_monotonic_ns() < due;
	bool again = trim.armed;
	if (again)
		(void)cs_timer_set(trim.loop, due, on_quiet, NULL);
	pthread_mutex_unlock(&trim.lock);
	if (again)
		return;
	cs_registry_trim();
	(void)malloc_trim(0);
	(void)dl_iterate_phdr(drop_code, NULL);
}

void cs_trim_touch(void)
{
	pthread_mutex_lock(&trim.lock);
	trim.last = cs_monotonic_ns();
	if (trim.loop && !trim.armed) {
		trim.armed = true;
		(void)cs_timer_set(trim.loop, trim.last + QUIET, on_quiet, NULL);
	}
	pthread_mutex_unlock(&trim.lock);
}

void cs_trim_start(struct cs_loop *l)
{
	pthread_mutex_lock(&trim.lock);
	trim.loop = l;
	trim.armed = false;
	pthread_mutex_unlock(&trim.lock);
	cs_trim_touch();
}

void cs_trim_stop(void)
{
	pthread_mutex_lock(&trim.lock);
	trim.loop = NULL;
	pthread_mutex_unlock(&trim.lock);
}
