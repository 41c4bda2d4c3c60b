/* SPDX-License-Identifier: Apache-2.0
 *
 * GET /containers/json: filters, then the rows straight into the answer's buffer. Holds each container's lock only while it is written. */
#include "engine/view.h"

#include "base/json.h"
#include "base/num.h"
#include "base/time.h"
#include "engine/filters.h"
#include "engine/image.h"
#include "engine/network.h"
#include "engine/validate.h"

/* ---- shared pieces ---- */

char **cs_view_argv(const struct cs_config *c)
{
	char **v = cs_xcalloc(cs_strv_len(c->entrypoint) + cs_strv_len(c->cmd) + 1, sizeof(char *));
	size_t n = 0;

	for (char **p = c->entrypoint; p && *p; p++)
		v[n++] = *p;
	for (char **p = c->cmd; p && *p; p++)
		v[n++] = *p;
	return v;
}

void cs_view_human_duration(int64_t ns, struct cs_str *out)
{
	int64_t s = ns / CS_NS_PER_SEC, m = s / 60, h = (s + 1800) / 3600;

	if (s < 1)
		cs_str_puts(out, "Less than a second");
	else if (s == 1)
		cs_str_puts(out, "1 second");
	else if (s < 60)
		cs_str_putf(out, "%lld seconds", (long long)s);
	else if (m == 1)
		cs_str_puts(out, "About a minute");
	else if (m < 60)
		cs_str_putf(out, "%lld minutes", (long long)m);
	else if (h == 1)
		cs_str_puts(out, "About an hour");
	else if (h < 48)
		cs_str_putf(out, "%lld hours", (long long)h);
	else if (h < 24 * 7 * 2)
		cs_str_putf(out, "%lld days", (long long)(h / 24));
	else if (h < 24 * 30 * 2)
		cs_str_putf(out, "%lld weeks", (long long)(h / 24 / 7));
	else if (h < 24 * 365 * 2)
		cs_str_putf(out, "%lld months", (long long)(h / 24 / 30));
	else
		cs_str_putf(out, "%lld years", (long long)(s / 3600 / 24 / 365));
}

void cs_view_status(struct cs_container *c, int64_t now, struct cs_str *out)
{
	const char *health = cs_health_status(c);

	switch (cs_container_status(c)) {
	case CS_ST_RUNNING:
	case CS_ST_PAUSED:
		cs_str_puts(out, "Up ");
		cs_view_human_duration(now - c->started_at, out);
		if (c->paused)
			cs_str_puts(out, " (Paused)");
		else if (cs_streq(health, "starting"))
			cs_str_puts(out, " (health: starting)");
		else if (!cs_streq(health, "none"))
			cs_str_putf(out, " (%s)", health);
		return;
	case CS_ST_RESTARTING:
	case CS_ST_EXITED:
		if (c->finished_at == CS_TIME_ZERO)
			return;
		cs_str_putf(out, "%s (%d) ", c->status == CS_ST_RESTARTING ? "Restarting" : "Exited", c->exit_code);
		cs_view_human_duration(now - c->finished_at, out);
		return cs_str_puts(out, " ago");
	case CS_ST_REMOVING:
		return cs_str_puts(out, "Removal In Progress");
	case CS_ST_DEAD:
		return cs_str_puts(out, "Dead");
	case CS_ST_CREATED:
	case CS_ST_MAX:
	default:
		return cs_str_puts(out, "Created");
	}
}

/* ---- filters ---- */

struct query {
	struct cs_filters f;
	int64_t before, since; /* created, 0 = none */
	char **ancestors;      /* image ids and texts */
	char **networks;       /* names and ids */
	bool is_task;
};

static int created_of(struct cs_engine *e, const struct cs_filters *f, const char *key, int64_t *ret, struct cs_err **err)
{
	for (char **p = cs_filter_values(f, key); p && *p; p++) {
		cs_autocontainer struct cs_container *c = NULL;
		if (cs_container_get(e, *p, &c, err) < 0)
			return -1;
		*ret = c->created;
	}
	return 0;
}

