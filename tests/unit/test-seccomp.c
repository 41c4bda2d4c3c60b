/* SPDX-License-Identifier: Apache-2.0
 *
 * Profiles to BPF: the cache, parallel compilation, and profiles that must be refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/io.h"
#include "compute/internal.h"
#include "compute/seccomp_cache.h"

static json_t *parse(const char *text)
{
	json_t *v = cs_json_parse(text, strlen(text), NULL);
	assert_non_null(v);
	return v;
}

#define PROFILE                                                                                                        \
	"{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"defaultErrnoRet\":38,\"architectures\":[\"SCMP_ARCH_X86_64\",\"SCMP_ARCH_X86\"],\"syscalls\":[" \
	"{\"names\":[\"read\",\"write\",\"no_such_syscall\"],\"action\":\"SCMP_ACT_ALLOW\"}," \
	"{\"names\":[\"personality\"],\"action\":\"SCMP_ACT_ALLOW\",\"args\":[{\"index\":0,\"value\":8,\"op\":\"SCMP_CMP_EQ\"}]}]}"

static void *compile(void *arg)
{
	cs_autojson json_t *p = parse(PROFILE);
	struct cs_filter *f = NULL;
	return cs_seccomp_get(p, "seccomp", &f, NULL) == 0 ? f : NULL;
}

static void once(void **unused)
{
	pthread_t t[20];
	void *f, *first = NULL;
	unsigned before = cs_seccomp_compiled();

	for (int i = 0; i < 20; i++)
		assert_int_equal(pthread_create(&t[i], NULL, compile, NULL), 0);
	for (int i = 0; i < 20; i++) {
		(void)pthread_join(t[i], &f);
		assert_non_null(f);
		if (!first)
			first = f;
		assert_ptr_equal(f, first);
		assert_true(((struct cs_filter *)f)->len >= 8 && ((struct cs_filter *)f)->len % 8 == 0);
		cs_filter_unref(f);
	}
	assert_int_equal(cs_seccomp_compiled() - before, 1);
	(void)unused;
}

/* A profile named by its digest is the filter of its text, also when only its file is left; a name without a profile, or with another's, is refused. */
static void named(void **unused)
{
	char dir[] = "/tmp/cst-seccomp-XXXXXX", name[CS_SECCOMP_NAME], other[CS_SECCOMP_NAME];
	struct cs_filter *a = NULL, *b = NULL;
	cs_autoerr struct cs_err *err = NULL;

	assert_non_null(mkdtemp(dir));
	cs_service.runtime = dir;
	assert_int_equal(cs_seccomp_register(PROFILE, strlen(PROFILE), name, &err), 0);
	assert_int_equal(cs_seccomp_by_name(name, "seccomp", &a, &err), 0);
	b = compile(NULL);
	assert_int_equal(a->len, b->len);
	assert_memory_equal(a->bpf, b->bpf, a->len);
	cs_filter_unref(b);
	/* sixteen others push it out of memory */
	for (int i = 0; i < 16; i++) {
		cs_autofree char *text = cs_xasprintf("{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"mkdir\"],\"action\":\"SCMP_ACT_ERRNO\",\"errnoRet\":%d}]}", i + 1);
		assert_int_equal(cs_seccomp_register(text, strlen(text), other, &err), 0);
	}
	assert_int_equal(cs_seccomp_by_name(name, "seccomp", &b, &err), 0);
	assert_int_equal(a->len, b->len);
	assert_memory_equal(a->bpf, b->bpf, a->len);
	cs_filter_unref(a);
	cs_filter_unref(b);

	static const char *const bad[] = {"sha256:", "sha256:../../../../../../../../../../../../../../../etc/passwd00000000000000000000",
					  "sha256:0000000000000000000000000000000000000000000000000000000000000000"};
	for (size_t i = 0; i < CS_ARRAY_SIZE(bad); i++) {
		cs_autoerr struct cs_err *e = NULL;
		assert_int_equal(cs_seccomp_by_name(bad[i], "seccomp", &a, &e), -1);
		assert_int_equal(cs_err_code(e), CS_ERR_INVALID);
	}
	cs_autofree char *from = cs_xasprintf("%s/seccomp/%s", dir, other + 7), *to = cs_xasprintf("%s/seccomp/%064d", dir, 1), *wrong = cs_xasprintf("sha256:%064d", 1);
	assert_int_equal(rename(from, to), 0);
	cs_autoerr struct cs_err *e = NULL;
	assert_int_equal(cs_seccomp_by_name(wrong, "seccomp", &a, &e), -1);
	(void)cs_remove_tree_at(AT_FDCWD, dir);
	cs_service.runtime = NULL;
	(void)unused;
}

static void refused(void **unused)
{
	static const char *const bad[][2] = {
		{"{}", "is required"},
		{"{\"defaultAction\":\"SCMP_ACT_DANCE\"}", "SCMP_ACT_DANCE is not known"},
		{"{\"defaultAction\":\"SCMP_ACT_NOTIFY\"}", "SCMP_ACT_NOTIFY"},
		{"{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"architectures\":[\"SCMP_ARCH_Z80\"]}", "SCMP_ARCH_Z80"},
		{"{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"flags\":[\"X\"]}", "flags: X"},
		{"{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"read\"],\"action\":3}]}", "p.syscalls[0].action: expected string"},
		{"{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"read\"],\"action\":\"SCMP_ACT_KILL\",\"args\":[{\"index\":9,\"op\":\"SCMP_CMP_EQ\"}]}]}",
		 "out of range"},
	};
	for (size_t i = 0; i < CS_ARRAY_SIZE(bad); i++) {
		cs_autojson json_t *p = parse(bad[i][0]);
		cs_autoerr struct cs_err *err = NULL;
		struct cs_filter *f = NULL;
		assert_int_equal(cs_seccomp_get(p, "p", &f, &err), -1);
		cs_autofree char *text = cs_err_text(err);
		if (!strstr(text, bad[i][1]))
			fail_msg("%s: %s", bad[i][0], text);
	}
	(void)unused;
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(once), cmocka_unit_test(named), cmocka_unit_test(refused)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
