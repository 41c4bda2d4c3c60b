/* SPDX-License-Identifier: Apache-2.0
 *
 * The decompressors. gzip: any number of members, each with its checksum and length verified, then at most zeros. zstd: frames with a
 * window of at most 128 MiB, as the zstd command. A stream that ends inside a member or frame is an error. One thread per stream. */
#include "storage/inflate.h"

#include <isa-l/igzip_lib.h>
#include <zstd.h>

#include "storage/archive_lib.h"
#include "base/late.h"

#define ZSTD_WINDOW_LOG 27
#define GZIP_SLACK 512u /* behind what ISA-L is given there are as many bytes of ours: its fast loops look ahead, and a damaged stream has made it miscount */

#define ISAL_FUNCTIONS(X) X(isal_inflate) X(isal_inflate_init) X(isal_inflate_reset)
#define ZSTD_FUNCTIONS(X)                                                                                                                           \
	X(ZSTD_createDStream) X(ZSTD_freeDStream) X(ZSTD_decompressStream) X(ZSTD_DCtx_setParameter) X(ZSTD_isError) X(ZSTD_getErrorName)
static struct lib {
	ISAL_FUNCTIONS(CS_LATE_MEMBER)
	ZSTD_FUNCTIONS(CS_LATE_MEMBER)
} lib;
#define ROW(f) CS_LATE_ROW(struct lib, f)
static struct cs_late isal = {.name = "libisal.so.2", .symbols = (const struct cs_late_symbol[]){ISAL_FUNCTIONS(ROW){NULL, 0}}, CS_LATE_INIT};
static struct cs_late zstd = {.name = "libzstd.so.1", .symbols = (const struct cs_late_symbol[]){ZSTD_FUNCTIONS(ROW){NULL, 0}}, CS_LATE_INIT};

struct cs_inflate {
	enum cs_packed kind;
	cs_piece_fn next;
	void *ctx;
	int read_errno;
	const unsigned char *in; /* rest of the current piece */
	size_t in_len;
	bool in_end;
	struct inflate_state *gz;
	unsigned char gz_tail[2 * GZIP_SLACK];
	bool gz_between; /* no member is open */
	bool gz_padding; /* only zeros may follow */
	ZSTD_DStream *zs;
	bool zs_open; /* inside a frame */
	struct archive *ar;
	const char *block; /* rest of a block of libarchive's */
	size_t block_len;
};

enum cs_packed cs_packed_kind(const void *head, size_t n)
{
	static const struct {
		unsigned char magic[CS_PACKED_MAGIC];
		size_t len;
		enum cs_packed kind;
	} known[] = {
		{{0x1f, 0x8b}, 2, CS_PACKED_GZIP},
		{{0x28, 0xb5, 0x2f, 0xfd}, 4, CS_PACKED_ZSTD},
		{{'B', 'Z', 'h'}, 3, CS_PACKED_OTHER},
		{{0xfd, '7', 'z', 'X', 'Z', 0}, 6, CS_PACKED_OTHER},
		{{0x5d, 0, 0}, 3, CS_PACKED_OTHER},                   /* lzma */
		{{0x04, 0x22, 0x4d, 0x18}, 4, CS_PACKED_OTHER},       /* lz4 */
		{{'L', 'Z', 'I', 'P'}, 4, CS_PACKED_OTHER},
		{{0x1f, 0x9d}, 2, CS_PACKED_OTHER},                   /* compress */
	};

	const unsigned char *h = head;

	if (n >= 4 && (h[0] & 0xf0) == 0x50 && memcmp(h + 1, "\x2a\x4d\x18", 3) == 0)
		return CS_PACKED_ZSTD; /* that starts with one of its sixteen kinds of skippable frames (RFC 8878, 3.1.2) */
	for (size_t i = 0; i < CS_ARRAY_SIZE(known); i++) {
		if (n >= known[i].len && memcmp(head, known[i].magic, known[i].len) == 0)
			return known[i].kind;
	}
	return CS_PACKED_NONE;
}

/* Makes sure that there is input. 1, 0 at the end, -1. */
static int more(struct cs_inflate *z, struct cs_err **err)
{
	if (z->in_len)
		return 1;
	if (z->in_end)
		return 0;
	const void *p = NULL;
	ssize_t n = z->next(z->ctx, &p);
	if (n < 0) {
		z->read_errno = (int)-n;
		return cs_fail(err, CS_ERR_INTERNAL, z->read_errno, "read the archive");
	}
	z->in = n ? p : (const void *)"";
	z->in_len = (size_t)n;
	z->in_end = n == 0;
	return n > 0;
}