static int check_values(const struct cs_filters *f, struct cs_err **err)
{
	static const char *const health[] = {"none", "starting", "healthy", "unhealthy"};
	struct cs_port_range range;
	int64_t n;

	for (char **p = cs_filter_values(f, "status"); p && *p; p++) {
		bool ok = false;
		for (int s = 0; s < CS_ST_MAX; s++)
			ok = ok || cs_streq(cs_status_name((enum cs_status)s), *p);
		if (!ok)
			return cs_fail(err, CS_ERR_INVALID, 0, "invalid filter 'status=%s'", *p);
	}
	for (char **p = cs_filter_values(f, "health"); p && *p; p++) {
		bool ok = false;
		for (size_t i = 0; i < CS_ARRAY_SIZE(health); i++)
			ok = ok || cs_streq(health[i], *p);
		if (!ok)
			return cs_fail(err, CS_ERR_INVALID, 0, "invalid filter 'health=%s'", *p);
	}
	static const char *const ports[] = {"expose", "publish"};
	for (size_t i = 0; i < CS_ARRAY_SIZE(ports); i++)
		for (char **p = cs_filter_values(f, ports[i]); p && *p; p++)
			if (!cs_parse_ports(*p, &range))
				return cs_fail(err, CS_ERR_INVALID, 0, "error while looking up for %s %s: invalid port specification", ports[i], *p);
	for (char **p = cs_filter_values(f, "exited"); p && *p; p++)
		if (!cs_parse_i64(*p, INT32_MIN, INT32_MAX, &n))
			return cs_fail(err, CS_ERR_INVALID, 0, "invalid filter 'exited=%s'", *p);
	return 0;
}

static void query_done(struct query *q)
{
	cs_filters_done(&q->f);
	cs_strv_free(q->ancestors);
	cs_strv_free(q->networks);
}

static int query_init(struct cs_engine *e, const char *filters, struct query *q, struct cs_err **err)
{
	static const char *const allowed[] = {"ancestor", "before", "exited", "expose", "health", "id", "is-task", "isolation", "label",
					      "name", "network", "publish", "since", "status", "volume", NULL};

	if (cs_filters_parse(filters, allowed, &q->f, err) < 0 || check_values(&q->f, err) < 0 ||
	    created_of(e, &q->f, "before", &q->before, err) < 0 || created_of(e, &q->f, "since", &q->since, err) < 0 ||
	    cs_filter_bool(&q->f, "is-task", &q->is_task, err) < 0)
		return -1;
	for (char **p = cs_filter_values(&q->f, "ancestor"); p && *p; p++) {
		cs_autostrv char **ids = cs_image_ids(e, *p);
		for (char **i = ids; i && *i; i++)
			cs_strv_push(&q->ancestors, *i);
		if (!q->ancestors)
			cs_strv_push(&q->ancestors, "");
	}
	for (char **p = cs_filter_values(&q->f, "network"); p && *p; p++) {
		cs_autonetwork struct cs_network *n = NULL;
		cs_strv_push(&q->networks, cs_network_get(e, *p, &n, NULL) == 0 ? n->doc->name : *p);
		if (n)
			cs_strv_push(&q->networks, n->doc->id);
	}
	return 0;
}

/* "80", "80/udp", "8000-8010/tcp" against what a container has, which may be a range, too. */
static bool port_hits(const char *want, const char *have)
{
	struct cs_port_range w, h;

	return cs_parse_ports(want, &w) && cs_parse_ports(have, &h) && w.proto == h.proto && w.lo <= h.hi && h.lo <= w.hi;
}

static bool match_ports(struct cs_container *c, const struct query *q, const char *key, bool published)
{
	char **want = cs_filter_values(&q->f, key);
	struct cs_port_map map = {0};
	bool hit = !want;

	if (want && published && cs_port_map_parse(c->host->port_bindings, "", &map, NULL) < 0)
		return false;
	for (char **w = want; w && *w && !hit; w++) {
		for (size_t i = 0; published && i < map.n; i++)
			hit = hit || port_hits(*w, map.e[i].port);
		for (char **p = published ? NULL : c->config->exposed_ports; p && *p; p++)
			hit = hit || port_hits(*w, *p);
	}
	cs_port_map_done(&map);
	return hit;
}

