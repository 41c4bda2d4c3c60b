/* SPDX-License-Identifier: Apache-2.0
 *
 * The workshop of the network service. Objects live in four tables (objects.c), are counted, and are the handles of computenetwork.h.
 *
 * Locks, in the order in which they may be taken: a namespace's (its endpoints, its interfaces: held across the kernel work of an attach), an endpoint's
 * (its document, which namespace has it), a network's (addresses, counts), then those inside of tables and modules, which are leaves. A network's
 * own links are made before it is in its table and removed after it has left it, so no lock is needed for that. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <uthash.h>

#include "base/guard.h"
#include "base/log.h"
#include "computenetwork.h"
#include "network/documents.h"
#include "network/ipam.h"
#include "network/links.h"
#include "network/pool.h"

#define SUBSYS "network"

/* ---- errors: HRESULT for programs, cs_err for people ---- */

/* Sets *err and gives hr, which the analyzer shall see to be none of success. sys: errno behind it, or 0. */
#define cs_hr_fail(err, hr, sys, ...) (cs_hr_tell((err), (sys), __VA_ARGS__), (hr))
void cs_hr_tell(struct cs_err **err, int sys, const char *fmt, ...) CS_PRINTF(3, 4);
/* What a cs_err of a lower layer is here; `invalid` stands for INVALID. */
HRESULT cs_hr_of(const struct cs_err *err, HRESULT invalid);
/* The border: *record from *err (freed; err may be NULL); returns hr. */
HRESULT cs_hr_answer(HRESULT hr, struct cs_err **err, char **record);

/* ---- objects ---- */

enum cs_kind { CS_NETWORK, CS_ENDPOINT, CS_NAMESPACE, CS_LB, CS_KINDS };
struct cs_obj {
	uint32_t magic; /* kind, while it lives */
	HCN_GUID id;
	char text[CS_HCN_GUID_TEXT];
	_Atomic unsigned refs;
	_Atomic bool gone; /* deleted: handles answer NOT_FOUND */
	pthread_mutex_t lock;
	UT_hash_handle hh;
};
void cs_obj_init(enum cs_kind kind, struct cs_obj *o, const HCN_GUID *id); /* one reference: the caller's */
bool cs_obj_add(enum cs_kind kind, struct cs_obj *o);                      /* takes a reference of its own; false: the id is taken */
void cs_obj_remove(enum cs_kind kind, struct cs_obj *o);                   /* out of the table, which lets go of it; gone */
void *cs_obj_get(enum cs_kind kind, const HCN_GUID *id);                   /* referenced, or NULL */
bool cs_obj_is(enum cs_kind kind, const void *handle);                     /* a living object of this kind that is not gone */
void *cs_obj_ref(void *o);
void cs_obj_unref(enum cs_kind kind, void *o); /* accepts NULL */
/* All of a kind, referenced; release with cs_obj_put_all. */
void **cs_obj_all(enum cs_kind kind, size_t *ret_n);
void cs_obj_put_all(enum cs_kind kind, void **v, size_t n);

