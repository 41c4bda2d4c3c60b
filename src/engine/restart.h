/* SPDX-License-Identifier: Apache-2.0
 *
 * Restart policies as a pure decision. */
#pragma once

#include "engine/types.h"

struct cs_restart_in {
	const char *policy; /* "", "no", "always", "unless-stopped", "on-failure" */
	int64_t max_retries, count;
	int exit_code;
	bool manually_stopped;
	int64_t ran_ns, backoff_ns; /* backoff_ns: of the last restart, 0 at first */
	bool daemon_start;          /* deciding for an exit that happened while the engine was away */
	bool unhealthy;             /* stopped by us because its health check failed (opt-in) */
};
struct cs_restart_out {
	bool restart;
	int64_t delay_ns; /* before the restart; the new backoff_ns */
};
struct cs_restart_out cs_restart_decide(const struct cs_restart_in *in);
