/* SPDX-License-Identifier: Apache-2.0
 *
 * Which steps of a plan can be done before it is there: see ahead.h. Pure; any thread. */
#include "compute/process/ahead.h"

#include <sched.h>
#include <sys/mount.h>

#include "base/path.h"

#ifndef CLONE_NEWCGROUP
#define CLONE_NEWCGROUP 0x02000000
#endif

static bool in_kernels(const char *path) { return cs_path_is_below(path, "/proc") || cs_path_is_below(path, "/sys"); }

/* What the step mounts on, makes or covers; NULL: nothing. */
static const char *target_of(const struct cs_step *s)
{
	switch (s->op) {
	case CS_PLAN_MOUNT: return s->arg[2].s;
	case CS_PLAN_BIND:
	case CS_PLAN_SYMLINK: return s->arg[1].s;
	case CS_PLAN_BIND_BENEATH: return s->arg[3].s;
	case CS_PLAN_CGROUP_MOUNT:
	case CS_PLAN_DEVICE:
	case CS_PLAN_MASK:
	case CS_PLAN_READONLY: return s->arg[0].s;
	default: return NULL;
	}
}

static bool fills_dev(const struct cs_step *s)
{
	return (s->op == CS_PLAN_MOUNT || s->op == CS_PLAN_DEVICE || s->op == CS_PLAN_SYMLINK) && cs_path_is_below(target_of(s), "/dev");
}

static bool covers(const struct cs_step *s) { return s->op == CS_PLAN_MASK || s->op == CS_PLAN_READONLY; }

/* Of /proc and /sys what stands by itself: not the groups' mount, which comes with the groups, nor what covers a part of that. */
static bool fills_kernels(const struct cs_step *s)
{
	const char *at = target_of(s);

	if (s->op == CS_PLAN_MOUNT)
		return strcmp(at, "/proc") == 0 || strcmp(at, "/sys") == 0;
	return covers(s) && in_kernels(at) && strcmp(at, "/proc") != 0 && !cs_path_is_below("/sys/fs/cgroup", at) && !cs_path_is_below(at, "/sys/fs/cgroup");
}

enum cs_when cs_step_when(const struct cs_parts *p, const struct cs_step *s)
{
	if (p->ahead && fills_dev(s))
		return CS_WHEN_AHEAD;
	if (p->early && fills_kernels(s) && (p->sys || !cs_path_is_below(target_of(s), "/sys")))
		return CS_WHEN_EARLY;
	return CS_WHEN_LATE;
}

struct look { /* what was seen of a plan so far */
	bool own, overlay, dev, proc, sys, cgroupns, v2;
	bool late_dev, late_kernels; /* something that must keep its place among what could be done before */
	bool unfit;
	unsigned groups;
};

/* As cs_path_clean has it; without its allocation, for this is looked at three times in each start. */
static bool is_clean(const char *path)
{
	for (const char *p = path; *p; p++) {
		size_t n = strcspn(p + 1, "/");
		if (*p == '/' && p[1] && (n == 0 || (n == 1 && p[1] == '.') || (n == 2 && p[1] == '.' && p[2] == '.')))
			return false;
		if (*p == '/' && !p[1] && p != path)
			return false;
	}
	return *path == '/';
}

static void look_at_target(struct look *l, const struct cs_step *s, const char *at)
{
	bool unclean = !is_clean(at);

	if (unclean && !covers(s)) { /* covers are looked up as they stand */
		cs_autofree char *clean = cs_path_clean(at);
		l->unfit = l->unfit || cs_path_is_below(clean, "/dev") || in_kernels(clean);
	}
	if (fills_dev(s)) {
		bool first = strcmp(at, "/dev") == 0;
		l->late_dev = l->late_dev || (first ? l->dev || s->op != CS_PLAN_MOUNT : !l->dev);
		l->dev = l->dev || first;
	} else if (fills_kernels(s)) {
		bool *mounted = cs_path_is_below(at, "/proc") ? &l->proc : &l->sys;
		l->late_kernels = l->late_kernels || unclean || (s->op == CS_PLAN_MOUNT) == *mounted;
		*mounted = true;
	} else if (!covers(s)) { /* a bind, a mount of the user's, the groups */
		l->late_dev = l->late_dev || cs_path_is_below(at, "/dev");
		l->late_kernels = l->late_kernels || (in_kernels(at) && (s->op != CS_PLAN_CGROUP_MOUNT || strcmp(at, "/sys/fs/cgroup") != 0));
	}
}

static void look_at(struct look *l, const struct cs_step *s)
{
	const uint64_t own = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC;

	switch (s->op) {
	case CS_PLAN_CGROUP:
		l->v2 = l->v2 || s->arg[2].u == 2;
		l->groups++;
		break;
	case CS_PLAN_CLONE:
		l->own = (s->arg[0].u & own) == own;
		l->cgroupns = s->arg[0].u & CLONE_NEWCGROUP;
		break;
	case CS_PLAN_ROOT_PROPAGATION: l->unfit = l->unfit || s->arg[0].u != (MS_PRIVATE | MS_REC); break;
	case CS_PLAN_OVERLAY: l->overlay = s->arg[1].v.n > 0 && s->arg[1].v.n <= CS_AHEAD_MAX_LAYERS && *s->arg[2].s; break;
	case CS_PLAN_BIND: l->unfit = l->unfit || s->arg[5].u != (MS_PRIVATE | MS_REC); break;
	default: /* BIND_BENEATH, LAYERS, and what may be added, look at the host's mounts when their turn comes */
		l->unfit = l->unfit || s->op > CS_PLAN_CGROUP_DEVICE_BPF;
		break;
	}
	if (target_of(s))
		look_at_target(l, s, target_of(s));
}

struct cs_parts cs_parts_of(const struct cs_plan *plan)
{
	struct cs_plan_cursor c = {.plan = plan};
	struct cs_parts p = {.sys = true};
	struct look l = {0};
	struct cs_step s;
	int r;

	while ((r = cs_plan_next(&c, &s)) == 1) {
		look_at(&l, &s);
		if (s.op == CS_PLAN_SETNS && s.arg[0].u == CLONE_NEWNET)
			p.sys = false;
	}
	/* on v2 without a namespace of its own a container sees the whole hierarchy, which is the host's */
	p.ahead = r == 0 && !l.unfit && l.own && l.overlay && l.dev && !l.late_dev && l.groups <= CS_AHEAD_MAX_GROUPS && !(l.v2 && !l.cgroupns);
	/* on v2 a process is cloned into its group, which must be there */
	p.early = p.ahead && l.proc && l.sys && !l.late_kernels && !l.v2;
	return p;
}

bool cs_ahead_steps(const struct cs_plan *plan, struct cs_str *ret)
{
	const struct cs_parts p = cs_parts_of(plan);
	struct cs_plan_cursor c = {.plan = plan};
	struct cs_step s;

	cs_str_clear(ret);
	while (p.ahead && cs_plan_next(&c, &s) == 1)
		if ((s.op == CS_PLAN_CLONE && p.early) || cs_step_when(&p, &s) != CS_WHEN_LATE)
			cs_plan_add_step(ret, &c);
	return p.ahead && !ret->failed;
}
