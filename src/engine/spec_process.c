/* SPDX-License-Identifier: Apache-2.0
 *
 * The OCI process object: of a container's first process and of an exec. Pure but for the engine's seccomp and host facts. */
#include <string.h>

#include "base/num.h"
#include "engine/spec-internal.h"

#define DEFAULT_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* Where the entry with the same name as `item` (up to '=') is, or NULL. */
static char **find_env(char **env, const char *item, size_t name_len)
{
	for (; env && *env; env++)
		if (strncmp(*env, item, name_len) == 0 && (*env)[name_len] == '=')
			return env;
	return NULL;
}

static void remove_at(char **v)
{
	free(*v);
	for (; *v; v++)
		v[0] = v[1];
}

/* Replaces or appends; a name without '=' takes the variable away. */
static void merge_env(char ***env, char *const *more)
{
	for (size_t i = 0; more && more[i]; i++) {
		const char *eq = strchr(more[i], '=');
		size_t n = eq ? (size_t)(eq - more[i]) : strlen(more[i]);
		char **at = find_env(*env, more[i], n);

		if (at && eq) {
			free(*at);
			*at = cs_xstrdup(more[i]);
		} else if (at) {
			remove_at(at);
		} else if (eq) {
			cs_strv_push(env, more[i]);
		}
	}
}

char **cs_spec_env(const struct cs_config *config, bool tty, char *const *extra)
{
	char **env = NULL;

	cs_strv_push(&env, DEFAULT_PATH);
	cs_strv_take(&env, cs_xasprintf("HOSTNAME=%s", config->hostname ? config->hostname : ""));
	if (tty)
		cs_strv_push(&env, "TERM=xterm");
	merge_env(&env, config->env);
	merge_env(&env, extra);
	return env;
}

static void put_user(struct cs_str *out, const char *user, char *const *groups)
{
	bool numeric = false, named = false;
	uint64_t gid;

	cs_json_put_key(out, "user");
	cs_str_puts(out, "{\"uid\":0,\"gid\":0");
	if (!cs_empty(user))
		cs_json_put_kstr(out, "username", user);
	for (size_t i = 0; groups && groups[i]; i++) {
		bool is_number = cs_parse_u64(groups[i], 0, UINT32_MAX, &gid);
		numeric = numeric || is_number;
		named = named || !is_number;
	}
	for (int pass = 0; pass < 2; pass++) {
		if (!(pass ? named : numeric))
			continue;
		cs_json_put_key(out, pass ? "additionalGroups" : "additionalGids");
		cs_str_putc(out, '[');
		for (size_t i = 0, n = 0; groups[i]; i++) {
			bool is_number = cs_parse_u64(groups[i], 0, UINT32_MAX, &gid);
			if (is_number == (pass == 1))
				continue;
			if (n++)
				cs_str_putc(out, ',');
			if (is_number)
				cs_str_put_u64(out, gid);
			else
				cs_json_put_string(out, groups[i]);
		}
		cs_str_putc(out, ']');
	}
	cs_str_putc(out, '}');
}

/* Docker gives bounding, effective and permitted; none are inheritable (CVE-2022-29162) or ambient. */
static void put_capabilities(struct cs_str *out, uint64_t set)
{
	static const char *const kinds[] = {"bounding", "effective", "permitted"};

	cs_json_put_key(out, "capabilities");
	cs_str_putc(out, '{');
	for (size_t i = 0; i < CS_ARRAY_SIZE(kinds); i++) {
		cs_json_put_key(out, kinds[i]);
		cs_caps_put(set, out);
	}
	cs_str_putc(out, '}');
}

static void put_rlimit(struct cs_str *out, const struct cs_ulimit *u)
{
	const char *name = cs_ulimit_oci_name(u->name);

	if (!name)
		return;
	cs_str_puts(out, out->buf[out->len - 1] == '[' ? "{" : ",{");
	cs_json_put_kstr(out, "type", name);
	cs_json_put_ki64(out, "hard", u->hard); /* -1: RLIM_INFINITY */
	cs_json_put_ki64(out, "soft", u->soft);
	cs_str_putc(out, '}');
}

struct cs_ulimit *cs_ulimits_merged(const struct cs_engine_config *cfg, const struct cs_resources *r, size_t *ret_n)
{
	struct cs_ulimit *v = cs_xcalloc(r->n_ulimits + cfg->n_default_ulimits + 1, sizeof(*v));
	size_t n = r->n_ulimits;

	if (n)
		memcpy(v, r->ulimits, n * sizeof(*v));
	for (size_t i = 0; i < cfg->n_default_ulimits; i++) {
		bool own = false;
		for (size_t k = 0; k < r->n_ulimits; k++)
			own = own || cs_streq(r->ulimits[k].name, cfg->default_ulimits[i].name);
		if (!own)
			v[n++] = cfg->default_ulimits[i];
	}
	*ret_n = n;
	return v;
}

