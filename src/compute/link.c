/* SPDX-License-Identifier: Apache-2.0
 *
 * Connections to workers: requests go out from any thread under the system's lock (they never block), answers and events come in
 * on the monitor thread. Nothing that a worker says can hurt the service: lengths and ids are checked here. */
#include <signal.h>
#include <sys/socket.h>
#include <utlist.h>

#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "base/time.h"
#include "compute/internal.h"

static struct cs_link *links; /* monitor thread, and before it runs */
static atomic_llong next_deadline;

/* False: there is an earlier one already. */
static bool wanted_at(long long deadline)
{
	long long old = atomic_load(&next_deadline);

	while (!old || deadline < old)
		if (atomic_compare_exchange_weak(&next_deadline, &old, deadline))
			return true;
	return false;
}

static void request_free(struct cs_request *r)
{
	cs_op_unref(r->op);
	cs_process_unref(r->process);
	free(r);
}

static void watch_task(void *arg)
{
	struct cs_link *l = arg;
	DL_APPEND(links, l);
	cs_monitor_watch(l);
}

void cs_link_attach(struct cs_system *s, int fd)
{
	struct cs_link *l = cs_xcalloc(1, sizeof(*l));

	l->fd = fd;
	l->protocol = 1;
	l->seq = 1000; /* below: requests that were queued before the worker ran */
	l->system = cs_system_ref(s);
	pthread_mutex_lock(&s->lock);
	s->link = l;
	pthread_mutex_unlock(&s->lock);
	if (cs_monitor_is_self())
		watch_task(l);
	else
		cs_monitor_post(watch_task, l);
}

int cs_link_request(struct cs_system *s, uint32_t type, const void *a, size_t a_len, const void *b, size_t b_len, const int *fds, size_t n_fds,
		    enum cs_reply_kind kind, struct HcsOperation *op, struct cs_process *p, int64_t timeout_ms, struct cs_err **err)
{
	struct cs_link *l = s->link;
	struct cs_w_header h = {.magic = CS_W_MAGIC, .type = type, .fixed = (uint16_t)a_len};
	size_t len = sizeof(h) + a_len + b_len;

	if (!l || l->dead)
		return cs_fail(err, CS_ERR_UNAVAILABLE, 0, "the worker of %s does not answer", s->id);
	if (type >= CS_W_FOLLOW && l->protocol < 2)
		return cs_fail(err, CS_ERR_UNSUPPORTED, ENOSYS, "container %s runs under a worker of an earlier release, which cannot do that; it can after a restart of the container", s->id);
	if (len > CS_W_MAX_PACKET)
		return cs_fail(err, CS_ERR_INVALID, EMSGSIZE, "the request is too long");
	cs_autofree char *packet = cs_xmalloc(len);
	h.seq = ++l->seq;
	memcpy(packet, &h, sizeof(h));
	if (a_len)
		memcpy(packet + sizeof(h), a, a_len);
	if (b_len)
		memcpy(packet + sizeof(h) + a_len, b, b_len);
	ssize_t n = cs_send_fds(l->fd, packet, len, fds, n_fds, MSG_DONTWAIT);
	if (n < 0)
		return cs_fail(err, CS_ERR_UNAVAILABLE, (int)-n, "send a request to the worker of %s", s->id);
	struct cs_request *r = cs_xcalloc(1, sizeof(*r));
	r->seq = h.seq;
	r->kind = kind;
	r->deadline = timeout_ms ? cs_monotonic_ns() + timeout_ms * CS_NS_PER_MS : 0;
	r->op = cs_op_ref(op);
	r->process = cs_process_ref(p);
	LL_APPEND(l->pending, r);
	if (r->deadline && wanted_at(r->deadline))
		cs_monitor_kick();
	return 0;
}

/* ---- answers ---- */

static enum cs_code known_code(uint32_t code) { return code > CS_ERR_NONE && code < CS_ERR_MAX ? (enum cs_code)code : CS_ERR_INTERNAL; }

