/* SPDX-License-Identifier: Apache-2.0
 *
 * See seccomp_cache.h. The cache is keyed by the profile's JSON tree (hash, then comparison): the text differs in nothing but blanks. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <seccomp.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "base/io.h"
#include "base/json.h"
#include "base/strv.h"
#include "base/sys.h"
#include "compute/document/fields.h"
#include "compute/seccomp_cache.h"
#include "compute/seccomp_shrink.h"
#include "compute/socket_guard.h"

#define ENTRIES 8

#define FLAG_TSYNC (1u << 0)
#define FLAG_LOG (1u << 1)
#define FLAG_SPEC_ALLOW (1u << 2)

struct entry {
	json_t *profile;
	uint64_t hash, used;
	struct cs_filter *filter; /* NULL: being compiled, or it failed */
	bool busy;
};
static struct {
	pthread_mutex_t lock;
	pthread_cond_t done;
	struct entry e[ENTRIES];
	uint64_t clock;
	unsigned compiled;
} cache = {.lock = PTHREAD_MUTEX_INITIALIZER, .done = PTHREAD_COND_INITIALIZER};

struct cs_filter *cs_filter_ref(struct cs_filter *f)
{
	if (f)
		atomic_fetch_add(&f->refs, 1);
	return f;
}

void cs_filter_unref(struct cs_filter *f)
{
	if (!f || atomic_fetch_sub(&f->refs, 1) != 1)
		return;
	free(f->bpf);
	free(f);
}

unsigned cs_seccomp_compiled(void)
{
	pthread_mutex_lock(&cache.lock);
	unsigned n = cache.compiled;
	pthread_mutex_unlock(&cache.lock);
	return n;
}

/* ---- names ---- */

