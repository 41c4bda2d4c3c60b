/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include <time.h>

#include "base/json.h"
#include "base/time.h"
#include "cli/list.h"
#include "cli/schema.h"

struct events_opts {
	const char *format, *since, *until;
	char **filter;
};
static const struct flag events_flags[] = {
	FLAG_AS(struct events_opts, filter, FLAG_FILTER, "filter", 'f', "Filter output based on conditions provided",
		.values = "container=|daemon=|event=|image=|label=|network=|node=|scope=|type=|volume="),
	FLAG(struct events_opts, format, "format", 0, HELP_FORMAT),
	FLAG(struct events_opts, since, "since", 0, "Show all events created since timestamp"),
	FLAG(struct events_opts, until, "until", 0, "Stream events until this timestamp"),
	FLAG_END,
};

/* 2006-01-02T15:04:05.000000000+02:00, local */
static void event_time(int64_t ns)
{
	time_t t = (time_t)(ns / CS_NS_PER_SEC);
	struct tm tm;
	char date[40], zone[16];

	if (!localtime_r(&t, &tm))
		return;
	(void)strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm);
	(void)strftime(zone, sizeof(zone), "%z", &tm);
	if (strcmp(zone, "+0000") == 0)
		printf("%s.%09lldZ ", date, (long long)(ns % CS_NS_PER_SEC));
	else
		printf("%s.%09lld%.3s:%s ", date, (long long)(ns % CS_NS_PER_SEC), zone, zone + 3);
}

static void print_event(json_t *j)
{
	json_t *actor = json_object_get(j, "Actor"), *attributes = json_object_get(actor, "Attributes"), *v;
	char **all = NULL;
	const char *k;

	if (jint(j, "timeNano") || jint(j, "time"))
		event_time(jint(j, "timeNano") ? jint(j, "timeNano") : jint(j, "time") * CS_NS_PER_SEC);
	printf("%s %s %s", jstr(j, "Type"), jstr(j, "Action"), jstr(actor, "ID"));
	json_object_foreach(attributes, k, v) cs_strv_take(&all, cs_xasprintf("%s=%s", k, json_string_value(v) ? json_string_value(v) : ""));
	if (all) {
		cs_strv_sort(all);
		cs_autofree char *joined = cs_strv_join(all, ", ");
		printf(" (%s)", joined);
	}
	printf("\n");
	cs_strv_free(all);
}

/* status, id and from, of containers and images: the API has them up to 1.51, and templates that name them are older than that. Caller frees. */
static char *with_old_members(const char *text)
{
	cs_autojson json_t *j = json_loads(text, 0, NULL);
	json_t *actor = json_object_get(j, "Actor");
	bool image = strcmp(jstr(j, "Type"), "image") == 0;

	if (json_object_get(j, "status") || (!image && strcmp(jstr(j, "Type"), "container") != 0))
		return cs_xstrdup(text);
	(void)json_object_set_new(j, "status", json_string(jstr(j, "Action")));
	(void)json_object_set_new(j, "id", json_string(jstr(actor, "ID")));
	if (!image)
		(void)json_object_set_new(j, "from", json_string(jstr(json_object_get(actor, "Attributes"), "image")));
	return json_dumps(j, JSON_COMPACT);
}

static int format_event(const struct tpl *t, const char *line)
{
	cs_autofree char *text = with_old_members(line);
	tpl_autoarena struct tpl_arena *a = tpl_arena_new();
	struct cs_str out = CS_STR_INIT((size_t)1 << 24);
	const char *message = "";
	struct tpl_value v;
	bool good = tpl_parse_json(a, text, strlen(text), &v, &message) && tpl_execute(t, tpl_typed(a, schema_type("events.Message"), v), NULL, a, &out, &message);

	cs_str_putc(&out, '\n');
	(void)fwrite(out.buf, 1, out.len, stdout);
	cs_str_done(&out);
	return good ? 0 : cli_fail(1, "%s", message);
}

