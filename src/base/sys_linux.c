/* SPDX-License-Identifier: Apache-2.0 */
#include "base/sys.h"

/* Not <sys/mount.h> with <linux/mount.h>: they clash on older libcs, and the structure is short. */
struct mount_attr_ {
	uint64_t attr_set, attr_clr, propagation, userns_fd;
};

static int ret(long r) { return r < 0 ? -errno : (int)r; }

int sys_openat2(int dirfd, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve)
{
	struct open_how how = {.flags = flags | O_CLOEXEC, .mode = mode, .resolve = resolve};
	long r;

	/* RESOLVE_IN_ROOT and RESOLVE_BENEATH answer EAGAIN when a rename raced with "..": try again, but not for ever */
	for (int i = 0; i < 128; i++) {
		r = syscall(SYS_openat2, dirfd, path, &how, sizeof(how));
		if (r >= 0 || (errno != EAGAIN && errno != EINTR))
			break;
	}
	return ret(r);
}

int sys_clone3(struct clone_args *args, size_t size) { return ret(syscall(SYS_clone3, args, size)); }
int sys_pidfd_open(pid_t pid, unsigned flags) { return ret(syscall(SYS_pidfd_open, pid, flags)); }
int sys_pidfd_send_signal(int pidfd, int sig) { return ret(syscall(SYS_pidfd_send_signal, pidfd, sig, NULL, 0)); }
int sys_close_range(unsigned first, unsigned last, unsigned flags)
{
	return ret(syscall(SYS_close_range, first, last, flags));
}
int sys_memfd_create(const char *name, unsigned flags) { return ret(syscall(SYS_memfd_create, name, flags | MFD_CLOEXEC)); }
int sys_open_tree(int dirfd, const char *path, unsigned flags)
{
	return ret(syscall(SYS_open_tree, dirfd, path, flags | OPEN_TREE_CLOEXEC));
}
int sys_move_mount(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
	return ret(syscall(SYS_move_mount, from_fd, from, to_fd, to, flags));
}
int sys_mount_setattr(int fd, const char *path, unsigned flags, uint64_t set, uint64_t clr, uint64_t propagation)
{
	struct mount_attr_ a = {.attr_set = set, .attr_clr = clr, .propagation = propagation};
	return ret(syscall(SYS_mount_setattr, fd, path, flags, &a, sizeof(a)));
}
int sys_fsopen(const char *fstype) { return ret(syscall(SYS_fsopen, fstype, 1u /* FSOPEN_CLOEXEC */)); }
int sys_fsconfig(int fd, unsigned cmd, const char *key, const void *value, int aux)
{
	return ret(syscall(SYS_fsconfig, fd, cmd, key, value, aux));
}
int sys_fsmount(int fd, unsigned attr_flags) { return ret(syscall(SYS_fsmount, fd, 1u /* FSMOUNT_CLOEXEC */, attr_flags)); }
/* statx(2), whose structure older C libraries lack */
int sys_mount_id(int dirfd, const char *path, uint64_t *ret)
{
	const unsigned want = 0x1000; /* STATX_MNT_ID */
	struct {
		uint32_t mask, pad[35];
		uint64_t mnt_id, rest[13];
	} st = {0};

	_Static_assert(offsetof(__typeof__(st), mnt_id) == 144 && sizeof(st) == 256, "struct statx");
	if (syscall(SYS_statx, dirfd, path, AT_EMPTY_PATH | AT_NO_AUTOMOUNT | AT_SYMLINK_NOFOLLOW, want, &st) < 0)
		return -errno;
	if (!(st.mask & want))
		return -ENOSYS;
	*ret = st.mnt_id;
	return 0;
}

int sys_pivot_root(const char *new_root, const char *put_old) { return ret(syscall(SYS_pivot_root, new_root, put_old)); }
int sys_chroot_here(void) { return syscall(SYS_chroot, ".") < 0 ? -errno : 0; }
int sys_setns(int fd, int nstype) { return ret(syscall(SYS_setns, fd, nstype)); }
int sys_seccomp(unsigned op, unsigned flags, const void *args) { return ret(syscall(SYS_seccomp, op, flags, args)); }
int sys_mknodat(int dirfd, const char *path, mode_t mode, dev_t dev) { return ret(mknodat(dirfd, path, mode, dev)); }
