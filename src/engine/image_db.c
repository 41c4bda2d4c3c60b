/* SPDX-License-Identifier: Apache-2.0
 *
 * The images' tables: their own section of <data root>/caisson.db over their own connection (WAL). Used under m->write. */
#include "base/log.h"
#include "base/time.h"
#include "engine/image_index.h"

static const char schema[] =
	"CREATE TABLE IF NOT EXISTS image(id TEXT PRIMARY KEY, manifest TEXT NOT NULL, top TEXT NOT NULL, last_tagged INTEGER NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE IF NOT EXISTS image_name(name TEXT PRIMARY KEY, id TEXT NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE IF NOT EXISTS layer(chain TEXT PRIMARY KEY, parent TEXT NOT NULL, diff TEXT NOT NULL, blob TEXT NOT NULL, blob_size INTEGER NOT NULL,"
	" size INTEGER NOT NULL, media_type TEXT NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE IF NOT EXISTS image_meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"
	/* names that mean an index; engines that know nothing of it leave the row behind when they move a name, so it is checked */
	"CREATE TABLE IF NOT EXISTS name_index(name TEXT PRIMARY KEY, digest TEXT NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE IF NOT EXISTS image_parent(id TEXT PRIMARY KEY, parent TEXT NOT NULL) WITHOUT ROWID;"
	/* where a blob came from or went to: a push to the same registry can mount it from there */
	"CREATE TABLE IF NOT EXISTS blob_source(blob TEXT NOT NULL, repo TEXT NOT NULL, PRIMARY KEY(blob, repo)) WITHOUT ROWID;";

static int dbfail(struct cs_images *m, const char *what, struct cs_err **err)
{
	int code = sqlite3_errcode(m->db) & 0xff;
	return cs_fail(err, code == SQLITE_FULL ? CS_ERR_NO_SPACE : CS_ERR_INTERNAL, 0, "image database: %s: %s", what, sqlite3_errmsg(m->db));
}

static void stmt_done(sqlite3_stmt **s) { (void)sqlite3_finalize(*s); }
#define autostmt cs_auto(stmt_done) sqlite3_stmt *

