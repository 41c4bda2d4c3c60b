/* SPDX-License-Identifier: Apache-2.0
 *
 * The store keeps what it was given, refuses doubles, and survives being reopened. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "base/io.h"
#include "base/str.h"
#include "engine/store.h"

static char dir[] = "/tmp/caisson-test-store-XXXXXX";
static char path[128];

static int set_up(void **state)
{
	(void)state;
	if (!mkdtemp(dir))
		return -1;
	(void)snprintf(path, sizeof(path), "%s/db", dir);
	return 0;
}
static int tear_down(void **state)
{
	(void)state;
	return cs_remove_tree_at(-100, dir);
}

static struct cs_store *open_store(void)
{
	struct cs_store *s = NULL;
	assert_int_equal(cs_store_open(path, &s, NULL), 0);
	return s;
}

static struct cs_store_container row(const char *id, const char *name)
{
	return (struct cs_store_container){.id = id,
					   .name = name,
					   .config = "{}",
					   .host = "{}",
					   .mounts = "[]",
					   .image_id = "sha256:1",
					   .image_ref = "x",
					   .os = "linux",
					   .log_driver = "json-file",
					   .created = 42,
					   .st = {.status = "created", .started_at = INT64_MIN, .finished_at = INT64_MIN}};
}

struct seen {
	int n;
	char status[16], name[16];
	int64_t exit_code;
};
static int see(const struct cs_store_container *c, void *ctx)
{
	struct seen *s = ctx;
	s->n++;
	(void)snprintf(s->status, sizeof(s->status), "%s", c->st.status);
	(void)snprintf(s->name, sizeof(s->name), "%s", c->name);
	s->exit_code = c->st.exit_code;
	return 0;
}

static void containers(void **state)
{
	struct cs_store_container a = row("aa", "one"), b = row("bb", "one");
	struct cs_store_state st = {.status = "exited", .exit_code = 137, .started_at = 1, .finished_at = 2, .manually_stopped = true};
	struct cs_err *err = NULL;
	struct seen seen = {0};

	(void)state;
	struct cs_store *s = open_store();
	assert_int_equal(cs_store_container_insert(s, &a, NULL), 0);
	assert_int_equal(cs_store_container_insert(s, &b, &err), -1); /* the name is taken */
	assert_int_equal(cs_err_code(err), CS_ERR_CONFLICT);
	cs_err_free(err);
	assert_int_equal(cs_store_container_state(s, "aa", &st, NULL), 0);
	assert_int_equal(cs_store_container_rename(s, "aa", "two", NULL), 0);
	cs_store_close(s);
	s = open_store();
	assert_int_equal(cs_store_containers(s, see, &seen, NULL), 0);
	assert_int_equal(seen.n, 1);
	assert_string_equal(seen.status, "exited");
	assert_string_equal(seen.name, "two");
	assert_int_equal(seen.exit_code, 137);
	assert_int_equal(cs_store_container_delete(s, "aa", NULL), 0);
	seen.n = 0;
	assert_int_equal(cs_store_containers(s, see, &seen, NULL), 0);
	assert_int_equal(seen.n, 0);
	cs_store_close(s);
}

static int count_exec(const struct cs_store_exec *x, void *ctx)
{
	(void)x;
	++*(int *)ctx;
	return 0;
}

static void execs_go_with_their_container(void **state)
{
	struct cs_store_container a = row("cc", "three");
	struct cs_store_exec x = {.id = "e1", .container = "cc", .config = "{}"};
	int n = 0;

	(void)state;
	struct cs_store *s = open_store();
	assert_int_equal(cs_store_container_insert(s, &a, NULL), 0);
	assert_int_equal(cs_store_exec_put(s, &x, NULL), 0);
	x.exited = true;
	assert_int_equal(cs_store_exec_put(s, &x, NULL), 0);
	assert_int_equal(cs_store_execs(s, count_exec, &n, NULL), 0);
	assert_int_equal(n, 1);
	assert_int_equal(cs_store_container_delete(s, "cc", NULL), 0);
	n = 0;
	assert_int_equal(cs_store_execs(s, count_exec, &n, NULL), 0);
	assert_int_equal(n, 0);
	cs_store_close(s);
}

static void settings(void **state)
{
	char *v = NULL;

	(void)state;
	struct cs_store *s = open_store();
	assert_int_equal(cs_store_get(s, "k", &v, NULL), 0);
	assert_null(v);
	assert_int_equal(cs_store_set(s, "k", "1", NULL), 0);
	assert_int_equal(cs_store_set(s, "k", "2", NULL), 0);
	assert_int_equal(cs_store_get(s, "k", &v, NULL), 0);
	assert_string_equal(v, "2");
	free(v);
	cs_store_close(s);
}

static int on_volume(const struct cs_store_volume *v, void *ctx)
{
	struct cs_str *out = ctx;

	cs_str_putf(out, "%s %lld %d %s %s %s\n", v->name, (long long)v->created, v->anonymous, v->labels ? v->labels : "-",
		    v->options ? v->options : "-", v->owner ? v->owner : "-");
	return 0;
}

static void volumes_are(struct cs_store *s, const char *expected)
{
	cs_autostr struct cs_str out = CS_STR_INIT(4096);

	assert_int_equal(cs_store_volumes(s, on_volume, &out, NULL), 0);
	assert_string_equal(out.len ? out.buf : "", expected);
}

