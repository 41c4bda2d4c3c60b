/* SPDX-License-Identifier: Apache-2.0
 *
 * Processes: a system's init and its execs, their handles and requests. The objects' fields are under their system's lock. */
#include <signal.h>
#include <time.h>
#include <utlist.h>

#include "base/json.h"
#include "base/time.h"
#include "compute/internal.h"

#define EXEC_TIMEOUT_MS 20000

static bool valid(const struct HcsProcess *h) { return h && h->magic == CS_MAGIC_PROCESS; }

struct cs_process *cs_process_new(struct cs_system *s, const char *id)
{
	struct cs_process *p = cs_xcalloc(1, sizeof(*p));

	p->refs = 1;
	p->is_init = !*id;
	p->system = p->is_init ? s : cs_system_ref(s);
	(void)snprintf(p->id, sizeof(p->id), "%s", id);
	return p;
}

struct cs_process *cs_process_ref(struct cs_process *p)
{
	if (p)
		atomic_fetch_add(&p->refs, 1);
	return p;
}

void cs_process_unref(struct cs_process *p)
{
	if (!p || atomic_fetch_sub(&p->refs, 1) != 1)
		return;
	if (!p->is_init)
		cs_system_unref(p->system);
	free(p);
}

struct cs_process *cs_process_find(struct cs_system *s, const char *id)
{
	struct cs_process *p;

	DL_FOREACH(s->processes, p)
	if (strcmp(p->id, id) == 0)
		return p;
	return NULL;
}

void cs_process_status(const struct cs_process *p, const struct cs_exit *init_exit, struct cs_str *out)
{
	cs_str_putc(out, '{');
	cs_json_put_kstr(out, "Id", p->is_init ? "init" : p->id);
	cs_json_put_ki64(out, "ProcessId", p->pid);
	cs_json_put_kbool(out, "Exited", p->exited);
	cs_json_put_ki64(out, "ExitCode", p->exited ? p->exit_code : 0);
	bool unknown = p->is_init && init_exit && init_exit->valid && init_exit->type == CS_EXIT_UNKNOWN;
	cs_json_put_ki64(out, "LastWaitResult", unknown ? HCS_E_PROCESS_INFO_NOT_AVAILABLE : 0);
	cs_json_put_ki64(out, "StartedAt", p->started_at);
	cs_json_put_ki64(out, "ExitedAt", p->exited_at);
	cs_json_put_kbool(out, "Tty", p->tty);
	cs_str_putc(out, '}');
}

/* ---- events ---- */

static void handle_unref(struct HcsProcess *h)
{
	if (atomic_fetch_sub(&h->refs, 1) != 1)
		return;
	struct cs_system *s = h->process->system;
	cs_process_unref(h->process);
	if (h->holds_system)
		cs_system_unref(s);
	h->magic = 0;
	free(h);
}

static void delete_note(const struct cs_process *p)
{
	cs_autofd int dir = cs_system_runtime_open(p->system->id, NULL);
	cs_autofree char *name = cs_xasprintf("exec-%s", p->id);

	if (dir >= 0)
		(void)unlinkat(dir, name, 0);
}

/* What has been released and has ended. Returns whether the worker was told: its answer completes op. No locks held. */
static bool forget(struct cs_process *p, struct HcsOperation *op)
{
	struct cs_system *s = p->system;
	struct cs_w_id w = {0};
	bool sent = false;

	memcpy(w.id, p->id, sizeof(w.id));
	pthread_mutex_lock(&s->lock);
	bool due = p->released && p->exited && (p->prev || s->processes == p);
	if (due) {
		DL_DELETE(s->processes, p);
		p->prev = p->next = NULL;
		sent = cs_link_request(s, CS_W_RELEASE, &w, sizeof(w), NULL, 0, NULL, 0, CS_REPLY_RELEASE, op, NULL, 10000, NULL) == 0;
	}
	bool noted = due && p->noted;
	pthread_mutex_unlock(&s->lock);
	if (noted)
		delete_note(p);
	if (due)
		cs_process_unref(p); /* the table's */
	return sent;
}

