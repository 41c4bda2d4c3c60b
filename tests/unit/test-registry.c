/* SPDX-License-Identifier: Apache-2.0
 *
 * The parsers of the registry client: header values, URLs, TOML, credentials, addresses and proxies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/base64.h"
#include "base/json.h"
#include "registry/internal.h"
#include "registry/toml.h"

/* ---- WWW-Authenticate ---- */

static void challenges(void **state)
{
	struct cs_rg_challenges c = {0};
	const struct cs_rg_challenge *b;

	cs_rg_challenges_add(&c, "Bearer realm=\"https://a.example/token\",service=\"s\", scope=\"repository:a/b:pull,push\",error=invalid_token");
	cs_rg_challenges_add(&c, "BASIC realm = \"with \\\"quotes\\\", and commas\"");
	assert_int_equal(c.n, 2);
	b = cs_rg_challenge_find(&c, "bearer");
	assert_string_equal(b->realm, "https://a.example/token");
	assert_string_equal(b->service, "s");
	assert_string_equal(b->scope, "repository:a/b:pull,push");
	assert_string_equal(b->error, "invalid_token");
	assert_string_equal(cs_rg_challenge_find(&c, "basic")->realm, "with \"quotes\", and commas");
	assert_null(cs_rg_challenge_find(&c, "digest"));
	cs_rg_challenges_done(&c);

	cs_rg_challenges_add(&c, "Negotiate, Basic realm=\"x\", Bearer realm=y,service=\"z\"");
	assert_int_equal(c.n, 3);
	assert_string_equal(cs_rg_challenge_find(&c, "bearer")->realm, "y");
	cs_rg_challenges_done(&c);
}

static void challenges_bad(void **state)
{
	static const char *const bad[] = {"", ",", "=", "Bearer realm=\"unterminated", "\"x\"", "Bearer realm=\"a\\", ", , ,", "B\xc3\xa4rer x=y"};
	struct cs_rg_challenges c = {0};

	for (size_t i = 0; i < CS_ARRAY_SIZE(bad); i++) {
		cs_rg_challenges_add(&c, bad[i]);
		assert_int_equal(c.n, 0);
	}
	for (size_t i = 0; i < 50; i++)
		cs_rg_challenges_add(&c, "A x=1, B y=2, C z=3");
	assert_int_equal(c.n, CS_RG_CHALLENGES);
	cs_rg_challenges_done(&c);
	/* the first of two counts, so that nothing leaks and nothing is overridden later */
	cs_rg_challenges_add(&c, "Bearer realm=\"one\",realm=\"two\"");
	assert_string_equal(c.c[0].realm, "one");
	cs_rg_challenges_done(&c);
}

/* ---- other headers ---- */

static void links(void **state)
{
	static const struct {
		const char *in, *out;
	} t[] = {
		{"</v2/a/tags/list?last=b&n=2>; rel=\"next\"", "/v2/a/tags/list?last=b&n=2"},
		{"<a>; rel=prev, <b>; rel=next", "b"},
		{"<a>;title=\"x,y;z\";REL=NEXT", "a"},
		{"<a>", NULL},
		{"<a>; rel=\"last\"", NULL},
		{"a; rel=next", NULL},
		{"<a; rel=next", NULL},
		{"", NULL},
		{"<a>; rel=\"next", NULL},
		{"<a>;;; rel=next", "a"},
	};
	for (size_t i = 0; i < CS_ARRAY_SIZE(t); i++) {
		cs_autofree char *got = cs_rg_link_next(t[i].in);
		if (t[i].out)
			assert_string_equal(got, t[i].out);
		else
			assert_null(got);
	}
}

static void content_ranges(void **state)
{
	static const char *const bad[] = {"", "bytes", "bytes 5", "bytes 5-4/10", "bytes 0-10/10", "bytes -1-4/5", "bytes 0-4/", "items 0-4/5", "bytes 0-4/5x",
					  "bytes 99999999999999999999-4/5", "bytes */5"};
	struct cs_rg_range r;

	assert_true(cs_rg_content_range("bytes 5-9/10", &r));
	assert_true(r.first == 5 && r.last == 9 && r.total == 10);
	assert_true(cs_rg_content_range("Bytes  0-0/*", &r));
	assert_true(r.first == 0 && r.last == 0 && r.total == -1);
	for (size_t i = 0; i < CS_ARRAY_SIZE(bad); i++)
		assert_false(cs_rg_content_range(bad[i], &r));
}

