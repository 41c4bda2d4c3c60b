/* SPDX-License-Identifier: Apache-2.0
 *
 * Damage to a data root is told, each kind of it, and repaired where that can be. Needs root for whiteouts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>

#include "base/io.h"
#include "computestorage.h"

#define N_KINDS (CS_CHECK_INDEX + 1)

static char root[] = "/tmp/caisson-check-XXXXXX";

static const char *at(const char *fmt, const char *name)
{
	static char buf[4][512];
	static unsigned i;
	char *b = buf[i++ % 4];
	int n = snprintf(b, sizeof(buf[0]), "%s/", root);
	(void)snprintf(b + n, sizeof(buf[0]) - (size_t)n, fmt, name);
	return b;
}

struct seen {
	int n[N_KINDS], repaired[N_KINDS];
};
static void on_problem(void *ctx, const struct cs_check_problem *p)
{
	struct seen *s = ctx;
	assert_true(p->name && p->text);
	s->n[p->kind]++;
	s->repaired[p->kind] += p->repaired;
}

static struct seen check(struct cs_storage *s, const struct cs_check_options *o)
{
	struct seen r = {0};
	assert_int_equal(cs_storage_check(s, o, on_problem, &r, NULL), 0);
	return r;
}
static int total(const struct seen *s)
{
	int n = 0;
	for (size_t i = 0; i < N_KINDS; i++)
		n += s->n[i];
	return n;
}

/* An empty tar is a layer, too. */
static ssize_t nothing(void *ctx, void *buf, size_t max)
{
	bool *done = ctx;
	if (*done || max < 1024)
		return 0;
	*done = true;
	memset(buf, 0, 1024);
	return 1024;
}

static void make(struct cs_storage *s, struct cs_digest *layer, struct cs_digest *blob)
{
	bool done = false;
	struct cs_layer_result r;
	struct cs_layer_source src = {.read = nothing, .ctx = &done, .store_blob = true};
	assert_int_equal(cs_layer_unpack(s, &src, &r, NULL), 0);
	*layer = r.chain_id;
	*blob = r.blob;
	assert_int_equal(cs_snap_create(s, "box", &r.chain_id, NULL), 0);
}

static bool no(void *ctx, const struct cs_digest *d) { return false; }
static bool no_snap(void *ctx, const char *id) { return false; }
static bool yes(void *ctx, const struct cs_digest *d) { return true; }
/* Somebody removes it at this moment. */
static bool yes_and_gone(void *ctx, const struct cs_digest *d)
{
	assert_int_equal(unlink(at("content/blobs/sha256/%s", cs_digest_hex(d))), 0);
	return true;
}
static bool yes_snap(void *ctx, const char *id) { return true; }

static void damage(void **state)
{
	struct cs_storage *s;
	struct cs_digest layer, blob;
	const struct cs_check_options look = {.deep = true, .layer_used = yes, .blob_used = yes, .snap_used = yes_snap};
	const struct cs_check_options repair = {.repair = true, .deep = true, .layer_used = yes, .blob_used = yes, .snap_used = yes_snap};
	struct seen r;

	assert_int_equal(cs_storage_open(root, &s, NULL), 0);
	make(s, &layer, &blob);
	r = check(s, &look);
	assert_int_equal(total(&r), 0);

	/* one of each */
	const char *hex = cs_digest_hex(&layer), *bhex = cs_digest_hex(&blob);
	assert_int_equal(mkdir(at("%s", "tmp/layer-1-1"), 0700), 0);
	assert_int_equal(mkdir(at("%s", "layers/rubbish"), 0700), 0);
	assert_int_equal(cs_replace_file_at(AT_FDCWD, at("%s", "content/blobs/sha256/rubbish"), "x", 1, 0644, false), 0);
	assert_int_equal(cs_replace_file_at(AT_FDCWD, at("content/blobs/sha256/%s", bhex), "changed", 7, 0644, false), 0);
	assert_int_equal(cs_remove_tree_at(AT_FDCWD, at("layers/%s/diff", hex)), 0);
	assert_int_equal(rmdir(at("%s", "snapshots/box/work")), 0);
	assert_int_equal(cs_replace_file_at(AT_FDCWD, at("%s", "content/oci-layout"), "{}", 2, 0644, false), 0);
	assert_int_equal(cs_replace_file_at(AT_FDCWD, at("%s", "content/index.json"), "{\"schemaVer", 11, 0644, false), 0);
	static const int want[N_KINDS] = {[CS_CHECK_TMP] = 1, [CS_CHECK_FOREIGN] = 2, [CS_CHECK_LAYER_DAMAGED] = 1, [CS_CHECK_SNAP_DAMAGED] = 1,
					  [CS_CHECK_SNAP_PARENT] = 1, [CS_CHECK_BLOB_DAMAGED] = 1, [CS_CHECK_LAYOUT] = 1, [CS_CHECK_INDEX] = 1};
	for (int again = 0; again < 2; again++) { /* looking changes nothing */
		r = check(s, &look);
		for (size_t i = 0; i < N_KINDS; i++) {
			assert_int_equal(r.repaired[i], 0);
			if (i == CS_CHECK_SNAP_PARENT)
				assert_int_equal(r.n[i], 1);
			else
				assert_int_equal(r.n[i], want[i]);
		}
	}
	r = check(s, &repair);
	assert_int_equal(r.repaired[CS_CHECK_FOREIGN], 1);
	assert_int_equal(r.repaired[CS_CHECK_LAYER_DAMAGED], 1);
	assert_int_equal(r.repaired[CS_CHECK_SNAP_DAMAGED], 1);
	assert_int_equal(r.repaired[CS_CHECK_BLOB_DAMAGED], 1);
	assert_int_equal(r.repaired[CS_CHECK_TMP] + r.repaired[CS_CHECK_LAYOUT] + r.repaired[CS_CHECK_INDEX], 3);
	assert_false(cs_layer_exists(s, &layer));
	r = check(s, &look);
	assert_int_equal(r.n[CS_CHECK_FOREIGN], 1);     /* in layers/: not ours to delete */
	assert_int_equal(r.n[CS_CHECK_SNAP_PARENT], 1); /* what the container wrote stays */
	assert_int_equal(total(&r), 2);
	cs_storage_close(s);
}

