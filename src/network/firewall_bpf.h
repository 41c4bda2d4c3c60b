/* SPDX-License-Identifier: Apache-2.0
 *
 * ::1 where translation cannot do it: connections of the host's to ::1 and a published port are turned towards the container in connect(2) and sendmsg(2)
 * already, by BPF programs at the root of the cgroup tree, which end with this process. Two cases:
 *  - the container has no IPv6 address (set lo46): the target becomes an IPv4-mapped one, as if the program had connected to ::ffff:172.17.0.2. Not for
 *    sendto(2) without connect(2), and not for sockets with IPV6_V6ONLY: the kernel refuses both (ENETUNREACH for the latter).
 *  - br_netfilter sees IPv6: there the bridge itself undoes the translation of an answer, and the IP layer behind it drops what then says ::1.
 * Without the programs only these two are missing. firewall.c's lock is held. */
#pragma once

#include "network/firewall_store.h"

struct fw_bpf {
	bool on;
	bool six;   /* ports of containers with IPv6, too: br_netfilter */
	int failed; /* errno, why it could not begin */
	int ports, flows; /* maps */
	int links[3];
};

#define FW_BPF_INIT {.ports = -EBADF, .flows = -EBADF, .links = {-EBADF, -EBADF, -EBADF}}

/* Begins, or does more, when the store has elements of lo46 or net.bridge.bridge-nf-call-ip6tables is set. Without the means to: `failed`, and log. */
void fw_bpf_start(struct fw_bpf *b, const struct fw_store *s);
void fw_bpf_stop(struct fw_bpf *b);
/* The items of a transaction, before the store forgets it. May begin. */
void fw_bpf_follow(struct fw_bpf *b, const struct fw_store *s);
