/* SPDX-License-Identifier: Apache-2.0
 *
 * The published ports of a container that runs. op_lock of the container is held throughout. */
#pragma once

#include "engine/network.h"
#include "engine/spec.h"

/* Of IPv4 and of IPv6: the endpoint whose network has the way out, and that network. Zeroed: none. */
struct cs_port_owners {
	struct cs_endpoint_settings *s[2]; /* the container's */
	struct cs_network *n[2];           /* references */
	const struct cs_endpoint_settings *leaving; /* is about to go; NULL */
};
void cs_port_owners_done(struct cs_port_owners *o);
#define cs_autoowners cs_auto(cs_port_owners_done)

/* up: the endpoints are there; else as far as their networks tell. leaving may be NULL. */
void cs_port_owners_elect(struct cs_container *c, bool up, const struct cs_endpoint_settings *leaving, struct cs_port_owners *o);
bool cs_port_owners_apart(const struct cs_port_owners *o);
/* Unless they are apart: the one that has all. NULL: none. */
struct cs_endpoint_settings *cs_port_owners_sole(const struct cs_port_owners *o);

/* What was asked for, at the host's addresses that the owners' networks say. */
CS_MUST_CHECK int cs_publish_wanted(struct cs_container *c, const struct cs_port_owners *o, struct cs_ports *ret, struct cs_err **err);
/* Whether ports are to be open on a routed network that is no owner. */
bool cs_publish_opens(struct cs_container *c, const struct cs_port_owners *o);
/* Of what is wanted, that to which a way leads; unchanged: and for which nothing changes. */
void cs_publish_led(struct cs_container *c, const struct cs_port_owners *o, bool unchanged, struct cs_ports *ports);
/* In force are these, wherever others were, and have their numbers; or an error and what was. */
CS_MUST_CHECK int cs_publish_at(struct cs_container *c, const struct cs_port_owners *o, struct cs_ports *ports, struct cs_err **err);
/* What the container publishes goes by these endpoints, under the numbers that it has. */
CS_MUST_CHECK int cs_publish_all(struct cs_container *c, const struct cs_port_owners *o, struct cs_err **err);
/* What is shown and kept of ports that are in force; cs_publish_keep: what is shown is right already. */
void cs_publish_show(struct cs_container *c, const struct cs_ports *given, const struct cs_port_owners *o);
void cs_publish_keep(struct cs_container *c, const struct cs_port_owners *o);
void cs_publish_forget(struct cs_container *c); /* nothing is published; lock held */
/* Why endpoint `id` could not be attached, or its ports not be changed: in dockerd's words, and, if it is a port that was taken, with who has it.
 * Takes `why`. wanted may be NULL. */
int cs_publish_failed(struct cs_container *c, const char *id, const struct cs_ports *wanted, struct cs_err *why, struct cs_err **err);

/* ---- network_run.c's ---- */

CS_MUST_CHECK struct cs_network *cs_container_network_of(struct cs_container *c, const struct cs_endpoint_settings *s, struct cs_err **err);
/* The document of an endpoint in the service. */
CS_MUST_CHECK int cs_endpoint_query(HCN_ENDPOINT ep, json_t **ret, struct cs_err **err);
