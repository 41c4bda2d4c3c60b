/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>

#include "base/io.h"
#include "base/str.h"
#include "engine/log_files.h"

static char dir[] = "/tmp/caisson-logs-XXXXXX";
static char path[300];

static void put(const char *file, const char *text, int flags)
{
	cs_autofree char *p = cs_xasprintf("%s%s", path, file);
	cs_autofd int fd = open(p, O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0600);
	assert_true(fd >= 0);
	assert_int_equal(cs_write_full(fd, text, strlen(text)), 0);
}
#define LINE(t, s) "{\"log\":\"" t "\\n\",\"stream\":\"stdout\",\"time\":\"2026-01-01T00:00:0" s "Z\"}\n"

/* All there is now, without newlines, joined. */
static char *drain(struct cs_log_files *f)
{
	struct cs_str s = CS_STR_INIT(1 << 20);
	struct cs_log_rec r;
	while (cs_log_files_next(f, &r) == 1) {
		char *buf = cs_xmalloc(r.text_len + 2);
		size_t n = cs_log_rec_text(&r, buf);
		while (n && buf[n - 1] == '\n')
			n--;
		cs_str_put(&s, buf, n);
		cs_str_puts(&s, ",");
		free(buf);
	}
	return cs_str_steal(&s);
}
static void expect(int64_t tail, const char *want)
{
	struct cs_log_files *f;
	assert_int_equal(cs_log_files_open(path, true, tail, false, &f, NULL), 0);
	cs_autofree char *got = drain(f);
	assert_string_equal(got, want);
	cs_log_files_free(f);
}

static void lines(void **state)
{
	static const struct {
		const char *line, *text;
	} t[] = {
		{"{\"log\":\"a\\n\",\"stream\":\"stderr\",\"time\":\"2026-01-01T00:00:00.5Z\"}", "a\n"},
		{"{\"log\":\"q\\\"\\\\\\u003c\\u00e9\\ud83d\\ude00\\t\",\"stream\":\"stdout\",\"attrs\":{\"k\":\"}\\\"\"},\"time\":\"2026-01-01T00:00:00Z\"}", "q\"\\<\xc3\xa9\xf0\x9f\x98\x80\t"},
		{"{ \"time\":\"2026-01-01T00:00:00Z\", \"stream\":\"stdout\", \"log\":\"x\\ud800\" }", NULL},
		{"{ \"time\":\"2026-01-01T00:00:00Z\", \"stream\":\"stdout\", \"log\":\"odd\" }", "odd"},
		{"", NULL}, {"{", NULL}, {"{\"log\":\"abc", NULL}, {"{\"log\":\"a\\", NULL}, {"{\"log\":1}", NULL}, {"null", NULL},
		{"{\"log\":\"a\",\"stream\":\"stdout\",\"attrs\":{\"k", NULL},
	};
	for (size_t i = 0; i < CS_ARRAY_SIZE(t); i++) {
		struct cs_log_rec r;
		bool ok = cs_log_parse_json(t[i].line, strlen(t[i].line), &r);
		assert_int_equal(ok, t[i].text != NULL);
		if (!ok)
			continue;
		char buf[200];
		buf[cs_log_rec_text(&r, buf)] = 0;
		assert_string_equal(buf, t[i].text);
		assert_true(cs_log_rec_time(&r));
		free(r.owned);
	}
}

static void tails(void **state)
{
	expect(-1, "");
	put(".1", LINE("a", "1") LINE("b", "2"), O_TRUNC);
	put("", LINE("c", "3") "rubbish\n" LINE("d", "4") "{\"log\":\"trunc", O_TRUNC);
	expect(-1, "a,b,c,d,");
	expect(0, "");
	put("", LINE("c", "3") LINE("d", "4"), O_TRUNC);
	expect(1, "d,");
	expect(2, "c,d,");
	expect(3, "b,c,d,");
	expect(99, "a,b,c,d,");
}

static void follow(void **state)
{
	struct cs_log_files *f;
	cs_autofree char *one = cs_xasprintf("%s.1", path), *two = cs_xasprintf("%s.2", path);

	(void)unlink(one);
	put("", LINE("a", "1"), O_TRUNC);
	assert_int_equal(cs_log_files_open(path, true, -1, true, &f, NULL), 0);
	cs_autofree char *s1 = drain(f);
	assert_string_equal(s1, "a,");
	put("", "{\"log\":\"b\\n\",\"str", O_APPEND);
	cs_autofree char *s2 = drain(f);
	assert_string_equal(s2, "");
	put("", "eam\":\"stdout\",\"time\":\"2026-01-01T00:00:02Z\"}\n", O_APPEND);
	/* two rotations before we look again */
	assert_int_equal(rename(path, one), 0);
	put("", LINE("c", "3"), O_EXCL);
	assert_int_equal(rename(one, two), 0);
	assert_int_equal(rename(path, one), 0);
	put("", LINE("d", "4"), O_EXCL);
	cs_autofree char *s3 = drain(f);
	assert_string_equal(s3, "b,c,d,");
	/* our file vanishes (compressed): nothing twice, nothing lost */
	assert_int_equal(rename(path, one), 0);
	cs_autofree char *cmd = cs_xasprintf("%s.1", path);
	cs_autostr struct cs_str text = CS_STR_INIT(4096);
	assert_int_equal(cs_read_file_at(AT_FDCWD, cmd, &text), 0);
	assert_int_equal(unlink(one), 0);
	put(".1", text.buf, O_EXCL);
	put("", LINE("e", "5"), O_EXCL);
	cs_autofree char *s4 = drain(f);
	assert_string_equal(s4, "e,");
	/* truncated in place */
	put("", "", O_TRUNC);
	put("", LINE("f", "6"), O_APPEND);
	cs_autofree char *s5 = drain(f);
	cs_log_files_free(f);
	(void)s5; /* same size as before: cannot be told apart, as in dockerd */
}

static void local(void **state)
{
	struct cs_log_rec r;
	char b[26] = {25, 0, 0, 0, 2, 1, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 'h', 'e', 'l', 'l', 'o', 25, 0, 0, 0};
	assert_int_equal(cs_log_parse_local(b, 24, &r), 0);
	assert_int_equal(cs_log_parse_local(b, 25, &r), 25);
	assert_int_equal(r.stream, 2);
	assert_int_equal(r.ts, 7);
	assert_false(r.newline);
	assert_int_equal(r.text_len, 5);
	b[21] = 24;
	assert_int_equal(cs_log_parse_local(b, 25, &r), -1);
	b[0] = 3;
	assert_int_equal(cs_log_parse_local(b, 25, &r), -1);
}

static int setup(void **state)
{
	if (!mkdtemp(dir))
		return -1;
	(void)snprintf(path, sizeof(path), "%s/x-json.log", dir);
	return 0;
}
static int teardown(void **state) { return cs_remove_tree_at(AT_FDCWD, dir); }

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(lines), cmocka_unit_test(tails), cmocka_unit_test(follow), cmocka_unit_test(local)};
	return cmocka_run_group_tests(tests, setup, teardown);
}
