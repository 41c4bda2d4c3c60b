/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads flags and daemon.json by the table in options.c. Used by main before any thread exists, and by its signal loop at SIGHUP. */
#include "daemon/config.h"

#include <fcntl.h>
#include <jansson.h>

#include "base/io.h"
#include "base/json.h"
#include "base/num.h"
#include "daemon/config_check.h"
#include "daemon/options.h"

#define FILE_MAX_BYTES (1u << 20)

static const char *key_of(const struct opt *o)
{
	return o->key ? o->key : o->flag;
}

static bool is_bool(const struct opt *o)
{
	return o->kind == OPT_BOOL;
}

static int set_pair(struct cs_strmap **m, const char *text, const char *what, struct cs_err **err)
{
	const char *eq = strchr(text, '=');
	cs_autofree char *key = eq ? cs_xstrndup(text, (size_t)(eq - text)) : NULL;

	if (!eq || eq == text)
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid argument \"%s\" for \"--%s\" flag: must be key=value", text, what);
	if (!*m)
		*m = cs_strmap_new();
	cs_strmap_set(*m, key, eq + 1);
	return 0;
}

/* base=10.0.0.0/8,size=24 -> "10.0.0.0/8 24" */
static int set_pool(char ***list, const char *text, struct cs_err **err)
{
	cs_autostrv char **parts = cs_strv_split(text, ',');
	const char *base = NULL, *size = NULL;

	for (char **p = parts; *p; p++) {
		const char *v;
		if ((v = cs_prefix(*p, "base=")))
			base = v;
		else if ((v = cs_prefix(*p, "size=")))
			size = v;
		else
			return cs_fail(err, CS_ERR_INVALID, 0, "invalid argument \"%s\" for \"--default-address-pool\" flag: unknown field", text);
	}
	if (!base || !size)
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid argument \"%s\" for \"--default-address-pool\" flag: base and size are needed", text);
	cs_strv_take(list, cs_xasprintf("%s %s", base, size));
	return 0;
}

/* bridge=com.docker.network.driver.mtu=1400 -> "bridge=com.docker.network.driver.mtu": "1400" */
static int set_netopt(struct cs_strmap **m, const char *text, struct cs_err **err)
{
	const char *first = strchr(text, '='), *second = first ? strchr(first + 1, '=') : NULL;
	cs_autofree char *key = second ? cs_xstrndup(text, (size_t)(second - text)) : NULL;

	if (!second || first == text || second == first + 1)
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid argument \"%s\" for \"--default-network-opt\" flag: must be driver=key=value", text);
	if (!*m)
		*m = cs_strmap_new();
	cs_strmap_set(*m, key, second + 1);
	return 0;
}

static int bad_value(const struct opt *o, const char *v, struct cs_err **err)
{
	return cs_fail(err, CS_ERR_INVALID, 0, "invalid argument \"%s\" for \"--%s\" flag", v, o->flag);
}

/* buildkit or buildkit=false -> "buildkit": "false" */
static int set_feature(struct cs_strmap **m, const struct opt *o, const char *text, struct cs_err **err)
{
	size_t n = strcspn(text, "=");
	cs_autofree char *name = cs_xstrndup(text, n);
	bool on = true;

	if (n == 0 || (text[n] && !cs_parse_bool(text + n + 1, &on)))
		return bad_value(o, text, err);
	if (!*m)
		*m = cs_strmap_new();
	cs_strmap_set(*m, name, on ? "true" : "false");
	return 0;
}

/* Options that are not kept. v: a text of their kind, not empty. */
static int set_unkept(struct cs_daemon_config *c, const struct opt *o, const char *v, struct cs_err **err)
{
	bool on = true;
	int64_t n = 1;

	if ((o->kind == OPT_BOOL && !cs_parse_bool(v, &on)) || (o->kind == OPT_INT && !cs_parse_i64(v, INT32_MIN, INT32_MAX, &n)))
		return bad_value(o, v, err);
	if (o->flags & OPT_MOOT)
		cs_strv_take(&c->warnings, cs_xasprintf("option \"%s\": %s", key_of(o), o->help));
	else if (on && n)
		return cs_fail(err, CS_ERR_UNSUPPORTED, 0, "option \"%s\" is not available in this build of Caisson%s%s", key_of(o),
			       o->flags & OPT_FILE_ONLY ? ": " : "", o->flags & OPT_FILE_ONLY ? o->help : "");
	return 0;
}

