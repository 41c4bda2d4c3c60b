/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/create.h"

/* Both show --help among the others, as Docker does: -h is the host name there. */
#define HELP_FLAG {.name = "help", .help = "Print usage", .kind = FLAG_BOOL, .off = NO_MEMBER}

/* clang-format off */
const struct flag run_flags[] = {
#define DOING "running"
#include "cli/create_flags.h"
	FLAG(struct run_opts, detach, "detach", 'd', "Run container in background and print container ID"),
	FLAG(struct run_opts, detach_keys, "detach-keys", 0, "Override the key sequence for detaching a container"),
	FLAG(struct run_opts, sig_proxy, "sig-proxy", 0, "Proxy received signals to the process", .def = "true"),
	HELP_FLAG,
	FLAG_END,
};

const struct flag create_flags[] = {
#undef DOING
#define DOING "creating"
#include "cli/create_flags.h"
	HELP_FLAG,
	FLAG_END,
};
