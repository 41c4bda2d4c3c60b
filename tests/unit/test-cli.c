/* SPDX-License-Identifier: Apache-2.0
 *
 * The client's flags (pflag's grammar, Docker's words), nearest names, config.json. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/stat.h>

#include "base/io.h"
#include "base/str.h"
#include "base/strv.h"
#include "cli/auth.h"
#include "cli/cli.h"
#include "cli/config.h"
#include "cli/run_opts.h"

/* ---- flags ---- */

struct opts {
	bool all, interactive, tty, yes;
	const char *name;
	char **env, **parts, **map, **filter;
	int64_t number, size, swap, cpus, wait, port, count;
};
static char *upper(char **value)
{
	if (cs_streq(*value, "bad"))
		return cs_xstrdup("it is bad");
	for (char *p = *value; *p; p++)
		*p = (char)(*p >= 'a' && *p <= 'z' ? *p - 32 : *p);
	return NULL;
}
static const struct flag flags[] = {
	FLAG(struct opts, all, "all", 'a', "All"),
	FLAG(struct opts, interactive, "interactive", 'i', "In"),
	FLAG(struct opts, tty, "tty", 't', "Tty"),
	FLAG(struct opts, yes, "yes", 0, "Yes", .def = "true"),
	FLAG(struct opts, name, "name", 'n', "Name", .def = "nobody"),
	FLAG(struct opts, env, "env", 'e', "Env"),
	FLAG_AS(struct opts, parts, FLAG_STRINGS, "part", 0, "Parts", .def = "x,y"),
	FLAG_AS(struct opts, map, FLAG_MAP, "map", 0, "Map"),
	FLAG_AS(struct opts, filter, FLAG_FILTER, "filter", 'f', "Filter"),
	FLAG(struct opts, number, "number", 'N', "Number"),
	FLAG_AS(struct opts, size, FLAG_BYTES, "size", 's', "Size"),
	FLAG_AS(struct opts, swap, FLAG_SWAP, "swap", 0, "Swap"),
	FLAG_AS(struct opts, cpus, FLAG_NANO, "cpus", 0, "Cpus"),
	FLAG_AS(struct opts, wait, FLAG_DURATION, "wait", 0, "Wait"),
	FLAG_AS(struct opts, port, FLAG_UINT16, "port", 0, "Port"),
	FLAG_AS(struct opts, count, FLAG_UINT, "count", 0, "Count"),
	FLAG(struct opts, number, "old-number", 0, "Number", .deprecated = "use --number instead"),
	FLAG(struct opts, name, "upper", 0, "Name in capitals", .check = upper),
	FLAG_REFUSED(FLAG_STR, "never", 0, "Never", "there is no such thing"),
	FLAG_END,
};
static const struct command mixed = {.names = "x", CMD_OPTS(struct opts, flags)}, stops = {.names = "x", .flags = CMD_STOP, CMD_OPTS(struct opts, flags)},
			    raw = {.names = "x", .flags = CMD_NO_FLAGS, CMD_OPTS(struct opts, flags)};

static char **words, **borrowed; /* the parser reorders the second */
static char said[4096];

/* Parses a line of words (separated by blanks; "''" is an empty one). What it prints is in `said`. */
static int parse(struct call *c, const struct command *cmd, const char *line)
{
	char path[] = "/tmp/test-cli-XXXXXX";
	int fd = mkostemp(path, O_APPEND), saved = dup(2), n;

	cs_strv_free(words);
	words = cs_strv_split(line, ' ');
	for (char **w = words; *w; w++)
		if (cs_streq(*w, "''"))
			**w = 0;
	free(borrowed);
	borrowed = cs_xcalloc(cs_strv_len(words) + 1, sizeof(char *));
	memcpy(borrowed, words, cs_strv_len(words) * sizeof(char *));
	if (!*line)
		borrowed[0] = NULL;
	assert_true(fd >= 0);
	(void)unlink(path);
	(void)fflush(NULL);
	(void)dup2(fd, 2);
	int saved_out = dup(1);
	(void)dup2(fd, 1);
	*c = (struct call){.cmd = cmd, .path = "x"};
	int r = flags_parse(c, borrowed);
	(void)fflush(NULL);
	(void)dup2(saved, 2);
	(void)dup2(saved_out, 1);
	(void)close(saved);
	(void)close(saved_out);
	n = (int)pread(fd, said, sizeof(said) - 1, 0);
	said[n < 0 ? 0 : n] = 0;
	(void)close(fd);
	return r;
}

