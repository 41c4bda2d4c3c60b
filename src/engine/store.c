/* SPDX-License-Identifier: Apache-2.0
 *
 * SQLite behind store.h. synchronous=NORMAL with WAL: a SIGKILL loses nothing, a power cut at most the last moments, and never
 * consistency. No write waits for the disk. Owner: the engine; one mutex. */
#include "engine/store.h"

#include <pthread.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/num.h"

#define SCHEMA_VERSION 4

#define CONTAINER_COLUMNS                                                                                                                  \
	"id,name,created,config,host,mounts,image_id,image_ref,os,log_driver,status,pid,exit_code,error,started_at,finished_at,oom,"       \
	"restart_count,manually_stopped,ever_started,networks"
/* With rowids: rows may be large (ten thousand published ports are a megabyte), and a search in a table without them reads whole rows on
 * its way to others, as their content stands in the nodes that are compared. */
#define CONTAINERS                                                                                                                         \
	"containers(id TEXT NOT NULL PRIMARY KEY, name TEXT NOT NULL UNIQUE, created INTEGER NOT NULL, config TEXT NOT NULL,"              \
	" host TEXT NOT NULL, mounts TEXT NOT NULL, image_id TEXT, image_ref TEXT, os TEXT, log_driver TEXT, status TEXT NOT NULL,"        \
	" pid INTEGER NOT NULL, exit_code INTEGER NOT NULL, error TEXT, started_at INTEGER NOT NULL, finished_at INTEGER NOT NULL,"        \
	" oom INTEGER NOT NULL, restart_count INTEGER NOT NULL, manually_stopped INTEGER NOT NULL, ever_started INTEGER NOT NULL,"         \
	" networks TEXT);"

enum stmt {
	Q_INSERT,
	Q_STATE,
	Q_RENAME,
	Q_HOST,
	Q_NETWORKS,
	Q_DELETE,
	Q_EXEC_PUT,
	Q_EXEC_DELETE,
	Q_EXECS_DELETE,
	Q_VOLUME_PUT,
	Q_VOLUME_DISOWN,
	Q_VOLUME_DELETE,
	Q_NETWORK_PUT,
	Q_NETWORK_DELETE,
	Q_GET,
	Q_SET,
	Q_MAX
};
static const char *const sql[Q_MAX] = {
	[Q_INSERT] = "INSERT INTO containers(" CONTAINER_COLUMNS ") "
		     "VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
	[Q_STATE] = "UPDATE containers SET status=?2,pid=?3,exit_code=?4,error=?5,started_at=?6,finished_at=?7,oom=?8,restart_count=?9,"
		    "manually_stopped=?10,ever_started=?11 WHERE id=?1",
	[Q_RENAME] = "UPDATE containers SET name=?2 WHERE id=?1",
	[Q_HOST] = "UPDATE containers SET host=?2 WHERE id=?1",
	[Q_NETWORKS] = "UPDATE containers SET networks=?2 WHERE id=?1",
	[Q_DELETE] = "DELETE FROM containers WHERE id=?1",
	[Q_EXEC_PUT] = "INSERT OR REPLACE INTO execs(id,container,config,started,exited,pid,exit_code,created,exited_at) "
		       "VALUES(?,?,?,?,?,?,?,?,?)",
	[Q_EXEC_DELETE] = "DELETE FROM execs WHERE id=?1",
	[Q_EXECS_DELETE] = "DELETE FROM execs WHERE container=?1",
	[Q_VOLUME_PUT] = "INSERT OR IGNORE INTO volumes(name,created,anonymous,labels,options,owner) VALUES(?,?,?,?,?,?)",
	[Q_VOLUME_DISOWN] = "UPDATE volumes SET owner=NULL WHERE name=?1",
	[Q_VOLUME_DELETE] = "DELETE FROM volumes WHERE name=?1",
	[Q_NETWORK_PUT] = "INSERT OR REPLACE INTO networks(id,doc) VALUES(?,?)",
	[Q_NETWORK_DELETE] = "DELETE FROM networks WHERE id=?1",
	[Q_GET] = "SELECT val FROM kv WHERE key=?1",
	[Q_SET] = "INSERT OR REPLACE INTO kv(key,val) VALUES(?,?)",
};
static const char schema[] =
	"CREATE TABLE IF NOT EXISTS " CONTAINERS
	"CREATE TABLE IF NOT EXISTS execs(id TEXT PRIMARY KEY, container TEXT NOT NULL, config TEXT NOT NULL, started INTEGER NOT NULL,"
	" exited INTEGER NOT NULL, pid INTEGER NOT NULL, exit_code INTEGER NOT NULL, created INTEGER NOT NULL, exited_at INTEGER NOT NULL)"
	" WITHOUT ROWID;"
	"CREATE INDEX IF NOT EXISTS execs_container ON execs(container);"
	"CREATE TABLE IF NOT EXISTS volumes(name TEXT PRIMARY KEY, created INTEGER NOT NULL, anonymous INTEGER NOT NULL, labels TEXT,"
	" options TEXT, owner TEXT) WITHOUT ROWID;"
	"CREATE TABLE IF NOT EXISTS networks(id TEXT PRIMARY KEY, doc TEXT NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE IF NOT EXISTS kv(key TEXT PRIMARY KEY, val TEXT NOT NULL) WITHOUT ROWID;";

