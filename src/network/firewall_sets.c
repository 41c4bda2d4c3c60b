/* SPDX-License-Identifier: Apache-2.0
 *
 * Elements of the firewall's sets: bytes and text. */
#include "network/firewall_sets.h"

#include <arpa/inet.h>
#include <assert.h>
#include <string.h>

const struct fw_set fw_sets[FW_SET_MAX] = {
#define X(name_, bridge_, key_, data_, declared_) [FW_##name_] = {#name_, bridge_, key_, data_, declared_},
	FW_SETS(X)
#undef X
};

static const struct {
	uint8_t size, room; /* what it is, and rounded up to registers */
	const char *name;
} kinds[] = {
	[FW_IFNAME] = {IFNAMSIZ, IFNAMSIZ, "ifname"}, [FW_IP4] = {4, 4, "ipv4_addr"}, [FW_IP6] = {16, 16, "ipv6_addr"}, [FW_PROTO] = {1, 4, "inet_proto"},
	[FW_PORT] = {2, 4, "inet_service"},           [FW_MAC] = {6, 8, "ether_addr"}, [FW_SLOT] = {4, 4, "integer"}, [FW_IFINDEX] = {4, 4, "iface_index"},
};

static struct fw_elem *put(struct fw_elem *e, enum fw_field kind, const void *value)
{
	const struct fw_set *s = &fw_sets[e->set];
	size_t keys = strnlen((const char *)s->key, sizeof(s->key));
	bool in_key = e->fields < keys;
	uint8_t *at = e->bytes + e->klen + e->dlen;

	assert((in_key ? s->key[e->fields] : s->data[e->fields - keys]) == kind);
	memcpy(at, value, kinds[kind].size); /* the rest of the register is zero from the start */
	if (in_key)
		e->klen = (uint8_t)(e->klen + kinds[kind].room);
	else
		e->dlen = (uint8_t)(e->dlen + kinds[kind].room);
	e->fields++;
	return e;
}

struct fw_elem *fw_put_ifname(struct fw_elem *e, const char *name)
{
	char padded[IFNAMSIZ] = "";

	memcpy(padded, name, strnlen(name, IFNAMSIZ - 1));
	return put(e, FW_IFNAME, padded);
}

struct fw_elem *fw_put_addr(struct fw_elem *e, const struct cs_fw_addr *a) { return put(e, a->family == AF_INET ? FW_IP4 : FW_IP6, a->bytes); }
struct fw_elem *fw_put_proto(struct fw_elem *e, uint8_t proto) { return put(e, FW_PROTO, &proto); }
struct fw_elem *fw_put_mac(struct fw_elem *e, const uint8_t mac[6]) { return put(e, FW_MAC, mac); }
struct fw_elem *fw_put_slot(struct fw_elem *e, uint32_t slot) { return put(e, FW_SLOT, &slot); } /* numgen and jhash count in the host's order */
struct fw_elem *fw_put_ifindex(struct fw_elem *e, uint32_t index) { return put(e, FW_IFINDEX, &index); }

struct fw_elem *fw_put_port(struct fw_elem *e, uint16_t port)
{
	uint16_t wire = htons(port);

	return put(e, FW_PORT, &wire);
}

static uint8_t room_of(const uint8_t *fields, size_t max)
{
	unsigned n = 0;

	for (size_t i = 0; i < max && fields[i] != FW_END; i++)
		n += kinds[fields[i]].room;
	return (uint8_t)n;
}

void fw_set_lengths(enum fw_set_id set, uint8_t *key, uint8_t *data)
{
	*key = room_of(fw_sets[set].key, sizeof(fw_sets[set].key));
	*data = room_of(fw_sets[set].data, sizeof(fw_sets[set].data));
}

bool fw_elem_whole(const struct fw_elem *e)
{
	const struct fw_set *s = &fw_sets[e->set];

	return e->fields == strnlen((const char *)s->key, sizeof(s->key)) + strnlen((const char *)s->data, sizeof(s->data));
}

