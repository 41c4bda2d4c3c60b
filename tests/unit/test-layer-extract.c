/* SPDX-License-Identifier: Apache-2.0
 *
 * Hostile archives, built here with libarchive's writer: nothing outside of the layer may change. Needs root for device nodes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <locale.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "base/io.h"
#include "computestorage.h"

static char root[] = "/tmp/caisson-extract-XXXXXX";
static struct cs_storage *storage;

struct item {
	const char *path;
	mode_t type; /* AE_IF* */
	const char *data; /* content, link target */
	bool hard;
	unsigned mode;
	const char *xattr;
};
struct tar {
	char buf[1 << 20];
	size_t len, pos;
};
static ssize_t tar_read(void *ctx, void *buf, size_t max)
{
	struct tar *t = ctx;
	size_t n = CS_MIN(max, CS_MIN(t->len - t->pos, 777u)); /* odd pieces on purpose */
	memcpy(buf, t->buf + t->pos, n);
	t->pos += n;
	return (ssize_t)n;
}

static struct tar *make(const struct item *it, size_t n, int filter)
{
	struct tar *t = cs_xcalloc(1, sizeof(*t));
	struct archive *a = archive_write_new();
	archive_write_set_format_pax(a);
	archive_write_add_filter(a, filter);
	archive_write_open_memory(a, t->buf, sizeof(t->buf), &t->len);
	for (size_t i = 0; i < n; i++) {
		struct archive_entry *e = archive_entry_new();
		archive_entry_set_pathname(e, it[i].path);
		archive_entry_set_perm(e, it[i].mode ? it[i].mode : 0644);
		archive_entry_set_mtime(e, 1000000000, 123456789);
		if (it[i].hard)
			archive_entry_set_hardlink(e, it[i].data);
		else
			archive_entry_set_filetype(e, it[i].type);
		if (it[i].type == AE_IFLNK && !it[i].hard)
			archive_entry_set_symlink(e, it[i].data);
		if (it[i].type == AE_IFREG && !it[i].hard)
			archive_entry_set_size(e, it[i].data ? (int64_t)strlen(it[i].data) : 0);
		if (it[i].xattr)
			archive_entry_xattr_add_entry(e, it[i].xattr, "y", 1);
		assert_int_equal(archive_write_header(a, e), ARCHIVE_OK);
		if (it[i].type == AE_IFREG && it[i].data && !it[i].hard)
			archive_write_data(a, it[i].data, strlen(it[i].data));
		archive_entry_free(e);
	}
	archive_write_close(a);
	archive_write_free(a);
	return t;
}

static int unpack(const struct item *it, size_t n, int filter, struct cs_layer_result *res, struct cs_err **err)
{
	struct tar *t = make(it, n, filter);
	struct cs_layer_source src = {.read = tar_read, .ctx = t, .store_blob = true};
	int r = cs_layer_unpack(storage, &src, res, err);
	free(t);
	return r;
}

static int entries(const char *dir)
{
	cs_autofree char *cmd = cs_xasprintf("%s/%s", root, dir);
	struct archive *a = archive_read_disk_new();
	struct archive_entry *e = archive_entry_new();
	int n = -1;
	archive_read_disk_open(a, cmd);
	while (archive_read_next_header2(a, e) == ARCHIVE_OK) {
		archive_read_disk_descend(a);
		n++;
	}
	archive_entry_free(e);
	archive_read_free(a);
	return n;
}

static int setup(void **state)
{
	if (geteuid() != 0)
		exit(77);
	if (!mkdtemp(root) || cs_storage_open(root, &storage, NULL) < 0)
		return -1;
	int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = cs_replace_file_at(fd, "canary", "safe", 4, 0600, false);
	cs_close(fd);
	return r;
}
static int teardown(void **state)
{
	cs_storage_close(storage);
	return cs_remove_tree_at(AT_FDCWD, root);
}

