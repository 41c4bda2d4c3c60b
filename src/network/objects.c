/* SPDX-License-Identifier: Apache-2.0
 *
 * Tables of objects by id, one lock each; and the way errors take to the caller. */
#include <stdarg.h>

#include "network/internal.h"

static struct {
	pthread_mutex_t lock;
	struct cs_obj *head;
} table[CS_KINDS] = {{PTHREAD_MUTEX_INITIALIZER, NULL}, {PTHREAD_MUTEX_INITIALIZER, NULL}, {PTHREAD_MUTEX_INITIALIZER, NULL}, {PTHREAD_MUTEX_INITIALIZER, NULL}};

#define MAGIC(kind) (0x4e455400u + (kind))

void cs_obj_init(enum cs_kind kind, struct cs_obj *o, const HCN_GUID *id)
{
	o->magic = MAGIC(kind);
	o->id = *id;
	cs_hcn_guid_text(id, o->text);
	atomic_init(&o->refs, 1);
	atomic_init(&o->gone, false);
	(void)pthread_mutex_init(&o->lock, NULL);
}

bool cs_obj_add(enum cs_kind kind, struct cs_obj *o)
{
	struct cs_obj *old;

	pthread_mutex_lock(&table[kind].lock);
	HASH_FIND(hh, table[kind].head, &o->id, sizeof(o->id), old);
	if (!old) {
		atomic_fetch_add(&o->refs, 1);
		HASH_ADD(hh, table[kind].head, id, sizeof(o->id), o);
	}
	pthread_mutex_unlock(&table[kind].lock);
	return !old;
}

void cs_obj_remove(enum cs_kind kind, struct cs_obj *o)
{
	pthread_mutex_lock(&table[kind].lock);
	bool was = !atomic_exchange(&o->gone, true);
	if (was)
		HASH_DELETE(hh, table[kind].head, o);
	pthread_mutex_unlock(&table[kind].lock);
	if (was)
		cs_obj_unref(kind, o);
}

void *cs_obj_get(enum cs_kind kind, const HCN_GUID *id)
{
	struct cs_obj *o = NULL;

	if (!id)
		return NULL;
	pthread_mutex_lock(&table[kind].lock);
	HASH_FIND(hh, table[kind].head, id, sizeof(*id), o);
	if (o)
		atomic_fetch_add(&o->refs, 1);
	pthread_mutex_unlock(&table[kind].lock);
	return o;
}

bool cs_obj_is(enum cs_kind kind, const void *handle)
{
	const struct cs_obj *o = handle;

	return o && o->magic == MAGIC(kind) && !atomic_load(&o->gone);
}

void *cs_obj_ref(void *p)
{
	struct cs_obj *o = p;

	atomic_fetch_add(&o->refs, 1);
	return p;
}

void cs_obj_unref(enum cs_kind kind, void *p)
{
	struct cs_obj *o = p;

	if (!o || atomic_fetch_sub(&o->refs, 1) != 1)
		return;
	o->magic = 0;
	(void)pthread_mutex_destroy(&o->lock);
	switch (kind) {
	case CS_NETWORK:
		cs_network_free(p);
		return;
	case CS_ENDPOINT:
		cs_endpoint_free(p);
		return;
	case CS_NAMESPACE:
		cs_namespace_free(p);
		return;
	case CS_LB:
		cs_lb_free(p);
		return;
	case CS_KINDS:
		break;
	}
	abort();
}

void **cs_obj_all(enum cs_kind kind, size_t *ret_n)
{
	struct cs_obj *o, *next;
	size_t n = 0;

	pthread_mutex_lock(&table[kind].lock);
	void **v = cs_xcalloc(HASH_COUNT(table[kind].head) + 1, sizeof(*v));
	HASH_ITER (hh, table[kind].head, o, next)
		v[n++] = cs_obj_ref(o);
	pthread_mutex_unlock(&table[kind].lock);
	*ret_n = n;
	return v;
}

void cs_obj_put_all(enum cs_kind kind, void **v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		cs_obj_unref(kind, v[i]);
	free(v);
}

/* ---- errors ---- */

