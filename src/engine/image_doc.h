/* SPDX-License-Identifier: Apache-2.0
 *
 * The documents that describe images in archives and layouts: manifest.json of docker save, OCI indexes and manifests (and Docker's, which are the
 * same but for names), configurations. All of them are hostile: sizes, counts and kinds are checked here. Pure functions. */
#pragma once

#include "base/error.h"
#include "computestorage.h"

#define CS_DOC_MAX_ITEMS 1000 /* images in manifest.json, descriptors in an index */

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

struct cs_doc_platform {
	char *os, *arch, *variant; /* "" when not told */
};
struct cs_doc_desc {
	char *media_type; /* "" when not told */
	struct cs_digest digest;
	int64_t size;
	char *name;       /* io.containerd.image.name, else org.opencontainers.image.ref.name; or NULL */
	bool has_platform, attestation;
	struct cs_doc_platform platform;
};
struct cs_doc_descs {
	struct cs_doc_desc *v;
	size_t n;
};
void cs_doc_descs_done(struct cs_doc_descs *l);

/* What a blob that a descriptor points to is: an index (index = true, list filled) or a manifest (config and list = layers). A document that could be
 * read as both is refused (CVE-2021-41190), as is one whose own media type contradicts what it is. */
struct cs_doc_node {
	bool index;
	char *media_type; /* its own, or what it must be */
	struct cs_doc_desc config;
	struct cs_doc_descs list;
};
CS_MUST_CHECK int cs_doc_node(const char *text, size_t len, struct cs_doc_node *ret, struct cs_err **err);
void cs_doc_node_done(struct cs_doc_node *n);
bool cs_doc_is_config_type(const char *media_type); /* of an image, not of some artifact */

struct cs_doc_config {
	struct cs_doc_platform platform;
	struct cs_digest *diff_ids;
	size_t n;
};
CS_MUST_CHECK int cs_doc_config(const char *text, size_t len, struct cs_doc_config *ret, struct cs_err **err);
void cs_doc_config_done(struct cs_doc_config *c);

/* {"os": …, "architecture": …, "variant": …} as the API's platform parameter has it. */
CS_MUST_CHECK int cs_doc_platform_param(const char *text, struct cs_doc_platform *ret, struct cs_err **err);
void cs_doc_platform_done(struct cs_doc_platform *p);
void cs_doc_platform_host(struct cs_doc_platform *p);
bool cs_doc_platform_match(const struct cs_doc_platform *want, const struct cs_doc_platform *have);
char *cs_doc_platform_text(const struct cs_doc_platform *p); /* linux/arm64/v8; caller frees */

/* The manifest of an image that came without one. media types and sizes belong to the blobs as they are stored. */
struct cs_doc_layer {
	const char *media_type;
	const struct cs_digest *blob;
	int64_t size;
};
void cs_doc_put_manifest(struct cs_str *out, const struct cs_digest *config, size_t config_size, const struct cs_doc_layer *layers, size_t n);
