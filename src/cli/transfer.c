/* SPDX-License-Identifier: Apache-2.0
 *
 * Commands that move images: pull, push, save, load, commit, export. */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "cli/auth.h"
#include "cli/cli.h"
#include "cli/transfer.h"
#include "registry/reference.h"

/* ---- progress: one JSON object per line ---- */

/* Lines for a reader and for logs alike: a state per layer when it changes, no bars. */
static int show_progress(struct reply *r, bool quiet, FILE *out)
{
	struct cs_err *err = NULL;
	char *line;
	int status = 0;

	while ((line = reply_line(r, &err))) {
		json_t *j = json_loads(line, 0, NULL);
		bool bar = json_object_size(json_object_get(j, "progressDetail")) > 0;
		if (*jstr(j, "error")) {
			(void)fflush(out);
			(void)fprintf(stderr, "%s\n", jstr(j, "error"));
			status = 1;
		} else if (*jstr(j, "stream")) {
			fputs(jstr(j, "stream"), out);
		} else if (!quiet && !bar && *jstr(j, "status")) {
			const char *id = jstr(j, "id");
			fprintf(out, "%s%s%s\n", id, *id ? ": " : "", jstr(j, "status"));
		}
		(void)fflush(out);
		json_decref(j);
		free(line);
	}
	return err ? cli_error(err, 1) : status;
}

/* name[:tag|@digest] for the query of a pull: a digest goes where a tag would. */
static void split_reference(const char *ref, char **name, const char **tag)
{
	const char *at = strchr(ref, '@'), *slash = strrchr(ref, '/'), *colon = strrchr(slash ? slash : ref, ':');
	const char *cut = at ? at : colon;

	*name = cs_xstrndup(ref, cut ? (size_t)(cut - ref) : strlen(ref));
	*tag = cut ? cut + 1 : NULL;
}

/* ---- pull, push ---- */

/* The one operand of both: its name, and the tag that is meant (NULL: all). 0, or the exit status after a message. */
static int one_name(const char *ref, bool all, bool quiet, char **name, const char **tag)
{
	split_reference(ref, name, tag);
	if (all && *tag)
		return cli_fail(1, "tag can't be used with --all-tags/-a");
	if (!all && !*tag) {
		*tag = "latest";
		if (!quiet)
			printf("Using default tag: latest\n");
	}
	return 0;
}

struct pull_opts {
	bool all_tags, disable_content_trust, quiet;
	const char *platform;
};
static const struct flag pull_flags[] = {
	FLAG(struct pull_opts, all_tags, "all-tags", 'a', "Download all tagged images in the repository"),
	FLAG(struct pull_opts, disable_content_trust, "disable-content-trust", 0, "Skip image verification", .def = "true", .check = check_no_trust),
	FLAG(struct pull_opts, platform, "platform", 0, "Set platform if server is multi-platform capable", .api = 132),
	FLAG(struct pull_opts, quiet, "quiet", 'q', "Suppress verbose output"),
	FLAG_END,
};

static int cmd_pull(struct call *call)
{
	const struct pull_opts *o = call->opts;
	const char *tag;
	char **operands = call->args;
	auto_reply struct reply r = REPLY_INIT;
	struct cs_err *err = NULL;
	cs_autofree char *name = NULL;

	int status = one_name(operands[0], o->all_tags, o->quiet, &name, &tag);
	if (status)
		return status;
	cs_autofree char *n = url_encode(name), *t = url_encode(tag ? tag : ""), *p = url_encode(o->platform), *auth = auth_header(name);
	cs_autofree char *path = cs_xasprintf("/images/create?fromImage=%s&tag=%s&platform=%s", n, t, p);
	client_registry_auth = auth;
	if (client_open("POST", path, NULL, 0, false, &r, &err) < 0)
		return cli_error(err, 1);
	status = show_progress(&r, o->quiet, stdout);
	if (status == 0)
		printf("%s%s%s\n", name, tag ? strchr(operands[0], '@') ? "@" : ":" : "", tag ? tag : "");
	return status;
}

