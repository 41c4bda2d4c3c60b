/* SPDX-License-Identifier: Apache-2.0
 *
 * Endpoints by key (a name in wire form, or an address): a hash table with one writer at a time and a reader who takes no lock. A node is
 * never changed but for its link; another list of endpoints is another node. */
#pragma once

#include "network/dns_table.h"

/* Writers, under the table's lock. An endpoint that is there already under that key is not added twice. */
void cs_dns_map_add(struct cs_dns_table *t, struct cs_dns_map *m, const uint8_t *key, size_t len, const struct cs_dns_endpoint *e);
void cs_dns_map_remove(struct cs_dns_table *t, struct cs_dns_map *m, const uint8_t *key, size_t len, const struct cs_dns_endpoint *e);
void cs_dns_map_free(struct cs_dns_map *m); /* nobody reads it any more */
/* The reader. */
const struct cs_dns_node *cs_dns_map_get(const struct cs_dns_table *t, const struct cs_dns_map *m, const uint8_t *key, size_t len);
