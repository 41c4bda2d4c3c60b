/* SPDX-License-Identifier: Apache-2.0
 *
 * Three small programs of type cgroup/sock_addr, assembled by hand: bpf(2), linux/bpf.h. */
#include "network/firewall_bpf.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/statfs.h>

#include "base/bpf.h"
#include "base/io.h"
#include "base/log.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

struct key { /* as the programs build it */
	uint32_t proto, port; /* the port in network order, in the lower half, as in bpf_sock_addr */
};
struct target {
	uint32_t ip[4], port;
	uint32_t mapped; /* an IPv4 address: for connect only */
};

#define MOV BI_MOV
#define MOV_K BI_MOV_K
#define ADD_K BI_ADD_K
#define CALL BI_CALL
#define WIDE BI_WIDE
#define LOAD(dst, src, off) BI_LOAD(BPF_W, dst, src, off)
#define STORE(dst, off, src) BI_STORE(BPF_W, dst, off, src)
#define STORE64(dst, off, src) BI_STORE(BPF_DW, dst, off, src)
#define OUT 0 /* label */
#define UNLESS(reg, k) BI_JUMP32_K(BPF_JNE, reg, k, OUT) /* leaves when it is not so */
#define LEAVE_IF_0(reg) BI_JUMP_K(BPF_JEQ, reg, 0, OUT)

/* r6 is the context; in another network namespace we have nothing to do */
#define BEGIN(cookie)                                                                                                  \
	MOV(BPF_REG_6, BPF_REG_1), CALL(BPF_FUNC_get_netns_cookie), WIDE(BPF_REG_1, 0, cookie), BI_JUMP(BPF_JNE, BPF_REG_0, BPF_REG_1, OUT)
#define END BI_LABEL(OUT), MOV_K(BPF_REG_0, 1), BI_EXIT /* 1: go on */
#define CTX(member) (int16_t)offsetof(struct bpf_sock_addr, member)
#define IP(i) (int16_t)(offsetof(struct bpf_sock_addr, user_ip6) + 4 * (i))

static int make_map(uint32_t type, uint32_t key, uint32_t value, uint32_t max, uint32_t flags)
{
	union bpf_attr a = {.map_type = type, .key_size = key, .value_size = value, .max_entries = max, .map_flags = flags};

	memcpy(a.map_name, "caisson_lo6", sizeof("caisson_lo6"));
	return sys_bpf(BPF_MAP_CREATE, &a);
}

static int load(struct bpf_insn *code, size_t n, enum bpf_attach_type where)
{
	union bpf_attr a = {.prog_type = BPF_PROG_TYPE_CGROUP_SOCK_ADDR, .expected_attach_type = where};

	return cs_bpf_load("caisson_lo6", "Apache-2.0", code, n, &a);
}

/* connect and (where the kernel can) sendmsg: ::1 and a published port become the container's address. Remembered for UDP, whose answers show where they come from. */
static int load_there(const struct fw_bpf *b, uint64_t cookie, enum bpf_attach_type where)
{
	struct bpf_insn code[] = {
		BEGIN(cookie),
		LOAD(BPF_REG_1, BPF_REG_6, IP(0)), UNLESS(BPF_REG_1, 0), LOAD(BPF_REG_1, BPF_REG_6, IP(1)), UNLESS(BPF_REG_1, 0),
		LOAD(BPF_REG_1, BPF_REG_6, IP(2)), UNLESS(BPF_REG_1, 0), LOAD(BPF_REG_1, BPF_REG_6, IP(3)), UNLESS(BPF_REG_1, htonl(1)),
		/* key at -8 */
		LOAD(BPF_REG_8, BPF_REG_6, CTX(protocol)), STORE(BPF_REG_10, -8, BPF_REG_8),
		LOAD(BPF_REG_9, BPF_REG_6, CTX(user_port)), STORE(BPF_REG_10, -4, BPF_REG_9),
		WIDE(BPF_REG_1, BPF_PSEUDO_MAP_FD, b->ports), MOV(BPF_REG_2, BPF_REG_10), ADD_K(BPF_REG_2, -8), CALL(BPF_FUNC_map_lookup_elem), LEAVE_IF_0(BPF_REG_0),
		MOV(BPF_REG_7, BPF_REG_0),
		LOAD(BPF_REG_1, BPF_REG_7, offsetof(struct target, mapped)), where == BPF_CGROUP_UDP6_SENDMSG ? UNLESS(BPF_REG_1, 0) : MOV_K(BPF_REG_1, 0),
		/* address and port, and the flow's key at -40: cookie of the socket, address, port */
		LOAD(BPF_REG_1, BPF_REG_7, 0), STORE(BPF_REG_6, IP(0), BPF_REG_1), STORE(BPF_REG_10, -32, BPF_REG_1),
		LOAD(BPF_REG_1, BPF_REG_7, 4), STORE(BPF_REG_6, IP(1), BPF_REG_1), STORE(BPF_REG_10, -28, BPF_REG_1),
		LOAD(BPF_REG_1, BPF_REG_7, 8), STORE(BPF_REG_6, IP(2), BPF_REG_1), STORE(BPF_REG_10, -24, BPF_REG_1),
		LOAD(BPF_REG_1, BPF_REG_7, 12), STORE(BPF_REG_6, IP(3), BPF_REG_1), STORE(BPF_REG_10, -20, BPF_REG_1),
		LOAD(BPF_REG_1, BPF_REG_7, 16), STORE(BPF_REG_6, CTX(user_port), BPF_REG_1), STORE(BPF_REG_10, -16, BPF_REG_1),
		MOV_K(BPF_REG_1, 0), STORE(BPF_REG_10, -12, BPF_REG_1),
		UNLESS(BPF_REG_8, IPPROTO_UDP),
		MOV(BPF_REG_1, BPF_REG_6), CALL(BPF_FUNC_get_socket_cookie), STORE64(BPF_REG_10, -40, BPF_REG_0),
		STORE(BPF_REG_10, -4, BPF_REG_9),
		WIDE(BPF_REG_1, BPF_PSEUDO_MAP_FD, b->flows), MOV(BPF_REG_2, BPF_REG_10), ADD_K(BPF_REG_2, -40), MOV(BPF_REG_3, BPF_REG_10), ADD_K(BPF_REG_3, -4),
		MOV_K(BPF_REG_4, 0), CALL(BPF_FUNC_map_update_elem),
		END,
	};

	return load(code, CS_ARRAY_SIZE(code), where);
}

