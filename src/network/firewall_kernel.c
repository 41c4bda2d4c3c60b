/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading our own tables: their comment, chains, and all elements of their sets (linux/netfilter/nf_tables.h). */
#include "network/firewall_kernel.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <string.h>

#define COMMENT 0      /* libnftnl's NFTNL_UDATA_TABLE_COMMENT: type, length with the zero, text */

struct reader {
	struct fw_nl *nl;
	const char *table, *version;
	struct fw_store *s;
	struct fw_kernel *k;
	enum fw_set_id set;
	bool bridge, same;
};

static struct nlmsghdr *request(void *at, struct reader *r, uint16_t type, uint16_t flags)
{
	struct nlmsghdr *h = mnl_nlmsg_put_header(at);
	struct nfgenmsg *g;

	h->nlmsg_type = (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type);
	h->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	h->nlmsg_seq = ++r->nl->seq;
	g = mnl_nlmsg_put_extra_header(h, sizeof(*g));
	g->nfgen_family = r->bridge ? NFPROTO_BRIDGE : NFPROTO_INET;
	g->version = NFNETLINK_V0;
	return h;
}

static int take_table(const struct nlmsghdr *h, void *arg)
{
	struct reader *r = arg;
	const struct nlattr *a;
	bool in_force = true, same = false;

	mnl_attr_for_each(a, h, sizeof(struct nfgenmsg)) {
		const uint8_t *data = mnl_attr_get_payload(a);
		size_t n = mnl_attr_get_payload_len(a), len = strlen(r->version) + 1;

		if (mnl_attr_get_type(a) == NFTA_TABLE_FLAGS)
			in_force = n >= 4 && mnl_attr_get_u32(a) == 0;
		if (mnl_attr_get_type(a) == NFTA_TABLE_USERDATA)
			same = n >= 2 + len && data[0] == COMMENT && data[1] == len && memcmp(data + 2, r->version, len) == 0;
	}
	r->same = in_force && same;
	return MNL_CB_STOP;
}

static bool table_is(const struct nlattr *a, const char *table)
{
	return mnl_attr_validate(a, MNL_TYPE_NUL_STRING) >= 0 && strcmp(mnl_attr_get_str(a), table) == 0;
}

static int take_chain(const struct nlmsghdr *h, void *arg)
{
	struct reader *r = arg;
	struct fw_kernel_chain c = {.bridge = r->bridge};
	const struct nlattr *a;
	bool ours = false;

	mnl_attr_for_each(a, h, sizeof(struct nfgenmsg)) {
		if (mnl_attr_get_type(a) == NFTA_CHAIN_TABLE)
			ours = table_is(a, r->table);
		if (mnl_attr_get_type(a) == NFTA_CHAIN_NAME && mnl_attr_validate(a, MNL_TYPE_NUL_STRING) >= 0 && mnl_attr_get_payload_len(a) <= sizeof(c.name))
			memcpy(c.name, mnl_attr_get_str(a), mnl_attr_get_payload_len(a));
	}
	if (!ours)
		return MNL_CB_OK;
	if (!*c.name) { /* a longer name: no chain of ours, and none to be deleted by half a name */
		r->same = false;
		return MNL_CB_OK;
	}
	r->k->chains = cs_xreallocarray(r->k->chains, r->k->n_chains + 1, sizeof(c));
	r->k->chains[r->k->n_chains++] = c;
	return MNL_CB_OK;
}

/* FNV-1a. Expressions name sets, those without a name by a number that is not given again, so equal ones do the same. */
static uint64_t mix(uint64_t h, const struct nlattr *a)
{
	const uint8_t *data = a ? mnl_attr_get_payload(a) : NULL;

	for (size_t i = 0; a && i < mnl_attr_get_payload_len(a); i++)
		h = ((h ? h : 14695981039346656037u) ^ data[i]) * 1099511628211u;
	return h;
}

static int take_rule(const struct nlmsghdr *h, void *arg)
{
	struct reader *r = arg;
	char name[64] = "";
	const struct nlattr *a, *expressions = NULL;
	bool ours = false;

	mnl_attr_for_each(a, h, sizeof(struct nfgenmsg)) {
		if (mnl_attr_get_type(a) == NFTA_RULE_TABLE)
			ours = table_is(a, r->table);
		if (mnl_attr_get_type(a) == NFTA_RULE_CHAIN && mnl_attr_validate(a, MNL_TYPE_NUL_STRING) >= 0 && mnl_attr_get_payload_len(a) <= sizeof(name))
			memcpy(name, mnl_attr_get_str(a), mnl_attr_get_payload_len(a));
		if (mnl_attr_get_type(a) == NFTA_RULE_EXPRESSIONS)
			expressions = a;
	}
	for (size_t i = 0; ours && i < r->k->n_chains; i++) {
		struct fw_kernel_chain *c = &r->k->chains[i];

		if (c->bridge == r->bridge && strcmp(c->name, name) == 0) {
			c->rules++;
			c->content = mix(c->content, expressions);
		}
	}
	return MNL_CB_OK;
}

