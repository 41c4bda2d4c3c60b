/* SPDX-License-Identifier: Apache-2.0
 *
 * Synchronous calls at the host compute service, and its errors as ours. No state; any thread that may block. */
#include "engine/container.h"

#include "base/json.h"

static enum cs_code code_of_name(const char *name)
{
	for (int c = CS_ERR_NONE + 1; name && c < CS_ERR_MAX; c++)
		if (cs_streq(cs_code_name((enum cs_code)c), name))
			return (enum cs_code)c;
	return CS_ERR_NONE;
}

static enum cs_code code_of_result(HRESULT r)
{
	if (r == HCS_E_SYSTEM_NOT_FOUND || r == HCS_E_ELEMENT_NOT_FOUND)
		return CS_ERR_NOT_FOUND;
	if (r == HCS_E_INVALIDARG || r == HCS_E_INVALID_JSON)
		return CS_ERR_INVALID;
	if (r == HCS_E_SYSTEM_ALREADY_STOPPED || r == HCS_E_PROCESS_ALREADY_STOPPED || r == HCS_E_INVALID_STATE || r == HCS_E_SYSTEM_ALREADY_EXISTS)
		return CS_ERR_CONFLICT;
	if (r == HCS_E_NOTIMPL || r == HCS_E_NOT_SUPPORTED || r == HCS_E_HYPERV_NOT_INSTALLED)
		return CS_ERR_UNSUPPORTED;
	if (r == HCS_E_OPERATION_TIMEOUT || r == HCS_E_CONNECTION_TIMEOUT)
		return CS_ERR_TIMEOUT;
	if (r == HCS_E_ACCESS_DENIED)
		return CS_ERR_DENIED;
	return r == HCS_E_DISK_FULL ? CS_ERR_NO_SPACE : CS_ERR_INTERNAL;
}

static int hcs_fail(HRESULT r, const char *doc, struct cs_err **err)
{
	cs_autojson json_t *j = doc ? cs_json_parse(doc, strlen(doc), NULL) : NULL;
	enum cs_code code = code_of_name(json_string_value(json_object_get(j, "ErrorCode")));
	const char *msg = json_string_value(json_object_get(j, "ErrorMessage"));
	int sys = (int)json_integer_value(json_object_get(j, "Errno"));

	if (code == CS_ERR_NONE)
		code = code_of_result(r);
	if (msg)
		return cs_fail(err, code, sys && !strstr(msg, cs_errno_text(sys)) && code == CS_ERR_INTERNAL ? sys : 0, "%s", msg);
	if (code == CS_ERR_TIMEOUT)
		return cs_fail(err, code, 0, "the container's worker does not answer");
	return cs_fail(err, code, sys, "host compute service: 0x%08x", (unsigned)r);
}

int cs_hcs_finish(HCS_OPERATION op, HRESULT accepted, uint32_t timeout_ms, char **ret, struct cs_err **err)
{
	char *doc = NULL;
	HRESULT r = accepted;

	if (!op)
		return cs_fail(err, CS_ERR_INTERNAL, ENOMEM, "host compute service");
	if (r == HCS_S_OK)
		r = HcsWaitForOperationResult(op, timeout_ms, &doc);
	else
		(void)HcsGetOperationResult(op, &doc); /* the refusal's document, if there is one */
	HcsCloseOperation(op);
	if (r != HCS_S_OK) {
		(void)hcs_fail(r, doc, err);
		HcsFree(doc);
		return -1;
	}
	if (ret)
		*ret = doc;
	else
		HcsFree(doc);
	return 0;
}

bool cs_hcs_unknown_user(struct cs_err *launch)
{
	if (cs_err_code(launch) != CS_ERR_NOT_FOUND)
		return false;
	launch->code = CS_ERR_INTERNAL;
	return true;
}

static HCS_OPERATION new_op(void) { return HcsCreateOperation(NULL, NULL); }

