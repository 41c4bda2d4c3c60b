/* SPDX-License-Identifier: Apache-2.0
 *
 * A plan: the flat, ordered list of typed steps that the compute library compiles a document into and that the static worker
 * applies. It travels in a sealed memfd, is mapped read-only, and needs no JSON and no allocation to walk. The worker accepts
 * this closed list of steps and nothing else. One table (CS_PLAN_OPS) defines each step's name and argument types:
 *   s string   u uint64   v vector of strings   b bytes
 * A start plan holds the supervision steps first, then the child's steps in the order in which they are applied; an exec plan
 * holds the subset marked (x). Tests compare plans as text (cs_plan_dump). */
#pragma once

#include "base/error.h"
#include "base/str.h"

/* clang-format off */
#define CS_PLAN_OPS(X)                                                                                                  \
	/* --- supervision: applied by the worker itself --- */                                                         \
	X(ID,             "s")      /* (x) container id; exec: exec id */                                               \
	X(STDIO,          "uuuuu")  /* (x) tty, open_stdin, stdin_once, rows, cols (0 0 = unset) */                     \
	X(DETACH_KEYS,    "b")      /* (x) default detach sequence */                                                   \
	X(LOG,            "ssuuus") /* driver, path, max_size (0 = never rotate), max_file, compress, attrs JSON or "" */ \
	X(CGROUP,         "ssu")    /* controllers ("memory", "cpu,cpuacct", "" for v2), absolute directory of the group, version 1|2; \
	                               created with parents before the clone, removed after the last exit */            \
	X(CGROUP_SET,     "ssu")    /* absolute file, value, required (0: failing is a warning; 2: if there is such a file) */ \
	X(CLONE,          "u")      /* CLONE_NEW* flags for init */                                                     \
	X(SETNS,          "us")     /* CLONE_NEW* type, path: joined by the child before anything else (pid: by the parent) */ \
	X(INIT,           "")       /* the worker's own init becomes pid 1 and starts ARGS */                           \
	/* --- child, before pivot_root --- */                                                                          \
	X(ROOT_PROPAGATION,"u")     /* MS_PRIVATE | MS_SLAVE | MS_SHARED (| MS_REC) of the container's root */          \
	X(OVERLAY,        "svssss") /* directory to resolve short layer names in, lowers (top first), upper, work, mount point, extra options */ \
	X(MOUNT,          "sssusu") /* fstype, source, target, CS_MOUNT_ATTR_* set, fs options "a=b,c", propagation (0 = none) */ \
	X(BIND,           "ssuuuu") /* host source, target, 1 = recursive, attr set, 1 = attrs apply recursively, propagation */ \
	X(CGROUP_MOUNT,   "su")     /* target, read-only */                                                             \
	X(DEVICE,         "suuuuuu")/* path, S_IFCHR|S_IFBLK|S_IFIFO, major, minor, permissions, uid, gid */            \
	X(SYMLINK,        "ss")     /* content, path */                                                                 \
	X(CONSOLE,        "")       /* bind the terminal over /dev/console (only with a tty) */                         \
	X(MASK,           "s")      /* hide a path: empty read-only tmpfs over a directory, null device over a file; absent is fine */ \
	X(READONLY,       "s")      /* read-only bind of itself; absent is fine */                                      \
	X(PIVOT,          "")       /* enter the new root, detach the old one */                                        \
	/* --- child, inside its root --- */                                                                            \
	X(ROOT_READONLY,  "")                                                                                           \
	X(HOSTNAME,       "s")                                                                                          \
	X(DOMAINNAME,     "s")                                                                                          \
	X(LOOPBACK,       "")       /* bring lo up (own network namespace) */                                           \
	X(SYSCTL,         "ss")     /* key with dots or slashes, value */                                               \
	/* --- process --- */                                                                                           \
	X(RLIMIT,         "uuu")    /* (x) resource, soft, hard */                                                      \
	X(OOM_SCORE,      "s")      /* (x) oom_score_adj */                                                             \
	X(USER,           "suuvv")  /* (x) Docker's user[:group] text or "" ; uid, gid when the text is ""; additional gids; additional group names */ \
	X(CAPS,           "uuuuu")  /* (x) bounding, effective, permitted, inheritable, ambient bit masks */            \
	X(NO_NEW_PRIVS,   "")       /* (x) */                                                                           \
	X(SECCOMP,        "bu")     /* (x) struct sock_filter[], SECCOMP_FILTER_FLAG_* */                               \
	X(UMASK,          "u")      /* (x) */                                                                           \
	X(CWD,            "su")     /* (x) working directory inside the root; 1 = make it if missing */                 \
	X(ENV,            "v")      /* (x) */                                                                           \
	X(ARGS,           "v")      /* (x) argv; argv[0] is looked up in ENV's PATH */                                  \
	/* --- appended: a step's number must not change, an engine sends exec plans to workers of its predecessor --- */ \
	X(CGROUP_DEVICE_BPF, "sb")  /* v2 group, struct bpf_insn[]: device access program, attached by the worker (follows CGROUP_SET) */ \
	X(BIND_BENEATH, "ssssuuuu") /* mount namespace ("" = the host's), directory in it, path that must stay below that directory, then as BIND \
	                               from its target on; not shared */                                               \
	X(LAYERS,       "svssssss") /* the files of an image, read-only: as OVERLAY, but "" and "" for upper and work, and a mount point that is only used \
	                               on the way; then a path that must stay inside ("" = all of it), target */