/* Sets a member from text: a flag's value, or a scalar of the file. */
static int set_text(struct cs_daemon_config *c, const struct opt *o, const char *v, struct cs_err **err)
{
	void *m = (char *)c + o->off;
	int64_t n;

	if (o->flags & (OPT_MOOT | OPT_REFUSED))
		return *v ? set_unkept(c, o, v, err) : 0;
	switch (o->kind) {
	case OPT_BOOL:
		return cs_parse_bool(v, m) ? 0 : bad_value(o, v, err);
	case OPT_STR:
		free(*(char **)m);
		*(char **)m = cs_xstrdup(v);
		return 0;
	case OPT_INT:
		if (!cs_parse_i64(v, INT32_MIN, INT32_MAX, &n))
			return bad_value(o, v, err);
		*(int64_t *)m = n;
		return 0;
	case OPT_BYTES:
		if (!cs_parse_bytes(v, &n) || n < 0)
			return bad_value(o, v, err);
		*(int64_t *)m = n;
		return 0;
	case OPT_LIST:
		cs_strv_push(m, v);
		return 0;
	case OPT_MAP:
	case OPT_ULIMIT:
		return set_pair(m, v, o->flag, err);
	case OPT_POOL:
		return set_pool(m, v, err);
	case OPT_NETOPT:
		return set_netopt(m, v, err);
	case OPT_FEATURE:
		return set_feature(m, o, v, err);
	case OPT_OBJECT: /* never kept */
		break;
	}
	return 0;
}

/* ---- flags ---- */

static const struct opt *find_flag(const char *name, size_t n)
{
	for (size_t i = 0; i < cs_daemon_n_options; i++) {
		const struct opt *o = &cs_daemon_options[i];
		if (!(o->flags & OPT_FILE_ONLY) && strlen(o->flag) == n && !strncmp(o->flag, name, n))
			return o;
	}
	return NULL;
}

static const struct opt *find_letter(char c)
{
	for (size_t i = 0; i < cs_daemon_n_options; i++)
		if (cs_daemon_options[i].letter == c)
			return &cs_daemon_options[i];
	return NULL;
}

struct flags {
	int argc, at;
	char *const *argv;
	struct cs_daemon_config *c;
	char **given; /* per option: the value as text, NULL = not given */
};

static int take_flag(struct flags *f, const struct opt *o, const char *value, const char *shown, struct cs_err **err)
{
	size_t i = (size_t)(o - cs_daemon_options);
	char *joined;

	if (!value && is_bool(o))
		value = "true";
	if (!value) {
		if (f->at + 1 >= f->argc)
			return cs_fail(err, CS_ERR_INVALID, 0, "flag needs an argument: %s\nSee 'caissond --help'.", shown);
		value = f->argv[++f->at];
	}
	joined = f->given[i] ? cs_xasprintf("%s %s", f->given[i], value) : cs_xstrdup(value);
	free(f->given[i]);
	f->given[i] = joined;
	return set_text(f->c, o, value, err);
}

static int take_letters(struct flags *f, const char *arg, struct cs_err **err)
{
	for (const char *p = arg + 1; *p; p++) {
		const struct opt *o = find_letter(*p);
		char shown[3] = { '-', *p, '\0' };
		if (!o)
			return cs_fail(err, CS_ERR_INVALID, 0, "unknown shorthand flag: '%c' in %s\nSee 'caissond --help'.", *p, arg);
		if (p[1] == '=')
			return take_flag(f, o, p + 2, shown, err);
		if (!is_bool(o))
			return take_flag(f, o, p[1] ? p + 1 : NULL, shown, err);
		if (take_flag(f, o, NULL, shown, err) < 0)
			return -1;
	}
	return 0;
}

static int parse_flags(struct flags *f, struct cs_err **err)
{
	for (f->at = 1; f->at < f->argc; f->at++) {
		const char *a = f->argv[f->at];
		if (a[0] != '-' || !a[1])
			return cs_fail(err, CS_ERR_INVALID, 0, "\"caissond\" accepts no arguments.\nSee 'caissond --help'.");
		if (a[1] != '-') {
			if (take_letters(f, a, err) < 0)
				return -1;
			continue;
		}
		size_t n = strcspn(a + 2, "=");
		const struct opt *o = find_flag(a + 2, n);
		if (!o)
			return cs_fail(err, CS_ERR_INVALID, 0, "unknown flag: %.*s\nSee 'caissond --help'.", (int)n + 2, a);
		if (take_flag(f, o, a[n + 2] ? a + n + 3 : NULL, a, err) < 0)
			return -1;
	}
	return 0;
}

