/* SPDX-License-Identifier: Apache-2.0
 *
 * RFC 6455 frames. cs_ws_parse is pure and a fuzz target. */
#pragma once

#include "base/macros.h"

enum cs_ws_opcode { WS_CONT = 0, WS_TEXT = 1, WS_BINARY = 2, WS_CLOSE = 8, WS_PING = 9, WS_PONG = 10 };
#define WS_HEADER_MAX 14
#define WS_CONTROL_MAX 125
#define WS_PAYLOAD_MAX (16u << 20)

struct cs_ws_frame {
	bool fin;
	uint8_t opcode;
	uint8_t mask[4];
	uint64_t len;
	size_t header_len;
};
/* A client's frame header. 1 = parsed, 0 = more bytes needed, otherwise the negative close code (-1002 protocol error, -1009 too big). */
int cs_ws_parse(const uint8_t *p, size_t n, struct cs_ws_frame *ret);
/* Writes the header of an unmasked, final frame; returns its length. */
size_t cs_ws_format(uint8_t *p, uint8_t opcode, uint64_t len);
/* In place; `at` is the position of buf within the payload. */
void cs_ws_unmask(uint8_t *buf, size_t n, const uint8_t mask[4], uint64_t at);
