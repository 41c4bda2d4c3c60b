/* SPDX-License-Identifier: Apache-2.0
 *
 * caisson system dial-stdio: joins standard input and output with the engine's socket. The other end of ssh:// runs this. */
#include <pthread.h>
#include <sys/socket.h>

#include "base/io.h"
#include "cli/cli.h"
#include "cli/endpoint.h"

#define BLOCK 32768

/* Standard input to the engine: a thread of its own, since either direction may stand still until the other one has moved. What the engine does not want to
 * hear is no error: its answer says why. */
static void *to_engine(void *arg)
{
	const int fd = *(const int *)arg;
	char buf[BLOCK];
	ssize_t n;

	while ((n = read(0, buf, sizeof(buf))) != 0) {
		if (n < 0 && errno != EINTR && errno != EAGAIN)
			break;
		for (ssize_t sent = 0, s; sent < n; sent += s > 0 ? s : 0)
			if ((s = send(fd, buf + sent, (size_t)(n - sent), MSG_NOSIGNAL)) < 0 && errno != EINTR)
				return NULL;
	}
	(void)shutdown(fd, SHUT_WR);
	return NULL;
}

static int cmd_dial_stdio(struct call *c)
{
	static int fd; /* the thread's, too, which may outlive us */
	struct cs_err *err = NULL;
	pthread_t thread;
	char buf[BLOCK];
	ssize_t n;

	fd = endpoint_dial(&err);
	if (fd < 0)
		return cli_error(err, 1);
	int e = pthread_create(&thread, NULL, to_engine, &fd);
	if (e)
		return cli_fail(1, "start a thread: %s", cs_errno_text(e));
	(void)pthread_detach(thread);
	while ((n = read(fd, buf, sizeof(buf))) != 0) {
		if (n < 0 && errno != EINTR)
			return errno == ECONNRESET ? 0 : cli_fail(1, "read from the engine: %s", cs_errno_text(errno));
		e = n > 0 ? cs_write_full(1, buf, (size_t)n) : 0;
		if (e < 0)
			return e == -EPIPE ? 0 : cli_fail(1, "copy to standard output: %s", cs_errno_text(-e));
	}
	return 0; /* and with it the thread: nothing that is still said would be heard */
}

const struct command dial_commands[] = {
	{.names = "system dial-stdio", .usage = "", .help = "Proxy the stdio stream to the daemon connection. Should not be invoked manually.", .flags = CMD_HIDDEN,
	 .max = 0, .run = cmd_dial_stdio},
	CMD_END,
};
