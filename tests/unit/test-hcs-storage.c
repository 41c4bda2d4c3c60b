/* SPDX-License-Identifier: Apache-2.0
 *
 * The published functions of host compute storage, each of them, on real layers. Needs root. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "computestorage.h" /* first and alone: it is for others, too */

#include <dirent.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "base/io.h"

#define NO_PARENTS "{\"SchemaVersion\":{\"Major\":2,\"Minor\":1},\"Layers\":[]}"

static char root[] = "/tmp/caisson-hcs-XXXXXX";

static const char *at(const char *name)
{
	static char buf[8][512];
	static unsigned i;
	char *b = buf[i++ % 8];
	(void)snprintf(b, sizeof(buf[0]), "%s/%s", root, name);
	return b;
}

/* layerData of parents "a b c", nearest first. */
static char *layers(const char *names)
{
	cs_autofree char *copy = cs_xstrdup(names);
	char *out = cs_xstrdup("{\"SchemaVersion\":{\"Major\":2,\"Minor\":1},\"Layers\":["), *save = NULL;
	for (char *n = strtok_r(copy, " ", &save), *first = n; n; n = strtok_r(NULL, " ", &save)) {
		char *next = cs_xasprintf("%s%s{\"Id\":\"%s\",\"Path\":\"%s/%s\"}", out, n == first ? "" : ",", n, root, n);
		free(out);
		out = next;
	}
	char *whole = cs_xasprintf("%s]}", out);
	free(out);
	return whole;
}

