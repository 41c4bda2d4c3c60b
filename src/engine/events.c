/* SPDX-License-Identifier: Apache-2.0
 *
 * Ring of events, filters, subscribers. bus->lock guards the ring and all queues; events are immutable and counted. */
#include "engine/events.h"

#include <stdarg.h>
#include <sys/eventfd.h>

#include "base/json.h"
#include "base/time.h"
#include "engine/filters.h"

#define RING 256
#define RING_BYTES ((size_t)1 << 20)
/* What a subscriber may lag behind: a container's labels are in each of its events, and may be megabytes. */
#define QUEUE_MAX 4096
#define QUEUE_BYTES ((size_t)4 << 20)
#define OUT_MAX ((size_t)256 << 20) /* one event is never cut: it is as long as the request that named its labels, escaped */

struct event {
	atomic_int refs;
	int64_t at;
	size_t bytes; /* of memory, about */
	char *type, *action, *id;
	struct cs_strmap *attrs;
};
struct subscriber {
	struct cs_stream stream;
	struct cs_bus *bus;
	struct subscriber *next;
	struct cs_filters filters;
	int64_t until; /* wall ns, 0 = none */
	int api, fd;
	struct event **q;
	size_t head, n, cap, bytes;
	bool cut, bus_gone;
	struct cs_str out;
};
struct cs_bus {
	pthread_mutex_t lock;
	atomic_int refs;
	struct event *ring[RING];
	size_t next, bytes;
	struct subscriber *subs;
	bool closed;
};

static void event_unref(struct event *v)
{
	if (!v || atomic_fetch_sub(&v->refs, 1) != 1)
		return;
	free(v->type);
	free(v->action);
	free(v->id);
	cs_strmap_free(v->attrs);
	free(v);
}

struct cs_bus *cs_bus_new(void)
{
	struct cs_bus *b = cs_xcalloc(1, sizeof(*b));
	(void)pthread_mutex_init(&b->lock, NULL);
	atomic_init(&b->refs, 1);
	return b;
}

static void bus_unref(struct cs_bus *b)
{
	if (atomic_fetch_sub(&b->refs, 1) != 1)
		return;
	for (size_t i = 0; i < RING; i++)
		event_unref(b->ring[i]);
	(void)pthread_mutex_destroy(&b->lock);
	free(b);
}

static void poke(struct subscriber *s)
{
	uint64_t one = 1;
	(void)!write(s->fd, &one, sizeof(one));
}

void cs_bus_close(struct cs_bus *b)
{
	if (!b)
		return;
	pthread_mutex_lock(&b->lock);
	b->closed = true;
	for (struct subscriber *s = b->subs; s; s = s->next) {
		s->bus_gone = true;
		poke(s);
	}
	pthread_mutex_unlock(&b->lock);
}

void cs_bus_free(struct cs_bus *b)
{
	if (!b)
		return;
	cs_bus_close(b);
	bus_unref(b);
}

size_t cs_bus_subscribers(struct cs_bus *b)
{
	size_t n = 0;
	pthread_mutex_lock(&b->lock);
	for (struct subscriber *s = b->subs; s; s = s->next)
		n++;
	pthread_mutex_unlock(&b->lock);
	return n;
}

/* ---- filters ---- */

static bool match_action(const struct cs_filters *f, const char *action)
{
	const char *colon = strchr(action, ':');

	if (cs_filter_exact(f, "event", action))
		return true;
	/* "exec_start: sh" and "health_status: healthy" are also found by their first word */
	cs_autofree char *head = colon ? cs_xstrndup(action, (size_t)(colon - action)) : NULL;
	return head && cs_filter_exact(f, "event", head);
}

static bool fuzzy(const struct cs_filters *f, const char *key, const struct event *v)
{
	return cs_filter_prefix(f, key, v->id) || cs_filter_prefix(f, key, cs_strmap_get(v->attrs, "name"));
}

static char *without_tag(const char *ref)
{
	const char *slash = strrchr(ref, '/'), *colon = strrchr(ref, ':');
	return colon && (!slash || colon > slash) ? cs_xstrndup(ref, (size_t)(colon - ref)) : cs_xstrdup(ref);
}

static bool match_image(const struct cs_filters *f, const struct event *v)
{
	if (!cs_filter_values(f, "image"))
		return true;
	const char *name = cs_strmap_get(v->attrs, cs_streq(v->type, "image") ? "name" : "image");
	cs_autofree char *a = without_tag(v->id), *b = name ? without_tag(name) : NULL;
	return cs_filter_exact(f, "image", v->id) || cs_filter_exact(f, "image", name) || cs_filter_exact(f, "image", a) ||
	       cs_filter_exact(f, "image", b);
}

