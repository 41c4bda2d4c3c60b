/* SPDX-License-Identifier: Apache-2.0
 *
 * Three small programs of type cgroup/sock_addr, assembled by hand: bpf(2), linux/bpf.h. */
#include "network/firewall_bpf.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

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

/* ---- files that keep the links ---- */

/* A change of their meaning gets another name. */
static const char *const names[] = {"connect", "sendmsg", "recvmsg", "flows"};
enum { FLOWS = 3, N_NAMES };

static int pin_fd(const struct fw_bpf *b, int which)
{
	cs_autofree char *path = b->dir ? cs_xasprintf("%s/%s", b->dir, names[which]) : NULL;
	union bpf_attr a = {.pathname = (uintptr_t)path};

	return path ? sys_bpf(BPF_OBJ_GET, &a) : -ENOENT;
}

static void pin(const struct fw_bpf *b, int which, int fd)
{
	cs_autofree char *path = b->dir ? cs_xasprintf("%s/%s", b->dir, names[which]) : NULL;
	union bpf_attr a = {.pathname = (uintptr_t)path, .bpf_fd = (uint32_t)fd};
	int r;

	if (!path)
		return;
	(void)unlink(path); /* one that could not be used */
	r = sys_bpf(BPF_OBJ_PIN, &a);
	if (r < 0)
		cs_debug("network", "firewall: %s: %s: ::1 of published ports ends with this process", path, cs_errno_text(-r));
}

static bool is_bpffs(const char *dir)
{
	struct statfs st;

	return statfs(dir, &st) == 0 && st.f_type == BPF_FS_MAGIC;
}

