/* SPDX-License-Identifier: Apache-2.0
 *
 * OCI process to the process steps of a plan: for init and, with its parameters, for a further process. Pure; any thread. */
#include <sys/resource.h>

#include "base/json.h"
#include "base/num.h"
#include "base/strv.h"
#include "compute/document/document.h"
#include "compute/document/fields.h"
#include "compute/process/plan.h"

static const struct {
	const char *name;
	int number;
} rlimits[] = {
	{"RLIMIT_AS", RLIMIT_AS},	{"RLIMIT_CORE", RLIMIT_CORE},	  {"RLIMIT_CPU", RLIMIT_CPU},	      {"RLIMIT_DATA", RLIMIT_DATA},
	{"RLIMIT_FSIZE", RLIMIT_FSIZE}, {"RLIMIT_LOCKS", RLIMIT_LOCKS},	  {"RLIMIT_MEMLOCK", RLIMIT_MEMLOCK}, {"RLIMIT_MSGQUEUE", RLIMIT_MSGQUEUE},
	{"RLIMIT_NICE", RLIMIT_NICE},	{"RLIMIT_NOFILE", RLIMIT_NOFILE}, {"RLIMIT_NPROC", RLIMIT_NPROC},   {"RLIMIT_RSS", RLIMIT_RSS},
	{"RLIMIT_RTPRIO", RLIMIT_RTPRIO}, {"RLIMIT_RTTIME", RLIMIT_RTTIME}, {"RLIMIT_SIGPENDING", RLIMIT_SIGPENDING}, {"RLIMIT_STACK", RLIMIT_STACK},
};

/* rlim_t is unsigned: runc writes RLIM_INFINITY as 18446744073709551615; -1 is Docker's "unlimited". */
static int limit_of(json_t *o, const char *at, const char *key, uint64_t *ret, struct cs_err **err)
{
	json_t *v = json_object_get(o, key);
	int64_t n = 0;

	if (!v)
		return cs_fail(err, CS_ERR_INVALID, 0, "%s.%s: is required", at, key);
	if (cs_json_u64(v, ret))
		return 0;
	*ret = RLIM_INFINITY;
	return cs_field_i64(o, at, key, -1, -1, &n, err);
}

static int rlimit_steps(json_t *process, const char *path, const struct cs_host *host, char ***warnings, struct cs_str *plan, struct cs_err **err)
{
	json_t *list = NULL, *v;
	size_t i;

	if (cs_field_arr(process, path, "rlimits", 0, &list, err) < 0)
		return -1;
	json_array_foreach(list, i, v)
	{
		cs_autofree char *at = cs_xasprintf("%s.rlimits[%zu]", path, i);
		const char *type = NULL;
		uint64_t soft = 0, hard = 0;
		int number = -1;
		if (cs_field_is_obj(v, at, err) < 0 || cs_field_str(v, at, "type", CS_F_REQUIRED, &type, err) < 0 ||
		    limit_of(v, at, "soft", &soft, err) < 0 || limit_of(v, at, "hard", &hard, err) < 0)
			return -1;
		for (size_t k = 0; k < CS_ARRAY_SIZE(rlimits); k++)
			if (strcmp(rlimits[k].name, type) == 0)
				number = rlimits[k].number;
		if (number < 0)
			return cs_fail(err, CS_ERR_INVALID, 0, "%s.type: %s is not known", at, type);
		if (soft > hard)
			return cs_fail(err, CS_ERR_INVALID, 0, "%s: the soft limit is above the hard limit", at);
		if (!cs_host_has_cap(host, CS_CAP_SYS_RESOURCE) && number < CS_HOST_RLIMITS && hard > host->rlimit_max[number]) {
			hard = host->rlimit_max[number];
			soft = CS_MIN(soft, hard);
			cs_warnf(warnings, "CAP_SYS_RESOURCE is missing: %s is limited to %llu", type, (unsigned long long)hard);
		}
		cs_plan_add(plan, CS_PLAN_RLIMIT, (uint64_t)number, soft, hard);
	}
	return 0;
}

static int oom_step(json_t *process, const char *path, const struct cs_host *host, char ***warnings, struct cs_str *plan, struct cs_err **err)
{
	char text[16];
	int64_t score = 0;
	bool has = false;

	if (cs_field_opt_i64(process, path, "oomScoreAdj", -1000, 1000, &score, &has, err) < 0)
		return -1;
	if (!has)
		return 0;
	if (score < host->oom_score_least) {
		cs_warnf(warnings, "CAP_SYS_RESOURCE is missing: the OOM score cannot be lowered to %d, it stays at %d", (int)score, host->oom_score_least);
		score = host->oom_score_least;
	}
	(void)snprintf(text, sizeof(text), "%d", (int)score);
	cs_plan_add(plan, CS_PLAN_OOM_SCORE, text);
	return 0;
}

