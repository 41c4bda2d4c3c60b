/* SPDX-License-Identifier: Apache-2.0
 *
 * The last part of every set-up: stdio, identity, working directory, privileges, exec. The order, and what breaks otherwise:
 *   1. descriptors from 3 on are close-on-exec, before a working directory is chosen (CVE-2024-21626)
 *   2. terminal and owners of stdio: fchown needs root
 *   3. working directory as root (a user may be given one that he could not reach), again as the user where root may not (NFS)
 *   4. bounding set: needs CAP_SETPCAP, so before the change of user
 *   5. user and groups, permitted capabilities kept; effective ones as they will be, so that 6 sees the user's real rights
 *   6. parent-death signal (a change of credentials clears it), umask, look-up of the program
 *   7. without no_new_privs seccomp needs CAP_SYS_ADMIN: load, then the final capabilities. With it: final capabilities, no_new_privs,
 *      and the filter last of all, so that it need not allow what comes before
 *   8. exec; what goes wrong from here on is still told through the socket */
#include <grp.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>

#include "base/path.h"
#include "base/sys.h"
#include "compute/process/internal.h"

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define KEYCTL_JOIN_SESSION_KEYRING_ 1

static const char *env_get(const char **env, const char *name)
{
	size_t n = strlen(name);

	for (; *env; env++)
		if (strncmp(*env, name, n) == 0 && (*env)[n] == '=')
			return *env + n + 1;
	return NULL;
}

/* The program's environment, with HOME from the user database when the plan gives none. */
static const char **make_env(struct cs_child *c, const char *home)
{
	static const union cs_plan_arg none;
	const union cs_plan_arg *v = c->env.op == CS_PLAN_ENV ? &c->env.arg[0] : &none;
	const char **env = cs_plan_strv(v);

	if (env_get(env, "HOME"))
		return env;
	env = cs_xreallocarray(env, (size_t)v->v.n + 2, sizeof(*env));
	env[v->v.n] = cs_xasprintf("HOME=%s", home);
	env[v->v.n + 1] = NULL;
	return env;
}

static int set_terminal(struct cs_child *c, const struct cs_identity *id, struct cs_err **err)
{
	if (cs_child_open_pty(c, err) < 0)
		return -1;
	if (fchown(c->pty_slave, id->uid, (gid_t)-1) < 0 || fchmod(c->pty_slave, 0620) < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "give the terminal its owner");
	for (int i = 0; i < 3; i++)
		if (dup2(c->pty_slave, i) < 0)
			return cs_fail(err, CS_ERR_INTERNAL, errno, "put the terminal on descriptor %d", i);
	cs_close(TAKE_FD(c->pty_slave));
	if (ioctl(0, TIOCSCTTY, 0) < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "make the terminal the controlling one");
	return 0;
}

/* Programs reopen /dev/stdout: pipes and sockets made by the worker belong to the user then. Devices and files keep their owner. */
static void own_stdio(const struct cs_identity *id)
{
	struct stat st;

	for (int i = 0; i < 3; i++)
		if (fstat(i, &st) == 0 && st.st_uid != id->uid && (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode)) &&
		    fchown(i, id->uid, (gid_t)-1) < 0)
			continue; /* reopening then fails for the program, everything else works */
}

static int fail_cwd(const char *cwd, int e, struct cs_err **err)
{
	enum cs_code code = e == ENOENT || e == ENOTDIR ? CS_ERR_EXEC_NOT_FOUND : e == EACCES || e == EPERM ? CS_ERR_EXEC_DENIED : CS_ERR_INVALID;

	return cs_fail(err, code, 0, "chdir to cwd (\"%s\") set in config.json failed: %s", cwd, cs_go_errno(e));
}

