/* SPDX-License-Identifier: Apache-2.0
 *
 * docker save: an archive that is Docker's (manifest.json, repositories) and an OCI layout (index.json) at the same time, as Docker writes it since
 * version 25. It is planned as a list of pieces first, so its length is known and whatever is missing is an error before the first byte; then blobs
 * go out as they are stored, hashed on the way. The bytes depend on the images and the order of their names only.
 * The plan belongs to the stream; leases keep its blobs, whatever is removed meanwhile. */
#include "base/log.h"
#include "engine/events.h"
#include "engine/image_index.h"
#include "engine/manifest.h"

#define MAX_IMAGES 1000
#define DOCUMENT_MAX (64u << 20)

struct item { /* one image */
	struct cs_image_rec *rec;
	struct cs_image_index *index; /* NULL, or what the names mean: goes along with those of its platforms that are here or were asked for */
	char **names;       /* full, with a tag */
	struct cs_manifest manifest;
	struct cs_digest *parts; /* of the index: all documents and blobs */
	size_t n_parts;
};
struct piece { /* of the archive: a header, and what follows up to the next block */
	char name[96];
	const struct cs_str *text; /* or a blob */
	struct cs_digest blob;
	int64_t size;
};
struct save {
	struct cs_stream stream;
	struct cs_images *m;
	struct item *items;
	size_t n_items;
	struct cs_platform *platforms;
	size_t n_platforms;
	struct cs_str manifest, index, repositories, layout;
	struct piece *pieces;
	size_t n_pieces;
	struct cs_digest *leased;
	size_t n_leased;
	int64_t size; /* of everything */
	/* where we are */
	size_t at;          /* piece */
	int64_t pos;        /* in it, header and padding included */
	char header[CS_ARCHIVE_BLOCK];
	int fd;             /* of its blob */
	struct cs_hash *hash;
	bool failed;
};

/* ---- which images ---- */
static int add_item(struct save *s, struct cs_image_rec *rec, struct cs_image_index *index, const char *name, struct cs_err **err)
{
	size_t i = 0;

	while (i < s->n_items && (s->items[i].rec != rec || s->items[i].index != index))
		i++;
	if (i == s->n_items) {
		if (i == MAX_IMAGES)
			return cs_fail(err, CS_ERR_INVALID, 0, "more than %d images", MAX_IMAGES);
		s->items = cs_xreallocarray(s->items, i + 1, sizeof(*s->items));
		s->items[s->n_items++] = (struct item){.rec = rec, .index = index ? cs_image_index_ref(index) : NULL, .names = cs_xcalloc(1, sizeof(char *))};
		atomic_fetch_add(&rec->refs, 1);
	}
	if (name && !cs_image_is_digest_ref(name) && !cs_strv_has(s->items[i].names, name))
		cs_strv_push(&s->items[i].names, name);
	return 0;
}

static int no_platform(const char *name, const struct cs_platform *p, struct cs_err **err)
{
	cs_autofree char *text = cs_platform_text(p);
	return cs_fail(err, CS_ERR_NOT_FOUND, 0, "image with reference %s was found but does not provide the specified platform (%s)", name, text);
}

/* The image of an index, or itself, that is for a platform and nothing else; with a reference, or NULL. */
static struct cs_image_rec *strictly(struct save *s, struct cs_image_rec *rec, const struct cs_image_index *index, const struct cs_platform *want)
{
	cs_autoplatform struct cs_platform have = {0};

	pthread_rwlock_rdlock(&s->m->lock);
	if (index)
		rec = cs_image_index_pick(s->m, index, want, NULL, NULL);
	if (rec)
		cs_platform_set(&have, rec->info.os, rec->info.architecture, rec->info.variant);
	if (rec && !cs_platform_same(want, &have))
		rec = NULL;
	if (rec)
		atomic_fetch_add(&rec->refs, 1);
	pthread_rwlock_unlock(&s->m->lock);
	return rec;
}

/* With one platform its manifest alone stands in the archive; with more of them, or with none, the index as far as it is here. Of a single image one of
 * the platforms must be its own. name: for the client; full: NULL when it was found by id. */
