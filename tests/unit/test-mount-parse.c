/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "engine/spec-internal.h"

static const struct cs_engine_config cfg = {.data_root = "/data"};

static void binds(void **state)
{
	static const struct {
		const char *raw, *error; /* NULL = fine */
		const char *source, *target, *propagation;
		bool ro, volume;
	} cases[] = {
		{"/a:/b", NULL, "/a", "/b", NULL, false, false},
		{"/a:/b:ro", NULL, "/a", "/b", NULL, true, false},
		{"/a:/b:ro,z,rshared", NULL, "/a", "/b", "rshared", true, false},
		{"vol:/b", NULL, "vol", "/b", NULL, false, true},
		{"vol:/b:nocopy", NULL, "vol", "/b", NULL, false, true},
		{"/b", NULL, NULL, "/b", NULL, false, true},
		{"", "invalid volume specification: ''"},
		{":/b", "invalid volume specification: ':/b'"},
		{"/a:/b:ro:x", "invalid volume specification: '/a:/b:ro:x'"},
		{"/a:ro", "invalid volume specification: '/a:ro'"},
		{"/a:/b:bad", "invalid mode: bad"},
		{"/a:/b:ro,rw", "invalid mode: ro,rw"},
		{"/a:/b:ro,ro", "invalid mode: ro,ro"},
		{"/a:b", "mount path must be absolute"},
		{"/a:/", "destination can't be '/'"},
		{"/a:/../.", "destination can't be '/'"},
		{"../x:/b", "includes invalid characters for a local volume name"},
		{"v:/b", "volume name is too short"},
		{"vol:/b:rshared", "invalid volume specification"},
		{"/a:/b:nocopy", "invalid volume specification"},
	};

	for (size_t i = 0; i < CS_ARRAY_SIZE(cases); i++) {
		struct cs_bind_spec b cs_auto(cs_bind_spec_done) = {0};
		cs_autoerr struct cs_err *err = NULL;
		int r = cs_bind_spec_parse(cases[i].raw, &b, &err);
		if (cases[i].error) {
			assert_int_equal(r, -1);
			assert_int_equal(err->code, CS_ERR_INVALID);
			if (!strstr(err->msg, cases[i].error))
				fail_msg("%s: %s", cases[i].raw, err->msg);
			continue;
		}
		if (r < 0)
			fail_msg("%s: %s", cases[i].raw, err->msg);
		assert_true(cs_streq(b.source, cases[i].source));
		assert_true(cs_streq(b.target, cases[i].target));
		assert_true(cs_streq(b.propagation, cases[i].propagation));
		assert_int_equal(b.read_only, cases[i].ro);
		assert_int_equal(b.is_volume, cases[i].volume);
	}
}

static void tmpfs(void **state)
{
	static const char *const cases[][2] = {
		{"", "noexec,nosuid,nodev"},
		{"exec,size=10m", "nosuid,nodev,exec,size=10m"},
		{"rw,mode=1777,size=1,size=2", "noexec,nosuid,nodev,rw,mode=1777,size=2"},
		{"foo", NULL},
		{"size", NULL},
		{"data=/etc", NULL},
		{"rbind", NULL},
	};

	for (size_t i = 0; i < CS_ARRAY_SIZE(cases); i++) {
		cs_autofree char *got = NULL;
		assert_int_equal(cs_tmpfs_options(cases[i][0], &got, NULL), cases[i][1] ? 0 : -1);
		if (cases[i][1])
			assert_string_equal(got, cases[i][1]);
	}
}

static void mount_objects(void **state)
{
	static const char *const cases[][2] = {
		{"{\"Type\":\"bind\",\"Target\":\"/x\",\"Source\":\"/nonexistent-dir\"}",
		 "invalid mount config for type \"bind\": bind source path does not exist: /nonexistent-dir"},
		{"{\"Type\":\"bind\",\"Target\":\"/x\"}", "invalid mount config for type \"bind\": field Source must not be empty"},
		{"{\"Type\":\"bind\",\"Source\":\"/tmp\"}", "invalid mount config for type \"bind\": field Target must not be empty"},
		{"{\"Type\":\"bind\",\"Source\":\"tmp\",\"Target\":\"/x\"}", "mount path must be absolute"},
		{"{\"Type\":\"bind\",\"Source\":\"/tmp\",\"Target\":\"/x\",\"BindOptions\":{\"Propagation\":\"no\"}}", "invalid propagation mode: no"},
		{"{\"Type\":\"bind\",\"Source\":\"/tmp\",\"Target\":\"/x\",\"VolumeOptions\":{}}", "field VolumeOptions must not be specified"},
		{"{\"Type\":\"tmpfs\",\"Source\":\"/tmp\",\"Target\":\"/x\"}", "field Source must not be specified"},
		{"{\"Type\":\"volume\",\"Target\":\"/x\",\"ReadOnly\":true}", "must not set ReadOnly mode when using anonymous volumes"},
		{"{\"Type\":\"volume\",\"Source\":\"vol\",\"Target\":\"/x\",\"VolumeOptions\":{\"Subpath\":\"../x\"}}", "subpath must be"},
		{"{\"Type\":\"foo\",\"Target\":\"/x\"}", "invalid mount config for type \"foo\": mount type unknown"},
		{"{\"Type\":\"image\",\"Target\":\"/x\"}", "field Source must not be empty"},
		{"{\"Type\":\"image\",\"Target\":\"/x\",\"Source\":\"i\",\"ImageOptions\":{\"Subpath\":\"a/../../b\"}}", "subpath must be a relative path"},
		{"{\"Type\":\"image\",\"Target\":\"/x\",\"Source\":\"i\",\"ImageOptions\":{\"Subpath\":\"/b\"}}", "subpath must be a relative path"},
		{"{\"Type\":\"image\",\"Target\":\"/x\",\"Source\":\"i\",\"BindOptions\":{}}", "field BindOptions must not be specified"},
	};

	for (size_t i = 0; i < CS_ARRAY_SIZE(cases); i++) {
		struct cs_mount m = {0};
		cs_autoerr struct cs_err *err = NULL;
		assert_int_equal(cs_json_decode_text(&cs_mount_type, cases[i][0], &m, NULL), 0);
		assert_int_equal(cs_mount_check(&m, &err), -1);
		if (!strstr(err->msg, cases[i][1]))
			fail_msg("%s: %s", cases[i][0], err->msg);
		cs_json_release(&cs_mount_type, &m);
	}
}