static void volumes(void **state)
{
	struct cs_store_volume a = {.name = "a", .labels = "{}", .created = 5, .anonymous = true, .owner = "c1"},
			       b = {.name = "b", .options = "{\"o\":\"\"}"};
	struct cs_store *s = open_store();

	assert_int_equal(cs_store_volume_put(s, &a, NULL), 0);
	assert_int_equal(cs_store_volume_put(s, &b, NULL), 0);
	a.created = 6;
	assert_int_equal(cs_store_volume_put(s, &a, NULL), 0); /* keeps what is there */
	volumes_are(s, "a 5 1 {} - c1\nb 0 0 - {\"o\":\"\"} -\n");
	assert_int_equal(cs_store_volume_disown(s, "a", NULL), 0);
	assert_int_equal(cs_store_volume_delete(s, "b", NULL), 0);
	cs_store_close(s);
	s = open_store();
	volumes_are(s, "a 5 1 {} - -\n");
	assert_int_equal(cs_store_volume_delete(s, "a", NULL), 0);
	cs_store_close(s);
}

static int no_networks(const struct cs_store_container *c, void *ctx)
{
	assert_string_equal(c->name, "old");
	assert_null(c->networks);
	++*(int *)ctx;
	return 0;
}

static int one_network(const char *id, const char *doc, void *ctx)
{
	assert_string_equal(id, "n1");
	assert_string_equal(doc, "{\"Name\":\"x\"}");
	++*(int *)ctx;
	return 0;
}

static int has_networks(const struct cs_store_container *c, void *ctx)
{
	assert_string_equal(c->networks, "{\"Endpoints\":{}}");
	++*(int *)ctx;
	return 0;
}

static void networks(void **state)
{
	struct cs_store_container c = {
		.id = "c1", .name = "c1", .config = "{}", .host = "{}", .mounts = "[]", .networks = "{}", .st = {.status = "created"}};
	struct cs_store *s = open_store();
	int n = 0;

	assert_int_equal(cs_store_network_put(s, "n1", "{}", NULL), 0);
	assert_int_equal(cs_store_network_put(s, "n1", "{\"Name\":\"x\"}", NULL), 0);
	assert_int_equal(cs_store_network_put(s, "n2", "{}", NULL), 0);
	assert_int_equal(cs_store_network_delete(s, "n2", NULL), 0);
	assert_int_equal(cs_store_container_insert(s, &c, NULL), 0);
	assert_int_equal(cs_store_container_networks(s, "c1", "{\"Endpoints\":{}}", NULL), 0);
	cs_store_close(s);
	s = open_store();
	assert_int_equal(cs_store_networks(s, one_network, &n, NULL), 0);
	assert_int_equal(cs_store_containers(s, has_networks, &n, NULL), 0);
	assert_int_equal(n, 2);
	assert_int_equal(cs_store_network_delete(s, "n1", NULL), 0);
	assert_int_equal(cs_store_container_delete(s, "c1", NULL), 0);
	cs_store_close(s);
}

/* A database of schema 1, which knew no owners of volumes, and no networks, and had containers without rowids. */
static void older_schema(void **state)
{
	cs_autofree char *old = cs_xasprintf("%s/old", dir);
	struct cs_store *s = NULL;
	sqlite3 *db = NULL;
	int n = 0;

	assert_int_equal(sqlite3_open(old, &db), SQLITE_OK);
	assert_int_equal(
		sqlite3_exec(db,
			     "CREATE TABLE kv(key TEXT PRIMARY KEY, val TEXT NOT NULL) WITHOUT ROWID;"
			     "INSERT INTO kv VALUES('schema.containers','1');"
			     "CREATE TABLE volumes(name TEXT PRIMARY KEY, created INTEGER NOT NULL, anonymous INTEGER NOT NULL, labels "
			     "TEXT, options TEXT) WITHOUT ROWID;"
			     "INSERT INTO volumes VALUES('v',7,0,NULL,NULL);"
			     "CREATE TABLE containers(id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, created INTEGER NOT NULL, config "
			     "TEXT NOT NULL,"
			     " host TEXT NOT NULL, mounts TEXT NOT NULL, image_id TEXT, image_ref TEXT, os TEXT, log_driver TEXT, status "
			     "TEXT NOT NULL,"
			     " pid INTEGER NOT NULL, exit_code INTEGER NOT NULL, error TEXT, started_at INTEGER NOT NULL, finished_at "
			     "INTEGER NOT NULL,"
			     " oom INTEGER NOT NULL, restart_count INTEGER NOT NULL, manually_stopped INTEGER NOT NULL, ever_started "
			     "INTEGER NOT NULL)"
			     " WITHOUT ROWID;"
			     "INSERT INTO containers VALUES('o','old',1,'{}','{}','[]',NULL,NULL,NULL,NULL,'exited',0,0,NULL,0,0,0,0,0,1);",
			     NULL, NULL, NULL),
		SQLITE_OK);
	(void)sqlite3_close(db);
	for (int i = 0; i < 2; i++) { /* the second time it is of today */
		assert_int_equal(cs_store_open(old, &s, NULL), 0);
		volumes_are(s, "v 7 0 - - -\n");
		assert_int_equal(cs_store_containers(s, no_networks, &n, NULL), 0);
		cs_store_close(s);
	}
	assert_int_equal(n, 2);
	/* as a new one: a search for one container does not read the rows of others, which may be of megabytes */
	sqlite3_stmt *q = NULL;
	assert_int_equal(sqlite3_open(old, &db), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(db, "SELECT count(rowid) FROM containers", -1, &q, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(q), SQLITE_ROW);
	assert_int_equal(sqlite3_column_int(q, 0), 1);
	assert_int_equal(sqlite3_finalize(q), SQLITE_OK);
	(void)sqlite3_close(db);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(containers), cmocka_unit_test(execs_go_with_their_container),
					   cmocka_unit_test(settings),   cmocka_unit_test(volumes),
					   cmocka_unit_test(networks),   cmocka_unit_test(older_schema)};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