struct cs_store {
	sqlite3 *db;
	pthread_mutex_t lock;
	sqlite3_stmt *q[Q_MAX]; /* prepared at first use */
};

static int db_fail(struct cs_store *s, struct cs_err **err, const char *what)
{
	int x = sqlite3_extended_errcode(s->db), r = x & 0xff;
	enum cs_code code = r == SQLITE_FULL ? CS_ERR_NO_SPACE : r == SQLITE_CONSTRAINT ? CS_ERR_CONFLICT : CS_ERR_INTERNAL;
	return cs_fail(err, code, 0, "database: %s: %s", what, sqlite3_errmsg(s->db));
}

static int exec_sql(struct cs_store *s, const char *text, struct cs_err **err)
{
	if (sqlite3_exec(s->db, text, NULL, NULL, NULL) != SQLITE_OK)
		return db_fail(s, err, "set up");
	return 0;
}

static int64_t user_version(struct cs_store *s)
{
	sqlite3_stmt *q = NULL;
	int64_t v = -1;

	/* kept in kv, not in PRAGMA user_version: the image store shares the file and has a version of its own */
	if (sqlite3_prepare_v2(s->db, "SELECT val FROM kv WHERE key='schema.containers'", -1, &q, NULL) == SQLITE_OK) {
		v = sqlite3_step(q) == SQLITE_ROW ? sqlite3_column_int64(q, 0) : 0;
		(void)sqlite3_finalize(q);
	}
	return v;
}

/* From v to ours, in a transaction. */
static int migrate(struct cs_store *s, int64_t v, struct cs_err **err)
{
	if (v == 1 && exec_sql(s, "ALTER TABLE volumes ADD COLUMN owner TEXT", err) < 0)
		return -1;
	if (v <= 2 && exec_sql(s, "ALTER TABLE containers ADD COLUMN networks TEXT", err) < 0)
		return -1;
	return exec_sql(s,
			"ALTER TABLE containers RENAME TO containers_old; CREATE TABLE " CONTAINERS
			"INSERT INTO containers(" CONTAINER_COLUMNS ") SELECT " CONTAINER_COLUMNS
			" FROM containers_old; DROP TABLE containers_old",
			err);
}

static int set_up(struct cs_store *s, struct cs_err **err)
{
	(void)sqlite3_busy_timeout(s->db, 10000);
	if (exec_sql(s,
		     "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=OFF; PRAGMA cache_size=-256;"
		     "PRAGMA wal_autocheckpoint=512; PRAGMA temp_store=MEMORY;",
		     err) < 0 ||
	    exec_sql(s, schema, err) < 0)
		return -1;
	int64_t v = user_version(s);
	if (v > SCHEMA_VERSION)
		return cs_fail(err, CS_ERR_UNSUPPORTED, 0, "the database was written by a newer version (schema %lld, this build knows %d)",
			       (long long)v, SCHEMA_VERSION);
	if (v == SCHEMA_VERSION)
		return 0;
	if (exec_sql(s, "BEGIN IMMEDIATE", err) < 0 || (v > 0 && migrate(s, v, err) < 0))
		return -1; /* and closed, which rolls back */
	return exec_sql(s, "INSERT OR REPLACE INTO kv(key,val) VALUES('schema.containers','" CS_STR(SCHEMA_VERSION) "'); COMMIT", err);
}

