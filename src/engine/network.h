/* SPDX-License-Identifier: Apache-2.0
 *
 * Networks inside the engine. Truth: rows of the store (networks; each container's own row has its endpoints); the kernel's side belongs to the
 * host network service (computenetwork.h). A network never changes after its creation, so whoever holds a reference reads it without a lock.
 *
 * Locks: networks->change (creation and removal; held across kernel work; a start needs it only where the kernel had refused a network) > networks->lock (the table; short).
 * c->op_lock stands outside both: a container's endpoints change under it only, and are read under c->lock. */
#pragma once

#include "computenetwork.h"
#include "engine/container.h"

#define CS_OPT_BRIDGE_NAME "com.docker.network.bridge.name"
#define CS_OPT_ICC "com.docker.network.bridge.enable_icc"
#define CS_OPT_MASQ "com.docker.network.bridge.enable_ip_masquerade"
#define CS_OPT_HOST_BINDING "com.docker.network.bridge.host_binding_ipv4"
#define CS_OPT_DEFAULT_BRIDGE "com.docker.network.bridge.default_bridge"
#define CS_OPT_INHIBIT "com.docker.network.bridge.inhibit_ipv4"
#define CS_OPT_GATEWAY4 "com.docker.network.bridge.gateway_mode_ipv4"
#define CS_OPT_GATEWAY6 "com.docker.network.bridge.gateway_mode_ipv6"
#define CS_OPT_TRUSTED "com.docker.network.bridge.trusted_host_interfaces"
#define CS_OPT_MTU "com.docker.network.driver.mtu"
#define CS_OPT_PREFIX "com.docker.network.container_iface_prefix"
#define CS_OPT_HOST4 "com.docker.network.host_ipv4"
#define CS_OPT_HOST6 "com.docker.network.host_ipv6"
#define CS_OPT_EP_SYSCTLS "com.docker.network.endpoint.sysctls"
#define CS_OPT_EP_IFNAME "com.docker.network.endpoint.ifname"
#define CS_OPT_EP_ANTISPOOF "caisson.network.endpoint.antispoof" /* true, false; else: without CAP_NET_ADMIN */
#define CS_OPT_VXLAN_ID "com.docker.network.driver.overlay.vxlanid_list"
#define CS_OPT_OVERLAY_PEERS "caisson.network.overlay.peers"     /* "10.1.2.0/24@192.0.2.7,…" */
#define CS_OPT_OVERLAY_ADDRESS "caisson.network.overlay.address" /* this host's, for the others */
#define CS_OPT_OVERLAY_PORT "caisson.network.overlay.port"

struct cs_network {
	struct cs_network_doc *doc; /* constant */
	HCN_GUID guid;              /* constant */
	HCN_NETWORK h;              /* constant; NULL: in our books only (host, none, config-only), or the kernel refused it (cs_network_revive) */
	char *why;                  /* constant; the refusal's text */
	atomic_int refs;
	UT_hash_handle hh; /* under networks->lock */
};
struct cs_networks {
	pthread_rwlock_t lock;
	pthread_mutex_t change;
	struct cs_network *by_id;
	atomic_bool pruning;
	/* constant after the opening: */
	bool no_bridge;
	char *service_error; /* why there is no service; NULL: there is */
	char bridge_name[16];
};

/* For an exec: the variables of legacy links as of now (those whose target does not run are left out), then those of the container. Caller frees;
 * NULL: there are no links. Takes c->lock. */
char **cs_links_env(struct cs_container *c);

/* Who joins another's network shares its names and their files; that one may have joined a third's. Adds a reference; NULL: c has a network of its own, or
 * whose it joined is gone. Takes the containers' locks. */
struct cs_container *cs_net_owner(struct cs_container *c);
/* The same, and its host and domain name are put, borrowed from it, into a shallow copy of c's configuration. */
struct cs_container *cs_net_names(struct cs_container *c, struct cs_config *copy);

/* ---- network_forwarding.c ---- */
/* ,"Forwarded":[…] of the service's settings; and what it switches on from now on will be in the next one's. */
void cs_networks_put_forwarded(struct cs_engine *e, struct cs_str *out);

