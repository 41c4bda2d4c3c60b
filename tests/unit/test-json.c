/* SPDX-License-Identifier: Apache-2.0
 *
 * base/json: one table, every kind, both directions; wrong types are named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/json.h"

struct inner {
	char *name;
	int64_t n;
};
static const struct cs_jfield inner_fields[] = {JF(struct inner, "Name", name, 0), JF(struct inner, "N", n, JF_OMIT), JF_END};
static const struct cs_jtype inner_type = {"Inner", sizeof(struct inner), inner_fields};

struct entry {
	char *key;
	int64_t v;
};
static const struct cs_jfield entry_fields[] = {JF(struct entry, "V", v, 0), JF_END};
static const struct cs_jtype entry_type = {"Entry", sizeof(struct entry), entry_fields};

struct outer {
	char *s, *raw;
	bool b;
	enum cs_tri t;
	int64_t i, *ni, tm;
	uint64_t u;
	double f;
	char **v, **one, **set;
	struct cs_strmap *m;
	struct inner *obj, inl, *list;
	size_t n_list;
	struct entry *map;
	size_t n_map;
};
static const struct cs_jfield outer_fields[] = {
	JF(struct outer, "S", s, 0),
	JF(struct outer, "B", b, 0),
	JF(struct outer, "T", t, 0),
	JF(struct outer, "I", i, 0),
	JF(struct outer, "U", u, 0),
	JF(struct outer, "NI", ni, 0),
	JF(struct outer, "F", f, 0),
	JF(struct outer, "V", v, 0),
	JF(struct outer, "One", one, JF_ONE | JF_EMPTY),
	JF(struct outer, "M", m, 0),
	JF_AS(struct outer, "Set", set, 0, JK_SET),
	JF_OBJ(struct outer, "Obj", obj, 0, &inner_type),
	JF_INLINE(struct outer, "Inl", inl, JF_OMIT, &inner_type),
	JF_LIST(struct outer, "List", list, n_list, 0, &inner_type),
	JF_MAP(struct outer, "Map", map, n_map, JF_EMPTY, &entry_type),
	JF_AS(struct outer, "Raw", raw, 0, JK_RAW),
	JF_AS(struct outer, "Tm", tm, 0, JK_TIME),
	JF_END,
};
static const struct cs_jtype outer_type = {"Outer", sizeof(struct outer), outer_fields};

static char *round_trip(const char *in, char **error)
{
	struct outer a = {0}, b;
	struct cs_err *err = NULL;
	struct cs_str out = CS_STR_INIT(1 << 20);

	*error = NULL;
	if (cs_json_decode_text(&outer_type, in, &a, &err) < 0)
		*error = cs_err_text(err);
	cs_err_free(err);
	cs_json_copy(&outer_type, &b, &a);
	cs_json_release(&outer_type, &a);
	cs_json_encode(&outer_type, &b, 0, &out);
	cs_json_release(&outer_type, &b);
	return cs_str_steal(&out);
}

static void test_round_trip(void **state)
{
	static const char in[] = "{\"s\":\"h\\u00e9\\u2028\\\"<x>\",\"B\":true,\"t\":false,\"I\":-5,\"U\":7,\"ni\":7,\"V\":[\"a\",\"b\"],\"one\":\"x\","
				 "\"M\":{\"z\":\"1\",\"a\":\"2\"},\"Set\":{\"80/tcp\":{},\"1/udp\":{}},\"Obj\":{\"Name\":\"q\",\"N\":3},"
				 "\"List\":[{\"Name\":\"1\"},null],\"Map\":{\"k\":{\"V\":2},\"a\":null},\"Raw\":{\"x\":[1,2]},\"F\":0.25,"
				 "\"Tm\":\"2020-01-02T03:04:05.5+01:00\",\"Unknown\":1}";
	cs_autofree char *error = NULL, *out = round_trip(in, &error);
	assert_null(error);
	assert_string_equal(out, "{\"S\":\"h\xc3\xa9\\u2028\\\"<x>\",\"B\":true,\"T\":false,\"I\":-5,\"U\":7,\"NI\":7,\"F\":0.25,\"V\":[\"a\",\"b\"],\"One\":[\"x\"],"
				 "\"M\":{\"a\":\"2\",\"z\":\"1\"},\"Set\":{\"1/udp\":{},\"80/tcp\":{}},\"Obj\":{\"Name\":\"q\",\"N\":3},"
				 "\"List\":[{\"Name\":\"1\"},{\"Name\":\"\"}],\"Map\":{\"a\":{\"V\":0},\"k\":{\"V\":2}},\"Raw\":{\"x\":[1,2]},"
				 "\"Tm\":\"2020-01-02T02:04:05.5Z\"}");
}

static void test_zero(void **state)
{
	cs_autofree char *error = NULL, *out = round_trip("{}", &error);
	assert_null(error);
	assert_string_equal(out, "{\"S\":\"\",\"B\":false,\"T\":null,\"I\":0,\"U\":0,\"NI\":null,\"F\":0,\"V\":null,\"One\":[],\"M\":null,\"Set\":null,\"Obj\":null,"
				 "\"List\":null,\"Map\":{},\"Raw\":null,\"Tm\":\"0001-01-01T00:00:00Z\"}");
}

static void test_errors(void **state)
{
	static const char *const cases[][2] = {
		{"{\"S\":1}", "invalid JSON: S: expected string, got number"},
		{"{\"S\":\"a\\u0000b\"}", "invalid JSON: S: contains a NUL character"},
		{"{\"List\":[{},{\"Name\":true}]}", "invalid JSON: List[1].Name: expected string, got boolean"},
		{"{\"Map\":{\"k\":{\"V\":\"a\"}}}", "invalid JSON: Map.k.V: expected integer, got string"},
		{"{\"U\":-1}", "invalid JSON: U: expected non-negative integer, got -1"},
		{"{\"I\":1.5}", "invalid JSON: I: expected integer, got number 1.5"},
		{"{\"V\":{}}", "invalid JSON: V: expected array of strings, got object"},
		{"{\"Obj\":[]}", "invalid JSON: Obj: expected object, got array"},
		{"{\"Tm\":\"never\"}", "invalid JSON: Tm: not an RFC 3339 time: \"never\""},
		{"[]", "invalid JSON: Outer: expected object, got array"},
	};
	for (size_t k = 0; k < CS_ARRAY_SIZE(cases); k++) {
		cs_autofree char *error = NULL, *out = round_trip(cases[k][0], &error);
		assert_non_null(error);
		assert_string_equal(error, cases[k][1]);
	}
	cs_autofree char *error = NULL, *out = round_trip("{\"S\":", &error);
	assert_non_null(strstr(error, "line 1"));
}

static void test_invalid_utf8(void **state)
{
	cs_autostr struct cs_str s = CS_STR_INIT(1000);
	cs_json_put_stringn(&s, "a\xff\xc0\x80\xed\xa0\x80z\x01", 9);
	assert_string_equal(s.buf, "\"a\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\ufffdz\\u0001\"");
}

/* As encoding/json of Go prints a float64. */
static void test_doubles(void **state)
{
	static const char *const pairs[][2] = {
		{"1e6", "1000000"}, {"1e20", "100000000000000000000"}, {"123456789012345678901", "123456789012345680000"}, {"1e21", "1e+21"}, {"0.1", "0.1"},
		{"-1.5e3", "-1500"}, {"1234.5", "1234.5"}, {"0.0012", "0.0012"}, {"0.000001", "0.000001"}, {"1.25e-7", "1.25e-7"}, {"1e-10", "1e-10"},
		{"0", "0"}, {"1.7976931348623157e308", "1.7976931348623157e+308"}, {"100", "100"}, {"0.30000000000000004", "0.30000000000000004"}};

	for (size_t i = 0; i < CS_ARRAY_SIZE(pairs); i++) {
		cs_autofree char *in = cs_xasprintf("{\"F\":%s}", pairs[i][0]), *want = cs_xasprintf("\"F\":%s,", pairs[i][1]), *error = NULL;
		cs_autofree char *out = round_trip(in, &error);
		assert_null(error);
		if (!strstr(out, want))
			fail_msg("%s: %s", pairs[i][0], out);
	}
}

