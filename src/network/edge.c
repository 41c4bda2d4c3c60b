/* SPDX-License-Identifier: Apache-2.0 */
#include "network/edge.h"

HRESULT cs_edge_start(struct cs_err **err) { return HCS_S_OK; }
void cs_edge_stop(void) {}
HRESULT cs_edge_settle(struct cs_err **err) { return HCS_S_OK; }
HRESULT cs_edge_network_add(struct HcnNetwork *n, struct cs_err **err) { return HCS_S_OK; }
void cs_edge_network_remove(struct HcnNetwork *n) {}
HRESULT cs_edge_names(struct HcnNamespace *ns, struct cs_err **err) { return HCS_S_OK; }
void cs_edge_forget(struct HcnNamespace *ns) {}
void cs_edge_unplug(struct HcnNamespace *ns, struct HcnEndpoint *e) {}
void cs_edge_lb_remove(struct HcnLoadBalancer *l) {}

static HRESULT not_yet(const char *what, struct cs_err **err)
{
	return cs_hr_fail(err, HCN_E_REQUEST_UNSUPPORTED, 0, "%s: the firewall is not in this build", what);
}

HRESULT cs_edge_plug(struct HcnNamespace *ns, struct HcnEndpoint *e, struct cs_err **err)
{
	return e->pol.n_ports || e->pol.acls ? not_yet("PortMapping and ACL policies", err) : HCS_S_OK;
}
HRESULT cs_edge_replug(struct HcnNamespace *ns, struct HcnEndpoint *e, const struct cs_endpoint_policies *now, struct cs_err **err)
{
	return now->n_ports || now->acls ? not_yet("PortMapping and ACL policies", err) : HCS_S_OK;
}
HRESULT cs_edge_lb_set(struct HcnLoadBalancer *l, struct cs_err **err) { return not_yet("load balancers", err); }
HRESULT cs_edge_reachability(char **report, struct cs_err **err) { return not_yet("reachability", err); }