struct cs_driver;
struct HcnNetwork {
	struct cs_obj o;
	struct cs_doc_network doc;
	struct cs_network_policies pol;
	const struct cs_driver *driver;
	struct cs_subnet *subnets; /* of the lock; prefixes and gateways never change */
	size_t n_subnets;
	unsigned endpoints;        /* on it; of the lock */
	bool leaving;              /* no new endpoints; of the lock */
	char ifname[IFNAMSIZ];     /* the bridge, or the parent */
	_Atomic int index;         /* a bridge that somebody deleted is made again under another */
	bool made;                 /* that link is ours to delete */
	_Atomic unsigned plugged;  /* ports of the bridge that we know of: the first one gives it its carrier */
	char port[IFNAMSIZ];       /* overlay: the VXLAN port */
	int port_index;
	uint32_t mtu;              /* 0: the kernel's */
	_Atomic bool wide;         /* the bridge has been given its own gso */
	uint32_t gso;              /* of the containers' interfaces (links.h); 0: the kernel's */
};
struct HcnEndpoint {
	struct cs_obj o;
	struct cs_doc_endpoint doc;
	struct cs_endpoint_policies pol;
	char **exposed;         /* of the first policies: others read it without a lock */
	struct HcnNetwork *net; /* a reference */
	struct cs_prefix v4, v6;
	uint8_t mac[6];
	bool chosen_mac;
	_Atomic bool leaving;
	struct HcnNamespace *ns; /* that has it; a reference, of the lock */
	/* of the namespace's lock */
	struct HcnEndpoint *next;
	int outer, inner; /* indexes; outer 0: no end on the host */
	bool warm;        /* the pair is the pool's */
	_Atomic bool locked; /* the kernel lets nothing in but frames with the endpoint's hardware address */
	bool shortcut;    /* to the host's stack (shortcut.c) */
	char outer_name[IFNAMSIZ], inner_name[IFNAMSIZ];
	struct edge *edge; /* edge_endpoint.c's */
};
struct HcnNamespace {
	struct cs_obj o;
	struct cs_doc_namespace doc;
	int nsfd;
	struct cs_rtnl rt;      /* inside */
	struct cs_warm *warm;   /* whose pair no endpoint has yet */
	struct HcnEndpoint *endpoints, *gateway4, *gateway6;
	bool leaving;
	bool served;            /* the resolver has it */
	char *key;              /* under which it does */
};
struct HcnLoadBalancer {
	struct cs_obj o;
	struct cs_doc_lb doc;
};
void cs_network_free(struct HcnNetwork *n);
void cs_endpoint_free(struct HcnEndpoint *e);
void cs_namespace_free(struct HcnNamespace *n);
void cs_namespace_drop_warm(struct HcnNamespace *n);
void cs_lb_free(struct HcnLoadBalancer *l);
#define CS_LOCK(obj) CS_GUARD(&(obj)->o.lock)
static inline void cs_autonet_done(struct HcnNetwork **n) { cs_obj_unref(CS_NETWORK, *n); }
static inline void cs_autoep_done(struct HcnEndpoint **e) { cs_obj_unref(CS_ENDPOINT, *e); }
static inline void cs_autons_done(struct HcnNamespace **n) { cs_obj_unref(CS_NAMESPACE, *n); }
static inline void cs_autolb_done(struct HcnLoadBalancer **l) { cs_obj_unref(CS_LB, *l); }

/* ---- the service ---- */

struct cs_network_service {
	_Atomic bool open;
	char *instance, *mark; /* "caisson:<instance>:" */
	struct cs_doc_service settings;
	bool firewall, ipv4, ipv6, ip_forward, forward_drop;
	struct cs_pool *pools;
	size_t n_pools;
	_Atomic bool settled;
};
extern struct cs_network_service cs_net;
/* HCN_E_MANAGER_STOPPED before HcnInitializeService and after HcnShutdownService. */
HRESULT cs_net_ready(struct cs_err **err);
/* A netlink socket of the host's: from a small stock, given back when done. */
CS_MUST_CHECK int cs_host_rtnl(struct cs_rtnl *ret, struct cs_err **err);
void cs_host_rtnl_put(struct cs_rtnl *r);
static inline void cs_autortnl_done(struct cs_rtnl *r) { cs_host_rtnl_put(r); }
#define cs_autortnl cs_auto(cs_autortnl_done)
void cs_host_rtnl_drop(void);
char *cs_mark_of(const struct cs_obj *o); /* the alias of the object's link */

/* ---- what was there before us (leftovers.c): of one dump, until cs_hcn_settle ---- */

CS_MUST_CHECK int cs_leftovers_read(struct cs_err **err);
/* The link with the object's mark, if an earlier service made it. */
bool cs_leftover_of(const struct cs_obj *o, struct cs_link_info *ret);
void cs_leftovers_drop(void);

/* ---- host.c: switches of the host's ---- */

/* Forwarding of the family on, if it is not; warns when it cannot. IPv6: router advertisements are still heeded where they were. Never without the
 * firewall's drop of what is none of ours in force, unless IpForwardDrop is false or there is no firewall; so before settle it waits for that. */
void cs_host_forward(uint8_t family);
void cs_host_forward_start(void);   /* what an earlier life has switched on (Forwarded), and is on */
void cs_host_forward_settled(void); /* what has waited */
/* Prefixes that routes and name servers of the host use, those of our networks among them: nothing is to be chosen there. Caller frees. */
CS_MUST_CHECK int cs_host_prefixes(struct cs_prefix **ret, size_t *ret_n, struct cs_err **err);

/* ---- pools of prefixes (prefixes.c): which subnet which network has ---- */

/* Resolves what a document asks for: nothing, a size, or a prefix. Errors: INVALID_SUBNET (overlap), ADDR_INVALID_OR_RESERVED (exhausted). */
HRESULT cs_prefix_claim(const struct HcnNetwork *owner, uint8_t family, const struct cs_prefix *wanted, struct cs_prefix *ret, struct cs_err **err);
void cs_prefix_release(const struct HcnNetwork *owner);
void cs_pools_default(struct cs_pool **ret, size_t *ret_n); /* Docker's, and a /48 of this host's own for IPv6 */
HRESULT cs_pools_read(const struct cs_doc_service *s, struct cs_pool **ret, size_t *ret_n, struct cs_err **err);

