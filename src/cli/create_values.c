/* SPDX-License-Identifier: Apache-2.0
 *
 * Checks of single values of run's and create's flags. */
#include <arpa/inet.h>
#include <ctype.h>

#include "base/num.h"
#include "base/str.h"
#include "base/strv.h"
#include "cli/create.h"

static bool is_ip(const char *s)
{
	unsigned char buf[16];
	return inet_pton(AF_INET, s, buf) == 1 || inet_pton(AF_INET6, s, buf) == 1;
}

char *check_env(char **v) { return !**v || **v == '=' ? cs_xasprintf("invalid environment variable: %s", *v) : NULL; }

char *check_label(char **v)
{
	size_t n = strcspn(*v, "="), blank = strspn(*v, " \t\n\v\f\r");

	if (blank >= n)
		return cs_xasprintf("invalid label '%s': empty name", *v);
	return strcspn(*v, " \t\n\v\f\r") < n ? cs_xasprintf("label '%.*s' contains whitespaces", (int)n, *v) : NULL;
}

char *check_attach(char **v)
{
	static const char *const streams[] = {"stdin", "stdout", "stderr"};

	for (size_t i = 0; i < CS_ARRAY_SIZE(streams); i++)
		if (strcasecmp(*v, streams[i]) == 0) {
			free(*v);
			*v = cs_xstrdup(streams[i]);
			return NULL;
		}
	return cs_xstrdup("valid streams are STDIN, STDOUT and STDERR");
}

/* host:ip, host=ip, host:[ip6], host:host-gateway; passed on as host:ip. */
char *check_add_host(char **v)
{
	size_t n = strcspn(*v, "=");

	if (!(*v)[n])
		n = strcspn(*v, ":");
	const char *ip = (*v) + n + 1;
	if (n == 0 || !(*v)[n])
		return cs_xasprintf("bad format for add-host: \"%s\"", *v);
	size_t len = strlen(ip);
	cs_autofree char *bare = *ip == '[' && len > 2 && ip[len - 1] == ']' ? cs_xstrndup(ip + 1, len - 2) : cs_xstrdup(ip);
	if (strcmp(bare, "host-gateway") != 0 && !is_ip(bare))
		return cs_xasprintf("invalid IP address in add-host: \"%s\"", ip);
	char *whole = cs_xasprintf("%.*s:%s", (int)n, *v, bare);
	free(*v);
	*v = whole;
	return NULL;
}

static void trim(char *s)
{
	size_t before = strspn(s, " \t\n\v\f\r"), n = strlen(s);

	while (n > before && isspace((unsigned char)s[n - 1]))
		n--;
	memmove(s, s + before, n - before);
	s[n - before] = 0;
}

char *check_dns(char **v)
{
	cs_autofree char *given = cs_xstrdup(*v);

	trim(*v);
	return is_ip(*v) ? NULL : cs_xasprintf("IP address is not correctly formatted: %s", given);
}

/* "." clears the list. */
char *check_dns_search(char **v)
{
	char *s = *v;

	trim(s);
	if (strcmp(s, ".") == 0)
		return NULL;
	if (!cs_str_is_domain(s))
		return cs_xasprintf("%s is not a valid domain", s);
	size_t n = strlen(s);
	if (s[n - 1] == '.') /* the root's dot says nothing here */
		s[n - 1] = 0;
	return NULL;
}

char *check_link(char **v)
{
	const char *first = strchr(*v, ':');

	if (!**v)
		return cs_xstrdup("empty string specified for links");
	return first && strchr(first + 1, ':') ? cs_xasprintf("bad format for links: %s", *v) : NULL;
}

char *check_sysctl(char **v)
{
	static const char *const names[] = {"kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax", "kernel.shmmni",
					    "kernel.shm_rmid_forced"};
	size_t n = strcspn(*v, "=");
	bool good = cs_prefix(*v, "net.") || cs_prefix(*v, "fs.mqueue.");

	for (size_t i = 0; i < CS_ARRAY_SIZE(names); i++)
		good |= strlen(names[i]) == n && memcmp(names[i], *v, n) == 0;
	return good && (*v)[n] ? NULL : cs_xasprintf("sysctl '%s' is not allowed", *v);
}

/* "c 1:3 rwm", "a *:* rwm" */
char *check_cgroup_rule(char **v)
{
	cs_autostrv char **part = cs_strv_split(*v, ' ');
	bool good = cs_strv_len(part) == 3 && strlen(part[0]) == 1 && strchr("acb", *part[0]);

	if (good) {
		const char *p = part[1];
		for (int i = 0; good && i < 2; i++) {
			size_t n = *p == '*' ? 1 : strspn(p, "0123456789");
			good = n && p[n] == (i ? 0 : ':');
			p += n + 1;
		}
		good = good && *part[2] && strspn(part[2], "rwm") == strlen(part[2]) && strlen(part[2]) <= 3;
	}
	return good ? NULL : cs_xasprintf("invalid device cgroup format '%s'", *v);
}

