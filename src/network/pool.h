/* SPDX-License-Identifier: Apache-2.0
 *
 * The warm pool: network namespaces, each with lo up and a veth pair, up, whose inner end is "eth0", made beforehand by threads of their own.
 * Everything in one is held by descriptors only: when we die, the kernel takes it down. */
#pragma once

#include "base/error.h"
#include "network/rtnl.h"

#define CS_WARM_IFNAME "eth0"

struct cs_warm {
	int nsfd;             /* the namespace */
	struct cs_rtnl rt;    /* a socket inside of it */
	int outer, inner;     /* indexes of the pair's ends: on the host, inside. IPv6 is off on the inner one */
	char outer_name[16];
	int ipv6_off;         /* open net.ipv6.conf.eth0.disable_ipv6, or -1: no IPv6 in this kernel */
	struct cs_warm *next;
};
CS_MUST_CHECK int cs_pool_start(unsigned keep, struct cs_err **err);
void cs_pool_stop(void);
/* One from the pool, or the next that is made. *ret: caller's, cs_warm_free (which takes everything down). */
CS_MUST_CHECK int cs_pool_take(struct cs_warm **ret, struct cs_err **err);
void cs_warm_free(struct cs_warm *w);
/* Ready ones, those that had to be waited for, all that were made. */
struct cs_pool_stats {
	unsigned ready, target;
	uint64_t made, taken, waited;
};
void cs_pool_stats(struct cs_pool_stats *ret);
