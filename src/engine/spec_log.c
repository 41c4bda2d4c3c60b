/* SPDX-License-Identifier: Apache-2.0
 *
 * LogConfig: checks at create, and the document's "Logging" member at start (limits, and the attributes that json-file adds to each
 * line from labels, environment and tag). Pure. */
#include <regex.h>
#include <string.h>

#include "base/num.h"
#include "base/time.h"
#include "engine/spec-internal.h"

struct log_limits {
	int64_t max_size;
	uint64_t max_file;
	bool compress;
};

/* docker/go-units FromHumanSize: decimal units, "10m" = 10,000,000. */
static bool parse_human_size(const char *s, int64_t *ret)
{
	static const char units[] = "kmgtp";
	size_t digits = strspn(s, "0123456789.");
	double mul = 1, v = 0, frac = 0, place = 0.1;
	bool dot = false;

	if (!digits || s[0] == '.')
		return false;
	for (size_t i = 0; i < digits; i++) {
		if (s[i] == '.' && dot)
			return false;
		if (s[i] == '.') {
			dot = true;
		} else if (dot) {
			frac += (s[i] - '0') * place;
			place /= 10;
		} else {
			v = v * 10 + (s[i] - '0');
		}
	}
	const char *u = s + digits;
	u += *u == ' ';
	if (*u) {
		const char *p = strchr(units, *u | 0x20);
		if (p && *p) {
			for (long k = p - units; k >= 0; k--)
				mul *= 1000;
			u++;
		}
		if (*u && strcasecmp(u, "b") != 0)
			return false;
	}
	if ((v + frac) * mul >= 9e18)
		return false;
	*ret = (int64_t)((v + frac) * mul);
	return true;
}

static int parse_limits(const struct cs_log_config *log, struct log_limits *ret, struct cs_err **err)
{
	bool local = cs_streq(log->type, "local");
	struct log_limits l = {local ? 20 << 20 : 100000000, 5, local};
	const char *v = cs_strmap_get(log->config, "max-size");

	if (v && strcmp(v, "-1") == 0)
		l.max_size = 0; /* as dockerd's json-file: never rotate */
	else if (v && (!parse_human_size(v, &l.max_size) || l.max_size <= 0))
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid log option max-size: invalid size: '%s'", v);
	v = cs_strmap_get(log->config, "max-file");
	if (v && !cs_parse_u64(v, 1, 1000, &l.max_file))
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid log option max-file: \"%s\": must be a number from 1 to 1000", v);
	v = cs_strmap_get(log->config, "compress");
	if (v && !cs_parse_bool(v, &l.compress))
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid log option compress: \"%s\": must be true or false", v);
	if (l.compress && v && (l.max_file < 2 || l.max_size == 0))
		return cs_fail(err, CS_ERR_INVALID, 0, "compress cannot be true when max-file is less than 2 or max-size is not set");
	if (l.max_file < 2)
		l.compress = false;
	*ret = l;
	return 0;
}

static int check_regex(const struct cs_log_config *log, const char *key, struct cs_err **err)
{
	const char *v = cs_strmap_get(log->config, key);
	regex_t re;

	if (cs_empty(v))
		return 0;
	if (regcomp(&re, v, REG_EXTENDED | REG_NOSUB) != 0)
		return cs_fail(err, CS_ERR_INVALID, 0, "error parsing regexp of log option %s: \"%s\"", key, v);
	regfree(&re);
	return 0;
}

/* Members of dockerd's tag templates; only these forms are understood. */
static const char *const tag_fields[] = {"ID", "FullID", "Name", "ImageID", "ImageFullID", "ImageName", "DaemonName", NULL};

