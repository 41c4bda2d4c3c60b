/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/api_socket.h"

#include <string.h>

#include "base/json.h"
#include "cli/archive.h"
#include "cli/auth.h"
#include "cli/cli.h"
#include "cli/endpoint.h"

/* Where a docker client in the container looks for them. */
#define DOCKERS_SOCKET "/var/run/docker.sock"
#define FOLDER "/run/secrets/docker"

static json_t *member(json_t *of, const char *key, json_t *(*make)(void))
{
	json_t *v = json_object_get(of, key);

	if (!v || json_is_null(v)) {
		v = make();
		(void)json_object_set_new(of, key, v);
	}
	return v;
}

int api_socket_add(json_t *body, json_t **creds, struct cs_err **err)
{
	const struct endpoint *e = endpoint_get(err);
	json_t *env = member(body, "Env", json_array), *v;
	cs_autojson json_t *all = NULL;
	size_t i;

	*creds = NULL;
	if (!e)
		return -1;
	const char *path = cs_prefix(e->host, "unix://"); /* of an engine that is elsewhere nobody knows where its socket is */
	if (!path)
		return cs_fail(err, CS_ERR_INVALID, 0, "flag --use-api-socket can only be used with unix sockets: caisson endpoint %s incompatible", e->host);
	(void)json_array_append_new(member(member(body, "HostConfig", json_object), "Mounts", json_array),
				    json_pack("{s:s,s:s,s:s,s:{}}", "Type", "bind", "Source", path, "Target", DOCKERS_SOCKET, "BindOptions"));
	json_array_foreach(env, i, v) if (cs_prefix(json_string_value(v), "DOCKER_CONFIG=")) return 0;
	if (auth_all(&all, err) < 0)
		return cs_wrap(err, "resolving credentials failed");
	if (json_object_size(all) == 0)
		return 0;
	(void)json_array_append_new(env, json_string("DOCKER_CONFIG=" FOLDER));
	*creds = TAKE_PTR(all);
	return 0;
}

/* config.json with nothing in it but them, as a tar archive in out. */
static int pack(const json_t *creds, struct cs_str *out, struct cs_err **err)
{
	cs_autojson json_t *auths = json_object(), *config = json_pack("{s:O}", "auths", auths);
	const char *server;
	json_t *auth;

	json_object_foreach((json_t *)(uintptr_t)creds, server, auth) (void)json_object_set_new(auths, server, auth_entry(auth));
	cs_autofree char *text = json_dumps(config, JSON_INDENT(2));
	struct archive_writer *w = archive_begin(out, err);
	int r = w ? archive_put(w, &(FOLDER "/config.json")[1], 0600, text, strlen(text), err) : -1;

	explicit_bzero(text, strlen(text));
	if (w && archive_end(w, r == 0 ? err : NULL) < 0)
		r = -1;
	return r;
}

int api_socket_put(const char *container, const json_t *creds, struct cs_err **err)
{
	cs_autostr struct cs_str tar = CS_STR_INIT((size_t)16 << 20);
	cs_autofree char *path = cs_xasprintf("/containers/%s/archive?path=%%2F&noOverwriteDirNonDir=true", container);
	auto_reply struct reply r = REPLY_INIT;

	if (pack(creds, &tar, err) < 0 || client_stream_begin("PUT", path, &r, err) < 0)
		return -1;
	int put = client_stream_put(&r, tar.buf, tar.len, err);
	explicit_bzero(tar.buf, tar.len);
	return put < 0 ? -1 : client_stream_end(&r, err);
}
