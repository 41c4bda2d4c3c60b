/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/complete.h"

#include "cli/cli.h"
#include "cli/context.h"
#include "cli/endpoint.h"
#include "cli/plugin.h"

extern char **environ;

/* cobra's ShellCompDirective */
enum { DIRECTIVE_DEFAULT = 0, DIRECTIVE_NO_SPACE = 2, DIRECTIVE_NO_FILES = 4 };

struct completion {
	const char *last;    /* what the candidates begin with */
	char *const *before; /* operands that were typed already; not offered again */
	bool descriptions;
	int directive;
};

static void offer(const struct completion *c, const char *text, const char *about)
{
	if (!*text || strncmp(text, c->last, strlen(c->last)) != 0 || cs_strv_has(c->before, text))
		return;
	printf("%s", text);
	if (about && c->descriptions)
		printf("\t%.*s", (int)strcspn(about, "\n"), about);
	(void)putchar('\n');
}

/* ---- live names ---- */

static json_t *ask(const char *path)
{
	json_t *j = NULL;
	struct cs_err *err = NULL;

	if (client_json("GET", path, NULL, &j, &err) < 0) {
		cs_err_free(err); /* no engine, no names */
		return NULL;
	}
	return j;
}

static void offer_containers(const struct completion *c, const char *statuses)
{
	cs_autofree char *filter = statuses ? cs_xasprintf("{\"status\":[%s]}", statuses) : NULL, *enc = url_encode(filter);
	cs_autofree char *path = cs_xasprintf("/containers/json?all=1%s%s", filter ? "&filters=" : "", enc);
	json_t *list = ask(path), *item, *name;
	size_t i, k;

	json_array_foreach(list, i, item) json_array_foreach(json_object_get(item, "Names"), k, name)
	{
		const char *s = json_string_value(name);
		s = s && *s == '/' ? s + 1 : s;
		if (s && !strchr(s, '/')) /* not the names of old links */
			offer(c, s, NULL);
	}
	json_decref(list);
}

static void offer_images(const struct completion *c)
{
	json_t *list = ask("/images/json"), *item, *tag;
	size_t i, k;

	json_array_foreach(list, i, item) json_array_foreach(json_object_get(item, "RepoTags"), k, tag) offer(c, json_string_value(tag), NULL);
	json_decref(list);
}

static void offer_named(const struct completion *c, const char *path, const char *key)
{
	json_t *answer = ask(path), *list = key ? json_object_get(answer, key) : answer, *item;
	size_t i;

	json_array_foreach(list, i, item) offer(c, jstr(item, "Name"), NULL);
	json_decref(answer);
}

static void offer_contexts(const struct completion *c)
{
	cs_autostrv char **names = context_names();

	for (char **n = names; n && *n; n++)
		offer(c, *n, cs_streq(*n, endpoint_context()) ? "current" : NULL);
	offer(c, "default", cs_streq("default", endpoint_context()) ? "current" : NULL);
}

static void offer_environment(const struct completion *c)
{
	for (char **e = environ; *e; e++) {
		cs_autofree char *name = cs_xstrndup(*e, strcspn(*e, "="));
		offer(c, name, NULL);
	}
}

static void offer_kind(struct completion *c, enum comp kind, size_t n_before)
{
	static const char running[] = "\"running\",\"paused\"", stopped[] = "\"created\",\"exited\",\"dead\"";

	c->directive = kind == COMP_FILES ? DIRECTIVE_DEFAULT : DIRECTIVE_NO_FILES;
	switch (kind) {
	case COMP_CONTAINER_THEN_NONE:
		if (n_before)
			break;
		/* fallthrough */
	case COMP_CONTAINER:
		offer_containers(c, NULL);
		break;
	case COMP_RUNNING_THEN_NONE:
		if (n_before)
			break;
		/* fallthrough */
	case COMP_RUNNING:
		offer_containers(c, running);
		break;
	case COMP_STOPPED:
		offer_containers(c, stopped);
		break;
	case COMP_PAUSED:
		offer_containers(c, "\"paused\"");
		break;
	case COMP_IMAGE_THEN_NONE:
		if (n_before)
			break;
		/* fallthrough */
	case COMP_IMAGE:
		offer_images(c);
		break;
	case COMP_VOLUME:
		offer_named(c, "/volumes", "Volumes");
		break;
	case COMP_NETWORK_CONTAINER:
		if (n_before) {
			if (n_before == 1)
				offer_containers(c, NULL);
			break;
		}
		/* fallthrough */
	case COMP_NETWORK:
		offer_named(c, "/networks", NULL);
		break;
	case COMP_CONTEXT:
		offer_contexts(c);
		break;
	case COMP_OBJECT:
		offer_containers(c, NULL);
		offer_images(c);
		offer_named(c, "/volumes", "Volumes");
		offer_named(c, "/networks", NULL);
		break;
	case COMP_ENV:
		offer_environment(c);
		break;
	case COMP_NONE:
	case COMP_FILES:
	case COMP_KINDS:
		break;
	}
}