/* ---- the file ---- */

static const struct opt *find_key(const char *key)
{
	for (size_t i = 0; i < cs_daemon_n_options; i++)
		if (!(cs_daemon_options[i].flags & OPT_FLAG_ONLY) && !strcmp(key_of(&cs_daemon_options[i]), key))
			return &cs_daemon_options[i];
	return NULL;
}

static int wrong_type(const struct opt *o, const char *want, struct cs_err **err)
{
	return cs_fail(err, CS_ERR_INVALID, 0, "%s: expected %s", key_of(o), want);
}

static int set_list(struct cs_daemon_config *c, const struct opt *o, json_t *v, struct cs_err **err)
{
	char ***m = (void *)((char *)c + o->off);
	size_t i;
	json_t *item;

	if (!json_is_array(v))
		return wrong_type(o, "an array of strings", err);
	json_array_foreach(v, i, item) {
		if (!json_is_string(item))
			return wrong_type(o, "an array of strings", err);
		cs_strv_push(m, json_string_value(item));
	}
	return 0;
}

static int set_ulimit(const struct opt *o, struct cs_strmap *m, const char *name, json_t *v, struct cs_err **err)
{
	json_t *soft = json_object_get(v, "Soft"), *hard = json_object_get(v, "Hard");
	cs_autofree char *text = NULL;

	if (!json_is_integer(soft) || !json_is_integer(hard))
		return wrong_type(o, "objects with Name, Soft and Hard", err);
	text = cs_xasprintf("%lld:%lld", (long long)json_integer_value(soft), (long long)json_integer_value(hard));
	cs_strmap_set(m, name, text);
	return 0;
}

static int set_map(struct cs_daemon_config *c, const struct opt *o, json_t *v, struct cs_err **err)
{
	struct cs_strmap **m = (void *)((char *)c + o->off);
	const char *key;
	json_t *item;

	if (!json_is_object(v))
		return wrong_type(o, "an object", err);
	if (!*m)
		*m = cs_strmap_new();
	json_object_foreach(v, key, item) {
		if (o->kind == OPT_ULIMIT) {
			if (set_ulimit(o, *m, key, item, err) < 0)
				return -1;
		} else if (o->kind == OPT_FEATURE) {
			if (!json_is_boolean(item))
				return wrong_type(o, "an object of true or false", err);
			cs_strmap_set(*m, key, json_is_true(item) ? "true" : "false");
		} else if (!json_is_string(item)) {
			return wrong_type(o, "an object of strings", err);
		} else {
			cs_strmap_set(*m, key, json_string_value(item));
		}
	}
	return 0;
}

static int set_pools(struct cs_daemon_config *c, const struct opt *o, json_t *v, struct cs_err **err)
{
	char ***list = (void *)((char *)c + o->off);
	json_t *item;
	size_t i;

	if (!json_is_array(v))
		return wrong_type(o, "an array of objects with base and size", err);
	json_array_foreach(v, i, item) {
		json_t *base = json_object_get(item, "base"), *size = json_object_get(item, "size");
		if (!json_is_string(base) || !json_is_integer(size) || json_object_size(item) != 2)
			return wrong_type(o, "objects with base and size", err);
		cs_strv_take(list, cs_xasprintf("%s %lld", json_string_value(base), (long long)json_integer_value(size)));
	}
	return 0;
}

static int set_netopts(struct cs_daemon_config *c, const struct opt *o, json_t *v, struct cs_err **err)
{
	struct cs_strmap **m = (void *)((char *)c + o->off);
	const char *driver, *key;
	json_t *opts, *item;

	if (!json_is_object(v))
		return wrong_type(o, "an object of objects", err);
	if (!*m)
		*m = cs_strmap_new();
	json_object_foreach(v, driver, opts) {
		if (!json_is_object(opts))
			return wrong_type(o, "an object of objects", err);
		json_object_foreach(opts, key, item) {
			cs_autofree char *full = cs_xasprintf("%s=%s", driver, key);
			if (!json_is_string(item))
				return wrong_type(o, "objects of strings", err);
			cs_strmap_set(*m, full, json_string_value(item));
		}
	}
	return 0;
}

