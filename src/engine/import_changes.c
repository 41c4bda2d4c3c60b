/* SPDX-License-Identifier: Apache-2.0
 *
 * Dockerfile instructions that change a configuration (docker import --change): one line in, one member changed. Pure: no file, no
 * state; fuzzed. */
#include <ctype.h>
#include <signal.h>

#include "base/num.h"
#include "base/path.h"
#include "base/time.h"
#include "engine/image_internal.h"

#define MAX_LINE (1u << 20)
#define BLANKS " \t\r\n\v\f" /* all that ends a word (isspace), or else a loop over words stands still */

static const char *skip(const char *p) { return p + strspn(p, BLANKS); }

static const char *variable(const struct cs_config *c, const char *name, size_t len)
{
	for (char **e = c->env; e && *e; e++) {
		if (strncmp(*e, name, len) == 0 && (*e)[len] == '=')
			return *e + len + 1;
	}
	return NULL;
}

static void expand(const struct cs_config *c, const char *p, const char *end, struct cs_str *out, int depth);

/* $NAME, ${NAME}, ${NAME:-x}, ${NAME:+x}; returns behind it. */
static const char *expand_one(const struct cs_config *c, const char *p, const char *end, struct cs_str *out, int depth)
{
	bool brace = p + 1 < end && p[1] == '{';
	const char *name = p + 1 + brace, *q = name;

	while (q < end && (isalnum((unsigned char)*q) || *q == '_'))
		q++;
	if (q == name) {
		cs_str_putc(out, '$');
		return p + 1;
	}
	const char *val = variable(c, name, (size_t)(q - name));
	if (!brace) {
		cs_str_puts(out, val ? val : "");
		return q;
	}
	const char *close = memchr(q, '}', (size_t)(end - q));
	if (!close) {
		cs_str_put(out, p, (size_t)(end - p));
		return end;
	}
	bool minus = q + 1 < close && q[0] == ':' && q[1] == '-', plus = q + 1 < close && q[0] == ':' && q[1] == '+';
	if (minus && cs_empty(val))
		expand(c, q + 2, close, out, depth + 1);
	else if (plus && !cs_empty(val))
		expand(c, q + 2, close, out, depth + 1);
	else if (!plus)
		cs_str_puts(out, val ? val : "");
	return close + 1;
}

/* One word as the Dockerfile's shell lexer reads it: quotes removed, variables of ENV replaced. */
static void expand(const struct cs_config *c, const char *p, const char *end, struct cs_str *out, int depth)
{
	char quote = 0;

	while (p < end) {
		if (quote == '\'') {
			if (*p == '\'')
				quote = 0;
			else
				cs_str_putc(out, *p);
			p++;
		} else if (*p == '"') {
			quote = quote ? 0 : '"';
			p++;
		} else if (*p == '\'' && !quote) {
			quote = '\'';
			p++;
		} else if (*p == '\\' && p + 1 < end) {
			if (quote == '"' && p[1] != '"' && p[1] != '$' && p[1] != '\\')
				cs_str_putc(out, '\\');
			cs_str_putc(out, p[1]);
			p += 2;
		} else if (*p == '$' && depth < 8) {
			p = expand_one(c, p, end, out, depth);
		} else {
			cs_str_putc(out, *p++);
		}
	}
}

static char *word_text(const struct cs_config *c, const char *p, const char *end)
{
	struct cs_str out = CS_STR_INIT(MAX_LINE);
	expand(c, p, end, &out, 0);
	char *s = cs_str_steal(&out);
	return s ? s : cs_xstrdup("");
}

/* End of the word at p: blanks inside quotes and after a backslash belong to it. */
static const char *word_end(const char *p)
{
	char quote = 0;

	for (; *p; p++) {
		if (*p == '\\' && quote != '\'' && p[1])
			p++;
		else if (quote)
			quote = *p == quote ? 0 : quote;
		else if (*p == '"' || *p == '\'')
			quote = *p;
		else if (isspace((unsigned char)*p))
			break;
	}
	return p;
}

static int need(const char *name, const char *rest, struct cs_err **err)
{
	return *rest ? 0 : cs_fail(err, CS_ERR_INVALID, 0, "%s requires at least one argument", name);
}

