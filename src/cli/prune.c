/* SPDX-License-Identifier: Apache-2.0
 *
 * caisson container|image|network|volume|system prune. */
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/config.h"
#include "cli/list.h"
#include "cli/progress.h"

static bool has(json_t *filters, const char *key, const char *value)
{
	json_t *v;
	size_t i;

	json_array_foreach(json_object_get(filters, key), i, v) if (cs_streq(json_string_value(v), value)) return true;
	return false;
}

static void add(json_t *filters, const char *key, const char *value)
{
	json_t *set = json_object_get(filters, key);

	if (has(filters, key, value))
		return;
	if (!set)
		(void)json_object_set_new(filters, key, set = json_array());
	(void)json_array_append_new(set, json_string(value));
}

/* The flags' filters and those of config.json's pruneFilters, whose labels give way to contrary ones. */
static json_t *prune_filters(char *const *flags)
{
	json_t *f = filters_json(flags), *v;
	size_t i;

	json_array_foreach(json_object_get(config_root(), "pruneFilters"), i, v)
	{
		const char *s = json_string_value(v), *eq = s ? strchr(s, '=') : NULL;
		if (!eq)
			continue;
		cs_autofree char *key = cs_xstrndup(s, (size_t)(eq - s));
		const char *contrary = cs_streq(key, "label") ? "label!" : cs_streq(key, "label!") ? "label" : NULL;
		if (!contrary || !has(f, contrary, eq + 1))
			add(f, key, eq + 1);
	}
	return f;
}

/* Asks on the terminal; only y and Y are a yes. */
static bool confirm(const char *question)
{
	char line[64];

	printf("%s [y/N] ", question);
	(void)fflush(stdout);
	if (!fgets(line, sizeof(line), stdin))
		return false;
	char *p = line + strspn(line, " \t");
	p[strcspn(p, " \t\r\n")] = 0;
	return strcasecmp(p, "y") == 0;
}

struct prune_kind {
	const char *path, *title, *key;
};
static const struct prune_kind containers = {"/containers/prune", "Deleted Containers:", "ContainersDeleted"};
static const struct prune_kind images = {"/images/prune", "Deleted Images:", "ImagesDeleted"};
static const struct prune_kind networks = {"/networks/prune", "Deleted Networks:", "NetworksDeleted"};
static const struct prune_kind volumes = {"/volumes/prune", "Deleted Volumes:", "VolumesDeleted"};
static const struct prune_kind build_cache = {"/build/prune", "Deleted build cache objects:", "CachesDeleted"};

/* What the engine tells on the way: one line that is drawn over, and gone when the result is printed. */
static void draw(const json_t *j)
{
	static const char prefix[] = "\x1b[2K\r";
	struct winsize ws;
	unsigned width = ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) == 0 && ws.ws_col ? ws.ws_col : 80;
	cs_autofree char *bar = j ? progress_text(json_object_get(j, "progressDetail"), width, 0) : NULL;
	cs_autofree char *line = j ? cs_xasprintf("%s %.12s %s", jstr(j, "status"), jstr(j, "id") + (cs_prefix(jstr(j, "id"), "sha256:") ? 7 : 0), bar) : NULL;

	printf("%s%.*s", prefix, (int)width - 1, line ? line : "");
	(void)fflush(stdout);
}

/* As client_json, and shows how far it is. An engine that knows no such answers gives the result alone, which is its only line then. */
static int watched(const char *path, json_t **ret, struct cs_err **err)
{
	auto_reply struct reply r = REPLY_INIT;
	struct cs_err *e = NULL;
	json_t *result = NULL;
	json_t *j;

	client_accept = "application/jsonl, application/json;q=0.9";
	int opened = client_open("POST", path, NULL, 0, false, &r, err);
	client_accept = NULL;
	if (opened < 0)
		return -1;
	bool drawn = false;
	while (!e && (j = reply_message(&r, &e))) {
		if (json_object_get(j, "errorDetail")) {
			(void)cs_fail(&e, CS_ERR_INTERNAL, 0, "%s", jstr(json_object_get(j, "errorDetail"), "message"));
		} else if (json_object_get(j, "progressDetail")) {
			draw(j);
			drawn = true;
		} else {
			json_decref(result);
			result = json_incref(j);
		}
		json_decref(j);
	}
	if (drawn)
		draw(NULL);
	if (!e && !result)
		(void)cs_fail(&e, CS_ERR_INTERNAL, 0, "the engine's answer has no result");
	if (e) {
		json_decref(result);
		return cs_err_move(err, e);
	}
	*ret = result;
	return 0;
}

