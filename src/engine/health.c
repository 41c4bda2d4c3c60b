/* SPDX-License-Identifier: Apache-2.0
 *
 * Health checks: a timer per container, a probe as a job that holds a thread only while it runs (never more than MAX_PROBES at once). State is
 * guarded by the container's lock; a probe that outlives its container's run is recognised by c->run. */
#include "engine/container.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include "base/id.h"
#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "base/num.h"
#include "base/path.h"
#include "base/time.h"
#include "engine/events.h"
#include "engine/loop.h"
#include "engine/network.h"
#include "engine/spec.h"

#define LOG_MAX 5
#define OUTPUT_MAX 4096
#define MAX_PROBES 32
#define SECOND CS_NS_PER_SEC
#define RESTART_LABEL "io.caisson.restart-unhealthy"

struct result {
	int64_t start, end;
	int exit_code;
	char *output;
};
struct cs_health {
	const char *status;
	int64_t streak;
	struct result log[LOG_MAX];
	size_t n;
	bool active;
	uint64_t timer; /* of the next probe, whose context is `due` until it is due */
	struct probe *due;
	/* as found on disk when the engine started */
	int64_t saved_run, saved_streak; /* the run by its start */
	const char *saved_status;
};
struct probe {
	struct cs_container *c; /* reference */
	unsigned run;
};
static atomic_int probes_running;

static const struct cs_health_config *config_of(struct cs_container *c)
{
	const struct cs_health_config *h = c->config->healthcheck;
	return h && h->test && h->test[0] && !cs_streq(h->test[0], "NONE") ? h : NULL;
}

static int64_t or_default(int64_t v, int64_t d) { return v > 0 ? v : d; }

const char *cs_health_status(struct cs_container *c) { return c->health ? c->health->status : "none"; }

int64_t cs_health_streak(struct cs_container *c) { return c->health ? c->health->streak : 0; }

void cs_health_json(struct cs_container *c, struct cs_str *out)
{
	struct cs_health *h = c->health;

	if (!h)
		return;
	cs_json_put_key(out, "Health");
	cs_str_putc(out, '{');
	cs_json_put_kstr(out, "Status", h->status);
	cs_json_put_ki64(out, "FailingStreak", h->streak);
	cs_json_put_key(out, "Log");
	cs_str_putc(out, '[');
	for (size_t i = 0; i < h->n; i++) {
		if (i)
			cs_str_putc(out, ',');
		cs_str_putc(out, '{');
		cs_json_put_ktime(out, "Start", h->log[i].start);
		cs_json_put_ktime(out, "End", h->log[i].end);
		cs_json_put_ki64(out, "ExitCode", h->log[i].exit_code);
		cs_json_put_kstr(out, "Output", h->log[i].output);
		cs_str_putc(out, '}');
	}
	cs_str_puts(out, "]}");
}

void cs_health_free(struct cs_health *h)
{
	for (size_t i = 0; h && i < h->n; i++)
		free(h->log[i].output);
	free(h);
}

/* ---- timing ---- */

static void probe_job(void *ctx);
static void probe_due(void *ctx)
{
	struct probe *p = ctx;
	cs_job(p->c->e->loop, probe_job, p);
}

static void probe_free(struct probe *p)
{
	cs_container_unref(p->c);
	free(p);
}

/* lock held */
static void schedule(struct cs_container *c, int64_t delay_ns)
{
	struct probe *p = cs_xcalloc(1, sizeof(*p));

	p->c = cs_container_ref(c);
	p->run = c->run;
	c->health->due = p;
	c->health->timer = cs_timer_set(c->e->loop, cs_monotonic_ns() + delay_ns, probe_due, p);
}

/* lock held: with intervals of hours the timer would keep what was removed long ago. One that has run is not ours to free. */
static void unschedule(struct cs_container *c)
{
	if (c->health && cs_timer_cancel(c->e->loop, c->health->timer))
		probe_free(c->health->due);
}

/* lock held: the pause before the next probe */
static int64_t next_delay(struct cs_container *c, const struct cs_health_config *cfg)
{
	bool starting = cs_streq(c->health->status, "starting") && cs_now_ns() - c->started_at < cfg->start_period;
	return starting ? or_default(cfg->start_interval, 5 * SECOND) : or_default(cfg->interval, 30 * SECOND);
}

