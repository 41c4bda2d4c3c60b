/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the model meets the firewall (firewall.h, ports.h) and the resolver (resolver.h): every call of theirs is made in edge.c.
 * Calls for networks come without locks, those for endpoints under the lock of the namespace. */
#pragma once

#include "network/internal.h"

HRESULT cs_edge_start(struct cs_err **err);
void cs_edge_stop(void);
/* The model is complete: the kernel's tables become what it says. */
HRESULT cs_edge_settle(struct cs_err **err);
HRESULT cs_edge_reachability(char **report, struct cs_err **err);

HRESULT cs_edge_network_add(struct HcnNetwork *n, struct cs_err **err);
void cs_edge_network_remove(struct HcnNetwork *n);
/* Before the interface comes up: who may send what, published ports (chosen ones go into the document). On failure nothing stays. */
HRESULT cs_edge_plug(struct HcnNamespace *ns, struct HcnEndpoint *e, struct cs_err **err);
void cs_edge_unplug(struct HcnNamespace *ns, struct HcnEndpoint *e);
/* The policies of an attached endpoint have changed. On failure the old ones hold. */
HRESULT cs_edge_replug(struct HcnNamespace *ns, struct HcnEndpoint *e, const struct cs_endpoint_policies *now, struct cs_err **err);
/* Names: what the namespace sees has changed. */
HRESULT cs_edge_names(struct HcnNamespace *ns, struct cs_err **err);
void cs_edge_forget(struct HcnNamespace *ns);
HRESULT cs_edge_lb_set(struct HcnLoadBalancer *l, struct cs_err **err);
void cs_edge_lb_remove(struct HcnLoadBalancer *l);