static void mount_pins(const struct fw_bpf *b)
{
	if (!b->dir || is_bpffs(b->dir))
		return;
	if ((mkdir(b->dir, 0700) < 0 && errno != EEXIST) || mount("bpf", b->dir, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") < 0)
		cs_debug("network", "firewall: a bpffs at %s: %s", b->dir, cs_errno_text(errno));
}

static void drop_pins(const struct fw_bpf *b)
{
	if (!b->dir)
		return;
	if (is_bpffs(b->dir)) {
		for (int i = 0; i < N_NAMES; i++) {
			cs_autofree char *path = cs_xasprintf("%s/%s", b->dir, names[i]);

			(void)unlink(path); /* a mount namespace of somebody's may have a copy of the mount */
		}
		(void)umount2(b->dir, MNT_DETACH | UMOUNT_NOFOLLOW);
	}
	(void)rmdir(b->dir);
}

/* ---- begin and end ---- */

/* The program takes the place of the one that an earlier life left, or gets a link of its own. */
static int attach(struct fw_bpf *b, int which, int prog, int cgroup, enum bpf_attach_type where)
{
	int fd = pin_fd(b, which);
	union bpf_attr a = {.link_update = {.link_fd = (uint32_t)fd, .new_prog_fd = (uint32_t)prog}};

	if (fd >= 0) {
		if (sys_bpf(BPF_LINK_UPDATE, &a) == 0)
			return fd;
		cs_close(fd);
	}
	a = (union bpf_attr){.link_create = {.prog_fd = (uint32_t)prog, .target_fd = (uint32_t)cgroup, .attach_type = where}};
	fd = sys_bpf(BPF_LINK_CREATE, &a); /* unlike an attachment it ends with its last descriptor or file */
	if (fd >= 0)
		pin(b, which, fd);
	return fd;
}

static bool bridge_filters(void)
{
	cs_autostr struct cs_str s = CS_STR_INIT(64);

	return cs_read_file_at(AT_FDCWD, "/proc/sys/net/bridge/bridge-nf-call-ip6tables", &s) == 0 && s.len > 0 && s.buf[0] == '1';
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

/* May the same call succeed another time? */
static bool passes(int error)
{
	return error == ENOMEM || error == EAGAIN || error == EINTR || error == EBUSY || error == EMFILE || error == ENFILE;
}

static void put(struct fw_bpf *b, const struct key *k, const struct target *t)
{
	union bpf_attr a = {.map_fd = (uint32_t)b->ports, .key = (uintptr_t)k, .value = (uintptr_t)t};
	int r = sys_bpf(t ? BPF_MAP_UPDATE_ELEM : BPF_MAP_DELETE_ELEM, &a);

	if (r == 0 || (!t && r == -ENOENT))
		return;
	b->behind |= passes(-r);
	cs_debug("network", "firewall: port %u of ::1: %s", ntohs((uint16_t)k->port), cs_errno_text(-r));
}

static void fill(struct fw_bpf *b, const struct fw_store *s)
{
	struct key k;
	struct target t;

	b->behind = false;
	for (size_t i = 0; i < s->cap; i++) {
		if (s->slots[i] && s->slots[i]->refs > 0 && entry_of(b, s->slots[i], &k, &t))
			put(b, &k, &t);
	}
}

static int start(struct fw_bpf *b, const struct fw_store *s)
{
	static const enum bpf_attach_type where[3] = {BPF_CGROUP_INET6_CONNECT, BPF_CGROUP_UDP6_SENDMSG, BPF_CGROUP_UDP6_RECVMSG};
	cs_autofd int cgroup = open_cgroup();
	uint64_t cookie = 0;
	int r;

	if (cgroup < 0)
		return cgroup;
	r = own_cookie(&cookie);
	if (r < 0)
		return r;
	b->ports = make_map(BPF_MAP_TYPE_HASH, sizeof(struct key), sizeof(struct target), 131072, BPF_F_NO_PREALLOC);
	if (b->ports < 0)
		return b->ports;
	mount_pins(b);
	b->flows = pin_fd(b, FLOWS);
	if (b->flows < 0) {
		b->flows = make_map(BPF_MAP_TYPE_LRU_HASH, 32, 4, 4096, 0);
		if (b->flows < 0)
			return b->flows;
		pin(b, FLOWS, b->flows);
	}
	fill(b, s); /* before the first program looks */
	for (int i = 0; i < 3; i++) {
		cs_autofd int prog = i < 2 ? load_there(b, cookie, where[i]) : load_back(b, cookie);

		if (prog < 0)
			return prog;
		b->links[i] = attach(b, i, prog, cgroup, where[i]);
		if (b->links[i] < 0)
			return b->links[i];
	}
	return 0;
}

/* Has the store a port for the programs? *mapped: of a container with IPv4 only. */
static bool wanted(const struct fw_bpf *b, const struct fw_store *s, bool *mapped)
{
	bool any = *mapped = false;
	struct key k;
	struct target t;

	for (size_t i = 0; i < s->cap && !*mapped; i++) {
		if (s->slots[i] && s->slots[i]->refs > 0 && entry_of(b, s->slots[i], &k, &t)) {
			any = true;
			*mapped = t.mapped;
		}
	}
	return any;
}

static void forget(struct fw_bpf *b)
{
	int *const fds[] = {&b->ports, &b->flows, &b->links[0], &b->links[1], &b->links[2]};

	for (size_t i = 0; i < CS_ARRAY_SIZE(fds); i++) {
		cs_close(*fds[i]);
		*fds[i] = -EBADF;
	}
	b->on = b->six = false;
}

void fw_bpf_init(struct fw_bpf *b, const char *dir)
{
	*b = (struct fw_bpf){.ports = -EBADF, .flows = -EBADF, .links = {-EBADF, -EBADF, -EBADF}, .missing = -1, .dir = dir ? cs_xstrdup(dir) : NULL};
}

int fw_bpf_missing(struct fw_bpf *b)
{
	if (b->on || b->failed)
		return b->failed;
	if (b->missing < 0) {
		struct bpf_insn code[] = {END};
		cs_autofd int cgroup = open_cgroup(), prog = load(code, CS_ARRAY_SIZE(code), BPF_CGROUP_INET6_CONNECT);

		b->missing = cgroup < 0 ? -cgroup : prog < 0 ? -prog : 0;
	}
	return b->missing;
}

void fw_bpf_start(struct fw_bpf *b, const struct fw_store *s)
{
	bool mapped, was = b->six;
	int r;

	b->six = bridge_filters();
	if (b->on && b->six == was)
		return;
	if (!wanted(b, s, &mapped)) {
		if (!b->on && !b->checked)
			drop_pins(b);
		b->checked = true;
		return;
	}
	b->checked = true;
	/* with programs already: others take their places in the links, and the map that knows more */
	bool six = b->six;
	forget(b);
	b->six = six;
	r = start(b, s);
	b->on = r == 0;
	b->failed = -r;
	if (r == 0)
		return;
	fw_bpf_stop(b);
	b->failed = -r;
	cs_log(mapped ? CS_LOG_WARN : CS_LOG_DEBUG, "network", "firewall: ::1 will not reach all published ports: no BPF programs at a cgroup2: %s", cs_errno_text(-r));
}

void fw_bpf_stop(struct fw_bpf *b)
{
	forget(b);
	drop_pins(b);
}

void fw_bpf_done(struct fw_bpf *b, const struct fw_store *s)
{
	bool mapped;

	if (b->on && !wanted(b, s, &mapped))
		fw_bpf_stop(b);
	forget(b);
	free(TAKE_PTR(b->dir));
}

void fw_bpf_follow(struct fw_bpf *b, const struct fw_store *s)
{
	struct key k;
	struct target to;

	for (size_t i = 0; i < s->n_touched; i++) {
		const struct fw_touched *t = &s->touched[i];
		bool adds = fw_touched_adds(t);

		if (!entry_of(b, t->item, &k, &to) || (!adds && !fw_touched_deletes(t)))
			continue;
		if (b->on) {
			put(b, &k, t->item->refs > 0 ? &to : NULL);
		} else if (adds && (!b->failed || fw_bpf_behind(b))) {
			fw_bpf_start(b, s); /* all of them */
			return;
		}
	}
}

bool fw_bpf_behind(const struct fw_bpf *b) { return b->behind || passes(b->failed); }

int fw_bpf_mend(struct fw_bpf *b, const struct fw_store *s, struct cs_err **err)
{
	bool mapped;

	if (!fw_bpf_behind(b))
		return 0;
	if (b->behind || !wanted(b, s, &mapped)) { /* keys of ports that are gone are known to nobody: another map, with other programs */
		forget(b);
		b->behind = b->checked = false;
		b->failed = 0;
	}
	fw_bpf_start(b, s);
	return fw_bpf_behind(b) ? cs_fail(err, CS_ERR_UNAVAILABLE, b->failed, "BPF programs for ::1") : 0;
}
