/* SPDX-License-Identifier: Apache-2.0
 *
 * Systems that an earlier engine has left: living workers are connected to, ended systems are read from their `status`, and what a
 * vanished worker left is swept. Nothing in a runtime directory may stop the start: whoever does not answer in time stays "Unknown"
 * and is tried again in the background. Runs in the thread that opens the service, retries on the monitor. */
#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <utlist.h>

#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "base/num.h"
#include "base/strv.h"
#include "base/time.h"
#include "compute/internal.h"

#define ANSWER_MS 2000
#define RETRY_MS 5000

bool cs_kv_i64(const char *text, const char *key, int64_t *ret)
{
	size_t n = strlen(key);

	for (const char *line = text; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
		if (strncmp(line, key, n) != 0 || line[n] != '=')
			continue;
		cs_autofree char *value = cs_xstrndup(line + n + 1, strcspn(line + n + 1, "\n"));
		return cs_parse_i64(value, INT64_MIN, INT64_MAX, ret);
	}
	return false;
}

int cs_exit_load(int dir, struct cs_exit *ret)
{
	cs_autostr struct cs_str text = CS_STR_INIT(65536);
	int64_t code = 255, sig = 0, oom = 0, forced = 0;
	int r = cs_read_file_at(dir, "status", &text);

	if (r < 0)
		return r;
	if (!text.buf || !cs_kv_i64(text.buf, "exit_code", &code) || code < 0 || code > 255)
		return -EBADMSG;
	*ret = (struct cs_exit){.valid = true};
	(void)cs_kv_i64(text.buf, "signal", &sig);
	(void)cs_kv_i64(text.buf, "oom", &oom);
	(void)cs_kv_i64(text.buf, "forced", &forced);
	(void)cs_kv_i64(text.buf, "exited_at", &ret->exited_at);
	(void)cs_kv_i64(text.buf, "started_at", &ret->started_at);
	ret->code = (int)code;
	ret->signal = (int)sig;
	ret->oom_killed = oom != 0;
	ret->type = forced ? CS_EXIT_FORCED : sig || oom ? CS_EXIT_UNEXPECTED : CS_EXIT_GRACEFUL;
	return 0;
}

/* Held by the worker as long as it lives; see runtime_make in lifecycle.c. */
bool cs_worker_lives(int dir) { return flock(dir, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK; }

static int connect_worker(int dir)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	cs_autofd int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	/* system ids are longer than a socket address allows */
	(void)snprintf(sa.sun_path, sizeof(sa.sun_path), "/proc/self/fd/%d/worker.sock", dir);
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return -errno;
	return TAKE_FD(fd);
}

void cs_process_load_notes(struct cs_system *s)
{
	cs_autofd int dir = cs_system_runtime_open(s->id, NULL);
	DIR *d = dir >= 0 ? fdopendir(dir) : NULL;
	struct dirent *e;

	if (!d)
		return;
	(void)TAKE_FD(dir);
	while ((e = readdir(d))) {
		const char *id = cs_prefix(e->d_name, "exec-");
		cs_autostr struct cs_str text = CS_STR_INIT(65536);
		int64_t pid = 0, code = 255, at = 0;
		if (!id || strlen(id) >= CS_W_ID_MAX || !*id || cs_read_file_at(dirfd(d), e->d_name, &text) < 0 || !text.buf)
			continue;
		if (!cs_kv_i64(text.buf, "exit_code", &code) || !cs_kv_i64(text.buf, "pid", &pid))
			continue;
		(void)cs_kv_i64(text.buf, "exited_at", &at);
		pthread_mutex_lock(&s->lock);
		struct cs_process *p = cs_process_find(s, id);
		if (!p) {
			p = cs_process_new(s, id);
			DL_APPEND(s->processes, p);
		}
		p->pid = (int32_t)pid;
		p->noted = true;
		p->exited = true;
		p->exit_code = (int32_t)code;
		p->exited_at = at;
		pthread_mutex_unlock(&s->lock);
	}
	(void)closedir(d);
}

static void load_started(struct cs_system *s, int dir)
{
	cs_autostr struct cs_str text = CS_STR_INIT(65536);
	int64_t pid = 0, at = 0;
	char worker[16] = "";

	if (readlinkat(dir, "worker", worker, sizeof(worker) - 1) > 0 && cs_parse_i64(worker, 1, INT32_MAX, &pid)) {
		pthread_mutex_lock(&s->lock);
		s->worker = (pid_t)pid;
		pthread_mutex_unlock(&s->lock);
	}
	pid = 0;
	if (cs_read_file_at(dir, "started", &text) < 0 || !text.buf)
		return;
	(void)cs_kv_i64(text.buf, "pid", &pid);
	(void)cs_kv_i64(text.buf, "started_at", &at);
	s->init->pid = (int32_t)pid;
	s->init->started_at = at;
}

static void retry(void *arg)
{
	struct cs_system *s = arg;
	pthread_mutex_lock(&s->lock);
	bool needed = s->state == CS_STATE_UNKNOWN && !s->link && !s->cleaning;
	pthread_mutex_unlock(&s->lock);
	if (needed)
		cs_reconnect(s);
	cs_system_unref(s);
}

