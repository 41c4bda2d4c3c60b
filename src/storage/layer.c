/* SPDX-License-Identifier: Apache-2.0
 *
 * Extracted layers by chain id: lookup and removal. Publishing is in unpack.c. Any thread. */
#include <fcntl.h>
#include <sys/stat.h>

#include "base/io.h"
#include "base/sys.h"
#include "storage/internal.h"

bool cs_layer_exists(struct cs_storage *s, const struct cs_digest *chain) { return faccessat(s->layers_fd, cs_digest_hex(chain), F_OK, 0) == 0; }

char *cs_layer_path(struct cs_storage *s, const struct cs_digest *chain)
{
	return cs_xasprintf("%s/layers/%s/diff", s->root, cs_digest_hex(chain));
}

int cs_layer_open(struct cs_storage *s, const struct cs_digest *chain, int *ret_fd, struct cs_err **err)
{
	cs_autofree char *path = cs_xasprintf("%s/diff", cs_digest_hex(chain));
	int fd = sys_openat2(s->layers_fd, path, O_RDONLY | O_DIRECTORY, 0, CS_RESOLVE_BENEATH_NOLINKS);
	if (fd < 0)
		return cs_fail(err, fd == -ENOENT ? CS_ERR_NOT_FOUND : CS_ERR_INTERNAL, -fd, "open layer %s", chain->s);
	*ret_fd = fd;
	return 0;
}

/* It is gone for everybody on return; its files are deleted behind the caller's back. */
int cs_layer_remove(struct cs_storage *s, const struct cs_digest *chain, struct cs_err **err)
{
	return cs_storage_discard(s, s->layers_fd, cs_digest_hex(chain), err) < 0 ? cs_wrap(err, "layer %s", chain->s) : 0;
}

static ssize_t read_fd(void *ctx, void *buf, size_t max)
{
	ssize_t n = cs_read_full(*(int *)ctx, buf, max);
	return n;
}

int cs_layer_compare(struct cs_storage *s, const struct cs_digest *chain, const struct cs_digest *blob, const struct cs_digest *diff, bool *ret_same, struct cs_err **err)
{
	cs_autofd int layer = -EBADF, fd = -EBADF;
	struct cs_layer_source src = {.read = read_fd, .ctx = &fd, .diff_id = diff};
	struct cs_layer_stage *stage;
	struct cs_layer_result res;
	struct cs_digest is, should;

	if (cs_layer_open(s, chain, &layer, err) < 0 || cs_blob_open(s, blob, &fd, NULL, err) < 0 || cs_layer_stage(s, &src, &stage, &res, err) < 0)
		return -1;
	int r = cs_tree_digest(stage->diff_fd, &should, err);
	cs_layer_drop(stage);
	if (r < 0 || cs_tree_digest(layer, &is, err) < 0)
		return -1;
	*ret_same = strcmp(is.s, should.s) == 0;
	return 0;
}

struct each_ctx {
	void (*fn)(void *ctx, const struct cs_digest *d);
	void *ctx;
};

static int each_layer(void *ctx, int dir_fd, const struct dirent *d)
{
	struct each_ctx *e = ctx;
	struct cs_digest dig;
	cs_autofree char *name = cs_xasprintf("sha256:%s", d->d_name);

	(void)dir_fd;
	if (cs_digest_from(name, &dig))
		e->fn(e->ctx, &dig);
	return 0;
}

void cs_layer_each(struct cs_storage *s, void (*fn)(void *ctx, const struct cs_digest *chain), void *ctx)
{
	struct each_ctx e = {fn, ctx};
	(void)cs_each_entry(s->layers_fd, ".", each_layer, &e);
}
