/* SPDX-License-Identifier: Apache-2.0
 *
 * libcurl, loaded while somebody talks to a registry: with what it needs (nghttp2, ldap, kerberos …) it would take more memory than an idle
 * engine. Either of Debian's flavours will do. Any thread; the functions may be called between get and put only. */
#pragma once

#include <curl/curl.h>

#include "base/error.h"

/* Every function that we use, without its curl_ prefix. */
#define CS_CURL_FUNCTIONS(X)                                                                                                                         \
	X(global_init) X(global_cleanup) X(version_info) X(free) X(slist_append) X(slist_free_all)                                                                  \
	X(easy_init) X(easy_cleanup) X(easy_reset) X(easy_setopt) X(easy_getinfo) X(easy_pause) X(easy_strerror)                                    \
	X(multi_init) X(multi_cleanup) X(multi_add_handle) X(multi_remove_handle) X(multi_perform) X(multi_poll) X(multi_info_read)                 \
	X(multi_strerror)                                                                                                                            \
	X(url) X(url_cleanup) X(url_set) X(url_get)

/* curl.h wraps some of them in macros that check types; we need the plain names */
#undef curl_easy_setopt
#undef curl_easy_getinfo
#define CS_CURL_MEMBER(name) __typeof__(curl_##name) *f_##name;
struct cs_curl_lib {
	CS_CURL_FUNCTIONS(CS_CURL_MEMBER)
};
#undef CS_CURL_MEMBER

extern struct cs_curl_lib cs_curl;
#define cs_cu(name) (cs_curl.f_##name) /* cs_cu(easy_init)() is curl_easy_init() */

CS_MUST_CHECK int cs_curl_get(struct cs_err **err);
void cs_curl_put(void);
/* Does it look certificates up in a directory as it needs them (OpenSSL), or read all of them for each connection (the others)? */
bool cs_curl_looks_up(void);
/* Never unload it again: a thread of its resolver may still be running in it. */
void cs_curl_pin(void);