/* recvmsg: what a container answers to such a datagram came from ::1. */
static int load_back(const struct fw_bpf *b, uint64_t cookie)
{
	struct bpf_insn code[] = {
		BEGIN(cookie),
		LOAD(BPF_REG_1, BPF_REG_6, IP(0)), STORE(BPF_REG_10, -32, BPF_REG_1), LOAD(BPF_REG_1, BPF_REG_6, IP(1)), STORE(BPF_REG_10, -28, BPF_REG_1),
		LOAD(BPF_REG_1, BPF_REG_6, IP(2)), STORE(BPF_REG_10, -24, BPF_REG_1), LOAD(BPF_REG_1, BPF_REG_6, IP(3)), STORE(BPF_REG_10, -20, BPF_REG_1),
		LOAD(BPF_REG_1, BPF_REG_6, CTX(user_port)), STORE(BPF_REG_10, -16, BPF_REG_1), MOV_K(BPF_REG_1, 0), STORE(BPF_REG_10, -12, BPF_REG_1),
		MOV(BPF_REG_1, BPF_REG_6), CALL(BPF_FUNC_get_socket_cookie), STORE64(BPF_REG_10, -40, BPF_REG_0),
		WIDE(BPF_REG_1, BPF_PSEUDO_MAP_FD, b->flows), MOV(BPF_REG_2, BPF_REG_10), ADD_K(BPF_REG_2, -40), CALL(BPF_FUNC_map_lookup_elem), LEAVE_IF_0(BPF_REG_0),
		LOAD(BPF_REG_7, BPF_REG_0, 0),
		MOV_K(BPF_REG_1, 0), STORE(BPF_REG_6, IP(0), BPF_REG_1), STORE(BPF_REG_6, IP(1), BPF_REG_1), STORE(BPF_REG_6, IP(2), BPF_REG_1),
		MOV_K(BPF_REG_1, (int32_t)htonl(1)), STORE(BPF_REG_6, IP(3), BPF_REG_1), STORE(BPF_REG_6, CTX(user_port), BPF_REG_7),
		END,
	};

	return load(code, CS_ARRAY_SIZE(code), BPF_CGROUP_UDP6_RECVMSG);
}