static int other_mounts(void *ctx, const char *ref, struct cs_mount_point **ret, size_t *n, struct cs_err **err)
{
	*ret = cs_xcalloc(1, sizeof(**ret));
	(*ret)[0] = (struct cs_mount_point){.type = cs_xstrdup("volume"), .name = cs_xstrdup("vv"), .source = cs_xstrdup("/data/volumes/vv/_data"),
					    .destination = cs_xstrdup("/from"), .rw = true, .anonymous = true};
	*n = 1;
	return 0;
}

static void resolve(void **state)
{
	struct cs_create_request r = {0};
	struct cs_mount_point *v = NULL;
	struct cs_container_lookup lookup = {.mounts = other_mounts};
	cs_autoerr struct cs_err *err = NULL, *dup = NULL;
	size_t n = 0;

	assert_int_equal(cs_json_decode_text(&cs_create_request_type,
					     "{\"Volumes\":{\"/anon\":{},\"/b\":{}},\"HostConfig\":{\"Binds\":[\"/a:/b:ro\",\"vol:/c\"],"
					     "\"VolumesFrom\":[\"x:ro\"],\"Mounts\":[{\"Type\":\"tmpfs\",\"Target\":\"/t\"}]}}",
					     &r, NULL),
			 0);
	assert_int_equal(cs_mounts_resolve(&cfg, &lookup, &r.config, r.host_config, 144, &v, &n, &err), 0);
	assert_int_equal(n, 5);
	assert_string_equal(v[0].destination, "/anon");
	assert_true(v[0].anonymous && strlen(v[0].name) == 64);
	assert_string_equal(v[1].source, "/a");
	assert_true(!v[1].rw && v[1].create_source);
	assert_string_equal(v[1].propagation, "rprivate");
	assert_string_equal(v[2].source, "/data/volumes/vol/_data");
	assert_string_equal(v[2].mode, "z");
	assert_string_equal(v[3].destination, "/from");
	assert_true(!v[3].rw && v[3].anonymous && v[3].no_copy); /* shared, and never filled twice */
	assert_string_equal(v[4].type, "tmpfs");
	cs_mount_points_free(v, n);
	cs_strv_push(&r.host_config->binds, "/z:/t/");
	assert_int_equal(cs_mounts_resolve(&cfg, &lookup, &r.config, r.host_config, 144, &v, &n, &dup), -1);
	assert_string_equal(dup->msg, "Duplicate mount point: /t");
	cs_json_release(&cs_create_request_type, &r);
}

static void drivers(void **state)
{
	static const struct {
		const char *request, *refusal; /* NULL: fine */
	} cases[] = {
		{"{\"HostConfig\":{\"VolumeDriver\":\"foo\",\"Binds\":[\"vv:/v\"]}}", "create vv: error looking up volume plugin foo: plugin \"foo\" not found"},
		{"{\"HostConfig\":{\"VolumeDriver\":\"local\",\"Binds\":[\"vv:/v\"]}}", NULL},
		{"{\"HostConfig\":{\"VolumeDriver\":\"foo\",\"Binds\":[\"/tmp:/v\"]}}", NULL},
		{"{\"HostConfig\":{\"VolumeDriver\":\"foo\",\"Mounts\":[{\"Type\":\"volume\",\"Source\":\"vv\",\"Target\":\"/v\"}]}}", NULL},
		{"{\"HostConfig\":{\"Mounts\":[{\"Type\":\"volume\",\"Source\":\"vv\",\"Target\":\"/v\",\"VolumeOptions\":{\"DriverConfig\":{\"Name\":\"foo\"}}}]}}",
		 "create vv: error looking up volume plugin foo: plugin \"foo\" not found"},
	};

	for (size_t i = 0; i < CS_ARRAY_SIZE(cases); i++) {
		struct cs_create_request r = {0};
		struct cs_mount_point *v = NULL;
		cs_autoerr struct cs_err *err = NULL;
		size_t n = 0;
		assert_int_equal(cs_json_decode_text(&cs_create_request_type, cases[i].request, &r, NULL), 0);
		int got = cs_mounts_resolve(&cfg, NULL, &r.config, r.host_config, 144, &v, &n, &err);
		if (got != (cases[i].refusal ? -1 : 0) || (got < 0 && strcmp(err->msg, cases[i].refusal) != 0))
			fail_msg("%s: %s", cases[i].request, err ? err->msg : "accepted");
		cs_mount_points_free(v, n);
		cs_json_release(&cs_create_request_type, &r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(binds), cmocka_unit_test(tmpfs), cmocka_unit_test(mount_objects), cmocka_unit_test(resolve), cmocka_unit_test(drivers)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
