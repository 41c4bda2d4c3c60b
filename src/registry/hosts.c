/* SPDX-License-Identifier: Apache-2.0
 *
 * Which endpoints serve a host of a reference: registry-mirrors for docker.io, <hosts dir>/<host>/hosts.toml for any, then the registry
 * itself. Read anew for each session, so that a change needs no reload. */
#include <fcntl.h>

#include "base/io.h"
#include "base/json.h"
#include "base/path.h"
#include "registry/internal.h"
#include "registry/toml.h"

#define HUB "docker.io"
#define HUB_REGISTRY "registry-1.docker.io"
#define FILE_MAX (1u << 20)
#define ENDPOINTS_MAX 32

void cs_rg_endpoint_done(struct cs_rg_endpoint *e)
{
	free(e->url);
	free(e->hostport);
	free(e->ns);
	cs_strv_free(e->headers);
	cs_rg_tls_done(&e->tls);
	cs_rg_challenges_done(&e->challenges);
}

void cs_rg_endpoints_done(struct cs_rg_endpoints *e)
{
	for (size_t i = 0; i < e->n; i++)
		cs_rg_endpoint_done(&e->e[i]);
	free(e->e);
	*e = (struct cs_rg_endpoints){0};
}

/* "host" or "host:port", as people write it: the default port left out. */
static char *hostport_of(const struct cs_rg_url *u)
{
	bool v6 = strchr(u->host, ':') != NULL, plain = strcmp(u->port, strcmp(u->scheme, "https") == 0 ? "443" : "80") == 0;
	return cs_xasprintf("%s%s%s%s%s", v6 ? "[" : "", u->host, v6 ? "]" : "", plain ? "" : ":", plain ? "" : u->port);
}

/* An endpoint at a URL; what hosts.toml says besides comes later. suffix: "/v2" to be appended, or "". */
static int endpoint_at(struct cs_registry *reg, const char *url, const char *suffix, struct cs_rg_endpoint *ret, struct cs_err **err)
{
	struct cs_rg_url u = {0};
	struct cs_rg_endpoint e = {.can_pull = true, .can_resolve = true, .fixed = true, .tls.ca_fd = -EBADF};

	if (!cs_rg_url_parse(url, &u) || u.user || strchr(u.path, '?')) {
		cs_rg_url_done(&u);
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid registry endpoint %s", url);
	}
	size_t n = strlen(u.path);
	while (n > 0 && u.path[n - 1] == '/')
		n--;
	if (*suffix && n >= 3 && strncmp(u.path + n - 3, "/v2", 3) == 0)
		n -= 3; /* written down already */
	e.hostport = hostport_of(&u);
	e.url = cs_xasprintf("%s://%s%.*s%s", u.scheme, e.hostport, (int)n, u.path, suffix);
	e.tls.skip_verify = cs_rg_insecure_host(reg, e.hostport);
	cs_rg_url_done(&u);
	if (cs_rg_certs_load(reg, e.hostport, &e.tls, err) < 0) {
		cs_rg_endpoint_done(&e);
		return -1;
	}
	*ret = e;
	return 0;
}

int cs_rg_endpoint_plain(struct cs_registry *reg, const char *hostport, const char *suffix, struct cs_rg_endpoint *ret, struct cs_err **err)
{
	cs_autofree char *url = cs_xasprintf("https://%s", hostport);

	if (endpoint_at(reg, url, suffix, ret, err) < 0)
		return -1;
	free(ret->hostport); /* as it was written: insecure-registries and certs.d go by that */
	ret->hostport = cs_xstrdup(hostport);
	ret->http_ok = cs_rg_insecure_host(reg, hostport);
	ret->tls.skip_verify = ret->http_ok;
	ret->fixed = false;
	return cs_rg_certs_seal(&ret->tls, err);
}

static int append(struct cs_rg_endpoints *list, struct cs_rg_endpoint *e, struct cs_err **err)
{
	if (list->n >= ENDPOINTS_MAX || cs_rg_certs_seal(&e->tls, err) < 0) {
		cs_rg_endpoint_done(e);
		return cs_fail(err, CS_ERR_INVALID, 0, "more than %d endpoints for one registry", ENDPOINTS_MAX);
	}
	list->e = cs_xreallocarray(list->e, list->n + 1, sizeof(*e));
	list->e[list->n++] = *e;
	return 0;
}

/* ---- hosts.toml ---- */

struct hosts {
	struct cs_registry *reg;
	const char *host;  /* of the reference */
	const char *dir;   /* of the file: relative paths start there */
	const char *path;  /* of the file, for errors */
	bool push;
	struct cs_rg_endpoints *out;
	struct cs_err **err;
};

static int bad(struct hosts *h, const char *key, const char *what)
{
	return cs_fail(h->err, CS_ERR_INVALID, 0, "%s: %s: %s", h->path, key, what);
}

