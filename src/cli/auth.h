/* SPDX-License-Identifier: Apache-2.0
 *
 * Credentials for registries: "auths" of config.json, or the helper programs that credHelpers and credsStore name. */
#pragma once

#include <jansson.h>

#include "base/error.h"

#define HUB "https://index.docker.io/v1/"

struct auth {
	char *user, *password, *identity_token; /* NULL when there is none */
};
void auth_done(struct auth *a); /* wipes */
#define auto_auth cs_auto(auth_done)

/* As config.json names a registry: "host:port", HUB for Docker's own; from what people type ("http://host/v2/") or NULL. Caller frees. */
char *auth_server(const char *typed);
/* The registry that an image name begins with, as above. Caller frees. */
char *auth_server_of_image(const char *image);
/* What is stored for a server: nothing is no error. */
CS_MUST_CHECK int auth_get(const char *server, struct auth *ret, struct cs_err **err);
/* *plain: it went into config.json readable, and was not there before. */
CS_MUST_CHECK int auth_store(const char *server, const struct auth *a, bool *plain, struct cs_err **err);
CS_MUST_CHECK int auth_erase(const char *server, struct cs_err **err);
/* Value of X-Registry-Auth for an image's registry; that of nobody when there are no credentials. Caller frees. */
char *auth_header(const char *image);
/* Value of X-Registry-Config (build): the credentials of all registries. Caller frees. */
char *auth_config_header(void);
/* All that are stored: {"server": {"username", "password", "identitytoken", "serveraddress"}}. What one helper cannot give is said on stderr and left out; caller
 * owns. An entry of it as "auths" of config.json has it: auth_entry, caller owns. */
CS_MUST_CHECK int auth_all(json_t **ret, struct cs_err **err);
json_t *auth_entry(const json_t *auth);
