/* SPDX-License-Identifier: Apache-2.0
 *
 * Compute systems: objects, handles, the state table, events, properties. What changes a system's state is in lifecycle.c. */
#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <time.h>
#include <utlist.h>

#include "base/guard.h"
#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "base/strv.h"
#include "base/time.h"
#include "compute/internal.h"

/* ---- objects ---- */

struct cs_system *cs_system_new(const char *id)
{
	struct cs_system *s = cs_xcalloc(1, sizeof(*s));

	s->refs = 1;
	s->id = cs_xstrdup(id);
	s->plan_fd = -EBADF;
	(void)pthread_mutex_init(&s->lock, NULL);
	cs_cond_init(&s->changed);
	s->init = cs_process_new(s, "");
	return s;
}

struct cs_system *cs_system_ref(struct cs_system *s)
{
	atomic_fetch_add(&s->refs, 1);
	return s;
}

bool cs_system_insert(struct cs_system *s)
{
	struct cs_system *other;

	CS_GUARD(&cs_service.lock);
	HASH_FIND_STR(cs_service.systems, s->id, other);
	if (other)
		return false;
	HASH_ADD_KEYPTR(hh, cs_service.systems, s->id, strlen(s->id), s);
	s->in_table = true;
	return true;
}

void cs_system_unref(struct cs_system *s)
{
	if (!s || atomic_fetch_sub(&s->refs, 1) != 1)
		return;
	cs_process_unref(s->init);
	cs_document_done(&s->document);
	cs_close(s->plan_fd);
	cs_op_unref(s->start_op);
	cs_strv_free(s->warnings);
	free(s->text);
	free(s->id);
	(void)pthread_mutex_destroy(&s->lock);
	(void)pthread_cond_destroy(&s->changed);
	free(s);
}

static bool valid(const struct HcsSystem *h) { return h && h->magic == CS_MAGIC_SYSTEM; }

static void handle_unref(struct HcsSystem *h)
{
	if (atomic_fetch_sub(&h->refs, 1) != 1)
		return;
	cs_system_unref(h->system);
	h->magic = 0;
	free(h);
}

static struct HcsSystem *handle_new(struct cs_system *s)
{
	struct HcsSystem *h = cs_xcalloc(1, sizeof(*h));

	h->magic = CS_MAGIC_SYSTEM;
	h->refs = 1;
	h->system = cs_system_ref(s);
	pthread_mutex_lock(&s->lock);
	DL_APPEND(s->handles, h);
	s->n_handles++;
	pthread_mutex_unlock(&s->lock);
	return h;
}

/* ---- the state table: an empty cell is an answer ---- */

static const bool allowed[CS_STATE_MAX][CS_REQ_MAX] = {
	[CS_STATE_CREATED] = {[CS_REQ_START] = true, [CS_REQ_TERMINATE] = true},
	[CS_STATE_RUNNING] = {[CS_REQ_SHUTDOWN] = true, [CS_REQ_TERMINATE] = true, [CS_REQ_PAUSE] = true, [CS_REQ_MODIFY] = true,
			      [CS_REQ_CREATE_PROCESS] = true},
	[CS_STATE_PAUSED] = {[CS_REQ_TERMINATE] = true, [CS_REQ_RESUME] = true, [CS_REQ_MODIFY] = true},
	[CS_STATE_UNKNOWN] = {[CS_REQ_TERMINATE] = true},
	[CS_STATE_STOPPED] = {0},
};
static const char *const state_names[CS_STATE_MAX] = {"Created", "Running", "Paused", "Stopped", "Unknown"};
static const char *const request_names[CS_REQ_MAX] = {"start", "shut down", "terminate", "pause", "resume", "modify", "create a process in"};

const char *cs_state_name(enum cs_state state) { return state_names[state]; }

HRESULT cs_system_may(const struct cs_system *s, enum cs_request_type req, struct cs_err **err)
{
	if (allowed[s->state][req] && !(s->starting && req == CS_REQ_START))
		return HCS_S_OK;
	(void)cs_fail(err, CS_ERR_CONFLICT, 0, "cannot %s system %s: it is %s", request_names[req], s->id,
		      s->starting && req == CS_REQ_START ? "starting" : state_names[s->state]);
	return s->state == CS_STATE_STOPPED ? HCS_E_SYSTEM_ALREADY_STOPPED : HCS_E_INVALID_STATE;
}

/* ---- what is said about a system ---- */

