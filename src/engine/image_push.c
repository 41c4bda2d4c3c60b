/* SPDX-License-Identifier: Apache-2.0
 *
 * Push: blobs that the registry lacks go there as they are stored (plain tars are compressed once, and stay so), then the configuration, then the
 * manifest under its tag. The request's producer thread tells how it goes; up to max-concurrent-uploads threads of its own do the layers. */
#include <sys/eventfd.h>

#include "base/guard.h"
#include "base/log.h"
#include "base/time.h"
#include "engine/image_index.h"
#include "engine/manifest.h"
#include "engine/progress.h"
#include "engine/transfer.h"

#define TICK_MS 100
#define STACK (256u << 10)

struct push { /* one request */
	struct cs_images *m;
	struct cs_ref ref; /* without a tag: all of the repository's */
	char *familiar;
	bool any_platform;
	struct cs_platform want;
	struct cs_registry_auth auth;
	struct cs_registry *registry;
	struct cs_session *session;
	struct cs_producer *p;
	struct cs_progress *out;
	bool packed; /* plain tars may be nobody's now */
};

enum phase { PREPARING, WAITING, COMPRESSING, PUSHING, PUSHED, EXISTS, MOUNTED, SKIPPED };

struct layer {
	struct cs_digest blob;
	int64_t size;
	char *media_type;
	bool plain;       /* an uncompressed tar: is compressed first */
	bool skip;        /* not for distribution */
	const struct layer *same; /* an earlier one with this digest does it */
	char id[13];      /* of its diff id */
	/* under image->lock */
	enum phase phase;
	bool done;
	int64_t sent;
	char *mounted_from;
	/* of the reporter */
	enum phase told;
	int64_t told_sent;
};

struct image { /* one manifest on its way */
	struct push *x;
	const char *tag;          /* NULL: by its digest, as a part of an index */
	struct cs_image_rec *rec; /* NULL: an index's attestation, or what runs elsewhere only */
	struct cs_digest manifest, config;
	const char *type;         /* of the manifest */
	json_t *doc; /* the manifest */
	struct layer *v;
	size_t n, next;
	unsigned threads;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct cs_err *err; /* the first failure */
	atomic_bool stop;
};

static bool cancelled(const struct push *x) { return atomic_load(&x->p->cancelled) || atomic_load(&x->out->broken); }

static bool stopped(void *ctx)
{
	struct image *im = ctx;
	return im->stop || atomic_load(&im->x->p->cancelled);
}

/* ---- one layer; threads of the image ---- */
struct upload {
	struct image *im;
	struct layer *l;
	int fd;
};

