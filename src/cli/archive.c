/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/archive.h"

#include <sys/stat.h>

#include "cli/archive_lib.h"

struct archive_writer {
	struct archive *a;
	struct cs_str *out;
};

static la_ssize_t on_write(struct archive *a, void *ctx, const void *data, size_t len)
{
	struct archive_writer *w = ctx;
	cs_str_put(w->out, data, len);
	return w->out->failed ? -1 : (la_ssize_t)len;
}

struct archive_writer *archive_begin(struct cs_str *out, struct cs_err **err)
{
	if (archive_lib_load(err) < 0)
		return NULL;
	struct archive_writer *w = cs_xcalloc(1, sizeof(*w));
	w->out = out;
	w->a = A(write_new)();
	if (A(write_set_format_ustar)(w->a) != ARCHIVE_OK || A(write_set_bytes_per_block)(w->a, 512) != ARCHIVE_OK ||
	    A(write_open)(w->a, w, NULL, on_write, NULL) != ARCHIVE_OK) {
		cs_fail(err, CS_ERR_INTERNAL, 0, "write an archive: %s", A(error_string)(w->a));
		(void)A(write_free)(w->a);
		free(w);
		return NULL;
	}
	return w;
}

int archive_put(struct archive_writer *w, const char *name, unsigned mode, const char *data, size_t len, struct cs_err **err)
{
	struct archive_entry *e = A(entry_new)();

	A(entry_set_pathname)(e, name);
	A(entry_set_filetype)(e, data ? S_IFREG : S_IFDIR);
	A(entry_set_perm)(e, (mode_t)mode);
	A(entry_set_size)(e, (int64_t)len);
	A(entry_set_mtime)(e, 0, 0);
	int r = A(write_header)(w->a, e);
	A(entry_free)(e);
	if (r == ARCHIVE_OK && len && A(write_data)(w->a, data, len) != (la_ssize_t)len)
		r = ARCHIVE_FATAL;
	return r == ARCHIVE_OK ? 0 : cs_fail(err, CS_ERR_INTERNAL, 0, "write an archive: %s", A(error_string)(w->a));
}

int archive_end(struct archive_writer *w, struct cs_err **err)
{
	int r = A(write_close)(w->a);

	(void)A(write_free)(w->a);
	free(w);
	return r == ARCHIVE_OK ? 0 : cs_fail(err, CS_ERR_INTERNAL, 0, "write an archive");
}

int archive_each(int fd, size_t max, int (*fn)(void *ctx, const char *name, const char *data, size_t len, struct cs_err **err), void *ctx, struct cs_err **err)
{
	struct archive_entry *e;
	int r, result = 0;
	size_t files = 0;
	bool in_header = true;

	if (archive_lib_load(err) < 0)
		return -1;
	struct archive *a = A(read_new)();
	(void)A(read_support_format_tar)(a);
	(void)A(read_support_format_zip)(a);
	(void)A(read_support_filter_gzip)(a);
	r = A(read_open_fd)(a, fd, 16384);
	while (r == ARCHIVE_OK && result == 0 && (r = A(read_next_header)(a, &e)) == ARCHIVE_OK) {
		cs_autofree char *buf = cs_xmalloc(max + 1);
		la_ssize_t n = 0;
		size_t have = 0;
		if (A(entry_filetype)(e) != S_IFREG)
			continue;
		bool known = A(entry_size_is_set)(e) && A(entry_size)(e) >= 0; /* not in a zip archive from a pipe */
		size_t size = known ? (size_t)A(entry_size)(e) : max + 1;
		if (known && size > max) {
			result = cs_fail(err, CS_ERR_INVALID, 0, "%s is larger than %zu bytes", A(entry_pathname)(e), max);
			break;
		}
		/* not a byte more than that: to find the end, libarchive wants padding, which is not there behind the last file that docker exports */
		while (have < size && (n = A(read_data)(a, buf + have, size - have)) > 0)
			have += (size_t)n;
		in_header = known ? have == size : n == 0;
		if (!in_header)
			r = ARCHIVE_FATAL;
		else
			result = fn(ctx, A(entry_pathname)(e), buf, have, err);
		files++;
	}
	if (result == 0 && r != ARCHIVE_EOF && !(files && in_header))
		result = cs_fail(err, CS_ERR_INVALID, 0, "read the archive: %s", A(error_string)(a) ? A(error_string)(a) : "not a tar or zip archive");
	(void)A(read_free)(a);
	return result;
}