void cs_process_deliver_exits(struct cs_process *p)
{
	struct cs_system *s = p->system;

	for (;;) {
		cs_autostr struct cs_str out = CS_STR_INIT(4096);
		struct HcsProcess *h, *found = NULL;
		HCS_EVENT ev = {.Type = HcsEventProcessExited};

		pthread_mutex_lock(&s->lock);
		DL_FOREACH(p->handles, h)
		{
			if (!p->exited || !h->callback || h->closed || h->exit_delivered)
				continue;
			h->exit_delivered = true;
			h->in_callback++;
			atomic_fetch_add(&h->refs, 1);
			found = h;
			break;
		}
		HCS_EVENT_CALLBACK cb = found ? found->callback : NULL;
		void *ctx = found ? found->context : NULL;
		cs_process_status(p, &s->exit, &out);
		pthread_mutex_unlock(&s->lock);
		if (!found) {
			(void)forget(p, NULL);
			return;
		}
		ev.EventData = out.buf;
		cb(&ev, ctx);
		pthread_mutex_lock(&s->lock);
		found->in_callback--;
		pthread_cond_broadcast(&s->changed);
		pthread_mutex_unlock(&s->lock);
		handle_unref(found);
	}
}

void cs_process_exited(struct cs_system *s, const struct cs_w_exited *e)
{
	pthread_mutex_lock(&s->lock);
	struct cs_process *p = cs_process_find(s, e->id);
	if (p && !p->exited) {
		p->exited = true;
		p->exit_code = e->exit_code;
		p->exited_at = e->exited_at;
		if (!p->pid)
			p->pid = e->pid;
		cs_process_ref(p);
		pthread_cond_broadcast(&s->changed);
	} else {
		p = NULL;
	}
	pthread_mutex_unlock(&s->lock);
	if (p)
		cs_process_deliver_exits(p);
	cs_process_unref(p);
}

static void late_exit(void *arg)
{
	struct cs_process *p = arg;
	struct cs_system *s = p->system;
	cs_process_deliver_exits(p);
	cs_process_unref(p);
	cs_system_unref(s);
}

HRESULT HcsSetProcessCallback(HCS_PROCESS h, HCS_EVENT_OPTIONS options, void *context, HCS_EVENT_CALLBACK callback)
{
	if (!valid(h))
		return HCS_E_INVALIDARG;
	if (options != HcsEventOptionNone)
		return HCS_E_NOT_SUPPORTED;
	struct cs_process *p = h->process;
	pthread_mutex_lock(&p->system->lock);
	h->callback = callback;
	h->context = context;
	bool late = callback && p->exited && !h->exit_delivered;
	pthread_mutex_unlock(&p->system->lock);
	if (late) {
		cs_system_ref(p->system);
		cs_monitor_post(late_exit, cs_process_ref(p));
	}
	return HCS_S_OK;
}

/* ---- handles ---- */

static struct HcsProcess *handle_new(struct cs_process *p) /* under system.lock */
{
	struct HcsProcess *h = cs_xcalloc(1, sizeof(*h));

	h->magic = CS_MAGIC_PROCESS;
	h->refs = 1;
	h->process = cs_process_ref(p);
	h->holds_system = p->is_init; /* init does not hold its system itself: that would be a circle */
	if (h->holds_system)
		cs_system_ref(p->system);
	DL_APPEND(p->handles, h);
	return h;
}

HRESULT HcsOpenProcess(HCS_SYSTEM sh, uint32_t pid, uint32_t access, HCS_PROCESS *ret)
{
	struct cs_process *p, *found = NULL;

	(void)access;
	if (!sh || sh->magic != CS_MAGIC_SYSTEM || !ret)
		return HCS_E_INVALIDARG;
	struct cs_system *s = sh->system;
	pthread_mutex_lock(&s->lock);
	if (pid == 0 || (s->init->pid && pid == (uint32_t)s->init->pid))
		found = s->init;
	if (!found) {
		DL_FOREACH(s->processes, p)
		if (p->pid && (uint32_t)p->pid == pid && (!found || found->exited))
			found = p; /* the newest, a living one first: numbers are reused */
	}
	if (found)
		*ret = handle_new(found);
	pthread_mutex_unlock(&s->lock);
	return found ? HCS_S_OK : HCS_E_ELEMENT_NOT_FOUND;
}

