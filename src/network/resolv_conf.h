/* SPDX-License-Identifier: Apache-2.0
 *
 * resolv.conf(5): the host's is read, the container's is written. Knows no files: text in, text out. */
#pragma once

#include "base/error.h"

#define CS_RESOLV_SERVERS_MAX 8

struct cs_resolv_conf {
	char **servers; /* addresses as written (IPv6 maybe with %zone); what is no address is left out. NULL: none */
	char **search;  /* of the last search or domain line; "." alone means none. NULL: no such line */
	char **options; /* of all options lines. NULL: none */
	char **other;   /* whole lines that are something else (sortlist); no comments. NULL: none */
};
/* Any text. */
void cs_resolv_conf_parse(const char *text, struct cs_resolv_conf *ret);
void cs_resolv_conf_done(struct cs_resolv_conf *c);

struct cs_resolv_conf_settings {
	const char *host_path; /* named in the comment "# Based on host file: '…'" */
	const char *host_text; /* its content */
	bool embedded;         /* a user-defined network: nameserver 127.0.0.11 and ndots:0 unless ndots is given */
	/* --dns, --dns-search, --dns-option (or the daemon's). NULL or empty: the host's. A search of "." alone: none */
	const char *const *servers, *const *search, *const *options;
};
/* The container's file as Docker writes it. Without `embedded`, loopback servers of the host make no sense in a container and are left out; if
 * none remain, there is no nameserver line, for the container must not ask strangers that nobody chose. Caller frees. */
char *cs_resolv_conf_text(const struct cs_resolv_conf_settings *s);
