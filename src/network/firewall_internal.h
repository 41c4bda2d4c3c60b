/* SPDX-License-Identifier: Apache-2.0
 *
 * The firewall's model. Everything under `lock`. */
#pragma once

#include <pthread.h>
#include <uthash.h>

#include "base/guard.h"
#include "network/firewall_bpf.h"
#include "network/firewall_script.h"

struct fw_network {
	char *bridge;
	struct cs_firewall_network spec; /* its strings are this object's */
	char **trusted;
	UT_hash_handle hh;
};

struct fw_endpoint {
	char *id, *name, *ifname, *bridge, *sandbox;
	uint32_t ifindex;
	uint8_t mac[6];
	struct cs_fw_addr v4, v6, *more;
	size_t n_more;
	bool antispoof;
	char *rules[2];  /* ACLs: bodies of the chains for in and out; NULL: none */
	uint64_t serial; /* of the chains' names */
	struct fw_endpoint *next_in_sandbox;
	UT_hash_handle hh;
};

struct fw_sandbox {
	char *id;
	struct fw_endpoint *first;
	UT_hash_handle hh;
};

struct fw_balancer {
	char *id;
	struct cs_firewall_lb spec; /* its arrays are this object's */
	UT_hash_handle hh;
};

#define FW_OWN_GENERATIONS 16

struct cs_firewall {
	pthread_mutex_t lock;
	char table[32];
	bool enabled, settled;
	bool failed; /* settling did, or a transaction: the rules are not there, or perhaps not right, so nothing new is let onto a bridge before they are */
	void (*restored)(void *arg, const struct cs_err *err);
	void (*behind)(void *arg);
	void (*bridges)(void *arg);
	void *arg;
	struct fw_nl nl;
	struct fw_store store;
	struct fw_bpf bpf;
	struct fw_network *networks;
	struct fw_endpoint *endpoints;
	struct fw_sandbox *sandboxes;
	struct fw_balancer *balancers;
	uint64_t serial;
	uint64_t balance;  /* the content of the balancers' rules as we made them; FW_BALANCE_UNKNOWN: they may be others' */
	unsigned chains;   /* that are in the tables only when they are needed: firewall_script.h */
	uint32_t own[FW_OWN_GENERATIONS]; /* numbers of transactions that libnftables did for us (the socket's are known by its port) */
	unsigned n_own;
	/* the monitor's */
	pthread_t monitor;
	bool monitored;
	bool foreign_bridges; /* others have rules for bridges */
	int stop[2], events; /* pipe, netlink socket */
};

#define FW_LOCKED(fw) CS_GUARD(&(fw)->lock)

/* Both tables from the model: repaired where they are of this version, else made anew. `thorough`: somebody has changed them (firewall_script.h). */
CS_MUST_CHECK int fw_rebuild(struct cs_firewall *fw, bool thorough, struct cs_err **err);
/* Settles once more if that failed. For whoever adds something that the rules are needed for. */
CS_MUST_CHECK int fw_mend(struct cs_firewall *fw, struct cs_err **err);
/* Brings what the store's transaction changed, and `script` (ACLs' chains; may be NULL), into the kernel; on failure the store is as before. A table that
 * is not as we left it is rebuilt with it. */
CS_MUST_CHECK int fw_commit(struct cs_firewall *fw, const char *script, struct cs_err **err);

/* The same for what goes, and is gone from the model in any case: whoever had it is no more. If the kernel cannot follow, the next endpoint settles
 * (fw_mend), or whoever is told that we are behind. */
CS_MUST_CHECK int fw_withdraw(struct cs_firewall *fw, const char *script, struct cs_err **err);

/* Set `bridged` becomes what the host's br_netfilter is; part of the caller's transaction. */
CS_MUST_CHECK int fw_note_bridged(struct cs_firewall *fw, struct cs_err **err);

/* Lets the host's loopback reach containers of the bridge (firewall_loopback.c); best effort, debug log. */
void fw_open_loopback(const struct fw_network *n);

/* HNS ACLs as bodies of chains; NULL where no ACL has that direction. INVALID names the member: "ACL policy 2: RemotePorts: …". */
CS_MUST_CHECK int fw_acl_rules(const struct cs_firewall_acl *acls, size_t n, char **in, char **out, struct cs_err **err);
/* Of an endpoint with ACLs, for what it gets (way 0, "in") or sends (1, "out"): its chain, nothing where no ACL has that direction; and its element of
 * map acl_in or acl_out, always: what finds none, or comes back from its chain, is dropped. */
void fw_acl_put_chain(struct cs_str *out, const struct fw_endpoint *e, int way);
void fw_acl_put_verdict(struct cs_str *out, const struct fw_endpoint *e, int way);
extern const char *const fw_acl_ways[2];
static inline bool fw_acl_has(const struct fw_endpoint *e) { return e->rules[0] || e->rules[1]; }

CS_MUST_CHECK int fw_monitor_start(struct cs_firewall *fw, struct cs_err **err);
void fw_monitor_stop(struct cs_firewall *fw);
