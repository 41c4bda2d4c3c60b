/* SPDX-License-Identifier: Apache-2.0
 *
 * Pieces that list and inspect share. */
#pragma once

#include "engine/container.h"

/* Path and Args of the container's process: entrypoint and command joined. Borrowed pointers in a heap vector (free it). */
char **cs_view_argv(const struct cs_config *c);
/* network_view.c */
void cs_view_networks(struct cs_container *c, int api, bool brief, struct cs_str *out); /* {"none":{…}}; brief: as in lists, without names; lock held, as for the next ones */
void cs_view_network_settings(struct cs_container *c, int api, struct cs_str *out); /* NetworkSettings of inspect, without the sandbox */
void cs_view_list_ports(struct cs_container *c, struct cs_str *out);
bool cs_view_on_network(const struct cs_container *c, const char *name, const char *id);
void cs_view_human_duration(int64_t ns, struct cs_str *out);
void cs_view_status(struct cs_container *c, int64_t now, struct cs_str *out); /* "Up 3 minutes (healthy)"; lock held */