static void put_rlimits(const struct cs_engine_config *cfg, const struct cs_resources *r, struct cs_str *out)
{
	size_t n;
	cs_autofree struct cs_ulimit *v = cs_ulimits_merged(cfg, r, &n);

	if (!n)
		return;
	cs_json_put_key(out, "rlimits");
	cs_str_putc(out, '[');
	for (size_t i = 0; i < n; i++)
		put_rlimit(out, &v[i]);
	cs_str_putc(out, ']');
}

static void put_args(struct cs_str *out, char *const *init, char *const *entrypoint, char *const *cmd)
{
	char *const *const parts[] = {init, entrypoint, cmd};

	cs_json_put_key(out, "args");
	cs_str_putc(out, '[');
	for (size_t k = 0; k < CS_ARRAY_SIZE(parts); k++) {
		for (char *const *p = parts[k]; p && *p; p++) {
			if (out->buf[out->len - 1] != '[')
				cs_str_putc(out, ',');
			cs_json_put_string(out, *p);
		}
	}
	cs_str_putc(out, ']');
}

enum cs_init cs_spec_init(const struct cs_engine_config *cfg, const struct cs_host_config *h)
{
	bool wanted = h->init == CS_TRUE || (h->init == CS_NULL && cfg->init);

	if (!wanted || !cs_empty(h->pid_mode)) /* an init needs to be pid 1 */
		return CS_INIT_NONE;
	return cs_empty(cfg->init_path) ? CS_INIT_BUILT_IN : CS_INIT_FILE;
}

static bool no_new_privileges(const struct cs_engine_config *cfg, const struct cs_security_opts *sec)
{
	return sec->no_new_privileges_set ? sec->no_new_privileges : cfg->no_new_privileges;
}

void cs_process_put(const struct cs_engine_config *cfg, const struct cs_config *c, const struct cs_host_config *h,
		    const struct cs_security_opts *sec, uint64_t caps, uint16_t rows, uint16_t cols, struct cs_str *out)
{
	cs_autostrv char **env = cs_spec_env(c, c->tty, NULL);
	char *init[] = {(char *)(uintptr_t)CS_INIT_PLACE, (char *)(uintptr_t)"--", NULL};

	cs_json_put_key(out, "process");
	cs_str_putc(out, '{');
	cs_json_put_kbool(out, "terminal", c->tty);
	if (c->tty && rows && cols)
		cs_str_putf(out, ",\"consoleSize\":{\"height\":%u,\"width\":%u}", rows, cols);
	put_user(out, c->user, h->group_add);
	put_args(out, cs_spec_init(cfg, h) == CS_INIT_FILE ? init : NULL, c->entrypoint, c->cmd);
	cs_json_put_key(out, "env");
	cs_json_put_strv(out, env);
	cs_json_put_kstr(out, "cwd", cs_empty(c->working_dir) ? "/" : c->working_dir);
	put_capabilities(out, caps);
	put_rlimits(cfg, &h->res, out);
	cs_json_put_kbool(out, "noNewPrivileges", no_new_privileges(cfg, sec));
	cs_json_put_ki64(out, "oomScoreAdj", h->oom_score_adj);
	cs_str_putc(out, '}');
}

int cs_spec_exec_process(const struct cs_engine_config *cfg, const char *id, const struct cs_config *config, const struct cs_host_config *host,
			 const struct cs_exec_config *exec, struct cs_str *out, struct cs_err **err)
{
	struct cs_security_opts sec cs_auto(cs_security_opts_done) = {0};
	cs_autostrv char **env = cs_spec_env(config, exec->tty, exec->env);
	uint16_t rows, cols;
	uint64_t caps;

	if (cs_caps_effective(host->cap_add, host->cap_drop, host->privileged || exec->privileged, &caps, err) < 0 ||
	    cs_security_opts_parse(host->security_opt, &sec, err) < 0 ||
	    cs_console_size_parse(exec->console_size, "ConsoleSize", &rows, &cols, err) < 0)
		return -1;
	cs_str_putc(out, '{');
	cs_json_put_kbool(out, "terminal", exec->tty);
	if (exec->tty && rows && cols)
		cs_str_putf(out, ",\"consoleSize\":{\"height\":%u,\"width\":%u}", rows, cols);
	put_user(out, cs_empty(exec->user) ? config->user : exec->user, host->group_add);
	put_args(out, NULL, NULL, exec->cmd);
	cs_json_put_key(out, "env");
	cs_json_put_strv(out, env);
	const char *cwd = cs_empty(exec->working_dir) ? config->working_dir : exec->working_dir;
	cs_json_put_kstr(out, "cwd", cs_empty(cwd) ? "/" : cwd);
	put_capabilities(out, caps);
	put_rlimits(cfg, &host->res, out);
	cs_json_put_kbool(out, "noNewPrivileges", no_new_privileges(cfg, &sec) && !exec->privileged);
	cs_json_put_ki64(out, "oomScoreAdj", host->oom_score_adj);
	cs_str_putc(out, '}');
	return out->failed ? cs_fail(err, CS_ERR_INVALID, 0, "exec in container %s: arguments and environment are too large", id) : 0;
}
