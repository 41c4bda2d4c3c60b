/* SPDX-License-Identifier: Apache-2.0
 *
 * System calls and constants that libc lacks or that differ between glibc and musl. Thin wrappers: they return the
 * result or -errno, and add close-on-exec where the kernel lets them. Linux only. */
#pragma once

#include <fcntl.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>

#include "base/macros.h"

/* Named lookup policies for paths that somebody else wrote. */
#define CS_RESOLVE_IN_ROOT (RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS) /* ".." and absolute links stay inside dirfd, as in a chroot */
#define CS_RESOLVE_BENEATH_NOLINKS (RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS) /* a plain name below dirfd */

int sys_openat2(int dirfd, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve);
int sys_clone3(struct clone_args *args, size_t size); /* pid, 0 in the child */
int sys_pidfd_open(pid_t pid, unsigned flags);
int sys_pidfd_send_signal(int pidfd, int sig);
int sys_close_range(unsigned first, unsigned last, unsigned flags);
int sys_memfd_create(const char *name, unsigned flags);
int sys_open_tree(int dirfd, const char *path, unsigned flags);
int sys_move_mount(int from_fd, const char *from, int to_fd, const char *to, unsigned flags);
int sys_mount_setattr(int fd, const char *path, unsigned flags, uint64_t set, uint64_t clr, uint64_t propagation);
int sys_fsopen(const char *fstype);
int sys_fsconfig(int fd, unsigned cmd, const char *key, const void *value, int aux);
int sys_fsmount(int fd, unsigned attr_flags);
int sys_mount_id(int dirfd, const char *path, uint64_t *ret); /* of the mount that path ("": dirfd itself) leads to; -ENOSYS before Linux 5.8 */
int sys_pivot_root(const char *new_root, const char *put_old);
int sys_chroot_here(void); /* the working directory becomes the root, too: reached by a descriptor, no path is resolved */
int sys_setns(int fd, int nstype);
int sys_seccomp(unsigned op, unsigned flags, const void *args);
int sys_mknodat(int dirfd, const char *path, mode_t mode, dev_t dev);

#ifndef OPEN_TREE_CLONE
#define OPEN_TREE_CLONE 1
#endif
#ifndef OPEN_TREE_CLOEXEC
#define OPEN_TREE_CLOEXEC O_CLOEXEC
#endif
#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif
#ifndef AT_EMPTY_PATH
#define AT_EMPTY_PATH 0x1000
#endif
#ifndef MOVE_MOUNT_F_EMPTY_PATH
#define MOVE_MOUNT_F_EMPTY_PATH 0x00000004
#endif
#ifndef MOVE_MOUNT_T_EMPTY_PATH
#define MOVE_MOUNT_T_EMPTY_PATH 0x00000040
#endif
#ifndef FSCONFIG_SET_STRING_
#define FSCONFIG_SET_STRING_
#define CS_FSCONFIG_SET_FLAG 0
#define CS_FSCONFIG_SET_STRING 1
#define CS_FSCONFIG_SET_FD 5
#define CS_FSCONFIG_CMD_CREATE 6
#endif
#define CS_MOUNT_ATTR_RDONLY 0x1
#define CS_MOUNT_ATTR_NOSUID 0x2
#define CS_MOUNT_ATTR_NODEV 0x4
#define CS_MOUNT_ATTR_NOEXEC 0x8
#define CS_MOUNT_ATTR__ATIME 0x70
#define CS_MOUNT_ATTR_RELATIME 0x0
#define CS_MOUNT_ATTR_NOATIME 0x10
#define CS_MOUNT_ATTR_STRICTATIME 0x20
#define CS_MOUNT_ATTR_NODIRATIME 0x80
#define CS_MOUNT_ATTR_NOSYMFOLLOW 0x00200000
#ifndef CLOSE_RANGE_UNSHARE
#define CLOSE_RANGE_UNSHARE 2
#endif
#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC 4
#endif
#ifndef MFD_CLOEXEC
#define MFD_CLOEXEC 1U
#endif
#ifndef MFD_ALLOW_SEALING
#define MFD_ALLOW_SEALING 2U
#endif
#ifndef MFD_EXEC
#define MFD_EXEC 0x10U
#endif
#ifndef F_ADD_SEALS
#define F_ADD_SEALS 1033
#define F_GET_SEALS 1034
#define F_SEAL_SEAL 1
#define F_SEAL_SHRINK 2
#define F_SEAL_GROW 4
#define F_SEAL_WRITE 8
#endif
