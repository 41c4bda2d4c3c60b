/* SPDX-License-Identifier: Apache-2.0
 *
 * What our tables in the kernel hold, compared with what they shall. */
#pragma once

#include "network/firewall_nl.h"

struct fw_kernel {
	struct fw_kernel_chain {
		bool bridge; /* the table */
		char name[64];
		size_t rules;
		uint64_t content; /* a hash of its rules */
	} *chains;
	size_t n_chains;
	struct fw_elem *foreign; /* elements that the store has not, or with other data */
	size_t n_foreign;
};

/* Reads both tables and marks in the store which items are there as they shall be (fw_item.there). *same: both tables are there, of this version
 * (fw_script_version, in their comment) and in force; else nothing is read. Free with fw_kernel_done in any case. */
CS_MUST_CHECK int fw_kernel_read(struct fw_nl *nl, const char *table, const char *version, struct fw_store *s, bool *same, struct fw_kernel *ret, struct cs_err **err);
/* What the rules of chain balance are now, as a hash. */
#define FW_BALANCE_ANY 0
#define FW_BALANCE_UNKNOWN UINT64_MAX
uint64_t fw_kernel_balance(struct fw_nl *nl, const char *table);
void fw_kernel_done(struct fw_kernel *k);