static bool match(const struct cs_filters *f, const struct event *v)
{
	static const char *const kinds[] = {"daemon", "container", "plugin", "volume", "network", "node", "service", "secret", "config"};

	if (!f->n)
		return true;
	for (size_t i = 0; i < CS_ARRAY_SIZE(kinds); i++)
		if (!fuzzy(f, kinds[i], v))
			return false;
	return match_action(f, v->action) && cs_filter_exact(f, "type", v->type) && cs_filter_exact(f, "scope", "local") &&
	       match_image(f, v) && cs_filter_labels(f, "label", v->attrs);
}

/* ---- sending ---- */

static void enqueue(struct subscriber *s, struct event *v)
{
	if (s->cut || !match(&s->filters, v))
		return;
	if (s->n >= QUEUE_MAX || s->bytes > QUEUE_BYTES) { /* one more than that, however long */
		s->cut = true;
		return poke(s);
	}
	if (s->n == s->cap) {
		size_t cap = s->cap ? 2 * s->cap : 8;
		struct event **q = cs_xcalloc(cap, sizeof(*q));
		for (size_t i = 0; i < s->n; i++)
			q[i] = s->q[(s->head + i) % s->cap];
		free(s->q);
		s->q = q;
		s->cap = cap;
		s->head = 0;
	}
	atomic_fetch_add(&v->refs, 1);
	s->q[(s->head + s->n++) % s->cap] = v;
	s->bytes += v->bytes;
	if (s->n == 1)
		poke(s);
}

static size_t weight(const struct event *v)
{
	size_t n = sizeof(*v) + strlen(v->type) + strlen(v->action) + strlen(v->id);

	for (size_t i = 0; i < v->attrs->n; i++)
		n += sizeof(v->attrs->kv[i]) + strlen(v->attrs->kv[i].key) + strlen(v->attrs->kv[i].val);
	return n;
}

/* The newest is kept, however long it is. */
static void remember(struct cs_bus *b, struct event *v)
{
	if (b->ring[b->next])
		b->bytes -= b->ring[b->next]->bytes;
	event_unref(b->ring[b->next]);
	b->ring[b->next] = v;
	b->next = (b->next + 1) % RING;
	b->bytes += v->bytes;
	for (size_t i = 0; b->bytes > RING_BYTES && i < RING - 1; i++) {
		struct event **old = &b->ring[(b->next + i) % RING];
		if (*old)
			b->bytes -= (*old)->bytes;
		event_unref(*old);
		*old = NULL;
	}
}

void cs_event(struct cs_engine *e, const char *type, const char *action, const char *id, struct cs_strmap *attrs)
{
	struct cs_bus *b = e->bus;
	struct event *v = cs_xcalloc(1, sizeof(*v));

	atomic_init(&v->refs, 1);
	v->type = cs_xstrdup(type);
	v->action = cs_xstrdup(action);
	v->id = cs_xstrdup(id);
	v->attrs = attrs ? attrs : cs_strmap_new();
	v->bytes = weight(v);
	pthread_mutex_lock(&b->lock);
	v->at = cs_now_ns();
	for (struct subscriber *s = b->subs; s; s = s->next)
		enqueue(s, v);
	remember(b, v);
	pthread_mutex_unlock(&b->lock);
}

void cs_container_event(struct cs_container *c, const char *action, ...)
{
	va_list ap;
	struct cs_strmap *m = c->config && c->config->labels ? cs_strmap_copy(c->config->labels) : cs_strmap_new();

	if (!cs_empty(c->config ? c->config->image : NULL))
		cs_strmap_set(m, "image", c->config->image);
	pthread_mutex_lock(&c->lock);
	cs_strmap_set(m, "name", c->name);
	pthread_mutex_unlock(&c->lock);
	va_start(ap, action);
	for (const char *k; (k = va_arg(ap, const char *));) {
		const char *val = va_arg(ap, const char *);
		if (val)
			cs_strmap_set(m, k, val);
	}
	va_end(ap);
	cs_event(c->e, "container", action, c->id, m);
}

/* ---- the stream ---- */

static void render(struct subscriber *s, const struct event *v)
{
	struct cs_str *o = &s->out;
	bool container = cs_streq(v->type, "container"), image = cs_streq(v->type, "image");

	cs_str_putc(o, '{');
	if ((container || image) && s->api && s->api < 152) {
		cs_json_put_kstr(o, "status", v->action);
		cs_json_put_kstr(o, "id", v->id);
		const char *from = container ? cs_strmap_get(v->attrs, "image") : NULL;
		if (!cs_empty(from))
			cs_json_put_kstr(o, "from", from);
	}
	cs_json_put_kstr(o, "Type", v->type);
	cs_json_put_kstr(o, "Action", v->action);
	cs_json_put_key(o, "Actor");
	cs_str_putc(o, '{');
	cs_json_put_kstr(o, "ID", v->id);
	cs_json_put_key(o, "Attributes");
	cs_json_put_strmap(o, v->attrs);
	cs_str_putc(o, '}');
	cs_json_put_kstr(o, "scope", "local");
	cs_json_put_ki64(o, "time", v->at / CS_NS_PER_SEC);
	cs_json_put_ki64(o, "timeNano", v->at);
	cs_str_puts(o, "}\n");
}

