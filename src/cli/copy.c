/* SPDX-License-Identifier: Apache-2.0
 *
 * cp. What ends up where is docker's (and by that cp(1)'s) table:
 *   destination is a directory        the source goes into it under its own name; "dir/." its content
 *   destination is a file             a file replaces it; a directory is refused
 *   destination is not there          a directory becomes it; a file too, unless the name ends in "/" */
#include "cli/copy.h"

#include <limits.h>
#include <sys/stat.h>

#include "base/base64.h"
#include "base/io.h"
#include "base/json.h"
#include "base/path.h"
#include "base/time.h"
#include "cli/auth.h"
#include "cli/cli.h"
#include "cli/copy_tree.h"
#include "cli/create.h"

/* ---- paths ---- */

static bool ends_in_slash(const char *p) { return *p && p[strlen(p) - 1] == '/'; }
static bool means_here(const char *p)
{
	size_t n = strlen(p);
	return n == 0 || strcmp(p, ".") == 0 || (n > 1 && p[n - 1] == '.' && p[n - 2] == '/');
}

void path_split(const char *path, char **dir, char **base)
{
	cs_autofree char *clean = cs_path_clean(path);

	if (*path && means_here(path) && strcmp(clean, ".") != 0) {
		*dir = cs_xstrdup(clean);
		*base = cs_xstrdup(".");
		return;
	}
	char *slash = strrchr(clean, '/');
	if (strcmp(clean, "/") == 0) {
		*dir = cs_xstrdup("/");
		*base = cs_xstrdup("/");
		return;
	}
	*base = cs_xstrdup(slash ? slash + 1 : clean);
	*dir = !slash ? cs_xstrdup(".") : slash == clean ? cs_xstrdup("/") : cs_xstrndup(clean, (size_t)(slash - clean));
}

/* Absolute, with the "/" or "/." at its end that tells what is meant. */
static char *local_path(const char *path)
{
	cs_autofree char *abs = path_absolute(path);

	if (!abs)
		return cs_xstrdup(path);
	if (means_here(path) && strcmp(abs, "/") != 0)
		return cs_xasprintf("%s/.", abs);
	return ends_in_slash(path) && strcmp(abs, "/") != 0 ? cs_xasprintf("%s/", abs) : TAKE_PTR(abs);
}

struct place {
	char *path; /* owned */
	bool exists, is_dir;
	char *name; /* of a source that was reached by a link: the link's own; owned, else NULL */
};

static void place_done(struct place *p)
{
	free(p->path);
	free(p->name);
}
#define auto_place cs_auto(place_done)

int copy_arrange(const struct copy_ends *e, char **dir, struct rebase *names, char **from, char **to, struct cs_err **err)
{
	cs_autofree char *src_dir = NULL, *src_base = NULL, *dst_dir = NULL, *dst_base = NULL;

	path_split(e->src, &src_dir, &src_base);
	path_split(e->dst, &dst_dir, &dst_base);
	if (e->src_name) {
		free(src_base);
		src_base = cs_xstrdup(e->src_name);
	}
	if (strcmp(src_base, "/") == 0)
		*src_base = 0;
	if (e->dst_exists && e->dst_is_dir) {
		*dir = cs_xstrdup(e->dst);
		return 0;
	}
	if (e->dst_exists && e->src_is_dir)
		return cs_fail(err, CS_ERR_INVALID, 0, "cannot copy directory");
	if (!e->dst_exists && !e->src_is_dir && (ends_in_slash(e->dst) || means_here(e->dst)))
		return cs_fail(err, CS_ERR_INVALID, 0, "no such directory");
	*dir = TAKE_PTR(dst_dir);
	*from = TAKE_PTR(src_base);
	*to = TAKE_PTR(dst_base);
	*names = (struct rebase){*from, *to};
	return 0;
}

/* ---- the container's side ---- */

struct stat_of {
	bool exists, is_dir, is_link;
	char *link; /* target; owned */
};

/* Go's FileMode: bit 31 directory, bit 27 symbolic link */
static void read_stat(const char *header, struct stat_of *s)
{
	size_t n = 0;
	cs_autofree char *text = header ? cs_base64_decode(header, &n) : NULL;
	cs_autojson json_t *j = text ? json_loadb(text, n, 0, NULL) : NULL;

	if (!j)
		return;
	int64_t mode = jint(j, "mode");
	s->exists = true;
	s->is_dir = mode & (1LL << 31);
	s->is_link = mode & (1LL << 27);
	free(s->link);
	s->link = cs_xstrdup(jstr(j, "linkTarget"));
}

