/* SPDX-License-Identifier: Apache-2.0
 *
 * Attach (hijack and websocket) and wait: the connections that may outlive this daemon. */
#include "api/routes.h"

#include "engine/engine.h"

static void run_attach(void *ctx, int fd, const void *input, size_t len)
{
	cs_attach_run(ctx, fd, input, len);
}

static void free_attach(void *ctx)
{
	cs_attach_free(ctx);
}

static struct cs_attach_opts options(const struct cs_request *rq)
{
	return (struct cs_attach_opts){
		.logs = cs_query_bool(&rq->query, "logs"),
		.stream = cs_query_bool(&rq->query, "stream"),
		.want_stdin = cs_query_bool(&rq->query, "stdin"),
		.want_stdout = cs_query_bool(&rq->query, "stdout"),
		.want_stderr = cs_query_bool(&rq->query, "stderr"),
		.detach_keys = cs_query_str(&rq->query, "detachKeys"),
	};
}

static int attach(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	struct cs_attach_opts o = options(rq);
	struct cs_attach *a;

	if (cs_container_attach(rq->engine, rq->param[0], &o, &a, err) < 0)
		return -1;
	rs->content_type = rq->upgrade && rq->api >= 142 && !cs_attach_tty(a) ? CS_MULTIPLEXED : CS_RAW_STREAM;
	rs->hijack = (struct cs_hijack){ a, run_attach, free_attach };
	return 0;
}

static int attach_ws(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	struct cs_attach_opts o = options(rq);
	struct cs_attach *a;

	o.raw = true;
	if (cs_container_attach(rq->engine, rq->param[0], &o, &a, err) < 0)
		return -1;
	if (!rq->ws_handshake) {
		cs_attach_free(a);
		return cs_fail(err, CS_ERR_INVALID, 0, "bad websocket handshake: Upgrade: websocket, Sec-WebSocket-Version: 13 and Sec-WebSocket-Key are needed");
	}
	rs->websocket = true;
	rs->ws_binary = rq->api >= 128;
	rs->hijack = (struct cs_hijack){ a, run_attach, free_attach };
	return 0;
}

static int wait_(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	const char *condition = rq->api >= 130 ? cs_query_str(&rq->query, "condition") : NULL;

	rs->is_wait = true;
	return cs_container_wait(rq->engine, rq->param[0], condition, &rs->stream, err);
}

const struct cs_route cs_routes_attach[] = {
	{ "POST", "/containers/{id:.*}/attach", 0, 0, attach, CS_ROUTE_DISCARD },
	{ "GET", "/containers/{id:.*}/attach/ws", 0, 0, attach_ws },
	{ "POST", "/containers/{id:.*}/wait", 0, 0, wait_, CS_ROUTE_DISCARD },
	{ NULL },
};
