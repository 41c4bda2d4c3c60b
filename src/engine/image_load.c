/* SPDX-License-Identifier: Apache-2.0
 *
 * Loads images from an archive that comes as a stream: docker save of all ages, OCI layouts (skopeo, podman, BuildKit). It is read once. Entries
 * that may be layers go into the content store and to the workers at once (load_layers.c), documents wait in memory until all of them are there,
 * then load_images.c makes images. Nothing in the archive is trusted; what no image took is swept. Any thread; others go on meanwhile. */
#include "engine/load_internal.h"

#include <fcntl.h>

#include "base/path.h"
#include "base/time.h"

#define HEAD 512u /* bytes that tell what an entry is */

/* ---- entries ---- */
static char *clean(const char *path)
{
	while (*path == '/')
		path++;
	char *c = cs_path_clean(path);
	if (strcmp(c, "..") == 0 || strncmp(c, "../", 3) == 0)
		free(TAKE_PTR(c));
	return c;
}

char *load_path(const char *path, const char *what, struct cs_err **err)
{
	char *c = clean(path);

	if (!c)
		cs_fail(err, CS_ERR_INVALID, 0, "%s names \"%.200s\", which is outside of the archive", what, path);
	return c;
}

struct entry *load_entry(struct cs_load_session *l, const char *path)
{
	struct entry *e = NULL;

	for (int i = 0; path && i < LOAD_MAX_LINKS; i++) {
		HASH_FIND_STR(l->entries, path, e);
		if (!e || e->kind != ENTRY_LINK)
			return e;
		path = e->target;
	}
	return NULL; /* a link that leads out, or too many of them */
}

static void entry_clear(struct cs_load_session *l, struct entry *e)
{
	l->documents_len -= e->text ? e->len : 0;
	free(TAKE_PTR(e->text));
	free(TAKE_PTR(e->target));
	e->kind = ENTRY_OTHER;
	e->cand = NULL; /* the session's */
	e->len = 0;
}

/* As tar does: of several entries with one name, the last counts. */
static int new_entry(struct cs_load_session *l, const char *raw, struct entry **ret, struct cs_err **err)
{
	cs_autofree char *path = load_path(raw, "an entry", err);
	struct entry *e;

	if (!path)
		return -1;
	HASH_FIND_STR(l->entries, path, e);
	if (e) {
		l->stray = l->stray || e->cand || e->kind == ENTRY_DOCUMENT;
		entry_clear(l, e);
	} else {
		l->names_len += strlen(path);
		if (++l->n_entries > LOAD_MAX_ENTRIES || l->names_len > LOAD_MAX_NAMES)
			return cs_fail(err, CS_ERR_INVALID, 0, "the archive has too many entries");
		e = cs_xcalloc(1, sizeof(*e));
		e->path = TAKE_PTR(path);
		HASH_ADD_KEYPTR(hh, l->entries, e->path, strlen(e->path), e);
	}
	*ret = e;
	return 0;
}

static void take_link(struct cs_load_session *l, struct entry *e, const struct cs_archive_entry *ae)
{
	const char *slash = strrchr(e->path, '/');
	int dir = slash && ae->type == CS_ARCHIVE_SYMLINK && ae->link[0] != '/' ? (int)(slash + 1 - e->path) : 0;
	cs_autofree char *full = cs_xasprintf("%.*s%s", dir, e->path, ae->link);

	e->kind = ENTRY_LINK;
	e->target = clean(full);
	l->names_len += e->target ? strlen(e->target) : 0;
}

static bool is_document(const char *head, size_t n)
{
	while (n && strchr(" \t\r\n", *head)) {
		head++;
		n--;
	}
	/* anything but an object or a list is nothing that we read; manifest.json may say null */
	return n && strchr("{[n", *head);
}