void HcsCloseProcess(HCS_PROCESS h)
{
	if (!valid(h))
		return;
	struct cs_system *s = cs_system_ref(h->process->system);
	pthread_mutex_lock(&s->lock);
	h->closed = true;
	while (h->in_callback && !cs_monitor_is_self())
		pthread_cond_wait(&s->changed, &s->lock);
	DL_DELETE(h->process->handles, h);
	pthread_mutex_unlock(&s->lock);
	handle_unref(h);
	cs_system_unref(s);
}

/* ---- create ---- */

static int exec_plan(struct cs_system *s, const char *text, struct cs_exec_wish *wish, struct cs_str *input, int *ret_fd, struct cs_err **err)
{
	cs_autojson json_t *params = cs_json_parse_u64(text, strlen(text), err);
	cs_autostr struct cs_str plan = CS_STR_INIT(CS_DOCUMENT_MAX);

	const char *initial = "";

	if (!params || cs_document_compile_exec(params, &cs_service.host, s->document.seccomp, wish, &plan, err) < 0 ||
	    cs_field_str(params, "", "InitialInput", 0, &initial, err) < 0 || cs_base64_put(initial, "ProcessParameters", input, err) < 0)
		return -1;
	return cs_plan_to_memfd(&plan, ret_fd, err);
}

static int exec_client(HCS_OPERATION op, int *ret_fd, struct cs_err **err)
{
	struct cs_resource *res;
	size_t n;
	int r = 0;

	cs_op_take_resources(op, &res, &n);
	if (n > 1)
		r = cs_fail(err, CS_ERR_INVALID, 0, "a process takes one client's socket");
	else if (n == 1 && strcmp(res[0].uri, "hcs:/Process/Stdio") != 0)
		r = cs_fail(err, CS_ERR_INVALID, 0, "resource %s is not known here", res[0].uri);
	else if (n == 1)
		*ret_fd = TAKE_FD(res[0].fd);
	cs_resources_free(res, n);
	return r;
}

static int create(struct cs_system *s, HCS_OPERATION op, const char *params, HCS_PROCESS *ret, HRESULT *hr, struct cs_err **err)
{
	struct cs_exec_wish wish = {0};
	struct cs_w_exec x = {0};
	cs_autofd int plan = -EBADF, client = -EBADF;
	cs_autostr struct cs_str input = CS_STR_INIT(CS_W_MAX_PACKET), tail = CS_STR_INIT(CS_W_MAX_PACKET);

	if (exec_plan(s, params, &wish, &input, &plan, err) < 0 || exec_client(op, &client, err) < 0)
		return -1;
	memcpy(x.id, wish.id, sizeof(x.id));
	x.streams = (struct cs_w_streams){wish.want_stdin, wish.want_stdout, wish.want_stderr, wish.framed};
	x.has_client = client >= 0;
	x.detach_len = (uint32_t)wish.detach_len;
	x.input_len = (uint32_t)input.len;
	cs_str_put(&tail, wish.detach, wish.detach_len);
	cs_str_put(&tail, input.buf, input.len);
	if (tail.failed)
		return cs_fail(err, CS_ERR_INVALID, EMSGSIZE, "InitialInput is too long");
	const int fds[] = {plan, client};
	pthread_mutex_lock(&s->lock);
	int r = -1;
	*hr = cs_system_may(s, CS_REQ_CREATE_PROCESS, err);
	if (*hr == HCS_S_OK && cs_process_find(s, wish.id)) {
		*hr = HCS_E_INVALIDARG;
		(void)cs_fail(err, CS_ERR_CONFLICT, 0, "a process with the id %s exists already", wish.id);
	} else if (*hr == HCS_S_OK) {
		struct cs_process *p = cs_process_new(s, wish.id);
		p->tty = wish.tty;
		r = cs_link_request(s, CS_W_EXEC, &x, sizeof(x), tail.buf, tail.len, fds, client >= 0 ? 2 : 1, CS_REPLY_EXEC, op, p, EXEC_TIMEOUT_MS, err);
		if (r == 0) {
			DL_APPEND(s->processes, p);
			*ret = handle_new(p);
			pthread_mutex_lock(&op->lock); /* the answer waits for the system's */
			op->process = *ret;
			pthread_mutex_unlock(&op->lock);
		} else {
			cs_process_unref(p); /* it holds a reference of s, and so do we: never the last */
		}
	}
	pthread_mutex_unlock(&s->lock);
	return r;
}

