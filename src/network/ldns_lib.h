/* SPDX-License-Identifier: Apache-2.0
 *
 * libldns, loaded for the first query: with libssl and libcrypto behind it, it would make up a sixth of an idle engine. */
#pragma once

#include <ldns/ldns.h>

#include "base/error.h"

#define CS_LDNS_FUNCTIONS(X)                                                                                                                         \
	X(ldns_wire2pkt)                                                                                                                             \
	X(ldns_pkt2wire)                                                                                                                             \
	X(ldns_pkt_new)                                                                                                                              \
	X(ldns_pkt_free)                                                                                                                             \
	X(ldns_pkt_question)                                                                                                                         \
	X(ldns_pkt_arcount)                                                                                                                          \
	X(ldns_pkt_edns)                                                                                                                             \
	X(ldns_pkt_edns_udp_size)                                                                                                                    \
	X(ldns_pkt_edns_version)                                                                                                                     \
	X(ldns_pkt_edns_do)                                                                                                                          \
	X(ldns_pkt_tsig)                                                                                                                             \
	X(ldns_pkt_push_rr)                                                                                                                          \
	X(ldns_pkt_set_id)                                                                                                                           \
	X(ldns_pkt_set_qr)                                                                                                                           \
	X(ldns_pkt_set_rd)                                                                                                                           \
	X(ldns_pkt_set_ra)                                                                                                                           \
	X(ldns_pkt_set_tc)                                                                                                                           \
	X(ldns_pkt_set_rcode)                                                                                                                        \
	X(ldns_pkt_set_edns_udp_size)                                                                                                                \
	X(ldns_pkt_set_edns_extended_rcode)                                                                                                          \
	X(ldns_pkt_set_edns_do)                                                                                                                      \
	X(ldns_rr_list_rr)                                                                                                                           \
	X(ldns_rr_new)                                                                                                                               \
	X(ldns_rr_clone)                                                                                                                             \
	X(ldns_rr_owner)                                                                                                                             \
	X(ldns_rr_get_type)                                                                                                                          \
	X(ldns_rr_get_class)                                                                                                                         \
	X(ldns_rr_set_owner)                                                                                                                         \
	X(ldns_rr_set_type)                                                                                                                          \
	X(ldns_rr_set_ttl)                                                                                                                           \
	X(ldns_rr_push_rdf)                                                                                                                          \
	X(ldns_rdf_new_frm_data)                                                                                                                     \
	X(ldns_rdf_data)                                                                                                                             \
	X(ldns_rdf_size)

#define CS_LDNS_MEMBER_(f) __typeof__(f) *(f);
struct cs_ldns {
	CS_LDNS_FUNCTIONS(CS_LDNS_MEMBER_)
};
extern struct cs_ldns cs_ldns; /* its functions may be called between get and put only */

CS_MUST_CHECK int cs_ldns_get(struct cs_err **err);
void cs_ldns_put(void);