static void retry_later(struct cs_system *s, int64_t ms)
{
	s->retries++;
	cs_monitor_post_at(cs_monotonic_ns() + ms * CS_NS_PER_MS, retry, cs_system_ref(s));
}

static void exited_task(void *arg)
{
	struct cs_system *s = arg;
	cs_system_worker_gone(s); /* reads status, or sweeps */
	cs_system_unref(s);
}

void cs_reconnect(struct cs_system *s)
{
	cs_autofd int dir = cs_system_runtime_open(s->id, NULL);
	struct cs_w_hello_request hello = {.protocol = CS_W_PROTOCOL, .protocol_min = CS_W_PROTOCOL_MIN};

	if (dir < 0)
		return;
	load_started(s, dir);
	cs_autofd int fd = connect_worker(dir);
	if (fd >= 0) {
		struct ucred peer = {0};
		socklen_t len = sizeof(peer);
		if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0) /* who listens: the worker, also one that is stuck */
			peer.pid = 0;
		cs_link_attach(s, TAKE_FD(fd));
		pthread_mutex_lock(&s->lock);
		s->worker = peer.pid ? peer.pid : s->worker;
		int r = cs_link_request(s, CS_W_HELLO, &hello, sizeof(hello), NULL, 0, NULL, 0, CS_REPLY_HELLO, NULL, NULL, 0, NULL);
		pthread_mutex_unlock(&s->lock);
		if (r < 0)
			cs_debug("compute", "say hello to the worker of %s: failed", s->id);
		return;
	}
	if (cs_worker_lives(dir)) { /* about to listen, about to end, or busy */
		retry_later(s, s->retries < 20 ? 50 : RETRY_MS);
		return;
	}
	cs_process_load_notes(s);
	cs_monitor_post(exited_task, cs_system_ref(s));
}

static int load_document(struct cs_system *s, struct cs_err **err)
{
	cs_autofd int dir = cs_system_runtime_open(s->id, err);
	cs_autostr struct cs_str text = CS_STR_INIT(CS_DOCUMENT_MAX), plan = CS_STR_INIT(CS_DOCUMENT_MAX);

	if (dir < 0)
		return -1;
	int r = cs_read_file_at(dir, "document", &text);
	if (r < 0)
		return cs_fail(err, CS_ERR_INTERNAL, -r, "read the document of %s", s->id);
	cs_autojson json_t *doc = cs_json_parse_u64(text.buf ? text.buf : "", text.len, err);
	if (!doc)
		return -1;
	struct cs_compile_env env = {.host = &cs_service.host, .id = s->id};
	return cs_document_compile(doc, &env, &s->document, &plan, err);
}

/* A directory whose document cannot be read (the engine died while writing it, or somebody played with it): the groups that the
 * service would have given it. */
static void default_document(struct cs_system *s)
{
	cs_document_done(&s->document);
	s->document = (struct cs_document){.cgroups_path = cs_xasprintf("%s/%s", cs_service.cgroup_parent, s->id)};
}

static struct cs_system *load(const char *id)
{
	struct cs_system *s = cs_system_new(id);
	cs_autoerr struct cs_err *err = NULL;

	s->state = CS_STATE_UNKNOWN;
	s->has_directory = true;
	if (load_document(s, &err) < 0) {
		cs_autofree char *text = cs_err_text(err);
		cs_debug("compute", "system %s: %s", id, text);
		default_document(s);
	}
	s->init->tty = s->document.tty;
	if (cs_system_insert(s))
		return s;
	cs_system_unref(s);
	return NULL;
}

static bool answered(struct cs_system *s) { return s->exit.valid || (s->state != CS_STATE_UNKNOWN && s->listed); }

static void wait_for(struct cs_system *s, const struct timespec *until)
{
	pthread_mutex_lock(&s->lock);
	while (!answered(s))
		if (pthread_cond_timedwait(&s->changed, &s->lock, until) == ETIMEDOUT)
			break;
	pthread_mutex_unlock(&s->lock);
}

void cs_reconnect_all(void)
{
	cs_autofd int fd = openat(cs_service.systems_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	struct cs_system **list = NULL;
	struct dirent *e;
	size_t n = 0;

	if (!d)
		return;
	(void)TAKE_FD(fd);
	while ((e = readdir(d))) {
		size_t len = strlen(e->d_name);
		struct cs_system *s;
		if (cs_prefix(e->d_name, CS_GONE_PREFIX))
			(void)cs_remove_tree_at(cs_service.systems_fd, e->d_name);
		if (e->d_name[0] == '.' || len > 128 || (e->d_type != DT_DIR && e->d_type != DT_UNKNOWN) || !(s = load(e->d_name)))
			continue;
		list = cs_xreallocarray(list, n + 1, sizeof(struct cs_system *));
		list[n++] = cs_system_ref(s);
	}
	(void)closedir(d);
	for (size_t i = 0; i < n; i++)
		cs_reconnect(list[i]);
	struct timespec until = cs_timespec(cs_monotonic_ns() + ANSWER_MS * CS_NS_PER_MS);
	for (size_t i = 0; i < n; i++) {
		wait_for(list[i], &until);
		cs_system_unref(list[i]);
	}
	free(list);
}
