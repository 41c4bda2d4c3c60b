/* SPDX-License-Identifier: Apache-2.0
 *
 * ~/.docker/config.json, which docker and its plugins read and write, too. It is loaded at the first question; keys that are not known stay. */
#pragma once

#include <jansson.h>

#include "base/error.h"

/* --config, $DOCKER_CONFIG, ~/.docker. Borrowed. */
const char *config_dir(void);
/* The whole file; an empty object when there is none or when it is broken (said once on stderr). Borrowed, may be changed. */
json_t *config_root(void);
/* A member that is a string: NULL when it is absent, empty or something else. Borrowed. */
const char *config_str(const char *key);
/* Member `key` of member `section`, as above (credHelpers, aliases). */
const char *config_str2(const char *section, const char *key);
/* Writes what config_root() is now: beside the file and renamed over it, mode and owner of the old one (0600 for a new one), through links. */
CS_MUST_CHECK int config_save(struct cs_err **err);
/* "proxies" for this engine (else its "default") as HTTP_PROXY=…, http_proxy=… and so on: those names that *env has not yet, for the
 * environment of a container or a build. */
void config_proxy_env(const char *engine_host, char ***env);
/* Text of the file: for the fuzzer. NULL and *why (static) when it is no object. Caller frees. */
json_t *config_parse(const char *text, size_t len, const char **why);
