/* SPDX-License-Identifier: Apache-2.0
 *
 * caisson info: the client's and the engine's state, laid out as docker does. */
#include <ctype.h>
#include <string.h>

#include "base/json.h"
#include "cli/cli.h"
#include "cli/config.h"
#include "cli/endpoint.h"
#include "cli/plugin.h"
#include "cli/show.h"
#include "cli/template.h"

struct info_opts {
	const char *format;
};
static const struct flag info_flags[] = {
	FLAG(struct info_opts, format, "format", 'f', HELP_FORMAT),
	FLAG_END,
};

/* ---- pieces ---- */

static void line(int indent, const char *title, const char *value)
{
	if (value && *value)
		printf("%*s%s: %s\n", indent, "", title, value);
}

static void number(int indent, const char *title, const json_t *j, const char *key) { printf("%*s%s: %lld\n", indent, "", title, (long long)jint(j, key)); }

static void truth(int indent, const char *title, const json_t *j, const char *key)
{
	printf("%*s%s: %s\n", indent, "", title, json_is_true(json_object_get(j, key)) ? "true" : "false");
}

/* [["key","value"],…] */
static void pairs(int indent, const json_t *list)
{
	const json_t *p;
	size_t i;

	json_array_foreach(list, i, p) printf("%*s%s: %s\n", indent, "", json_string_value(json_array_get(p, 0)), json_string_value(json_array_get(p, 1)));
}

static void joined(int indent, const char *title, const json_t *list, bool when_empty)
{
	const json_t *v;
	size_t i;

	if (!json_array_size(list) && !when_empty)
		return;
	printf("%*s%s: ", indent, "", title);
	json_array_foreach(list, i, v) printf("%s%s", i ? " " : "", json_string_value(v));
	(void)putchar('\n');
}

static void listed(const char *title, const json_t *list)
{
	const json_t *v;
	size_t i;

	if (json_array_size(list))
		printf(" %s:\n", title);
	json_array_foreach(list, i, v) printf("  %s\n", json_string_value(v));
}

/* 23.59GiB: four digits, binary units */
static void memory(const char *title, int64_t bytes)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
	double v = (double)bytes;
	size_t u = 0;

	while (v >= 1024 && u + 1 < CS_ARRAY_SIZE(units)) {
		v /= 1024;
		u++;
	}
	printf(" %s: %.4g%s\n", title, v, units[u]);
}

static int by_name(const void *a, const void *b)
{
	const char *const *x = a, *const *y = b;
	return strcmp(*x, *y);
}

static void runtimes(const json_t *j)
{
	const char *names[64], *k;
	json_t *v;
	size_t n = 0;

	json_object_foreach(json_object_get(j, "Runtimes"), k, v) if (n < CS_ARRAY_SIZE(names)) names[n++] = k;
	if (!n)
		return;
	qsort(names, n, sizeof(names[0]), by_name);
	printf(" Runtimes:");
	for (size_t i = 0; i < n; i++)
		printf(" %s", names[i]);
	printf("\n Default Runtime: %s\n", jstr(j, "DefaultRuntime"));
}

/* "name=seccomp,profile=builtin" -> the name, and the rest below it. */
static void security_options(const json_t *list)
{
	const json_t *v;
	size_t i;

	if (json_array_size(list))
		printf(" Security Options:\n");
	json_array_foreach(list, i, v)
	{
		cs_autostrv char **part = cs_strv_split(json_string_value(v), ',');
		for (char **p = part; *p; p++) {
			char *eq = strchr(*p, '=');
			if (!eq) {
				printf("  %s\n", *p);
				continue;
			}
			*eq = 0;
			if (cs_streq(*p, "name")) {
				printf("  %s\n", eq + 1);
			} else {
				**p = (char)(**p >= 'a' && **p <= 'z' ? **p - 32 : **p);
				printf("   %s: %s\n", *p, eq + 1);
			}
		}
	}
}

static void commit(const char *title, const json_t *c)
{
	const char *expected = jstr(c, "Expected");

	printf(" %s version: %s", title, jstr(c, "ID"));
	if (*expected && !cs_streq(expected, jstr(c, "ID")))
		printf(" (expected: %s)", expected);
	(void)putchar('\n');
}

