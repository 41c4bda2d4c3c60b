/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

void table_cell(struct table *t, const char *text) { cs_strv_push(&t->cells, text); }

void table_print(struct table *t)
{
	size_t n = cs_strv_len(t->cells), width[16] = {0};

	for (size_t i = 0; i < n; i++)
		width[i % t->columns] = CS_MAX(width[i % t->columns], strlen(t->cells[i]));
	for (size_t i = 0; i < n; i++) {
		bool last = (i + 1) % t->columns == 0;
		if (last)
			printf("%s\n", t->cells[i]);
		else
			printf("%-*s   ", (int)width[i % t->columns], t->cells[i]);
	}
	cs_strv_free(t->cells);
	t->cells = NULL;
}

char *human_size(int64_t bytes)
{
	static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
	double v = (double)bytes;
	size_t u = 0;

	while (v >= 1000 && u + 1 < CS_ARRAY_SIZE(units)) {
		v /= 1000;
		u++;
	}
	return cs_xasprintf("%.3g%s", v, units[u]);
}

char *human_ago(int64_t s)
{
	static const struct {
		int64_t below, unit;
		const char *name;
	} steps[] = {{120, 1, "second"}, {7200, 60, "minute"}, {172800, 3600, "hour"}, {1209600, 86400, "day"}, {5184000, 604800, "week"}, {63072000, 2592000, "month"}};

	if (s < 1)
		return cs_xstrdup("Less than a second");
	if (s == 1)
		return cs_xstrdup("1 second");
	if (s >= 60 && s < 120)
		return cs_xstrdup("About a minute");
	if (s >= 3600 && s < 7200)
		return cs_xstrdup("About an hour");
	for (size_t i = 0; i < CS_ARRAY_SIZE(steps); i++)
		if (s < steps[i].below)
			return cs_xasprintf("%lld %ss", (long long)(s / steps[i].unit), steps[i].name);
	return cs_xasprintf("%lld years", (long long)(s / 31536000));
}

const char *short_id(const char *id)
{
	static char buf[13];
	const char *p = cs_prefix(id, "sha256:");
	(void)snprintf(buf, sizeof(buf), "%.12s", p ? p : id);
	return buf;
}

const char *jstr(const json_t *j, const char *key)
{
	const char *s = json_string_value(json_object_get(j, key));
	return s ? s : "";
}

int64_t jint(const json_t *j, const char *key) { return (int64_t)json_number_value(json_object_get(j, key)); }

char *json_text(const json_t *j, size_t indent)
{
	cs_autofree char *text = json_dumps(j, JSON_ENCODE_ANY | (indent ? JSON_INDENT(indent) : JSON_COMPACT));
	struct cs_str out = CS_STR_INIT((size_t)256 << 20);

	for (const char *p = text; p && *p; p++) {
		if (*p == '<' || *p == '>' || *p == '&')
			cs_str_putf(&out, "\\u%04x", (unsigned)*p);
		else
			cs_str_putc(&out, *p);
	}
	return cs_str_steal(&out);
}
