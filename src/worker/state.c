/* SPDX-License-Identifier: Apache-2.0
 *
 * What outlives the connection to the engine: files in the runtime directory and the answers to waiting clients. */
#include <fcntl.h>
#include <sys/socket.h>

#include "base/io.h"
#include "base/str.h"
#include "worker/worker.h"

#define MAX_WATCHES 256
#define RESERVED 512 /* for `status` */

static void put(struct cs_str *s, const char *key, int64_t v)
{
	cs_str_puts(s, key);
	cs_str_putc(s, '=');
	cs_str_put_i64(s, v);
	cs_str_putc(s, '\n');
}

static void save(const char *name, struct cs_str *s)
{
	/* not synced: after a power loss the container is gone anyway, and fsync would cost more than the start */
	int r = cs_replace_file_at(worker.dirfd, name, s->buf, s->len, 0600, false);
	if (r < 0)
		cs_control_warn(NULL, "writing the worker's state file failed");
	cs_str_done(s);
}

void cs_state_started(const struct cs_proc *p, int ahead)
{
	struct cs_str s = CS_STR_INIT(1024);

	put(&s, "pid", p->pid);
	put(&s, "started_at", p->started_at);
	put(&s, "worker", getpid());
	put(&s, "ahead", ahead);
	save("started", &s);
	/* the exit must find room even when the file system is full then */
	char blank[RESERVED];
	memset(blank, '\n', sizeof(blank));
	if (cs_replace_file_at(worker.dirfd, "reserve", blank, sizeof(blank), 0600, false) < 0)
		cs_control_warn(NULL, "reserving room for the exit status failed");
}

static bool save_in_reserve(const char *name, const struct cs_str *s)
{
	char text[RESERVED];
	cs_autofd int fd = openat(worker.dirfd, "reserve", O_WRONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0 || s->failed || s->len > sizeof(text))
		return false;
	memset(text, '\n', sizeof(text));
	memcpy(text, s->buf, s->len);
	return cs_write_full(fd, text, sizeof(text)) == 0 && renameat(worker.dirfd, "reserve", worker.dirfd, name) == 0;
}

void cs_state_status(const struct cs_w_exited *x)
{
	struct cs_str s = CS_STR_INIT(1024);

	put(&s, "exit_code", x->exit_code);
	put(&s, "signal", x->signal);
	put(&s, "oom", x->oom_killed);
	put(&s, "exited_at", x->exited_at);
	put(&s, "started_at", x->started_at);
	put(&s, "forced", x->forced);
	if (save_in_reserve("status", &s))
		cs_str_done(&s);
	else
		save("status", &s);
}

void cs_state_exec(const struct cs_proc *p)
{
	struct cs_str s = CS_STR_INIT(1024);
	char name[8 + CS_W_ID_MAX];

	put(&s, "pid", p->pid);
	put(&s, "exit_code", p->exit_code);
	put(&s, "exited_at", p->exited_at);
	(void)snprintf(name, sizeof(name), "exec-%s", p->id);
	save(name, &s);
}

int cs_watch_add(struct cs_proc *p, int fd, const void *owner, const struct cs_w_request *r, struct cs_err **err)
{
	cs_autofd int sock = fd;
	size_t n = 0;

	if (p->exited)
		return cs_fail(err, CS_ERR_CONFLICT, ESRCH, "the process has exited");
	for (struct cs_watch *x = p->watches; x; x = x->next)
		n++;
	if (n >= MAX_WATCHES)
		return cs_fail(err, CS_ERR_UNAVAILABLE, 0, "more than %d clients wait for one process", MAX_WATCHES);
	struct cs_watch *x = cs_xcalloc(1, sizeof(*x) + r->prefix_len + r->suffix_len);
	x->fd = TAKE_FD(sock);
	x->owner = owner;
	x->prefix_len = r->prefix_len;
	x->suffix_len = r->suffix_len;
	memcpy(x->text, r->prefix, r->prefix_len);
	memcpy(x->text + r->prefix_len, r->suffix, r->suffix_len);
	x->next = p->watches;
	p->watches = x;
	return 0;
}

static void answer(const struct cs_proc *p, const struct cs_watch *x)
{
	struct cs_str s = CS_STR_INIT(CS_W_MAX_PACKET + 16);

	cs_str_put(&s, x->text, x->prefix_len);
	cs_str_putf(&s, "%3d", p->exit_code);
	cs_str_put(&s, x->text + x->prefix_len, x->suffix_len);
	/* a client that does not take a hundred bytes is not worth waiting for */
	(void)!send(x->fd, s.buf, s.len, MSG_DONTWAIT | MSG_NOSIGNAL);
	(void)shutdown(x->fd, SHUT_RDWR);
	cs_str_done(&s);
}

static void fire(struct cs_proc *p, bool all)
{
	for (struct cs_watch **i = &p->watches; *i;) {
		struct cs_watch *x = *i;
		if (x->owner && !all) {
			i = &x->next;
			continue;
		}
		*i = x->next;
		if (!x->owner)
			answer(p, x);
		cs_close(x->fd);
		free(x);
	}
}

void cs_watch_fire(struct cs_proc *p) { fire(p, false); }

void cs_watch_drop(struct cs_proc *p)
{
	for (struct cs_watch *x = p->watches; x; x = x->next)
		x->owner = x;
	fire(p, true);
}

void cs_watch_owner_gone(const void *owner)
{
	for (struct cs_proc *p = worker.procs; p; p = p->next) {
		for (struct cs_watch *x = p->watches; x; x = x->next)
			if (x->owner == owner)
				x->owner = NULL;
		/* told, and it died before it could answer */
		if (p->id[0] ? p->exited : worker.phase == CS_PHASE_DEAD)
			cs_watch_fire(p);
	}
}
