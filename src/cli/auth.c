/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/auth.h"

#include <ctype.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/base64.h"
#include "base/io.h"
#include "base/json.h"
#include "base/str.h"
#include "base/strv.h"
#include "cli/cli.h"
#include "cli/config.h"

#define ANSWER_MAX ((size_t)1 << 20)

extern char **environ;

static void wipe(char *s)
{
	if (s)
		explicit_bzero(s, strlen(s));
	free(s);
}

void auth_done(struct auth *a)
{
	free(a->user);
	wipe(a->password);
	wipe(a->identity_token);
	*a = (struct auth){0};
}

/* ---- names ---- */

static char *host_of(const char *s)
{
	const char *p = cs_prefix(s, "http://");

	if (!p)
		p = cs_prefix(s, "https://");
	p = p ? p : s;
	return cs_xstrndup(p, strcspn(p, "/"));
}

char *auth_server(const char *typed)
{
	static const char *const hub[] = {"", "docker.io", "index.docker.io", "registry-1.docker.io"};
	cs_autofree char *host = host_of(typed ? typed : "");

	for (size_t i = 0; i < CS_ARRAY_SIZE(hub); i++)
		if (cs_streq(host, hub[i]))
			return cs_xstrdup(HUB);
	return TAKE_PTR(host);
}

char *auth_server_of_image(const char *image)
{
	size_t n = strcspn(image, "/");

	if (image[n] && (memchr(image, '.', n) || memchr(image, ':', n) || (n == 9 && memcmp(image, "localhost", 9) == 0))) {
		cs_autofree char *host = cs_xstrndup(image, n);
		return auth_server(host);
	}
	return cs_xstrdup(HUB);
}

/* ---- helper programs (docker-credential-helpers' protocol) ---- */

static const char *helper_for(const char *server)
{
	const char *name = config_str2("credHelpers", server);
	return name ? name : config_str("credsStore");
}

/* Runs docker-credential-NAME verb with input; its output goes to out. 0, or -1 with docker's words. */
static int helper(const char *name, const char *verb, const char *input, struct cs_str *out, struct cs_err **err)
{
	cs_autofree char *program = cs_xasprintf("docker-credential-%s", name);
	char *const argv[] = {program, (char *)(uintptr_t)verb, NULL};
	posix_spawn_file_actions_t act;
	int pair[2], status = 0;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "socketpair");
	cs_autofd int ours = pair[0];
	(void)posix_spawn_file_actions_init(&act);
	(void)posix_spawn_file_actions_adddup2(&act, pair[1], 0);
	(void)posix_spawn_file_actions_adddup2(&act, pair[1], 1);
	int e = posix_spawnp(&pid, program, &act, NULL, argv, environ);
	(void)posix_spawn_file_actions_destroy(&act);
	cs_close(pair[1]);
	if (e)
		return cs_fail(err, CS_ERR_NOT_FOUND, 0, "err: exec: \"%s\": %s, out: ``", program, e == ENOENT ? "executable file not found in $PATH" : cs_errno_text(e));
	for (size_t n = strlen(input); n;) {
		ssize_t w = send(ours, input, n, MSG_NOSIGNAL);
		if (w < 0 && errno != EINTR)
			break; /* it did not want all of it: its answer counts */
		if (w > 0) {
			input += w;
			n -= (size_t)w;
		}
	}
	(void)shutdown(ours, SHUT_WR);
	int r = cs_read_fd(ours, out);
	cs_close(TAKE_FD(ours)); /* who has more to say than we take must not wait for us */
	if (r == -ECONNRESET) /* it did not read what it was told: what it said came before that */
		r = 0;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
	}
	while (out->len && isspace((unsigned char)out->buf[out->len - 1]))
		out->buf[--out->len] = 0;
	if (r < 0)
		return cs_fail(err, CS_ERR_INTERNAL, -r, "read the answer of %s", program);
	if (status == 0)
		return 0;
	return cs_fail(err, CS_ERR_DENIED, 0, "err: exit status %d, out: `%s`", WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), out->buf ? out->buf : "");
}

/* Docker joins these with a dash. Takes mine. */
static int told(struct cs_err **err, const char *what, struct cs_err *mine)
{
	cs_autofree char *text = cs_err_text(mine);

	cs_err_free(mine);
	return cs_fail(err, CS_ERR_DENIED, 0, "error %s credentials - %s", what, text);
}