static int bad(struct cs_err **err, const char *what) { return cs_fail(err, CS_ERR_INVALID, 0, "decompress the archive: %s", what); }

/* ---- gzip ---- */
static const char *gzip_error(int r)
{
	switch (r) {
	case ISAL_INCORRECT_CHECKSUM: return "gzip checksum or length does not match";
	case ISAL_INVALID_WRAPPER: return "bad gzip header";
	case ISAL_UNSUPPORTED_METHOD: return "unknown gzip method";
	default: return "damaged gzip data";
	}
}

/* Between two members: another one, zeros up to the end, or the end. 1 = a member follows. */
static int gzip_next_member(struct cs_inflate *z, struct cs_err **err)
{
	int r;

	while ((r = more(z, err)) > 0) {
		if (!z->gz_padding && *z->in != 0) {
			lib.isal_inflate_reset(z->gz);
			z->gz->crc_flag = ISAL_GZIP;
			z->gz_between = false;
			return 1;
		}
		z->gz_padding = true;
		for (; z->in_len; z->in++, z->in_len--) {
			if (*z->in)
				return bad(err, "garbage after the gzip data");
		}
	}
	return r;
}

static ssize_t read_gzip(struct cs_inflate *z, void *buf, size_t max, struct cs_err **err)
{
	size_t done = 0;

	while (done < max) {
		if (z->gz_between) {
			int r = gzip_next_member(z, err);
			if (r < 0)
				return -1;
			if (r == 0)
				break;
		}
		int r = more(z, err);
		if (r < 0)
			return -1;
		size_t given = z->in_len;
		const unsigned char *in = z->in;
		if (given > GZIP_SLACK) {
			given -= GZIP_SLACK;
		} else {
			memcpy(z->gz_tail, z->in, given);
			in = z->gz_tail;
		}
		z->gz->next_in = (uint8_t *)(uintptr_t)in;
		z->gz->avail_in = (uint32_t)given;
		z->gz->next_out = (uint8_t *)buf + done;
		z->gz->avail_out = (uint32_t)(max - done);
		int e = lib.isal_inflate(z->gz);
		if (z->gz->avail_in > given || z->gz->avail_out > max - done) /* ISA-L counted below zero: it happens with damaged headers */
			return bad(err, "damaged gzip data");
		size_t out = max - done - z->gz->avail_out, used = given - z->gz->avail_in;
		done += out;
		z->in += used;
		z->in_len -= used;
		if (e < 0 || e == ISAL_NEED_DICT)
			return bad(err, gzip_error(e));
		if (z->gz->block_state == ISAL_BLOCK_FINISH)
			z->gz_between = true;
		else if (r == 0 && out == 0)
			return bad(err, "unexpected end of gzip data");
	}
	return (ssize_t)done;
}

/* ---- zstd ---- */
static ssize_t read_zstd(struct cs_inflate *z, void *buf, size_t max, struct cs_err **err)
{
	ZSTD_outBuffer out = {.dst = buf, .size = max};

	while (out.pos < out.size) {
		int r = more(z, err);
		if (r < 0)
			return -1;
		size_t before = out.pos;
		ZSTD_inBuffer in = {.src = z->in, .size = z->in_len};
		if (r == 0 && !z->zs_open)
			break;
		size_t left = lib.ZSTD_decompressStream(z->zs, &out, &in);
		if (lib.ZSTD_isError(left)) {
			cs_autofree char *why = cs_xasprintf("zstd: %s", lib.ZSTD_getErrorName(left));
			return bad(err, why);
		}
		z->in += in.pos;
		z->in_len -= in.pos;
		z->zs_open = left != 0;
		if (r == 0 && z->zs_open && out.pos == before)
			return bad(err, "unexpected end of zstd data");
	}
	return (ssize_t)out.pos;
}

/* ---- what libarchive knows ---- */
static ssize_t on_piece(struct archive *a, void *ctx, const void **buf)
{
	struct cs_inflate *z = ctx;
	struct cs_err *e = NULL;

	z->in_len = 0; /* libarchive always takes the whole piece */
	int r = more(z, &e);
	cs_err_free(e);
	if (r < 0) {
		cs_ar(set_error)(a, z->read_errno, "read");
		return ARCHIVE_FATAL;
	}
	*buf = z->in;
	return (ssize_t)z->in_len;
}

