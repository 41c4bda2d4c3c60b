/* SPDX-License-Identifier: Apache-2.0
 *
 * caisson stats: a stream of samples from each container, all in one poll() loop, drawn twice a second. Without operands the containers that run, and those
 * that come and go meanwhile (a stream of events says so). */
#include <poll.h>
#include <string.h>

#include "base/json.h"
#include "base/time.h"
#include "cli/rows.h"
#include "cli/session.h"
#include "cli/stream.h"

#define LOST "the connection to the engine was lost"
#define DRAW_EVERY_MS 500
#define FIRST_SAMPLE_MS 2000 /* what has no sample by then is drawn without figures */

/* Lines of JSON as they come over a connection. */
struct feed {
	struct reply r;
	bool answered, ended;
	bool broken; /* the connection ended in the middle of the answer */
	struct cs_str line;
};

struct watched {
	char *key; /* as asked for, or the short id */
	struct feed feed;
	struct cs_err *err; /* what the engine answered instead */
	char *name, *id;
	struct stats_entry e;
	bool sampled;
};

struct board {
	const char *format;
	bool all, trunc, live;
	struct feed events;
	bool listed; /* without operands: containers come and go */
	struct watched **w;
	size_t n;
};

/* ---- streams ---- */

static int feed_open(struct feed *f, const char *path, struct cs_err **err)
{
	*f = (struct feed){.r = REPLY_INIT, .line = CS_STR_INIT((size_t)16 << 20)};
	if (client_send("GET", path, &f->r, err) == 0)
		return 0;
	f->ended = true;
	return -1;
}

static void feed_done(struct feed *f)
{
	reply_done(&f->r);
	cs_str_done(&f->line);
}

/* The next document that is there, NULL when poll() has to be asked again; f->ended at the end. *polled: poll() said that there is something; cleared when
 * that was used. Caller owns. */
static json_t *feed_next(struct feed *f, bool *polled, struct cs_err **err)
{
	char buf[16384];

	for (;;) {
		char *nl = f->line.len ? memchr(f->line.buf, '\n', f->line.len) : NULL;
		if (nl || (f->ended && f->line.len)) {
			size_t n = nl ? (size_t)(nl - f->line.buf) : f->line.len;
			json_t *j = json_loadb(f->line.buf, n, 0, NULL);
			cs_str_consume(&f->line, nl ? n + 1 : n);
			if (j)
				return j;
			continue;
		}
		if (f->ended)
			return NULL;
		if (!f->answered) {
			f->answered = true;
			*polled = false;
			f->ended = client_answer(&f->r, err) < 0;
		} else if (*polled || reply_buffered(&f->r)) {
			*polled = false;
			ssize_t n = reply_read(&f->r, buf, sizeof(buf), NULL);
			f->ended = n <= 0;
			f->broken = n < 0;
			if (n > 0)
				cs_str_put(&f->line, buf, (size_t)n);
		} else {
			return NULL;
		}
	}
}

/* ---- figures ---- */

static double num(const json_t *j, const char *a, const char *b)
{
	j = json_object_get(j, a);
	return json_number_value(b ? json_object_get(j, b) : j);
}

/* Of all processors since the sample before, as a share of one. */
static double cpu_percent(const json_t *j)
{
	const json_t *now = json_object_get(j, "cpu_stats"), *then = json_object_get(j, "precpu_stats");
	double cpu = num(now, "cpu_usage", "total_usage") - num(then, "cpu_usage", "total_usage");
	double system = num(now, "system_cpu_usage", NULL) - num(then, "system_cpu_usage", NULL), online = num(now, "online_cpus", NULL);

	if (online == 0)
		online = (double)json_array_size(json_object_get(json_object_get(now, "cpu_usage"), "percpu_usage"));
	return system > 0 && cpu > 0 ? cpu / system * online * 100 : 0;
}