/* A value of an option that is not kept, as text; its type is looked at all the same. */
static int set_json_unkept(struct cs_daemon_config *c, const struct opt *o, json_t *v, struct cs_err **err)
{
	cs_autofree char *text = json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT);
	bool fits = o->kind == OPT_BOOL ? json_is_boolean(v) : o->kind == OPT_INT ? json_is_integer(v) : o->kind == OPT_LIST ? json_is_array(v) :
		    o->kind == OPT_OBJECT ? json_is_object(v) : json_is_string(v);

	if (!fits)
		return wrong_type(o, o->kind == OPT_BOOL ? "true or false" : o->kind == OPT_INT ? "a number" : o->kind == OPT_LIST ? "an array of strings" :
				     o->kind == OPT_OBJECT ? "an object" : "a string", err);
	if (json_is_string(v))
		return set_text(c, o, json_string_value(v), err);
	return (json_is_array(v) || json_is_object(v)) && strlen(text) == 2 ? 0 : set_text(c, o, text, err);
}

static int set_json(struct cs_daemon_config *c, const struct opt *o, json_t *v, struct cs_err **err)
{
	cs_autofree char *number = NULL;

	if (json_is_null(v)) /* as Go's decoder: as if it were not there */
		return 0;
	if (o->flags & (OPT_MOOT | OPT_REFUSED))
		return set_json_unkept(c, o, v, err);
	switch (o->kind) {
	case OPT_BOOL:
		return json_is_boolean(v) ? set_text(c, o, json_is_true(v) ? "true" : "false", err) : wrong_type(o, "true or false", err);
	case OPT_STR:
		return json_is_string(v) ? set_text(c, o, json_string_value(v), err) : wrong_type(o, "a string", err);
	case OPT_INT:
	case OPT_BYTES:
		if (json_is_string(v) && o->kind == OPT_BYTES)
			return set_text(c, o, json_string_value(v), err);
		if (!json_is_integer(v))
			return wrong_type(o, "a number", err);
		number = cs_xasprintf("%lld", (long long)json_integer_value(v));
		return set_text(c, o, number, err);
	case OPT_LIST:
		return set_list(c, o, v, err);
	case OPT_MAP:
	case OPT_ULIMIT:
	case OPT_FEATURE:
		return set_map(c, o, v, err);
	case OPT_POOL:
		return set_pools(c, o, v, err);
	case OPT_NETOPT:
		return set_netopts(c, o, v, err);
	case OPT_OBJECT: /* never kept */
		break;
	}
	return 0;
}

static void put_item(struct cs_str *s, const char *text)
{
	if (s->len > 0)
		cs_str_puts(s, ", ");
	cs_str_puts(s, text);
}

/* dockerd names all offenders at once. */
static int check_keys(json_t *j, char *const *given, struct cs_err **err)
{
	cs_autostr struct cs_str unknown = CS_STR_INIT(1 << 16), both = CS_STR_INIT(1 << 16);
	const char *key;
	json_t *v;

	json_object_foreach(j, key, v) {
		const struct opt *o = find_key(key);
		const char *flag = o && given ? given[o - cs_daemon_options] : NULL;
		if (!o) {
			put_item(&unknown, key);
		} else if (flag) {
			cs_autofree char *text = json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT);
			cs_autofree char *item = cs_xasprintf("%s: (from flag: %s, from file: %s)", key, flag, json_is_string(v) ? json_string_value(v) : text);
			put_item(&both, item);
		}
	}
	if (unknown.len > 0)
		return cs_fail(err, CS_ERR_INVALID, 0, "the following directives don't match any configuration option: %s", unknown.buf);
	if (both.len > 0)
		return cs_fail(err, CS_ERR_INVALID, 0, "the following directives are specified both as a flag and in the configuration file: %s", both.buf);
	return 0;
}

static int apply_file(struct cs_daemon_config *c, const char *text, size_t len, char *const *given, struct cs_err **err)
{
	cs_autojson json_t *j = NULL;
	const char *key;
	json_t *v;

	if (strspn(text, " \t\r\n") == len) /* an empty file is no configuration */
		return 0;
	j = cs_json_parse(text, len, err);
	if (!j)
		return -1;
	if (!json_is_object(j))
		return cs_fail(err, CS_ERR_INVALID, 0, "expected an object");
	if (check_keys(j, given, err) < 0)
		return -1;
	json_object_foreach(j, key, v)
		if (set_json(c, find_key(key), v, err) < 0)
			return -1;
	return 0;
}