/* Asks the engine, prints what it removed, adds the bytes. Takes filters. 0, or -1 with an error. */
static int prune(const struct prune_kind *k, json_t *filters, const char *query, int64_t *bytes, struct cs_err **err)
{
	json_t *j = NULL, *d;
	size_t i;
	cs_autofree char *f = filters_query(filters), *both = cs_xasprintf("%s%s", f, query), *path = cs_xasprintf("%s%s%s", k->path, *both ? "?" : "", *both ? both + 1 : "");

	/* only who can be shown something asks for it: what is in a pipe is docker's, down to the request */
	if ((isatty(STDOUT_FILENO) ? watched(path, &j, err) : client_json("POST", path, NULL, &j, err)) < 0)
		return -1;
	json_t *list = json_object_get(j, k->key);
	if (json_array_size(list)) {
		printf("%s\n", k->title);
		json_array_foreach(list, i, d)
		{
			if (json_is_string(d))
				printf("%s\n", json_string_value(d));
			else
				printf("%s: %s\n", *jstr(d, "Untagged") ? "untagged" : "deleted", *jstr(d, "Untagged") ? jstr(d, "Untagged") : jstr(d, "Deleted"));
		}
		printf("\n");
		*bytes += jint(j, "SpaceReclaimed");
	}
	json_decref(j);
	return 0;
}

static int report(int r, int64_t bytes, struct cs_err *err)
{
	tpl_autoarena struct tpl_arena *a = tpl_arena_new();

	if (r < 0)
		return cli_error(err, 1);
	printf("Total reclaimed space: %s\n", size_text(a, (double)bytes, 4));
	return 0;
}

struct prune_opts {
	bool all, force, volumes;
	char **filter;
};
#define UNTIL_FILTER "Provide filter values (e.g. \"until=<timestamp>\")"
static const struct flag plain_flags[] = {
	FLAG_AS(struct prune_opts, filter, FLAG_FILTER, "filter", 0, UNTIL_FILTER),
	FLAG(struct prune_opts, force, "force", 'f', "Do not prompt for confirmation"),
	FLAG_END,
};
static const struct flag image_flags[] = {
	FLAG(struct prune_opts, all, "all", 'a', "Remove all unused images, not just dangling ones"),
	FLAG_AS(struct prune_opts, filter, FLAG_FILTER, "filter", 0, UNTIL_FILTER),
	FLAG(struct prune_opts, force, "force", 'f', "Do not prompt for confirmation"),
	FLAG_END,
};
static const struct flag volume_flags[] = {
	FLAG(struct prune_opts, all, "all", 'a', "Remove all unused volumes, not just anonymous ones", .api = 142),
	FLAG_AS(struct prune_opts, filter, FLAG_FILTER, "filter", 0, "Provide filter values (e.g. \"label=<label>\")"),
	FLAG(struct prune_opts, force, "force", 'f', "Do not prompt for confirmation"),
	FLAG_END,
};
static const struct flag system_flags[] = {
	FLAG(struct prune_opts, all, "all", 'a', "Remove all unused images not just dangling ones"),
	FLAG_AS(struct prune_opts, filter, FLAG_FILTER, "filter", 0, "Provide filter values (e.g. \"label=<key>=<value>\")", .api = 128),
	FLAG(struct prune_opts, force, "force", 'f', "Do not prompt for confirmation"),
	FLAG(struct prune_opts, volumes, "volumes", 0, "Prune anonymous volumes"),
	FLAG_END,
};

#define SURE "\nAre you sure you want to continue?"

static int cmd_containers(struct call *c)
{
	const struct prune_opts *o = c->opts;
	struct cs_err *err = NULL;
	int64_t bytes = 0;

	if (!o->force && !confirm("WARNING! This will remove all stopped containers." SURE))
		return 0;
	int r = prune(&containers, prune_filters(o->filter), "", &bytes, &err);
	return report(r, bytes, err);
}

static json_t *image_filters(const struct prune_opts *o)
{
	json_t *f = prune_filters(o->filter);
	add(f, "dangling", o->all ? "false" : "true");
	return f;
}

static int cmd_images(struct call *c)
{
	const struct prune_opts *o = c->opts;
	struct cs_err *err = NULL;
	int64_t bytes = 0;

	if (!o->force && !confirm(o->all ? "WARNING! This will remove all images without at least one container associated to them." SURE :
					   "WARNING! This will remove all dangling images." SURE))
		return 0;
	int r = prune(&images, image_filters(o), "", &bytes, &err);
	return report(r, bytes, err);
}

static int cmd_networks(struct call *c)
{
	const struct prune_opts *o = c->opts;
	struct cs_err *err = NULL;
	int64_t bytes = 0;

	if (!o->force && !confirm("WARNING! This will remove all custom networks not used by at least one container." SURE))
		return 0;
	return prune(&networks, prune_filters(o->filter), "", &bytes, &err) < 0 ? cli_error(err, 1) : 0;
}

