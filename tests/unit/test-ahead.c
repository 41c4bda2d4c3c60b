/* SPDX-License-Identifier: Apache-2.0
 *
 * What of a plan can be done before it is there, and which plans must do everything themselves. Without root. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "compute/process/ahead.h"

#define OWN ((uint64_t)(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS))
#define PRIVATE ((uint64_t)(MS_PRIVATE | MS_REC))
#define NONE ((uint64_t)0)

/* The parts of a plan that matter here; what a test leaves alone is as Docker's default has it. */
struct shape {
	uint64_t clone, propagation, group_version;
	const char *bind, *bind_beneath, *tmpfs, *early_tmpfs, *mask, *netns, *dev_target, *groups_at;
	uint64_t bind_propagation;
	unsigned groups, layers;
	bool no_upper;
	const char *image;
};

static void mount_step(struct cs_str *p, const char *type, const char *at) { cs_plan_add(p, CS_PLAN_MOUNT, type, type, at, NONE, "", NONE); }

static void make(const struct shape *s, struct cs_str *p)
{
	char *layers[CS_AHEAD_MAX_LAYERS + 2] = {(char *)(uintptr_t) "layers/a/diff"};

	for (unsigned i = 1; i < s->layers; i++)
		layers[i] = layers[0];

	cs_plan_add(p, CS_PLAN_ID, "x");
	for (unsigned i = 0; i < (s->groups ? s->groups : 1); i++)
		cs_plan_add(p, CS_PLAN_CGROUP, "memory", "/sys/fs/cgroup/memory/x", s->group_version ? s->group_version : (uint64_t)1);
	cs_plan_add(p, CS_PLAN_CLONE, s->clone ? s->clone : OWN);
	if (s->netns)
		cs_plan_add(p, CS_PLAN_SETNS, (uint64_t)CLONE_NEWNET, s->netns);
	cs_plan_add(p, CS_PLAN_ROOT_PROPAGATION, s->propagation ? s->propagation : PRIVATE);
	cs_plan_add(p, CS_PLAN_OVERLAY, "/d", layers, s->no_upper ? "" : "s/upper", "s/work", "s", "");
	if (s->early_tmpfs)
		mount_step(p, "tmpfs", s->early_tmpfs);
	mount_step(p, "proc", "/proc");
	mount_step(p, "tmpfs", s->dev_target ? s->dev_target : "/dev");
	mount_step(p, "sysfs", "/sys");
	cs_plan_add(p, CS_PLAN_CGROUP_MOUNT, s->groups_at ? s->groups_at : "/sys/fs/cgroup", (uint64_t)1);
	if (s->bind)
		cs_plan_add(p, CS_PLAN_BIND, "/host", s->bind, (uint64_t)1, NONE, NONE, s->bind_propagation ? s->bind_propagation : PRIVATE);
	if (s->bind_beneath)
		cs_plan_add(p, CS_PLAN_BIND_BENEATH, "", "/host", "sub", s->bind_beneath, (uint64_t)1, NONE, NONE, PRIVATE);
	if (s->image)
		cs_plan_add(p, CS_PLAN_LAYERS, "/d", layers, "", "", "s", "", "", s->image);
	if (s->tmpfs)
		mount_step(p, "tmpfs", s->tmpfs);
	cs_plan_add(p, CS_PLAN_DEVICE, "/dev/null", (uint64_t)S_IFCHR, (uint64_t)1, (uint64_t)3, (uint64_t)0666, NONE, NONE);
	cs_plan_add(p, CS_PLAN_SYMLINK, "/proc/self/fd", "/dev/fd");
	cs_plan_add(p, CS_PLAN_PIVOT);
	if (s->mask)
		cs_plan_add(p, CS_PLAN_MASK, s->mask);
	cs_plan_add(p, CS_PLAN_MASK, "/sys/firmware");
	cs_plan_add(p, CS_PLAN_READONLY, "/proc/sys");
}

/* The steps as text, "none" for a plan that cannot do with any. */
static void expect(struct shape s, const char *want)
{
	struct cs_str plan = CS_STR_INIT(CS_PLAN_MAX_SIZE), steps = CS_STR_INIT(CS_PLAN_MAX_SIZE), out = CS_STR_INIT(65536);

	make(&s, &plan);
	assert_false(plan.failed);
	if (cs_ahead_steps(&(struct cs_plan){plan.buf, plan.len}, &steps))
		cs_plan_dump(&(struct cs_plan){steps.buf, steps.len}, &out);
	else
		cs_str_puts(&out, "none");
	assert_string_equal(out.buf, want);
	cs_str_done(&out);
	cs_str_done(&steps);
	cs_str_done(&plan);
}

#define DEV "MOUNT tmpfs tmpfs /dev 0 \"\" 0\n"
#define NODES "DEVICE /dev/null 020000 1 3 0666 0 0\nSYMLINK /proc/self/fd /dev/fd\n"
#define AHEAD_ONLY DEV NODES
static const char clone_line[] = "CLONE 0x2c020000\n";

