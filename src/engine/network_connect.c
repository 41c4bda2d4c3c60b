/* SPDX-License-Identifier: Apache-2.0
 *
 * Containers onto networks and off them again, while they run or not. op_lock of the container is held; the network may vanish meanwhile, which the
 * service then tells. The row is written last: what a crash leaves before that is an endpoint that nobody claims, and goes at the next start. */
#include <string.h>

#include "base/log.h"
#include "engine/events.h"
#include "engine/network.h"
#include "engine/validate.h"

static void release_endpoint(struct cs_endpoint_settings *s)
{
	free(s->key);
	cs_json_release(&cs_endpoint_settings_store_type, s);
}

static int by_key(const void *a, const void *b)
{
	return strcmp(((const struct cs_endpoint_settings *)a)->key, ((const struct cs_endpoint_settings *)b)->key);
}

static void insert(struct cs_container *c, const struct cs_endpoint_settings *s, const char *key)
{
	struct cs_container_networks *n = c->nets;

	CS_GUARD(&c->lock);
	n->endpoints = cs_xreallocarray(n->endpoints, n->n_endpoints + 1, sizeof(*n->endpoints));
	cs_json_copy(&cs_endpoint_settings_store_type, &n->endpoints[n->n_endpoints], s);
	n->endpoints[n->n_endpoints++].key = cs_xstrdup(key);
	qsort(n->endpoints, n->n_endpoints, sizeof(*n->endpoints), by_key);
}

static void take_out(struct cs_container *c, const char *key)
{
	struct cs_container_networks *n = c->nets;

	CS_GUARD(&c->lock);
	for (size_t i = 0; i < n->n_endpoints; i++)
		if (cs_streq(n->endpoints[i].key, key)) {
			release_endpoint(&n->endpoints[i]);
			memmove(&n->endpoints[i], &n->endpoints[i + 1], (n->n_endpoints - i - 1) * sizeof(*n->endpoints));
			n->n_endpoints--;
			return;
		}
}

static int gone(const struct cs_container *c, struct cs_err **err)
{
	return cs_fail(err, CS_ERR_CONFLICT, 0, "Container %s is marked for removal and cannot be connected or disconnected to the network", c->id);
}

static bool is_host(const struct cs_network *n) { return cs_streq(n->doc->driver, "host"); }

/* dockerd's answers to what does not go together. */
static int may_connect(struct cs_container *c, const struct cs_network *n, struct cs_err **err)
{
	if (cs_mode_container(c->host->network_mode))
		return cs_fail(err, CS_ERR_INVALID, 0, "container sharing network namespace with another container or host cannot be connected to any other network");
	if (!cs_streq(c->host->network_mode, "host") && is_host(n))
		return cs_fail(err, CS_ERR_INVALID, 0, "cannot connect container to host network - container must be created in host network mode");
	if (n->doc->config_only)
		return cs_fail(err, CS_ERR_DENIED, 0, "cannot create endpoint on configuration-only network");
	for (size_t i = 0; i < c->nets->n_endpoints; i++) {
		const char *key = c->nets->endpoints[i].key;
		if (cs_streq(key, n->doc->name))
			continue;
		if (cs_streq(key, "host") || is_host(n))
			return cs_fail(err, CS_ERR_INVALID, 0, "container sharing network namespace with another container or host cannot be connected to any other network");
		if (cs_streq(key, "none") || cs_streq(n->doc->name, "none"))
			return cs_fail(err, CS_ERR_INVALID, 0, "container cannot be connected to multiple networks with one of the networks in private (none) mode");
	}
	return 0;
}

static int connect_running(struct cs_container *c, struct cs_network **net, struct cs_endpoint_settings *s, struct cs_err **err)
{
	bool was_resolver = cs_container_resolver(c);

	if (cs_network_revive(c->e, net, err) < 0)
		return -1;
	struct cs_network *n = *net;
	insert(c, s, n->doc->name);
	struct cs_endpoint_settings *own = cs_container_endpoint(c, n->doc->name);
	if (cs_container_net_join(c, !was_resolver && cs_container_resolver(c), err) < 0 || cs_endpoint_up(c, n, own, NULL, false, err) < 0) {
		take_out(c, n->doc->name);
		return -1;
	}
	if (cs_container_ports_settle(c, NULL, err) < 0 || cs_container_net_save(c, err) < 0) {
		if (cs_container_ports_settle(c, own, NULL) < 0) /* where they were before */
			cs_logk(CS_LOG_WARN, "engine", "container", c->id, "its published ports could not be opened again");
		cs_endpoint_down(c, own);
		take_out(c, n->doc->name);
		return -1;
	}
	cs_container_files_connected(c, own);
	cs_network_event(c->e, n, "connect", c->id);
	return 0;
}

