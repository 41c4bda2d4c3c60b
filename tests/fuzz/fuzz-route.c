/* SPDX-License-Identifier: Apache-2.0
 * A request line's target: version, path against the whole table, query. The text as an Accept header, too. */
#include "api/query.h"
#include "api/router.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cs_autofree char *s = cs_xstrndup((const char *)data, size);
	char *q = strchr(s, '?'), *param[CS_ROUTE_PARAMS] = {0};
	struct cs_query query = {0};
	const char *rest;
	int api;

	const char *lines = cs_accept_lines(s);
	if (lines && !strcasestr(s, lines))
		abort(); /* nobody said so */
	if (q)
		*q++ = 0;
	char *clean = cs_route_clean(s, strlen(s)), *again = clean ? cs_route_clean(clean, strlen(clean)) : NULL;
	if (again)
		abort(); /* what is clean stays as it is */
	free(clean);
	if (cs_route_version(s, CS_API_MIN, &api, &rest, NULL) == 0)
		for (size_t m = 0; m < 4; m++) {
			(void)cs_route_find(cs_routes, (const char *const[]){"GET", "POST", "DELETE", "HEAD"}[m], rest, api, param);
			for (size_t i = 0; i < CS_ROUTE_PARAMS; i++) {
				free(param[i]);
				param[i] = NULL;
			}
		}
	if (q && cs_query_parse(q, &query, NULL) == 0) {
		int64_t v;
		for (size_t i = 0; i < query.n; i++) {
			(void)cs_query_bool(&query, query.pair[i].key);
			if (cs_query_i64(&query, query.pair[i].key, 0, -5, 5, &v, NULL) == 0 && (v < -5 || v > 5))
				abort();
		}
	}
	cs_query_done(&query);
	return 0;
}
