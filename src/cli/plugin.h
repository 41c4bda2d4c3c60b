/* SPDX-License-Identifier: Apache-2.0
 *
 * Docker's CLI plugins (docker-compose, docker-buildx, …): programs named docker-NAME in cliPluginsExtraDirs of config.json, in cli-plugins of the
 * configuration's folder, and in docker/cli-plugins of /usr/local/lib, /usr/local/libexec, /usr/lib, /usr/libexec. */
#pragma once

#include <jansson.h>

#include "base/error.h"

/* Replaces this process by the plugin NAME with args (the program's own, without its name), as docker does. Returns only when there is none (false), or when it
 * cannot be run (true, after a message). */
bool plugin_exec(const char *name, char *const *args);

/* Calls fn for each plugin that says what it is, sorted by name: its metadata has ShortDescription, Version, Vendor. Asks each program. */
void plugin_each(void (*fn)(void *ctx, const char *name, const char *path, const json_t *metadata), void *ctx);
