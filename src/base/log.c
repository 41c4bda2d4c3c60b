/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>

#include "base/io.h"
#include "base/str.h"
#include "base/time.h"

static _Atomic int current = CS_LOG_INFO;
static _Atomic bool as_json;

void cs_log_set_level(enum cs_log_level level) { current = (int)level; }
enum cs_log_level cs_log_level(void) { return (enum cs_log_level)current; }
void cs_log_set_json(bool json) { as_json = json; }

static const char *const names[] = {"error", "warning", "info", "debug"};

bool cs_log_parse_level(const char *name, enum cs_log_level *ret)
{
	if (cs_streq(name, "warn"))
		name = "warning";
	if (cs_streq(name, "fatal") || cs_streq(name, "panic"))
		name = "error";
	if (cs_streq(name, "trace"))
		name = "debug";
	for (size_t i = 0; i < CS_ARRAY_SIZE(names); i++) {
		if (cs_streq(name, names[i])) {
			*ret = (enum cs_log_level)i;
			return true;
		}
	}
	return false;
}

static void quoted(struct cs_str *s, const char *v)
{
	cs_str_putc(s, '"');
	for (; *v; v++) {
		unsigned char c = (unsigned char)*v;
		if (c == '"' || c == '\\')
			cs_str_putf(s, "\\%c", c);
		else if (c == '\n')
			cs_str_puts(s, "\\n");
		else if (c < 0x20 || c == 0x7f)
			cs_str_putf(s, "\\u%04x", c);
		else
			cs_str_putc(s, (char)c);
	}
	cs_str_putc(s, '"');
}

static void field(struct cs_str *s, bool json, const char *key, const char *value, bool quote)
{
	if (json) {
		cs_str_puts(s, s->len > 1 ? "," : "");
		quoted(s, key);
		cs_str_putc(s, ':');
		quoted(s, value);
	} else {
		if (s->len)
			cs_str_putc(s, ' ');
		cs_str_puts(s, key);
		cs_str_putc(s, '=');
		if (quote || value[strcspn(value, " \"=\\\n\t")])
			quoted(s, value);
		else
			cs_str_puts(s, value);
	}
}

void cs_log_write(enum cs_log_level level, const char *subsys, const char *const *keys, const char *fmt, ...)
{
	if ((int)level > current)
		return;
	int saved = errno;
	bool json = as_json;
	char when[CS_TIME_BUF];
	va_list ap;
	struct cs_str msg = CS_STR_INIT(8192), s = CS_STR_INIT(32768);

	va_start(ap, fmt);
	cs_str_vputf(&msg, fmt, ap);
	va_end(ap);
	if (json)
		cs_str_putc(&s, '{');
	field(&s, json, "time", cs_time_format(cs_now_ns(), when), true);
	field(&s, json, "level", names[level], false);
	field(&s, json, "subsys", subsys, false);
	field(&s, json, "msg", msg.failed || !msg.buf ? "(message too long)" : msg.buf, true);
	for (; keys && keys[0]; keys += 2)
		if (keys[1])
			field(&s, json, keys[0], keys[1], false);
	cs_str_puts(&s, json ? "}\n" : "\n");
	if (!s.failed)
		(void)cs_write_full(2, s.buf, s.len);
	cs_str_done(&msg);
	cs_str_done(&s);
	errno = saved;
}
