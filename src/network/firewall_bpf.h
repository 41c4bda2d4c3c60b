/* SPDX-License-Identifier: Apache-2.0
 *
 * ::1 where br_netfilter sees IPv6: there the bridge itself undoes the translation of an answer, and the IP layer behind it drops what then says ::1.
 * So connections of the host's to ::1 and a published port are turned towards the container in connect(2) and sendmsg(2) already: BPF programs
 * at the root of the cgroup tree, which end with this process. Without them only that corner is missing. firewall.c's lock is held. */
#pragma once

#include "network/firewall_store.h"

struct fw_bpf {
	bool on;
	int ports, flows; /* maps */
	int links[3];
};

#define FW_BPF_INIT {.ports = -EBADF, .flows = -EBADF, .links = {-EBADF, -EBADF, -EBADF}}

/* Begins, when net.bridge.bridge-nf-call-ip6tables is set and it has not begun. Without the means to: debug log. */
void fw_bpf_start(struct fw_bpf *b, const struct fw_store *s);
void fw_bpf_stop(struct fw_bpf *b);
/* The items of a transaction, before the store forgets it. */
void fw_bpf_follow(struct fw_bpf *b, const struct fw_touched *t, size_t n);
