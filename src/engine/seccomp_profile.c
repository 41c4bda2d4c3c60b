/* SPDX-License-Identifier: Apache-2.0
 *
 * Docker's seccomp profile format (archMap, includes, excludes) to OCI linux.seccomp for one capability set. Producing it costs
 * a JSON parse of the profile, so the text is kept per (profile, capabilities): built-in ones for good, own ones in a small ring. With the first start
 * the compute service has it, too, until the ring has no room for it or a container with it is removed (another's next start hands it over again).
 *
 * AF_ALG (38) and AF_VSOCK (40) are refused by argument of socket(2). What i386's socketcall(2) can hide from a filter is refused by the compute service
 * (compute/socket_guard.h). */
#include <pthread.h>
#include <string.h>

#include "engine/hostfacts.h"
#include "base/caps.h"
#include "base/guard.h"
#include "base/log.h"
#include "base/num.h"
#include "computecore.h"
#include "engine/spec.h"

extern const unsigned char cs_seccomp_builtin[];
extern const size_t cs_seccomp_builtin_len;

#define OWN_MAX 16
#define BUILTIN_MAX 64
#define OUT_MAX ((size_t)1 << 20)

struct cs_profile_entry {
	char *profile; /* NULL = built-in */
	uint64_t caps;
	char *text;
	size_t len;
	char *name;    /* under which the compute service has it for us, or NULL */
	unsigned uses; /* documents under way that say this name */
	bool stale;    /* the name goes with the last of them */
};
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct cs_profile_entry builtin[BUILTIN_MAX], own[OWN_MAX];
static size_t n_builtin, next_own;

static const char *native_arch(const char *go)
{
	return cs_streq(go, "arm64") ? "SCMP_ARCH_AARCH64" : cs_streq(go, "amd64") ? "SCMP_ARCH_X86_64" : "";
}

static int bad(struct cs_err **err, const char *what) { return cs_fail(err, CS_ERR_INVALID, 0, "decoding seccomp profile failed: %s", what); }

static bool list_has(const json_t *list, const char *s)
{
	size_t i;
	json_t *v;

	json_array_foreach(list, i, v) if (cs_streq(json_string_value(v), s)) return true;
	return false;
}

static bool has_cap(uint64_t caps, const json_t *name)
{
	int cap = json_is_string(name) ? cs_cap_by_name(json_string_value(name)) : -1;

	return cap >= 0 && (caps & (1ull << cap));
}

static bool kernel_at_least(const char *want)
{
	const struct cs_host_facts *f = cs_host_facts();
	int major = 0, minor = 0;

	if (sscanf(want, "%4d.%4d", &major, &minor) < 1)
		return false;
	return f->kernel_major > major || (f->kernel_major == major && f->kernel_minor >= minor);
}

/* Absent, null, or an array of strings: anything else must not pass for "no condition". */
static bool is_strings(const json_t *list)
{
	size_t i;
	json_t *v;

	json_array_foreach(list, i, v) if (!json_is_string(v)) return false;
	return !list || json_is_null(list) || json_is_array(list);
}

static bool is_kernel(const json_t *v)
{
	const char *text = json_string_value(v), *dot = text ? strchr(text, '.') : NULL;
	uint64_t n;

	if (!v || json_is_null(v) || (text && !*text))
		return true;
	return dot && cs_parse_u64n(text, (size_t)(dot - text), 0, 9999, &n) && cs_parse_u64(dot + 1, 0, 9999, &n);
}

static int check_conditions(const json_t *rule, struct cs_err **err)
{
	static const char *const kinds[] = {"includes", "excludes"};

	for (size_t i = 0; i < CS_ARRAY_SIZE(kinds); i++) {
		const json_t *c = json_object_get(rule, kinds[i]);
		if (c && !json_is_null(c) && !json_is_object(c))
			return bad(err, "a condition is not an object");
		if (!is_strings(json_object_get(c, "arches")) || !is_strings(json_object_get(c, "caps")))
			return bad(err, "arches and caps are arrays of strings");
		if (!is_kernel(json_object_get(c, "minKernel")))
			return bad(err, "minKernel is not <kernel>.<major>");
	}
	return 0;
}

/* Whether a rule stands for this architecture, kernel and capability set. */
static bool rule_applies(const json_t *rule, uint64_t caps)
{
	const char *arch = cs_host_facts()->arch;
	const json_t *inc = json_object_get(rule, "includes"), *exc = json_object_get(rule, "excludes");
	const json_t *arches = json_object_get(inc, "arches"), *kernel = json_object_get(inc, "minKernel");
	size_t i;
	json_t *v;

	if (json_array_size(arches) && !list_has(arches, arch))
		return false;
	json_array_foreach(json_object_get(inc, "caps"), i, v) if (!has_cap(caps, v)) return false;
	if (json_is_string(kernel) && *json_string_value(kernel) && !kernel_at_least(json_string_value(kernel)))
		return false;
	if (list_has(json_object_get(exc, "arches"), arch))
		return false;
	json_array_foreach(json_object_get(exc, "caps"), i, v) if (has_cap(caps, v)) return false;
	kernel = json_object_get(exc, "minKernel");
	return !(json_is_string(kernel) && *json_string_value(kernel) && kernel_at_least(json_string_value(kernel)));
}

