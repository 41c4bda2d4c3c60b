/* SPDX-License-Identifier: Apache-2.0
 *
 * rtnetlink over libmnl: a socket, batches of requests that travel in one sendmsg, answers with the kernel's own words (extended ack).
 * A socket belongs to the network namespace of the thread that opened it, for ever and on any thread; one user at a time.
 * The kernel works off a batch inside of sendmsg: a SIGKILL meets it done or not begun. */
#pragma once

#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>

#include "base/error.h"

struct cs_rtnl {
	struct mnl_socket *nl;
	uint32_t seq;
};
CS_MUST_CHECK int cs_rtnl_open(struct cs_rtnl *r, struct cs_err **err);
void cs_rtnl_close(struct cs_rtnl *r); /* accepts one that is not open */

#define CS_NL_MSGS 48
#define CS_NL_BUF 16384
#define CS_NL_ROOM 1024 /* no single message is longer */
#define CS_NL_ANY (-1)
struct cs_nl {
	struct cs_rtnl *sock;
	struct nlmsghdr *open; /* the message under way */
	size_t len;
	unsigned n;
	struct cs_err *err; /* sticky: of a flush on the way */
	struct {
		const char *what; /* for the error's text; not copied: literals, or what lives until the end of the batch */
		int tolerate;     /* this errno is none; CS_NL_ANY: none is */
	} msg[CS_NL_MSGS];
	char buf[CS_NL_BUF] __attribute__((aligned(8)));
};
void cs_nl_init(struct cs_nl *b, struct cs_rtnl *sock);
/* The next message, with NLM_F_REQUEST and its fixed part (copied). Add attributes with mnl_attr_put*. */
struct nlmsghdr *cs_nl_add(struct cs_nl *b, uint16_t type, uint16_t flags, const void *fixed, size_t fixed_len, const char *what, int tolerate);
/* Sends what is there and waits for the last answer. Requests after a failed one are carried out nevertheless; the first error is told.
 * An empty batch succeeds. The batch may be used again. */
CS_MUST_CHECK int cs_nl_run(struct cs_nl *b, struct cs_err **err);
/* Where failing changes nothing for the caller: told in the log at debug. */
void cs_nl_try(struct cs_nl *b);

/* One request whose answer is objects: b holds exactly one message (NLM_F_DUMP, or a plain get). each() returns MNL_CB_OK or MNL_CB_STOP. */
CS_MUST_CHECK int cs_nl_ask(struct cs_nl *b, mnl_cb_t each, void *ctx, struct cs_err **err);
