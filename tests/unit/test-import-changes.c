/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "engine/image_internal.h"

static struct cs_config *apply(const char *const *lines)
{
	struct cs_config *c = cs_xcalloc(1, sizeof(*c));
	for (; *lines; lines++)
		assert_int_equal(cs_import_change(c, *lines, NULL), 0);
	return c;
}
static void is(char *const *v, const char *joined)
{
	cs_autofree char *s = cs_strv_join(v, "|");
	assert_string_equal(s, joined);
}

static void instructions(void **state)
{
	const char *const lines[] = {"CMD [\"a\", \"b c\"]", "entrypoint run it", "ENV A=1 B=\"two words\" C='$A' D=$A-${B} E=\\ x F=${NO:-dflt}", "ENV OLD the rest  ",
				     "EXPOSE 80 53/UDP 90-91", "LABEL \"a b\"=c d=", "USER 1:2", "VOLUME /a /b", "VOLUME [\"/c d\"]", "WORKDIR /x", "WORKDIR ../y/./z",
				     "STOPSIGNAL SIGQUIT", "ONBUILD RUN make", "HEALTHCHECK --interval=5s --retries=3 CMD curl -f x", "# comment", "", NULL};
	struct cs_config *c = apply(lines);
	is(c->cmd, "a|b c");
	is(c->entrypoint, "/bin/sh|-c|run it");
	is(c->env, "A=1|B=two words|C=$A|D=-|E= x|F=dflt|OLD=the rest");
	is(c->exposed_ports, "80/tcp|53/udp|90/tcp|91/tcp");
	assert_string_equal(cs_strmap_get(c->labels, "a b"), "c");
	assert_string_equal(cs_strmap_get(c->labels, "d"), "");
	assert_string_equal(c->user, "1:2");
	is(c->volumes, "/a|/b|/c d");
	assert_string_equal(c->working_dir, "/y/z");
	assert_string_equal(c->stop_signal, "SIGQUIT");
	is(c->on_build, "RUN make");
	is(c->healthcheck->test, "CMD-SHELL|curl -f x");
	assert_int_equal(c->healthcheck->interval, 5000000000ll);
	assert_int_equal(c->healthcheck->retries, 3);
	cs_config_free(c);
}

/* A word that ended at a vertical tab was read again and again, until the memory was full. */
static void all_blanks(void **state)
{
	const char *const lines[] = {"VOLUME /a\v/b\f/c", "ENV A=1\vB=2\f C=3", "EXPOSE 1\v2", "LABEL\va=b\fc=d", NULL};
	struct cs_config *c = apply(lines);

	is(c->volumes, "/a|/b|/c");
	is(c->env, "A=1|B=2|C=3");
	is(c->exposed_ports, "1/tcp|2/tcp");
	assert_string_equal(cs_strmap_get(c->labels, "c"), "d");
	cs_config_free(c);
}

static void refused(void **state)
{
	static const char *const lines[] = {"RUN x", "FROM x", "ENV", "ENV X", "ENV A=1 B", "ENV =x", "EXPOSE 99999", "EXPOSE 80/x", "EXPOSE", "USER a b", "USER", "STOPSIGNAL NOSUCH",
					    "ONBUILD ONBUILD x", "ONBUILD from y", "HEALTHCHECK", "HEALTHCHECK FOO", "HEALTHCHECK CMD", "HEALTHCHECK --x=1 CMD y",
					    "HEALTHCHECK --interval=1us CMD y", "VOLUME", "VOLUME [\"\"]", "WORKDIR", "LABEL x"};
	for (size_t i = 0; i < CS_ARRAY_SIZE(lines); i++) {
		struct cs_config c = {0};
		cs_autoerr struct cs_err *e = NULL;
		if (cs_import_change(&c, lines[i], &e) == 0)
			fail_msg("accepted: %s", lines[i]);
		assert_int_equal(e->code, CS_ERR_INVALID);
		cs_json_release(&cs_config_type, &c);
	}
	struct cs_config c = {0};
	cs_autoerr struct cs_err *e = NULL;
	assert_int_equal(cs_import_change(&c, "RUN x", &e), -1);
	assert_string_equal(e->msg, "RUN is not a valid change command");
}

static void several(void **state)
{
	static const struct {
		const char *changes[4];
		const char *cmd, *entrypoint, *env, *message; /* message: of the error */
	} cases[] = {
		{{"CMD [\"a\"]", "ENV B=1"}, "a", NULL, "B=1", NULL},
		{{"CMD [\"a\"]\nENV B=1\n\n# CMD b\nENV C=2"}, "a", NULL, "B=1|C=2", NULL},
		{{"ENV B=1 \\\n  C=2\\\n# in between\n\n D=3"}, "old", NULL, "B=1|C=2|D=3", NULL},
		{{"ENV B=1\\"}, "old", NULL, "B=1", NULL},
		{{"ENTRYPOINT [\"e\"]"}, NULL, "e", NULL, NULL}, /* the command was meant for another one */
		{{"CMD [\"c\"]", "ENTRYPOINT [\"e\"]"}, "c", "e", NULL, NULL},
		{{"entrypoint [\"e\"]", "cmd [\"c\"]"}, "c", "e", NULL, NULL},
		{{NULL}, "old", NULL, NULL, NULL},
		{{""}, NULL, NULL, NULL, "file with no instructions"},
		{{" \n# x\n\t", ""}, NULL, NULL, NULL, "file with no instructions"},
		{{"ENV B=1", "RUN x"}, NULL, NULL, NULL, "RUN is not a valid change command"},
		{{"ENV B=1\nRUN x"}, NULL, NULL, NULL, "RUN is not a valid change command"},
	};

	(void)state;
	for (size_t i = 0; i < CS_ARRAY_SIZE(cases); i++) {
		struct cs_config *c = cs_xcalloc(1, sizeof(*c));
		cs_autoerr struct cs_err *e = NULL;
		cs_strv_push(&c->cmd, "old");
		int r = cs_import_changes(c, (char *const *)(uintptr_t)cases[i].changes, &e);
		if (cases[i].message) {
			assert_int_equal(r, -1);
			assert_string_equal(e->msg, cases[i].message);
		} else {
			assert_int_equal(r, 0);
			is(c->cmd, cases[i].cmd ? cases[i].cmd : "");
			is(c->entrypoint, cases[i].entrypoint ? cases[i].entrypoint : "");
			is(c->env, cases[i].env ? cases[i].env : "");
		}
		cs_config_free(c);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(instructions), cmocka_unit_test(all_blanks), cmocka_unit_test(refused), cmocka_unit_test(several)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