/* The struct at the beginning of a payload, whoever knows it longer; its length there, or 0 when it is malformed. v1: its length in version 1. */
static size_t take_struct(const struct cs_w_header *h, const void *data, size_t len, void *ret, size_t size, size_t v1)
{
	size_t fixed = h->fixed ? h->fixed : v1;

	memset(ret, 0, size);
	if (fixed > len || fixed < v1)
		return 0;
	memcpy(ret, data, CS_MIN(fixed, size));
	return fixed;
}
#define TAKE_STRUCT(h, data, len, ret) take_struct(h, data, len, ret, sizeof(*(ret)), sizeof(*(ret)))

static void reply_error(struct cs_request *r, const struct cs_w_header *h, const char *data, size_t len)
{
	struct cs_w_error e;
	size_t fixed = TAKE_STRUCT(h, data, len, &e);

	if (!fixed) {
		cs_op_failf(r->op, HCS_E_PROTOCOL_ERROR, CS_ERR_INTERNAL, "the worker sent a malformed error");
		return;
	}
	enum cs_code code = known_code(e.code);
	cs_autofree char *text = cs_xstrndup(data + fixed, len - fixed);
	HRESULT hr = cs_hresult(code);
	cs_op_complete(r->op, hr, cs_result_error(hr, code, e.sys, text));
}

static bool good_id(const char *id) { return memchr(id, 0, CS_W_ID_MAX) != NULL; }

static void exec_started(struct cs_system *s, struct cs_request *r, const struct cs_w_header *h, const void *data, size_t len)
{
	struct cs_w_started st;
	cs_autostr struct cs_str out = CS_STR_INIT(4096);

	if (!TAKE_STRUCT(h, data, len, &st)) {
		cs_op_failf(r->op, HCS_E_PROTOCOL_ERROR, CS_ERR_INTERNAL, "the worker sent a malformed answer");
		return;
	}
	pthread_mutex_lock(&s->lock);
	r->process->pid = st.pid;
	r->process->started_at = st.started_at;
	pthread_mutex_unlock(&s->lock);
	cs_str_putc(&out, '{');
	cs_json_put_kstr(&out, "Id", r->process->id);
	cs_json_put_ki64(&out, "ProcessId", st.pid);
	cs_json_put_ki64(&out, "StartedAt", st.started_at);
	cs_str_putc(&out, '}');
	if (r->op)
		r->op->info.ProcessId = (uint32_t)st.pid;
	cs_op_complete(r->op, HCS_S_OK, cs_str_steal(&out));
}

static void exec_failed(struct cs_system *s, struct cs_process *p)
{
	pthread_mutex_lock(&s->lock);
	p->failed = true;
	DL_DELETE(s->processes, p);
	p->prev = p->next = NULL;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
	cs_process_unref(p); /* the table's */
}

static void list_one(struct cs_system *s, const struct cs_w_proc *w)
{
	if (!good_id(w->id))
		return;
	pthread_mutex_lock(&s->lock);
	struct cs_process *p = w->id[0] ? cs_process_find(s, w->id) : s->init;
	if (!p) {
		p = cs_process_new(s, w->id);
		DL_APPEND(s->processes, p);
	}
	p->tty = w->tty;
	p->pid = w->pid;
	p->started_at = w->started_at;
	if (w->exited && !p->exited && !p->is_init) {
		p->exited = true;
		p->exit_code = w->exit_code;
		p->exited_at = w->exited_at;
		pthread_cond_broadcast(&s->changed);
	}
	cs_process_ref(p);
	pthread_mutex_unlock(&s->lock);
	cs_process_deliver_exits(p);
	cs_process_unref(p);
}

/* Returns whether the answer is complete. */
static bool list_reply(struct cs_system *s, const struct cs_w_header *h, const char *data, size_t len)
{
	struct cs_w_proc w;

	for (size_t n; len > 0 && (n = TAKE_STRUCT(h, data, len, &w)); data += n, len -= n)
		list_one(s, &w);
	if (h->more)
		return false;
	pthread_mutex_lock(&s->lock);
	s->listed = true;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
	return true;
}

