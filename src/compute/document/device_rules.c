/* SPDX-License-Identifier: Apache-2.0
 *
 * Device access rules: normalised once with the meaning that v1's devices cgroup gives to a sequence of allow and deny, then written as
 * v1 files or generated as a BPF program for v2. Pure; any thread. */
#include <linux/bpf.h>

#include "compute/document/document.h"
#include "compute/document/fields.h"

#define ACC_M 1u /* the kernel's BPF_DEVCG_ACC_MKNOD, _READ, _WRITE */
#define ACC_R 2u
#define ACC_W 4u
#define ANY (-1)
#define MAX_RULES 1024

struct rule {
	char type; /* b, c */
	int64_t major, minor;
	unsigned access;
};
struct list { /* exceptions from the default */
	bool allow_by_default;
	struct rule *r;
	size_t n;
};

static const struct rule defaults[] = {
	{'c', ANY, ANY, ACC_M}, {'b', ANY, ANY, ACC_M},		      {'c', 1, 3, ACC_R | ACC_W | ACC_M}, {'c', 1, 5, ACC_R | ACC_W | ACC_M},
	{'c', 1, 7, ACC_R | ACC_W | ACC_M}, {'c', 1, 8, ACC_R | ACC_W | ACC_M}, {'c', 1, 9, ACC_R | ACC_W | ACC_M}, {'c', 5, 0, ACC_R | ACC_W | ACC_M},
	{'c', 5, 2, ACC_R | ACC_W | ACC_M}, {'c', 136, ANY, ACC_R | ACC_W | ACC_M},
};

static void except(struct list *l, const struct rule *r)
{
	for (size_t i = 0; i < l->n; i++)
		if (l->r[i].type == r->type && l->r[i].major == r->major && l->r[i].minor == r->minor) {
			l->r[i].access |= r->access;
			return;
		}
	l->r = cs_xreallocarray(l->r, l->n + 1, sizeof(*l->r));
	l->r[l->n++] = *r;
}

static void unexcept(struct list *l, const struct rule *r)
{
	size_t k = 0;

	for (size_t i = 0; i < l->n; i++) {
		if (l->r[i].type == r->type && l->r[i].major == r->major && l->r[i].minor == r->minor)
			l->r[i].access &= ~r->access;
		if (l->r[i].access)
			l->r[k++] = l->r[i];
	}
	l->n = k;
}

static void apply(struct list *l, bool allow, const struct rule *r)
{
	if (allow == l->allow_by_default)
		unexcept(l, r);
	else
		except(l, r);
}

static int access_of(const char *text, const char *at, unsigned *ret, struct cs_err **err)
{
	unsigned a = 0;

	for (const char *p = text; *p; p++) {
		if (*p != 'r' && *p != 'w' && *p != 'm')
			return cs_fail(err, CS_ERR_INVALID, 0, "%s.access: expected r, w and m, got %s", at, text);
		a |= *p == 'r' ? ACC_R : *p == 'w' ? ACC_W : ACC_M;
	}
	*ret = a ? a : ACC_R | ACC_W | ACC_M;
	return 0;
}

static int one_rule(struct list *l, json_t *v, const char *at, struct cs_err **err)
{
	const char *type = "a", *access_text = "rwm";
	int64_t major = ANY, minor = ANY;
	bool allow = false;
	struct rule r;

	if (cs_field_is_obj(v, at, err) < 0 || cs_field_bool(v, at, "allow", &allow, err) < 0 || cs_field_str(v, at, "type", 0, &type, err) < 0 ||
	    cs_field_i64(v, at, "major", -1, UINT32_MAX, &major, err) < 0 || cs_field_i64(v, at, "minor", -1, UINT32_MAX, &minor, err) < 0 ||
	    cs_field_str(v, at, "access", 0, &access_text, err) < 0)
		return -1;
	r = (struct rule){.major = major, .minor = minor};
	if (access_of(access_text, at, &r.access, err) < 0)
		return -1;
	if (strcmp(type, "a") == 0 || !*type) {
		if (major == ANY && minor == ANY && r.access == (ACC_R | ACC_W | ACC_M)) { /* everything: a new start */
			l->n = 0;
			l->allow_by_default = allow;
			return 0;
		}
		r.type = 'b';
		apply(l, allow, &r);
		r.type = 'c';
	} else if (strcmp(type, "c") == 0 || strcmp(type, "b") == 0) {
		r.type = type[0];
	} else {
		return cs_fail(err, CS_ERR_INVALID, 0, "%s.type: expected a, b or c, got %s", at, type);
	}
	apply(l, allow, &r);
	return 0;
}

/* ---- v1 ---- */

static void v1_put(struct cs_settings *s, const char *mount, const char *group, bool allow, const char *value)
{
	s->v = cs_xreallocarray(s->v, s->n + 1, sizeof(*s->v));
	s->v[s->n++] = (struct cs_setting){.controller = cs_xstrdup("devices"),
					   .file = cs_xasprintf("%s%s/devices.%s", mount, group, allow ? "allow" : "deny"),
					   .value = cs_xstrdup(value),
					   .required = true};
}

static void number(char buf[24], int64_t n)
{
	if (n == ANY)
		(void)snprintf(buf, 24, "*");
	else
		(void)snprintf(buf, 24, "%lld", (long long)n);
}

