/* SPDX-License-Identifier: Apache-2.0
 *
 * /plugins: none can be installed in this build. */
#include "api/routes.h"

static int list(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	cs_str_puts(&rs->body, "[]\n");
	return 0;
}

static int missing(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	return cs_fail(err, CS_ERR_NOT_FOUND, 0, "plugin \"%s\" not found", rq->param[0]);
}

#define P(path) { "POST", path, 0, 0, cs_unavailable, CS_ROUTE_DISCARD, "plugin management" }

const struct cs_route cs_routes_plugins[] = {
	{ "GET", "/plugins", 0, 0, list },
	{ "GET", "/plugins/privileges", 0, 0, cs_unavailable, CS_ROUTE_DISCARD, "plugin management" },
	P("/plugins/pull"),
	P("/plugins/create"),
	{ "GET", "/plugins/{name:.*}/json", 0, 0, missing },
	P("/plugins/{name:.*}/enable"),
	P("/plugins/{name:.*}/disable"),
	P("/plugins/{name:.*}/upgrade"),
	P("/plugins/{name:.*}/push"),
	P("/plugins/{name:.*}/set"),
	{ "DELETE", "/plugins/{name:.*}", 0, 0, missing, CS_ROUTE_DISCARD },
	{ NULL },
};
