/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "engine/names.h"

static void random_names_are_valid(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 500; i++) {
		cs_autofree char *n = cs_name_random(i % 4);
		assert_true(cs_name_valid(n));
		assert_non_null(strchr(n, '_'));
	}
}

static void rule(void **state)
{
	(void)state;
	static const char *const good[] = {"ab", "a1", "0x", "a.b", "a_b-c", "Web"};
	static const char *const bad[] = {"", "a", "-a", ".a", "_a", "a b", "a/b", "ä1", "a\n"};
	for (size_t i = 0; i < CS_ARRAY_SIZE(good); i++)
		assert_true(cs_name_valid(good[i]));
	for (size_t i = 0; i < CS_ARRAY_SIZE(bad); i++)
		assert_false(cs_name_valid(bad[i]));
	assert_false(cs_name_valid(NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(random_names_are_valid), cmocka_unit_test(rule)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
