/* SPDX-License-Identifier: Apache-2.0
 *
 * Operations: one request's future. Reference-counted, because a caller may close one in flight; completed exactly once, on any
 * thread; its callback runs on the monitor thread. */
#include <stdarg.h>
#include <time.h>

#include "base/guard.h"
#include "base/json.h"
#include "base/time.h"
#include "compute/internal.h"

static atomic_ullong next_id = 1;

static bool valid(const struct HcsOperation *op) { return op && op->magic == CS_MAGIC_OP; }

struct HcsOperation *cs_op_ref(struct HcsOperation *op)
{
	if (op)
		atomic_fetch_add(&op->refs, 1);
	return op;
}

void cs_resources_free(struct cs_resource *r, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(r[i].uri);
		cs_close(r[i].fd);
	}
	free(r);
}

void cs_op_unref(struct HcsOperation *op)
{
	if (!op || atomic_fetch_sub(&op->refs, 1) != 1)
		return;
	cs_resources_free(op->resources, op->n_resources);
	free(op->document);
	(void)pthread_mutex_destroy(&op->lock);
	(void)pthread_cond_destroy(&op->done_cond);
	op->magic = 0;
	free(op);
}

HRESULT cs_hresult(enum cs_code code)
{
	switch (code) {
	case CS_ERR_NONE: return HCS_S_OK;
	case CS_ERR_INVALID: return HCS_E_INVALIDARG;
	case CS_ERR_NOT_FOUND: return HCS_E_ELEMENT_NOT_FOUND;
	case CS_ERR_UNSUPPORTED: return HCS_E_NOT_SUPPORTED;
	case CS_ERR_CONFLICT: return HCS_E_INVALID_STATE;
	case CS_ERR_NO_SPACE: return HCS_E_DISK_FULL;
	case CS_ERR_TIMEOUT: return HCS_E_CONNECTION_TIMEOUT;
	case CS_ERR_DENIED:
	case CS_ERR_UNAUTHORIZED: return HCS_E_ACCESS_DENIED;
	case CS_ERR_UNAVAILABLE: return HCS_E_SERVICE_NOT_AVAILABLE;
	case CS_ERR_EXEC_DENIED:
	case CS_ERR_EXEC_NOT_FOUND:
	case CS_ERR_NOT_MODIFIED:
	case CS_ERR_CANCELLED:
	case CS_ERR_INTERNAL:
	case CS_ERR_MAX: break;
	}
	return HCS_E_FAIL;
}

char *cs_result_error(HRESULT hr, enum cs_code code, int sys, const char *text)
{
	cs_autostr struct cs_str out = CS_STR_INIT(1 << 20);

	cs_str_putc(&out, '{');
	cs_json_put_ki64(&out, "Error", hr);
	cs_json_put_kstr(&out, "ErrorMessage", text);
	cs_json_put_kstr(&out, "ErrorCode", cs_code_name(code));
	cs_json_put_ki64(&out, "Errno", sys);
	cs_str_putc(&out, '}');
	return cs_str_steal(&out);
}

HRESULT cs_op_begin(struct HcsOperation *op, HCS_OPERATION_TYPE type, HCS_SYSTEM system, HCS_PROCESS process)
{
	HRESULT hr = HCS_S_OK;

	if (!valid(op))
		return HCS_E_INVALIDARG;
	pthread_mutex_lock(&op->lock);
	if (op->state == CS_OP_PENDING) {
		hr = HCS_E_OPERATION_ALREADY_STARTED;
	} else {
		op->state = CS_OP_PENDING;
		op->type = type;
		op->system = system;
		op->process = process;
		op->result = HCS_E_OPERATION_PENDING;
		op->info = (HCS_PROCESS_INFORMATION){.StdInput = -1, .StdOutput = -1, .StdError = -1};
		free(TAKE_PTR(op->document));
	}
	pthread_mutex_unlock(&op->lock);
	return hr;
}

static void run_callback(void *arg)
{
	struct HcsOperation *op = arg;

	pthread_mutex_lock(&op->lock);
	HCS_OPERATION_COMPLETION cb = op->callback;
	void *ctx = op->callback_has_context ? op->callback_context : op->context;
	pthread_mutex_unlock(&op->lock);
	if (cb)
		cb(op, ctx);
	cs_op_unref(op);
}

