/* SPDX-License-Identifier: Apache-2.0
 *
 * The image's Config under the container's, as dockerd merges them, and the checks of what comes out; signals and detach keys. Pure. */
#include <ctype.h>
#include <signal.h>
#include <string.h>

#include <strings.h>

#include "base/num.h"
#include "base/path.h"
#include "engine/spec-internal.h"

static bool env_has(char *const *env, const char *item)
{
	size_t n = strcspn(item, "=");

	for (size_t i = 0; env && env[i]; i++)
		if (strncmp(env[i], item, n) == 0 && (env[i][n] == '=' || env[i][n] == 0))
			return true;
	return false;
}

static void merge_set(char ***to, char *const *from)
{
	for (size_t i = 0; from && from[i]; i++)
		if (!cs_strv_has(*to, from[i]))
			cs_strv_push(to, from[i]);
}

static void merge_health(struct cs_config *c, const struct cs_health_config *image)
{
	struct cs_health_config *h = c->healthcheck;

	if (!image)
		return;
	if (!h) {
		c->healthcheck = cs_health_config_copy(image);
		return;
	}
	if (!h->test || !h->test[0]) {
		cs_strv_free(h->test);
		h->test = cs_strv_copy(image->test);
	}
	h->interval = h->interval ? h->interval : image->interval;
	h->timeout = h->timeout ? h->timeout : image->timeout;
	h->start_period = h->start_period ? h->start_period : image->start_period;
	h->start_interval = h->start_interval ? h->start_interval : image->start_interval;
	h->retries = h->retries ? h->retries : image->retries;
}

static void merge_str(char **to, const char *from)
{
	if (cs_empty(*to) && !cs_empty(from)) {
		free(*to);
		*to = cs_xstrdup(from);
	}
}

/* Cmd of the image counts only where neither word is the container's; [""] as entrypoint takes the image's away. */
static void merge_command(struct cs_config *c, const struct cs_config *image)
{
	if (!c->entrypoint || !c->entrypoint[0]) {
		if ((!c->cmd || !c->cmd[0]) && image->cmd) {
			cs_strv_free(c->cmd);
			c->cmd = cs_strv_copy(image->cmd);
			c->args_escaped = image->args_escaped;
		}
		if (!c->entrypoint)
			c->entrypoint = cs_strv_copy(image->entrypoint);
	}
	if (c->entrypoint && c->entrypoint[0] && !c->entrypoint[0][0] && !c->entrypoint[1]) {
		cs_strv_free(c->entrypoint);
		c->entrypoint = NULL;
	}
}

void cs_config_merge(struct cs_config *c, const struct cs_config *image)
{
	merge_str(&c->user, image->user);
	merge_set(&c->exposed_ports, image->exposed_ports);
	for (size_t i = 0; image->env && image->env[i]; i++)
		if (!env_has(c->env, image->env[i]))
			cs_strv_push(&c->env, image->env[i]);
	if (image->labels && !c->labels)
		c->labels = cs_strmap_new();
	for (size_t i = 0; image->labels && i < image->labels->n; i++)
		/* labels that steer the engine are for its user to give, not for an image (CVE-2026-53488) */
		if (!cs_strmap_get(c->labels, image->labels->kv[i].key) && strncasecmp(image->labels->kv[i].key, "io.caisson.", 11) != 0)
			cs_strmap_set(c->labels, image->labels->kv[i].key, image->labels->kv[i].val);
	merge_command(c, image);
	merge_health(c, image->healthcheck);
	merge_str(&c->working_dir, image->working_dir);
	merge_set(&c->volumes, image->volumes);
	merge_str(&c->stop_signal, image->stop_signal);
	if (image->stop_timeout && !c->stop_timeout) {
		c->stop_timeout = cs_xmalloc(sizeof(*c->stop_timeout));
		*c->stop_timeout = *image->stop_timeout;
	}
	if (!c->shell)
		c->shell = cs_strv_copy(image->shell);
	if (!c->on_build)
		c->on_build = cs_strv_copy(image->on_build);
}

static int check_duration(int64_t v, const char *what, struct cs_err **err)
{
	if (v != 0 && v < 1000000)
		return cs_fail(err, CS_ERR_INVALID, 0, "%s in Healthcheck cannot be less than 1ms", what);
	return 0;
}

int cs_health_check(const struct cs_health_config *h, struct cs_err **err)
{
	static const char *const kinds[] = {"NONE", "CMD", "CMD-SHELL"};
	bool known = !h || !h->test || !h->test[0];

	if (!h)
		return 0;
	if (check_duration(h->interval, "Interval", err) < 0 || check_duration(h->timeout, "Timeout", err) < 0 ||
	    check_duration(h->start_period, "StartPeriod", err) < 0 || check_duration(h->start_interval, "StartInterval", err) < 0)
		return -1;
	if (h->retries < 0)
		return cs_fail(err, CS_ERR_INVALID, 0, "Retries in Healthcheck cannot be negative");
	for (size_t i = 0; !known && i < CS_ARRAY_SIZE(kinds); i++)
		known = strcmp(h->test[0], kinds[i]) == 0;
	if (!known)
		return cs_fail(err, CS_ERR_INVALID, 0, "Unknown health check type '%s' (expected 'CMD', 'CMD-SHELL' or 'NONE')", h->test[0]);
	return 0;
}

