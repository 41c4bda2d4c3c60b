/* SPDX-License-Identifier: Apache-2.0
 *
 * ::1 where translation cannot do it: connections of the host's to ::1 and a published port are turned towards the container in connect(2) and sendmsg(2)
 * already, by BPF programs at the root of the cgroup tree. Two cases:
 *  - the container has no IPv6 address (set lo46): the target becomes an IPv4-mapped one, as if the program had connected to ::ffff:172.17.0.2. Not for
 *    sendto(2) without connect(2), and not for sockets with IPV6_V6ONLY: the kernel refuses both (ENETUNREACH for the latter).
 *  - br_netfilter sees IPv6: there the bridge itself undoes the translation of an answer, and the IP layer behind it drops what then says ::1.
 * Without the programs only these two are missing. firewall.c's lock is held.
 *
 * The programs are held by links, and these by files in a bpffs of our own (bpf(2), BPF_OBJ_PIN), so that they outlive us as the tables do: while the engine
 * is away they serve what was published; the next one finds the links and puts its own programs into them, one step each, with its own map of ports.
 * Where there can be no such files they end with this process. */
#pragma once

#include "network/firewall_store.h"

struct fw_bpf {
	bool on;
	bool six;   /* ports of containers with IPv6, too: br_netfilter */
	int failed; /* errno, why it could not begin */
	int missing;  /* likewise, of a question beforehand; -1: not asked */
	int ports, flows; /* maps */
	int links[3];
	char *dir;    /* for the bpffs; NULL: none */
	bool checked; /* for what an earlier life left there */
	bool behind;  /* the map of ports is not what the store says */
};

/* Once, before the others; dir: borrowed, absolute, its parent is there; may be NULL. */
void fw_bpf_init(struct fw_bpf *b, const char *dir);

/* 0, or why there can be no such programs: an errno. Asks the kernel the first time only. */
int fw_bpf_missing(struct fw_bpf *b);
/* Begins, or does more, when the store has such ports; what an earlier life left is removed when it has none. Without the means to: `failed`, and log. */
void fw_bpf_start(struct fw_bpf *b, const struct fw_store *s);
/* Ends the programs. */
void fw_bpf_stop(struct fw_bpf *b);
/* Before this process ends: the programs stay when the store has ports for them and they can. */
void fw_bpf_done(struct fw_bpf *b, const struct fw_store *s);
/* The items of a transaction, before the store forgets it. May begin. */
void fw_bpf_follow(struct fw_bpf *b, const struct fw_store *s);
/* Something failed that may succeed another time; and that other time. */
bool fw_bpf_behind(const struct fw_bpf *b);
CS_MUST_CHECK int fw_bpf_mend(struct fw_bpf *b, const struct fw_store *s, struct cs_err **err);
