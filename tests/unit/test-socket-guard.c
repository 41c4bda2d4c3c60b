/* SPDX-License-Identifier: Apache-2.0
 *
 * Which filters get a list of families, what the BPF program answers to a process that has such filters (run in the kernel, where we may), and BTF that is cut off. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <linux/btf.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "base/bpf.h"
#include "base/io.h"
#include "base/sys.h"
#include "compute/btf.h"
#include "compute/socket_guard.h"

#define ALLOW SCMP_ACT_ALLOW
#define VSOCK 40

/* Everything is refused but what is added. families: allowed are those that are not in it. */
static struct sock_filter *profile(bool i386, bool socketcall, uint64_t families, size_t *n)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	cs_autofd int fd = sys_memfd_create("filter", MFD_CLOEXEC);

	if (i386)
		assert_int_equal(seccomp_arch_add(ctx, SCMP_ARCH_X86), 0);
	if (socketcall)
		assert_int_equal(seccomp_rule_add(ctx, ALLOW, SCMP_SYS(socketcall), 0), 0);
	for (unsigned i = 0; i < 64; i++)
		if (!(families >> i & 1))
			assert_int_equal(seccomp_rule_add(ctx, ALLOW, SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_EQ, i)), 0);
	assert_int_equal(seccomp_export_bpf(ctx, fd), 0);
	off_t len = lseek(fd, 0, SEEK_END);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	struct sock_filter *f = cs_xmalloc((size_t)len);
	assert_int_equal(cs_read_full(fd, f, (size_t)len), len);
	*n = (size_t)len / sizeof(*f);
	seccomp_release(ctx);
	return f;
}

static void filters_with_a_list(void **state)
{
	const uint64_t two = 1ull << AF_ALG | 1ull << VSOCK | 1ull << AF_PACKET;
	size_t n, before;

	(void)state;
	if (seccomp_arch_native() != SCMP_ARCH_X86_64)
		skip();
	cs_autofree struct sock_filter *f = profile(true, true, two, &n);
	before = n;
	assert_true(cs_guard_mark(&f, &n));
	assert_int_equal(n, before + 4);
	assert_int_equal(f[before + 1].k, (uint32_t)two);
	assert_int_equal(f[before + 2].k, two >> 32);
	assert_int_equal(BPF_CLASS(f[n - 1].code), BPF_RET);
	free(f);
	f = profile(true, false, two, &n); /* whoever allows socket() allows it to socketcall, says libseccomp */
	assert_true(cs_guard_mark(&f, &n));
	free(f);
	f = profile(true, false, ~0ull, &n); /* the call itself is refused */
	before = n;
	assert_false(cs_guard_mark(&f, &n));
	assert_int_equal(n, before);
	free(f);
	f = profile(true, true, 0, &n); /* all that there are */
	assert_false(cs_guard_mark(&f, &n));
	free(f);
	f = profile(false, true, two, &n); /* no 32-bit programs */
	assert_false(cs_guard_mark(&f, &n));
}

static void filters_that_are_not_understood(void **state)
{
	size_t n = 2;
	struct sock_filter *f = cs_xcalloc(n, sizeof(*f));

	(void)state;
	f[0] = (struct sock_filter){.code = BPF_LD | BPF_W | BPF_LEN};
	f[1] = (struct sock_filter){.code = BPF_RET | BPF_A};
	assert_false(cs_guard_mark(&f, &n));
	assert_int_equal(n, 2);
	free(f);
	f = NULL;
	n = 0;
	assert_false(cs_guard_mark(&f, &n));
}

/* ---- in the kernel ---- */

struct job {
	int prog;
	struct sock_filter *list; /* NULL: none */
	size_t n_list;
	unsigned others_before, others_behind; /* filters that allow everything */
	int alg, vsock, inet, kernels_own;     /* answers */
};

static int load(const struct sock_filter *f, size_t n)
{
	struct sock_fprog p = {.len = (unsigned short)n, .filter = (struct sock_filter *)(uintptr_t)f};
	return sys_seccomp(SECCOMP_SET_MODE_FILTER, 0, &p);
}

static int ask(int prog, uint64_t family, uint64_t kern)
{
	/* the upper halves of ints are anything */
	uint64_t context[5] = {family | 0xdead00000000ull, SOCK_SEQPACKET, 0, kern | 0xbeef00000000ull, 0};
	union bpf_attr a = {.test = {.prog_fd = (uint32_t)prog, .ctx_in = (uintptr_t)context, .ctx_size_in = sizeof(context)}};
	int r = sys_bpf(BPF_PROG_TEST_RUN, &a);

	return r < 0 ? r - 1000 : (int)a.test.retval;
}

