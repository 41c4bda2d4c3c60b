/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/ports.h"

#include <string.h>

struct port {
	const char *ip, *type;
	int64_t from, to; /* private, public */
};
struct group {
	const char *ip, *type;
	int64_t first, last;
};

static int compare(const void *x, const void *y)
{
	const struct port *p = x, *q = y;
	int c;

	if (p->from != q->from)
		return p->from < q->from ? -1 : 1;
	if ((c = strcmp(p->ip, q->ip)) != 0)
		return c;
	if (p->to != q->to)
		return p->to < q->to ? -1 : 1;
	return strcmp(p->type, q->type);
}

static const char *host_port(struct tpl_arena *a, const char *ip, const char *port)
{
	return tpl_printf(a, strchr(ip, ':') ? "[%s]:%s" : "%s:%s", ip, port);
}

static void put(struct tpl_arena *a, struct cs_str *out, const struct group *g)
{
	const char *range = g->first == g->last ? tpl_printf(a, "%lld", (long long)g->first) : tpl_printf(a, "%lld-%lld", (long long)g->first, (long long)g->last);

	cs_str_puts(out, out->len ? ", " : "");
	if (*g->ip)
		cs_str_putf(out, "%s->", host_port(a, g->ip, range));
	cs_str_putf(out, "%s/%s", range, g->type);
}

const char *ports_text(struct tpl_arena *a, json_t *ports)
{
	struct cs_str out = CS_STR_INIT((size_t)1 << 20), mapped = CS_STR_INIT((size_t)1 << 20);
	size_t n = json_array_size(ports), n_groups = 0, k;
	struct port *list = tpl_alloc(a, (n + 1) * sizeof(*list));
	struct group *groups = tpl_alloc(a, (n + 1) * sizeof(*groups));

	for (size_t i = 0; i < n; i++) {
		json_t *p = json_array_get(ports, i);
		list[i] = (struct port){jstr(p, "IP"), jstr(p, "Type"), jint(p, "PrivatePort"), jint(p, "PublicPort")};
	}
	qsort(list, n, sizeof(*list), compare);
	for (size_t i = 0; i < n; i++) {
		const struct port *p = &list[i];
		if (*p->ip && p->to != p->from) {
			cs_str_putf(&mapped, "%s%s->%lld/%s", mapped.len ? ", " : "", host_port(a, p->ip, tpl_printf(a, "%lld", (long long)p->to)), (long long)p->from, p->type);
			continue;
		}
		for (k = 0; k < n_groups && !(cs_streq(groups[k].ip, p->ip) && cs_streq(groups[k].type, p->type)); k++)
			;
		if (k == n_groups) {
			groups[n_groups++] = (struct group){p->ip, p->type, p->from, p->from};
		} else if (p->from == groups[k].last + 1) {
			groups[k].last = p->from;
		} else {
			put(a, &out, &groups[k]);
			groups[k].first = groups[k].last = p->from;
		}
	}
	for (k = 0; k < n_groups; k++)
		put(a, &out, &groups[k]);
	if (mapped.len)
		cs_str_putf(&out, "%s%s", out.len ? ", " : "", mapped.buf);
	const char *text = tpl_strn(a, out.buf ? out.buf : "", out.len);
	cs_str_done(&out);
	cs_str_done(&mapped);
	return text;
}