int transfer_pull(const char *image, const char *platform, bool quiet, FILE *out)
{
	auto_reply struct reply r = REPLY_INIT;
	struct cs_err *err = NULL;
	cs_autoref struct cs_ref ref = {0};

	if (cs_ref_parse(image, &ref, &err) < 0)
		return cli_error(err, 125);
	cs_autofree char *name = cs_xasprintf("%s/%s", ref.domain, ref.path);
	cs_autofree char *auth = auth_header(image);
	cs_autofree char *n = url_encode(name), *t = url_encode(ref.digest ? ref.digest : ref.tag), *p = url_encode(platform);
	cs_autofree char *path = cs_xasprintf("/images/create?fromImage=%s%s%s&tag=%s", n, *p ? "&platform=" : "", p, t);
	client_registry_auth = auth;
	int opened = client_open("POST", path, NULL, 0, false, &r, &err);
	client_registry_auth = NULL;
	if (opened < 0)
		return cli_error(err, 125);
	return show_progress(&r, quiet, out) ? 125 : 0;
}

struct push_opts {
	bool all_tags, disable_content_trust, quiet;
	const char *platform;
};
static const struct flag push_flags[] = {
	FLAG(struct push_opts, all_tags, "all-tags", 'a', "Push all tags of an image to the repository"),
	FLAG(struct push_opts, disable_content_trust, "disable-content-trust", 0, "Skip image signing", .def = "true", .check = check_no_trust),
	FLAG(struct push_opts, platform, "platform", 0, "Push a platform-specific manifest as a single-platform image to the registry.\nImage index won't be pushed, meaning that other manifests, including attestations won't be preserved.\n'os[/arch[/variant]]': Explicit platform (eg. linux/amd64)", .refused = NOT_YET, .api = 146),
	FLAG(struct push_opts, quiet, "quiet", 'q', "Suppress verbose output"),
	FLAG_END,
};

static int cmd_push(struct call *call)
{
	const struct push_opts *o = call->opts;
	const char *tag;
	char **operands = call->args;
	auto_reply struct reply r = REPLY_INIT;
	struct cs_err *err = NULL;
	cs_autofree char *name = NULL;

	int status = one_name(operands[0], o->all_tags, o->quiet, &name, &tag);
	if (status)
		return status;
	cs_autofree char *n = url_encode(name), *t = url_encode(tag ? tag : ""), *auth = auth_header(name), *path = cs_xasprintf("/images/%s/push?tag=%s", n, t);
	client_registry_auth = auth;
	if (client_open("POST", path, NULL, 0, false, &r, &err) < 0)
		return cli_error(err, 1);
	status = show_progress(&r, o->quiet, stdout);
	if (status == 0 && o->quiet)
		printf("%s%s%s\n", name, tag ? ":" : "", tag ? tag : "");
	return status;
}

/* ---- archives ---- */

/* The body into a file that appears when it is complete, or to standard output. */
static int receive(struct reply *r, const char *output)
{
	cs_autofree char *tmp = output ? cs_xasprintf("%s.tmp-%d", output, getpid()) : NULL, *buf = cs_xmalloc(256 * 1024);
	cs_autofd int fd = output ? open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600) : dup(1);
	struct cs_err *err = NULL;
	ssize_t n = 0;
	int e = fd < 0 ? -errno : 0;

	while (e == 0 && (n = reply_read(r, buf, 256 * 1024, &err)) > 0)
		e = cs_write_full(fd, buf, (size_t)n);
	if (e == 0 && n == 0 && output && rename(tmp, output) < 0)
		e = -errno;
	if (e == 0 && n == 0)
		return 0;
	if (tmp)
		(void)unlink(tmp);
	if (n < 0)
		return cli_error(err, 1);
	cs_fail(&err, CS_ERR_INTERNAL, -e, "write %s", output ? output : "to standard output");
	return cli_error(err, 1);
}