void cs_hr_tell(struct cs_err **err, int sys, const char *fmt, ...)
{
	va_list ap;
	cs_autostr struct cs_str text = CS_STR_INIT(4096);

	va_start(ap, fmt);
	cs_str_vputf(&text, fmt, ap);
	va_end(ap);
	(void)cs_fail(err, CS_ERR_INVALID, sys, "%s", text.buf ? text.buf : "");
}

HRESULT cs_hr_of(const struct cs_err *err, HRESULT invalid)
{
	switch (cs_err_code(err)) {
	case CS_ERR_INVALID:
		return invalid;
	case CS_ERR_UNSUPPORTED:
		return HCN_E_REQUEST_UNSUPPORTED;
	case CS_ERR_NO_SPACE:
		return HCN_E_ADDR_INVALID_OR_RESERVED;
	case CS_ERR_UNAVAILABLE:
		return HCN_E_MANAGER_STOPPED;
	default:
		return HCS_E_FAIL;
	}
}

HRESULT cs_hr_answer(HRESULT hr, struct cs_err **err, char **record)
{
	cs_autoerr struct cs_err *why = err ? TAKE_PTR(*err) : NULL;

	if (record)
		*record = NULL;
	if (hr != HCS_S_OK && record) {
		cs_autofree char *text = why ? cs_err_text(why) : cs_xstrdup("the request failed");
		struct cs_str out = CS_STR_INIT(1 << 20);
		cs_str_putc(&out, '{');
		cs_json_put_kstr(&out, "Error", text);
		cs_json_put_ki64(&out, "ErrorCode", hr);
		cs_str_putc(&out, '}');
		*record = cs_str_steal(&out);
	}
	return hr;
}

void HcnFree(void *p) { free(p); }

/* ---- queries ---- */

HRESULT cs_query_read(const char *text, struct cs_query *ret, struct cs_err **err)
{
	struct cs_doc_query q;

	*ret = (struct cs_query){0};
	if (cs_empty(text))
		return HCS_S_OK;
	if (cs_doc_read(&cs_doc_query_type, text, &q, err) < 0)
		return HCN_E_INVALID_JSON;
	if (q.flags & ~(int64_t)1) {
		HRESULT hr = cs_hr_fail(err, HCN_E_INVALID_JSON, 0, "HostComputeQuery.Flags: %lld are not supported", (long long)q.flags);
		cs_json_release(&cs_doc_query_type, &q);
		return hr;
	}
	ret->detailed = q.flags & 1;
	cs_autofree char *filter = cs_xstrdup(q.filter);
	cs_json_release(&cs_doc_query_type, &q);
	if (cs_empty(filter))
		return HCS_S_OK;
	cs_autojson json_t *f = cs_json_parse_unique(filter, strlen(filter), err);
	const char *key;
	json_t *v;
	if (!f)
		return HCN_E_INVALID_JSON;
	if (!json_is_object(f))
		return cs_hr_fail(err, HCN_E_INVALID_JSON, 0, "HostComputeQuery.Filter: expected an object");
	json_object_foreach (f, key, v) {
		char **to = strcmp(key, "Name") == 0 ? &ret->name : strcmp(key, "ID") == 0 ? &ret->id : NULL;
		if (!to || !json_is_string(v)) {
			cs_net_query_done(ret);
			return cs_hr_fail(err, HCN_E_INVALID_JSON, 0, "HostComputeQuery.Filter: %s cannot be asked for", key);
		}
		free(*to);
		*to = cs_xstrdup(json_string_value(v));
	}
	return HCS_S_OK;
}

HRESULT cs_query_check(const char *text, struct cs_err **err)
{
	struct cs_query q;
	HRESULT hr = cs_query_read(text, &q, err);

	if (hr == HCS_S_OK && (q.name || q.id))
		hr = cs_hr_fail(err, HCN_E_INVALID_JSON, 0, "HostComputeQuery.Filter: it is known which object is asked for");
	cs_net_query_done(&q);
	return hr;
}

void cs_net_query_done(struct cs_query *q)
{
	free(TAKE_PTR(q->name));
	free(TAKE_PTR(q->id));
}