/* Without the pages that only cache files: what cgroup v1 and v2 call it. */
static double memory_used(const json_t *m)
{
	static const char *const caches[] = {"total_inactive_file", "inactive_file"};
	double usage = num(m, "usage", NULL);

	for (size_t i = 0; i < CS_ARRAY_SIZE(caches); i++) {
		const json_t *v = json_object_get(json_object_get(m, "stats"), caches[i]);
		if (v && json_number_value(v) < usage)
			return usage - json_number_value(v);
	}
	return usage;
}

static void sample(struct watched *w, const json_t *j, bool trunc)
{
	const json_t *m = json_object_get(j, "memory_stats");
	json_t *net, *op;
	const char *key;
	size_t i;

	free(w->name);
	free(w->id);
	w->name = cs_xstrdup(jstr(j, "name"));
	w->id = cs_xstrdup(jstr(j, "id"));
	w->sampled = true;
	w->e = (struct stats_entry){.container = w->key, .name = w->name, .id = w->id, .trunc = trunc, .cpu_percent = cpu_percent(j), .memory = memory_used(m),
				    .memory_limit = num(m, "limit", NULL), .pids = (uint64_t)num(j, "pids_stats", "current")};
	if (w->e.memory_limit > 0)
		w->e.memory_percent = w->e.memory / w->e.memory_limit * 100;
	json_object_foreach(json_object_get(j, "networks"), key, net)
	{
		w->e.net_rx += num(net, "rx_bytes", NULL);
		w->e.net_tx += num(net, "tx_bytes", NULL);
	}
	json_array_foreach(json_object_get(json_object_get(j, "blkio_stats"), "io_service_bytes_recursive"), i, op)
	{
		const char *what = jstr(op, "op");
		if (*what == 'r' || *what == 'R')
			w->e.block_read += num(op, "value", NULL);
		else if (*what == 'w' || *what == 'W')
			w->e.block_write += num(op, "value", NULL);
	}
}

/* ---- who is watched ---- */

static struct watched *find(const struct board *b, const char *key)
{
	for (size_t i = 0; i < b->n; i++)
		if (cs_streq(b->w[i]->key, key))
			return b->w[i];
	return NULL;
}

static void forget(struct watched *w)
{
	feed_done(&w->feed);
	cs_err_free(w->err);
	free(w->key);
	free(w->name);
	free(w->id);
	free(w);
}

static void drop(struct board *b, const char *key)
{
	for (size_t i = 0; i < b->n; i++)
		if (cs_streq(b->w[i]->key, key)) {
			forget(b->w[i]);
			memmove(&b->w[i], &b->w[i + 1], (--b->n - i) * sizeof(struct watched *));
			return;
		}
}

static void watch(struct board *b, const char *key)
{
	struct watched *w = find(b, key);

	if (w && !w->feed.ended)
		return;
	if (w)
		drop(b, key);
	w = cs_xcalloc(1, sizeof(*w));
	w->key = cs_xstrdup(key);
	w->feed = (struct feed){.r = REPLY_INIT, .ended = true};
	w->e = (struct stats_entry){.container = w->key, .invalid = true, .trunc = b->trunc};
	cs_autofree char *base = container_path(key, &w->err), *path = cs_xasprintf("%s/stats?stream=%d", base ? base : "", b->live);
	if (base)
		(void)!feed_open(&w->feed, path, &w->err);
	b->w = cs_xrealloc(b->w, (b->n + 1) * sizeof(struct watched *));
	b->w[b->n++] = w;
}

static void watch_id(struct board *b, const char *id)
{
	char key[13];

	(void)snprintf(key, sizeof(key), "%.12s", id);
	if (*key)
		watch(b, key);
}

static void take_event(struct board *b, const json_t *j)
{
	const char *action = jstr(j, "Action"), *id = jstr(json_object_get(j, "Actor"), "ID");
	char key[13];

	(void)snprintf(key, sizeof(key), "%.12s", id);
	if (cs_streq(action, "start") || (b->all && cs_streq(action, "create")))
		watch_id(b, id);
	else if (cs_streq(action, "destroy") || (!b->all && cs_streq(action, "die")))
		drop(b, key);
}

