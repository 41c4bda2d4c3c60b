/* SPDX-License-Identifier: Apache-2.0
 *
 * caisson images, history, rmi, tag, import. */
#include <fcntl.h>
#include <string.h>

#include "cli/create.h"
#include "cli/image_tree.h"
#include "cli/platform.h"
#include "cli/rows.h"
#include "registry/reference.h"

/* ---- images ---- */

METHOD(image_id)
{
	const struct row *r = self;
	const char *id = jstr(r->j, "Id");
	return text_value(r->trunc ? truncate_id(a, id) : id);
}
METHOD(image_repository) { return text_value(((struct image_row *)self)->repo); }
METHOD(image_tag) { return text_value(((struct image_row *)self)->tag); }
METHOD(image_digest) { return text_value(((struct image_row *)self)->digest); }
METHOD(image_created_since) { return text_value(ago_text(a, jint(((struct row *)self)->j, "Created"))); }
METHOD(image_created_at) { return text_value(local_time_text(a, jint(((struct row *)self)->j, "Created"))); }
METHOD(image_size) { return text_value(size_text(a, (double)jint(((struct row *)self)->j, "Size"), 3)); }
METHOD(image_virtual_size) { return text_value(size_text(a, (double)jint(((struct row *)self)->j, "Size"), 4)); }

METHOD(image_containers)
{
	int64_t n = jint(((struct row *)self)->j, "Containers");
	return text_value(n == -1 ? "N/A" : tpl_printf(a, "%lld", (long long)n));
}

METHOD(image_shared_size)
{
	int64_t n = jint(((struct row *)self)->j, "SharedSize");
	return text_value(n == -1 ? "N/A" : size_text(a, (double)n, 4));
}

METHOD(image_unique_size)
{
	int64_t size = jint(((struct row *)self)->j, "Size"), shared = jint(((struct row *)self)->j, "SharedSize");
	return text_value(size == -1 || shared == -1 ? "N/A" : size_text(a, (double)(size - shared), 4));
}

static const struct tpl_method image_methods[] = {
	{"Containers", image_containers}, {"CreatedAt", image_created_at}, {"CreatedSince", image_created_since}, {"Digest", image_digest}, {"ID", image_id},
	{"Repository", image_repository}, {"SharedSize", image_shared_size}, {"Size", image_size}, {"Tag", image_tag}, {"UniqueSize", image_unique_size},
	{"VirtualSize", image_virtual_size}, {NULL}};
const struct tpl_class image_class = {"*formatter.imageContext", image_methods};
const char *const image_headers[] = {"ID", "IMAGE ID", "Repository", "REPOSITORY", "Tag", "TAG", "Digest", "DIGEST", "CreatedSince", "CREATED", "CreatedAt", "CREATED AT",
				     "Size", "SIZE", "Containers", "CONTAINERS", "VirtualSize", "SIZE", "SharedSize", "SHARED SIZE", "UniqueSize", "UNIQUE SIZE", NULL};

const char *image_format(const char *source, bool quiet, bool digest)
{
	if (cs_streq(source, "table"))
		return quiet ? "{{.ID}}" : digest ? "table {{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{if .CreatedSince }}{{.CreatedSince}}{{else}}N/A{{end}}\t{{.Size}}" :
						    "table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{if .CreatedSince }}{{.CreatedSince}}{{else}}N/A{{end}}\t{{.Size}}";
	if (cs_streq(source, "raw"))
		return quiet ? "image_id: {{.ID}}" : digest ? "repository: {{ .Repository }}\ntag: {{.Tag}}\ndigest: {{.Digest}}\nimage_id: {{.ID}}\ncreated_at: {{.CreatedAt}}\nvirtual_size: {{.Size}}\n" :
							      "repository: {{ .Repository }}\ntag: {{.Tag}}\nimage_id: {{.ID}}\ncreated_at: {{.CreatedAt}}\nvirtual_size: {{.Size}}\n";
	return source;
}

static bool dangling(json_t *img)
{
	json_t *tags = json_object_get(img, "RepoTags"), *digests = json_object_get(img, "RepoDigests");

	if (json_array_size(tags) == 0 && json_array_size(digests) == 0)
		return true;
	return json_array_size(tags) == 1 && cs_streq(json_string_value(json_array_get(tags, 0)), "<none>:<none>") && json_array_size(digests) == 1 &&
	       cs_streq(json_string_value(json_array_get(digests, 0)), "<none>@<none>");
}

