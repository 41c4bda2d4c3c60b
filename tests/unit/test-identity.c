/* SPDX-License-Identifier: Apache-2.0
 *
 * Docker's user[:group] against an image's /etc/passwd and /etc/group (CVE-2022-36109, CVE-2024-40635, CVE-2026-30892). Without root. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/io.h"
#include "base/sys.h"
#include "compute/process/internal.h"

static const char passwd[] = "# a comment\nroot:x:0:0:root:/root:/bin/sh\nbob:x:1000:1001::/home/bob:/bin/sh\n"
			     "big:x:4294967296:0::/:\nword:x:zero:0::/:\nshort\n5:x:7:7:numeric name:/seven:\nnohome:x:8:8::";
static const char group[] = "root:x:0:root\nadm:x:4:bob,root\nbobs:x:1001:bob\nwheel:x:10:bobby,bob\nbad:x:-1:bob\nlast:x:99:bob";

static const struct {
	const char *user, *expect; /* "uid gid [groups] home", or the error */
	uint64_t uid, gid;
	const char *gids, *names; /* one additional group of each kind */
} cases[] = {
	{"", "0 0 [0 4] /root"},
	{"bob", "1000 1001 [1001 4 10 99] /home/bob"},
	{"1000", "1000 1001 [1001 4 10 99] /home/bob"},
	{"1000:", "1000 1001 [1001 4 10 99] /home/bob"},
	{"+1000", "1000 1001 [1001 4 10 99] /home/bob"},
	{"01000", "1000 1001 [1001 4 10 99] /home/bob"},
	{"bob:adm", "1000 4 [4] /home/bob"},
	{"bob:12", "1000 12 [12] /home/bob"},
	{"bob:adm:junk", "1000 4 [4] /home/bob"},
	{":4", "0 4 [4] /root"},
	{"2000", "2000 0 [0] /"},
	{"2000:2001", "2000 2001 [2001] /"},
	{"5", "5 0 [0] /"},
	{"7", "7 7 [7] /seven"},
	{"nohome", "8 8 [8] /"},
	{"2147483647", "2147483647 0 [0] /"},
	{"2147483648", "uids and gids must be in range 0-2147483647"},
	{"4294967296", "uids and gids must be in range 0-2147483647"},
	{"-1", "uids and gids must be in range 0-2147483647"},
	{"bob:4294967296", "uids and gids must be in range 0-2147483647"},
	{"99999999999999999999", "unable to find user 99999999999999999999: no matching entries in passwd file"},
	{"big", "unable to find user big: no matching entries in passwd file"},
	{"word", "unable to find user word: no matching entries in passwd file"},
	{"bo", "unable to find user bo: no matching entries in passwd file"},
	{"bob:nosuch", "unable to find group nosuch: no matching entries in group file"},
	{"", "1000 5 [5] /home/bob", .uid = 1000, .gid = 5},
	{"", "1000 5 [5 77 10] /home/bob", .uid = 1000, .gid = 5, .gids = "77", .names = "wheel"},
	{"bob", "1000 1001 [1001 4 10 99 77] /home/bob", .gids = "77", .names = "adm"},
	{"bob", "unable to find group none: no matching entries in group file", .names = "none"},
};

static int image(const char *pw, const char *gr)
{
	char dir[] = "/tmp/test-identity-XXXXXX";
	assert_non_null(mkdtemp(dir));
	int root = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(root >= 0);
	assert_int_equal(mkdirat(root, "etc", 0755), 0);
	assert_int_equal(cs_replace_file_at(root, "etc/passwd", pw, strlen(pw), 0644, false), 0);
	assert_int_equal(cs_replace_file_at(root, "etc/group", gr, strlen(gr), 0644, false), 0);
	return root;
}

static void remove_image(int root)
{
	char link[64], dir[256];
	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", root);
	ssize_t n = readlink(link, dir, sizeof(dir) - 1);
	assert_true(n > 0);
	dir[n] = 0;
	cs_close(root);
	assert_int_equal(cs_remove_tree_at(AT_FDCWD, dir), 0);
}

static void check(int root, const struct cs_step *s, const char *expect)
{
	struct cs_str out = CS_STR_INIT(65536);
	struct cs_identity id = {0};
	struct cs_err *err = NULL;

	if (cs_identity_resolve(root, s, &id, &err) < 0) {
		cs_autofree char *text = cs_err_text(err);
		cs_str_puts(&out, text);
		cs_err_free(err);
	} else {
		cs_str_putf(&out, "%u %u [", id.uid, id.gid);
		for (size_t i = 0; i < id.n_groups; i++)
			cs_str_putf(&out, "%s%u", i ? " " : "", id.groups[i]);
		cs_str_putf(&out, "] %s", id.home);
	}
	assert_string_equal(out.buf, expect);
	cs_str_done(&out);
	free(id.groups);
	free(id.home);
}

static void users(void **state)
{
	int root = image(passwd, group);

	for (size_t i = 0; i < CS_ARRAY_SIZE(cases); i++) {
		struct cs_str p = CS_STR_INIT(65536);
		char *gids[] = {(char *)(uintptr_t)cases[i].gids, NULL}, *names[] = {(char *)(uintptr_t)cases[i].names, NULL};
		cs_plan_add(&p, CS_PLAN_USER, cases[i].user, cases[i].uid, cases[i].gid, gids, names);
		struct cs_plan plan = {.data = p.buf, .len = p.len};
		struct cs_step s;
		assert_int_equal(cs_plan_find(&plan, CS_PLAN_USER, &s), 1);
		check(root, &s, cases[i].expect);
		cs_str_done(&p);
	}
	remove_image(root);
}

/* A FIFO must not block, a link must stay inside, a huge file must be refused. */
static void hostile_files(void **state)
{
	int root = image(passwd, group);

	assert_int_equal(unlinkat(root, "etc/passwd", 0), 0);
	assert_int_equal(mkfifoat(root, "etc/passwd", 0600), 0);
	check(root, NULL, "0 0 [0] /");
	assert_int_equal(unlinkat(root, "etc/passwd", 0), 0);
	assert_int_equal(symlinkat("/etc/passwd", root, "etc/passwd"), 0);
	check(root, NULL, "0 0 [0] /");
	assert_int_equal(unlinkat(root, "etc/passwd", 0), 0);
	int fd = openat(root, "etc/passwd", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	assert_int_equal(ftruncate(fd, 1 << 30), 0);
	cs_close(fd);
	check(root, NULL, "read /etc/passwd of the container: File too large");
	remove_image(root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(users), cmocka_unit_test(hostile_files)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