/* Events are asked for first, so that nobody is missed who starts while the list is on its way. */
static int watch_list(struct board *b, struct cs_err **err)
{
	cs_autojson json_t *list = NULL;
	json_t *filters = json_pack("{s:[s]}", "type", "container"), *j;
	cs_autofree char *query = filters_query(filters), *path = cs_xasprintf("/events?%s", query + 1);
	size_t i;

	b->listed = true;
	if (b->live && feed_open(&b->events, path, err) < 0)
		return -1;
	if (client_json("GET", b->all ? "/containers/json?all=1" : "/containers/json", NULL, &list, err) < 0)
		return -1;
	json_array_foreach(list, i, j) watch_id(b, jstr(j, "Id"));
	return 0;
}

/* ---- drawing ---- */

/* One write per frame: on a terminal over the frame before, each line to its end, so that nothing flickers; no more of them than it has room for, as it would
 * scroll with each frame. */
static int draw(struct board *b)
{
	cs_autostr struct cs_str text = CS_STR_INIT((size_t)1 << 28), out = CS_STR_INIT((size_t)1 << 28);
	bool over = b->live && isatty(1);
	unsigned rows = 0, cols = 0;
	bool bounded = over && stream_window(&rows, &cols);
	struct list l;

	list_begin(&l, b->format);
	for (size_t i = 0; i < b->n; i++)
		list_row(&l, &stats_class, &b->w[i]->e);
	int status = list_text(&l, stats_headers, &text);
	if (status)
		return status;
	if (over)
		cs_str_puts(&out, "\033[H");
	for (const char *p = text.buf, *nl; p && *p; p = nl + 1) {
		nl = strchr(p, '\n');
		if (!nl)
			break;
		size_t takes = bounded ? CS_MAX((size_t)(nl - p) + cols - 1, cols) / cols : 0;
		if (bounded && takes >= rows) /* the cursor stands in the one below */
			break;
		rows -= (unsigned)takes;
		cs_str_put(&out, p, (size_t)(nl - p));
		cs_str_puts(&out, over ? "\033[K\n" : "\n");
	}
	if (over)
		cs_str_puts(&out, "\033[J");
	(void)fwrite(out.buf ? out.buf : "", 1, out.len, stdout);
	return fflush(stdout) ? 1 : 0;
}

static bool is_waiting(const struct board *b)
{
	for (size_t i = 0; i < b->n; i++)
		if (!b->w[i]->sampled && !b->w[i]->feed.ended)
			return true;
	return false;
}

/* Nothing can come any more: all that was named is removed, or the engine went away. */
static bool all_ended(const struct board *b)
{
	for (size_t i = 0; i < b->n && !b->listed; i++)
		if (!b->w[i]->feed.ended)
			return false;
	return !b->listed || b->events.ended;
}

static bool all_sampled(const struct board *b)
{
	for (size_t i = 0; i < b->n; i++)
		if (!b->w[i]->sampled)
			return false;
	return true;
}

static bool engine_broke(const struct board *b)
{
	for (size_t i = 0; i < b->n; i++)
		if (b->w[i]->feed.broken)
			return true;
	return false;
}

/* ---- the loop ---- */

static void read_feeds(struct board *b, const struct pollfd *p)
{
	json_t *j;
	size_t n = b->n;

	for (size_t i = 0; i < n; i++) {
		struct watched *w = b->w[i];
		if (w->feed.ended || !p[i + 1].revents)
			continue;
		bool polled = true;
		while ((j = feed_next(&w->feed, &polled, &w->err))) {
			sample(w, j, b->trunc);
			json_decref(j);
		}
		if (w->feed.ended && b->live)
			w->e.invalid = true;
	}
	if (!b->listed || !b->live || b->events.ended || !p[0].revents)
		return;
	bool polled = true;
	while ((j = feed_next(&b->events, &polled, NULL))) {
		take_event(b, j);
		json_decref(j);
	}
}

