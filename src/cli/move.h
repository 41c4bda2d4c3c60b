/* SPDX-License-Identifier: Apache-2.0
 *
 * Bytes from one descriptor to another that the kernel moves by itself, without a copy through our memory. Who has no such calls answers -ENOSYS
 * (move_linux.c has Linux'), and the bytes go through a buffer. */
#pragma once

#include <sys/types.h>

/* At most max bytes of a file or pipe to a socket. Their number, 0 at the end, or -errno: -EAGAIN when a pipe is empty, or the socket full and
 * O_NONBLOCK; -EINVAL and others when these two cannot be joined (nothing is lost then). */
ssize_t move_to_socket(int from, int sock, size_t max);
/* At most max bytes of a socket to a pipe, as above; never waits. */
ssize_t move_to_pipe(int sock, int to, size_t max);
