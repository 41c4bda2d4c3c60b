/* SPDX-License-Identifier: Apache-2.0
 *
 * Watches nftables' notifications for somebody who deletes our tables or parts of them (a reload of the host's firewall with "flush ruleset"), and
 * builds them anew. Our own changes are told apart: those of our socket by its port, in a filter before they are queued; those of
 * libnftables by the number of their transaction. One thread, asleep otherwise. */
#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "network/firewall_internal.h"

#define SETTLE_MS 20       /* a reload is many transactions: wait until it is over */
#define PAUSE_MS_MAX 10000 /* between rebuilds, when somebody does it again and again; doubled from SETTLE_MS, forgotten after a quiet minute */

/* What a stretch of notifications says about our tables. */
struct seen {
	const char *table;
	bool pending;         /* something of ours went in the transaction that is being read */
	bool damaged;         /* likewise, in one that was not ours */
	bool bridges;         /* others' chains for bridges came or went */
	struct cs_firewall *fw;
};

static bool is_own(struct cs_firewall *fw, uint32_t generation)
{
	FW_LOCKED(fw); /* held while libnftables works and its number is noted */

	for (unsigned i = 0; i < CS_MIN(fw->n_own, FW_OWN_GENERATIONS); i++) {
		if (fw->own[i] == generation)
			return true;
	}
	return false;
}

static bool moves_bridges(const struct nlmsghdr *h)
{
	const struct nfgenmsg *g = mnl_nlmsg_get_payload(h);
	uint8_t type = h->nlmsg_type & 0xff;

	return (type == NFT_MSG_NEWCHAIN || type == NFT_MSG_DELCHAIN || type == NFT_MSG_DELTABLE) && g->nfgen_family == NFPROTO_BRIDGE;
}

static int look(const struct nlmsghdr *h, void *arg)
{
	struct seen *s = arg;
	const struct nlattr *a;

	if (h->nlmsg_type >> 8 != NFNL_SUBSYS_NFTABLES)
		return MNL_CB_OK;
	s->bridges |= moves_bridges(h);
	switch (h->nlmsg_type & 0xff) {
	case NFT_MSG_DELTABLE:
	case NFT_MSG_DELCHAIN:
	case NFT_MSG_DELRULE:
	case NFT_MSG_DELSET:
	case NFT_MSG_DELSETELEM:
		mnl_attr_for_each(a, h, sizeof(struct nfgenmsg)) {
			/* 1 is the table's name in all five */
			if (mnl_attr_get_type(a) == NFTA_TABLE_NAME && mnl_attr_validate(a, MNL_TYPE_NUL_STRING) >= 0 && strcmp(mnl_attr_get_str(a), s->table) == 0)
				s->pending = true;
		}
		break;
	case NFT_MSG_NEWGEN:
		mnl_attr_for_each(a, h, sizeof(struct nfgenmsg)) {
			if (mnl_attr_get_type(a) == NFTA_GEN_ID && s->pending && !is_own(s->fw, ntohl(mnl_attr_get_u32(a))))
				s->damaged = true;
		}
		s->pending = false;
		break;
	default: break;
	}
	return MNL_CB_OK;
}

/* Reads what there is. */
static void drain(int fd, struct seen *s)
{
	char buf[32768];

	for (;;) {
		ssize_t n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == ENOBUFS) { /* something was lost: is the table still there? */
			bool there = true;
			FW_LOCKED(s->fw);

			if (fw_nl_has_tables(&s->fw->nl, s->table, &there, NULL) == 0 && !there)
				s->damaged = true;
			s->pending = false;
			s->bridges = true;
			continue;
		}
		if (n <= 0)
			return;
		(void)mnl_cb_run(buf, (size_t)n, 0, 0, look, s);
	}
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void restore(struct cs_firewall *fw)
{
	cs_autoerr struct cs_err *why = NULL;
	bool settled;
	int r = 0;

	pthread_mutex_lock(&fw->lock);
	settled = fw->settled;
	if (settled)
		r = fw_rebuild(fw, true, &why);
	pthread_mutex_unlock(&fw->lock);
	if (!settled)
		return;
	if (r < 0) {
		cs_autofree char *text = cs_err_text(why);

		cs_warn("network", "firewall table %s was changed by somebody else, and cannot be restored: %s", fw->table, text);
	} else {
		cs_info("network", "firewall table %s was changed by somebody else, and is restored", fw->table);
	}
	if (fw->restored)
		fw->restored(fw->arg, why);
}

