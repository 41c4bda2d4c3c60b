/* SPDX-License-Identifier: Apache-2.0
 *
 * The rules, as a script of nft's, and how a script is run. */
#pragma once

#include "network/firewall_kernel.h"

#define FW_SCRIPT_MAX ((size_t)256 << 20)

/* HNS ACLs: further chains of the bridge table, and the elements of its maps acl_in and acl_out ("\"veth0\" : jump acl1_in, …"); each may be "". */
struct fw_acl_text {
	const char *chains, *in, *out;
};

/* Names the rules and the sets' types: two engines whose tables bear the same have the same. 16 hex digits, static. */
const char *fw_script_version(void);
/* Replaces both tables: rules, and all elements of the store with references. A connection that comes in this moment may find neither the old nor the new. */
void fw_script_rebuild(struct cs_str *out, const char *table, const struct fw_store *s, const struct fw_acl_text *acls);
/* The same end, from tables of this version with whatever in them: base chains stay, and with them the elements that are right. What `k` says is there and is
 * not wanted goes; items of the store that are not marked as there come. Nothing that is the same before and after is missing in between. `balance`: the
 * content of the balancers' rules as we know it (FW_BALANCE_ANY: what has as many rules as it shall is ours); they and their maps are left as they are,
 * or, if somebody has changed them, made anew: before that fw_script_aside. Gives what was left, or FW_BALANCE_UNKNOWN. */
uint64_t fw_script_repair(struct cs_str *out, const char *table, const struct fw_store *s, const struct fw_kernel *k, uint64_t balance, const struct fw_acl_text *acls);
/* Balancers' rules and maps under other names, to which connections go from then on, for the time in which the others are made anew; and their end. A packet that
 * was on its way when maps go finds nothing in them: the kernel looks elements up by the number of the generation that is in force then. So they go one transaction
 * after the last rule that led to them. False: there are no balancers. */
bool fw_script_aside(struct cs_str *out, const char *table, const struct fw_store *s, const struct fw_kernel *k);
void fw_script_aside_end(struct cs_str *out, const char *table);
/* Some base chains are in the tables only while a set has elements: those that this store wants, as bits, and that of one set (0: none). */
unsigned fw_script_chains(const struct fw_store *s);
unsigned fw_script_chain_of(unsigned set);
/* What a transaction changes, as commands. */
void fw_script_changes(struct cs_str *out, const char *table, const struct fw_touched *t, size_t n);
void fw_script_delete(struct cs_str *out, const char *table);
/* One transaction. Loads libnftables meanwhile (0.9 MB that an idle engine does not have). INTERNAL with the first line of what it says. */
CS_MUST_CHECK int fw_script_run(const char *script, struct cs_err **err);