/* Nothing is held while content is read: what goes meanwhile is no damage. */
static void gone(void **state)
{
	struct cs_storage *s;
	struct cs_digest layer, blob;
	const struct cs_check_options o = {.repair = true, .deep = true, .layer_used = yes, .blob_used = yes_and_gone, .snap_used = yes_snap};
	struct seen r;

	assert_int_equal(cs_remove_tree_at(AT_FDCWD, at("%s", "layers")), 0);
	assert_int_equal(cs_remove_tree_at(AT_FDCWD, at("%s", "snapshots")), 0);
	assert_int_equal(cs_storage_open(root, &s, NULL), 0);
	make(s, &layer, &blob);
	r = check(s, &o);
	assert_int_equal(r.n[CS_CHECK_BLOB_DAMAGED], 0);
	cs_storage_close(s);
}

static void orphans(void **state)
{
	struct cs_storage *s;
	struct cs_digest layer, blob;
	const struct cs_check_options o = {.repair = true, .layer_used = no, .blob_used = no, .snap_used = no_snap};
	static const char text[] = "{\"schemaVersion\":2,\"manifests\":[{\"digest\":\"sha256:0000000000000000000000000000000000000000000000000000000000000000\",\"size\":1}]}";
	struct seen r;

	assert_int_equal(cs_remove_tree_at(AT_FDCWD, at("%s", "layers")), 0);
	assert_int_equal(cs_remove_tree_at(AT_FDCWD, at("%s", "snapshots")), 0);
	assert_int_equal(cs_storage_open(root, &s, NULL), 0);
	make(s, &layer, &blob);
	assert_int_equal(cs_content_set_index(s, text, strlen(text), NULL), 0);
	r = check(s, &o);
	assert_int_equal(r.repaired[CS_CHECK_LAYER_UNUSED], 1);
	assert_int_equal(r.repaired[CS_CHECK_BLOB_UNUSED], 1);
	assert_int_equal(r.repaired[CS_CHECK_SNAP_UNUSED], 1);
	assert_int_equal(r.n[CS_CHECK_INDEX], 1);
	assert_int_equal(r.repaired[CS_CHECK_INDEX], 0);
	assert_int_equal(total(&r), 4);
	assert_false(cs_layer_exists(s, &layer));
	cs_storage_close(s);
}