static char *file_of(struct hosts *h, const char *name) { return *name == '/' ? cs_xstrdup(name) : cs_path_join(h->dir, name); }

static int take_capabilities(struct hosts *h, json_t *v, struct cs_rg_endpoint *e)
{
	json_t *item;
	size_t i;

	if (!json_is_array(v))
		return bad(h, "capabilities", "expected an array of strings");
	e->can_pull = e->can_resolve = e->can_push = false;
	json_array_foreach(v, i, item) {
		const char *s = json_string_value(item);
		if (!s)
			return bad(h, "capabilities", "expected an array of strings");
		if (strcmp(s, "pull") == 0)
			e->can_pull = true;
		else if (strcmp(s, "resolve") == 0)
			e->can_resolve = true;
		else if (strcmp(s, "push") == 0)
			e->can_push = true;
		else
			return bad(h, "capabilities", "knows pull, resolve and push");
	}
	return 0;
}

static int take_ca(struct hosts *h, json_t *v, struct cs_rg_endpoint *e)
{
	json_t *item;
	size_t i;

	if (json_is_string(v)) {
		cs_autofree char *file = file_of(h, json_string_value(v));
		return cs_rg_certs_add_ca(&e->tls, file, h->err) < 0 ? cs_wrap(h->err, "%s", h->path) : 0;
	}
	if (!json_is_array(v))
		return bad(h, "ca", "expected a string or an array of strings");
	json_array_foreach(v, i, item) {
		if (!json_is_string(item))
			return bad(h, "ca", "expected a string or an array of strings");
		if (take_ca(h, item, e) < 0)
			return -1;
	}
	return 0;
}

static void set_client(struct hosts *h, struct cs_rg_endpoint *e, const char *cert, const char *key)
{
	free(e->tls.client_cert);
	free(e->tls.client_key);
	e->tls.client_cert = file_of(h, cert);
	e->tls.client_key = file_of(h, cs_empty(key) ? cert : key);
}

/* "both.pem", ["both.pem", …] or [["cert", "key"], …]; the first that is there counts. */
static int take_client(struct hosts *h, json_t *v, struct cs_rg_endpoint *e)
{
	json_t *first = json_is_array(v) ? json_array_get(v, 0) : v;

	if (json_is_string(first)) {
		set_client(h, e, json_string_value(first), NULL);
		return 0;
	}
	json_t *cert = json_array_get(first, 0), *key = json_array_get(first, 1);
	if (!json_is_string(cert) || (key && !json_is_string(key)))
		return bad(h, "client", "expected \"file\", [\"file\"] or [[\"cert\", \"key\"]]");
	set_client(h, e, json_string_value(cert), json_string_value(key));
	return 0;
}

static int add_header(struct hosts *h, struct cs_rg_endpoint *e, const char *name, json_t *v)
{
	const char *value = json_string_value(v);

	for (const char *p = name; *p; p++)
		if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') || strchr("-_", *p)))
			return bad(h, "header", "name with odd characters");
	if (!value || !*name || !cs_rg_header_value_ok(value))
		return bad(h, "header", "expected strings of printable characters");
	cs_strv_take(&e->headers, cs_xasprintf("%s: %s", name, value));
	return 0;
}

static int take_header(struct hosts *h, json_t *v, struct cs_rg_endpoint *e)
{
	const char *name;
	json_t *value, *item;
	size_t i;

	if (!json_is_object(v))
		return bad(h, "header", "expected a table");
	json_object_foreach(v, name, value) {
		if (!json_is_array(value)) {
			if (add_header(h, e, name, value) < 0)
				return -1;
			continue;
		}
		json_array_foreach(value, i, item)
			if (add_header(h, e, name, item) < 0)
				return -1;
	}
	return 0;
}

static int take_key(struct hosts *h, const char *key, json_t *v, struct cs_rg_endpoint *e)
{
	if (strcmp(key, "capabilities") == 0)
		return take_capabilities(h, v, e);
	if (strcmp(key, "ca") == 0)
		return take_ca(h, v, e);
	if (strcmp(key, "client") == 0)
		return take_client(h, v, e);
	if (strcmp(key, "header") == 0)
		return take_header(h, v, e);
	if (strcmp(key, "skip_verify") == 0) {
		if (!json_is_boolean(v))
			return bad(h, key, "expected true or false");
		e->tls.skip_verify = json_is_true(v);
		return 0;
	}
	if (strcmp(key, "override_path") == 0)
		return json_is_boolean(v) ? 0 : bad(h, key, "expected true or false");
	return bad(h, key, "unknown key");
}