static int cmd_events(struct call *call)
{
	const struct events_opts *o = call->opts;
	const char *format = cs_streq(o->format, "json") ? "{{json .}}" : cs_empty(o->format) ? "" : o->format, *message;
	tpl_autoarena struct tpl_arena *a = tpl_arena_new();
	auto_reply struct reply r = REPLY_INIT;
	cs_autostr struct cs_str path = CS_STR_INIT(1 << 20);
	const struct tpl *t = NULL;
	struct cs_err *err = NULL;
	char *text;
	json_t *j;
	int status = 0;

	if (*format) { /* tried on an empty event first, so that a mistake shows now and not with the first event */
		struct cs_str nowhere = CS_STR_INIT((size_t)1 << 20);
		struct tpl_value none = {.type = NULL}, message_type = tpl_typed(a, schema_type("events.Message"), none);
		t = tpl_parse(a, format, &message);
		bool good = t && tpl_execute(t, (struct tpl_value){.type = schema_type("*events.Message"), .v = &message_type, .count = 1}, NULL, a, &nowhere, &message);
		cs_str_done(&nowhere);
		if (!good)
			return cli_fail(64, "Error parsing format: %s", message);
	}
	const char *const given[] = {o->since, o->until}, *const keys[] = {"since", "until"};
	cs_str_puts(&path, "/events");
	bool first = true;
	for (size_t i = 0; i < 2; i++) {
		if (cs_empty(given[i]))
			continue;
		cs_autofree char *when = api_time(given[i], &err), *e = url_encode(when);
		if (!when)
			return cli_error(err, 1);
		cs_str_putf(&path, "%c%s=%s", first ? '?' : '&', keys[i], e);
		first = false;
	}
	cs_autofree char *f = filters_query(filters_json(o->filter));
	if (*f)
		cs_str_putf(&path, "%c%s", first ? '?' : '&', f + 1);
	if (client_open("GET", path.buf, NULL, 0, false, &r, &err) < 0)
		return cli_error(err, 1);
	while (status == 0 && t && (text = reply_line(&r, &err))) {
		status = format_event(t, text);
		(void)fflush(stdout);
		free(text);
	}
	while (!t && (j = reply_message(&r, &err))) {
		print_event(j);
		(void)fflush(stdout);
		json_decref(j);
	}
	return err ? cli_error(err, 1) : status;
}

struct check_opts {
	bool repair, deep;
};
static const struct flag check_flags[] = {
	FLAG(struct check_opts, repair, "repair", 0, "Put right what can be put right"),
	FLAG(struct check_opts, deep, "deep", 0, "Read all content and compare digests, too"),
	FLAG_END,
};

static int cmd_check(struct call *call)
{
	const struct check_opts *o = call->opts;
	struct table t = {.columns = 4};
	struct cs_err *err = NULL;
	json_t *j = NULL, *p;
	size_t i;

	cs_autofree char *path = cs_xasprintf("/system/check?repair=%d&deep=%d", o->repair, o->deep);
	if (client_json("POST", path, NULL, &j, &err) < 0)
		return cli_error(err, 1);
	int64_t found = jint(j, "Found"), repaired = jint(j, "Repaired");
	for (i = 0; found && i < 4; i++)
		table_cell(&t, (const char *const[]){"KIND", "NAME", "PROBLEM", "REPAIRED"}[i]);
	json_array_foreach(json_object_get(j, "Problems"), i, p)
	{
		table_cell(&t, jstr(p, "Kind"));
		table_cell(&t, jstr(p, "Name"));
		table_cell(&t, jstr(p, "Text"));
		table_cell(&t, json_is_true(json_object_get(p, "Repaired")) ? "yes" : "no");
	}
	if (found)
		table_print(&t);
	printf("%lld problems, %lld repaired\n", (long long)found, (long long)repaired);
	json_decref(j);
	return found > repaired;
}

const struct command system_commands[] = {
	{.names = "system events|events", .usage = "[OPTIONS]", .help = "Get real time events from the server",
	 .min = 0, .max = 0, CMD_OPTS(struct events_opts, events_flags), .run = cmd_events},
	{.names = "system check", .usage = "[OPTIONS]", .help = "Compare the disk with the engine's tables, and repair it",
	 .min = 0, .max = 0, CMD_OPTS(struct check_opts, check_flags), .run = cmd_check},
	CMD_END,
};
