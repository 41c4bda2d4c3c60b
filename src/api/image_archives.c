/* SPDX-License-Identifier: Apache-2.0
 *
 * Images in archives: docker load and docker save. */
#include "api/body.h"
#include "api/routes.h"

#include "base/log.h"
#include "engine/engine.h"
#include "engine/image.h"

static ssize_t read_body(void *ctx, void *buf, size_t max) { return cs_body_read(((struct cs_request *)ctx)->blocks, buf, max); }

/* Failures are the last line of the stream, as in dockerd; that one, too, tells nothing before it has read the whole archive. */
static int load(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	cs_autostrv char **platforms = rq->api >= 148 ? cs_query_all(&rq->query, "platform") : NULL;
	struct cs_load in = {
		.quiet = cs_query_bool_or(&rq->query, "quiet", true),
		.platforms = platforms,
		.read = read_body,
		.ctx = rq,
	};
	cs_autoerr struct cs_err *e = NULL;

	if (cs_image_load(rq->engine, &in, &rs->body, &e) == 0)
		return 0;
	cs_autofree char *text = cs_err_text(e);
	cs_debug("api", "load: %s", text);
	cs_str_puts(&rs->body, "{\"errorDetail\":{");
	cs_json_put_kstr(&rs->body, "message", text);
	cs_str_puts(&rs->body, "}");
	cs_json_put_kstr(&rs->body, "error", text);
	cs_str_puts(&rs->body, "}\r\n");
	return 0;
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
