/* SPDX-License-Identifier: Apache-2.0
 *
 * `system check`: does the data root hold what the tables say, and nothing else (moby#21925)? Storage looks at its folders; who needs what it
 * finds, and what the tables want that is not there, is known here. A start repairs the same; this one works while the engine does. */
#include <fcntl.h>
#include <sys/stat.h>

#include "base/time.h"
#include "engine/image_internal.h"

#define YOUNG_NS (600 * CS_NS_PER_SEC) /* a snapshot comes before its container's row, and a volume may be filled in between */

struct check {
	struct cs_engine *e;
	struct cs_images *m;
	struct cs_needed *needed;
	struct cs_str *out;
	bool repair;
	size_t found, repaired;
};

static void tell(struct check *c, const char *kind, const char *name, const char *text, bool repaired)
{
	cs_str_puts(c->out, c->found++ ? ",{" : "{");
	cs_json_put_kstr(c->out, "Kind", kind);
	cs_json_put_kstr(c->out, "Name", name);
	cs_json_put_kstr(c->out, "Text", text);
	cs_json_put_kbool(c->out, "Repaired", repaired);
	cs_str_putc(c->out, '}');
	c->repaired += repaired;
}

static void on_problem(void *ctx, const struct cs_check_problem *p)
{
	static const char *const kinds[] = {
		[CS_CHECK_TMP] = "tmp", [CS_CHECK_FOREIGN] = "foreign", [CS_CHECK_LAYER_DAMAGED] = "layer-damaged", [CS_CHECK_LAYER_UNUSED] = "layer-unused",
		[CS_CHECK_SNAP_DAMAGED] = "snapshot-damaged", [CS_CHECK_SNAP_UNUSED] = "snapshot-unused", [CS_CHECK_SNAP_PARENT] = "snapshot-parent",
		[CS_CHECK_BLOB_DAMAGED] = "blob-damaged", [CS_CHECK_BLOB_UNUSED] = "blob-unused", [CS_CHECK_LAYOUT] = "layout", [CS_CHECK_INDEX] = "index",
	};
	struct check *c = ctx;
	bool repaired = p->repaired;

	/* the engine knows the names that an index has to tell */
	if (p->kind == CS_CHECK_INDEX && c->repair)
		repaired = cs_images_check_index(c->m, NULL) == 0;
	tell(c, kinds[p->kind], p->name, p->text, repaired);
}

/* Of the round that reads all content: the rest is told by the other one. */
static void on_damage(void *ctx, const struct cs_check_problem *p)
{
	struct check *c = ctx;
	struct cs_digest d;

	if (p->kind != CS_CHECK_BLOB_DAMAGED || !cs_digest_from(p->name, &d))
		return;
	if (c->repair)
		cs_blob_remove(c->m->storage, &d);
	tell(c, "blob-damaged", p->name, p->text, c->repair);
}

static bool layer_used(void *ctx, const struct cs_digest *d) { return cs_needed_layer(((struct check *)ctx)->needed, d); }
static bool blob_used(void *ctx, const struct cs_digest *d) { return cs_needed_blob(((struct check *)ctx)->needed, d); }

static bool snap_used(void *ctx, const char *id)
{
	struct check *c = ctx;
	cs_autocontainer struct cs_container *found = NULL;
	cs_autofree char *path = cs_snap_path(c->m->storage, id);
	struct stat st;

	if (c->e->unreadable || cs_container_get(c->e, id, &found, NULL) == 0)
		return true;
	return lstat(path, &st) < 0 || cs_now_ns() - (st.st_mtim.tv_sec * CS_NS_PER_SEC + st.st_mtim.tv_nsec) < YOUNG_NS;
}

/* What the tables want that is not there. */
static void check_images(struct check *c)
{
	struct cs_image_rec *r, *next;
	cs_autofd int fd = -EBADF;

	HASH_ITER(hh, c->m->by_id, r, next)
	{
		const char *text = NULL;
		if (cs_blob_open(c->m->storage, &r->id, &fd, NULL, NULL) < 0)
			text = "has lost its configuration: pull it again";
		cs_close(TAKE_FD(fd));
		if (!text && cs_blob_open(c->m->storage, &r->manifest, &fd, NULL, NULL) < 0)
			text = "has lost its manifest: pull it again";
		cs_close(TAKE_FD(fd));
		for (size_t i = 0; i < r->n_layers && !text; i++) {
			if (cs_layer_open(c->m->storage, &r->layers[i].chain, &fd, NULL) < 0)
				text = "has lost a layer: pull it again";
			cs_close(TAKE_FD(fd));
		}
		if (text)
			tell(c, "image", r->id.s, text, false);
	}
}