void cs_exit_describe(const struct cs_exit *e, struct cs_str *out)
{
	static const char *const types[] = {"GracefulExit", "ForcedExit", "UnexpectedExit", "Unknown"};

	cs_str_putc(out, '{');
	cs_json_put_ki64(out, "Status", e->type == CS_EXIT_UNKNOWN ? HCS_E_UNEXPECTED_EXIT : HCS_S_OK);
	cs_json_put_kstr(out, "ExitType", types[e->type]);
	cs_json_put_ki64(out, "ExitCode", e->code);
	cs_json_put_ki64(out, "Signal", e->signal);
	cs_json_put_kbool(out, "OomKilled", e->oom_killed);
	cs_json_put_ki64(out, "ExitedAt", e->exited_at);
	cs_json_put_ki64(out, "StartedAt", e->started_at);
	cs_str_putc(out, '}');
}

void cs_system_describe(struct cs_system *s, struct cs_str *out)
{
	cs_json_put_kstr(out, "Id", s->id);
	cs_json_put_kstr(out, "SystemType", "Container");
	cs_json_put_kstr(out, "Owner", s->document.owner);
	cs_json_put_kstr(out, "RuntimeOsType", "Linux");
	cs_json_put_kstr(out, "State", state_names[s->state]);
	cs_json_put_ki64(out, "ProcessId", s->init->pid);
	cs_json_put_ki64(out, "StartedAt", s->init->started_at);
	if (s->exit.valid) {
		cs_json_put_key(out, "Exit");
		cs_exit_describe(&s->exit, out);
	}
}

/* ---- events ---- */

static void deliver(struct HcsSystem *h, HCS_EVENT_TYPE type, const char *data)
{
	struct cs_system *s = h->system;
	HCS_EVENT ev = {.Type = type, .EventData = data};

	pthread_mutex_lock(&s->lock);
	HCS_EVENT_CALLBACK cb = h->closed ? NULL : h->callback;
	void *ctx = h->context;
	if (cb)
		h->in_callback++;
	pthread_mutex_unlock(&s->lock);
	if (!cb)
		return;
	cb(&ev, ctx);
	pthread_mutex_lock(&s->lock);
	h->in_callback--;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
}

/* References to the handles that want to hear; exit: only those that have not heard, and marks them. Caller frees. */
static struct HcsSystem **listeners(struct cs_system *s, bool exit_event, size_t *ret_n)
{
	struct HcsSystem *h;
	size_t n = 0;

	pthread_mutex_lock(&s->lock);
	struct HcsSystem **list = cs_xcalloc(s->n_handles + 1, sizeof(struct HcsSystem *));
	DL_FOREACH(s->handles, h)
	{
		if (!h->callback || h->closed || (exit_event && h->exit_delivered))
			continue;
		if (exit_event)
			h->exit_delivered = true;
		atomic_fetch_add(&h->refs, 1);
		list[n++] = h;
	}
	pthread_mutex_unlock(&s->lock);
	*ret_n = n;
	return list;
}

static void tell(struct cs_system *s, HCS_EVENT_TYPE type, const char *data)
{
	size_t n;
	cs_autofree struct HcsSystem **list = listeners(s, type == HcsEventSystemExited, &n);

	for (size_t i = 0; i < n; i++) {
		deliver(list[i], type, data);
		handle_unref(list[i]);
	}
}

void cs_system_event(struct cs_system *s, HCS_EVENT_TYPE type, const char *data) { tell(s, type, data); }

void cs_system_deliver_exit(struct cs_system *s)
{
	cs_autostr struct cs_str out = CS_STR_INIT(4096);

	pthread_mutex_lock(&s->lock);
	bool announce = s->exit.valid && s->exit_announced;
	cs_exit_describe(&s->exit, &out);
	pthread_mutex_unlock(&s->lock);
	if (announce)
		tell(s, HcsEventSystemExited, out.buf);
}

static void late_exit(void *arg)
{
	struct cs_system *s = arg;
	cs_system_deliver_exit(s);
	cs_system_unref(s);
}

HRESULT HcsSetComputeSystemCallback(HCS_SYSTEM h, HCS_EVENT_OPTIONS options, void *context, HCS_EVENT_CALLBACK callback)
{
	if (!valid(h))
		return HCS_E_INVALIDARG;
	if (options != HcsEventOptionNone)
		return HCS_E_NOT_SUPPORTED;
	struct cs_system *s = h->system;
	pthread_mutex_lock(&s->lock);
	h->callback = callback;
	h->context = context;
	bool late = callback && s->exit.valid && s->exit_announced && !h->exit_delivered;
	pthread_mutex_unlock(&s->lock);
	if (late)
		cs_monitor_post(late_exit, cs_system_ref(s));
	return HCS_S_OK;
}

