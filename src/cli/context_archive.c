/* SPDX-License-Identifier: Apache-2.0
 *
 * caisson context export, import: archives that docker's client makes and reads. */
#include <fcntl.h>

#include "base/io.h"
#include "base/json.h"
#include "cli/archive.h"
#include "cli/cli.h"
#include "cli/context.h"

#define MAX_FILES 100
#define META_FILE_MAX ((size_t)1 << 20) /* what is read again */

/* Puts an endpoint's folder and the files in it. */
static int export_endpoint(struct archive_writer *w, const struct context *c, const char *endpoint, const json_t *files, struct cs_err **err)
{
	cs_autofree char *dir = cs_xasprintf("tls/%s", endpoint);
	int r = archive_put(w, dir, 0700, NULL, 0, err);

	for (size_t i = 0; r == 0 && i < json_array_size(files); i++) {
		cs_autostr struct cs_str text = CS_STR_INIT(CONTEXT_FILE_MAX);
		const char *file = json_string_value(json_array_get(files, i));
		cs_autofree char *name = cs_xasprintf("%s/%s", dir, file);
		r = context_read_tls(c, endpoint, file, &text, err);
		if (r == 0)
			r = archive_put(w, name, 0600, text.buf ? text.buf : "", text.len, err);
	}
	return r;
}

static int export_to(const struct context *c, struct cs_str *out, struct cs_err **err)
{
	struct archive_writer *w = archive_begin(out, err);
	cs_autojson json_t *files = context_files(c);
	cs_autofree char *meta = json_dumps(c->meta, JSON_COMPACT);
	const char *endpoint;
	json_t *list;

	if (!w)
		return -1;
	int r = archive_put(w, "meta.json", 0644, meta, strlen(meta), err);
	if (r == 0)
		r = archive_put(w, "tls", 0700, NULL, 0, err);
	json_object_foreach(files, endpoint, list)
		if (r == 0)
			r = export_endpoint(w, c, endpoint, list, err);
	int end = archive_end(w, r < 0 ? NULL : err);
	return r < 0 ? r : end;
}

int context_export(struct call *c)
{
	cs_autofree char *file = c->args[1] ? cs_xstrdup(c->args[1]) : cs_xasprintf("%s.dockercontext", c->args[0]);
	cs_autostr struct cs_str out = CS_STR_INIT((size_t)16 << 20);
	auto_context struct context ctx = {0};
	struct cs_err *err = NULL;
	bool to_stdout = cs_streq(file, "-");

	if ((!cs_streq(c->args[0], "default") && context_check_name(c->args[0], &err) < 0) || context_get(c->args[0], &ctx, &err) < 0)
		return cli_error(err, 1);
	if (to_stdout && isatty(1))
		return cli_fail(1, "cowardly refusing to export to a terminal, specify a file path");
	if (export_to(&ctx, &out, &err) < 0)
		return cli_error(err, 1);
	cs_autofd int fd = to_stdout ? dup(1) : open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int e = fd < 0 ? -errno : cs_write_full(fd, out.buf, out.len);
	if (e == -EEXIST)
		return cli_fail(1, "open %s: file exists", file);
	if (e < 0)
		return cli_fail(1, "open %s: %s", file, cs_errno_text(-e));
	if (!to_stdout)
		fprintf(stderr, "Written file \"%s\"\n", file);
	return 0;
}

struct import_tls {
	char *endpoint, *file, *data;
	size_t len;
};
struct import {
	json_t *meta;
	struct import_tls tls[MAX_FILES];
	size_t tls_len, files, bytes;
};

/* What we, and docker, could not read again is not taken. */
static int check_meta(json_t *meta, struct cs_err **err)
{
	json_t *name = json_object_get(meta, "Name"), *about = json_object_get(meta, "Metadata"), *ends = json_object_get(meta, "Endpoints"), *v;
	const char *key;

	if (!json_is_object(meta))
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid context: meta.json is not a JSON object");
	bool good = (!name || json_is_string(name)) && (!about || json_is_object(about) || json_is_null(about)) && (!ends || json_is_object(ends) || json_is_null(ends));
	json_object_foreach(ends, key, v) good = good && json_is_object(v);
	return good ? 0 : cs_fail(err, CS_ERR_INVALID, 0, "invalid context: members of meta.json are of other kinds than a context's");
}

