/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "engine/types.h"

static char *encode(const struct cs_jtype *t, const void *o, int api)
{
	struct cs_str s = CS_STR_INIT(1 << 20);

	cs_json_encode(t, o, api, &s);
	return cs_str_steal(&s);
}

static void expect_error(const struct cs_jtype *t, const char *json, const char *want)
{
	cs_autoerr struct cs_err *err = NULL;
	void *o = cs_xcalloc(1, t->size);

	assert_int_equal(cs_json_decode_text(t, json, o, &err), -1);
	assert_int_equal(err->code, CS_ERR_INVALID);
	if (!strstr(err->msg, want))
		fail_msg("%s: got \"%s\", want \"%s\"", json, err->msg, want);
	cs_json_release(t, o);
	free(o);
}

static void wrong_types_are_named(void **state)
{
	static const char *const cases[][2] = {
		{"{\"Env\":\"x\"}", "Env: expected array of strings, got string"},
		{"{\"Env\":[1]}", "Env[0]: expected string, got number"},
		{"{\"Tty\":\"yes\"}", "Tty: expected boolean, got string"},
		{"{\"Labels\":[]}", "Labels: expected object of strings, got array"},
		{"{\"ExposedPorts\":[]}", "ExposedPorts: expected object, got array"},
		{"{\"StopTimeout\":\"1\"}", "StopTimeout: expected integer, got string"},
		{"{\"Healthcheck\":{\"Interval\":\"1s\"}}", "Healthcheck.Interval: expected integer, got string"},
		{"{\"HostConfig\":{\"Memory\":\"1g\"}}", "HostConfig.Memory: expected integer, got string"},
		{"{\"HostConfig\":{\"Mounts\":[{},{\"Type\":7}]}}", "HostConfig.Mounts[1].Type: expected string, got number"},
		{"{\"HostConfig\":{\"Ulimits\":{}}}", "HostConfig.Ulimits: expected array, got object"},
		{"{\"HostConfig\":{\"RestartPolicy\":\"always\"}}", "HostConfig.RestartPolicy: expected object, got string"},
		{"{\"HostConfig\":{\"BlkioDeviceReadBps\":[{\"Rate\":-1}]}}", "HostConfig.BlkioDeviceReadBps[0].Rate"},
		{"{\"NetworkingConfig\":{\"EndpointsConfig\":{\"n\":{\"Aliases\":1}}}}", "EndpointsConfig.n.Aliases"},
		{"[]", "expected object, got array"},
	};

	for (size_t i = 0; i < CS_ARRAY_SIZE(cases); i++)
		expect_error(&cs_create_request_type, cases[i][0], cases[i][1]);
}

static void create_request(void **state)
{
	struct cs_create_request r = {0};
	cs_autoerr struct cs_err *err = NULL;

	assert_int_equal(cs_json_decode_text(&cs_create_request_type,
					     "{\"image\":\"b\",\"Cmd\":\"ls\",\"Entrypoint\":[\"a\",\"b\"],\"HostConfig\":{\"NanoCpus\":5,"
					     "\"PidsLimit\":0,\"Init\":false,\"CapAdd\":\"ALL\",\"PortBindings\":{\"80/tcp\":[{\"HostPort\":\"1\"}]},"
					     "\"Mounts\":[{\"Type\":\"tmpfs\",\"Target\":\"/t\",\"TmpfsOptions\":{\"Mode\":493,\"Options\":[[\"exec\"]]}}],"
					     "\"ConsoleSize\":[24,80]},\"NetworkingConfig\":{\"EndpointsConfig\":{\"default\":{}}},\"Unknown\":1}",
					     &r, &err),
			 0);
	assert_string_equal(r.config.image, "b");
	assert_string_equal(r.config.cmd[0], "ls");
	assert_int_equal(r.host_config->res.nano_cpus, 5);
	assert_int_equal(*r.host_config->res.pids_limit, 0);
	assert_int_equal(r.host_config->init, CS_FALSE);
	assert_string_equal(r.host_config->cap_add[0], "ALL");
	assert_int_equal(r.host_config->mounts[0].tmpfs_options->mode, 493);
	assert_string_equal(r.networking_config->endpoints[0].key, "default");
	struct cs_host_config *copy = cs_host_config_copy(r.host_config);
	cs_autofree char *a = encode(&cs_host_config_type, r.host_config, 0), *b = encode(&cs_host_config_type, copy, 0);
	assert_string_equal(a, b);
	assert_non_null(strstr(a, "\"TmpfsOptions\":{\"Mode\":493,\"Options\":[[\"exec\"]]}"));
	assert_non_null(strstr(a, "\"ConsoleSize\":[24,80]"));
	cs_host_config_free(copy);
	cs_json_release(&cs_create_request_type, &r);
}