struct save_opts {
	const char *output, *platform;
};
static const struct flag save_flags[] = {
	FLAG(struct save_opts, output, "output", 'o', "Write to a file, instead of STDOUT", .complete = COMP_FILES),
	FLAG(struct save_opts, platform, "platform", 0, "Save only the given platform variant. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")", .api = 148),
	FLAG_END,
};

static int cmd_save(struct call *call)
{
	const struct save_opts *o = call->opts;
	char **operands = call->args;
	cs_autostr struct cs_str path = CS_STR_INIT(1 << 20);
	auto_reply struct reply r = REPLY_INIT;
	struct cs_err *err = NULL;

	if (!o->output && isatty(1))
		return cli_fail(1, "cowardly refusing to save to a terminal. Use the -o flag or redirect");
	cs_str_puts(&path, "/images/get?names=");
	for (char **op = operands; *op; op++) {
		cs_autofree char *n = url_encode(*op);
		cs_str_putf(&path, "%s%s", op == operands ? "" : "&names=", n);
	}
	if (!cs_empty(o->platform)) {
		cs_autofree char *os = cs_xstrndup(o->platform, strcspn(o->platform, "/"));
		const char *arch = o->platform + strlen(os) + (o->platform[strlen(os)] == '/');
		cs_autofree char *a = cs_xstrndup(arch, strcspn(arch, "/"));
		const char *variant = arch + strlen(a) + (arch[strlen(a)] == '/');
		json_t *p = json_pack("{s:s,s:s,s:s}", "os", os, "architecture", a, "variant", variant);
		cs_autofree char *text = json_dumps(p, JSON_COMPACT), *e = url_encode(text);
		json_decref(p);
		cs_str_putf(&path, "&platform=%s", e);
	}
	if (client_open("GET", path.buf, NULL, 0, false, &r, &err) < 0)
		return cli_error(err, 1);
	return receive(&r, o->output);
}

struct load_opts {
	bool quiet;
	const char *input, *platform;
};
static const struct flag load_flags[] = {
	FLAG(struct load_opts, input, "input", 'i', "Read from tar archive file, instead of STDIN", .complete = COMP_FILES),
	FLAG(struct load_opts, platform, "platform", 0, "Load only the given platform variant. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")", .refused = NOT_YET, .api = 148),
	FLAG(struct load_opts, quiet, "quiet", 'q', "Suppress the load output"),
	FLAG_END,
};

static int cmd_load(struct call *call)
{
	const struct load_opts *o = call->opts;
	auto_reply struct reply r = REPLY_INIT;
	struct cs_err *err = NULL;

	if (!o->input && isatty(0))
		return cli_fail(1, "requested load from stdin, but stdin is empty");
	cs_autofd int fd = o->input ? open(o->input, O_RDONLY | O_CLOEXEC) : dup(0);
	if (fd < 0) {
		cs_fail(&err, CS_ERR_INVALID, errno, "open %s", o->input);
		return cli_error(err, 1);
	}
	if (client_upload("POST", o->quiet ? "/images/load?quiet=1" : "/images/load", fd, &r, &err) < 0)
		return cli_error(err, 1);
	return show_progress(&r, false, stdout);
}

struct export_opts {
	const char *output;
};
static const struct flag export_flags[] = {
	FLAG(struct export_opts, output, "output", 'o', "Write to a file, instead of STDOUT", .complete = COMP_FILES),
	FLAG_END,
};

static int cmd_export(struct call *call)
{
	const struct export_opts *o = call->opts;
	char **operands = call->args;
	auto_reply struct reply r = REPLY_INIT;
	struct cs_err *err = NULL;

	if (!o->output && isatty(1))
		return cli_fail(1, "cowardly refusing to save to a terminal. Use the -o flag or redirect");
	cs_autofree char *name = url_encode(operands[0]), *path = cs_xasprintf("/containers/%s/export", name);
	if (client_open("GET", path, NULL, 0, false, &r, &err) < 0)
		return cli_error(err, 1);
	return receive(&r, o->output);
}