static char *archive_path(const char *container, const char *path, const char *more)
{
	cs_autofree char *c = url_encode(container), *p = url_encode(path);
	return cs_xasprintf("/containers/%s/archive?path=%s%s", c, p, more);
}

/* What stands there, as far as the engine says: whatever is wrong comes again with the copy itself. */
static void remote_stat(const char *container, const char *path, struct stat_of *ret)
{
	auto_reply struct reply r = REPLY_INIT;
	cs_autofree char *url = archive_path(container, path, "");

	*ret = (struct stat_of){0};
	if (client_open("HEAD", url, NULL, 0, false, &r, NULL) == 0)
		read_stat(r.path_stat, ret);
}

/* A link's target as a path: relative ones stand beside the link. */
static char *link_target(const char *path, const char *target)
{
	cs_autofree char *dir = NULL, *base = NULL;

	if (*target == '/')
		return cs_xstrdup(target);
	path_split(path, &dir, &base);
	return cs_path_join(dir, target);
}

/* ---- progress ---- */

#define REDRAW_NS (100 * CS_NS_PER_MS)

/* What passes through a connection, told on a terminal: one line that is drawn anew ten times a second. */
struct flow {
	struct reply *r;
	const char *what; /* "Copying to container"; NULL: nobody looks */
	int64_t bytes, next;
};

static void flow_add(struct flow *f, int64_t n)
{
	int64_t now = f->what ? cs_monotonic_ns() : 0;

	f->bytes += n;
	if (!f->what || now < f->next)
		return;
	cs_autofree char *size = human_size(f->bytes);
	fprintf(stderr, "\r\033[K%s - %s", f->what, size);
	f->next = now + REDRAW_NS;
}

static void flow_end(const struct flow *f)
{
	if (f->what)
		fprintf(stderr, "\r\033[K");
}

static void say_done(int64_t bytes, const char *container, const char *path)
{
	cs_autofree char *size = human_size(bytes);
	fprintf(stderr, "Successfully copied %s to %s%s%s\n", size, container ? container : "", container ? ":" : "", path);
}

/* ---- from a container ---- */

static ssize_t from_reply(void *ctx, void *buf, size_t max, struct cs_err **err)
{
	struct flow *f = ctx;
	ssize_t n = reply_read(f->r, buf, max, err);

	flow_add(f, n > 0 ? n : 0);
	return n;
}

static int local_destination(const char *path, struct place *p, struct cs_err **err)
{
	struct stat st;

	p->path = cs_xstrdup(path);
	if (stat(path, &st) == 0) {
		p->exists = true;
		p->is_dir = S_ISDIR(st.st_mode);
		if (!p->is_dir && (ends_in_slash(path) || means_here(path)))
			return cs_fail(err, CS_ERR_INVALID, 0, "stat %s: not a directory", path);
		return 0;
	}
	if (errno == ENOTDIR)
		return cs_fail(err, CS_ERR_INVALID, 0, "stat %s: not a directory", path);
	cs_autofree char *dir = NULL, *base = NULL;
	path_split(path, &dir, &base);
	if (stat(dir, &st) < 0 || !S_ISDIR(st.st_mode))
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid output path: directory \"%s\" does not exist", dir);
	return 0;
}

static int dump(struct reply *r, struct cs_err **err)
{
	char buf[65536];
	ssize_t n;

	while ((n = reply_read(r, buf, sizeof(buf), err)) > 0) {
		int e = cs_write_full(1, buf, (size_t)n);
		if (e < 0)
			return cs_fail(err, CS_ERR_INTERNAL, -e, "write to standard output");
	}
	return (int)n;
}