static void *measure(void *arg)
{
	int64_t *bytes = arg;
	cs_autofd int fd = open(at("%s", "deep"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (cs_tree_usage(fd, bytes, NULL) < 0)
		*bytes = -1;
	return NULL;
}

/* A container can make directories in each other until the disk is full: neither the stack nor the descriptors may count them. */
static void deep(void **state)
{
	const int depth = 5000;
	int64_t bytes = 0;
	pthread_attr_t attr;
	pthread_t t;

	assert_int_equal(mkdir(at("%s", "deep"), 0700), 0);
	int cur = open(at("%s", "deep"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (int i = 0; i < depth; i++) {
		assert_int_equal(mkdirat(cur, "d", 0700) | mkdirat(cur, "e", 0700), 0);
		assert_int_equal(cs_replace_file_at(cur, "e/f", "x", 1, 0600, false), 0);
		int next = openat(cur, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		assert_true(next >= 0);
		cs_close(cur);
		cur = next;
	}
	cs_close(cur);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 128 << 10);
	assert_int_equal(pthread_create(&t, &attr, measure, &bytes), 0);
	pthread_join(t, NULL);
	assert_int_equal(bytes, depth);
	assert_int_equal(cs_remove_tree_at(AT_FDCWD, at("%s", "deep")), 0);
}

static int spares(void)
{
	DIR *d = opendir(at("%s", "spare"));
	int n = 0;

	assert_non_null(d);
	for (const struct dirent *e; (e = readdir(d));)
		if (e->d_name[0] != '.')
			n++;
	(void)closedir(d);
	return n;
}

static void pause_ms(void) { (void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL); }

/* A creation takes a directory that was made ahead, with the modes and the parent of one that is made in place; the next open finds none. */
static void made_ahead(void **state)
{
	struct cs_digest layer, blob, parent;
	struct cs_storage *s;
	struct stat st, was;
	char found[64];
	bool taken = false;

	(void)state;
	assert_int_equal(cs_remove_tree_at(AT_FDCWD, root), 0);
	assert_int_equal(mkdir(root, 0700), 0);
	assert_int_equal(cs_storage_open(root, &s, NULL), 0);
	(void)umask(022);
	make(s, &layer, &blob); /* "box": nothing is ready for the first one, but it asks for more */
	for (unsigned i = 0; i < 2000 && !taken; i++) { /* what is there may still be in the making, by a thread that gives way to others */
		char name[16];
		for (unsigned k = 0; k < 20000 && spares() == 0; k++)
			pause_ms();
		assert_int_not_equal(spares(), 0);
		(void)snprintf(name, sizeof(name), "s%u", i);
		/* which one is taken is not ours to say: their numbers on disk tell */
		ino_t inos[16];
		size_t n = 0;
		DIR *d = opendir(at("%s", "spare"));
		for (const struct dirent *e; d && (e = readdir(d));)
			if (n < CS_ARRAY_SIZE(inos) && e->d_name[0] != '.')
				inos[n++] = e->d_ino;
		(void)closedir(d);
		assert_int_equal(cs_snap_create(s, name, i % 2 ? &layer : NULL, NULL), 0);
		assert_int_equal(stat(at("snapshots/%s", name), &was), 0);
		for (size_t k = 0; k < n; k++)
			taken = taken || inos[k] == was.st_ino;
		assert_int_equal(was.st_mode & 07777, 0710);
		assert_int_equal(cs_snap_parent(s, name, &parent, NULL), 0);
		assert_string_equal(parent.s, i % 2 ? layer.s : "");
		(void)snprintf(found, sizeof(found), "%s/upper", name);
		assert_int_equal(stat(at("snapshots/%s", found), &st), 0);
		assert_int_equal(st.st_mode & 07777, 0755);
		(void)snprintf(found, sizeof(found), "%s/work", name);
		assert_int_equal(stat(at("snapshots/%s", found), &st), 0);
		assert_int_equal(st.st_mode & 07777, 0700);
		/* never onto one that exists */
		assert_int_equal(cs_snap_create(s, name, NULL, NULL), -1);
		assert_int_equal(stat(at("snapshots/%s", name), &st), 0);
		assert_int_equal(st.st_ino, was.st_ino);
		pause_ms();
	}
	assert_true(taken);
	/* the same for directories with files */
	static const char *const files[] = {"one", "two", NULL};
	taken = false;
	for (unsigned i = 0; i < 2000 && !taken; i++) {
		char name[16];
		ino_t inos[64];
		size_t n = 0;
		DIR *d = opendir(at("%s", "spare"));
		for (const struct dirent *e; d && (e = readdir(d));)
			if (n < CS_ARRAY_SIZE(inos) && e->d_name[0] != '.')
				inos[n++] = e->d_ino;
		(void)closedir(d);
		(void)snprintf(name, sizeof(name), "d%u", i);
		assert_int_equal(cs_dir_create(s, at("%s", name), files, NULL), 0);
		assert_int_equal(stat(at("%s", name), &was), 0);
		assert_int_equal(was.st_mode & 07777, 0710);
		for (size_t k = 0; k < n; k++)
			taken = taken || inos[k] == was.st_ino;
		for (const char *const *f = files; *f; f++) {
			(void)snprintf(found, sizeof(found), "%s/%s", name, *f);
			assert_int_equal(stat(at("%s", found), &st), 0);
			assert_int_equal(st.st_mode, S_IFREG | 0644);
			assert_int_equal(st.st_size, 0);
		}
		assert_int_equal(cs_dir_create(s, at("%s", name), files, NULL), -1);
		pause_ms();
	}
	assert_true(taken);
	cs_storage_close(s);
	assert_int_equal(mkdir(at("%s", "spare/old"), 0700), 0);
	assert_int_equal(cs_storage_open(root, &s, NULL), 0);
	assert_int_equal(spares(), 0);
	cs_storage_close(s);
}

static int setup(void **state)
{
	if (geteuid() != 0)
		exit(77);
	return mkdtemp(root) ? 0 : -1;
}
static int teardown(void **state) { return cs_remove_tree_at(AT_FDCWD, root); }

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(damage), cmocka_unit_test(gone), cmocka_unit_test(orphans), cmocka_unit_test(deep), cmocka_unit_test(made_ahead)};
	return cmocka_run_group_tests(tests, setup, teardown);
}
