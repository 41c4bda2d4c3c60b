/* SPDX-License-Identifier: Apache-2.0
 *
 * base/: numbers, times, durations, buffers, paths, vectors, errors. */
#include <fcntl.h>
#include <linux/fs.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/base64.h"
#include "base/error.h"
#include "base/id.h"
#include "base/io.h"
#include "base/num.h"
#include "base/path.h"
#include "base/sha256.h"
#include "base/str.h"
#include "base/strv.h"
#include "base/time.h"

static void test_numbers(void **state)
{
	uint64_t u;
	int64_t i;
	uint32_t m;

	assert_true(cs_parse_u64("18446744073709551615", 0, UINT64_MAX, &u) && u == UINT64_MAX);
	assert_false(cs_parse_u64("18446744073709551616", 0, UINT64_MAX, &u));
	assert_false(cs_parse_u64("", 0, 9, &u));
	assert_false(cs_parse_u64("+1", 0, 9, &u));
	assert_false(cs_parse_u64(" 1", 0, 9, &u));
	assert_false(cs_parse_u64("1x", 0, 9, &u));
	assert_false(cs_parse_u64("10", 0, 9, &u));
	assert_true(cs_parse_i64("-9223372036854775808", INT64_MIN, INT64_MAX, &i) && i == INT64_MIN);
	assert_false(cs_parse_i64("-9223372036854775809", INT64_MIN, INT64_MAX, &i));
	assert_false(cs_parse_i64("--1", INT64_MIN, INT64_MAX, &i));
	assert_true(cs_parse_mode("1777", &m) && m == 01777);
	assert_false(cs_parse_mode("9", &m));
	assert_false(cs_parse_mode("77777", &m));
	struct cs_port_range r;
	assert_true(cs_parse_ports("80", &r) && r.proto == 6 && r.lo == 80 && r.hi == 80);
	assert_true(cs_parse_ports("8000-8010/UDP", &r) && r.proto == 17 && r.lo == 8000 && r.hi == 8010);
	assert_true(cs_parse_ports("0-65535/sctp", &r) && r.proto == 132 && r.lo == 0 && r.hi == 65535);
	static const char *const none[] = {"", "/tcp", "80/", "80/icmp", "90-80", "80-", "-80", "80-90-95/tcp", "65536", "80-65536", "+80", "80/tcp/"};
	for (size_t k = 0; k < CS_ARRAY_SIZE(none); k++)
		assert_false(cs_parse_ports(none[k], &r));
	assert_string_equal(cs_proto_name(132), "sctp");
}

static void test_bytes(void **state)
{
	static const struct {
		const char *text;
		int64_t want; /* -1 = refused */
	} cases[] = {{"0", 0}, {"512", 512}, {"64m", 64 << 20}, {"64M", 64 << 20}, {"1.5g", 3ll << 29}, {"10kb", 10240}, {"10KiB", 10240}, {"2b", 2},
		     {"", -1}, {"m", -1}, {"-1", -1}, {"1x", -1}, {"1mm", -1}, {"99999999999g", -1}, {"8192p", -1}, {"1.", 1}, {".5k", 512}, {".", -1}, {".k", -1}, {"1.5.5", -1},
		     /* as Go's ParseFloat */
		     {"1e3", 1000}, {"1E3k", 1024000}, {"1.5e2m", 150 << 20}, {"5e-1k", 512}, {"+5m", 5 << 20}, {"1e", -1}, {"e3", -1}, {".e3", -1}, {"1e400", -1}, {"1e19", -1}, {"0x10", -1},
		     {"1_000", 1000}, {"1_0.5k", 10752}, {"1e1_0", 10000000000}, {"+1_0m", 10 << 20}, {"0x1p3", 8}, {"0x_1.8p1_0k", 1572864}, {"0x1p3 kib", 8192}, {"_1", -1}, {"1_", -1},
		     {"1__0", -1}, {"1_m", -1}, {"1_.5", -1}, {"1._5", -1}, {"1e_3", -1}, {"0x1_0", -1}, {"0xp3", -1}, {"0x1p", -1}, {"0x1p99", -1}};
	for (size_t k = 0; k < CS_ARRAY_SIZE(cases); k++) {
		int64_t v = -1;
		bool ok = cs_parse_bytes(cases[k].text, &v);
		assert_int_equal(ok ? v : -1, cases[k].want);
	}
}

