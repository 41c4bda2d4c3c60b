/* SPDX-License-Identifier: Apache-2.0
 *
 * api/router.c: patterns, greedy names, API versions, precedence. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "api/router.h"

static int nothing(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	return 0;
}

static void free_params(char *p[CS_ROUTE_PARAMS])
{
	for (size_t i = 0; i < CS_ROUTE_PARAMS; i++) {
		free(p[i]);
		p[i] = NULL;
	}
}

static void test_match(void **state)
{
	static const struct {
		const char *pattern, *path, *p0, *p1;
		bool ok;
	} t[] = {
		{ "/version", "/version", NULL, NULL, true },
		{ "/version", "/version/", NULL, NULL, false },
		{ "/version", "/versio", NULL, NULL, false },
		{ "/version", "", NULL, NULL, false },
		{ "/containers/{id}/json", "/containers/abc/json", "abc", NULL, true },
		{ "/containers/{id}/json", "/containers//json", NULL, NULL, false },
		{ "/containers/{id}/json", "/containers/a/b/json", NULL, NULL, false },
		{ "/containers/{id}", "/containers/a", "a", NULL, true },
		{ "/containers/{id}", "/containers/", NULL, NULL, false },
		{ "/images/{name:.*}/json", "/images/a/b/c:latest/json", "a/b/c:latest", NULL, true },
		{ "/images/{name:.*}/json", "/images/json/json", "json", NULL, true },
		{ "/images/{name:.*}/json", "/images/a/json/json", "a/json", NULL, true },
		{ "/images/{name:.*}/json", "/images/json", NULL, NULL, false },
		{ "/images/{name:.*}", "/images/x/y", "x/y", NULL, true },
		{ "/a/{x}/b/{y:.*}", "/a/1/b/2/3", "1", "2/3", true },
		{ "/a/{x}/b/{y}", "/a/1/b/2/3", NULL, NULL, false },
	};

	for (size_t i = 0; i < CS_ARRAY_SIZE(t); i++) {
		char *p[CS_ROUTE_PARAMS] = { 0 };
		bool ok = cs_route_match(t[i].pattern, t[i].path, p);
		if (ok != t[i].ok)
			fail_msg("%s on %s", t[i].pattern, t[i].path);
		assert_true(cs_streq(p[0], t[i].p0));
		assert_true(cs_streq(p[1], t[i].p1));
		free_params(p);
	}
}

static void test_version(void **state)
{
	static const struct {
		const char *path;
		int api;
		const char *rest, *message;
	} t[] = {
		{ "/version", CS_API_MAX, "/version", NULL },
		{ "/volumes", CS_API_MAX, "/volumes", NULL },
		{ "/v1.44/version", 144, "/version", NULL },
		{ "/v1.24/x", 124, "/x", NULL },
		{ "/v1.55/x", 155, "/x", NULL },
		{ "/v1.44", CS_API_MAX, "/v1.44", NULL },
		{ "/v1.56/x", 0, NULL, "client version 1.56 is too new. Maximum supported API version is 1.55" },
		{ "/v2.0/x", 0, NULL, "client version 2.0 is too new. Maximum supported API version is 1.55" },
		{ "/v1.10/x", 0, NULL,
		  "client version 1.10 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version" },
		{ "/v1.4/x", 0, NULL,
		  "client version 1.4 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version" },
		{ "/v1/x", 0, NULL, "invalid API version 1" },
		{ "/v1.2.3/x", 0, NULL, "invalid API version 1.2.3" },
		{ "/v99999999999999999999.1/x", 0, NULL, "invalid API version 99999999999999999999.1" },
	};

	for (size_t i = 0; i < CS_ARRAY_SIZE(t); i++) {
		cs_autoerr struct cs_err *err = NULL;
		const char *rest;
		int api, r = cs_route_version(t[i].path, CS_API_MIN, &api, &rest, &err);
		if (t[i].message) {
			cs_autofree char *text = cs_err_text(err);
			assert_int_equal(r, -1);
			assert_string_equal(text, t[i].message);
			assert_int_equal(cs_err_code(err), CS_ERR_INVALID);
		} else {
			assert_int_equal(r, 0);
			assert_int_equal(api, t[i].api);
			assert_string_equal(rest, t[i].rest);
		}
	}
}

static void test_min_version(void **state)
{
	cs_autoerr struct cs_err *err = NULL;
	const char *rest;
	int api;

	assert_int_equal(cs_route_version("/v1.40/x", 140, &api, &rest, NULL), 0);
	assert_int_equal(cs_route_version("/x", 140, &api, &rest, NULL), 0);
	assert_int_equal(cs_route_version("/v1.39/x", 140, &api, &rest, &err), -1);
	cs_autofree char *text = cs_err_text(err);
	assert_string_equal(text, "client version 1.39 is too old. Minimum supported API version is 1.40, please upgrade your client to a newer version");
}

static void test_clean(void **state)
{
	static const char *const t[][2] = {{"/a/b", NULL}, {"/", NULL}, {"/a/", NULL}, {"//a", "/a"}, {"/a//b", "/a/b"}, {"/a/./b", "/a/b"}, {"/a/../b", "/b"}, {"/../a", "/a"},
					   {"/a/..", "/"}, {"/a/b/../..//c/", "/c/"}, {"/...", NULL}, {"/.a", NULL}, {"/a/.", "/a"}, {"", "/"}, {"//", "/"}, {"/v1.41//version", "/v1.41/version"}};

	for (size_t i = 0; i < CS_ARRAY_SIZE(t); i++) {
		cs_autofree char *clean = cs_route_clean(t[i][0], strlen(t[i][0]));
		if (t[i][1])
			assert_string_equal(clean, t[i][1]);
		else
			assert_null(clean);
	}
}

static void test_find(void **state)
{
	static const struct cs_route one[] = { { "GET", "/a/json", 0, 0, nothing }, { "GET", "/b", 130, 0, nothing }, { NULL } };
	static const struct cs_route two[] = { { "GET", "/a/{x}", 0, 0, nothing }, { "POST", "/a/{x}", 0, 0, nothing }, { NULL } };
	static const struct cs_route *const tables[] = { one, two, NULL };
	char *p[CS_ROUTE_PARAMS] = { 0 };

	assert_ptr_equal(cs_route_find(tables, "GET", "/a/json", 144, p), &one[0]);
	assert_ptr_equal(cs_route_find(tables, "GET", "/b", 129, p), NULL);
	assert_ptr_equal(cs_route_find(tables, "GET", "/b", 130, p), &one[1]);
	assert_ptr_equal(cs_route_find(tables, "PUT", "/a/z", 144, p), NULL);
	assert_null(p[0]);
	assert_ptr_equal(cs_route_find(tables, "POST", "/a/z", 144, p), &two[1]);
	assert_string_equal(p[0], "z");
	free_params(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_match), cmocka_unit_test(test_version), cmocka_unit_test(test_min_version), cmocka_unit_test(test_clean), cmocka_unit_test(test_find) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
