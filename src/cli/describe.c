/* SPDX-License-Identifier: Apache-2.0
 *
 * caisson __describe: the tables as JSON, one command per line. The manual pages (scripts/make-man), docs/cli.md (scripts/make-cli-docs) and tests are
 * made of it. */
#include "cli/cli.h"

static json_t *flag_json(const struct flag *f)
{
	char letter[2] = {(char)f->letter, 0};
	cs_autofree char *text = NULL;
	const char *type = flag_type(f, &text);

	return json_pack("{s:s,s:s,s:s,s:s,s:s*,s:s*,s:s*,s:b,s:i}", "name", f->name, "letter", letter, "type", type, "help", text, "default",
			 f->flags & FLAG_SIMPLE ? NULL : f->def, "refused", f->refused, "deprecated", f->deprecated, "hidden", (f->flags & FLAG_HIDDEN) || f->deprecated, "api",
			 (int)f->api);
}

static json_t *flags_json(const struct flag *flags)
{
	json_t *list = json_array();

	for (const struct flag *f = flags; f && f->name; f++)
		(void)json_array_append_new(list, flag_json(f));
	return list;
}

static void put(json_t *j) /* takes j */
{
	cs_autofree char *text = json_dumps(j, JSON_COMPACT);

	printf("%s\n", text);
	json_decref(j);
}

static int cmd_describe(struct call *call)
{
	struct cmd_iter it = {0};
	const struct command *c;
	char name[64];

	put(json_pack("{s:[s],s:s,s:s,s:o}", "names", "", "usage", "[OPTIONS] COMMAND", "help", "client for the Caisson container engine", "flags", flags_json(global_flags)));
	while ((c = cmd_next(&it))) {
		json_t *names = json_array();
		for (size_t pos = 0; cmd_name(c, &pos, name, sizeof(name));)
			(void)json_array_append_new(names, json_string(name));
		put(json_pack("{s:o,s:s,s:s,s:s*,s:s*,s:b,s:b,s:i,s:i,s:o}", "names", names, "usage", c->usage ? c->usage : "", "help", c->help, "about", c->about, "refused",
			      c->refused, "hidden", c->flags & CMD_HIDDEN, "group", cmd_is_group(c), "min", (int)c->min, "max", (int)c->max, "flags", flags_json(c->options)));
	}
	return 0;
}

const struct command describe_commands[] = {
	{.names = "__describe", .usage = "", .help = "Print the commands' tables", .flags = CMD_HIDDEN, .max = 0, .run = cmd_describe},
	CMD_END,
};