static void retry_after(void **state)
{
	assert_int_equal(cs_rg_retry_after("0", 0), 0);
	assert_int_equal(cs_rg_retry_after("120", 0), 120);
	assert_int_equal(cs_rg_retry_after("Thu, 01 Jan 1970 00:02:00 GMT", 100), 20);
	assert_int_equal(cs_rg_retry_after("Thu, 01 Jan 1970 00:02:00 GMT", 500), 0);
	assert_int_equal(cs_rg_retry_after("-5", 0), -1);
	assert_int_equal(cs_rg_retry_after("soon", 0), -1);
	assert_int_equal(cs_rg_retry_after("99999999999", 0), -1);
	assert_int_equal(cs_rg_retry_after("", 0), -1);
}

static void digests(void **state)
{
	assert_true(cs_rg_digest_valid("sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"));
	assert_false(cs_rg_digest_valid("sha256:0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef"));
	assert_false(cs_rg_digest_valid("sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde"));
	assert_false(cs_rg_digest_valid("sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0"));
	assert_false(cs_rg_digest_valid("sha512:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"));
	assert_false(cs_rg_digest_valid("../../../../etc/passwd"));
	assert_false(cs_rg_digest_valid(""));
}

/* ---- URLs ---- */

static void urls(void **state)
{
	static const struct {
		const char *base, *target, *out;
	} t[] = {
		{"https://a.example/v2/x", "/y?z=1", "https://a.example:443/y?z=1"},
		{"https://a.example/v2/x?q", "y", "https://a.example:443/v2/y"},
		{"https://a.example/v2/x?q", "?r", "https://a.example:443/v2/x?r"},
		{"http://a.example:5000/v2/", "//b.example/x#frag", "http://b.example:80/x"},
		{"http://a/", "HTTPS://B.example/x y\xc3\xa4", "https://b.example:443/x%20y%C3%A4"},
		{"http://[::1]:5000/", "/x", "http://[::1]:5000/x"},
		{"http://a/", "ftp://b/x", NULL},
		{"http://a/", "javascript:x", NULL},
		{"http://a/", "http://u:p@b/x", NULL},
		{"http://a/", "http://b:0/", NULL},
		{"http://a/", "http://b:99999/", NULL},
		{"http://a/", "http://", NULL},
		{"http://a/", "http://b\\@c/", NULL},
		{"http://a/", "/x\r\nX: y", NULL},
		{"http://a/", "http://[::1/", NULL},
		{"http://a/", "http://b c/", NULL},
	};
	for (size_t i = 0; i < CS_ARRAY_SIZE(t); i++) {
		cs_autofree char *got = cs_rg_url_join(t[i].base, t[i].target);
		if (t[i].out)
			assert_string_equal(got, t[i].out);
		else
			assert_null(got);
	}
	assert_true(cs_rg_same_origin("https://a/x", "https://A:443/y"));
	assert_false(cs_rg_same_origin("https://a/x", "http://a:443/x"));
	assert_false(cs_rg_same_origin("https://a/x", "https://a:444/x"));
	assert_false(cs_rg_same_origin("https://a/x", "https://a.b/x"));
	assert_false(cs_rg_same_origin("nonsense", "nonsense"));
}

/* ---- TOML ---- */

static void toml(void **state)
{
	static const char text[] = "# comment\nserver = \"https://x\" # more\n\n[host.\"https://a.example:5000\"]\r\n  capabilities = [ \"pull\", # one\n 'resolve', ]\n"
				   "  skip_verify=true\n client = [[\"a\", \"b\"], [\"c\",\"\"]]\n[host.\"https://a.example:5000\".header]\nx-a = \"\\u00e4\\t\\\"\"\n"
				   "[t]\nn = -1_000\ni = {a = 1, b.c = 'x'}\nd.e.f = false\nempty = []\nnone = {}\n";
	static const char want[] = "{\"server\":\"https://x\",\"host\":{\"https://a.example:5000\":{\"capabilities\":[\"pull\",\"resolve\"],\"skip_verify\":true,"
				   "\"client\":[[\"a\",\"b\"],[\"c\",\"\"]],\"header\":{\"x-a\":\"\u00e4\\t\\\"\"}}},\"t\":{\"n\":-1000,\"i\":{\"a\":1,\"b\":{\"c\":\"x\"}},"
				   "\"d\":{\"e\":{\"f\":false}},\"empty\":[],\"none\":{}}}";
	cs_autojson json_t *j = cs_rg_toml_parse(text, sizeof(text) - 1, NULL);

	assert_non_null(j);
	cs_autofree char *got = json_dumps(j, JSON_COMPACT);
	assert_string_equal(got, want);
}