/* By name or id; what a name stands for was looked up before. */
static bool match_network(struct cs_container *c, const struct query *q)
{
	bool hit = !q->networks;

	for (char **p = q->networks; p && *p && !hit; p++)
		hit = cs_view_on_network(c, *p, *p);
	return hit;
}

static bool match_volume(struct cs_container *c, const struct query *q)
{
	char **want = cs_filter_values(&q->f, "volume");

	for (char **w = want; w && *w; w++)
		for (size_t i = 0; i < c->n_mounts; i++)
			if (cs_streq(c->mounts[i].name, *w) || cs_streq(c->mounts[i].destination, *w) || cs_streq(c->mounts[i].source, *w))
				return true;
	return !want;
}

static bool match_exited(struct cs_container *c, const struct query *q)
{
	char **want = cs_filter_values(&q->f, "exited");
	char code[16];

	(void)snprintf(code, sizeof(code), "%d", c->exit_code);
	return !want || (c->status != CS_ST_RUNNING && c->finished_at != CS_TIME_ZERO && cs_strv_has(want, code));
}

static bool match_name(struct cs_container *c, const struct query *q)
{
	char slashed[512];

	(void)snprintf(slashed, sizeof(slashed), "/%s", c->name);
	return cs_filter_match(&q->f, "name", c->name) || cs_filter_match(&q->f, "name", slashed);
}

static bool match(struct cs_container *c, const struct query *q)
{
	if (!q->f.n)
		return true;
	if ((q->before && c->created >= q->before) || (q->since && c->created <= q->since) || q->is_task)
		return false;
	if (q->ancestors && !cs_strv_has(q->ancestors, c->image_id))
		return false;
	return match_name(c, q) && cs_filter_match(&q->f, "id", c->id) && cs_filter_labels(&q->f, "label", c->config->labels) &&
	       cs_filter_exact(&q->f, "status", cs_status_name(cs_container_status(c))) && cs_filter_exact(&q->f, "health", cs_health_status(c)) &&
	       match_network(c, q) && match_exited(c, q) && match_volume(c, q) && match_ports(c, q, "expose", false) &&
	       match_ports(c, q, "publish", true);
}

static bool wanted(struct cs_container *c, const struct query *q, bool all) /* lock held */
{
	return (all || c->status == CS_ST_RUNNING || c->status == CS_ST_RESTARTING) && !c->gone && match(c, q);
}

/* ---- rows ---- */

static void put_command(const struct cs_config *config, struct cs_str *out)
{
	cs_autostr struct cs_str line = CS_STR_INIT(1 << 20);
	cs_autofree char **argv = cs_view_argv(config);

	for (char **p = argv; *p; p++) {
		bool quote = p != argv && strchr(*p, ' ');
		cs_str_puts(&line, p == argv ? "" : " ");
		cs_str_puts(&line, quote ? "'" : "");
		cs_str_puts(&line, *p);
		cs_str_puts(&line, quote ? "'" : "");
	}
	cs_json_put_kstr(out, "Command", line.buf);
}

/* What the user wrote, as long as that still means the container's image; else the image's id, as Docker shows it. */
static bool ref_holds(const struct cs_container *c)
{
	if (cs_streq(c->image_ref, c->image_id))
		return true;
	cs_autostrv char **ids = cs_image_ids(c->e, c->image_ref);
	return ids && cs_strv_has(ids, c->image_id);
}

static void put_names(const struct cs_container *c, char *const *linked, struct cs_str *out)
{
	cs_autostrv char **names = NULL;

	cs_strv_take(&names, cs_xasprintf("/%s", c->name));
	for (char *const *p = linked; p && p[0]; p += 2)
		if (cs_streq(p[0], c->id))
			cs_strv_push(&names, p[1]);
	cs_json_put_key(out, "Names");
	cs_json_put_strv(out, names);
}

