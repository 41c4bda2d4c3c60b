/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/session.h"

#include "base/json.h"

#include "cli/cli.h"
#include "cli/config.h"
#include "cli/signals.h"
#include "cli/stream.h"

char *container_path(const char *operand, struct cs_err **err)
{
	operand += strspn(operand, "/");
	if (!*operand) {
		(void)cs_fail(err, CS_ERR_INVALID, 0, "invalid container name or ID: value is empty");
		return NULL;
	}
	cs_autofree char *name = url_encode(operand);
	return cs_xasprintf("/containers/%s", name);
}

size_t detach_keys_parse(const char *text, unsigned char keys[DETACH_KEYS_MAX])
{
	cs_autostrv char **words = cs_strv_split(text, ',');
	size_t n = 0;

	for (char **w = words; w && *w; w++) {
		const char *letter = cs_prefix(*w, "ctrl-");
		if (n == DETACH_KEYS_MAX)
			return 0;
		if (strlen(*w) == 1)
			keys[n++] = (unsigned char)**w;
		else if (letter && strlen(letter) == 1 && ((*letter >= 'a' && *letter <= 'z') || strchr("@[\\]^_", *letter)))
			keys[n++] = (unsigned char)(*letter & 31);
		else
			return 0;
	}
	return n;
}

void session_resize(const struct session *s, unsigned rows, unsigned cols)
{
	cs_autofree char *path = cs_xasprintf("%s/resize?h=%u&w=%u", s->base, rows, cols);

	(void)client_json("POST", path, NULL, NULL, NULL); /* the process may have ended meanwhile */
}

static void resize(void *ctx, unsigned rows, unsigned cols) { session_resize(ctx, rows, cols); }

static void pass_signal(void *ctx, int sig)
{
	const struct session *s = ctx;
	const char *name = signals_name(sig);
	cs_autofree char *path = name ? cs_xasprintf("%s/kill?signal=%s", s->base, name) : cs_xasprintf("%s/kill?signal=%d", s->base, sig);

	(void)client_json("POST", path, NULL, NULL, NULL);
}

int session_pump(struct session *s, struct reply *stream, struct cs_err **err)
{
	const struct stream_hooks hooks = {resize, s->proxy ? pass_signal : NULL, s};
	unsigned char keys[DETACH_KEYS_MAX] = {'P' & 31, 'Q' & 31};
	size_t n = s->keys ? detach_keys_parse(s->keys, keys) : 2;

	/* keys that make no sense: the engine has said so */
	return stream_pump(stream, s->in, s->tty, &(struct stream_keys){keys, s->in && s->tty ? n : 0, &s->detached}, &hooks, err);
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

int session_exit_code(const struct session *s, struct reply *wait, struct cs_err **err)
{
	struct session mine = *s;

	stream_wait(wait, &(struct stream_hooks){NULL, s->proxy ? pass_signal : NULL, &mine});
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