/* A row for each tag, with --digests for each tag and digest; digests of repositories without a tag come last. */
static void image_rows(struct list *l, json_t *img, bool trunc, bool show_digests, bool need_digest)
{
	json_t *tags = json_object_get(img, "RepoTags"), *digests = json_object_get(img, "RepoDigests"), *t, *d;
	const char *name, *tag, *digest, *dname, *dtag;
	size_t i, k;

	if (dangling(img)) {
		list_row(l, &image_class, &(struct image_row){{img, trunc}, "<none>", "<none>", "<none>"});
		return;
	}
	json_array_foreach(tags, i, t)
	{
		bool any = false;
		if (!reference_split(l->a, json_string_value(t), &name, &tag, &digest) || !*tag)
			continue;
		json_array_foreach(digests, k, d) if (need_digest && reference_split(l->a, json_string_value(d), &dname, &dtag, &digest) && cs_streq(name, dname))
		{
			list_row(l, &image_class, &(struct image_row){{img, trunc}, name, tag, digest});
			any = true;
		}
		if (!any)
			list_row(l, &image_class, &(struct image_row){{img, trunc}, name, tag, "<none>"});
	}
	char **seen = NULL;
	json_array_foreach(digests, k, d)
	{
		bool tagged = false;
		if (!reference_split(l->a, json_string_value(d), &dname, &dtag, &digest) || !*digest)
			continue;
		json_array_foreach(tags, i, t) tagged |= reference_split(l->a, json_string_value(t), &name, &tag, &(const char *){NULL}) && *tag && cs_streq(name, dname);
		if (tagged || (!show_digests && cs_strv_has(seen, dname)))
			continue;
		cs_strv_push(&seen, dname);
		list_row(l, &image_class, &(struct image_row){{img, trunc}, dname, "<none>", show_digests ? digest : ""});
	}
	cs_strv_free(seen);
}

struct images_opts {
	bool all, digests, no_trunc, quiet, tree;
	const char *format;
	char **filter;
};
static const struct flag images_flags[] = {
	FLAG(struct images_opts, all, "all", 'a', "Show all images (default hides intermediate images)"),
	FLAG(struct images_opts, digests, "digests", 0, "Show digests"),
	FLAG_AS(struct images_opts, filter, FLAG_FILTER, "filter", 'f', "Filter output based on conditions provided"),
	FLAG(struct images_opts, format, "format", 0, HELP_FORMAT_TABLE),
	FLAG(struct images_opts, no_trunc, "no-trunc", 0, "Don't truncate output"),
	FLAG(struct images_opts, quiet, "quiet", 'q', "Only show image IDs"),
	FLAG(struct images_opts, tree, "tree", 0, "List multi-platform images as a tree (EXPERIMENTAL)", .api = 147),
	FLAG_END,
};

/* What does not go together with --tree. 0, or the exit status. */
static int check_tree(const struct images_opts *o)
{
	const struct {
		bool given;
		const char *name;
	} others[] = {{o->quiet, "quiet"}, {o->no_trunc, "no-trunc"}, {o->digests, "show-digest"}, {!cs_empty(o->format), "format"}};

	for (size_t i = 0; i < CS_ARRAY_SIZE(others); i++)
		if (others[i].given)
			return cli_fail(1, "--%s is not yet supported with --tree", others[i].name);
	return 0;
}

/* `images ls` lists images named ls, which nobody means. */
static void hint(const char *name)
{
	static const char *const words[] = {"build", "history", "import", "inspect", "list", "load", "ls", "prune", "pull", "push", "rm", "save", "tag"};

	for (size_t i = 0; i < CS_ARRAY_SIZE(words); i++)
		if (cs_streq(name, words[i]))
			fprintf(stderr, "\nNo images found matching \"%s\": did you mean \"caisson image %s\"?\n", name, name);
}

static int cmd_images(struct call *call)
{
	const struct images_opts *o = call->opts;
	json_t *list = NULL, *img, *filters = filters_json(o->filter);
	const char *match = call->args[0], *format = image_format(list_format(o->format, "imagesFormat", o->quiet), o->quiet, o->digests);
	struct cs_err *err = NULL;
	struct list l;
	size_t i;

	if (o->tree && check_tree(o)) {
		json_decref(filters);
		return 1;
	}
	if (match && !*match)
		match = NULL;
	if (match) {
		json_t *refs = json_object_get(filters, "reference");
		if (!refs)
			(void)json_object_set_new(filters, "reference", refs = json_array());
		(void)json_array_append_new(refs, json_string(match));
	}
	cs_autofree char *f = filters_query(filters), *query = cs_xasprintf("%s%s%s", o->all ? "&all=1" : "", f, o->tree ? "&manifests=1" : "");
	cs_autofree char *path = cs_xasprintf("/images/json%s%s", *query ? "?" : "", *query ? query + 1 : "");
	if (client_json("GET", path, NULL, &list, &err) < 0)
		return cli_error(err, 1);
	if (o->tree) {
		image_tree_print(list, o->all);
		json_decref(list);
		return 0;
	}
	bool table = strncmp(format, "table", 5) == 0, has_digest = strstr(format, "{{.Digest}}");
	cs_autofree char *with_digest = table && o->digests && !has_digest ? cs_xasprintf("%s\t{{.Digest}}", format) : NULL;
	list_begin(&l, with_digest ? with_digest : format);
	json_array_foreach(list, i, img) image_rows(&l, img, !o->no_trunc, o->digests, o->digests || has_digest);
	int status = list_end(&l, image_headers);
	if (status == 0 && match && json_array_size(list) == 0 && cs_streq(call->path, "images"))
		hint(match);
	json_decref(list);
	return status;
}