HRESULT HcsCreateProcess(HCS_SYSTEM sh, const char *params, HCS_OPERATION op, void *security, HCS_PROCESS *ret)
{
	struct cs_err *err = NULL;

	(void)security;
	if (!sh || sh->magic != CS_MAGIC_SYSTEM || !params || !ret)
		return HCS_E_INVALIDARG;
	*ret = NULL;
	HRESULT hr = cs_op_begin(op, HcsOperationTypeCreateProcess, sh, NULL);
	if (hr != HCS_S_OK)
		return hr;
	struct cs_system *s = sh->system;
	pthread_mutex_lock(&s->lock);
	hr = cs_system_may(s, CS_REQ_CREATE_PROCESS, &err);
	pthread_mutex_unlock(&s->lock);
	if (hr != HCS_S_OK || create(s, op, params, ret, &hr, &err) < 0)
		cs_op_fail(op, hr, err);
	return HCS_S_OK;
}

/* ---- requests to a process ---- */

/* Sends one request about a process; completes op by itself. */
static HRESULT request_with(HCS_PROCESS h, HCS_OPERATION op, uint32_t type, const void *a, size_t a_len, const void *b, size_t b_len, const int *fds,
			    size_t n_fds, enum cs_reply_kind kind, bool exited_too)
{
	struct cs_process *p = h->process;
	struct cs_system *s = p->system;
	struct cs_err *err = NULL;
	HRESULT hr = HCS_S_OK;
	int r = -1;

	pthread_mutex_lock(&s->lock);
	if ((p->exited || p->failed) && !exited_too) {
		hr = HCS_E_PROCESS_ALREADY_STOPPED;
		(void)cs_fail(&err, CS_ERR_CONFLICT, 0, "the process has exited");
	} else if (s->state == CS_STATE_CREATED && !s->starting) {
		hr = HCS_E_INVALID_STATE;
		(void)cs_fail(&err, CS_ERR_CONFLICT, 0, "system %s is not running", s->id);
	} else {
		r = cs_link_request(s, type, a, a_len, b, b_len, fds, n_fds, kind, op, NULL, 10000, &err);
		if (r < 0 && s->exit.valid)
			hr = HCS_E_SYSTEM_ALREADY_STOPPED;
	}
	pthread_mutex_unlock(&s->lock);
	if (r < 0)
		cs_op_fail(op, hr, err);
	return HCS_S_OK;
}

static HRESULT request(HCS_PROCESS h, HCS_OPERATION op, uint32_t type, const void *a, size_t a_len, const void *b, size_t b_len, int fd,
		       bool exited_too)
{
	return request_with(h, op, type, a, a_len, b, b_len, fd >= 0 ? &fd : NULL, fd >= 0, CS_REPLY_PLAIN, exited_too);
}

static HRESULT send_signal(HCS_PROCESS h, HCS_OPERATION op, int sig)
{
	struct cs_w_signal w = {.sig = sig};
	memcpy(w.id, h->process->id, sizeof(w.id));
	return request(h, op, CS_W_SIGNAL, &w, sizeof(w), NULL, 0, -1, false);
}

HRESULT HcsSignalProcess(HCS_PROCESS h, HCS_OPERATION op, const char *options)
{
	cs_autojson json_t *o = NULL;
	struct cs_err *err = NULL;
	int64_t sig = SIGTERM;

	if (!valid(h))
		return HCS_E_INVALIDARG;
	HRESULT hr = cs_op_begin(op, HcsOperationTypeSignalProcess, NULL, h);
	if (hr != HCS_S_OK)
		return hr;
	if (options && *options) {
		o = cs_json_parse(options, strlen(options), &err);
		if (!o || cs_field_is_obj(o, "options", &err) < 0 || cs_field_i64(o, "", "Signal", 0, 64, &sig, &err) < 0) {
			cs_op_fail(op, 0, err);
			return HCS_S_OK;
		}
	}
	return send_signal(h, op, (int)sig);
}

HRESULT HcsTerminateProcess(HCS_PROCESS h, HCS_OPERATION op, const char *options)
{
	(void)options;
	if (!valid(h))
		return HCS_E_INVALIDARG;
	HRESULT hr = cs_op_begin(op, HcsOperationTypeSignalProcess, NULL, h);
	return hr == HCS_S_OK ? send_signal(h, op, SIGKILL) : hr;
}