static void empty_config_as_dockerd(void **state)
{
	struct cs_config c = {0};
	cs_autofree char *s = encode(&cs_config_type, &c, 141);

	assert_string_equal(s, "{\"Hostname\":\"\",\"Domainname\":\"\",\"User\":\"\",\"AttachStdin\":false,\"AttachStdout\":false,"
			       "\"AttachStderr\":false,\"Tty\":false,\"OpenStdin\":false,\"StdinOnce\":false,\"Env\":null,\"Cmd\":null,"
			       "\"Image\":\"\",\"Volumes\":null,\"WorkingDir\":\"\",\"Entrypoint\":null,\"OnBuild\":null,\"Labels\":null}");
}

static void fields_by_version(void **state)
{
	struct cs_host_config h = {0};
	struct cs_config c = {.mac_address = (char[]){"02:42:00:00:00:01"}};

	h.annotations = cs_strmap_new();
	cs_strmap_set(h.annotations, "a", "b");
	cs_autofree char *old = encode(&cs_host_config_type, &h, 142), *new = encode(&cs_host_config_type, &h, 143);
	assert_null(strstr(old, "Annotations"));
	assert_non_null(strstr(new, "\"Annotations\":{\"a\":\"b\"}"));
	cs_strmap_free(h.annotations);
	cs_autofree char *mac = encode(&cs_config_type, &c, 151), *none = encode(&cs_config_type, &c, 152);
	assert_non_null(strstr(mac, "MacAddress"));
	assert_null(strstr(none, "MacAddress"));
}

static void ports_and_console(void **state)
{
	struct cs_port_map m = {0};
	cs_autoerr struct cs_err *err = NULL, *err2 = NULL, *err3 = NULL;
	uint16_t h, w;

	assert_int_equal(cs_port_map_parse("{\"90/tcp\":null,\"80/tcp\":[{\"HostIp\":\"::\",\"HostPort\":\"1\"}]}", "P", &m, &err), 0);
	assert_int_equal(m.n, 2);
	assert_string_equal(m.e[0].port, "80/tcp");
	assert_string_equal(m.e[0].bindings[0].host_port, "1");
	assert_null(m.e[1].bindings);
	cs_port_map_done(&m);
	assert_int_equal(cs_port_map_parse("{\"80\":[{\"HostPort\":1}]}", "P", &m, &err), -1);
	assert_non_null(strstr(err->msg, "P.80[0].HostPort: expected string"));
	assert_int_equal(cs_port_map_parse("[]", "P", &m, &err2), -1);
	assert_int_equal(cs_console_size_parse("[24,80]", "C", &h, &w, NULL), 0);
	assert_int_equal(h * 1000 + w, 24080);
	assert_int_equal(cs_console_size_parse("[24,-1]", "C", &h, &w, &err3), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(wrong_types_are_named), cmocka_unit_test(create_request),
					   cmocka_unit_test(empty_config_as_dockerd), cmocka_unit_test(fields_by_version),
					   cmocka_unit_test(ports_and_console)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