static int user_steps(json_t *process, const char *path, struct cs_str *plan, struct cs_err **err)
{
	cs_autofree char *at = cs_xasprintf("%s.user", path);
	cs_autofree char **names = NULL;
	json_t *user = NULL, *gids = NULL, *v;
	const char *text = "";
	int64_t uid = 0, gid = 0, umask_ = 0;
	bool has_umask = false;
	char **numbers = NULL;
	size_t i;
	int r = 0;

	if (cs_field_obj(process, path, "user", 0, &user, err) < 0)
		return -1;
	if (user && (cs_field_str(user, at, "username", 0, &text, err) < 0 || cs_field_i64(user, at, "uid", 0, UINT32_MAX - 1, &uid, err) < 0 ||
		     cs_field_i64(user, at, "gid", 0, UINT32_MAX - 1, &gid, err) < 0 ||
		     cs_field_opt_i64(user, at, "umask", 0, 0777, &umask_, &has_umask, err) < 0 ||
		     cs_field_arr(user, at, "additionalGids", 0, &gids, err) < 0 || cs_field_strv(user, at, "additionalGroups", &names, err) < 0))
		return -1;
	json_array_foreach(gids, i, v)
	{
		if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) >= UINT32_MAX) {
			r = cs_fail(err, CS_ERR_INVALID, 0, "%s.additionalGids[%zu]: expected a group id", at, i);
			break;
		}
		cs_strv_take(&numbers, cs_xasprintf("%lld", (long long)json_integer_value(v)));
	}
	if (r == 0)
		cs_plan_add(plan, CS_PLAN_USER, text, (uint64_t)uid, (uint64_t)gid, numbers, names);
	cs_strv_free(numbers);
	if (r == 0 && has_umask)
		cs_plan_add(plan, CS_PLAN_UMASK, (uint64_t)umask_);
	return r;
}

static int cap_set(json_t *caps, const char *path, const char *key, const struct cs_host *host, uint64_t *missing, uint64_t *ret, struct cs_err **err)
{
	cs_autofree char *at = cs_xasprintf("%s.capabilities", path);
	cs_autofree char **names = NULL;
	uint64_t mask = 0;

	if (cs_field_strv(caps, at, key, &names, err) < 0)
		return -1;
	for (char **n = names; n && *n; n++) {
		int cap = cs_cap_by_name(*n);
		if (cap < 0)
			return cs_fail(err, CS_ERR_INVALID, 0, "%s.%s: unknown capability %s", at, key, *n);
		mask |= 1ull << cap;
	}
	*missing |= mask & ~host->caps;
	*ret = mask & host->caps;
	return 0;
}

static int cap_step(json_t *process, const char *path, const struct cs_host *host, char ***warnings, struct cs_str *plan, struct cs_err **err)
{
	uint64_t bounding = 0, effective = 0, permitted = 0, inheritable = 0, ambient = 0, missing = 0;
	json_t *caps = NULL;

	if (cs_field_obj(process, path, "capabilities", 0, &caps, err) < 0)
		return -1;
	if (caps && (cap_set(caps, path, "bounding", host, &missing, &bounding, err) < 0 || cap_set(caps, path, "effective", host, &missing, &effective, err) < 0 ||
		     cap_set(caps, path, "permitted", host, &missing, &permitted, err) < 0 ||
		     cap_set(caps, path, "inheritable", host, &missing, &inheritable, err) < 0 ||
		     cap_set(caps, path, "ambient", host, &missing, &ambient, err) < 0))
		return -1;
	for (unsigned c = 0; c <= CS_CAP_LAST; c++)
		if (missing >> c & 1)
			cs_warnf(warnings, "%s is missing on this host: the process runs without it", cs_cap_name((int)c));
	/* the kernel wants effective within permitted, ambient within both permitted and inheritable */
	effective &= permitted;
	ambient &= permitted & inheritable;
	cs_plan_add(plan, CS_PLAN_CAPS, bounding, effective, permitted, inheritable, ambient);
	return 0;
}