static int other_error(struct cs_inflate *z, struct cs_err **err)
{
	return z->read_errno ? cs_fail(err, CS_ERR_INTERNAL, z->read_errno, "read the archive") : bad(err, cs_ar(error_string)(z->ar));
}

/* Only filters that live in the library: the others would run programs. */
static int open_other(struct cs_inflate *z, struct cs_err **err)
{
	struct archive *a = z->ar = cs_ar(read_new)();
	struct archive_entry *e;

	if (!a)
		abort();
	if (cs_ar(read_support_filter_bzip2)(a) != ARCHIVE_OK || cs_ar(read_support_filter_xz)(a) != ARCHIVE_OK ||
	    cs_ar(read_support_filter_lzma)(a) != ARCHIVE_OK || cs_ar(read_support_filter_lzip)(a) != ARCHIVE_OK ||
	    cs_ar(read_support_filter_lz4)(a) != ARCHIVE_OK || cs_ar(read_support_filter_compress)(a) != ARCHIVE_OK)
		return cs_fail(err, CS_ERR_INTERNAL, 0, "libarchive was built without a decompressor that is needed");
	cs_ar(read_support_format_raw)(a);
	cs_ar(read_support_format_empty)(a);
	int r = cs_ar(read_open)(a, z, NULL, on_piece, NULL);
	if (r == ARCHIVE_OK)
		r = cs_ar(read_next_header)(a, &e);
	return r == ARCHIVE_OK || r == ARCHIVE_EOF ? 0 : other_error(z, err);
}

static ssize_t read_other(struct cs_inflate *z, void *buf, size_t max, struct cs_err **err)
{
	size_t done = 0;

	if (!z->ar && open_other(z, err) < 0)
		return -1;
	while (done < max) {
		if (z->block_len == 0) {
			const void *data;
			int64_t off;
			int r = cs_ar(read_data_block)(z->ar, &data, &z->block_len, &off);
			if (r != ARCHIVE_OK && r != ARCHIVE_WARN)
				z->block_len = 0;
			if (r == ARCHIVE_EOF)
				break;
			if (r != ARCHIVE_OK && r != ARCHIVE_WARN)
				return other_error(z, err);
			z->block = data;
			continue;
		}
		size_t n = CS_MIN(z->block_len, max - done);
		memcpy((char *)buf + done, z->block, n);
		z->block += n;
		z->block_len -= n;
		done += n;
	}
	return (ssize_t)done;
}

int cs_inflate_new(enum cs_packed kind, cs_piece_fn next, void *ctx, struct cs_inflate **ret, struct cs_err **err)
{
	if (kind == CS_PACKED_GZIP ? cs_late_get(&isal, &lib, err) < 0 : kind == CS_PACKED_ZSTD ? cs_late_get(&zstd, &lib, err) < 0 : cs_archive_get(err) < 0)
		return -1;
	struct cs_inflate *z = cs_xcalloc(1, sizeof(*z));
	z->kind = kind;
	z->next = next;
	z->ctx = ctx;
	z->in = (const unsigned char *)"";
	if (kind == CS_PACKED_GZIP) {
		z->gz = cs_xcalloc(1, sizeof(*z->gz));
		lib.isal_inflate_init(z->gz);
		z->gz->crc_flag = ISAL_GZIP;
	} else if (kind == CS_PACKED_ZSTD) {
		z->zs = lib.ZSTD_createDStream();
		if (!z->zs)
			abort();
		(void)lib.ZSTD_DCtx_setParameter(z->zs, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG);
	}
	*ret = z;
	return 0;
}

ssize_t cs_inflate_read(struct cs_inflate *z, void *buf, size_t max, struct cs_err **err)
{
	return z->kind == CS_PACKED_GZIP ? read_gzip(z, buf, max, err) : z->kind == CS_PACKED_ZSTD ? read_zstd(z, buf, max, err) : read_other(z, buf, max, err);
}

void cs_inflate_free(struct cs_inflate *z)
{
	if (!z)
		return;
	if (z->kind == CS_PACKED_GZIP) {
		free(z->gz);
		cs_late_put(&isal);
	} else if (z->kind == CS_PACKED_ZSTD) {
		(void)lib.ZSTD_freeDStream(z->zs);
		cs_late_put(&zstd);
	} else {
		if (z->ar)
			(void)cs_ar(read_free)(z->ar);
		cs_archive_put();
	}
	free(z);
}