static void toml_bad(void **state)
{
	static const struct {
		const char *in, *error;
	} t[] = {
		{"a", "line 1: expected '='"}, {"a = ", "line 1: expected a string"}, {"\n\na = 1 b", "line 3: expected the end of the line"},
		{"a = \"x\ny\"", "line 1: string does not end"}, {"a = \"\"\"x\"\"\"", "several lines"}, {"a = 1.5", "expected a string"},
		{"a = 1979-05-27", "expected a string"}, {"[a]\n[a]", "line 2: table is defined twice"}, {"a = 1\n[a]", "table is defined twice"}, {"a = 1\na = 1", "key is defined twice"},
		{"[[a]]", "arrays of tables"}, {"a = \"\\x\"", "unknown escape"}, {"a = \"\\ud800\"", "no character"}, {"a = \"\xff\"", "not UTF-8"},
		{"a = [1", "expected ',' or ']'"}, {"a = {b = 1", "expected ',' or '}'"}, {"= 1", "expected a key"}, {"[a", "expected ']'"}, {"a.b = 1\na = 1", "twice"},
		{"a = 99999999999999999999", "expected a string"}, {"a = [[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]", "nested too deep"},
	};
	for (size_t i = 0; i < CS_ARRAY_SIZE(t); i++) {
		cs_autoerr struct cs_err *e = NULL;
		assert_null(cs_rg_toml_parse(t[i].in, strlen(t[i].in), &e));
		assert_non_null(e);
		if (!strstr(e->msg, t[i].error))
			fail_msg("%s: %s", t[i].in, e->msg);
	}
}

/* ---- credentials ---- */

static void credentials(void **state)
{
	static const char *const good[] = {
		"{\"username\":\"u\",\"password\":\"p\",\"serveraddress\":\"x\"}", "{\"Username\":\"u\",\"PASSWORD\":\"p\",\"serveraddress\":\"x\",\"email\":null,\"more\":5}",
		"{\"auth\":\"dTpw\",\"serveraddress\":\"x\"}",
	};
	static const char *const bad[] = {"!", "YQ==", "W10=" /* [] */, "eyJ1c2VybmFtZSI6NX0=" /* {"username":5} */};

	for (size_t i = 0; i < CS_ARRAY_SIZE(good); i++) {
		cs_autofree char *code = cs_base64_encode(good[i], strlen(good[i]), false);
		for (size_t pad = 0; pad < 2; pad++) { /* Docker's clients send both */
			cs_autoauth struct cs_registry_auth a = {0};
			if (pad)
				code[strcspn(code, "=")] = 0;
			assert_int_equal(cs_registry_auth_parse_header(code, &a, NULL), 0);
			assert_string_equal(a.username, "u");
			assert_string_equal(a.password, "p");
			assert_string_equal(a.server_address, "x");
		}
	}
	for (size_t i = 0; i < CS_ARRAY_SIZE(bad); i++) {
		struct cs_registry_auth a = {0};
		cs_autoerr struct cs_err *e = NULL;
		assert_int_equal(cs_registry_auth_parse_header(bad[i], &a, &e), -1);
		assert_int_equal(e->code, CS_ERR_INVALID);
		assert_null(a.username);
	}
	struct cs_registry_auth none = {.username = NULL};
	assert_int_equal(cs_registry_auth_parse_header("", &none, NULL), 0);
	assert_int_equal(cs_registry_auth_parse_header("bnVsbA==", &none, NULL), 0); /* null */
	assert_null(none.username);
}

static void credentials_of_builds(void **state)
{
	static const char text[] = "{\"https://index.docker.io/v1/\":{\"username\":\"hub\"},\"h.example:5000\":{\"identitytoken\":\"t\"}}";
	cs_autofree char *code = cs_base64_encode(text, strlen(text), false);
	cs_autoauth struct cs_registry_auth a = {0}, b = {0}, c = {0};

	assert_int_equal(cs_registry_auth_parse_config(code, "docker.io", &a, NULL), 0);
	assert_string_equal(a.username, "hub");
	assert_int_equal(cs_registry_auth_parse_config(code, "h.example:5000", &b, NULL), 0);
	assert_string_equal(b.identity_token, "t");
	assert_int_equal(cs_registry_auth_parse_config(code, "h.example", &c, NULL), 0);
	assert_true(!c.username && !c.identity_token);
}