static int need_one(const char *name, const char *rest, struct cs_err **err)
{
	const char *end = word_end(rest);
	return *rest && !*skip(end) ? 0 : cs_fail(err, CS_ERR_INVALID, 0, "%s requires exactly one argument", name);
}

/* A JSON array of strings, or false: then it is the shell form. */
static bool json_form(const char *rest, char ***ret)
{
	if (*rest != '[')
		return false;
	cs_autojson json_t *j = cs_json_parse(rest, strlen(rest), NULL);
	if (!json_is_array(j))
		return false;
	char **v = cs_xcalloc(1, sizeof(char *));
	for (size_t i = 0; i < json_array_size(j); i++) {
		const char *s = json_string_value(json_array_get(j, i));
		if (!s) {
			cs_strv_free(v);
			return false;
		}
		cs_strv_push(&v, s);
	}
	*ret = v;
	return true;
}

static char **command(const struct cs_config *c, const char *rest)
{
	char **v = NULL;

	if (json_form(rest, &v))
		return v;
	if (c->shell && c->shell[0]) {
		v = cs_strv_copy(c->shell);
	} else {
		cs_strv_push(&v, "/bin/sh");
		cs_strv_push(&v, "-c");
	}
	cs_strv_push(&v, rest);
	return v;
}

static int do_cmd(struct cs_config *c, const char *rest, struct cs_err **err)
{
	char **v = command(c, rest);
	cs_strv_free(c->cmd);
	c->cmd = v;
	return 0;
}

static int do_entrypoint(struct cs_config *c, const char *rest, struct cs_err **err)
{
	char **v = NULL;

	if (*rest)
		v = command(c, rest);
	cs_strv_free(c->entrypoint);
	c->entrypoint = v && *v ? v : (cs_strv_free(v), NULL);
	return 0;
}

static void set_env(struct cs_config *c, const char *key, const char *val)
{
	cs_autofree char *text = cs_xasprintf("%s=%s", key, val);
	size_t n = strlen(key);

	for (char **e = c->env; e && *e; e++) {
		if (strncmp(*e, key, n) == 0 && (*e)[n] == '=') {
			free(*e);
			*e = TAKE_PTR(text);
			return;
		}
	}
	cs_strv_push(&c->env, text);
}

static void set_label(struct cs_config *c, const char *key, const char *val)
{
	if (!c->labels)
		c->labels = cs_strmap_new();
	cs_strmap_set(c->labels, key, val);
}

/* k=v k2="v 2" …, or the older "k rest of the line". */
static int pairs(struct cs_config *c, const char *name, const char *rest, void (*set)(struct cs_config *c, const char *key, const char *val),
		 struct cs_err **err)
{
	const char *end = word_end(rest);

	if (need(name, rest, err) < 0)
		return -1;
	if (!memchr(rest, '=', (size_t)(end - rest))) {
		const char *val = skip(end);
		if (!*val)
			return cs_fail(err, CS_ERR_INVALID, 0, "%s must have two arguments", name);
		const char *vend = val + strlen(val);
		while (vend > val && isspace((unsigned char)vend[-1]))
			vend--;
		cs_autofree char *k = word_text(c, rest, end), *v = word_text(c, val, vend);
		set(c, k, v);
		return 0;
	}
	/* variables have the value that they had before the instruction, in all of it: collect first */
	struct cs_strmap *found = cs_strmap_new();
	int r = 0;
	for (const char *p = rest; *p && r == 0; p = skip(end)) {
		end = word_end(p);
		const char *eq = memchr(p, '=', (size_t)(end - p));
		if (!eq) {
			r = cs_fail(err, CS_ERR_INVALID, 0, "Syntax error - can't find = in \"%.*s\". Must be of the form: name=value", (int)CS_MIN(end - p, 200), p);
			break;
		}
		cs_autofree char *k = word_text(c, p, eq), *v = word_text(c, eq + 1, end);
		if (!*k)
			r = cs_fail(err, CS_ERR_INVALID, 0, "%s names can not be blank", name);
		else
			cs_strmap_set(found, k, v);
	}
	for (size_t i = 0; r == 0 && i < found->n; i++)
		set(c, found->kv[i].key, found->kv[i].val);
	cs_strmap_free(found);
	return r;
}

