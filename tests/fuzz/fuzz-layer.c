/* SPDX-License-Identifier: Apache-2.0
 * A tar of a layer: refused or unpacked, and nothing appears beside its directory. */
#include <dirent.h>

#include "base/io.h"
#include "base/sys.h"
#include "storage/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	const uint8_t *p;
	size_t left;
};

/* Pieces that end at odd places: nothing may depend on where. */
static ssize_t on_piece(void *ctx, const void **ret)
{
	struct input *in = ctx;
	size_t n = CS_MIN((size_t)700, in->left);

	*ret = in->p;
	in->p += n;
	in->left -= n;
	return (ssize_t)n;
}

/* Nothing that is changed at random has a right checksum: put it right where a header is. */
static uint8_t *with_checksums(const uint8_t *data, size_t size)
{
	uint8_t *copy = cs_xmalloc(size + 1);

	memcpy(copy, data, size);
	for (size_t at = 0; at + 512 <= size; at += 512) {
		unsigned sum = 0;
		if (memcmp(copy + at + 257, "ustar", 5) != 0)
			continue;
		memset(copy + at + 148, ' ', 8);
		for (size_t i = 0; i < 512; i++)
			sum += copy[at + i];
		(void)snprintf((char *)copy + at + 148, 8, "%06o", sum);
	}
	return copy;
}

static void check_alone(int outer)
{
	DIR *d = fdopendir(fcntl(outer, F_DUPFD_CLOEXEC, 3));
	size_t n = 0;

	if (!d)
		abort();
	rewinddir(d);
	while (readdir(d))
		n++;
	(void)closedir(d);
	if (n != 3) /* ".", ".." and "root" */
		abort();
}

static char dir[] = "/tmp/fuzz-layer-XXXXXX";

static void remove_dir(void) { (void)cs_remove_tree_at(AT_FDCWD, dir); }

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int outer = -EBADF;
	cs_autofree uint8_t *copy = with_checksums(data, size);
	struct input in = {copy, size};
	const struct cs_storage_limits limits = {.layer_bytes = 64 << 20, .layer_entries = 1000};
	int64_t bytes;

	if (outer < 0 && (!mkdtemp(dir) || (outer = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0 || atexit(remove_dir) != 0))
		abort();
	if (mkdirat(outer, "root", 0755) < 0)
		abort();
	cs_autofd int root = openat(outer, "root", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		abort();
	(void)!cs_extract_tar(on_piece, &in, root, &limits, &bytes, NULL);
	check_alone(outer);
	if (cs_remove_tree_at(outer, "root") < 0)
		abort();
	return 0;
}
