/* SPDX-License-Identifier: Apache-2.0
 *
 * --help, laid out as Docker's client lays it out (cobra's sections, pflag's columns and folding). */
#include <sys/ioctl.h>

#include "base/str.h"
#include "base/strv.h"
#include "cli/cli.h"
#include "cli/plugin.h"

/* "caisson ps", or "caisson" for the program itself. Caller frees. */
static char *full(const char *path) { return cs_xasprintf("caisson%s%s", *path ? " " : "", path); }

/* Usage line; a second form of the command ("cp") stands on its own line behind a tab, under its short name, as in Docker's. */
static void put_usage(FILE *out, const struct command *cmd, const char *path, const char *rest)
{
	cs_autofree char *name = full(path);
	const char *bar = strrchr(cmd->names, '|');

	if (!rest && !cmd_is_group(cmd))
		rest = cmd->usage;
	fprintf(out, "Usage:  %s", name);
	for (const char *p = rest; p && *p;) {
		size_t n = strcspn(p, "\n");
		fprintf(out, " %.*s", (int)n, p);
		p += n;
		if (*p++ != '\n')
			break;
		fprintf(out, "\n\tcaisson %s", bar ? bar + 1 : cmd->names);
	}
	(void)fputc('\n', out);
}

void help_usage(const struct command *cmd, const char *path, const char *see)
{
	cs_autofree char *name = full(path);

	(void)fputc('\n', stderr);
	put_usage(stderr, cmd, path, *path ? NULL : "[OPTIONS] COMMAND [ARG...]");
	fprintf(stderr, "\n%s '%s --help' for more information\n", see, name);
}

/* ---- options ---- */

const char *flag_type(const struct flag *f, char **text)
{
	static const char *const words[FLAG_KINDS] = {[FLAG_BOOL] = "", [FLAG_STR] = "string", [FLAG_LIST] = "list", [FLAG_STRINGS] = "strings",
						      [FLAG_MAP] = "map", [FLAG_FILTER] = "filter", [FLAG_INT] = "int", [FLAG_UINT] = "uint",
						      [FLAG_UINT16] = "uint16", [FLAG_BYTES] = "bytes", [FLAG_SWAP] = "bytes", [FLAG_NANO] = "decimal",
						      [FLAG_DURATION] = "duration"};
	const char *q = strchr(f->help, '`'), *e = q ? strchr(q + 1, '`') : NULL;

	if (!e) {
		*text = cs_xstrdup(f->help);
		return f->type ? f->type : words[f->kind];
	}
	static char quoted[64];
	(void)snprintf(quoted, sizeof(quoted), "%.*s", (int)(e - q - 1), q + 1);
	*text = cs_xasprintf("%.*s%s%s", (int)(q - f->help), f->help, quoted, e + 1);
	return quoted;
}

/* Where pflag's wrapN cuts: at most i bytes, up to `slop` more if that is the end. Returns the length, *next what follows. */
static size_t cut(const char *s, size_t i, size_t slop, const char **next)
{
	size_t len = strlen(s), w = 0, nl = 0;

	*next = s + len;
	if (i + slop > len)
		return len;
	for (size_t k = 0; k < i; k++) {
		if (s[k] == ' ' || s[k] == '\t' || s[k] == '\n')
			w = k;
		if (s[k] == '\n')
			nl = k;
	}
	if (w == 0)
		return len;
	if (nl > 0 && nl < w)
		w = nl;
	*next = s + w + 1;
	return w;
}

static void put_indented(const char *s, size_t n, int indent)
{
	for (size_t k = 0; k < n; k++) {
		(void)putchar(s[k]);
		if (s[k] == '\n')
			printf("%*s", indent, "");
	}
}

static void put_wrapped(const char *s, int indent, int width)
{
	int room = width - indent;

	if (room < 24) {
		indent = 16;
		room = width - indent;
		if (room < 24) { /* no room at all: lines as long as they are */
			put_indented(s, strlen(s), indent);
			return;
		}
		printf("\n%*s", indent, "");
	}
	const char *next;
	size_t n = cut(s, (size_t)room - 5, 5, &next);
	put_indented(s, n, indent);
	while (*next) {
		s = next;
		n = cut(s, (size_t)room - 5, 5, &next);
		printf("\n%*s", indent, "");
		put_indented(s, n, indent);
	}
}

