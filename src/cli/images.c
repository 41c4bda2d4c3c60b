/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>

#include "base/time.h"
#include "cli/cli.h"

static void image_row(struct table *t, const json_t *img, const char *tag, bool no_trunc)
{
	const char *colon = tag ? strrchr(tag, ':') : NULL;
	cs_autofree char *repo = colon ? cs_xstrndup(tag, (size_t)(colon - tag)) : cs_xstrdup("<none>");
	cs_autofree char *ago = human_ago(cs_now_ns() / CS_NS_PER_SEC - jint(img, "Created")), *created = cs_xasprintf("%s ago", ago);
	cs_autofree char *size = human_size(jint(img, "Size"));

	table_cell(t, repo);
	table_cell(t, colon ? colon + 1 : "<none>");
	table_cell(t, no_trunc ? jstr(img, "Id") : short_id(jstr(img, "Id")));
	table_cell(t, created);
	table_cell(t, size);
}

struct images_opts {
	bool all, digests, no_trunc, quiet, tree;
	const char *format;
	char **filter;
};
static const struct flag images_flags[] = {
	FLAG(struct images_opts, all, "all", 'a', "Show all images (default hides intermediate images)"),
	FLAG(struct images_opts, digests, "digests", 0, "Show digests", .refused = NOT_YET),
	FLAG_AS(struct images_opts, filter, FLAG_FILTER, "filter", 'f', "Filter output based on conditions provided", .refused = NOT_YET),
	FLAG(struct images_opts, format, "format", 0, HELP_FORMAT_TABLE, .refused = NOT_YET),
	FLAG(struct images_opts, no_trunc, "no-trunc", 0, "Don't truncate output"),
	FLAG(struct images_opts, quiet, "quiet", 'q', "Only show image IDs"),
	FLAG(struct images_opts, tree, "tree", 0, "List multi-platform images as a tree (EXPERIMENTAL)", .refused = NOT_YET),
	FLAG_END,
};

static int cmd_images(struct call *call)
{
	const struct images_opts *o = call->opts;
	char **operands = call->args;
	static const char *const head[] = {"REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"};
	struct table t = {.columns = CS_ARRAY_SIZE(head)};
	struct cs_err *err = NULL;
	json_t *list = NULL, *img, *tag;
	size_t i, k;

	json_t *f = json_object();
	if (operands[0])
		(void)json_object_set_new(f, "reference", json_pack("[s]", operands[0]));
	cs_autofree char *ftext = json_dumps(f, JSON_COMPACT), *enc = url_encode(ftext), *path = cs_xasprintf("/images/json?all=%d&filters=%s", o->all, enc);
	json_decref(f);
	if (client_json("GET", path, NULL, &list, &err) < 0)
		return cli_error(err, 1);
	for (i = 0; !o->quiet && i < CS_ARRAY_SIZE(head); i++)
		table_cell(&t, head[i]);
	json_array_foreach(list, i, img)
	{
		json_t *tags = json_object_get(img, "RepoTags");
		if (o->quiet) {
			printf("%s\n", o->no_trunc ? jstr(img, "Id") : short_id(jstr(img, "Id")));
			continue;
		}
		json_array_foreach(tags, k, tag) image_row(&t, img, json_string_value(tag), o->no_trunc);
		if (json_array_size(tags) == 0)
			image_row(&t, img, NULL, o->no_trunc);
	}
	if (!o->quiet)
		table_print(&t);
	json_decref(list);
	return 0;
}

struct rmi_opts {
	bool force, no_prune;
	char **platform;
};
static const struct flag rmi_flags[] = {
	FLAG(struct rmi_opts, force, "force", 'f', "Force removal of the image"),
	FLAG(struct rmi_opts, no_prune, "no-prune", 0, "Do not delete untagged parents"),
	FLAG_AS(struct rmi_opts, platform, FLAG_STRINGS, "platform", 0, "Remove only the given platform variant. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")", .refused = NOT_YET),
	FLAG_END,
};

static int cmd_rmi(struct call *call)
{
	const struct rmi_opts *o = call->opts;
	char **operands = call->args;
	int status = 0;

	for (; *operands; operands++) {
		struct cs_err *err = NULL;
		json_t *j = NULL, *d;
		size_t i;
		cs_autofree char *name = url_encode(*operands), *path = cs_xasprintf("/images/%s?force=%d&noprune=%d", name, o->force, o->no_prune);
		if (client_json("DELETE", path, NULL, &j, &err) < 0)
			status = cli_error(err, 1);
		json_array_foreach(j, i, d) printf("%s: %s\n", *jstr(d, "Untagged") ? "Untagged" : "Deleted", *jstr(d, "Untagged") ? jstr(d, "Untagged") : jstr(d, "Deleted"));
		json_decref(j);
	}
	return status;
}

/* repo[:tag]; the last colon counts only behind the last slash. */
static char *split_tag(const char *ref, const char **tag)
{
	const char *slash = strrchr(ref, '/'), *colon = strrchr(slash ? slash : ref, ':');
	*tag = colon ? colon + 1 : "latest";
	return cs_xstrndup(ref, colon ? (size_t)(colon - ref) : strlen(ref));
}

static int cmd_tag(struct call *call)
{
	char **operands = call->args;
	struct cs_err *err = NULL;
	const char *tag;

	cs_autofree char *repo = split_tag(operands[1], &tag), *src = url_encode(operands[0]), *r = url_encode(repo), *t = url_encode(tag);
	cs_autofree char *path = cs_xasprintf("/images/%s/tag?repo=%s&tag=%s", src, r, t);
	return client_json("POST", path, NULL, NULL, &err) < 0 ? cli_error(err, 1) : 0;
}

