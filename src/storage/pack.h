/* SPDX-License-Identifier: Apache-2.0
 *
 * Between the two halves of packing a tree: the walk (pack.c) and the content of one file (pack_file.c). */
#pragma once

#include <sys/stat.h>

#include "storage/tar_write.h"

/* Holes of this many bytes and more are not written as zeros. */
#define CS_PACK_SPARSE_MIN (64 << 20)

/* Header and content of a regular file, as much of it as its stat said: what is missing is filled with zeros, what has grown is cut.
 * e: everything but the size. 0 or -errno; a failure to write is in cs_tar_error. */
int cs_pack_file(struct cs_tar_writer *w, struct cs_tar_entry *e, int fd, const struct statx *st);
