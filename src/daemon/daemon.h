/* SPDX-License-Identifier: Apache-2.0
 *
 * Private to caissond: the pieces that main.c puts in order. */
#pragma once

#include "base/error.h"
#include "base/str.h"

struct cs_engine;

/* Holds the file's lock until the process ends. CONFLICT when another daemon has it. */
CS_MUST_CHECK int cs_pidfile_take(const char *path, struct cs_err **err);
/* The same for a data root or an exec root, by the file "lock" in it. */
CS_MUST_CHECK int cs_root_take(const char *dir, struct cs_err **err);

/* systemd's readiness protocol; nothing happens without NOTIFY_SOCKET. */
void cs_notify(const char *state);

/* Best effort: descriptors, OOM score (-1000 to 1000; false: it was not allowed), allocator, signals' dispositions. Before any thread. */
bool cs_process_setup(int64_t oom_score);

/* Threads (names, where they wait in the kernel) and the engine's own view, to <exec_root>/dump-<time>.txt and the log. */
void cs_dump(struct cs_engine *e, const char *exec_root);

/* In a chroot, makes it the root of a mount namespace of our own; elsewhere does nothing. Before any thread. */
CS_MUST_CHECK int cs_leave_chroot(struct cs_err **err);

/* Path of caisson-worker: as configured, beside this program, or in ../libexec. Caller frees. */
CS_MUST_CHECK int cs_find_worker(const char *configured, char **ret, struct cs_err **err);

/* The archive that is installed with this program, or NULL. Caller frees. */
char *cs_find_base_image(void);
