/* SPDX-License-Identifier: Apache-2.0
 *
 * What holds for the host itself: whether it forwards between networks that are none of ours. */
#include <fcntl.h>

#include "base/io.h"
#include "network/firewall_internal.h"

static struct fw_elem family_in(enum fw_set_id set, sa_family_t family)
{
	struct fw_elem e = fw_elem(set);

	(void)fw_put_proto(&e, (uint8_t)family); /* NFPROTO_IPV4 and _IPV6 are the same numbers */
	e.klen = 1;                              /* a key of one field is not rounded up */
	return e;
}

static bool is_bridged(const char *path)
{
	cs_autostr struct cs_str s = CS_STR_INIT(64);

	return cs_read_file_at(AT_FDCWD, path, &s) == 0 && s.len > 0 && s.buf[0] != '0';
}

int fw_note_bridged(struct cs_firewall *fw, struct cs_err **err)
{
	static const struct {
		sa_family_t family;
		const char *path;
	} v[] = {{AF_INET, "/proc/sys/net/bridge/bridge-nf-call-iptables"}, {AF_INET6, "/proc/sys/net/bridge/bridge-nf-call-ip6tables"}};

	for (size_t i = 0; i < CS_ARRAY_SIZE(v); i++) {
		struct fw_elem e = family_in(FW_bridged, v[i].family);
		bool is = is_bridged(v[i].path), was = fw_store_has(&fw->store, &e);

		if (is && !was && fw_store_ref(&fw->store, &e, err) < 0)
			return -1;
		if (!is && was)
			(void)fw_store_unref(&fw->store, &e);
	}
	return 0;
}

int cs_firewall_close_host(struct cs_firewall *fw, sa_family_t family, struct cs_err **err)
{
	struct fw_elem e = family_in(FW_closed, family);
	FW_LOCKED(fw);

	if (fw_store_has(&fw->store, &e))
		return 0;
	if (fw_note_bridged(fw, err) < 0 || fw_store_ref(&fw->store, &e, err) < 0) {
		fw_store_abort(&fw->store);
		return -1;
	}
	return fw_commit(fw, NULL, err);
}
