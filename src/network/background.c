/* SPDX-License-Identifier: Apache-2.0
 *
 * One thread for what nobody waits for: links are deleted, addresses come back after that, and notifications go out. In the order of asking, but
 * links that wait at the same time are deleted by one request: the kernel waits for its other processors once, not once each. */
#include "base/id.h"
#include "network/internal.h"

enum what { DELETE, RELEASE, NOTIFY };
struct item {
	enum what what;
	int outer;
	struct HcnEndpoint *e;
	uint32_t notification;
	char *data;
	struct item *next;
};

struct HcnCallback {
	HCN_NOTIFICATION_CALLBACK call;
	void *context;
	struct HcnCallback *next;
};

static struct {
	pthread_mutex_t lock;
	pthread_cond_t work, done;
	struct item *head, **tail;
	uint64_t queued, finished;
	pthread_t thread;
	bool running, stop;
	struct HcnEndpoint **returning; /* whose addresses are on their way back */
	size_t n_returning;
	pthread_mutex_t calls; /* held while callbacks run */
	struct HcnCallback *callbacks;
} bg = {.lock = PTHREAD_MUTEX_INITIALIZER, .work = PTHREAD_COND_INITIALIZER, .done = PTHREAD_COND_INITIALIZER, .calls = PTHREAD_MUTEX_INITIALIZER};

/* ---- links ---- */

void cs_links_delete(const int *index, size_t n)
{
	cs_autoerr struct cs_err *err = NULL;
	cs_autortnl struct cs_rtnl r = {0};
	struct cs_nl b;
	uint32_t group;

	if (n == 0)
		return;
	if (cs_host_rtnl(&r, &err) == 0) {
		cs_nl_init(&b, &r);
		cs_random_bytes(&group, sizeof(group));
		group |= 0x40000000; /* of nobody else's: those are small numbers (ip-link(8)), and only for as long as this batch */
		group &= 0x7fffffff;
		for (size_t i = 0; i < n && n > 1; i++)
			cs_link_set_group(&b, index[i], group);
		if (n > 1)
			cs_link_del_group(&b, group);
		else
			cs_link_del(&b, index[0]);
		if (cs_nl_run(&b, &err) == 0)
			return;
	}
	if (err) {
		cs_autofree char *text = cs_err_text(err);
		cs_warn(SUBSYS, "%zu links stay: %s", n, text);
	}
}

void cs_link_undo(struct cs_rtnl *r, const char *name, const struct cs_err *why)
{
	struct cs_nl b;

	if (why && why->sys == EEXIST) /* somebody was quicker: it is his */
		return;
	cs_nl_init(&b, r);
	cs_link_del_name(&b, name);
	cs_nl_try(&b);
}

/* ---- the thread ---- */

static void returned(const struct HcnEndpoint *e)
{
	pthread_mutex_lock(&bg.lock);
	for (size_t i = 0; i < bg.n_returning; i++)
		if (bg.returning[i] == e) {
			bg.returning[i] = bg.returning[--bg.n_returning];
			break;
		}
	if (bg.n_returning == 0)
		free(TAKE_PTR(bg.returning));
	pthread_mutex_unlock(&bg.lock);
}

static void release(struct HcnEndpoint *e)
{
	struct HcnNetwork *n = e->net;

	returned(e);
	pthread_mutex_lock(&n->o.lock);
	for (size_t i = 0; i < n->n_subnets; i++) {
		if (e->v4.ip.family)
			cs_subnet_give(&n->subnets[i], e->v4.ip);
		if (e->v6.ip.family)
			cs_subnet_give(&n->subnets[i], e->v6.ip);
	}
	pthread_mutex_unlock(&n->o.lock);
	cs_obj_unref(CS_ENDPOINT, e);
}

static void call(const struct item *it)
{
	pthread_mutex_lock(&bg.calls);
	for (struct HcnCallback *c = bg.callbacks; c; c = c->next)
		c->call(it->notification, c->context, HCS_S_OK, it->data);
	pthread_mutex_unlock(&bg.calls);
}

/* Deletes first, then the rest in order; returns how many there were. */
static uint64_t work_off(struct item *list)
{
	uint64_t n = 0;
	size_t n_links = 0;

	for (struct item *it = list; it; it = it->next, n++)
		n_links += it->what == DELETE;
	cs_autofree int *links = cs_xcalloc(n_links + 1, sizeof(*links));
	n_links = 0;
	for (struct item *it = list; it; it = it->next)
		if (it->what == DELETE)
			links[n_links++] = it->outer;
	cs_links_delete(links, n_links);
	while (list) {
		struct item *it = list;
		list = it->next;
		if (it->what == RELEASE)
			release(it->e);
		else if (it->what == NOTIFY)
			call(it);
		free(it->data);
		free(it);
	}
	return n;
}

