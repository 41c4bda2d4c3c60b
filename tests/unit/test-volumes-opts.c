/* SPDX-License-Identifier: Apache-2.0
 *
 * Options of the local driver: what dockerd's refuses, and its opts.json there and back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "engine/volumes_internal.h"

static struct cs_strmap *map(const char *const *kv)
{
	struct cs_strmap *m = cs_strmap_new();

	for (; kv[0]; kv += 2)
		cs_strmap_set(m, kv[0], kv[1]);
	return m;
}

static void check(void **state)
{
	static const struct {
		const char *kv[8], *refusal; /* NULL: fine */
	} cases[] = {
		{{NULL}, NULL},
		{{"type", "tmpfs", "device", "tmpfs", NULL}, NULL},
		{{"type", "nfs", "device", ":/x", "o", "addr=h", NULL}, NULL},
		{{"type", "", "device", "", "o", "", NULL}, NULL},
		{{"Type", "tmpfs", "device", "x", NULL}, "create v: invalid option: \"Type\""},
		{{"mount", "x", NULL}, "create v: invalid option: \"mount\""},
		{{"type", "x", NULL}, "create v: missing required option: \"device\""},
		{{"device", "x", NULL}, "create v: missing required option: \"type\""},
		{{"o", "x", NULL}, "create v: missing required option: \"device\""},
		{{"o", "x", "device", "y", NULL}, "create v: missing required option: \"type\""},
		{{"size", "0", NULL}, NULL},
		{{"size", "0.0k", NULL}, NULL},
		{{"size", "10", NULL}, "create v: quota size requested but no quota support"},
		{{"size", "1.5GiB", NULL}, "create v: quota size requested but no quota support"},
		{{"size", "10 kb", NULL}, "create v: quota size requested but no quota support"},
		{{"size", "", NULL}, "create v: invalid size: ''"},
		{{"size", "x", NULL}, "create v: invalid size: 'x'"},
		{{"size", "-1", NULL}, "create v: invalid size: '-1'"},
		{{"size", "1.2.3", NULL}, "create v: invalid size: '1.2.3'"},
		{{"size", "1kk", NULL}, "create v: invalid size: '1kk'"},
	};

	for (size_t i = 0; i < CS_ARRAY_SIZE(cases); i++) {
		struct cs_strmap *m = map(cases[i].kv);
		cs_autoerr struct cs_err *err = NULL;
		int r = cs_volume_options_check("v", m, &err);
		if (r != (cases[i].refusal ? -1 : 0) || (r < 0 && strcmp(err->msg, cases[i].refusal) != 0))
			fail_msg("case %zu: %s", i, err ? err->msg : "accepted");
		cs_strmap_free(m);
	}
	assert_int_equal(cs_volume_options_check("v", NULL, NULL), 0);
}

static void file(void **state)
{
	struct cs_strmap *m = map((const char *const[]){"type", "tmpfs", "device", "tm\"pfs", "o", "size=1m", NULL}), *back = NULL;
	cs_autofree char *text = cs_volume_options_file(m);
	struct cs_vol_mount mount;

	assert_string_equal(text, "{\"MountType\":\"tmpfs\",\"MountOpts\":\"size=1m\",\"MountDevice\":\"tm\\\"pfs\",\"Quota\":{\"Size\":0}}");
	assert_int_equal(cs_volume_options_parse(text, strlen(text), &back, NULL), 0);
	assert_true(cs_volume_options_mount(back, &mount));
	assert_string_equal(mount.type, "tmpfs");
	assert_string_equal(mount.device, "tm\"pfs");
	assert_string_equal(mount.options, "size=1m");
	cs_strmap_free(m);
	cs_strmap_free(back);
	m = map((const char *const[]){"size", "0", NULL});
	assert_null(cs_volume_options_file(m));
	assert_false(cs_volume_options_mount(m, &mount));
	cs_strmap_free(m);
	assert_null(cs_volume_options_file(NULL));
	assert_false(cs_volume_options_mount(NULL, &mount));
}

static void foreign_file(void **state)
{
	static const struct {
		const char *text;
		int result;
		bool options;
	} cases[] = {
		{"{}", 0, false},
		{"{\"MountType\":\"\",\"MountOpts\":\"\",\"MountDevice\":\"\",\"Quota\":{\"Size\":0}}", 0, false},
		{"{\"MountType\":\"x\",\"Unknown\":[1]}", 0, true},
		{"{\"MountType\":5}", -1, false},
		{"{\"MountOpts\":null}", -1, false},
		{"[]", -1, false},
		{"", -1, false},
		{"{\"MountType\":\"x\"", -1, false},
	};

	for (size_t i = 0; i < CS_ARRAY_SIZE(cases); i++) {
		struct cs_strmap *m = NULL;
		if (cs_volume_options_parse(cases[i].text, strlen(cases[i].text), &m, NULL) != cases[i].result || (m != NULL) != cases[i].options)
			fail_msg("%s", cases[i].text);
		cs_strmap_free(m);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(check), cmocka_unit_test(file), cmocka_unit_test(foreign_file)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