/* ---- words of the tables ---- */

static void offer_values(struct completion *c, const struct flag *f)
{
	if (!f->values) {
		offer_kind(c, f->complete, 0);
		return;
	}
	c->directive = DIRECTIVE_NO_FILES;
	for (const char *s = f->values; *s; s += strcspn(s, "|"), s += *s == '|') {
		cs_autofree char *word = cs_xstrndup(s, strcspn(s, "|"));
		offer(c, word, NULL);
		if (*word && word[strlen(word) - 1] == '=')
			c->directive |= DIRECTIVE_NO_SPACE;
	}
	if (f->complete)
		offer_kind(c, f->complete, 0);
}

static void offer_flags(struct completion *c, const struct flag *flags)
{
	c->directive = DIRECTIVE_NO_FILES;
	for (const struct flag *f = flags; f && f->name; f++) {
		cs_autofree char *text = NULL, *full = cs_xasprintf("--%s", f->name);
		char letter[3] = {'-', (char)f->letter, 0};
		if ((f->flags & FLAG_HIDDEN) || f->deprecated || f->refused || f->off == NO_MEMBER)
			continue;
		(void)flag_type(f, &text);
		offer(c, full, text);
		if (f->letter && c->last[1] != '-')
			offer(c, letter, text);
	}
	offer(c, "--help", "Print usage");
}

static void offer_commands(struct completion *c, const char *group)
{
	struct cmd_iter it = {0};
	const struct command *cmd;
	size_t glen = strlen(group);
	char name[64];

	c->directive = DIRECTIVE_NO_FILES;
	while ((cmd = cmd_next(&it)))
		for (size_t pos = 0; cmd_name(cmd, &pos, name, sizeof(name));) {
			const char *word = glen ? name + glen + 1 : name;
			if ((cmd->flags & CMD_HIDDEN) || (glen && (strncmp(name, group, glen) != 0 || name[glen] != ' ')) || strchr(word, ' '))
				continue;
			offer(c, word, cmd->help);
			break;
		}
}

static void offer_plugin(void *ctx, const struct plugin *p)
{
	if (!p->why)
		offer(ctx, p->name, jstr(p->metadata, "ShortDescription"));
}

/* Words from a plugin's name on: the plugin knows what fits. Returns when it is none. */
static void ask_plugin(const struct completion *c, char **words)
{
	cs_autostrv char **args = NULL;

	cs_strv_push(&args, c->descriptions ? "__complete" : "__completeNoDesc");
	for (char **w = words; *w; w++)
		cs_strv_push(&args, *w);
	(void)plugin_exec(*words, args);
}

/* ---- what was typed ---- */

static const struct flag *flag_of(const struct flag *flags, const char *word, const char **value)
{
	*value = NULL;
	if (word[1] == '-') {
		size_t n = strcspn(word + 2, "=");
		for (const struct flag *f = flags; f && f->name; f++)
			if (strlen(f->name) == n && memcmp(f->name, word + 2, n) == 0) {
				*value = word[2 + n] ? word + 3 + n : NULL;
				return f;
			}
		return NULL;
	}
	for (const char *s = word + 1; *s; s++) {
		const struct flag *found = NULL;
		for (const struct flag *f = flags; f && f->name && !found; f++)
			found = f->letter && f->letter == (unsigned char)*s ? f : NULL;
		if (!found || found->kind != FLAG_BOOL) {
			*value = found && s[1] ? s + 1 : NULL;
			return found;
		}
	}
	return NULL;
}

/* Follows the words; what is left in *words begins with the last one, or with the value of *pending. */
struct walk {
	const struct command *cmd; /* NULL: still at the top */
	char *path;                /* owned */
	const struct flag *flags, *pending;
	char **operands; /* owned */
	bool no_more_flags;
};