static void format_fields(struct cs_str *out, const uint8_t *fields, size_t max, const uint8_t *at)
{
	for (size_t i = 0; i < max && fields[i] != FW_END; i++) {
		char text[FW_ADDR_TEXT];
		uint32_t number;

		if (i)
			cs_str_puts(out, " . ");
		switch ((enum fw_field)fields[i]) {
		case FW_IFNAME: cs_str_putf(out, "\"%.*s\"", IFNAMSIZ - 1, (const char *)at); break;
		case FW_IP4: cs_str_puts(out, inet_ntop(AF_INET, at, text, sizeof(text))); break;
		case FW_IP6: cs_str_puts(out, inet_ntop(AF_INET6, at, text, sizeof(text))); break;
		case FW_PROTO: cs_str_put_u64(out, at[0]); break;
		case FW_PORT: cs_str_put_u64(out, (uint64_t)at[0] << 8 | at[1]); break;
		case FW_MAC: cs_str_putf(out, "%02x:%02x:%02x:%02x:%02x:%02x", at[0], at[1], at[2], at[3], at[4], at[5]); break;
		case FW_SLOT:
		case FW_IFINDEX:
			memcpy(&number, at, sizeof(number));
			cs_str_put_u64(out, number);
			break;
		case FW_END: break;
		}
		at += kinds[fields[i]].room;
	}
}

/* The target's type has no name, so nft wants a number there. */
static void format_target(struct cs_str *out, const uint8_t *key)
{
	cs_str_putf(out, "\"%.*s\" . 0x", IFNAMSIZ - 1, (const char *)key);
	for (size_t i = 0; i < 16; i++)
		cs_str_putf(out, "%02x", key[IFNAMSIZ + i]);
}

void fw_format_elem(struct cs_str *out, enum fw_set_id set, const uint8_t *key, const uint8_t *data)
{
	const struct fw_set *s = &fw_sets[set];

	if (set == FW_targets6)
		format_target(out, key);
	else
		format_fields(out, s->key, sizeof(s->key), key);
	if (s->data[0] != FW_END) {
		cs_str_puts(out, " : ");
		format_fields(out, s->data, sizeof(s->data), data);
	}
}

static void format_type(struct cs_str *out, const uint8_t *fields, size_t max)
{
	for (size_t i = 0; i < max && fields[i] != FW_END; i++)
		cs_str_putf(out, "%s%s", i ? " . " : "", kinds[fields[i]].name);
}

void fw_format_set(struct cs_str *out, enum fw_set_id set, const char *prefix)
{
	const struct fw_set *s = &fw_sets[set];

	cs_str_putf(out, "%s %s%s { ", s->data[0] != FW_END ? "map" : "set", prefix, s->name);
	if (s->declared) {
		cs_str_puts(out, s->declared);
	} else {
		cs_str_puts(out, "type ");
		format_type(out, s->key, sizeof(s->key));
		if (s->data[0] != FW_END) {
			cs_str_puts(out, " : ");
			format_type(out, s->data, sizeof(s->data));
		}
	}
	cs_str_puts(out, "; ");
}

bool fw_addr_is_any(const struct cs_fw_addr *a)
{
	static const uint8_t zero[16];

	return memcmp(a->bytes, zero, a->family == AF_INET ? 4 : 16) == 0;
}

bool fw_addr_equal(const struct cs_fw_addr *a, const struct cs_fw_addr *b)
{
	return a->family == b->family && memcmp(a->bytes, b->bytes, a->family == AF_INET ? 4 : 16) == 0;
}

struct cs_fw_addr fw_addr4(struct in_addr a)
{
	struct cs_fw_addr r = {.family = a.s_addr ? AF_INET : 0};

	r.v4 = a;
	return r;
}

struct cs_fw_addr fw_addr6(const struct in6_addr *a)
{
	struct cs_fw_addr r = {.family = IN6_IS_ADDR_UNSPECIFIED(a) ? 0 : AF_INET6};

	r.v6 = *a;
	return r;
}

const char *fw_addr_text(const struct cs_fw_addr *a, char buf[FW_ADDR_TEXT])
{
	return a->family && inet_ntop(a->family, a->bytes, buf, FW_ADDR_TEXT) ? buf : "none";
}

const char *fw_proto_text(uint8_t proto)
{
	return proto == IPPROTO_TCP ? "tcp" : proto == IPPROTO_UDP ? "udp" : proto == IPPROTO_SCTP ? "sctp" : NULL;
}