static int helper_get(const char *name, const char *server, struct auth *ret, struct cs_err **err)
{
	cs_autostr struct cs_str out = CS_STR_INIT(ANSWER_MAX);
	struct cs_err *mine = NULL;

	if (helper(name, "get", server, &out, &mine) < 0) {
		if (out.buf && strstr(out.buf, "credentials not found in native keychain")) {
			cs_err_free(mine);
			return 0;
		}
		return told(err, "getting", mine);
	}
	json_t *j = json_loadb(out.buf ? out.buf : "", out.len, 0, NULL);
	const char *user = jstr(j, "Username"), *secret = jstr(j, "Secret");
	if (cs_streq(user, "<token>"))
		ret->identity_token = cs_xstrdup(secret);
	else if (*user) {
		ret->user = cs_xstrdup(user);
		ret->password = cs_xstrdup(secret);
	}
	json_decref(j);
	return 0;
}

/* ---- config.json ---- */

/* The entry of a server; old files have it with scheme and path. */
static json_t *entry_of(const char *server)
{
	json_t *auths = json_object_get(config_root(), "auths"), *entry = json_object_get(auths, server), *v;
	const char *key;

	if (entry || cs_streq(server, HUB))
		return entry;
	json_object_foreach(auths, key, v)
	{
		cs_autofree char *host = host_of(key);
		if (cs_streq(host, server))
			return v;
	}
	return NULL;
}

static void file_get(const char *server, struct auth *ret)
{
	json_t *entry = entry_of(server);
	size_t n = 0;
	cs_autofree char *pair = cs_base64_decode(jstr(entry, "auth"), &n);
	char *colon = pair ? strchr(pair, ':') : NULL;

	if (colon) {
		*colon = 0;
		ret->user = cs_xstrdup(pair);
		ret->password = *colon || colon[1] ? cs_xstrdup(colon + 1) : NULL;
	} else if (*jstr(entry, "username")) {
		ret->user = cs_xstrdup(jstr(entry, "username"));
		ret->password = cs_xstrdup(jstr(entry, "password"));
	}
	if (*jstr(entry, "identitytoken"))
		ret->identity_token = cs_xstrdup(jstr(entry, "identitytoken"));
	if (pair)
		explicit_bzero(pair, n);
}

int auth_get(const char *server, struct auth *ret, struct cs_err **err)
{
	const char *name = helper_for(server);

	*ret = (struct auth){0};
	if (name)
		return helper_get(name, server, ret, err);
	file_get(server, ret);
	return 0;
}

static json_t *auths_section(void)
{
	json_t *auths = json_object_get(config_root(), "auths");

	if (!json_is_object(auths)) {
		auths = json_object();
		(void)json_object_set_new(config_root(), "auths", auths);
	}
	return auths;
}

static int helper_store(const char *name, const char *server, const struct auth *a, struct cs_err **err)
{
	json_t *j = json_pack("{s:s,s:s,s:s}", "ServerURL", server, "Username", a->identity_token ? "<token>" : a->user ? a->user : "", "Secret",
			      a->identity_token ? a->identity_token : a->password ? a->password : "");
	cs_autofree char *text = json_dumps(j, JSON_COMPACT), *line = cs_xasprintf("%s\n", text);
	cs_autostr struct cs_str out = CS_STR_INIT(ANSWER_MAX);
	struct cs_err *mine = NULL;
	int r = helper(name, "store", line, &out, &mine);

	json_decref(j);
	return r < 0 ? told(err, "storing", mine) : 0;
}

int auth_store(const char *server, const struct auth *a, bool *plain, struct cs_err **err)
{
	const char *name = helper_for(server);
	json_t *entry = json_object();

	*plain = false;
	if (name) {
		if (helper_store(name, server, a, err) < 0) {
			json_decref(entry);
			return -1;
		}
	} else {
		cs_autofree char *pair = cs_xasprintf("%s:%s", a->user ? a->user : "", a->password ? a->password : ""), *text = cs_base64_encode(pair, strlen(pair), false);
		(void)json_object_set_new(entry, "auth", json_string(text));
		if (a->identity_token)
			(void)json_object_set_new(entry, "identitytoken", json_string(a->identity_token));
		explicit_bzero(pair, strlen(pair));
	}
	json_t *auths = auths_section();
	if (json_equal(json_object_get(auths, server), entry)) {
		json_decref(entry);
		return 0;
	}
	(void)json_object_set_new(auths, server, entry);
	*plain = !name && a->password;
	return config_save(err);
}

