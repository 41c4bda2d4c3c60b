/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the model meets the firewall (firewall.h, ports.h) and the resolver (resolver.h): all calls of theirs are made in edge*.c.
 * Calls for networks come without locks, those for endpoints and names under the lock of the namespace. */
#pragma once

#include "network/firewall.h"
#include "network/internal.h"
#include "network/resolver.h"

HRESULT cs_edge_start(struct cs_err **err);
void cs_edge_stop(void);
/* The model is complete: the kernel's tables become what it says. */
HRESULT cs_edge_settle(struct cs_err **err);
/* The host forwards the family for our networks only (cs_firewall_close_host). */
CS_MUST_CHECK int cs_edge_close_host(uint8_t family, struct cs_err **err);
/* What could not be taken out of the kernel's tables, or put in for a while only. False: there is such. */
bool cs_edge_mend(void);
HRESULT cs_edge_reachability(char **report, struct cs_err **err);
/* Our rules are in force, and nobody else has rules for bridges. */
bool cs_edge_bridges_ours(void);

HRESULT cs_edge_network_add(struct HcnNetwork *n, struct cs_err **err);
void cs_edge_network_remove(struct HcnNetwork *n);

/* Before the interface comes up: who may send what, published ports (the chosen numbers go into e->pol). On failure nothing stays. */
HRESULT cs_edge_plug(struct HcnNamespace *ns, struct HcnEndpoint *e, struct cs_err **err);
void cs_edge_unplug(struct HcnNamespace *ns, struct HcnEndpoint *e);
/* The service ends: ports are let go of, what is in the kernel stays. */
void cs_edge_drop(struct HcnEndpoint *e);
/* The firewall knows it as it is. */
void cs_edge_retell(const struct HcnNamespace *ns, const struct HcnEndpoint *e);
/* AntiSpoof of the policies; nothing said: what the network is for. */
bool cs_edge_antispoof(const struct HcnEndpoint *e, const struct cs_endpoint_policies *p);
/* The policies of an attached endpoint have changed: `now` is put in force, and its chosen ports are filled in. On failure the old ones hold. */
HRESULT cs_edge_replug(struct HcnNamespace *ns, struct HcnEndpoint *e, struct cs_endpoint_policies *now, struct cs_err **err);

/* What the namespace sees by name: its networks have changed, or the service's answer to whether it is served at all is due. */
HRESULT cs_edge_names(struct HcnNamespace *ns, struct cs_err **err);
void cs_edge_forget(struct HcnNamespace *ns);
/* The names of an endpoint while it is attached. */
HRESULT cs_edge_names_add(struct HcnEndpoint *e, const struct cs_endpoint_policies *pol, struct cs_err **err);
void cs_edge_names_remove(struct HcnEndpoint *e);

/* ---- published ports, of several endpoints of a namespace at once ---- */

struct cs_edge_ports { /* in force */
	struct cs_port_hold **holds;
	size_t n_holds;
	struct cs_firewall_port *ports;
	size_t n_ports;
};
struct cs_edge_change {
	struct HcnEndpoint *e;
	struct cs_edge_ports *in_force, fresh; /* fresh: zero */
};
struct cs_edge_place { /* one mapping, which gets the number that was given, and to which of the changes' endpoints it leads */
	size_t of;
	struct cs_port_mapping *m;
};
/* In force is v in place of what the endpoints had. Those next to each other that differ in the host's address alone (and the endpoint, if another's
 * family is there) get one number. What stays is never closed, and what moves to another endpoint leads to one of them at any moment. On failure what was. */
HRESULT cs_edge_publish(struct cs_edge_change *c, size_t n_c, const struct cs_edge_place *v, size_t n, struct cs_err **err);
CS_MUST_CHECK int cs_edge_ports_close(struct cs_edge_ports *p, struct cs_err **err); /* closed in any case: the error is for the log */
void cs_edge_ports_drop(struct cs_edge_ports *p); /* the reservations only */
struct cs_edge_ports *cs_edge_ports_of(struct HcnEndpoint *e); /* NULL: it has no edge */
bool cs_edge_same_ports(const struct cs_endpoint_policies *a, const struct cs_endpoint_policies *b);

/* In force is l->doc in place of `old` (NULL: nothing); on failure what was. */
HRESULT cs_edge_lb_set(struct HcnLoadBalancer *l, const struct cs_doc_lb *old, struct cs_err **err);
void cs_edge_lb_remove(struct HcnLoadBalancer *l);
/* An endpoint is gone: balancers do without it. */
void cs_edge_lbs_without(const struct HcnEndpoint *e);

/* ---- between the files of the edge ---- */

extern struct cs_edge {
	struct cs_firewall *firewall;
	struct cs_resolver *resolver;
} cs_edge;
struct cs_fw_addr cs_fw_addr_of(struct cs_ip ip);
/* What a failure of the firewall's is to the caller. */
HRESULT cs_edge_hr(const struct cs_err *err);