static int by_flag_name(const void *a, const void *b)
{
	const struct flag *const *x = a, *const *y = b;
	return strcmp((*x)->name, (*y)->name);
}

static bool is_shown(const struct flag *f) { return !(f->flags & FLAG_HIDDEN) && !f->deprecated; }

static char *flag_head(const struct flag *f, char **text)
{
	const char *type = flag_type(f, text);
	char letter[5] = "    ";

	if (f->letter)
		(void)snprintf(letter, sizeof(letter), "-%c, ", f->letter);
	return cs_xasprintf("  %s--%s%s%s", letter, f->name, *type ? " " : "", type);
}

static void put_flag(const struct flag *f, const char *head, const char *text, int column, int width)
{
	cs_autostr struct cs_str s = CS_STR_INIT(65536);

	cs_str_puts(&s, text);
	if (f->def && !(f->flags & FLAG_SIMPLE))
		cs_str_putf(&s, f->kind == FLAG_STR ? " (default \"%s\")" : " (default %s)", f->def);
	if (f->refused)
		cs_str_putf(&s, " (not here: %s)", f->refused);
	printf("%s%*s", head, column - (int)strlen(head), "");
	put_wrapped(s.buf ? s.buf : "", column, width);
	(void)putchar('\n');
}

static void put_flags(const struct flag *flags, const char *title)
{
	const struct flag *list[160];
	size_t n = 0;
	struct winsize w;
	int column = 0, width = ioctl(0, TIOCGWINSZ, &w) == 0 && w.ws_col ? w.ws_col - 1 : 79;

	for (const struct flag *f = flags; f && f->name && n < CS_ARRAY_SIZE(list); f++)
		if (is_shown(f))
			list[n++] = f;
	if (!n)
		return;
	qsort(list, n, sizeof(list[0]), by_flag_name);
	for (size_t i = 0; i < n; i++) {
		cs_autofree char *text = NULL, *head = flag_head(list[i], &text);
		column = CS_MAX(column, (int)strlen(head) + 3);
	}
	printf("\n%s:\n", title);
	for (size_t i = 0; i < n; i++) {
		cs_autofree char *text = NULL, *head = flag_head(list[i], &text);
		put_flag(list[i], head, text, column, width);
	}
}

/* ---- lists of commands ---- */

struct entry {
	char name[64];
	const struct command *cmd; /* NULL: a plugin */
	char *about;               /* of a plugin, owned */
};

static int by_entry_name(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	return strcmp(x->name, y->name);
}

/* The commands directly below group ("" = top), in alphabetical order; hidden ones only where all are. */
static size_t collect(const char *group, bool hidden, struct entry *list, size_t max)
{
	struct cmd_iter it = {0};
	const struct command *c;
	size_t n = 0, glen = strlen(group);
	char name[64];

	while ((c = cmd_next(&it)))
		for (size_t pos = 0; cmd_name(c, &pos, name, sizeof(name)) && n < max;) {
			const char *word = glen ? name + glen + 1 : name;
			if (glen && (strncmp(name, group, glen) != 0 || name[glen] != ' '))
				continue;
			if (strchr(word, ' ') || (c->flags & CMD_HIDDEN && !hidden))
				continue;
			(void)snprintf(list[n].name, sizeof(list[n].name), "%s", word);
			list[n++].cmd = c;
			break; /* the first name in this group only */
		}
	qsort(list, n, sizeof(list[0]), by_entry_name);
	return n;
}

static void put_commands(const char *title, const struct entry *list, size_t n)
{
	int pad = 10;

	for (size_t i = 0; i < n; i++)
		pad = CS_MAX(pad, (int)strlen(list[i].name));
	if (n)
		printf("\n%s:\n", title);
	for (size_t i = 0; i < n; i++)
		printf("  %-*s  %s\n", pad + 0, list[i].name, list[i].cmd ? list[i].cmd->help : list[i].about);
}

