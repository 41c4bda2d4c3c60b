/* SPDX-License-Identifier: Apache-2.0
 *
 * The commands' tables: walking over them and finding a command by what was typed. */
#include "cli/cmd.h"

const struct command *cmd_next(struct cmd_iter *it)
{
	while (command_tables[it->table]) {
		const struct command *c = &command_tables[it->table][it->row];
		if (c->names) {
			it->row++;
			return c;
		}
		it->table++;
		it->row = 0;
	}
	return NULL;
}

bool cmd_name(const struct command *c, size_t *pos, char *buf, size_t size)
{
	const char *s = c->names + *pos;
	size_t n = strcspn(s, "|");

	if (!*s)
		return false;
	(void)snprintf(buf, size, "%.*s", (int)n, s);
	*pos += n + (s[n] == '|');
	return true;
}

bool cmd_is_group(const struct command *c) { return !c->run && (!c->refused || cs_streq(c->usage, "COMMAND")); }

/* Length of the group's part of a full name: 9 for "container ls", 0 for "ps". */
static size_t group_length(const char *name, size_t n)
{
	while (n && name[n - 1] != ' ')
		n--;
	return n ? n - 1 : 0;
}

const struct command *cmd_find(const char *name, const char **path)
{
	static char shown[64];
	struct cmd_iter it = {0};
	const struct command *c;
	size_t len = strlen(name), group = group_length(name, len);

	while ((c = cmd_next(&it))) {
		for (const char *s = c->names; *s; s += strcspn(s, "|"), s += *s == '|') {
			size_t n = strcspn(s, "|");
			if (n != len || memcmp(s, name, n) != 0)
				continue;
			/* help shows the first name of the same group: "container ls" for "container list" */
			for (s = c->names; *s; s += strcspn(s, "|"), s += *s == '|') {
				n = strcspn(s, "|");
				if (group_length(s, n) == group && memcmp(s, name, group) == 0)
					break;
			}
			(void)snprintf(shown, sizeof(shown), "%.*s", (int)n, s);
			if (path)
				*path = shown;
			return c;
		}
	}
	return NULL;
}

char *cmd_suggest(const char *group, const char *typed)
{
	struct cmd_iter it = {0};
	const struct command *c;
	char name[64], best[64] = "";
	unsigned distance = 3;
	size_t glen = strlen(group);

	while ((c = cmd_next(&it))) {
		for (size_t pos = 0; cmd_name(c, &pos, name, sizeof(name));) {
			if ((c->flags & CMD_HIDDEN) || group_length(name, strlen(name)) != glen || memcmp(name, group, glen) != 0)
				continue;
			const char *word = name + glen + (glen > 0);
			unsigned d = word_distance(typed, word, 2);
			bool nearer = d < distance || (d == distance && strlen(name) > strlen(best)); /* "list" for "lst", not "ls" */
			if (nearer && d <= 2 && d * 2 < CS_MAX(strlen(word), strlen(typed))) {
				distance = d;
				(void)snprintf(best, sizeof(best), "%s", name);
			}
		}
	}
	return *best ? cs_xstrdup(best) : NULL;
}