static void test_grammar(void **state)
{
	static const struct {
		const struct command *cmd;
		const char *line, *env, *name, *rest;
		bool interactive, tty;
	} t[] = {
		{&mixed, "", NULL, "nobody", "", false, false},
		{&mixed, "-it a b", NULL, "nobody", "a b", true, true},
		{&mixed, "a -i b -t", NULL, "nobody", "a b", true, true},
		{&stops, "-i a -t b", NULL, "nobody", "a -t b", true, false},
		{&mixed, "-i -- -t --name", NULL, "nobody", "-t --name", true, false},
		{&stops, "-i -- -t", NULL, "nobody", "-t", true, false},
		{&mixed, "-eA=B -e C=D -ite E", "A=B C=D E", "nobody", "", true, true},
		{&mixed, "-e=A --env=B --env C", "A B C", "nobody", "", false, false},
		{&mixed, "--interactive=false -t=0", NULL, "nobody", "", false, false},
		{&mixed, "--interactive=T -t=TRUE", NULL, "nobody", "", true, true},
		{&mixed, "-i -i=false", NULL, "nobody", "", false, false},
		{&mixed, "--name x --name=y", NULL, "y", "", false, false},
		{&mixed, "--name= -", NULL, "", "-", false, false},
		{&mixed, "-n '' z", NULL, "", "z", false, false},
		{&mixed, "--name -i", NULL, "-i", "", false, false},
		{&mixed, "--name -- -i", NULL, "--", "", true, false},
		{&raw, "-i --help -- x", NULL, "nobody", "-i --help -- x", false, false},
	};

	for (size_t i = 0; i < CS_ARRAY_SIZE(t); i++) {
		struct call c;
		assert_int_equal(parse(&c, t[i].cmd, t[i].line), 0);
		const struct opts *o = c.opts;
		cs_autofree char *env = o->env ? cs_strv_join(o->env, " ") : NULL, *rest = cs_strv_join(c.args, " ");
		print_message("%s\n", t[i].line);
		assert_int_equal(o->interactive, t[i].interactive);
		assert_int_equal(o->tty, t[i].tty);
		assert_string_equal(o->name, t[i].name);
		assert_string_equal(rest ? rest : "", t[i].rest);
		assert_true(cs_streq(env, t[i].env));
		assert_int_equal(c.n_args, cs_strv_len(c.args));
		flags_done(&c);
	}
}

static void test_values(void **state)
{
	struct call c;

	assert_int_equal(parse(&c, &mixed, "-N 0x10 -s 1.5k --swap -1 --cpus 1.5 --wait 1m30s --port 65535 --count 7 --part a,\"b,c\" --part d --map k=1 --map j --map k=2 -f "
					   "NAME=x --upper abc"), 0);
	const struct opts *o = c.opts;
	cs_autofree char *parts = cs_strv_join(o->parts, "|"), *map = cs_strv_join(o->map, "|"), *filter = cs_strv_join(o->filter, "|");
	assert_int_equal(o->number, 16);
	assert_int_equal(o->size, 1536);
	assert_int_equal(o->swap, -1);
	assert_int_equal(o->cpus, 1500000000);
	assert_int_equal(o->wait, 90000000000);
	assert_int_equal(o->port, 65535);
	assert_int_equal(o->count, 7);
	assert_string_equal(parts, "a|b,c|d"); /* and no default before them */
	assert_string_equal(map, "k=2|j");
	assert_string_equal(filter, "name=x");
	assert_string_equal(o->name, "ABC");
	assert_true(flag_given(&c, &o->number) && flag_given(&c, &o->name) && !flag_given(&c, &o->all) && o->yes);
	free((char *)(uintptr_t)o->name);
	flags_done(&c);
	assert_int_equal(parse(&c, &mixed, "--old-number 3"), 0);
	o = c.opts;
	assert_int_equal(o->number, 3);
	assert_true(flag_given(&c, &o->number));
	assert_string_equal(said, "Flag --old-number has been deprecated, use --number instead\n");
	flags_done(&c);
	assert_int_equal(parse(&c, &mixed, "--number -9223372036854775808 --cpus 3/4"), 0);
	o = c.opts;
	assert_true(o->number == INT64_MIN && o->cpus == 750000000);
	flags_done(&c);
}