static int add_image(struct save *s, struct cs_image_rec *rec, struct cs_image_index *index, const char *name, const char *full, struct cs_err **err)
{
	struct cs_image_rec *first = NULL;
	size_t found = 0;
	int r = 0;

	if (s->n_platforms == 0)
		return add_item(s, rec, index && cs_image_index_counts(s->m, index) ? index : NULL, full, err);
	for (size_t i = 0; i < s->n_platforms; i++) {
		struct cs_image_rec *one = strictly(s, rec, index, &s->platforms[i]);
		if (!one && index) {
			cs_image_rec_unref(first);
			return no_platform(name, &s->platforms[i], err);
		}
		found += one && one != first;
		if (first)
			cs_image_rec_unref(one);
		else
			first = one;
	}
	if (!first)
		return no_platform(name, &s->platforms[0], err);
	r = add_item(s, first, index && found > 1 ? index : NULL, full, err);
	cs_image_rec_unref(first);
	return r;
}

/* A repository's name alone stands for all of its tags. 1: there were some. */
static int add_repository(struct save *s, const struct cs_ref *ref, struct cs_err **err)
{
	cs_autofree char *prefix = cs_xasprintf("%s/%s:", ref->domain, ref->path);
	cs_autostrv char **names = NULL;

	pthread_rwlock_rdlock(&s->m->lock);
	for (struct cs_image_name *n = s->m->names; n; n = n->hh.next) {
		if (cs_prefix(n->full, prefix) && !cs_image_is_digest_ref(n->full))
			cs_strv_push(&names, n->full);
	}
	pthread_rwlock_unlock(&s->m->lock);
	for (char **n = names; n && *n; n++) {
		cs_autorec struct cs_image_rec *rec = NULL;
		cs_autoindex index = NULL;
		if (cs_image_find_index(s->m, *n, &rec, NULL, &index, err) < 0 || add_image(s, rec, index, *n, *n, err) < 0)
			return -1;
	}
	return names && *names;
}

static int add_name(struct save *s, const char *name, struct cs_err **err)
{
	cs_autoref struct cs_ref ref = {0};
	cs_autofree char *full = NULL;
	cs_autorec struct cs_image_rec *rec = NULL;
	cs_autoindex index = NULL;
	cs_autoerr struct cs_err *e = NULL;

	bool whole = !cs_ref_is_id(name) && !cs_digest_valid(name) && cs_ref_parse(name, &ref, NULL) == 0 && !ref.tag && !ref.digest;
	if (whole) {
		int r = add_repository(s, &ref, err);
		if (r != 0)
			return r < 0 ? -1 : 0;
	}
	if (cs_image_find_index(s->m, name, &rec, &full, &index, &e) < 0) {
		if (whole && cs_err_code(e) == CS_ERR_NOT_FOUND)
			return cs_fail(err, CS_ERR_NOT_FOUND, 0, "No such image: %s", name);
		return cs_err_move(err, TAKE_PTR(e));
	}
	return add_image(s, rec, index, name, full, err);
}

/* ---- indexes ---- */
static void add_part(struct item *it, const struct cs_digest *d)
{
	it->parts = cs_xreallocarray(it->parts, it->n_parts + 1, sizeof(*it->parts));
	it->parts[it->n_parts++] = *d;
}

/* Was this entry asked for? What is no image belongs to the index. */
static bool wanted(struct save *s, const struct cs_index_entry *e, const struct cs_image_rec *rec)
{
	cs_autoplatform struct cs_platform have = {0};

	if (!rec || s->n_platforms == 0)
		return true;
	if (!*e->platform.os)
		cs_platform_set(&have, rec->info.os, rec->info.architecture, rec->info.variant);
	for (size_t i = 0; i < s->n_platforms; i++) {
		if (cs_platform_same(&s->platforms[i], *e->platform.os ? &e->platform : &have))
			return true;
	}
	return false;
}

