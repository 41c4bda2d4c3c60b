/* SPDX-License-Identifier: Apache-2.0
 *
 * The engine's API over whatever endpoint.h connects to. Written by hand instead of libcurl for start-up time: libcurl's thirty
 * libraries cost 4 ms to load, the whole command is to start in 2. One request per connection. */
#pragma once

#include <jansson.h>

#include "base/error.h"
#include "base/str.h"

#define CLIENT_API "1.55"
#define CLIENT_API_NUMBER 155

extern const char *client_registry_auth; /* X-Registry-Auth of the next requests, or NULL */

extern const char *client_accept;        /* Accept of the next requests, or NULL */

struct reply {
	int status;
	int api;              /* the server's newest API version, 141 for 1.41; 0 = it did not say */
	char content_type[96];
	char *reason;         /* behind the status, owned; NULL */
	char *path_stat;      /* X-Docker-Container-Path-Stat, owned; NULL */
	int fd;               /* open connection (hijacked, or a body still to read), -EBADF when done */
	struct cs_str buf;    /* bytes read but not consumed */
	bool chunked, eof, no_body;
	int64_t left;         /* bytes of the current chunk or body; -1 = until end of connection */
};

/* Sends a request; path without version ("/containers/json"), body may be NULL. upgrade: ask for a hijacked connection. Reads up to the
 * end of the headers. An API error (status >= 400) becomes err with the engine's message. */
CS_MUST_CHECK int client_open(const char *method, const char *path, const char *body, size_t body_len, bool upgrade, struct reply *r, struct cs_err **err);
/* client_open in two halves, for requests that are to run at the same time: the first returns when the request is out, the second waits for the answer's
 * headers. No body. */
CS_MUST_CHECK int client_send(const char *method, const char *path, struct reply *r, struct cs_err **err);
CS_MUST_CHECK int client_answer(struct reply *r, struct cs_err **err);
/* As client_open with a chunked tar body read from fd (import, load, cp). */
CS_MUST_CHECK int client_upload(const char *method, const char *path, int fd, struct reply *r, struct cs_err **err);
/* The same for a body that is made on the way. put: 0; 1 when the engine has stopped reading, whose answer `end` then gets; -1. */
CS_MUST_CHECK int client_stream_begin(const char *method, const char *path, struct reply *r, struct cs_err **err);
CS_MUST_CHECK int client_stream_put(struct reply *r, const void *data, size_t len, struct cs_err **err);
CS_MUST_CHECK int client_stream_end(struct reply *r, struct cs_err **err);
/* The API version that is spoken: 141 for 1.41, the smaller of CLIENT_API and the server's newest, or DOCKER_API_VERSION. Asks the server unless that is
 * known; -1 with an error. Requests negotiate by themselves: this is for commands whose requests or flags depend on the version. */
CS_MUST_CHECK int client_api(struct cs_err **err);
/* Next piece of the decoded body: > 0, 0 at the end, -1. */
ssize_t reply_read(struct reply *r, void *buf, size_t max, struct cs_err **err);
/* Has reply_read something to give without waiting for the engine? */
bool reply_buffered(const struct reply *r);
/* One line of the body without its newline; NULL at the end. Caller frees. */
char *reply_line(struct reply *r, struct cs_err **err);
/* The same for a stream of JSON documents, one on a line; empty lines are none. An error when it is something else. Caller owns. */
json_t *reply_message(struct reply *r, struct cs_err **err);
void reply_done(struct reply *r);
#define auto_reply cs_auto(reply_done)
#define REPLY_INIT {.fd = -EBADF, .buf = CS_STR_INIT((size_t)64 << 20)}

/* Whole request; the JSON answer (NULL for an empty one) in *ret unless ret is NULL. Returns the status or -1. */
int client_json(const char *method, const char *path, json_t *body, json_t **ret, struct cs_err **err);
/* What an empty operand is answered with, as docker has it: there is no path for it. kind: "container". 0 or -1. */
CS_MUST_CHECK int client_named(const char *kind, const char *name, struct cs_err **err);
/* Percent-encodes a path or query part; NULL is "". Caller frees. */
char *url_encode(const char *s);
