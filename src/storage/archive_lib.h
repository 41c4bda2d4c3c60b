/* SPDX-License-Identifier: Apache-2.0
 *
 * libarchive, loaded while somebody unpacks and not a moment longer: with what it needs (libxml2, ICU, libstdc++) it would take two
 * megabytes of an idle engine. Any thread; the functions may be called between get and put only. */
#pragma once

#include <archive.h>
#include <archive_entry.h>

#include "base/error.h"

/* Every function that we use, without its archive_ prefix. */
#define CS_ARCHIVE_FUNCTIONS(X)                                                                                                                      \
	X(errno) X(error_string) X(set_error)                                                                                                        \
	X(read_new) X(read_free) X(read_open) X(read_open_filename) X(read_next_header) X(read_data_block)                                           \
	X(read_support_format_tar) X(read_support_format_raw) X(read_support_format_empty)                                                          \
	X(read_support_filter_gzip) X(read_support_filter_bzip2) X(read_support_filter_xz) X(read_support_filter_zstd)                              \
	X(read_support_filter_lzma) X(read_support_filter_lzip) X(read_support_filter_lz4) X(read_support_filter_compress)                          \
	X(entry_pathname) X(entry_pathname_utf8) X(entry_hardlink) X(entry_hardlink_utf8) X(entry_symlink) X(entry_symlink_utf8)                    \
	X(entry_filetype) X(entry_perm) X(entry_uid) X(entry_gid) X(entry_rdevmajor) X(entry_rdevminor)                                             \
	X(entry_size) X(entry_size_is_set) X(entry_mtime) X(entry_mtime_nsec) X(entry_atime) X(entry_atime_nsec) X(entry_atime_is_set)              \
	X(entry_xattr_reset) X(entry_xattr_next)

#define CS_ARCHIVE_MEMBER(name) __typeof__(archive_##name) *f_##name;
struct cs_archive_lib {
	CS_ARCHIVE_FUNCTIONS(CS_ARCHIVE_MEMBER)
};
#undef CS_ARCHIVE_MEMBER

extern struct cs_archive_lib cs_archive;
#define cs_ar(name) (cs_archive.f_##name) /* cs_ar(read_new)() is archive_read_new() */

CS_MUST_CHECK int cs_archive_get(struct cs_err **err);
void cs_archive_put(void);
