/* SPDX-License-Identifier: Apache-2.0
 *
 * A shortened filter answers every call as the original does: filters of libseccomp's, and made-up programs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <seccomp.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/io.h"
#include "base/sys.h"
#include "compute/seccomp_shrink.h"

static uint64_t seed = 1;
static uint32_t any(void) { return (uint32_t)((seed = seed * 6364136223846793005u + 1442695040888963407u) >> 33); }

static struct sock_filter *export(scmp_filter_ctx ctx, size_t *n)
{
	cs_autofd int fd = sys_memfd_create("filter", MFD_CLOEXEC);

	assert_int_equal(seccomp_export_bpf(ctx, fd), 0);
	off_t len = lseek(fd, 0, SEEK_END);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	struct sock_filter *f = cs_xmalloc((size_t)len);
	assert_int_equal(cs_read_full(fd, f, (size_t)len), len);
	*n = (size_t)len / sizeof(*f);
	return f;
}

static const uint32_t archs[] = {SCMP_ARCH_X86_64, SCMP_ARCH_X86, SCMP_ARCH_AARCH64, 0, 77};
static const uint64_t values[] = {0, 1, 8, 0x20008, 0xffffffff, 16, 40, ~0ull, 0x7e020000, 0x100000000};

static void same(const struct sock_filter *x, size_t nx, const struct sock_filter *y, size_t ny, int nr)
{
	for (size_t a = 0; a < CS_ARRAY_SIZE(archs); a++)
		for (unsigned k = 0; k < 8; k++) {
			struct seccomp_data d = {.nr = nr, .arch = archs[a], .instruction_pointer = any()};
			bool bad_x, bad_y;
			for (size_t i = 0; i < CS_ARRAY_SIZE(d.args); i++)
				d.args[i] = k < CS_ARRAY_SIZE(values) ? values[(k * (i + 1)) % CS_ARRAY_SIZE(values)] : (uint64_t)any() << 32 | any();
			uint32_t ax = cs_seccomp_emulate(x, nx, &d, &bad_x), ay = cs_seccomp_emulate(y, ny, &d, &bad_y);
			assert_false(bad_x || bad_y);
			assert_int_equal(ax, ay);
		}
}

static void compare(const struct sock_filter *x, size_t nx, const struct sock_filter *y, size_t ny)
{
	for (int nr = -3; nr < 480; nr++)
		same(x, nx, y, ny, nr);
	for (int i = 0; i < 480; i += 3)
		same(x, nx, y, ny, 0x40000000 + i);
	for (int i = 0; i < 300; i++)
		same(x, nx, y, ny, (int)any());
	same(x, nx, y, ny, INT32_MAX);
	same(x, nx, y, ny, INT32_MIN);
}

static void rule(scmp_filter_ctx ctx, uint32_t action, int nr, unsigned n, const struct scmp_arg_cmp *args)
{
	(void)seccomp_rule_add_array(ctx, action, nr, n, args); /* some make no sense, and are refused */
}

/* As the default profile is: most calls, some by their arguments, on two architectures; and quite other ones. */
static void of_libseccomp(void **state)
{
	unsigned shortened = 0;

	(void)state;
	for (unsigned round = 0; round < 14; round++) {
		bool deny = round % 4 == 3; /* everything but a few */
		scmp_filter_ctx ctx = seccomp_init(deny ? SCMP_ACT_ALLOW : SCMP_ACT_ERRNO(1));
		size_t n, m;
		assert_non_null(ctx);
		if (round % 3)
			(void)seccomp_arch_add(ctx, SCMP_ARCH_X86);
		if (round % 5 == 4)
			(void)seccomp_arch_add(ctx, SCMP_ARCH_AARCH64);
		if (round % 7 == 6)
			(void)seccomp_arch_add(ctx, SCMP_ARCH_X32);
		if (round % 2)
			(void)seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(38));
		(void)seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, round % 2 ? 2 : 1);
		uint32_t action = SCMP_ACT_LOG;
		for (int nr = 0; nr < 450; nr++) {
			if (any() % 10 < (deny ? 9 : 1))
				continue;
			if (any() % 5 == 0)
				action = deny ? (any() % 2 ? SCMP_ACT_ERRNO(any() % 4) : SCMP_ACT_LOG) : any() % 8 ? SCMP_ACT_ALLOW : SCMP_ACT_ERRNO(38);
			if (any() % 20)
				rule(ctx, action, nr, 0, NULL);
			else
				for (unsigned k = 0; k <= any() % 4; k++)
					rule(ctx, action, nr, 1 + k % 2,
					     (struct scmp_arg_cmp[]){{any() % 3, any() % 2 ? SCMP_CMP_EQ : SCMP_CMP_MASKED_EQ, values[any() % 9], values[any() % 9]},
								     {3 + any() % 3, any() % 2 ? SCMP_CMP_LE : SCMP_CMP_NE, values[any() % 9], 0}});
		}
		struct sock_filter *f = export(ctx, &n), *less = NULL;
		if (cs_seccomp_shrink(f, n, &less, &m)) {
			shortened++;
			assert_true(m < n);
			compare(f, n, less, m);
		}
		seccomp_release(ctx);
		free(f);
		free(less);
	}
	assert_in_range(shortened, 7, 14); /* with many rules for arguments there may be nothing to gain */
}

