/* SPDX-License-Identifier: Apache-2.0
 *
 * Header of the Engine API's multiplexed stream: [type,0,0,0,length big-endian]. */
#pragma once

#include "base/macros.h"

#define CS_FRAME_HEADER 8
static inline void cs_frame_header(uint8_t h[CS_FRAME_HEADER], uint8_t type, size_t len)
{
	h[0] = type;
	h[1] = h[2] = h[3] = 0;
	h[4] = (uint8_t)(len >> 24);
	h[5] = (uint8_t)(len >> 16);
	h[6] = (uint8_t)(len >> 8);
	h[7] = (uint8_t)len;
}
