/* SPDX-License-Identifier: Apache-2.0
 *
 * /containers/{id}/archive (docker cp). */
#include "api/body.h"
#include "api/routes.h"
#include "engine/engine.h"

static int path_of(struct cs_request *rq, const char **ret, struct cs_err **err)
{
	*ret = cs_query_str(&rq->query, "path");
	return *ret ? 0 : cs_fail(err, CS_ERR_INVALID, 0, "bad parameter: pathcannot be empty"); /* Docker's words */
}

static void put_header(struct cs_response *rs)
{
	rs->extra[0] = "X-Docker-Container-Path-Stat";
	rs->extra[1] = rs->own_header;
}

static int head(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	const char *path;

	if (path_of(rq, &path, err) < 0 || cs_container_stat_path(rq->engine, rq->param[0], path, &rs->own_header, err) < 0)
		return -1;
	put_header(rs);
	return 0;
}

static int get(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	const char *path;

	if (path_of(rq, &path, err) < 0 || cs_container_archive_path(rq->engine, rq->param[0], path, &rs->own_header, &rs->stream, err) < 0)
		return -1;
	put_header(rs);
	rs->content_type = "application/x-tar";
	return 0;
}

static ssize_t next(void *ctx, const void **ret, int timeout_ms) { return cs_body_next(ctx, ret, timeout_ms); }

static int put(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	struct cs_extract x = {
		.no_overwrite_dir_nondir = cs_query_bool(&rq->query, "noOverwriteDirNonDir"),
		.copy_uid_gid = cs_query_bool(&rq->query, "copyUIDGID"),
		.next = next,
		.ctx = rq->blocks,
	};

	if (path_of(rq, &x.path, err) < 0)
		return -1;
	return cs_container_extract(rq->engine, rq->param[0], &x, err);
}

const struct cs_route cs_routes_archive[] = {
	{ "HEAD", "/containers/{id:.*}/archive", 0, 0, head },
	{ "GET", "/containers/{id:.*}/archive", 0, 0, get },
	{ "PUT", "/containers/{id:.*}/archive", 0, 0, put, CS_ROUTE_PULL | CS_ROUTE_BLOCKS },
	{ NULL },
};