/* Everything below the index that is here, whole manifests only. */
static int add_parts(struct save *s, struct item *it, struct cs_err **err)
{
	add_part(it, &it->index->digest);
	for (size_t i = 0; i < it->index->n_inner; i++)
		add_part(it, &it->index->inner[i]);
	for (size_t i = 0; i < it->index->n; i++) {
		const struct cs_index_entry *e = &it->index->v[i];
		cs_autostr struct cs_str text = CS_STR_INIT(CS_MAX_IMAGE_JSON);
		cs_automf struct cs_manifest mf = {0};
		pthread_rwlock_rdlock(&s->m->lock);
		struct cs_image_rec *rec = cs_image_of_manifest(s->m, &e->digest);
		bool want = wanted(s, e, rec);
		pthread_rwlock_unlock(&s->m->lock);
		if (!want || !cs_image_content(s->m, &e->digest, NULL))
			continue;
		if (cs_blob_get(s->m->storage, &e->digest, CS_MAX_IMAGE_JSON, &text, err) < 0 ||
		    cs_manifest_parse(text.buf ? text.buf : "", text.len, e->media_type, &mf, err) < 0)
			return -1;
		add_part(it, &e->digest);
		add_part(it, &mf.config.digest);
		for (size_t k = 0; k < mf.n; k++)
			add_part(it, &mf.v[k].digest);
	}
	return 0;
}

/* ---- documents ---- */
static int read_manifest(struct save *s, struct item *it, struct cs_err **err)
{
	cs_autostr struct cs_str text = CS_STR_INIT(CS_MAX_IMAGE_JSON);

	if (cs_blob_get(s->m->storage, &it->rec->manifest, CS_MAX_IMAGE_JSON, &text, err) < 0)
		return -1;
	return cs_manifest_parse(text.buf ? text.buf : "", text.len, it->rec->manifest_type, &it->manifest, err);
}

static void put_path(struct cs_str *out, const struct cs_digest *d)
{
	cs_str_puts(out, "\"blobs/sha256/");
	cs_str_puts(out, cs_digest_hex(d));
	cs_str_putc(out, '"');
}

static void put_docker(struct cs_str *out, const struct item *it)
{
	if (it->rec->info.artifact) /* Docker's own list knows images only */
		return;
	cs_str_puts(out, out->len > 1 ? ",{\"Config\":" : "{\"Config\":");
	put_path(out, &it->rec->id);
	cs_json_put_key(out, "RepoTags");
	if (!it->names[0])
		cs_str_puts(out, "null");
	for (size_t i = 0; it->names[i]; i++) {
		cs_autofree char *shown = cs_ref_shorten(it->names[i]);
		cs_str_putc(out, i ? ',' : '[');
		cs_json_put_string(out, shown);
	}
	cs_str_puts(out, it->names[0] ? "],\"Layers\":[" : ",\"Layers\":[");
	for (size_t i = 0; i < it->manifest.n; i++) {
		if (i)
			cs_str_putc(out, ',');
		put_path(out, &it->manifest.v[i].digest);
	}
	cs_str_puts(out, "]}");
}

static void put_index(struct cs_str *out, const struct item *it, const char *name)
{
	const struct cs_image_rec *r = it->rec;

	cs_str_puts(out, out->buf[out->len - 1] == '[' ? "{" : ",{");
	cs_json_put_kstr(out, "mediaType", it->index ? it->index->media_type : r->manifest_type);
	cs_json_put_kstr(out, "digest", it->index ? it->index->digest.s : r->manifest.s);
	cs_json_put_ki64(out, "size", it->index ? it->index->size : r->manifest_size);
	if (name) {
		const char *colon = strrchr(name, ':');
		cs_json_put_key(out, "annotations");
		cs_str_puts(out, "{");
		cs_json_put_kstr(out, "io.containerd.image.name", name);
		cs_json_put_kstr(out, "org.opencontainers.image.ref.name", colon ? colon + 1 : name);
		cs_str_puts(out, "}");
	}
	cs_str_puts(out, "}");
}

/* {"repository":{"tag":"id of the top layer"}}: names are sorted here, so one repository's follow each other. */
static void put_repositories(struct save *s, struct cs_str *out)
{
	struct pair {
		const char *name;
		const struct cs_digest *top;
	} *v = NULL;
	size_t n = 0;
	cs_autofree char *last = NULL;

	for (size_t i = 0; i < s->n_items; i++) {
		const struct item *it = &s->items[i];
		for (size_t k = 0; it->names[k] && it->manifest.n && !it->rec->info.artifact; k++) {
			v = cs_xreallocarray(v, n + 1, sizeof(*v));
			size_t at = n++;
			for (; at > 0 && strcmp(v[at - 1].name, it->names[k]) > 0; at--)
				v[at] = v[at - 1];
			v[at] = (struct pair){it->names[k], &it->manifest.v[it->manifest.n - 1].digest};
		}
	}
	for (size_t i = 0; i < n; i++) {
		cs_autofree char *shown = cs_ref_shorten(v[i].name);
		char *colon = strrchr(shown, ':');
		if (!colon)
			continue;
		*colon = 0;
		if (!cs_streq(last, shown)) {
			cs_str_puts(out, last ? "}," : "{");
			cs_json_put_string(out, shown);
			cs_str_puts(out, ":{");
			free(last);
			last = cs_xstrdup(shown);
		} else
			cs_str_putc(out, ',');
		cs_json_put_string(out, colon + 1);
		cs_str_putc(out, ':');
		cs_json_put_string(out, cs_digest_hex(v[i].top));
	}
	if (last)
		cs_str_puts(out, "}}\n");
	free(v);
}