static int take_document(struct cs_load_session *l, struct entry *e, const char *head, size_t head_len, struct cs_err **err)
{
	cs_autostr struct cs_str text = CS_STR_INIT(CS_MAX_IMAGE_JSON);
	const void *p = head;
	size_t n = head_len;

	do {
		cs_str_put(&text, p, n);
		if (cs_archive_in_data(l->archive, &p, &n, err) < 0)
			return -1;
	} while (n);
	if (text.failed)
		return cs_fail(err, CS_ERR_INTERNAL, ENOMEM, "read %s", e->path);
	e->kind = ENTRY_DOCUMENT;
	e->len = text.len;
	cs_hash_data(text.buf, text.len, &e->digest);
	if (l->documents_len + text.len > LOAD_MAX_DOCUMENTS) {
		l->stray = true;
		return cs_blob_put(l->m->storage, text.buf, text.len, &e->digest, err);
	}
	l->documents_len += text.len;
	e->text = cs_str_steal(&text);
	return 0;
}

int load_text(struct cs_load_session *l, const struct entry *e, struct cs_str *out, struct cs_err **err)
{
	if (!e->text)
		return cs_blob_get(l->m->storage, &e->digest, CS_MAX_IMAGE_JSON, out, err);
	cs_str_put(out, e->text, e->len);
	return out->failed ? cs_fail(err, CS_ERR_INTERNAL, ENOMEM, "read %s", e->path) : 0;
}

static int take_file(struct cs_load_session *l, struct entry *e, int64_t size, struct cs_err **err)
{
	const char *hex = cs_prefix(e->path, "blobs/sha256/");
	cs_autofree char *name = cs_xasprintf("sha256:%s", hex ? hex : "");
	struct cs_digest digest, *want = cs_digest_from(name, &digest) ? &digest : NULL;
	char head[HEAD];
	size_t len = 0;

	while (len < sizeof(head)) {
		const void *p;
		size_t n;
		/* never more than fits: the rest stays with the reader */
		if (cs_archive_in_piece(l->archive, sizeof(head) - len, &p, &n, err) < 0)
			return -1;
		if (n == 0)
			break;
		memcpy(head + len, p, n);
		len += n;
	}
	enum cs_content_kind kind = cs_content_guess(head, len);
	if (kind != CS_CONTENT_OTHER) {
		e->kind = ENTRY_LAYER;
		if (load_candidate(l, head, len, kind, want, &e->cand, err) < 0)
			return -1;
		if (!e->cand->known)
			load_unpack(l, e->cand);
		return 0;
	}
	if (size > (int64_t)CS_MAX_IMAGE_JSON || !is_document(head, len)) /* an artifact's, perhaps; else an error only if somebody asks for it */
		return want ? load_blob(l, head, len, want, err) : 0;
	return take_document(l, e, head, len, err) < 0 ? -1 : cs_digest_expect(&e->digest, want, err);
}

static int read_archive(struct cs_load_session *l, struct cs_err **err)
{
	struct cs_archive_entry ae;
	int r;

	while ((r = cs_archive_in_next(l->archive, &ae, err)) == 1) {
		struct entry *e = NULL;
		if (ae.type == CS_ARCHIVE_OTHER)
			continue; /* directories, mostly */
		if (new_entry(l, ae.path, &e, err) < 0)
			return -1;
		if (ae.type != CS_ARCHIVE_FILE)
			take_link(l, e, &ae);
		else if (take_file(l, e, ae.size, err) < 0)
			return cs_wrap(err, "archive entry %.200s", e->path);
	}
	return r;
}

/* ---- what the client is told ---- */
bool load_cancelled(const struct cs_load_session *l) { return l->p && (atomic_load(&l->p->cancelled) || atomic_load(&l->out->broken)); }

void load_say(struct cs_load_session *l, const char *text)
{
	if (l->out)
		cs_progress_stream(l->out, "%s", text);
}

void load_progress(struct cs_load_session *l, struct candidate *c, const struct cs_digest *diff, int64_t current)
{
	char id[13];

	if (!l->out || l->in->quiet || current <= c->told)
		return;
	c->told = current;
	(void)snprintf(id, sizeof(id), "%.12s", cs_digest_hex(diff));
	cs_progress_step(l->out, id, "Loading layer", current, c->size);
}

static bool is_running(struct cs_load_session *l, const struct candidate *c)
{
	CS_GUARD(&l->lock);
	return c->state == CAND_RUNNING;
}