static char *tag_value(const struct cs_spec_input *in, const char *field)
{
	const char *img = in->image_id ? in->image_id : "";
	const char *hex = cs_prefix(img, "sha256:") ? cs_prefix(img, "sha256:") : img;

	if (strcmp(field, "ID") == 0)
		return cs_xstrndup(in->id, strnlen(in->id, 12));
	if (strcmp(field, "FullID") == 0)
		return cs_xstrdup(in->id);
	if (strcmp(field, "Name") == 0)
		return cs_xstrdup(in->name ? in->name : "");
	if (strcmp(field, "ImageID") == 0)
		return cs_xstrndup(hex, strnlen(hex, 12));
	if (strcmp(field, "ImageFullID") == 0)
		return cs_xstrdup(img);
	if (strcmp(field, "ImageName") == 0)
		return cs_xstrdup(in->image_name ? in->image_name : "");
	return cs_xstrdup("docker");
}

/* "{{.ImageName}}/{{.Name}}/{{.ID}}"; in NULL only checks. */
static int expand_tag(const char *tmpl, const struct cs_spec_input *in, struct cs_str *out, struct cs_err **err)
{
	const char *p = tmpl, *open;

	while ((open = strstr(p, "{{"))) {
		const char *close = strstr(open, "}}");
		cs_str_put(out, p, (size_t)(open - p));
		open += 2 + strspn(open + 2, " ");
		cs_autofree char *f = close && close > open ? cs_xstrndup(open, (size_t)(close - open)) : cs_xstrdup("");
		for (size_t n = strlen(f); n && f[n - 1] == ' ';) /* a pipe or a function behind the name stays, and is refused */
			f[--n] = 0;
		bool known = false;
		for (size_t i = 0; tag_fields[i]; i++)
			known = known || (f[0] == '.' && strcmp(f + 1, tag_fields[i]) == 0);
		if (!known)
			return cs_fail(err, CS_ERR_INVALID, 0, "invalid log option tag: template \"%s\": only {{.ID}}, {{.FullID}}, {{.Name}}, "
				       "{{.ImageID}}, {{.ImageFullID}}, {{.ImageName}} and {{.DaemonName}} are known", tmpl);
		if (in) {
			cs_autofree char *v = tag_value(in, f + 1);
			cs_str_puts(out, v);
		}
		p = close + 2;
	}
	cs_str_puts(out, p);
	return 0;
}

static int check_keys(const struct cs_log_config *log, struct cs_err **err)
{
	static const char *const known[] = {"max-file", "max-size", "compress", "labels",          "labels-regex",
					    "env",      "env-regex", "tag",     "mode",            "max-buffer-size"};

	for (size_t i = 0; log->config && i < log->config->n; i++) {
		bool ok = false;
		for (size_t k = 0; k < CS_ARRAY_SIZE(known); k++)
			ok = ok || strcmp(log->config->kv[i].key, known[k]) == 0;
		if (!ok)
			return cs_fail(err, CS_ERR_INVALID, 0, "unknown log opt '%s' for %s log driver", log->config->kv[i].key, log->type);
	}
	return 0;
}

int cs_log_config_check(const struct cs_log_config *log, struct cs_err **err)
{
	static const char *const later[] = {"syslog", "journald", "gelf", "fluentd", "awslogs", "splunk", "etwlogs", "gcplogs", "logentries"};
	const char *mode = cs_strmap_get(log->config, "mode"), *buffer = cs_strmap_get(log->config, "max-buffer-size");
	const char *tag = cs_strmap_get(log->config, "tag");
	struct cs_str scratch cs_autostr = CS_STR_INIT(65536);
	struct log_limits l;
	int64_t n;

	if (cs_streq(log->type, "none"))
		return 0;
	for (size_t i = 0; i < CS_ARRAY_SIZE(later); i++)
		if (cs_streq(log->type, later[i]))
			return cs_fail(err, CS_ERR_UNSUPPORTED, 0, "log driver %s is not available in this build", log->type);
	if (!cs_streq(log->type, "json-file") && !cs_streq(log->type, "local"))
		return cs_fail(err, CS_ERR_INVALID, 0, "error looking up logging plugin %s: plugin \"%s\" not found", log->type, log->type);
	if (mode && *mode && strcmp(mode, "blocking") != 0 && strcmp(mode, "non-blocking") != 0)
		return cs_fail(err, CS_ERR_INVALID, 0, "logger: logging mode not supported: %s", mode);
	if (buffer && !cs_streq(mode, "non-blocking"))
		return cs_fail(err, CS_ERR_INVALID, 0, "logger: max-buffer-size option is only supported with 'mode=non-blocking'");
	if (buffer && !cs_parse_bytes(buffer, &n))
		return cs_fail(err, CS_ERR_INVALID, 0, "error parsing option max-buffer-size: invalid size: '%s'", buffer);
	if (check_keys(log, err) < 0 || check_regex(log, "labels-regex", err) < 0 || check_regex(log, "env-regex", err) < 0)
		return -1;
	if (tag && expand_tag(tag, NULL, &scratch, err) < 0)
		return -1;
	return parse_limits(log, &l, err);
}