/* ---- network_table.c ---- */
CS_MUST_CHECK int cs_networks_open(struct cs_engine *e, struct cs_err **err); /* opens the service; rows and predefined networks are in the kernel */
void cs_networks_settled(struct cs_engine *e);                               /* reconcile: running containers have their endpoints again */
/* Tries again to make a network that the kernel refused when the engine started, and puts the new object in *n's place, in the table and in *n.
 * UNAVAILABLE says why not. A network that is there, or has no side in the kernel: success. Takes `change`. */
CS_MUST_CHECK int cs_network_revive(struct cs_engine *e, struct cs_network **n, struct cs_err **err);
/* Full id, name, unique id prefix; in that order. NOT_FOUND "network x not found". Adds a reference. */
CS_MUST_CHECK int cs_network_get(struct cs_engine *e, const char *ref, struct cs_network **ret, struct cs_err **err);
struct cs_network *cs_network_ref(struct cs_network *n);
void cs_network_unref(struct cs_network *n); /* accepts NULL */
static inline void cs_autonetwork_done(struct cs_network **n) { cs_network_unref(*n); }
#define cs_autonetwork cs_auto(cs_autonetwork_done)
struct cs_network **cs_networks_all(struct cs_engine *e, size_t *n); /* sorted by name, referenced, NULL-terminated */
void cs_networks_free(struct cs_network **v);
/* change held. Into the kernel, the store and the table; *doc is taken, also on failure. fixed: a predefined one. */
CS_MUST_CHECK int cs_network_add(struct cs_engine *e, struct cs_network_doc *doc, struct cs_network **ret, struct cs_err **err);
CS_MUST_CHECK int cs_network_drop(struct cs_engine *e, struct cs_network *n, struct cs_err **err); /* change held */
bool cs_network_predefined(const char *name); /* bridge, host, none, default */
void cs_network_event(struct cs_engine *e, const struct cs_network *n, const char *action, const char *container);

