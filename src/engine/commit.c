/* SPDX-License-Identifier: Apache-2.0
 *
 * POST /commit: a container's writable layer becomes an image on top of the container's. While the layer is read the container is held: paused as
 * by `pause`, but noted on disk, so that the next engine lets it go on when this one dies. Nothing of a commit that fails is left. */
#include <fcntl.h>

#include "base/io.h"
#include "base/log.h"
#include "base/time.h"
#include "engine/events.h"
#include "engine/image_internal.h"
#include "engine/validate.h"

#define HELD "held" /* in the container's directory */

/* ---- holding ---- */

static void note_held(struct cs_container *c, bool held)
{
	cs_autofd int dir = open(c->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int r = dir < 0 ? -errno : held ? cs_replace_file_at(dir, HELD, "", 0, 0600, false) : unlinkat(dir, HELD, 0) < 0 && errno != ENOENT ? -errno : 0;

	if (r < 0 && r != -ENOENT)
		cs_logk(CS_LOG_WARN, "engine", "container", c->id, "note of a pause: %s", cs_errno_text(-r));
}

/* As dockerd, a container that cannot be paused is committed as it runs. */
static bool hold(struct cs_container *c)
{
	cs_autoerr struct cs_err *err = NULL;

	CS_GUARD(&c->op_lock);
	pthread_mutex_lock(&c->lock);
	bool running = c->status == CS_ST_RUNNING, paused = c->paused, again = paused && c->holds;
	if (again)
		c->holds++;
	pthread_mutex_unlock(&c->lock);
	if (!running || paused)
		return again;
	note_held(c, true);
	if (cs_container_set_paused(c, true, &err) < 0) {
		cs_autofree char *text = cs_err_text(err);
		cs_logk(CS_LOG_WARN, "engine", "container", c->id, "committed without a pause: %s", text);
		note_held(c, false);
		return false;
	}
	pthread_mutex_lock(&c->lock);
	c->holds++;
	pthread_mutex_unlock(&c->lock);
	return true;
}

static void release(struct cs_container *c)
{
	cs_autoerr struct cs_err *err = NULL;

	CS_GUARD(&c->op_lock);
	pthread_mutex_lock(&c->lock);
	bool last = --c->holds == 0, paused = c->status == CS_ST_RUNNING && c->paused;
	pthread_mutex_unlock(&c->lock);
	if (!last)
		return;
	if (paused && cs_container_set_paused(c, false, &err) < 0) {
		cs_autofree char *text = cs_err_text(err);
		cs_logk(CS_LOG_ERROR, "engine", "container", c->id, "stays paused after a commit: %s", text);
		return; /* the next start tries again */
	}
	note_held(c, false);
}

void cs_container_forget_held(struct cs_container *c) { note_held(c, false); }

void cs_container_release_held(struct cs_container *c)
{
	cs_autoerr struct cs_err *err = NULL;
	cs_autofd int dir = open(c->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);

	CS_GUARD(&c->op_lock);
	if (dir < 0 || faccessat(dir, HELD, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		return;
	if (c->status == CS_ST_RUNNING && c->paused) {
		cs_logk(CS_LOG_INFO, "engine", "container", c->id, "was paused for a commit that the engine did not survive: goes on");
		if (cs_container_set_paused(c, false, &err) < 0) {
			cs_autofree char *text = cs_err_text(err);
			cs_logk(CS_LOG_ERROR, "engine", "container", c->id, "stays paused: %s", text);
			return;
		}
	}
	note_held(c, false);
}

struct held {
	struct cs_container *c;
	bool held;
};

static void on_packed(void *ctx)
{
	struct held *h = ctx;

	if (h->held)
		release(h->c);
	h->held = false;
}

/* ---- the image ---- */

static json_t *config_json(const struct cs_config *c)
{
	cs_autostr struct cs_str out = CS_STR_INIT(CS_MAX_IMAGE_JSON);

	cs_json_encode(&cs_config_type, c, 0, &out);
	return out.failed ? NULL : cs_json_parse(out.buf, out.len, NULL);
}

static void keep(json_t *to, json_t *from, const char *key)
{
	json_t *v = json_object_get(from, key);

	if (v)
		(void)json_object_set(to, key, v);
}

static void set_text(json_t *to, const char *key, const char *val)
{
	if (!cs_empty(val))
		(void)json_object_set_new(to, key, json_string(val));
}

/* A history entry's words: the command's, joined. */
static json_t *history_entry(const struct cs_container *c, const struct cs_commit *in, const char *now, bool empty)
{
	json_t *h = json_object();
	cs_autofree char *cmd = c->config->cmd ? cs_strv_join(c->config->cmd, " ") : NULL;

	set_text(h, "created", now);
	set_text(h, "author", in->author);
	set_text(h, "created_by", cmd);
	set_text(h, "comment", in->comment);
	if (empty)
		(void)json_object_set_new(h, "empty_layer", json_true());
	return h;
}

/* The parent's configuration with what the commit adds. layer NULL: nothing has changed. */
static int child_config(json_t *parent, const struct cs_container *c, const struct cs_commit *in, const struct cs_config *cfg, const struct cs_layer_result *layer,
			struct cs_str *out, struct cs_err **err)
{
	cs_autojson json_t *j = json_object();
	char now[CS_TIME_BUF];
	json_t *rootfs = json_deep_copy(json_object_get(parent, "rootfs")), *history = json_deep_copy(json_object_get(parent, "history"));

	cs_time_format(cs_now_ns(), now);
	if (!json_is_object(rootfs) || !json_is_array(json_object_get(rootfs, "diff_ids"))) {
		json_decref(rootfs);
		json_decref(history);
		return cs_fail(err, CS_ERR_INTERNAL, 0, "image %s has no rootfs", c->image_id);
	}
	if (!json_is_array(history)) {
		json_decref(history);
		history = json_array();
	}
	(void)json_array_append_new(history, history_entry(c, in, now, !layer));
	if (layer)
		(void)json_array_append_new(json_object_get(rootfs, "diff_ids"), json_string(layer->diff_id.s));
	keep(j, parent, "architecture");
	set_text(j, "author", in->author);
	(void)json_object_set_new(j, "config", config_json(cfg));
	set_text(j, "container", c->id);
	(void)json_object_set_new(j, "container_config", config_json(c->config));
	set_text(j, "created", now);
	set_text(j, "docker_version", cs_engine_config(c->e)->version);
	(void)json_object_set_new(j, "history", history);
	set_text(j, "os", c->os);
	keep(j, parent, "os.features");
	keep(j, parent, "os.version");
	(void)json_object_set_new(j, "rootfs", rootfs);
	keep(j, parent, "variant");
	cs_autofree char *text = json_dumps(j, JSON_COMPACT);
	if (!text || !json_is_object(json_object_get(j, "config")))
		return cs_fail(err, CS_ERR_INVALID, 0, "image configuration is too large");
	cs_str_puts(out, text);
	return out->failed ? cs_fail(err, CS_ERR_INVALID, 0, "image configuration is too large") : 0;
}

struct work {
	struct cs_images *m;
	struct cs_container *c;
	const struct cs_commit *in;
	struct cs_config *cfg;
	struct cs_image_rec *parent;
	char *name; /* full, or NULL */
	struct cs_image_layer *layers;
	size_t n_layers;
	bool unused; /* there is a blob that no image has */
};

static int add_image(struct work *w, const struct cs_layer_result *layer, char **ret_id, struct cs_err **err)
{
	struct cs_images *m = w->m;
	cs_autojson json_t *parent = NULL;
	cs_autostr struct cs_str text = CS_STR_INIT(CS_MAX_IMAGE_JSON);
	struct cs_digest id, manifest;
	char *names[] = {w->name, NULL};

	if (cs_image_config_json(m, w->parent, &parent, err) < 0 || child_config(parent, w->c, w->in, w->cfg, layer, &text, err) < 0)
		return -1;
	if (cs_blob_put(m->storage, text.buf, text.len, &id, err) < 0 || cs_image_put_manifest(m, &id, text.len, w->layers, w->n_layers, &manifest, err) < 0)
		return -1;
	CS_GUARD(&m->write);
	if (cs_images_add_child(m, &w->parent->id, &id, &manifest, w->layers, w->n_layers, w->name ? names : NULL, err) < 0)
		return -1;
	*ret_id = cs_xstrdup(id.s);
	return 0;
}

/* The container's layer as a stage, published on top of the image's. */
static int make_layer(struct work *w, struct cs_layer_result *layer, bool *ret_empty, struct cs_err **err)
{
	struct cs_storage *s = w->m->storage;
	struct cs_layer_stage *stage = NULL;
	cs_autostrv char **skip = NULL;
	cs_autofd int upper = -EBADF;
	struct held held = {.c = w->c};
	struct cs_digest empty;
	static const char nothing[1024]; /* a tar without entries */

	if (cs_snap_open_upper(s, w->c->id, &upper, err) < 0)
		return -1;
	held.held = w->in->pause && hold(w->c);
	int r = cs_changes_own(w->c, &skip, err);
	if (r == 0) {
		struct cs_layer_capture cap = {.upper_fd = upper, .skip = skip, .packed = on_packed, .ctx = &held};
		r = cs_layer_capture(s, &cap, &stage, layer, err);
	}
	on_packed(&held); /* when nobody came so far */
	if (r < 0)
		return -1;
	if (cs_container_may_read(w->c, "commit", err) < 0) { /* a removal took files away while they were read */
		cs_layer_drop(stage);
		return -1;
	}
	cs_hash_data(nothing, sizeof(nothing), &empty);
	*ret_empty = strcmp(layer->diff_id.s, empty.s) == 0;
	if (*ret_empty) {
		w->unused = true;
		cs_layer_drop(stage);
		return 0;
	}
	const struct cs_digest *below = w->parent->n_layers ? &w->parent->layers[w->parent->n_layers - 1].chain : NULL;
	return cs_layer_publish(stage, below, &layer->chain_id, err);
}

static int commit(struct work *w, char **ret_id, struct cs_err **err)
{
	struct cs_image_rec *p = w->parent;
	struct cs_layer_result layer;
	bool empty;

	if (make_layer(w, &layer, &empty, err) < 0)
		return -1;
	w->layers = cs_xcalloc(p->n_layers + 1, sizeof(*w->layers));
	if (p->n_layers)
		memcpy(w->layers, p->layers, p->n_layers * sizeof(*p->layers));
	w->n_layers = p->n_layers;
	if (!empty)
		w->layers[w->n_layers++] = (struct cs_image_layer){.chain = layer.chain_id, .diff = layer.diff_id, .blob = layer.blob, .size = layer.size,
								   .blob_size = layer.blob_size, .media_type = (char *)(uintptr_t)cs_image_layer_type(layer.compression)};
	return add_image(w, empty ? NULL : &layer, ret_id, err);
}

static void work_done(struct work *w)
{
	free(w->layers); /* media types are the parent's */
	cs_config_free(w->cfg);
	cs_image_rec_unref(w->parent);
	free(w->name);
}

/* The configuration: the client's or the container's, changed, with the container's below. */
static int prepare(struct work *w, struct cs_err **err)
{
	struct cs_container *c = w->c;
	const struct cs_commit *in = w->in;

	if (cs_image_target_name(in->repo, in->tag, &w->name, err) < 0)
		return -1;
	w->cfg = cs_config_copy(in->config ? in->config : c->config);
	if (cs_import_changes(w->cfg, in->changes, err) < 0)
		return -1;
	cs_config_merge(w->cfg, c->config);
	if (cs_image_find(w->m, c->image_id, &w->parent, NULL, err) < 0)
		return -1;
	if (w->parent->n_layers >= CS_MAX_LAYERS)
		return cs_fail(err, CS_ERR_INTERNAL, 0, "max depth exceeded");
	return 0;
}

int cs_container_commit(struct cs_engine *e, const struct cs_commit *in, char **ret_id, struct cs_err **err)
{
	cs_autocontainer struct cs_container *c = NULL;
	cs_auto(work_done) struct work w = {.m = e->images, .in = in};
	char *id = NULL;

	if (cs_container_get(e, in->container ? in->container : "", &c, err) < 0 || cs_container_may_read(c, "commit", err) < 0)
		return -1;
	w.c = c;
	cs_images_hold(w.m);
	bool ready = prepare(&w, err) == 0;
	int r = ready ? commit(&w, &id, err) : -1;
	cs_images_let(w.m, ready && (r < 0 || w.unused));
	if (r < 0)
		return -1;
	cs_autofree char *familiar = w.name ? cs_image_tag_event(w.m, id, w.name) : NULL;
	cs_container_event(c, "commit", "comment", in->comment ? in->comment : "", "imageID", id, "imageRef", familiar ? familiar : "", NULL);
	*ret_id = id;
	return 0;
}
