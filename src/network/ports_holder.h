/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "network/firewall.h"

/* Who has a port that cannot be bound: "nginx (pid 812)", or "a process of another PID namespace" and the like; NULL when there is nobody to be found. Caller
 * frees. Looks through /proc for at most a second. */
char *cs_port_holder(uint8_t proto, const struct cs_fw_addr *addr, uint16_t port);
