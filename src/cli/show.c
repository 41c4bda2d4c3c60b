/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/show.h"

#include "cli/cli.h"
#include "cli/schema.h"

int show_format(const char *format, const char *name, const char *type, const json_t *doc)
{
	tpl_autoarena struct tpl_arena *a = tpl_arena_new();
	cs_autofree char *text = json_dumps(doc, JSON_COMPACT | JSON_ENCODE_ANY);
	cs_autostr struct cs_str out = CS_STR_INIT((size_t)64 << 20);
	const struct tpl_options options = {0};
	const char *message = NULL;
	struct tpl_value raw;

	if (!tpl_parse_json(a, text, strlen(text), &raw, &message))
		return cli_fail(1, "%s", message);
	if (cs_streq(format, "json"))
		format = "{{json .}}";
	struct tpl *t = tpl_parse_named(a, name, format, &message);
	if (!t)
		return cli_fail(64, "template parsing error: %s", message);
	bool good = tpl_execute(t, tpl_typed(a, schema_type(type), raw), &options, a, &out, &message);
	printf("%.*s", (int)out.len, out.buf ? out.buf : "");
	if (!good) {
		printf("\n");
		return cli_fail(1, "%s", message);
	}
	(void)putchar('\n');
	return 0;
}
