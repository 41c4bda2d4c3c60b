/* SPDX-License-Identifier: Apache-2.0 */
#include "network/firewall_legacy.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/netfilter.h>
#include <linux/netfilter_ipv4/ip_tables.h>
#include <linux/netfilter_ipv6/ip6_tables.h>
#include <string.h>

#include "base/io.h"

#define TABLE_MAX (16u << 20)

/* Both families have the same options (IP6T_SO_GET_INFO, IP6T_SO_GET_ENTRIES), and the same structures but for what an entry matches. */
_Static_assert(sizeof(struct ipt_getinfo) == sizeof(struct ip6t_getinfo), "the families' structures differ");

static bool get_info(int fd, bool v6, const char *table, struct ipt_getinfo *info)
{
	socklen_t len = sizeof(*info);

	*info = (struct ipt_getinfo){0};
	memcpy(info->name, table, strnlen(table, sizeof(info->name) - 1));
	return getsockopt(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, IPT_SO_GET_INFO, info, &len) == 0;
}

/* A chain's policy is the verdict of its last entry. */
static bool policy_drops(int fd, bool v6, const struct ipt_getinfo *info, unsigned hook)
{
	size_t head = v6 ? offsetof(struct ip6t_get_entries, entrytable) : offsetof(struct ipt_get_entries, entrytable),
	       at = info->underflow[hook];
	socklen_t len = (socklen_t)(head + info->size);
	struct xt_standard_target t;
	uint16_t target;

	if (info->size > TABLE_MAX)
		return false;
	cs_autofree char *buf = cs_xcalloc(1, len);
	memcpy(buf, info->name, sizeof(info->name));
	memcpy(buf + (v6 ? offsetof(struct ip6t_get_entries, size) : offsetof(struct ipt_get_entries, size)), &info->size,
	       sizeof(info->size));
	if (getsockopt(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, IPT_SO_GET_ENTRIES, buf, &len) < 0)
		return false; /* it has just changed */
	size_t field = v6 ? offsetof(struct ip6t_entry, target_offset) : offsetof(struct ipt_entry, target_offset);
	if (at > info->size || info->size - at < field + sizeof(target))
		return false;
	memcpy(&target, buf + head + at + field, sizeof(target));
	if (info->size - at < target + sizeof(t))
		return false;
	memcpy(&t, buf + head + at + target, sizeof(t));
	return t.verdict == -NF_DROP - 1;
}

static void look_at(int fd, bool v6, const char *table, struct fw_legacy *ret)
{
	static const struct {
		unsigned hook;
		const char *chain;
	} v[] = {{NF_INET_PRE_ROUTING, "PREROUTING"}, {NF_INET_FORWARD, "FORWARD"}};
	struct ipt_getinfo info;

	if (strcmp(table, "nat") == 0 || !get_info(fd, v6, table, &info))
		return;
	for (size_t i = 0; i < CS_ARRAY_SIZE(v); i++) {
		unsigned hook = v[i].hook;
		if (!(info.valid_hooks & 1u << hook))
			continue;
		if (info.hook_entry[hook] != info.underflow[hook])
			cs_str_putf(&ret->rules, "%s%s %s", ret->rules.len ? ", " : "", table, v[i].chain);
		if (hook == NF_INET_FORWARD && strcmp(table, "filter") == 0)
			ret->forward_drops = policy_drops(fd, v6, &info, hook);
	}
}

void fw_legacy_look(bool v6, struct fw_legacy *ret)
{
	cs_autostr struct cs_str names = CS_STR_INIT(4096);

	*ret = (struct fw_legacy){.rules = CS_STR_INIT(4096)};
	/* only tables that are there: asking for another one would make it */
	if (cs_read_file_at(AT_FDCWD, v6 ? "/proc/thread-self/net/ip6_tables_names" : "/proc/thread-self/net/ip_tables_names", &names) <
		    0 ||
	    names.len == 0)
		return;
	cs_autofd int fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
	if (fd < 0)
		return;
	for (char *line = names.buf; *line;) {
		size_t n = strcspn(line, "\n");
		char *next = line + n + (line[n] != '\0');
		line[n] = '\0';
		look_at(fd, v6, line, ret);
		line = next;
	}
}

void fw_legacy_done(struct fw_legacy *l) { cs_str_done(&l->rules); }
