/* SPDX-License-Identifier: Apache-2.0
 *
 * Nearly all that a container sends goes to the host's stack: to the host itself, or through it to the world. The bridge and its rules find that out
 * anew for each packet, and where br_netfilter is on, the host's IP chains are asked within the bridge. A program on the outer end of the veth (tc-bpf(8), in
 * the classifier of what comes in) hands those packets to the bridge's interface itself, as the bridge would have: frames from the container's hardware
 * address to the bridge's, with its own IP address, TCP and UDP where it is IPv6, and none to 127.0.0.0/8. That is a part of what the rules let pass unasked
 * (sets passing4 and passing6 in firewall_script.c); all else takes the way through the rules, as everything does where there is no such program. Frames like
 * these to other containers take it, too, but the rules need not look them up again: they bear a priority (which a veth has set to zero before, so nobody inside
 * can give it).
 *
 * So it is left away wherever the way matters: with ACLs, on bridges that are not ours alone, and while the host has bridge rules of its own. It comes when a
 * container has lived for a while, so that starts and short lives do not pay for it. */
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <string.h>

#include "base/bpf.h"
#include "network/edge.h"

#define NAME "caisson_host"
#define PRIORITY CS_FIREWALL_GROUP /* of the filter among others': behind most */

/* ---- the program ---- */

enum { SLOW, IP6, GOOD, OTHERS }; /* labels */
#define AT(size, off) BI_LOAD(size, BPF_REG_4, BPF_REG_2, off)
#define UNLESS(k) BI_JUMP32_K(BPF_JNE, BPF_REG_4, k, SLOW)
#define CTX(member) (int16_t)offsetof(struct __sk_buff, member)
#define LONGER_THAN(n) BI_MOV(BPF_REG_0, BPF_REG_2), BI_ADD_K(BPF_REG_0, n), BI_JUMP(BPF_JGT, BPF_REG_0, BPF_REG_3, SLOW)
#define NO_TYPE 0x10000 /* what 16 bits never are */

static uint32_t word(const void *bytes)
{
	uint32_t w;

	memcpy(&w, bytes, sizeof(w));
	return w;
}

static uint16_t half(const void *bytes)
{
	uint16_t h;

	memcpy(&h, bytes, sizeof(h));
	return h;
}

static int load(const struct HcnEndpoint *e, const struct cs_link_info *bridge)
{
	uint8_t v4[16] = {0}, v6[16] = {0};

	if (e->v4.ip.family)
		(void)cs_ip_bytes(e->v4.ip, v4);
	if (e->v6.ip.family)
		(void)cs_ip_bytes(e->v6.ip, v6);
	struct bpf_insn code[] = {
		BI_LOAD(BPF_W, BPF_REG_2, BPF_REG_1, CTX(data)), BI_LOAD(BPF_W, BPF_REG_3, BPF_REG_1, CTX(data_end)),
		BI_LOAD(BPF_W, BPF_REG_4, BPF_REG_1, CTX(vlan_present)), UNLESS(0),
		LONGER_THAN(ETH_HLEN + sizeof(struct iphdr)),
		AT(BPF_W, 8), UNLESS(word(e->mac + 2)), AT(BPF_H, 6), UNLESS(half(e->mac)),
		AT(BPF_H, 12), BI_JUMP32_K(BPF_JEQ, BPF_REG_4, e->v6.ip.family ? htons(ETH_P_IPV6) : NO_TYPE, IP6), UNLESS(e->v4.ip.family ? htons(ETH_P_IP) : NO_TYPE),
		AT(BPF_W, ETH_HLEN + offsetof(struct iphdr, saddr)), UNLESS(word(v4)),
		AT(BPF_B, ETH_HLEN + offsetof(struct iphdr, daddr)), BI_JUMP32_K(BPF_JEQ, BPF_REG_4, 127, SLOW),
		BI_JUMP_K(BPF_JA, 0, 0, GOOD),
		BI_LABEL(IP6),
		LONGER_THAN(ETH_HLEN + sizeof(struct ip6_hdr)),
#define SOURCE(i) AT(BPF_W, ETH_HLEN + offsetof(struct ip6_hdr, ip6_src) + 4 * (i)), UNLESS(word(v6 + 4 * (i)))
		SOURCE(0), SOURCE(1), SOURCE(2), SOURCE(3),
		AT(BPF_B, ETH_HLEN + offsetof(struct ip6_hdr, ip6_nxt)), BI_JUMP32_K(BPF_JEQ, BPF_REG_4, IPPROTO_TCP, GOOD), UNLESS(IPPROTO_UDP),
		BI_LABEL(GOOD),
		AT(BPF_W, 0), BI_JUMP32_K(BPF_JNE, BPF_REG_4, word(bridge->mac), OTHERS), AT(BPF_H, 4), BI_JUMP32_K(BPF_JNE, BPF_REG_4, half(bridge->mac + 4), OTHERS),
		BI_MOV_K(BPF_REG_1, bridge->index), BI_MOV_K(BPF_REG_2, BPF_F_INGRESS), BI_CALL(BPF_FUNC_redirect), BI_EXIT,
		BI_LABEL(OTHERS),
		BI_MOV_K(BPF_REG_4, (int32_t)CS_FIREWALL_PASSED), BI_STORE(BPF_W, BPF_REG_1, CTX(priority), BPF_REG_4),
		BI_LABEL(SLOW),
		BI_MOV_K(BPF_REG_0, TC_ACT_UNSPEC), BI_EXIT,
	};
	union bpf_attr a = {.prog_type = BPF_PROG_TYPE_SCHED_CLS};

	return cs_bpf_load(NAME, "Apache-2.0", code, CS_ARRAY_SIZE(code), &a);
}