static void *work(void *unused)
{
	pthread_mutex_lock(&bg.lock);
	for (;;) {
		struct item *list = bg.head;
		if (!list && bg.stop)
			break;
		if (!list) {
			pthread_cond_wait(&bg.work, &bg.lock);
			continue;
		}
		bg.head = NULL;
		bg.tail = &bg.head;
		pthread_mutex_unlock(&bg.lock);
		uint64_t n = work_off(list);
		pthread_mutex_lock(&bg.lock);
		bg.finished += n;
		pthread_cond_broadcast(&bg.done);
	}
	pthread_mutex_unlock(&bg.lock);
	return NULL;
}

int cs_background_start(struct cs_err **err)
{
	bg.tail = &bg.head;
	bg.stop = false;
	int r = pthread_create(&bg.thread, NULL, work, NULL);
	if (r != 0)
		return cs_fail(err, CS_ERR_INTERNAL, r, "start a thread");
	bg.running = true;
	return 0;
}

void cs_background_stop(void)
{
	if (!bg.running)
		return;
	pthread_mutex_lock(&bg.lock);
	bg.stop = true;
	pthread_cond_signal(&bg.work);
	pthread_mutex_unlock(&bg.lock);
	(void)pthread_join(bg.thread, NULL);
	bg.running = false;
}

static void queue(struct item *it)
{
	pthread_mutex_lock(&bg.lock);
	it->next = NULL;
	*bg.tail = it;
	bg.tail = &it->next;
	bg.queued++;
	pthread_cond_signal(&bg.work);
	pthread_mutex_unlock(&bg.lock);
}

void cs_background_delete(int outer)
{
	struct item *it = cs_xcalloc(1, sizeof(*it));

	*it = (struct item){.what = DELETE, .outer = outer};
	queue(it);
}

void cs_background_release(struct HcnEndpoint *e)
{
	struct item *it = cs_xcalloc(1, sizeof(*it));

	*it = (struct item){.what = RELEASE, .e = e};
	pthread_mutex_lock(&bg.lock);
	bg.returning = cs_xreallocarray(bg.returning, bg.n_returning + 1, sizeof(*bg.returning));
	bg.returning[bg.n_returning++] = e;
	pthread_mutex_unlock(&bg.lock);
	queue(it);
}

bool cs_background_returns(const struct HcnNetwork *n, const char *name)
{
	CS_GUARD(&bg.lock);
	for (size_t i = 0; i < bg.n_returning && !cs_empty(name); i++)
		if (bg.returning[i]->net == n && cs_streq(bg.returning[i]->doc.name, name))
			return true;
	return false;
}

void cs_background_flush(void)
{
	pthread_mutex_lock(&bg.lock);
	uint64_t until = bg.queued;
	while (bg.finished < until && bg.running)
		pthread_cond_wait(&bg.done, &bg.lock);
	pthread_mutex_unlock(&bg.lock);
}

void cs_hcn_flush(void) { cs_background_flush(); }

/* ---- notifications ---- */

void cs_net_notify(uint32_t what, const struct cs_obj *o, const struct cs_obj *network)
{
	pthread_mutex_lock(&bg.calls);
	bool any = bg.callbacks;
	pthread_mutex_unlock(&bg.calls);
	if (!any)
		return;
	struct item *it = cs_xcalloc(1, sizeof(*it));
	struct cs_str s = CS_STR_INIT(256);
	cs_str_putc(&s, '{');
	if (o)
		cs_json_put_kstr(&s, "ID", o->text);
	if (network)
		cs_json_put_kstr(&s, "HostComputeNetwork", network->text);
	cs_str_putc(&s, '}');
	*it = (struct item){.what = NOTIFY, .notification = what, .data = cs_str_steal(&s)};
	queue(it);
}

HRESULT HcnRegisterServiceCallback(HCN_NOTIFICATION_CALLBACK callback, void *context, HCN_CALLBACK *handle)
{
	if (!callback || !handle)
		return HCS_E_INVALIDARG;
	struct HcnCallback *c = cs_xcalloc(1, sizeof(*c));
	*c = (struct HcnCallback){callback, context, NULL};
	pthread_mutex_lock(&bg.calls);
	c->next = bg.callbacks;
	bg.callbacks = c;
	pthread_mutex_unlock(&bg.calls);
	*handle = c;
	return HCS_S_OK;
}

HRESULT HcnUnregisterServiceCallback(HCN_CALLBACK handle)
{
	pthread_mutex_lock(&bg.calls); /* not while one runs */
	struct HcnCallback **p = &bg.callbacks;
	while (*p && *p != handle)
		p = &(*p)->next;
	bool found = *p;
	if (found)
		*p = handle->next;
	pthread_mutex_unlock(&bg.calls);
	if (!found)
		return HCS_E_INVALIDARG;
	free(handle);
	return HCS_S_OK;
}
