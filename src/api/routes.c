/* SPDX-License-Identifier: Apache-2.0
 *
 * All tables, in the order in which they are searched. */
#include "api/routes.h"

int cs_unavailable(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	return cs_fail(err, CS_ERR_UNSUPPORTED, 0, "%s is not available in this build of Caisson", rq->route->feature);
}

const struct cs_route *const cs_routes[] = {
	cs_routes_containers, cs_routes_attach,  cs_routes_exec,    cs_routes_images,  cs_routes_system,
	cs_routes_networks,   cs_routes_volumes, cs_routes_plugins, cs_routes_swarm,   cs_routes_commit, cs_routes_archive,
	cs_routes_image_archives,
	NULL,
};

int cs_answer_created(struct cs_response *rs, const char *id)
{
	rs->status = 201;
	cs_str_putc(&rs->body, '{');
	cs_json_put_kstr(&rs->body, "Id", id);
	cs_str_puts(&rs->body, "}\n");
	return 0;
}
