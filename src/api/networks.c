/* SPDX-License-Identifier: Apache-2.0
 *
 * /networks: the three that exist until the host network service does. "bridge" is a private namespace with a loopback for now. */
#include "api/routes.h"

#include "base/sha256.h"
#include "base/time.h"
#include "engine/filters.h"

struct network {
	const char *name, *driver;
};
static const struct network networks[] = { { "bridge", "bridge" }, { "host", "host" }, { "none", "null" } };

/* The same on every start, so that clients may remember it. */
static void network_id(const struct network *n, char id[65])
{
	cs_autofree char *text = cs_xasprintf("caisson network %s", n->name);

	cs_sha256_hex_of(text, strlen(text), id);
}

static void put(struct cs_str *out, const struct network *n, int api)
{
	char id[65];

	network_id(n, id);
	cs_str_putc(out, '{');
	cs_json_put_kstr(out, "Name", n->name);
	cs_json_put_kstr(out, "Id", id);
	cs_json_put_ktime(out, "Created", CS_TIME_ZERO);
	cs_json_put_kstr(out, "Scope", "local");
	cs_json_put_kstr(out, "Driver", n->driver);
	if (api >= 147)
		cs_json_put_kbool(out, "EnableIPv4", false);
	cs_json_put_kbool(out, "EnableIPv6", false);
	cs_str_puts(out, ",\"IPAM\":{\"Driver\":\"default\",\"Options\":null,\"Config\":[]},\"Internal\":false,\"Attachable\":false,\"Ingress\":false,"
			 "\"ConfigFrom\":{\"Network\":\"\"},\"ConfigOnly\":false,\"Containers\":{},\"Options\":{},\"Labels\":{}}");
}

static int wanted(const struct network *n, const struct cs_filters *f, bool *ret, struct cs_err **err)
{
	bool dangling = false;
	char id[65];

	network_id(n, id);
	/* Predefined networks are never dangling, and have no labels. */
	if (cs_filter_bool(f, "dangling", &dangling, err) < 0)
		return -1;
	*ret = !dangling && !cs_filter_values(f, "label") && cs_filter_match(f, "name", n->name) && cs_filter_match(f, "id", id) &&
	       cs_filter_exact(f, "driver", n->driver) && cs_filter_exact(f, "scope", "local") && cs_filter_exact(f, "type", "builtin");
	return 0;
}

static int list(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	static const char *const allowed[] = { "dangling", "driver", "id", "label", "name", "scope", "type", NULL };
	cs_autofilters struct cs_filters f = { 0 };

	if (cs_filters_parse(cs_query_str(&rq->query, "filters"), allowed, &f, err) < 0)
		return -1;
	cs_str_putc(&rs->body, '[');
	for (size_t i = 0; i < CS_ARRAY_SIZE(networks); i++) {
		bool want;
		if (wanted(&networks[i], &f, &want, err) < 0)
			return -1;
		if (!want)
			continue;
		if (rs->body.buf[rs->body.len - 1] != '[')
			cs_str_putc(&rs->body, ',');
		put(&rs->body, &networks[i], rq->api);
	}
	cs_str_puts(&rs->body, "]\n");
	return 0;
}

static const struct network *find(const char *ref)
{
	size_t n = strlen(ref);
	char id[65];

	for (size_t i = 0; i < CS_ARRAY_SIZE(networks); i++)
		if (!strcmp(networks[i].name, ref))
			return &networks[i];
	for (size_t i = 0; i < CS_ARRAY_SIZE(networks); i++) {
		network_id(&networks[i], id);
		if (!strncmp(id, ref, n))
			return &networks[i];
	}
	return NULL;
}

static int inspect(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	const struct network *n = find(rq->param[0]);

	if (!n)
		return cs_fail(err, CS_ERR_NOT_FOUND, 0, "network %s not found", rq->param[0]);
	put(&rs->body, n, rq->api);
	cs_str_putc(&rs->body, '\n');
	return 0;
}

static int remove_(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	const struct network *n = find(rq->param[0]);

	if (!n)
		return cs_fail(err, CS_ERR_NOT_FOUND, 0, "network %s not found", rq->param[0]);
	return cs_fail(err, CS_ERR_DENIED, 0, "%s is a pre-defined network and cannot be removed", n->name);
}

/* Nothing that could be pruned can exist yet. */
static int prune(struct cs_request *rq, struct cs_response *rs, struct cs_err **err)
{
	cs_str_puts(&rs->body, "{\"NetworksDeleted\":null}\n");
	return 0;
}

const struct cs_route cs_routes_networks[] = {
	{ "GET", "/networks", 0, 0, list },
	{ "GET", "/networks/", 0, 0, list },
	{ "POST", "/networks/create", 0, 0, cs_unavailable, CS_ROUTE_DISCARD, "creating networks" },
	{ "POST", "/networks/prune", 125, 0, prune, CS_ROUTE_DISCARD },
	{ "GET", "/networks/{id}", 0, 0, inspect },
	{ "DELETE", "/networks/{id}", 0, 0, remove_, CS_ROUTE_DISCARD },
	{ "POST", "/networks/{id}/connect", 0, 0, cs_unavailable, CS_ROUTE_DISCARD, "connecting containers to networks" },
	{ "POST", "/networks/{id}/disconnect", 0, 0, cs_unavailable, CS_ROUTE_DISCARD, "disconnecting containers from networks" },
	{ NULL },
};