static void test_times(void **state)
{
	char buf[CS_TIME_BUF];
	int64_t t;

	assert_string_equal(cs_time_format(0, buf), "1970-01-01T00:00:00Z");
	assert_string_equal(cs_time_format(1136214245123000000, buf), "2006-01-02T15:04:05.123Z");
	assert_string_equal(cs_time_format(CS_TIME_ZERO, buf), "0001-01-01T00:00:00Z");
	assert_int_equal(cs_time_format_fixed(1136214245123000000, buf), 30);
	assert_string_equal(buf, "2006-01-02T15:04:05.123000000Z");
	assert_true(cs_time_parse("2006-01-02T15:04:05.123Z", &t) && t == 1136214245123000000);
	assert_true(cs_time_parse("2006-01-02T16:04:05.123+01:00", &t) && t == 1136214245123000000);
	assert_true(cs_time_parse("2000-02-29T00:00:00Z", &t) && t == 951782400ll * CS_NS_PER_SEC);
	assert_true(cs_time_parse("0001-01-01T00:00:00Z", &t) && t == CS_TIME_ZERO);
	assert_false(cs_time_parse("2006-13-02", &t));
	assert_true(cs_time_parse("2006-01-02T15:04:05.1234567899Z", &t) && t == 1136214245123456789); /* as Go: what is beyond goes */
	static const char *const no_day[] = {"2023-02-31T00:00:00Z", "2023-02-29T00:00:00Z", "1900-02-29T00:00:00Z", "2023-04-31T00:00:00Z", "2023-01-32T00:00:00Z",
					     "2023-01-00T00:00:00Z"};
	for (size_t i = 0; i < CS_ARRAY_SIZE(no_day); i++) {
		assert_false(cs_time_parse(no_day[i], &t));
		assert_false(cs_time_parse_param(no_day[i], 0, &t));
	}
	assert_false(cs_time_parse_param("2023-02-31", 0, &t));
	/* a JSON time is whole; a parameter may be less, and without a zone it is in the machine's */
	static const char *const brief[] = {"2006-01-02", "2006-01-02T15", "2006-01-02T15:04", "2006-01-02T15:04:05", "2006-01-02T15:04Z"};
	for (size_t i = 0; i < CS_ARRAY_SIZE(brief); i++) {
		assert_false(cs_time_parse(brief[i], &t));
		assert_true(cs_time_parse_param(brief[i], 0, &t));
	}
	assert_int_equal(setenv("TZ", "XYZ-2", 1), 0);
	tzset();
	assert_true(cs_time_parse_param("1.5h", 0, &t) && t == -5400000000000);
	assert_true(cs_time_parse_param("1.5", 0, &t) && t == 1500000000);
	assert_false(cs_time_parse_param("1.5.5", 0, &t));
	assert_true(cs_time_parse_param("2006-01-02T15:04:05.5", 0, &t) && t == 1136207045500000000);
	assert_true(cs_time_parse_param("2006-01-02T15:04:05.5Z", 0, &t) && t == 1136214245500000000);
	assert_true(cs_time_parse_param("2006-01-02Z", 0, &t) && t == 1136160000000000000);
	assert_int_equal(unsetenv("TZ"), 0);
	tzset();
	assert_false(cs_time_parse("2006-01-02T15:04:05Zx", &t));
	assert_true(cs_time_parse_param("1136214245.000000005", 0, &t) && t == 1136214245000000005);
	assert_true(cs_time_parse_param("10m", 3600 * CS_NS_PER_SEC, &t) && t == 3000 * CS_NS_PER_SEC);
	assert_false(cs_time_parse_param("yesterday", 0, &t));
	/* to the last nanosecond that there is, and not beyond */
	assert_true(cs_time_parse("2262-04-11T23:47:16.854775807Z", &t) && t == INT64_MAX);
	assert_false(cs_time_parse("2262-04-11T23:47:16.854775808Z", &t));
	assert_true(cs_time_parse_param("-1ns", INT64_MAX - 1, &t) && t == INT64_MAX);
	assert_false(cs_time_parse_param("-2ns", INT64_MAX - 1, &t));
}