/* A key or data: the value inside, of `len` bytes or, for a single field, what that field really has. */
static bool copy_value(const struct nlattr *nest, uint8_t *to, size_t len)
{
	const struct nlattr *a;

	mnl_attr_for_each_nested(a, nest) {
		size_t n = mnl_attr_get_payload_len(a);

		if (mnl_attr_get_type(a) == NFTA_DATA_VALUE && (n == len || (len == 4 && n == 1))) {
			memcpy(to, mnl_attr_get_payload(a), n);
			return true;
		}
	}
	return false;
}

static void take_element(struct reader *r, const struct nlattr *nest)
{
	struct fw_elem e = fw_elem(r->set);
	const struct nlattr *a, *key = NULL, *data = NULL;
	struct fw_item *it;

	fw_set_lengths(r->set, &e.klen, &e.dlen);
	mnl_attr_for_each_nested(a, nest) {
		if (mnl_attr_get_type(a) == NFTA_SET_ELEM_KEY)
			key = a;
		if (mnl_attr_get_type(a) == NFTA_SET_ELEM_DATA)
			data = a;
	}
	if (!key || !copy_value(key, e.bytes, e.klen) || (e.dlen && (!data || !copy_value(data, e.bytes + e.klen, e.dlen)))) {
		r->same = false; /* a set of another type under this name */
		return;
	}
	it = fw_store_find(r->s, &e);
	if (it && it->refs > 0 && memcmp(it->bytes + it->klen, e.bytes + e.klen, e.dlen) == 0) {
		it->there = true;
		return;
	}
	if ((r->k->n_foreign & (r->k->n_foreign - 1)) == 0)
		r->k->foreign = cs_xreallocarray(r->k->foreign, CS_MAX((size_t)1, r->k->n_foreign * 2), sizeof(e));
	r->k->foreign[r->k->n_foreign++] = e;
}

static int take_elements(const struct nlmsghdr *h, void *arg)
{
	const struct nlattr *a, *one;

	mnl_attr_for_each(a, h, sizeof(struct nfgenmsg)) {
		if (mnl_attr_get_type(a) != NFTA_SET_ELEM_LIST_ELEMENTS)
			continue;
		mnl_attr_for_each_nested(one, a)
			take_element(arg, one);
	}
	return MNL_CB_OK;
}

/* 0 or -errno. */
static int read_once(struct reader *r)
{
	char buf[512];
	int n = 0;

	for (int bridge = 0; bridge < 2; bridge++) {
		struct nlmsghdr *h;

		r->bridge = bridge;
		r->same = false;
		h = request(buf, r, NFT_MSG_GETTABLE, 0);
		mnl_attr_put_strz(h, NFTA_TABLE_NAME, r->table);
		n = fw_nl_ask(r->nl, h, take_table, r);
		if (n == -ENOENT)
			return 0;
		if (n < 0 || !r->same)
			return n;
		n = fw_nl_ask(r->nl, request(buf, r, NFT_MSG_GETCHAIN, NLM_F_DUMP), take_chain, r);
		h = request(buf, r, NFT_MSG_GETRULE, NLM_F_DUMP);
		mnl_attr_put_strz(h, NFTA_RULE_TABLE, r->table);
		if (n == 0)
			n = fw_nl_ask(r->nl, h, take_rule, r);
		for (unsigned set = 0; n == 0 && set < FW_SET_MAX; set++) {
			if (!fw_set_is_in(set, r->bridge))
				continue;
			r->set = set;
			h = request(buf, r, NFT_MSG_GETSETELEM, NLM_F_DUMP);
			mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_TABLE, r->table);
			mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_SET, fw_sets[set].name);
			n = fw_nl_ask(r->nl, h, take_elements, r);
			if (n == -ENOENT)
				n = 0; /* somebody took the set away: it has no elements */
		}
		if (n < 0 || !r->same)
			return n;
	}
	return 0;
}

uint64_t fw_kernel_balance(struct fw_nl *nl, const char *table)
{
	struct fw_kernel_chain balance = {.name = "balance"};
	struct fw_kernel k = {.chains = &balance, .n_chains = 1};
	struct reader r = {.nl = nl, .table = table, .k = &k};
	char buf[512];
	struct nlmsghdr *h = request(buf, &r, NFT_MSG_GETRULE, NLM_F_DUMP);
	int n;

	mnl_attr_put_strz(h, NFTA_RULE_TABLE, table);
	mnl_attr_put_strz(h, NFTA_RULE_CHAIN, balance.name);
	n = fw_nl_ask(nl, h, take_rule, &r);
	return n == 0 && balance.rules ? balance.content : FW_BALANCE_UNKNOWN;
}

int fw_kernel_read(struct fw_nl *nl, const char *table, const char *version, struct fw_store *s, bool *same, struct fw_kernel *ret, struct cs_err **err)
{
	struct reader r = {.nl = nl, .table = table, .version = version, .s = s, .k = ret};
	int n = 0;

	for (int i = 0; i < FW_NL_TRIES; i++) {
		fw_kernel_done(ret);
		for (size_t j = 0; j < s->cap; j++) {
			if (s->slots[j])
				s->slots[j]->there = false;
		}
		n = read_once(&r);
		if (n != -EINTR)
			break;
	}
	if (n < 0)
		return cs_fail(err, CS_ERR_INTERNAL, -n, "read nftables table %s", table);
	*same = r.same;
	return 0;
}

void fw_kernel_done(struct fw_kernel *k)
{
	free(k->chains);
	free(k->foreign);
	*k = (struct fw_kernel){0};
}
