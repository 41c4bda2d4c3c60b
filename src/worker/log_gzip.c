/* SPDX-License-Identifier: Apache-2.0
 *
 * Compression of a rotated log file, in a forked child of the worker so that neither the container nor the worker's memory notices. */
#include <zlib.h>

#include "base/io.h"
#include "worker/log.h"

int cs_log_gzip(int in, int out)
{
	uint8_t *a = malloc(65536), *b = malloc(65536);
	z_stream z = {0};
	off_t pos = 0;
	int r = a && b ? 0 : -ENOMEM;

	if (r == 0 && deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 15 + 16 /* gzip */, 8, Z_DEFAULT_STRATEGY) != Z_OK)
		r = -ENOMEM;
	for (bool end = false; r == 0 && !end;) {
		ssize_t n = pread(in, a, 65536, pos);
		if (n < 0) {
			r = -errno;
			break;
		}
		pos += n;
		end = n == 0;
		z.next_in = a;
		z.avail_in = (unsigned)n;
		do {
			z.next_out = b;
			z.avail_out = 65536;
			(void)deflate(&z, end ? Z_FINISH : Z_NO_FLUSH);
			r = cs_write_full(out, b, 65536 - z.avail_out);
		} while (r == 0 && z.avail_out == 0);
	}
	(void)deflateEnd(&z);
	free(a);
	free(b);
	return r;
}