char *cs_process_status_text(struct cs_process *p)
{
	cs_autostr struct cs_str out = CS_STR_INIT(4096);

	pthread_mutex_lock(&p->system->lock);
	cs_process_status(p, &p->system->exit, &out);
	pthread_mutex_unlock(&p->system->lock);
	return cs_str_steal(&out);
}

HRESULT HcsGetProcessInfo(HCS_PROCESS h, HCS_OPERATION op)
{
	if (!valid(h))
		return HCS_E_INVALIDARG;
	HRESULT hr = cs_op_begin(op, HcsOperationTypeGetProcessInfo, NULL, h);
	if (hr != HCS_S_OK)
		return hr;
	op->info.ProcessId = (uint32_t)h->process->pid;
	cs_op_complete(op, HCS_S_OK, cs_process_status_text(h->process));
	return HCS_S_OK;
}

/* A process that looks alive is asked about: with the worker's answer, an exit that it has told before has been noted. So a client
 * that has seen the end of its stream never learns that the process runs. */
HRESULT HcsGetProcessProperties(HCS_PROCESS h, HCS_OPERATION op, const char *query)
{
	struct cs_w_signal w = {0}; /* signal 0 does nothing */

	(void)query;
	if (!valid(h))
		return HCS_E_INVALIDARG;
	HRESULT hr = cs_op_begin(op, HcsOperationTypeGetProcessProperties, NULL, h);
	if (hr != HCS_S_OK)
		return hr;
	struct cs_process *p = h->process;
	memcpy(w.id, p->id, sizeof(w.id));
	pthread_mutex_lock(&p->system->lock);
	bool asked = !p->exited && !p->failed &&
		     cs_link_request(p->system, CS_W_SIGNAL, &w, sizeof(w), NULL, 0, NULL, 0, CS_REPLY_STATUS, op, p, 2000, NULL) == 0;
	pthread_mutex_unlock(&p->system->lock);
	if (!asked)
		cs_op_complete(op, HCS_S_OK, cs_process_status_text(p));
	return HCS_S_OK;
}

/* ---- modify ---- */

/* The operation's resources have to be these, in this order. */
static int take_sockets(HCS_OPERATION op, const char *const *uris, size_t want, int *ret, struct cs_err **err)
{
	struct cs_resource *res;
	size_t n;
	int r = 0;

	cs_op_take_resources(op, &res, &n);
	for (size_t i = 0; i < want && r == 0; i++)
		if (n != want || strcmp(res[i].uri, uris[i]) != 0)
			r = cs_fail(err, CS_ERR_INVALID, 0, "the operation needs a socket as resource %s", uris[i]);
	for (size_t i = 0; i < want && r == 0; i++)
		ret[i] = TAKE_FD(res[i].fd);
	cs_resources_free(res, n);
	return r;
}

static int take_socket(HCS_OPERATION op, const char *uri, int *ret, struct cs_err **err) { return take_sockets(op, &uri, 1, ret, err); }

static int modify_console(HCS_PROCESS h, HCS_OPERATION op, json_t *o, struct cs_err **err)
{
	struct cs_w_resize w = {0};
	json_t *size = NULL;
	int64_t rows = 0, cols = 0;

	if (cs_field_obj(o, "", "ConsoleSize", CS_F_REQUIRED, &size, err) < 0 ||
	    cs_field_i64(size, "ConsoleSize", "Height", 0, UINT16_MAX, &rows, err) < 0 ||
	    cs_field_i64(size, "ConsoleSize", "Width", 0, UINT16_MAX, &cols, err) < 0)
		return -1;
	memcpy(w.id, h->process->id, sizeof(w.id));
	w.rows = (uint16_t)rows;
	w.cols = (uint16_t)cols;
	return request(h, op, CS_W_RESIZE, &w, sizeof(w), NULL, 0, -1, false);
}