struct commit_opts {
	bool pause;
	const char *author, *message;
	char **change;
};
static const struct flag commit_flags[] = {
	FLAG(struct commit_opts, author, "author", 'a', "Author (e.g., \"John Hannibal Smith <hannibal@a-team.com>\")"),
	FLAG(struct commit_opts, change, "change", 'c', "Apply Dockerfile instruction to the created image"),
	FLAG(struct commit_opts, message, "message", 'm', "Commit message"),
	FLAG(struct commit_opts, pause, "pause", 'p', "Pause container during commit", .def = "true"),
	FLAG_END,
};

static int cmd_commit(struct call *call)
{
	const struct commit_opts *o = call->opts;
	const char *tag = NULL;
	char **operands = call->args;
	cs_autostr struct cs_str path = CS_STR_INIT(1 << 20);
	struct cs_err *err = NULL;
	cs_autofree char *repo = NULL;
	json_t *j = NULL;

	if (operands[1])
		split_reference(operands[1], &repo, &tag);
	cs_autofree char *c = url_encode(operands[0]), *rn = url_encode(repo ? repo : ""), *t = url_encode(tag ? tag : ""), *a = url_encode(o->author), *m = url_encode(o->message);
	cs_str_putf(&path, "/commit?container=%s&repo=%s&tag=%s&author=%s&comment=%s&pause=%d", c, rn, t, a, m, o->pause);
	for (char **ch = o->change; ch && *ch; ch++) {
		cs_autofree char *e = url_encode(*ch);
		cs_str_putf(&path, "&changes=%s", e);
	}
	json_t *empty = json_object();
	int status = client_json("POST", path.buf, empty, &j, &err);
	json_decref(empty);
	if (status < 0)
		return cli_error(err, 1);
	printf("%s\n", jstr(j, "Id"));
	json_decref(j);
	return 0;
}

const struct command transfer_commands[] = {
	{.names = "image pull|pull", .usage = "[OPTIONS] NAME[:TAG|@DIGEST]", .help = "Download an image from a registry",
	 .min = 1, .max = 1, .complete = COMP_NONE, CMD_OPTS(struct pull_opts, pull_flags), .run = cmd_pull},
	{.names = "image push|push", .usage = "[OPTIONS] NAME[:TAG]", .help = "Upload an image to a registry",
	 .min = 1, .max = 1, .complete = COMP_IMAGE_THEN_NONE, CMD_OPTS(struct push_opts, push_flags), .run = cmd_push},
	{.names = "image save|save", .usage = "[OPTIONS] IMAGE [IMAGE...]", .help = "Save one or more images to a tar archive (streamed to STDOUT by default)",
	 .min = 1, .max = ANY, .complete = COMP_IMAGE, CMD_OPTS(struct save_opts, save_flags), .run = cmd_save},
	{.names = "image load|load", .usage = "[OPTIONS]", .help = "Load an image from a tar archive or STDIN",
	 .min = 0, .max = 0, CMD_OPTS(struct load_opts, load_flags), .run = cmd_load},
	{.names = "container commit|commit", .usage = "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]", .help = "Create a new image from a container's changes",
	 .min = 1, .max = 2, .complete = COMP_CONTAINER_THEN_NONE, CMD_OPTS(struct commit_opts, commit_flags), .run = cmd_commit},
	{.names = "container export|export", .usage = "[OPTIONS] CONTAINER", .help = "Export a container's filesystem as a tar archive",
	 .min = 1, .max = 1, .complete = COMP_CONTAINER_THEN_NONE, CMD_OPTS(struct export_opts, export_flags), .run = cmd_export},
	CMD_END,
};
