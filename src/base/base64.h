/* SPDX-License-Identifier: Apache-2.0
 *
 * Base64 (RFC 4648) of small things: credentials, digests, documents in headers. */
#pragma once

#include "base/macros.h"

/* With padding. url: the alphabet of section 5. Caller frees. */
char *cs_base64_encode(const void *data, size_t len, bool url);
/* Both alphabets, padding or not, no blanks. NULL when malformed or empty; *ret_len without the terminating zero. Caller frees. */
char *cs_base64_decode(const char *text, size_t *ret_len);