/* ---- who is insecure, and behind which proxy ---- */

static void insecure(void **state)
{
	char *list[] = {(char[]){"h.example"}, (char[]){"p.example:5000"}, (char[]){"10.1.0.0/16"}, (char[]){"http://s.example"}, (char[]){"fd00::/8"}, NULL};
	struct cs_registry_config cfg = {.insecure = list};
	static const char *const yes[] = {"h.example", "p.example:5000", "10.1.2.3", "10.1.2.3:99", "s.example", "[fd12::1]:5000", "127.1.2.3:5", "[::1]:5", "localhost:5000", "localhost"};
	static const char *const no[] = {"h.example:5000", "p.example", "10.2.0.1", "x.h.example", "[fe00::1]", "localhost.example", "128.0.0.1", "1270.0.0.1"};
	struct cs_registry *r;

	assert_int_equal(cs_registry_new(&cfg, &r, NULL), 0);
	for (size_t i = 0; i < CS_ARRAY_SIZE(yes); i++)
		if (!cs_rg_insecure_host(r, yes[i]))
			fail_msg("%s", yes[i]);
	for (size_t i = 0; i < CS_ARRAY_SIZE(no); i++)
		if (cs_rg_insecure_host(r, no[i]))
			fail_msg("%s", no[i]);
	assert_ptr_equal(cs_registry_ref(r), r);
	cs_registry_unref(r);
	cs_registry_unref(r);
}

static void proxies(void **state)
{
	struct cs_registry_config cfg = {.http_proxy = "http://p", .https_proxy = "http://q", .no_proxy = "a.example, .b.example,10.0.0.0/8,c.example:5000 *.d.example,[::2],fe80::1"};
	static const struct {
		const char *scheme, *host, *port;
		bool direct;
	} t[] = {
		{"http", "x.example", "80", false}, {"https", "x.example", "443", false}, {"http", "a.example", "80", true}, {"http", "sub.a.example", "80", true},
		{"http", "nota.example", "80", false}, {"http", "b.example", "80", false}, {"http", "x.b.example", "80", true}, {"http", "10.9.9.9", "80", true},
		{"http", "11.9.9.9", "80", false}, {"http", "c.example", "5000", true}, {"http", "c.example", "5001", false}, {"http", "x.d.example", "80", true},
		{"http", "localhost", "80", true}, {"http", "127.0.0.5", "80", true}, {"http", "::1", "80", true}, {"http", "::2", "80", true}, {"http", "fe80::1", "80", true},
		{"http", "::3", "80", false},
	};
	struct cs_registry *r;

	assert_int_equal(cs_registry_new(&cfg, &r, NULL), 0);
	for (size_t i = 0; i < CS_ARRAY_SIZE(t); i++) {
		const char *got = cs_rg_proxy_for(r, t[i].scheme, t[i].host, t[i].port), *want = t[i].direct ? NULL : strcmp(t[i].scheme, "http") ? "http://q" : "http://p";
		if (!cs_streq(got, want))
			fail_msg("%s:%s -> %s", t[i].host, t[i].port, got ? got : "direct");
	}
	cs_registry_unref(r);
}

static void pauses(void **state)
{
	struct cs_registry_config cfg = {.backoff_ms = 1000};
	struct cs_rg_response resp = {.retry_after = (char[]){"2"}}, late = {.retry_after = (char[]){"31"}};
	struct cs_registry *r;

	assert_int_equal(cs_registry_new(&cfg, &r, NULL), 0);
	for (unsigned i = 0; i < 100; i++) {
		int64_t a = cs_rg_pause(r, 1, NULL), b = cs_rg_pause(r, 3, NULL), z = cs_rg_pause(r, 1000, NULL);
		assert_true(a >= 750 && a <= 1250 && b >= 3000 && b <= 5000 && z >= 22500 && z <= 37500);
	}
	assert_int_equal(cs_rg_pause(r, 1, &resp), 2000);
	assert_int_equal(cs_rg_pause(r, 1, &late), -1);
	cs_registry_unref(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(challenges), cmocka_unit_test(challenges_bad), cmocka_unit_test(links), cmocka_unit_test(content_ranges), cmocka_unit_test(retry_after),
		cmocka_unit_test(digests), cmocka_unit_test(urls), cmocka_unit_test(toml), cmocka_unit_test(toml_bad), cmocka_unit_test(credentials),
		cmocka_unit_test(credentials_of_builds), cmocka_unit_test(insecure), cmocka_unit_test(proxies), cmocka_unit_test(pauses),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
