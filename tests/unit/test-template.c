/* SPDX-License-Identifier: Apache-2.0
 *
 * Templates against what Go's text/template (1.24.3, which docker 28.2.2 has) with Docker's functions made of them: data/templates.jsonl, one case
 * a line, with T the template, D the document's name, Type the API's struct (none: a decoded document), Strict: missingkey=error, Out and Err. */
#include <stdarg.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>
#include <fcntl.h>

#include "base/io.h"
#include "cli/schema.h"

static struct tpl_value member(struct tpl_value v, const char *key)
{
	for (size_t i = 0; v.type && v.type->kind == TPL_MAP && i < v.pairs; i++)
		if (strcmp(v.p[i].key.s, key) == 0)
			return v.p[i].val;
	return (struct tpl_value){.type = &tpl_string, .s = ""};
}

/* Addresses differ from run to run. */
static char *without_addresses(const char *s)
{
	struct cs_str out = CS_STR_INIT((size_t)1 << 24);

	for (; *s; s++) {
		if (strncmp(s, "0x", 2) == 0 && strspn(s + 2, "0123456789abcdef") >= 8) {
			cs_str_puts(&out, "0xADDRESS");
			s += 1 + strspn(s + 2, "0123456789abcdef");
		} else {
			cs_str_putc(&out, *s);
		}
	}
	return cs_str_steal(&out);
}

static bool one(struct tpl_arena *a, struct tpl_value c, struct tpl_value docs)
{
	static const char *const types[][2] = {{"container", "container.InspectResponse"}, {"image", "image.InspectResponse"}, {"network", "network.Inspect"},
					       {"volume", "volume.Volume"}, {"info", "system.Info"}};
	struct cs_str out = CS_STR_INIT((size_t)1 << 24);
	struct tpl_options o = {.missing_key_error = member(c, "Strict").b};
	const char *message = NULL, *type = member(c, "Type").s, *text = member(c, "T").s;
	struct tpl_value data = member(docs, member(c, "D").s);

	for (size_t i = 0; i < CS_ARRAY_SIZE(types); i++)
		if (strcmp(type, types[i][0]) == 0)
			data = tpl_typed(a, schema_type(types[i][1]), data);
	data.boxed = false;
	const struct tpl *t = tpl_parse(a, text, &message);
	if (t)
		(void)!tpl_execute(t, data, &o, a, &out, &message);
	cs_autofree char *got = without_addresses(out.buf ? out.buf : ""), *want = without_addresses(member(c, "Out").s), *err = without_addresses(message ? message : "");
	cs_autofree char *want_err = without_addresses(member(c, "Err").s);
	bool same = strcmp(got, want) == 0 && strcmp(err, want_err) == 0;
	if (!same)
		print_message("%s%s\n  want %s\n  got  %s\n  want %s\n  got  %s\n", text, o.missing_key_error ? " (strict)" : "", want, got, want_err, err);
	cs_str_done(&out);
	return same;
}

static void test_as_go(void **state)
{
	struct cs_str file = CS_STR_INIT((size_t)16 << 20);
	tpl_autoarena struct tpl_arena *outer = tpl_arena_new();
	struct tpl_value docs = {.type = NULL}, c;
	size_t bad = 0, all = 0;
	const char *message;

	const char *dir = getenv("CAISSON_TEST_DATA"); /* where the sources are elsewhere: scripts/vm-test */
	cs_autofree char *path = cs_xasprintf("%s/templates.jsonl", dir ? dir : TEST_DATA);
	assert_int_equal(cs_read_file_at(AT_FDCWD, path, &file), 0);
	for (char *line = file.buf, *end; line && *line; line = end + 1) {
		end = strchr(line, '\n');
		assert_non_null(end);
		tpl_autoarena struct tpl_arena *a = tpl_arena_new();
		if (!docs.type) { /* the first line has the documents */
			assert_true(tpl_parse_json(outer, line, (size_t)(end - line), &docs, &message));
			continue;
		}
		assert_true(tpl_parse_json(a, line, (size_t)(end - line), &c, &message));
		all++;
		bad += !one(a, c, docs);
	}
	cs_str_done(&file);
	assert_in_range(all, 900, 100000);
	assert_int_equal(bad, 0);
}

static void test_schema(void **state)
{
	assert_in_range(schema_count(), 80, 1000);
	for (size_t i = 0; i < schema_count(); i++)
		assert_non_null(schema_name(i));
	assert_null(schema_type("container.Nothing"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_as_go), cmocka_unit_test(test_schema)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