/* A network of the API: {"IP":…,"Mask":…} or the text of a CIDR. */
static void registries(const json_t *conf)
{
	json_t *index = json_object_get(conf, "IndexConfigs"), *cidrs = json_object_get(conf, "InsecureRegistryCIDRs"), *v;
	const char *name;
	size_t i;

	if (json_object_size(index) || json_array_size(cidrs))
		printf(" Insecure Registries:\n");
	json_object_foreach(index, name, v) if (!json_is_true(json_object_get(v, "Secure"))) printf("  %s\n", name);
	json_array_foreach(cidrs, i, v) printf("  %s\n", json_string_value(v));
	listed("Registry Mirrors", json_object_get(conf, "Mirrors"));
}

static void swarm(const json_t *s)
{
	const char *state = jstr(s, "LocalNodeState");

	printf(" Swarm: %s\n", state);
	if (cs_streq(state, "inactive") || cs_streq(state, "locked"))
		return;
	line(2, "NodeID", jstr(s, "NodeID"));
	line(2, "Error", jstr(s, "Error"));
	truth(2, "Is Manager", s, "ControlAvailable");
	line(2, "Node Address", jstr(s, "NodeAddr"));
}

static void address_pools(const json_t *list)
{
	const json_t *p;
	size_t i;

	if (json_array_size(list))
		printf(" Default Address Pools:\n");
	json_array_foreach(list, i, p) printf("   Base: %s, Size: %lld\n", jstr(p, "Base"), (long long)jint(p, "Size"));
}

/* ---- the two halves ---- */

static void print_server(const json_t *j)
{
	const json_t *plugins = json_object_get(j, "Plugins"), *firewall = json_object_get(j, "FirewallBackend");

	number(1, "Containers", j, "Containers");
	number(2, "Running", j, "ContainersRunning");
	number(2, "Paused", j, "ContainersPaused");
	number(2, "Stopped", j, "ContainersStopped");
	number(1, "Images", j, "Images");
	line(1, "Server Version", jstr(j, "ServerVersion"));
	line(1, "Storage Driver", jstr(j, "Driver"));
	pairs(2, json_object_get(j, "DriverStatus"));
	line(1, "Logging Driver", jstr(j, "LoggingDriver"));
	line(1, "Cgroup Driver", jstr(j, "CgroupDriver"));
	line(1, "Cgroup Version", jstr(j, "CgroupVersion"));
	printf(" Plugins:\n");
	joined(2, "Volume", json_object_get(plugins, "Volume"), true);
	joined(2, "Network", json_object_get(plugins, "Network"), true);
	joined(2, "Authorization", json_object_get(plugins, "Authorization"), false);
	joined(2, "Log", json_object_get(plugins, "Log"), true);
	listed("CDI spec directories", json_object_get(j, "CDISpecDirs"));
	swarm(json_object_get(j, "Swarm"));
	runtimes(j);
	if (cs_streq(jstr(j, "OSType"), "linux")) {
		printf(" Init Binary: %s\n", jstr(j, "InitBinary"));
		commit("containerd", json_object_get(j, "ContainerdCommit"));
		commit("runc", json_object_get(j, "RuncCommit"));
		commit("init", json_object_get(j, "InitCommit"));
		security_options(json_object_get(j, "SecurityOptions"));
	} else {
		line(1, "Default Isolation", jstr(j, "Isolation"));
	}
	line(1, "Kernel Version", jstr(j, "KernelVersion"));
	line(1, "Operating System", jstr(j, "OperatingSystem"));
	line(1, "OSType", jstr(j, "OSType"));
	line(1, "Architecture", jstr(j, "Architecture"));
	number(1, "CPUs", j, "NCPU");
	memory("Total Memory", jint(j, "MemTotal"));
	line(1, "Name", jstr(j, "Name"));
	line(1, "ID", jstr(j, "ID"));
	printf(" Docker Root Dir: %s\n", jstr(j, "DockerRootDir"));
	truth(1, "Debug Mode", j, "Debug");
	if (json_is_true(json_object_get(j, "Debug"))) {
		number(2, "File Descriptors", j, "NFd");
		number(2, "Goroutines", j, "NGoroutines");
		line(2, "System Time", jstr(j, "SystemTime"));
		number(2, "EventsListeners", j, "NEventsListener");
	}
	line(1, "HTTP Proxy", jstr(j, "HttpProxy"));
	line(1, "HTTPS Proxy", jstr(j, "HttpsProxy"));
	line(1, "No Proxy", jstr(j, "NoProxy"));
	listed("Labels", json_object_get(j, "Labels"));
	truth(1, "Experimental", j, "ExperimentalBuild");
	registries(json_object_get(j, "RegistryConfig"));
	truth(1, "Live Restore Enabled", j, "LiveRestoreEnabled");
	line(1, "Product License", jstr(j, "ProductLicense"));
	address_pools(json_object_get(j, "DefaultAddressPools"));
	line(1, "Firewall Backend", jstr(firewall, "Driver"));
	pairs(2, json_object_get(firewall, "Info"));
	(void)putchar('\n');
}