static int exec(struct cs_images *m, const char *sql, struct cs_err **err)
{
	return sqlite3_exec(m->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : dbfail(m, sql, err);
}

/* Prepares and binds: each character of sig is s (const char *) or i (int64_t). */
static int prepare(struct cs_images *m, sqlite3_stmt **st, struct cs_err **err, const char *sql, const char *sig, ...)
{
	va_list ap;
	int r = sqlite3_prepare_v2(m->db, sql, -1, st, NULL);

	va_start(ap, sig);
	for (int i = 0; r == SQLITE_OK && sig[i]; i++) {
		if (sig[i] == 's')
			r = sqlite3_bind_text(*st, i + 1, va_arg(ap, const char *), -1, SQLITE_TRANSIENT);
		else
			r = sqlite3_bind_int64(*st, i + 1, va_arg(ap, int64_t));
	}
	va_end(ap);
	return r == SQLITE_OK ? 0 : dbfail(m, sql, err);
}

static int run(struct cs_images *m, sqlite3_stmt *st, struct cs_err **err)
{
	return sqlite3_step(st) == SQLITE_DONE ? 0 : dbfail(m, "write", err);
}

int cs_image_db_open(struct cs_images *m, const char *path, struct cs_err **err)
{
	if (sqlite3_open_v2(path, &m->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX, NULL) != SQLITE_OK) {
		int r = cs_fail(err, CS_ERR_INTERNAL, 0, "open %s: %s", path, m->db ? sqlite3_errmsg(m->db) : "out of memory");
		cs_image_db_close(m);
		return r;
	}
	(void)sqlite3_busy_timeout(m->db, 10000); /* the engine's own connection writes too */
	if (exec(m, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-128;", err) < 0 || exec(m, schema, err) < 0) {
		cs_image_db_close(m);
		return -1;
	}
	return 0;
}

void cs_image_db_close(struct cs_images *m)
{
	(void)sqlite3_close(m->db);
	m->db = NULL;
}

static const char *column(sqlite3_stmt *st, int i)
{
	const char *s = (const char *)sqlite3_column_text(st, i);
	return s ? s : "";
}

static bool read_layer(sqlite3_stmt *st, struct cs_image_layer *l, struct cs_digest *parent)
{
	const char *p = column(st, 1);

	*l = (struct cs_image_layer){0};
	parent->s[0] = 0;
	if (!cs_digest_from(column(st, 0), &l->chain) || (*p && !cs_digest_from(p, parent)) || !cs_digest_from(column(st, 2), &l->diff) ||
	    !cs_digest_from(column(st, 3), &l->blob))
		return false;
	l->blob_size = sqlite3_column_int64(st, 4);
	l->size = sqlite3_column_int64(st, 5);
	l->media_type = (char *)(uintptr_t)column(st, 6); /* borrowed for the row */
	return true;
}

int cs_image_db_layers(struct cs_images *m, void (*fn)(void *ctx, const struct cs_image_layer *l, const struct cs_digest *parent), void *ctx,
		       struct cs_err **err)
{
	autostmt st = NULL;
	struct cs_image_layer l;
	struct cs_digest parent;
	int r;

	if (prepare(m, &st, err, "SELECT chain,parent,diff,blob,blob_size,size,media_type FROM layer", "") < 0)
		return -1;
	while ((r = sqlite3_step(st)) == SQLITE_ROW) {
		if (read_layer(st, &l, &parent))
			fn(ctx, &l, &parent);
	}
	return r == SQLITE_DONE ? 0 : dbfail(m, "read layers", err);
}

/* The chain below `top`, bottom first. */
int cs_image_db_chain(struct cs_images *m, const char *top, struct cs_image_layer **ret, size_t *ret_n, struct cs_err **err)
{
	struct cs_image_layer *v = NULL;
	size_t n = 0;
	struct cs_digest at = {{0}}, parent;

	for (bool more = *top && cs_digest_from(top, &at); more && n < CS_MAX_LAYERS; more = parent.s[0]) {
		autostmt st = NULL;
		struct cs_image_layer l;
		if (prepare(m, &st, err, "SELECT chain,parent,diff,blob,blob_size,size,media_type FROM layer WHERE chain=?", "s", at.s) < 0)
			goto fail;
		if (sqlite3_step(st) != SQLITE_ROW || !read_layer(st, &l, &parent)) {
			cs_fail(err, CS_ERR_NOT_FOUND, 0, "layer %s is not in the database", at.s);
			goto fail;
		}
		l.media_type = cs_xstrdup(l.media_type);
		v = cs_xreallocarray(v, n + 1, sizeof(*v));
		memmove(v + 1, v, n * sizeof(*v));
		v[0] = l;
		n++;
		at = parent;
	}
	*ret = v;
	*ret_n = n;
	return 0;
fail:
	cs_image_layers_free(v, n);
	return -1;
}

void cs_image_layers_free(struct cs_image_layer *v, size_t n)
{
	for (size_t i = 0; v && i < n; i++)
		free(v[i].media_type);
	free(v);
}

static int load_image(struct cs_images *m, sqlite3_stmt *st, struct cs_image_rec **ret, struct cs_err **err)
{
	struct cs_digest id, manifest;
	struct cs_image_layer *layers = NULL;
	size_t n = 0;

	if (!cs_digest_from(column(st, 0), &id) || !cs_digest_from(column(st, 1), &manifest))
		return cs_fail(err, CS_ERR_INTERNAL, 0, "malformed image row");
	if (cs_image_db_chain(m, column(st, 2), &layers, &n, err) < 0)
		return -1;
	int r = 0;
	for (size_t i = 0; r == 0 && i < n; i++) {
		if (!cs_layer_exists(m->storage, &layers[i].chain))
			r = cs_fail(err, CS_ERR_NOT_FOUND, 0, "layer %s has no files", layers[i].chain.s);
	}
	if (r == 0)
		r = cs_image_rec_new(m, &id, &manifest, layers, n, ret, err);
	cs_image_layers_free(layers, n);
	if (r == 0)
		atomic_store(&(*ret)->last_tagged, sqlite3_column_int64(st, 3));
	return r;
}

/* What a name means besides its image. A name by the digest of an index needs no row: older engines wrote none. */
static struct cs_image_index *index_of(struct cs_images *m, const struct cs_image_name *n, const char *text)
{
	const char *at = strchr(n->full, '@');
	struct cs_image_index *x;
	struct cs_digest d;

	if (!cs_digest_from(at ? at + 1 : text, &d) || strcmp(d.s, n->rec->manifest.s) == 0 || cs_image_index_use(m, &d, &x, NULL) < 0)
		return NULL;
	if (cs_image_index_has(x, &n->rec->manifest))
		return x;
	cs_image_index_unuse(m, x);
	return NULL;
}

static int load_names(struct cs_images *m, struct cs_err **err)
{
	autostmt st = NULL;
	int r;

	if (prepare(m, &st, err, "SELECT n.name,n.id,x.digest FROM image_name n LEFT JOIN name_index x ON x.name=n.name ORDER BY n.name", "") < 0)
		return -1;
	while ((r = sqlite3_step(st)) == SQLITE_ROW) {
		struct cs_image_rec *rec;
		HASH_FIND_STR(m->by_id, column(st, 1), rec);
		if (!rec)
			continue;
		struct cs_image_name *n = cs_xcalloc(1, sizeof(*n));
		n->full = cs_xstrdup(column(st, 0));
		n->rec = rec;
		n->index = index_of(m, n, column(st, 2));
		HASH_ADD_KEYPTR(hh, m->names, n->full, strlen(n->full), n);
	}
	return r == SQLITE_DONE ? 0 : dbfail(m, "read image names", err);
}

static int load_parents(struct cs_images *m, struct cs_err **err)
{
	autostmt st = NULL;
	int r;

	if (prepare(m, &st, err, "SELECT id,parent FROM image_parent", "") < 0)
		return -1;
	while ((r = sqlite3_step(st)) == SQLITE_ROW) {
		struct cs_image_rec *rec;
		HASH_FIND_STR(m->by_id, column(st, 0), rec);
		if (rec && !cs_digest_from(column(st, 1), &rec->parent))
			rec->parent.s[0] = 0;
	}
	return r == SQLITE_DONE ? 0 : dbfail(m, "read images' parents", err);
}

/* What lost its files (a disk that was repaired, a folder that somebody emptied) goes, so that it can be pulled again; what cannot be read for
 * another reason stays as it is, and so do all blobs and its layers. Returns whether the image is to be removed. */
static bool is_lost(struct cs_images *m, const char *id, struct cs_err *e)
{
	cs_autofree char *text = cs_err_text(e);
	bool lost = cs_err_code(e) == CS_ERR_NOT_FOUND;

	cs_error("image", "image %s cannot be used%s: %s", id, lost ? ", removed" : "", text);
	m->unreadable += !lost;
	return lost;
}

int cs_image_db_load(struct cs_images *m, struct cs_err **err)
{
	autostmt st = NULL;
	cs_autostrv char **lost = NULL;
	int r;

	if (prepare(m, &st, err, "SELECT id,manifest,top,last_tagged FROM image", "") < 0)
		return -1;
	while ((r = sqlite3_step(st)) == SQLITE_ROW) {
		struct cs_image_rec *rec;
		cs_autoerr struct cs_err *e = NULL;
		/* One damaged image must not keep the engine from starting. */
		if (load_image(m, st, &rec, &e) == 0)
			cs_image_table_add(m, rec);
		else if (is_lost(m, column(st, 0), e))
			cs_strv_push(&lost, column(st, 0));
	}
	if (r != SQLITE_DONE)
		return dbfail(m, "read images", err);
	for (char **id = lost; id && *id; id++) {
		if (cs_image_db_del(m, *id, err) < 0)
			return -1;
	}
	return load_names(m, err) < 0 || load_parents(m, err) < 0 ? -1 : 0;
}

static int begin(struct cs_images *m, struct cs_err **err) { return exec(m, "BEGIN IMMEDIATE", err); }

static int end(struct cs_images *m, int r, struct cs_err **err)
{
	if (r == 0)
		r = exec(m, "COMMIT", err);
	if (r < 0)
		(void)exec(m, "ROLLBACK", NULL);
	return r;
}

/* In a transaction. */
static int write_name(struct cs_images *m, const char *full, const char *id, const char *index, struct cs_err **err)
{
	autostmt st = NULL;
	autostmt x = NULL;
	int r;

	if (id)
		r = prepare(m, &st, err, "INSERT OR REPLACE INTO image_name(name,id) VALUES(?,?)", "ss", full, id);
	else
		r = prepare(m, &st, err, "DELETE FROM image_name WHERE name=?", "s", full);
	if (r == 0)
		r = run(m, st, err);
	if (r == 0 && id && index)
		r = prepare(m, &x, err, "INSERT OR REPLACE INTO name_index(name,digest) VALUES(?,?)", "ss", full, index);
	else if (r == 0)
		r = prepare(m, &x, err, "DELETE FROM name_index WHERE name=?", "s", full);
	return r == 0 ? run(m, x, err) : -1;
}

int cs_image_db_add(struct cs_images *m, const struct cs_image_rec *rec, const struct cs_image_layer *layers, size_t n, char *const *names,
		    const char *names_id, const char *index, int64_t now, struct cs_err **err)
{
	if (begin(m, err) < 0)
		return -1;
	int r = 0;
	for (size_t i = 0; r == 0 && i < n; i++) {
		autostmt st = NULL;
		r = prepare(m, &st, err, "INSERT OR IGNORE INTO layer(chain,parent,diff,blob,blob_size,size,media_type) VALUES(?,?,?,?,?,?,?)", "ssssiis",
			    layers[i].chain.s, i ? layers[i - 1].chain.s : "", layers[i].diff.s, layers[i].blob.s, layers[i].blob_size, layers[i].size,
			    layers[i].media_type);
		if (r == 0)
			r = run(m, st, err);
	}
	if (r == 0) {
		autostmt st = NULL;
		r = prepare(m, &st, err, "INSERT OR REPLACE INTO image(id,manifest,top,last_tagged) VALUES(?,?,?,?)", "sssi", rec->id.s, rec->manifest.s,
			    n ? layers[n - 1].chain.s : "", names && *names ? now : (int64_t)0);
		if (r == 0)
			r = run(m, st, err);
	}
	if (r == 0 && rec->parent.s[0]) {
		autostmt st = NULL;
		r = prepare(m, &st, err, "INSERT OR REPLACE INTO image_parent(id,parent) VALUES(?,?)", "ss", rec->id.s, rec->parent.s);
		if (r == 0)
			r = run(m, st, err);
	}
	for (size_t i = 0; r == 0 && names && names[i]; i++)
		r = write_name(m, names[i], names_id, index, err);
	return end(m, r, err);
}

int cs_image_db_name(struct cs_images *m, const char *full, const char *id, const char *index, int64_t now, struct cs_err **err)
{
	if (begin(m, err) < 0)
		return -1;
	autostmt up = NULL;
	int r = write_name(m, full, id, index, err);
	if (r == 0 && id) {
		r = prepare(m, &up, err, "UPDATE image SET last_tagged=? WHERE id=?", "is", now, id);
		if (r == 0)
			r = run(m, up, err);
	}
	return end(m, r, err);
}

int cs_image_db_del(struct cs_images *m, const char *id, struct cs_err **err)
{
	static const char *const sql[] = {"DELETE FROM image WHERE id=?", "DELETE FROM name_index WHERE name IN (SELECT name FROM image_name WHERE id=?)", "DELETE FROM image_name WHERE id=?", "DELETE FROM image_parent WHERE id=?"};
	int r = 0;

	if (begin(m, err) < 0)
		return -1;
	for (size_t i = 0; r == 0 && i < CS_ARRAY_SIZE(sql); i++) {
		autostmt st = NULL;
		r = prepare(m, &st, err, sql[i], "s", id);
		if (r == 0)
			r = run(m, st, err);
	}
	return end(m, r, err);
}

int cs_image_db_manifest(struct cs_images *m, const char *id, const char *manifest, const struct cs_image_layer *layers, size_t n, struct cs_err **err)
{
	int r = 0;

	if (begin(m, err) < 0)
		return -1;
	for (size_t i = 0; r == 0 && i < n; i++) {
		autostmt st = NULL;
		r = prepare(m, &st, err, "UPDATE layer SET blob=?, blob_size=?, media_type=? WHERE chain=?", "siss", layers[i].blob.s, layers[i].blob_size,
			    layers[i].media_type, layers[i].chain.s);
		if (r == 0)
			r = run(m, st, err);
	}
	if (r == 0) {
		autostmt st = NULL;
		r = prepare(m, &st, err, "UPDATE image SET manifest=? WHERE id=?", "ss", manifest, id);
		if (r == 0)
			r = run(m, st, err);
	}
	return end(m, r, err);
}

int cs_image_db_layers_del(struct cs_images *m, const struct cs_digest *const *chains, size_t n, struct cs_err **err)
{
	int r = 0;

	if (n == 0)
		return 0;
	if (begin(m, err) < 0)
		return -1;
	for (size_t i = 0; r == 0 && i < n; i++) {
		autostmt st = NULL;
		r = prepare(m, &st, err, "DELETE FROM layer WHERE chain=?", "s", chains[i]->s);
		if (r == 0)
			r = run(m, st, err);
	}
	if (r == 0)
		r = exec(m, "DELETE FROM blob_source WHERE blob NOT IN (SELECT blob FROM layer)", err);
	return end(m, r, err);
}

int cs_image_db_sources_add(struct cs_images *m, const struct cs_image_layer *layers, size_t n, const char *repo, struct cs_err **err)
{
	int r = 0;

	if (begin(m, err) < 0)
		return -1;
	for (size_t i = 0; r == 0 && i < n; i++) {
		autostmt st = NULL;
		r = prepare(m, &st, err, "INSERT OR IGNORE INTO blob_source(blob,repo) VALUES(?,?)", "ss", layers[i].blob.s, repo);
		if (r == 0)
			r = run(m, st, err);
	}
	return end(m, r, err);
}

int cs_image_db_sources(struct cs_images *m, const struct cs_digest *blob, const char *host, char ***ret, struct cs_err **err)
{
	autostmt st = NULL;
	cs_autofree char *pattern = cs_xasprintf("%s/", host);
	char **v = NULL;
	int r;

	if (prepare(m, &st, err, "SELECT repo FROM blob_source WHERE blob=? AND substr(repo,1,length(?2))=?2 LIMIT 8", "ss", blob->s, pattern) < 0)
		return -1;
	while ((r = sqlite3_step(st)) == SQLITE_ROW)
		cs_strv_push(&v, column(st, 0) + strlen(pattern));
	if (r != SQLITE_DONE) {
		cs_strv_free(v);
		return dbfail(m, "read where blobs came from", err);
	}
	*ret = v;
	return 0;
}

int cs_image_db_tops(struct cs_images *m, void (*fn)(void *ctx, const struct cs_digest *top), void *ctx, struct cs_err **err)
{
	autostmt st = NULL;
	struct cs_digest top;
	int r;

	if (prepare(m, &st, err, "SELECT top FROM image", "") < 0)
		return -1;
	while ((r = sqlite3_step(st)) == SQLITE_ROW) {
		if (cs_digest_from(column(st, 0), &top))
			fn(ctx, &top);
	}
	return r == SQLITE_DONE ? 0 : dbfail(m, "read images", err);
}

int cs_image_db_meta_get(struct cs_images *m, const char *key, char **ret, struct cs_err **err)
{
	autostmt st = NULL;

	if (prepare(m, &st, err, "SELECT value FROM image_meta WHERE key=?", "s", key) < 0)
		return -1;
	int r = sqlite3_step(st);
	if (r != SQLITE_ROW && r != SQLITE_DONE)
		return dbfail(m, "read", err);
	*ret = r == SQLITE_ROW ? cs_xstrdup(column(st, 0)) : NULL;
	return 0;
}

int cs_image_db_meta_set(struct cs_images *m, const char *key, const char *val, struct cs_err **err)
{
	autostmt st = NULL;
	return prepare(m, &st, err, "INSERT OR REPLACE INTO image_meta(key,value) VALUES(?,?)", "ss", key, val) < 0 ? -1 : run(m, st, err);
}