int cs_make_cwd(struct cs_child *c, struct cs_err **err)
{
	if (!c->have_cwd || !c->cwd.arg[1].u || c->is_exec) /* only a start makes it */
		return 0;
	cs_autofd int fd = cs_mkdir_in_root(c->root, c->cwd.arg[0].s, 0755, 0, 0);
	if (fd < 0)
		return fd == -EROFS ? 0 : fail_cwd(c->cwd.arg[0].s, -fd, err); /* read-only: the chdir tells whether it exists */
	return 0;
}

/* 0, or -errno. No magic links: /proc/self/fd/N leads nowhere. */
static int enter_cwd(struct cs_child *c)
{
	const char *cwd = c->have_cwd && *c->cwd.arg[0].s ? c->cwd.arg[0].s : "/";
	cs_autofd int fd = cs_open_in_root(c->root, cwd, O_PATH | O_DIRECTORY, 0);

	if (fd < 0)
		return fd;
	return fchdir(fd) < 0 ? -errno : 0;
}

/* A directory outside of the root has no absolute name ("(unreachable)..."). */
static int check_cwd(struct cs_err **err)
{
	char buf[4096];
	long n = syscall(SYS_getcwd, buf, sizeof(buf));

	if ((n < 0 && errno != ENAMETOOLONG && errno != ERANGE) || (n > 0 && buf[0] != '/'))
		return cs_fail(err, CS_ERR_EXEC_DENIED, 0, "current working directory is outside of container mount namespace root");
	return 0;
}

/* 0 and *ret when `path` may be executed by the caller, else an errno, as Go's exec.LookPath decides. */
static int check_executable(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return errno;
	if (S_ISDIR(st.st_mode))
		return EISDIR;
	if (syscall(SYS_faccessat2, AT_FDCWD, path, X_OK, AT_EACCESS) < 0) {
		if (errno != ENOSYS && errno != EPERM)
			return errno;
		return st.st_mode & 0111 ? 0 : EACCES;
	}
	return 0;
}

static int find_program(const char *name, const char *path, char **ret, struct cs_err **err)
{
	if (strchr(name, '/')) {
		int e = check_executable(name);
		if (e == 0) {
			*ret = cs_xstrdup(name);
			return 0;
		}
		if (e == EISDIR)
			return cs_fail(err, CS_ERR_EXEC_DENIED, 0, "exec: \"%s\": is a directory: permission denied", name);
		if (e == EACCES)
			return cs_fail(err, CS_ERR_EXEC_DENIED, 0, "exec: \"%s\": permission denied", name);
		return cs_fail(err, CS_ERR_EXEC_NOT_FOUND, 0, "exec: \"%s\": stat %s: %s", name, name, cs_go_errno(e));
	}
	for (const char *p = path; *name && *p;) {
		size_t n = strcspn(p, ":");
		/* an entry that is empty or relative would run whatever lies in the working directory */
		if (*p == '/') {
			char *full = cs_xasprintf("%.*s/%s", (int)n, p, name);
			if (check_executable(full) == 0) {
				*ret = full;
				return 0;
			}
			free(full);
		}
		p += n + (p[n] == ':');
	}
	return cs_fail(err, CS_ERR_EXEC_NOT_FOUND, 0, "exec: \"%s\": executable file not found in $PATH", name);
}

/* The engine must not be outlived; and if it has gone before the request took effect, the socket shows it. */
static int follow_parent(struct cs_child *c, struct cs_err **err)
{
	struct pollfd p = {.fd = c->sock};

	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "set parent-death signal");
	if (poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLERR)))
		_exit(125);
	return 0;
}

static int restrict_privileges(struct cs_child *c, const struct cs_capsets *caps, bool root, struct cs_err **err)
{
	if (c->no_new_privs || !c->have_seccomp) {
		if (c->have_caps && cs_caps_final(caps, err) < 0)
			return -1;
		if (c->no_new_privs && cs_no_new_privs(err) < 0)
			return -1;
		return c->have_seccomp ? cs_load_seccomp(&c->seccomp, err) : 0;
	}
	if ((c->have_caps || !root) && cs_caps_effective(caps->effective | 1ull << CAP_SYS_ADMIN, err) < 0)
		return -1;
	if (cs_load_seccomp(&c->seccomp, err) < 0)
		return -1;
	return cs_caps_final(caps, err);
}

