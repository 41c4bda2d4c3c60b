/* SPDX-License-Identifier: Apache-2.0
 *
 * Decoding of requests (compute/worker_protocol.h). Pure: no descriptors, no state; the fuzzer's entry. */
#pragma once

#include "base/macros.h"
#include "compute/worker_protocol.h"

struct cs_w_request { /* pointers are borrowed from the packet */
	struct cs_w_header h;
	char id[CS_W_ID_MAX]; /* "" = init */
	bool has_client;      /* the last descriptor is a client's socket */
	bool want_stdin, want_stdout, want_stderr, framed;
	const uint8_t *detach, *input, *prefix, *suffix;
	uint32_t detach_len, input_len, prefix_len, suffix_len;
	int64_t since;
	uint16_t rows, cols;
	int sig;
	uint32_t protocol; /* HELLO */
	bool after_log, log_only;
	uint64_t token;
	struct cs_w_follow follow;
	const uint8_t *details; /* follow.details_len bytes */
};
#define CS_PACKET_DETAILS_MAX 4096

/* Number of descriptors that the request needs is checked against n_fds. Returns 0; -EBADMSG (not our protocol: h is unset, nothing can be
 * answered), -EINVAL (malformed, *why says what; h is set), -ENOSYS (unknown request type; h is set). */
int cs_packet_decode(const void *data, size_t len, size_t n_fds, struct cs_w_request *ret, const char **why);
/* An id becomes part of a file name. "" or 1..64 of [A-Za-z0-9_.-], not starting with a dot. */
bool cs_packet_id_ok(const char *id);
