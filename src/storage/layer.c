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
