/* SPDX-License-Identifier: Apache-2.0 */
#include "compute/btf.h"

#include <linux/btf.h>
#include <string.h>

struct text {
	const char *strings;
	uint32_t len; /* the last byte is 0 */
};

static bool is(const struct text *t, uint32_t at, const char *name) { return at < t->len && strcmp(t->strings + at, name) == 0; }

/* Bytes behind a type's head. */
static size_t tail(uint32_t kind, uint32_t n)
{
	switch (kind) {
	case BTF_KIND_INT:
	case BTF_KIND_VAR:
	case 17 /* DECL_TAG */: return 4;
	case BTF_KIND_ARRAY: return sizeof(struct btf_array);
	case BTF_KIND_STRUCT:
	case BTF_KIND_UNION: return n * sizeof(struct btf_member);
	case BTF_KIND_ENUM: return n * sizeof(struct btf_enum);
	case BTF_KIND_FUNC_PROTO: return n * sizeof(struct btf_param);
	case BTF_KIND_DATASEC: return n * sizeof(struct btf_var_secinfo);
	case 19 /* ENUM64 */: return n * 12;
	default: return 0;
	}
}

static void look(const struct text *t, const struct btf_type *type, uint32_t id, struct cs_btf_wish *w)
{
	uint32_t kind = BTF_INFO_KIND(type->info);

	if (w->found || kind != (w->member ? BTF_KIND_STRUCT : BTF_KIND_FUNC) || !is(t, type->name_off, w->name))
		return;
	const struct btf_member *m = (const struct btf_member *)(type + 1);
	w->value = id;
	w->found = !w->member;
	for (uint32_t i = 0; w->member && i < BTF_INFO_VLEN(type->info); i++) {
		uint32_t bits = BTF_INFO_KFLAG(type->info) ? BTF_MEMBER_BIT_OFFSET(m[i].offset) : m[i].offset;
		if (!is(t, m[i].name_off, w->member))
			continue;
		w->value = bits / 8;
		w->found = bits % 8 == 0;
		return;
	}
}

bool cs_btf_find(const void *btf, size_t len, struct cs_btf_wish *wishes, size_t n)
{
	const struct btf_header *h = btf;
	const char *base = btf;

	if (len < sizeof(*h) || h->magic != BTF_MAGIC || h->hdr_len < sizeof(*h) || h->hdr_len > len || h->hdr_len % 4 || h->type_off % 4)
		return false;
	size_t room = len - h->hdr_len;
	if (h->type_off > room || h->type_len > room - h->type_off || h->str_off > room || h->str_len > room - h->str_off || h->str_len == 0)
		return false;
	base += h->hdr_len;
	const struct text t = {base + h->str_off, h->str_len};
	if (t.strings[t.len - 1])
		return false;
	uint32_t id = 1;
	for (size_t at = 0; h->type_len - at >= sizeof(struct btf_type); id++) {
		const struct btf_type *type = (const void *)(base + h->type_off + at);
		size_t more = tail(BTF_INFO_KIND(type->info), BTF_INFO_VLEN(type->info));
		at += sizeof(*type);
		if (h->type_len - at < more)
			return false;
		at += more;
		for (size_t i = 0; i < n; i++)
			look(&t, type, id, &wishes[i]);
	}
	bool all = true;
	for (size_t i = 0; i < n; i++)
		all = all && wishes[i].found;
	return all;
}
