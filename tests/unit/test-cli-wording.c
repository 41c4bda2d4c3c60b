/* SPDX-License-Identifier: Apache-2.0
 *
 * Sizes and spans as docker/go-units prints them (the tables were printed by it), columns as text/tabwriter makes them. */
#include <stdarg.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include "cli/list.h"
#include "cli/ports.h"

static const struct {
	int64_t s;
	const char *text;
} spans[] = {
	{-5, "Less than a second"},
	{0, "Less than a second"},
	{1, "1 second"},
	{2, "2 seconds"},
	{59, "59 seconds"},
	{60, "About a minute"},
	{61, "About a minute"},
	{119, "About a minute"},
	{120, "2 minutes"},
	{3599, "59 minutes"},
	{3600, "About an hour"},
	{5399, "About an hour"},
	{5400, "2 hours"},
	{5401, "2 hours"},
	{7199, "2 hours"},
	{7200, "2 hours"},
	{86400, "24 hours"},
	{172799, "2 days"},
	{172800, "2 days"},
	{169199, "47 hours"},
	{169200, "47 hours"},
	{169201, "47 hours"},
	{1209600, "2 weeks"},
	{1207799, "13 days"},
	{1207800, "2 weeks"},
	{5184000, "2 months"},
	{5182199, "8 weeks"},
	{5182200, "2 months"},
	{63072000, "2 years"},
	{63070199, "24 months"},
	{63070200, "1 years"},
	{94608000, "3 years"},
};
static const struct {
	double n;
	const char *three, *four, *binary;
} sizes[] = {
	{0, "0B", "0B", "0B"},
	{1, "1B", "1B", "1B"},
	{999, "999B", "999B", "999B"},
	{1000, "1kB", "1kB", "1000B"},
	{1001, "1kB", "1.001kB", "1001B"},
	{1024, "1.02kB", "1.024kB", "1KiB"},
	{9995, "9.99kB", "9.995kB", "9.761KiB"},
	{9994, "9.99kB", "9.994kB", "9.76KiB"},
	{99949, "99.9kB", "99.95kB", "97.61KiB"},
	{999499, "999kB", "999.5kB", "976.1KiB"},
	{999500, "1e+03kB", "999.5kB", "976.1KiB"},
	{999999, "1e+03kB", "1000kB", "976.6KiB"},
	{1000000, "1MB", "1MB", "976.6KiB"},
	{1234567, "1.23MB", "1.235MB", "1.177MiB"},
	{1000000000, "1GB", "1GB", "953.7MiB"},
	{1500000000000, "1.5TB", "1.5TB", "1.364TiB"},
	{123456789012345, "123TB", "123.5TB", "112.3TiB"},
};

static void test_units(void **state)
{
	tpl_autoarena struct tpl_arena *a = tpl_arena_new();

	for (size_t i = 0; i < CS_ARRAY_SIZE(spans); i++)
		assert_string_equal(duration_text(a, spans[i].s), spans[i].text);
	for (size_t i = 0; i < CS_ARRAY_SIZE(sizes); i++) {
		assert_string_equal(size_text(a, sizes[i].n, 3), sizes[i].three);
		assert_string_equal(size_text(a, sizes[i].n, 4), sizes[i].four);
		assert_string_equal(binary_size_text(a, sizes[i].n), sizes[i].binary);
	}
}

static void test_columns(void **state)
{
	static const struct {
		const char *in, *out;
		size_t min;
	} cases[] = {{"", "", 10}, {"a\n", "a\n", 10}, {"a\tb\n", "a         b\n", 10}, {"a\tb\nlonger than ten\tc\n", "a                 b\nlonger than ten   c\n", 10},
		     {"a\tb\tc\n\n\td\te\n", "a         b         c\n\n          d         e\n", 10}, {"x\ty\nno cell\nzzzzzzzzzzzzzz\ty\n", "x         y\nno cell\nzzzzzzzzzzzzzz   y\n", 10},
		     {"\xe6\x97\xa5\xe6\x9c\xac\tb\nab\tc\n", "\xe6\x97\xa5\xe6\x9c\xac   b\nab     c\n", 0}};

	for (size_t i = 0; i < CS_ARRAY_SIZE(cases); i++) {
		cs_autostr struct cs_str out = CS_STR_INIT(1 << 16);
		tab_write(&out, cases[i].in, strlen(cases[i].in), cases[i].min, 3);
		assert_string_equal(out.buf ? out.buf : "", cases[i].out);
	}
}

static void test_names(void **state)
{
	tpl_autoarena struct tpl_arena *a = tpl_arena_new();

	assert_string_equal(ellipsis(a, "12345678901234567890", 20), "12345678901234567890");
	assert_string_equal(ellipsis(a, "123456789012345678901", 20), "1234567890123456789\xe2\x80\xa6");
	assert_string_equal(ellipsis(a, "\xe6\x97\xa5\xe6\x9c\xac\xe6\x97\xa5", 5), "\xe6\x97\xa5\xe6\x9c\xac\xe2\x80\xa6");
	assert_string_equal(truncate_id(a, "sha256:0123456789abcdef"), "0123456789ab");
	assert_string_equal(truncate_id(a, "<missing>"), "<missing>");
	assert_true(natural_compare("v9", "v10") < 0 && natural_compare("v10", "v9") > 0 && natural_compare("a", "a") == 0 && natural_compare("a", "ab") < 0);
	assert_true(natural_compare("a01", "a1") != 0 && natural_compare("8080/tcp", "80/tcp") > 0);
}

static void test_ports(void **state)
{
	static const struct {
		const char *json, *text;
	} cases[] = {{"[]", ""},
		     {"[{\"PrivatePort\":80,\"Type\":\"tcp\"}]", "80/tcp"},
		     {"[{\"PrivatePort\":82,\"Type\":\"tcp\"},{\"PrivatePort\":80,\"Type\":\"tcp\"},{\"PrivatePort\":81,\"Type\":\"tcp\"},{\"PrivatePort\":90,\"Type\":\"tcp\"}]", "80-82/tcp, 90/tcp"},
		     {"[{\"IP\":\"0.0.0.0\",\"PrivatePort\":80,\"PublicPort\":8080,\"Type\":\"tcp\"},{\"IP\":\"::\",\"PrivatePort\":80,\"PublicPort\":8080,\"Type\":\"tcp\"},{\"PrivatePort\":9,\"Type\":\"udp\"}]",
		      "9/udp, 0.0.0.0:8080->80/tcp, [::]:8080->80/tcp"},
		     {"[{\"IP\":\"0.0.0.0\",\"PrivatePort\":80,\"PublicPort\":80,\"Type\":\"tcp\"},{\"IP\":\"0.0.0.0\",\"PrivatePort\":81,\"PublicPort\":81,\"Type\":\"tcp\"}]", "0.0.0.0:80-81->80-81/tcp"}};
	tpl_autoarena struct tpl_arena *a = tpl_arena_new();

	for (size_t i = 0; i < CS_ARRAY_SIZE(cases); i++) {
		json_t *j = json_loads(cases[i].json, 0, NULL);
		assert_string_equal(ports_text(a, j), cases[i].text);
		json_decref(j);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_units), cmocka_unit_test(test_columns), cmocka_unit_test(test_names), cmocka_unit_test(test_ports)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
