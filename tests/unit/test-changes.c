/* SPDX-License-Identifier: Apache-2.0
 *
 * Changes of a container: the writable layer is made by hand, as overlayfs would. Needs root for whiteouts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "base/io.h"
#include "engine/image_internal.h"

static struct cs_container box;
static char root[] = "/tmp/caisson-changes-XXXXXX";

int cs_container_get(struct cs_engine *e, const char *ref, struct cs_container **ret, struct cs_err **err)
{
	*ret = &box;
	return 0;
}
void cs_container_unref(struct cs_container *c) {}
static struct cs_digest lower;
int cs_snapshot_layers(struct cs_engine *e, const char *id, char ***dirs, char ***ids, struct cs_err **err)
{
	*ids = NULL;
	cs_strv_push(ids, lower.s);
	return 0;
}

static void kinds(void **state)
{
	struct cs_images m = {0};
	struct cs_engine e = {.images = &m};
	cs_autostr struct cs_str out = CS_STR_INIT(65536);

	if (geteuid() != 0)
		exit(77);
	assert_non_null(mkdtemp(root));
	assert_int_equal(cs_storage_open(root, &m.storage, NULL), 0);
	cs_hash_data("x", 1, &lower);
	cs_autofree char *diff = cs_layer_path(m.storage, &lower);
	assert_int_equal(cs_mkdir_p(AT_FDCWD, diff, 0755), 0);
	assert_int_equal(chdir(diff), 0);
	assert_int_equal(mkdir("etc", 0755) | mkdir("opq", 0755), 0);
	assert_int_equal(cs_replace_file_at(AT_FDCWD, "etc/old", "1", 1, 0644, false) | cs_replace_file_at(AT_FDCWD, "etc/gone", "1", 1, 0644, false) |
				 cs_replace_file_at(AT_FDCWD, "opq/a", "1", 1, 0644, false) | cs_replace_file_at(AT_FDCWD, "opq/lost", "1", 1, 0644, false),
			 0);
	assert_int_equal(cs_snap_create(m.storage, "box", &lower, NULL), 0);
	cs_autofree char *snap = cs_snap_path(m.storage, "box"), *upper = cs_xasprintf("%s/upper", snap);
	memcpy(box.id, "box", 4);
	assert_int_equal(cs_container_changes(&e, "box", &out, NULL), 0);
	assert_string_equal(out.buf, "null");
	assert_int_equal(chdir(upper), 0);
	assert_int_equal(mkdir("etc", 0755) | mkdir("opq", 0755) | mkdir("new", 0755), 0);
	assert_int_equal(cs_replace_file_at(AT_FDCWD, "etc/old", "2", 1, 0644, false) | cs_replace_file_at(AT_FDCWD, "new/f", "1", 1, 0644, false) |
				 cs_replace_file_at(AT_FDCWD, "opq/a", "1", 1, 0644, false),
			 0);
	assert_int_equal(mknod("etc/gone", S_IFCHR, makedev(0, 0)) | mknod("etc/never", S_IFCHR, makedev(0, 0)), 0);
	assert_int_equal(setxattr("opq", "trusted.overlay.opaque", "y", 1, 0), 0);
	cs_str_clear(&out);
	assert_int_equal(cs_container_changes(&e, "box", &out, NULL), 0);
	assert_string_equal(out.buf, "[{\"Path\":\"/etc\",\"Kind\":0},{\"Path\":\"/etc/gone\",\"Kind\":2},{\"Path\":\"/etc/old\",\"Kind\":0},"
				     "{\"Path\":\"/new\",\"Kind\":1},{\"Path\":\"/new/f\",\"Kind\":1},{\"Path\":\"/opq\",\"Kind\":0},{\"Path\":\"/opq/a\",\"Kind\":0},{\"Path\":\"/opq/lost\",\"Kind\":2}]");
	assert_int_equal(chdir("/"), 0);
	cs_storage_close(m.storage);
	assert_int_equal(cs_remove_tree_at(AT_FDCWD, root), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(kinds)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