static void take_exit(struct cs_system *s, const struct cs_w_exited *e)
{
	struct cs_exit x = {.valid = true,
			    .type = e->forced ? CS_EXIT_FORCED : e->signal || e->oom_killed ? CS_EXIT_UNEXPECTED : CS_EXIT_GRACEFUL,
			    .code = e->exit_code,
			    .signal = e->signal,
			    .oom_killed = e->oom_killed,
			    .started_at = e->started_at,
			    .exited_at = e->exited_at};
	cs_system_exited(s, &x);
}

static void set_protocol(struct cs_system *s, uint32_t protocol)
{
	pthread_mutex_lock(&s->lock);
	if (s->link)
		s->link->protocol = CS_MIN(protocol, CS_W_PROTOCOL);
	pthread_mutex_unlock(&s->lock);
}

static void hello_reply(struct cs_system *s, const struct cs_w_header *h, const void *data, size_t len)
{
	struct cs_w_hello w;

	if (!take_struct(h, data, len, &w, sizeof(w), CS_W_HELLO_V1)) {
		cs_warn("compute", "the worker of %s sent a malformed greeting", s->id);
		return;
	}
	set_protocol(s, w.protocol);
	cs_process_load_notes(s); /* the worker knows of an engine now: what ends from here on it tells */
	if (w.protocol_min > CS_W_PROTOCOL) /* a worker of the future: what is the same works, what is not it refuses */
		cs_warn("compute", "the worker of %s speaks protocol %u or later, this engine %u", s->id, w.protocol_min, CS_W_PROTOCOL);
	if (w.started.pid > 0)
		cs_system_started(s, &w.started);
	if (w.exited.pid > 0) {
		take_exit(s, &w.exited);
		return;
	}
	pthread_mutex_lock(&s->lock);
	if (s->state == CS_STATE_UNKNOWN)
		s->state = CS_STATE_CREATED; /* still starting: STARTED will come */
	if (s->link && cs_link_request(s, CS_W_LIST, NULL, 0, NULL, 0, NULL, 0, CS_REPLY_LIST, NULL, NULL, 0, NULL) < 0)
		cs_debug("compute", "ask the worker of %s for its processes", s->id);
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
}

/* Returns whether the request is finished. */
static bool handle_reply(struct cs_system *s, struct cs_request *r, const struct cs_w_header *h, const void *data, size_t len)
{
	struct cs_w_reserved re;

	if (r->kind == CS_REPLY_STATUS) { /* whatever it says: all events from before it have been handled */
		cs_op_complete(r->op, HCS_S_OK, cs_process_status_text(r->process));
		return true;
	}
	if (h->type == CS_W_ERROR && r->kind == CS_REPLY_KILL) { /* it is starting: cs_system_started ends it */
		cs_op_complete(r->op, HCS_S_OK, NULL);
		return true;
	}
	if (h->type == CS_W_ERROR) {
		reply_error(r, h, data, len);
		if (r->kind == CS_REPLY_EXEC)
			exec_failed(s, r->process);
		return true;
	}
	switch (r->kind) {
	case CS_REPLY_EXEC:
		if (h->type != CS_W_EXEC_STARTED)
			return false;
		exec_started(s, r, h, data, len);
		return true;
	case CS_REPLY_LIST:
		return h->type != CS_W_LIST_REPLY || list_reply(s, h, data, len);
	case CS_REPLY_HELLO:
		hello_reply(s, h, data, len);
		return true;
	case CS_REPLY_RESERVED:
		if (h->type != CS_W_RESERVED || !TAKE_STRUCT(h, data, len, &re))
			cs_op_failf(r->op, HCS_E_PROTOCOL_ERROR, CS_ERR_INTERNAL, "the worker sent a malformed answer");
		else
			cs_op_complete(r->op, HCS_S_OK, cs_reserved_text(&re));
		return true;
	case CS_REPLY_PLAIN:
	case CS_REPLY_KILL:
	case CS_REPLY_RELEASE:
	case CS_REPLY_STATUS:
		cs_op_complete(r->op, HCS_S_OK, NULL);
		return true;
	}
	return true;
}