static void print_plugin(void *ctx, const struct plugin *p)
{
	bool *first = ctx;

	if (p->why) {
		fprintf(stderr, "WARNING: Plugin \"%s\" is not valid: %s\n", p->path, p->why);
		return;
	}
	if (*first)
		printf(" Plugins:\n");
	*first = false;
	printf("  %s: %s (%s)\n", p->name, jstr(p->metadata, "ShortDescription"), jstr(p->metadata, "Vendor"));
	if (*jstr(p->metadata, "Version"))
		printf("    Version:  %s\n", jstr(p->metadata, "Version"));
	printf("    Path:     %s\n", p->path);
}

static void add_plugin(void *ctx, const struct plugin *p)
{
	json_t *j = json_is_object(p->metadata) ? json_deep_copy(p->metadata) : json_object();

	if (*p->name)
		(void)json_object_set_new(j, "Name", json_string(p->name));
	(void)json_object_set_new(j, "Path", json_string(p->path));
	if (p->why)
		(void)json_object_set_new(j, "Err", json_string(p->why));
	(void)json_array_append_new(ctx, j);
}

static json_t *client_info(void)
{
	json_t *client = client_version_json(0), *plugins = json_array();

	plugin_each(add_plugin, plugins);
	(void)json_object_set_new(client, "Debug", json_boolean(globals.debug));
	(void)json_object_set_new(client, "Plugins", plugins);
	return client;
}

/* Does the template speak of the client only? Then nobody is asked; as in docker, who finds out by trying. */
static bool is_local(const char *format, json_t *client)
{
	tpl_autoarena struct tpl_arena *a = tpl_arena_new();
	cs_autostr struct cs_str out = CS_STR_INIT((size_t)16 << 20);
	const struct tpl_options options = {.missing_key_error = true};
	cs_autojson json_t *doc = json_pack("{s:O}", "ClientInfo", client);
	const char *message, *dot = strchr(format, '.');
	struct tpl_value v;

	while (dot && !isalpha((unsigned char)dot[1]))
		dot = strchr(dot + 1, '.');
	if (!dot) /* {{json .}} is everything */
		return false;
	cs_autofree char *text = json_dumps(doc, JSON_COMPACT);
	const struct tpl *t = tpl_parse(a, format, &message);
	return t && tpl_parse_json(a, tpl_strn(a, text, strlen(text)), strlen(text), &v, &message) && tpl_execute(t, v, &options, a, &out, &message);
}

static int cmd_info(struct call *c)
{
	const struct info_opts *o = c->opts;
	struct cs_err *err = NULL;
	json_t *j = NULL, *w;
	bool first = true;
	int status = 0;
	size_t i;

	if (!cs_empty(o->format)) {
		json_t *client = client_info();
		if (!is_local(o->format, client))
			(void)!client_json("GET", "/info", NULL, &j, &err);
		j = j ? j : json_object();
		(void)json_object_set_new(j, "ClientInfo", client);
		status = show_format(o->format, "", "system.dockerInfo", j);
	} else {
		(void)!client_json("GET", "/info", NULL, &j, &err);
		printf("Client: Caisson\n Version:    " CAISSON_VERSION "\n Context:    %s\n Debug Mode: %s\n", endpoint_context(), globals.debug ? "true" : "false");
		plugin_each(print_plugin, &first);
		printf("\nServer:\n");
		if (j)
			print_server(j);
		(void)fflush(stdout);
		json_array_foreach(json_object_get(j, "Warnings"), i, w) fprintf(stderr, "%s\n", json_string_value(w));
	}
	json_decref(j);
	return err ? cli_error(err, 1) : status;
}

const struct command info_commands[] = {
	{.names = "system info|info", .usage = "[OPTIONS]", .help = "Display system-wide information", .max = 0, CMD_OPTS(struct info_opts, info_flags), .run = cmd_info},
	CMD_END,
};
