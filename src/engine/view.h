/* SPDX-License-Identifier: Apache-2.0
 *
 * Pieces that list and inspect share. */
#pragma once

#include "engine/container.h"

/* Path and Args of the container's process: entrypoint and command joined. Borrowed pointers in a heap vector (free it). */
char **cs_view_argv(const struct cs_config *c);
void cs_view_networks(const struct cs_host_config *h, int api, struct cs_str *out);  /* {"none":{…}} */
const char *cs_view_network_name(const char *mode); /* "default" and "" are "bridge"; NULL for container: */
void cs_view_human_duration(int64_t ns, struct cs_str *out);
void cs_view_status(struct cs_container *c, int64_t now, struct cs_str *out); /* "Up 3 minutes (healthy)"; lock held */
