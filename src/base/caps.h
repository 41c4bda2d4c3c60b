/* SPDX-License-Identifier: Apache-2.0
 *
 * Names and numbers of capabilities(7). */
#pragma once

#define CS_CAP_LAST 40 /* CAP_CHECKPOINT_RESTORE, the newest known here */

const char *cs_cap_name(int cap);         /* "CAP_CHOWN" for 0..CS_CAP_LAST, NULL beyond */
int cs_cap_by_name(const char *name);     /* "CAP_CHOWN", "chown" (any case) -> number; -1 unknown */