bool cs_query_takes(const struct cs_query *q, const struct cs_obj *o, const char *name)
{
	return (!q->id || strcasecmp(q->id, o->text) == 0) && (!q->name || cs_streq(q->name, name ? name : ""));
}

HRESULT cs_enumerate(enum cs_kind kind, const char *query, const char *(*name)(const void *), char *(*write)(void *), char **ret, char **record)
{
	struct cs_err *err = NULL;
	struct cs_query q = {0};
	HRESULT hr = cs_net_ready(&err);

	if (hr == HCS_S_OK)
		hr = cs_query_read(query, &q, &err);
	if (hr != HCS_S_OK)
		return cs_hr_answer(hr, &err, record);
	struct cs_str out = CS_STR_INIT(256 << 20);
	size_t n;
	void **v = cs_obj_all(kind, &n);
	cs_str_putc(&out, '[');
	for (size_t i = 0; i < n; i++) {
		const struct cs_obj *o = v[i];
		if (!cs_query_takes(&q, o, name ? name(o) : NULL))
			continue;
		if (out.len > 1)
			cs_str_putc(&out, ',');
		if (q.detailed) {
			cs_autofree char *doc = write(v[i]);
			cs_str_puts(&out, doc);
		} else {
			cs_json_put_string(&out, o->text);
		}
	}
	cs_str_putc(&out, ']');
	cs_obj_put_all(kind, v, n);
	cs_net_query_done(&q);
	*ret = cs_str_steal(&out);
	return cs_hr_answer(*ret ? HCS_S_OK : HCS_E_OUTOFMEMORY, NULL, record);
}

HRESULT cs_not_found(enum cs_kind kind, struct cs_err **err)
{
	static const struct {
		HRESULT hr;
		const char *what;
	} kinds[CS_KINDS] = {[CS_NETWORK] = {HCN_E_NETWORK_NOT_FOUND, "network"}, [CS_ENDPOINT] = {HCN_E_ENDPOINT_NOT_FOUND, "endpoint"},
			     [CS_NAMESPACE] = {HCN_E_NAMESPACE_NOT_FOUND, "namespace"}, [CS_LB] = {HCS_E_ELEMENT_NOT_FOUND, "load balancer"}};

	return cs_hr_fail(err, kinds[kind].hr, 0, "no such %s", kinds[kind].what);
}

HRESULT cs_obj_open(enum cs_kind kind, const HCN_GUID *id, void **ret, char **record)
{
	struct cs_err *err = NULL;
	HRESULT hr = cs_net_ready(&err);
	void *o = hr == HCS_S_OK ? cs_obj_get(kind, id) : NULL;

	if (o)
		*ret = o;
	else if (hr == HCS_S_OK)
		hr = cs_not_found(kind, &err);
	return cs_hr_answer(hr, &err, record);
}

HRESULT cs_obj_query(enum cs_kind kind, void *handle, const char *query, char *(*write)(void *), char **ret, char **record)
{
	struct cs_err *err = NULL;
	HRESULT hr = cs_obj_is(kind, handle) ? cs_query_check(query, &err) : cs_not_found(kind, &err);

	if (hr == HCS_S_OK)
		*ret = write(handle);
	return cs_hr_answer(hr, &err, record);
}

static bool among(const char *const *v, const char *s)
{
	for (; *v; v++)
		if (cs_streq(*v, s))
			return true;
	return false;
}

HRESULT cs_modify_read(const char *text, const char *const *resources, const char *const *requests, struct cs_doc_modify *ret, struct cs_err **err)
{
	if (cs_doc_read(&cs_doc_modify_type, text, ret, err) < 0)
		return HCN_E_INVALID_JSON;
	HRESULT hr = HCS_S_OK;
	if (!among(resources, ret->resource))
		hr = cs_hr_fail(err, HCN_E_REQUEST_UNSUPPORTED, 0, "ModifyRequest.ResourceType: %s cannot be changed", ret->resource);
	else if (!among(requests, ret->request))
		hr = cs_hr_fail(err, HCN_E_REQUEST_UNSUPPORTED, 0, "ModifyRequest.RequestType: %s is not possible for %s", ret->request, ret->resource);
	if (hr != HCS_S_OK)
		cs_json_release(&cs_doc_modify_type, ret);
	return hr;
}