/* ---- history ---- */

struct history_row {
	struct row row;
	bool human;
};

METHOD(history_created_at)
{
	/* RFC 3339 in local time */
	const char *t = local_time_text(a, jint(((struct row *)self)->j, "Created"));
	if (strlen(t) < 25)
		return text_value(t);
	return text_value(strncmp(t + 20, "+0000", 5) == 0 ? tpl_printf(a, "%.10sT%.8sZ", t, t + 11) : tpl_printf(a, "%.10sT%.8s%.3s:%.2s", t, t + 11, t + 20, t + 23));
}

METHOD(history_created_since)
{
	const struct history_row *r = self;
	int64_t created = jint(r->row.j, "Created");

	if (!r->human)
		return history_created_at(self, a, arg);
	return text_value(created <= 946684800 ? "N/A" : ago_text(a, created)); /* images without a date have 1970 */
}

METHOD(history_created_by)
{
	const struct row *r = self;
	const char *by = jstr(r->j, "CreatedBy");
	char *text = tpl_strn(a, by, strlen(by));

	for (char *p = text; *p; p++)
		*p = *p == '\t' ? ' ' : *p;
	return text_value(r->trunc ? ellipsis(a, text, 45) : text);
}

METHOD(history_size)
{
	const struct history_row *r = self;
	int64_t n = jint(r->row.j, "Size");
	return text_value(r->human ? size_text(a, (double)n, 3) : tpl_printf(a, "%lld", (long long)n));
}
METHOD(history_comment) { return text_value(jstr(((struct row *)self)->j, "Comment")); }

static const struct tpl_method history_methods[] = {{"Comment", history_comment}, {"CreatedAt", history_created_at}, {"CreatedBy", history_created_by},
						    {"CreatedSince", history_created_since}, {"ID", image_id}, {"Size", history_size}, {NULL}};
static const struct tpl_class history_class = {"*image.historyContext", history_methods};
static const char *const history_headers[] = {"ID", "IMAGE", "CreatedSince", "CREATED", "CreatedAt", "CREATED AT", "CreatedBy", "CREATED BY", "Size", "SIZE", "Comment", "COMMENT", NULL};

struct history_opts {
	bool human, no_trunc, quiet;
	const char *format, *platform;
};
static const struct flag history_flags[] = {
	FLAG(struct history_opts, format, "format", 0, HELP_FORMAT_TABLE),
	FLAG(struct history_opts, human, "human", 'H', "Print sizes and dates in human readable format", .def = "true"),
	FLAG(struct history_opts, no_trunc, "no-trunc", 0, "Don't truncate output"),
	FLAG(struct history_opts, platform, "platform", 0, "Show history for the given platform. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")", .values = VALUES_PLATFORMS, .api = 148),
	FLAG(struct history_opts, quiet, "quiet", 'q', "Only show image IDs"),
	FLAG_END,
};

static int cmd_history(struct call *call)
{
	const struct history_opts *o = call->opts;
	const char *format = cs_empty(o->format) ? "table" : o->format;
	struct cs_err *err = NULL;
	json_t *list = NULL, *h;
	struct list l;
	size_t i;

	cs_autofree char *platform = platform_query(o->platform, "?platform=", &err);
	if (!platform) {
		cs_wrap(&err, "invalid platform");
		return cli_error(err, 1);
	}
	cs_autofree char *name = url_encode(call->args[0]), *path = cs_xasprintf("/images/%s/history%s", name, platform);
	if (client_json("GET", path, NULL, &list, &err) < 0)
		return cli_error(err, 1);
	if (cs_streq(format, "table"))
		format = o->quiet ? "{{.ID}}" : o->human ? "table {{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}" :
							   "table {{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}";
	list_begin(&l, format);
	json_array_foreach(list, i, h) list_row(&l, &history_class, &(struct history_row){{h, !o->no_trunc}, o->human});
	int status = list_end(&l, history_headers);
	json_decref(list);
	return status;
}

/* ---- rmi, tag, import ---- */

