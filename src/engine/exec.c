/* SPDX-License-Identifier: Apache-2.0
 *
 * Execs: created, started (the client's socket goes to the worker), exited, dropped. Rows exist so that inspect answers after a restart of
 * the engine. e->execs (all, by id) is guarded by maps_lock, an exec's fields and its container's list by the container's lock. */
#include "engine/container.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>

#include "base/base64.h"
#include "base/id.h"
#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "base/time.h"
#include "engine/events.h"
#include "engine/loop.h"
#include "engine/network.h"
#include "engine/spec.h"
#include "engine/store.h"
#include "engine/validate.h"

#define KEEP_EXITED_NS (300 * CS_NS_PER_SEC)
#define MAX_EXITED 64 /* per container */
#define START_WAIT_S 2

struct cs_exec {
	char id[CS_ID_LEN + 1];
	atomic_int refs;
	UT_hash_handle hh;
	struct cs_container *c; /* reference */
	struct cs_exec *next;   /* c->execs, newest first */
	struct cs_exec_config *cfg;
	bool starting, running, exited, dropped;
	int pid, exit_code;
	int64_t created, exited_at;
	HCS_PROCESS process;
	uint64_t drop_timer; /* holds a reference; c->lock */
};
struct cs_exec_start {
	struct cs_exec *x;
	struct cs_exec_start_request req;
	uint16_t rows, cols;
	bool done;
};

static void exec_unref(struct cs_exec *x)
{
	if (!x || atomic_fetch_sub(&x->refs, 1) != 1)
		return;
	if (x->process)
		HcsCloseProcess(x->process);
	cs_exec_config_free(x->cfg);
	cs_container_unref(x->c);
	free(x);
}
static void cs_autoexec_done(struct cs_exec **x) { exec_unref(*x); }
#define cs_autoexec cs_auto(cs_autoexec_done)

static void save(struct cs_exec *x)
{
	cs_autostr struct cs_str json = CS_STR_INIT(8 << 20);
	cs_autoerr struct cs_err *err = NULL;

	CS_GUARD(&x->c->save_lock);
	pthread_mutex_lock(&x->c->lock);
	struct cs_store_exec row = {.id = x->id, .container = x->c->id, .started = x->running, .exited = x->exited, .pid = x->pid,
				    .exit_code = x->exit_code, .created = x->created, .exited_at = x->exited_at};
	bool dropped = x->dropped;
	pthread_mutex_unlock(&x->c->lock);
	cs_json_encode(&cs_exec_config_type, x->cfg, 0, &json);
	row.config = json.buf;
	if (dropped || json.failed)
		return;
	if (cs_store_exec_put(x->c->e->store, &row, &err) < 0) {
		cs_autofree char *text = cs_err_text(err);
		cs_logk(CS_LOG_ERROR, "engine", "container", x->c->id, "cannot record an exec: %s", text);
	}
}

static void add(struct cs_exec *x) /* maps_lock held for writing, and the container's lock */
{
	HASH_ADD_STR(x->c->e->execs, id, x);
	x->next = x->c->execs;
	x->c->execs = x;
}

static int get(struct cs_engine *e, const char *id, struct cs_exec **ret, struct cs_err **err)
{
	struct cs_exec *x = NULL;

	pthread_rwlock_rdlock(&e->maps_lock);
	HASH_FIND_STR(e->execs, id, x);
	if (x)
		atomic_fetch_add(&x->refs, 1);
	pthread_rwlock_unlock(&e->maps_lock);
	if (!x)
		return cs_fail(err, CS_ERR_NOT_FOUND, 0, "No such exec instance: %s", id);
	*ret = x;
	return 0;
}

/* Out of the tables and the store. */
static void drop(struct cs_exec *x)
{
	struct cs_engine *e = x->c->e;
	bool mine;

	pthread_rwlock_wrlock(&e->maps_lock);
	pthread_mutex_lock(&x->c->lock);
	mine = !x->dropped;
	x->dropped = true;
	uint64_t timer = x->drop_timer;
	if (mine) {
		HASH_DEL(e->execs, x);
		for (struct cs_exec **p = &x->c->execs; *p; p = &(*p)->next)
			if (*p == x) {
				*p = x->next;
				break;
			}
	}
	pthread_mutex_unlock(&x->c->lock);
	pthread_rwlock_unlock(&e->maps_lock);
	if (!mine)
		return;
	if (cs_timer_cancel(e->loop, timer)) /* a removed container is not to stay in memory until it is due */
		exec_unref(x);
	pthread_mutex_lock(&x->c->save_lock); /* after a save that was under way */
	if (cs_store_exec_delete(e->store, x->id, NULL) < 0)
		cs_logk(CS_LOG_WARN, "engine", "exec", x->id, "cannot delete the row of an exec");
	pthread_mutex_unlock(&x->c->save_lock);
	exec_unref(x); /* the table's */
}