static int do_env(struct cs_config *c, const char *rest, struct cs_err **err) { return pairs(c, "ENV", rest, set_env, err); }
static int do_label(struct cs_config *c, const char *rest, struct cs_err **err) { return pairs(c, "LABEL", rest, set_label, err); }

static int expose_one(struct cs_config *c, const char *word, struct cs_err **err)
{
	const char *slash = strchr(word, '/'), *colon = strrchr(word, ':');
	cs_autofree char *proto = cs_xstrdup(slash ? slash + 1 : "tcp");
	const char *ports = colon && (!slash || colon < slash) ? colon + 1 : word;
	size_t n = slash ? (size_t)(slash - ports) : strlen(ports);
	const char *dash = memchr(ports, '-', n);
	uint64_t lo, hi;

	for (char *p = proto; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	if (strcmp(proto, "tcp") != 0 && strcmp(proto, "udp") != 0 && strcmp(proto, "sctp") != 0)
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid proto: %s", proto);
	if (!cs_parse_u64n(ports, dash ? (size_t)(dash - ports) : n, 0, 65535, &lo))
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid containerPort: %.*s", (int)CS_MIN(n, 100u), ports);
	hi = lo;
	if (dash && (!cs_parse_u64n(dash + 1, n - (size_t)(dash + 1 - ports), 0, 65535, &hi) || hi < lo))
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid containerPort: %.*s", (int)CS_MIN(n, 100u), ports);
	for (uint64_t p = lo; p <= hi; p++) {
		cs_autofree char *port = cs_xasprintf("%u/%s", (unsigned)p, proto);
		if (!cs_strv_has(c->exposed_ports, port))
			cs_strv_push(&c->exposed_ports, port);
	}
	return 0;
}

static int do_expose(struct cs_config *c, const char *rest, struct cs_err **err)
{
	if (need("EXPOSE", rest, err) < 0)
		return -1;
	for (const char *p = rest, *end; *p; p = skip(end)) {
		end = word_end(p);
		cs_autofree char *word = word_text(c, p, end);
		if (expose_one(c, word, err) < 0)
			return -1;
	}
	return 0;
}

static int health_flag(struct cs_health_config *h, const char *word, struct cs_err **err)
{
	static const struct {
		const char *name;
		size_t off;
	} flags[] = {{"--interval=", offsetof(struct cs_health_config, interval)},
		     {"--timeout=", offsetof(struct cs_health_config, timeout)},
		     {"--start-period=", offsetof(struct cs_health_config, start_period)},
		     {"--start-interval=", offsetof(struct cs_health_config, start_interval)}};
	const char *val;

	for (size_t i = 0; i < CS_ARRAY_SIZE(flags); i++) {
		val = cs_prefix(word, flags[i].name);
		if (!val)
			continue;
		int64_t *to = (int64_t *)(void *)((char *)h + flags[i].off);
		if (!cs_duration_parse(val, to) || (*to != 0 && *to < CS_NS_PER_MS))
			return cs_fail(err, CS_ERR_INVALID, 0, "Interval \"%.*s\" cannot be less than 1ms", (int)strlen(flags[i].name) - 3, word + 2);
		return 0;
	}
	val = cs_prefix(word, "--retries=");
	if (!val)
		return cs_fail(err, CS_ERR_INVALID, 0, "unknown flag: %.100s", word);
	if (!cs_parse_i64(val, 0, INT32_MAX, &h->retries))
		return cs_fail(err, CS_ERR_INVALID, 0, "--retries cannot be negative (%.50s)", val);
	return 0;
}

static int health_test(struct cs_health_config *h, const char *rest, struct cs_err **err)
{
	const char *end = word_end(rest);
	size_t n = (size_t)(end - rest);
	const char *args = skip(end);

	if (n == 4 && strncasecmp(rest, "NONE", 4) == 0) {
		if (*args)
			return cs_fail(err, CS_ERR_INVALID, 0, "HEALTHCHECK NONE takes no arguments");
		cs_strv_push(&h->test, "NONE");
		return 0;
	}
	if (n != 3 || strncasecmp(rest, "CMD", 3) != 0)
		return cs_fail(err, CS_ERR_INVALID, 0, "unknown type \"%.*s\" in HEALTHCHECK (try CMD)", (int)CS_MIN(n, 100u), rest);
	if (!*args)
		return cs_fail(err, CS_ERR_INVALID, 0, "missing command after HEALTHCHECK CMD");
	char **v = NULL;
	if (json_form(args, &v)) {
		cs_strv_push(&h->test, "CMD");
		for (char **s = v; *s; s++)
			cs_strv_push(&h->test, *s);
		cs_strv_free(v);
	} else {
		cs_strv_push(&h->test, "CMD-SHELL");
		cs_strv_push(&h->test, args);
	}
	return 0;
}

static int do_healthcheck(struct cs_config *c, const char *rest, struct cs_err **err)
{
	struct cs_health_config *h = cs_xcalloc(1, sizeof(*h));
	int r = need("HEALTHCHECK", rest, err);

	while (r == 0 && strncmp(rest, "--", 2) == 0) {
		const char *end = word_end(rest);
		cs_autofree char *word = word_text(c, rest, end);
		r = health_flag(h, word, err);
		rest = skip(end);
	}
	if (r == 0)
		r = health_test(h, rest, err);
	if (r < 0) {
		cs_health_config_free(h);
		return -1;
	}
	cs_health_config_free(c->healthcheck);
	c->healthcheck = h;
	return 0;
}

static int do_onbuild(struct cs_config *c, const char *rest, struct cs_err **err)
{
	size_t n = strcspn(rest, " \t");

	if (need("ONBUILD", rest, err) < 0)
		return -1;
	if (n == 7 && strncasecmp(rest, "ONBUILD", 7) == 0)
		return cs_fail(err, CS_ERR_INVALID, 0, "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed");
	if ((n == 4 && strncasecmp(rest, "FROM", 4) == 0) || (n == 10 && strncasecmp(rest, "MAINTAINER", 10) == 0)) {
		cs_autofree char *word = cs_xstrndup(rest, n);
		for (char *p = word; *p; p++)
			*p = (char)toupper((unsigned char)*p);
		return cs_fail(err, CS_ERR_INVALID, 0, "%s isn't allowed as an ONBUILD trigger", word);
	}
	cs_strv_push(&c->on_build, rest);
	return 0;
}

static bool signal_valid(const char *s)
{
	uint64_t n;

	if (cs_parse_u64(s, 1, 64, &n))
		return true;
	if (strncasecmp(s, "SIG", 3) == 0)
		s += 3;
	for (int i = 1; i < 32; i++) {
		const char *name = sigabbrev_np(i);
		if (name && strcasecmp(name, s) == 0)
			return true;
	}
	if (strncasecmp(s, "RTMIN", 5) == 0 || strncasecmp(s, "RTMAX", 5) == 0)
		return !s[5] || ((s[5] == '+' || s[5] == '-') && cs_parse_u64(s + 6, 1, 15, &n));
	return strcasecmp(s, "CLD") == 0 || strcasecmp(s, "IOT") == 0 || strcasecmp(s, "POLL") == 0;
}

static int do_stopsignal(struct cs_config *c, const char *rest, struct cs_err **err)
{
	if (need_one("STOPSIGNAL", rest, err) < 0)
		return -1;
	cs_autofree char *sig = word_text(c, rest, word_end(rest));
	if (!signal_valid(sig))
		return cs_fail(err, CS_ERR_INVALID, 0, "Invalid signal: %.100s", sig);
	free(c->stop_signal);
	c->stop_signal = TAKE_PTR(sig);
	return 0;
}

static int do_user(struct cs_config *c, const char *rest, struct cs_err **err)
{
	if (need_one("USER", rest, err) < 0)
		return -1;
	char *user = word_text(c, rest, word_end(rest));
	free(c->user);
	c->user = user;
	return 0;
}

static int do_volume(struct cs_config *c, const char *rest, struct cs_err **err)
{
	cs_autostrv char **v = NULL;

	if (need("VOLUME", rest, err) < 0)
		return -1;
	if (!json_form(rest, &v)) {
		for (const char *p = rest, *end; *p; p = skip(end)) {
			end = word_end(p);
			cs_strv_take(&v, word_text(c, p, end));
		}
	}
	for (char **s = v; s && *s; s++) {
		if (!**s)
			return cs_fail(err, CS_ERR_INVALID, 0, "VOLUME specified can not be an empty string");
		if (!cs_strv_has(c->volumes, *s))
			cs_strv_push(&c->volumes, *s);
	}
	return 0;
}

static int do_workdir(struct cs_config *c, const char *rest, struct cs_err **err)
{
	if (need_one("WORKDIR", rest, err) < 0)
		return -1;
	cs_autofree char *dir = word_text(c, rest, word_end(rest));
	cs_autofree char *base = cs_xasprintf("/%s", c->working_dir ? c->working_dir : "");
	cs_autofree char *full = *dir == '/' ? cs_xstrdup(dir) : cs_path_join(base, dir);
	free(c->working_dir);
	c->working_dir = cs_path_clean(full);
	return 0;
}

int cs_import_change(struct cs_config *c, const char *line, struct cs_err **err)
{
	static const struct {
		const char *name;
		int (*apply)(struct cs_config *c, const char *rest, struct cs_err **err);
	} table[] = {{"CMD", do_cmd},         {"ENTRYPOINT", do_entrypoint}, {"ENV", do_env},         {"EXPOSE", do_expose},
		     {"HEALTHCHECK", do_healthcheck}, {"LABEL", do_label},   {"ONBUILD", do_onbuild}, {"STOPSIGNAL", do_stopsignal},
		     {"USER", do_user},       {"VOLUME", do_volume},         {"WORKDIR", do_workdir}};
	cs_autofree char *text = NULL;

	if (strlen(line) > MAX_LINE)
		return cs_fail(err, CS_ERR_INVALID, 0, "change is longer than %u bytes", MAX_LINE);
	line = skip(line);
	text = cs_xstrdup(line);
	for (size_t n = strlen(text); n && isspace((unsigned char)text[n - 1]);)
		text[--n] = 0;
	if (!*text || *text == '#')
		return 0;
	size_t n = strcspn(text, BLANKS);
	for (size_t i = 0; i < CS_ARRAY_SIZE(table); i++) {
		if (strlen(table[i].name) == n && strncasecmp(text, table[i].name, n) == 0)
			return table[i].apply(c, skip(text + n), err);
	}
	return cs_fail(err, CS_ERR_INVALID, 0, "%.*s is not a valid change command", (int)CS_MIN(n, 100u), text);
}

/* One logical line at a time: a backslash at the end goes on, comments and empty lines in between are left out. Returns behind it, NULL at the end. */
static const char *logical_line(const char *p, struct cs_str *out)
{
	bool open = true;

	cs_str_clear(out);
	while (*p && open) {
		const char *line = p, *text = line + strspn(line, " \t\r");
		size_t end = strcspn(line, "\n");
		p += end + (line[end] == '\n');
		while (end && isspace((unsigned char)line[end - 1]))
			end--;
		if (*text == '#' || text >= line + end)
			continue;
		open = line[end - 1] == '\\';
		cs_str_put(out, line, end - open);
	}
	return out->len || *p ? p : NULL;
}

int cs_import_changes(struct cs_config *c, char *const *changes, struct cs_err **err)
{
	cs_autofree char *all = changes && *changes ? cs_strv_join(changes, "\n") : NULL;
	cs_autostr struct cs_str line = CS_STR_INIT(MAX_LINE);
	bool any = false, cmd = false;

	for (const char *p = all; p && (p = logical_line(p, &line));) {
		if (line.failed)
			return cs_fail(err, CS_ERR_INVALID, 0, "change is longer than %u bytes", MAX_LINE);
		if (!line.len)
			continue;
		const char *word = skip(line.buf);
		size_t n = strcspn(word, " \t\r\n");
		if (cs_import_change(c, line.buf, err) < 0)
			return -1;
		any = true;
		/* the image's command is not meant for another entrypoint */
		if (n == 3 && strncasecmp(word, "CMD", n) == 0)
			cmd = true;
		if (n == 10 && strncasecmp(word, "ENTRYPOINT", n) == 0 && !cmd) {
			cs_strv_free(c->cmd);
			c->cmd = NULL;
		}
	}
	return all && !any ? cs_fail(err, CS_ERR_INVALID, 0, "file with no instructions") : 0;
}