static bool take_word(struct walk *w, const char *word)
{
	const char *value;

	if (!w->no_more_flags && cs_streq(word, "--")) {
		w->no_more_flags = true;
		return true;
	}
	if (!w->no_more_flags && *word == '-' && word[1]) {
		const struct flag *f = flag_of(w->flags, word, &value);
		w->pending = f && f->kind != FLAG_BOOL && !value ? f : NULL;
		return true;
	}
	if (!w->cmd || cmd_is_group(w->cmd)) {
		cs_autofree char *name = cs_xasprintf("%s%s%s", w->path, *w->path ? " " : "", word);
		const struct command *c = cmd_find(name, NULL);
		if (!c)
			return false;
		w->cmd = c;
		w->flags = c->options;
		free(w->path);
		w->path = TAKE_PTR(name);
		return true;
	}
	cs_strv_push(&w->operands, word);
	if (w->cmd->flags & CMD_STOP)
		w->no_more_flags = true;
	return true;
}

static void complete(struct completion *c, char **words)
{
	struct walk w = {.path = cs_xstrdup(""), .flags = global_flags};
	bool known = true;
	const char *value = NULL;

	/* help takes the names of commands */
	if (cs_streq(words[0], "help") && words[1])
		words++;
	for (; words[1] && known; words++) {
		if (w.pending)
			w.pending = NULL;
		else
			known = take_word(&w, *words);
		if (!known && !w.cmd)
			ask_plugin(c, words);
	}
	c->last = *words;
	const struct flag *f = !w.pending && !w.no_more_flags && c->last[0] == '-' && strchr(c->last, '=') ? flag_of(w.flags, c->last, &value) : NULL;
	if (!known) {
		c->directive = DIRECTIVE_DEFAULT;
	} else if (w.pending) {
		offer_values(c, w.pending);
	} else if (f && value) { /* the shell keeps what stands before them */
		c->last = value;
		offer_values(c, f);
	} else if (*c->last == '-' && !w.no_more_flags) {
		offer_flags(c, w.flags);
	} else if (!w.cmd || cmd_is_group(w.cmd)) {
		offer_commands(c, w.path);
		if (!w.cmd)
			plugin_each(offer_plugin, c);
	} else if (w.cmd->max == ANY || (long)cs_strv_len(w.operands) < w.cmd->max) {
		c->before = w.operands;
		offer_kind(c, w.cmd->complete, cs_strv_len(w.operands));
	} else {
		c->directive = DIRECTIVE_NO_FILES;
	}
	cs_strv_free(w.operands);
	free(w.path);
}

int complete_words(char **words, bool descriptions)
{
	struct completion c = {.descriptions = descriptions};
	char empty[1] = "", *nothing[] = {empty, NULL};

	complete(&c, *words ? words : nothing);
	printf(":%d\n", c.directive);
	return 0;
}

/* ---- scripts ---- */

static const char bash_script[] =
	"# bash completion for caisson: the program itself says what fits\n"
	"_caisson()\n"
	"{\n"
	"    local cur cword line directive=0 reply\n"
	"    local -a words replies=()\n"
	"    if declare -F _get_comp_words_by_ref >/dev/null; then\n"
	"        _get_comp_words_by_ref -n '=:' cur words cword\n"
	"    else\n"
	"        words=(\"${COMP_WORDS[@]}\") cword=$COMP_CWORD cur=${COMP_WORDS[COMP_CWORD]}\n"
	"    fi\n"
	"    while IFS= read -r line; do\n"
	"        if [[ $line =~ ^:[0-9]+$ ]]; then directive=${line#:}; else replies+=(\"${line%%$'\\t'*}\"); fi\n"
	"    done < <(caisson COMPLETE \"${words[@]:1:cword-1}\" \"$cur\" 2>/dev/null)\n"
	"    [[ $cur == --*=* ]] && cur=${cur#*=}\n"
	"    COMPREPLY=()\n"
	"    for reply in \"${replies[@]}\"; do\n"
	"        [[ $reply == \"$cur\"* ]] && COMPREPLY+=(\"$reply\")\n"
	"    done\n"
	"    ((directive & 2)) && compopt -o nospace 2>/dev/null\n"
	"    ((directive & 4)) || compopt -o default 2>/dev/null\n"
	"    declare -F __ltrim_colon_completions >/dev/null && __ltrim_colon_completions \"$cur\"\n"
	"    return 0\n"
	"}\n"
	"complete -F _caisson caisson\n";

