/* SPDX-License-Identifier: Apache-2.0
 *
 * -p and --expose, as docker/go-connections (nat) and Docker's client read them. */
#include <arpa/inet.h>
#include <ctype.h>

#include "base/num.h"
#include "base/strv.h"
#include "cli/create.h"

struct range {
	uint64_t from, to;
};

/* "80", "80-90". NULL, or Go's words. Caller frees. */
static char *parse_range(const char *s, struct range *r)
{
	const char *dash = strchr(s, '-');

	if (!*s)
		return cs_xstrdup("empty string specified for ports");
	const char *part[2] = {s, dash ? dash + 1 : s};
	size_t len[2] = {dash ? (size_t)(dash - s) : strlen(s), strlen(part[1])};
	uint64_t v[2];
	for (int i = 0; i < 2; i++)
		if (!cs_parse_u64n(part[i], len[i], 0, 65535, &v[i])) {
			bool digits = len[i] && strspn(part[i], "0123456789") >= len[i];
			return cs_xasprintf("strconv.ParseUint: parsing \"%.*s\": %s", (int)len[i], part[i], digits ? "value out of range" : "invalid syntax");
		}
	if (v[1] < v[0])
		return cs_xasprintf("invalid range specified for port: %s", s);
	*r = (struct range){v[0], v[1]};
	return NULL;
}

static bool range_of(const char *s, struct range *r)
{
	cs_autofree char *why = parse_range(s, r);
	return !why;
}

static bool is_ip(const char *s)
{
	unsigned char buf[16];
	return inet_pton(AF_INET, s, buf) == 1 || inet_pton(AF_INET6, s, buf) == 1;
}

static void bind_port(json_t *exposed, json_t *bindings, const char *key, const char *ip, const char *port)
{
	json_t *list = json_object_get(bindings, key);

	(void)json_object_set_new(exposed, key, json_object());
	if (!list) {
		list = json_array();
		(void)json_object_set_new(bindings, key, list);
	}
	(void)json_array_append_new(list, json_pack("{s:s,s:s}", "HostIp", ip, "HostPort", port));
}

/* published=80,target=90,protocol=udp as host:container/proto. NULL: why is set. Caller frees. */
static char *standard_form(const char *text, struct cs_err **err)
{
	cs_autostrv char **part = cs_strv_split(text, ',');
	const char *published = "", *target = "", *protocol = "tcp";

	for (char **p = part; *p; p++) {
		char *eq = strchr(*p, '=');
		if (!eq || eq == *p) {
			(void)cs_fail(err, CS_ERR_INVALID, 0, "invalid publish opts format (should be name=value but got '%s')", *p);
			return NULL;
		}
		*eq = 0;
		if (strcmp(*p, "published") == 0)
			published = eq + 1;
		else if (strcmp(*p, "target") == 0)
			target = eq + 1;
		else if (strcmp(*p, "protocol") == 0)
			protocol = eq + 1;
	}
	return cs_xasprintf("%s:%s/%s", published, target, protocol);
}

/* [[ip:]hostPort:]containerPort[/proto] */
static int publish_one(const char *text, json_t *exposed, json_t *bindings, struct cs_err **err)
{
	cs_autofree char *spec = cs_xstrdup(text);
	char *last = strrchr(spec, ':'), *container = last ? last + 1 : spec, *host = NULL, *ip = NULL;
	struct range c = {0}, h = {0};

	if (last) {
		*last = 0;
		host = strrchr(spec, ':');
		if (host) {
			*host++ = 0;
			ip = spec;
		} else {
			host = spec;
		}
	}
	if (ip && *ip == '[' && ip[strlen(ip) - 1] == ']') {
		ip[strlen(ip) - 1] = 0;
		ip++;
	}
	char *slash = strchr(container, '/');
	const char *proto = slash && slash[1] ? slash + 1 : "tcp";
	if (slash)
		*slash = 0;
	cs_autofree char *lower = cs_xstrdup(proto);
	for (char *p = lower; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	if (ip && *ip && !is_ip(ip))
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid IP address: %s", ip);
	if (!*container)
		return cs_fail(err, CS_ERR_INVALID, 0, "no port specified: %s<empty>", text);
	if (!range_of(container, &c))
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid containerPort: %s", container);
	if (host && *host && !range_of(host, &h))
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid hostPort: %s", host);
	bool ranged = host && *host;
	if (ranged && h.to - h.from != c.to - c.from && c.to != c.from)
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid ranges specified for container and host Ports: %s and %s", container, host);
	if (strcmp(lower, "tcp") != 0 && strcmp(lower, "udp") != 0 && strcmp(lower, "sctp") != 0)
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid proto: %s", proto);
	for (uint64_t n = 0; n <= c.to - c.from; n++) {
		cs_autofree char *key = cs_xasprintf("%llu/%s", (unsigned long long)(c.from + n), lower);
		cs_autofree char *port = !ranged                             ? cs_xstrdup("")
					 : c.to == c.from && h.to != h.from ? cs_xstrdup(host) /* any free one of the range */
									     : cs_xasprintf("%llu", (unsigned long long)(h.from + n));
		bind_port(exposed, bindings, key, ip ? ip : "", port);
	}
	return 0;
}

static int expose_one(const char *text, json_t *exposed, struct cs_err **err)
{
	size_t n = strcspn(text, "/");
	cs_autofree char *port = cs_xstrndup(text, n);
	const char *proto = text[n] && text[n + 1] ? text + n + 1 : "tcp";
	struct range r = {0};

	if (strchr(text, ':'))
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid port format for --expose: %s", text);
	cs_autofree char *why = parse_range(port, &r);
	if (why)
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid range format for --expose: %s, error: %s", text, why);
	for (uint64_t p = r.from; p <= r.to; p++) {
		cs_autofree char *key = cs_xasprintf("%llu/%s", (unsigned long long)p, proto);
		(void)json_object_set_new(exposed, key, json_object());
	}
	return 0;
}

int create_ports(char *const *publish, char *const *expose, json_t *exposed, json_t *bindings, struct cs_err **err)
{
	for (; publish && *publish; publish++) {
		cs_autofree char *standard = strchr(*publish, '=') ? standard_form(*publish, err) : cs_xstrdup(*publish);
		if (!standard || publish_one(standard, exposed, bindings, err) < 0)
			return -1;
	}
	for (; expose && *expose; expose++)
		if (expose_one(*expose, exposed, err) < 0)
			return -1;
	return 0;
}
