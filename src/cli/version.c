/* SPDX-License-Identifier: Apache-2.0
 *
 * caisson version: who we are and who the engine is. */
#include <sys/utsname.h>

#include "base/time.h"
#include "build-id.h" /* made by scripts/build-id */
#include "cli/cli.h"
#include "cli/endpoint.h"
#include "cli/show.h"

struct version_opts {
	const char *format;
	bool client;
};
static const struct flag version_flags[] = {
	FLAG(struct version_opts, client, "client", 0, "Only the client's version; no engine is asked"),
	FLAG(struct version_opts, format, "format", 'f', HELP_FORMAT),
	FLAG_END,
};

const char *go_arch(void)
{
	static struct utsname u;

	(void)uname(&u);
	return cs_streq(u.machine, "x86_64") ? "amd64" : cs_streq(u.machine, "aarch64") ? "arm64" : u.machine;
}

const char *go_os(void)
{
	static char name[65];
	struct utsname u;
	size_t i = 0;

	(void)uname(&u);
	for (; u.sysname[i] && i < sizeof(name) - 1; i++)
		name[i] = (char)(u.sysname[i] | 0x20);
	name[i] = 0;
	return name;
}

/* RFC 3339 as `docker version` shows times: "Fri May 30 12:07:14 2025". Anything else as it is. */
static const char *ansi_time(const char *text, char *buf, size_t size)
{
	int64_t ns;
	time_t t;
	struct tm tm;

	if (!cs_time_parse(text, &ns))
		return text;
	t = (time_t)(ns / CS_NS_PER_SEC);
	if (!gmtime_r(&t, &tm) || !strftime(buf, size, "%a %b %e %H:%M:%S %Y", &tm))
		return text;
	return buf;
}

json_t *client_version_json(int api)
{
	char built[64];
	cs_autofree char *spoken = api ? cs_xasprintf("%d.%d", api / 100, api % 100) : cs_xstrdup("");

	return json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s}", "Version", CAISSON_VERSION, "ApiVersion", spoken, "DefaultAPIVersion", CLIENT_API, "GitCommit", CAISSON_COMMIT,
			 "GoVersion", "", "Os", go_os(), "Arch", go_arch(), "BuildTime", ansi_time(CAISSON_BUILD_TIME, built, sizeof(built)), "Context", endpoint_context());
}

static void row(const char *title, const char *value)
{
	if (value && *value)
		printf("%-20s%s\n", title, value);
}

static void print_client(int api)
{
	char built[64];

	printf("Client: Caisson\n");
	row(" Version:", CAISSON_VERSION);
	if (api && api != CLIENT_API_NUMBER)
		printf("%-20s%d.%d (downgraded from " CLIENT_API ")\n", " API version:", api / 100, api % 100);
	else
		row(" API version:", CLIENT_API);
	row(" Git commit:", CAISSON_COMMIT);
	row(" Built:", ansi_time(CAISSON_BUILD_TIME, built, sizeof(built)));
	printf("%-20s%s/%s\n", " OS/Arch:", go_os(), go_arch());
}

static int by_key(const void *a, const void *b)
{
	const char *const *x = a, *const *y = b;
	return strcmp(*x, *y);
}

static void print_details(json_t *details)
{
	const char *keys[64], *k;
	json_t *v;
	size_t n = 0;

	json_object_foreach(details, k, v) if (n < CS_ARRAY_SIZE(keys)) keys[n++] = k;
	qsort(keys, n, sizeof(keys[0]), by_key);
	for (size_t i = 0; i < n; i++) {
		cs_autofree char *title = cs_xasprintf("  %s:", keys[i]);
		printf("%-20s%s\n", title, jstr(details, keys[i]));
	}
}

static void print_engine(json_t *component)
{
	json_t *d = json_object_get(component, "Details");

	row("  Version:", jstr(component, "Version"));
	printf("%-20s%s (minimum version %s)\n", "  API version:", jstr(d, "ApiVersion"), jstr(d, "MinAPIVersion"));
	row("  Go version:", jstr(d, "GoVersion"));
	row("  Git commit:", jstr(d, "GitCommit"));
	row("  Built:", jstr(d, "BuildTime"));
	printf("%-20s%s/%s\n", "  OS/Arch:", jstr(d, "Os"), jstr(d, "Arch"));
	row("  Experimental:", jstr(d, "Experimental"));
}

static void print_server(json_t *server)
{
	const char *platform = jstr(json_object_get(server, "Platform"), "Name");
	json_t *list = json_object_get(server, "Components"), *c;
	size_t i;

	printf("\nServer:%s%s\n", *platform ? " " : "", platform);
	json_array_foreach(list, i, c)
	{
		printf(" %s:\n", jstr(c, "Name"));
		if (cs_streq(jstr(c, "Name"), "Engine")) {
			print_engine(c);
		} else {
			row("  Version:", jstr(c, "Version"));
			print_details(json_object_get(c, "Details"));
		}
	}
}

/* The engine's build time as people read it, also in --format. */
static void people_time(json_t *server)
{
	json_t *c;
	size_t i;

	json_array_foreach(json_object_get(server, "Components"), i, c)
	{
		json_t *d = json_object_get(c, "Details");
		char built[64];
		if (cs_streq(jstr(c, "Name"), "Engine") && *jstr(d, "BuildTime"))
			(void)json_object_set_new(d, "BuildTime", json_string(ansi_time(jstr(d, "BuildTime"), built, sizeof(built))));
	}
}

static int cmd_version(struct call *c)
{
	const struct version_opts *o = c->opts;
	struct cs_err *err = NULL;
	json_t *server = NULL;
	int api = 0, status = 0;

	if (!o->client && client_json("GET", "/version", NULL, &server, &err) >= 0)
		api = client_api(NULL);
	people_time(server);
	if (cs_empty(o->format)) {
		print_client(api);
		if (!o->client)
			row(" Context:", endpoint_context());
		if (server)
			print_server(server);
	} else {
		json_t *both = json_pack("{s:o}", "Client", client_version_json(api ? api : CLIENT_API_NUMBER));
		if (server)
			(void)json_object_set(both, "Server", server);
		if (err) /* the connection's error is what matters, not that .Server is nil */
			show_what_can_be(o->format, "system.versionInfo", both);
		else
			status = show_format(o->format, "version", "system.versionInfo", both);
		json_decref(both);
	}
	json_decref(server);
	return err ? cli_error(err, 1) : status;
}

const struct command version_commands[] = {
	{.names = "version", .usage = "[OPTIONS]", .help = "Show the Caisson version information", .max = 0, CMD_OPTS(struct version_opts, version_flags), .run = cmd_version},
	CMD_END,
};