/* Tables of ebtables before nftables say nothing when they come. */
static bool has_ebtables(void)
{
	return access("/sys/module/ebtable_filter", F_OK) == 0 || access("/sys/module/ebtable_nat", F_OK) == 0 || access("/sys/module/ebtable_broute", F_OK) == 0;
}

/* Under the lock. What cannot be read counts as others'. */
static void look_at_bridges(struct cs_firewall *fw)
{
	cs_autoerr struct cs_err *err = NULL;
	bool found = true;

	if (fw_nl_bridge_chains(&fw->nl, CS_FIREWALL_TABLE, &found, &err) < 0)
		cs_debug("network", "firewall: %s", err->msg);
	fw->foreign_bridges = found || has_ebtables();
}

static void follow_bridges(struct cs_firewall *fw)
{
	bool before, now;

	pthread_mutex_lock(&fw->lock);
	before = fw->foreign_bridges;
	look_at_bridges(fw);
	now = fw->foreign_bridges;
	pthread_mutex_unlock(&fw->lock);
	if (now == before)
		return;
	cs_info("network", "firewall: %s", now ? "somebody else has rules for bridges: all packets of containers go through them" : "no more rules for bridges but ours");
	if (fw->bridges)
		fw->bridges(fw->arg);
}

static void *monitor(void *arg)
{
	struct cs_firewall *fw = arg;
	struct seen seen = {.table = fw->table, .fw = fw};
	struct pollfd p[2] = {{.fd = fw->stop[0], .events = POLLIN}, {.fd = fw->events, .events = POLLIN}};
	int64_t last = 0, pause = SETTLE_MS;

	for (;;) {
		int r = poll(p, 2, seen.damaged ? (int)pause : -1);

		if (r < 0 && errno != EINTR)
			return NULL;
		if (p[0].revents)
			return NULL;
		if (r > 0 && p[1].revents) {
			bool before = seen.damaged;

			drain(fw->events, &seen);
			if (seen.bridges)
				follow_bridges(fw);
			seen.bridges = false;
			if (!before && seen.damaged && now_ms() - last > 60000)
				pause = SETTLE_MS;
			continue;
		}
		if (r == 0 && seen.damaged) {
			seen.damaged = false;
			restore(fw);
			last = now_ms();
			pause = CS_MIN(pause * 2, (int64_t)PAUSE_MS_MAX);
		}
	}
}

/* Drops what our own socket did: the port is the sender's in the first header of each packet, and a packet is of one transaction. */
static int filter_own(int fd, uint32_t portid)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct nlmsghdr, nlmsg_pid)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htonl(portid), 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0),
		BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
	};
	struct sock_fprog prog = {CS_ARRAY_SIZE(code), code};

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog)) < 0 ? -errno : 0;
}

int fw_monitor_start(struct cs_firewall *fw, struct cs_err **err)
{
	struct sockaddr_nl addr = {.nl_family = AF_NETLINK, .nl_groups = 1u << (NFNLGRP_NFTABLES - 1)};
	int room = 16 << 20, r; /* a limit: what libnftables does at once to ten thousand ports comes here as 5 MB */

	fw->events = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
	if (fw->events < 0 || filter_own(fw->events, fw->nl.portid) < 0 || bind(fw->events, (struct sockaddr *)&addr, sizeof(addr)) < 0 || pipe2(fw->stop, O_CLOEXEC) < 0) {
		r = cs_fail(err, CS_ERR_UNAVAILABLE, errno, "watch nftables");
		fw_monitor_stop(fw);
		return r;
	}
	(void)setsockopt(fw->events, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	r = pthread_create(&fw->monitor, NULL, monitor, fw);
	if (r != 0) {
		(void)cs_fail(err, CS_ERR_UNAVAILABLE, r, "watch nftables: thread");
		fw_monitor_stop(fw);
		return -1;
	}
	fw->monitored = true;
	look_at_bridges(fw);
	return 0;
}

void fw_monitor_stop(struct cs_firewall *fw)
{
	if (fw->monitored) {
		cs_close(fw->stop[1]);
		fw->stop[1] = -EBADF;
		(void)pthread_join(fw->monitor, NULL);
		fw->monitored = false;
	}
	for (int i = 0; i < 2; i++) {
		cs_close(fw->stop[i]);
		fw->stop[i] = -EBADF;
	}
	cs_close(fw->events);
	fw->events = -EBADF;
}
