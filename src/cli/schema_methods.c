/* SPDX-License-Identifier: Apache-2.0
 *
 * The methods of the API's types that templates may call: `{{.HostConfig.NetworkMode.IsHost}}`. What each says is moby's (api/types/container, v28). */
#include "cli/schema.h"

#include <string.h>
#include <strings.h>

#define METHOD(fn) static struct tpl_value fn(void *self, struct tpl_arena *a, const char *arg)
#define SAYS(fn, truth)                                                                                                            \
	METHOD(fn)                                                                                                                 \
	{                                                                                                                          \
		const char *s = text(self, a);                                                                                     \
		return tpl_bool_value(truth);                                                                                      \
	}
#define IS(s, word) (strcmp(s, word) == 0)

/* A named string's own text. */
static const char *text(const struct tpl_value *v, struct tpl_arena *a) { return tpl_strn(a, v->s ? v->s : "", v->n); }

/* The container of "container:NAME", which may be ""; NULL for anything else. */
static const char *joined(const char *s) { return strncmp(s, "container:", 10) == 0 ? s + 10 : NULL; }

static bool user_defined(const char *s) { return !IS(s, "default") && !IS(s, "bridge") && !IS(s, "host") && !IS(s, "none") && !joined(s); }

SAYS(is_none, IS(s, "none"))
SAYS(is_default, IS(s, "default"))
SAYS(is_bridge, IS(s, "bridge"))
SAYS(is_host, IS(s, "host"))
SAYS(is_private, IS(s, "private"))
SAYS(is_shareable, IS(s, "shareable"))
SAYS(is_empty, !*s)
SAYS(is_container, joined(s) != NULL)
SAYS(is_user_defined, user_defined(s))
SAYS(is_not_host, !IS(s, "host"))
SAYS(is_not_shared, !IS(s, "host") && !joined(s))
SAYS(is_empty_or_host, !*s || IS(s, "host"))
SAYS(is_valid_ipc, !*s || IS(s, "none") || IS(s, "private") || IS(s, "host") || IS(s, "shareable") || joined(s))
SAYS(is_valid_pid, !*s || IS(s, "host") || (joined(s) && *joined(s)))
SAYS(is_valid_cgroupns, !*s || IS(s, "private") || IS(s, "host"))
SAYS(is_default_isolation, !*s || strcasecmp(s, "default") == 0)
SAYS(is_hyperv, strcasecmp(s, "hyperv") == 0)
SAYS(is_process, strcasecmp(s, "process") == 0)

METHOD(container)
{
	return tpl_str_value(a, joined(text(self, a)));
}
METHOD(user_network)
{
	const char *s = text(self, a);
	return tpl_str_value(a, user_defined(s) ? s : "");
}
METHOD(network_name)
{
	const char *s = text(self, a);
	return tpl_str_value(a, joined(s) ? "container" : s);
}

/* Of a RestartPolicy: what its Name says. */
static const char *policy(const struct tpl_value *v, struct tpl_arena *a) { return text(&v->v[0], a); }
METHOD(restarts_never)
{
	const char *s = policy(self, a);
	return tpl_bool_value(!*s || IS(s, "no"));
}
METHOD(restarts_always) { return tpl_bool_value(IS(policy(self, a), "always")); }
METHOD(restarts_on_failure) { return tpl_bool_value(IS(policy(self, a), "on-failure")); }
METHOD(restarts_unless_stopped) { return tpl_bool_value(IS(policy(self, a), "unless-stopped")); }

static const struct tpl_method network[] = {{"ConnectedContainer", container}, {"IsBridge", is_bridge}, {"IsContainer", is_container}, {"IsDefault", is_default}, {"IsHost", is_host},
					    {"IsNone", is_none}, {"IsPrivate", is_not_shared}, {"IsUserDefined", is_user_defined}, {"NetworkName", network_name}, {"UserDefined", user_network}, {NULL}},
			       ipc[] = {{"Container", container}, {"IsContainer", is_container}, {"IsEmpty", is_empty}, {"IsHost", is_host}, {"IsNone", is_none}, {"IsPrivate", is_private},
					{"IsShareable", is_shareable}, {"Valid", is_valid_ipc}, {NULL}},
			       pid[] = {{"Container", container}, {"IsContainer", is_container}, {"IsHost", is_host}, {"IsPrivate", is_not_shared}, {"Valid", is_valid_pid}, {NULL}},
			       uts[] = {{"IsHost", is_host}, {"IsPrivate", is_not_host}, {"Valid", is_empty_or_host}, {NULL}},
			       cgroupns[] = {{"IsEmpty", is_empty}, {"IsHost", is_host}, {"IsPrivate", is_private}, {"Valid", is_valid_cgroupns}, {NULL}},
			       isolation[] = {{"IsDefault", is_default_isolation}, {"IsHyperV", is_hyperv}, {"IsProcess", is_process}, {"IsValid", is_default_isolation}, {NULL}},
			       restart[] = {{"IsAlways", restarts_always}, {"IsNone", restarts_never}, {"IsOnFailure", restarts_on_failure}, {"IsUnlessStopped", restarts_unless_stopped}, {NULL}};

const struct tpl_method *schema_methods(const char *type)
{
	static const struct {
		const char *type;
		const struct tpl_method *methods;
	} all[] = {{"container.NetworkMode", network}, {"container.IpcMode", ipc}, {"container.PidMode", pid}, {"container.UTSMode", uts}, {"container.UsernsMode", uts},
		   {"container.CgroupnsMode", cgroupns}, {"container.Isolation", isolation}, {"container.RestartPolicy", restart}};

	for (size_t i = 0; i < CS_ARRAY_SIZE(all); i++)
		if (IS(all[i].type, type))
			return all[i].methods;
	return NULL;
}
