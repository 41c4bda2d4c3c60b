/* SPDX-License-Identifier: Apache-2.0
 *
 * ISA-L's compressor behind three functions; the library is loaded for the first user and let go after the last. */
#include "storage/deflate.h"

#include <isa-l/igzip_lib.h>

#include "base/late.h"

#define ISAL_FUNCTIONS(X) X(isal_deflate) X(isal_deflate_init)
static struct lib {
	ISAL_FUNCTIONS(CS_LATE_MEMBER)
} lib;
#define ROW(f) CS_LATE_ROW(struct lib, f)
static struct cs_late isal = {.name = "libisal.so.2", .symbols = (const struct cs_late_symbol[]){ISAL_FUNCTIONS(ROW){NULL, 0}}, CS_LATE_INIT};

struct cs_deflate {
	cs_write_fn write;
	void *ctx;
	struct isal_zstream s;
	uint8_t level_buf[ISAL_DEF_LVL1_DEFAULT];
	uint8_t out[64 << 10];
};

int cs_deflate_new(cs_write_fn write, void *ctx, struct cs_deflate **ret, struct cs_err **err)
{
	if (cs_late_get(&isal, &lib, err) < 0)
		return -1;
	struct cs_deflate *z = cs_xcalloc(1, sizeof(*z));
	z->write = write;
	z->ctx = ctx;
	lib.isal_deflate_init(&z->s);
	z->s.level = 1;
	z->s.level_buf = z->level_buf;
	z->s.level_buf_size = sizeof(z->level_buf);
	z->s.gzip_flag = IGZIP_GZIP; /* a header without time and name */
	*ret = z;
	return 0;
}

static int run(struct cs_deflate *z)
{
	do {
		z->s.next_out = z->out;
		z->s.avail_out = sizeof(z->out);
		if (lib.isal_deflate(&z->s) != COMP_OK)
			return -EIO;
		int r = z->s.avail_out == sizeof(z->out) ? 0 : z->write(z->ctx, z->out, sizeof(z->out) - z->s.avail_out);
		if (r < 0)
			return r;
	} while (z->s.avail_in || z->s.avail_out == 0 || (z->s.end_of_stream && z->s.internal_state.state != ZSTATE_END));
	return 0;
}

int cs_deflate_write(struct cs_deflate *z, const void *data, size_t len)
{
	int r = 0;

	while (len && r == 0) {
		uint32_t n = (uint32_t)CS_MIN(len, (size_t)1 << 30);
		z->s.next_in = (uint8_t *)(uintptr_t)data;
		z->s.avail_in = n;
		r = run(z);
		data = (const char *)data + n;
		len -= n;
	}
	return r;
}

int cs_deflate_end(struct cs_deflate *z)
{
	z->s.avail_in = 0;
	z->s.end_of_stream = 1;
	return run(z);
}

void cs_deflate_free(struct cs_deflate *z)
{
	if (!z)
		return;
	free(z);
	cs_late_put(&isal);
}