static void canary(void)
{
	cs_autofree char *p = cs_xasprintf("%s/canary", root);
	cs_autostr struct cs_str s = CS_STR_INIT(100);
	struct stat st;
	assert_int_equal(cs_read_file_at(AT_FDCWD, p, &s), 0);
	assert_string_equal(s.buf, "safe");
	assert_int_equal(stat(p, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(st.st_nlink, 1);
}

#define REG AE_IFREG
#define DIR_ AE_IFDIR
#define LNK AE_IFLNK
/* "@" in a link's target stands for the scratch root */
static void hostile(void **state)
{
	char up[256];
	(void)snprintf(up, sizeof(up), "%s/canary", root);
	const struct {
		const char *name;
		struct item it[4];
		size_t n;
		bool refuse;
	} t[] = {
		{"..", {{"../canary", REG, "evil"}}, 1, true},
		{"deep ..", {{"a/../../../canary", REG, "evil"}}, 1, true},
		{"absolute goes below", {{up, REG, "evil"}}, 1, false},
		{"write through link", {{"l", LNK, up}, {"l", REG, "evil"}}, 2, false},
		{"write below link", {{"d", LNK, root}, {"d/canary", REG, "evil"}}, 2, true},
		{"dir replaced by link", {{"d/", DIR_, NULL, false, 0755}, {"d", LNK, root}, {"d/canary", REG, "evil"}}, 3, true},
		{"chmod through link", {{"l", LNK, up}, {"l/", DIR_, NULL, false, 0777}}, 2, false},
		{"hard link out", {{"h", REG, up, true}}, 1, true},
		{"hard link ..", {{"h", REG, "../../canary", true}}, 1, true},
		{"hard link via link", {{"d", LNK, root}, {"h", REG, "d/canary", true}}, 2, true},
		{"hard link to link, then write", {{"l", LNK, up}, {"h", REG, "l", true}, {"h", REG, "evil"}}, 3, false},
		{"whiteout ..", {{".wh...", REG, ""}}, 1, true},
		{"whiteout .", {{".wh..", REG, ""}}, 1, true},
		{"whiteout empty", {{".wh.", REG, ""}}, 1, true},
		{"whiteout below link", {{"d", LNK, root}, {"d/.wh.canary", REG, ""}}, 2, true},
		{"opaque below link", {{"d", LNK, root}, {"d/.wh..wh..opq", REG, ""}}, 2, true},
		{"root as file", {{"./", LNK, up}}, 1, true},
	};
	for (size_t i = 0; i < CS_ARRAY_SIZE(t); i++) {
		struct cs_layer_result res;
		cs_autoerr struct cs_err *e = NULL;
		int r = unpack(t[i].it, t[i].n, ARCHIVE_FILTER_NONE, &res, &e);
		canary();
		if (t[i].refuse != (r < 0))
			fail_msg("%s: %s", t[i].name, r < 0 ? e->msg : "accepted");
		if (r < 0)
			assert_int_equal(e->code, CS_ERR_INVALID);
		assert_int_equal(entries("tmp"), 0); /* nothing half-made stays */
	}
}

static void content(void **state)
{
	const struct item it[] = {{"./", DIR_, NULL, false, 0751}, {"a/b/c", REG, "hello", false, 04711}, {"a/h", REG, "a/b/c", true, 04711}, {"l", LNK, "a/b"},
				  {"a/.wh.gone", REG, ""}, {"o/", DIR_, NULL, false, 0700}, {"o/.wh..wh..opq", REG, ""}, {"fifo", AE_IFIFO, NULL},
				  {"d\xc3\xa9j\xc3\xa0", REG, "utf8"}, {"x", REG, "1", false, 0, "trusted.overlay.redirect"}, {"dup", REG, "one"}, {"dup", REG, "two!"}};
	const int filters[] = {ARCHIVE_FILTER_NONE, ARCHIVE_FILTER_GZIP, ARCHIVE_FILTER_BZIP2, ARCHIVE_FILTER_XZ, ARCHIVE_FILTER_ZSTD};
	struct cs_layer_result res, first = {0};

	for (size_t i = 0; i < CS_ARRAY_SIZE(filters); i++) {
		cs_autoerr struct cs_err *e = NULL;
		if (unpack(it, CS_ARRAY_SIZE(it), filters[i], &res, &e) < 0)
			fail_msg("%s", e->msg);
		if (i == 0)
			first = res;
		/* compression does not change what a layer is */
		assert_string_equal(first.diff_id.s, res.diff_id.s);
		/* and what is stored is a valid layer blob of that diff id */
		cs_autofd int fd = -EBADF;
		assert_int_equal(cs_blob_open(storage, &res.blob, &fd, NULL, NULL), 0);
	}
	assert_int_equal(res.size, 5 + 4 + 1 + 3 + 4 + (int)strlen("a/b"));
	cs_autofree char *dir = cs_layer_path(storage, &res.chain_id);
	assert_int_equal(chdir(dir), 0);
	struct stat st, h;
	assert_int_equal(lstat(".", &st), 0);
	assert_int_equal(st.st_mode & 07777, 0751);
	assert_int_equal(lstat("a/b/c", &st), 0);
	assert_int_equal(st.st_mode & 07777, 04711);
	assert_int_equal(st.st_mtim.tv_sec, 1000000000);
	assert_int_equal(st.st_mtim.tv_nsec, 123456789);
	assert_int_equal(lstat("a/h", &h), 0);
	assert_int_equal(h.st_ino, st.st_ino);
	assert_int_equal(lstat("a/gone", &st), 0);
	assert_true(S_ISCHR(st.st_mode) && st.st_rdev == 0);
	char v[4];
	assert_int_equal(getxattr("o", "trusted.overlay.opaque", v, 4), 1);
	assert_int_equal(getxattr("x", "trusted.overlay.redirect", v, 4), -1);
	assert_int_equal(access("d\xc3\xa9j\xc3\xa0", F_OK), 0);
	assert_int_equal(lstat("dup", &st), 0);
	assert_int_equal(st.st_size, 4);
	assert_int_equal(chdir("/"), 0);
	assert_int_equal(cs_layer_remove(storage, &res.chain_id, NULL), 0);
	assert_false(cs_layer_exists(storage, &res.chain_id));
}

static void malformed(void **state)
{
	struct tar *t = cs_xcalloc(1, sizeof(*t));
	struct cs_layer_result res;
	struct cs_layer_source src = {.read = tar_read, .ctx = t, .store_blob = true};
	cs_autoerr struct cs_err *e = NULL;

	memset(t->buf, 'x', 5000);
	t->len = 5000;
	assert_int_equal(cs_layer_unpack(storage, &src, &res, &e), -1);
	assert_int_equal(e->code, CS_ERR_INVALID);
	free(t);
	/* cut in the middle, plain and compressed */
	char big[20000];
	memset(big, 'a', sizeof(big) - 1);
	big[sizeof(big) - 1] = 0;
	const struct item it[] = {{"f", REG, big}};
	const int filters[] = {ARCHIVE_FILTER_NONE, ARCHIVE_FILTER_GZIP, ARCHIVE_FILTER_XZ, ARCHIVE_FILTER_ZSTD};
	for (size_t i = 0; i < CS_ARRAY_SIZE(filters); i++) {
		cs_autoerr struct cs_err *cut = NULL;
		t = make(it, 1, filters[i]);
		t->len = i ? t->len / 2 : 9000;
		src.ctx = t;
		assert_int_equal(cs_layer_unpack(storage, &src, &res, &cut), -1);
		assert_int_equal(cut->code, CS_ERR_INVALID);
		free(t);
	}
	assert_int_equal(entries("tmp"), 0);
}

/* Layers are unpacked before anybody knows what they stand on, and published together. */
static void staged(void **state)
{
	const struct item a[] = {{"a", REG, "1"}}, b[] = {{"b", REG, "2"}};
	struct cs_layer_stage *st[2] = {NULL}, *again;
	struct cs_layer_result r[2], third;
	struct cs_digest chain[2], want, one;
	int before = entries("layers");

	for (size_t i = 0; i < 2; i++) {
		struct tar *t = make(i ? b : a, 1, ARCHIVE_FILTER_GZIP);
		struct cs_digest is, wrong = {"sha256:0000000000000000000000000000000000000000000000000000000000000000"};
		cs_autoerr struct cs_err *e = NULL;
		cs_hash_data(t->buf, t->len, &is);
		struct cs_layer_source src = {.read = tar_read, .ctx = t, .store_blob = true, .blob = &wrong};
		assert_int_equal(cs_layer_stage(storage, &src, &again, &third, &e), -1);
		assert_int_equal(e->code, CS_ERR_INVALID);
		t->pos = 0;
		src.blob = &is;
		assert_int_equal(cs_layer_stage(storage, &src, &st[i], &r[i], NULL), 0);
		assert_string_equal(r[i].blob.s, is.s);
		assert_string_equal(r[i].chain_id.s, "");
		free(t);
	}
	assert_int_not_equal(entries("tmp"), 0);
	assert_int_equal(entries("layers"), before);
	assert_int_equal(cs_layers_publish(st, 2, NULL, chain, NULL), 0);
	assert_string_equal(chain[0].s, r[0].diff_id.s);
	cs_chain_id(&r[0].diff_id, &r[1].diff_id, &want);
	assert_string_equal(chain[1].s, want.s);
	assert_true(cs_layer_exists(storage, &chain[0]) && cs_layer_exists(storage, &chain[1]));
	/* a second one of the same content goes, a dropped one too */
	for (int drop = 0; drop < 2; drop++) {
		struct tar *t = make(b, 1, ARCHIVE_FILTER_NONE);
		struct cs_layer_source src = {.read = tar_read, .ctx = t};
		assert_int_equal(cs_layer_stage(storage, &src, &again, &third, NULL), 0);
		if (drop)
			cs_layer_drop(again);
		else {
			assert_int_equal(cs_layer_publish(again, &chain[0], &one, NULL), 0);
			assert_string_equal(one.s, chain[1].s);
		}
		free(t);
	}
	assert_int_equal(entries("tmp"), 0);
	assert_int_equal(cs_layer_remove(storage, &chain[0], NULL), 0);
	assert_int_equal(cs_layer_remove(storage, &chain[1], NULL), 0);
}

/* A hole of `size` bytes, as GNU tar writes it. */
static void put_hole(struct tar *t, const char *name, uint64_t size)
{
	char *h = t->buf + t->len;
	unsigned sum = 0;

	memset(h, 0, 512);
	(void)snprintf(h, 100, "%s", name);
	memcpy(h + 100, "0000644", 8);
	memcpy(h + 108, "0000000", 8);
	memcpy(h + 116, "0000000", 8);
	memcpy(h + 124, "00000000000", 12);
	memcpy(h + 136, "00000000000", 12);
	memset(h + 148, ' ', 8);
	h[156] = 'S';
	memcpy(h + 257, "ustar  ", 8);
	h[483] = (char)0x80; /* real size, base 256 */
	for (int i = 0; i < 8; i++)
		h[494 - i] = (char)(size >> (8 * i));
	for (int i = 0; i < 512; i++)
		sum += (unsigned char)h[i];
	(void)snprintf(h + 148, 8, "%06o", sum);
	t->len += 512;
}

/* Sizes of sparse files cost nothing: their sum must not overflow. On tmpfs, which takes files of 8 EiB. */
static void endless_holes(void **state)
{
	char dir[] = "/dev/shm/caisson-extract-XXXXXX";
	struct cs_storage *s = NULL;
	cs_autofree struct tar *t = cs_xcalloc(1, sizeof(*t));
	struct cs_layer_source src = {.read = tar_read, .ctx = t};
	struct cs_layer_result res;
	cs_autoerr struct cs_err *e = NULL;

	if (!mkdtemp(dir))
		skip();
	assert_int_equal(cs_storage_open(dir, &s, NULL), 0);
	put_hole(t, "a", INT64_MAX - 4096);
	put_hole(t, "b", INT64_MAX - 4096);
	put_hole(t, "c", INT64_MAX - 4096);
	t->len += 1024;
	int r = cs_layer_unpack(s, &src, &res, &e);
	cs_storage_close(s);
	assert_int_equal(cs_remove_tree_at(AT_FDCWD, dir), 0);
	assert_int_equal(r, -1);
	assert_int_equal(e->code, CS_ERR_INVALID);
}

/* As many attributes as fit into a header are compared with each other: minutes for an archive of some MB. */
static void attributes(void **state)
{
	struct item it = {"f", REG, "x"};
	struct cs_layer_result res;
	cs_autoerr struct cs_err *e = NULL;
	cs_autofree struct tar *t = cs_xcalloc(1, sizeof(*t));
	struct archive *a = archive_write_new();
	struct archive_entry *entry = archive_entry_new();

	archive_write_set_format_pax(a);
	archive_write_open_memory(a, t->buf, sizeof(t->buf), &t->len);
	archive_entry_set_pathname(entry, it.path);
	archive_entry_set_filetype(entry, it.type);
	archive_entry_set_perm(entry, 0644);
	for (unsigned i = 0; i < 5000; i++) {
		char name[32];
		(void)snprintf(name, sizeof(name), "other.%u", i);
		archive_entry_xattr_add_entry(entry, name, "y", 1);
	}
	assert_int_equal(archive_write_header(a, entry), ARCHIVE_OK);
	archive_entry_free(entry);
	archive_write_close(a);
	archive_write_free(a);
	struct cs_layer_source src = {.read = tar_read, .ctx = t};
	assert_int_equal(cs_layer_unpack(storage, &src, &res, &e), -1);
	assert_int_equal(e->code, CS_ERR_INVALID);
}

int main(void)
{
	(void)setlocale(LC_CTYPE, "C.UTF-8"); /* for the writer's names */
	const struct CMUnitTest tests[] = {cmocka_unit_test(hostile), cmocka_unit_test(content), cmocka_unit_test(malformed), cmocka_unit_test(staged),
					   cmocka_unit_test(endless_holes), cmocka_unit_test(attributes)};
	return cmocka_run_group_tests(tests, setup, teardown);
}