static int refuse_label(json_t *process, const char *path, const char *key, const char *what, struct cs_err **err)
{
	const char *v = "";

	if (cs_field_str(process, path, key, 0, &v, err) < 0)
		return -1;
	if (!*v || strcmp(v, "unconfined") == 0)
		return 0;
	return cs_fail(err, CS_ERR_UNSUPPORTED, 0, "%s.%s: %s is not available in this build", path, key, what);
}

static int refuse_other(json_t *process, const char *path, struct cs_err **err)
{
	static const char *const keys[] = {"scheduler", "ioPriority", "execCPUAffinity", "commandLine", NULL};

	for (const char *const *k = keys; *k; k++) {
		json_t *v = json_object_get(process, *k);
		if (v && !json_is_null(v) && !(json_is_object(v) && !json_object_size(v)) && !(json_is_string(v) && !json_string_length(v)))
			return cs_fail(err, CS_ERR_UNSUPPORTED, 0, "%s.%s: is not available in this build", path, *k);
	}
	if (refuse_label(process, path, "apparmorProfile", "AppArmor", err) < 0)
		return -1;
	return refuse_label(process, path, "selinuxLabel", "SELinux", err);
}

int cs_process_compile(json_t *process, const char *path, const struct cs_host *host, const struct cs_filter *seccomp, char ***warnings,
		       struct cs_str *plan, struct cs_err **err)
{
	cs_autofree char **env = NULL, **args = NULL;
	const char *cwd = "/";
	bool nnp = false, make_cwd = true;

	if (refuse_other(process, path, err) < 0 || rlimit_steps(process, path, host, warnings, plan, err) < 0 ||
	    oom_step(process, path, host, warnings, plan, err) < 0 || cs_field_strv(process, path, "env", &env, err) < 0 ||
	    cs_field_strv(process, path, "args", &args, err) < 0 || cs_field_str(process, path, "cwd", 0, &cwd, err) < 0 ||
	    cs_field_bool(process, path, "noNewPrivileges", &nnp, err) < 0)
		return -1;
	if (!args || !args[0])
		return cs_fail(err, CS_ERR_INVALID, 0, "%s.args: at least one argument is needed", path);
	if (*cwd != '/')
		return cs_fail(err, CS_ERR_INVALID, 0, "%s.cwd: must be an absolute path", path);
	if (user_steps(process, path, plan, err) < 0 || cap_step(process, path, host, warnings, plan, err) < 0)
		return -1;
	if (nnp)
		cs_plan_add(plan, CS_PLAN_NO_NEW_PRIVS);
	if (seccomp)
		cs_plan_add(plan, CS_PLAN_SECCOMP, seccomp->bpf, seccomp->len, (uint64_t)seccomp->flags);
	cs_plan_add(plan, CS_PLAN_CWD, cwd, (uint64_t)make_cwd);
	cs_plan_add(plan, CS_PLAN_ENV, env);
	cs_plan_add(plan, CS_PLAN_ARGS, args);
	return 0;
}

/* ---- further processes ---- */

static int key_code(int64_t n, const char *path, unsigned char ret[16], size_t *len, struct cs_err **err)
{
	if (n < 0 || n > 255 || *len == 16)
		return cs_fail(err, CS_ERR_INVALID, 0, "%s.DetachKeys: expected at most 16 byte values", path);
	ret[(*len)++] = (unsigned char)n;
	return 0;
}

int cs_detach_keys(json_t *v, const char *path, unsigned char ret[16], size_t *ret_len, struct cs_err **err)
{
	size_t len = 0, i;
	json_t *e;
	int r = 0;

	if (json_is_array(v)) {
		json_array_foreach(v, i, e)
		{
			if (key_code(json_is_integer(e) ? json_integer_value(e) : -1, path, ret, &len, err) < 0)
				return -1;
		}
	} else if (json_is_string(v)) {
		char **parts = cs_strv_split(json_string_value(v), ',');
		for (char **p = parts; r == 0 && *p; p++) {
			uint64_t n;
			if (!**p && !p[1] && p == parts)
				break; /* "" */
			r = key_code(cs_parse_u64(*p, 0, 255, &n) ? (int64_t)n : -1, path, ret, &len, err);
		}
		cs_strv_free(parts);
	} else if (v && !json_is_null(v)) {
		return cs_fail(err, CS_ERR_INVALID, 0, "%s.DetachKeys: expected an array of numbers", path);
	}
	if (r == 0)
		*ret_len = len;
	return r;
}

