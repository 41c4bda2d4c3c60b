/* SPDX-License-Identifier: Apache-2.0
 *
 * /containers/…: decode, call the engine, encode. Attach and wait are in attach.c. */
#include "api/router.h"

#include "api/routes.h"
#include "base/num.h"
#include "engine/engine.h"

static int list(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	struct cs_list_opts o = {
		.all = cs_query_bool(&rq->query, "all"),
		.size = cs_query_bool(&rq->query, "size"),
		.filters = cs_query_str(&rq->query, "filters"),
	};

	if (cs_query_i64(&rq->query, "limit", 0, INT32_MIN, INT32_MAX, &o.limit, err) < 0)
		return -1;
	return cs_container_list(rq->engine, &o, rq->api, &rs->body, err);
}

static int create(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	struct cs_create_request *cr = cs_xcalloc(1, sizeof(*cr));
	cs_autostrv char **warnings = NULL;
	cs_autofree char *id = NULL;
	int r = cs_request_json(rq, &cs_create_request_type, cr, true, err);

	if (r == 0)
		r = cs_container_create(rq->engine, cs_query_str(&rq->query, "name"), cs_query_str(&rq->query, "platform"), cr, rq->api, &id, &warnings,
					err);
	cs_create_request_free(cr);
	if (r < 0)
		return -1;
	rs->status = 201;
	cs_str_putc(&rs->body, '{');
	cs_json_put_kstr(&rs->body, "Id", id);
	cs_json_put_key(&rs->body, "Warnings");
	if (warnings)
		cs_json_put_strv(&rs->body, warnings);
	else
		cs_str_puts(&rs->body, "[]");
	cs_str_puts(&rs->body, "}\n");
	return 0;
}

static int inspect(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	return cs_container_inspect(rq->engine, rq->param[0], cs_query_bool(&rq->query, "size"), rq->api, &rs->body, err);
}

static int top(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	return cs_container_top(rq->engine, rq->param[0], cs_query_str(&rq->query, "ps_args"), &rs->body, err);
}

static int changes(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	return cs_container_changes(rq->engine, rq->param[0], &rs->body, err);
}

static int prune(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	return cs_prune_answer(rq, rs, cs_container_prune, "containers", err);
}

static int logs(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	struct cs_logs_opts o = {
		.follow = cs_query_bool(&rq->query, "follow"),
		.want_stdout = cs_query_bool(&rq->query, "stdout"),
		.want_stderr = cs_query_bool(&rq->query, "stderr"),
		.timestamps = cs_query_bool(&rq->query, "timestamps"),
		.details = cs_query_bool(&rq->query, "details"),
		.plain = !rq->tls,
	};
	const char *tail = cs_query_get(&rq->query, "tail");
	bool tty;

	if (!o.want_stdout && !o.want_stderr)
		return cs_fail(err, CS_ERR_INVALID, 0, "Bad parameters: you must choose at least one stream");
	if (cs_query_time(&rq->query, "since", &o.since, err) < 0 || cs_query_time(&rq->query, "until", &o.until, err) < 0)
		return -1;
	if (!tail || !cs_parse_i64(tail, 0, INT64_MAX, &o.tail))
		o.tail = -1; /* "all", and anything else that is no number, as dockerd */
	if (cs_container_logs(rq->engine, rq->param[0], &o, &tty, &rs->stream, err) < 0)
		return -1;
	rs->content_type = !tty && rq->api >= 142 ? CS_MULTIPLEXED : CS_RAW_STREAM;
	return 0;
}

static int stats(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	bool stream = cs_query_bool_or(&rq->query, "stream", true), one_shot = rq->api >= 141 && cs_query_bool(&rq->query, "one-shot");

	if (stream && one_shot)
		return cs_fail(err, CS_ERR_INVALID, 0, "cannot have stream=true and one-shot=true");
	return cs_container_stats(rq->engine, rq->param[0], stream, one_shot, rq->api, &rs->stream, err);
}

int cs_query_size(struct cs_request *rq, uint16_t *rows, uint16_t *cols, struct cs_err **err)
{
	static const struct {
		const char *key, *what;
	} dim[2] = { { "h", "height" }, { "w", "width" } };
	uint64_t v[2];

	for (size_t i = 0; i < 2; i++) {
		const char *s = cs_query_get(&rq->query, dim[i].key);
		if (s && cs_parse_u64(s, 0, UINT16_MAX, &v[i]))
			continue;
		const char *digits = s && *s == '-' ? s + 1 : s;
		bool number = !cs_empty(digits) && digits[strspn(digits, "0123456789")] == 0;
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid resize %s \"%s\": %s", dim[i].what, s ? s : "", number ? "value out of range" : "invalid syntax");
	}
	*rows = (uint16_t)v[0];
	*cols = (uint16_t)v[1];
	return 0;
}

static int resize(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	uint16_t rows, cols;

	if (cs_query_size(rq, &rows, &cols, err) < 0)
		return -1;
	return cs_container_resize(rq->engine, rq->param[0], rows, cols, err);
}

