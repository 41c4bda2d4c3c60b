/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/endpoint.h"

#include <ctype.h>
#include <grp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "base/io.h"
#include "base/num.h"
#include "cli/cli.h"
#include "cli/config.h"
#include "cli/context.h"
#include "cli/tls.h"

extern char **environ;

static struct endpoint endpoint;
static bool resolved;
static pid_t ssh_pid;
static char *ssh_command;

/* ---- which one ---- */

const char *endpoint_host_variable(void)
{
	static const char *const names[] = {"CAISSON_HOST", "DOCKER_HOST"};

	for (size_t i = 0; i < CS_ARRAY_SIZE(names); i++)
		if (!cs_empty(getenv(names[i])))
			return names[i];
	return NULL;
}

const char *endpoint_context(void)
{
	const char *env = getenv("DOCKER_CONTEXT"), *current;

	if (!cs_empty(globals.context))
		return globals.context;
	if (globals.hosts || endpoint_host_variable())
		return "default";
	if (!cs_empty(env))
		return env;
	current = config_str("currentContext");
	return current ? current : "default";
}

/* [user@]name[:port][/path] after "tcp://": with the port that is meant. */
static char *tcp_host(const char *rest, bool tls, struct cs_err **err)
{
	size_t n = strcspn(rest, "/");
	cs_autofree char *addr = cs_xstrndup(rest, n);
	char *colon = strrchr(addr, ':'), *bracket = strrchr(addr, ']');
	uint64_t port = tls ? 2376 : 2375;

	if (bracket && colon && colon < bracket)
		colon = NULL;
	if (colon && colon[1] && !cs_parse_u64(colon + 1, 0, 65535, &port)) {
		cs_fail(err, CS_ERR_INVALID, 0, "invalid proto, expected tcp: %s", rest);
		return NULL;
	}
	if (colon)
		*colon = 0;
	return cs_xasprintf("tcp://%s:%llu%s", *addr ? addr : "localhost", (unsigned long long)port, rest + n);
}

char *endpoint_parse_host(const char *text, bool tls, struct cs_err **err)
{
	static const char *const as_they_are[] = {"ssh://", "http+unix://", "npipe://"};
	const char *p;

	text += strspn(text, " \t");
	if (!*text)
		return tls ? tcp_host("localhost", true, err) : cs_xstrdup(DEFAULT_HOST);
	if ((p = cs_prefix(text, "unix://")))
		return *p ? cs_xstrdup(text) : cs_xstrdup(DEFAULT_HOST);
	if ((p = cs_prefix(text, "tcp://")) || (p = cs_prefix(text, "http://")))
		return tcp_host(p, tls, err);
	if ((p = cs_prefix(text, "https://")))
		return tcp_host(p, true, err);
	for (size_t i = 0; i < CS_ARRAY_SIZE(as_they_are); i++)
		if (cs_prefix(text, as_they_are[i]))
			return cs_xstrdup(text);
	if (strstr(text, "://")) {
		cs_fail(err, CS_ERR_INVALID, 0, "invalid bind address format: %s", text);
		return NULL;
	}
	return tcp_host(text, tls, err);
}

static bool is_set(const char *env) { return !cs_empty(getenv(env)); }

/* A PEM file: the flag's, or `name` in $DOCKER_CERT_PATH or the configuration's folder; NULL if the latter is not there and need not be. */
static int pem(const char *flag, const char *name, bool needed, const char **ret, struct cs_err **err)
{
	const char *dir = getenv("DOCKER_CERT_PATH");
	cs_autofree char *path = flag ? cs_xstrdup(flag) : cs_xasprintf("%s/%s", cs_empty(dir) ? config_dir() : dir, name);

	if (access(path, R_OK) == 0)
		*ret = TAKE_PTR(path);
	else if (flag || needed || errno != ENOENT)
		return cs_fail(err, CS_ERR_INVALID, 0, "open %s: %s", path, errno == ENOENT ? "no such file or directory" : cs_errno_text(errno));
	return 0;
}

