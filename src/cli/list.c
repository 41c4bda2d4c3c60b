/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/list.h"

#include <string.h>

#include "base/time.h"
#include "cli/config.h"

/* ---- rows ---- */

static void failed(struct list *l, const char *message)
{
	l->status = cli_fail(1, "template parsing error: %s", message);
}

void list_begin(struct list *l, const char *format)
{
	struct cs_str f = CS_STR_INIT((size_t)1 << 22);
	const char *message, *p = format, *end;

	*l = (struct list){.a = tpl_arena_new(), .rows = CS_STR_INIT((size_t)1 << 30), .table = strncmp(format, "table", 5) == 0};
	if (l->table)
		p += 5;
	else if (strcmp(format, "json") == 0)
		p = "{{json .}}";
	p += strspn(p, " ");
	for (end = p + strlen(p); end > p && end[-1] == ' '; end--)
		;
	for (; p < end; p++) {
		bool escape = *p == '\\' && p + 1 < end && (p[1] == 't' || p[1] == 'n');
		cs_str_putc(&f, escape ? (p[1] == 't' ? '\t' : '\n') : *p);
		p += escape;
	}
	l->tpl = tpl_parse(l->a, tpl_strn(l->a, f.buf ? f.buf : "", f.len), &message);
	cs_str_done(&f);
	if (!l->tpl)
		failed(l, message);
}

void list_value(struct list *l, struct tpl_value v)
{
	const char *message;

	if (l->status)
		return;
	if (tpl_execute(l->tpl, v, NULL, l->a, &l->rows, &message))
		cs_str_putc(&l->rows, '\n');
	else
		failed(l, message);
}

void list_row(struct list *l, const struct tpl_class *class, void *self) { list_value(l, tpl_object_value(l->a, class, self)); }

int list_text(struct list *l, const char *const *headers, struct cs_str *out)
{
	const char *keys[64], *titles[64], *message;
	struct tpl_options o = {.header = true};
	struct cs_str head = CS_STR_INIT((size_t)1 << 30);
	size_t n = 0;

	if (!l->status && l->table) {
		for (; headers && headers[2 * n] && n < 64; n++) {
			keys[n] = headers[2 * n];
			titles[n] = headers[2 * n + 1];
		}
		/* an error in the titles leaves them as far as they came, as in docker */
		(void)!tpl_execute(l->tpl, tpl_map_of(l->a, &tpl_headers, keys, titles, n), &o, l->a, &head, &message);
		cs_str_putc(&head, '\n');
		cs_str_put(&head, l->rows.buf ? l->rows.buf : "", l->rows.len);
		tab_write(out, head.buf, head.len, 10, 3);
	} else if (!l->status && l->rows.len) {
		cs_str_put(out, l->rows.buf, l->rows.len);
	}
	cs_str_done(&head);
	cs_str_done(&l->rows);
	tpl_arena_free(l->a);
	l->a = NULL;
	return l->status;
}

int list_end(struct list *l, const char *const *headers)
{
	cs_autostr struct cs_str out = CS_STR_INIT((size_t)1 << 30);
	int status = list_text(l, headers, &out);

	(void)fwrite(out.buf ? out.buf : "", 1, out.len, stdout);
	return status;
}

const char *list_format(const char *given, const char *key, bool quiet)
{
	const char *own = cs_empty(given) && !quiet && key ? config_str(key) : NULL;
	return !cs_empty(given) ? given : own ? own : "table";
}

bool list_is_default(const char *format) { return strcmp(format, "table") == 0 || !*format; }

json_t *filters_json(char *const *filters)
{
	json_t *j = json_object();

	for (; filters && *filters; filters++) {
		const char *eq = strchr(*filters, '=');
		cs_autofree char *key = cs_xstrndup(*filters, eq ? (size_t)(eq - *filters) : strlen(*filters));
		const char *value = eq ? eq + 1 : "";
		json_t *set = json_object_get(j, key), *v;
		size_t i;
		bool known = false;
		if (!set) {
			set = json_array();
			(void)json_object_set_new(j, key, set);
		}
		json_array_foreach(set, i, v) known |= cs_streq(json_string_value(v), value);
		if (!known)
			(void)json_array_append_new(set, jtext(value));
	}
	return j;
}