static const struct {
	const char *name;
	uint32_t token;
} archs[] = {
	{"SCMP_ARCH_X86", SCMP_ARCH_X86},	  {"SCMP_ARCH_X86_64", SCMP_ARCH_X86_64},     {"SCMP_ARCH_X32", SCMP_ARCH_X32},
	{"SCMP_ARCH_ARM", SCMP_ARCH_ARM},	  {"SCMP_ARCH_AARCH64", SCMP_ARCH_AARCH64},   {"SCMP_ARCH_MIPS", SCMP_ARCH_MIPS},
	{"SCMP_ARCH_MIPS64", SCMP_ARCH_MIPS64},	  {"SCMP_ARCH_MIPS64N32", SCMP_ARCH_MIPS64N32}, {"SCMP_ARCH_MIPSEL", SCMP_ARCH_MIPSEL},
	{"SCMP_ARCH_MIPSEL64", SCMP_ARCH_MIPSEL64}, {"SCMP_ARCH_MIPSEL64N32", SCMP_ARCH_MIPSEL64N32}, {"SCMP_ARCH_PPC", SCMP_ARCH_PPC},
	{"SCMP_ARCH_PPC64", SCMP_ARCH_PPC64},	  {"SCMP_ARCH_PPC64LE", SCMP_ARCH_PPC64LE},   {"SCMP_ARCH_S390", SCMP_ARCH_S390},
	{"SCMP_ARCH_S390X", SCMP_ARCH_S390X},	  {"SCMP_ARCH_PARISC", SCMP_ARCH_PARISC},     {"SCMP_ARCH_PARISC64", SCMP_ARCH_PARISC64},
	{"SCMP_ARCH_RISCV64", SCMP_ARCH_RISCV64},
};
static const struct {
	const char *name;
	int op;
} compares[] = {{"SCMP_CMP_NE", SCMP_CMP_NE}, {"SCMP_CMP_LT", SCMP_CMP_LT}, {"SCMP_CMP_LE", SCMP_CMP_LE},	  {"SCMP_CMP_EQ", SCMP_CMP_EQ},
		{"SCMP_CMP_GE", SCMP_CMP_GE}, {"SCMP_CMP_GT", SCMP_CMP_GT}, {"SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ}};

static int action_of(const char *name, int64_t errno_ret, const char *path, uint32_t *ret, struct cs_err **err)
{
	uint32_t code = (uint32_t)errno_ret & 0xffff;

	if (strcmp(name, "SCMP_ACT_ALLOW") == 0)
		*ret = SCMP_ACT_ALLOW;
	else if (strcmp(name, "SCMP_ACT_ERRNO") == 0)
		*ret = SCMP_ACT_ERRNO(code);
	else if (strcmp(name, "SCMP_ACT_KILL") == 0 || strcmp(name, "SCMP_ACT_KILL_THREAD") == 0)
		*ret = SCMP_ACT_KILL_THREAD;
	else if (strcmp(name, "SCMP_ACT_KILL_PROCESS") == 0)
		*ret = SCMP_ACT_KILL_PROCESS;
	else if (strcmp(name, "SCMP_ACT_TRAP") == 0)
		*ret = SCMP_ACT_TRAP;
	else if (strcmp(name, "SCMP_ACT_TRACE") == 0)
		*ret = SCMP_ACT_TRACE(code);
	else if (strcmp(name, "SCMP_ACT_LOG") == 0)
		*ret = SCMP_ACT_LOG;
	else if (strcmp(name, "SCMP_ACT_NOTIFY") == 0)
		return cs_fail(err, CS_ERR_UNSUPPORTED, 0, "%s: SCMP_ACT_NOTIFY is not available in this build", path);
	else
		return cs_fail(err, CS_ERR_INVALID, 0, "%s: action %s is not known", path, name);
	return 0;
}

/* ---- compile ---- */

/* Unsigned 64 bit; earlier releases wrote the upper half of the range as negative numbers. */
static int mask_of(json_t *v, const char *at, const char *key, uint64_t *ret, struct cs_err **err)
{
	int64_t n = 0;

	if (cs_json_u64(json_object_get(v, key), ret))
		return 0;
	if (cs_field_i64(v, at, key, INT64_MIN, INT64_MAX, &n, err) < 0)
		return -1;
	*ret = (uint64_t)n;
	return 0;
}

static int arg_of(json_t *v, const char *at, struct scmp_arg_cmp *ret, struct cs_err **err)
{
	const char *op = NULL;
	uint64_t value = 0, two = 0;
	int64_t index = 0;
	int cmp = -1;

	if (cs_field_is_obj(v, at, err) < 0 || cs_field_i64(v, at, "index", 0, 5, &index, err) < 0 ||
	    cs_field_str(v, at, "op", CS_F_REQUIRED, &op, err) < 0)
		return -1;
	if (mask_of(v, at, "value", &value, err) < 0 || mask_of(v, at, "valueTwo", &two, err) < 0)
		return -1;
	for (size_t i = 0; i < CS_ARRAY_SIZE(compares); i++)
		if (strcmp(compares[i].name, op) == 0)
			cmp = compares[i].op;
	if (cmp < 0)
		return cs_fail(err, CS_ERR_INVALID, 0, "%s.op: %s is not known", at, op);
	*ret = (struct scmp_arg_cmp){.arg = (unsigned)index, .op = (enum scmp_compare)cmp, .datum_a = value, .datum_b = two};
	return 0;
}

static int add_rule(scmp_filter_ctx ctx, uint32_t action, const char *name, const struct scmp_arg_cmp *args, unsigned n, const char *at, struct cs_err **err)
{
	int nr = seccomp_syscall_resolve_name(name);
	bool counts[6] = {0}, twice = false;

	if (nr == __NR_SCMP_ERROR)
		return 0; /* unknown to this libseccomp: the default action holds, as with runc */
	for (unsigned i = 0; i < n; i++) {
		twice |= counts[args[i].arg];
		counts[args[i].arg] = true;
	}
	int r = 0;
	/* libseccomp cannot compare one argument twice in a rule: then each comparison is a rule of its own, as runc does */
	for (unsigned i = 0; twice && r == 0 && i < n; i++)
		r = seccomp_rule_add_array(ctx, action, nr, 1, &args[i]);
	if (!twice)
		r = seccomp_rule_add_array(ctx, action, nr, n, args);
	if (r < 0 && r != -EEXIST)
		return cs_fail(err, CS_ERR_INVALID, -r, "%s: add a rule for %s", at, name);
	return 0;
}

static int add_syscalls(scmp_filter_ctx ctx, json_t *v, const char *at, uint32_t default_action, struct cs_err **err)
{
	cs_autofree char **names = NULL;
	const char *action_name = NULL;
	json_t *args = NULL, *a;
	struct scmp_arg_cmp cmp[6];
	int64_t errno_ret = EPERM;
	uint32_t action;
	size_t i;

	if (cs_field_is_obj(v, at, err) < 0 || cs_field_strv(v, at, "names", &names, err) < 0 ||
	    cs_field_str(v, at, "action", CS_F_REQUIRED, &action_name, err) < 0 || cs_field_i64(v, at, "errnoRet", 0, 4095, &errno_ret, err) < 0 ||
	    cs_field_arr(v, at, "args", 0, &args, err) < 0 || action_of(action_name, errno_ret, at, &action, err) < 0)
		return -1;
	if (json_array_size(args) > CS_ARRAY_SIZE(cmp))
		return cs_fail(err, CS_ERR_INVALID, 0, "%s.args: a system call has at most six", at);
	json_array_foreach(args, i, a)
	{
		cs_autofree char *arg_at = cs_xasprintf("%s.args[%zu]", at, i);
		if (arg_of(a, arg_at, &cmp[i], err) < 0)
			return -1;
	}
	if (action == default_action) /* libseccomp refuses what changes nothing */
		return 0;
	for (char **n = names; n && *n; n++)
		if (add_rule(ctx, action, *n, cmp, (unsigned)json_array_size(args), at, err) < 0)
			return -1;
	return 0;
}

static int flags_of(json_t *profile, const char *path, unsigned *ret, struct cs_err **err)
{
	cs_autofree char **flags = NULL;

	if (cs_field_strv(profile, path, "flags", &flags, err) < 0)
		return -1;
	for (char **f = flags; f && *f; f++) {
		if (strcmp(*f, "SECCOMP_FILTER_FLAG_LOG") == 0)
			*ret |= FLAG_LOG;
		else if (strcmp(*f, "SECCOMP_FILTER_FLAG_SPEC_ALLOW") == 0)
			*ret |= FLAG_SPEC_ALLOW;
		else if (strcmp(*f, "SECCOMP_FILTER_FLAG_TSYNC") == 0)
			*ret |= FLAG_TSYNC;
		else if (strcmp(*f, "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV") != 0) /* of use to listeners only */
			return cs_fail(err, CS_ERR_INVALID, 0, "%s.flags: %s is not known", path, *f);
	}
	return 0;
}

/* Most kernels answer x32's calls with ENOSYS. A filter that says the same by itself is a third shorter, and the kernel walks and compiles a filter
 * anew at each load: 0.1 ms of every start. */
static bool kernel_has_x32(void)
{
#ifdef __x86_64__
	return syscall(0x40000000 | SYS_getpid) >= 0 || errno != ENOSYS;
#else
	return true;
#endif
}

struct newest { /* of each architecture that the filter knows: the highest number that the profile names */
	size_t n;
	struct {
		uint32_t arch; /* AUDIT_ARCH_*: libseccomp's tokens are the same, but for x32 */
		uint32_t nr;
	} v[CS_ARRAY_SIZE(archs) + 1];
};

static int add_archs(scmp_filter_ctx ctx, json_t *profile, const char *path, struct newest *newest, struct cs_err **err)
{
	cs_autofree char **list = NULL;

	if (cs_field_strv(profile, path, "architectures", &list, err) < 0)
		return -1;
	newest->v[newest->n++].arch = seccomp_arch_native();
	for (char **a = list; a && *a; a++) {
		uint32_t token = 0;
		for (size_t i = 0; i < CS_ARRAY_SIZE(archs); i++)
			if (strcmp(archs[i].name, *a) == 0)
				token = archs[i].token;
		if (!token && strcmp(*a, "SCMP_ARCH_LOONGARCH64") != 0)
			return cs_fail(err, CS_ERR_INVALID, 0, "%s.architectures: %s is not known", path, *a);
		if (token == SCMP_ARCH_X32 && !kernel_has_x32()) {
			(void)seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(ENOSYS));
			continue;
		}
		int r = token ? seccomp_arch_add(ctx, token) : 0;
		if (r < 0 && r != -EEXIST)
			return cs_fail(err, CS_ERR_INVALID, -r, "%s.architectures: add %s", path, *a);
		if (r == 0 && token && token != SCMP_ARCH_X32 && newest->n < CS_ARRAY_SIZE(newest->v))
			newest->v[newest->n++].arch = token;
	}
	return 0;
}

static void find_newest(json_t *list, struct newest *newest)
{
	json_t *rule, *name;
	size_t i, k;

	json_array_foreach(list, i, rule) json_array_foreach(json_object_get(rule, "names"), k, name)
		for (size_t a = 0; json_is_string(name) && a < newest->n; a++) {
			int nr = seccomp_syscall_resolve_name_arch(newest->v[a].arch, json_string_value(name));
			if (nr > 0 && (uint32_t)nr > newest->v[a].nr)
				newest->v[a].nr = (uint32_t)nr;
		}
}

/* A call that is newer than the profile (or than libseccomp) does not exist, as far as the container goes: programs try such calls and fall back when they
 * hear ENOSYS, and only then. What the profile knows and does not allow is refused as it says. What comes before the filter proper: */
static size_t put_newest(const struct newest *newest, struct sock_filter *f)
{
	size_t n = 0, end = 1 + newest->n * 5;

	f[n++] = (struct sock_filter){.code = BPF_LD | BPF_W | BPF_ABS, .k = offsetof(struct seccomp_data, arch)};
	for (size_t i = 0; i < newest->n; i++) {
		f[n++] = (struct sock_filter){.code = BPF_JMP | BPF_JEQ | BPF_K, .jf = 4, .k = newest->v[i].arch};
		f[n++] = (struct sock_filter){.code = BPF_LD | BPF_W | BPF_ABS, .k = offsetof(struct seccomp_data, nr)};
		f[n] = (struct sock_filter){.code = BPF_JMP | BPF_JGT | BPF_K, .jf = (uint8_t)(end - n - 1), .k = newest->v[i].nr};
		n++;
		f[n] = (struct sock_filter){.code = BPF_JMP | BPF_JGE | BPF_K, .jt = (uint8_t)(end - n - 1), .k = 0x40000000}; /* x32, or none at all */
		n++;
		f[n++] = (struct sock_filter){.code = BPF_RET | BPF_K, .k = SECCOMP_RET_ERRNO | ENOSYS};
	}
	return n;
}

static int export_bpf(scmp_filter_ctx ctx, const struct newest *newest, struct cs_filter *f, struct cs_err **err)
{
	cs_autofd int fd = sys_memfd_create("seccomp", MFD_CLOEXEC);
	int r = fd < 0 ? fd : seccomp_export_bpf(ctx, fd);
	off_t len = r < 0 ? -1 : lseek(fd, 0, SEEK_END);

	if (r < 0 || len < 0 || lseek(fd, 0, SEEK_SET) < 0)
		return cs_fail(err, CS_ERR_INTERNAL, r < 0 ? -r : errno, "compile the seccomp profile");
	struct sock_filter *code = cs_xcalloc((size_t)len / sizeof(*code) + 1 + CS_ARRAY_SIZE(newest->v) * 5, sizeof(*code));
	size_t before = newest->n ? put_newest(newest, code) : 0;
	f->bpf = code;
	f->len = (size_t)len + before * sizeof(*code);
	if (cs_read_full(fd, code + before, (size_t)len) != len)
		return cs_fail(err, CS_ERR_INTERNAL, EIO, "read the compiled seccomp profile");
	struct sock_filter *less;
	size_t n;
	if (cs_seccomp_shrink(f->bpf, f->len / sizeof(struct sock_filter), &less, &n)) {
		free(f->bpf);
		f->bpf = less;
		f->len = n * sizeof(struct sock_filter);
	}
	struct sock_filter *insns = f->bpf;
	n = f->len / sizeof(*insns);
	if (cs_guard_mark(&insns, &n)) {
		f->bpf = insns;
		f->len = n * sizeof(*insns);
	}
	return 0;
}

static void ctx_done(scmp_filter_ctx *ctx)
{
	if (*ctx)
		seccomp_release(*ctx);
}

static int compile(json_t *profile, const char *path, struct cs_filter *f, struct cs_err **err)
{
	const char *name = NULL, *listener = "";
	json_t *list = NULL, *v;
	struct newest newest = {0};
	int64_t errno_ret = EPERM;
	uint32_t action;
	size_t i;

	if (cs_field_str(profile, path, "defaultAction", CS_F_REQUIRED, &name, err) < 0 ||
	    cs_field_i64(profile, path, "defaultErrnoRet", 0, 4095, &errno_ret, err) < 0 || action_of(name, errno_ret, path, &action, err) < 0 ||
	    cs_field_str(profile, path, "listenerPath", 0, &listener, err) < 0 || cs_field_arr(profile, path, "syscalls", 0, &list, err) < 0 ||
	    flags_of(profile, path, &f->flags, err) < 0)
		return -1;
	if (*listener)
		return cs_fail(err, CS_ERR_UNSUPPORTED, 0, "%s.listenerPath: is not available in this build", path);
	cs_auto(ctx_done) scmp_filter_ctx ctx = seccomp_init(action);
	if (!ctx)
		return cs_fail(err, CS_ERR_INVALID, EINVAL, "%s.defaultAction: %s is not possible", path, name);
	if (add_archs(ctx, profile, path, &newest, err) < 0)
		return -1;
	find_newest(list, &newest);
	if (action == SCMP_ACT_ALLOW || action == SCMP_ACT_LOG) /* it allows what it does not know */
		newest.n = 0;
	(void)seccomp_attr_set(ctx, SCMP_FLTATR_CTL_NNP, 0); /* the worker decides about no_new_privs */
	(void)seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	json_array_foreach(list, i, v)
	{
		cs_autofree char *at = cs_xasprintf("%s.syscalls[%zu]", path, i);
		if (add_syscalls(ctx, v, at, action, err) < 0)
			return -1;
	}
	return export_bpf(ctx, &newest, f, err);
}

/* ---- cache ---- */

static uint64_t mix(uint64_t h, const void *data, size_t n)
{
	const unsigned char *p = data;

	for (size_t i = 0; i < n; i++)
		h = (h ^ p[i]) * 1099511628211ull;
	return h;
}

static uint64_t tree_hash(json_t *v, uint64_t h)
{
	const char *key;
	json_t *e;
	size_t i;
	uint64_t sum = 0;
	int type = json_typeof(v);

	h = mix(h, &type, sizeof(type));
	switch (json_typeof(v)) {
	case JSON_OBJECT: /* independent of the order, as json_equal is */
		json_object_foreach(v, key, e) { sum += tree_hash(e, mix(14695981039346656037ull, key, strlen(key))); }
		return mix(h, &sum, sizeof(sum));
	case JSON_ARRAY:
		json_array_foreach(v, i, e) { h = tree_hash(e, h); }
		return h;
	case JSON_STRING: return mix(h, json_string_value(v), json_string_length(v) + 1);
	case JSON_INTEGER: {
		json_int_t n = json_integer_value(v);
		return mix(h, &n, sizeof(n));
	}
	case JSON_REAL:
	case JSON_TRUE:
	case JSON_FALSE:
	case JSON_NULL: break;
	}
	return h;
}

/* Under the lock; waits while somebody compiles the same profile. */
static struct entry *find(json_t *profile, uint64_t hash)
{
again:
	for (size_t i = 0; i < ENTRIES; i++) {
		struct entry *e = &cache.e[i];
		if (!e->profile || e->hash != hash || !json_equal(e->profile, profile))
			continue;
		if (e->busy) {
			pthread_cond_wait(&cache.done, &cache.lock);
			goto again;
		}
		return e;
	}
	return NULL;
}

static struct entry *victim(void)
{
	struct entry *best = NULL;

	for (size_t i = 0; i < ENTRIES; i++) {
		struct entry *e = &cache.e[i];
		if (!e->busy && (!best || e->used < best->used))
			best = e;
	}
	return best;
}

static void entry_clear(struct entry *e)
{
	json_decref(e->profile);
	cs_filter_unref(e->filter);
	*e = (struct entry){0};
}

int cs_seccomp_get(json_t *profile, const char *path, struct cs_filter **ret, struct cs_err **err)
{
	uint64_t hash = tree_hash(profile, 14695981039346656037ull);

	pthread_mutex_lock(&cache.lock);
	struct entry *e = find(profile, hash);
	if (e) {
		e->used = ++cache.clock;
		*ret = cs_filter_ref(e->filter);
		pthread_mutex_unlock(&cache.lock);
		return 0;
	}
	e = victim(); /* NULL: all are being compiled right now */
	if (e) {
		entry_clear(e);
		*e = (struct entry){.profile = json_deep_copy(profile), .hash = hash, .busy = true, .used = ++cache.clock};
	}
	cache.compiled++;
	pthread_mutex_unlock(&cache.lock);

	struct cs_filter *f = cs_xcalloc(1, sizeof(*f));
	f->refs = 1;
	cs_autojson json_t *parsed = json_is_string(profile) ? cs_json_parse_u64(json_string_value(profile), json_string_length(profile), err) : json_incref(profile);
	int r = !parsed ? -1 : json_is_object(parsed) ? compile(parsed, path, f, err) : cs_fail(err, CS_ERR_INVALID, 0, "%s: must be an object", path);

	pthread_mutex_lock(&cache.lock);
	if (e) {
		e->busy = false;
		if (r < 0)
			entry_clear(e); /* whoever waited tries for itself and gets the error */
		else
			e->filter = cs_filter_ref(f);
		pthread_cond_broadcast(&cache.done);
	}
	pthread_mutex_unlock(&cache.lock);
	if (r < 0)
		cs_filter_unref(f);
	else
		*ret = f;
	return r;
}
