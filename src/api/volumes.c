/* SPDX-License-Identifier: Apache-2.0
 *
 * /volumes. The engine makes anonymous volumes as plain directories that belong to their container; named ones come with the storage
 * work, so the list is empty and making one is refused. */
#include "api/routes.h"

#include "engine/filters.h"

static int list(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	static const char *const allowed[] = { "dangling", "driver", "label", "name", NULL };
	cs_autofilters struct cs_filters f = { 0 };

	if (cs_filters_parse(cs_query_str(&rq->query, "filters"), allowed, &f, err) < 0)
		return -1;
	cs_str_puts(&rs->body, "{\"Volumes\":[],\"Warnings\":null}\n");
	return 0;
}

static int missing(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	return cs_fail(err, CS_ERR_NOT_FOUND, 0, "get %s: no such volume", rq->param[0]);
}

static int prune(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	cs_str_puts(&rs->body, "{\"VolumesDeleted\":null,\"SpaceReclaimed\":0}\n");
	return 0;
}

const struct cs_route cs_routes_volumes[] = {
	{ "GET", "/volumes", 0, 0, list },
	{ "POST", "/volumes/create", 0, 0, cs_unavailable, CS_ROUTE_DISCARD, "creating volumes" },
	{ "POST", "/volumes/prune", 125, 0, prune, CS_ROUTE_DISCARD },
	{ "GET", "/volumes/{name}", 0, 0, missing },
	{ "PUT", "/volumes/{name}", 142, 0, cs_unavailable, CS_ROUTE_DISCARD, "updating cluster volumes" },
	{ "DELETE", "/volumes/{name}", 0, 0, missing, CS_ROUTE_DISCARD },
	{ NULL },
};
