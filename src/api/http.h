/* SPDX-License-Identifier: Apache-2.0
 *
 * The HTTP server: one libmicrohttpd instance per listening socket, one thread per connection. This is what the daemon's main uses. */
#pragma once

#include "base/error.h"

struct cs_engine;
struct cs_http;

struct cs_http_tls { /* file contents, PEM; NULL ca: clients are not verified */
	char *ca, *cert, *key;
	bool verify;
};
/* The server hands requests to `e`; nothing is served before cs_http_listen. */
struct cs_http *cs_http_new(struct cs_engine *e, const char *version);
/* Serves a listening socket (taken). tls: NULL for a plain one, borrowed during the call. */
CS_MUST_CHECK int cs_http_listen(struct cs_http *h, int fd, const struct cs_http_tls *tls, struct cs_err **err);
/* No new connections; streams end; waits for running requests until the deadline (monotonic ns). Connections are not shut down:
 * some belong to workers by now. Nothing is freed, the process is about to end. Returns how many requests were left. */
unsigned cs_http_drain(struct cs_http *h, int64_t deadline);

/* Listening sockets (listen.c). spec: unix:///path, tcp://host:port, fd://[n|name|*]. Several with fd://. */
struct cs_listener {
	int fd;
	char *unlink_path; /* of a unix socket that we made */
	bool tcp;
};
CS_MUST_CHECK int cs_listen_open(const char *spec, const char *group, bool tls, struct cs_listener **list, size_t *n, struct cs_err **err);
/* Checks the form only: what --validate does. */
CS_MUST_CHECK int cs_listen_check(const char *spec, struct cs_err **err);
void cs_listen_cleanup(struct cs_listener *list, size_t n); /* removes our socket files; descriptors stay */