static int write_documents(struct save *s, struct cs_err **err)
{
	cs_str_puts(&s->manifest, "[");
	cs_str_puts(&s->index, "{\"schemaVersion\":2,\"mediaType\":\"" CS_MEDIA_INDEX "\",\"manifests\":[");
	for (size_t i = 0; i < s->n_items; i++) {
		struct item *it = &s->items[i];
		if (read_manifest(s, it, err) < 0 || (it->index && add_parts(s, it, err) < 0))
			return cs_wrap(err, "image %s", it->rec->id.s);
		put_docker(&s->manifest, it);
		if (!it->names[0])
			put_index(&s->index, it, NULL);
		for (size_t k = 0; it->names[k]; k++)
			put_index(&s->index, it, it->names[k]);
	}
	cs_str_puts(&s->manifest, "]\n");
	cs_str_puts(&s->index, "]}");
	cs_str_puts(&s->layout, "{\"imageLayoutVersion\":\"1.0.0\"}");
	put_repositories(s, &s->repositories);
	if (s->manifest.failed || s->index.failed || s->repositories.failed)
		return cs_fail(err, CS_ERR_INTERNAL, ENOMEM, "write the archive's documents");
	return 0;
}

/* ---- the plan ---- */
static struct piece *add_piece(struct save *s, const char *name, int64_t size)
{
	s->pieces = cs_xreallocarray(s->pieces, s->n_pieces + 1, sizeof(*s->pieces));
	struct piece *p = &s->pieces[s->n_pieces++];
	*p = (struct piece){.size = size};
	(void)snprintf(p->name, sizeof(p->name), "%s", name);
	return p;
}

static void add_text(struct save *s, const char *name, const struct cs_str *text) { add_piece(s, name, (int64_t)text->len)->text = text; }

static int by_digest(const void *a, const void *b) { return strcmp(((const struct cs_digest *)a)->s, ((const struct cs_digest *)b)->s); }

/* All blobs, sorted, once each; leased before anybody looks whether they are there. */
static void lease_blobs(struct save *s)
{
	size_t n = 0;

	for (size_t i = 0; i < s->n_items; i++)
		n += 2 + s->items[i].manifest.n + s->items[i].n_parts;
	s->leased = cs_xcalloc(n + 1, sizeof(*s->leased));
	n = 0;
	for (size_t i = 0; i < s->n_items; i++) {
		const struct item *it = &s->items[i];
		s->leased[n++] = it->manifest.config.digest; /* an image's id */
		s->leased[n++] = it->rec->manifest;
		for (size_t k = 0; k < it->manifest.n; k++)
			s->leased[n++] = it->manifest.v[k].digest;
		for (size_t k = 0; k < it->n_parts; k++)
			s->leased[n++] = it->parts[k];
	}
	qsort(s->leased, n, sizeof(*s->leased), by_digest);
	for (size_t i = 0; i < n; i++) {
		if (s->n_leased == 0 || strcmp(s->leased[s->n_leased - 1].s, s->leased[i].s) != 0)
			s->leased[s->n_leased++] = s->leased[i];
	}
	CS_GUARD(&s->m->write);
	cs_images_lease(s->m, s->leased, s->n_leased);
}

static int64_t padded(int64_t n) { return (n + CS_ARCHIVE_BLOCK - 1) / CS_ARCHIVE_BLOCK * CS_ARCHIVE_BLOCK; }