/* ---- background.c: what nobody waits for, one thread, in order ---- */

CS_MUST_CHECK int cs_background_start(struct cs_err **err);
void cs_background_stop(void);                /* works off what is there */
void cs_background_delete(int outer);         /* a link; what is queued is deleted at once */
void cs_background_release(struct HcnEndpoint *e); /* gives the endpoint's addresses back after that; takes the reference */
bool cs_background_returns(const struct HcnNetwork *n, const char *name); /* whether addresses of an endpoint of that name are on their way back */
void cs_background_review(struct HcnEndpoint *e, bool later); /* its shortcut to the host's stack; later: when it has lived for a while */
void cs_background_review_all(void);
void cs_background_flush(void);               /* until all that was queued before is done */
void cs_net_notify(uint32_t what, const struct cs_obj *o, const struct cs_obj *network);
void cs_background_again(void);            /* what the kernel did not let go of, links and rules, is tried again soon, and until it does */
/* RTM_DELLINK of many with few waits for other processors. What stays is deleted later. */
void cs_links_delete(const int *index, size_t n);
/* That which stayed, now, because their names or subnets are wanted. False: something stays. */
bool cs_links_delete_rest(void);
/* A batch that was to make this link, where none of that name was before, and to give it the mark has failed with *why: what it did make goes.
 * mark NULL: in another namespace, where nothing is tried again. */
void cs_link_undo(struct cs_rtnl *r, const char *name, const char *mark, const struct cs_err *why);

/* ---- drivers ---- */

struct cs_driver {
	const char *type;
	bool outside;  /* has a way out: its endpoints may have the default route */
	bool own_mac;  /* its endpoints have a hardware address of their own */
	bool bridge;   /* endpoints are veths on a bridge, which the firewall knows by name */
	HRESULT (*create)(struct HcnNetwork *n, struct cs_err **err); /* or takes over */
	void (*remove)(struct HcnNetwork *n);
	/* The interface inside of the namespace, down, or the one that is there: sets outer, inner, inner_name. *adopted: it is up and in use.
	 * Under the namespace's lock. */
	HRESULT (*plug)(struct HcnNamespace *ns, struct HcnEndpoint *e, const char *ifname, bool *adopted, struct cs_err **err);
	HRESULT (*update)(struct HcnNetwork *n, const struct cs_network_policies *now, struct cs_err **err); /* peers (n->pol.remotes) changed, nothing else; may be NULL */
};
extern const struct cs_driver cs_driver_nat, cs_driver_internal, cs_driver_private, cs_driver_transparent, cs_driver_l2bridge, cs_driver_overlay;
/* ipvlan in a mode of layer 3: the parent's namespace routes, there is no gateway on the link. */
bool cs_parent_routes(const struct HcnNetwork *n);
const struct cs_driver *cs_driver_find(const char *type); /* NULL or "": NAT */
/* Runs the batch, and sets the outer end with it: isolated (DisableInterComputeCommunication), hairpin (published ports), locked to the endpoint's
 * hardware address (AntiSpoof; e->locked: the kernel does so). */
CS_MUST_CHECK int cs_veth_set_port(struct cs_nl *host, struct HcnEndpoint *e, const struct cs_endpoint_policies *p, bool in_use, struct cs_err **err);
HRESULT cs_veth_plug(struct HcnNamespace *ns, struct HcnEndpoint *e, const char *ifname, bool *adopted, struct cs_err **err);
/* The bridge of a network: made, or taken over; host: with the gateways' addresses on it. */
HRESULT cs_bridge_create(struct HcnNetwork *n, bool host, struct cs_err **err);
/* The first address of a family, with its length, that the bridge with the network's name has already; not of a bridge of another network's. */
bool cs_bridge_has(const struct HcnNetwork *n, uint8_t family, struct cs_prefix *ret);
void cs_bridge_remove(struct HcnNetwork *n);
bool cs_network_has(const struct HcnNetwork *n, uint8_t family);
struct cs_ip cs_network_gateway(const struct HcnNetwork *n, uint8_t family); /* of the first subnet with one */
/* The mode of the family's gateway; internal when no traffic leaves. */
bool cs_network_internal(const struct HcnNetwork *n);

/* ---- port_monitor.c ---- */

CS_MUST_CHECK int cs_port_monitor_start(struct cs_err **err);
void cs_port_monitor_stop(void); /* also after a failed start */

/* ---- attach.c ---- */