static void test_durations(void **state)
{
	int64_t d;

	assert_true(cs_duration_parse("1h30m", &d) && d == 5400 * CS_NS_PER_SEC);
	assert_true(cs_duration_parse("1.5s", &d) && d == 1500000000);
	assert_true(cs_duration_parse("-2ms", &d) && d == -2000000);
	assert_true(cs_duration_parse("0", &d) && d == 0);
	assert_false(cs_duration_parse("", &d));
	assert_false(cs_duration_parse("5", &d));
	assert_false(cs_duration_parse("5 s", &d));
	assert_false(cs_duration_parse("9999999999h", &d));
}

static void test_str(void **state)
{
	cs_autostr struct cs_str s = CS_STR_INIT(10);

	cs_str_puts(&s, "12345");
	cs_str_putf(&s, "%s", "67890");
	assert_false(s.failed);
	cs_str_putc(&s, 'x');
	assert_true(s.failed);
	assert_int_equal(s.len, 10);
	assert_null(cs_str_steal(&s));
	struct cs_str n = CS_STR_INIT(100);
	cs_str_put_i64(&n, INT64_MIN);
	cs_str_put_u64(&n, UINT64_MAX);
	cs_str_consume(&n, 1);
	assert_string_equal(n.buf, "922337203685477580818446744073709551615");
	cs_str_done(&n);
}

static void test_clean(void **state)
{
	static const char *const cases[][2] = {{"", "."}, {"/", "/"}, {"//a//b/", "/a/b"}, {"/a/../..", "/"}, {"a/../../b", "../b"}, {"./a/./b", "a/b"}, {"..", ".."},
					       {"../..", "../.."}, {"a/..", "."}, {"/a/b/../c", "/a/c"}};
	for (size_t k = 0; k < CS_ARRAY_SIZE(cases); k++) {
		cs_autofree char *c = cs_path_clean(cases[k][0]);
		assert_string_equal(c, cases[k][1]);
	}
	assert_true(cs_path_is_below("/dev", "/dev") && cs_path_is_below("/dev/pts", "/dev"));
	assert_false(cs_path_is_below("/device", "/dev") || cs_path_is_below("/", "/dev"));
	assert_true(cs_str_lists("cpu,cpuacct", "cpuacct", ",") && cs_str_lists("cpu,cpuacct", "cpu", ",") && cs_str_lists("io memory\n", "memory", " \n"));
	assert_false(cs_str_lists("cpu,cpuacct", "acct", ",") || cs_str_lists("", "cpu", ",") || cs_str_lists("cpuacct", "cpu", ","));
	assert_true(cs_is_plain_name("a"));
	assert_false(cs_is_plain_name(".."));
	assert_false(cs_is_plain_name("a/b"));
}

