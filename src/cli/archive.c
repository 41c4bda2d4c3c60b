/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/archive.h"

#include <locale.h>
#include <sys/stat.h>

#include "cli/archive_lib.h"

/* libarchive says names in the thread's locale, and ours is C: this one has them all. Gives what to go back to with uselocale(). */
static locale_t names_in_utf8(void)
{
	static locale_t utf8;

	if (!utf8)
		utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
	return uselocale(utf8); /* 0, where there is no such locale, changes nothing */
}

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
	if (A(write_set_format_pax_restricted)(w->a) != ARCHIVE_OK || A(write_set_bytes_per_block)(w->a, 512) != ARCHIVE_OK ||
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
	locale_t before = names_in_utf8();
	int r = A(write_header)(w->a, e);
	(void)uselocale(before);
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

	if (archive_lib_load(err) < 0)
		return -1;
	locale_t before = names_in_utf8();
	struct archive *a = A(read_new)();
	(void)A(read_support_format_tar)(a);
	(void)A(read_support_format_zip)(a);
	(void)A(read_support_filter_gzip)(a);
	r = A(read_open_fd)(a, fd, 16384);
	/* a warning is of a name that this locale cannot say: the entry is there all the same */
	while (r >= ARCHIVE_WARN && result == 0 && ((r = A(read_next_header)(a, &e)) == ARCHIVE_OK || r == ARCHIVE_WARN)) {
		cs_autofree char *buf = cs_xmalloc(max + 1);
		la_ssize_t n = 0;
		size_t have = 0;
		if (A(entry_filetype)(e) != S_IFREG || A(entry_hardlink)(e))
			continue;
		const char *name = A(entry_pathname_utf8)(e); /* the other one is what this locale can say of it */
		if (!name)
			name = A(entry_pathname)(e);
		if (!name) {
			result = cs_fail(err, CS_ERR_INVALID, 0, "a name in the archive is not UTF-8");
			break;
		}
		bool known = A(entry_size_is_set)(e) && A(entry_size)(e) >= 0; /* not in a zip archive from a pipe */
		size_t size = known ? (size_t)A(entry_size)(e) : max + 1;
		if (known && size > max) {
			result = cs_fail(err, CS_ERR_INVALID, 0, "%s is larger than %zu bytes", name, max);
			break;
		}
		/* not a byte more than that: to find the end, libarchive wants padding, which is not there behind the last file that docker exports */
		while (have < size && (n = A(read_data)(a, buf + have, size - have)) > 0)
			have += (size_t)n;
		if (known ? have != size : n != 0) {
			r = ARCHIVE_FATAL;
			break;
		}
		result = fn(ctx, name, buf, have, err);
		bool is_tar = (A(format)(a) & ARCHIVE_FORMAT_BASE_MASK) == ARCHIVE_FORMAT_TAR;
		if (A(read_data_skip)(a) < ARCHIVE_WARN) { /* the rest is padding, and this is the end, or the file is damaged */
			r = is_tar ? ARCHIVE_EOF : ARCHIVE_FATAL;
			break;
		}
	}
	if (result == 0 && r != ARCHIVE_EOF)
		result = cs_fail(err, CS_ERR_INVALID, 0, "read the archive: %s", A(error_string)(a) ? A(error_string)(a) : "not a tar or zip archive");
	(void)A(read_free)(a);
	(void)uselocale(before);
	return result;
}