static int check_action(const json_t *a, struct cs_err **err)
{
	static const char *const known[] = {"SCMP_ACT_KILL",  "SCMP_ACT_KILL_THREAD", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP",
					    "SCMP_ACT_ERRNO", "SCMP_ACT_TRACE",       "SCMP_ACT_ALLOW",        "SCMP_ACT_LOG"};

	for (size_t i = 0; i < CS_ARRAY_SIZE(known); i++)
		if (cs_streq(json_string_value(a), known[i]))
			return 0;
	if (cs_streq(json_string_value(a), "SCMP_ACT_NOTIFY"))
		return cs_fail(err, CS_ERR_UNSUPPORTED, 0, "seccomp profile: SCMP_ACT_NOTIFY is not available in this build");
	return json_is_string(a) ? cs_fail(err, CS_ERR_INVALID, 0, "invalid seccomp profile: unknown action \"%.64s\"", json_string_value(a))
				 : bad(err, "an action is missing or not a string");
}

static int put_errno(const json_t *v, const char *key, struct cs_str *out, struct cs_err **err)
{
	if (!v || json_is_null(v))
		return 0;
	if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > 4095)
		return bad(err, "errnoRet is not an error number");
	cs_json_put_ki64(out, key, json_integer_value(v));
	return 0;
}

static bool mask_of(const json_t *v, uint64_t *ret)
{
	*ret = 0;
	return !v || json_is_null(v) || cs_json_u64(v, ret);
}

static int put_args(const json_t *args, struct cs_str *out, struct cs_err **err)
{
	static const char *const ops[] = {"SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_LE",       "SCMP_CMP_EQ",
					  "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_MASKED_EQ"};
	uint64_t n, m;
	size_t i;
	json_t *a;

	if (!json_array_size(args))
		return 0;
	cs_json_put_key(out, "args");
	cs_str_putc(out, '[');
	json_array_foreach(args, i, a)
	{
		const json_t *index = json_object_get(a, "index"), *value = json_object_get(a, "value"), *two = json_object_get(a, "valueTwo");
		const char *op = json_string_value(json_object_get(a, "op"));
		bool known = false;
		for (size_t k = 0; k < CS_ARRAY_SIZE(ops); k++)
			known = known || cs_streq(op, ops[k]);
		if (!known || (index && !json_is_integer(index)) || json_integer_value(index) < 0 || json_integer_value(index) > 5 ||
		    !mask_of(value, &n) || !mask_of(two, &m))
			return bad(err, "bad argument condition");
		cs_str_puts(out, i ? ",{" : "{");
		cs_json_put_ki64(out, "index", json_integer_value(index));
		cs_json_put_key(out, "value");
		cs_str_put_u64(out, n);
		if (m) {
			cs_json_put_key(out, "valueTwo");
			cs_str_put_u64(out, m);
		}
		cs_json_put_kstr(out, "op", op);
		cs_str_putc(out, '}');
	}
	cs_str_putc(out, ']');
	return 0;
}

static int put_rule(const json_t *rule, uint64_t caps, struct cs_str *out, struct cs_err **err)
{
	const json_t *names = json_object_get(rule, "names"), *name = json_object_get(rule, "name"), *args = json_object_get(rule, "args");
	size_t i;
	json_t *v;

	if (!json_is_object(rule))
		return bad(err, "a rule is not an object");
	if (json_is_string(name) && *json_string_value(name) && json_array_size(names))
		return cs_fail(err, CS_ERR_INVALID, 0,
			       "both 'name' and 'names' are specified in the seccomp profile, use either 'name' or 'names'");
	if (names && !json_is_null(names) && !json_is_array(names))
		return bad(err, "names is not an array");
	if (check_action(json_object_get(rule, "action"), err) < 0 || check_conditions(rule, err) < 0)
		return -1;
	if (!rule_applies(rule, caps))
		return 0;
	cs_str_puts(out, out->buf[out->len - 1] == '[' ? "{" : ",{");
	cs_json_put_key(out, "names");
	cs_str_putc(out, '[');
	if (json_is_string(name) && *json_string_value(name))
		cs_json_put_string(out, json_string_value(name));
	json_array_foreach(names, i, v)
	{
		if (!json_is_string(v))
			return bad(err, "a system call's name is not a string");
		if (i)
			cs_str_putc(out, ',');
		cs_json_put_string(out, json_string_value(v));
	}
	cs_str_putc(out, ']');
	cs_json_put_kstr(out, "action", json_string_value(json_object_get(rule, "action")));
	if (put_errno(json_object_get(rule, "errnoRet"), "errnoRet", out, err) < 0)
		return -1;
	if (args && !json_is_null(args) && !json_is_array(args))
		return bad(err, "args is not an array");
	if (put_args(args, out, err) < 0)
		return -1;
	cs_str_putc(out, '}');
	return 0;
}

