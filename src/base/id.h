/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/macros.h"

#define CS_ID_LEN 64
#define CS_SHORT_ID_LEN 12

void cs_random_bytes(void *buf, size_t n); /* getrandom(2), aborts without */
/* 64 hex digits; the first twelve are never all decimal (they become a host name). buf needs 65 bytes. */
void cs_id_new(char *buf);
bool cs_is_hex(const char *s);
/* May a network interface bear this name (dev_valid_name of Linux; "all" and "default" are sysctl's own)? Printable ASCII only. */
bool cs_link_name_valid(const char *name);
