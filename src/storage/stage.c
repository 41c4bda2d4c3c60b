/* SPDX-License-Identifier: Apache-2.0
 *
 * Layers on their way: a private directory in tmp/ that becomes layers/<chain id> when everything in it is known to be right. A stage
 * belongs to one thread at a time. */
#include <fcntl.h>
#include <sys/stat.h>

#include "base/io.h"
#include "base/sys.h"
#include "storage/internal.h"

void cs_layer_drop(struct cs_layer_stage *st)
{
	if (!st)
		return;
	cs_close(st->diff_fd);
	(void)cs_remove_tree_at(st->s->tmp_fd, st->tmp); /* gone already when published */
	free(st);
}

int cs_stage_new(struct cs_storage *s, struct cs_layer_stage **ret, struct cs_err **err)
{
	struct cs_layer_stage *st = cs_xcalloc(1, sizeof(*st));
	cs_autofd int dir = -EBADF;

	st->s = s;
	st->diff_fd = -EBADF;
	cs_storage_tmp_name(s, "layer", st->tmp);
	if (mkdirat(s->tmp_fd, st->tmp, 0710) < 0)
		goto fail;
	dir = openat(s->tmp_fd, st->tmp, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (dir < 0 || mkdirat(dir, "diff", 0755) < 0 || fchmodat(dir, "diff", 0755, 0) < 0)
		goto fail;
	st->diff_fd = openat(dir, "diff", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (st->diff_fd < 0)
		goto fail;
	*ret = st;
	return 0;
fail:
	cs_fail(err, cs_storage_code(errno), errno, "create a layer in %s/tmp", s->root);
	cs_layer_drop(st);
	return -1;
}

/* Gives a synced stage its name. */
static int name_layer(struct cs_layer_stage *st, const struct cs_digest *chain, struct cs_err **err)
{
	struct cs_storage *s = st->s;

	if (renameat2(s->tmp_fd, st->tmp, s->layers_fd, cs_digest_hex(chain), RENAME_NOREPLACE) < 0) {
		if (errno == EEXIST)
			return 0; /* somebody else was faster: same chain id, same content */
		return cs_fail(err, cs_storage_code(errno), errno, "publish layer %s", chain->s);
	}
	return 0;
}

int cs_layers_publish(struct cs_layer_stage **stages, size_t n, const struct cs_digest *parent, struct cs_digest *ret_chains, struct cs_err **err)
{
	struct cs_storage *s = n ? stages[0]->s : NULL;
	struct cs_digest chain = {0};
	int r = 0;

	if (parent)
		chain = *parent;
	/* All of the files must be on disk before a layer has its name: a name is believed after a power cut. They are on one file system. */
	if (n && syncfs(stages[0]->diff_fd) < 0)
		r = cs_fail(err, cs_storage_code(errno), errno, "sync the layers in %s/tmp", s->root);
	for (size_t i = 0; i < n; i++) {
		if (r == 0) {
			cs_chain_id(&chain, &stages[i]->diff_id, &chain);
			r = name_layer(stages[i], &chain, err);
			if (r == 0 && ret_chains)
				ret_chains[i] = chain;
		}
	}
	if (n && r == 0 && fsync(s->layers_fd) < 0)
		r = cs_fail(err, cs_storage_code(errno), errno, "sync %s/layers", s->root);
	for (size_t i = 0; i < n; i++)
		cs_layer_drop(TAKE_PTR(stages[i]));
	return r;
}

int cs_layer_publish(struct cs_layer_stage *stage, const struct cs_digest *parent, struct cs_digest *ret_chain, struct cs_err **err)
{
	return cs_layers_publish(&stage, 1, parent, ret_chain, err);
}