static int load_file(struct cs_daemon_config *c, char *const *given, bool named, struct cs_err **err)
{
	cs_autostr struct cs_str text = CS_STR_INIT(FILE_MAX_BYTES);
	int r = cs_read_file_at(AT_FDCWD, c->config_file, &text);

	if (r == -ENOENT && !named)
		return 0;
	if (r < 0)
		(void)cs_fail(err, CS_ERR_INVALID, -r, "open %s", c->config_file);
	else
		r = apply_file(c, text.buf ? text.buf : "", text.len, given, err);
	return r < 0 ? cs_wrap(err, "unable to configure the Docker daemon with file %s", c->config_file) : 0;
}

static int set_defaults(struct cs_daemon_config *c, struct cs_err **err)
{
	for (size_t i = 0; i < cs_daemon_n_options; i++)
		if (cs_daemon_options[i].dflt && set_text(c, &cs_daemon_options[i], cs_daemon_options[i].dflt, err) < 0)
			return -1;
	return 0;
}

int cs_daemon_config_load(int argc, char *const *argv, struct cs_daemon_config *ret, struct cs_err **err)
{
	struct cs_daemon_config c = { 0 };
	struct flags f = { .argc = argc, .argv = argv, .c = &c, .given = cs_xcalloc(cs_daemon_n_options, sizeof(char *)) };
	const struct opt *file = find_flag("config-file", strlen("config-file"));
	int r = set_defaults(&c, err);

	if (r == 0)
		r = parse_flags(&f, err);
	if (r == 0 && !c.show_help && !c.show_version) {
		r = load_file(&c, f.given, f.given[file - cs_daemon_options] != NULL, err);
		if (r == 0)
			r = cs_daemon_config_check(&c, err);
	}
	for (size_t i = 0; i < cs_daemon_n_options; i++)
		free(f.given[i]);
	free(f.given);
	if (r < 0)
		cs_daemon_config_done(&c);
	else
		*ret = c;
	return r;
}

/* ---- life ---- */

static void release(struct cs_daemon_config *c, const struct opt *o)
{
	void *m = (char *)c + o->off;

	if (o->flags & (OPT_MOOT | OPT_REFUSED))
		return;
	if (o->kind == OPT_STR) {
		free(*(char **)m);
		*(char **)m = NULL;
	} else if (o->kind == OPT_LIST || o->kind == OPT_POOL) {
		cs_strv_free(*(char ***)m);
		*(char ***)m = NULL;
	} else if (o->kind == OPT_MAP || o->kind == OPT_ULIMIT || o->kind == OPT_NETOPT || o->kind == OPT_FEATURE) {
		cs_strmap_free(*(struct cs_strmap **)m);
		*(struct cs_strmap **)m = NULL;
	}
}

void cs_daemon_config_done(struct cs_daemon_config *c)
{
	for (size_t i = 0; i < cs_daemon_n_options; i++)
		release(c, &cs_daemon_options[i]);
	cs_strv_free(c->warnings);
	c->warnings = NULL;
}

static size_t member_size(const struct opt *o)
{
	return o->kind == OPT_BOOL ? sizeof(bool) : o->kind == OPT_INT || o->kind == OPT_BYTES ? sizeof(int64_t) : sizeof(void *);
}

void cs_daemon_config_take_live(struct cs_daemon_config *to, struct cs_daemon_config *from)
{
	for (size_t i = 0; i < cs_daemon_n_options; i++) {
		const struct opt *o = &cs_daemon_options[i];
		char tmp[sizeof(int64_t)];
		if (!(o->flags & OPT_LIVE))
			continue;
		/* swap: what was in force is freed with `from`, once nobody can read it any more */
		memcpy(tmp, (char *)to + o->off, member_size(o));
		memcpy((char *)to + o->off, (char *)from + o->off, member_size(o));
		memcpy((char *)from + o->off, tmp, member_size(o));
	}
}

static void engine_ulimits(const struct cs_strmap *m, struct cs_engine_config *e)
{
	for (size_t i = 0; m && i < m->n; i++) {
		struct cs_ulimit u = { .name = cs_xstrdup(m->kv[i].key) };
		(void)cs_daemon_parse_ulimit(m->kv[i].val, &u.soft, &u.hard); /* checked */
		e->default_ulimits = cs_xreallocarray(e->default_ulimits, e->n_default_ulimits + 1, sizeof(u));
		e->default_ulimits[e->n_default_ulimits++] = u;
	}
}

