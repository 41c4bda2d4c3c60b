/* SPDX-License-Identifier: Apache-2.0
 *
 * storage/root_linux.c: the mounted file system of a stopped container. Needs root. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
/* cmocka needs the four above */
#include <cmocka.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/io.h"
#include "base/path.h"
#include "base/sys.h"
#include "computestorage.h"

static char dir[64];
static int dir_fd;
static struct cs_storage *storage;
static char lower_id[] = "sha256:1111111111111111111111111111111111111111111111111111111111111111";
static char *layers[] = {lower_id, NULL};

static void put(const char *path, const char *text)
{
	cs_autofree char *parent = cs_xstrdup(path);
	char *slash = strrchr(parent, '/');
	if (slash) {
		*slash = 0;
		assert_return_code(cs_mkdir_p(dir_fd, parent, 0755), 0);
	}
	assert_return_code(cs_replace_file_at(dir_fd, path, text, strlen(text), 0644, false), 0);
}

static char *get(int root, const char *path)
{
	static char buf[64];
	cs_autofd int fd = cs_open_in_root(root, path, O_RDONLY, 0);
	if (fd < 0)
		return NULL;
	ssize_t n = cs_read_full(fd, buf, sizeof(buf) - 1);
	assert_true(n >= 0);
	buf[n] = 0;
	return buf;
}

static int setup(void **state)
{
	struct cs_err *err = NULL;
	(void)state;
	if (geteuid() != 0)
		return 0;
	(void)snprintf(dir, sizeof(dir), "/tmp/cs-root-XXXXXX");
	assert_non_null(mkdtemp(dir));
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(cs_storage_open(dir, &storage, &err), 0);
	put("layers/1111111111111111111111111111111111111111111111111111111111111111/diff/etc/motd", "lower");
	put("layers/1111111111111111111111111111111111111111111111111111111111111111/diff/gone", "lower");
	put("layers/1111111111111111111111111111111111111111111111111111111111111111/diff/data/below", "hidden");
	put("host/volume/inside", "volume");
	put("host/volume/sub/deep", "deep");
	put("host/file", "a host file");
	assert_int_equal(cs_snap_create(storage, "c1", NULL, &err), 0);
	put("snapshots/c1/upper/new", "upper");
	assert_return_code(mknodat(dir_fd, "snapshots/c1/upper/gone", S_IFCHR | 0600, makedev(0, 0)), errno);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	if (geteuid() != 0)
		return 0;
	cs_storage_close(storage);
	cs_close(dir_fd);
	assert_return_code(cs_remove_tree_at(AT_FDCWD, dir), 0);
	return 0;
}

static void shows_layers_and_binds(void **state)
{
	struct cs_err *err = NULL;
	struct cs_root *root;
	struct stat st;
	(void)state;
	if (geteuid() != 0)
		skip();
	cs_autofree char *volume = cs_path_join(dir, "host/volume"), *file = cs_path_join(dir, "host/file"), *none = cs_path_join(dir, "host/none");
	for (int ro = 0; ro < 2; ro++) {
		const struct cs_root_bind binds[] = {
			{.source = volume, .destination = "/data", .read_only = true},
			{.source = file, .destination = "/etc/motd"},
			{.source = volume, .subpath = "sub", .destination = "/not/there"},
			{.source = none, .destination = "/nothing"},
			{.source = file, .destination = "/no-file"},
		};
		const struct cs_root_spec spec = {.id = "c1", .layers = layers, .read_only = ro, .binds = binds, .n_binds = CS_ARRAY_SIZE(binds)};
		assert_int_equal(cs_root_attach(storage, &spec, &root, &err), 0);
		int fd = cs_root_fd(root);
		assert_string_equal(get(fd, "/new"), "upper");
		assert_null(get(fd, "/gone"));
		assert_string_equal(get(fd, "/etc/motd"), "a host file");
		assert_string_equal(get(fd, "/data/inside"), "volume");
		assert_null(get(fd, "/data/below"));
		assert_null(get(fd, "/../../../../../../proc/self/stat"));
		assert_int_equal(cs_open_in_root(fd, "/data/x", O_WRONLY | O_CREAT, 0600), -EROFS);
		/* what has no mount point is beside, and makes none */
		const char *rest;
		int at = cs_root_at(root, "/not/there/deep", &rest);
		assert_true(at >= 0 && at != fd);
		assert_string_equal(get(at, rest), "deep");
		assert_string_equal(rest, "/deep");
		assert_int_equal(cs_root_at(root, "/not/there", &rest), at);
		assert_string_equal(rest, "/");
		assert_int_equal(cs_root_at(root, "/not/therefore", &rest), fd);
		assert_string_equal(rest, "/not/therefore");
		assert_true(cs_root_at(root, "/nothing/x", &rest) < 0);
		assert_true(cs_root_at(root, "/no-file", &rest) < 0);
		assert_int_equal(cs_open_in_root(fd, "/not", O_PATH, 0), -ENOENT);
		cs_autofd int w = cs_open_in_root(fd, "/etc/new", O_WRONLY | O_CREAT, 0600);
		assert_true(ro ? w == -EROFS : w >= 0);
		cs_close(TAKE_FD(w));
		/* nothing of it is seen outside */
		cs_autofree char *merged = cs_path_join(dir, "snapshots/c1/merged/new");
		assert_int_equal(faccessat(AT_FDCWD, merged, F_OK, 0), -1);
		cs_root_release(root);
	}
	assert_int_equal(fstatat(dir_fd, "snapshots/c1/upper/etc/new", &st, 0), 0);
	assert_int_equal(fstatat(dir_fd, "snapshots/c1/upper/not", &st, 0), -1);
}