/* ---- one probe ---- */

static char **command(struct cs_container *c, const struct cs_health_config *cfg)
{
	char **cmd = NULL;

	if (cs_streq(cfg->test[0], "CMD-SHELL")) {
		if (c->config->shell && c->config->shell[0]) {
			cmd = cs_strv_copy(c->config->shell);
		} else {
			cs_strv_push(&cmd, "/bin/sh");
			cs_strv_push(&cmd, "-c");
		}
	}
	for (char **p = cfg->test + 1; *p; p++)
		cs_strv_push(&cmd, *p);
	return cmd;
}

static int document(struct cs_container *c, const struct cs_health_config *cfg, const char *id, struct cs_str *out, struct cs_err **err)
{
	struct cs_exec_config x = {.attach_stdout = true, .attach_stderr = true};

	pthread_mutex_lock(&c->lock);
	struct cs_host_config *host = cs_host_config_copy(c->host);
	pthread_mutex_unlock(&c->lock);
	cs_autostrv char **cmd = command(c, cfg);
	x.cmd = cmd;
	cs_str_puts(out, "{");
	cs_json_put_kstr(out, "Id", id);
	cs_json_put_key(out, "OciProcess");
	cs_autostrv char **env = cs_links_env(c);
	struct cs_config config = *c->config; /* borrowed but for the environment */
	cs_autocontainer struct cs_container *owner CS_UNUSED = cs_net_names(c, &config);
	if (env)
		config.env = env;
	int r = cs_spec_exec_process(cs_engine_config(c->e), c->id, &config, host, &x, out, err);
	cs_host_config_free(host);
	cs_str_puts(out, ",\"EmulateConsole\":false,\"CreateStdInPipe\":false,\"CreateStdOutPipe\":true,\"CreateStdErrPipe\":true}");
	return r;
}

/* Strips the frames of the multiplexed stream in place. */
static void unframe(struct cs_str *raw, struct cs_str *out)
{
	const uint8_t *p = (const uint8_t *)raw->buf;

	for (size_t at = 0; at + 8 <= raw->len;) {
		size_t n = (size_t)p[at + 4] << 24 | (size_t)p[at + 5] << 16 | (size_t)p[at + 6] << 8 | p[at + 7];
		at += 8;
		n = CS_MIN(n, raw->len - at);
		cs_str_put(out, p + at, CS_MIN(n, OUTPUT_MAX - CS_MIN(out->len, (size_t)OUTPUT_MAX)));
		at += n;
	}
}

#define LOOK_MS 100 /* how often a probe that runs looks whether the engine is closing */

/* Reads until the end of output or the deadline; false when time is up, or the engine closes. */
static bool drain(struct cs_engine *e, int fd, struct cs_str *raw, int64_t deadline)
{
	char buf[4096];

	for (;;) {
		int64_t left = deadline - cs_monotonic_ns();
		struct pollfd p = {.fd = fd, .events = POLLIN};
		if (left <= 0 || atomic_load(&e->closing))
			return false;
		if (poll(&p, 1, (int)CS_MIN(left / CS_NS_PER_MS + 1, LOOK_MS)) <= 0)
			continue;
		ssize_t n = read(fd, buf, sizeof(buf));
		if (n <= 0)
			return true;
		if (raw->len < 4 * OUTPUT_MAX) /* the rest is read and dropped, so that the probe does not block */
			cs_str_put(raw, buf, (size_t)n);
	}
}

/* A probe is an exec like any other to those who watch. */
static void probe_event(struct cs_container *c, const struct cs_health_config *cfg, const char *verb, const char *id)
{
	cs_autostrv char **cmd = command(c, cfg);
	cs_autofree char *args = cs_strv_join(cmd + 1, " "), *action = cs_xasprintf("%s: %s %s", verb, cmd[0], args);

	cs_container_event(c, action, "execID", id, NULL);
}