static int execute(struct cs_child *c, const char *program, const char **argv, const char **env, struct cs_err **err)
{
	cs_child_executing(c);
	if (c->init && c->self_exe >= 0) {
		size_t n = 0;
		while (argv[n])
			n++;
		const char **v = cs_xreallocarray(NULL, n + 3, sizeof(*v));
		v[0] = "caisson-init";
		v[1] = program;
		memcpy(v + 2, argv, (n + 1) * sizeof(*v));
		(void)syscall(SYS_execveat, c->self_exe, "", v, env, AT_EMPTY_PATH);
		return cs_fail(err, CS_ERR_INTERNAL, errno, "execute the built-in init");
	}
	(void)execve(program, (char *const *)(uintptr_t)argv, (char *const *)(uintptr_t)env);
	int e = errno;
	enum cs_code code = e == ENOENT || e == ENOTDIR || e == ELOOP ? CS_ERR_EXEC_NOT_FOUND : CS_ERR_EXEC_DENIED;
	return cs_fail(err, code, 0, "exec %s: %s", program, cs_go_errno(e));
}

int cs_run_program(struct cs_child *c, struct cs_err **err)
{
	/* without CAPS (privileged plans name them all; this is for hand-made ones) everything stays as it is */
	struct cs_capsets caps = {~0ull, ~0ull, ~0ull, 0, 0};
	struct cs_identity id;
	char *program = NULL;

	if (c->have_caps)
		caps = (struct cs_capsets){c->caps.arg[0].u, c->caps.arg[1].u, c->caps.arg[2].u, c->caps.arg[3].u, c->caps.arg[4].u};
	if (c->init && c->self_exe < 0)
		return cs_fail(err, CS_ERR_INTERNAL, 0, "the built-in init is not available");
	int r = sys_close_range(3, ~0u, CLOSE_RANGE_CLOEXEC);
	if (r < 0)
		return cs_fail(err, CS_ERR_INTERNAL, -r, "mark descriptors close-on-exec");
	if (setsid() < 0 && errno != EPERM)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "start a session");
	/* a keyring of its own: else keys of the host's session could be found */
	(void)syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING_, NULL);
	if (cs_identity_resolve(c->root, c->have_user ? &c->user : NULL, &id, err) < 0)
		return -1;
	const char **env = make_env(c, id.home), **argv = cs_plan_strv(&c->args.arg[0]);
	if (c->tty) {
		if (set_terminal(c, &id, err) < 0)
			return -1;
	} else {
		own_stdio(&id);
	}
	if (cs_make_cwd(c, err) < 0)
		return -1;
	int cwd = enter_cwd(c);
	if (cs_caps_bounding(&caps, err) < 0 || cs_become(&id, err) < 0 || cs_caps_effective(c->have_caps ? caps.effective : id.uid ? 0 : ~0ull, err) < 0)
		return -1;
	if (cwd == -EACCES || cwd == -EPERM)
		cwd = enter_cwd(c);
	if (cwd < 0)
		return fail_cwd(c->have_cwd ? c->cwd.arg[0].s : "/", -cwd, err);
	if (check_cwd(err) < 0 || follow_parent(c, err) < 0)
		return -1;
	(void)umask(c->umask & 0777);
	const char *path = env_get(env, "PATH");
	if (find_program(argv[0], path ? path : DEFAULT_PATH, &program, err) < 0)
		return -1;
	if (!c->have_caps && id.uid)
		caps.effective = caps.permitted = 0;
	c->have_caps = c->have_caps || id.uid;
	cs_child_await_caller(c);
	/* here, since a profile need not allow a thread to be waited for */
	if (cs_pivot_settle(err) < 0 || restrict_privileges(c, &caps, id.uid == 0, err) < 0)
		return -1;
	return execute(c, program, argv, env, err);
}
