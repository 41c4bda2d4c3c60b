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
#include <unistd.h>

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

static struct cs_filter *by_name(const char *name, struct cs_named_profile **hold)
{
	struct cs_filter *f = NULL;

	assert_int_equal(cs_seccomp_by_name(name, "seccomp", hold, &f, NULL), 0);
	return f;
}

static bool is_kept(const char *name)
{
	cs_autofree char *path = cs_xasprintf("%s/seccomp/%s", cs_service.runtime, name + 7);

	return access(path, F_OK) == 0;
}

static void other_profile(int i, char name[CS_SECCOMP_NAME])
{
	cs_autofree char *text = cs_xasprintf("{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"mkdir\"],\"action\":\"SCMP_ACT_ERRNO\",\"errnoRet\":%d}]}", i + 1);

	assert_int_equal(cs_seccomp_register(text, strlen(text), name, NULL), 0);
}

static int open_service(void **unused)
{
	static char dir[64];

	(void)snprintf(dir, sizeof(dir), "/tmp/cst-seccomp-XXXXXX");
	cs_service.runtime = mkdtemp(dir);
	cs_service.open = true;
	(void)unused;
	return cs_service.runtime ? 0 : -1;
}

static int close_service(void **unused)
{
	cs_service.open = false;
	cs_seccomp_close();
	(void)cs_remove_tree_at(AT_FDCWD, cs_service.runtime);
	cs_service.runtime = NULL;
	(void)unused;
	return 0;
}

/* A profile named by its digest is the filter of its text, also when only its file is left; a name without a profile, or with another's, is refused. */
static void named(void **unused)
{
	char name[CS_SECCOMP_NAME], other[CS_SECCOMP_NAME];
	struct cs_named_profile *hold, *again, *none = NULL;
	struct cs_filter *f = NULL;

	assert_int_equal(cs_seccomp_register(PROFILE, strlen(PROFILE), name, NULL), 0);
	struct cs_filter *a = by_name(name, &hold), *b = compile(NULL);
	assert_int_equal(a->len, b->len);
	assert_memory_equal(a->bpf, b->bpf, a->len);
	cs_filter_unref(b);
	/* the service ends and leaves the file; others push the filter out of the cache */
	cs_service.open = false;
	cs_seccomp_release(hold);
	cs_seccomp_close();
	cs_service.open = true;
	for (int i = 0; i < 16; i++)
		other_profile(i, other);
	b = by_name(name, &again);
	assert_int_equal(a->len, b->len);
	assert_memory_equal(a->bpf, b->bpf, a->len);
	cs_filter_unref(a);
	cs_filter_unref(b);
	cs_seccomp_release(again);

	static const char *const bad[] = {"sha256:", "sha256:../../../../../../../../../../../../../../../etc/passwd00000000000000000000",
					  "sha256:0000000000000000000000000000000000000000000000000000000000000000"};
	for (size_t i = 0; i < CS_ARRAY_SIZE(bad); i++) {
		cs_autoerr struct cs_err *e = NULL;
		assert_int_equal(cs_seccomp_by_name(bad[i], "seccomp", &none, &f, &e), -1);
		assert_int_equal(cs_err_code(e), CS_ERR_INVALID);
	}
	cs_autofree char *from = cs_xasprintf("%s/seccomp/%s", cs_service.runtime, other + 7), *to = cs_xasprintf("%s/seccomp/%064d", cs_service.runtime, 1);
	cs_autofree char *wrong = cs_xasprintf("sha256:%064d", 1);
	assert_int_equal(rename(from, to), 0);
	assert_int_equal(cs_seccomp_by_name(wrong, "seccomp", &none, &f, NULL), -1);
	(void)unused;
}

/* Its file is there as long as somebody has registered it or a document names it; a service that begins deletes what nobody holds. */
static void held(void **unused)
{
	char name[CS_SECCOMP_NAME], same[CS_SECCOMP_NAME], other[CS_SECCOMP_NAME];
	struct cs_named_profile *hold, *second;
	cs_autoerr struct cs_err *e = NULL;

	other_profile(40, name);
	other_profile(40, same);
	assert_string_equal(name, same);
	assert_int_equal(cs_seccomp_unregister(name, NULL), 0);
	assert_true(is_kept(name));
	cs_filter_unref(by_name(name, &hold));
	assert_int_equal(cs_seccomp_unregister(name, NULL), 0);
	assert_true(is_kept(name));
	assert_int_equal(cs_seccomp_unregister(name, &e), -1);
	assert_int_equal(cs_err_code(e), CS_ERR_NOT_FOUND);
	cs_filter_unref(by_name(name, &second));
	cs_seccomp_release(hold);
	assert_true(is_kept(name));
	cs_seccomp_release(second);
	assert_false(is_kept(name));

	other_profile(41, name);
	other_profile(42, other);
	cs_filter_unref(by_name(name, &hold));
	cs_seccomp_close(); /* the service of those who registered them; the file of the second is put back, as a crash leaves it */
	assert_true(is_kept(name) && !is_kept(other));
	cs_autofree char *path = cs_xasprintf("%s/seccomp/%s", cs_service.runtime, other + 7);
	assert_int_equal(cs_replace_file_at(AT_FDCWD, path, "{}", 2, 0600, false), 0);
	cs_seccomp_sweep();
	assert_true(is_kept(name) && !is_kept(other));
	cs_seccomp_release(hold);
	assert_false(is_kept(name));
	(void)unused;
}

/* Whoever has registered it can name it, however many others come and go meanwhile. */
static void *come_and_go(void *arg)
{
	static char failed[] = "it was gone";
	char name[CS_SECCOMP_NAME];

	for (int i = 0; i < 300; i++) {
		struct cs_named_profile *hold;
		struct cs_filter *f = NULL;
		if (cs_seccomp_register(PROFILE, strlen(PROFILE), name, NULL) < 0 || cs_seccomp_by_name(name, "seccomp", &hold, &f, NULL) < 0 ||
		    cs_seccomp_unregister(name, NULL) < 0 || !is_kept(name))
			return failed;
		cs_filter_unref(f);
		cs_seccomp_release(hold);
	}
	(void)arg;
	return NULL;
}

static void races(void **unused)
{
	pthread_t t[6];
	void *failed;

	for (size_t i = 0; i < CS_ARRAY_SIZE(t); i++)
		assert_int_equal(pthread_create(&t[i], NULL, come_and_go, NULL), 0);
	for (size_t i = 0; i < CS_ARRAY_SIZE(t); i++) {
		(void)pthread_join(t[i], &failed);
		assert_null(failed);
	}
	cs_autofree char *dir = cs_xasprintf("%s/seccomp", cs_service.runtime);
	assert_int_equal(rmdir(dir), 0); /* nothing is left in it */
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
	const struct CMUnitTest tests[] = {cmocka_unit_test(once), cmocka_unit_test_setup_teardown(named, open_service, close_service),
					   cmocka_unit_test_setup_teardown(held, open_service, close_service),
					   cmocka_unit_test_setup_teardown(races, open_service, close_service), cmocka_unit_test(refused)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
