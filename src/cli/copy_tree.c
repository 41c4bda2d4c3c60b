/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/copy_tree.h"

#include <sys/stat.h>

#include "base/path.h"
#include "cli/archive_lib.h"

#define BLOCK (256 << 10)

char *rebase_name(const struct rebase *r, const char *name)
{
	if (!r || !r->from)
		return NULL;
	size_t n = strlen(r->from);
	const char *at = n ? strstr(name, r->from) : name; /* as Go: the first place it stands in */
	if (!at)
		return NULL;
	return cs_xasprintf("%.*s%s%s", (int)(at - name), name, r->to, at + n);
}

/* ---- out ---- */

struct send {
	int (*sink)(void *ctx, const void *data, size_t len, struct cs_err **err);
	void *ctx;
	struct cs_err **err;
	bool stopped;
	struct archive *disk, *out;
	struct archive_entry_linkresolver *links;
	const struct rebase *names;
	int64_t bytes;
};

static la_ssize_t on_write(struct archive *a, void *ctx, const void *data, size_t len)
{
	struct send *s = ctx;
	int r = s->sink(s->ctx, data, len, s->err);

	s->stopped |= r != 0;
	return r == 0 ? (la_ssize_t)len : -1;
}

static int out_failed(struct send *s, const char *what)
{
	if (s->stopped)
		return -1; /* told by the sink */
	return cs_fail(s->err, CS_ERR_INTERNAL, 0, "%s: %s", what, A(error_string)(s->out));
}

static int send_content(struct send *s, const char *name)
{
	const void *data;
	size_t len;
	la_int64_t off, at = 0;
	int r;
	static const char zeros[4096];

	while ((r = A(read_data_block)(s->disk, &data, &len, &off)) == ARCHIVE_OK) {
		for (; at < off; at += (la_int64_t)CS_MIN((la_int64_t)sizeof(zeros), off - at))
			if (A(write_data)(s->out, zeros, (size_t)CS_MIN((la_int64_t)sizeof(zeros), off - at)) < 0)
				return out_failed(s, name);
		if (A(write_data)(s->out, data, len) < 0)
			return out_failed(s, name);
		at += (la_int64_t)len;
		s->bytes += (int64_t)len;
	}
	return r == ARCHIVE_EOF ? 0 : cs_fail(s->err, CS_ERR_INTERNAL, 0, "read %s: %s", name, A(error_string)(s->disk));
}

static int send_entry(struct send *s, struct archive_entry *e)
{
	struct archive_entry *spare = NULL;
	cs_autofree char *name = cs_xstrdup(A(entry_pathname)(e)), *renamed = rebase_name(s->names, name);

	if (A(entry_filetype)(e) == AE_IFSOCK)
		return 0; /* a tar cannot hold it */
	A(entry_sparse_clear)(e);
	A(entry_linkify)(s->links, &e, &spare);
	const char *link = A(entry_hardlink)(e);
	cs_autofree char *target = link ? rebase_name(s->names, link) : NULL;
	if (target)
		A(entry_set_hardlink)(e, target);
	if (renamed)
		A(entry_set_pathname)(e, renamed);
	if (A(write_header)(s->out, e) < ARCHIVE_WARN)
		return out_failed(s, name);
	return A(entry_filetype)(e) == AE_IFREG && A(entry_size)(e) > 0 && !link ? send_content(s, name) : 0;
}

static int walk(struct send *s, const char *base)
{
	struct archive_entry *e = A(entry_new)();
	int result = 0;

	if (A(read_disk_open)(s->disk, base) != ARCHIVE_OK)
		result = cs_fail(s->err, CS_ERR_NOT_FOUND, 0, "%s", A(error_string)(s->disk));
	while (result == 0) {
		int r = A(read_next_header2)(s->disk, e);
		if (r == ARCHIVE_EOF)
			break;
		if (r < ARCHIVE_WARN) {
			result = cs_fail(s->err, CS_ERR_INTERNAL, 0, "read %s: %s", base, A(error_string)(s->disk));
			break;
		}
		(void)A(read_disk_descend)(s->disk);
		result = send_entry(s, e);
	}
	A(entry_free)(e);
	return result;
}

int tree_send(const char *dir, const char *base, const struct rebase *names, int (*sink)(void *ctx, const void *data, size_t len, struct cs_err **err),
	      void *ctx, int64_t *bytes, struct cs_err **err)
{
	struct send s = {.sink = sink, .ctx = ctx, .err = err, .names = names};
	struct stat st;

	if (archive_lib_load(err) < 0)
		return -1;
	if (chdir(dir) < 0 || lstat(base, &st) < 0)
		return cs_fail(err, CS_ERR_NOT_FOUND, errno, "lstat %s/%s", dir, base);
	s.disk = A(read_disk_new)();
	s.out = A(write_new)();
	s.links = A(entry_linkresolver_new)();
	(void)A(read_disk_set_symlink_physical)(s.disk);
	(void)A(read_disk_set_behavior)(s.disk, 0);
	(void)A(write_set_format_pax_restricted)(s.out);
	(void)A(write_set_bytes_per_block)(s.out, BLOCK);
	A(entry_linkresolver_set_strategy)(s.links, ARCHIVE_FORMAT_TAR_PAX_RESTRICTED);
	int r = A(write_open)(s.out, &s, NULL, on_write, NULL) == ARCHIVE_OK ? walk(&s, base) : out_failed(&s, "begin the archive");
	if (r == 0 && A(write_close)(s.out) != ARCHIVE_OK)
		r = out_failed(&s, "end the archive");
	A(entry_linkresolver_free)(s.links);
	(void)A(read_free)(s.disk);
	(void)A(write_free)(s.out);
	*bytes = s.bytes;
	return r < 0 && s.stopped && !(err && *err) ? 0 : r; /* the engine stopped reading: its answer is to come */
}

