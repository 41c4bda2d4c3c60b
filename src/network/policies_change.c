/* SPDX-License-Identifier: Apache-2.0
 *
 * A list of policies changes: what the Settings of a ModifyRequest hold is one policy, or {"Policies": […]} as in the HCN schema. Ten thousand at
 * once must not be compared each with each. */
#include "network/internal.h"

struct list {
	struct cs_doc_policy *v;
	size_t n;
};

static const struct cs_jfield list_fields[] = {JF_LIST(struct list, "Policies", v, n, 0, &cs_doc_policy_type), JF_END};
static const struct cs_jtype list_type = {"Policies", sizeof(struct list), list_fields};

static void list_done(struct list *l) { cs_json_release(&list_type, l); }

static HRESULT read_asked(const char *settings, struct list *ret, struct cs_err **err)
{
	cs_autojson json_t *in = settings ? cs_json_parse(settings, strlen(settings), NULL) : NULL;

	*ret = (struct list){0};
	if (json_object_get(in, "Policies")) {
		if (cs_doc_read(&list_type, settings, ret, err) < 0)
			return HCN_E_INVALID_JSON;
		if (!ret->n)
			return cs_hr_fail(err, HCN_E_INVALID_JSON, 0, "Policies: there are none");
	} else {
		struct cs_doc_policy one;
		if (cs_doc_read(&cs_doc_policy_type, settings, &one, err) < 0)
			return HCN_E_INVALID_JSON;
		ret->v = cs_xcalloc(1, sizeof(one));
		ret->v[0] = one;
		ret->n = 1;
	}
	for (size_t i = 0; i < ret->n; i++)
		cs_port_mapping_respell(&ret->v[i]);
	return HCS_S_OK;
}

static int by_text(const void *a, const void *b)
{
	const struct cs_doc_policy *x = *(const struct cs_doc_policy *const *)a, *y = *(const struct cs_doc_policy *const *)b;
	int c = strcmp(x->type, y->type);

	return c ? c : strcmp(x->settings ? x->settings : "", y->settings ? y->settings : "");
}

/* Pointers to both lists' policies in one order. */
static const struct cs_doc_policy **sorted(const struct cs_doc_policy *a, size_t na, const struct cs_doc_policy *b, size_t nb)
{
	const struct cs_doc_policy **v = cs_xcalloc(na + nb + 1, sizeof(*v));

	for (size_t i = 0; i < na; i++)
		v[i] = &a[i];
	for (size_t i = 0; i < nb; i++)
		v[na + i] = &b[i];
	qsort(v, na + nb, sizeof(*v), by_text);
	return v;
}

static HRESULT none_there(const struct cs_doc_policy *v, size_t n, const struct list *asked, struct cs_err **err)
{
	cs_autofree const struct cs_doc_policy **all = sorted(v, n, asked->v, asked->n);
	const struct cs_doc_policy *begin = asked->v, *end = asked->v + asked->n;

	for (size_t i = 1; i < n + asked->n; i++) {
		bool ours = (all[i] >= begin && all[i] < end) || (all[i - 1] >= begin && all[i - 1] < end);
		if (ours && by_text(&all[i - 1], &all[i]) == 0)
			return cs_hr_fail(err, HCN_E_POLICY_ALREADY_EXISTS, 0, "this %s policy is there already", all[i]->type);
	}
	return HCS_S_OK;
}

static HRESULT take_away(struct cs_doc_policy *v, size_t *n, const struct list *asked, struct cs_err **err)
{
	cs_autofree const struct cs_doc_policy **order = sorted(asked->v, asked->n, NULL, 0);
	cs_autofree bool *hit = cs_xcalloc(asked->n, sizeof(*hit));
	size_t kept = 0;

	for (size_t i = 0; i < *n; i++) {
		const struct cs_doc_policy *p = &v[i], **found = bsearch(&p, order, asked->n, sizeof(*order), by_text);
		if (found) {
			hit[found - order] = true;
			cs_json_release(&cs_doc_policy_type, &v[i]);
		} else {
			v[kept++] = v[i];
		}
	}
	*n = kept;
	for (size_t i = 0; i < asked->n; i++)
		if (!hit[i])
			return cs_hr_fail(err, HCN_E_POLICY_NOT_FOUND, 0, "there is no such %s policy", order[i]->type);
	return HCS_S_OK;
}

static void drop_types(struct cs_doc_policy *v, size_t *n, const struct list *asked)
{
	cs_autostrv char **types = NULL;
	size_t kept = 0;

	for (size_t i = 0; i < asked->n; i++)
		if (!cs_strv_has(types, asked->v[i].type))
			cs_strv_push(&types, asked->v[i].type);
	for (size_t i = 0; i < *n; i++)
		if (cs_strv_has(types, v[i].type))
			cs_json_release(&cs_doc_policy_type, &v[i]);
		else
			v[kept++] = v[i];
	*n = kept;
}

static void append(struct cs_doc_policy **list, size_t *n, struct list *asked)
{
	*list = cs_xreallocarray(*list, *n + asked->n, sizeof(**list));
	memcpy(*list + *n, asked->v, asked->n * sizeof(**list));
	*n += asked->n;
	free(asked->v);
	*asked = (struct list){0};
}

HRESULT cs_policies_change(struct cs_doc_policy **list, size_t *n, const struct cs_doc_modify *m, struct cs_err **err)
{
	struct list asked cs_auto(list_done) = {0};
	bool remove = strcmp(m->request, "Remove") == 0;
	HRESULT hr = read_asked(m->settings, &asked, err);

	if (hr != HCS_S_OK)
		return hr;
	if (remove)
		return take_away(*list, n, &asked, err);
	if (strcmp(m->request, "Update") == 0)
		drop_types(*list, n, &asked);
	else
		hr = none_there(*list, *n, &asked, err);
	if (hr == HCS_S_OK)
		append(list, n, &asked);
	return hr;
}
