/* SPDX-License-Identifier: Apache-2.0
 *
 * Docker's restart policies: 100 ms, doubling to one minute, back to the start after ten seconds of running. */
#include "engine/restart.h"

#include "base/time.h"

#define FIRST_NS (100 * CS_NS_PER_MS)
#define LONGEST_NS (60 * CS_NS_PER_SEC)
#define GOOD_RUN_NS (10 * CS_NS_PER_SEC)

static bool wants(const struct cs_restart_in *in)
{
	if (cs_streq(in->policy, "always"))
		return !in->manually_stopped || in->daemon_start; /* as documented: a stopped "always" comes back with the daemon */
	if (in->manually_stopped)
		return false;
	if (cs_streq(in->policy, "unless-stopped"))
		return true;
	if (cs_streq(in->policy, "on-failure"))
		return (in->exit_code != 0 || in->unhealthy) && (in->max_retries <= 0 || in->count < in->max_retries);
	return false;
}

struct cs_restart_out cs_restart_decide(const struct cs_restart_in *in)
{
	struct cs_restart_out out = {0};

	if (!wants(in))
		return out;
	out.restart = true;
	if (in->ran_ns >= GOOD_RUN_NS || in->backoff_ns <= 0)
		out.delay_ns = FIRST_NS;
	else
		out.delay_ns = CS_MIN(in->backoff_ns * 2, LONGEST_NS);
	return out;
}
