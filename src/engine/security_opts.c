/* SPDX-License-Identifier: Apache-2.0
 *
 * HostConfig.SecurityOpt. What the build cannot enforce is refused rather than dropped: a container must not look confined when
 * it is not. Pure. */
#include <string.h>

#include "engine/hostfacts.h"
#include "base/num.h"
#include "engine/spec-internal.h"

void cs_security_opts_done(struct cs_security_opts *s)
{
	free(s->seccomp);
	free(s->apparmor);
	free(s->label);
	*s = (struct cs_security_opts){0};
}

static void append(char **list, const char *s)
{
	char *joined = *list ? cs_xasprintf("%s,%s", *list, s) : cs_xstrdup(s);

	free(*list);
	*list = joined;
}

static int set_seccomp(struct cs_security_opts *s, const char *val, struct cs_err **err)
{
	struct cs_str text cs_autostr = CS_STR_INIT((size_t)1 << 20);

	free(s->seccomp);
	s->seccomp = NULL;
	s->seccomp_unconfined = strcmp(val, "unconfined") == 0;
	s->seccomp_builtin = strcmp(val, "builtin") == 0;
	if (s->seccomp_unconfined || s->seccomp_builtin)
		return 0;
	/* converted once here so that a bad profile fails the create, not the start */
	if (cs_seccomp_put(val, cs_caps_default() & cs_host_facts()->capabilities, &text, err) < 0)
		return -1;
	s->seccomp = cs_xstrdup(val);
	return 0;
}

static int set_option(struct cs_security_opts *s, const char *opt, const char *key, const char *val, struct cs_err **err)
{
	if (strcmp(key, "label") == 0) {
		append(&s->label, val);
	} else if (strcmp(key, "apparmor") == 0) {
		append(&s->apparmor, val);
		if (*val && strcmp(val, "unconfined") != 0)
			return cs_fail(err, CS_ERR_UNSUPPORTED, 0, "security option %s: AppArmor profiles are not available in this build", opt);
	} else if (strcmp(key, "seccomp") == 0) {
		return set_seccomp(s, val, err);
	} else if (strcmp(key, "no-new-privileges") == 0) {
		s->no_new_privileges_set = true;
		if (!cs_parse_bool(val, &s->no_new_privileges))
			return cs_fail(err, CS_ERR_INVALID, 0, "invalid --security-opt 2: \"%s\"", opt);
	} else if (strcmp(key, "writable-cgroups") == 0) {
		if (!cs_parse_bool(val, &s->writable_cgroups))
			return cs_fail(err, CS_ERR_INVALID, 0, "invalid --security-opt 2: \"%s\"", opt);
	} else {
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid --security-opt 2: \"%.128s\"", opt);
	}
	return 0;
}

int cs_security_opts_parse(char *const *opts, struct cs_security_opts *ret, struct cs_err **err)
{
	struct cs_security_opts s cs_auto(cs_security_opts_done) = {0};

	for (size_t i = 0; opts && opts[i]; i++) {
		const char *opt = opts[i], *sep = strchr(opt, '=');

		if (strcmp(opt, "no-new-privileges") == 0) {
			s.no_new_privileges = s.no_new_privileges_set = true;
			continue;
		}
		if (strcmp(opt, "writable-cgroups") == 0) {
			s.writable_cgroups = true;
			continue;
		}
		if (strcmp(opt, "disable") == 0) {
			append(&s.label, "disable");
			continue;
		}
		if (!sep)
			sep = strchr(opt, ':'); /* the old spelling */
		if (!sep)
			return cs_fail(err, CS_ERR_INVALID, 0, "invalid --security-opt 1: \"%.128s\"", opt);
		cs_autofree char *key = cs_xstrndup(opt, (size_t)(sep - opt));
		if (set_option(&s, opt, key, sep + 1, err) < 0)
			return -1;
	}
	*ret = s;
	s = (struct cs_security_opts){0};
	return 0;
}