static int from_container(const struct copy_request *q, int64_t *bytes, struct cs_err **err)
{
	auto_reply struct reply r = REPLY_INIT;
	auto_place struct place dst = {0};
	struct stat_of st = {0};
	cs_autofree char *src = cs_xstrdup(q->src), *own = NULL, *dir = NULL, *from = NULL, *to = NULL;
	struct rebase names = {0};
	bool out = strcmp(q->dst, "-") == 0;

	if (!out && local_destination(q->dst, &dst, err) < 0)
		return -1;
	if (q->follow) {
		remote_stat(q->container, src, &st);
		cs_autofree char *link = TAKE_PTR(st.link);
		if (st.is_link && !cs_empty(link)) { /* the target's content under the link's name */
			cs_autofree char *d = NULL;
			path_split(src, &d, &own);
			char *target = link_target(src, link);
			free(src);
			src = target;
		}
	}
	cs_autofree char *url = archive_path(q->container, src, "");
	if (client_open("GET", url, NULL, 0, false, &r, err) < 0)
		return -1;
	if (out)
		return dump(&r, err);
	read_stat(r.path_stat, &st);
	free(TAKE_PTR(st.link));
	cs_autofree char *src_dir = NULL, *src_base = NULL;
	path_split(src, &src_dir, &src_base);
	const struct copy_ends ends = {.src = src, .src_name = NULL, .src_is_dir = st.is_dir, .dst = dst.path, .dst_exists = dst.exists, .dst_is_dir = dst.is_dir};
	if (copy_arrange(&ends, &dir, &names, &from, &to, err) < 0)
		return -1;
	if (own && !names.from) /* into a directory, under the link's name */
		names = (struct rebase){src_base, own};
	struct flow f = {.r = &r, .what = q->quiet ? NULL : "Copying from container"};
	int result = tree_receive(dir, &names, from_reply, &f, bytes, err);
	flow_end(&f);
	return result;
}

/* ---- into a container ---- */

static int to_engine(void *ctx, const void *data, size_t len, struct cs_err **err)
{
	struct flow *f = ctx;

	flow_add(f, (int64_t)len);
	return client_stream_put(f->r, data, len, err);
}

/* The destination in the container; links in its last place are followed, since a copy goes to what they mean. */
static void remote_destination(const struct copy_request *q, struct place *p)
{
	struct stat_of st;

	p->path = cs_xstrdup(q->dst);
	remote_stat(q->container, p->path, &st);
	cs_autofree char *link = TAKE_PTR(st.link);
	if (st.is_link && !cs_empty(link)) {
		char *target = link_target(p->path, link);
		free(p->path);
		p->path = target;
		remote_stat(q->container, p->path, &st);
		free(st.link);
	}
	p->exists = st.exists;
	p->is_dir = st.is_dir;
}

static int local_source(const struct copy_request *q, struct place *p, struct cs_err **err)
{
	struct stat st;

	p->path = cs_xstrdup(q->src);
	if (q->follow) {
		char real[PATH_MAX];
		if (realpath(q->src, real) && lstat(q->src, &st) == 0 && S_ISLNK(st.st_mode)) {
			cs_autofree char *dir = NULL;
			path_split(q->src, &dir, &p->name);
			free(p->path);
			p->path = cs_xstrdup(real);
		}
	}
	if (lstat(p->path, &st) < 0) {
		cs_autofree char *clean = cs_path_clean(p->path);
		cs_autofree char *why = cs_xstrdup(cs_errno_text(errno));
		*why = (char)(*why | 0x20);
		return cs_fail(err, CS_ERR_NOT_FOUND, 0, "lstat %s: %s", clean, why);
	}
	p->exists = true;
	p->is_dir = S_ISDIR(st.st_mode);
	return 0;
}

static int send_stdin(struct reply *r, struct cs_err **err)
{
	cs_autofree char *buf = cs_xmalloc(256 << 10);
	ssize_t n;
	int put = 0;

	while (put == 0 && (n = cs_read_full(0, buf, 256 << 10)) != 0) {
		if (n < 0)
			return cs_fail(err, CS_ERR_INTERNAL, (int)-n, "read standard input");
		put = client_stream_put(r, buf, (size_t)n, err);
	}
	return put < 0 ? -1 : 0;
}

