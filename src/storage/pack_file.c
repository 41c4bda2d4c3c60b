/* SPDX-License-Identifier: Apache-2.0
 *
 * The content of one file of a tree that may change under us. Small holes are written as the zeros that they read as: every reader of layers
 * knows that. Huge ones (a lastlog with a large user id has terabytes) go as GNU sparse format 1.0, which Go's, GNU's and libarchive's readers know. */
#include <fcntl.h>

#include "base/str.h"
#include "storage/pack.h"

#define MAX_EXTENTS (24u << 10) /* of at most 40 bytes each in the map: readers (Go, we) take one of up to 1 MiB */
#define BIG (1 << 20)

struct extent {
	int64_t off, len;
};
struct map {
	struct extent *v;
	size_t n;
	int64_t min_hole; /* smaller ones are data */
};

/* Joins extents that are less than min_hole apart. */
static void join(struct map *m)
{
	size_t k = 0;

	for (size_t i = 1; i < m->n; i++) {
		if (m->v[i].off - (m->v[k].off + m->v[k].len) < m->min_hole)
			m->v[k].len = m->v[i].off + m->v[i].len - m->v[k].off;
		else
			m->v[++k] = m->v[i];
	}
	m->n = m->n ? k + 1 : 0;
}

static void add(struct map *m, int64_t off, int64_t end)
{
	struct extent *last = m->n ? &m->v[m->n - 1] : NULL;

	if (last && off - (last->off + last->len) < m->min_hole) {
		last->len = end - last->off;
		return;
	}
	while (m->n == MAX_EXTENTS) {
		m->min_hole *= 2;
		join(m);
	}
	m->v[m->n++] = (struct extent){off, end - off};
}

/* Where the data of a file is. False when it has no holes to speak of. */
static bool find_data(struct map *m, int fd, int64_t size)
{
	int64_t pos = 0, data = 0;

	m->v = cs_xreallocarray(NULL, MAX_EXTENTS + 1, sizeof(*m->v));
	m->min_hole = 64 << 10;
	while (pos < size) {
		int64_t start = lseek(fd, pos, SEEK_DATA);
		if (start < 0 && errno != ENXIO)
			return false;
		if (start < 0 || start >= size)
			break;
		int64_t end = lseek(fd, start, SEEK_HOLE);
		if (end <= start)
			return false;
		add(m, start, CS_MIN(end, size));
		pos = end;
	}
	for (size_t i = 0; i < m->n; i++)
		data += m->v[i].len;
	if (size - data < CS_PACK_SPARSE_MIN)
		return false;
	/* a hole at the end is an extent of no length, as GNU tar writes it */
	if (m->n == 0 || m->v[m->n - 1].off + m->v[m->n - 1].len < size)
		m->v[m->n++] = (struct extent){size, 0};
	return true;
}

static int copy(struct cs_tar_writer *w, int fd, int64_t off, int64_t len)
{
	while (len) {
		size_t room;
		char *buf = cs_tar_room(w, &room);
		if (!buf)
			return cs_tar_error(w);
		ssize_t n = pread(fd, buf, (size_t)CS_MIN((int64_t)room, len), off);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return cs_tar_zeros(w, (uint64_t)len);
		cs_tar_fill(w, (size_t)n);
		off += n;
		len -= n;
	}
	return 0;
}

static int put_sparse(struct cs_tar_writer *w, struct cs_tar_entry *e, int fd, const struct map *m, int64_t size)
{
	cs_autostr struct cs_str head = CS_STR_INIT((MAX_EXTENTS + 2) * 40);
	_Static_assert((MAX_EXTENTS + 2) * 40 <= 1 << 20, "no reader would take the map");
	int64_t data = 0;

	cs_str_put_u64(&head, m->n);
	cs_str_putc(&head, '\n');
	for (size_t i = 0; i < m->n; i++) {
		cs_str_put_i64(&head, m->v[i].off);
		cs_str_putc(&head, '\n');
		cs_str_put_i64(&head, m->v[i].len);
		cs_str_putc(&head, '\n');
		data += m->v[i].len;
	}
	size_t len = (head.len + CS_TAR_BLOCK - 1) / CS_TAR_BLOCK * CS_TAR_BLOCK;
	e->sparse = true;
	e->real_size = size;
	e->size = data + (int64_t)len;
	int r = cs_tar_header(w, e);
	if (r == 0)
		r = cs_tar_data(w, head.buf, head.len);
	if (r == 0)
		r = cs_tar_pad(w, head.len);
	for (size_t i = 0; r == 0 && i < m->n; i++)
		r = copy(w, fd, m->v[i].off, m->v[i].len);
	return r < 0 ? r : cs_tar_pad(w, (uint64_t)data);
}

int cs_pack_file(struct cs_tar_writer *w, struct cs_tar_entry *e, int fd, const struct statx *st)
{
	int64_t size = (int64_t)st->stx_size;
	int r;

	if (size - (int64_t)st->stx_blocks * 512 >= CS_PACK_SPARSE_MIN) {
		struct map m = {0};
		bool sparse = find_data(&m, fd, size);
		r = sparse ? put_sparse(w, e, fd, &m, size) : 0;
		free(m.v);
		if (sparse)
			return r;
	}
	e->size = size;
	r = cs_tar_header(w, e);
	if (r < 0)
		return r;
	if (size >= BIG)
		(void)posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	r = copy(w, fd, 0, size);
	return r < 0 ? r : cs_tar_pad(w, (uint64_t)size);
}