static void test_refusals(void **state)
{
	static const struct {
		const char *line, *said;
	} t[] = {
		{"--nosuch", "unknown flag: --nosuch\n"},
		{"--nam x", "unknown flag: --nam\n\nDid you mean --name?\n"},
		{"-iZ", "unknown shorthand flag: 'Z' in -Z\n"},
		{"---x", "bad flag syntax: ---x\n"},
		{"--=x", "bad flag syntax: --=x\n"},
		{"--name", "flag needs an argument: --name\n"},
		{"-in", "flag needs an argument: 'n' in -n\n"},
		{"--all=maybe", "invalid argument \"maybe\" for \"-a, --all\" flag: strconv.ParseBool: parsing \"maybe\": invalid syntax\n"},
		{"--help=maybe", "invalid argument \"maybe\" for \"-h, --help\" flag: strconv.ParseBool: parsing \"maybe\": invalid syntax\n"},
		{"-N x", "invalid argument \"x\" for \"-N, --number\" flag: strconv.ParseInt: parsing \"x\": invalid syntax\n"},
		{"-N 9223372036854775808", "invalid argument \"9223372036854775808\" for \"-N, --number\" flag: strconv.ParseInt: parsing \"9223372036854775808\": value out of range\n"},
		{"--port 65536", "invalid argument \"65536\" for \"--port\" flag: strconv.ParseUint: parsing \"65536\": value out of range\n"},
		{"--port -1", "invalid argument \"-1\" for \"--port\" flag: strconv.ParseUint: parsing \"-1\": invalid syntax\n"},
		{"-s x", "invalid argument \"x\" for \"-s, --size\" flag: invalid size: 'x'\n"},
		{"--cpus 1e", "invalid argument \"1e\" for \"--cpus\" flag: failed to parse 1e as a rational number\n"},
		{"--cpus inf", "invalid argument \"inf\" for \"--cpus\" flag: failed to parse inf as a rational number\n"},
		{"--wait 5", "invalid argument \"5\" for \"--wait\" flag: time: missing unit in duration \"5\"\n"},
		{"--wait x", "invalid argument \"x\" for \"--wait\" flag: time: invalid duration \"x\"\n"},
		{"-f x", "invalid argument \"x\" for \"-f, --filter\" flag: bad format of filter (expected name=value)\n"},
		{"--upper bad", "invalid argument \"bad\" for \"--upper\" flag: it is bad\n"},
		{"--never x", "caisson x: --never: there is no such thing\n"},
	};

	for (size_t i = 0; i < CS_ARRAY_SIZE(t); i++) {
		struct call c;
		assert_int_equal(parse(&c, &mixed, t[i].line), 125);
		said[strlen(t[i].said)] = 0; /* the usage follows */
		assert_string_equal(said, t[i].said);
		flags_done(&c);
	}
	struct call c;
	assert_int_equal(parse(&c, &mixed, "a --help -i"), FLAGS_HELP);
	flags_done(&c);
	assert_int_equal(parse(&c, &mixed, "-h"), FLAGS_HELP);
	assert_string_equal(said, "Flag shorthand -h has been deprecated, use --help\n");
	flags_done(&c);
	assert_int_equal(parse(&c, &stops, "a --help"), 0);
	flags_done(&c);
}

static size_t member_size(const struct flag *f) { return f->kind == FLAG_BOOL ? sizeof(bool) : sizeof(void *); }

/* Mistakes of tables: two rows of one name or letter, a member outside of the struct, a default that does not parse, a name of two commands. */
static void test_tables(void **state)
{
	struct cmd_iter it = {0};
	const struct command *c;
	char name[64];

	while ((c = cmd_next(&it))) {
		for (size_t pos = 0; cmd_name(c, &pos, name, sizeof(name));)
			if (cmd_find(name, NULL) != c)
				fail_msg("%s is the name of two commands", name);
		for (const struct flag *f = c->options; f && f->name; f++) {
			if (f->off != NO_MEMBER && f->off + member_size(f) > c->opts_size)
				fail_msg("%s --%s: outside of the options", c->names, f->name);
			for (const struct flag *g = f + 1; g->name; g++)
				if (cs_streq(f->name, g->name) || (f->letter && f->letter == g->letter))
					fail_msg("%s --%s: twice", c->names, g->name);
		}
	}
}

static void test_names(void **state)
{
	const char *path = NULL;
	const struct command *ls = cmd_find("container ls", NULL);
	cs_autofree char *near = cmd_suggest("container", "lst"), *none = cmd_suggest("container", "frobnicate"), *hidden = cmd_suggest("", "__complet");

	assert_non_null(ls);
	assert_ptr_equal(cmd_find("container list", &path), ls);
	assert_string_equal(path, "container ls");
	assert_ptr_equal(cmd_find("ps", &path), ls);
	assert_string_equal(path, "ps");
	assert_null(cmd_find("container l", NULL));
	assert_null(cmd_find("", NULL));
	assert_string_equal(near, "container list");
	assert_null(none);
	assert_null(hidden);
	assert_int_equal(word_distance("pull", "plul", 3), 1);
	assert_int_equal(word_distance("", "abc", 2), 3);
}