static int modify_close(HCS_PROCESS h, HCS_OPERATION op, json_t *o, struct cs_err **err)
{
	struct cs_w_id w = {0};
	json_t *close_handle = NULL;
	const char *which = "";

	if (cs_field_obj(o, "", "CloseHandle", CS_F_REQUIRED, &close_handle, err) < 0 ||
	    cs_field_str(close_handle, "CloseHandle", "Handle", CS_F_REQUIRED, &which, err) < 0)
		return -1;
	if (strcmp(which, "StdIn") != 0)
		return cs_fail(err, CS_ERR_UNSUPPORTED, 0, "CloseHandle.Handle: only StdIn can be closed");
	memcpy(w.id, h->process->id, sizeof(w.id));
	return request(h, op, CS_W_CLOSE_STDIN, &w, sizeof(w), NULL, 0, -1, false);
}

static int modify_attach(HCS_PROCESS h, HCS_OPERATION op, json_t *o, struct cs_err **err)
{
	cs_autostr struct cs_str tail = CS_STR_INIT(CS_W_MAX_PACKET);
	cs_autofd int fd = -EBADF;
	struct cs_w_attach w;
	json_t *settings = NULL;

	if (cs_field_obj(o, "", "AttachStdio", CS_F_REQUIRED, &settings, err) < 0 ||
	    cs_attach_pack(settings, "AttachStdio", h->process->id, &w, &tail, err) < 0 || take_socket(op, "hcs:/Process/Stdio", &fd, err) < 0)
		return -1;
	return request(h, op, CS_W_ATTACH, &w, w.token ? sizeof(w) : CS_W_ATTACH_V1, tail.buf, tail.len, fd, true);
}

static int modify_follow(HCS_PROCESS h, HCS_OPERATION op, json_t *o, struct cs_err **err)
{
	static const char *const uris[] = {"hcs:/Process/FollowLog", "hcs:/Process/FollowLog/Peer"};
	cs_autostr struct cs_str tail = CS_STR_INIT(CS_W_MAX_PACKET);
	struct cs_w_follow w;
	json_t *settings = NULL;
	int fds[2] = {-EBADF, -EBADF};

	if (!h->process->is_init)
		return cs_fail(err, CS_ERR_INVALID, 0, "only the init process has a log");
	if (cs_field_obj(o, "", "FollowLog", CS_F_REQUIRED, &settings, err) < 0 || cs_follow_pack(settings, "FollowLog", &w, &tail, err) < 0 ||
	    take_sockets(op, uris, 2, fds, err) < 0)
		return -1;
	HRESULT r = request_with(h, op, CS_W_FOLLOW, &w, sizeof(w), tail.buf, tail.len, fds, 2, CS_REPLY_PLAIN, false);
	cs_close(fds[0]);
	cs_close(fds[1]);
	return r;
}

/* Its result: {"Token":…,"Device":…,"Inode":…,"Offset":…,"At":…} (struct cs_w_reserved). */
static int modify_reserve(HCS_PROCESS h, HCS_OPERATION op, json_t *o, struct cs_err **err)
{
	struct cs_w_reserve w;
	json_t *settings = NULL;

	if (!h->process->is_init)
		return cs_fail(err, CS_ERR_INVALID, 0, "only the init process' output is kept");
	if (cs_field_obj(o, "", "ReserveStdio", CS_F_REQUIRED, &settings, err) < 0 || cs_reserve_pack(settings, "ReserveStdio", &w, err) < 0)
		return -1;
	return request_with(h, op, CS_W_RESERVE, &w, sizeof(w), NULL, 0, NULL, 0, CS_REPLY_RESERVED, false);
}

static int modify_cancel(HCS_PROCESS h, HCS_OPERATION op, json_t *o, struct cs_err **err)
{
	struct cs_w_token w = {0};
	json_t *settings = NULL;
	int64_t token = 0;

	if (cs_field_obj(o, "", "CancelStdio", CS_F_REQUIRED, &settings, err) < 0 ||
	    cs_field_i64(settings, "CancelStdio", "Token", 1, INT64_MAX, &token, err) < 0)
		return -1;
	w.token = (uint64_t)token;
	return request(h, op, CS_W_CANCEL, &w, sizeof(w), NULL, 0, -1, true);
}

