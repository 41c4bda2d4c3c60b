/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "engine/filters.h"

static void both_shapes(void **state)
{
	cs_autofilters struct cs_filters a = {0}, b = {0};

	(void)state;
	assert_int_equal(cs_filters_parse("{\"label\":[\"x\",\"y=1\"]}", NULL, &a, NULL), 0);
	assert_int_equal(cs_filters_parse("{\"label\":{\"x\":true,\"y=1\":true}}", NULL, &b, NULL), 0);
	struct cs_strmap *m = cs_strmap_new();
	cs_strmap_set(m, "x", "anything");
	assert_false(cs_filter_labels(&a, "label", m)); /* all must hold */
	cs_strmap_set(m, "y", "1");
	assert_true(cs_filter_labels(&a, "label", m));
	assert_true(cs_filter_labels(&b, "label", m));
	cs_strmap_set(m, "y", "2");
	assert_false(cs_filter_labels(&b, "label", m));
	assert_true(cs_filter_labels(&b, "other", NULL));
	cs_strmap_free(m);
}

static void bad_ones(void **state)
{
	static const char *const allowed[] = {"id", NULL};
	static const char *const bad[] = {"x", "[]", "{\"id\":1}", "{\"id\":[1]}", "{\"id\":{\"a\":\"b\"}}", "{\"nope\":[\"a\"]}"};

	(void)state;
	for (size_t i = 0; i < CS_ARRAY_SIZE(bad); i++) {
		cs_autofilters struct cs_filters f = {0};
		cs_autoerr struct cs_err *err = NULL;
		assert_int_equal(cs_filters_parse(bad[i], allowed, &f, &err), -1);
		assert_int_equal(cs_err_code(err), CS_ERR_INVALID);
	}
	cs_autofilters struct cs_filters f = {0};
	cs_autoerr struct cs_err *err = NULL;
	assert_int_equal(cs_filters_parse("{\"nope\":[\"a\"]}", allowed, &f, &err), -1);
	assert_string_equal(err->msg, "invalid filter 'nope'");
}

static void matching(void **state)
{
	cs_autofilters struct cs_filters f = {0};
	bool v = false;

	(void)state;
	assert_int_equal(cs_filters_parse("{\"name\":[\"^we.$\",\"db\"],\"dangling\":[\"true\"],\"bad\":[\"maybe\"]}", NULL, &f, NULL), 0);
	assert_true(cs_filter_match(&f, "name", "web"));
	assert_true(cs_filter_match(&f, "name", "mydb1"));
	assert_false(cs_filter_match(&f, "name", "webs"));
	assert_true(cs_filter_exact(&f, "name", "db"));
	assert_false(cs_filter_exact(&f, "name", "mydb"));
	assert_true(cs_filter_prefix(&f, "name", "dbs"));
	assert_int_equal(cs_filter_bool(&f, "dangling", &v, NULL), 0);
	assert_true(v);
	assert_int_equal(cs_filter_bool(&f, "bad", &v, NULL), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(both_shapes), cmocka_unit_test(bad_ones), cmocka_unit_test(matching)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