/* Extracted files against the blobs they came from. Once each, although images share them. Nothing is held: what goes meanwhile is not told. */
static void check_files(struct check *c)
{
	struct cs_storage *s = c->m->storage;
	cs_autostrv char **seen = cs_xcalloc(1, sizeof(char *));
	size_t n;
	struct cs_image_rec **v = cs_image_recs(c->m, &n);

	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < v[i]->n_layers; k++) {
			const struct cs_image_layer *l = &v[i]->layers[k];
			cs_autoerr struct cs_err *e = NULL;
			bool same = true;
			if (cs_strv_has(seen, l->chain.s))
				continue;
			cs_strv_push(&seen, l->chain.s);
			int r = cs_layer_compare(s, &l->chain, &l->blob, &l->diff, &same, &e);
			if (r == 0 && !same && cs_layer_exists(s, &l->chain)) {
				cs_autofree char *text = cs_xasprintf("has other files than its blob %s: remove its images and pull them again", l->blob.s);
				tell(c, "layer-files", l->chain.s, text, false);
			} else if (r < 0 && cs_err_code(e) != CS_ERR_NOT_FOUND && cs_err_code(e) != CS_ERR_INVALID) { /* which were told already */
				cs_autofree char *why = cs_err_text(e), *text = cs_xasprintf("could not be compared with its blob: %s", why);
				tell(c, "layer-files", l->chain.s, text, false);
			}
		}
	}
	cs_image_recs_free(v, n);
}

static bool has_files(struct check *c, const char *id)
{
	cs_autofd int upper = -EBADF;
	return cs_snap_open_upper(c->m->storage, id, &upper, NULL) == 0;
}

/* One that is being removed loses its files in good order; whoever is busy with it knows. */
static bool lost_files(struct check *c, struct cs_container *x)
{
	cs_autocontainer struct cs_container *still = NULL;

	if (has_files(c, x->id) || pthread_mutex_trylock(&x->op_lock) != 0)
		return false;
	bool lost = cs_container_get(c->e, x->id, &still, NULL) == 0 && still == x && !x->removing && !has_files(c, x->id);
	pthread_mutex_unlock(&x->op_lock);
	return lost;
}

static void check_containers(struct check *c)
{
	struct cs_container **all = cs_containers_all(c->e, NULL);

	for (struct cs_container **p = all; *p; p++)
		if (lost_files(c, *p))
			tell(c, "container", (*p)->id, "has lost its file system", false);
	cs_containers_free(all);
}

/* Nothing is pulled into place, removed or swept meanwhile, but content is not read: that could take minutes. */
static int check_use(struct check *c, struct cs_err **err)
{
	struct cs_images *m = c->m;
	struct cs_check_options o = {.repair = c->repair, .layer_used = layer_used, .blob_used = blob_used, .snap_used = snap_used, .ctx = c};

	CS_GUARD(&m->publish);
	CS_GUARD(&m->write);
	c->needed = cs_images_needed(m, err);
	if (!c->needed)
		return -1;
	int r = cs_storage_check(m->storage, &o, on_problem, c, err);
	if (r == 0)
		check_images(c);
	cs_needed_free(TAKE_PTR(c->needed));
	return r;
}

int cs_system_check(struct cs_engine *e, bool repair, bool deep, struct cs_str *out, struct cs_err **err)
{
	struct check c = {.e = e, .m = e->images, .out = out, .repair = repair};
	struct cs_check_options content = {.deep = true};

	cs_str_puts(out, "{\"Problems\":[");
	if (deep && cs_storage_check(c.m->storage, &content, on_damage, &c, err) < 0)
		return -1;
	if (check_use(&c, err) < 0)
		return -1;
	if (deep)
		check_files(&c);
	check_containers(&c);
	cs_str_putc(out, ']');
	cs_json_put_ki64(out, "Found", (int64_t)c.found);
	cs_json_put_ki64(out, "Repaired", (int64_t)c.repaired);
	cs_str_putc(out, '}');
	return out->failed ? cs_fail(err, CS_ERR_INTERNAL, 0, "too many problems to tell") : 0;
}