static void v1_rules(const struct list *l, const struct cs_host *host, const char *group, struct cs_settings *ret)
{
	const char *mount = cs_host_controller_mount(host, "devices");
	char major[24], minor[24], value[96];

	if (!l->allow_by_default) /* a new group has what its parent has */
		v1_put(ret, mount, group, false, "a");
	for (size_t i = 0; i < l->n; i++) {
		const struct rule *r = &l->r[i];
		number(major, r->major);
		number(minor, r->minor);
		(void)snprintf(value, sizeof(value), "%c %s:%s %s%s%s", r->type, major, minor, r->access & ACC_R ? "r" : "", r->access & ACC_W ? "w" : "",
			       r->access & ACC_M ? "m" : "");
		v1_put(ret, mount, group, !l->allow_by_default, value);
	}
}

/* ---- v2 ---- */

struct program {
	struct bpf_insn *v;
	size_t n;
};

static void emit(struct program *p, uint8_t code, uint8_t dst, uint8_t src, int16_t off, int32_t imm)
{
	if ((p->n & (p->n - 1)) == 0)
		p->v = cs_xreallocarray(p->v, p->n ? p->n * 2 : 1, sizeof(*p->v));
	p->v[p->n++] = (struct bpf_insn){.code = code, .dst_reg = dst & 0xf, .src_reg = src & 0xf, .off = off, .imm = imm};
}

/* r2 = type, r3 = access, r4 = major, r5 = minor; a rule that matches returns, the end returns the default. */
static void emit_rule(struct program *p, const struct rule *r, bool allow_by_default)
{
	size_t jumps[4], n = 0;

	jumps[n++] = p->n;
	emit(p, BPF_JMP | BPF_JNE | BPF_K, BPF_REG_2, 0, 0, r->type == 'b' ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR);
	if (allow_by_default) {
		/* a denial holds when any of its accesses is wanted */
		emit(p, BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_1, BPF_REG_3, 0, 0);
		emit(p, BPF_ALU64 | BPF_AND | BPF_K, BPF_REG_1, 0, 0, (int32_t)r->access);
		jumps[n++] = p->n;
		emit(p, BPF_JMP | BPF_JEQ | BPF_K, BPF_REG_1, 0, 0, 0);
	} else if (r->access != (ACC_R | ACC_W | ACC_M)) {
		/* a permission when all that is wanted is in it */
		emit(p, BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_1, BPF_REG_3, 0, 0);
		emit(p, BPF_ALU64 | BPF_AND | BPF_K, BPF_REG_1, 0, 0, (int32_t)(7u & ~r->access));
		jumps[n++] = p->n;
		emit(p, BPF_JMP | BPF_JNE | BPF_K, BPF_REG_1, 0, 0, 0);
	}
	if (r->major != ANY) {
		jumps[n++] = p->n;
		emit(p, BPF_JMP | BPF_JNE | BPF_K, BPF_REG_4, 0, 0, (int32_t)r->major);
	}
	if (r->minor != ANY) {
		jumps[n++] = p->n;
		emit(p, BPF_JMP | BPF_JNE | BPF_K, BPF_REG_5, 0, 0, (int32_t)r->minor);
	}
	emit(p, BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, !allow_by_default);
	emit(p, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	for (size_t i = 0; i < n; i++)
		p->v[jumps[i]].off = (int16_t)(p->n - jumps[i] - 1);
}

static void v2_rules(const struct list *l, struct cs_settings *ret)
{
	struct program p = {0};

	/* struct bpf_cgroup_dev_ctx: access_type (access << 16 | type), major, minor */
	emit(&p, BPF_LDX | BPF_MEM | BPF_W, BPF_REG_2, BPF_REG_1, 0, 0);
	emit(&p, BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_3, BPF_REG_2, 0, 0);
	emit(&p, BPF_ALU64 | BPF_AND | BPF_K, BPF_REG_2, 0, 0, 0xffff);
	emit(&p, BPF_ALU64 | BPF_RSH | BPF_K, BPF_REG_3, 0, 0, 16);
	emit(&p, BPF_LDX | BPF_MEM | BPF_W, BPF_REG_4, BPF_REG_1, 4, 0);
	emit(&p, BPF_LDX | BPF_MEM | BPF_W, BPF_REG_5, BPF_REG_1, 8, 0);
	for (size_t i = 0; i < l->n; i++)
		emit_rule(&p, &l->r[i], l->allow_by_default);
	emit(&p, BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, l->allow_by_default);
	emit(&p, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	ret->device_bpf = p.v;
	ret->device_bpf_len = p.n * sizeof(*p.v);
}

int cs_device_rules(json_t *rules, const char *path, const struct cs_host *host, const char *cgroups_path, struct cs_settings *ret, struct cs_err **err)
{
	struct list l = {0};
	json_t *v;
	size_t i;
	int r = 0;

	if (!cs_host_has_controller(host, "devices")) {
		cs_warnf(&ret->warnings, "cgroup controller devices is missing on this host: access to devices is limited by capabilities only");
		return 0;
	}
	if (json_array_size(rules) > MAX_RULES)
		return cs_fail(err, CS_ERR_INVALID, 0, "%s.devices: too many rules", path);
	json_array_foreach(rules, i, v)
	{
		cs_autofree char *at = cs_xasprintf("%s.devices[%zu]", path, i);
		r = one_rule(&l, v, at, err);
		if (r < 0)
			break;
	}
	/* what every container has, unless it may use everything anyway */
	for (i = 0; r == 0 && !l.allow_by_default && i < CS_ARRAY_SIZE(defaults); i++)
		except(&l, &defaults[i]);
	if (r == 0 && host->cgroup_version == 2) {
		if (!l.allow_by_default || l.n)
			v2_rules(&l, ret);
	} else if (r == 0) {
		v1_rules(&l, host, cgroups_path, ret);
	}
	free(l.r);
	return r;
}
