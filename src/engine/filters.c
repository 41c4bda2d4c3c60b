/* SPDX-License-Identifier: Apache-2.0
 *
 * Parses and applies the API's filters. Pure functions. */
#include "engine/filters.h"

#include <regex.h>

#include "base/json.h"
#include "base/time.h"

/* libc copies what "+" and "{n}" repeat, and copies the copies when they are nested ("x+++++…" fills the memory); a back-reference may take for
 * ever. Go's expressions, which Docker takes, have neither trouble. A pattern beyond this budget finds only itself. */
static bool regex_is_cheap(const char *p)
{
	unsigned long cost = 1;

	if (strlen(p) > 1024)
		return false;
	for (; *p && cost <= 256; p++) {
		if (strchr("+*?}", *p) && p[1] && strchr("+*{", p[1])) /* an error in Go, too */
			return false;
		if (*p == '\\') {
			p++;
			if (!*p || (*p >= '0' && *p <= '9'))
				return false;
		} else if (*p == '+') {
			cost *= 2;
		} else if (*p == '{') {
			unsigned long n = 0, most = 0;
			for (; *p && *p != '}'; p++) {
				n = *p >= '0' && *p <= '9' ? CS_MIN(n * 10 + (unsigned long)(*p - '0'), 100000ul) : 0;
				most = CS_MAX(most, n);
			}
			if (!*p || (p[1] && strchr("+*{", p[1])))
				return false;
			cost *= CS_MAX(most, 2ul);
		}
	}
	return cost <= 256;
}

static int bad_filter(struct cs_err **err, const char *key, const char *value)
{
	if (value)
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid filter '%s=[%s]'", key, value);
	return cs_fail(err, CS_ERR_INVALID, 0, "invalid filter '%s'", key);
}

static int add_values(struct cs_filter *f, json_t *v, struct cs_err **err)
{
	const char *k;
	json_t *x;
	size_t i;

	f->values = cs_xcalloc(1, sizeof(char *));
	if (json_is_object(v)) {
		json_object_foreach(v, k, x) {
			if (!json_is_boolean(x))
				return cs_fail(err, CS_ERR_INVALID, 0, "invalid filter");
			if (!cs_strv_has(f->values, k))
				cs_strv_push(&f->values, k);
		}
		return 0;
	}
	if (!json_is_array(v))
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid filter");
	json_array_foreach(v, i, x) {
		if (!json_is_string(x))
			return cs_fail(err, CS_ERR_INVALID, 0, "invalid filter");
		if (!cs_strv_has(f->values, json_string_value(x)))
			cs_strv_push(&f->values, json_string_value(x));
	}
	return 0;
}

int cs_filters_parse(const char *json, const char *const *allowed, struct cs_filters *ret, struct cs_err **err)
{
	struct cs_filters f = {0};
	const char *k;
	json_t *v;

	if (cs_empty(json)) {
		*ret = f;
		return 0;
	}
	cs_autoerr struct cs_err *inner = NULL;
	cs_autojson json_t *root = cs_json_parse(json, strlen(json), &inner);
	if (json_is_null(root)) { /* as a client in JavaScript sends none */
		*ret = f;
		return 0;
	}
	if (!root || !json_is_object(root))
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid filter");
	json_object_foreach(root, k, v) {
		bool ok = !allowed;
		for (const char *const *a = allowed; a && *a; a++)
			ok = ok || cs_streq(*a, k);
		if (!ok) {
			cs_filters_done(&f);
			return bad_filter(err, k, NULL);
		}
		f.f = cs_xreallocarray(f.f, f.n + 1, sizeof(*f.f));
		f.f[f.n] = (struct cs_filter){cs_xstrdup(k), NULL};
		if (add_values(&f.f[f.n++], v, err) < 0) {
			cs_filters_done(&f);
			return -1;
		}
	}
	*ret = f;
	return 0;
}

void cs_filters_done(struct cs_filters *f)
{
	for (size_t i = 0; i < f->n; i++) {
		free(f->f[i].key);
		cs_strv_free(f->f[i].values);
	}
	free(f->f);
	*f = (struct cs_filters){0};
}

char **cs_filter_values(const struct cs_filters *f, const char *key)
{
	for (size_t i = 0; i < f->n; i++)
		if (cs_streq(f->f[i].key, key))
			return f->f[i].values[0] ? f->f[i].values : NULL;
	return NULL;
}

bool cs_filter_exact(const struct cs_filters *f, const char *key, const char *v)
{
	char **vals = cs_filter_values(f, key);
	return !vals || (v && cs_strv_has(vals, v));
}

bool cs_filter_prefix(const struct cs_filters *f, const char *key, const char *v)
{
	char **vals = cs_filter_values(f, key);

	for (char **p = vals; p && *p; p++)
		if (v && cs_prefix(v, *p))
			return true;
	return !vals;
}

bool cs_filter_labels(const struct cs_filters *f, const char *key, const struct cs_strmap *labels)
{
	for (char **p = cs_filter_values(f, key); p && *p; p++) {
		const char *eq = strchr(*p, '=');
		cs_autofree char *k = eq ? cs_xstrndup(*p, (size_t)(eq - *p)) : cs_xstrdup(*p);
		const char *have = cs_strmap_get(labels, k);
		if (!have || (eq && !cs_streq(have, eq + 1)))
			return false;
	}
	return true;
}

int cs_filter_bool(const struct cs_filters *f, const char *key, bool *ret, struct cs_err **err)
{
	char **v = cs_filter_values(f, key);
	bool yes, no;

	if (!v)
		return 0;
	yes = cs_strv_has(v, "1") || cs_strv_has(v, "true");
	no = cs_strv_has(v, "0") || cs_strv_has(v, "false");
	if (yes == no)
		return bad_filter(err, key, v[0]);
	*ret = yes;
	return 0;
}

int cs_filter_until(const struct cs_filters *f, int64_t *ret, struct cs_err **err)
{
	char **v = cs_filter_values(f, "until");

	if (v && v[1])
		return cs_fail(err, CS_ERR_INVALID, 0, "more than one until filter specified");
	if (v && !cs_time_parse_param(v[0], cs_now_ns(), ret))
		return cs_fail(err, CS_ERR_INVALID, 0, "failed to parse value as time or duration: \"%s\"", v[0]);
	return 0;
}

bool cs_filter_match(const struct cs_filters *f, const char *key, const char *v)
{
	char **vals = cs_filter_values(f, key);

	for (char **p = vals; p && *p; p++) {
		regex_t re;
		if (strstr(v, *p))
			return true;
		if (!regex_is_cheap(*p) || regcomp(&re, *p, REG_EXTENDED | REG_NOSUB) != 0)
			continue;
		bool hit = regexec(&re, v, 0, NULL, 0) == 0;
		regfree(&re);
		if (hit)
			return true;
	}
	return !vals;
}