void cs_op_complete(struct HcsOperation *op, HRESULT result, char *document)
{
	if (!op) {
		free(document);
		return;
	}
	pthread_mutex_lock(&op->lock);
	if (op->state != CS_OP_PENDING) {
		pthread_mutex_unlock(&op->lock);
		free(document);
		return;
	}
	struct cs_resource *left = op->resources;
	size_t n_left = op->n_resources;
	bool has_callback = op->callback != NULL;
	op->resources = NULL;
	op->n_resources = 0;
	op->state = CS_OP_DONE;
	op->result = result;
	op->document = document;
	if (has_callback)
		cs_op_ref(op);
	pthread_cond_broadcast(&op->done_cond);
	pthread_mutex_unlock(&op->lock);
	cs_resources_free(left, n_left); /* what the request did not use */
	if (has_callback)
		cs_monitor_post(run_callback, op);
}

static const struct cs_err *innermost(const struct cs_err *e)
{
	while (e && e->cause)
		e = e->cause;
	return e;
}

void cs_op_fail(struct HcsOperation *op, HRESULT hr, struct cs_err *err)
{
	cs_autofree char *text = cs_err_text(err);
	const struct cs_err *in = innermost(err);
	enum cs_code code = err ? err->code : CS_ERR_INTERNAL;

	if (hr == 0)
		hr = cs_hresult(code);
	cs_op_complete(op, hr, cs_result_error(hr, code, in ? in->sys : 0, text));
	cs_err_free(err);
}

void cs_op_failf(struct HcsOperation *op, HRESULT hr, enum cs_code code, const char *fmt, ...)
{
	cs_autostr struct cs_str s = CS_STR_INIT(16384);
	va_list ap;

	va_start(ap, fmt);
	cs_str_vputf(&s, fmt, ap);
	va_end(ap);
	if (hr == 0)
		hr = cs_hresult(code);
	cs_op_complete(op, hr, cs_result_error(hr, code, 0, s.buf ? s.buf : ""));
}

void cs_op_take_resources(struct HcsOperation *op, struct cs_resource **ret, size_t *ret_n)
{
	pthread_mutex_lock(&op->lock);
	*ret = op->resources;
	*ret_n = op->n_resources;
	op->resources = NULL;
	op->n_resources = 0;
	pthread_mutex_unlock(&op->lock);
}

/* ---- the public functions ---- */

HCS_OPERATION HcsCreateOperation(void *context, HCS_OPERATION_COMPLETION callback)
{
	struct HcsOperation *op = cs_xcalloc(1, sizeof(*op));

	op->magic = CS_MAGIC_OP;
	op->refs = 1;
	op->type = HcsOperationTypeNone;
	op->id = atomic_fetch_add(&next_id, 1);
	op->context = context;
	op->callback = callback;
	op->info = (HCS_PROCESS_INFORMATION){.StdInput = -1, .StdOutput = -1, .StdError = -1};
	(void)pthread_mutex_init(&op->lock, NULL);
	cs_cond_init(&op->done_cond);
	return op;
}

void HcsCloseOperation(HCS_OPERATION op)
{
	if (!valid(op))
		return;
	pthread_mutex_lock(&op->lock);
	op->callback = NULL; /* nobody is there to be told */
	pthread_mutex_unlock(&op->lock);
	cs_op_unref(op);
}

void *HcsGetOperationContext(HCS_OPERATION op) { return valid(op) ? op->context : NULL; }

HRESULT HcsSetOperationContext(HCS_OPERATION op, void *context)
{
	if (!valid(op))
		return HCS_E_INVALIDARG;
	pthread_mutex_lock(&op->lock);
	op->context = context;
	pthread_mutex_unlock(&op->lock);
	return HCS_S_OK;
}

HCS_SYSTEM HcsGetComputeSystemFromOperation(HCS_OPERATION op) { return valid(op) ? op->system : NULL; }
HCS_PROCESS HcsGetProcessFromOperation(HCS_OPERATION op) { return valid(op) ? op->process : NULL; }
HCS_OPERATION_TYPE HcsGetOperationType(HCS_OPERATION op) { return valid(op) ? op->type : HcsOperationTypeNone; }
uint64_t HcsGetOperationId(HCS_OPERATION op) { return valid(op) ? op->id : 0; }

