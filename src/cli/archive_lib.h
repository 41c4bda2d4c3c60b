/* SPDX-License-Identifier: Apache-2.0
 *
 * libarchive, loaded when there is an archive to read or to write: most commands never need it. */
#pragma once

#include <archive.h>
#include <archive_entry.h>

#include "base/error.h"

#define ARCHIVE_FUNCTIONS(X)                                                                                                                        \
	X(error_string) X(read_new) X(read_free) X(read_open_fd) X(read_open) X(read_next_header) X(read_next_header2) X(read_data) X(read_data_skip) X(format)                 \
	X(read_data_block) X(read_support_format_tar) X(read_support_format_zip) X(read_support_filter_gzip) X(write_new) X(write_free)             \
	X(write_close) X(write_set_format_ustar) X(write_set_format_pax_restricted) X(write_set_bytes_per_block) X(write_open) X(write_header)      \
	X(write_data) X(write_data_block) X(write_finish_entry) X(entry_new) X(entry_free) X(entry_set_pathname) X(entry_set_size) X(entry_unset_size) X(entry_set_filetype) \
	X(entry_set_perm) X(entry_set_mtime) X(entry_pathname) X(entry_pathname_utf8) X(entry_filetype) X(entry_size) X(entry_size_is_set) X(entry_hardlink)               \
	X(entry_set_hardlink) X(entry_set_uname) X(entry_set_gname) X(read_disk_new) X(read_disk_open) X(read_disk_descend)                         \
	X(read_disk_set_symlink_physical) X(read_disk_set_behavior) X(write_disk_new) X(write_disk_set_options) X(entry_linkresolver_new)           \
	X(entry_linkresolver_free) X(entry_linkresolver_set_strategy) X(entry_linkify) X(entry_sparse_clear)

#define ARCHIVE_MEMBER_(name) __typeof__(archive_##name) *f_##name;
struct archive_lib {
	ARCHIVE_FUNCTIONS(ARCHIVE_MEMBER_)
};
extern struct archive_lib archive_lib;
#define A(name) (archive_lib.f_##name)

/* Once; UNSUPPORTED when the library is not installed. */
CS_MUST_CHECK int archive_lib_load(struct cs_err **err);