static const char zsh_script[] =
	"#compdef caisson\n"
	"# zsh completion for caisson: the program itself says what fits\n"
	"_caisson()\n"
	"{\n"
	"    local line directive=0\n"
	"    local -a found\n"
	"    while IFS= read -r line; do\n"
	"        if [[ $line == :<-> ]]; then\n"
	"            directive=${line#:}\n"
	"        else\n"
	"            line=${line//:/\\\\:}\n"
	"            found+=(\"${line/$'\\t'/:}\")\n"
	"        fi\n"
	"    done < <(caisson COMPLETE \"${(@)words[2,CURRENT]}\" 2>/dev/null)\n"
	"    compset -P '--*='\n"
	"    if (( $#found )); then\n"
	"        if (( directive & 2 )); then _describe caisson found -S ''; else _describe caisson found; fi\n"
	"    elif (( ! (directive & 4) )); then\n"
	"        _files\n"
	"    fi\n"
	"}\n"
	"if [[ $funcstack[1] == _caisson ]]; then _caisson; else compdef _caisson caisson; fi\n";

static const char fish_script[] =
	"# fish completion for caisson: the program itself says what fits\n"
	"function __caisson_complete\n"
	"    set -l words (commandline -opc) (commandline -ct)\n"
	"    set -l lines (caisson COMPLETE $words[2..-1] 2>/dev/null)\n"
	"    set -l last (string replace -r '^:' '' -- $lines[-1])\n"
	"    set -e lines[-1]\n"
	"    if test (count $lines) -eq 0; and test (math \"bitand($last, 4)\") -eq 0\n"
	"        __fish_complete_path (commandline -ct)\n"
	"    else\n"
	"        set -l before (string match -r -- '^--[^=]*=' (commandline -ct))\n"
	"        for line in $lines\n"
	"            printf '%s\\n' \"$before$line\"\n"
	"        end\n"
	"    end\n"
	"end\n"
	"complete -c caisson -f -a '(__caisson_complete)'\n";

struct script_opts {
	bool no_descriptions;
};
static const struct flag script_flags[] = {
	FLAG(struct script_opts, no_descriptions, "no-descriptions", 0, "disable completion descriptions"),
	FLAG_END,
};

static int cmd_script(struct call *c)
{
	const struct script_opts *o = c->opts;
	const char *shell = strrchr(c->path, ' ') + 1;
	const char *s = cs_streq(shell, "bash") ? bash_script : cs_streq(shell, "zsh") ? zsh_script : fish_script;
	const char *at = strstr(s, "COMPLETE");

	printf("%.*s%s%s", (int)(at - s), s, o->no_descriptions ? "__completeNoDesc" : "__complete", at + strlen("COMPLETE"));
	return 0;
}

static int cmd_complete(struct call *c) { return complete_words(c->args, true); }
static int cmd_complete_no_desc(struct call *c) { return complete_words(c->args, false); }

#define SCRIPT_ROW(shell, how)                                                                                                                     \
	{                                                                                                                                          \
		.names = "completion " shell, .usage = "[OPTIONS]", .help = "Generate the autocompletion script for " shell,                       \
		.about = "Generate the autocompletion script for " shell ".\n\n" how, .max = 0, CMD_OPTS(struct script_opts, script_flags),        \
		.run = cmd_script                                                                                                                  \
	}

const struct command completion_commands[] = {
	{.names = "completion", .usage = "COMMAND", .help = "Generate the autocompletion script for the specified shell",
	 .about = "Generate the autocompletion script for caisson for the specified shell.\nSee each sub-command's help for details on how to use the generated script."},
	SCRIPT_ROW("bash", "In this shell:\n\n\tsource <(caisson completion bash)\n\nIn every new one:\n\n\tcaisson completion bash > /etc/bash_completion.d/caisson"),
	SCRIPT_ROW("zsh", "In this shell:\n\n\tsource <(caisson completion zsh)\n\nIn every new one:\n\n\tcaisson completion zsh > \"${fpath[1]}/_caisson\""),
	SCRIPT_ROW("fish", "In this shell:\n\n\tcaisson completion fish | source\n\nIn every new one:\n\n\tcaisson completion fish > ~/.config/fish/completions/caisson.fish"),
	{.names = "__complete", .usage = "[ARG...]", .help = "Say what fits", .max = ANY, .flags = CMD_HIDDEN | CMD_NO_FLAGS, .run = cmd_complete},
	{.names = "__completeNoDesc", .usage = "[ARG...]", .help = "Say what fits", .max = ANY, .flags = CMD_HIDDEN | CMD_NO_FLAGS, .run = cmd_complete_no_desc},
	CMD_END,
};
