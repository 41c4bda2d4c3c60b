/* SPDX-License-Identifier: Apache-2.0
 *
 * Images in archives: docker load and docker save. */
#include "api/body.h"
#include "api/routes.h"

#include "engine/engine.h"
#include "engine/image.h"

static ssize_t read_body(void *ctx, void *buf, size_t max) { return cs_body_read(ctx, buf, max); }

static void end_body(void *ctx)
{
	cs_body_close(ctx);
	cs_body_free(ctx);
}

/* The answer begins when the body has ended: the library sends nothing before. The work has begun by then, and what is left of it is told while it is
 * done. Failures are the last line of the stream, as in dockerd, which tells nothing before it has read the whole archive, either. */
static int load(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	cs_autostrv char **platforms = rq->api >= 148 ? cs_query_all(&rq->query, "platform") : NULL;
	struct cs_load in = {
		.quiet = cs_query_bool_or(&rq->query, "quiet", true),
		.platforms = platforms,
		.read = read_body,
		.done = end_body,
		.ctx = cs_body_ref(rq->blocks),
	};

	rq->keeps_body = true;
	return cs_image_load(rq->engine, &in, &rs->stream, err);
}

static int save(struct cs_request *rq, char *const *names, struct cs_response *rs, struct cs_err **err)
{
	cs_autostrv char **platforms = rq->api >= 148 ? cs_query_all(&rq->query, "platform") : NULL;

	if (cs_image_save(rq->engine, names, platforms, &rs->stream, &rs->stream_size, err) < 0)
		return -1;
	rs->content_type = "application/x-tar";
	return 0;
}

static int save_one(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	char *names[] = {rq->param[0], NULL};
	return save(rq, names, rs, err);
}

static int save_all(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	cs_autostrv char **names = cs_query_all(&rq->query, "names");
	return save(rq, names, rs, err);
}

const struct cs_route cs_routes_image_archives[] = {
	{ "GET", "/images/get", 0, 0, save_all, CS_ROUTE_DISCARD },
	{ "POST", "/images/load", 0, 0, load, CS_ROUTE_PULL | CS_ROUTE_BLOCKS },
	{ "GET", "/images/{name:.*}/get", 0, 0, save_one, CS_ROUTE_DISCARD },
	{ NULL },
};