/* The documents come first: who reads a stream knows what is in it. */
static int make_plan(struct save *s, struct cs_err **err)
{
	add_text(s, "oci-layout", &s->layout);
	add_text(s, "index.json", &s->index);
	add_text(s, "manifest.json", &s->manifest);
	if (s->repositories.len)
		add_text(s, "repositories", &s->repositories);
	(void)add_piece(s, "blobs/", 0);
	(void)add_piece(s, "blobs/sha256/", 0);
	for (size_t i = 0; i < s->n_leased; i++) {
		cs_autofd int fd = -EBADF;
		cs_autofree char *name = cs_xasprintf("blobs/sha256/%s", cs_digest_hex(&s->leased[i]));
		int64_t size;
		if (cs_blob_open(s->m->storage, &s->leased[i], &fd, &size, NULL) < 0) /* our fault, not the client's: no 404 */
			return cs_fail(err, CS_ERR_INTERNAL, 0, "content %s is missing", s->leased[i].s);
		add_piece(s, name, size)->blob = s->leased[i];
	}
	for (size_t i = 0; i < s->n_pieces; i++)
		s->size += CS_ARCHIVE_BLOCK + padded(s->pieces[i].size);
	s->size += 2 * CS_ARCHIVE_BLOCK;
	return 0;
}

/* ---- the stream ---- */
static int cut(struct save *s, struct cs_err *e)
{
	cs_autofree char *text = cs_err_text(e);

	/* the client has a 200 already: the connection is cut, so that nobody takes the part for the whole */
	cs_error("image", "save: %s", text);
	cs_err_free(e);
	s->failed = true;
	return -EIO;
}

static int begin_blob(struct save *s, const struct piece *p)
{
	struct cs_err *e = NULL;
	int64_t size = 0;

	if (cs_blob_open(s->m->storage, &p->blob, &s->fd, &size, &e) < 0)
		return cut(s, e);
	if (size != p->size) {
		(void)cs_fail(&e, CS_ERR_INTERNAL, 0, "content %s has changed on disk", p->blob.s);
		return cut(s, e);
	}
	s->hash = cs_hash_new();
	return 0;
}

static ssize_t blob_data(struct save *s, const struct piece *p, char *buf, size_t max)
{
	struct cs_err *e = NULL;
	struct cs_digest is;
	ssize_t n;

	if (s->fd < 0 && begin_blob(s, p) < 0)
		return -EIO;
	int64_t off = s->pos - CS_ARCHIVE_BLOCK;
	do
		n = pread(s->fd, buf, (size_t)CS_MIN((int64_t)max, p->size - off), off);
	while (n < 0 && errno == EINTR);
	if (n <= 0) {
		(void)cs_fail(&e, CS_ERR_INTERNAL, n < 0 ? errno : 0, "read content %s", p->blob.s);
		return cut(s, e);
	}
	cs_hash_update(s->hash, buf, (size_t)n);
	if (off + n < p->size)
		return n;
	cs_hash_done(TAKE_PTR(s->hash), &is);
	cs_close(TAKE_FD(s->fd));
	if (strcmp(is.s, p->blob.s) != 0) {
		(void)cs_fail(&e, CS_ERR_INTERNAL, 0, "content %s is damaged on disk", p->blob.s);
		return cut(s, e);
	}
	return n;
}

/* The next bytes of one piece: its header, its data, zeros up to the next block. 0: it is over. */
static ssize_t piece_read(struct save *s, const struct piece *p, char *buf, size_t max)
{
	int64_t end = CS_ARCHIVE_BLOCK + p->size, n;

	if (s->pos < (int64_t)CS_ARCHIVE_BLOCK) {
		if (s->pos == 0)
			cs_archive_out_header(s->header, p->name, p->size);
		n = CS_MIN((int64_t)max, (int64_t)CS_ARCHIVE_BLOCK - s->pos);
		memcpy(buf, s->header + s->pos, (size_t)n);
		return n;
	}
	if (s->pos < end && !p->text)
		return blob_data(s, p, buf, max);
	if (s->pos < end) {
		n = CS_MIN((int64_t)max, end - s->pos);
		memcpy(buf, p->text->buf + (s->pos - CS_ARCHIVE_BLOCK), (size_t)n);
		return n;
	}
	n = CS_MIN((int64_t)max, CS_ARCHIVE_BLOCK + padded(p->size) - s->pos);
	memset(buf, 0, (size_t)n);
	return n;
}

