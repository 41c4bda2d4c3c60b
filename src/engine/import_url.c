/* SPDX-License-Identifier: Apache-2.0
 *
 * POST /images/create?fromSrc=URL: the archive is downloaded while it is unpacked; nothing is kept in between. */
#include "base/time.h"
#include "engine/image_internal.h"
#include "engine/producer.h"
#include "engine/progress.h"
#include "registry/registry.h"

#define STEP_NS (100 * CS_NS_PER_MS)

struct url_import {
	struct cs_engine *e;
	struct cs_import in; /* strings are ours */
	char *url;
	char **changes;
	struct cs_registry *reg;
	struct cs_download *d; /* opened by the first read: what can be said without it is said first */
	struct cs_progress *out;
	int cancel_fd;
	int64_t size, got, told_ns;
	struct cs_err *err; /* of the download */
};

static void import_free(void *ctx)
{
	struct url_import *x = ctx;

	cs_download_close(x->d);
	cs_registry_unref(x->reg);
	free((char *)(uintptr_t)x->in.repo);
	free((char *)(uintptr_t)x->in.tag);
	free((char *)(uintptr_t)x->in.message);
	free((char *)(uintptr_t)x->in.platform);
	free(x->url);
	cs_strv_free(x->changes);
	cs_err_free(x->err);
	free(x);
}

static ssize_t read_url(void *ctx, void *buf, size_t max)
{
	struct url_import *x = ctx;

	if (!x->d) {
		if (cs_download_open(x->reg, x->url, x->cancel_fd, &x->d, &x->size, &x->err) < 0)
			return -EIO;
		cs_progress_status(x->out, NULL, "Downloading from %s", x->url);
	}
	ssize_t n = cs_download_read(x->d, buf, max, &x->err);
	if (n < 0)
		return -EIO;
	x->got += n;
	int64_t now = cs_monotonic_ns();
	if (now - x->told_ns >= STEP_NS || (n == 0 && x->told_ns)) {
		x->told_ns = n == 0 ? 0 : now;
		cs_progress_step(x->out, NULL, "Importing", x->got, x->size);
	}
	return n;
}

static int work(struct cs_progress *out, struct cs_producer *p, void *ctx, struct cs_err **err)
{
	struct url_import *x = ctx;
	cs_autofree char *id = NULL;
	struct cs_err *late = NULL;

	x->out = out;
	x->cancel_fd = p->cancel_fd;
	x->in.read = read_url;
	x->in.ctx = x;
	if (cs_image_import(x->e, &x->in, &id, &late) < 0) {
		if (x->err) { /* the cause; the other is what came of it */
			cs_err_free(late);
			late = TAKE_PTR(x->err);
		}
		return cs_err_move(err, late);
	}
	cs_progress_status(out, NULL, "%s", id);
	return 0;
}

int cs_image_import_url(struct cs_engine *e, const struct cs_import *in, const char *url, int client_fd, struct cs_stream **ret, struct cs_err **err)
{
	struct url_import *x = cs_xcalloc(1, sizeof(*x));

	x->e = e;
	x->url = strstr(url, "://") ? cs_xstrdup(url) : cs_xasprintf("http://%s", url);
	x->changes = cs_strv_copy(in->changes);
	x->in = (struct cs_import){.repo = cs_xstrdup(in->repo),
				   .tag = cs_xstrdup(in->tag),
				   .message = cs_empty(in->message) ? cs_xasprintf("Imported from %s", x->url) : cs_xstrdup(in->message),
				   .platform = cs_xstrdup(in->platform),
				   .changes = x->changes};
	if (cs_images_registry(e->images, &x->reg, err) < 0) {
		import_free(x);
		return -1;
	}
	return cs_progress_start(work, x, import_free, client_fd, ret, err);
}
