/* SPDX-License-Identifier: Apache-2.0
 *
 * The namespaces of other containers that a container joins ("container:x"): private to the engine. */
#pragma once

#include "engine/container.h"

enum cs_join { CS_JOIN_NET, CS_JOIN_PID, CS_JOIN_IPC, CS_JOIN_MNT /* with IPC: whose /dev/shm it is */, CS_JOIN_MAX };
struct cs_joins {
	struct {
		int fd;
		char *path; /* by which the worker opens the descriptor; NULL: not joined */
	} ns[CS_JOIN_MAX];
};
#define CS_JOINS_NONE {.ns = {{-EBADF, NULL}, {-EBADF, NULL}, {-EBADF, NULL}, {-EBADF, NULL}}}

/* Descriptors, and not pids, which may be another process's by the time they are used. Needed until the start has succeeded. */
CS_MUST_CHECK int cs_joins_open(struct cs_container *c, struct cs_joins *ret, struct cs_err **err);
void cs_joins_done(struct cs_joins *j);
