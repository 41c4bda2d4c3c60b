/* SPDX-License-Identifier: Apache-2.0
 *
 * Plans: round trip, dump, sealing, and that a malformed plan is refused at every byte. Without root. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/io.h"
#include "base/sys.h"
#include "compute/process/plan.h"

static void sample(struct cs_str *p)
{
	char *args[] = {(char *)(uintptr_t) "sh", (char *)(uintptr_t) "-c", (char *)(uintptr_t) "echo \"hi\"", (char *)(uintptr_t) "", NULL};
	const unsigned char filter[8] = {1, 2, 3, 4, 5, 6, 7, 8};

	cs_plan_add(p, CS_PLAN_ID, "abc");
	cs_plan_add(p, CS_PLAN_MOUNT, "proc", "proc", "/proc", (uint64_t)0xe, "", (uint64_t)0);
	cs_plan_add(p, CS_PLAN_DEVICE, "/dev/null", (uint64_t)S_IFCHR, (uint64_t)1, (uint64_t)3, (uint64_t)0666, (uint64_t)0, (uint64_t)0);
	cs_plan_add(p, CS_PLAN_PIVOT);
	cs_plan_add(p, CS_PLAN_SECCOMP, filter, sizeof(filter), (uint64_t)0);
	cs_plan_add(p, CS_PLAN_ENV, NULL);
	cs_plan_add(p, CS_PLAN_ARGS, args);
}

static const char sample_text[] = "ID abc\n"
				  "MOUNT proc proc /proc 0xe \"\" 0\n"
				  "DEVICE /dev/null 020000 1 3 0666 0 0\n"
				  "PIVOT\n"
				  "SECCOMP x:0102030405060708 0\n"
				  "ENV []\n"
				  "ARGS [sh -c \"echo \\\"hi\\\"\" \"\"]\n";

static void dump(void **state)
{
	struct cs_str p = CS_STR_INIT(CS_PLAN_MAX_SIZE), out = CS_STR_INIT(65536);

	sample(&p);
	assert_false(p.failed);
	struct cs_plan plan = {.data = p.buf, .len = p.len};
	cs_plan_dump(&plan, &out);
	assert_string_equal(out.buf, sample_text);
	cs_str_done(&out);
	cs_str_done(&p);
}

static void memfd(void **state)
{
	struct cs_str p = CS_STR_INIT(CS_PLAN_MAX_SIZE), out = CS_STR_INIT(65536);
	struct cs_err *err = NULL;
	struct cs_plan plan;
	struct cs_step s;
	int fd;

	sample(&p);
	assert_int_equal(cs_plan_to_memfd(&p, &fd, &err), 0);
	assert_int_equal(write(fd, "x", 1), -1);
	assert_int_equal(cs_plan_map(fd, &plan), 0);
	cs_plan_dump(&plan, &out);
	assert_string_equal(out.buf, sample_text);
	assert_int_equal(cs_plan_find(&plan, CS_PLAN_ARGS, &s), 1);
	const char **v = cs_plan_strv(&s.arg[0]);
	assert_string_equal(v[2], "echo \"hi\"");
	assert_string_equal(v[3], "");
	assert_null(v[4]);
	free(v);
	assert_int_equal(cs_plan_find(&plan, CS_PLAN_SECCOMP, &s), 1);
	assert_int_equal((uintptr_t)s.arg[0].b.data % 8, 0);
	assert_int_equal(cs_plan_find(&plan, CS_PLAN_INIT, &s), 0);
	cs_plan_unmap(&plan);
	cs_close(fd);
	cs_str_done(&out);
	cs_str_done(&p);
}

static void empty_and_unsealed(void **state)
{
	struct cs_str p = CS_STR_INIT(CS_PLAN_MAX_SIZE);
	struct cs_plan plan = {0};
	struct cs_plan_cursor c = {.plan = &plan};
	struct cs_step s;
	int fd;

	assert_int_equal(cs_plan_next(&c, &s), 0);
	assert_int_equal(cs_plan_to_memfd(&p, &fd, NULL), 0);
	assert_int_equal(cs_plan_map(fd, &plan), 0);
	assert_int_equal(cs_plan_next(&c, &s), 0);
	cs_plan_unmap(&plan);
	cs_close(fd);
	fd = sys_memfd_create("unsealed", MFD_ALLOW_SEALING);
	assert_int_equal(cs_write_full(fd, "CSPLAN\001\n", 8), 0);
	assert_int_equal(cs_plan_map(fd, &plan), -EPERM);
	cs_close(fd);
}

static void too_large(void **state)
{
	struct cs_str p = CS_STR_INIT(4096);
	char big[5000];
	struct cs_err *err = NULL;
	int fd;

	memset(big, 'x', sizeof(big));
	big[sizeof(big) - 1] = 0;
	cs_plan_add(&p, CS_PLAN_ID, big);
	assert_true(p.failed);
	cs_plan_add(&p, CS_PLAN_PIVOT);
	assert_int_equal(cs_plan_to_memfd(&p, &fd, &err), -1);
	assert_int_equal(cs_err_code(err), CS_ERR_INVALID);
	cs_err_free(err);
	cs_str_done(&p);
}

/* Reads to the end; touches every string. Returns the final result of cs_plan_next. */
static int walk(const char *data, size_t len)
{
	struct cs_plan plan = {.data = data, .len = len};
	struct cs_str out = CS_STR_INIT(1u << 20);
	struct cs_plan_cursor c = {.plan = &plan};
	struct cs_step s;
	int r;

	while ((r = cs_plan_next(&c, &s)) == 1)
		;
	cs_plan_dump(&plan, &out);
	cs_str_done(&out);
	return r;
}

static void malformed(void **state)
{
	struct cs_str p = CS_STR_INIT(CS_PLAN_MAX_SIZE);

	sample(&p);
	/* every truncation; the copy is exact, so that a read beyond shows under a sanitizer */
	for (size_t n = 1; n < p.len; n++) {
		char *copy = malloc(n);
		assert_non_null(copy);
		memcpy(copy, p.buf, n);
		int r = walk(copy, n);
		assert_true(r == 0 || r == -EBADMSG);
		if (n % 8)
			assert_int_equal(r, -EBADMSG);
		free(copy);
	}
	/* every single changed byte: any answer, but no crash */
	for (size_t i = 0; i < p.len; i++) {
		static const unsigned char with[] = {0, 1, 0x7f, 0x80, 0xff};
		for (size_t k = 0; k < sizeof(with); k++) {
			char *copy = malloc(p.len);
			assert_non_null(copy);
			memcpy(copy, p.buf, p.len);
			copy[i] = (char)with[k];
			int r = walk(copy, p.len);
			assert_true(r == 0 || r == -EBADMSG);
			free(copy);
		}
	}
	cs_str_done(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(dump),	     cmocka_unit_test(memfd),	  cmocka_unit_test(empty_and_unsealed),
		cmocka_unit_test(too_large), cmocka_unit_test(malformed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
