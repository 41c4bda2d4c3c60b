/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "cli/list.h"

/* "0.0.0.0:80->9090/tcp, 9988/tcp" of the API's list of ports; ranges are joined, IPv6 in brackets. Arena's. */
const char *ports_text(struct tpl_arena *a, json_t *ports);
