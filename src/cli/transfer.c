/* SPDX-License-Identifier: Apache-2.0
 *
 * Commands that move images: pull, push, save, load, commit, export. */
#include <ctype.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "cli/auth.h"
#include "cli/cli.h"
#include "cli/create.h"
#include "cli/platform.h"
#include "cli/progress.h"
#include "cli/transfer.h"
#include "registry/reference.h"

/* ---- pull, push ---- */

/* The one operand of both. 0, or the exit status after a message. */
static int one_name(const char *text, bool all, bool quiet, struct cs_ref *ref)
{
	struct cs_err *err = NULL;

	if (cs_ref_parse(text, ref, &err) < 0)
		return cli_error(err, 1);
	if (all && (ref->tag || ref->digest))
		return cli_fail(1, "tag can't be used with --all-tags/-a");
	if (!all && !ref->tag && !ref->digest) {
		cs_ref_default_tag(ref);
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
	FLAG(struct pull_opts, platform, "platform", 0, "Set platform if server is multi-platform capable", .values = VALUES_PLATFORMS, .api = 132),
	FLAG(struct pull_opts, quiet, "quiet", 'q', "Suppress verbose output"),
	FLAG_END,
};

/* Asks for an image; progress goes to out unless that is NULL. ref has a tag or digest, or every tag is meant. */
static int pull(const struct cs_ref *ref, const char *platform, FILE *out)
{
	auto_reply struct reply r = REPLY_INIT;
	struct cs_err *err = NULL;
	cs_autofree char *name = cs_xasprintf("%s/%s", ref->domain, ref->path), *full = cs_ref_full(ref), *auth = auth_header(full), *n = url_encode(name);
	cs_autofree char *t = url_encode(ref->digest ? ref->digest : ref->tag), *p = url_encode(platform_given(platform));
	cs_autofree char *path = cs_xasprintf("/images/create?fromImage=%s%s%s%s%s", n, *t ? "&tag=" : "", t, *p ? "&platform=" : "", p);

	client_registry_auth = auth;
	int opened = client_open("POST", path, NULL, 0, false, &r, &err);
	client_registry_auth = NULL;
	return opened < 0 ? cli_error(err, 1) : progress_show(&r, out, NULL);
}

static int cmd_pull(struct call *call)
{
	const struct pull_opts *o = call->opts;
	cs_autoref struct cs_ref ref = {0};
	int status = one_name(call->args[0], o->all_tags, o->quiet, &ref);

	if (status == 0)
		status = pull(&ref, o->platform, o->quiet ? NULL : stdout);
	if (status)
		return status;
	cs_autofree char *full = cs_ref_full(&ref);
	printf("%s\n", full);
	return 0;
}

int transfer_pull(const char *image, const char *platform, bool quiet, FILE *out)
{
	cs_autoref struct cs_ref ref = {0};
	struct cs_err *err = NULL;

	if (cs_ref_parse(image, &ref, &err) < 0)
		return cli_error(err, 125);
	cs_ref_default_tag(&ref);
	return pull(&ref, platform, quiet ? NULL : out) ? 125 : 0;
}

struct push_opts {
	bool all_tags, disable_content_trust, quiet;
	const char *platform;
};
static const struct flag push_flags[] = {
	FLAG(struct push_opts, all_tags, "all-tags", 'a', "Push all tags of an image to the repository"),
	FLAG(struct push_opts, disable_content_trust, "disable-content-trust", 0, "Skip image signing", .def = "true", .check = check_no_trust),
	FLAG(struct push_opts, platform, "platform", 0, "Push a platform-specific manifest as a single-platform image to the registry.\nImage index won't be pushed, meaning that other manifests, including attestations won't be preserved.\n'os[/arch[/variant]]': Explicit platform (eg. linux/amd64)", .api = 146),
	FLAG(struct push_opts, quiet, "quiet", 'q', "Suppress verbose output"),
	FLAG_END,
};

/* As docker prints notes: lines below the first are indented. */
static void note(const char *text)
{
	printf("\n Info -> ");
	for (const char *p = text; *p; p++) {
		(void)putchar(*p);
		if (*p == '\n')
			printf("         ");
	}
	printf("\n");
}

/* What push says for programs: that it did something else than was asked for. */
static void push_aux(void *ctx, const json_t *aux)
{
	char ***notes = ctx;

	if (json_is_true(json_object_get(aux, "manifestPushedInsteadOfIndex")))
		cs_strv_take(notes, cs_xasprintf("Not all multiplatform-content is present and only the available single-platform image was pushed\n%s -> %s",
						 jstr(json_object_get(aux, "originalIndex"), "digest"), jstr(json_object_get(aux, "selectedManifest"), "digest")));
	if (json_is_true(json_object_get(aux, "contentMissing")))
		cs_strv_push(notes, "You're trying to push a manifest list/index which references multiple platform specific manifests, but not all of them are available locally\n"
				    "or available to the remote repository. Make sure you have all the referenced content and try again.");
}

static int cmd_push(struct call *call)
{
	const struct push_opts *o = call->opts;
	auto_reply struct reply r = REPLY_INIT;
	cs_autoref struct cs_ref ref = {0};
	cs_autostrv char **notes = NULL;
	struct cs_err *err = NULL;

	cs_autofree char *platform = platform_query(o->platform, "&platform=", &err);
	if (!platform) {
		fprintf(stderr, "Invalid platform %s", o->platform);
		return cli_error(err, 1);
	}
	int status = one_name(call->args[0], o->all_tags, o->quiet, &ref);
	if (status)
		return status;
	if (ref.digest && !ref.tag)
		return cli_fail(1, "cannot push a digest reference");
	cs_autofree char *name = cs_xasprintf("%s/%s", ref.domain, ref.path), *full = cs_ref_full(&ref), *n = url_encode(name), *t = url_encode(ref.tag), *auth = auth_header(full);
	if (*platform)
		note("Using --platform pushes only the specified platform manifest of a multi-platform image index.\nOther components, like attestations, will not be included.\n"
		     "To push the complete multi-platform image, remove the --platform flag.\n");
	cs_autofree char *path = cs_xasprintf("/images/%s/push?tag=%s%s", n, t, platform); /* an empty tag: all of them */
	client_registry_auth = auth;
	if (client_open("POST", path, NULL, 0, false, &r, &err) < 0)
		return cli_error(err, 1);
	status = progress_show(&r, o->quiet ? NULL : stdout, &(struct progress_hooks){push_aux, &notes});
	if (status == 0 && o->quiet)
		printf("%s\n", full);
	for (char **p = notes; p && *p; p++)
		note(*p);
	return status;
}

/* ---- archives ---- */

/* What a file takes the place of must be a file: a rename over /dev/null would be the end of it. NULL, or what it is. */
static const char *not_a_file(mode_t mode)
{
	static const struct {
		mode_t kind;
		const char *words;
	} kinds[] = {{S_IFDIR, "a directory"}, {S_IFLNK, "a symbolic link directly"}, {S_IFCHR, "a character device file"}, {S_IFBLK, "a block device file"}, {S_IFIFO, "a named pipe (FIFO)"},
		     {S_IFSOCK, "a socket"}};

	for (size_t i = 0; i < CS_ARRAY_SIZE(kinds); i++)
		if ((mode & S_IFMT) == kinds[i].kind)
			return kinds[i].words;
	return NULL;
}

/* Whether there can be such a file, before the engine makes anything for it. -1 with an error. */
static int check_output(const char *output, const char *what, struct cs_err **err)
{
	struct stat st;

	if (cs_empty(output))
		return isatty(1) ? cs_fail(err, CS_ERR_INVALID, 0, "cowardly refusing to save to a terminal. Use the -o flag or redirect") : 0;
	if (lstat(output, &st) == 0) {
		const char *other = not_a_file(st.st_mode);
		return other ? cs_fail(err, CS_ERR_INVALID, 0, "failed to %s: cannot write to %s", what, other) : 0;
	}
	const char *slash = strrchr(output, '/');
	cs_autofree char *dir = slash ? cs_xstrndup(output, slash == output ? 1 : (size_t)(slash - output)) : cs_xstrdup(".");
	if (stat(dir, &st) == 0)
		return 0;
	cs_autofree char *why = cs_xstrdup(cs_errno_text(errno));
	*why = (char)tolower((unsigned char)*why);
	return cs_fail(err, CS_ERR_INVALID, 0, "failed to %s: invalid output path: stat %s: %s", what, dir, why);
}

/* The body into a file that appears when it is complete, or to standard output. */
static int receive(struct reply *r, const char *output)
{
	output = cs_empty(output) ? NULL : output;
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
	FLAG(struct save_opts, platform, "platform", 0, "Save only the given platform variant. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")", .values = VALUES_PLATFORMS, .api = 148),
	FLAG_END,
};

static int cmd_save(struct call *call)
{
	const struct save_opts *o = call->opts;
	char **operands = call->args;
	cs_autostr struct cs_str path = CS_STR_INIT(1 << 20);
	auto_reply struct reply r = REPLY_INIT;
	struct cs_err *err = NULL;

	if (check_output(o->output, "save image", &err) < 0)
		return cli_error(err, 1);
	cs_str_puts(&path, "/images/get?names=");
	for (char **op = operands; *op; op++) {
		cs_autofree char *n = url_encode(*op);
		cs_str_putf(&path, "%s%s", op == operands ? "" : "&names=", n);
	}
	cs_autofree char *platform = platform_query(o->platform, "&platform=", &err);
	if (!platform) {
		cs_wrap(&err, "invalid platform");
		return cli_error(err, 1);
	}
	cs_str_puts(&path, platform);
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
	FLAG(struct load_opts, platform, "platform", 0, "Load only the given platform variant. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")", .values = VALUES_PLATFORMS, .api = 148),
	FLAG(struct load_opts, quiet, "quiet", 'q', "Suppress the load output"),
	FLAG_END,
};

static int cmd_load(struct call *call)
{
	const struct load_opts *o = call->opts;
	auto_reply struct reply r = REPLY_INIT;
	struct cs_err *err = NULL;

	const char *input = cs_empty(o->input) ? NULL : o->input;
	if (!input && isatty(0))
		return cli_fail(1, "requested load from stdin, but stdin is empty");
	cs_autofd int fd = input ? open(input, O_RDONLY | O_CLOEXEC) : dup(0);
	if (fd < 0) {
		(void)create_open_failed(input, errno, &err);
		return cli_error(err, 1);
	}
	cs_autofree char *platform = platform_query(o->platform, "&platform=", &err);
	if (!platform) {
		cs_wrap(&err, "invalid platform");
		return cli_error(err, 1);
	}
	/* without a terminal there is nothing to draw on */
	cs_autofree char *path = cs_xasprintf("/images/load?quiet=%d%s", o->quiet || !isatty(1), platform);
	if (client_upload("POST", path, fd, &r, &err) < 0)
		return cli_error(err, 1);
	return progress_show(&r, stdout, NULL);
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

	if (check_output(o->output, "export container", &err) < 0)
		return cli_error(err, 1);
	cs_autofree char *name = url_encode(operands[0]), *path = cs_xasprintf("/containers/%s/export", name);
	if (client_named("container", operands[0], &err) < 0 || client_open("GET", path, NULL, 0, false, &r, &err) < 0)
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
	char **operands = call->args;
	cs_autostr struct cs_str path = CS_STR_INIT(1 << 20);
	struct cs_err *err = NULL;
	cs_autoref struct cs_ref ref = {0};
	cs_autofree char *c = url_encode(operands[0]), *a = url_encode(o->author), *m = url_encode(o->message);
	json_t *j = NULL;

	if (client_named("container", operands[0], &err) < 0 || (operands[1] && cs_ref_parse(operands[1], &ref, &err) < 0))
		return cli_error(err, 1);
	if (operands[1] && ref.digest)
		return cli_fail(1, "invalid repository name: a digest cannot be committed to");
	if (operands[1])
		cs_ref_default_tag(&ref);
	cs_str_putf(&path, "/commit?container=%s&author=%s&comment=%s&pause=%d", c, a, m, o->pause);
	if (operands[1])
		cs_str_putf(&path, "&repo=%s/%s&tag=%s", ref.domain, ref.path, ref.tag);
	for (char **ch = o->change; ch && *ch; ch++) {
		cs_autofree char *e = url_encode(*ch);
		cs_str_putf(&path, "&changes=%s", e);
	}
	if (client_json("POST", path.buf, NULL, &j, &err) < 0)
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
