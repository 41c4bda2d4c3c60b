/* SPDX-License-Identifier: Apache-2.0
 *
 * caisson system dial-stdio: joins standard input and output with the engine's socket. The other end of ssh:// runs this. */
#include <poll.h>
#include <sys/socket.h>

#include "base/io.h"
#include "cli/cli.h"
#include "cli/endpoint.h"

/* One way: what can be read from `from` goes to `to`. 1 to go on, 0 at the end, -errno. */
static int move(int from, int to, char *buf, size_t size)
{
	ssize_t n = read(from, buf, size);

	if (n < 0)
		return errno == EINTR || errno == EAGAIN ? 1 : -errno;
	if (n == 0)
		return 0;
	int e = cs_write_full(to, buf, (size_t)n);
	return e < 0 ? e : 1;
}

static int cmd_dial_stdio(struct call *c)
{
	struct cs_err *err = NULL;
	cs_autofd int fd = endpoint_dial(&err);
	bool in = true;
	char buf[32768];

	if (fd < 0)
		return cli_error(err, 1);
	for (;;) {
		struct pollfd p[2] = {{.fd = fd, .events = POLLIN}, {.fd = in ? 0 : -1, .events = POLLIN}};
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			return cli_fail(1, "poll: %s", cs_errno_text(errno));
		if (p[0].revents) {
			int r = move(fd, 1, buf, sizeof(buf));
			if (r <= 0)
				return r == 0 || r == -ECONNRESET || r == -EPIPE ? 0 : cli_fail(1, "copy to standard output: %s", cs_errno_text(-r));
		}
		if (p[1].revents && move(0, fd, buf, sizeof(buf)) <= 0) {
			in = false;
			(void)shutdown(fd, SHUT_WR);
		}
	}
}

const struct command dial_commands[] = {
	{.names = "system dial-stdio", .usage = "", .help = "Proxy the stdio stream to the daemon connection. Should not be invoked manually.", .flags = CMD_HIDDEN,
	 .max = 0, .run = cmd_dial_stdio},
	CMD_END,
};
