/* SPDX-License-Identifier: Apache-2.0
 *
 * One thread for what nobody waits for: links are deleted, addresses come back after that, and notifications go out. In the order of asking, but
 * links that wait at the same time are deleted by one request: the kernel waits for its other processors once, not once each.
 *
 * What the kernel did not take away when it was told to (it had no memory, say) is tried again until it does: no object has it any more. */
#include "base/id.h"
#include "base/time.h"
#include "network/edge.h"
#include "network/internal.h"

#define AGAIN_FIRST_NS (100 * CS_NS_PER_MS) /* doubled each time */
#define AGAIN_MOST_NS (10 * CS_NS_PER_SEC)
#define LATER_NS CS_NS_PER_SEC

enum what { DELETE, RELEASE, NOTIFY, REVIEW, REVIEW_ALL };
struct item {
	enum what what;
	int outer;
	struct HcnEndpoint *e;
	uint32_t notification;
	char *data;
	int64_t due; /* of what comes later */
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
	struct item *head, **tail, *later, **later_tail; /* those in the order of `due` */
	uint64_t queued, finished;
	pthread_t thread;
	bool running, stop;
	struct HcnEndpoint **returning; /* whose addresses are on their way back */
	size_t n_returning;
	int64_t again, pause; /* when something is tried once more, 0: nothing is; how long after that the next time is */
	pthread_mutex_t calls; /* held while callbacks run */
	struct HcnCallback *callbacks;
} bg = {.lock = PTHREAD_MUTEX_INITIALIZER, .done = PTHREAD_COND_INITIALIZER, .calls = PTHREAD_MUTEX_INITIALIZER};

/* ---- links ---- */

/* A link that should have gone: by its index, or by its name, if it has the mark then. */
struct stays {
	int index;
	char name[IFNAMSIZ], mark[96];
};
static struct {
	pthread_mutex_t lock;
	struct stays *v;
	size_t n;
} stay = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void keep(const struct stays *s)
{
	CS_GUARD(&stay.lock);

	stay.v = cs_xreallocarray(stay.v, stay.n + 1, sizeof(*stay.v));
	stay.v[stay.n++] = *s;
}

static int delete_all(const int *index, size_t n, struct cs_err **err)
{
	cs_autortnl struct cs_rtnl r = {0};
	struct cs_nl b;
	uint32_t group;

	if (cs_host_rtnl(&r, err) < 0)
		return -1;
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
	return cs_nl_run(&b, err);
}

void cs_links_delete(const int *index, size_t n)
{
	cs_autoerr struct cs_err *err = NULL;

	if (n == 0 || delete_all(index, n, &err) == 0)
		return;
	cs_autofree char *text = cs_err_text(err);
	cs_warn(SUBSYS, "%zu links stay for now: %s", n, text);
	for (size_t i = 0; i < n; i++)
		keep(&(struct stays){.index = index[i]});
	cs_background_again();
}

/* Its index; 0: it is gone, or another's; -1: the kernel does not say. */
static int index_of(struct cs_rtnl *r, const struct stays *s)
{
	cs_autoerr struct cs_err *err = NULL;
	struct cs_link_info l;

	if (s->index)
		return s->index;
	if (cs_link_get(r, 0, s->name, &l, &err) < 0)
		return cs_err_code(err) == CS_ERR_NOT_FOUND ? 0 : -1;
	return strcmp(l.alias, s->mark) == 0 ? l.index : 0;
}

bool cs_links_delete_rest(void)
{
	cs_autoerr struct cs_err *err = NULL;
	cs_autortnl struct cs_rtnl r = {0};
	size_t deleted = 0;

	/* held, so that who waits for the lock finds them gone */
	CS_GUARD(&stay.lock);
	if (stay.n == 0)
		return true;
	if (cs_host_rtnl(&r, &err) < 0)
		return false;
	for (size_t i = 0; i < stay.n;) {
		int index = index_of(&r, &stay.v[i]);
		if (index < 0 || (index > 0 && delete_all(&index, 1, NULL) < 0)) {
			i++;
			continue;
		}
		deleted += index > 0;
		stay.v[i] = stay.v[--stay.n];
	}
	if (deleted > 0)
		cs_info(SUBSYS, "%zu links that had stayed are gone", deleted);
	return stay.n == 0;
}

