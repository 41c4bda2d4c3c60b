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

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(instructions), cmocka_unit_test(refused)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
