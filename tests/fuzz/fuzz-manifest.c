/* SPDX-License-Identifier: Apache-2.0
 * Documents about images (manifest.json, indexes and manifests, configurations) and the archive around them: refused, or within the limits that everything
 * after relies on. */
#include "engine/image_doc.h"
#include "engine/image_internal.h"
#include "engine/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

static void documents(const char *text, size_t size)
{
	struct cs_doc_items items;
	struct cs_manifest m;
	struct cs_image_shape shape;

	if (cs_doc_items(text, size, &items, NULL) == 0) {
		check(items.n <= CS_DOC_MAX_ITEMS);
		for (size_t i = 0; i < items.n; i++)
			check(items.v[i].config && items.v[i].tags && cs_strv_len(items.v[i].layers) <= CS_MAX_LAYERS);
		cs_doc_items_done(&items);
	}
	if (cs_manifest_parse(text, size, NULL, &m, NULL) == 0) {
		check(m.n <= CS_MANIFEST_MAX_ENTRIES && m.media_type);
		for (size_t i = 0; i < m.n; i++)
			check(cs_digest_valid(m.v[i].digest.s) && m.v[i].size >= 0 && m.v[i].media_type && m.v[i].platform.os);
		check(m.kind == CS_MANIFEST_INDEX || cs_digest_valid(m.config.digest.s));
		cs_manifest_done(&m);
	}
	if (cs_image_shape_parse(text, size, &shape, NULL) == 0) {
		check(shape.n <= CS_MAX_LAYERS && shape.platform.os && shape.platform.arch);
		for (size_t i = 0; i < shape.n; i++)
			check(cs_digest_valid(shape.diff[i].s));
		cs_image_shape_done(&shape);
	}
}

struct input {
	const uint8_t *p;
	size_t left;
};

static ssize_t on_read(void *ctx, void *buf, size_t max)
{
	struct input *in = ctx;
	size_t n = CS_MIN(CS_MIN(max, (size_t)1000), in->left);

	memcpy(buf, in->p, n);
	in->p += n;
	in->left -= n;
	return (ssize_t)n;
}

static void archive(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	struct cs_archive_in *a;
	struct cs_archive_entry e;

	if (cs_archive_in_open(on_read, &in, &a, NULL) < 0)
		return;
	while (cs_archive_in_next(a, &e, NULL) == 1) {
		const void *p;
		size_t n;
		int64_t all = 0;
		int r;
		check(e.path && e.size >= 0);
		while ((r = cs_archive_in_piece(a, 700, &p, &n, NULL)) == 0 && n)
			all += (int64_t)n;
		check(r < 0 || e.type != CS_ARCHIVE_FILE || all == e.size);
		if (r < 0)
			break;
	}
	cs_archive_in_free(a);
}

/* The first byte says what the rest is. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	if (*data == 'A')
		archive(data + 1, size - 1);
	else
		documents((const char *)data + 1, size - 1);
	if (size >= 513)
		(void)cs_content_guess(data + 1, 512);
	return 0;
}
