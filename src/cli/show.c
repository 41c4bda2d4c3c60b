/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/show.h"

#include "cli/cli.h"
#include "cli/schema.h"

/* What the template makes of doc in out; *message is the arena's. 0, 64 for a template that is none, 1 for one that fails. */
static int make(struct tpl_arena *a, const char *format, const char *name, const char *type, const json_t *doc, struct cs_str *out, const char **message)
{
	cs_autofree char *text = json_dumps(doc, JSON_COMPACT | JSON_ENCODE_ANY);
	const struct tpl_options options = {0};
	struct tpl_value raw;

	if (!tpl_parse_json(a, tpl_strn(a, text, strlen(text)), strlen(text), &raw, message))
		return 1;
	struct tpl *t = tpl_parse_named(a, name, cs_streq(format, "json") ? "{{json .}}" : format, message);
	if (!t)
		return 64;
	return tpl_execute(t, type ? tpl_typed(a, schema_type(type), raw) : raw, &options, a, out, message) ? 0 : 1;
}

int show_format(const char *format, const char *name, const char *type, const json_t *doc)
{
	tpl_autoarena struct tpl_arena *a = tpl_arena_new();
	cs_autostr struct cs_str out = CS_STR_INIT((size_t)64 << 20);
	const char *message = NULL;
	int status = make(a, format, name, type, doc, &out, &message);

	if (status != 64)
		printf("%.*s\n", (int)out.len, out.buf ? out.buf : "");
	return status ? cli_fail(status, "%s%s", status == 64 ? "template parsing error: " : "", message) : 0;
}

void show_what_can_be(const char *format, const char *type, const json_t *doc)
{
	tpl_autoarena struct tpl_arena *a = tpl_arena_new();
	cs_autostr struct cs_str out = CS_STR_INIT((size_t)64 << 20);
	const char *message = NULL;

	(void)make(a, format, "", type, doc, &out, &message);
	printf("%.*s\n", (int)out.len, out.buf ? out.buf : "");
}
