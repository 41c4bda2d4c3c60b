/* SPDX-License-Identifier: Apache-2.0
 *
 * Driver of tests/network/test_resolver.py: a resolver with its door on standard input. One command a line, one line of answer: "ok",
 * "ok {…}" or "error CODE text". Options as NAME=VALUE arguments. */
#include <fcntl.h>
#include <string.h>

#include "base/num.h"
#include "base/strv.h"
#include "network/resolv_conf.h"
#include "network/resolver.h"

#define MANY 4096

static struct cs_resolver *resolver;

static unsigned number(const char *s)
{
	uint64_t n = 0;

	if (!cs_parse_u64(s, 0, UINT32_MAX, &n))
		exit(2);
	return (unsigned)n;
}

static bool option(struct cs_resolver_options *o, const char *arg)
{
	const char *v;

	if ((v = cs_prefix(arg, "resolv-conf=")))
		o->resolv_conf = v;
	else if ((v = cs_prefix(arg, "uplink=")))
		o->resolv_uplink = v;
	else if ((v = cs_prefix(arg, "port=")))
		o->upstream_port = (uint16_t)number(v);
	else if ((v = cs_prefix(arg, "try-ms=")))
		o->try_ms = number(v);
	else if ((v = cs_prefix(arg, "total-ms=")))
		o->total_ms = number(v);
	else if ((v = cs_prefix(arg, "tcp-idle-ms=")))
		o->tcp_idle_ms = number(v);
	else if ((v = cs_prefix(arg, "max-pending=")))
		o->max_pending = number(v);
	else if ((v = cs_prefix(arg, "max-pending-each=")))
		o->max_pending_each = number(v);
	else if ((v = cs_prefix(arg, "max-connections-each=")))
		o->max_connections_each = number(v);
	else
		return false;
	return true;
}

/* endpoint NETWORK ID NAME|- ALIAS,…|- ADDRESS,… [PORT/PROTOCOL/NUMBER,…] */
static int endpoint(char **w, struct cs_err **err)
{
	static struct cs_resolver_addr addr[MANY];
	struct cs_resolver_port port[16];
	cs_autostrv char **aliases = strcmp(w[4], "-") ? cs_strv_split(w[4], ',') : NULL, **addrs = cs_strv_split(w[5], ','),
			 **ports = w[6] ? cs_strv_split(w[6], ',') : NULL;
	struct cs_resolver_endpoint e = {
		.id = w[2], .name = strcmp(w[3], "-") ? w[3] : NULL, .aliases = (const char *const *)aliases, .addr = addr, .port = port};
	char **parts[16];
	int r;

	for (; addrs[e.n_addr] && *addrs[e.n_addr]; e.n_addr++)
		if (cs_resolver_addr_parse(addrs[e.n_addr], &addr[e.n_addr]) < 0)
			return cs_fail(err, CS_ERR_INVALID, 0, "address %s", addrs[e.n_addr]);
	for (; ports && ports[e.n_port]; e.n_port++) {
		char **p = parts[e.n_port] = cs_strv_split(ports[e.n_port], '/');
		port[e.n_port] = (struct cs_resolver_port){p[0], p[1], (uint16_t)number(p[2])};
	}
	r = cs_resolver_endpoint_set(resolver, w[1], &e, err);
	while (e.n_port)
		cs_strv_free(parts[--e.n_port]);
	return r;
}

/* net=ID server=ADDRESS link=NETWORK:TARGET:ALIAS internal ndots; or the one word none */
static int with_settings(char **w, int (*f)(char **w, const struct cs_resolver_settings *s, struct cs_err **err), char **args, struct cs_err **err)
{
	cs_autostrv char **networks = NULL, **servers = NULL;
	struct cs_resolver_settings s = {0};
	struct cs_resolver_link link[16];
	char **parts[16];
	const char *v;
	int r;

	if (*w && strcmp(*w, "none") == 0)
		return f(args, NULL, err);
	for (; *w; w++) {
		if ((v = cs_prefix(*w, "net="))) {
			cs_strv_push(&networks, v);
		} else if ((v = cs_prefix(*w, "server="))) {
			cs_strv_push(&servers, v);
		} else if ((v = cs_prefix(*w, "link="))) {
			char **p = parts[s.n_link] = cs_strv_split(v, ':');
			link[s.n_link++] = (struct cs_resolver_link){.network_id = p[0], .target = p[1], .alias = p[2]};
		} else if (strcmp(*w, "internal") == 0) {
			s.internal = true;
		} else if (strcmp(*w, "ndots") == 0) {
			s.ndots_set = true;
		}
	}
	s.networks = (const char *const *)networks;
	s.servers = (const char *const *)servers;
	s.link = link;
	r = f(args, &s, err);
	while (s.n_link)
		cs_strv_free(parts[--s.n_link]);
	return r;
}