int auth_erase(const char *server, struct cs_err **err)
{
	static const char *const schemes[] = {"", "http://", "https://"};
	json_t *auths = auths_section();
	bool changed = false;
	int result = 0;

	for (size_t i = 0; i < (cs_streq(server, HUB) ? 1 : CS_ARRAY_SIZE(schemes)); i++) {
		cs_autofree char *key = cs_xasprintf("%s%s", schemes[i], server);
		const char *name = helper_for(key);
		cs_autostr struct cs_str out = CS_STR_INIT(ANSWER_MAX);
		struct cs_err *mine = NULL;
		changed |= json_object_del(auths, key) == 0;
		if (name && helper(name, "erase", key, &out, &mine) < 0) {
			if (result < 0 || (out.buf && strstr(out.buf, "credentials not found in native keychain")))
				cs_err_free(mine);
			else
				result = cs_err_move(err, mine);
		}
	}
	if (changed && config_save(result < 0 ? NULL : err) < 0)
		result = -1;
	return result;
}

/* ---- headers ---- */

static json_t *auth_json(const char *server, const struct auth *a)
{
	json_t *j = json_object();

	if (a->user)
		(void)json_object_set_new(j, "username", json_string(a->user));
	if (a->password)
		(void)json_object_set_new(j, "password", json_string(a->password));
	if (a->identity_token)
		(void)json_object_set_new(j, "identitytoken", json_string(a->identity_token));
	if (json_object_size(j))
		(void)json_object_set_new(j, "serveraddress", json_string(server));
	return j;
}

static char *header_of(json_t *j) /* takes j */
{
	cs_autofree char *text = json_dumps(j, JSON_COMPACT);

	json_decref(j);
	return cs_base64_encode(text, strlen(text), true);
}

char *auth_header(const char *image)
{
	cs_autofree char *server = auth_server_of_image(image);
	auto_auth struct auth a = {0};
	struct cs_err *err = NULL;

	/* a helper that fails is no reason not to try: many images are public */
	if (auth_get(server, &a, &err) < 0)
		cs_err_free(err);
	return header_of(auth_json(server, &a));
}

/* Servers that the configuration's own store (credsStore, or the file) knows, into keys. */
static int stored_servers(char ***keys, struct cs_err **err)
{
	const char *name = config_str("credsStore"), *key;
	cs_autostr struct cs_str out = CS_STR_INIT(ANSWER_MAX);
	cs_autojson json_t *list = NULL;
	struct cs_err *mine = NULL;
	json_t *v;

	if (name) {
		if (helper(name, "list", "unused", &out, &mine) < 0)
			return told(err, "listing", mine);
		list = json_loadb(out.buf ? out.buf : "", out.len, 0, NULL);
	}
	json_object_foreach(name ? list : json_object_get(config_root(), "auths"), key, v) cs_strv_push(keys, key);
	return 0;
}

int auth_all(json_t **ret, struct cs_err **err)
{
	cs_autojson json_t *all = json_object();
	cs_autostrv char **keys = NULL;
	const char *key;
	json_t *v;

	if (stored_servers(&keys, err) < 0)
		return -1;
	json_object_foreach(json_object_get(config_root(), "credHelpers"), key, v) cs_strv_push(&keys, key);
	for (char **k = keys; k && *k; k++) {
		auto_auth struct auth a = {0};
		struct cs_err *mine = NULL;
		if (auth_get(*k, &a, &mine) < 0) { /* one helper that fails takes nothing from the others */
			cs_autofree char *text = cs_err_text(mine);
			cs_err_free(mine);
			fprintf(stderr, "WARNING: failed to get credentials for registry %s: %s\n", *k, text);
		} else if (a.user || a.identity_token) {
			(void)json_object_set_new(all, *k, auth_json(*k, &a));
		}
	}
	*ret = TAKE_PTR(all);
	return 0;
}

char *auth_config_header(void)
{
	json_t *all = NULL;
	struct cs_err *err = NULL;

	if (auth_all(&all, &err) < 0) { /* as above */
		cs_err_free(err);
		all = json_object();
	}
	return header_of(all);
}

json_t *auth_entry(const json_t *auth)
{
	const char *user = jstr(auth, "username"), *token = jstr(auth, "identitytoken");
	cs_autofree char *pair = cs_xasprintf("%s:%s", user, jstr(auth, "password")), *text = *user ? cs_base64_encode(pair, strlen(pair), false) : NULL;
	json_t *entry = json_object();

	if (text)
		(void)json_object_set_new(entry, "auth", json_string(text));
	if (*token)
		(void)json_object_set_new(entry, "identitytoken", json_string(token));
	explicit_bzero(pair, strlen(pair));
	return entry;
}
