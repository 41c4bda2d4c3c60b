/* SPDX-License-Identifier: Apache-2.0
 *
 * What becomes of a container's files: /containers/x/export and /commit. */
#include "api/routes.h"
#include "engine/engine.h"

static int export(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	rs->content_type = "application/octet-stream";
	return cs_container_export(rq->engine, rq->param[0], &rs->stream, err);
}

/* dockerd takes no body, "null" (as its client sends it) and a Config. */
static bool has_config(const struct cs_request *rq)
{
	const char *p = rq->body.buf ? rq->body.buf : "";

	p += strspn(p, " \t\r\n");
	return *p && strncmp(p, "null", 4) != 0;
}

static int commit(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	cs_autostrv char **changes = cs_query_all(&rq->query, "changes");
	cs_autofree char *id = NULL;
	struct cs_config *config = has_config(rq) ? cs_xcalloc(1, sizeof(*config)) : NULL;
	struct cs_commit in = {
		.container = cs_query_str(&rq->query, "container"),
		.repo = cs_query_str(&rq->query, "repo"),
		.tag = cs_query_str(&rq->query, "tag"),
		.comment = cs_query_str(&rq->query, "comment"),
		.author = cs_query_str(&rq->query, "author"),
		.pause = cs_query_bool_or(&rq->query, "pause", true),
		.changes = changes,
		.config = config,
	};
	int r = config ? cs_request_json(rq, &cs_config_type, config, false, err) : cs_request_check_json(rq, err);

	if (r == 0)
		r = cs_container_commit(rq->engine, &in, &id, err);
	cs_config_free(config);
	if (r < 0)
		return -1;
	return cs_answer_created(rs, id);
}

const struct cs_route cs_routes_commit[] = {
	{ "GET", "/containers/{id:.*}/export", 0, 0, export },
	{ "POST", "/commit", 0, 0, commit },
	{ NULL },
};
