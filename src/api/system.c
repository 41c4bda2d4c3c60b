/* SPDX-License-Identifier: Apache-2.0
 *
 * /_ping, /version, /info, /events, /system/df, /auth; our own: /system/check, /compute/systems. */
#include "api/routes.h"

#include "base/num.h"
#include "engine/engine.h"
#include "engine/image.h"

static int ping(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	static const char *const headers[] = { "Builder-Version", "1", "Swarm", "inactive", "Cache-Control", "no-cache, no-store, must-revalidate",
					       "Pragma", "no-cache" };

	memcpy(rs->extra, headers, sizeof(headers));
	rs->content_type = "text/plain; charset=utf-8";
	if (strcmp(rq->method, "HEAD"))
		cs_str_puts(&rs->body, "OK");
	return 0;
}

static int version(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	return cs_system_version(rq->engine, rq->api, &rs->body, err);
}

static int info(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	return cs_system_info(rq->engine, rq->api, &rs->body, err);
}

static int df(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	cs_autostrv char **types = rq->api >= 142 ? cs_query_all(&rq->query, "type") : NULL;
	const char *verbose = rq->api >= 152 ? cs_query_str(&rq->query, "verbose") : NULL;
	bool items = false;

	if (verbose && !cs_parse_bool(verbose, &items))
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid value for verbose: %s", verbose);
	return cs_system_df(rq->engine, types, !verbose ? CS_DF_LEGACY : items ? CS_DF_ITEMS : CS_DF_TOTALS, rq->api, &rs->body, err);
}

/* Caisson's own: dockerd has no such thing. */
static int check(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	return cs_system_check(rq->engine, cs_query_bool(&rq->query, "repair"), cs_query_bool(&rq->query, "deep"), &rs->body, err);
}

/* Caisson's own, too. */
static int compute_list(struct cs_request *rq, struct cs_response *rs, struct cs_err **err) { return cs_compute_list(rq->engine, &rs->body, err); }

static int compute_properties(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	cs_autostrv char **types = cs_query_all(&rq->query, "type");

	return cs_compute_properties(rq->engine, rq->param[0], types, &rs->body, err);
}

static int events(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	int64_t since, until;

	if (cs_query_time(&rq->query, "since", &since, err) < 0 || cs_query_time(&rq->query, "until", &until, err) < 0)
		return -1;
	if (since && until && since > until)
		return cs_fail(err, CS_ERR_INVALID, 0, "`since` time (%s) cannot be after `until` time (%s)", cs_query_get(&rq->query, "since"),
			       cs_query_get(&rq->query, "until"));
	return cs_events_stream(rq->engine, since, until, cs_query_str(&rq->query, "filters"), rq->api, &rs->stream, err);
}

static int auth(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	if (cs_request_check_json(rq, err) < 0)
		return -1;
	return cs_registry_auth_check(rq->engine, rq->body.buf ? rq->body.buf : "", rq->body.len, rq->client_fd, &rs->body, err);
}

const struct cs_route cs_routes_system[] = {
	{ "GET", "/_ping", 0, 0, ping },
	{ "HEAD", "/_ping", 0, 0, ping },
	{ "GET", "/version", 0, 0, version },
	{ "GET", "/info", 0, 0, info },
	{ "GET", "/events", 0, 0, events },
	{ "GET", "/system/df", 0, 0, df },
	{ "POST", "/system/check", 0, 0, check, CS_ROUTE_DISCARD },
	{ "POST", "/auth", 0, 0, auth },
	{ "GET", "/compute/systems", 0, 0, compute_list },
	{ "GET", "/compute/systems/{id}", 0, 0, compute_properties },
	{ NULL },
};