static int to_container(const struct copy_request *q, int64_t *bytes, struct cs_err **err)
{
	auto_reply struct reply r = REPLY_INIT;
	auto_place struct place dst = {0}, src = {0};
	cs_autofree char *dir = NULL, *from = NULL, *to = NULL;
	struct rebase names = {0};
	bool in = strcmp(q->src, "-") == 0;

	if (!in && local_source(q, &src, err) < 0)
		return -1;
	remote_destination(q, &dst);
	if (in && !dst.is_dir)
		return cs_fail(err, CS_ERR_INVALID, 0, "destination \"%s:%s\" must be a directory", q->container, q->dst);
	if (in)
		dir = cs_xstrdup(dst.path);
	const struct copy_ends ends = {.src = src.path, .src_name = src.name, .src_is_dir = src.is_dir, .dst = dst.path, .dst_exists = dst.exists, .dst_is_dir = dst.is_dir};
	if (!in && copy_arrange(&ends, &dir, &names, &from, &to, err) < 0)
		return -1;
	cs_autofree char *url = archive_path(q->container, dir, q->archive ? "&noOverwriteDirNonDir=true&copyUIDGID=true" : "&noOverwriteDirNonDir=true");
	if (client_stream_begin("PUT", url, &r, err) < 0)
		return -1;
	if (in)
		return send_stdin(&r, err) < 0 ? -1 : client_stream_end(&r, err);
	cs_autofree char *src_dir = NULL, *src_base = NULL;
	path_split(src.path, &src_dir, &src_base);
	if (src.name && !names.from) /* into a directory, under the link's name */
		names = (struct rebase){src_base, src.name};
	else if (src.name)
		names.from = src_base;
	const char *base = strcmp(src_base, "/") == 0 ? "." : src_base;
	struct flow f = {.r = &r, .what = q->quiet ? NULL : "Copying to container"};
	int result = tree_send(src_dir, base, names.from ? &names : NULL, to_engine, &f, bytes, err);
	flow_end(&f);
	return result < 0 ? -1 : client_stream_end(&r, err);
}

/* ---- the command ---- */

/* CONTAINER:PATH or PATH: an absolute path, and one that begins with ".", is local whatever colons it has. */
static void split_operand(const char *arg, char **container, const char **path)
{
	const char *colon = strchr(arg, ':');

	*container = NULL;
	*path = arg;
	if (*arg == '/' || !colon || *arg == '.')
		return;
	if (colon == arg) { /* no container's name, as for docker */
		*path = colon + 1;
		return;
	}
	*container = cs_xstrndup(arg, (size_t)(colon - arg));
	*path = colon + 1;
}

struct cp_opts {
	bool archive, follow, quiet;
};
static const struct flag cp_flags[] = {
	FLAG(struct cp_opts, archive, "archive", 'a', "Archive mode (copy all uid/gid information)"),
	FLAG(struct cp_opts, follow, "follow-link", 'L', "Always follow symbol link in SRC_PATH"),
	FLAG(struct cp_opts, quiet, "quiet", 'q', "Suppress progress output during copy. Progress output is automatically suppressed if no terminal is attached"),
	FLAG_END,
};

static int cmd_cp(struct call *c)
{
	const struct cp_opts *o = c->opts;
	cs_autofree char *src_container = NULL, *dst_container = NULL, *local = NULL;
	const char *src, *dst;
	struct cs_err *err = NULL;
	int64_t bytes = 0;

	if (!*c->args[0])
		return cli_fail(1, "source can not be empty");
	if (!*c->args[1])
		return cli_fail(1, "destination can not be empty");
	split_operand(c->args[0], &src_container, &src);
	split_operand(c->args[1], &dst_container, &dst);
	if (src_container && dst_container)
		return cli_fail(1, "copying between containers is not supported");
	if (!src_container && !dst_container)
		return cli_fail(1, "must specify at least one container source");
	struct copy_request q = {.container = src_container ? src_container : dst_container, .src = src, .dst = dst, .archive = o->archive, .follow = o->follow,
				 .quiet = o->quiet || !isatty(2)};
	if (src_container && strcmp(dst, "-") == 0 && isatty(1))
		return cli_fail(1, "refusing to copy to terminal, redirect the archive to a file");
	if (strcmp(src_container ? dst : src, "-") != 0) {
		local = local_path(src_container ? dst : src);
		*(src_container ? &q.dst : &q.src) = local;
	}
	int r = src_container ? from_container(&q, &bytes, &err) : to_container(&q, &bytes, &err);
	if (r < 0)
		return cli_error(err, 1);
	if (strcmp(dst, "-") != 0 && !q.quiet)
		say_done(bytes, dst_container, src_container ? local : dst);
	return 0;
}

const struct command copy_commands[] = {
	{.names = "container cp|cp", .usage = "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n[OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
	 .help = "Copy files/folders between a container and the local filesystem",
	 .about = "Copy files/folders between a container and the local filesystem\n\nUse '-' as the source to read a tar archive from stdin\n"
		  "and extract it to a directory destination in a container.\nUse '-' as the destination to stream a tar archive of a\ncontainer source to stdout.",
	 .min = 2, .max = 2, .complete = COMP_FILES, CMD_OPTS(struct cp_opts, cp_flags), .run = cmd_cp},
	CMD_END,
};
