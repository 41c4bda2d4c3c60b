/* SPDX-License-Identifier: Apache-2.0
 *
 * /volumes: the local driver. Cluster volumes need a swarm. */
#include "api/routes.h"

#include "engine/engine.h"

static int list(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	return cs_volume_list(rq->engine, cs_query_str(&rq->query, "filters"), &rs->body, err);
}

static int create(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	struct cs_volume_create req = {0};
	int r = cs_request_json(rq, &cs_volume_create_type, &req, true, err);

	if (r == 0)
		r = cs_volume_create(rq->engine, &req, rq->api, &rs->body, err);
	cs_json_release(&cs_volume_create_type, &req);
	rs->status = 201;
	return r;
}

static int inspect(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	return cs_volume_inspect(rq->engine, rq->param[0], &rs->body, err);
}

static int remove_(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	rs->status = 204;
	return cs_volume_remove(rq->engine, rq->param[0], cs_query_bool(&rq->query, "force"), err);
}

static int prune(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	return cs_prune_answer(rq, rs, cs_volume_prune, "volumes", err);
}

static int update(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	return cs_fail(err, CS_ERR_UNAVAILABLE, 0, "volume update only valid for cluster volumes, but swarm is unavailable");
}

const struct cs_route cs_routes_volumes[] = {
	{ "GET", "/volumes", 0, 0, list },
	{ "POST", "/volumes/create", 0, 0, create },
	{ "POST", "/volumes/prune", 0, 0, prune, CS_ROUTE_DISCARD },
	{ "GET", "/volumes/{name}", 0, 0, inspect },
	{ "PUT", "/volumes/{name}", 142, 0, update, CS_ROUTE_DISCARD },
	{ "DELETE", "/volumes/{name}", 0, 0, remove_, CS_ROUTE_DISCARD },
	{ NULL },
};
