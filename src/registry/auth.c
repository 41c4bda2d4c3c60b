/* SPDX-License-Identifier: Apache-2.0
 *
 * Credentials as clients hand them over. No state. */
#include <jansson.h>

#include "base/base64.h"
#include "base/json.h"
#include "registry/registry.h"
#include "registry/text.h"

#define AUTH_MAX (64u << 10)

static void wipe(char **s)
{
	if (*s)
		explicit_bzero(*s, strlen(*s));
	free(*s);
	*s = NULL;
}

void cs_registry_auth_done(struct cs_registry_auth *a)
{
	wipe(&a->username);
	wipe(&a->password);
	wipe(&a->identity_token);
	wipe(&a->registry_token);
	wipe(&a->server_address);
}

/* Go matches keys without regard to case, and null is as good as absent. */
static int take_string(json_t *j, const char *key, char **to, struct cs_err **err)
{
	const char *k;
	json_t *v;

	json_object_foreach(j, k, v) {
		if (strcasecmp(k, key) != 0 || json_is_null(v))
			continue;
		if (!json_is_string(v))
			return cs_fail(err, CS_ERR_INVALID, 0, "%s: expected string", key);
		if (strlen(json_string_value(v)) != json_string_length(v))
			return cs_fail(err, CS_ERR_INVALID, 0, "%s: contains a zero byte", key);
		wipe(to);
		*to = cs_xstrdup(json_string_value(v));
	}
	return 0;
}

/* auth: base64 of user:password, as in the client's own file */
static int take_pair(json_t *j, struct cs_registry_auth *a, struct cs_err **err)
{
	char *pair = NULL, *plain, *colon;
	size_t len = 0;

	if (take_string(j, "auth", &pair, err) < 0)
		return -1;
	plain = pair && *pair && !a->username ? cs_base64_decode(pair, &len) : NULL;
	colon = plain && strlen(plain) == len ? strchr(plain, ':') : NULL;
	if (colon) {
		a->username = cs_xstrndup(plain, (size_t)(colon - plain));
		wipe(&a->password);
		a->password = cs_xstrdup(colon + 1);
	}
	if (plain)
		explicit_bzero(plain, len);
	free(plain);
	wipe(&pair);
	return 0;
}

static int parse_object(json_t *j, struct cs_registry_auth *ret, struct cs_err **err)
{
	struct cs_registry_auth a = {0};

	if (json_is_null(j)) {
		*ret = a;
		return 0;
	}
	if (!json_is_object(j))
		return cs_fail(err, CS_ERR_INVALID, 0, "expected an object");
	if (take_string(j, "username", &a.username, err) < 0 || take_string(j, "password", &a.password, err) < 0 ||
	    take_string(j, "identitytoken", &a.identity_token, err) < 0 || take_string(j, "registrytoken", &a.registry_token, err) < 0 ||
	    take_string(j, "serveraddress", &a.server_address, err) < 0 || take_pair(j, &a, err) < 0) {
		cs_registry_auth_done(&a);
		return -1;
	}
	*ret = a;
	return 0;
}

/* The tree of a document holds the secrets too. */
static void wipe_tree(json_t *j)
{
	const char *k;
	json_t *v;

	if (json_is_string(j))
		explicit_bzero((char *)(uintptr_t)json_string_value(j), json_string_length(j));
	json_object_foreach(j, k, v)
		wipe_tree(v);
}

int cs_registry_auth_parse_json(const char *text, size_t len, struct cs_registry_auth *ret, struct cs_err **err)
{
	cs_autojson json_t *j = NULL;

	if (len > AUTH_MAX)
		return cs_fail(err, CS_ERR_INVALID, 0, "credentials are too long");
	j = cs_json_parse(text, len, err);
	if (!j)
		return -1;
	int r = parse_object(j, ret, err);
	wipe_tree(j);
	return r;
}

static char *decode(const char *text, size_t *ret_len, struct cs_err **err)
{
	if (strnlen(text, AUTH_MAX + 1) > AUTH_MAX) {
		(void)cs_fail(err, CS_ERR_INVALID, 0, "invalid X-Registry-Auth header: too long");
		return NULL;
	}
	char *plain = cs_base64_decode(text, ret_len);
	if (!plain)
		(void)cs_fail(err, CS_ERR_INVALID, 0, "invalid X-Registry-Auth header: illegal base64 data");
	return plain;
}

int cs_registry_auth_parse_header(const char *text, struct cs_registry_auth *ret, struct cs_err **err)
{
	size_t len = 0;

	if (cs_empty(text)) {
		*ret = (struct cs_registry_auth){0};
		return 0;
	}
	char *plain = decode(text, &len, err);
	if (!plain)
		return -1;
	int r = cs_registry_auth_parse_json(plain, len, ret, err);
	explicit_bzero(plain, len);
	free(plain);
	return r < 0 ? cs_wrap(err, "invalid X-Registry-Auth header") : 0;
}

/* Keys of the map are what people gave to `login`: a host, or a URL. */
static bool names_host(const char *key, const char *host)
{
	static const char *const hub[] = {"docker.io", "index.docker.io", "registry-1.docker.io"};
	const char *rest = strstr(key, "://");
	const char *name = rest ? rest + 3 : key;
	size_t n = strcspn(name, "/");

	if (strlen(host) == n && strncmp(name, host, n) == 0)
		return true;
	for (size_t i = 0; strcmp(host, "docker.io") == 0 && i < CS_ARRAY_SIZE(hub); i++)
		if (strlen(hub[i]) == n && strncmp(name, hub[i], n) == 0)
			return true;
	return false;
}

int cs_registry_auth_parse_config(const char *text, const char *host, struct cs_registry_auth *ret, struct cs_err **err)
{
	cs_autojson json_t *j = NULL;
	const char *key;
	json_t *v;
	size_t len = 0;
	int r = 0;

	*ret = (struct cs_registry_auth){0};
	if (cs_empty(text))
		return 0;
	char *plain = decode(text, &len, err);
	if (!plain)
		return -1;
	j = cs_json_parse(plain, len, err);
	explicit_bzero(plain, len);
	free(plain);
	if (!j)
		return -1;
	if (!json_is_object(j))
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid X-Registry-Config header: expected an object");
	json_object_foreach(j, key, v) {
		if (names_host(key, host)) {
			r = parse_object(v, ret, err);
			break;
		}
	}
	wipe_tree(j);
	return r;
}