static int by_host(const char *text, struct cs_err **err)
{
	bool https = text && cs_prefix(text, "https://");

	/* to name --tlsverify at all turns TLS on, as in docker */
	endpoint.verify = globals.tlsverify || is_set("DOCKER_TLS_VERIFY");
	endpoint.tls = globals.tls || globals.tlsverify_given || endpoint.verify || is_set("DOCKER_TLS") || https;
	if (https && !globals.tls)
		endpoint.verify = true;
	endpoint.host = endpoint_parse_host(text ? text : "", endpoint.tls && text, err);
	if (!endpoint.host)
		return -1;
	if (!endpoint.tls)
		return 0;
	bool plain_https = https && !globals.tls && !globals.tlsverify_given; /* the system's authorities do */
	if (pem(globals.tlscacert, "ca.pem", !plain_https, &endpoint.ca, err) < 0 || pem(globals.tlscert, "cert.pem", false, &endpoint.cert, err) < 0 ||
	    pem(globals.tlskey, "key.pem", false, &endpoint.key, err) < 0)
		return -1;
	return 0;
}

static int resolve(struct cs_err **err)
{
	const char *variable = endpoint_host_variable(), *name = endpoint_context();

	if (globals.hosts && globals.hosts[1])
		return cs_fail(err, CS_ERR_INVALID, 0, "Specify only one -H");
	if (globals.hosts)
		return by_host(globals.hosts[0], err);
	if (cs_streq(name, "default"))
		return by_host(variable ? getenv(variable) : NULL, err);
	static struct context c; /* the endpoint borrows of it, for the life of the program */
	if (context_load(name, &c, err) < 0)
		return -1;
	endpoint = (struct endpoint){.ca = c.ca, .cert = c.cert, .key = c.key, .verify = !c.skip_verify};
	endpoint.tls = c.ca || c.cert || c.skip_verify || cs_prefix(c.host, "https://");
	endpoint.host = endpoint_parse_host(c.host, endpoint.tls, err);
	return endpoint.host ? 0 : -1;
}

const struct endpoint *endpoint_get(struct cs_err **err)
{
	if (!resolved && resolve(err) < 0) {
		(void)cs_wrap(err, "Failed to initialize: unable to resolve docker endpoint");
		return NULL;
	}
	resolved = true;
	return &endpoint;
}

const char *endpoint_authority(void)
{
	const char *p = cs_prefix(endpoint.host, "tcp://");
	return p ? p : "api.moby.localhost";
}

/* ---- connecting ---- */

/* Whom to ask for the right to connect: the group that the socket belongs to, when there is one that may open it. */
static char *who_may(const char *path)
{
	struct stat st;
	char text[4096];
	struct group g, *found = NULL;

	if (!path || stat(path, &st) < 0)
		return cs_xstrdup("ask whoever runs the engine");
	if (!(st.st_mode & S_IWGRP) || st.st_gid == 0)
		return cs_xstrdup("only root may, use sudo; a group can be let in with caissond --group");
	if (getgrgid_r(st.st_gid, &g, text, sizeof(text), &found) != 0 || !found)
		return cs_xasprintf("the members of group %u may", (unsigned)st.st_gid);
	return cs_xasprintf("the members of group %s may: sudo usermod -aG %s $USER, then log in again", g.gr_name, g.gr_name);
}

/* path: of the socket, or NULL */
static int unreachable(struct cs_err **err, int sys, const char *path)
{
	if (sys == EACCES || sys == EPERM) {
		cs_autofree char *hint = who_may(path);
		return cs_fail(err, CS_ERR_UNAVAILABLE, 0, "permission denied while trying to connect to the Caisson daemon socket at %s (%s)", endpoint.host, hint);
	}
	return cs_fail(err, CS_ERR_UNAVAILABLE, 0, "Cannot connect to the Caisson daemon at %s. Is the caisson daemon running?", endpoint.host);
}

static int dial_unix(const char *path, struct cs_err **err)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};

	if (strlen(path) >= sizeof(a.sun_path))
		return cs_fail(err, CS_ERR_INVALID, 0, "Failed to initialize: unix socket path \"%s\" is too long", path);
	memcpy(a.sun_path, path, strlen(path) + 1);
	cs_autofd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		return unreachable(err, errno, path);
	return TAKE_FD(fd);
}

/* An engine whose host is gone says nothing any more: whoever only listens (logs -f, events, wait) would do so for ever. */
static void keep_alive(int fd)
{
	const int on = 1, idle = 30;

	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
#ifdef TCP_KEEPIDLE
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &idle, sizeof(idle));
#endif
}

