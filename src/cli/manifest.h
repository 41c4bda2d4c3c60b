/* SPDX-License-Identifier: Apache-2.0
 *
 * Images and lists of images as registries have them, asked without an engine. */
#pragma once

#include <jansson.h>

#include "base/error.h"
#include "registry/reference.h"
#include "registry/registry.h"

#define MANIFEST_EXPERIMENTAL(command)                                                                                                               \
	"EXPERIMENTAL:\n"                                                                                                                            \
	"  docker manifest " command " is an experimental feature.\n"                                                                               \
	"  Experimental features provide early access to product functionality. These\n"                                                            \
	"  features may change between releases without warning, or can be removed from a\n"                                                        \
	"  future release. Learn more about experimental features in our documentation:\n"                                                          \
	"  https://docs.docker.com/go/experimental/"

/* A name, with a tag if it has neither tag nor digest. */
CS_MUST_CHECK int manifest_ref(const char *text, struct cs_ref *ret, struct cs_err **err);
/* A session with the registry that the reference names, with the stored credentials. Both *reg and *ret are the caller's. */
CS_MUST_CHECK int manifest_open_repo(const struct cs_ref *ref, bool insecure, bool push, struct cs_registry **reg, struct cs_repo **ret, struct cs_err **err);
/* One image of the registry as docker's client keeps it, {"Ref", "Descriptor": {…, "platform"}, "Raw", "SchemaV2Manifest" or "OCIManifest"}; caller owns. */
CS_MUST_CHECK int manifest_image(const struct cs_ref *ref, bool insecure, json_t **ret, struct cs_err **err);
/* architecture and os are always there, the rest when it says something. Caller owns. */
json_t *manifest_platform(const json_t *j);
/* The list of such images (an array) for the registry that `target` names, as docker writes it; caller frees. *type: its media type. */
char *manifest_list_text(const struct cs_ref *target, const json_t *images, const char **type, struct cs_err **err);
