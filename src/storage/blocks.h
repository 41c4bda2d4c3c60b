/* SPDX-License-Identifier: Apache-2.0
 *
 * A bounded queue of blocks between two threads that copies nothing: the producer fills blocks that belong to the queue, the consumer
 * works on them in place. (base/queue.h copies twice; an image is gigabytes.) */
#pragma once

#include <stddef.h>
#include <sys/types.h>

struct cs_blocks;

struct cs_blocks *cs_blocks_new(unsigned n, size_t size);
void cs_blocks_free(struct cs_blocks *b); /* both sides must be done; accepts NULL */

/* Producer: an empty block of *size bytes, borrowed until put; blocks. NULL when the consumer has closed. */
void *cs_blocks_space(struct cs_blocks *b, size_t *size);
void cs_blocks_put(struct cs_blocks *b, size_t len);
void cs_blocks_end(struct cs_blocks *b, int error); /* 0, or the -errno that the consumer gets at the end */

/* Consumer: the next block, which takes the last one back. > 0 bytes, 0 end, -errno. Blocks. */
ssize_t cs_blocks_next(struct cs_blocks *b, const void **ret);
void cs_blocks_close(struct cs_blocks *b); /* wants no more; drops what there is */
