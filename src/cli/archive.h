/* SPDX-License-Identifier: Apache-2.0
 *
 * Small archives in memory (exported contexts): libarchive, loaded when there is one to read or to write. */
#pragma once

#include "base/error.h"
#include "base/str.h"

/* Adds a file, or (data NULL) a directory, to a tar archive that grows in out. End it with archive_end. */
struct archive_writer;
struct archive_writer *archive_begin(struct cs_str *out, struct cs_err **err);
CS_MUST_CHECK int archive_put(struct archive_writer *w, const char *name, unsigned mode, const char *data, size_t len, struct cs_err **err);
CS_MUST_CHECK int archive_end(struct archive_writer *w, struct cs_err **err); /* frees w */
/* Calls fn for each regular file of a tar or zip archive read from fd: name as it stands there, content up to max bytes. */
CS_MUST_CHECK int archive_each(int fd, size_t max, int (*fn)(void *ctx, const char *name, const char *data, size_t len, struct cs_err **err), void *ctx, struct cs_err **err);