static int console_size(json_t *o, json_t *process, int64_t *rows, int64_t *cols, struct cs_err **err)
{
	json_t *list = NULL, *size = NULL;

	if (cs_field_arr(o, "", "ConsoleSize", 0, &list, err) < 0 || cs_field_obj(process, "OciProcess", "consoleSize", 0, &size, err) < 0)
		return -1;
	if (size && (cs_field_i64(size, "OciProcess.consoleSize", "height", 0, UINT16_MAX, rows, err) < 0 ||
		     cs_field_i64(size, "OciProcess.consoleSize", "width", 0, UINT16_MAX, cols, err) < 0))
		return -1;
	if (!list)
		return 0;
	json_t *r = json_array_get(list, 0), *c = json_array_get(list, 1);
	if (json_array_size(list) != 2 || !json_is_integer(r) || !json_is_integer(c) || json_integer_value(r) < 0 || json_integer_value(c) < 0 ||
	    json_integer_value(r) > UINT16_MAX || json_integer_value(c) > UINT16_MAX)
		return cs_fail(err, CS_ERR_INVALID, 0, "ConsoleSize: expected [rows, columns]");
	*rows = json_integer_value(r);
	*cols = json_integer_value(c);
	return 0;
}

int cs_document_compile_exec(json_t *o, const struct cs_host *host, const struct cs_filter *seccomp, struct cs_exec_wish *ret, struct cs_str *plan,
			     struct cs_err **err)
{
	static const char *const known[] = {"Id", "OciProcess", "EmulateConsole", "ConsoleSize", "CreateStdInPipe", "CreateStdOutPipe", "CreateStdErrPipe",
					    "DetachKeys", "Framed", "InitialInput", NULL};
	struct cs_exec_wish w = {.want_stdout = true, .want_stderr = true, .detach = {16, 17}, .detach_len = 2};
	const char *id = NULL;
	json_t *process = NULL;
	int64_t rows = 0, cols = 0;
	char **warnings = NULL;
	bool terminal = false;

	if (cs_field_is_obj(o, "ProcessParameters", err) < 0 || cs_field_only(o, "", known, err) < 0 ||
	    cs_field_str(o, "", "Id", CS_F_REQUIRED, &id, err) < 0 || cs_field_obj(o, "", "OciProcess", CS_F_REQUIRED, &process, err) < 0 ||
	    cs_field_bool(o, "", "EmulateConsole", &w.tty, err) < 0 || cs_field_bool(o, "", "CreateStdInPipe", &w.want_stdin, err) < 0 ||
	    cs_field_bool(o, "", "CreateStdOutPipe", &w.want_stdout, err) < 0 || cs_field_bool(o, "", "CreateStdErrPipe", &w.want_stderr, err) < 0 ||
	    cs_field_bool(process, "OciProcess", "terminal", &terminal, err) < 0 ||
	    console_size(o, process, &rows, &cols, err) < 0)
		return -1;
	if (json_object_get(o, "DetachKeys") && cs_detach_keys(json_object_get(o, "DetachKeys"), "ProcessParameters", w.detach, &w.detach_len, err) < 0)
		return -1;
	if (!*id || strlen(id) >= sizeof(w.id) || strspn(id, "0123456789abcdefABCDEFghijklmnopqrstuvwxyzGHIJKLMNOPQRSTUVWXYZ_-") != strlen(id))
		return cs_fail(err, CS_ERR_INVALID, 0, "Id: 1 to 64 characters of [A-Za-z0-9_-] are possible");
	(void)snprintf(w.id, sizeof(w.id), "%s", id);
	w.tty |= terminal;
	w.framed = !w.tty;
	if (cs_field_bool(o, "", "Framed", &w.framed, err) < 0)
		return -1;
	cs_plan_add(plan, CS_PLAN_ID, w.id);
	cs_plan_add(plan, CS_PLAN_STDIO, (uint64_t)w.tty, (uint64_t)w.want_stdin, (uint64_t)w.want_stdin, (uint64_t)rows, (uint64_t)cols);
	cs_plan_add(plan, CS_PLAN_DETACH_KEYS, w.detach, w.detach_len);
	int r = cs_process_compile(process, "OciProcess", host, seccomp, &warnings, plan, err);
	cs_strv_free(warnings); /* they were said at the start */
	if (r == 0 && plan->failed)
		r = cs_fail(err, CS_ERR_INVALID, 0, "the process' parameters are too large");
	if (r == 0)
		*ret = w;
	return r;
}