static int add(char **w, const struct cs_resolver_settings *s, struct cs_err **err)
{
	cs_autofd int netns = open(w[2], O_RDONLY | O_CLOEXEC);

	return cs_resolver_namespace_add(resolver, w[1], netns, s, err);
}

static int update(char **w, const struct cs_resolver_settings *s, struct cs_err **err) { return cs_resolver_namespace_update(resolver, w[1], s, err); }

static int stats(const char *key, struct cs_err **err)
{
	struct cs_resolver_stats s;

	if (cs_resolver_stats(resolver, key, &s) < 0)
		return cs_fail(err, CS_ERR_NOT_FOUND, 0, "namespace %s", key);
	printf("ok {\"queries\": %lu, \"local\": %lu, \"forwarded\": %lu, \"answered\": %lu, \"timeouts\": %lu, \"refused\": %lu, \"malformed\": %lu, "
	       "\"strays\": %lu, \"unsent\": %lu, \"tcp\": %lu, \"pending\": %lu}\n",
		s.queries, s.local, s.forwarded, s.answered, s.timeouts, s.refused, s.malformed, s.strays, s.unsent, s.tcp, s.pending);
	return 1;
}

/* 0: ok; 1: ok, and said so; -1: failed */
static int command(char **w, size_t n, struct cs_err **err)
{
	const char *c = w[0];

	if (strcmp(c, "network") == 0 && n == 3)
		cs_resolver_network_set(resolver, w[1], w[2]);
	else if (strcmp(c, "network-remove") == 0 && n == 2)
		cs_resolver_network_remove(resolver, w[1]);
	else if (strcmp(c, "endpoint") == 0 && n >= 6)
		return endpoint(w, err);
	else if (strcmp(c, "endpoint-remove") == 0 && n == 3)
		cs_resolver_endpoint_remove(resolver, w[1], w[2]);
	else if (strcmp(c, "ns") == 0 && n >= 3)
		return with_settings(w + 3, add, w, err);
	else if (strcmp(c, "ns-update") == 0 && n >= 2)
		return with_settings(w + 2, update, w, err);
	else if (strcmp(c, "ns-remove") == 0 && n == 2)
		cs_resolver_namespace_remove(resolver, w[1]);
	else if (strcmp(c, "stats") == 0)
		return stats(n > 1 ? w[1] : NULL, err);
	else
		return cs_fail(err, CS_ERR_INVALID, 0, "no such command");
	return 0;
}

int main(int argc, char **argv)
{
	struct cs_resolver_options o = {0};
	struct cs_err *err cs_autoerr = NULL;
	char *line = NULL;
	size_t size = 0;
	ssize_t n;

	for (int i = 1; i < argc; i++)
		if (!option(&o, argv[i]))
			return 2;
	if (cs_resolver_open(&o, &resolver, &err) < 0)
		return 1;
	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	puts("ok");
	while ((n = getline(&line, &size, stdin)) > 0) {
		struct cs_err *failed cs_autoerr = NULL;
		line[strcspn(line, "\n")] = 0;
		cs_autostrv char **w = cs_strv_split(line, ' ');
		int r = command(w, cs_strv_len(w), &failed);
		cs_autofree char *text = failed ? cs_err_text(failed) : NULL;
		if (r < 0)
			printf("error %s %s\n", cs_code_name(cs_err_code(failed)), text);
		else if (r == 0)
			puts("ok");
	}
	free(line);
	cs_resolver_close(resolver);
	return 0;
}