static void *in_thread(void *arg)
{
	/* like the end of a list, but for one bit; and too short for one */
	static const struct sock_filter other[] = {{.code = BPF_RET | BPF_K, .k = SECCOMP_RET_ALLOW}, {.code = BPF_ALU | BPF_AND | BPF_K, .k = 0x43534630},
		{.code = BPF_ALU | BPF_AND | BPF_K, .k = ~0u}, {.code = BPF_ALU | BPF_AND | BPF_K, .k = ~0u}, {.code = BPF_RET | BPF_K}};
	struct job *j = arg;
	int r = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);

	for (unsigned i = 0; i < j->others_before; i++)
		r |= load(other, i % 2 ? 5 : 1);
	if (j->list)
		r |= load(j->list, j->n_list);
	for (unsigned i = 0; i < j->others_behind; i++)
		r |= load(other, i % 2 ? 5 : 1);
	j->alg = r ? r : ask(j->prog, AF_ALG, 0);
	j->vsock = ask(j->prog, VSOCK, 0);
	j->inet = ask(j->prog, AF_INET, 0);
	j->kernels_own = ask(j->prog, AF_ALG, 1);
	return NULL;
}

static void the_program_reads_the_list(void **state)
{
	cs_autofd int prog = cs_guard_load_for_test();
	/* a list that refuses AF_ALG, and allows what the test itself needs */
	struct sock_filter list[] = {{.code = BPF_RET | BPF_K, .k = SECCOMP_RET_ALLOW}, {.code = BPF_ALU | BPF_AND | BPF_K, .k = 0x43534631},
		{.code = BPF_ALU | BPF_AND | BPF_K}, {.code = BPF_ALU | BPF_AND | BPF_K, .k = 1u << (AF_ALG - 32)}, {.code = BPF_RET | BPF_K}};
	const struct {
		struct job j;
		int alg, vsock;
	} cases[] = {
		{{.list = NULL}, 0, 0},
		{{.others_before = 8}, 0, 0},
		{{.list = list}, -EPERM, 0},
		{{.list = list, .others_before = 8, .others_behind = 8}, -EPERM, 0},
		{{.list = list, .others_behind = 60}, -EPERM, 0},
		{{.others_behind = 70}, -EPERM, -EPERM}, /* nobody can see what lies below */
	};

	(void)state;
	if (prog < 0) /* not root, no BTF, a kernel of another kind */
		skip();
	for (size_t i = 0; i < CS_ARRAY_SIZE(cases); i++) {
		struct job j = cases[i].j;
		pthread_t t;
		j.prog = prog;
		j.n_list = CS_ARRAY_SIZE(list);
		assert_int_equal(pthread_create(&t, NULL, in_thread, &j), 0);
		assert_int_equal(pthread_join(t, NULL), 0);
		print_message("case %zu\n", i);
		assert_int_equal(j.alg, cases[i].alg);
		assert_int_equal(j.vsock, cases[i].vsock);
		assert_int_equal(j.inet, 0);
		assert_int_equal(j.kernels_own, 0);
	}
}

/* ---- BTF ---- */

static void types_that_are_cut_off(void **state)
{
	static const char strings[] = "\0int\0thing\0first\0second\0call";
	const struct {
		struct btf_header h;
		struct btf_type integer;
		uint32_t encoding;
		struct btf_type thing;
		struct btf_member members[2];
		struct btf_type call;
		char strings[sizeof(strings)];
	} text = {
		.h = {.magic = BTF_MAGIC, .version = 1, .hdr_len = sizeof(struct btf_header), .type_len = 12 + 4 + 12 + 24 + 12, .str_off = 64, .str_len = sizeof(strings)},
		.integer = {.name_off = 1, .info = BTF_KIND_INT << 24, .size = 4},
		.thing = {.name_off = 5, .info = BTF_KIND_STRUCT << 24 | 2, .size = 12},
		.members = {{.name_off = 11, .type = 1}, {.name_off = 17, .type = 1, .offset = 64}},
		.call = {.name_off = 24, .info = BTF_KIND_FUNC << 24},
	};
	struct cs_btf_wish w[] = {{.name = "thing", .member = "second"}, {.name = "call"}};
	size_t len = offsetof(__typeof__(text), strings) + sizeof(strings);

	(void)state;
	for (size_t n = 0; n <= len; n++) {
		cs_autofree char *copy = cs_xmalloc(n + 1); /* to the byte, for the address sanitizer */
		memcpy(copy, &text, CS_MIN(n, offsetof(__typeof__(text), strings)));
		if (n > offsetof(__typeof__(text), strings))
			memcpy(copy + offsetof(__typeof__(text), strings), strings, n - offsetof(__typeof__(text), strings));
		for (size_t i = 0; i < CS_ARRAY_SIZE(w); i++)
			w[i].found = false;
		assert_int_equal(cs_btf_find(copy, n, w, CS_ARRAY_SIZE(w)), n == len);
	}
	assert_int_equal(w[0].value, 8);
	assert_int_equal(w[1].value, 3);
	struct cs_btf_wish none = {.name = "thing", .member = "third"};
	cs_autofree char *all = cs_xmalloc(len);
	memcpy(all, &text, len);
	memcpy(all + offsetof(__typeof__(text), strings), strings, sizeof(strings));
	assert_false(cs_btf_find(all, len, &none, 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(filters_with_a_list),
		cmocka_unit_test(filters_that_are_not_understood),
		cmocka_unit_test(the_program_reads_the_list),
		cmocka_unit_test(types_that_are_cut_off),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
