/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/session.h"

#include "base/json.h"

#include "cli/cli.h"
#include "cli/config.h"
#include "cli/stream.h"

static void resize(void *ctx, unsigned rows, unsigned cols)
{
	const struct session *s = ctx;
	cs_autofree char *path = cs_xasprintf("%s/resize?h=%u&w=%u", s->base, rows, cols);

	(void)client_json("POST", path, NULL, NULL, NULL); /* the process may have ended meanwhile */
}

static void pass_signal(void *ctx, int sig)
{
	const struct session *s = ctx;
	cs_autofree char *path = cs_xasprintf("%s/kill?signal=%d", s->base, sig);

	(void)client_json("POST", path, NULL, NULL, NULL);
}

int session_pump(const struct session *s, struct reply *stream, struct cs_err **err)
{
	struct session mine = *s;
	const struct stream_hooks hooks = {resize, s->proxy ? pass_signal : NULL, &mine};

	return stream_pump(stream, s->in, s->tty, &hooks, err);
}

int session_start_status(const struct cs_err *err)
{
	static const char *const not_found[] = {"executable file not found", "no such file or directory", "system cannot find the file specified"};
	static const char *const not_usable[] = {"permission denied", "is a directory", "exec format error", "not a directory"};
	cs_autofree char *text = cs_err_text(err);

	for (size_t i = 0; i < CS_ARRAY_SIZE(not_found); i++)
		if (strstr(text, not_found[i]))
			return 127;
	for (size_t i = 0; i < CS_ARRAY_SIZE(not_usable); i++)
		if (strstr(text, not_usable[i]))
			return 126;
	return 125;
}

int session_exit_code(struct reply *wait, struct cs_err **err)
{
	cs_autofree char *line = reply_line(wait, err);
	cs_autojson json_t *j = line ? json_loads(line, 0, NULL) : NULL;

	if (!j)
		return err && *err ? -1 : cs_fail(err, CS_ERR_UNAVAILABLE, 0, "the engine went away while waiting for the exit code");
	const char *why = jstr(json_object_get(j, "Error"), "Message");
	if (*why)
		return cs_fail(err, CS_ERR_INTERNAL, 0, "%s", why);
	return (int)jint(j, "StatusCode");
}

bool session_needs_terminal(bool in, bool tty) { return in && tty && !isatty(0); }

const char *session_detach_keys(const char *given) { return given ? given : config_str("detachKeys"); }
