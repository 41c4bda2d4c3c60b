/* SPDX-License-Identifier: Apache-2.0
 * The client: a command line ('f' and words, one per line, over run's flags) and config.json ('c' and its text, with its credentials decoded). */
#include "base/base64.h"
#include "base/str.h"
#include "base/strv.h"
#include "cli/auth.h"
#include "cli/cli.h"
#include "cli/config.h"
#include "cli/run_opts.h"

static void fuzz_flags(const char *text)
{
	static const struct command run = {.names = "run", .flags = CMD_STOP, CMD_OPTS(struct run_opts, run_flags)};
	struct call c = {.cmd = &run, .path = "run"};
	cs_autostrv char **argv = cs_strv_split(text, '\n'), **borrowed = NULL;
	size_t n = cs_strv_len(argv);

	/* the parser reorders; the words stay owned by argv */
	borrowed = cs_xcalloc(n + 1, sizeof(char *));
	memcpy(borrowed, argv, n * sizeof(char *));
	if (flags_parse(&c, borrowed) == 0 && c.n_args > n)
		abort();
	flags_done(&c);
	memset(borrowed, 0, (n + 1) * sizeof(char *));
}

static void fuzz_config(const char *text, size_t len)
{
	const char *why = NULL, *key;
	json_t *j = config_parse(text, len, &why), *v;

	if (!j && !why)
		abort();
	json_object_foreach(json_object_get(j, "auths"), key, v)
	{
		size_t n = 0;
		cs_autofree char *pair = cs_base64_decode(jstr(v, "auth"), &n), *server = auth_server(key);
		cs_autofree char *again = pair ? cs_base64_encode(pair, n, false) : NULL, *twice = again ? cs_base64_decode(again, &n) : NULL;
		if (pair && (!twice || memcmp(pair, twice, n) != 0))
			abort();
	}
	json_decref(j);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool quiet;
	cs_autofree char *text = size ? cs_xstrndup((const char *)data + 1, size - 1) : NULL;

	if (!quiet)
		quiet = freopen("/dev/null", "w", stderr) != NULL;
	if (size && data[0] == 'f')
		fuzz_flags(text);
	else if (size)
		fuzz_config((const char *)data + 1, size - 1);
	return 0;
}