/* ---- in ---- */

struct receive {
	ssize_t (*source)(void *ctx, void *buf, size_t max, struct cs_err **err);
	void *ctx;
	struct cs_err **err;
	struct archive *in, *disk;
	const char *dir;
	char *buf;
};

static la_ssize_t on_read(struct archive *a, void *ctx, const void **data)
{
	struct receive *r = ctx;

	*data = r->buf;
	return (la_ssize_t)r->source(r->ctx, r->buf, BLOCK, r->err);
}

static int receive_content(struct receive *r, int64_t *bytes)
{
	const void *data;
	size_t len;
	la_int64_t off;
	int e;

	while ((e = A(read_data_block)(r->in, &data, &len, &off)) == ARCHIVE_OK) {
		if (A(write_data_block)(r->disk, data, len, off) < ARCHIVE_WARN)
			return cs_fail(r->err, CS_ERR_INTERNAL, 0, "%s", A(error_string)(r->disk));
		*bytes += (int64_t)len;
	}
	return e == ARCHIVE_EOF ? 0 : cs_fail(r->err, CS_ERR_INTERNAL, 0, "read the archive: %s", A(error_string)(r->in));
}

static int receive_entry(struct receive *r, struct archive_entry *e, const struct rebase *names, int64_t *bytes)
{
	cs_autofree char *renamed = rebase_name(names, A(entry_pathname)(e));
	cs_autofree char *link = cs_xstrdup(A(entry_hardlink)(e)), *target = link ? rebase_name(names, link) : NULL;
	struct stat st;

	if (renamed)
		A(entry_set_pathname)(e, renamed);
	const char *to = target ? target : link;
	if (to)
		A(entry_set_hardlink)(e, to + strspn(to, "/"));
	/* a container's "/" comes with absolute names; without the slash at the end lstat looks at a link itself */
	const char *at = A(entry_pathname)(e);
	cs_autofree char *name = cs_path_clean(at + strspn(at, "/"));
	A(entry_set_pathname)(e, name);
	if (lstat(name, &st) == 0) {
		bool dir = A(entry_filetype)(e) == AE_IFDIR && !link;
		if (S_ISDIR(st.st_mode) && !dir)
			return cs_fail(r->err, CS_ERR_INVALID, 0, "cannot overwrite directory \"%s/%s\" with non-directory \"%s\"", r->dir, name, r->dir);
		if (!S_ISDIR(st.st_mode) && dir)
			return cs_fail(r->err, CS_ERR_INVALID, 0, "cannot overwrite non-directory \"%s/%s\" with directory \"%s\"", r->dir, name, r->dir);
	}
	if (A(write_header)(r->disk, e) < ARCHIVE_WARN)
		return cs_fail(r->err, CS_ERR_INTERNAL, 0, "%s", A(error_string)(r->disk));
	if (A(entry_filetype)(e) == AE_IFREG && !link && receive_content(r, bytes) < 0)
		return -1;
	return A(write_finish_entry)(r->disk) < ARCHIVE_WARN ? cs_fail(r->err, CS_ERR_INTERNAL, 0, "%s", A(error_string)(r->disk)) : 0;
}

int tree_receive(const char *dir, const struct rebase *names, ssize_t (*source)(void *ctx, void *buf, size_t max, struct cs_err **err), void *ctx,
		 int64_t *bytes, struct cs_err **err)
{
	struct receive r = {.source = source, .ctx = ctx, .err = err};
	struct archive_entry *e;
	int result = 0, next;

	if (archive_lib_load(err) < 0)
		return -1;
	/* from inside, by relative names: a link in the path to the directory is the user's own, those below come from the archive */
	if (chdir(dir) < 0)
		return cs_fail(err, CS_ERR_NOT_FOUND, errno, "%s", dir);
	cs_autofree char *buf = r.buf = cs_xmalloc(BLOCK);
	cs_autofree char *clean = cs_path_clean(dir);
	r.dir = clean;
	r.in = A(read_new)();
	r.disk = A(write_disk_new)();
	(void)A(read_support_format_tar)(r.in);
	(void)A(write_disk_set_options)(r.disk, ARCHIVE_EXTRACT_TIME | ARCHIVE_EXTRACT_PERM | ARCHIVE_EXTRACT_XATTR | ARCHIVE_EXTRACT_SECURE_SYMLINKS |
							ARCHIVE_EXTRACT_SECURE_NODOTDOT | ARCHIVE_EXTRACT_SECURE_NOABSOLUTEPATHS);
	if (A(read_open)(r.in, &r, NULL, on_read, NULL) != ARCHIVE_OK)
		result = cs_fail(err, CS_ERR_INTERNAL, 0, "read the archive: %s", A(error_string)(r.in));
	while (result == 0 && (next = A(read_next_header)(r.in, &e)) != ARCHIVE_EOF)
		result = next < ARCHIVE_WARN ? cs_fail(err, CS_ERR_INTERNAL, 0, "read the archive: %s", A(error_string)(r.in)) : receive_entry(&r, e, names, bytes);
	if (A(write_close)(r.disk) != ARCHIVE_OK && result == 0) /* times and modes of directories come last */
		result = cs_fail(err, CS_ERR_INTERNAL, 0, "%s", A(error_string)(r.disk));
	(void)A(read_free)(r.in);
	(void)A(write_free)(r.disk);
	return result;
}
