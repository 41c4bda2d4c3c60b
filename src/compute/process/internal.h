/* SPDX-License-Identifier: Apache-2.0
 *
 * The child's side of a set-up: state shared by the files that apply steps. Everything runs in the cloned, single-threaded child,
 * which has a copy of the worker's memory and nothing to lose: functions return 0 or -1 with *err and need not clean up much. */
#pragma once

#include <linux/filter.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/str.h"
#include "compute/process/ahead.h"
#include "compute/process/plan.h"

#define CS_SETUP_TEXT_MAX 3500

struct cs_setup_packet { /* child to worker; the text follows */
	uint32_t type;       /* enum cs_setup_msg */
	uint32_t code;       /* enum cs_code */
	int32_t sys;
};

struct cs_early_bind {
	const char *source; /* points into the plan: identifies the step */
	int fd;
};

struct cs_child {
	bool null_attached;
	bool groups_pending, unshare_cgroup; /* still to be entered */
	bool caller_pending;                 /* what the worker's caller prepares */

	/* with what was made ahead; opened while the host's mounts are in sight */
	struct cs_parts parts;
	bool ahead;
	int overlay, empty; /* the overlay, detached; O_PATH: the root that was made ahead */
	int groups[CS_AHEAD_MAX_GROUPS]; /* detached mounts of the plan's groups, in its order */
	size_t n_groups;
	const struct cs_plan *plan;
	int sock;
	bool is_exec;
	int self_exe;  /* for the built-in init, or -EBADF */
	int host_proc; /* start only: the host's procfs, never reachable by the image */
	int mntns;     /* start only: another container's mount namespace, or -EBADF */
	int root;      /* O_PATH: the container's root */
	int null_tree; /* a mount of the host's null device, verified; attached once a file was masked */
	int mask_tree; /* O_PATH: an attached empty read-only tmpfs, cloned for further masks */

	bool tty;
	uint16_t rows, cols;
	int pty_slave;

	uint64_t root_propagation;
	struct cs_early_bind *early;
	size_t n_early;

	/* process steps, applied at the end in the order of program_linux.c */
	bool have_user, have_caps, have_seccomp, have_cwd, no_new_privs, init;
	struct cs_step user, caps, seccomp, cwd, env, args;
	mode_t umask;
};

struct cs_identity {
	uid_t uid;
	gid_t gid;
	gid_t *groups; /* for setgroups: gid first, then the supplementary ones */
	size_t n_groups;
	char *home; /* never NULL */
};

void cs_child_warn(struct cs_child *c, const char *fmt, ...) CS_PRINTF(2, 3);
CS_MUST_CHECK int cs_child_send_pty(struct cs_child *c, int master, struct cs_err **err);
CS_MUST_CHECK int cs_child_enter_groups(struct cs_child *c, const struct cs_plan *groups, struct cs_err **err); /* when the worker has made them */
void cs_child_await_caller(struct cs_child *c);
void cs_child_executing(struct cs_child *c); /* tells the worker that only execve is left */
void cs_child_stage(const char *name);
/* errno text as Go spells it; part of Docker's contract (docker's client looks for these words). */
const char *cs_go_errno(int e);

/* Opens (or makes) the target of a mount, device or link inside the root, O_PATH. Below /proc, /sys and /dev no link is followed. */
enum cs_target { CS_TARGET_DIR, CS_TARGET_FILE, CS_TARGET_EXISTING };
int cs_child_target(struct cs_child *c, const char *path, enum cs_target kind);
/* Directory that holds `path`, and the last component. */
int cs_child_parent(struct cs_child *c, const char *path, char **ret_name);
CS_MUST_CHECK int cs_child_null_tree(struct cs_child *c, struct cs_err **err); /* makes null_tree, while the host's /dev is in sight */