static void drop_job(void *ctx)
{
	struct cs_exec *x = ctx;
	drop(x);
	exec_unref(x);
}

static void drop_due(void *ctx)
{
	struct cs_exec *x = ctx;
	cs_job(x->c->e->loop, drop_job, x);
}

/* An exec can be inspected for some minutes after its end, as long as its container runs. */
static void keep_a_while(struct cs_exec *x)
{
	pthread_mutex_lock(&x->c->lock);
	if (!x->dropped && !x->drop_timer) {
		atomic_fetch_add(&x->refs, 1);
		x->drop_timer = cs_timer_set(x->c->e->loop, cs_monotonic_ns() + KEEP_EXITED_NS, drop_due, x);
	}
	pthread_mutex_unlock(&x->c->lock);
}

/* ---- create ---- */

/* "entrypoint arguments": the blank between is there without arguments, too, as dockerd has it. */
static char *command_line(const struct cs_exec_config *cfg)
{
	cs_autofree char *args = cs_strv_join(cfg->cmd + 1, " ");
	return cs_xasprintf("%s %s", cfg->cmd[0], args);
}

static void exec_event(struct cs_exec *x, const char *what)
{
	cs_autofree char *cmd = command_line(x->cfg), *action = cs_xasprintf("%s: %s", what, cmd);
	cs_container_event(x->c, action, "execID", x->id, NULL);
}

static int must_run(struct cs_container *c, const char *ref, struct cs_err **err) /* lock held */
{
	if (c->status == CS_ST_RESTARTING)
		return cs_fail(err, CS_ERR_CONFLICT, 0, "container %s is restarting, wait until the container is running", c->id);
	if (c->status != CS_ST_RUNNING)
		return cs_fail(err, CS_ERR_CONFLICT, 0, "container %s is not running", c->id);
	if (c->paused)
		return cs_fail(err, CS_ERR_CONFLICT, 0, "container %s is paused, unpause the container before exec", ref);
	return 0;
}

int cs_exec_create(struct cs_engine *e, const char *ref, const struct cs_exec_config *cfg, char **ret_id, struct cs_err **err)
{
	cs_autocontainer struct cs_container *c = NULL;

	if (cs_container_get(e, ref, &c, err) < 0 || cs_validate_exec(cfg, err) < 0)
		return -1;
	cs_autoexec struct cs_exec *x = cs_xcalloc(1, sizeof(*x));
	atomic_init(&x->refs, 1);
	cs_id_new(x->id);
	x->cfg = cs_exec_config_copy(cfg);
	x->created = cs_now_ns();
	x->c = cs_container_ref(c);
	pthread_rwlock_wrlock(&e->maps_lock);
	pthread_mutex_lock(&c->lock);
	int r = must_run(c, ref, err); /* and is in its list when it ends */
	if (r == 0) {
		atomic_fetch_add(&x->refs, 1); /* the tables' */
		add(x);
	}
	pthread_mutex_unlock(&c->lock);
	pthread_rwlock_unlock(&e->maps_lock);
	if (r < 0)
		return -1;
	save(x);
	exec_event(x, "exec_create");
	*ret_id = cs_xstrdup(x->id);
	return 0;
}

/* ---- start ---- */

int cs_exec_start_prepare(struct cs_engine *e, const char *id, const struct cs_exec_start_request *req, struct cs_exec_start **ret, struct cs_err **err)
{
	cs_autoexec struct cs_exec *x = NULL;
	uint16_t rows = 0, cols = 0;

	if (get(e, id, &x, err) < 0)
		return -1;
	if (cs_console_size_parse(req->console_size ? req->console_size : x->cfg->console_size, "ConsoleSize", &rows, &cols, err) < 0)
		return -1;
	CS_GUARD(&x->c->lock);
	if (must_run(x->c, x->c->id, err) < 0)
		return -1;
	if (x->exited)
		return cs_fail(err, CS_ERR_CONFLICT, 0, "exec command %s has already run", x->id);
	if (x->running || x->starting)
		return cs_fail(err, CS_ERR_CONFLICT, 0, "exec command %s is already running", x->id);
	x->starting = true;
	struct cs_exec_start *s = cs_xcalloc(1, sizeof(*s));
	s->req = *req;
	s->req.console_size = NULL;
	s->rows = rows;
	s->cols = cols;
	s->x = TAKE_PTR(x);
	*ret = s;
	return 0;
}