static ssize_t upload_read(void *ctx, void *buf, size_t max)
{
	struct upload *u = ctx;
	ssize_t n;

	do
		n = read(u->fd, buf, max);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static int upload_rewind(void *ctx) { return lseek(((struct upload *)ctx)->fd, 0, SEEK_SET) < 0 ? -errno : 0; }

static void upload_progress(void *ctx, int64_t sent)
{
	struct upload *u = ctx;

	/* read by the reporter at its own pace */
	CS_GUARD(&u->im->lock);
	u->l->sent = sent;
}

static void set_phase(struct image *im, struct layer *l, enum phase phase)
{
	CS_GUARD(&im->lock);
	l->phase = phase;
	pthread_cond_broadcast(&im->changed);
}

static int upload(struct image *im, const struct cs_digest *blob, struct layer *l, struct cs_err **err)
{
	struct upload u = {.im = im, .l = l};
	cs_autofd int fd = -EBADF;
	struct cs_upload_source src = {.read = upload_read, .rewind = upload_rewind, .progress = l ? upload_progress : NULL, .ctx = &u};

	if (cs_blob_open(im->x->m->storage, blob, &fd, &src.size, err) < 0)
		return -1;
	u.fd = fd;
	return cs_repo_blob_push(im->x->session->repo, blob->s, &src, -2, err);
}

/* Another repository of this registry that had the blob when we last looked. */
static bool mount_from(struct image *im, struct layer *l)
{
	struct push *x = im->x;
	cs_autostrv char **from = NULL;
	bool mounted = false;

	pthread_mutex_lock(&x->m->write);
	int r = cs_image_db_sources(x->m, &l->blob, x->ref.domain, &from, NULL);
	pthread_mutex_unlock(&x->m->write);
	for (char **f = r == 0 ? from : NULL; f && *f && !mounted; f++) {
		if (strcmp(*f, x->ref.path) == 0)
			continue;
		/* a registry that will not is asked to take the bytes */
		if (cs_repo_blob_mount(x->session->repo, l->blob.s, *f, &mounted, NULL) < 0)
			mounted = false;
		if (mounted) {
			CS_GUARD(&im->lock);
			l->mounted_from = cs_xstrdup(*f);
		}
	}
	return mounted;
}

static int compress(struct image *im, struct layer *l, struct cs_err **err)
{
	bool docker = strcmp(im->type, CS_MT_DOCKER_MANIFEST) == 0;

	set_phase(im, l, COMPRESSING);
	if (cs_blob_gzip(im->x->m->storage, &l->blob, stopped, im, &l->blob, &l->size, err) < 0)
		return -1;
	free(l->media_type);
	l->media_type = cs_xstrdup(docker ? CS_MT_DOCKER_LAYER ".gzip" : CS_MT_OCI_LAYER "+gzip");
	return 0;
}

/* The registry's words without the request, as dockerd has them in a push. */
static int refused(struct cs_err *e, struct cs_err **err)
{
	cs_autofree char *text = cs_err_text(e);
	const char *rest = cs_prefix(text, "Head \"") ? strstr(text, "\": ") : NULL;

	if (!rest)
		return cs_err_move(err, e);
	cs_fail(err, cs_err_code(e), 0, "%s", rest + 3);
	cs_err_free(e);
	return -1;
}

static int push_layer(struct image *im, struct layer *l, struct cs_err **err)
{
	struct cs_err *e = NULL;

	if (l->plain && compress(im, l, err) < 0)
		return -1;
	if (cs_repo_blob_head(im->x->session->repo, l->blob.s, NULL, &e) == 0) {
		set_phase(im, l, EXISTS);
		return 0;
	}
	if (cs_err_code(e) != CS_ERR_NOT_FOUND)
		return refused(e, err);
	cs_err_free(e);
	if (mount_from(im, l)) {
		set_phase(im, l, MOUNTED);
		return 0;
	}
	set_phase(im, l, PUSHING);
	if (upload(im, &l->blob, l, err) < 0)
		return -1;
	set_phase(im, l, PUSHED);
	return 0;
}

static void *uploader(void *arg)
{
	struct image *im = arg;

	pthread_mutex_lock(&im->lock);
	while (im->next < im->n && !im->err && !stopped(im)) {
		struct layer *l = &im->v[im->next++];
		struct cs_err *e = NULL;
		if (l->skip || l->same) {
			l->phase = l->skip ? SKIPPED : l->phase;
			l->done = true;
			continue;
		}
		pthread_mutex_unlock(&im->lock);
		int r = push_layer(im, l, &e);
		pthread_mutex_lock(&im->lock);
		l->done = r == 0;
		if (r < 0)
			(void)cs_err_move(&im->err, e);
		pthread_cond_broadcast(&im->changed);
	}
	im->threads--;
	pthread_cond_broadcast(&im->changed);
	pthread_mutex_unlock(&im->lock);
	return NULL;
}

/* ---- the reporter ---- */
static void tell(struct image *im, struct layer *l)
{
	struct cs_progress *out = im->x->out;
	enum phase now = l->same ? l->same->phase : l->phase;

	if (now == PUSHING && l->sent != l->told_sent && !l->same) {
		l->told_sent = l->sent;
		cs_progress_step(out, l->id, "Pushing", l->sent, l->size);
	}
	if (now == l->told)
		return;
	l->told = now;
	if (now == PUSHED && !l->same)
		cs_progress_step(out, l->id, "Pushing", l->size, l->size);
	if (now == PUSHED)
		cs_progress_step(out, l->id, "Pushed", 0, 0);
	if (now == EXISTS)
		cs_progress_step(out, l->id, "Layer already exists", 0, 0);
	if (now == SKIPPED)
		cs_progress_step(out, l->id, "Skipped foreign layer", 0, 0);
	if (now == MOUNTED) {
		const struct layer *by = l->same ? l->same : l;
		cs_autofree char *text = cs_xasprintf("Mounted from %s", by->mounted_from);
		cs_progress_step(out, l->id, text, 0, 0);
	}
}

static int start_uploaders(struct image *im, struct cs_err **err)
{
	int64_t n = cs_engine_config(im->x->m->e)->max_concurrent_uploads;
	pthread_attr_t attr;
	int r = 0;

	n = CS_MIN(n > 0 && n < 100 ? n : 5, (int64_t)im->n);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	for (int64_t i = 0; i < n && r == 0; i++) {
		pthread_t t;
		r = pthread_create(&t, &attr, uploader, im);
		im->threads += r == 0;
	}
	pthread_attr_destroy(&attr);
	return im->threads || im->n == 0 ? 0 : cs_fail(err, CS_ERR_INTERNAL, r, "threads for the upload");
}

static int push_layers(struct image *im, struct cs_err **err)
{
	struct timespec until;
	int r;

	/* the top-most first, as dockerd lists them */
	for (size_t i = im->n; i-- > 0;)
		cs_progress_step(im->x->out, im->v[i].id, "Preparing", 0, 0);
	pthread_mutex_lock(&im->lock);
	r = start_uploaders(im, err);
	for (size_t i = 0; r == 0 && i < im->n; i++) {
		if (i >= im->threads)
			cs_progress_step(im->x->out, im->v[im->n - 1 - i].id, "Waiting", 0, 0);
	}
	while (r == 0) {
		for (size_t i = im->n; i-- > 0;)
			tell(im, &im->v[i]);
		if (im->threads == 0)
			break;
		im->stop = im->stop || im->err || cancelled(im->x);
		(void)clock_gettime(CLOCK_MONOTONIC, &until);
		int64_t ns = until.tv_nsec + TICK_MS * CS_NS_PER_MS;
		until.tv_sec += ns / CS_NS_PER_SEC;
		until.tv_nsec = ns % CS_NS_PER_SEC;
		(void)pthread_cond_timedwait(&im->changed, &im->lock, &until);
	}
	pthread_mutex_unlock(&im->lock);
	if (r < 0)
		return -1;
	if (im->err)
		return cs_err_move(err, TAKE_PTR(im->err));
	return cancelled(im->x) ? cs_fail(err, CS_ERR_CANCELLED, 0, "context canceled") : 0;
}

/* ---- the manifest ---- */
static bool plain_layers(const struct image *im)
{
	for (size_t i = 0; i < im->n; i++) {
		if (im->v[i].plain)
			return true;
	}
	return false;
}

/* The image with the compressed layers in place of plain ones; its blobs are what the next push and every save take. */
static int rewrite(struct image *im, struct cs_err **err)
{
	struct cs_images *m = im->x->m;
	json_t *list = json_object_get(im->doc, "layers");
	struct cs_image_layer *rows = cs_xcalloc(im->n + 1, sizeof(*rows));
	struct cs_digest manifest;

	for (size_t i = 0; i < im->n; i++) {
		struct layer *l = &im->v[i];
		const struct layer *by = l->same ? l->same : l;
		json_t *d = json_array_get(list, i);
		rows[i] = im->rec->layers[i];
		if (!l->plain)
			continue;
		rows[i].blob = by->blob;
		rows[i].blob_size = by->size;
		rows[i].media_type = by->media_type;
		(void)json_object_set_new(d, "mediaType", json_string(by->media_type));
		(void)json_object_set_new(d, "digest", json_string(by->blob.s));
		(void)json_object_set_new(d, "size", json_integer(by->size));
	}
	cs_autofree char *text = json_dumps(im->doc, JSON_COMPACT);
	int r = text ? cs_blob_put(m->storage, text, strlen(text), &manifest, err) : cs_fail(err, CS_ERR_INTERNAL, ENOMEM, "write a manifest");
	if (r == 0) {
		struct cs_image_rec *now = NULL;
		CS_GUARD(&m->write);
		im->manifest = manifest;
		HASH_FIND_STR(m->by_id, im->rec->id.s, now);
		if (now == im->rec) {
			r = cs_images_set_manifest(m, im->rec, &manifest, rows, im->n, err);
			HASH_FIND_STR(m->by_id, im->rec->id.s, now);
		}
		/* else somebody has removed it, and it is pushed all the same; or another push was faster */
		if (now) {
			atomic_fetch_add(&now->refs, 1);
			cs_image_rec_unref(im->rec);
			im->rec = now;
		}
	}
	free(rows);
	return r;
}

static int push_config(struct image *im, struct cs_err **err)
{
	struct cs_err *e = NULL;

	if (cs_repo_blob_head(im->x->session->repo, im->config.s, NULL, &e) == 0)
		return 0;
	if (cs_err_code(e) != CS_ERR_NOT_FOUND)
		return refused(e, err);
	cs_err_free(e);
	return upload(im, &im->config, NULL, err);
}

/* What the client is told of a tag that is there now. */
static void tell_pushed(struct push *x, const char *tag, const struct cs_digest *d, size_t size)
{
	cs_autostr struct cs_str aux = CS_STR_INIT(4096);

	cs_progress_status(x->out, NULL, "%s: digest: %s size: %zu", tag, d->s, size);
	cs_str_puts(&aux, "{");
	cs_json_put_kstr(&aux, "Tag", tag);
	cs_json_put_kstr(&aux, "Digest", d->s);
	cs_json_put_ki64(&aux, "Size", (int64_t)size);
	cs_str_puts(&aux, "}");
	cs_progress_aux(x->out, aux.buf);
}

static int push_manifest(struct image *im, struct cs_err **err)
{
	struct push *x = im->x;
	cs_autostr struct cs_str text = CS_STR_INIT(CS_MANIFEST_MAX);
	cs_autofree char *repo = cs_xasprintf("%s/%s", x->ref.domain, x->ref.path);
	cs_autofree char *name = cs_xasprintf("%s@%s", repo, im->manifest.s);
	bool named = im->tag && !cs_image_is_hidden(x->m, im->rec); /* a name would make an image of its own of one platform */
	int r = 0;

	if (cs_blob_get(x->m->storage, &im->manifest, CS_MANIFEST_MAX, &text, err) < 0 ||
	    cs_repo_manifest_put(x->session->repo, im->tag ? im->tag : im->manifest.s, im->type, text.buf, text.len, err) < 0)
		return -1;
	pthread_mutex_lock(&x->m->write);
	if (named)
		r = cs_images_set_name(x->m, name, im->rec, NULL, NULL); /* an image that has been removed meanwhile was pushed all the same */
	if (r == 0 && im->rec && im->rec->n_layers)
		r = cs_image_db_sources_add(x->m, im->rec->layers, im->rec->n_layers, repo, NULL);
	pthread_mutex_unlock(&x->m->write);
	if (r < 0)
		cs_warn("image", "%s was pushed; its digest could not be noted", name);
	if (im->tag)
		tell_pushed(x, im->tag, &im->manifest, text.len);
	return 0;
}

/* ---- one tag ---- */
static void image_init(struct image *im, struct push *x, const char *tag, struct cs_image_rec *rec)
{
	*im = (struct image){.x = x, .tag = tag, .rec = rec};
	if (rec) {
		im->manifest = rec->manifest;
		im->type = rec->manifest_type;
	}
	pthread_mutex_init(&im->lock, NULL);
	cs_cond_init(&im->changed);
}

static int read_image(struct image *im, struct cs_err **err)
{
	struct cs_images *m = im->x->m;
	cs_autostr struct cs_str text = CS_STR_INIT(CS_MANIFEST_MAX);
	cs_automf struct cs_manifest mf = {0};

	if (cs_blob_get(m->storage, &im->manifest, CS_MANIFEST_MAX, &text, err) < 0 || cs_manifest_parse(text.buf, text.len, NULL, &mf, err) < 0)
		return -1;
	im->doc = cs_json_parse(text.buf, text.len, err);
	if (!im->doc)
		return -1;
	bool as_is = !im->rec || im->rec->info.artifact; /* its blobs go as they are, whatever they are */
	bool pack = !as_is && !cs_image_is_part(m, im->rec);
	if (mf.kind != CS_MANIFEST_IMAGE || (!as_is && mf.n != im->rec->n_layers))
		return cs_fail(err, CS_ERR_INTERNAL, 0, "manifest %s is not the one of its image", im->manifest.s);
	if (!im->type)
		im->type = strcmp(mf.media_type, CS_MT_DOCKER_MANIFEST) == 0 ? CS_MT_DOCKER_MANIFEST : CS_MT_OCI_MANIFEST;
	im->config = mf.config.digest;
	im->v = cs_xcalloc(mf.n + 1, sizeof(*im->v));
	im->n = mf.n;
	for (size_t i = 0; i < mf.n; i++) {
		struct layer *l = &im->v[i];
		l->blob = mf.v[i].digest;
		l->size = mf.v[i].size;
		l->media_type = cs_xstrdup(mf.v[i].media_type);
		l->plain = pack && cs_layer_type_is_tar(l->media_type);
		l->skip = mf.v[i].urls && (strstr(l->media_type, "nondistributable") || strstr(l->media_type, ".foreign."));
		memcpy(l->id, cs_digest_hex(as_is ? &l->blob : &im->rec->layers[i].diff), 12);
		for (size_t k = 0; k < i && !l->same; k++) {
			if (strcmp(im->v[k].blob.s, l->blob.s) == 0)
				l->same = im->v[k].same ? im->v[k].same : &im->v[k];
		}
	}
	return 0;
}

static void image_done(struct image *im)
{
	im->x->packed = im->x->packed || plain_layers(im);
	for (size_t i = 0; i < im->n; i++) {
		free(im->v[i].media_type);
		free(im->v[i].mounted_from);
	}
	free(im->v);
	json_decref(im->doc);
	cs_err_free(im->err);
	cs_image_rec_unref(im->rec);
	pthread_mutex_destroy(&im->lock);
	pthread_cond_destroy(&im->changed);
}

static int push_image(struct image *im, struct cs_err **err)
{
	if (push_layers(im, err) < 0 || (plain_layers(im) && rewrite(im, err) < 0))
		return -1;
	return push_config(im, err) < 0 ? -1 : push_manifest(im, err);
}

/* rec: with a reference, taken. */
static int push_one(struct push *x, const char *tag, struct cs_image_rec *rec, struct cs_err **err)
{
	struct image im;

	image_init(&im, x, tag, rec);
	int r = read_image(&im, err) < 0 ? -1 : push_image(&im, err);
	image_done(&im);
	return r;
}

/* ---- an index ---- */
static int put_document(struct push *x, const struct cs_digest *d, const char *as, const char *type, struct cs_err **err)
{
	cs_autostr struct cs_str text = CS_STR_INIT(CS_MANIFEST_MAX);

	if (cs_blob_get(x->m->storage, d, CS_MANIFEST_MAX, &text, err) < 0)
		return -1;
	cs_autojson json_t *j = type ? NULL : cs_json_parse(text.buf, text.len, NULL);
	const char *own = json_string_value(json_object_get(j, "mediaType"));
	if (!type)
		type = own && strcmp(own, CS_MT_DOCKER_LIST) == 0 ? CS_MT_DOCKER_LIST : CS_MT_OCI_INDEX;
	return cs_repo_manifest_put(x->session->repo, as, type, text.buf, text.len, err);
}

/* All of its manifests first, then indexes within it, then itself under the tag. rec: what the tag leads to here. */
static int push_index(struct push *x, const char *tag, struct cs_image_rec *rec, const struct cs_image_index *index, struct cs_err **err)
{
	struct image *v = cs_xcalloc(index->n + 1, sizeof(*v));
	size_t n = 0;
	int r = 0;

	for (; r == 0 && n < index->n; n++) {
		pthread_rwlock_rdlock(&x->m->lock);
		struct cs_image_rec *part = cs_image_of_manifest(x->m, &index->v[n].digest);
		if (part)
			atomic_fetch_add(&part->refs, 1);
		pthread_rwlock_unlock(&x->m->lock);
		image_init(&v[n], x, NULL, part);
		v[n].manifest = index->v[n].digest;
		r = read_image(&v[n], err);
	}
	for (size_t i = 0; r == 0 && i < n; i++)
		r = push_image(&v[i], err);
	for (size_t i = index->n_inner; r == 0 && i-- > 0;)
		r = put_document(x, &index->inner[i], index->inner[i].s, NULL, err);
	if (r == 0)
		r = put_document(x, &index->digest, tag, index->media_type, err);
	for (size_t i = 0; i < n; i++)
		image_done(&v[i]);
	free(v);
	if (r < 0)
		return -1;
	cs_autofree char *name = cs_xasprintf("%s/%s@%s", x->ref.domain, x->ref.path, index->digest.s);
	pthread_mutex_lock(&x->m->write);
	r = cs_images_set_name(x->m, name, rec, &index->digest, NULL);
	pthread_mutex_unlock(&x->m->write);
	if (r < 0)
		cs_warn("image", "%s was pushed; its digest could not be noted", name);
	tell_pushed(x, tag, &index->digest, (size_t)index->size);
	return 0;
}

/* The manifest that was asked for, or the only one that is here of an index. */
static int choose(struct push *x, const char *shown, const struct cs_image_index *index, struct cs_image_rec **ret, struct cs_err **err)
{
	pthread_rwlock_rdlock(&x->m->lock);
	struct cs_image_rec *r = cs_image_index_pick(x->m, index, x->any_platform ? NULL : &x->want, NULL, NULL);
	if (r && !x->any_platform) { /* no substitute is pushed */
		cs_autoplatform struct cs_platform is = {0};
		cs_platform_set(&is, r->info.os, r->info.architecture, r->info.variant);
		r = cs_platform_same(&x->want, &is) ? r : NULL;
	}
	if (r)
		atomic_fetch_add(&r->refs, 1);
	pthread_rwlock_unlock(&x->m->lock);
	*ret = r;
	if (r)
		return 0;
	cs_autofree char *text = cs_platform_text(&x->want);
	return cs_fail(err, CS_ERR_NOT_FOUND, 0, "image with reference %s was found but does not provide the specified platform (%s)", shown, text);
}

/* Docker's note that the index itself was not pushed. */
static void tell_instead(struct push *x, const struct cs_image_index *index, const struct cs_image_rec *r)
{
	cs_autostr struct cs_str aux = CS_STR_INIT(8192);

	cs_str_puts(&aux, "{\"manifestPushedInsteadOfIndex\":true,\"originalIndex\":");
	cs_image_put_target(&aux, r, index);
	cs_str_puts(&aux, ",\"selectedManifest\":");
	cs_image_put_target(&aux, r, NULL);
	cs_str_puts(&aux, "}");
	cs_progress_aux(x->out, aux.buf);
}

/* Not all of it is here: an index of what is. 1: that is one manifest alone, which needs no index. */
static int push_reduced(struct push *x, const char *tag, struct cs_image_rec *rec, const struct cs_image_index *index, struct cs_err **err)
{
	cs_autoindex part = NULL;
	size_t of;
	int r;

	r = cs_image_index_reduce(x->m, index, &part, &of, err);
	if (r == 0 && part) {
		cs_progress_status(x->out, NULL, "Not all of the index is here: pushing an index of %zu of %zu manifests", part->n, of);
		r = push_index(x, tag, rec, part, err);
	} else if (r == 0) {
		r = 1;
	}
	return r;
}

static int push_of_index(struct push *x, const char *tag, const char *shown, struct cs_image_rec *rec, const struct cs_image_index *index, struct cs_err **err)
{
	struct cs_image_rec *one = NULL;

	if (x->any_platform && cs_image_index_complete(x->m, index))
		return push_index(x, tag, rec, index, err);
	if (x->any_platform) {
		int done = push_reduced(x, tag, rec, index, err);
		if (done <= 0)
			return done;
	}
	if (choose(x, shown, index, &one, err) < 0)
		return -1;
	atomic_fetch_add(&one->refs, 1);
	int r = push_one(x, tag, one, err);
	if (r == 0 && x->any_platform)
		tell_instead(x, index, one);
	cs_image_rec_unref(one);
	return r;
}

static int check_platform(struct push *x, const struct cs_image_rec *r, const char *shown, struct cs_err **err)
{
	cs_autoplatform struct cs_platform is = {0};

	if (x->any_platform)
		return 0;
	cs_platform_set(&is, r->info.os, r->info.architecture, r->info.variant);
	if (cs_platform_same(&x->want, &is))
		return 0;
	cs_autofree char *want = cs_platform_text(&x->want), *text = cs_platform_text(&is);
	return cs_fail(err, CS_ERR_NOT_FOUND, 0, "image with reference %s was found but its platform (%s) does not match the specified platform (%s)", shown, text, want);
}

static int push_tag(struct push *x, const char *tag, struct cs_err **err)
{
	cs_autofree char *shown = cs_xasprintf("%s:%s", x->familiar, tag);
	cs_autofree char *full = cs_xasprintf("%s/%s:%s", x->ref.domain, x->ref.path, tag);
	cs_autorec struct cs_image_rec *rec = NULL;
	cs_autoindex index = NULL;

	if (cs_image_find_index(x->m, full, &rec, NULL, &index, NULL) < 0)
		return cs_fail(err, CS_ERR_NOT_FOUND, 0, "tag does not exist: %s", shown);
	if (index)
		return push_of_index(x, tag, shown, rec, index, err);
	return check_platform(x, rec, shown, err) < 0 ? -1 : push_one(x, tag, TAKE_PTR(rec), err);
}

/* ---- the request ---- */
static char **tags_of(struct push *x)
{
	cs_autofree char *prefix = cs_xasprintf("%s/%s:", x->ref.domain, x->ref.path);
	char **v = cs_xcalloc(1, sizeof(char *));

	pthread_rwlock_rdlock(&x->m->lock);
	for (struct cs_image_name *n = x->m->names; n; n = n->hh.next) {
		const char *tag = cs_prefix(n->full, prefix);
		if (tag && !cs_image_is_digest_ref(n->full))
			cs_strv_push(&v, tag);
	}
	pthread_rwlock_unlock(&x->m->lock);
	return v;
}

static int work(struct cs_progress *out, struct cs_producer *p, void *ctx, struct cs_err **err)
{
	struct push *x = ctx;
	struct cs_repo_options o = {.host = x->ref.domain, .path = x->ref.path, .auth = &x->auth, .push = true, .cancel_fd = p->cancel_fd};
	cs_autostrv char **tags = tags_of(x);

	x->out = out;
	x->p = p;
	cs_progress_status(out, NULL, "The push refers to repository [%s/%s]", x->ref.domain, x->ref.path);
	if (!tags[0])
		return cs_fail(err, CS_ERR_NOT_FOUND, 0, "An image does not exist locally with the tag: %s", x->familiar);
	if (x->ref.tag && !cs_strv_has(tags, x->ref.tag))
		return cs_fail(err, CS_ERR_NOT_FOUND, 0, "tag does not exist: %s:%s", x->familiar, x->ref.tag);
	if (cs_session_open(x->m->transfers, x->registry, &o, &x->session, err) < 0)
		return -1;
	int r = 0;
	/* what is made on the way (compressed layers, a smaller index) has no name yet, and what is sent may lose its own */
	cs_images_hold(x->m);
	for (char **t = tags; r == 0 && *t; t++)
		r = !x->ref.tag || strcmp(*t, x->ref.tag) == 0 ? push_tag(x, *t, err) : 0;
	cs_images_let(x->m, r < 0 || x->packed);
	if (r < 0)
		return -1;
	cs_autofree char *shown = x->ref.tag ? cs_xasprintf("%s:%s", x->familiar, x->ref.tag) : cs_xstrdup(x->familiar);
	cs_image_event(x->m, "push", shown, x->familiar);
	return 0;
}

static void push_free(void *ctx)
{
	struct push *x = ctx;

	cs_session_unref(x->session);
	cs_registry_unref(x->registry);
	cs_registry_auth_done(&x->auth);
	cs_platform_done(&x->want);
	cs_ref_done(&x->ref);
	free(x->familiar);
	free(x);
}

static int parse_ref(const struct cs_push *rq, struct cs_ref *ref, struct cs_err **err)
{
	if (cs_ref_is_id(rq->image))
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid repository name (%s), cannot specify 64-byte hexadecimal strings", rq->image);
	if (cs_ref_parse(rq->image, ref, err) < 0)
		return -1;
	if (ref->digest)
		return cs_fail(err, CS_ERR_INVALID, 0, "cannot push a digest reference");
	if (cs_empty(rq->tag))
		return 0;
	if (!cs_ref_tag_valid(rq->tag))
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid tag format");
	free(ref->tag);
	ref->tag = cs_xstrdup(rq->tag);
	return 0;
}

int cs_image_push(struct cs_engine *e, const struct cs_push *rq, struct cs_stream **ret, struct cs_err **err)
{
	struct push *x = cs_xcalloc(1, sizeof(*x));

	x->m = e->images;
	x->any_platform = cs_empty(rq->platform);
	if (parse_ref(rq, &x->ref, err) < 0 || cs_platform_parse(rq->platform, &x->want, err) < 0 || cs_images_registry(x->m, &x->registry, err) < 0) {
		push_free(x);
		return -1;
	}
	/* credentials in a header that make no sense are none, as in dockerd */
	if (rq->auth && cs_registry_auth_parse_header(rq->auth, &x->auth, NULL) < 0)
		cs_registry_auth_done(&x->auth);
	if (!rq->auth && cs_registry_auth_parse_json(rq->body, rq->body_len, &x->auth, err) < 0) {
		push_free(x);
		return cs_wrap(err, "bad parameters and missing X-Registry-Auth");
	}
	x->familiar = cs_ref_familiar_name(&x->ref);
	return cs_progress_start(work, x, push_free, rq->client_fd, ret, err);
}
