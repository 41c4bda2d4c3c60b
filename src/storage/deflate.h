/* SPDX-License-Identifier: Apache-2.0
 *
 * gzip, as fast as can be (ISA-L, level 1). The same bytes give the same bytes. One thread per stream. */
#pragma once

#include "computestorage.h"

struct cs_deflate;

CS_MUST_CHECK int cs_deflate_new(cs_write_fn write, void *ctx, struct cs_deflate **ret, struct cs_err **err);
int cs_deflate_write(struct cs_deflate *z, const void *data, size_t len); /* 0 or -errno, which is write's */
int cs_deflate_end(struct cs_deflate *z);                                 /* everything is out on return */
void cs_deflate_free(struct cs_deflate *z);                               /* accepts NULL */