int cs_config_merge_image(struct cs_config *c, const struct cs_config *image, struct cs_err **err)
{
	if (image)
		cs_config_merge(c, image);
	if ((!c->entrypoint || !c->entrypoint[0]) && (!c->cmd || !c->cmd[0]))
		return cs_fail(err, CS_ERR_INVALID, 0, "no command specified");
	if (!cs_empty(c->working_dir)) {
		if (c->working_dir[0] != '/')
			return cs_fail(err, CS_ERR_INVALID, 0, "the working directory '%s' is invalid, it needs to be an absolute path",
				       c->working_dir);
		char *clean = cs_path_clean(c->working_dir);
		free(c->working_dir);
		c->working_dir = clean;
	}
	if (!cs_empty(c->stop_signal) && cs_signal_parse(c->stop_signal) == 0)
		return cs_fail(err, CS_ERR_INVALID, 0, "Invalid signal: %s", c->stop_signal);
	if (!c->labels)
		c->labels = cs_strmap_new(); /* dockerd shows {} */
	return cs_health_check(c->healthcheck, err);
}

/* ---- signals ---- */

int cs_signal_parse(const char *text)
{
	static const struct {
		const char *name;
		int sig;
	} map[] = {
		{"ABRT", SIGABRT}, {"ALRM", SIGALRM}, {"BUS", SIGBUS},   {"CHLD", SIGCHLD},     {"CLD", SIGCHLD},   {"CONT", SIGCONT},
		{"FPE", SIGFPE},   {"HUP", SIGHUP},   {"ILL", SIGILL},   {"INT", SIGINT},       {"IO", SIGIO},      {"IOT", SIGIOT},
		{"KILL", SIGKILL}, {"PIPE", SIGPIPE}, {"POLL", SIGPOLL}, {"PROF", SIGPROF},     {"PWR", SIGPWR},    {"QUIT", SIGQUIT},
		{"SEGV", SIGSEGV}, {"STKFLT", 16},    {"STOP", SIGSTOP}, {"SYS", SIGSYS},       {"TERM", SIGTERM},  {"TRAP", SIGTRAP},
		{"TSTP", SIGTSTP}, {"TTIN", SIGTTIN}, {"TTOU", SIGTTOU}, {"URG", SIGURG},       {"USR1", SIGUSR1},  {"USR2", SIGUSR2},
		{"VTALRM", SIGVTALRM}, {"WINCH", SIGWINCH}, {"XCPU", SIGXCPU}, {"XFSZ", SIGXFSZ},
	};
	uint64_t n;
	int min = 34, max = 64; /* the kernel's range as a container sees it */

	if (!text)
		return 0;
	if (cs_parse_u64(text, 1, 64, &n))
		return (int)n;
	if (strncasecmp(text, "SIG", 3) == 0)
		text += 3;
	for (size_t i = 0; i < CS_ARRAY_SIZE(map); i++)
		if (strcasecmp(map[i].name, text) == 0)
			return map[i].sig;
	if (strcasecmp(text, "RTMIN") == 0)
		return min;
	if (strcasecmp(text, "RTMAX") == 0)
		return max;
	if (strncasecmp(text, "RTMIN+", 6) == 0 && cs_parse_u64(text + 6, 1, 15, &n))
		return min + (int)n;
	if (strncasecmp(text, "RTMAX-", 6) == 0 && cs_parse_u64(text + 6, 1, 14, &n))
		return max - (int)n;
	return 0;
}

/* ---- detach keys ---- */

int cs_detach_keys_parse(const char *text, uint8_t *keys, size_t *ret, struct cs_err **err)
{
	size_t n = 0;

	if (!cs_empty(text)) {
		cs_autostrv char **parts = cs_strv_split(text, ',');
		for (size_t i = 0; parts[i]; i++) {
			const char *ctrl = cs_prefix(parts[i], "ctrl-");
			uint8_t key;
			if (!ctrl && parts[i][0] && !parts[i][1])
				key = (uint8_t)parts[i][0];
			else if (ctrl && ctrl[0] >= 'a' && ctrl[0] <= 'z' && !ctrl[1])
				key = (uint8_t)(ctrl[0] - 'a' + 1);
			else if (ctrl && strcmp(ctrl, "@") == 0)
				key = 0;
			else if (ctrl && ctrl[0] && strchr("[\\]^_", ctrl[0]) && !ctrl[1])
				key = (uint8_t)(ctrl[0] - '[' + 27);
			else
				return cs_fail(err, CS_ERR_INVALID, 0, "Invalid detach keys (%s) provided", text);
			if (n == CS_DETACH_KEYS_MAX)
				return cs_fail(err, CS_ERR_INVALID, 0, "Invalid detach keys: more than %d keys", CS_DETACH_KEYS_MAX);
			keys[n++] = key;
		}
	}
	*ret = n;
	return 0;
}