/* The flag, the file, or NULL: then the environment counts. */
static const char *proxy_of(const struct cs_daemon_config *c, const char *key)
{
	const char *flag = cs_daemon_proxy_flag(c, key), *v = flag ? flag : cs_strmap_get(c->proxies, key);

	return cs_empty(v) ? NULL : v;
}

void cs_daemon_config_engine(const struct cs_daemon_config *c, struct cs_engine_config *ret)
{
	*ret = (struct cs_engine_config){
		.data_root = c->data_root, .exec_root = c->exec_root, .worker_path = c->worker, .cgroup_parent = c->cgroup_parent,
		.base_image = c->base_image, .pidfile = c->pidfile, .debug = c->debug, .labels = c->labels, .log_driver = c->log_driver,
		.log_opts = c->log_opts, .default_shm_size = c->default_shm_size, .max_layer_size = c->max_layer_size, .default_ipc_mode = c->default_ipc_mode,
		.default_cgroupns_mode = c->default_cgroupns_mode, .init = c->init, .no_new_privileges = c->no_new_privileges,
		.live_restore = c->live_restore, .seccomp_profile = c->seccomp_profile, .default_stop_timeout = c->default_stop_timeout,
		.max_concurrent_downloads = c->max_concurrent_downloads, .max_concurrent_uploads = c->max_concurrent_uploads,
		.max_download_attempts = c->max_download_attempts,
		.shutdown_timeout = c->shutdown_timeout, .dns = c->dns, .dns_search = c->dns_search, .dns_opts = c->dns_opts,
		.insecure_registries = c->insecure_registries, .registry_mirrors = c->registry_mirrors, .registry_hosts_dirs = c->registry_hosts_dirs,
		.http_proxy = proxy_of(c, "http-proxy"), .https_proxy = proxy_of(c, "https-proxy"), .no_proxy = proxy_of(c, "no-proxy"), .hosts = c->hosts,
		.init_path = cs_empty(c->init_path) ? c->default_init : c->init_path, .resolv_conf = c->resolv_conf, .api_cors_header = c->api_cors_header,
		.min_api = c->min_api, .experimental = c->experimental, .container_size = c->container_size,
		.network = {.enabled = true, .bridge = c->bridge, .bip = c->bip, .bip6 = c->bip6, .fixed_cidr = c->fixed_cidr, .fixed_cidr_v6 = c->fixed_cidr_v6,
			    .default_gateway = c->default_gateway, .default_gateway_v6 = c->default_gateway_v6, .ip = c->publish_ip,
			    .firewall = c->firewall && c->iptables, .direct_routing = c->direct_routing, .ipv6 = c->ipv6, .icc = c->icc, .ip_forward = c->ip_forward, .ip_forward_no_drop = c->ip_forward_no_drop, .ip_masq = c->ip_masq,
			    .mtu = c->mtu, .address_pools = c->address_pools, .network_opts = c->network_opts, .host_gateway_ips = c->host_gateway_ips},
	};
	engine_ulimits(c->default_ulimits, ret);
}

void cs_daemon_config_engine_done(struct cs_engine_config *e)
{
	for (size_t i = 0; i < e->n_default_ulimits; i++)
		free(e->default_ulimits[i].name);
	free(e->default_ulimits);
	e->default_ulimits = NULL;
	e->n_default_ulimits = 0;
}

void cs_daemon_config_help(struct cs_str *out)
{
	static const char *const kind[] = { "", "string", "int", "bytes", "list", "map", "ulimit", "pool", "option", "feature", "object" };

	cs_str_puts(out, "\nUsage:  caissond [OPTIONS]\n\nA Docker-compatible container engine.\n\nOptions:\n");
	for (size_t i = 0; i < cs_daemon_n_options; i++) {
		const struct opt *o = &cs_daemon_options[i];
		if (o->flags & OPT_FILE_ONLY)
			continue;
		cs_autofree char *name = cs_xasprintf("--%s %s", o->flag, kind[o->kind]);
		cs_str_putf(out, "  %c%c%c %-34s %s", o->letter ? '-' : ' ', o->letter ? o->letter : ' ', o->letter ? ',' : ' ', name, o->help);
		if (o->dflt && *o->dflt)
			cs_str_putf(out, " (default %s)", o->dflt);
		cs_str_putc(out, '\n');
	}
}
