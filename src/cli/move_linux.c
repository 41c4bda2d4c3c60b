/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/move.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/sendfile.h>

ssize_t move_to_socket(int from, int sock, size_t max)
{
	ssize_t n = splice(from, NULL, sock, NULL, max, SPLICE_F_NONBLOCK);

	if (n < 0 && errno == EINVAL) /* neither is a pipe */
		n = sendfile(sock, from, NULL, max);
	return n < 0 ? -errno : n;
}

ssize_t move_to_pipe(int sock, int to, size_t max)
{
	/* without the flag it would wait for the socket with the pipe locked: nobody could read what is in the pipe already */
	ssize_t n = splice(sock, NULL, to, NULL, max, SPLICE_F_NONBLOCK);

	return n < 0 ? -errno : n;
}