/* ---- network_docs.c: pure ---- */
/* {"Error": …} and its HRESULT become *err. Frees the record. Returns -1. */
int cs_hcn_failed(HRESULT r, char *record, struct cs_err **err);
/* HostComputeNetwork of a network. */
void cs_network_put_hcn(const struct cs_network_doc *d, struct cs_str *out);
/* Subnets and gateways that a query answered, where the document has none yet. */
void cs_network_take_ipams(struct cs_network_doc *d, json_t *answer);
struct cs_port { /* one published port; host_ip "" = all addresses; lo 0 = ephemeral; hi > lo: the first free of a range */
	uint8_t proto; /* 6, 17, 132 */
	uint16_t port, lo, hi;
	char *host_ip;
};
struct cs_ports {
	struct cs_port *p;
	size_t n;
};
void cs_ports_done(struct cs_ports *p);
#define cs_autoports cs_auto(cs_ports_done)
struct cs_ports_way { /* IPv4, IPv6: borrowed */
	const char *default_ip[2]; /* of the network, for bindings without an address; NULL or "0.0.0.0": all */
	bool apart;                /* each family has a network of its own: "all addresses" is one mapping of each */
};
/* What a container publishes: port_bindings, exposed ports with -P. */
CS_MUST_CHECK int cs_ports_wanted(const struct cs_config *c, const struct cs_host_config *h, const struct cs_ports_way *w, struct cs_ports *ret, struct cs_err **err);
/* Of NetworkSettings.Ports; h tells whether an entry for all addresses of a family was asked for as such. apart: each entry as it stands there. */
CS_MUST_CHECK int cs_ports_given(const char *json, const struct cs_host_config *h, bool apart, struct cs_ports *ret, struct cs_err **err);
/* What is wanted gets the numbers that it has by NetworkSettings.Ports; what comes at an address of the other family gets the same one. */
CS_MUST_CHECK int cs_ports_number(struct cs_ports *wanted, const char *json, const struct cs_host_config *h, struct cs_err **err);
/* The numbers that a query of an endpoint answers, for the ports of the families for which it is the way. */
enum cs_ports_of { CS_PORTS_ALL, CS_PORTS_V4, CS_PORTS_V6 };
void cs_ports_take(struct cs_ports *p, enum cs_ports_of of, json_t *answer);
/* Can both not be had at once? Of those with one number (lo). */
bool cs_port_meets(const struct cs_port *wanted, const struct cs_port *given);
/* NetworkSettings.Ports: exposed ports, and what was given. v4, v6: for which families bindings to all addresses hold. */
char *cs_ports_json(char *const *exposed, const struct cs_ports *given, bool v4, bool v6);
void cs_port_put_policy(const struct cs_port *p, struct cs_str *out);
struct cs_endpoint_doc { /* borrowed */
	const struct cs_endpoint_settings *s;
	const struct cs_network *n;
	const char *container_name;
	const struct cs_ports *ports; /* NULL: none */
	char *const *link_aliases, *const *link_endpoints, *const *link_names; /* alias, endpoint id ("": not known), name */
	char *const *exposed;            /* NULL: none */
	const char *gateway4, *gateway6; /* instead of the network's; NULL */
	bool antispoof; /* unless the endpoint's option says otherwise */
	bool given; /* addresses as they were given before */
	bool without_ipv6; /* the container has none */
};
bool cs_network_on_parent(const struct cs_network_doc *d); /* macvlan, ipvlan: no bridge, and no firewall of ours */
void cs_endpoint_put_hcn(const struct cs_endpoint_doc *d, struct cs_str *out);
/* Addresses, MAC, ports of a query's answer into *s; ports: *n entries of p get their port. */
void cs_endpoint_take(struct cs_endpoint_settings *s, const struct cs_network *n, struct cs_ports *p, json_t *answer);
bool cs_addr_parse(const char *text, uint8_t out[16], bool *v6);
bool cs_addr_prefix_parse(const char *text, uint8_t out[16], unsigned *bits, bool *v6);
bool cs_addr_in(const char *prefix, const char *ip);
/* "10.0.0.0/24" for "10.0.0.7/24". Caller frees; NULL when malformed. */
char *cs_addr_masked(const char *prefix);
bool cs_option_true(const struct cs_strmap *m, const char *key, bool dflt);
bool cs_bool_parse(const char *s, bool *ret); /* as strconv.ParseBool */

/* ---- network_check.c: pure ---- */
/* A create request with defaults filled in, checked, as a document (name, no id yet). from: the configuration network, or NULL. */
CS_MUST_CHECK int cs_network_doc_make(const struct cs_network_create *req, int api, const struct cs_strmap *defaults, const struct cs_network_doc *from,
				      struct cs_network_doc **ret, struct cs_err **err);
void cs_endpoint_wanted(struct cs_endpoint_settings *s); /* from a client: what is operational in it means nothing, the MAC address is a wish */
/* Settings of an endpoint, by themselves (n NULL) and against the network; normalises addresses. */
CS_MUST_CHECK int cs_endpoint_check(struct cs_endpoint_settings *s, const char *name, const struct cs_network_doc *n, struct cs_err **err);

/* ---- network_run.c; op_lock held ---- */
struct cs_network_run { /* of this start */
	char ns[CS_HCN_GUID_TEXT]; /* "": the compute service makes the namespace, or none is needed */
	char *path;                /* how the worker opens it; NULL */
	char **link_env;
};
void cs_network_run_done(struct cs_network_run *r);
/* Namespace, endpoints, addresses, ports; the row has them before this returns. Nothing is left behind on failure. */
CS_MUST_CHECK int cs_container_net_start(struct cs_container *c, struct cs_network_run *ret, struct cs_err **err);
void cs_container_net_stop(struct cs_container *c);  /* does nothing when nothing is there */
void cs_container_net_flush(struct cs_container *c); /* waits until what the last run had is free again. Takes op_lock */
void cs_container_net_adopt(struct cs_container *c); /* reconcile: it runs */
void cs_container_net_forget(struct cs_container *c); /* reconcile: it does not run, so what its row says of the last run is over */
/* The endpoints of a container that was created before there were networks, or with a mode only. c not yet in the tables, or op_lock held. */
void cs_container_net_defaults(struct cs_container *c);
/* Endpoints of a running container; s is in c->nets and has been checked. */
CS_MUST_CHECK int cs_endpoint_up(struct cs_container *c, struct cs_network *n, struct cs_endpoint_settings *s, struct cs_ports *ports, bool given,
				 struct cs_err **err);
