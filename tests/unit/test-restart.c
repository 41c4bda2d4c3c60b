/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of restart policies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/time.h"
#include "engine/restart.h"

static const struct row {
	const char *policy;
	int64_t max, count;
	int exit_code;
	bool manual, daemon_start, want;
} rows[] = {
	{"", 0, 0, 1, false, false, false},
	{"no", 0, 0, 1, false, false, false},
	{"always", 0, 0, 0, false, false, true},
	{"always", 0, 0, 1, false, false, true},
	{"always", 0, 0, 1, true, false, false},
	{"always", 0, 0, 1, true, true, true},
	{"unless-stopped", 0, 0, 0, false, false, true},
	{"unless-stopped", 0, 0, 0, true, false, false},
	{"unless-stopped", 0, 0, 0, true, true, false},
	{"on-failure", 0, 0, 0, false, false, false},
	{"on-failure", 0, 99, 1, false, false, true},
	{"on-failure", 3, 2, 1, false, false, true},
	{"on-failure", 3, 3, 1, false, false, false},
	{"on-failure", 3, 0, 1, true, false, false},
};

static void policies(void **state)
{
	(void)state;
	for (size_t i = 0; i < CS_ARRAY_SIZE(rows); i++) {
		const struct row *r = &rows[i];
		struct cs_restart_in in = {.policy = r->policy, .max_retries = r->max, .count = r->count, .exit_code = r->exit_code,
					   .manually_stopped = r->manual, .daemon_start = r->daemon_start};
		if (cs_restart_decide(&in).restart != r->want)
			fail_msg("row %zu: %s", i, r->policy);
	}
}

static void back_off(void **state)
{
	struct cs_restart_in in = {.policy = "always"};
	int64_t want = 100 * CS_NS_PER_MS;

	(void)state;
	for (int i = 0; i < 12; i++) {
		struct cs_restart_out out = cs_restart_decide(&in);
		assert_true(out.delay_ns == CS_MIN(want, 60 * CS_NS_PER_SEC));
		in.backoff_ns = out.delay_ns;
		want *= 2;
	}
	in.ran_ns = 10 * CS_NS_PER_SEC; /* a good run starts over */
	assert_true(cs_restart_decide(&in).delay_ns == 100 * CS_NS_PER_MS);
}

static void unhealthy_is_a_failure(void **state)
{
	struct cs_restart_in in = {.policy = "on-failure", .exit_code = 0, .unhealthy = true};

	(void)state;
	assert_true(cs_restart_decide(&in).restart);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(policies), cmocka_unit_test(back_off), cmocka_unit_test(unhealthy_is_a_failure)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