int cs_store_open(const char *path, struct cs_store **ret, struct cs_err **err)
{
	struct cs_store *s = cs_xcalloc(1, sizeof(*s));

	(void)pthread_mutex_init(&s->lock, NULL);
	if (sqlite3_open_v2(path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK) {
		(void)cs_fail(err, CS_ERR_INTERNAL, 0, "open %s: %s", path, s->db ? sqlite3_errmsg(s->db) : "out of memory");
		cs_store_close(s);
		return -1;
	}
	(void)chmod(path, 0600);
	if (set_up(s, err) < 0) {
		cs_store_close(s);
		return -1;
	}
	*ret = s;
	return 0;
}

void cs_store_close(struct cs_store *s)
{
	if (!s)
		return;
	for (int i = 0; i < Q_MAX; i++)
		(void)sqlite3_finalize(s->q[i]);
	(void)sqlite3_close(s->db);
	(void)pthread_mutex_destroy(&s->lock);
	free(s);
}

/* ---- one writing statement: begin (locks), bind..., run (unlocks) ---- */

static sqlite3_stmt *begin(struct cs_store *s, enum stmt n)
{
	pthread_mutex_lock(&s->lock);
	if (!s->q[n] && sqlite3_prepare_v3(s->db, sql[n], -1, SQLITE_PREPARE_PERSISTENT, &s->q[n], NULL) != SQLITE_OK)
		s->q[n] = NULL;
	return s->q[n];
}

static void text(sqlite3_stmt *q, int i, const char *v)
{
	if (q)
		(void)sqlite3_bind_text(q, i, v, -1, SQLITE_STATIC);
}

static void num(sqlite3_stmt *q, int i, int64_t v)
{
	if (q)
		(void)sqlite3_bind_int64(q, i, v);
}

static int run(struct cs_store *s, sqlite3_stmt *q, const char *what, struct cs_err **err)
{
	int r = 0;

	if (!q || sqlite3_step(q) != SQLITE_DONE)
		r = db_fail(s, err, what);
	if (q) {
		(void)sqlite3_reset(q);
		(void)sqlite3_clear_bindings(q);
	}
	pthread_mutex_unlock(&s->lock);
	return r;
}

static void bind_state(sqlite3_stmt *q, int i, const struct cs_store_state *st)
{
	text(q, i, st->status);
	num(q, i + 1, st->pid);
	num(q, i + 2, st->exit_code);
	text(q, i + 3, st->error);
	num(q, i + 4, st->started_at);
	num(q, i + 5, st->finished_at);
	num(q, i + 6, st->oom);
	num(q, i + 7, st->restart_count);
	num(q, i + 8, st->manually_stopped);
	num(q, i + 9, st->ever_started);
}

int cs_store_container_insert(struct cs_store *s, const struct cs_store_container *c, struct cs_err **err)
{
	sqlite3_stmt *q = begin(s, Q_INSERT);
	text(q, 1, c->id);
	text(q, 2, c->name);
	num(q, 3, c->created);
	text(q, 4, c->config);
	text(q, 5, c->host);
	text(q, 6, c->mounts);
	text(q, 7, c->image_id);
	text(q, 8, c->image_ref);
	text(q, 9, c->os);
	text(q, 10, c->log_driver);
	bind_state(q, 11, &c->st);
	text(q, 21, c->networks);
	return run(s, q, "insert container", err);
}

int cs_store_container_state(struct cs_store *s, const char *id, const struct cs_store_state *st, struct cs_err **err)
{
	sqlite3_stmt *q = begin(s, Q_STATE);
	text(q, 1, id);
	bind_state(q, 2, st);
	return run(s, q, "update container", err);
}

static int two(struct cs_store *s, enum stmt n, const char *a, const char *b, const char *what, struct cs_err **err)
{
	sqlite3_stmt *q = begin(s, n);
	text(q, 1, a);
	if (b)
		text(q, 2, b);
	return run(s, q, what, err);
}

int cs_store_container_rename(struct cs_store *s, const char *id, const char *name, struct cs_err **err)
{
	return two(s, Q_RENAME, id, name, "rename container", err);
}

int cs_store_container_host(struct cs_store *s, const char *id, const char *host, struct cs_err **err)
{
	return two(s, Q_HOST, id, host, "update container", err);
}

int cs_store_container_networks(struct cs_store *s, const char *id, const char *networks, struct cs_err **err)
{
	return two(s, Q_NETWORKS, id, networks, "update container", err);
}

int cs_store_container_delete(struct cs_store *s, const char *id, struct cs_err **err)
{
	/* execs first: what remains after a crash in between belongs to a container that is still marked as removing */
	if (two(s, Q_EXECS_DELETE, id, NULL, "delete execs", err) < 0)
		return -1;
	return two(s, Q_DELETE, id, NULL, "delete container", err);
}

int cs_store_exec_put(struct cs_store *s, const struct cs_store_exec *x, struct cs_err **err)
{
	sqlite3_stmt *q = begin(s, Q_EXEC_PUT);
	text(q, 1, x->id);
	text(q, 2, x->container);
	text(q, 3, x->config);
	num(q, 4, x->started);
	num(q, 5, x->exited);
	num(q, 6, x->pid);
	num(q, 7, x->exit_code);
	num(q, 8, x->created);
	num(q, 9, x->exited_at);
	return run(s, q, "store exec", err);
}

int cs_store_exec_delete(struct cs_store *s, const char *id, struct cs_err **err)
{
	return two(s, Q_EXEC_DELETE, id, NULL, "delete exec", err);
}

int cs_store_volume_put(struct cs_store *s, const struct cs_store_volume *v, struct cs_err **err)
{
	sqlite3_stmt *q = begin(s, Q_VOLUME_PUT);
	text(q, 1, v->name);
	num(q, 2, v->created);
	num(q, 3, v->anonymous);
	text(q, 4, v->labels);
	text(q, 5, v->options);
	text(q, 6, v->owner);
	return run(s, q, "store volume", err);
}

int cs_store_volume_disown(struct cs_store *s, const char *name, struct cs_err **err)
{
	return two(s, Q_VOLUME_DISOWN, name, NULL, "update volume", err);
}

int cs_store_volume_delete(struct cs_store *s, const char *name, struct cs_err **err)
{
	return two(s, Q_VOLUME_DELETE, name, NULL, "delete volume", err);
}

int cs_store_network_put(struct cs_store *s, const char *id, const char *doc, struct cs_err **err)
{
	return two(s, Q_NETWORK_PUT, id, doc, "store network", err);
}

int cs_store_network_delete(struct cs_store *s, const char *id, struct cs_err **err)
{
	return two(s, Q_NETWORK_DELETE, id, NULL, "delete network", err);
}

int cs_store_set(struct cs_store *s, const char *key, const char *val, struct cs_err **err)
{
	return two(s, Q_SET, key, val, "store a setting", err);
}

int cs_store_get(struct cs_store *s, const char *key, char **ret, struct cs_err **err)
{
	sqlite3_stmt *q = begin(s, Q_GET);
	int r = 0;

	text(q, 1, key);
	int step = q ? sqlite3_step(q) : SQLITE_ERROR;
	if (step == SQLITE_ROW)
		*ret = cs_xstrdup((const char *)sqlite3_column_text(q, 0));
	else if (step == SQLITE_DONE)
		*ret = NULL;
	else
		r = db_fail(s, err, "read a setting");
	if (q)
		(void)sqlite3_reset(q);
	pthread_mutex_unlock(&s->lock);
	return r;
}

/* ---- reading everything, at start ---- */

static const char *col(sqlite3_stmt *q, int i) { return (const char *)sqlite3_column_text(q, i); }

static int each(struct cs_store *s, const char *query, int (*row)(sqlite3_stmt *q, const void *fn, void *ctx), const void *fn, void *ctx,
		struct cs_err **err)
{
	sqlite3_stmt *q = NULL;
	int step = SQLITE_DONE;

	pthread_mutex_lock(&s->lock);
	if (sqlite3_prepare_v2(s->db, query, -1, &q, NULL) != SQLITE_OK)
		step = SQLITE_ERROR;
	while (q && (step = sqlite3_step(q)) == SQLITE_ROW)
		if (row(q, fn, ctx) < 0) {
			step = SQLITE_DONE;
			break;
		}
	int r = step == SQLITE_DONE ? 0 : db_fail(s, err, "read");
	(void)sqlite3_finalize(q);
	pthread_mutex_unlock(&s->lock);
	return r;
}

typedef int (*container_fn)(const struct cs_store_container *c, void *ctx);
typedef int (*exec_fn)(const struct cs_store_exec *x, void *ctx);
typedef int (*volume_fn)(const struct cs_store_volume *v, void *ctx);

static int container_row(sqlite3_stmt *q, const void *fn, void *ctx)
{
	struct cs_store_container c = {.id = col(q, 0),
				       .name = col(q, 1),
				       .created = sqlite3_column_int64(q, 2),
				       .config = col(q, 3),
				       .host = col(q, 4),
				       .mounts = col(q, 5),
				       .image_id = col(q, 6),
				       .image_ref = col(q, 7),
				       .os = col(q, 8),
				       .log_driver = col(q, 9),
				       .st = {.status = col(q, 10),
					      .pid = sqlite3_column_int64(q, 11),
					      .exit_code = sqlite3_column_int64(q, 12),
					      .error = col(q, 13),
					      .started_at = sqlite3_column_int64(q, 14),
					      .finished_at = sqlite3_column_int64(q, 15),
					      .oom = sqlite3_column_int(q, 16),
					      .restart_count = sqlite3_column_int64(q, 17),
					      .manually_stopped = sqlite3_column_int(q, 18),
					      .ever_started = sqlite3_column_int(q, 19)},
				       .networks = col(q, 20)};
	return (*(const container_fn *)fn)(&c, ctx);
}

int cs_store_containers(struct cs_store *s, container_fn fn, void *ctx, struct cs_err **err)
{
	return each(s,
		    "SELECT id,name,created,config,host,mounts,image_id,image_ref,os,log_driver,status,pid,exit_code,error,started_at,"
		    "finished_at,oom,restart_count,manually_stopped,ever_started,networks FROM containers",
		    container_row, &fn, ctx, err);
}

static int exec_row(sqlite3_stmt *q, const void *fn, void *ctx)
{
	struct cs_store_exec x = {.id = col(q, 0),
				  .container = col(q, 1),
				  .config = col(q, 2),
				  .started = sqlite3_column_int(q, 3),
				  .exited = sqlite3_column_int(q, 4),
				  .pid = sqlite3_column_int64(q, 5),
				  .exit_code = sqlite3_column_int64(q, 6),
				  .created = sqlite3_column_int64(q, 7),
				  .exited_at = sqlite3_column_int64(q, 8)};
	return (*(const exec_fn *)fn)(&x, ctx);
}

int cs_store_execs(struct cs_store *s, exec_fn fn, void *ctx, struct cs_err **err)
{
	return each(s, "SELECT id,container,config,started,exited,pid,exit_code,created,exited_at FROM execs", exec_row, &fn, ctx, err);
}

static int volume_row(sqlite3_stmt *q, const void *fn, void *ctx)
{
	struct cs_store_volume v = {.name = col(q, 0),
				    .created = sqlite3_column_int64(q, 1),
				    .anonymous = sqlite3_column_int(q, 2),
				    .labels = col(q, 3),
				    .options = col(q, 4),
				    .owner = col(q, 5)};
	return (*(const volume_fn *)fn)(&v, ctx);
}

int cs_store_volumes(struct cs_store *s, volume_fn fn, void *ctx, struct cs_err **err)
{
	return each(s, "SELECT name,created,anonymous,labels,options,owner FROM volumes", volume_row, &fn, ctx, err);
}

typedef int (*network_fn)(const char *id, const char *doc, void *ctx);

static int network_row(sqlite3_stmt *q, const void *fn, void *ctx) { return (*(const network_fn *)fn)(col(q, 0), col(q, 1), ctx); }

int cs_store_networks(struct cs_store *s, network_fn fn, void *ctx, struct cs_err **err)
{
	return each(s, "SELECT id,doc FROM networks", network_row, &fn, ctx, err);
}
