/* SPDX-License-Identifier: Apache-2.0
 *
 * What a handler gets and what it gives back. A handler decodes, calls the engine, and fills the response; it never sees the HTTP
 * library. Each request is handled by the thread of its connection. */
#pragma once

#include "api/query.h"
#include "base/json.h"
#include "base/str.h"
#include "engine/engine.h"
#include "engine/stream.h"

struct cs_body;
struct cs_route;

#define CS_ROUTE_PARAMS 2
#define CS_BODY_MAX (16u << 20)

struct cs_request {
	struct cs_engine *engine;
	const struct cs_route *route;
	char *method;
	char *path;                    /* decoded, without the version */
	int api;                       /* 144 = 1.44 */
	struct cs_query query;
	char *param[CS_ROUTE_PARAMS];  /* values of the {name} parts, decoded */
	struct cs_str body;
	const char *content_type;      /* borrowed or NULL */
	const char *accept;            /* Accept, borrowed or NULL */
	const char *registry_auth;     /* X-Registry-Auth, borrowed or NULL */
	int client_fd;                 /* the connection's socket, borrowed: to see whether the client is still there */
	bool chunked_body;             /* no Content-Length */
	bool tls;
	bool upgrade;                  /* the client sent Connection: Upgrade */
	bool ws_handshake;             /* a complete websocket handshake */
	int body_fd;                   /* routes with CS_ROUTE_PULL: read the body from here until end of file */
	struct cs_body *blocks;        /* with CS_ROUTE_BLOCKS: here instead (body.h) */
	bool keeps_body;               /* set by a handler that took a reference of blocks, and closes it when it wants no more */
};

/* A connection that leaves HTTP. run takes fd; exactly one of run and free is called. */
struct cs_hijack {
	void *ctx;
	void (*run)(void *ctx, int fd, const void *input, size_t len);
	void (*free)(void *ctx);
};

struct cs_response {
	int status;               /* 0 = 200 */
	const char *content_type; /* NULL = application/json */
	const char *extra[8];     /* name, value, … ended by NULL; static strings, or own_header */
	char *own_header;         /* a header's value, freed with the response */
	struct cs_str body;
	struct cs_stream *stream; /* instead of body */
	int64_t stream_size;      /* bytes that it will have, when that is known: Content-Length instead of chunks; 0 = unknown */
	bool is_wait;             /* stream is a wait that may be handed to the worker */
	struct cs_hijack hijack;  /* instead of body, when run is set */
	bool websocket, ws_binary;
};
#define CS_RESPONSE_MAX (256u << 20)

typedef int cs_handler(struct cs_request *rq, struct cs_response *rs, struct cs_err **err);

/* Decodes the JSON body. An absent body leaves *obj alone, or is an error if required. */
CS_MUST_CHECK int cs_request_json(struct cs_request *rq, const struct cs_jtype *t, void *obj, bool required, struct cs_err **err);
/* Only the checks of the content type, as dockerd's CheckForJSON. */
CS_MUST_CHECK int cs_request_check_json(struct cs_request *rq, struct cs_err **err);

/* The border where an error becomes a status and {"message": …} (http_error.c). */
int cs_error_response(const struct cs_err *e, struct cs_response *rs);