struct HcnNamespace *cs_endpoint_namespace(struct HcnEndpoint *e); /* a reference to the one that has it, locked by nobody; NULL: none (endpoint.c) */
HRESULT cs_attach(struct HcnNamespace *ns, struct HcnEndpoint *e, struct cs_err **err);
HRESULT cs_detach(struct HcnNamespace *ns, struct HcnEndpoint *e, struct cs_err **err); /* HCN_E_ENDPOINT_NOT_ATTACHED */
void cs_detach_all(struct HcnNamespace *ns);
/* Priorities have changed: the default routes follow. */
HRESULT cs_reelect(struct HcnNamespace *ns, struct cs_err **err);
/* The policies of an attached endpoint become `now` in the kernel; on failure the old ones hold. */
HRESULT cs_reattach(struct HcnNamespace *ns, struct HcnEndpoint *e, struct cs_endpoint_policies *now, struct cs_err **err);

/* The port of the bridge of an attached endpoint is as these policies have it. */
CS_MUST_CHECK int cs_port_reset(struct HcnEndpoint *e, const struct cs_endpoint_policies *p, struct cs_err **err);

/* ---- publish.c ---- */

/* The published ports of all its endpoints become those of the settings (docs/network-documents.md), as one change; its lock is held. */
HRESULT cs_publish(struct HcnNamespace *ns, const char *settings, struct cs_err **err);

/* ---- shortcut.c: from a container's veth to the host's stack, past the bridge ---- */

/* It is there if it shall be, else not. On the background's thread, without locks. */
void cs_shortcut_review(struct HcnEndpoint *e);
void cs_shortcuts_review(void); /* of all */
/* Off at once; none is success. Under the namespace's lock. */
CS_MUST_CHECK int cs_shortcut_drop(struct HcnEndpoint *e, struct cs_err **err);

/* ---- documents_check.c: what is wrong with a document; 0 / HCS_S_OK: nothing ---- */

HRESULT cs_check_dns(const struct cs_doc_dns *d, struct cs_err **err);
HRESULT cs_check_dns_served(const struct cs_doc_dns *d, struct cs_err **err); /* of networks and endpoints: the resolver's alone */
/* A member that says the id of an object that is known otherwise; empty is right. */
HRESULT cs_check_same(const char *member, const char *given, const struct cs_obj *o, HRESULT otherwise, struct cs_err **err);
HRESULT cs_check_subnet(struct cs_prefix p, struct cs_err **err);
/* What LinuxBridge and OutBoundNAT say of families, against those that the network has. */
HRESULT cs_check_translation(const struct cs_network_policies *p, bool v4, bool v6, struct cs_err **err);
HRESULT cs_check_subnet_routes(const struct cs_doc_subnet *s, uint8_t family, struct cs_err **err);
HRESULT cs_check_endpoint_routes(const struct cs_doc_endpoint *d, const struct HcnNetwork *n, struct cs_err **err);
/* Host addresses of ports and link-local addresses: of a family that the network has. */
HRESULT cs_check_endpoint_families(const struct cs_endpoint_policies *p, const struct HcnNetwork *n, struct cs_err **err);

/* ---- queries ---- */

struct cs_query {
	bool detailed;
	char *name, *id;
};
HRESULT cs_query_read(const char *text, struct cs_query *ret, struct cs_err **err);
void cs_net_query_done(struct cs_query *q);
/* The query for one object's properties: there is nothing to filter. */
HRESULT cs_query_check(const char *text, struct cs_err **err);
bool cs_query_takes(const struct cs_query *q, const struct cs_obj *o, const char *name);
/* The answer of an enumeration; write makes the document of one object. */
HRESULT cs_enumerate(enum cs_kind kind, const char *query, const char *(*name)(const void *), char *(*write)(void *), char **ret, char **record);
/* The same for one object: opened by its id, asked by a handle, which may be of one that is gone. */
HRESULT cs_obj_open(enum cs_kind kind, const HCN_GUID *id, void **ret, char **record);
HRESULT cs_obj_query(enum cs_kind kind, void *handle, const char *query, char *(*write)(void *), char **ret, char **record);
HRESULT cs_not_found(enum cs_kind kind, struct cs_err **err); /* sets *err */
/* The settings of a change: decoded, and the request type one of those allowed (NULL-terminated). */
HRESULT cs_modify_read(const char *text, const char *const *resources, const char *const *requests, struct cs_doc_modify *ret, struct cs_err **err);
/* One policy or {"Policies": […]}. Add: none of the same type and settings may be there. Remove: of the same type and settings. Update: in place of
 * all of their types. On failure the list may have changed: work on a copy. */
HRESULT cs_policies_change(struct cs_doc_policy **list, size_t *n, const struct cs_doc_modify *m, struct cs_err **err);
