/* SPDX-License-Identifier: Apache-2.0
 *
 * What of a start is done before its plan is there, as the plan that was started last had it:
 *   AHEAD  by the idle worker, at leisure: a mount and an IPC namespace with nothing in them but an empty root and, on that, /dev with its nodes and
 *          what is mounted below it
 *   EARLY  by the container's first process, which is cloned when a start begins, while the engine still makes its plan: /proc and /sys with what
 *          covers parts of them, on the same empty root
 *   LATE   the rest: the overlay goes onto the empty root, the three directories are copied onto the overlay, everything else as it stands in the plan
 * Nothing of the host's is mounted in the namespace: what a start needs of it is opened before the process joins. A plan that does not go with this
 * is applied in its own order by a process of its own. */
#pragma once

#include "base/error.h"
#include "base/str.h"
#include "compute/process/plan.h"

#define CS_AHEAD_MAX_GROUPS 16 /* mounts of groups in one packet */
#define CS_AHEAD_MAX_LAYERS 50 /* of an overlay that is made by fsconfig(2), which takes 255 characters: by numbers of descriptors */

enum cs_when { CS_WHEN_AHEAD = 0x40, CS_WHEN_EARLY, CS_WHEN_LATE };
struct cs_parts {
	bool ahead; /* false: all of the plan is LATE */
	bool early; /* false: so is what could be EARLY */
	bool sys;   /* /sys shows the network namespace in which it was mounted: false when that is joined with the plan */
};
/* What can be done before of this plan. */
struct cs_parts cs_parts_of(const struct cs_plan *plan);
enum cs_when cs_step_when(const struct cs_parts *parts, const struct cs_step *s);
/* The steps that are done before, as a plan: CLONE (if some are EARLY), AHEAD, EARLY. False: there are none. */
bool cs_ahead_steps(const struct cs_plan *plan, struct cs_str *ret);