static int put_strings(const json_t *list, struct cs_str *out, struct cs_err **err)
{
	size_t i;
	json_t *v;

	json_array_foreach(list, i, v)
	{
		if (!json_is_string(v))
			return bad(err, "expected an array of strings");
		if (out->buf[out->len - 1] != '[')
			cs_str_putc(out, ',');
		cs_json_put_string(out, json_string_value(v));
	}
	return 0;
}

static int put_architectures(const json_t *p, struct cs_str *out, struct cs_err **err)
{
	const json_t *plain = json_object_get(p, "architectures"), *map = json_object_get(p, "archMap");
	const char *native = native_arch(cs_host_facts()->arch);
	size_t i;
	json_t *v;

	if (!is_strings(plain) || (map && !json_is_null(map) && !json_is_array(map)))
		return bad(err, "architectures and archMap are arrays");
	if (json_array_size(plain) && json_array_size(map))
		return cs_fail(err, CS_ERR_INVALID, 0,
			       "both 'architectures' and 'archMap' are specified in the seccomp profile, use either 'architectures' or 'archMap'");
	cs_json_put_key(out, "architectures");
	cs_str_putc(out, '[');
	if (put_strings(plain, out, err) < 0)
		return -1;
	json_array_foreach(map, i, v)
	{
		if (!cs_streq(json_string_value(json_object_get(v, "architecture")), native))
			continue;
		cs_json_put_string(out, native);
		if (put_strings(json_object_get(v, "subArchitectures"), out, err) < 0)
			return -1;
	}
	cs_str_putc(out, ']');
	return 0;
}

static int convert(const char *profile, size_t n, uint64_t caps, struct cs_str *out, struct cs_err **err)
{
	cs_autoerr struct cs_err *inner = NULL;
	cs_autojson json_t *p = cs_json_parse_u64(profile, n, &inner);
	size_t i;
	json_t *rule;

	if (!p)
		return bad(err, inner->msg);
	if (!json_is_object(p))
		return bad(err, "expected an object");
	if (check_action(json_object_get(p, "defaultAction"), err) < 0)
		return -1;
	if (json_string_length(json_object_get(p, "listenerPath")))
		return cs_fail(err, CS_ERR_UNSUPPORTED, 0, "seccomp profile: listenerPath is not available in this build");
	cs_str_putc(out, '{');
	cs_json_put_kstr(out, "defaultAction", json_string_value(json_object_get(p, "defaultAction")));
	if (put_errno(json_object_get(p, "defaultErrnoRet"), "defaultErrnoRet", out, err) < 0 || put_architectures(p, out, err) < 0)
		return -1;
	if (json_array_size(json_object_get(p, "flags"))) {
		cs_json_put_key(out, "flags");
		cs_str_putc(out, '[');
		if (put_strings(json_object_get(p, "flags"), out, err) < 0)
			return -1;
		cs_str_putc(out, ']');
	}
	const json_t *rules = json_object_get(p, "syscalls");
	if (rules && !json_is_null(rules) && !json_is_array(rules))
		return bad(err, "syscalls is not an array");
	cs_json_put_key(out, "syscalls");
	cs_str_putc(out, '[');
	json_array_foreach(rules, i, rule) if (put_rule(rule, caps, out, err) < 0) return -1;
	cs_str_puts(out, "]}");
	return out->failed ? bad(err, "profile is too large") : 0;
}

/* Holds the lock. */
static struct cs_profile_entry *find(const char *profile, uint64_t caps)
{
	struct cs_profile_entry *v = profile ? own : builtin;
	size_t n = profile ? OWN_MAX : n_builtin;

	for (size_t i = 0; i < n; i++)
		if (v[i].text && v[i].caps == caps && cs_streq(v[i].profile, profile))
			return &v[i];
	return NULL;
}

/* Hands the text to the compute service. NULL when there is none (unit tests), or when it refuses: then the document carries the text and the
 * start tells what is wrong with it. Caller frees. */
