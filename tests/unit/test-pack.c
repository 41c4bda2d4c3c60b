/* SPDX-License-Identifier: Apache-2.0
 *
 * The tar writer's bytes, and the packing of trees that change meanwhile. What needs root (owners, devices) is in tests/integration. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "base/io.h"
#include "storage/pack.h"
#include "storage/tar_write.h"

struct sink {
	struct cs_str s;
	size_t fail_at; /* 0 = never */
	void (*on)(struct sink *k);
	int dir;
};

static int put(void *ctx, const void *data, size_t len)
{
	struct sink *k = ctx;

	if (k->fail_at && k->s.len + len > k->fail_at)
		return -ENOSPC;
	cs_str_put(&k->s, data, len);
	if (k->on)
		k->on(k);
	return 0;
}

static size_t octal(const char *p, size_t n)
{
	size_t v = 0;
	for (size_t i = 0; i < n && p[i]; i++)
		v = v * 8 + (size_t)(p[i] - '0');
	return v;
}

/* The n-th block that is a header of type t, or NULL. */
static const char *header(const struct sink *k, char t, unsigned n)
{
	for (size_t at = 0; at + 512 <= k->s.len && k->s.buf[at];) {
		const char *h = k->s.buf + at;
		unsigned sum = 0;
		assert_memory_equal(h + 257, "ustar\00000", 8);
		for (size_t i = 0; i < 512; i++)
			sum += i >= 148 && i < 156 ? ' ' : (unsigned char)h[i];
		assert_int_equal(octal(h + 148, 6), sum);
		if (h[156] == t && n-- == 0)
			return h;
		at += 512 + (octal(h + 124, 11) + 511) / 512 * 512;
	}
	return NULL;
}

static void one(struct sink *k, const struct cs_tar_entry *e)
{
	cs_autotar struct cs_tar_writer *w = cs_tar_new(put, k);

	cs_str_init(&k->s, 64u << 20);
	assert_int_equal(cs_tar_header(w, e), 0);
	assert_int_equal(cs_tar_end(w), 0);
}

static void test_plain(void **state)
{
	struct sink k = {0};
	struct cs_tar_entry e = {.name = "etc/passwd", .type = CS_TAR_FILE, .mode = 04755, .uid = 2097151, .gid = 7, .mtime = {.tv_sec = 1600000000}};

	(void)state;
	one(&k, &e);
	assert_int_equal(k.s.len, 3 * 512); /* no records */
	const char *h = header(&k, '0', 0);
	assert_string_equal(h, "etc/passwd");
	assert_string_equal(h + 100, "0004755");
	assert_string_equal(h + 108, "7777777");
	assert_string_equal(h + 136, "13727410000");
	cs_str_done(&k.s);
}

static void test_records(void **state)
{
	char name[256];
	(void)state;
	memset(name, 'n', sizeof(name) - 1);
	name[255] = 0;
	name[150] = '/';
	static const struct cs_tar_xattr xattrs[] = {{"user.a", "b\0=\n", 4}};
	const struct {
		struct cs_tar_entry e;
		const char *record;
		size_t len;
	} cases[] = {
		{{.name = "f", .uid = 2097152}, "15 uid=2097152\n", 15},
		{{.name = "f", .gid = 4294967294}, "18 gid=4294967294\n", 18},
		{{.name = "f", .size = 8589934592}, "19 size=8589934592\n", 19},
		{{.name = "f", .mtime = {.tv_sec = 1, .tv_nsec = 500000000}}, "13 mtime=1.5\n", 13},
		{{.name = "f", .mtime = {.tv_sec = -2, .tv_nsec = 500000000}}, "14 mtime=-1.5\n", 14},
		{{.name = "f", .mtime = {.tv_sec = -1, .tv_nsec = 250000000}}, "15 mtime=-0.75\n", 15},
		{{.name = "f", .mtime = {.tv_sec = 10, .tv_nsec = 1}}, "22 mtime=10.000000001\n", 22},
		{{.name = "f", .mtime = {.tv_sec = 8589934592}}, "20 mtime=8589934592\n", 20},
		{{.name = "s\xc3\xbc\xc3\x9f"}, "14 path=s\xc3\xbc\xc3\x9f\n", 14},
		{{.name = name}, "265 path=nnnn", 13},
		{{.name = "l", .type = CS_TAR_SYMLINK, .link = name}, "269 linkpath=nn", 15},
		{{.name = "f", .xattrs = xattrs, .n_xattrs = 1}, "28 SCHILY.xattr.user.a=b\0=\n\n", 28},
	};
	for (size_t i = 0; i < CS_ARRAY_SIZE(cases); i++) {
		struct sink k = {0};
		struct cs_tar_entry e = cases[i].e;
		e.type = e.type ? e.type : CS_TAR_FILE;
		one(&k, &e);
		const char *h = header(&k, 'x', 0);
		assert_non_null(h);
		assert_memory_equal(h + 512, cases[i].record, cases[i].len);
		cs_str_done(&k.s);
	}
}