static void handle_event(struct cs_system *s, const struct cs_w_header *h, const char *data, size_t len)
{
	struct cs_w_started st;
	struct cs_w_exited ex;
	struct cs_w_error er;
	struct cs_w_id id;

	size_t fixed;

	switch (h->type) {
	case CS_W_STARTED:
		fixed = TAKE_STRUCT(h, data, len, &st);
		if (!fixed)
			break;
		uint32_t protocol = 1;
		if (h->fixed && len - fixed >= sizeof(protocol))
			memcpy(&protocol, data + fixed, sizeof(protocol));
		set_protocol(s, protocol);
		cs_system_started(s, &st);
		break;
	case CS_W_START_FAILED:
		fixed = TAKE_STRUCT(h, data, len, &er);
		if (fixed) {
			cs_autofree char *text = cs_xstrndup(data + fixed, len - fixed);
			cs_system_start_failed(s, known_code(er.code), er.sys, text);
		}
		break;
	case CS_W_EXITED:
	case CS_W_EXEC_EXITED:
		if (!TAKE_STRUCT(h, data, len, &ex) || !good_id(ex.id))
			break;
		if (h->type == CS_W_EXITED)
			take_exit(s, &ex);
		else
			cs_process_exited(s, &ex);
		break;
	case CS_W_OOM:
		cs_system_event(s, HcsEventSystemOom, NULL);
		break;
	case CS_W_DETACHED:
		if (TAKE_STRUCT(h, data, len, &id)) {
			cs_autostr struct cs_str out = CS_STR_INIT(4096);
			cs_str_putc(&out, '{');
			cs_json_put_kstr(&out, "Id", good_id(id.id) ? id.id : "");
			cs_str_putc(&out, '}');
			cs_system_event(s, HcsEventProcessDetached, out.buf);
		}
		break;
	case CS_W_WARNING: {
		cs_autofree char *text = cs_xstrndup(data, len);
		cs_system_warn(s, text);
		break;
	}
	default: /* a newer worker's event */
		break;
	}
}

static void handle_packet(struct cs_link *l, const char *packet, size_t len)
{
	struct cs_system *s = l->system;
	struct cs_request *r;
	struct cs_w_header h;

	if (len < sizeof(h))
		return;
	memcpy(&h, packet, sizeof(h));
	if (h.magic != CS_W_MAGIC)
		return;
	packet += sizeof(h);
	len -= sizeof(h);
	if (h.seq == 0) {
		handle_event(s, &h, packet, len);
		return;
	}
	pthread_mutex_lock(&s->lock);
	LL_SEARCH_SCALAR(l->pending, r, seq, h.seq);
	pthread_mutex_unlock(&s->lock);
	/* only this thread removes requests, so r stays */
	if (!r || !handle_reply(s, r, &h, packet, len))
		return;
	pthread_mutex_lock(&s->lock);
	LL_DELETE(l->pending, r);
	pthread_mutex_unlock(&s->lock);
	request_free(r);
}

static void link_lost(struct cs_link *l)
{
	struct cs_system *s = l->system;

	cs_monitor_forget(l);
	DL_DELETE(links, l);
	pthread_mutex_lock(&s->lock);
	l->dead = true;
	if (s->link == l)
		s->link = NULL;
	struct cs_request *pending = l->pending, *next;
	l->pending = NULL;
	pthread_mutex_unlock(&s->lock);
	cs_system_worker_gone(s);
	for (; pending; pending = next) {
		next = pending->next;
		if (pending->kind == CS_REPLY_EXEC)
			exec_failed(s, pending->process);
		if (pending->kind == CS_REPLY_KILL)
			cs_op_complete(pending->op, HCS_S_OK, NULL); /* dead is what was wanted; cs_system_worker_gone sweeps */
		cs_op_failf(pending->op, HCS_E_CONNECTION_CLOSED, CS_ERR_UNAVAILABLE, "the worker of %s has ended", s->id);
		request_free(pending);
	}
	cs_close(l->fd);
	cs_system_unref(s);
	free(l);
}