static void put_attr(struct cs_str *out, bool *any, const char *key, const char *val)
{
	if (!*any) {
		cs_json_put_key(out, "Attrs");
		cs_str_putc(out, '{');
		*any = true;
	}
	cs_json_put_kstr(out, key, val);
}

/* Whether a key is on the comma list or matches the expression. */
static bool selected(char *const *list, const regex_t *re, const char *key)
{
	return cs_strv_has(list, key) || (re && regexec(re, key, 0, NULL, 0) == 0);
}

static void put_selected(const struct cs_spec_input *in, const struct cs_log_config *log, bool env, struct cs_str *out, bool *any)
{
	const char *names = cs_strmap_get(log->config, env ? "env" : "labels");
	const char *expr = cs_strmap_get(log->config, env ? "env-regex" : "labels-regex");
	regex_t re;
	bool has_re = !cs_empty(expr) && regcomp(&re, expr, REG_EXTENDED | REG_NOSUB) == 0;

	if (cs_empty(names) && !has_re)
		return;
	cs_autostrv char **list = cs_strv_split(names ? names : "", ',');
	if (env) {
		for (size_t i = 0; in->config->env && in->config->env[i]; i++) {
			const char *eq = strchr(in->config->env[i], '=');
			cs_autofree char *key = eq ? cs_xstrndup(in->config->env[i], (size_t)(eq - in->config->env[i])) : NULL;
			if (key && *key && selected(list, has_re ? &re : NULL, key))
				put_attr(out, any, key, eq + 1);
		}
	} else {
		const struct cs_strmap *m = in->config->labels;
		for (size_t i = 0; m && i < m->n; i++)
			if (*m->kv[i].key && selected(list, has_re ? &re : NULL, m->kv[i].key))
				put_attr(out, any, m->kv[i].key, m->kv[i].val);
	}
	if (has_re)
		regfree(&re);
}

int cs_log_put(const struct cs_spec_input *in, struct cs_str *out, struct cs_err **err)
{
	const struct cs_log_config *log = &in->host->log_config;
	const char *type = cs_empty(log->type) ? "json-file" : log->type, *tag = cs_strmap_get(log->config, "tag");
	struct cs_str text cs_autostr = CS_STR_INIT(65536);
	struct log_limits l;
	bool any = false;

	cs_json_put_key(out, "Logging");
	cs_str_putc(out, '{');
	cs_json_put_kstr(out, "Driver", type);
	if (strcmp(type, "none") != 0) {
		if (parse_limits(log, &l, err) < 0)
			return -1;
		cs_json_put_kstr(out, "Path", in->log_path);
		cs_json_put_ki64(out, "MaxSize", l.max_size);
		cs_json_put_ki64(out, "MaxFile", (int64_t)l.max_file);
		cs_json_put_kbool(out, "Compress", l.compress);
		put_selected(in, log, false, out, &any);
		put_selected(in, log, true, out, &any);
		if (tag && *tag) {
			if (expand_tag(tag, in, &text, err) < 0)
				return -1;
			put_attr(out, &any, "tag", text.buf ? text.buf : "");
		}
		if (any)
			cs_str_putc(out, '}');
	}
	cs_str_putc(out, '}');
	return 0;
}
