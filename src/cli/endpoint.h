/* SPDX-License-Identifier: Apache-2.0
 *
 * Which engine to talk to, and how. In this order: -H, --context, $CAISSON_HOST, $DOCKER_HOST, $DOCKER_CONTEXT, currentContext of config.json,
 * the engine of this host. */
#pragma once

#include "base/error.h"

struct endpoint {
	const char *host;           /* "unix:///run/caisson.sock", "tcp://name:2376", "ssh://user@host", … */
	bool tls, verify;           /* TLS; and check who the server is */
	const char *ca, *cert, *key; /* PEM files, NULL for none */
};

#define DEFAULT_HOST "unix:///run/caisson.sock"

/* The name of the context in force: "default" when a host was named, or nothing. */
const char *endpoint_context(void);
/* The environment variable that names a host and by that overrides contexts, or NULL. */
const char *endpoint_host_variable(void);
/* Resolved once. NULL with an error: the context is not there, the host makes no sense. */
const struct endpoint *endpoint_get(struct cs_err **err);
/* "host:1" -> "tcp://host:1", adds default ports and paths. Caller frees; NULL with an error. */
char *endpoint_parse_host(const char *text, bool tls, struct cs_err **err);
/* Of an ssh:// URL: does it make sense? Others do. 0 or -1. */
CS_MUST_CHECK int endpoint_check_ssh(const char *host, struct cs_err **err);
/* A connected socket that carries HTTP in plain text (TLS and ssh are dealt with behind it). -1 with an error. */
CS_MUST_CHECK int endpoint_dial(struct cs_err **err);
/* Why a connection that endpoint_dial() gave ended before an answer came: ssh's or TLS's reason, in err. False if there is none. */
bool endpoint_why_ended(struct cs_err **err);
/* What goes into the Host header. */
const char *endpoint_authority(void);