static void test_wide_integers(void **state)
{
	static const char text[] = "{\"S\":\"18446744073709551615 \\\" 99999999999999999999\",\"x\":[18446744073709551615,-9223372036854775808,1e3,"
				   "-9223372036854775809,99999999999999999999,9223372036854775807]}";
	cs_autofree char *error = NULL, *out = round_trip(text, &error);
	uint64_t v = 0;

	/* who does not read it does not mind */
	assert_null(error);
	assert_non_null(strstr(out, "\"S\":\"18446744073709551615 \\\" 99999999999999999999\""));
	cs_autofree char *refused = NULL, *none = round_trip("{\"I\":9223372036854775808}", &refused);
	assert_non_null(strstr(refused, "I: expected integer, got number"));

	cs_autojson json_t *j = cs_json_parse_u64(text, sizeof(text) - 1, NULL);
	json_t *x = json_object_get(j, "x");
	assert_int_equal(json_array_size(x), 6);
	assert_true(cs_json_u64(json_array_get(x, 0), &v) && v == UINT64_MAX);
	assert_true(json_integer_value(json_array_get(x, 1)) == INT64_MIN);
	assert_false(cs_json_u64(json_array_get(x, 1), &v));
	assert_true(json_real_value(json_array_get(x, 2)) == 1000);
	assert_true(json_is_real(json_array_get(x, 3)) && json_is_real(json_array_get(x, 4)));
	assert_true(cs_json_u64(json_array_get(x, 5), &v) && v == INT64_MAX);
	assert_null(cs_json_parse("[99999999999999999999", 21, NULL));
	assert_null(cs_json_parse("[99999999999999999999,\"", 23, NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_round_trip), cmocka_unit_test(test_doubles), cmocka_unit_test(test_wide_integers), cmocka_unit_test(test_zero), cmocka_unit_test(test_errors), cmocka_unit_test(test_invalid_utf8)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
