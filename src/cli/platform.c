/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/platform.h"

#include <string.h>
#include <sys/utsname.h>

#include "cli/cli.h"

/* The names that Go has for what people write. */
static const char *arch_name(const char *arch)
{
	static const char *const names[][2] = {{"x86_64", "amd64"}, {"x86-64", "amd64"}, {"aarch64", "arm64"}, {"i386", "386"}, {"i686", "386"}, {"armhf", "arm"},
					       {"armel", "arm"}, {"armv7l", "arm"}};
	for (size_t i = 0; i < CS_ARRAY_SIZE(names); i++)
		if (strcasecmp(arch, names[i][0]) == 0)
			return names[i][1];
	return arch;
}

char *platform_query(const char *platform, const char *prefix, struct cs_err **err)
{
	cs_autostrv char **part = cs_strv_split(platform ? platform : "", '/');
	size_t n = cs_strv_len(part);
	struct utsname u;

	if (cs_empty(platform))
		return cs_xstrdup("");
	if (n < 1 || n > 3) {
		cs_fail(err, CS_ERR_INVALID, 0, "\"%s\": cannot parse platform specifier: invalid argument", platform);
		return NULL;
	}
	for (size_t i = 0; i < n; i++)
		if (!*part[i] || part[i][strspn(part[i], "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")]) {
			cs_fail(err, CS_ERR_INVALID, 0, "\"%s\" is an invalid component of \"%s\": platform specifier component must match \"^[A-Za-z0-9_.-]+$\": invalid argument", part[i],
				platform);
			return NULL;
		}
	const char *os = part[0], *arch = n > 1 ? part[1] : NULL;
	if (n == 1) {
		bool is_os = false;
		static const char *const systems[] = {"linux", "windows", "darwin", "freebsd", "openbsd", "netbsd", "solaris", "android", "aix", "dragonfly", "illumos", "js", "plan9"};
		for (size_t i = 0; i < CS_ARRAY_SIZE(systems); i++)
			is_os |= strcasecmp(os, systems[i]) == 0;
		static const char *const machines[] = {"amd64", "arm64", "arm", "386", "ppc64", "ppc64le", "s390x", "riscv64", "mips", "mipsle", "mips64", "mips64le", "loong64", "wasm"};
		bool is_arch = false;
		for (size_t i = 0; i < CS_ARRAY_SIZE(machines); i++)
			is_arch |= cs_streq(arch_name(os), machines[i]);
		if (!is_os && !is_arch) {
			cs_fail(err, CS_ERR_INVALID, 0, "\"%s\": unknown operating system or architecture: invalid argument", platform);
			return NULL;
		}
		if (!is_os) {
			arch = os;
			os = "linux";
		} else {
			arch = uname(&u) == 0 ? u.machine : "amd64";
		}
	}
	arch = arch_name(arch);
	const char *variant = n > 2 ? part[2] : NULL;
	json_t *j = json_pack("{s:s,s:s}", "architecture", arch, "os", os);
	if (variant)
		(void)json_object_set_new(j, "variant", json_string(variant));
	cs_autofree char *text = json_dumps(j, JSON_COMPACT), *enc = url_encode(text);
	json_decref(j);
	return cs_xasprintf("%s%s", prefix, enc);
}

const char *platform_given(const char *flag) { return flag ? flag : getenv("DOCKER_DEFAULT_PLATFORM"); }
