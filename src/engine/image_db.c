/* SPDX-License-Identifier: Apache-2.0
 *
 * The images' tables: their own section of <data root>/caisson.db over their own connection (WAL). Used under m->write. */
#include "base/log.h"
#include "base/time.h"
#include "engine/image_internal.h"

static const char schema[] =
	"CREATE TABLE IF NOT EXISTS image(id TEXT PRIMARY KEY, manifest TEXT NOT NULL, top TEXT NOT NULL, last_tagged INTEGER NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE IF NOT EXISTS image_name(name TEXT PRIMARY KEY, id TEXT NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE IF NOT EXISTS layer(chain TEXT PRIMARY KEY, parent TEXT NOT NULL, diff TEXT NOT NULL, blob TEXT NOT NULL, blob_size INTEGER NOT NULL,"
	" size INTEGER NOT NULL, media_type TEXT NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE IF NOT EXISTS image_meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;";

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
			cs_fail(err, CS_ERR_INTERNAL, 0, "layer %s is not in the database", at.s);
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
	for (size_t i = 0; i < n; i++)
		free(v[i].media_type);
	free(v);
	return -1;
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
	int r = cs_image_rec_new(m, &id, &manifest, layers, n, ret, err);
	for (size_t i = 0; i < n; i++)
		free(layers[i].media_type);
	free(layers);
	if (r == 0)
		atomic_store(&(*ret)->last_tagged, sqlite3_column_int64(st, 3));
	return r;
}

static int load_names(struct cs_images *m, struct cs_err **err)
{
	autostmt st = NULL;
	int r;

	if (prepare(m, &st, err, "SELECT name,id FROM image_name ORDER BY name", "") < 0)
		return -1;
	while ((r = sqlite3_step(st)) == SQLITE_ROW) {
		struct cs_image_rec *rec;
		HASH_FIND_STR(m->by_id, column(st, 1), rec);
		if (!rec)
			continue;
		struct cs_image_name *n = cs_xcalloc(1, sizeof(*n));
		n->full = cs_xstrdup(column(st, 0));
		n->rec = rec;
		HASH_ADD_KEYPTR(hh, m->names, n->full, strlen(n->full), n);
	}
	return r == SQLITE_DONE ? 0 : dbfail(m, "read image names", err);
}

int cs_image_db_load(struct cs_images *m, struct cs_err **err)
{
	autostmt st = NULL;
	int r;

	if (prepare(m, &st, err, "SELECT id,manifest,top,last_tagged FROM image", "") < 0)
		return -1;
	while ((r = sqlite3_step(st)) == SQLITE_ROW) {
		struct cs_image_rec *rec;
		cs_autoerr struct cs_err *e = NULL;
		if (load_image(m, st, &rec, &e) < 0) {
			/* One damaged image must not keep the engine from starting. */
			cs_autofree char *text = cs_err_text(e);
			cs_error("image", "image %s cannot be used: %s", column(st, 0), text);
			continue;
		}
		HASH_ADD_STR(m->by_id, id.s, rec);
	}
	return r == SQLITE_DONE ? load_names(m, err) : dbfail(m, "read images", err);
}

int cs_image_db_add(struct cs_images *m, const struct cs_digest *id, const struct cs_digest *manifest, const struct cs_image_layer *layers, size_t n,
		    char *const *names, int64_t now, struct cs_err **err)
{
	if (exec(m, "BEGIN IMMEDIATE", err) < 0)
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
		r = prepare(m, &st, err, "INSERT OR REPLACE INTO image(id,manifest,top,last_tagged) VALUES(?,?,?,?)", "sssi", id->s, manifest->s,
			    n ? layers[n - 1].chain.s : "", names && *names ? now : (int64_t)0);
		if (r == 0)
			r = run(m, st, err);
	}
	for (size_t i = 0; r == 0 && names && names[i]; i++) {
		autostmt st = NULL;
		r = prepare(m, &st, err, "INSERT OR REPLACE INTO image_name(name,id) VALUES(?,?)", "ss", names[i], id->s);
		if (r == 0)
			r = run(m, st, err);
	}
	if (r == 0)
		r = exec(m, "COMMIT", err);
	if (r < 0)
		(void)exec(m, "ROLLBACK", NULL);
	return r;
}

int cs_image_db_name(struct cs_images *m, const char *full, const char *id, int64_t now, struct cs_err **err)
{
	if (exec(m, "BEGIN IMMEDIATE", err) < 0)
		return -1;
	autostmt st = NULL;
	autostmt up = NULL;
	int r;
	if (id)
		r = prepare(m, &st, err, "INSERT OR REPLACE INTO image_name(name,id) VALUES(?,?)", "ss", full, id);
	else
		r = prepare(m, &st, err, "DELETE FROM image_name WHERE name=?", "s", full);
	if (r == 0)
		r = run(m, st, err);
	if (r == 0 && id) {
		r = prepare(m, &up, err, "UPDATE image SET last_tagged=? WHERE id=?", "is", now, id);
		if (r == 0)
			r = run(m, up, err);
	}
	if (r == 0)
		r = exec(m, "COMMIT", err);
	if (r < 0)
		(void)exec(m, "ROLLBACK", NULL);
	return r;
}

int cs_image_db_del(struct cs_images *m, const char *id, struct cs_err **err)
{
	if (exec(m, "BEGIN IMMEDIATE", err) < 0)
		return -1;
	autostmt st = NULL;
	autostmt names = NULL;
	int r = prepare(m, &st, err, "DELETE FROM image WHERE id=?", "s", id);
	if (r == 0)
		r = run(m, st, err);
	if (r == 0)
		r = prepare(m, &names, err, "DELETE FROM image_name WHERE id=?", "s", id);
	if (r == 0)
		r = run(m, names, err);
	if (r == 0)
		r = exec(m, "COMMIT", err);
	if (r < 0)
		(void)exec(m, "ROLLBACK", NULL);
	return r;
}

int cs_image_db_layer_del(struct cs_images *m, const struct cs_digest *chain, struct cs_err **err)
{
	autostmt st = NULL;
	return prepare(m, &st, err, "DELETE FROM layer WHERE chain=?", "s", chain->s) < 0 ? -1 : run(m, st, err);
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
