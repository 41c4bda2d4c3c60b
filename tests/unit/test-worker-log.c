/* SPDX-License-Identifier: Apache-2.0
 *
 * worker/: json-file and local records, partial lines, rotation, compression, a disk that is full. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>
#include <zlib.h>

#include "base/io.h"
#include "base/str.h"
#include "worker/log.h"

#define T0 1700000000123456789ll /* 2023-11-14T22:13:20.123456789Z */
#define STAMP "2023-11-14T22:13:20.123456789Z"

static char dir[64];
static int warnings;

static void on_warn(void *ctx, const char *text)
{
	(void)ctx;
	(void)text;
	warnings++;
}

static int setup(void **state)
{
	(void)state;
	(void)snprintf(dir, sizeof(dir), "/tmp/caisson-test-XXXXXX");
	warnings = 0;
	return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	return cs_remove_tree_at(AT_FDCWD, dir);
}

static void open_log(struct cs_log *l, enum cs_log_driver driver, uint64_t max_size, unsigned max_file, bool compress, const char *attrs)
{
	cs_autofree char *path = cs_xasprintf("%s/c.log", dir);
	struct cs_log_opts o = {driver, path, max_size, max_file, compress, attrs};

	*l = (struct cs_log){.fd = -EBADF, .dirfd = -EBADF, .warn = on_warn};
	assert_int_equal(cs_log_open(l, &o, NULL), 0);
}

static char *slurp(const char *name, size_t *ret_len)
{
	cs_autofree char *path = cs_xasprintf("%s/%s", dir, name);
	struct cs_str s = CS_STR_INIT(16 << 20);

	assert_int_equal(cs_read_file_at(AT_FDCWD, path, &s), 0);
	if (ret_len)
		*ret_len = s.len;
	return cs_str_steal(&s);
}

static bool exists(const char *name)
{
	cs_autofree char *path = cs_xasprintf("%s/%s", dir, name);
	return access(path, F_OK) == 0;
}

static void feed(struct cs_log *l, int stream, const char *text) { cs_log_feed(l, stream, (const uint8_t *)text, strlen(text), T0); }