/* ---- open, close, create, enumerate ---- */

static bool good_id(const char *id)
{
	size_t n = id ? strlen(id) : 0;

	if (n < 1 || n > 128 || strcmp(id, ".") == 0 || strcmp(id, "..") == 0)
		return false;
	return strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-") == n;
}

HRESULT HcsOpenComputeSystem(const char *id, uint32_t access, HCS_SYSTEM *ret)
{
	struct cs_system *s = NULL;

	(void)access;
	if (!id || !ret)
		return HCS_E_INVALIDARG;
	if (!cs_service_ready())
		return HCS_E_SERVICE_NOT_AVAILABLE;
	pthread_mutex_lock(&cs_service.lock);
	HASH_FIND_STR(cs_service.systems, id, s);
	if (s)
		*ret = handle_new(s);
	pthread_mutex_unlock(&cs_service.lock);
	return s ? HCS_S_OK : HCS_E_SYSTEM_NOT_FOUND;
}

void cs_system_quit_worker(struct cs_system *s)
{
	if (s->link && cs_link_request(s, CS_W_QUIT, NULL, 0, NULL, 0, NULL, 0, CS_REPLY_PLAIN, NULL, NULL, 0, NULL) < 0)
		cs_debug("compute", "the worker of %s went before it was told to", s->id);
}

void cs_system_forget(struct cs_system *s)
{
	char gone_name[64] = "";
	bool was = false;

	pthread_mutex_lock(&cs_service.lock);
	pthread_mutex_lock(&s->lock);
	bool gone = s->n_handles == 0 && !s->starting && (s->state == CS_STATE_STOPPED || s->state == CS_STATE_CREATED);
	bool lingers = s->link || s->cleaning, directory = s->has_directory;
	if (gone && s->in_table)
		cs_system_quit_worker(s);
	pthread_mutex_unlock(&s->lock);
	if (gone && s->in_table) {
		/* the directory goes before the name is free, or a new system of this name could lose its own */
		if (directory) {
			/* only renamed under the lock: deleting may wait for a disk */
			(void)snprintf(gone_name, sizeof(gone_name), CS_GONE_PREFIX "%llx", (unsigned long long)cs_monotonic_ns());
			if (renameat(cs_service.systems_fd, s->id, cs_service.systems_fd, gone_name) < 0)
				gone_name[0] = 0;
		}
		if (lingers) /* before the name is free, too: who takes it waits */
			cs_departing_add(s->id);
		HASH_DEL(cs_service.systems, s);
		s->in_table = false;
		was = true;
	}
	pthread_mutex_unlock(&cs_service.lock);
	if (gone_name[0])
		cs_gone_delete(gone_name);
	if (was && lingers) {
		/* it may have ended before it was added */
		pthread_mutex_lock(&s->lock);
		bool ended = !s->link && !s->cleaning;
		pthread_mutex_unlock(&s->lock);
		if (ended)
			cs_departing_remove(s->id);
	}
	if (was)
		cs_system_unref(s);
}

void HcsCloseComputeSystem(HCS_SYSTEM h)
{
	if (!valid(h))
		return;
	struct cs_system *s = cs_system_ref(h->system);
	pthread_mutex_lock(&s->lock);
	h->closed = true;
	while (h->in_callback && !cs_monitor_is_self())
		pthread_cond_wait(&s->changed, &s->lock);
	DL_DELETE(s->handles, h);
	s->n_handles--;
	bool last = s->n_handles == 0;
	bool kill = last && s->document.terminate_on_last_close && s->state != CS_STATE_STOPPED && s->state != CS_STATE_CREATED;
	bool forget = last && !s->starting && (s->state == CS_STATE_STOPPED || s->state == CS_STATE_CREATED);
	if (kill) {
		s->remove_when_stopped = true;
		s->terminated = true;
		if (cs_link_request(s, CS_W_KILL, NULL, 0, NULL, 0, NULL, 0, CS_REPLY_KILL, NULL, NULL, 1000, NULL) < 0)
			cs_debug("compute", "terminate %s on its last close: no worker", s->id);
	}
	pthread_mutex_unlock(&s->lock);
	if (forget)
		cs_system_forget(s);
	handle_unref(h);
	cs_system_unref(s);
}

