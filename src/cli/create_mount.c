/* SPDX-License-Identifier: Apache-2.0
 *
 * --mount: comma-separated fields of a mount, as opts/mount.go of Docker's client reads them. */
#include <ctype.h>

#include "base/num.h"
#include "base/path.h"
#include "base/strv.h"
#include "cli/cli.h"
#include "cli/create.h"

struct mount {
	json_t *m; /* Type, Source, Target, ReadOnly, Consistency */
	json_t *bind, *volume, *image, *tmpfs;
	const char *recursive; /* of bind-recursive */
};

static json_t *sub(json_t **o)
{
	if (!*o)
		*o = json_object();
	return *o;
}

static void set(json_t *o, const char *key, const char *val) { jset(o, key, val); }

/* "true", "1", … or nothing at all for a switch */
static bool truth(const char *val, bool *ret)
{
	static const char *const yes[] = {"1", "t", "T", "TRUE", "true", "True"}, *const no[] = {"0", "f", "F", "FALSE", "false", "False"};

	for (size_t i = 0; i < CS_ARRAY_SIZE(yes); i++)
		if (!val || strcmp(val, yes[i]) == 0 || strcmp(val, no[i]) == 0) {
			*ret = !val || strcmp(val, yes[i]) == 0;
			return true;
		}
	return false;
}

static void put_pair(json_t *owner, const char *key, const char *pair)
{
	json_t *map = json_object_get(owner, key);
	size_t n = strcspn(pair, "=");
	cs_autofree char *name = cs_xstrndup(pair, n);

	if (!map) {
		map = json_object();
		(void)json_object_set_new(owner, key, map);
	}
	set(map, name, pair[n] ? pair + n + 1 : "");
}

static json_t *driver(struct mount *x)
{
	json_t *d = json_object_get(sub(&x->volume), "DriverConfig");

	if (!d) {
		d = json_object();
		(void)json_object_set_new(x->volume, "DriverConfig", d);
	}
	return d;
}

static char *switches(struct mount *x, const char *key, const char *val, bool *known)
{
	bool on, ro = strcmp(key, "readonly") == 0 || strcmp(key, "ro") == 0, nocopy = strcmp(key, "volume-nocopy") == 0;

	*known = ro || nocopy || strcmp(key, "bind-nonrecursive") == 0;
	if (!*known)
		return NULL;
	if (!truth(val, &on))
		return cs_xasprintf("invalid value for %s: %s", key, val);
	if (ro)
		(void)json_object_set_new(x->m, "ReadOnly", json_boolean(on));
	else if (nocopy)
		(void)(driver(x), json_object_set_new(x->volume, "NoCopy", json_boolean(on)));
	else
		(void)json_object_set_new(sub(&x->bind), "NonRecursive", json_boolean(on));
	return NULL;
}

static char *bind_recursive(struct mount *x, const char *val)
{
	json_t *b = sub(&x->bind);

	if (strcmp(val, "disabled") == 0)
		(void)json_object_set_new(b, "NonRecursive", json_true());
	else if (strcmp(val, "writable") == 0)
		(void)json_object_set_new(b, "ReadOnlyNonRecursive", json_true());
	else if (strcmp(val, "readonly") == 0)
		(void)json_object_set_new(b, "ReadOnlyForceRecursive", json_true());
	else if (strcmp(val, "enabled") != 0)
		return cs_xasprintf("invalid value for bind-recursive: %s (must be \"enabled\", \"disabled\", \"writable\", or \"readonly\")", val);
	return NULL;
}

/* Caller frees; NULL when we do not know where we are. */
char *path_absolute(const char *path)
{
	cs_autofree char *here = *path == '/' ? NULL : getcwd(NULL, 0);

	if (*path != '/' && !here)
		return NULL;
	cs_autofree char *whole = here ? cs_path_join(here, path) : cs_xstrdup(path);
	return cs_path_clean(whole);
}

static void set_source(json_t *m, const char *val)
{
	if (*val == '.') {
		cs_autofree char *abs = path_absolute(val);
		set(m, "Source", abs ? abs : val);
	} else {
		set(m, "Source", val);
	}
}