bool cs_exec_start_raw(const struct cs_exec_start *s) { return s->req.tty; }

void cs_exec_start_free(struct cs_exec_start *s)
{
	if (!s)
		return;
	pthread_mutex_lock(&s->x->c->lock);
	s->x->starting = false;
	pthread_cond_broadcast(&s->x->c->changed);
	pthread_mutex_unlock(&s->x->c->lock);
	exec_unref(s->x);
	free(s);
}

static int process_document(struct cs_exec_start *s, bool client, const void *input, size_t input_len, struct cs_str *out, struct cs_err **err)
{
	struct cs_exec *x = s->x;
	struct cs_container *c = x->c;
	uint8_t keys[CS_DETACH_KEYS_MAX] = {16, 17};
	size_t n = 2;

	if (!cs_empty(x->cfg->detach_keys) && cs_detach_keys_parse(x->cfg->detach_keys, keys, &n, err) < 0)
		return -1;
	cs_str_putc(out, '{');
	cs_json_put_kstr(out, "Id", x->id);
	cs_json_put_key(out, "OciProcess");
	pthread_mutex_lock(&c->lock);
	struct cs_host_config *host = cs_host_config_copy(c->host);
	pthread_mutex_unlock(&c->lock);
	cs_autostrv char **env = cs_links_env(c);
	struct cs_config config = *c->config; /* borrowed but for the environment */
	cs_autocontainer struct cs_container *owner CS_UNUSED = cs_net_names(c, &config);
	if (env)
		config.env = env;
	int r = cs_spec_exec_process(cs_engine_config(c->e), c->id, &config, host, x->cfg, out, err);
	cs_host_config_free(host);
	if (r < 0)
		return -1;
	cs_json_put_kbool(out, "EmulateConsole", x->cfg->tty);
	if (s->rows || s->cols)
		cs_str_putf(out, ",\"ConsoleSize\":[%u,%u]", s->rows, s->cols);
	cs_json_put_kbool(out, "CreateStdInPipe", client && x->cfg->attach_stdin);
	cs_json_put_kbool(out, "CreateStdOutPipe", client && x->cfg->attach_stdout);
	cs_json_put_kbool(out, "CreateStdErrPipe", client && x->cfg->attach_stderr && !(s->req.tty && !x->cfg->tty)); /* there is one raw stream */
	cs_json_put_kbool(out, "Framed", !s->req.tty);
	cs_str_puts(out, ",\"DetachKeys\":\"");
	for (size_t i = 0; i < n; i++)
		cs_str_putf(out, i ? ",%u" : "%u", keys[i]);
	cs_str_putc(out, '"');
	if (input_len && client) {
		cs_autofree char *b64 = cs_base64_encode(input, input_len, false);
		cs_json_put_kstr(out, "InitialInput", b64);
	}
	cs_str_putc(out, '}');
	return out->failed ? cs_fail(err, CS_ERR_INVALID, 0, "the exec's configuration is too large") : 0;
}

static void told_exit(struct cs_container *c, unsigned run, const char *status);

static void process_event(const HCS_EVENT *event, void *context)
{
	struct cs_container *c = ((struct cs_exec *)context)->c;
	if (event->Type == HcsEventProcessExited)
		cs_container_told(c, told_exit, 0, event->EventData);
}