static void wait_feeds(struct board *b, int timeout_ms)
{
	cs_autofree struct pollfd *p = cs_xcalloc(b->n + 1, sizeof(*p));

	p[0] = (struct pollfd){.fd = b->listed && b->live && !b->events.ended ? b->events.r.fd : -1, .events = POLLIN};
	for (size_t i = 0; i < b->n; i++)
		p[i + 1] = (struct pollfd){.fd = b->w[i]->feed.ended ? -1 : b->w[i]->feed.r.fd, .events = POLLIN};
	if (poll(p, (nfds_t)b->n + 1, timeout_ms) > 0)
		read_feeds(b, p);
}

/* What the engine refused of what was named: said, 1. A container that vanished from the list is no error. */
static int refused(const struct board *b)
{
	int status = 0;

	for (size_t i = 0; i < b->n && !b->listed; i++)
		if (b->w[i]->err) {
			status = cli_error(b->w[i]->err, 1);
			b->w[i]->err = NULL;
		}
	return status;
}

static int once(struct board *b)
{
	while (is_waiting(b))
		wait_feeds(b, -1);
	int status = refused(b);
	if (!status && (b->listed ? engine_broke(b) : !all_sampled(b)))
		return cli_fail(1, LOST);
	for (size_t i = 0; i < b->n && b->listed;) {
		if (b->w[i]->err)
			drop(b, b->w[i]->key);
		else
			i++;
	}
	return status ? status : draw(b);
}

static int live(struct board *b)
{
	int64_t start = cs_monotonic_ns(), next = start;
	int status = 0;

	while (is_waiting(b) && cs_monotonic_ns() - start < FIRST_SAMPLE_MS * (int64_t)1000000)
		wait_feeds(b, DRAW_EVERY_MS / 10);
	status = refused(b);
	while (!status) {
		int64_t now = cs_monotonic_ns();
		if (now >= next) {
			status = draw(b);
			next = now + DRAW_EVERY_MS * (int64_t)1000000;
			if (!status && all_ended(b))
				return b->listed || engine_broke(b) ? cli_fail(1, LOST) : 0;
		} else {
			wait_feeds(b, (int)((next - now + 999999) / 1000000));
		}
	}
	return status;
}

struct stats_opts {
	bool all, no_stream, no_trunc;
	const char *format;
};
static const struct flag stats_flags[] = {
	FLAG(struct stats_opts, all, "all", 'a', "Show all containers (default shows just running)"),
	FLAG(struct stats_opts, format, "format", 0, HELP_FORMAT_TABLE),
	FLAG(struct stats_opts, no_stream, "no-stream", 0, "Disable streaming stats and only pull the first result"),
	FLAG(struct stats_opts, no_trunc, "no-trunc", 0, "Do not truncate output"),
	FLAG_END,
};

static int cmd_stats(struct call *c)
{
	const struct stats_opts *o = c->opts;
	struct board b = {.format = stats_format(list_format(o->format, "statsFormat", false)), .all = o->all, .trunc = !o->no_trunc, .live = !o->no_stream};
	struct cs_err *err = NULL;
	int status;

	for (char **a = c->args; *a; a++)
		if (!find(&b, *a))
			watch(&b, *a);
	if (!*c->args && watch_list(&b, &err) < 0)
		status = cli_error(err, 1);
	else
		status = b.live ? live(&b) : once(&b);
	while (b.n)
		forget(b.w[--b.n]);
	free(b.w);
	if (b.listed && b.live)
		feed_done(&b.events);
	return status;
}

const struct command stats_commands[] = {
	{.names = "container stats|stats", .usage = "[OPTIONS] [CONTAINER...]", .help = "Display a live stream of container(s) resource usage statistics",
	 .min = 0, .max = ANY, .complete = COMP_RUNNING, CMD_OPTS(struct stats_opts, stats_flags), .run = cmd_stats},
	CMD_END,
};
