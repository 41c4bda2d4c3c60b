/* SPDX-License-Identifier: Apache-2.0
 *
 * HNS ACL policies become text in nft's language: whatever the lists hold, a rule holds nothing but words, numbers, addresses and sets of ports.
 * Input: a byte of flags, then lines Protocols, LocalAddresses, RemoteAddresses, LocalPorts, RemotePorts; a second ACL may follow. */
#include <stdlib.h>
#include <string.h>

#include "network/firewall_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const char *rules)
{
	size_t n = rules ? strlen(rules) : 0;

	if (!rules)
		return;
	if (strspn(rules, "abcdefghijklmnopqrstuvwxyz0123456789 .:/{},-_\n") != n || (n > 0 && rules[n - 1] != '\n'))
		abort();
	for (const char *line = rules; *line; line = strchr(line, '\n') + 1) {
		size_t len = strcspn(line, "\n");

		if (!(len >= 4 && strncmp(line + len - 4, "drop", 4) == 0) && !(len >= 6 && strncmp(line + len - 6, "_known", 6) == 0))
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = cs_xstrndup((const char *)data, size), *at = text, *in = NULL, *out = NULL;
	struct cs_firewall_acl acls[2] = {{0}};
	size_t n = 0;

	for (; n < 2 && *at; n++) {
		const char **fields[5] = {&acls[n].protocols, &acls[n].local_addresses, &acls[n].remote_addresses, &acls[n].local_ports, &acls[n].remote_ports};

		acls[n].block = *at & 1;
		acls[n].out = *at & 2;
		acls[n].priority = (uint16_t)(*at++ & 0x1c);
		for (int i = 0; i < 5; i++) {
			size_t len = strcspn(at, "\n");

			*fields[i] = at;
			if (at[len] == '\0') {
				at += len;
				continue;
			}
			at[len] = '\0';
			at += len + 1;
		}
	}
	if (fw_acl_rules(acls, n, &in, &out, NULL) == 0) {
		check(in);
		check(out);
	}
	free(in);
	free(out);
	free(text);
	return 0;
}