int cs_hcs_properties(HCS_SYSTEM s, const char *query, char **ret, struct cs_err **err)
{
	HCS_OPERATION op = new_op();
	return cs_hcs_finish(op, op ? HcsGetComputeSystemProperties(s, op, query) : HCS_E_OUTOFMEMORY, 10000, ret, err);
}

int cs_hcs_terminate(HCS_SYSTEM s, struct cs_err **err)
{
	HCS_OPERATION op = new_op();
	return cs_hcs_finish(op, op ? HcsTerminateComputeSystem(s, op, NULL) : HCS_E_OUTOFMEMORY, 15000, NULL, err);
}

int cs_hcs_pause(HCS_SYSTEM s, bool pause, struct cs_err **err)
{
	HCS_OPERATION op = new_op();
	HRESULT r = !op ? HCS_E_OUTOFMEMORY : pause ? HcsPauseComputeSystem(s, op, NULL) : HcsResumeComputeSystem(s, op, NULL);
	return cs_hcs_finish(op, r, 15000, NULL, err);
}

int cs_hcs_modify(HCS_SYSTEM s, const char *doc, struct cs_err **err)
{
	HCS_OPERATION op = new_op();
	return cs_hcs_finish(op, op ? HcsModifyComputeSystem(s, op, doc, NULL) : HCS_E_OUTOFMEMORY, 15000, NULL, err);
}

static int with_init(HCS_SYSTEM s, HCS_PROCESS *p, struct cs_err **err)
{
	HRESULT r = HcsOpenProcess(s, 0, 0, p);
	return r == HCS_S_OK ? 0 : hcs_fail(r, NULL, err);
}

int cs_hcs_signal(HCS_SYSTEM s, int sig, struct cs_err **err)
{
	HCS_PROCESS p;
	char doc[32];

	if (with_init(s, &p, err) < 0)
		return -1;
	(void)snprintf(doc, sizeof(doc), "{\"Signal\":%d}", sig);
	HCS_OPERATION op = new_op();
	int r = cs_hcs_finish(op, op ? HcsSignalProcess(p, op, doc) : HCS_E_OUTOFMEMORY, 10000, NULL, err);
	HcsCloseProcess(p);
	return r;
}

int cs_hcs_process_properties(HCS_PROCESS p, char **ret, struct cs_err **err)
{
	HCS_OPERATION op = new_op();
	return cs_hcs_finish(op, op ? HcsGetProcessProperties(p, op, NULL) : HCS_E_OUTOFMEMORY, 10000, ret, err);
}

static int modify_process(HCS_PROCESS p, const char *doc, const char *const *uris, const int *fds, size_t n, char **ret, struct cs_err **err)
{
	HCS_OPERATION op = new_op();
	HRESULT r = op ? HCS_S_OK : HCS_E_OUTOFMEMORY;

	for (size_t i = 0; i < n; i++) {
		if (r == HCS_S_OK)
			r = HcsAddResourceToOperation(op, HcsResourceTypeSocket, uris[i], fds[i]); /* takes fd in any case */
		else
			cs_close(fds[i]);
	}
	if (r == HCS_S_OK)
		r = HcsModifyProcess(p, op, doc);
	return cs_hcs_finish(op, r, 10000, ret, err);
}

int cs_hcs_modify_process(HCS_PROCESS p, const char *doc, const char *uri, int fd, struct cs_err **err)
{
	return modify_process(p, doc, &uri, &fd, fd >= 0, NULL, err);
}

int cs_hcs_modify_init_fds(HCS_SYSTEM s, const char *doc, const char *const *uris, const int *fds, size_t n, char **ret, struct cs_err **err)
{
	HCS_PROCESS p;

	if (with_init(s, &p, err) < 0) {
		for (size_t i = 0; i < n; i++)
			cs_close(fds[i]);
		return -1;
	}
	int r = modify_process(p, doc, uris, fds, n, ret, err);
	HcsCloseProcess(p);
	return r;
}

int cs_hcs_modify_init(HCS_SYSTEM s, const char *doc, const char *uri, int fd, struct cs_err **err)
{
	return cs_hcs_modify_init_fds(s, doc, &uri, &fd, fd >= 0, NULL, err);
}
