/* SPDX-License-Identifier: Apache-2.0
 *
 * POST /containers/prune, /images/prune, /volumes/prune: one object, or progress and then that object. */
#include "api/routes.h"

int cs_prune_answer(struct cs_request *rq, struct cs_response *rs, cs_prune_work *work, const char *units, struct cs_err **err)
{
	const char *filters = cs_query_str(&rq->query, "filters"), *lines = cs_accept_lines(rq->accept);

	if (!lines)
		return work(rq->engine, filters, rq->api, NULL, &rs->body, err);
	rs->content_type = lines;
	if (cs_prune_stream(rq->engine, work, units, filters, rq->api, rq->client_fd, &rs->stream, err) == 0)
		return 0;
	rs->content_type = NULL;
	return -1;
}
