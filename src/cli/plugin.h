/* SPDX-License-Identifier: Apache-2.0
 *
 * Docker's CLI plugins (docker-compose, docker-buildx, …): programs named docker-NAME in cliPluginsExtraDirs of config.json, in cli-plugins of the
 * configuration's folder, and in docker/cli-plugins of /usr/local/lib, /usr/local/libexec, /usr/lib, /usr/libexec. */
#pragma once

#include <jansson.h>

#include "base/error.h"

/* Replaces this process by the plugin NAME with args (the program's own, without its name), as docker does. Returns only when there is none, or
 * one that does not say what it is (false), or when it cannot be run (true, after a message). */
bool plugin_exec(const char *name, char *const *args);

struct plugin {
	const char *name, *path;
	const char *why;        /* it is none, or NULL */
	const json_t *metadata; /* ShortDescription, Version, Vendor; NULL when it says nothing */
};
/* Calls fn for each plugin, and for each program that is named like one, sorted by name. Asks each program. */
void plugin_each(void (*fn)(void *ctx, const struct plugin *p), void *ctx);
