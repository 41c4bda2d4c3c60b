/* SPDX-License-Identifier: Apache-2.0
 *
 * /containers/{id}/exec and /exec/… */
#include "api/routes.h"

#include "base/log.h"
#include "engine/engine.h"

static int create(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	struct cs_exec_config *cfg = cs_xcalloc(1, sizeof(*cfg));
	cs_autofree char *id = NULL;
	int r = cs_request_json(rq, &cs_exec_config_type, cfg, true, err);

	if (r == 0)
		r = cs_exec_create(rq->engine, rq->param[0], cfg, &id, err);
	cs_exec_config_free(cfg);
	if (r < 0)
		return -1;
	return cs_answer_created(rs, id);
}

static void run_start(void *ctx, int fd, const void *input, size_t len)
{
	cs_autoerr struct cs_err *e = NULL;

	if (cs_exec_start_run(ctx, fd, input, len, &e) < 0) { /* the client has read it from its stream */
		cs_autofree char *text = cs_err_text(e);
		cs_debug("api", "exec start: %s", text);
	}
}

static void free_start(void *ctx)
{
	cs_exec_start_free(ctx);
}

static int start(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	struct cs_exec_start_request *sr = cs_xcalloc(1, sizeof(*sr));
	struct cs_exec_start *s = NULL;
	int r = cs_request_json(rq, &cs_exec_start_request_type, sr, false, err);
	bool detach = sr->detach;

	if (r == 0)
		r = cs_exec_start_prepare(rq->engine, rq->param[0], sr, &s, err);
	cs_exec_start_request_free(sr);
	if (r < 0)
		return -1;
	if (detach)
		return cs_exec_start_run(s, -1, NULL, 0, err);
	rs->content_type = rq->upgrade && rq->api >= 142 && !cs_exec_start_raw(s) ? CS_MULTIPLEXED : CS_RAW_STREAM;
	rs->hijack = (struct cs_hijack){ s, run_start, free_start };
	return 0;
}

static int resize(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	uint16_t rows, cols;

	if (cs_query_size(rq, &rows, &cols, err) < 0)
		return -1;
	return cs_exec_resize(rq->engine, rq->param[0], rows, cols, err);
}

static int inspect(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	return cs_exec_inspect(rq->engine, rq->param[0], rq->api, &rs->body, err);
}

const struct cs_route cs_routes_exec[] = {
	{ "POST", "/containers/{id:.*}/exec", 0, 0, create },
	{ "POST", "/exec/{id}/start", 0, 0, start },
	{ "POST", "/exec/{id}/resize", 0, 0, resize, CS_ROUTE_DISCARD },
	{ "GET", "/exec/{id}/json", 0, 0, inspect },
	{ NULL },
};