static void tell(struct save *s)
{
	for (size_t i = 0; i < s->n_items; i++) {
		struct cs_strmap *attrs = cs_strmap_new();
		cs_strmap_set(attrs, "name", s->items[i].rec->id.s);
		cs_event(s->m->e, "image", "save", s->items[i].rec->id.s, attrs);
	}
}

/* Reads files, which may take as long as a disk takes: nothing but this client's connection waits for it. */
static ssize_t save_read(struct cs_stream *st, void *buf, size_t max)
{
	static const struct piece marks = {.size = CS_ARCHIVE_BLOCK}; /* the end: two blocks of zeros */
	struct save *s = (struct save *)st;
	size_t done = 0;

	while (!s->failed && done < max && s->at <= s->n_pieces) {
		char *to = (char *)buf + done;
		ssize_t n;
		if (s->at == s->n_pieces) {
			n = (ssize_t)CS_MIN((int64_t)(max - done), 2 * (int64_t)CS_ARCHIVE_BLOCK - s->pos);
			memset(to, 0, (size_t)n);
		} else
			n = piece_read(s, &s->pieces[s->at], to, max - done);
		if (n < 0)
			return n;
		s->pos += n;
		done += (size_t)n;
		const struct piece *p = s->at == s->n_pieces ? &marks : &s->pieces[s->at];
		if (s->pos == (int64_t)CS_ARCHIVE_BLOCK + padded(p->size)) {
			s->pos = 0;
			if (s->at++ == s->n_pieces)
				tell(s);
		}
	}
	return s->failed ? -EIO : (ssize_t)done;
}

static void save_free(struct cs_stream *st)
{
	struct save *s = (struct save *)st;

	if (s->n_leased) {
		CS_GUARD(&s->m->write);
		cs_images_unlease(s->m, s->leased, s->n_leased);
	}
	for (size_t i = 0; i < s->n_items; i++) {
		cs_image_rec_unref(s->items[i].rec);
		cs_image_index_unref(s->items[i].index);
		free(s->items[i].parts);
		cs_strv_free(s->items[i].names);
		cs_manifest_done(&s->items[i].manifest);
	}
	for (size_t i = 0; i < s->n_platforms; i++)
		cs_platform_done(&s->platforms[i]);
	free(s->platforms);
	free(s->items);
	free(s->pieces);
	free(s->leased);
	cs_str_done(&s->manifest);
	cs_str_done(&s->index);
	cs_str_done(&s->repositories);
	cs_str_done(&s->layout);
	cs_hash_done(s->hash, NULL);
	cs_close(s->fd);
	free(s);
}

static int save_poll(struct cs_stream *st)
{
	(void)st;
	return -1; /* read always has something */
}

int cs_image_save(struct cs_engine *e, char *const *names, char *const *platforms, struct cs_stream **ret, int64_t *ret_size, struct cs_err **err)
{
	static const struct cs_stream_ops ops = {.read = save_read, .poll_fd = save_poll, .free = save_free};
	struct save *s = cs_xcalloc(1, sizeof(*s));
	int r = 0;

	s->stream.ops = &ops;
	s->m = e->images;
	s->fd = -EBADF;
	cs_str_init(&s->manifest, DOCUMENT_MAX);
	cs_str_init(&s->index, DOCUMENT_MAX);
	cs_str_init(&s->repositories, DOCUMENT_MAX);
	cs_str_init(&s->layout, 4096);
	s->platforms = cs_xcalloc(cs_strv_len(platforms) + 1, sizeof(*s->platforms));
	for (size_t i = 0; r == 0 && platforms && platforms[i]; i++) {
		r = cs_platform_parse(platforms[i], &s->platforms[i], err);
		s->n_platforms += r == 0;
	}
	cs_images_hold(s->m); /* until the blobs are leased */
	for (size_t i = 0; r == 0 && names && names[i]; i++)
		r = add_name(s, names[i], err);
	if (r == 0)
		r = write_documents(s, err);
	if (r == 0) {
		lease_blobs(s);
		r = make_plan(s, err);
	}
	cs_images_let(s->m, false);
	if (r < 0) {
		save_free(&s->stream);
		return -1;
	}
	*ret = &s->stream;
	*ret_size = s->size;
	return 0;
}
