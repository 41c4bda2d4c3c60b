/* SPDX-License-Identifier: Apache-2.0
 *
 * Batches of set elements, and small questions to nf_tables (linux/netfilter/nf_tables.h; the kernel answers a batch within sendmsg). */
#include "network/firewall_nl.h"

#include <arpa/inet.h>
#include <assert.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <string.h>

#define MESSAGE_ROOM 66000 /* one message's nested attributes end at 65535 */
#define LIST_MAX 60000
#define BATCH_MAX ((size_t)128 << 20)

int fw_nl_open(struct fw_nl *nl, struct cs_err **err)
{
	int on = 1;

	nl->sock = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
	if (!nl->sock || mnl_socket_bind(nl->sock, 0, MNL_SOCKET_AUTOPID) < 0) {
		int sys = errno;

		fw_nl_close(nl);
		return cs_fail(err, CS_ERR_UNAVAILABLE, sys, "netfilter's netlink socket");
	}
	/* the kernel's words about an error, without a copy of what it is about; both may be missing */
	(void)mnl_socket_setsockopt(nl->sock, NETLINK_EXT_ACK, &on, sizeof(on));
	(void)mnl_socket_setsockopt(nl->sock, NETLINK_CAP_ACK, &on, sizeof(on));
	nl->portid = mnl_socket_get_portid(nl->sock);
	nl->room = 0;
	return 0;
}

void fw_nl_close(struct fw_nl *nl)
{
	if (nl->sock)
		(void)mnl_socket_close(nl->sock);
	nl->sock = NULL;
}

static struct nlmsghdr *put_header(void *at, uint16_t type, uint16_t flags, uint32_t seq, uint8_t family, uint16_t res_id)
{
	struct nlmsghdr *h = mnl_nlmsg_put_header(at);
	struct nfgenmsg *g;

	h->nlmsg_type = type;
	h->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	h->nlmsg_seq = seq;
	g = mnl_nlmsg_put_extra_header(h, sizeof(*g));
	g->nfgen_family = family;
	g->version = NFNETLINK_V0;
	g->res_id = htons(res_id);
	return h;
}

#define NFT_MSG(x) (uint16_t)((NFNL_SUBSYS_NFTABLES << 8) | (x))

/* ---- one batch ---- */

static void put_item(struct nlmsghdr *h, const struct fw_item *it, bool add)
{
	struct nlattr *elem = mnl_attr_nest_start(h, NFTA_LIST_ELEM), *part = mnl_attr_nest_start(h, NFTA_SET_ELEM_KEY);

	mnl_attr_put(h, NFTA_DATA_VALUE, it->klen, it->bytes);
	mnl_attr_nest_end(h, part);
	if (add && it->dlen) {
		part = mnl_attr_nest_start(h, NFTA_SET_ELEM_DATA);
		mnl_attr_put(h, NFTA_DATA_VALUE, it->dlen, it->bytes + it->klen);
		mnl_attr_nest_end(h, part);
	}
	mnl_attr_nest_end(h, elem);
}

/* All touched items of one set and one direction, in as many messages as they need. */
static bool put_set(struct cs_str *batch, uint32_t seq, const char *table, enum fw_set_id set, bool add, const struct fw_touched *t, size_t n, size_t *last)
{
	struct nlmsghdr *h = NULL;
	struct nlattr *list = NULL;

	for (size_t i = 0; i < n; i++) {
		if (t[i].item->set != set || !(add ? fw_touched_adds(&t[i]) : fw_touched_deletes(&t[i])))
			continue;
		if (h && (size_t)((char *)mnl_nlmsg_get_payload_tail(h) - (char *)list) > LIST_MAX) {
			mnl_attr_nest_end(h, list);
			batch->len += h->nlmsg_len;
			h = NULL;
		}
		if (!h) {
			void *at = cs_str_reserve(batch, MESSAGE_ROOM);

			if (!at)
				return false;
			*last = batch->len;
			h = put_header(at, NFT_MSG(add ? NFT_MSG_NEWSETELEM : NFT_MSG_DELSETELEM), add ? NLM_F_CREATE : 0, seq,
			               fw_sets[set].bridge ? NFPROTO_BRIDGE : NFPROTO_INET, 0);
			mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_TABLE, table);
			mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_SET, fw_sets[set].name);
			list = mnl_attr_nest_start(h, NFTA_SET_ELEM_LIST_ELEMENTS);
		}
		put_item(h, t[i].item, add);
	}
	if (h) {
		mnl_attr_nest_end(h, list);
		batch->len += h->nlmsg_len;
	}
	return true;
}

