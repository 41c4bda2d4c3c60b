/* SPDX-License-Identifier: Apache-2.0
 *
 * Host ports: reserved by a socket that is bound and never used, so that the kernel says what is free, nobody else gets the port
 * while it is published, and it is free again when the engine dies. Traffic never reaches the socket: the firewall translates it before.
 *
 * Any thread. One descriptor per reservation (one for both families where the same port of 0.0.0.0 and :: is wanted): 10,000
 * ports need 10,000 descriptors; EMFILE is told as such. */
#pragma once

#include "network/firewall.h"

struct cs_port_hold; /* a reservation of one port number on one or more addresses */

struct cs_port_request {
	uint8_t proto;                  /* IPPROTO_TCP, _UDP, _SCTP */
	const struct cs_fw_addr *addrs; /* the host's; the same port is reserved on all. At least one */
	size_t n_addrs;
	uint16_t first, last; /* the first free one of the range; both 0: any of net.ipv4.ip_local_port_range, which the kernel picks */
	bool apart;           /* a descriptor for each address, so that the reservation can be split */
	const void *by;       /* what is suspended for this one is not in its way; NULL */
};

/* Errors: CONFLICT: held by another reservation of this process: "Bind for 0.0.0.0:8080 failed: port is already allocated"; by a stranger:
 * "failed to bind host port for 0.0.0.0:8080/tcp: address already in use: port 8080/tcp on 0.0.0.0 is held by nginx (pid 812)"; no port of a range
 * is free. INVALID: the address is not the host's, an empty range. UNAVAILABLE: too many open files. */
CS_MUST_CHECK int cs_port_hold(const struct cs_port_request *r, struct cs_port_hold **ret, struct cs_err **err);
uint16_t cs_port_hold_number(const struct cs_port_hold *h);
void cs_port_release(struct cs_port_hold *h); /* accepts NULL */
/* Of one that is `apart`: h keeps its first n addresses, and the others are a reservation of their own. 0 < n < all. */
struct cs_port_hold *cs_port_split(struct cs_port_hold *h, size_t n);
/* Reservations that are to be in place of h may have its addresses, nobody else of this process; of the host's others somebody quick could. */
void cs_port_suspend(struct cs_port_hold *h, const void *by);
CS_MUST_CHECK int cs_port_resume(struct cs_port_hold *h, struct cs_err **err); /* they came to nothing: h is as before. On failure its addresses are free to others of the host */