/* A writable root can be had again at once: the last release has unmounted it. */
static void again_and_again(void **state)
{
	struct cs_err *err = NULL;
	struct cs_root *root;
	(void)state;
	if (geteuid() != 0)
		skip();
	for (int i = 0; i < 20; i++) {
		char name[16], path[64];
		const struct cs_root_spec spec = {.id = "c1", .layers = layers};
		assert_int_equal(cs_root_attach(storage, &spec, &root, &err), 0);
		(void)snprintf(name, sizeof(name), "/file%d", i);
		cs_autofd int w = cs_open_in_root(cs_root_fd(root), name, O_WRONLY | O_CREAT | O_EXCL, 0600);
		assert_true(w >= 0);
		cs_close(TAKE_FD(w));
		cs_root_release(root);
		(void)snprintf(path, sizeof(path), "snapshots/c1/upper%s", name);
		assert_int_equal(faccessat(dir_fd, path, F_OK, 0), 0);
	}
}

static void without_layers(void **state)
{
	struct cs_err *err = NULL;
	struct cs_root *root;
	char *const none[] = {NULL};
	(void)state;
	if (geteuid() != 0)
		skip();
	for (int ro = 0; ro < 2; ro++) {
		const struct cs_root_spec spec = {.id = "c1", .layers = none, .read_only = ro};
		assert_int_equal(cs_root_attach(storage, &spec, &root, &err), 0);
		assert_string_equal(get(cs_root_fd(root), "/new"), "upper");
		assert_int_equal(cs_open_in_root(cs_root_fd(root), "/made", O_WRONLY | O_CREAT | O_CLOEXEC, 0600) >= 0, !ro);
		cs_root_release(root);
	}
}

static void missing(void **state)
{
	struct cs_err *err = NULL;
	struct cs_root *root = NULL;
	char bad[] = "sha256:2222222222222222222222222222222222222222222222222222222222222222";
	char *const none[] = {bad, NULL};
	(void)state;
	if (geteuid() != 0)
		skip();
	const struct cs_root_spec no_layer = {.id = "c1", .layers = none}, no_snap = {.id = "c2", .layers = layers};
	assert_int_equal(cs_root_attach(storage, &no_layer, &root, &err), -1);
	cs_err_free(TAKE_PTR(err));
	assert_int_equal(cs_root_attach(storage, &no_snap, &root, &err), -1);
	assert_int_equal(cs_err_code(err), CS_ERR_NOT_FOUND);
	cs_err_free(err);
	assert_null(root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shows_layers_and_binds),
		cmocka_unit_test(again_and_again),
		cmocka_unit_test(without_layers),
		cmocka_unit_test(missing),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
