/* SPDX-License-Identifier: Apache-2.0
 *
 * Decompression of a hostile stream, pulled by one thread: gzip by ISA-L, zstd by libzstd, the rest (imports only) by libarchive's
 * filters. Each library is loaded while a stream is open and not a moment longer. */
#pragma once

#include "storage/internal.h"

enum cs_packed { CS_PACKED_NONE, CS_PACKED_GZIP, CS_PACKED_ZSTD, CS_PACKED_OTHER };
#define CS_PACKED_MAGIC 6 /* bytes that tell them apart */
enum cs_packed cs_packed_kind(const void *head, size_t n);

struct cs_inflate;
CS_MUST_CHECK int cs_inflate_new(enum cs_packed kind, cs_piece_fn next, void *ctx, struct cs_inflate **ret, struct cs_err **err);
/* Fills buf: > 0 bytes (max unless the stream ends), 0 at a proper end (checksums are right), -1 error. */
CS_MUST_CHECK ssize_t cs_inflate_read(struct cs_inflate *z, void *buf, size_t max, struct cs_err **err);
void cs_inflate_free(struct cs_inflate *z); /* accepts NULL */
