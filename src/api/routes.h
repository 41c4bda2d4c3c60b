/* SPDX-License-Identifier: Apache-2.0
 *
 * The tables of the resources, and what their handlers share. */
#pragma once

#include "api/router.h"
#include "engine/prune.h"

#define CS_RAW_STREAM "application/vnd.docker.raw-stream"
#define CS_MULTIPLEXED "application/vnd.docker.multiplexed-stream"

/* 501 "<route.feature> is not available in this build of Caisson" */
cs_handler cs_unavailable;
/* Answers a prune: with a stream of JSON lines for who accepts such, else with one object. units: what is counted, a constant. */
CS_MUST_CHECK int cs_prune_answer(struct cs_request *rq, struct cs_response *rs, cs_prune_work *work, const char *units, struct cs_err **err);
/* 201 {"Id": id} */
int cs_answer_created(struct cs_response *rs, const char *id);
/* h and w of resize */
CS_MUST_CHECK int cs_query_size(struct cs_request *rq, uint16_t *rows, uint16_t *cols, struct cs_err **err);

extern const struct cs_route cs_routes_containers[], cs_routes_attach[], cs_routes_exec[], cs_routes_images[], cs_routes_system[], cs_routes_swarm[],
	cs_routes_image_archives[], cs_routes_networks[], cs_routes_volumes[], cs_routes_plugins[], cs_routes_archive[], cs_routes_commit[];
