/* SPDX-License-Identifier: Apache-2.0
 *
 * The rules, as a script of nft's, and how a script is run. */
#pragma once

#include "network/firewall_store.h"

#define FW_SCRIPT_MAX ((size_t)256 << 20)

/* Replaces both tables: rules, and all elements of the store with references. `chains` are further chains of the bridge table, `verdicts_in` and
 * `verdicts_out` elements of its maps acl_in and acl_out ("\"veth0\" : jump acl1_in, …"); each may be "". */
void fw_script_rebuild(struct cs_str *out, const char *table, const struct fw_store *s, const char *chains, const char *verdicts_in, const char *verdicts_out);
/* What a transaction changes, as commands. */
void fw_script_changes(struct cs_str *out, const char *table, const struct fw_touched *t, size_t n);
void fw_script_delete(struct cs_str *out, const char *table);
/* One transaction. Loads libnftables meanwhile (0.9 MB that an idle engine does not have). INTERNAL with the first line of what it says. */
CS_MUST_CHECK int fw_script_run(const char *script, struct cs_err **err);
