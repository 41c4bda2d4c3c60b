/* SPDX-License-Identifier: Apache-2.0
 *
 * api/query.c: decoding and Docker's ideas of booleans and numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "api/query.h"
#include "base/strv.h"

static struct cs_query parse(const char *text)
{
	struct cs_query q;
	cs_autoerr struct cs_err *err = NULL;

	assert_int_equal(cs_query_parse(text, &q, &err), 0);
	return q;
}

static void test_decode(void **state)
{
	struct cs_query q = parse("a=1&&b=x%20y+z&c&a=2&d=%7B%22%7d&=e");
	cs_autostrv char **all = cs_query_all(&q, "a");

	assert_string_equal(cs_query_get(&q, "a"), "1");
	assert_string_equal(cs_query_get(&q, "b"), "x y z");
	assert_string_equal(cs_query_get(&q, "c"), "");
	assert_null(cs_query_str(&q, "c"));
	assert_string_equal(cs_query_get(&q, "d"), "{\"}");
	assert_null(cs_query_get(&q, "nope"));
	assert_int_equal(cs_strv_len(all), 2);
	cs_query_done(&q);
	q = parse("");
	assert_int_equal(q.n, 0);
	cs_query_done(&q);
}

static void test_broken(void **state)
{
	static const char *const bad[] = { "a=%", "a=%2", "a=%zz", "%00=1", "a=%00", "a=1;b=2" };

	for (size_t i = 0; i < CS_ARRAY_SIZE(bad); i++) {
		cs_autoerr struct cs_err *err = NULL;
		struct cs_query q;
		assert_int_equal(cs_query_parse(bad[i], &q, &err), -1);
		assert_int_equal(cs_err_code(err), CS_ERR_INVALID);
	}
	char many[2 * (CS_QUERY_MAX_PAIRS + 2) + 1];
	for (size_t i = 0; i < sizeof(many) - 1; i++)
		many[i] = i % 2 ? '&' : 'a';
	many[sizeof(many) - 1] = '\0';
	struct cs_query q;
	assert_int_equal(cs_query_parse(many, &q, NULL), -1);
}

static void test_bool(void **state)
{
	struct cs_query q = parse("a=&b=0&c=no&d=False&e=NONE&f=1&g=true&h=x&i=%20false%20");

	for (const char *k = "abcdei"; *k; k++)
		assert_false(cs_query_bool(&q, (char[]){ *k, 0 }));
	for (const char *k = "fgh"; *k; k++)
		assert_true(cs_query_bool(&q, (char[]){ *k, 0 }));
	assert_false(cs_query_bool(&q, "absent"));
	assert_true(cs_query_bool_or(&q, "absent", true));
	assert_false(cs_query_bool_or(&q, "b", true));
	cs_query_done(&q);
}

static void test_numbers(void **state)
{
	struct cs_query q = parse("a=5&b=x&c=&d=-1&e=99999999999999999999&t=0&u=12.5&v=yesterday");
	cs_autoerr struct cs_err *err = NULL;
	int64_t v;

	assert_int_equal(cs_query_i64(&q, "a", 9, 0, 10, &v, NULL), 0);
	assert_int_equal(v, 5);
	assert_int_equal(cs_query_i64(&q, "c", 9, 0, 10, &v, NULL), 0);
	assert_int_equal(v, 9);
	assert_int_equal(cs_query_i64(&q, "d", 9, 0, 10, &v, NULL), -1);
	assert_int_equal(cs_query_i64(&q, "d", 9, -5, 10, &v, NULL), 0);
	assert_int_equal(cs_query_i64(&q, "e", 9, INT64_MIN, INT64_MAX, &v, NULL), -1);
	assert_int_equal(cs_query_i64(&q, "b", 9, 0, 10, &v, &err), -1);
	cs_autofree char *text = cs_err_text(err);
	assert_non_null(strstr(text, "strconv.Atoi: parsing \"x\": invalid syntax"));
	assert_int_equal(cs_query_time(&q, "t", &v, NULL), 0);
	assert_int_equal(v, 0);
	assert_int_equal(cs_query_time(&q, "u", &v, NULL), 0);
	assert_int_equal(v, 12500000000ll);
	assert_int_equal(cs_query_time(&q, "v", &v, NULL), -1);
	assert_int_equal(cs_query_time(&q, "absent", &v, NULL), 0);
	assert_int_equal(v, 0);
	cs_query_done(&q);
}

static void test_accept(void **state)
{
	assert_null(cs_accept_lines(NULL));
	static const char *const no[] = {"", "*/*", "application/*", "application/json", "application/jsonlx", "application/json-seq", ",,", "application/jsonl;q=0",
					 "application/jsonl ; q=0.00, text/html", "x application/jsonl", "application/x-ndjson; a=b; Q=0."};
	for (size_t i = 0; i < CS_ARRAY_SIZE(no); i++)
		assert_null(cs_accept_lines(no[i]));
	static const char *const jsonl[] = {"application/jsonl", "text/html, Application/JSONL;q=0.1", " application/jsonl ,x", ",application/jsonl, application/x-ndjson",
					    "application/jsonl;q=0.01", "application/x-ndjson;q=0, application/jsonl", "application/jsonl;q"};
	for (size_t i = 0; i < CS_ARRAY_SIZE(jsonl); i++)
		assert_string_equal(cs_accept_lines(jsonl[i]), "application/jsonl");
	assert_string_equal(cs_accept_lines("application/x-ndjson, application/jsonl"), "application/x-ndjson");
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_decode), cmocka_unit_test(test_broken), cmocka_unit_test(test_bool),
					    cmocka_unit_test(test_numbers), cmocka_unit_test(test_accept) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