static int cmd_volumes(struct call *c)
{
	const struct prune_opts *o = c->opts;
	struct cs_err *err = NULL;
	int64_t bytes = 0;
	int api = client_api(&err);
	json_t *f = prune_filters(o->filter);

	if (api < 0 || (o->all && json_object_get(f, "all"))) {
		json_decref(f);
		return api < 0 ? cli_error(err, 1) : cli_fail(1, "conflicting options: cannot specify both --all and --filter all=1");
	}
	if (o->all)
		add(f, "all", "true");
	if (!o->force && !confirm(o->all || api < 142 ? "WARNING! This will remove all local volumes not used by at least one container." SURE :
							"WARNING! This will remove anonymous local volumes not used by at least one container." SURE)) {
		json_decref(f);
		return 0;
	}
	int r = prune(&volumes, f, "", &bytes, &err);
	return report(r, bytes, err);
}

static int by_name(const void *x, const void *y)
{
	const char *const *p = x, *const *q = y;
	return natural_compare(*p, *q);
}

static bool confirm_system(const struct prune_opts *o)
{
	static const char *const names[] = {"label", "label!", "until"};
	struct cs_str q = CS_STR_INIT(1 << 20);
	json_t *f = prune_filters(o->filter), *v;
	cs_autostrv char **shown = NULL;
	size_t i;

	cs_str_puts(&q, "WARNING! This will remove:\n  - all stopped containers\n  - all networks not used by at least one container\n");
	if (o->volumes)
		cs_str_puts(&q, "  - all anonymous volumes not used by at least one container\n");
	cs_str_puts(&q, o->all ? "  - all images without at least one container associated to them\n  - all build cache\n" : "  - all dangling images\n  - unused build cache\n");
	for (size_t k = 0; k < CS_ARRAY_SIZE(names); k++)
		json_array_foreach(json_object_get(f, names[k]), i, v) cs_strv_take(&shown, cs_xasprintf("%s=%s", names[k], json_string_value(v)));
	if (shown)
		qsort(shown, cs_strv_len(shown), sizeof(*shown), by_name);
	if (shown)
		cs_str_puts(&q, "\n  Items to be pruned will be filtered with:\n");
	for (char **s = shown; s && *s; s++)
		cs_str_putf(&q, "  - %s\n", *s);
	cs_str_puts(&q, SURE);
	bool yes = confirm(q.buf);
	cs_str_done(&q);
	json_decref(f);
	return yes;
}

static int cmd_system(struct call *c)
{
	const struct prune_opts *o = c->opts;
	struct cs_err *err = NULL;
	int64_t bytes = 0;
	json_t *f = filters_json(o->filter);
	bool until = json_object_get(f, "until");

	json_decref(f);
	if (o->volumes && until)
		return cli_fail(1, "ERROR: The \"until\" filter is not supported with \"--volumes\"");
	if (!o->force && !confirm_system(o))
		return 0;
	int r = prune(&containers, prune_filters(o->filter), "", &bytes, &err);
	if (r == 0)
		r = prune(&networks, prune_filters(o->filter), "", &bytes, &err);
	if (r == 0 && o->volumes)
		r = prune(&volumes, prune_filters(o->filter), "", &bytes, &err);
	if (r == 0)
		r = prune(&images, image_filters(o), "", &bytes, &err);
	/* an engine that does not build has no build cache, which is no reason to fail */
	if (r == 0 && prune(&build_cache, filters_json(o->filter), o->all ? "&all=1" : "", &bytes, &err) < 0) {
		r = err->code == CS_ERR_NOT_FOUND || err->code == CS_ERR_UNSUPPORTED ? 0 : -1;
		if (r == 0) {
			cs_err_free(err);
			err = NULL;
		}
	}
	return report(r, bytes, err);
}

const struct command prune_commands[] = {
	{.names = "container prune", .api = 125, .usage = "[OPTIONS]", .help = "Remove all stopped containers",
	 .min = 0, .max = 0, CMD_OPTS(struct prune_opts, plain_flags), .run = cmd_containers},
	{.names = "image prune", .api = 125, .usage = "[OPTIONS]", .help = "Remove unused images",
	 .min = 0, .max = 0, CMD_OPTS(struct prune_opts, image_flags), .run = cmd_images},
	{.names = "network prune", .api = 125, .usage = "[OPTIONS]", .help = "Remove all unused networks",
	 .min = 0, .max = 0, CMD_OPTS(struct prune_opts, plain_flags), .run = cmd_networks},
	{.names = "volume prune", .api = 125, .usage = "[OPTIONS]", .help = "Remove unused local volumes",
	 .min = 0, .max = 0, CMD_OPTS(struct prune_opts, volume_flags), .run = cmd_volumes},
	{.names = "system prune", .api = 125, .usage = "[OPTIONS]", .help = "Remove unused data",
	 .min = 0, .max = 0, CMD_OPTS(struct prune_opts, system_flags), .run = cmd_system},
	CMD_END,
};