static void put_row(struct cs_container *c, const char *image, char *const *linked, const struct cs_str *manifest, int64_t now, int api, int64_t rw, int64_t root, bool size, struct cs_str *out)
{
	cs_autostr struct cs_str status = CS_STR_INIT(256);

	cs_str_putc(out, '{');
	cs_json_put_kstr(out, "Id", c->id);
	put_names(c, linked, out);
	cs_json_put_kstr(out, "Image", image);
	cs_json_put_kstr(out, "ImageID", c->image_id);
	if (manifest->len) {
		cs_json_put_key(out, "ImageManifestDescriptor");
		cs_str_put(out, manifest->buf, manifest->len);
	}
	put_command(c->config, out);
	cs_json_put_ki64(out, "Created", c->created / CS_NS_PER_SEC);
	cs_view_list_ports(c, out);
	if (size && rw)
		cs_json_put_ki64(out, "SizeRw", rw);
	if (size && root)
		cs_json_put_ki64(out, "SizeRootFs", root);
	cs_json_put_key(out, "Labels");
	if (c->config->labels)
		cs_json_put_strmap(out, c->config->labels);
	else
		cs_str_puts(out, "{}");
	cs_json_put_kstr(out, "State", cs_status_name(cs_container_status(c)));
	cs_view_status(c, now, &status);
	cs_json_put_kstr(out, "Status", status.buf);
	cs_json_put_key(out, "HostConfig");
	cs_str_putc(out, '{');
	cs_json_put_kstr(out, "NetworkMode", c->host->network_mode);
	if (c->host->annotations && c->host->annotations->n && (!api || api >= 146)) {
		cs_json_put_key(out, "Annotations");
		cs_json_put_strmap(out, c->host->annotations);
	}
	cs_str_putc(out, '}');
	if (c->health && (!api || api >= 152)) {
		cs_json_put_key(out, "Health");
		cs_str_putc(out, '{');
		cs_json_put_kstr(out, "Status", cs_health_status(c));
		cs_json_put_ki64(out, "FailingStreak", cs_health_streak(c));
		cs_str_putc(out, '}');
	}
	cs_json_put_key(out, "NetworkSettings");
	cs_str_puts(out, "{\"Networks\":");
	cs_view_networks(c, api, true, out);
	cs_str_putc(out, '}');
	cs_json_put_key(out, "Mounts");
	cs_containers_json_mounts(c->mounts, c->n_mounts, false, out);
	cs_str_putc(out, '}');
}

int cs_container_list(struct cs_engine *e, const struct cs_list_opts *o, int api, struct cs_str *out, struct cs_err **err)
{
	struct query q = {0};
	int64_t now = cs_now_ns(), written = 0;

	if (query_init(e, o->filters, &q, err) < 0) {
		query_done(&q);
		return -1;
	}
	bool all = o->all || o->limit > 0 || cs_filter_values(&q.f, "status");
	struct cs_container **v = cs_containers_all(e, NULL);
	cs_autostrv char **linked = cs_links_names(v);
	cs_str_putc(out, '[');
	for (struct cs_container **p = v; *p && (o->limit <= 0 || written < o->limit); p++) {
		struct cs_container *c = *p;
		int64_t rw = 0, root = 0;
		pthread_mutex_lock(&c->lock);
		bool shown = wanted(c, &q, all);
		pthread_mutex_unlock(&c->lock);
		if (!shown)
			continue;
		if (o->size && cs_snapshot_usage(e, c->id, &rw, &root, NULL) < 0)
			rw = root = 0;
		const char *image = ref_holds(c) ? c->image_ref : c->image_id;
		cs_autostr struct cs_str manifest = CS_STR_INIT(128u << 10);
		if (!api || api >= 148)
			cs_image_put_descriptor(&manifest, e, c->image_id);
		CS_GUARD(&c->lock);
		if (!wanted(c, &q, all)) /* no longer: the row would contradict the question */
			continue;
		if (written++)
			cs_str_putc(out, ',');
		put_row(c, image, linked, &manifest, now, api, rw, root, o->size, out);
	}
	cs_str_putc(out, ']');
	cs_containers_free(v);
	query_done(&q);
	return out->failed ? cs_fail(err, CS_ERR_INTERNAL, 0, "the list is too large") : 0;
}
