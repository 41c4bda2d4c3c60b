/* SPDX-License-Identifier: Apache-2.0
 *
 * Commands that move images: pull, push, save, load, commit, export. */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "cli/cli.h"

/* ---- progress: one JSON object per line ---- */

/* Lines for a reader and for logs alike: a state per layer when it changes, no bars. */
static int show_progress(struct reply *r, bool quiet)
{
	struct cs_err *err = NULL;
	char *line;
	int status = 0;

	while ((line = reply_line(r, &err))) {
		json_t *j = json_loads(line, 0, NULL);
		bool bar = json_object_size(json_object_get(j, "progressDetail")) > 0;
		if (*jstr(j, "error")) {
			(void)fflush(stdout);
			(void)fprintf(stderr, "%s\n", jstr(j, "error"));
			status = 1;
		} else if (*jstr(j, "stream")) {
			fputs(jstr(j, "stream"), stdout);
		} else if (!quiet && !bar && *jstr(j, "status")) {
			const char *id = jstr(j, "id");
			printf("%s%s%s\n", id, *id ? ": " : "", jstr(j, "status"));
		}
		(void)fflush(stdout);
		json_decref(j);
		free(line);
	}
	return err ? cli_error(err, 1) : status;
}

/* ---- credentials: what `docker login` wrote ---- */

static char *base64(const char *data, size_t len)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	struct cs_str out = CS_STR_INIT(1 << 20);

	for (size_t i = 0; i < len; i += 3) {
		unsigned v = (unsigned)(unsigned char)data[i] << 16 | (i + 1 < len ? (unsigned)(unsigned char)data[i + 1] << 8 : 0) |
			     (i + 2 < len ? (unsigned)(unsigned char)data[i + 2] : 0);
		char four[4] = {digits[v >> 18], digits[v >> 12 & 63], i + 1 < len ? digits[v >> 6 & 63] : '=', i + 2 < len ? digits[v & 63] : '='};
		cs_str_put(&out, four, 4);
	}
	return cs_str_steal(&out);
}

static int digit(char c)
{
	return c >= 'A' && c <= 'Z' ? c - 'A' : c >= 'a' && c <= 'z' ? c - 'a' + 26 : c >= '0' && c <= '9' ? c - '0' + 52 : c == '+' ? 62 : c == '/' ? 63 : -1;
}

static char *unbase64(const char *s)
{
	struct cs_str out = CS_STR_INIT(1 << 16);
	unsigned v = 0, bits = 0;

	for (; *s && *s != '='; s++) {
		int d = digit(*s);
		if (d < 0)
			break;
		v = v << 6 | (unsigned)d;
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			cs_str_putc(&out, (char)(v >> bits & 0xff));
		}
	}
	char *text = cs_str_steal(&out);
	return text ? text : cs_xstrdup("");
}

/* The registry that an image name begins with, as config.json names it. Caller frees. */
static char *registry_of(const char *name)
{
	const char *slash = strchr(name, '/');
	size_t n = slash ? (size_t)(slash - name) : 0;

	if (n && (memchr(name, '.', n) || memchr(name, ':', n) || (n == 9 && memcmp(name, "localhost", 9) == 0)))
		return cs_xstrndup(name, n);
	return cs_xstrdup("https://index.docker.io/v1/");
}

static json_t *read_config(void)
{
	const char *dir = getenv("DOCKER_CONFIG"), *home = getenv("HOME");
	cs_autofree char *path = !cs_empty(dir) ? cs_xasprintf("%s/config.json", dir) : cs_xasprintf("%s/.docker/config.json", home ? home : "");

	return json_load_file(path, 0, NULL);
}

