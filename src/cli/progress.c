/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/progress.h"

#include <string.h>
#include <sys/ioctl.h>

#include "base/time.h"
#include "cli/cli.h"
#include "cli/list.h"

#define UNKNOWN_WIDTH 200

/* ---- one bar ---- */

static void put_sizes(struct cs_str *s, int64_t current, int64_t total, const char *units)
{
	tpl_autoarena struct tpl_arena *a = tpl_arena_new();
	bool odd = current > total; /* then the total is of no use */

	if (*units && odd)
		cs_str_putf(s, "%lld %s", (long long)current, units);
	else if (*units)
		cs_str_putf(s, "%lld/%lld %s", (long long)current, (long long)total, units);
	else if (odd)
		cs_str_putf(s, "%8s", size_text(a, (double)current, 4));
	else
		cs_str_putf(s, "%8s/%s", size_text(a, (double)current, 4), size_text(a, (double)total, 4));
}

/* What is left at the speed so far, as Go prints a duration of whole seconds. */
static void put_time_left(struct cs_str *s, int64_t seconds)
{
	if (seconds >= 3600)
		cs_str_putf(s, " %lldh%lldm%llds", (long long)(seconds / 3600), (long long)(seconds / 60 % 60), (long long)(seconds % 60));
	else if (seconds >= 60)
		cs_str_putf(s, " %lldm%llds", (long long)(seconds / 60), (long long)(seconds % 60));
	else
		cs_str_putf(s, " %llds", (long long)seconds);
}

char *progress_text(const json_t *detail, unsigned width, int64_t now)
{
	int64_t current = jint(detail, "current"), total = jint(detail, "total"), start = jint(detail, "start");
	struct cs_str s = CS_STR_INIT(1 << 16);
	const char *units = jstr(detail, "units");

	if (current <= 0 && total <= 0)
		return cs_xstrdup("");
	if (total <= 0) {
		tpl_autoarena struct tpl_arena *a = tpl_arena_new();
		return *units ? cs_xasprintf("%lld %s", (long long)current, units) : cs_xasprintf("%8s", size_text(a, (double)current, 4));
	}
	int half = CS_MIN(50, (int)((double)current / (double)total * 100) / 2);
	if (width > 110) {
		cs_str_putc(&s, '[');
		for (int i = 0; i < half; i++)
			cs_str_putc(&s, '=');
		cs_str_putc(&s, '>');
		for (int i = half; i < 50; i++)
			cs_str_putc(&s, ' ');
		cs_str_puts(&s, "] ");
	}
	if (!json_is_true(json_object_get(detail, "hidecounts")))
		put_sizes(&s, current, total, units);
	if (width > 50 && current > 0 && start > 0 && half < 50) {
		int64_t per_entry = (now - start * CS_NS_PER_SEC) / current, left;
		if (!__builtin_mul_overflow(per_entry, total - current, &left))
			put_time_left(&s, (left + CS_NS_PER_SEC / 2) / CS_NS_PER_SEC);
	}
	return cs_str_steal(&s);
}

/* ---- the stream ---- */

struct screen {
	FILE *out;
	bool terminal;
	char **ids; /* of the lines that can be drawn over, from the top */
};

static unsigned width_of(const struct screen *s)
{
	struct winsize ws;
	return ioctl(fileno(s->out), TIOCGWINSZ, &ws) == 0 ? ws.ws_col : UNKNOWN_WIDTH;
}

static void put_time(const struct screen *s, const json_t *j)
{
	int64_t ns = jint(j, "timeNano") ? jint(j, "timeNano") : jint(j, "time") * CS_NS_PER_SEC;
	char buf[CS_TIME_BUF];

	if (!ns)
		return;
	(void)cs_time_format_fixed(ns, buf);
	fprintf(s->out, "%s ", buf);
}

/* One message where the cursor is. */
static void display(const struct screen *s, const json_t *j, const json_t *detail)
{
	const char *stream = jstr(j, "stream"), *end = "";
	cs_autofree char *bar = detail ? progress_text(detail, width_of(s), cs_now_ns()) : NULL;

	if (s->terminal && !*stream && detail) {
		end = "\r";
		(void)fputs("\x1b[2K\r", s->out);
	} else if (bar && *bar) {
		return; /* no bars where nobody can draw over them */
	}
	put_time(s, j);
	if (*jstr(j, "id"))
		fprintf(s->out, "%s: ", jstr(j, "id"));
	if (*jstr(j, "from"))
		fprintf(s->out, "(from %s) ", jstr(j, "from"));
	if (detail && s->terminal)
		fprintf(s->out, "%s %s%s", jstr(j, "status"), bar, end);
	else if (*jstr(j, "progress"))
		fprintf(s->out, "%s %s%s", jstr(j, "status"), jstr(j, "progress"), end);
	else if (*stream)
		fprintf(s->out, "%s%s", stream, end);
	else
		fprintf(s->out, "%s%s\n", jstr(j, "status"), end);
}

/* Which line the id has; a new one gets the next. */
static size_t line_of(struct screen *s, const char *id)
{
	size_t n = 0;

	for (; s->ids && s->ids[n]; n++)
		if (cs_streq(s->ids[n], id))
			return n;
	cs_strv_push(&s->ids, id);
	if (s->terminal)
		(void)fputc('\n', s->out);
	return n;
}

static void message(struct screen *s, const json_t *j)
{
	json_t *detail = json_object_get(j, "progressDetail");
	const char *id = jstr(j, "id");
	size_t up = 0;

	if (!json_is_object(detail))
		detail = NULL;
	if (*id && (detail || *jstr(j, "progress"))) {
		size_t line = line_of(s, id);
		up = cs_strv_len(s->ids) - line;
		if (s->terminal && up)
			fprintf(s->out, "\x1b[%zuA", up);
	} else {
		/* something else was printed: the lines above are history */
		cs_strv_free(s->ids);
		s->ids = NULL;
	}
	display(s, j, detail);
	if (*id && s->terminal && up)
		fprintf(s->out, "\x1b[%zuB", up);
	(void)fflush(s->out);
}

int progress_show(struct reply *r, FILE *out, const struct progress_hooks *hooks)
{
	struct screen s = {.out = out, .terminal = out && isatty(fileno(out))};
	struct cs_err *err = NULL;
	json_t *j;
	int status = 0;

	while (status == 0 && (j = reply_message(r, &err))) {
		json_t *aux = json_object_get(j, "aux"), *e = json_object_get(j, "errorDetail");
		const char *text = json_is_object(e) ? jstr(e, "message") : jstr(j, "error");
		if (aux && !json_is_null(aux)) {
			if (hooks && hooks->aux)
				hooks->aux(hooks->ctx, aux);
		} else if (json_is_object(e) || *text) {
			status = cli_fail(1, "%s", text);
		} else if (out) {
			message(&s, j);
		}
		json_decref(j);
	}
	cs_strv_free(s.ids);
	return err ? cli_error(err, 1) : status;
}