/* Its output comes from *ret_fd. */
static int start_probe(struct cs_container *c, struct cs_system *s, const struct cs_health_config *cfg, const char *id, HCS_PROCESS *ret, int *ret_fd, struct cs_err **err)
{
	cs_autostr struct cs_str doc = CS_STR_INIT(CS_SPEC_MAX);
	HCS_PROCESS p = NULL;
	int sv[2];

	if (document(c, cfg, id, &doc, err) < 0)
		return -1;
	probe_event(c, cfg, "exec_create", id);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "socketpair");
	cs_autofd int mine = sv[0];
	probe_event(c, cfg, "exec_start", id);
	HCS_OPERATION op = HcsCreateOperation(NULL, NULL);
	HRESULT hr = op ? HcsAddResourceToOperation(op, HcsResourceTypeSocket, "hcs:/Process/Stdio", sv[1]) : HCS_E_OUTOFMEMORY;
	if (hr == HCS_S_OK)
		hr = HcsCreateProcess(s->h, doc.buf, op, NULL, &p);
	if (cs_hcs_finish(op, hr, CS_HCS_TIMEOUT_MS, NULL, err) < 0) {
		if (p)
			HcsCloseProcess(p);
		return -1;
	}
	*ret = p;
	*ret_fd = TAKE_FD(mine);
	return 0;
}

static void end_probe(HCS_PROCESS p, int64_t timeout, struct cs_str *raw, struct cs_str *text)
{
	HCS_OPERATION kill = HcsCreateOperation(NULL, NULL);

	if (cs_hcs_finish(kill, kill ? HcsTerminateProcess(p, kill, NULL) : HCS_E_OUTOFMEMORY, 5000, NULL, NULL) == 0)
		(void)HcsWaitForProcessExit(p, 5000, NULL);
	if (timeout % SECOND == 0)
		cs_str_putf(text, "Health check exceeded timeout (%llds)", timeout / SECOND);
	else
		cs_str_putf(text, "Health check exceeded timeout (%lldms)", timeout / CS_NS_PER_MS);
	if (raw->len) {
		cs_str_puts(text, ": ");
		unframe(raw, text);
	}
}

static int run_probe(struct cs_container *c, struct cs_system *s, const struct cs_health_config *cfg, struct result *res, struct cs_err **err)
{
	cs_autostr struct cs_str raw = CS_STR_INIT(8 * OUTPUT_MAX), text = CS_STR_INIT(2 * OUTPUT_MAX);
	int64_t timeout = or_default(cfg->timeout, 30 * SECOND), deadline = cs_monotonic_ns() + timeout;
	char id[CS_ID_LEN + 1];
	char *status = NULL;
	cs_autofd int mine = -EBADF;
	HCS_PROCESS p = NULL;

	cs_id_new(id);
	if (start_probe(c, s, cfg, id, &p, &mine, err) < 0)
		return -1;
	bool ended = drain(c->e, mine, &raw, deadline);
	if (!ended && atomic_load(&c->e->closing)) { /* the next engine finds it, and lets it go */
		HcsCloseProcess(p);
		return cs_fail(err, CS_ERR_UNAVAILABLE, 0, "the engine is closing");
	}
	int64_t left = CS_MAX((deadline - cs_monotonic_ns()) / CS_NS_PER_MS, 0);
	ended = ended && HcsWaitForProcessExit(p, (uint32_t)left, &status) == HCS_S_OK;
	if (ended) {
		cs_autojson json_t *j = status ? cs_json_parse(status, strlen(status), NULL) : NULL;
		res->exit_code = (int)json_integer_value(json_object_get(j, "ExitCode"));
		unframe(&raw, &text);
	} else {
		end_probe(p, timeout, &raw, &text);
		res->exit_code = -1;
	}
	HcsFree(status);
	char code[16];
	(void)snprintf(code, sizeof(code), "%d", ended ? res->exit_code : 137);
	cs_container_event(c, "exec_die", "execID", id, "exitCode", code, NULL);
	/* also of what SIGKILL has not ended yet, in a frozen container for example */
	if (cs_hcs_modify_process(p, "{\"Operation\":\"Release\"}", NULL, -1, NULL) < 0)
		cs_debug("engine", "probe %s not released", id);
	HcsCloseProcess(p);
	res->output = cs_str_steal(&text);
	return 0;
}

