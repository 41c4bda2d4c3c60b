/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "engine/stream.h"

/* Gives the engine a duplicate of the client's plain socket, with the rest of the chunked body around the exit code. */
void cs_wait_handover(struct cs_stream *wait, int client_fd);