static int dial_tcp(const char *addr, struct cs_err **err)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
	size_t len = strcspn(addr, "/");
	cs_autofree char *whole = cs_xstrndup(addr, len);
	char *colon = strrchr(whole, ':'), *name = whole;

	*colon = 0; /* endpoint_parse_host put one there */
	if (*name == '[' && colon[-1] == ']') {
		colon[-1] = 0;
		name++;
	}
	int r = getaddrinfo(name, colon + 1, &hints, &list);
	if (r)
		return cs_fail(err, CS_ERR_UNAVAILABLE, 0, "error during connect: dial tcp: lookup %s: %s", name, gai_strerror(r));
	int fd = -EBADF, e = ECONNREFUSED;
	for (struct addrinfo *a = list; a && fd < 0; a = a->ai_next) {
		fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
		if (fd >= 0 && connect(fd, a->ai_addr, a->ai_addrlen) < 0) {
			e = errno;
			cs_close(fd);
			fd = -EBADF;
		}
	}
	freeaddrinfo(list);
	if (fd < 0)
		return unreachable(err, e, NULL);
	keep_alive(fd);
	if (!endpoint.tls)
		return fd;
	fd = tls_wrap(fd, &endpoint, name, err);
	return fd < 0 ? cs_wrap(err, "error during connect: %s", endpoint.host) : fd;
}

#define BAD_SSH "ssh host connection is not valid: invalid SSH URL: "

/* What the shell over there is told: `system dial-stdio` of caisson, or of docker where there is no caisson, speaks for the engine. For any login shell: it has
 * words in single quotes to pass on, nothing else. NULL with an error for a path that would not stay in its quotes in all of them. Caller frees. */
static char *ssh_remote_command(const char *path, struct cs_err **err)
{
	static const char script[] = "command -v caisson >/dev/null 2>&1 && exec caisson \"$@\" system dial-stdio; exec docker \"$@\" system dial-stdio";

	for (const char *p = path; p && *p; p++)
		if (*p == '\'' || *p == '\\' || *p == '!' || (unsigned char)*p < ' ') {
			(void)cs_fail(err, CS_ERR_INVALID, 0, BAD_SSH "a path with \"%c\" is not supported", (unsigned char)*p < ' ' ? '?' : *p);
			return NULL;
		}
	return path ? cs_xasprintf("sh -c '%s' sh --host 'unix://%s'", script, path) : cs_xasprintf("sh -c '%s' sh", script);
}

/* The keyboard's signals come to ssh, too, which is of our process group to be able to ask for a password. They are for us, to pass on or to end by: ssh goes
 * when the connection is closed. */
static int spawn_ssh(posix_spawn_file_actions_t *act, char *const *argv)
{
	static const int signals[] = {SIGINT, SIGQUIT, SIGTSTP};
	struct sigaction ignore = {.sa_handler = SIG_IGN}, was[CS_ARRAY_SIZE(signals)];

	sigemptyset(&ignore.sa_mask);
	for (size_t i = 0; i < CS_ARRAY_SIZE(signals); i++)
		(void)sigaction(signals[i], &ignore, &was[i]);
	int e = posix_spawnp(&ssh_pid, "ssh", act, NULL, argv, environ);
	for (size_t i = 0; i < CS_ARRAY_SIZE(signals); i++)
		(void)sigaction(signals[i], &was[i], NULL);
	return e;
}

/* [user@]host[:port][/socket] behind "ssh://". */
struct ssh {
	char *who;        /* owned; the others point into it, but for path */
	char *host;
	const char *user, *port, *path; /* NULL: none */
};

static void ssh_done(struct ssh *s) { free(s->who); }

static int parse_ssh(const char *rest, struct ssh *s, struct cs_err **err)
{
	size_t n = strcspn(rest, "/"), more = strcspn(rest, "?#");

	*s = (struct ssh){.who = cs_xstrndup(rest, n), .path = rest[n] && rest[n + 1] ? rest + n : NULL};
	char *at = strrchr(s->who, '@'), *port, *bracket;
	s->host = at ? at + 1 : s->who;
	port = strrchr(s->host, ':');
	bracket = strrchr(s->host, ']');
	if (port && bracket && port < bracket)
		port = NULL;
	if (port)
		*port++ = 0;
	if (at)
		*at = 0;
	s->user = at ? s->who : NULL;
	s->port = port;
	if (rest[more])
		return cs_fail(err, CS_ERR_INVALID, 0, BAD_SSH "%s are not allowed: \"%s\"", rest[more] == '?' ? "query parameters" : "fragments", rest + more + 1);
	if (at && strchr(s->who, ':'))
		return cs_fail(err, CS_ERR_INVALID, 0, BAD_SSH "plain-text password is not supported");
	if (!*s->host || *s->host == '-')
		return cs_fail(err, CS_ERR_INVALID, 0, BAD_SSH "hostname is empty");
	return 0;
}