HRESULT HcsWaitForOperationResultAndProcessInfo(HCS_OPERATION op, uint32_t timeout_ms, HCS_PROCESS_INFORMATION *info, char **document)
{
	struct timespec until = cs_timespec(cs_monotonic_ns() + (int64_t)timeout_ms * CS_NS_PER_MS);
	HRESULT hr;

	if (document)
		*document = NULL;
	if (!valid(op))
		return HCS_E_INVALIDARG;
	pthread_mutex_lock(&op->lock);
	while (op->state == CS_OP_PENDING && timeout_ms != 0) {
		int r = timeout_ms == HCS_INFINITE ? pthread_cond_wait(&op->done_cond, &op->lock)
						   : pthread_cond_timedwait(&op->done_cond, &op->lock, &until);
		if (r == ETIMEDOUT)
			break;
	}
	if (op->state == CS_OP_IDLE) {
		hr = HCS_E_OPERATION_NOT_STARTED;
	} else if (op->state == CS_OP_PENDING) {
		hr = HCS_E_OPERATION_TIMEOUT;
	} else {
		hr = op->result;
		if (document)
			*document = cs_xstrdup(op->document);
		if (info)
			*info = op->info;
	}
	bool started = op->type == HcsOperationTypeStart && op->state == CS_OP_DONE;
	pthread_mutex_unlock(&op->lock);
	if (started) /* here, and not when the worker says so: whoever waits goes on first, and the processors are ours again */
		cs_spare_refill();
	return hr;
}

HRESULT HcsWaitForOperationResult(HCS_OPERATION op, uint32_t timeout_ms, char **document)
{
	return HcsWaitForOperationResultAndProcessInfo(op, timeout_ms, NULL, document);
}

HRESULT HcsGetOperationResultAndProcessInfo(HCS_OPERATION op, HCS_PROCESS_INFORMATION *info, char **document)
{
	HRESULT hr = HcsWaitForOperationResultAndProcessInfo(op, 0, info, document);
	return hr == HCS_E_OPERATION_TIMEOUT ? HCS_E_OPERATION_PENDING : hr;
}

HRESULT HcsGetOperationResult(HCS_OPERATION op, char **document) { return HcsGetOperationResultAndProcessInfo(op, NULL, document); }

HRESULT HcsSetOperationCallback(HCS_OPERATION op, void *context, HCS_OPERATION_COMPLETION callback)
{
	if (!valid(op))
		return HCS_E_INVALIDARG;
	pthread_mutex_lock(&op->lock);
	op->callback = callback;
	op->callback_context = context;
	op->callback_has_context = true;
	bool done = op->state == CS_OP_DONE && callback;
	if (done)
		cs_op_ref(op);
	pthread_mutex_unlock(&op->lock);
	if (done)
		cs_monitor_post(run_callback, op);
	return HCS_S_OK;
}

HRESULT HcsCancelOperation(HCS_OPERATION op)
{
	(void)op;
	return HCS_E_NOTIMPL;
}

HRESULT HcsAddResourceToOperation(HCS_OPERATION op, HCS_RESOURCE_TYPE type, const char *uri, int descriptor)
{
	HRESULT hr = HCS_S_OK;

	if (!valid(op) || !uri || descriptor < 0 || type != HcsResourceTypeSocket) {
		cs_close(descriptor);
		return HCS_E_INVALIDARG;
	}
	pthread_mutex_lock(&op->lock);
	if (op->state == CS_OP_PENDING) {
		hr = HCS_E_OPERATION_ALREADY_STARTED;
	} else {
		op->resources = cs_xreallocarray(op->resources, op->n_resources + 1, sizeof(*op->resources));
		op->resources[op->n_resources++] = (struct cs_resource){.type = type, .uri = cs_xstrdup(uri), .fd = descriptor};
	}
	pthread_mutex_unlock(&op->lock);
	if (hr != HCS_S_OK)
		cs_close(descriptor);
	return hr;
}

void HcsFree(void *p) { free(p); }