static char *field(struct mount *x, const char *key, const char *val, const char *whole)
{
	uint32_t mode;
	int64_t size;

	if (strcmp(key, "type") == 0) {
		cs_autofree char *lower = cs_xstrdup(val);
		for (char *p = lower; *p; p++)
			*p = (char)tolower((unsigned char)*p);
		set(x->m, "Type", lower);
	} else if (strcmp(key, "source") == 0 || strcmp(key, "src") == 0) {
		set_source(x->m, val);
	} else if (strcmp(key, "target") == 0 || strcmp(key, "dst") == 0 || strcmp(key, "destination") == 0) {
		set(x->m, "Target", val);
	} else if (strcmp(key, "consistency") == 0) {
		set(x->m, "Consistency", val);
	} else if (strcmp(key, "bind-propagation") == 0) {
		set(sub(&x->bind), "Propagation", val);
	} else if (strcmp(key, "bind-recursive") == 0) {
		x->recursive = val;
		return bind_recursive(x, val);
	} else if (strcmp(key, "volume-subpath") == 0) {
		(void)driver(x);
		set(x->volume, "Subpath", val);
	} else if (strcmp(key, "volume-label") == 0) {
		(void)driver(x);
		put_pair(x->volume, "Labels", val);
	} else if (strcmp(key, "volume-driver") == 0) {
		set(driver(x), "Name", val);
	} else if (strcmp(key, "volume-opt") == 0) {
		put_pair(driver(x), "Options", val);
	} else if (strcmp(key, "image-subpath") == 0) {
		set(sub(&x->image), "Subpath", val);
	} else if (strcmp(key, "tmpfs-size") == 0) {
		if (!cs_parse_bytes(val, &size))
			return cs_xasprintf("invalid value for %s: %s", key, val);
		(void)json_object_set_new(sub(&x->tmpfs), "SizeBytes", json_integer(size));
	} else if (strcmp(key, "tmpfs-mode") == 0) {
		if (!cs_parse_mode(val, &mode))
			return cs_xasprintf("invalid value for %s: %s", key, val);
		(void)json_object_set_new(sub(&x->tmpfs), "Mode", json_integer(mode));
	} else {
		return cs_xasprintf("unexpected key '%s' in '%s'", key, whole);
	}
	return NULL;
}

static const char *text_of(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));
	return s ? s : "";
}

/* Options of one kind stand with mounts of that kind only. */
static char *mixed(const struct mount *x)
{
	const struct {
		const char *type;
		const json_t *options;
	} kinds[] = {{"bind", x->bind}, {"volume", x->volume}, {"image", x->image}, {"tmpfs", x->tmpfs}};
	const char *type = text_of(x->m, "Type");

	for (size_t i = 0; i < CS_ARRAY_SIZE(kinds); i++)
		if (kinds[i].options && strcmp(type, kinds[i].type) != 0)
			return cs_xasprintf("cannot mix '%s-*' options with mount type '%s'", kinds[i].type, type);
	return NULL;
}

static char *conditions(const struct mount *x)
{
	const char *r = x->recursive;
	bool strict = r && (strcmp(r, "readonly") == 0 || strcmp(r, "writable") == 0);

	if (!*text_of(x->m, "Type"))
		return cs_xstrdup("type is required");
	if (!*text_of(x->m, "Target"))
		return cs_xstrdup("target is required");
	char *why = mixed(x);
	if (why)
		return why;
	if (strict && !json_is_true(json_object_get(x->m, "ReadOnly")))
		return cs_xasprintf("option 'bind-recursive=%s' requires 'readonly' to be specified in conjunction", r);
	if (strict && *r == 'r' && strcmp(text_of(x->bind, "Propagation"), "rprivate") != 0)
		return cs_xstrdup("option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in conjunction");
	return NULL;
}

static char *all_fields(char **fields, struct mount *x)
{
	for (char **f = fields; *f; f++) {
		size_t n = strcspn(*f, "=");
		cs_autofree char *key = cs_xstrndup(*f, n);
		const char *val = (*f)[n] ? *f + n + 1 : NULL;
		bool known;
		for (char *p = key; *p; p++)
			*p = (char)tolower((unsigned char)*p);
		char *why = switches(x, key, val, &known);
		if (why)
			return why;
		if (known)
			continue;
		if (!val)
			return cs_xasprintf("invalid field '%s' must be a key=value pair", *f);
		if ((why = field(x, key, val, *f)))
			return why;
	}
	return conditions(x);
}

char *create_mount(const char *text, json_t **ret)
{
	cs_autostrv char **fields = NULL;
	struct mount x = {.m = json_pack("{s:s}", "Type", "volume")};
	char *why = csv_fields(text, &fields);

	if (!why)
		why = all_fields(fields, &x);
	struct {
		const char *key;
		json_t *o;
	} parts[] = {{"BindOptions", x.bind}, {"VolumeOptions", x.volume}, {"ImageOptions", x.image}, {"TmpfsOptions", x.tmpfs}};
	for (size_t i = 0; i < CS_ARRAY_SIZE(parts); i++)
		if (parts[i].o)
			(void)json_object_set_new(x.m, parts[i].key, parts[i].o);
	if (!why && ret)
		*ret = x.m;
	else
		json_decref(x.m);
	return why;
}
