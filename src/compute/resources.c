/* SPDX-License-Identifier: Apache-2.0
 *
 * Live changes of a running system's limits. Any thread. */
#include <fcntl.h>

#include "base/io.h"
#include "compute/internal.h"

static int put(const struct cs_setting *s) { return cs_write_file_at(AT_FDCWD, s->file, s->value, strlen(s->value)); }

static bool is_file(const struct cs_setting *s, const char *name)
{
	size_t a = strlen(s->file), b = strlen(name);
	return a > b && strcmp(s->file + a - b, name) == 0;
}

/* v1 keeps memory <= memory+swap at every moment: raising both starts with the second, lowering both with the first. Whichever is
 * refused first is tried again after the other. */
static int memory_pair(const struct cs_setting *limit, const struct cs_setting *swap)
{
	int r = put(limit);

	if (r == -EINVAL || r == -EBUSY) {
		r = put(swap);
		return r < 0 ? r : put(limit);
	}
	return r < 0 ? r : put(swap);
}

int cs_resources_update(struct cs_system *s, json_t *settings, struct cs_err **err)
{
	cs_auto(cs_settings_done) struct cs_settings set = {0};
	const struct cs_setting *limit = NULL, *swap = NULL;

	if (cs_resources_compile(settings, "Settings", &cs_service.host, s->document.cgroups_path, true, &set, err) < 0)
		return -1;
	for (size_t i = 0; i < set.n; i++) {
		if (is_file(&set.v[i], "/memory.limit_in_bytes"))
			limit = &set.v[i];
		if (is_file(&set.v[i], "/memory.memsw.limit_in_bytes"))
			swap = &set.v[i];
	}
	bool pair = limit && swap;
	if (pair) {
		int r = memory_pair(limit, swap);
		if (r < 0)
			return cs_fail(err, CS_ERR_INVALID, -r, "set memory to %s and memory+swap to %s", limit->value, swap->value);
	}
	for (size_t i = 0; i < set.n; i++) {
		const struct cs_setting *v = &set.v[i];
		if (pair && (v == limit || v == swap))
			continue;
		int r = put(v);
		if (r == 0 || v->required != 1)
			continue;
		if (r == -EBUSY && limit == v)
			return cs_fail(err, CS_ERR_CONFLICT, EBUSY, "the memory limit %s is below what the container uses", v->value);
		return cs_fail(err, CS_ERR_INVALID, -r, "write \"%s\" to %s", v->value, v->file);
	}
	return 0;
}