/* lock held; takes res->output. True when the status changed. */
static bool record(struct cs_container *c, const struct cs_health_config *cfg, const struct result *res)
{
	struct cs_health *h = c->health;
	const char *before = h->status;

	if (res->exit_code == 0) {
		h->streak = 0;
		h->status = "healthy";
	} else if (!cs_streq(h->status, "starting") || res->start - c->started_at >= cfg->start_period) {
		if (++h->streak >= or_default(cfg->retries, 3))
			h->status = "unhealthy";
	}
	if (h->n == LOG_MAX) {
		free(h->log[0].output);
		memmove(h->log, h->log + 1, (LOG_MAX - 1) * sizeof(h->log[0]));
		h->n--;
	}
	h->log[h->n++] = *res;
	return !cs_streq(before, h->status);
}

/* ---- across a restart of the engine ---- */

static const char *const statuses[] = {"starting", "healthy", "unhealthy"};

#define FILE_MAX (LOG_MAX * (6 * OUTPUT_MAX + 256) + 256)

static void put_result(struct cs_str *out, const struct result *r)
{
	cs_str_putc(out, '{');
	cs_json_put_ki64(out, "Start", r->start);
	cs_json_put_ki64(out, "End", r->end);
	cs_json_put_ki64(out, "ExitCode", r->exit_code);
	cs_json_put_kstr(out, "Output", r->output ? r->output : "");
	cs_str_puts(out, "}\n");
}

/* In the container's directory: a line of which run, its status, its streak, and a line per result. It is a cache: losing it costs a repeated
 * transition and the results. */
static void remember(struct cs_container *c)
{
	cs_autofree char *path = cs_path_join(c->dir, "health");
	cs_autostr struct cs_str out = CS_STR_INIT(FILE_MAX);

	pthread_mutex_lock(&c->lock);
	struct cs_health *h = c->health;
	cs_str_putf(&out, "%lld %s %lld\n", (long long)c->started_at, h->status, (long long)h->streak);
	for (size_t i = 0; i < h->n; i++)
		put_result(&out, &h->log[i]);
	pthread_mutex_unlock(&c->lock);
	if (out.failed || cs_replace_file_at(AT_FDCWD, path, out.buf, out.len, 0600, false) < 0)
		cs_logk(CS_LOG_DEBUG, "engine", "container", c->id, "the health status is not kept for a restart of the engine");
}

static bool read_status(struct cs_health *h, char *line)
{
	cs_autostrv char **word = cs_strv_split(line, ' ');

	if (cs_strv_len(word) != 3 || !cs_parse_i64(word[0], INT64_MIN, INT64_MAX, &h->saved_run) ||
	    !cs_parse_i64(word[2], 0, INT64_MAX, &h->saved_streak))
		return false;
	for (size_t i = 0; i < CS_ARRAY_SIZE(statuses); i++)
		if (strcmp(word[1], statuses[i]) == 0)
			h->saved_status = statuses[i];
	return h->saved_status;
}

static void read_result(struct cs_health *h, const char *line)
{
	cs_autojson json_t *j = cs_json_parse(line, strlen(line), NULL);
	const char *output = json_string_value(json_object_get(j, "Output"));

	if (output && h->n < LOG_MAX)
		h->log[h->n++] = (struct result){.start = json_integer_value(json_object_get(j, "Start")), .end = json_integer_value(json_object_get(j, "End")),
						 .exit_code = (int)json_integer_value(json_object_get(j, "ExitCode")), .output = cs_xstrdup(output)};
}

void cs_health_load(struct cs_container *c)
{
	cs_autofree char *path = cs_path_join(c->dir, "health");
	cs_autostr struct cs_str s = CS_STR_INIT(FILE_MAX);

	if (!config_of(c) || cs_read_file_at(AT_FDCWD, path, &s) < 0 || !s.buf)
		return;
	cs_autostrv char **line = cs_strv_split(s.buf, '\n');
	struct cs_health *h = cs_xcalloc(1, sizeof(*h));
	if (!line || !line[0] || !read_status(h, line[0])) {
		cs_health_free(h);
		return;
	}
	for (char **p = line + 1; *p; p++)
		read_result(h, *p);
	h->status = "unhealthy"; /* as after every end; who runs is adopted */
	h->streak = h->saved_streak;
	CS_GUARD(&c->lock);
	cs_health_free(c->health);
	c->health = h;
}