static int start(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	/* A body once carried a HostConfig. "null" and "{}" with blanks are what old clients send instead of none. */
	if (rq->body.len > 7)
		return cs_fail(err, CS_ERR_INVALID, 0, "starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24");
	if (!cs_empty(cs_query_str(&rq->query, "checkpoint")) || !cs_empty(cs_query_str(&rq->query, "checkpoint-dir")))
		return cs_fail(err, CS_ERR_UNSUPPORTED, 0, "starting from a checkpoint is not available in this build of Caisson"); /* and not from the beginning */
	rs->status = 204;
	return cs_container_start(rq->engine, rq->param[0], cs_query_str(&rq->query, "detachKeys"), err);
}

typedef int stop_fn(struct cs_engine *e, const char *ref, const char *signal, int64_t timeout_s, int client_fd, struct cs_err **err);

static int stop_with(struct cs_request *rq, struct cs_response *rs, stop_fn *fn, struct cs_err **err)
{
	int64_t t;

	if (cs_query_i64(&rq->query, "t", CS_STOP_DEFAULT, INT32_MIN, INT32_MAX, &t, err) < 0)
		return -1;
	if (t < -1 && t != CS_STOP_DEFAULT)
		t = -1;
	rs->status = 204;
	return fn(rq->engine, rq->param[0], rq->api >= 142 ? cs_query_str(&rq->query, "signal") : NULL, t, rq->client_fd, err);
}

static int stop(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	return stop_with(rq, rs, cs_container_stop, err);
}

static int restart(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	return stop_with(rq, rs, cs_container_restart, err);
}

static int kill_(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	rs->status = 204;
	return cs_container_kill(rq->engine, rq->param[0], cs_query_str(&rq->query, "signal"), err);
}

static int pause_(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	rs->status = 204;
	return cs_container_pause(rq->engine, rq->param[0], err);
}

static int unpause(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	rs->status = 204;
	return cs_container_unpause(rq->engine, rq->param[0], err);
}

static int rename_(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	const char *name = cs_query_get(&rq->query, "name");

	rs->status = 204;
	return cs_container_rename(rq->engine, rq->param[0], name ? name : "", err);
}

static int remove_(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	rs->status = 204;
	return cs_container_remove(rq->engine, rq->param[0], cs_query_bool(&rq->query, "force"), cs_query_bool(&rq->query, "v"),
				   cs_query_bool(&rq->query, "link"), err);
}

static int update(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	struct cs_update_request *u = cs_xcalloc(1, sizeof(*u));
	cs_autostrv char **warnings = NULL;
	int r = cs_request_json(rq, &cs_update_request_type, u, true, err);

	if (rq->api < 140) { /* came then; what an older client sends does not count */
		free(u->res.pids_limit);
		u->res.pids_limit = NULL;
	}
	u->io_devices = rq->api >= 155;
	if (r == 0)
		r = cs_container_update(rq->engine, rq->param[0], u, &warnings, err);
	cs_update_request_free(u);
	if (r < 0)
		return -1;
	cs_str_puts(&rs->body, "{\"Warnings\":");
	cs_json_put_strv(&rs->body, warnings);
	cs_str_puts(&rs->body, "}\n");
	return 0;
}

const struct cs_route cs_routes_containers[] = {
	{ "GET", "/containers/json", 0, 0, list },
	{ "POST", "/containers/create", 0, 0, create },
	{ "POST", "/containers/prune", 0, 0, prune },
	{ "GET", "/containers/{id:.*}/json", 0, 0, inspect },
	{ "GET", "/containers/{id:.*}/top", 0, 0, top },
	{ "GET", "/containers/{id:.*}/logs", 0, 0, logs },
	{ "GET", "/containers/{id:.*}/changes", 0, 0, changes },
	{ "GET", "/containers/{id:.*}/stats", 0, 0, stats },
	{ "POST", "/containers/{id:.*}/resize", 0, 0, resize, CS_ROUTE_DISCARD },
	{ "POST", "/containers/{id:.*}/start", 0, 0, start },
	{ "GET", "/containers/{id:.*}/checkpoints", 0, 0, cs_unavailable, CS_ROUTE_DISCARD, "a container's checkpoint" },
	{ "POST", "/containers/{id:.*}/checkpoints", 0, 0, cs_unavailable, CS_ROUTE_DISCARD, "a container's checkpoint" },
	{ "DELETE", "/containers/{id:.*}/checkpoints/{name}", 0, 0, cs_unavailable, CS_ROUTE_DISCARD, "a container's checkpoint" },
	{ "POST", "/containers/{id:.*}/stop", 0, 0, stop, CS_ROUTE_DISCARD },
	{ "POST", "/containers/{id:.*}/restart", 0, 0, restart, CS_ROUTE_DISCARD },
	{ "POST", "/containers/{id:.*}/kill", 0, 0, kill_, CS_ROUTE_DISCARD },
	{ "POST", "/containers/{id:.*}/pause", 0, 0, pause_, CS_ROUTE_DISCARD },
	{ "POST", "/containers/{id:.*}/unpause", 0, 0, unpause, CS_ROUTE_DISCARD },
	{ "POST", "/containers/{id:.*}/rename", 0, 0, rename_, CS_ROUTE_DISCARD },
	{ "POST", "/containers/{id:.*}/update", 0, 0, update },
	{ "DELETE", "/containers/{id:.*}", 0, 0, remove_, CS_ROUTE_DISCARD },
	{ NULL },
};