/* What path.Clean of Go would not change, and what it takes no part in: an absolute name is none of ours before. */
static bool is_clean(const char *path)
{
	for (const char *p = path; p; p = strchr(p, '/') ? strchr(p, '/') + 1 : NULL) {
		size_t n = strcspn(p, "/");
		if (n == 0 || (n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.'))
			return false;
	}
	return true;
}

/* Docker's rules and words. */
static const char *wrong_name(const char *name)
{
	if (!cs_streq(name, "meta.json") && !cs_prefix(name, "tls/"))
		return "unexpected context file";
	cs_autojson json_t *text = json_string(name); /* NULL: not UTF-8, which `inspect` could not show */
	if (!is_clean(name) || !text)
		return "unexpected path format";
	return strchr(name, '\\') ? "unexpected '\\' in path" : NULL;
}

static int import_file(void *ctx, const char *name, const char *data, size_t len, struct cs_err **err)
{
	struct import *im = ctx;
	const char *wrong = wrong_name(name);

	if (++im->files > MAX_FILES)
		return cs_fail(err, CS_ERR_INVALID, 0, "too many files in the archive");
	if (wrong)
		return cs_fail(err, CS_ERR_INVALID, 0, "%s: %s", name, wrong);
	im->bytes += len;
	if (im->bytes > CONTEXT_FILE_MAX)
		return cs_fail(err, CS_ERR_INVALID, 0, "read exceeds the defined limit");
	if (cs_streq(name, "meta.json")) {
		if (len > META_FILE_MAX)
			return cs_fail(err, CS_ERR_INVALID, 0, "meta.json is larger than %zu bytes", META_FILE_MAX);
		json_decref(im->meta);
		im->meta = json_loadb(data, len, 0, NULL);
		return check_meta(im->meta, err);
	}
	const char *endpoint = cs_prefix(name, "tls/"), *slash = strchr(endpoint, '/');
	if (!slash || strchr(slash + 1, '/')) /* of deeper ones docker says that there is no such folder, after half of the work */
		return cs_fail(err, CS_ERR_INVALID, 0, "archive format is invalid");
	im->tls[im->tls_len++] = (struct import_tls){
		.endpoint = cs_xstrndup(endpoint, (size_t)(slash - endpoint)), .file = cs_xstrdup(slash + 1), .data = cs_xstrndup(data, len), .len = len};
	return 0;
}

/* All of it, or nothing: what an earlier context of this name may have left goes first. */
static int import_store(const char *name, const struct import *im, struct cs_err **err)
{
	int r = context_remove(name, err);

	if (r == 0)
		r = context_save(name, im->meta, err);
	for (size_t i = 0; r == 0 && i < im->tls_len; i++)
		r = context_put_tls(name, im->tls[i].endpoint, im->tls[i].file, im->tls[i].data, im->tls[i].len, err);
	if (r < 0 && context_remove(name, NULL) < 0)
		return r; /* the first error says more */
	return r;
}

static int import(const char *name, const char *path, struct cs_err **err)
{
	struct import im = {0};
	cs_autofd int fd = cs_streq(path, "-") ? dup(0) : open(path, O_RDONLY | O_CLOEXEC);

	if (context_check_name(name, err) < 0)
		return -1;
	if (context_exists(name))
		return cs_fail(err, CS_ERR_CONFLICT, 0, "context \"%s\" already exists", name);
	if (fd < 0)
		return cs_fail(err, CS_ERR_INVALID, 0, "open %s: %s", path, errno == ENOENT ? "no such file or directory" : cs_errno_text(errno));
	int r = archive_each(fd, CONTEXT_FILE_MAX, import_file, &im, err);
	if (r == 0 && !im.meta)
		r = cs_fail(err, CS_ERR_INVALID, 0, "invalid context: no metadata found");
	if (r == 0)
		r = import_store(name, &im, err);
	for (size_t i = 0; i < im.tls_len; i++) {
		free(im.tls[i].endpoint);
		free(im.tls[i].file);
		free(im.tls[i].data);
	}
	json_decref(im.meta);
	return r;
}

int context_import(struct call *c)
{
	struct cs_err *err = NULL;

	if (import(c->args[0], c->args[1], &err) < 0)
		return cli_error(err, 1);
	return context_said(c->args[0], "imported");
}