int endpoint_check_ssh(const char *host, struct cs_err **err)
{
	cs_auto(ssh_done) struct ssh s = {0};
	const char *rest = cs_prefix(host, "ssh://");

	return rest ? parse_ssh(rest, &s, err) : 0;
}

/* ssh://[user@]host[:port][/socket] */
static int dial_ssh(const char *rest, struct cs_err **err)
{
	cs_auto(ssh_done) struct ssh s = {0};
	cs_autostrv char **argv = NULL;
	posix_spawn_file_actions_t act;
	int pair[2];

	if (parse_ssh(rest, &s, err) < 0)
		return cs_wrap(err, "Failed to initialize");
	cs_autofree char *command = ssh_remote_command(s.path, err);
	if (!command)
		return cs_wrap(err, "Failed to initialize");
	for (size_t i = 0; i < 4; i++)
		cs_strv_push(&argv, (const char *const[]){"ssh", "-o", "ConnectTimeout=30", "-T"}[i]);
	if (s.user) {
		cs_strv_push(&argv, "-l");
		cs_strv_push(&argv, s.user);
	}
	if (s.port) {
		cs_strv_push(&argv, "-p");
		cs_strv_push(&argv, s.port);
	}
	cs_strv_push(&argv, "--");
	cs_strv_push(&argv, s.host);
	cs_strv_push(&argv, command);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "socketpair");
	(void)posix_spawn_file_actions_init(&act);
	(void)posix_spawn_file_actions_adddup2(&act, pair[1], 0);
	(void)posix_spawn_file_actions_adddup2(&act, pair[1], 1);
	int e = spawn_ssh(&act, argv);
	(void)posix_spawn_file_actions_destroy(&act);
	cs_close(pair[1]);
	free(ssh_command);
	ssh_command = cs_strv_join(argv, " ");
	if (e) {
		cs_close(pair[0]);
		ssh_pid = 0;
		return cs_fail(err, CS_ERR_UNAVAILABLE, e, "error during connect: run ssh");
	}
	return pair[0];
}

bool endpoint_why_ended(struct cs_err **err)
{
	int status;

	if (tls_failure()) {
		cs_fail(err, CS_ERR_UNAVAILABLE, 0, "error during connect: %s: remote error: tls: %s", endpoint.host, tls_failure());
		return true;
	}
	if (ssh_pid <= 0 || waitpid(ssh_pid, &status, 0) != ssh_pid)
		return false;
	cs_fail(err, CS_ERR_UNAVAILABLE, 0,
		"error during connect: command [%s] has exited with exit status %d, make sure the URL is valid, and Caisson, or Docker 18.09 "
		"or later, is installed on the remote host",
		ssh_command, WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
	return true;
}

static char *percent_decoded(const char *s)
{
	char *out = cs_xstrdup(s), *to = out;

	for (; *s; s++) {
		if (*s == '%' && isxdigit((unsigned char)s[1]) && isxdigit((unsigned char)s[2])) {
			const char hex[3] = {s[1], s[2], 0};
			*to++ = (char)strtoul(hex, NULL, 16);
			s += 2;
		} else {
			*to++ = *s;
		}
	}
	*to = 0;
	return out;
}

int endpoint_dial(struct cs_err **err)
{
	const struct endpoint *e = endpoint_get(err);
	const char *p;

	if (!e)
		return -1;
	if ((p = cs_prefix(e->host, "unix://")))
		return dial_unix(p, err);
	if ((p = cs_prefix(e->host, "tcp://")))
		return dial_tcp(p, err);
	if ((p = cs_prefix(e->host, "ssh://")))
		return dial_ssh(p, err);
	if ((p = cs_prefix(e->host, "http+unix://"))) {
		cs_autofree char *one = cs_xstrndup(p, strcspn(p, "/")), *path = percent_decoded(*p == '/' ? p : one);
		return dial_unix(path, err);
	}
	return cs_fail(err, CS_ERR_UNSUPPORTED, 0, "Failed to initialize: protocol not available: %s", e->host);
}
