/* SPDX-License-Identifier: Apache-2.0
 *
 * Whole reads and writes, small files, descriptors over sockets. Returns 0/n or -errno (thin layer). */
#pragma once

#include <stdatomic.h>
#include <sys/types.h>

#include "base/macros.h"

struct cs_str;

ssize_t cs_read_full(int fd, void *buf, size_t len);        /* bytes read (short only at end of file) or -errno */
int cs_write_full(int fd, const void *buf, size_t len);     /* 0 or -errno; retries EINTR and short writes */
int cs_pwrite_full(int fd, const void *buf, size_t len, int64_t off);
/* Appends the whole file to s; -EFBIG when it is longer than s allows. */
int cs_read_fd(int fd, struct cs_str *s);
int cs_read_file_at(int dirfd, const char *path, struct cs_str *s);
int cs_write_file_at(int dirfd, const char *path, const void *data, size_t len); /* existing file (cgroup, proc): open, one write */
/* New content by temporary file and rename; durable (fsync of file and directory) if sync. mode for a new file. */
int cs_replace_file_at(int dirfd, const char *path, const void *data, size_t len, unsigned mode, bool sync);
/* mkdir -p below dirfd with plain names (our own directories, not foreign trees). 0 or -errno. */
int cs_mkdir_p(int dirfd, const char *path, unsigned mode);
/* Removes a tree without following links and without leaving its file system; ENOENT is success. */
int cs_remove_tree_at(int dirfd, const char *path);
/* The same until *stop is set (by another thread): then -ECANCELED, soon, with some of the tree left. */
int cs_remove_tree_until(int dirfd, const char *path, const atomic_bool *stop);

/* One message with up to CS_MAX_FDS descriptors. */
#define CS_MAX_FDS 16
ssize_t cs_send_fds(int sock, const void *buf, size_t len, const int *fds, size_t n_fds, int flags);
/* Received descriptors are close-on-exec; surplus ones are closed. *n_fds: in capacity of fds, out count. Returns bytes,
 * 0 at end, or -errno; -EMSGSIZE when the message was truncated. */
ssize_t cs_recv_fds(int sock, void *buf, size_t len, int *fds, size_t *n_fds, int flags);