static bool put_mark(struct cs_str *batch, uint16_t type, uint32_t seq)
{
	void *at = cs_str_reserve(batch, 64);

	if (!at)
		return false;
	batch->len += put_header(at, type, 0, seq, AF_UNSPEC, NFNL_SUBSYS_NFTABLES)->nlmsg_len;
	return true;
}

/* A batch must be one packet, however large. */
static void make_room(struct fw_nl *nl, size_t len)
{
	int want = (int)CS_MIN(len + 65536, (size_t)INT32_MAX / 2), fd = mnl_socket_get_fd(nl->sock);

	if (len + 4096 <= CS_MAX(nl->room, (size_t)131072))
		return;
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &want, sizeof(want)) < 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &want, sizeof(want)); /* up to net.core.wmem_max, else EMSGSIZE tells */
	nl->room = (size_t)want;
}

static const char *ack_text(const struct nlmsghdr *h)
{
	const struct nlmsgerr *e = mnl_nlmsg_get_payload(h);
	size_t skip = sizeof(*e);
	const struct nlattr *a;

	if (!(h->nlmsg_flags & NLM_F_ACK_TLVS))
		return NULL;
	if (!(h->nlmsg_flags & NLM_F_CAPPED))
		skip += e->msg.nlmsg_len - sizeof(e->msg);
	mnl_attr_for_each(a, h, skip) {
		if (mnl_attr_get_type(a) == NLMSGERR_ATTR_MSG && mnl_attr_validate(a, MNL_TYPE_NUL_STRING) >= 0)
			return mnl_attr_get_str(a);
	}
	return NULL;
}

/* Everything is queued when sendmsg returns. The acknowledgement of the last message comes only when the batch was committed. */
static int read_answers(struct fw_nl *nl, uint32_t seq, const char *table, struct cs_err **err)
{
	char buf[16384];
	bool acked = false;
	int r = 0;

	for (;;) {
		ssize_t n = recv(mnl_socket_get_fd(nl->sock), buf, sizeof(buf), MSG_DONTWAIT);
		int left = (int)n;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0)
			return cs_fail(err, CS_ERR_INTERNAL, errno, "nftables table %s: answer", table);
		for (const struct nlmsghdr *h = (const void *)buf; mnl_nlmsg_ok(h, left); h = mnl_nlmsg_next(h, &left)) {
			const struct nlmsgerr *e = mnl_nlmsg_get_payload(h);
			const char *text;

			if (h->nlmsg_type != NLMSG_ERROR || h->nlmsg_seq != seq)
				continue;
			if (e->error == 0) {
				acked = true;
				continue;
			}
			text = ack_text(h);
			r = r < 0 ? r : cs_fail(err, CS_ERR_INTERNAL, -e->error, "nftables table %s%s%s", table, text ? ": " : "", text ? text : "");
		}
	}
	if (r == 0 && !acked)
		return cs_fail(err, CS_ERR_INTERNAL, 0, "nftables table %s: the kernel did not answer", table);
	return r;
}