CS_MUST_CHECK int cs_step_propagation(struct cs_child *c, uint64_t flags, struct cs_err **err);
CS_MUST_CHECK int cs_step_overlay(struct cs_child *c, const struct cs_step *s, struct cs_err **err);
CS_MUST_CHECK int cs_step_pivot(struct cs_child *c, struct cs_err **err);
CS_MUST_CHECK int cs_pivot_settle(struct cs_err **err); /* before the program: the old root has been let go */
CS_MUST_CHECK int cs_step_root_readonly(struct cs_child *c, struct cs_err **err);
CS_MUST_CHECK int cs_step_mount(struct cs_child *c, const struct cs_step *s, struct cs_err **err);
CS_MUST_CHECK int cs_step_bind(struct cs_child *c, const struct cs_step *s, struct cs_err **err);
CS_MUST_CHECK int cs_step_bind_beneath(struct cs_child *c, const struct cs_step *s, struct cs_err **err);
CS_MUST_CHECK int cs_step_layers(struct cs_child *c, const struct cs_step *s, struct cs_err **err);
/* A detached tree of what a LAYERS step means (root_linux.c). -1, or a descriptor. */
CS_MUST_CHECK int cs_layers_tree(const struct cs_step *s, struct cs_err **err);
CS_MUST_CHECK int cs_step_cgroup_mount(struct cs_child *c, const struct cs_step *s, struct cs_err **err);
CS_MUST_CHECK int cs_step_mask(struct cs_child *c, const char *path, struct cs_err **err);
CS_MUST_CHECK int cs_step_readonly(struct cs_child *c, const char *path, struct cs_err **err);
CS_MUST_CHECK int cs_step_device(struct cs_child *c, const struct cs_step *s, struct cs_err **err);
CS_MUST_CHECK int cs_step_symlink(struct cs_child *c, const struct cs_step *s, struct cs_err **err);
CS_MUST_CHECK int cs_step_console(struct cs_child *c, struct cs_err **err);
CS_MUST_CHECK int cs_child_open_pty(struct cs_child *c, struct cs_err **err);
CS_MUST_CHECK int cs_step_loopback(struct cs_child *c, struct cs_err **err);
CS_MUST_CHECK int cs_step_sysctl(struct cs_child *c, const struct cs_step *s, struct cs_err **err);
CS_MUST_CHECK int cs_step_rlimit(struct cs_child *c, const struct cs_step *s, struct cs_err **err);
CS_MUST_CHECK int cs_step_oom_score(struct cs_child *c, int proc, const char *value, struct cs_err **err);
CS_MUST_CHECK int cs_fs_options(int fsfd, const char *fstype, const char *opts, struct cs_err **err); /* "a=b,c" */
/* With what was made ahead: opens the overlay, the binds' sources and the rest of what lies on the host; puts a directory that
 * is ready in its place. */
CS_MUST_CHECK int cs_child_open_host(struct cs_child *c, struct cs_err **err);
CS_MUST_CHECK int cs_step_ready(struct cs_child *c, const struct cs_step *s, struct cs_err **err);
CS_MUST_CHECK int cs_child_empty_root(struct cs_child *c, struct cs_err **err);
/* A detached mount of each group, in the plan's order; up to CS_AHEAD_MAX_GROUPS. */
CS_MUST_CHECK int cs_cgroup_trees(const struct cs_plan *plan, int *ret, size_t *ret_n, struct cs_err **err);
/* A fresh detached mount; *ret is its descriptor. opts "a=b,c". */
CS_MUST_CHECK int cs_new_mount(const char *fstype, const char *source, const char *opts, unsigned attr, int *ret, struct cs_err **err);

/* Users: `root` is the container's root. */
CS_MUST_CHECK int cs_identity_resolve(int root, const struct cs_step *user, struct cs_identity *ret, struct cs_err **err);

/* Privileges, in three moves around the last things that need them (see program_linux.c). */
struct cs_capsets {
	uint64_t bounding, effective, permitted, inheritable, ambient;
};
CS_MUST_CHECK int cs_caps_bounding(const struct cs_capsets *caps, struct cs_err **err);
CS_MUST_CHECK int cs_become(const struct cs_identity *id, struct cs_err **err);
CS_MUST_CHECK int cs_caps_effective(uint64_t effective, struct cs_err **err); /* the rest of the permitted set stays for later */
CS_MUST_CHECK int cs_caps_final(const struct cs_capsets *caps, struct cs_err **err);
CS_MUST_CHECK int cs_no_new_privs(struct cs_err **err);
CS_MUST_CHECK int cs_load_seccomp(const struct cs_step *s, struct cs_err **err);

CS_MUST_CHECK int cs_make_cwd(struct cs_child *c, struct cs_err **err);
/* The last part of every set-up; returns only on failure. */
int cs_run_program(struct cs_child *c, struct cs_err **err);

/* Joins the v1 groups of the plan as the calling, single-threaded process: cheap, since no other task has to hold still. */
CS_MUST_CHECK int cs_cgroup_join_v1(const struct cs_plan *plan, struct cs_err **err);
/* Descriptor of the v2 group for CLONE_INTO_CGROUP; -ENOENT when the plan names none, else -errno. */
bool cs_cgroup_has_v2(const struct cs_plan *plan);
int cs_cgroup_v2_fd(const struct cs_plan *plan);
bool cs_cgroup_v2_dir(const struct cs_plan *plan, struct cs_step *ret);
CS_MUST_CHECK int cs_cgroup_device_program(const char *dir, const void *insns, size_t len, struct cs_err **err);
