/* SPDX-License-Identifier: Apache-2.0
 *
 * /images/…, /build, /commit, /distribution. */
#include "api/routes.h"

#include "api/body.h"
#include "base/log.h"
#include "engine/engine.h"
#include "engine/image.h"

static int list(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	/* digests: dockerd always sends them, the client decides what to print */
	struct cs_image_list_opts o = {.all = cs_query_bool(&rq->query, "all"),
				       .shared_size = cs_query_bool(&rq->query, "shared-size"),
				       .manifests = cs_query_bool(&rq->query, "manifests"),
				       .filters = cs_query_str(&rq->query, "filters")};

	if (rq->api >= 154 && cs_query_bool(&rq->query, "identity") && !o.manifests)
		return cs_fail(err, CS_ERR_INVALID, 0, "conflicting options: identity requires manifests=1");
	return cs_image_list(rq->engine, &o, rq->api, &rs->body, err);
}

static int inspect(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	const char *platform = rq->api >= 149 ? cs_query_str(&rq->query, "platform") : NULL;

	return cs_image_inspect(rq->engine, rq->param[0], platform, rq->api >= 148 && cs_query_bool(&rq->query, "manifests"), rq->api, &rs->body, err);
}

static int history(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	return cs_image_history(rq->engine, rq->param[0], rq->api >= 148 ? cs_query_str(&rq->query, "platform") : NULL, &rs->body, err);
}

static int remove_(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	cs_autostrv char **platforms = rq->api >= 150 ? cs_query_all(&rq->query, "platforms") : NULL;

	return cs_image_remove(rq->engine, rq->param[0], platforms, cs_query_bool(&rq->query, "force"),
			       cs_query_bool(&rq->query, "noprune"), &rs->body, err);
}

static int tag(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	rs->status = 201;
	return cs_image_tag(rq->engine, rq->param[0], cs_query_str(&rq->query, "repo"), cs_query_str(&rq->query, "tag"), err);
}

static int prune(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	return cs_prune_answer(rq, rs, cs_image_prune, "images", err);
}

static ssize_t read_body(void *ctx, void *buf, size_t max) { return cs_body_read(((struct cs_request *)ctx)->blocks, buf, max); }

/* The answer is a stream of progress in dockerd; errors in the middle come after a 200 there. We know the end before we answer. */
static int import(struct cs_request *rq, const char *src, struct cs_response *rs, struct cs_err **err)
{
	cs_autostrv char **changes = cs_query_all(&rq->query, "changes");
	cs_autofree char *id = NULL;
	struct cs_import in = {
		.repo = cs_query_str(&rq->query, "repo"),
		.tag = cs_query_str(&rq->query, "tag"),
		.message = cs_query_str(&rq->query, "message"),
		.platform = cs_query_str(&rq->query, "platform"),
		.changes = changes,
		.read = read_body,
		.ctx = rq,
	};

	if (strcmp(src, "-") != 0)
		return cs_image_import_url(rq->engine, &in, src, rq->client_fd, &rs->stream, err);
	if (cs_image_import(rq->engine, &in, &id, err) < 0)
		return -1;
	cs_str_putc(&rs->body, '{');
	cs_json_put_kstr(&rs->body, "status", id);
	cs_str_puts(&rs->body, "}\r\n");
	return 0;
}

static int pull(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	struct cs_pull p = {.image = cs_query_str(&rq->query, "fromImage"),
			    .tag = cs_query_str(&rq->query, "tag"),
			    .platform = cs_query_str(&rq->query, "platform"),
			    .auth = rq->registry_auth,
			    .client_fd = rq->client_fd};

	return cs_image_pull(rq->engine, &p, &rs->stream, err);
}

static int push(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	struct cs_push p = {.image = rq->param[0],
			    .tag = cs_query_str(&rq->query, "tag"),
			    .platform = rq->api >= 146 ? cs_query_str(&rq->query, "platform") : NULL,
			    .auth = rq->registry_auth,
			    .body = rq->body.buf ? rq->body.buf : "",
			    .body_len = rq->body.len,
			    .client_fd = rq->client_fd};

	return cs_image_push(rq->engine, &p, &rs->stream, err);
}

static int distribution(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	return cs_image_distribution(rq->engine, rq->param[0], rq->registry_auth, rq->client_fd, &rs->body, err);
}

static int search(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	int64_t limit;

	if (cs_query_i64(&rq->query, "limit", 0, INT64_MIN, INT64_MAX, &limit, err) < 0)
		return -1;
	return cs_image_search(rq->engine, cs_query_str(&rq->query, "term"), limit, cs_query_str(&rq->query, "filters"), rq->registry_auth, rq->client_fd,
			       &rs->body, err);
}

static int create(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	const char *src = cs_query_str(&rq->query, "fromSrc");

	if (cs_query_str(&rq->query, "fromImage"))
		return pull(rq, rs, err);
	if (!src)
		return cs_fail(err, CS_ERR_INVALID, 0, "either fromImage or fromSrc is required");
	return import(rq, src, rs, err);
}

/* There is no build cache yet, so pruning it is done at once; `docker system prune` asks for it always. */
static int build_prune(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	cs_str_puts(&rs->body, "{\"CachesDeleted\":null,\"SpaceReclaimed\":0}\n");
	return 0;
}

const struct cs_route cs_routes_images[] = {
	{ "GET", "/images/json", 0, 0, list },
	{ "POST", "/images/create", 0, 0, create, CS_ROUTE_PULL | CS_ROUTE_BLOCKS },
	{ "POST", "/images/prune", 0, 0, prune, CS_ROUTE_DISCARD },
	{ "GET", "/images/search", 0, 0, search, CS_ROUTE_DISCARD },
	{ "GET", "/images/{name:.*}/json", 0, 0, inspect },
	{ "GET", "/images/{name:.*}/history", 0, 0, history },
	{ "GET", "/images/{name:.*}/attestations", 0, 0, cs_unavailable, CS_ROUTE_DISCARD, "listing attestations" },
	{ "POST", "/images/{name:.*}/push", 0, 0, push },
	{ "POST", "/images/{name:.*}/tag", 0, 0, tag, CS_ROUTE_DISCARD },
	{ "DELETE", "/images/{name:.*}", 0, 0, remove_, CS_ROUTE_DISCARD },
	{ "POST", "/build", 0, 0, cs_unavailable, CS_ROUTE_DISCARD, "building images" },
	{ "POST", "/build/prune", 0, 0, build_prune, CS_ROUTE_DISCARD },
	{ "POST", "/build/cancel", 0, 0, cs_unavailable, CS_ROUTE_DISCARD, "building images" },
	{ "POST", "/session", 0, 0, cs_unavailable, CS_ROUTE_DISCARD, "BuildKit" },
	{ "POST", "/grpc", 0, 0, cs_unavailable, CS_ROUTE_DISCARD, "BuildKit" },
	{ "GET", "/distribution/{name:.*}/json", 0, 0, distribution, CS_ROUTE_DISCARD },
	{ NULL },
};
