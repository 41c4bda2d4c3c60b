/* SPDX-License-Identifier: Apache-2.0
 *
 * Capability names and sets: Docker's default fourteen, CapAdd and CapDrop with or without "CAP_", ALL, privileged. */
#include <string.h>
#include <strings.h>

#include "base/caps.h"
#include "engine/hostfacts.h"
#include "engine/spec.h"

#define ALL_CAPS ((1ull << (CS_CAP_LAST + 1)) - 1)

uint64_t cs_caps_default(void)
{
	/* chown, dac_override, fowner, fsetid, kill, setgid, setuid, setpcap, net_bind_service, net_raw, sys_chroot, mknod, audit_write, setfcap */
	static const int set[] = {0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31};
	uint64_t v = 0;

	for (size_t i = 0; i < CS_ARRAY_SIZE(set); i++)
		v |= 1ull << set[i];
	return v;
}

static int parse_list(const char *field, char *const *list, uint64_t *set, bool *all, struct cs_err **err)
{
	*set = 0;
	*all = false;
	for (size_t i = 0; list && list[i]; i++) {
		if (strcasecmp(list[i], "ALL") == 0) {
			*all = true;
			continue;
		}
		int cap = cs_cap_by_name(list[i]);
		if (cap < 0) {
			cs_autofree char *up = cs_xstrdup(list[i]);
			for (char *p = up; *p; p++)
				*p = *p >= 'a' && *p <= 'z' ? (char)(*p - 32) : *p;
			return cs_fail(err, CS_ERR_INVALID, 0, "invalid %s: unknown capability: \"%s%.64s\"", field,
				       cs_prefix(up, "CAP_") ? "" : "CAP_", up);
		}
		*set |= 1ull << cap;
	}
	return 0;
}

int cs_caps_effective(char *const *add, char *const *drop, bool privileged, uint64_t *ret, struct cs_err **err)
{
	uint64_t adds, drops, set;
	bool add_all, drop_all;

	if (parse_list("CapAdd", add, &adds, &add_all, err) < 0 || parse_list("CapDrop", drop, &drops, &drop_all, err) < 0)
		return -1;
	if (privileged)
		set = ALL_CAPS;
	else if (add_all)
		set = drop_all ? 0 : ALL_CAPS & ~drops;
	else if (drop_all)
		set = adds;
	else
		set = (cs_caps_default() & ~drops) | adds;
	*ret = set & cs_host_facts()->capabilities;
	return 0;
}

void cs_caps_put(uint64_t set, struct cs_str *out)
{
	bool first = true;

	cs_str_putc(out, '[');
	for (size_t i = 0; i < (size_t)CS_CAP_LAST + 1; i++) {
		if (!(set & (1ull << i)))
			continue;
		cs_str_puts(out, first ? "\"" : ",\"");
		cs_str_puts(out, cs_cap_name((int)i));
		cs_str_putc(out, '"');
		first = false;
	}
	cs_str_putc(out, ']');
}