int fw_nl_apply(struct fw_nl *nl, const char *table, const struct fw_touched *t, size_t n, struct cs_err **err)
{
	cs_autostr struct cs_str batch = CS_STR_INIT(BATCH_MAX);
	uint32_t seq = ++nl->seq;
	bool used[2][FW_SET_MAX] = {{false}}, ok;
	size_t last = 0;

	for (size_t i = 0; i < n; i++) {
		used[0][t[i].item->set] |= fw_touched_deletes(&t[i]);
		used[1][t[i].item->set] |= fw_touched_adds(&t[i]);
	}
	ok = put_mark(&batch, NFNL_MSG_BATCH_BEGIN, seq);
	for (int add = 0; ok && add < 2; add++) {
		for (unsigned set = 0; ok && set < FW_SET_MAX; set++)
			ok = !used[add][set] || set == FW_lo46 || put_set(&batch, seq, table, set, add, t, n, &last);
	}
	if (ok && last == 0)
		return 0;
	if (!ok || !put_mark(&batch, NFNL_MSG_BATCH_END, seq))
		return cs_fail(err, CS_ERR_INTERNAL, ENOMEM, "nftables table %s: a batch of %zu elements", table, n);
	((struct nlmsghdr *)(void *)(batch.buf + last))->nlmsg_flags |= NLM_F_ACK;
	make_room(nl, batch.len);
	if (mnl_socket_sendto(nl->sock, batch.buf, batch.len) < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "nftables table %s: send %zu bytes", table, batch.len);
	return read_answers(nl, seq, table, err);
}

/* ---- questions ---- */

static int ask(struct fw_nl *nl, struct nlmsghdr *h, int (*fn)(const struct nlmsghdr *h, void *arg), void *arg)
{
	char buf[32768];
	int r = 1;

	if (mnl_socket_sendto(nl->sock, h, h->nlmsg_len) < 0)
		return -errno;
	while (r > 0) {
		ssize_t n = mnl_socket_recvfrom(nl->sock, buf, sizeof(buf));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		r = mnl_cb_run(buf, (size_t)n, h->nlmsg_seq, nl->portid, fn, arg);
		if (r < 0)
			return -errno;
		if (!(h->nlmsg_flags & NLM_F_DUMP))
			break;
	}
	return 0;
}

/* What is left of a dump that was given up: the next answer would stand behind it, and the kernel begins no other dump before its end. */
static void forget(struct fw_nl *nl)
{
	char buf[32768];
	ssize_t n;

	do
		n = recv(mnl_socket_get_fd(nl->sock), buf, sizeof(buf), MSG_DONTWAIT);
	while (n > 0 || (n < 0 && errno == EINTR));
}

int fw_nl_ask(struct fw_nl *nl, struct nlmsghdr *h, int (*fn)(const struct nlmsghdr *h, void *arg), void *arg)
{
	int r = ask(nl, h, fn, arg);

	if (r < 0)
		forget(nl);
	return r;
}

static int take_generation(const struct nlmsghdr *h, void *arg)
{
	const struct nlattr *a;

	mnl_attr_for_each(a, h, sizeof(struct nfgenmsg)) {
		if (mnl_attr_get_type(a) == NFTA_GEN_ID && mnl_attr_validate(a, MNL_TYPE_U32) >= 0)
			*(uint32_t *)arg = ntohl(mnl_attr_get_u32(a));
	}
	return MNL_CB_STOP;
}

int fw_nl_generation(struct fw_nl *nl, uint32_t *ret, struct cs_err **err)
{
	char buf[64];
	uint32_t id = 0;
	int r = fw_nl_ask(nl, put_header(buf, NFT_MSG(NFT_MSG_GETGEN), 0, ++nl->seq, AF_UNSPEC, 0), take_generation, &id);

	if (r < 0)
		return cs_fail(err, CS_ERR_INTERNAL, -r, "nftables generation");
	*ret = id;
	return 0;
}

static int take_nothing(const struct nlmsghdr *h, void *arg) { return MNL_CB_STOP; }

int fw_nl_has_tables(struct fw_nl *nl, const char *table, bool *ret, struct cs_err **err)
{
	static const uint8_t families[] = {NFPROTO_INET, NFPROTO_BRIDGE};

	for (size_t i = 0; i < CS_ARRAY_SIZE(families); i++) {
		char buf[256];
		struct nlmsghdr *h = put_header(buf, NFT_MSG(NFT_MSG_GETTABLE), 0, ++nl->seq, families[i], 0);
		int r;

		mnl_attr_put_strz(h, NFTA_TABLE_NAME, table);
		r = fw_nl_ask(nl, h, take_nothing, NULL);
		if (r == -ENOENT) {
			*ret = false;
			return 0;
		}
		if (r < 0)
			return cs_fail(err, CS_ERR_INTERNAL, -r, "nftables table %s", table);
	}
	*ret = true;
	return 0;
}