/* ---- when ---- */

int cs_shortcut_drop(struct HcnEndpoint *e, struct cs_err **err)
{
	cs_autortnl struct cs_rtnl r = {0};
	cs_autoerr struct cs_err *why = NULL;
	struct cs_nl b;

	if (cs_host_rtnl(&r, err) < 0)
		return -1;
	cs_nl_init(&b, &r);
	cs_ingress_filter_del(&b, e->outer, PRIORITY);
	if (cs_nl_run(&b, &why) < 0 && why->sys != ENOENT && why->sys != EINVAL && why->sys != EOPNOTSUPP) /* not there, nor may the classifier be, or the kernel's */
		return cs_err_move(err, TAKE_PTR(why));
	e->shortcut = false;
	return 0;
}

/* Under the namespace's lock. */
static bool wanted(const struct HcnEndpoint *e)
{
	const struct HcnNetwork *n = e->net;

	return (n->driver == &cs_driver_nat || n->driver == &cs_driver_internal) && n->made && !e->pol.acls && !n->pol.acls && cs_edge_bridges_ours();
}

static int put(struct HcnEndpoint *e, struct cs_err **err)
{
	cs_autortnl struct cs_rtnl r = {0};
	struct cs_link_info bridge;
	struct cs_nl b;

	if (cs_host_rtnl(&r, err) < 0 || cs_link_get(&r, e->net->index, NULL, &bridge, err) < 0)
		return -1;
	cs_autofd int program = load(e, &bridge);
	if (program < 0)
		return cs_fail(err, CS_ERR_UNSUPPORTED, -program, "load a BPF program");
	cs_nl_init(&b, &r);
	cs_ingress_filter_set(&b, e->outer, PRIORITY, program, NAME);
	e->shortcut = true; /* also when the kernel's answer is lost: an ACL must not meet one that we do not know of */
	return cs_nl_run(&b, err);
}

void cs_shortcut_review(struct HcnEndpoint *e)
{
	cs_autoerr struct cs_err *err = NULL;
	struct HcnNamespace *ns cs_auto(cs_autons_done) = cs_endpoint_namespace(e);

	if (!ns)
		return;
	/* who attaches something else to it may wait for the background, whose thread this is */
	if (pthread_mutex_trylock(&ns->o.lock) != 0) {
		cs_background_review(e, true);
		return;
	}
	struct HcnNamespace *now cs_auto(cs_autons_done) = cs_endpoint_namespace(e);
	if (now == ns && e->outer && !ns->leaving) {
		bool want = wanted(e);
		if ((want ? put(e, &err) : e->shortcut ? cs_shortcut_drop(e, &err) : 0) < 0) {
			cs_autofree char *text = cs_err_text(err);
			cs_logk(want ? CS_LOG_DEBUG : CS_LOG_WARN, SUBSYS, "endpoint", e->o.text, "the host's shortcut %s: %s", want ? "is not there" : "stays for now", text);
			if (!want)
				cs_background_review(e, true);
		}
	}
	pthread_mutex_unlock(&ns->o.lock);
}

void cs_shortcuts_review(void)
{
	size_t n;
	void **v = cs_obj_all(CS_ENDPOINT, &n);

	for (size_t i = 0; i < n; i++)
		cs_shortcut_review(v[i]);
	cs_obj_put_all(CS_ENDPOINT, v, n);
}
