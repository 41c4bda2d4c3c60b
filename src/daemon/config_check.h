/* SPDX-License-Identifier: Apache-2.0
 *
 * Private to config.c: what the options mean together, once flags and file have been read. */
#pragma once

#include "daemon/config.h"

/* Checks the whole and brings it into one form: mirrors, hosts and the cgroup's parent as the engine takes them. -1: the message names the option. */
int cs_daemon_config_check(struct cs_daemon_config *c, struct cs_err **err);
/* What the flag of this key (http-proxy, https-proxy, no-proxy) gave, or NULL. Borrowed. */
char *cs_daemon_proxy_flag(const struct cs_daemon_config *c, const char *key);
/* soft[:hard], -1 being unlimited; without hard both are the same. False: it is something else. */
bool cs_daemon_parse_ulimit(const char *v, int64_t *soft, int64_t *hard);