void cs_endpoint_down(struct cs_container *c, struct cs_endpoint_settings *s);
/* The published ports of a family belong to the endpoint that has its default route: after a change of endpoints they move, all or none. leaving: an
 * endpoint that is about to go; what cannot move then ends with it. NULL. */
CS_MUST_CHECK int cs_container_ports_settle(struct cs_container *c, const struct cs_endpoint_settings *leaving, struct cs_err **err);
void cs_container_net_renamed(struct cs_container *c);  /* its DNS names follow */
void cs_container_net_unlinked(struct cs_container *c); /* a link was taken out of its settings */
/* Before an endpoint comes to a running container: it has a namespace at the service, whose resolver is on if the networks need it. */
CS_MUST_CHECK int cs_container_net_join(struct cs_container *c, bool resolver_changes, struct cs_err **err);
CS_MUST_CHECK int cs_container_net_save(struct cs_container *c, struct cs_err **err);
struct cs_endpoint_settings *cs_container_endpoint(struct cs_container *c, const char *name);
const char *cs_container_main_network(const struct cs_container *c); /* as HostConfig.NetworkMode has it: a name, or whatever the user wrote for one; borrowed */
char *cs_container_net_json(struct cs_container *c); /* for the row; lock held or not in the tables yet */
bool cs_container_net_own(const struct cs_container *c); /* it can have endpoints: neither container:, host, nor without any network */

/* ---- network_links.c ---- */
/* Legacy links on the default bridge, at start: lines for /etc/hosts and variables. */
CS_MUST_CHECK int cs_links_resolve(struct cs_container *c, char ***hosts, char ***env, struct cs_err **err);
void cs_links_put(char *const *aliases, char *const *endpoints, char *const *names, struct cs_str *out); /* ,"Links":{alias: guid},"LinkNames":{alias: name} */
/* What the container that is the link's parent calls so: a name or id, as it was given. Caller frees; NULL: it has no such link. Takes c->lock. */
char *cs_links_target(struct cs_container *c, const char *alias);
/* Takes the link away, from the row and, while it runs, from its hosts file and names. Takes op_lock. NOT_FOUND: it has no such link. */
CS_MUST_CHECK int cs_links_remove(struct cs_container *c, const char *alias, struct cs_err **err);
/* HostConfig.Links as inspect shows them; lock held; NULL: none. */
char **cs_links_view(const struct cs_container *c);
/* Further names of containers, by legacy links of those in `all` (up to NULL): pairs of the linked one's id and "/parent/alias", in a flat list. */
char **cs_links_names(struct cs_container *const *all);
/* On other networks: alias and endpoint id of those links whose container runs there. */
void cs_links_endpoints(struct cs_container *c, const struct cs_endpoint_settings *s, char ***aliases, char ***endpoints, char ***names);

/* ---- names_file.c, network_files.c ---- */
CS_MUST_CHECK int cs_container_files_write(struct cs_container *c, char *const *link_hosts, struct cs_err **err); /* at start */
void cs_container_files_connected(struct cs_container *c, const struct cs_endpoint_settings *s);                 /* running: in place */
void cs_container_files_disconnected(struct cs_container *c, const char *ip, const char *ip6);
void cs_container_files_unlinked(struct cs_container *c, const char *names); /* what stands behind the address */
/* {servers, search domains and options for the embedded resolver}: "Dns" of the namespace's document. */
void cs_container_put_dns(struct cs_container *c, struct cs_str *out);
bool cs_container_resolver(struct cs_container *c); /* some network of it is user-defined */