static void test_escape(void **state)
{
	static const struct {
		const char *in, *out;
		size_t n; /* 0: strlen */
	} cases[] = {
		{"plain text, longer than eight bytes", "plain text, longer than eight bytes", 0},
		{"a\"b\\c", "a\\\"b\\\\c", 0},
		{"<a>&", "\\u003ca\\u003e\\u0026", 0},
		{"\n\r\t\b\f", "\\n\\r\\u0009\\u0008\\u000c", 0},
		{"\0\x1f\x7f", "\\u0000\\u001f\x7f", 3},
		{"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 0},
		{"\xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xaa", "\\u2028\\u2029\xe2\x80\xaa", 0},
		{"\xff" "a\xc3", "\\ufffda\\ufffd", 0},
		{"\xed\xa0\x80", "\\ufffd\\ufffd\\ufffd", 0},       /* surrogate */
		{"\xc0\xaf\xf4\x90\x80\x80", "\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd", 0},
		{"\xe2\x82", "\\ufffd\\ufffd", 0},
		{"", "", 0},
	};

	(void)state;
	for (size_t i = 0; i < CS_ARRAY_SIZE(cases); i++) {
		size_t n = cases[i].n ? cases[i].n : strlen(cases[i].in);
		for (size_t lead = 0; lead < 17; lead++) { /* each case at each place of the eight-byte steps, and with text behind */
			uint8_t in[128], out[1024], want[1024];
			memset(in, 'x', sizeof(in));
			memcpy(in + lead, cases[i].in, n);
			size_t want_n = lead;
			memset(want, 'x', sizeof(want));
			memcpy(want + lead, cases[i].out, strlen(cases[i].out));
			want_n += strlen(cases[i].out);
			size_t got = (size_t)(cs_log_json_escape(out, in, lead + n) - out);
			assert_int_equal(got, want_n);
			assert_memory_equal(out, want, got);
			got = (size_t)(cs_log_json_escape(out, in, lead + n + 9) - out);
			assert_int_equal(got, want_n + 9);
			assert_memory_equal(out, want, got);
		}
	}
	/* every byte, alone and in a word: the fast path must not let one through */
	for (unsigned c = 0; c < 256; c++) {
		uint8_t in[8] = "abcdefgh", out[64], one = (uint8_t)c, alone[8];
		size_t n1 = (size_t)(cs_log_json_escape(alone, &one, 1) - alone);
		in[3] = one;
		size_t n = (size_t)(cs_log_json_escape(out, in, 8) - out);
		assert_int_equal(n, 7 + n1);
		assert_memory_equal(out + 3, alone, n1);
	}
}

static void test_records(void **state)
{
	struct cs_log l;

	(void)state;
	open_log(&l, CS_LOG_JSON, 0, 1, false, "{\"a\":\"b\"}");
	feed(&l, 0, "one\ntw");
	feed(&l, 1, "err\n\n");
	cs_log_feed(&l, 0, (const uint8_t *)"o\n", 2, T0 + 1);
	cs_log_feed(&l, 0, (const uint8_t *)"end", 3, T0 - 123456789 + 100000000);
	cs_log_eof(&l, 0, T0 - 123456789);
	cs_log_close(&l);
	cs_autofree char *text = slurp("c.log", NULL);
	assert_string_equal(text, "{\"log\":\"one\\n\",\"stream\":\"stdout\",\"attrs\":{\"a\":\"b\"},\"time\":\"" STAMP "\"}\n"
				  "{\"log\":\"err\\n\",\"stream\":\"stderr\",\"attrs\":{\"a\":\"b\"},\"time\":\"" STAMP "\"}\n"
				  "{\"log\":\"\\n\",\"stream\":\"stderr\",\"attrs\":{\"a\":\"b\"},\"time\":\"" STAMP "\"}\n"
				  "{\"log\":\"two\\n\",\"stream\":\"stdout\",\"attrs\":{\"a\":\"b\"},\"time\":\"2023-11-14T22:13:20.12345679Z\"}\n"
				  "{\"log\":\"end\",\"stream\":\"stdout\",\"attrs\":{\"a\":\"b\"},\"time\":\"2023-11-14T22:13:20Z\"}\n");
}

/* Lengths of the "log" members, negative when the line goes on. */
static size_t lengths(const char *text, int *v, size_t max)
{
	size_t n = 0;

	for (const char *p = text; *p && n < max; p = strchr(p, '\n') + 1) {
		const char *start = p + strlen("{\"log\":\""), *stop = strstr(start, "\",\"stream\"");
		bool ends = stop >= start + 2 && memcmp(stop - 2, "\\n", 2) == 0;
		v[n++] = ends ? (int)(stop - start - 2) : -(int)(stop - start);
	}
	return n;
}

static void test_partial(void **state)
{
	static const struct {
		size_t len;
		int want[4];
		size_t n;
	} cases[] = {
		{0, {0}, 1},
		{16383, {16383}, 1},
		{16384, {-16384, 0}, 2},
		{16385, {-16384, 1}, 2},
		{40000, {-16384, -16384, 7232}, 3},
	};

	(void)state;
	for (size_t i = 0; i < CS_ARRAY_SIZE(cases); i++) {
		for (size_t step = 1; step < 60000; step = step * 7 + 3) { /* however it arrives */
			struct cs_log l;
			cs_autofree char *path = cs_xasprintf("%s/c.log", dir), *line = cs_xmalloc(cases[i].len + 1);
			int got[8];
			(void)unlink(path);
			open_log(&l, CS_LOG_JSON, 0, 1, false, "");
			memset(line, 'y', cases[i].len);
			line[cases[i].len] = '\n';
			for (size_t at = 0; at < cases[i].len + 1; at += step)
				cs_log_feed(&l, 0, (uint8_t *)line + at, CS_MIN(step, cases[i].len + 1 - at), T0 + (int64_t)at);
			cs_log_close(&l);
			cs_autofree char *text = slurp("c.log", NULL);
			assert_int_equal(lengths(text, got, 8), cases[i].n);
			assert_memory_equal(got, cases[i].want, cases[i].n * sizeof(int));
		}
	}
}

static void test_rotation(void **state)
{
	struct cs_log l;

	(void)state;
	open_log(&l, CS_LOG_JSON, 300, 3, false, "");
	for (int i = 0; i < 40; i++) {
		char line[32];
		(void)snprintf(line, sizeof(line), "line %d\n", i);
		feed(&l, 0, line);
	}
	cs_log_close(&l);
	cs_autofree char *now = slurp("c.log", NULL), *one = slurp("c.log.1", NULL), *two = slurp("c.log.2", NULL);
	assert_false(exists("c.log.3"));
	assert_non_null(strstr(now, "line 39"));
	/* 78 bytes a record: four pass 300 */
	assert_memory_equal(now, "{\"log\":\"line 36", 15);
	assert_memory_equal(one, "{\"log\":\"line 32", 15);
	assert_memory_equal(two, "{\"log\":\"line 28", 15);
	assert_int_equal(warnings, 0);

	/* a single file is emptied */
	open_log(&l, CS_LOG_JSON, 300, 1, false, "");
	for (int i = 0; i < 9; i++)
		feed(&l, 0, "again\n");
	cs_log_close(&l);
	cs_autofree char *only = slurp("c.log", NULL);
	assert_null(strstr(only, "line"));
}

/* No new file can be opened: the old one keeps its name, and no line is lost. */
static void test_rotation_fails(void **state)
{
	struct rlimit old, none;
	struct cs_log l;

	(void)state;
	open_log(&l, CS_LOG_JSON, 300, 3, false, "");
	for (int i = 0; i < 4; i++)
		feed(&l, 0, "before\n");
	int next = dup(l.fd);
	assert_true(next >= 0);
	(void)close(next);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = (struct rlimit){.rlim_cur = (rlim_t)next, .rlim_max = old.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	feed(&l, 0, "meanwhile\n");
	cs_log_flush(&l);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_int_equal(warnings, 1);
	assert_true(exists("c.log"));
	assert_false(exists("c.log.1"));
	for (int i = 0; i < 4; i++)
		feed(&l, 0, "after\n");
	cs_log_close(&l);
	cs_autofree char *now = slurp("c.log", NULL), *one = slurp("c.log.1", NULL);
	assert_memory_equal(one, "{\"log\":\"before", 14);
	assert_non_null(strstr(one, "meanwhile"));
	assert_non_null(strstr(now, "after"));
	assert_int_equal(warnings, 1);
}

/* Who follows a file that is opened again goes on where he is; only another file is the next one. */
static void test_reopen(void **state)
{
	struct cs_log l;

	(void)state;
	open_log(&l, CS_LOG_JSON, 0, 1, false, "");
	feed(&l, 0, "one\n");
	struct cs_log_file *f = cs_log_file_get(&l);
	assert_int_equal(cs_log_reopen(&l, NULL), 0);
	assert_false(f->full);
	cs_autofree char *from = cs_xasprintf("%s/c.log", dir), *to = cs_xasprintf("%s/moved", dir);
	assert_int_equal(rename(from, to), 0);
	assert_int_equal(cs_log_reopen(&l, NULL), 0);
	assert_true(f->full);
	f = cs_log_file_next(f);
	assert_non_null(f);
	assert_false(f->full);
	cs_log_file_put(f);
	cs_log_close(&l);
}

static void test_compress(void **state)
{
	struct cs_log l;
	char buf[4096];
	int status;

	(void)state;
	open_log(&l, CS_LOG_JSON, 3000, 4, true, "");
	for (int i = 0; i < 400; i++) {
		char line[32];
		(void)snprintf(line, sizeof(line), "line %d\n", i);
		feed(&l, 0, line);
		for (pid_t pid; i % 60 == 59 && l.gz_pid && (pid = waitpid(l.gz_pid, &status, 0)) > 0;)
			assert_true(cs_log_reaped(&l, pid, status));
	}
	while (l.gz_pid) {
		pid_t pid = waitpid(l.gz_pid, &status, 0);
		assert_true(cs_log_reaped(&l, pid, status));
	}
	cs_log_close(&l);
	for (int i = 1; i < 4; i++) {
		(void)snprintf(buf, sizeof(buf), "c.log.%d.gz", i);
		assert_true(exists(buf));
		(void)snprintf(buf, sizeof(buf), "c.log.%d", i);
		assert_false(exists(buf));
	}
	assert_false(exists("c.log.gz.tmp"));
	cs_autofree char *path = cs_xasprintf("%s/c.log.1.gz", dir), *now = slurp("c.log", NULL);
	gzFile z = gzopen(path, "rb");
	int n, last = -1, first = -1;
	while (gzgets(z, buf, sizeof(buf)))
		assert_int_equal(sscanf(buf, "{\"log\":\"line %d", &last), 1);
	gzclose(z);
	n = sscanf(now, "{\"log\":\"line %d", &first);
	assert_int_equal(n, 1);
	assert_int_equal(first, last + 1); /* nothing lost between the files */
}

static void test_local(void **state)
{
	struct cs_log l;
	size_t len;

	(void)state;
	open_log(&l, CS_LOG_LOCAL, 0, 1, false, "");
	feed(&l, 0, "hello\n");
	feed(&l, 1, "tail");
	cs_log_eof(&l, 1, T0);
	cs_log_close(&l);
	cs_autofree char *text = slurp("c.log", &len);
	assert_int_equal(len, 20 + 5 + 20 + 4);
	assert_memory_equal(text, "\x19\0\0\0\1\0\0\0", 8);
	assert_memory_equal(text + 16, "hello\x19\0\0\0\x18\0\0\0\2\1\0\0", 17);
	/* a torn record at the end goes when the file is opened again; whole ones stay */
	for (size_t cut = 1; cut < 24; cut++) {
		cs_autofree char *path = cs_xasprintf("%s/c.log", dir);
		cs_autofd int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
		assert_int_equal(cs_write_full(fd, text, len - cut), 0);
		open_log(&l, CS_LOG_LOCAL, 0, 1, false, "");
		assert_int_equal(l.size, 25);
		cs_log_close(&l);
	}
}

static void test_torn_json(void **state)
{
	struct cs_log l;
	cs_autofree char *path = cs_xasprintf("%s/c.log", dir);
	cs_autofd int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0640);

	(void)state;
	assert_int_equal(cs_write_full(fd, "{\"log\":\"a\"}\n{\"log\":\"hal", 23), 0);
	open_log(&l, CS_LOG_JSON, 0, 1, false, "");
	feed(&l, 0, "next\n");
	cs_log_close(&l);
	cs_autofree char *text = slurp("c.log", NULL);
	assert_memory_equal(text, "{\"log\":\"a\"}\n{\"log\":\"next\\n\"", 27);
}

/* A full disk, played by the file size limit: nothing half-written, one warning, and logging comes back. */
static void test_full(void **state)
{
	struct rlimit old, small = {.rlim_cur = 1000};
	struct cs_log l;

	(void)state;
	(void)signal(SIGXFSZ, SIG_IGN);
	open_log(&l, CS_LOG_JSON, 0, 1, false, "");
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	small.rlim_max = old.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	for (int i = 0; i < 98; i++) {
		feed(&l, 0, "some output\n");
		if (i % 7 == 6)
			cs_log_flush(&l);
	}
	cs_log_flush(&l);
	assert_int_equal(warnings, 1);
	assert_true(l.failing);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	feed(&l, 0, "works again\n");
	cs_log_flush(&l);
	assert_false(l.failing);
	assert_int_equal(warnings, 2);
	cs_log_close(&l);
	cs_autofree char *text = slurp("c.log", NULL);
	size_t n = 0;
	for (char *p = text; *p; p = strchr(p, '\n') + 1, n++) {
		assert_memory_equal(p, "{\"log\":\"", 8);
		assert_non_null(strchr(p, '\n'));
	}
	assert_int_equal(n, 7 + 1); /* the first batch and the last */
	assert_non_null(strstr(text, "works again"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_escape),
		cmocka_unit_test_setup_teardown(test_records, setup, teardown),
		cmocka_unit_test_setup_teardown(test_partial, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rotation, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rotation_fails, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reopen, setup, teardown),
		cmocka_unit_test_setup_teardown(test_compress, setup, teardown),
		cmocka_unit_test_setup_teardown(test_local, setup, teardown),
		cmocka_unit_test_setup_teardown(test_torn_json, setup, teardown),
		cmocka_unit_test_setup_teardown(test_full, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