/* ---- config.json ---- */

static char dir[] = "/tmp/test-cli-config-XXXXXX";

static void put_config(const char *text, unsigned mode)
{
	cs_autofree char *path = cs_xasprintf("%s/config.json", dir);
	assert_int_equal(cs_replace_file_at(AT_FDCWD, path, text, strlen(text), mode, false), 0);
	assert_int_equal(chmod(path, mode), 0);
}

/* The file is read once per process. */
static void test_config(void **state)
{
	cs_autostrv char **env = NULL;
	cs_autostr struct cs_str text = CS_STR_INIT(65536);
	cs_autofree char *path = NULL;
	struct stat st;
	bool plain;

	assert_non_null(mkdtemp(dir));
	globals.config = dir;
	put_config("{\"auths\":{\"https://old.example/v1/\":{\"auth\":\"YTpiOmM=\"}},\"unknown\":{\"kept\":[1]},\"detachKeys\":\"ctrl-x\",\"credHelpers\":{\"h\":\"x\"},"
		   "\"proxies\":{\"default\":{\"httpProxy\":\"http://p\",\"noProxy\":\"n\"},\"tcp://e\":{\"httpProxy\":\"http://e\"}}}",
		   0640);
	assert_string_equal(config_str("detachKeys"), "ctrl-x");
	assert_null(config_str("unknown"));
	assert_string_equal(config_str2("credHelpers", "h"), "x");
	cs_strv_push(&env, "NO_PROXY=mine");
	config_proxy_env("unix:///x", &env);
	cs_autofree char *one = cs_strv_join(env, " ");
	assert_string_equal(one, "NO_PROXY=mine HTTP_PROXY=http://p http_proxy=http://p no_proxy=n");
	cs_strv_free(TAKE_PTR(env));
	config_proxy_env("tcp://e", &env);
	cs_autofree char *two = cs_strv_join(env, " ");
	assert_string_equal(two, "HTTP_PROXY=http://e http_proxy=http://e");
	/* credentials by the name of the host, although the file has an old URL */
	auto_auth struct auth a = {0}, b = {.user = cs_xstrdup("u"), .password = cs_xstrdup("p")};
	assert_int_equal(auth_get("old.example", &a, NULL), 0);
	assert_string_equal(a.user, "a");
	assert_string_equal(a.password, "b:c");
	assert_int_equal(auth_store("new.example", &b, &plain, NULL), 0);
	assert_true(plain);
	assert_int_equal(auth_store("new.example", &b, &plain, NULL), 0);
	assert_false(plain);
	assert_int_equal(auth_erase("old.example", NULL), 0);
	path = cs_xasprintf("%s/config.json", dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0640);
	assert_int_equal(cs_read_file_at(AT_FDCWD, path, &text), 0);
	json_t *j = json_loadb(text.buf, text.len, 0, NULL);
	assert_string_equal(jstr(json_object_get(json_object_get(j, "auths"), "new.example"), "auth"), "dTpw");
	assert_int_equal(json_integer_value(json_array_get(json_object_get(json_object_get(j, "unknown"), "kept"), 0)), 1);
	json_decref(j);
	assert_non_null(strstr(text.buf, "\n\t\"auths\": {\n\t\t\""));
	assert_int_equal(cs_remove_tree_at(AT_FDCWD, dir), 0);
}

static void test_servers(void **state)
{
	static const char *const t[][2] = {{"docker.io", HUB}, {"", HUB}, {"https://index.docker.io/v1/", HUB}, {"http://h:5000/v2/", "h:5000"}, {"h", "h"}};
	static const char *const images[][2] = {{"busybox", HUB}, {"a/b", HUB}, {"localhost/b", "localhost"}, {"h:5/b", "h:5"}, {"docker.io/a/b", HUB}, {"r.example/x:1", "r.example"}};

	for (size_t i = 0; i < CS_ARRAY_SIZE(t); i++) {
		cs_autofree char *s = auth_server(t[i][0]);
		assert_string_equal(s, t[i][1]);
	}
	for (size_t i = 0; i < CS_ARRAY_SIZE(images); i++) {
		cs_autofree char *s = auth_server_of_image(images[i][0]);
		assert_string_equal(s, images[i][1]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_grammar), cmocka_unit_test(test_values), cmocka_unit_test(test_refusals), cmocka_unit_test(test_tables), cmocka_unit_test(test_names),
		cmocka_unit_test(test_config),  cmocka_unit_test(test_servers),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	cs_strv_free(words);
	free(borrowed);
	json_decref(config_root());
	return failed;
}
