/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/platform.h"

#include <ctype.h>
#include <string.h>
#include <sys/utsname.h>

#include "cli/cli.h"

#define COMPONENT "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"

struct platform {
	char *os, *arch, *variant; /* owned; variant "" for none */
};

static void platform_done(struct platform *p)
{
	free(p->os);
	free(p->arch);
	free(p->variant);
}

static void set(char **what, const char *text)
{
	free(*what);
	*what = cs_xstrdup(text);
	for (char *c = *what; *c; c++)
		*c = (char)tolower((unsigned char)*c);
}

/* The names that Go has for what people write; a variant may be in them. */
static void set_arch(struct platform *p, const char *arch, const char *variant)
{
	static const char *const names[][3] = {{"x86_64", "amd64"}, {"x86-64", "amd64"}, {"aarch64", "arm64"}, {"i386", "386"}, {"i686", "386"}, {"armhf", "arm", "v7"},
					       {"armel", "arm", "v6"}, {"armv7l", "arm", "v7"}};

	set(&p->arch, arch);
	set(&p->variant, variant);
	for (size_t i = 0; i < CS_ARRAY_SIZE(names); i++)
		if (cs_streq(p->arch, names[i][0])) {
			set(&p->arch, names[i][1]);
			if (names[i][2])
				set(&p->variant, names[i][2]);
			break;
		}
	if (isdigit((unsigned char)*p->variant)) {
		cs_autofree char *v = cs_xasprintf("v%s", p->variant);
		set(&p->variant, v);
	}
}

static bool is_one_of(const char *word, const char *const *list)
{
	for (; *list; list++)
		if (cs_streq(*list, word))
			return true;
	return false;
}

/* The first component, which may bear a version in parentheses; that is no matter here. */
static void set_os(struct platform *p, const char *os)
{
	cs_autofree char *name = cs_xstrndup(os, strcspn(os, "("));

	set(&p->os, name);
	if (cs_streq(p->os, "macos"))
		set(&p->os, "darwin");
}

/* An operating system's name alone means this machine's architecture, an architecture's alone Linux. */
static bool from_one_word(struct platform *p, const char *word)
{
	static const char *const systems[] = {"linux", "windows", "darwin", "freebsd", "openbsd", "netbsd", "solaris", "android", "aix", "dragonfly", "illumos", "js", "plan9", NULL};
	static const char *const machines[] = {"amd64", "arm64", "arm", "386", "ppc64", "ppc64le", "s390x", "riscv64", "mips", "mipsle", "mips64", "mips64le", "loong64", "wasm", NULL};
	struct utsname u;

	set_os(p, word);
	if (is_one_of(p->os, systems)) {
		set_arch(p, uname(&u) == 0 ? u.machine : "amd64", "");
		return true;
	}
	set_arch(p, word, "");
	set(&p->os, "linux");
	return is_one_of(p->arch, machines);
}

/* os[/arch[/variant]], or arch alone (containerd's platforms package). */
static int parse(const char *text, struct platform *p, struct cs_err **err)
{
	cs_autostrv char **part = cs_strv_split(text, '/');
	size_t n = cs_strv_len(part);

	if (n < 1 || n > 3)
		return cs_fail(err, CS_ERR_INVALID, 0, "\"%s\": cannot parse platform specifier: invalid argument", text);
	for (size_t i = 0; i < n; i++) {
		size_t len = strspn(part[i], COMPONENT);
		if (i == 0 && len && part[i][len] == '(') {
			len += 1 + strspn(part[i] + len + 1, COMPONENT);
			len += part[i][len] == ')';
		}
		if (!*part[i] || part[i][len])
			return cs_fail(err, CS_ERR_INVALID, 0, "\"%s\" is an invalid component of \"%s\": platform specifier component must match \"^[A-Za-z0-9_.-]+$\": invalid argument", part[i],
				       text);
	}
	if (n == 1 && !from_one_word(p, part[0]))
		return cs_fail(err, CS_ERR_INVALID, 0, "\"%s\": unknown operating system or architecture: invalid argument", text);
	if (n > 1) {
		set_os(p, part[0]);
		set_arch(p, part[1], n > 2 ? part[2] : "");
	}
	if (n < 3 && cs_streq(p->arch, "arm") && cs_streq(p->variant, "v7"))
		set(&p->variant, ""); /* what an arm is that says no more */
	return 0;
}

char *platform_query(const char *platform, const char *prefix, struct cs_err **err)
{
	cs_auto(platform_done) struct platform p = {0};

	if (cs_empty(platform))
		return cs_xstrdup("");
	if (parse(platform, &p, err) < 0)
		return NULL;
	json_t *j = json_pack("{s:s,s:s}", "architecture", p.arch, "os", p.os);
	if (*p.variant)
		(void)json_object_set_new(j, "variant", json_string(p.variant));
	cs_autofree char *text = json_dumps(j, JSON_COMPACT), *enc = url_encode(text);
	json_decref(j);
	return cs_xasprintf("%s%s", prefix, enc);
}

char *platform_text(const char *platform, struct cs_err **err)
{
	cs_auto(platform_done) struct platform p = {0};

	if (cs_empty(platform))
		return cs_xstrdup("");
	if (parse(platform, &p, err) < 0)
		return NULL;
	return cs_xasprintf("%s/%s%s%s", p.os, p.arch, *p.variant ? "/" : "", p.variant);
}

const char *platform_given(const char *flag) { return flag ? flag : getenv("DOCKER_DEFAULT_PLATFORM"); }