/* Lengths around those where the number's own digits change it. */
static void test_record_lengths(void **state)
{
	(void)state;
	for (size_t n = 101; n < 1100; n++) {
		struct sink k = {0};
		cs_autofree char *name = cs_xmalloc(n + 1);
		memset(name, 'x', n);
		name[n] = 0;
		one(&k, &(struct cs_tar_entry){.name = name, .type = CS_TAR_FILE});
		const char *h = header(&k, 'x', 0);
		size_t len = octal(h + 124, 11), told = strtoul(h + 512, NULL, 10); /* NOLINT: test */
		assert_int_equal(len, told);
		assert_int_equal(h[512 + len - 1], '\n');
		cs_str_done(&k.s);
	}
}

/* Not UTF-8: short names stay raw in the header, long ones are marked. */
static void test_binary_names(void **state)
{
	struct sink k = {0};
	char name[150];

	(void)state;
	one(&k, &(struct cs_tar_entry){.name = "\xff\xfe", .type = CS_TAR_FILE});
	assert_null(header(&k, 'x', 0));
	assert_string_equal(header(&k, '0', 0), "\xff\xfe");
	cs_str_done(&k.s);
	memset(name, '\xff', sizeof(name) - 1);
	name[149] = 0;
	k = (struct sink){0};
	one(&k, &(struct cs_tar_entry){.name = name, .type = CS_TAR_FILE});
	assert_memory_equal(header(&k, 'x', 0) + 512, "21 hdrcharset=BINARY\n", 21);
	cs_str_done(&k.s);
}

static void test_records_too_large(void **state)
{
	struct sink k = {0};
	cs_autofree char *big = cs_xcalloc(1, 2u << 20);
	struct cs_tar_xattr x = {"user.big", big, 2u << 20};
	cs_autotar struct cs_tar_writer *w = cs_tar_new(put, &k);

	(void)state;
	cs_str_init(&k.s, 1 << 20);
	assert_int_equal(cs_tar_header(w, &(struct cs_tar_entry){.name = "f", .type = CS_TAR_FILE, .xattrs = &x, .n_xattrs = 1}), -E2BIG);
	assert_int_equal(cs_tar_header(w, &(struct cs_tar_entry){.name = "g", .type = CS_TAR_FILE}), 0); /* it can go on */
	assert_int_equal(cs_tar_end(w), 0);
	assert_string_equal(header(&k, '0', 0), "g");
	cs_str_done(&k.s);
}

/* ---- trees ---- */

static char dir[] = "/tmp/caisson-pack-XXXXXX";
static int dirfd_;