static void put_subcommands(const struct command *cmd, const char *group)
{
	struct entry all[64], part[64];
	size_t n = collect(group, cmd->flags & CMD_HIDDEN, all, CS_ARRAY_SIZE(all));

	for (int groups = 1; groups >= 0; groups--) {
		size_t k = 0;
		for (size_t i = 0; i < n; i++)
			if (cmd_is_group(all[i].cmd) == groups)
				part[k++] = all[i];
		put_commands(groups ? "Management Commands" : "Commands", part, k);
	}
}

void help_command(const struct command *cmd, const char *path)
{
	size_t pos = 0;
	char name[64];

	put_usage(stdout, cmd, path, cmd_is_group(cmd) ? "COMMAND" : NULL);
	printf("\n%s\n", cmd->about ? cmd->about : cmd->help);
	if (cmd->refused)
		printf("\nNot available: %s\n", cmd->refused);
	if (strchr(cmd->names, '|')) {
		printf("\nAliases:\n  ");
		for (bool first = true; cmd_name(cmd, &pos, name, sizeof(name)); first = false)
			printf("%scaisson %s", first ? "" : ", ", name);
		(void)putchar('\n');
	}
	put_flags(cmd->options, "Options");
	if (cmd_is_group(cmd)) {
		put_subcommands(cmd, path);
		printf("\nRun 'caisson %s COMMAND --help' for more information on a command.\n", path);
	}
}

struct plugins {
	struct entry *list;
	size_t n, max;
	struct cs_str invalid; /* lines of those that are none */
};

static void add_plugin(void *ctx, const struct plugin *plugin)
{
	struct plugins *p = ctx;

	if (plugin->why) {
		cs_str_putf(&p->invalid, "  %-*s %s\n", 11, plugin->name, plugin->why);
	} else if (p->n < p->max) {
		(void)snprintf(p->list[p->n].name, sizeof(p->list[p->n].name), "%s*", plugin->name);
		p->list[p->n].cmd = NULL;
		p->list[p->n++].about = cs_xstrdup(jstr(plugin->metadata, "ShortDescription"));
	}
}

void help_program(void)
{
	/* the order in which people meet them */
	static const char *const common[] = {"run", "exec", "ps", "build", "pull", "push", "images", "login", "logout", "search", "version", "info"};
	struct entry all[160], part[160];
	size_t n = collect("", false, all, CS_ARRAY_SIZE(all)), k = 0;

	printf("Usage:  caisson [OPTIONS] COMMAND\n\nA client for containers: Caisson's engine, and any other with Docker's API\n");
	for (size_t c = 0; c < CS_ARRAY_SIZE(common); c++)
		for (size_t i = 0; i < n; i++)
			if (cs_streq(all[i].name, common[c]))
				part[k++] = all[i];
	put_commands("Common Commands", part, k);
	k = 0;
	for (size_t i = 0; i < n; i++)
		if (cmd_is_group(all[i].cmd))
			part[k++] = all[i];
	struct plugins plugins = {part, k, CS_ARRAY_SIZE(part), CS_STR_INIT((size_t)1 << 20)};
	plugin_each(add_plugin, &plugins);
	qsort(part, plugins.n, sizeof(part[0]), by_entry_name);
	put_commands("Management Commands", part, plugins.n);
	for (size_t i = 0; i < plugins.n; i++)
		if (!part[i].cmd)
			free(part[i].about);
	k = 0;
	for (size_t i = 0; i < n; i++) {
		bool is_common = false;
		for (size_t c = 0; c < CS_ARRAY_SIZE(common); c++)
			is_common |= cs_streq(all[i].name, common[c]);
		if (!cmd_is_group(all[i].cmd) && !is_common)
			part[k++] = all[i];
	}
	put_commands("Commands", part, k);
	if (plugins.invalid.len)
		printf("\nInvalid Plugins:\n%s", plugins.invalid.buf);
	cs_str_done(&plugins.invalid);
	put_flags(global_flags, "Global Options");
	printf("\nRun 'caisson COMMAND --help' for more information on a command.\n");
}