int load_tick(struct cs_load_session *l, struct cs_err **err)
{
	int64_t now = cs_monotonic_ns();

	if (load_cancelled(l))
		return cs_fail(err, CS_ERR_CANCELLED, 0, "context canceled");
	if (now - l->ticked < LOAD_TICK_MS * CS_NS_PER_MS)
		return 0;
	l->ticked = now;
	for (size_t i = 0; i < l->n_shown; i++) {
		struct candidate *c = l->shown[i];
		int64_t got = atomic_load(&c->got);
		/* all of it is told when its files are there, too */
		if (is_running(l, c) && got < c->size)
			load_progress(l, c, &l->shown_diff[i], got);
	}
	return 0;
}

/* ---- the session ---- */
static void session_done(struct cs_load_session *l)
{
	struct entry *e, *next;

	load_workers_done(l);
	cs_archive_in_free(l->archive);
	HASH_ITER(hh, l->entries, e, next)
	{
		HASH_DEL(l->entries, e);
		entry_clear(l, e);
		free(e->path);
		free(e);
	}
	for (size_t i = 0; i < l->n_platforms; i++)
		cs_platform_done(&l->platforms[i]);
	free(l->platforms);
	cs_str_done(&l->ids);
}

static int want_platforms(struct cs_load_session *l, struct cs_err **err)
{
	size_t n = cs_strv_len(l->in->platforms);

	l->platforms = cs_xcalloc(n + 1, sizeof(*l->platforms));
	for (size_t i = 0; i < n; i++) {
		if (cs_platform_parse(l->in->platforms[i], &l->platforms[l->n_platforms], err) < 0)
			return -1;
		l->n_platforms++;
	}
	return 0;
}

/* Nothing more is read: whoever sends need not wait for us. */
static void read_done(const struct cs_load *in)
{
	if (in->done)
		in->done(in->ctx);
}

static int load(struct cs_images *m, const struct cs_load *in, struct cs_progress *out, struct cs_producer *p, struct cs_err **err)
{
	struct cs_load_session l = {.m = m, .in = in, .out = out, .p = p, .ids = CS_STR_INIT(1u << 20)};

	load_workers_init(&l);
	cs_images_hold(m);
	int r = want_platforms(&l, err);
	if (r == 0)
		r = cs_archive_in_open(in->read, in->ctx, &l.archive, err);
	if (r == 0)
		r = read_archive(&l, err);
	read_done(in);
	if (r == 0)
		r = load_images(&l, err);
	pthread_mutex_lock(&l.lock); /* blobs that no image names may still be unpacked */
	for (struct candidate *c = l.candidates; c && r == 0; c = c->next)
		l.stray = l.stray || c->state != CAND_DONE || c->stage || c->kind == CS_CONTENT_FOREIGN;
	pthread_mutex_unlock(&l.lock);
	bool stray = l.stray || r < 0;
	session_done(&l);
	cs_images_let(m, stray);
	return r;
}

struct job {
	struct cs_images *m;
	struct cs_load in;
	char **platforms;
	bool begun;
};

static int work(struct cs_progress *out, struct cs_producer *p, void *ctx, struct cs_err **err)
{
	struct job *j = ctx;

	j->begun = true;
	return load(j->m, &j->in, out, p, err);
}

static void job_free(void *ctx)
{
	struct job *j = ctx;

	if (!j->begun)
		read_done(&j->in);
	cs_strv_free(j->platforms);
	free(j);
}

int cs_image_load(struct cs_engine *e, const struct cs_load *in, struct cs_stream **ret, struct cs_err **err)
{
	struct job *j = cs_xcalloc(1, sizeof(*j));

	*j = (struct job){.m = e->images, .in = *in, .platforms = cs_strv_copy(in->platforms)};
	j->in.platforms = j->platforms;
	return cs_progress_begin(work, j, job_free, ret, err);
}

static ssize_t read_fd(void *ctx, void *buf, size_t max)
{
	ssize_t n;
	do
		n = read(*(int *)ctx, buf, max);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

int cs_image_load_archive(struct cs_images *m, const char *path, struct cs_err **err)
{
	cs_autofd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	struct cs_load in = {.quiet = true, .read = read_fd, .ctx = &fd};

	if (fd < 0)
		return cs_fail(err, errno == ENOENT ? CS_ERR_NOT_FOUND : CS_ERR_INVALID, errno, "open %s", path);
	return load(m, &in, NULL, NULL, err);
}