static int compile(struct cs_system *s, const char *text, struct cs_err **err)
{
	cs_autojson json_t *doc = cs_json_parse_u64(text, strlen(text), err);
	cs_autostr struct cs_str plan = CS_STR_INIT(CS_DOCUMENT_MAX);

	if (!doc)
		return -1;
	struct cs_compile_env env = {.host = &cs_service.host, .id = s->id};
	if (cs_document_compile(doc, &env, &s->document, &plan, err) < 0)
		return -1;
	s->init->tty = s->document.tty;
	s->text = cs_xstrdup(text);
	cs_spare_learn(&plan);
	return cs_plan_to_memfd(&plan, &s->plan_fd, err);
}

static char *warnings_document(char *const *a, char *const *b)
{
	cs_autostr struct cs_str out = CS_STR_INIT(1 << 20);

	cs_str_puts(&out, "{\"Warnings\":[");
	for (size_t i = 0; a && a[i]; i++) {
		if (i)
			cs_str_putc(&out, ',');
		cs_json_put_string(&out, a[i]);
	}
	for (size_t i = 0; b && b[i]; i++) {
		if (i || (a && a[0]))
			cs_str_putc(&out, ',');
		cs_json_put_string(&out, b[i]);
	}
	cs_str_puts(&out, "]}");
	return cs_str_steal(&out);
}

HRESULT HcsCreateComputeSystem(const char *id, const char *configuration, HCS_OPERATION op, void *security, HCS_SYSTEM *ret)
{
	struct cs_err *err = NULL;

	(void)security;
	if (!ret || !configuration || !id)
		return HCS_E_INVALIDARG;
	*ret = NULL;
	if (!cs_service_ready())
		return HCS_E_SERVICE_NOT_AVAILABLE;
	HRESULT hr = cs_op_begin(op, HcsOperationTypeCreate, NULL, NULL);
	if (hr != HCS_S_OK)
		return hr;
	if (!good_id(id)) {
		cs_op_failf(op, HCS_E_INVALIDARG, CS_ERR_INVALID, "invalid system id: 1 to 128 characters of [A-Za-z0-9_.-] are possible");
		return HCS_S_OK;
	}
	struct cs_system *s = cs_system_new(id);
	if (compile(s, configuration, &err) < 0) {
		cs_system_unref(s);
		cs_op_fail(op, 0, err);
		return HCS_S_OK;
	}
	struct HcsSystem *h = handle_new(s);
	if (!cs_system_insert(s)) {
		HcsCloseComputeSystem(h);
		cs_system_unref(s);
		cs_op_failf(op, HCS_E_SYSTEM_ALREADY_EXISTS, CS_ERR_CONFLICT, "a system with the id %s exists already", id);
		return HCS_S_OK;
	}
	*ret = h;
	pthread_mutex_lock(&op->lock);
	op->system = h;
	pthread_mutex_unlock(&op->lock);
	cs_op_complete(op, HCS_S_OK, warnings_document(s->document.warnings, NULL));
	return HCS_S_OK;
}

static bool wanted(char *const *filter, const char *value) { return !filter || cs_strv_has(filter, value); }

HRESULT HcsEnumerateComputeSystems(const char *query, HCS_OPERATION op)
{
	cs_autostr struct cs_str out = CS_STR_INIT(64 << 20);
	cs_autojson json_t *q = NULL;
	cs_autofree char **ids = NULL, **owners = NULL;
	struct cs_err *err = NULL;
	struct cs_system *s, *tmp;
	bool first = true;

	if (!cs_service_ready())
		return HCS_E_SERVICE_NOT_AVAILABLE;
	HRESULT hr = cs_op_begin(op, HcsOperationTypeEnumerate, NULL, NULL);
	if (hr != HCS_S_OK)
		return hr;
	if (query && *query) {
		q = cs_json_parse(query, strlen(query), &err);
		static const char *const known[] = {"Ids", "Owners", NULL};
		if (!q || cs_field_is_obj(q, "query", &err) < 0 || cs_field_only(q, "", known, &err) < 0 || cs_field_strv(q, "", "Ids", &ids, &err) < 0 ||
		    cs_field_strv(q, "", "Owners", &owners, &err) < 0) {
			cs_op_fail(op, 0, err);
			return HCS_S_OK;
		}
	}
	cs_str_putc(&out, '[');
	pthread_mutex_lock(&cs_service.lock);
	HASH_ITER(hh, cs_service.systems, s, tmp)
	{
		if (!wanted(ids, s->id) || !wanted(owners, s->document.owner ? s->document.owner : ""))
			continue;
		cs_str_puts(&out, first ? "{" : ",{");
		first = false;
		pthread_mutex_lock(&s->lock);
		cs_system_describe(s, &out);
		pthread_mutex_unlock(&s->lock);
		cs_str_putc(&out, '}');
	}
	pthread_mutex_unlock(&cs_service.lock);
	cs_str_putc(&out, ']');
	cs_op_complete(op, HCS_S_OK, cs_str_steal(&out));
	return HCS_S_OK;
}

