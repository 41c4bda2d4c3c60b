/* SPDX-License-Identifier: Apache-2.0
 *
 * Numbers from text: by range and to the end of the text, decimal only, no leading blanks or '+'. */
#pragma once

#include "base/macros.h"

CS_MUST_CHECK bool cs_parse_u64(const char *s, uint64_t min, uint64_t max, uint64_t *ret);
CS_MUST_CHECK bool cs_parse_i64(const char *s, int64_t min, int64_t max, int64_t *ret);
/* As above for the first n bytes of s. */
CS_MUST_CHECK bool cs_parse_u64n(const char *s, size_t n, uint64_t min, uint64_t max, uint64_t *ret);
/* Octal file mode without prefix ("0644", "1777"), at most 07777. */
CS_MUST_CHECK bool cs_parse_mode(const char *s, uint32_t *ret);
/* 1, t, T, TRUE, true, True and their opposites, as Go's strconv.ParseBool. */
CS_MUST_CHECK bool cs_parse_bool(const char *s, bool *ret);
/* Docker's human sizes: "64m", "1.5g", "10kb", "512" (bytes); binary units, case-insensitive (docker/go-units RAMInBytes). */
CS_MUST_CHECK bool cs_parse_bytes(const char *s, int64_t *ret);

/* Ports as Docker writes them: "80/tcp", "8000-8010/udp", "80" (tcp); 0 is one, and a range does not end before it begins. */
struct cs_port_range {
	uint8_t proto; /* IPPROTO_TCP, _UDP or _SCTP */
	uint16_t lo, hi;
};
CS_MUST_CHECK bool cs_parse_ports(const char *s, struct cs_port_range *ret);
const char *cs_proto_name(uint8_t proto); /* of these three */
