/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "registry/reference.h"

static void valid(void **state)
{
	static const struct {
		const char *in, *full, *familiar;
	} t[] = {
		{"busybox", "docker.io/library/busybox:latest", "busybox:latest"},
		{"busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"},
		{"caisson/base", "docker.io/caisson/base:latest", "caisson/base:latest"},
		{"docker.io/busybox", "docker.io/library/busybox:latest", "busybox:latest"},
		{"index.docker.io/library/busybox", "docker.io/library/busybox:latest", "busybox:latest"},
		{"docker.io/evil.example/x", "docker.io/evil.example/x:latest", "docker.io/evil.example/x:latest"}, /* short, it would be another host's */
		{"localhost/x", "localhost/x:latest", "localhost/x:latest"},
		{"host:5000/a/b:T_1.x-y", "host:5000/a/b:T_1.x-y", "host:5000/a/b:T_1.x-y"},
		{"[::1]:5000/a", "[::1]:5000/a:latest", "[::1]:5000/a:latest"},
		{"a__b/c-d.e---f", "docker.io/a__b/c-d.e---f:latest", "a__b/c-d.e---f:latest"},
		{"x@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
		 "docker.io/library/x@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
		 "x@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"},
	};
	for (size_t i = 0; i < CS_ARRAY_SIZE(t); i++) {
		cs_autoref struct cs_ref r = {0};
		assert_int_equal(cs_ref_parse(t[i].in, &r, NULL), 0);
		cs_ref_default_tag(&r);
		cs_autofree char *full = cs_ref_full(&r), *familiar = cs_ref_familiar(&r), *shrt = cs_ref_shorten(full);
		assert_string_equal(full, t[i].full);
		assert_string_equal(familiar, t[i].familiar);
		assert_string_equal(shrt, t[i].familiar);
	}
}

static void invalid(void **state)
{
	static const struct {
		const char *in, *msg;
	} t[] = {
		{"", "invalid reference format"},
		{"UPPER", "invalid reference format: repository name (library/UPPER) must be lowercase"},
		{"a/B:x", "invalid reference format: repository name (a/B) must be lowercase"},
		{"a b", "invalid reference format"},
		{"-a", "invalid reference format"},
		{"a..b", "invalid reference format"},
		{"a___b", "invalid reference format"},
		{"a/", "invalid reference format"},
		{"/a", "invalid reference format"},
		{"a:", "invalid reference format"},
		{"a:.x", "invalid reference format"},
		{"a:b:c", "invalid reference format"},
		{"a@sha256:12", "invalid reference format"},
		{"a@sha256:0123456789abcdef0123456789abcdef", "invalid checksum digest length"},
		{"../../etc", "invalid reference format"},
		{"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
		 "invalid repository name (0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef), cannot specify 64-byte hexadecimal strings"},
	};
	for (size_t i = 0; i < CS_ARRAY_SIZE(t); i++) {
		cs_autoref struct cs_ref r = {0};
		cs_autoerr struct cs_err *e = NULL;
		assert_int_equal(cs_ref_parse(t[i].in, &r, &e), -1);
		cs_autofree char *text = cs_err_text(e);
		assert_string_equal(text, t[i].msg);
		assert_int_equal(e->code, CS_ERR_INVALID);
	}
	char tag[200] = {0};
	memset(tag, 'a', 128);
	assert_true(cs_ref_tag_valid(tag));
	tag[128] = 'a';
	assert_false(cs_ref_tag_valid(tag));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(valid), cmocka_unit_test(invalid)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
