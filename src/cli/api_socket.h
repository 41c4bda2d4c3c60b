/* SPDX-License-Identifier: Apache-2.0
 *
 * run --use-api-socket: a container that may speak to the engine that runs it, with our credentials for registries. */
#pragma once

#include <jansson.h>

#include "base/error.h"

/* Adds the socket to a create request, and where the credentials will be, unless DOCKER_CONFIG is among the variables: then whoever made them knows better.
 * *creds: to be given to api_socket_put when the container is there; NULL for none. Caller owns. */
CS_MUST_CHECK int api_socket_add(json_t *body, json_t **creds, struct cs_err **err);
CS_MUST_CHECK int api_socket_put(const char *container, const json_t *creds, struct cs_err **err);