struct import_opts {
	const char *message, *platform;
	char **change;
};
static const struct flag import_flags[] = {
	FLAG(struct import_opts, change, "change", 'c', "Apply Dockerfile instruction to the created image"),
	FLAG(struct import_opts, message, "message", 'm', "Set commit message for imported image"),
	FLAG(struct import_opts, platform, "platform", 0, "Set platform if server is multi-platform capable", .refused = NOT_YET),
	FLAG_END,
};

static int cmd_import(struct call *call)
{
	const struct import_opts *o = call->opts;
	const char *tag = NULL;
	char **operands = call->args;
	auto_reply struct reply r = REPLY_INIT;
	cs_autostr struct cs_str path = CS_STR_INIT(1 << 20);
	struct cs_err *err = NULL;
	char *line;
	int status = 0;

	cs_autofd int fd = cs_streq(operands[0], "-") ? dup(0) : open(operands[0], O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		cs_fail(&err, CS_ERR_INVALID, errno, "open %s", operands[0]);
		return cli_error(err, 1);
	}
	cs_str_puts(&path, "/images/create?fromSrc=-");
	if (operands[1]) {
		cs_autofree char *repo = split_tag(operands[1], &tag), *re = url_encode(repo), *te = url_encode(tag);
		cs_str_putf(&path, "&repo=%s&tag=%s", re, te);
	}
	if (o->message) {
		cs_autofree char *m = url_encode(o->message);
		cs_str_putf(&path, "&message=%s", m);
	}
	for (char **c = o->change; c && *c; c++) {
		cs_autofree char *e = url_encode(*c);
		cs_str_putf(&path, "&changes=%s", e);
	}
	if (client_upload("POST", path.buf, fd, &r, &err) < 0)
		return cli_error(err, 1);
	while ((line = reply_line(&r, &err))) {
		json_t *j = json_loads(line, 0, NULL);
		if (*jstr(j, "error")) {
			cs_fail(&err, CS_ERR_INVALID, 0, "%s", jstr(j, "error"));
			status = 1;
		} else if (*jstr(j, "status")) {
			printf("%s\n", jstr(j, "status"));
		}
		json_decref(j);
		free(line);
	}
	return err ? cli_error(err, 1) : status;
}

struct history_opts {
	bool human, no_trunc, quiet;
	const char *format, *platform;
};
static const struct flag history_flags[] = {
	FLAG(struct history_opts, format, "format", 0, HELP_FORMAT_TABLE, .refused = NOT_YET),
	FLAG(struct history_opts, human, "human", 'H', "Print sizes and dates in human readable format", .def = "true", .refused = NOT_YET),
	FLAG(struct history_opts, no_trunc, "no-trunc", 0, "Don't truncate output", .refused = NOT_YET),
	FLAG(struct history_opts, platform, "platform", 0, "Show history for the given platform. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")", .refused = NOT_YET),
	FLAG(struct history_opts, quiet, "quiet", 'q', "Only show image IDs", .refused = NOT_YET),
	FLAG_END,
};

static int cmd_history(struct call *call)
{
	char **operands = call->args;
	struct table t = {.columns = 4};
	struct cs_err *err = NULL;
	json_t *list = NULL, *h;
	size_t i;

	cs_autofree char *name = url_encode(operands[0]), *path = cs_xasprintf("/images/%s/history", name);
	if (client_json("GET", path, NULL, &list, &err) < 0)
		return cli_error(err, 1);
	for (i = 0; i < 4; i++)
		table_cell(&t, (const char *const[]){"IMAGE", "CREATED", "CREATED BY", "SIZE"}[i]);
	json_array_foreach(list, i, h)
	{
		cs_autofree char *ago = human_ago(cs_now_ns() / CS_NS_PER_SEC - jint(h, "Created")), *created = cs_xasprintf("%s ago", ago);
		cs_autofree char *size = human_size(jint(h, "Size")), *by = cs_xasprintf("%.45s", jstr(h, "CreatedBy"));
		table_cell(&t, cs_streq(jstr(h, "Id"), "<missing>") ? "<missing>" : short_id(jstr(h, "Id")));
		table_cell(&t, created);
		table_cell(&t, by);
		table_cell(&t, size);
	}
	table_print(&t);
	json_decref(list);
	return 0;
}

const struct command image_commands[] = {
	{.names = "image ls|image list|images", .usage = "[OPTIONS] [REPOSITORY[:TAG]]", .help = "List images",
	 .min = 0, .max = 1, .complete = COMP_IMAGE_THEN_NONE, CMD_OPTS(struct images_opts, images_flags), .run = cmd_images},
	{.names = "image import|import", .usage = "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]", .help = "Import the contents from a tarball to create a filesystem image",
	 .min = 1, .max = ANY, .complete = COMP_FILES, CMD_OPTS(struct import_opts, import_flags), .run = cmd_import},
	{.names = "image tag|tag", .usage = "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]", .help = "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
	 .min = 2, .max = 2, .complete = COMP_IMAGE, .run = cmd_tag},
	{.names = "image rm|image remove|rmi", .usage = "[OPTIONS] IMAGE [IMAGE...]", .help = "Remove one or more images",
	 .min = 1, .max = ANY, .complete = COMP_IMAGE, CMD_OPTS(struct rmi_opts, rmi_flags), .run = cmd_rmi},
	{.names = "image history|history", .usage = "[OPTIONS] IMAGE", .help = "Show the history of an image",
	 .min = 1, .max = 1, .complete = COMP_IMAGE_THEN_NONE, CMD_OPTS(struct history_opts, history_flags), .run = cmd_history},
	CMD_END,
};