/* dockerd writes the failure into the upgraded connection, framed as stdout. */
static void tell_client(int fd, bool raw, const char *text)
{
	cs_autofree char *line = cs_xasprintf("%s\r\n", text);
	size_t n = strlen(line);
	uint8_t head[8] = {1, 0, 0, 0, (uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n};

	if (!raw && send(fd, head, sizeof(head), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		return;
	(void)!send(fd, line, n, MSG_NOSIGNAL | MSG_DONTWAIT);
	(void)shutdown(fd, SHUT_WR);
}

static int exec_failed(struct cs_exec *x, struct cs_err *why, int client, bool raw, struct cs_err **err)
{
	enum cs_code code = cs_err_code(why);
	cs_autofree char *text = cs_err_text(why);

	pthread_mutex_lock(&x->c->lock);
	x->starting = x->running = false;
	x->exited = true;
	x->exit_code = code == CS_ERR_EXEC_NOT_FOUND ? 127 : 126;
	x->exited_at = cs_now_ns();
	pthread_cond_broadcast(&x->c->changed);
	pthread_mutex_unlock(&x->c->lock);
	save(x);
	keep_a_while(x);
	if (client >= 0)
		tell_client(client, raw, text);
	return cs_err_move(err, why);
}

/* Makes the worker forget a process, at its end if it runs, and closes the handle. */
static void release_process(HCS_PROCESS p, const char *id)
{
	if (cs_hcs_modify_process(p, "{\"Operation\":\"Release\"}", NULL, -1, NULL) < 0)
		cs_logk(CS_LOG_DEBUG, "engine", "exec", id, "not released");
	HcsCloseProcess(p);
}

int cs_exec_start_run(struct cs_exec_start *s, int fd, const void *input, size_t input_len, struct cs_err **err)
{
	cs_autostr struct cs_str doc = CS_STR_INIT(CS_SPEC_MAX);
	cs_autoexec struct cs_exec *x = s->x;
	cs_autofree struct cs_exec_start *holder = s;
	cs_autofd int client = fd;
	cs_autosystem struct cs_system *sys = cs_container_system(x->c);
	struct cs_err *inner = NULL;
	HCS_PROCESS p = NULL;
	HCS_PROCESS_INFORMATION info = {.StdInput = -1, .StdOutput = -1, .StdError = -1};
	char *result = NULL;

	if (!sys) {
		(void)cs_fail(&inner, CS_ERR_CONFLICT, 0, "container %s is not running", x->c->id);
		return exec_failed(x, inner, client, s->req.tty, err);
	}
	if (process_document(s, client >= 0, input, input_len, &doc, &inner) < 0)
		return exec_failed(x, inner, client, s->req.tty, err);
	exec_event(x, "exec_start");
	HCS_OPERATION op = HcsCreateOperation(NULL, NULL);
	HRESULT hr = op ? HCS_S_OK : HCS_E_OUTOFMEMORY;
	if (op && client >= 0) {
		int copy = fcntl(client, F_DUPFD_CLOEXEC, 3); /* ours stays for the text of a failure */
		hr = copy < 0 ? HCS_E_FAIL : HcsAddResourceToOperation(op, HcsResourceTypeSocket, "hcs:/Process/Stdio", copy);
	}
	if (hr == HCS_S_OK)
		hr = HcsCreateProcess(sys->h, doc.buf, op, NULL, &p);
	if (hr == HCS_S_OK && HcsWaitForOperationResultAndProcessInfo(op, CS_HCS_TIMEOUT_MS, &info, NULL) == HCS_S_OK) {
		cs_close(info.StdInput);
		cs_close(info.StdOutput);
		cs_close(info.StdError);
	}
	if (cs_hcs_finish(op, hr, CS_HCS_TIMEOUT_MS, &result, &inner) < 0) {
		if (p)
			HcsCloseProcess(p);
		(void)cs_hcs_unknown_user(inner);
		return exec_failed(x, inner, client, s->req.tty, err);
	}
	HcsFree(result);
	pthread_mutex_lock(&x->c->lock);
	x->starting = false;
	x->running = true;
	x->pid = (int)info.ProcessId;
	pthread_cond_broadcast(&x->c->changed);
	pthread_mutex_unlock(&x->c->lock);
	save(x);
	(void)HcsSetProcessCallback(p, HcsEventOptionNone, x, process_event); /* delivers an exit that came already */
	/* Shared only now: whoever handles the exit closes the handle it finds, which may be sooner than we are done with it. */
	pthread_mutex_lock(&x->c->lock);
	bool gone = x->exited;
	if (!gone)
		x->process = p;
	pthread_mutex_unlock(&x->c->lock);
	if (gone)
		release_process(p, x->id);
	return 0;
}

/* ---- exit ---- */

static void limit_exited(struct cs_container *c)
{
	struct cs_exec *oldest = NULL;
	size_t n = 0;

	pthread_mutex_lock(&c->lock);
	for (struct cs_exec *x = c->execs; x; x = x->next)
		if (x->exited) {
			n++;
			oldest = x;
		}
	if (n > MAX_EXITED)
		atomic_fetch_add(&oldest->refs, 1);
	pthread_mutex_unlock(&c->lock);
	if (n > MAX_EXITED) {
		drop(oldest);
		exec_unref(oldest);
	}
}

static void exited(struct cs_container *c, json_t *j)
{
	const char *id = json_string_value(json_object_get(j, "Id"));
	int code = (int)json_integer_value(json_object_get(j, "ExitCode"));
	cs_autoexec struct cs_exec *x = NULL;
	char num[16];

	if (!id || !json_is_true(json_object_get(j, "Exited")))
		return;
	if (get(c->e, id, &x, NULL) < 0)
		return;
	pthread_mutex_lock(&c->lock);
	bool first = !x->exited;
	x->exited = true;
	x->running = x->starting = false;
	x->exit_code = code;
	x->exited_at = json_integer_value(json_object_get(j, "ExitedAt"));
	HCS_PROCESS p = x->process;
	x->process = NULL;
	pthread_mutex_unlock(&c->lock);
	if (p)
		release_process(p, id);
	if (!first)
		return;
	save(x);
	(void)snprintf(num, sizeof(num), "%d", code);
	cs_container_event(c, "exec_die", "execID", id, "exitCode", num, NULL);
	keep_a_while(x);
	limit_exited(c);
}

static void told_exit(struct cs_container *c, unsigned run, const char *text)
{
	cs_autojson json_t *status = text ? cs_json_parse(text, strlen(text), NULL) : NULL;

	if (status)
		exited(c, status);
}

void cs_execs_container_stopped(struct cs_container *c)
{
	for (;;) {
		pthread_mutex_lock(&c->lock);
		struct cs_exec *x = c->execs;
		HCS_PROCESS p = NULL;
		if (x) {
			atomic_fetch_add(&x->refs, 1);
			p = x->process;
			x->process = NULL;
		}
		pthread_mutex_unlock(&c->lock);
		if (!x)
			return;
		if (p)
			HcsCloseProcess(p);
		drop(x);
		exec_unref(x);
	}
}

/* What ran has been killed with its container; its code can be asked for a while. What was never started goes. */
void cs_execs_container_exited(struct cs_container *c)
{
	cs_autostrv char **running = NULL, **idle = NULL;

	pthread_mutex_lock(&c->lock);
	for (struct cs_exec *x = c->execs; x; x = x->next)
		if (!x->exited)
			cs_strv_push(x->running ? &running : &idle, x->id);
	pthread_mutex_unlock(&c->lock);
	for (char **id = running; id && *id; id++) {
		cs_autojson json_t *j = json_pack("{s:s,s:b,s:i,s:I}", "Id", *id, "Exited", 1, "ExitCode", 128 + SIGKILL, "ExitedAt", (json_int_t)cs_now_ns());
		exited(c, j);
	}
	for (char **id = idle; id && *id; id++) {
		cs_autoexec struct cs_exec *x = NULL;
		if (get(c->e, *id, &x, NULL) < 0)
			continue;
		pthread_mutex_lock(&c->lock);
		bool starting = x->starting; /* its starter finds that the container has gone */
		pthread_mutex_unlock(&c->lock);
		if (!starting)
			drop(x);
	}
}

/* ---- inspect, resize ---- */

/* c->lock held. A short program has ended, or its first output has reached the client, before its start has been noted. */
static void await_start(struct cs_exec *x)
{
	struct timespec until;

	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += START_WAIT_S;
	while (x->starting && pthread_cond_timedwait(&x->c->changed, &x->c->lock, &until) == 0)
		;
}

/* Clients ask for the exit code the moment their stream has ended: whether a process that looks alive still is, only its worker knows. */
static void refresh(struct cs_exec *x)
{
	cs_autosystem struct cs_system *s = cs_container_system(x->c);
	HCS_PROCESS p = NULL;
	char *doc = NULL;

	pthread_mutex_lock(&x->c->lock);
	await_start(x);
	int pid = s && x->running && !x->exited ? x->pid : 0;
	pthread_mutex_unlock(&x->c->lock);
	if (!pid || HcsOpenProcess(s->h, (uint32_t)pid, 0, &p) != HCS_S_OK)
		return;
	int r = cs_hcs_process_properties(p, &doc, NULL);
	HcsCloseProcess(p);
	if (r < 0)
		return;
	cs_autojson json_t *status = cs_json_parse(doc, strlen(doc), NULL);
	HcsFree(doc);
	if (cs_streq(json_string_value(json_object_get(status, "Id")), x->id))
		exited(x->c, status); /* nothing, unless it has */
}

int cs_exec_inspect(struct cs_engine *e, const char *id, int api, struct cs_str *out, struct cs_err **err)
{
	cs_autoexec struct cs_exec *x = NULL;

	(void)api;
	if (get(e, id, &x, err) < 0)
		return -1;
	refresh(x);
	CS_GUARD(&x->c->lock);
	cs_str_putc(out, '{');
	cs_json_put_kstr(out, "ID", x->id);
	cs_json_put_kbool(out, "Running", x->running);
	cs_json_put_key(out, "ExitCode");
	if (x->exited)
		cs_str_put_i64(out, x->exit_code);
	else
		cs_str_puts(out, "null");
	cs_json_put_key(out, "ProcessConfig");
	cs_str_putc(out, '{');
	cs_json_put_kbool(out, "tty", x->cfg->tty);
	cs_json_put_kstr(out, "entrypoint", x->cfg->cmd ? x->cfg->cmd[0] : "");
	cs_json_put_key(out, "arguments");
	if (x->cfg->cmd && x->cfg->cmd[0] && x->cfg->cmd[1])
		cs_json_put_strv(out, x->cfg->cmd + 1);
	else
		cs_str_puts(out, "[]");
	cs_json_put_kbool(out, "privileged", x->cfg->privileged);
	if (!cs_empty(x->cfg->user))
		cs_json_put_kstr(out, "user", x->cfg->user);
	cs_str_putc(out, '}');
	cs_json_put_kbool(out, "OpenStdin", x->cfg->attach_stdin);
	cs_json_put_kbool(out, "OpenStderr", x->cfg->attach_stderr);
	cs_json_put_kbool(out, "OpenStdout", x->cfg->attach_stdout);
	cs_json_put_kbool(out, "CanRemove", x->exited);
	cs_json_put_kstr(out, "ContainerID", x->c->id);
	cs_json_put_kstr(out, "DetachKeys", "");
	cs_json_put_ki64(out, "Pid", x->pid);
	cs_str_putc(out, '}');
	return 0;
}

int cs_exec_resize(struct cs_engine *e, const char *id, uint16_t rows, uint16_t cols, struct cs_err **err)
{
	cs_autoexec struct cs_exec *x = NULL;
	HCS_PROCESS p = NULL;
	char doc[128];

	if (get(e, id, &x, err) < 0)
		return -1;
	cs_autosystem struct cs_system *s = cs_container_system(x->c);
	pthread_mutex_lock(&x->c->lock);
	await_start(x);
	bool running = x->running && s;
	int pid = x->pid;
	pthread_mutex_unlock(&x->c->lock);
	if (!running)
		return cs_fail(err, CS_ERR_CONFLICT, 0, "exec process is not started");
	/* a handle of our own: the exec's may be closed by its exit meanwhile */
	if (HcsOpenProcess(s->h, (uint32_t)pid, 0, &p) != HCS_S_OK)
		return cs_fail(err, CS_ERR_CONFLICT, 0, "exec process is not running");
	(void)snprintf(doc, sizeof(doc), "{\"Operation\":\"ConsoleSize\",\"ConsoleSize\":{\"Height\":%u,\"Width\":%u}}", rows, cols);
	int r = x->cfg->tty ? cs_hcs_modify_process(p, doc, NULL, -1, err) : 0; /* without a terminal it is no error, as dockerd has it */
	HcsCloseProcess(p);
	if (r < 0)
		return -1;
	char h[8], w[8];
	(void)snprintf(h, sizeof(h), "%u", rows);
	(void)snprintf(w, sizeof(w), "%u", cols);
	cs_container_event(x->c, "exec_resize", "execID", x->id, "height", h, "width", w, NULL);
	return 0;
}

void cs_execs_ids(struct cs_container *c, char ***ret)
{
	for (struct cs_exec *x = c->execs; x; x = x->next)
		if (x->running || x->starting || !x->exited)
			cs_strv_push(ret, x->id);
}

size_t cs_execs_count(struct cs_engine *e)
{
	pthread_rwlock_rdlock(&e->maps_lock);
	size_t n = HASH_COUNT(e->execs);
	pthread_rwlock_unlock(&e->maps_lock);
	return n;
}

/* ---- after a restart of the engine ---- */

struct load {
	struct cs_engine *e;
	char **orphans;
};

static int load_row(const struct cs_store_exec *row, void *ctx)
{
	struct load *l = ctx;
	cs_autocontainer struct cs_container *c = NULL;
	struct cs_exec_config *cfg = cs_xcalloc(1, sizeof(*cfg));

	if (cs_container_get(l->e, row->container, &c, NULL) < 0 || cs_json_decode_text(&cs_exec_config_type, row->config, cfg, NULL) < 0) {
		cs_exec_config_free(cfg);
		cs_strv_push(&l->orphans, row->id);
		return 0;
	}
	struct cs_exec *x = cs_xcalloc(1, sizeof(*x));
	atomic_init(&x->refs, 1);
	memcpy(x->id, row->id, CS_MIN(strlen(row->id), sizeof(x->id) - 1));
	x->cfg = cfg;
	x->running = row->started && !row->exited;
	x->exited = row->exited;
	x->pid = (int)row->pid;
	x->exit_code = (int)row->exit_code;
	x->created = row->created;
	x->exited_at = row->exited_at;
	x->c = TAKE_PTR(c);
	add(x); /* nobody else is here yet */
	return 0;
}

int cs_execs_load(struct cs_engine *e, struct cs_err **err)
{
	struct load l = {.e = e};

	if (cs_store_execs(e->store, load_row, &l, err) < 0)
		return -1;
	for (char **p = l.orphans; p && *p; p++)
		if (cs_store_exec_delete(e->store, *p, NULL) < 0)
			cs_logk(CS_LOG_WARN, "engine", "exec", *p, "cannot delete an orphan row");
	cs_strv_free(l.orphans);
	return 0;
}

/* The process of an exec: numbers are reused, and that of one that has ended may be another's. */
static HCS_PROCESS open_process(HCS_SYSTEM h, uint32_t pid, const char *id)
{
	HCS_PROCESS p = NULL;
	char *doc = NULL;

	if (HcsOpenProcess(h, pid, 0, &p) != HCS_S_OK)
		return NULL;
	HCS_OPERATION op = HcsCreateOperation(NULL, NULL);
	int r = cs_hcs_finish(op, op ? HcsGetProcessInfo(p, op) : HCS_E_OUTOFMEMORY, CS_HCS_TIMEOUT_MS, &doc, NULL);
	cs_autojson json_t *status = r == 0 && doc ? cs_json_parse(doc, strlen(doc), NULL) : NULL;
	HcsFree(doc);
	if (cs_streq(json_string_value(json_object_get(status, "Id")), id))
		return p;
	HcsCloseProcess(p);
	return NULL;
}

void cs_execs_adopt(struct cs_container *c, HCS_SYSTEM h)
{
	char *doc = NULL;
	json_t *v;
	size_t i;

	if (cs_hcs_properties(h, "{\"PropertyTypes\":[\"Processes\"]}", &doc, NULL) < 0)
		return;
	cs_autojson json_t *root = cs_json_parse(doc, strlen(doc), NULL);
	HcsFree(doc);
	json_array_foreach(json_object_get(root, "Processes"), i, v) {
		cs_autoexec struct cs_exec *x = NULL;
		const char *id = json_string_value(json_object_get(v, "Id"));
		if (!id || cs_streq(id, "init"))
			continue;
		uint32_t pid = (uint32_t)json_integer_value(json_object_get(v, "ProcessId"));
		HCS_PROCESS p = open_process(h, pid, id);
		bool ended = json_is_true(json_object_get(v, "Exited"));
		bool ours = get(c->e, id, &x, NULL) == 0;
		if (ours && ended)
			exited(c, v);
		if (p && (!ours || ended)) /* or the probe of a health check, which nobody waits for any more */
			release_process(p, id);
		if (!ours || ended || !p)
			continue;
		pthread_mutex_lock(&c->lock);
		x->running = true;
		x->pid = (int)pid;
		x->process = p;
		pthread_mutex_unlock(&c->lock);
		(void)HcsSetProcessCallback(p, HcsEventOptionNone, x, process_event);
	}
	/* what the worker does not know any more has ended, with a code that nobody saw */
	CS_GUARD(&c->lock);
	for (struct cs_exec *x = c->execs; x; x = x->next)
		if (x->running && !x->process && !x->exited) {
			x->running = false;
			x->exited = true;
			x->exit_code = 255;
		}
}