static int open_cgroup(void)
{
	static const char *const places[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};

	for (size_t i = 0; i < CS_ARRAY_SIZE(places); i++) {
		int fd = open(places[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		struct statfs st;

		if (fd >= 0 && fstatfs(fd, &st) == 0 && st.f_type == CGROUP2_SUPER_MAGIC)
			return fd;
		cs_close(fd);
	}
	return -ENOENT;
}

static int own_cookie(uint64_t *ret)
{
	cs_autofd int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(*ret);

	return fd < 0 || getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, ret, &len) < 0 ? -errno : 0;
}

static int start(struct fw_bpf *b)
{
	static const enum bpf_attach_type where[3] = {BPF_CGROUP_INET6_CONNECT, BPF_CGROUP_UDP6_SENDMSG, BPF_CGROUP_UDP6_RECVMSG};
	cs_autofd int cgroup = open_cgroup();
	uint64_t cookie;
	int r;

	if (cgroup < 0)
		return cgroup;
	r = own_cookie(&cookie);
	if (r < 0)
		return r;
	b->ports = make_map(BPF_MAP_TYPE_HASH, sizeof(struct key), sizeof(struct target), 131072, BPF_F_NO_PREALLOC);
	if (b->ports < 0)
		return b->ports;
	b->flows = make_map(BPF_MAP_TYPE_LRU_HASH, 32, 4, 4096, 0);
	if (b->flows < 0)
		return b->flows;
	for (int i = 0; i < 3; i++) {
		cs_autofd int prog = i < 2 ? load_there(b, cookie, where[i]) : load_back(b, cookie);
		union bpf_attr a = {.link_create = {.prog_fd = (uint32_t)prog, .target_fd = (uint32_t)cgroup, .attach_type = where[i]}};

		if (prog < 0)
			return prog;
		b->links[i] = sys_bpf(BPF_LINK_CREATE, &a); /* unlike an attachment it ends with its descriptor */
		if (b->links[i] < 0)
			return b->links[i];
	}
	return 0;
}

/* Published on ::1 by this item? Its map's key and value. */
static bool entry_of(const struct fw_bpf *b, const struct fw_item *it, struct key *k, struct target *t)
{
	static const struct in6_addr loopback = IN6ADDR_LOOPBACK_INIT;
	const uint8_t *key = it->bytes, *data = it->bytes + it->klen;
	bool mapped = it->set == FW_lo46;
	uint16_t port;

	if (it->set == FW_port6 && memcmp(key, &loopback, 16) == 0)
		key += 16;
	else if (it->set != FW_any6 && !mapped)
		return false;
	if (!mapped && !b->six)
		return false;
	memcpy(&port, key + 4, 2);
	*k = (struct key){.proto = key[0], .port = port};
	*t = (struct target){.ip = {0, 0, htonl(0xffff)}, .mapped = mapped};
	memcpy(mapped ? &t->ip[3] : t->ip, data, mapped ? 4 : 16);
	memcpy(&port, data + (mapped ? 4 : 16), 2);
	t->port = port;
	return true;
}

static void put(struct fw_bpf *b, const struct key *k, const struct target *t)
{
	union bpf_attr a = {.map_fd = (uint32_t)b->ports, .key = (uintptr_t)k, .value = (uintptr_t)t};
	int r = sys_bpf(t ? BPF_MAP_UPDATE_ELEM : BPF_MAP_DELETE_ELEM, &a);

	if (r < 0 && t)
		cs_debug("network", "firewall: port %u of ::1: %s", ntohs((uint16_t)k->port), cs_errno_text(-r));
}

static bool bridge_filters(void)
{
	cs_autostr struct cs_str s = CS_STR_INIT(64);

	return cs_read_file_at(AT_FDCWD, "/proc/sys/net/bridge/bridge-nf-call-ip6tables", &s) == 0 && s.len > 0 && s.buf[0] == '1';
}

static bool has_mapped(const struct fw_store *s)
{
	for (size_t i = 0; i < s->cap; i++) {
		if (s->slots[i] && s->slots[i]->set == FW_lo46 && s->slots[i]->refs > 0)
			return true;
	}
	return false;
}

static bool begin(struct fw_bpf *b, bool mapped)
{
	int r = start(b);

	if (r == 0) {
		b->failed = 0;
		return b->on = true;
	}
	fw_bpf_stop(b);
	b->failed = -r;
	cs_log(mapped ? CS_LOG_WARN : CS_LOG_DEBUG, "network", "firewall: ::1 will not reach all published ports: no BPF programs at a cgroup2: %s", cs_errno_text(-r));
	return false;
}

void fw_bpf_start(struct fw_bpf *b, const struct fw_store *s)
{
	bool six = bridge_filters(), mapped = has_mapped(s);
	struct key k;
	struct target t;

	if (b->on ? !six || b->six : (!six && !mapped) || !begin(b, mapped))
		return;
	b->six = six;
	for (size_t i = 0; i < s->cap; i++) {
		if (s->slots[i] && s->slots[i]->refs > 0 && entry_of(b, s->slots[i], &k, &t))
			put(b, &k, &t);
	}
}

void fw_bpf_stop(struct fw_bpf *b)
{
	for (int i = 0; i < 3; i++)
		cs_close(b->links[i]);
	cs_close(b->ports);
	cs_close(b->flows);
	*b = (struct fw_bpf)FW_BPF_INIT;
}

void fw_bpf_follow(struct fw_bpf *b, const struct fw_store *s)
{
	bool mapped = false;
	struct key k;
	struct target to;

	for (size_t i = 0; !b->on && i < s->n_touched; i++)
		mapped |= s->touched[i].item->set == FW_lo46 && fw_touched_adds(&s->touched[i]);
	if (mapped && !b->failed) {
		fw_bpf_start(b, s);
		return;
	}
	for (size_t i = 0; b->on && i < s->n_touched; i++) {
		const struct fw_touched *t = &s->touched[i];

		if (entry_of(b, t->item, &k, &to) && (fw_touched_adds(t) || fw_touched_deletes(t)))
			put(b, &k, t->item->refs > 0 ? &to : NULL);
	}
}
