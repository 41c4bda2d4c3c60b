/* SPDX-License-Identifier: Apache-2.0
 *
 * Driver for tests: packs a directory to standard output.  run-pack tree DIR PATH AS | one DIR PATH AS | diff DIR [SKIP…] */
#include <fcntl.h>
#include <unistd.h>

#include "base/io.h"
#include "computestorage.h"

static int put(void *ctx, const void *data, size_t len)
{
	(void)ctx;
	return cs_write_full(STDOUT_FILENO, data, len);
}

int main(int argc, char **argv)
{
	cs_autoerr struct cs_err *err = NULL;

	if (argc < 3)
		return 2;
	cs_autofd int fd = open(argv[2], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r;
	if (strcmp(argv[1], "diff") == 0) {
		r = cs_tar_diff(fd, argc > 3 ? argv + 3 : NULL, put, NULL, &err);
	} else {
		struct cs_tar_tree t = {.path = argc > 3 ? argv[3] : "/", .as = argc > 4 ? argv[4] : "", .one_file_system = strcmp(argv[1], "one") == 0};
		r = cs_tar_tree(fd, &t, put, NULL, &err);
	}
	if (r < 0) {
		cs_autofree char *text = cs_err_text(err);
		(void)fprintf(stderr, "%s\n", text);
	}
	return r < 0 ? 1 : 0;
}