/* Value of X-Registry-Auth; that of nobody when there are no credentials. Caller frees. */
static char *registry_auth(const char *name)
{
	json_t *config = read_config(), *out = json_object();
	cs_autofree char *host = registry_of(name);
	json_t *entry = json_object_get(json_object_get(config, "auths"), host);
	cs_autofree char *pair = unbase64(jstr(entry, "auth"));
	char *colon = strchr(pair, ':');

	if (colon) {
		*colon = 0;
		(void)json_object_set_new(out, "username", json_string(pair));
		(void)json_object_set_new(out, "password", json_string(colon + 1));
	}
	if (*jstr(entry, "identitytoken"))
		(void)json_object_set_new(out, "identitytoken", json_string(jstr(entry, "identitytoken")));
	if (json_object_size(out))
		(void)json_object_set_new(out, "serveraddress", json_string(host));
	cs_autofree char *text = json_dumps(out, JSON_COMPACT);
	json_decref(out);
	json_decref(config);
	return base64(text, strlen(text));
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
static int one_name(const char *cmd, char **operands, bool all, bool quiet, char **name, const char **tag)
{
	if (!operands)
		return 125;
	if (!operands[0] || operands[1])
		return cli_usage(cmd, "requires exactly 1 argument");
	split_reference(operands[0], name, tag);
	if (all && *tag)
		return cli_usage(cmd, "tag can't be used with --all-tags/-a");
	if (!all && !*tag) {
		*tag = "latest";
		if (!quiet)
			printf("Using default tag: latest\n");
	}
	return 0;
}

static int cmd_pull(char **argv)
{
	bool all = false, quiet = false;
	const char *platform = "", *tag;
	const struct opt opts[] = {{"all-tags", 'a', OPT_BOOL, &all, "Pull every tag of the repository"}, {"platform", 0, OPT_STR, &platform, "os[/arch[/variant]] to choose"},
				   {"quiet", 'q', OPT_BOOL, &quiet, "Print the name only"}, OPT_END};
	char **operands = opt_parse(argv, opts, false, "pull [OPTIONS] NAME[:TAG|@DIGEST]");
	auto_reply struct reply r = REPLY_INIT;
	struct cs_err *err = NULL;
	cs_autofree char *name = NULL;

	int status = one_name(argv[0], operands, all, quiet, &name, &tag);
	if (status)
		return status;
	cs_autofree char *n = url_encode(name), *t = url_encode(tag ? tag : ""), *p = url_encode(platform), *auth = registry_auth(name);
	cs_autofree char *path = cs_xasprintf("/images/create?fromImage=%s&tag=%s&platform=%s", n, t, p);
	client_registry_auth = auth;
	if (client_open("POST", path, NULL, 0, false, &r, &err) < 0)
		return cli_error(err, 1);
	status = show_progress(&r, quiet);
	if (status == 0)
		printf("%s%s%s\n", name, tag ? strchr(operands[0], '@') ? "@" : ":" : "", tag ? tag : "");
	return status;
}

static int cmd_push(char **argv)
{
	bool all = false, quiet = false;
	const char *tag;
	const struct opt opts[] = {{"all-tags", 'a', OPT_BOOL, &all, "Push every tag of the repository"}, {"quiet", 'q', OPT_BOOL, &quiet, "Print the name only"}, OPT_END};
	char **operands = opt_parse(argv, opts, false, "push [OPTIONS] NAME[:TAG]");
	auto_reply struct reply r = REPLY_INIT;
	struct cs_err *err = NULL;
	cs_autofree char *name = NULL;

	int status = one_name(argv[0], operands, all, quiet, &name, &tag);
	if (status)
		return status;
	cs_autofree char *n = url_encode(name), *t = url_encode(tag ? tag : ""), *auth = registry_auth(name), *path = cs_xasprintf("/images/%s/push?tag=%s", n, t);
	client_registry_auth = auth;
	if (client_open("POST", path, NULL, 0, false, &r, &err) < 0)
		return cli_error(err, 1);
	status = show_progress(&r, quiet);
	if (status == 0 && quiet)
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

static bool to_terminal(const char *cmd, const char *output)
{
	if (output || !isatty(1))
		return false;
	fprintf(stderr, "caisson %s: cowardly refusing to save to a terminal. Use the -o flag or redirect\n", cmd);
	return true;
}

static int cmd_save(char **argv)
{
	const char *output = NULL, *platform = "";
	const struct opt opts[] = {{"output", 'o', OPT_STR, &output, "File to write instead of standard output"}, {"platform", 0, OPT_STR, &platform, "os[/arch[/variant]] to save"}, OPT_END};
	char **operands = opt_parse(argv, opts, false, "save [OPTIONS] IMAGE [IMAGE...]");
	cs_autostr struct cs_str path = CS_STR_INIT(1 << 20);
	auto_reply struct reply r = REPLY_INIT;
	struct cs_err *err = NULL;

	if (!operands)
		return 125;
	if (!operands[0])
		return cli_usage(argv[0], "requires at least 1 argument");
	if (to_terminal(argv[0], output))
		return 1;
	cs_str_puts(&path, "/images/get?names=");
	for (char **o = operands; *o; o++) {
		cs_autofree char *n = url_encode(*o);
		cs_str_putf(&path, "%s%s", o == operands ? "" : "&names=", n);
	}
	if (*platform) {
		cs_autofree char *os = cs_xstrndup(platform, strcspn(platform, "/"));
		const char *arch = platform + strlen(os) + (platform[strlen(os)] == '/');
		cs_autofree char *a = cs_xstrndup(arch, strcspn(arch, "/"));
		const char *variant = arch + strlen(a) + (arch[strlen(a)] == '/');
		json_t *p = json_pack("{s:s,s:s,s:s}", "os", os, "architecture", a, "variant", variant);
		cs_autofree char *text = json_dumps(p, JSON_COMPACT), *e = url_encode(text);
		json_decref(p);
		cs_str_putf(&path, "&platform=%s", e);
	}
	if (client_open("GET", path.buf, NULL, 0, false, &r, &err) < 0)
		return cli_error(err, 1);
	return receive(&r, output);
}

static int cmd_load(char **argv)
{
	const char *input = NULL;
	bool quiet = false;
	const struct opt opts[] = {{"input", 'i', OPT_STR, &input, "File to read instead of standard input"}, {"quiet", 'q', OPT_BOOL, &quiet, "No progress"}, OPT_END};
	char **operands = opt_parse(argv, opts, false, "load [OPTIONS]");
	auto_reply struct reply r = REPLY_INIT;
	struct cs_err *err = NULL;

	if (!operands)
		return 125;
	if (operands[0])
		return cli_usage(argv[0], "accepts no arguments");
	if (!input && isatty(0)) {
		fprintf(stderr, "caisson load: requested load from stdin, but stdin is empty\n");
		return 1;
	}
	cs_autofd int fd = input ? open(input, O_RDONLY | O_CLOEXEC) : dup(0);
	if (fd < 0) {
		cs_fail(&err, CS_ERR_INVALID, errno, "open %s", input);
		return cli_error(err, 1);
	}
	if (client_upload(quiet ? "/images/load?quiet=1" : "/images/load", fd, &r, &err) < 0)
		return cli_error(err, 1);
	return show_progress(&r, false);
}

static int cmd_export(char **argv)
{
	const char *output = NULL;
	const struct opt opts[] = {{"output", 'o', OPT_STR, &output, "File to write instead of standard output"}, OPT_END};
	char **operands = opt_parse(argv, opts, false, "export [OPTIONS] CONTAINER");
	auto_reply struct reply r = REPLY_INIT;
	struct cs_err *err = NULL;

	if (!operands)
		return 125;
	if (!operands[0] || operands[1])
		return cli_usage(argv[0], "requires exactly 1 argument");
	if (to_terminal(argv[0], output))
		return 1;
	cs_autofree char *name = url_encode(operands[0]), *path = cs_xasprintf("/containers/%s/export", name);
	if (client_open("GET", path, NULL, 0, false, &r, &err) < 0)
		return cli_error(err, 1);
	return receive(&r, output);
}

static int cmd_commit(char **argv)
{
	char **changes = NULL;
	const char *author = "", *message = "", *tag = NULL;
	bool pause = true;
	const struct opt opts[] = {{"author", 'a', OPT_STR, &author, "Author"}, {"change", 'c', OPT_LIST, &changes, "Apply a Dockerfile instruction"},
				   {"message", 'm', OPT_STR, &message, "Commit message"}, {"pause", 'p', OPT_BOOL, &pause, "Pause the container meanwhile (default true)"}, OPT_END};
	char **operands = opt_parse(argv, opts, false, "commit [OPTIONS] CONTAINER [REPOSITORY[:TAG]]");
	cs_autostr struct cs_str path = CS_STR_INIT(1 << 20);
	struct cs_err *err = NULL;
	cs_autofree char *repo = NULL;
	json_t *j = NULL;

	if (!operands)
		return 125;
	if (!operands[0] || (operands[1] && operands[2]))
		return cli_usage(argv[0], "requires 1 or 2 arguments");
	if (operands[1])
		split_reference(operands[1], &repo, &tag);
	cs_autofree char *c = url_encode(operands[0]), *rn = url_encode(repo ? repo : ""), *t = url_encode(tag ? tag : ""), *a = url_encode(author), *m = url_encode(message);
	cs_str_putf(&path, "/commit?container=%s&repo=%s&tag=%s&author=%s&comment=%s&pause=%d", c, rn, t, a, m, pause);
	for (char **ch = changes; ch && *ch; ch++) {
		cs_autofree char *e = url_encode(*ch);
		cs_str_putf(&path, "&changes=%s", e);
	}
	cs_strv_free(changes);
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
	{"pull", cmd_pull, "Get an image from a registry"},
	{"push", cmd_push, "Give an image to a registry"},
	{"save", cmd_save, "Write images into an archive"},
	{"load", cmd_load, "Read images from an archive"},
	{"commit", cmd_commit, "Make an image from a container's changes"},
	{"export", cmd_export, "Write a container's file system into an archive"},
	{NULL, NULL, NULL},
};