/* clang-format on */

enum cs_plan_op {
	CS_PLAN_NONE = 0x40, /* a stray 0 or 1 never passes for a step */
#define X(name, sig) CS_PLAN_##name,
	CS_PLAN_OPS(X)
#undef X
	CS_PLAN_MAX
};

#define CS_CGROUP_SET_IF_THERE 2 /* CGROUP_SET: a file that this kernel does not have is passed over */
#define CS_PLAN_MAX_ARGS 8
#define CS_PLAN_MAX_SIZE (16u << 20)

union cs_plan_arg {
	const char *s; /* NUL-terminated, borrowed from the plan */
	uint64_t u;
	struct {
		const char *first; /* n strings, one after another, each NUL-terminated */
		uint32_t n;
	} v;
	struct {
		const void *data; /* 8-byte aligned */
		uint32_t len;
	} b;
};
struct cs_step {
	enum cs_plan_op op;
	union cs_plan_arg arg[CS_PLAN_MAX_ARGS];
};
struct cs_plan { /* a mapped or built plan; read side */
	const char *data;
	size_t len;
};
struct cs_plan_cursor {
	const struct cs_plan *plan;
	size_t pos, last; /* behind the step that was read, and its beginning */
};

/* Build side. Arguments follow the signature: s const char *, u uint64_t (cast!), v char *const * (NULL = empty),
 * b const void * then size_t. Failure (too large) is sticky in the buffer. */
void cs_plan_add(struct cs_str *plan, enum cs_plan_op op, ...);
/* Adds the step that cs_plan_next has just read, as it stands. */
void cs_plan_add_step(struct cs_str *plan, const struct cs_plan_cursor *c);
/* Sealed memfd holding the plan. */
CS_MUST_CHECK int cs_plan_to_memfd(const struct cs_str *plan, int *ret_fd, struct cs_err **err);

/* Read side: validates as it goes; -EBADMSG for a malformed plan, 1 for a step, 0 at the end. */
int cs_plan_map(int fd, struct cs_plan *ret); /* mmap, read-only, private; 0 or -errno */
void cs_plan_unmap(struct cs_plan *p);
int cs_plan_next(struct cs_plan_cursor *c, struct cs_step *step);
/* First step with that op; 1 found, 0 not, -EBADMSG. */
int cs_plan_find(const struct cs_plan *p, enum cs_plan_op op, struct cs_step *step);
/* Allocates a NULL-terminated vector pointing into the plan (free() the vector only). */
const char **cs_plan_strv(const union cs_plan_arg *arg);
/* One line per step: `MOUNT proc proc /proc 0xe "" 0`. */
void cs_plan_dump(const struct cs_plan *p, struct cs_str *out);