char *check_mount(char **v) { return create_mount(*v, NULL); }
char *check_network(char **v) { return create_network(*v, NULL); }
char *check_gpus(char **v) { return create_gpus(*v, NULL); }
char *check_ulimit(char **v) { return create_ulimit(*v, NULL); }
char *check_bps(char **v) { return create_rate(*v, true, NULL); }
char *check_iops(char **v) { return create_rate(*v, false, NULL); }
char *check_weight(char **v) { return create_weight(*v, NULL); }

/* ---- ulimits, rates, weights ---- */

const char *create_int(const char *s, int64_t *ret)
{
	const char *digits = s + (*s == '-' || *s == '+');

	if (!*digits || digits[strspn(digits, "0123456789")])
		return "invalid syntax";
	return cs_parse_i64(*s == '+' ? digits : s, INT64_MIN, INT64_MAX, ret) ? NULL : "value out of range";
}

char *create_ulimit(const char *text, json_t **ret)
{
	static const char *const names[] = {"core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss",
					    "rtprio", "rttime", "sigpending", "stack"};
	const char *eq = strchr(text, '='), *why;
	int64_t limit[2] = {0, 0};
	bool known = false;

	if (!eq)
		return cs_xasprintf("invalid ulimit argument: %s", text);
	cs_autofree char *name = cs_xstrndup(text, (size_t)(eq - text));
	for (size_t i = 0; i < CS_ARRAY_SIZE(names); i++)
		known |= strcmp(names[i], name) == 0;
	if (!known)
		return cs_xasprintf("invalid ulimit type: %s", name);
	cs_autostrv char **part = cs_strv_split(eq + 1, ':');
	size_t n = cs_strv_len(part);
	if (n > 2)
		return cs_xasprintf("too many limit value arguments - %s, can only have up to two, `soft[:hard]`", eq + 1);
	for (size_t i = 0; i < n; i++)
		if ((why = create_int(part[i], &limit[i])))
			return cs_xasprintf("strconv.ParseInt: parsing \"%s\": %s", part[i], why);
	if (n == 1)
		limit[1] = limit[0];
	if (limit[1] != -1 && limit[0] == -1)
		return cs_xasprintf("ulimit soft limit must be less than or equal to hard limit: soft: -1 (unlimited), hard: %lld", (long long)limit[1]);
	if (limit[1] != -1 && limit[0] > limit[1])
		return cs_xasprintf("ulimit soft limit must be less than or equal to hard limit: %lld > %lld", (long long)limit[0], (long long)limit[1]);
	if (ret)
		*ret = json_pack("{s:s,s:I,s:I}", "Name", name, "Soft", (json_int_t)limit[0], "Hard", (json_int_t)limit[1]);
	return NULL;
}

char *create_rate(const char *text, bool bytes, json_t **ret)
{
	const char *colon = strchr(text, ':');
	uint64_t rate = 0;
	int64_t size = 0;

	if (!colon)
		return cs_xasprintf("bad format: %s", text);
	if (!cs_prefix(text, "/dev/"))
		return cs_xasprintf("bad format for device path: %s", text);
	if (bytes ? !cs_parse_bytes(colon + 1, &size) || size < 0 : !cs_parse_u64(colon + 1, 0, UINT64_MAX, &rate))
		return cs_xasprintf("invalid rate for device: %s. The correct format is <device-path>:<number>%s. Number must be a positive integer%s", text,
				    bytes ? "[<unit>]" : "", bytes ? ". Unit is optional and can be kb, mb, or gb" : "");
	cs_autofree char *path = cs_xstrndup(text, (size_t)(colon - text));
	if (ret)
		*ret = json_pack("{s:s,s:I}", "Path", path, "Rate", (json_int_t)(bytes ? (uint64_t)size : rate));
	return NULL;
}

char *create_weight(const char *text, json_t **ret)
{
	const char *colon = strchr(text, ':');
	uint64_t weight;

	if (!colon)
		return cs_xasprintf("bad format: %s", text);
	if (!cs_prefix(text, "/dev/"))
		return cs_xasprintf("bad format for device path: %s", text);
	if (!cs_parse_u64(colon + 1, 0, 1000, &weight) || (weight > 0 && weight < 10))
		return cs_xasprintf("invalid weight for device: %s", text);
	cs_autofree char *path = cs_xstrndup(text, (size_t)(colon - text));
	if (ret)
		*ret = json_pack("{s:s,s:I}", "Path", path, "Weight", (json_int_t)weight);
	return NULL;
}