static void all_of(char *buf, size_t len, const char *extra_before_nodes, const char *extra_mask, bool sys)
{
	(void)snprintf(buf, len, "%sMOUNT proc proc /proc 0 \"\" 0\n" DEV "%s%s" NODES "%s%sREADONLY /proc/sys\n", clone_line,
		       sys ? "MOUNT sysfs sysfs /sys 0 \"\" 0\n" : "", extra_before_nodes, extra_mask, sys ? "MASK /sys/firmware\n" : "");
}

static void common(void **state)
{
	char want[2048];

	all_of(want, sizeof(want), "", "", true);
	expect((struct shape){0}, want);
	expect((struct shape){.layers = CS_AHEAD_MAX_LAYERS}, want);
	/* binds elsewhere, the user's tmpfs, masks outside of the kernel's directories: late, and no hindrance */
	expect((struct shape){.bind = "/etc/hosts", .tmpfs = "/run", .mask = "/etc/secret"}, want);
	expect((struct shape){.bind = "/etc/..hidden", .tmpfs = "/run/.x", .mask = "/x/../y"}, want);
	all_of(want, sizeof(want), "MOUNT tmpfs tmpfs /dev/shm 0 \"\" 0\n", "MASK /proc/keys\n", true);
	expect((struct shape){.tmpfs = "/dev/shm", .mask = "/proc/keys"}, want);
	/* what covers the groups' mount, or all of a directory, keeps its place behind it */
	all_of(want, sizeof(want), "", "", true);
	expect((struct shape){.mask = "/sys/fs/cgroup/memory"}, want);
	expect((struct shape){.mask = "/sys/fs"}, want);
	expect((struct shape){.mask = "/sys"}, want);
	expect((struct shape){.mask = "/proc"}, want);
	expect((struct shape){.mask = "/dev/null"}, want);
}

static void joined_network(void **state)
{
	char want[2048];

	all_of(want, sizeof(want), "", "", false); /* /sys shows the network of whoever mounts it */
	expect((struct shape){.netns = "/run/netns/x"}, want);
}

static void ahead_only(void **state)
{
	/* v2: the first process is cloned into a group that must be there */
	expect((struct shape){.group_version = 2, .clone = OWN | 0x02000000}, AHEAD_ONLY);
	/* something of the user's among what would be early */
	expect((struct shape){.bind = "/proc/cpuinfo"}, AHEAD_ONLY);
	expect((struct shape){.bind = "/sys/x"}, AHEAD_ONLY);
	expect((struct shape){.tmpfs = "/sys/kernel/x"}, AHEAD_ONLY);
	expect((struct shape){.groups_at = "/proc/cg"}, AHEAD_ONLY);
	expect((struct shape){.mask = "/proc//keys"}, AHEAD_ONLY);
	expect((struct shape){.mask = "/proc/keys/"}, AHEAD_ONLY);
	expect((struct shape){.mask = "/proc/bus/../keys"}, AHEAD_ONLY);
	expect((struct shape){.mask = "/proc/keys/."}, AHEAD_ONLY);
	expect((struct shape){.early_tmpfs = "/proc"}, AHEAD_ONLY);
}

static void nothing(void **state)
{
	const uint64_t shared[] = {OWN & ~(uint64_t)CLONE_NEWPID, OWN & ~(uint64_t)CLONE_NEWIPC};

	for (size_t i = 0; i < CS_ARRAY_SIZE(shared); i++)
		expect((struct shape){.clone = shared[i]}, "none");
	expect((struct shape){.group_version = 2}, "none"); /* the host's groups are in sight */
	expect((struct shape){.groups = CS_AHEAD_MAX_GROUPS + 1}, "none");
	expect((struct shape){.propagation = MS_SLAVE | MS_REC}, "none");
	expect((struct shape){.bind = "/x", .bind_propagation = MS_SLAVE | MS_REC}, "none");
	expect((struct shape){.bind = "/x", .bind_propagation = MS_SHARED}, "none");
	expect((struct shape){.bind = "/dev/shm"}, "none");
	expect((struct shape){.bind = "/x/../dev/shm"}, "none");
	expect((struct shape){.bind = "/dev/shm/"}, "none");
	expect((struct shape){.bind = "/./proc/x"}, "none");
	expect((struct shape){.bind_beneath = "/x"}, "none");
	expect((struct shape){.image = "/x"}, "none");
	expect((struct shape){.tmpfs = "/dev"}, "none");
	expect((struct shape){.early_tmpfs = "/dev/shm"}, "none");
	expect((struct shape){.dev_target = "/devices"}, "none");
	expect((struct shape){.groups_at = "/dev/cg"}, "none");
	expect((struct shape){.layers = CS_AHEAD_MAX_LAYERS + 1}, "none");
	expect((struct shape){.no_upper = true}, "none");
}

static void malformed(void **state)
{
	struct cs_str plan = CS_STR_INIT(CS_PLAN_MAX_SIZE), steps = CS_STR_INIT(CS_PLAN_MAX_SIZE);

	make(&(struct shape){0}, &plan);
	assert_false(cs_ahead_steps(&(struct cs_plan){plan.buf, plan.len - 8}, &steps));
	assert_false(cs_ahead_steps(&(struct cs_plan){NULL, 0}, &steps));
	cs_str_done(&steps);
	cs_str_done(&plan);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(common), cmocka_unit_test(joined_network), cmocka_unit_test(ahead_only), cmocka_unit_test(nothing),
					   cmocka_unit_test(malformed)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