static ssize_t sub_read(struct cs_stream *stream, void *buf, size_t max)
{
	struct subscriber *s = (struct subscriber *)stream;
	struct cs_bus *b = s->bus;
	uint64_t v;

	if (!s->out.len) {
		pthread_mutex_lock(&b->lock);
		bool end = s->bus_gone || s->cut;
		while (s->n && s->out.len < 16384) {
			struct event *ev = s->q[s->head];
			s->head = (s->head + 1) % s->cap;
			s->n--;
			s->bytes -= ev->bytes;
			if (!s->until || ev->at <= s->until)
				render(s, ev);
			event_unref(ev);
		}
		if (!s->n && !end)
			(void)!read(s->fd, &v, sizeof(v));
		pthread_mutex_unlock(&b->lock);
		if (s->out.failed)
			return -ENOMEM;
		if (!s->out.len) {
			if (s->cut)
				return -EPIPE;
			return end || (s->until && cs_now_ns() > s->until) ? 0 : -EAGAIN;
		}
	}
	size_t n = CS_MIN(max, s->out.len);
	memcpy(buf, s->out.buf, n);
	cs_str_consume(&s->out, n);
	if (!s->out.len)
		cs_str_done(&s->out), cs_str_init(&s->out, OUT_MAX);
	return (ssize_t)n;
}

static int sub_fd(struct cs_stream *stream) { return ((struct subscriber *)stream)->fd; }

static int64_t sub_deadline(struct cs_stream *stream)
{
	struct subscriber *s = (struct subscriber *)stream;
	if (!s->until)
		return -1;
	return cs_monotonic_ns() + CS_MAX(s->until - cs_now_ns(), 0) + CS_NS_PER_MS;
}

static void sub_free(struct cs_stream *stream)
{
	struct subscriber *s = (struct subscriber *)stream;
	struct cs_bus *b = s->bus;

	pthread_mutex_lock(&b->lock);
	for (struct subscriber **p = &b->subs; *p; p = &(*p)->next)
		if (*p == s) {
			*p = s->next;
			break;
		}
	for (size_t i = 0; i < s->n; i++)
		event_unref(s->q[(s->head + i) % s->cap]);
	pthread_mutex_unlock(&b->lock);
	bus_unref(b);
	free(s->q);
	cs_filters_done(&s->filters);
	cs_str_done(&s->out);
	cs_close(s->fd);
	free(s);
}

static const struct cs_stream_ops sub_ops = {sub_read, sub_fd, sub_deadline, sub_free};

int cs_events_stream(struct cs_engine *e, int64_t since, int64_t until, const char *filters, int api, struct cs_stream **ret, struct cs_err **err)
{
	struct cs_bus *b = e->bus;
	struct cs_filters f = {0};

	if (since && until && since > until)
		return cs_fail(err, CS_ERR_INVALID, 0, "`since` time (%lld.%09lld) cannot be after `until` time (%lld.%09lld)",
			       (long long)(since / CS_NS_PER_SEC), (long long)(since % CS_NS_PER_SEC), (long long)(until / CS_NS_PER_SEC),
			       (long long)(until % CS_NS_PER_SEC));
	if (cs_filters_parse(filters, NULL, &f, err) < 0)
		return -1;
	struct subscriber *s = cs_xcalloc(1, sizeof(*s));
	s->stream.ops = &sub_ops;
	s->filters = f;
	s->until = until;
	s->api = api;
	s->bus = b;
	cs_str_init(&s->out, OUT_MAX);
	s->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->fd < 0) {
		int r = errno;
		cs_filters_done(&s->filters);
		free(s);
		return cs_fail(err, CS_ERR_INTERNAL, r, "eventfd");
	}
	atomic_fetch_add(&b->refs, 1);
	pthread_mutex_lock(&b->lock);
	for (size_t i = 0; (since || until) && i < RING; i++) {
		struct event *v = b->ring[(b->next + i) % RING];
		if (v && v->at >= since && (!until || v->at <= until))
			enqueue(s, v);
	}
	s->bus_gone = b->closed;
	/* a past `until` needs no place among the listeners */
	s->next = b->subs;
	b->subs = s;
	pthread_mutex_unlock(&b->lock);
	*ret = &s->stream;
	return 0;
}