/* One host of the file, or the server with the keys at the top. */
static int take_host(struct hosts *h, const char *url, json_t *table, bool server)
{
	cs_autofree char *full = strstr(url, "://") ? cs_xstrdup(url) : cs_xasprintf("https://%s", url);
	struct cs_rg_endpoint e;
	const char *key;
	json_t *v;

	if (!json_is_object(table))
		return bad(h, url, "expected a table");
	if (endpoint_at(h->reg, full, json_is_true(json_object_get(table, "override_path")) ? "" : "/v2", &e, h->err) < 0)
		return cs_wrap(h->err, "%s", h->path);
	e.origin = server;
	e.can_push = server;
	json_object_foreach(table, key, v) {
		if (server && (strcmp(key, "server") == 0 || strcmp(key, "host") == 0))
			continue;
		if (take_key(h, key, v, &e) < 0) {
			cs_rg_endpoint_done(&e);
			return -1;
		}
	}
	if (!server)
		e.ns = cs_xstrdup(h->host);
	if (h->push ? !e.can_push : !e.can_pull && !e.can_resolve) {
		cs_rg_endpoint_done(&e);
		return 0;
	}
	return append(h->out, &e, h->err);
}

/* The registry itself, when nothing else was written down. */
static int add_default(struct cs_registry *reg, const char *host, struct cs_rg_endpoints *out, struct cs_err **err)
{
	struct cs_rg_endpoint e = {.tls.ca_fd = -EBADF};

	if (cs_rg_endpoint_plain(reg, strcmp(host, HUB) == 0 ? HUB_REGISTRY : host, "/v2", &e, err) < 0) {
		cs_rg_endpoint_done(&e);
		return -1;
	}
	e.origin = e.can_push = true;
	return append(out, &e, err);
}

static bool has_server_keys(json_t *root)
{
	const char *key;
	json_t *v;

	json_object_foreach(root, key, v)
		if (strcmp(key, "host") != 0)
			return true;
	return false;
}

static int read_hosts(struct hosts *h, json_t *root)
{
	json_t *server = json_object_get(root, "server"), *hosts = json_object_get(root, "host"), *table;
	const char *url;

	if (server && !json_is_string(server))
		return bad(h, "server", "expected a string");
	if (hosts && !json_is_object(hosts))
		return bad(h, "host", "expected a table");
	json_object_foreach(hosts, url, table)
		if (take_host(h, url, table, false) < 0)
			return -1;
	if (server)
		return take_host(h, json_string_value(server), root, true);
	if (has_server_keys(root))
		return bad(h, "server", "is missing, although there are keys for it");
	return add_default(h->reg, h->host, h->out, h->err);
}

/* 1: there was a file; 0: none. */
static int try_file(struct hosts *h, const char *hosts_dir, const char *name)
{
	cs_autofree char *dir = cs_path_join(hosts_dir, name), *path = cs_path_join(dir, "hosts.toml");
	cs_autostr struct cs_str text = CS_STR_INIT(FILE_MAX);
	cs_autojson json_t *root = NULL;
	int r = cs_read_file_at(AT_FDCWD, path, &text);

	if (r == -ENOENT || r == -ENOTDIR)
		return 0;
	if (r < 0)
		return cs_fail(h->err, CS_ERR_INTERNAL, -r, "read %s", path);
	root = cs_rg_toml_parse(text.buf ? text.buf : "", text.len, h->err);
	if (!root)
		return cs_wrap(h->err, "%s", path);
	h->dir = dir;
	h->path = path;
	return read_hosts(h, root) < 0 ? -1 : 1;
}

static int try_files(struct hosts *h)
{
	const char *const names[] = {h->host, "_default"};

	for (size_t i = 0; i < CS_ARRAY_SIZE(names); i++) {
		for (char **d = h->reg->hosts_dirs; d && *d; d++) {
			int r = try_file(h, *d, names[i]);
			if (r != 0)
				return r;
		}
	}
	return 0;
}

static int add_mirrors(struct cs_registry *reg, struct cs_rg_endpoints *out, struct cs_err **err)
{
	for (char **m = reg->mirrors; m && *m; m++) {
		struct cs_rg_endpoint e;
		if (endpoint_at(reg, *m, "/v2", &e, err) < 0 || append(out, &e, err) < 0)
			return -1;
	}
	return 0;
}

int cs_rg_endpoints(struct cs_registry *reg, const char *host, bool push, struct cs_rg_endpoints *ret, struct cs_err **err)
{
	struct cs_rg_endpoints out = {0};
	struct hosts h = {.reg = reg, .host = host, .push = push, .out = &out, .err = err};
	int r = try_files(&h);

	if (r == 0) {
		if (strcmp(host, HUB) == 0 && !push)
			r = add_mirrors(reg, &out, err);
		if (r == 0)
			r = add_default(reg, host, &out, err);
	}
	if (r >= 0 && out.n == 0)
		r = cs_fail(err, CS_ERR_INVALID, 0, "no endpoint of %s may be used to %s", host, push ? "push" : "pull");
	if (r < 0) {
		cs_rg_endpoints_done(&out);
		return -1;
	}
	*ret = out;
	return 0;
}