/* The kind of list that containers have by default shrinks to a third; a cut in the ratio would be paid by every start. */
static void by_how_much(void **state)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(1));
	size_t n, m;

	(void)state;
	(void)seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	(void)seccomp_arch_add(ctx, SCMP_ARCH_X86);
	for (int nr = 0; nr < 330; nr++)
		if (nr % 9)
			rule(ctx, SCMP_ACT_ALLOW, nr, 0, NULL);
	struct sock_filter *f = export(ctx, &n), *less = NULL;
	assert_true(cs_seccomp_shrink(f, n, &less, &m));
	assert_true(3 * m <= n);
	seccomp_release(ctx);
	free(f);
	free(less);
}

/* Programs of the same instructions in no sensible order: shortened rightly, or left alone. */
static void made_up(void **state)
{
	static const uint16_t jumps[] = {BPF_JMP | BPF_JEQ | BPF_K, BPF_JMP | BPF_JGT | BPF_K, BPF_JMP | BPF_JGE | BPF_K, BPF_JMP | BPF_JSET | BPF_K};
	unsigned shortened = 0;

	(void)state;
	for (unsigned round = 0; round < 600; round++) {
		struct sock_filter f[120], *less = NULL;
		size_t n = 10 + any() % (CS_ARRAY_SIZE(f) - 10), m;
		for (size_t i = 0; i < n; i++) {
			size_t left = n - i - 1;
			unsigned kind = any() % 16;
			f[i] = (struct sock_filter){BPF_RET | BPF_K, 0, 0, any() % 3 ? SECCOMP_RET_ALLOW : SECCOMP_RET_ERRNO | any() % 3};
			if (i == 0 && any() % 8)
				f[i] = (struct sock_filter){BPF_LD | BPF_W | BPF_ABS, 0, 0, 4};
			else if (left && kind < 2)
				f[i] = (struct sock_filter){BPF_LD | BPF_W | BPF_ABS, 0, 0, any() % 3 ? 0 : any() % 2 ? 4 : 16 + any() % 12 * 4};
			else if (left && kind == 2 && any() % 4 == 0)
				f[i] = (struct sock_filter){BPF_ALU | BPF_AND | BPF_K, 0, 0, any() % 64};
			else if (left > 2 && kind < 4)
				f[i] = (struct sock_filter){BPF_JMP | BPF_JA, 0, 0, any() % CS_MIN(left, 5u)};
			else if (left > 2 && kind < 13)
				f[i] = (struct sock_filter){jumps[any() % (any() % 30 ? 3 : 4)], (uint8_t)(any() % CS_MIN(left, 9u)), (uint8_t)(any() % CS_MIN(left, 9u)),
							    any() % 4 ? any() % 400 : archs[any() % CS_ARRAY_SIZE(archs)]};
		}
		if (!cs_seccomp_shrink(f, n, &less, &m))
			continue;
		shortened++;
		for (int nr = -1; nr < 410; nr++)
			same(f, n, less, m, nr);
		for (size_t i = 0; i < CS_ARRAY_SIZE(archs); i++)
			same(f, n, less, m, (int)archs[i]);
		free(less);
	}
	assert_true(shortened > 60);
}

static void refused(void **state)
{
	struct sock_filter *less = NULL;
	size_t m;
	struct sock_filter beyond[] = {{BPF_LD | BPF_W | BPF_ABS, 0, 0, 4}, {BPF_JMP | BPF_JEQ | BPF_K, 9, 0, 1}, {BPF_RET | BPF_K, 0, 0, 0}},
			   scratch[] = {{BPF_LD | BPF_W | BPF_ABS, 0, 0, 0}, {BPF_ST, 0, 0, 0}, {BPF_RET | BPF_K, 0, 0, 0}},
			   endless[] = {{BPF_LD | BPF_W | BPF_ABS, 0, 0, 0}}, odd[] = {{BPF_LD | BPF_W | BPF_ABS, 0, 0, 3}, {BPF_RET | BPF_K, 0, 0, 0}};

	(void)state;
	assert_false(cs_seccomp_shrink(beyond, 3, &less, &m));
	assert_false(cs_seccomp_shrink(scratch, 3, &less, &m));
	assert_false(cs_seccomp_shrink(endless, 1, &less, &m));
	assert_false(cs_seccomp_shrink(odd, 2, &less, &m));
	assert_false(cs_seccomp_shrink(odd, 0, &less, &m));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(of_libseccomp), cmocka_unit_test(by_how_much), cmocka_unit_test(made_up), cmocka_unit_test(refused)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