static int modify_watch(HCS_PROCESS h, HCS_OPERATION op, json_t *o, struct cs_err **err)
{
	cs_autostr struct cs_str tail = CS_STR_INIT(CS_W_MAX_PACKET);
	cs_autofd int fd = -EBADF;
	struct cs_w_watch w;
	json_t *settings = NULL;

	if (cs_field_obj(o, "", "WatchExit", CS_F_REQUIRED, &settings, err) < 0 ||
	    cs_watch_pack(settings, "WatchExit", h->process->id, &w, &tail, err) < 0 || take_socket(op, "hcs:/Process/ExitWatch", &fd, err) < 0)
		return -1;
	return request(h, op, CS_W_WATCH_EXIT, &w, sizeof(w), tail.buf, tail.len, fd, true);
}

/* The table forgets the process, and its worker, if that is there; one that runs is forgotten at its end. */
static int modify_release(HCS_PROCESS h, HCS_OPERATION op, json_t *o, struct cs_err **err)
{
	struct cs_process *p = h->process;
	struct cs_system *s = p->system;

	(void)o;
	if (p->is_init)
		return cs_fail(err, CS_ERR_INVALID, 0, "the init process goes with its system");
	pthread_mutex_lock(&s->lock);
	p->released = true;
	pthread_mutex_unlock(&s->lock);
	if (!forget(p, op))
		cs_op_complete(op, HCS_S_OK, NULL);
	return 0;
}

static const struct {
	const char *name;
	int (*fn)(HCS_PROCESS h, HCS_OPERATION op, json_t *o, struct cs_err **err);
} modifications[] = {
	{"ConsoleSize", modify_console}, {"CloseHandle", modify_close}, {"AttachStdio", modify_attach},
	{"WatchExit", modify_watch},	 {"Release", modify_release},	  {"FollowLog", modify_follow},
	{"ReserveStdio", modify_reserve}, {"CancelStdio", modify_cancel},
};

HRESULT HcsModifyProcess(HCS_PROCESS h, HCS_OPERATION op, const char *settings)
{
	cs_autojson json_t *o = NULL;
	struct cs_err *err = NULL;
	const char *name = NULL;

	if (!valid(h) || !settings)
		return HCS_E_INVALIDARG;
	HRESULT hr = cs_op_begin(op, HcsOperationTypeModifyProcess, NULL, h);
	if (hr != HCS_S_OK)
		return hr;
	o = cs_json_parse(settings, strlen(settings), &err);
	if (!o || cs_field_is_obj(o, "settings", &err) < 0 || cs_field_str(o, "", "Operation", CS_F_REQUIRED, &name, &err) < 0) {
		cs_op_fail(op, 0, err);
		return HCS_S_OK;
	}
	for (size_t i = 0; i < CS_ARRAY_SIZE(modifications); i++) {
		if (strcmp(modifications[i].name, name) != 0)
			continue;
		if (modifications[i].fn(h, op, o, &err) < 0)
			cs_op_fail(op, 0, err);
		return HCS_S_OK;
	}
	cs_op_failf(op, HCS_E_NOT_SUPPORTED, CS_ERR_UNSUPPORTED, "Operation: %s is not known", name);
	return HCS_S_OK;
}

HRESULT HcsWaitForProcessExit(HCS_PROCESS h, uint32_t timeout_ms, char **result)
{
	struct timespec until = cs_timespec(cs_monotonic_ns() + (int64_t)timeout_ms * CS_NS_PER_MS);
	HRESULT hr = HCS_S_OK;

	if (result)
		*result = NULL;
	if (!valid(h))
		return HCS_E_INVALIDARG;
	struct cs_process *p = h->process;
	struct cs_system *s = p->system;
	pthread_mutex_lock(&s->lock);
	while (!p->exited && !p->failed && !(p->is_init && s->exit.valid) && hr == HCS_S_OK) {
		int r = timeout_ms == HCS_INFINITE ? pthread_cond_wait(&s->changed, &s->lock) : pthread_cond_timedwait(&s->changed, &s->lock, &until);
		if (r == ETIMEDOUT && !p->exited)
			hr = HCS_E_OPERATION_TIMEOUT;
	}
	if (hr == HCS_S_OK && !p->exited)
		hr = HCS_E_INVALID_STATE; /* it never ran */
	if (hr == HCS_S_OK && result) {
		cs_autostr struct cs_str out = CS_STR_INIT(4096);
		cs_process_status(p, &s->exit, &out);
		*result = cs_str_steal(&out);
	}
	pthread_mutex_unlock(&s->lock);
	return hr;
}