static char *service_name(const char *text)
{
	cs_autostr struct cs_str doc = CS_STR_INIT(2 * OUT_MAX);
	char *result = NULL;

	cs_str_puts(&doc, "{\"PropertyType\":\"SeccompProfile\",\"Settings\":{");
	cs_json_put_kstr(&doc, "Profile", text);
	cs_str_puts(&doc, "}}");
	HRESULT hr = doc.failed ? HCS_E_INVALIDARG : HcsModifyServiceSettings(doc.buf, &result);
	cs_autojson json_t *answer = result ? cs_json_parse(result, strlen(result), NULL) : NULL;
	const char *name = hr == HCS_S_OK ? json_string_value(json_object_get(answer, "Name")) : NULL;
	char *ret = name ? cs_xstrdup(name) : NULL;
	HcsFree(result);
	return ret;
}

/* What runs keeps it at the service; lock held, as below. */
static void forget_name(struct cs_profile_entry *e)
{
	e->stale = e->uses;
	if (e->stale)
		return;
	cs_autofree char *name = TAKE_PTR(e->name);
	cs_autofree char *doc = name ? cs_xasprintf("{\"PropertyType\":\"SeccompProfile\",\"RequestType\":\"Remove\",\"Settings\":{\"Name\":\"%s\"}}", name) : NULL;

	if (doc && HcsModifyServiceSettings(doc, NULL) != HCS_S_OK)
		cs_log(CS_LOG_DEBUG, "engine", "the seccomp profile %s was not forgotten", name);
}

static struct cs_profile_entry *room_for(const char *profile)
{
	if (!profile)
		return n_builtin < BUILTIN_MAX ? &builtin[n_builtin++] : NULL;
	for (size_t i = 0; i < OWN_MAX; i++) {
		struct cs_profile_entry *e = &own[next_own++ % OWN_MAX];
		if (!e->uses)
			return e;
	}
	return NULL;
}

static void keep(const char *profile, uint64_t caps, const struct cs_str *text)
{
	struct cs_profile_entry *e = room_for(profile);

	if (!e)
		return;
	forget_name(e);
	free(e->profile);
	free(e->text);
	*e = (struct cs_profile_entry){.profile = cs_xstrdup(profile), .caps = caps, .text = cs_xstrndup(text->buf, text->len), .len = text->len};
}

/* The entry's text; or, with ret_use, its name where the service knows it. */
static bool put_kept(const char *profile, uint64_t caps, struct cs_profile_entry **ret_use, struct cs_str *out)
{
	CS_GUARD(&lock);
	struct cs_profile_entry *e = find(profile, caps);

	if (e && ret_use && !e->name)
		e->name = service_name(e->text);
	if (e && ret_use && e->name) {
		cs_str_puts(out, e->name);
		e->uses++;
		*ret_use = e;
	} else if (e) {
		cs_str_put(out, e->text, e->len);
	}
	return e;
}

static int put(const char *profile, uint64_t caps, struct cs_profile_entry **ret_use, struct cs_str *out, struct cs_err **err)
{
	struct cs_str text cs_autostr = CS_STR_INIT(OUT_MAX);

	if (put_kept(profile, caps, ret_use, out))
		return 0;
	if (convert(profile ? profile : (const char *)cs_seccomp_builtin, profile ? strlen(profile) : cs_seccomp_builtin_len, caps, &text,
		    err) < 0)
		return -1;
	pthread_mutex_lock(&lock);
	if (!find(profile, caps))
		keep(profile, caps, &text);
	pthread_mutex_unlock(&lock);
	if (!put_kept(profile, caps, ret_use, out))
		cs_str_put(out, text.buf, text.len); /* no room for it */
	return 0;
}

int cs_seccomp_put(const char *profile, uint64_t caps, struct cs_str *out, struct cs_err **err) { return put(profile, caps, NULL, out, err); }

int cs_seccomp_ref(const char *profile, uint64_t caps, struct cs_profile_entry **ret_use, struct cs_str *out, struct cs_err **err)
{
	return put(profile, caps, ret_use, out, err);
}

void cs_seccomp_unref(struct cs_profile_entry **use)
{
	if (!*use)
		return;
	CS_GUARD(&lock);
	struct cs_profile_entry *e = TAKE_PTR(*use);
	if (--e->uses == 0 && e->stale)
		forget_name(e);
}

void cs_seccomp_forget(char *const *security_opt)
{
	const char *profile = NULL;

	for (char *const *o = security_opt; o && *o; o++)
		if (cs_prefix(*o, "seccomp=") || cs_prefix(*o, "seccomp:"))
			profile = *o + sizeof("seccomp=") - 1;
	CS_GUARD(&lock);
	for (size_t i = 0; i < OWN_MAX && profile; i++)
		if (cs_streq(own[i].profile, profile))
			forget_name(&own[i]);
}