void cs_link_readable(struct cs_link *l)
{
	static char packet[CS_W_MAX_PACKET]; /* monitor thread only */

	for (int i = 0; i < 32; i++) { /* then the others have their turn */
		ssize_t n = cs_recv_fds(l->fd, packet, sizeof(packet), NULL, NULL, MSG_DONTWAIT);
		if (n == -EAGAIN || n == -EINTR)
			return;
		if (n == -EMSGSIZE)
			continue;
		if (n <= 0) {
			link_lost(l);
			return;
		}
		handle_packet(l, packet, (size_t)n);
	}
}

/* ---- time-outs ---- */

static void sweep_task(void *arg)
{
	struct cs_system *s = arg;
	cs_system_sweep_stuck(s);
	cs_system_unref(s);
}

/* Nobody will hear of it: should the worker wake up and start it, the next packet ends it, and its end is collected. */
static void disown_exec(struct cs_link *l, struct cs_request *r)
{
	struct cs_system *s = l->system;
	struct cs_w_signal w = {.sig = SIGKILL};

	memcpy(w.id, r->process->id, sizeof(w.id));
	pthread_mutex_lock(&s->lock);
	r->process->failed = r->process->released = true;
	if (s->link == l && cs_link_request(s, CS_W_SIGNAL, &w, sizeof(w), NULL, 0, NULL, 0, CS_REPLY_PLAIN, NULL, NULL, 0, NULL) < 0)
		cs_debug("compute", "the worker of %s takes no requests", s->id);
	cs_op_unref(TAKE_PTR(r->op));
	r->deadline = 0;
	LL_APPEND(l->pending, r); /* the answer tells whether it has come to be */
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
}

static void time_out(struct cs_link *l, struct cs_request *r)
{
	if (r->kind == CS_REPLY_KILL) {
		/* a stuck worker must not keep a container alive */
		cs_background(sweep_task, cs_system_ref(l->system));
		cs_op_complete(r->op, HCS_S_OK, NULL);
	} else {
		cs_op_failf(r->op, HCS_E_CONNECTION_TIMEOUT, CS_ERR_TIMEOUT, "the worker of %s does not answer", l->system->id);
	}
	if (r->kind == CS_REPLY_EXEC)
		disown_exec(l, r);
	else
		request_free(r);
}

int64_t cs_link_expire(int64_t now)
{
	int64_t next = 0;
	long long due = atomic_load(&next_deadline);
	struct cs_link *l;

	if (!due || due > now)
		return due;
	atomic_store(&next_deadline, 0);
	DL_FOREACH(links, l)
	{
		struct cs_request *r, *tmp, *expired = NULL, **end = &expired;
		pthread_mutex_lock(&l->system->lock);
		for (struct cs_request **at = &l->pending; (r = *at);) {
			if (r->deadline && r->deadline <= now) {
				*at = r->next;
				r->next = NULL;
				*end = r;
				end = &r->next;
				continue;
			}
			if (r->deadline && (!next || r->deadline < next))
				next = r->deadline;
			at = &r->next;
		}
		pthread_mutex_unlock(&l->system->lock);
		LL_FOREACH_SAFE(expired, r, tmp)
		time_out(l, r);
	}
	if (next)
		(void)wanted_at(next); /* somebody may have added an earlier one meanwhile */
	return atomic_load(&next_deadline);
}

/* The monitor has ended: hang up without touching the system's state. */
void cs_link_abandon(struct cs_link *l)
{
	DL_DELETE(links, l);
	while (l->pending) {
		struct cs_request *r = l->pending;
		LL_DELETE(l->pending, r);
		cs_op_failf(r->op, HCS_E_SERVICE_DISCONNECT, CS_ERR_UNAVAILABLE, "the service is shutting down");
		request_free(r);
	}
	cs_close(l->fd);
	cs_system_unref(l->system);
	free(l);
}