static bool asks_for_something(const struct cs_endpoint_settings *s)
{
	const struct cs_endpoint_ipam *ip = s->ipam_config;

	return (ip && (!cs_empty(ip->ipv4_address) || !cs_empty(ip->ipv6_address) || cs_strv_len(ip->link_local_ips))) || cs_strv_len(s->links) ||
	       cs_strv_len(s->aliases) || (s->driver_opts && s->driver_opts->n) || s->gw_priority || !cs_empty(s->wanted_mac);
}

/* A second time: what was asked for stays, unless something is asked for now. dockerd keeps the first in any case, and tells nobody. */
static int connect_stopped(struct cs_container *c, struct cs_network *n, const struct cs_endpoint_settings *s, struct cs_err **err)
{
	if (cs_container_endpoint(c, n->doc->name)) {
		if (!asks_for_something(s))
			return 0;
		take_out(c, n->doc->name);
	}
	insert(c, s, n->doc->name);
	return cs_container_net_save(c, err);
}

int cs_network_connect(struct cs_engine *e, const char *ref, const struct cs_network_connect *req, struct cs_err **err)
{
	cs_autocontainer struct cs_container *c = NULL;
	cs_autonetwork struct cs_network *n = NULL;
	struct cs_endpoint_settings s = {0};

	if (cs_container_get(e, req->container, &c, err) < 0 || cs_network_get(e, ref, &n, err) < 0)
		return -1;
	CS_GUARD(&c->op_lock);
	pthread_mutex_lock(&c->lock);
	bool dead = c->removing || c->dead, running = c->status == CS_ST_RUNNING;
	pthread_mutex_unlock(&c->lock);
	if (dead)
		return gone(c, err);
	if (may_connect(c, n, err) < 0)
		return -1;
	const struct cs_endpoint_settings *have = cs_container_endpoint(c, n->doc->name);
	if (running && have && !cs_empty(have->endpoint_id))
		return cs_fail(err, CS_ERR_DENIED, 0, "endpoint with name %s already exists in network %s", c->name, n->doc->name);
	if (req->endpoint_config)
		cs_json_copy(&cs_endpoint_settings_store_type, &s, req->endpoint_config);
	cs_endpoint_wanted(&s);
	free(s.network_id);
	s.network_id = cs_xstrdup(n->doc->id);
	int r = cs_endpoint_check(&s, n->doc->name, n->doc, err);
	if (r == 0 && running && have)
		take_out(c, n->doc->name);
	if (r == 0)
		r = running ? connect_running(c, &n, &s, err) : connect_stopped(c, n, &s, err);
	release_endpoint(&s);
	return r;
}

/* n may be NULL: the network has gone. */
static int disconnect(struct cs_container *c, const struct cs_network *n, const char *name, bool running, struct cs_err **err)
{
	struct cs_endpoint_settings *s = cs_container_endpoint(c, name);
	cs_autofree char *ip = cs_xstrdup(s->ip_address), *ip6 = cs_xstrdup(s->global_ipv6_address);
	bool up = running && !cs_empty(s->endpoint_id);
	int r = 0;

	if (up) {
		r = cs_container_ports_settle(c, s, err); /* first: they lead somewhere at any moment */
		cs_endpoint_down(c, s); /* tells */
	} else if (n) {
		cs_network_event(c->e, n, "disconnect", c->id);
	}
	take_out(c, name);
	if (up)
		cs_container_files_disconnected(c, ip, ip6);
	if (r == 0)
		return cs_container_net_save(c, err);
	if (cs_container_net_save(c, NULL) < 0) /* it is off that network all the same */
		cs_logk(CS_LOG_WARN, "engine", "container", c->id, "its network settings could not be written");
	return -1;
}

int cs_network_disconnect(struct cs_engine *e, const char *ref, const struct cs_network_disconnect *req, struct cs_err **err)
{
	cs_autocontainer struct cs_container *c = NULL;
	cs_autonetwork struct cs_network *n = NULL;
	cs_autoerr struct cs_err *no_network = NULL;

	if (cs_container_get(e, req->container, &c, err) < 0)
		return -1;
	if (cs_network_get(e, ref, &n, &no_network) < 0)
		n = NULL;
	CS_GUARD(&c->op_lock);
	pthread_mutex_lock(&c->lock);
	bool dead = c->removing || c->dead, running = c->status == CS_ST_RUNNING;
	pthread_mutex_unlock(&c->lock);
	if (!n && running && !req->force)
		return cs_err_move(err, TAKE_PTR(no_network));
	if (dead)
		return gone(c, err);
	const char *name = n ? n->doc->name : ref;
	if (running && n && cs_streq(c->host->network_mode, "host") && is_host(n))
		return cs_fail(err, CS_ERR_INVALID, 0, "cannot disconnect container from host network - container was created in host network mode");
	if (!cs_container_endpoint(c, name))
		return cs_fail(err, CS_ERR_INTERNAL, 0, "container %s is not connected to %s %s", c->id, running ? "network" : "the network", name);
	return disconnect(c, n, name, running, err);
}
