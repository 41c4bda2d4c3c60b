/* SPDX-License-Identifier: Apache-2.0
 *
 * Platforms: parsing, normalising, choosing. Pure functions. */
#include "engine/platform.h"

#include <ctype.h>

#include "base/json.h"
#include "base/strv.h"

#if defined(__x86_64__)
#define HOST_ARCH "amd64"
#define HOST_VARIANT ""
#elif defined(__aarch64__)
#define HOST_ARCH "arm64"
#define HOST_VARIANT "v8"
#else
#error "name this architecture as Go does"
#endif

void cs_platform_done(struct cs_platform *p)
{
	free(p->os);
	free(p->arch);
	free(p->variant);
	free(p->os_version);
	*p = (struct cs_platform){0};
}

static char *lower(const char *s)
{
	char *t = cs_xstrdup(s ? s : "");

	for (char *c = t; *c; c++)
		*c = (char)tolower((unsigned char)*c);
	return t;
}

static void replace(char **s, const char *with)
{
	free(*s);
	*s = cs_xstrdup(with);
}

/* The names that a platform has besides its own. A variant that every machine of the architecture has is none. */
static void normalise(struct cs_platform *p)
{
	static const struct {
		const char *is, *arch, *variant;
	} other[] = {{"x86_64", "amd64", ""}, {"x86-64", "amd64", ""}, {"i386", "386", ""}, {"i486", "386", ""}, {"i586", "386", ""}, {"i686", "386", ""},
		     {"aarch64", "arm64", NULL}, {"armhf", "arm", "v7"}, {"armel", "arm", "v6"}};

	for (size_t i = 0; i < CS_ARRAY_SIZE(other); i++) {
		if (strcmp(p->arch, other[i].is) != 0)
			continue;
		replace(&p->arch, other[i].arch);
		if (other[i].variant)
			replace(&p->variant, other[i].variant);
		break;
	}
	if (strcmp(p->os, "macos") == 0)
		replace(&p->os, "darwin");
	if (strcmp(p->arch, "arm64") == 0 && (strcmp(p->variant, "v8") == 0 || strcmp(p->variant, "8") == 0))
		replace(&p->variant, "");
	if (strcmp(p->arch, "amd64") == 0 && strcmp(p->variant, "v1") == 0)
		replace(&p->variant, "");
	if (strcmp(p->arch, "arm") == 0) {
		if (!*p->variant || strcmp(p->variant, "7") == 0)
			replace(&p->variant, "v7");
		else if (isdigit((unsigned char)p->variant[0]) && !p->variant[1]) {
			char v[3] = {'v', p->variant[0], 0};
			replace(&p->variant, v);
		}
	}
}

void cs_platform_set(struct cs_platform *p, const char *os, const char *arch, const char *variant)
{
	cs_platform_done(p);
	p->os = lower(os);
	p->arch = lower(arch);
	p->variant = lower(variant);
	p->os_version = cs_xstrdup("");
	normalise(p);
}

static bool component_valid(const char *s)
{
	if (!*s)
		return false;
	for (; *s; s++) {
		if (!isalnum((unsigned char)*s) && *s != '_' && *s != '-' && *s != '.')
			return false;
	}
	return true;
}

static bool one_of(const char *s, const char *const *v)
{
	for (; *v; v++) {
		if (strcasecmp(s, *v) == 0)
			return true;
	}
	return false;
}

static int parse_json(const char *text, struct cs_platform *ret, struct cs_err **err)
{
	cs_autojson json_t *j = cs_json_parse(text, strlen(text), NULL);
	const char *os = json_string_value(json_object_get(j, "os")), *arch = json_string_value(json_object_get(j, "architecture"));

	if (!json_is_object(j) || cs_empty(os) || cs_empty(arch))
		return cs_fail(err, CS_ERR_INVALID, 0, "failed to parse platform: both OS and Architecture must be provided");
	cs_platform_set(ret, os, arch, json_string_value(json_object_get(j, "variant")));
	return 0;
}

int cs_platform_parse(const char *text, struct cs_platform *ret, struct cs_err **err)
{
	static const char *const systems[] = {"linux", "windows", "darwin", "macos", "freebsd", "netbsd", "openbsd", "solaris", "illumos", "plan9", "aix", "android", "dragonfly", NULL};
	static const char *const archs[] = {"amd64", "x86_64", "x86-64", "386", "i386", "i686", "arm", "armhf", "armel", "arm64", "aarch64", "ppc64", "ppc64le", "riscv64",
					    "s390x", "mips", "mipsle", "mips64", "mips64le", "loong64", "wasm", NULL};

	if (cs_empty(text)) {
		cs_platform_set(ret, "linux", HOST_ARCH, HOST_VARIANT);
		return 0;
	}
	if (*text == '{')
		return parse_json(text, ret, err);
	cs_autostrv char **v = cs_strv_split(text, '/');
	size_t n = cs_strv_len(v);
	for (size_t i = 0; i < n; i++) {
		if (!component_valid(v[i]))
			return cs_fail(err, CS_ERR_INVALID, 0,
				       "\"%.100s\" is an invalid component of \"%.100s\": platform specifier component must match \"^[A-Za-z0-9_.-]+$\": invalid argument", v[i],
				       text);
	}
	if (n > 3)
		return cs_fail(err, CS_ERR_INVALID, 0, "\"%.100s\": cannot parse platform specifier: invalid argument", text);
	if (n > 1)
		cs_platform_set(ret, v[0], v[1], n > 2 ? v[2] : NULL);
	else if (one_of(v[0], systems))
		cs_platform_set(ret, v[0], HOST_ARCH, HOST_VARIANT);
	else if (one_of(v[0], archs))
		cs_platform_set(ret, "linux", v[0], NULL);
	else
		return cs_fail(err, CS_ERR_INVALID, 0, "\"%.100s\": unknown operating system or architecture: invalid argument", text);
	return 0;
}

bool cs_platform_same(const struct cs_platform *a, const struct cs_platform *b)
{
	return strcmp(a->os, b->os) == 0 && strcmp(a->arch, b->arch) == 0 && strcmp(a->variant, b->variant) == 0;
}

/* v8 -> 8, v9.1 -> 9; none -> the least that the architecture has */
static int level(const struct cs_platform *p)
{
	const char *v = p->variant;

	if (*v == 'v')
		v++;
	if (isdigit((unsigned char)*v))
		return *v - '0';
	return strcmp(p->arch, "arm64") == 0 ? 8 : strcmp(p->arch, "arm") == 0 ? 7 : 1;
}

int cs_platform_score(const struct cs_platform *want, const struct cs_platform *have)
{
	if (strcmp(want->os, have->os) != 0)
		return 0;
	if (strcmp(want->arch, have->arch) == 0) {
		int w = level(want), h = level(have);
		if (*have->variant && *have->variant != 'v')
			return strcmp(want->variant, have->variant) == 0 ? 100 : 0;
		return h > w ? 0 : 100 - (w - h);
	}
	/* what the processor of the architecture runs besides its own */
	if (strcmp(want->arch, "amd64") == 0 && strcmp(have->arch, "386") == 0)
		return 10;
	if (strcmp(want->arch, "arm64") == 0 && strcmp(have->arch, "arm") == 0 && level(have) <= 8)
		return 10 + level(have);
	return 0;
}

char *cs_platform_text(const struct cs_platform *p)
{
	return cs_xasprintf("%s/%s%s%s", *p->os ? p->os : "unknown", *p->arch ? p->arch : "unknown", *p->variant ? "/" : "", p->variant);
}
