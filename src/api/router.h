/* SPDX-License-Identifier: Apache-2.0
 *
 * The API as a table: method, pattern, versions, handler. The table is also what the tests walk. */
#pragma once

#include "api/request.h"

#define CS_ROUTE_PULL (1u << 0)    /* the body is not JSON and may be large: the handler reads rq->body_fd in a thread of its own */
#define CS_ROUTE_BLOCKS (1u << 2)  /* with CS_ROUTE_PULL: from rq->blocks, for bodies of gigabytes */
#define CS_ROUTE_DISCARD (1u << 1) /* the body is not looked at */

struct cs_route {
	const char *method;
	const char *pattern;   /* "/containers/{id}/json", "/images/{name:.*}/json" */
	int min_api, max_api;  /* 0 = no bound */
	cs_handler *fn;
	unsigned flags;
	const char *feature;   /* for the handlers that answer "not available" */
};

/* Does the pattern cover the whole path? "{x}" matches one part without '/', "{x:.*}" anything not empty (longest first).
 * Values are appended to param (caller frees), which must be all NULL. Pure. */
bool cs_route_match(const char *pattern, const char *path, char *param[CS_ROUTE_PARAMS]);

/* Splits "/v1.44/x" into 144 and "/x". Without a version: *api = CS_API_MAX. Older than `min`: an error. Errors as dockerd's for too old and too new. */
CS_MUST_CHECK int cs_route_version(const char *path, int min, int *api, const char **rest, struct cs_err **err);

/* The path (raw, `len` bytes) as Go's path.Clean makes it, without empty parts, "." and ".."; a '/' at the end stays. NULL: it is clean. Pure, caller frees. */
char *cs_route_clean(const char *path, size_t len);

/* First route for method and path (version already split off), or NULL. HEAD finds GET routes only when listed. */
const struct cs_route *cs_route_find(const struct cs_route *const *tables, const char *method, const char *path, int api, char *param[CS_ROUTE_PARAMS]);

/* NULL-terminated list of tables, each ended by a row with method NULL (routes.c). */
extern const struct cs_route *const cs_routes[];
