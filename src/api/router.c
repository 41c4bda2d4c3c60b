/* SPDX-License-Identifier: Apache-2.0
 *
 * Matching of paths and API versions. Pure functions, see router.h. */
#include "api/router.h"

#include "base/num.h"

static bool match(const char *pat, const char *path, char *param[], size_t n)
{
	while (*pat && *pat != '{') {
		if (*pat++ != *path++)
			return false;
	}
	if (!*pat)
		return !*path;

	size_t plen = strcspn(pat, "}");
	bool greedy = plen >= 3 && !memcmp(pat + plen - 3, ":.*", 3);
	const char *rest = pat[plen] ? pat + plen + 1 : pat + plen;
	size_t len = greedy ? strlen(path) : strcspn(path, "/");

	if (n >= CS_ROUTE_PARAMS)
		return false;
	for (; len > 0; len--) {
		if (match(rest, path + len, param, n + 1)) {
			param[n] = cs_xstrndup(path, len);
			return true;
		}
		if (!greedy)
			break;
	}
	return false;
}

bool cs_route_match(const char *pattern, const char *path, char *param[CS_ROUTE_PARAMS])
{
	return match(pattern, path, param, 0);
}

int cs_route_version(const char *path, int min, int *api, const char **rest, struct cs_err **err)
{
	uint64_t major, minor;
	const char *v = cs_prefix(path, "/v");
	size_t n = v ? strspn(v, "0123456789.") : 0;
	const char *dot = v ? memchr(v, '.', n) : NULL;

	*api = CS_API_MAX;
	*rest = path;
	if (n == 0 || v[n] != '/') /* "/version", "/volumes" */
		return 0;
	if (!dot || !cs_parse_u64n(v, (size_t)(dot - v), 0, 1000, &major) || !cs_parse_u64n(dot + 1, n - (size_t)(dot - v) - 1, 0, 99, &minor))
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid API version %.*s", (int)n, v);
	*rest = v + n;
	if (major * 100 + minor > CS_API_MAX)
		return cs_fail(err, CS_ERR_INVALID, 0, "client version %.*s is too new. Maximum supported API version is " CS_API_MAX_TEXT, (int)n, v);
	if (major * 100 + minor < (uint64_t)min)
		return cs_fail(err, CS_ERR_INVALID, 0,
			       "client version %.*s is too old. Minimum supported API version is %d.%d, please upgrade your client to a newer version", (int)n, v,
			       min / 100, min % 100);
	*api = (int)(major * 100 + minor);
	return 0;
}

char *cs_route_clean(const char *path, size_t len)
{
	struct cs_str s cs_autostr = CS_STR_INIT(len + 2);
	bool slash = len > 0 && path[len - 1] == '/';

	for (size_t i = 0; i < len;) {
		size_t n = 0;
		while (i < len && path[i] == '/')
			i++;
		while (i + n < len && path[i + n] != '/')
			n++;
		if (n == 2 && !memcmp(path + i, "..", 2)) {
			while (s.len > 0 && s.buf[--s.len] != '/')
				;
		} else if (n > 0 && !(n == 1 && path[i] == '.')) {
			cs_str_putc(&s, '/');
			cs_str_put(&s, path + i, n);
		}
		i += n;
	}
	if (slash || s.len == 0)
		cs_str_putc(&s, '/');
	return s.len == len && !memcmp(s.buf, path, len) ? NULL : cs_xstrndup(s.buf, s.len);
}

static bool version_fits(const struct cs_route *r, int api)
{
	return (!r->min_api || api >= r->min_api) && (!r->max_api || api <= r->max_api);
}

const struct cs_route *cs_route_find(const struct cs_route *const *tables, const char *method, const char *path, int api, char *param[CS_ROUTE_PARAMS])
{
	for (; *tables; tables++)
		for (const struct cs_route *r = *tables; r->method; r++)
			if (!strcmp(r->method, method) && version_fits(r, api) && cs_route_match(r->pattern, path, param))
				return r;
	return NULL;
}
