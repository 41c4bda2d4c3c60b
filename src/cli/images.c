/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>

#include "base/time.h"
#include "cli/cli.h"

static const struct opt no_opts[] = {OPT_END};

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

static int cmd_images(char **argv)
{
	bool all = false, quiet = false, no_trunc = false;
	const struct opt opts[] = {{"all", 'a', OPT_BOOL, &all, "Show intermediate images too"}, {"quiet", 'q', OPT_BOOL, &quiet, "Only ids"},
				   {"no-trunc", 0, OPT_BOOL, &no_trunc, "Do not shorten"}, OPT_END};
	char **operands = opt_parse(argv, opts, false, "images [OPTIONS] [REPOSITORY[:TAG]]");
	static const char *const head[] = {"REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"};
	struct table t = {.columns = CS_ARRAY_SIZE(head)};
	struct cs_err *err = NULL;
	json_t *list = NULL, *img, *tag;
	size_t i, k;

	if (!operands)
		return 125;
	json_t *f = json_object();
	if (operands[0])
		(void)json_object_set_new(f, "reference", json_pack("[s]", operands[0]));
	cs_autofree char *ftext = json_dumps(f, JSON_COMPACT), *enc = url_encode(ftext), *path = cs_xasprintf("/images/json?all=%d&filters=%s", all, enc);
	json_decref(f);
	if (client_json("GET", path, NULL, &list, &err) < 0)
		return cli_error(err, 1);
	for (i = 0; !quiet && i < CS_ARRAY_SIZE(head); i++)
		table_cell(&t, head[i]);
	json_array_foreach(list, i, img)
	{
		json_t *tags = json_object_get(img, "RepoTags");
		if (quiet) {
			printf("%s\n", no_trunc ? jstr(img, "Id") : short_id(jstr(img, "Id")));
			continue;
		}
		json_array_foreach(tags, k, tag) image_row(&t, img, json_string_value(tag), no_trunc);
		if (json_array_size(tags) == 0)
			image_row(&t, img, NULL, no_trunc);
	}
	if (!quiet)
		table_print(&t);
	json_decref(list);
	return 0;
}

static int cmd_rmi(char **argv)
{
	bool force = false, no_prune = false;
	const struct opt opts[] = {{"force", 'f', OPT_BOOL, &force, "Force removal"}, {"no-prune", 0, OPT_BOOL, &no_prune, "Keep untagged parents"}, OPT_END};
	char **operands = opt_parse(argv, opts, false, "rmi [OPTIONS] IMAGE [IMAGE...]");
	int status = 0;

	if (!operands)
		return 125;
	if (!operands[0])
		return cli_usage(argv[0], "requires at least 1 argument");
	for (; *operands; operands++) {
		struct cs_err *err = NULL;
		json_t *j = NULL, *d;
		size_t i;
		cs_autofree char *name = url_encode(*operands), *path = cs_xasprintf("/images/%s?force=%d&noprune=%d", name, force, no_prune);
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

static int cmd_tag(char **argv)
{
	char **operands = opt_parse(argv, no_opts, false, "tag SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]");
	struct cs_err *err = NULL;
	const char *tag;

	if (!operands)
		return 125;
	if (!operands[0] || !operands[1] || operands[2])
		return cli_usage(argv[0], "requires exactly 2 arguments");
	cs_autofree char *repo = split_tag(operands[1], &tag), *src = url_encode(operands[0]), *r = url_encode(repo), *t = url_encode(tag);
	cs_autofree char *path = cs_xasprintf("/images/%s/tag?repo=%s&tag=%s", src, r, t);
	return client_json("POST", path, NULL, NULL, &err) < 0 ? cli_error(err, 1) : 0;
}

static int cmd_import(char **argv)
{
	char **changes = NULL;
	const char *message = NULL, *tag = NULL;
	const struct opt opts[] = {{"change", 'c', OPT_LIST, &changes, "Apply a Dockerfile instruction"}, {"message", 'm', OPT_STR, &message, "Commit message"}, OPT_END};
	char **operands = opt_parse(argv, opts, false, "import [OPTIONS] FILE|- [REPOSITORY[:TAG]]");
	auto_reply struct reply r = REPLY_INIT;
	cs_autostr struct cs_str path = CS_STR_INIT(1 << 20);
	struct cs_err *err = NULL;
	char *line;
	int status = 0;

	if (!operands)
		return 125;
	if (!operands[0])
		return cli_usage(argv[0], "requires at least 1 argument");
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
	if (message) {
		cs_autofree char *m = url_encode(message);
		cs_str_putf(&path, "&message=%s", m);
	}
	for (char **c = changes; c && *c; c++) {
		cs_autofree char *e = url_encode(*c);
		cs_str_putf(&path, "&changes=%s", e);
	}
	cs_strv_free(changes);
	if (client_upload(path.buf, fd, &r, &err) < 0)
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

static int cmd_history(char **argv)
{
	char **operands = opt_parse(argv, no_opts, false, "history IMAGE");
	struct table t = {.columns = 4};
	struct cs_err *err = NULL;
	json_t *list = NULL, *h;
	size_t i;

	if (!operands)
		return 125;
	if (!operands[0] || operands[1])
		return cli_usage(argv[0], "requires exactly 1 argument");
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
	{"images", cmd_images, "List images"},
	{"import", cmd_import, "Make an image from a root file system archive"},
	{"tag", cmd_tag, "Give an image another name"},
	{"rmi", cmd_rmi, "Remove images"},
	{"history", cmd_history, "Show how an image was made"},
	{NULL, NULL, NULL},
};