struct rmi_opts {
	bool force, no_prune;
	char **platform;
};
static const struct flag rmi_flags[] = {
	FLAG(struct rmi_opts, force, "force", 'f', "Force removal of the image"),
	FLAG(struct rmi_opts, no_prune, "no-prune", 0, "Do not delete untagged parents"),
	FLAG_AS(struct rmi_opts, platform, FLAG_STRINGS, "platform", 0, "Remove only the given platform variant. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")", .api = 150),
	FLAG_END,
};

static int cmd_rmi(struct call *call)
{
	const struct rmi_opts *o = call->opts;
	cs_autostr struct cs_str query = CS_STR_INIT(1 << 20), errors = CS_STR_INIT(1 << 24);
	struct cs_err *err = NULL;
	bool fatal = false;

	for (char **p = o->platform; p && *p; p++) {
		cs_autofree char *one = platform_query(*p, "&platforms=", &err);
		if (!one)
			return cli_error(err, 1);
		cs_str_puts(&query, one);
	}
	cs_str_putf(&query, "%s%s", o->force ? "&force=1" : "", o->no_prune ? "&noprune=1" : "");
	for (char **operand = call->args; *operand; operand++) {
		json_t *j = NULL, *d;
		size_t i;
		cs_autofree char *name = url_encode(*operand), *path = cs_xasprintf("/images/%s%s%s", name, query.len ? "?" : "", query.len ? query.buf + 1 : "");
		if (client_json("DELETE", path, NULL, &j, &err) < 0) {
			cs_autofree char *text = cs_err_text(err);
			fatal |= err->code != CS_ERR_NOT_FOUND;
			cs_str_putf(&errors, "%s%s", errors.len ? "\n" : "", text);
			cs_err_free(err);
			err = NULL;
		}
		json_array_foreach(j, i, d) printf("%s: %s\n", *jstr(d, "Deleted") ? "Deleted" : "Untagged", *jstr(d, "Deleted") ? jstr(d, "Deleted") : jstr(d, "Untagged"));
		json_decref(j);
	}
	if (!errors.len)
		return 0;
	return cli_fail(!o->force || fatal, "%s", errors.buf);
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
	cs_autoref struct cs_ref source = {0}, target = {0};
	char **operands = call->args;
	struct cs_err *err = NULL;

	for (int i = 0; i < 2; i++) {
		if ((i == 0 && cs_ref_is_id(operands[0])) || cs_ref_parse(operands[i], i ? &target : &source, &err) == 0)
			continue;
		cs_wrap(&err, "Error parsing reference: \"%s\" is not a valid repository/tag", operands[i]);
		return cli_error(err, 1);
	}
	if (target.digest)
		return cli_fail(1, "refusing to create a tag with a digest reference");
	cs_ref_default_tag(&target);
	cs_autofree char *repo = cs_xasprintf("%s/%s", target.domain, target.path), *src = url_encode(operands[0]), *r = url_encode(repo), *t = url_encode(target.tag);
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
	FLAG(struct import_opts, platform, "platform", 0, "Set platform if server is multi-platform capable", .values = VALUES_PLATFORMS, .api = 132),
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
	int status = 0;

	bool url = strncasecmp(operands[0], "http://", 7) == 0 || strncasecmp(operands[0], "https://", 8) == 0; /* the engine fetches it */
	cs_autofd int fd = url ? -EBADF : cs_streq(operands[0], "-") ? dup(0) : open(operands[0], O_RDONLY | O_CLOEXEC);
	if (!url && fd < 0) {
		(void)create_open_failed(operands[0], errno, &err);
		return cli_error(err, 1);
	}
	cs_autoref struct cs_ref ref = {0};
	if (operands[1] && cs_ref_parse(operands[1], &ref, &err) < 0)
		return cli_error(err, 1);
	cs_autofree char *source = url_encode(url ? operands[0] : "-");
	cs_str_putf(&path, "/images/create?fromSrc=%s", source);
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
	const char *platform = platform_given(o->platform);
	if (!cs_empty(platform)) {
		cs_autofree char *p = url_encode(platform);
		cs_str_putf(&path, "&platform=%s", p);
	}
	if ((url ? client_open("POST", path.buf, NULL, 0, false, &r, &err) : client_upload("POST", path.buf, fd, &r, &err)) < 0)
		return cli_error(err, 1);
	json_t *j;
	while (!err && (j = reply_message(&r, &err))) {
		if (*jstr(j, "error")) {
			cs_fail(&err, CS_ERR_INVALID, 0, "%s", jstr(j, "error"));
			status = 1;
		} else if (*jstr(j, "status")) {
			printf("%s\n", jstr(j, "status"));
		}
		json_decref(j);
	}
	return err ? cli_error(err, 1) : status;
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
