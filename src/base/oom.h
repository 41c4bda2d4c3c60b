/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The lowest oom_score_adj that this process and its children may set: -1000 with CAP_SYS_RESOURCE, else what somebody with it has set last, which is below the
 * present value when that was raised since. Found by trying, once; any thread. */
int cs_oom_score_least(void);
