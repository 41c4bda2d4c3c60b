/* SPDX-License-Identifier: Apache-2.0
 *
 * Documents of Docker's archives: manifest.json, which is hostile and checked here, and the manifest of an image that came without one. Pure. */
#pragma once

#include "base/error.h"
#include "computestorage.h"

#define CS_DOC_MAX_ITEMS 1000 /* images, and names of one */

struct cs_doc_item { /* of manifest.json */
	char *config;
	char **tags;   /* as written; may be empty */
	char **layers; /* paths, bottom first */
};
struct cs_doc_items {
	struct cs_doc_item *v;
	size_t n;
};
CS_MUST_CHECK int cs_doc_items(const char *text, size_t len, struct cs_doc_items *ret, struct cs_err **err);
void cs_doc_items_done(struct cs_doc_items *l);

/* The manifest of an image that came without one. media types and sizes belong to the blobs as they are stored. */
struct cs_doc_layer {
	const char *media_type;
	const struct cs_digest *blob;
	int64_t size;
};
void cs_doc_put_manifest(struct cs_str *out, const struct cs_digest *config, size_t config_size, const struct cs_doc_layer *layers, size_t n);