/* The API's older form, {"name":{"value":true}}, which docker sends and every version of it reads. */
char *filters_query(json_t *filters)
{
	json_t *out = json_object(), *set, *v;
	const char *key;
	size_t i;

	json_object_foreach(filters, key, set)
	{
		json_t *o = json_object();
		json_array_foreach(set, i, v) (void)json_object_set_new(o, json_string_value(v), json_true());
		(void)json_object_set_new(out, key, o);
	}
	cs_autofree char *text = json_dumps(out, JSON_COMPACT | JSON_SORT_KEYS), *enc = url_encode(text);
	char *query = json_object_size(out) ? cs_xasprintf("&filters=%s", enc) : cs_xstrdup("");
	json_decref(out);
	json_decref(filters);
	return query;
}

const char *listing_format(const struct listing *what, const char *format, bool quiet)
{
	if (cs_streq(format, "table"))
		return quiet ? what->only : what->table;
	if (cs_streq(format, "raw"))
		return quiet ? what->only_raw : what->raw;
	return format;
}

int listing_print(const struct listing *what, const char *format, bool quiet, bool trunc, char *const *filters)
{
	cs_autofree char *query = filters_query(filters_json(filters)), *path = cs_xasprintf("%s%s%s", what->path, *query ? "?" : "", *query ? query + 1 : "");
	struct cs_err *err = NULL;
	json_t *answer = NULL, *o;
	struct list l;
	size_t i;

	if (client_json("GET", path, NULL, &answer, &err) < 0)
		return cli_error(err, 1);
	list_begin(&l, listing_format(what, list_format(format, what->config_key, quiet), quiet));
	json_t *sorted = sorted_by(what->member ? json_object_get(answer, what->member) : answer, "Name");
	json_array_foreach(sorted, i, o) list_row(&l, what->class, &(struct row){o, trunc});
	int status = list_end(&l, what->headers);
	json_decref(sorted);
	json_decref(answer);
	return status;
}

int client_text(const char *path, struct cs_str *body, struct cs_err **err)
{
	auto_reply struct reply r = REPLY_INIT;
	char tmp[16384];
	ssize_t n;

	if (client_open("GET", path, NULL, 0, false, &r, err) < 0)
		return -1;
	while ((n = reply_read(&r, tmp, sizeof(tmp), err)) > 0)
		cs_str_put(body, tmp, (size_t)n);
	return n < 0 ? -1 : r.status;
}

/* What Go says of a date whose shape is right and a part of which is not: "month out of range"; NULL for other shapes. */
static const char *out_of_range(const char *text)
{
	static const struct {
		int least, most;
		const char *name;
	} parts[] = {{0, 9999, ""}, {1, 12, "month out of range"}, {1, 31, "day out of range"}, {0, 23, "hour out of range"}, {0, 59, "minute out of range"}, {0, 59, "second out of range"}};
	static const char shape[] = "0000-00-00T00:00:00";
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	int value = 0, year = 0, month = 1;
	size_t part = 0;

	for (size_t i = 0; i < sizeof(shape); i++) {
		bool ends = shape[i] != '0';
		if (ends && i && (value < parts[part].least || value > parts[part].most))
			return parts[part].name;
		year = ends && part == 0 ? value : year;
		month = ends && part == 1 ? value : month;
		bool leap = month == 2 && year % 4 == 0 && (year % 100 || year % 400 == 0);
		if (ends && part == 2 && value > days[month - 1] + leap)
			return parts[part].name;
		if (!text[i] || (ends && text[i] != shape[i]))
			return NULL;
		if (!ends && (text[i] < '0' || text[i] > '9'))
			return NULL;
		value = ends ? 0 : value * 10 + text[i] - '0';
		part += ends;
	}
	return NULL;
}

char *api_time(const char *text, struct cs_err **err)
{
	int64_t ns, now = cs_now_ns();

	if (!text[strspn(text, "0123456789.")])
		return cs_xstrdup(text);
	const char *range = out_of_range(text);
	if (range || !cs_time_parse_param(text, now, &ns)) {
		if (range)
			cs_fail(err, CS_ERR_INVALID, 0, "parsing time \"%s\": %s", text, range);
		else
			cs_fail(err, CS_ERR_INVALID, 0, "failed to parse value as time or duration: \"%s\"", text);
		return NULL;
	}
	if (!strpbrk(text, "hms")) /* a date */
		return cs_xasprintf("%lld.%09lld", (long long)(ns / CS_NS_PER_SEC), (long long)(ns % CS_NS_PER_SEC));
	return cs_xasprintf("%lld", (long long)(ns / CS_NS_PER_SEC)); /* a duration: docker sends whole seconds */
}
