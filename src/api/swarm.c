/* SPDX-License-Identifier: Apache-2.0
 *
 * The swarm family answers as a dockerd that belongs to no swarm: clients probe it and expect 503. */
#include "api/routes.h"

static int not_manager(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	return cs_fail(err, CS_ERR_UNAVAILABLE, 0,
		       "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.");
}

static int not_member(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	return cs_fail(err, CS_ERR_UNAVAILABLE, 0, "This node is not part of a swarm");
}

#define N(method, path) { method, path, 0, 0, not_manager, CS_ROUTE_DISCARD }

const struct cs_route cs_routes_swarm[] = {
	{ "POST", "/swarm/init", 0, 0, cs_unavailable, CS_ROUTE_DISCARD, "swarm mode" },
	{ "POST", "/swarm/join", 0, 0, cs_unavailable, CS_ROUTE_DISCARD, "swarm mode" },
	{ "POST", "/swarm/leave", 0, 0, not_member, CS_ROUTE_DISCARD },
	N("GET", "/swarm"),
	N("GET", "/swarm/unlockkey"),
	N("POST", "/swarm/update"),
	N("POST", "/swarm/unlock"),
	N("GET", "/nodes"),
	N("GET", "/nodes/{id}"),
	N("DELETE", "/nodes/{id}"),
	N("POST", "/nodes/{id}/update"),
	N("GET", "/services"),
	N("POST", "/services/create"),
	N("GET", "/services/{id}"),
	N("DELETE", "/services/{id}"),
	N("POST", "/services/{id}/update"),
	N("GET", "/services/{id}/logs"),
	N("GET", "/tasks"),
	N("GET", "/tasks/{id}"),
	N("GET", "/tasks/{id}/logs"),
	N("GET", "/secrets"),
	N("POST", "/secrets/create"),
	N("GET", "/secrets/{id}"),
	N("DELETE", "/secrets/{id}"),
	N("POST", "/secrets/{id}/update"),
	N("GET", "/configs"),
	N("POST", "/configs/create"),
	N("GET", "/configs/{id}"),
	N("DELETE", "/configs/{id}"),
	N("POST", "/configs/{id}/update"),
	{ NULL },
};