static void put(const char *path, const char *text) { assert_int_equal(cs_replace_file_at(AT_FDCWD, at(path), text, strlen(text), 0644, false), 0); }
static bool has(const char *path) { return access(at(path), F_OK) == 0; }
static void assert_text(const char *path, const char *text)
{
	cs_autostr struct cs_str s = CS_STR_INIT(1000);
	assert_int_equal(cs_read_file_at(AT_FDCWD, at(path), &s), 0);
	assert_string_equal(s.buf, text);
}
static bool is_whiteout(const char *path)
{
	struct stat st;
	return lstat(at(path), &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == 0;
}

static int setup(void **state)
{
	if (geteuid() != 0)
		exit(77);
	return mkdtemp(root) ? 0 : -1;
}
static int teardown(void **state)
{
	(void)umount2(at("w/merged"), MNT_DETACH);
	(void)umount2(at("many/merged"), MNT_DETACH);
	return cs_remove_tree_at(AT_FDCWD, root);
}

static void life_of_a_layer(void **state)
{
	cs_autofree char *on_base = layers("base"), *on_two = layers("upper1 base");
	char v[4];

	/* a base from a folder, a second one on top with a whiteout and an opaque directory */
	assert_int_equal(cs_mkdir_p(AT_FDCWD, at("src/dir"), 0755), 0);
	put("src/file", "one");
	put("src/dir/low", "low");
	put("src/gone", "x");
	assert_int_equal(HcsImportLayer(at("base"), at("src"), NO_PARENTS), HCS_S_OK);
	assert_text("base/diff/file", "one");
	assert_false(has("base/layerchain.json"));
	assert_int_equal(cs_remove_tree_at(AT_FDCWD, at("src")), 0);
	assert_int_equal(cs_mkdir_p(AT_FDCWD, at("src/dir"), 0755), 0);
	put("src/dir/high", "high");
	assert_int_equal(setxattr(at("src/dir"), "trusted.overlay.opaque", "y", 1, 0), 0);
	assert_int_equal(mknod(at("src/gone"), S_IFCHR, 0), 0);
	assert_int_equal(mkdir(at("upper1"), 0755), 0); /* an empty directory is a place, too */
	assert_int_equal(HcsImportLayer(at("upper1"), at("src"), on_base), HCS_S_OK);
	assert_true(is_whiteout("upper1/diff/gone"));
	assert_int_equal(getxattr(at("upper1/diff/dir"), "trusted.overlay.opaque", v, sizeof(v)), 1);
	assert_true(has("upper1/layerchain.json"));
	assert_int_equal(HcsImportLayer(at("upper1"), at("src"), on_base), HCS_E_ALREADY_EXISTS);

	/* a writable one: what is seen, and what is changed */
	assert_int_equal(HcsInitializeWritableLayer(at("w"), on_two, NULL), HCS_S_OK);
	assert_int_equal(HcsAttachLayerStorageFilter(at("w"), on_two), HCS_S_OK);
	assert_int_equal(HcsAttachLayerStorageFilter(at("w"), on_two), HCS_E_INVALID_STATE);
	assert_text("w/merged/file", "one");
	assert_false(has("w/merged/gone") || has("w/merged/dir/low"));
	put("w/merged/new", "two");
	assert_int_equal(unlink(at("w/merged/file")), 0);
	assert_int_equal(HcsDestroyLayer(at("w")), HCS_E_INVALID_STATE);
	assert_int_equal(HcsDetachLayerStorageFilter(at("w")), HCS_S_OK);
	assert_int_equal(HcsDetachLayerStorageFilter(at("w")), HCS_E_INVALID_STATE);
	assert_false(has("w/merged/new"));
	cs_autofree char *union_fs = cs_xasprintf("%.*s,\"FilterType\":\"UnionFS\"}", (int)strlen(on_two) - 1, on_two);
	cs_autofree char *wcifs = cs_xasprintf("%.*s,\"FilterType\":\"WCIFS\"}", (int)strlen(on_two) - 1, on_two);
	assert_int_equal(HcsAttachOverlayFilter(at("w"), wcifs), HCS_E_NOT_SUPPORTED);
	assert_int_equal(HcsAttachLayerStorageFilter(at("w"), union_fs), HCS_E_INVALID_JSON);
	assert_int_equal(HcsAttachOverlayFilter(at("w"), union_fs), HCS_S_OK);
	assert_text("w/merged/new", "two");
	assert_int_equal(HcsDetachOverlayFilter(at("w"), union_fs), HCS_S_OK);

	/* its difference as an archive, and back */
	assert_int_equal(HcsExportLayer(at("w"), at("out"), on_two, "{\"IsWritableLayer\":true}"), HCS_S_OK);
	assert_int_equal(HcsExportLayer(at("w"), at("out"), on_two, NULL), HCS_E_INVALID_LAYER);
	assert_int_equal(HcsImportLayer(at("upper2"), at("out"), on_two), HCS_S_OK);
	assert_true(is_whiteout("upper2/diff/file"));
	assert_text("upper2/diff/new", "two");
	assert_int_equal(HcsExportLayer(at("base"), at("out2"), NO_PARENTS, "{\"IsWritableLayer\":false}"), HCS_S_OK);
	assert_int_equal(HcsImportLayer(at("copy"), at("out2"), NO_PARENTS), HCS_S_OK);
	assert_text("copy/diff/dir/low", "low");

	const char *all[] = {"w", "upper2", "upper1", "base", "copy"};
	for (size_t i = 0; i < CS_ARRAY_SIZE(all); i++) {
		assert_int_equal(HcsDestroyLayer(at(all[i])), HCS_S_OK);
		assert_false(has(all[i]));
	}
}

static int rest(void)
{
	int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC), n = 0;
	DIR *d = fdopendir(fd);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static void refusals(void **state)
{
	cs_autofree char *nowhere = layers("nowhere");
	static const char *const bad[] = {"", "x", "[]", "{}", "{\"SchemaVersion\":{\"Major\":1}}", "{\"SchemaVersion\":2}",
					  "{\"SchemaVersion\":{\"Major\":2},\"Layers\":{}}", "{\"SchemaVersion\":{\"Major\":2},\"Layers\":[1]}",
					  "{\"SchemaVersion\":{\"Major\":2},\"Layers\":[{\"Id\":\"x\"}]}",
					  "{\"SchemaVersion\":{\"Major\":2},\"Layers\":[{\"Path\":\"/\",\"More\":1}]}",
					  "{\"SchemaVersion\":{\"Major\":2},\"Other\":1}", "{\"SchemaVersion\":{\"Major\":2},\"Layers\":[],\"Layers\":[]}"};
	char *path = NULL;

	assert_int_equal(cs_mkdir_p(AT_FDCWD, at("bad"), 0755), 0);
	put("bad/layer.tar", "this is no archive, and long enough to be seen as one that is broken");
	int before = rest();
	for (size_t i = 0; i < CS_ARRAY_SIZE(bad); i++)
		assert_int_equal(HcsImportLayer(at("l"), at("bad"), bad[i]), HCS_E_INVALID_JSON);
	assert_int_equal(HcsImportLayer(NULL, at("bad"), NO_PARENTS), HCS_E_INVALIDARG);
	assert_int_equal(HcsImportLayer("relative", at("bad"), NO_PARENTS), HCS_E_INVALIDARG);
	assert_int_equal(HcsImportLayer("/", at("bad"), NO_PARENTS), HCS_E_INVALIDARG);
	assert_int_equal(HcsImportLayer(at("l"), at("bad"), NULL), HCS_E_INVALIDARG);
	assert_int_equal(HcsImportLayer(at("l"), at("bad"), NO_PARENTS), HCS_E_INVALID_LAYER);
	assert_int_equal(HcsImportLayer(at("l"), at("nothing"), NO_PARENTS), HCS_E_PATH_NOT_FOUND);
	assert_int_equal(HcsImportLayer(at("no/l"), at("bad"), NO_PARENTS), HCS_E_PATH_NOT_FOUND);
	assert_int_equal(HcsImportLayer(at("l"), at("bad"), nowhere), HCS_E_INVALID_LAYER);
	assert_int_equal(HcsInitializeWritableLayer(at("l"), NO_PARENTS, NULL), HCS_E_INVALID_LAYER);
	assert_int_equal(HcsInitializeWritableLayer(at("l"), nowhere, NULL), HCS_E_INVALID_LAYER);
	assert_int_equal(HcsInitializeWritableLayer(at("l"), NO_PARENTS, "{}"), HCS_E_INVALIDARG);
	assert_int_equal(HcsAttachLayerStorageFilter(at("l"), NO_PARENTS), HCS_E_PATH_NOT_FOUND);
	assert_int_equal(HcsAttachLayerStorageFilter(at("bad"), NO_PARENTS), HCS_E_INVALID_LAYER);
	assert_int_equal(HcsDetachLayerStorageFilter(at("l")), HCS_E_PATH_NOT_FOUND);
	assert_int_equal(HcsExportLayer(at("bad"), at("out"), NO_PARENTS, "{\"Other\":1}"), HCS_E_INVALID_JSON);
	assert_int_equal(HcsDestroyLayer(at("l")), HCS_E_PATH_NOT_FOUND);
	assert_int_equal(HcsDestroyLayer(at("bad")), HCS_E_INVALID_LAYER);
	assert_int_equal(HcsDestroyLayer("/"), HCS_E_INVALID_LAYER);
	assert_true(has("bad/layer.tar"));
	assert_int_equal(HcsSetupBaseOSLayer(at("l"), 0, NULL), HCS_E_NOT_SUPPORTED);
	assert_int_equal(HcsSetupBaseOSVolume(at("l"), at("v"), NULL), HCS_E_NOT_SUPPORTED);
	assert_int_equal(HcsFormatWritableLayerVhd(0), HCS_E_NOT_SUPPORTED);
	assert_int_equal(HcsGetLayerVhdMountPath(0, &path), HCS_E_NOT_SUPPORTED);
	assert_int_equal(HcsExportLegacyWritableLayer(at("l"), at("l"), at("o"), NO_PARENTS), HCS_E_NOT_SUPPORTED);
	assert_int_equal(HcsInitializeLegacyWritableLayer(at("l"), at("l"), NO_PARENTS, NULL), HCS_E_NOT_SUPPORTED);
	assert_int_equal(rest(), before); /* nothing half-made */
}

/* More layers than names of them fit into a page of options. */
static void many_layers(void **state)
{
	const int counts[] = {128, 300, 500};
	struct rlimit lim = {2048, 2048};
	char *names = cs_xstrdup("");

	(void)setrlimit(RLIMIT_NOFILE, &lim);
	for (int i = 0; i < 500; i++) {
		char dir[64], name[64];
		(void)snprintf(dir, sizeof(dir), "n%03d", i);
		(void)snprintf(name, sizeof(name), "n%03d/diff/f%03d", i, i);
		assert_int_equal(cs_mkdir_p(AT_FDCWD, at(dir), 0755), 0);
		(void)snprintf(dir, sizeof(dir), "n%03d/diff", i);
		assert_int_equal(cs_mkdir_p(AT_FDCWD, at(dir), 0755), 0);
		put(name, "x");
		(void)snprintf(name, sizeof(name), "n%03d/diff/same", i);
		(void)snprintf(dir, sizeof(dir), "%d", i);
		put(name, dir);
	}
	for (size_t c = 0; c < CS_ARRAY_SIZE(counts); c++) {
		free(names);
		names = cs_xstrdup("");
		for (int i = 0; i < counts[c]; i++) {
			char *next = cs_xasprintf("%s n%03d", names, i);
			free(names);
			names = next;
		}
		cs_autofree char *data = layers(names);
		assert_int_equal(HcsInitializeWritableLayer(at("many"), data, NULL), HCS_S_OK);
		assert_int_equal(HcsAttachLayerStorageFilter(at("many"), data), HCS_S_OK);
		char last[64];
		(void)snprintf(last, sizeof(last), "many/merged/f%03d", counts[c] - 1);
		assert_text(last, "x");
		assert_text("many/merged/same", "0");
		assert_int_equal(HcsDetachLayerStorageFilter(at("many")), HCS_S_OK);
		assert_int_equal(HcsDestroyLayer(at("many")), HCS_S_OK);
	}
	free(names);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(life_of_a_layer), cmocka_unit_test(refusals), cmocka_unit_test(many_layers)};
	return cmocka_run_group_tests(tests, setup, teardown);
}
