/* SPDX-License-Identifier: Apache-2.0
 *
 * /networks. /networks/reachability is Caisson's own. */
#include "api/routes.h"

#include "engine/engine.h"

static int list(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	return cs_network_list(rq->engine, cs_query_str(&rq->query, "filters"), rq->api, &rs->body, err);
}

static int create(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	struct cs_network_create req = { 0 };
	cs_autofree char *id = NULL;
	int r = cs_request_json(rq, &cs_network_create_type, &req, true, err);

	if (r == 0)
		r = cs_network_create(rq->engine, &req, rq->api, &id, err);
	cs_json_release(&cs_network_create_type, &req);
	if (r < 0)
		return -1;
	cs_str_putc(&rs->body, '{');
	cs_json_put_kstr(&rs->body, "Id", id);
	cs_str_puts(&rs->body, ",\"Warning\":\"\"}\n");
	rs->status = 201;
	return 0;
}

static int inspect(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	const char *verbose = cs_query_str(&rq->query, "verbose");
	static const char *const good[] = { "1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False" };
	bool known = !verbose;

	for (size_t i = 0; i < CS_ARRAY_SIZE(good); i++)
		known = known || !strcmp(verbose, good[i]);
	if (!known)
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid value for verbose: %s: strconv.ParseBool: parsing \"%s\": invalid syntax", verbose, verbose);
	return cs_network_inspect(rq->engine, rq->param[0], cs_query_str(&rq->query, "scope"), verbose && cs_query_bool(&rq->query, "verbose"), rq->api, &rs->body,
				  err);
}

static int remove_(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	rs->status = 204;
	return cs_network_remove(rq->engine, rq->param[0], err);
}

static int prune(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	return cs_network_prune(rq->engine, cs_query_str(&rq->query, "filters"), &rs->body, err);
}

static int connect_(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	struct cs_network_connect req = { 0 };
	int r = cs_request_json(rq, &cs_network_connect_type, &req, true, err);

	if (r == 0)
		r = cs_network_connect(rq->engine, rq->param[0], &req, err);
	cs_json_release(&cs_network_connect_type, &req);
	return r;
}

static int disconnect(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	struct cs_network_disconnect req = { 0 };
	int r = cs_request_json(rq, &cs_network_disconnect_type, &req, true, err);

	if (r == 0)
		r = cs_network_disconnect(rq->engine, rq->param[0], &req, err);
	cs_json_release(&cs_network_disconnect_type, &req);
	return r;
}

static int reachability(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	return cs_network_reachability(rq->engine, &rs->body, err);
}

const struct cs_route cs_routes_networks[] = {
	{ "GET", "/networks", 0, 0, list },
	{ "GET", "/networks/", 0, 0, list },
	{ "POST", "/networks/create", 0, 0, create },
	{ "POST", "/networks/prune", 0, 0, prune, CS_ROUTE_DISCARD },
	{ "GET", "/networks/reachability", 0, 0, reachability },
	{ "GET", "/networks/{id}", 0, 0, inspect },
	{ "DELETE", "/networks/{id}", 0, 0, remove_, CS_ROUTE_DISCARD },
	{ "POST", "/networks/{id}/connect", 0, 0, connect_ },
	{ "POST", "/networks/{id}/disconnect", 0, 0, disconnect },
	{ NULL },
};
