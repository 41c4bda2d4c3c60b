/* SPDX-License-Identifier: Apache-2.0
 *
 * Links that bear our mark when the service starts: read once, so that taking over a thousand endpoints is not a thousand dumps. */
#include "network/internal.h"

static struct {
	pthread_mutex_t lock;
	struct cs_link_info *v; /* sorted by alias */
	size_t n;
} left = {.lock = PTHREAD_MUTEX_INITIALIZER};

static bool keep(const struct cs_link_info *l, void *unused)
{
	if (!cs_prefix(l->alias, cs_net.mark))
		return true;
	for (size_t i = 0; i < left.n; i++) /* a dump that was made twice */
		if (left.v[i].index == l->index)
			return true;
	left.v = cs_xreallocarray(left.v, left.n + 1, sizeof(*left.v));
	left.v[left.n++] = *l;
	return true;
}

static int by_alias(const void *a, const void *b)
{
	return strcmp(((const struct cs_link_info *)a)->alias, ((const struct cs_link_info *)b)->alias);
}

int cs_leftovers_read(struct cs_err **err)
{
	cs_autortnl struct cs_rtnl r = {0};

	cs_leftovers_drop();
	if (cs_host_rtnl(&r, err) < 0 || cs_links_each(&r, keep, NULL, err) < 0)
		return -1;
	if (left.n > 0)
		qsort(left.v, left.n, sizeof(*left.v), by_alias);
	return 0;
}

bool cs_leftover_of(const struct cs_obj *o, struct cs_link_info *ret)
{
	struct cs_link_info key = {0};
	cs_autofree char *mark = cs_mark_of(o);

	(void)snprintf(key.alias, sizeof(key.alias), "%s", mark);
	pthread_mutex_lock(&left.lock);
	const struct cs_link_info *l = left.n ? bsearch(&key, left.v, left.n, sizeof(key), by_alias) : NULL;
	if (l)
		*ret = *l;
	pthread_mutex_unlock(&left.lock);
	return l;
}

void cs_leftovers_drop(void)
{
	pthread_mutex_lock(&left.lock);
	free(TAKE_PTR(left.v));
	left.n = 0;
	pthread_mutex_unlock(&left.lock);
}
