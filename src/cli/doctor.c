/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/doctor.h"

#include "base/str.h"
#include "cli/cli.h"
#include "cli/config.h"
#include "cli/endpoint.h"

struct doctor_opts {
	bool json;
};
static const struct flag doctor_flags[] = {
	FLAG(struct doctor_opts, json, "json", 0, "Print the findings as a JSON array"),
	FLAG_END,
};

struct doctor {
	json_t *findings;
	size_t bad, notes;
	bool json, colour;
};

void doctor_say(struct doctor *d, enum health h, const char *subject, const char *advice, const char *found, ...)
{
	static const char *const words[] = {" ok ", "note", "FAIL"}, *const names[] = {"ok", "note", "fail"}, *const colours[] = {"\033[32m", "\033[33m", "\033[31m"};
	cs_autostr struct cs_str text = CS_STR_INIT(65536);
	va_list ap;

	va_start(ap, found);
	cs_str_vputf(&text, found, ap);
	va_end(ap);
	d->bad += h == HEALTH_BAD;
	d->notes += h == HEALTH_NOTE;
	if (d->json) {
		(void)json_array_append_new(d->findings, json_pack("{s:s,s:s,s:s,s:s*}", "Subject", subject, "Health", names[h], "Found", text.buf ? text.buf : "", "Advice", advice));
		return;
	}
	printf("[%s%s%s] %-16s %s\n", d->colour ? colours[h] : "", words[h], d->colour ? "\033[0m" : "", subject, text.buf ? text.buf : "");
	if (advice)
		printf("       %-16s -> %s\n", "", advice);
}

static bool in_path(const char *program)
{
	cs_autostrv char **dirs = cs_strv_split(getenv("PATH") ? getenv("PATH") : "", ':');

	for (char **d = dirs; *d; d++) {
		cs_autofree char *path = cs_xasprintf("%s/%s", **d ? *d : ".", program);
		if (access(path, X_OK) == 0)
			return true;
	}
	return false;
}

static void look_at_client(struct doctor *d)
{
	const char *store = config_str("credsStore"), *host = NULL;
	json_t *v;

	if (store) {
		cs_autofree char *program = cs_xasprintf("docker-credential-%s", store);
		if (!in_path(program))
			doctor_say(d, HEALTH_BAD, "credentials", "install it, or take credsStore out of config.json", "%s is not in $PATH: login, pull and push of private images fail", program);
		else
			doctor_say(d, HEALTH_GOOD, "credentials", NULL, "kept by %s", program);
	}
	json_object_foreach(json_object_get(config_root(), "credHelpers"), host, v)
	{
		cs_autofree char *program = cs_xasprintf("docker-credential-%s", json_string_value(v) ? json_string_value(v) : "");
		if (!in_path(program))
			doctor_say(d, HEALTH_BAD, "credentials", "install it, or take it out of credHelpers in config.json", "%s, for %s, is not in $PATH", program, host);
	}
}

static void look_at_engine(struct doctor *d)
{
	struct cs_err *err = NULL;
	const struct endpoint *e = endpoint_get(&err);
	const char *path = e ? cs_prefix(e->host, "unix://") : NULL, *root;
	json_t *info = NULL, *w;
	size_t i;

	if (path && !doctor_socket(d, path))
		return;
	if (!e || client_json("GET", "/info", NULL, &info, &err) < 0) {
		cs_autofree char *text = cs_err_text(err);
		cs_err_free(err);
		doctor_say(d, HEALTH_BAD, "engine", "start it (systemctl start caissond), or name another one with -H or a context", "%s", text);
		return;
	}
	doctor_say(d, HEALTH_GOOD, "engine", NULL, "%s at %s, API 1.%d", jstr(info, "ServerVersion"), e->host, client_api(NULL) % 100);
	json_array_foreach(json_object_get(info, "Warnings"), i, w)
	{
		const char *text = json_string_value(w), *rest = cs_prefix(text, "WARNING: ");
		doctor_say(d, HEALTH_NOTE, "engine", NULL, "%s", rest ? rest : text);
	}
	root = jstr(info, "DockerRootDir");
	if (path && *root)
		doctor_disk(d, root);
	json_decref(info);
}

static int cmd_doctor(struct call *c)
{
	const struct doctor_opts *o = c->opts;
	struct doctor d = {.json = o->json, .findings = json_array(), .colour = isatty(1) && cs_empty(getenv("NO_COLOR"))};

	doctor_host(&d);
	look_at_engine(&d);
	look_at_client(&d);
	if (d.json) {
		cs_autofree char *text = json_text(d.findings, 4);
		printf("%s\n", text);
	} else if (d.bad) {
		printf("\n%zu thing%s must be put right before containers run well here; %zu to know about.\n", d.bad, d.bad == 1 ? "" : "s", d.notes);
	} else {
		printf("\nThis host is fit for containers; %zu thing%s to know about.\n", d.notes, d.notes == 1 ? "" : "s");
	}
	json_decref(d.findings);
	return d.bad ? 1 : 0;
}

const struct command doctor_commands[] = {
	{.names = "doctor", .usage = "[OPTIONS]", .help = "Check whether this host is fit for containers, and say what to do about it", .max = 0,
	 .about = "Check whether this host is fit for containers, and say what to do about it:\nkernel features, cgroups, KVM, firewall, the engine and who may use it, free space.\n"
		  "Exits 1 if something must be put right.",
	 CMD_OPTS(struct doctor_opts, doctor_flags), .run = cmd_doctor},
	CMD_END,
};
