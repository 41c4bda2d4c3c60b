/* SPDX-License-Identifier: Apache-2.0
 *
 * Identity and privileges of the child: groups, user, capabilities, no_new_privs, seccomp. Raw system calls: libc's setuid would
 * signal threads, and libcap and libseccomp are not in the worker. */
#include <grp.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>

#include "base/sys.h"
#include "compute/process/internal.h"

#ifndef PR_CAP_AMBIENT
#define PR_CAP_AMBIENT 47
#define PR_CAP_AMBIENT_RAISE 2
#define PR_CAP_AMBIENT_CLEAR_ALL 4
#endif

static int cap_get(uint64_t *eff, uint64_t *perm)
{
	struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct d[2];

	if (syscall(SYS_capget, &h, d) < 0)
		return -errno;
	*eff = d[0].effective | (uint64_t)d[1].effective << 32;
	*perm = d[0].permitted | (uint64_t)d[1].permitted << 32;
	return 0;
}

static int cap_set(uint64_t eff, uint64_t perm, uint64_t inh)
{
	struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct d[2] = {
		{(uint32_t)eff, (uint32_t)perm, (uint32_t)inh},
		{(uint32_t)(eff >> 32), (uint32_t)(perm >> 32), (uint32_t)(inh >> 32)},
	};
	return syscall(SYS_capset, &h, d) < 0 ? -errno : 0;
}

int cs_caps_bounding(const struct cs_capsets *caps, struct cs_err **err)
{
	for (unsigned cap = 0; cap < 64; cap++) {
		if (caps->bounding >> cap & 1)
			continue;
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0) {
			if (errno == EINVAL)
				break; /* beyond the kernel's last one */
			return cs_fail(err, CS_ERR_INTERNAL, errno, "drop capability %u from the bounding set", cap);
		}
	}
	return 0;
}

/* Keeps the permitted set across the change of user, so that seccomp can still be loaded. setgroups always runs: the worker's own
 * groups must not be inherited (CVE-2022-36109). */
int cs_become(const struct cs_identity *id, struct cs_err **err)
{
	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "keep capabilities");
	if (syscall(SYS_setgroups, id->n_groups, id->groups) < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "set groups");
	if (syscall(SYS_setresgid, id->gid, id->gid, id->gid) < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "set group %u", id->gid);
	if (syscall(SYS_setresuid, id->uid, id->uid, id->uid) < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "set user %u", id->uid);
	if (prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "reset keeping of capabilities");
	return 0;
}

int cs_caps_effective(uint64_t effective, struct cs_err **err)
{
	uint64_t eff = 0, perm = 0;
	int r = cap_get(&eff, &perm);

	if (r == 0)
		r = cap_set(effective & perm, perm, 0);
	return r < 0 ? cs_fail(err, CS_ERR_INTERNAL, -r, "set effective capabilities") : 0;
}

/* What the engine itself does not have is left out without a word: it cannot be given. */
int cs_caps_final(const struct cs_capsets *caps, struct cs_err **err)
{
	uint64_t eff = 0, have = 0;
	int r = cap_get(&eff, &have);

	if (r < 0)
		return cs_fail(err, CS_ERR_INTERNAL, -r, "read capabilities");
	uint64_t perm = caps->permitted & have, inh = caps->inheritable & have & caps->bounding;
	r = cap_set(caps->effective & perm, perm, inh);
	if (r < 0)
		return cs_fail(err, CS_ERR_INTERNAL, -r, "set capabilities");
	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	for (unsigned cap = 0; cap < 64; cap++)
		if ((caps->ambient & perm & inh) >> cap & 1 && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0) < 0)
			return cs_fail(err, CS_ERR_INTERNAL, errno, "raise ambient capability %u", cap);
	return 0;
}

int cs_no_new_privs(struct cs_err **err)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "set no_new_privs");
	return 0;
}

int cs_load_seccomp(const struct cs_step *s, struct cs_err **err)
{
	size_t n = s->arg[0].b.len / sizeof(struct sock_filter);
	struct sock_fprog prog = {.len = (unsigned short)n, .filter = (struct sock_filter *)(uintptr_t)s->arg[0].b.data};

	if (n == 0 || n > 4096 || n * sizeof(struct sock_filter) != s->arg[0].b.len)
		return cs_fail(err, CS_ERR_INVALID, 0, "seccomp filter of %u bytes", s->arg[0].b.len);
	int r = sys_seccomp(SECCOMP_SET_MODE_FILTER, (unsigned)s->arg[1].u, &prog);
	return r < 0 ? cs_fail(err, CS_ERR_INTERNAL, -r, "load seccomp filter") : 0;
}