/* ---- properties ---- */

static void list_processes(struct cs_system *s, struct cs_str *out)
{
	struct cs_process *p;

	cs_str_putc(out, '[');
	pthread_mutex_lock(&s->lock);
	if (s->init->pid)
		cs_process_status(s->init, &s->exit, out);
	DL_FOREACH(s->processes, p)
	{
		if (!p->pid)
			continue;
		if (out->buf[out->len - 1] == '}')
			cs_str_putc(out, ',');
		cs_process_status(p, &s->exit, out);
	}
	pthread_mutex_unlock(&s->lock);
	cs_str_putc(out, ']');
}

static int properties(struct cs_system *s, const char *query, struct cs_str *out, struct cs_err **err)
{
	cs_autojson json_t *q = NULL;
	cs_autofree char **types = NULL;

	if (query && *query) {
		static const char *const known[] = {"PropertyTypes", NULL};
		q = cs_json_parse(query, strlen(query), err);
		if (!q || cs_field_is_obj(q, "query", err) < 0 || cs_field_only(q, "", known, err) < 0 ||
		    cs_field_strv(q, "", "PropertyTypes", &types, err) < 0)
			return -1;
	}
	cs_str_putc(out, '{');
	pthread_mutex_lock(&s->lock);
	cs_system_describe(s, out);
	pthread_mutex_unlock(&s->lock);
	for (char **t = types; t && *t; t++) {
		if (strcmp(*t, "Basic") == 0)
			continue;
		if (strcmp(*t, "Statistics") == 0) {
			cs_json_put_key(out, "Statistics");
			if (cs_stats_statistics(s, out, err) < 0)
				return -1;
		} else if (strcmp(*t, "ProcessList") == 0) {
			cs_json_put_key(out, "ProcessList");
			if (cs_stats_process_list(s, out, err) < 0)
				return -1;
		} else if (strcmp(*t, "Processes") == 0) {
			cs_json_put_key(out, "Processes");
			list_processes(s, out);
		} else {
			return cs_fail(err, CS_ERR_UNSUPPORTED, 0, "property type %s is not available", *t);
		}
	}
	cs_str_putc(out, '}');
	return 0;
}

HRESULT HcsGetComputeSystemProperties(HCS_SYSTEM h, HCS_OPERATION op, const char *query)
{
	cs_autostr struct cs_str out = CS_STR_INIT(16 << 20);
	struct cs_err *err = NULL;

	if (!valid(h))
		return HCS_E_INVALIDARG;
	HRESULT hr = cs_op_begin(op, HcsOperationTypeGetProperties, h, NULL);
	if (hr != HCS_S_OK)
		return hr;
	if (properties(h->system, query, &out, &err) < 0)
		cs_op_fail(op, 0, err);
	else
		cs_op_complete(op, HCS_S_OK, cs_str_steal(&out));
	return HCS_S_OK;
}

HRESULT HcsWaitForComputeSystemExit(HCS_SYSTEM h, uint32_t timeout_ms, char **result)
{
	struct timespec until = cs_timespec(cs_monotonic_ns() + (int64_t)timeout_ms * CS_NS_PER_MS);
	HRESULT hr = HCS_S_OK;

	if (result)
		*result = NULL;
	if (!valid(h))
		return HCS_E_INVALIDARG;
	struct cs_system *s = h->system;
	pthread_mutex_lock(&s->lock);
	while (!s->exit.valid && hr == HCS_S_OK) {
		int r = timeout_ms == HCS_INFINITE ? pthread_cond_wait(&s->changed, &s->lock) : pthread_cond_timedwait(&s->changed, &s->lock, &until);
		if (r == ETIMEDOUT && !s->exit.valid)
			hr = HCS_E_OPERATION_TIMEOUT;
	}
	if (hr == HCS_S_OK && result) {
		cs_autostr struct cs_str out = CS_STR_INIT(4096);
		cs_exit_describe(&s->exit, &out);
		*result = cs_str_steal(&out);
	}
	pthread_mutex_unlock(&s->lock);
	return hr;
}
