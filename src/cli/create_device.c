/* SPDX-License-Identifier: Apache-2.0
 *
 * --device and --gpus. */
#include <ctype.h>

#include "base/path.h"
#include "base/strv.h"
#include "cli/cli.h"
#include "cli/create.h"

/* A vendor or a class: from a letter to a letter or digit, with a few signs between. */
static bool is_cdi_part(const char *s, size_t n, const char *signs)
{
	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)s[i]) && !strchr(signs, s[i]))
			return false;
	return n && isalpha((unsigned char)*s) && isalnum((unsigned char)s[n - 1]);
}

static bool is_cdi_device(const char *s)
{
	size_t n = strlen(s);

	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)s[i]) && !strchr("_-.:", s[i]))
			return false;
	return n && isalnum((unsigned char)*s) && isalnum((unsigned char)s[n - 1]);
}

/* vendor.com/class=name, as the Container Device Interface names devices. */
static bool is_cdi(const char *s)
{
	const char *slash = strchr(s, '/'), *eq = strchr(s, '=');

	if (!slash || !eq || eq < slash)
		return false;
	return is_cdi_part(s, (size_t)(slash - s), "_-.") && is_cdi_part(slash + 1, (size_t)(eq - slash) - 1, "_-") && is_cdi_device(eq + 1);
}

static bool is_mode(const char *s)
{
	for (const char *p = s; *p; p++)
		if (!strchr("rwm", *p) || strchr(p + 1, *p))
			return false;
	return *s != 0;
}

/* host[:container][:mode] */
static int mapping(const char *text, json_t *mappings, struct cs_err **err)
{
	cs_autostrv char **part = cs_strv_split(text, ':');
	size_t n = cs_strv_len(part);

	if (n > 3 || !*part[0])
		return cs_fail(err, CS_ERR_INVALID, 0, "bad format for path: %s", text);
	bool second_is_mode = n == 2 && is_mode(part[1]);
	const char *mode = second_is_mode ? part[1] : n == 3 ? part[2] : "rwm", *inside = n >= 2 && !second_is_mode ? part[1] : part[0];
	if (n == 3 && !is_mode(mode))
		return cs_fail(err, CS_ERR_INVALID, 0, "bad mode specified: %s", mode);
	if (*inside != '/')
		return cs_fail(err, CS_ERR_INVALID, 0, "%s is not an absolute path", inside);
	cs_autofree char *clean = n == 3 ? cs_xstrdup(inside) : cs_path_clean(inside);
	cs_autofree char *outside = n == 1 || second_is_mode ? cs_path_clean(part[0]) : cs_xstrdup(part[0]);
	(void)json_array_append_new(mappings, json_pack("{s:o,s:o,s:s}", "PathOnHost", jtext(outside), "PathInContainer", jtext(clean), "CgroupPermissions", mode));
	return 0;
}

int create_devices(char *const *devices, json_t *mappings, json_t *requests, struct cs_err **err)
{
	json_t *ids = json_array();

	for (; devices && *devices; devices++) {
		if (is_cdi(*devices)) {
			(void)json_array_append_new(ids, jtext(*devices));
		} else if (mapping(*devices, mappings, err) < 0) {
			json_decref(ids);
			return -1;
		}
	}
	if (json_array_size(ids))
		(void)json_array_append_new(requests, json_pack("{s:s,s:O}", "Driver", "cdi", "DeviceIDs", ids));
	json_decref(ids);
	return 0;
}

/* ---- GPUs ---- */

struct gpus {
	json_t *ids, *capabilities, *options;
	int64_t count;
	const char *driver;
	bool has_count;
};

static char *count(struct gpus *g, const char *val)
{
	const char *why = NULL;

	g->has_count = true;
	if (strcmp(val, "all") == 0)
		g->count = -1;
	else
		why = create_int(val, &g->count);
	return why ? cs_xasprintf("invalid count (%s): value must be either \"all\" or an integer: %s", val, why) : NULL;
}

static json_t *list(char **v)
{
	json_t *a = json_array();

	for (; v && *v; v++)
		(void)json_array_append_new(a, jtext(*v));
	return a;
}

static char *gpu_field(struct gpus *g, const char *key, const char *val, const char *whole)
{
	cs_autostrv char **part = NULL;

	if (strcmp(key, "count") == 0)
		return count(g, val);
	if (strcmp(key, "driver") == 0) {
		g->driver = val;
		return NULL;
	}
	if (strcmp(key, "device") != 0 && strcmp(key, "capabilities") != 0 && strcmp(key, "options") != 0)
		return cs_xasprintf("unexpected key '%s' in '%s'", key, whole);
	if (*key == 'o' && !*val)
		return cs_xstrdup("failed to read gpu options: EOF");
	if (!csv_split(val, &part))
		return cs_xasprintf("failed to read gpu %s", key);
	if (*key == 'd') {
		g->ids = list(part);
	} else if (*key == 'c') {
		g->capabilities = list(part);
	} else {
		g->options = json_object();
		for (char **p = part; *p; p++) {
			size_t n = strcspn(*p, "=");
			cs_autofree char *name = cs_xstrndup(*p, n);
			jset(g->options, name, (*p)[n] ? *p + n + 1 : "");
		}
	}
	return NULL;
}

static char *gpu_fields(struct gpus *g, char **fields)
{
	cs_autostrv char **seen = NULL;

	for (char **f = fields; *f; f++) {
		size_t n = strcspn(*f, "=");
		cs_autofree char *key = (*f)[n] ? cs_xstrndup(*f, n) : cs_xstrdup("count");
		if (cs_strv_has(seen, key))
			return cs_xasprintf("gpu request key '%s' can be specified only once", key);
		cs_strv_push(&seen, key);
		char *why = gpu_field(g, key, (*f)[n] ? *f + n + 1 : *f, *f);
		if (why)
			return why;
	}
	return NULL;
}

char *create_gpus(const char *text, json_t **ret)
{
	cs_autostrv char **fields = NULL;
	struct gpus g = {.driver = ""};
	char *why = csv_fields(text, &fields);

	if (!why)
		why = gpu_fields(&g, fields);
	if (!g.has_count && !g.ids)
		g.count = 1;
	if (!g.capabilities)
		g.capabilities = json_array();
	(void)json_array_append_new(g.capabilities, json_string("gpu"));
	if (!g.options)
		g.options = json_object();
	if (!why && ret)
		*ret = json_pack("{s:s,s:I,s:O*,s:[O],s:O}", "Driver", g.driver, "Count", (json_int_t)g.count, "DeviceIDs", g.ids, "Capabilities",
				 g.capabilities, "Options", g.options);
	json_decref(g.ids);
	json_decref(g.capabilities);
	json_decref(g.options);
	return why;
}
