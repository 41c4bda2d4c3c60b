/* SPDX-License-Identifier: Apache-2.0
 *
 * The old kernel interface of iptables (iptables-legacy), whose tables nft does not show: whether they stand in the way of forwarded
 * traffic. */
#pragma once

#include "base/str.h"

struct fw_legacy {
	bool forward_drops;  /* the policy of filter's FORWARD */
	struct cs_str rules; /* "filter FORWARD, raw PREROUTING": chains with rules of the host's through which forwarded traffic comes;
				empty: none */
};
/* Of this thread's network namespace. No table comes into being by it. What cannot be read is left out. */
void fw_legacy_look(bool v6, struct fw_legacy *ret);
void fw_legacy_done(struct fw_legacy *l);