static void restart_unhealthy(struct cs_container *c)
{
	cs_autoerr struct cs_err *err = NULL;

	pthread_mutex_lock(&c->lock);
	const char *policy = c->host->restart_policy.name;
	bool go = cs_streq(cs_strmap_get(c->config->labels, RESTART_LABEL), "true") && !cs_empty(policy) && !cs_streq(policy, "no") && !c->stopping;
	if (go)
		c->unhealthy_stop = true;
	pthread_mutex_unlock(&c->lock);
	if (!go)
		return;
	cs_logk(CS_LOG_INFO, "engine", "container", c->id, "unhealthy: restarting");
	if (cs_container_stop_obj(c, NULL, CS_STOP_DEFAULT, false, &err) < 0 && cs_err_code(err) != CS_ERR_NOT_MODIFIED) {
		cs_autofree char *text = cs_err_text(err);
		cs_logk(CS_LOG_WARN, "engine", "container", c->id, "unhealthy: %s", text);
	}
}

static void probe_job(void *ctx)
{
	struct probe *p = ctx;
	struct cs_container *c = p->c;
	const struct cs_health_config *cfg = config_of(c);
	struct result res = {.start = cs_now_ns(), .exit_code = -1};
	cs_autoerr struct cs_err *err = NULL;
	bool changed = false, unhealthy = false, recorded = false;

	pthread_mutex_lock(&c->lock);
	bool mine = cfg && c->health && c->health->active && c->run == p->run && c->status == CS_ST_RUNNING;
	bool later = mine && (c->paused || atomic_load(&probes_running) >= MAX_PROBES);
	if (later)
		schedule(c, c->paused ? or_default(cfg->interval, 30 * SECOND) : 100 * CS_NS_PER_MS);
	pthread_mutex_unlock(&c->lock);
	if (!mine || later)
		return probe_free(p);

	cs_autosystem struct cs_system *s = cs_container_system(c);
	atomic_fetch_add(&probes_running, 1);
	if (s && run_probe(c, s, cfg, &res, &err) < 0)
		res.output = cs_err_text(err);
	atomic_fetch_sub(&probes_running, 1);
	res.end = cs_now_ns();
	pthread_mutex_lock(&c->lock);
	if (s && c->health->active && c->run == p->run && c->status == CS_ST_RUNNING && !atomic_load(&c->e->closing)) {
		changed = record(c, cfg, &res);
		res.output = NULL;
		unhealthy = changed && cs_streq(c->health->status, "unhealthy");
		schedule(c, next_delay(c, cfg));
		recorded = true;
	}
	const char *status = c->health->status;
	pthread_mutex_unlock(&c->lock);
	free(res.output);
	if (recorded)
		remember(c);
	if (changed) {
		cs_autofree char *action = cs_xasprintf("health_status: %s", status);
		cs_container_event(c, action, NULL);
	}
	if (unhealthy)
		restart_unhealthy(c);
	probe_free(p);
}

/* ---- life ---- */

void cs_health_start(struct cs_container *c, bool adopted)
{
	const struct cs_health_config *cfg = config_of(c);

	if (!cfg)
		return;
	CS_GUARD(&c->lock);
	if (!c->health)
		c->health = cs_xcalloc(1, sizeof(*c->health));
	c->health->status = "starting";
	c->health->streak = 0;
	c->health->active = true;
	struct cs_health *h = c->health;
	if (adopted && h->saved_status && h->saved_run == c->started_at) { /* what it was is no news: only a change is */
		h->status = h->saved_status;
		h->streak = h->saved_streak;
	}
	schedule(c, next_delay(c, cfg));
}

void cs_health_stop(struct cs_container *c)
{
	CS_GUARD(&c->lock);
	if (!c->health)
		return;
	c->health->active = false;
	unschedule(c);
	c->health->status = "unhealthy"; /* as dockerd: nothing that does not run is healthy */
}

void cs_health_forget(struct cs_container *c)
{
	CS_GUARD(&c->lock);
	unschedule(c);
}
