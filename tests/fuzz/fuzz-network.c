/* SPDX-License-Identifier: Apache-2.0
 *
 * Documents of the network service: the first byte says which kind, the rest is its text. What is read is written, read again, and the same. */
#include "base/macros.h"
#include "network/documents.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void policies(const struct cs_doc_policy *v, size_t n)
{
	struct cs_network_policies np;
	struct cs_endpoint_policies ep;

	if (cs_network_policies_read(v, n, &np, NULL) == 0)
		cs_network_policies_done(&np);
	if (cs_endpoint_policies_read(v, n, &ep, NULL) == 0)
		cs_endpoint_policies_done(&ep);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct cs_jtype *const types[] = {&cs_doc_network_type, &cs_doc_endpoint_type, &cs_doc_namespace_type, &cs_doc_lb_type,
						       &cs_doc_modify_type,  &cs_doc_query_type,    &cs_doc_service_type};

	if (size == 0)
		return 0;
	const struct cs_jtype *t = types[data[0] % CS_ARRAY_SIZE(types)];
	cs_autofree char *text = cs_xstrndup((const char *)data + 1, size - 1);
	cs_autofree void *doc = cs_xcalloc(1, t->size);
	cs_autoerr struct cs_err *err = NULL;
	if (cs_doc_read(t, text, doc, &err) < 0)
		return 0;
	if (t == &cs_doc_network_type)
		policies(((struct cs_doc_network *)doc)->policies, ((struct cs_doc_network *)doc)->n_policies);
	if (t == &cs_doc_endpoint_type)
		policies(((struct cs_doc_endpoint *)doc)->policies, ((struct cs_doc_endpoint *)doc)->n_policies);
	cs_autofree char *out = cs_doc_write(t, doc);
	cs_json_release(t, doc);
	if (cs_doc_read(t, out, doc, NULL) < 0)
		abort();
	cs_autofree char *again = cs_doc_write(t, doc);
	cs_json_release(t, doc);
	if (strcmp(out, again) != 0)
		abort();
	return 0;
}