void cs_link_undo(struct cs_rtnl *r, const char *name, const char *mark, const struct cs_err *why)
{
	struct stays s = {0};
	struct cs_nl b;

	if (why && why->sys == EEXIST) /* somebody was quicker: it is his */
		return;
	cs_nl_init(&b, r);
	cs_link_del_name(&b, name);
	if (cs_nl_run(&b, NULL) == 0 || !mark)
		return;
	(void)snprintf(s.name, sizeof(s.name), "%s", name);
	(void)snprintf(s.mark, sizeof(s.mark), "%s", mark);
	keep(&s);
	cs_background_again();
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

static void review(struct HcnEndpoint *e)
{
	cs_shortcut_review(e);
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
		else if (it->what == REVIEW)
			review(it->e);
		else if (it->what == REVIEW_ALL)
			cs_shortcuts_review();
		free(it->data);
		free(it);
	}
	return n;
}

/* Under the lock. */
static void append(struct item *it)
{
	it->next = NULL;
	*bg.tail = it;
	bg.tail = &it->next;
	bg.queued++;
}

static void take_due(void)
{
	while (bg.later && bg.later->due <= cs_monotonic_ns()) {
		struct item *it = bg.later;
		bg.later = it->next;
		append(it);
	}
	if (!bg.later)
		bg.later_tail = &bg.later;
}

/* Under the lock, which is given up meanwhile. */
static void try_again(void)
{
	bg.again = 0;
	pthread_mutex_unlock(&bg.lock);
	bool links = cs_links_delete_rest(), rules = cs_edge_mend();
	pthread_mutex_lock(&bg.lock);
	if (links && rules) {
		bg.pause = AGAIN_FIRST_NS;
		return;
	}
	bg.again = cs_monotonic_ns() + bg.pause;
	bg.pause = CS_MIN(2 * bg.pause, AGAIN_MOST_NS);
}

static void wait_for_work(void)
{
	int64_t next = bg.later ? bg.later->due : 0;

	if (bg.again && cs_monotonic_ns() >= bg.again) {
		try_again();
		return;
	}
	if (bg.again && (!next || bg.again < next))
		next = bg.again;
	struct timespec until = cs_timespec(next);
	if (next)
		(void)pthread_cond_timedwait(&bg.work, &bg.lock, &until);
	else
		pthread_cond_wait(&bg.work, &bg.lock);
}

static void *work(void *unused)
{
	pthread_mutex_lock(&bg.lock);
	for (;;) {
		take_due();
		struct item *list = bg.head;
		if (!list && bg.stop)
			break;
		if (!list) {
			wait_for_work();
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
	cs_cond_init(&bg.work);
	bg.again = 0;
	bg.pause = AGAIN_FIRST_NS;
	bg.tail = &bg.head;
	bg.later_tail = &bg.later;
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
	free(TAKE_PTR(stay.v)); /* the next service's, by their marks */
	stay.n = 0;
	while (bg.later) {
		struct item *it = bg.later;
		bg.later = it->next;
		cs_obj_unref(CS_ENDPOINT, it->e);
		free(it);
	}
}

void cs_background_again(void)
{
	pthread_mutex_lock(&bg.lock);
	if (!bg.again)
		bg.again = cs_monotonic_ns() + AGAIN_FIRST_NS;
	pthread_cond_signal(&bg.work);
	pthread_mutex_unlock(&bg.lock);
}

static void queue(struct item *it)
{
	pthread_mutex_lock(&bg.lock);
	append(it);
	pthread_cond_signal(&bg.work);
	pthread_mutex_unlock(&bg.lock);
}

static void queue_later(struct item *it)
{
	it->due = cs_monotonic_ns() + LATER_NS;
	pthread_mutex_lock(&bg.lock);
	it->next = NULL;
	*bg.later_tail = it;
	bg.later_tail = &it->next;
	if (bg.later == it)
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

void cs_background_review(struct HcnEndpoint *e, bool later)
{
	struct item *it = cs_xcalloc(1, sizeof(*it));

	*it = (struct item){.what = REVIEW, .e = cs_obj_ref(e)};
	(later ? queue_later : queue)(it);
}

void cs_background_review_all(void)
{
	struct item *it = cs_xcalloc(1, sizeof(*it));

	*it = (struct item){.what = REVIEW_ALL};
	queue(it);
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