/* What cannot be removed says why. */
static void test_remove_refused(void **state)
{
	char dir[] = "/tmp/cs-test-XXXXXX";
	int flags = FS_IMMUTABLE_FL, none = 0;

	(void)state;
	assert_non_null(mkdtemp(dir));
	cs_autofree char *file = cs_path_join(dir, "file");
	cs_autofd int fd = open(file, O_RDONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	bool possible = ioctl(fd, FS_IOC_SETFLAGS, &flags) == 0; /* root, and a file system that knows it */
	if (possible) {
		assert_int_equal(cs_remove_tree_at(AT_FDCWD, dir), -EPERM);
		assert_int_equal(ioctl(fd, FS_IOC_SETFLAGS, &none), 0);
	}
	assert_int_equal(cs_remove_tree_at(AT_FDCWD, dir), 0);
	if (!possible)
		skip();
}

/* Links inside a foreign tree stay inside, whatever they say. */
static void test_in_root(void **state)
{
	char dir[] = "/tmp/cs-test-XXXXXX", buf[64];
	struct stat st;

	assert_non_null(mkdtemp(dir));
	cs_autofd int root = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_true(root >= 0);
	assert_int_equal(symlinkat("/etc", root, "abs"), 0);
	assert_int_equal(symlinkat("../../../../../..", root, "up"), 0);
	assert_int_equal(cs_open_in_root(root, "abs/passwd", O_RDONLY, 0), -ENOENT);
	assert_int_equal(cs_open_in_root(root, "up/etc/passwd", O_RDONLY, 0), -ENOENT);
	/* a dangling link in the way is not followed out, nor replaced */
	assert_true(cs_mkdir_in_root(root, "/abs/x", 0755, 0, 0) < 0);
	assert_int_equal(fstatat(root, "etc", &st, 0), -1);
	cs_autofd int made = cs_mkdir_in_root(root, "/up/deep/../deep/er", 0700, 0, 0);
	assert_true(made >= 0);
	assert_int_equal(fstatat(root, "deep/er", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	cs_autofd int file = cs_mkfile_in_root(root, "/deep/f/g");
	assert_true(file >= 0);
	assert_int_equal(fstatat(root, "deep/f/g", &st, 0), 0);
	assert_true(S_ISREG(st.st_mode));
	assert_int_equal(symlinkat("/nowhere", root, "dangling"), 0);
	assert_true(cs_mkfile_in_root(root, "/dangling") < 0);
	assert_int_equal(cs_replace_file_at(root, "deep/f/g", "xyz", 3, 0600, true), 0);
	cs_autofd int rd = cs_open_in_root(root, "/deep/f/g", O_RDONLY, 0);
	assert_int_equal(cs_read_full(rd, buf, sizeof(buf)), 3);
	atomic_bool stop = true;
	assert_int_equal(cs_remove_tree_until(root, "deep", &stop), -ECANCELED);
	assert_int_equal(faccessat(root, "deep/f/g", F_OK, 0), 0);
	stop = false;
	assert_int_equal(cs_remove_tree_until(root, "deep", &stop), 0);
	assert_int_equal(faccessat(root, "deep", F_OK, 0), -1);
	assert_int_equal(cs_remove_tree_at(AT_FDCWD, dir), 0);
	assert_int_equal(access(dir, F_OK), -1);
	assert_int_equal(access("/etc/passwd", F_OK), 0);
}

static void test_strv(void **state)
{
	cs_autostrv char **v = cs_strv_split("a,,b", ',');

	assert_int_equal(cs_strv_len(v), 3);
	for (int k = 0; k < 100; k++)
		cs_strv_push(&v, "x");
	assert_int_equal(cs_strv_len(v), 103);
	char a[] = "a", b[] = "b";
	cs_autofree char *j = cs_strv_join((char *[]){a, b, NULL}, "--");
	assert_string_equal(j, "a--b");
	cs_autostrv char **s = cs_strv_split("b,a-1,B,a,", ',');
	cs_strv_sort(s);
	cs_autofree char *sorted = cs_strv_join(s, ",");
	assert_string_equal(sorted, ",B,a,a-1,b");
	cs_strv_sort(NULL);
	struct cs_strmap *m = cs_strmap_new();
	char key[16];
	for (int k = 0; k < 20; k++) {
		(void)snprintf(key, sizeof(key), "k%d", k);
		cs_strmap_set(m, key, key);
	}
	cs_autostrv char **c = cs_strv_copy(v); /* copies have no spare room, pushing must make it */
	cs_strv_push(&c, "y");
	cs_strv_push(&c, "y");
	assert_int_equal(cs_strv_len(c), 105);
	struct cs_strmap *mc = cs_strmap_copy(m);
	cs_strmap_set(mc, "fresh", "1");
	assert_int_equal(mc->n, 21);
	assert_false(cs_strmap_equal(m, mc));
	cs_strmap_del(mc, "fresh");
	assert_true(cs_strmap_equal(m, mc));
	cs_strmap_set(mc, "k5", "other");
	assert_false(cs_strmap_equal(m, mc));
	assert_false(cs_strmap_equal(NULL, mc));
	cs_strmap_free(mc);
	cs_strmap_set(m, "k3", "new");
	cs_strmap_del(m, "k4");
	assert_int_equal(m->n, 19);
	assert_string_equal(cs_strmap_get(m, "k3"), "new");
	assert_null(cs_strmap_get(m, "k4"));
	cs_strmap_free(m);
}

static void test_error(void **state)
{
	struct cs_err *e = NULL;

	assert_int_equal(cs_fail(&e, CS_ERR_NOT_FOUND, ENOENT, "layer %s", "abc"), -1);
	assert_int_equal(cs_fail(&e, CS_ERR_INTERNAL, 0, "second"), -1); /* the first error wins */
	assert_int_equal(cs_wrap(&e, "create container web"), -1);
	assert_int_equal(cs_err_code(e), CS_ERR_NOT_FOUND);
	assert_int_equal(cs_code_http(cs_err_code(e)), 404);
	cs_autofree char *t = cs_err_text(e);
	assert_string_equal(t, "create container web: layer abc: No such file or directory");
	cs_err_free(e);
	assert_int_equal(cs_fail(NULL, CS_ERR_INTERNAL, 0, "nobody listens"), -1);
}

static void test_link_names(void **state)
{
	static const char *const good[] = {"eth0", "a", "br-0123456789ab", "all1", "...", "ALL"};
	static const char *const bad[] = {"", ".", "..", "all", "default", "a/b", "a b", "a:b", "a%d", "sixteen-letters-", "\xc3\xa4"};

	for (size_t i = 0; i < CS_ARRAY_SIZE(good); i++)
		assert_true(cs_link_name_valid(good[i]));
	for (size_t i = 0; i < CS_ARRAY_SIZE(bad); i++)
		assert_false(cs_link_name_valid(bad[i]));
}

static void test_id(void **state)
{
	char a[CS_ID_LEN + 1], b[CS_ID_LEN + 1];

	cs_id_new(a);
	cs_id_new(b);
	assert_int_equal(strlen(a), CS_ID_LEN);
	assert_true(cs_is_hex(a));
	assert_string_not_equal(a, b);
}

static void test_sha256(void **state)
{
	struct cs_sha256 h;
	char hex[65];

	cs_sha256_hex_of("", 0, hex);
	assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	cs_sha256_init(&h);
	cs_sha256_update(&h, "a", 1);
	cs_sha256_update(&h, NULL, 0);
	cs_sha256_update(&h, "bc", 2);
	cs_sha256_hex(&h, hex);
	assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	cs_sha256_hex(&h, hex); /* ready again */
	assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

static void test_base64(void **state)
{
	static const struct {
		const char *in, *out;
	} t[] = {{"YQ==", "a"}, {"YQ", "a"}, {"YWI", "ab"}, {"YWI=", "ab"}, {"YWJj", "abc"}, {"-_8", "\xfb\xff"}, {"+/8=", "\xfb\xff"}};
	static const char *const bad[] = {"", "=", "A", "AAAAA", "YQ ==", "YQ==\n", "Y!Q=", "===="};
	size_t n;

	for (size_t i = 0; i < CS_ARRAY_SIZE(t); i++) {
		cs_autofree char *got = cs_base64_decode(t[i].in, &n);
		assert_non_null(got);
		assert_int_equal(n, strlen(t[i].out));
		assert_memory_equal(got, t[i].out, n);
	}
	for (size_t i = 0; i < CS_ARRAY_SIZE(bad); i++) {
		cs_autofree char *got = cs_base64_decode(bad[i], &n);
		assert_null(got);
	}
	for (size_t len = 1; len < 50; len++) {
		char data[50];
		for (size_t i = 0; i < len; i++)
			data[i] = (char)(i * 37 + len);
		cs_autofree char *text = cs_base64_encode(data, len, len % 2), *back = cs_base64_decode(text, &n);
		assert_int_equal(n, len);
		assert_memory_equal(back, data, len);
	}
	cs_autofree char *std = cs_base64_encode("\xff\xef", 2, false), *url = cs_base64_encode("\xff\xef", 2, true), *none = cs_base64_encode("", 0, false);
	assert_string_equal(std, "/+8=");
	assert_string_equal(url, "_-8=");
	assert_string_equal(none, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers), cmocka_unit_test(test_bytes), cmocka_unit_test(test_times), cmocka_unit_test(test_durations),
		cmocka_unit_test(test_str), cmocka_unit_test(test_clean), cmocka_unit_test(test_in_root), cmocka_unit_test(test_remove_refused), cmocka_unit_test(test_strv),
		cmocka_unit_test(test_error), cmocka_unit_test(test_id), cmocka_unit_test(test_link_names), cmocka_unit_test(test_sha256), cmocka_unit_test(test_base64),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