static void write_at(int at, const char *name, const void *data, size_t len)
{
	cs_autofd int fd = openat(at, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(cs_write_full(fd, data, len), 0);
}

static int setup(void **state)
{
	(void)state;
	assert_non_null(mkdtemp(dir));
	dirfd_ = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return dirfd_ < 0;
}

static int teardown(void **state)
{
	(void)state;
	cs_close(dirfd_);
	return cs_remove_tree_at(AT_FDCWD, dir) < 0;
}

static void fresh(const char *name)
{
	(void)cs_remove_tree_at(dirfd_, name);
	assert_int_equal(mkdirat(dirfd_, name, 0755), 0);
}

static int pack(struct sink *k, const char *path, const char *as)
{
	struct cs_tar_tree t = {.path = path, .as = as};
	cs_autoerr struct cs_err *err = NULL;

	cs_str_init(&k->s, 64u << 20);
	return cs_tar_tree(dirfd_, &t, put, k, &err);
}

static void test_order_and_names(void **state)
{
	struct sink k = {0}, again = {0};

	(void)state;
	fresh("t");
	assert_int_equal(mkdirat(dirfd_, "t/b", 0755), 0);
	write_at(dirfd_, "t/b/2", "two", 3);
	write_at(dirfd_, "t/b/1", "one", 3);
	write_at(dirfd_, "t/a", "", 0);
	assert_int_equal(linkat(dirfd_, "t/b/1", dirfd_, "t/z", 0), 0);
	assert_int_equal(symlinkat("../..", dirfd_, "t/up"), 0);
	assert_int_equal(pack(&k, "t", "x"), 0);
	assert_string_equal(header(&k, '5', 0), "x/");
	assert_string_equal(header(&k, '5', 1), "x/b/");
	assert_string_equal(header(&k, '0', 0), "x/a");
	assert_string_equal(header(&k, '0', 1), "x/b/1");
	assert_string_equal(header(&k, '0', 2), "x/b/2");
	assert_string_equal(header(&k, '1', 0), "x/z");
	assert_string_equal(header(&k, '1', 0) + 157, "x/b/1");
	assert_string_equal(header(&k, '2', 0) + 157, "../..");
	assert_int_equal(pack(&again, "t", "x"), 0);
	assert_int_equal(k.s.len, again.s.len);
	assert_memory_equal(k.s.buf, again.s.buf, k.s.len);
	cs_str_done(&k.s);
	cs_str_done(&again.s);
	/* a link in the path stays inside of the root; the last part is not followed */
	assert_int_equal(symlinkat("/t", dirfd_, "abs"), 0);
	k = (struct sink){0};
	assert_int_equal(pack(&k, "abs/b/1", "one"), 0);
	assert_string_equal(header(&k, '0', 0), "one");
	cs_str_done(&k.s);
	k = (struct sink){0};
	assert_int_equal(pack(&k, "abs", "l"), 0);
	assert_string_equal(header(&k, '2', 0), "l");
	cs_str_done(&k.s);
	k = (struct sink){0};
	assert_int_equal(pack(&k, "../../../../../../etc/passwd", "p"), -1);
	cs_str_done(&k.s);
}

static void shrink(struct sink *k) { assert_int_equal(ftruncate(k->dir, 1000), 0); }
static void grow(struct sink *k) { assert_int_equal(ftruncate(k->dir, 50 << 20), 0); }

static void test_file_changes_while_read(void **state)
{
	void (*const fns[])(struct sink *k) = {shrink, grow};
	cs_autofree char *data = cs_xmalloc(2u << 20);

	(void)state;
	memset(data, 'd', 2u << 20);
	for (size_t i = 0; i < CS_ARRAY_SIZE(fns); i++) {
		struct sink k = {.on = fns[i]};
		fresh("t");
		write_at(dirfd_, "t/f", data, 2u << 20);
		write_at(dirfd_, "t/g", "after", 5);
		k.dir = openat(dirfd_, "t/f", O_RDWR | O_CLOEXEC);
		assert_int_equal(pack(&k, "t", ""), 0);
		const char *h = header(&k, '0', 0);
		assert_int_equal(octal(h + 124, 11), 2u << 20);
		assert_int_equal(h[512], 'd');
		assert_int_equal(h[512 + (2u << 20) - 1], fns[i] == shrink ? 0 : 'd');
		assert_string_equal(header(&k, '0', 1), "g");
		cs_close(k.dir);
		cs_str_done(&k.s);
	}
}

static void remove_rest(struct sink *k)
{
	(void)k;
	(void)cs_remove_tree_at(dirfd_, "t/m");
	(void)unlinkat(dirfd_, "t/z", 0);
}

static void test_entries_vanish(void **state)
{
	cs_autofree char *data = cs_xcalloc(1, 2u << 20);
	struct sink k = {.on = remove_rest};

	(void)state;
	fresh("t");
	write_at(dirfd_, "t/a", data, 2u << 20);
	assert_int_equal(mkdirat(dirfd_, "t/m", 0755), 0);
	write_at(dirfd_, "t/m/x", "x", 1);
	write_at(dirfd_, "t/z", "z", 1);
	assert_int_equal(pack(&k, "t", ""), 0);
	assert_non_null(header(&k, '0', 0));
	assert_null(header(&k, '0', 1));
	assert_null(header(&k, '5', 0));
	cs_str_done(&k.s);
}

/* Deeper than descriptors may be open; going up, the walk opens directories again. */
static void test_deep(void **state)
{
	struct sink k = {0};
	cs_autofd int at = -EBADF;
	unsigned n = 0;

	(void)state;
	fresh("t");
	at = openat(dirfd_, "t", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (unsigned i = 0; i < 500; i++) {
		write_at(at, "z", "z", 1);
		assert_int_equal(mkdirat(at, "d", 0755), 0);
		int next = openat(at, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		cs_close(at);
		at = next;
	}
	assert_int_equal(pack(&k, "t", ""), 0);
	while (header(&k, '0', n))
		n++;
	assert_int_equal(n, 500);
	cs_str_done(&k.s);
}

static void test_too_deep(void **state)
{
	struct sink k = {0};
	cs_autofd int at = -EBADF;
	char name[201];

	(void)state;
	fresh("t");
	memset(name, 'l', 200);
	name[200] = 0;
	at = openat(dirfd_, "t", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (unsigned i = 0; i < 30; i++) {
		assert_int_equal(mkdirat(at, name, 0755), 0);
		int next = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		cs_close(at);
		at = next;
	}
	assert_int_equal(pack(&k, "t", ""), -1); /* an archive cannot hold it, and says so */
	cs_str_done(&k.s);
}

static void test_sparse(void **state)
{
	struct sink k = {0};
	struct stat st;

	(void)state;
	fresh("t");
	cs_autofd int fd = openat(dirfd_, "t/s", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	assert_int_equal(ftruncate(fd, 1ll << 40), 0);
	assert_int_equal(pwrite(fd, "mid", 3, 1ll << 39), 3);
	assert_int_equal(fstat(fd, &st), 0);
	if (st.st_blocks * 512 > 1 << 20 || lseek(fd, 0, SEEK_DATA) == 0)
		skip(); /* a file system without holes */
	assert_int_equal(pack(&k, "t", ""), 0);
	assert_true(k.s.len < 1 << 20);
	const char *x = header(&k, 'x', 0), *h = header(&k, '0', 0);
	assert_non_null(memmem(x + 512, 512, "GNU.sparse.realsize=1099511627776\n", 34));
	assert_memory_equal(h, "GNUSparseFile.0/s", 18);
	assert_memory_equal(h + 512, "2\n549755813888\n", 15);
	cs_str_done(&k.s);
	/* small holes are zeros */
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(ftruncate(fd, 4 << 20), 0);
	k = (struct sink){0};
	assert_int_equal(pack(&k, "t", ""), 0);
	assert_int_equal(octal(header(&k, '0', 0) + 124, 11), 4 << 20);
	cs_str_done(&k.s);
}

struct first { /* what comes first of a long archive, and how long it is */
	char buf[3 << 20];
	size_t len;
};

static int keep_first(void *ctx, const void *data, size_t len)
{
	struct first *f = ctx;

	if (f->len < sizeof(f->buf))
		memcpy(f->buf + f->len, data, CS_MIN(len, sizeof(f->buf) - f->len));
	f->len += len;
	return 0;
}

/* More pieces than any reader takes: the map stays below Go's limit (and ours) of 1 MiB, by calling small holes data. */
static void test_sparse_in_pieces(void **state)
{
	const unsigned n = 42500;
	cs_autofree struct first *f = cs_xcalloc(1, sizeof(*f));
	cs_autofd int fd = memfd_create("pieces", MFD_CLOEXEC);
	struct cs_tar_entry e = {.name = "s", .type = CS_TAR_FILE, .mode = 0644};
	int64_t off = 1000000000000000000;
	struct stat st;

	(void)state;
	assert_int_equal(ftruncate(fd, INT64_MAX), 0);
	for (unsigned i = 0; i < n; i++) {
		assert_int_equal(pwrite(fd, "x", 1, off), 1);
		off += i % 2 ? 1ll << 46 : 68 << 10;
	}
	assert_int_equal(fstat(fd, &st), 0);
	struct statx sx = {.stx_size = (uint64_t)st.st_size, .stx_blocks = (uint64_t)st.st_blocks};
	struct cs_tar_writer *w = cs_tar_new(keep_first, f);
	assert_int_equal(cs_pack_file(w, &e, fd, &sx), 0);
	assert_int_equal(cs_tar_end(w), 0);
	cs_tar_free(w);
	const char *map = NULL, *end;
	for (const char *h = f->buf; !map; h += 512)
		map = memcmp(h + 257, "ustar", 5) == 0 && h[156] == '0' ? h + 512 : NULL;
	size_t lines = 0;
	for (end = map; *end; end++)
		lines += *end == '\n';
	assert_true(lines > 20000);
	assert_true(end - map < 1 << 20);
}

static void test_reader_fails(void **state)
{
	(void)state;
	fresh("t");
	cs_autofree char *data = cs_xcalloc(1, 4u << 20);
	write_at(dirfd_, "t/f", data, 4u << 20);
	struct sink k = {.fail_at = 1 << 20};
	struct cs_tar_tree t = {.path = "t", .as = ""};
	cs_autoerr struct cs_err *err = NULL;
	cs_str_init(&k.s, 64u << 20);
	assert_int_equal(cs_tar_tree(dirfd_, &t, put, &k, &err), -1);
	assert_int_equal(cs_err_code(err), CS_ERR_NO_SPACE);
	cs_str_done(&k.s);
}

static void test_diff_reserved_names(void **state)
{
	struct sink k = {0};
	cs_autoerr struct cs_err *err = NULL;
	char *skip_[] = {(char *)(uintptr_t)"a", (char *)(uintptr_t)"b/x", NULL};

	(void)state;
	fresh("t");
	assert_int_equal(mkdirat(dirfd_, "t/a", 0755), 0);
	write_at(dirfd_, "t/a/inside", "", 0);
	assert_int_equal(mkdirat(dirfd_, "t/b", 0755), 0);
	write_at(dirfd_, "t/b/x", "", 0);
	write_at(dirfd_, "t/b/y", "", 0);
	cs_autofd int upper = openat(dirfd_, "t", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cs_str_init(&k.s, 1 << 20);
	assert_int_equal(cs_tar_diff(upper, skip_, put, &k, &err), 0);
	assert_string_equal(header(&k, '5', 0), "b/");
	assert_string_equal(header(&k, '0', 0), "b/y");
	assert_null(header(&k, '0', 1));
	write_at(dirfd_, "t/b/.wh.y", "", 0);
	assert_int_equal(cs_tar_diff(upper, NULL, put, &k, &err), -1);
	assert_int_equal(cs_err_code(err), CS_ERR_INVALID);
	cs_str_done(&k.s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_records),
		cmocka_unit_test(test_record_lengths),
		cmocka_unit_test(test_binary_names),
		cmocka_unit_test(test_records_too_large),
		cmocka_unit_test(test_order_and_names),
		cmocka_unit_test(test_file_changes_while_read),
		cmocka_unit_test(test_entries_vanish),
		cmocka_unit_test(test_deep),
		cmocka_unit_test(test_too_deep),
		cmocka_unit_test(test_sparse),
		cmocka_unit_test(test_sparse_in_pieces),
		cmocka_unit_test(test_reader_fails),
		cmocka_unit_test(test_diff_reserved_names),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
