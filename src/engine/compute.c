/* SPDX-License-Identifier: Apache-2.0
 *
 * GET /compute/systems and /compute/systems/x: the host compute service's own view, for `caisson compute`. Caisson's own: dockerd has no such thing. */
#include "base/json.h"
#include "computecore.h"
#include "engine/container.h"

int cs_compute_list(struct cs_engine *e, struct cs_str *out, struct cs_err **err)
{
	HCS_OPERATION op = HcsCreateOperation(NULL, NULL);
	char *doc = NULL;

	if (cs_hcs_finish(op, op ? HcsEnumerateComputeSystems(NULL, op) : HCS_E_OUTOFMEMORY, CS_HCS_TIMEOUT_MS, &doc, err) < 0)
		return -1;
	cs_str_puts(out, doc ? doc : "[]");
	HcsFree(doc);
	return 0;
}

int cs_compute_properties(struct cs_engine *e, const char *ref, char *const *types, struct cs_str *out, struct cs_err **err)
{
	cs_autocontainer struct cs_container *c = NULL;
	bool known = cs_container_get(e, ref, &c, NULL) == 0;
	const char *id = known ? c->id : ref;
	cs_autostr struct cs_str query = CS_STR_INIT(65536);
	HCS_SYSTEM h = NULL;
	char *doc = NULL;

	HRESULT hr = HcsOpenComputeSystem(id, 0, &h);
	if (hr == HCS_E_SYSTEM_NOT_FOUND || hr == HCS_E_INVALIDARG)
		return cs_fail(err, CS_ERR_NOT_FOUND, 0, "no such compute system: %s%s", ref, known ? " (the container is not running)" : "");
	if (hr != HCS_S_OK)
		return cs_fail(err, CS_ERR_INTERNAL, 0, "open compute system %s: 0x%08x", ref, (unsigned)hr);
	cs_str_puts(&query, "{\"PropertyTypes\":");
	cs_json_put_strv(&query, types);
	cs_str_putc(&query, '}');
	int r = cs_hcs_properties(h, types && *types ? query.buf : NULL, &doc, err);
	HcsCloseComputeSystem(h);
	if (r < 0)
		return -1;
	cs_str_puts(out, doc ? doc : "{}");
	HcsFree(doc);
	return 0;
}
